// Trainings to scrub through: one slider over the epochs; for each run a map of clusters, curves with a
// cursor, filters, what a few samples are taken for, and rows of pictures. Everything happens here; no
// message goes to Python, so it also lives on a page without a kernel.
// data-* attributes on the root (frame, frames, playing, hover, draws, colour) are there for tests.

const STEP_MS = 400,
  NOBODY_NUMBER = 255;
const RIGHT = "#00795A",
  WRONG = "#C4441C";

const LOOK = `
.ssl-replay .bar output { min-width: 110px; }
.ssl-replay .legend { display: grid; gap: 1px 10px; grid-template-columns: max-content; font-size: 12px; }
.ssl-replay .legend.wide { display: flex; flex-wrap: wrap; margin: 0 0 8px; }
.ssl-replay .legend span { display: flex; align-items: center; gap: 5px; }
.ssl-replay .map { position: relative; }
.ssl-replay .runs { display: flex; flex-wrap: wrap; gap: 14px 20px; align-items: flex-start; }
.ssl-replay .run > .title { max-width: 400px; }
.ssl-replay .guesses, .ssl-replay .strips { margin-top: 8px; }
`;

const isProbe = (n) => /knn|linear|probe|accuracy/i.test(n);
// Metrics of one kind share a chart: what the loss is, what a probe scores, what else there is.
const grouped = (names) =>
  [
    names.filter((n) => n === "loss"),
    names.filter(isProbe),
    ...names
      .filter((n) => n !== "loss" && !isProbe(n))
      .slice(0, 2)
      .map((n) => [n]),
  ]
    .filter((g) => g.length)
    .slice(0, 3);

function buildBar(view) {
  const { runs, root, several, count } = view;
  if (!several && runs[0].title) make("div", "title", root, { textContent: runs[0].title });
  const bar = make("div", "bar", root);
  const button = make("button", "play", bar, { type: "button" });
  const slider = make("input", "frame", bar, { type: "range", min: 0, max: count - 1, step: 1 });
  slider.setAttribute("aria-label", "epoch");
  const label = make("output", "", bar);
  Object.assign(view, { byCluster: false, choose: null });
  if (runs.some((r) => r.clustered)) {
    const face = make("label", "", bar, { textContent: "colour " });
    view.choose = make("select", "", face);
    for (const text of ["by label", "by cluster"]) make("option", "", view.choose, { textContent: text });
  }
  Object.assign(view, { button, slider, label });
}

function initialState(view) {
  const { model, count } = view;
  Object.assign(view, {
    frame: Math.max(0, Math.min(count - 1, model.get("frame") ?? count - 1)),
    timer: null,
    draws: 0,
  });
}

const nameOf = (view, run, c) =>
  c === NOBODY_NUMBER
    ? view.byCluster
      ? "in no cluster"
      : "unlabelled"
    : view.byCluster
      ? `cluster ${c}`
      : (run.classes[c] ?? String(c));

// More categories than colours: colour and marker shift against each other, so that a hundred clusters still
// differ.
const colourOf = ({ colours }, c) =>
  c === NOBODY_NUMBER ? NOBODY : colours[(c + 3 * Math.floor(c / 10)) % colours.length];

const markOf = (c) => (c === NOBODY_NUMBER ? "circle" : MARKS[c % 10]);

// ---- one run

function findRanges(view) {
  const { runs, raw, groups } = view;
  const ranges = groups.map((group) => {
    // axes are common to all runs, or they could not be compared
    const all = runs
      .flatMap((run) =>
        group.flatMap((name) => {
          const i = run.names.indexOf(name);
          return i < 0
            ? []
            : [
                ...new Float32Array(
                  raw.metrics.slice(
                    run.at.metrics + 4 * i * run.count,
                    run.at.metrics + 4 * (i + 1) * run.count,
                  ).buffer,
                ),
              ];
        }),
      )
      .filter((v) => Number.isFinite(v));
    let low = Math.min(...all),
      high = Math.max(...all);
    if (!all.length) {
      low = 0;
      high = 1;
    }
    if (high - low < 1e-9) {
      low -= 0.5;
      high += 0.5;
    }
    const pad = 0.06 * (high - low);
    return [low - pad, high + pad];
  });
  Object.assign(view, { ranges });
}

