"""Fetch STL-10 (2.6 GB) and write it as arrays that `sslcourse.data.images.stl10()` reads.

    sslcourse data stl10                            download, verify, write
    sslcourse data stl10 --from stl10_binary.tar.gz   the same from a file that you have

It can be stopped at any moment and typed again: it goes on where it was. It needs 5.8 GB of disk, 3.1 GB
in the end, and little memory: images pass through in blocks. At the end it prints

    train_image         5,000  of 96x96x3
    train_label         5,000
    test_image          8,000  of 96x96x3
    test_label          8,000
    unlabelled_image  100,000  of 96x96x3
    folds                  10  of 1000

images uint8 (N, 96, 96, 3), RGB; labels uint8 (N,), 0 to 9 (the files count from 1), with 500 and 800 of
each class; folds int64: the ten official choices of 1,000 training images, as positions from 0. Official
page: https://cs.stanford.edu/~acoates/stl10 (A. Coates, H. Lee, A. Ng, 2011; images from ImageNet).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from sslcourse.data import download, images
from sslcourse.runtime import CourseError, data_dir

MIRRORS = ("http://ai.stanford.edu/~acoates/stl10",)
CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
IMAGES = {"train_X.bin": "train_image", "test_X.bin": "test_image", "unlabeled_X.bin": "unlabelled_image"}
LABELS = {"train_y.bin": "train_label", "test_y.bin": "test_label"}
PIXELS = 3 * 96 * 96  # bytes of an image
BLOCK = 1000  # images that are in memory at once: 28 MB


@dataclass(frozen=True)
class Expected:
    """The archive with the md5 that torchvision lists, and the numbers of images on the official page."""

    archive: download.Remote = download.Remote(
        "stl10_binary.tar.gz", 2_640_397_119, md5="91f7769df0f17e558f3565bffb0c7dfb"
    )
    train: int = 5_000
    test: int = 8_000
    unlabelled: int = 100_000
    fold: int = 1_000


def prepare(
    source: str | Path | None = None,
    folder: str | Path | None = None,
    expected: Expected = Expected(),
    *,
    mirrors: Sequence[str] = MIRRORS,
    keep: bool = False,
    quiet: bool = False,
) -> dict:
    """Write the arrays into `folder` from `source` (a file, its folder, or None to download) as
    `images.build` does.
    """
    count = {"train": expected.train, "test": expected.test, "unlabelled": expected.unlabelled}
    arrays: dict[str, tuple[int, ...]] = {}
    for part, n in count.items():
        arrays[f"{part}_image"] = (n, 96, 96, 3)
        if part != "unlabelled":
            arrays[f"{part}_label"] = (n,)
    arrays["folds"] = (10, expected.fold)
    write = lambda paths, to: convert(paths[0], to, arrays)
    return images.build(
        "stl10",
        [expected.archive],
        write,
        arrays,
        source=source,
        folder=folder or data_dir("stl10"),
        mirrors=mirrors,
        keep=keep,
        quiet=quiet,
    )


def convert(archive: Path, folder: Path, arrays: dict[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Go once through the archive and write each array as its file comes by."""
    wanted = {*IMAGES, *LABELS, "class_names.txt", "fold_indices.txt"}
    for name, size, stream in download.members(archive, wanted):
        if name in IMAGES:
            array = IMAGES[name]
            _check_bytes(name, size, arrays[array][0] * PIXELS)
            images.save_array(folder / f"{array}.npy", arrays[array], _blocks(stream, arrays[array][0], name))
        elif name in LABELS:
            array = LABELS[name]
            _check_bytes(name, size, arrays[array][0])
            label = np.frombuffer(download.read_exactly(stream, size, name), np.uint8).astype(np.int64) - 1
            images.check_labels(label, len(CLASSES), f"{name} of {archive.name}")
            images.save_array(folder / f"{array}.npy", arrays[array], [label.astype(np.uint8)])
        elif name == "fold_indices.txt":
            folds = _folds(
                download.read_exactly(stream, size, name), arrays["folds"], arrays["train_label"][0]
            )
            images.save_array(folder / "folds.npy", folds.shape, [folds], dtype=np.int64)
        else:
            classes = tuple(download.read_exactly(stream, size, name).decode("ascii", "replace").split())
            if classes != CLASSES:
                raise CourseError(f"{archive} names the classes {classes}; expected {CLASSES}")
    return CLASSES


def _blocks(stream: IO[bytes], count: int, name: str) -> Iterator[np.ndarray]:
    """(b, 96, 96, 3) arrays. The file has a plane per colour, and within it column after column."""
    for start in range(0, count, BLOCK):
        n = min(BLOCK, count - start)
        planes = np.frombuffer(download.read_exactly(stream, n * PIXELS, name), np.uint8).reshape(
            n, 3, 96, 96
        )
        yield planes.transpose(0, 3, 2, 1)  # (b, colour, column, row) -> (b, row, column, colour)


def _folds(text: bytes, shape: tuple[int, ...], train: int) -> np.ndarray:
    """Ten lines of positions -> (10, 1000) int64."""
    rows = [[int(word) for word in line.split()] for line in text.decode().splitlines() if line.strip()]
    if len(rows) != shape[0] or {len(set(row)) for row in rows} != {shape[1]}:
        lengths = sorted({len(row) for row in rows})
        raise CourseError(f"fold_indices.txt has {len(rows)} folds of {lengths} images; expected {shape}")
    folds = np.array(rows, np.int64)
    if folds.min() < 0 or folds.max() >= train:
        raise CourseError(
            f"fold_indices.txt has positions from {folds.min()} to {folds.max()} for {train} images"
        )
    return folds


def _check_bytes(name: str, size: int, expected: int) -> None:
    if size != expected:
        raise CourseError(f"{name} has {size:,} bytes; expected {expected:,}")


def main(argv: Sequence[str] | None = None) -> int:
    return download.run_script("stl10", prepare, __doc__, data_dir("stl10"), argv)
