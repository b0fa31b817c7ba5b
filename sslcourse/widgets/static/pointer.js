// A film to point into: the attention of one pixel over its reference frames, and masks carried along by it.
// Python sends frames, embeddings (float16) and given masks once; attention and propagation are computed
// here, as sslcourse.widgets.video does.
// data-* on the root, for tests: frame, frames, playing, x, y, peak ("frame,row,column,share"), done (frames
// that have labels), tool, object, brush, j (mean J of the shown frame), draws. `root.results` hands out
// whole arrays: labels(), masks(), attention().

const BIG = 288,
  SMALL = 128,
  STEP_MS = 250,
  SLICE_MS = 12,
  CHART_W = 330,
  CHART_H = 158;

const LOOK = `
.ssl-pointer .frame { position: relative; }
.ssl-pointer .right { flex: 1 1 276px; }
.ssl-pointer .refs { display: flex; flex-wrap: wrap; gap: 8px; align-content: flex-start;
  min-height: ${SMALL + 34}px; margin-bottom: 8px; }
.ssl-pointer .refs figure { margin: 0; width: ${SMALL}px; font-size: 12px; position: relative; }
.ssl-pointer .refs figure.gone { display: none; }
.ssl-pointer .refs figcaption { white-space: pre-line; line-height: 1.3; }
.ssl-pointer .refs .note { width: 100%; margin: 0; }
.ssl-pointer .refs .none { font-size: 12px; opacity: .85; max-width: 250px; }
.ssl-pointer canvas.film { cursor: crosshair; }
.ssl-pointer canvas.film.drawing { touch-action: none; cursor: none; }
.ssl-pointer .says { font-size: 12px; margin-top: 4px; min-height: 2.7em; }
.ssl-pointer .settings { display: grid; grid-template-columns: repeat(3, minmax(150px, 1fr)); gap: 2px 18px;
  margin: 10px 0 8px; max-width: 820px; }
.ssl-pointer .settings label { display: grid; grid-template-columns: 1fr auto; font-size: 12px;
  align-items: center; }
.ssl-pointer .settings input { grid-column: 1 / 3; width: 100%; margin: 0; min-width: 0;
  box-sizing: border-box; }
.ssl-pointer .checks { display: flex; flex-wrap: wrap; gap: 2px 18px; font-size: 12px; margin-bottom: 8px; }
.ssl-pointer .checks label { display: inline-flex; gap: 5px; align-items: center; }
.ssl-pointer button[aria-pressed] { display: inline-flex; align-items: center; gap: 5px; }
.ssl-pointer button[aria-pressed=true] { font-weight: 600; box-shadow: inset 0 -3px 0 currentColor; }
.ssl-pointer .brush { display: inline-flex; align-items: center; gap: 6px; font-size: 12px; }
.ssl-pointer .bar .brush input[type=range] { width: 56px; min-width: 0; flex: none; }
`;

// ------------------------------------------------------------------ numbers

const half = (u) => {
  // the bits of a float16
  const sign = u & 0x8000 ? -1 : 1,
    e = (u >> 10) & 31,
    f = u & 1023;
  return sign * (e === 0 ? f * 2 ** -24 : e === 31 ? (f ? NaN : Infinity) : 2 ** (e - 15) * (1 + f / 1024));
};

// Unit vectors, one after another.
const unit = (words, depth) => {
  const v = Float64Array.from(words, half);
  for (let i = 0; i < v.length; i += depth) {
    let length = 0;
    for (let d = 0; d < depth; d++) length += v[i + d] * v[i + d];
    length = Math.max(Math.sqrt(length), 1e-12);
    for (let d = 0; d < depth; d++) v[i + d] /= length;
  }
  return v;
};

const unrolled = (runs, size) => {
  const all = new Uint8Array(size);
  let at = 0;
  for (const run of runs) {
    all.fill(run >>> 24, at, at + (run & 0xffffff));
    at += run & 0xffffff;
  }
  return all;
};

const referencesOf = (t, s) => {
  const refs = [];
  for (let r = Math.max(0, t - s.references); r < t; r++) refs.push(r);
  if (s.first && t && !refs.includes(0)) refs.unshift(0);
  return refs;
};

// The k-th largest of the first n values. Most values do not reach the k best so far, and cost one
// comparison.
const kth = (values, n, k) => {
  const best = new Float32Array(k).fill(-Infinity); // ascending
  for (let i = 0; i < n; i++)
    if (values[i] > best[0]) {
      let p = 0;
      for (; p + 1 < k && best[p + 1] < values[i]; p++) best[p] = best[p + 1];
      best[p] = values[i];
    }
  return best[0];
};

// Where cell j of frame t points to: `where` (frame * cells + cell), `weight`, of `n` matches. Similarities
// are rounded to float32 (by their array) before the best are chosen, and all that equal the last of them
// stay: no tie to break, and Python finds the same.
function attend(film, t, j, s, room) {
  const { rows, columns, depth, vectors } = film,
    cells = rows * columns,
    refs = referencesOf(t, s);
  const row = Math.floor(j / columns),
    column = j % columns,
    target = (t * cells + j) * depth;
  const up = Math.max(0, row - s.window),
    down = Math.min(rows - 1, row + s.window);
  const left = Math.max(0, column - s.window),
    right = Math.min(columns - 1, column + s.window);
  const { similar, where, weight } = room;
  let n = 0;
  for (const r of refs)
    for (let y = up; y <= down; y++)
      for (let x = left; x <= right; x++) {
        const i = r * cells + y * columns + x,
          source = i * depth;
        let sum = 0;
        for (let d = 0; d < depth; d++) sum += vectors[target + d] * vectors[source + d];
        similar[n] = sum;
        where[n++] = i;
      }
  let least = -Infinity,
    most = -Infinity;
  if (s.topk && s.topk < n) least = kth(similar, n, s.topk);
  for (let i = 0; i < n; i++) if (similar[i] > most) most = similar[i];
  let total = 0,
    kept = 0;
  for (let i = 0; i < n; i++)
    if (similar[i] >= least) {
      const w = Math.exp((similar[i] - most) / s.temperature);
      where[kept] = where[i];
      weight[kept++] = w;
      total += w;
    }
  for (let i = 0; i < kept; i++) weight[i] /= total;
  return kept;
}

