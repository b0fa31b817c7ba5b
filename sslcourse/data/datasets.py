"""`Samples`: a data set that lives on the device as uint8, where indexing is the loader; and its three
splits.

A training split hands out labels, a test split does not: its labels are sealed, and only the calls in
`sslcourse.evaluate` that *report* a score can open them, never while a training runs. So no loop, no early
stopping and no search can look at the test set by accident."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sslcourse import runtime
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import REAL, SEED, takes
from sslcourse.runtime.shapes import explained

MAX_CLASSES = 100_000
SPLITS = ("train", "validation", "test")
MODALITIES = ("image", "video", "audio")  # the keys of a batch that hold what an encoder may see
_training = 0  # how many trainings are between their first and their last epoch


class SealedLabels(CourseError):
    """Somebody asked for the labels of a test split."""


@contextlib.contextmanager
def training_in_progress() -> Iterator[None]:
    """While this is open no test label can be read. `sslcourse.train` opens it."""
    global _training
    _training += 1
    try:
        yield
    finally:
        _training -= 1


class Samples:
    """Images, short videos (with or without sound) or sounds, with labels and factors, held as tensors on one
    device.

    Args:
        image: (N, 3, H, W) uint8, 0 to 255. (N, H, W) and (N, H, W, 3) arrays are turned round.
        video: instead of images, (N, 3, T, H, W) uint8. (N, T, H, W) and (N, T, H, W, 3) arrays are turned
            round.
        audio: beside videos, or alone: (N, L) int16, or float within -1..1 (kept as int16). Batches carry
            float32 within -1..1.
        rate, fps: samples of sound, and frames, per second; `rate` is needed with `audio`.
        label: (N,) class numbers from 0; `None` for unlabelled data (batches then carry -1).
        classes: names of the classes, in the order of their numbers.
        factors: further columns of length N: what is known about each image (`evaluate.factor_table` probes
            them).
        factor_names: for a categorical factor the names of its values; for an angle its full turn (1.0, or 2
            pi).
        extra: further (N, ...) tensors that batches should carry, such as masks.
        split: "train", "validation" or "test". Labels and factors of a test split are sealed.
        name: what to call the data in tables.

    Raises:
        CourseError: when shapes, types, ranges or lengths do not fit together.
    """

    image: Tensor  # (N, 3, H, W) uint8; only where `kind` is "image"
    video: Tensor  # (N, 3, T, H, W) uint8; only where it is "video"
    audio: Tensor | None  # (N, L) int16
    rate: int | None
    fps: float | None

    def __init__(
        self,
        image=None,
        label=None,
        *,
        video=None,
        audio=None,
        rate: int | None = None,
        fps: float | None = None,
        classes=(),
        factors: Mapping | None = None,
        factor_names: Mapping | None = None,
        extra: Mapping | None = None,
        split: str = "train",
        name: str = "samples",
    ):
        if split not in SPLITS:
            raise CourseError(f"split={split!r} is none of {', '.join(SPLITS)}")
        self.kind = _kind_of(image, video, audio)
        self.audio, self.rate = (None, None) if audio is None else _as_sounds(audio, rate)
        self.fps = fps
        if self.kind == "image":
            self.image = _as_images(image, None if label is None else len(label))
        elif self.kind == "video":
            self.video = _as_videos(video, None if label is None else len(label))
        n = len(self.inputs)
        if self.audio is not None and len(self.audio) != n:
            raise CourseError(f"{n} videos but {len(self.audio)} sounds; pass one sound for each video")
        self.labelled = label is not None
        self._label = _as_labels(label, n, self.kind)
        count = int(self._label.max()) + 1 if self.labelled and n else 0
        self.classes = tuple(classes) or tuple(str(i) for i in range(count))
        if count > len(self.classes):
            raise CourseError(f"label {count - 1} has no name among the {len(self.classes)} classes")
        self._factors = {k: torch.as_tensor(np.asarray(v)) for k, v in (factors or {}).items()}
        self.factor_names = dict(factor_names or {})
        self.extra = dict(extra or {})
        for key, column in {**self._factors, **self.extra}.items():
            if len(column) != n:
                raise CourseError(f"{key!r} has {len(column)} rows for {n} {self.kind}s")
        self.split, self.name = split, name
        self.openings: list[str] = []  # who has read the labels of this test split, in order
        self.device = str(self.inputs.device)

    @property
    def inputs(self) -> Tensor:
        """The images, the videos, or (where there are neither) the sounds: what an encoder is shown."""
        return getattr(self, self.kind)

    @property
    def pictures(self) -> Tensor:
        """(N, 3, H, W) uint8: the images; of a video the frame in its middle, of a sound alone its log-mel
        picture. For showing.
        """
        if self.kind == "audio":
            from sslcourse.transforms import sounds

            return sounds.pictures(*self.sound())
        return self.image if self.kind == "image" else self.video[:, :, self.video.shape[2] // 2]

    def sound(self) -> tuple[Tensor, int]:
        """(N, L) int16, and how many of them are a second; an error where there is none."""
        audio, rate = self.audio, self.rate
        if audio is None or rate is None:
            raise CourseError(f"{self.name!r} has no sound; take data that has, such as toybox.events()")
        return audio, rate

    # ------------------------------------------------------------------ labels

    def _guard(self) -> None:
        if self.split == "test":
            raise SealedLabels(
                f"the labels of {self.name!r} (test) are sealed. To report a final score call "
                "sslcourse.evaluate.report(...); to compare or to choose use the validation split."
            )

    @property
    def label(self) -> Tensor:
        """(N,) class numbers; -1 where unlabelled. Sealed on a test split."""
        self._guard()
        return self._label

    @property
    def factors(self) -> dict[str, Tensor]:
        """Name -> (N,) column. Sealed on a test split, because the class is one of them."""
        self._guard()
        return self._factors

    # ------------------------------------------------------------------ a data set

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self):
        shape = "x".join(str(s) for s in self.inputs.shape[1:])
        sound = f" with sound at {self.rate:,} Hz" if self.kind == "video" and self.audio is not None else ""
        what = {"audio": "sounds"}.get(self.kind, f"{self.kind}s")
        return (
            f"<{self.name} ({self.split}): {len(self):,} {what} of {shape}{sound}, {len(self.classes)} "
            "classes>"
        )

    def to(self, device) -> Samples:
        """The same data on another device (itself when it is there already)."""
        if torch.device(device).type == self.inputs.device.type:
            return self
        return self._copy(lambda t: t.to(device))

    def take(self, index) -> Samples:
        """The samples at these positions (a slice, a list, a tensor of integers or of booleans)."""
        if not isinstance(index, slice):
            index = torch.as_tensor(np.asarray(index), device=self.inputs.device)
            if not index.numel():
                index = index.long()  # of an empty list numpy makes floats
        return self._copy(lambda t: t[index])

    def _copy(self, f) -> Samples:
        new = object.__new__(Samples)
        new.__dict__.update(self.__dict__)
        setattr(new, self.kind, f(self.inputs))
        if self.audio is not None and self.kind != "audio":
            new.audio = f(self.audio)
        new._label = f(self._label)
        new._factors = {k: f(v) for k, v in self._factors.items()}
        new.extra = {k: f(v) for k, v in self.extra.items()}
        new.device = str(new.inputs.device)
        return new  # `openings` is shared on purpose: a part of a test set is still that test set

    def unlabelled(self) -> Samples:
        """The same samples with every label and factor taken away, as a pretext task should see them."""
        new = self._copy(lambda t: t)
        new._label, new._factors, new.labelled = torch.full_like(self._label, -1), {}, False
        return new

    def heard(self) -> Samples:
        """The same samples as sounds alone: what an ear is judged on."""
        self.sound()  # an error where there is none
        new = self._copy(lambda t: t)
        new.kind = "audio"
        return new

    def digest(self) -> str:
        """sha256 of all that a batch of these samples can carry, as hexadecimal text: two data sets with the
        same digest teach the same."""
        columns = {} if self.split == "test" else {**self._factors, **self.extra}
        names = sorted(columns)
        text = f"{self.kind} {self.rate} {self.fps} {names} {digest_of(*map(columns.get, names))}"
        label = None if self.split == "test" else self._label
        sound = None if self.kind == "audio" else self.audio
        return hashlib.sha256(f"{text} {digest_of(self.inputs, sound, label)}".encode()).hexdigest()

    def batch(self, index: Tensor) -> dict[str, Tensor]:
        """The samples at `index` as a dict of tensors. A test split carries label -1 and no factors."""
        batch = {"index": index} if self.kind == "audio" else {self.kind: self.inputs[index], "index": index}
        if self.audio is not None:
            batch["audio"] = self.audio[index].float() / 32767
        if self.split == "test":
            return {**batch, "label": torch.full_like(index, -1)}
        batch["label"] = self._label[index]
        return {**batch, **{k: v[index] for k, v in {**self._factors, **self.extra}.items() if k != "label"}}

    def batches(
        self,
        batch_size: int,
        generator: torch.Generator | None = None,
        *,
        rank: int = 0,
        world: int = 1,
        first: int = 0,
    ) -> Iterator[dict[str, Tensor]]:
        """One pass over the data. With a generator: shuffled, whole batches only (shapes stay the same).
        Without: in order, the last batch may be short, nothing is left out.

        With several processes `batch_size` is the size over all of them, every process is given the same
        generator seed, and `rank` takes its own part of each batch: no image is seen twice. A training that
        goes on in the middle of an epoch begins with batch number `first` of the same order."""
        n = len(self)
        if generator is None:
            order, stop = torch.arange(n), n
        else:
            if batch_size > n:
                raise CourseError(f"batch_size={batch_size} is larger than the {n} samples; take at most {n}")
            order, stop = torch.randperm(n, generator=generator), n - n % batch_size
        order = order.to(self.inputs.device)
        for start in range(first * batch_size, stop, batch_size):
            index = order[start : start + batch_size]
            yield self.batch(index.tensor_split(world)[rank] if world > 1 else index)


@explained
def digest_of(*tensors: Tensor | None) -> str:
    """sha256 of types, shapes and bytes, as hexadecimal text. None counts too."""
    digest = hashlib.sha256()
    for tensor in tensors:
        if tensor is None:
            digest.update(b"none;")
            continue
        x = tensor.detach().cpu().contiguous()
        digest.update(f"{x.dtype} {tuple(x.shape)};".encode())
        digest.update(x.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _kind_of(image, video, audio) -> str:
    """Which of the three an encoder is shown: "image", "video" or "audio"."""
    if (image is None) == (video is None and audio is None):  # both, or nothing
        raise CourseError(
            "pass either images or videos or sounds: Samples(image, label), "
            "Samples(video=video, label=label), Samples(audio=audio, rate=8000, label=label), or video and "
            "audio together"
        )
    return "image" if image is not None else "video" if video is not None else "audio"


def class_numbers(label, name: str = "label") -> np.ndarray:
    """(N,) int64 of labels that are whole numbers of any type, from an array, a tensor or a list; a column
    (N, 1), as Keras has it, is flattened.

    Raises:
        CourseError: they are fractions, names, negative, or huge.
    """
    try:
        label = np.asarray(label.detach().cpu() if isinstance(label, Tensor) else label)
    except ValueError:  # rows of different lengths
        raise CourseError(f"{name} is no array; pass one whole number for each sample") from None
    if label.ndim == 2 and label.shape[1] == 1:
        label = label[:, 0]
    if label.ndim == 2:
        raise CourseError(
            f"{name} has the shape {label.shape}; pass one whole number for each sample (of one-hot rows: "
            f"{name}.argmax(1))"
        )
    if label.dtype.kind not in "iub" and label.size:
        raise CourseError(
            f"{name} is of type {label.dtype}; pass whole numbers from 0 (of floats that are whole: "
            f"{name}.astype(int); for names: classes, {name} = np.unique({name}, return_inverse=True))"
        )
    if label.size and int(label.min()) < 0:
        raise CourseError(f"{name} {int(label.min())} is negative; number the classes from 0")
    if label.size and int(label.max()) >= 2**62:
        raise CourseError(f"{name} has the value {int(label.max())}; number the classes 0, 1, 2 ...")
    return label.astype(np.int64)


def numbered(
    label, test_label=None, classes: Sequence[str] = (), names: tuple[str, str] = ("label", "test_label")
) -> tuple[np.ndarray | None, np.ndarray | None, list[str]]:
    """Labels of a user's own as numbers 0, 1, 2 ..., and the names of the classes.

    With `classes` the labels are places in it. Without, each value that occurs is a class, and its name is
    the value: labels 1 to 20 are twenty classes, and not twenty-one of which one is empty.

    Warns:
        UserWarning: the numbers have changed.
    """
    both = [
        None if column is None else class_numbers(column, name)
        for column, name in zip((label, test_label), names)
    ]
    there = [column for column in both if column is not None and column.size]
    if classes or not there:
        return both[0], both[1], [str(c) for c in classes]
    values = np.unique(np.concatenate([column.ravel() for column in there]))
    if values[-1] >= MAX_CLASSES:
        raise CourseError(
            f"{names[0]} has the value {values[-1]}; is it a label? Number the classes 0, 1, 2 ... without "
            f"gaps "
            f"({names[0]} = np.unique({names[0]}, return_inverse=True)[1])"
        )
    if values[-1] >= len(values):
        shown = ", ".join(map(str, values[:3])) + (f" ... {values[-1]}" if len(values) > 3 else "")
        warnings.warn(
            f"the labels {shown} are {len(values)} classes, numbered 0 to {len(values) - 1} and called by "
            "their values",
            stacklevel=4,
        )
        both = [None if column is None else np.searchsorted(values, column) for column in both]
    return both[0], both[1], [str(value) for value in values]


def words(column) -> list[str]:
    """Names, as text or as bytes (which is what numpy makes of C strings)."""
    flat = np.ravel(column)
    return [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in flat.tolist()]


def _as_labels(label, n: int, kind: str) -> Tensor:
    """(N,) class numbers from 0; -1 everywhere for `None`."""
    if label is None:
        return torch.full((n,), -1)
    numbers = class_numbers(label)
    if numbers.shape != (n,):
        raise CourseError(f"{n} {kind}s but labels of shape {numbers.shape}; pass one number per {kind}")
    if n and int(numbers.max()) >= MAX_CLASSES:
        raise CourseError(
            f"label has the value {int(numbers.max())}; number the classes 0, 1, 2 ... without gaps "
            "(label = np.unique(label, return_inverse=True)[1])"
        )
    return torch.from_numpy(numbers)


def _tensor(x, what: str) -> Tensor:
    """An array of numbers of any make as a tensor."""
    if isinstance(x, Tensor):
        return x.detach()
    try:
        array = np.array(x)
    except ValueError:
        raise CourseError(f"{what} of different shapes; bring them to one shape and np.stack them") from None
    if array.dtype.kind not in "biuf":
        raise CourseError(f"{what} of type {array.dtype}; expected numbers")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def _refuse_one(shape: tuple[int, ...], what: str, count: int | None) -> None:
    """An error where the first axis, that of the samples, seems to be missing: of one colour picture the rows
    would be taken for pictures.

    Args:
        shape: without an axis for colours.
        count: of labels, where there are any; they can confirm that there are 3 samples.
    """
    colours_last = shape[-1] in (1, 3, 4) and shape[-2] > 4
    colours_first = shape[0] == 3 and min(shape[-2:]) > 4 and count != shape[0]
    if colours_last or colours_first:
        raise CourseError(
            f"{what}s of shape {shape} look like a single {what} without the first axis: write {what}[None]"
            + (f" (of three grey ones {what}[:, None])" if colours_first and not colours_last else "")
        )


def _as_videos(video, count: int | None = None) -> Tensor:
    video = _tensor(video, "videos")
    shape = tuple(video.shape)
    if video.ndim == 4:
        _refuse_one(shape, "video", count)
        video = video[:, None].expand(-1, 3, -1, -1, -1)
    elif video.ndim == 5 and shape[1] not in (1, 3) and shape[-1] in (1, 3):
        video = video.permute(0, 4, 1, 2, 3)
    if video.ndim != 5 or video.shape[1] not in (1, 3) or not all(video.shape[1:]):
        raise CourseError(
            f"videos of shape {shape}; expected (N, 3, T, H, W), (N, T, H, W, 3) or (N, T, H, W)"
        )
    return _as_bytes(video.expand(-1, 3, -1, -1, -1), "videos")


def _as_images(image, count: int | None = None) -> Tensor:
    image = _tensor(image, "images")
    shape = tuple(image.shape)
    if image.ndim == 3:
        _refuse_one(shape, "image", count)
        image = image[:, None].expand(-1, 3, -1, -1)
    elif image.ndim == 4 and shape[1] not in (1, 3) and shape[-1] in (1, 3):
        image = image.permute(0, 3, 1, 2)
    if image.ndim != 4 or image.shape[1] not in (1, 3) or not all(image.shape[1:]):
        hint = ""
        if image.ndim == 4 and 4 in (shape[1], shape[-1]):
            hint = "; leave the transparency out: " + ("image[..., :3]" if shape[-1] == 4 else "image[:, :3]")
        elif image.ndim == 2:
            hint = "; of one picture image[None], of flat rows image.reshape(-1, height, width)"
        raise CourseError(f"images of shape {shape}; expected (N, 3, H, W), (N, H, W, 3) or (N, H, W){hint}")
    return _as_bytes(image.expand(-1, 3, -1, -1), "images")


def _as_sounds(audio, rate: float | None) -> tuple[Tensor, int]:
    """(N, L) int16, and the samples of a second."""
    audio = _tensor(audio, "sounds")
    if not isinstance(rate, (int, float, np.number)) or not 1000 <= rate <= 192000 or rate != int(rate):
        raise CourseError(
            f"rate={rate}; say how many samples a second of these sounds has, such as rate=8000"
        )
    if audio.ndim != 2:
        raise CourseError(
            f"sounds of shape {tuple(audio.shape)}; expected (N, L): one channel each, for stereo write "
            "audio.mean(1)"
        )
    if audio.dtype == torch.int16:
        return audio.contiguous(), int(rate)
    if not audio.is_floating_point():
        raise CourseError(f"sounds of type {audio.dtype}; expected int16, or float from -1 to 1")
    loudest = float(audio.abs().max()) if audio.numel() else 0.0
    if not loudest <= 1:  # also false for NaN
        raise CourseError(
            f"float sounds reach {loudest:.3g}; scale them to -1..1 (divide by their largest value), or "
            "pass int16"
        )
    return (audio * 32767).round().to(torch.int16).contiguous(), int(rate)


def _as_bytes(x: Tensor, what: str) -> Tensor:
    if x.dtype == torch.bool:  # drawings in black and white
        return (x.to(torch.uint8) * 255).contiguous()
    if x.dtype != torch.uint8:
        if not x.is_floating_point():
            raise CourseError(
                f"{what} of type {x.dtype}; expected uint8 (0 to 255), bool, or float (0 to 1): write "
                ".astype(np.uint8) where the values are 0 to 255, of 16 bits (x // 257).astype(np.uint8)"
            )
        low, high = (float(x.min()), float(x.max())) if x.numel() else (0.0, 1.0)
        if not (low >= 0 and high <= 1):  # also false for NaN
            raise CourseError(
                f"float {what} range from {low:.3g} to {high:.3g}; scale them to 0..1, or pass uint8"
            )
        x = (x * 255).round().to(torch.uint8)
    return x.contiguous()


def open_labels(samples: Samples, reader: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Labels and factors of any split, for the reporting calls of `sslcourse.evaluate` and nobody else (a
    test reads
    the imports). Notes the reader in `samples.openings`; refuses while a training is under way."""
    if samples.split == "test":
        if _training:
            raise SealedLabels(
                f"{reader} wants the test labels of {samples.name!r} while a training is under way: that is "
                "how test scores get selected on. Use the validation split inside the loop, or finish the "
                "training first (after an error in a loop: sslcourse.free() lets go of it)."
            )
        samples.openings.append(reader)
    return samples._label, samples._factors


