"""One rule for every folder and every picture of a user's: what is looked at, what is passed over, and that
it is said.

    walk(folder)        every file below it. Links are followed, each folder once; what is hidden, at any
                        depth, is passed over: .ipynb_checkpoints and __MACOSX hold copies
    part_of(name)       "train", "validation" or "test" for Train, val, training_set, test-images ...
    opened(file)        a picture of any kind as people see it: upright, RGB
    Remarks             what was passed over, counted and named, as one warning

Sounds come in `.npz` files, see `sslcourse.data.heard`."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sslcourse.runtime.errors import CourseError

PICTURES = (
    ".apng",
    ".avif",
    ".bmp",
    ".dib",
    ".gif",
    ".j2k",
    ".jfif",  # what browsers on Windows call a JPEG
    ".jif",
    ".jp2",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pgm",
    ".png",
    ".pnm",
    ".ppm",
    ".tga",
    ".tif",
    ".tiff",
    ".webp",
)
# What lies beside pictures, films and sounds, is none of them, and is not worth a word.
NOTES: tuple[str, ...] = (
    ".cfg",
    ".csv",
    ".db",
    ".doc",
    ".docx",
    ".htm",
    ".html",
    ".ini",
    ".ipynb",
    ".js",
    ".json",
    ".jsonl",
)
NOTES += (".log", ".md", ".pdf", ".py", ".rst", ".rtf", ".tsv", ".txt", ".url", ".xls", ".xlsx", ".xml")
NOTES += (".yaml", ".yml")
# Folders that systems and programs make for themselves, beside those that begin with "." or "__".
_THEIRS = {"$recycle.bin", "system volume information", "lost+found", "@eadir", "#recycle"}
_WORDS = {
    "train": "train training trainval trn",
    "validation": "val vali valid validate validating validation dev devel development",
    "test": "test tests testing tst eval evaluate evaluation holdout held_out heldout",
    "": "unlabeled unlabelled",
}
_PART = {word: part for part, words in _WORDS.items() for word in words.split()}
# Around the word: training_set, test-images, "Test Data", images_train, train2017.
_THINGS = "(?:set|split|data|dataset|folder|files|images?|imgs?|pictures?|photos?|videos?|films?|clips?)"
_NAMED = re.compile(f"(?:{_THINGS}_)?({'|'.join(_PART)})_?{_THINGS}?_?(?:[0-9]{{4}})?")
MAX_PIXELS = 64 * 10**6  # of one picture; a small file can claim billions and fill the memory
# Arrays that a small file claims may fill the memory, too: photographs and sounds shrink ten times at most.
MAX_ARRAYS, MAX_SHRINKING = 2**30, 100
SHOWN = 10  # files that are named; the others are counted


class Unusable(Exception):
    """Why this picture, or this film, cannot be used, in a few words."""


# ---------------------------------------------------------------------------------------------- arrays


def arrays_of(path: str | Path, example: str) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file by name, as `np.savez` writes it. No pickled objects are loaded.

    Args:
        example: how such a file is written, for the error of one that cannot be read.

    Raises:
        CourseError: there is no such file, it is damaged, or holds something else; or more than a gigabyte
            would come out of a hundredth of that, which no pictures and no sounds do.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CourseError(f"there is no file {path}")
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise CourseError(f"{path} holds a single array; write it with its name: {example}")
        with file:
            claimed = sum(member.file_size for member in file.zip.infolist())
            if claimed > max(MAX_ARRAYS, MAX_SHRINKING * path.stat().st_size):
                raise CourseError(
                    f"{path.name} is a file of {path.stat().st_size:,} bytes, and {claimed:,} bytes of "
                    "arrays would come out of it: these are no pictures and no sounds. Write it anew from "
                    f"the arrays that you mean: {example}"
                )
            return {key: file[key] for key in file.files}
    except CourseError:
        raise
    except Exception as error:  # a damaged zip raises half a dozen kinds
        raise CourseError(
            f"{path} cannot be read ({error}); write it without object arrays: {example}"
        ) from None


# ---------------------------------------------------------------------------------------------- folders


def part_of(name: str) -> str | None:
    """The split that a folder's name means: "train", "validation", "test", "" for one that has no labels on
    purpose, or None where it means none. Capitals, and words such as _set or _images, do not matter.
    """
    found = _NAMED.fullmatch(re.sub(r"[\s_-]+", "_", name.strip().casefold()))
    return _PART[found[1]] if found else None


def is_hidden(name: str, folder: bool = False) -> bool:
    """Whether a file or folder of this name is passed over without being looked at."""
    if name.startswith(".") or name.endswith("~"):
        return True
    return folder and (name.startswith("__") or name.casefold() in _THEIRS)


class Remarks:
    """What was passed over while a folder was read, and why.

    Args:
        root: names are shown as they stand below it.
    """

    def __init__(self, root: Path):
        self.root = root
        self.skipped: list[str] = []  # files that should have been used: name and reason
        self.said: list[str] = []  # all else, in sentences
        self.others: Counter[str] = Counter()  # suffix -> files of a kind that is not read here

    def name(self, path: Path) -> str:
        try:
            return path.relative_to(self.root).as_posix()
        except ValueError:
            return str(path)

    def skip(self, path: Path, reason: object) -> None:
        self.skipped.append(f"{self.name(path)} ({reason})")

    def add(self, text: str) -> None:
        if text not in self.said:
            self.said.append(text)

    def other(self, path: Path) -> None:
        """A file that is not of the kind that is read."""
        if path.suffix.lower() not in NOTES:
            self.others[path.suffix.lower() or "no suffix"] += 1

    def text(self) -> str:
        """All of it, or "" where nothing was passed over."""
        parts = []
        if self.skipped:
            parts.append(f"skipped {len(self.skipped)} files: {named(self.skipped)}")
        if self.others:
            kinds = ", ".join(f"{count} of {suffix}" for suffix, count in sorted(self.others.items()))
            parts.append(f"passed over files of other kinds: {kinds}")
        return "; ".join(parts + self.said)

    def warn(self, stacklevel: int = 2) -> None:
        if text := self.text():
            warnings.warn(text, stacklevel=stacklevel + 1)


def named(names: Sequence[str], shown: int = SHOWN) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def existing(path: str | Path) -> Path:
    """The folder `path`, or an error that says what stands there instead."""
    folder = Path(path).expanduser()
    try:
        there, file = folder.is_dir(), folder.exists()
    except (OSError, ValueError):  # a name with a zero byte, or too long
        raise CourseError(f"{str(folder)!r} is no name of a folder") from None
    if not there:
        raise CourseError(f"there is no folder {folder}" + "; it is a file, pass its folder" * file)
    return folder


def subfolders(folder: Path, remarks: Remarks, holds: Sequence[str] = PICTURES) -> list[Path]:
    """The folders just below, in alphabetical order; what is hidden is passed over, and named where it holds
    such files.
    """
    return sorted(entry for entry in _entries(folder, remarks, holds) if entry.is_dir())


def walk(folder: Path, remarks: Remarks, holds: Sequence[str] = PICTURES) -> Iterator[Path]:
    """Every file below a folder, in no particular order. A link to a folder is followed, but no folder is
    entered twice: links may run in a circle.

    Args:
        holds: suffixes of what is looked for; a hidden folder is named only where it holds such files.
    """
    entered = {os.path.realpath(place) for place in (folder, remarks.root, *remarks.root.absolute().parents)}
    waiting = [folder]
    while waiting:
        for entry in _entries(waiting.pop(), remarks, holds):
            if not entry.is_dir():
                yield entry
            elif (place := os.path.realpath(entry)) in entered:
                remarks.add(
                    f"the link {remarks.name(entry)} leads to a folder that holds it, or is read already"
                )
            else:
                entered.add(place)
                waiting.append(entry)


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder that is not hidden, in alphabetical order."""
    return sorted(walk(folder, Remarks(folder), ()))