const roomFor = (size) => ({
  similar: new Float32Array(size),
  where: new Int32Array(size),
  weight: new Float64Array(size),
});

// The share of each label in each cell; cells may differ by a pixel where the sizes do not divide.
function toCells(mask, height, width, rows, columns, count) {
  const y = new Float64Array(rows * columns * count);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) {
      const top = Math.floor((r * height) / rows),
        bottom = Math.ceil(((r + 1) * height) / rows);
      const left = Math.floor((c * width) / columns),
        right = Math.ceil(((c + 1) * width) / columns),
        part = 1 / ((bottom - top) * (right - left));
      for (let i = top; i < bottom; i++)
        for (let k = left; k < right; k++) y[(r * columns + c) * count + mask[i * width + k]] += part;
    }
  return y;
}

// The same labels at all pixels, enlarged bilinearly; the largest wins, of equals the lowest: a label must
// lead by a millionth for each number it stands higher, so that the last digit of a sum decides nothing.
function toPixels(soft, rows, columns, height, width, count) {
  const axis = (large, small) =>
    Array.from({ length: large }, (_, i) => {
      const at = Math.max(0, ((i + 0.5) * small) / large - 0.5),
        low = Math.min(Math.floor(at), small - 1);
      return [low, Math.min(low + 1, small - 1), at - low];
    });
  const down = axis(height, rows),
    across = axis(width, columns),
    mask = new Uint8Array(height * width);
  for (let i = 0; i < height; i++)
    for (let k = 0; k < width; k++) {
      const [r, r1, v] = down[i],
        [c, c1, u] = across[k];
      const a = (r * columns + c) * count,
        b = (r * columns + c1) * count,
        d = (r1 * columns + c) * count,
        e = (r1 * columns + c1) * count;
      let best = 0,
        winner = 0;
      for (let q = 0; q < count; q++) {
        const value =
          (1 - v) * ((1 - u) * soft[a + q] + u * soft[b + q]) +
          v * ((1 - u) * soft[d + q] + u * soft[e + q]) -
          1e-6 * q;
        if (q === 0 || value > best) {
          best = value;
          winner = q;
        }
      }
      mask[i * width + k] = winner;
    }
  return mask;
}

const heatAt = (heat, v) => {
  // 0..1 to a colour
  const at = Math.sqrt(Math.max(0, Math.min(1, v))) * (heat.length - 1),
    i = Math.min(heat.length - 2, Math.floor(at)),
    u = at - i;
  return heat[i].map((c, k) => c + (heat[i + 1][k] - c) * u);
};

// Stripes, so that objects differ also without their colours: one direction or form for each.
function hatch(ctx, number, colour) {
  const tile = document.createElement("canvas"),
    n = 10;
  tile.width = tile.height = n;
  const t = tile.getContext("2d");
  t.strokeStyle = t.fillStyle = colour;
  t.lineWidth = 1.5;
  const lines = {
    1: [
      [0, n, n, 0],
      [-1, 1, 1, -1],
      [n - 1, n + 1, n + 1, n - 1],
    ],
    2: [
      [0, 0, n, n],
      [-1, n - 1, 1, n + 1],
      [n - 1, -1, n + 1, 1],
    ],
    4: [[0, 5, n, 5]],
    5: [[5, 0, 5, n]],
    6: [
      [0, 5, n, 5],
      [5, 0, 5, n],
    ],
    7: [
      [0, 0, n, n],
      [0, n, n, 0],
    ],
    8: [
      [0, 2, n, 2],
      [0, 7, n, 7],
    ],
    9: [
      [2, 0, 2, n],
      [7, 0, 7, n],
    ],
  }[number];
  if (lines) {
    t.beginPath();
    for (const [a, b, c, d] of lines) {
      t.moveTo(a, b);
      t.lineTo(c, d);
    }
    t.stroke();
  } else {
    t.beginPath();
    t.arc(5, 5, 2, 0, 7);
    t.fill();
  }
  return ctx.createPattern(tile, "repeat");
}

// ------------------------------------------------------------------ the view

function readFilm(view) {
  const { model, about, count, height, width, rows, columns, depth, objects } = view;
  const cells = rows * columns,
    labelsCount = objects + 1,
    everywhere = Math.max(rows, columns) - 1;
  const film = {
    rows,
    columns,
    depth,
    vectors: unit(new Uint16Array(bytes(model.get("vectors")).buffer), depth),
  };
  const runs = new Uint32Array(bytes(model.get("runs")).buffer);
  const given = runs.length ? unrolled(runs, count * height * width) : null;
  const real = given ? given.reduce((a, b) => Math.max(a, b), 0) : 0;
  const room = roomFor((about.references + 1) * cells),
    pointed = roomFor((about.references + 1) * cells);
  Object.assign(view, { cells, labelsCount, everywhere, film, given, real, room, pointed });
}

function buildBar(view) {
  const { about, count, root } = view;
  if (about.title) make("div", "title", root, { textContent: about.title });
  const bar = make("div", "bar", root);
  const play = make("button", "play", bar, { type: "button" });
  const slider = make("input", "time", bar, { type: "range", min: 0, max: count - 1, step: 1 });
  slider.setAttribute("aria-label", "frame");
  const label = make("output", "", bar);
  Object.assign(view, { play, slider, label });
}

