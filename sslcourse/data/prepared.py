"""Videos, or folders of frames, decoded once into files that `sslcourse.data.clips` reads.

    prepare(source, out)    it can be broken off and called again; what is damaged is found and made again
    videos_in(folder)       the videos of a folder, with the classes and splits that its subfolders name
    decoded(video, ...)     the frames of one video, upright, scaled and cut
    sound_of(video, ...)    what is heard while these frames are on screen

A folder of prepared clips holds `frames-0000.npy` and so on, (F, 3, H, W) uint8, many videos one after another, and `index.json`,
which says where each video begins and is written last: a folder with an index is complete. With sound, `sound-0000.npy` beside it holds
(F, S) int16: row f are the S samples from the moment of frame f to that of the next. While `prepare` is under way, `prepare.jsonl`
notes every video that is safely on disk, and the next call goes on behind the last one.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import io
import itertools
import json
import math
import os
import re
import sys
import time
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sslcourse import common
from sslcourse.common import CourseError
from sslcourse.data import fetch, heard, images
from sslcourse.data.datasets import SPLITS

# ---------------------------------------------------------------------------------------------- what there is to prepare

SUFFIXES = (".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv")
PARTS = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class Video:
    """One video of a source.

    Args:
        file: a video file; a folder of frames, which are numbered in the order of time; or a .zip archive.
        label: name of its class, "" where there is none.
        split: "train", "validation" or "test"; "" to leave that to `open`. Where there are several official folds, {fold: split}; a video
            that has none in a fold does not belong to it.
        group: videos of one class and one group (the same room, the same film) are never divided between train and validation.
        member: name of the video within a .zip archive.
        name: what to call it; by default that of the file without its folders.
    """

    file: Path
    label: str = ""
    split: str | Mapping[str, str] = ""
    group: str = ""
    member: str = ""
    name: str = ""


def videos_in(folder: str | Path) -> list[Video]:
    """The videos of a folder, in the order of their names. Hidden files and folders are passed over.

    A subfolder is a class and may hold video files (however deep) and folders of frames; a subfolder that holds pictures itself is a
    video without a class. If all subfolders are called train, validation (or val) and test, those are the splits.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise CourseError(f"there is no folder {folder}" + ("; it is a file, pass its folder" if folder.exists() else ""))
    below = _subfolders(folder)
    if below and all(p.name.lower() in PARTS for p in below):
        found = [replace(v, split=PARTS[p.name.lower()], name=f"{p.name}/{v.name}") for p in below for v in _videos_of_classes(p)]
    else:
        found = _videos_of_classes(folder)
    if not found:
        raise CourseError(f"no video in {folder}; it should hold files that end in {', '.join(SUFFIXES)}, or folders of frames")
    if any(v.label for v in found) and (stray := [v.name for v in found if not v.label]):
        more = " ..." if len(stray) > 3 else ""
        raise CourseError(f"{', '.join(stray[:3])}{more} in {folder} belongs to no class, others do; move it into a subfolder, or away")
    return found


def natural(path: Path) -> list:
    """A key that sorts frame2 before frame10."""
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in re.split(r"(\d+)", path.stem) if piece]


def pictures_in(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if p.suffix.lower() in images.SUFFIXES and not p.name.startswith(".")), key=natural)


