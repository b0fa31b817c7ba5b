// A film to point into: the attention of one pixel over its reference frames, and masks carried along by it. Python sends frames,
// embeddings (float16) and given masks once; attention and propagation are computed here, as sslcourse.widgets.video does.
// data-* on the root, for tests: frame, frames, playing, x, y, peak ("frame,row,column,share"), done (frames that have labels), tool,
// object, brush, j (mean J of the shown frame), draws. `root.results` hands out whole arrays: labels(), masks(), attention().

const BIG = 288,
  SMALL = 128,
  STEP_MS = 250,
  SLICE_MS = 12,
  CHART_W = 330,
  CHART_H = 158;

const LOOK = `
.ssl-pointer .frame { position: relative; }
.ssl-pointer .right { flex: 1 1 276px; }
.ssl-pointer .refs { display: flex; flex-wrap: wrap; gap: 8px; align-content: flex-start; min-height: ${SMALL + 34}px; margin-bottom: 8px; }
.ssl-pointer .refs figure { margin: 0; width: ${SMALL}px; font-size: 12px; position: relative; }
.ssl-pointer .refs figure.gone { display: none; }
.ssl-pointer .refs figcaption { white-space: pre-line; line-height: 1.3; }
.ssl-pointer .refs .note { width: 100%; margin: 0; }
.ssl-pointer .refs .none { font-size: 12px; opacity: .85; max-width: 250px; }
.ssl-pointer canvas.film { cursor: crosshair; }
.ssl-pointer canvas.film.drawing { touch-action: none; cursor: none; }
.ssl-pointer .says { font-size: 12px; margin-top: 4px; min-height: 2.7em; }
.ssl-pointer .settings { display: grid; grid-template-columns: repeat(3, minmax(150px, 1fr)); gap: 2px 18px; margin: 10px 0 8px; max-width: 820px; }
.ssl-pointer .settings label { display: grid; grid-template-columns: 1fr auto; font-size: 12px; align-items: center; }
.ssl-pointer .settings input { grid-column: 1 / 3; width: 100%; margin: 0; min-width: 0; box-sizing: border-box; }
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

// The k-th largest of the first n values. Most values do not reach the k best so far, and cost one comparison.
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

// Where cell j of frame t points to: `where` (frame * cells + cell), `weight`, of `n` matches. Similarities are rounded to float32 (by
// their array) before the best are chosen, and all that equal the last of them stay: no tie to break, and Python finds the same.
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

// The same labels at all pixels, enlarged bilinearly; the largest wins, of equals the lowest: a label must lead by a millionth for each
// number it stands higher, so that the last digit of a sum decides nothing.
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

function render({ model, el }) {
  const about = model.get("about"),
    { count, height, width, rows, columns, depth, objects, names, colours, heat } = about;
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

  const view = open({ model, el }, "ssl-pointer", "Film to point into", LOOK),
    { root, ink, listen } = view;
  if (about.title) make("div", "title", root, { textContent: about.title });
  const bar = make("div", "bar", root);
  const play = make("button", "play", bar, { type: "button" });
  const slider = make("input", "time", bar, { type: "range", min: 0, max: count - 1, step: 1 });
  slider.setAttribute("aria-label", "frame");
  const label = make("output", "", bar);

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
  says.style.width = Math.max(200, width * scale) + "px";
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
      "Brighter cells hold more of the attention. Ring: the peak of a frame, with a cross that of all. Dashed: the window.",
  });
  const chart = given ? sheet(right, "chart", CHART_W, CHART_H) : null;
  chart?.[0].setAttribute("role", "img");

  // ---- controls
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
      "Keys: space plays, comma and full stop step. On the picture: arrows move the pixel (with shift by a cell), 1 to " +
      `${objects} draw on frame 1, 0 erases, space draws there, [ and ] change the brush.`,
  });

  // ---- state
  let frame = Math.max(0, Math.min(count - 1, model.get("frame"))),
    [x, y] = model.get("pixel"),
    timer = null,
    draws = 0;
  let tool = "point",
    object = 1,
    stroke = null,
    hover = null,
    waiting = null;
  let drawn = bytes(model.get("drawn"));
  const read = () => ({
    references: about.references,
    temperature: model.get("temperature"),
    window: model.get("window") >= everywhere ? everywhere : model.get("window"),
    topk: model.get("topk"),
    first: model.get("keep_first"),
  });
  let s = read(),
    labels = [],
    masks = [],
    scores = [],
    begun = null;
  const save = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };

  // ---- propagation, a few milliseconds at a time, so that the page answers meanwhile
  const restart = () => {
    labels = [toCells(drawn, height, width, rows, columns, labelsCount)];
    masks = [drawn];
    scores = [score(0)];
    begun = null;
    root.dataset.done = 1;
    if (waiting === null && drawn.some((v) => v)) waiting = requestAnimationFrame(work);
  };
  const step = (until) => {
    // the next frame, or as many of its cells as there is time for; false: there was not enough
    const t = labels.length;
    begun = begun || { next: new Float64Array(cells * labelsCount), j: 0 };
    for (const { next } = begun; begun.j < cells; begun.j++) {
      if (begun.j % 16 === 15 && performance.now() > until) return false;
      const j = begun.j,
        n = attend(film, t, j, s, room);
      for (let i = 0; i < n; i++) {
        const r = Math.floor(room.where[i] / cells),
          from = (room.where[i] - r * cells) * labelsCount;
        for (let q = 0; q < labelsCount; q++)
          next[j * labelsCount + q] += room.weight[i] * labels[r][from + q];
      }
    }
    labels.push(begun.next);
    masks.push(toPixels(begun.next, rows, columns, height, width, labelsCount));
    scores.push(score(t));
    begun = null;
    return true;
  };
  const work = () => {
    waiting = null;
    const until = performance.now() + SLICE_MS;
    let seen = false;
    while (labels.length < count && step(until)) seen = seen || labels.length - 1 === frame;
    root.dataset.done = labels.length;
    if (labels.length < count) waiting = requestAnimationFrame(work);
    if (seen) drawFilm();
    if (labels.length === count || seen) drawChart();
  };
  const shownObjects = () => {
    // those that were drawn, and those that are really there
    const there = new Set(drawn);
    return names.map((_, i) => i + 1).filter((q) => there.has(q) || q <= real);
  };
  const score = (t) => {
    if (!given) return null;
    const both = new Array(labelsCount).fill(0),
      either = new Array(labelsCount).fill(0),
      at = t * height * width,
      mask = masks[t];
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
  };

  // ---- drawing
  const drawing = () => frame === 0 && tool === "draw";
  const draw = () => {
    slider.value = frame;
    label.textContent = `frame ${frame + 1} of ${count}`;
    play.textContent = timer ? "\u23F8 pause" : "\u25B6 play";
    temperature.input.value = Math.round((165 * Math.log(s.temperature / 0.005)) / Math.log(2000));
    temperature.value.textContent = String(+s.temperature.toPrecision(2));
    windowed.input.value = s.window;
    windowed.value.textContent = s.window >= everywhere ? "everywhere" : String(s.window);
    best.input.value = Math.max(0, about.topk.indexOf(s.topk));
    best.value.textContent = s.topk ? String(s.topk) : "all";
    keepFirst.checked = s.first;
    point.setAttribute("aria-pressed", tool === "point");
    erase.setAttribute("aria-pressed", tool === "draw" && object === 0);
    for (const [button, swatch, q] of swatches) {
      button.setAttribute("aria-pressed", tool === "draw" && object === q);
      swatch.clearRect(0, 0, 14, 14);
      swatch.fillStyle = colours[(q - 1) % 10];
      swatch.fillRect(0, 0, 14, 14);
      swatch.fillStyle = hatch(swatch, q, "#fff");
      swatch.fillRect(0, 0, 14, 14);
    }
    screen.classList.toggle("drawing", drawing());
    drawRefs();
    drawFilm();
    drawChart();
    Object.assign(root.dataset, {
      frame,
      frames: count,
      playing: timer ? 1 : 0,
      x,
      y,
      tool,
      object,
      brush: brush.value,
      draws: ++draws,
    });
  };

  // The area of object q in a mask as a path, and its border as another: edges between pixels that differ.
  const paths = (mask, q, k) => {
    const area = new Path2D(),
      edge = new Path2D();
    let n = 0,
      cx = 0,
      cy = 0;
    for (let i = 0; i < height; i++)
      for (let j = 0; j < width; j++) {
        if (mask[i * width + j] !== q) continue;
        n++;
        cx += j;
        cy += i;
        area.rect(j * k, i * k, k, k);
        if (!i || mask[(i - 1) * width + j] !== q) {
          edge.moveTo(j * k, i * k);
          edge.lineTo((j + 1) * k, i * k);
        }
        if (i === height - 1 || mask[(i + 1) * width + j] !== q) {
          edge.moveTo(j * k, (i + 1) * k);
          edge.lineTo((j + 1) * k, (i + 1) * k);
        }
        if (!j || mask[i * width + j - 1] !== q) {
          edge.moveTo(j * k, i * k);
          edge.lineTo(j * k, (i + 1) * k);
        }
        if (j === width - 1 || mask[i * width + j + 1] !== q) {
          edge.moveTo((j + 1) * k, i * k);
          edge.lineTo((j + 1) * k, (i + 1) * k);
        }
      }
    if (!n) return null;
    let near = Infinity,
      at = [0, 0]; // the number stands on the object, also where its middle does not
    for (let i = 0; i < height; i++)
      for (let j = 0; j < width; j++)
        if (mask[i * width + j] === q) {
          const d = (j - cx / n) ** 2 + (i - cy / n) ** 2;
          if (d < near) {
            near = d;
            at = [(j + 0.5) * k, (i + 0.5) * k];
          }
        }
    return { area, edge, at };
  };
  const twice = (path, light, wide = 3.2, narrow = 1.4) => {
    // seen on dark and on bright ground
    ctx.strokeStyle = "rgba(0,0,0,.75)";
    ctx.lineWidth = wide;
    ctx.stroke(path);
    ctx.strokeStyle = light;
    ctx.lineWidth = narrow;
    ctx.stroke(path);
  };
  const drawFilm = () => {
    ctx.imageSmoothingEnabled = false;
    const { across, wide, high } = about.sheet;
    if (bitmap)
      ctx.drawImage(
        bitmap,
        (frame % across) * wide,
        Math.floor(frame / across) * high,
        width,
        height,
        0,
        0,
        width * scale,
        height * scale,
      );
    const mask = masks[frame],
      numbers = [];
    if (mask)
      for (let q = 1; q <= objects; q++) {
        const found = paths(mask, q, scale);
        if (!found) continue;
        const colour = colours[(q - 1) % 10];
        ctx.globalAlpha = 0.38;
        ctx.fillStyle = colour;
        ctx.fill(found.area);
        ctx.globalAlpha = 0.55;
        ctx.fillStyle = hatch(ctx, q, "#fff");
        ctx.fill(found.area);
        ctx.globalAlpha = 1;
        twice(found.edge, bright(colour, "rgb(255,255,255)"), 3.6, 2);
        let [nx, ny] = found.at; // beside the pixel's cross, where they would meet
        if (!drawing() && Math.hypot(nx - (x + 0.5) * scale, ny - (y + 0.5) * scale) < 20)
          ny += ny > 40 ? -24 : 24;
        numbers.push([String(q), nx, ny]);
      }
    ctx.font = "bold 14px system-ui, sans-serif";
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    for (const number of numbers) {
      // above all areas: a near object must not cover the number of one behind it
      ctx.lineWidth = 3.5;
      ctx.strokeStyle = "#000";
      ctx.strokeText(...number);
      ctx.fillStyle = "#fff";
      ctx.fillText(...number);
    }
    if (truth?.checked)
      for (let q = 1; q <= real; q++) {
        const found = paths(given.subarray(frame * height * width, (frame + 1) * height * width), q, scale);
        if (!found) continue;
        ctx.setLineDash([3, 3]);
        twice(found.edge, "#fff");
        ctx.setLineDash([]);
      }
    if (drawing()) {
      const [hx, hy] = hover || [x, y],
        ring = new Path2D();
      ring.arc((hx + 0.5) * scale, (hy + 0.5) * scale, (+brush.value + 0.5) * scale, 0, 7);
      ctx.setLineDash(object ? [] : [4, 3]);
      twice(ring, "#fff");
      ctx.setLineDash([]);
    } else {
      const cell = new Path2D(),
        cross = new Path2D(),
        px = (x + 0.5) * scale,
        py = (y + 0.5) * scale;
      cell.rect(
        ((Math.floor((x * columns) / width) * width) / columns) * scale,
        ((Math.floor((y * rows) / height) * height) / rows) * scale,
        (width / columns) * scale,
        (height / rows) * scale,
      );
      for (const [a, b] of [
        [-1, 0],
        [1, 0],
        [0, -1],
        [0, 1],
      ]) {
        cross.moveTo(px + 4 * a, py + 4 * b);
        cross.lineTo(px + 13 * a, py + 13 * b);
      }
      twice(cell, "#fff");
      twice(cross, "#fff");
    }
    const j = scores[frame],
      present = shownObjects();
    root.dataset.j =
      j && present.length ? (present.reduce((a, q) => a + j[q], 0) / present.length).toFixed(4) : "";
  };

  const drawRefs = () => {
    const refs = referencesOf(frame, s),
      cell = Math.floor((y * rows) / height) * columns + Math.floor((x * columns) / width);
    const n = refs.length ? attend(film, frame, cell, s, pointed) : 0,
      all = new Float64Array(count * cells);
    for (let i = 0; i < n; i++) all[pointed.where[i]] = pointed.weight[i];
    let top = 0,
      place = -1;
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
    tiles.forEach((t, i) => {
      t.box.classList.toggle("gone", i >= refs.length);
      t.weights = null;
      if (i >= refs.length) return;
      const r = refs[i],
        c = t.tile,
        { across, wide, high } = about.sheet,
        weights = all.subarray(r * cells, (r + 1) * cells);
      t.weights = weights;
      c.imageSmoothingEnabled = false;
      c.filter = "grayscale(1)";
      if (bitmap)
        c.drawImage(
          bitmap,
          (r % across) * wide,
          Math.floor(r / across) * high,
          width,
          height,
          0,
          0,
          width * small,
          height * small,
        );
      c.filter = "none";
      let share = 0,
        peak = 0;
      for (let k = 0; k < cells; k++) {
        share += weights[k];
        if (weights[k] > weights[peak]) peak = k;
      }
      const w = (width / columns) * small,
        h = (height / rows) * small;
      for (let k = 0; k < cells; k++)
        if (weights[k] > 0) {
          const v = weights[k] / top,
            [red, green, blue] = heatAt(heat, v);
          c.fillStyle = `rgba(${red}, ${green}, ${blue}, ${0.9 * Math.sqrt(v)})`;
          c.fillRect((k % columns) * w, Math.floor(k / columns) * h, w, h);
        }
      const both = (path, a = 3, b = 1.3) => {
        c.strokeStyle = "#000";
        c.lineWidth = a;
        c.stroke(path);
        c.strokeStyle = "#fff";
        c.lineWidth = b;
        c.stroke(path);
      };
      if (s.window < everywhere) {
        const box = new Path2D(),
          row = Math.floor(cell / columns),
          column = cell % columns;
        const l = Math.max(0, column - s.window),
          u = Math.max(0, row - s.window);
        box.rect(
          l * w + 0.5,
          u * h + 0.5,
          (Math.min(columns, column + s.window + 1) - l) * w - 1,
          (Math.min(rows, row + s.window + 1) - u) * h - 1,
        );
        c.setLineDash([3, 3]);
        both(box, 2, 1);
        c.setLineDash([]);
      }
      if (weights[peak] > 0) {
        const ring = new Path2D(),
          px = ((peak % columns) + 0.5) * w,
          py = (Math.floor(peak / columns) + 0.5) * h,
          winner = r * cells + peak === place;
        ring.arc(px, py, winner ? 7 : 5, 0, 7);
        if (winner)
          for (const [a, b] of [
            [-1, 0],
            [1, 0],
            [0, -1],
            [0, 1],
          ]) {
            ring.moveTo(px + 7 * a, py + 7 * b);
            ring.lineTo(px + 12 * a, py + 12 * b);
          }
        both(ring);
      }
      t.text.textContent = `frame ${r + 1} holds ${percent(share)}\npeak ${percent(weights[peak])}`;
    });
    if (place >= 0) {
      const r = Math.floor(place / cells),
        k = place % cells;
      root.dataset.peak = `${r},${Math.floor(k / columns)},${k % columns},${top.toFixed(5)}`;
      says.textContent =
        `Pixel (${x}, ${y}) of frame ${frame + 1} points most to frame ${r + 1}, cell (${k % columns}, ${Math.floor(k / columns)}) ` +
        `of ${columns} x ${rows}, with ${percent(top)} of its attention.`;
    } else {
      root.dataset.peak = "";
      says.textContent = drawing() ? "Drag over the picture to draw." : `Pixel (${x}, ${y}) of frame 1.`;
    }
    screen.setAttribute("aria-label", `frame ${frame + 1}. ${says.textContent}`);
    attention = all;
  };
  const percent = (v) =>
    v > 0 && v < 0.001
      ? "<0.1%"
      : v >= 0.0995 || v === 0
        ? `${Math.round(100 * v)}%`
        : `${(100 * v).toPrecision(2)}%`;
  let attention = null;

  const drawChart = () => {
    if (!chart) return;
    const [, c] = chart,
      colour = ink(),
      l = 32,
      r = CHART_W - 8,
      t = 34,
      b = CHART_H - 30,
      present = shownObjects();
    c.clearRect(0, 0, CHART_W, CHART_H);
    c.font = "11px " + (getComputedStyle(root).fontFamily || "sans-serif");
    c.textBaseline = "middle";
    c.textAlign = "left";
    c.fillStyle = colour;
    c.fillText("overlap J with the given masks", 0, 7);
    const X = (f) => l + (f / (count - 1)) * (r - l),
      Y = (v) => b - v * (b - t);
    c.textAlign = "right";
    for (const v of [0, 0.5, 1]) {
      c.fillText(String(v), l - 5, Y(v));
      c.strokeStyle = faded(colour, v ? 0.18 : 0.5);
      c.beginPath();
      c.moveTo(l, Y(v));
      c.lineTo(r, Y(v));
      c.stroke();
    }
    c.textAlign = "center";
    c.fillText("1", X(0), b + 10);
    c.fillText(String(count), X(count - 1), b + 10);
    c.fillText("frame", (l + r) / 2, b + 10);
    c.strokeStyle = colour;
    c.setLineDash([4, 3]);
    c.beginPath();
    c.moveTo(X(frame), t);
    c.lineTo(X(frame), b);
    c.stroke();
    c.setLineDash([]);
    let at = l;
    present.forEach((q) => {
      const hue = bright(colours[(q - 1) % 10], colour),
        kind = MARKS[(q - 1) % 10];
      c.strokeStyle = c.fillStyle = hue;
      c.lineWidth = 1.8;
      c.beginPath();
      scores.forEach((j, f) => (f ? c.lineTo(X(f), Y(j[q])) : c.moveTo(X(f), Y(j[q]))));
      c.stroke();
      c.lineWidth = 1;
      scores.forEach((j, f) => {
        if (f % Math.ceil(count / 16) === 0) mark(c, kind, X(f), Y(j[q]), 3);
      });
      const now = scores[frame]?.[q];
      mark(c, kind, at + 4, 22, 4);
      c.fillStyle = colour;
      c.textAlign = "left";
      const text = `${q}: ${now === undefined ? "" : now.toFixed(2)}`;
      c.fillText(text, at + 12, 22);
      at += 22 + c.measureText(text).width;
    });
    if (scores.length === count && present.length) {
      const mean =
        scores.slice(1).reduce((a, j) => a + present.reduce((m, q) => m + j[q], 0) / present.length, 0) /
        (count - 1);
      c.textAlign = "right";
      c.fillStyle = colour;
      c.fillText(`mean of frames 2 to ${count}: ${mean.toFixed(3)}`, r, b + 24);
      root.dataset.mean = mean.toFixed(4);
      chart[0].setAttribute(
        "aria-label",
        `overlap with the given masks, mean of frames 2 to ${count}: ${mean.toFixed(3)}`,
      );
    } else root.dataset.mean = "";
  };

  // ---- what the reader does
  const go = (f, tell = true) => {
    frame = Math.max(0, Math.min(count - 1, f));
    draw();
    if (tell) save("frame", frame);
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
  };
  const toggle = () => {
    if (timer) {
      stop();
      go(frame);
      return;
    }
    if (frame === count - 1) frame = 0;
    timer = setInterval(() => {
      if (frame && labels.length <= frame && drawn.some((v) => v)) return; // the labels of this frame are still being computed
      if (frame + 1 >= count - 1) stop();
      go(frame + 1, !timer);
    }, STEP_MS);
    draw();
  };
  const select = (px, py, tell = true) => {
    x = Math.max(0, Math.min(width - 1, px));
    y = Math.max(0, Math.min(height - 1, py));
    draw();
    if (tell) save("pixel", [x, y]);
  };
  const set = (name, value) => {
    save(name, value);
    changed();
  };
  const changed = () => {
    s = read();
    restart();
    draw();
  };
  const dab = (px, py) => {
    const r = +brush.value;
    for (let i = Math.max(0, py - r); i <= Math.min(height - 1, py + r); i++)
      for (let j = Math.max(0, px - r); j <= Math.min(width - 1, px + r); j++)
        if ((i - py) ** 2 + (j - px) ** 2 <= (r + 0.3) ** 2) drawn[i * width + j] = object;
  };
  const line = ([ax, ay], [bx, by]) => {
    // no gaps where the pointer is fast
    const n = Math.max(Math.abs(bx - ax), Math.abs(by - ay), 1);
    for (let i = 0; i <= n; i++)
      dab(Math.round(ax + ((bx - ax) * i) / n), Math.round(ay + ((by - ay) * i) / n));
  };
  const finished = () => {
    save("drawn", new DataView(drawn.slice().buffer));
    restart();
    draw();
  };
  const replace = (mask) => {
    drawn = mask;
    stop();
    frame = 0;
    finished();
    save("frame", 0);
  };
  const choose = (q) => {
    // an object to draw, or 0 for the eraser
    if (q > objects) return;
    tool = "draw";
    object = q;
    stop();
    if (frame) go(0);
    else draw();
  };
  const pixelAt = (e) =>
    pointer(e, screen).map((v, i) => Math.max(0, Math.min((i ? height : width) - 1, Math.floor(v / scale))));

  listen(play, "click", toggle);
  listen(slider, "input", () => {
    stop();
    go(+slider.value, false);
  });
  listen(slider, "change", () => save("frame", frame));
  listen(temperature.input, "input", () =>
    set("temperature", +(0.005 * 2000 ** (+temperature.input.value / 165)).toPrecision(3)),
  );
  listen(windowed.input, "input", () => set("window", +windowed.input.value));
  listen(best.input, "input", () => set("topk", about.topk[+best.input.value]));
  listen(keepFirst, "change", () => set("keep_first", keepFirst.checked));
  if (truth) listen(truth, "change", drawFilm);
  listen(point, "click", () => {
    tool = "point";
    draw();
  });
  for (const [button, , q] of swatches) listen(button, "click", () => choose(q));
  listen(erase, "click", () => choose(0));
  listen(brush, "input", draw);
  listen(clear, "click", () => replace(new Uint8Array(height * width)));
  if (useGiven) listen(useGiven, "click", () => replace(given.slice(0, height * width)));

  listen(screen, "pointerdown", (e) => {
    if (e.button) return;
    const at = pixelAt(e);
    screen.setPointerCapture(e.pointerId);
    stroke = drawing() ? "draw" : "point";
    if (stroke === "point") {
      stop();
      select(...at, false);
      return;
    }
    hover = at;
    line(at, at);
    drawFilm();
  });
  listen(screen, "pointermove", (e) => {
    const at = pixelAt(e);
    if (stroke === "point") {
      if (at[0] !== x || at[1] !== y) select(...at, false);
      return;
    }
    if (!drawing()) return;
    if (stroke === "draw") line(hover, at);
    hover = at;
    drawFilm();
  });
  const lift = () => {
    const was = stroke;
    stroke = null;
    if (was === "draw") finished();
    else if (was === "point") save("pixel", [x, y]);
  };
  listen(screen, "pointerup", lift);
  listen(screen, "pointercancel", lift);
  listen(screen, "pointerleave", () => {
    if (hover) {
      hover = null;
      drawFilm();
    }
  });
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
        left: Math.min(px + 10, width * small - 30) + "px",
        top: (py > 30 ? py - 26 : py + 14) + "px",
      });
    });
    listen(t.canvas, "pointerleave", () => {
      t.tip.style.display = "none";
    });
  }
  listen(root, "keydown", (e) => {
    const on = e.target === screen,
      own = e.target.matches("input, button"),
      big = e.shiftKey;
    if (e.ctrlKey || e.metaKey || e.altKey || e.key === "Tab") return;
    const move = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[e.key];
    if (own && (move || ["Home", "End", " ", "Enter", "PageUp", "PageDown"].includes(e.key))) {
      e.stopPropagation();
      return;
    } // the control's own key
    if (move && on)
      select(
        x + move[0] * (big ? Math.max(1, Math.round(width / columns)) : 1),
        y + move[1] * (big ? Math.max(1, Math.round(height / rows)) : 1),
      );
    else if (e.key === "," || e.key === "." || (move && move[0])) {
      stop();
      go(frame + (e.key === "." || move?.[0] > 0 ? 1 : -1));
    } else if (e.key === "Home" || e.key === "End") {
      stop();
      go(e.key === "Home" ? 0 : count - 1);
    } else if (e.key === " " && on && drawing()) {
      dab(x, y);
      finished();
    } else if (e.key === " ") toggle();
    else if (/^[0-9]$/.test(e.key)) choose(+e.key);
    else if (e.key === "[" || e.key === "]") {
      brush.value = +brush.value + (e.key === "]" ? 1 : -1);
      draw();
    } else return;
    hover = null;
    e.preventDefault();
    e.stopPropagation();
  });

  // ---- what Python (or a second view of this film) changes
  view.follow("frame", () => {
    if (model.get("frame") !== frame) {
      stop();
      go(model.get("frame"), false);
    }
  });
  view.follow("pixel", () => {
    const [a, b] = model.get("pixel");
    if (a !== x || b !== y) select(a, b, false);
  });
  for (const name of ["temperature", "window", "topk", "keep_first"])
    view.follow(name, () => {
      const now = read();
      if (["temperature", "window", "topk", "first"].some((k) => now[k] !== s[k])) changed();
    });
  view.follow("drawn", () => {
    const now = bytes(model.get("drawn"));
    if (now.some((v, i) => v !== drawn[i])) {
      drawn = now;
      restart();
      draw();
    }
  });

  root.results = {
    labels: () => labels.map((v) => Array.from(v)),
    masks: () => masks.map((v) => Array.from(v)),
    attention: () => Array.from(attention),
  };
  let bitmap = null,
    closed = false;
  view.later(() => {
    closed = true;
    stop();
    if (waiting !== null) cancelAnimationFrame(waiting);
    bitmap?.close();
  });
  restart();
  view.themed(draw);
  picture(model.get("sheet"), about.sheet.type).then((made) => {
    if (closed) made.close();
    else {
      bitmap = made;
      root.dataset.loaded = 1;
      draw();
    }
  });
  return view.close;
}

export default { render };
