"""The mistakes of 03_damaged_jigsaw made by other hands: loops, other functions of torch, other places to go
wrong.
"""

import math

import torch
import torch.nn.functional as F

# --------------------------------------------------------------------------------- orders far from each other


def hamming(a, b):
    return sum(int(x) != int(y) for x, y in zip(a, b))


def by_loops(candidates, count, worth=lambda d: (min(d), sum(d)), pick=max, taken=True, first=0):
    rows = candidates.tolist()
    chosen = [first]
    while len(chosen) < count:
        left = [i for i in range(len(rows)) if not (taken and i in chosen)]
        chosen.append(pick(left, key=lambda i: worth([hamming(rows[i], rows[j]) for j in chosen])))
    return candidates[torch.tensor(chosen)]


def with_matrix(candidates, count):
    distance = (
        torch.cdist(
            F.one_hot(candidates.long(), candidates.shape[1]).flatten(1).double(),
            F.one_hot(candidates.long(), candidates.shape[1]).flatten(1).double(),
            p=1,
        )
        / 2
    )
    chosen = torch.zeros(1, dtype=torch.long)
    for _ in range(count - 1):
        d = distance[:, chosen]
        chosen = torch.cat([chosen, (d.min(1).values * 500 + d.sum(1)).argmax()[None]])
    return candidates[chosen]


ORDERS = {
    "the first ones": (
        lambda c, k: torch.stack([c[i] for i in range(k)]),
        lambda c, k: torch.narrow(c, 0, 0, k),
    ),
    "chosen at random": (
        lambda c, k: c[torch.multinomial(torch.ones(len(c)), k)],
        lambda c, k: c[torch.rand(len(c)).argsort()[:k]],
    ),
    "nearest instead of farthest": (
        lambda c, k: by_loops(c, k, pick=min, worth=sum),
        lambda c, k: by_loops(c, k, worth=lambda d: -sum(d) / len(d)),
    ),
    "an order twice": (
        lambda c, k: by_loops(c, k, worth=lambda d: d[-1], taken=False),
        lambda c, k: by_loops(c, k, pick=min, taken=False),
        lambda c, k: c[:1].repeat(k, 1),
    ),
    "only the first is looked at": (
        lambda c, k: by_loops(c, k, worth=lambda d: d[0]),
        lambda c, k: c[sorted(range(len(c)), key=lambda i: (i != 0, -hamming(c[i], c[0])))[:k]],
    ),
    "only the last is looked at": (
        lambda c, k: by_loops(c, k, worth=lambda d: d[-1]),
        lambda c, k: by_loops(c.flip(1), k, worth=lambda d: d[-1]).flip(1),
    ),
    "the sum alone": (
        lambda c, k: by_loops(c, k, worth=sum),
        lambda c, k: by_loops(c, k, worth=lambda d: sum(d) / len(d)),
    ),
    "one too few": (lambda c, k: by_loops(c, k)[:-1], lambda c, k: by_loops(c, k - 1)),
    "one too many": (lambda c, k: with_matrix(c, k + 1), lambda c, k: torch.cat([c[:1], by_loops(c, k)])),
    "begins elsewhere": (lambda c, k: by_loops(c, k, first=3), lambda c, k: by_loops(c, k, first=len(c) - 1)),
    "rows instead of orders": (
        lambda c, k: torch.arange(k),
        lambda c, k: torch.zeros(k, k),
        lambda c, k: [0] * k,
    ),
}
ORDERS["rows instead of orders"] = ORDERS["rows instead of orders"][:2]


# ---------------------------------------------------------------------------------------------- the puzzle


