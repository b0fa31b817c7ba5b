"""Answers to the exercises of 12_cross_modal_clustering, written by other hands: wrong ones that must be
named, right ones that must pass.
"""

import torch
import torch.nn.functional as F

# ---------------------------------------------------------------------------------------------- xdc.whose


def by_if(
    variant,
    *,
    sdc=("own",),
    mdc=("own", "other"),
    cdc=("both",),
    xdc=("other",),
    form=tuple,
    networks=("eye", "ear"),
):
    """Rows as words, turned into names for each network."""
    row = {"sdc": sdc, "mdc": mdc, "cdc": cdc, "xdc": xdc}[variant]
    result = {}
    for network in networks:
        other = "ear" if network == "eye" else "eye"
        result[network] = form({"own": network, "other": other, "both": "eye + ear"}[word] for word in row)
    return result


def by_letters(variant, s="1", m="12", c="3", x="2"):
    """Digits: 1 its own, 2 the other's, 3 both side by side."""
    names = {"eye": ["eye", "ear", "ear + eye"], "ear": ["ear", "eye", "eye + ear"]}
    return {
        network: [each[int(d) - 1] for d in dict(zip("smcx", (s, m, c, x)))[variant[0]]]
        for network, each in names.items()
    }


WHOSE = {
    "SDC and XDC changed over": [
        lambda v: by_if(v, sdc=("other",), xdc=("own",)),
        lambda v: by_letters(v, s="2", x="1"),
    ],
    "the cross goes one way": [
        lambda v: {"eye": ("ear",), "ear": ("ear",)} if v == "xdc" else by_if(v),
        lambda v: by_letters(v) | ({"eye": ["eye"]} if v == "xdc" else {}),
    ],
    "MDC without its own clusters": [lambda v: by_if(v, mdc=("other",)), lambda v: by_letters(v, m="2")],
    "MDC without the other's clusters": [lambda v: by_if(v, mdc=("own",)), lambda v: by_letters(v, m="1")],
    "CDC with a head for each modality": [
        lambda v: by_if(v, cdc=("own", "other")),
        lambda v: by_letters(v, m="3", c="21"),
    ],
    "MDC with the joint clusters": [
        lambda v: by_if(v, mdc=("both",)),
        lambda v: by_letters(v, m="31"),
        lambda v: by_if(v, mdc=("other", "both")),
    ],
    "CDC with other clusters besides": [
        lambda v: by_if(v, cdc=("both", "own")),
        lambda v: by_letters(v, c="23"),
    ],
    "the ear is left out": [
        lambda v: by_if(v, networks=("eye",)),
        lambda v: {k: t for k, t in by_letters(v).items() if k == "ear"},
    ],
    "the same for all": [
        lambda v: by_if("xdc"),
        lambda v: {"eye": ["eye", "ear"], "ear": ["ear", "eye"]},
        lambda v: by_letters("sdc"),
    ],
    "a text in place of a tuple": [
        lambda v: {n: t[0] if len(t) == 1 else t for n, t in by_if(v).items()},
        lambda v: {
            "eye": {"sdc": "eye", "mdc": ["eye", "ear"], "cdc": "eye + ear", "xdc": "ear"}[v],
            "ear": {"sdc": "ear", "mdc": ["ear", "eye"], "cdc": "ear + eye", "xdc": "eye"}[v],
        },
    ],
}

# ---------------------------------------------------------------------------------------------- xdc.joint


def by_loop(*h, length=lambda row: row.pow(2).sum().sqrt(), put=torch.cat):
    """Clip by clip."""
    return torch.stack([put([x[i] / length(x[i]) for x in h]) for i in range(len(h[0]))])


def by_einsum(*h, power=-0.5, of=lambda x: x):
    return torch.hstack([of(x) * torch.einsum("nd,nd->n", of(x), of(x))[:, None] ** power for x in h])


JOINT = {
    "not normalised": [lambda *h: torch.hstack(h), lambda *h: by_loop(*h, length=lambda row: 1)],
    "normalised together": [
        lambda *h: F.normalize(torch.hstack(h)),
        lambda *h: (x := torch.cat(h, -1)) / x.norm(dim=1, keepdim=True),
    ],
    "normalised over the clips": [
        lambda *h: torch.hstack([x / x.norm(dim=0) for x in h]),
        lambda *h: torch.cat([F.normalize(x.T).T for x in h], 1),
    ],
    "one length for all clips": [
        lambda *h: torch.hstack([x / x.pow(2).sum().sqrt() for x in h]),
        lambda *h: torch.cat([x / torch.stack([row.norm() for row in x]).mean() for x in h], 1),
    ],
    "standardised": [
        lambda *h: torch.hstack([(x - x.mean(0, keepdim=True)) / x.var(0, keepdim=True).sqrt() for x in h]),
        lambda *h: torch.cat([F.batch_norm(x, None, None, training=True, eps=1e-12) for x in h], 1),
    ],
    "divided by the squared length": [
        lambda *h: by_einsum(*h, power=-1.0),
        lambda *h: by_loop(*h, length=lambda row: row @ row),
    ],
    "divided by the sum of sizes": [
        lambda *h: by_loop(*h, length=lambda row: row.abs().sum()),
        lambda *h: torch.hstack([F.normalize(x, p=1) for x in h]),
    ],
    "added": [lambda *h: torch.stack([F.normalize(x) for x in h]).sum(0), lambda *h: torch.stack(h).sum(0)],
    "one modality only": [lambda *h: by_einsum(h[0]), lambda *h: h[len(h) - 1].clone()],
    "clips one below the other": [
        lambda *h: torch.vstack([F.normalize(x) for x in h]),
        lambda *h: torch.cat([by_einsum(x) for x in h]),
    ],
}

