"""Silent films of the toybox, many at a time: `videos()` with motion classes, `tracks()` with everything that
a tracker is judged by.

Motion classes. A large and a small solid go round, each on a loop of its own, clockwise or counter-clockwise:
four classes. A film that runs backwards shows the very same frames, and the same differences between
neighbours but for their sign, and has both senses turned round. What is more, the two loops have nothing to
do with each other, so one sense can be turned round alone and frames, their average and the average size of
their differences stay what they were, but for the moments at which one solid covers the other. So none of
these tells the class; a linear probe and a small CNN find none either (`tests/test_films_data.py`). With more
than one sense on the same path this would not hold: a solid that also grew while it travelled would leave a
trail that says which way growth and travel go together.

Tracks. Several solids go straight between walls and spin; the later ones pass in front of the earlier. What
is true about each film can be had exactly: masks, key-points, boxes, how much of each solid is hidden, flow,
and where on a solid each pixel lies (`truth`).

Lengths inside are in halves of a picture, y up, as everywhere in the toybox; what is handed out is in pixels,
x to the right and y down from the outer corner of the first pixel."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sslcourse.data.datasets import Data, Samples
from sslcourse.data.toybox import disk_cache, world
from sslcourse.data.toybox.solids import NAMES
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import REAL, SEED, SHARE, WHOLE, takes
from sslcourse.runtime.shapes import explained

WAYS = ("clockwise", "counter-clockwise")
MOTIONS = tuple(f"large {a}, small {b}" for a, b in itertools.product(("cw", "ccw"), repeat=2))
# key-points of a solid: its centre and four that turn with it
POINTS = ("centre", "first", "second", "third", "fourth")

_RADIUS = 0.85  # of a solid of size 1, in halves of a picture (see `world`)
# of the radius: how far from the centre the four key-points sit, inside of every solid's outline in most
# poses
_ARM = 0.55
GROUND_CELLS = 6  # cells along a side of the ground's noise; it repeats after so many
_CHUNK = 64  # films drawn at once
_SPLIT_ID = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True, eq=False)
class Scenes:
    """N films of K solids, as numbers. `pose(t)` gives for times t (T,), in frames, (N, K, T) arrays "x",
    "y", "roll", "size".
    """

    looks: dict[str, Tensor]  # (N, K): shape, pattern, hue, saturation, yaw, pitch
    # (N,): light, ground, ground_hue, speckle; grain (N, 6, 6, 3); floor (N,): where it begins, if there is
    # one
    ground: dict[str, Tensor]
    drift: Tensor  # (N, 2): of the ground in halves of a picture per frame, x and y (up)
    gain: Callable[[Tensor], Tensor]  # times (T,) -> (N, T) brightness
    pose: Callable[[Tensor], dict[str, Tensor]]
    columns: dict[str, Tensor]  # (N,): what is known about each film

    def __len__(self):
        return len(self.drift)


# ---------------------------------------------------------------------------------------------- draws


class Draws:
    """Random numbers, one row per film, so that the first films are the same whatever their number is."""

    def __init__(self, n: int, seed: int, split: str, stream: int, columns: int):
        if n < 1:
            raise CourseError(f"n={n}; ask for at least one film")
        if split not in _SPLIT_ID:
            raise CourseError(f"split={split!r} is none of {', '.join(_SPLIT_ID)}")
        self.n = n
        self.u = np.random.default_rng([seed, _SPLIT_ID[split], stream]).random(
            (n, columns), dtype=np.float32
        )
        self.at = 0

    def between(self, low: float, high: float, *shape: int) -> Tensor:
        """(N, *shape) uniform."""
        count = math.prod(shape)
        if self.at + count > self.u.shape[1]:
            raise AssertionError("more draws than columns")
        block = torch.from_numpy(self.u[:, self.at : self.at + count].copy()).view(self.n, *shape)
        self.at += count
        return low + (high - low) * block

    def below(self, count: int, *shape: int) -> Tensor:
        """(N, *shape) whole numbers from 0 to count - 1."""
        return self.between(0, count, *shape).long().clamp(max=count - 1)

    def sign(self, *shape: int) -> Tensor:
        return self.below(2, *shape).float() * 2 - 1


def appearance(draw: Draws, k: int, alike: bool = False) -> dict[str, Tensor]:
    """Every solid has a pattern: on a plain one neither spin nor places could be told."""
    hue = draw.between(0, 1, k)
    return {
        "shape": draw.below(len(NAMES), k),
        "pattern": 1 + draw.below(3, k),
        "hue": hue[:, :1].expand(-1, k) if alike else hue,
        "saturation": draw.between(0.6, 1, k),
        "yaw": draw.between(-0.6, 0.6, k),
        "pitch": draw.between(0.15, 0.75, k),
    }


def _grounds(draw: Draws, drift: float) -> tuple[dict[str, Tensor], Tensor]:
    way = draw.between(0, 2 * math.pi)
    speed = drift * draw.between(0.3, 1)
    ground = {
        "light": draw.between(5, 7),
        "ground_hue": draw.between(0, 1),
        "ground": draw.between(0.2, 0.8),
        "speckle": draw.below(2**24),
        "grain": draw.between(0, 1, GROUND_CELLS, GROUND_CELLS, 3),
    }
    return ground, torch.stack([speed * way.cos(), speed * way.sin()], 1)


def _gains(draw: Draws, gain: float) -> Callable[[Tensor], Tensor]:
    """Brightness that swings, each film at its own pace."""
    phase, pace = draw.between(0, 2 * math.pi), draw.between(0.5, 1.5)
    return lambda t: 1 + gain * (phase[:, None] + pace[:, None] * t).sin()


def _motions(n: int, seed: int, split: str, drift: float) -> Scenes:
    draw = Draws(n, seed, split, 0x71D, 170)
    looks = appearance(draw, 2)
    ground, moved = _grounds(draw, drift)
    way = draw.below(2, 2)  # of the large one and of the small one
    sense = 2 * way.float() - 1  # +1: counter-clockwise, y being up
    # (N, 2): told apart in every frame
    size = torch.stack([draw.between(0.36, 0.44), draw.between(0.19, 0.24)], 1)
    a, b, tilt = draw.between(0.28, 0.5, 2), draw.between(0.28, 0.5, 2), draw.between(0, math.pi, 2)
    room = (1 - 0.9 * _RADIUS * size - torch.maximum(a, b)).clamp_min(0)
    x, y = draw.between(-1, 1, 2) * room, draw.between(-1, 1, 2) * room
    pace, phase = draw.between(0.4, 0.7, 2), draw.between(0, 2 * math.pi, 2)  # radians per frame
    roll, spin = draw.between(0, 2 * math.pi, 2), draw.sign(2)
    turn = spin * draw.between(0.05, 0.2, 2)

    def pose(t: Tensor) -> dict[str, Tensor]:
        angle = phase[..., None] + (sense * pace)[..., None] * t
        u, v = a[..., None] * angle.cos(), b[..., None] * angle.sin()
        c, s = tilt.cos()[..., None], tilt.sin()[..., None]
        return {
            "x": x[..., None] + c * u - s * v,
            "y": y[..., None] + s * u + c * v,
            "roll": roll[..., None] + turn[..., None] * t,
            "size": size[..., None].expand(-1, -1, len(t)),
        }

    columns = {
        "large": way[:, 0],
        "small": way[:, 1],
        "shape": looks["shape"][:, 0],
        "hue": looks["hue"][:, 0],
        "x": x[:, 0],
        "y": y[:, 0],
        "size": size[:, 0],
        "pace": pace[:, 0],
        "spin": (spin[:, 0] > 0).long(),
        "ground_hue": ground["ground_hue"],
    }
    return Scenes(looks, ground, moved, lambda t: torch.ones(n, len(t)), pose, columns)


def _straight(
    n: int,
    seed: int,
    split: str,
    count: int,
    side: int,
    speed: tuple[float, float],
    radius: tuple[float, float],
    spin: float,
    scale: float,
    gain: float,
    drift: float,
    alike: bool,
) -> Scenes:
    draw = Draws(n, seed, split, 0x74C, 160 + 16 * count)
    looks = appearance(draw, count, alike)
    ground, moved = _grounds(draw, drift)
    gains = _gains(draw, gain)
    size = draw.between(*radius, count) / (side / 2) / _RADIUS  # (N, K)
    wall = (1 - _RADIUS * size * math.exp(scale)).clamp_min(0.05)
    x, y = draw.between(-1, 1, count) * wall, draw.between(-1, 1, count) * wall
    way, pace = draw.between(0, 2 * math.pi, count), draw.between(*speed, count) / (side / 2)
    roll, turn = draw.between(0, 2 * math.pi, count), draw.between(0.3, 1, count) * spin * draw.sign(count)
    swell, beat = draw.between(0, 2 * math.pi, count), draw.between(0.5, 1.1, count)

    def pose(t: Tensor) -> dict[str, Tensor]:
        def path(start, part):
            straight = start[..., None] + (pace * part)[..., None] * t
            period = 4 * wall[..., None]
            # folded back at the walls
            return ((straight - wall[..., None]) % period - 2 * wall[..., None]).abs() - wall[..., None]

        return {
            "x": path(x, way.cos()),
            "y": path(y, way.sin()),
            "roll": roll[..., None] + turn[..., None] * t,
            "size": size[..., None] * (scale * (swell[..., None] + beat[..., None] * t).sin()).exp(),
        }

    return Scenes(
        looks,
        ground,
        moved,
        gains,
        pose,
        {"speed": pace.mean(1) * side / 2, "shape": looks["shape"][:, -1], "hue": looks["hue"][:, -1]},
    )


# ---------------------------------------------------------------------------------------------- drawing


def _ground_frames(scenes: Scenes, index: slice, t: Tensor, side: int, strength: float) -> Tensor:
    """(n, T, H*W, 3): the ground of `world`, moving. Its noise repeats after `_GRID` cells: it never ends."""
    grain = scenes.ground["grain"][index] - 0.5  # (n, 6, 6, 3)
    hue, ground = scenes.ground["ground_hue"][index], scenes.ground["ground"][index]
    cells = (GROUND_CELLS - 1) / 2  # per half of a picture, as in a still picture
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    moved = scenes.drift[index][:, None] * t[:, None]  # (n, T, 2) in halves

    # (n, T, side) in cells -> (n, T, side, 6): linear between neighbours
    def weights(place: Tensor) -> Tensor:
        away = (place[..., None] - torch.arange(GROUND_CELLS)).remainder(GROUND_CELLS)
        return (1 - torch.minimum(away, GROUND_CELLS - away)).clamp_min(0)

    across = weights((axis - moved[..., :1] + 1) * cells)
    down = weights((axis + moved[..., 1:] + 1) * cells)  # y is up, rows go down
    waves = torch.einsum("ntyi,nijc,ntxj->ntyxc", down, grain, across).flatten(2, 3)
    brightness, saturation, amplitude = world.ground_spread(strength)
    mean = 0.5 + (ground - 0.5) * brightness
    tint = world.hsv_to_rgb(hue, saturation, 1.0)
    plain = mean[:, None] * (tint / tint.mean(1, keepdim=True))
    image = plain[:, None, None] + amplitude * waves
    if "floor" not in scenes.ground:
        return image
    # (n, side): soft over the row that the line cuts
    below = ((scenes.ground["floor"][index][:, None] + axis) * side / 2 + 0.5).clamp(0, 1)
    return image * (1 - 0.45 * below.repeat_interleave(side, 1))[:, None, :, None]


def draw(
    scenes: Scenes, frames: int, size: int, background: float = 0.3, noise: float = 0.02, blur: int = 1
) -> tuple[Tensor, Tensor]:
    """Films (N, 3, T, size, size) uint8 and masks (N, T, size, size) uint8: 0 the ground, 1 to K the solids,
    what is visible of them.

    Args:
        background: 0 to 1, as in `world.render`.
        noise: standard deviation of the sensor's noise (of a range of 1), new in each frame.
        blur: pictures averaged for one frame, over half the time from frame to frame (a shutter of 180
            degrees); 1 is sharp. Masks show the middle.
    """
    n, k = len(scenes), scenes.looks["shape"].shape[1]
    within = (torch.arange(blur) + 0.5) / blur / 2 - 0.25 if blur > 1 else torch.zeros(1)
    t = (torch.arange(frames)[:, None] + within).flatten().float()  # (T * blur,)
    films, masks = [], []
    for start in range(0, n, _CHUNK):
        index = slice(start, min(start + _CHUNK, n))
        m, poses = index.stop - start, {name: v[index] for name, v in scenes.pose(t).items()}
        image = _ground_frames(scenes, index, t, size, background).flatten(0, 1)  # (m * T', H*W, 3)
        hit = torch.zeros(m * len(t), size * size, dtype=torch.uint8)
        for body in range(k):  # the later ones in front
            colour, alpha = world.solid(_one(scenes, index, body, poses, len(t)), size)
            image = image + alpha[..., None] * (colour - image)
            hit[alpha > 0.5] = body + 1
        image = (
            image.view(m, frames, blur, size * size, 3).mean(2)
            * scenes.gain(torch.arange(frames).float())[index][:, :, None, None]
        )
        if noise:
            # Places in the table of noise far apart: neighbouring frames must not share it moved by some
            # pixels.
            seed = (scenes.ground["speckle"][index][:, None] * 31 + torch.arange(frames) * 104729) % 2**24
            image = image + noise * world.speckle(seed.flatten(), size).view(m, frames, size * size, 3)
        image = (image.clamp(0, 1) * 255).round().to(torch.uint8).view(m, frames, size, size, 3)
        films.append(image.permute(0, 4, 1, 2, 3).contiguous())
        masks.append(hit.view(m, frames, blur, size, size)[:, :, blur // 2].contiguous())
    return torch.cat(films), torch.cat(masks)


def _one(scenes: Scenes, index: slice, body: int, poses: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """One solid of each film in all its frames, as `world` reads a scene (m * T,)."""
    scene = {name: v[index, body].repeat_interleave(count) for name, v in scenes.looks.items()}
    scene["light"] = scenes.ground["light"][index].repeat_interleave(count)
    scene["roll"], scene["size"] = (poses[name][:, body].flatten() for name in ("roll", "size"))
    # `world` scales x and y by the room that a solid of this size has
    room = 1 - 0.9 * _RADIUS * scene["size"]
    scene["x"], scene["y"] = (poses[name][:, body].flatten() / room for name in ("x", "y"))
    return scene


# ---------------------------------------------------------------------------------------------- what is true


def _in_pixels(poses: dict[str, Tensor], side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Centres (N, K, T, 2), radii (N, K, T) and angles (N, K, T; clockwise on the screen, as y is down) in
    pixels and radians.
    """
    centre = torch.stack([(poses["x"] + 1) * side / 2, (1 - poses["y"]) * side / 2], -1)
    return centre, poses["size"] * _RADIUS * side / 2, -poses["roll"]


