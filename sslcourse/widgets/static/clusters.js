// A map of thousands of points: hover shows, click pins and plays, dragging draws a lasso, the selection goes
// to Python as indices. Three canvases lie on each other: all points (redrawn when they are coloured anew), a
// veil with the selected points (at each change of the selection), and what follows the pointer. So a moved
// pointer costs a few strokes, whatever the number of points.
// data-* on the root are there for tests: points, by, hover, selected, pins, lasso (corners), mode, draws,
// frame (of the clip at the pointer), rms (loudest of the sound last played), sound (what it is doing).

const MAP = 480,
  EDGE = 14,
  NEAR = 14,
  DRAG = 4,
  NONE = 65535,
  PINS = 12,
  PATIENCE_MS = 4000;

const LOOK = `
.ssl-clusters .map { position: relative; max-width: 100%; flex: none; touch-action: none; }
.ssl-clusters .map canvas { max-width: 100%; height: auto !important; }
.ssl-clusters .map > canvas ~ canvas { position: absolute; inset: 0; }
.ssl-clusters .map .under { pointer-events: none; }
.ssl-clusters .map .over { cursor: crosshair; }
.ssl-clusters .side { flex: 1 1 170px; min-width: 150px; max-width: 340px; gap: 4px; }
.ssl-clusters .legend { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr));
  gap: 1px 6px; max-height: 452px; overflow-y: auto; padding: 2px; }
.ssl-clusters .legend button { display: flex; align-items: center; gap: 6px; padding: 2px 6px;
  border-color: transparent; background: transparent;
  text-align: left; min-width: 0; }
.ssl-clusters .legend button:hover { background: var(--jp-layout-color2, rgba(128,128,128,.15)); }
.ssl-clusters .legend button[aria-pressed=true] { border-color: currentColor;
  background: var(--jp-layout-color2, rgba(128,128,128,.15)); }
.ssl-clusters .legend .name { flex: 1; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.ssl-clusters .legend .count { opacity: .75; font-size: 11.5px; font-variant-numeric: tabular-nums; }
.ssl-clusters .told { min-height: 1.35em; margin: 6px 0 0; font-variant-numeric: tabular-nums; }
.ssl-clusters .tip { padding: 6px 8px; white-space: normal; box-shadow: 0 1px 6px rgba(0,0,0,.35); }
.ssl-clusters .tip .row { display: flex; gap: 9px; align-items: flex-start; }
.ssl-clusters canvas.tile { image-rendering: pixelated; flex: none; }
.ssl-clusters .values { display: grid; grid-template-columns: auto auto; gap: 0 8px; font-size: 11.5px;
  line-height: 1.3; white-space: nowrap; }
.ssl-clusters .values.wide { grid-template-columns: auto auto auto auto; }
.ssl-clusters .values .key { opacity: .75; text-align: right; }
.ssl-clusters .pins { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 8px; }
.ssl-clusters .pins:empty { display: none; }
.ssl-clusters .pin { border: 1px solid var(--jp-border-color1, rgba(128,128,128,.5)); border-radius: 4px;
  padding: 5px 7px; }
.ssl-clusters .pin .head { display: flex; align-items: center; gap: 6px; margin-bottom: 4px;
  font-weight: 600; }
.ssl-clusters .pin .head span { flex: 1; white-space: nowrap; }
.ssl-clusters .pin .head button { padding: 0 7px; font-size: 12px; font-weight: 400; }
.ssl-clusters .pin .row { display: flex; gap: 8px; align-items: flex-start; }
.ssl-clusters .pin .values { max-height: 180px; overflow-y: auto; }
`;

// A number for a label, as `figure` in Python writes it.
const figure = (v) => {
  const a = Math.abs(v);
  if (!Number.isFinite(v)) return "none";
  if (Number.isInteger(v) && a < 1e6) return String(v);
  if (a >= 1e6 || a < 1e-3) return v.toExponential(1);
  return v.toFixed(a >= 100 ? 0 : a >= 10 ? 1 : a >= 1 ? 2 : 3);
};
const many = (n) => n.toLocaleString("en-US");
const percent = (part, whole) => {
  const p = Math.floor((100 * part) / whole + 0.5);
  return p || !part ? `${p} %` : "under 1 %";
};

// Mean direction of angles and their agreement.
const circular = (values, turn) => {
  let x = 0,
    y = 0;
  for (const v of values) {
    x += Math.cos((v / turn) * 2 * Math.PI);
    y += Math.sin((v / turn) * 2 * Math.PI);
  }
  x /= values.length;
  y /= values.length;
  const part = Math.atan2(y, x) / (2 * Math.PI);
  return [(part - Math.floor(part)) * turn, Math.hypot(x, y)];
};

// What a selection is made of, in the words of `composition` in Python.
function composition(column, mask, count, n, most = 4) {
  if (!count) return `none of ${many(n)} selected`;
  const head = `${many(count)} of ${many(n)} selected`;
  if (!column) return head;
  const told = column.kind === "category" ? categoriesIn : numbersIn;
  return `${head}: ${told(column, mask, count, n, most)}`;
}

