"""A training set cut out of one photograph: crops of all sizes, turned, sheared, mirrored and recoloured.

    single_image("china", n=6000)            6,000 samples from one of scikit-learn's photographs
    single_image("holiday.jpg")              from your own
    crops_of(data.train.take(slice(0, 10)))  the same from ten pictures ("deka"), or a thousand ("kilo"), ...
    conditions(data.train)                   all four of the paper, with equally many pictures in each

Asano, Rupprecht and Vedaldi. A Critical Analysis of Self-supervision, or What We Can Learn from a Single
Image. ICLR 2020. arXiv:1904.13132.                                  Notebook: 05_single_image

The authors' pipeline                                       here
    a square of half the shorter side, at a random place        Distortion.window
    a random share of it, 1/500 to 1, of aspect 3/4 to 4/3      Distortion.area, aspect; from 1/100, see below
    turned and sheared by up to 30 degrees each                 Distortion.rotation, shear
    the middle 1/sqrt(2) of that, so that no corner is empty    the same
    colour jitter with probability 1/2                          Distortion.jitter, strength, hue
    a horizontal flip, left to the pre-training code            Distortion.flip

Departures, all because our crops have 32 pixels and not 256: no crop enlarges the photograph more than twice,
so the smallest share grows where the source is small, and a source of fewer than 4 x 32 pixels gives windows
of 64 pixels or all of it. Cropping, turning and shearing are one lookup in a picture of a fitting resolution,
instead of two interpolations; where a sheared crop reaches beyond its box it shows the photograph, and beyond
the photograph its mirror image, where the authors' show black."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse import runtime
from sslcourse.data import folders
from sslcourse.data.datasets import Samples
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import REAL, SEED, WHOLE, takes
from sslcourse.runtime.shapes import explained
from sslcourse.transforms import augment

PHOTOGRAPHS = ("china", "flower")  # they come with scikit-learn: a busy one and a plain one, 640 x 427 pixels
LONGEST = 4096  # of a photograph's side in pixels; longer ones are scaled down when they are read


@dataclass(frozen=True)
class Distortion:
    """What is drawn anew for every crop.

    Args:
        window: side of the first square as a share of the photograph's shorter side, above 0 and up to 1.
        area: range of the crop's share of that square.
        aspect: range of its width over its height, drawn on a logarithmic scale.
        rotation, shear: greatest angle either way, in degrees, 0 to 45.
        flip: probability of a mirror image.
        jitter: probability of another brightness, contrast, saturation and hue.
        strength: brightness, contrast and saturation by a factor of 1 - strength to 1 + strength.
        hue: greatest turn of the colour wheel either way, 0 to 0.5 of a full turn.
        placed: at random; False takes the middle every time.
    """

    window: float = 0.5
    area: tuple[float, float] = (0.01, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    rotation: float = 30.0
    shear: float = 30.0
    flip: float = 0.5
    jitter: float = 0.5
    strength: float = 0.4
    hue: float = 0.1
    placed: bool = True

    def __post_init__(self):
        for name in ("window", "rotation", "shear", "flip", "jitter", "strength", "hue"):
            REAL.of(getattr(self, name), name)
        if not 0 < self.window <= 1:
            raise CourseError(f"window={self.window}; it is a share of the shorter side: above 0 and up to 1")
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise CourseError(f"area={tuple(self.area)}; give two shares of the window, such as (0.01, 1.0)")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise CourseError(
                f"aspect={tuple(self.aspect)}; give the smallest and the greatest width over height, such as "
                "(0.75, 1.33)"
            )
        for name in ("rotation", "shear"):
            if not 0 <= getattr(self, name) <= 45:
                raise CourseError(f"{name}={getattr(self, name)}; an angle from 0 to 45 degrees")
        for name, most in (("flip", 1), ("jitter", 1), ("strength", 1), ("hue", 0.5)):
            if not 0 <= getattr(self, name) <= most:
                raise CourseError(f"{name}={getattr(self, name)}; a number from 0 to {most}")

    def but(self, **changes) -> Distortion:
        """The same with some fields changed: `HEAVY.but(rotation=0)`."""
        return replace(self, **changes)


HEAVY = Distortion()  # the paper's, as far as 32 pixels allow
CROPS = HEAVY.but(rotation=0.0, shear=0.0, jitter=0.0)  # place, scale and mirror image alone
WEAK = CROPS.but(window=1.0, area=(0.9, 1.0), aspect=(1.0, 1.0))  # nearly the whole photograph every time
# the middle of the photograph, again and again
NONE = Distortion(1.0, (1.0, 1.0), (1.0, 1.0), 0.0, 0.0, 0.0, 0.0, placed=False)


# ---------------------------------------------------------------------------------------------- photographs


@explained
def photograph(picture: str | Path | np.ndarray | Tensor = "china") -> Tensor:
    """One picture of any size as (3, H, W) uint8.

    Args:
        picture: "china" or "flower" (scikit-learn's), the path of a file, or an array (H, W, 3), (H, W) or
            (3, H, W), uint8 or float 0..1.

    Raises:
        CourseError: there is no such file, it is no picture, or the array has another shape, type or range.
    """
    if isinstance(picture, (str, Path)):
        if str(picture) in PHOTOGRAPHS:
            from sklearn.datasets import load_sample_image

            return torch.from_numpy(load_sample_image(f"{picture}.jpg").copy()).permute(2, 0, 1).contiguous()
        return _read(Path(picture).expanduser())
    if not isinstance(picture, (np.ndarray, Tensor)):
        raise CourseError(
            f"a picture of type {type(picture).__name__}; pass 'china', 'flower', the path of a file, or "
            "an array (H, W, 3)"
        )
    if picture.ndim not in (2, 3):
        raise CourseError(
            f"a picture of shape {tuple(picture.shape)}; expected (H, W, 3) or (3, H, W): of several "
            "pictures take one, x[0]"
        )
    return Samples(picture[None]).image[0]


def _read(file: Path) -> Tensor:
    if not file.is_file():
        raise CourseError(
            f"there is no picture {str(file)!r}; give the path of a file, or one of {', '.join(PHOTOGRAPHS)}"
        )
    try:
        with folders.readable(file) as image:
            image = folders.to_rgb(folders.upright(image))
            image.thumbnail((LONGEST, LONGEST))  # only ever smaller
            return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).contiguous()
    except folders.Unusable as reason:
        raise CourseError(
            f"{file.name} cannot be read as a picture ({reason}); save it as .jpg or .png, not too large, "
            f"and "
            "try that"
        ) from None


# ---------------------------------------------------------------------------------------------- crops


@explained
@takes(n=WHOLE, size=WHOLE, seed=SEED)
def single_image(
    picture: str | Path | np.ndarray | Tensor = "china",
    n: int = 6000,
    *,
    size: int = 32,
    seed: int = 0,
    distortion: Distortion = HEAVY,
) -> Samples:
    """A training set out of one picture: `n` distorted crops, as `crops_of` draws them ("mono" in the paper).

    Args:
        picture: as for `photograph`.

    A second for 6,000 crops on one thread, and the same crops for the same seed: nothing needs to be kept on
    disk."""
    name = str(picture) if isinstance(picture, (str, Path)) else "picture"
    return crops_of(
        [photograph(picture)],
        n,
        size=size,
        seed=seed,
        distortion=distortion,
        name=f"{n:,} crops of {Path(name).name}",
    )


@explained
@takes(n=WHOLE, size=WHOLE, seed=SEED)
def crops_of(
    pictures: Sequence | Tensor | Samples,
    n: int = 6000,
    *,
    size: int = 32,
    seed: int = 0,
    distortion: Distortion = HEAVY,
    name: str = "",
) -> Samples:
    """`n` distorted crops of some pictures, each picture as often as the others, in random order.

    Args:
        pictures: a list of pictures as for `photograph`, a tensor (N, 3, H, W), or a data set, whose labels
            are not read.
        n: how many crops.
        size: their side in pixels.
        distortion: what is drawn for each crop.

    Returns:
        Unlabelled samples; the factor `source` says which picture a crop comes from.
    """
    sources, n = _sources(pictures, size), _whole(n, "n", 1)
    name = name or f"{n:,} crops of {len(sources):,} pictures"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(runtime.step_seed(seed, 0x51E))
        source = torch.arange(n) % len(sources)
        source = source[torch.randperm(n)]
        out = torch.empty(n, 3, size, size, dtype=torch.uint8)
        for i, picture in enumerate(sources):
            mine = (source == i).nonzero().squeeze(1)
            if len(mine):
                out[mine] = _drawn(picture, len(mine), size, distortion)
    return Samples(out, factors={"source": source}, name=name)


@explained
def conditions(
    pictures: Samples,
    picture: str | Path | np.ndarray | Tensor = "china",
    n: int | None = None,
    *,
    seed: int = 0,
    distortion: Distortion = HEAVY,
) -> dict[str, Samples]:
    """The paper's four training sets, of `n` pictures each, so that all trainings have the same steps.

    Args:
        pictures: a training split; its labels are not read.
        picture: the one photograph, as for `photograph`.
        n: pictures in each; by default as many as there are.

    Returns: "mono": crops of the photograph; "deka" and "kilo": crops of 10 and 1,000 of the pictures;
        "full": the first n pictures as they are (the pre-training's own augmentation is all that varies them,
        as in the paper). "kilo" is there only where there are more than 1,000.
    """
    n = len(pictures) if n is None else _whole(n, "n", 1)
    if n > len(pictures):
        raise CourseError(f"n={n}; the full set has {len(pictures)} pictures, take at most so many")
    size = pictures.image.shape[-1]
    drawn: dict[str, Any] = dict(size=size, seed=seed, distortion=distortion)
    sets = {"mono": single_image(picture, n, **drawn)}
    for name, count in (("deka", 10), ("kilo", 1000)):
        if count < len(pictures):
            sets[name] = crops_of(
                pictures.image[:count].cpu(), n, **drawn, name=f"{n:,} crops of {count:,} pictures"
            )
    return {**sets, "full": pictures.take(slice(0, n)).unlabelled()}


@explained
def square_crops(picture: Tensor, n: int, size: int = 32, area: tuple[float, float] = (0.01, 1.0)) -> Tensor:
    """The heart of it in a dozen lines: squares of random area at random places, each shrunk to size x size.

    Args:
        picture: (3, H, W), float 0 to 1.
        area: range of a square's share of the largest square that fits, drawn uniformly.

    Returns (n, 3, size, size), float 0 to 1.
    """
    height, width = picture.shape[1:]
    crops = []
    for _ in range(n):
        share = area[0] + (area[1] - area[0]) * float(torch.rand(()))
        side = max(1, round(share**0.5 * min(height, width)))  # the area is drawn: the side is its root
        left, top = (int(torch.randint(room - side + 1, ())) for room in (width, height))
        crop = picture[None, :, top : top + side, left : left + side]
        crops.append(F.interpolate(crop, (size, size), mode="bilinear", antialias=True))
    return torch.cat(crops).clamp(0, 1)


def _whole(value, name: str, least: int) -> int:
    whole = runtime.as_whole(value)
    if whole is None or whole < least:
        raise CourseError(f"{name}={value!r}; pass a whole number from {least}")
    return whole


def _sources(pictures, size: int) -> list[Tensor]:
    if isinstance(pictures, (str, Path)):
        raise CourseError(
            f"pictures={str(pictures)!r} is one picture; type single_image({str(pictures)!r}), or pass a list"
        )
    if isinstance(pictures, Samples):
        pictures = pictures.image
    sources = [photograph(p) for p in pictures]
    if not sources:
        raise CourseError("there is no picture to cut crops out of: the list is empty")
    size = _whole(size, "size", 8)
    for source in sources:
        if min(source.shape[1:]) < size:
            h, w = source.shape[1:]
            raise CourseError(
                f"a picture of {w} x {h} pixels is smaller than a crop of {size}; use a larger one, 4 x "
                f"{size} pixels or more"
            )
    return sources


def _drawn(picture: Tensor, n: int, size: int, distortion: Distortion) -> Tensor:
    at, flip = corners(picture.shape[1], picture.shape[2], n, size, distortion)
    out = lookup(picture, at, size, flip)
    if distortion.jitter and (distortion.strength or distortion.hue):
        s = distortion.strength
        # In blocks: they stay in the processor's cache, and the order of the four operations is drawn for
        # each.
        out = torch.cat(
            [
                augment.colour_jitter(part, s, s, s, distortion.hue, distortion.jitter)
                for part in out.split(128)
            ]
        )
    return (out * 255).round().to(torch.uint8)


def boxes(height: int, width: int, n: int, size: int, distortion: Distortion = HEAVY) -> Tensor:
    """(n, 4) left, top, width, height of random boxes inside a picture: first a square window, then a share
    of it.

    A box that would not fit into its window is drawn again until it does. (torchvision's fall-back, the
    middle of the picture, would show the middle too often.)"""
    shorter = min(height, width)
    side = max(distortion.window * shorter, min(shorter, 2 * size))  # (see the head of this file)
    low, high = distortion.area
    low = min(high, max(low, (size / 2 / side) ** 2))
    box = torch.empty(n, 2)
    left = torch.arange(n)
    while len(left):
        share = torch.rand(len(left)) * (high - low) + low
        ratio = torch.exp(
            torch.rand(len(left)) * math.log(distortion.aspect[1] / distortion.aspect[0])
            + math.log(distortion.aspect[0])
        )
        box[left] = side * torch.stack([(share * ratio).sqrt(), (share / ratio).sqrt()], 1)
        left = left[(box[left] > side * (1 + 1e-6)).any(1)]
    place = torch.rand(n, 4) if distortion.placed else torch.full((n, 4), 0.5)
    window = place[:, :2] * torch.tensor([width - side, height - side])
    return torch.cat([window + place[:, 2:] * (side - box), box], 1)


def corners(
    height: int, width: int, n: int, size: int, distortion: Distortion = HEAVY
) -> tuple[Tensor, Tensor]:
    """Where random crops lie: (n, 2, 3) maps of a crop's coordinates (-1 to 1, x before y, and 1) to the
    picture's pixels; (n,) whether mirrored.
    """
    box = boxes(height, width, n, size, distortion)
    angle, shear = (
        (torch.rand(n) * 2 - 1) * math.radians(most) for most in (distortion.rotation, distortion.shear)
    )
    flip = torch.rand(n) < distortion.flip
    # A square turned about its middle stays within the circle through its corners: sqrt(2) times smaller, it
    # never leaves its box.
    inner = math.sqrt(0.5) if distortion.rotation or distortion.shear else 1.0
    half = box[:, 2:] / 2 * inner
    cos, sin, tan = angle.cos(), angle.sin(), shear.tan()
    # rotation @ shear
    turned = torch.stack([torch.stack([cos, -cos * tan - sin], 1), torch.stack([sin, cos - sin * tan], 1)], 1)
    middle = box[:, :2] + box[:, 2:] / 2
    return torch.cat([half[:, :, None] * turned, middle[:, :, None]], 2), flip


@explained
def lookup(picture: Tensor, at: Tensor, size: int, flip: Tensor | None = None) -> Tensor:
    """The crops (n, 3, size, size), float 0 to 1, that `corners` describes.

    Bilinear, in the picture halved as often as a step of one pixel in the crop asks for: taking single pixels
    of the full picture would make patterns that are not in it."""
    level = (at[:, :, :2].det().abs().sqrt() * 2 / size).log2().round().clamp(0, 12).long()
    axis = (torch.arange(size) * 2 + 1) / size - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([x, y, torch.ones_like(x)], -1).flatten(0, 1)  # (size * size, 3)
    extent = torch.tensor([picture.shape[2], picture.shape[1]])
    out = torch.empty(len(at), 3, size, size)
    source = picture[None].float() / 255
    for step in range(int(level.max()) + 1):
        if step and min(source.shape[2:]) > 1:
            half = [math.ceil(side / 2) for side in source.shape[2:]]
            source = F.interpolate(source, half, mode="bilinear", antialias=True, align_corners=False)
        for mine in (level == step).nonzero().squeeze(1).split(512):
            places = grid @ at[mine].transpose(1, 2) / extent * 2 - 1  # (m, size * size, 2)
            found = F.grid_sample(
                source, places[None], mode="bilinear", padding_mode="reflection", align_corners=False
            )  # one picture, many places
            out[mine] = found[0].unflatten(2, (size, size)).transpose(0, 1)
    if flip is not None:
        out = torch.where(flip[:, None, None, None], out.flip(3), out)
    return out.clamp_(0, 1)
