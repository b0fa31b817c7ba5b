"""The mistakes that the checkers must name, made by other hands: loops, interleaved views, other functions of
torch.

WRITTEN_OTHERWISE: exercise -> mistake -> at least two answers that make it, none of them written like the
checker's own."""

import torch
import torch.nn.functional as F

from sslcourse import encoders, evaluate
from sslcourse.methods import simclr
from sslcourse.train import features
from sslcourse.train.loop import epochs, fit
from sslcourse.transforms import augment

INF = float("inf")

# --------------------------------------------------------------------------------------------- simclr.nt_xent


def interleave(z1, z2):
    """Rows 2i and 2i + 1 are the two views of image i."""
    return torch.stack([z1, z2], 1).flatten(0, 1)


def interleaved(
    z1,
    z2,
    temperature,
    *,
    normalise=True,
    diagonal=-INF,
    partner=lambda i: i ^ 1,
    scale=None,
    reduction="mean",
    rows=slice(None),
):
    z = interleave(z1, z2)
    z = z / z.norm(dim=1, keepdim=True) if normalise else z
    s = torch.einsum("id,jd->ij", z, z) * (1 / temperature if scale is None else scale)
    if diagonal is not None:
        s = s.clone().fill_diagonal_(diagonal)
    return F.cross_entropy(s[rows], partner(torch.arange(len(z)))[rows], reduction=reduction)


def by_loops(
    z1,
    z2,
    temperature,
    *,
    unit=lambda v: v / v.norm(),
    logit=lambda c, t: c / t,
    keep_self=False,
    self_logit=None,
    keep_partner=True,
    partner=lambda i, n: (i + n) % (2 * n),
    who=lambda n: range(2 * n),
    divide=lambda n: 2 * n,
):
    z = [unit(v) for v in torch.cat([z1, z2])]
    n, total = len(z1), 0
    for i in who(n):
        terms = []
        for k in range(2 * n):
            if k == i and self_logit is not None:
                terms.append(torch.tensor(self_logit, dtype=z1.dtype))
            elif (k != i or keep_self) and (k != partner(i, n) or keep_partner):
                terms.append(logit(z[i] @ z[k], temperature))
        total = total + torch.logsumexp(torch.stack(terms), 0) - logit(z[i] @ z[partner(i, n)], temperature)
    return total / divide(n)


def by_blocks(
    z1,
    z2,
    temperature,
    *,
    first=True,
    second=True,
    average=True,
    cut1=lambda z: z,
    cut2=lambda z: z,
    others=True,
):
    """As in the authors' code: two n x 2n halves, one for each view that asks."""
    a, b = F.normalize(z1, p=2, dim=-1), F.normalize(z2, p=2, dim=-1)
    a, b = cut1(a), cut2(b)
    n = len(a)
    mask = torch.eye(n, dtype=torch.bool) & others
    label = torch.arange(n)
    ab, ba = a @ b.T / temperature, b @ a.T / temperature
    aa = (a @ a.T / temperature).masked_fill(mask, -INF)
    bb = (b @ b.T / temperature).masked_fill(mask, -INF)
    loss = 0
    if first:
        loss = loss + F.cross_entropy(torch.cat([ab, aa], 1), label)
    if second:
        loss = loss + F.cross_entropy(torch.cat([ba, bb], 1), label)
    return loss / (first + second) if average else loss


def clip_loops(z1, z2, temperature):
    c = F.cosine_similarity(z1[:, None], z2[None], dim=-1) / temperature
    total = 0
    for i in range(len(c)):
        total = total - 2 * c[i, i] + c[i].logsumexp(0) + c[:, i].logsumexp(0)
    return total / (2 * len(c))


def clip_one_way(z1, z2, temperature):
    c = F.cosine_similarity(z1.unsqueeze(1), z2.unsqueeze(0), dim=2) / temperature
    return -c.log_softmax(dim=1).diag().mean()


def twice_softmax(z1, z2, temperature):
    c = F.cosine_similarity(z := torch.cat([z1, z2]), z[:, None], dim=2) / temperature
    c = c - torch.diag(torch.full((len(z),), INF, dtype=c.dtype)).nan_to_num(0, posinf=INF)
    probability = c.exp() / c.exp().sum(1, keepdim=True)
    return F.nll_loss(F.log_softmax(probability, 1), (torch.arange(len(z)) + len(z1)) % len(z))