function categoriesIn(column, mask, count, n, most) {
  const counts = new Map();
  for (let i = 0; i < n; i++)
    if (mask[i]) counts.set(column.values[i], (counts.get(column.values[i]) || 0) + 1);
  const order = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  const shown = order.length <= most + 1 ? order : order.slice(0, most);
  const rest = order.slice(shown.length);
  const word = (c) => {
    if (c === NONE) return "unknown";
    const name = column.names[c];
    return /^[\d.-]+$/.test(name) ? `${column.name} ${name}` : name;
  };
  const parts = shown.map(([c, k]) => `${word(c)} ${percent(k, count)}`);
  const others = rest.reduce((s, [, k]) => s + k, 0);
  if (rest.length) parts.push(`${rest.length} others ${percent(others, count)}`);
  return parts.join(", ");
}

function numbersIn(column, mask, _count, n) {
  const known = [];
  const all = [];
  for (let i = 0; i < n; i++)
    if (Number.isFinite(column.values[i])) {
      all.push(column.values[i]);
      if (mask[i]) known.push(column.values[i]);
    }
  if (!known.length) return `${column.name} unknown`;
  if (column.kind === "angle") {
    const [mean, agreement] = circular(known, column.turn);
    const usual = circular(all, column.turn)[1].toFixed(2);
    return `${column.name} around ${figure(mean)}, agreement ${agreement.toFixed(2)} (all ${usual})`;
  }
  let low = Infinity;
  let high = -Infinity;
  for (const v of known) {
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  const mean = (vs) => figure(vs.reduce((s, v) => s + v, 0) / vs.length);
  return `${column.name} ${figure(low)} to ${figure(high)}, mean ${mean(known)} (all ${mean(all)})`;
}

// Points sorted into squares, so that the nearest to the pointer is found among a few.
function squares(X, Y, n, side) {
  const across = Math.ceil(MAP / side),
    cell = (v) => Math.max(0, Math.min(across - 1, Math.floor(v / side)));
  const start = new Int32Array(across * across + 1),
    order = new Int32Array(n),
    at = (i) => cell(Y[i]) * across + cell(X[i]);
  for (let i = 0; i < n; i++) start[at(i) + 1]++;
  for (let c = 0; c < across * across; c++) start[c + 1] += start[c];
  const next = start.slice();
  for (let i = 0; i < n; i++) order[next[at(i)]++] = i;
  return (x, y, radius) => {
    let best = -1,
      near = radius * radius;
    for (let r = cell(y - radius); r <= cell(y + radius); r++)
      for (let j = start[r * across + cell(x - radius)]; j < start[r * across + cell(x + radius) + 1]; j++) {
        const i = order[j],
          d = (X[i] - x) ** 2 + (Y[i] - y) ** 2;
        if (d < near) {
          near = d;
          best = i;
        }
      }
    return best;
  };
}

// A marker's corners, recorded once: replaying numbers thousands of times is three times faster than drawing
// each marker anew.
function corners(kind, r) {
  if (kind === "circle") return null;
  const kept = [],
    point = (x, y) => kept.push(x, y);
  outline(
    {
      moveTo: point,
      lineTo: point,
      closePath() {},
      rect(x, y, w, h) {
        kept.push(x, y, x + w, y, x + w, y + h, x, y + h);
      },
    },
    kind,
    0,
    0,
    r,
  );
  return Float32Array.from(kept);
}

// Whether the edge from (ax, ay) to (bx, by) is crossed on the way from a point to the right: an odd number
// of crossings means inside.
const crosses = (ax, ay, bx, by, x, y) => ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax;

// Two dozen markers of a group are filled together, then some of the next group: where points are dense, no
// group covers all others. (More in one path would cost more, too: Chromium's time grows with the square of
// its straight lines. 5,000 crosses in one path take 227 ms, in pieces of 16 they take 2.) Points without a
// value come first, beneath the others.
const PIECE = 24;

// ---- the data

function readData(view) {
  const { model, about, n, sound } = view;
  const places = new Uint16Array(bytes(model.get("positions")).buffer),
    X = new Float32Array(n),
    Y = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    X[i] = EDGE + (places[2 * i] / 65535) * (MAP - 2 * EDGE);
    Y[i] = EDGE + (1 - places[2 * i + 1] / 65535) * (MAP - 2 * EDGE);
  }
  const nearestTo = squares(X, Y, n, 12);
  const raw = bytes(model.get("columns"));
  let offset = 0;
  const columns = about.columns.map((c) => {
    const size = n * (c.kind === "category" ? 2 : 4),
      part = raw.slice(offset, offset + size).buffer;
    offset += size;
    return { ...c, values: c.kind === "category" ? new Uint16Array(part) : new Float32Array(part) };
  });
  const waves = sound?.stored ? new Int8Array(bytes(model.get("sounds")).buffer) : null;
  Object.assign(view, { X, Y, nearestTo, columns, waves });
}

const steps = ({ scales }, c) => scales[c.kind].length;

// Which colour a point has, as a number; the last one is that of points without a value.
function groupOf(view, c, v) {
  if (c.kind === "category") return v === NONE ? c.names.length : v;
  if (!Number.isFinite(v)) return steps(view, c);
  const share =
    c.kind === "angle" ? v / c.turn - Math.floor(v / c.turn) : (v - c.low) / (c.high - c.low || 1);
  return Math.min(steps(view, c) - 1, Math.floor(share * steps(view, c)));
}

// the colour and the marker of a group
function look(view, c, g) {
  const { scales, colours } = view;
  if (!c || g >= (c.kind === "category" ? c.names.length : steps(view, c))) return [NOBODY, "circle"];
  if (c.kind !== "category") return [scales[c.kind][g], "circle"];
  // Ten colours times ten markers differ.
  return [c.colours[g] || colours[g % colours.length], c.marks[g] || MARKS[(g + Math.floor(g / 10)) % 10]];
}