function readRun(panel) {
  const { view, run } = panel;
  const { points, names, epochs } = run,
    MAP = view.several ? (view.runs.length > 2 ? 250 : 380) : 330,
    CHART = view.several ? MAP + 20 : 300;
  const xy = take(panel, "positions", run.count * points * 2, Uint16Array),
    labels = take(panel, "labels", points, Uint8Array);
  const assigned = take(panel, "assigned", run.clustered ? run.count * points : 0, Uint8Array);
  const metrics = take(panel, "metrics", names.length * run.count, Float32Array);
  const n = run.kernels,
    k = run.kernel,
    kernels = take(panel, "kernels", run.count * n * k * k * 3, Uint8Array);
  const guesses = take(panel, "guesses", run.count * run.guesses, Uint8Array),
    truth = take(panel, "truth", run.guesses, Uint8Array);
  Object.assign(panel, {
    points,
    names,
    epochs,
    MAP,
    CHART,
    xy,
    labels,
    assigned,
    metrics,
    n,
    k,
    kernels,
    guesses,
    truth,
  });
}

const take = ({ view, run }, name, size, Kind) =>
  new Kind(view.raw[name].slice(run.at[name], run.at[name] + size * Kind.BYTES_PER_ELEMENT).buffer);

function buildMap(panel) {
  const { view, run, parent, points, MAP } = panel;
  const box = make("div", "run", parent);
  if (view.several) make("div", "title", box, { textContent: run.title });
  const body = make("div", view.several ? "side" : "body", box);
  Object.assign(panel, { map: null, mapCtx: null, tip: null, hovered: -1 });
  if (points) {
    const holder = make("div", "map", body);
    [panel.map, panel.mapCtx] = sheet(holder, "points", MAP, MAP);
    panel.tip = make("div", "tip", holder);
  }
  Object.assign(panel, { box, body });
}

function buildCharts(panel) {
  const { view, CHART, body } = panel;
  const height = view.several ? 118 : view.groups.length > 2 ? 104 : view.groups.length > 1 ? 156 : 240;
  const side = make("div", "side", body);
  const charts = view.groups.map((group) => [group, ...sheet(side, "chart", CHART, height)]);
  const last = make("div", "side", body);
  Object.assign(panel, { height, charts, last });
}

const now = ({ view, run }) => Math.min(view.frame, run.count - 1);

const kinds = (panel) =>
  panel.view.byCluster && panel.run.clustered
    ? panel.assigned.subarray(now(panel) * panel.points, (now(panel) + 1) * panel.points)
    : panel.labels;

function at(panel, i) {
  const { points, MAP, xy } = panel;
  const p = (now(panel) * points + i) * 2;
  return [(xy[p] / 65535) * MAP, (1 - xy[p + 1] / 65535) * MAP];
}

function buildFilters(panel) {
  const { view, CHART, n, k, last } = panel;
  const across = Math.ceil(Math.sqrt(n * (view.several ? 2.5 : 1))) || 1;
  Object.assign(panel, { filterCtx: null, tile: 0 });
  const legendPlace = view.several ? null : last;
  const scratch = document.createElement("canvas");
  scratch.width = scratch.height = k || 1;
  if (n) panel.tile = Math.max(8, Math.min(24, Math.floor((view.several ? CHART : 130) / across) - 2));
  const filterPlace = make("div", "", last);
  if (n) {
    panel.filterCtx = sheet(
      filterPlace,
      "filters",
      across * (panel.tile + 2),
      Math.ceil(n / across) * (panel.tile + 2),
    )[1];
    panel.filterCtx.imageSmoothingEnabled = false;
  }
  Object.assign(panel, { across, legendPlace, scratch });
}

