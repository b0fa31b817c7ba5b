// A damaged jigsaw puzzle: pieces are swapped by dragging, by two clicks or by the keyboard, and checked; the network's answer to the same
// pieces stands beside them, hidden until it is asked for. Everything was computed beforehand, so no kernel is needed.
// data-* on the root are there for tests: puzzle, placed (which piece lies at each place), hits (after a check, else empty), network (hits of the
// network while it is shown, else empty), picked (the place whose piece is picked up, else empty), tries, solved.

const SIDE = 72;

const LOOK = `
.ssl-puzzle .boards { display: flex; flex-wrap: wrap; gap: 10px 26px; align-items: flex-start; }
.ssl-puzzle .column { display: flex; flex-direction: column; gap: 5px; }
.ssl-puzzle .head { font-weight: 600; }
.ssl-puzzle .board { display: grid; gap: 4px; touch-action: none; user-select: none; }
.ssl-puzzle .tile { position: relative; box-sizing: border-box; padding: 0; width: ${SIDE + 6}px; height: ${SIDE + 6}px; border: 3px solid transparent; background: transparent;
  border-radius: 3px; line-height: 0; cursor: grab; }
.ssl-puzzle .tile canvas { image-rendering: pixelated; width: ${SIDE}px; height: ${SIDE}px; pointer-events: none; }
.ssl-puzzle .tile.picked { border-color: var(--jp-brand-color1, #2196f3); }
.ssl-puzzle .tile.right { border-color: var(--right); }
.ssl-puzzle .tile.wrong { border-color: var(--wrong); border-style: dashed; }
.ssl-puzzle .tile .sign { position: absolute; right: 0; bottom: 0; font: 700 11px/13px system-ui, sans-serif; min-width: 14px; color: #fff; display: none; pointer-events: none; }
.ssl-puzzle .tile.right .sign { display: block; background: #00795A; }
.ssl-puzzle .tile.wrong .sign { display: block; background: #C4441C; }
.ssl-puzzle .tile .hole { position: absolute; inset: 0; display: none; place-items: center; font: 600 26px/1 system-ui, sans-serif; color: #57606a; pointer-events: none; }
.ssl-puzzle .tile.gone .hole { display: grid; }
.ssl-puzzle .still .tile { cursor: default; }
.ssl-puzzle .said { min-height: 1.35em; margin: 6px 0 0; }

`;

