"""Videos as `Data` whose frames stay on disk, and sequences with masks.

prepare(source, out)          videos, or folders of frames -> a folder of prepared clips; sound=True keeps
                              their sound too (see `sslcourse.data.clips.prepared`)
open(folder)                  -> `Data` of `Clips`: windows of a few frames, read while the training runs
ucf101(), hmdb51()            the same after `sslcourse data ucf101` and `sslcourse data hmdb51`
sequences(folder), davis()    frames with masks in the layout of DAVIS
"""

from __future__ import annotations

import hashlib
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sslcourse import runtime
from sslcourse.data import folders
from sslcourse.data.clips.prepared import damaged, is_prepared, prepare, read_index, shard_file
from sslcourse.data.clips.source import Video, pictures_in, videos_in
from sslcourse.data.datasets import SPLITS, Data, Samples, digest_of, digests, is_plain
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import REAL, SEED, WHOLE, takes

__all__ = [
    "Clips",
    "Film",
    "Sequences",
    "Video",
    "davis",
    "hmdb51",
    "is_prepared",
    "open",
    "prepare",
    "sequences",
    "ucf101",
    "videos_in",
]

# ---------------------------------------------------------------------------------- sequences with masks

UNKNOWN = 255  # in a mask: a pixel that nobody has annotated (void), or all of a frame that nobody has


class Film(NamedTuple):
    """One sequence."""

    name: str
    frames: Tensor  # (3, T, H, W) uint8
    masks: (
        Tensor  # (T, H, W) uint8: 0 ground, 1, 2 ... objects, 255 void, or a whole frame without annotation
    )


class Sequences(Sequence):
    """Films that are read when they are asked for: `films[0]`, `films["dog"]`, `for name, frames, masks in
    films`.
    """

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


@takes(limit=WHOLE, year=WHOLE)
def sequences(
    folder: str | Path,
    part: str | Sequence[str] | None = None,
    *,
    year: int = 2017,
    resolution: str = "480p",
    size: int | tuple[int, int] | None = None,
    one_object: bool = False,
    limit: int | None = None,
) -> Sequences:
    """Frames and masks of a folder in the layout of DAVIS: `JPEGImages/480p/NAME/00000.jpg`,
    `Annotations/480p/NAME/00000.png`.

    Your own sequences do in the same layout; frames may be .jpg or .png, numbered as you like, and a frame
    without a mask (all but the first, perhaps) is filled with 255. Nothing is read before a film is asked
    for.

    Args:
        folder: holds `JPEGImages`, or holds the folder `DAVIS` that does.
        part: "train" or "val" for the official lists in `ImageSets`, a list of names, or None for every
            sequence that is there.
        year: whose lists, 2017 or 2016.
        resolution: name of the folders below `JPEGImages` and `Annotations`.
        size: None as it is on disk; a number for the shorter side; or (height, width), which must fit the
            aspect to a twentieth.
        one_object: all objects together are object 1, as in DAVIS 2016.
        limit: only the first so many frames of each.

    Raises:
        CourseError: the folder has another layout, or a name is not there.

    Source: F. Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation,
    CVPR 2016; J. Pont-Tuset et al., The 2017 DAVIS Challenge on Video Object Segmentation, arXiv:1704.00675.
    """
    root = Path(folder).expanduser()
    root = root / "DAVIS" if (root / "DAVIS" / "JPEGImages").is_dir() else root
    pictures = root / "JPEGImages" / resolution
    if not pictures.is_dir():
        there = (
            sorted(p.name for p in (root / "JPEGImages").iterdir()) if (root / "JPEGImages").is_dir() else []
        )
        hint = (
            f"it has {', '.join(there)}: pass resolution={there[0]!r}"
            if there
            else "expected JPEGImages/480p/NAME/00000.jpg below it"
        )
        raise CourseError(f"{root} holds no JPEGImages/{resolution}; {hint}")
    found = [p.name for p in folders.subfolders(pictures, folders.Remarks(pictures))]
    names = (
        found
        if part is None
        else _official_names(root, part, year, resolution)
        if isinstance(part, str)
        else list(part)
    )
    if missing := [name for name in names if name not in found]:
        raise CourseError(
            f"{pictures} lacks {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}; it has "
            f"{', '.join(found[:10])}"
        )
    if limit is not None and limit < 1:
        raise CourseError(f"limit={limit}; pass at least 1 frame, or None for all")
    masks = root / "Annotations" / resolution
    return Sequences(
        names, lambda name: _read_film(name, pictures / name, masks / name, size, one_object, limit)
    )


