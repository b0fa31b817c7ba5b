// A map of thousands of points: hover shows, click pins and plays, dragging draws a lasso, the selection goes to Python as indices.
// Three canvases lie on each other: all points (redrawn when they are coloured anew), a veil with the selected points (at each change
// of the selection), and what follows the pointer. So a moved pointer costs a few strokes, whatever the number of points.
// data-* on the root are there for tests: points, by, hover, selected, pins, lasso (corners), mode, draws, frame (of the clip at the
// pointer), rms (loudest of the sound last played), sound (what it is doing).

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
.ssl-clusters .legend { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 1px 6px; max-height: 452px; overflow-y: auto; padding: 2px; }
.ssl-clusters .legend button { display: flex; align-items: center; gap: 6px; padding: 2px 6px; border-color: transparent; background: transparent;
  text-align: left; min-width: 0; }
.ssl-clusters .legend button:hover { background: var(--jp-layout-color2, rgba(128,128,128,.15)); }
.ssl-clusters .legend button[aria-pressed=true] { border-color: currentColor; background: var(--jp-layout-color2, rgba(128,128,128,.15)); }
.ssl-clusters .legend .name { flex: 1; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.ssl-clusters .legend .count { opacity: .75; font-size: 11.5px; font-variant-numeric: tabular-nums; }
.ssl-clusters .told { min-height: 1.35em; margin: 6px 0 0; font-variant-numeric: tabular-nums; }
.ssl-clusters .tip { padding: 6px 8px; white-space: normal; box-shadow: 0 1px 6px rgba(0,0,0,.35); }
.ssl-clusters .tip .row { display: flex; gap: 9px; align-items: flex-start; }
.ssl-clusters canvas.tile { image-rendering: pixelated; flex: none; }
.ssl-clusters .values { display: grid; grid-template-columns: auto auto; gap: 0 8px; font-size: 11.5px; line-height: 1.3; white-space: nowrap; }
.ssl-clusters .values.wide { grid-template-columns: auto auto auto auto; }
.ssl-clusters .values .key { opacity: .75; text-align: right; }
.ssl-clusters .pins { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 8px; }
.ssl-clusters .pins:empty { display: none; }
.ssl-clusters .pin { border: 1px solid var(--jp-border-color1, rgba(128,128,128,.5)); border-radius: 4px; padding: 5px 7px; }
.ssl-clusters .pin .head { display: flex; align-items: center; gap: 6px; margin-bottom: 4px; font-weight: 600; }
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
  if (column.kind === "category") {
    const counts = new Map();
    for (let i = 0; i < n; i++)
      if (mask[i]) counts.set(column.values[i], (counts.get(column.values[i]) || 0) + 1);
    const order = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
    const shown = order.length <= most + 1 ? order : order.slice(0, most),
      rest = order.slice(shown.length);
    const word = (c) =>
      c === NONE
        ? "unknown"
        : /^[\d.-]+$/.test(column.names[c])
          ? `${column.name} ${column.names[c]}`
          : column.names[c];
    const parts = shown.map(([c, k]) => `${word(c)} ${percent(k, count)}`);
    if (rest.length)
      parts.push(
        `${rest.length} others ${percent(
          rest.reduce((s, [, k]) => s + k, 0),
          count,
        )}`,
      );
    return `${head}: ${parts.join(", ")}`;
  }
  const known = [],
    all = [];
  for (let i = 0; i < n; i++)
    if (Number.isFinite(column.values[i])) {
      all.push(column.values[i]);
      if (mask[i]) known.push(column.values[i]);
    }
  if (!known.length) return `${head}: ${column.name} unknown`;
  if (column.kind === "angle") {
    const [mean, agreement] = circular(known, column.turn);
    return `${head}: ${column.name} around ${figure(mean)}, agreement ${agreement.toFixed(2)} (all ${circular(all, column.turn)[1].toFixed(2)})`;
  }
  let low = Infinity,
    high = -Infinity;
  for (const v of known) {
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  const mean = (vs) => figure(vs.reduce((s, v) => s + v, 0) / vs.length);
  return `${head}: ${column.name} ${figure(low)} to ${figure(high)}, mean ${mean(known)} (all ${mean(all)})`;
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

// A marker's corners, recorded once: replaying numbers thousands of times is three times faster than drawing each marker anew.
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

// Whether the edge from (ax, ay) to (bx, by) is crossed on the way from a point to the right: an odd number of crossings means inside.
const crosses = (ax, ay, bx, by, x, y) => ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax;

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
  const { root, ink, listen } = view;

  // ---- the data
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
  const waves = sound && sound.stored ? new Int8Array(bytes(model.get("sounds")).buffer) : null;
  const steps = (c) => scales[c.kind].length;
  // Which colour a point has, as a number; the last one is that of points without a value.
  const groupOf = (c, v) => {
    if (c.kind === "category") return v === NONE ? c.names.length : v;
    if (!Number.isFinite(v)) return steps(c);
    const share =
      c.kind === "angle" ? v / c.turn - Math.floor(v / c.turn) : (v - c.low) / (c.high - c.low || 1);
    return Math.min(steps(c) - 1, Math.floor(share * steps(c)));
  };
  const look = (c, g) => {
    // the colour and the marker of a group
    if (!c || g >= (c.kind === "category" ? c.names.length : steps(c))) return [NOBODY, "circle"];
    if (c.kind !== "category") return [scales[c.kind][g], "circle"];
    return [c.colours[g] || colours[g % colours.length], c.marks[g] || MARKS[(g + Math.floor(g / 10)) % 10]]; // ten times ten that differ
  };
  const wordOf = (c, i) => {
    const v = c.values[i];
    if (c.kind !== "category") return figure(v);
    return v === NONE ? "unknown" : c.signs[v] ? `${c.signs[v]} ${c.names[v]}` : c.names[v];
  };

  // ---- the page
  if (about.title) make("div", "title", root, { textContent: about.title });
  const bar = make("div", "bar", root);
  const choice = (text, name, options) => {
    const label = make("label", "", bar, { textContent: text + " " });
    const input = make("select", name, label);
    options.forEach((o) => make("option", "", input, { textContent: o, value: o }));
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
  const body = make("div", "body", root),
    holder = make("div", "map", body);
  const [, base] = sheet(holder, "under points", MAP, MAP),
    [, middle] = sheet(holder, "under chosen", MAP, MAP),
    [over, top] = sheet(holder, "over", MAP, MAP);
  const tip = make("div", "tip", holder);
  tip.setAttribute("role", "status"); // read out as one walks
  const side = make("div", "side", body),
    heading = make("div", "title", side),
    legend = make("div", "legend", side);
  const told = make("div", "told", root),
    news = make("div", "note news", root),
    trouble = make("div", "note trouble", root);
  for (const node of [told, news, trouble]) node.setAttribute("aria-live", "polite");
  const row = make("div", "pins", root);

  // ---- what is drawn
  const radius = n > 3000 ? 2.4 : n > 1200 ? 3 : n > 300 ? 3.8 : 4.6;
  const shapes = new Map(); // marker and size -> corners
  let column = null,
    start = null,
    order = null,
    draws = 0; // `order`: the points, group after group from `start[g]` on
  const sort = () => {
    const groups = column ? (column.kind === "category" ? column.names.length : steps(column)) + 1 : 1;
    const of = new Int32Array(n);
    start = new Int32Array(groups + 1);
    order = new Int32Array(n);
    for (let i = 0; i < n; i++) {
      if (column) of[i] = groupOf(column, column.values[i]);
      start[of[i] + 1]++;
    }
    for (let g = 0; g < groups; g++) start[g + 1] += start[g];
    const next = start.slice();
    for (let i = 0; i < n; i++) order[next[of[i]]++] = i;
  };
  // Two dozen markers of a group are filled together, then some of the next group: where points are dense, no group covers all others.
  // (More in one path would cost more, too: Chromium's time grows with the square of its straight lines. 5,000 crosses in one path take
  // 227 ms, in pieces of 16 they take 2.) Points without a value come first, beneath the others.
  const PIECE = 24;
  const paint = (ctx, only, r) => {
    const groups = start.length - 1;
    const fill = (g, from, to) => {
      if (from === to) return;
      const [colour, marker] = look(column, g),
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
  };
  // The ground stays white on a dark page, as in the stored picture: the palette's dark inks would vanish on black.
  const drawBase = () => {
    base.fillStyle = "#fff";
    base.fillRect(0, 0, MAP, MAP);
    base.globalAlpha = 0.85;
    paint(base, null, radius);
    base.globalAlpha = 1;
    base.strokeStyle = "#c9d1d9";
    base.strokeRect(0.5, 0.5, MAP - 1, MAP - 1);
    root.dataset.draws = ++draws;
  };
  const drawChosen = (mask, count) => {
    middle.clearRect(0, 0, MAP, MAP);
    if (!count) return;
    middle.fillStyle = "rgba(255, 255, 255, .8)";
    middle.fillRect(1, 1, MAP - 2, MAP - 2); // the others fade
    paint(middle, mask, radius + 0.8);
  };
  const ring = (i, r, text) => {
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
  };
  const drawOver = () => {
    top.clearRect(0, 0, MAP, MAP);
    if (lasso) {
      top.beginPath();
      lasso.path.forEach(([x, y], i) => (i ? top.lineTo(x, y) : top.moveTo(x, y)));
      top.closePath();
      top.fillStyle = "rgba(0, 90, 200, .1)";
      top.fill();
      top.lineWidth = 1.5;
      top.strokeStyle = "#111";
      top.setLineDash([5, 4]);
      top.stroke();
      top.setLineDash([]);
    }
    pins.forEach((p) => ring(p.i, radius + 3.5, String(p.number)));
    if (hovered >= 0) ring(hovered, radius + 3.5);
  };

  // ---- pictures
  let tiles = null,
    closed = false;
  const still = (i) => (pictures.frames ? i * pictures.frames + Math.floor(pictures.frames / 2) : i);
  const tileCanvas = (parent) => {
    const canvas = make("canvas", "tile", parent, { width: pictures.tile, height: pictures.tile });
    canvas.style.width = canvas.style.height =
      pictures.tile * Math.max(1, Math.round(104 / pictures.tile)) + "px";
    return canvas.getContext("2d");
  };
  const drawTile = (ctx, number) => {
    if (!tiles) return;
    const t = pictures.tile;
    ctx.drawImage(
      tiles,
      (number % pictures.across) * t,
      Math.floor(number / pictures.across) * t,
      t,
      t,
      0,
      0,
      t,
      t,
    );
  };
  const addValues = (parent, i) => {
    const box = make("div", columns.length > 8 ? "values wide" : "values", parent);
    for (const c of columns) {
      make("span", "key", box, { textContent: c.name });
      make("span", "value", box, { textContent: wordOf(c, i) });
    }
  };

  // ---- hover
  let hovered = -1,
    film = null;
  const tipRow = make("div", "row", tip),
    tipTile = pictures ? tileCanvas(tipRow) : null,
    tipText = make("div", "text", tipRow);
  const stopFilm = () => {
    clearInterval(film);
    film = null;
    delete root.dataset.frame;
  };
  const hover = (i) => {
    if (i === hovered) return;
    hovered = i;
    stopFilm();
    root.dataset.hover = i < 0 ? "" : i;
    tip.style.display = i < 0 ? "none" : "block";
    drawOver();
    if (i < 0) return;
    if (tipTile) drawTile(tipTile, still(i));
    if (pictures && pictures.frames > 1) {
      // the clip plays, in silence
      let frame = 0;
      const show = () => {
        drawTile(tipTile, i * pictures.frames + frame);
        root.dataset.frame = frame;
        frame = (frame + 1) % pictures.frames;
      };
      show();
      film = setInterval(show, (1000 * pictures.seconds) / pictures.frames);
    }
    tipText.replaceChildren();
    make("div", "", tipText, { textContent: `point ${i}` }).style.fontWeight = "600";
    addValues(tipText, i);
    const scale = over.clientWidth / MAP || 1,
      x = X[i] * scale,
      y = Y[i] * scale,
      w = tip.offsetWidth,
      h = tip.offsetHeight;
    const room = root.clientWidth - holder.offsetLeft;
    tip.style.left = (x + 16 + w <= room ? x + 16 : Math.max(-holder.offsetLeft, x - 16 - w)) + "px";
    tip.style.top = Math.max(0, Math.min(y - h / 2, MAP * scale - h)) + "px";
  };
  // The next point in a direction: along it, not too far beside.
  const walk = (dx, dy) => {
    let best = -1,
      least = Infinity;
    const x = hovered < 0 ? MAP / 2 : X[hovered],
      y = hovered < 0 ? MAP / 2 : Y[hovered];
    for (let i = 0; i < n; i++) {
      const a = X[i] - x,
        b = Y[i] - y,
        along = a * dx + b * dy,
        beside = Math.abs(a * dy - b * dx);
      if (hovered >= 0 && (along <= 1e-6 || beside > along)) continue;
      const cost = hovered < 0 ? Math.hypot(a, b) : along + beside;
      if (cost < least) {
        least = cost;
        best = i;
      }
    }
    if (best >= 0) hover(best);
  };

  // ---- the selection
  const chosen = new Uint8Array(n);
  let count = 0;
  const tell = (mask, k) => {
    root.dataset.selected = k;
    told.textContent =
      k || lasso
        ? composition(column, mask, k, n)
        : `${many(n)} points. Point at one to see it, click to pin it${sound ? " and hear it" : ""}, drag around some to select them.`;
  };
  const counts = (mask) => {
    const found = new Int32Array(start.length - 1),
      all = new Int32Array(start.length - 1);
    for (let g = 0; g < found.length; g++)
      for (let j = start[g]; j < start[g + 1]; j++) {
        all[g]++;
        if (mask[order[j]]) found[g]++;
      }
    return [found, all];
  };
  const press = () => {
    // how the entries of the legend stand to the selection
    if (!column || column.kind !== "category") return;
    const [found, all] = counts(chosen);
    for (const entry of legend.children) {
      const g = +entry.dataset.group;
      entry.setAttribute("aria-pressed", String(count > 0 && count === all[g] && found[g] === all[g]));
      entry.lastChild.textContent = count ? `${many(found[g])} of ${many(all[g])}` : many(all[g]);
    }
  };
  const showChosen = () => {
    count = chosen.reduce((s, v) => s + v, 0);
    drawChosen(chosen, count);
    tell(chosen, count);
    press();
    clear.disabled = !count;
  };
  const encoded = () => {
    const data = new DataView(new ArrayBuffer(4 * count));
    for (let i = 0, k = 0; i < n; i++) if (chosen[i]) data.setUint32(4 * k++, i, true);
    return new Uint8Array(data.buffer); // and not the DataView: old versions of underscore take all of those for equal, and send nothing
  };
  const select = (mask) => {
    chosen.set(mask);
    showChosen();
    model.set("chosen", encoded());
    model.save_changes();
  };
  const fromPython = () => {
    const given = bytes(model.get("chosen")),
      data = new DataView(given.buffer),
      mask = new Uint8Array(n);
    for (let k = 0; k + 4 <= given.length; k += 4) {
      const i = data.getUint32(k, true);
      if (i < n) mask[i] = 1;
    }
    if (mask.every((v, i) => v === chosen[i])) return; // our own selection, come back
    chosen.set(mask);
    showChosen();
  };
  const wish = (e) => (e.shiftKey ? "adds" : e.altKey ? "removes" : mode.value);
  const combined = (inside, how, into = new Uint8Array(n)) => {
    for (let i = 0; i < n; i++)
      into[i] =
        how === "adds" ? chosen[i] | inside(i) : how === "removes" ? chosen[i] & ~inside(i) : inside(i);
    return into;
  };

  // ---- the lasso: whether a point is inside is kept up to date edge by edge, so that a long path costs no more than a short one
  let lasso = null,
    down = null;
  const preview = new Uint8Array(n);
  const extend = (x, y) => {
    const [ax, ay] = lasso.path[lasso.path.length - 1];
    if (Math.abs(ax - x) + Math.abs(ay - y) < 1) return;
    lasso.path.push([x, y]);
    for (let i = 0; i < n; i++) if (crosses(ax, ay, x, y, X[i], Y[i])) lasso.odd[i] ^= 1;
  };
  const caught = (how) => {
    const [ax, ay] = lasso.path[lasso.path.length - 1],
      [bx, by] = lasso.path[0];
    return combined((i) => lasso.odd[i] ^ (crosses(ax, ay, bx, by, X[i], Y[i]) ? 1 : 0), how, preview);
  };
  const drag = (e) => {
    const all = e.getCoalescedEvents ? e.getCoalescedEvents() : [];
    for (const part of all.length ? all : [e]) extend(...pointer(part, over));
    const how = wish(e),
      mask = caught(how);
    const k = mask.reduce((s, v) => s + v, 0);
    drawChosen(mask, k);
    drawOver();
    tell(mask, k);
    Object.assign(root.dataset, { lasso: lasso.path.length, mode: how });
  };
  const drop = (keep, e) => {
    if (!lasso) return;
    const mask = keep && lasso.path.length > 2 ? caught(wish(e)) : null;
    lasso = null;
    delete root.dataset.mode;
    if (mask) select(mask);
    else showChosen();
    drawOver();
  };

  // ---- sound, and the clip that goes with it
  let speaker = null,
    source = null,
    turn = 0,
    waiting = null,
    asked = -1;
  const decode = (codes) =>
    Float32Array.from(codes, (c) => (Math.sign(c) * Math.expm1((Math.abs(c) / 127) * Math.log(256))) / 255);
  const say = (text, state) => {
    news.textContent = text;
    root.dataset.sound = state;
  };
  const hush = () => {
    cancelAnimationFrame(turn);
    clearTimeout(waiting);
    if (source) {
      source.onended = null;
      source.stop();
      source = null;
    }
    for (const p of pins) if (p.ctx) drawTile(p.ctx, still(p.i));
    asked = -1;
  };
  const run = (i, wave, rate) => {
    // one pass of a point's clip, sound or both, on one clock
    hush();
    const pin = pins.find((p) => p.i === i),
      frames = pictures && pictures.frames > 1 ? pictures.frames : 0;
    let seconds = pictures ? pictures.seconds : 0,
      clock = () => performance.now() / 1000,
      analyser = null,
      loudest = 0,
      begun = clock();
    if (wave) {
      const buffer = speaker.createBuffer(1, wave.length, rate);
      buffer.copyToChannel(wave, 0);
      analyser = speaker.createAnalyser();
      source = speaker.createBufferSource();
      source.buffer = buffer;
      source.connect(analyser);
      analyser.connect(speaker.destination);
      seconds = wave.length / rate;
      clock = () => speaker.currentTime;
      begun = clock();
      source.start();
      say(`point ${i} plays`, "plays");
    } else if (!frames) return;
    const heard = analyser ? new Float32Array(analyser.fftSize) : null,
      latest = performance.now() + 1000 * seconds + PATIENCE_MS;
    const next = () => {
      const t = clock() - begun;
      if (performance.now() > latest) {
        hush();
        mute("its clock stands still");
        return;
      }
      if (heard) {
        analyser.getFloatTimeDomainData(heard);
        loudest = Math.max(loudest, Math.sqrt(heard.reduce((s, v) => s + v * v, 0) / heard.length));
        root.dataset.rms = loudest.toFixed(4);
      }
      if (t >= seconds) {
        hush();
        if (heard) say("", "ended");
        return;
      }
      if (frames && pin)
        drawTile(pin.ctx, i * frames + Math.min(frames - 1, Math.floor((t / seconds) * frames)));
      turn = requestAnimationFrame(next);
    };
    next();
  };
  const mute = (why) => say(`This browser plays no sound (${why}).`, "mute");
  const play = (i) => {
    if (!sound) {
      run(i);
      return;
    }
    try {
      speaker = speaker || new AudioContext(); // here, in a click's handler: without one a browser stays silent
      speaker.resume().catch((error) => mute(error.message));
    } catch (error) {
      run(i);
      mute(error.message);
      return;
    } // the clip goes on alone
    if (waves) {
      run(i, decode(waves.subarray(i * sound.length, (i + 1) * sound.length)), sound.rate);
      return;
    }
    hush();
    if (model.alone === true) {
      say("This page carries no sounds: they play where the notebook runs.", "absent");
      return;
    }
    asked = i;
    say(`asking Python for the sound of point ${i} \u2026`, "asked");
    model.send({ sound: i });
    waiting = setTimeout(
      () =>
        say(
          "No kernel has answered. The sounds come from Python: run the cell again, or wait until no other cell runs.",
          "unanswered",
        ),
      PATIENCE_MS,
    );
  };
  const answered = (content, buffers) => {
    if (!content || content.sound === undefined || content.sound !== asked) return; // meanwhile another point was clicked
    clearTimeout(waiting);
    if (content.failed) {
      say(`The sound of point ${content.sound} failed. ${content.failed}`, "failed");
      asked = -1;
      return;
    }
    run(
      content.sound,
      Float32Array.from(new Int16Array(bytes(buffers[0]).buffer), (v) => v / 32767),
      content.rate,
    );
  };

  // ---- pins
  let pins = [],
    number = 0;
  const unpin = (i) => {
    const p = pins.find((q) => q.i === i);
    if (p.node.contains(root.getRootNode().activeElement)) root.focus({ preventScroll: true }); // where else would the keys go?
    p.node.remove();
    pins = pins.filter((q) => q !== p);
    root.dataset.pins = pins.map((q) => q.i).join();
    drawOver();
  };
  const pin = (i) => {
    if (pins.some((p) => p.i === i)) {
      hush();
      unpin(i);
      return;
    }
    if (pins.length === PINS) unpin(pins[0].i);
    const node = make("div", "pin", row),
      head = make("div", "head", node);
    number = pins.length ? number + 1 : 1;
    make("span", "", head, { textContent: `${number}: point ${i}` });
    const button = (act, text, label) => {
      const made = make("button", "", head, { type: "button", textContent: text, title: label });
      made.setAttribute("aria-label", label);
      Object.assign(made.dataset, { act, i });
    };
    if (sound || (pictures && pictures.frames > 1)) button("play", "\u25B6", `play point ${i}`);
    button("remove", "\u2715", `remove point ${i}`);
    const line = make("div", "row", node),
      ctx = pictures ? tileCanvas(line) : null;
    addValues(line, i);
    pins.push({ i, node, ctx, number });
    if (ctx) drawTile(ctx, still(i));
    root.dataset.pins = pins.map((p) => p.i).join();
    drawOver();
    play(i);
  };

  // ---- the legend: entries to press, a bar, or a ring
  let scale = null;
  const scaleCanvas = (w, h) => {
    scale = [w, h, ...sheet(legend, "scale", w, h)];
    scale[2].setAttribute("role", "img");
  };
  const drawLegend = () => {
    const colour = ink();
    for (const entry of legend.querySelectorAll("button")) {
      const ctx = entry.firstChild.getContext("2d"),
        [fill, marker] = look(column, +entry.dataset.group);
      ctx.clearRect(0, 0, 16, 16);
      ctx.fillStyle = bright(fill, colour);
      mark(ctx, marker, 8, 8, 5);
    }
    if (!scale) return;
    const [w, h, canvas, ctx] = scale,
      paintOf = scales[column.kind],
      k = paintOf.length;
    ctx.clearRect(0, 0, w, h);
    ctx.font = "11px " + (getComputedStyle(root).fontFamily || "sans-serif");
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    let ticks;
    if (column.kind === "angle") {
      const x = w / 2,
        y = h / 2,
        whole = Math.abs(column.turn - 2 * Math.PI) < 1e-3;
      for (let j = 0; j < k; j++) {
        // counterclockwise from the right, as angles are drawn
        ctx.fillStyle = paintOf[j];
        ctx.beginPath();
        ctx.arc(x, y, 50, (-j / k) * 2 * Math.PI, (-(j + 1.1) / k) * 2 * Math.PI, true);
        ctx.arc(x, y, 34, (-(j + 1.1) / k) * 2 * Math.PI, (-j / k) * 2 * Math.PI);
        ctx.fill();
      }
      ticks = [0, 1, 2, 3].map((q) =>
        whole ? ["0", "\u03C0/2", "\u03C0", "3\u03C0/2"][q] : String(+((q * column.turn) / 4).toPrecision(3)),
      );
      ctx.fillStyle = colour;
      [
        [66, 0],
        [0, -60],
        [-68, 0],
        [0, 61],
      ].forEach(([dx, dy], q) => ctx.fillText(ticks[q], x + dx, y + dy));
    } else {
      const left = 8,
        right = w - 12,
        span = column.high - column.low;
      for (let j = 0; j < k; j++) {
        ctx.fillStyle = paintOf[j];
        ctx.fillRect(left + (j / k) * (right - left), 4, (right - left) / k + 0.6, 14);
      }
      const rough = span / 3.5,
        unit = 10 ** Math.floor(Math.log10(rough || 1)),
        step = unit * [1, 2, 2.5, 5, 10].find((s) => s * unit >= rough * 0.8);
      ticks = [];
      if (span > 0)
        for (let v = Math.ceil(column.low / step - 1e-9) * step; v <= column.high + 1e-9 * span; v += step)
          ticks.push(+v.toPrecision(6));
      else ticks = [column.low];
      ctx.fillStyle = ctx.strokeStyle = colour;
      for (const v of ticks) {
        const x = left + (span > 0 ? (v - column.low) / span : 0.5) * (right - left);
        ctx.beginPath();
        ctx.moveTo(x, 18);
        ctx.lineTo(x, 22);
        ctx.stroke();
        ctx.fillText(String(+v.toPrecision(4)), x, 31);
      }
    }
    canvas.setAttribute(
      "aria-label",
      `${column.name}: ${column.kind === "angle" ? "a circle of colours, a quarter each at" : "dark is low, light is high; marks at"} ${ticks.join(", ")}`,
    );
  };
  const buildLegend = () => {
    legend.replaceChildren();
    scale = null;
    heading.textContent = column ? column.name : "";
    if (!column) return;
    if (column.kind === "category") {
      for (let g = 0; g < start.length - 1; g++) {
        if (start[g] === start[g + 1]) continue;
        const entry = make("button", "", legend, {
          type: "button",
          title: "select these; with Shift add them, with Alt remove them",
        });
        entry.dataset.group = g;
        sheet(entry, "", 16, 16);
        const name = g === column.names.length ? "unknown" : column.names[g];
        make("span", "name", entry, { textContent: column.signs[g] ? `${column.signs[g]} ${name}` : name });
        make("span", "count", entry);
      }
      press();
    } else {
      column.kind === "angle" ? scaleCanvas(174, 140) : scaleCanvas(174, 40);
      const missing = n - start[start.length - 2];
      if (missing) make("div", "note", legend, { textContent: `grey: no value (${many(missing)})` });
    }
    drawLegend();
  };
  const colour = (name) => {
    column = columns.find((c) => c.name === name) || null;
    if (chooser) chooser.value = name;
    root.dataset.by = column ? column.name : "";
    sort();
    buildLegend();
    drawBase();
    drawChosen(chosen, count);
    tell(chosen, count);
  };

  // ---- events
  listen(over, "pointermove", (e) => {
    const [x, y] = pointer(e, over);
    if (down && !lasso && Math.hypot(x - down[0], y - down[1]) > DRAG) {
      hover(-1);
      lasso = { path: [down], odd: new Uint8Array(n) };
    }
    if (lasso) drag(e);
    else if (!down) hover(nearestTo(x, y, NEAR));
  });
  listen(over, "pointerdown", (e) => {
    if (e.button !== 0) return;
    down = pointer(e, over);
    over.setPointerCapture(e.pointerId); // the lasso goes on outside of the map
    root.focus({ preventScroll: true });
    e.preventDefault(); // no text is selected, no picture dragged
  });
  listen(over, "pointerup", (e) => {
    if (e.button !== 0 || !down) return;
    down = null;
    if (lasso) {
      drag(e);
      drop(true, e);
      return;
    }
    const i = nearestTo(...pointer(e, over), NEAR);
    if (i >= 0) {
      hover(i);
      pin(i);
    }
  });
  listen(over, "pointercancel", (e) => {
    down = null;
    drop(false, e);
  });
  listen(over, "pointerleave", () => {
    if (!lasso) hover(-1);
  });
  if (chooser)
    listen(chooser, "change", () => {
      colour(chooser.value);
      model.set("by", chooser.value);
      model.save_changes();
    });
  listen(clear, "click", () => select(new Uint8Array(n)));
  listen(legend, "click", (e) => {
    const entry = e.target.closest("button");
    if (!entry) return;
    const g = +entry.dataset.group,
      how = wish(e),
      inside = new Uint8Array(n);
    for (let j = start[g]; j < start[g + 1]; j++) inside[order[j]] = 1;
    if (how === "selects" && entry.getAttribute("aria-pressed") === "true") inside.fill(0); // pressed again: let go
    select(combined((i) => inside[i], how));
  });
  listen(row, "click", (e) => {
    const button = e.target.closest("button");
    if (!button) return;
    if (button.dataset.act === "play") play(+button.dataset.i);
    else {
      hush();
      unpin(+button.dataset.i);
    }
  });
  listen(root, "keydown", (e) => {
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
    if (e.key === "Escape") {
      if (lasso) {
        down = null;
        drop(false, e);
      } else if (count) select(new Uint8Array(n));
      else hover(-1);
    } else if (e.target !== root)
      return; // a button, or the choice of colours, has these keys for itself
    else if (step) walk(...step);
    else if (e.key === "Enter") {
      if (hovered >= 0) pin(hovered);
    } else if (e.key === " ") {
      if (hovered >= 0) select(combined((i) => (i === hovered ? 1 - chosen[i] : chosen[i]), "selects"));
    } else return;
    e.preventDefault();
    e.stopPropagation(); // the notebook would scroll, or leave the cell
  });
  listen(root, "blur", () => {
    if (!over.matches(":hover")) hover(-1);
  });
  model.on("msg:custom", answered);
  view.later(() => model.off("msg:custom", answered));
  view.follow("chosen", fromPython);
  view.follow("by", () => {
    if (model.get("by") !== (column ? column.name : "")) colour(model.get("by"));
  });
  const told_trouble = () => {
    trouble.textContent = model.get("failed");
  };
  view.follow("failed", told_trouble);
  view.later(() => {
    stopFilm();
    hush();
    if (speaker) speaker.close();
    closed = true;
    if (tiles) tiles.close();
  });

  Object.assign(root.dataset, { points: n, pins: "", hover: "", selected: 0 });
  colour(model.get("by"));
  showChosen();
  fromPython(); // what Python has selected already
  told_trouble();
  if (pictures)
    picture(model.get("tiles"), pictures.type).then((sheetOfTiles) => {
      if (closed) {
        sheetOfTiles.close();
        return;
      }
      tiles = sheetOfTiles;
      root.dataset.pictures = "ready";
      for (const p of pins) drawTile(p.ctx, still(p.i));
      if (hovered >= 0) drawTile(tipTile, still(hovered));
    });
  view.themed(() => {
    drawBase();
    drawLegend();
  });
  return view.close;
}

export default { render };