def twice_softmax_by_loops(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    n, total = len(z1), 0
    for i in range(2 * n):
        s = torch.stack(
            [z[i] @ z[k] / temperature if k != i else torch.tensor(-INF, dtype=z.dtype) for k in range(2 * n)]
        )
        p = s.softmax(0)
        total = total - (p[(i + n) % (2 * n)] - p.logsumexp(0))
    return total / (2 * n)


def decoupled(z1, z2, temperature):
    z = F.normalize(interleave(z1, z2), dim=1)
    e = (z @ z.T / temperature).exp()
    image = torch.arange(len(z)) // 2
    others = (e * (image[:, None] != image[None])).sum(1)
    return -(e[torch.arange(len(z)), torch.arange(len(z)) ^ 1] / others).log().mean()


def exp_zero_diagonal(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    s = z @ z.T
    s = (s - torch.diag(s.diag())) / temperature
    top = s[torch.arange(len(z)), torch.arange(len(z)).roll(len(z1))]
    return (s.exp().sum(1).log() - top).mean()


def whole_norm(z1, z2, temperature):
    z = torch.cat([z1, z2])
    return by_loops(*(z / z.pow(2).sum().sqrt()).chunk(2), temperature, unit=lambda v: v)


def column_norm(z1, z2, temperature):
    z = torch.cat([z1, z2])
    z = z / (z * z).sum(0).sqrt()
    return by_loops(z[: len(z1)], z[len(z1) :], temperature, unit=lambda v: v)


def no_gradient(z1, z2, temperature):
    with torch.no_grad():
        return by_blocks(z1, z2, temperature)


NT_XENT = {
    "no normalisation": [
        lambda a, b, t: interleaved(a, b, t, normalise=False),
        lambda a, b, t: by_loops(a, b, t, unit=lambda v: v),
    ],
    "normalised along the wrong axis": [whole_norm, column_norm],
    "self-similarity kept": [
        lambda a, b, t: interleaved(a, b, t, diagonal=None),
        lambda a, b, t: by_loops(a, b, t, keep_self=True),
        lambda a, b, t: by_blocks(a, b, t, others=False),
    ],
    "diagonal set to 0": [
        lambda a, b, t: interleaved(a, b, t, diagonal=0.0),
        lambda a, b, t: by_loops(a, b, t, self_logit=0.0),
        exp_zero_diagonal,
    ],
    "wrong partner": [
        lambda a, b, t: interleaved(a, b, t, partner=lambda i: (i + 2) % len(i)),
        lambda a, b, t: by_loops(a, b, t, partner=lambda i, n: (i + n + 1) % (2 * n)),
        lambda a, b, t: by_loops(
            a, b, t, partner=lambda i, n: (i + n) % (2 * n) if i < n else (i + n + 1) % n
        ),
    ],
    "temperature multiplied": [
        lambda a, b, t: interleaved(a, b, t, scale=t),
        lambda a, b, t: by_loops(a, b, t, logit=lambda c, t: c * t),
    ],
    "temperature not used": [
        lambda a, b, t: interleaved(a, b, t, scale=5.0),
        lambda a, b, t: by_loops(a, b, t, logit=lambda c, t: c),
        lambda a, b, t: by_blocks(a, b, 0.07),
    ],
    "sum for mean": [
        lambda a, b, t: interleaved(a, b, t, reduction="sum"),
        lambda a, b, t: by_loops(a, b, t, divide=lambda n: 1),
        lambda a, b, t: by_blocks(a, b, t) * len(a),
    ],
    "the two directions are added": [
        lambda a, b, t: by_blocks(a, b, t, average=False),
        lambda a, b, t: by_loops(a, b, t, divide=lambda n: n),
    ],
    "one direction only": [
        lambda a, b, t: by_blocks(a, b, t, second=False),
        lambda a, b, t: by_blocks(a, b, t, first=False),
        lambda a, b, t: by_loops(a, b, t, who=lambda n: range(n), divide=lambda n: n),
        lambda a, b, t: interleaved(a, b, t, rows=slice(0, None, 2)),
    ],
    "detached view": [
        lambda a, b, t: by_blocks(a, b, t, cut2=lambda z: z.data),
        lambda a, b, t: torch.as_tensor(by_loops(a, b, t).item()),
        lambda a, b, t: interleaved(a.detach(), b, t),
        no_gradient,
    ],
    "only the other view as candidates": [clip_loops, clip_one_way, lambda a, b, t: clip_one_way(b, a, t)],
    "partner missing from the sum": [decoupled, lambda a, b, t: by_loops(a, b, t, keep_partner=False)],
    "softmax twice": [twice_softmax, twice_softmax_by_loops],
}

# ------------------------------------------------------------------------------------------- simclr.two_views

paper = augment.simclr_view(area=(0.2, 1.0), strength=0.8)


def shift(image, by=8):
    """A crop of one's own: a window at a random place, one for each image."""
    x = augment.as_float(image)
    padded = F.pad(x, [by] * 4, mode="reflect")
    tops, lefts = torch.randint(0, 2 * by, (2, len(x)))
    h, w = x.shape[2:]
    return torch.stack([p[:, t : t + h, left : left + w] for p, t, left in zip(padded, tops, lefts)])


def tint(image):
    """A colour distortion of one's own: every channel of every image to a random power and a random shade."""
    x = augment.as_float(image)
    power, shade = 0.5 + torch.rand(2, len(x), 3, 1, 1)
    return (x**power * shade.clamp(0.4, 1)).clamp(0, 1)


def one_tint(image):
    x = augment.as_float(image)
    return (x ** (0.5 + torch.rand(3, 1, 1)) * (0.5 + 0.5 * torch.rand(3, 1, 1))).clamp(0, 1)


def one_window(image):
    x = augment.as_float(image)
    top, left = (int(v) for v in torch.randint(0, 10, (2,)))
    return F.interpolate(x[:, :, top : top + 20, left : left + 20], size=x.shape[2:], mode="bilinear")


def torchvision_batch(image):
    from torchvision.transforms import v2

    view = v2.Compose(
        [
            v2.RandomResizedCrop(32, (0.3, 0.9), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.4, 0.4, 0.4, 0.2),
        ]
    )
    return tuple(view(augment.as_float(image)).clamp(0, 1) for _ in range(2))


def repeated(image):
    v = tint(shift(image))
    return v, v.clone()


def seeded_twice(image):
    views = []
    for _ in range(2):
        torch.manual_seed(7)
        views.append(paper(image))
    return tuple(views)


def same_seeds_every_call(image):
    views = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        views.append(paper(image))
    torch.seed()
    return tuple(views)


_drawn = {}


def drawn_once(image):
    """The parameters are made once and kept: the second call is the first one again."""
    key = (image.shape, float(image.double().sum()))
    if key not in _drawn:
        _drawn[key] = paper(image), paper(image)
    return _drawn[key]


TWO_VIEWS = {
    "one view, twice": [repeated, lambda x: [paper(x)] * 2, seeded_twice],
    "the image itself": [
        lambda x: (augment.as_float(x).clone(), tint(shift(x))),
        lambda x: [augment.identity(x), paper(x)],
    ],
    "the image itself, second": [
        lambda x: (tint(shift(x)), augment.as_float(x) * 1),
        lambda x: [paper(x), augment.identity(x)],
    ],
    "nothing is drawn": [
        lambda x: tuple(augment.as_float(x).clone() for _ in range(2)),
        lambda x: list(torch.stack([augment.as_float(x)] * 2)),
    ],
    "one augmentation for the whole batch": [
        torchvision_batch,
        lambda x: (one_tint(one_window(x)), one_tint(one_window(x))),
    ],
    "always the same draw": [same_seeds_every_call, drawn_once],
    "no colour distortion": [
        lambda x: (shift(x), shift(x)),
        lambda x: tuple(augment.crop_and_flip((0.2, 0.8))(x) for _ in range(2)),
    ],
    "no crop": [
        lambda x: (tint(x), tint(x)),
        lambda x: tuple(
            augment.colour_jitter(augment.as_float(x), 0.6, 0.6, 0.6, 0.2, 0.9) for _ in range(2)
        ),
    ],
}

# -------------------------------------------------------------------------------- simclr.contrastive_accuracy


def found_by_loops(
    z1,
    z2,
    *,
    unit=lambda v: v / v.norm(),
    skip_self=True,
    better=lambda a, b: a > b,
    who=lambda n: range(2 * n),
    partner=lambda i, n: (i + n) % (2 * n),
    candidates=lambda i, n: range(2 * n),
):
    z = [unit(v) for v in torch.cat([z1, z2])]
    n, right = len(z1), []
    for i in who(n):
        best = None
        for k in candidates(i, n):
            if k == i and skip_self:
                continue
            if best is None or better(float(z[i] @ z[k]), float(z[i] @ z[best])):
                best = k
        right.append(best == partner(i, n))
    return sum(right) / len(right)


def found_by_distance(z1, z2, *, normalise=True, mask=True, farthest=False, rows=slice(None), mean=True):
    z = interleave(z1, z2)
    z = F.normalize(z, dim=1) if normalise else z
    distance = torch.cdist(z, z) if normalise else -(z @ z.T)
    if mask:
        distance = distance + torch.diag(torch.full((len(z),), -1e9 if farthest else 1e9, dtype=z.dtype))
    nearest = distance.max(1).indices if farthest else distance.min(1).indices
    right = (nearest == (torch.arange(len(z)) ^ 1))[rows].float()
    return float(right.mean() if mean else right.sum())


CONTRASTIVE_ACCURACY = {
    "self-similarity kept": [
        lambda a, b: found_by_distance(a, b, mask=False),
        lambda a, b: found_by_loops(a, b, skip_self=False),
    ],
    "no normalisation": [
        lambda a, b: found_by_distance(a, b, normalise=False),
        lambda a, b: found_by_loops(a, b, unit=lambda v: v),
    ],
    "wrong partner": [
        lambda a, b: found_by_loops(a, b, partner=lambda i, n: (i + 1) % (2 * n)),
        lambda a, b: found_by_loops(a, b, partner=lambda i, n: i + 1 if i % 2 == 0 else i - 1),
    ],
    "farthest for nearest": [
        lambda a, b: found_by_distance(a, b, farthest=True),
        lambda a, b: found_by_loops(a, b, better=lambda x, y: x < y),
    ],
    "one direction only": [
        lambda a, b: found_by_distance(a, b, rows=slice(0, None, 2)),
        lambda a, b: found_by_loops(a, b, who=lambda n: range(n)),
        lambda a, b: found_by_loops(a, b, who=lambda n: range(n, 2 * n)),
    ],
    "only the other view as candidates": [
        lambda a, b: found_by_loops(a, b, candidates=lambda i, n: range(n, 2 * n) if i < n else range(n)),
        lambda a, b: float(
            (F.cosine_similarity(a[:, None], b[None], dim=2).max(1).indices == torch.arange(len(a)))
            .float()
            .mean()
        ),
    ],
    "per cent for a share": [
        lambda a, b: 100 * found_by_loops(a, b),
        lambda a, b: found_by_distance(a, b) * 100,
    ],
    "count for a share": [
        lambda a, b: 2 * len(a) * found_by_loops(a, b),
        lambda a, b: found_by_distance(a, b, mean=False),
    ],
}

# -------------------------------------------------------------------------------- simclr.compare_temperatures


def row_of(method, row, temperature, data, kNN=None):
    kNN = evaluate.probe(method, data, linear=False)["kNN"] if kNN is None else kNN
    return {
        "temperature": temperature,
        "loss": row["loss"],
        "partner found": row["partner found"],
        "kNN": kNN,
    }


def trained(method, data, recipe):
    return list(epochs(method, data.train.unlabelled(), recipe))[-1]


def returned_inside(data, temperatures, recipe):
    for temperature in temperatures:
        torch.manual_seed(0)
        method = simclr.SimCLR(encoders.small_cnn(), temperature=temperature)
        return [row_of(method, trained(method, data, recipe), temperature, data)]


def first_only(data, temperatures, recipe):
    torch.manual_seed(1)
    method = simclr.SimCLR(encoders.small_cnn(), temperature=temperatures[0])
    return (row_of(method, fit(method, data.train, recipe)[-1], temperatures[0], data),)


def one_network(data, temperatures, recipe):
    torch.manual_seed(recipe.seed)
    method, rows = simclr.SimCLR(encoders.small_cnn()), []
    for method.temperature in temperatures:
        rows.append(row_of(method, trained(method, data, recipe), method.temperature, data))
    return rows


def one_encoder(data, temperatures, recipe):
    torch.manual_seed(3)
    encoder, rows = encoders.small_cnn(), []
    for temperature in temperatures:
        torch.manual_seed(3)
        method = simclr.SimCLR(encoder, temperature=temperature, head="none")
        rows.append(row_of(method, fit(method, data.train, recipe)[-1], temperature, data))
    return rows


def never_seeded(data, temperatures, recipe):
    methods = {
        t: simclr.SimCLR(encoders.small_cnn(), temperature=t)
        for t in temperatures
        if not temperatures.count(t) > 1
    }
    build = lambda t: methods.get(t) or simclr.SimCLR(encoders.small_cnn(), temperature=t)
    return [row_of(m := build(t), trained(m, data, recipe), t, data) for t in temperatures]


def seeded_once(data, temperatures, recipe):
    torch.manual_seed(recipe.seed)
    rows = []
    for t in temperatures:
        method = simclr.SimCLR(encoders.small_cnn(), temperature=t)
        rows.append(row_of(method, fit(method, data.train.unlabelled(), recipe)[-1], t, data))
    return rows


def fair(
    data,
    temperatures,
    recipe,
    *,
    make=lambda t: simclr.SimCLR(encoders.small_cnn(), temperature=t),
    train=trained,
    kNN=lambda m, data: None,
):
    rows = []
    for t in temperatures:
        torch.manual_seed(11)
        method = make(t)
        rows.append(row_of(method, train(method, data, recipe), t, data, kNN(method, data)))
    return rows


def knn_by_hand(bank, labels, queries, answers):
    s = F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T
    voted = labels[s.topk(9, dim=1).indices].mode(1).values
    return float((voted == answers).float().mean())


def unsealed(method, data):
    h = features.extract(method, data.train)
    return knn_by_hand(h, data.train.label, features.extract(method, data.test), data.test._label)


def on_itself(method, data):
    h = features.extract(method, data.train)
    return knn_by_hand(h, data.train.label, h, data.train.label)


COMPARE_TEMPERATURES = {
    "returned after the first temperature": [returned_inside, first_only],
    "weights carried over": [one_network, one_encoder],
    "another start for each": [never_seeded, seeded_once],
    "temperature not passed on": [
        lambda d, t, r: fair(d, t, r, make=lambda t: simclr.SimCLR(encoders.small_cnn())),
        lambda d, t, r: [{**row, "temperature": x} for row, x in zip(fair(d, [0.5] * len(t), r), t)],
    ],
    "recipe not used": [
        lambda d, t, r: fair(
            d, t, r, train=lambda m, d, r: trained(m, d, simclr.COURSE.but(epochs=1, batch_size=64))
        ),
        lambda d, t, r: fair(
            d,
            t,
            r,
            train=lambda m, d, r: fit(m, d.train, simclr.COURSE.but(epochs=1, batch_size=32, lr=1e-3))[-1],
        ),
    ],
    "scored on the training split": [
        lambda d, t, r: fair(d, t, r, kNN=on_itself),
        lambda d, t, r: fair(
            d,
            t,
            r,
            kNN=lambda m, d: evaluate.score(
                x := features.extract(m, d.train), y := d.train.label, x, y, classes=2
            )["kNN"],
        ),
    ],
    "scored on the test split": [
        lambda d, t, r: fair(d, t, r, kNN=unsealed),
        lambda d, t, r: fair(d, t, r, kNN=lambda m, d: evaluate.report(m, d)["SimCLR"]["kNN"]),
    ],
}

# ---------------------------------------------------------------------------------------- simclr.frozen_probe


def tensors(samples, test=False):
    return samples.image.float() / 255, samples._label if test else samples.label


def own_linear(h, y, classes, steps=120):
    """A linear layer trained by one's own loop, on standardised features."""
    mean, scale = h.mean(0), h.std(0) + 1e-6
    layer = torch.nn.Linear(h.shape[1], classes)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.05, weight_decay=0.01)
    for _ in range(steps):
        loss = F.cross_entropy(layer((h - mean) / scale), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return lambda x: layer((x - mean) / scale).argmax(1)


def encode_apart(method, x, encode):
    return torch.cat([encode(method, part) for part in x.split(40)])


def own_probe(
    method, data, *, fit_on="train", score_on="validation", mode="eval", encode=lambda m, x: m.f(x), times=1
):
    method.train(mode == "train")
    x, y = tensors(getattr(data, fit_on))
    held, answers = tensors(getattr(data, score_on), test=True)
    with torch.no_grad():
        h, g = encode_apart(method, x, encode), encode_apart(method, held, encode)
    return times * float((own_linear(h, y, len(data.classes))(g) == answers).double().mean())


def all_in_one_optimizer(method, data):
    """The optimizer is given everything, the encoder too."""
    method.eval()
    x, y = tensors(data.train)
    layer = torch.nn.Linear(method.f.dim, len(data.classes))
    optimizer = torch.optim.AdamW([*method.f.parameters(), *layer.parameters()], lr=0.01)
    for _ in range(40):
        loss = F.cross_entropy(layer(method.f(x)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    held, answers = tensors(data.validation)
    return float((layer(method.f(held)).argmax(1) == answers).float().mean())


def one_step_too_far(method, data):
    """A single step with the encoder's parameters in the optimizer."""
    method.eval()
    x, y = tensors(data.train)
    loss = F.cross_entropy(method.f(x), y)
    loss.backward()
    torch.optim.SGD(method.f.parameters(), lr=1e-3).step()
    method.zero_grad()
    return own_probe(method, data)


FROZEN_PROBE = {
    "unfrozen encoder": [all_in_one_optimizer, one_step_too_far],
    "not in eval mode": [
        lambda m, d: own_probe(m, d, mode="train"),
        lambda m, d: (m.f(tensors(d.train)[0]), own_probe(m, d))[1],
    ],
    "scored on the training split": [
        lambda m, d: own_probe(m, d, score_on="train"),
        lambda m, d: evaluate.score(
            x := features.extract(m, d.train), d.train.label, x, d.train.label, classes=4
        )["linear"],
    ],
    "scored on the test split": [
        lambda m, d: own_probe(m, d, score_on="test"),
        lambda m, d: evaluate.report(m, d)["_Known"]["linear"],
    ],
    "fitted on the validation split": [
        lambda m, d: own_probe(m, d, fit_on="validation"),
        lambda m, d: evaluate.score(
            x := features.extract(m, d.validation), d.validation.label, x, d.validation.label, classes=4
        )["linear"],
    ],
    "z for h": [
        lambda m, d: own_probe(m, d, encode=lambda m, x: m.g(m.f(x))),
        lambda m, d: evaluate.score(
            *(
                f(part)
                for part in (d.train, d.validation)
                for f in (
                    lambda s: features.extract(m, s, encode=lambda b: m.g(m.encode(b))),
                    lambda s: s.label,
                )
            ),
            classes=4,
        )["linear"],
    ],
    "per cent for a share": [
        lambda m, d: own_probe(m, d, times=100),
        lambda m, d: round(100 * evaluate.probe(m, d)["linear"], 1),
    ],
}


WRITTEN_OTHERWISE = {
    "simclr.nt_xent": NT_XENT,
    "simclr.two_views": TWO_VIEWS,
    "simclr.contrastive_accuracy": CONTRASTIVE_ACCURACY,
    "simclr.compare_temperatures": COMPARE_TEMPERATURES,
    "simclr.frozen_probe": FROZEN_PROBE,
}

RIGHT_OTHERWISE = {
    "simclr.nt_xent": [by_loops, interleaved, by_blocks, lambda a, b, t: simclr.nt_xent(b, a, t)],
    "simclr.two_views": [
        lambda x: (tint(shift(x)), tint(shift(x))),
        lambda x: [paper(x), paper(x)],
        lambda x: (paper(x), tint(shift(x))),
    ],
    "simclr.contrastive_accuracy": [found_by_loops, found_by_distance],
    "simclr.compare_temperatures": [
        fair,
        lambda d, t, r: tuple(fair(d, t, r, train=lambda m, d, r: fit(m, d.train, r)[-1])),
    ],
    "simclr.frozen_probe": [own_probe, lambda m, d: evaluate.probe(m, d)["linear"]],
}
