// A damaged jigsaw puzzle: pieces are swapped by dragging, by two clicks or by the keyboard, and checked; the
// network's answer to the same pieces stands beside them, hidden until it is asked for. Everything was
// computed beforehand, so no kernel is needed.
// data-* on the root are there for tests: puzzle, placed (which piece lies at each place), hits (after a
// check, else empty), network (hits of the network while it is shown, else empty), picked (the place whose
// piece is picked up, else empty), tries, solved.

const SIDE = 72;

const LOOK = `
.ssl-puzzle .boards { display: flex; flex-wrap: wrap; gap: 10px 26px; align-items: flex-start; }
.ssl-puzzle .column { display: flex; flex-direction: column; gap: 5px; }
.ssl-puzzle .head { font-weight: 600; }
.ssl-puzzle .board { display: grid; gap: 4px; touch-action: none; user-select: none; }
.ssl-puzzle .tile { position: relative; box-sizing: border-box; padding: 0; width: ${SIDE + 6}px;
  height: ${SIDE + 6}px; border: 3px solid transparent; background: transparent;
  border-radius: 3px; line-height: 0; cursor: grab; }
.ssl-puzzle .tile canvas { image-rendering: pixelated; width: ${SIDE}px; height: ${SIDE}px;
  pointer-events: none; }
.ssl-puzzle .tile.picked { border-color: var(--jp-brand-color1, #2196f3); }
.ssl-puzzle .tile.right { border-color: var(--right); }
.ssl-puzzle .tile.wrong { border-color: var(--wrong); border-style: dashed; }
.ssl-puzzle .tile .sign { position: absolute; right: 0; bottom: 0;
  font: 700 11px/13px system-ui, sans-serif; min-width: 14px; color: #fff; display: none;
  pointer-events: none; }
.ssl-puzzle .tile.right .sign { display: block; background: #00795A; }
.ssl-puzzle .tile.wrong .sign { display: block; background: #C4441C; }
.ssl-puzzle .tile .hole { position: absolute; inset: 0; display: none; place-items: center;
  font: 600 26px/1 system-ui, sans-serif; color: #57606a; pointer-events: none; }
.ssl-puzzle .tile.gone .hole { display: grid; }
.ssl-puzzle .still .tile { cursor: default; }
.ssl-puzzle .said { min-height: 1.35em; margin: 6px 0 0; }

`;

const placeName = ({ across }, j) => `row ${Math.floor(j / across) + 1}, column ${(j % across) + 1}`;

// ---- the page

function buildBar(view) {
  const { root } = view;
  const bar = make("div", "bar", root);
  const before = make("button", "before", bar, { type: "button", textContent: "\u2190" }),
    which = make("output", "", bar);
  const after = make("button", "after", bar, { type: "button", textContent: "\u2192" });
  before.setAttribute("aria-label", "previous puzzle");
  after.setAttribute("aria-label", "next puzzle");
  const check = make("button", "check", bar, { type: "button", textContent: "check" });
  const again = make("button", "again", bar, { type: "button", textContent: "start again" });
  const reveal = make("button", "reveal", bar, { type: "button", textContent: "show the network's answer" });
  Object.assign(view, { before, which, after, check, again, reveal });
}

function buildBoards(view) {
  const { root } = view;
  const boards = make("div", "boards", root);
  const column = (name, head) => {
    const c = make("div", `column ${name}`, boards);
    make("div", "head", c, { textContent: head });
    return c;
  };
  const yours = boardIn(view, column("yours", "yours"), "button");
  const theirs = column("network", "the network"),
    network = boardIn(view, theirs, "div");
  const truth = column("was", "what it was"),
    was = boardIn(view, truth, "div");
  const said = make("div", "said", root);
  said.setAttribute("aria-live", "polite");
  make("div", "note", root, {
    textContent:
      "Drag a piece onto another to swap them; or click both; " +
      "or move with the arrow keys and press Enter on both.",
  });
  Object.assign(view, { yours, theirs, network, truth, was, said });
}

function boardIn(view, parent, tag) {
  const { pieces, across, t } = view;
  const board = make("div", `board${tag === "div" ? " still" : ""}`, parent);
  board.style.gridTemplateColumns = `repeat(${across}, max-content)`;
  const tiles = Array.from({ length: pieces }, (_, j) => {
    const tile = make(tag, "tile", board, tag === "button" ? { type: "button", tabIndex: j ? -1 : 0 } : {});
    tile.dataset.j = j;
    const canvas = make("canvas", "", tile, { width: t, height: t });
    make("span", "hole", tile, { textContent: "?" });
    return { tile, ctx: canvas.getContext("2d"), sign: make("span", "sign", tile) };
  });
  return { board, tiles };
}

