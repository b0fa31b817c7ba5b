"""The exercises of 04_rotation_and_clusters: turned pictures and their labels, one step of k-means, and how
well two partitions agree.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse.check.compare import number
from sslcourse.check.engine import Assignment, Exercise, Mistake, NotYet, Task, assign, register
from sslcourse.methods import rotnet
from sslcourse.runtime.seeds import generator
from sslcourse.train import clustering

# ---------------------------------------------------------------------------------------------- rotations


def _pictures(n: int, side: int, *seed: int) -> Tensor:
    return torch.rand(n, 3, side, side, generator=generator(*seed), dtype=torch.float64)


def _pair_of(value, what: str = "pictures and labels") -> tuple[Tensor, Tensor]:
    if (
        not isinstance(value, (tuple, list))
        or len(value) != 2
        or not all(isinstance(v, Tensor) for v in value)
    ):
        raise NotYet(f"what it returns: {what}", "two tensors", type(value).__name__)
    return value[0], value[1]


def _rows(turned: Tensor, label: Tensor) -> list[tuple]:
    """Every picture with its label, in an order that does not depend on the batch's."""
    return sorted((float(k), *map(float, p.flatten())) for p, k in zip(turned, label))


def _rotations_properties(f: Callable, seed: int) -> None:
    for n, side, k in ((3, 4, 1), (2 + seed % 3, 5, 2)):
        image = _pictures(n, side, seed, k)
        kept = image.clone()
        turned, label = _pair_of(f(image))
        if not torch.equal(image, kept):
            raise NotYet(
                "the pictures after the call (avoid operations in place on them)", "unchanged", "changed"
            )
        if turned.shape != (4 * n, 3, side, side):
            raise NotYet(
                f"{n} pictures in all four turns; the shape of what comes out",
                (4 * n, 3, side, side),
                tuple(turned.shape),
            )
        if label.shape != (4 * n,):
            raise NotYet(
                "one label for each turned picture; the shape of the labels", (4 * n,), tuple(label.shape)
            )
        if label.is_floating_point() or label.dtype == torch.bool:
            raise NotYet(
                "the labels are class numbers, for F.cross_entropy; their type",
                "int64",
                str(label.dtype).removeprefix("torch."),
            )
        if sorted(label.tolist()) != sorted([0, 1, 2, 3] * n):
            raise NotYet(
                "how often each label comes", f"0, 1, 2 and 3, {n} times each", sorted(set(label.tolist()))
            )
        for quarter in range(4):
            mine, right = turned[label == quarter].flatten(1), image.rot90(quarter, (2, 3)).flatten(1)
            distance = torch.cdist(mine, right)
            if not (distance.amin(0) < 1e-9).all():
                missing = int((distance.amin(0) >= 1e-9).sum())
                raise NotYet(
                    f"the pictures with label {quarter} are all pictures turned by {90 * quarter} degrees "
                    "counter-clockwise; how many are "
                    "wrong",
                    0,
                    missing,
                )


def _rotations_same(f: Callable, g: Callable, seed: int) -> bool:
    for n, side, k in ((3, 4, 3), (2, 5, 4)):
        image = _pictures(n, side, seed, k)
        if _rows(*_pair_of(f(image))) != _rows(*_pair_of(g(image))):
            return False
    return True


def _all(image: Tensor, turn: Callable, labels=(0, 1, 2, 3)) -> tuple[Tensor, Tensor]:
    return torch.cat([turn(image, k) for k in range(len(labels))]), torch.tensor(labels).repeat_interleave(
        len(image)
    )


def _turned(image: Tensor, k: int) -> Tensor:
    return image.rot90(k, (2, 3))


def _flipped(image: Tensor, k: int) -> Tensor:
    return image.flip(((), (3,), (2, 3), (2,))[k])


def _transposed(image: Tensor, k: int) -> Tensor:
    return (image, image.transpose(2, 3), image.flip(2, 3), image.flip(2, 3).transpose(2, 3))[k]


def _one_each(f: Callable, seed: int) -> bool:
    """As many pictures come out as went in, each turned by some number of quarter turns."""
    image = _pictures(5, 4, seed, 5)
    turned, _ = _pair_of(f(image))
    every = torch.cat([_turned(image, k) for k in range(4)]).flatten(1)
    return len(turned) == len(image) and bool((torch.cdist(turned.flatten(1), every).amin(1) < 1e-9).all())


