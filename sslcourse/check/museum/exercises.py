"""What an exhibit becomes an exercise by: properties, the mistakes that any test can make, and pictures of
the verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from sslcourse.check.engine import Exercise, Mistake, NotYet
from sslcourse.check.museum.engine import (
    Exhibit,
    Fault,
    Outcome,
    always_fails,
    breaks_on_bugs,
    gives_no_verdict,
    leaves_traces,
    missed,
    never_fails,
    rejected,
    trusts_luck,
)
from sslcourse.check.museum.picture import trial


def rejects(*names: str) -> Fault:
    """It fails on right implementations: on one of these, or on any where none is named."""
    return lambda outcomes: bool(set(rejected(outcomes)) & set(names) if names else rejected(outcomes))


def misses(*names: str) -> Fault:
    """It lets one of these bugs through, though not all of them."""
    return lambda outcomes: bool(set(missed(outcomes)) & set(names)) and not never_fails(outcomes)


def _properties_of(exhibit: Exhibit, latest: dict) -> Callable[[Callable, int], None]:
    def properties(test: Callable, seed: int) -> None:
        latest.clear()  # a notebook redefines its test again and again
        outcomes = latest[test, seed] = exhibit.outcomes(test, seed)
        for o in outcomes:
            if not o.bug and o.error is not None:
                raise o.error  # the line in which it happened says more than we could
        for o in outcomes:
            if "no verdict" in o.said:
                raise NotYet(
                    f"it returns {o.text}; raise AssertionError where the property does not hold, or "
                    "return True or False"
                )
            if o.left:
                raise NotYet(f"it changes what it tests: {o.left} (with {o.name!r})")
        if always_fails(outcomes):
            raise NotYet(
                "it fails on everything, right or wrong"
                + (f", and says: {outcomes[0].text}" if outcomes[0].text else "")
            )
        for o in outcomes:
            if not o.bug and "fails" in o.said:
                how = "sometimes rejects" if o.lucky else "rejects"
                raise NotYet(
                    f"it {how} a right implementation, {o.name!r}"
                    + (f", and says: {o.text}" if o.text else "")
                )
        for o in outcomes:
            if o.bug and "breaks" in o.said:
                raise NotYet(f"on the planted bug {o.name!r} it stops with {o.text}")
        missed = [f"{o.name!r}" + " (sometimes)" * o.lucky for o in outcomes if o.bug and "passes" in o.said]
        if missed:
            raise NotYet(
                f"it lets {len(missed)} of {len(exhibit.bugs)} planted bugs through: {', '.join(missed)}"
            )

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


def general_mistakes(
    reference: Callable,
    never: Sequence[Callable],
    never_because: str,
    breaks: Sequence[Callable] = (),
    traces: Sequence[Callable] = (),
) -> dict[str, tuple]:
    """The mistakes that a test of anything can make: name -> message, fault, wrong tests."""
    return {
        "changes what it tests": (
            "A test must leave everything as it found it, or it changes what runs after it. Work on copies "
            "(copy.deepcopy), give "
            "dtype=torch.float64 to the tensors that need it, and use `with torch.no_grad():` instead of a "
            "switch.",
            leaves_traces,
            *traces,
            _broken(reference, _in_double_ever_after),
            _broken(reference, _without_gradients_ever_after),
        ),
        "no verdict": (
            (
                'A test does not measure, it decides: raise AssertionError (`assert condition, "what is '
                'wrong"`), or return True or False.'
            ),
            gives_no_verdict,
            lambda *arguments: 0.5,
            lambda *arguments: torch.rand(3),
        ),
        "always fails": (
            (
                "A test that fails on everything catches every bug and is switched off within a week. Run it "
                "on a right implementation first."
            ),
            always_fails,
            _broken(reference, _fail),
            lambda *arguments: False,
        ),
        "depends on luck": (
            "With other random numbers it decides otherwise about the same code. Fix what it draws "
            "(torch.manual_seed, or a generator), or "
            "repeat until chance has no say.",
            trusts_luck,
            _broken(reference, _half_the_time),
        ),
        "another error instead of an assertion": (
            "On a planted bug it stops with an error that is no verdict: a misspelt name in the test would "
            "look the same. Find out what you "
            "would see where the property does not hold (no gradient: None; no key: missing), and assert "
            "that you do not see it.",
            breaks_on_bugs,
            *breaks,
            _broken(reference, _as_value_error),
        ),
        "never fails": (
            f"It passes every right implementation, and every planted bug. {never_because}",
            never_fails,
            lambda *arguments: True,
            *never,
        ),
    }


def exercise_of(
    exhibit: Exhibit,
    reference: Callable,
    general: Mapping[str, tuple],
    own: Mapping[str, tuple],
    hints: Sequence[str],
    first: Sequence[str] = (),
) -> Exercise:
    """An exercise whose answer is a test.

    Args:
        general: what `_general_mistakes` gave.
        own: this exhibit's mistakes in order: name -> message, fault, wrong tests. Where a test makes
            several, the first is named.
        first: those of its own that are named even before the general ones.
    """
    latest: dict[tuple[Callable, int], Sequence[Outcome]] = {}

    def recognised(fault: Fault) -> Callable[[Callable, int], bool]:
        def recognise(test: Callable, seed: int) -> bool:
            if (test, seed) not in latest:
                latest[test, seed] = exhibit.outcomes(test, seed)
            return fault(latest[test, seed])

        return recognise

    # where a general one holds, what else the test does says little
    order = {**{name: own[name] for name in first}, **general, **own}
    mistakes = [
        Mistake(name, message, wrong, also, recognised(fault))
        for name, (message, fault, wrong, *also) in order.items()
    ]
    # `recognise` sees whatever two tests could have in common, so there is nothing left for `same` to find.
    return Exercise(
        exhibit.name,
        reference,
        _properties_of(exhibit, latest),
        mistakes,
        lambda f, g: False,
        hints,
        lambda test, seed: trial(exhibit.name, test, seed),
        apart=False,
    )


def assert_true(condition: object, text: str = "") -> None:
    assert bool(condition), text
