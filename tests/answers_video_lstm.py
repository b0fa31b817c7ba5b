"""The exercises of 08_video_lstm in other hands: loops, torch's own cell, slices and lists."""

import math

import torch
import torch.nn.functional as F

from sslcourse.methods import video_lstm

# --------------------------------------------------------------------------------------- video_lstm.lstm_cell


def by_rows(
    x,
    h,
    c,
    w_x,
    w_h,
    bias,
    *,
    rows=(0, 1, 2, 3),
    squash=("s", "s", "t", "s"),
    last=torch.tanh,
    keep=None,
    use="xhb",
    back="hc",
    stale=False,
    cut=False,
):
    """Each quarter of the rows by itself."""
    n = h.shape[1]
    apply = {"s": lambda v: 1 / (1 + torch.exp(-v)), "t": torch.tanh, "n": lambda v: v}

    def part(k):
        r = slice(rows[k] * n, (rows[k] + 1) * n)
        z = F.linear(x, w_x[r])
        z = z + F.linear(h, w_h[r]) if "h" in use else z
        return apply[squash[k]](z + bias[r] if "b" in use else z)

    i, f, a, o = (part(k) for k in range(4))
    f = keep(i) if keep else f
    old = c.data if cut else c
    new = torch.addcmul(i * a, f, old)
    shown = o * last(c if stale else new)
    given = {"h": shown, "c": new}
    return tuple(given[k] for k in back) if len(back) > 1 else shown


def by_torch(x, h, c, w_x, w_h, bias, *, swap=False, both=True):
    h, c = torch.lstm_cell(x, (h, c), w_x, w_h, bias, torch.zeros_like(bias))
    return ((c, h) if swap else [h, c]) if both else h


def turned(w, order):
    """The quarters of the rows in another order."""
    return torch.cat([w.chunk(4)[k] for k in order])


def by_torch_with(order):
    return lambda x, h, c, w_x, w_h, bias: by_torch(
        x, h, c, turned(w_x, order), turned(w_h, order), turned(bias, order)
    )


def by_unit(x, h, c, w_x, w_h, bias, *, forget=True, last=True, bounded=True, read="both"):
    new_h, new_c = [], []
    for b in range(len(x)):
        z = w_x @ x[b] + w_h @ h[b] + bias
        i, f, a, o = z.view(4, -1)
        i, f, o = i.sigmoid(), f.sigmoid(), o.sigmoid()
        cell = (f if forget else 1) * c[b] + i * (a.tanh() if bounded else a)
        new_c.append(cell)
        new_h.append(o * ((cell if read == "both" else c[b]).tanh() if last else cell))
    return torch.stack(new_h), torch.stack(new_c)


LSTM_CELL = {
    "input and forget gate swapped": [lambda *v: by_rows(*v, rows=(1, 0, 2, 3)), by_torch_with((1, 0, 2, 3))],
    "candidate and output gate swapped": [
        lambda *v: by_rows(*v, rows=(0, 1, 3, 2)),
        by_torch_with((0, 1, 3, 2)),
    ],
    "the candidate is a gate": [
        lambda *v: by_rows(*v, squash="ssss"),
        lambda *v: by_rows(*v, squash=["s"] * 4, back="hc"),
    ],
    "the candidate is not squashed": [
        lambda *v: by_rows(*v, squash="ssns"),
        lambda *v: by_unit(*v, bounded=False),
    ],
    "gates without the logistic function": [
        lambda *v: by_rows(*v, squash="nntn"),
        lambda *v: by_rows(*v, squash="tttt"),
    ],
    "c is not squashed for h": [lambda *v: by_rows(*v, last=lambda c: c), lambda *v: by_unit(*v, last=False)],
    "h is made from the old c": [lambda *v: by_rows(*v, stale=True), lambda *v: by_unit(*v, read="old")],
    "nothing is forgotten": [
        lambda *v: by_rows(*v, keep=torch.ones_like),
        lambda *v: by_unit(*v, forget=False),
    ],
    "what is written is what is forgotten": [
        lambda *v: by_rows(*v, keep=lambda i: 1 - i),
        lambda *v: by_rows(*v, keep=lambda i: -(i - 1)),
    ],
    "h and c handed back in the other order": [
        lambda *v: by_rows(*v, back="ch"),
        lambda *v: by_torch(*v, swap=True),
    ],
    "the old h is not read": [
        lambda *v: by_rows(*v, use="xb"),
        lambda x, h, c, w, u, b: by_torch(x, 0 * h.detach(), c, w, u, b),
    ],
    "no bias": [
        lambda *v: by_rows(*v, use="xh"),
        lambda x, h, c, w, u, b: by_torch(x, h, c, w, u, 0 * b.detach()),
    ],
    "c is cut from the gradient": [
        lambda *v: by_rows(*v, cut=True),
        lambda x, h, c, w, u, b: by_torch(x, h, c.detach(), w, u, b),
    ],
    "only h": [lambda *v: by_rows(*v, back="h"), lambda *v: by_torch(*v, both=False)],
}