def _subfolders(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__"))), key=natural)


def _videos_of_classes(folder: Path) -> list[Video]:
    found = [Video(p, name=p.name) for p in _video_files(folder.iterdir())]
    for sub in _subfolders(folder):
        if pictures_in(sub):
            found.append(Video(sub, name=sub.name))
            continue
        deep = sorted((p for p in sub.rglob("*") if p.is_dir() and not p.name.startswith(".") and pictures_in(p)), key=natural)
        found += [Video(p, sub.name, name=p.relative_to(folder).as_posix()) for p in [*_video_files(sub.rglob("*")), *deep]]
    return found


def _video_files(paths: Iterable[Path]) -> list[Path]:
    return sorted((p for p in paths if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()), key=natural)


def _as_videos(source: str | Path | Iterable) -> list[Video]:
    """A folder, or a list of `Video` or of (file, class, split), as videos with names that differ."""
    if isinstance(source, (str, Path)):
        return videos_in(source)
    found = []
    for entry in source:
        video = entry if isinstance(entry, Video) else Video(*([entry] if isinstance(entry, (str, Path)) else entry))
        file = Path(video.file).expanduser()
        found.append(replace(video, file=file, label=video.label or "", split=video.split or ""))
    if not found:
        raise CourseError("there is no video in this list")
    short = [v.name or v.member or v.file.name for v in found]
    names = short if len(set(short)) == len(short) else [v.name or v.member or v.file.as_posix() for v in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CourseError(f"two videos are called {twice!r}; give them names: Video(file, ..., name='other')")
    found = [replace(v, name=name) for v, name in zip(found, names)]
    for video in found:
        for part in video.split.values() if isinstance(video.split, Mapping) else [video.split]:
            if part not in ("", *SPLITS):
                raise CourseError(f"split {part!r} of {video.name} is none of {', '.join(SPLITS)}")
    if len({"folds" if isinstance(v.split, Mapping) else bool(v.split) for v in found}) > 1:
        raise CourseError("some videos have a split and others have none; give one to every video, or to none (with folds: split={fold: part})")
    if 0 < sum(bool(v.label) for v in found) < len(found):
        raise CourseError(f"{next(v.name for v in found if not v.label)} belongs to no class, others do; name its class, or leave it out")
    return found


# ---------------------------------------------------------------------------------------------- decoding


class _Unusable(Exception):
    """Why this video cannot be used, in a few words."""


BLOCK = 32  # frames that are in memory at once while a video is decoded


def _av():
    try:
        import av
    except ImportError:
        raise CourseError("videos are decoded by PyAV, which is not installed; type: pip install av") from None
    return av


@functools.lru_cache(maxsize=2)
def _archive(file: Path) -> zipfile.ZipFile:
    """An open archive: to read its table of contents for each of its videos would take longer than to decode them."""
    return zipfile.ZipFile(file)


def _stamp(video: Video) -> int:
    """A number that changes when the video is replaced: its size in bytes, or how many frames its folder has; -1 where there is none."""
    try:
        if video.member:
            return _archive(video.file).getinfo(video.member).file_size
        return len(pictures_in(video.file)) if video.file.is_dir() else video.file.stat().st_size
    except (OSError, KeyError, zipfile.BadZipFile):
        return -1


def decoded(video: Video, height: int, width: int, fps: float | None = None) -> Iterator[np.ndarray]:
    """The frames of a video as blocks of (b, 3, height, width) uint8: scaled so that they cover the size, and cut to their centre.

    Args:
        fps: frames per second; each moment shows the frame that was on screen. None: every frame. Folders of frames have no clock, so all
            of their frames are taken.
    """
    frames = _frames_of_folder(video.file, height, width) if video.file.is_dir() else _frames_of_file(video, height, width, fps)
    while block := list(itertools.islice(frames, BLOCK)):
        yield np.ascontiguousarray(np.stack(block).transpose(0, 3, 1, 2))


def _frames_of_folder(folder: Path, height: int, width: int) -> Iterator[np.ndarray]:
    from PIL import Image, ImageOps

    for file in pictures_in(folder):
        try:
            with Image.open(file) as image:
                if image.size[0] * image.size[1] > images.MAX_PIXELS:
                    raise _Unusable(f"{file.name} has more than {images.MAX_PIXELS / 1e6:.0f} million pixels")
                image = images._to_rgb(ImageOps.exif_transpose(image))
                yield np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC))
        except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
            raise _Unusable(f"{file.name} is unreadable: {type(error).__name__}") from None


def _readable(video: Video) -> str | io.BytesIO:
    """What PyAV opens."""
    if not video.member:
        return str(video.file)
    try:
        return io.BytesIO(_archive(video.file).read(video.member))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise _Unusable(f"cannot be taken out of {video.file.name} ({error})") from None


def _frames_of_file(video: Video, height: int, width: int, fps: float | None) -> Iterator[np.ndarray]:
    av, file = _av(), _readable(video)
    count = 0

    def counted(frames):
        nonlocal count
        for frame in frames:
            count += 1
            yield frame

    try:
        with av.open(file) as container:
            if not container.streams.video:
                raise _Unusable("it has no picture")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            stated, rate, pixel = stream.frames, float(stream.average_rate or 25), float(stream.sample_aspect_ratio or 1)
            for frame in _in_time(counted(container.decode(stream)), fps, rate):
                yield _fitted(frame, height, width, pixel)
    except (av.FFmpegError, OSError, ValueError) as error:
        if 0 < count < stated:  # with several threads the decoder may trip over the end of a file that was cut short
            raise _Unusable(f"it ends after {count} of {stated} frames") from None
        raise _Unusable(f"unreadable: {getattr(error, 'strerror', None) or error}") from None
    if not count:
        raise _Unusable("it has no frame")
    if count < 0.9 * stated - 2:  # headers are often wrong by a frame or two
        raise _Unusable(f"it ends after {count} of {stated} frames")


