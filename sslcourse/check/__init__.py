"""Exercises that name the mistake.

    nt_xent = check("simclr.nt_xent", my_nt_xent)      correct, not yet (and why), or not attempted

`check` hands back the function to go on with: yours when it is correct, else the reference, visibly, so that a notebook always
runs to its end. `hint("simclr.nt_xent", 1)` and `solution("simclr.nt_xent")` help.

A check is made of properties that hold for any right answer. Where one fails, the answer is compared with the plausible wrong
answers, each of which has a name; the tests prove that every one of them is rejected by its own message.
"""

from sslcourse.check import simclr as _simclr  # noqa: F401 (registers its exercises)
from sslcourse.check.engine import (
    EXERCISES,
    Exercise,
    Mistake,
    NotYet,
    Result,
    check,
    examine,
    hint,
    progress,
    solution,
)

__all__ = ["EXERCISES", "Exercise", "Mistake", "NotYet", "Result", "check", "examine", "hint", "progress", "solution"]