# ----------------------------------------------------------------------------------------- video_lstm.targets


def by_lists(x, past, *, first=None, second=None):
    first = (lambda t: range(past - 1, -1, -1)) if first is None else first
    second = (lambda t: range(past, t)) if second is None else second
    return tuple(torch.stack([x[:, k] for k in which(x.shape[1])], 1) for which in (first, second))


def by_index(x, past, *, axis=1, both=False, swap=False):
    seen, future = x.split([past, x.shape[1] - past], 1)
    seen = seen.index_select(axis, torch.arange(seen.shape[axis] - 1, -1, -1))
    future = future[:, torch.arange(future.shape[1] - 1, -1, -1)] if both else future
    return [future, seen] if swap else [seen, future]


TARGETS = {
    "the past is not reversed": [
        lambda x, p: by_lists(x, p, first=lambda t: range(p)),
        lambda x, p: x.split([p, x.shape[1] - p], 1),
    ],
    "the future is reversed too": [
        lambda x, p: by_index(x, p, both=True),
        lambda x, p: by_lists(x, p, second=lambda t: range(t - 1, p - 1, -1)),
    ],
    "the whole film is reversed": [
        lambda x, p: by_lists(
            x, p, first=lambda t: range(t - 1, t - 1 - p, -1), second=lambda t: range(t - 1 - p, -1, -1)
        ),
        lambda x, p: x[:, list(range(x.shape[1]))[::-1]].split([p, x.shape[1] - p], 1),
    ],
    "the films are reversed": [
        lambda x, p: by_index(x, p, axis=0),
        lambda x, p: (torch.flipud(x[:, :p]), x[:, p:]),
    ],
    "the pixels are reversed": [
        lambda x, p: by_index(x, p, axis=2),
        lambda x, p: (x[:, :p].flip(-1), x[:, p:]),
    ],
    "the future begins too early": [
        lambda x, p: by_lists(x, p, second=lambda t: range(p - 1, t)),
        lambda x, p: by_lists(x, p, second=lambda t: range(p - 1, t - 1)),
    ],
    "the future begins too late": [
        lambda x, p: by_lists(x, p, second=lambda t: range(p + 1, t)),
        lambda x, p: (x[:, :p].flip(1), x.narrow(1, p + 1, x.shape[1] - p - 1)),
    ],
    "past and future swapped": [lambda x, p: by_index(x, p, swap=True), lambda x, p: by_lists(x, p)[::-1]],
    "a frame of the past is lost": [
        lambda x, p: by_lists(x, p, first=lambda t: range(p - 2, -1, -1)),
        lambda x, p: by_lists(x, p, first=lambda t: range(p - 1, 0, -1)),
    ],
}

# ---------------------------------------------------------------------------------- video_lstm.nats_per_frame