@takes(year=WHOLE)
def davis(year: int = 2017, part: str | Sequence[str] | None = "val", **options) -> Sequences:
    """The sequences that `sslcourse data davis` fetched.

    Args:
        year: 2017 (60 to train with, 30 to validate; several objects) or 2016 (30 and 20; one object).
        part, **options: as for `sequences`.
    """
    if year not in (2016, 2017):
        raise CourseError(f"year={year}; there are DAVIS 2017 and DAVIS 2016")
    folder = runtime.data_dir(f"davis{year}", "sequences")
    if not folder.is_dir():
        raise CourseError(
            f"no DAVIS {year} in {folder}; type: sslcourse data davis"
            + (" --year 2016" if year == 2016 else "")
        )
    return sequences(folder, part, **{"year": year, "one_object": year == 2016, **options})


def _official_names(root: Path, part: str, year: int, resolution: str) -> list[str]:
    """The names in `ImageSets/2017/val.txt`, or, in the archive of 2016, those in the paths of
    `ImageSets/480p/val.txt`.
    """
    for file in (
        root / "ImageSets" / str(year) / f"{part}.txt",
        root / "ImageSets" / resolution / f"{part}.txt",
    ):
        if file.is_file():
            first = [
                line.split()[0] for line in file.read_text(encoding="utf-8").splitlines() if line.strip()
            ]
            return list(dict.fromkeys(word.split("/")[-2] if "/" in word else word for word in first))
    lists = (
        sorted(str(p.relative_to(root)) for p in (root / "ImageSets").rglob("*.txt"))
        if (root / "ImageSets").is_dir()
        else []
    )
    raise CourseError(
        f"{root} has no list {part!r} of {year}; it has {', '.join(lists) or 'no ImageSets'}: pass "
        "part=None or a list of names"
    )


def _read_film(name: str, pictures: Path, masks: Path, size, one_object: bool, limit: int | None) -> Film:
    from PIL import Image

    files = pictures_in(pictures)[:limit]
    if not files:
        raise CourseError(f"{pictures} holds no picture; it should hold files such as 00000.jpg")
    with Image.open(files[0]) as first:
        width, height = first.size
    shape = _scaled(height, width, size, name)
    frames = np.empty((3, len(files), *shape), np.uint8)
    ids = np.full((len(files), *shape), UNKNOWN, np.uint8)
    read: list[tuple[int, bool]] = []  # frames that have a mask, and whether through a palette
    seen = {True: np.zeros(256, bool), False: np.zeros(256, bool)}  # values in masks with a palette, without
    for t, file in enumerate(files):
        try:
            with Image.open(file) as image:
                if image.size != (width, height):
                    raise CourseError(
                        f"{file} is {image.size[0]} x {image.size[1]} pixels, the first frame {width} x "
                        f"{height}"
                    )
                image = image.convert("RGB")
                if shape != (height, width):
                    image = image.resize(
                        shape[::-1], Image.Resampling.BOX if shape[0] < height else Image.Resampling.BICUBIC
                    )
                frames[:, t] = np.asarray(image).transpose(2, 0, 1)
            mask = masks / f"{file.stem}.png"
            if mask.is_file():
                values, palette = _mask_values(mask)
                seen[palette] |= _present(values)
                if values.shape != shape:  # nearest: between object 1 and object 3 there is no object 2
                    values = np.asarray(Image.fromarray(values).resize(shape[::-1], Image.Resampling.NEAREST))
                ids[t] = values
                read.append((t, palette))
        except CourseError:
            raise
        except Exception as error:  # the decoders raise many kinds
            raise CourseError(f"{file} or its mask is damaged ({error}); fetch the sequence again") from None
    if limit is not None and (seen[True] | seen[False])[255] and not _ids_of(seen):
        # White alone so far: a later mask says whether it is an object or void.
        for file in sorted(masks.glob("*.png")):
            values, palette = _mask_values(file)
            seen[palette] |= _present(values)
            if _ids_of(seen):
                break
    for t, palette in read:
        ids[t] = _object_ids(ids[t], _ids_of(seen), soft=not palette and bool(seen[False][128:255].any()))
    if one_object:
        ids[(ids > 0) & (ids != UNKNOWN)] = 1
    return Film(name, torch.from_numpy(frames), torch.from_numpy(ids))