@dataclass(frozen=True)
class Data:
    """The three splits of one data set. Train on `train`, choose on `validation`, report once on `test`."""

    train: Samples
    validation: Samples
    test: Samples

    def to(self, device) -> Data:
        return Data(self.train.to(device), self.validation.to(device), self.test.to(device))

    def heard(self) -> Data:
        """The same splits as sounds alone: what an ear is judged on."""
        return Data(*(part.heard() for part in self))

    @property
    def name(self) -> str:
        return self.train.name

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    def __iter__(self):
        return iter((self.train, self.validation, self.test))

    def __repr__(self):
        return (
            f"<{self.name}: {len(self.train):,} train, {len(self.validation):,} validation, "
            f"{len(self.test):,} test (labels sealed)>"
        )


@takes(seed=SEED, validation=REAL, test=REAL)
def split(
    samples_image,
    label=None,
    *,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    names: Sequence[str] | None = None,
    **kwargs,
) -> Data:
    """Three random splits, stratified by label, of arrays that come without any. Copies of a sample stay in
    one split.

    Args:
        samples_image, label, **kwargs: as for `Samples`.
        validation, test: shares of the data, each between 0 and 1.
        names: (N,) what the samples are called, for the warning about copies.
    """
    whole = Samples(samples_image, label, **kwargs)
    if not (0 < validation and 0 < test and validation + test < 1):
        raise CourseError(
            f"validation={validation} and test={test} leave no training data; their sum must be below 1"
        )
    rng = np.random.default_rng([seed, 0x5917])
    key = rng.random(len(whole))
    # Within every class the samples are ranked by a random key, so each split gets its share of each class.
    labels = whole._label.cpu().numpy()
    share = np.empty(len(whole))
    for value in np.unique(labels):
        members = np.flatnonzero(labels == value)
        share[members[key[members].argsort()]] = (np.arange(len(members)) + 0.5) / len(members)
    bounds = (("train", validation + test, 2), ("validation", test, validation + test), ("test", -1, test))
    inside = lambda share: [np.flatnonzero((share >= low) & (share < high)) for _, low, high in bounds]
    if not all(map(len, inside(share))):  # small classes, none of which is large enough for a tenth
        share = _shares_of_small_classes(labels, share, rng, validation, test)
    first = first_copies(whole.inputs)
    together = share[first]
    # a class all of whose samples are one: it must be shown before it is asked for
    for value in np.unique(labels):
        if (together[labels == value] < validation + test).all():
            together[labels == value] = 1
    rows = inside(together)
    if apart := not all(map(len, rows)):  # so many copies that one split would be without anything
        rows = inside(share)
    _say_copies(whole, first, names, apart)
    parts = []
    for (part, _, _), row in zip(bounds, rows):
        samples = whole.take(row)
        samples.split, samples.openings = part, []
        parts.append(samples)
    if not all(len(part) for part in parts):
        raise CourseError(
            f"{len(whole)} samples of {len(np.unique(labels))} classes are too few for three splits; pass "
            "more, larger shares, or a test split of your own (then even one of each class may train)"
        )
    return Data(*parts)