def walk_one(folder: Path, remarks: Remarks) -> list[Path]:
    """The files that lie in a folder itself, in alphabetical order."""
    return [entry for entry in _entries(folder, remarks, ()) if not entry.is_dir()]


def _entries(folder: Path, remarks: Remarks, holds: Sequence[str]) -> list[Path]:
    """Files and folders just below that are not hidden."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        remarks.add(f"{remarks.name(folder)} cannot be opened ({error.strerror})")
        return []
    found = []
    for entry in entries:
        if is_hidden(entry.name, inside := entry.is_dir()):
            if inside and holds and _holds(entry, holds):
                remarks.add(f"the hidden folder {remarks.name(entry)} is passed over")
        elif inside or entry.is_file():
            found.append(entry)
        elif entry.is_symlink():
            remarks.skip(entry, "a link to nothing")
    return found


def _holds(folder: Path, suffixes: Sequence[str]) -> bool:
    return any(name.lower().endswith(tuple(suffixes)) for _, _, names in os.walk(folder) for name in names)


# ---------------------------------------------------------------------------------------------- pictures


@contextlib.contextmanager
def readable(file: Path, smallest: int = 0) -> Iterator:
    """A picture file, opened by PIL; whatever its decoder trips over becomes `Unusable`, with the reason.

    Args:
        smallest: pictures with a shorter side below this many pixels are refused.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of one file: bombs (our own limit is lower), odd EXIF, palettes
            with Image.open(file) as image:  # reads the header only
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise Unusable(f"{width} x {height} pixels, more than {MAX_PIXELS / 1e6:.0f} million")
                if min(width, height) < smallest:
                    raise Unusable(f"{width} x {height} pixels, smaller than {smallest}")
                yield image
    except Unusable:
        raise
    except Image.DecompressionBombError:
        raise Unusable(f"more than {MAX_PIXELS / 1e6:.0f} million pixels") from None
    except Exception as error:  # the decoders of twenty formats raise as many kinds for damaged files
        raise Unusable(f"unreadable: {type(error).__name__}") from None


def upright(image):
    """A picture of PIL turned as its EXIF says. A broken note about a picture does not make it unreadable."""
    from PIL import Image

    try:
        turn = image.getexif().get(0x0112, 1)
    except Exception:  # as odd as the cameras and programs that write it
        turn = 1
    turns = (
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.ROTATE_270,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_90,
    )
    return image.transpose(turns[turn - 2]) if turn in range(2, 9) else image


def to_rgb(image):
    """Any mode of PIL to RGB: 16-bit grey is scaled (`convert` would clip it to white), transparency becomes
    white.
    """
    from PIL import Image

    if image.mode == "F":
        raise Unusable("floating-point pixels")
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8)).convert(
            "RGB"
        )
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def fitted(file: Path, height: int, width: int, smallest: int = 0, quick: bool = False) -> np.ndarray:
    """A picture file as (height, width, 3) uint8: upright, laid on white, cut to its centre, resized.

    Args:
        quick: lets JPEG decode at a fraction of its size, at least twice the one that is wanted.

    Raises:
        Unusable: why it cannot be read.
    """
    from PIL import Image, ImageOps

    with readable(file, smallest) as image:
        if quick:
            image.draft("RGB", (2 * width, 2 * height))
        image = to_rgb(upright(image))
        return np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC))
