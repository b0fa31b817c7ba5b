"""What an exercise is, and how an answer is examined. The exercises themselves stand beside this file, one
module per chapter.
"""

from __future__ import annotations

import dis
import inspect
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

import torch

from sslcourse.runtime.errors import CourseError

MARKS = {"correct": "✓", "not yet": "✗", "not attempted": "…"}


class NotYet(Exception):
    """The answer is wrong; the text says how. With `expected` and `got` it ends with both values."""

    def __init__(self, text: str, expected: object = None, got: object = None):
        super().__init__(
            text if expected is None and got is None else f"{text}: expected {expected}, got {got}"
        )
        self.expected, self.got = expected, got


class AnswerError(Exception):
    """An answer that runs in another process raised; the text is its error as `described` there."""


@dataclass(frozen=True)
class Mistake:
    """A plausible wrong answer: its name, what to tell its author, and its code.

    Args:
        also: the same mistake made in other ways, where these give other values.
        recognise: of an answer (and the seed, if it takes two arguments), whether it makes this mistake; for
            mistakes that can be made in too many ways to list.
    """

    name: str
    message: str
    wrong: Callable
    also: Sequence[Callable] = ()
    recognise: Callable[..., bool] | None = None


@dataclass(frozen=True)
class Exercise:
    """A function that a student writes.

    Args:
        name: "chapter.function".
        reference: the right answer that `check` goes on with; `solution` shows it, or the text in `shown`.
        properties: of an answer (and the seed of the inputs, if it takes two arguments); raises NotYet where
            a property of right answers does not hold. Inputs that depend on the seed cannot be learned by
            heart.
        mistakes: plausible wrong answers; the first that an answer is the `same` as gives its name.
        same: of two answers (and the seed, if it takes three arguments): do they behave alike?
        hints: from a nudge to nearly the answer.
        picture: of an answer (and the seed, if it takes two arguments): a `show.Picture` of target against
            answer.
        apart: whether the grader can ask the answer from another process, because tensors and other plain
            data are all that it is handed. Where it is handed functions, the grader must judge it in the
            answer's own process, and says so.
    """

    name: str
    reference: Callable
    properties: Callable[..., None]
    mistakes: Sequence[Mistake]
    same: Callable[..., bool]
    hints: Sequence[str]
    picture: Callable[..., object] | None = None
    apart: bool = True


@dataclass(frozen=True)
class Result:
    """What came of a check.

    Args:
        verdict: "correct", "not yet" or "not attempted".
        mistake: the name of the mistake, where it is a known one.
        message: what to do about it; for an unknown mistake the same as `found`.
        found: what gave it away: the property that does not hold, with the value expected and the value got.
    """

    exercise: str
    verdict: str
    mistake: str | None = None
    message: str = ""
    found: str = ""

    def __str__(self):
        first = f"{MARKS[self.verdict]} {self.exercise}: {self.verdict}"
        if self.verdict == "correct":
            return first
        named = f" ({self.mistake})" if self.mistake else ""
        details = "".join(f"\n  {text}" for text in dict.fromkeys((self.found, self.message)) if text)
        return f"{first}{named}{details}\n  going on with the reference; hint('{self.exercise}', 1) helps"


# ---------------------------------------------------------------------------------------------- examining


def examine(name: str, answer: Callable, seed: int = 0) -> Result:
    """Check without printing. Another seed gives the properties other inputs: an answer that knows the values
    of seed 0 by heart fails.
    """
    exercise = _find(name)
    if answer is None or answer is ...:
        return Result(name, "not attempted", None, "there is no function yet")
    if not callable(answer):
        return Result(
            name,
            "not yet",
            "not a function",
            f"Pass the function itself, without calling it: check({name!r}, my_function).",
            f"expected a function, got {type(answer).__name__}",
        )
    if is_blank(answer):
        return Result(
            name, "not attempted", None, "the function has no body yet: it does nothing and returns None"
        )
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        try:
            with_seed(exercise.properties, answer, seed=seed)
        except NotYet as error:
            return _with_its_mistake(exercise, answer, str(error), seed)
        except AnswerError as error:
            return Result(name, "not yet", "it raises an error", str(error), str(error))
        except (Exception, SystemExit) as error:  # a student's code may raise anything: it is the answer
            if is_stub(error, answer):
                return Result(name, "not attempted", None, "the function still raises NotImplementedError")
            return Result(name, "not yet", "it raises an error", *[described(error, answer)] * 2)
    return Result(name, "correct")


