"""Exhibit: the mean of distances, over which axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse.check.museum.engine import Exhibit, Outcome
from sslcourse.check.museum.exercises import assert_true, exercise_of, general_mistakes, misses, rejects

# ------------------------------------------------------------------------------------- 5. sum instead of mean


def _distance(p: Tensor, z: Tensor) -> Tensor:
    return 2 - 2 * F.cosine_similarity(p, z, dim=1)  # (n,)


def mean_of_distances(p: Tensor, z: Tensor) -> Tensor:
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
    return torch.stack([_distance(a, b).sum() for a, b in zip(p.split(16), z.split(16))]).sum() / len(p)


def _sum_of_distances(p: Tensor, z: Tensor) -> Tensor:
    return _distance(p, z).sum()


def _chunks_added(p: Tensor, z: Tensor) -> Tensor:
    return torch.stack([_distance(a, b).mean() for a, b in zip(p.split(16), z.split(16))]).sum()


def _chunks_averaged(p: Tensor, z: Tensor) -> Tensor:
    return torch.stack([_distance(a, b).mean() for a, b in zip(p.split(16), z.split(16))]).mean()


MEAN = Exhibit(
    "museum.mean",
    "sum instead of mean",
    right={
        "mean of 2 - 2 cos": mean_of_distances,
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
    """The loss of a batch is the mean of the losses of its samples, for any size; and empty dimensions change
    nothing.
    """
    for n in (1, 2, 7, 17, 23, 40):
        p, z = torch.randn(n, 6), torch.randn(n, 6)
        whole = loss(p, z)
        each = torch.stack([loss(p[i : i + 1], z[i : i + 1]) for i in range(n)])
        assert torch.allclose(whole, each.mean(), rtol=1e-3, atol=1e-5), (
            f"{n} samples cost {float(whole):.4f}, on average {float(each.mean()):.4f}"
        )
        wider = loss(F.pad(p, (0, 10)), F.pad(z, (0, 10)))  # ten more dimensions, all zero: the same vectors
        assert torch.allclose(whole, wider, rtol=1e-3, atol=1e-5), (
            f"in wider vectors they cost {float(wider):.4f}, not {float(whole):.4f}"
        )


def _doubled(
    *sizes: int,
    equal: Callable[[Tensor, Tensor], bool] = lambda a, b: torch.allclose(a, b, rtol=1e-3, atol=1e-5),
) -> Callable:
    """The same samples twice must cost the same."""

    def test(loss: Callable) -> None:
        for n in sizes:
            p, z = torch.randn(n, 6), torch.randn(n, 6)
            assert equal(loss(p, z), loss(torch.cat([p, p]), torch.cat([z, z]))), (
                f"{n} samples, given twice, cost something else"
            )

    return test


def _wider_and_alone(loss: Callable, equal: Callable[[Tensor, Tensor], bool]) -> None:
    for n in (37, 41, 67):
        p, z = torch.randn(n, 6), torch.randn(n, 6)
        each = torch.stack([loss(p[i : i + 1], z[i : i + 1]) for i in range(n)])
        assert equal(loss(p, z), each.mean()) and equal(
            loss(p, z), loss(F.pad(p, (0, 3)), F.pad(z, (0, 3)))
        ), "not the mean"


def _samples_alone(loss: Callable) -> None:
    for n in (19, 23, 40):
        p, z = torch.randn(n, 6), torch.randn(n, 6)
        each = torch.stack([loss(p[i : i + 1], z[i : i + 1]) for i in range(n)])
        assert torch.allclose(loss(p, z), each.mean(), rtol=1e-3, atol=1e-5), "not the mean of its samples"


def _demands_the_last_digit(outcomes: Sequence[Outcome]) -> bool:
    """Of losses that differ by rounding alone it passes one and rejects another, on the same numbers."""
    same = [
        o.said
        for o in outcomes
        if o.name in ("mean of 2 - 2 cos", "squared distance over n", "running mean", "in chunks, over n")
    ]
    return any(set(words) == {"passes", "fails"} for words in zip(*same))


def _one_formula(loss: Callable) -> None:
    p, z = torch.randn(20, 6), torch.randn(20, 6)
    assert torch.allclose(loss(p, z), (2 - 2 * F.cosine_similarity(p, z)).mean(), rtol=1e-3), "not 2 - 2 cos"


_MEAN_MISTAKES = {
    "demands equality to the last digit": (
        "It rejects a mean that was added up in another order: floating-point sums differ in the last "
        "digits. The bug changes the loss by a factor. "
        "Choose a tolerance between the two: torch.allclose(a, b, rtol=1e-3, atol=1e-5).",
        _demands_the_last_digit,
        lambda loss: _wider_and_alone(loss, torch.equal),
    ),
    "demands one formula": (
        "It rejects a loss that is a mean. The squared distance of unit vectors is 2 - 2 cos; others "
        "minimise -cos, which has the same minimum and "
        "half the gradient. Whether it is a *mean* can be asked without knowing of what.",
        rejects(),
        _one_formula,
    ),
    "knows only small batches": (
        "It catches the plain sum and lets through a loss that works in parts of 16 rows and adds the "
        "parts. Such a loss is right until the batch is "
        "larger than a part. Test larger batches too.",
        misses("chunks of 16 added"),
        _doubled(4),
        _doubled(2, 8),
    ),
    "knows only batches that divide evenly": (
        "The mean of the parts' means is the mean only where all parts are of one size. Test a batch that "
        "does not divide evenly, and compare it "
        "with its samples one by one.",
        misses("mean of the chunks' means"),
        _doubled(16, 64),
    ),
    "looks at the batch only": (
        "It lets through a mean over the samples *and* the dimensions: the gradient shrinks as the vectors "
        "grow. Give the same samples with a few "
        "dimensions of zeros behind.",
        misses("mean over the dimensions too"),
        _samples_alone,
    ),
}

MEAN_EXERCISE = exercise_of(
    MEAN,
    test_mean,
    general_mistakes(
        test_mean,
        never=(lambda loss: assert_true(loss(z := torch.randn(9, 4), z) < loss(z, -z)),),
        never_because=(
            "A sum, too, is smallest where everything agrees. What does a mean not notice and a sum does?"
        ),
    ),
    _MEAN_MISTAKES,
    (
        "How must the loss of a batch be made up of the losses of its samples?",
        (
            "Call the loss on each sample alone (p[i:i+1], z[i:i+1]) and compare the mean with the loss of "
            "the "
            "batch, for n from 1 to 40."
        ),
        (
            "Compare with torch.allclose(..., rtol=1e-3, atol=1e-5), and once more with F.pad(p, (0, 10)) "
            "and "
            "F.pad(z, (0, 10)): zeros are no news."
        ),
    ),
    first=("demands equality to the last digit",),
)
