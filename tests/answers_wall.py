"""The mistakes of 13_results_wall made by other hands: the statistics module, loops, scipy's own tests."""

import math
import statistics

import torch
from scipy import stats


def by_hand(
    mine,
    theirs,
    *,
    sign=1,
    q=lambda n: stats.t.isf(0.025, n - 1),
    error=lambda d: statistics.stdev(d) / len(d) ** 0.5,
):
    d = [sign * (a - b) for a, b in zip(mine, theirs)]
    mean, half = statistics.fmean(d), q(len(d)) * error(d)
    return mean - half, mean + half


def by_torch(mine, theirs, *, q=lambda n: float(stats.t(n - 1).ppf(0.975)), correction=1, power=0.5):
    d = torch.tensor(mine, dtype=torch.float64) - torch.tensor(theirs, dtype=torch.float64)
    half = q(len(d)) * d.std(correction=correction) / len(d) ** power
    return torch.stack([d.mean() - half, d.mean() + half])


def by_scipy(mine, theirs):
    found = stats.ttest_rel(mine, theirs).confidence_interval(0.95)
    return found.low, found.high


def as_interval(mine, theirs):
    d = [a - b for a, b in zip(mine, theirs)]
    return stats.t.interval(0.95, len(d) - 1, loc=statistics.fmean(d), scale=stats.sem(d))


def independent(mine, theirs, equal=True):
    found = stats.ttest_ind(mine, theirs, equal_var=equal).confidence_interval(0.95)
    return found.low, found.high


WRITTEN_OTHERWISE = {
    "wall.difference": {
        "not paired": [independent, lambda a, b: independent(a, b, False)],
        "a normal for a t": [
            lambda a, b: by_hand(a, b, q=lambda n: statistics.NormalDist().inv_cdf(0.975)),
            lambda a, b: by_torch(a, b, q=lambda n: 1.96),
        ],
        "a standard deviation for a standard error": [
            lambda a, b: by_hand(a, b, error=statistics.stdev),
            lambda a, b: by_torch(a, b, power=0),
        ],
        "divided by n": [
            lambda a, b: by_hand(a, b, error=lambda d: statistics.stdev(d) / len(d)),
            lambda a, b: by_torch(a, b, power=1),
        ],
        "divided by n instead of n - 1": [
            lambda a, b: by_hand(a, b, error=lambda d: statistics.pstdev(d) / math.sqrt(len(d))),
            lambda a, b: by_torch(a, b, correction=0),
        ],
        "one-sided": [
            lambda a, b: by_hand(a, b, q=lambda n: stats.t.isf(0.05, n - 1)),
            lambda a, b: stats.ttest_rel(a, b).confidence_interval(0.90)[:],
        ],
        "wrong degrees of freedom": [
            lambda a, b: by_hand(a, b, q=lambda n: stats.t.isf(0.025, n)),
            lambda a, b: by_torch(a, b, q=lambda n: stats.t(n).ppf(0.975)),
        ],
        "theirs minus mine": [lambda a, b: by_hand(a, b, sign=-1), lambda a, b: by_scipy(b, a)],
        "standard error only": [
            lambda a, b: by_hand(a, b, q=lambda n: 1),
            lambda a, b: by_torch(a, b, q=lambda n: 1),
        ],
        "two for a t": [
            lambda a, b: by_hand(a, b, q=lambda n: 2),
            lambda a, b: by_torch(a, b, q=lambda n: 2),
        ],
        "variance for standard deviation": [
            lambda a, b: by_hand(a, b, error=lambda d: statistics.variance(d) / len(d) ** 0.5),
            lambda a, b: by_hand(a, b, error=lambda d: statistics.stdev(d) ** 2 / math.sqrt(len(d))),
        ],
        "worst and best run": [
            lambda a, b: (min(x - y for x, y in zip(a, b)), max(x - y for x, y in zip(a, b))),
            lambda a, b: sorted(x - y for x, y in zip(a, b))[:: len(a) - 1],
        ],
    }
}
RIGHT_OTHERWISE = {"wall.difference": [by_hand, by_torch, by_scipy, as_interval]}