# ------------------------------------------------------------------------------------------- xdc.cluster_loss


def by_clip(
    logits,
    label,
    size,
    balance,
    *,
    power=lambda s, b: s**-b if s else 0.0,
    scale=None,
    term=None,
    reduce=lambda t: sum(t) / len(t),
):
    """A loop over the clips of the batch."""
    raw = [power(float(s), balance) for s in size]
    scale = scale or (lambda raw, size: sum(size) / sum(w * s for w, s in zip(raw, size)))
    factor = scale(raw, [float(s) for s in size])
    term = term or (lambda row, y: -row.log_softmax(0)[y])
    return reduce([factor * raw[int(y)] * term(row, y) for row, y in zip(logits, label)])


def by_matrix(
    logits, label, size, balance, *, counts=lambda size, label: size, back=lambda x: x, exponent=lambda b: b
):
    """One-hot rows times log-probabilities."""
    size = counts(size, label).double()
    w = torch.zeros_like(size)
    w[size > 0] = size[size > 0].pow(-exponent(balance))
    w = w * (size.sum() / (w @ size))
    hot = F.one_hot(label, len(size)).double()
    return back(-((hot * logits.log_softmax(1)) @ w).mean())


def batch_counts(size, label):
    return torch.bincount(label, minlength=len(size))


LOSS = {
    "all clips alike": [
        lambda x, y, s, b: by_matrix(x, y, s, 0.0),
        lambda x, y, s, b: F.nll_loss(x.log_softmax(1), y),
    ],
    "the wrong way round": [
        lambda *a: by_matrix(*a, exponent=lambda b: -b),
        lambda *a: by_clip(*a, power=lambda s, b: s**b if s else 0.0),
    ],
    "always wholly balanced": [
        lambda *a: by_matrix(*a, exponent=lambda b: 1.0),
        lambda *a: by_clip(*a, power=lambda s, b: 1 / s if s else 0.0),
    ],
    "not scaled": [
        lambda *a: by_clip(*a, scale=lambda raw, size: 1.0),
        lambda x, y, s, b: (s[y].double() ** -b * F.cross_entropy(x, y, reduction="none")).mean(),
    ],
    "scaled over the clusters": [
        lambda *a: by_clip(*a, scale=lambda raw, size: sum(s > 0 for s in size) / sum(raw)),
        lambda *a: by_clip(*a, scale=lambda raw, size: 1 / sum(raw)),
    ],
    "divided by the weights of the batch": [
        lambda x, y, s, b: F.cross_entropy(
            x, y, weight=torch.where(s > 0, s.double().clamp_min(1) ** -b, 0.0)
        ),
        lambda x, y, s, b: (
            torch.stack([s[k].double() ** -b * -row.log_softmax(0)[k] for row, k in zip(x, y)]).sum()
            / (s[y].double() ** -b).sum()
        ),
    ],
    "counted in the batch": [
        lambda *a: by_matrix(*a, counts=batch_counts),
        lambda x, y, s, b: by_clip(x, y, batch_counts(s, y), b),
    ],
    "the sum": [lambda *a: by_clip(*a, reduce=sum), lambda x, y, s, b: len(y) * by_matrix(x, y, s, b)],
    "logits taken for log-probabilities": [
        lambda *a: by_clip(*a, term=lambda row, y: -row[y]),
        lambda x, y, s, b: by_clip(x, y, s, b, term=lambda row, k: F.nll_loss(row[None], k[None])),
    ],
    "no gradient": [
        lambda *a: by_matrix(*a, back=lambda x: x.detach()),
        lambda x, y, s, b: by_clip(x.data, y, s, b),
    ],
    "empty clusters divide by zero": [
        lambda x, y, s, b: (
            (s.double() ** -b * s.sum() / (s.double() ** -b * s).sum())[y]
            * F.cross_entropy(x, y, reduction="none")
        ).mean(),
        lambda x, y, s, b: (
            (F.cross_entropy(x, y, reduction="none") / s[y] ** b).mean()
            * s.sum()
            / (s / s.double() ** b).sum()
        ),
    ],
}

WRITTEN_OTHERWISE = {"xdc.whose": WHOSE, "xdc.joint": JOINT, "xdc.cluster_loss": LOSS}

RIGHT_OTHERWISE = {
    "xdc.whose": [by_if, by_letters, lambda v: by_if(v, form=list)],
    "xdc.joint": [by_loop, by_einsum, lambda *h: torch.hstack([F.normalize(x) for x in reversed(h)])],
    "xdc.cluster_loss": [by_clip, by_matrix],
}
