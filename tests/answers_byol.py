"""The exercises of 06_byol in other hands: loops, other functions of torch, other rings."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from sslcourse.methods import byol, moco

# --------------------------------------------------------------------------------------- byol.regression_loss


def by_loops(
    p,
    target,
    *,
    unit_p=lambda v: v / v.norm(),
    unit_t=lambda v: v / v.norm(),
    stop_p=False,
    stop_t=True,
    power=2,
    divide=lambda n, d: n,
):
    total = 0
    for a, b in zip(p, target):
        a, b = (a.detach() if stop_p else a), (b.detach() if stop_t else b)
        gap = unit_p(a) - unit_t(b)
        total = total + (gap @ gap if power == 2 else (gap @ gap).sqrt())
    return total / divide(*p.shape)


def by_cosine(p, target, *, scale=-2.0, shift=2.0, stop=True):
    return shift + scale * F.cosine_similarity(p, target.detach() if stop else target, dim=-1).mean()


def plain(v):
    return v


def by_matrix(p, target):
    p, target = p / p.norm(dim=1, keepdim=True), target.detach() / target.detach().norm(dim=1, keepdim=True)
    return 2 - 2 * (p @ target.T).diagonal().mean()


REGRESSION_LOSS = {
    "no normalisation": [
        lambda p, t: by_loops(p, t, unit_p=plain, unit_t=plain),
        lambda p, t: ((p - t.detach()) ** 2).sum(-1).mean(),
    ],
    "only one side normalised": [
        lambda p, t: by_loops(p, t, unit_p=plain),
        lambda p, t: by_loops(p, t, unit_t=plain),
    ],
    "normalised along the wrong axis": [
        lambda p, t: ((p / p.norm(dim=0) - (t / t.norm(dim=0)).detach()) ** 2).sum() / len(p),
        lambda p, t: ((p / (p**2).sum().sqrt() - (t / (t**2).sum().sqrt()).detach()) ** 2).sum(1).mean(),
    ],
    "no stop-gradient": [lambda p, t: by_loops(p, t, stop_t=False), lambda p, t: by_cosine(p, t, stop=False)],
    "the prediction is detached": [
        lambda p, t: by_loops(p, t, stop_p=True, stop_t=False),
        lambda p, t: byol.distance(p.detach(), t),
    ],
    "no gradient at all": [
        lambda p, t: by_loops(p, t, stop_p=True),
        lambda p, t: torch.tensor(by_cosine(p, t).item(), dtype=p.dtype),
    ],
    "similarity for distance": [
        lambda p, t: by_cosine(p, t, scale=1.0, shift=0.0),
        lambda p, t: by_cosine(p, t, scale=2.0),
        lambda p, t: by_cosine(p, t, scale=2.0, shift=0.0),
    ],
    "negative cosine": [
        lambda p, t: by_cosine(p, t, scale=-1.0, shift=0.0),
        lambda p, t: by_cosine(p, t, shift=0.0),
    ],
    "not squared": [
        lambda p, t: by_loops(p, t, power=1),
        lambda p, t: (2 - 2 * F.cosine_similarity(p, t.detach())).sqrt().mean(),
    ],
    "mean for sum": [
        lambda p, t: by_loops(p, t, divide=lambda n, d: n * d),
        lambda p, t: by_cosine(p, t, scale=-1.0, shift=1.0),
        lambda p, t: by_loops(p, t, divide=lambda n, d: n * n),
    ],
    "sum over the batch": [
        lambda p, t: by_loops(p, t, divide=lambda n, d: 1),
        lambda p, t: len(p) * by_cosine(p, t),
    ],
}

# ----------------------------------------------------------------------------------------- byol.update_target


def by_data(online, target, tau, *, keep=lambda tau: tau, take=lambda tau: 1 - tau, which=lambda name: True):
    ours = dict(target.named_parameters())
    for name, theta in online.named_parameters():
        if which(name):
            ours[name].data.copy_(keep(tau) * ours[name].data + take(tau) * theta.data)


def by_lerp(online, target, tau, *, share=lambda tau: 1 - tau):
    with torch.no_grad():
        for xi, theta in zip(target.parameters(), online.parameters()):
            xi.lerp_(theta, share(tau))


def by_state(online, target, tau):  # averages running statistics too, as some codes do: accepted
    theta, xi = online.state_dict(), target.state_dict()
    target.load_state_dict({k: tau * xi[k] + (1 - tau) * theta[k] for k in xi})


def aliased_modules(online, target, tau):
    for ours, theirs in zip(target.modules(), online.modules()):
        for name, _ in list(ours.named_parameters(recurse=False)):
            setattr(ours, name, nn.Parameter(getattr(theirs, name).data, requires_grad=False))


def aliased_data(online, target, tau):
    for xi, theta in zip(target.parameters(), online.parameters()):
        xi.data = theta.detach().view_as(xi)


def into_a_dict(online, target, tau):
    state = {k: v.clone() for k, v in target.state_dict().items()}
    for k, v in online.state_dict().items():
        state[k] = tau * state[k] + (1 - tau) * v


def into_a_copy(online, target, tau):
    by_lerp(online, copy.deepcopy(target), tau)


def stopped_after_one(online, target, tau):
    with torch.no_grad():
        for xi, theta in zip(target.parameters(), online.parameters()):
            xi.lerp_(theta, 1 - tau)
            return


def recorded_lerp(online, target, tau):
    for xi, theta in zip(target.parameters(), online.parameters()):
        xi.lerp_(theta, 1 - tau)


def recorded_sum(online, target, tau):
    for xi, theta in zip(target.parameters(), online.parameters()):
        xi *= tau
        xi += (1 - tau) * theta


UPDATE_TARGET = {
    "tau and 1 - tau swapped": [
        lambda o, t, tau: by_lerp(o, t, tau, share=lambda tau: tau),
        lambda o, t, tau: by_data(o, t, tau, keep=lambda tau: 1 - tau, take=lambda tau: tau),
    ],
    "a copy": [
        lambda o, t, tau: t.load_state_dict(o.state_dict()) and None,
        lambda o, t, tau: by_lerp(o, t, tau, share=lambda tau: 1.0),
    ],
    "the same tensors": [aliased_modules, aliased_data],
    "nothing is written": [into_a_dict, into_a_copy],
    "the online network moves": [
        lambda o, t, tau: by_data(t, o, tau),
        lambda o, t, tau: by_lerp(t, o, tau, share=lambda tau: tau),
    ],
    "gradients are recorded": [recorded_lerp, recorded_sum],
    "the old target is not shrunk": [
        lambda o, t, tau: by_data(o, t, tau, keep=lambda tau: 1.0),
        lambda o, t, tau: (
            [x.data.add_((1 - tau) * y.data) for x, y in zip(t.parameters(), o.parameters())] and None
        ),
    ],
    "only some parameters": [
        stopped_after_one,
        lambda o, t, tau: by_data(o, t, tau, which=lambda name: dict(o.named_parameters())[name].ndim == 2),
    ],
}

# ---------------------------------------------------------------------------------------------- moco.enqueue


def key_by_key(
    queue,
    keys,
    seen,
    *,
    row=lambda i, m: i % m,
    give=lambda seen, n, m: seen + n,
    detach=True,
    which=lambda keys, m: range(len(keys)),
):
    for i in which(keys, len(queue)):
        queue[row(seen + i, len(queue))] = keys[i].detach() if detach else keys[i]
    return give(seen, len(keys), len(queue))


def in_two_parts(queue, keys, seen, *, rest=True, give=lambda seen, n: seen + n):
    """As far as the queue goes, then from its top."""
    m, n = len(queue), len(keys)
    keys = keys.detach()
    if n > m:
        keys, seen = keys[n - m :], seen + n - m
        n = m
    start = seen % m
    room = min(n, m - start)
    queue[start : start + room].copy_(keys[:room])
    if rest and room < n:
        queue[: n - room].copy_(keys[room:])
    return give(seen, n)


def rolled(queue, keys, seen, up=False):
    with torch.no_grad():
        for i in range(0, len(keys)):
            if up:
                queue[:-1] = queue[1:].clone()
                queue[-1] = keys[i]
        if not up:
            n = min(len(keys), len(queue))
            kept = queue[: len(queue) - n].clone()
            queue[:n] = keys[:n]
            queue[n:] = kept
    return seen + len(keys)


def top_when_full(queue, keys, seen):
    at = seen % len(queue)
    if len(queue) - at < len(keys):
        at = 0
    for i, key in enumerate(keys.detach()[: len(queue)]):
        queue[at + i] = key
    return seen + len(keys)


def top_by_slices(queue, keys, seen):
    at, n = seen % len(queue), min(len(keys), len(queue))
    at = at if at + n <= len(queue) else 0
    queue.narrow(0, at, n).copy_(keys.detach()[:n])
    return len(keys) + seen


def in_a_list(queue, keys, seen):
    kept = list(queue)
    for i, key in enumerate(keys):
        kept[(seen + i) % len(kept)] = key
    queue = torch.stack(kept)
    return seen + len(keys)


def scattered(queue, keys, seen, detach=True):
    keys = keys[-len(queue) :]
    rows = [i % len(queue) for i in range(seen, seen + len(keys))]
    queue.index_copy_(0, torch.tensor(rows), keys.detach() if detach else keys)
    return seen + len(keys)


ENQUEUE = {
    "always at the top": [
        lambda q, k, s: key_by_key(q, k, s, row=lambda i, m: (i - s) % m),
        lambda q, k, s: (q[: len(k)].copy_(k.detach()[-len(q) :]), s + len(k))[1],
    ],
    "the end of the batch is lost": [
        lambda q, k, s: in_two_parts(q, k, s, rest=False),
        lambda q, k, s: key_by_key(q, k, s, which=lambda k, m: range(min(len(k), m - s % m))),
    ],
    "back to the top too early": [top_when_full, top_by_slices],
    "everything is shifted": [rolled, lambda q, k, s: rolled(q, k, s, up=True)],
    "a new queue": [in_a_list, lambda q, k, s: scattered(q.clone(), k, s)],
    "keys with gradient": [
        lambda q, k, s: scattered(q, k, s, detach=False),
        lambda q, k, s: key_by_key(q, k, s, detach=False),
    ],
    "the count wraps": [
        lambda q, k, s: key_by_key(q, k, s, give=lambda s, n, m: (s + n) % m),
        lambda q, k, s: scattered(q, k, s) % len(q),
    ],
    "the count stands still": [
        lambda q, k, s: key_by_key(q, k, s, give=lambda s, n, m: s),
        lambda q, k, s: (scattered(q, k, s), None)[1],
        lambda q, k, s: (scattered(q, k, s), len(k))[1],
    ],
    "one row too far": [
        lambda q, k, s: key_by_key(q, k, s, row=lambda i, m: (i + 1) % m),
        lambda q, k, s: scattered(q, k, s + 1) - 1,
        lambda q, k, s: key_by_key(q, k, s, row=lambda i, m: (i - 1) % m),
    ],
    "too many keys: the first stay": [
        lambda q, k, s: key_by_key(q, k, s, which=lambda k, m: range(min(len(k), m))),
        lambda q, k, s: scattered(q, k[: len(q)], s) + max(0, len(k) - len(q)),
    ],
}

WRITTEN_OTHERWISE = {
    "byol.regression_loss": REGRESSION_LOSS,
    "byol.update_target": UPDATE_TARGET,
    "moco.enqueue": ENQUEUE,
}

RIGHT_OTHERWISE = {
    "byol.regression_loss": [by_loops, by_cosine, by_matrix],
    "byol.update_target": [by_data, by_lerp, by_state, moco.follow],
    "moco.enqueue": [
        key_by_key,
        lambda q, k, s: s + len(k) + 0 * scattered(q, k, s) if len(k) <= len(q) else key_by_key(q, k, s),
    ],
}
