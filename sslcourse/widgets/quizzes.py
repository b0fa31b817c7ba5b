"""A quiz to click: questions with choices, and for each choice why it is right or which mistake it is."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import traitlets

from sslcourse.widgets.views import View, script

LETTERS = "abcd"
BLANK = "-"  # stands for the answer to a question that was left out


class Quiz(View):
    """Questions with choices; `sslcourse.check.quiz` makes one of a lesson's.

    `view.answers` are the letters that were chosen, `view.right` counts those that are right. Where there are
    no widgets, the same questions stand as text, with what was chosen and why it is right or wrong.

    Args:
        lesson: its name, such as "01_simclr".
        questions: each with `ask`, `right` (a letter) and `choices`; each choice with `says` and `why`, a
            wrong one with its `mistake` and with the section of the lesson to `look` at.
        chosen: the choice for each question, from 0; -1 for none.
    """

    _esm = script("quiz")

    about = traitlets.Dict().tag(sync=True)
    chosen: traitlets.List = traitlets.List().tag(sync=True)

    def __init__(self, lesson: str, questions: Sequence[Mapping[str, Any]], chosen: Sequence[int]):
        super().__init__(about={"lesson": lesson, "questions": list(questions)}, chosen=list(chosen))

    @property
    def _questions(self) -> list[dict[str, Any]]:
        return self.about["questions"]

    @property
    def answers(self) -> str:
        """The letters chosen so far, such as "b a - c a"."""
        return " ".join(LETTERS[k] if k >= 0 else BLANK for k in self.chosen)

    @property
    def right(self) -> int:
        """How many questions are answered, and rightly."""
        return sum(letter == q["right"] for letter, q in zip(self.answers.split(), self._questions))

    def _verdict(self, question: Mapping[str, Any], k: int) -> str:
        choice = question["choices"][k]
        if LETTERS[k] == question["right"]:
            return f"Right. {choice['why']}"
        return f"Not so ({choice['mistake']}). {choice['why']} See “{choice['look']}”."

    def _score(self) -> str:
        of = len(self._questions)
        if all(k < 0 for k in self.chosen):
            letters = " ".join(LETTERS[i % len(LETTERS)] for i in range(of))
            return f'{of} questions. Answer with, say, quiz("{self.about["lesson"]}", answers="{letters}").'
        return f"{self.right} of {of} right."

    def __str__(self) -> str:
        lines = []
        for i, (question, chosen) in enumerate(zip(self._questions, self.chosen)):
            lines.append(f"{i + 1}. {question['ask']}")
            for k, choice in enumerate(question["choices"]):
                mark = " " if k != chosen else "✓" if LETTERS[k] == question["right"] else "✗"
                lines.append(f" {mark} {LETTERS[k]}) {choice['says']}")
            lines += [f"   {self._verdict(question, chosen)}"] * (chosen >= 0) + [""]
        return "\n".join([*lines, self._score()])

    def still(self) -> str:
        """The questions as HTML without a script: each choice opens, and says what is to be said of it."""
        parts = []
        for question, chosen in zip(self._questions, self.chosen):
            choices = "".join(
                f"<details{' open' if k == chosen else ''}>"
                f"<summary>{LETTERS[k]}) {html.escape(choice['says'])}</summary>"
                f"<p>{html.escape(self._verdict(question, k))}</p></details>"
                for k, choice in enumerate(question["choices"])
            )
            parts.append(f"<li><p>{html.escape(question['ask'])}</p>{choices}</li>")
        return f'<div class="quiz"><ol>{"".join(parts)}</ol><p>{html.escape(self._score())}</p></div>'

    def _stand_in(self) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self.still()}

    def __repr__(self):
        return f"<quiz {self.about['lesson']}: {self.right} of {len(self._questions)} right>"
