// The filter gallery: units as tiles, the chosen one large, and the patches that excite it most with the
// image each was found in.
// data-* on the root: unit, layer, frame, draws, image (the picture under the pointer or the strongest),
// pictures (1 when loaded).

const GRID = 336,
  PATCH = 66,
  WHOLE = 150;

const LOOK = `
.ssl-filters .units { cursor: pointer; border-radius: 3px; outline: none; }
.ssl-filters .detail { display: flex; flex-wrap: wrap; gap: 14px; align-items: flex-start; }
.ssl-filters .patches { cursor: crosshair; }
.ssl-filters .body { flex-wrap: wrap; }
.ssl-filters .found { max-width: 360px; }
.ssl-filters .bar label { display: flex; gap: 6px; align-items: center; }
`;

function initialState(view) {
  const { model, epochs } = view;
  Object.assign(view, {
    layer: model.get("layer"),
    unit: model.get("unit"),
    frame: epochs.length - 1,
    patch: 0,
    draws: 0,
    sprites: null,
  });
}

function buildBar(view) {
  const { layers, epochs, title, root } = view;
  if (title) make("div", "title", root, { textContent: title });
  const bar = make("div", "bar", root);
  const face = make("label", "", bar, { textContent: "layer " });
  const choose = make("select", "", face);
  for (const l of layers) make("option", "", choose, { textContent: l.name });
  const slider = make("input", "frame", bar, { type: "range", min: 0, max: epochs.length - 1, step: 1 });
  slider.setAttribute("aria-label", "epoch");
  const label = make("output", "", bar);
  Object.assign(view, { choose, slider, label });
}

function buildBody(view) {
  const { layers, kernel, root } = view;
  const body = make("div", "body", root);
  const left = make("div", "side", body),
    right = make("div", "side found", body);
  const [units, unitCtx] = sheet(left, "units", GRID, GRID);
  units.tabIndex = 0;
  units.setAttribute("role", "listbox");
  const heading = make("div", "", right);
  heading.setAttribute("aria-live", "polite");
  const detail = make("div", "detail", right);
  const [big, bigCtx] = sheet(detail, "kernel", 100, 100);
  const [, wholeCtx] = sheet(detail, "whole", WHOLE, WHOLE);
  const top = Math.max(...layers.map((l) => l.top)),
    across = top <= 9 ? 5 : 6;
  const [patches, patchCtx] = sheet(
    right,
    "patches",
    across * (PATCH + 4) + 2,
    Math.ceil(top / across) * (PATCH + 20),
  );
  make("div", "note", right, {
    textContent:
      "the patches that excite this unit most, strongest first; under the pointer: where in its picture",
  });
  const scratch = make("canvas", "", null, { width: kernel, height: kernel });
  Object.assign(view, {
    units,
    unitCtx,
    heading,
    big,
    bigCtx,
    wholeCtx,
    top,
    across,
    patches,
    patchCtx,
    scratch,
  });
}

// The tiles are as large as the layer's number of units allows.
function grid(view) {
  const { layers } = view;
  const columns = Math.max(4, Math.ceil(Math.sqrt(layers[view.layer].units)));
  return [columns, Math.min(60, Math.floor((GRID - 3) / columns) - 3)];
}

function drawKernel(view, ctx, i, x, y, size) {
  const { kernel, count, kernels, scratch } = view;
  const small = scratch.getContext("2d"),
    pixels = small.createImageData(kernel, kernel),
    from = (view.frame * count + i) * kernel * kernel * 3;
  for (let p = 0; p < kernel * kernel; p++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * p + c] = kernels[from + 3 * p + c];
    pixels.data[4 * p + 3] = 255;
  }
  small.putImageData(pixels, 0, 0);
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(scratch, x, y, size, size);
}

function where(view, u, j) {
  const { layers, places } = view;
  const l = layers[view.layer],
    p = 3 * (l.at + u * l.top + j);
  return [places[p], places[p + 1], places[p + 2]];
}

