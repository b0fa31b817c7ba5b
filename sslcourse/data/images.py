"""Real images as `Data` or `Samples`: what scikit-learn has, what `sslcourse data` prepared, and your own.

    offline, at once            digits(), photographs()
    after `sslcourse data`      cifar10(), stl10(), mnist()
    your own                    folder(path), arrays(image, label), npz(path)

The second half of the file writes and reads prepared arrays: `NAME.npy` beside a `meta.json` that is written
last, so a folder with a `meta.json` is complete."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse import runtime
from sslcourse.data import download
from sslcourse.data.datasets import Data, Samples, split
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.files import Made

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
MAX_PIXELS = 64 * 10**6  # of one picture; a small file can claim billions and fill the memory
MAX_CLASSES = 100_000


# -------------------------------------------------------------------------------------- offline, at once


def digits(size: int = 32, *, validation: float = 0.1, test: float = 0.2, seed: int = 0) -> Data:
    """1,797 real handwritten digits, 10 classes, that come with scikit-learn.

    The source gives no writers, so the same hand may stand in several splits. As everywhere in this module
    the splits are stratified by class and depend on `seed` alone.

    Args:
        size: side in pixels. The originals have 8 (17 grey levels); others are interpolated from them.
        validation, test: shares of the data.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test part).
    """
    from sklearn.datasets import load_digits

    _check_size(size)
    digits = load_digits()
    image = np.round(digits.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8), 0..16 -> 0..255
    return split(
        _as_tensor(image, size=size),
        digits.target,
        validation=validation,
        test=test,
        seed=seed,
        classes=[str(i) for i in range(10)],
        name="digits",
    )


def photographs(size: int = 32, *, count: int | None = None, seed: int = 0) -> Samples:
    """Patches of two real photographs (a Chinese temple, a flower; 640 x 427 pixels) that come with
    scikit-learn.

    Args:
        size: side of a patch in pixels, 8 to 427.
        count: None for the regular grid without overlap (520 patches of 32 pixels), else this many patches at
            random places, which overlap.

    Returns:
        Unlabelled samples; the factor `photo` says which photograph a patch comes from.
    """
    from sklearn.datasets import load_sample_images

    photos = np.stack(load_sample_images().images)  # (2, 427, 640, 3)
    _, height, width, _ = photos.shape
    if not 8 <= size <= height:
        raise CourseError(f"size={size}; pass a whole number from 8 to {height}")
    if count is None:
        grid = np.meshgrid(
            range(2), range(0, height - size + 1, size), range(0, width - size + 1, size), indexing="ij"
        )
        photo, top, left = (axis.ravel() for axis in grid)
    else:
        if count < 1:
            raise CourseError(f"count={count}; pass at least 1, or None for all patches of the grid")
        rng = np.random.default_rng([seed, 0xB407])
        photo = np.arange(count) % 2
        top, left = rng.integers(height - size + 1, size=count), rng.integers(width - size + 1, size=count)
    patches = np.stack([photos[p, y : y + size, x : x + size] for p, y, x in zip(photo, top, left)])
    return Samples(
        patches, factors={"photo": photo}, factor_names={"photo": ("china", "flower")}, name="photographs"
    )


# ----------------------------------------------------------------------------------- after a data script


def cifar10(*, validation: float = 0.1, seed: int = 0, path: str | Path | None = None) -> Data:
    """CIFAR-10: 50,000 images to train with (a tenth set aside to validate), 10,000 to test, of 32 x 32, in
    10 classes.

    Args:
        validation: share of the official training images, above 0 and below 1.
        path: folder of the prepared arrays, if not the default one.

    Raises:
        CourseError: the arrays are not there; the message says what to type.

    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """
    return _official("cifar10", path, validation, seed, size=32)


def mnist(size: int = 28, *, validation: float = 0.1, seed: int = 0, path: str | Path | None = None) -> Data:
    """MNIST: 60,000 digits to train with (a tenth set aside to validate), 10,000 to test, as RGB with equal
    channels.

    Args:
        size: 28, or 32 for a black margin of two pixels.
        validation, path: as for `cifar10`.

    Source: Y. LeCun, C. Cortes and C. Burges, The MNIST database of handwritten digits, 1998.
    """
    if size not in (28, 32):
        raise CourseError(f"size={size}; MNIST comes in 28 or, with a margin, in 32 pixels")
    return _official("mnist", path, validation, seed, size=28, margin=(size - 28) // 2)


def stl10(
    part: str = "labelled",
    size: int = 96,
    *,
    fold: int | None = None,
    validation: float = 0.1,
    seed: int = 0,
    path: str | Path | None = None,
) -> Data | Samples:
    """STL-10: few labelled images of 96 x 96 in 10 classes, and 100,000 unlabelled ones to learn from first.

    Args:
        part: "labelled" for `Data` of 5,000 training images (a tenth set aside for validation) and 8,000 test
            images; "unlabelled" for `Samples` of 100,000 images (2.8 GB of memory at 96 pixels, 0.3 GB at
            32).
        size: 96, or 32 by averaging.
        fold: 0 to 9 for one of the ten official folds: its 1,000 images train, the other 4,000 validate.
        validation, path: as for `cifar10`; without meaning together with `fold`.

    Source: A. Coates, H. Lee and A. Ng, An Analysis of Single-Layer Networks in Unsupervised Feature
    Learning, 2011."""
    if part not in ("labelled", "unlabelled"):
        raise CourseError(f'part={part!r}; pass "labelled" or "unlabelled"')
    if size not in (32, 96):
        raise CourseError(f"size={size}; pass 96 or 32")
    if part == "labelled":
        return _official("stl10", path, validation, seed, size=size, fold=fold)
    if fold is not None:
        raise CourseError(f'fold={fold} belongs to the labelled images; pass part="labelled", or no fold')
    _, load = _open("stl10", path)
    return Samples(_as_tensor(load("unlabelled_image"), size=size), name="stl10 unlabelled")


def _official(
    name: str, path, validation: float, seed: int, *, size: int, margin: int = 0, fold: int | None = None
) -> Data:
    """The official training and test images, the first divided into training and validation."""
    meta, load = _open(name, path)
    image, label = load("train_image"), np.asarray(load("train_label"))
    if fold is None:
        train, held_out = carve(label, validation, seed)
    else:
        folds = load("folds")
        if not (isinstance(fold, int) and 0 <= fold < len(folds)):
            raise CourseError(f"fold={fold!r}; pass a whole number from 0 to {len(folds) - 1}, or None")
        train = np.sort(folds[fold])
        held_out = np.setdiff1d(np.arange(len(label)), train)
    make = lambda image, label, index, part: Samples(
        _as_tensor(image, index, size, margin), label[index], classes=meta["classes"], split=part, name=name
    )
    test_image, test_label = load("test_image"), np.asarray(load("test_label"))
    return Data(
        make(image, label, train, "train"),
        make(image, label, held_out, "validation"),
        make(test_image, test_label, np.arange(len(test_label)), "test"),
    )


def carve(label: np.ndarray, validation: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of training and of validation samples, each in order: a random share of every class is set
    aside.

    Args:
        label: (N,) class numbers.
        validation: share, above 0 and below 1.
    """
    if not 0 < validation < 1:
        raise CourseError(f"validation={validation}; pass a share above 0 and below 1, such as 0.1")
    rng = np.random.default_rng([seed, 0xCA4E])
    held_out = np.zeros(len(label), bool)
    for value in np.unique(label):
        positions = rng.permutation(np.flatnonzero(label == value))
        # The random offset rounds up or down by chance, so that many small classes together give the right
        # share too.
        rank = np.arange(len(positions)) + rng.random()
        held_out[positions[rank < validation * len(positions)]] = True
    if held_out.all() or not held_out.any():
        raise CourseError(
            f"validation={validation} of {len(label)} samples leaves a split empty; pass another share"
        )
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _as_tensor(
    image: np.ndarray,
    index: np.ndarray | None = None,
    size: int | None = None,
    margin: int = 0,
    block: int = 2048,
) -> Tensor:
    """(N, H, W, 3) or (N, H, W) uint8, perhaps on disk -> (N, 3, side, side) uint8 in memory, a block at a
    time: the
    whole of it may not fit into memory twice."""
    index = np.arange(len(image)) if index is None else index
    size = (size or image.shape[1]) + 2 * margin
    out = torch.zeros((len(index), 3, size, size), dtype=torch.uint8)
    inside = out[:, :, margin : size - margin, margin : size - margin]
    for start in range(0, len(index), block):
        x = torch.from_numpy(
            np.array(image[index[start : start + block]])
        )  # np.array: a copy that may be written to
        x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)  # (b, 1 or 3, H, W)
        inside[start : start + block] = _resized(x, size - 2 * margin)
    return out


