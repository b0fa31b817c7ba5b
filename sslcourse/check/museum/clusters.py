"""Exhibit: empty clusters in k-means."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sslcourse.check.museum.engine import Exhibit
from sslcourse.check.museum.exercises import exercise_of, general_mistakes, misses, rejects

# ----------------------------------------------------------------------------------------- 10. empty clusters


def _nearest(x: Tensor, centres: Tensor) -> Tensor:
    return torch.cdist(x, centres).argmin(1)


def _lloyd(
    x: Tensor, start: Tensor, repair: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor], rounds: int = 60
) -> tuple[Tensor, Tensor]:
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
    """With more points than centres every centre is finite and has a member, however many of them start in
    the middle of nowhere.
    """
    heaps = [torch.randn(20, 2) * 0.3 + torch.tensor(at) for at in ((3.0, 3.0), (8.0, 3.0), (3.0, 8.0))]
    x = torch.cat(heaps)
    for lost in (0, 1, 2, 3):
        nowhere = torch.tensor([[60.0, 60.0], [-70.0, 80.0], [90.0, -50.0]])[:lost]
        start = torch.cat([x[[0, 20, 40]], nowhere])
        centres, labels = kmeans(x, start)
        assert torch.isfinite(centres).all(), (
            f"with {lost} lost centres {int((~torch.isfinite(centres)).any(1).sum())} are not finite"
        )
        members = torch.bincount(labels, minlength=len(start))
        assert len(members) == len(start) and members.min() > 0, (
            f"with {lost} lost centres {int((members == 0).sum())} clusters are empty"
        )


def _heaps() -> Tensor:
    return torch.cat(
        [torch.randn(20, 2) * 0.3 + torch.tensor(at) for at in ((3.0, 3.0), (8.0, 3.0), (3.0, 8.0))]
    )


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
        "It rejects a k-means that leaves no cluster empty, because its centres lie elsewhere. Some move a "
        "dead centre to the farthest point, some "
        "split the largest cluster, some draw a point. Count members instead.",
        rejects(),
        _same_centres,
    ),
    "asks only for finite numbers": (
        "The centres are finite, and some have no member: a dead centre stays where it was, goes to the "
        "origin, or sits exactly on another one. "
        "Count the members of each cluster: torch.bincount(labels, minlength=k).",
        misses("a dead centre stays", "a dead centre goes to the origin", "an exact copy of the largest"),
        _finite,
    ),
    "knows only one empty cluster": (
        "One lost centre is repaired, a second one is not. Start with none, one, two and three.",
        misses("one repair and no more"),
        _one_lost,
    ),
}

CLUSTERS_EXERCISE = exercise_of(
    CLUSTERS,
    test_clusters,
    general_mistakes(
        test_clusters,
        never=(_good_start,),
        never_because="From a good start no cluster is ever empty. Start a centre where no point is near.",
    ),
    _CLUSTERS_MISTAKES,
    (
        "When is a cluster empty? Choose points and starting centres so that it must happen.",
        (
            "Put a few heaps of points somewhere away from the origin, most starting centres into them, and "
            "one, two, three far outside."
        ),
        (
            "Assert torch.isfinite(centres).all() and torch.bincount(labels, minlength=len(start)).min() > 0 "
            "for 0, 1, 2 and 3 lost centres."
        ),
    ),
)
