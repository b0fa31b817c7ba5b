"""The mistakes of 07_clip made by other hands: loops, log-sum-exp, other functions of torch."""

import torch
import torch.nn.functional as F


def cosines(image, text):
    return F.cosine_similarity(image[:, None], text[None], dim=2)


def by_logsumexp(
    image,
    text,
    log_scale,
    *,
    similar=cosines,
    scale=torch.exp,
    rows=True,
    columns=True,
    target=lambda i, n: i,
    share=None,
):
    """The loss without cross_entropy, from log-sum-exp over rows and columns."""
    c = similar(image, text) * scale(log_scale)
    n, total, count = len(c), 0, 0
    for i in range(n):
        j = target(i, n)
        if rows:
            total, count = total + torch.logsumexp(c[i], 0) - c[i, j], count + 1
        if columns:
            total, count = total + torch.logsumexp(c[:, i], 0) - c[j, i], count + 1
    return total / (count if share is None else share(n))


def by_softmax(
    image,
    text,
    log_scale,
    *,
    unit=lambda x: x / x.norm(dim=1, keepdim=True),
    cut=lambda x: x,
    cut_scale=lambda s: s,
):
    logits = torch.einsum("id,jd->ij", unit(image), cut(unit(text))) * cut_scale(log_scale).exp()
    both = logits.log_softmax(1).diagonal() + logits.log_softmax(0).diagonal()
    return -both.mean() / 2


def columns_unit(x):
    return x / x.pow(2).sum(0).sqrt()


def simclr_like(image, text, log_scale):
    z = torch.stack([image, text], 1).flatten(0, 1)  # interleaved
    s = cosines(z, z) * log_scale.exp()
    total = 0
    for i in range(len(z)):
        others = torch.cat([s[i, :i], s[i, i + 1 :]])
        total = total + torch.logsumexp(others, 0) - s[i, i ^ 1]
    return total / len(z)


def all_in_two_rows(image, text, log_scale):
    """Negatives of both kinds by blocks."""
    n, e = len(image), log_scale.exp()
    it, ii, tt = cosines(image, text) * e, cosines(image, image) * e, cosines(text, text) * e
    mask = torch.eye(n, dtype=torch.bool)
    ii, tt = (x.masked_fill(mask, float("-inf")) for x in (ii, tt))
    label = torch.arange(n)
    return (
        F.cross_entropy(torch.cat([it, ii], 1), label) + F.cross_entropy(torch.cat([it.T, tt], 1), label)
    ) / 2


def twice(image, text, log_scale, second=lambda c: c.T.softmax(1)):
    c = cosines(image, text) * log_scale.exp()
    total = 0
    for p in (c.softmax(1), second(c)):
        total = total + (p.logsumexp(1) - p.diagonal()).mean()
    return total / 2


def without_gradient(image, text, log_scale):
    with torch.no_grad():
        return by_softmax(image, text, log_scale)


SYMMETRIC_LOSS = {
    "no normalisation": [
        lambda i, t, s: by_softmax(i, t, s, unit=lambda x: x),
        lambda i, t, s: by_logsumexp(i, t, s, similar=lambda a, b: a @ b.T),
    ],
    "normalised along the wrong axis": [
        lambda i, t, s: by_softmax(i, t, s, unit=columns_unit),
        lambda i, t, s: by_logsumexp(i, t, s, similar=lambda a, b: columns_unit(a) @ columns_unit(b).mT),
    ],
    "one direction only": [
        lambda i, t, s: by_logsumexp(i, t, s, columns=False),
        lambda i, t, s: by_logsumexp(i, t, s, rows=False),
    ],
    "the two directions are added": [
        lambda i, t, s: 2 * by_softmax(i, t, s),
        lambda i, t, s: by_logsumexp(i, t, s, share=lambda n: n),
    ],
    "sum for mean": [
        lambda i, t, s: by_logsumexp(i, t, s, share=lambda n: 1),
        lambda i, t, s: by_softmax(i, t, s) * len(i),
    ],
    "exp forgotten": [
        lambda i, t, s: by_logsumexp(i, t, s, scale=lambda s: s),
        lambda i, t, s: by_logsumexp(i, t, s, scale=lambda s: 1 / s),
    ],
    "divided by the scale": [
        lambda i, t, s: by_logsumexp(i, t, s, scale=lambda s: 1 / s.exp()),
        lambda i, t, s: by_softmax(i, t, -s),
    ],
    "scale not used": [
        lambda i, t, s: by_logsumexp(i, t, s, scale=torch.ones_like),
        lambda i, t, s: by_logsumexp(i, t, s, scale=lambda s: 14.3),
    ],
    "wrong pairs": [
        lambda i, t, s: by_logsumexp(i, t, s, target=lambda i, n: (i + 1) % n),
        lambda i, t, s: by_logsumexp(i, t, s, target=lambda i, n: (i + 2) % n),
        lambda i, t, s: by_softmax(i, t.roll(1, 0), s),
    ],
    "negatives of the same kind": [simclr_like, all_in_two_rows],
    "softmax twice": [twice, lambda i, t, s: twice(i, t, s, second=lambda c: c.softmax(0).T)],
    "no negatives": [
        lambda i, t, s: -sum(a @ b / (a.norm() * b.norm()) for a, b in zip(i, t)) / len(i) * s.exp(),
        lambda i, t, s: (cosines(i, t).diagonal().neg() + 1).mean() * s.exp(),
    ],
    "cut off": [
        without_gradient,
        lambda i, t, s: by_softmax(i, t, s, cut=lambda x: x.detach()),
        lambda i, t, s: by_softmax(i, t, s, cut_scale=lambda s: s.data),
    ],
}


