"""The toybox is heard: short films of one solid that strikes, scrapes, rolls or floats, and of what it sounds
like, on one clock.

What happens (`EVENTS`) can be seen and heard; so can how large the solid is (pitch), how hard it strikes
(loudness) and when. What it is
made of is heard whole and seen by half: metal and glass shine, wood and rubber do not, nine times out of ten.
    Which way it goes first is
only seen. Everything else is private: the background, the colours and a silent second solid belong to the
picture, the channel (a filter, a hum, a noise) and a tone from outside of the picture to the sound. Each of
these is drawn independently of the others, so whatever the picture tells about the sound is what both are
about; `venue` takes that away on purpose.

    event    what is seen                                  what is heard
    bounce   falls, rebounds; kicked when it gets slow      strikes, closer and softer
    thud     is held, falls, lies still                     one strike each time
    hammer   goes up and down in an uneven beat             a strike for every beat
    scrape   is pushed to and fro on the floor              noise in a band, as loud as it is fast
    roll     turns over as it goes along the floor          a rumble of its own partials, with its turns
    whoosh   floats up and down, touches nothing            dull noise, as loud as it is fast

One clock, as in `moving`: frame f shows the world at (f + 0.5) / fps, sample n of the sound is at n / rate,
impacts are at their continuous times.
Laws of the sounds: see `moving` (impacts) and Gaussian bands of noise (all that goes on).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sslcourse.data.datasets import Data, Samples
from sslcourse.data.toybox import disk_cache, films, moving, world
from sslcourse.data.toybox.solids import NAMES
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import REAL, SEED, WHOLE, takes
from sslcourse.runtime.shapes import explained

EVENTS = ("bounce", "thud", "hammer", "scrape", "roll", "whoosh")
STRUCK = ("bounce", "thud", "hammer")  # those that are heard at single moments
RATE = 8000  # samples of sound per second
FPS = 16
# backgrounds, and channels, of the training split; four more of each are kept for data that nobody has seen
BANK = 8
NEW = 4
IMPACTS = 32  # most impacts of a film that are kept, the rest of the row is NaN

_SPLIT_ID = {"train": 0, "validation": 1, "test": 2}
_RADIUS = 0.85  # of a solid of size 1, in halves of a picture
_MATERIALS = tuple(moving.MATERIALS)
_SHINY = (True, True, False, False)  # of _MATERIALS
_BRIGHT = (1.6, 1.3, 1.0, 0.7)  # how high a scrape of each of them is
_NOTHING = 10.0  # where a solid is put that is not there
_CHUNK = 64

Course = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Programme:
    """What a solid does. `path(t)` gives x, height above the place of contact, and turn (counter-clockwise)
    at times t; impacts at `times` with `speeds`; `drive(t)` is how strongly it sounds on, 0 where it does
    not."""

    path: Course
    times: np.ndarray
    speeds: np.ndarray
    drive: Callable[[np.ndarray], np.ndarray] | None  # None for what is struck

    def driven(self, t: np.ndarray) -> np.ndarray:
        """`drive(t)`; 0 for what is struck."""
        return np.zeros_like(t) if self.drive is None else self.drive(t)


# ---------------------------------------------------------------------------------------------- what happens


@dataclass(frozen=True)
class _Stage:
    """Where an event happens, and on which side it begins; lengths in halves of a picture."""

    rng: np.random.Generator
    seconds: float
    radius: float
    room: float
    wall: float
    way: float  # 1.0 to the right, -1.0 to the left
    first: float  # where it starts: on the side from which it comes, so that the wall is far

    @property
    def long(self) -> bool:
        return self.seconds > 1.5

    def aside(self, pace: float) -> Callable[[np.ndarray], np.ndarray]:
        """To and fro between the walls; its first way is what `direction` names."""
        return lambda t: moving.between_walls(self.first + self.way * pace * t, self.wall)


def programme(
    event: str, rng: np.random.Generator, seconds: float, radius: float, room: float, wall: float
) -> Programme:
    """Draw one course of an event.

    Args:
        event: one of EVENTS.
        seconds: how long; above 1.5 s everything that repeats does so less evenly and with rests, so that no
            later moment looks like now.
        radius: of the solid, in halves of a picture, as all lengths here.
        room: how far above the floor it can rise.
        wall: how far to either side it can go.
    """
    if event not in _COURSES:
        raise CourseError(f"event={event!r} is none of {', '.join(EVENTS)}")
    start, way = rng.uniform(-wall, wall), rng.choice([-1.0, 1.0])
    return _COURSES[event](_Stage(rng, seconds, radius, room, wall, way, -way * abs(start)))


def _bounce(stage: _Stage) -> Programme:
    """Falls, and rises a little less high each time until it is kicked."""
    rng, seconds, room = stage.rng, stage.seconds, stage.room
    gravity, left = rng.uniform(14, 24), rng.uniform(0.75, 0.9)
    highest = min(room, 1.1)
    time = math.sqrt(2 * highest * rng.uniform(0.45, 1) / gravity)
    speed, times, speeds, flights = gravity * time, [], [], []
    while time < seconds:
        flight = 2 * left * speed / gravity
        if flight < 0.24:  # kicked
            flight = min(rng.uniform(0.42, 0.65), math.sqrt(8 * room / gravity))
        times.append(time)
        speeds.append(speed)
        flights.append(flight)
        time, speed = time + flight, gravity * flight / 2
    hits, impacts, gaps = (np.array(v) for v in (times, speeds, flights))
    across = stage.aside(rng.uniform(0.15, 0.6))
    height = lambda t: moving.heights_above_ground(t, hits, impacts, gaps, gravity, room)[0]
    return Programme(lambda t: (across(t), height(t), 0 * t), hits, impacts, None)


def _thud(stage: _Stage) -> Programme:
    """Falls once and lies still; in a long film it is lifted and falls again."""
    rng, seconds, room = stage.rng, stage.seconds, stage.room
    gravity, high = rng.uniform(16, 25), min(room, 1.2) * rng.uniform(0.6, 1)
    fall = math.sqrt(2 * high / gravity)
    times = [rng.uniform(max(fall, 0.25), 0.75) if not stage.long else rng.uniform(fall, 1.0)]
    rests, lift = [], 0.3
    while stage.long and times[-1] < seconds:
        rests.append(rng.uniform(0.25, 0.5))
        times.append(times[-1] + rests[-1] + lift + rng.uniform(0.05, 0.4) + fall)

    def height(t: np.ndarray) -> np.ndarray:
        result = np.full_like(t, high)
        for k, hit in enumerate(times):
            falling = (t >= hit - fall) & (t < hit)
            result[falling] = high - gravity / 2 * (t[falling] - hit + fall) ** 2
            after = t >= hit
            result[after] = 0
            if k < len(rests):
                up = np.clip((t[after] - hit - rests[k]) / lift, 0, 1)
                result[after] = high * (3 * up**2 - 2 * up**3)
        return result

    hits = np.array([t for t in times if t < seconds])
    across = stage.aside(rng.uniform(0.05, 0.2))
    last = math.inf if stage.long else times[0]  # then it lies still
    impacts = np.full(len(hits), gravity * fall)
    return Programme(lambda t: (across(np.minimum(t, last)), height(t), 0 * t), hits, impacts, None)


def _hammer(stage: _Stage) -> Programme:
    """Goes up and down in beats that are not quite even."""
    rng, seconds, room = stage.rng, stage.seconds, stage.room
    beat, uneven = (rng.uniform(0.28, 0.45), 0.25) if stage.long else (rng.uniform(0.17, 0.27), 0.1)
    high = min(room, 0.75) * rng.uniform(0.5, 1)
    times = [rng.uniform(0.02, beat) - beat]
    while times[-1] < seconds + beat:
        times.append(times[-1] + beat * (1 + uneven * rng.uniform(-1, 1)))
    edges = np.array(times)

    def hammered(t: np.ndarray) -> np.ndarray:
        k = np.clip(np.searchsorted(edges, t, "right") - 1, 0, len(edges) - 2)
        return high * np.sin(math.pi * (t - edges[k]) / (edges[k + 1] - edges[k]))

    inside = (edges[1:] >= 0) & (edges[1:] < seconds)
    across = stage.aside(rng.uniform(0.03, 0.12))
    impacts = high * math.pi / np.diff(edges)
    return Programme(lambda t: (across(t), hammered(t), 0 * t), edges[1:][inside], impacts[inside], None)


def _scrape(stage: _Stage) -> Programme:
    """Is pushed to and fro over the floor, with rests."""
    rng, seconds, wall, way = stage.rng, stage.seconds, stage.wall, stage.way
    times, places = [rng.uniform(-0.3, 0)], [-way * wall * rng.uniform(0.3, 0.9)]
    rests = []
    side = way
    while times[-1] < seconds:
        places.append(side * wall * rng.uniform(0.3, 0.95))
        rests.append(rng.uniform(0, 0.25) if stage.long else rng.uniform(0, 0.08))
        times.append(times[-1] + rng.uniform(0.3, 0.6) + rests[-1])
        side = -side
    begin, place, rest = np.array(times), np.array(places), np.array(rests)

    def pushed(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        k = np.clip(np.searchsorted(begin, t, "right") - 1, 0, len(rest) - 1)
        takes = begin[k + 1] - begin[k] - rest[k]
        part = np.clip((t - begin[k]) / takes, 0, 1)
        far = place[k + 1] - place[k]
        speed = np.abs(far) * math.pi / 2 / takes * np.sin(math.pi * part)
        return place[k] + far * (0.5 - 0.5 * np.cos(math.pi * part)), speed

    return Programme(
        lambda t: (pushed(t)[0], 0 * t, 0 * t), np.zeros(0), np.zeros(0), lambda t: pushed(t)[1] / 3
    )


def _roll(stage: _Stage) -> Programme:
    """Rolls along the floor, faster and slower."""
    rng, radius, wall, way, first = stage.rng, stage.radius, stage.wall, stage.way, stage.first
    pace, swing, beat, phase = (
        rng.uniform(0.8, 1.5),
        rng.uniform(0.4, 0.8),
        rng.uniform(0.7, 1.3),
        rng.uniform(0, 2 * math.pi),
    )
    w = 2 * math.pi * beat

    def gone(t: np.ndarray) -> np.ndarray:
        return pace * (t + swing / w * (np.cos(phase) - np.cos(w * t + phase)))

    def rolled(t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = moving.between_walls(first + way * gone(t), wall)
        return x, 0 * t, -(x - first) / radius

    def drive(t: np.ndarray) -> np.ndarray:
        return pace * (1 + swing * np.sin(w * t + phase)) / 1.5 * (0.7 + 0.3 * np.cos(2 * gone(t) / radius))

    return Programme(rolled, np.zeros(0), np.zeros(0), drive)


def _whoosh(stage: _Stage) -> Programme:
    """Floats up and down in the air."""
    rng, room = stage.rng, stage.room
    beat, phase, late, slow = (
        rng.uniform(0.8, 1.4),
        *rng.uniform(0, 2 * math.pi, 2),
        rng.uniform(0.2, 0.45),
    )
    high = room * rng.uniform(0.25, 0.36)
    turn = 1.2 if stage.long else 0.3  # how uneven its beat is

    def floating(t: np.ndarray) -> np.ndarray:
        return 2 * math.pi * beat * t + turn * np.sin(2 * math.pi * slow * t + late) + phase

    def fast(t: np.ndarray) -> np.ndarray:
        return np.abs(
            high
            * np.cos(floating(t))
            * 2
            * math.pi
            * (beat + turn * slow * np.cos(2 * math.pi * slow * t + late))
        )

    across = stage.aside(rng.uniform(0.15, 0.6))
    return Programme(
        lambda t: (across(t), room * 0.55 + high * np.sin(floating(t)), 0 * t),
        np.zeros(0),
        np.zeros(0),
        lambda t: (fast(t) / 4) ** 1.5,
    )


_COURSES: dict[str, Callable[[_Stage], Programme]] = {
    "bounce": _bounce,
    "thud": _thud,
    "hammer": _hammer,
    "scrape": _scrape,
    "roll": _roll,
    "whoosh": _whoosh,
}


# ---------------------------------------------------------------------------------------------- what is heard


def _band(rng: np.random.Generator, length: int, shape: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Noise (L,) of standard deviation 1 whose spectrum has the given shape over frequencies in Hz."""
    gain = shape(np.fft.rfftfreq(length, 1 / RATE))
    wave = np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) * gain, length)
    return wave / max(wave.std(), 1e-9)