ROTATIONS = Exercise(
    "clusters.rotations",
    lambda image: rotnet.rotations(image),
    _rotations_properties,
    (
        Mistake(
            "turned the other way",
            "Label 1 stands for a quarter turn clockwise. A network learns as much from it, but here label "
            "k is k "
            "quarter turns "
            "counter-clockwise, as torch.rot90 does.",
            lambda x: _all(x, lambda x, k: _turned(x, -k)),
            (lambda x: _all(x, _turned, (0, 3, 2, 1)),),
        ),
        Mistake(
            "flips for turns",
            "The pictures are mirrored and not turned. Mirrored pictures stand as upright as before, left "
            "and right: there "
            "would be little "
            "to learn. A quarter turn exchanges rows and columns, and reverses one of them.",
            lambda x: _all(x, _flipped),
            (lambda x: _all(x, lambda x, k: _flipped(x, (0, 3, 2, 1)[k])),),
        ),
        Mistake(
            "transposed",
            "For a quarter turn rows and columns are exchanged, but that alone mirrors the picture along "
            "its diagonal. Reverse "
            "one of the two "
            "axes besides.",
            lambda x: _all(x, _transposed),
            (lambda x: _all(x, lambda x, k: _transposed(x, (0, 3, 2, 1)[k])),),
        ),
        Mistake(
            "labels in another order than the pictures",
            "Pictures and labels are both there, but do not belong together. Where all pictures "
            "come in one turn "
            "first, the labels are 0, 0, ..., 1, 1, ...: repeat_interleave, not repeat.",
            lambda x: (torch.cat([_turned(x, k) for k in range(4)]), torch.arange(4).repeat(len(x))),
            (
                lambda x: (
                    torch.stack([_turned(x, k) for k in range(4)], 1).flatten(0, 1),
                    torch.arange(4).repeat_interleave(len(x)),
                ),
            ),
        ),
        Mistake(
            "one turn for each picture",
            "As many pictures come out as went in. Section 3.1 shows the network all four turns of a "
            "picture in one "
            "batch: then only the turn differs between "
            "them.",
            lambda x: (x.rot90(1, (2, 3)), torch.ones(len(x), dtype=torch.long)),
            (),
            _one_each,
        ),
        Mistake(
            "labels from 1",
            (
                "The labels run from 1 to 4. Class numbers begin at 0, or F.cross_entropy with four outputs "
                "fails at 4."
            ),
            lambda x: _all(x, _turned, (1, 2, 3, 4)),
        ),
        Mistake(
            "degrees for labels",
            "The labels are degrees. F.cross_entropy wants class numbers: 0, 1, 2, 3.",
            lambda x: _all(x, _turned, (0, 90, 180, 270)),
        ),
        Mistake(
            "turned again and again",
            "Each turn begins from the picture that was turned before, by more than a quarter turn each "
            "time. Turn "
            "the original k times, "
            "or the last one once.",
            lambda x: _all(x, lambda x, k: _turned(x, (0, 1, 3, 6)[k])),
        ),
        Mistake(
            "the upright picture left out",
            "Only the turned ones are there. The upright picture is one of the four classes: without it the "
            "network never "
            "sees how things stand.",
            lambda x: (
                torch.cat([_turned(x, k) for k in (1, 2, 3)]),
                torch.arange(3).repeat_interleave(len(x)),
            ),
            (
                lambda x: (
                    torch.cat([_turned(x, k) for k in (1, 2, 3)]),
                    torch.arange(1, 4).repeat_interleave(len(x)),
                ),
            ),
        ),
        Mistake(
            "half turns only",
            "Turns by 0 and 180 degrees alone come out, all labels from 0 to 3 though. Turn by k quarter "
            "turns, k from 0 to "
            "3.",
            lambda x: _all(x, lambda x, k: _turned(x, 2 * k)),
        ),
    ),
    _rotations_same,
    (
        (
            "A batch of B pictures becomes a batch of 4 B. Label k belongs to the pictures that were "
            "turned by "
            "k quarter turns, counter-clockwise."
        ),
        (
            "image.rot90(k, (2, 3)) turns the last two axes. Do it for k from 0 to 3 and put the results "
            "behind each other with torch.cat."
        ),
        "The labels then are B zeros, B ones, ...: torch.arange(4).repeat_interleave(len(image)).",
    ),
)


