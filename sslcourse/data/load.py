"""A data set by the name that one types on a command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sslcourse.data.datasets import Data
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import SEED, SHARE, Number, takes

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


SIZED = ("digits", "mnist", "stl10")


def sized(name: str, size: int | None) -> str:
    """The name under which `load`, now and from a checkpoint, finds the data with pictures of this size."""
    if size is None:
        return name
    if name not in SIZED and not Path(name).is_dir():
        raise CourseError(
            f"--size {size}: {name} has a size of its own; --size is for {', '.join(SIZED)} and folders of "
            f"pictures"
        )
    return f"{name}@{size}"


def _knobs(name: str, text: str) -> dict[str, Any]:
    """What stands behind "toybox:": the background as a plain number, others as knob=value, with commas."""
    knobs: dict[str, Any] = {}
    for word in text.split(",") if text else ():
        knob, equals, value = word.rpartition("=")
        knob = knob.strip() if equals else "background"
        if knob not in ("background", "tied"):
            raise CourseError(
                f"--data {name}: {word!r} is no knob of the toybox; write toybox:0.5 (the background), "
                "toybox:tied=0.9 (hue tied to shape) or toybox:0.5,tied=0.9"
            )
        knobs[knob] = SHARE.read(value.strip(), f"--data {name}: {knob}")
    return knobs


@takes(seed=SEED, frames=Number(1, 100_000))
def load(name: str, seed: int = 0, frames: int = 16) -> Data:
    """The three splits of a data set.

    Args:
        name: "toybox" ("toybox:0.5" for another background, "toybox:tied=0.9" where shapes have their
            colours, both as "toybox:0.5,tied=0.9"), "digits", "cifar10", "stl10", "mnist", a
            `.npz` file of your own arrays (images, or sounds: see `sslcourse.data.heard.npz`), or a folder of
            images with one subfolder per class (or with train and test, which hold the classes). "digits",
            "mnist", "stl10" and folders take "@SIZE" behind them: "photos@64". Videos: "toyvideos" (motion
            classes), "toytracks" (for tracking), "movingdigits", "ucf101", "hmdb51", or a folder of prepared
            clips (see `sslcourse.data.clips`). Films with sound: "toyevents" (one second, six events),
            "toyscenes" (three seconds, to cut windows from), "avdigits" (written and spoken digits,
            constructed pairs). Recordings: "esc50" (its fold 1 tests),
            "spokendigits".
        seed: of the toybox's world, or of the split where the data come without one.
        frames: at most so many frames are shown at once of films of your own; fewer where most are shorter,
            but not less than 16.
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
    path, size = Path(name), None
    if "@" in name and not path.exists():
        name, _, text = name.rpartition("@")
        if not text.isdecimal():
            raise CourseError(f"--data {name}@{text}: the size behind the @ is a whole number of pixels")
        path, size = Path(name), int(text)
        sized(name, size)  # an error where it cannot have another size
    options = {} if size is None else {"size": size}
    if name in NAMES:
        return getattr(images, name)(**options)
    if clips.is_prepared(path):
        if size is not None:
            raise CourseError(
                f"--size {size}: films have the size in which they were prepared; prepare them again: "
                f"sslcourse data videos FOLDER --to CLIPS --size {size}"
            )
        return _films(path, frames)
    if path.suffix.lower() == ".npz" and path.is_file():
        return _classed(heard.npz(path) if "audio" in (heard.shapes(path) or ()) else images.npz(path), name)
    if path.is_dir():
        _refuse_other_files(path)
        return _classed(images.folder(path, own_splits=True, **options), name)
    if path.is_file():
        raise CourseError(
            f"--data {name}: a file of your own is a .npz with the arrays image and label, or audio, rate "
            f"and label; "
            "of pictures or films pass the folder"
        )
    raise CourseError(
        f"--data {name}: neither a data set ({', '.join(NAMES)}) nor a .npz file or folder that exists"
    )


def _classed(data: Data, name: str) -> Data:
    if data.train.labelled and len(data.classes) < 2:
        raise CourseError(
            f"--data {name}: {', '.join(data.classes)} is a single class, in which every answer is right; "
            f"add the "
            "others, or leave the labels out (pass the folder that holds the pictures)"
        )
    return data


def _films(path: Path, frames: int) -> Data:
    from sslcourse.data import clips

    data = clips.open(path)
    films = data.train
    assert isinstance(films, clips.Clips)
    if frames <= films.frames:
        return data
    return clips.open(path, frames=max(films.frames, min(frames, int(films.lengths.median()))))


def _refuse_other_files(path: Path) -> None:
    """An error that says what to type where a folder holds films or sounds, and no picture."""
    from sslcourse.data import folders
    from sslcourse.data.clips import SUFFIXES

    kinds = {file.suffix.lower() for file in folders.files_below(path)}
    if kinds & {*folders.PICTURES}:
        return
    if kinds & {*SUFFIXES}:
        raise CourseError(
            f"--data {path}: these are films; they are prepared first: sslcourse data videos {path} --to "
            f"CLIPS, or "
            f"with their sound sslcourse data av_folder {path} --to CLIPS. Then --data CLIPS"
        )
    if kinds & {".wav", ".flac", ".ogg", ".mp3", ".m4a", ".aac", ".opus", ".aif", ".aiff"}:
        raise CourseError(
            f"--data {path}: these are sounds; they are read from one file, which "
            "np.savez('sounds.npz', audio=audio, rate=8000, label=label) writes. Then --data sounds.npz"
        )
