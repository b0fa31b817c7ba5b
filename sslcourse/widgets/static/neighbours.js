// All images on a sheet to scroll through; the nearest neighbours of the chosen one under each encoder, right
// and wrong marked. A neighbour that is clicked becomes the query. Neighbours were found in Python
// beforehand, so no message goes there but `query`. The sheet is one canvas as large as its window, drawn
// anew when it scrolls: thousands of images cost no more than those that show.
// data-* on the root are there for tests: query, cursor, hits (for each encoder), history (how many steps
// back), shown (images on the sheet).

const NONE = 65535,
  WINDOW = 452,
  GAP = 4,
  STEPS_BACK = 500;

const LOOK = `
.ssl-neighbours .body { flex-wrap: nowrap; }
.ssl-neighbours .all { flex: none; }
.ssl-neighbours .all .bar { margin-bottom: 4px; }
.ssl-neighbours .window { position: relative; overflow-y: scroll; overflow-x: hidden; outline: none;
  border: 1px solid var(--jp-border-color2, rgba(128,128,128,.35));
  box-sizing: border-box; cursor: pointer; }
.ssl-neighbours .window:focus-visible { border-color: var(--jp-brand-color1, #2196f3);
  box-shadow: 0 0 0 1px var(--jp-brand-color1, #2196f3); }
.ssl-neighbours .window canvas { position: sticky; top: 0; }
.ssl-neighbours .found { flex: 1 1 auto; min-width: 0; display: flex; flex-direction: column; gap: 12px; }
.ssl-neighbours .asked { display: flex; gap: 12px; align-items: flex-start; }
.ssl-neighbours .asked .words { display: flex; flex-direction: column; gap: 3px; align-items: flex-start; }
.ssl-neighbours .asked .name { font-weight: 600; font-size: 14px; }
.ssl-neighbours .picture { image-rendering: pixelated; }
.ssl-neighbours .head { display: flex; flex-wrap: wrap; gap: 0 12px; align-items: baseline;
  margin-bottom: 3px; }
.ssl-neighbours .head b { font-size: 13.5px; }
.ssl-neighbours .head .mean { opacity: .8; font-size: 12px; }
.ssl-neighbours .block { container-type: inline-size; }
.ssl-neighbours .row { display: grid; gap: 5px;
  grid-template-columns: repeat(var(--columns), minmax(0, 84px)); }
@container (max-width: 500px) { .ssl-neighbours .row { grid-template-columns: repeat(var(--narrow),
  minmax(0, 84px)); } }
.ssl-neighbours .near { position: relative; min-width: 0; padding: 2px;
  border: 3px solid rgba(128,128,128,.5); background: transparent; border-radius: 4px;
  line-height: 1.2; font-size: 11px; }
.ssl-neighbours .near.right { border-color: var(--right); }
.ssl-neighbours .near.wrong { border-color: var(--wrong); border-style: dashed; }
.ssl-neighbours .near:hover { background: var(--jp-layout-color2, rgba(128,128,128,.15)); }
.ssl-neighbours .near canvas { width: 100%; height: auto; }
.ssl-neighbours .near .sign { position: absolute; bottom: 0; right: 0; min-width: 14px; text-align: center;
  font-weight: 700; color: #fff; border-radius: 4px 0 0 0; padding: 1px 1px 0; }
.ssl-neighbours .near.right .sign { background: #00795A; }
.ssl-neighbours .near.wrong .sign { background: #C4441C; }
.ssl-neighbours .near .name { display: block; text-align: left; padding-left: 3px; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; margin-top: 2px; }
.ssl-neighbours .near .cosine { display: block; text-align: left; padding-left: 3px; opacity: .75;
  font-variant-numeric: tabular-nums; }
@media (max-width: 560px) { .ssl-neighbours .body { flex-wrap: wrap; } }
`;

const nameOf = ({ classes, labels, labelled }, i) =>
  !labelled ? "" : labels[i] === NONE ? "unknown" : classes[labels[i]];

const called = (view, i) => `image ${i}${view.labelled ? `: ${nameOf(view, i)}` : ""}`;

// ---- the page

