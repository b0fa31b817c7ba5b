"""The exercises of 02_bigan in other hands: loops, log-sigmoids, classes of two, other orders of the same
steps.
"""

import torch
import torch.nn.functional as F
from torch import nn

# --------------------------------------------------------------------------------------------- the two losses

REAL, MADE = 1.0, 0.0


def by_softplus(real, generated, labels, *, half=0.5, pool=torch.mean, keep=(True, True)):
    """-log sigmoid(a) is softplus(-a); a label of 1 asks for it, a label of 0 for softplus(a)."""
    terms = [
        pool(F.softplus(-a if label else a))
        for a, label, kept in zip((real, generated), labels, keep)
        if kept
    ]
    return half * sum(terms)


def by_loop(real, generated, labels, *, squash=lambda a: a, divide=lambda n: 2 * n):
    total = 0
    for logits, label in ((real, labels[0]), (generated, labels[1])):
        for a in logits:
            a = squash(a)
            total = total - (F.logsigmoid(a) if label else F.logsigmoid(-a))
    return total / divide(len(real))


def by_classes(real, generated, labels):
    """Two classes with logits (0, a): the same as one sigmoid."""
    a = torch.cat([real, generated])
    target = torch.cat(
        [torch.full((len(real),), int(labels[0])), torch.full((len(generated),), int(labels[1]))]
    )
    return F.cross_entropy(torch.stack([torch.zeros_like(a), a], 1), target)


def by_module(real, generated, labels):
    return nn.BCEWithLogitsLoss()(
        torch.cat([real, generated]),
        torch.cat([torch.full_like(real, labels[0]), torch.full_like(generated, labels[1])]),
    )


def by_probability(real, generated, labels, floor=0.0):
    p, q = torch.sigmoid(real), torch.sigmoid(generated)
    first = p if labels[0] else 1 - p
    second = q if labels[1] else 1 - q
    return -(first.clamp_min(floor).log().mean() + second.clamp_min(floor).log().mean()) / 2


def as_number(loss):
    return torch.tensor(float(loss.detach()), dtype=torch.float64)


D, EG = (1, 0), (0, 1)


def common(labels):
    return {
        "summed over the batch": [
            lambda r, g: by_softplus(r, g, labels, pool=torch.sum),
            lambda r, g: by_loop(r, g, labels, divide=lambda n: 1),
            lambda r, g: by_loop(r, g, labels, divide=lambda n: 2),
        ],
        "halves added": [
            lambda r, g: by_softplus(r, g, labels, half=1),
            lambda r, g: by_loop(r, g, labels, divide=lambda n: n),
        ],
        "sigmoid twice": [
            lambda r, g: by_softplus(r.sigmoid(), g.sigmoid(), labels),
            lambda r, g: by_loop(r, g, labels, squash=torch.sigmoid),
        ],
        "probabilities that round": [
            lambda r, g: by_probability(r, g, labels),
            lambda r, g: by_probability(r, g, labels, floor=1e-12),
        ],
        "squared differences": [
            lambda r, g: (
                (F.mse_loss(r, torch.full_like(r, labels[0])) + F.mse_loss(g, torch.full_like(g, labels[1])))
                / 2
            ),
            lambda r, g: F.mse_loss(
                torch.cat([r, g]).sigmoid(),
                torch.cat([torch.full_like(r, labels[0]), torch.full_like(g, labels[1])]),
            ),
        ],
        "no gradient": [
            lambda r, g: as_number(by_softplus(r, g, labels)),
            lambda r, g: by_module(r.detach(), g.detach(), labels),
        ],
    }


DISCRIMINATOR_LOSS = {
    "labels swapped": [lambda r, g: by_softplus(r, g, EG), lambda r, g: by_softplus(g, r, D)],
    "the value itself": [
        lambda r, g: -by_softplus(r, g, D),
        lambda r, g: F.logsigmoid(r).mean() + F.logsigmoid(-g).mean(),
    ],
    "generated pairs forgotten": [
        lambda r, g: -F.logsigmoid(r).mean(),
        lambda r, g: by_softplus(r, g, D, keep=(True, False)),
    ],
    "real pairs forgotten": [
        lambda r, g: -F.logsigmoid(-g).mean(),
        lambda r, g: by_softplus(r, g, D, keep=(False, True)),
    ],
    "one label for all": [lambda r, g: by_softplus(r, g, (1, 1)), lambda r, g: by_softplus(r, g, (0, 0))],
    **common(D),
}

