"""The exercises of 10_dense_predictive_coding: which negatives there are, the dense loss, and predictions
that are fed back.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse.check.compare import (
    expect_gradient,
    expect_scalar,
    number,
    same_gradients,
    same_number,
    slopes,
    tensor_valued,
    zeros_for_none,
)
from sslcourse.check.engine import Assignment, Exercise, Mistake, NotYet, Task, assign, register
from sslcourse.methods import dpc
from sslcourse.runtime.seeds import generator

# ----------------------------------------------------------------------------------------- kinds of negatives

NAMES = ("0, the positive", "1, other time", "2, other place", "3, other film")


def _kind_of(mine: tuple[int, int, int], other: tuple[int, int, int]) -> int:
    """By the definition, for two cells (film, block, place)."""
    if mine == other:
        return 0
    if mine[0] != other[0]:
        return 3
    return 1 if mine[2] == other[2] else 2


def _cells(films: int, blocks: int, places: int) -> list[tuple[int, int, int]]:
    return [(i, k, s) for i in range(films) for k in range(blocks) for s in range(places)]


def _sizes(seed: int) -> tuple[tuple[int, int, int], ...]:
    """Three sizes that the seed draws; the last has one block only, where no other time is left."""
    g = generator(seed, 40)
    drawn = lambda low, high: int(torch.randint(low, high, (), generator=g))
    several = [(drawn(2, 4), drawn(2, 4), drawn(2, 5)) for _ in range(2)]
    return several[0], several[1], (drawn(2, 4), 1, drawn(3, 6))


def _kinds_properties(f: Callable, seed: int) -> None:
    for films, blocks, places in _sizes(seed):
        where = f"{films} films, {blocks} block{'s' * (blocks > 1)}, {places} places"
        kind, n = f(films, blocks, places), films * blocks * places
        if not isinstance(kind, Tensor) or tuple(kind.shape) != (n, n):
            raise NotYet(
                f"{where}: the shape of what it returns",
                (n, n),
                tuple(kind.shape) if isinstance(kind, Tensor) else type(kind).__name__,
            )
        rows = _cells(films, blocks, places)
        for i, mine in enumerate(rows):
            for j, other in enumerate(rows):
                expected, got = _kind_of(mine, other), int(kind[i, j])
                if got != expected:
                    text = "{}: row of film {}, block {}, place {} and column of film {}, block {}, place {}"
                    raise NotYet(
                        text.format(where, *mine, *other),
                        NAMES[expected],
                        NAMES[got] if 0 <= got < 4 else got,
                    )


def _kinds_same(f: Callable, g: Callable, seed: int) -> bool:
    return all(torch.equal(f(*size).long(), g(*size).long()) for size in _sizes(seed))


def _coordinates(films: int, blocks: int, places: int) -> tuple[Tensor, Tensor, Tensor]:
    row = torch.arange(films * blocks * places)
    return row // (blocks * places), row // places % blocks, row % places


def _by_rule(rule: Callable, coordinates: Callable = _coordinates) -> Callable:
    """Kinds by a rule of (same film, same block, same place)."""

    def kinds(films: int, blocks: int, places: int) -> Tensor:
        same = [a[:, None] == a for a in coordinates(films, blocks, places)]
        return rule(*same).long()

    return kinds


def _right(film: Tensor, block: Tensor, place: Tensor) -> Tensor:
    return torch.where(film, torch.where(place, torch.where(block, 0, 1), 2), 3)


KINDS = Exercise(
    "dpc.kinds",
    dpc.kinds,
    _kinds_properties,
    (
        Mistake(
            "time and place changed over",
            "Kinds 1 and 2 have changed places. The same place at another time is 1; another place of the "
            "film"
            " is 2.",
            _by_rule(lambda f, b, p: torch.where(f, torch.where(p, torch.where(b, 0, 2), 1), 3)),
        ),
        Mistake(
            "other places only at the same time",
            "Another place of the same film at another time belongs to kind 2 as well: what makes it "
            "spatial is the place.",
            _by_rule(
                lambda f, b, p: torch.where(f & b & p, 0, torch.where(f & p, 1, torch.where(f & b, 2, 3)))
            ),
        ),
        Mistake(
            "every other time counts as temporal",
            "Kind 1 asks for the very same place. Another place at another time is kind 2.",
            _by_rule(lambda f, b, p: torch.where(f & b & p, 0, torch.where(f & ~b, 1, torch.where(f, 2, 3)))),
        ),
        Mistake(
            "the film is not asked for",
            "The same place of another film is called a negative of the same film. First compare the "
            "films, then"
            " the places.",
            _by_rule(lambda f, b, p: torch.where(f & b & p, 0, torch.where(p, 1, torch.where(f, 2, 3)))),
            (
                _by_rule(
                    lambda f, b, p: torch.where(f & b & p, 0, torch.where(p & ~b, 1, torch.where(f, 2, 3)))
                ),
            ),
        ),
        Mistake(
            "the positive is a negative",
            "The diagonal is not 0: a row's own cell is what it should find, not what it should avoid.",
            _by_rule(lambda f, b, p: torch.where(f, torch.where(p, 1, 2), 3)),
            (_by_rule(lambda f, b, p: torch.where(f, torch.where(p, torch.where(b, 3, 1), 2), 3)),),
        ),
        Mistake(
            "several positives",
            "Kind 0 is on more than the diagonal: only one column is the very cell of the row.",
            _by_rule(lambda f, b, p: torch.where(b & p, 0, _right(f, b, p))),
            (
                _by_rule(lambda f, b, p: torch.where(f & b, 0, _right(f, b, p))),
                _by_rule(lambda f, b, p: torch.where(f & p, 0, _right(f, b, p))),
            ),
        ),
        Mistake(
            "rows in another order",
            "The rows are counted in another order. Places change fastest, then blocks, then films: row = "
            "(film * "
            "blocks + block) * places + place.",
            _by_rule(
                _right,
                lambda n, b, p: (
                    torch.arange(n * b * p) // (b * p),
                    torch.arange(n * b * p) % b,
                    torch.arange(n * b * p) // b % p,
                ),
            ),
            (
                _by_rule(
                    _right,
                    lambda n, b, p: (
                        torch.arange(n * b * p) % n,
                        torch.arange(n * b * p) // n % b,
                        torch.arange(n * b * p) // (n * b),
                    ),
                ),
            ),
        ),
        Mistake(
            "a film ends too early",
            "A film has blocks * places rows; here a new film begins after every block.",
            _by_rule(
                _right,
                lambda n, b, p: (
                    torch.arange(n * b * p) // p,
                    torch.arange(n * b * p) // p % b,
                    torch.arange(n * b * p) % p,
                ),
            ),
        ),
    ),
    _kinds_same,
    (
        "Number the rows from 0 to n - 1, and find for each its film, its block and its place with // and %.",
        (
            "film = row // (blocks * places), place = row % places. film[:, None] == film is an (n, n) table "
            "of what belongs to the same film."
        ),
        (
            "Begin with a table full of 3; write 2 where the film is the same, then 1 where the place is the "
            "same too, and 0 on the diagonal."
        ),
    ),
)


# --------------------------------------------------------------------------------------------- the dense loss


def _maps(shape: tuple[int, ...], *seed: int, dtype=torch.float64) -> tuple[Tensor, Tensor]:
    g = generator(*seed)
    return torch.randn(shape, generator=g, dtype=dtype), torch.randn(shape, generator=g, dtype=dtype)


def _slow(prediction: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Feature by feature."""
    b, p, _, h, w = prediction.shape
    at = [(i, k, y, x) for i in range(b) for k in range(p) for y in range(h) for x in range(w)]
    terms = []
    for here in range(len(at)):
        i, k, y, x = at[here]
        scores = torch.stack(
            [prediction[i, k, :, y, x] @ target[j, m, :, v, u] / temperature for j, m, v, u in at]
        )
        terms.append(torch.logsumexp(scores, 0) - scores[here])
    return torch.stack(terms).mean()


