"""Solutions to read: the idea alone, as `solution` prints it.

What the course itself uses also says what is wrong with its arguments, computes in other precisions and on
several devices, and calls functions of its own. An exercise stands here where all this would hide the idea.
The tests hand each of these to its checker.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F


def discriminator_loss(real, generated):
    """real, generated: (n,) logits of D. Returns one number: the mean of both halves' cross-entropies."""
    bce = F.binary_cross_entropy_with_logits
    return (bce(real, torch.ones_like(real)) + bce(generated, torch.zeros_like(generated))) / 2


def generator_encoder_loss(real, generated):
    """The same logits; E and G want the opposite labels."""
    bce = F.binary_cross_entropy_with_logits
    return (bce(real, torch.zeros_like(real)) + bce(generated, torch.ones_like(generated))) / 2


def updates(x, z, encoder, generator, discriminator):
    """Returns D's loss, and the loss that E and G share."""
    code, picture = encoder(x), generator(z)
    d = discriminator_loss(discriminator(x, code.detach()), discriminator(picture.detach(), z))
    eg = generator_encoder_loss(discriminator(x, code), discriminator(picture, z))
    return d, eg


def regression_loss(p, target):
    """p, target: (n, d), row i of both is the same image. Returns one number; no gradient reaches the
    target.
    """
    p, target = F.normalize(p, dim=1), F.normalize(target.detach(), dim=1)
    return (p - target).square().sum(1).mean()


def symmetric_loss(image, text, log_scale):
    """image, text: (n, d), row i of both is a pair; log_scale: one number, a tensor. Returns one number."""
    image, text = F.normalize(image, dim=1), F.normalize(text, dim=1)
    logits = image @ text.T * log_scale.exp()  # (n, n): pictures down, captions across
    pair = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pair) + F.cross_entropy(logits.T, pair)) / 2


def classify(image, prompts):
    """image: (n, d), prompts: (c, k, d), k prompts for each of c classes. Returns the class of each picture,
    (n,).
    """
    weights = F.normalize(prompts, dim=2).mean(1)  # (c, d)
    weights = F.normalize(weights, dim=1)
    return (F.normalize(image, dim=1) @ weights.T).argmax(1)


def rotations(image):
    """image: (B, 3, H, H). Returns (4 B, 3, H, H) and labels (4 B,): label k was turned by k quarter turns,
    counter-clockwise.
    """
    turned = torch.cat([image.rot90(k, (2, 3)) for k in range(4)])
    return turned, torch.arange(4, device=image.device).repeat_interleave(len(image))


def kmeans_step(x, centre):
    """x: (n, d), centre: (k, d). Returns the number of each point's nearest centre (n,), and the moved
    centres (k, d); a centre without points stays where it is.
    """
    label = torch.cdist(x, centre).argmin(1)
    total = torch.zeros_like(centre).index_add(0, label, x)
    count = torch.bincount(label, minlength=len(centre))[:, None]
    return label, torch.where(count > 0, total / count.clamp_min(1), centre)


def nmi(a, b):
    """a, b: (n,) cluster numbers from 0. Returns one number: 1 for the same partition, 0 for unrelated."""
    p = torch.zeros(int(a.max()) + 1, int(b.max()) + 1, dtype=torch.float64)
    p.index_put_((a, b), torch.ones(len(a), dtype=torch.float64), accumulate=True)
    p = p / len(a)  # the joint distribution
    entropy = lambda q: -torch.special.xlogy(q, q).sum()  # 0 log 0 is 0
    h_a, h_b, h_both = entropy(p.sum(1)), entropy(p.sum(0)), entropy(p)
    return float((h_a + h_b - h_both) / (h_a * h_b).sqrt())


