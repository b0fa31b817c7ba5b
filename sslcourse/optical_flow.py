"""Optical flow as a tracker: where did each pixel come from? Chained from frame to frame, it carries masks and key-points along.

Two flows of well-kept libraries, which have learned nothing: `tvl1` (scikit-image: Zach, Pock and Bischof, A Duality Based Approach for
Realtime TV-L1 Optical Flow, DAGM 2007) and `coarse_to_fine` (OpenCV: Farnebäck, Two-Frame Motion Estimation Based on Polynomial
Expansion, SCIA 2003, on a pyramid). Small errors add up along a film, and what was hidden once is lost for good.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sslcourse.common import CourseError
from sslcourse.tracking import Tracker

# Of two grey pictures (H, W) uint8: for each pixel of the first, how far to go (x, y) to find it in the second: (2, H, W) float32.
Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]


def tvl1(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Scikit-image's TV-L1: brightness stays, and the flow changes only where it must. With the library's own settings."""
    from skimage.registration import optical_flow_tvl1

    down, across = optical_flow_tvl1(first.astype(np.float32) / 255, second.astype(np.float32) / 255)
    return np.stack([across, down]).astype(np.float32)


def coarse_to_fine(first: np.ndarray, second: np.ndarray, levels: int = 4, window: int = 11) -> np.ndarray:
    """OpenCV's Farnebäck: each neighbourhood as a polynomial, from a coarse picture to the fine one.

    Args:
        levels: of the pyramid, each half as large as the one before.
        window: in pixels, over which the motion is averaged.
    """
    import cv2

    found = cv2.calcOpticalFlowFarneback(first, second, None, 0.5, levels, window, 5, 5, 1.1, 0)
    return found.transpose(2, 0, 1)


FLOWS: dict[str, Flow] = {"TV-L1": tvl1, "coarse to fine": coarse_to_fine}


def grey(frames: Tensor) -> np.ndarray:
    """(3, T, H, W) uint8 to (T, H, W) uint8: the weights of a television set (ITU-R BT.601), as both libraries have them."""
    if frames.ndim != 4 or frames.shape[0] != 3:
        raise CourseError(f"frames of shape {tuple(frames.shape)}; pass one film (3, T, H, W)")
    weight = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1, 1)
    return (frames.float().cpu() * weight).sum(0).round().clamp(0, 255).to(torch.uint8).numpy()


def sample(maps: Tensor, at: Tensor) -> Tensor:
    """Values of maps (C, H, W) at places (2, h, w), x and y in pixels with 0 the middle of the first one: bilinear; beyond the border, its value."""
    size = torch.tensor(maps.shape[:0:-1], dtype=at.dtype)  # W, H
    grid = ((at + 0.5) * 2 / size.view(2, 1, 1) - 1).permute(1, 2, 0)
    return F.grid_sample(maps[None].to(at.dtype), grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0]


def chained(steps: Tensor) -> Tensor:
    """Where each pixel of each frame was in the first one.

    Args:
        steps: (T - 1, 2, H, W): of each pixel of frame t + 1, how far (x, y) it is to its place in frame t.

    Returns:
        (T, 2, H, W) places in the first frame, in pixels, 0 the middle of the first one. The places are chained and not the labels: these
        would be blurred at every step.
    """
    h, w = steps.shape[2:]
    start = torch.stack([torch.arange(w, dtype=steps.dtype).expand(h, w), torch.arange(h, dtype=steps.dtype)[:, None].expand(h, w)])
    places = [start]
    for step in steps:
        places.append(sample(places[-1], start + step))
    return torch.stack(places)


def by_flow(flow: Flow) -> Tracker:
    """A tracker that follows a flow: masks are looked up in the first frame, key-points go with the flow of the pixel they are on."""

    def track(frames: Tensor, first: Tensor, points: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        film = grey(frames)
        back = torch.from_numpy(np.stack([flow(now, before) for before, now in zip(film, film[1:])])).double()
        onehot = F.one_hot(first.long()).permute(2, 0, 1).double()
        masks = torch.stack([sample(onehot, place).argmax(0) for place in chained(back)]).to(torch.uint8)
        masks[0] = first
        if points is None:
            return masks, None
        places = [points.double()]
        for before, now in zip(film, film[1:]):
            ahead = torch.from_numpy(flow(before, now)).double()
            here = places[-1]
            moved = sample(ahead, here.T[:, None] - 0.5)[:, 0].T  # key-points count from the edge of the first pixel
            places.append(here + moved)
        return masks, torch.stack(places)

    return track
