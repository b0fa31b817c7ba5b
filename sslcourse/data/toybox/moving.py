"""The toybox moves: short films of solids with exact masks, and the sound of what they hit, all on one clock.

`bounce()` drops a solid on a floor and lets it sound, `crossing()` sends two solids past each other. Both are
drawn by `world.render`, one scene per frame. Bigger sets of videos (motion classes, events, scenes for
synchronisation) build on this file.

One clock: frame f shows the world at (f + 0.5) / fps, the middle of the time for which a player shows it, and
sample n of the sound is the pressure at n / rate. Impact times are times of the continuous motion, not of the
nearest frame.

Lengths are in halves of a picture: its left edge is at -1, its right edge at 1, y points up. Speeds are per
    second.

Sound is modal synthesis: each impact sets off a few decaying sinusoids (van den Doel and Pai, The Sounds of
Physical Shapes, Presence 1998; with noise of the contact, as in Traer, Cusimano and McDermott, DAFx 2019).
The ratios of metal are those of a free bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sslcourse.data.toybox import world
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import PIXELS, REAL, SEED, SHARE, WHOLE, takes
from sslcourse.runtime.shapes import explained


@dataclass(frozen=True)
class Material:
    """How a body rings: partials as multiples of the lowest, their amplitudes, decay in 1/s at 1 kHz and how
    it grows with the
    frequency (as its power), and the share of noise in the contact."""

    ratios: tuple[float, ...]
    amplitudes: tuple[float, ...]
    decay: float
    power: float
    click: float


MATERIALS = {
    "metal": Material((1, 2.76, 5.40, 8.93), (1, 0.7, 0.5, 0.4), 5, 0.5, 0.05),  # rings long and bright
    "glass": Material((1, 2.32, 4.25, 6.63), (1, 0.6, 0.3, 0.2), 14, 0.8, 0.10),  # clear and short
    "wood": Material((1, 2.57, 4.95, 7.30), (1, 0.5, 0.25, 0.12), 45, 1.0, 0.25),  # a dry knock
    "rubber": Material((1, 1.6, 2.3, 3.1), (1, 0.3, 0.1, 0.05), 90, 1.2, 0.40),  # a dull thud
}

FLOOR = -0.86  # where the floor begins
PITCH = 65.0  # Hz of the lowest partial of a body of radius 1: a radius of 4 pixels in 32 gives 260 Hz
USUAL_SPEED = 6.25  # impact speed that sounds at full strength
_LOUD = 0.35  # of full scale for one partial at the usual speed: room for partials and impacts that add up
_SLOWEST = 0.375  # a slower impact is the last: the body comes to rest
_FLIGHTS = (0.28, 0.75)  # seconds between two impacts of a body that is kicked


@dataclass(frozen=True, eq=False)
class Film:
    """A short film and what is true about it.

    frames (3, T, H, W) uint8; masks (T, H, W) uint8: 0 is the ground, 1 to K the solids, what is visible of
    them; centres (T, K, 2)
    float32: x to the right and y down in pixels; names: of the K solids; fps. With sound: audio (L,) float32
    within -1..1, rate in samples per second, impacts (I,) float64 in seconds and speeds (I,) at which the
    floor was hit. Without: None and empty."""

    frames: Tensor
    masks: Tensor
    centres: Tensor
    names: tuple[str, ...]
    fps: float
    audio: Tensor | None = None
    rate: int | None = None
    impacts: Tensor = torch.zeros(0, dtype=torch.float64)
    speeds: Tensor = torch.zeros(0, dtype=torch.float64)

    @property
    def seconds(self) -> float:
        return self.frames.shape[1] / self.fps

    def __repr__(self):
        sound = (
            f", {len(self.impacts)} impacts heard at {self.rate:,} samples per second"
            if self.audio is not None
            else ""
        )
        t, h, w = self.masks.shape
        return f"<film of {t} frames of {h} x {w} at {self.fps:g} per second: {', '.join(self.names)}{sound}>"


# ---------------------------------------------------------------------------------------------- sound


@takes(
    seed=SEED,
    rate=WHOLE,
    seconds=REAL,
    radius=REAL,
)
def strike(
    times,
    speeds,
    radius: float,
    material: str = "wood",
    *,
    seconds: float = 3.0,
    rate: int = 16000,
    seed: int = 0,
) -> Tensor:
    """The sound of a body that is struck.

    Args:
        times: (I,) seconds, those of the impacts; each begins at its exact time, between samples too.
        speeds: (I,) of the impacts; loudness is their 1.2th power, 6.25 being full strength.
        radius: of the body in halves of a picture, 0.02 to 1: the larger, the lower (the lowest partial has
            65 Hz / radius).
        material: one of MATERIALS.
        seconds, rate: length and samples per second (8,000 to 96,000).
        seed: of the body's own detuning and of the noise of its contacts.

    Returns: (L,) float32 within -1..1, L = round(seconds * rate). Where impacts would add up to more than 1
        all of it is made softer.
    """
    if material not in MATERIALS:
        raise CourseError(f"material={material!r}; choose one of {', '.join(MATERIALS)}")
    if not 0.02 <= radius <= 1:
        raise CourseError(f"radius={radius}; choose 0.02 to 1 halves of a picture")
    if not 8000 <= rate <= 96000 or rate != int(rate):
        raise CourseError(f"rate={rate}; choose a whole number of 8,000 to 96,000 samples per second")
    times, speeds = (np.asarray(torch.as_tensor(v).cpu(), np.float64).reshape(-1) for v in (times, speeds))
    if times.shape != speeds.shape:
        raise CourseError(f"{len(times)} times but {len(speeds)} speeds; pass one speed for each impact")
    length = round(seconds * rate)
    if length < 1 or (len(times) and not (0 <= times.min() and times.max() <= seconds)):
        raise CourseError(
            f"impacts at {np.round(times, 3).tolist()} s do not lie within {seconds} s; make seconds longer"
        )
    rng = np.random.default_rng([seed, 0x50D])
    of = MATERIALS[material]
    lowest = PITCH / radius * math.exp(0.08 * rng.standard_normal())
    pitch = lowest * np.array(of.ratios) * (1 + 0.01 * rng.standard_normal(len(of.ratios)))
    audible = pitch < 0.97 * rate / 2
    pitch, amplitude = pitch[audible, None], np.array(of.amplitudes)[audible, None]  # (M, 1)
    decay = of.decay * (pitch / 1000) ** of.power
    wave = np.zeros(length)
    for time, speed in zip(times, speeds):
        start = math.ceil(time * rate)
        t = np.arange(start, length) / rate - time  # (L',) seconds since this impact
        partials = (amplitude * np.exp(-decay * t) * np.sin(2 * math.pi * pitch * t)).sum(0)
        contact = of.click * rng.standard_normal(len(t)) * np.exp(-300 * t)
        wave[start:] += _LOUD * (speed / USUAL_SPEED) ** 1.2 * (partials + contact)
    peak = np.abs(wave).max()
    return torch.from_numpy((wave * min(1, 0.98 / max(peak, 1e-12))).astype(np.float32))


# ---------------------------------------------------------------------------------------------- motion


@takes(
    seed=SEED,
    side=PIXELS,
    fps=REAL,
    rate=WHOLE,
    seconds=REAL,
    background=REAL,
    noise=SHARE,
    size=REAL,
    restitution=REAL,
    gravity=REAL,
)
def bounce(
    shape: str = "sphere",
    material: str = "wood",
    *,
    size: float = 0.4,
    restitution: float | None = 0.8,
    gravity: float = 12.0,
    seconds: float = 3.0,
    fps: float = 16,
    side: int = 64,
    rate: int = 16000,
    background: float = 0.1,
    noise: float = 0.02,
    seed: int = 0,
) -> Film:
    """A solid falls on a floor, bounces, and is heard.

    Args:
        shape: one of SHAPES.
        material: one of MATERIALS, to be heard and not to be seen.
        size: of the solid, 0.2 to 0.7 (`world.RANGES` begins where these end: a film needs room); its radius
            is 0.85 size.
        restitution: share of the speed that an impact leaves, 0.1 to 0.95; the body comes to rest when it is
            slow. None: it is
            kicked at every impact and flies for 0.28 to 0.75 s, drawn anew each time: no second shift of the
                sound would fit.
        gravity: 4 to 30 halves of a picture per second squared.
        seconds, fps, side, rate: length (at most 60 s), frames per second, pixels along a side, samples of
            sound per second.
        background, noise: as in `world.render`; the ground stays still and the sensor's noise is new in each
            frame.
        seed: of everything else: colours, pose, start, drift to the side. The same seed, the same film, to
            the bit.

    Returns: A Film with sound. Wherever the body hits the floor the lowest point of its outline stands on the
        line of the floor.
    """
    for name, value, low, high in (("size", size, 0.2, 0.7), ("gravity", gravity, 4, 30)):
        if not low <= value <= high:
            raise CourseError(f"{name}={value}; choose {low} to {high}")
    if restitution is not None and not 0.1 <= restitution <= 0.95:
        raise CourseError(f"restitution={restitution}; choose 0.1 to 0.95, or None for a body that is kicked")
    count = _length(seconds, fps)
    rng = np.random.default_rng([seed, 0xB0C])
    body = _body(shape, size, rng, seed)
    up, down, aside = _reach(body)
    ground, top, wall = FLOOR + down, 0.98 - up, 0.98 - aside
    times, speeds, flights = _fall(rng, top - ground, gravity, restitution, seconds)
    at = (np.arange(count) + 0.5) / fps
    height, resting = heights_above_ground(at, times, speeds, flights, gravity, top - ground)
    pace = rng.uniform(0.15, 0.6) * rng.choice([-1, 1])
    across = between_walls(rng.uniform(-wall, wall) + pace * np.minimum(at, resting), wall)
    centres = np.stack([across, ground + height], 1)[:, None]  # (T, 1, 2)
    frames, masks = _drawn([body], centres, side, background, noise, seed, floor=True)
    return Film(
        frames,
        masks,
        _in_pixels(centres, side),
        (shape,),
        float(fps),
        strike(times, speeds, 0.85 * size, material, seconds=seconds, rate=rate, seed=seed),
        rate,
        torch.from_numpy(times),
        torch.from_numpy(speeds),
    )


@takes(
    seed=SEED,
    side=PIXELS,
    fps=REAL,
    seconds=REAL,
    background=REAL,
    noise=SHARE,
    spin=REAL,
)
def crossing(
    shapes: Sequence[str] = ("cube", "torus"),
    *,
    sizes: Sequence[float] = (0.5, 0.42),
    spin: float = 1.2,
    seconds: float = 1.0,
    fps: float = 16,
    side: int = 64,
    background: float = 0.1,
    noise: float = 0.02,
    seed: int = 0,
) -> Film:
    """Two solids on smooth paths that cross: the second passes in front of the first.

    Args:
        shapes: two of SHAPES; the first is object 1, the second object 2, which hides what is behind it.
        sizes: of both, 0.2 to 0.7.
        spin: how fast they turn in the plane of the picture, in radians per second, 0 to 4; each in a
            direction of its own.
        seconds, fps, side, background, noise, seed: as in `bounce`.

    Returns:
        A silent Film whose masks show 1 and 2.
    """
    if len(shapes) != 2 or len(sizes) != 2:
        raise CourseError(f"{len(shapes)} shapes and {len(sizes)} sizes; pass two of each")
    for value in sizes:
        if not 0.2 <= value <= 0.7:
            raise CourseError(f"sizes={tuple(sizes)}; choose 0.2 to 0.7 for each")
    if not 0 <= spin <= 4:
        raise CourseError(f"spin={spin}; choose 0 to 4 radians per second")
    count = _length(seconds, fps)
    rng = np.random.default_rng([seed, 0xC05])
    at = (np.arange(count) + 0.5) / fps
    along = at / seconds
    bodies, paths = [], []
    first_way = rng.choice([-1, 1])
    hue = rng.random()
    for k, (shape, size) in enumerate(zip(shapes, sizes)):
        body = _body(shape, size, rng, seed, hue=(hue + k * rng.uniform(0.3, 0.7)) % 1)
        way, room = first_way * (1 - 2 * k), 0.98 - 0.85 * size
        x = way * room * (2 * along - 1) * rng.uniform(0.85, 1)
        y = rng.uniform(-0.15, 0.15) + rng.uniform(0.2, 0.45) * rng.choice([-1, 1]) * np.sin(
            math.pi * along * 2
        )  # both near 0 half way
        turn = body["roll"] + torch.from_numpy(rng.choice([-1, 1]) * spin * at).float()
        bodies.append({**body, "roll": turn})
        paths.append(np.stack([x, np.clip(y, -room, room)], 1))
    centres = np.stack(paths, 1)  # (T, 2, 2)
    frames, masks = _drawn(bodies, centres, side, background, noise, seed, floor=False)
    return Film(frames, masks, _in_pixels(centres, side), tuple(shapes), float(fps))


def _length(seconds: float, fps: float) -> int:
    """How many frames a film has."""
    if not 1 <= fps <= 120:
        raise CourseError(f"fps={fps}; choose 1 to 120 frames per second")
    if not 0 < seconds <= 60 or round(seconds * fps) < 2:
        raise CourseError(
            f"seconds={seconds} at {fps} frames per second; choose a length of at least 2 frames and at "
            "most 60 s"
        )
    return round(seconds * fps)


def _body(
    shape: str, size: float, rng: np.random.Generator, seed: int, hue: float | None = None
) -> dict[str, Tensor]:
    """One scene with a solid in typical colours and pose, drawn at random."""
    return world.scene(
        shape=shape,
        size=size,
        hue=rng.random() if hue is None else hue,
        saturation=rng.uniform(0.6, 1),
        pattern=int(rng.integers(4)),
        yaw=rng.uniform(-0.6, 0.6),
        pitch=rng.uniform(0.15, 0.6),
        roll=rng.uniform(-0.35, 0.35),
        light=rng.uniform(5, 7),
        ground_hue=rng.random(),
        ground=rng.uniform(0.3, 0.8),
        speckle=seed % 2**24,
    )


def _reach(body: dict[str, Tensor]) -> tuple[float, float, float]:
    """How far the solid's outline goes up, down, and (at most) aside of its centre, in halves of a picture:
    read from its mask.
    """
    side = 256
    large = {**body, "size": torch.ones(1), "x": torch.zeros(1), "y": torch.zeros(1)}
    mask = world.render(large, side, noise=0)[1][0]
    rows, columns = (mask.any(d).nonzero().squeeze(1) for d in (1, 0))
    scale = float(body["size"]) / (side / 2)
    up, down = (side / 2 - int(rows[0])) * scale, (int(rows[-1]) + 1 - side / 2) * scale
    return up, down, max(side / 2 - int(columns[0]), int(columns[-1]) + 1 - side / 2) * scale


def _fall(
    rng, room: float, gravity: float, restitution: float | None, seconds: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times and speeds of the impacts within the film, and how long the flight after each one takes (0: it
    rests).
    """
    time = math.sqrt(2 * room * rng.uniform(0.7, 1) / gravity)
    speed = gravity * time
    longest = min(_FLIGHTS[1], math.sqrt(8 * room / gravity))  # an apex below the upper edge
    times, speeds, flights = [], [], []
    while time < seconds:
        if restitution is None:
            flight = rng.uniform(min(_FLIGHTS[0], 0.6 * longest), longest)
        else:
            flight = 2 * restitution * speed / gravity if restitution * speed > _SLOWEST else 0.0
        times.append(time)
        speeds.append(speed)
        flights.append(flight)
        if not flight:
            break
        time += flight
        speed = gravity * flight / 2
    return np.array(times), np.array(speeds), np.array(flights)