def _resized(x: Tensor, size: int) -> Tensor:
    if x.shape[-2:] == (size, size):
        return x
    # antialias=True: without it shrinking takes single pixels and makes patterns that are not in the picture.
    x = F.interpolate(x.float(), (size, size), mode="bilinear", antialias=True, align_corners=False)
    return x.round().clamp(0, 255).to(torch.uint8)


def _check_size(size: int) -> None:
    if not (isinstance(size, int) and 4 <= size <= 1024):
        raise CourseError(f"size={size!r}; pass a whole number of pixels from 4 to 1024")


# ---------------------------------------------------------------------------------------------- your own


def arrays(
    image,
    label=None,
    test_image=None,
    test_label=None,
    *,
    classes: Sequence[str] = (),
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    name: str = "arrays",
) -> Data:
    """Your own arrays as a data set.

    Args:
        image: (N, H, W, 3), (N, 3, H, W) or (N, H, W); uint8 from 0 to 255 or float from 0 to 1.
        label: (N,) whole numbers from 0; None for unlabelled images.
        test_image, test_label: your own test split, if you have one; else `test` (a share) is set aside.
        classes: names of the classes, in the order of their numbers.
        validation: share that is set aside for validation.

    Raises:
        CourseError: shapes, types, ranges or lengths do not fit together.
    """
    label, test_label = _class_numbers(label, "label"), _class_numbers(test_label, "test_label")
    labels = [column for column in (label, test_label) if column is not None and len(column)]
    if not classes and labels:
        classes = [str(i) for i in range(1 + max(int(column.max()) for column in labels))]
    if test_image is None:
        if test_label is not None:
            raise CourseError("test_label without test_image; pass both or neither")
        return split(image, label, validation=validation, test=test, seed=seed, classes=classes, name=name)
    if (label is None) != (test_label is None):
        raise CourseError(
            "one of label and test_label is missing; pass both, or neither for unlabelled images"
        )
    whole = Samples(image, label, classes=classes, name=name)
    tested = Samples(test_image, test_label, classes=classes, split="test", name=name)
    if whole.image.shape[1:] != tested.image.shape[1:]:
        one, other = tuple(whole.image.shape[1:]), tuple(tested.image.shape[1:])
        raise CourseError(f"images of {one} but test images of {other}; resize one of them")
    train, rest = carve(np.zeros(len(whole), int) if label is None else label, validation, seed)
    held_out = whole.take(rest)
    held_out.split = "validation"
    return Data(whole.take(train), held_out, tested)


