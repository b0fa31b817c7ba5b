"""The exercises of 90_bugs_museum: here the answer is a test, and it is examined by planting bugs.

    test_partner = check("museum.partner", my_test)   does it pass whatever is right, and fail every bug?
    matrix({"museum.partner": test_partner})          which of the planted bugs it caught, as a picture
    catches(test_partner, some_loss)                  what a test says of one implementation

An exhibit holds several right implementations, written in different ways, and several forms of one bug. A
test receives an implementation and raises AssertionError, or returns False, where its property does not hold.
Each form of a bug that a test
lets through, and each right implementation that it rejects, says what the test does not look at: that is its
    mistake's name.

Every bug is written here in our own lines; the notebook names the public cases that they stand for.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.seeds import generator

DRAWS = 3  # a test is run so often on each implementation, every time with other random numbers


# ------------------------------------------------------------------------------------------- what a test says


@dataclass(frozen=True)
class Outcome:
    """What a test said of one implementation.

    Args:
        name: of the implementation.
        bug: whether it is a planted bug; else it is right.
        said: for each draw "passes", "fails", "breaks" (another error than an assertion) or "no verdict".
        text: of the first assertion, error or odd answer.
        left: what the test left changed behind it, if anything.
    """

    name: str
    bug: bool
    said: tuple[str, ...]
    text: str = ""
    left: str = ""
    error: Exception | None = field(default=None, compare=False)

    @property
    def right(self) -> bool:
        """Whether the test said in every draw what it should."""
        return set(self.said) == {"fails" if self.bug else "passes"}

    @property
    def lucky(self) -> bool:
        """Whether it passed in some draws and failed in others."""
        return {"passes", "fails"} <= set(self.said)


def _say(test: Callable, arguments: tuple) -> tuple[str, str, Exception | None]:
    try:
        answer = test(*arguments)
    except NotImplementedError:
        raise  # an exercise that has not been attempted
    except AssertionError as error:
        return "fails", str(error), None
    except Exception as error:  # the student's test may raise anything
        return "breaks", f"{type(error).__name__}: {error}".split("\n")[0], error
    if answer is None or answer is True:
        return "passes", "", None
    if answer is False:
        return "fails", "", None
    if isinstance(answer, Tensor) and answer.dtype == torch.bool and answer.numel() == 1:
        return ("passes" if bool(answer) else "fails"), "", None
    return "no verdict", type(answer).__name__, None


def catches(test: Callable, *arguments: object) -> bool:
    """Whether a test fails on an implementation. An error other than an assertion is no verdict and is
    raised.
    """
    said, text, error = _say(test, arguments)
    if error is not None:
        raise error
    if said == "no verdict":
        raise CourseError(
            f"the test returned {text}; it should raise AssertionError, or return True or False"
        )
    return said == "fails"


@dataclass(frozen=True)
class _Said:
    """What a test said of one implementation in one draw."""

    word: str
    text: str
    left: str
    error: Exception | None


@dataclass(frozen=True)
class Exhibit:
    """One bug in several forms, beside several right ways to write the same thing.

    Args:
        name: of the exercise.
        title: of the bug.
        right, bugs: implementations by name; the first bug is the plain one, which the notebook shows.
        arguments: makes a test's arguments of an implementation, anew for each run.
        kept: of these arguments, what a test must leave as it found it.
    """

    name: str
    title: str
    right: Mapping[str, Callable]
    bugs: Mapping[str, Callable]
    arguments: Callable[[Callable], tuple] = lambda implementation: (implementation,)
    kept: Callable[[tuple], Mapping[str, object]] = lambda arguments: {}

    def specimens(self) -> Iterator[tuple[str, bool, Callable]]:
        yield from ((name, False, implementation) for name, implementation in self.right.items())
        yield from ((name, True, implementation) for name, implementation in self.bugs.items())

    def outcome(self, test: Callable, name: str, seed: int = 0) -> Outcome:
        """What a test says of one of the implementations, in several draws."""
        return self._summed_up(name, [self._drawn(test, name, seed, draw) for draw in range(DRAWS)])

    def _drawn(self, test: Callable, name: str, seed: int, draw: int) -> _Said:
        torch.manual_seed(seed * DRAWS + draw)
        arguments = self.arguments((self.bugs if name in self.bugs else self.right)[name])
        before = copy.deepcopy(self.kept(arguments))
        modes = torch.is_grad_enabled(), torch.get_default_dtype()
        try:
            word, text, error = _say(test, arguments)
            left = _changed(before, self.kept(arguments), modes)
        finally:
            torch.set_grad_enabled(modes[0])
            torch.set_default_dtype(modes[1])
        return _Said(word, text, left, error)

    def _summed_up(self, name: str, draws: Sequence[_Said]) -> Outcome:
        return Outcome(
            name,
            name in self.bugs,
            tuple(d.word for d in draws),
            next((d.text for d in draws if d.text), ""),
            next((d.left for d in draws if d.left), ""),
            next((d.error for d in draws if d.error is not None), None),
        )

    def outcomes(self, test: Callable, seed: int = 0) -> list[Outcome]:
        """What a test says of every implementation.

        They come in an order that the seed draws, all draws mixed: a test that does not look at what it is
        handed cannot know what it must say next.
        """
        runs = [(name, draw) for name, _, _ in self.specimens() for draw in range(DRAWS)]
        order = torch.randperm(len(runs), generator=generator(seed, 90)).tolist()
        said = {runs[i]: self._drawn(test, runs[i][0], seed, runs[i][1]) for i in order}
        return [
            self._summed_up(name, [said[name, draw] for draw in range(DRAWS)])
            for name, _, _ in self.specimens()
        ]


def _changed(before: Mapping[str, object], after: Mapping[str, object], modes: tuple) -> str:
    if torch.is_grad_enabled() != modes[0]:
        return "gradients are switched off afterwards"
    if torch.get_default_dtype() != modes[1]:
        return f"torch's default type is {torch.get_default_dtype()} afterwards"
    for what, value in before.items():
        now = after[what]
        same = (
            torch.equal(value, now) if isinstance(value, Tensor) and isinstance(now, Tensor) else value == now
        )
        if not same:
            return f"{what} is another afterwards"
    return ""


# ------------------------------------------------------------------------------------- what a test gets wrong

Fault = Callable[[Sequence[Outcome]], bool]


def missed(outcomes: Sequence[Outcome]) -> list[str]:
    return [o.name for o in outcomes if o.bug and "passes" in o.said]


def rejected(outcomes: Sequence[Outcome]) -> list[str]:
    return [o.name for o in outcomes if not o.bug and set(o.said) == {"fails"}]


def leaves_traces(outcomes: Sequence[Outcome]) -> bool:
    return any(o.left for o in outcomes)


def gives_no_verdict(outcomes: Sequence[Outcome]) -> bool:
    return any("no verdict" in o.said for o in outcomes)


def always_fails(outcomes: Sequence[Outcome]) -> bool:
    return all(set(o.said) == {"fails"} for o in outcomes)


def trusts_luck(outcomes: Sequence[Outcome]) -> bool:
    # too strict a test may be so by chance, too
    return any(o.lucky for o in outcomes) and not rejected(outcomes)


def breaks_on_bugs(outcomes: Sequence[Outcome]) -> bool:
    return any(o.bug and "breaks" in o.said for o in outcomes) and not rejected(outcomes)


def never_fails(outcomes: Sequence[Outcome]) -> bool:
    return not rejected(outcomes) and all(set(o.said) == {"passes"} for o in outcomes if o.bug)


EXHIBITS: dict[str, Exhibit] = {}  # filled by this folder's __init__, in the order of the lesson
