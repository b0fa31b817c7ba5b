"""Two ways to look into a representation: a map of thousands of points to hover over, select and listen to,
and the nearest neighbours of every image under several encoders.

    # val: a data set with known factors
    view = clusters(tsne(h), val.label, val.image, classes=val.classes, columns=val)
    view.selected  # what the lasso caught, as indices
    neighbours({"SimCLR": h, "pixels": pixels(val)}, val.image, val.label, classes=val.classes)

Both are drawn in the browser from data that were sent once, so they also live on a page without a kernel.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import traitlets

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import WHOLE, takes
from sslcourse.widgets.views import View, Whole, packed, script, sprite

MOST_POINTS = 20_000  # hover and lasso still answer within 50 ms, a new colouring within about 100
MOST_CATEGORIES = 100  # ten colours times ten markers: more could not be told apart
MOST_SAMPLES = 5_000_000  # of sound kept inside a view, at a byte each: five minutes at 16 kHz
MOST_PIXELS = 6_000_000  # of all thumbnails together: about 3 MB as a JPEG
MOST_IMAGES = 5_000  # in a neighbour browser
MOST_NEIGHBOURS = 24
MOST_ENCODERS = 3
FRAMES_PER_SECOND = 8  # of clips that come without a sound to keep pace with
# positions are uint16 over the square that holds them; a category that is not known
_FULL, _NONE = (65535, 65535)
# what a thumbnail is reduced to; multiples of JPEG's blocks where tiles may meet them
_SIDES = (128, 96, 64, 48, 32, 24, 16)
_LEVELS = 64  # colours of a continuous scale
_DRAWN = 3_000  # points on the picture that stands in for the view


# ---------------------------------------------------------------------------------------------- what comes in


def _array(x) -> np.ndarray:
    if not hasattr(x, "detach"):
        return np.asarray(x)
    x = x.detach().cpu()
    # NumPy has no bfloat16
    return (x.float() if x.is_floating_point() and x.element_size() < 4 else x).numpy()


def _whole(x) -> int | None:
    """A whole number (also NumPy's or PyTorch's), else None."""
    try:
        return None if isinstance(x, bool) else operator.index(x)
    except TypeError:
        return None


def _positions(xy) -> np.ndarray:
    """(N, 2) float64, checked."""
    xy = _array(xy)
    if xy.ndim != 2 or xy.shape[1] != 2 or xy.dtype.kind not in "fiu":
        raise CourseError(
            f"xy has shape {xy.shape}; expected (N, 2): evaluate.tsne(features) or map2d(features) makes "
            "two coordinates of many"
        )
    if not len(xy):
        raise CourseError("there is no point to show: xy has length 0")
    if len(xy) > MOST_POINTS:
        every = -(-len(xy) // MOST_POINTS)
        raise CourseError(
            f"{len(xy):,} points; this view shows up to {MOST_POINTS:,}: take a part of them, xy[::{every}]"
        )
    xy = xy.astype(np.float64)
    bad = ~np.isfinite(xy).all(1)
    if bad.any():
        raise CourseError(
            f"{int(bad.sum())} positions in xy are NaN or infinite, the first is that of point "
            f"{int(bad.argmax())}; "
            "leave them out, or look for what diverged"
        )
    return xy


def pack_positions(xy) -> np.ndarray:
    """(N, 2) positions as uint16 within the smallest square around them; both axes keep the same scale."""
    xy = _positions(xy)
    low, high = xy.min(0), xy.max(0)
    reach = float((high - low).max()) / 2 or 1.0
    return np.round(((xy - (low + high) / 2) / reach * 0.5 + 0.5) * _FULL).clip(0, _FULL).astype(np.uint16)


def _classes(labels, n: int, name: str = "labels") -> np.ndarray:
    """(N,) class numbers, -1 where unknown."""
    given = _array(labels)
    if given.shape != (n,):
        raise CourseError(f"{n} points but {name} of shape {given.shape}; pass one class number per point")
    if given.dtype.kind not in "iub" and not (
        given.dtype.kind == "f" and np.array_equal(given, np.round(given))
    ):
        raise CourseError(f"{name} are of type {given.dtype}; pass class numbers, -1 where unknown")
    codes = given.astype(np.int64)
    if codes.min(initial=0) < -1 or codes.max(initial=0) >= _NONE:
        raise CourseError(
            f"{name} go from {codes.min()} to {codes.max()}; number the classes from 0, and write -1 "
            "where "
            "unknown"
        )
    return codes


@dataclass(frozen=True)
class Column:
    """One thing that points can be coloured by.

    `kind` is "category" (values are codes into `names`, -1 where unknown), "number" or "angle" (values are
    float32, NaN where unknown; an angle comes back to where it began after `turn`). `colours`, `marks` and
    `signs`, one per name, replace the usual ones."""

    name: str
    kind: str
    values: np.ndarray
    names: tuple[str, ...] = ()
    turn: float = 0.0
    colours: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()

    def packed(self) -> bytes:
        """Codes as uint16 (65535 where unknown), numbers as float32."""
        if self.kind == "category":
            return packed(np.where(self.values < 0, _NONE, self.values), "u2")
        return packed(self.values, "f4")

    def about(self) -> dict:
        """What the view must know of it, beside its values."""
        known = self.values[np.isfinite(self.values)] if self.kind != "category" else np.zeros(0)
        return {
            "name": self.name,
            "kind": self.kind,
            "names": list(self.names),
            "turn": float(self.turn),
            "colours": list(self.colours),
            "marks": list(self.marks),
            "signs": list(self.signs),
            "low": float(known.min(initial=math.inf)) if len(known) else 0.0,
            "high": float(known.max(initial=-math.inf)) if len(known) else 1.0,
        }


def as_column(name: str, given, n: int) -> Column:
    """What a column of the caller's means.

    Args:
        name: of the column.
        given: (N,) values, (values, names of the values), or (values, full turn) for an angle. Words and
            booleans are categories; so are whole numbers while there are at most 100 different ones (-1:
            unknown); all other numbers are continuous.
        n: how many points there are.

    Raises:
        CourseError: when the length, the type or a code does not fit.
    """
    kind = None
    if isinstance(given, tuple) and len(given) == 2 and np.ndim(_array(given[0])) == 1:
        given, kind = given
    values = _array(given)
    if values.shape != (n,):
        raise CourseError(
            f"the column {name!r} has shape {values.shape} for {n} points; pass one value per point"
        )
    if kind is None or (isinstance(kind, Sequence) and not isinstance(kind, str) and not len(kind)):
        return _guessed(name, values)
    kind = 2 * math.pi if isinstance(kind, str) and kind == "angle" else kind  # as `Samples` may say it
    if isinstance(kind, (int, float, np.number)) and not isinstance(kind, bool):
        if not kind > 0 or not math.isfinite(kind):
            raise CourseError(
                f"the column {name!r} has a full turn of {kind}; pass (values, turn) with a turn above "
                "0, "
                "such as 2 * math.pi"
            )
        return Column(name, "angle", _floats(name, values), turn=float(kind))
    if isinstance(kind, str) or not isinstance(kind, Sequence):
        raise CourseError(
            f"the column {name!r} came with {kind!r}; pass (values, names of the values) or (values, "
            "full "
            "turn of the angle)"
        )
    codes = _classes(values, n, f"the codes of column {name!r}")
    if codes.max(initial=-1) >= len(kind):
        raise CourseError(
            f"the column {name!r} has the code {int(codes.max())} but only {len(kind)} names; pass a "
            "name "
            "for each code"
        )
    return Column(name, "category", codes, tuple(str(k) for k in kind))


def _floats(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "fiub":
        raise CourseError(f"the column {name!r} is of type {values.dtype}; expected numbers")
    numbers = values.astype(np.float32)
    return np.where(np.isfinite(numbers), numbers, np.float32(np.nan))


def _guessed(name: str, values: np.ndarray) -> Column:
    if values.dtype.kind == "b":
        return Column(name, "category", values.astype(np.int64), ("no", "yes"))
    if values.dtype.kind in "OUS":
        words = ["" if v is None else v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()]
        names = sorted({w for w in words if w})
        if len(names) > MOST_CATEGORIES:
            raise CourseError(
                f"the column {name!r} has {len(names)} different words; up to {MOST_CATEGORIES} can be "
                "told apart"
            )
        at = {w: i for i, w in enumerate(names)}
        return Column(name, "category", np.array([at.get(w, -1) for w in words], np.int64), tuple(names))
    if values.dtype.kind in "iu":
        low, high = int(values.min(initial=0)), int(values.max(initial=0))
        # the number itself is the code, so that cluster 3 has one colour in every view
        if low >= -1 and high < MOST_CATEGORIES:
            return Column(name, "category", values.astype(np.int64), tuple(str(i) for i in range(high + 1)))
        different, codes = np.unique(values, return_inverse=True)
        if len(different) <= MOST_CATEGORIES:
            return Column(
                name,
                "category",
                codes.reshape(-1).astype(np.int64),
                tuple(str(v) for v in different.tolist()),
            )
    return Column(name, "number", _floats(name, values))


def gathered(columns, n: int) -> list[Column]:
    """All columns of the caller's: from a mapping, a data set with factors (`Samples`), or a list of such.

    A data set knows what kind each of its factors is (`factor_names`), and its test labels stay sealed here
    too."""
    if columns is None:
        return []
    if isinstance(columns, Mapping):
        return [as_column(str(name), given, n) for name, given in columns.items()]
    if hasattr(columns, "factors") and hasattr(columns, "factor_names"):
        kinds = columns.factor_names
        return [
            as_column(str(name), (values, kinds[name]) if name in kinds else values, n)
            for name, values in columns.factors.items()
        ]
    if isinstance(columns, (list, tuple)):
        return [column for part in columns for column in gathered(part, n)]
    raise CourseError(
        f"columns is a {type(columns).__name__}; pass {{name: values}}, a data set that has factors, "
        "or a "
        "list of such"
    )


def _thumbnails(images, n: int, most: int = MOST_PIXELS) -> tuple[bytes, dict]:
    """A sheet of n square thumbnails, as large as `most` pixels allow."""
    from sslcourse import show

    x = show.to_uint8(images)
    if len(x) != n:
        raise CourseError(f"{n} points but {len(x)} images; pass one image per point")
    x = _squared(x)
    own = x.shape[1]
    side = next((s for s in (own, *_SIDES) if s <= own and n * s * s <= most), min(own, _SIDES[-1]))
    return sprite(x.transpose(0, 3, 1, 2), side)


def _squared(x: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) centred on a black square: a thumbnail must not be stretched."""
    h, w = x.shape[1:3]
    if h == w:
        return x
    side = max(h, w)
    page = np.zeros((len(x), side, side, 3), np.uint8)
    top, left = (side - h) // 2, (side - w) // 2
    page[:, top : top + h, left : left + w] = x
    return page