// The receptive field round the strongest place; where it reaches over the border the ground of the tile
// stays.
function drawPatch(view, ctx, u, j, x, y, size) {
  const { layers, cut, side, ink } = view;
  const field = layers[view.layer].field,
    [image, cy, cx] = where(view, u, j),
    ratio = cut.tile / side,
    s = size / field;
  const x0 = cx - Math.floor(field / 2),
    y0 = cy - Math.floor(field / 2);
  ctx.fillStyle = faded(ink(), 0.12);
  ctx.fillRect(x, y, size, size);
  if (!view.sprites) return;
  const l = Math.max(0, x0),
    t = Math.max(0, y0),
    w = Math.min(side, x0 + field) - l,
    h = Math.min(side, y0 + field) - t;
  const ox = (image % cut.across) * cut.tile,
    oy = Math.floor(image / cut.across) * cut.tile;
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(
    view.sprites,
    ox + l * ratio,
    oy + t * ratio,
    w * ratio,
    h * ratio,
    x + (l - x0) * s,
    y + (t - y0) * s,
    w * s,
    h * s,
  );
}

function drawWhole(view) {
  const { layers, cut, side, root, wholeCtx } = view;
  const ctx = wholeCtx,
    [image, cy, cx] = where(view, view.unit, view.patch),
    field = layers[view.layer].field,
    s = WHOLE / side;
  ctx.clearRect(0, 0, WHOLE, WHOLE);
  if (view.sprites) {
    ctx.imageSmoothingEnabled = false;
    drawCut(ctx, view.sprites, cut, image, 0, 0, WHOLE);
  }
  const x = (cx - Math.floor(field / 2)) * s,
    y = (cy - Math.floor(field / 2)) * s;
  for (const [colour, width] of [
    ["#fff", 4],
    ["#000", 1.6],
  ]) {
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.strokeRect(x, y, field * s, field * s);
  }
  root.dataset.image = image;
}

function draw(view) {
  const {
    layers,
    epochs,
    count,
    side,
    root,
    ink,
    values,
    slider,
    label,
    unitCtx,
    heading,
    big,
    bigCtx,
    top,
    across,
    patchCtx,
  } = view;
  const l = layers[view.layer],
    first = view.layer === 0,
    colour = ink(),
    [columns, TILE] = grid(view);
  unitCtx.clearRect(0, 0, GRID, GRID);
  for (let u = 0; u < l.units; u++) {
    const x = 3 + (u % columns) * (TILE + 3),
      y = 3 + Math.floor(u / columns) * (TILE + 3);
    if (first && u < count) drawKernel(view, unitCtx, u, x, y, TILE);
    else drawPatch(view, unitCtx, u, 0, x, y, TILE);
    if (u === view.unit) {
      unitCtx.strokeStyle = colour;
      unitCtx.lineWidth = 2.5;
      unitCtx.strokeRect(x - 1.5, y - 1.5, TILE + 3, TILE + 3);
    }
  }
  big.style.display = first ? "block" : "none";
  if (first && view.unit < count) drawKernel(view, bigCtx, view.unit, 0, 0, 100);
  patchCtx.clearRect(0, 0, across * (PATCH + 4) + 2, Math.ceil(top / across) * (PATCH + 20));
  patchCtx.font = `11px ${getComputedStyle(root).fontFamily || "sans-serif"}`;
  patchCtx.textAlign = "center";
  patchCtx.textBaseline = "top";
  for (let j = 0; j < l.top; j++) {
    const x = 2 + (j % across) * (PATCH + 4),
      y = 2 + Math.floor(j / across) * (PATCH + 20);
    drawPatch(view, patchCtx, view.unit, j, x, y, PATCH);
    patchCtx.fillStyle = colour;
    patchCtx.fillText(short(values[l.at + view.unit * l.top + j]), x + PATCH / 2, y + PATCH + 3);
    if (j === view.patch) {
      patchCtx.strokeStyle = colour;
      patchCtx.lineWidth = 2;
      patchCtx.strokeRect(x - 1, y - 1, PATCH + 2, PATCH + 2);
    }
  }
  drawWhole(view);
  const field = Math.min(l.field, side);
  heading.textContent = `unit ${view.unit} of ${l.name} sees ${field} x ${field} pixels`;
  slider.style.visibility = first && epochs.length > 1 ? "visible" : "hidden";
  label.textContent =
    first && epochs.length > 1
      ? `filters at epoch ${epochs[view.frame]} of ${epochs[epochs.length - 1]}`
      : "";
  slider.value = view.frame;
  Object.assign(root.dataset, { unit: view.unit, layer: l.name, frame: view.frame, draws: ++view.draws });
}

