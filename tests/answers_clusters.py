"""The exercises of 04_rotation_and_clusters in other hands: loops, NumPy, other functions of torch."""

import math
from collections import Counter

import numpy as np
import torch

# ----------------------------------------------------------------------------------------- clusters.rotations


def by_picture(image, turns=(0, 1, 2, 3), labels=(0, 1, 2, 3), turn=lambda p, k: torch.rot90(p, k, (1, 2))):
    """Picture by picture, all turns of one beside each other."""
    pairs = [(turn(p, k), label) for p in image for k, label in zip(turns, labels)]
    return torch.stack([p for p, _ in pairs]), torch.tensor([label for _, label in pairs])


def by_numpy(image, direction=1, order=None):
    x = image.numpy()
    turned = np.concatenate([np.rot90(x, direction * k, axes=(2, 3)) for k in range(4)])
    return torch.from_numpy(turned.copy()), torch.from_numpy(np.repeat(order or np.arange(4), len(x)))


def by_flips(image):
    """A quarter turn counter-clockwise: exchange rows and columns, then turn upside down."""
    quarter = lambda x: x.transpose(2, 3).flip(2)
    parts = [image, quarter(image), quarter(quarter(image)), quarter(quarter(quarter(image)))]
    return torch.cat(parts), torch.arange(4).repeat_interleave(len(image))


def mirrored(p, k):
    return [p, p.flip(2), p.flip(1).flip(2), p.flip(1)][k]


def exchanged(p, k):
    return [p, p.transpose(1, 2), p.flip(1).flip(2), p.flip(1).flip(2).transpose(1, 2)][k]


def again_and_again(image):
    pictures, labels, x = [], [], image
    for k in range(4):
        x = torch.rot90(x, k, (2, 3))
        pictures.append(x)
        labels.append(torch.full((len(image),), k))
    return torch.cat(pictures), torch.cat(labels)


def one_at_random(image):
    label = torch.randint(4, (len(image),))
    return torch.stack([torch.rot90(p, int(k), (1, 2)) for p, k in zip(image, label)]), label