def sound(
    event: str, made: Programme, rng: np.random.Generator, seconds: float, radius: float, material: int
) -> np.ndarray:
    """(L,) of the solid alone: impacts by modal synthesis, all else noise that follows its speed."""
    length = round(seconds * RATE)
    if event in STRUCK:
        seed = int(rng.integers(2**31))
        return (
            moving.strike(
                made.times, made.speeds, radius, _MATERIALS[material], seconds=seconds, rate=RATE, seed=seed
            )
            .numpy()
            .astype(np.float64)
        )
    t = np.arange(length) / RATE
    lowest = moving.PITCH / radius * math.exp(0.08 * rng.standard_normal())
    drive = np.clip(made.driven(t), 0, 2)
    if event == "scrape":
        centre, flutter = 2.5 * lowest * _BRIGHT[material], rng.uniform(8, 14)
        wave = _band(rng, length, lambda f: np.exp(-0.5 * ((f - centre) / (1.2 * lowest)) ** 2))
        return (
            0.16
            * wave
            * drive
            * (0.75 + 0.25 * np.sin(2 * math.pi * flutter * t + rng.uniform(0, 2 * math.pi)))
        )
    if event == "roll":
        of = moving.MATERIALS[_MATERIALS[material]]
        partials = [
            (lowest * r, a, 30 + of.decay * (lowest * r / 1000) ** of.power)
            for r, a in zip(of.ratios, of.amplitudes)
        ]
        wave = _band(
            rng,
            length,
            lambda f: sum(a / (1 + ((f - p) / d) ** 2) for p, a, d in partials) + 0.4 * np.exp(-f / 150),
        )
        return 0.10 * wave * drive
    return 0.14 * _band(rng, length, lambda f: np.exp(-f / 500)) * drive