SHAPES = ((2, 2, 3, 2, 3), (3, 2, 4, 1, 2))


def _loss_properties(f: Callable, seed: int) -> None:
    pair = _maps(SHAPES[0], seed, 1)
    kept = pair[0].clone(), pair[1].clone()
    value = f(*pair, 1.0)
    expect_scalar(value)
    if not all(torch.equal(a, b) for a, b in zip(pair, kept)):
        raise NotYet("the maps after the call (avoid operations in place on them)", "unchanged", "changed")
    for shape, temperature in ((SHAPES[0], 1.0), (SHAPES[1], 0.5)):
        pair = _maps(shape, seed, 2)
        expected, got = number(_slow(*pair, temperature)), number(f(*pair, temperature))
        if not abs(got - expected) <= 1e-6:
            b, p, _, h, w = shape
            raise NotYet(
                (
                    f"the loss of random maps of {b} films, {p} blocks and {h} x {w} places at temperature "
                    f"{temperature}"
                ),
                f"{expected:.4f}",
                f"{got:.4f}",
            )
    same = torch.ones(SHAPES[0], dtype=torch.float64)
    n = math.prod(SHAPES[0]) // SHAPES[0][2]
    if abs(number(f(same, same, 1.0)) - math.log(n)) > 1e-6:
        raise NotYet(
            f"the loss where all {n} features are the same, log {n}",
            f"{math.log(n):.4f}",
            f"{number(f(same, same, 1.0)):.4f}",
        )
    found, known = slopes(tensor_valued(f), pair, 0.5), zeros_for_none(slopes(_slow, pair, 0.5), pair)
    for name, mine, right in zip(("predictions", "true features"), found, known):
        expect_gradient(f" that reaches the {name}", mine, right, 1e-7)