def _mask_values(file: Path) -> tuple[np.ndarray, bool]:
    """An annotation as it is stored, (H, W) uint8, and whether it goes through a palette."""
    from PIL import Image

    with Image.open(file) as image:
        if image.mode not in ("P", "L"):  # black and white, or grey in three channels
            image = image.convert("L")
        return np.array(image), image.mode == "P"


def _present(values: np.ndarray) -> np.ndarray:
    """(256,) bool: which values there are."""
    return np.bincount(values.reshape(-1), minlength=256) > 0


def _ids_of(seen: dict[bool, np.ndarray]) -> bool:
    """Whether a sequence numbers its objects, so that its white is void and no object.

    Any number from 1 to 254 is an object's in a mask with a palette. In a grey one those from 128 on are the
    soft edge of a white object."""
    return bool(seen[True][1:255].any() or (seen[False][1:128].any() and not seen[False][128:255].any()))


def _object_ids(values: np.ndarray, numbered: bool, soft: bool) -> np.ndarray:
    """A mask's stored values as ids: 0 the ground, 1, 2 ... the objects, 255 void.

    DAVIS 2017 stores ids through a palette, with 255 for void; others store the same numbers in grey. DAVIS
    2016 is white on black, and white is then its one object: 255 is void in every mask of a sequence in which
    any other id stands, and object 1 in a sequence of nothing but 0 and 255."""
    if soft:
        return (values > 127).astype(np.uint8)
    return values if numbered else (values == 255).astype(np.uint8)


def _scaled(height: int, width: int, size, name: str) -> tuple[int, int]:
    """(height, width) in which a film is shown."""
    if size is None:
        return height, width
    if (whole := runtime.as_whole(size)) is not None:
        size = whole
        if size < 4:
            raise CourseError(f"size={size}; the shorter side has at least 4 pixels")
        scale = size / min(height, width)
        return round(height * scale), round(width * scale)
    sides = [] if isinstance(size, str) else [runtime.as_whole(side) or 0 for side in size]
    if len(sides) != 2 or min(sides) < 1:
        raise CourseError(f"size={size!r}; pass a number for the shorter side, or (height, width)")
    tall, wide = sides
    if abs(wide / tall * height / width - 1) > 0.05:
        raise CourseError(
            f"size={size} would squeeze {name}, which is {height} x {width}; pass a number for its "
            "shorter side"
        )
    return tall, wide


# ---------------------------------------------------------------------------------------------- clips

IN_MEMORY = 1 << 31  # bytes that `Clips.video` reads at once