def frames_kept(n: int, frames: int, side: int, most: int = MOST_PIXELS) -> tuple[int, int]:
    """How many frames of each of n clips a view keeps, and at which side in pixels.

    Pictures are made smaller, down to 32 pixels, before frames are left out, down to 4.

    Raises:
        CourseError: when not even small, short clips fit into `most` pixels.
    """
    counts = [frames]
    while counts[-1] > 4:
        counts.append(max(4, -(-counts[-1] // 2)))
    sides = [side, *(s for s in _SIDES if s < side)]
    for smallest in (32, 0):
        for count in counts:
            for s in sides:
                if (s >= smallest or s == side) and n * count * s * s <= most:
                    return count, s
    fit = most // (counts[-1] * sides[-1] ** 2)
    raise CourseError(f"{n:,} clips are more than this view can carry; pass up to {fit:,} of them")


def _films(clips, n: int) -> tuple[bytes, dict, np.ndarray]:
    """A sheet of all frames of all clips (clip after clip), what the view must know of it, and each clip's
    middle frame (N, 3, H, W).
    """
    from sslcourse import show

    shape = tuple(clips.shape) if hasattr(clips, "shape") else np.shape(clips)
    if len(shape) != 5 or shape[1] != 3 or shape[2] < 1:
        raise CourseError(f"clips of shape {shape}; expected (N, 3, T, H, W)")
    if shape[0] != n:
        raise CourseError(f"{n} points but {shape[0]} clips; pass one clip per point")
    frames, side = frames_kept(n, shape[2], max(shape[3:]))
    at = np.linspace(0, shape[2] - 1, frames).round().astype(int)
    stack = np.stack([_squared(show.to_uint8(clips[:, :, int(t)])) for t in at], 1)  # (N, T, S, S, 3)
    middle = stack[:, frames // 2].transpose(0, 3, 1, 2)
    data, about = sprite(stack.reshape(-1, *stack.shape[2:]).transpose(0, 3, 1, 2), side)
    return data, {**about, "frames": frames, "seconds": shape[2] / FRAMES_PER_SECOND}, middle


# ---------------------------------------------------------------------------------------------- sound


def _quiet(wave) -> np.ndarray:
    """Waveforms (..., L) as float32 within -1..1: whole numbers are divided by their type's range, a waveform
    that is
    louder is turned down."""
    x = _array(wave)
    if x.dtype.kind in "iu":
        x = x.astype(np.float32) / np.iinfo(x.dtype).max
    x = np.nan_to_num(x.astype(np.float32))
    return x / np.maximum(1, np.abs(x).max(-1, keepdims=True, initial=0))


def compand(wave) -> np.ndarray:
    """Samples in -1..1 as int8 by the mu-law of telephones: a byte each, wrong by at most 2.3 % of the sample
    and 1e-4.
    """
    x = np.asarray(wave, np.float32)
    return np.round(np.sign(x) * np.log1p(255 * np.abs(x)) / math.log(256) * 127).astype(np.int8)


def expand(codes) -> np.ndarray:
    """What `compand` made, as float32 in -1..1. The view does the same."""
    y = np.asarray(codes, np.float32) / 127
    return (np.sign(y) * np.expm1(np.abs(y) * math.log(256)) / 255).astype(np.float32)


def _heard(audio, n: int, rate) -> tuple[object, dict | None, bytes]:
    """Where waveforms come from, what the view must know of them, and those that it carries itself."""
    if audio is None:
        return None, None, b""
    if _whole(rate) is None or not 8_000 <= rate <= 96_000:
        raise CourseError(f"rate={rate}; a browser plays 8000 to 96000 samples per second")
    if callable(audio):
        return audio, {"rate": int(rate), "length": 0, "stored": False}, b""
    waves = audio.detach().cpu() if hasattr(audio, "detach") else np.asarray(audio)
    if waves.ndim == 3 and waves.shape[1] == 1:
        waves = waves[:, 0]
    if waves.ndim != 2 or len(waves) != n or not waves.shape[1]:
        raise CourseError(
            f"audio of shape {tuple(waves.shape)} for {n} points; expected ({n}, L) waveforms, or a "
            "function from a "
            "point's number to its waveform"
        )
    length = int(waves.shape[1])
    stored = n * length <= MOST_SAMPLES
    return (
        waves,
        {"rate": int(rate), "length": length, "stored": stored},
        packed(compand(_quiet(waves)), "i1") if stored else b"",
    )


# -------------------------------------------------------------------------------- what a selection is made of


def figure(value: float) -> str:
    """A number for a label: whole numbers as they are, else about three figures, as the view writes it."""
    if not math.isfinite(value):
        return "none"
    size = abs(value)
    if value == int(value) and size < 1e6:
        return str(int(value))
    if size >= 1e6 or size < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent):+d}"
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"


def _percent(part: int, whole: int) -> str:
    whole_percent = math.floor(100 * part / whole + 0.5)
    return f"{whole_percent} %" if whole_percent or not part else "under 1 %"


def _word(column: Column, code: int) -> str:
    if code < 0:
        return "unknown"
    name = column.names[code]
    # "3 40 %" would be two numbers
    return f"{column.name} {name}" if re.fullmatch(r"[\d.-]+", name) else name


def _circular(values: np.ndarray, turn: float) -> tuple[float, float]:
    """Mean direction of angles, 0 to turn, and how much they agree: 0 (spread evenly) to 1 (all the same)."""
    phase = values.astype(np.float64) / turn * 2 * math.pi
    x, y = float(np.cos(phase).mean()), float(np.sin(phase).mean())
    return math.atan2(y, x) / (2 * math.pi) % 1.0 * turn, math.hypot(x, y)


def composition(column: Column | None, selected, n: int, most: int = 4) -> str:
    """What a selection is made of, in words: "123 of 5,000 selected: cube 80 %, cone 15 %, 2 others 5 %".

    Numbers are told by their range and mean, angles by their mean direction and agreement (the length of the
    mean of the unit vectors, 0 to 1), both beside those of all points. The view writes the same text.

    Args:
        column: what the points are coloured by, or None.
        selected: positions of the selected points.
        n: how many points there are.
        most: categories named before the rest is summed up.
    """
    at = np.asarray(selected, np.int64).reshape(-1)
    if not len(at):
        return f"none of {n:,} selected"
    head = f"{len(at):,} of {n:,} selected"
    if column is None:
        return head
    values = column.values[at]
    if column.kind == "category":
        codes, counts = np.unique(values, return_counts=True)
        order = sorted(range(len(codes)), key=lambda j: (-counts[j], codes[j] if codes[j] >= 0 else _NONE))
        shown, rest = (order, []) if len(order) <= most + 1 else (order[:most], order[most:])
        parts = [f"{_word(column, codes[j])} {_percent(int(counts[j]), len(at))}" for j in shown]
        if rest:
            parts.append(f"{len(rest)} others {_percent(int(sum(counts[j] for j in rest)), len(at))}")
        return f"{head}: {', '.join(parts)}"
    known, everybody = values[np.isfinite(values)], column.values[np.isfinite(column.values)]
    if not len(known):
        return f"{head}: {column.name} unknown"
    if column.kind == "angle":
        mean, agreement = _circular(known, column.turn)
        return (
            f"{head}: {column.name} around {figure(mean)}, agreement {agreement:.2f} (all "
            f"{_circular(everybody, column.turn)[1]:.2f})"
        )
    means = [figure(float(v.astype(np.float64).mean())) for v in (known, everybody)]
    return (
        f"{head}: {column.name} {figure(float(known.min()))} to {figure(float(known.max()))}, mean "
        f"{means[0]} (all {means[1]})"
    )


# ----------------------------------------------------------------------------------------- nearest neighbours


def nearest(features, k: int, chunk: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of each sample among all others by cosine similarity, in chunks of rows.

    Args:
        features: (N, D).
        k: 1 to N - 1.

    Returns:
        Indices (N, k) and similarities (N, k), nearest first; equal similarities in the order of the samples.
    """
    import torch

    f = torch.from_numpy(np.array(_array(features), np.float64))
    f = torch.nn.functional.normalize(f, dim=1)
    indices, similarities = np.empty((len(f), k), np.int64), np.empty((len(f), k), np.float64)
    for start in range(0, len(f), chunk):
        rows = torch.arange(start, min(start + chunk, len(f)))
        cosine = f[rows] @ f.T
        cosine[torch.arange(len(rows)), rows] = -math.inf  # not itself
        ordered, at = cosine.sort(stable=True, dim=1, descending=True)
        indices[start : start + len(rows)], similarities[start : start + len(rows)] = (
            at[:, :k].numpy(),
            ordered[:, :k].numpy(),
        )
    return indices, similarities


def precision(indices, labels, features=None, chunk: int = 512) -> tuple[float, float]:
    """Mean precision@k over all queries with a known class, and what a random order would reach.

    Args:
        indices: (N, k) neighbours of each sample.
        labels: (N,) class numbers, -1 where unknown. A neighbour of unknown class does not count as sharing
            one.
        features: (N, D) by which they are the nearest. With them, samples that are as near as the last
            neighbour count as the share of them that has a place, whichever stood first; without them the
            indices are taken as they are.

    Returns both as numbers from 0 to 1, NaN where no class is known.
    """
    indices, labels = np.asarray(indices), np.asarray(labels)
    known = np.flatnonzero(labels >= 0)
    if not len(known):
        return math.nan, math.nan
    share = (labels[indices[known]] == labels[known, None]).mean()
    if features is not None:
        share = float(np.concatenate(list(_fair(features, labels, known, indices.shape[1], chunk))).mean())
    others = np.bincount(labels[known])[labels[known]] - 1
    return float(share), float(others.mean() / (len(labels) - 1))


def _fair(features, labels: np.ndarray, queries: np.ndarray, k: int, chunk: int) -> Iterator[np.ndarray]:
    """Precision@k of some queries, where neighbours that are equally near share the places that are left."""
    import torch

    from sslcourse.train import ties

    f, label = ties.directions(torch.from_numpy(np.array(_array(features)))), torch.from_numpy(labels)
    for rows in torch.from_numpy(queries).split(chunk):
        cosine = f[rows] @ f.T
        cosine[torch.arange(len(rows)), rows] = -math.inf  # not itself
        same = label == label[rows, None]
        yield ((ties.places(cosine, k) * same).sum(1) / k).numpy()


# ---------------------------------------------------------------------------------------------- the views


@takes(rate=WHOLE)
def clusters(
    xy,
    labels=None,
    images=None,
    *,
    classes: Sequence[str] = (),
    columns=None,
    predicted=None,
    clips=None,
    audio=None,
    rate: int = 16000,
    title: str = "",
) -> Clusters:
    """A map of up to 20,000 points that answers the pointer: hover, click, lasso, and the selection as
    indices in Python.

    Hovering shows the picture and everything known about a point (a clip plays silently), a click pins it
    below the map and plays its sound, dragging draws a lasso (with Shift it adds, with Alt it removes).
    Points are coloured by class, by any column, or by
    whether the prediction is right. Keys: arrows walk from point to point, Enter pins, Space selects the
        point, Escape clears.

    Args:
        xy: (N, 2) positions, as `evaluate.tsne`, `evaluate.living_map` or `map2d` give them.
        labels: (N,) class numbers, -1 where unknown.
        images: (N, 3, H, W) uint8 or float 0..1; reduced where all together would have more than six million
            pixels.
        classes: names of the classes.
        columns: {name: (N,) values, (values, names of the values), or (values, full turn) for an angle}; or a
            data set that has factors (`data.validation`), or a list of such: `[{"cluster": assigned},
            data.validation]`. See `as_column`.
        predicted: (N,) predicted class numbers: adds the columns "predicted" and "correct". Needs `labels`.
        clips: (N, 3, T, H, W): shown in place of `images`. Frames are reduced and left out as `frames_kept`
            says. Clips last as long as their sound, or play 8 frames a second.
        audio: (N, L) waveforms, float -1..1 or integers, or a function from a point's number to its waveform.
            Up to five million samples (five minutes at 16 kHz) are kept in the view, at a byte each (mu-law),
            and play without a kernel. More, or a function, are asked of Python when a point is clicked; the
            view says so when no kernel answers.
        rate: samples of sound per second, 8,000 to 96,000.
        title: written above.

    Returns: The view. `view.selected` are the indices that the lasso holds (it can be set),
        `view.on_select(function)` calls a function with them at each change, `view.by` names the column that
        colours, `view.describe()` tells what the selection is made of.

    Raises:
        CourseError: when shapes, lengths, types or ranges do not fit together.
    """
    return Clusters(
        xy,
        labels,
        images,
        classes=classes,
        columns=columns,
        predicted=predicted,
        clips=clips,
        audio=audio,
        rate=rate,
        title=title,
    )


def _to_bytes(value, _widget) -> bytes:
    return bytes(value)  # a view's bytes arrive as a memoryview, which the trait would refuse


class Clusters(View):
    """The view that `clusters` makes."""

    _esm = script("clusters")

    positions = traitlets.Bytes(b"").tag(sync=True)  # (N, 2) uint16, little-endian as all that follow
    columns = traitlets.Bytes(b"").tag(sync=True)  # column after column: uint16 codes, or float32
    tiles = traitlets.Bytes(b"").tag(sync=True)  # a sheet of thumbnails, or of all frames
    sounds = traitlets.Bytes(b"").tag(sync=True)  # (N, L) int8, mu-law
    about = traitlets.Dict().tag(sync=True)
    chosen = traitlets.Bytes(b"").tag(sync=True, from_json=_to_bytes)  # uint32 indices of the selected points
    by = traitlets.Unicode("").tag(sync=True)  # the column that colours
    failed = traitlets.Unicode("").tag(sync=True)  # what went wrong in a function of the reader's

    def __init__(
        self,
        xy,
        labels=None,
        images=None,
        *,
        classes=(),
        columns=None,
        predicted=None,
        clips=None,
        audio=None,
        rate=16000,
        title="",
    ):
        from sslcourse import show

        self._xy = _positions(xy)
        n = len(self._xy)
        self._columns = _all_columns(labels, classes, columns, predicted, n)
        self._functions: list[Callable] = []
        self._setting = False
        tiles, pictures, self._images = b"", None, None
        if images is not None:
            self._images = show.to_uint8(images).transpose(0, 3, 1, 2)
            if len(self._images) != n:
                raise CourseError(f"{n} points but {len(self._images)} images; pass one image per point")
        if clips is not None:
            tiles, pictures, middle = _films(clips, n)
            self._images = middle if self._images is None else self._images
        elif images is not None:
            tiles, pictures = _thumbnails(images, n)
        self._audio, sound, sounds = _heard(audio, n, rate)
        if pictures is not None and sound is not None and sound["length"] and "seconds" in pictures:
            pictures["seconds"] = sound["length"] / rate  # one clock for picture and sound
        self._title, self._rate = str(title), int(rate)
        kinds = {c.kind for c in self._columns}
        super().__init__(
            positions=packed(pack_positions(self._xy), "u2"),
            columns=b"".join(c.packed() for c in self._columns),
            tiles=tiles,
            sounds=sounds,
            by=self._columns[0].name if self._columns else "",
            about={
                "points": n,
                "title": str(title),
                "columns": [c.about() for c in self._columns],
                "pictures": pictures,
                "sound": sound,
                "colours": list(show.COLOURS),
                "scales": {kind: _scale(kind) for kind in ("number", "angle") if kind in kinds},
            },
        )
        self.observe(self._selection_changed, names="chosen")
        self.on_msg(self._message)

    # ------------------------------------------------------------------ the selection

    def __len__(self) -> int:
        return len(self._xy)

    @property
    def selected(self) -> np.ndarray:
        """Indices of the selected points, ascending. Set it to select from Python: indices, or a boolean per
        point.
        """
        found = np.unique(np.frombuffer(self.chosen, "<u4")).astype(np.int64)
        return found[found < len(self)]

    @selected.setter
    def selected(self, indices) -> None:
        at = _array(indices)
        if at.dtype.kind == "b":
            if at.shape != (len(self),):
                raise CourseError(
                    f"a selection of booleans has shape {at.shape}; pass one for each of the {len(self)} "
                    "points, or indices"
                )
            at = np.flatnonzero(at)
        elif at.size and at.dtype.kind not in "iu":
            raise CourseError(
                f"a selection of type {at.dtype}; pass the indices of points, or a boolean per point"
            )
        at = np.unique(at.reshape(-1).astype(np.int64))
        if len(at) and not (at[0] >= 0 and at[-1] < len(self)):
            raise CourseError(
                f"the selection has index {int(at[0] if at[0] < 0 else at[-1])}; the points are "
                "numbered 0 "
                f"to {len(self) - 1}"
            )
        self._setting = True
        try:
            self.chosen = packed(at, "u4")
        finally:
            self._setting = False

    def on_select(self, function: Callable[[np.ndarray], object], remove: bool = False) -> None:
        """Call `function(indices)` at each change of the selection; with `remove=True` no longer.

        An error in it is raised where Python selects, and written below the map where the reader does.
        """
        if not callable(function):
            raise CourseError(f"on_select got {function!r}; pass a function that takes an array of indices")
        if remove:
            if function not in self._functions:
                raise CourseError(
                    f"{getattr(function, '__name__', function)!r} was not registered; call "
                    "on_select(function) first"
                )
            self._functions.remove(function)
        else:
            self._functions.append(function)

    def _selection_changed(self, change) -> None:
        self.failed = ""
        for function in tuple(self._functions):
            try:
                function(self.selected)
            except Exception as error:
                if self._setting:
                    raise
                # a callback has nobody to raise to: it is seen in the view
                self.failed = f"{type(error).__name__} in on_select: {error}"

    @traitlets.validate("by")
    def _known_column(self, proposal) -> str:
        names = [c.name for c in self._columns]
        if proposal["value"] not in (names or [""]):
            raise CourseError(
                f"by={proposal['value']!r}; the points can be coloured by "
                f"{', '.join(names) or 'nothing: pass labels or columns'}"
            )
        return proposal["value"]

    def column(self, name: str | None = None) -> Column | None:
        """The column of this name; without one the column that colours."""
        wanted = self.by if name is None else name
        found = next((c for c in self._columns if c.name == wanted), None)
        if found is None and (name is not None or self._columns):
            raise CourseError(
                f"there is no column {wanted!r}; there are "
                f"{', '.join(c.name for c in self._columns) or 'none'}"
            )
        return found

    def describe(self, name: str | None = None) -> str:
        """What the selection is made of, by the column of this name or the one that colours: see
        `composition`.
        """
        return composition(self.column(name), self.selected, len(self))

    # ------------------------------------------------------------------ sound

    def wave(self, i: int) -> np.ndarray:
        """The sound of one point as it is played: (L,) float32 in -1..1."""
        if self._audio is None:
            raise CourseError("this view has no sound; pass audio=... to clusters")
        if not 0 <= i < len(self):
            raise CourseError(f"point {i}; the points are numbered 0 to {len(self) - 1}")
        wave = _quiet(self._audio(i) if callable(self._audio) else self._audio[i])
        if wave.ndim == 2 and wave.shape[0] == 1:
            wave = wave[0]
        if wave.ndim != 1 or not len(wave):
            raise CourseError(f"the sound of point {i} has shape {wave.shape}; return one waveform (L,)")
        return wave

    def _message(self, _, content, buffers) -> None:
        if not isinstance(content, dict) or "sound" not in content:
            return
        i = int(content["sound"])
        try:
            wave = self.wave(i)
        except Exception as error:  # again nobody to raise to
            self.send({"sound": i, "failed": f"{type(error).__name__}: {error}"})
            return
        self.send({"sound": i, "rate": self._rate}, buffers=[packed(np.round(wave * 32767), "i2")])

    def for_page(self) -> None:
        """Put the sounds of a function into the view, so that a page without a kernel plays them.

        Nothing changes where all together are longer than five million samples: the page then says that it
        carries no sounds."""
        if self._audio is None or self.about["sound"]["stored"]:
            return
        waves, length = [], 1
        for i in range(len(self)):
            waves.append(self.wave(i))
            length = max(length, len(waves[-1]))
            if len(self) * length > MOST_SAMPLES:
                return
        page = np.zeros((len(waves), length), np.int8)
        for row, wave in zip(page, waves):
            row[: len(wave)] = compand(wave)
        with self.hold_sync():
            self.sounds = packed(page, "i1")
            self.about = {**self.about, "sound": {"rate": self._rate, "length": length, "stored": True}}

    # ------------------------------------------------------------------ what stays in the notebook

    def picture(self) -> bytes:
        """The map as it is coloured now, as PNG bytes; of many points 3,000, evenly taken."""
        from sslcourse import show

        n = len(self)
        at = np.arange(n) if n <= _DRAWN else np.linspace(0, n - 1, _DRAWN).round().astype(int)
        title = (
            " ".join(p for p in (self._title, f"({_DRAWN:,} of {n:,} points)" if n > _DRAWN else "") if p)
            or None
        )
        column = self.column()
        if column is not None and column.kind != "category":
            return show.png(_scaled(self._xy[at], column, at, title))
        codes, names = (np.full(n, -1), ()) if column is None else _fewer(column)
        images = None if self._images is None else self._images[at]
        for thumbnails, colours in ((images, 256), (images, 64), (None, 256)):  # they are what costs most
            drawn = show.embedding(self._xy[at], codes[at], names, thumbnails, title)
            drawn.colours = colours
            data = show.png(drawn)
            if len(data) <= show.MOST_BYTES:
                break
        return data

    def __repr__(self):
        names = [c.name for c in self._columns]
        colours = (
            f", coloured by {', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}"
            if names
            else ""
        )
        return f"<cluster explorer of {len(self):,} points{colours}>"


def _all_columns(labels, classes, columns, predicted, n: int) -> list[Column]:
    """The label first, then what was predicted, then the columns of the caller's."""
    from sslcourse import show
    from sslcourse.show import look

    found: list[Column] = []
    if labels is not None:
        codes = _classes(labels, n)
        found.append(Column("label", "category", codes, tuple(look.class_names_of(classes, codes))))
    if predicted is not None:
        if labels is None:
            raise CourseError("predicted came without labels; pass both, so that right and wrong can be told")
        guess = _classes(predicted, n, "predicted")
        names = tuple(look.class_names_of(classes, np.maximum(codes, guess)))
        found.append(Column("predicted", "category", guess, names))
        verdict = np.where((codes < 0) | (guess < 0), -1, (codes != guess).astype(np.int64))
        found.append(
            Column(
                "correct",
                "category",
                verdict,
                ("right", "wrong"),
                colours=(show.RIGHT, show.WRONG),
                marks=("circle", "cross"),
                signs=("\u2713", "\u2717"),
            )
        )
    found += gathered(columns, n)
    called = [c.name for c in found]
    twice = next((name for name in called if called.count(name) > 1), None)
    if twice is not None:
        raise CourseError(
            f"two columns are called {twice!r}; rename one of them (labels and predicted add label, "
            "predicted and correct)"
        )
    return found


def _scale(kind: str) -> list[str]:
    """64 colours of a scale: cividis for numbers; twilight, darkened, for angles. Both were made for
    colour-blind readers too.

    Twilight ends near white, which would vanish on the map's white ground.
    """
    import matplotlib

    colours = matplotlib.colormaps["cividis" if kind == "number" else "twilight"](
        (np.arange(_LEVELS) + 0.5) / _LEVELS
    )[:, :3]
    if kind == "angle":
        colours = colours * 0.84
    return ["#" + "".join(f"{round(255 * v):02x}" for v in c) for c in colours]


def _fewer(column: Column, most: int = 20) -> tuple[np.ndarray, list[str]]:
    """Codes and names for a legend of at most `most` entries: the rarest categories become one."""
    counts = np.bincount(column.values[column.values >= 0], minlength=len(column.names))
    present = np.flatnonzero(counts)
    if len(present) <= most:
        return column.values, list(column.names)
    kept = present[np.argsort(-counts[present], kind="stable")][: most - 1]
    codes = np.full(len(column.names), len(kept))
    codes[kept] = np.arange(len(kept))
    return np.where(column.values < 0, -1, codes[column.values]), [
        *(column.names[k] for k in kept),
        f"{len(present) - len(kept)} others",
    ]


def _scaled(xy: np.ndarray, column: Column, at: np.ndarray, title: str | None):
    """A map coloured by a number or an angle, with its bar."""
    from matplotlib.colors import ListedColormap

    from sslcourse import show
    from sslcourse.show import look

    @look.in_course_style
    def drawn():
        picture = show.Picture(6.7, 5.4 + (0.3 if title else 0), layout="constrained")
        ax = picture.subplots()
        values = column.values[at]
        values, low, high = (
            (values % column.turn, 0.0, column.turn) if column.kind == "angle" else (values, None, None)
        )
        size = max(5.0, min(22.0, 6000 / len(xy) ** 0.9))
        missing = ~np.isfinite(values)
        ax.scatter(*xy[missing].T, s=size, color=look.PALE, linewidths=0)
        points = ax.scatter(
            *xy[~missing].T,
            c=values[~missing],
            s=size,
            cmap=ListedColormap(_scale(column.kind)),
            vmin=low,
            vmax=high,
            linewidths=0,
            alpha=0.9,
        )
        ax.set(xticks=[], yticks=[])
        ax.set_aspect("equal", "datalim")
        for spine in ax.spines.values():
            spine.set(visible=True, color=look.INK, alpha=0.5)
        if not missing.all():
            bar = picture.colorbar(points, ax=ax, fraction=0.04, pad=0.02)
            bar.set_label(column.name)
            bar.outline.set_visible(False)
        if title:
            picture.suptitle(title, fontsize=11.5, x=0.01, ha="left")
        return picture

    return drawn()


@takes(k=WHOLE, query=WHOLE)
def neighbours(
    spaces: Mapping,
    images,
    labels=None,
    *,
    classes: Sequence[str] = (),
    k: int = 8,
    query: int = 0,
    title: str = "",
) -> Neighbours:
    """Click an image, see its k nearest under each encoder, right and wrong marked; click one of those to go
    on from there.

    The nearest are found here, by cosine similarity among all other images, and travel with the view: it
        needs no kernel.

    Args:
        spaces: {encoder name: features (N, D)}, one to three.
        images: (N, 3, H, W) uint8 or float 0..1, 2 to 5,000 of them.
        labels: (N,) class numbers, -1 where unknown; with them a neighbour of the query's class is framed and
            ticked, any other dashed and crossed, and precision@k is told beside what chance would give.
        classes: names of the classes.
        k: neighbours, 1 to 24.
        query: the image to begin with. `view.query` follows the reader, and can be set.
        title: written above.

    Raises:
        CourseError: when shapes, lengths or ranges do not fit together.
    """
    return Neighbours(spaces, images, labels, classes=classes, k=k, query=query, title=title)


class Neighbours(View):
    """The view that `neighbours` makes. `indices` and `similarities` are {encoder name: (N, k)}, `precision`
    {name: mean precision@k}.
    """

    _esm = script("neighbours")

    found = traitlets.Bytes(b"").tag(sync=True)  # (encoders, N, k) uint16
    cosines = traitlets.Bytes(b"").tag(sync=True)  # (encoders, N, k) int16, 32767 is 1
    # (N,) uint16, 65535 where unknown; nothing where no image has a class
    labels = traitlets.Bytes(b"").tag(sync=True)
    tiles = traitlets.Bytes(b"").tag(sync=True)
    about = traitlets.Dict().tag(sync=True)
    query = Whole(0).tag(sync=True)

    def __init__(self, spaces, images, labels=None, *, classes=(), k=8, query=0, title=""):
        from sslcourse import show
        from sslcourse.show import look

        self._images = show.to_uint8(images).transpose(0, 3, 1, 2)
        n = len(self._images)
        if not 2 <= n <= MOST_IMAGES:
            raise CourseError(
                f"{n:,} images; this view shows 2 to {MOST_IMAGES:,}, pass a part of them: "
                f"images[:{MOST_IMAGES}]"
            )
        self._spaces = _spaces(spaces, n)
        if not 1 <= (_whole(k) or 0) <= min(MOST_NEIGHBOURS, n - 1):
            raise CourseError(
                f"k={k}; there are {n - 1} other images, ask for 1 to {min(MOST_NEIGHBOURS, n - 1)} "
                "neighbours"
            )
        self._k, self._count, self._title = int(k), n, str(title)
        self._labels = None if labels is None else _classes(labels, n)
        names = [] if labels is None else look.class_names_of(classes, self._labels)
        self._classes = names
        pairs = {name: nearest(f, self._k) for name, f in self._spaces.items()}
        self.indices = {name: i for name, (i, _) in pairs.items()}
        self.similarities = {name: s for name, (_, s) in pairs.items()}
        self.precision, self.chance = {}, math.nan
        if self._labels is not None:
            for name, found in self.indices.items():
                self.precision[name], self.chance = precision(found, self._labels, self._spaces[name])
        told = {name: None if math.isnan(p) else p for name, p in self.precision.items()}
        tiles, pictures = _thumbnails(images, n)
        super().__init__(
            found=packed(np.stack(list(self.indices.values())), "u2"),
            cosines=packed(
                np.round(np.stack(list(self.similarities.values())) * 32767).clip(-32767, 32767), "i2"
            ),
            labels=b"" if labels is None else packed(np.where(self._labels < 0, _NONE, self._labels), "u2"),
            tiles=tiles,
            query=self._place(query),
            about={
                "count": n,
                "k": self._k,
                "title": str(title),
                "encoders": list(self._spaces),
                "classes": names,
                "pictures": pictures,
                "precision": [told.get(name) for name in self._spaces],
                "chance": None if math.isnan(self.chance) else self.chance,
                "right": show.RIGHT,
                "wrong": show.WRONG,
            },
        )

    def _place(self, query) -> int:
        place = _whole(query)
        if place is None or not 0 <= place < self._count:
            raise CourseError(
                f"query={query} is not among the {self._count} images; choose 0 to {self._count - 1}"
            )
        return place

    @traitlets.validate("query")
    def _known_query(self, proposal) -> int:
        return self._place(proposal["value"])

    def picture(self) -> bytes:
        """The query and its neighbours under each encoder as PNG bytes, up to 14 of them."""
        from sslcourse import show

        return show.png(
            show.neighbours(
                self._spaces, self._images, self.query, min(self._k, 14), self._labels, self._classes or None
            )
        )

    def __repr__(self):
        told = ", ".join(
            name if math.isnan(self.precision.get(name, math.nan)) else f"{name} {self.precision[name]:.2f}"
            for name in self._spaces
        )
        return f"<neighbour browser of {self._count:,} images, k={self._k}: {told}>"


def _spaces(spaces, n: int) -> dict[str, np.ndarray]:
    if not isinstance(spaces, Mapping) or not 1 <= len(spaces) <= MOST_ENCODERS:
        count = f"{len(spaces)} encoders" if isinstance(spaces, Mapping) else f"a {type(spaces).__name__}"
        raise CourseError(
            f"spaces is {count}; pass {{encoder name: features (N, D)}} with one to {MOST_ENCODERS} encoders"
        )
    found = {}
    for name, features in spaces.items():
        f = _array(features)
        if f.ndim != 2 or len(f) != n or not f.shape[1]:
            raise CourseError(
                f"the features of {str(name)!r} have shape {f.shape} for {n} images; expected ({n}, D)"
            )
        if f.dtype.kind not in "fiu" or not np.isfinite(f).all():
            raise CourseError(
                f"the features of {str(name)!r} hold NaN or infinity: the training has diverged; start "
                "again with a lower lr"
            )
        found[str(name)] = f
    return found
