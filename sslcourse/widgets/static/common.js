// What every view shares. Python puts this text in front of each view's own file, so that a view stays one
// module without imports: no build step, no address to load from. The look follows JupyterLab's and VS Code's
// theme variables and the page's own colours elsewhere.

const MARKS = ["circle", "square", "up", "diamond", "down", "plus", "cross", "star", "left", "right"];
const NOBODY = "#b8c0c8"; // points without a label

const bytes = (b) =>
  (b instanceof DataView
    ? new Uint8Array(b.buffer, b.byteOffset, b.byteLength)
    : b instanceof ArrayBuffer
      ? new Uint8Array(b)
      : new Uint8Array(b || 0)
  ).slice();

const STYLE = `
.ssl-view { color: var(--jp-ui-font-color1, var(--vscode-editor-foreground, CanvasText)); max-width: 860px;
  padding: 8px; outline: none;
  font: 13px/1.35 var(--jp-ui-font-family, system-ui, sans-serif); border-radius: 4px;
  box-sizing: border-box; position: relative; }
.ssl-view:focus-visible, .ssl-view canvas:focus-visible { box-shadow: inset 0 0 0 2px var(--jp-brand-color1,
  #2196f3); outline: none; }
.ssl-view .bar { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 10px; margin: 0 0 6px; }
.ssl-view .bar input[type=range] { flex: 1 1 120px; min-width: 100px; }
.ssl-view input[type=range], .ssl-view input[type=checkbox] { accent-color: var(--jp-brand-color1, #2196f3); }
.ssl-view button, .ssl-view select { font: inherit; padding: 3px 10px; cursor: pointer; border-radius: 3px;
  color: inherit;
  background: var(--jp-layout-color2, rgba(128,128,128,.15));
  border: 1px solid var(--jp-border-color1, rgba(128,128,128,.5)); }
.ssl-view select option { color: CanvasText; background: Canvas; }
.ssl-view button.play { min-width: 84px; }
.ssl-view button:focus-visible, .ssl-view select:focus-visible, .ssl-view input:focus-visible {
  outline: 2px solid var(--jp-brand-color1, #2196f3); outline-offset: 1px; }
.ssl-view output { font-variant-numeric: tabular-nums; }
.ssl-view .title { font-weight: 600; margin: 0 0 4px; }
.ssl-view .note { opacity: .8; font-size: 12px; margin: 4px 0 0; }
.ssl-view .body { display: flex; flex-wrap: wrap; gap: 14px; align-items: flex-start; }
.ssl-view .side { display: flex; flex-direction: column; gap: 8px; }
.ssl-view .tip { position: absolute; pointer-events: none; display: none; padding: 1px 7px;
  border-radius: 3px; font-size: 12px; z-index: 5;
  white-space: nowrap; background: var(--jp-inverse-layout-color2, #24292f);
  color: var(--jp-ui-inverse-font-color1, #fff); }
.ssl-view canvas { display: block; }
`;

// The corners of each marker, x and y in turn, in units of its radius. A circle has none; a square is drawn
// as a rectangle.
const CORNERS = {
  up: [0, -1.15, 1.1, 0.9, -1.1, 0.9],
  down: [0, 1.15, 1.1, -0.9, -1.1, -0.9],
  left: [-1.15, 0, 0.9, -1.1, 0.9, 1.1],
  right: [1.15, 0, -0.9, -1.1, -0.9, 1.1],
  diamond: [0, -1.25, 1.1, 0, 0, 1.25, -1.1, 0],
  plus: [
    [-0.4, -1.15, 0.4, -1.15, 0.4, -0.4, 1.15, -0.4, 1.15, 0.4, 0.4, 0.4],
    [0.4, 1.15, -0.4, 1.15, -0.4, 0.4, -1.15, 0.4, -1.15, -0.4, -0.4, -0.4],
  ].flat(),
  cross: [
    [-1.1, -0.6, -0.6, -1.1, 0, -0.5, 0.6, -1.1, 1.1, -0.6, 0.5, 0],
    [1.1, 0.6, 0.6, 1.1, 0, 0.5, -0.6, 1.1, -1.1, 0.6, -0.5, 0],
  ].flat(),
  star: Array.from({ length: 10 }, (_, i) => [
    Math.sin((i * Math.PI) / 5) * (i % 2 ? 0.5 : 1.3),
    -Math.cos((i * Math.PI) / 5) * (i % 2 ? 0.5 : 1.3),
  ]).flat(),
};

// A shape drawn into the current path: `mark` fills one, a map with thousands of points collects many and
// fills once.
function outline(ctx, kind, x, y, r) {
  if (kind === "circle") {
    ctx.moveTo(x + r, y);
    ctx.arc(x, y, r, 0, 7);
  } else if (kind === "square") ctx.rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8);
  else {
    const corners = CORNERS[kind] || CORNERS.star;
    ctx.moveTo(x + corners[0] * r, y + corners[1] * r);
    for (let i = 2; i < corners.length; i += 2) ctx.lineTo(x + corners[i] * r, y + corners[i + 1] * r);
    ctx.closePath();
  }
}

function mark(ctx, kind, x, y, r) {
  ctx.beginPath();
  outline(ctx, kind, x, y, r);
  ctx.fill();
}