function buildScreen(view) {
  const { height, width, root } = view;
  const body = make("div", "body", root),
    left = make("div", "frame", body);
  const scale = Math.max(
    BIG / Math.max(height, width) >= 1
      ? Math.floor(BIG / Math.max(height, width))
      : BIG / Math.max(height, width),
    0.5,
  );
  const [screen, ctx] = sheet(left, "film", width * scale, height * scale);
  screen.tabIndex = 0;
  screen.setAttribute("role", "img");
  const says = make("div", "says", left);
  says.setAttribute("aria-live", "polite");
  says.style.width = `${Math.max(200, width * scale)}px`;
  Object.assign(view, { body, scale, screen, ctx, says });
}

function buildReferences(view) {
  const { about, height, width, given, body } = view;
  const right = make("div", "right", body),
    refsBox = make("div", "refs", right);
  const small =
    SMALL / Math.max(height, width) >= 1
      ? Math.floor(SMALL / Math.max(height, width))
      : SMALL / Math.max(height, width);
  const tiles = Array.from({ length: about.references + 1 }, () => {
    const box = make("figure", "", refsBox),
      [canvas, tile] = sheet(box, "ref", width * small, height * small);
    return {
      box,
      canvas,
      tile,
      text: make("figcaption", "", box),
      tip: make("div", "tip", box),
      weights: null,
    };
  });
  const none = make("div", "none", refsBox);
  const key = make("div", "note", refsBox, {
    textContent:
      "Brighter cells hold more of the attention. Ring: the peak of a frame, with a cross that of all. " +
      "Dashed: the window.",
  });
  const chart = given ? sheet(right, "chart", CHART_W, CHART_H) : null;
  chart?.[0].setAttribute("role", "img");
  Object.assign(view, { small, tiles, none, key, chart });
}

// ---- controls

function buildSettings(view) {
  const { about, root, everywhere, given } = view;
  const settings = make("div", "settings", root);
  const control = (text, name, attributes) => {
    const box = make("label", "", settings),
      word = make("span", "", box, { textContent: text }),
      value = make("output", "", box);
    const input = make("input", "", box, { type: "range", ...attributes });
    input.dataset.name = name;
    return { input, value, word };
  };
  const temperature = control("temperature", "temperature", { min: 0, max: 165, step: 1 });
  const windowed = control("window (radius in cells)", "window", { min: 0, max: everywhere, step: 1 });
  const best = control("best matches kept", "topk", { min: 0, max: about.topk.length - 1, step: 1 });
  const checks = make("div", "checks", root);
  const check = (text, name) => {
    const box = make("label", "", checks),
      input = make("input", "", box, { type: "checkbox" });
    input.dataset.name = name;
    box.append(text);
    return input;
  };
  const keepFirst = check("the first frame is a reference, too", "keep_first");
  const truth = given ? check("outlines of the given masks", "truth") : null;
  Object.assign(view, { temperature, windowed, best, keepFirst, truth });
}

function buildTools(view) {
  const { objects, names, root, given } = view;
  const tools = make("div", "bar tools", root);
  make("span", "", tools, { textContent: "on frame 1:" });
  const press = (text, name) => {
    const button = make("button", "", tools, { type: "button" });
    button.dataset.name = name;
    button.setAttribute("aria-pressed", "false");
    button.append(text);
    return button;
  };
  const point = press("point", "point");
  const swatches = names.map((name, i) => {
    const button = press(`draw ${i + 1} ${name === `object ${i + 1}` ? "" : name}`.trim(), String(i + 1)),
      swatch = make("canvas", "", null);
    swatch.width = swatch.height = 14;
    button.prepend(swatch);
    return [button, swatch.getContext("2d"), i + 1];
  });
  const erase = press("erase", "0");
  const brushBox = make("label", "brush", tools, { textContent: "brush" }),
    brush = make("input", "", brushBox, { type: "range", min: 0, max: 8, step: 1, value: 2 });
  brush.dataset.name = "brush";
  const clear = make("button", "", tools, { type: "button", textContent: "clear" });
  clear.dataset.name = "clear";
  const useGiven = given
    ? make("button", "", tools, { type: "button", textContent: "the given mask" })
    : null;
  if (useGiven) useGiven.dataset.name = "given";
  make("div", "note", root, {
    textContent:
      "Keys: space plays, comma and full stop step. On the picture: arrows move the pixel " +
      `(with shift by a cell), 1 to ${objects} draw on frame 1, 0 erases, space draws there, ` +
      "[ and ] change the brush.",
  });
  Object.assign(view, { point, swatches, erase, brush, clear, useGiven });
}

// ---- state

function initialState(view) {
  const { model, count } = view;
  view.frame = Math.max(0, Math.min(count - 1, model.get("frame")));
  [view.x, view.y] = model.get("pixel");
  Object.assign(view, { timer: null, draws: 0 });
  Object.assign(view, { tool: "point", object: 1, stroke: null, hover: null, waiting: null });
  view.drawn = bytes(model.get("drawn"));
  Object.assign(view, { s: read(view), labels: [], masks: [], scores: [], begun: null });
  view.attention = null;
}

const read = ({ model, about, everywhere }) => ({
  references: about.references,
  temperature: model.get("temperature"),
  window: model.get("window") >= everywhere ? everywhere : model.get("window"),
  topk: model.get("topk"),
  first: model.get("keep_first"),
});

function save(view, name, value) {
  const { model } = view;
  model.set(name, value);
  model.save_changes();
}

// ---- propagation, a few milliseconds at a time, so that the page answers meanwhile

function restart(view) {
  const { height, width, rows, columns, root, labelsCount } = view;
  view.labels = [toCells(view.drawn, height, width, rows, columns, labelsCount)];
  view.masks = [view.drawn];
  view.scores = [score(view, 0)];
  view.begun = null;
  root.dataset.done = 1;
  if (view.waiting === null && view.drawn.some((v) => v))
    view.waiting = requestAnimationFrame(() => work(view));
}