@dataclass(frozen=True)
class Channel:
    """What a recording adds: a tilt of the spectrum (dB over the four octaves round 1 kHz), a peak (dB, at so
    many Hz), hum and noise.
    """

    tilt: float
    peak: float
    at: float
    hum: float
    mains: float
    noise: float


def channel(number: int) -> Channel:
    """One of the twelve channels, 0 to 11; those from 8 on are in no training split."""
    if not 0 <= number < BANK + NEW:
        raise CourseError(f"channel {number}; there are {BANK + NEW}, numbered from 0")
    rng = np.random.default_rng([0xCA, number])
    return Channel(
        rng.uniform(-24, 24),
        rng.uniform(-20, 20),
        100 * 25 ** rng.random(),
        rng.uniform(0, 0.1),
        rng.choice([50.0, 60.0]),
        rng.uniform(0, 0.06),
    )


@explained
def recorded(wave: np.ndarray, through: Channel, strength: float, rng: np.random.Generator) -> np.ndarray:
    """A sound (L,) as a channel passes it on, at a strength of 0 (as it is, but for a faint noise) to 1; made
    softer where it would clip.
    """
    octave = np.log2(np.maximum(np.fft.rfftfreq(len(wave), 1 / RATE), 20) / 1000)
    gain = through.tilt * np.clip(octave / 2, -1, 1) + through.peak * np.exp(
        -0.5 * ((octave - math.log2(through.at / 1000)) / 0.4) ** 2
    )
    wave = np.fft.irfft(np.fft.rfft(wave) * 10 ** (strength * gain / 20), len(wave))
    t, phase = np.arange(len(wave)) / RATE, rng.uniform(0, 2 * math.pi)
    hum = sum(
        a * np.sin(k * (2 * math.pi * through.mains * t + phase)) for k, a in ((1, 1.0), (2, 0.5), (3, 0.3))
    )
    wave = (
        wave
        + strength * through.hum * hum
        + (0.002 + strength * through.noise) * rng.standard_normal(len(wave))
    )
    return wave * min(1, 0.98 / max(np.abs(wave).max(), 1e-12))