def _with_its_mistake(exercise: Exercise, answer: Callable, found: str, seed: int) -> Result:
    """An answer that is not yet right, named after the first known mistake that it makes."""
    for mistake in exercise.mistakes:
        if _makes(exercise, answer, mistake, seed):
            return Result(exercise.name, "not yet", mistake.name, mistake.message, found)
    return Result(exercise.name, "not yet", None, found, found)


def with_seed(function: Callable, *answers: Callable, seed: int):
    """Call a part of an exercise, with the seed as its last argument where it takes one more than the
    answers.
    """
    wanted = len(inspect.signature(function).parameters)
    return function(*answers, seed) if wanted > len(answers) else function(*answers)


def _makes(exercise: Exercise, answer: Callable, mistake: Mistake, seed: int) -> bool:
    if mistake.recognise is not None and _holds(mistake.recognise, answer, seed=seed):
        return True
    return any(_holds(exercise.same, answer, wrong, seed=seed) for wrong in (mistake.wrong, *mistake.also))


def _holds(question: Callable, *answers: Callable, seed: int) -> bool:
    try:
        torch.manual_seed(seed)
        return bool(with_seed(question, *answers, seed=seed))
    except Exception:  # an answer that breaks on this input is not this mistake
        return False


def by_behaviour(behaviour: Callable[[Callable, int], Mapping]) -> Callable[[Callable, Callable, int], bool]:
    """A `same` for exercises whose answers are described rather than compared value by value: equal
    descriptions are alike.

    An answer is described once, however many mistakes it is held against.
    """
    known: dict[tuple[Callable, int], Mapping] = {}
    latest: dict[tuple[Callable, int], Mapping] = {}

    def describe(function: Callable, seed: int, kept: dict) -> Mapping:
        if (function, seed) not in kept:
            torch.manual_seed(seed)
            kept[function, seed] = behaviour(function, seed)
        return kept[function, seed]

    def same(answer: Callable, wrong: Callable, seed: int) -> bool:
        if (answer, seed) not in latest:
            # a notebook redefines its function again and again; the old ones should not stay alive
            latest.clear()
        return describe(answer, seed, latest) == describe(wrong, seed, known)

    return same


def _nothing():
    pass


def _steps(function: Callable) -> list[tuple]:
    quiet = {"RESUME", "NOP", "CACHE", "COPY_FREE_VARS", "MAKE_CELL"}
    return [(i.opname, i.argval) for i in dis.get_instructions(function) if i.opname not in quiet]


def is_blank(answer: Callable) -> bool:
    """Whether a function has nothing in its body: `...`, `pass`, a docstring, or only `return None`."""
    function = inspect.unwrap(answer)
    return hasattr(function, "__code__") and _steps(function) == _steps(_nothing)


def is_stub(error: BaseException, answer: Callable) -> bool:
    """Whether an error is the `raise NotImplementedError` of an exercise, and not one of torch's for an
    operation that it lacks.
    """
    if not isinstance(error, NotImplementedError) or error.__traceback__ is None:
        return False
    last = list(traceback.walk_tb(error.__traceback__))[-1][0]
    own = getattr(inspect.unwrap(answer), "__globals__", last.f_globals)
    names = {i.offset: i.opname for i in dis.get_instructions(last.f_code)}
    raised = names.get(_last_instruction(error.__traceback__))
    return last.f_globals is own and raised == "RAISE_VARARGS"


def _last_instruction(step: TracebackType) -> int:
    """Where in its function the error was raised: the offset of an instruction."""
    while step.tb_next is not None:
        step = step.tb_next
    return step.tb_lasti