// the next frame, or as many of its cells as there is time for; false: there was not enough
function step(view, until) {
  const { height, width, rows, columns, cells, labelsCount, film, room } = view;
  const t = view.labels.length;
  view.begun = view.begun || { next: new Float64Array(cells * labelsCount), j: 0 };
  for (const { next } = view.begun; view.begun.j < cells; view.begun.j++) {
    if (view.begun.j % 16 === 15 && performance.now() > until) return false;
    const j = view.begun.j,
      n = attend(film, t, j, view.s, room);
    for (let i = 0; i < n; i++) {
      const r = Math.floor(room.where[i] / cells),
        from = (room.where[i] - r * cells) * labelsCount;
      for (let q = 0; q < labelsCount; q++)
        next[j * labelsCount + q] += room.weight[i] * view.labels[r][from + q];
    }
  }
  view.labels.push(view.begun.next);
  view.masks.push(toPixels(view.begun.next, rows, columns, height, width, labelsCount));
  view.scores.push(score(view, t));
  view.begun = null;
  return true;
}

function work(view) {
  const { count, root } = view;
  view.waiting = null;
  const until = performance.now() + SLICE_MS;
  let seen = false;
  while (view.labels.length < count && step(view, until))
    seen = seen || view.labels.length - 1 === view.frame;
  root.dataset.done = view.labels.length;
  if (view.labels.length < count) view.waiting = requestAnimationFrame(() => work(view));
  if (seen) drawFilm(view);
  if (view.labels.length === count || seen) drawChart(view);
}

// those that were drawn, and those that are really there
function shownObjects(view) {
  const { names, real } = view;
  const there = new Set(view.drawn);
  return names.map((_, i) => i + 1).filter((q) => there.has(q) || q <= real);
}

function score(view, t) {
  const { height, width, labelsCount, given } = view;
  if (!given) return null;
  const both = new Array(labelsCount).fill(0),
    either = new Array(labelsCount).fill(0),
    at = t * height * width,
    mask = view.masks[t];
  for (let i = 0; i < mask.length; i++) {
    const a = mask[i],
      b = given[at + i];
    if (a === b) {
      both[a]++;
      either[a]++;
    } else {
      either[a]++;
      either[b]++;
    }
  }
  return either.map((e, q) => (e ? both[q] / e : 1));
}

// ---- drawing

const drawing = (view) => view.frame === 0 && view.tool === "draw";

function draw(view) {
  const {
    about,
    count,
    colours,
    root,
    everywhere,
    play,
    slider,
    label,
    screen,
    temperature,
    windowed,
    best,
    keepFirst,
    point,
    swatches,
    erase,
    brush,
  } = view;
  slider.value = view.frame;
  label.textContent = `frame ${view.frame + 1} of ${count}`;
  play.textContent = view.timer ? "\u23F8 pause" : "\u25B6 play";
  temperature.input.value = Math.round((165 * Math.log(view.s.temperature / 0.005)) / Math.log(2000));
  temperature.value.textContent = String(+view.s.temperature.toPrecision(2));
  windowed.input.value = view.s.window;
  windowed.value.textContent = view.s.window >= everywhere ? "everywhere" : String(view.s.window);
  best.input.value = Math.max(0, about.topk.indexOf(view.s.topk));
  best.value.textContent = view.s.topk ? String(view.s.topk) : "all";
  keepFirst.checked = view.s.first;
  point.setAttribute("aria-pressed", view.tool === "point");
  erase.setAttribute("aria-pressed", view.tool === "draw" && view.object === 0);
  for (const [button, swatch, q] of swatches) {
    button.setAttribute("aria-pressed", view.tool === "draw" && view.object === q);
    swatch.clearRect(0, 0, 14, 14);
    swatch.fillStyle = colours[(q - 1) % 10];
    swatch.fillRect(0, 0, 14, 14);
    swatch.fillStyle = hatch(swatch, q, "#fff");
    swatch.fillRect(0, 0, 14, 14);
  }
  screen.classList.toggle("drawing", drawing(view));
  drawRefs(view);
  drawFilm(view);
  drawChart(view);
  Object.assign(root.dataset, {
    frame: view.frame,
    frames: count,
    playing: view.timer ? 1 : 0,
    x: view.x,
    y: view.y,
    tool: view.tool,
    object: view.object,
    brush: brush.value,
    draws: ++view.draws,
  });
}

// The area of object q in a mask as a path, and its border as another: edges between pixels that differ.
function paths(view, mask, q, k) {
  const { height, width } = view;
  const area = new Path2D();
  const edge = new Path2D();
  const inside = (i, j) => i >= 0 && i < height && j >= 0 && j < width && mask[i * width + j] === q;
  const line = (ai, aj, bi, bj) => {
    edge.moveTo(aj * k, ai * k);
    edge.lineTo(bj * k, bi * k);
  };
  const cells = [];
  for (let i = 0; i < height; i++)
    for (let j = 0; j < width; j++) {
      if (mask[i * width + j] !== q) continue;
      cells.push([i, j]);
      area.rect(j * k, i * k, k, k);
      if (!inside(i - 1, j)) line(i, j, i, j + 1);
      if (!inside(i + 1, j)) line(i + 1, j, i + 1, j + 1);
      if (!inside(i, j - 1)) line(i, j, i + 1, j);
      if (!inside(i, j + 1)) line(i, j + 1, i + 1, j + 1);
    }
  if (!cells.length) return null;
  const [i, j] = middleOf(cells);
  return { area, edge, at: [(j + 0.5) * k, (i + 0.5) * k] };
}

// The pixel of an object next to its middle: a number stands on the object, also where its middle does not.
function middleOf(cells) {
  let ci = 0;
  let cj = 0;
  for (const [i, j] of cells) {
    ci += i;
    cj += j;
  }
  let near = Infinity;
  let best = cells[0];
  for (const cell of cells) {
    const d = (cell[1] - cj / cells.length) ** 2 + (cell[0] - ci / cells.length) ** 2;
    if (d < near) {
      near = d;
      best = cell;
    }
  }
  return best;
}

