"""The exercises of 03_damaged_jigsaw: orders that are far from each other, the puzzle, and the loss of a
damaged one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse.check.compare import (
    expect_gradient,
    gradients,
    number,
    same_gradients,
    same_number,
    zeros_for_none,
)
from sslcourse.check.engine import Assignment, Exercise, Mistake, NotYet, Task, assign, by_behaviour, register
from sslcourse.methods import jigsaw
from sslcourse.runtime.seeds import generator

# --------------------------------------------------------------------------------- orders far from each other

COUNT = 8


def _candidates(seed: int, *more: int) -> Tensor:
    """Sixty of the 120 orders of five pieces, in any order, for which the nearest chosen one matters and not
    the sum alone.
    """
    everything = jigsaw.all_orders(5).long()
    for attempt in range(100):
        picked = everything[torch.randperm(120, generator=generator(seed, 30, *more, attempt))[:60]]
        if not _greedy(picked, _by_sum(picked, COUNT), "nearest"):
            return picked
    raise AssertionError(
        "no set of candidates tells the two rules apart"
    )  # pragma: no cover (about half of all sets do)


def _by_sum(candidates: Tensor, count: int) -> Tensor:
    """The rule of the authors: the greatest sum of distances to what was chosen."""
    chosen = [0]
    while len(chosen) < count:
        total = (candidates[:, None] != candidates[chosen]).sum((1, 2))
        total[chosen] = -1
        chosen.append(int(total.argmax()))
    return candidates[chosen]


def _rows(candidates: Tensor, chosen: Tensor) -> list[int] | None:
    """Which candidates the chosen orders are; None where one of them is none."""
    alike = (chosen[:, None] == candidates).all(2)
    return alike.to(torch.uint8).argmax(1).tolist() if bool(alike.any(1).all()) else None


def _greedy(candidates: Tensor, chosen: Tensor, rule: str) -> bool:
    """Whether each order but the first was, when it was chosen, one of the best by a rule."""
    at = _rows(candidates, chosen)
    if at is None:
        raise ValueError("orders that are no candidates")
    distance = (candidates[:, None] != candidates[at]).sum(2)  # (m, k)
    for k in range(1, len(at)):
        before = distance[:, :k]
        free = torch.ones(len(candidates), dtype=torch.bool)
        free[at[:k]] = False
        value = {
            "nearest": before.amin(1) * 1000 + before.sum(1),
            "sum": before.sum(1),
            "first": before[:, 0],
            "closest": -before.sum(1),
            "closest to the nearest": -before.amin(1),
            "last": before[:, -1],
        }[rule]
        if value[at[k]] < value[free].max():
            return False
    return True


def _orders_found(f: Callable, seed: int) -> dict[str, object]:
    """What an answer's set is like, over two sets of candidates."""
    traits: dict[str, object] = {}
    for trial in (1, 2):
        candidates = _candidates(seed, trial)
        chosen = f(candidates.clone(), COUNT)
        if not isinstance(chosen, Tensor) or chosen.ndim != 2 or chosen.shape[1] != 5:
            return {"orders": False}
        if len(chosen) != COUNT:
            return {"rows": "too few" if len(chosen) < COUNT else "too many"}
        chosen = chosen.long()
        at = _rows(candidates, chosen)
        if at is None:
            return {"candidates": False}
        if len(set(at)) < COUNT:
            return {"distinct": False}
        if torch.equal(chosen, candidates[:COUNT]):
            return {"the first ones": True}
        for rule in ("nearest", "sum", "first", "closest", "closest to the nearest", "last"):
            traits[rule] = traits.get(rule, True) and _greedy(candidates, chosen, rule)
        traits["begins"] = traits.get("begins", True) and torch.equal(chosen[0], candidates[0])
    if traits["nearest"]:
        return {"begins": traits["begins"], "rule": "nearest"}
    rule = next(
        (r for r in ("sum", "first", "last", "closest", "closest to the nearest") if traits[r]), "none"
    )
    return {"rule": rule.split(" ")[0]}