function wordOf(c, i) {
  const v = c.values[i];
  if (c.kind !== "category") return figure(v);
  return v === NONE ? "unknown" : c.signs[v] ? `${c.signs[v]} ${c.names[v]}` : c.names[v];
}

// ---- the page

function buildBar(view) {
  const { about, root, columns } = view;
  if (about.title) make("div", "title", root, { textContent: about.title });
  const bar = make("div", "bar", root);
  const choice = (text, name, options) => {
    const label = make("label", "", bar, { textContent: `${text} ` });
    const input = make("select", name, label);
    for (const o of options) make("option", "", input, { textContent: o, value: o });
    return input;
  };
  const chooser = columns.length
    ? choice(
        "colour by",
        "by",
        columns.map((c) => c.name),
      )
    : null;
  const mode = choice("dragging", "mode", ["selects", "adds", "removes"]);
  const clear = make("button", "clear", bar, { type: "button", textContent: "clear selection" });
  Object.assign(view, { chooser, mode, clear });
}

function buildMap(view) {
  const { root } = view;
  const body = make("div", "body", root),
    holder = make("div", "map", body);
  const [, base] = sheet(holder, "under points", MAP, MAP),
    [, middle] = sheet(holder, "under chosen", MAP, MAP),
    [over, top] = sheet(holder, "over", MAP, MAP);
  const tip = make("div", "tip", holder);
  tip.setAttribute("role", "status"); // read out as one walks
  Object.assign(view, { body, holder, base, middle, over, top, tip });
}

function buildSide(view) {
  const { root, body } = view;
  const side = make("div", "side", body),
    heading = make("div", "title", side),
    legend = make("div", "legend", side);
  const told = make("div", "told", root),
    news = make("div", "note news", root),
    trouble = make("div", "note trouble", root);
  for (const node of [told, news, trouble]) node.setAttribute("aria-live", "polite");
  const row = make("div", "pins", root);
  Object.assign(view, { heading, legend, told, news, trouble, row });
}

// ---- what is drawn

// What changes while the reader looks on. `order`: the points, group after group from `start[g]` on.
// `shapes`: the corners of a marker and size.
function initialState(view) {
  const { n } = view;
  const radius = n > 3000 ? 2.4 : n > 1200 ? 3 : n > 300 ? 3.8 : 4.6;
  Object.assign(view, {
    radius,
    shapes: new Map(),
    column: null,
    start: null,
    order: null,
    draws: 0,
    scale: null,
  });
  Object.assign(view, { tiles: null, closed: false });
  Object.assign(view, { lasso: null, down: null, preview: new Uint8Array(n) });
  Object.assign(view, { speaker: null, source: null, turn: 0, waiting: null, asked: -1 });
  Object.assign(view, { pins: [], number: 0 });
}

function sort(view) {
  const { n } = view;
  const groups = view.column
    ? (view.column.kind === "category" ? view.column.names.length : steps(view, view.column)) + 1
    : 1;
  const of = new Int32Array(n);
  view.start = new Int32Array(groups + 1);
  view.order = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    if (view.column) of[i] = groupOf(view, view.column, view.column.values[i]);
    view.start[of[i] + 1]++;
  }
  for (let g = 0; g < groups; g++) view.start[g + 1] += view.start[g];
  const next = view.start.slice();
  for (let i = 0; i < n; i++) view.order[next[of[i]]++] = i;
}

function paint(view, ctx, only, r) {
  const { n, X, Y, shapes, column, start, order } = view;
  const groups = start.length - 1;
  const fill = (g, from, to) => {
    if (from === to) return;
    const [colour, marker] = look(view, column, g),
      key = marker + r;
    if (!shapes.has(key)) shapes.set(key, corners(marker, r));
    const shape = shapes.get(key);
    ctx.fillStyle = colour;
    ctx.beginPath();
    for (let j = from; j < to; j++) {
      const i = order[j];
      if (only && !only[i]) continue;
      const x = X[i],
        y = Y[i];
      if (!shape) {
        ctx.moveTo(x + r, y);
        ctx.arc(x, y, r, 0, 7);
        continue;
      }
      ctx.moveTo(x + shape[0], y + shape[1]);
      for (let p = 2; p < shape.length; p += 2) ctx.lineTo(x + shape[p], y + shape[p + 1]);
      ctx.closePath();
    }
    ctx.fill();
  };
  const known = column ? groups - 1 : groups;
  for (let j = start[known]; j < n; j += PIECE) fill(known, j, Math.min(n, j + PIECE));
  let largest = 0;
  for (let g = 0; g < known; g++) largest = Math.max(largest, start[g + 1] - start[g]);
  const rounds = Math.ceil(largest / PIECE);
  for (let k = 0; k < rounds; k++)
    for (let g = 0; g < known; g++) {
      const size = start[g + 1] - start[g];
      fill(g, start[g] + Math.floor((size * k) / rounds), start[g] + Math.floor((size * (k + 1)) / rounds));
    }
}

// The ground stays white on a dark page, as in the stored picture: the palette's dark inks would vanish on
// black.
function drawBase(view) {
  const { root, base, radius } = view;
  base.fillStyle = "#fff";
  base.fillRect(0, 0, MAP, MAP);
  base.globalAlpha = 0.85;
  paint(view, base, null, radius);
  base.globalAlpha = 1;
  base.strokeStyle = "#c9d1d9";
  base.strokeRect(0.5, 0.5, MAP - 1, MAP - 1);
  root.dataset.draws = ++view.draws;
}

