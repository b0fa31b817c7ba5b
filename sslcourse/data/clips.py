"""Sequences of frames with masks, read when they are asked for.

    sequences(folder), davis()    frames with masks in the layout of DAVIS
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sslcourse import common
from sslcourse.common import CourseError
from sslcourse.data import images

# ---------------------------------------------------------------------------------------------- sequences with masks

UNKNOWN = 255  # in a mask: nobody has annotated this frame


class Film(NamedTuple):
    """One sequence."""

    name: str
    frames: Tensor  # (3, T, H, W) uint8
    masks: Tensor  # (T, H, W) uint8: 0 is ground, 1, 2 ... are objects, 255 where a frame has no annotation


class Sequences(Sequence):
    """Films that are read when they are asked for: `films[0]`, `films["dog"]`, `for name, frames, masks in films`."""

    def __init__(self, names: Sequence[str], read: Callable[[str], Film]):
        self.names, self._read = tuple(names), read

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, which: int | str | slice) -> Film | Sequences:
        if isinstance(which, slice):
            return Sequences(self.names[which], self._read)
        if isinstance(which, str) and which not in self.names:
            raise CourseError(f"there is no sequence {which!r}; there are {', '.join(self.names)}")
        return self._read(which if isinstance(which, str) else self.names[which])

    def __repr__(self):
        return f"<{len(self)} sequences: {', '.join(self.names[:4])}{' ...' if len(self) > 4 else ''}>"


def sequences(folder: str | Path, part: str | Sequence[str] | None = None, *, year: int = 2017, resolution: str = "480p",
              size: int | tuple[int, int] | None = None, one_object: bool = False, limit: int | None = None) -> Sequences:  # fmt: skip
    """Frames and masks of a folder in the layout of DAVIS: `JPEGImages/480p/NAME/00000.jpg`, `Annotations/480p/NAME/00000.png`.

    Your own sequences do in the same layout; frames may be .jpg or .png, numbered as you like, and a frame without a mask (all but the
    first, perhaps) is filled with 255. Nothing is read before a film is asked for.

    Args:
        folder: holds `JPEGImages`, or holds the folder `DAVIS` that does.
        part: "train" or "val" for the official lists in `ImageSets`, a list of names, or None for every sequence that is there.
        year: whose lists, 2017 or 2016.
        resolution: name of the folders below `JPEGImages` and `Annotations`.
        size: None as it is on disk; a number for the shorter side; or (height, width), which must fit the aspect to a twentieth.
        one_object: all objects together are object 1, as in DAVIS 2016.
        limit: only the first so many frames of each.

    Raises:
        CourseError: the folder has another layout, or a name is not there.

    Source: F. Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation, CVPR 2016; J. Pont-Tuset
    et al., The 2017 DAVIS Challenge on Video Object Segmentation, arXiv:1704.00675.
    """
    root = Path(folder).expanduser()
    root = root / "DAVIS" if (root / "DAVIS" / "JPEGImages").is_dir() else root
    pictures = root / "JPEGImages" / resolution
    if not pictures.is_dir():
        there = sorted(p.name for p in (root / "JPEGImages").iterdir()) if (root / "JPEGImages").is_dir() else []
        hint = f"it has {', '.join(there)}: pass resolution={there[0]!r}" if there else "expected JPEGImages/480p/NAME/00000.jpg below it"
        raise CourseError(f"{root} holds no JPEGImages/{resolution}; {hint}")
    found = sorted(p.name for p in pictures.iterdir() if p.is_dir() and not p.name.startswith("."))
    names = found if part is None else _official_names(root, part, year, resolution) if isinstance(part, str) else list(part)
    if missing := [name for name in names if name not in found]:
        raise CourseError(f"{pictures} lacks {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}; it has {', '.join(found[:10])}")
    if limit is not None and limit < 1:
        raise CourseError(f"limit={limit}; pass at least 1 frame, or None for all")
    masks = root / "Annotations" / resolution
    return Sequences(names, lambda name: _read_film(name, pictures / name, masks / name, size, one_object, limit))


def davis(year: int = 2017, part: str | Sequence[str] | None = "val", **options) -> Sequences:
    """The sequences that `data_scripts/davis.py` fetched.

    Args:
        year: 2017 (60 to train with, 30 to validate; several objects) or 2016 (30 and 20; one object).
        part, **options: as for `sequences`.
    """
    if year not in (2016, 2017):
        raise CourseError(f"year={year}; there are DAVIS 2017 and DAVIS 2016")
    folder = common.data_dir(f"davis{year}", "sequences")
    if not folder.is_dir():
        raise CourseError(f"no DAVIS {year} in {folder}; type: python data_scripts/davis.py" + (" --year 2016" if year == 2016 else ""))
    return sequences(folder, part, **{"year": year, "one_object": year == 2016, **options})


def _official_names(root: Path, part: str, year: int, resolution: str) -> list[str]:
    """The names in `ImageSets/2017/val.txt`, or, in the archive of 2016, those in the paths of `ImageSets/480p/val.txt`."""
    for file in (root / "ImageSets" / str(year) / f"{part}.txt", root / "ImageSets" / resolution / f"{part}.txt"):
        if file.is_file():
            first = [line.split()[0] for line in file.read_text().splitlines() if line.strip()]
            return list(dict.fromkeys(word.split("/")[-2] if "/" in word else word for word in first))
    lists = sorted(str(p.relative_to(root)) for p in (root / "ImageSets").rglob("*.txt")) if (root / "ImageSets").is_dir() else []
    raise CourseError(f'{root} has no list {part!r} of {year}; it has {", ".join(lists) or "no ImageSets"}: pass part=None or a list of names')


def natural(path: Path) -> list:
    """A key that sorts frame2 before frame10."""
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in re.split(r"(\d+)", path.stem) if piece]


def _pictures_in(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if p.suffix.lower() in images.SUFFIXES and not p.name.startswith(".")), key=natural)


def _read_film(name: str, pictures: Path, masks: Path, size, one_object: bool, limit: int | None) -> Film:
    from PIL import Image

    files = _pictures_in(pictures)[:limit]
    if not files:
        raise CourseError(f"{pictures} holds no picture; it should hold files such as 00000.jpg")
    with Image.open(files[0]) as first:
        width, height = first.size
    shape = _scaled(height, width, size, name)
    frames = np.empty((3, len(files), *shape), np.uint8)
    ids = np.full((len(files), *shape), UNKNOWN, np.uint8)
    for t, file in enumerate(files):
        try:
            with Image.open(file) as image:
                if image.size != (width, height):
                    raise CourseError(f"{file} is {image.size[0]} x {image.size[1]} pixels, the first frame {width} x {height}")
                image = image.convert("RGB")
                if shape != (height, width):
                    image = image.resize(shape[::-1], Image.Resampling.BOX if shape[0] < height else Image.Resampling.BICUBIC)
                frames[:, t] = np.asarray(image).transpose(2, 0, 1)
            mask = masks / f"{file.stem}.png"
            if mask.is_file():
                with Image.open(mask) as image:
                    ids[t] = _object_ids(image, shape)
        except OSError as error:
            raise CourseError(f"{file} or its mask is damaged ({error}); fetch the sequence again") from None
    if one_object:
        ids[(ids > 0) & (ids != UNKNOWN)] = 1
    return Film(name, torch.from_numpy(frames), torch.from_numpy(ids))


def _scaled(height: int, width: int, size, name: str) -> tuple[int, int]:
    """(height, width) in which a film is shown."""
    if size is None:
        return height, width
    if isinstance(size, int):
        if size < 4:
            raise CourseError(f"size={size}; the shorter side has at least 4 pixels")
        scale = size / min(height, width)
        return round(height * scale), round(width * scale)
    wanted = tuple(int(s) for s in size)
    if abs(wanted[1] / wanted[0] * height / width - 1) > 0.05:
        raise CourseError(f"size={size} would squeeze {name}, which is {height} x {width}; pass a number for its shorter side")
    return wanted


def _object_ids(image, shape: tuple[int, int]) -> np.ndarray:
    """An annotation as (H, W) uint8 ids. DAVIS 2017 stores ids through a palette, DAVIS 2016 white on black, at times with three channels."""
    from PIL import Image

    if image.mode not in ("P", "L", "1"):
        image = image.convert("L")
    palette = image.mode == "P"
    if image.mode == "1":
        image = image.convert("L")
    ids = np.asarray(image)
    white = ids > 127 if not palette else ids == 255
    if white.any() and (not palette or bool((white | (ids == 0)).all())):
        ids = white.astype(np.uint8)
    if ids.shape != shape:  # nearest: between object 1 and object 3 there is no object 2
        ids = np.asarray(Image.fromarray(ids).resize(shape[::-1], Image.Resampling.NEAREST))
    return ids