def classes_by_loops(
    image,
    prompts,
    *,
    inner=lambda t: t / t.norm(),
    outer=lambda m: m / m.norm(),
    better=lambda a, b: a > b,
    texts=lambda p: p,
):
    found = []
    for x in image:
        best, score = None, None
        for c, group in enumerate(prompts):
            group = [inner(t) for t in texts(group)]
            s = float(x @ outer(sum(group) / len(group))) / float(x.norm())
            if score is None or better(s, score):
                best, score = c, s
        found.append(best)
    return torch.tensor(found)


def by_cosine(image, weights):
    return F.cosine_similarity(image[:, None], weights[None], dim=2)


def every_prompt(image, prompts):
    return torch.stack([by_cosine(image, p).max(1).values for p in prompts], 1).max(1).indices


def unit_means(prompts, axis=1):
    return (prompts / prompts.norm(dim=2, keepdim=True)).mean(axis)


CLASSIFY = {
    "prompts not normalised": [
        lambda x, p: classes_by_loops(x, p, inner=lambda t: t),
        lambda x, p: by_cosine(x, p.sum(1)).max(1).indices,
    ],
    "mean not normalised": [
        lambda x, p: classes_by_loops(x, p, outer=lambda m: m),
        lambda x, p: (x @ unit_means(p).T).max(1).indices,
    ],
    "nothing normalised": [
        lambda x, p: classes_by_loops(x, p, inner=lambda t: t, outer=lambda m: m),
        lambda x, p: torch.einsum("nd,ckd->nc", x, p).argmax(1),
    ],
    "the farthest class": [
        lambda x, p: classes_by_loops(x, p, better=lambda a, b: a < b),
        lambda x, p: torch.cdist(F.normalize(x, dim=1), F.normalize(unit_means(p), dim=1)).argmax(1),
    ],
    "first prompt only": [
        lambda x, p: classes_by_loops(x, p, texts=lambda g: g[:1]),
        lambda x, p: by_cosine(x, p[:, -1]).max(1).indices,
    ],
    "best prompt wins": [every_prompt, lambda x, p: by_cosine(x, p.flatten(0, 1)).argmax(1) // p.shape[1]],
    "prompts for classes": [
        lambda x, p: by_cosine(x, p.reshape(-1, p.shape[2])).max(1).indices,
        lambda x, p: torch.cdist(F.normalize(x, dim=1), F.normalize(p, dim=2).flatten(0, 1)).argmin(1),
    ],
    "wrong axis averaged": [
        lambda x, p: by_cosine(x, unit_means(p, 0)).max(1).indices,
        lambda x, p: classes_by_loops(x, p.transpose(0, 1)),
    ],
    "a picture for each class": [
        lambda x, p: by_cosine(x, unit_means(p)).max(0).indices,
        lambda x, p: torch.tensor([int(by_cosine(x, w[None]).argmax()) for w in unit_means(p)]),
    ],
    "scores for classes": [
        lambda x, p: by_cosine(x, unit_means(p)),
        lambda x, p: by_cosine(x, unit_means(p)).softmax(1),
    ],
}

WRITTEN_OTHERWISE = {"clip.symmetric_loss": SYMMETRIC_LOSS, "clip.classify": CLASSIFY}
RIGHT_OTHERWISE = {
    "clip.symmetric_loss": [by_logsumexp, by_softmax, lambda i, t, s: by_logsumexp(t, i, s)],
    "clip.classify": [classes_by_loops, lambda x, p: by_cosine(x, unit_means(p)).max(1).indices],
}
