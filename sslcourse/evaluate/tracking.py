"""Tracking by pointing: labels of the first frame are carried along a film by what resembles what, and it is
measured how well.

Nobody is trained to track here. An encoder gives every cell of every frame an embedding f; a cell j of the
present frame points to cells i of earlier frames (Vondrick, Shrivastava, Fathi, Guadarrama and Murphy,
Tracking Emerges by Colorizing Videos, ECCV 2018, arXiv:1806.09594)

    A_ij = exp(f_i . f_j / temperature) / sum_k exp(f_k . f_j / temperature),        y_j = sum_i A_ij y_i

and copies whatever label y is known there: a mask, a key-point, a colour.

    found = measure({"identity": identity, "learned": by_features(method.embed, window=5)}, data.validation)
    found["learned"].J, found["learned"].F, found["learned"].pck(0.2)

J and F are those of the DAVIS benchmark (Perazzi et al., CVPR 2016; Pont-Tuset et al., arXiv:1704.00675), PCK
is that of the JHMDB key-points. Of the official semi-supervised score all conventions are kept:

- 255 is void. A void pixel is ground, in the truth and in the first mask; what is predicted there counts as
  predicted there. (The score without a first mask would leave these pixels out.) No frame is dropped for
  them.
- The first frame is given and never counts, nor does the last one with `last=False`.
- J and F of an object are means over frames; the score is the mean over all objects of all films.
- Where an object is neither there nor predicted, J and F are 1.

Two things DAVIS itself never has: a frame without annotation (255 everywhere) does not count, and nor does an
object that the first mask does not show, for nobody could have carried it along."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sslcourse.data.clips.reader import UNKNOWN
from sslcourse.data.datasets import Samples, open_labels
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import REAL, SHARE, WHOLE, takes
from sslcourse.runtime.shapes import explained

_AT_ONCE = 2**22  # similarities held at a time

# What a tracker does: of a film (3, T, H, W) uint8, its first mask (H, W) and the places (P, 2) of its first
# key-points (or None) it makes masks (T, H, W) uint8 and places (T, P, 2) (or None).
Tracker = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor | None]]


# ---------------------------------------------------------------------------------------------- the pointer


def checked(
    references: int, temperature: float, window: int | None, topk: int | None, keep_first: bool
) -> None:
    if references < 0 or references != int(references) or (not references and not keep_first):
        raise CourseError(
            f"references={references}; point to at least 1 frame before, or 0 with keep_first=True"
        )
    if not 0.005 <= temperature <= 10:
        raise CourseError(
            f"temperature={temperature}; choose 0.005 (nearly the best match alone) to 10 (nearly the "
            "plain average)"
        )
    if window is not None and (window < 0 or window != int(window)):
        raise CourseError(f"window={window}; choose a radius of 0 or more cells, or None for everywhere")
    if topk is not None and (topk < 1 or topk != int(topk)):
        raise CourseError(f"topk={topk}; keep at least 1 match, or None for all")


def reference_frames(frame: int, references: int, keep_first: bool = False) -> list[int]:
    """The frames that `frame` (0 is the first) may point to: as many before it as there are, and the first
    one if it is kept.
    """
    return sorted({*range(max(0, frame - references), frame), *([0] if keep_first and frame else [])})


def _finite(x: Tensor, name: str) -> None:
    if not torch.isfinite(x).all():
        raise CourseError(
            f"{name} hold{'' if name.endswith('s') else 's'} NaN or infinity, and where those point to is no "
            "answer; the training has diverged: start again with a lower lr"
        )


@explained
def unit_vectors(features: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """(D, T, h, w) to unit vectors (T, h * w, D)."""
    f = features.to(dtype).flatten(2).permute(1, 2, 0)
    return f / f.norm(dim=2, keepdim=True).clamp_min(1e-12)


def _within(h: int, w: int, window: int, rows: range, sources: range) -> Tensor:
    """(len(rows) * w, len(sources) * w) bool: which cells of the source rows lie in the square window around
    each cell of the rows.
    """
    up = (
        torch.arange(rows.start, rows.stop)[:, None] - torch.arange(sources.start, sources.stop)
    ).abs() <= window
    aside = (torch.arange(w)[:, None] - torch.arange(w)).abs() <= window
    return (up[:, None, :, None] & aside[None, :, None, :]).reshape(len(rows) * w, len(sources) * w)


def _weights(
    targets: Tensor, sources: Tensor, allowed: Tensor | None, temperature: float, topk: int | None
) -> Tensor:
    """A (n, R * m): attention of targets (n, D) over sources (R, m, D); allowed (n, m).

    Similarities are rounded to float32 before the best are chosen, and all that equal the k-th best are kept:
    so equal colours are equal here, in JavaScript and in any order of summation, and no implementation has to
    break a tie."""
    # (n, R, m)
    similarity = (targets @ sources.flatten(0, 1).T).float().view(len(targets), *sources.shape[:2])
    if allowed is not None:
        similarity = similarity.masked_fill_(~allowed[:, None], -math.inf)
    similarity = similarity.flatten(1)
    if topk is not None and topk < similarity.shape[1]:
        least = similarity.topk(topk, dim=1).values[:, -1:]
        similarity = similarity.masked_fill_(similarity < least, -math.inf)
    return (similarity.to(targets.dtype) / temperature).softmax(1)


def _blocks(h: int, w: int, references: int, window: int | None) -> Iterator[tuple[range, range]]:
    """Rows of cells that are answered together, and the rows that they may point to."""
    near = h if window is None else min(h, 2 * window + 1)
    step = max(1, _AT_ONCE // (references * near * w * w))
    for top in range(0, h, step):
        rows = range(top, min(h, top + step))
        yield (
            rows,
            range(0, h) if window is None else range(max(0, rows.start - window), min(h, rows.stop + window)),
        )


def _everywhere(h: int, w: int, window: int | None) -> bool:
    return window is None or window >= max(h, w) - 1


@explained
@takes(
    references=WHOLE,
    temperature=REAL,
    window=WHOLE,
    topk=WHOLE,
    frame=WHOLE,
    row=WHOLE,
    column=WHOLE,
)
def attention(
    features: Tensor,
    frame: int,
    row: int,
    column: int,
    references: int = 3,
    temperature: float = 0.05,
    window: int | None = None,
    topk: int | None = None,
    keep_first: bool = False,
) -> tuple[Tensor, list[int]]:
    """Where one cell of a frame points to.

    Args:
        features: (D, T, h, w).
        frame: 1 to T - 1; row, column: of the cell, from 0.
        references, temperature, window, topk, keep_first: as in `propagate`.

    Returns:
        (R, h, w) float64, all of it adding up to 1, and the R frames it lies in.
    """
    checked(references, temperature, window, topk, keep_first)
    _, t, h, w = features.shape
    if not (1 <= frame < t and 0 <= row < h and 0 <= column < w):
        raise CourseError(
            f"frame={frame}, row={row}, column={column}; choose a frame of 1 to {t - 1} (the first one has "
            f"none before it), a row of 0 to {h - 1} and a column of 0 to {w - 1}"
        )
    _finite(features, "features")
    unit, refs = unit_vectors(features).view(t, h, w, -1), reference_frames(frame, references, keep_first)
    everywhere = _everywhere(h, w, window)
    rows = (
        range(0, h) if everywhere or window is None else range(max(0, row - window), min(h, row + window + 1))
    )
    near = (
        None
        if everywhere or window is None
        else _within(h, w, window, range(row, row + 1), rows)[column : column + 1]
    )
    weights = _weights(
        unit[frame, row, column][None],
        unit[refs][:, rows.start : rows.stop].flatten(1, 2),
        near,
        temperature,
        topk,
    )
    found = unit.new_zeros(len(refs), h, w)
    found[:, rows.start : rows.stop] = weights.view(len(refs), len(rows), w)
    return found, refs


@explained
@takes(
    references=WHOLE,
    temperature=REAL,
    window=WHOLE,
    topk=WHOLE,
)
def propagate(
    features: Tensor,
    first: Tensor,
    references: int = 3,
    temperature: float = 0.05,
    window: int | None = None,
    topk: int | None = None,
    keep_first: bool = False,
    precise: bool = True,
) -> Tensor:
    """Carry labels from the first frame to all others: y_j = sum_i A_ij y_i, frame by frame, soft labels
    copied from soft labels.

    Vondrick et al. 2018, section 3.4, on cosines (the vectors are normalised here). Their tracker points to
    the previous frames only and everywhere in them; a window and the top-k matches came with CorrFlow
    (arXiv:1905.00875) and UVC (arXiv:1909.11895), which also keep the first frame, whose labels are true,
    among the references (`keep_first`).

    Args:
        features: (D, T, h, w), any encoder's.
        first: labels of the first frame: (h, w, K) float, shares that add up to 1 (or any numbers: they are
            averaged), or (h, w) integers 0 to K - 1.
        references: how many previous frames to point to, where there are as many; 0 needs `keep_first`.
        temperature: 0.005 to 10.
        window: radius in cells: a cell points to rows and columns that differ by no more; None is everywhere,
            0 its own place only.
        topk: how many matches are kept, of all reference frames together (with all that equal the last of
            them); None is all.
        keep_first: the first frame is a reference for all others, once.
        precise: compute in float64; without it in float32, in half the time, and ties may be broken by a last
            digit.

    Returns:
        (T, h, w, K) float64 (float32 unless `precise`) whose last axis adds up to what it does in `first`.

    Raises:
        CourseError: when shapes do not fit, a setting is out of its range, or features are not numbers.
    """
    checked(references, temperature, window, topk, keep_first)
    if features.ndim != 4:
        raise CourseError(f"features of shape {tuple(features.shape)}; pass (D, T, h, w)")
    _, t, h, w = features.shape
    first = torch.as_tensor(first)
    if first.ndim == 2 and not first.is_floating_point():
        if int(first.min()) < 0:
            raise CourseError(
                f"first holds the label {int(first.min())}; number the labels from 0, which is the ground"
            )
        first = F.one_hot(first.long())
    if first.ndim != 3 or first.shape[:2] != (h, w):
        raise CourseError(
            f"first has shape {tuple(first.shape)}; pass ({h}, {w}) integers or ({h}, {w}, K) shares (see "
            "to_cells)"
        )
    _finite(features, "features")
    _finite(first, "first")
    unit = unit_vectors(features, torch.float64 if precise else torch.float32).view(t, h, w, -1)
    reach = None if _everywhere(h, w, window) else window
    labels = [first.to(unit.dtype)]
    for frame in range(1, t):
        refs = reference_frames(frame, references, keep_first)
        known, parts = torch.stack([labels[r] for r in refs]), []  # (R, h, w, K)
        for rows, sources in _blocks(h, w, len(refs), reach):
            near = None if reach is None else _within(h, w, reach, rows, sources)
            weights = _weights(
                unit[frame, rows.start : rows.stop].flatten(0, 1),
                unit[refs, sources.start : sources.stop].flatten(1, 2),
                near,
                temperature,
                topk,
            )
            parts.append(weights @ known[:, sources.start : sources.stop].flatten(0, 2))
        labels.append(torch.cat(parts).view(h, w, -1))
    return torch.stack(labels)


def to_cells(mask, h: int, w: int, count: int) -> Tensor:
    """The share of each of `count` labels in each cell: mask (H, W) of integers to (h, w, count) float64."""
    onehot = F.one_hot(torch.as_tensor(mask).long(), count).permute(2, 0, 1).double()  # (K, H, W)
    return F.adaptive_avg_pool2d(onehot[None], (h, w))[0].permute(1, 2, 0)


@explained
def to_pixels(soft: Tensor, height: int, width: int) -> Tensor:
    """Soft labels (T, h, w, K) to masks (T, height, width) uint8: enlarged bilinearly, then the largest label
    wins.

    Of equals the lowest wins: a label must lead by a millionth for each number it stands higher, so that the
    last digit of a sum decides nothing."""
    large = F.interpolate(
        soft.double().permute(0, 3, 1, 2), size=(height, width), mode="bilinear", align_corners=False
    )
    return (large - 1e-6 * torch.arange(soft.shape[3]).view(-1, 1, 1)).argmax(1).to(torch.uint8)


@explained
def region(predicted: Tensor, given: Tensor) -> float:
    """Region similarity J of one mask (H, W) bool with the true one: their intersection over their union, 1
    where both are empty.
    """
    either = (predicted | given).sum()
    return 1.0 if either == 0 else float((predicted & given).sum() / either)


def overlap(predicted, given, objects: int) -> Tensor:
    """Region similarity J of DAVIS: `region` for every frame and object, |M and G| / |M or G|, 1 where both
    are empty.

    Args:
        predicted, given: (T, H, W) integers.
        objects: how many there are, numbered from 1.

    Returns:
        (T, objects) float64.
    """
    predicted, given = torch.as_tensor(predicted), torch.as_tensor(given)
    if predicted.shape != given.shape or predicted.ndim != 3:
        raise CourseError(
            f"masks of shape {tuple(predicted.shape)} against {tuple(given.shape)}; both must be (T, H, W)"
        )
    ids = torch.arange(1, objects + 1)
    m, g = ((x[..., None] == ids).flatten(1, 2) for x in (predicted, given))  # (T, H * W, objects)
    both, either = (m & g).sum(1).double(), (m | g).sum(1).double()
    return torch.where(either > 0, both / either.clamp_min(1), 1.0)


# ---------------------------------------------------------------------------------------------- key-points


@explained
def points_to_cells(points: Tensor, h: int, w: int, height: int, width: int) -> Tensor:
    """Each point as a soft label: shared bilinearly by the four cells around it, so that their weighted mean
    is the point again.

    Args:
        points: (P, 2), x and y in pixels; 0 is the outer edge of the first pixel, and the middle of a cell of
            2 pixels is at 1.
        h, w: cells down and across of frames of `height` x `width` pixels.

    Returns: (h, w, P) float64, each channel adding up to 1. A point within half a cell of the border moves to
        the middle of its cell.
    """
    # in cells, 0 the middle of the first
    at = points.double() * torch.tensor([w / width, h / height], dtype=torch.float64) - 0.5
    x, y = at[:, 0].clamp(0, w - 1), at[:, 1].clamp(0, h - 1)
    across = (1 - (torch.arange(w)[:, None] - x).abs()).clamp_min(0)  # (w, P)
    down = (1 - (torch.arange(h)[:, None] - y).abs()).clamp_min(0)
    return down[:, None] * across[None]


@explained
def cells_to_points(soft: Tensor, height: int, width: int, top: int = 5) -> Tensor:
    """Where a point is: the mean of its `top` strongest cells, each weighed by its label.

    The strongest cell alone would be off by up to half a cell. Cells that are as strong as the last of them
    share its place, so of equal cells none is preferred.

    Args:
        soft: (T, h, w, P), 0 or more.

    Returns:
        (T, P, 2), x and y in pixels. A point that has vanished from a frame stays where it was.
    """
    t, h, w, p = soft.shape
    _finite(soft, "labels")
    value = soft.double().flatten(1, 2).transpose(1, 2)  # (T, P, h * w)
    least = value.topk(min(top, h * w), dim=2).values[..., -1:]
    above = value > least * (1 + 1e-9)
    equal = (value >= least * (1 - 1e-9)) & ~above
    share = (min(top, h * w) - above.sum(2, keepdim=True)) / equal.sum(2, keepdim=True)
    value = value * (above + equal * share)
    mass = value.sum(2)
    place = torch.arange(h * w, device=value.device)
    x, y = (place % w + 0.5) * width / w, (place // w + 0.5) * height / h
    found = torch.stack([(x * value).sum(2), (y * value).sum(2)], 2) / mass.clamp_min(1e-300)[..., None]
    for i in range(1, t):
        found[i] = torch.where((mass[i] > 1e-12)[:, None], found[i], found[i - 1])
    return found


# ---------------------------------------------------------------------------------------------- how well


@explained
def boundary(mask: Tensor) -> Tensor:
    """The boundary of masks (..., H, W) bool, one pixel wide, as DAVIS has it: what differs from the right,
    lower or lower-right neighbour.
    """
    return torch.from_numpy(_boundary(mask.cpu().numpy())).to(mask.device)


def _boundary(mask: np.ndarray) -> np.ndarray:
    found = np.zeros_like(mask)  # beyond the last row and column everything goes on as it is
    found[..., :, :-1] |= mask[..., :, :-1] ^ mask[..., :, 1:]
    found[..., :-1, :] |= mask[..., :-1, :] ^ mask[..., 1:, :]
    found[..., :-1, :-1] |= mask[..., :-1, :-1] ^ mask[..., 1:, 1:]
    return found


def tolerance(height: int, width: int, share: float = 0.008) -> int:
    """By how many pixels DAVIS lets boundaries differ: this share of the picture's diagonal, rounded up."""
    return math.ceil(share * math.hypot(height, width))


