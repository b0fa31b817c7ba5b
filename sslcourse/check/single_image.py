"""The exercises of 05_single_image: a training set out of one photograph, and what a layer knows of a
texture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse.check.compare import slopes, zeros_for_none
from sslcourse.check.engine import Assignment, Exercise, Mistake, NotYet, Task, assign, register
from sslcourse.data import single_image
from sslcourse.evaluate import style_transfer
from sslcourse.runtime.seeds import generator

# ---------------------------------------------------------------------------------------------- crops

HEIGHT, WIDTH, SIZE, MANY = 96, 160, 16, 500
AREA = (0.04, 0.8)


def _ramp() -> Tensor:
    """A picture whose colours say where a pixel is: red grows to the right, green downwards, blue is 1
    everywhere.
    """
    x = ((torch.arange(WIDTH) + 0.5) / WIDTH).expand(HEIGHT, WIDTH)
    y = ((torch.arange(HEIGHT) + 0.5) / HEIGHT)[:, None].expand(HEIGHT, WIDTH)
    return torch.stack([x, y, torch.ones(HEIGHT, WIDTH)])


class Boxes:
    """Where crops of the ramp were cut, read from their colours. All in pixels of the picture."""

    def __init__(self, crops: Tensor):
        middle = slice(SIZE // 4, SIZE - SIZE // 4)
        red, green = crops[:, 0, middle, middle], crops[:, 1, middle, middle]
        steps = red.shape[-1] - 1
        self.width = ((red[:, :, -1] - red[:, :, 0]).mean(1).abs() / steps) * SIZE * WIDTH
        self.height = ((green[:, -1] - green[:, 0]).mean(1).abs() / steps) * SIZE * HEIGHT
        self.left = red.mean((1, 2)) * WIDTH - self.width / 2
        self.top = green.mean((1, 2)) * HEIGHT - self.height / 2
        self.share = self.width * self.height / min(HEIGHT, WIDTH) ** 2
        self.inside = crops[:, 2].flatten(1).amin(1)

    def across(self) -> Tensor:
        """0 for a crop at the left border, 1 for one at the right border; only of crops that have room."""
        room = WIDTH - self.width
        return (self.left / room)[room > 20]

    def down(self) -> Tensor:
        room = HEIGHT - self.height
        return (self.top / room)[room > 20]


def _crops(f: Callable, seed: int, area=AREA) -> Any:
    """What an answer returns: a student's may be anything."""
    torch.manual_seed(seed)
    return f(_ramp(), MANY, SIZE, area)


# of the answer that is being examined: every mistake asks for the same crops
_latest: dict[tuple, Boxes | None] = {}


def _boxes(f: Callable, seed: int, area=AREA) -> Boxes | None:
    """None where the answer is not even a batch of crops with colours from 0 to 1."""
    if any(known is not f for known, *_ in _latest):
        _latest.clear()
    if (f, seed, area) not in _latest:
        x = _crops(f, seed, area)
        right = (
            isinstance(x, Tensor)
            and x.shape == (MANY, 3, SIZE, SIZE)
            and x.is_floating_point()
            and bool(torch.isfinite(x).all())
        )
        _latest[f, seed, area] = Boxes(x.double()) if right and -0.01 < x.min() and x.max() < 1.01 else None
    return _latest[f, seed, area]


def _touching(place: Tensor) -> float:
    """Share of crops that stand at a border: more than a few only where what sticks out is pushed in."""
    return float(((place < 0.006) | (place > 0.994)).double().mean())


