// A training to scrub through: a slider over the epochs, a map of clusters, curves with a cursor, filters.
// Everything happens here; no message goes to Python, so it also lives on a page without a kernel.
// data-* attributes on the root (frame, frames, playing, hover, draws) are there for tests.

const MAP = 330, CHART_W = 300, STEP_MS = 400;

const LOOK = `
.ssl-replay .bar output { min-width: 110px; }
.ssl-replay .legend { display: grid; gap: 1px 10px; grid-template-columns: max-content; font-size: 12px; }
.ssl-replay .legend span { display: flex; align-items: center; gap: 5px; }
.ssl-replay .map { position: relative; }
`;

function render({ model, el }) {
  const about = model.get("about");
  const { count, points, names, epochs, classes, colours } = about;
  const xy = new Uint16Array(bytes(model.get("positions")).buffer);
  const labels = bytes(model.get("labels"));
  const metrics = new Float32Array(bytes(model.get("metrics")).buffer);
  const kernels = bytes(model.get("kernels"));
  const view = open({ model, el }, "ssl-replay", "Replay of a training", LOOK);
  const { root, ink, listen } = view;
  if (about.title) make("div", "title", root, { textContent: about.title });
  const bar = make("div", "bar", root);
  const button = make("button", "play", bar, { type: "button" });
  const slider = make("input", "frame", bar, { type: "range", min: 0, max: count - 1, step: 1 });
  slider.setAttribute("aria-label", "epoch");
  const label = make("output", "", bar);
  const body = make("div", "body", root);

  let map = null, mapCtx = null, tip = null;
  if (points) {
    const holder = make("div", "map", body);
    [map, mapCtx] = sheet(holder, "points", MAP, MAP);
    tip = make("div", "tip", holder);
  }
  // Metrics of one kind share a chart: what the loss is, what a probe scores, what else there is.
  const isProbe = (n) => /knn|linear|probe|accuracy/i.test(n);
  const groups = [names.filter((n) => n === "loss"), names.filter(isProbe), ...names.filter((n) => n !== "loss" && !isProbe(n)).slice(0, 2).map((n) => [n])]
    .filter((g) => g.length).slice(0, 3);
  const chartHeight = groups.length > 2 ? 104 : groups.length > 1 ? 156 : 240;
  const side = make("div", "side", body);
  const charts = groups.map((group) => [group, ...sheet(side, "chart", CHART_W, chartHeight)]);
  const last = make("div", "side", body);
  const present = [...new Set(labels)].filter((c) => c !== 255).sort((a, b) => a - b);
  const nameOf = (c) => (c === 255 ? "unlabelled" : classes[c] ?? String(c));
  const legendMarks = [];
  if (points && present.length && present.length <= 20) {
    const legend = make("div", "legend", last);
    for (const c of present) {
      const entry = make("span", "", legend);
      legendMarks.push([c, sheet(entry, "", 12, 12)[1]]);
      entry.append(nameOf(c));
    }
  }
  const n = about.kernels, k = about.kernel, across = Math.ceil(Math.sqrt(n * 1.0)) || 1;
  let filterCtx = null, tile = 0;
  if (n) {
    tile = Math.max(8, Math.min(24, Math.floor(130 / across)));
    filterCtx = sheet(last, "filters", across * (tile + 2), Math.ceil(n / across) * (tile + 2))[1];
    filterCtx.imageSmoothingEnabled = false;
  }
  const scratch = document.createElement("canvas");
  scratch.width = scratch.height = k || 1;

  let frame = Math.max(0, Math.min(count - 1, model.get("frame") ?? count - 1)), timer = null, draws = 0, hovered = -1;
  const at = (i, f = frame) => {
    const p = (f * points + i) * 2;
    return [(xy[p] / 65535) * MAP, (1 - xy[p + 1] / 65535) * MAP];
  };
  // Dark inks of the palette would vanish on a dark page; the ground of the map stays white there, as in the stored picture.
  const drawMap = () => {
    if (!map) return;
    const ctx = mapCtx;
    ctx.fillStyle = "#fff"; ctx.fillRect(0, 0, MAP, MAP);
    ctx.strokeStyle = "#c9d1d9"; ctx.strokeRect(0.5, 0.5, MAP - 1, MAP - 1);
    const r = points > 1500 ? 2 : points > 600 ? 2.6 : 3.4;
    ctx.globalAlpha = 0.8;
    for (const c of [255, ...present]) {
      ctx.fillStyle = c === 255 ? "#b8c0c8" : colours[c % colours.length];
      for (let i = 0; i < points; i++) if (labels[i] === c) mark(ctx, c === 255 ? "circle" : MARKS[c % 10], ...at(i), r);
    }
    ctx.globalAlpha = 1;
    if (hovered >= 0) {
      const [x, y] = at(hovered);
      ctx.strokeStyle = "#000"; ctx.lineWidth = 2;
      ctx.beginPath(); ctx.arc(x, y, r + 4, 0, 7); ctx.stroke(); ctx.lineWidth = 1;
    }
  };
  const drawChart = ([group, canvas, ctx], number) => {
    const colour = ink(), w = CHART_W, h = chartHeight, left = 42, right = w - 8, top = 22, bottom = h - (number === charts.length - 1 ? 20 : 8);
    ctx.clearRect(0, 0, w, h);
    const series = group.map((name) => metrics.subarray(names.indexOf(name) * count, (names.indexOf(name) + 1) * count));
    const all = series.flatMap((s) => [...s]).filter((v) => Number.isFinite(v));
    let low = Math.min(...all), high = Math.max(...all);
    if (!all.length) { low = 0; high = 1; }
    if (high - low < 1e-9) { low -= 0.5; high += 0.5; }
    const pad = 0.06 * (high - low); low -= pad; high += pad;
    const first = epochs[0], end = epochs[count - 1], X = (e) => (end > first ? left + 6 + (e - first) / (end - first) * (right - left - 12) : (left + right) / 2);
    const Y = (v) => bottom - (v - low) / (high - low) * (bottom - top);
    ctx.font = "11px " + (getComputedStyle(root).fontFamily || "sans-serif");
    ctx.textBaseline = "middle"; ctx.textAlign = "right"; ctx.fillStyle = colour;
    const raw = (high - low) / (h < 120 ? 2.5 : 4), unit = 10 ** Math.floor(Math.log10(raw)), step = unit * [1, 2, 2.5, 5, 10].find((s) => s * unit >= raw * 0.8);
    for (let v = Math.ceil(low / step) * step; v <= high; v += step) {
      ctx.fillText(String(+v.toPrecision(3)), left - 5, Y(v));
      ctx.strokeStyle = faded(colour, 0.15); ctx.beginPath(); ctx.moveTo(left, Y(v)); ctx.lineTo(right, Y(v)); ctx.stroke();
    }
    ctx.strokeStyle = faded(colour, 0.5);
    ctx.beginPath(); ctx.moveTo(left, top); ctx.lineTo(left, bottom); ctx.lineTo(right, bottom); ctx.stroke();
    if (number === charts.length - 1) {
      ctx.textAlign = "center";
      ctx.fillText(String(first), X(first), h - 9); if (end > first) ctx.fillText(String(end), X(end), h - 9);
      ctx.fillText("epoch", (left + right) / 2, h - 9);
    }
    ctx.strokeStyle = colour; ctx.setLineDash([4, 3]);
    ctx.beginPath(); ctx.moveTo(X(epochs[frame]), top); ctx.lineTo(X(epochs[frame]), bottom); ctx.stroke(); ctx.setLineDash([]);
    let x = left;
    series.forEach((s, i) => {
      const c = bright(colours[(i + (isProbe(group[i]) ? 4 : 0) + (number === 2 ? 2 : 0)) % colours.length], colour);
      ctx.strokeStyle = ctx.fillStyle = c; ctx.lineWidth = 1.8; ctx.beginPath();
      let started = false;
      s.forEach((v, f) => { if (Number.isFinite(v)) { started ? ctx.lineTo(X(epochs[f]), Y(v)) : ctx.moveTo(X(epochs[f]), Y(v)); started = true; } });
      ctx.stroke(); ctx.lineWidth = 1;
      if (Number.isFinite(s[frame])) mark(ctx, MARKS[i % 10], X(epochs[frame]), Y(s[frame]), 4.5);
      mark(ctx, MARKS[i % 10], x + 5, 9, 4);
      ctx.textAlign = "left"; ctx.fillStyle = colour;
      const text = `${group[i]} ${short(s[frame])}`;
      ctx.fillText(text, x + 13, 9);
      x += 24 + ctx.measureText(text).width;
    });
  };
  const drawLegend = () => {
    for (const [c, ctx] of legendMarks) {
      ctx.clearRect(0, 0, 12, 12);
      ctx.fillStyle = bright(colours[c % colours.length], ink());
      mark(ctx, MARKS[c % 10], 6, 6, 4);
    }
  };
  const drawFilters = () => {
    if (!filterCtx) return;
    const size = k * k * 3, small = scratch.getContext("2d"), pixels = small.createImageData(k, k);
    for (let i = 0; i < n; i++) {
      const from = (frame * n + i) * size;
      for (let p = 0; p < k * k; p++) {
        for (let c = 0; c < 3; c++) pixels.data[4 * p + c] = kernels[from + 3 * p + c];
        pixels.data[4 * p + 3] = 255;
      }
      small.putImageData(pixels, 0, 0);
      filterCtx.drawImage(scratch, (i % across) * (tile + 2), Math.floor(i / across) * (tile + 2), tile, tile);
    }
  };
  const draw = () => {
    slider.value = frame;
    label.textContent = `epoch ${epochs[frame]} of ${epochs[count - 1]}`;
    button.textContent = timer ? "\u23F8 pause" : "\u25B6 play";
    drawMap(); charts.forEach(drawChart); drawLegend(); drawFilters();
    Object.assign(root.dataset, { frame, frames: count, playing: timer ? 1 : 0, draws: ++draws });
  };
  const go = (f) => { frame = Math.max(0, Math.min(count - 1, f)); placeTip(); draw(); };
  const stop = () => { clearInterval(timer); timer = null; };
  const play = () => {
    if (timer) { stop(); draw(); return; }
    if (frame === count - 1) frame = 0;
    timer = setInterval(() => { if (frame + 1 >= count - 1) stop(); go(frame + 1); }, STEP_MS);
    draw();
  };
  const placeTip = () => {
    if (!tip) return;
    tip.style.display = hovered < 0 ? "none" : "block";
    root.dataset.hover = hovered < 0 ? "" : nameOf(labels[hovered]);
    if (hovered < 0) return;
    const [x, y] = at(hovered);
    tip.textContent = nameOf(labels[hovered]);
    tip.style.left = Math.min(x + 10, MAP - 90) + "px"; tip.style.top = (y > 30 ? y - 28 : y + 12) + "px";
  };

  listen(button, "click", play);
  listen(slider, "input", () => { stop(); go(+slider.value); });
  listen(root, "keydown", (e) => {
    const move = { ArrowRight: frame + 1, ArrowUp: frame + 1, ArrowLeft: frame - 1, ArrowDown: frame - 1, Home: 0, End: count - 1 }[e.key];
    if (move !== undefined) { stop(); go(move); } else if (e.key === " " && e.target !== button) play(); else return;
    e.preventDefault(); e.stopPropagation(); // the notebook would scroll, or leave the cell
  });
  if (map) {
    listen(map, "mousemove", (e) => {
      const [mx, my] = pointer(e, map);
      let best = -1, near = 150;
      for (let i = 0; i < points; i++) { const [x, y] = at(i), d = (x - mx) ** 2 + (y - my) ** 2; if (d < near) { near = d; best = i; } }
      if (best !== hovered) { hovered = best; placeTip(); drawMap(); }
    });
    listen(map, "mouseleave", () => { hovered = -1; placeTip(); drawMap(); });
  }
  view.follow("frame", () => { stop(); go(model.get("frame")); });
  view.later(stop);
  view.themed(draw);
  return view.close;
}

export default { render };
