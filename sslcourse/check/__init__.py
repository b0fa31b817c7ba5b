"""Exercises that name the mistake.

    nt_xent = check("simclr.nt_xent", my_nt_xent)      correct, not yet (and why), or not attempted

`check` hands back the function to go on with: yours when it is correct, else the reference, visibly, so that
a notebook always runs to its end. `hint("simclr.nt_xent", 1)` and `solution("simclr.nt_xent")` help,
`progress()` shows what has been checked, `lesson("01_simclr")` closes a lesson, `quiz("01")` asks five
questions on it, and `points("homework_simclr")` counts what a homework has earned.

A check is made of properties that hold for any right answer. Where one fails, the answer is compared with the
plausible wrong answers, each of which has a name; the tests prove that every one of them is rejected by its
own message, and `sslcourse exercises` prints that proof."""

import importlib
import pkgutil

from sslcourse.check.engine import (
    ASSIGNMENTS,
    EXERCISES,
    Assignment,
    Exercise,
    Mistake,
    NotYet,
    Result,
    Task,
    assign,
    assignment,
    check,
    examine,
    hint,
    lesson,
    mutations,
    points,
    progress,
    register,
    solution,
    verdicts,
)
from sslcourse.check.quizzes import quiz

__all__ = [
    "ASSIGNMENTS",
    "EXERCISES",
    "Assignment",
    "Exercise",
    "Mistake",
    "NotYet",
    "Result",
    "Task",
    "assign",
    "assignment",
    "check",
    "examine",
    "hint",
    "lesson",
    "mutations",
    "points",
    "progress",
    "quiz",
    "register",
    "solution",
    "verdicts",
]

# Every chapter registers its exercises when it is loaded; a new chapter is one more file beside this one.
for _chapter in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    if _chapter not in ("engine", "grading", "levels", "quizzes", "shown"):  # no exercises stand in these
        importlib.import_module(f"{__name__}.{_chapter}")