const short = (v) =>
  !Number.isFinite(v)
    ? ""
    : Math.abs(v) >= 100
      ? v.toFixed(0)
      : Math.abs(v) >= 10
        ? v.toFixed(1)
        : Math.abs(v) >= 1
          ? v.toFixed(2)
          : v.toFixed(3);

const make = (tag, name, parent, attributes = {}) => {
  const node = Object.assign(document.createElement(tag), attributes);
  if (name) node.className = name;
  if (parent) parent.append(node);
  return node;
};

// A canvas of w x h page pixels, drawn at the screen's own resolution, or text would be blurred on dense
// screens.
const dense = Math.max(1, Math.min(3, window.devicePixelRatio || 1));
const sheet = (parent, name, w, h) => {
  const canvas = make("canvas", name, parent, {
    width: Math.round(w * dense),
    height: Math.round(h * dense),
  });
  canvas.style.width = `${w}px`;
  canvas.style.height = `${h}px`;
  const ctx = canvas.getContext("2d");
  ctx.scale(dense, dense);
  return [canvas, ctx];
};

// Where a mouse event fell on a canvas, in the page pixels with which `sheet` was made.
const pointer = (e, canvas) => {
  const box = canvas.getBoundingClientRect();
  return [
    ((e.clientX - box.left) * parseFloat(canvas.style.width)) / box.width,
    ((e.clientY - box.top) * parseFloat(canvas.style.height)) / box.height,
  ];
};

const faded = (colour, a) => {
  const m = colour.match(/[\d.]+/g) || [0, 0, 0];
  return `rgba(${m[0]}, ${m[1]}, ${m[2]}, ${a})`;
};

// On a dark page a dark curve is lightened; the marker still tells which it is.
const bright = (hex, ink) => {
  const [r, g, b] = (ink.match(/[\d.]+/g) || [0, 0, 0]).map(Number);
  if (0.3 * r + 0.6 * g + 0.1 * b < 128) return hex;
  const c = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)),
    light = 0.3 * c[0] + 0.6 * c[1] + 0.1 * c[2];
  const t = light < 140 ? (140 - light) / 200 : 0;
  return `rgb(${c.map((v) => Math.round(v + (255 - v) * t)).join(",")})`;
};

// A picture (PNG or JPEG bytes of a trait) as something to draw from; resolves to null where there is none.
const picture = async (data, type) =>
  data.byteLength ? createImageBitmap(new Blob([bytes(data)], { type })) : null;

// A tile of a sheet of pictures (`cut`: how it is laid out, see `sprite` in views.py) drawn as a square of
// `side`.
const drawCut = (ctx, image, cut, i, x, y, side) => {
  const t = cut.tile;
  ctx.drawImage(image, (i % cut.across) * t, Math.floor(i / cut.across) * t, t, t, x, y, side, side);
};

// A frame of a film (`cut`: see `filmstrip` in views.py) drawn over a whole canvas of w x h.
const drawFrame = (ctx, image, cut, f, width, height, w, h) => {
  const x = (f % cut.across) * cut.wide;
  const y = Math.floor(f / cut.across) * cut.high;
  ctx.drawImage(image, x, y, width, height, 0, 0, w, h);
};

// `view` goes from function to function of a script: what `open` gives, the model and its data, what stands
// in the page, and what changes while the reader plays. Each function names in its first line what it takes
// out of it; what may change meanwhile is read as `view.name`.
//
// The root of a view and its housekeeping: every listener and timer is kept, so that the clean-up takes away
// exactly what was added (a re-run cell makes a new view; what stays behind of the old one would go on
// working for nobody).
function open({ model, el }, name, label, style = "") {
  const root = make("div", `ssl-view ${name}`, el, { tabIndex: 0 });
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", label);
  make("style", "", root, { textContent: STYLE + style });
  const undo = [() => root.remove()];
  // The notebook around us has shortcuts of its own (JupyterLab's arrow keys fold headings, and a slider
  // would not move): plain keys that were pressed in a view belong to the view.
  const own = (e) => {
    if (!e.ctrlKey && !e.metaKey && !e.altKey && e.key !== "Tab" && !(e.key === "Enter" && e.shiftKey))
      e.stopPropagation();
  };
  root.addEventListener("keydown", own);
  undo.push(() => root.removeEventListener("keydown", own));
  return {
    root,
    ink: () => getComputedStyle(root).color || "rgb(34, 34, 34)",
    listen(target, type, handler, options) {
      target.addEventListener(type, handler, options);
      undo.push(() => target.removeEventListener(type, handler, options));
    },
    follow(trait, handler) {
      // a trait that Python (or another view of the same model) changes
      model.on(`change:${trait}`, handler);
      undo.push(() => model.off(`change:${trait}`, handler));
    },
    later(handler) {
      undo.push(handler);
    },
    // Draw now, once more when the element stands in the page and has its colours, and whenever the theme
    // changes.
    themed(draw) {
      const theme = new MutationObserver(() => draw());
      for (const node of [document.documentElement, document.body])
        theme.observe(node, {
          attributes: true,
          attributeFilter: ["class", "data-jp-theme-light", "data-theme", "style"],
        });
      const settled = requestAnimationFrame(() => draw());
      undo.push(() => {
        theme.disconnect();
        cancelAnimationFrame(settled);
      });
      draw();
    },
    close: () => {
      while (undo.length) undo.pop()();
    },
  };
}