function drawChosen(view, mask, count) {
  const { middle, radius } = view;
  middle.clearRect(0, 0, MAP, MAP);
  if (!count) return;
  middle.fillStyle = "rgba(255, 255, 255, .8)";
  middle.fillRect(1, 1, MAP - 2, MAP - 2); // the others fade
  paint(view, middle, mask, radius + 0.8);
}

function ring(view, i, r, text) {
  const { X, Y, top } = view;
  top.lineWidth = 4;
  top.strokeStyle = "#fff";
  top.beginPath();
  top.arc(X[i], Y[i], r, 0, 7);
  top.stroke();
  top.lineWidth = 1.8;
  top.strokeStyle = "#000";
  top.stroke();
  if (!text) return;
  top.font = "bold 11px system-ui, sans-serif";
  top.textAlign = "center";
  top.textBaseline = "middle";
  const y = Y[i] - r - 8 < 8 ? Y[i] + r + 8 : Y[i] - r - 8;
  top.lineWidth = 4;
  top.strokeStyle = "#fff";
  top.strokeText(text, X[i], y);
  top.fillStyle = "#000";
  top.fillText(text, X[i], y);
}

function drawOver(view) {
  const { top, radius } = view;
  top.clearRect(0, 0, MAP, MAP);
  if (view.lasso) {
    top.beginPath();
    for (const [x, y] of view.lasso.path) top.lineTo(x, y); // the first of a path only moves there
    top.closePath();
    top.fillStyle = "rgba(0, 90, 200, .1)";
    top.fill();
    top.lineWidth = 1.5;
    top.strokeStyle = "#111";
    top.setLineDash([5, 4]);
    top.stroke();
    top.setLineDash([]);
  }
  for (const p of view.pins) ring(view, p.i, radius + 3.5, String(p.number));
  if (view.hovered >= 0) ring(view, view.hovered, radius + 3.5);
}

// ---- pictures

const still = ({ pictures }, i) =>
  pictures.frames ? i * pictures.frames + Math.floor(pictures.frames / 2) : i;

function tileCanvas(view, parent) {
  const { pictures } = view;
  const canvas = make("canvas", "tile", parent, { width: pictures.tile, height: pictures.tile });
  canvas.style.width =
    canvas.style.height = `${pictures.tile * Math.max(1, Math.round(104 / pictures.tile))}px`;
  return canvas.getContext("2d");
}

function drawTile(view, ctx, number) {
  const { pictures } = view;
  if (view.tiles) drawCut(ctx, view.tiles, pictures, number, 0, 0, pictures.tile);
}

function addValues(view, parent, i) {
  const { columns } = view;
  const box = make("div", columns.length > 8 ? "values wide" : "values", parent);
  for (const c of columns) {
    make("span", "key", box, { textContent: c.name });
    make("span", "value", box, { textContent: wordOf(c, i) });
  }
}

// ---- hover

function buildTip(view) {
  const { pictures, tip } = view;
  Object.assign(view, { hovered: -1, film: null });
  const tipRow = make("div", "row", tip),
    tipTile = pictures ? tileCanvas(view, tipRow) : null,
    tipText = make("div", "text", tipRow);
  Object.assign(view, { tipTile, tipText });
}

function stopFilm(view) {
  const { root } = view;
  clearInterval(view.film);
  view.film = null;
  delete root.dataset.frame;
}

function hover(view, i) {
  const { pictures, root, X, Y, holder, over, tip, tipTile, tipText } = view;
  if (i === view.hovered) return;
  view.hovered = i;
  stopFilm(view);
  root.dataset.hover = i < 0 ? "" : i;
  tip.style.display = i < 0 ? "none" : "block";
  drawOver(view);
  if (i < 0) return;
  if (tipTile) drawTile(view, tipTile, still(view, i));
  if (pictures && pictures.frames > 1) {
    // the clip plays, in silence
    let frame = 0;
    const show = () => {
      drawTile(view, tipTile, i * pictures.frames + frame);
      root.dataset.frame = frame;
      frame = (frame + 1) % pictures.frames;
    };
    show();
    view.film = setInterval(show, (1000 * pictures.seconds) / pictures.frames);
  }
  tipText.replaceChildren();
  make("div", "", tipText, { textContent: `point ${i}` }).style.fontWeight = "600";
  addValues(view, tipText, i);
  const scale = over.clientWidth / MAP || 1,
    x = X[i] * scale,
    y = Y[i] * scale,
    w = tip.offsetWidth,
    h = tip.offsetHeight;
  const room = root.clientWidth - holder.offsetLeft;
  tip.style.left = `${x + 16 + w <= room ? x + 16 : Math.max(-holder.offsetLeft, x - 16 - w)}px`;
  tip.style.top = `${Math.max(0, Math.min(y - h / 2, MAP * scale - h))}px`;
}

// The next point in a direction: along it, not too far beside.
function walk(view, dx, dy) {
  const { n, X, Y } = view;
  let best = -1,
    least = Infinity;
  const x = view.hovered < 0 ? MAP / 2 : X[view.hovered],
    y = view.hovered < 0 ? MAP / 2 : Y[view.hovered];
  for (let i = 0; i < n; i++) {
    const a = X[i] - x,
      b = Y[i] - y,
      along = a * dx + b * dy,
      beside = Math.abs(a * dy - b * dx);
    if (view.hovered >= 0 && (along <= 1e-6 || beside > along)) continue;
    const cost = view.hovered < 0 ? Math.hypot(a, b) : along + beside;
    if (cost < least) {
      least = cost;
      best = i;
    }
  }
  if (best >= 0) hover(view, best);
}