def by_unfold(image, order, gap, *, cell=None, crop=True, place="order", scale="piece", top=None, left=None):
    """Cells by unfold, then a crop of each by hand."""
    b, c, h, w = image.shape
    cell = h // 3
    cells = (
        image.unfold(2, cell, cell)
        .unfold(3, cell, cell)
        .permute(0, 2, 3, 1, 4, 5)
        .reshape(b, 9, c, cell, cell)
    )
    if place == "transposed":
        cells = cells.view(b, 3, 3, c, cell, cell).transpose(1, 2).reshape(b, 9, c, cell, cell)
    if scale == "image":
        cells = torch.stack([(x - x.mean()) / x.std() for x in cells])
    size = cell - gap if crop else cell
    out = torch.empty(b, 9, c, size, size, dtype=image.dtype)
    for i in range(b):
        for k in range(9):
            y = int(torch.randint(gap + 1, ())) if top is None else int(top(i, k))
            x = int(torch.randint(gap + 1, ())) if left is None else (y if left == "top" else int(left(i, k)))
            y, x = (y, x) if crop else (0, 0)
            piece = cells[i, k, :, y : y + size, x : x + size]
            if scale == "piece":
                piece = (piece - piece.mean()) / (piece.std(correction=0) + 1e-5)
            elif scale == "mean":
                piece = piece - piece.mean()
            at = {"order": None, "transposed": None, "inverse": int(order[i, k]), "stay": k, "first": None}[
                place
            ]
            if at is None:
                at = (order[0 if place == "first" else i] == k).nonzero().item()
            out[i, at] = piece
    return (out - out.mean()) / out.std() if scale == "batch" else out


def two_numbers(image, order, gap, **kwargs):
    """One shift for all pieces, drawn once in each picture."""
    drawn = [torch.randint(gap + 1, (2,)).tolist() for _ in image]
    return by_unfold(image, order, gap, top=lambda i, k: drawn[i][0], left=lambda i, k: drawn[i][1], **kwargs)


def once_for_all(image, order, gap):
    drawn = torch.randint(gap + 1, (2,)).tolist()
    return by_unfold(image, order, gap, top=lambda i, k: drawn[0], left=lambda i, k: drawn[1])


def nine_shifts(image, order, gap):
    drawn = torch.randint(gap + 1, (9, 2)).tolist()
    return by_unfold(image, order, gap, top=lambda i, k: drawn[k][0], left=lambda i, k: drawn[k][1])


def nine_shifts_by_picture_one(image, order, gap):
    state = torch.get_rng_state()
    out = []
    for i in range(len(image)):
        torch.set_rng_state(state)
        out.append(by_unfold(image[i : i + 1], order[i : i + 1], gap))
    return torch.cat(out)


