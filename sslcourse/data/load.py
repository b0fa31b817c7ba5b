"""A data set by the name that one types on a command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sslcourse.data.datasets import Data
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import SHARE

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


def load(name: str, seed: int = 0) -> Data:
    """The three splits of a data set.

    Args:
        name: "toybox" (or "toybox:0.5" for another background), "digits", "cifar10", "stl10", "mnist", a
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
        background = SHARE.read(rest, f"--data {name}: the background") if rest else 0.1
        return toybox.images(background=background, seed=seed)
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
