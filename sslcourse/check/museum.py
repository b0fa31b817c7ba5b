"""The exercises of 90_bugs_museum: here the answer is a test, and it is examined by planting bugs.

    test_partner = check("museum.partner", my_test)     does it pass every right implementation and fail every planted bug?
    matrix({"museum.partner": test_partner})            which of the planted bugs it caught, as a picture
    catches(test_partner, some_loss)                    what a test says of one implementation

An exhibit holds several right implementations, written in different ways, and several forms of one bug. A test receives an
implementation and raises AssertionError, or returns False, where its property does not hold. Each form of a bug that a test
lets through, and each right implementation that it rejects, says what the test does not look at: that is its mistake's name.

Every bug is written here in our own lines; the notebook names the public cases that they stand for.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslcourse.augment import as_float, brightness, colour_jitter, crop, crop_and_flip, random_boxes, simclr_view
from sslcourse.check.engine import Assignment, Exercise, Mistake, NotYet, Task, assign, register
from sslcourse.common import CourseError
from sslcourse.features import frozen
from sslcourse.methods.simclr import nt_xent

DRAWS = 3  # a test is run so often on each implementation, every time with other random numbers


# ---------------------------------------------------------------------------------------------- what a test says


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
    """Whether a test fails on an implementation. An error other than an assertion is no verdict and is raised."""
    said, text, error = _say(test, arguments)
    if error is not None:
        raise error
    if said == "no verdict":
        raise CourseError(f"the test returned {text}; it should raise AssertionError, or return True or False")
    return said == "fails"


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
        bug = name in self.bugs
        said, first, left, failure = [], "", "", None
        for draw in range(DRAWS):
            torch.manual_seed(seed * DRAWS + draw)
            arguments = self.arguments((self.bugs if bug else self.right)[name])
            before = copy.deepcopy(self.kept(arguments))
            modes = torch.is_grad_enabled(), torch.get_default_dtype()
            try:
                word, text, error = _say(test, arguments)
                left = left or _changed(before, self.kept(arguments), modes)
            finally:
                torch.set_grad_enabled(modes[0])
                torch.set_default_dtype(modes[1])
            said.append(word)
            first, failure = first or text, failure or error
        return Outcome(name, bug, tuple(said), first, left, failure)

    def outcomes(self, test: Callable, seed: int = 0) -> list[Outcome]:
        """What a test says of every implementation."""
        return [self.outcome(test, name, seed) for name, _, _ in self.specimens()]


def _changed(before: Mapping[str, object], after: Mapping[str, object], modes: tuple) -> str:
    if torch.is_grad_enabled() != modes[0]:
        return "gradients are switched off afterwards"
    if torch.get_default_dtype() != modes[1]:
        return f"torch's default type is {torch.get_default_dtype()} afterwards"
    for what, value in before.items():
        now = after[what]
        same = torch.equal(value, now) if isinstance(value, Tensor) and isinstance(now, Tensor) else value == now
        if not same:
            return f"{what} is another afterwards"
    return ""


# ---------------------------------------------------------------------------------------------- what a test gets wrong

Fault = Callable[[Sequence[Outcome]], bool]


def _missed(outcomes: Sequence[Outcome]) -> list[str]:
    return [o.name for o in outcomes if o.bug and "passes" in o.said]


def _rejected(outcomes: Sequence[Outcome]) -> list[str]:
    return [o.name for o in outcomes if not o.bug and set(o.said) == {"fails"}]


def _leaves_traces(outcomes: Sequence[Outcome]) -> bool:
    return any(o.left for o in outcomes)


def _gives_no_verdict(outcomes: Sequence[Outcome]) -> bool:
    return any("no verdict" in o.said for o in outcomes)


def _always_fails(outcomes: Sequence[Outcome]) -> bool:
    return all(set(o.said) == {"fails"} for o in outcomes)


def _trusts_luck(outcomes: Sequence[Outcome]) -> bool:
    return any(o.lucky for o in outcomes) and not _rejected(outcomes)  # too strict a test may be so by chance, too


def _breaks_on_bugs(outcomes: Sequence[Outcome]) -> bool:
    return any(o.bug and "breaks" in o.said for o in outcomes) and not _rejected(outcomes)


def _never_fails(outcomes: Sequence[Outcome]) -> bool:
    return not _rejected(outcomes) and all(set(o.said) == {"passes"} for o in outcomes if o.bug)


def _rejects(*names: str) -> Fault:
    """It fails on right implementations: on one of these, or on any where none is named."""
    return lambda outcomes: bool(set(_rejected(outcomes)) & set(names) if names else _rejected(outcomes))


def _misses(*names: str) -> Fault:
    """It lets one of these bugs through, though not all of them."""
    return lambda outcomes: bool(set(_missed(outcomes)) & set(names)) and not _never_fails(outcomes)


def _properties_of(exhibit: Exhibit, latest: dict) -> Callable[[Callable, int], None]:
    def properties(test: Callable, seed: int) -> None:
        latest.clear()  # a notebook redefines its test again and again
        outcomes = latest[test, seed] = exhibit.outcomes(test, seed)
        for o in outcomes:
            if not o.bug and o.error is not None:
                raise o.error  # the line in which it happened says more than we could
        for o in outcomes:
            if "no verdict" in o.said:
                raise NotYet(f"it returns {o.text}; raise AssertionError where the property does not hold, or return True or False")
            if o.left:
                raise NotYet(f"it changes what it tests: {o.left} (with {o.name!r})")
        if _always_fails(outcomes):
            raise NotYet("it fails on everything, right or wrong" + (f", and says: {outcomes[0].text}" if outcomes[0].text else ""))
        for o in outcomes:
            if not o.bug and "fails" in o.said:
                how = "sometimes rejects" if o.lucky else "rejects"
                raise NotYet(f"it {how} a right implementation, {o.name!r}" + (f", and says: {o.text}" if o.text else ""))
        for o in outcomes:
            if o.bug and "breaks" in o.said:
                raise NotYet(f"on the planted bug {o.name!r} it stops with {o.text}")
        missed = [f"{o.name!r}" + " (sometimes)" * o.lucky for o in outcomes if o.bug and "passes" in o.said]
        if missed:
            raise NotYet(f"it lets {len(missed)} of {len(exhibit.bugs)} planted bugs through: {', '.join(missed)}")

    return properties


def _broken(test: Callable, how: Callable[..., object]) -> Callable:
    """The reference with something wrong about how it says what it found."""

    def wrong(*arguments):
        return how(lambda: test(*arguments))

    return wrong


def _as_value_error(test: Callable[[], None]) -> None:
    try:
        test()
    except AssertionError as error:
        raise ValueError(str(error)) from None


def _half_the_time(test: Callable[[], None]) -> None:
    if torch.initial_seed() % 2:
        test()


def _in_double_ever_after(test: Callable[[], None]) -> None:
    try:
        test()
    finally:
        torch.set_default_dtype(torch.float64)


def _without_gradients_ever_after(test: Callable[[], None]) -> None:
    try:
        test()
    finally:
        torch.set_grad_enabled(False)


def _fail(test: Callable[[], None]) -> None:
    raise AssertionError("something is wrong")


def _general_mistakes(reference: Callable, never: Sequence[Callable], never_because: str, breaks: Sequence[Callable] = (),
                      traces: Sequence[Callable] = ()) -> dict[str, tuple]:  # fmt: skip
    """The mistakes that a test of anything can make: name -> message, fault, wrong tests."""
    return {
        "changes what it tests": (
            "A test must leave everything as it found it, or it changes what runs after it. Work on copies (copy.deepcopy), give "
            "dtype=torch.float64 to the tensors that need it, and use `with torch.no_grad():` instead of a switch.",
            _leaves_traces, *traces, _broken(reference, _in_double_ever_after), _broken(reference, _without_gradients_ever_after)),
        "no verdict": (
            "A test does not measure, it decides: raise AssertionError (`assert condition, \"what is wrong\"`), or return True or False.",
            _gives_no_verdict, lambda *arguments: 0.5, lambda *arguments: torch.rand(3)),
        "always fails": (
            "A test that fails on everything catches every bug and is switched off within a week. Run it on a right implementation first.",
            _always_fails, _broken(reference, _fail), lambda *arguments: False),
        "depends on luck": (
            "With other random numbers it decides otherwise about the same code. Fix what it draws (torch.manual_seed, or a generator), or "
            "repeat until chance has no say.",
            _trusts_luck, _broken(reference, _half_the_time)),
        "another error instead of an assertion": (
            "On a planted bug it stops with an error that is no verdict: a misspelt name in the test would look the same. Find out what you "
            "would see where the property does not hold (no gradient: None; no key: missing), and assert that you do not see it.",
            _breaks_on_bugs, *breaks, _broken(reference, _as_value_error)),
        "never fails": (
            f"It passes every right implementation, and every planted bug. {never_because}",
            _never_fails, lambda *arguments: True, *never),
    }  # fmt: skip


def _exercise(exhibit: Exhibit, reference: Callable, general: Mapping[str, tuple], own: Mapping[str, tuple], hints: Sequence[str],
              first: Sequence[str] = ()) -> Exercise:  # fmt: skip
    """An exercise whose answer is a test.

    Args:
        general: what `_general_mistakes` gave.
        own: this exhibit's mistakes in order: name -> message, fault, wrong tests. Where a test makes several, the first is named.
        first: those of its own that are named even before the general ones.
    """
    latest: dict[tuple[Callable, int], Sequence[Outcome]] = {}

    def recognised(fault: Fault) -> Callable[[Callable, int], bool]:
        def recognise(test: Callable, seed: int) -> bool:
            if (test, seed) not in latest:
                latest[test, seed] = exhibit.outcomes(test, seed)
            return fault(latest[test, seed])

        return recognise

    order = {**{name: own[name] for name in first}, **general, **own}  # where a general one holds, what else the test does says little
    mistakes = [Mistake(name, message, wrong, also, recognised(fault)) for name, (message, fault, wrong, *also) in order.items()]
    EXHIBITS[exhibit.name] = exhibit
    # `recognise` sees whatever two tests could have in common, so there is nothing left for `same` to find.
    return Exercise(exhibit.name, reference, _properties_of(exhibit, latest), mistakes, lambda f, g: False, hints,
                    lambda test, seed: trial(exhibit.name, test, seed), apart=False)  # fmt: skip


EXHIBITS: dict[str, Exhibit] = {}


def _assert(condition: object, text: str = "") -> None:
    assert bool(condition), text


# ---------------------------------------------------------------------------------------------- 1. who is whose partner


def _by_loops(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    n, total = len(z1), 0
    for i in range(2 * n):
        others = torch.stack([z[i] @ z[k] for k in range(2 * n) if k != i]) / temperature
        total = total - z[i] @ z[(i + n) % (2 * n)] / temperature + torch.logsumexp(others, 0)
    return total / (2 * n)


def _interleaved(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    z = F.normalize(torch.stack([z1, z2], 1).flatten(0, 1), dim=1)  # view 1 of image 0, view 2 of image 0, view 1 of image 1, ...
    s = (z @ z.T / temperature).fill_diagonal_(float("-inf"))
    return F.cross_entropy(s, torch.arange(len(z)) ^ 1)


def _both_directions(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    return 2 * nt_xent(z1, z2, temperature)  # the authors' code adds the means of the two directions


def _other_view_only(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    s = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T / temperature
    at = torch.arange(len(z1))
    return (F.cross_entropy(s, at) + F.cross_entropy(s.T, at)) / 2


def _with_partner(partner: Callable[[int], Tensor], masked: Callable[[int], Tensor] | None = None) -> Callable:
    """NT-Xent with the partner of each of the 2n rows as told, and one entry of each row left out (itself by default)."""

    def loss(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
        z = F.normalize(torch.cat([z1, z2]), dim=1)
        s = z @ z.T / temperature
        row, target = torch.arange(len(z)), partner(len(z1))
        hidden = row if masked is None else masked(len(z1))
        s = s.index_put((row, hidden), torch.full_like(s.diagonal(), float("-inf")))
        return F.cross_entropy(s, target)

    return loss


def _paired_with_itself(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    return F.cross_entropy(z @ z.T / temperature, torch.arange(len(z)))


def _second_view_with_itself(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    n = len(z1)
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    s = z @ z.T / temperature
    s = s.index_put((torch.arange(n), torch.arange(n)), torch.full_like(s.diagonal()[:n], float("-inf")))
    return F.cross_entropy(s, torch.arange(2 * n) % n + n)  # right for the first n rows, itself for the others


def _restarting(n: int) -> Tensor:
    """Partners counted anew in every part of 16 rows: right up to eight images."""
    if n <= 8:
        return torch.arange(2 * n).roll(n)
    row = torch.arange(2 * n)
    return (row % 16 + n) % (2 * n)


PARTNER = Exhibit(
    "museum.partner",
    "positives paired with themselves",
    right={
        "the library's": nt_xent,
        "term by term": _by_loops,
        "views interleaved": _interleaved,
        "both directions added": _both_directions,
        "only the other view as candidates": _other_view_only,
    },
    bugs={
        "itself": _paired_with_itself,
        "itself, partner masked": _with_partner(lambda n: torch.arange(2 * n), lambda n: torch.arange(2 * n).roll(n)),
        "interleaved, rows stacked": _with_partner(lambda n: torch.arange(2 * n) ^ 1),
        "the next image": _with_partner(lambda n: torch.arange(2 * n).roll(n - 1)),
        "itself, in view two only": _second_view_with_itself,
        "counted anew every 16 rows": _with_partner(_restarting),
    },
)


def test_partner(loss: Callable) -> None:
    """Views that agree with their partner cost nothing, views that agree with a stranger cost a lot, for few images and for many."""
    for n in (2, 5, 20):
        z = torch.eye(n)  # n images that have nothing in common
        assert loss(z, z, 0.05) < 0.01, f"{n} perfect pairs cost {float(loss(z, z, 0.05)):.2f}"
        strangers = z.roll(1, 0)
        assert loss(z, strangers, 0.05) > 2, f"{n} pairs of strangers cost only {float(loss(z, strangers, 0.05)):.2f}"


def _falls(loss: Callable) -> None:
    torch.manual_seed(0)
    z1, z2 = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    optimizer = torch.optim.SGD([z1, z2], lr=0.5)
    start = loss(z1, z2, 0.5).item()
    for _ in range(10):
        optimizer.zero_grad()
        loss(z1, z2, 0.5).backward()
        optimizer.step()
    assert loss(z1, z2, 0.5) < start, "ten steps should lower the loss"


def _nearer_is_cheaper(loss: Callable) -> None:
    z = torch.eye(6)
    assert loss(z, z, 0.5) < loss(z, z.roll(1, 0), 0.5) - 1e-3, "perfect pairs should cost less than strangers"


def _perfect_pairs_only(loss: Callable, sizes: Sequence[int] = (2, 5, 20)) -> None:
    for n in sizes:
        assert loss(torch.eye(n), torch.eye(n), 0.05) < 0.01, "perfect pairs should cost nothing"


def _small_pairs_and_strangers(loss: Callable) -> None:
    z = torch.eye(6)
    assert loss(z, z, 0.05) < 0.01 and loss(z, z.roll(1, 0), 0.05) > 2


def _equals_the_library(loss: Callable) -> None:
    torch.manual_seed(1)
    z1, z2 = torch.randn(6, 5), torch.randn(6, 5)
    assert torch.allclose(loss(z1, z2, 0.5), nt_xent(z1, z2, 0.5)), "another value than the library's"


def _golden(loss: Callable) -> None:
    z = torch.eye(4)
    assert abs(float(loss(z, z, 0.5)) - float(nt_xent(z, z, 0.5))) < 1e-6, "not the number that I wrote down"


_PARTNER_MISTAKES = {
    "demands a value": (
        "It rejects a loss whose pairs are right. Right losses differ in scale (some add the two directions) and in their candidates (some "
        "leave out the own view), so a number, or the value of another implementation, is no property. Ask who is whose partner.",
        _rejects(), _equals_the_library, _golden),
    "only compares two sums": (
        "It asks only whether good pairs cost less than bad ones. Where half of the rows look for the right partner, they do. Which value does a "
        "loss take at a low temperature when *every* row finds its partner?",
        _misses("itself, in view two only"), _nearer_is_cheaper),
    "knows only small batches": (
        "It catches the bug in a batch of a few images and lets through one that shows only in a larger batch. Try several sizes, from 2 images to "
        "more than 8.",
        _misses("counted anew every 16 rows"), _small_pairs_and_strangers, lambda loss: _perfect_pairs_only(loss, (3,))),
    "looks at perfect pairs only": (
        "It asks that perfect pairs cost nothing, and they do where every row looks for itself and its partner is masked. Ask also that "
        "strangers cost a lot.",
        _misses("itself, partner masked"), _perfect_pairs_only),
}  # fmt: skip

_PARTNER_EXERCISE = _exercise(
    PARTNER,
    test_partner,
    _general_mistakes(
        test_partner,
        never=(_falls, lambda loss: _assert(loss(torch.randn(4, 3), torch.randn(4, 3), 0.5) > 0)),
        never_because="That a loss is finite, positive or falls during training says nothing about *who* is pulled to whom.",
    ),
    _PARTNER_MISTAKES,
    (
        "You choose z1 and z2. For which inputs do you know, without computing, whether the loss must be small or large?",
        "torch.eye(n) is a batch of n images that have nothing in common. Give it as both views; then give the second view in another order.",
        "At temperature 0.05: loss(z, z, 0.05) must be almost 0 and loss(z, z.roll(1, 0), 0.05) large, for n = 2, 5 and 20.",
    ),
)


# ---------------------------------------------------------------------------------------------- 2. gradients through a gather


def _gather(parts: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat(list(parts))


def _gather_by_stacking(parts: Sequence[Tensor], rank: int) -> Tensor:
    return torch.stack(list(parts)).flatten(0, 1)


class _Collect(torch.autograd.Function):
    """Written out as a library does it: what comes back is dealt to the processes that the rows came from."""

    @staticmethod
    def forward(ctx, *parts: Tensor) -> Tensor:
        ctx.rows = [len(p) for p in parts]
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return tuple(gradient.split(ctx.rows))


def _gather_written_out(parts: Sequence[Tensor], rank: int) -> Tensor:
    return _Collect.apply(*parts)


def _gather_into_place(parts: Sequence[Tensor], rank: int) -> Tensor:
    n = len(parts[0])
    return sum(F.pad(p, (0, 0, i * n, (len(parts) - 1 - i) * n)) for i, p in enumerate(parts))


def _gather_without_gradient(parts: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat([p.detach() for p in parts])


def _gather_own_put_back(parts: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat([p if i == rank else p.detach() for i, p in enumerate(parts)])


def _gather_one_hop(parts: Sequence[Tensor], rank: int) -> Tensor:
    live = {rank, (rank + 1) % len(parts)}
    return torch.cat([p if i in live else p.detach() for i, p in enumerate(parts)])


def _gather_first_process(parts: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat(list(parts)) if rank == 0 else _gather_without_gradient(parts, rank)


def _gather_averaged(parts: Sequence[Tensor], rank: int) -> Tensor:
    everybody = torch.cat(list(parts))
    return everybody.detach() + (everybody - everybody.detach()) / len(parts)


GATHER = Exhibit(
    "museum.gather",
    "gather without gradient",
    right={
        "one after the other": _gather,
        "stacked": _gather_by_stacking,
        "a backward pass written out": _gather_written_out,
        "each put into its place": _gather_into_place,
    },
    bugs={
        "no gradient": _gather_without_gradient,
        "own rows put back": _gather_own_put_back,
        "only to the next process": _gather_one_hop,
        "only in the first process": _gather_first_process,
        "divided by the processes": _gather_averaged,
        "own rows only": lambda parts, rank: parts[rank],
    },
)


def test_gather(gather: Callable) -> None:
    """In every process the rows of all, in order, and the whole gradient back to each of them, for two processes and for three."""
    for world in (2, 3):
        parts = [torch.randn(4, 5, requires_grad=True) for _ in range(world)]
        for rank in range(world):
            everybody = gather(parts, rank)
            assert torch.equal(everybody, torch.cat(parts)), f"process {rank} of {world} does not see the rows of all, in order"
            assert everybody.requires_grad, f"no gradient leaves process {rank} of {world}"
            weight = torch.randn_like(everybody)  # what a loss would send back: another number to each entry
            came = torch.autograd.grad((everybody * weight).sum(), parts, allow_unused=True)
            for i, (gradient, sent) in enumerate(zip(came, weight.chunk(world))):
                assert gradient is not None, f"process {i} of {world} gets no gradient from process {rank}"
                assert torch.allclose(gradient, sent), f"process {i} of {world} gets another gradient than process {rank} sent"


def _gather_values(gather: Callable) -> None:
    parts = [torch.randn(3, 2) for _ in range(3)]
    for rank in range(3):
        assert torch.equal(gather(parts, rank), torch.cat(parts)), "not the rows of all"


def _gather_gradients(world: Sequence[int] = (2, 3), ranks: Callable[[int], Sequence[int]] = range,
                      whose: Callable[[int, int], Sequence[int]] = lambda world, rank: range(world),
                      enough: Callable[[Tensor, Tensor], bool] = torch.allclose) -> Callable:  # fmt: skip
    """The reference with parts left out."""

    def test(gather: Callable) -> None:
        for w in world:
            parts = [torch.randn(3, 2, requires_grad=True) for _ in range(w)]
            for rank in ranks(w):
                everybody = gather(parts, rank)
                assert everybody.shape == (3 * w, 2) and everybody.requires_grad, "no gradient"
                weight = torch.rand_like(everybody) + 0.5
                came = torch.autograd.grad((everybody * weight).sum(), parts, allow_unused=True)
                for i in whose(w, rank):
                    assert came[i] is not None and enough(came[i], weight.chunk(w)[i]), "the gradient is wrong"

    return test


def _gather_some_gradient(gather: Callable) -> None:
    for world in (2, 3):
        for rank in range(world):
            parts = [torch.randn(3, 2, requires_grad=True) for _ in range(world)]
            everybody = gather(parts, rank)
            assert len(everybody) == 3 * world and everybody.requires_grad, "nothing comes back"
            everybody.sum().backward()
            assert any(p.grad is not None for p in parts), "nothing comes back"


def _gather_by_name(gather: Callable) -> None:
    test_gather(gather)
    parts = [torch.randn(3, 2, requires_grad=True) for _ in range(2)]
    assert "Cat" in type(gather(parts, 0).grad_fn).__name__, "it should be torch.cat"


def _gather_assuming_a_gradient(gather: Callable) -> None:
    parts = [torch.randn(3, 2, requires_grad=True) for _ in range(2)]
    everybody = gather(parts, 0)
    assert torch.equal(everybody, torch.cat(parts))
    everybody.sum().backward()
    assert all(torch.equal(p.grad, torch.ones(3, 2)) for p in parts)


_GATHER_MISTAKES = {
    "demands one way to write it": (
        "It rejects a gather that does its work, because it is written in another way. What may a caller rely on: how it is done, or what comes "
        "out and what flows back?",
        _rejects(), _gather_by_name),
    "looks at the value, not the gradient": (
        "Every process gets the right rows, so the loss is right to the last digit; the gradient is not. Send something back through the gathered "
        "rows and see where it arrives.",
        _misses("no gradient"), _gather_values),
    "looks at a process's own rows only": (
        "It asks whether some gradient arrives, or whether a process's *own* rows get theirs. That is how this bug is usually half mended: the "
        "own rows are put back, the rows of the others stay cut off. Ask for each part.",
        _misses("own rows put back"), _gather_some_gradient, _gather_gradients(whose=lambda world, rank: [rank])),
    "knows only two processes": (
        "With two processes the next one is also the last one. Test with three.",
        _misses("only to the next process"), _gather_gradients(world=(2,))),
    "looks from the first process only": (
        "It calls the gather as process 0 alone. Every process computes a loss and sends its gradient back: try each rank.",
        _misses("only in the first process"), _gather_gradients(ranks=lambda world: [0])),
    "asks whether, not how much": (
        "It is content with a gradient that is not zero. Divided by the number of processes it is not zero either, and the learning rate is "
        "silently another. Compare with what was sent.",
        _misses("divided by the processes"), _gather_gradients(enough=lambda came, sent: bool(came.abs().sum() > 0))),
}  # fmt: skip

_GATHER_EXERCISE = _exercise(
    GATHER,
    test_gather,
    _general_mistakes(
        test_gather,
        never=(lambda gather: _assert(torch.isfinite(gather([torch.randn(3, 2)] * 2, 0)).all()),),
        never_because="Finite rows of the right width come out of a broken gather too.",
        breaks=(_gather_assuming_a_gradient,),
    ),
    _GATHER_MISTAKES,
    (
        "The loss is the same with and without the bug. What else does training take from it?",
        "Make the parts with requires_grad=True, gather, multiply by random weights and sum: what should come back to part i?",
        "torch.autograd.grad((everybody * weight).sum(), parts, allow_unused=True) must be weight.chunk(world), for every rank, with 2 and 3 parts; "
        "first assert everybody.requires_grad.",
    ),
)


# ---------------------------------------------------------------------------------------------- 3. a probe on a frozen encoder


def _fit_head(features: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, others: Sequence[Tensor] = (), each_epoch: Callable = lambda: None,
              steps: int = 6) -> float:  # fmt: skip
    """Train a linear head on features(x), and `others` along with it; the accuracy on the same samples."""
    head = nn.Linear(features(x[:2]).shape[1], int(y.max()) + 1)
    optimizer = torch.optim.SGD([*head.parameters(), *others], lr=0.1)
    for _ in range(steps):
        each_epoch()
        optimizer.zero_grad()
        F.cross_entropy(head(features(x)), y).backward()
        optimizer.step()
    with torch.no_grad():
        return float((head(features(x)).argmax(1) == y).float().mean())


def _probe_features_first(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    with frozen(encoder):
        h = encoder(x)
    return _fit_head(lambda rows: h[: len(rows)], x, y)


def _probe_detached(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    modes = {m: m.training for m in encoder.modules()}
    encoder.eval()
    accuracy = _fit_head(lambda rows: encoder(rows).detach(), x, y)
    for module, mode in modes.items():
        module.training = mode
    return accuracy


def _probe_left_in_eval_mode(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    for p in encoder.parameters():
        p.requires_grad_(False)
    return _fit_head(encoder.eval(), x, y)


def _probe_copy(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    twin = copy.deepcopy(encoder).eval().requires_grad_(False)
    return _fit_head(twin, x, y)


def _probe_closed_form(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    with frozen(encoder):
        h = F.pad(encoder(x), (0, 1), value=1.0)
    weight = torch.linalg.lstsq(h, F.one_hot(y).to(h.dtype)).solution
    return float(((h @ weight).argmax(1) == y).float().mean())


def _probe_requires_grad_of_the_module(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    encoder.eval()
    encoder.requires_grad = False  # sets an attribute that nobody reads; the method is requires_grad_
    return _fit_head(encoder, x, y, [p for p in encoder.parameters() if p.requires_grad])


def _probe_statistics_drift(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    encoder.requires_grad_(False)
    return _fit_head(encoder, x, y, each_epoch=encoder.train)


def _probe_forgets_batch_norm(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    encoder.eval()
    for m in encoder.modules():
        if isinstance(m, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            m.requires_grad_(False)
    return _fit_head(encoder, x, y, [p for p in encoder.parameters() if p.requires_grad])


def _probe_dropout_goes_on(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    encoder.requires_grad_(False).train()
    for m in encoder.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.eval()
    return _fit_head(encoder, x, y)


FROZEN = Exhibit(
    "museum.frozen",
    "unfrozen backbone in the probe",
    right={
        "features first": _probe_features_first,
        "detached, modes put back": _probe_detached,
        "left in eval mode": _probe_left_in_eval_mode,
        "on a copy": _probe_copy,
        "in closed form": _probe_closed_form,
    },
    bugs={
        "trained along": _probe_requires_grad_of_the_module,
        "batch statistics drift": _probe_statistics_drift,
        "batch norm's weights learn": _probe_forgets_batch_norm,
        "dropout goes on": _probe_dropout_goes_on,
    },
)


def test_frozen(probe: Callable) -> None:
    """A probe changes no weight and no buffer of the encoder, and sees it only as it will be used: in eval mode."""
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5)).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}  # state_dict itself would change along
    modes = []
    encoder[3].register_forward_hook(lambda module, inputs, output: modes.append(module.training))
    x, y = torch.randn(40, 6) + 2, torch.arange(40) % 3  # far from the running mean, which starts at 0
    probe(encoder, x, y)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} is another after the probe"
    assert not any(modes), "the encoder was in train mode while features were read"


def _encoder_watched(what: Callable[[nn.Module], Mapping[str, Tensor]], *layers: nn.Module) -> Callable:
    """Compare only `what` before and after, on an encoder of these layers."""

    def test(probe: Callable) -> None:
        encoder = nn.Sequential(nn.Linear(6, 8), *copy.deepcopy(layers))
        before = {name: value.clone() for name, value in what(encoder).items()}
        probe(encoder, torch.randn(40, 6) + 2, torch.arange(40) % 3)
        for name, value in what(encoder).items():
            assert torch.equal(value, before[name]), f"{name} is another after the probe"

    return test


def _state_compared_with_itself(probe: Callable) -> None:
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU())
    before = encoder.state_dict()
    probe(encoder, torch.randn(40, 6) + 2, torch.arange(40) % 3)
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items()), "the encoder has changed"


def _asks_requires_grad(probe: Callable) -> None:
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU())
    probe(encoder, torch.randn(40, 6) + 2, torch.arange(40) % 3)
    assert not any(p.requires_grad for p in encoder.parameters()), "some weight still requires a gradient"


def _asks_for_the_mode(probe: Callable) -> None:
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU()).train()
    probe(encoder, torch.randn(40, 6) + 2, torch.arange(40) % 3)
    assert encoder.training, "the encoder was left in eval mode"


def _parameters(encoder: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in encoder.named_parameters()}


def _first_layer_and_statistics(encoder: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in encoder.state_dict().items() if name.startswith("0.") or "running" in name}


_FROZEN_MISTAKES = {
    "demands more than frozen": (
        "It rejects a probe that leaves the encoder alone. Features read without gradients need no requires_grad=False, and a probe may leave the "
        "encoder in eval mode. What counts is the encoder's state before and after.",
        _rejects(), _asks_requires_grad, _asks_for_the_mode),
    "does not see the batch statistics": (
        "Weights are not all that a network learns: batch normalisation keeps a running mean and variance, which move at every forward pass in train "
        "mode, without any gradient. Give the test an encoder with batch norm, data far from its statistics, and compare the whole state_dict.",
        _misses("batch statistics drift"), _encoder_watched(_parameters, nn.BatchNorm1d(8), nn.ReLU()),
        _encoder_watched(nn.Module.state_dict, nn.ReLU())),
    "compares some of the weights": (
        "The first layer, or the large matrices, are frozen; the scales and shifts of batch norm are not. Compare every entry of the state_dict.",
        _misses("batch norm's weights learn"), _encoder_watched(_first_layer_and_statistics, nn.BatchNorm1d(8), nn.ReLU())),
    "sees the state, not the mode": (
        "No weight and no buffer changes, and the probe still sees another network than the one that will be used: dropout goes on. Let the encoder "
        "tell you in which mode it was called: a forward hook that notes module.training.",
        _misses("dropout goes on"), _encoder_watched(nn.Module.state_dict, nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))),
}  # fmt: skip

_FROZEN_EXERCISE = _exercise(
    FROZEN,
    test_frozen,
    _general_mistakes(
        test_frozen,
        never=(_state_compared_with_itself,),
        never_because="A state_dict holds the tensors themselves, not copies: kept before and compared after, it is compared with itself. Clone each "
                      "value. And give the encoder something that can change.",
    ),  # fmt: skip
    _FROZEN_MISTAKES,
    (
        "What of an encoder can change although no parameter of it is in an optimizer? List its state_dict().",
        "Build a small encoder with BatchNorm1d and Dropout, clone every value of its state_dict, call the probe, compare.",
        "Put it into train mode first, give inputs far from 0, compare all entries with torch.equal, and let a forward hook on the dropout layer "
        "collect module.training: all must be False.",
    ),
)


# ---------------------------------------------------------------------------------------------- 4. selection on test


def _report_best(validation: Tensor, test: Tensor) -> tuple[int, float]:
    epoch = int(validation.argmax())
    return epoch, float(test[epoch])


def _report_latest_best(validation: Tensor, test: Tensor) -> tuple[int, float]:
    epoch = max(e for e in range(len(validation)) if validation[e] == validation.max())
    return epoch, float(test[epoch])


def _report_patient(validation: Tensor, test: Tensor, patience: int = 3) -> tuple[int, float]:
    best = 0
    for epoch in range(len(validation)):
        if validation[epoch] > validation[best]:
            best = epoch
        if epoch - best >= patience:
            break
    return best, float(test[best])


def _report_smoothed(validation: Tensor, test: Tensor) -> tuple[int, float]:
    padded = torch.cat([validation[:1], validation, validation[-1:]])
    epoch = int(padded.unfold(0, 3, 1).mean(1).argmax())
    return epoch, float(test[epoch])


def _report_last(validation: Tensor, test: Tensor) -> tuple[int, float]:
    return len(test) - 1, float(test[-1])


def _report_best_on_test(validation: Tensor, test: Tensor) -> tuple[int, float]:
    epoch = int(test.argmax())
    return epoch, float(test[epoch])


def _report_best_on_both(validation: Tensor, test: Tensor) -> tuple[int, float]:
    epoch = int((validation + test).argmax())
    return epoch, float(test[epoch])


def _report_the_highest(validation: Tensor, test: Tensor) -> tuple[int, float]:
    return int(validation.argmax()), float(test.max())


def _report_ties_by_test(validation: Tensor, test: Tensor) -> tuple[int, float]:
    epoch = max(range(len(test)), key=lambda e: (float(validation[e]), float(test[e])))
    return epoch, float(test[epoch])


def _report_among_three(validation: Tensor, test: Tensor) -> tuple[int, float]:
    short_list = validation.topk(min(3, len(validation))).indices
    epoch = int(short_list[test[short_list].argmax()])
    return epoch, float(test[epoch])


SELECTION = Exhibit(
    "museum.selection",
    "selection on the test split",
    right={
        "the best epoch": _report_best,
        "the latest of the best": _report_latest_best,
        "stops when patience ends": _report_patient,
        "the best of a running mean": _report_smoothed,
        "the last epoch": _report_last,
    },
    bugs={
        "the best on test": _report_best_on_test,
        "the best on both": _report_best_on_both,
        "the highest test score": _report_the_highest,
        "ties broken by test": _report_ties_by_test,
        "test decides among three": _report_among_three,
    },
)


def test_selection(report: Callable) -> None:
    """Another test split changes the score and never the choice; and the score is that of the chosen epoch."""
    for _ in range(30):
        validation = torch.randint(0, 5, (12,)) / 5  # with ties, as accuracies have them
        chosen = set()
        for test in torch.rand(4, 12):
            epoch, score = report(validation, test)
            chosen.add(int(epoch))
            assert abs(float(score) - float(test[epoch])) < 1e-6, f"epoch {epoch} scored {float(test[epoch]):.3f}, reported is {float(score):.3f}"
        assert len(chosen) == 1, f"with other test scores another epoch is chosen: {sorted(chosen)}"


def _tables(ties: bool, count: int = 30, epochs: int = 12) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    for _ in range(count):
        validation = torch.randint(0, 5, (epochs,)) / 5 if ties else torch.randperm(epochs) / epochs
        yield validation, torch.rand(epochs), torch.rand(epochs)


def _same_choice(report: Callable) -> None:
    for validation, first, second in _tables(ties=True):
        assert report(validation, first)[0] == report(validation, second)[0], "another choice"


def _own_score(report: Callable) -> None:
    for validation, test, _ in _tables(ties=True):
        epoch, score = report(validation, test)
        assert abs(score - float(test[epoch])) < 1e-6, "another epoch's score"


def _no_ties(report: Callable) -> None:
    for validation, first, second in _tables(ties=False):
        (one, score), (two, _) = report(validation, first), report(validation, second)
        assert one == two and abs(score - float(first[one])) < 1e-6, "another choice, or another epoch's score"


def _best_on_validation(report: Callable) -> None:
    for validation, test, _ in _tables(ties=False):
        assert report(validation, test)[0] == int(validation.argmax()), "not the best on validation"


def _one_table(report: Callable) -> None:
    validation = torch.tensor([0.1, 0.7, 0.5, 0.4, 0.3, 0.7])
    first, second = torch.tensor([0.9, 0.65, 0.8, 0.2, 0.1, 0.1]), torch.tensor([0.1, 0.2, 0.8, 0.2, 0.1, 0.65])
    (one, score), (two, _) = report(validation, first), report(validation, second)
    assert one == two and abs(score - float(first[one])) < 1e-6, "another choice, or another epoch's score"


_SELECTION_MISTAKES = {
    "demands one way to choose": (
        "It rejects a choice that never looks at the test split. Some take the best epoch, some the last of several equal ones, some stop early, "
        "some smooth, some do not choose at all. They share one property: what the test scores are makes no difference to *which* epoch is taken.",
        _rejects(), _best_on_validation),
    "checks the score, not the choice": (
        "The reported score is that of the chosen epoch. But who chose? Change the test scores and see whether the choice moves.",
        _misses("the best on test"), _own_score),
    "checks the choice, not the score": (
        "The choice never depends on the test split, yet the number that is reported is another epoch's. Compare it with test[epoch].",
        _misses("the highest test score"), _same_choice),
    "has no ties": (
        "Accuracies are shares of a few hundred pictures: two epochs are often equal, and then this bug asks the test split. Make validation scores "
        "with ties.",
        _misses("ties broken by test"), _no_ties),
    "tries too few tables": (
        "In the tables that you tried the test split was not asked, or its answer made no difference. Draw many tables, and for each of them "
        "several test splits.",
        _misses("test decides among three", "the best on both"), _one_table),
}  # fmt: skip

_SELECTION_EXERCISE = _exercise(
    SELECTION,
    test_selection,
    _general_mistakes(
        test_selection,
        never=(lambda report: _assert(0 <= report(torch.rand(9), torch.rand(9))[1] <= 1),),
        never_because="That the score is a share, and the epoch one of them, holds for a score that was chosen by the test split too.",
    ),
    _SELECTION_MISTAKES,
    (
        "You hold both lists in your hand. What may depend on the second one, and what may not?",
        "Call report(validation, test) with one validation list and several random test lists. Compare the epochs, and the score with test[epoch].",
        "torch.randint(0, 5, (12,)) / 5 has ties; thirty such lists, four torch.rand(12) for each; the set of chosen epochs has one member.",
    ),
)


# ---------------------------------------------------------------------------------------------- 5. sum instead of mean


def _distance(p: Tensor, z: Tensor) -> Tensor:
    return 2 - 2 * F.cosine_similarity(p, z, dim=1)  # (n,)


def _mean_of_distances(p: Tensor, z: Tensor) -> Tensor:
    return _distance(p, z).mean()


def _negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    return -(F.normalize(p, dim=1) * F.normalize(z, dim=1)).sum(1).mean()


def _squared_over_n(p: Tensor, z: Tensor) -> Tensor:
    return (F.normalize(p, dim=1) - F.normalize(z, dim=1)).square().sum() / len(p)


def _running_mean(p: Tensor, z: Tensor) -> Tensor:
    mean = torch.zeros((), dtype=p.dtype)
    for i, term in enumerate(_distance(p, z)):
        mean = mean + (term - mean) / (i + 1)
    return mean


def _in_chunks_rightly(p: Tensor, z: Tensor) -> Tensor:
    return sum(_distance(a, b).sum() for a, b in zip(p.split(16), z.split(16))) / len(p)


def _sum_of_distances(p: Tensor, z: Tensor) -> Tensor:
    return _distance(p, z).sum()


def _chunks_added(p: Tensor, z: Tensor) -> Tensor:
    return sum(_distance(a, b).mean() for a, b in zip(p.split(16), z.split(16)))


def _chunks_averaged(p: Tensor, z: Tensor) -> Tensor:
    return torch.stack([_distance(a, b).mean() for a, b in zip(p.split(16), z.split(16))]).mean()


MEAN = Exhibit(
    "museum.mean",
    "sum instead of mean",
    right={
        "mean of 2 - 2 cos": _mean_of_distances,
        "negative cosine": _negative_cosine,
        "squared distance over n": _squared_over_n,
        "running mean": _running_mean,
        "in chunks, over n": _in_chunks_rightly,
    },
    bugs={
        "sum": _sum_of_distances,
        "over a fixed batch size": lambda p, z: _distance(p, z).sum() / 64,
        "chunks of 16 added": _chunks_added,
        "mean of the chunks' means": _chunks_averaged,
        "mean over the dimensions too": lambda p, z: F.mse_loss(F.normalize(p, dim=1), F.normalize(z, dim=1)),
    },
)


def test_mean(loss: Callable) -> None:
    """The loss of a batch is the mean of the losses of its samples, for any size; and empty dimensions change nothing."""
    for n in (1, 2, 7, 17, 23, 40):
        p, z = torch.randn(n, 6), torch.randn(n, 6)
        whole = loss(p, z)
        each = torch.stack([loss(p[i : i + 1], z[i : i + 1]) for i in range(n)])
        assert torch.allclose(whole, each.mean(), rtol=1e-3, atol=1e-5), f"{n} samples cost {float(whole):.4f}, on average {float(each.mean()):.4f}"
        wider = loss(F.pad(p, (0, 10)), F.pad(z, (0, 10)))  # ten more dimensions, all zero: the same vectors
        assert torch.allclose(whole, wider, rtol=1e-3, atol=1e-5), f"in wider vectors they cost {float(wider):.4f}, not {float(whole):.4f}"


def _doubled(*sizes: int, equal: Callable[[Tensor, Tensor], bool] = lambda a, b: torch.allclose(a, b, rtol=1e-3, atol=1e-5)) -> Callable:
    """The same samples twice must cost the same."""

    def test(loss: Callable) -> None:
        for n in sizes:
            p, z = torch.randn(n, 6), torch.randn(n, 6)
            assert equal(loss(p, z), loss(torch.cat([p, p]), torch.cat([z, z]))), f"{n} samples, given twice, cost something else"

    return test


def _wider_and_alone(loss: Callable, equal: Callable[[Tensor, Tensor], bool]) -> None:
    for n in (37, 41, 67):
        p, z = torch.randn(n, 6), torch.randn(n, 6)
        each = torch.stack([loss(p[i : i + 1], z[i : i + 1]) for i in range(n)])
        assert equal(loss(p, z), each.mean()) and equal(loss(p, z), loss(F.pad(p, (0, 3)), F.pad(z, (0, 3)))), "not the mean"


def _samples_alone(loss: Callable) -> None:
    for n in (19, 23, 40):
        p, z = torch.randn(n, 6), torch.randn(n, 6)
        each = torch.stack([loss(p[i : i + 1], z[i : i + 1]) for i in range(n)])
        assert torch.allclose(loss(p, z), each.mean(), rtol=1e-3, atol=1e-5), "not the mean of its samples"


def _demands_the_last_digit(outcomes: Sequence[Outcome]) -> bool:
    """Of losses that differ by rounding alone it passes one and rejects another, on the same numbers."""
    same = [o.said for o in outcomes if o.name in ("mean of 2 - 2 cos", "squared distance over n", "running mean", "in chunks, over n")]
    return any(set(words) == {"passes", "fails"} for words in zip(*same))


def _one_formula(loss: Callable) -> None:
    p, z = torch.randn(20, 6), torch.randn(20, 6)
    assert torch.allclose(loss(p, z), (2 - 2 * F.cosine_similarity(p, z)).mean(), rtol=1e-3), "not 2 - 2 cos"


_MEAN_MISTAKES = {
    "demands equality to the last digit": (
        "It rejects a mean that was added up in another order: floating-point sums differ in the last digits. The bug changes the loss by a factor. "
        "Choose a tolerance between the two: torch.allclose(a, b, rtol=1e-3, atol=1e-5).",
        _demands_the_last_digit, lambda loss: _wider_and_alone(loss, torch.equal)),
    "demands one formula": (
        "It rejects a loss that is a mean. The squared distance of unit vectors is 2 - 2 cos; others minimise -cos, which has the same minimum and "
        "half the gradient. Whether it is a *mean* can be asked without knowing of what.",
        _rejects(), _one_formula),
    "knows only small batches": (
        "It catches the plain sum and lets through a loss that works in parts of 16 rows and adds the parts. Such a loss is right until the batch is "
        "larger than a part. Test larger batches too.",
        _misses("chunks of 16 added"), _doubled(4), _doubled(2, 8)),
    "knows only batches that divide evenly": (
        "The mean of the parts' means is the mean only where all parts are of one size. Test a batch that does not divide evenly, and compare it "
        "with its samples one by one.",
        _misses("mean of the chunks' means"), _doubled(16, 64)),
    "looks at the batch only": (
        "It lets through a mean over the samples *and* the dimensions: the gradient shrinks as the vectors grow. Give the same samples with a few "
        "dimensions of zeros behind.",
        _misses("mean over the dimensions too"), _samples_alone),
}  # fmt: skip

_MEAN_EXERCISE = _exercise(
    MEAN,
    test_mean,
    _general_mistakes(
        test_mean,
        never=(lambda loss: _assert(loss(z := torch.randn(9, 4), z) < loss(z, -z)),),
        never_because="A sum, too, is smallest where everything agrees. What does a mean not notice and a sum does?",
    ),
    _MEAN_MISTAKES,
    (
        "How must the loss of a batch be made up of the losses of its samples?",
        "Call the loss on each sample alone (p[i:i+1], z[i:i+1]) and compare the mean with the loss of the batch, for n from 1 to 40.",
        "Compare with torch.allclose(..., rtol=1e-3, atol=1e-5), and once more with F.pad(p, (0, 10)) and F.pad(z, (0, 10)): zeros are no news.",
    ),
    first=("demands equality to the last digit",),
)


# ---------------------------------------------------------------------------------------------- 6. batch statistics that leak

GROUP = 8  # samples that share their batch statistics: what one process of several would hold


def _in_groups(network: Callable, x: Tensor) -> Tensor:
    return torch.cat([network(part) for part in x.split(GROUP)])


def _keys_in_order(network: Callable, queries: Tensor, keys: Tensor, order: Tensor, back: bool = True) -> tuple[Tensor, Tensor]:
    k = _in_groups(network, keys[order])
    return _in_groups(network, queries), k[order.argsort()] if back else k


def _encode_shuffled(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    return _keys_in_order(network, queries, keys, torch.randperm(len(keys)))


def _encode_dealt(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    hands = math.ceil(len(keys) / GROUP)  # like cards: key 0 to the first group, key 1 to the second, ...
    return _keys_in_order(network, queries, keys, torch.argsort(torch.arange(len(keys)) % hands, stable=True))


def _encode_queries_shuffled(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    return _encode_shuffled(network, keys, queries)[::-1]


def _encode_both_shuffled(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    first, second = torch.randperm(len(keys)), torch.randperm(len(keys))
    return _in_groups(network, queries[first])[first.argsort()], _in_groups(network, keys[second])[second.argsort()]


def _encode_unshuffled(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    return _in_groups(network, queries), _in_groups(network, keys)


def _encode_shuffled_within(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    order = torch.cat([part[torch.randperm(len(part))] for part in torch.arange(len(keys)).split(GROUP)])
    return _keys_in_order(network, queries, keys, order)


def _encode_groups_moved(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    return _keys_in_order(network, queries, keys, torch.arange(len(keys)).roll(GROUP))


def _encode_same_order(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(keys))
    return _in_groups(network, queries[order])[order.argsort()], _in_groups(network, keys[order])[order.argsort()]


def _encode_last_group_stays(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    moved = max(0, len(keys) - GROUP)
    return _keys_in_order(network, queries, keys, torch.cat([torch.randperm(moved), torch.arange(moved, len(keys))]))


def _encode_not_put_back(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    return _keys_in_order(network, queries, keys, torch.randperm(len(keys)), back=False)


STATISTICS = Exhibit(
    "museum.statistics",
    "batch statistics that leak",
    right={
        "keys shuffled": _encode_shuffled,
        "keys dealt like cards": _encode_dealt,
        "queries shuffled": _encode_queries_shuffled,
        "both shuffled, each its own way": _encode_both_shuffled,
    },
    bugs={
        "not shuffled": _encode_unshuffled,
        "shuffled within groups": _encode_shuffled_within,
        "whole groups moved": _encode_groups_moved,
        "both in the same new order": _encode_same_order,
        "the last group stays together": _encode_last_group_stays,
        "keys not put back": _encode_not_put_back,
    },
)


def test_statistics(encode: Callable) -> None:
    """No key is computed among the same samples as its query, and both come back in the order in which they were given."""
    for n in (16, 64):
        one_hot = torch.eye(n)

        def crowd(x):  # a network that tells who was in its batch, as batch statistics would
            return x.sum(0, keepdim=True).expand(len(x), -1)

        q, k = encode(crowd, one_hot, one_hot)
        for i in range(n):
            assert not torch.equal(q[i], k[i]), f"query {i} of {n} and its key were computed among the same samples"
        q, k = encode(lambda x: x, one_hot, one_hot)
        assert torch.equal(q, one_hot) and torch.equal(k, one_hot), "queries and keys do not come back in their order"


def _came_back_in_order(encode: Callable) -> None:
    x = torch.randn(64, 3)
    q, k = encode(lambda part: part, x, x)
    assert torch.equal(q, x) and torch.equal(k, x), "another order"


def _was_shuffled(encode: Callable) -> None:
    seen, x = [], torch.arange(64.0)[:, None]

    def spy(part):
        seen.append(part)
        return part

    encode(spy, x, x)
    assert not torch.equal(torch.cat(seen), torch.cat([x, x])), "the network saw everything in the order given"


def _crowds(encode: Callable, n: int, every: bool) -> None:
    q, k = encode(lambda x: x.sum(0, keepdim=True).expand(len(x), -1), torch.eye(n), torch.eye(n))
    differ = (q != k).any(1)
    assert differ.all() if every else differ.any(), "computed among the same samples"


def _crowds_somewhere(encode: Callable) -> None:
    _came_back_in_order(encode)
    _crowds(encode, 64, every=False)


def _keys_move(encode: Callable) -> None:
    seen, x = [], torch.arange(64.0)[:, None]

    def spy(part):
        seen.append(part)
        return part

    encode(spy, x, x + 100)
    first = torch.cat([part for part in seen if part[0] < 100])
    assert torch.equal(first, x), "the queries must stay where they are"
    test_statistics(encode)


_STATISTICS_MISTAKES = {
    "demands one way to do it": (
        "It rejects a right way: the keys may be shuffled, or the queries, or both; at random or by a fixed rule. What counts is who shares a batch "
        "with whom.",
        _rejects(), _keys_move),
    "checks the order, not the company": (
        "Queries and keys come back in their order, which holds without any shuffling too. Use a network that tells who was in its batch.",
        _misses("not shuffled"), _came_back_in_order),
    "asks whether something was shuffled": (
        "Something was shuffled, but not the company: within its group, or together with its whole group, a key still meets the samples that its "
        "query met. Ask *among whom* a sample was computed.",
        _misses("shuffled within groups", "whole groups moved"), _was_shuffled),
    "checks the company, not the order": (
        "Key and query keep different company, yet the keys were never put back: each query would be compared with somebody else's key. Check the "
        "order with a network that returns its input.",
        _misses("keys not put back"), lambda encode: _crowds(encode, 64, every=True)),
    "is content with one": (
        "It asks whether *some* key keeps other company than its query. The last group may still be together. Ask for every one.",
        _misses("the last group stays together"), _crowds_somewhere),
}  # fmt: skip

_STATISTICS_EXERCISE = _exercise(
    STATISTICS,
    test_statistics,
    _general_mistakes(
        test_statistics,
        never=(lambda encode: _assert(encode(lambda x: x, torch.eye(16), torch.eye(16))[0].shape == (16, 16)),),
        never_because="A network that treats every sample on its own cannot see who shares a batch. Give one that looks around.",
    ),
    _STATISTICS_MISTAKES,
    (
        "You choose the network. Which network would betray who was in the batch together with a sample?",
        "Give torch.eye(n) as queries and as keys, and a network that returns the sum over its batch: every row then lists its company.",
        "crowd = lambda x: x.sum(0, keepdim=True).expand(len(x), -1); no q[i] may equal k[i] (n = 64). And with lambda x: x both must come back "
        "as they were given.",
    ),
)


# ---------------------------------------------------------------------------------------------- 7. a queue that is not saved


class _Ring(nn.Module):
    """The newest keys, written over the oldest."""

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("at", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        self.keys[(int(self.at) + torch.arange(len(keys))) % len(self.keys)] = keys
        self.at += len(keys)

    def negatives(self) -> Tensor:
        return self.keys.clone()


class _Line(nn.Module):
    """New keys in front, old ones dropped behind: no pointer to forget."""

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.register_buffer("memory", F.normalize(torch.randn(size, dim), dim=1))

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        self.memory = torch.cat([keys.flip(0), self.memory])[: len(self.memory)]

    def negatives(self) -> Tensor:
        return self.memory.clone()


class _RingOfParameters(_Ring):
    """Saved because parameters are saved; without a gradient no optimizer touches it."""

    def __init__(self, size: int, dim: int):
        super().__init__(size, dim)
        keys = self.keys
        del self.keys
        self.keys = nn.Parameter(keys, requires_grad=False)


class _RingWithExtraState(nn.Module):
    """Plain attributes, handed to the checkpoint by hand."""

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.rows, self.at = F.normalize(torch.randn(size, dim), dim=1), 0

    def push(self, keys: Tensor) -> None:
        for key in keys.detach():
            self.rows[self.at % len(self.rows)] = key
            self.at += 1

    def negatives(self) -> Tensor:
        return self.rows.clone()

    def get_extra_state(self) -> dict:
        return {"rows": self.rows, "at": self.at}

    def set_extra_state(self, state: dict) -> None:
        self.rows, self.at = state["rows"].clone(), state["at"]


class _PlainAttribute(_RingWithExtraState):
    """The same without handing anything over."""

    get_extra_state, set_extra_state = nn.Module.get_extra_state, nn.Module.set_extra_state


class _NotPersistent(_Ring):
    def __init__(self, size: int, dim: int):
        super().__init__(size, dim)
        for name, value in list(self.named_buffers()):
            self.register_buffer(name, value, persistent=False)


class _PointerForgotten(_Ring):
    def __init__(self, size: int, dim: int):
        super().__init__(size, dim)
        del self.at
        self.at = 0


class _ListOfBatches(nn.Module):
    def __init__(self, size: int, dim: int):
        super().__init__()
        self.size, self.batches = size, [F.normalize(torch.randn(size, dim), dim=1)]

    def push(self, keys: Tensor) -> None:
        self.batches.append(keys.detach())

    def negatives(self) -> Tensor:
        return torch.cat(self.batches)[-self.size :]


class _StaleBuffer(_PlainAttribute):
    """A buffer of the right name and shape is in the checkpoint: the queue as it was in the beginning."""

    def __init__(self, size: int, dim: int):
        super().__init__(size, dim)
        self.register_buffer("keys", self.rows.clone())


QUEUE_SIZE, KEY_DIM = 12, 4


def _queue_in_use(kind: Callable) -> tuple:
    queue = kind(QUEUE_SIZE, KEY_DIM)
    for _ in range(3):
        queue.push(torch.randn(5, KEY_DIM))  # 15 keys: it is full, and the next one goes into the middle
    return queue, lambda: kind(QUEUE_SIZE, KEY_DIM)


QUEUE = Exhibit(
    "museum.queue",
    "a queue that is not saved",
    right={
        "a ring of buffers": _Ring,
        "a line without a pointer": _Line,
        "a parameter without gradient": _RingOfParameters,
        "extra state": _RingWithExtraState,
    },
    bugs={
        "a plain attribute": _PlainAttribute,
        "a buffer with persistent=False": _NotPersistent,
        "the pointer is not saved": _PointerForgotten,
        "a list of batches": _ListOfBatches,
        "saved as it was in the beginning": _StaleBuffer,
    },
    arguments=_queue_in_use,
    kept=lambda arguments: {"the queue's content": arguments[0].negatives(), "the queue's mode": arguments[0].training},
)


def test_queue(queue: nn.Module, fresh: Callable) -> None:
    """A queue restored from a checkpoint holds the same keys, and goes on as the other one does."""
    running = copy.deepcopy(queue)  # the training that we are called from must not notice
    restored = fresh()
    restored.load_state_dict(copy.deepcopy(queue.state_dict()))
    for step in range(4):
        assert torch.equal(running.negatives(), restored.negatives()), f"{step} pushes after the checkpoint the queues differ"
        keys = torch.randn(5, queue.negatives().shape[1])
        running.push(keys)
        restored.push(keys)


def _restored(queue: nn.Module, fresh: Callable) -> nn.Module:
    other = fresh()
    other.load_state_dict(queue.state_dict())
    return other


def _queue_of_itself(queue: nn.Module, fresh: Callable) -> None:
    before = queue.negatives()
    queue.load_state_dict(queue.state_dict())
    assert torch.equal(queue.negatives(), before), "loading has changed it"


def _queue_copied(queue: nn.Module, fresh: Callable) -> None:
    assert torch.equal(copy.deepcopy(queue).negatives(), queue.negatives()), "another queue"


def _queue_shape(queue: nn.Module, fresh: Callable) -> None:
    assert _restored(queue, fresh).negatives().shape == queue.negatives().shape, "another shape"


def _queue_content(queue: nn.Module, fresh: Callable) -> None:
    assert torch.equal(_restored(queue, fresh).negatives(), queue.negatives()), "other keys"


def _queue_content_whole_rounds(queue: nn.Module, fresh: Callable) -> None:
    first = fresh()
    first.push(torch.randn(QUEUE_SIZE, KEY_DIM))
    second, keys = _restored(first, fresh), torch.randn(5, KEY_DIM)
    first.push(keys), second.push(keys)
    assert torch.equal(first.negatives(), second.negatives()), "other keys"


def _queue_key_named(queue: nn.Module, fresh: Callable) -> None:
    assert "keys" in queue.state_dict(), "the checkpoint has no entry 'keys'"


def _queue_some_entry(queue: nn.Module, fresh: Callable) -> None:
    shapes = [v.shape for v in queue.state_dict().values() if isinstance(v, Tensor)]
    assert queue.negatives().shape in shapes, "no tensor of the queue's shape is in the checkpoint"


def _queue_pushed_into(queue: nn.Module, fresh: Callable) -> None:
    other = _restored(queue, fresh)
    for _ in range(2):
        assert torch.equal(queue.negatives(), other.negatives()), "other keys"
        keys = torch.randn(5, KEY_DIM)
        queue.push(keys)
        other.push(keys)


def _queue_left_in_eval_mode(queue: nn.Module, fresh: Callable) -> None:
    queue.eval()
    test_queue(queue, fresh)


def _queue_entry_by_name(queue: nn.Module, fresh: Callable) -> None:
    name = "memory" if hasattr(queue, "memory") else "_extra_state" if hasattr(queue, "rows") and queue.state_dict() else "keys"
    saved = queue.state_dict()[name]
    assert torch.equal(saved["rows"] if name == "_extra_state" else saved, queue.negatives())


_QUEUE_MISTAKES = {
    "looks into the file": (
        "It rejects a queue that comes back whole, because its entry in the checkpoint has another name or form than expected. Restore it, and ask "
        "the restored one.",
        _rejects(), _queue_key_named, _queue_some_entry),
    "looks only right after loading": (
        "The keys come back, the place where the next one goes does not: the restored queue overwrites other keys than the running one. Push the "
        "same keys into both and compare again.",
        _misses("the pointer is not saved"), _queue_content, _queue_content_whole_rounds),
}  # fmt: skip

_QUEUE_EXERCISE = _exercise(
    QUEUE,
    test_queue,
    _general_mistakes(
        test_queue,
        never=(_queue_of_itself, _queue_copied, _queue_shape),
        never_because="Nothing is lost while the object lives: loading a queue into itself, or copying it, never passes through a checkpoint. Load "
                      "its state_dict into a fresh one.",
        breaks=(_queue_entry_by_name,),
        traces=(_queue_pushed_into, _queue_left_in_eval_mode),
    ),  # fmt: skip
    _QUEUE_MISTAKES,
    (
        "What does a resumed training have that the killed one had? Only what went through state_dict().",
        "restored = fresh(); restored.load_state_dict(queue.state_dict()). Then let both go on side by side, a copy in place of the queue itself.",
        "running = copy.deepcopy(queue); four times: compare running.negatives() with restored.negatives(), then push the same torch.randn(5, 4) "
        "into both.",
    ),
)


# ---------------------------------------------------------------------------------------------- 8. one augmentation for a whole batch


def _view_per_image(image: Tensor) -> Tensor:
    shifts = [torch.randint(0, x.shape[-1], (2,)).tolist() for x in image]
    return torch.stack([x.roll(shift, (1, 2)) for x, shift in zip(as_float(image), shifts)])


def _view_flips_only(image: Tensor) -> Tensor:
    x = as_float(image)
    return torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)


def _view_colours_only(image: Tensor) -> Tensor:
    return colour_jitter(as_float(image), 0.4, 0.4, 0.4, 0.1)


def _view_of(boxes: Callable[[int], int], colours: Callable[[int], int]) -> Callable:
    """Crops and brightness, with parameters drawn for so many of n images and repeated for the others."""

    def view(image: Tensor) -> Tensor:
        n, _, h, w = image.shape
        box = random_boxes(boxes(n), h, w, (0.3, 0.9), (3 / 4, 4 / 3), image.device)
        factor = torch.rand(colours(n)) + 0.4
        times = lambda x: x.repeat(math.ceil(n / len(x)), *[1] * (x.ndim - 1))[:n]
        return brightness(crop(as_float(image), times(box)), times(factor))

    return view


VIEWS = Exhibit(
    "museum.views",
    "one augmentation for a whole batch",
    right={
        "the library's": simclr_view(area=(0.3, 1.0), strength=0.5, hue_by=0.2),
        "image by image": _view_per_image,
        "crop and flip": crop_and_flip(),
        "flips only": _view_flips_only,
        "colours only": _view_colours_only,
    },
    bugs={
        "drawn once": _view_of(lambda n: 1, lambda n: 1),
        "colours drawn once": _view_of(lambda n: n, lambda n: 1),
        "drawn for half, then repeated": _view_of(lambda n: math.ceil(n / 2), lambda n: math.ceil(n / 2)),
    },
)


def test_views(view: Callable) -> None:
    """No two images of a batch always get the same view, on a picture that shows the crop and on one that shows only colours."""
    layout = torch.rand(3, 16, 16)
    flat = torch.tensor([0.7, 0.4, 0.2]).view(3, 1, 1).expand(3, 16, 16)
    for name, picture in {"layout": layout, "colours": flat}.items():
        calls = torch.stack([view(picture.repeat(8, 1, 1, 1)) for _ in range(24)])  # (24, 8, 3, 16, 16): the same picture throughout
        if not ((calls - calls[0]).abs() > 1e-3).any():
            continue  # nothing is drawn that this picture shows
        for i in range(8):
            for j in range(i):
                assert ((calls[:, i] - calls[:, j]).abs() > 1e-3).any(), f"images {j} and {i} of a batch always share their {name}"


def _differs_from_call_to_call(view: Callable) -> None:
    x = torch.rand(8, 3, 16, 16)
    calls = [view(x) for _ in range(20)]
    assert any(not torch.equal(calls[0], c) for c in calls[1:]), "nothing is drawn"


def _all_views_differ(view: Callable) -> None:
    out = view(torch.rand(3, 16, 16).repeat(8, 1, 1, 1)).flatten(1)
    assert (torch.cdist(out, out) + torch.eye(8) > 1e-3).all(), "two images of a batch have the same view"


def _not_all_like_the_first(view: Callable, pairs: Sequence[tuple[int, int]] = tuple((0, i) for i in (1, 2, 3, 5, 6, 7))) -> None:
    calls = torch.stack([view(torch.rand(3, 16, 16).repeat(8, 1, 1, 1)) for _ in range(24)])
    for i, j in pairs:
        assert ((calls[:, i] - calls[:, j]).abs() > 1e-3).any(), f"images {i} and {j} always have the same view"


def _neighbours_differ(view: Callable) -> None:
    _not_all_like_the_first(view, tuple((i, i + 1) for i in range(7)))


def _some_differ(view: Callable) -> None:
    calls = torch.stack([view(torch.rand(3, 16, 16).repeat(8, 1, 1, 1)) for _ in range(24)])
    assert ((calls - calls[:, :1]).abs() > 1e-3).any(), "all images of a batch have the same view"


def _layout_only(view: Callable) -> None:
    _not_all_like_the_first(view, tuple((i, j) for i in range(8) for j in range(i)))


_VIEWS_MISTAKES = {
    "demands that all views differ": (
        "It rejects views that are drawn for each image. Where the only choice is to mirror or not, two images of eight must agree; what they must "
        "not do is agree *always*. Call the view many times.",
        _rejects(), _all_views_differ),
    "compares too few pairs": (
        "It compares some images of the batch, and those differ. Half of the batch has the parameters of the other half. Compare every pair.",
        _misses("drawn for half, then repeated"), _not_all_like_the_first, _neighbours_differ, _some_differ),
    "looks at one picture only": (
        "Crops make all views differ, and hide that the colours are the same for all. On a picture of one colour a crop does not show: try that too, "
        "and skip it for views that change nothing there.",
        _misses("colours drawn once"), _layout_only),
}  # fmt: skip

_VIEWS_EXERCISE = _exercise(
    VIEWS,
    test_views,
    _general_mistakes(
        test_views,
        never=(_differs_from_call_to_call, lambda view: _assert(view(torch.rand(4, 3, 16, 16)).shape == (4, 3, 16, 16))),
        never_because="With one draw for the whole batch, two calls still differ. It is within a batch that nothing does.",
    ),
    _VIEWS_MISTAKES,
    (
        "Make a batch of one picture, repeated. What may the view do to its copies, and what must it not do?",
        "Call it two dozen times: calls[c, i]. Images i and j share their parameters if calls[:, i] and calls[:, j] are equal in *every* call.",
        "Do that for a random picture and for one of a single colour (tolerance 1e-3: resizing rounds); skip a picture on which no call differs from "
        "the first; compare all pairs i, j.",
    ),
)


# ---------------------------------------------------------------------------------------------- 9. a target that learns


def _small_network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))


class _Learner(nn.Module):
    """BYOL without pictures: online predicts the target's output of the other view; the target follows slowly."""

    def __init__(self):
        super().__init__()
        self.online, self.predictor = _small_network(), nn.Linear(4, 4)
        self.target = copy.deepcopy(self.online)

    def seen(self, x: Tensor) -> Tensor:
        return self.target(x).detach()

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return _mean_of_distances(self.predictor(self.online(a)), self.seen(b))

    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        return self.distance(first, second) + self.distance(second, first)

    @torch.no_grad()
    def update(self, momentum: float) -> None:
        for t, o in zip(self.target.parameters(), self.online.parameters()):
            t.mul_(momentum).add_(o, alpha=1 - momentum)


