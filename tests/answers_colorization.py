"""Answers to the exercises of 09_tracking_by_colorization, written by other hands than the reference and the
list of mistakes.
"""

import math

import torch
import torch.nn.functional as F

# ---------------------------------------------------------------------------------------------- the pointer


def target_by_target(r, t, c, temperature, weigh=None):
    """One row at a time; `weigh` makes the shares of a row of dot products."""
    weigh = weigh or (lambda s: torch.softmax(s / temperature, 0))
    return torch.stack([(weigh(torch.mv(r, row))[:, None] * c).sum(0) for row in t])


def by_einsum(r, t, c, temperature):
    return torch.einsum("mn,nc->mc", torch.softmax(torch.einsum("md,nd->mn", t, r) / temperature, -1), c)


def by_attention(r, t, c, temperature):
    return F.scaled_dot_product_attention(t[None], r[None], c[None], scale=1 / temperature)[0]


def by_logsumexp(r, t, c, temperature):
    s = t.matmul(r.t()).div(temperature)
    return (s - s.logsumexp(1, keepdim=True)).exp().mm(c)


def columns_of_references(r, t, c, temperature):
    return torch.softmax(r @ t.T / temperature, dim=0).T @ c


POINTER = {
    "softmax over the targets": [
        lambda r, t, c, temperature: torch.softmax(r @ t.T / temperature, dim=1).T @ c,
        lambda r, t, c, temperature: torch.einsum(
            "mn,nc->mc", F.softmax(t.mm(r.t()) / temperature, dim=0), c
        ),
    ],
    "softmax over everything at once": [
        lambda r, t, c, temperature: (
            torch.softmax((t @ r.T / temperature).reshape(-1), 0).reshape(len(t), -1) @ c
        ),
        lambda r, t, c, temperature: (
            ((s := t @ r.T / temperature) - s.max()).exp() @ c / (s - s.max()).exp().sum()
        ),
    ],
    "multiplied by the temperature": [
        lambda r, t, c, temperature: target_by_target(r, t, c, 1 / temperature),
        lambda r, t, c, temperature: by_einsum(r * temperature, t, c, 1.0),
    ],
    "temperature forgotten": [
        lambda r, t, c, temperature: target_by_target(r, t, c, 1.0),
        lambda r, t, c, temperature: by_logsumexp(r, t, c, 1),
    ],
    "temperature twice": [
        lambda r, t, c, temperature: by_einsum(r / temperature, t / temperature, c, 1.0),
        lambda r, t, c, temperature: by_logsumexp(r / temperature, t, c, temperature),
    ],
    "vectors scaled to length 1": [
        lambda r, t, c, temperature: by_einsum(
            *(x / x.norm(dim=1, keepdim=True) for x in (r, t)), c, temperature
        ),
        lambda r, t, c, temperature: (
            (F.cosine_similarity(t[:, None], r[None], dim=2) / temperature).softmax(1) @ c
        ),
    ],
    "distances for similarities": [
        lambda r, t, c, temperature: (-((t[:, None] - r) ** 2).sum(2) / temperature).softmax(1) @ c,
        lambda r, t, c, temperature: (-((t[:, None] - r) ** 2).sum(2).sqrt() / temperature).softmax(1) @ c,
    ],
    "only the best match": [
        lambda r, t, c, temperature: F.one_hot((t @ r.T).argmax(1), len(r)).to(c) @ c,
        lambda r, t, c, temperature: c.index_select(0, (r @ t.T).max(0).indices),
    ],
    "shares without softmax": [
        lambda r, t, c, temperature: torch.einsum("md,nd,nc->mc", t, r, c),
        lambda r, t, c, temperature: (t / temperature) @ (r.T @ c),
    ],
    "logarithms of shares": [
        lambda r, t, c, temperature: F.log_softmax(t @ r.T / temperature, dim=1) @ c,
        lambda r, t, c, temperature: (t @ r.T / temperature).softmax(1).log() @ c,
    ],
    "overflow": [
        lambda r, t, c, temperature: target_by_target(
            r, t, c, temperature, lambda s: (w := torch.exp(s / temperature)) / w.sum()
        ),
        lambda r, t, c, temperature: (w := torch.exp(t @ r.T / temperature)) @ c / w.sum(1)[:, None],
    ],
    "no gradient": [
        lambda r, t, c, temperature: by_einsum(r, t, c, temperature).detach(),
        lambda r, t, c, temperature: torch.no_grad()(by_logsumexp)(r, t, c, temperature),
    ],
}

# -------------------------------------------------------------------------------- the loss of what was copied


def picked(y, colour):
    return torch.stack([row[k] for row, k in zip(y, colour.tolist())])


def by_nll(y, colour):
    return F.nll_loss((y + 1e-7).log(), colour)


def by_clamp(y, colour):
    return -picked(y, colour).clamp(min=1e-6).log().mean()


def by_onehot(y, colour):
    return -(F.one_hot(colour, y.shape[1]) * torch.log(y + 1e-8)).sum() / len(y)


def by_difference(y, colour):
    onehot = F.one_hot(colour, y.shape[1]).to(y)
    return ((y - onehot) ** 2).sum() / len(y)


def others(y, colour):
    return ((1 - F.one_hot(colour, y.shape[1])) * (1 - y).clamp(min=1e-8).log()).sum(1).mean()