def _dilated(pixels: np.ndarray, radius: int) -> np.ndarray:
    """(H, W) bool with everything within a disk of `radius` pixels around it.

    A disk is a pile of rows. From its rim to its middle rows only get longer, so each is made of the one
    before: four passes for each pixel of the radius, where a convolution has the area of the disk."""
    wide, found, reach = pixels.copy(), np.zeros_like(pixels), 0
    for off in range(radius, -1, -1):
        while (reach + 1) ** 2 + off**2 <= radius**2:
            reach += 1
            wide[:, reach:] |= pixels[:, : max(0, pixels.shape[1] - reach)]
            wide[:, : max(0, pixels.shape[1] - reach)] |= pixels[:, reach:]
        found[off:] |= wide[: max(0, len(wide) - off)]
        found[: max(0, len(wide) - off)] |= wide[off:]
    return found


def _contour(predicted: np.ndarray, given: np.ndarray, radius: int) -> float:
    """F of one mask (H, W) bool."""
    either = predicted | given
    rows, columns = either.any(1).nonzero()[0], either.any(0).nonzero()[0]
    if not len(rows):
        return 1.0
    # A boundary lies on its mask or one pixel above or left of it: nothing happens farther away.
    part = np.s_[max(0, rows[0] - 1) : rows[-1] + 2, max(0, columns[0] - 1) : columns[-1] + 2]
    m, g = _boundary(predicted[part]), _boundary(given[part])
    n_m, n_g = np.count_nonzero(m), np.count_nonzero(g)
    # Of nothing all is right: precision is 1 where nothing is predicted, recall where nothing is to be found.
    precision = np.count_nonzero(m & _dilated(g, radius)) / n_m if n_m else 1.0
    recall = np.count_nonzero(g & _dilated(m, radius)) / n_g if n_g else 1.0
    return 2 * precision * recall / max(precision + recall, 1e-12)


