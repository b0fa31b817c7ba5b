// All images on a sheet to scroll through; the nearest neighbours of the chosen one under each encoder, right and wrong marked.
// A neighbour that is clicked becomes the query. Neighbours were found in Python beforehand, so no message goes there but `query`.
// The sheet is one canvas as large as its window, drawn anew when it scrolls: thousands of images cost no more than those that show.
// data-* on the root are there for tests: query, cursor, hits (for each encoder), history (how many steps back), shown (images on the sheet).

const NONE = 65535,
  WINDOW = 452,
  GAP = 4,
  STEPS_BACK = 500;

const LOOK = `
.ssl-neighbours .body { flex-wrap: nowrap; }
.ssl-neighbours .all { flex: none; }
.ssl-neighbours .all .bar { margin-bottom: 4px; }
.ssl-neighbours .window { position: relative; overflow-y: scroll; overflow-x: hidden; outline: none; border: 1px solid var(--jp-border-color2, rgba(128,128,128,.35));
  box-sizing: border-box; cursor: pointer; }
.ssl-neighbours .window:focus-visible { border-color: var(--jp-brand-color1, #2196f3); box-shadow: 0 0 0 1px var(--jp-brand-color1, #2196f3); }
.ssl-neighbours .window canvas { position: sticky; top: 0; }
.ssl-neighbours .found { flex: 1 1 auto; min-width: 0; display: flex; flex-direction: column; gap: 12px; }
.ssl-neighbours .asked { display: flex; gap: 12px; align-items: flex-start; }
.ssl-neighbours .asked .words { display: flex; flex-direction: column; gap: 3px; align-items: flex-start; }
.ssl-neighbours .asked .name { font-weight: 600; font-size: 14px; }
.ssl-neighbours .picture { image-rendering: pixelated; }
.ssl-neighbours .head { display: flex; flex-wrap: wrap; gap: 0 12px; align-items: baseline; margin-bottom: 3px; }
.ssl-neighbours .head b { font-size: 13.5px; }
.ssl-neighbours .head .mean { opacity: .8; font-size: 12px; }
.ssl-neighbours .block { container-type: inline-size; }
.ssl-neighbours .row { display: grid; gap: 5px; grid-template-columns: repeat(var(--columns), minmax(0, 84px)); }
@container (max-width: 500px) { .ssl-neighbours .row { grid-template-columns: repeat(var(--narrow), minmax(0, 84px)); } }
.ssl-neighbours .near { position: relative; min-width: 0; padding: 2px; border: 3px solid rgba(128,128,128,.5); background: transparent; border-radius: 4px;
  line-height: 1.2; font-size: 11px; }
.ssl-neighbours .near.right { border-color: var(--right); }
.ssl-neighbours .near.wrong { border-color: var(--wrong); border-style: dashed; }
.ssl-neighbours .near:hover { background: var(--jp-layout-color2, rgba(128,128,128,.15)); }
.ssl-neighbours .near canvas { width: 100%; height: auto; }
.ssl-neighbours .near .sign { position: absolute; bottom: 0; right: 0; min-width: 14px; text-align: center; font-weight: 700; color: #fff; border-radius: 4px 0 0 0; padding: 1px 1px 0; }
.ssl-neighbours .near.right .sign { background: #00795A; }
.ssl-neighbours .near.wrong .sign { background: #C4441C; }
.ssl-neighbours .near .name { display: block; text-align: left; padding-left: 3px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; margin-top: 2px; }
.ssl-neighbours .near .cosine { display: block; text-align: left; padding-left: 3px; opacity: .75; font-variant-numeric: tabular-nums; }
@media (max-width: 560px) { .ssl-neighbours .body { flex-wrap: wrap; } }
`;

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
  const { root, ink, listen } = view;
  root.tabIndex = -1; // the sheet and the buttons are what the keyboard stops at
  const nameOf = (i) => (!labelled ? "" : labels[i] === NONE ? "unknown" : classes[labels[i]]);
  const called = (i) => `image ${i}${labelled ? ": " + nameOf(i) : ""}`;

  // ---- the page
  if (about.title) make("div", "title", root, { textContent: about.title });
  const body = make("div", "body", root),
    all = make("div", "all", body),
    right = make("div", "found", body);
  const bar = make("div", "bar", all);
  const only = labelled ? make("select", "only", make("label", "", bar, { textContent: "show " })) : null;
  if (only) {
    make("option", "", only, { textContent: `all ${count.toLocaleString("en-US")} images`, value: "" });
    [...new Set(labels)]
      .sort((a, b) => a - b)
      .forEach((c) =>
        make("option", "", only, { textContent: c === NONE ? "unknown" : classes[c], value: String(c) }),
      );
  }
  const t = pictures.tile,
    thumb = t > 36 ? 36 : t * Math.max(1, Math.floor(36 / t)),
    pitch = thumb + GAP,
    across = Math.max(4, Math.floor(236 / pitch));
  const frame = make("div", "window", all, { tabIndex: 0 });
  frame.setAttribute("role", "listbox");
  frame.setAttribute("aria-label", "all images: arrow keys move, Enter chooses");
  frame.style.height = WINDOW + "px";
  frame.style.width = across * pitch + GAP + 18 + "px";
  const spacer = make("div", "", frame),
    [canvas, ctx] = sheet(spacer, "thumbs", across * pitch + GAP, WINDOW - 2);
  const pointed = make("div", "note pointed", all, { textContent: "\u00a0" });
  pointed.setAttribute("aria-live", "polite");

  const asked = make("div", "asked", right);
  const big = make("canvas", "picture query", asked, { width: t, height: t });
  big.style.width = big.style.height = t * Math.max(1, Math.round(96 / t)) + "px";
  const words = make("div", "words", asked),
    name = make("div", "name", words),
    agreed = make("div", "note", words);
  const back = make("button", "back", words, { type: "button", textContent: "\u2190 back" });
  for (const node of [name, agreed]) node.setAttribute("aria-live", "polite");
  const columns = Math.min(k, 8);
  const blocks = encoders.map((encoder, e) => {
    const block = make("div", "block", right),
      head = make("div", "head", block);
    make("b", "", head, { textContent: encoder });
    const hits = make("span", "hits", head);
    if (about.precision[e] !== null && about.precision[e] !== undefined)
      make("span", "mean", head, {
        textContent: `over all images: precision@${k} ${about.precision[e].toFixed(2)}, by chance ${about.chance.toFixed(2)}`,
      });
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

  // ---- pictures
  let tiles = null,
    closed = false;
  const cut = (to, i, x, y, w) => {
    if (tiles)
      to.drawImage(tiles, (i % pictures.across) * t, Math.floor(i / pictures.across) * t, t, t, x, y, w, w);
  };

  // ---- the sheet
  let shown = Uint16Array.from({ length: count }, (_, i) => i),
    cursor = 0,
    query = model.get("query");
  const past = [];
  const outlineOf = (place, colour, width) => {
    const x = GAP + (place % across) * pitch,
      y = GAP + Math.floor(place / across) * pitch - frame.scrollTop;
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.strokeRect(x - width / 2, y - width / 2, thumb + width, thumb + width);
  };
  const drawSheet = () => {
    const h = WINDOW - 2,
      above = frame.scrollTop,
      colour = ink();
    ctx.clearRect(0, 0, across * pitch + GAP, h);
    ctx.imageSmoothingEnabled = thumb % t !== 0;
    const first = Math.floor((above - GAP) / pitch),
      last = Math.ceil((above + h) / pitch);
    for (let r = Math.max(0, first); r <= last; r++)
      for (let c = 0; c < across && r * across + c < shown.length; c++)
        cut(ctx, shown[r * across + c], GAP + c * pitch, GAP + r * pitch - above, thumb);
    outlineOf(shown.indexOf(query), colour, shown.includes(query) ? 3 : 0);
    ctx.setLineDash([3, 2]);
    if (frame.matches(":focus")) outlineOf(cursor, colour, 1.5);
    ctx.setLineDash([]);
  };
  const rows = () => Math.ceil(shown.length / across);
  const lay = () => {
    spacer.style.height = Math.max(WINDOW - 2, rows() * pitch + GAP) + "px";
    root.dataset.shown = shown.length;
  };
  const reveal = (place, middle = false) => {
    const y = Math.floor(place / across) * pitch;
    const seen = y >= frame.scrollTop && y + pitch + GAP <= frame.scrollTop + WINDOW - 2;
    if (!seen && middle) frame.scrollTop = y - (WINDOW - pitch) / 2;
    else if (y < frame.scrollTop) frame.scrollTop = y;
    else if (y + pitch + GAP > frame.scrollTop + WINDOW - 2) frame.scrollTop = y + pitch + GAP - WINDOW + 2;
  };
  const move = (place) => {
    cursor = Math.max(0, Math.min(shown.length - 1, place));
    root.dataset.cursor = shown[cursor];
    pointed.textContent = called(shown[cursor]);
    reveal(cursor);
    drawSheet();
  };

  // ---- the query and its neighbours
  const drawQuery = () => {
    cut(big.getContext("2d"), query, 0, 0, t);
    name.textContent = called(query);
    back.disabled = !past.length;
    const hits = [],
      sets = [];
    blocks.forEach(({ hits: text, near }, e) => {
      let same = 0;
      const mine = new Set();
      near.forEach((n, j) => {
        const at = (e * count + query) * k + j,
          i = found[at],
          known = labelled && labels[i] !== NONE && labels[query] !== NONE;
        const good = known && labels[i] === labels[query],
          cosine = (cosines[at] / 32767).toFixed(3);
        mine.add(i);
        same += good;
        cut(n.ctx, i, 0, 0, t);
        n.button.className = "near" + (known ? (good ? " right" : " wrong") : "");
        n.sign.textContent = known ? (good ? "\u2713" : "\u2717") : "";
        n.label.textContent = labelled ? nameOf(i) : `image ${i}`;
        n.cosine.textContent = cosine;
        n.button.dataset.i = i;
        const said = `${encoders[e]}, neighbour ${j + 1}: ${called(i)}${known ? (good ? ", same class" : ", another class") : ""}, similarity ${cosine}`;
        n.button.title = said;
        n.button.setAttribute("aria-label", said);
      });
      text.textContent = labelled && labels[query] !== NONE ? `${same} of ${k} share the class` : "";
      hits.push(same);
      sets.push(mine);
    });
    const common = [...sets[0]].filter((i) => sets.every((s) => s.has(i))).length;
    agreed.textContent =
      encoders.length < 2
        ? ""
        : `${common} of ${k} neighbours are the same under ${encoders.length === 2 ? "both" : "all"} encoders`;
    Object.assign(root.dataset, { query, hits: hits.join(), history: past.length });
  };
  const show = (i) => {
    query = i;
    if (shown.indexOf(i) >= 0) {
      cursor = shown.indexOf(i);
      reveal(cursor, true);
    }
    drawQuery();
    drawSheet();
  };
  const choose = (i, remember = true) => {
    if (i === query) return;
    if (remember) {
      past.push(query);
      if (past.length > STEPS_BACK) past.shift();
    }
    show(i);
    model.set("query", i);
    model.save_changes();
  };

  // ---- events
  const under = (e) => {
    const [x, y] = pointer(e, canvas),
      c = Math.floor((x - GAP / 2) / pitch),
      r = Math.floor((y + frame.scrollTop - GAP / 2) / pitch),
      place = r * across + c;
    return c >= 0 && c < across && r >= 0 && place < shown.length ? place : -1;
  };
  listen(canvas, "click", (e) => {
    const place = under(e);
    if (place >= 0) {
      move(place);
      choose(shown[place]);
    }
  });
  listen(canvas, "pointermove", (e) => {
    const place = under(e);
    pointed.textContent = place < 0 ? "\u00a0" : called(shown[place]);
  });
  listen(canvas, "pointerleave", () => {
    pointed.textContent = "\u00a0";
  });
  for (const type of ["scroll", "focus", "blur"]) listen(frame, type, drawSheet);
  listen(frame, "keydown", (e) => {
    const page = Math.max(1, Math.floor(WINDOW / pitch) - 1) * across;
    const place = {
      ArrowRight: cursor + 1,
      ArrowLeft: cursor - 1,
      ArrowDown: cursor + across,
      ArrowUp: cursor - across,
      PageDown: cursor + page,
      PageUp: cursor - page,
      Home: 0,
      End: shown.length - 1,
    }[e.key];
    if (place !== undefined) {
      if ((place >= 0 && place < shown.length) || /Page|Home|End/.test(e.key)) move(place);
    } else if (e.key === "Enter" || e.key === " ") choose(shown[cursor]);
    else return;
    e.preventDefault();
    e.stopPropagation(); // the notebook would scroll, or leave the cell
  });
  if (only)
    listen(only, "change", () => {
      shown = Uint16Array.from(
        Array.from({ length: count }, (_, i) => i).filter(
          (i) => only.value === "" || labels[i] === +only.value,
        ),
      );
      lay();
      frame.scrollTop = 0;
      move(Math.max(0, shown.indexOf(query)));
    });
  listen(right, "click", (e) => {
    const button = e.target.closest("button.near");
    if (button) choose(+button.dataset.i);
  });
  listen(back, "click", () => {
    if (past.length) choose(past.pop(), false);
  });
  view.follow("query", () => {
    if (model.get("query") !== query) {
      past.push(query);
      show(model.get("query"));
    }
  });
  view.later(() => {
    closed = true;
    if (tiles) tiles.close();
  });

  lay();
  cursor = query;
  root.dataset.cursor = cursor;
  drawQuery();
  picture(model.get("tiles"), pictures.type).then((whole) => {
    if (closed) {
      whole.close();
      return;
    }
    tiles = whole;
    root.dataset.pictures = "ready";
    drawQuery();
    reveal(cursor, true);
    drawSheet();
  });
  view.themed(() => {
    root.style.setProperty("--right", bright(about.right, ink()));
    root.style.setProperty("--wrong", bright(about.wrong, ink()));
    drawSheet();
  });
  return view.close;
}

export default { render };
