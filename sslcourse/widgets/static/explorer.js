// A few controls and the picture that answers them. With a kernel Python draws: what the controls say goes
// out in `wanted`, pictures come back in `image` and `caption`, and `values` moves the controls from Python's
// side. On a page without a kernel the pictures were drawn beforehand (`drawn`, cut by `about.drawn`): all
// combinations where they are few, else one control at a time.
// data-* on the root: draws (pictures shown), ms (from a moved control to the new picture), and the picture
// is img.ssl-picture.

const LOOK = `
.ssl-explorer { max-width: 900px; display: flex; flex-flow: row wrap; gap: 8px 22px;
  align-items: flex-start; }
.ssl-explorer .controls { display: grid; grid-template-columns: auto minmax(120px, 1fr) 52px; gap: 3px 10px;
  align-items: center; flex: 0 1 340px; }
.ssl-explorer .controls label { text-align: right; }
.ssl-explorer .controls input, .ssl-explorer .controls select { min-width: 0; width: 100%; margin: 0;
  box-sizing: border-box; }
.ssl-explorer .controls .presses { grid-column: 2 / 4; margin-top: 4px; display: flex; gap: 8px; }
.ssl-explorer .result { flex: 1 1 300px; min-width: 200px; }
.ssl-explorer .result img { display: block; max-width: 100%; }
.ssl-explorer .caption { margin-top: 6px; max-width: 540px; line-height: 1.4; }
.ssl-explorer .caption.error { border-left: 4px solid #C4441C; padding: 4px 10px; white-space: pre-wrap; }
.ssl-explorer .note { grid-column: 1 / 4; }
`;

function initialState(view) {
  const { model } = view;
  const values = { ...model.get("values") },
    start = { ...values },
    faces = {};
  Object.assign(view, { asked: 0, draws: 0, address: null });
  const fixed = model.alone === true;
  Object.assign(view, { values, start, faces, fixed });
}

const word = (c, v) => (c.kind === "log" ? String(+Number(v).toPrecision(3)) : Number(v).toFixed(c.digits));

const place = (c, v) => (c.kind === "log" ? Math.log10(v) : v);

// ---- the page without a kernel

function nearest(view, c, v) {
  const { drawn } = view;
  const at = drawn.steps[c.name].map((s) =>
    c.kind === "choice" ? (s === v ? 0 : 1) : Math.abs(place(c, s) - place(c, v)),
  );
  return at.indexOf(Math.min(...at));
}

function showDrawn(view) {
  const { model, controls, drawn, values, start } = view;
  if (!drawn) return;
  const key = drawn.whole
    ? controls.map((c) => nearest(view, c, values[c.name])).join()
    : (() => {
        const moved = controls.find((c) => values[c.name] !== start[c.name]);
        return moved ? `${moved.name},${nearest(view, moved, values[moved.name])}` : "";
      })();
  const entry = drawn.at[key];
  if (entry) placePicture(view, bytes(model.get("drawn")).slice(entry[0], entry[1]), entry[2], false);
}

function placePicture(view, data, text, error) {
  const { root, shown, caption } = view;
  if (data.length) {
    const old = view.address;
    view.address = URL.createObjectURL(new Blob([data]));
    shown.src = view.address;
    if (old) URL.revokeObjectURL(old);
  }
  caption.textContent = text;
  caption.classList.toggle("error", error);
  shown.alt = text;
  root.dataset.draws = ++view.draws;
  if (view.asked) {
    root.dataset.ms = (performance.now() - view.asked).toFixed(1);
    view.asked = 0;
  }
}

function say(view, c) {
  const { values, faces } = view;
  const face = faces[c.name];
  if (!face) return;
  if (c.kind === "choice") face.input.value = String(c.options.findIndex((o) => o[1] === values[c.name]));
  else {
    face.input.value = place(c, values[c.name]);
    face.output.textContent = word(c, values[c.name]);
  }
}

function changed(view, c, v) {
  const { model, controls, drawn, values, start, fixed } = view;
  if (v === values[c.name]) return;
  view.asked = performance.now();
  if (fixed && drawn && !drawn.whole)
    // one control at a time: the others go back to where they started
    for (const other of controls)
      if (other.name !== c.name) {
        values[other.name] = start[other.name];
        say(view, other);
      }
  values[c.name] = v;
  say(view, c);
  if (fixed) showDrawn(view);
  else {
    model.set("wanted", { ...values });
    model.save_changes();
  }
}

function buildControls(view) {
  const { controls, listen, left, faces } = view;
  controls.forEach((c, n) => {
    if (c.kind === "hidden") return;
    const id = `ssl-${Math.random().toString(36).slice(2)}-${n}`;
    make("label", "", left, { htmlFor: id, textContent: c.text });
    if (c.kind === "choice") {
      const input = make("select", "", left, { id });
      input.style.gridColumn = "2 / 4";
      for (const [i, [text]] of c.options.entries())
        make("option", "", input, { textContent: text, value: String(i) });
      listen(input, "change", () => changed(view, c, c.options[+input.value][1]));
      faces[c.name] = { input };
    } else {
      const input = make("input", "", left, {
        id,
        type: "range",
        min: place(c, c.low),
        max: place(c, c.high),
        step: c.step,
      });
      const output = make("output", "", left);
      listen(input, "input", () =>
        changed(
          view,
          c,
          c.kind === "log" ? Math.min(c.high, Math.max(c.low, 10 ** +input.value)) : +input.value,
        ),
      );
      faces[c.name] = { input, output };
    }
    faces[c.name].input.dataset.name = c.name;
    say(view, c);
  });
}

function buildButtons(view) {
  const { model, buttons, drawn, listen, left, fixed } = view;
  if (buttons.length && !fixed) {
    const presses = make("div", "presses", left);
    for (const text of buttons) {
      const button = make("button", "", presses, { type: "button", textContent: text });
      listen(button, "click", () => {
        view.asked = performance.now();
        model.send({ press: text });
      });
    }
  }
  if (fixed && drawn && !drawn.whole)
    make("div", "note", left, {
      textContent:
        "No kernel runs behind this page: one control moves at a time, the others stand at their start.",
    });
}

function followPython(view) {
  const { model, controls, values } = view;
  view.follow("values", () => {
    Object.assign(values, model.get("values"));
    for (const c of controls) say(view, c);
  });
  view.follow("turn", () => fromPython(view)); // set last of all, once for each picture
  view.later(() => {
    if (view.address) URL.revokeObjectURL(view.address);
  });
}

const fromPython = (view) =>
  placePicture(view, bytes(view.model.get("image")), view.model.get("caption"), view.model.get("failed"));

function render({ model, el }) {
  const { controls, buttons, drawn, name } = model.get("about");
  const view = open({ model, el }, "ssl-explorer", `${name} explorer`, LOOK);
  const { root } = view;
  const left = make("div", "controls", root),
    right = make("div", "result", root);
  const shown = make("img", "ssl-picture", right, { alt: "" }),
    caption = make("div", "caption ssl-caption", right);
  caption.setAttribute("aria-live", "polite");
  Object.assign(view, { model, controls, buttons, drawn, left, shown, caption });
  initialState(view);
  buildControls(view);
  buildButtons(view);
  followPython(view);
  fromPython(view);
  return view.close;
}

export default { render };