@takes(share=SHARE)
def contour(predicted, given, objects: int, share: float = 0.008) -> Tensor:
    """Boundary accuracy F of DAVIS: the harmonic mean of precision and recall of the boundary's pixels, found
    within a few pixels.

    A pixel of one boundary is found where the other one passes within `tolerance` pixels. Where both are
    empty F is 1, where only one is it is 0.

    Args:
        predicted, given: (T, H, W) integers.
        objects: how many there are, numbered from 1.
        share: of the picture's diagonal.

    Returns:
        (T, objects) float64.
    """
    predicted, given = torch.as_tensor(predicted), torch.as_tensor(given)
    if predicted.shape != given.shape or predicted.ndim != 3:
        raise CourseError(
            f"masks of shape {tuple(predicted.shape)} against {tuple(given.shape)}; both must be (T, H, W)"
        )
    radius = tolerance(given.shape[1], given.shape[2], share)
    m, g = predicted.cpu().numpy(), given.cpu().numpy()
    found = torch.ones(len(g), objects, dtype=torch.float64)
    for t in range(len(g)):
        for k in range(1, objects + 1):
            found[t, k - 1] = _contour(m[t] == k, g[t] == k, radius)
    return found


@explained
def point_errors(predicted: Tensor, given: Tensor) -> Tensor:
    """How far predicted key-points are off, in sizes of their object; NaN where a point is hidden.

    The size is 0.6 times the diagonal of the box around the object's visible points in that frame (for
    people: around the joints). A frame that shows fewer than two of them has no box, and the nearest one in
    time that has lends its own. Where a hidden point is said to be plays no part.

    Args:
        predicted: (T, K, P, 2) x and y in pixels, of K objects with P points each.
        given: (T, K, P, 3): x, y and whether the point is visible.

    Returns:
        (T, K, P) float64. PCK at alpha is the share of those that are at most alpha. NaN also where an object
        never shows two points at once: then it has no size to measure by.

    Raises:
        CourseError: objects of a single point, predictions or visible places that are not numbers.
    """
    if predicted.shape[:-1] != given.shape[:-1] or given.ndim != 4 or given.shape[3] != 3:
        raise CourseError(
            f"predicted places of shape {tuple(predicted.shape)} for key-points of {tuple(given.shape)}; "
            "pass (T, K, P, 2) and (T, K, P, 3)"
        )
    if given.shape[2] < 2:
        raise CourseError(
            "objects of one key-point have no size, in which PCK is measured; give at least two points an "
            "object"
        )
    visible = given[..., 2] > 0.5
    place = given[..., :2].double()
    for name, places in (("predicted", predicted), ("given", place)):
        if not torch.isfinite(places[visible]).all():
            raise CourseError(
                f"the {name} places of visible key-points hold NaN or infinity; look where they come from"
            )
    low = place.masked_fill(~visible[..., None], math.inf).amin(2)
    high = place.masked_fill(~visible[..., None], -math.inf).amax(2)
    size = 0.6 * (high - low).norm(dim=2)  # (T, K)
    size = _lent(size.masked_fill((visible.sum(2) < 2) | (size == 0), math.nan))
    off = (predicted.double() - place).norm(dim=3) / size[..., None]
    return off.masked_fill(~visible, math.nan)