// seen on dark and on bright ground
function twice(view, path, light, wide = 3.2, narrow = 1.4) {
  const { ctx } = view;
  ctx.strokeStyle = "rgba(0,0,0,.75)";
  ctx.lineWidth = wide;
  ctx.stroke(path);
  ctx.strokeStyle = light;
  ctx.lineWidth = narrow;
  ctx.stroke(path);
}

function drawFilm(view) {
  const { about, height, width, root, scale, ctx, truth } = view;
  ctx.imageSmoothingEnabled = false;
  if (view.bitmap)
    drawFrame(ctx, view.bitmap, about.sheet, view.frame, width, height, width * scale, height * scale);
  drawMask(view);
  if (truth?.checked) drawTruth(view);
  if (drawing(view)) drawBrush(view);
  else drawCross(view);
  const j = view.scores[view.frame];
  const present = shownObjects(view);
  root.dataset.j =
    j && present.length ? (present.reduce((a, q) => a + j[q], 0) / present.length).toFixed(4) : "";
}

// The objects of this frame: their areas, borders and numbers.
function drawMask(view) {
  const { objects, colours, scale, ctx } = view;
  const mask = view.masks[view.frame];
  const numbers = [];
  for (let q = 1; mask && q <= objects; q++) {
    const found = paths(view, mask, q, scale);
    if (!found) continue;
    const colour = colours[(q - 1) % 10];
    ctx.globalAlpha = 0.38;
    ctx.fillStyle = colour;
    ctx.fill(found.area);
    ctx.globalAlpha = 0.55;
    ctx.fillStyle = hatch(ctx, q, "#fff");
    ctx.fill(found.area);
    ctx.globalAlpha = 1;
    twice(view, found.edge, bright(colour, "rgb(255,255,255)"), 3.6, 2);
    let [nx, ny] = found.at; // beside the pixel's cross, where they would meet
    if (!drawing(view) && Math.hypot(nx - (view.x + 0.5) * scale, ny - (view.y + 0.5) * scale) < 20)
      ny += ny > 40 ? -24 : 24;
    numbers.push([String(q), nx, ny]);
  }
  ctx.font = "bold 14px system-ui, sans-serif";
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  // Above all areas: a near object must not cover the number of one behind it.
  for (const number of numbers) {
    ctx.lineWidth = 3.5;
    ctx.strokeStyle = "#000";
    ctx.strokeText(...number);
    ctx.fillStyle = "#fff";
    ctx.fillText(...number);
  }
}

function drawTruth(view) {
  const { height, width, given, real, scale, ctx } = view;
  const size = height * width;
  const mask = given.subarray(view.frame * size, (view.frame + 1) * size);
  for (let q = 1; q <= real; q++) {
    const found = paths(view, mask, q, scale);
    if (!found) continue;
    ctx.setLineDash([3, 3]);
    twice(view, found.edge, "#fff");
    ctx.setLineDash([]);
  }
}

function drawBrush(view) {
  const { scale, ctx, brush } = view;
  const [hx, hy] = view.hover || [view.x, view.y];
  const ring = new Path2D();
  ring.arc((hx + 0.5) * scale, (hy + 0.5) * scale, (+brush.value + 0.5) * scale, 0, 7);
  ctx.setLineDash(view.object ? [] : [4, 3]);
  twice(view, ring, "#fff");
  ctx.setLineDash([]);
}

// The pixel that points, and its cell.
function drawCross(view) {
  const { height, width, rows, columns, scale } = view;
  const cell = new Path2D();
  const cross = new Path2D();
  cell.rect(
    ((Math.floor((view.x * columns) / width) * width) / columns) * scale,
    ((Math.floor((view.y * rows) / height) * height) / rows) * scale,
    (width / columns) * scale,
    (height / rows) * scale,
  );
  fourArms(cross, (view.x + 0.5) * scale, (view.y + 0.5) * scale, 4, 13);
  twice(view, cell, "#fff");
  twice(view, cross, "#fff");
}

function fourArms(path, x, y, from, to) {
  for (const [a, b] of [
    [-1, 0],
    [1, 0],
    [0, -1],
    [0, 1],
  ]) {
    path.moveTo(x + from * a, y + from * b);
    path.lineTo(x + to * a, y + to * b);
  }
}

function drawRefs(view) {
  const { count, height, width, rows, columns, cells, film, pointed, tiles, none, key } = view;
  const refs = referencesOf(view.frame, view.s);
  const cell = Math.floor((view.y * rows) / height) * columns + Math.floor((view.x * columns) / width);
  const n = refs.length ? attend(film, view.frame, cell, view.s, pointed) : 0;
  const all = new Float64Array(count * cells);
  for (let i = 0; i < n; i++) all[pointed.where[i]] = pointed.weight[i];
  let top = 0;
  let place = -1;
  for (let i = 0; i < all.length; i++)
    if (all[i] > top) {
      top = all[i];
      place = i;
    }
  none.style.display = refs.length ? "none" : "block";
  key.style.display = refs.length ? "block" : "none";
  none.textContent = refs.length
    ? ""
    : "The first frame has none before it to point to. Draw a mask here, or go on to a later frame.";
  for (const [i, tile] of tiles.entries()) {
    const gone = i >= refs.length;
    tile.box.classList.toggle("gone", gone);
    tile.weights = gone ? null : all.subarray(refs[i] * cells, (refs[i] + 1) * cells);
    if (!gone) drawReference(view, tile, refs[i], cell, top, place);
  }
  tellPeak(view, top, place);
  view.attention = all;
}

