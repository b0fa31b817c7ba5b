"""The procedural world of the course: `images()` for a data set, `scene()` and `render()` for pictures of your own,
`bounce()` and `crossing()` for short films."""

from sslcourse.data.toybox.moving import MATERIALS, Film, bounce, crossing, strike
from sslcourse.data.toybox.sets import caption, images
from sslcourse.data.toybox.solids import NAMES as SHAPES
from sslcourse.data.toybox.world import ANGLES, CATEGORIES, PATTERNS, RANGES, factors, render, scene

__all__ = ["ANGLES", "CATEGORIES", "MATERIALS", "PATTERNS", "RANGES", "SHAPES", "Film", "bounce", "caption", "crossing", "factors", "images",
           "render", "scene", "strike"]  # fmt: skip
