"""The exercises of 10_dense_predictive_coding in other hands: loops, einsum, other layouts."""

import math

import torch
import torch.nn.functional as F

# ---------------------------------------------------------------------------------------------- dpc.kinds


def by_loops(
    films,
    blocks,
    places,
    *,
    kind=None,
    order=lambda films, blocks, places: [
        (i, k, s) for i in range(films) for k in range(blocks) for s in range(places)
    ],
):
    kind = kind or (lambda film, block, place: 3 if not film else 2 if not place else 1 if not block else 0)
    at = order(films, blocks, places)
    return torch.tensor([[kind(a[0] == b[0], a[1] == b[1], a[2] == b[2]) for b in at] for a in at])


def by_blocks_of_numbers(films, blocks, places):
    """Kronecker products of small tables."""
    one, eye = torch.ones, torch.eye
    place = torch.kron(one(films * blocks, films * blocks), eye(places))
    film = torch.kron(eye(films), one(blocks * places, blocks * places))
    return (3 - film - film * place - eye(films * blocks * places)).long()


def by_digits(
    films,
    blocks,
    places,
    *,
    rule=lambda film, block, place: 3 - film - film * place - film * block * place,
    shape=None,
):
    index = (
        torch.arange(films * blocks * places).view(films, blocks, places)
        if shape is None
        else shape(films, blocks, places)
    )
    where = torch.empty(films * blocks * places, 3, dtype=torch.long)
    for i in range(films):
        for k in range(blocks):
            for s in range(places):
                where[index[i, k, s]] = torch.tensor([i, k, s])
    same = (where[:, None] == where[None]).long().unbind(2)
    return rule(*same)


def places_slowest(films, blocks, places):
    return [(i, k, s) for s in range(places) for k in range(blocks) for i in range(films)]


def blocks_fastest(films, blocks, places):
    return [(i, k, s) for i in range(films) for s in range(places) for k in range(blocks)]


def early_films(films, blocks, places):
    return [(i * blocks + k, k, s) for i in range(films) for k in range(blocks) for s in range(places)]


KINDS = {
    "time and place changed over": [
        lambda *n: by_loops(*n, kind=lambda f, b, p: 3 if not f else 1 if not p else 2 if not b else 0),
        lambda *n: torch.tensor([0, 2, 1, 3])[by_blocks_of_numbers(*n)],
    ],
    "other places only at the same time": [
        lambda *n: by_loops(
            *n, kind=lambda f, b, p: 0 if f and b and p else 1 if f and p else 2 if f and b else 3
        ),
        lambda *n: by_digits(*n, rule=lambda f, b, p: 3 - f * (b + p > 0) - f * p - f * b * p),
    ],
    "every other time counts as temporal": [
        lambda *n: by_loops(*n, kind=lambda f, b, p: 3 if not f else 1 if not b else 2 if not p else 0),
        lambda *n: by_digits(
            *n, rule=lambda f, b, p: torch.where(f == 0, 3, torch.where(b == 0, 1, 2 - 2 * p))
        ),
    ],
    "the film is not asked for": [
        lambda *n: by_loops(*n, kind=lambda f, b, p: 0 if f and b and p else 1 if p else 2 if f else 3),
        lambda *n: by_digits(*n, rule=lambda f, b, p: torch.where(p == 1, 1 - f * b, 3 - f)),
    ],
    "the positive is a negative": [
        lambda *n: by_loops(*n, kind=lambda f, b, p: 3 if not f else 2 if not p else 1),
        lambda *n: by_blocks_of_numbers(*n) + torch.eye(math.prod(n), dtype=torch.long),
    ],
    "several positives": [
        lambda *n: by_loops(*n, kind=lambda f, b, p: 0 if b and p else 3 if not f else 2 if not p else 1),
        lambda *n: by_digits(*n, rule=lambda f, b, p: torch.where(f * b == 1, 0, 3 - f - f * p)),
    ],
    "rows in another order": [
        lambda *n: by_loops(*n, order=places_slowest),
        lambda *n: by_loops(*n, order=blocks_fastest),
    ],
    "a film ends too early": [
        lambda *n: by_loops(*n, order=early_films),
        lambda n, b, p: by_loops(n * b, 1, p),
    ],
}

# ---------------------------------------------------------------------------------------------- dpc.dense_nce