def _loss_same(f: Callable, g: Callable, seed: int) -> bool:
    """Equal values on two sizes at two temperatures, and equal gradients."""
    f, g = tensor_valued(f), tensor_valued(g)
    for k, (shape, temperature) in enumerate(((SHAPES[0], 1.0), (SHAPES[1], 0.5))):
        pair = _maps(shape, seed, 4, k)
        if not same_number(f(*pair, temperature), g(*pair, temperature), 1e-6, 1e-8):
            return False
        if not same_gradients(slopes(f, pair, temperature), slopes(g, pair, temperature), 1e-4, 1e-8):
            return False
    return True


def _rows(maps: Tensor) -> Tensor:
    return maps.permute(0, 1, 3, 4, 2).flatten(0, 3)


def _choose(scores: Tensor, reduction: str = "mean") -> Tensor:
    return F.cross_entropy(scores, torch.arange(len(scores)), reduction=reduction)


def _dense(prediction: Tensor, target: Tensor, temperature: float) -> Tensor:
    return _choose(_rows(prediction) @ _rows(target).T / temperature)


def _without(*names: str) -> Callable:
    return lambda p, t, temperature: dpc.dense_nce(p, t, temperature, without=names)


def _one_block_at_a_time(p: Tensor, t: Tensor, temperature: float) -> Tensor:
    return torch.stack(
        [_dense(p[:, k : k + 1], t[:, k : k + 1], temperature) for k in range(p.shape[1])]
    ).mean()


def _one_place_at_a_time(p: Tensor, t: Tensor, temperature: float) -> Tensor:
    h, w = p.shape[3:]
    return torch.stack(
        [
            _dense(p[..., y : y + 1, x : x + 1], t[..., y : y + 1, x : x + 1], temperature)
            for y in range(h)
            for x in range(w)
        ]
    ).mean()


def _pooled(p: Tensor, t: Tensor, temperature: float) -> Tensor:
    return _dense(p.mean((3, 4), keepdim=True), t.mean((3, 4), keepdim=True), temperature)


def _times(*axes: int) -> Callable:
    return lambda p, t, temperature: _dense(p, t, temperature) * math.prod(p.shape[a] for a in axes)


def _unit(maps: Tensor) -> Tensor:
    return F.normalize(maps, dim=2)


