"""The exercises of 06_byol: the loss without negatives, the target that follows, and MoCo's queue."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslcourse.check.compare import (
    expect_gradient,
    expect_scalar,
    number,
    same_gradients,
    same_number,
    slopes,
)
from sslcourse.check.engine import Assignment, Exercise, Mistake, NotYet, Task, assign, register
from sslcourse.methods import byol, moco
from sslcourse.runtime.seeds import generator

# ---------------------------------------------------------------------------------------- the regression loss


def _pair(n: int, d: int, *seed: int, dtype=torch.float64) -> tuple[Tensor, Tensor]:
    g = generator(*seed)
    return torch.randn(n, d, generator=g, dtype=dtype), torch.randn(n, d, generator=g, dtype=dtype)


def _slow(p: Tensor, target: Tensor) -> Tensor:
    """Eq. 2 of the paper, row by row."""
    terms = [((a / a.norm() - b / b.norm()) ** 2).sum() for a, b in zip(p, target.detach())]
    return torch.stack(terms).mean()


def _loss_properties(f: Callable, seed: int) -> None:
    p, target = _pair(6, 5, seed, 1)
    kept = p.clone(), target.clone()
    value = f(p, target)
    expect_scalar(value)
    expected, got = number(_slow(*kept)), number(value)
    if not abs(got - expected) <= 1e-6:
        raise NotYet("the loss of six random predictions and targets", f"{expected:.4f}", f"{got:.4f}")
    if not (torch.equal(p, kept[0]) and torch.equal(target, kept[1])):
        raise NotYet(
            "p and target after the call (avoid operations in place on them)", "unchanged", "changed"
        )
    for factor, known in ((2.5, 0.0), (-1.0, 4.0)):
        got = number(f(p, factor * p))
        if abs(got - known) > 1e-6:
            raise NotYet(
                f"the loss of a prediction whose target is {factor:g} times itself",
                f"{known:.4f}",
                f"{got:.4f}",
            )
    n = 3 + seed % 5
    pair = _pair(n, 7, seed, 2)
    if abs(number(f(*pair)) - number(_slow(*pair))) > 1e-6:
        raise NotYet(
            f"the loss of {n} random rows of length 7",
            f"{number(_slow(*pair)):.4f}",
            f"{number(f(*pair)):.4f}",
        )
    to_p, to_target = slopes(f, pair)
    right = torch.autograd.grad(_slow(pair[0].requires_grad_(), pair[1]), pair[0])[0]
    expect_gradient(" that reaches p", to_p, right, 1e-7)
    if to_target is not None and to_target.abs().max() > 0:
        raise NotYet(
            "the gradient that reaches the target; its length", "none", f"{float(to_target.norm()):.4f}"
        )
    small, other = _pair(16, 8, seed, 3, dtype=torch.float32)
    got = f(small.bfloat16(), other.bfloat16())
    if not abs(number(got) - number(_slow(small, other))) < 0.1:
        raise NotYet(
            "the loss of vectors in half precision (bfloat16)",
            f"about {number(_slow(small, other)):.2f}",
            f"{number(got):.2f}",
        )


def _loss_same(f: Callable, g: Callable, seed: int) -> bool:
    """Equal values on two inputs of different size, and equal gradients."""
    for n, d, k in ((6, 5, 4), (4, 7, 5)):
        pair = _pair(n, d, seed, k)
        if not same_number(f(*pair), g(*pair), 1e-5, 1e-7):
            return False
        if not same_gradients(slopes(f, pair), slopes(g, pair), 1e-4, 1e-7):
            return False
    return True


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=1)


def _squared(p: Tensor, t: Tensor) -> Tensor:
    return (p - t).square().sum(1)


def _cosine(p: Tensor, t: Tensor) -> Tensor:
    return (_unit(p) * _unit(t)).sum(1)


def _multiple(*factors: Callable) -> Callable:
    """Whether the loss is the right one times factor(n, d), one factor for all sizes."""

    def recognise(f: Callable, seed: int) -> bool:
        ratios = {}
        for n, d in ((4, 6), (7, 5)):
            pair = _pair(n, d, seed, 8, n)
            ratios[n, d] = number(f(*pair)) / number(_slow(*pair))
        return any(
            all(math.isclose(r, factor(*size), rel_tol=1e-5) for size, r in ratios.items())
            for factor in factors
        )

    return recognise


REGRESSION_LOSS = Exercise(
    "byol.regression_loss",
    byol.regression_loss,
    _loss_properties,
    (
        Mistake(
            "no normalisation",
            "The rows are compared as they are. Eq. 2 compares directions: scale every row of both to "
            "length 1 first, with "
            "F.normalize(x, dim=1). Otherwise shrinking all vectors is an easy way to a small loss.",
            lambda p, t: _squared(p, t.detach()).mean(),
        ),
        Mistake(
            "only one side normalised",
            "One of the two is scaled to length 1 and the other is not. Eq. 2 normalises both.",
            lambda p, t: _squared(_unit(p), t.detach()).mean(),
            (lambda p, t: _squared(p, _unit(t.detach())).mean(),),
        ),
        Mistake(
            "normalised along the wrong axis",
            "The columns, or everything at once, are scaled to length 1. Each row is one picture: dim=1.",
            lambda p, t: _squared(F.normalize(p, dim=0), F.normalize(t.detach(), dim=0)).mean(),
            (lambda p, t: _squared(p / p.norm(), t.detach() / t.norm().detach()).mean(),),
        ),
        Mistake(
            "no stop-gradient",
            "The value is right, but a gradient reaches the target. Then prediction and target run towards "
            "each "
            "other, and the "
            "quickest way to agree is to say nothing: detach the target.",
            lambda p, t: _squared(_unit(p), _unit(t)).mean(),
        ),
        Mistake(
            "the prediction is detached",
            "The gradient reaches the target and not the prediction: the wrong one of the two is detached.",
            lambda p, t: _squared(_unit(p.detach()), _unit(t)).mean(),
        ),
        Mistake(
            "no gradient at all",
            "The value is right, but no gradient flows anywhere: nothing would be learned. Only the target "
            "is to "
            "be detached.",
            lambda p, t: _squared(_unit(p), _unit(t)).mean().detach(),
        ),
        Mistake(
            "similarity for distance",
            "It grows when prediction and target agree, and training makes it smaller: they would be driven "
            "apart. The "
            "distance is 2 minus twice the cosine.",
            lambda p, t: _cosine(p, t.detach()).mean(),
            (
                lambda p, t: 2 + 2 * _cosine(p, t.detach()).mean(),
                lambda p, t: 2 * _cosine(p, t.detach()).mean(),
            ),
        ),
        Mistake(
            "negative cosine",
            "This is minus the cosine, SimSiam's form: the gradient has the right direction, but eq. 2 is "
            "2 - 2 cos, which is "
            "never below 0.",
            lambda p, t: -_cosine(p, t.detach()).mean(),
            (lambda p, t: -2 * _cosine(p, t.detach()).mean(),),
        ),
        Mistake(
            "not squared",
            "It is the distance; eq. 2 is the squared distance, so no root.",
            lambda p, t: (_unit(p) - _unit(t.detach())).norm(dim=1).mean(),
        ),
        Mistake(
            "mean for sum",
            "Divided by too much: eq. 2 sums over the coordinates of a row, and only the rows are "
            "averaged. mse_loss "
            "averages both.",
            lambda p, t: F.mse_loss(_unit(p), _unit(t.detach())),
            (lambda p, t: 1 - _cosine(p, t.detach()).mean(),),
            recognise=_multiple(
                lambda n, d: 1 / d, lambda n, d: 1 / 2, lambda n, d: 1 / n, lambda n, d: 1 / (n * d)
            ),
        ),
        Mistake(
            "sum over the batch",
            "The rows are summed. Take their mean, or the learning rate would depend on the batch size.",
            lambda p, t: _squared(_unit(p), _unit(t.detach())).sum(),
            recognise=_multiple(lambda n, d: n),
        ),
    ),
    _loss_same,
    (
        "Two unit vectors: the squared distance between them is 2 - 2 times their dot product.",
        "F.normalize(x, dim=1) makes rows of length 1; target.detach() stops the gradient.",
        (
            "p, target = F.normalize(p, dim=1), F.normalize(target.detach(), dim=1); return (p - "
            "target).square().sum(1).mean()"
        ),
    ),
)


# ----------------------------------------------------------------------------------------- the target follows


def _networks(*seed: int) -> tuple[nn.Module, nn.Module]:
    """An online network and a target of the same shape with other weights, which learns nothing."""
    g = generator(*seed)
    online = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    target = copy.deepcopy(online)
    with torch.no_grad():
        for p in (*online.parameters(), *target.parameters()):
            p.copy_(torch.randn(p.shape, generator=g, dtype=torch.float64))
    return online, target.requires_grad_(False)


def _flat(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def _followed(f: Callable, tau: float, *seed: int) -> dict:
    """What an update leaves behind."""
    online, target = _networks(*seed)
    theta, xi = _flat(online).clone(), _flat(target).clone()
    f(online, target, tau)
    after = _flat(online).clone(), _flat(target).clone()
    graph = any(p.requires_grad for p in target.parameters())
    with torch.no_grad():
        for p in online.parameters():
            p.add_(1.0)
    shared = not torch.allclose(_flat(target), after[1])
    return {
        "theta": theta,
        "xi": xi,
        "online": after[0],
        "target": after[1],
        "graph": graph,
        "shared": shared,
    }


def _update_properties(f: Callable, seed: int) -> None:
    for k, tau in enumerate((0.9, 0.3, 1.0, 0.0)):
        got = _followed(f, tau, seed, 30 + k)
        if not torch.equal(got["online"], got["theta"]):
            raise NotYet(
                "the online network after the update",
                "unchanged",
                f"moved by {float((got['online'] - got['theta']).norm()):.3f}",
            )
        right = tau * got["xi"] + (1 - tau) * got["theta"]
        if not torch.allclose(got["target"], right, atol=1e-9):
            worst = int((got["target"] - right).abs().argmax())
            raise NotYet(
                f"at tau = {tau:g}, a weight of the target that was {got['xi'][worst]:.3f} where the "
                "online one is "
                "{got['theta'][worst]:.3f}",
                f"{right[worst]:.3f}",
                f"{got['target'][worst]:.3f}",
            )
        if got["graph"]:
            raise NotYet("whether the target's weights ask for a gradient after the update", "no", "yes")
        if got["shared"]:
            raise NotYet("the target when the online network changes afterwards", "unchanged", "changed")


def _update_same(f: Callable, g: Callable, seed: int) -> bool:
    for k, tau in enumerate((0.9, 0.3)):
        mine, theirs = (_followed(h, tau, seed, 40 + k) for h in (f, g))
        if any(mine[key] != theirs[key] for key in ("graph", "shared")):
            return False
        if not all(torch.allclose(mine[key], theirs[key], atol=1e-9) for key in ("online", "target")):
            return False
    return True


def _each(rule: Callable) -> Callable:
    """An update that goes through pairs of parameters."""

    @torch.no_grad()
    def update(online: nn.Module, target: nn.Module, tau: float) -> None:
        for theta, xi in zip(online.parameters(), target.parameters()):
            rule(theta, xi, tau)

    return update


@torch.no_grad()
def _first_only(online: nn.Module, target: nn.Module, tau: float) -> None:
    theta, xi = next(online.parameters()), next(target.parameters())
    xi.mul_(tau).add_(theta, alpha=1 - tau)


@torch.no_grad()
def _weights_only(online: nn.Module, target: nn.Module, tau: float) -> None:
    for theta, xi in zip(online.parameters(), target.parameters()):
        if xi.ndim > 1:
            xi.mul_(tau).add_(theta, alpha=1 - tau)


def _recorded(online: nn.Module, target: nn.Module, tau: float) -> None:
    for theta, xi in zip(online.parameters(), target.parameters()):
        xi.mul_(tau).add_((1 - tau) * theta)


def _aliased(theta: Tensor, xi: Tensor, tau: float) -> None:
    xi.data = theta.data


def _not_kept(theta: Tensor, xi: Tensor, tau: float) -> None:
    xi = tau * xi + (1 - tau) * theta


UPDATE_TARGET = Exercise(
    "byol.update_target",
    byol.update_target,
    _update_properties,
    (
        Mistake(
            "tau and 1 - tau swapped",
            "The target takes the share tau from the online network. It should keep the share tau of itself, "
            "or it would be "
            "nearly a copy of the online network at every step.",
            _each(lambda theta, xi, tau: xi.mul_(1 - tau).add_(theta, alpha=tau)),
        ),
        Mistake(
            "a copy",
            "The target becomes a copy of the online network whatever tau is: that is tau = 0, which the "
            "paper's table 5 "
            "shows to fail.",
            _each(lambda theta, xi, tau: xi.copy_(theta)),
        ),
        Mistake(
            "the same tensors",
            "The target's weights are now the online network's own tensors: every later step of the "
            "optimizer moves "
            "both. Change "
            "the numbers in place instead.",
            _each(_aliased),
        ),
        Mistake(
            "nothing is written",
            "The target stays as it was. xi = ... only gives a name to a new tensor; write into the old one: "
            "xi.mul_(tau), xi.add_(...) "
            "or xi.copy_(...).",
            _each(_not_kept),
        ),
        Mistake(
            "the online network moves",
            "The online network is changed. It belongs to the optimizer; only the target follows.",
            _each(lambda theta, xi, tau: theta.copy_(tau * theta + (1 - tau) * xi)),
            (_each(lambda theta, xi, tau: theta.copy_(tau * xi + (1 - tau) * theta)),),
        ),
        Mistake(
            "gradients are recorded",
            "The values are right, but the update is recorded for a backward pass: the target's weights now "
            "ask for a gradient, and "
            "the record grows with every step. Put it under torch.no_grad(), or detach.",
            _recorded,
        ),
        Mistake(
            "the old target is not shrunk",
            (
                "The online share is added, but the old target is not multiplied by tau: the weights grow "
                "and "
                "grow."
            ),
            _each(lambda theta, xi, tau: xi.add_(theta, alpha=1 - tau)),
        ),
        Mistake(
            "only some parameters",
            "Some parameters of the target do not follow. Go through all of target.parameters(), biases and "
            "normalisations too.",
            _first_only,
            (_weights_only,),
        ),
    ),
    _update_same,
    (
        "Go through both networks' parameters side by side: zip(online.parameters(), target.parameters()).",
        (
            "Each target parameter keeps the share tau of itself, and gets the share 1 - tau of the online "
            "one; in place, under torch.no_grad()."
        ),
        (
            "xi.mul_(tau).add_(theta, alpha=1 - tau) for each pair, in a function decorated with "
            "@torch.no_grad()"
        ),
    ),
    apart=False,
)


# ---------------------------------------------------------------------------------------------- the queue


def _batches(sizes: list[int], *seed: int) -> list[Tensor]:
    """Batches of keys; every number occurs once, so that it can be found again."""
    numbers = torch.randperm(2 * sum(sizes), generator=generator(*seed)).double().view(-1, 2) + 1
    return list(numbers.split(sizes))


def _written(f: Callable, size: int, sizes: list[int], *seed: int) -> list[tuple[Tensor, object, bool]]:
    """The queue, the count and whether the queue has a graph, after every batch. The count that is handed on
    is the right one: one fault should not make two.
    """
    queue, seen, states = torch.zeros(size, 2, dtype=torch.float64), 0, []
    for keys in _batches(sizes, *seed):
        returned = f(queue, keys.clone().requires_grad_(), seen)
        seen += len(keys)
        states.append((queue.detach().clone(), returned, queue.requires_grad))
        queue = queue.detach()
    return states


def _right(size: int, sizes: list[int], *seed: int) -> list[Tensor]:
    queue, seen, states = torch.zeros(size, 2, dtype=torch.float64), 0, []
    for keys in _batches(sizes, *seed):
        for key in keys:
            queue[seen % size] = key
            seen += 1
        states.append(queue.clone())
    return states


PLAIN, WRAPPING, LARGE = (8, [4, 4, 4]), (7, [3, 3, 3, 3]), (4, [3, 9, 2])


def _enqueue_properties(f: Callable, seed: int) -> None:
    for k, (size, sizes) in enumerate((PLAIN, WRAPPING, LARGE)):
        expected, seen = _right(size, sizes, seed, 50 + k), 0
        for step, ((queue, returned, graph), right) in enumerate(
            zip(_written(f, size, sizes, seed, 50 + k), expected)
        ):
            where = (
                f"a queue of {size} after {step + 1} batch{'es' * (step > 0)} of "
                f"{', '.join(map(str, sizes[: step + 1]))}"
            )
            seen += sizes[step]
            if not torch.equal(queue, right):
                row = int((queue != right).any(1).nonzero()[0])
                raise NotYet(f"{where}: row {row}", right[row].tolist(), queue[row].tolist())
            if graph:
                raise NotYet(f"{where}: whether it is part of a gradient's record", "no", "yes")
            if not isinstance(returned, (int, Tensor)) or int(returned) != seen:
                raise NotYet(f"{where}: how many keys were written so far, as it returns it", seen, returned)


def _enqueue_same(f: Callable, g: Callable, seed: int) -> bool:
    for k, (size, sizes) in enumerate((PLAIN, WRAPPING)):
        for (queue, count, graph), (other, other_count, other_graph) in zip(
            *(_written(h, size, sizes, seed, 60 + k) for h in (f, g))
        ):
            if (
                not torch.equal(queue, other)
                or graph != other_graph
                or (count is None) != (other_count is None)
            ):
                return False
            if count is not None and int(count) != int(other_count):
                return False
    return True


def _at(place: Callable, count: Callable = lambda seen, n, m: seen + n) -> Callable:
    """Rows place(key numbers from seen, size of the queue)."""

    @torch.no_grad()
    def write(queue: Tensor, keys: Tensor, seen: int) -> int:
        keys = keys[-len(queue) :]
        queue[place(torch.arange(seen, seen + len(keys)), len(queue))] = keys
        return count(seen, len(keys), len(queue))

    return write


@torch.no_grad()
def _tail_lost(queue: Tensor, keys: Tensor, seen: int) -> int:
    start = seen % len(queue)
    room = min(len(keys), len(queue) - start)
    queue[start : start + room] = keys[:room]
    return seen + len(keys)


@torch.no_grad()
def _back_to_the_top(queue: Tensor, keys: Tensor, seen: int) -> int:
    start = seen % len(queue)
    start = 0 if start + len(keys) > len(queue) else start
    queue[start : start + len(keys)] = keys[: len(queue)]
    return seen + len(keys)


@torch.no_grad()
def _shifted(queue: Tensor, keys: Tensor, seen: int) -> int:
    queue.copy_(torch.cat([keys, queue])[: len(queue)])
    return seen + len(keys)


@torch.no_grad()
def _shifted_up(queue: Tensor, keys: Tensor, seen: int) -> int:
    queue.copy_(torch.cat([queue, keys])[-len(queue) :])
    return seen + len(keys)


@torch.no_grad()
def _new_queue(queue: Tensor, keys: Tensor, seen: int) -> int:
    queue = queue.clone()
    return moco.enqueue(queue, keys, seen)


def _with_gradient(queue: Tensor, keys: Tensor, seen: int) -> int:
    queue[torch.arange(seen, seen + len(keys))[-len(queue) :] % len(queue)] = keys[-len(queue) :]
    return seen + len(keys)


def _keeps_the_first(f: Callable, seed: int) -> bool:
    """Of a batch that is larger than the queue the first keys stay; everything else is right."""
    if not _enqueue_same(f, moco.enqueue, seed):
        return False
    keys = _batches([9], seed, 70)[0]
    queue = torch.zeros(4, 2, dtype=torch.float64)
    f(queue, keys, 0)
    return torch.equal(queue.sort(0).values, keys[:4].sort(0).values)


@torch.no_grad()
def _first_kept(queue: Tensor, keys: Tensor, seen: int) -> int:
    size = len(queue)
    rows = torch.arange(seen, seen + min(len(keys), size)) % size
    queue[rows] = keys[:size]
    return seen + len(keys)


ENQUEUE = Exercise(
    "moco.enqueue",
    moco.enqueue,
    _enqueue_properties,
    (
        Mistake(
            "always at the top",
            (
                "Every batch is written over the first rows; the others are never replaced. Begin at row "
                "seen "
                "% m, the oldest."
            ),
            _at(lambda i, m: (i - i[0]) % m),
        ),
        Mistake(
            "the end of the batch is lost",
            "A batch that reaches the end of the queue is cut off there. Its other keys go on at row 0.",
            _tail_lost,
        ),
        Mistake(
            "back to the top too early",
            "A batch that does not fit before the end is written at row 0 altogether: the oldest rows at "
            "the end stay, and younger "
            "ones are lost. Wrap row by row, with % m.",
            _back_to_the_top,
        ),
        Mistake(
            "everything is shifted",
            "The newest keys always stand at one end, and all others move at every step. Nothing moves in a "
            "ring: write over the "
            "oldest rows, which begin at seen % m.",
            _shifted,
            (_shifted_up,),
        ),
        Mistake(
            "a new queue",
            (
                "The queue that was handed in is unchanged: the keys went into a copy. Write into it: "
                "queue[rows] = keys."
            ),
            _new_queue,
        ),
        Mistake(
            "keys with gradient",
            "The keys bring their gradient along, and the queue becomes part of the record of every batch "
            "whose "
            "keys it holds. Write "
            "under torch.no_grad(), or detach them.",
            _with_gradient,
        ),
        Mistake(
            "the count wraps",
            "It returns a row of the queue. `seen` counts all keys ever written, so that it also says how "
            "much of "
            "the queue is filled.",
            _at(lambda i, m: i % m, lambda seen, n, m: (seen + n) % m),
        ),
        Mistake(
            "the count stands still",
            "It does not say how many keys were written in the end: return seen + len(keys).",
            _at(lambda i, m: i % m, lambda seen, n, m: seen),
            (
                _at(lambda i, m: i % m, lambda seen, n, m: None),
                _at(lambda i, m: i % m, lambda seen, n, m: seen + 1),
                _at(lambda i, m: i % m, lambda seen, n, m: n),
            ),
        ),
        Mistake(
            "one row too far",
            "It begins one row after the oldest, or one before: row `seen % m` is the first to write.",
            _at(lambda i, m: (i + 1) % m),
            (_at(lambda i, m: (i - 1) % m),),
        ),
        Mistake(
            "too many keys: the first stay",
            "Of a batch with more keys than the queue has rows, the newest should stay, in the rows "
            "that their numbers give.",
            _first_kept,
            recognise=_keeps_the_first,
        ),
    ),
    _enqueue_same,
    (
        "Key number i, counted from the very first, belongs in row i % m.",
        (
            "The keys of this batch are the numbers seen, seen + 1, ... seen + n - 1. torch.arange makes "
            "them, "
            "% wraps them."
        ),
        (
            "rows = torch.arange(seen, seen + n) % m; queue[rows] = keys, both without all but the last m, "
            "under torch.no_grad(); return seen + n"
        ),
    ),
    apart=False,
)

register(REGRESSION_LOSS, UPDATE_TARGET, ENQUEUE)
assign(
    Assignment(
        "06_byol",
        (
            Task("byol.regression_loss", "my_regression_loss"),
            Task("byol.update_target", "my_update_target"),
            Task("moco.enqueue", "my_enqueue"),
        ),
    )
)