def _outside(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """(L,) a tone of 50 ms from something that is not in the picture."""
    t = np.arange(round(seconds * RATE)) / RATE - rng.uniform(0, seconds)
    return (
        rng.uniform(0.05, 0.2)
        * np.exp(-0.5 * (t / 0.025) ** 2)
        * np.sin(2 * math.pi * rng.uniform(400, 2500) * t)
    )


# ---------------------------------------------------------------------------------------------- data sets


@takes(
    train=WHOLE,
    validation=WHOLE,
    test=WHOLE,
    size=WHOLE,
    background=REAL,
    channel=REAL,
    distractors=REAL,
    seconds=REAL,
    seed=SEED,
    venue=REAL,
    coupling=REAL,
)
def events(
    train: int = 1200,
    validation: int = 300,
    test: int = 600,
    *,
    seconds: float = 1.0,
    size: int = 32,
    background: float = 0.3,
    channel: float = 0.5,
    venue: float = 0.0,
    coupling: float = 1.0,
    distractors: float = 0.5,
    new: bool = False,
    stereo: bool = False,
    seed: int = 0,
    cache: bool = True,
) -> Data:
    """Films with sound, in three splits that share none; the label is what happens, one of EVENTS.

    Args:
        train, validation, test: how many of each.
        seconds: of each film, 0.5 to 10. One second is for clustering; three or more are scenes to cut
            windows from (see `programme`).
        size: pixels along a side, 16 to 128. Always 16 frames and 8,000 samples of sound per second.
        background: 0 to 1, how strongly one of eight backgrounds shows: the nuisance that only the picture
            has.
        channel: 0 to 1, how strongly one of eight channels colours the sound: the nuisance that only the
            sound has.
        venue: 0 to 1, the share of films whose channel goes with their background: a nuisance that both have.
        coupling: 0 to 1, the share of films with their own sound; the others have that of another film of the
            same event.
        distractors: 0 to 1, the share of films with a silent second solid, and (drawn apart) of those with a
            tone from outside.
        new: the test split has the four backgrounds and channels that no training split has.
        stereo: also keep both ears (extra "stereo"): the solid is heard from where it is.
        seed: of the world.
        cache: keep the films on disk (`SSLCOURSE_CACHE`).

    Returns: `Data` whose samples have `video` (N, 3, T, size, size), `audio` (N, L), `fps` and `rate`;
        factors `size`, `force` (mean speed of the impacts, or how strongly it sounds on), `material`,
        `shiny`, `direction`, `shape`, `hue`, `background`, `channel`, `second` (a silent solid), `outside` (a
        tone); extras `mask` (T, H, W; 1 the solid that is heard, 2 the silent one), `impacts` and `speeds`
        (32,), NaN after the last.
    """
    shares = {
        "background": background,
        "channel": channel,
        "venue": venue,
        "coupling": coupling,
        "distractors": distractors,
    }
    for name, value, low, high in (
        ("seconds", seconds, 0.5, 10),
        ("size", size, 16, 128),
        *((k, v, 0, 1) for k, v in shares.items()),
    ):
        if not low <= value <= high:
            raise CourseError(f"{name}={value}; choose {low} to {high}")
    if seconds * FPS % 1:
        raise CourseError(
            f"seconds={seconds} is {seconds * FPS:g} frames; choose a number of sixteenths, such as "
            f"{round(seconds * FPS) / FPS:g}"
        )
    parts = []
    for split, n in (("train", train), ("validation", validation), ("test", test)):
        if n < 1:
            raise CourseError(f"{split}={n}; ask for at least one film")
        knobs = {"seconds": seconds, "size": size, **shares, "new": new and split == "test", "stereo": stereo}
        found = _cached(split, n, seed, cache, knobs)
        columns = {k[7:]: v for k, v in found.items() if k.startswith("factor_")}
        kinds = {
            "material": _MATERIALS,
            "shiny": ("matte", "shiny"),
            "direction": ("left", "right"),
            "shape": NAMES,
            "hue": 1.0,
            "background": tuple(f"background {i}" for i in range(BANK + NEW)),
            "channel": tuple(f"channel {i}" for i in range(BANK + NEW)),
            "second": ("alone", "a second solid"),
            "outside": ("nothing", "a tone"),
        }
        extra = {k: found[k] for k in ("mask", "impacts", "speeds", "stereo") if k in found}
        name = "toybox events" if seconds <= 1.5 else "toybox scenes"
        parts.append(
            Samples(
                video=found["video"],
                audio=found["audio"],
                rate=RATE,
                fps=FPS,
                label=found["label"],
                classes=EVENTS,
                factors=columns,
                factor_names=kinds,
                extra=extra,
                split=split,
                name=name,
            )
        )
    return Data(*parts)


@takes(
    train=WHOLE,
    validation=WHOLE,
    test=WHOLE,
    seconds=REAL,
    seed=SEED,
)
def scenes(
    train: int = 400, validation: int = 100, test: int = 100, *, seconds: float = 3.0, seed: int = 0, **knobs
) -> Data:
    """Longer films to cut windows from, for synchronisation: `events` with `seconds=3` and fewer films."""
    return events(train, validation, test, seconds=seconds, seed=seed, **knobs)


def film(samples: Samples, index: int = 0) -> moving.Film:
    """One film of `events`, for the player: `widgets.video.clip(film.frames, film.audio, film.fps,
    film.rate)`.
    """
    if samples.kind != "video" or samples.audio is None:
        raise CourseError("these samples have no films with sound; take some of toybox.events()")
    frames = samples.video[index].cpu()
    mask = (
        samples.extra["mask"][index].cpu()
        if "mask" in samples.extra
        else torch.zeros(frames.shape[1:], dtype=torch.uint8)
    )
    known = {}
    for name in {"impacts", "speeds"} & set(samples.extra):
        row = samples.extra[name][index].cpu().double()
        known[name] = row[~row.isnan()]
    audio = samples.audio[index].cpu().float() / 32767
    return moving.Film(
        frames,
        mask,
        torch.zeros(frames.shape[1], 0, 2),
        ("one solid",),
        float(samples.fps or FPS),
        audio,
        samples.rate,
        **known,
    )


def make(
    n: int,
    split: str = "train",
    *,
    seconds: float = 1.0,
    size: int = 32,
    background: float = 0.3,
    channel: float = 0.5,
    venue: float = 0.0,
    coupling: float = 1.0,
    distractors: float = 0.5,
    new: bool = False,
    stereo: bool = False,
    seed: int = 0,
) -> dict[str, Tensor]:
    """The first `n` films of a split of `events` as tensors: video, mask, audio (int16), label, impacts,
    speeds, and factor_NAME columns.
    """
    at = (np.arange(round(seconds * FPS)) + 0.5) / FPS
    looks, rows, waves, ears, poses = _looks(n, seed, split), [], [], [], []
    supports = _supports(looks)
    for i in range(n):
        # of its own: the first films are the same whatever n is
        rng = np.random.default_rng([seed, _SPLIT_ID[split], 0xA57, i])
        event, material = int(rng.integers(len(EVENTS))), int(rng.integers(len(_MATERIALS)))
        first = BANK if new else 0
        ground, heard = first + rng.integers(NEW if new else BANK, size=2)
        heard = ground if rng.random() < venue else heard
        own, second, outside = rng.random() < coupling, rng.random() < distractors, rng.random() < distractors
        shiny = _SHINY[material] if rng.random() < 0.9 else not _SHINY[material]
        radius, floor, roll = rng.uniform(0.17, 0.34), rng.uniform(-0.92, -0.7), float(looks["roll"][i])
        wall = 0.98 - radius
        down = supports[i] * radius / _RADIUS  # (360,) by the angle
        room = 0.98 - floor - radius - down[round(math.degrees(roll)) % 360]
        made = programme(EVENTS[event], rng, seconds, radius, room, wall)
        x, height, turn = made.path(at)
        angle = roll + turn
        y = floor + down[np.round(np.degrees(angle)).astype(int) % 360] + height
        poses.append(np.stack([x, y, angle, np.full_like(x, radius / _RADIUS)]))
        shown, around = made, (radius, material)
        if not own:  # what it sounds like is another course of the same event, of another solid
            around = (rng.uniform(0.17, 0.34), int(rng.integers(len(_MATERIALS))))
            made = programme(EVENTS[event], rng, seconds, around[0], room, wall)
        wave = sound(EVENTS[event], made, rng, seconds, *around)
        added = _outside(rng, seconds) if outside else np.zeros_like(wave)
        waves.append(recorded(wave + added, _channel(heard), channel, rng))
        if stereo:
            # 0 is far left, a quarter turn far right
            pan = (shown.path((np.arange(len(wave)) + 0.5) / RATE)[0] + 1) * math.pi / 4
            ears.append(
                np.stack(
                    [
                        recorded(2**0.5 * wave * np.cos(pan) + added, _channel(heard), channel, rng),
                        recorded(2**0.5 * wave * np.sin(pan) + added, _channel(heard), channel, rng),
                    ]
                )
            )
        force = made.speeds.mean() if len(made.speeds) else made.driven(at).mean() * moving.USUAL_SPEED
        way = x[min(2, len(x) - 1)] > x[0]
        rows.append(
            (
                event,
                material,
                shiny,
                radius,
                force,
                way,
                ground,
                heard,
                second,
                outside,
                floor,
                shown.times,
                shown.speeds,
            )
        )
    names = (
        "event", "material", "shiny", "size", "force", "direction", "background", "channel", "second",
        "outside", "floor", "times", "speeds",
    )  # fmt: skip
    column = dict(zip(names, zip(*rows)))
    grounds, floors, seconds_there, shining = (
        np.array(column[name]) for name in ("background", "floor", "second", "shiny")
    )
    video, mask = _drawn(
        looks, np.stack(poses), grounds, floors, seconds_there, shining, at, size, background
    )
    numbers = {name: column[name] for name in ("size", "force")}
    kinds = {
        name: column[name]
        for name in ("material", "shiny", "direction", "background", "channel", "second", "outside")
    }
    factor = {
        **{k: torch.from_numpy(np.array(v)).float() for k, v in numbers.items()},
        **{k: torch.from_numpy(np.array(v)).long() for k, v in kinds.items()},
        "shape": looks["shape"][:, 1],
        "hue": looks["hue"][:, 1],
    }
    result = {
        "video": video,
        "mask": mask,
        "audio": _whole(np.stack(waves)),
        "label": torch.tensor(column["event"]),
        "impacts": _padded(column["times"]),
        "speeds": _padded(column["speeds"]),
    }
    if stereo:
        result["stereo"] = _whole(np.stack(ears))
    return {**result, **{f"factor_{name}": values for name, values in factor.items()}}


_channel = channel  # `events` and `make` have an argument of that name


def _whole(wave: np.ndarray) -> Tensor:
    return torch.from_numpy(np.round(wave * 32767).astype(np.int16))


def _padded(rows) -> Tensor:
    result = torch.full((len(rows), IMPACTS), math.nan)
    for i, row in enumerate(rows):
        result[i, : len(row)] = torch.from_numpy(np.asarray(row[:IMPACTS])).float()
    return result


# ---------------------------------------------------------------------------------------------- what is seen


def _looks(n: int, seed: int, split: str) -> dict[str, Tensor]:
    """(n, 2): the silent solid, and in front of it the one that is heard; `roll` (n,) is the second one's
    pose, and further columns are (n,).
    """
    draw = films.Draws(n, seed, split, 0xA5E, 24)
    looks = films.appearance(draw, 2)
    return {
        **looks,
        "roll": draw.between(0, 2 * math.pi),
        "light": draw.between(5, 7),
        "bright": draw.between(0.85, 1.15),
        "speckle": draw.below(2**24),
        "path": draw.between(0, 1, 5),
    }


def _supports(looks: dict[str, Tensor]) -> np.ndarray:
    """(n, 360): how far below its centre a solid of size 1 reaches, in halves of a picture, when turned by so
    many degrees: read from its mask.
    """
    side, result = 48, []
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    angle = torch.arange(360) * math.pi / 180
    for start in range(0, len(looks["roll"]), _CHUNK):
        part = slice(start, start + _CHUNK)
        scene = {k: looks[k][part, 1] for k in ("shape", "pattern", "hue", "saturation", "yaw", "pitch")}
        still = torch.zeros(len(scene["hue"]))
        scene.update({k: still for k in ("roll", "x", "y", "light")}, size=still + 1)
        on = world.solid(scene, side)[1] > 0.5
        for covered in on:
            row, column = (covered.view(side, side)).nonzero(as_tuple=True)
            x, y = axis[column], -axis[row]
            result.append((-(x * angle[:, None].sin() + y * angle[:, None].cos())).amax(1) + 1 / side)
    return torch.stack(result).numpy()


def _drawn(
    looks,
    poses: np.ndarray,
    ground: np.ndarray,
    floor: np.ndarray,
    second: np.ndarray,
    shiny: np.ndarray,
    at: np.ndarray,
    size: int,
    background: float,
) -> tuple[Tensor, Tensor]:
    n, frames = len(poses), len(at)
    there = torch.from_numpy(poses).float()  # (n, 4, T): x, y, roll, size
    path, t = looks["path"], torch.from_numpy(at).float()
    still = torch.from_numpy(np.asarray(second))
    other = torch.stack(
        [
            torch.where(
                still[:, None],
                0.7 * (2 * math.pi * (path[:, :1] + (0.15 + 0.35 * path[:, 1:2]) * t)).sin(),
                _NOTHING,
            ),
            0.15 + 0.55 * (2 * math.pi * (path[:, 2:3] + (0.15 + 0.35 * path[:, 3:4]) * t)).sin(),
            (2 * t).expand(n, -1),
            (0.2 + 0.18 * path[:, 4:5]).expand(-1, frames),
        ],
        1,
    )
    pose = {
        name: torch.stack([other[:, i], there[:, i]], 1) for i, name in enumerate(("x", "y", "roll", "size"))
    }
    banks = [np.random.default_rng([0xBA, int(b)]) for b in range(BANK + NEW)]
    grain = torch.from_numpy(
        np.stack([r.random((films.GROUND_CELLS, films.GROUND_CELLS, 3), dtype=np.float32) for r in banks])
    )
    tint, level = torch.from_numpy(np.stack([r.uniform((0, 0.2), (1, 0.8)) for r in banks])).float().unbind(1)
    which = torch.from_numpy(np.asarray(ground)).long()
    gloss = torch.stack(
        [torch.full((n,), 0.3), torch.where(torch.from_numpy(np.asarray(shiny)), 0.9, 0.0)], 1
    )
    scenes = films.Scenes(
        {**{k: looks[k] for k in ("shape", "pattern", "hue", "saturation", "yaw", "pitch")}, "gloss": gloss},
        {
            "light": looks["light"],
            "ground": level[which],
            "ground_hue": tint[which],
            "speckle": looks["speckle"],
            "grain": grain[which],
            "floor": torch.from_numpy(np.asarray(floor)).float(),
        },
        torch.zeros(n, 2),
        lambda times: looks["bright"][:, None].expand(-1, len(times)),
        lambda times: pose,
        {},
    )
    video, mask = films.draw(scenes, frames, size, background)
    return video, torch.tensor([0, 2, 1], dtype=torch.uint8)[mask.long()]


# ---------------------------------------------------------------------------------------------- kept on disk


def _cached(split: str, n: int, seed: int, cache: bool, knobs: dict) -> dict[str, Tensor]:
    name = disk_cache.named(**knobs)
    path = disk_cache.place("sounding", f"{split}-{n}-{name}-seed{seed}")
    frames, size = round(knobs["seconds"] * FPS), knobs["size"]
    shapes = {
        "video": (n, 3, frames, size, size),
        "mask": (n, frames, size, size),
        "audio": (n, round(knobs["seconds"] * RATE)),
        "label": (n,),
    }
    found = disk_cache.arrays(
        path, shapes, lambda: {k: v.numpy() for k, v in make(n, split, seed=seed, **knobs).items()}, cache
    )
    return {k: torch.from_numpy(v) for k, v in found.items()}