function buildSheet(view) {
  const { count, classes, pictures, labels, labelled, all } = view;
  const bar = make("div", "bar", all);
  const only = labelled ? make("select", "only", make("label", "", bar, { textContent: "show " })) : null;
  if (only) {
    make("option", "", only, { textContent: `all ${count.toLocaleString("en-US")} images`, value: "" });
    for (const c of [...new Set(labels)].sort((a, b) => a - b))
      make("option", "", only, { textContent: c === NONE ? "unknown" : classes[c], value: String(c) });
  }
  const t = pictures.tile,
    thumb = t > 36 ? 36 : t * Math.max(1, Math.floor(36 / t)),
    pitch = thumb + GAP,
    across = Math.max(4, Math.floor(236 / pitch));
  const frame = make("div", "window", all, { tabIndex: 0 });
  frame.setAttribute("role", "listbox");
  frame.setAttribute("aria-label", "all images: arrow keys move, Enter chooses");
  frame.style.height = `${WINDOW}px`;
  frame.style.width = `${across * pitch + GAP + 18}px`;
  const spacer = make("div", "", frame),
    [canvas, ctx] = sheet(spacer, "thumbs", across * pitch + GAP, WINDOW - 2);
  const pointed = make("div", "note pointed", all, { textContent: "\u00a0" });
  pointed.setAttribute("aria-live", "polite");
  Object.assign(view, { only, t, thumb, pitch, across, frame, spacer, canvas, ctx, pointed });
}

function buildQuery(view) {
  const { right, t } = view;
  const asked = make("div", "asked", right);
  const big = make("canvas", "picture query", asked, { width: t, height: t });
  big.style.width = big.style.height = `${t * Math.max(1, Math.round(96 / t))}px`;
  const words = make("div", "words", asked),
    name = make("div", "name", words),
    agreed = make("div", "note", words);
  const back = make("button", "back", words, { type: "button", textContent: "\u2190 back" });
  for (const node of [name, agreed]) node.setAttribute("aria-live", "polite");
  Object.assign(view, { big, name, agreed, back });
}

function buildBlocks(view) {
  const { about, k, encoders, right, t } = view;
  const columns = Math.min(k, 8);
  const blocks = encoders.map((encoder, e) => {
    const block = make("div", "block", right),
      head = make("div", "head", block);
    make("b", "", head, { textContent: encoder });
    const hits = make("span", "hits", head);
    const precision = about.precision[e];
    if (precision !== null && precision !== undefined) {
      const words = `precision@${k} ${precision.toFixed(2)}, by chance ${about.chance.toFixed(2)}`;
      make("span", "mean", head, { textContent: `over all images: ${words}` });
    }
    const row = make("div", "row", block);
    row.style.setProperty("--columns", columns);
    row.style.setProperty("--narrow", Math.min(columns, 4));
    const near = Array.from({ length: k }, (_, j) => {
      const button = make("button", "near", row, { type: "button" });
      const small = make("canvas", "picture", button, { width: t, height: t }),
        sign = make("span", "sign", button);
      const label = make("span", "name", button),
        cosine = make("span", "cosine", button);
      Object.assign(button.dataset, { e, j });
      return { button, ctx: small.getContext("2d"), sign, label, cosine };
    });
    return { hits, near };
  });
  Object.assign(view, { blocks });
}

// ---- pictures

function initialState(view) {
  const { model, count } = view;
  Object.assign(view, { tiles: null, closed: false });
  Object.assign(view, {
    shown: Uint16Array.from({ length: count }, (_, i) => i),
    cursor: 0,
    query: model.get("query"),
  });
  const past = [];
  Object.assign(view, { past });
}

function cut(view, to, i, x, y, w) {
  const { pictures, t } = view;
  if (view.tiles)
    to.drawImage(
      view.tiles,
      (i % pictures.across) * t,
      Math.floor(i / pictures.across) * t,
      t,
      t,
      x,
      y,
      w,
      w,
    );
}

// ---- the sheet

function outlineOf(view, place, colour, width) {
  const { thumb, pitch, across, frame, ctx } = view;
  const x = GAP + (place % across) * pitch,
    y = GAP + Math.floor(place / across) * pitch - frame.scrollTop;
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.strokeRect(x - width / 2, y - width / 2, thumb + width, thumb + width);
}

function drawSheet(view) {
  const { ink, t, thumb, pitch, across, frame, ctx } = view;
  const h = WINDOW - 2,
    above = frame.scrollTop,
    colour = ink();
  ctx.clearRect(0, 0, across * pitch + GAP, h);
  ctx.imageSmoothingEnabled = thumb % t !== 0;
  const first = Math.floor((above - GAP) / pitch),
    last = Math.ceil((above + h) / pitch);
  for (let r = Math.max(0, first); r <= last; r++)
    for (let c = 0; c < across && r * across + c < view.shown.length; c++)
      cut(view, ctx, view.shown[r * across + c], GAP + c * pitch, GAP + r * pitch - above, thumb);
  outlineOf(view, view.shown.indexOf(view.query), colour, view.shown.includes(view.query) ? 3 : 0);
  ctx.setLineDash([3, 2]);
  if (frame.matches(":focus")) outlineOf(view, view.cursor, colour, 1.5);
  ctx.setLineDash([]);
}