def _shares_of_small_classes(
    labels: np.ndarray, share: np.ndarray, rng: np.random.Generator, validation: float, test: float
) -> np.ndarray:
    """Where each sample stands between 0 and 1, so that many small classes together give every split its
    share, and at least one sample. The only sample of a class trains.
    """
    size = np.unique(labels, return_inverse=True, return_counts=True)
    several = np.flatnonzero(size[2][size[1]] > 1)
    placed = share + (rng.random(len(share)) - 0.5) / size[2][size[1]]
    order = several[placed[several].argsort()]
    tested, held = (max(1, round(part * len(several))) for part in (test, validation))
    new = np.ones(len(share))
    if tested + held < len(several):
        new[order[:tested]], new[order[tested : tested + held]] = 0, test + validation / 2
    return new


def with_splits(
    parts: Mapping[str, Samples],
    *,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    names: Mapping[str, Sequence[str]] | None = None,
) -> Data:
    """Three splits of data that bring some of their own: what is missing is set aside from the training
    samples.

    Args:
        parts: "train", and perhaps "validation" and "test".
        validation, test: shares that are set aside where there is no such split, of what is left of the
            training samples; validation=0 for none. The only sample of a class always trains.
        names: split -> what its samples are called, for the warnings.

    Warns:
        UserWarning: samples are copies of each other, or no validation sample is left.
    """
    found, names = dict(parts), dict(names or {})
    for what, samples in found.items():
        if not len(samples):
            raise CourseError(f"the {what} split has no sample")
    whole, own = found["train"], names.get("train")
    first = first_copies(whole.inputs)
    missing = [
        (what, share) for what, share in (("test", test), ("validation", validation)) if what not in found
    ]
    rows = np.arange(len(whole))
    for what, share in missing:
        kept, held = np.arange(len(rows)), np.arange(0)
        if share != 0 or what == "test":
            labels = whole._label.cpu().numpy()[rows]
            place = {row: i for i, row in reversed([*enumerate(rows.tolist())])}
            together = np.array([place.get(j, i) for i, j in enumerate(first[rows].tolist())])
            kept, held = carve(labels, share, seed, together, none_too=what == "validation")
            if not len(held):
                warnings.warn(
                    f"{whole.name}: no validation split, for it would take the only samples of a class; "
                    f"nothing "
                    "can be chosen or stopped by it (to have one: a larger validation=)",
                    stacklevel=4,
                )
        found[what] = whole.take(rows[held])
        found[what].split, found[what].openings = what, []
        rows = rows[kept]
    _say_copies(whole, first, own, False)
    if missing:
        found["train"] = whole.take(rows)
    for what in ("validation", "test"):
        if what in parts:
            _say_leaks(found["train"], parts[what], what, names.get(what))
    if "validation" in parts and "test" in parts:
        _say_leaks(parts["validation"], parts["test"], "test", names.get("test"))
    return Data(found["train"], found["validation"], found["test"])