def _colours_are_theirs(f: Callable, seed: int) -> None:
    """NotYet unless the crops have the colours of the picture that is handed over, and are as many as asked
    for.
    """
    g = generator(seed, 30)
    for k in range(2):
        low, span = 0.3 * torch.rand(3, 1, 1, generator=g), 0.3 + 0.3 * torch.rand(3, 1, 1, generator=g)
        n = int(torch.randint(20, 60, (), generator=g))
        picture = low + span * _ramp()
        torch.manual_seed(seed + 2 + k)
        x = f(picture, n, SIZE, AREA)
        if not isinstance(x, Tensor) or x.shape != (n, 3, SIZE, SIZE):
            shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise NotYet(f"the shape of {n} crops of size {SIZE}", (n, 3, SIZE, SIZE), shape)
        for c, name in enumerate(("red", "green", "blue")):
            least, most = float(picture[c].min()), float(picture[c].max())
            got = float(x[:, c].min()), float(x[:, c].max())
            if got[0] < least - 0.02 or got[1] > most + 0.02:
                raise NotYet(
                    f"the crops' {name} where the picture's goes from {least:.2f} to {most:.2f}",
                    f"{least:.2f} to {most:.2f}",
                    f"{got[0]:.2f} to {got[1]:.2f}",
                )


def _crops_properties(f: Callable, seed: int) -> None:
    picture = _ramp()
    torch.manual_seed(seed)
    x = f(picture, MANY, SIZE, AREA)
    if not isinstance(x, Tensor):
        raise NotYet("what it returns", "a tensor", type(x).__name__)
    if x.shape != (MANY, 3, SIZE, SIZE):
        raise NotYet(f"the shape of {MANY} crops of size {SIZE}", (MANY, 3, SIZE, SIZE), tuple(x.shape))
    if not x.is_floating_point() or not torch.isfinite(x).all() or x.min() < -1e-4 or x.max() > 1 + 1e-4:
        raise NotYet(
            "the range of the numbers",
            "floats from 0 to 1",
            f"{x.dtype}, {float(x.min()):.2f} to {float(x.max()):.2f}",
        )
    if not torch.equal(picture, _ramp()):
        raise NotYet("the picture after the call", "unchanged", "changed")
    b = Boxes(x.double())
    if b.inside.min() < 0.99:
        raise NotYet(
            "the darkest pixel of crops of a picture whose blue is 1 everywhere",
            "1.00",
            f"{float(b.inside.min()):.2f}",
        )
    if (b.width - b.height).abs().max() > 3:
        worst = int((b.width - b.height).abs().argmax())
        raise NotYet(
            "a crop should be a square of the picture; one has width and height",
            "equal",
            f"{b.width[worst]:.0f} and {b.height[worst]:.0f}",
        )
    for name, values in (("left edge", b.left), ("side", b.width)):
        if values.std() < 1:
            raise NotYet(
                f"the {name} of the {MANY} crops, in pixels",
                "different ones",
                f"{float(values.mean()):.0f} for all",
            )
    for area in (AREA, (0.3, 0.5)):
        boxes = _boxes(f, seed + 1, area)
        if boxes is None:
            raise NotYet(f"crops with area={area}", "floats from 0 to 1", "something else")
        share = boxes.share
        if share.min() < 0.85 * area[0] - 0.01 or share.max() > 1.06 * area[1]:
            raise NotYet(
                f"the crops' shares of the largest square, with area={area}",
                f"{area[0]} to {area[1]}",
                f"{float(share.min()):.2f} to {float(share.max()):.2f}",
            )
        middle, slack = sum(area) / 2, 3.8 * (area[1] - area[0]) / math.sqrt(12 * MANY)
        if abs(float(share.mean()) - middle) > slack + 0.008:
            raise NotYet(
                f"their mean share, with area={area}", f"about {middle:.2f}", f"{float(share.mean()):.2f}"
            )
    across, down = b.across(), b.down()
    for name, place in (("from left to right", across), ("from top to bottom", down)):
        if abs(float(place.mean()) - 0.5) > 0.1 or place.min() > 0.1 or place.max() < 0.9:
            raise NotYet(
                f"where the crops stand {name} (0 and 1: at the borders)",
                "0 to 1, evenly",
                f"{float(place.min()):.2f} to {float(place.max()):.2f}, mean {float(place.mean()):.2f}",
            )
        if _touching(place) > 0.12:
            raise NotYet(
                f"share of the crops that stand at a border, {name}", "few", f"{_touching(place):.0%}"
            )
    both = (WIDTH - b.width > 20) & (HEIGHT - b.height > 20)
    together = torch.corrcoef(
        torch.stack([(b.left / (WIDTH - b.width))[both], (b.top / (HEIGHT - b.height))[both]])
    )[0, 1]
    if together > 0.5:
        raise NotYet(
            "how places from left to right and from top to bottom go together (correlation)",
            "about 0",
            f"{float(together):.2f}",
        )
    _colours_are_theirs(f, seed)