def _orders_properties(f: Callable, seed: int) -> None:
    candidates = _candidates(seed, 1)
    given = candidates.clone()
    chosen = f(given, COUNT)
    if not isinstance(chosen, Tensor):
        raise NotYet("what it returns", "a tensor", type(chosen).__name__)
    if tuple(chosen.shape) != (COUNT, 5):
        raise NotYet(f"the shape, for {COUNT} of the orders of 5 pieces", (COUNT, 5), tuple(chosen.shape))
    if not torch.equal(given, candidates):
        raise NotYet("the candidates after the call", "unchanged", "changed")
    chosen = chosen.long()
    at = _rows(candidates, chosen)
    if at is None:
        raise NotYet(
            "orders that are among the candidates",
            COUNT,
            int((chosen[:, None] == candidates).all(2).any(1).sum()),
        )
    if len(set(at)) < COUNT:
        raise NotYet("different orders in the set", COUNT, len(set(at)))
    for trial in (1, 2):
        candidates = _candidates(seed, trial)
        chosen = f(candidates.clone(), COUNT).long()
        best = jigsaw.permutation_set(candidates, COUNT)
        if not _greedy(candidates, chosen, "nearest"):
            raise NotYet(
                "the smallest distance within the set, and the mean of all",
                _described(best),
                _described(chosen),
            )
        if not torch.equal(chosen[0], candidates[0]):
            raise NotYet(
                "the first order of the set (the first candidate)", candidates[0].tolist(), chosen[0].tolist()
            )
    if not torch.equal(f(_candidates(seed, 1).to(torch.uint8), 1).long(), _candidates(seed, 1)[:1]):
        raise NotYet("a set of one order, from candidates in uint8", "the first candidate", "something else")


def _described(orders: Tensor) -> str:
    distance = (orders[:, None] != orders).sum(2).double()
    others = distance[~torch.eye(len(orders), dtype=torch.bool)]
    return f"{int(others.min())} and {float(others.mean()):.2f}"


def _grow(value: Callable, start: int = 0, free: bool = True) -> Callable:
    """Greedy by value(distances to the chosen (m, k))."""

    def wrong(candidates: Tensor, count: int) -> Tensor:
        chosen = [start]
        while len(chosen) < count:
            worth = value((candidates[:, None] != candidates[chosen]).sum(2).double())
            if free:
                worth[chosen] = float("-inf")
            chosen.append(int(worth.argmax()))
        return candidates[chosen]

    return wrong


PERMUTATIONS = Exercise(
    "jigsaw.permutation_set",
    jigsaw.permutation_set,
    _orders_properties,
    (
        Mistake(
            "the first ones",
            "You return the first candidates as they come. They are hardly different from each other: "
            "choose those that "
            "are far apart.",
            lambda c, k: c[:k],
        ),
        Mistake(
            "chosen at random",
            "The orders are neither far from each other nor near: nothing chose them. Add one at a time, "
            "the candidate "
            "farthest from those chosen so far.",
            lambda c, k: torch.cat([c[:1], c[1 + torch.randperm(len(c) - 1)[: k - 1]]]),
            (lambda c, k: c[torch.randperm(len(c))[:k]],),
        ),
        Mistake(
            "nearest instead of farthest",
            "Your set holds orders as *alike* as can be: you take a minimum where a maximum belongs (argmin "
            "for argmax, or a sign).",
            _grow(lambda d: -d.sum(1)),
            (_grow(lambda d: -d.amin(1)),),
        ),
        Mistake(
            "an order twice",
            "The same order is in the set more than once. A candidate that was chosen has distance 0 to "
            "itself: look at "
            "its distance to *all* chosen ones, and it is never the farthest.",
            _grow(lambda d: d[:, -1], free=False),
            (lambda c, k: c[torch.zeros(k, dtype=torch.long)],),
        ),
        Mistake(
            "only the first is looked at",
            "You take those that are far from the first order. They may be near each other: after each "
            "choice "
            "look at the distances to all that were chosen.",
            _grow(lambda d: d[:, 0]),
            (
                lambda c, k: c[
                    torch.cat([torch.zeros(1, dtype=torch.long), (c != c[0]).sum(1).argsort(descending=True)])
                ][:k],
            ),
        ),
        Mistake(
            "only the last is looked at",
            "Each order is far from the one before it, but may be near an earlier one. Keep the distance to "
            "the nearest of *all* chosen ones: torch.minimum(nearest, new_distance).",
            _grow(lambda d: d[:, -1]),
        ),
        Mistake(
            "the sum alone",
            "You maximise the sum of the distances, as the authors do. It lets in two orders that nearly "
            "agree, if both are "
            "far from the others: maximise the distance to the nearest chosen order, and let the sum "
            "decide between equals.",
            _grow(lambda d: d.sum(1)),
            (_grow(lambda d: d.mean(1)),),
        ),
        Mistake(
            "one too few",
            "The set has fewer orders than asked for. The first candidate is part of it, and counts.",
            lambda c, k: jigsaw.permutation_set(c, k - 1),
            (lambda c, k: jigsaw.permutation_set(c, k)[1:],),
        ),
        Mistake(
            "one too many",
            "The set has more orders than asked for: the first candidate counts too.",
            lambda c, k: jigsaw.permutation_set(c, k + 1),
            (lambda c, k: c,),
        ),
        Mistake(
            "begins elsewhere",
            (
                "The set does not begin with the first candidate. Any would do, but then nobody could repeat "
                "your set."
            ),
            _grow(lambda d: d.amin(1) * 1000 + d.sum(1), start=1),
        ),
        Mistake(
            "rows instead of orders",
            "You return which candidates were chosen, or their distances; return the orders themselves: "
            "candidates[chosen].",
            lambda c, k: torch.tensor(_rows(c, jigsaw.permutation_set(c, k))),
            (lambda c, k: (c[:k, None] != c[None, :k]).sum(2),),
        ),
    ),
    by_behaviour(_orders_found),
    (
        "(candidates != one_order).sum(1) is the distance of every candidate to one order.",
        (
            "Begin with chosen = [0]. For each candidate keep the distance to the nearest chosen order, and "
            "the sum of all distances."
        ),
        (
            "Take (nearest * 1000 + total).argmax(), update nearest = torch.minimum(nearest, distance) and "
            "total += distance, until there are count."
        ),
    ),
)