def by_einsum(
    p,
    t,
    temperature,
    *,
    target=lambda t: t,
    prediction=lambda p: p,
    scale=lambda s, temperature: s / temperature,
    over="jmvu",
    reduce=lambda x: x.mean(),
):
    """Scores with all eight axes; `over` says which of the columns' are candidates."""
    scores = scale(torch.einsum("ikcyx,jmcvu->ikyxjmvu", prediction(p), target(t)), temperature)
    b, k, h, w = scores.shape[:4]
    keep = torch.ones(scores.shape, dtype=torch.bool)
    for axis, (name, size) in enumerate(zip("jmvu", (b, k, h, w))):
        if name not in over:
            shape = [1] * 8
            shape[axis] = shape[axis + 4] = size
            keep &= torch.eye(size, dtype=torch.bool).view(shape)
    own = (prediction(p) * target(t)).sum(2)
    own = scale(own, temperature)
    return reduce(torch.logsumexp(scores.masked_fill(~keep, float("-inf")).flatten(4), 4) - own)


def by_log_softmax(p, t, temperature, *, layout=lambda m: m.movedim(2, -1), other=None, axis=1):
    rows, columns = layout(p).reshape(-1, p.shape[2]), (other or layout)(t).reshape(-1, p.shape[2])
    return -(rows @ columns.T / temperature).log_softmax(axis).diagonal().mean()


def film_by_film(p, t, temperature):
    return torch.stack([by_log_softmax(a[None], b[None], temperature) for a, b in zip(p, t)]).mean()


DENSE_NCE = {
    "each film by itself": [film_by_film, lambda p, t, T: by_einsum(p, t, T, over="mvu")],
    "only other films": [
        lambda p, t, T: by_einsum(p, t, T, over="jm"),
        lambda p, t, T: torch.stack(
            [
                by_log_softmax(p[..., [y], :][..., [x]], t[..., [y], :][..., [x]], T)
                for y in range(p.shape[3])
                for x in range(p.shape[4])
            ]
        ).mean(),
    ],
    "each block by itself": [
        lambda p, t, T: by_einsum(p, t, T, over="jvu"),
        lambda p, t, T: (
            sum(by_log_softmax(a[:, None], b[:, None], T) for a, b in zip(p.unbind(1), t.unbind(1)))
            / p.shape[1]
        ),
    ],
    "pooled": [
        lambda p, t, T: by_log_softmax(
            p.flatten(3).mean(3)[..., None, None], t.flatten(3).mean(3)[..., None, None], T
        ),
        lambda p, t, T: F.cross_entropy(
            p.mean((3, 4)).flatten(0, 1) @ t.mean((3, 4)).flatten(0, 1).T / T,
            torch.arange(p.shape[0] * p.shape[1]),
        ),
    ],
    "rectified": [
        lambda p, t, T: by_einsum(p, t, T, target=torch.relu),
        lambda p, t, T: by_log_softmax(p.clamp(min=0), t.clamp(min=0), T),
    ],
    "normalised": [
        lambda p, t, T: by_log_softmax(p / p.norm(dim=2, keepdim=True), t / t.norm(dim=2, keepdim=True), T),
        lambda p, t, T: by_einsum(p, t, T, target=lambda t: t / t.square().sum(2, keepdim=True).sqrt()),
    ],
    "the true features are detached": [
        lambda p, t, T: by_einsum(p, t.detach(), T),
        lambda p, t, T: by_log_softmax(p, t.clone().detach(), T),
    ],
    "the predictions are detached": [
        lambda p, t, T: by_einsum(p.detach(), t, T),
        lambda p, t, T: by_log_softmax(p.data, t, T),
    ],
    "the temperature does not divide": [
        lambda p, t, T: by_log_softmax(p, t, 1),
        lambda p, t, T: by_einsum(p, t, T, scale=lambda s, temperature: s * temperature),
    ],
    "the sum": [
        lambda p, t, T: by_einsum(p, t, T, reduce=torch.sum),
        lambda p, t, T: by_einsum(p, t, T, reduce=lambda x: x.sum((1, 2, 3)).mean()),
    ],
    "softmax over the wrong axis": [
        lambda p, t, T: by_log_softmax(p, t, T, axis=0),
        lambda p, t, T: by_einsum(t, p, T),
    ],
    "predictions and features in different order": [
        lambda p, t, T: by_log_softmax(p, t, T, other=lambda m: m.permute(0, 3, 4, 1, 2)),
        lambda p, t, T: by_log_softmax(p, t, T, other=lambda m: m.permute(1, 0, 3, 4, 2)),
    ],
    "channels and places mixed": [
        lambda p, t, T: by_log_softmax(p, t, T, layout=lambda m: m.contiguous()),
        lambda p, t, T: by_log_softmax(p, t, T, layout=lambda m: m.transpose(1, 2)),
    ],
    "squared error": [lambda p, t, T: F.mse_loss(p, t), lambda p, t, T: ((p - t) ** 2).sum(2).mean()],
}

