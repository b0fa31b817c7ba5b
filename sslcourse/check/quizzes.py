"""The five questions that close a lesson.

    quiz("01")                              to click, and as text where there are no widgets
    quiz("01", answers="b a d c a")         answered: what is right, and which mistake the others are

The questions stand in `questions`, one file a lesson. They ask for what was understood, so they hold no
number that another run would change. Each wrong choice is a mistake with a name, and says which section of
the lesson to read again.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from sslcourse import widgets
from sslcourse.runtime import pages
from sslcourse.runtime.errors import CourseError

QUESTIONS = Path(__file__).parent / "questions"

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=400)]
Letter = Literal["a", "b", "c", "d"]


class Choice(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One answer, and why it is right or wrong.

    Args:
        mistake: its name, where it is wrong.
        look: the section of the lesson that helps, by its title, where it is wrong.
    """

    says: Text
    why: Text
    mistake: str = ""
    look: str = ""


class Question(msgspec.Struct, forbid_unknown_fields=True):
    """What is asked, and which of the choices is right."""

    ask: Text
    right: Letter
    choices: Annotated[list[Choice], msgspec.Meta(min_length=3, max_length=4)]


class Page(msgspec.Struct, forbid_unknown_fields=True):
    """A file of questions."""

    lesson: Text
    questions: Annotated[list[Question], msgspec.Meta(min_length=5, max_length=5)]


def lessons() -> list[str]:
    """The lessons that have a quiz."""
    return sorted(file.stem for file in QUESTIONS.glob("*.json"))


@functools.cache
def questions(lesson: str) -> Page:
    """The questions of a lesson, such as "01_simclr".

    Raises:
        pages.Unfit: the file does not have the shape of a quiz, or its key contradicts its choices.
    """
    page = msgspec.convert(pages.read(QUESTIONS / f"{lesson}.json", Page), Page)
    for number, question in enumerate(page.questions, 1):
        for letter, choice in zip(get_args(Letter), question.choices):
            named = bool(choice.mistake and choice.look)
            if named == (letter == question.right) or bool(choice.mistake) != bool(choice.look):
                raise pages.Unfit(
                    f"question {number} of {lesson}: {letter} is {'a' if named else 'no'} named mistake, and "
                    f"{question.right} should be the right answer"
                )
    return page


def _found(lesson: str) -> str:
    known = lessons()
    if isinstance(lesson, str) and lesson:
        if lesson in known:
            return lesson
        if len(fits := [name for name in known if name.startswith(lesson)]) == 1:
            return fits[0]
    raise CourseError(
        f'there is no quiz {lesson!r}; type, say, quiz("{known[0][:2]}"). There are {", ".join(known)}'
    )


def _chosen(answers: str | Iterable[str] | None, page: Page) -> list[int]:
    """The choice for each question, from 0; -1 where there is no answer."""
    if answers is None:
        return [-1] * len(page.questions)
    try:
        given = re.findall(r"[^\s,;]", answers if isinstance(answers, str) else " ".join(answers))
    except TypeError:
        given = None
    lead = f'answers={answers!r}; type a letter for each question: quiz("{page.lesson}", answers="b a d c a")'
    if given is None or len(given) != len(page.questions):
        got = "" if given is None else f", these are {len(given)}"
        raise CourseError(f"{lead}. There are {len(page.questions)} questions{got}; - leaves one out")
    found = []
    for number, (letter, question) in enumerate(zip(given, page.questions), 1):
        letters = "".join(get_args(Letter)[: len(question.choices)])
        if letter.lower() not in letters + widgets.quizzes.BLANK:
            raise CourseError(
                f"{lead}. Question {number} has the choices {', '.join(letters)}, not {letter!r}"
            )
        found.append(letters.find(letter.lower()))
    return found


def quiz(lesson: str, answers: str | Iterable[str] | None = None) -> widgets.quizzes.Quiz:
    """The quiz of a lesson: five questions to click, or to answer by letters.

    Args:
        lesson: its name, or the beginning of it: "01".
        answers: one letter for each question, such as "b a d c a"; - leaves a question out.

    Returns:
        A view. `print(quiz("01"))` shows it as text.

    Raises:
        CourseError: there is no such quiz, or the answers do not fit it; the text says what to type.
    """
    page = questions(_found(lesson))
    chosen = _chosen(answers, page)
    return widgets.quizzes.Quiz(page.lesson, msgspec.to_builtins(page.questions), chosen)
