// Short silent films in rows, in step: every frame was sent on one picture and is cut from it here, so no kernel is needed.
// data-* on the root are there for tests: frame, frames, playing, loaded, draws, marked (how many films are outlined now).

const LOOK = `
.ssl-films .films { display: grid; gap: 6px 8px; align-items: center; justify-content: start; overflow-x: auto; padding: 1px; }
.ssl-films .name { max-width: 120px; text-align: right; overflow-wrap: break-word; }
.ssl-films .head { font-size: 12px; text-align: center; align-self: end; overflow-wrap: anywhere; }
.ssl-films .films canvas { image-rendering: pixelated; border: 3px solid transparent; border-radius: 2px; }
.ssl-films .films canvas.marked { border-color: var(--mark); border-style: dashed; }
.ssl-films .bar output { min-width: 110px; }
`;

function render({ model, el }) {
  const { cut, count, fps, scale, rows, titles, title, note } = model.get("about");
  const view = open({ model, el }, "ssl-films", "Films in step: " + rows.map((r) => r[0]).join(", "), LOOK),
    { root, ink, listen } = view;
  if (title) make("div", "title", root, { textContent: title });
  const bar = make("div", "bar", root),
    play = make("button", "play", bar, { type: "button" });
  const slider = make("input", "frame", bar, { type: "range", min: 0, max: count - 1, step: 1 });
  slider.setAttribute("aria-label", "frame");
  const label = make("output", "", bar);
  const columns = Math.max(...rows.map((r) => r[1])),
    grid = make("div", "films", root);
  const w = cut.width * scale,
    h = cut.height * scale;
  grid.style.gridTemplateColumns = `max-content repeat(${columns}, ${w + 6}px)`;
  if (titles.length) {
    make("div", "", grid);
    for (const text of titles) make("div", "head", grid, { textContent: text });
  }
  const films = []; // what is drawn on, which film it is, and where it is outlined
  for (const [name, n, marked] of rows) {
    make("div", "name", grid, { textContent: name }).style.gridColumn = 1;
    for (let i = 0; i < n; i++) {
      const canvas = make("canvas", "", grid, { width: cut.width, height: cut.height });
      canvas.style.width = w + "px";
      canvas.style.height = h + "px";
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${name}, film ${i + 1} of ${n}${titles[i] ? ": " + titles[i] : ""}`);
      films.push({ canvas, ctx: canvas.getContext("2d"), number: films.length, marked: new Set(marked) });
    }
  }
  if (note) make("div", "note", root, { textContent: note });

  let bitmap = null,
    closed = false,
    frame = 0,
    playing = false,
    tick = null,
    began = 0,
    from = 0,
    draws = 0;
  const bounded = (f) => Math.max(0, Math.min(count - 1, Math.round(f)));
  const draw = () => {
    let outlined = 0;
    for (const film of films) {
      if (bitmap) {
        const k = film.number * count + frame;
        film.ctx.clearRect(0, 0, cut.width, cut.height);
        film.ctx.drawImage(
          bitmap,
          (k % cut.across) * cut.wide,
          Math.floor(k / cut.across) * cut.high,
          cut.width,
          cut.height,
          0,
          0,
          cut.width,
          cut.height,
        );
      }
      outlined += film.canvas.classList.toggle("marked", film.marked.has(frame));
    }
    slider.value = frame;
    label.textContent = `frame ${frame + 1} of ${count}`;
    play.textContent = playing ? "\u23F8 pause" : "\u25B6 play";
    Object.assign(root.dataset, {
      frame,
      frames: count,
      playing: playing ? 1 : 0,
      draws: ++draws,
      marked: outlined,
    });
  };
  const run = (now) => {
    // the clock of the page says which frame it is, so a slow page leaves frames out and does not fall behind
    const next = (from + Math.floor((Math.max(0, now - began) / 1000) * fps)) % count;
    if (next !== frame) {
      frame = next;
      draw();
    }
    tick = requestAnimationFrame(run);
  };
  const tell = () => {
    model.set("frame", frame);
    model.save_changes();
  };
  const pause = () => {
    if (!playing) return;
    playing = false;
    cancelAnimationFrame(tick);
    draw();
    tell();
  };
  const start = () => {
    playing = true;
    began = performance.now();
    from = frame;
    draw();
    tick = requestAnimationFrame(run);
  };
  const toggle = () => (playing ? pause() : start());
  const go = (f) => {
    pause();
    frame = bounded(f);
    draw();
    tell();
  };

  listen(play, "click", toggle);
  listen(slider, "input", () => go(+slider.value));
  listen(root, "keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || (e.target !== root && e.target.matches("input, button")))
      return; // the control's own keys
    if (e.key === " ") toggle();
    else if (e.key === "ArrowLeft" || e.key === "ArrowRight") go(frame + (e.key === "ArrowRight" ? 1 : -1));
    else if (e.key === "Home" || e.key === "End") go(e.key === "Home" ? 0 : count - 1);
    else return;
    e.preventDefault();
    e.stopPropagation();
  });
  view.follow("frame", () => {
    if (model.get("frame") !== frame) {
      frame = bounded(model.get("frame"));
      began = performance.now();
      from = frame;
      draw();
    }
  });
  view.later(() => {
    closed = true;
    cancelAnimationFrame(tick);
    if (bitmap) bitmap.close();
  });
  frame = bounded(model.get("frame") || 0);
  view.themed(() => {
    root.style.setProperty("--mark", bright("#D55E00", ink()));
    draw();
  });
  picture(model.get("sheet"), cut.type).then((made) => {
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