function buildGuesses(panel) {
  const { view, run, CHART, box } = panel;
  Object.assign(panel, { guessCtx: null, guessCanvas: null });
  const SIDE = 40,
    CELL = view.several ? Math.floor(CHART / 6) : 66,
    row = Math.max(1, Math.min(run.guesses, view.several ? 6 : 12)),
    CELL_H = SIDE + 22;
  if (run.guesses) {
    const holder = make("div", "guesses", box);
    make("div", "note", holder, { textContent: "samples, and what they are taken for" });
    [panel.guessCanvas, panel.guessCtx] = sheet(
      holder,
      "guesses",
      row * CELL,
      Math.ceil(run.guesses / row) * CELL_H,
    );
    panel.guessCtx.imageSmoothingEnabled = false;
  }
  Object.assign(panel, { SIDE, CELL, row, CELL_H });
}

function buildStrips(panel) {
  const { view, run, CHART, box } = panel;
  // Rows of pictures: {name, how many}, one after the other in `strips`, which says which tile of the sheet
  // stands where.
  const rows = run.strips ?? [],
    all = rows.reduce((sum, [, m]) => sum + m, 0),
    most = Math.max(0, ...rows.map(([, m]) => m));
  const NAME = all ? 12 + 7 * Math.max(...rows.map(([name]) => name.length)) : 0;
  const TILE = Math.min(52, Math.floor(((view.several ? CHART + 40 : 836) - NAME) / (most || 1)) - 4),
    tilesOf = take(panel, "strips", all * run.count, Uint16Array);
  Object.assign(panel, { stripCtx: null, stripCanvas: null });
  if (all) {
    [panel.stripCanvas, panel.stripCtx] = sheet(
      make("div", "strips", box),
      "strips",
      NAME + most * (TILE + 4),
      rows.length * (TILE + 6),
    );
    panel.stripCanvas.setAttribute("role", "img");
    panel.stripCanvas.setAttribute(
      "aria-label",
      `rows of pictures: ${rows.map(([name]) => name).join(", ")}`,
    );
    panel.stripCtx.imageSmoothingEnabled = false;
  }
  Object.assign(panel, { rows, all, most, NAME, TILE, tilesOf });
}

function drawMap(panel) {
  const { view, points, MAP } = panel;
  if (!panel.map) return;
  const ctx = panel.mapCtx,
    groupsOf = kinds(panel);
  // The ground stays white on a dark page too, as in the stored picture: dark inks of the palette would
  // vanish.
  ctx.fillStyle = "#fff";
  ctx.fillRect(0, 0, MAP, MAP);
  ctx.strokeStyle = "#c9d1d9";
  ctx.strokeRect(0.5, 0.5, MAP - 1, MAP - 1);
  const r = points > 1500 ? 2 : points > 600 ? 2.6 : 3.4;
  ctx.globalAlpha = 0.8;
  for (const c of [...new Set(groupsOf)].sort((a, b) =>
    a === NOBODY_NUMBER ? -1 : b === NOBODY_NUMBER ? 1 : a - b,
  )) {
    ctx.fillStyle = colourOf(view, c);
    for (let i = 0; i < points; i++) if (groupsOf[i] === c) mark(ctx, markOf(c), ...at(panel, i), r);
  }
  ctx.globalAlpha = 1;
  if (panel.hovered >= 0) {
    const [x, y] = at(panel, panel.hovered);
    ctx.strokeStyle = "#000";
    ctx.lineWidth = 2;
    ctx.beginPath();
    ctx.arc(x, y, r + 4, 0, 7);
    ctx.stroke();
    ctx.lineWidth = 1;
  }
}