class _Store:
    """The files of frames of one folder, mapped into memory, and where each video begins."""

    def __init__(self, folder: Path, index: dict):
        self.size, self.name = tuple(index["size"]), index["name"]
        self.checksums = sorted((int(k), sorted(entry.items())) for k, entry in index["shards"].items())
        mapped = lambda track: {
            int(k): np.load(shard_file(folder, int(k), track), mmap_mode="r", allow_pickle=False)
            for k in index["shards"]
        }
        self.arrays = mapped("frames")
        self.fps, self.rate = index["fps"], index.get("rate")  # the latter only with sound
        self.sounds = mapped("sound") if self.rate else {}
        columns = index["videos"]
        self.names = columns["name"]
        self.shard, self.start, self.count = (
            np.array(columns[key], np.int64) for key in ("shard", "start", "count")
        )

    def read(self, rows: np.ndarray, starts: np.ndarray, times: np.ndarray) -> Tensor:
        """(B, 3, T, H, W) uint8: of each video the frames at its start plus `times`; behind its end the last
        frame stays.

        Args:
            rows: (B,) numbers of videos.
            starts: (B,) first frames.
            times: (T,) evenly spaced.
        """
        out = np.empty((len(rows), 3, len(times), *self.size), np.uint8)
        step = int(times[1] - times[0]) if len(times) > 1 else 1
        for b, (row, start) in enumerate(zip(rows, starts)):
            first, end = self.start[row] + start + times[0], self.start[row] + self.count[row]
            frames = self.arrays[int(self.shard[row])][
                min(first, end - 1) : min(first + step * len(times), end) : step
            ]
            out[b, :, : len(frames)] = frames.transpose(1, 0, 2, 3)
            out[b, :, len(frames) :] = frames[-1][:, None]
        return torch.from_numpy(out)

    def hear(self, rows: np.ndarray, starts: np.ndarray, frames: int) -> Tensor:
        """(B, frames S) int16: of each video the sound from its start on, while that many of its frames are
        on screen; behind its end there is silence.

        Args:
            rows, starts: as for `read`.
            frames: of the file, so a window of 16 frames with a step of 2 lasts 32.
        """
        out = np.zeros((len(rows), frames, round(self.rate / self.fps)), np.int16)
        for b, (row, start) in enumerate(zip(rows, starts)):
            first, end = self.start[row] + start, self.start[row] + self.count[row]
            heard = self.sounds[int(self.shard[row])][first : min(first + frames, end)]
            out[b, : len(heard)] = heard
        return torch.from_numpy(out).flatten(1)


