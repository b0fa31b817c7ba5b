// A quiz: questions with choices. A click, Enter, or the choice's letter answers; what is to be said of that
// choice stands below it at once. Everything was sent when the view was made, so no kernel is needed.
// data-* on the root are there for tests: right (questions answered rightly), answered, answers ("b,,a": the
// letters chosen).

const LETTERS = "abcd";

const LOOK = `
.ssl-quiz fieldset { border: 0; margin: 0 0 14px; padding: 0; min-width: 0; }
.ssl-quiz legend { font-weight: 600; padding: 0; margin: 0 0 6px; max-width: 100%; }
.ssl-quiz .choice { display: flex; gap: 8px; width: 100%; text-align: left; margin: 0 0 4px;
  padding: 5px 10px; white-space: normal; height: auto; line-height: 1.35; border-left-width: 4px; }
.ssl-quiz .choice .sign { flex: 0 0 1.2em; font-weight: 700; }
.ssl-quiz .choice.right { border-color: var(--right); }
.ssl-quiz .choice.wrong { border-color: var(--wrong); border-style: dashed; border-left-style: solid; }
.ssl-quiz .choice.right .sign { color: var(--right); }
.ssl-quiz .choice.wrong .sign { color: var(--wrong); }
.ssl-quiz .said { margin: 2px 0 0; padding: 0 0 0 12px; border-left: 4px solid transparent; }
.ssl-quiz .said.right { border-left-color: var(--right); }
.ssl-quiz .said.wrong { border-left-color: var(--wrong); }
`;

function buildQuestion(view, question, i) {
  const box = make("fieldset", "", view.root);
  make("legend", "", box, { textContent: `${i + 1}. ${question.ask}` });
  const buttons = question.choices.map((choice, k) => {
    const button = make("button", "choice", box, { type: "button" });
    const sign = make("span", "sign", button, { textContent: LETTERS[k] });
    make("span", "", button, { textContent: choice.says });
    view.listen(button, "click", () => choose(view, i, k));
    return { button, sign };
  });
  const said = make("div", "said", box);
  said.setAttribute("aria-live", "polite");
  view.listen(box, "keydown", (e) => {
    const k = LETTERS.indexOf(e.key);
    if (e.key.length !== 1 || k < 0 || k >= buttons.length || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    buttons[k].button.focus();
    choose(view, i, k);
  });
  return { question, buttons, said };
}

function choose(view, i, k) {
  const chosen = [...view.model.get("chosen")];
  chosen[i] = k;
  view.model.set("chosen", chosen);
  view.model.save_changes();
  draw(view);
}

// Up and down go from choice to choice, over the borders of questions.
function listenToArrows(view) {
  view.listen(view.root, "keydown", (e) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    const all = view.asked.flatMap(({ buttons }) => buttons.map(({ button }) => button));
    const at = all.indexOf(e.target);
    if (step === undefined || at < 0) return;
    e.preventDefault();
    (all[at + step] || all[at]).focus();
  });
}

function verdict(question, k) {
  const { why, mistake, look } = question.choices[k];
  return LETTERS[k] === question.right ? `✓ Right. ${why}` : `✗ Not so (${mistake}). ${why} See “${look}”.`;
}

function drawQuestion({ question, buttons, said }, chosen) {
  const kind = chosen < 0 ? "" : LETTERS[chosen] === question.right ? "right" : "wrong";
  buttons.forEach(({ button, sign }, k) => {
    button.setAttribute("aria-pressed", k === chosen);
    button.className = k === chosen ? `choice ${kind}` : "choice";
    sign.textContent = k !== chosen ? LETTERS[k] : kind === "right" ? "✓" : "✗";
  });
  said.className = `said ${kind}`;
  said.textContent = chosen < 0 ? "" : verdict(question, chosen);
  return kind === "right";
}

function draw(view) {
  const { model, asked, root, score, again } = view;
  const chosen = asked.map((_, i) => model.get("chosen")[i] ?? -1);
  const right = asked.filter((one, i) => drawQuestion(one, chosen[i])).length;
  const answered = chosen.filter((k) => k >= 0).length;
  score.textContent = answered ? `${right} of ${asked.length} right` : `${asked.length} questions`;
  again.disabled = !answered;
  Object.assign(root.dataset, { right, answered, answers: chosen.map((k) => LETTERS[k] ?? "").join() });
}

function render({ model, el }) {
  const { questions } = model.get("about");
  const view = open({ model, el }, "ssl-quiz", "A quiz on this lesson", LOOK);
  const { root, ink } = view;
  root.tabIndex = -1; // the buttons are what the keyboard stops at
  view.model = model;
  view.asked = questions.map((question, i) => buildQuestion(view, question, i));
  const bar = make("div", "bar", root);
  view.score = make("output", "", bar);
  view.again = make("button", "again", bar, { type: "button", textContent: "start again" });
  view.listen(view.again, "click", () => {
    model.set(
      "chosen",
      questions.map(() => -1),
    );
    model.save_changes();
    draw(view);
  });
  listenToArrows(view);
  view.follow("chosen", () => draw(view));
  view.themed(() => {
    root.style.setProperty("--right", bright("#00795A", ink()));
    root.style.setProperty("--wrong", bright("#C4441C", ink()));
  });
  draw(view);
  return view.close;
}

export default { render };