def _where(question: Callable[[Boxes], object]) -> Callable:
    """A question about the boxes of an answer that returns a batch of crops."""

    def recognise(f: Callable, seed: int) -> bool:
        boxes = _boxes(f, seed)
        return boxes is not None and bool(question(boxes))

    return recognise


def _one_size(b: Boxes) -> bool:
    return bool(b.width.std() < 1 and b.height.std() < 1)


def _diagonal(b: Boxes) -> bool:
    room = (WIDTH - b.width > 20) & (HEIGHT - b.height > 20)
    across, down = (b.left / (WIDTH - b.width))[room], (b.top / (HEIGHT - b.height))[room]
    return bool(b.inside.min() > 0.99 and across.std() > 0.1 and (across - down).abs().median() < 0.05)


def _not_in_range(f: Callable, seed: int) -> bool:
    x = _crops(f, seed)
    if not isinstance(x, Tensor) or x.shape != (MANY, 3, SIZE, SIZE):
        return False
    return not x.is_floating_point() or float(x.max()) > 1.01 or float(x.min()) < -0.01


def _axes_elsewhere(f: Callable, seed: int) -> bool:
    x = _crops(f, seed)
    return isinstance(x, Tensor) and x.ndim == 4 and x.shape[1:] == (SIZE, SIZE, 3)


def _of_many_sizes(f: Callable, seed: int) -> bool:
    x = _crops(f, seed)
    return (
        isinstance(x, (list, tuple))
        and len(x) == MANY
        and all(isinstance(c, Tensor) for c in x)
        and len({tuple(c.shape[-2:]) for c in x}) > 1
    )


def _ignores_area(f: Callable, seed: int) -> bool:
    """The range of shares is the same whatever is asked for."""
    first, second = (_boxes(f, seed, area) for area in (AREA, (0.3, 0.5)))
    if first is None or second is None or first.share.std() < 0.02:
        return False
    return bool((first.share.sort().values - second.share.sort().values).abs().mean() < 0.02)


def _side_drawn(f: Callable, seed: int) -> bool:
    """The side is drawn evenly, between the ends of the range of areas or between their roots."""
    b = _boxes(f, seed)
    if b is None:
        return False
    side = b.width.sort().values / min(HEIGHT, WIDTH)
    evenly = (torch.arange(MANY) + 0.5) / MANY
    ends = [(AREA[0], AREA[1]), (AREA[0] ** 0.5, AREA[1] ** 0.5)]
    distances = [float((side - (low + (high - low) * evenly)).abs().mean()) for low, high in ends]
    right = float((side - (AREA[0] + (AREA[1] - AREA[0]) * evenly).sqrt()).abs().mean())
    return min(distances) < right


def _cut(
    *,
    share=lambda area: area[0] + (area[1] - area[0]) * float(torch.rand(())),
    place=None,
    once=(),
    squeeze=False,
    finish=None,
    shrink=None,
):
    """The crops with one thing done otherwise. `once` holds what is drawn a single time for all of them."""

    def crops(picture: Tensor, n: int, size: int, area) -> Tensor:
        height, width = picture.shape[1:]
        drawn: dict[str, tuple[int, int]] = {}
        out = []
        for _ in range(n):
            fresh = {"side": (max(1, round(share(area) ** 0.5 * min(height, width))),) * 2}
            if squeeze:
                fresh["side"] = (fresh["side"][0], max(1, round(share(area) ** 0.5 * min(height, width))))
            side = drawn.setdefault("side", fresh["side"]) if "side" in once else fresh["side"]
            spots = (place or _anywhere)(height - side[0], width - side[1])
            top, left = drawn.setdefault("place", spots) if "place" in once else spots
            if top < 0 or left < 0 or top + side[0] > height or left + side[1] > width:
                crop = F.pad(picture, (side[1],) * 2 + (side[0],) * 2)[:, top + side[0] :, left + side[1] :][
                    :, : side[0], : side[1]
                ]
            else:
                crop = picture[:, top : top + side[0], left : left + side[1]]
            out.append((shrink or _shrunk)(crop, size))
        return (finish or torch.stack)(out)

    return crops