def _lent(size: Tensor) -> Tensor:
    """(T, K) in which NaN is replaced by the nearest number in time, of two as near the earlier one; a column
    of nothing but NaN stays.
    """
    filled = size.clone()
    for k in range(size.shape[1]):
        known = (~size[:, k].isnan()).nonzero()[:, 0]
        for t in size[:, k].isnan().nonzero()[:, 0].tolist() if len(known) else ():
            filled[t, k] = size[known[(known - t).abs().argmin()], k]
    return filled


@dataclass
class Measured:
    """What a tracker achieved on several films; the first frame, which is given, never counts.

    `j` and `f` hold (T, K) for each film, of the objects that its first frame shows (others are NaN, and so
    are frames whose mask nobody knows), `errors` (T, K, P) or nothing."""

    j: list[Tensor] = field(default_factory=list)
    f: list[Tensor] = field(default_factory=list)
    errors: list[Tensor] = field(default_factory=list)
    last: bool = True

    def _per_object(self, films: Sequence[Tensor]) -> Tensor:
        """Mean over frames, for each object of each film: (all objects,)."""
        return torch.cat([x[1 : len(x) if self.last else -1].nanmean(0) for x in films])

    @property
    def J(self) -> float:
        """Mean over frames, then over all objects: every object counts alike, as in the 2017 benchmark."""
        return self._mean(self.j)

    @property
    def F(self) -> float:
        return self._mean(self.f)

    def _mean(self, films: Sequence[Tensor]) -> float:
        value = float(self._per_object(films).nanmean()) if films else math.nan
        if math.isnan(value):
            raise CourseError(
                "nothing was measured: no film has an annotated frame after its first one"
                + " and before its last one, which does not count with last=False" * (not self.last)
            )
        return value

    def films(self) -> Tensor:
        """J of each film (N,)."""
        return torch.stack([x[1 : len(x) if self.last else -1].nanmean(0).nanmean() for x in self.j])

    def pck(self, alpha: float) -> float:
        """Share of the visible key-points that are found within alpha times their object's size: of each
        point over all frames and
        films, then over the points."""
        if not self.errors:
            raise CourseError("these films have no key-points; J and F are measured on masks alone")
        if len({x.shape[1:] for x in self.errors}) > 1:
            raise CourseError(
                f"films with {sorted({tuple(x.shape[1:]) for x in self.errors})} objects and points; PCK is "
                "a mean over frames of the same points: measure films with as many points together"
            )
        off = torch.cat([x[1:] for x in self.errors]).flatten(1)  # (frames of all films, points)
        seen = ~off.isnan()
        if not seen.any():
            raise CourseError("no key-point is visible after the first frame; there is nothing to measure")
        found = ((off <= alpha) & seen).sum(0) / seen.sum(0)  # a point that is never seen is 0 / 0
        return float(found.nanmean())

    def over_time(self, which: Tensor | None = None) -> list[float]:
        """Mean J of the first, second, ... frame, of films of equal length.

        Args:
            which: (N, K) bool, such as the objects that are fast; all by default.
        """
        if len({x.shape for x in self.j}) != 1:
            raise CourseError(
                f"films of {sorted({tuple(x.shape) for x in self.j})} frames and objects; J over time is a "
                "mean over films of equal length, with as many objects"
            )
        j = torch.stack(self.j)  # (N, T, K)
        if which is not None:
            j = j.masked_fill(~which[:, None], math.nan)
        return j.nanmean((0, 2)).tolist()

    def row(self) -> dict[str, float]:
        points = {f"PCK@{a:g}": self.pck(a) for a in (0.1, 0.2, 0.4)} if self.errors else {}
        return {"J": self.J, "F": self.F, **points}