// A frame that is pointed to: grey, under the weights of its cells, with the window and the strongest cell.
// `place` is the strongest cell of all frames, `top` its weight.
function drawReference(view, tile, r, cell, top, place) {
  const { about, height, width, rows, columns, heat, cells, everywhere, small } = view;
  const c = tile.tile;
  const { weights } = tile;
  c.imageSmoothingEnabled = false;
  c.filter = "grayscale(1)";
  if (view.bitmap) drawFrame(c, view.bitmap, about.sheet, r, width, height, width * small, height * small);
  c.filter = "none";
  const w = (width / columns) * small;
  const h = (height / rows) * small;
  let share = 0;
  let peak = 0;
  for (let k = 0; k < cells; k++) {
    share += weights[k];
    if (weights[k] > weights[peak]) peak = k;
    if (weights[k] <= 0) continue;
    const v = weights[k] / top;
    const [red, green, blue] = heatAt(heat, v);
    c.fillStyle = `rgba(${red}, ${green}, ${blue}, ${0.9 * Math.sqrt(v)})`;
    c.fillRect((k % columns) * w, Math.floor(k / columns) * h, w, h);
  }
  if (view.s.window < everywhere) drawWindow(view, c, cell, w, h);
  if (weights[peak] > 0) {
    const ring = new Path2D();
    const px = ((peak % columns) + 0.5) * w;
    const py = (Math.floor(peak / columns) + 0.5) * h;
    const winner = r * cells + peak === place;
    ring.arc(px, py, winner ? 7 : 5, 0, 7);
    if (winner) fourArms(ring, px, py, 7, 12);
    blackAndWhite(c, ring, 3, 1.3);
  }
  tile.text.textContent = `frame ${r + 1} holds ${percent(share)}\npeak ${percent(weights[peak])}`;
}

function blackAndWhite(c, path, wide, narrow) {
  c.strokeStyle = "#000";
  c.lineWidth = wide;
  c.stroke(path);
  c.strokeStyle = "#fff";
  c.lineWidth = narrow;
  c.stroke(path);
}

function drawWindow(view, c, cell, w, h) {
  const { rows, columns } = view;
  const reach = view.s.window;
  const row = Math.floor(cell / columns);
  const column = cell % columns;
  const left = Math.max(0, column - reach);
  const up = Math.max(0, row - reach);
  const box = new Path2D();
  box.rect(
    left * w + 0.5,
    up * h + 0.5,
    (Math.min(columns, column + reach + 1) - left) * w - 1,
    (Math.min(rows, row + reach + 1) - up) * h - 1,
  );
  c.setLineDash([3, 3]);
  blackAndWhite(c, box, 2, 1);
  c.setLineDash([]);
}

function tellPeak(view, top, place) {
  const { rows, columns, cells, root, screen, says } = view;
  if (place >= 0) {
    const r = Math.floor(place / cells);
    const k = place % cells;
    const row = Math.floor(k / columns);
    const column = k % columns;
    root.dataset.peak = `${r},${row},${column},${top.toFixed(5)}`;
    says.textContent =
      `Pixel (${view.x}, ${view.y}) of frame ${view.frame + 1} points most to frame ${r + 1}, ` +
      `cell (${column}, ${row}) of ${columns} x ${rows}, with ${percent(top)} of its attention.`;
  } else {
    root.dataset.peak = "";
    says.textContent = drawing(view)
      ? "Drag over the picture to draw."
      : `Pixel (${view.x}, ${view.y}) of frame 1.`;
  }
  screen.setAttribute("aria-label", `frame ${view.frame + 1}. ${says.textContent}`);
}

const percent = (v) =>
  v > 0 && v < 0.001
    ? "<0.1%"
    : v >= 0.0995 || v === 0
      ? `${Math.round(100 * v)}%`
      : `${(100 * v).toPrecision(2)}%`;

function drawChart(view) {
  const { count, root, ink, chart } = view;
  if (!chart) return;
  const [canvas, c] = chart;
  const colour = ink();
  const present = shownObjects(view);
  c.clearRect(0, 0, CHART_W, CHART_H);
  c.font = `11px ${getComputedStyle(root).fontFamily || "sans-serif"}`;
  drawChartAxes(view, c, colour);
  drawCurves(view, c, colour, present);
  root.dataset.mean = "";
  if (view.scores.length < count || !present.length) return;
  const ofFrame = (j) => present.reduce((m, q) => m + j[q], 0) / present.length;
  const mean = view.scores.slice(1).reduce((a, j) => a + ofFrame(j), 0) / (count - 1);
  const words = `mean of frames 2 to ${count}: ${mean.toFixed(3)}`;
  c.textAlign = "right";
  c.fillStyle = colour;
  c.fillText(words, CHART.right, CHART.bottom + 24);
  root.dataset.mean = mean.toFixed(4);
  canvas.setAttribute("aria-label", `overlap with the given masks, ${words}`);
}

const CHART = { left: 32, right: CHART_W - 8, top: 34, bottom: CHART_H - 30 };
const chartX = ({ count }, f) => CHART.left + (f / (count - 1)) * (CHART.right - CHART.left);
const chartY = (v) => CHART.bottom - v * (CHART.bottom - CHART.top);

function drawChartAxes(view, c, colour) {
  const { count } = view;
  const { left, right, top, bottom } = CHART;
  c.textBaseline = "middle";
  c.textAlign = "left";
  c.fillStyle = colour;
  c.fillText("overlap J with the given masks", 0, 7);
  c.textAlign = "right";
  for (const v of [0, 0.5, 1]) {
    c.fillText(String(v), left - 5, chartY(v));
    c.strokeStyle = faded(colour, v ? 0.18 : 0.5);
    c.beginPath();
    c.moveTo(left, chartY(v));
    c.lineTo(right, chartY(v));
    c.stroke();
  }
  c.textAlign = "center";
  c.fillText("1", chartX(view, 0), bottom + 10);
  c.fillText(String(count), chartX(view, count - 1), bottom + 10);
  c.fillText("frame", (left + right) / 2, bottom + 10);
  c.strokeStyle = colour;
  c.setLineDash([4, 3]);
  c.beginPath();
  c.moveTo(chartX(view, view.frame), top);
  c.lineTo(chartX(view, view.frame), bottom);
  c.stroke();
  c.setLineDash([]);
}