GENERATOR_ENCODER_LOSS = {
    "the discriminator's own loss": [lambda r, g: by_softplus(r, g, D), lambda r, g: by_module(r, g, D)],
    "saturating": [
        lambda r, g: -by_softplus(r, g, D),
        lambda r, g: (F.logsigmoid(r).mean() + F.logsigmoid(-g).mean()) / 2,
        lambda r, g: F.logsigmoid(r).mean() + F.logsigmoid(-g).mean(),
    ],
    "encoder forgotten": [
        lambda r, g: F.softplus(-g).mean(),
        lambda r, g: by_softplus(r, g, EG, keep=(False, True)),
    ],
    "generator forgotten": [
        lambda r, g: F.softplus(r).mean(),
        lambda r, g: by_softplus(r, g, EG, keep=(True, False)),
    ],
    "encoder detached": [
        lambda r, g: by_softplus(r.detach(), g, EG),
        lambda r, g: by_module(r.detach(), g, EG),
    ],
    "generator detached": [
        lambda r, g: by_softplus(r, g.detach(), EG),
        lambda r, g: by_classes(r, g.detach(), EG),
    ],
    "one label for all": [lambda r, g: by_softplus(r, g, (1, 1)), lambda r, g: by_module(r, g, (0, 0))],
    **common(EG),
}

# ---------------------------------------------------------------------------------------------- bigan.updates


def cost(logits, label):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def stop(v):
    return v.detach()


def through(v):
    return v


def game(
    x,
    z,
    encoder,
    generator,
    discriminator,
    *,
    c_d=stop,
    p_d=stop,
    c_eg=through,
    p_eg=through,
    order=("d", "eg"),
):
    code, picture = encoder(x), generator(z)
    losses = {
        "d": 0.5 * cost(discriminator(x, c_d(code)), REAL) + 0.5 * cost(discriminator(p_d(picture), z), MADE),
        "eg": 0.5 * cost(discriminator(x, c_eg(code)), MADE)
        + 0.5 * cost(discriminator(p_eg(picture), z), REAL),
    }
    return tuple(losses[name] for name in order)


def without_graph(x, z, encoder, generator, discriminator):
    """D's half is computed first, from codes and pictures made without a graph."""
    with torch.no_grad():
        code, picture = encoder(x), generator(z)
    d = (cost(discriminator(x, code), REAL) + cost(discriminator(picture, z), MADE)) / 2
    eg = (cost(discriminator(x, encoder(x)), MADE) + cost(discriminator(generator(z), z), REAL)) / 2
    return d, eg


def in_one_batch(x, z, encoder, generator, discriminator):
    code, picture = encoder(x), generator(z)
    pictures, codes = torch.cat([x, picture]), torch.cat([code, z])
    label = torch.cat([torch.ones(len(x)), torch.zeros(len(z))]).to(x)
    d = F.binary_cross_entropy_with_logits(discriminator(pictures.detach(), codes.detach()), label)
    return [d, F.binary_cross_entropy_with_logits(discriminator(pictures, codes), 1 - label)]


def other_pairs(x, z, encoder, generator, discriminator, pairs):
    code, picture = encoder(x), generator(z)
    (a, b), (c, e) = pairs(x, z, code, picture, encoder)
    d = (
        cost(discriminator(a.detach(), b.detach()), REAL) + cost(discriminator(c.detach(), e.detach()), MADE)
    ) / 2
    return d, (cost(discriminator(a, b), MADE) + cost(discriminator(c, e), REAL)) / 2


def negated(x, z, e, g, d):
    mine = game(x, z, e, g, d)[0]
    theirs = game(x, z, e, g, d, c_d=through, p_d=through)[0]
    return mine, -theirs


