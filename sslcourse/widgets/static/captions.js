// Words and pictures in one space: type a caption, see the nearest pictures; choose a picture, see the
// nearest captions. The vectors of the pictures and of a few hundred short captions were sent when the view
// was made, so that both ways work without a kernel. With one, Python reads what was typed word for word: the
// text goes out in `wanted`, its vector comes back in `answer` and `reply`.
// data-* on the root: text (read as), source ("here" or "kernel"), first (nearest picture), picture (chosen),
// caption (its nearest), pictures ("ready" once they can be drawn), unknown (words that nobody knows),
// answers (vectors that came from Python).

const LOOK = `
.ssl-captions input[type=text] { font: inherit; flex: 1 1 260px; min-width: 180px; padding: 4px 8px;
  border-radius: 3px; color: inherit;
  background: var(--jp-layout-color1, transparent);
  border: 1px solid var(--jp-border-color1, rgba(128,128,128,.6)); }
.ssl-captions .tiles { display: flex; flex-wrap: wrap; gap: 6px; margin: 6px 0 10px; }
.ssl-captions .tiles button { padding: 3px; text-align: center; font-size: 11px; line-height: 1.2;
  font-variant-numeric: tabular-nums; }
.ssl-captions .tiles button[aria-pressed=true] { outline: 3px solid var(--jp-brand-color1, #2196f3);
  outline-offset: 0; }
.ssl-captions .said { display: flex; flex-direction: column; gap: 3px; align-items: stretch;
  flex: 1 1 260px; max-width: 420px; }
.ssl-captions .said button { text-align: left; display: flex; justify-content: space-between; gap: 14px;
  font-variant-numeric: tabular-nums; }
.ssl-captions .note.strange { border-left: 4px solid #C4441C; padding: 2px 10px; opacity: 1; }
`;

function buildBox(view) {
  const { texts, start, root } = view;
  const bar = make("div", "bar", root);
  const box = make("input", "", make("label", "bar", bar, { textContent: "caption " }), {
    type: "text",
    value: start,
    spellcheck: false,
    autocomplete: "off",
  });
  box.parentNode.style.cssText = "flex: 1 1 320px; margin: 0";
  const list = make("datalist", "", root, { id: `ssl-captions-${Math.random().toString(36).slice(2)}` });
  for (const text of texts) make("option", "", list, { value: text });
  box.setAttribute("list", list.id);
  const note = make("div", "note", root);
  note.setAttribute("aria-live", "polite");
  Object.assign(view, { box, note });
}

function buildAnswers(view) {
  const { texts, count, root, SHOWN, TILE } = view;
  make("div", "note", root, { textContent: "nearest pictures, with their cosine to these words" });
  const tiles = make("div", "tiles", root);
  const body = make("div", "body", root),
    side = make("div", "side", body),
    said = make("div", "said", body);
  const [, bigCtx] = sheet(side, "", 128, 128);
  const below = make("div", "note", side);
  const buttons = Array.from({ length: Math.min(SHOWN, count) }, () => {
    const button = make("button", "", tiles, { type: "button" });
    const [, ctx] = sheet(button, "", TILE, TILE);
    return { button, ctx, text: make("div", "", button), at: 0 };
  });
  const lines = Array.from({ length: Math.min(8, texts.length) }, () => {
    const button = make("button", "", said, { type: "button" });
    return { button, text: make("span", "", button), value: make("output", "", button), at: 0 };
  });
  Object.assign(view, { bigCtx, below, buttons, lines });
}

function initialState(view) {
  const { model } = view;
  Object.assign(view, { sprites: null, asked: 0, answers: 0, pictureAt: model.get("chosen"), query: null });
}

const row = ({ dim }, table, i) => Float32Array.from(table.subarray(i * dim, (i + 1) * dim));

function cosines(view, table, n, q) {
  const { dim } = view;
  const length = Math.hypot(...q) || 1;
  return Array.from({ length: n }, (_, i) => {
    let dot = 0,
      own = 0;
    for (let k = 0; k < dim; k++) {
      const v = table[i * dim + k];
      dot += v * q[k];
      own += v * v;
    }
    return dot / (length * (Math.sqrt(own) || 1));
  });
}

const best = (values, n) =>
  values
    .map((v, i) => [v, i])
    .sort((a, b) => b[0] - a[0] || a[1] - b[1])
    .slice(0, n);

function tile(view, ctx, i, size) {
  const { cut } = view;
  ctx.clearRect(0, 0, size, size);
  if (!view.sprites) return;
  ctx.imageSmoothingEnabled = false;
  drawCut(ctx, view.sprites, cut, i, 0, 0, size);
}

function drawPictures(view) {
  const { count, root, TILE, images, buttons } = view;
  if (!view.query) return;
  best(cosines(view, images, count, view.query), buttons.length).forEach(([value, i], k) => {
    const b = buttons[k];
    b.at = i;
    b.text.textContent = short(value);
    b.button.setAttribute("aria-pressed", i === view.pictureAt);
    b.button.setAttribute("aria-label", `picture ${i}, cosine ${short(value)}`);
    tile(view, b.ctx, i, TILE);
  });
  root.dataset.first = buttons[0].at;
}