const rows = (view) => Math.ceil(view.shown.length / view.across);

function lay(view) {
  const { root, pitch, spacer } = view;
  spacer.style.height = `${Math.max(WINDOW - 2, rows(view) * pitch + GAP)}px`;
  root.dataset.shown = view.shown.length;
}

function reveal(view, place, middle = false) {
  const { pitch, across, frame } = view;
  const y = Math.floor(place / across) * pitch;
  const seen = y >= frame.scrollTop && y + pitch + GAP <= frame.scrollTop + WINDOW - 2;
  if (!seen && middle) frame.scrollTop = y - (WINDOW - pitch) / 2;
  else if (y < frame.scrollTop) frame.scrollTop = y;
  else if (y + pitch + GAP > frame.scrollTop + WINDOW - 2) frame.scrollTop = y + pitch + GAP - WINDOW + 2;
}

function move(view, place) {
  const { root, pointed } = view;
  view.cursor = Math.max(0, Math.min(view.shown.length - 1, place));
  root.dataset.cursor = view.shown[view.cursor];
  pointed.textContent = called(view, view.shown[view.cursor]);
  reveal(view, view.cursor);
  drawSheet(view);
}

// ---- the query and its neighbours

// One neighbour of the query under encoder e. Returns its number, and whether it is of the query's class.
function drawNeighbour(view, e, j, near) {
  const { count, k, encoders, found, cosines, labels, labelled, t } = view;
  const at = (e * count + view.query) * k + j;
  const i = found[at];
  const known = labelled && labels[i] !== NONE && labels[view.query] !== NONE;
  const good = known && labels[i] === labels[view.query];
  const cosine = (cosines[at] / 32767).toFixed(3);
  const [kind, sign, words] = !known
    ? ["", "", ""]
    : good
      ? [" right", "\u2713", ", same class"]
      : [" wrong", "\u2717", ", another class"];
  cut(view, near.ctx, i, 0, 0, t);
  near.button.className = `near${kind}`;
  near.sign.textContent = sign;
  near.label.textContent = labelled ? nameOf(view, i) : `image ${i}`;
  near.cosine.textContent = cosine;
  near.button.dataset.i = i;
  const said = `${encoders[e]}, neighbour ${j + 1}: ${called(view, i)}${words}, similarity ${cosine}`;
  near.button.title = said;
  near.button.setAttribute("aria-label", said);
  return [i, good];
}

function drawQuery(view) {
  const { k, encoders, labels, labelled, root, t, big, name, agreed, back, blocks, past } = view;
  cut(view, big.getContext("2d"), view.query, 0, 0, t);
  name.textContent = called(view, view.query);
  back.disabled = !past.length;
  const hits = [];
  const sets = [];
  for (const [e, { hits: text, near }] of blocks.entries()) {
    const drawn = near.map((n, j) => drawNeighbour(view, e, j, n));
    const same = drawn.filter(([, good]) => good).length;
    text.textContent = labelled && labels[view.query] !== NONE ? `${same} of ${k} share the class` : "";
    hits.push(same);
    sets.push(new Set(drawn.map(([i]) => i)));
  }
  const common = [...sets[0]].filter((i) => sets.every((s) => s.has(i))).length;
  const which = encoders.length === 2 ? "both" : "all";
  agreed.textContent =
    encoders.length < 2 ? "" : `${common} of ${k} neighbours are the same under ${which} encoders`;
  Object.assign(root.dataset, { query: view.query, hits: hits.join(), history: past.length });
}

function show(view, i) {
  view.query = i;
  if (view.shown.indexOf(i) >= 0) {
    view.cursor = view.shown.indexOf(i);
    reveal(view, view.cursor, true);
  }
  drawQuery(view);
  drawSheet(view);
}

function choose(view, i, remember = true) {
  const { model, past } = view;
  if (i === view.query) return;
  if (remember) {
    past.push(view.query);
    if (past.length > STEPS_BACK) past.shift();
  }
  show(view, i);
  model.set("query", i);
  model.save_changes();
}

// ---- events