def dense_nce(prediction, target, temperature):
    """Both (films, blocks, channels, height, width). Returns one number."""
    rows = lambda maps: maps.permute(0, 1, 3, 4, 2).flatten(0, 3)  # (n, channels)
    scores = rows(prediction) @ rows(target).T / temperature  # (n, n)
    return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def puzzle(image, order, gap):
    """image: (B, 3, H, H), 0 to 1; order: (B, 9). Returns (B, 9, 3, t, t) with t = H // 3 - gap."""
    b, cell = len(image), image.shape[2] // 3
    size, pieces = cell - gap, []
    for i in range(b):
        for k in order[i].tolist():
            down, right = torch.randint(0, gap + 1, (2,)).tolist()
            top, left = k // 3 * cell + down, k % 3 * cell + right
            pieces.append(image[i, :, top : top + size, left : left + size])
    pieces = torch.stack(pieces).view(b, 9, 3, size, size)
    mean, spread = pieces.mean((2, 3, 4), keepdim=True), pieces.std((2, 3, 4), correction=0, keepdim=True)
    return (pieces - mean) / spread.clamp_min(0.02)


def damaged_loss(orders, permutation, colours, bins, missing, faded, weights):
    """orders: (B, P) scores, permutation: (B,) the right one; colours: (B, n, Q, s, s) scores,
    bins: (B, n, s, s) the right ones; missing: (B,) the place of the missing piece; faded: (B, n) bool,
    pieces that lost their colours; weights: three numbers.
    """
    rows = torch.arange(len(missing), device=missing.device)
    arrangement = F.cross_entropy(orders, permutation) / math.log(orders.shape[1])
    filled = F.cross_entropy(colours[rows, missing], bins[rows, missing]) / math.log(colours.shape[2])
    coloured = F.cross_entropy(colours[faded], bins[faded]) / math.log(colours.shape[2])
    return weights[0] * arrangement + weights[1] * filled + weights[2] * coloured


def nt_xent(z1, z2, temperature):
    """z1, z2: (n, d), row i of both is the same image. Returns one number."""
    n = len(z1)
    z = F.normalize(torch.cat([z1, z2]), dim=1)  # (2n, d), every row of length 1
    similarity = z @ z.T / temperature  # (2n, 2n)
    similarity = similarity.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=z.device), float("-inf"))
    partner = torch.arange(2 * n, device=z.device).roll(n)  # i + n for i, and back
    return F.cross_entropy(similarity, partner)


def whose(variant):
    """variant: "sdc", "mdc", "cdc" or "xdc". Returns {"eye": (...), "ear": (...)}."""
    return {
        "sdc": {"eye": ("eye",), "ear": ("ear",)},
        "mdc": {"eye": ("eye", "ear"), "ear": ("ear", "eye")},
        "cdc": {"eye": ("eye + ear",), "ear": ("eye + ear",)},
        "xdc": {"eye": ("ear",), "ear": ("eye",)},
    }[variant]


def pointer(references, targets, colours, temperature):
    """references: (n, d), targets: (m, d), colours: (n, c) one-hot. Returns y: (m, c), what each copies."""
    similarity = targets @ references.T / temperature  # (m, n)
    return similarity.softmax(1) @ colours  # over the references, for each target


def contrastive(v, a, together, margin):
    """v, a: (n, d), row n of both is a pair; together: (n,) true where in sync. Returns one number."""
    d = torch.linalg.vector_norm(v - a, dim=1)
    return torch.where(together, d**2, F.relu(margin - d) ** 2).mean()


SHOWN: dict[str, Callable] = {
    "bigan.discriminator_loss": discriminator_loss,
    "bigan.generator_encoder_loss": generator_encoder_loss,
    "bigan.updates": updates,
    "byol.regression_loss": regression_loss,
    "clip.symmetric_loss": symmetric_loss,
    "clip.classify": classify,
    "clusters.rotations": rotations,
    "clusters.kmeans_step": kmeans_step,
    "clusters.nmi": nmi,
    "dpc.dense_nce": dense_nce,
    "jigsaw.puzzle": puzzle,
    "jigsaw.damaged_loss": damaged_loss,
    "simclr.nt_xent": nt_xent,
    "xdc.whose": whose,
    "colorization.pointer": pointer,
    "avts.contrastive": contrastive,
}