function drawChart(panel, [group, , ctx], number) {
  const { view, run, names, CHART, metrics, height, charts } = panel;
  const own = group.filter((name) => names.includes(name));
  const series = own.map((name) =>
    metrics.subarray(names.indexOf(name) * run.count, (names.indexOf(name) + 1) * run.count),
  );
  const last = number === charts.length - 1;
  const box = { left: 42, right: CHART - 8, top: 22, bottom: height - (last ? 20 : 8) };
  const [low, high] = view.ranges[number];
  const first = view.longest.epochs[0];
  const end = view.longest.epochs[view.count - 1];
  const X = (e) =>
    end > first
      ? box.left + 6 + ((e - first) / (end - first)) * (box.right - box.left - 12)
      : (box.left + box.right) / 2;
  const Y = (v) => box.bottom - ((v - low) / (high - low)) * (box.bottom - box.top);
  ctx.clearRect(0, 0, CHART, height);
  ctx.font = `11px ${getComputedStyle(view.root).fontFamily || "sans-serif"}`;
  drawAxes(panel, ctx, number, box, X, Y);
  let x = box.left;
  for (const [i, values] of series.entries()) {
    const place = group.indexOf(own[i]);
    const shift = (isProbe(own[i]) ? 4 : 0) + (number === 2 ? 2 : 0);
    ctx.strokeStyle = ctx.fillStyle = bright(view.colours[(place + shift) % view.colours.length], view.ink());
    x = drawCurve(panel, ctx, own[i], values, MARKS[place % 10], x, X, Y);
  }
}

// Round numbers on the left, the epochs below the last chart, and the cursor.
function drawAxes(panel, ctx, number, { left, right, top, bottom }, X, Y) {
  const { view, epochs, height, charts } = panel;
  const colour = view.ink();
  const [low, high] = view.ranges[number];
  const first = view.longest.epochs[0];
  const end = view.longest.epochs[view.count - 1];
  ctx.textBaseline = "middle";
  ctx.textAlign = "right";
  ctx.fillStyle = colour;
  const rough = (high - low) / (height < 120 ? 2.5 : 4);
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 2.5, 5, 10].find((s) => s * unit >= rough * 0.8);
  for (let v = Math.ceil(low / step) * step; v <= high; v += step) {
    ctx.fillText(String(+v.toPrecision(3)), left - 5, Y(v));
    ctx.strokeStyle = faded(colour, 0.15);
    ctx.beginPath();
    ctx.moveTo(left, Y(v));
    ctx.lineTo(right, Y(v));
    ctx.stroke();
  }
  ctx.strokeStyle = faded(colour, 0.5);
  ctx.beginPath();
  ctx.moveTo(left, top);
  ctx.lineTo(left, bottom);
  ctx.lineTo(right, bottom);
  ctx.stroke();
  if (number === charts.length - 1) {
    ctx.textAlign = "center";
    ctx.fillText(String(first), X(first), height - 9);
    if (end > first) ctx.fillText(String(end), X(end), height - 9);
    ctx.fillText("epoch", (left + right) / 2, height - 9);
  }
  const cursor = X(epochs[now(panel)]);
  ctx.strokeStyle = colour;
  ctx.setLineDash([4, 3]);
  ctx.beginPath();
  ctx.moveTo(cursor, top);
  ctx.lineTo(cursor, bottom);
  ctx.stroke();
  ctx.setLineDash([]);
}

// One curve in the colour that is set, and its entry above the chart, from x on. Returns where the next one
// begins.
function drawCurve(panel, ctx, name, values, marker, x, X, Y) {
  const { view, epochs } = panel;
  const value = values[now(panel)];
  ctx.lineWidth = 1.8;
  ctx.beginPath();
  for (const [f, v] of values.entries()) if (Number.isFinite(v)) ctx.lineTo(X(epochs[f]), Y(v));
  ctx.stroke();
  ctx.lineWidth = 1;
  if (Number.isFinite(value)) mark(ctx, marker, X(epochs[now(panel)]), Y(value), 4.5);
  mark(ctx, marker, x + 5, 9, 4);
  ctx.textAlign = "left";
  ctx.fillStyle = view.ink();
  const text = `${name} ${short(value)}`;
  ctx.fillText(text, x + 13, 9);
  return x + 24 + ctx.measureText(text).width;
}

