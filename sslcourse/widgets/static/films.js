// Short silent films in rows, in step: every frame was sent on one picture and is cut from it here, so no
// kernel is needed.
// data-* on the root are there for tests: frame, frames, playing, loaded, draws, marked (how many films are
// outlined now).

const LOOK = `
.ssl-films .films { display: grid; gap: 6px 8px; align-items: center; justify-content: start;
  overflow-x: auto; padding: 1px; }
.ssl-films .name { max-width: 120px; text-align: right; overflow-wrap: break-word; }
.ssl-films .head { font-size: 12px; text-align: center; align-self: end; overflow-wrap: anywhere; }
.ssl-films .films canvas { image-rendering: pixelated; border: 3px solid transparent; border-radius: 2px; }
.ssl-films .films canvas.marked { border-color: var(--mark); border-style: dashed; }
.ssl-films .bar output { min-width: 110px; }
`;

function buildBar(view) {
  const { count, root } = view;
  const bar = make("div", "bar", root),
    play = make("button", "play", bar, { type: "button" });
  const slider = make("input", "frame", bar, { type: "range", min: 0, max: count - 1, step: 1 });
  slider.setAttribute("aria-label", "frame");
  const label = make("output", "", bar);
  Object.assign(view, { play, slider, label });
}

function buildFilms(view) {
  const { cut, scale, rows, titles, note, root } = view;
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
      canvas.style.width = `${w}px`;
      canvas.style.height = `${h}px`;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${name}, film ${i + 1} of ${n}${titles[i] ? `: ${titles[i]}` : ""}`);
      films.push({ canvas, ctx: canvas.getContext("2d"), number: films.length, marked: new Set(marked) });
    }
  }
  if (note) make("div", "note", root, { textContent: note });
  Object.assign(view, { films });
}

function state(view) {
  Object.assign(view, {
    bitmap: null,
    closed: false,
    frame: 0,
    playing: false,
    tick: null,
    began: 0,
    from: 0,
    draws: 0,
  });
}

const bounded = ({ count }, f) => Math.max(0, Math.min(count - 1, Math.round(f)));

function draw(view) {
  const { cut, count, root, play, slider, label, films } = view;
  let outlined = 0;
  for (const film of films) {
    if (view.bitmap) {
      const k = film.number * count + view.frame;
      film.ctx.clearRect(0, 0, cut.width, cut.height);
      drawFrame(film.ctx, view.bitmap, cut, k, cut.width, cut.height, cut.width, cut.height);
    }
    outlined += film.canvas.classList.toggle("marked", film.marked.has(view.frame));
  }
  slider.value = view.frame;
  label.textContent = `frame ${view.frame + 1} of ${count}`;
  play.textContent = view.playing ? "\u23F8 pause" : "\u25B6 play";
  Object.assign(root.dataset, {
    frame: view.frame,
    frames: count,
    playing: view.playing ? 1 : 0,
    draws: ++view.draws,
    marked: outlined,
  });
}

function run(view, now) {
  const { count, fps } = view;
  // the clock of the page says which frame it is, so a slow page leaves frames out and does not fall behind
  const next = (view.from + Math.floor((Math.max(0, now - view.began) / 1000) * fps)) % count;
  if (next !== view.frame) {
    view.frame = next;
    draw(view);
  }
  view.tick = requestAnimationFrame((now) => run(view, now));
}

function tell(view) {
  const { model } = view;
  model.set("frame", view.frame);
  model.save_changes();
}

function pause(view) {
  if (!view.playing) return;
  view.playing = false;
  cancelAnimationFrame(view.tick);
  draw(view);
  tell(view);
}

function start(view) {
  view.playing = true;
  view.began = performance.now();
  view.from = view.frame;
  draw(view);
  view.tick = requestAnimationFrame((now) => run(view, now));
}

const toggle = (view) => (view.playing ? pause(view) : start(view));

function go(view, f) {
  pause(view);
  view.frame = bounded(view, f);
  draw(view);
  tell(view);
}

function listenToReader(view) {
  const { model, count, root, listen, play, slider } = view;
  listen(play, "click", () => toggle(view));
  listen(slider, "input", () => go(view, +slider.value));
  listen(root, "keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || (e.target !== root && e.target.matches("input, button")))
      return; // the control's own keys
    if (e.key === " ") toggle(view);
    else if (e.key === "ArrowLeft" || e.key === "ArrowRight")
      go(view, view.frame + (e.key === "ArrowRight" ? 1 : -1));
    else if (e.key === "Home" || e.key === "End") go(view, e.key === "Home" ? 0 : count - 1);
    else return;
    e.preventDefault();
    e.stopPropagation();
  });
  view.follow("frame", () => {
    if (model.get("frame") !== view.frame) {
      view.frame = bounded(view, model.get("frame"));
      view.began = performance.now();
      view.from = view.frame;
      draw(view);
    }
  });
}

function render({ model, el }) {
  const { cut, count, fps, scale, rows, titles, title, note } = model.get("about");
  const view = open({ model, el }, "ssl-films", `Films in step: ${rows.map((r) => r[0]).join(", ")}`, LOOK),
    { root, ink } = view;
  if (title) make("div", "title", root, { textContent: title });
  Object.assign(view, { model, cut, count, fps, scale, rows, titles, note });
  buildBar(view);
  buildFilms(view);
  state(view);
  listenToReader(view);
  view.later(() => {
    view.closed = true;
    cancelAnimationFrame(view.tick);
    if (view.bitmap) view.bitmap.close();
  });
  view.frame = bounded(view, model.get("frame") || 0);
  view.themed(() => {
    root.style.setProperty("--mark", bright("#D55E00", ink()));
    draw(view);
  });
  picture(model.get("sheet"), cut.type).then((made) => {
    if (view.closed) made.close();
    else {
      view.bitmap = made;
      root.dataset.loaded = 1;
      draw(view);
    }
  });
  return view.close;
}

export default { render };