# ---------------------------------------------------------------------------------------------- dpc.roll_out


def recursive(context, phi, step, ahead, *, read=torch.relu, give=lambda z, c: z):
    z = phi(context)
    if ahead == 1:
        return give(z, context)[:, None]
    later = recursive(step(read(z), context), phi, step, ahead - 1, read=read, give=give)
    return torch.cat([give(z, context)[:, None], later], 1)


def states_first(context, phi, step, ahead, *, drop=0, count=0, of=lambda phi, c: phi(c), feed=None):
    """First all contexts, then all predictions."""
    feed = feed or (lambda c, first: step(phi(c).clamp(min=0), c))
    states = [context]
    for _ in range(ahead + drop + count - 1):
        states.append(feed(states[-1], context))
    return torch.stack([of(phi, c) for c in states[drop:]], dim=1)


ROLL_OUT = {
    "nothing is fed back": [
        lambda c, phi, step, n: phi(c)[:, None].expand(-1, n, -1, -1, -1),
        lambda c, phi, step, n: torch.stack([phi(c) for _ in range(n)], 1),
    ],
    "not rectified": [
        lambda *a: recursive(*a, read=lambda z: z),
        lambda c, phi, step, n: states_first(c, phi, step, n, feed=lambda s, _: step(phi(s), s)),
    ],
    "always from the first context": [
        lambda c, phi, step, n: states_first(
            c, phi, step, n, feed=lambda s, first: step(torch.relu(phi(s)), first)
        ),
        lambda c, phi, step, n: recursive(c, phi, lambda x, _: step(x, c), n),
    ],
    "arguments changed over": [
        lambda c, phi, step, n: recursive(c, phi, lambda x, s: step(s, x), n),
        lambda c, phi, step, n: states_first(c, phi, step, n, feed=lambda s, _: step(s, torch.relu(phi(s)))),
    ],
    "contexts are handed out": [
        lambda *a: recursive(*a, give=lambda z, c: c),
        lambda *a: states_first(*a, of=lambda phi, c: c),
    ],
    "rectified predictions are handed out": [
        lambda *a: recursive(*a).clamp(min=0),
        lambda *a: states_first(*a, of=lambda phi, c: torch.relu(phi(c))),
    ],
    "the first block is skipped": [
        lambda *a: states_first(*a, drop=1),
        lambda c, phi, step, n: recursive(step(torch.relu(phi(c)), c), phi, step, n),
    ],
    "the gradient stops at the feedback": [
        lambda *a: recursive(*a, read=lambda z: torch.relu(z.detach())),
        lambda c, phi, step, n: states_first(
            c, phi, step, n, feed=lambda s, _: step(torch.relu(phi(s)), s).detach()
        ),
    ],
    "stacked along the wrong axis": [
        lambda *a: recursive(*a).transpose(0, 1),
        lambda *a: recursive(*a).flatten(1, 2),
    ],
    "one block too many": [
        lambda *a: states_first(*a, count=1),
        lambda c, phi, step, n: recursive(c, phi, step, n + 1),
    ],
    "a list": [lambda *a: list(recursive(*a).unbind(1)), lambda *a: states_first(*a).unbind(1)],
}

WRITTEN_OTHERWISE = {"dpc.kinds": KINDS, "dpc.dense_nce": DENSE_NCE, "dpc.roll_out": ROLL_OUT}

RIGHT_OTHERWISE = {
    "dpc.kinds": [by_loops, by_blocks_of_numbers, by_digits],
    "dpc.dense_nce": [
        by_einsum,
        by_log_softmax,
        lambda p, t, temperature: by_einsum(p / temperature, t, 1.0),
    ],
    "dpc.roll_out": [recursive, states_first],
}