def anywhere(image, order, gap, reach=2):
    """Windows from the whole picture, which are not kept inside the cell."""
    cell = image.shape[2] // 3
    size, rows = cell - gap, []
    for i, o in enumerate(order.tolist()):
        for k in o:
            y = min(k // 3 * cell + int(torch.randint(int(reach * gap) + 1, ())), image.shape[2] - size)
            x = min(k % 3 * cell + int(torch.randint(int(reach * gap) + 1, ())), image.shape[3] - size)
            piece = image[i, :, y : y + size, x : x + size]
            rows.append((piece - piece.mean()) / piece.std(correction=0).clamp_min(1e-5))
    return torch.stack(rows).view(len(image), 9, 3, size, size)


def whole_first(image, order, gap):
    mean, std = image.mean(dim=(1, 2, 3), keepdim=True), image.std(dim=(1, 2, 3), keepdim=True)
    return by_unfold((image - mean) / std, order, gap, scale=None)


def gathered(image, order, gap):
    """Right: all indices at once."""
    b, c, h, _ = image.shape
    cell = h // 3
    size = cell - gap
    corner = torch.stack([order // 3, order % 3], -1) * cell + torch.randint(gap + 1, (b, 9, 2))
    y = corner[..., :1] + torch.arange(size)
    x = corner[..., 1:] + torch.arange(size)
    pieces = torch.stack(
        [torch.stack([image[i][:, y[i, k]][:, :, x[i, k]] for k in range(9)]) for i in range(b)]
    )
    return F.layer_norm(pieces, pieces.shape[2:], eps=1e-6)


PUZZLES = {
    "no gap": (lambda x, o, gap: by_unfold(x, o, gap, crop=False), lambda x, o, gap: by_unfold(x, o, 0)),
    "always from the middle": (
        lambda x, o, gap: by_unfold(x, o, gap, top=lambda i, k: 1, left=lambda i, k: 2),
        lambda x, o, gap: by_unfold(x, o, gap, top=lambda i, k: gap // 2, left="top"),
    ),
    "one shift for all pieces": (two_numbers, once_for_all),
    "one shift for all pictures": (nine_shifts, nine_shifts_by_picture_one),
    "shifted along the diagonal": (
        lambda x, o, gap: by_unfold(x, o, gap, left="top"),
        lambda x, o, gap: (
            lambda d: by_unfold(x, o, gap, top=lambda i, k: d[i, k], left=lambda i, k: d[i, k])
        )(torch.randint(gap + 1, (len(x), 9))),
    ),
    "pieces leave their cell": (anywhere, lambda x, o, gap: anywhere(x, o, gap, reach=1.67)),
    "rows and columns swapped": (
        lambda x, o, gap: by_unfold(x, o, gap, place="transposed"),
        lambda x, o, gap: by_unfold(x.mT, o, gap).mT,
    ),
    "the inverse order": (
        lambda x, o, gap: by_unfold(x, o, gap, place="inverse"),
        lambda x, o, gap: gathered(x, o.argsort(1), gap),
    ),
    "not shuffled": (
        lambda x, o, gap: by_unfold(x, o, gap, place="stay"),
        lambda x, o, gap: gathered(x, torch.arange(9).expand(len(x), 9), gap),
    ),
    "one order for all pictures": (
        lambda x, o, gap: by_unfold(x, o, gap, place="first"),
        lambda x, o, gap: gathered(x, o[0].repeat(len(x), 1), gap),
    ),
    "normalised over the whole picture": (
        lambda x, o, gap: by_unfold(x, o, gap, scale="image"),
        whole_first,
        lambda x, o, gap: by_unfold(x, o, gap, scale="batch"),
    ),
    "not normalised": (
        lambda x, o, gap: by_unfold(x, o, gap, scale=None),
        lambda x, o, gap: by_unfold(x * 0.5 + 0.25, o, gap, scale=None),
    ),
    "mean only": (
        lambda x, o, gap: by_unfold(x, o, gap, scale="mean"),
        lambda x, o, gap: 2 * by_unfold(x, o, gap, scale="mean"),
    ),
}


# ---------------------------------------------------------------------------------------------- the loss


def by_puzzle(
    orders,
    permutation,
    colours,
    bins,
    missing,
    faded,
    weights,
    *,
    scale=True,
    log=math.log,
    fill=lambda i, k, m: k == m,
    paint=lambda i, k, m, f: f,
    terms=(1, 1, 1),
    weigh=lambda w: w,
    total=False,
    soft=lambda x, dim: x.log_softmax(dim),
):
    """Puzzle by puzzle and piece by piece."""
    pays = [[], [], []]
    for i in range(len(orders)):
        pays[0].append(-soft(orders[i], 0)[permutation[i]])
        for k in range(colours.shape[1]):
            right = -soft(colours[i, k], 0).gather(0, bins[i, k][None]).flatten()
            if fill(i, k, int(missing[i])):
                pays[1] += list(right)
            if paint(i, k, int(missing[i]), bool(faded[i, k])):
                pays[2] += list(right)
    choices = (orders.shape[1], colours.shape[2], colours.shape[2])
    loss = 0
    for pay, count, use, weight in zip(pays, choices, terms, weigh(weights)):
        value = torch.stack(pay).sum() if total else torch.stack(pay).mean()
        loss = loss + use * weight * (value / log(count) if scale else value)
    return loss


def nll(orders, permutation, colours, bins, missing, faded, weights):
    """Right: by nll_loss and masks."""
    gone = F.one_hot(missing, colours.shape[1]).bool()
    a = F.nll_loss(F.log_softmax(orders, 1), permutation) / math.log(orders.shape[1])
    b, c = (
        F.nll_loss(F.log_softmax(colours[m], 1), bins[m]) / math.log(colours.shape[2]) for m in (gone, faded)
    )
    return torch.dot(torch.stack([a, b, c]), torch.tensor(weights, dtype=a.dtype))


def made(**changes):
    return lambda *given: by_puzzle(*given, **changes)


def doubly(x, dim):
    return x.softmax(dim).log_softmax(dim)


def by_sum(orders, permutation, colours, bins, missing, faded, weights):
    gone = F.one_hot(missing, colours.shape[1]).bool()
    terms = [F.cross_entropy(orders, permutation, reduction="sum") / math.log(orders.shape[1])]
    terms += [
        F.cross_entropy(colours[m], bins[m], reduction="sum") / math.log(colours.shape[2])
        for m in (gone, faded)
    ]
    return sum(w * t for w, t in zip(weights, terms))


def by_sum_per_puzzle(orders, permutation, colours, bins, missing, faded, weights):
    gone = F.one_hot(missing, colours.shape[1]).bool()
    terms = [F.cross_entropy(orders, permutation) / math.log(orders.shape[1])]
    for m in (gone, faded):
        terms.append(
            F.cross_entropy(colours[m], bins[m], reduction="none").flatten(1).sum(1).mean()
            / math.log(colours.shape[2])
        )
    return sum(w * t for w, t in zip(weights, terms))


LOSSES = {
    "not scaled": (made(scale=False), made(log=lambda count: 1)),
    "scaled by the number of choices": (made(log=float), made(log=math.log2)),
    "the missing piece is coloured too": (
        made(paint=lambda i, k, m, f: f or k == m),
        lambda o, p, c, b, m, d, w: (
            nll(o, p, c, b, m, d, (w[0], w[1], 0.0))
            + w[2] * nll(o, p, c, b, m, d | F.one_hot(m, d.shape[1]).bool(), (0.0, 0.0, 1.0))
        ),
    ),
    "all pieces are coloured": (made(paint=lambda i, k, m, f: True), made(paint=lambda i, k, m, f: k != m)),
    "the pieces that kept their colours": (
        made(paint=lambda i, k, m, f: not f),
        made(paint=lambda i, k, m, f: not f and k != m),
    ),
    "all pieces are filled in": (
        made(fill=lambda i, k, m: True),
        lambda o, p, c, b, m, d, w: (
            nll(o, p, c, b, m, d, (w[0], 0.0, w[2]))
            + w[1] * F.cross_entropy(c.flatten(0, 1), b.flatten(0, 1)) / math.log(c.shape[2])
        ),
    ),
    "the wrong piece is filled in": (
        made(fill=lambda i, k, m: k == (m + 1) % 4),
        made(fill=lambda i, k, m: k != m),
    ),
    "weights not used": (made(weigh=lambda w: (1, 1, 1)), lambda *g: nll(*g[:-1], (1.0, 1.0, 1.0))),
    "weights in another order": (made(weigh=lambda w: (w[0], w[2], w[1])), made(weigh=lambda w: w[::-1])),
    "a term is left out": (made(terms=(1, 1, 0)), made(terms=(0, 1, 1)), made(terms=(1, 0, 1))),
    "sum for mean": (made(total=True), by_sum, by_sum_per_puzzle),
    "softmax twice": (made(soft=doubly), lambda o, p, c, *rest: nll(o.softmax(1), p, c.softmax(2), *rest)),
}
LOSSES["sum for mean"] = LOSSES["sum for mean"][:2]

WRITTEN_OTHERWISE = {
    "jigsaw.permutation_set": ORDERS,
    "jigsaw.puzzle": PUZZLES,
    "jigsaw.damaged_loss": LOSSES,
}
RIGHT_OTHERWISE = {
    "jigsaw.permutation_set": (by_loops, with_matrix),
    "jigsaw.puzzle": (by_unfold, gathered),
    "jigsaw.damaged_loss": (by_puzzle, nll),
}