def _turned(angle: Tensor, v: Tensor) -> Tensor:
    """Vectors (..., 2), x right and y down, turned clockwise on the screen."""
    c, s = angle.cos(), angle.sin()
    return torch.stack([c * v[..., 0] - s * v[..., 1], s * v[..., 0] + c * v[..., 1]], -1)


@explained
def keypoints(scenes: Scenes, masks: Tensor) -> Tensor:
    """(N, T, K, 5, 3) float32: x, y and whether the point can be seen (1) or is covered or outside (0).
    Centre first, then four that turn
    with the solid."""
    n, frames, side = masks.shape[:3]
    centre, radius, angle = _in_pixels(scenes.pose(torch.arange(frames).float()), side)
    corners = torch.tensor([[0.0, 0.0], [1, 0], [0, 1], [-1, 0], [0, -1]]) * _ARM
    # (N, K, T, 5, 2)
    place = centre[..., None, :] + radius[..., None, None] * _turned(angle[..., None], corners)
    place = place.transpose(1, 2)  # (N, T, K, 5, 2)
    pixel = place.floor().long()
    inside = ((pixel >= 0) & (pixel < side)).all(-1)
    column, row = pixel.clamp(0, side - 1).unbind(-1)
    where = torch.arange(n)[:, None, None, None], torch.arange(frames)[None, :, None, None], row, column
    own = masks[where] == torch.arange(1, place.shape[2] + 1, dtype=torch.uint8)[:, None]
    return torch.cat([place, (inside & own)[..., None].float()], -1)


