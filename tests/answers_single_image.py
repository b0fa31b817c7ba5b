"""The exercises of 05_single_image in other hands: grids instead of slices, NumPy, index tricks, einsum."""

import numpy as np
import torch
import torch.nn.functional as F

from sslcourse.data import single_image

# ----------------------------------------------------------------------------------------- single_image.crops


def by_grid(
    picture,
    n,
    size,
    area,
    *,
    shares=None,
    across=None,
    down=None,
    wide=1.0,
    finish=lambda x: x,
    beyond="border",
):
    """All crops in one lookup; what is drawn can be replaced. Places go from 0 to 1 of the room that there
    is.
    """
    height, width = picture.shape[1:]
    shares = torch.empty(n).uniform_(*area) if shares is None else shares(n, area)
    side = shares.sqrt() * min(height, width)
    x0 = (torch.rand(n) if across is None else across(n)) * (width - side)
    y0 = (torch.rand(n) if down is None else down(n)) * (height - side)
    steps = (torch.arange(size) + 0.5) / size
    x = (x0[:, None] + side[:, None] * wide * steps) / width * 2 - 1
    y = (y0[:, None] + side[:, None] * steps) / height * 2 - 1
    grid = torch.stack([x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], -1)
    return finish(
        F.grid_sample(picture.expand(n, -1, -1, -1), grid, align_corners=False, padding_mode=beyond)
    )


def by_numpy(picture, n, size, area, *, rng=None, corner=None, side=None, resize=True, stack=np.stack):
    """NumPy's generator and nearest pixels."""
    rng = rng or np.random.default_rng(int(torch.randint(2**31, ())))
    x = picture.numpy()
    height, width = x.shape[1:]
    out = []
    for _ in range(n):
        s = (
            int(round(min(height, width) * rng.uniform(*area) ** 0.5))
            if side is None
            else side(rng, height, size, area)
        )
        top, left = (
            (rng.integers(0, height - s + 1), rng.integers(0, width - s + 1))
            if corner is None
            else corner(rng, height, width, s)
        )
        rows, columns = (start + ((np.arange(size) + 0.5) * s / size).astype(int) for start in (top, left))
        inside = (rows < height)[:, None] & (columns < width)[None]
        crop = x[:, np.minimum(rows, height - 1)][:, :, np.minimum(columns, width - 1)] * inside
        out.append(crop if resize else x[:, top : top + s, left : left + s])
    return torch.from_numpy(stack(out)) if stack else [torch.from_numpy(c) for c in out]


def by_window(picture, n, size, area):
    """The library's own boxes and lookup, with nothing but place and scale."""
    plain = single_image.HEAVY.but(
        window=1.0, area=area, aspect=(1.0, 1.0), rotation=0.0, shear=0.0, flip=0.0, jitter=0.0
    )
    at, _ = single_image.corners(*picture.shape[1:], n, size, plain)
    return single_image.lookup(picture * 255, at, size)


def same_for_all(n):
    return torch.rand(1).expand(n)


def repeated(picture, n, size, area):
    return by_grid(picture, 1, size, area).expand(n, -1, -1, -1)


def tied(picture, n, size, area):
    place = torch.rand(n)
    return by_grid(picture, n, size, area, across=lambda n: place, down=lambda n: place)


def whole_width(picture, n, size, area):
    """The whole width of the picture in every crop: squeezed."""
    return torch.cat(
        [
            F.interpolate(picture[None, :, t : t + h], (size, size), mode="area")
            for h in torch.randint(20, 60, (n,)).tolist()
            for t in [int(torch.randint(96 - h, ()))]
        ]
    )


def drawn_apart(picture, n, size, area):
    return by_grid(picture, n, size, area, wide=0.6)


def clamped(rng, height, width, s):
    return min(rng.integers(0, height), height - s), min(rng.integers(0, width), width - s)