// ---- the selection

function selectionState(view) {
  const { n } = view;
  const chosen = new Uint8Array(n);
  view.count = 0;
  Object.assign(view, { chosen });
}

function tell(view, mask, k) {
  const { n, sound, root, told } = view;
  const hear = sound ? " and hear it" : "";
  root.dataset.selected = k;
  told.textContent =
    k || view.lasso
      ? composition(view.column, mask, k, n)
      : `${many(n)} points. Point at one to see it, click to pin it${hear}, drag around some to select them.`;
}

function counts(view, mask) {
  const found = new Int32Array(view.start.length - 1),
    all = new Int32Array(view.start.length - 1);
  for (let g = 0; g < found.length; g++)
    for (let j = view.start[g]; j < view.start[g + 1]; j++) {
      all[g]++;
      if (mask[view.order[j]]) found[g]++;
    }
  return [found, all];
}

// how the entries of the legend stand to the selection
function press(view) {
  const { legend, chosen } = view;
  if (!view.column || view.column.kind !== "category") return;
  const [found, all] = counts(view, chosen);
  for (const entry of legend.children) {
    const g = +entry.dataset.group;
    entry.setAttribute(
      "aria-pressed",
      String(view.count > 0 && view.count === all[g] && found[g] === all[g]),
    );
    entry.lastChild.textContent = view.count ? `${many(found[g])} of ${many(all[g])}` : many(all[g]);
  }
}

function showChosen(view) {
  const { clear, chosen } = view;
  view.count = chosen.reduce((s, v) => s + v, 0);
  drawChosen(view, chosen, view.count);
  tell(view, chosen, view.count);
  press(view);
  clear.disabled = !view.count;
}

function encoded(view) {
  const { n, chosen } = view;
  const data = new DataView(new ArrayBuffer(4 * view.count));
  for (let i = 0, k = 0; i < n; i++) if (chosen[i]) data.setUint32(4 * k++, i, true);
  // Not the DataView: old versions of underscore take all of those for equal, and send nothing.
  return new Uint8Array(data.buffer);
}

function select(view, mask) {
  const { model, chosen } = view;
  chosen.set(mask);
  showChosen(view);
  model.set("chosen", encoded(view));
  model.save_changes();
}

function fromPython(view) {
  const { model, n, chosen } = view;
  const given = bytes(model.get("chosen")),
    data = new DataView(given.buffer),
    mask = new Uint8Array(n);
  for (let k = 0; k + 4 <= given.length; k += 4) {
    const i = data.getUint32(k, true);
    if (i < n) mask[i] = 1;
  }
  if (mask.every((v, i) => v === chosen[i])) return; // our own selection, come back
  chosen.set(mask);
  showChosen(view);
}

const wish = ({ mode }, e) => (e.shiftKey ? "adds" : e.altKey ? "removes" : mode.value);

function combined(view, inside, how, into = new Uint8Array(view.n)) {
  const { n, chosen } = view;
  for (let i = 0; i < n; i++)
    into[i] = how === "adds" ? chosen[i] | inside(i) : how === "removes" ? chosen[i] & ~inside(i) : inside(i);
  return into;
}

// ---- the lasso
// Whether a point is inside is kept up to date edge by edge, so that a long path costs no more than a short
// one

function extend(view, x, y) {
  const { n, X, Y } = view;
  const [ax, ay] = view.lasso.path[view.lasso.path.length - 1];
  if (Math.abs(ax - x) + Math.abs(ay - y) < 1) return;
  view.lasso.path.push([x, y]);
  for (let i = 0; i < n; i++) if (crosses(ax, ay, x, y, X[i], Y[i])) view.lasso.odd[i] ^= 1;
}

function caught(view, how) {
  const { X, Y, preview } = view;
  const [ax, ay] = view.lasso.path[view.lasso.path.length - 1],
    [bx, by] = view.lasso.path[0];
  return combined(
    view,
    (i) => view.lasso.odd[i] ^ (crosses(ax, ay, bx, by, X[i], Y[i]) ? 1 : 0),
    how,
    preview,
  );
}

function drag(view, e) {
  const { root, over } = view;
  const all = e.getCoalescedEvents ? e.getCoalescedEvents() : [];
  for (const part of all.length ? all : [e]) extend(view, ...pointer(part, over));
  const how = wish(view, e),
    mask = caught(view, how);
  const k = mask.reduce((s, v) => s + v, 0);
  drawChosen(view, mask, k);
  drawOver(view);
  tell(view, mask, k);
  Object.assign(root.dataset, { lasso: view.lasso.path.length, mode: how });
}

function drop(view, keep, e) {
  const { root } = view;
  if (!view.lasso) return;
  const mask = keep && view.lasso.path.length > 2 ? caught(view, wish(view, e)) : null;
  view.lasso = null;
  delete root.dataset.mode;
  if (mask) select(view, mask);
  else showChosen(view);
  drawOver(view);
}

// ---- sound, and the clip that goes with it

const decode = (codes) =>
  Float32Array.from(codes, (c) => (Math.sign(c) * Math.expm1((Math.abs(c) / 127) * Math.log(256))) / 255);

function say(view, text, state) {
  const { root, news } = view;
  news.textContent = text;
  root.dataset.sound = state;
}

