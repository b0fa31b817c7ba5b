"""The exercise of 13_results_wall: is one method better than another? The interval of a difference, seed by
seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from sslcourse.check.engine import Assignment, Exercise, Mistake, NotYet, Task, assign, register


def difference(mine, theirs) -> tuple[float, float]:
    """The 95 % confidence interval of how far `mine` is above `theirs`, run by run: Student's t of the paired
    differences.

    Args:
        mine, theirs: lists of n numbers, n at least 2; entry i of both comes from the same seed.

    Returns:
        (low, high).
    """
    from scipy.stats import t

    d = np.asarray(mine, float) - np.asarray(theirs, float)
    half = t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / math.sqrt(len(d))
    return float(d.mean() - half), float(d.mean() + half)


# 0.975 quantiles of Student's t, as every table of statistics has them: an independent source for the check.
_T = {1: 12.7062, 2: 4.30265, 4: 2.77645, 6: 2.44691, 9: 2.26216, 19: 2.09302}
_SIZES = (5, 3, 10, 20, 7, 2)


def _runs(n: int, *seed: int) -> tuple[list[float], list[float]]:
    """Accuracies of two methods over n seeds. Both have good and bad seeds in common, so that pairing
    matters.
    """
    rng = np.random.default_rng([*seed, n])
    luck = rng.normal(0, 0.05, n)
    theirs = 0.6 + luck + rng.normal(0, 0.01, n)
    mine = 0.63 + luck + rng.normal(0, 0.012, n)
    return mine.tolist(), theirs.tolist()


def _slow(mine: list[float], theirs: list[float]) -> tuple[float, float]:
    """By hand, with the table's quantiles."""
    n = len(mine)
    d = [a - b for a, b in zip(mine, theirs)]
    mean = sum(d) / n
    variance = sum((x - mean) ** 2 for x in d) / (n - 1)
    half = _T[n - 1] * math.sqrt(variance / n)
    return mean - half, mean + half


def _pair(f: Callable, mine, theirs) -> tuple[float, float]:
    found = f(list(mine), list(theirs))
    if isinstance(found, (torch.Tensor, np.ndarray)):
        found = found.tolist()
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise NotYet("what it returns", "two numbers, (low, high)", repr(found)[:60])
    try:
        return float(found[0]), float(found[1])
    except (TypeError, ValueError):
        raise NotYet("what it returns", "two numbers, (low, high)", repr(found)[:60]) from None


def _properties(f: Callable, seed: int) -> None:
    for n in _SIZES:
        mine, theirs = _runs(n, seed, 1)
        kept = list(mine), list(theirs)
        low, high = _slow(mine, theirs)
        got = _pair(f, mine, theirs)
        if not all(
            math.isfinite(g) and abs(g - w) <= 1e-4 * max(1, abs(high - low) / 0.02)
            for g, w in zip(got, (low, high))
        ):
            raise NotYet(
                f"the interval of {n} paired runs",
                f"{low:+.4f} to {high:+.4f}",
                f"{got[0]:+.4f} to {got[1]:+.4f}",
            )
        if (mine, theirs) != kept:
            raise NotYet("the two lists after the call", "unchanged", "changed")


def _same(f: Callable, g: Callable, seed: int) -> bool:
    for n in _SIZES:
        a, b = _pair(f, *_runs(n, seed, 2)), _pair(g, *_runs(n, seed, 2))
        if not all(
            (math.isnan(x) and math.isnan(y)) or math.isclose(x, y, rel_tol=2e-3, abs_tol=2e-5)
            for x, y in zip(a, b)
        ):
            return False
    return True


def _interval(
    d: np.ndarray,
    *,
    quantile: Callable | None = None,
    ddof: int = 1,
    root: bool = True,
    over: Callable | None = None,
) -> tuple[float, float]:
    """The reference with one part exchanged."""
    from scipy.stats import t

    n = len(d)
    q = quantile(n) if quantile else t.ppf(0.975, n - 1)
    error = d.std(ddof=ddof) if over is None else over(d)
    half = q * error / (math.sqrt(n) if root else 1)
    return d.mean() - half, d.mean() + half


def _d(mine, theirs) -> np.ndarray:
    return np.asarray(mine, float) - np.asarray(theirs, float)