function drawCurves(view, c, colour, present) {
  const { count, colours } = view;
  let at = CHART.left;
  for (const q of present) {
    const hue = bright(colours[(q - 1) % 10], colour);
    const kind = MARKS[(q - 1) % 10];
    c.strokeStyle = c.fillStyle = hue;
    c.lineWidth = 1.8;
    c.beginPath();
    for (const [f, j] of view.scores.entries()) c.lineTo(chartX(view, f), chartY(j[q]));
    c.stroke();
    c.lineWidth = 1;
    for (const [f, j] of view.scores.entries())
      if (f % Math.ceil(count / 16) === 0) mark(c, kind, chartX(view, f), chartY(j[q]), 3);
    const now = view.scores[view.frame]?.[q];
    mark(c, kind, at + 4, 22, 4);
    c.fillStyle = colour;
    c.textAlign = "left";
    const text = `${q}: ${now === undefined ? "" : now.toFixed(2)}`;
    c.fillText(text, at + 12, 22);
    at += 22 + c.measureText(text).width;
  }
}

// ---- what the reader does

function go(view, f, tell = true) {
  const { count } = view;
  view.frame = Math.max(0, Math.min(count - 1, f));
  draw(view);
  if (tell) save(view, "frame", view.frame);
}

function stop(view) {
  clearInterval(view.timer);
  view.timer = null;
}

function toggle(view) {
  const { count } = view;
  if (view.timer) {
    stop(view);
    go(view, view.frame);
    return;
  }
  if (view.frame === count - 1) view.frame = 0;
  view.timer = setInterval(() => {
    // The labels of this frame are still being computed.
    if (view.frame && view.labels.length <= view.frame && view.drawn.some((v) => v)) return;
    if (view.frame + 1 >= count - 1) stop(view);
    go(view, view.frame + 1, !view.timer);
  }, STEP_MS);
  draw(view);
}

function select(view, px, py, tell = true) {
  const { height, width } = view;
  view.x = Math.max(0, Math.min(width - 1, px));
  view.y = Math.max(0, Math.min(height - 1, py));
  draw(view);
  if (tell) save(view, "pixel", [view.x, view.y]);
}

function set(view, name, value) {
  save(view, name, value);
  changed(view);
}

function changed(view) {
  view.s = read(view);
  restart(view);
  draw(view);
}

function dab(view, px, py) {
  const { height, width, brush } = view;
  const r = +brush.value;
  for (let i = Math.max(0, py - r); i <= Math.min(height - 1, py + r); i++)
    for (let j = Math.max(0, px - r); j <= Math.min(width - 1, px + r); j++)
      if ((i - py) ** 2 + (j - px) ** 2 <= (r + 0.3) ** 2) view.drawn[i * width + j] = view.object;
}

// no gaps where the pointer is fast
function line(view, [ax, ay], [bx, by]) {
  const n = Math.max(Math.abs(bx - ax), Math.abs(by - ay), 1);
  for (let i = 0; i <= n; i++)
    dab(view, Math.round(ax + ((bx - ax) * i) / n), Math.round(ay + ((by - ay) * i) / n));
}

function finished(view) {
  save(view, "drawn", new DataView(view.drawn.slice().buffer));
  restart(view);
  draw(view);
}

function replace(view, mask) {
  view.drawn = mask;
  stop(view);
  view.frame = 0;
  finished(view);
  save(view, "frame", 0);
}

// an object to draw, or 0 for the eraser
function choose(view, q) {
  const { objects } = view;
  if (q > objects) return;
  view.tool = "draw";
  view.object = q;
  stop(view);
  if (view.frame) go(view, 0);
  else draw(view);
}

const pixelAt = ({ height, width, scale, screen }, e) =>
  pointer(e, screen).map((v, i) => Math.max(0, Math.min((i ? height : width) - 1, Math.floor(v / scale))));

function listenToControls(view) {
  const { about, listen, play, slider, temperature, windowed, best, keepFirst, truth } = view;
  listen(play, "click", () => toggle(view));
  listen(slider, "input", () => {
    stop(view);
    go(view, +slider.value, false);
  });
  listen(slider, "change", () => save(view, "frame", view.frame));
  listen(temperature.input, "input", () =>
    set(view, "temperature", +(0.005 * 2000 ** (+temperature.input.value / 165)).toPrecision(3)),
  );
  listen(windowed.input, "input", () => set(view, "window", +windowed.input.value));
  listen(best.input, "input", () => set(view, "topk", about.topk[+best.input.value]));
  listen(keepFirst, "change", () => set(view, "keep_first", keepFirst.checked));
  if (truth) listen(truth, "change", () => drawFilm(view));
}

function listenToTools(view) {
  const { height, width, listen, given, point, swatches, erase, brush, clear, useGiven } = view;
  listen(point, "click", () => {
    view.tool = "point";
    draw(view);
  });
  for (const [button, , q] of swatches) listen(button, "click", () => choose(view, q));
  listen(erase, "click", () => choose(view, 0));
  listen(brush, "input", () => draw(view));
  listen(clear, "click", () => replace(view, new Uint8Array(height * width)));
  if (useGiven) listen(useGiven, "click", () => replace(view, given.slice(0, height * width)));
}