@explained
def boxes(masks: Tensor, count: int) -> Tensor:
    """(N, T, K, 4) float32: left, top, right, bottom of what is visible of each solid, in pixels; all -1
    where nothing is.
    """
    result = torch.full((*masks.shape[:2], count, 4), -1.0)
    side = masks.shape[-1]
    for k in range(count):
        mask = masks == k + 1
        columns, rows = mask.any(2), mask.any(3)  # (N, T, W), (N, T, H)
        seen = columns.any(-1)
        first = lambda m: m.to(torch.uint8).argmax(-1)
        edges = torch.stack(
            [first(columns), first(rows), side - first(columns.flip(-1)), side - first(rows.flip(-1))], -1
        ).float()
        result[:, :, k][seen] = edges[seen]
    return result


@explained
def hidden(scenes: Scenes, masks: Tensor) -> Tensor:
    """(N, T, K) float32: the share of each solid that another one covers, 0 to 1."""
    n, frames, side = masks.shape[:3]
    k = scenes.looks["shape"].shape[1]
    t = torch.arange(frames).float()
    result = torch.zeros(n, frames, k)
    for start in range(0, n, _CHUNK):
        index = slice(start, min(start + _CHUNK, n))
        poses = {name: v[index] for name, v in scenes.pose(t).items()}
        for body in range(k):
            whole = (world.solid(_one(scenes, index, body, poses, frames), side)[1] > 0.5).view(
                -1, frames, side * side
            )
            seen = (masks[index].flatten(2) == body + 1).sum(-1)
            result[index, :, body] = 1 - seen / whole.sum(-1).clamp_min(1)
    return result.clamp(0, 1)