@explained
def digests(inputs: Tensor) -> list[bytes]:
    """(N,) what tells one sample from another, number by number."""
    rows = (row for part in inputs.split(1024) for row in part.cpu().contiguous().numpy())
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]


@explained
def is_plain(x: Tensor) -> bool:
    """Whether a sample has nothing in it: one colour, or silence."""
    rows = x.flatten(1) if x.ndim > 1 else x[None]
    return bool((rows == rows[:, :1]).all())


@explained
def first_copies(inputs: Tensor) -> np.ndarray:
    """(N,) the position of the first sample that is the same number by number; its own where there is none.

    A sample without anything in it (one colour, silence) is no copy of another.
    """
    seen: dict[bytes, int] = {}
    first = [seen.setdefault(key, i) for i, key in enumerate(digests(inputs))]
    plain = {j for i, j in enumerate(first) if i != j and is_plain(inputs[j])}
    return np.array([i if j in plain else j for i, j in enumerate(first)], np.int64)


def _kind_words(samples: Samples) -> str:
    return {"image": "pictures", "video": "films", "audio": "sounds"}[samples.kind]


def _say_copies(samples: Samples, first: np.ndarray, names: Sequence[str] | None, apart: bool) -> None:
    copies = np.flatnonzero(first != np.arange(len(first)))
    if not len(copies):
        return
    label = samples._label.cpu().numpy()
    i, j = int(copies[0]), int(first[copies[0]])
    text = (
        f"{samples.name}: {len(copies):,} of {len(samples):,} {_kind_words(samples)} are copies of others, "
        f"such "
        f"as {names[i] if names else i} of {names[j] if names else j}; "
    )
    text += "they stand in several splits, for there are too many" if apart else "copies stay in one split"
    if other := int((label[copies] != label[first[copies]]).sum()):
        text += f"; {other:,} of them are the same in two classes: one of the two is wrong"
    warnings.warn(text, stacklevel=4)


