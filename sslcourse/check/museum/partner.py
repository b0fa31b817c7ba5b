"""Exhibit: the partner of each view in NT-Xent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse.check.museum.engine import Exhibit
from sslcourse.check.museum.exercises import assert_true, exercise_of, general_mistakes, misses, rejects
from sslcourse.methods.simclr import nt_xent

# ------------------------------------------------------------------------------------ 1. who is whose partner


def _by_loops(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    n, total = len(z1), z.new_zeros(())
    for i in range(2 * n):
        others = torch.stack([z[i] @ z[k] for k in range(2 * n) if k != i]) / temperature
        total = total - z[i] @ z[(i + n) % (2 * n)] / temperature + torch.logsumexp(others, 0)
    return total / (2 * n)


def _interleaved(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    # view 1 of image 0, view 2 of image 0, view 1 of image 1, ...
    z = F.normalize(torch.stack([z1, z2], 1).flatten(0, 1), dim=1)
    s = (z @ z.T / temperature).fill_diagonal_(float("-inf"))
    return F.cross_entropy(s, torch.arange(len(z)) ^ 1)


def _both_directions(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    return 2 * nt_xent(z1, z2, temperature)  # the authors' code adds the means of the two directions


def _other_view_only(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    s = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T / temperature
    at = torch.arange(len(z1))
    return (F.cross_entropy(s, at) + F.cross_entropy(s.T, at)) / 2


def _with_partner(
    partner: Callable[[int], Tensor], masked: Callable[[int], Tensor] | None = None
) -> Callable:
    """NT-Xent with the partner of each of the 2n rows as told, and one entry of each row left out (itself by
    default).
    """

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
    # right for the first n rows, itself for the others
    return F.cross_entropy(s, torch.arange(2 * n) % n + n)


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
        "itself, partner masked": _with_partner(
            lambda n: torch.arange(2 * n), lambda n: torch.arange(2 * n).roll(n)
        ),
        "interleaved, rows stacked": _with_partner(lambda n: torch.arange(2 * n) ^ 1),
        "the next image": _with_partner(lambda n: torch.arange(2 * n).roll(n - 1)),
        "itself, in view two only": _second_view_with_itself,
        "counted anew every 16 rows": _with_partner(_restarting),
    },
)


def test_partner(loss: Callable) -> None:
    """Views that agree with their partner cost nothing, views that agree with a stranger cost a lot, for few
    images and for many.
    """
    for n in (2, 5, 20):
        z = torch.eye(n)  # n images that have nothing in common
        assert loss(z, z, 0.05) < 0.01, f"{n} perfect pairs cost {float(loss(z, z, 0.05)):.2f}"
        strangers = z.roll(1, 0)
        assert loss(z, strangers, 0.05) > 2, (
            f"{n} pairs of strangers cost only {float(loss(z, strangers, 0.05)):.2f}"
        )


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
    assert loss(z, z, 0.5) < loss(z, z.roll(1, 0), 0.5) - 1e-3, (
        "perfect pairs should cost less than strangers"
    )


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
        "It rejects a loss whose pairs are right. Right losses differ in scale (some add the two "
        "directions) and in their candidates (some "
        "leave out the own view), so a number, or the value of another implementation, is no property. Ask "
        "who is whose partner.",
        rejects(),
        _equals_the_library,
        _golden,
    ),
    "only compares two sums": (
        "It asks only whether good pairs cost less than bad ones. Where half of the rows look for the "
        "right partner, they do. Which value does a "
        "loss take at a low temperature when *every* row finds its partner?",
        misses("itself, in view two only"),
        _nearer_is_cheaper,
    ),
    "knows only small batches": (
        "It catches the bug in a batch of a few images and lets through one that shows only in a larger "
        "batch. Try several sizes, from 2 images to "
        "more than 8.",
        misses("counted anew every 16 rows"),
        _small_pairs_and_strangers,
        lambda loss: _perfect_pairs_only(loss, (3,)),
    ),
    "looks at perfect pairs only": (
        "It asks that perfect pairs cost nothing, and they do where every row looks for itself and its "
        "partner is masked. Ask also that "
        "strangers cost a lot.",
        misses("itself, partner masked"),
        _perfect_pairs_only,
    ),
}

PARTNER_EXERCISE = exercise_of(
    PARTNER,
    test_partner,
    general_mistakes(
        test_partner,
        never=(_falls, lambda loss: assert_true(loss(torch.randn(4, 3), torch.randn(4, 3), 0.5) > 0)),
        never_because=(
            "That a loss is finite, positive or falls during training says nothing about *who* is "
            "pulled to whom."
        ),
    ),
    _PARTNER_MISTAKES,
    (
        (
            "You choose z1 and z2. For which inputs do you know, without computing, whether the loss must be "
            "small or large?"
        ),
        (
            "torch.eye(n) is a batch of n images that have nothing in common. Give it as both views; then "
            "give "
            "the second view in another order."
        ),
        (
            "At temperature 0.05: loss(z, z, 0.05) must be almost 0 and loss(z, z.roll(1, 0), 0.05) large, "
            "for "
            "n = 2, 5 and 20."
        ),
    ),
)