function listenToScreen(view) {
  const { listen, screen } = view;
  listen(screen, "pointerdown", (e) => {
    if (e.button) return;
    const at = pixelAt(view, e);
    screen.setPointerCapture(e.pointerId);
    view.stroke = drawing(view) ? "draw" : "point";
    if (view.stroke === "point") {
      stop(view);
      select(view, ...at, false);
      return;
    }
    view.hover = at;
    line(view, at, at);
    drawFilm(view);
  });
  listen(screen, "pointermove", (e) => {
    const at = pixelAt(view, e);
    if (view.stroke === "point") {
      if (at[0] !== view.x || at[1] !== view.y) select(view, ...at, false);
      return;
    }
    if (!drawing(view)) return;
    if (view.stroke === "draw") line(view, view.hover, at);
    view.hover = at;
    drawFilm(view);
  });
  const lift = () => {
    const was = view.stroke;
    view.stroke = null;
    if (was === "draw") finished(view);
    else if (was === "point") save(view, "pixel", [view.x, view.y]);
  };
  listen(screen, "pointerup", lift);
  listen(screen, "pointercancel", lift);
  listen(screen, "pointerleave", () => {
    if (view.hover) {
      view.hover = null;
      drawFilm(view);
    }
  });
}

function listenToTiles(view) {
  const { height, width, rows, columns, listen, small, tiles } = view;
  for (const t of tiles) {
    listen(t.canvas, "pointermove", (e) => {
      if (!t.weights) return;
      const [px, py] = pointer(e, t.canvas),
        k =
          Math.min(rows - 1, Math.floor((py / (height * small)) * rows)) * columns +
          Math.min(columns - 1, Math.floor((px / (width * small)) * columns));
      t.tip.textContent = percent(t.weights[k]);
      Object.assign(t.tip.style, {
        display: "block",
        left: `${Math.min(px + 10, width * small - 30)}px`,
        top: `${py > 30 ? py - 26 : py + 14}px`,
      });
    });
    listen(t.canvas, "pointerleave", () => {
      t.tip.style.display = "none";
    });
  }
}

const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
// The keys of sliders and buttons, besides the arrows.
const CONTROL_KEYS = ["Home", "End", " ", "Enter", "PageUp", "PageDown"];

// What a key does; undefined for a key that is not ours. `on`: the picture has the focus.
function actionOf(view, key, on, big) {
  const { count, height, width, rows, columns, brush } = view;
  const to = (f) => () => {
    stop(view);
    go(view, f);
  };
  const resize = (by) => () => {
    brush.value = +brush.value + by;
    draw(view);
  };
  const arrow = ARROWS[key];
  if (arrow && on) {
    const [across, down] = big ? [width / columns, height / rows] : [1, 1];
    const along = (by) => Math.max(1, Math.round(by));
    return () => select(view, view.x + arrow[0] * along(across), view.y + arrow[1] * along(down));
  }
  if (/^[0-9]$/.test(key)) return () => choose(view, +key);
  const actions = {
    ",": to(view.frame - 1),
    ".": to(view.frame + 1),
    ArrowLeft: to(view.frame - 1),
    ArrowRight: to(view.frame + 1),
    Home: to(0),
    End: to(count - 1),
    " ": on && drawing(view) ? () => drawHere(view) : () => toggle(view),
    "[": resize(-1),
    "]": resize(1),
  };
  return Object.hasOwn(actions, key) ? actions[key] : undefined;
}

function drawHere(view) {
  dab(view, view.x, view.y);
  finished(view);
}

function listenToKeys(view) {
  const { root, listen, screen } = view;
  listen(root, "keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.key === "Tab") return;
    if (e.target.matches("input, button") && (ARROWS[e.key] || CONTROL_KEYS.includes(e.key))) {
      e.stopPropagation(); // the control's own key
      return;
    }
    const act = actionOf(view, e.key, e.target === screen, e.shiftKey);
    if (!act) return;
    act();
    view.hover = null;
    e.preventDefault();
    e.stopPropagation();
  });
}

// ---- what Python (or a second view of this film) changes

function followPython(view) {
  const { model } = view;
  view.follow("frame", () => {
    if (model.get("frame") !== view.frame) {
      stop(view);
      go(view, model.get("frame"), false);
    }
  });
  view.follow("pixel", () => {
    const [a, b] = model.get("pixel");
    if (a !== view.x || b !== view.y) select(view, a, b, false);
  });
  for (const name of ["temperature", "window", "topk", "keep_first"])
    view.follow(name, () => {
      const now = read(view);
      if (["temperature", "window", "topk", "first"].some((k) => now[k] !== view.s[k])) changed(view);
    });
  view.follow("drawn", () => {
    const now = bytes(model.get("drawn"));
    if (now.some((v, i) => v !== view.drawn[i])) {
      view.drawn = now;
      restart(view);
      draw(view);
    }
  });
}

function render({ model, el }) {
  const about = model.get("about"),
    { count, height, width, rows, columns, depth, objects, names, colours, heat } = about;
  const view = open({ model, el }, "ssl-pointer", "Film to point into", LOOK),
    { root } = view;
  Object.assign(view, {
    model,
    about,
    count,
    height,
    width,
    rows,
    columns,
    depth,
    objects,
    names,
    colours,
    heat,
  });
  readFilm(view);
  buildBar(view);
  buildScreen(view);
  buildReferences(view);
  buildSettings(view);
  buildTools(view);
  initialState(view);
  listenToControls(view);
  listenToTools(view);
  listenToScreen(view);
  listenToTiles(view);
  listenToKeys(view);
  followPython(view);
  root.results = {
    labels: () => view.labels.map((v) => Array.from(v)),
    masks: () => view.masks.map((v) => Array.from(v)),
    attention: () => Array.from(view.attention),
  };
  view.bitmap = null;
  let closed = false;
  view.later(() => {
    closed = true;
    stop(view);
    if (view.waiting !== null) cancelAnimationFrame(view.waiting);
    view.bitmap?.close();
  });
  restart(view);
  view.themed(() => draw(view));
  picture(model.get("sheet"), about.sheet.type).then((made) => {
    if (closed) made.close();
    else {
      view.bitmap = made;
      root.dataset.loaded = 1;
      draw(view);
    }
  });
  return view.close;
}

export default { render };