# ---------------------------------------------------------------------------------------------- trackers


@explained
def identity(frames: Tensor, first: Tensor, points: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Everything stays where it was: the baseline of all trackers."""
    t = frames.shape[1]
    return first.expand(t, -1, -1), None if points is None else points.expand(t, -1, -1)


@explained
def by_features(embed: Callable[[Tensor], Tensor], **settings) -> Tracker:
    """A tracker that points with an encoder's features.

    Args:
        embed: of a film (3, T, H, W) uint8 its features (D, T, h, w), such as `method.embed`. The masks may
        be larger than the frames. **settings: of `propagate`.
    """

    def track(frames: Tensor, first: Tensor, points: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        features, first = embed(frames), first.masked_fill(first == UNKNOWN, 0)
        (h, w), size, count = features.shape[2:], frames.shape[2:], int(first.max()) + 1
        labels = [to_cells(first, h, w, count)] + (
            [] if points is None else [points_to_cells(points, h, w, *size)]
        )
        soft = propagate(features, torch.cat(labels, 2), **settings)
        masks = to_pixels(soft[..., :count], *first.shape)
        masks[0] = first
        if points is None:
            return masks, None
        places = cells_to_points(soft[..., count:], *size)
        places[0] = points
        return masks, places

    return track


def films_of(
    samples: Samples, reader: str = "tracking.measure"
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Frames (3, T, H, W) uint8, masks (T, H, W) and key-points (T, K, P, 3) or None of each film of a split.

    The masks of a test split are its labels: it is noted who reads them, and while a training is under way
    nobody can."""
    if samples.split == "test":
        open_labels(samples, reader)
    if "mask" not in samples.extra:
        raise CourseError(
            f"{samples.name!r} has no masks to track; use toybox.tracks(), or sequences with masks"
        )
    points = samples.extra.get("keypoint")
    for i in range(len(samples)):
        yield samples.video[i], samples.extra["mask"][i], None if points is None else points[i]


def measure(
    trackers: Mapping[str, Tracker], films, *, last: bool = True, reader: str = "tracking.measure"
) -> dict[str, Measured]:
    """J, F and key-point errors of several trackers on the same films.

    Args:
        trackers: by name.
        films: a split with masks, or (frames, masks, key-points or None) for each film.
        last: whether the last frame counts; the DAVIS benchmark leaves it out.
        reader: who opens the masks of a test split.

    Raises:
        CourseError: no film at all, a first mask without an object, or features and places that are not
            numbers.
    """
    found = {name: Measured(last=last) for name in trackers}
    for frames, masks, points in films_of(films, reader) if isinstance(films, Samples) else films:
        masks = torch.as_tensor(masks)
        unknown = (masks == UNKNOWN).flatten(1).all(1)  # (T,) frames that nobody annotated
        masks = masks.masked_fill(masks == UNKNOWN, 0)  # void is ground
        first, objects = masks[0], int(masks.max()) if not unknown[0] else 0
        shown = torch.tensor([bool((first == k).any()) for k in range(1, objects + 1)])
        if not shown.any():
            raise CourseError(
                f"the first mask of a film of {len(masks)} frames shows no object, or is unknown; there is "
                "nothing to carry along"
            )
        start = None
        if points is not None:
            points = torch.as_tensor(points)
            at_first = points[:1, ..., 2] > 0.5
            # A tracker is told no place of what is hidden: whatever stands there may be no place at all.
            start = points[0, :, :, :2].masked_fill(~at_first[0, ..., None], 0).flatten(0, 1)
        for name, tracker in trackers.items():
            carried, places = tracker(frames, first, start)
            for values, score in ((found[name].j, overlap), (found[name].f, contour)):
                values.append(score(carried, masks, objects).masked_fill(unknown[:, None] | ~shown, math.nan))
            if points is not None and places is not None:
                errors = point_errors(places.reshape(*points.shape[:3], 2), points)
                # What is hidden at first cannot be shown to a tracker.
                found[name].errors.append(errors.masked_fill(~at_first, math.nan))
    if any(not measured.j for measured in found.values()):
        raise CourseError("there is no film to track in; pass a split with films, or a list of some")
    return found


def correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Pearson's, -1 to 1.

    Raises:
        CourseError: fewer than two pairs, values that are not numbers, or all the same on one side.
    """
    x, y = [float(v) for v in x], [float(v) for v in y]
    if (
        len(x) != len(y)
        or len(x) < 2
        or not all(map(math.isfinite, x + y))
        or len(set(x)) == 1
        or len(set(y)) == 1
    ):
        raise CourseError(
            f"a correlation of {len(x)} and {len(y)} values; it needs two or more pairs of numbers that "
            "differ on both sides"
        )
    return statistics.correlation(x, y)