def saturated(x, z, e, g, d):
    code, picture = e(x), g(z)
    value = lambda c, p: (F.logsigmoid(d(x, c)).mean() + F.logsigmoid(-d(p, z)).mean()) / 2
    return -value(code.detach(), picture.detach()), value(code, picture)


UPDATES = {
    "nothing detached for D": [
        lambda *a: game(*a, c_d=through, p_d=through),
        lambda x, z, e, g, d: (
            (cost(d(x, e(x)), 1.0) + cost(d(g(z), z), 0.0)) / 2,
            (cost(d(x, e(x)), 0.0) + cost(d(g(z), z), 1.0)) / 2,
        ),
    ],
    "code not detached for D": [
        lambda *a: game(*a, c_d=through),
        lambda x, z, e, g, d: (
            (cost(d(x, e(x)), 1.0) + cost(d(g(z).detach(), z), 0.0)) / 2,
            without_graph(x, z, e, g, d)[1],
        ),
    ],
    "picture not detached for D": [
        lambda *a: game(*a, p_d=through),
        lambda x, z, e, g, d: (
            (cost(d(x, e(x).detach()), 1.0) + cost(d(g(z), z), 0.0)) / 2,
            without_graph(x, z, e, g, d)[1],
        ),
    ],
    "detached for E and G": [
        lambda *a: game(*a, c_eg=stop, p_eg=stop),
        lambda x, z, e, g, d: game(x, z, lambda v: e(v).detach(), lambda v: g(v).detach(), d),
    ],
    "encoder left out": [
        lambda *a: game(*a, c_eg=stop),
        lambda x, z, e, g, d: game(x, z, lambda v: e(v).detach(), g, d),
    ],
    "generator left out": [
        lambda *a: game(*a, p_eg=stop),
        lambda x, z, e, g, d: game(x, z, e, lambda v: g(v).detach(), d),
    ],
    "pairs crossed": [
        lambda *a: other_pairs(*a, lambda x, z, c, p, e: ((x, z), (p, c))),
        lambda x, z, e, g, d: (
            (cost(d(x, z), 1.0) + cost(d(g(z).detach(), e(x).detach()), 0.0)) / 2,
            (cost(d(x, z), 0.0) + cost(d(g(z), e(x)), 1.0)) / 2,
        ),
    ],
    "code of the generated picture": [
        lambda *a: other_pairs(*a, lambda x, z, c, p, e: ((x, c), (p, e(p)))),
        lambda *a: other_pairs(*a, lambda x, z, c, p, e: ((x, e(x)), (p, e(p).detach()))),
    ],
    "real and generated exchanged": [
        lambda *a: other_pairs(*a, lambda x, z, c, p, e: ((p, z), (x, c))),
        lambda x, z, e, g, d: (
            (cost(d(x, e(x).detach()), 0.0) + cost(d(g(z).detach(), z), 1.0)) / 2,
            (cost(d(x, e(x)), 1.0) + cost(d(g(z), z), 0.0)) / 2,
        ),
    ],
    "losses exchanged": [lambda *a: game(*a, order=("eg", "d")), lambda *a: without_graph(*a)[::-1]],
    "one loss for both": [
        lambda *a: game(*a, order=("d", "d")),
        lambda *a: game(*a, order=("eg", "eg")),
        lambda *a: [sum(game(*a))] * 2,
    ],
    "the saturating loss": [negated, saturated],
}

WRITTEN_OTHERWISE = {
    "bigan.discriminator_loss": DISCRIMINATOR_LOSS,
    "bigan.generator_encoder_loss": GENERATOR_ENCODER_LOSS,
    "bigan.updates": UPDATES,
}
RIGHT_OTHERWISE = {
    "bigan.discriminator_loss": [
        lambda r, g, f=f: f(r, g, D) for f in (by_softplus, by_loop, by_classes, by_module)
    ],
    "bigan.generator_encoder_loss": [
        lambda r, g, f=f: f(r, g, EG) for f in (by_softplus, by_loop, by_classes, by_module)
    ],
    "bigan.updates": [game, without_graph, in_one_batch],
}