function drawFilters(panel) {
  const { n, k, kernels, across, scratch } = panel;
  if (!panel.filterCtx) return;
  const size = k * k * 3,
    small = scratch.getContext("2d"),
    pixels = small.createImageData(k, k);
  for (let i = 0; i < n; i++) {
    const from = (now(panel) * n + i) * size;
    for (let p = 0; p < k * k; p++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * p + c] = kernels[from + 3 * p + c];
      pixels.data[4 * p + 3] = 255;
    }
    small.putImageData(pixels, 0, 0);
    panel.filterCtx.drawImage(
      scratch,
      (i % across) * (panel.tile + 2),
      Math.floor(i / across) * (panel.tile + 2),
      panel.tile,
      panel.tile,
    );
  }
}

function drawGuesses(panel) {
  const { view, run, truth, CELL, row, CELL_H } = panel;
  if (!panel.guessCtx) return;
  const ctx = panel.guessCtx;
  ctx.clearRect(0, 0, row * CELL, Math.ceil(run.guesses / row) * CELL_H);
  ctx.font = `11px ${getComputedStyle(view.root).fontFamily || "sans-serif"}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  let right = 0;
  for (let i = 0; i < run.guesses; i++) {
    const guess = panel.guesses[now(panel) * run.guesses + i];
    const known = truth[i] !== NOBODY_NUMBER;
    const good = known && guess === truth[i];
    right += good;
    drawGuess(panel, i, guess, known, good);
  }
  panel.guessCanvas.dataset.right = right;
}

// Sample i, what it is taken for, and whether that is right where the truth is known.
function drawGuess({ view, run, guessCtx: ctx, SIDE, CELL, row, CELL_H }, i, guess, known, good) {
  const x = (i % row) * CELL + (CELL - SIDE) / 2;
  const y = Math.floor(i / row) * CELL_H + 3;
  if (view.sprites) drawCut(ctx, view.sprites, view.cut, run.at.pictures + i, x, y, SIDE);
  if (known) {
    ctx.strokeStyle = good ? RIGHT : WRONG;
    ctx.lineWidth = 2;
    ctx.setLineDash(good ? [] : [4, 2]);
    ctx.strokeRect(x - 1, y - 1, SIDE + 2, SIDE + 2);
    ctx.setLineDash([]);
    ctx.lineWidth = 1;
  }
  const sign = known ? (good ? "\u2713" : "\u2717") : "";
  let text = `${sign}${guess === NOBODY_NUMBER ? "?" : (run.classes[guess] ?? guess)}`;
  while (ctx.measureText(text).width > CELL && text.length > 3) text = `${text.slice(0, -2)}.`;
  ctx.fillStyle = view.ink();
  ctx.fillText(text, (i % row) * CELL + CELL / 2, y + SIDE + 4);
}

function drawStrips(panel) {
  const { view, run, rows, all, most, NAME, TILE, tilesOf } = panel;
  if (!panel.stripCtx) return;
  const ctx = panel.stripCtx;
  ctx.clearRect(0, 0, NAME + most * (TILE + 4), rows.length * (TILE + 6));
  ctx.font = `12px ${getComputedStyle(view.root).fontFamily || "sans-serif"}`;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.fillStyle = view.ink();
  let i = now(panel) * all;
  rows.forEach(([name, m], r) => {
    ctx.fillText(name, 0, r * (TILE + 6) + TILE / 2);
    for (let c = 0; c < m; c++, i++) {
      if (view.tiles)
        drawCut(
          ctx,
          view.tiles,
          view.tileCut,
          run.at.tiles + tilesOf[i],
          NAME + c * (TILE + 4),
          r * (TILE + 6),
          TILE,
        );
    }
  });
  panel.stripCanvas.dataset.first = tilesOf[now(panel) * all];
}

function placeTip(panel) {
  const { view, run, MAP } = panel;
  if (!panel.tip) return;
  panel.tip.style.display = panel.hovered < 0 ? "none" : "block";
  const kind = panel.hovered < 0 ? 0 : kinds(panel)[panel.hovered];
  view.root.dataset.hover = panel.hovered < 0 ? "" : nameOf(view, run, kind);
  if (panel.hovered < 0) return;
  const [x, y] = at(panel, panel.hovered);
  panel.tip.textContent = nameOf(view, run, kind);
  panel.tip.style.left = `${Math.min(x + 10, MAP - 90)}px`;
  panel.tip.style.top = `${y > 30 ? y - 28 : y + 12}px`;
}

function listenToMap(panel) {
  const { view, points } = panel;
  if (panel.map) {
    view.listen(panel.map, "mousemove", (e) => {
      const [mx, my] = pointer(e, panel.map);
      let best = -1,
        near = 150;
      for (let i = 0; i < points; i++) {
        const [x, y] = at(panel, i),
          d = (x - mx) ** 2 + (y - my) ** 2;
        if (d < near) {
          near = d;
          best = i;
        }
      }
      if (best !== panel.hovered) {
        panel.hovered = best;
        placeTip(panel);
        drawMap(panel);
      }
    });
    view.listen(panel.map, "mouseleave", () => {
      panel.hovered = -1;
      placeTip(panel);
      drawMap(panel);
    });
  }
}

function drawPanel(panel) {
  const { charts } = panel;
  placeTip(panel);
  drawMap(panel);
  charts.forEach((chart, number) => {
    drawChart(panel, chart, number);
  });
  drawFilters(panel);
  drawGuesses(panel);
  drawStrips(panel);
}

function buildPanel(view, run, parent) {
  const panel = {};
  Object.assign(panel, { view, run, parent });
  readRun(panel);
  buildMap(panel);
  buildCharts(panel);
  buildFilters(panel);
  buildGuesses(panel);
  buildStrips(panel);
  listenToMap(panel);
  return panel;
}

function buildPanels(view) {
  const { runs, root, several } = view;
  const wideLegend = several ? make("div", "legend wide", root) : null;
  const holder = make("div", several ? "runs" : "", root);
  Object.assign(view, { sprites: null, tiles: null });
  const panels = runs.map((run) => buildPanel(view, run, holder));
  Object.assign(view, { wideLegend, panels });
}

function buildLegend(view) {
  const { several, wideLegend, panels } = view;
  const narrow = several ? null : make("div", "legend");
  if (narrow) panels[0].legendPlace.prepend(narrow);
  const legend = wideLegend || narrow;
  Object.assign(view, { marks: [], shownKinds: "", legend });
}

function drawLegend(view) {
  const { runs, ink, panels, legend } = view;
  const present = [...new Set(panels.flatMap((p) => (p.run.points ? [...new Set(kinds(p))] : [])))]
    .filter((c) => c !== NOBODY_NUMBER)
    .sort((a, b) => a - b);
  const key = `${view.byCluster}:${present}`;
  if (key !== view.shownKinds) {
    view.shownKinds = key;
    view.marks = [];
    legend.replaceChildren();
    if (present.length <= 20)
      for (const c of present) {
        const entry = make("span", "", legend);
        view.marks.push([c, sheet(entry, "", 12, 12)[1]]);
        entry.append(nameOf(view, runs[0], c));
      }
    else make("span", "", legend, { textContent: `${present.length} clusters` });
  }
  for (const [c, ctx] of view.marks) {
    ctx.clearRect(0, 0, 12, 12);
    ctx.fillStyle = bright(colourOf(view, c), ink());
    mark(ctx, markOf(c), 6, 6, 4);
  }
}

function draw(view) {
  const { root, count, longest, button, slider, label, panels } = view;
  slider.value = view.frame;
  label.textContent = `epoch ${longest.epochs[view.frame]} of ${longest.epochs[count - 1]}`;
  button.textContent = view.timer ? "\u23F8 pause" : "\u25B6 play";
  for (const panel of panels) drawPanel(panel);
  drawLegend(view);
  Object.assign(root.dataset, {
    frame: view.frame,
    frames: count,
    playing: view.timer ? 1 : 0,
    draws: ++view.draws,
    colour: view.byCluster ? "cluster" : "label",
  });
}

function go(view, f) {
  const { count } = view;
  view.frame = Math.max(0, Math.min(count - 1, f));
  draw(view);
}

function stop(view) {
  clearInterval(view.timer);
  view.timer = null;
}

function play(view) {
  const { count } = view;
  if (view.timer) {
    stop(view);
    draw(view);
    return;
  }
  if (view.frame === count - 1) view.frame = 0;
  view.timer = setInterval(() => {
    if (view.frame + 1 >= count - 1) stop(view);
    go(view, view.frame + 1);
  }, STEP_MS);
  draw(view);
}

function listenToReader(view) {
  const { root, listen, count, button, slider } = view;
  listen(button, "click", () => play(view));
  listen(slider, "input", () => {
    stop(view);
    go(view, +slider.value);
  });
  if (view.choose)
    listen(view.choose, "change", () => {
      view.byCluster = view.choose.selectedIndex === 1;
      draw(view);
    });
  listen(root, "keydown", (e) => {
    if (e.target === view.choose) return;
    const move = {
      ArrowRight: view.frame + 1,
      ArrowUp: view.frame + 1,
      ArrowLeft: view.frame - 1,
      ArrowDown: view.frame - 1,
      Home: 0,
      End: count - 1,
    }[e.key];
    if (move !== undefined) {
      stop(view);
      go(view, move);
    } else if (e.key === " " && e.target !== button) play(view);
    else return;
    e.preventDefault(); // the page would scroll
  });
}

function render({ model, el }) {
  const { runs, colours, cut, tileCut } = model.get("about");
  const view = open(
    { model, el },
    "ssl-replay",
    runs.length > 1 ? "Replays of trainings side by side" : "Replay of a training",
    LOOK,
  );
  const { root } = view;
  const several = runs.length > 1,
    count = Math.max(...runs.map((r) => r.count));
  const longest = runs.find((r) => r.count === count);
  const raw = Object.fromEntries(
    ["positions", "labels", "assigned", "metrics", "kernels", "guesses", "truth", "strips"].map((n) => [
      n,
      bytes(model.get(n)),
    ]),
  );
  const groups = grouped([...new Set(runs.flatMap((r) => r.names))]);
  Object.assign(view, { model, runs, colours, cut, tileCut, several, count, longest, raw, groups });
  buildBar(view);
  initialState(view);
  findRanges(view);
  buildPanels(view);
  buildLegend(view);
  listenToReader(view);
  view.follow("frame", () => {
    stop(view);
    go(view, model.get("frame"));
  });
  view.later(() => stop(view));
  view.themed(() => draw(view));
  if (cut)
    picture(model.get("pictures"), cut.type).then((sheetOf) => {
      view.sprites = sheetOf;
      for (const panel of view.panels) drawGuesses(panel);
      root.dataset.pictures = 1;
    });
  if (tileCut)
    picture(model.get("tiles"), tileCut.type).then((sheetOf) => {
      view.tiles = sheetOf;
      for (const panel of view.panels) drawStrips(panel);
      root.dataset.strips = 1;
    });
  return view.close;
}

export default { render };