def _in_time(frames: Iterable, fps: float | None, rate: float) -> Iterator:
    """For each tick of a clock of `fps` the frame that was on screen. rate: frames per second of a video that does not say the time."""
    if fps is None:
        yield from frames
        return
    start, at, shown, ticks = None, 0.0, None, 0
    slack = min(0.0015, 0.25 / fps)  # Matroska rounds times to milliseconds: a frame half a millisecond late is not late
    for i, frame in enumerate(frames):
        at = i / rate if frame.time is None else frame.time
        start = at if start is None else start
        at -= start
        while shown is not None and ticks / fps < at - slack:
            yield shown
            ticks += 1
        shown = frame
    while shown is not None and ticks / fps < at + 1 / rate - slack:
        yield shown
        ticks += 1


def _fitted(frame, height: int, width: int, pixel: float) -> np.ndarray:
    """(height, width, 3) uint8: upright, scaled to cover, cut to the centre. pixel: width of one pixel over its height."""
    if frame.width * frame.height > images.MAX_PIXELS:
        raise _Unusable(f"{frame.width} x {frame.height} pixels, more than {images.MAX_PIXELS / 1e6:.0f} million")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # telephones film sideways and note it; older PyAV does not say
    h, w = (width, height) if turns % 2 else (height, width)
    scale = max(h / frame.height, w / (frame.width * pixel))
    high, wide = max(h, round(frame.height * scale)), max(w, round(frame.width * pixel * scale))
    # AREA averages what it leaves out; single pixels would flicker.
    x = frame.reformat(width=wide, height=high, format="rgb24", interpolation="AREA" if scale < 1 else "BICUBIC").to_ndarray()
    top, left = (high - h) // 2, (wide - w) // 2
    return np.rot90(x[top : top + h, left : left + w], turns)


JITTER = 0.02  # seconds by which a packet of sound may miss the end of the one before: some containers round times to milliseconds


def sound_of(video: Video, count: int, fps: float, rate: int) -> np.ndarray:
    """The sound of the moments that the frames of `decoded(video, ..., fps)` show: (count, rate / fps) int16, channels mixed into one.

    Picture and sound of a file have clocks of their own that start together; a sound that begins before or after the picture stays where
    it is. There is silence only where the file has no sound: before it begins, behind its end, and in its gaps.

    Args:
        count: frames.
        fps: frames per second; must divide the rate.
        rate: samples per second.
    """
    if video.file.is_dir():
        raise _Unusable("it is a folder of frames and has no sound")
    av = _av()
    try:
        with av.open(_readable(video)) as container:
            if not container.streams.audio:
                raise _Unusable("it has no sound")
            if not container.streams.video:
                raise _Unusable("it has no picture")
            first = next(container.decode(container.streams.video[0]), None)
            start = 0.0 if first is None or first.time is None else first.time
        with av.open(_readable(video)) as container:
            stream = container.streams.audio[0]
            stream.thread_type = "AUTO"
            at = None
            for frame in container.decode(stream):
                if at is None:  # the stream itself may announce half the rate of what is decoded (HE-AAC)
                    own = frame.sample_rate
                    whole, mix = np.zeros(math.ceil(count / fps * own), np.int16), av.AudioResampler(format="s16", layout="mono", rate=own)
                said = at if frame.time is None else round((frame.time - start) * own)
                at = (said or 0) if at is None or abs(said - at) > JITTER * own else at
                for mixed in mix.resample(frame):
                    samples = mixed.to_ndarray()[0]
                    low, high = max(at, 0), min(at + len(samples), len(whole))
                    if low < high:
                        whole[low:high] = samples[low - at : high - at]
                    at += len(samples)
                if at >= len(whole):
                    break
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _Unusable(f"its sound is unreadable: {getattr(error, 'strerror', None) or error}") from None
    if at is None:
        raise _Unusable("its sound is empty")
    out = np.zeros(count * round(rate / fps), np.int16)
    whole = _at_rate(whole, own, rate)[: len(out)]
    out[: len(whole)] = whole
    return out.reshape(count, -1)


