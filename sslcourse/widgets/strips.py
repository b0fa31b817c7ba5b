"""Rows of small pictures in panel and replay: samples, and what a method makes of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from sslcourse.runtime.errors import CourseError

PLAIN = ("epoch", "step", "lr", "seconds", "samples/s", "interrupted")  # columns of a row that are no metrics
MOST_STRIPS, STRIP_LENGTH = 4, 12  # rows of small pictures below the panel, and pictures in a row
NEAREST = 0.25  # a map never zooms in further than this half-width: a collapsed cloud must look like one


def strips(pictures: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Named rows of small pictures, {name: (n, 3, h, w)} in 0..1 or uint8, as the panel keeps them: {name:
    (n, h, w, 3)} uint8.

    At most 4 rows of 12, all pictures of one size.
    """
    from sslcourse import show

    if not isinstance(pictures, Mapping) or not pictures or len(pictures) > MOST_STRIPS:
        found = ", ".join(map(str, pictures)) if isinstance(pictures, Mapping) else type(pictures).__name__
        raise CourseError(
            f"pictures={found or '{}'}; give one to {MOST_STRIPS} named rows: "
            f"pictures={{'x': x[:8], 'G(z)': g(z)}}"
        )
    made = {str(name): show.to_uint8(x)[:STRIP_LENGTH] for name, x in pictures.items()}
    if len({x.shape[1:] for x in made.values()}) > 1:
        raise CourseError(
            f"pictures of sizes {sorted({x.shape[1:3] for x in made.values()})}; all rows must hold "
            "pictures of one size"
        )
    return made