DENSE_NCE = Exercise(
    "dpc.dense_nce",
    dpc.dense_nce,
    _loss_properties,
    (
        Mistake(
            "each film by itself",
            "The candidates are those of the same film only. Every feature of the batch is a candidate: "
            "the easy "
            "negatives, from other films, are missing.",
            _without("other film"),
        ),
        Mistake(
            "only other films",
            "The candidates of the same film are missing, in other places and at other times. Without them "
            "nothing asks "
            "for where and when: put all features into one matrix.",
            _without("other time", "other place"),
            (_without("other place"), _without("other time"), _one_place_at_a_time),
        ),
        Mistake(
            "each block by itself",
            "Every block is compared within itself, so that no candidate stands at another time. One "
            "matrix for all "
            "blocks of all films has these hard negatives.",
            _one_block_at_a_time,
        ),
        Mistake(
            "pooled",
            (
                "Each map is averaged over its places first. The loss is dense: every place predicts, and "
                "every place is a candidate."
            ),
            _pooled,
        ),
        Mistake(
            "rectified",
            "Values below 0 are cut off before the comparison. What is predicted is z before its ReLU; "
            "only the GRU reads it "
            "rectified.",
            lambda p, t, temperature: _dense(p, F.relu(t), temperature),
            (
                lambda p, t, temperature: _dense(F.relu(p), F.relu(t), temperature),
                lambda p, t, temperature: _dense(F.relu(p), t, temperature),
            ),
        ),
        Mistake(
            "normalised",
            "The features are scaled to length 1, as in SimCLR. This paper compares by plain dot products.",
            lambda p, t, temperature: _dense(_unit(p), _unit(t), temperature),
            (
                lambda p, t, temperature: _dense(p, _unit(t), temperature),
                lambda p, t, temperature: _dense(_unit(p), t, temperature),
            ),
        ),
        Mistake(
            "the true features are detached",
            "The value is right, but no gradient reaches the true features. Here the negatives keep the "
            "features from collapsing, and both sides learn.",
            lambda p, t, temperature: _dense(p, t.detach(), temperature),
        ),
        Mistake(
            "the predictions are detached",
            "The value is right, but no gradient reaches the predictions: the GRU would learn nothing.",
            lambda p, t, temperature: _dense(p.detach(), t, temperature),
            (lambda p, t, temperature: _dense(p.detach(), t.detach(), temperature),),
        ),
        Mistake(
            "the temperature does not divide",
            "The scores must be divided by the temperature.",
            lambda p, t, temperature: _dense(p, t, 1.0),
            (lambda p, t, temperature: _dense(p, t, 1 / temperature),),
        ),
        Mistake(
            "the sum",
            (
                "The loss is the mean over all predicted features; this is their sum, or a sum over some of "
                "the axes."
            ),
            lambda p, t, temperature: _choose(_rows(p) @ _rows(t).T / temperature, "sum"),
            (_times(0), _times(1), _times(3, 4), _times(1, 3, 4), _times(0, 1)),
        ),
        Mistake(
            "softmax over the wrong axis",
            "Here the true features choose among the predictions. It is each prediction, a row, that must "
            "choose its column.",
            lambda p, t, temperature: _choose(_rows(t) @ _rows(p).T / temperature),
        ),
        Mistake(
            "predictions and features in different order",
            "The rows and the columns are not laid out alike, so the diagonal is not the "
            "pairs. Turn both in the same way.",
            lambda p, t, temperature: _choose(
                _rows(p) @ t.permute(0, 3, 4, 1, 2).flatten(0, 3).T / temperature
            ),
            (
                lambda p, t, temperature: _choose(
                    p.permute(0, 3, 4, 1, 2).flatten(0, 3) @ _rows(t).T / temperature
                ),
                lambda p, t, temperature: _choose(
                    _rows(p) @ t.permute(1, 0, 3, 4, 2).flatten(0, 3).T / temperature
                ),
                lambda p, t, temperature: _choose(
                    _rows(p) @ t.permute(0, 1, 4, 3, 2).flatten(0, 3).T / temperature
                ),
            ),
        ),
        Mistake(
            "channels and places mixed",
            "A reshape took numbers of different places for one feature. Bring the channels to the end "
            "first: "
            "permute(0, 1, 3, 4, 2), then flatten.",
            lambda p, t, temperature: _choose(
                p.reshape(-1, p.shape[2]) @ t.reshape(-1, p.shape[2]).T / temperature
            ),
            (
                lambda p, t, temperature: _choose(
                    p.transpose(1, 2).reshape(-1, p.shape[2])
                    @ t.transpose(1, 2).reshape(-1, p.shape[2]).T
                    / temperature
                ),
            ),
        ),
        Mistake(
            "squared error",
            "It measures how far each prediction is from its feature, and compares it with nothing: "
            "features that are all "
            "the same would be perfect.",
            lambda p, t, temperature: (p - t).square().mean(),
            (
                lambda p, t, temperature: (p - t).square().sum(2).mean(),
                lambda p, t, temperature: (p - t).square().mean() / temperature,
            ),
        ),
    ),
    _loss_same,
    (
        (
            "It is a classification: every predicted feature is one example, every true feature of the batch "
            "is one class."
        ),
        (
            "Lay both out as (n, d) with n = films * blocks * places: maps.permute(0, 1, 3, 4, 2).flatten(0, "
            "3). All scores are one matrix product."
        ),
        "F.cross_entropy(rows(prediction) @ rows(target).T / temperature, torch.arange(n))",
    ),
)


