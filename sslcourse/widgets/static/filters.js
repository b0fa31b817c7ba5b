// The filter gallery: units as tiles, the chosen one large, and the patches that excite it most with the image each was found in.
// data-* on the root: unit, layer, frame, draws, image (the picture under the pointer or the strongest), pictures (1 when loaded).

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

function render({ model, el }) {
  const { layers, epochs, kernel, count, cut, title, side } = model.get("about");
  const view = open({ model, el }, "ssl-filters", "Filter gallery", LOOK);
  const { root, ink, listen } = view;
  const kernels = bytes(model.get("kernels"));
  const values = new Float32Array(bytes(model.get("values")).buffer),
    places = new Uint16Array(bytes(model.get("places")).buffer);
  let layer = model.get("layer"),
    unit = model.get("unit"),
    frame = epochs.length - 1,
    patch = 0,
    draws = 0,
    sprites = null;

  if (title) make("div", "title", root, { textContent: title });
  const bar = make("div", "bar", root);
  const face = make("label", "", bar, { textContent: "layer " });
  const choose = make("select", "", face);
  for (const l of layers) make("option", "", choose, { textContent: l.name });
  const slider = make("input", "frame", bar, { type: "range", min: 0, max: epochs.length - 1, step: 1 });
  slider.setAttribute("aria-label", "epoch");
  const label = make("output", "", bar);
  const body = make("div", "body", root);
  const left = make("div", "side", body),
    right = make("div", "side found", body);
  const [units, unitCtx] = sheet(left, "units", GRID, GRID);
  // The tiles are as large as the layer's number of units allows.
  const grid = () => {
    const columns = Math.max(4, Math.ceil(Math.sqrt(layers[layer].units)));
    return [columns, Math.min(60, Math.floor((GRID - 3) / columns) - 3)];
  };
  units.tabIndex = 0;
  units.setAttribute("role", "listbox");
  const heading = make("div", "", right);
  heading.setAttribute("aria-live", "polite");
  const detail = make("div", "detail", right);
  const [big, bigCtx] = sheet(detail, "kernel", 100, 100);
  const [whole, wholeCtx] = sheet(detail, "whole", WHOLE, WHOLE);
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
  const drawKernel = (ctx, i, x, y, size) => {
    const small = scratch.getContext("2d"),
      pixels = small.createImageData(kernel, kernel),
      from = (frame * count + i) * kernel * kernel * 3;
    for (let p = 0; p < kernel * kernel; p++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * p + c] = kernels[from + 3 * p + c];
      pixels.data[4 * p + 3] = 255;
    }
    small.putImageData(pixels, 0, 0);
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(scratch, x, y, size, size);
  };
  const where = (u, j) => {
    const l = layers[layer],
      p = 3 * (l.at + u * l.top + j);
    return [places[p], places[p + 1], places[p + 2]];
  };
  // The receptive field round the strongest place; where it reaches over the border the ground of the tile stays.
  const drawPatch = (ctx, u, j, x, y, size) => {
    const field = layers[layer].field,
      [image, cy, cx] = where(u, j),
      ratio = cut.tile / side,
      s = size / field;
    const x0 = cx - Math.floor(field / 2),
      y0 = cy - Math.floor(field / 2);
    ctx.fillStyle = faded(ink(), 0.12);
    ctx.fillRect(x, y, size, size);
    if (!sprites) return;
    const l = Math.max(0, x0),
      t = Math.max(0, y0),
      w = Math.min(side, x0 + field) - l,
      h = Math.min(side, y0 + field) - t;
    const ox = (image % cut.across) * cut.tile,
      oy = Math.floor(image / cut.across) * cut.tile;
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(
      sprites,
      ox + l * ratio,
      oy + t * ratio,
      w * ratio,
      h * ratio,
      x + (l - x0) * s,
      y + (t - y0) * s,
      w * s,
      h * s,
    );
  };
  const drawWhole = () => {
    const ctx = wholeCtx,
      [image, cy, cx] = where(unit, patch),
      field = layers[layer].field,
      s = WHOLE / side;
    ctx.clearRect(0, 0, WHOLE, WHOLE);
    if (sprites) {
      ctx.imageSmoothingEnabled = false;
      ctx.drawImage(
        sprites,
        (image % cut.across) * cut.tile,
        Math.floor(image / cut.across) * cut.tile,
        cut.tile,
        cut.tile,
        0,
        0,
        WHOLE,
        WHOLE,
      );
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
  };
  const draw = () => {
    const l = layers[layer],
      first = layer === 0,
      colour = ink(),
      [columns, TILE] = grid();
    unitCtx.clearRect(0, 0, GRID, GRID);
    for (let u = 0; u < l.units; u++) {
      const x = 3 + (u % columns) * (TILE + 3),
        y = 3 + Math.floor(u / columns) * (TILE + 3);
      if (first && u < count) drawKernel(unitCtx, u, x, y, TILE);
      else drawPatch(unitCtx, u, 0, x, y, TILE);
      if (u === unit) {
        unitCtx.strokeStyle = colour;
        unitCtx.lineWidth = 2.5;
        unitCtx.strokeRect(x - 1.5, y - 1.5, TILE + 3, TILE + 3);
      }
    }
    big.style.display = first ? "block" : "none";
    if (first && unit < count) drawKernel(bigCtx, unit, 0, 0, 100);
    patchCtx.clearRect(0, 0, across * (PATCH + 4) + 2, Math.ceil(top / across) * (PATCH + 20));
    patchCtx.font = "11px " + (getComputedStyle(root).fontFamily || "sans-serif");
    patchCtx.textAlign = "center";
    patchCtx.textBaseline = "top";
    for (let j = 0; j < l.top; j++) {
      const x = 2 + (j % across) * (PATCH + 4),
        y = 2 + Math.floor(j / across) * (PATCH + 20);
      drawPatch(patchCtx, unit, j, x, y, PATCH);
      patchCtx.fillStyle = colour;
      patchCtx.fillText(short(values[l.at + unit * l.top + j]), x + PATCH / 2, y + PATCH + 3);
      if (j === patch) {
        patchCtx.strokeStyle = colour;
        patchCtx.lineWidth = 2;
        patchCtx.strokeRect(x - 1, y - 1, PATCH + 2, PATCH + 2);
      }
    }
    drawWhole();
    heading.textContent = `unit ${unit} of ${l.name} sees ${Math.min(l.field, side)} x ${Math.min(l.field, side)} pixels`;
    slider.style.visibility = first && epochs.length > 1 ? "visible" : "hidden";
    label.textContent =
      first && epochs.length > 1 ? `filters at epoch ${epochs[frame]} of ${epochs[epochs.length - 1]}` : "";
    slider.value = frame;
    Object.assign(root.dataset, { unit, layer: l.name, frame, draws: ++draws });
  };
  const pick = (u) => {
    unit = Math.max(0, Math.min(layers[layer].units - 1, u));
    patch = 0;
    draw();
    model.set("unit", unit);
    model.save_changes();
  };
  listen(choose, "change", () => {
    layer = choose.selectedIndex;
    model.set("layer", layer);
    pick(Math.min(unit, layers[layer].units - 1));
  });
  listen(slider, "input", () => {
    frame = +slider.value;
    draw();
  });
  listen(units, "click", (e) => {
    const [x, y] = pointer(e, units),
      [columns, TILE] = grid(),
      u = Math.floor((y - 2) / (TILE + 3)) * columns + Math.floor((x - 2) / (TILE + 3));
    if (u >= 0 && u < layers[layer].units) pick(u);
  });
  listen(units, "keydown", (e) => {
    const columns = grid()[0],
      to = {
        ArrowRight: unit + 1,
        ArrowLeft: unit - 1,
        ArrowDown: unit + columns,
        ArrowUp: unit - columns,
        Home: 0,
        End: layers[layer].units - 1,
      }[e.key];
    if (to === undefined) return;
    if (to >= 0 && to < layers[layer].units) pick(to);
    e.preventDefault();
  });
  listen(patches, "mousemove", (e) => {
    const [x, y] = pointer(e, patches),
      j = Math.floor(y / (PATCH + 20)) * across + Math.min(across - 1, Math.floor(x / (PATCH + 4)));
    if (j !== patch && j >= 0 && j < layers[layer].top) {
      patch = j;
      draw();
    }
  });
  const fromPython = () => {
    layer = Math.max(0, Math.min(layers.length - 1, model.get("layer")));
    choose.selectedIndex = layer;
    unit = Math.max(0, Math.min(layers[layer].units - 1, model.get("unit")));
    draw();
  };
  view.follow("unit", fromPython);
  view.follow("layer", fromPython);
  choose.selectedIndex = layer;
  view.themed(draw);
  picture(model.get("pictures"), cut.type).then((s) => {
    sprites = s;
    root.dataset.pictures = 1;
    draw();
  });
  return view.close;
}

export default { render };