CROPS = {
    "one crop again and again": [
        repeated,
        lambda p, n, s, a: torch.stack(
            [by_numpy(p, 1, s, a, rng=np.random.default_rng(3))[0] for _ in range(n)]
        ),
    ],
    "one scale": [
        lambda p, n, s, a: by_grid(p, n, s, a, shares=lambda n, a: torch.empty(1).uniform_(*a).expand(n)),
        lambda p, n, s, a: by_numpy(p, n, s, a, side=lambda rng, h, size, a: size),
    ],
    "not a square of the picture": [drawn_apart, whole_width],
    "always the same place": [
        lambda p, n, s, a: by_grid(p, n, s, a, across=same_for_all, down=same_for_all),
        lambda p, n, s, a: by_numpy(p, n, s, a, corner=lambda rng, h, w, side: (h - side, w - side)),
    ],
    "along the diagonal": [
        tied,
        lambda p, n, s, a: by_numpy(
            p,
            n,
            s,
            a,
            corner=lambda rng, h, w, side: (lambda u: (int(u * (h - side)), int(u * (w - side))))(
                rng.random()
            ),
        ),
    ],
    "beyond the picture": [
        lambda p, n, s, a: by_grid(p, n, s, a, across=lambda n: torch.rand(n) * 1.6 - 0.3, beyond="zeros"),
        lambda p, n, s, a: by_numpy(
            p, n, s, a, corner=lambda rng, h, w, side: (rng.integers(0, h), rng.integers(0, w))
        ),
    ],
    "pushed in at the border": [
        lambda p, n, s, a: by_grid(p, n, s, a, across=lambda n: (torch.rand(n) * 1.5 - 0.25).clamp(0, 1)),
        lambda p, n, s, a: by_numpy(p, n, s, a, corner=clamped),
    ],
    "part of the picture is never shown": [
        lambda p, n, s, a: by_grid(p, n, s, a, across=lambda n: 0.25 + 0.5 * torch.rand(n)),
        lambda p, n, s, a: by_numpy(
            p,
            n,
            s,
            a,
            corner=lambda rng, h, w, side: (rng.integers(0, h - side + 1), rng.integers(0, h - side + 1)),
        ),
    ],
    "area is not heeded": [
        lambda p, n, s, a: by_grid(p, n, s, (0.1, 0.9)),
        lambda p, n, s, a: by_numpy(p, n, s, (0.25, 1.0)),
    ],
    "the side is drawn, not the area": [
        lambda p, n, s, a: by_grid(p, n, s, a, shares=lambda n, a: torch.empty(n).uniform_(*a).square()),
        lambda p, n, s, a: by_numpy(
            p, n, s, a, side=lambda rng, h, size, a: int(h * rng.uniform(*np.sqrt(a)))
        ),
    ],
    "not shrunk": [
        lambda p, n, s, a: by_numpy(p, n, s, a, resize=False, stack=None),
        lambda p, n, s, a: [p[:, :k, :k] for k in torch.randint(20, 90, (n,)).tolist()],
    ],
    "out of range": [
        lambda p, n, s, a: by_grid(p, n, s, a, finish=lambda x: x * 255),
        lambda p, n, s, a: by_grid(p, n, s, a, finish=lambda x: x * 4 - 2),
    ],
    "channels last": [
        lambda p, n, s, a: by_grid(p, n, s, a, finish=lambda x: x.movedim(1, 3)),
        lambda p, n, s, a: by_numpy(p, n, s, a).permute(0, 2, 3, 1).contiguous(),
    ],
}

# ------------------------------------------------------------------------------------------ single_image.gram


def by_einsum(maps, *, how="bchw,bdhw->bcd", divide=lambda b, c, h, w: h * w):
    return torch.einsum(how, maps, maps) / divide(*maps.shape)


def by_pairs(maps, *, change=lambda x: x):
    """Channel against channel, a mean at a time."""
    rows = []
    for x in maps:
        x = change(x)
        rows.append(torch.stack([torch.stack([(a * b).mean() for b in x]) for a in x]))
    return torch.stack(rows)


def by_bmm(
    maps,
    first=lambda m: m.flatten(2),
    second=lambda m: m.flatten(2).permute(0, 2, 1),
    divide=lambda m: m.shape[2] * m.shape[3],
):
    return torch.bmm(first(maps), second(maps)) / divide(maps)


def cut_otherwise(m):
    return m.reshape(m.shape[0], m.shape[2] * m.shape[3], m.shape[1])


GRAM = {
    "a sum over the places": [
        lambda m: by_einsum(m, divide=lambda *s: 1),
        lambda m: by_bmm(m, divide=lambda m: m.shape[2]),
    ],
    "divided by too much": [
        lambda m: by_einsum(m, divide=lambda b, c, h, w: c * h * w),
        lambda m: by_bmm(m, divide=lambda m: m.shape[1]),
    ],
    "places by places": [
        lambda m: by_bmm(
            m, lambda m: m.flatten(2).permute(0, 2, 1), lambda m: m.flatten(2), lambda m: m.shape[1]
        ),
        lambda m: torch.einsum("bcp,bcq->bpq", m.flatten(2), m.flatten(2)),
    ],
    "pictures are mixed": [
        lambda m: by_einsum(m, how="bchw,bdhw->cd"),
        lambda m: by_einsum(m, how="bchw,bdhw->cd") / len(m),
    ],
    "the means are removed": [
        lambda m: by_pairs(m, change=lambda x: x - x.mean((1, 2), keepdim=True)),
        lambda m: by_einsum(m) - m.mean((2, 3))[:, :, None] * m.mean((2, 3))[:, None],
    ],
    "cosines": [
        lambda m: (lambda g, d: g / (d[:, :, None] * d[:, None]))(
            by_einsum(m), by_einsum(m).diagonal(dim1=1, dim2=2).sqrt()
        ),
        lambda m: by_pairs(m, change=lambda x: x / x.norm(dim=0, keepdim=True)),
    ],
    "averaged before the product": [
        lambda m: torch.einsum("bc,bd->bcd", m.mean((2, 3)), m.mean((2, 3))),
        lambda m: (lambda a: a @ a.mT)(F.adaptive_avg_pool2d(m, 1).flatten(2)),
    ],
    "each channel with itself only": [
        lambda m: by_einsum(m, how="bchw,bchw->bc"),
        lambda m: by_pairs(m).diagonal(dim1=1, dim2=2),
    ],
    "reshaped for transposed": [
        lambda m: by_bmm(m, second=cut_otherwise),
        lambda m: by_bmm(m, lambda m: cut_otherwise(m).mT, cut_otherwise),
    ],
    "no gradient": [
        lambda m: by_einsum(m.detach()),
        lambda m: torch.tensor(by_pairs(m).tolist(), dtype=m.dtype),
    ],
}

WRITTEN_OTHERWISE = {"single_image.crops": CROPS, "single_image.gram": GRAM}

RIGHT_OTHERWISE = {
    "single_image.crops": [
        by_grid,
        by_numpy,
        by_window,
        lambda p, n, s, a: by_grid(p, n, s, a, finish=lambda x: x.flip(3)),
    ],
    "single_image.gram": [by_einsum, by_pairs, by_bmm],
}