function render({ model, el }) {
  const about = model.get("about"),
    { cut, count, pieces, order, answer, missing } = about,
    across = Math.round(Math.sqrt(pieces)),
    t = cut.tile;
  const view = open({ model, el }, "ssl-puzzle", "A damaged jigsaw puzzle to solve by hand", LOOK);
  const { root, ink, listen } = view;
  root.tabIndex = -1; // the buttons are what the keyboard stops at
  const placeName = (j) => `row ${Math.floor(j / across) + 1}, column ${(j % across) + 1}`;

  // ---- the page
  if (about.title) make("div", "title", root, { textContent: about.title });
  const bar = make("div", "bar", root);
  const before = make("button", "before", bar, { type: "button", textContent: "\u2190" }),
    which = make("output", "", bar);
  const after = make("button", "after", bar, { type: "button", textContent: "\u2192" });
  before.setAttribute("aria-label", "previous puzzle");
  after.setAttribute("aria-label", "next puzzle");
  const check = make("button", "check", bar, { type: "button", textContent: "check" });
  const again = make("button", "again", bar, { type: "button", textContent: "start again" });
  const reveal = make("button", "reveal", bar, { type: "button", textContent: "show the network's answer" });
  const boards = make("div", "boards", root);
  const column = (name, head) => {
    const c = make("div", "column " + name, boards);
    make("div", "head", c, { textContent: head });
    return c;
  };
  const boardIn = (parent, tag) => {
    const board = make("div", "board" + (tag === "div" ? " still" : ""), parent);
    board.style.gridTemplateColumns = `repeat(${across}, max-content)`;
    const tiles = Array.from({ length: pieces }, (_, j) => {
      const tile = make(tag, "tile", board, tag === "button" ? { type: "button", tabIndex: j ? -1 : 0 } : {});
      tile.dataset.j = j;
      const canvas = make("canvas", "", tile, { width: t, height: t });
      make("span", "hole", tile, { textContent: "?" });
      return { tile, ctx: canvas.getContext("2d"), sign: make("span", "sign", tile) };
    });
    return { board, tiles };
  };
  const yours = boardIn(column("yours", "yours"), "button");
  const theirs = column("network", "the network"),
    network = boardIn(theirs, "div");
  const truth = column("was", "what it was"),
    was = boardIn(truth, "div");
  const said = make("div", "said", root);
  said.setAttribute("aria-live", "polite");
  make("div", "note", root, {
    textContent:
      "Drag a piece onto another to swap them; or click both; or move with the arrow keys and press Enter on both.",
  });

  // ---- state
  let sheetOf = null,
    closed = false,
    at = model.get("puzzle"),
    placed = [],
    picked = -1,
    tries = 0,
    checked = false,
    shown = false;
  const hits = () => placed.filter((k, j) => order[at][k] === j).length;
  const networkHits = () => order[at].filter((v, k) => v === answer[at][k]).length;
  const part = (ctx, set, k) => {
    // set 0: as they lie there; 1: mended; 2: as they were
    const i = (at * 3 + set) * pieces + k;
    ctx.clearRect(0, 0, t, t);
    if (sheetOf)
      ctx.drawImage(sheetOf, (i % cut.across) * t, Math.floor(i / cut.across) * t, t, t, 0, 0, t, t);
  };
  const sign = ({ tile, sign: mark }, good) => {
    tile.classList.toggle("right", good === true);
    tile.classList.toggle("wrong", good === false);
    mark.textContent = good === null ? "" : good ? "\u2713" : "\u2717";
  };
  const draw = () => {
    which.textContent = `puzzle ${at + 1} of ${count}`;
    before.disabled = at === 0;
    after.disabled = at === count - 1;
    yours.tiles.forEach((one, j) => {
      const k = placed[j],
        gone = k === missing[at];
      part(one.ctx, 0, k);
      one.tile.classList.toggle("gone", gone);
      one.tile.classList.toggle("picked", j === picked);
      const good = checked ? order[at][k] === j : null;
      sign(one, good);
      one.tile.setAttribute(
        "aria-label",
        `${placeName(j)}: ${gone ? "the missing piece" : "piece " + (k + 1)}${j === picked ? ", picked up" : ""}` +
          (good === null ? "" : good ? ", in its place" : ", not in its place"),
      );
    });
    theirs.style.display = truth.style.display = shown ? "" : "none";
    if (shown) {
      const back = []; // which piece the network lays at each place
      answer[at].forEach((j, k) => {
        back[j] = k;
      });
      network.tiles.forEach((one, j) => {
        part(one.ctx, 1, j);
        sign(one, order[at][back[j]] === j);
      });
      was.tiles.forEach((one, j) => part(one.ctx, 2, j));
    }
    reveal.textContent = shown ? "hide the network's answer" : "show the network's answer";
    reveal.setAttribute("aria-pressed", String(shown));
    Object.assign(root.dataset, {
      puzzle: at,
      placed: placed.join(),
      picked: picked < 0 ? "" : picked,
      hits: checked ? hits() : "",
      tries,
      network: shown ? networkHits() : "",
      solved: model.get("solved").join(),
    });
  };
  const begin = (i) => {
    at = i;
    picked = -1;
    tries = 0;
    checked = false;
    shown = false;
    said.textContent = "";
    placed = Array.from({ length: pieces }, (_, j) => j);
    draw();
  };
  const swap = (a, b) => {
    [placed[a], placed[b]] = [placed[b], placed[a]];
    picked = -1;
    checked = false;
    said.textContent = "";
    draw();
  };

  // ---- events
  const tileOf = (node) => {
    const tile = node && node.closest && node.closest("button.tile");
    return tile && yours.board.contains(tile) ? +tile.dataset.j : -1;
  };
  let from = -1;
  listen(yours.board, "pointerdown", (e) => {
    from = tileOf(e.target);
  });
  listen(yours.board, "pointerup", (e) => {
    // A view may stand in a shadow root, where the document does not see single tiles.
    const to = tileOf(
      (root.getRootNode().elementFromPoint ? root.getRootNode() : document).elementFromPoint(
        e.clientX,
        e.clientY,
      ),
    );
    if (from >= 0 && to >= 0 && to !== from) swap(from, to);
    from = -1;
  });
  listen(yours.board, "dragstart", (e) => e.preventDefault());
  listen(yours.board, "click", (e) => {
    const j = tileOf(e.target);
    if (j < 0) return;
    if (picked < 0) {
      picked = j;
      draw();
    } else if (picked === j) {
      picked = -1;
      draw();
    } else swap(picked, j);
  });
  listen(yours.board, "keydown", (e) => {
    const j = tileOf(e.target),
      step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[e.key];
    if (e.key === "Escape" && picked >= 0) {
      picked = -1;
      draw();
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
  listen(check, "click", () => {
    checked = true;
    tries += 1;
    picked = -1;
    const right = hits();
    if (right === pieces) {
      shown = true;
      if (!model.get("solved").includes(at)) {
        model.set("solved", [...model.get("solved"), at]);
        model.save_changes();
      }
    }
    said.textContent =
      right === pieces
        ? `All ${pieces} in place, ${tries === 1 ? "at the first check" : `after ${tries} checks`}.` +
          ` The network had ${about.choices.toLocaleString("en-US")} orders to choose from, and has ${networkHits()} in place.`
        : `${right} of ${pieces} pieces are in place.`;
    draw();
  });
  listen(again, "click", () => begin(at));
  listen(reveal, "click", () => {
    shown = !shown;
    draw();
  });
  const go = (i) => {
    model.set("puzzle", i);
    model.save_changes();
    if (at !== i) begin(i);
  };
  listen(before, "click", () => at > 0 && go(at - 1));
  listen(after, "click", () => at < count - 1 && go(at + 1));
  view.follow("puzzle", () => {
    const i = model.get("puzzle");
    if (i !== at && i >= 0 && i < count) begin(i);
  });
  view.later(() => {
    closed = true;
    if (sheetOf) sheetOf.close();
  });

  begin(Math.max(0, Math.min(count - 1, at)));
  picture(model.get("tiles"), cut.type).then((whole) => {
    if (closed) {
      whole.close();
      return;
    }
    sheetOf = whole;
    root.dataset.pictures = "ready";
    draw();
  });
  view.themed(() => {
    root.style.setProperty("--right", bright("#00795A", ink()));
    root.style.setProperty("--wrong", bright("#C4441C", ink()));
  });
  return view.close;
}

export default { render };