def _unpaired(mine, theirs, welch: bool = False) -> tuple[float, float]:
    from scipy.stats import t

    a, b = np.asarray(mine, float), np.asarray(theirs, float)
    n, va, vb = len(a), a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    free = (va + vb) ** 2 / (va**2 / (n - 1) + vb**2 / (n - 1)) if welch else 2 * n - 2
    half = t.ppf(0.975, free) * math.sqrt(va + vb)
    return a.mean() - b.mean() - half, a.mean() - b.mean() + half


def _ppf(p: float, free: int = -1) -> Callable:
    def quantile(n: int) -> float:
        from scipy.stats import t

        return t.ppf(p, n + free)

    return quantile


DIFFERENCE = Exercise(
    "wall.difference",
    difference,
    _properties,
    (
        Mistake(
            "not paired",
            "You treat the two methods as if their runs had nothing to do with each other. Run i of both "
            "has the same seed, "
            "and so the same luck with its data: subtract run by run first, then ask how much the "
            "differences vary.",
            _unpaired,
            (lambda a, b: _unpaired(a, b, welch=True),),
        ),
        Mistake(
            "a normal for a t",
            "1.96 belongs to thousands of runs. With n runs the spread itself is a guess, and Student's t "
            "with n - 1 "
            "degrees of freedom pays for it: scipy.stats.t.ppf(0.975, n - 1).",
            lambda a, b: _interval(_d(a, b), quantile=lambda n: 1.959964),
        ),
        Mistake(
            "a standard deviation for a standard error",
            "That is how far single runs are from their mean. The mean of n runs is surer than "
            "one run: divide by the square root of n.",
            lambda a, b: _interval(_d(a, b), root=False),
        ),
        Mistake(
            "divided by n",
            "The standard error has the square root of n, you divide by n itself.",
            lambda a, b: _interval(_d(a, b), over=lambda d: d.std(ddof=1) / math.sqrt(len(d))),
        ),
        Mistake(
            "divided by n instead of n - 1",
            "The mean was taken from the same runs, so their squared distances add up to too little: use "
            "ddof=1 in the standard deviation.",
            lambda a, b: _interval(_d(a, b), ddof=0),
        ),
        Mistake(
            "one-sided",
            (
                "0.95 on one side leaves five per cent on each: an interval of 90 %. For 95 % take the "
                "quantile 0.975."
            ),
            lambda a, b: _interval(_d(a, b), quantile=_ppf(0.95)),
        ),
        Mistake(
            "wrong degrees of freedom",
            "n runs have n - 1 degrees of freedom left once their mean is known.",
            lambda a, b: _interval(_d(a, b), quantile=_ppf(0.975, 0)),
            (
                lambda a, b: (
                    _interval(_d(a, b), quantile=_ppf(0.975, -2)) if len(a) > 2 else (math.nan, math.nan)
                ),
            ),
        ),
        Mistake(
            "theirs minus mine",
            "The sign is the wrong way round: above 0 should mean that mine is better.",
            lambda a, b: _interval(_d(b, a)),
        ),
        Mistake(
            "standard error only",
            "Mean plus and minus one standard error covers about two thirds, not 95 %: multiply by the "
            "quantile of "
            "Student's t.",
            lambda a, b: _interval(_d(a, b), quantile=lambda n: 1.0),
        ),
        Mistake(
            "two for a t",
            "Two standard errors are a rule of thumb for many runs; with so few take Student's t.",
            lambda a, b: _interval(_d(a, b), quantile=lambda n: 2.0),
        ),
        Mistake(
            "variance for standard deviation",
            "You use the variance where its square root belongs.",
            lambda a, b: _interval(_d(a, b), over=lambda d: d.var(ddof=1)),
        ),
        Mistake(
            "worst and best run",
            "The smallest and the largest difference say how single runs fell out, and with more runs they "
            "go apart. The "
            "interval of the mean gets narrower with more runs.",
            lambda a, b: (_d(a, b).min(), _d(a, b).max()),
        ),
    ),
    _same,
    (
        (
            "Run i of both methods had the same data and the same seed. Which list of n numbers says how "
            "much "
            "better mine is?"
        ),
        "Mean, standard deviation (ddof=1) and the square root of n of the differences make the standard "
        "error; the interval is the mean, plus "
        "and minus the quantile of Student's t times that.",
        (
            "half = scipy.stats.t.ppf(0.975, n - 1) * d.std(ddof=1) / n ** 0.5 with d = np.array(mine) - "
            "np.array(theirs)."
        ),
    ),
)

register(DIFFERENCE)
assign(Assignment("13_results_wall", (Task("wall.difference", "my_difference"),)))