function drawCaptions(view) {
  const { texts, root, images, vectors, bigCtx, below, lines } = view;
  best(cosines(view, vectors, texts.length, row(view, images, view.pictureAt)), lines.length).forEach(
    ([value, i], k) => {
      const l = lines[k];
      l.at = i;
      l.text.textContent = texts[i];
      l.value.textContent = short(value);
    },
  );
  tile(view, bigCtx, view.pictureAt, 128);
  below.textContent = `picture ${view.pictureAt}, and what it is nearest to`;
  Object.assign(root.dataset, { picture: view.pictureAt, caption: texts[lines[0].at] });
}

function draw(view) {
  drawPictures(view);
  drawCaptions(view);
}

// What was typed, in words that are known: at most one of each kind makes one of the captions that were sent.
function read(view, text) {
  const { texts, words, kinds, filler } = view;
  const found = text.toLowerCase().match(/[a-z0-9]+(?:-[a-z0-9]+)*/g) || [];
  const unknown = found.filter((w) => !words.includes(w)),
    picked = {},
    rest = [];
  for (const w of found) {
    const kind = Object.keys(kinds).find((k) => kinds[k].includes(w));
    if (kind && !(kind in picked)) picked[kind] = w;
    else if (!filler.includes(w) && !unknown.includes(w)) rest.push(w);
  }
  const core = [picked.size, picked.hue, picked.shape || "thing"].filter(Boolean).join(" ");
  const at = texts.findIndex((t) => t.replace(/^an? /, "") === core);
  return { empty: !found.length, unknown, rest, at };
}

function say(view, text, strange) {
  const { note } = view;
  note.textContent = text;
  note.classList.toggle("strange", !!strange);
}

function ask(view) {
  const { model, texts, words, root, vectors, box } = view;
  const { empty, unknown, rest, at } = read(view, box.value);
  root.dataset.unknown = unknown.join(" ");
  if (empty) {
    say(view, "Type a few words, such as: a small red cube.");
    return;
  }
  if (unknown.length) {
    const strange = unknown.map((w) => `"${w}"`).join(" or ");
    const known = words.join(", ");
    const reason = "so there is no vector for it";
    say(view, `No caption of the training holds ${strange}, ${reason}. Known are: ${known}.`, true);
    return;
  }
  view.query = row(view, vectors, at);
  Object.assign(root.dataset, { text: texts[at], source: "here" });
  say(
    view,
    model.alone && rest.length
      ? `Without a running kernel this is read as "${texts[at]}": left out: ${rest.join(", ")}.`
      : `read as "${texts[at]}"`,
  );
  drawPictures(view);
  if (model.alone) return;
  model.set("wanted", { text: box.value, turn: ++view.asked });
  model.save_changes();
}

function answered(view) {
  const { model, root } = view;
  const reply = model.get("reply");
  if (reply.turn !== view.asked) return; // something else has been typed meanwhile
  if (reply.error) {
    say(view, reply.error, true);
    return;
  }
  view.query = new Float32Array(bytes(model.get("answer")).buffer);
  say(view, `read word for word: "${reply.text}"`);
  Object.assign(root.dataset, { text: reply.text, source: "kernel", answers: ++view.answers });
  drawPictures(view);
}

function listenToReader(view) {
  const { model, texts, count, listen, box, buttons, lines } = view;
  listen(box, "input", () => ask(view));
  for (const b of buttons)
    listen(b.button, "click", () => {
      view.pictureAt = b.at;
      draw(view);
      model.set("chosen", view.pictureAt);
      model.save_changes();
    });
  for (const l of lines)
    listen(l.button, "click", () => {
      box.value = texts[l.at];
      ask(view);
    });
  view.follow("reply", () => answered(view));
  view.follow("chosen", () => {
    view.pictureAt = Math.max(0, Math.min(count - 1, model.get("chosen")));
    draw(view);
  });
}

function render({ model, el }) {
  const { texts, words, kinds, filler, cut, count, dim, start, title } = model.get("about");
  const view = open({ model, el }, "ssl-captions", title || "captions and pictures", LOOK);
  const { root } = view,
    SHOWN = 10,
    TILE = 64;
  const images = new Int8Array(bytes(model.get("images")).buffer),
    vectors = new Int8Array(bytes(model.get("captions")).buffer);
  if (title) make("div", "title", root, { textContent: title });
  Object.assign(view, {
    model,
    texts,
    words,
    kinds,
    filler,
    cut,
    count,
    dim,
    start,
    SHOWN,
    TILE,
    images,
    vectors,
  });
  buildBox(view);
  buildAnswers(view);
  initialState(view);
  listenToReader(view);
  view.themed(() => draw(view));
  root.dataset.answers = 0;
  const first = read(view, view.box.value);
  if (first.at >= 0) {
    view.query = row(view, vectors, first.at);
    Object.assign(root.dataset, { text: texts[first.at], source: "here" });
  }
  draw(view);
  picture(model.get("pictures"), cut.type).then((s) => {
    view.sprites = s;
    root.dataset.pictures = "ready";
    draw(view);
  });
  return view.close;
}

export default { render };