# ------------------------------------------------------------------------------ predictions that are fed back


def _world(*seed: int) -> tuple[Tensor, Callable, Callable]:
    """A context, a predictor and a recurrent step of numbers that depend on the seed; the step treats its two
    arguments unlike.
    """
    g = generator(*seed)
    context = torch.randn(2, 3, 2, 1, generator=g, dtype=torch.float64)
    phi_matrix, from_map, from_context = (
        torch.randn(3, 3, generator=g, dtype=torch.float64) for _ in range(3)
    )
    places = lambda matrix, maps: torch.einsum("ij,bjyx->biyx", matrix, maps)
    return (
        context,
        lambda c: places(phi_matrix, c),
        lambda x, c: torch.tanh(places(from_map, x) + 0.5 * places(from_context, c)),
    )


def _rolled(f: Callable, ahead: int, *seed: int) -> dict:
    context, phi, step = _world(*seed)
    context.requires_grad_()
    result = f(context, phi, step, ahead)
    if not isinstance(result, Tensor):
        return {"type": type(result).__name__}
    slope = torch.zeros_like(context)
    if result.requires_grad:
        weight = torch.linspace(0.5, 1.5, result.numel(), dtype=torch.float64).view(result.shape)
        (slope,) = torch.autograd.grad((result * weight).sum(), context)
    return {"type": "tensor", "value": result.detach(), "slope": slope}


def _roll_properties(f: Callable, seed: int) -> None:
    for ahead in (1, 3, 2):
        got, right = _rolled(f, ahead, seed, 5), _rolled(dpc.roll_out, ahead, seed, 5)
        what = f"{ahead} block{'s' * (ahead > 1)} ahead"
        if got["type"] != "tensor":
            raise NotYet(f"{what}: what it returns", "a tensor", got["type"])
        if got["value"].shape != right["value"].shape:
            raise NotYet(
                f"{what}: the shape (films, blocks, channels, height, width)",
                tuple(right["value"].shape),
                tuple(got["value"].shape),
            )
        for k in range(ahead):
            if not torch.allclose(got["value"][:, k], right["value"][:, k], atol=1e-9):
                raise NotYet(
                    f"{what}: prediction {k + 1}, first film, first place",
                    [round(v, 3) for v in right["value"][0, k, :, 0, 0].tolist()],
                    [round(v, 3) for v in got["value"][0, k, :, 0, 0].tolist()],
                )
        if not torch.allclose(got["slope"], right["slope"], atol=1e-7):
            raise NotYet(
                f"{what}: the values are right, but not the gradient that reaches the context; its length",
                f"{float(right['slope'].norm()):.4f}",
                f"{float(got['slope'].norm()):.4f}",
            )


def _roll_same(f: Callable, g: Callable, seed: int) -> bool:
    for ahead in (3, 2):
        mine, theirs = (_rolled(h, ahead, seed, 6) for h in (f, g))
        if mine["type"] != theirs["type"]:
            return False
        if mine["type"] == "tensor" and not (
            mine["value"].shape == theirs["value"].shape
            and torch.allclose(mine["value"], theirs["value"])
            and torch.allclose(mine["slope"], theirs["slope"])
        ):
            return False
    return True