class Clips(Samples):
    """Windows of a few frames from videos that stay on disk: a data set like `Samples`, of kind "video".
    `open` makes it.

    In a training every clip shows a window at a random place, another one in each epoch; everywhere else the
    window in its middle (see `spread` for several). The places are drawn from the generator of the epoch
    before anything is read, so neither `workers` nor an interruption can change them. A clip that is shorter
    than the window ends with its last frame repeated.

    Clips that were prepared with sound carry it: a batch has "audio" (B, L), the sound of the very moments
        that the window shows.

    `workers` threads read the next batches ahead; a training that is resumed in mid-epoch reads none of those
    that it has seen."""

    def __init__(
        self,
        store: _Store,
        rows: np.ndarray,
        label: np.ndarray | None,
        *,
        frames: int,
        step: int,
        workers: int,
        classes: Sequence[str] = (),
        split: str = "train",
        name: str = "clips",
    ):
        for what, value, least in (("frames", frames, 1), ("step", step, 1), ("workers", workers, 0)):
            whole = runtime.as_whole(value)
            if whole is None or whole < least:
                raise CourseError(f"{what}={value!r}; pass a whole number from {least}")
        if split not in SPLITS:
            raise CourseError(f"split={split!r} is none of {', '.join(SPLITS)}")
        self.kind, self.store = "video", store
        self.frames, self.step, self.workers = int(frames), int(step), int(workers)
        self._rows, self._place = torch.as_tensor(rows), torch.full((len(rows),), 0.5, dtype=torch.float64)
        self._label = torch.full((len(rows),), -1) if label is None else torch.as_tensor(label).long()
        self.labelled, self.classes = label is not None, tuple(classes)
        self._factors, self.factor_names, self.extra = {}, {}, {}
        self.rate, self.fps = store.rate, None if store.fps is None else store.fps / step
        self.split, self.name, self.openings, self.device = split, name, [], "cpu"

    # ------------------------------------------------------------------ what is in it

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self):
        shape = f"3x{self.frames}x{self.store.size[0]}x{self.store.size[1]}"
        sound = f" with sound at {self.rate:,} Hz" if self.rate else ""
        return (
            f"<{self.name} ({self.split}): {len(self):,} clips of {shape}{sound} on disk, "
            f"{len(self.classes)} classes>"
        )

    def digest(self) -> str:
        """sha256 of all that a batch of these clips can carry; of the frames it takes the checksums that the
        folder's index has."""
        rows, store = self._rows.numpy(), self.store
        where = np.stack([column[rows] for column in (store.shard, store.start, store.count)])
        text = (
            f"{store.checksums} {store.size} {store.fps} {self.rate} {self.frames} {self.step} {self.split}"
        )
        tensors = (torch.from_numpy(where), self._place, self._label)
        return hashlib.sha256(f"{text} {digest_of(*tensors)}".encode()).hexdigest()

    @property
    def names(self) -> list[str]:
        """(N,) names of the videos."""
        return [self.store.names[row] for row in self._rows]

    @property
    def lengths(self) -> Tensor:
        """(N,) frames that each video has."""
        return torch.from_numpy(self.store.count)[self._rows]

    @property
    def video(self) -> Tensor:  # type: ignore[override]  # read from disk whenever it is asked for
        """(N, 3, T, H, W) uint8: the middle windows of all clips, read into memory: for a few,
        `data.train.take(slice(0, 8)).video`.
        """
        size = len(self) * 3 * self.frames * self.store.size[0] * self.store.size[1]
        if size > IN_MEMORY:
            raise CourseError(
                f"{len(self):,} clips are {size / 1e9:.1f} GB in memory; look at a few, "
                ".take(slice(0, 8)).video, or go through .batches(...)"
            )
        return self._read(torch.arange(len(self)), self._starts()).to(self.device)

    @property
    def audio(self) -> Tensor | None:  # type: ignore[override]
        """(N, L) int16: the sound of the middle windows of all clips; None where the clips have none."""
        if self.rate is None:
            return None
        size = len(self) * self.frames * self.step * round(self.rate / self.store.fps) * 2
        if size > IN_MEMORY:
            raise CourseError(
                f"the sound of {len(self):,} clips is {size / 1e9:.1f} GB in memory; look at a few, "
                ".take(slice(0, 8)).audio"
            )
        return self._hear(torch.arange(len(self)), self._starts()).to(self.device)

    @property
    def pictures(self) -> Tensor:
        """(N, 3, H, W) uint8: the frame in the middle of each window."""
        return self.store.read(self._rows.numpy(), self._starts().numpy(), self._times()[[self.frames // 2]])[
            :, :, 0
        ].to(self.device)

    # ------------------------------------------------------------------ a data set

    def to(self, device) -> Clips:
        """The same clips for another device: frames stay on disk, batches come to the device."""
        if torch.device(device).type == torch.device(self.device).type:
            return self
        new = self._copy(lambda t: t)
        new.device, new._label = str(device), self._label.to(device)
        return new

    def take(self, index) -> Clips:
        """The clips at these positions (a slice, a list, a tensor of integers or of booleans)."""
        if not isinstance(index, slice):
            index = index.cpu() if isinstance(index, Tensor) else torch.as_tensor(np.asarray(index))
        return self._copy(lambda t: t[index])

    def _copy(self, f) -> Clips:
        new = object.__new__(Clips)
        new.__dict__.update(self.__dict__)
        new._rows, new._place, new._label = f(self._rows), f(self._place), f(self._label)
        return new  # `openings` is shared on purpose: a part of a test set is still that test set

    def spread(self, windows: int) -> Clips:
        """Every clip `windows` times, at places that are evenly spaced from its beginning to its end: (N
        windows) clips, those of one video together. To evaluate, average over them:
        `features.view(N, windows, -1).mean(1)`."""
        if (runtime.as_whole(windows) or 0) < 1:
            raise CourseError(f"windows={windows!r}; pass a whole number from 1")
        new = self._copy(lambda t: t.repeat_interleave(windows, 0))
        if windows > 1:
            new._place = torch.linspace(0, 1, windows, dtype=torch.float64).repeat(len(self))
        return new

    def _times(self) -> np.ndarray:
        return np.arange(self.frames) * self.step

    def _starts(self, place: Tensor | None = None) -> Tensor:
        """(N,) first frame of each window. place: (N,) from 0 to 1, both included; else those of this data
        set.
        """
        free = (self.lengths - (self.frames - 1) * self.step - 1).clamp_min(0)
        return ((self._place if place is None else place) * free).round().long()

    def _read(self, index: Tensor, starts: Tensor) -> Tensor:
        return self.store.read(self._rows[index].numpy(), starts[index].numpy(), self._times())

    def _hear(self, index: Tensor, starts: Tensor) -> Tensor:
        return self.store.hear(self._rows[index].numpy(), starts[index].numpy(), self.frames * self.step)

    def _sensed(self, index: Tensor, starts: Tensor) -> dict[str, Tensor]:
        """What is seen and, where there is sound, heard in windows that begin at the `starts`."""
        seen = {"video": self._read(index, starts)}
        return seen if self.rate is None else {**seen, "audio": self._hear(index, starts).float() / 32767}

    def _carried(self, index: Tensor) -> dict[str, Tensor]:
        here = index.to(self.device)
        return {
            "index": here,
            "label": torch.full_like(here, -1) if self.split == "test" else self._label[here],
        }

    def batch(self, index: Tensor) -> dict[str, Tensor]:
        """The clips at `index`, each with its window in the middle. A test split carries label -1."""
        index = torch.as_tensor(index).cpu()
        return {
            **{name: x.to(self.device) for name, x in self._sensed(index, self._starts()).items()},
            **self._carried(index),
        }

    def batches(
        self,
        batch_size: int,
        generator: torch.Generator | None = None,
        *,
        rank: int = 0,
        world: int = 1,
        first: int = 0,
    ) -> Iterator[dict[str, Tensor]]:
        """One pass over the data, as `Samples.batches`. With a generator: shuffled, random windows, whole
        batches only.
        """
        n = len(self)
        if generator is None:
            order, stop, starts = torch.arange(n), n, self._starts()
        else:
            if batch_size > n:
                raise CourseError(f"batch_size={batch_size} is larger than the {n} clips; take at most {n}")
            order, stop = torch.randperm(n, generator=generator), n - n % batch_size
            place = torch.empty(n, dtype=torch.float64)
            # drawn in the order of the batches
            place[order] = torch.rand(n, generator=generator, dtype=torch.float64)
            free = (self.lengths - (self.frames - 1) * self.step).clamp_min(1)
            starts = (place * free).long()
        parts = [order[k : k + batch_size] for k in range(first * batch_size, stop, batch_size)]
        parts = [part.tensor_split(world)[rank] for part in parts] if world > 1 else parts
        pinned = torch.device(self.device).type == "cuda"

        def read(k: int) -> dict[str, Tensor]:
            sensed = self._sensed(parts[k], starts)
            return {name: x.pin_memory() for name, x in sensed.items()} if pinned else sensed

        for sensed, part in zip(_ahead(read, len(parts), self.workers), parts):
            yield {
                **{name: x.to(self.device, non_blocking=pinned) for name, x in sensed.items()},
                **self._carried(part),
            }


def _ahead(read: Callable[[int], dict[str, Tensor]], count: int, workers: int) -> Iterator[dict[str, Tensor]]:
    """read(0), read(1) ... in this order, worked out by threads a little before they are asked for."""
    if not workers:
        yield from map(read, range(count))
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="clips")
    try:
        pending: deque[Future] = deque()
        for k in range(count + workers):
            if k < count:
                pending.append(pool.submit(read, k))
            if k >= workers:
                yield pending.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


# ---------------------------------------------------------------------------------------------- opening


@takes(
    frames=WHOLE,
    step=WHOLE,
    workers=WHOLE,
    seed=SEED,
    validation=REAL,
    test=REAL,
)
def open(
    folder: str | Path,
    *,
    frames: int = 16,
    step: int = 1,
    workers: int = 2,
    fold: int | str | None = None,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
) -> Data:
    """The three splits of a folder of prepared clips. Nothing is read into memory but the index.

    Splits that the source names are kept. Those that it does not name are set aside at random, class by
    class: validation (and test) from the training videos, and never two videos of one group on different
    sides.

    Args:
        frames: of a window.
        step: every how many-th frame of the video a window takes.
        workers: threads that read ahead; has no influence on the result.
        fold: which of the official folds, where there are several; the first by default.
        validation, test: shares that are set aside where the source has no such split.
        seed: of that choice.

    Raises:
        CourseError: the folder is absent, incomplete or damaged; the message says what to type.
    """
    folder = Path(folder).expanduser()
    index = read_index(folder)
    if index is None:
        state = (
            "is not finished: prepare it again to go on"
            if (folder / "prepare.jsonl").is_file()
            else "has a damaged index.json: prepare it again"
            if (folder / "index.json").is_file()
            else "holds no prepared clips"
        )
        raise CourseError(
            f'{folder} {state}; type: sslcourse data videos "FOLDER OF VIDEOS" --to "{folder}", or in Python '
            f'clips.prepare("FOLDER OF VIDEOS", "{folder}")'
        )
    if wrong := damaged(folder, index):
        again = index["again"] or (
            f'clips.prepare("FOLDER OF VIDEOS", "{folder}", size={tuple(index["size"])}, fps={index["fps"]})'
        )
        raise CourseError(
            f"{folder} is damaged ({'; '.join(f'{k}: {v}' for k, v in wrong.items())}); only that part is "
            f"made again. Type: {again}"
        )
    folds = list(index["videos"]["split"])
    fold = folds[0] if fold is None else str(fold)
    if fold not in folds:
        raise CourseError(
            f"fold={fold}; {index['name']} has "
            + (f"the folds {', '.join(folds)}" if folds != [""] else "no folds: leave it out")
        )
    if not (0 < validation and 0 < test and validation + test < 1):
        raise CourseError(
            f"validation={validation} and test={test}; pass shares above 0 whose sum is below 1"
        )
    label, group = np.array(index["videos"]["class"]), index["videos"]["group"]
    part = np.array(index["videos"]["split"][fold], object)
    if not any(part):
        part[:] = "train"
    store = _Store(folder, index)
    same = _copies(store, index["videos"]["stamp"])
    # Copies are divided between splits no more than the films of one group are.
    group = [group[i] or (f"copies of {store.names[j]}" if j >= 0 else "") for i, j in enumerate(same)]
    named = set(part)
    # of what is left of the training videos
    shares = {"test": test, "validation": validation if "test" in named else validation / (1 - test)}
    for which in [w for w in shares if w not in named]:
        candidates = np.flatnonzero(part == "train")
        part[
            candidates[
                _set_aside(label[candidates], [group[i] for i in candidates], shares[which], which, seed)
            ]
        ] = which
    labelled = bool((label >= 0).all())
    _say_copies(store, same, part)
    splits = []
    for which in SPLITS:
        rows = np.flatnonzero(part == which)
        if not len(rows):
            raise CourseError(
                f"{index['name']} has no video left for {which}; prepare more videos, or set aside smaller "
                "shares"
            )
        splits.append(
            Clips(
                store,
                rows,
                label[rows] if labelled else None,
                frames=frames,
                step=step,
                workers=workers,
                classes=index["classes"],
                split=which,
                name=index["name"],
            )
        )
    return Data(*splits)


def _copies(store: _Store, stamps: Sequence[int]) -> list[int]:
    """For each video the first one that is the same, its own number where it is the first of several, -1
    where there is none. Only videos of one length from files of one size are looked at: three frames of each.
    """
    alike: dict[tuple, list[int]] = {}
    for i, key in enumerate(zip(stamps, store.count.tolist())):
        alike.setdefault(key, []).append(i)
    found = [-1] * len(store.count)
    for rows in alike.values():
        seen: dict[bytes, int] = {}
        for row in rows if len(rows) > 1 else ():
            count = int(store.count[row])
            times = np.arange(0, count, max(1, count // 3))[:3]
            frames = store.read(np.array([row]), np.array([0]), times)
            if is_plain(frames[0]):
                continue  # a black film is no copy of another
            first = seen.setdefault(digests(frames)[0], row)
            if first != row:
                found[row], found[first] = first, first
    return found


def _say_copies(store: _Store, same: Sequence[int], part: np.ndarray) -> None:
    copies = [i for i, j in enumerate(same) if j not in (-1, i)]
    if not copies:
        return
    apart = [i for i in copies if part[i] != part[same[i]]]
    i = (apart or copies)[0]
    warnings.warn(
        f"{store.name}: {len(copies):,} videos are copies of others, such as {store.names[i]} of "
        f"{store.names[same[i]]}; "
        + (
            f"{len(apart):,} of them stand in another split than the other"
            if apart
            else "copies stay in one split"
        ),
        stacklevel=3,
    )


def _set_aside(label: np.ndarray, group: Sequence[str], share: float, what: str, seed: int) -> np.ndarray:
    """Positions of a random share of every class, whole groups at a time; at least one group of all."""
    rng = np.random.default_rng([seed, 0xC11B, SPLITS.index(what)])
    held = np.zeros(len(label), bool)
    for value in np.unique(label):
        members = np.flatnonzero(label == value)
        groups: dict[str, list[int]] = {}
        for i in members.tolist():
            groups.setdefault(group[i] or f"{i}", []).append(i)
        taken, wanted = 0, share * len(members)
        for key in rng.permutation(list(groups)):
            if taken + len(groups[key]) / 2 <= wanted:  # to the nearest
                held[groups[key]] = True
                taken += len(groups[key])
    if not held.any() and len(label) > 1:
        i = int(rng.integers(len(label)))
        same = [group[i] and group[j] == group[i] and label[j] == label[i] for j in range(len(label))]
        held[[j for j in range(len(label)) if j == i or same[j]]] = True
    return np.flatnonzero(held)


@takes(fold=WHOLE)
def ucf101(fold: int = 1, **options) -> Data:
    """UCF101: 13,320 videos of 101 human actions, three official folds (9,537 to train and 3,783 to test in
    the first).

    A tenth of the training videos, whole groups of the same scene, is set aside to validate.

    Args:
        fold: 1, 2 or 3.
        **options: frames, step, workers, validation, seed of `open`.

    Source: K. Soomro, A. Zamir and M. Shah, UCF101: A Dataset of 101 Human Action Classes From Videos in The
    Wild, arXiv:1212.0402, 2012."""
    return _after_script("ucf101", fold=fold, **options)


@takes(fold=WHOLE)
def hmdb51(fold: int = 1, **options) -> Data:
    """HMDB51: 51 human actions from films and the web, three official folds of 70 videos a class to train and
    30 to test.

    Args:
        fold, **options: as for `ucf101`; videos from the same film stay together.

    Source: H. Kuehne et al., HMDB: A Large Video Database for Human Motion Recognition, ICCV 2011.
    """
    return _after_script("hmdb51", fold=fold, **options)


def _after_script(name: str, **options) -> Data:
    folder = runtime.data_dir(name)
    if read_index(folder) is None:
        raise CourseError(f"no complete {name} in {folder}; type: sslcourse data {name}")
    return open(folder, **options)
