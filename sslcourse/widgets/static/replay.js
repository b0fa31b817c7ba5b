// Trainings to scrub through: one slider over the epochs; for each run a map of clusters, curves with a cursor, filters, what a few
// samples are taken for, and rows of pictures. Everything happens here; no message goes to Python, so it also lives on a page without a kernel.
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

function render({ model, el }) {
  const { runs, colours, cut, tileCut } = model.get("about");
  const view = open(
    { model, el },
    "ssl-replay",
    runs.length > 1 ? "Replays of trainings side by side" : "Replay of a training",
    LOOK,
  );
  const { root, ink, listen } = view;
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
  if (!several && runs[0].title) make("div", "title", root, { textContent: runs[0].title });
  const bar = make("div", "bar", root);
  const button = make("button", "play", bar, { type: "button" });
  const slider = make("input", "frame", bar, { type: "range", min: 0, max: count - 1, step: 1 });
  slider.setAttribute("aria-label", "epoch");
  const label = make("output", "", bar);
  let byCluster = false,
    choose = null;
  if (runs.some((r) => r.clustered)) {
    const face = make("label", "", bar, { textContent: "colour " });
    choose = make("select", "", face);
    for (const text of ["by label", "by cluster"]) make("option", "", choose, { textContent: text });
  }

  let frame = Math.max(0, Math.min(count - 1, model.get("frame") ?? count - 1)),
    timer = null,
    draws = 0;
  const nameOf = (run, c) =>
    c === NOBODY_NUMBER
      ? byCluster
        ? "in no cluster"
        : "unlabelled"
      : byCluster
        ? `cluster ${c}`
        : (run.classes[c] ?? String(c));
  // More categories than colours: colour and marker shift against each other, so that a hundred clusters still differ.
  const colourOf = (c) =>
    c === NOBODY_NUMBER ? NOBODY : colours[(c + 3 * Math.floor(c / 10)) % colours.length];
  const markOf = (c) => (c === NOBODY_NUMBER ? "circle" : MARKS[c % 10]);

  // ---- one run
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

  function panel(run, parent) {
    const { points, names, epochs } = run,
      MAP = several ? (runs.length > 2 ? 250 : 380) : 330,
      CHART = several ? MAP + 20 : 300;
    const take = (name, size, Kind) =>
      new Kind(raw[name].slice(run.at[name], run.at[name] + size * Kind.BYTES_PER_ELEMENT).buffer);
    const xy = take("positions", run.count * points * 2, Uint16Array),
      labels = take("labels", points, Uint8Array);
    const assigned = take("assigned", run.clustered ? run.count * points : 0, Uint8Array);
    const metrics = take("metrics", names.length * run.count, Float32Array);
    const n = run.kernels,
      k = run.kernel,
      kernels = take("kernels", run.count * n * k * k * 3, Uint8Array);
    const guesses = take("guesses", run.count * run.guesses, Uint8Array),
      truth = take("truth", run.guesses, Uint8Array);
    const box = make("div", "run", parent);
    if (several) make("div", "title", box, { textContent: run.title });
    const body = make("div", several ? "side" : "body", box);
    let map = null,
      mapCtx = null,
      tip = null,
      hovered = -1;
    if (points) {
      const holder = make("div", "map", body);
      [map, mapCtx] = sheet(holder, "points", MAP, MAP);
      tip = make("div", "tip", holder);
    }
    const height = several ? 118 : groups.length > 2 ? 104 : groups.length > 1 ? 156 : 240;
    const side = make("div", "side", body);
    const charts = groups.map((group) => [group, ...sheet(side, "chart", CHART, height)]);
    const last = make("div", "side", body);
    const now = () => Math.min(frame, run.count - 1);
    const kinds = () =>
      byCluster && run.clustered ? assigned.subarray(now() * points, (now() + 1) * points) : labels;
    const at = (i) => {
      const p = (now() * points + i) * 2;
      return [(xy[p] / 65535) * MAP, (1 - xy[p + 1] / 65535) * MAP];
    };
    const across = Math.ceil(Math.sqrt(n * (several ? 2.5 : 1))) || 1;
    let filterCtx = null,
      tile = 0;
    const legendPlace = several ? null : last;
    const scratch = document.createElement("canvas");
    scratch.width = scratch.height = k || 1;
    if (n) tile = Math.max(8, Math.min(24, Math.floor((several ? CHART : 130) / across) - 2));
    const filterPlace = make("div", "", last);
    if (n) {
      filterCtx = sheet(filterPlace, "filters", across * (tile + 2), Math.ceil(n / across) * (tile + 2))[1];
      filterCtx.imageSmoothingEnabled = false;
    }
    let guessCtx = null,
      guessCanvas = null;
    const SIDE = 40,
      CELL = several ? Math.floor(CHART / 6) : 66,
      row = Math.max(1, Math.min(run.guesses, several ? 6 : 12)),
      CELL_H = SIDE + 22;
    if (run.guesses) {
      const holder = make("div", "guesses", box);
      make("div", "note", holder, { textContent: "samples, and what they are taken for" });
      [guessCanvas, guessCtx] = sheet(holder, "guesses", row * CELL, Math.ceil(run.guesses / row) * CELL_H);
      guessCtx.imageSmoothingEnabled = false;
    }

    // Rows of pictures: {name, how many}, one after the other in `strips`, which says which tile of the sheet stands where.
    const rows = run.strips ?? [],
      all = rows.reduce((sum, [, m]) => sum + m, 0),
      most = Math.max(0, ...rows.map(([, m]) => m));
    const NAME = all ? 12 + 7 * Math.max(...rows.map(([name]) => name.length)) : 0;
    const TILE = Math.min(52, Math.floor(((several ? CHART + 40 : 836) - NAME) / (most || 1)) - 4),
      tilesOf = take("strips", all * run.count, Uint16Array);
    let stripCtx = null,
      stripCanvas = null;
    if (all) {
      [stripCanvas, stripCtx] = sheet(
        make("div", "strips", box),
        "strips",
        NAME + most * (TILE + 4),
        rows.length * (TILE + 6),
      );
      stripCanvas.setAttribute("role", "img");
      stripCanvas.setAttribute("aria-label", "rows of pictures: " + rows.map(([name]) => name).join(", "));
      stripCtx.imageSmoothingEnabled = false;
    }

    const drawMap = () => {
      if (!map) return;
      const ctx = mapCtx,
        groupsOf = kinds();
      // The ground stays white on a dark page too, as in the stored picture: dark inks of the palette would vanish.
      ctx.fillStyle = "#fff";
      ctx.fillRect(0, 0, MAP, MAP);
      ctx.strokeStyle = "#c9d1d9";
      ctx.strokeRect(0.5, 0.5, MAP - 1, MAP - 1);
      const r = points > 1500 ? 2 : points > 600 ? 2.6 : 3.4;
      ctx.globalAlpha = 0.8;
      for (const c of [...new Set(groupsOf)].sort((a, b) =>
        a === NOBODY_NUMBER ? -1 : b === NOBODY_NUMBER ? 1 : a - b,
      )) {
        ctx.fillStyle = colourOf(c);
        for (let i = 0; i < points; i++) if (groupsOf[i] === c) mark(ctx, markOf(c), ...at(i), r);
      }
      ctx.globalAlpha = 1;
      if (hovered >= 0) {
        const [x, y] = at(hovered);
        ctx.strokeStyle = "#000";
        ctx.lineWidth = 2;
        ctx.beginPath();
        ctx.arc(x, y, r + 4, 0, 7);
        ctx.stroke();
        ctx.lineWidth = 1;
      }
    };
    const drawChart = ([group, , ctx], number) => {
      const colour = ink(),
        w = CHART,
        h = height,
        left = 42,
        right = w - 8,
        top = 22,
        bottom = h - (number === charts.length - 1 ? 20 : 8);
      ctx.clearRect(0, 0, w, h);
      const own = group.filter((name) => names.includes(name));
      const series = own.map((name) =>
        metrics.subarray(names.indexOf(name) * run.count, (names.indexOf(name) + 1) * run.count),
      );
      const [low, high] = ranges[number];
      const first = longest.epochs[0],
        end = longest.epochs[count - 1],
        X = (e) =>
          end > first ? left + 6 + ((e - first) / (end - first)) * (right - left - 12) : (left + right) / 2;
      const Y = (v) => bottom - ((v - low) / (high - low)) * (bottom - top);
      ctx.font = "11px " + (getComputedStyle(root).fontFamily || "sans-serif");
      ctx.textBaseline = "middle";
      ctx.textAlign = "right";
      ctx.fillStyle = colour;
      const rough = (high - low) / (h < 120 ? 2.5 : 4),
        unit = 10 ** Math.floor(Math.log10(rough)),
        step = unit * [1, 2, 2.5, 5, 10].find((s) => s * unit >= rough * 0.8);
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
        ctx.fillText(String(first), X(first), h - 9);
        if (end > first) ctx.fillText(String(end), X(end), h - 9);
        ctx.fillText("epoch", (left + right) / 2, h - 9);
      }
      ctx.strokeStyle = colour;
      ctx.setLineDash([4, 3]);
      ctx.beginPath();
      ctx.moveTo(X(epochs[now()]), top);
      ctx.lineTo(X(epochs[now()]), bottom);
      ctx.stroke();
      ctx.setLineDash([]);
      let x = left;
      series.forEach((s, i) => {
        const place = group.indexOf(own[i]);
        const c = bright(
          colours[(place + (isProbe(own[i]) ? 4 : 0) + (number === 2 ? 2 : 0)) % colours.length],
          colour,
        );
        ctx.strokeStyle = ctx.fillStyle = c;
        ctx.lineWidth = 1.8;
        ctx.beginPath();
        let started = false;
        s.forEach((v, f) => {
          if (Number.isFinite(v)) {
            started ? ctx.lineTo(X(epochs[f]), Y(v)) : ctx.moveTo(X(epochs[f]), Y(v));
            started = true;
          }
        });
        ctx.stroke();
        ctx.lineWidth = 1;
        if (Number.isFinite(s[now()])) mark(ctx, MARKS[place % 10], X(epochs[now()]), Y(s[now()]), 4.5);
        mark(ctx, MARKS[place % 10], x + 5, 9, 4);
        ctx.textAlign = "left";
        ctx.fillStyle = colour;
        const text = `${own[i]} ${short(s[now()])}`;
        ctx.fillText(text, x + 13, 9);
        x += 24 + ctx.measureText(text).width;
      });
    };
    const drawFilters = () => {
      if (!filterCtx) return;
      const size = k * k * 3,
        small = scratch.getContext("2d"),
        pixels = small.createImageData(k, k);
      for (let i = 0; i < n; i++) {
        const from = (now() * n + i) * size;
        for (let p = 0; p < k * k; p++) {
          for (let c = 0; c < 3; c++) pixels.data[4 * p + c] = kernels[from + 3 * p + c];
          pixels.data[4 * p + 3] = 255;
        }
        small.putImageData(pixels, 0, 0);
        filterCtx.drawImage(
          scratch,
          (i % across) * (tile + 2),
          Math.floor(i / across) * (tile + 2),
          tile,
          tile,
        );
      }
    };
    const drawGuesses = () => {
      if (!guessCtx) return;
      const ctx = guessCtx,
        colour = ink();
      ctx.clearRect(0, 0, row * CELL, Math.ceil(run.guesses / row) * CELL_H);
      ctx.font = "11px " + (getComputedStyle(root).fontFamily || "sans-serif");
      ctx.textAlign = "center";
      ctx.textBaseline = "top";
      let right = 0;
      for (let i = 0; i < run.guesses; i++) {
        const x = (i % row) * CELL + (CELL - SIDE) / 2,
          y = Math.floor(i / row) * CELL_H + 3,
          g = guesses[now() * run.guesses + i],
          t = truth[i];
        if (sprites) {
          const j = run.at.pictures + i;
          ctx.drawImage(
            sprites,
            (j % cut.across) * cut.tile,
            Math.floor(j / cut.across) * cut.tile,
            cut.tile,
            cut.tile,
            x,
            y,
            SIDE,
            SIDE,
          );
        }
        const known = t !== NOBODY_NUMBER,
          good = known && g === t;
        right += good;
        if (known) {
          ctx.strokeStyle = good ? RIGHT : WRONG;
          ctx.lineWidth = 2;
          ctx.setLineDash(good ? [] : [4, 2]);
          ctx.strokeRect(x - 1, y - 1, SIDE + 2, SIDE + 2);
          ctx.setLineDash([]);
          ctx.lineWidth = 1;
        }
        ctx.fillStyle = colour;
        let text = `${known ? (good ? "\u2713" : "\u2717") : ""}${g === NOBODY_NUMBER ? "?" : (run.classes[g] ?? g)}`;
        while (ctx.measureText(text).width > CELL && text.length > 3) text = text.slice(0, -2) + ".";
        ctx.fillText(text, (i % row) * CELL + CELL / 2, y + SIDE + 4);
      }
      guessCanvas.dataset.right = right;
    };
    const drawStrips = () => {
      if (!stripCtx) return;
      const ctx = stripCtx;
      ctx.clearRect(0, 0, NAME + most * (TILE + 4), rows.length * (TILE + 6));
      ctx.font = "12px " + (getComputedStyle(root).fontFamily || "sans-serif");
      ctx.textAlign = "left";
      ctx.textBaseline = "middle";
      ctx.fillStyle = ink();
      let i = now() * all;
      rows.forEach(([name, m], r) => {
        ctx.fillText(name, 0, r * (TILE + 6) + TILE / 2);
        for (let c = 0; c < m; c++, i++) {
          const j = run.at.tiles + tilesOf[i],
            t = tileCut.tile;
          if (tiles)
            ctx.drawImage(
              tiles,
              (j % tileCut.across) * t,
              Math.floor(j / tileCut.across) * t,
              t,
              t,
              NAME + c * (TILE + 4),
              r * (TILE + 6),
              TILE,
              TILE,
            );
        }
      });
      stripCanvas.dataset.first = tilesOf[now() * all];
    };
    const placeTip = () => {
      if (!tip) return;
      tip.style.display = hovered < 0 ? "none" : "block";
      const kind = hovered < 0 ? 0 : kinds()[hovered];
      root.dataset.hover = hovered < 0 ? "" : nameOf(run, kind);
      if (hovered < 0) return;
      const [x, y] = at(hovered);
      tip.textContent = nameOf(run, kind);
      tip.style.left = Math.min(x + 10, MAP - 90) + "px";
      tip.style.top = (y > 30 ? y - 28 : y + 12) + "px";
    };
    if (map) {
      listen(map, "mousemove", (e) => {
        const [mx, my] = pointer(e, map);
        let best = -1,
          near = 150;
        for (let i = 0; i < points; i++) {
          const [x, y] = at(i),
            d = (x - mx) ** 2 + (y - my) ** 2;
          if (d < near) {
            near = d;
            best = i;
          }
        }
        if (best !== hovered) {
          hovered = best;
          placeTip();
          drawMap();
        }
      });
      listen(map, "mouseleave", () => {
        hovered = -1;
        placeTip();
        drawMap();
      });
    }
    return {
      run,
      kinds,
      legendPlace,
      drawGuesses,
      drawStrips,
      draw: () => {
        placeTip();
        drawMap();
        charts.forEach(drawChart);
        drawFilters();
        drawGuesses();
        drawStrips();
      },
    };
  }

  const wideLegend = several ? make("div", "legend wide", root) : null;
  const holder = make("div", several ? "runs" : "", root);
  let sprites = null,
    tiles = null;
  const panels = runs.map((run) => panel(run, holder));
  const narrow = several ? null : make("div", "legend");
  if (narrow) panels[0].legendPlace.prepend(narrow);
  const legend = wideLegend || narrow;
  let marks = [],
    shownKinds = "";
  const drawLegend = () => {
    const present = [...new Set(panels.flatMap((p) => (p.run.points ? [...new Set(p.kinds())] : [])))]
      .filter((c) => c !== NOBODY_NUMBER)
      .sort((a, b) => a - b);
    const key = `${byCluster}:${present}`;
    if (key !== shownKinds) {
      shownKinds = key;
      marks = [];
      legend.replaceChildren();
      if (present.length <= 20)
        for (const c of present) {
          const entry = make("span", "", legend);
          marks.push([c, sheet(entry, "", 12, 12)[1]]);
          entry.append(nameOf(runs[0], c));
        }
      else make("span", "", legend, { textContent: `${present.length} clusters` });
    }
    for (const [c, ctx] of marks) {
      ctx.clearRect(0, 0, 12, 12);
      ctx.fillStyle = bright(colourOf(c), ink());
      mark(ctx, markOf(c), 6, 6, 4);
    }
  };

  const draw = () => {
    slider.value = frame;
    label.textContent = `epoch ${longest.epochs[frame]} of ${longest.epochs[count - 1]}`;
    button.textContent = timer ? "\u23F8 pause" : "\u25B6 play";
    panels.forEach((p) => p.draw());
    drawLegend();
    Object.assign(root.dataset, {
      frame,
      frames: count,
      playing: timer ? 1 : 0,
      draws: ++draws,
      colour: byCluster ? "cluster" : "label",
    });
  };
  const go = (f) => {
    frame = Math.max(0, Math.min(count - 1, f));
    draw();
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
  };
  const play = () => {
    if (timer) {
      stop();
      draw();
      return;
    }
    if (frame === count - 1) frame = 0;
    timer = setInterval(() => {
      if (frame + 1 >= count - 1) stop();
      go(frame + 1);
    }, STEP_MS);
    draw();
  };
  listen(button, "click", play);
  listen(slider, "input", () => {
    stop();
    go(+slider.value);
  });
  if (choose)
    listen(choose, "change", () => {
      byCluster = choose.selectedIndex === 1;
      draw();
    });
  listen(root, "keydown", (e) => {
    if (e.target === choose) return;
    const move = {
      ArrowRight: frame + 1,
      ArrowUp: frame + 1,
      ArrowLeft: frame - 1,
      ArrowDown: frame - 1,
      Home: 0,
      End: count - 1,
    }[e.key];
    if (move !== undefined) {
      stop();
      go(move);
    } else if (e.key === " " && e.target !== button) play();
    else return;
    e.preventDefault(); // the page would scroll
  });
  view.follow("frame", () => {
    stop();
    go(model.get("frame"));
  });
  view.later(stop);
  view.themed(draw);
  if (cut)
    picture(model.get("pictures"), cut.type).then((sheetOf) => {
      sprites = sheetOf;
      panels.forEach((p) => p.drawGuesses());
      root.dataset.pictures = 1;
    });
  if (tileCut)
    picture(model.get("tiles"), tileCut.type).then((sheetOf) => {
      tiles = sheetOf;
      panels.forEach((p) => p.drawStrips());
      root.dataset.strips = 1;
    });
  return view.close;
}

export default { render };