def _roll(
    read: Callable = F.relu,
    hand_out: Callable = lambda z, c: z,
    feed: Callable = lambda step, x, c, first: step(x, c),
    stack: Callable = lambda z: torch.stack(z, 1),
    late: int = 0,
    more: int = 0,
) -> Callable:
    """Roll out with one thing done otherwise."""

    def roll(context: Tensor, phi: Callable, step: Callable, ahead: int):
        first, handed = context, []
        for k in range(ahead + late + more):
            z = phi(context)
            if k >= late:
                handed.append(hand_out(z, context))
            context = feed(step, read(z), context, first)
        return stack(handed)

    return roll


ROLL_OUT = Exercise(
    "dpc.roll_out",
    dpc.roll_out,
    _roll_properties,
    (
        Mistake(
            "nothing is fed back",
            "All predictions are the same: the context never moves on. The GRU must read each prediction "
            "before the "
            "next one is made.",
            _roll(feed=lambda step, x, c, first: c),
        ),
        Mistake(
            "not rectified",
            (
                "The GRU reads the prediction as it is. All that it ever reads is rectified: step(F.relu(z), "
                "context)."
            ),
            _roll(read=lambda z: z),
        ),
        Mistake(
            "always from the first context",
            "Every prediction is read into the first context, so the third block knows nothing of the "
            "second. Go on from the latest context.",
            _roll(feed=lambda step, x, c, first: step(x, first)),
        ),
        Mistake(
            "arguments changed over",
            "step takes the map first and then the context.",
            _roll(feed=lambda step, x, c, first: step(c, x)),
        ),
        Mistake(
            "contexts are handed out",
            "It returns contexts. What is compared with the future are the predictions, phi(context).",
            _roll(hand_out=lambda z, c: c),
        ),
        Mistake(
            "rectified predictions are handed out",
            "The predictions that it returns have lost what was below 0. Rectify only what the GRU reads.",
            _roll(hand_out=lambda z, c: F.relu(z)),
        ),
        Mistake(
            "the first block is skipped",
            "The first prediction is missing: it is phi of the context as it was given, before anything is "
            "fed "
            "back.",
            _roll(late=1),
        ),
        Mistake(
            "the gradient stops at the feedback",
            "The values are right, but predictions are detached before they are read: a late prediction"
            " should teach the earlier ones.",
            _roll(read=lambda z: F.relu(z).detach()),
            (_roll(feed=lambda step, x, c, first: step(x, c).detach()),),
        ),
        Mistake(
            "stacked along the wrong axis",
            "Blocks are the second axis: (films, blocks, channels, height, width). torch.stack(predictions, "
            "1)",
            _roll(stack=lambda z: torch.stack(z, 0)),
            (
                _roll(stack=lambda z: torch.stack(z, 2)),
                _roll(stack=lambda z: torch.cat(z, 1)),
                _roll(stack=lambda z: torch.cat(z, 0)),
            ),
        ),
        Mistake("one block too many", "It predicts one block more than was asked for.", _roll(more=1)),
        Mistake(
            "a list",
            "It returns a list: put the predictions into one tensor with torch.stack(predictions, 1).",
            _roll(stack=list),
            (_roll(stack=tuple),),
        ),
    ),
    _roll_same,
    (
        "The first prediction is phi(context). What would the GRU read next, if that block had been seen?",
        (
            "Loop `ahead` times: predict, keep it, and let step read the rectified prediction; its result is "
            "the context from which to predict next."
        ),
        (
            "z = phi(context); predictions.append(z); context = step(F.relu(z), context); in the end "
            "torch.stack(predictions, 1)"
        ),
    ),
    apart=False,
)

register(KINDS, DENSE_NCE, ROLL_OUT)
assign(
    Assignment(
        "10_dense_predictive_coding",
        (
            Task("dpc.kinds", "my_kinds"),
            Task("dpc.dense_nce", "my_dense_nce"),
            Task("dpc.roll_out", "my_roll_out"),
        ),
    )
)