def described(error: BaseException, answer: Callable) -> str:
    """An error as one line: its type, its text, and the student's own line that led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    file = getattr(getattr(inspect.unwrap(answer), "__code__", None), "co_filename", None)
    at = ([f for f in frames if f.filename == file] or frames)[-1:]
    return f"{type(error).__name__}: {error}" + "".join(f" (line {f.lineno}: {f.line})" for f in at)


# ---------------------------------------------------------------------------------------------- in a notebook


@dataclass
class _Record:
    """What happened to an exercise in this session."""

    verdict: str = "not attempted"
    mistake: str | None = None
    tries: int = 0
    met: list[str] = field(default_factory=list)
    hints: set[int] = field(default_factory=set)
    solved_for: bool = False  # the solution was shown


_records: dict[str, _Record] = {}


def check(name: str, answer: Callable) -> Callable:
    """Print what `examine` finds and return the function to go on with: the answer if it is correct, else the
    reference.

    In a notebook a picture of target against answer follows where the exercise has one and the answer is not
    yet right."""
    result = examine(name, answer)
    record = _records.setdefault(name, _Record())
    record.verdict, record.mistake = result.verdict, result.mistake
    record.tries += result.verdict != "not attempted"
    if result.verdict == "not yet" and (result.mistake or "another mistake") not in record.met:
        record.met.append(result.mistake or "another mistake")
    print(result)
    if result.verdict == "not yet":
        _show_picture(_find(name), answer)
    return answer if result.verdict == "correct" else _find(name).reference


def _show_picture(exercise: Exercise, answer: Callable) -> None:
    from sslcourse.widgets.live import choose_backend

    if exercise.picture is None or choose_backend() != "notebook":
        return
    from IPython.display import display

    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            picture = with_seed(exercise.picture, answer, seed=0)
    except Exception as error:  # the answer may break on any input; its verdict stands without a picture
        print(f"  (no picture: drawing this answer raised {type(error).__name__}: {error})")
        return
    display(picture)


def progress():
    """What has been checked in this session, as a table: verdict, tries, mistakes met, hints used."""
    from sslcourse import show

    rows = []
    for name, r in _records.items():
        used = [*map(str, sorted(r.hints)), *["solution"] * r.solved_for]
        rows.append(
            {
                "exercise": name,
                "verdict": f"{MARKS[r.verdict]} {r.verdict}",
                "tries": r.tries,
                "mistakes met": ", ".join(r.met),
                "hints used": ", ".join(used),
            }
        )
    right = sum(r.verdict == "correct" for r in _records.values())
    caption = f"{right} of {len(rows)} exercises correct" if rows else "nothing has been checked yet"
    return show.table(rows, ["exercise", "verdict", "tries", "mistakes met", "hints used"], caption=caption)


def hint(name: str, number: int = 1) -> None:
    """Print a hint, from a nudge (1) to nearly the answer."""
    hints = _find(name).hints
    if not 1 <= number <= len(hints):
        raise CourseError(f"hint {number}; {name} has hints 1 to {len(hints)}")
    _records.setdefault(name, _Record()).hints.add(number)
    print(f"hint {number} of {len(hints)}: {hints[number - 1]}")


def solution(name: str) -> None:
    """Print code that solves an exercise: the idea alone where there is such a text, else the reference."""
    from sslcourse.check.shown import SHOWN

    source = inspect.getsource(SHOWN.get(name, _find(name).reference))
    _records.setdefault(name, _Record()).solved_for = True
    print(source)


# -------------------------------------------------------------------------------------- lessons and homework


@dataclass(frozen=True)
class Task:
    """An exercise as part of an assignment: what the student's function is called there, and its points."""

    exercise: str
    function: str
    points: float = 1


@dataclass(frozen=True)
class Assignment:
    """A notebook with exercises: a lesson, or a homework with points.

    Args:
        name: of its notebook, such as "01_simclr" or "homework_simclr".
        written: variables that hold a text for the teacher to read, with the points that it may earn.
    """

    name: str
    tasks: Sequence[Task]
    written: Mapping[str, float] = field(default_factory=dict)

    @property
    def points(self) -> float:
        """Of all tasks that are examined automatically."""
        return sum(task.points for task in self.tasks)


