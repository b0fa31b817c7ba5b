"""The exercise of 14_barlow_twins: the loss."""

from __future__ import annotations

import torch
from sslcourse.methods.barlow import barlow_loss, cross_correlation

from sslcourse.check.engine import Assignment, Exercise, Mistake, NotYet, Task, assign, register


def loss(a: torch.Tensor, b: torch.Tensor, redundancy: float = 5e-3) -> torch.Tensor:
    """Eq. 1 of two batches of features (n, d): a scalar."""
    return barlow_loss(a, b, redundancy)


def _features(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(16, 4, generator=g) + 3, torch.randn(16, 4, generator=g) * 2


def _properties(answer, seed: int) -> None:
    a, b = _features(seed)
    c = [  # eq. 2 and eq. 1, entry by entry
        [
            float(((x - x.mean()) * (y - y.mean())).mean() / (x.std(correction=0) * y.std(correction=0)))
            for y in b.T
        ]
        for x in a.T
    ]
    expected = sum(
        (v - 1) ** 2 if i == j else 0.1 * v**2 for i, row in enumerate(c) for j, v in enumerate(row)
    )
    got = float(answer(a, b, 0.1))
    if abs(got - expected) > 1e-4 * max(1.0, expected):
        raise NotYet("the loss of two random batches with redundancy 0.1", f"{expected:.4f}", f"{got:.4f}")


def _same(one, other, seed: int) -> bool:
    a, b = _features(seed)
    return torch.allclose(one(a, b, 0.1), other(a, b, 0.1), rtol=1e-4)


def _unnormalised(a, b, redundancy=5e-3):
    c = a.T @ b / len(a)
    on = (c.diagonal() - 1).square().sum()
    return on + redundancy * (c.square().sum() - c.diagonal().square().sum())


def _all_entries(a, b, redundancy=5e-3):
    c = cross_correlation(a, b)
    return (c.diagonal() - 1).square().sum() + redundancy * c.square().sum()


register(
    Exercise(
        "barlow.loss",
        loss,
        _properties,
        (
            Mistake(
                "features as they are", "Each feature loses its mean and its scale first.", _unnormalised
            ),
            Mistake("the diagonal twice", "Only entries off the diagonal count by lambda.", _all_entries),
        ),
        _same,
        (
            "What is C where both views are equal?",
            "Normalise each column over the batch: mean 0, deviation 1.",
        ),
    )
)
assign(Assignment("14_barlow_twins", (Task("barlow.loss", "my_loss"),)))
