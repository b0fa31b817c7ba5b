"""The procedural world of the course: `images()` for a data set, `scene()` and `render()` for pictures of
your own, `bounce()` and `crossing()` for short films, `videos()` and `tracks()` for data sets of silent ones,
`events()` for films with sound.
"""

from sslcourse.data.toybox.films import MOTIONS, POINTS, WAYS, tracks, truth, videos
from sslcourse.data.toybox.moving import MATERIALS, Film, bounce, crossing, strike
from sslcourse.data.toybox.pictures import caption, images
from sslcourse.data.toybox.solids import NAMES as SHAPES
from sslcourse.data.toybox.sounding import EVENTS, events, film
from sslcourse.data.toybox.world import ANGLES, CATEGORIES, PATTERNS, RANGES, factors, render, scene

__all__ = [
    "ANGLES",
    "CATEGORIES",
    "EVENTS",
    "MATERIALS",
    "MOTIONS",
    "PATTERNS",
    "POINTS",
    "RANGES",
    "SHAPES",
    "WAYS",
    "Film",
    "bounce",
    "caption",
    "crossing",
    "events",
    "factors",
    "film",
    "images",
    "render",
    "scene",
    "strike",
    "tracks",
    "truth",
    "videos",
]