def _anywhere(down: int, across: int) -> tuple[int, int]:
    top = int(torch.randint(max(0, down) + 1, ()))
    return top, int(torch.randint(max(0, across) + 1, ()))


def _shrunk(crop: Tensor, size: int) -> Tensor:
    return F.interpolate(crop[None], (size, size), mode="bilinear", antialias=True)[0].clamp(0, 1)


def _one_number(down: int, across: int) -> tuple[int, int]:
    at = float(torch.rand(()))
    return round(at * down), round(at * across)


def _sticking_out(down: int, across: int) -> tuple[int, int]:
    """The corner anywhere in the picture."""
    return int(torch.randint(HEIGHT, ())), int(torch.randint(WIDTH, ()))


def _pushed_in(down: int, across: int) -> tuple[int, int]:
    top, left = _sticking_out(down, across)
    return min(top, down), min(left, across)


def _patch(picture: Tensor, n: int, size: int, area) -> Tensor:
    """Pieces as large as the result, never shrunk."""
    spots = [_anywhere(picture.shape[1] - size, picture.shape[2] - size) for _ in range(n)]
    return torch.stack([picture[:, top : top + size, left : left + size] for top, left in spots])


CROPS = Exercise(
    "single_image.crops",
    single_image.square_crops,
    _crops_properties,
    (
        Mistake(
            "one crop again and again",
            "All crops are the same: place and size are drawn once, before the loop. Draw both anew for "
            "every crop; a "
            "training set of one picture repeated teaches nothing.",
            _cut(once=("side", "place")),
            recognise=_where(lambda b: _one_size(b) and b.left.std() < 1 and b.top.std() < 1),
        ),
        Mistake(
            "one scale",
            "All crops show equally large parts of the picture. Draw the share of the area anew for every "
            "crop: scale is "
            "what the paper "
            "found to matter most.",
            _cut(once=("side",)),
            (_patch,),
            recognise=_where(_one_size),
        ),
        Mistake(
            "not a square of the picture",
            "Width and height are drawn apart, or something else is squeezed: shapes are distorted. "
            "Draw one side.",
            _cut(squeeze=True),
            recognise=_where(lambda b: b.inside.min() > 0.99 and (b.width - b.height).abs().median() > 3),
        ),
        Mistake(
            "always the same place",
            "The size varies, but the crops have one middle or one corner. Draw the place too, from 0 to the "
            "room that the crop "
            "leaves: width - side.",
            _cut(place=lambda down, across: (down // 2, across // 2)),
            (_cut(place=lambda down, across: (0, 0)),),
            recognise=_where(lambda b: b.across().std() < 0.05 or b.down().std() < 0.05),
        ),
        Mistake(
            "along the diagonal",
            "One random number places the crop in both directions, so all lie on the diagonal. Draw two.",
            _cut(place=_one_number),
            recognise=_where(_diagonal),
        ),
        Mistake(
            "beyond the picture",
            "Crops reach beyond the border and show emptiness there, a mark that a network would learn "
            "first. "
            "The upper left corner "
            "may be at most at height - side and width - side.",
            _cut(place=_sticking_out),
            recognise=_where(lambda b: b.inside.min() < 0.99),
        ),
        Mistake(
            "pushed in at the border",
            "The corner is drawn from the whole picture, and what sticks out is pushed back: the lower "
            "right border is shown far too "
            "often. Draw from the room that the crop leaves.",
            _cut(place=_pushed_in),
            recognise=_where(lambda b: _touching(b.across()) > 0.12),
        ),
        Mistake(
            "part of the picture is never shown",
            "Some places are never reached. The corner goes from 0 to width - side and to height - side.",
            _cut(place=lambda down, across: tuple(v // 2 for v in _anywhere(down, across))),
            recognise=_where(
                lambda b: (
                    b.across().max() < 0.9
                    or b.across().min() > 0.1
                    or b.down().max() < 0.9
                    or b.down().min() > 0.1
                )
            ),
        ),
        Mistake(
            "area is not heeded",
            "The crops' sizes are the same whatever `area` says. The shares go from area[0] to area[1].",
            _cut(share=lambda area: float(torch.rand(()))),
            recognise=_ignores_area,
        ),
        Mistake(
            "the side is drawn, not the area",
            "The side is drawn evenly. It is the share of the *area* that is even: the side goes "
            "with its square root.",
            _cut(share=lambda area: (area[0] + (area[1] - area[0]) * float(torch.rand(()))) ** 2),
            (
                _cut(
                    share=lambda area: (
                        (area[0] ** 0.5 + (area[1] ** 0.5 - area[0] ** 0.5) * float(torch.rand(()))) ** 2
                    )
                ),
            ),
            recognise=_side_drawn,
        ),
        Mistake(
            "not shrunk",
            "The crops come as they were cut, each in its own size, and cannot be one batch. Bring each to "
            "size x size: "
            'F.interpolate(crop[None], (size, size), mode="bilinear", antialias=True).',
            _cut(shrink=lambda crop, size: crop, finish=list),
            recognise=_of_many_sizes,
        ),
        Mistake(
            "out of range",
            "The numbers leave 0 to 1, or are no floats. The picture holds 0 to 1 already: no factor of "
            "255, and "
            "clamp(0, 1) where the "
            "interpolation overshoots.",
            _cut(finish=lambda out: (torch.stack(out) * 255).round()),
            (
                _cut(finish=lambda out: (torch.stack(out) * 255).to(torch.uint8)),
                _cut(finish=lambda out: torch.stack(out) * 2 - 1),
            ),
            recognise=_not_in_range,
        ),
        Mistake(
            "channels last",
            (
                "The crops are (n, size, size, 3). Networks take (n, 3, size, size): leave the channels in "
                "front."
            ),
            _cut(finish=lambda out: torch.stack(out).permute(0, 2, 3, 1)),
            recognise=_axes_elsewhere,
        ),
    ),
    lambda f, g: (
        False
    ),  # answers draw their random numbers in different ways: they are told apart by where their crops lie
    (
        (
            "A share from area[0] to area[1], drawn evenly; the side of the square is its root times the "
            "picture's shorter side."
        ),
        "The corner: torch.randint(width - side + 1, ()) and torch.randint(height - side + 1, ()). Then "
        "cut, picture[:, top:top + side, "
        "left:left + side].",
        (
            'F.interpolate(crop[None], (size, size), mode="bilinear", antialias=True) shrinks; torch.cat of '
            "all crops is the batch."
        ),
    ),
)


# -------------------------------------------------------------------------------------------- the Gram matrix


def _maps(*seed: int, shape=(3, 4, 5, 6)) -> Tensor:
    """Maps with a mean that is not 0 and a width that is not their height."""
    return torch.randn(shape, generator=generator(*seed), dtype=torch.float64) + 0.7


def _slow(maps: Tensor) -> Tensor:
    """Place by place and channel by channel."""
    b, c, h, w = maps.shape
    rows = []
    for x in maps:
        total = sum(x[:, i, j][:, None] * x[:, i, j][None, :] for i in range(h) for j in range(w))
        rows.append(total / (h * w))
    return torch.stack(rows)


def _gram_properties(f: Callable, seed: int) -> None:
    for shape in ((3, 4, 5, 6), (1, 6, 3, 3), (2, 3, 8, 4)):
        maps = _maps(seed, 20, *shape, shape=shape)
        kept, right = maps.clone(), _slow(maps)
        got = f(maps)
        if not isinstance(got, Tensor):
            raise NotYet("what it returns", "a tensor", type(got).__name__)
        if got.shape != right.shape:
            raise NotYet(f"the shape for maps {tuple(shape)}", tuple(right.shape), tuple(got.shape))
        if not torch.allclose(got, right, atol=1e-8):
            b, i, j = ((got - right).abs() == (got - right).abs().max()).nonzero()[0].tolist()
            raise NotYet(
                f"maps {tuple(shape)}: picture {b}, channels {i} and {j}",
                f"{right[b, i, j]:.3f}",
                f"{got[b, i, j]:.3f}",
            )
        if not torch.equal(maps, kept):
            raise NotYet("the maps after the call", "unchanged", "changed")
    maps = _maps(seed, 21)
    (mine,) = slopes(lambda x: f(x).square().sum(), (maps,))
    (known,) = zeros_for_none(slopes(lambda x: _slow(x).square().sum(), (maps,)), (maps,))
    if mine is None or not torch.allclose(mine, known, atol=1e-8):
        raise NotYet(
            "the gradient that reaches the maps; its length",
            f"{float(known.norm()):.3f}",
            "none" if mine is None else f"{float(mine.norm()):.3f}",
        )


def _gram_same(f: Callable, g: Callable, seed: int) -> bool:
    for shape in ((3, 4, 5, 6), (2, 3, 8, 4)):
        x, y = (_maps(seed, 22, *shape, shape=shape).requires_grad_() for _ in range(2))
        mine, theirs = f(x), g(y)
        if (
            mine.shape != theirs.shape
            or mine.requires_grad != theirs.requires_grad
            or not torch.allclose(mine, theirs, rtol=1e-6)
        ):
            return False
    return True


def _factor(f: Callable, seed: int) -> set:
    """Which simple factors of (c, h, w) explain an answer of the right shape on two kinds of maps."""
    candidates = {
        "hw": lambda c, h, w: h * w,
        "1/c": lambda c, h, w: 1 / c,
        "1/hw": lambda c, h, w: 1 / (h * w),
        "h": lambda c, h, w: h,
        "w": lambda c, h, w: w,
        "hw/c": lambda c, h, w: h * w / c,
        "root": lambda c, h, w: (h * w) ** 0.5,
    }
    alive = set(candidates)
    for shape in ((3, 4, 5, 6), (2, 3, 8, 4)):
        maps = _maps(seed, 23, *shape, shape=shape)
        got, right = f(maps), _slow(maps)
        if got.shape != right.shape:
            return set()
        alive = {
            name for name in alive if torch.allclose(got, right * candidates[name](*shape[1:]), rtol=1e-6)
        }
    return alive


def _flat(maps: Tensor) -> Tensor:
    return maps.flatten(2)


GRAM = Exercise(
    "single_image.gram",
    style_transfer.gram,
    _gram_properties,
    (
        Mistake(
            "a sum over the places",
            "It is the sum over all places (or not divided by all of them). Divide by h * w, or pictures of "
            "different size cannot be "
            "compared.",
            lambda m: _flat(m) @ _flat(m).mT,
            recognise=lambda f, seed: bool(_factor(f, seed) & {"hw", "h", "w", "root"}),
        ),
        Mistake(
            "divided by too much",
            "Divided by more than the number of places. Only the h * w places are averaged; the channels are "
            "what is compared.",
            lambda m: _flat(m) @ _flat(m).mT / m[0].numel(),
            (lambda m: _flat(m) @ _flat(m).mT / m.numel(),),
            recognise=lambda f, seed: bool(_factor(f, seed) & {"1/c", "1/hw", "hw/c"}),
        ),
        Mistake(
            "places by places",
            "This compares places with each other, (b, h w, h w): it keeps the layout and forgets the "
            "features. "
            "The places are summed "
            "away, the channels stay: f @ f.transpose(1, 2).",
            lambda m: _flat(m).mT @ _flat(m) / m.shape[1],
            (lambda m: _flat(m).mT @ _flat(m), lambda m: _flat(m).mT @ _flat(m) / _flat(m).shape[2]),
        ),
        Mistake(
            "pictures are mixed",
            "The channels of all pictures are compared with each other, or one matrix is made for all. Each "
            "picture has its own matrix, "
            "(b, c, c).",
            lambda m: m.flatten(0, 1).flatten(1) @ m.flatten(0, 1).flatten(1).T / m[0, 0].numel(),
            (
                lambda m: style_transfer.gram(m).mean(0),
                lambda m: style_transfer.gram(m).sum(0),
                lambda m: style_transfer.gram(m).mean(0, keepdim=True).expand(len(m), -1, -1),
                lambda m: m.flatten(0, 1).flatten(1) @ m.flatten(0, 1).flatten(1).T,
            ),
        ),
        Mistake(
            "the means are removed",
            "This is the covariance. How strong a feature is on average belongs to the texture: do not "
            "subtract the mean.",
            lambda m: style_transfer.gram(m - m.mean((2, 3), keepdim=True)),
            (
                lambda m: style_transfer.gram(m - m.mean((1, 2, 3), keepdim=True)),
                lambda m: torch.stack([torch.cov(x) for x in _flat(m)]),
            ),
        ),
        Mistake(
            "cosines",
            (
                "The maps are scaled to length 1 first, so it no longer says how strong a feature is. "
                "Multiply "
                "them as they are."
            ),
            lambda m: F.normalize(_flat(m), dim=2) @ F.normalize(_flat(m), dim=2).mT,
            (
                lambda m: torch.stack([torch.corrcoef(x) for x in _flat(m)]),
                lambda m: style_transfer.gram(F.normalize(m, dim=1)),
            ),
        ),
        Mistake(
            "averaged before the product",
            "The maps are averaged over the places first, and then multiplied. Whether two features "
            "occur at the *same* place is "
            "lost. Multiply place by place, then average.",
            lambda m: m.mean((2, 3))[:, :, None] * m.mean((2, 3))[:, None, :],
        ),
        Mistake(
            "each channel with itself only",
            "Only the diagonal: how strong each feature is, not which occur together.",
            lambda m: m.square().mean((2, 3)),
            (lambda m: torch.diag_embed(m.square().mean((2, 3))), lambda m: m.square().sum((2, 3))),
        ),
        Mistake(
            "reshaped for transposed",
            "view or reshape to (b, h w, c) does not swap the axes: it cuts the row of numbers elsewhere "
            "and mixes channels with "
            "places. Use flatten(2), and transpose(1, 2) for the second factor.",
            lambda m: (
                m.reshape(len(m), -1, m.shape[1]).mT @ m.reshape(len(m), -1, m.shape[1]) / m[0, 0].numel()
            ),
            (
                lambda m: _flat(m) @ m.reshape(len(m), -1, m.shape[1]) / m[0, 0].numel(),
                lambda m: _flat(m) @ m.reshape(len(m), -1, m.shape[1]),
                lambda m: m.reshape(len(m), -1, m.shape[1]).mT @ m.reshape(len(m), -1, m.shape[1]),
            ),
        ),
        Mistake(
            "no gradient",
            "The values are right, but no gradient reaches the maps: the picture could not be changed by "
            "it. No detach, "
            "no torch.tensor, no "
            "torch.no_grad.",
            lambda m: style_transfer.gram(m.detach()),
        ),
    ),
    _gram_same,
    (
        "maps.flatten(2) is (b, c, h w): one row for each channel, one column for each place.",
        "The product of that with its transpose sums over the places: f @ f.transpose(1, 2) is (b, c, c).",
        "f = maps.flatten(2); return f @ f.transpose(1, 2) / f.shape[2]",
    ),
)


register(CROPS, GRAM)
assign(
    Assignment(
        "05_single_image", (Task("single_image.crops", "my_crops"), Task("single_image.gram", "my_gram"))
    )
)