ROTATIONS = {
    "turned the other way": [
        lambda x: by_picture(x, turns=(0, 3, 2, 1)),
        lambda x: by_numpy(x, direction=-1),
    ],
    "flips for turns": [
        lambda x: by_picture(x, turn=mirrored),
        lambda x: by_picture(x, turns=(0, 3, 2, 1), turn=mirrored),
    ],
    "transposed": [
        lambda x: by_picture(x, turn=exchanged),
        lambda x: by_picture(x, turns=(0, 3, 2, 1), turn=exchanged),
    ],
    "labels in another order than the pictures": [
        lambda x: (by_numpy(x)[0], torch.arange(4 * len(x)) % 4),
        lambda x: (by_picture(x)[0], torch.arange(4 * len(x)) // len(x)),
    ],
    "one turn for each picture": [
        one_at_random,
        lambda x: (torch.rot90(x, 2, (2, 3)), torch.full((len(x),), 2)),
    ],
    "labels from 1": [
        lambda x: by_picture(x, labels=(1, 2, 3, 4)),
        lambda x: (by_numpy(x)[0], by_numpy(x)[1] + 1),
    ],
    "degrees for labels": [
        lambda x: by_picture(x, labels=(0, 90, 180, 270)),
        lambda x: (by_flips(x)[0], by_flips(x)[1] * 90),
    ],
    "turned again and again": [again_and_again, lambda x: by_picture(x, turns=(0, 1, 3, 2))],
    "the upright picture left out": [
        lambda x: by_picture(x, turns=(1, 2, 3), labels=(0, 1, 2)),
        lambda x: by_picture(x, turns=(1, 2, 3), labels=(1, 2, 3)),
    ],
    "half turns only": [
        lambda x: by_picture(x, turns=(0, 2, 0, 2)),
        lambda x: by_picture(x, turns=(0, 2, 4, 6)),
    ],
}

# --------------------------------------------------------------------------------------- clusters.kmeans_step


def in_loops(
    x,
    centre,
    *,
    cost=lambda p, c: ((p - c) ** 2).sum(),
    best=min,
    mean=lambda own, old: own.mean(0),
    empty=lambda old: old,
    relabel=False,
):
    where = lambda centres: torch.tensor(
        [best(range(len(centres)), key=lambda j, p=p: float(cost(p, centres[j]))) for p in x]
    )
    label = where(centre)
    moved = torch.stack(
        [
            mean(x[label == j], centre[j]) if (label == j).any() else empty(centre[j])
            for j in range(len(centre))
        ]
    )
    return (where(moved) if relabel else label), moved


def with_numpy(x, centre, *, power=2, total=False, over_all=False):
    a, b = x.numpy(), centre.numpy()
    label = (np.abs(a[:, None] - b[None]) ** power).sum(-1).argmin(1)
    moved = b.copy()
    for j in range(len(b)):
        if (label == j).any():
            own = a[label == j]
            moved[j] = own.sum(0) if total else own.sum(0) / len(a) if over_all else own.mean(0)
    return torch.from_numpy(label), torch.from_numpy(moved)


def with_one_hot(x, centre, *, score=None, divide=None):
    """By matrices: who belongs where, and what comes of it."""
    score = (
        (x.square().sum(1, keepdim=True) - 2 * x @ centre.T + centre.square().sum(1))
        if score is None
        else score(x, centre)
    )
    label = score.argmin(1)
    belongs = torch.nn.functional.one_hot(label, len(centre)).to(x.dtype)
    count = belongs.sum(0)[:, None]
    if divide is not None:
        return label, divide(belongs.T @ x, count)
    return label, torch.where(count == 0, centre, belongs.T @ x / count.clamp_min(1))


def unit(v):
    return v / v.norm(dim=-1, keepdim=True)


KMEANS_STEP = {
    "the farthest centre": [
        lambda x, c: in_loops(x, c, best=max),
        lambda x, c: with_one_hot(x, c, score=lambda x, c: -((x[:, None] - c) ** 2).sum(2)),
    ],
    "largest inner product": [
        lambda x, c: in_loops(x, c, cost=lambda p, c: -(p @ c)),
        lambda x, c: with_one_hot(x, c, score=lambda x, c: -2 * x @ c.T),
    ],
    "compared by angle": [
        lambda x, c: in_loops(x, c, cost=lambda p, c: ((p / p.norm() - c / c.norm()) ** 2).sum()),
        lambda x, c: with_one_hot(x, c, score=lambda x, c: 1 - unit(x) @ unit(c).T),
    ],
    "sum of absolute differences": [
        lambda x, c: in_loops(x, c, cost=lambda p, c: (p - c).abs().sum()),
        lambda x, c: with_numpy(x, c, power=1),
    ],
    "nothing divided by nothing": [
        lambda x, c: in_loops(x, c, empty=lambda old: old * float("nan")),
        lambda x, c: with_one_hot(x, c, divide=lambda total, count: total / count),
    ],
    "an empty centre falls to 0": [
        lambda x, c: in_loops(x, c, empty=torch.zeros_like),
        lambda x, c: with_one_hot(x, c, divide=lambda total, count: total / count.clamp(min=1)),
    ],
    "sum for mean": [
        lambda x, c: with_numpy(x, c, total=True),
        lambda x, c: with_one_hot(x, c, divide=lambda total, count: total),
    ],
    "divided by all points": [
        lambda x, c: with_numpy(x, c, over_all=True),
        lambda x, c: with_one_hot(x, c, divide=lambda total, count: total / len(x)),
    ],
    "median for mean": [
        lambda x, c: in_loops(x, c, mean=lambda own, old: own.median(0).values),
        lambda x, c: in_loops(x, c, mean=lambda own, old: own.sort(0).values[(len(own) - 1) // 2]),
    ],
    "labels of the moved centres": [
        lambda x, c: in_loops(x, c, relabel=True),
        lambda x, c: (with_one_hot(x, with_one_hot(x, c)[1])[0], with_one_hot(x, c)[1]),
    ],
    "half the way": [
        lambda x, c: in_loops(x, c, mean=lambda own, old: old + 0.5 * (own.mean(0) - old)),
        lambda x, c: (with_numpy(x, c)[0], c + (with_numpy(x, c)[1] - c) / 2),
    ],
    "the old centre counted as a point": [
        lambda x, c: in_loops(x, c, mean=lambda own, old: torch.cat([own, old[None]]).mean(0)),
        lambda x, c: in_loops(x, c, mean=lambda own, old: old + (own - old).sum(0) / (len(own) + 1)),
    ],
}

# ---------------------------------------------------------------------------------------------- clusters.nmi


def entropy(values):
    n = len(values)
    return -sum(c / n * math.log(c / n) for c in Counter(values).values())


def by_counting(a, b, combine=lambda i, ha, hb, hab: i / math.sqrt(ha * hb)):
    a, b = a.tolist(), b.tolist()
    ha, hb, hab = entropy(a), entropy(b), entropy(list(zip(a, b)))
    return combine(ha + hb - hab, ha, hb, hab)


def by_histogram(a, b, combine=lambda i, ha, hb, hab: i / np.sqrt(ha * hb), guard=True):
    p = np.histogram2d(a.numpy(), b.numpy(), bins=(np.arange(int(a.max()) + 2), np.arange(int(b.max()) + 2)))[
        0
    ]
    p = p / p.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        h = [-(np.nansum(v * np.log(v)) if guard else (v * np.log(v)).sum()) for v in (p.sum(1), p.sum(0), p)]
    return float(combine(h[0] + h[1] - h[2], *h))


def commonest(a, b):
    return sum(max(Counter(b[a == i].tolist()).values()) for i in set(a.tolist())) / len(a)


def both(*combines):
    return [lambda a, b, c=c, f=f: f(a, b, c) for c in combines for f in (by_counting, by_histogram)]


NMI = {
    "share of equal numbers": [
        lambda a, b: sum(x == y for x, y in zip(a.tolist(), b.tolist())) / len(a),
        lambda a, b: 1 - float((a != b).float().mean()),
    ],
    "not normalised": both(lambda i, ha, hb, hab: i, lambda i, ha, hb, hab: i / math.log(2)),
    "divided by one entropy": both(lambda i, ha, hb, hab: i / ha, lambda i, ha, hb, hab: i / hb),
    "arithmetic mean": both(lambda i, ha, hb, hab: i / ((ha + hb) / 2)),
    "product for root": both(lambda i, ha, hb, hab: i / (ha * hb)),
    "divided by the joint entropy": both(lambda i, ha, hb, hab: i / hab),
    "joint entropy for information": both(lambda i, ha, hb, hab: hab / (ha * hb) ** 0.5),
    "0 log 0": [
        lambda a, b: by_histogram(a, b, guard=False),
        lambda a, b: torch.tensor(by_histogram(a, b, guard=False)),
    ],
    "purity": [commonest, lambda a, b: commonest(b, a)],
}


WRITTEN_OTHERWISE = {
    "clusters.rotations": ROTATIONS,
    "clusters.kmeans_step": KMEANS_STEP,
    "clusters.nmi": NMI,
}
RIGHT_OTHERWISE = {
    "clusters.rotations": [by_picture, by_numpy, by_flips],
    "clusters.kmeans_step": [in_loops, with_numpy, with_one_hot],
    "clusters.nmi": [by_counting, by_histogram],
}