def by_softplus(z, x, *, bright=1.0, dark=1.0, divide=lambda z: z.shape[0] * z.shape[1], sign=1.0):
    """-log y = softplus(-z), -log (1 - y) = softplus(z)."""
    return sign * (bright * x * F.softplus(-z) + dark * (1 - x) * F.softplus(z)).sum() / divide(z)


def by_loops(z, x, *, power=None, log=None):
    total = 0
    for film, truth in zip(z, x):
        for frame, pixels in zip(film, truth):
            total = total + (
                by_softplus(frame[None, None], pixels[None, None]) if power is None else power(frame, pixels)
            )
    return total / (len(z) * z.shape[1]) / (log or 1)


def by_logarithms(z, x):
    y = 1 / (1 + torch.exp(-z))
    return (-x * torch.log(y) - (1 - x) * torch.log(1 - y)).sum(2).mean()


def by_probabilities(z, x):
    return F.binary_cross_entropy(torch.sigmoid(z), x, reduction="sum") / (z.shape[0] * z.shape[1])


NATS = {
    "mean over the pixels": [
        lambda z, x: by_softplus(z, x, divide=lambda z: z.numel()),
        lambda z, x: by_loops(z, x) / z.shape[-1],
    ],
    "sum over frames or films": [
        lambda z, x: by_softplus(z, x, divide=lambda z: 1),
        lambda z, x: by_softplus(z, x, divide=len),
        lambda z, x: by_softplus(z, x, divide=lambda z: z.shape[1]),
    ],
    "logits taken for probabilities": [
        lambda z, x: F.binary_cross_entropy(z.clip(0, 1), x, reduction="sum") / (len(z) * z.shape[1]),
        lambda z, x: F.binary_cross_entropy(z.clamp(1e-6, 1 - 1e-6), x, reduction="none").sum(-1).mean(),
    ],
    "the logistic function twice": [
        lambda z, x: by_softplus(z.sigmoid(), x),
        lambda z, x: by_loops(1 / (1 + torch.exp(-z)), x),
    ],
    "only bright pixels count": [
        lambda z, x: by_softplus(z, x, dark=0.0),
        lambda z, x: -(x * z.sigmoid().log()).sum(-1).mean(),
    ],
    "only dark pixels count": [
        lambda z, x: by_softplus(z, x, bright=0.0),
        lambda z, x: -((1 - x) * (1 - z.sigmoid()).log()).sum(-1).mean(),
    ],
    "the sign": [lambda z, x: by_softplus(z, x, sign=-1.0), lambda z, x: -by_loops(z, x)],
    "squared error": [
        lambda z, x: by_loops(z, x, power=lambda a, b: (a.sigmoid() - b).pow(2).sum()),
        lambda z, x: F.mse_loss(z, x, reduction="none").sum(-1).mean(),
        lambda z, x: video_lstm.squared_per_frame(z.sigmoid(), x),
    ],
    "bits and not nats": [
        lambda z, x: by_loops(z, x, log=math.log(2)),
        lambda z, x: by_softplus(z, x) * math.log2(math.e),
    ],
    "grey values are rounded": [
        lambda z, x: by_softplus(z, (x > 0.5).to(z.dtype)),
        lambda z, x: by_loops(z, torch.round(x)),
    ],
    "extreme logits break it": [by_logarithms, by_probabilities],
    "no gradient": [
        lambda z, x: by_softplus(z.data, x),
        lambda z, x: torch.tensor(float(by_loops(z.detach(), x)), dtype=z.dtype),
    ],
}

WRITTEN_OTHERWISE = {
    "video_lstm.lstm_cell": LSTM_CELL,
    "video_lstm.targets": TARGETS,
    "video_lstm.nats_per_frame": NATS,
}

RIGHT_OTHERWISE = {
    "video_lstm.lstm_cell": [by_rows, by_torch, by_unit],
    "video_lstm.targets": [
        by_lists,
        by_index,
        lambda x, past: (torch.fliplr(x[:, :past]), x[:, past:].clone()),
    ],
    "video_lstm.nats_per_frame": [by_softplus, by_loops],
}
