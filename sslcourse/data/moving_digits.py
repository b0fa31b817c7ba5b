"""Moving Digits: real handwriting that drifts over black and bounces off the borders.

Srivastava, Mansimov and Salakhutdinov made Moving MNIST for their video LSTMs (ICML 2015, arXiv:1502.04681,
section 4.1): digits of 28 pixels on a canvas of 64, a constant speed in a random direction, reflection at the
borders, and the brighter of two digits where they overlap. `videos(rule="mnist")` moves digits as the
authors' code does; `rule="own"` lets them move by fractions of a pixel, each at a speed of its own, and turns
them round where their ink, and not their box, meets the border.

Without a download the handwriting is scikit-learn's (8 x 8, interpolated). With MNIST prepared (`sslcourse
data mnist`) pass `source=images.mnist()`, with `size=64` for the authors' own proportions."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse.data.datasets import Data, Samples, open_labels
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import SEED, WHOLE, takes

STEP = 0.1  # of the room that a digit has, per frame: the authors' step_length
_SHARE = 28 / 64  # of the canvas that a digit takes along a side, as in Moving MNIST
_SPLIT_ID = {"train": 0, "validation": 1, "test": 2}


@takes(
    train=WHOLE,
    validation=WHOLE,
    test=WHOLE,
    size=WHOLE,
    frames=WHOLE,
    digits=WHOLE,
    seed=SEED,
)
def videos(
    train: int = 1200,
    validation: int = 300,
    test: int = 600,
    *,
    frames: int = 16,
    size: int = 32,
    digits: int = 1,
    rule: str = "own",
    speed: tuple[float, float] = (0.8, 2.2),
    source: Data | None = None,
    seed: int = 0,
) -> Data:
    """Films of digits in motion, in three splits that share no film; each takes its digits from its own split
    of the source.

    Args:
        train, validation, test: how many films.
        frames: of each film, 2 to 200.
        size: pixels along a side, 16 to 128; a digit takes 28/64 of it, as in Moving MNIST.
        digits: how many in each film, 1 to 3.
        rule: "own", or "mnist" for that of the authors' code: all digits equally fast, whole pixels, their
            boxes bounce.
        speed: slowest and fastest, in pixels per frame; of `rule="own"` only.
        source: pictures of digits with labels (`images.digits()` where left out).
        seed: of everything.

    Returns: `Data` of kind video, grey as three equal channels. The label is the digit; of several, the first
        one. Factors: `digit`, `x`, `y` (where it is in the last frame, 0 to 1 of its room), `dx`, `dy` (how
        it moves there, in pixels per frame).
    """
    for name, value, low, high in (
        ("frames", frames, 2, 200),
        ("size", size, 16, 128),
        ("digits", digits, 1, 3),
    ):
        if not low <= value <= high:
            raise CourseError(f"{name}={value}; choose {low} to {high}")
    if rule not in ("own", "mnist"):
        raise CourseError(f"rule={rule!r}; choose 'own' or 'mnist'")
    side = round(size * _SHARE)
    if len(speed) != 2 or not 0 <= speed[0] <= speed[1] <= size - side:
        raise CourseError(
            f"speed={speed}; give the slowest and the fastest in pixels per frame, at most {size - side}"
        )
    if source is None:
        from sslcourse.data import images

        source = images.digits(side)
    parts = []
    for split, n in (("train", train), ("validation", validation), ("test", test)):
        parts.append(_films(getattr(source, split), n, split, frames, size, side, digits, rule, speed, seed))
    return Data(*parts)


def _films(
    source: Samples,
    n: int,
    split: str,
    frames: int,
    size: int,
    side: int,
    digits: int,
    rule: str,
    speed,
    seed: int,
) -> Samples:
    if n < 1:
        raise CourseError(f"{split}={n}; ask for at least one film")
    rng = np.random.default_rng([seed, _SPLIT_ID[split], 0x3D1])
    # The labels of a test split are sealed; those of the films made of it are sealed again.
    label = open_labels(source, "moving_digits.videos")[0] if split == "test" else source.label
    which = torch.from_numpy(rng.integers(len(source), size=(n, digits)))
    ink = source.image[which.flatten(), 0].float()[:, None] / 255  # (n * K, 1, s, s)
    if ink.shape[-1] != side:
        ink = F.interpolate(ink, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    place = (
        _mnist_paths(rng, n * digits, frames) * (size - side)
        if rule == "mnist"
        else _own_paths(rng, ink[:, 0], frames, size, speed)
    )
    pixel = place.floor() if rule == "mnist" else place  # the authors cut to whole pixels
    films = torch.zeros(n, frames, size, size)
    for k in range(digits):
        shown = _put(ink.view(n, digits, side, side)[:, k], pixel.view(n, digits, frames, 2)[:, k], size)
        films = torch.maximum(films, shown)
    first = place.view(n, digits, frames, 2)[:, 0]
    digit, moved = label[which[:, 0]], first[:, -1] - first[:, -2]
    factors = {
        "digit": digit,
        "x": first[:, -1, 0] / (size - side),
        "y": first[:, -1, 1] / (size - side),
        "dx": moved[:, 0],
        "dy": moved[:, 1],
    }
    return Samples(
        video=(films * 255).round().to(torch.uint8),
        label=digit,
        classes=source.classes,
        factors=factors,
        factor_names={"digit": source.classes},
        split=split,
        name="moving digits",
    )


def _mnist_paths(rng: np.random.Generator, n: int, frames: int) -> Tensor:
    """(n, frames, 2) in the unit square: x and y of the upper left corner, by the rule of the authors' code.
    The first frame shows the
    digit after one step."""
    at, angle = rng.random((n, 2)), rng.uniform(0, 2 * math.pi, n)
    step = STEP * np.stack([np.cos(angle), np.sin(angle)], 1)
    places = []
    for _ in range(frames):
        at = at + step
        out = (at <= 0) | (at >= 1)
        at, step = at.clip(0, 1), np.where(out, -step, step)
        places.append(at)
    return torch.from_numpy(np.stack(places, 1)).float()


def _own_paths(
    rng: np.random.Generator, ink: Tensor, frames: int, size: int, speed: tuple[float, float]
) -> Tensor:
    """(n, frames, 2) in pixels: a straight path folded back where the digit's own ink meets the border."""
    n, side = len(ink), ink.shape[-1]
    rows, columns = ink.amax(2) > 0.25, ink.amax(1) > 0.25  # (n, side)
    result = []
    angle, pace = rng.uniform(0, 2 * math.pi, n), rng.uniform(*speed, n)
    for seen, part in ((columns, np.cos(angle)), (rows, np.sin(angle))):
        first = seen.to(torch.uint8).argmax(1).numpy().astype(np.float64)
        last = side - seen.flip(1).to(torch.uint8).argmax(1).numpy().astype(np.float64)
        low, high = -first, size - last  # of the box, so that the ink stays inside
        room = high - low
        straight = rng.random(n)[:, None] * room[:, None] + (pace * part)[:, None] * np.arange(frames)
        folded = room[:, None] - np.abs(straight % (2 * room[:, None]) - room[:, None])
        result.append(folded + low[:, None])
    return torch.from_numpy(np.stack(result, 2)).float()


def _put(ink: Tensor, place: Tensor, size: int) -> Tensor:
    """Pictures (n, s, s) pasted at places (n, T, 2) of a black canvas: (n, T, size, size), linear between
    pixels.
    """
    side = ink.shape[-1]
    axis = torch.arange(size).float()

    # Each canvas pixel asks where in the picture it lies; a matrix of hat functions per axis does both axes
    # at once.
    def weights(corner: Tensor) -> Tensor:  # (n, T) -> (n, T, size, s)
        return (1 - (axis[:, None] - corner[..., None, None] - torch.arange(side)).abs()).clamp_min(0)

    return torch.einsum("ntyi,nij,ntxj->ntyx", weights(place[..., 1]), ink, weights(place[..., 0]))