@explained
def flow(scenes: Scenes, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Where everything goes from one frame to the next.

    Returns: flow (N, T-1, 2, H, W) float32: what is seen at a pixel of frame t is found (x, y) = flow pixels
        further right and down in frame t + 1; seen (N, T-1, H, W) bool: it can be seen there (its solid is
        neither covered at that place nor outside).
    """
    n, frames, side = masks.shape[:3]
    centre, radius, angle = _in_pixels(scenes.pose(torch.arange(frames).float()), side)
    axis = torch.arange(side) + 0.5
    at = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)  # (H, W, 2): x, y
    step = scenes.drift * torch.tensor([1.0, -1.0]) * side / 2
    moved = at + step[:, None, None, None]  # the ground
    moved = moved.expand(n, frames - 1, side, side, 2).clone()
    for body in range(centre.shape[1]):
        c, r, a = centre[:, body], radius[:, body], angle[:, body]
        away = at - c[:, :-1, None, None]  # (N, T-1, H, W, 2)
        there = (
            _turned((a[:, 1:] - a[:, :-1])[..., None, None], away)
            * (r[:, 1:] / r[:, :-1])[..., None, None, None]
            + c[:, 1:, None, None]
        )
        on = masks[:, :-1] == body + 1
        moved[on] = there[on]
    pixel = moved.floor().long()
    inside = ((pixel >= 0) & (pixel < side)).all(-1)
    column, row = pixel.clamp(0, side - 1).unbind(-1)
    where = torch.arange(n)[:, None, None, None], torch.arange(1, frames)[None, :, None, None], row, column
    return (moved - at).permute(0, 1, 4, 2, 3).contiguous(), inside & (masks[where] == masks[:, :-1])


@explained
def correspondence(scenes: Scenes, masks: Tensor) -> Tensor:
    """(N, T, 2, H, W) float32: where on its solid a pixel lies, in radii from the centre, in the solid's own
    directions, so that the same
    numbers are the same place in every frame; NaN on the ground."""
    n, frames, side = masks.shape[:3]
    centre, radius, angle = _in_pixels(scenes.pose(torch.arange(frames).float()), side)
    axis = torch.arange(side) + 0.5
    at = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    result = torch.full((n, frames, side, side, 2), math.nan)
    for body in range(centre.shape[1]):
        place = _turned(
            -angle[:, body, :, None, None],
            (at - centre[:, body, :, None, None]) / radius[:, body, :, None, None, None],
        )
        on = masks == body + 1
        result[on] = place[on]
    return result.permute(0, 1, 4, 2, 3).contiguous()


# ---------------------------------------------------------------------------------------------- data sets


@takes(
    train=WHOLE,
    validation=WHOLE,
    test=WHOLE,
    size=WHOLE,
    frames=WHOLE,
    background=REAL,
    noise=SHARE,
    seed=SEED,
    drift=REAL,
)
def videos(
    train: int = 1200,
    validation: int = 300,
    test: int = 600,
    *,
    frames: int = 16,
    size: int = 32,
    background: float = 0.2,
    drift: float = 0.02,
    noise: float = 0.02,
    seed: int = 0,
    cache: bool = True,
) -> Data:
    """Films of two moving solids, in three splits that share none; the label is the motion class, see this
    module's text.

    Args:
        train, validation, test: how many of each.
        frames: of each film, 2 to 64.
        size: pixels along a side, 16 to 128.
        background: 0 to 1, see `world.render`.
        drift: how fast the ground moves at most, in halves of a picture per frame (each film in a direction
            of its own), 0 to 0.2. At 0
            the ground stands still, and its texture tells the films apart: the shortcut of the lesson.
        noise: of the sensor.
        seed: of the world.
        cache: keep the films on disk (`SSLCOURSE_CACHE`).

    Returns: `Data` of kind video: label 0 to 3 (2 large + small), factors `large`, `small` (0 clockwise, 1
        counter-clockwise), of the large one `shape`, `hue`, `x`, `y` (middle of its loop), `size`, `pace`
        (radians per frame), `spin` (it turns slowly in the picture's plane, which no class asks for), further
        `ground_hue`, and `mask` (T, H, W): 1 is the large one, 2 the small one, in front.
    """
    _check(frames, size, background, drift)
    parts = []
    for split, n in (("train", train), ("validation", validation), ("test", test)):
        scenes = _motions(n, seed, split, drift)
        air = disk_cache.named(bg=background, drift=drift, noise=noise)
        film, mask = _cached(
            f"motions-{split}-{n}-{frames}x{size}-{air}-seed{seed}",
            n,
            frames,
            size,
            cache,
            functools.partial(draw, scenes, frames, size, background, noise),
        )
        columns = scenes.columns
        label = 2 * columns["large"] + columns["small"]
        kinds = {"large": WAYS, "small": WAYS, "spin": WAYS, "shape": NAMES, "hue": 1.0, "ground_hue": 1.0}
        parts.append(
            Samples(
                video=film,
                label=label,
                classes=MOTIONS,
                factors=columns,
                factor_names=kinds,
                extra={"mask": mask},
                split=split,
                name="toybox films",
            )
        )
    return Data(*parts)


@takes(
    train=WHOLE,
    validation=WHOLE,
    test=WHOLE,
    size=WHOLE,
    frames=WHOLE,
    background=REAL,
    noise=SHARE,
    seed=SEED,
    solids=WHOLE,
    spin=REAL,
    scale=REAL,
    gain=REAL,
    blur=WHOLE,
    drift=REAL,
)
def tracks(
    train: int = 600,
    validation: int = 40,
    test: int = 40,
    *,
    frames: int = 8,
    size: int = 48,
    solids: int = 2,
    speed: tuple[float, float] = (1.0, 2.8),
    radius: tuple[float, float] = (5, 9),
    spin: float = 0.15,
    scale: float = 0.0,
    gain: float = 0.0,
    blur: int = 1,
    noise: float = 0.02,
    background: float = 0.5,
    drift: float = 0.02,
    alike: bool = False,
    seed: int = 0,
    cache: bool = True,
) -> Data:
    """Films of several solids between walls, with masks and key-points: for tracking.

    Args:
        train, validation, test, frames, size, background, drift, noise, seed, cache: as in `videos`.
        solids: how many, 1 to 4; the later pass in front.
        speed: slowest and fastest, in pixels per frame.
        radius: smallest and largest, in pixels.
        spin: fastest, in radians per frame, 0 to 1; each solid in a sense of its own.
        scale: how much the solids grow and shrink, 0 to 0.5 (of the logarithm of their size).
        gain: how much the brightness swings, 0 to 0.5.
        blur: pictures averaged for one frame, 1 (sharp) to 8.
        alike: all solids of a film have the same hue, so that colour does not tell them apart.

    Returns: `Data` of kind video whose label is -1 and whose `extra` holds, for each film, `mask` (T, H, W)
        uint8 with ids from 1 (0 is the ground), `keypoint` (T, K, 5, 3), `box` (T, K, 4) and `hidden` (T, K);
        factors `speed`, `shape` and `hue` (of the last solid). With the default speed and size a copy of the
        first mask has a mean J near a quarter over the seven frames that follow.
    """
    _check(frames, size, background, drift)
    _check_tracks(solids, speed, radius, size, spin, scale, gain, blur)
    parts = []
    for split, n in (("train", train), ("validation", validation), ("test", test)):
        scenes = _straight(n, seed, split, solids, size, speed, radius, spin, scale, gain, drift, alike)
        knobs = disk_cache.named(
            solids=solids, radius=radius, speed=speed, spin=spin, scale=scale, gain=gain, blur=blur
        )
        air = disk_cache.named(bg=background, drift=drift, noise=noise)
        film, mask = _cached(
            f"tracks-{split}-{n}-{frames}x{size}-{knobs}-{air}-{'alike-' * alike}seed{seed}",
            n,
            frames,
            size,
            cache,
            functools.partial(draw, scenes, frames, size, background, noise, blur),
        )
        extra = {
            "mask": mask,
            "keypoint": keypoints(scenes, mask),
            "box": boxes(mask, solids),
            "hidden": hidden(scenes, mask),
        }
        parts.append(
            Samples(
                video=film,
                factors=scenes.columns,
                factor_names={"shape": NAMES, "hue": 1.0},
                extra=extra,
                split=split,
                name="toybox tracks",
            )
        )
    return Data(*parts)


@takes(
    size=WHOLE,
    frames=WHOLE,
    background=REAL,
    noise=SHARE,
    seed=SEED,
    solids=WHOLE,
    index=WHOLE,
    spin=REAL,
    scale=REAL,
    gain=REAL,
    blur=WHOLE,
    drift=REAL,
)
def truth(
    split: str = "train",
    index: int = 0,
    *,
    frames: int = 8,
    size: int = 48,
    solids: int = 2,
    speed: tuple[float, float] = (1.0, 2.8),
    radius: tuple[float, float] = (5, 9),
    spin: float = 0.15,
    scale: float = 0.0,
    gain: float = 0.0,
    blur: int = 1,
    noise: float = 0.02,
    background: float = 0.5,
    drift: float = 0.02,
    alike: bool = False,
    seed: int = 0,
) -> dict[str, Tensor]:
    """All that is true about film `index` of `tracks` with the same arguments.

    Returns: video (3, T, H, W) uint8, mask (T, H, W), keypoint (T, K, 5, 3), box (T, K, 4), hidden (T, K),
        flow (T-1, 2, H, W), seen (T-1, H, W) and correspondence (T, 2, H, W); see `keypoints`, `boxes`,
        `hidden`, `flow` and `correspondence`.
    """
    _check(frames, size, background, drift)
    _check_tracks(solids, speed, radius, size, spin, scale, gain, blur)
    if index < 0:
        raise CourseError(f"index={index}; films are numbered from 0")
    scenes = _straight(index + 1, seed, split, solids, size, speed, radius, spin, scale, gain, drift, alike)
    everything = scenes.pose
    one = Scenes(
        {k: v[index:] for k, v in scenes.looks.items()},
        {k: v[index:] for k, v in scenes.ground.items()},
        scenes.drift[index:],
        lambda t: scenes.gain(t)[index:],
        lambda t: {k: v[index:] for k, v in everything(t).items()},
        {},
    )
    film, mask = draw(one, frames, size, background, noise, blur)
    moved, seen = flow(one, mask)
    found = {
        "video": film,
        "mask": mask,
        "keypoint": keypoints(one, mask),
        "box": boxes(mask, solids),
        "hidden": hidden(one, mask),
        "flow": moved,
        "seen": seen,
        "correspondence": correspondence(one, mask),
    }
    return {name: value[0] for name, value in found.items()}


def _check(frames: int, size: int, background: float, drift: float) -> None:
    for name, value, low, high in (
        ("frames", frames, 2, 64),
        ("size", size, 16, 128),
        ("background", background, 0, 1),
        ("drift", drift, 0, 0.2),
    ):
        if not low <= value <= high:
            raise CourseError(f"{name}={value}; choose {low} to {high}")


def _check_tracks(count, speed, radius, size, spin, scale, gain, blur) -> None:
    for name, value, low, high in (
        ("solids", count, 1, 4),
        ("spin", spin, 0, 1),
        ("scale", scale, 0, 0.5),
        ("gain", gain, 0, 0.5),
        ("blur", blur, 1, 8),
    ):
        if not low <= value <= high:
            raise CourseError(f"{name}={value}; choose {low} to {high}")
    for name, pair, highest in (("speed", speed, size / 2), ("radius", radius, size / 3)):
        if len(pair) != 2 or not 0 <= pair[0] <= pair[1] <= highest:
            raise CourseError(
                f"{name}={pair}; give the smallest and the largest in pixels, at most {highest:g}"
            )
    if radius[0] < 2:
        raise CourseError(f"radius={radius}; a solid needs a radius of at least 2 pixels")


def _cached(
    name: str, n: int, frames: int, size: int, cache: bool, drawn: Callable[[], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """The films from the disk, or drawn and put there."""
    path = disk_cache.place("films", name)
    shapes = {"video": (n, 3, frames, size, size), "mask": (n, frames, size, size)}
    found = disk_cache.arrays(path, shapes, lambda: {k: v.numpy() for k, v in zip(shapes, drawn())}, cache)
    return torch.from_numpy(found["video"]), torch.from_numpy(found["mask"])
