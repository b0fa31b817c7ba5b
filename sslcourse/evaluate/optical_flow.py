"""Optical flow as a tracker: where did each pixel come from? Chained from frame to frame, it carries masks
and key-points along.

Two flows of well-kept libraries, which have learned nothing, each with the settings that did best on small
validation films: `local` (scikit-image's iterative Lucas-Kanade: Le Besnerais and Champagnat, Dense Optical
Flow by Iterative Local Window Registration, ICIP 2005) and `coarse_to_fine` (OpenCV's DIS: Kroeger, Timofte,
Dai and Van Gool, Fast Optical Flow using Dense Inverse Search, ECCV 2016). Small errors add up along a film,
and what was hidden once is lost for good."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sslcourse.data.clips.reader import UNKNOWN
from sslcourse.evaluate.tracking import Tracker
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.shapes import explained
from sslcourse.transforms import colour

# Of two grey pictures (H, W) uint8: for each pixel of the first, how far to go (x, y) to find it in the
# second: (2, H, W) float32.
Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]


@explained
def local(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Scikit-image's iterative Lucas-Kanade: all pixels of a window move alike; on a pyramid."""
    from skimage.registration import optical_flow_ilk

    # the library's own 7 pixels would be more than a small film's solids
    radius = max(4, round(min(first.shape) / 18))
    down, across = optical_flow_ilk(
        first.astype(np.float32) / 255, second.astype(np.float32) / 255, radius=radius
    )
    return np.stack([across, down]).astype(np.float32)


@explained
def coarse_to_fine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """OpenCV's DIS: patches found by descent on a pyramid, made dense, refined by a variational step.

    Its patches have 8 pixels: pictures of less than 96 are enlarged twofold first, or a patch would be as
    large as what moves."""
    import cv2

    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    method.setFinestScale(0)
    method.setPatchStride(2)

    def flow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(H, W, 2), found without a first guess."""
        return method.calc(a, b, None)  # type: ignore[call-overload]  # None is left out in cv2's stubs

    if min(first.shape) >= 96:
        return flow(first, second).transpose(2, 0, 1)
    large = [cv2.resize(x, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC) for x in (first, second)]
    found = cv2.resize(flow(large[0], large[1]), first.shape[::-1], interpolation=cv2.INTER_AREA)
    return found.transpose(2, 0, 1) / 2


FLOWS: dict[str, Flow] = {"local": local, "coarse to fine": coarse_to_fine}


@explained
def grey(frames: Tensor) -> np.ndarray:
    """(3, T, H, W) uint8 to (T, H, W) uint8, with the weights that both libraries have."""
    if frames.ndim != 4 or frames.shape[0] != 3:
        raise CourseError(f"frames of shape {tuple(frames.shape)}; pass one film (3, T, H, W)")
    return colour.grey(frames.float().cpu(), 0).round().clamp(0, 255).to(torch.uint8).numpy()


@explained
def sample(maps: Tensor, at: Tensor) -> Tensor:
    """Values of maps (C, H, W) at places (2, h, w), x and y in pixels with 0 the middle of the first one:
    bilinear; beyond the border, its value.
    """
    size = torch.tensor(maps.shape[:0:-1], dtype=at.dtype)  # W, H
    grid = ((at + 0.5) * 2 / size.view(2, 1, 1) - 1).permute(1, 2, 0)
    return F.grid_sample(
        maps[None].to(at.dtype), grid[None], mode="bilinear", padding_mode="border", align_corners=False
    )[0]


@explained
def chained(steps: Tensor) -> Tensor:
    """Where each pixel of each frame was in the first one.

    Args:
        steps: (T - 1, 2, H, W): of each pixel of frame t + 1, how far (x, y) it is to its place in frame t.

    Returns: (T, 2, H, W) places in the first frame, in pixels, 0 the middle of the first one. The places are
        chained and not the labels: these would be blurred at every step.
    """
    h, w = steps.shape[2:]
    start = torch.stack(
        [
            torch.arange(w, dtype=steps.dtype).expand(h, w),
            torch.arange(h, dtype=steps.dtype)[:, None].expand(h, w),
        ]
    )
    places = [start]
    for step in steps:
        places.append(sample(places[-1], start + step))
    return torch.stack(places)


def by_flow(flow: Flow) -> Tracker:
    """A tracker that follows a flow: masks are looked up in the first frame, key-points go with the flow of
    the pixel they are on.

    The mask may be larger than the frames: the flow is then enlarged.
    """

    def track(frames: Tensor, first: Tensor, points: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        film = grey(frames)
        back = torch.from_numpy(np.stack([flow(now, before) for before, now in zip(film, film[1:])])).double()
        places = chained(back)  # (T, 2, H, W)
        if places.shape[2:] != first.shape:
            times = torch.tensor(
                [first.shape[1] / film.shape[2], first.shape[0] / film.shape[1]], dtype=places.dtype
            ).view(2, 1, 1)
            places = (
                F.interpolate(places, size=first.shape, mode="bilinear", align_corners=False) + 0.5
            ) * times - 0.5
        first = first.masked_fill(first == UNKNOWN, 0)
        onehot = F.one_hot(first.long()).permute(2, 0, 1).double()
        masks = torch.stack([sample(onehot, place).argmax(0) for place in places]).to(torch.uint8)
        masks[0] = first
        if points is None:
            return masks, None
        found = [points.double()]
        for before, now in zip(film, film[1:]):
            ahead = torch.from_numpy(flow(before, now)).double()
            here = found[-1]
            # key-points count from the edge of the first pixel
            found.append(here + sample(ahead, here.T[:, None] - 0.5)[:, 0].T)
        return masks, torch.stack(found)

    return track