COPY_LOSS = {
    "softmax twice": [
        lambda y, colour: F.nll_loss(F.log_softmax(y, dim=1), colour),
        lambda y, colour: torch.nn.CrossEntropyLoss()(y, colour),
    ],
    "no logarithm": [
        lambda y, colour: F.nll_loss(y, colour),
        lambda y, colour: (1 - picked(y, colour)).mean(),
    ],
    "logarithm of the mean": [
        lambda y, colour: -torch.log(picked(y, colour).sum() / len(y)),
        lambda y, colour: -torch.log((F.one_hot(colour, y.shape[1]) * y).sum(1).mean() + 1e-8),
    ],
    "sum over the cells": [
        lambda y, colour: F.nll_loss((y + 1e-7).log(), colour, reduction="sum"),
        lambda y, colour: len(y) * by_clamp(y, colour),
    ],
    "wrong sign": [
        lambda y, colour: -by_nll(y, colour),
        lambda y, colour: picked(y, colour).clamp(min=1e-6).log().mean(),
    ],
    "mean over the colours too": [
        lambda y, colour: by_onehot(y, colour) / y.shape[1],
        lambda y, colour: torch.mean(-F.one_hot(colour, y.shape[1]) * (y + 1e-7).log()),
    ],
    "the other colours count too": [
        lambda y, colour: torch.nn.BCELoss()(y, F.one_hot(colour, y.shape[1]).to(y)),
        lambda y, colour: by_nll(y, colour) - others(y, colour),
    ],
    "squared error": [by_difference, lambda y, colour: F.mse_loss(y, F.one_hot(colour, y.shape[1]).to(y))],
    "another logarithm": [
        lambda y, colour: -torch.log2(picked(y, colour) + 1e-7).mean(),
        lambda y, colour: -torch.log10(picked(y, colour) + 1e-7).mean(),
    ],
    "no gradient": [
        lambda y, colour: by_nll(y, colour).detach(),
        lambda y, colour: torch.tensor(by_clamp(y, colour).item()),
    ],
    "infinite where nothing was copied": [
        lambda y, colour: F.nll_loss(y.log(), colour),
        lambda y, colour: -torch.log(picked(y, colour)).mean(),
    ],
}

# ---------------------------------------------------------------------------------------------- J


def pixels(mask):
    return {(y, x) for y, row in enumerate(mask.tolist()) for x, inside in enumerate(row) if inside}


def by_sets(m, t):
    return len(pixels(m) & pixels(t)) / len(pixels(m) | pixels(t)) if pixels(m) | pixels(t) else 1


def by_counts(m, t):
    both = (m * t).sum()
    union = m.sum() + t.sum() - both
    return torch.where(union > 0, both / union.clamp(min=1), torch.tensor(1.0))


def by_logic(m, t):
    union = torch.logical_or(m, t).float().mean()
    return 1.0 if union == 0 else torch.logical_and(m, t).float().mean() / union


def over(m, t, size, empty=1.0):
    n = len(pixels(m) & pixels(t))
    return n / size if size else empty


REGION = {
    "Dice instead of Jaccard": [
        lambda m, t: (2 * over(m, t, len(pixels(m)) + len(pixels(t)))) if m.any() or t.any() else 1.0,
        lambda m, t: 2 * by_counts(m, t) / (1 + by_counts(m, t)),
    ],
    "divided by the predicted mask": [
        lambda m, t: over(m, t, len(pixels(m))),
        lambda m, t: t[m].float().mean() if m.any() else 1.0,
    ],
    "divided by the true mask": [
        lambda m, t: over(m, t, len(pixels(t))),
        lambda m, t: m[t].float().mean() if t.any() else 0.0,
    ],
    "divided by the sum": [
        lambda m, t: over(m, t, len(pixels(m)) + len(pixels(t))),
        lambda m, t: (m & t).sum() / max(1, int(m.sum() + t.sum())),
    ],
    "agreement of all pixels": [
        lambda m, t: 1 - (m ^ t).float().mean(),
        lambda m, t: (m == t).sum() / m.numel(),
    ],
    "share of the picture": [
        lambda m, t: len(pixels(m) & pixels(t)) / m.numel(),
        lambda m, t: (m.float() * t.float()).mean(),
    ],
    "difference for similarity": [
        lambda m, t: 1 - by_sets(m, t),
        lambda m, t: len(pixels(m) ^ pixels(t)) / max(1, len(pixels(m) | pixels(t))),
    ],
    "two empty masks have no J": [
        lambda m, t: len(pixels(m) & pixels(t)) / len(pixels(m) | pixels(t)),
        lambda m, t: (m & t).float().mean() / (m | t).float().mean(),
    ],
    "two empty masks score 0": [
        lambda m, t: (m & t).sum() / (m | t).sum().clamp(min=1),
        lambda m, t: float((m & t).sum()) / (float((m | t).sum()) + 1e-9),
    ],
    "a count, not a share": [lambda m, t: len(pixels(m) & pixels(t)), lambda m, t: (m != t).sum()],
}

WRITTEN_OTHERWISE = {
    "colorization.pointer": POINTER,
    "colorization.copy_loss": COPY_LOSS,
    "tracking.region": REGION,
}

RIGHT_OTHERWISE = {
    "colorization.pointer": [target_by_target, by_einsum, by_attention, by_logsumexp, columns_of_references],
    "colorization.copy_loss": [
        by_nll,
        by_clamp,
        by_onehot,
        lambda y, colour: -picked(y, colour).add(math.exp(-16)).log().sum() / len(colour),
    ],
    "tracking.region": [by_sets, by_counts, by_logic],
}