class _WithoutGraph(_Learner):
    @torch.no_grad()
    def seen(self, x: Tensor) -> Tensor:
        return self.target(x)

    @torch.no_grad()
    def update(self, momentum: float) -> None:
        torch._foreach_lerp_(list(self.target.parameters()), list(self.online.parameters()), 1 - momentum)


class _NothingRequired(_Learner):
    def __init__(self):
        super().__init__()
        self.target.requires_grad_(False)

    def seen(self, x: Tensor) -> Tensor:
        return self.target(x)


class _OtherStart(_Learner):
    """The authors' code draws the two networks' first weights independently; and here the loss is half as large."""

    def __init__(self):
        super().__init__()
        self.target = _small_network()

    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        return super().loss(first, second) / 2


class _GradientFlows(_Learner):
    def seen(self, x: Tensor) -> Tensor:
        return self.target(x)


class _OneDirection(_Learner):
    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        return self.distance(first, second) + _mean_of_distances(self.predictor(self.online(second)), self.target(first))


class _TargetIsOnline(_Learner):
    def __init__(self):
        super().__init__()
        self.target = self.online


class _MomentumTurnedRound(_Learner):
    def update(self, momentum: float) -> None:
        super().update(1 - momentum)


class _NothingHappens(_Learner):
    def update(self, momentum: float) -> None:
        for t, o in zip(self.target.parameters(), self.online.parameters()):
            t = momentum * t + (1 - momentum) * o  # a new tensor under an old name