def verdicts(name: str) -> dict[str, str]:
    """The latest verdict of this session on each exercise of a lesson or homework."""
    return {t.exercise: _records.get(t.exercise, _Record()).verdict for t in assignment(name).tasks}


def lesson(name: str) -> None:
    """Print which exercises of a lesson are correct, not yet or not attempted; the lesson's closing line."""
    found = verdicts(name)
    right = sum(v == "correct" for v in found.values())
    lines = [f"{assignment(name).name}: {right} of {len(found)} exercises correct"]
    lines += [f"  {MARKS[verdict]} {exercise}: {verdict}" for exercise, verdict in found.items()]
    print("\n".join(lines))


def points(name: str) -> None:
    """Print the points that a homework has earned so far in this session, task by task."""
    whole, earned, lines = assignment(name), 0.0, []
    width = max(len(t.exercise) for t in whole.tasks)
    for task in whole.tasks:
        record = _records.get(task.exercise, _Record())
        got = task.points if record.verdict == "correct" else 0
        earned += got
        named = f" ({record.mistake})" if record.verdict == "not yet" and record.mistake else ""
        lines.append(
            f"  {MARKS[record.verdict]} {task.exercise:<{width}}  {got:g} of {task.points:g}  "
            f"{record.verdict}{named}"
        )
    lines += [
        f"  ? {variable:<{width}}  up to {most:g}  read by your teacher"
        for variable, most in whole.written.items()
    ]
    print("\n".join([f"{whole.name}: {earned:g} of {whole.points:g} points so far", *lines]))


# ---------------------------------------------------------------------------------- are the checkers right?


def mutations(names: Sequence[str] | None = None, seed: int = 0) -> Iterator[dict]:
    """Hand every checker its reference and every plausible wrong answer, and say what it makes of them.

    Yields rows with `exercise`, `mistake` ("none: the reference" for the right answer), `ways` in which it is
    made, `rejected` and `named` (all of them, by this mistake's own name and message), `seconds` for all
    ways."""
    for name in names or EXERCISES:
        exercise = _find(name)
        start = time.perf_counter()
        right = examine(name, exercise.reference, seed).verdict == "correct"
        yield {
            "exercise": name,
            "mistake": "none: the reference",
            "ways": 1,
            "rejected": not right,
            "named": right,
            "seconds": time.perf_counter() - start,
        }
        for mistake in exercise.mistakes:
            start = time.perf_counter()
            results = [examine(name, wrong, seed) for wrong in (mistake.wrong, *mistake.also)]
            named = all((r.mistake, r.message) == (mistake.name, mistake.message) for r in results)
            yield {
                "exercise": name,
                "mistake": mistake.name,
                "ways": len(results),
                "rejected": all(r.verdict == "not yet" for r in results),
                "named": named,
                "seconds": time.perf_counter() - start,
            }


# ---------------------------------------------------------------------------------------------- what is known

EXERCISES: dict[str, Exercise] = {}
ASSIGNMENTS: dict[str, Assignment] = {}


def register(*exercises: Exercise) -> None:
    """Make exercises known under their names; each chapter's module calls this once."""
    EXERCISES.update({e.name: e for e in exercises})


def assign(*assignments: Assignment) -> None:
    """Make lessons and homework known under the names of their notebooks; all their exercises must be
    registered.
    """
    for new in assignments:
        for task in new.tasks:
            _find(task.exercise)
        ASSIGNMENTS[new.name] = new


def assignment(name: str) -> Assignment:
    """The assignment of this name; the beginning of a name is enough where only one begins so."""
    found = [a for n, a in ASSIGNMENTS.items() if n == name] or [
        a for n, a in ASSIGNMENTS.items() if name and n.startswith(name)
    ]
    if len(found) != 1:
        raise CourseError(f"there is no assignment {name!r}; there are {', '.join(ASSIGNMENTS)}")
    return found[0]


def _find(name: str) -> Exercise:
    if name not in EXERCISES:
        raise CourseError(f"there is no exercise {name!r}; there are {', '.join(EXERCISES)}")
    return EXERCISES[name]
