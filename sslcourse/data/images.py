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
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse import runtime
from sslcourse.data import download, folders
from sslcourse.data.datasets import Data, Samples, carve, numbered, split, with_splits, words
from sslcourse.runtime import pages
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.files import Made
from sslcourse.runtime.options import REAL, SEED, WHOLE, takes
from sslcourse.runtime.shapes import explained

# -------------------------------------------------------------------------------------- offline, at once


@takes(seed=SEED, validation=REAL, test=REAL, size=WHOLE)
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

    size = _checked_size(size)
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


@takes(seed=SEED, validation=REAL)
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


@takes(seed=SEED, validation=REAL, size=WHOLE)
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


@takes(seed=SEED, validation=REAL, fold=WHOLE, size=WHOLE)
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
        if (runtime.as_whole(fold)) not in range(len(folds)):
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
        # np.array: a copy that may be written to
        x = torch.from_numpy(np.array(image[index[start : start + block]]))
        x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)  # (b, 1 or 3, H, W)
        inside[start : start + block] = _resized(x, size - 2 * margin)
    return out


def _resized(x: Tensor, size: int) -> Tensor:
    if x.shape[-2:] == (size, size):
        return x
    # antialias=True: without it shrinking takes single pixels and makes patterns that are not in the picture.
    x = F.interpolate(x.float(), (size, size), mode="bilinear", antialias=True, align_corners=False)
    return x.round().clamp(0, 255).to(torch.uint8)


def _checked_size(size: int) -> int:
    whole = runtime.as_whole(size)
    if whole is None or not 4 <= whole <= 1024:
        raise CourseError(f"size={size!r}; pass a whole number of pixels from 4 to 1024")
    return whole


# ---------------------------------------------------------------------------------------------- your own