class _HeadForgotten(_Learner):
    @torch.no_grad()
    def update(self, momentum: float) -> None:
        for t, o in zip(self.target[:-1].parameters(), self.online[:-1].parameters()):
            t.lerp_(o, 1 - momentum)


TARGET = Exhibit(
    "museum.target",
    "a target that learns, or stands still",
    right={
        "detached": _Learner,
        "without a graph": _WithoutGraph,
        "no weight requires a gradient": _NothingRequired,
        "starts elsewhere": _OtherStart,
    },
    bugs={
        "the gradient flows into it": _GradientFlows,
        "in one direction it flows": _OneDirection,
        "it is the online network itself": _TargetIsOnline,
        "the momentum turned round": _MomentumTurnedRound,
        "the update changes nothing": _NothingHappens,
        "the head is forgotten": _HeadForgotten,
    },
    arguments=lambda kind: (kind(),),
)


def test_target(learner: nn.Module) -> None:
    """A step of the optimizer moves the online network and not the target; an update moves the target by 1 - momentum of the way."""
    weights = lambda network: [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    for momentum in (0.75, 1.0, 0.0):
        target, online = weights(learner.target), weights(learner.online)
        optimizer.zero_grad()
        learner.loss(torch.randn(16, 6), torch.randn(16, 6)).backward()
        optimizer.step()
        assert any(not torch.equal(a, b) for a, b in zip(online, weights(learner.online))), "the online network does not learn"
        assert all(torch.equal(a, b) for a, b in zip(target, weights(learner.target))), "the optimizer has moved the target"
        online = weights(learner.online)
        learner.update(momentum)
        for t, o, now in zip(target, online, weights(learner.target)):
            assert torch.allclose(now, momentum * t + (1 - momentum) * o, atol=1e-6), f"update({momentum}) leads elsewhere"


def _target_moved(learner: nn.Module, momentum: float, parts: slice = slice(None)) -> bool:
    """Whether update(momentum) leads where it should, after a step."""
    optimizer = torch.optim.SGD(learner.online.parameters(), lr=0.1)
    old = [p.detach().clone() for p in learner.target[parts].parameters()]
    learner.loss(torch.randn(16, 6), torch.randn(16, 6)).backward()
    optimizer.step()
    new = [p.detach().clone() for p in learner.online[parts].parameters()]
    is_online = learner.target is learner.online  # then what was old has moved too
    learner.update(momentum)
    return all(is_online or torch.allclose(p, momentum * a + (1 - momentum) * b, atol=1e-6)
               for p, a, b in zip(learner.target[parts].parameters(), old, new))  # fmt: skip


def _no_gradient_in_target(learner: nn.Module) -> None:
    learner.loss(torch.randn(16, 6), torch.randn(16, 6)).backward()
    assert any(p.grad is not None for p in learner.online.parameters()), "the online network gets no gradient"
    assert all(p.grad is None or not p.grad.any() for p in learner.target.parameters()), "the target gets a gradient"


def _update_only(learner: nn.Module) -> None:
    assert _target_moved(learner, 0.9), "the update leads elsewhere"


def _halfway(learner: nn.Module) -> None:
    _no_gradient_in_target(learner)
    assert _target_moved(learner, 0.5), "the update leads elsewhere"


def _moves_at_all(learner: nn.Module) -> None:
    _no_gradient_in_target(learner)
    torch.optim.SGD(learner.online.parameters(), lr=0.1).step()
    before = [p.detach().clone() for p in learner.target.parameters()]
    learner.update(0.9)
    assert any(not torch.equal(a, b) for a, b in zip(before, learner.target.parameters())), "the target stands still"


def _first_layer(learner: nn.Module) -> None:
    _no_gradient_in_target(learner)
    assert _target_moved(learner, 0.9, slice(0, 1)), "the update leads elsewhere"


def _nothing_required(learner: nn.Module) -> None:
    assert not any(p.requires_grad for p in learner.target.parameters()), "the target's weights require gradients"


def _loss_in_range(learner: nn.Module) -> None:
    assert 0 <= learner.loss(torch.randn(16, 6), torch.randn(16, 6)) <= 8, "a sum of two squared distances of unit vectors"


_TARGET_MISTAKES = {
    "demands one way to stop the gradient": (
        "It rejects a target that gets no gradient, because its weights *could*. detach, no_grad and requires_grad_(False) all do. Run backward, or "
        "a step of the optimizer, and see whether the target has moved.",
        _rejects(), _nothing_required),
    "checks the update, not the gradient": (
        "update() does what it should, and the loss sends its gradient into the target all the same: both networks run towards each other, and the "
        "shortest way is collapse. Take a step of an optimizer over learner.parameters() and look at the target.",
        _misses("the gradient flows into it", "in one direction it flows"), _update_only),
    "checks the gradient, not the update": (
        "The target gets no gradient, and nothing else either: update() has no effect. After a step it must lie at momentum * target + "
        "(1 - momentum) * online.",
        _misses("the update changes nothing"), _no_gradient_in_target),
    "takes a momentum that hides the mistake": (
        "The momentum is turned round: the target jumps to the online network instead of following slowly. Halfway both are the same, and that it "
        "moves says nothing about how far. Try 0.75, 1 and 0, and compute where it should be.",
        _misses("the momentum turned round"), _halfway, _moves_at_all),
    "looks at some of the weights": (
        "The first layers follow, the last one is forgotten. Compare all parameters.",
        _misses("the head is forgotten"), _first_layer),
}  # fmt: skip

_TARGET_EXERCISE = _exercise(
    TARGET,
    test_target,
    _general_mistakes(
        test_target,
        never=(_loss_in_range, lambda learner: learner.update(0.99)),
        never_because="The loss is in its range for a collapsed pair of networks too. Who moves, when, and how far?",
    ),
    _TARGET_MISTAKES,
    (
        "Two things move weights: the optimizer's step and update(). Which of them may move which network?",
        "Clone the weights of both networks, take a step of torch.optim.SGD(learner.parameters(), lr=0.1), compare; call update(0.75), compare.",
        "After the step: online differs, target equals its clone. After the update: momentum * target + (1 - momentum) * online, for momentum 0.75, "
        "1.0 and 0.0, for all parameters.",
    ),
)


# ---------------------------------------------------------------------------------------------- 10. empty clusters


def _nearest(x: Tensor, centres: Tensor) -> Tensor:
    return torch.cdist(x, centres).argmin(1)


def _lloyd(x: Tensor, start: Tensor, repair: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor], rounds: int = 60) -> tuple[Tensor, Tensor]:
    """k-means; `repair(centres, empty, x, labels)` gives the centres when some clusters have no member."""
    centres = start.clone()
    for _ in range(rounds):
        labels = _nearest(x, centres)
        count = torch.bincount(labels, minlength=len(start))
        new = torch.zeros_like(centres).index_add_(0, labels, x) / count.clamp_min(1)[:, None]
        empty = (count == 0).nonzero().flatten()
        if len(empty):
            new[empty] = centres[empty]
            new = repair(new, empty, x, labels)
        if torch.equal(new, centres):
            break
        centres = new
    return centres, _nearest(x, centres)