function under(view, e) {
  const { pitch, across, frame, canvas } = view;
  const [x, y] = pointer(e, canvas),
    c = Math.floor((x - GAP / 2) / pitch),
    r = Math.floor((y + frame.scrollTop - GAP / 2) / pitch),
    place = r * across + c;
  return c >= 0 && c < across && r >= 0 && place < view.shown.length ? place : -1;
}

function listenToSheet(view) {
  const { count, labels, listen, only, pitch, across, frame, canvas, pointed } = view;
  listen(canvas, "click", (e) => {
    const place = under(view, e);
    if (place >= 0) {
      move(view, place);
      choose(view, view.shown[place]);
    }
  });
  listen(canvas, "pointermove", (e) => {
    const place = under(view, e);
    pointed.textContent = place < 0 ? "\u00a0" : called(view, view.shown[place]);
  });
  listen(canvas, "pointerleave", () => {
    pointed.textContent = "\u00a0";
  });
  for (const type of ["scroll", "focus", "blur"]) listen(frame, type, () => drawSheet(view));
  listen(frame, "keydown", (e) => {
    const page = Math.max(1, Math.floor(WINDOW / pitch) - 1) * across;
    const place = {
      ArrowRight: view.cursor + 1,
      ArrowLeft: view.cursor - 1,
      ArrowDown: view.cursor + across,
      ArrowUp: view.cursor - across,
      PageDown: view.cursor + page,
      PageUp: view.cursor - page,
      Home: 0,
      End: view.shown.length - 1,
    }[e.key];
    if (place !== undefined) {
      if ((place >= 0 && place < view.shown.length) || /Page|Home|End/.test(e.key)) move(view, place);
    } else if (e.key === "Enter" || e.key === " ") choose(view, view.shown[view.cursor]);
    else return;
    e.preventDefault();
    e.stopPropagation(); // the notebook would scroll, or leave the cell
  });
  if (only)
    listen(only, "change", () => {
      view.shown = Uint16Array.from(
        Array.from({ length: count }, (_, i) => i).filter(
          (i) => only.value === "" || labels[i] === +only.value,
        ),
      );
      lay(view);
      frame.scrollTop = 0;
      move(view, Math.max(0, view.shown.indexOf(view.query)));
    });
}

function listenToQuery(view) {
  const { model, listen, right, back, past } = view;
  listen(right, "click", (e) => {
    const button = e.target.closest("button.near");
    if (button) choose(view, +button.dataset.i);
  });
  listen(back, "click", () => {
    if (past.length) choose(view, past.pop(), false);
  });
  view.follow("query", () => {
    if (model.get("query") !== view.query) {
      past.push(view.query);
      show(view, model.get("query"));
    }
  });
}

function render({ model, el }) {
  const about = model.get("about"),
    { count, k, encoders, classes, pictures } = about;
  const found = new Uint16Array(bytes(model.get("found")).buffer),
    cosines = new Int16Array(bytes(model.get("cosines")).buffer);
  const labels = new Uint16Array(bytes(model.get("labels")).buffer),
    labelled = labels.length > 0;
  const view = open(
    { model, el },
    "ssl-neighbours",
    "Nearest neighbours of an image under several encoders",
    LOOK,
  );
  const { root, ink } = view;
  root.tabIndex = -1; // the sheet and the buttons are what the keyboard stops at
  Object.assign(view, {
    model,
    about,
    count,
    k,
    encoders,
    classes,
    pictures,
    found,
    cosines,
    labels,
    labelled,
  });
  if (about.title) make("div", "title", root, { textContent: about.title });
  const body = make("div", "body", root),
    all = make("div", "all", body),
    right = make("div", "found", body);
  Object.assign(view, { all, right });
  buildSheet(view);
  buildQuery(view);
  buildBlocks(view);
  initialState(view);
  listenToSheet(view);
  listenToQuery(view);
  view.later(() => {
    view.closed = true;
    if (view.tiles) view.tiles.close();
  });
  lay(view);
  view.cursor = view.query;
  root.dataset.cursor = view.cursor;
  drawQuery(view);
  picture(model.get("tiles"), pictures.type).then((whole) => {
    if (view.closed) {
      whole.close();
      return;
    }
    view.tiles = whole;
    root.dataset.pictures = "ready";
    drawQuery(view);
    reveal(view, view.cursor, true);
    drawSheet(view);
  });
  view.themed(() => {
    root.style.setProperty("--right", bright(about.right, ink()));
    root.style.setProperty("--wrong", bright(about.wrong, ink()));
    drawSheet(view);
  });
  return view.close;
}

export default { render };