// ---- state

function initialState(view) {
  const { model } = view;
  Object.assign(view, {
    sheetOf: null,
    closed: false,
    at: model.get("puzzle"),
    placed: [],
    picked: -1,
    tries: 0,
    checked: false,
    shown: false,
  });
}

const hits = (view) => view.placed.filter((k, j) => view.order[view.at][k] === j).length;

const networkHits = (view) => view.order[view.at].filter((v, k) => v === view.answer[view.at][k]).length;

function part(view, ctx, set, k) {
  const { cut, pieces, t } = view;
  // set 0: as they lie there; 1: mended; 2: as they were
  const i = (view.at * 3 + set) * pieces + k;
  ctx.clearRect(0, 0, t, t);
  if (view.sheetOf) drawCut(ctx, view.sheetOf, cut, i, 0, 0, t);
}

function sign({ tile, sign: mark }, good) {
  tile.classList.toggle("right", good === true);
  tile.classList.toggle("wrong", good === false);
  mark.textContent = good === null ? "" : good ? "\u2713" : "\u2717";
}

function draw(view) {
  const {
    model,
    count,
    order,
    answer,
    missing,
    root,
    before,
    which,
    after,
    reveal,
    yours,
    theirs,
    network,
    truth,
    was,
  } = view;
  which.textContent = `puzzle ${view.at + 1} of ${count}`;
  before.disabled = view.at === 0;
  after.disabled = view.at === count - 1;
  yours.tiles.forEach((one, j) => {
    const k = view.placed[j],
      gone = k === missing[view.at];
    part(view, one.ctx, 0, k);
    one.tile.classList.toggle("gone", gone);
    one.tile.classList.toggle("picked", j === view.picked);
    const good = view.checked ? order[view.at][k] === j : null;
    sign(one, good);
    const piece = gone ? "the missing piece" : `piece ${k + 1}`;
    const held = j === view.picked ? ", picked up" : "";
    const verdict = good === null ? "" : good ? ", in its place" : ", not in its place";
    one.tile.setAttribute("aria-label", `${placeName(view, j)}: ${piece}${held}${verdict}`);
  });
  theirs.style.display = truth.style.display = view.shown ? "" : "none";
  if (view.shown) {
    const back = []; // which piece the network lays at each place
    answer[view.at].forEach((j, k) => {
      back[j] = k;
    });
    network.tiles.forEach((one, j) => {
      part(view, one.ctx, 1, j);
      sign(one, order[view.at][back[j]] === j);
    });
    for (const [j, one] of was.tiles.entries()) part(view, one.ctx, 2, j);
  }
  reveal.textContent = view.shown ? "hide the network's answer" : "show the network's answer";
  reveal.setAttribute("aria-pressed", String(view.shown));
  Object.assign(root.dataset, {
    puzzle: view.at,
    placed: view.placed.join(),
    picked: view.picked < 0 ? "" : view.picked,
    hits: view.checked ? hits(view) : "",
    tries: view.tries,
    network: view.shown ? networkHits(view) : "",
    solved: model.get("solved").join(),
  });
}

function begin(view, i) {
  const { pieces, said } = view;
  view.at = i;
  view.picked = -1;
  view.tries = 0;
  view.checked = false;
  view.shown = false;
  said.textContent = "";
  view.placed = Array.from({ length: pieces }, (_, j) => j);
  draw(view);
}

function swap(view, a, b) {
  const { said } = view;
  [view.placed[a], view.placed[b]] = [view.placed[b], view.placed[a]];
  view.picked = -1;
  view.checked = false;
  said.textContent = "";
  draw(view);
}

// ---- events

function tileOf(view, node) {
  const { yours } = view;
  const tile = node?.closest?.("button.tile");
  return tile && yours.board.contains(tile) ? +tile.dataset.j : -1;
}

