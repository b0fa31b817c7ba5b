"""A data set by the name that one types on a command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sslcourse.data.datasets import Data
from sslcourse.runtime.errors import CourseError

NAMES = (
    "toybox",
    "digits",
    "cifar10",
    "stl10",
    "mnist",
    "toyvideos",
    "toytracks",
    "movingdigits",
    "ucf101",
    "hmdb51",
    "toyevents",
    "toyscenes",
    "esc50",
    "spokendigits",
    "avdigits",
)


def _knobs(name: str, text: str) -> dict[str, Any]:
    """What stands behind "toybox:": the background as a plain number, others as knob=value, with commas."""
    knobs: dict[str, Any] = {}
    for word in text.split(",") if text else ():
        knob, equals, value = word.rpartition("=")
        try:
            if (knob.strip() or "background") not in ("background", "tied") or (equals and not knob.strip()):
                raise ValueError
            knobs[knob.strip() or "background"] = float(value)
        except ValueError:
            raise CourseError(
                f"--data {name}: {word!r} is no knob of the toybox; write numbers from 0 to 1 as in "
                "toybox:0.5 (the background), toybox:tied=0.9 (hue tied to shape) or toybox:0.5,tied=0.9"
            ) from None
    return knobs


def load(name: str, seed: int = 0) -> Data:
    """The three splits of a data set.

    Args:
        name: "toybox" ("toybox:0.5" for another background, "toybox:tied=0.9" where shapes have their
            colours, both as "toybox:0.5,tied=0.9"), "digits", "cifar10", "stl10", "mnist", a
            `.npz` file of your own arrays (images, or sounds: see `sslcourse.data.heard.npz`), or a folder of
            images with one subfolder
            per class. Videos: "toyvideos" (motion classes), "toytracks" (for tracking), "movingdigits",
            "ucf101", "hmdb51", or a folder of prepared clips (see `sslcourse.data.clips`). Films with sound:
            "toyevents" (one second, six events), "toyscenes" (three seconds, to cut windows from), "avdigits"
            (written and spoken digits, constructed pairs). Recordings: "esc50" (its fold 1 tests),
            "spokendigits".
        seed: of the toybox's world, or of the split where the data come without one.
    """
    from sslcourse.data import clips, heard, images, moving_digits, toybox
    from sslcourse.data.toybox import sounding

    made: dict[str, Callable[..., Data]] = {
        "toyvideos": toybox.videos,
        "toytracks": toybox.tracks,
        "movingdigits": moving_digits.videos,
        "toyevents": toybox.events,
        "toyscenes": sounding.scenes,
        "spokendigits": heard.spoken_digits,
        "avdigits": heard.av_digits,
    }
    if name in made:
        return made[name](seed=seed)
    kind, _, rest = name.partition(":")
    if kind == "toybox":
        return toybox.images(seed=seed, **_knobs(name, rest))
    if name in ("ucf101", "hmdb51"):
        return getattr(clips, name)()
    if name == "esc50":
        return heard.esc50()
    if name in NAMES:
        return getattr(images, name)()
    path = Path(name)
    if clips.is_prepared(path):
        return clips.open(path)
    if path.suffix == ".npz" and path.is_file():
        return heard.npz(path) if "audio" in (heard.shapes(path) or ()) else images.npz(path)
    if path.is_dir():
        return images.folder(path)
    raise CourseError(
        f"--data {name}: neither a data set ({', '.join(NAMES)}) nor a .npz file or folder that exists"
    )