@explained
def heights_above_ground(
    at: np.ndarray, times, speeds, flights, gravity: float, room: float
) -> tuple[np.ndarray, float]:
    """Height above the place of contact at the given times, and when the body has come to rest (infinity: not
    in this film).
    """
    if not len(times):
        raise CourseError("the film ends before the first impact; make seconds longer or gravity stronger")
    height = np.zeros_like(at)
    before = at < times[0]
    # falls from rest at time 0
    height[before] = speeds[0] ** 2 / (2 * gravity) - gravity * at[before] ** 2 / 2
    for time, flight in zip(times, flights):
        t = at - time
        up = (t >= 0) & (t < flight)
        height[up] = gravity * t[up] * (flight - t[up]) / 2
    return height, float(times[-1]) if flights[-1] == 0 else math.inf


@explained
def between_walls(x: np.ndarray, wall: float) -> np.ndarray:
    """A straight path, folded back wherever it meets a wall."""
    period = 4 * wall
    return np.abs((x - wall) % period - 2 * wall) - wall


# ---------------------------------------------------------------------------------------------- pictures


def _drawn(
    bodies: Sequence[dict[str, Tensor]],
    centres: np.ndarray,
    side: int,
    background: float,
    noise: float,
    seed: int,
    floor: bool,
) -> tuple[Tensor, Tensor]:
    """Frames (3, T, H, W) and masks (T, H, W) of solids at `centres` (T, K, 2), the later ones before the
    earlier.
    """
    count = len(centres)
    # one ground for all of them
    ground = {"grain": bodies[0]["grain"], **{k: bodies[0][k] for k in ("ground", "ground_hue")}}
    # Places in the table of noise far apart: neighbouring seeds would give neighbouring frames the same
    # noise, moved by some rows, and a tracker could follow that. All solids of a frame share one: there is
    # one sensor.
    speckle = torch.from_numpy(np.random.default_rng([seed, 0x5BE]).integers(2**24, size=count))
    for k, body in enumerate(bodies):
        # `world.render` scales x and y by the room that a solid of this size has
        room = 1 - 0.9 * 0.85 * body["size"]
        scene = {n: v.expand(count, *v.shape[1:]) for n, v in {**body, **ground}.items()}
        scene["x"], scene["y"] = (torch.from_numpy(centres[:, k, i]).float() / room for i in (0, 1))
        scene["speckle"] = speckle
        image, mask = world.render(scene, side, background, noise=noise)
        if k == 0:
            frames, masks = image, mask.to(torch.uint8)
        else:
            frames = torch.where(mask[:, None], image, frames)
            masks = torch.where(mask, k + 1, masks).to(torch.uint8)
    if floor:
        rows = torch.arange(side) + 1 - (1 - FLOOR) / 2 * side
        shade = 1 - 0.45 * rows.clamp(0, 1)[:, None]  # (H, 1), soft over the row that the line cuts
        darker = (frames.float() * shade).round().to(torch.uint8)
        frames = torch.where((masks == 0)[:, None], darker, frames)
    return frames.transpose(0, 1).contiguous(), masks


def _in_pixels(centres: np.ndarray, side: int) -> Tensor:
    """(T, K, 2) in halves of a picture to pixels, y down; 0 is the outer edge of the first pixel."""
    return torch.from_numpy((centres * np.array([1, -1]) + 1) * side / 2).float()