function listenToBoard(view) {
  const { pieces, across, root, listen, yours } = view;
  let from = -1;
  listen(yours.board, "pointerdown", (e) => {
    from = tileOf(view, e.target);
  });
  listen(yours.board, "pointerup", (e) => {
    // A view may stand in a shadow root, where the document does not see single tiles.
    const to = tileOf(
      view,
      (root.getRootNode().elementFromPoint ? root.getRootNode() : document).elementFromPoint(
        e.clientX,
        e.clientY,
      ),
    );
    if (from >= 0 && to >= 0 && to !== from) swap(view, from, to);
    from = -1;
  });
  listen(yours.board, "dragstart", (e) => e.preventDefault());
  listen(yours.board, "click", (e) => {
    const j = tileOf(view, e.target);
    if (j < 0) return;
    if (view.picked < 0) {
      view.picked = j;
      draw(view);
    } else if (view.picked === j) {
      view.picked = -1;
      draw(view);
    } else swap(view, view.picked, j);
  });
  listen(yours.board, "keydown", (e) => {
    const j = tileOf(view, e.target),
      step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[e.key];
    if (e.key === "Escape" && view.picked >= 0) {
      view.picked = -1;
      draw(view);
    } else if (step !== undefined && j >= 0) {
      const to = j + step,
        sameRow = Math.floor(to / across) === Math.floor(j / across);
      if (to >= 0 && to < pieces && (Math.abs(step) === across || sameRow)) {
        yours.tiles.forEach(({ tile }, i) => {
          tile.tabIndex = i === to ? 0 : -1;
        });
        yours.tiles[to].tile.focus();
      }
    } else return;
    e.preventDefault();
    e.stopPropagation(); // the notebook would leave the cell
  });
}

function solvedWords(view) {
  const { about, pieces } = view;
  const when = view.tries === 1 ? "at the first check" : `after ${view.tries} checks`;
  const orders = about.choices.toLocaleString("en-US");
  return (
    `All ${pieces} in place, ${when}. ` +
    `The network had ${orders} orders to choose from, and has ${networkHits(view)} in place.`
  );
}

function listenToBar(view) {
  const { model, count, pieces, listen, before, after, check, again, reveal, said } = view;
  listen(check, "click", () => {
    view.checked = true;
    view.tries += 1;
    view.picked = -1;
    const right = hits(view);
    if (right === pieces) {
      view.shown = true;
      if (!model.get("solved").includes(view.at)) {
        model.set("solved", [...model.get("solved"), view.at]);
        model.save_changes();
      }
    }
    said.textContent = right === pieces ? solvedWords(view) : `${right} of ${pieces} pieces are in place.`;
    draw(view);
  });
  listen(again, "click", () => begin(view, view.at));
  listen(reveal, "click", () => {
    view.shown = !view.shown;
    draw(view);
  });
  const go = (i) => {
    model.set("puzzle", i);
    model.save_changes();
    if (view.at !== i) begin(view, i);
  };
  listen(before, "click", () => view.at > 0 && go(view.at - 1));
  listen(after, "click", () => view.at < count - 1 && go(view.at + 1));
}

function render({ model, el }) {
  const about = model.get("about"),
    { cut, count, pieces, order, answer, missing } = about,
    across = Math.round(Math.sqrt(pieces)),
    t = cut.tile;
  const view = open({ model, el }, "ssl-puzzle", "A damaged jigsaw puzzle to solve by hand", LOOK);
  const { root, ink } = view;
  root.tabIndex = -1; // the buttons are what the keyboard stops at
  Object.assign(view, { model, about, cut, count, pieces, order, answer, missing, across, t });
  if (about.title) make("div", "title", root, { textContent: about.title });
  buildBar(view);
  buildBoards(view);
  initialState(view);
  listenToBoard(view);
  listenToBar(view);
  view.follow("puzzle", () => {
    const i = model.get("puzzle");
    if (i !== view.at && i >= 0 && i < count) begin(view, i);
  });
  view.later(() => {
    view.closed = true;
    if (view.sheetOf) view.sheetOf.close();
  });
  begin(view, Math.max(0, Math.min(count - 1, view.at)));
  picture(model.get("tiles"), cut.type).then((whole) => {
    if (view.closed) {
      whole.close();
      return;
    }
    view.sheetOf = whole;
    root.dataset.pictures = "ready";
    draw(view);
  });
  view.themed(() => {
    root.style.setProperty("--right", bright("#00795A", ink()));
    root.style.setProperty("--wrong", bright("#C4441C", ink()));
  });
  return view.close;
}

export default { render };
