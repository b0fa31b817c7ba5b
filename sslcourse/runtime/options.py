"""What is typed, held to what it may be: numbers of options and arguments, names, and "key=value" settings.

Number, EPOCHS, SEED ...   which numbers an option or an argument takes; the only reader of numbers
takes                      a public function whose arguments are held to such numbers
one_of                     a name out of several, whatever its case
Parser                     a command line that answers a mistake in one sentence
override                   settings that are changed by "key=value" texts
"""

from __future__ import annotations

import argparse
import difflib
import functools
import inspect
import json
import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.text import encodable, for_terminal

# ---------------------------------------------------------------------------------------------- numbers

_WHOLE = re.compile(r"[+-]?[0-9]{1,40}")
_REAL = re.compile(r"[+-]?([0-9]{1,400}\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")


@dataclass(frozen=True)
class Number:
    """Which numbers an option or an argument takes. As the `type` of an argparse option it reads a text.

    Plain digits are read, and finite numbers alone: no "nan", no "1_000", no digits of other scripts, and no
    True for 1, all of which Python's own int and float take.

    Args:
        low, high: the range, ends included.
        whole: only whole numbers; NumPy's are taken too.
        above: `low` itself is not in the range.
    """

    low: float
    high: float
    whole: bool = True
    above: bool = False

    def __str__(self) -> str:
        kind, end = ("a whole number" if self.whole else "a number"), _written(self.high)
        if self.above:
            return f"{kind} above {_written(self.low)}, at most {end}"
        return f"{kind} from {_written(self.low)} to {end}"

    def of(self, value: Any, name: str = "the value") -> Any:
        """The value as Python's int or float.

        Raises:
            CourseError: it is none of these numbers; `name` says whose value it is.
        """
        wrong = CourseError(f"{name}={_short(value)}; use {self}")
        # A bool is an int to Python, a text of one digit has no __index__, and an array of one number has.
        if (
            isinstance(value, (bool, str, bytes))
            or _axes(value)
            or "bool" in str(getattr(value, "dtype", ""))
        ):
            raise wrong
        try:
            number = operator.index(value) if self.whole else float(value)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            raise wrong from None
        if not self.whole and type(value) is int:
            number = value  # as it was written: 16 frames a second are no other than 16.0, and print shorter
        return self._held(number, wrong)

    def read(self, text: str, name: str = "the value") -> Any:
        """The number that a text writes.

        Raises:
            CourseError: it writes none, or another than these.
        """
        wrong = CourseError(f"{name}: {_short(text)} is not {self}")
        if not (_WHOLE if self.whole else _REAL).fullmatch(text):
            raise wrong
        return self._held(int(text) if self.whole else float(text), wrong)

    def _held(self, number, wrong: CourseError):
        if not self.low <= number <= self.high:  # NaN is in no range
            raise wrong
        if self.above and number == self.low:
            raise wrong
        return number

    def __call__(self, text: str):
        try:
            return self.read(text)
        except CourseError:
            raise argparse.ArgumentTypeError(f"{_short(text)} is not {self}") from None


def _axes(value: Any) -> int:
    return int(getattr(value, "ndim", 0) or 0)


def _written(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:,g}"


def _short(value: Any) -> str:
    text = encodable(repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


EPOCHS = Number(1, 1_000_000)
BATCH = Number(1, 10_000_000)
RATE_OF_LEARNING = Number(0, 10_000.0, whole=False, above=True)
SEED = Number(0, 2**32 - 1)  # what NumPy and scikit-learn take, too
SEEDS = Number(1, 1000)
COUNT = Number(1, 2**40)  # of pictures, films, steps
PIXELS = Number(4, 4096)
FRAMES = Number(0, 1000.0, whole=False, above=True)  # a second
HERTZ = Number(100, 192_000)  # samples of a sound a second
WHOLE = Number(-(2**40), 2**40)  # whose range the function itself says
REAL = Number(-1e9, 1e9, whole=False)  # the same
POSITIVE = Number(0, 1e9, whole=False, above=True)
SECONDS = Number(0, 1e7, whole=False, above=True)
SHARE = Number(0, 1.0, whole=False)
WIDTH = Number(1, 8192)  # of a layer
SOME = Number(0, 2**40)  # how many, none included
TEMPERATURE = Number(0, 1000.0, whole=False, above=True)
FACTOR = Number(0, 1e6, whole=False)

Function = TypeVar("Function", bound=Callable[..., Any])


def takes(**ranges: Number) -> Callable[[Function], Function]:
    """A decorator: the named arguments are held to these numbers before the function runs.

    None passes where the function says that it may. What is raised is `Number.of`'s CourseError, such as
    "k=-1; use a whole number from 1 to ...".
    """

    def held(function: Function) -> Function:
        signature = inspect.signature(function)
        places = {name: i for i, name in enumerate(signature.parameters)}
        if unknown := set(ranges) - set(places):
            raise TypeError(f"{function.__name__} has no {', '.join(sorted(unknown))}")
        optional = {name for name in ranges if _may_be_none(signature.parameters[name])}

        @functools.wraps(function)
        def checked(*given, **named):
            for name, numbers in ranges.items():
                if name in named:
                    if not (named[name] is None and name in optional):
                        named[name] = numbers.of(named[name], name)
                elif places[name] < len(given):
                    at = places[name]
                    if not (given[at] is None and name in optional):
                        given = (*given[:at], numbers.of(given[at], name), *given[at + 1 :])
            return function(*given, **named)

        return checked  # type: ignore[return-value]

    return held


def _may_be_none(parameter: inspect.Parameter) -> bool:
    return parameter.default is None or re.search(r"\bNone\b", str(parameter.annotation)) is not None


# ---------------------------------------------------------------------------------------------- names


def one_of(names: Iterable[str], what: str) -> Callable[[str], str]:
    """A reader of a name out of several: SimCLR, simclr and SIMCLR are one, video-lstm is video_lstm.

    Args:
        what: is asked for, such as "method".
    """
    known = {_plain(name): name for name in names}

    def read(text: str) -> str:
        if (found := known.get(_plain(text))) is not None:
            return found
        near = difflib.get_close_matches(_plain(text), known, 1)
        meant = (
            f"; did you mean {known[near[0]]}?" if near else f"; choose one of {', '.join(known.values())}"
        )
        raise argparse.ArgumentTypeError(f"there is no {what} {_short(text)}{meant}")

    read.choices = tuple(known.values())  # type: ignore[attr-defined]
    return read


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name.casefold())


