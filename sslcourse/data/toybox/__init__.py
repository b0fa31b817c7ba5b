"""The procedural world of the course: `images()` for a data set, `scene()` and `render()` for pictures of your own."""

from sslcourse.data.toybox.sets import caption, images
from sslcourse.data.toybox.solids import NAMES as SHAPES
from sslcourse.data.toybox.world import ANGLES, CATEGORIES, PATTERNS, RANGES, factors, render, scene

__all__ = ["ANGLES", "CATEGORIES", "PATTERNS", "RANGES", "SHAPES", "caption", "factors", "images", "render", "scene"]