# ---------------------------------------------------------------------------------------- one step of k-means


def _cloud(n: int, d: int, k: int, *seed: int, empty: bool = False) -> tuple[Tensor, Tensor]:
    """Points (n, d) and k centres that all have points, or the last of which has none. Lengths differ, so
    that angles decide otherwise.
    """
    g = generator(*seed)
    x = torch.randn(n, d, generator=g, dtype=torch.float64) + 1
    x = x * (0.3 + 2 * torch.rand(n, 1, generator=g, dtype=torch.float64))
    centre = x[torch.randperm(n, generator=g)[:k]] + 0.1 * torch.randn(k, d, generator=g, dtype=torch.float64)
    if empty:
        centre[-1] = 100 + torch.rand(d, generator=g, dtype=torch.float64)
    return x, centre


def _slow_step(x: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Point by point, as it is written in every book."""
    label = []
    for p in x:
        distances = [float(((p - own) ** 2).sum()) for own in centre]
        label.append(distances.index(min(distances)))
    moved = []
    for c in range(len(centre)):
        own = [p for p, where in zip(x, label) if where == c]
        moved.append(sum(own) / len(own) if own else centre[c])
    return torch.tensor(label), torch.stack(moved)


def _step_properties(f: Callable, seed: int) -> None:
    for n, d, k, empty in ((12, 3, 3, False), (20 + seed % 5, 4, 5, False), (15, 3, 4, True)):
        x, centre = _cloud(n, d, k, seed, n, k, empty=empty)
        kept = x.clone(), centre.clone()
        label, moved = _pair_of(
            f(x, centre), "the number of the nearest centre for each point, and the new centres"
        )
        if not (torch.equal(x, kept[0]) and torch.equal(centre, kept[1])):
            raise NotYet(
                "points and centres after the call (avoid operations in place on them)",
                "unchanged",
                "changed",
            )
        right, target = _slow_step(x, centre)
        if label.shape != (n,):
            raise NotYet(f"{n} points; the shape of the labels", (n,), tuple(label.shape))
        if moved.shape != centre.shape:
            raise NotYet("the shape of the new centres", tuple(centre.shape), tuple(moved.shape))
        if not torch.equal(label.long(), right):
            first = int((label.long() != right).nonzero()[0])
            raise NotYet(
                f"the nearest of {k} centres, for {n} points; that of point {first}",
                int(right[first]),
                int(label[first]),
            )
        if empty and not torch.isfinite(moved[-1]).all():
            raise NotYet("the new place of a centre without points", "where it was", moved[-1].tolist())
        if empty and not torch.allclose(moved[-1].to(target), target[-1]):
            raise NotYet(
                "the new place of a centre without points, first number",
                f"{float(target[-1, 0]):.3f}, where it was",
                f"{float(moved[-1, 0]):.3f}",
            )
        if not torch.allclose(moved.to(target), target, atol=1e-8):
            row = int((moved - target).abs().amax(1).argmax())
            raise NotYet(
                f"centre {row} moves to the mean of its points; the first number of it",
                f"{float(target[row, 0]):.4f}",
                f"{float(moved[row, 0]):.4f}",
            )


def _step_same(f: Callable, g: Callable, seed: int) -> bool:
    for n, d, k, empty in ((14, 3, 3, False), (16, 4, 4, True)):
        pair = _cloud(n, d, k, seed, n, 9, empty=empty)
        (a, p), (b, q) = (_pair_of(h(*pair)) for h in (f, g))
        if (
            a.shape != b.shape
            or p.shape != q.shape
            or not torch.equal(a.long(), b.long())
            or not torch.allclose(p, q, equal_nan=True)
        ):
            return False
    return True


def _step(x: Tensor, centre: Tensor, score=None, move=None) -> tuple[Tensor, Tensor]:
    """One step with a part exchanged: score (n, k), the least is nearest; move(total, count, centre, x,
    label).
    """
    label = (torch.cdist(x, centre) if score is None else score(x, centre)).argmin(1)
    total = torch.zeros_like(centre).index_add(0, label, x)
    count = torch.bincount(label, minlength=len(centre))[:, None]
    if move is not None:
        return label, move(total, count, centre, x, label)
    return label, torch.where(count > 0, total / count.clamp_min(1), centre)


def _medians(total, count, centre, x, label):
    return torch.stack(
        [x[label == c].median(0).values if (label == c).any() else centre[c] for c in range(len(centre))]
    )


def _after_the_move(x: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    _, moved = _step(x, centre)
    return _step(x, moved)[0], moved


def _keep(new: Callable) -> Callable:
    """Where a centre has points, new; else where it was."""
    return lambda total, count, centre, x, label: torch.where(
        count > 0, new(total, count.clamp_min(1), centre, x), centre
    )


KMEANS_STEP = Exercise(
    "clusters.kmeans_step",
    lambda x, centre: _step(x, centre),
    _step_properties,
    (
        Mistake(
            "the farthest centre",
            (
                "Each point goes to the centre that is farthest from it. The nearest one has the *smallest* "
                "distance: argmin."
            ),
            lambda x, c: _step(x, c, lambda x, c: -torch.cdist(x, c)),
        ),
        Mistake(
            "largest inner product",
            "Points go to the centre with the largest inner product. |x - c|² = |x|² - 2 x·c + |c|²: the "
            "last term "
            "differs between centres and must "
            "not be left out.",
            lambda x, c: _step(x, c, lambda x, c: -x @ c.T),
        ),
        Mistake(
            "compared by angle",
            "Rows are scaled to length 1 before they are compared. k-means compares the points as they are "
            "given "
            "(DeepCluster "
            "normalises them once, before).",
            lambda x, c: _step(x, c, lambda x, c: -F.normalize(x, dim=1) @ F.normalize(c, dim=1).T),
        ),
        Mistake(
            "sum of absolute differences",
            (
                "Distances are sums of absolute differences. The mean is the best centre for *squared* "
                "differences."
            ),
            lambda x, c: _step(x, c, lambda x, c: torch.cdist(x, c, p=1)),
        ),
        Mistake(
            "nothing divided by nothing",
            "A centre without points becomes NaN (0 / 0), and from there on every distance to it. It "
            "should stay "
            "where it is.",
            lambda x, c: _step(x, c, move=lambda total, count, c, x, label: total / count),
        ),
        Mistake(
            "an empty centre falls to 0",
            "A centre without points is put at the origin: its sum, 0, is divided by 1. It should stay "
            "where it "
            "is.",
            lambda x, c: _step(x, c, move=lambda total, count, c, x, label: total / count.clamp_min(1)),
        ),
        Mistake(
            "sum for mean",
            "The new centre is the sum of its points. Divide by how many there are.",
            lambda x, c: _step(x, c, move=_keep(lambda total, count, c, x: total)),
            (lambda x, c: _step(x, c, move=lambda total, count, c, x, label: total),),
        ),
        Mistake(
            "divided by all points",
            "The sums are divided by the number of all points. Each centre has its own: "
            "torch.bincount(label, "
            "minlength=k).",
            lambda x, c: _step(x, c, move=_keep(lambda total, count, c, x: total / len(x))),
            (lambda x, c: _step(x, c, move=lambda total, count, c, x, label: total / len(x)),),
        ),
        Mistake(
            "median for mean",
            "The new centre is the median of its points. That is another algorithm (k-medians); the mean "
            "has the least "
            "squared distance.",
            lambda x, c: _step(x, c, move=_medians),
        ),
        Mistake(
            "labels of the moved centres",
            "The labels are those after the centres have moved. A step assigns first, then moves; the next "
            "one "
            "assigns again.",
            _after_the_move,
        ),
        Mistake(
            "half the way",
            "The centres stop half-way between where they were and the mean. They go all the way.",
            lambda x, c: _step(x, c, move=_keep(lambda total, count, c, x: (c + total / count) / 2)),
        ),
        Mistake(
            "the old centre counted as a point",
            "Each mean includes the old centre, as if it were a point. Only points count.",
            lambda x, c: _step(x, c, move=_keep(lambda total, count, c, x: (c + total) / (count + 1))),
        ),
    ),
    _step_same,
    (
        "Two lines of mathematics: each point's label is the number of the centre with the least squared "
        "distance; each new centre is the mean of "
        "its points.",
        (
            "torch.cdist(x, centre) gives all distances (n, k). torch.zeros_like(centre).index_add(0, label, "
            "x) gives the sum of each centre's points."
        ),
        "count = torch.bincount(label, minlength=len(centre))[:, None]; torch.where(count > 0, total / "
        "count.clamp_min(1), centre) leaves empty "
        "ones alone.",
    ),
)


# -------------------------------------------------------------------------------- agreement of two partitions


def _partitions(n: int, k: int, *seed: int) -> tuple[Tensor, Tensor]:
    """Two partitions that partly agree, in other numbers."""
    g = generator(*seed)
    a = torch.cat([torch.arange(k), torch.randint(k, (n - k,), generator=g)])
    b = torch.where(torch.rand(n, generator=g) < 0.6, (a + 1) % k, torch.randint(k + 1, (n,), generator=g))
    return a, b


def _slow_nmi(a: Tensor, b: Tensor) -> float:
    """I(a; b) / sqrt(H(a) H(b)), sum by sum."""
    import math

    first, second, n = a.tolist(), b.tolist(), len(a)
    p = {i: first.count(i) / n for i in set(first)}
    q = {j: second.count(j) / n for j in set(second)}
    both = {(i, j): sum(1 for u, v in zip(first, second) if (u, v) == (i, j)) / n for i in p for j in q}
    information = sum(r * math.log(r / (p[i] * q[j])) for (i, j), r in both.items() if r)
    entropy = lambda shares: -sum(r * math.log(r) for r in shares.values())
    return information / math.sqrt(entropy(p) * entropy(q))


def _nmi_properties(f: Callable, seed: int) -> None:
    for n, k in ((40, 3), (30 + seed % 7, 5)):
        a, b = _partitions(n, k, seed, n)
        value = f(a, b)
        if isinstance(value, Tensor) and value.ndim or not isinstance(value, (Tensor, float, int)):
            raise NotYet("what it returns", "one number", type(value).__name__)
        if not abs(number(value) - _slow_nmi(a, b)) <= 1e-5:
            raise NotYet(
                f"the agreement of two partitions of {n} points",
                f"{_slow_nmi(a, b):.4f}",
                f"{number(value):.4f}",
            )
        other = torch.randperm(k + 1, generator=generator(seed, 3))[b]
        if not abs(number(f(a, other)) - _slow_nmi(a, b)) <= 1e-5:
            raise NotYet(
                "the same partitions with other cluster numbers",
                f"{_slow_nmi(a, b):.4f}",
                f"{number(f(a, other)):.4f}",
            )
        if not abs(number(f(a, a)) - 1) <= 1e-5:
            raise NotYet("the agreement of a partition with itself", "1", f"{number(f(a, a)):.4f}")
    a, b = torch.arange(6).repeat(6), torch.arange(6).repeat_interleave(6)
    if not abs(number(f(a, b))) <= 1e-5:
        raise NotYet(
            "the agreement of rows with columns, which say nothing about each other",
            "0",
            f"{number(f(a, b)):.4f}",
        )


def _nmi_same(f: Callable, g: Callable, seed: int) -> bool:
    for n, k in ((36, 4), (50, 6)):
        a, b = _partitions(n, k, seed, n, 8)
        if not torch.isclose(
            torch.tensor(number(f(a, b))).double(),
            torch.tensor(number(g(a, b))).double(),
            rtol=1e-4,
            atol=1e-6,
            equal_nan=True,
        ):
            return False
    return True


def _information(a: Tensor, b: Tensor, divide: Callable, guard: bool = True) -> float:
    """Mutual information in nats, divided by a function of (information, H(a), H(b), H(a, b))."""
    table = torch.zeros(int(a.max()) + 1, int(b.max()) + 1, dtype=torch.float64)
    table.index_put_((a, b), torch.ones(len(a), dtype=torch.float64), accumulate=True)
    p = table / len(a)
    log = lambda x: torch.special.xlogy(x, x) if guard else x * x.log()
    h = [-log(v).sum() for v in (p.sum(1), p.sum(0), p)]
    return float(divide(h[0] + h[1] - h[2], *h))


NMI = Exercise(
    "clusters.nmi",
    lambda a, b: clustering.nmi(a, b),
    _nmi_properties,
    (
        Mistake(
            "share of equal numbers",
            "It counts how often both numbers are equal. Cluster 7 of one partition has nothing to do with "
            "cluster 7 "
            "of another: only which points are "
            "together matters.",
            lambda a, b: float((a == b).double().mean()),
        ),
        Mistake(
            "not normalised",
            (
                "This is the mutual information itself, which grows with the number of clusters. Divide it "
                "by "
                "sqrt(H(a) H(b))."
            ),
            lambda a, b: _information(a, b, lambda i, ha, hb, hab: i),
            (lambda a, b: _information(a, b, lambda i, ha, hb, hab: i / torch.tensor(2.0).log()),),
        ),
        Mistake(
            "divided by one entropy",
            "It is divided by the entropy of one partition alone, and so says how much of that one the "
            "other tells. "
            "Take "
            "sqrt(H(a) H(b)).",
            lambda a, b: _information(a, b, lambda i, ha, hb, hab: i / ha),
            (lambda a, b: _information(a, b, lambda i, ha, hb, hab: i / hb),),
        ),
        Mistake(
            "arithmetic mean",
            "It is divided by the mean (H(a) + H(b)) / 2, as scikit-learn does by default. The paper "
            "(section 3) divides by "
            "sqrt(H(a) H(b)).",
            lambda a, b: _information(a, b, lambda i, ha, hb, hab: 2 * i / (ha + hb)),
        ),
        Mistake(
            "product for root",
            (
                "It is divided by H(a) H(b). Information squared is in the denominator then: take the square "
                "root."
            ),
            lambda a, b: _information(a, b, lambda i, ha, hb, hab: i / (ha * hb)),
        ),
        Mistake(
            "divided by the joint entropy",
            "It is divided by H(a, b). That is another measure; the paper divides by sqrt(H(a) H(b)).",
            lambda a, b: _information(a, b, lambda i, ha, hb, hab: i / hab),
        ),
        Mistake(
            "joint entropy for information",
            "The numerator is H(a, b), what both say together. The information they share is H(a) + H(b) - "
            "H(a, b).",
            lambda a, b: _information(a, b, lambda i, ha, hb, hab: hab / (ha * hb).sqrt()),
        ),
        Mistake(
            "0 log 0",
            "Some clusters have no point in common, and 0 · log 0 gives NaN. Such a term is 0: "
            "torch.special.xlogy(p, p), or leave "
            "zeros out.",
            lambda a, b: _information(a, b, lambda i, ha, hb, hab: i / (ha * hb).sqrt(), guard=False),
        ),
        Mistake(
            "purity",
            "This is how often a point belongs to the commonest cluster of the other partition in its own. "
            "It is high whenever there "
            "are many small "
            "clusters; NMI takes their entropy into account.",
            lambda a, b: clustering.purity(a, b),
            (lambda a, b: clustering.purity(b, a),),
        ),
    ),
    _nmi_same,
    (
        "Count in a table how many points have cluster i in one partition and cluster j in the other, and "
        "divide by n: that is the joint "
        "distribution.",
        (
            "Its row sums and column sums are the distributions of each. I(a; b) = H(a) + H(b) - H(a, b), "
            "with "
            "H(p) = -sum p log p and 0 log 0 = 0."
        ),
        "The result is I / sqrt(H(a) H(b)). torch.special.xlogy(p, p) is p log p, and 0 where p is 0.",
    ),
)

register(ROTATIONS, KMEANS_STEP, NMI)
assign(
    Assignment(
        "04_rotation_and_clusters",
        (
            Task("clusters.rotations", "my_rotations"),
            Task("clusters.kmeans_step", "my_kmeans_step"),
            Task("clusters.nmi", "my_nmi"),
        ),
    )
)