def _class_numbers(label, name: str) -> np.ndarray | None:
    if label is None:
        return None
    label = np.asarray(label.cpu() if isinstance(label, Tensor) else label)
    if label.dtype.kind not in "iub":
        raise CourseError(
            f"{name} is of type {label.dtype}; pass whole numbers from 0 (for names: "
            "classes, label = np.unique(label, return_inverse=True))"
        )
    if label.size and int(label.max()) >= MAX_CLASSES:
        raise CourseError(
            f"{name} has the value {int(label.max())}; number the classes 0, 1, 2 ... without gaps "
            "(label = np.unique(label, return_inverse=True)[1])"
        )
    return label.astype(np.int64)


def npz(path: str | Path, **options) -> Data:
    """Your own arrays from one `.npz` file, as `np.savez` writes it. No pickled objects are loaded.

    Args:
        path: a file with the arrays `image` and, where there are any, `label`, `test_image`, `test_label`,
            `classes`. The names of Keras' data sets are understood too: `x_train`, `y_train`, `x_test`,
            `y_test`.
        **options: validation, test, seed, name as for `arrays`.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CourseError(f"there is no file {path}")
    names = {"x_train": "image", "y_train": "label", "x_test": "test_image", "y_test": "test_label"}
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise CourseError(f"{path} holds a single array; type arrays(np.load({str(path)!r}))")
        with file:
            found = {names.get(key, key): file[key] for key in file.files}
    except CourseError:
        raise
    except Exception as error:  # a damaged zip raises half a dozen kinds
        raise CourseError(
            f"{path} cannot be read ({error}); write it without object arrays: "
            f"np.savez({path.name!r}, image=image, label=label)"
        ) from None
    wanted = ("image", "label", "test_image", "test_label", "classes")
    if "image" not in found:
        raise CourseError(
            f"{path} has the arrays {', '.join(sorted(found)) or 'none'}; name them {', '.join(wanted)}"
        )
    if unknown := sorted(set(found) - set(wanted)):
        warnings.warn(
            f"{path.name}: {', '.join(unknown)} not used; known are {', '.join(wanted)}", stacklevel=2
        )
    found = {key: found[key] for key in wanted if key in found}
    if "classes" in found:
        found["classes"] = [str(c) for c in np.ravel(found["classes"])]
    return arrays(**found, **{"name": path.stem, **options})


def folder(
    path: str | Path,
    size: int = 32,
    *,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    smallest: int | None = None,
) -> Data:
    """Your own folder of images: one subfolder per class, or all images in one folder for unlabelled ones.

    Each image is turned upright, laid on white where it is transparent, cut to its central square and
    resized.

    Args:
        size: side in pixels, 4 to 1024.
        validation, test: shares that are set aside, stratified by class.
        smallest: images with a shorter side below this many pixels are skipped; by default half of `size`.

    Returns:
        `Data`; the classes are the names of the subfolders in alphabetical order.

    Warns:
        UserWarning: which images were skipped, and why (unreadable, tiny, of more than 64 million pixels).

    Raises:
        CourseError: there is no such folder, it has no usable image, or its subfolders are splits instead of
            classes.
    """
    _check_size(size)
    path = Path(path).expanduser()
    if not path.is_dir():
        raise CourseError(
            f"there is no folder {path}" + ("; it is a file, pass its folder" if path.exists() else "")
        )
    flat, by_class = _find_images(path)
    if by_class and set(by_class) <= {"train", "training", "val", "valid", "validation", "test"}:
        one = next(iter(by_class))
        raise CourseError(
            f"the subfolders of {path} ({', '.join(by_class)}) are splits and no classes; the course makes "
            f"its own splits, so pass one of them: folder({str(path / one)!r})"
        )
    classes = list(by_class)
    files = [(file, c) for c, name in enumerate(classes) for file in by_class[name]] or [
        (file, -1) for file in flat
    ]
    if not files:
        raise CourseError(f"no image in {path}; it should hold files that end in {', '.join(SUFFIXES)}")
    images, labels, skipped = [], [], [f"{file.name} (beside the class folders)" for file in flat if by_class]
    for file, c in files:
        try:
            images.append(_read_image(file, size, size // 2 if smallest is None else smallest))
            labels.append(c)
        except Unusable as reason:
            skipped.append(f"{file.relative_to(path)} ({reason})")
    if skipped:
        more = f" and {len(skipped) - 10} more" if len(skipped) > 10 else ""
        warnings.warn(f"skipped {len(skipped)} files: {', '.join(skipped[:10])}{more}", stacklevel=2)
    if not images:
        raise CourseError(f"none of the {len(files)} images in {path} can be used; the first: {skipped[0]}")
    return split(
        np.stack(images),
        labels if classes else None,
        validation=validation,
        test=test,
        seed=seed,
        classes=classes,
        name=path.resolve().name,
    )


class Unusable(Exception):
    """Why this image cannot be used, in a few words."""


def _find_images(path: Path) -> tuple[list[Path], dict[str, list[Path]]]:
    """Images that lie in the folder itself, and images by subfolder (however deep); hidden files are passed
    over.
    """
    is_image = lambda p: p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    flat = sorted(p for p in path.iterdir() if is_image(p))
    subfolders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))
    by_class = {p.name: sorted(filter(is_image, p.rglob("*"))) for p in subfolders}
    return flat, {name: files for name, files in by_class.items() if files}


def _read_image(file: Path, size: int, smallest: int) -> np.ndarray:
    """One file as (size, size, 3) uint8."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            image = Image.open(file)  # reads the header only
        with image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise Unusable(f"{width} x {height} pixels, more than {MAX_PIXELS / 1e6:.0f} million")
            if min(width, height) < smallest:
                raise Unusable(f"{width} x {height} pixels, smaller than {smallest}")
            image.draft(
                "RGB", (2 * size, 2 * size)
            )  # lets JPEG decode at a fraction of the size; else a no-op
            image = to_rgb(ImageOps.exif_transpose(image))
            return np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC))
    except Image.DecompressionBombError:
        raise Unusable(f"more than {MAX_PIXELS / 1e6:.0f} million pixels") from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        IndexError,
        TypeError,
        ZeroDivisionError,
        MemoryError,
    ) as error:
        # what PIL raises for damaged files of the various formats
        raise Unusable(f"unreadable: {type(error).__name__}") from None


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