function hush(view) {
  cancelAnimationFrame(view.turn);
  clearTimeout(view.waiting);
  if (view.source) {
    view.source.onended = null;
    view.source.stop();
    view.source = null;
  }
  for (const p of view.pins) if (p.ctx) drawTile(view, p.ctx, still(view, p.i));
  view.asked = -1;
}

// one pass of a point's clip, sound or both, on one clock
function run(view, i, wave, rate) {
  const { pictures, root } = view;
  hush(view);
  const pin = view.pins.find((p) => p.i === i),
    frames = pictures && pictures.frames > 1 ? pictures.frames : 0;
  let seconds = pictures ? pictures.seconds : 0,
    clock = () => performance.now() / 1000,
    analyser = null,
    loudest = 0,
    begun = clock();
  if (wave) {
    const buffer = view.speaker.createBuffer(1, wave.length, rate);
    buffer.copyToChannel(wave, 0);
    analyser = view.speaker.createAnalyser();
    view.source = view.speaker.createBufferSource();
    view.source.buffer = buffer;
    view.source.connect(analyser);
    analyser.connect(view.speaker.destination);
    seconds = wave.length / rate;
    clock = () => view.speaker.currentTime;
    begun = clock();
    view.source.start();
    say(view, `point ${i} plays`, "plays");
  } else if (!frames) return;
  const heard = analyser ? new Float32Array(analyser.fftSize) : null,
    latest = performance.now() + 1000 * seconds + PATIENCE_MS;
  const next = () => {
    const t = clock() - begun;
    if (performance.now() > latest) {
      hush(view);
      mute(view, "its clock stands still");
      return;
    }
    if (heard) {
      analyser.getFloatTimeDomainData(heard);
      loudest = Math.max(loudest, Math.sqrt(heard.reduce((s, v) => s + v * v, 0) / heard.length));
      root.dataset.rms = loudest.toFixed(4);
    }
    if (t >= seconds) {
      hush(view);
      if (heard) say(view, "", "ended");
      return;
    }
    if (frames && pin)
      drawTile(view, pin.ctx, i * frames + Math.min(frames - 1, Math.floor((t / seconds) * frames)));
    view.turn = requestAnimationFrame(next);
  };
  next();
}

const mute = (view, why) => say(view, `This browser plays no sound (${why}).`, "mute");

function play(view, i) {
  const { model, sound, waves } = view;
  if (!sound) {
    run(view, i);
    return;
  }
  try {
    // Here, in a click's handler: without one a browser stays silent.
    view.speaker = view.speaker || new AudioContext();
    view.speaker.resume().catch((error) => mute(view, error.message));
  } catch (error) {
    run(view, i); // the clip goes on alone
    mute(view, error.message);
    return;
  }
  if (waves) {
    run(view, i, decode(waves.subarray(i * sound.length, (i + 1) * sound.length)), sound.rate);
    return;
  }
  hush(view);
  if (model.alone === true) {
    say(view, "This page carries no sounds: they play where the notebook runs.", "absent");
    return;
  }
  view.asked = i;
  say(view, `asking Python for the sound of point ${i} \u2026`, "asked");
  model.send({ sound: i });
  const help = "The sounds come from Python: run the cell again, or wait until no other cell runs.";
  view.waiting = setTimeout(() => say(view, `No kernel has answered. ${help}`, "unanswered"), PATIENCE_MS);
}

function answered(view, content, buffers) {
  // Meanwhile another point was clicked.
  if (!content || content.sound === undefined || content.sound !== view.asked) return;
  clearTimeout(view.waiting);
  if (content.failed) {
    say(view, `The sound of point ${content.sound} failed. ${content.failed}`, "failed");
    view.asked = -1;
    return;
  }
  run(
    view,
    content.sound,
    Float32Array.from(new Int16Array(bytes(buffers[0]).buffer), (v) => v / 32767),
    content.rate,
  );
}

// ---- pins

function unpin(view, i) {
  const { root } = view;
  const p = view.pins.find((q) => q.i === i);
  // Where else would the keys go?
  if (p.node.contains(root.getRootNode().activeElement)) root.focus({ preventScroll: true });
  p.node.remove();
  view.pins = view.pins.filter((q) => q !== p);
  root.dataset.pins = view.pins.map((q) => q.i).join();
  drawOver(view);
}

function pin(view, i) {
  const { pictures, sound, root, row } = view;
  if (view.pins.some((p) => p.i === i)) {
    hush(view);
    unpin(view, i);
    return;
  }
  if (view.pins.length === PINS) unpin(view, view.pins[0].i);
  const node = make("div", "pin", row),
    head = make("div", "head", node);
  view.number = view.pins.length ? view.number + 1 : 1;
  make("span", "", head, { textContent: `${view.number}: point ${i}` });
  const button = (act, text, label) => {
    const made = make("button", "", head, { type: "button", textContent: text, title: label });
    made.setAttribute("aria-label", label);
    Object.assign(made.dataset, { act, i });
  };
  if (sound || (pictures && pictures.frames > 1)) button("play", "\u25B6", `play point ${i}`);
  button("remove", "\u2715", `remove point ${i}`);
  const line = make("div", "row", node),
    ctx = pictures ? tileCanvas(view, line) : null;
  addValues(view, line, i);
  view.pins.push({ i, node, ctx, number: view.number });
  if (ctx) drawTile(view, ctx, still(view, i));
  root.dataset.pins = view.pins.map((p) => p.i).join();
  drawOver(view);
  play(view, i);
}

// ---- the legend: entries to press, a bar, or a ring

