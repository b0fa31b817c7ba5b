"""Exercises that name the mistake.

    nt_xent = check("simclr.nt_xent", my_nt_xent)      correct, not yet (and why), or not attempted

`check` hands back the function to go on with: yours when it is correct, else the reference, visibly, so that
a notebook always runs to its end. `hint("simclr.nt_xent", 1)` and `solution("simclr.nt_xent")` help,
`progress()` shows what has been checked, `lesson("01_simclr")` closes a lesson and
`points("homework_simclr")` counts what a homework has earned.

A check is made of properties that hold for any right answer. Where one fails, the answer is compared with the
plausible wrong answers, each of which has a name; the tests prove that every one of them is rejected by its
own message, and `sslcourse exercises` prints that proof."""

from sslcourse.check import (
    avts as _avts,  # noqa: F401 (registers its exercises)
    bigan as _bigan,  # noqa: F401
    byol as _byol,  # noqa: F401
    clip as _clip,  # noqa: F401
    clusters as _clusters,  # noqa: F401
    colorization as _colorization,  # noqa: F401
    dpc as _dpc,  # noqa: F401
    homework_simclr as _homework_simclr,  # noqa: F401
    jigsaw as _jigsaw,  # noqa: F401
    museum as _museum,  # noqa: F401
    simclr as _simclr,  # noqa: F401
    single_image as _single_image,  # noqa: F401
    video_lstm as _video_lstm,  # noqa: F401
    wall as _wall,  # noqa: F401
    xdc as _xdc,  # noqa: F401
)
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
    "register",
    "solution",
    "verdicts",
]