def _say_leaks(known: Samples, held: Samples, what: str, names: Sequence[str] | None) -> None:
    seen = set(digests(known.inputs))
    same = [i for i, key in enumerate(digests(held.inputs)) if key in seen]
    same = [i for i in same if not is_plain(held.inputs[i])]
    if same:
        warnings.warn(
            f"{held.name}: {len(same):,} of {len(held):,} {what} {_kind_words(held)} are copies of "
            f"{known.split} "
            f"ones, such as {names[same[0]] if names else same[0]}; what is measured on them is no test. "
            f"Leave "
            "them out of one of the two",
            stacklevel=5,
        )


@explained
def carve(
    label: np.ndarray, validation: float, seed: int, first: np.ndarray | None = None, none_too: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of training and of validation samples, each in order: a random share of every class is set
    aside, but never the only sample of a class.

    Args:
        label: (N,) class numbers.
        validation: share, above 0 and below 1.
        first: (N,) the position of the first copy of each sample, see `first_copies`: copies stay together.
        none_too: whether the second part may be empty, where the classes are too small to give anything.
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
        if len(positions) > 1:
            held_out[positions[rank < validation * len(positions)]] = True
    if first is not None:
        held_out = held_out[first]
        for value in np.unique(label):  # a class all of whose samples are one trains
            if held_out[label == value].all():
                held_out[label == value] = False
    if held_out.all() or not (held_out.any() or none_too):
        raise CourseError(
            f"validation={validation} of {len(label)} samples leaves a split empty; pass another share"
        )
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def some_of(samples: Samples, limit: int) -> Samples:
    """The first samples, or as many evenly spaced ones where the first lack a class that the others have: a
    folder lies in the order of its classes.
    """
    first = samples.take(slice(0, limit))
    if len(first._label.unique()) == len(samples._label.unique()):
        return first
    return samples.take(torch.linspace(0, len(samples) - 1, min(limit, len(samples))).round().long())


@takes(seed=SEED, share=REAL)
def few_labels(samples: Samples, share: float, seed: int = 0) -> Tensor:
    """Positions of a class-balanced random subset: `share` of each class, at least one of each.

    SimCLR, section 4.3: 1 % and 10 % of the labels, sampled in a class-balanced way.
    """
    if not 0 < share <= 1:
        raise CourseError(f"share={share}; pass a number above 0 and up to 1 (0.01 for one per cent)")
    return _few(samples, lambda members: max(1, round(share * members)), seed)


def few_of_each(samples: Samples, count: int, seed: int = 0) -> Tensor:
    """Positions of `count` random samples of each class; of all, where a class has no more."""
    whole = runtime.as_whole(count)
    if whole is None or whole < 1:
        raise CourseError(f"few={count!r}; pass a whole number of labels for each class, such as 5")
    return _few(samples, lambda members: whole, seed)


def _few(samples: Samples, count: Callable[[int], int], seed: int) -> Tensor:
    g = runtime.generator(seed, 0xFE3)
    picked, label = [], samples.label.cpu()
    for c in range(len(samples.classes)):
        members = (label == c).nonzero().squeeze(1)
        picked.append(members[torch.randperm(len(members), generator=g)[: count(len(members))]])
    return torch.cat(picked).sort().values