# --------------------------------------------------------------------------------------- prepared arrays


def _open(name: str, path: str | Path | None) -> tuple[dict, Callable[[str], np.ndarray]]:
    """The meta.json of a prepared data set, and a function that opens its arrays on disk without reading
    them.
    """
    where = Path(path).expanduser() if path else runtime.data_dir(name)
    meta = prepared(where)
    if meta is None:
        command = f"sslcourse data {name}" + (f" --to {where}" if path else "")
        raise CourseError(f"no complete {name} arrays in {where}; type: {command}")
    return meta, lambda array: np.load(where / f"{array}.npy", mmap_mode="r", allow_pickle=False)


def prepared(folder: str | Path, checksums: dict[str, str] | None = None) -> dict | None:
    """The meta.json of a folder whose arrays are all there in the shapes that it names; None if anything is
    amiss.

    Args:
        checksums: what the arrays must have been made from, as `{file name: checksum}`; None accepts
            anything.
    """
    folder = Path(folder)
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        for name, shape in meta["arrays"].items():
            # Opening maps the whole file, so this also fails for one that is too short.
            array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            if list(array.shape) != shape:
                return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return None if checksums is not None and meta.get("checksums") != checksums else meta


def save_array(
    path: str | Path, shape: tuple[int, ...], blocks: Iterable[np.ndarray], dtype=np.uint8
) -> None:
    """Write a `.npy` file block by block; it appears under its name when it is complete.

    Ordinary writes and no memory map: on a full disk they raise an error, a map kills the process.

    Args:
        shape: of the whole array.
        blocks: arrays of shape (any, *shape[1:]), in order.

    Raises:
        CourseError: too little space, or blocks that do not make up the shape.
    """
    path, dtype = Path(path), np.dtype(dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    download.need_space(path.parent, math.prod(shape) * dtype.itemsize)
    rows = 0
    with runtime.atomic(path) as temporary, open(temporary, "wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            if block.dtype != dtype or block.shape[1:] != tuple(shape[1:]):
                raise CourseError(
                    f"{path.name}: a block of {block.dtype} {block.shape} in an array of {dtype} {shape}"
                )
            file.write(np.ascontiguousarray(block).data)
            rows += len(block)
        if rows != shape[0]:
            raise CourseError(
                f"{path.name} would have {rows:,} rows instead of {shape[0]:,}; check the source"
            )


def check_labels(label: np.ndarray, classes: int, what: str) -> None:
    """CourseError unless the labels run from 0 to `classes` - 1. label: (N,) integers."""
    if len(label) and (int(label.min()) < 0 or int(label.max()) >= classes):
        raise CourseError(
            f"{what}: labels from {label.min()} to {label.max()} for {classes} classes; "
            "the archive is not the published one"
        )


def build(
    name: str,
    files: Sequence[download.Remote],
    convert: Callable[[list[Path], Path], Sequence[str]],
    arrays: dict[str, tuple[int, ...]],
    *,
    source: str | Path | None,
    folder: str | Path,
    mirrors: Sequence[str],
    keep: bool = False,
    quiet: bool = False,
) -> dict:
    """What every set of images does: get the files, convert them, note what was done. A no-op when it is done
    already.

    Interrupt it anywhere and call it again: downloads go on, arrays are written anew, `meta.json` comes last.

    Args:
        name: of the data set.
        files: what has to be fetched.
        convert: (paths of the files, folder) -> names of the classes; writes the arrays.
        arrays: name -> shape of every array that `convert` must have written.
        source: None to download, else a file or folder of the user's.
        folder: where the arrays go; downloads go to its subfolder `download`.
        mirrors: addresses of folders that hold the files, tried in order.
        keep: leave the downloaded files there.

    Returns:
        The content of meta.json: name, source, checksums, arrays (name -> shape), classes.

    Raises:
        CourseError: as `download.local_or_download`; the files are not the published ones; the disk is full.
    """
    folder = Path(folder).expanduser()
    checksums = {file.name: file.checksum for file in files}
    shapes = {array: list(shape) for array, shape in arrays.items()}
    with download.alone(folder):
        meta = prepared(folder, checksums)
        # An earlier version made no notes. What it wrote is known by its meta.json, and by its place.
        ours = ["meta.json", *(f"{array}.npy" for array in arrays)]
        made = Made(folder, ours if meta is not None or folder == runtime.data_dir(name) else ())
        if meta is not None and meta["arrays"] == shapes:
            if source is None and not keep:
                made.discard("download")  # a kill may have come between the arrays and this
            return meta
        made.begin(shared=True)
        made.note(*ours)
        made.remove("meta.json")  # from here until the end the folder is incomplete
        made.note("meta.json")
        paths = []
        for file in files:
            if source is None:
                made.fetches(f"download/{file.name}")
            urls = [mirror.rstrip("/") + "/" + file.name for mirror in mirrors]
            paths.append(
                download.local_or_download(
                    source,
                    urls,
                    folder / "download" / file.name,
                    sha256=file.sha256,
                    md5=file.md5,
                    size=file.size,
                    quiet=quiet,
                )
            )
        classes = list(convert(paths, folder))
        meta = dict(name=name, source=list(mirrors), checksums=checksums, arrays=shapes, classes=classes)
        with runtime.atomic(folder / "meta.json") as temporary:
            temporary.write_text(json.dumps(meta, indent=1), encoding="utf-8", newline="\n")
        if prepared(folder, checksums) is None:
            made.remove("meta.json")
            raise CourseError(
                f"the arrays in {folder} are not complete; delete the folder and type the same again"
            )
        if source is None and not keep:
            made.discard("download")
    return meta
