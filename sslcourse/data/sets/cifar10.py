"""Fetch CIFAR-10 (162 MB) and write it as arrays that `sslcourse.data.images.cifar10()` reads.

    sslcourse data cifar10                               download, verify, write
    sslcourse data cifar10 --from cifar-10-binary.tar.gz   the same from a file that you have

It can be stopped at any moment and typed again: it goes on where it was. It needs 350 MB of disk, 190 MB
in the end. The binary version is used: unlike the "python version" it holds no pickled code. At the end
it prints

    train_image        50,000  of 32x32x3
    train_label        50,000
    test_image         10,000  of 32x32x3
    test_label         10,000

images uint8 (N, 32, 32, 3), RGB; labels uint8 (N,), 0 to 9, with 5,000 and 1,000 of each class. Official
page: https://www.cs.toronto.edu/~kriz/cifar.html (A. Krizhevsky, 2009; it names no licence).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslcourse.data import download, images
from sslcourse.runtime import CourseError, data_dir

MIRRORS = ("https://www.cs.toronto.edu/~kriz",)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
RECORD = 1 + 3 * 32 * 32  # bytes: a label, then the red, the green and the blue plane, row by row


@dataclass(frozen=True)
class Expected:
    """What the official page publishes: the archive with its md5, and the number of images in each of the six
    files.
    """

    archive: download.Remote = download.Remote(
        "cifar-10-binary.tar.gz", 170_052_171, md5="c32a1d4ab5d03f1284b67883e8d87530"
    )
    per_file: int = 10_000


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
    arrays: dict[str, tuple[int, ...]] = {}
    for part, count in (("train", 5 * expected.per_file), ("test", expected.per_file)):
        arrays |= {f"{part}_image": (count, 32, 32, 3), f"{part}_label": (count,)}
    write = lambda paths, to: convert(paths[0], to, expected.per_file)
    return images.build(
        "cifar10",
        [expected.archive],
        write,
        arrays,
        source=source,
        folder=folder or data_dir("cifar10"),
        mirrors=mirrors,
        keep=keep,
        quiet=quiet,
    )


def convert(archive: Path, folder: Path, per_file: int) -> tuple[str, ...]:
    """Read the six record files out of the archive and write four arrays."""
    records = {}
    for name, size, stream in download.members(archive, {*TRAIN, "test_batch.bin", "batches.meta.txt"}):
        if name == "batches.meta.txt":
            classes = tuple(download.read_exactly(stream, size, name).decode("ascii", "replace").split())
            if classes != CLASSES:
                raise CourseError(f"{archive} names the classes {classes}; expected {CLASSES}")
            continue
        if size != per_file * RECORD:
            raise CourseError(f"{name} in {archive} has {size:,} bytes; expected {per_file * RECORD:,}")
        records[name] = np.frombuffer(download.read_exactly(stream, size, name), np.uint8).reshape(
            per_file, RECORD
        )
    for part, names in (("train", TRAIN), ("test", ("test_batch.bin",))):
        whole = np.concatenate([records[name] for name in names])  # (N, 3073)
        label, pixels = whole[:, 0], whole[:, 1:].reshape(-1, 3, 32, 32)
        images.check_labels(label, len(CLASSES), f"{part} of {archive.name}")
        counts = np.bincount(label, minlength=len(CLASSES)).tolist()
        if len(set(counts)) > 1:
            raise CourseError(f"{part} of {archive} has {counts} images per class; expected as many of each")
        images.save_array(
            folder / f"{part}_image.npy", (len(label), 32, 32, 3), [pixels.transpose(0, 2, 3, 1)]
        )
        images.save_array(folder / f"{part}_label.npy", (len(label),), [label])
    return CLASSES


def main(argv: Sequence[str] | None = None) -> int:
    return download.run_script("cifar10", prepare, __doc__, data_dir("cifar10"), argv)