def _at_rate(audio: np.ndarray, old: int, new: int, block: int = 30) -> np.ndarray:
    """A long sound (L,) at another rate, some seconds at a time. A block begins on a sample of both clocks, and sees a second on both sides."""
    parts = []
    for first in range(0, len(audio), block * old):
        before = min(first, old)
        part = heard.resampled(audio[first - before : first + (block + 1) * old], old, new).numpy()
        parts.append(part[before // old * new :][: block * new])
    return np.concatenate(parts) if parts else audio


# ---------------------------------------------------------------------------------------------- a folder of prepared clips

FORMAT = "sslcourse clips 1"
SETTINGS = ("size", "fps", "rate")  # of an index; the last only with sound
HEADER = 128  # bytes before the frames of a shard, and before its sound
SHARD = 1 << 28  # bytes of frames after which a new file is begun: what is rebuilt when one is damaged


def prepare(source: str | Path | Iterable, out: str | Path, *, size: int | tuple[int, int] = 64, fps: float | None = 8, sound: bool = False,
            rate: int = 8000, name: str | None = None, classes: Sequence[str] | None = None, again: str | None = None, shard: int = SHARD,
            quiet: bool = False) -> dict:  # fmt: skip
    """Decode videos once into a folder that `open` reads, and go on where an earlier call was broken off.

    Call it again at any time: it verifies the checksums of what is there, decodes what is new, what has changed and what is damaged, and
    is done quickly when nothing is. A video that cannot be read is named, noted in the index and left out.

    Args:
        source: a folder (see `videos_in`), or a list of `Video`, or of (file, class, split).
        out: the folder to write; its parts appear whole or not at all.
        size: side in pixels of the square that is cut from the centre, or (height, width): with the aspect of the videos, all is kept.
        fps: frames per second, or None for every frame. Folders of frames are taken whole.
        sound: also keep the sound of the same moments (see `sound_of`); videos that have none are left out.
        rate: samples of it per second; `fps` must divide it.
        name: of the data set; by default that of the source's folder.
        classes: names in the order of their numbers; by default in alphabetical order.
        again: what to type when the folder is damaged, for error messages.
        shard: bytes of a file of frames.
        quiet: no progress, and nothing about videos that were left out.

    Returns:
        The index: name, size, fps, classes, shards, videos, left_out.

    Raises:
        CourseError: nothing can be used, PyAV is missing, the disk is full, or the folder was begun with another size or fps.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if not all(isinstance(s, int) and 4 <= s <= 4096 for s in (height, width)):
        raise CourseError(f"size={size!r}; pass a whole number of pixels from 4 to 4096, or (height, width)")
    if fps is not None and not 0 < fps <= 1000:
        raise CourseError(f"fps={fps}; pass frames per second above 0, or None for every frame")
    if sound and (fps is None or not isinstance(rate, int) or not 1000 <= rate <= 192_000 or rate % fps):
        raise CourseError(f"rate={rate!r} and fps={fps}; sound needs a rate of 1000 to 192000 samples a second that is a multiple of the frames "
                          "per second, such as rate=8000 and fps=16")  # fmt: skip
    videos, out = _as_videos(source), Path(out).expanduser()
    if any(not v.file.is_dir() for v in videos):
        _av()  # better now than after the first hundred folders
    known = sorted({v.label for v in videos if v.label}) if classes is None else list(classes)
    if unknown := sorted({v.label for v in videos if v.label} - set(known)):
        raise CourseError(f"{', '.join(unknown[:5])} is none of the {len(known)} classes")
    about = dict(name=name or (Path(source).expanduser().resolve().name if isinstance(source, (str, Path)) else out.name),
                 size=[height, width], fps=fps, **(dict(rate=rate) if sound else {}), classes=known, again=again)  # fmt: skip
    say = (lambda text: None) if quiet else (lambda text: print(text, file=sys.stderr, flush=True))
    with fetch.alone(out):
        store = _Workshop(out, {key: about[key] for key in SETTINGS if key in about}, shard, say)
        todo = [v for v in videos if not store.has(v)]
        index = read_index(out)
        if not todo and index is not None and _contents(videos, store, about) == {k: index[k] for k in index if k != "checksum"}:
            return index
        (out / "index.json").unlink(missing_ok=True)  # from here until the end the folder is incomplete
        store.begin()
        progress = _Progress(about["name"], len(todo), quiet)
        for video in todo:
            reason = store.add(video, _stamp(video), lambda video=video: decoded(video, height, width, fps),
                               lambda count, video=video: sound_of(video, count, fps, rate))  # fmt: skip
            progress.step(f"{video.name} is left out: {reason}" if reason else None)
        store.close()
        index = _contents(videos, store, about)
        if not index["videos"]["name"]:
            raise CourseError(f"none of the {len(videos)} videos can be used; the first: {': '.join(index['left_out'][0][:2])}")
        progress.end(len(index["videos"]["name"]), index["left_out"])
        index["checksum"] = _digest(index)
        fetch.sweep(out / "index.json")
        with common.atomic(out / "index.json") as temporary:
            temporary.write_text(json.dumps(index))
        (out / "prepare.jsonl").unlink()
    _archive.cache_clear()
    return index


def _contents(videos: Sequence[Video], store: _Workshop, about: dict) -> dict:
    """The index, without its checksum. Videos stand in the order of the source, whatever order they were decoded in."""
    kept, left_out = [], []
    for video in videos:
        record = store.records.get(video.name)
        if record is not None and "left_out" in record:
            left_out.append([video.name, record["left_out"], record["stamp"]])
        elif record is not None:
            kept.append((video, record))
    folds = sorted({fold for video, _ in kept if isinstance(video.split, Mapping) for fold in video.split}) or [""]
    number = {label: i for i, label in enumerate(about["classes"])}
    columns: dict = {key: [record[key] for _, record in kept] for key in ("name", "stamp", "shard", "start", "count")}
    columns["class"] = [number.get(video.label, -1) for video, _ in kept]
    columns["group"] = [video.group for video, _ in kept]
    columns["split"] = {fold: [v.split.get(fold, "") if isinstance(v.split, Mapping) else v.split for v, _ in kept] for fold in folds}
    shards = {str(k): entry for k, entry in sorted(store.shards.items())}
    return dict(format=FORMAT, **about, shards=shards, videos=columns, left_out=left_out)


def _digest(index: dict) -> str:
    return hashlib.sha256(json.dumps({k: v for k, v in index.items() if k != "checksum"}, sort_keys=True).encode()).hexdigest()


def read_index(folder: str | Path) -> dict | None:
    """The index of a folder of prepared clips; None where there is none, or a damaged one."""
    try:
        index = json.loads((Path(folder) / "index.json").read_text())
        return index if index["format"] == FORMAT and index["checksum"] == _digest(index) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_prepared(folder: str | Path) -> bool:
    """Whether a folder has been written, or begun, by `prepare`."""
    return any((Path(folder) / name).is_file() for name in ("index.json", "prepare.jsonl"))


def damaged(folder: str | Path, index: dict, *, thorough: bool = False) -> dict[str, str]:
    """Which files of a folder of prepared clips are damaged, and why. thorough: also compare checksums, which reads everything."""
    found = {}
    for number, entry in index["shards"].items():
        for file, wrong in _wrong_with(Path(folder), int(number), entry, index, thorough).items():
            found[file] = wrong
    return found


def shard_file(folder: Path, number: int, track: str = "frames") -> Path:
    """track: "frames" or "sound"."""
    return folder / f"{track}-{number:04d}.npy"


def _tracks(settings: Mapping) -> dict[str, tuple[int, ...]]:
    """Height and width of the "frames", and samples of "sound" that belong to one, of an index or of its settings."""
    tracks = {"frames": tuple(settings["size"])}
    return tracks | {"sound": (round(settings["rate"] / settings["fps"]),)} if settings.get("rate") else tracks


def _bytes(track: str, size: Sequence[int]) -> int:
    """That one frame takes, or its sound."""
    return (3 if track == "frames" else 2) * math.prod(size)


def _wrong_with(folder: Path, number: int, entry: dict, settings: Mapping, thorough: bool) -> dict[str, str]:
    """Name of a file -> what is wrong with it; of the files of one shard."""
    found = {}
    for name, size in _tracks(settings).items():
        file, expected = shard_file(folder, number, name), HEADER + entry["frames"] * _bytes(name, size)
        if not file.is_file():
            found[file.name] = "it is missing"
        elif file.stat().st_size != expected:
            found[file.name] = f"it has {file.stat().st_size:,} bytes instead of {expected:,}"
        else:
            with file.open("rb") as stream:
                if stream.read(HEADER) != _header(entry["frames"], size, name):
                    found[file.name] = "its header has changed"
            if file.name not in found and thorough and fetch.checksum(file) != entry["sha256" if name == "frames" else name]:
                found[file.name] = "its checksum has changed"
    return found


def _header(frames: int, size: Sequence[int], track: str = "frames") -> bytes:
    """The header of a .npy file, always of the same length: it is written anew when the number of frames is known."""
    kind, shape = ("|u1", (frames, 3, *size)) if track == "frames" else ("<i2", (frames, *size))
    text = str({"descr": kind, "fortran_order": False, "shape": shape})
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.encode().ljust(HEADER - 11) + b"\n"


class _Workshop:
    """The files of frames while they are being written, and a journal of what is safely in them."""

    def __init__(self, folder: Path, settings: dict, limit: int, say: Callable[[str], None]):
        self.folder, self.settings, self.limit, self.say = folder, settings, limit, say
        self.tracks = _tracks(settings)
        self.frame = sum(_bytes(*track) for track in self.tracks.items())
        self.records: dict[str, dict] = {}  # name -> where a video is, or why it is left out
        self.shards: dict[int, dict] = {}  # finished files
        self.files, self.number, self.at = {}, -1, 0  # the files that are being written, by track, and how many frames they have
        self._recall()
        self._verify()

    @property
    def journal(self) -> Path:
        return self.folder / "prepare.jsonl"

    def _recall(self) -> None:
        """What earlier calls did: from the index, or from the journal of a call that was broken off."""
        index = read_index(self.folder)
        settings = None if index is None else {k: index[k] for k in SETTINGS if k in index}
        if index is not None:
            columns = index["videos"]
            for row in zip(*(columns[key] for key in ("name", "stamp", "shard", "start", "count"))):
                self.records[row[0]] = dict(zip(("name", "stamp", "shard", "start", "count"), row))
            for name, reason, stamp in index["left_out"]:
                self.records[name] = dict(name=name, stamp=stamp, left_out=reason)
            self.shards = {int(k): entry for k, entry in index["shards"].items()}
        elif self.journal.is_file():
            with contextlib.suppress(ValueError):  # a kill may tear the last line
                for line in self.journal.read_text().splitlines():
                    entry = json.loads(line)
                    if "settings" in entry:
                        settings = entry["settings"]
                    elif "sha256" in entry:
                        self.shards[entry.pop("file")] = entry
                    else:
                        self.records[entry["name"]] = entry
        if settings is not None and settings != self.settings:
            there, here = ({k: s[k] for k in s} for s in (settings, self.settings))
            raise CourseError(f"{self.folder} was prepared with {there}, now it would be {here}; name another folder, or delete this one")

    def _verify(self) -> None:
        """Forget what is damaged, so that it is made again; bring the file that was being written back to its last whole video."""
        used = sorted({r["shard"] for r in self.records.values() if "shard" in r})
        self.shards = {number: self.shards[number] for number in used if number in self.shards}
        if sum(entry["frames"] for entry in self.shards.values()) * self.frame > 1 << 30:
            self.say(f"verifying the {len(self.shards)} files that {self.folder} has")
        for number in used:
            end = max(r["start"] + r["count"] for r in self.records.values() if r.get("shard") == number)
            parts = {name: self._part(number, name) for name in self.tracks}
            if number in self.shards:
                wrong = _wrong_with(self.folder, number, self.shards[number], self.settings, thorough=True)
            elif not any(part.is_file() for part in parts.values()):  # killed between the names and the note
                self.shards[number] = self._entry(number, end)
                wrong = _wrong_with(self.folder, number, self.shards[number], self.settings, thorough=False)
            else:
                wrong = {}
                for name, part in parts.items():
                    file = shard_file(self.folder, number, name)
                    if not part.is_file() and file.is_file():  # killed between one name and the next
                        os.replace(file, part)
                    have = part.stat().st_size if part.is_file() else 0
                    if have < HEADER + end * _bytes(name, self.tracks[name]):
                        wrong[file.name] = f"it has {have:,} bytes, and more were noted"
                if not wrong:
                    self.number, self.at = number, end
            if wrong:
                lost = [name for name, r in self.records.items() if r.get("shard") == number]
                for name, why in wrong.items():
                    self.say(f"{name} is damaged ({why}); its {len(lost)} videos are decoded again")
                for name in lost:
                    del self.records[name]
                self.shards.pop(number, None)

    def _entry(self, number: int, frames: int) -> dict:
        """What is noted about a finished file of frames, and about its sound."""
        sums = {"sha256" if name == "frames" else name: self._checksum(number, name) for name in self.tracks}
        return dict(frames=frames, **sums)

    def _checksum(self, number: int, track: str) -> str | None:
        file = shard_file(self.folder, number, track)
        return fetch.checksum(file) if file.is_file() else None

    def _part(self, number: int, track: str) -> Path:
        return self.folder / f"{track}-{number:04d}.npy.part"

    def has(self, video: Video) -> bool:
        """Whether this very video is done. If its source is gone, what is there is all that there is."""
        record = self.records.get(video.name)
        return record is not None and (record["stamp"] == (stamp := _stamp(video)) or stamp == -1)

    def begin(self) -> None:
        """Write down what holds, and remove files that nothing refers to."""
        used = set(self.shards) | {self.number}
        for file in [*self.folder.glob("frames-*.npy*"), *self.folder.glob("sound-*.npy*")]:
            if (number := int(file.name.partition("-")[2][:4])) not in used or (file.suffix == ".part" and number in self.shards):
                file.unlink()
        fetch.sweep(self.journal)
        with common.atomic(self.journal) as temporary:
            lines = [dict(settings=self.settings), *self.records.values(), *(dict(file=k, **entry) for k, entry in self.shards.items())]
            temporary.write_text("".join(json.dumps(line) + "\n" for line in lines))
        if self.number >= 0:
            self.files = {name: self._part(self.number, name).open("r+b", buffering=0) for name in self.tracks}
            self._back()

    def _back(self) -> None:
        """To the end of the last whole video."""
        for name, file in self.files.items():
            file.truncate(HEADER + self.at * _bytes(name, self.tracks[name]))
            file.seek(HEADER + self.at * _bytes(name, self.tracks[name]))

    def _note(self, entry: dict) -> None:
        with self.journal.open("a") as journal:
            journal.write(json.dumps(entry) + "\n")

    def add(self, video: Video, stamp: int, blocks: Callable[[], Iterator[np.ndarray]], sound: Callable[[int], np.ndarray]) -> str | None:
        """Write one video behind the last one. Returns why it is left out, or None.

        Args:
            sound: number of frames -> (frames, S), asked where there is to be sound.
        """
        if not self.files:
            self.number, self.at = max([-1, *self.shards]) + 1, 0
            self.files = {name: self._part(self.number, name).open("w+b", buffering=0) for name in self.tracks}
            for name, file in self.files.items():
                file.write(_header(0, self.tracks[name], name))
        count = 0
        try:
            for block in blocks():
                self._write("frames", block)
                count += len(block)
            reason = None if count else "it has no frame"
            if count and "sound" in self.tracks:
                self._write("sound", sound(count))
        except _Unusable as error:
            reason = str(error)
        if reason is not None:
            self._back()
            record = dict(name=video.name, stamp=stamp, left_out=reason)
        else:
            for file in self.files.values():
                os.fsync(file.fileno())  # the note must not outlive the frames
            record = dict(name=video.name, stamp=stamp, shard=self.number, start=self.at, count=count)
            self.at += count
        self.records[video.name] = record
        self._note(record)
        if self.at * self.frame >= self.limit:
            self.close()
        return reason

    def _write(self, track: str, block: np.ndarray) -> None:
        fetch.need_space(self.folder, block.nbytes)
        try:
            _write_all(self.files[track], memoryview(np.ascontiguousarray(block)).cast("B"))
        except OSError as error:
            raise CourseError(f"cannot write {self.files[track].name}: {error.strerror}; make room and call again") from None

    def close(self) -> None:
        """Finish the files that are being written: they get their headers and their names."""
        if not self.files:
            return
        self._back()
        for name, stream in self.files.items():
            with stream:
                stream.seek(0)
                stream.write(_header(self.at, self.tracks[name], name))
                os.fsync(stream.fileno())
            if self.at:
                os.replace(self._part(self.number, name), shard_file(self.folder, self.number, name))
            else:
                self._part(self.number, name).unlink()
        if self.at:
            self.shards[self.number] = self._entry(self.number, self.at)
            self._note(dict(file=self.number, **self.shards[self.number]))
        self.files, self.number, self.at = {}, -1, 0


def _write_all(file, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]


class _Progress:
    """`name  120 of 13,320 videos  54.1 a second  4:03 left`: one line that is written anew on a terminal, else one every half minute."""

    def __init__(self, name: str, total: int, quiet: bool):
        self.name, self.total, self.quiet, self.done = name, total, quiet, 0
        self.live = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self.began = self.shown = time.monotonic()

    def _say(self, text: str, end: str = "\n") -> None:
        if not self.quiet:
            print(text, end=end, file=sys.stderr, flush=True)

    def step(self, remark: str | None) -> None:
        self.done += 1
        if remark:
            self._say(("\r" if self.live else "") + f"{remark:<79}")
        now = time.monotonic()
        if now - self.shown < (0.2 if self.live else 30) and self.done < self.total:
            return
        self.shown, rate = now, self.done / max(now - self.began, 1e-6)
        left = (self.total - self.done) / rate
        text = f"{self.name}  {self.done:,} of {self.total:,} videos  {rate:.1f} a second  {left // 60:.0f}:{left % 60:02.0f} left"
        self._say(f"\r{text:<79}" if self.live else text, end="" if self.live and self.done < self.total else "\n")

    def end(self, kept: int, left_out: Sequence) -> None:
        if left_out:
            self._say(f"{self.name}: {kept:,} videos are prepared, {len(left_out):,} left out (see left_out in index.json)")


# ---------------------------------------------------------------------------------------------- what data scripts share


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of a script that prepares videos."""
    parser.add_argument("--size", type=int, metavar="PIXELS", help="side of the square that is cut from the centre (default: 64)")
    parser.add_argument("--fps", type=float, metavar="N", help="frames that are kept of each second (default: 8)")


def command(script: str, folder: str | Path, **options) -> str:
    """What to type to prepare this folder again: the script with what differs from its defaults."""
    home = "" if Path(folder) == common.data_dir(script.removesuffix(".py")) else f" --to {folder}"
    return f"python data_scripts/{script}" + home + "".join(f" --{name} {value}" for name, value in options.items())


def finished(folder: str | Path, size: int | tuple[int, int], fps: float | None) -> dict | None:
    """The index of a folder that is complete, of these settings, and whose checksums are right; else None."""
    index, size = read_index(folder), [size, size] if isinstance(size, int) else list(size)
    same = index is not None and (index["size"], index["fps"]) == (size, fps)
    return index if same and not damaged(folder, index, thorough=True) else None


def summary(index: dict, folder: str | Path) -> dict:
    """What a data script prints: counts of videos and frames, and of every split of every fold."""
    videos = index["videos"]
    arrays: dict = {"videos": (len(videos["name"]),), "left out": (len(index["left_out"]),), "classes": (len(index["classes"]),),
                    "frames": (sum(videos["count"]), 3, *index["size"])}  # fmt: skip
    for fold, parts in videos["split"].items():
        for part in SPLITS:
            if part in parts:
                arrays[f"{'fold ' + fold + ' ' if fold else ''}{part}"] = (parts.count(part),)
    return dict(name=index["name"], folder=str(folder), arrays=arrays, index=index)


def by_file_name(names: Iterable[str], where: str, wanted: Collection[str]) -> dict[str, str]:
    """{file name in small letters: path} of the videos among the paths; lists and archives do not agree about capitals.

    Raises:
        CourseError: a video stands there twice, or one of those wanted is not there.
    """
    found: dict[str, str] = {}
    for name in names:
        base = name.replace("\\", "/").rpartition("/")[2].lower()
        if not base.endswith(SUFFIXES) or base.startswith("."):
            continue
        if base in found:
            raise CourseError(f"{where} holds {base!r} twice; is it the published one?")
        found[base] = name
    if missing := [base for base in wanted if base not in found]:
        raise CourseError(f"{len(missing):,} of the {len(wanted):,} videos are missing, such as {missing[0]}; is {where} whole?")
    return found