class Parser(argparse.ArgumentParser):
    """argparse's, that answers a mistake in one sentence and with exit code 2."""

    def error(self, message: str) -> NoReturn:
        told = for_terminal(message).replace("\n", "\\n").removeprefix("argument ")
        told = told if len(told) < 600 else f"{told[:300]} ... {told[-200:]}"  # a value may be of any length
        self.exit(2, f"{self.prog}: {told}; all options: {self.prog} --help\n")


# ---------------------------------------------------------------------------------------------- variables


def variable(name: str, choices: Iterable[str]) -> str | None:
    """The value of an environment variable that names one of several; None where it is not set.

    Raises:
        CourseError: it is set to something else.
    """
    wanted, known = os.environ.get(name), tuple(choices)
    if wanted is not None and wanted not in known:
        raise CourseError(f"{name}={_short(wanted)}; set it to {' or '.join(known)}, or unset it")
    return wanted


def check_variables() -> None:
    """CourseError where a variable of ours is set wrongly, also where nothing reads it just now."""
    variable("SSLCOURSE_DEVICE", ("cpu", "cuda", "mps"))
    variable("SSLCOURSE_PRECISION", ("float32", "bfloat16"))
    variable("SSLCOURSE_DISPLAY", ("notebook", "terminal", "silent"))
    threads()
    for name in ("SSLCOURSE_CACHE", "SSLCOURSE_DATA"):
        if not os.environ.get(name, name).strip():
            raise CourseError(f"{name} is set to nothing; set it to a folder, or unset it")


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int | None:
    """`SSLCOURSE_THREADS`, from 1 to the number of cores; None where it is not set."""
    wanted, most = os.environ.get("SSLCOURSE_THREADS"), cores()
    if wanted is None:
        return None
    try:
        return Number(1, most).read(wanted)
    except CourseError:
        raise CourseError(
            f"SSLCOURSE_THREADS={_short(wanted)}; this machine has {most} core{'s' * (most > 1)}: set it "
            f"to a whole number from 1 to {most}, or unset it"
        ) from None


# ---------------------------------------------------------------------------------------------- settings

_ANY_WHOLE = Number(-(2**53), 2**53)
_ANY_REAL = Number(-1e300, 1e300, whole=False)


def override(known: Mapping[str, object], changes: Iterable[str], whose: str) -> dict:
    """Settings with some of them changed by "key=value" texts, as they are typed after --set on a command
    line.

    Args:
        known: the settings as they are; their types decide how a value is read. Values of lists and dicts are
            JSON.
        whose: to be named in errors, such as "simclr".
    """
    result, seen = dict(known), set()
    for change in changes:
        key, equals, text = change.partition("=")
        shown = f"--set {_short(change)[1:-1]}"
        if not equals or key not in known:
            raise CourseError(f"{shown}: write key=value; {whose} has {', '.join(known) or 'no settings'}")
        if key in seen:
            raise CourseError(f"{shown}: {key} is set twice")
        seen.add(key)
        result[key] = _value_like(known[key], text, shown)
    return result


def _value_like(old: object, text: str, shown: str):
    """The value that a text writes, of the kind of the old one."""
    if isinstance(old, str) or old is None:
        return text
    if type(old) in (int, float):
        return (_ANY_WHOLE if type(old) is int else _ANY_REAL).read(text, shown)
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        value = text
    if not _same_kind(old, value):
        kind = "true or false" if type(old) is bool else f"JSON like {json.dumps(old)}"
        raise CourseError(f"{shown}: {_short(text)} is not {kind}")
    value = _as_written(old, value)
    return tuple(value) if isinstance(old, tuple) else value


def _as_written(old: Any, new: Any) -> Any:
    """The new value with 1.0 for 1 where the old one holds such numbers."""
    if isinstance(old, dict):
        return {key: _as_written(old.get(key), part) for key, part in new.items()}
    if isinstance(old, (list, tuple)) and old:
        return [_as_written(old[0], part) for part in new]
    return float(new) if type(old) is float else new


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _same_kind(old: Any, new: Any) -> bool:
    """Whether a list or a dict holds what the old one holds: numbers for numbers."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(_same_kind(old.get(k, v), v) for k, v in new.items())
    if isinstance(old, (list, tuple)):
        return isinstance(new, list) and bool(new) and all(_same_kind(old[0], part) for part in new if old)
    if type(old) in (int, float):
        whole_or_real = (int, float) if type(old) is float else (int,)
        return type(new) in whole_or_real and abs(new) < 1e300  # not so: NaN and infinity
    return type(new) is type(old)
