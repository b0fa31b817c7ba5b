"""k-means, whitening, and how well two partitions agree: all that is needed to learn from one's own clusters.

    phi = F.normalize(whiten(h, 32), dim=1)       features made round, so that no direction rules
    found = kmeans(phi, 100)                      found.label (n,), found.centre (100, 32)
    nmi(found.label, before)                      1: the same partition, 0: nothing in common

Everything runs where its tensors live, without gradients, in the precision of its input (half precision is
widened), and never holds more than a piece of the n x k distances."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sslcourse import runtime
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.numbers import as_whole
from sslcourse.runtime.options import COUNT, WHOLE, Number, takes
from sslcourse.runtime.shapes import explained

STARTS = ("k-means++", "random")
EMPTY = ("split", "keep")


class Clusters(NamedTuple):
    """What k-means found."""

    label: Tensor  # (n,) long, the nearest centre of each point
    centre: Tensor  # (k, d)
    inertia: float  # sum over points of the squared distance to their centre
    iterations: int  # how often the points were assigned until nothing moved, or as often as was allowed


def _points(x: Tensor, name: str = "x") -> Tensor:
    if x.ndim != 2 or not len(x):
        raise CourseError(f"{name} has shape {tuple(x.shape)}; give one row per point, (n, d)")
    x = x.detach()
    x = x if x.dtype in (torch.float32, torch.float64) else x.float()
    # The sum is finite only if all are; if it is not, it may also have been too large, so look at each.
    if not torch.isfinite(x.sum()) and not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x)).any(1).sum())
        raise CourseError(
            f"{bad} of the {len(x)} rows of {name} hold NaN or infinity; has the training diverged? Lower "
            "the learning rate"
        )
    return x


# ---------------------------------------------------------------------------------------------- k-means


def _shrink(x: Tensor) -> float:
    """A power of two by which centred points are multiplied so that their squares stay numbers: 1, except for
    points that are very large or very small.
    """
    size = float(x.abs().amax())
    if not size or 2.0**-30 < size < 2.0**30:
        return 1.0
    return 2.0 ** -max(-120, min(120, round(math.log2(size))))  # itself a number of float32


def _rows_at_once(x: Tensor, k: int) -> int:
    """So many scores fit into a processor's cache, or keep a GPU busy."""
    return max(256, (1 << 26 if x.is_cuda else 1 << 19) // k)


def _scores(x: Tensor, centre: Tensor, chunk: int | None) -> Iterator[tuple[slice, Tensor]]:
    # |x - c|^2 = |x|^2 + 2 (|c|^2 / 2 - x.c): the first term is the same for all centres, so the nearest one
    # has the smallest |c|^2 / 2 - x.c, and all of it is one matrix product for each chunk, in the same
    # memory.
    half = centre.square().sum(1) / 2  # (k,)
    chunk = chunk or _rows_at_once(x, len(centre))
    memory = x.new_empty(min(chunk, len(x)), len(centre))
    for start in range(0, len(x), chunk):
        part = x[start : start + chunk]
        yield (
            slice(start, start + len(part)),
            torch.addmm(half, part, centre.T, alpha=-1, out=memory[: len(part)]),
        )


def _nearest(x: Tensor, centre: Tensor, chunk: int | None = None) -> Tensor:
    label = torch.empty(len(x), dtype=torch.long, device=x.device)
    for rows, score in _scores(x, centre, chunk):
        label[rows] = score.min(1).indices
    return label


def _again(
    x: Tensor, square: Tensor, centre: Tensor, label: Tensor, chunk: int | None, gap: Tensor | None
) -> Tensor:
    """The nearest centre of points that have one already; into `gap`, where it is given, how much nearer that
    is than the next one.

    It is below 0 where the nearest one is new, which is then looked at again in the next round.
    """
    new = label.clone()
    if gap is not None:
        # the last digits of a squared distance
        blur = 64 * torch.finfo(x.dtype).eps * (square + centre.square().sum(1).max())
    for rows, score in _scores(x, centre, chunk):
        own = label[rows, None]
        mine = score.gather(1, own).flatten()
        other = (score if gap is None else score.scatter_(1, own, float("inf"))).amin(1)
        # The smallest of many numbers is found six times sooner than where it stands, and after a few rounds
        # hardly a point moves: ask for the place only where another centre has come nearer.
        moved = (other < mine).nonzero().flatten()
        new[rows.start + moved] = score[moved].min(1).indices
        if gap is not None:
            far, near = ((square[rows] + 2 * v).clamp_min_(0) for v in (other, mine))
            gap[rows] = (far - blur[rows]).clamp_min_(0).sqrt_() - (near + blur[rows]).sqrt_()
    return new


def _lost(shift: Tensor, label: Tensor) -> Tensor:
    """By how much gaps may have shrunk when the centres moved by `shift` (k,): the own centre's way and the
    longest of the others'.
    """
    if len(shift) == 1:
        return shift[label]
    most, place = shift.topk(2)
    return shift[label] + torch.where(label == place[0], most[1], most[0])


@explained
@torch.no_grad()
def assign(
    x: Float[Tensor, "n d"], centre: Float[Tensor, "k d"], chunk: int | None = None
) -> Int[Tensor, " n"]:
    """The nearest centre of each point by squared distance; among equally near ones the first.

    Args:
        chunk: rows compared at a time; has no influence on the result.
    """
    x, centre = _points(x), _points(centre, "centre")
    if x.shape[1] != centre.shape[1]:
        raise CourseError(
            f"points have {x.shape[1]} numbers and centres {centre.shape[1]}; both must be of one space"
        )
    # far from the origin the squares are large and their differences small: the last digits would decide
    middle = x.mean(0)
    with torch.autocast(x.device.type, enabled=False):
        x, centre = x - middle, centre.to(x) - middle
        times = _shrink(x)
        return _nearest(x * times, centre * times, chunk)


@explained
def sums(x: Float[Tensor, "n d"], label: Int[Tensor, " n"], k: int) -> tuple[Tensor, Tensor]:
    """The sum (k, d) of the points with each label, and their count (k,)."""
    count = torch.bincount(label, minlength=k)
    total = x.new_zeros(k, x.shape[1])
    if not x.is_cuda:
        return total.index_add_(0, label, x), count
    # A GPU adds to one row from many places in no fixed order, and the last digits change from run to run. A
    # matrix product does not.
    for part, own in zip(x.split(chunk := _rows_at_once(x, k)), label.split(chunk)):
        total.addmm_(F.one_hot(own, k).to(x.dtype).T, part)
    return total, count


@explained
def split_empty(
    centre: Tensor, count: Tensor, spread: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Give each empty cluster half of the largest one: both start from its centre, a thousandth of the data's
    spread apart.

    So do the authors of DeepCluster, whose k-means (faiss) splits a cluster that has points, the larger the
    likelier. scikit-learn does otherwise: it moves an empty centre onto the point that is farthest from its
    own centre, which an outlier decides.

    Args:
        count: (k,) points of each cluster.
        spread: (d,) standard deviation of the data.
    """
    centre, count = centre.clone(), count.clone()
    for empty in (count == 0).nonzero().flatten().tolist():
        big = int(count.argmax())
        if count[big] < 2:
            break  # no cluster has a point to give away
        # In a random direction: along a fixed one all points of the cluster might be equally far from both.
        push = torch.randn(centre.shape[1], generator=generator).to(centre) * spread / 1024
        centre[empty], centre[big] = centre[big] + push, centre[big] - push
        count[empty] = count[big] // 2
        count[big] -= count[empty]
    return centre


def _seeds(x: Tensor, k: int, how: str, generator: torch.Generator | None) -> Tensor:
    if how == "random":
        return x[torch.randperm(len(x), generator=generator)[:k].to(x.device)].clone()
    # k-means++ (Arthur and Vassilvitskii, 2007): each further centre is a point, drawn in proportion to its
    # squared distance from the centres so far. All random numbers are drawn at once on the CPU: no wait for a
    # GPU, and the same points on every device.
    draws = torch.rand(k, generator=generator, dtype=torch.float64).to(x.device)
    square = x.square().sum(1)
    index = (draws[:1] * len(x)).long().clamp_max(len(x) - 1)
    centre = x.new_empty(k, x.shape[1])
    nearest = torch.full_like(square, float("inf"))
    for i in range(k):
        centre[i] = x[index[0]]
        distance = torch.addmv(square, x, centre[i], alpha=-2).add_(centre[i].square().sum()).clamp_min_(0)
        torch.minimum(nearest, distance, out=nearest)
        if i + 1 < k:
            mass = nearest.double().cumsum(0)
            index = torch.searchsorted(mass, draws[i + 1 : i + 2] * mass[-1], right=True).clamp_max(
                len(x) - 1
            )
    return centre


@explained
@takes(k=WHOLE, iterations=WHOLE, chunk=COUNT)
@torch.no_grad()
def kmeans(
    x: Float[Tensor, "n d"],
    k: int,
    *,
    start: Tensor | str = "k-means++",
    iterations: int = 20,
    empty: str = "split",
    generator: torch.Generator | None = None,
    chunk: int | None = None,
) -> Clusters:
    """Lloyd's algorithm: give every point to its nearest centre, move every centre to the mean of its points,
    and again.

    Args:
        x: points, any finite numbers.
        k: how many clusters, from 1 to n.
        start: the first centres (k, d), or how to draw them: "k-means++" or "random" (k different points, as
            the authors of DeepCluster do).
        iterations: at most so many rounds; fewer when no point changes its cluster any more. With the same
            start and count labels and centres equal scikit-learn's (`KMeans(k, init=start, n_init=1,
            max_iter=iterations, tol=0)`), unless a cluster runs empty.
        empty: what becomes of a cluster without points: "split" gives it half of the largest (`split_empty`),
            "keep" leaves its centre where it is, and it may stay empty for good.
        generator: of the random numbers (on the CPU); PyTorch's own by default, which `sslcourse.train`
            seeds.
        chunk: rows compared at a time; has no influence on the result.
    """
    x = _points(x)
    n = len(x)
    wanted, k = k, as_whole(k) or 0
    if not 1 <= k <= n:
        raise CourseError(f"k={wanted!r} clusters of {n} points; choose a whole number from 1 to {n}")
    if iterations < 1:
        raise CourseError(f"iterations={iterations}; use at least 1")
    if empty not in EMPTY:
        raise CourseError(f"empty={empty!r}; choose one of {', '.join(EMPTY)}")
    if isinstance(start, Tensor):
        if start.shape != (k, x.shape[1]):
            raise CourseError(
                f"start has shape {tuple(start.shape)}; {k} centres of {x.shape[1]} numbers are needed"
            )
    elif start not in STARTS:
        raise CourseError(f"start={start!r}; give the first centres (k, d), or one of {', '.join(STARTS)}")
    with torch.autocast(x.device.type, enabled=False):
        middle = x.mean(0)  # see `assign`
        x = x - middle
        times = _shrink(x)
        x = x * times
        spread = x.square().mean(0).sqrt()
        centre = (
            (start.detach().to(x) - middle) * times
            if isinstance(start, Tensor)
            else _seeds(x, k, start, generator)
        )
        square = x.square().sum(1)
        label, gap, number, moved = _nearest(x, centre, chunk), None, 1, n
        while True:
            total, count = sums(x, label, k)
            old, centre = (
                centre,
                torch.where((count > 0)[:, None], total / count.clamp_min(1)[:, None], centre),
            )
            if empty == "split":
                centre = split_empty(centre, count, spread, generator)
            # Where the nearest centre was nearer by more than the centres have moved since, it still is
            # (Hamerly, 2010): only the other points are compared with all centres again. As long as many
            # points move nobody is safe, and measuring does not pay.
            before, rows = label, None
            if gap is not None:
                gap -= _lost((centre - old).norm(dim=1), label) * (1 + 1e-5)
                rows = (gap <= 0).nonzero().flatten()
            # to gather them would take longer than to compare them all
            if rows is None or len(rows) > 0.8 * n:
                gap = torch.zeros_like(square) if moved < 0.05 * n else None
                label = _again(x, square, centre, before, chunk, gap)
            else:
                label, fresh = before.clone(), gap[rows]
                label[rows] = _again(x[rows], square[rows], centre, before[rows], chunk, fresh)
                gap[rows] = fresh
            if number == iterations:
                break  # with labels that belong to the last centres
            number += 1
            moved = int((label != before).sum())
            if not moved:
                break
        inertia = float((x - centre[label]).square().sum()) / times**2
        return Clusters(label, centre / times + middle, inertia, number)


# ----------------------------------------------------------------------------------- features made round


@explained
@takes(dim=WHOLE, floor=Number(0, 1e9, whole=False))
@torch.no_grad()
def whiten(x: Float[Tensor, "n d"], dim: int | None = None, floor: float = 1e-5) -> Float[Tensor, "n dim"]:
    """The first principal components, each brought to variance 1: afterwards no direction is louder than
    another.

    Args:
        dim: components to keep, all by default. Take fewer than a tenth of n: small components are mostly
            noise, and whitening makes noise as loud as everything else.
        floor: a component with less than this share of the first one's variance is divided by that share
            instead, so that an empty direction stays (nearly) empty and nothing is divided by zero.

    A component whose spread is no more than the last digits of x is 0: features that have collapsed stay
    where they are, and are not blown up into a cloud of rounding errors.
    """
    x = _points(x)
    dim = dim or x.shape[1]
    if not 1 <= dim <= x.shape[1]:
        raise CourseError(f"dim={dim} components of {x.shape[1]} numbers; choose 1 to {x.shape[1]}")
    with torch.autocast(x.device.type, enabled=False):
        mean = x.mean(0)
        centred = runtime.precise(x - mean)
        # The mean is rounded as x is. Where that shows beside the spread, take away what is left of it.
        left = centred.mean(0)
        centred = centred - left.masked_fill(left.square() <= 1e-8 * centred.square().mean(0), 0.0)
        variance, direction = torch.linalg.eigh(centred.T @ centred / len(x))  # from the smallest up
        variance, direction = variance.flip(0)[:dim], direction.flip(1)[:, :dim]
        least = (variance[0] * floor).clamp_min(torch.finfo(torch.float64).tiny)
        rounding = (mean.to(direction) * torch.finfo(x.dtype).eps).abs() @ direction.abs()
        scale = variance.clamp_min(least).rsqrt().masked_fill(variance <= rounding.square(), 0.0)
        return (centred @ direction * scale).to(x)


# ---------------------------------------------------------------------------------------- two partitions


def _table(a: Tensor, b: Tensor) -> Tensor:
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise CourseError(
            f"partitions of shapes {tuple(a.shape)} and {tuple(b.shape)}; give two (n,) tensors of cluster "
            "numbers"
        )
    a, b = (v.to(a.device).unique(return_inverse=True)[1] for v in (a, b))
    rows, columns = int(a.max()) + 1, int(b.max()) + 1
    return torch.bincount(a * columns + b, minlength=rows * columns).view(rows, columns).double()


def _entropy(p: Tensor) -> Tensor:
    return -torch.special.xlogy(p, p).sum()


@explained
def nmi(a: Int[Tensor, " n"], b: Int[Tensor, " n"], average: str = "geometric") -> float:
    """Normalised mutual information I(a; b) / sqrt(H(a) H(b)) of two partitions, 0 to 1 (DeepCluster, section
    3).

    1 when they are the same up to the numbers of the clusters, 0 when one says nothing about the other. With
    as many clusters as points
    it is high for any two partitions: compare values at one k only.

    Args:
        average: of the two entropies, "geometric" (the paper's) or "arithmetic" (scikit-learn's default).
    """
    if average not in ("geometric", "arithmetic"):
        raise CourseError(f"average={average!r}; choose 'geometric' or 'arithmetic'")
    p = _table(a, b) / len(a)
    first, second, both = _entropy(p.sum(1)), _entropy(p.sum(0)), _entropy(p)
    if p.numel() == 1:
        return 1.0  # two partitions into one piece are the same
    scale = (first * second).sqrt() if average == "geometric" else (first + second) / 2
    return float(((first + second - both) / scale.clamp_min(1e-12)).clamp(0, 1))


@explained
def agreement(now: Int[Tensor, " n"], before: Int[Tensor, " n"]) -> float:
    """How much of the last clustering is found again in this one: `nmi`, and 0 where one of the two is a
    single cluster. Two of those are the same, but there is nothing in them to agree on: it is collapse, not
    success.
    """
    if len(now.unique()) < 2 or len(before.unique()) < 2:
        return 0.0
    return nmi(now, before)


@explained
def purity(label: Int[Tensor, " n"], truth: Int[Tensor, " n"]) -> float:
    """Share of points whose class is the commonest in their cluster, 0 to 1; 1 whenever every point has a
    cluster of its own.
    """
    return float(_table(label, truth).amax(1).sum() / len(label))


@explained
def clusters_in_use(label: Int[Tensor, " n"]) -> float:
    """exp(entropy of the cluster sizes): k clusters of one size count k, one giant among crumbs counts little
    more than 1.
    """
    return float(_entropy(torch.bincount(label).double() / len(label)).exp())


# ---------------------------------------------------------------------------------------------- how fast


def timing(
    n: int = 20_000, d: int = 64, k: int = 200, iterations: int = 20, repeats: int = 7
) -> Iterator[dict[str, float | str]]:
    """Seconds of k-means here and in scikit-learn, in turns, from the same start, on one thread: two rows for
    a table.

    Each row has "best" and "median" of `repeats` runs in seconds, and "inertia". Needs scikit-learn, and (for
    its one thread) threadpoolctl, which comes with it."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=g) + torch.randn(k, d, generator=g)[torch.randint(k, (n,), generator=g)]
    start = _seeds(x, k, "random", g)
    theirs = KMeans(k, init=start.numpy(), n_init=1, max_iter=iterations, tol=0, algorithm="lloyd")
    runs = {
        "sslcourse": lambda: kmeans(x, k, start=start, iterations=iterations).inertia,
        "scikit-learn": lambda: theirs.fit(x.numpy()).inertia_,
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    inertia = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            for _ in range(repeats + 1):
                for name, run in runs.items():
                    begin = time.perf_counter()
                    inertia[name] = float(run())
                    seconds[name].append(time.perf_counter() - begin)
    finally:
        torch.set_num_threads(threads)
    for name, taken in seconds.items():  # the first run of each warmed up
        yield {
            "k-means": name,
            "best": min(taken[1:]),
            "median": statistics.median(taken[1:]),
            "inertia": inertia[name],
        }