function scaleCanvas(view, w, h) {
  const { legend } = view;
  view.scale = [w, h, ...sheet(legend, "scale", w, h)];
  view.scale[2].setAttribute("role", "img");
}

function drawLegend(view) {
  const { scales, root, ink, legend } = view;
  const colour = ink();
  for (const entry of legend.querySelectorAll("button")) {
    const ctx = entry.firstChild.getContext("2d");
    const [fill, marker] = look(view, view.column, +entry.dataset.group);
    ctx.clearRect(0, 0, 16, 16);
    ctx.fillStyle = bright(fill, colour);
    mark(ctx, marker, 8, 8, 5);
  }
  if (!view.scale) return;
  const { column } = view;
  const [w, h, canvas, ctx] = view.scale;
  ctx.clearRect(0, 0, w, h);
  ctx.font = `11px ${getComputedStyle(root).fontFamily || "sans-serif"}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  const [drawn, words] =
    column.kind === "angle"
      ? [drawRing, "a circle of colours, a quarter each at"]
      : [drawRamp, "dark is low, light is high; marks at"];
  const ticks = drawn(ctx, column, scales[column.kind], colour, w, h);
  canvas.setAttribute("aria-label", `${column.name}: ${words} ${ticks.join(", ")}`);
}

// The colours of angles, counterclockwise from the right, as angles are drawn. Returns what is written at the
// quarters.
function drawRing(ctx, column, paintOf, colour, w, h) {
  const x = w / 2;
  const y = h / 2;
  const k = paintOf.length;
  const whole = Math.abs(column.turn - 2 * Math.PI) < 1e-3;
  for (let j = 0; j < k; j++) {
    const from = (-j / k) * 2 * Math.PI;
    const to = (-(j + 1.1) / k) * 2 * Math.PI;
    ctx.fillStyle = paintOf[j];
    ctx.beginPath();
    ctx.arc(x, y, 50, from, to, true);
    ctx.arc(x, y, 34, to, from);
    ctx.fill();
  }
  const ticks = [0, 1, 2, 3].map((q) =>
    whole ? ["0", "\u03C0/2", "\u03C0", "3\u03C0/2"][q] : String(+((q * column.turn) / 4).toPrecision(3)),
  );
  const places = [
    [66, 0],
    [0, -60],
    [-68, 0],
    [0, 61],
  ];
  ctx.fillStyle = colour;
  for (const [q, [dx, dy]] of places.entries()) ctx.fillText(ticks[q], x + dx, y + dy);
  return ticks;
}

// The colours of numbers from low to high. Returns the numbers at its marks.
function drawRamp(ctx, column, paintOf, colour, w) {
  const { low, high } = column;
  const left = 8;
  const right = w - 12;
  const span = high - low;
  const k = paintOf.length;
  for (let j = 0; j < k; j++) {
    ctx.fillStyle = paintOf[j];
    ctx.fillRect(left + (j / k) * (right - left), 4, (right - left) / k + 0.6, 14);
  }
  const ticks = span > 0 ? roundNumbers(low, high, span) : [low];
  ctx.fillStyle = ctx.strokeStyle = colour;
  for (const v of ticks) {
    const x = left + (span > 0 ? (v - low) / span : 0.5) * (right - left);
    ctx.beginPath();
    ctx.moveTo(x, 18);
    ctx.lineTo(x, 22);
    ctx.stroke();
    ctx.fillText(String(+v.toPrecision(4)), x, 31);
  }
  return ticks;
}

function roundNumbers(low, high, span) {
  const rough = span / 3.5;
  const unit = 10 ** Math.floor(Math.log10(rough || 1));
  const step = unit * [1, 2, 2.5, 5, 10].find((s) => s * unit >= rough * 0.8);
  const ticks = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + 1e-9 * span; v += step)
    ticks.push(+v.toPrecision(6));
  return ticks;
}

function buildLegend(view) {
  const { n, heading, legend } = view;
  legend.replaceChildren();
  view.scale = null;
  heading.textContent = view.column ? view.column.name : "";
  if (!view.column) return;
  if (view.column.kind === "category") {
    for (let g = 0; g < view.start.length - 1; g++) {
      if (view.start[g] === view.start[g + 1]) continue;
      const entry = make("button", "", legend, {
        type: "button",
        title: "select these; with Shift add them, with Alt remove them",
      });
      entry.dataset.group = g;
      sheet(entry, "", 16, 16);
      const name = g === view.column.names.length ? "unknown" : view.column.names[g];
      make("span", "name", entry, {
        textContent: view.column.signs[g] ? `${view.column.signs[g]} ${name}` : name,
      });
      make("span", "count", entry);
    }
    press(view);
  } else {
    view.column.kind === "angle" ? scaleCanvas(view, 174, 140) : scaleCanvas(view, 174, 40);
    const missing = n - view.start[view.start.length - 2];
    if (missing) make("div", "note", legend, { textContent: `grey: no value (${many(missing)})` });
  }
  drawLegend(view);
}

function colour(view, name) {
  const { root, columns, chooser, chosen } = view;
  view.column = columns.find((c) => c.name === name) || null;
  if (chooser) chooser.value = name;
  root.dataset.by = view.column ? view.column.name : "";
  sort(view);
  buildLegend(view);
  drawBase(view);
  drawChosen(view, chosen, view.count);
  tell(view, chosen, view.count);
}

// ---- events

function listenToPointer(view) {
  const { n, root, listen, nearestTo, over } = view;
  listen(over, "pointermove", (e) => {
    const [x, y] = pointer(e, over);
    if (view.down && !view.lasso && Math.hypot(x - view.down[0], y - view.down[1]) > DRAG) {
      hover(view, -1);
      view.lasso = { path: [view.down], odd: new Uint8Array(n) };
    }
    if (view.lasso) drag(view, e);
    else if (!view.down) hover(view, nearestTo(x, y, NEAR));
  });
  listen(over, "pointerdown", (e) => {
    if (e.button !== 0) return;
    view.down = pointer(e, over);
    over.setPointerCapture(e.pointerId); // the lasso goes on outside of the map
    root.focus({ preventScroll: true });
    e.preventDefault(); // no text is selected, no picture dragged
  });
  listen(over, "pointerup", (e) => {
    if (e.button !== 0 || !view.down) return;
    view.down = null;
    if (view.lasso) {
      drag(view, e);
      drop(view, true, e);
      return;
    }
    const i = nearestTo(...pointer(e, over), NEAR);
    if (i >= 0) {
      hover(view, i);
      pin(view, i);
    }
  });
  listen(over, "pointercancel", (e) => {
    view.down = null;
    drop(view, false, e);
  });
  listen(over, "pointerleave", () => {
    if (!view.lasso) hover(view, -1);
  });
}

function listenToControls(view) {
  const { model, n, listen, chooser, clear, legend, row } = view;
  if (chooser)
    listen(chooser, "change", () => {
      colour(view, chooser.value);
      model.set("by", chooser.value);
      model.save_changes();
    });
  listen(clear, "click", () => select(view, new Uint8Array(n)));
  listen(legend, "click", (e) => {
    const entry = e.target.closest("button");
    if (!entry) return;
    const g = +entry.dataset.group,
      how = wish(view, e),
      inside = new Uint8Array(n);
    for (let j = view.start[g]; j < view.start[g + 1]; j++) inside[view.order[j]] = 1;
    // Pressed again: let go.
    if (how === "selects" && entry.getAttribute("aria-pressed") === "true") inside.fill(0);
    select(
      view,
      combined(view, (i) => inside[i], how),
    );
  });
  listen(row, "click", (e) => {
    const button = e.target.closest("button");
    if (!button) return;
    if (button.dataset.act === "play") play(view, +button.dataset.i);
    else {
      hush(view);
      unpin(view, +button.dataset.i);
    }
  });
}

function listenToKeys(view) {
  const { n, root, listen, over, chosen } = view;
  listen(root, "keydown", (e) => {
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
    if (e.key === "Escape") {
      if (view.lasso) {
        view.down = null;
        drop(view, false, e);
      } else if (view.count) select(view, new Uint8Array(n));
      else hover(view, -1);
    } else if (e.target !== root)
      return; // a button, or the choice of colours, has these keys for itself
    else if (step) walk(view, ...step);
    else if (e.key === "Enter") {
      if (view.hovered >= 0) pin(view, view.hovered);
    } else if (e.key === " ") {
      if (view.hovered >= 0)
        select(
          view,
          combined(view, (i) => (i === view.hovered ? 1 - chosen[i] : chosen[i]), "selects"),
        );
    } else return;
    e.preventDefault();
    e.stopPropagation(); // the notebook would scroll, or leave the cell
  });
  listen(root, "blur", () => {
    if (!over.matches(":hover")) hover(view, -1);
  });
}

function followPython(view) {
  const { model } = view;
  const heard = (content, buffers) => answered(view, content, buffers);
  model.on("msg:custom", heard);
  view.later(() => model.off("msg:custom", heard));
  view.follow("chosen", () => fromPython(view));
  view.follow("by", () => {
    if (model.get("by") !== (view.column ? view.column.name : "")) colour(view, model.get("by"));
  });
  view.follow("failed", () => showTrouble(view));
  view.later(() => {
    stopFilm(view);
    hush(view);
    if (view.speaker) view.speaker.close();
    view.closed = true;
    if (view.tiles) view.tiles.close();
  });
}

function showTrouble(view) {
  const { model, trouble } = view;
  trouble.textContent = model.get("failed");
}

function render({ model, el }) {
  const about = model.get("about"),
    n = about.points,
    { pictures, sound, scales, colours } = about;
  const view = open(
    { model, el },
    "ssl-clusters",
    "Map of points. Arrow keys walk from point to point, Enter pins, Space selects, Escape clears.",
    LOOK,
  );
  const { root } = view;
  Object.assign(view, { model, about, n, pictures, sound, scales, colours });
  readData(view);
  buildBar(view);
  buildMap(view);
  buildSide(view);
  initialState(view);
  buildTip(view);
  selectionState(view);
  listenToPointer(view);
  listenToControls(view);
  listenToKeys(view);
  followPython(view);
  Object.assign(root.dataset, { points: n, pins: "", hover: "", selected: 0 });
  colour(view, model.get("by"));
  showChosen(view);
  fromPython(view); // what Python has selected already
  showTrouble(view);
  if (pictures)
    picture(model.get("tiles"), pictures.type).then((sheetOfTiles) => {
      if (view.closed) {
        sheetOfTiles.close();
        return;
      }
      view.tiles = sheetOfTiles;
      root.dataset.pictures = "ready";
      for (const p of view.pins) drawTile(view, p.ctx, still(view, p.i));
      if (view.hovered >= 0) drawTile(view, view.tipTile, still(view, view.hovered));
    });
  view.themed(() => {
    drawBase(view);
    drawLegend(view);
  });
  return view.close;
}

export default { render };