@takes(seed=SEED, validation=REAL, test=REAL)
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
        label: (N,) whole numbers; None for unlabelled images. Without `classes` every value that occurs is a
            class of that name: 1 to 20 are twenty classes.
        test_image, test_label: your own test split, if you have one; else `test` (a share) is set aside.
        classes: names of the classes, in the order of their numbers.
        validation: share that is set aside for validation, never the only image of a class; 0, together with
            a test split of your own, for none.

    Raises:
        CourseError: shapes, types, ranges or lengths do not fit together.
    """
    label, test_label, classes = numbered(label, test_label, classes)
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
    return with_splits({"train": whole, "test": tested}, validation=validation, seed=seed)


def npz(path: str | Path, **options) -> Data:
    """Your own arrays from one `.npz` file, as `np.savez` writes it. No pickled objects are loaded.

    Args:
        path: a file with the arrays `image` and, where there are any, `label`, `test_image`, `test_label`,
            `classes`. The names of Keras' data sets are understood too: `x_train`, `y_train`, `x_test`,
            `y_test`.
        **options: validation, test, seed, name as for `arrays`.
    """
    path = Path(path).expanduser()
    names = {"x_train": "image", "y_train": "label", "x_test": "test_image", "y_test": "test_label"}
    example = f"np.savez({path.name!r}, image=image, label=label)"
    found: dict[str, Any] = {
        names.get(key, key): array for key, array in folders.arrays_of(path, example).items()
    }
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
        found["classes"] = words(found["classes"])
    return arrays(**found, **{"name": path.stem, **options})


@takes(seed=SEED, validation=REAL, test=REAL, smallest=WHOLE, size=WHOLE)
def folder(
    path: str | Path,
    size: int = 32,
    *,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    smallest: int | None = None,
    own_splits: bool = False,
) -> Data:
    """Your own folder of images: one subfolder per class, or all images in one folder for unlabelled ones.

    Each image is turned upright, laid on white where it is transparent, cut to its central square and
    resized. Links are followed; what is hidden, at any depth, is passed over. Copies of one picture (after
    resizing, pixel by pixel) stay in one split.

    Args:
        size: side in pixels, 4 to 1024.
        validation, test: shares that are set aside, stratified by class.
        smallest: images with a shorter side below this many pixels are skipped; by default half of `size`.
        own_splits: whether subfolders such as train and test (see `folders.part_of`), which hold the classes,
            are taken as the splits; `sslcourse train --data FOLDER` does so. A split that is not there is
            set aside from the training images. Without it such a folder is refused.

    Returns:
        `Data`; the classes are the names of the subfolders in alphabetical order.

    Warns:
        UserWarning: which files were skipped, and why (unreadable, tiny, of more than 64 million pixels, of
            another kind, hidden), which classes are gone with them, and which pictures are copies.

    Raises:
        CourseError: there is no such folder, it has no usable image, or its subfolders are splits instead of
            classes.
    """
    size, path = _checked_size(size), folders.existing(path)
    smallest = size // 2 if smallest is None else smallest
    remarks = folders.Remarks(path)
    below = folders.subfolders(path, remarks)
    parts = {p.name: folders.part_of(p.name) for p in below}
    held_out = {"validation", "test"} & {*parts.values()}
    if below and (None not in parts.values() or ("train" in parts.values() and held_out)):
        if not own_splits:
            one = next((p for p in below if parts[p.name] == "train"), below[0])
            raise CourseError(
                f"the subfolders of {path} ({', '.join(parts)}) are splits and no classes; type "
                f"images.folder({str(path)!r}, own_splits=True), or pass one of them: folder({str(one)!r})"
            )
        if strange := [name for name, part in parts.items() if part is None]:
            raise CourseError(
                f"some subfolders of {path} are splits ({', '.join(n for n in parts if n not in strange)}), "
                f"others are not ({folders.named(strange)}); move one kind away"
            )
        return _own_splits(path, below, size, smallest, remarks, validation, test, seed)
    found = _read_pictures(path, below, size, smallest, remarks)
    if len(found.classes) == 1:
        remarks.add(_one_class(found.classes[0], path))
    remarks.warn()
    return split(
        found.image,
        found.label,
        validation=validation,
        test=test,
        seed=seed,
        classes=found.classes,
        name=path.resolve().name,
        names=found.names,
    )


class _Pictures(NamedTuple):
    image: np.ndarray  # (N, size, size, 3) uint8
    label: np.ndarray | None  # (N,), None where there are no classes
    classes: list[str]
    names: list[str]  # of the files


def _read_pictures(
    path: Path, below: Sequence[Path], size: int, smallest: int, remarks: folders.Remarks
) -> _Pictures:
    """The pictures of a folder whose subfolders `below` are its classes. What cannot be used is noted."""
    flat = [p for p in folders.walk_one(path, remarks) if _is_picture(p, remarks)]
    by_class: dict[str, list[Path]] = {}
    for sub in below:
        there = [*folders.walk(sub, remarks)]
        by_class[sub.name] = sorted(p for p in there if _is_picture(p, remarks))
        if not by_class[sub.name]:
            kinds = folders.named(sorted({p.suffix.lower() or "no suffix" for p in there}))
            remarks.add(
                f"the folder {remarks.name(sub)} is no class: it holds no picture"
                + (f", only files that end in {kinds}" if there else "")
            )
    files = [(p, name) for name, of_class in by_class.items() for p in of_class]
    if files:
        for p in flat:
            remarks.skip(p, "beside the class folders")
    labelled, files = bool(files), files or [(p, "") for p in flat]
    if not files:
        raise CourseError(
            f"no image in {path}; it should hold files that end in {', '.join(folders.PICTURES)}"
            + (f" ({text})" if (text := remarks.text()) else "")
        )
    images, names, kept = [], [], []
    for file, name in files:
        try:
            images.append(_read_image(file, size, smallest))
            names.append(name)
            kept.append(remarks.name(file))
        except folders.Unusable as reason:
            remarks.skip(file, reason)
    if not images:
        remarks.warn(3)
        raise CourseError(
            f"none of the {len(files)} images in {path} can be used; the first: "
            f"{remarks.skipped[-len(files)]}"
        )
    classes = sorted(set(names), key=list(by_class).index) if labelled else []
    for name, of_class in by_class.items():
        if of_class and name not in classes:
            remarks.add(f"the class {name} is gone: none of its {len(of_class)} pictures can be used")
    number = {name: i for i, name in enumerate(classes)}
    label = np.array([number[name] for name in names]) if labelled else None
    return _Pictures(np.stack(images), label, classes, kept)


def _read_image(file: Path, size: int, smallest: int) -> np.ndarray:
    """One file as (size, size, 3) uint8."""
    return folders.fitted(file, size, size, smallest, quick=True)


def _is_picture(file: Path, remarks: folders.Remarks) -> bool:
    if file.suffix.lower() in folders.PICTURES:
        return True
    remarks.other(file)
    return False


def _one_class(name: str, path: Path) -> str:
    deeper = len(folders.subfolders(path / name, folders.Remarks(path))) > 1
    hint = "if its subfolders are the classes" if deeper else "for pictures without classes"
    return f"{name} is a single class, in which every answer is right; {hint} pass {str(path / name)!r}"


def _own_splits(
    path: Path,
    below: Sequence[Path],
    size: int,
    smallest: int,
    remarks: folders.Remarks,
    validation: float,
    test: float,
    seed: int,
) -> Data:
    """The splits that subfolders such as train and test are."""
    for file in folders.walk_one(path, remarks):
        if _is_picture(file, remarks):
            remarks.skip(file, "beside the splits")
    read: dict[str, list[_Pictures]] = {}
    for sub in below:
        if part := folders.part_of(sub.name):
            inside = folders.subfolders(sub, remarks)
            read.setdefault(part, []).append(_read_pictures(sub, inside, size, smallest, remarks))
        else:
            remarks.add(f"{sub.name} is passed over: it has no classes to be judged by")
    if "train" not in read:
        raise CourseError(
            f"{path} has {', '.join(p.name for p in below)} but nothing to train with; call one of the "
            "subfolders train, or pass one of them"
        )
    labelled = all(found.classes for found in read["train"])
    for part in ("validation", "test"):
        if part in read and labelled and not all(found.classes for found in read[part]):
            remarks.add(
                f"the {part} pictures have no classes and are passed over; some are set aside instead"
            )
            del read[part]
    classes = sorted({name for found in read["train"] for name in found.classes}) if labelled else []
    strange = sorted({n for parts in read.values() for found in parts for n in found.classes} - {*classes})
    if labelled and strange:
        raise CourseError(
            f"{path}: {folders.named(strange)} {'are classes' if len(strange) > 1 else 'is a class'} of "
            f"validation or test, but not of train ({folders.named(classes)}); give them the same names"
        )
    if len(classes) == 1:
        remarks.add(f"{classes[0]} is a single class, in which every answer is right")
    joined: dict[str, Samples] = {}
    names: dict[str, list[str]] = {}
    for part, parts in read.items():
        label = None
        if labelled:
            number = [np.array([classes.index(name) for name in found.classes]) for found in parts]
            label = np.concatenate([n[found.label] for n, found in zip(number, parts)])
        image = np.concatenate([found.image for found in parts])
        joined[part] = Samples(image, label, classes=classes, split=part, name=path.resolve().name)
        names[part] = [name for found in parts for name in found.names]
        if missing := [c for i, c in enumerate(classes) if label is not None and i not in label]:
            remarks.add(f"{part} has no picture of {folders.named(missing)}")
    remarks.warn(3)
    return with_splits(joined, validation=validation, test=test, seed=seed, names=names)


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


class Meta(msgspec.Struct):
    """meta.json of a folder of prepared arrays: their shapes by name, and what they were made from."""

    name: pages.Name
    arrays: dict[
        Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_]+$")],
        Annotated[list[pages.Whole], msgspec.Meta(max_length=8)],
    ]
    checksums: dict[str, Any] = {}
    classes: list[pages.Name] | None = None


def prepared(folder: str | Path, checksums: dict[str, str] | None = None) -> dict | None:
    """The meta.json of a folder whose arrays are all there in the shapes that it names; None if anything is
    amiss.

    Args:
        checksums: what the arrays must have been made from, as `{file name: checksum}`; None accepts
            anything.
    """
    folder = Path(folder)
    try:
        meta = pages.unchanged(pages.read(folder / "meta.json", Meta))
        for name, shape in meta["arrays"].items():
            # Opening maps the whole file, so this also fails for one that is too short.
            array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            if list(array.shape) != shape:
                return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return None if checksums is not None and meta.get("checksums") != checksums else meta


@explained
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


@explained
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
            temporary.write_text(json.dumps(pages.sealed(meta), indent=1), encoding="utf-8", newline="\n")
        if prepared(folder, checksums) is None:
            made.remove("meta.json")
            raise CourseError(
                f"the arrays in {folder} are not complete; delete the folder and type the same again"
            )
        if source is None and not keep:
            made.discard("download")
    return meta
