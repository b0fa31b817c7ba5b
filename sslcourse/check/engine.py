"""What an exercise is, and how an answer is examined. The exercises themselves stand beside this file, one module per chapter."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from sslcourse.common import CourseError


class NotYet(Exception):
    """The answer is wrong; the text says how."""


@dataclass(frozen=True)
class Mistake:
    """A plausible wrong answer: its name, what to tell its author, and its code."""

    name: str
    message: str
    wrong: Callable


@dataclass(frozen=True)
class Exercise:
    name: str
    reference: Callable
    properties: Callable[[Callable], None]  # raises NotYet
    mistakes: Sequence[Mistake]
    same: Callable[[Callable, Callable], bool]  # do two answers behave alike?
    hints: Sequence[str]


@dataclass(frozen=True)
class Result:
    """What came of a check: `verdict` is "correct", "not yet" or "not attempted"."""

    exercise: str
    verdict: str
    mistake: str | None = None
    message: str = ""

    def __str__(self):
        mark = {"correct": "✓", "not yet": "✗", "not attempted": "…"}[self.verdict]
        first = f"{mark} {self.exercise}: {self.verdict}"
        if self.verdict == "correct":
            return first
        named = f" ({self.mistake})" if self.mistake else ""
        return f"{first}{named}\n  {self.message}\n  going on with the reference; hint('{self.exercise}', 1) helps"


def examine(name: str, answer: Callable) -> Result:
    """Check without printing."""
    exercise = _find(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            exercise.properties(answer)
        except NotImplementedError:
            return Result(name, "not attempted", None, "the function still raises NotImplementedError")
        except NotYet as error:
            for mistake in exercise.mistakes:
                if _alike(exercise, answer, mistake.wrong):
                    return Result(name, "not yet", mistake.name, mistake.message)
            return Result(name, "not yet", None, str(error))
        except Exception as error:  # the student's code may raise anything: it is the answer, not our fault
            last = traceback.extract_tb(error.__traceback__)[-1]
            return Result(name, "not yet", "it raises an error", f"{type(error).__name__}: {error} (line {last.lineno}: {last.line})")
    return Result(name, "correct")


def _alike(exercise: Exercise, answer: Callable, wrong: Callable) -> bool:
    try:
        return exercise.same(answer, wrong)
    except Exception:  # an answer that breaks on this input is not this mistake
        return False


_done: dict[str, str] = {}


def check(name: str, answer: Callable) -> Callable:
    """Print what `examine` finds and return the function to go on with: the answer if it is correct, else the reference."""
    result = examine(name, answer)
    _done[name] = result.verdict
    print(result)
    return answer if result.verdict == "correct" else _find(name).reference


def progress() -> str:
    """What has been checked in this session."""
    if not _done:
        return "nothing has been checked yet"
    right = sum(v == "correct" for v in _done.values())
    return f"{right} of {len(_done)} exercises correct: " + ", ".join(f"{n} {v}" for n, v in _done.items())


def hint(name: str, number: int = 1) -> None:
    """Print a hint, from a nudge (1) to nearly the answer."""
    hints = _find(name).hints
    if not 1 <= number <= len(hints):
        raise CourseError(f"hint {number}; {name} has hints 1 to {len(hints)}")
    print(f"hint {number} of {len(hints)}: {hints[number - 1]}")


def solution(name: str) -> None:
    """Print the reference's source."""
    print(inspect.getsource(_find(name).reference))


EXERCISES: dict[str, Exercise] = {}


def register(*exercises: Exercise) -> None:
    """Make exercises known under their names; each chapter's module calls this once."""
    EXERCISES.update({e.name: e for e in exercises})


def _find(name: str) -> Exercise:
    if name not in EXERCISES:
        raise CourseError(f"there is no exercise {name!r}; there are {', '.join(EXERCISES)}")
    return EXERCISES[name]