def _to_farthest(centres: Tensor, empty: Tensor, x: Tensor, labels: Tensor) -> Tensor:
    away = (x - centres[labels]).square().sum(1)
    return centres.index_copy(0, empty, x[away.topk(len(empty)).indices])


def _one_each_round(centres: Tensor, empty: Tensor, x: Tensor, labels: Tensor) -> Tensor:
    return _to_farthest(centres, empty[:1], x, labels)


def _split_largest(centres: Tensor, empty: Tensor, x: Tensor, labels: Tensor) -> Tensor:
    centres, count = centres.clone(), torch.bincount(labels, minlength=len(centres)).double()
    for e in empty:
        largest = count.argmax()
        nudge = 0.01 * torch.randn_like(centres[e])
        centres[e], centres[largest] = centres[largest] + nudge, centres[largest] - nudge
        count[e] = count[largest] = count[largest] / 2
    return centres


def _to_random_points(centres: Tensor, empty: Tensor, x: Tensor, labels: Tensor) -> Tensor:
    return centres.index_copy(0, empty, x[torch.randperm(len(x))[: len(empty)]])


def _kmeans_mean_of_nothing(x: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    centres = start.clone()
    for _ in range(20):
        labels = _nearest(x, centres)
        centres = torch.stack([x[labels == j].mean(0) for j in range(len(start))])
    return centres, _nearest(x, centres)


def _kmeans_at_the_origin(x: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    return _lloyd(x, start, lambda centres, empty, x, labels: centres.index_fill(0, empty, 0.0))


def _copy_of_the_largest(centres: Tensor, empty: Tensor, x: Tensor, labels: Tensor) -> Tensor:
    largest = torch.bincount(labels, minlength=len(centres)).argmax()
    return centres.index_copy(0, empty, centres[largest].expand(len(empty), -1))


def _kmeans_one_repair(x: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    dead = _nearest(x, start).bincount(minlength=len(start)) == 0
    if dead.any():
        start = _to_farthest(start, dead.nonzero().flatten()[:1], x, _nearest(x, start))
    return _lloyd(x, start, lambda centres, empty, x, labels: centres)


CLUSTERS = Exhibit(
    "museum.clusters",
    "empty clusters",
    right={
        "to the farthest point": lambda x, start: _lloyd(x, start, _to_farthest),
        "one in each round": lambda x, start: _lloyd(x, start, _one_each_round),
        "the largest is split": lambda x, start: _lloyd(x, start, _split_largest),
        "to a random point": lambda x, start: _lloyd(x, start, _to_random_points),
    },
    bugs={
        "the mean of nothing": _kmeans_mean_of_nothing,
        "a dead centre stays": lambda x, start: _lloyd(x, start, lambda centres, empty, x, labels: centres),
        "a dead centre goes to the origin": _kmeans_at_the_origin,
        "an exact copy of the largest": lambda x, start: _lloyd(x, start, _copy_of_the_largest),
        "one repair and no more": _kmeans_one_repair,
    },
)


def test_clusters(kmeans: Callable) -> None:
    """With more points than centres every centre is finite and has a member, however many of them start in the middle of nowhere."""
    heaps = [torch.randn(20, 2) * 0.3 + torch.tensor(at) for at in ((3.0, 3.0), (8.0, 3.0), (3.0, 8.0))]
    x = torch.cat(heaps)
    for lost in (0, 1, 2, 3):
        nowhere = torch.tensor([[60.0, 60.0], [-70.0, 80.0], [90.0, -50.0]])[:lost]
        start = torch.cat([x[[0, 20, 40]], nowhere])
        centres, labels = kmeans(x, start)
        assert torch.isfinite(centres).all(), f"with {lost} lost centres {int((~torch.isfinite(centres)).any(1).sum())} are not finite"
        members = torch.bincount(labels, minlength=len(start))
        assert len(members) == len(start) and members.min() > 0, f"with {lost} lost centres {int((members == 0).sum())} clusters are empty"


def _heaps() -> Tensor:
    return torch.cat([torch.randn(20, 2) * 0.3 + torch.tensor(at) for at in ((3.0, 3.0), (8.0, 3.0), (3.0, 8.0))])


def _lost(x: Tensor, count: int) -> Tensor:
    return torch.cat([x[[0, 20, 40]], torch.tensor([[60.0, 60.0], [-70.0, 80.0], [90.0, -50.0]])[:count]])


def _good_start(kmeans: Callable) -> None:
    x = _heaps()
    centres, labels = kmeans(x, x[[0, 20, 40]])
    assert torch.isfinite(centres).all() and labels.bincount(minlength=3).min() > 0


def _finite(kmeans: Callable) -> None:
    assert torch.isfinite(kmeans(x := _heaps(), _lost(x, 2))[0]).all(), "not finite"


def _one_lost(kmeans: Callable) -> None:
    x = _heaps()
    centres, labels = kmeans(x, _lost(x, 1))
    assert torch.isfinite(centres).all() and labels.bincount(minlength=4).min() > 0, "a cluster is empty"


def _same_centres(kmeans: Callable) -> None:
    x = _heaps()
    expected = _lloyd(x, _lost(x, 2), _to_farthest)[0]
    assert torch.allclose(kmeans(x, _lost(x, 2))[0], expected, atol=1e-3), "other centres"


_CLUSTERS_MISTAKES = {
    "demands one repair": (
        "It rejects a k-means that leaves no cluster empty, because its centres lie elsewhere. Some move a dead centre to the farthest point, some "
        "split the largest cluster, some draw a point. Count members instead.",
        _rejects(), _same_centres),
    "asks only for finite numbers": (
        "The centres are finite, and some have no member: a dead centre stays where it was, goes to the origin, or sits exactly on another one. "
        "Count the members of each cluster: torch.bincount(labels, minlength=k).",
        _misses("a dead centre stays", "a dead centre goes to the origin", "an exact copy of the largest"), _finite),
    "knows only one empty cluster": (
        "One lost centre is repaired, a second one is not. Start with none, one, two and three.",
        _misses("one repair and no more"), _one_lost),
}  # fmt: skip

_CLUSTERS_EXERCISE = _exercise(
    CLUSTERS,
    test_clusters,
    _general_mistakes(
        test_clusters,
        never=(_good_start,),
        never_because="From a good start no cluster is ever empty. Start a centre where no point is near.",
    ),
    _CLUSTERS_MISTAKES,
    (
        "When is a cluster empty? Choose points and starting centres so that it must happen.",
        "Put a few heaps of points somewhere away from the origin, most starting centres into them, and one, two, three far outside.",
        "Assert torch.isfinite(centres).all() and torch.bincount(labels, minlength=len(start)).min() > 0 for 0, 1, 2 and 3 lost centres.",
    ),
)


# ---------------------------------------------------------------------------------------------- what came of it, as pictures

_GOOD, _BAD = ("#E3F3EC", "#00795A"), ("#FBE7E0", "#C4441C")  # ground and ink; a tick or a cross says the same
_ROW, _NAME, _TOP = 46, 150, 26  # pixels


def _cells(sheet, left: float, top: float, width: float, outcomes: Sequence[Outcome], wrong_word: str) -> None:
    """A row of boxes, one for each implementation: a tick where the test said what it should."""
    from matplotlib.patches import Rectangle

    from sslcourse import show

    each = width / max(1, len(outcomes))
    for i, o in enumerate(outcomes):
        ground, ink = _GOOD if o.right else _BAD
        x = left + i * each
        sheet.axes.add_patch(Rectangle((x + 1.5, top + 1.5), each - 3, _ROW - 3, facecolor=ground, edgecolor=ink, linewidth=1.0,
                                       linestyle="-" if o.right else (0, (3, 1.5))))  # fmt: skip
        text = f"\u2713 {o.name}" if o.right else f"\u2717 {wrong_word}: {o.name}"
        sheet.text(x + each / 2, top + _ROW / 2, show._wrap(text, each - 2, 8), 8, va="center", color=ink)


def _score(outcomes: Sequence[Outcome]) -> str:
    return f"{sum(o.right for o in outcomes)} of {len(outcomes)}"


def _page(rows: int, pitch: int):
    from sslcourse import show

    sheet = show._Sheet(show.WIDTH * show.DPI, _TOP + rows * pitch)
    sheet.figure._colours = 20  # boxes and text: a small palette says the same in a third of the bytes
    return sheet


def trial(name: str, test: Callable, seed: int = 0):
    """What a test said of every implementation of an exhibit, as a picture: a tick where it said what it should."""
    from sslcourse import show

    outcomes = _exhibit(name).outcomes(test, seed)
    rows = {"right implementations": ([o for o in outcomes if not o.bug], "rejected"), "planted bugs": ([o for o in outcomes if o.bug], "missed")}
    sheet = _page(len(rows), _ROW + 4)
    said = f"{_score(rows['right implementations'][0])} right ones pass, {_score(rows['planted bugs'][0])} planted bugs are caught"
    sheet.text(4, 5, f"{name}: {said}", 10, ha="left")
    for i, (kind, (found, wrong)) in enumerate(rows.items()):
        top = _TOP + i * (_ROW + 4)
        sheet.text(4, top + _ROW / 2, show._wrap(kind, _NAME - 8, 9), 9, ha="left", va="center")
        _cells(sheet, _NAME, top, sheet.width - _NAME - 4, found, wrong)
    return sheet.done()


def matrix(tests: Mapping[str, Callable], seed: int = 0):
    """Tests against planted bugs, as a picture: a row for each test, a box for each bug.

    Args:
        tests: exercise -> test, such as {"museum.partner": test_partner}.
    """
    from sslcourse import show

    if not tests:
        raise CourseError('no tests to show: pass {"museum.partner": test_partner, ...}')
    right_width = 92
    sheet = _page(len(tests), _ROW + 2)
    for x, text in ((4, "your test for"), (_NAME + 4, "right ones"), (_NAME + right_width + 6, "planted bugs, the plain one first")):
        sheet.text(x, 6, text, 9, ha="left", color=show.SOFT)
    for i, (name, test) in enumerate(tests.items()):
        outcomes, top = _exhibit(name).outcomes(test, seed), _TOP + i * (_ROW + 2)
        right = [o for o in outcomes if not o.bug]
        pass_all = all(o.right for o in right)
        summary = Outcome(f"{_score(right)} pass", False, ("passes",) if pass_all else ("fails",))
        sheet.text(4, top + _ROW / 2, show._wrap(_exhibit(name).title, _NAME - 10, 8.5), 8.5, ha="left", va="center")
        _cells(sheet, _NAME, top, right_width, [summary], "only")
        _cells(sheet, _NAME + right_width + 4, top, sheet.width - _NAME - right_width - 8, [o for o in outcomes if o.bug], "missed")
    return sheet.done()


def caught(tests: Mapping[str, Callable], seed: int = 0) -> dict[str, dict[str, bool]]:
    """For each exercise and each of its planted bugs, whether the test catches it; and "right ones pass", whether it rejects none."""
    table = {}
    for name, test in tests.items():
        outcomes = _exhibit(name).outcomes(test, seed)
        table[name] = {o.name: o.right for o in outcomes if o.bug} | {"right ones pass": all(o.right for o in outcomes if not o.bug)}
    return table


def _exhibit(name: str) -> Exhibit:
    if name not in EXHIBITS:
        raise CourseError(f"there is no exhibit {name!r}; there are {', '.join(EXHIBITS)}")
    return EXHIBITS[name]


register(_PARTNER_EXERCISE, _GATHER_EXERCISE, _FROZEN_EXERCISE, _SELECTION_EXERCISE, _MEAN_EXERCISE, _STATISTICS_EXERCISE, _QUEUE_EXERCISE,
         _VIEWS_EXERCISE, _TARGET_EXERCISE, _CLUSTERS_EXERCISE)  # fmt: skip
assign(Assignment("90_bugs_museum", [Task(name, f"my_{name.replace('museum.', 'test_')}") for name in EXHIBITS]))