# ---------------------------------------------------------------------------------------------- the puzzle

SIDE, GRID, GAP, PICTURES = 24, 3, 3, 6
CELL, SIZE = SIDE // GRID, SIDE // GRID - GAP


def puzzle(image: Tensor, order: Tensor, gap: int) -> Tensor:
    """Cut into 3 x 3 pieces with gaps, each from a random place of its cell; shuffle; normalise each piece by
    itself.
    """
    return jigsaw.normalised(jigsaw.shuffled(jigsaw.cut_pieces(image, 3, gap), order))


def _textures(seed: int) -> Tensor:
    return torch.rand(PICTURES, 3, SIDE, SIDE, generator=generator(seed, 31))


def _some_orders(seed: int) -> Tensor:
    """For each picture an order that is not its own inverse."""
    g = generator(seed, 32)
    orders: list[Tensor] = []
    while len(orders) < PICTURES:
        order = torch.randperm(GRID**2, generator=g)
        if not torch.equal(order, order.argsort()):
            orders.append(order)
    return torch.stack(orders)


def _each(x: Tensor) -> Tensor:
    x = x.flatten(-3)
    return (x - x.mean(-1, keepdim=True)) / x.std(-1, correction=0, keepdim=True).clamp_min(1e-6)


def _located(pieces: Tensor, image: Tensor) -> Tensor:
    """(B, n, 2): where in its picture each piece was cut, top and left; -1 where nowhere."""
    size = pieces.shape[-1]
    windows = image.unfold(2, size, 1).unfold(3, size, 1).permute(0, 2, 3, 1, 4, 5)  # (B, y, x, 3, t, t)
    across = windows.shape[2]
    likeness = torch.einsum("bnd,bmd->bnm", _each(pieces), _each(windows.flatten(1, 2))) / (3 * size * size)
    best, at = likeness.max(2)
    place = torch.stack([at // across, at % across], 2)
    return torch.where((best > 0.99)[..., None], place, -1)


def _puzzle_found(f: Callable, seed: int) -> dict[str, object]:
    """What an answer does with textures in which every spot can be found again."""
    image, order = _textures(seed), _some_orders(seed)
    x = f(image.clone(), order.clone(), GAP)
    if not isinstance(x, Tensor) or x.ndim != 5 or x.shape[:3] != (PICTURES, GRID**2, 3):
        return {"shape": "other"}
    if x.shape[3:] != (SIZE, SIZE):
        return {"size": "whole cells" if x.shape[3:] == (CELL, CELL) else "other"}
    found, again = _located(x, image), _located(f(image.clone(), order.clone(), GAP), image)
    if (found < 0).any():
        return {"cut from": "nowhere"}
    grid = torch.arange(GRID**2)
    wants = {
        "right": order,
        "inverse": order.argsort(1),
        "not shuffled": grid.expand(PICTURES, -1),
        "columns first": order % GRID * GRID + order // GRID,
        "one order for all": order[:1].expand(PICTURES, -1),
    }
    corner = lambda name: torch.stack([wants[name] // GRID, wants[name] % GRID], 2) * CELL
    # (B, n, 2): from 0 to GAP where the place is right
    inside = {name: found - corner(name) for name in wants}
    name = next((n for n, d in inside.items() if bool(((d >= 0) & (d < CELL)).float().mean() > 0.9)), "other")
    offset = inside.get(name, found)
    by_cell = offset[torch.arange(PICTURES)[:, None], wants.get(name, order).argsort(1)]
    if torch.equal(found, again):
        jitter = "fixed" if bool((offset == offset[:1, :1]).all()) else "seeded"
    elif bool((offset == offset[:, :1]).all()):
        jitter = "one for all pieces"
    elif bool((by_cell == by_cell[:1]).all()):
        jitter = "one for all pictures"
    elif bool((offset > GAP).any()):
        jitter = "leaves its cell"
    elif bool((offset[..., 0] == offset[..., 1]).all()):
        jitter = "along the diagonal"
    else:
        jitter = "free"
    flat = x.flatten(2)
    if bool((flat.mean(2).abs() < 0.02).all() and ((flat.std(2, correction=0) - 1).abs() < 0.02).all()):
        scale = "each"
    elif bool((flat.mean(2).abs() < 0.02).all()):
        scale = "mean only"
    elif bool((x.flatten(1).mean(1).abs() < 0.02).all()):
        scale = "whole puzzle"
    elif abs(float(x.mean())) < 0.1:
        scale = "whole"  # picture or batch
    else:
        scale = "none"
    return {"place": name, "jitter": jitter, "scale": "whole" if scale == "whole puzzle" else scale}


def _puzzle_properties(f: Callable, seed: int) -> None:
    image, order = _textures(seed), _some_orders(seed)
    given = image.clone()
    x = f(given, order.clone(), GAP)
    wanted = (PICTURES, GRID**2, 3, SIZE, SIZE)
    if not isinstance(x, Tensor):
        raise NotYet("what it returns", "a tensor", type(x).__name__)
    if tuple(x.shape) != wanted:
        raise NotYet(
            f"the shape, for {PICTURES} pictures of {SIDE} pixels and a gap of {GAP}", wanted, tuple(x.shape)
        )
    if not torch.equal(given, image):
        raise NotYet("the pictures after the call", "unchanged", "changed")
    flat = x.flatten(2)
    if not (flat.mean(2).abs() < 0.02).all():
        raise NotYet("the mean of each piece", 0, f"{float(flat.mean(2).abs().max()):.2f} somewhere")
    if not ((flat.std(2, correction=0) - 1).abs() < 0.03).all():
        raise NotYet(
            "the standard deviation of each piece over all its pixels and channels",
            1,
            f"{float(flat.std(2).max()):.2f} somewhere",
        )
    found = _located(x, image)
    if (found < 0).any():
        raise NotYet(
            "pieces that can be found again in their picture",
            PICTURES * GRID**2,
            int((found[..., 0] >= 0).sum()),
        )
    offset = found - torch.stack([order // GRID, order % GRID], 2) * CELL
    if not ((offset >= 0) & (offset <= GAP)).all():
        right = int(((offset >= 0) & (offset <= GAP)).all(2).sum())
        raise NotYet(
            "pieces at place k that were cut from cell order[k], and do not leave it",
            PICTURES * GRID**2,
            right,
        )
    again = _located(f(image.clone(), order.clone(), GAP), image)
    by_cell = offset[torch.arange(PICTURES)[:, None], order.argsort(1)]
    for what, same in (
        ("pieces cut at another spot when it is called again", found == again),
        ("pieces cut at another spot of their cell than the picture's first piece", offset == offset[:, :1]),
        ("pieces cut at another spot of their cell than the first picture's", by_cell == by_cell[:1]),
        ("pieces shifted more to one side than to the other", (offset[..., 0] == offset[..., 1])[..., None]),
    ):
        if same.all(2).all():
            raise NotYet(what, f"most of {PICTURES * GRID**2}", 0)
    if not all(bool((offset == v).any()) for v in (0, GAP)):
        raise NotYet(
            f"the smallest and the greatest shift within a cell, over {2 * PICTURES * GRID**2} draws",
            f"0 and {GAP}",
            f"{int(offset.min())} and {int(offset.max())}",
        )
    plain = f(torch.full((2, 3, SIDE, SIDE), 0.5), order[:2], GAP)
    if not torch.isfinite(plain).all():
        raise NotYet(
            "pieces of one plain colour (a division by a standard deviation of 0?)",
            "finite numbers",
            "infinity or NaN",
        )


def _puzzle_picture(f: Callable, seed: int):
    from sslcourse import show
    from sslcourse.data import toybox

    image = toybox.render(toybox.factors(2, seed, "train"), 48)[0].float() / 255
    order = _some_orders(seed)[:2]
    columns = [image] + [
        F.interpolate(
            (jigsaw.assembled(g(image.clone(), order, 4), ground=2.0) / 4 + 0.5).clamp(0, 1), size=(48, 48)
        )
        for g in (puzzle, f)
    ]
    return show.grid(
        torch.stack(columns, 1).flatten(0, 1), ["picture", "target", "yours"] * 2, columns=3, scale=2.5
    )


def _cut(image: Tensor, gap: int, shift: Callable, swap: bool = False) -> Tensor:
    """Pieces at shift(B, n, gap) -> (B, n, 2) from their cells' corners."""
    b, cell = len(image), image.shape[2] // 3
    size, at = cell - gap, shift(b, 9, gap)
    rows = []
    for i in range(b):
        for k in range(9):
            y, x = (k % 3, k // 3) if swap else (k // 3, k % 3)
            top, left = (
                min(int(v), image.shape[2] - size) for v in (y * cell + at[i, k, 0], x * cell + at[i, k, 1])
            )
            rows.append(image[i, :, top : top + size, left : left + size])
    return torch.stack(rows).unflatten(0, (b, 9))


def _free(b, n, gap):
    return torch.randint(0, gap + 1, (b, n, 2))


def _puzzle(
    shift: Callable = _free,
    swap: bool = False,
    order: Callable = lambda o: o,
    scale: Callable = jigsaw.normalised,
) -> Callable:
    return lambda image, o, gap: scale(jigsaw.shuffled(_cut(image, gap, shift, swap), order(o)))


PUZZLE = Exercise(
    "jigsaw.puzzle",
    puzzle,
    _puzzle_properties,
    (
        Mistake(
            "no gap",
            "The pieces are whole cells and touch: a line that runs on from one to the next gives away "
            "that they belong together. "
            "A piece has cell - gap pixels.",
            lambda x, o, gap: puzzle(x, o, 0),
        ),
        Mistake(
            "always from the middle",
            "Every piece is cut from the same spot of its cell. Draw the spot: else the distance between "
            "neighbours "
            "is always the same, and edges can be continued across the gap.",
            _puzzle(lambda b, n, gap: torch.full((b, n, 2), gap // 2)),
            (
                _puzzle(lambda b, n, gap: torch.zeros(b, n, 2)),
                _puzzle(lambda b, n, gap: torch.full((b, n, 2), gap)),
            ),
        ),
        Mistake(
            "one shift for all pieces",
            "All pieces of a picture are shifted alike, so the distance between neighbours stays the same. "
            "Draw a "
            "shift for every piece.",
            _puzzle(lambda b, n, gap: _free(b, 1, gap).expand(b, n, 2)),
            (_puzzle(lambda b, n, gap: _free(1, 1, gap).expand(b, n, 2)),),
        ),
        Mistake(
            "one shift for all pictures",
            (
                "All pictures of the batch are cut at the same spots. Draw shifts for every picture: (B, "
                "n) of "
                "them."
            ),
            _puzzle(lambda b, n, gap: _free(1, n, gap).expand(b, n, 2)),
        ),
        Mistake(
            "shifted along the diagonal",
            "The shift downwards is also the shift to the right. Draw two numbers for each piece.",
            _puzzle(lambda b, n, gap: _free(b, n, gap)[..., :1].expand(b, n, 2)),
        ),
        Mistake(
            "pieces leave their cell",
            "Some pieces reach into the next cell, where they can overlap their neighbour. The shift goes "
            "from 0 to "
            "gap: torch.randint(0, gap + 1, ...).",
            _puzzle(lambda b, n, gap: torch.randint(0, 2 * gap + 1, (b, n, 2))),
        ),
        Mistake(
            "rows and columns swapped",
            "The pieces are counted down the columns. Piece k lies in row k // 3 and column k % 3.",
            _puzzle(swap=True),
        ),
        Mistake(
            "the inverse order",
            "You put piece k at place order[k]. Here order says what is *seen*: place k shows the piece "
            "that belongs at "
            "place order[k]: pieces[order].",
            _puzzle(order=lambda o: o.argsort(1)),
        ),
        Mistake(
            "not shuffled",
            "The pieces lie where they belong; order is not used.",
            _puzzle(order=lambda o: o.sort(1)[0]),
        ),
        Mistake(
            "one order for all pictures",
            "All pictures are shuffled by the first one's order. Row b of order is for picture b.",
            _puzzle(order=lambda o: o[:1].expand(len(o), -1)),
        ),
        Mistake(
            "normalised over the whole picture",
            "Mean and deviation are those of the picture (or of the batch): a bright corner stays bright, "
            "and tells where a piece was. Each piece has to be normalised by its own pixels, after it was "
            "cut.",
            _puzzle(
                scale=lambda p: (p - p.mean((1, 2, 3, 4), keepdim=True)) / p.std((1, 2, 3, 4), keepdim=True)
            ),
            (
                _puzzle(scale=lambda p: (p - p.mean()) / p.std()),
                lambda x, o, gap: jigsaw.shuffled(
                    _cut((x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True), gap, _free),
                    o,
                ),
            ),
        ),
        Mistake(
            "not normalised",
            "The pieces keep their brightness, and light from one side tells where each was. Subtract each "
            "piece's mean and "
            "divide by its standard deviation.",
            _puzzle(scale=lambda p: p),
        ),
        Mistake(
            "mean only",
            (
                "Each piece's mean is 0, but its contrast is not 1: divide by its standard deviation over "
                "all "
                "its pixels and channels."
            ),
            _puzzle(scale=lambda p: p - p.mean((2, 3, 4), keepdim=True)),
            (_puzzle(scale=lambda p: (p - p.mean((2, 3, 4), keepdim=True)) / p.std()),),
        ),
    ),
    by_behaviour(_puzzle_found),
    (
        (
            "Cell k begins at row (k // 3) * cell and column (k % 3) * cell. A piece of cell - gap pixels "
            "fits "
            "at 0 to gap from there."
        ),
        (
            "jigsaw.cut_pieces(image, 3, gap) cuts. pieces[torch.arange(B)[:, None], order] takes another "
            "order for every picture."
        ),
        (
            "Subtract pieces.mean((2, 3, 4), keepdim=True) and divide by the same std, which clamp_min keeps "
            "from being 0."
        ),
    ),
    _puzzle_picture,
)


# ---------------------------------------------------------------------------------------------- the loss


def _damaged(seed: int, *more: int, q: int = 5) -> tuple:
    """A batch of damaged puzzles of four pieces as the loss is handed them: scores, answers, what is missing,
    what has faded.
    """
    g = generator(seed, 33, *more)
    b, n, s = 5, 4, 2
    missing = torch.randint(n, (b,), generator=g)
    faded = (torch.rand(b, n, generator=g) < 0.7) & (missing[:, None] != torch.arange(n))
    faded[torch.arange(b), (missing + 1) % n] = True  # at least one piece of each lost its colours
    orders = torch.randn(b, 6, generator=g, dtype=torch.float64)
    colours = torch.randn(b, n, q, s, s, generator=g, dtype=torch.float64)
    return (
        orders,
        torch.randint(6, (b,), generator=g),
        colours,
        torch.randint(q, (b, n, s, s), generator=g),
        missing,
        faded,
        (1.0, 0.6, 1.7),
    )


def _slow(orders, permutation, colours, bins, missing, faded, weights) -> Tensor:
    """Term by term: -log of the share that a softmax gives the right answer, over the log of the number of
    answers.
    """
    pay = lambda scores, right: (
        -(torch.exp(scores[right]) / torch.exp(scores).sum()).log() / math.log(len(scores))
    )
    arrangement, gone, there = [], [], []
    for i in range(len(orders)):
        arrangement.append(pay(orders[i], permutation[i]))
        for k in range(colours.shape[1]):
            terms = [
                pay(colours[i, k, :, y, x], bins[i, k, y, x])
                for y in range(colours.shape[3])
                for x in range(colours.shape[4])
            ]
            if k == missing[i]:
                gone += terms
            elif faded[i, k]:
                there += terms
    return sum(w * torch.stack(t).mean() for w, t in zip(weights, (arrangement, gone, there)))


def _loss_properties(f: Callable, seed: int) -> None:
    given = _damaged(seed, 1)
    value = f(*given)
    if not isinstance(value, Tensor) or value.ndim:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise NotYet("what it returns", "a tensor with one number", shape)
    zero = torch.zeros_like
    blind = number(f(zero(given[0]), given[1], zero(given[2]), *given[3:6], (1.0, 1.0, 1.0)))
    if not math.isclose(blind, 3, rel_tol=1e-5):
        raise NotYet(
            "the loss of a network that knows nothing (all scores 0, all weights 1): each term is 1",
            3,
            f"{blind:.4f}",
        )
    for name, weights in (
        ("arrangement", (1.0, 0.0, 0.0)),
        ("missing piece", (0.0, 1.0, 0.0)),
        ("faded pieces", (0.0, 0.0, 1.0)),
        ("all three, with weights", given[6]),
    ):
        case = (*given[:6], weights)
        expected, got = number(_slow(*case)), number(f(*case))
        if not abs(got - expected) <= 1e-5 * max(1, abs(expected)):
            raise NotYet(f"the loss with weights {weights} ({name})", f"{expected:.4f}", f"{got:.4f}")
    orders, permutation, colours, *rest = _damaged(seed, 2)
    pair = orders.requires_grad_(), colours.requires_grad_()
    value = f(pair[0], permutation, pair[1], *rest)
    right = zeros_for_none(gradients(_slow(pair[0], permutation, pair[1], *rest), pair), pair)
    for name, slope, known in zip(("orders", "colours"), gradients(value, pair), right):
        expect_gradient(f" that reaches the {name}", slope, known, 1e-7)
    if not math.isfinite(number(f(given[0] * 1e4, given[1], given[2] * 1e4, *given[3:]))):
        raise NotYet(
            "the loss of very large scores (use F.cross_entropy)", "a finite number", "infinity or NaN"
        )


def _loss_same(f: Callable, g: Callable, seed: int) -> bool:
    for k in (3, 4):
        orders, permutation, colours, *rest = _damaged(seed, k, q=5 + k)
        pair = orders.requires_grad_(), colours.requires_grad_()
        mine, theirs = f(pair[0], permutation, pair[1], *rest), g(pair[0], permutation, pair[1], *rest)
        if not same_number(mine, theirs, 1e-6, 1e-9):
            return False
        # no path, or a path of weight 0: both are no gradient
        if not same_gradients(gradients(mine, pair), gradients(theirs, pair), 0, 1e-9):
            return False
    return True


def _terms(
    orders,
    permutation,
    colours,
    bins,
    missing,
    faded,
    *,
    order=None,
    seen=None,
    gone=None,
    pay=None,
    divide=math.log,
) -> list[Tensor]:
    """The three terms, with one of their parts exchanged."""
    rows = torch.arange(len(missing))
    pay = pay or F.cross_entropy
    gone = torch.zeros_like(faded).index_put((rows, missing), torch.tensor(True)) if gone is None else gone
    seen = faded if seen is None else seen
    return [
        pay(orders, permutation if order is None else order) / divide(orders.shape[1]),
        pay(colours[gone], bins[gone]) / divide(colours.shape[2]),
        pay(colours[seen], bins[seen]) / divide(colours.shape[2]),
    ]


def _loss(
    change: Callable = lambda *given: {}, add: Callable = lambda t, w: w[0] * t[0] + w[1] * t[1] + w[2] * t[2]
) -> Callable:
    """A loss whose `_terms` are called with change(missing, faded), and added by add(terms, weights)."""
    return lambda o, p, c, b, m, faded, w: add(_terms(o, p, c, b, m, faded, **change(m, faded)), w)


def _place(m: Tensor, faded: Tensor, move: Callable = lambda m: m) -> Tensor:
    return move(m)[:, None] == torch.arange(faded.shape[1])


_twice = lambda x, t: F.cross_entropy(x.softmax(1), t)

LOSS = Exercise(
    "jigsaw.damaged_loss",
    jigsaw.damaged_loss,
    _loss_properties,
    (
        Mistake(
            "not scaled",
            "The terms are plain cross-entropies: the puzzle with the most choices would drown the others. "
            "Divide each by the "
            "logarithm of its number of choices.",
            _loss(lambda m, d: dict(divide=lambda count: 1.0)),
        ),
        Mistake(
            "scaled by the number of choices",
            "You divide by the number of choices; a network that knows nothing pays its *logarithm*.",
            _loss(lambda m, d: dict(divide=float)),
            (_loss(lambda m, d: dict(divide=math.log2)),),
        ),
        Mistake(
            "the missing piece is coloured too",
            "Your colour term also counts the missing piece, which has a term of its own. Only the faded "
            "pieces count: colours[faded].",
            _loss(lambda m, d: dict(seen=d | _place(m, d))),
        ),
        Mistake(
            "all pieces are coloured",
            "Your colour term counts all pieces, or all that are there. Some kept their colours, and need "
            "no answer: "
            "colours[faded].",
            _loss(lambda m, d: dict(seen=torch.ones_like(d))),
            (_loss(lambda m, d: dict(seen=~_place(m, d))),),
        ),
        Mistake(
            "the pieces that kept their colours",
            "Your colour term counts the pieces that are *not* faded.",
            _loss(lambda m, d: dict(seen=~d)),
            (_loss(lambda m, d: dict(seen=~d & ~_place(m, d))),),
        ),
        Mistake(
            "all pieces are filled in",
            "Your second term runs over all pieces; only the missing one of each puzzle is filled in: "
            "colours[rows, missing].",
            _loss(lambda m, d: dict(gone=torch.ones_like(d))),
        ),
        Mistake(
            "the wrong piece is filled in",
            "Your second term looks at another piece than the missing one. missing[i] is its place in "
            "puzzle i, "
            "counted from 0.",
            _loss(lambda m, d: dict(gone=_place(m, d, lambda m: (m + 1) % d.shape[1]))),
            (
                _loss(lambda m, d: dict(gone=_place(m, d, lambda m: (m - 1) % d.shape[1]))),
                _loss(lambda m, d: dict(gone=~_place(m, d))),
                _loss(lambda m, d: dict(gone=_place(m, d, lambda m: m[:1].expand(len(m))))),
            ),
        ),
        Mistake(
            "weights not used",
            "The three weights change nothing: multiply each term by its own.",
            _loss(add=lambda t, w: sum(t)),
            (_loss(add=lambda t, w: sum(t) / 3),),
        ),
        Mistake(
            "weights in another order",
            "The weights belong to the arrangement, the missing piece and the colours, in this order.",
            _loss(add=lambda t, w: w[0] * t[0] + w[2] * t[1] + w[1] * t[2]),
            (
                _loss(add=lambda t, w: w[2] * t[0] + w[1] * t[1] + w[0] * t[2]),
                _loss(add=lambda t, w: w[1] * t[0] + w[0] * t[1] + w[2] * t[2]),
                _loss(add=lambda t, w: w[1] * t[0] + w[2] * t[1] + w[0] * t[2]),
                _loss(add=lambda t, w: w[2] * t[0] + w[0] * t[1] + w[1] * t[2]),
            ),
        ),
        Mistake(
            "a term is left out",
            "One of the three terms is missing: arrangement, missing piece and colours all count.",
            _loss(add=lambda t, w: w[0] * t[0] + w[1] * t[1]),
            (
                _loss(add=lambda t, w: w[0] * t[0] + w[2] * t[2]),
                _loss(add=lambda t, w: w[1] * t[1] + w[2] * t[2]),
                _loss(add=lambda t, w: w[0] * t[0]),
            ),
        ),
        Mistake(
            "sum for mean",
            "A term is summed over puzzles or places; take its mean, or it grows with the batch.",
            _loss(lambda m, d: dict(pay=lambda x, t: F.cross_entropy(x, t, reduction="sum"))),
            (_loss(lambda m, d: dict(pay=lambda x, t: F.cross_entropy(x, t, reduction="sum") / len(x))),),
        ),
        Mistake(
            "softmax twice",
            "F.cross_entropy takes the softmax itself; it wants scores, not probabilities.",
            _loss(lambda m, d: dict(pay=_twice)),
        ),
    ),
    _loss_same,
    (
        (
            "F.cross_entropy(scores, right) takes scores (N, Q, s, s) and answers (N, s, s). Divide by "
            "math.log(Q)."
        ),
        (
            "rows = torch.arange(len(missing)); colours[rows, missing] is the missing piece of each puzzle, "
            "colours[faded] all faded pieces."
        ),
        (
            "weights[0] * order_term(orders, permutation) + weights[1] * colour_term(of the missing) + "
            "weights[2] * colour_term(of the faded)"
        ),
    ),
)

register(PERMUTATIONS, PUZZLE, LOSS)
assign(
    Assignment(
        "03_damaged_jigsaw",
        (
            Task("jigsaw.permutation_set", "my_permutation_set"),
            Task("jigsaw.puzzle", "my_puzzle"),
            Task("jigsaw.damaged_loss", "my_damaged_loss"),
        ),
    )
)