function pick(view, u) {
  const { model, layers } = view;
  view.unit = Math.max(0, Math.min(layers[view.layer].units - 1, u));
  view.patch = 0;
  draw(view);
  model.set("unit", view.unit);
  model.save_changes();
}

function listenToReader(view) {
  const { model, layers, listen, choose, slider, units, across, patches } = view;
  listen(choose, "change", () => {
    view.layer = choose.selectedIndex;
    model.set("layer", view.layer);
    pick(view, Math.min(view.unit, layers[view.layer].units - 1));
  });
  listen(slider, "input", () => {
    view.frame = +slider.value;
    draw(view);
  });
  listen(units, "click", (e) => {
    const [x, y] = pointer(e, units),
      [columns, TILE] = grid(view),
      u = Math.floor((y - 2) / (TILE + 3)) * columns + Math.floor((x - 2) / (TILE + 3));
    if (u >= 0 && u < layers[view.layer].units) pick(view, u);
  });
  listen(units, "keydown", (e) => {
    const columns = grid(view)[0],
      to = {
        ArrowRight: view.unit + 1,
        ArrowLeft: view.unit - 1,
        ArrowDown: view.unit + columns,
        ArrowUp: view.unit - columns,
        Home: 0,
        End: layers[view.layer].units - 1,
      }[e.key];
    if (to === undefined) return;
    if (to >= 0 && to < layers[view.layer].units) pick(view, to);
    e.preventDefault();
  });
  listen(patches, "mousemove", (e) => {
    const [x, y] = pointer(e, patches),
      j = Math.floor(y / (PATCH + 20)) * across + Math.min(across - 1, Math.floor(x / (PATCH + 4)));
    if (j !== view.patch && j >= 0 && j < layers[view.layer].top) {
      view.patch = j;
      draw(view);
    }
  });
}

function followPython(view) {
  const { model, layers, choose } = view;
  const fromPython = () => {
    view.layer = Math.max(0, Math.min(layers.length - 1, model.get("layer")));
    choose.selectedIndex = view.layer;
    view.unit = Math.max(0, Math.min(layers[view.layer].units - 1, model.get("unit")));
    draw(view);
  };
  view.follow("unit", fromPython);
  view.follow("layer", fromPython);
}

function render({ model, el }) {
  const { layers, epochs, kernel, count, cut, title, side } = model.get("about");
  const view = open({ model, el }, "ssl-filters", "Filter gallery", LOOK);
  const { root } = view;
  const kernels = bytes(model.get("kernels"));
  const values = new Float32Array(bytes(model.get("values")).buffer),
    places = new Uint16Array(bytes(model.get("places")).buffer);
  Object.assign(view, { model, layers, epochs, kernel, count, cut, title, side, kernels, values, places });
  initialState(view);
  buildBar(view);
  buildBody(view);
  listenToReader(view);
  followPython(view);
  view.choose.selectedIndex = view.layer;
  view.themed(() => draw(view));
  picture(model.get("pictures"), cut.type).then((s) => {
    view.sprites = s;
    root.dataset.pictures = 1;
    draw(view);
  });
  return view.close;
}

export default { render };
