"""Fetch MNIST (12 MB in four files) and write it as arrays that `sslcourse.data.images.mnist()` reads.

    sslcourse data mnist                 download, verify, write
    sslcourse data mnist --from FOLDER    the same from a folder that holds the four .gz files

It can be stopped at any moment and typed again: it goes on where it was. It needs 67 MB of disk, 55 MB in
the end. At the end it prints

    train_image        60,000  of 28x28
    train_label        60,000
    test_image         10,000  of 28x28
    test_label         10,000

images uint8 (N, 28, 28), white on black; labels uint8 (N,), 0 to 9. Y. LeCun, C. Cortes and C. Burges,
1998. The first mirror is PyTorch's, the second the authors'; the checksums are those that torchvision
lists.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslcourse.data import download, images
from sslcourse.runtime import CourseError, data_dir

MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist", "http://yann.lecun.com/exdb/mnist")
CLASSES = tuple("0123456789")
FILES = (
    download.Remote("train-images-idx3-ubyte.gz", 9_912_422, md5="f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    download.Remote("train-labels-idx1-ubyte.gz", 28_881, md5="d53e105ee54ea40749a09fcbcd1e9432"),
    download.Remote("t10k-images-idx3-ubyte.gz", 1_648_877, md5="9fb629c4189551a2d022fa330f9573f3"),
    download.Remote("t10k-labels-idx1-ubyte.gz", 4_542, md5="ec29112dd5afa0611ce80d1b7f02629c"),
)


@dataclass(frozen=True)
class Expected:
    """The four files (images and labels to train with, then to test with), and how many digits they hold."""

    files: tuple[download.Remote, ...] = FILES
    train: int = 60_000
    test: int = 10_000


def prepare(
    source: str | Path | None = None,
    folder: str | Path | None = None,
    expected: Expected = Expected(),
    *,
    mirrors: Sequence[str] = MIRRORS,
    keep: bool = False,
    quiet: bool = False,
) -> dict:
    """Write the arrays into `folder` from `source` (a folder, or None to download) as `images.build` does."""
    if source is not None and Path(source).is_file():
        raise CourseError(f"{source} is one file, and MNIST has four; pass the folder that holds them")
    arrays = {
        "train_image": (expected.train, 28, 28),
        "train_label": (expected.train,),
        "test_image": (expected.test, 28, 28),
        "test_label": (expected.test,),
    }
    return images.build(
        "mnist",
        expected.files,
        lambda paths, to: convert(paths, to, arrays),
        arrays,
        source=source,
        folder=folder or data_dir("mnist"),
        mirrors=mirrors,
        keep=keep,
        quiet=quiet,
    )


def convert(paths: Sequence[Path], folder: Path, arrays: dict[str, tuple[int, ...]]) -> tuple[str, ...]:
    """One array per file, in the same order."""
    for path, (name, shape) in zip(paths, arrays.items()):
        array = read_idx(path, shape)
        if name.endswith("label"):
            images.check_labels(array, len(CLASSES), path.name)
        images.save_array(folder / f"{name}.npy", shape, [array])
    return CLASSES


def read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A gz file in IDX format: two zero bytes, 8 (uint8), the number of axes, their lengths (big-endian), the
    bytes.
    """
    header = np.array([0x800 + len(shape), *shape], ">u4").tobytes()
    name = path.name.removesuffix(".gz")
    for found, _, stream in download.members(path, {name}):
        if download.read_exactly(stream, len(header), found) != header:
            raise CourseError(
                f"{path} does not begin like an IDX file of {shape}; it is not the published file"
            )
        data = np.frombuffer(download.read_exactly(stream, math.prod(shape), found), np.uint8).reshape(shape)
        if stream.read(1):
            raise CourseError(f"{path} holds more than {shape}; it is not the published file")
    return data


def main(argv: Sequence[str] | None = None) -> int:
    return download.run_script("mnist", prepare, __doc__, data_dir("mnist"), argv)
