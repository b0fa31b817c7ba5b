"""Decoding a video: its frames at the wanted rate and size, and its sound."""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import math
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from sslcourse.data import folders, heard
from sslcourse.data.clips.source import Video, pictures_in
from sslcourse.data.folders import Unusable
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, PIXELS, REAL, WHOLE, takes

# ---------------------------------------------------------------------------------------------- decoding


PIECE = 1 << 16  # bytes of each of the three pieces by which a file is known
BLOCK = 32  # frames that are in memory at once while a video is decoded


def import_av():
    try:
        import av
    except ImportError:
        raise CourseError(
            "videos are decoded by PyAV, which is not installed; type: pip install av"
        ) from None
    return av


@functools.lru_cache(maxsize=2)
def open_archive(file: Path) -> zipfile.ZipFile:
    """An open archive: to read its table of contents for each of its videos would take longer than to decode
    them.
    """
    return zipfile.ZipFile(file)


def size_of(video: Video) -> int:
    """Bytes of a video, or how many frames its folder has; -1 where there is none."""
    try:
        if video.member:
            return open_archive(video.file).getinfo(video.member).file_size
        return len(pictures_in(video.file)) if video.file.is_dir() else video.file.stat().st_size
    except (OSError, KeyError, zipfile.BadZipFile):
        return -1


def fingerprint(video: Video) -> int:
    """A number that changes when the video is replaced, also by one of the same size; -1 where there is none.

    Of a file it takes the size and three pieces of the content (beginning, middle, end), of a member of an
    archive its CRC-32, of a folder the names and fingerprints of its frames. What is old is known by it
    quickly: to read everything would take as long as to decode it."""
    try:
        if video.member:
            info = open_archive(video.file).getinfo(video.member)
            return _number(f"{info.file_size} {info.CRC}".encode())
        if video.file.is_dir():
            return _number(b"".join(f.name.encode() + _pieces(f, 1 << 12) for f in pictures_in(video.file)))
        return _number(_pieces(video.file))
    except (OSError, KeyError, zipfile.BadZipFile):
        return -1


def _pieces(file: Path, piece: int = PIECE) -> bytes:
    size = file.stat().st_size
    with file.open("rb") as stream:
        pieces = [size.to_bytes(8, "little")]
        for start in sorted({0, max(0, size // 2 - piece // 2), max(0, size - piece)}):
            stream.seek(start)
            pieces.append(stream.read(piece))
    return b"".join(pieces)


def _number(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:6], "little")


@takes(height=PIXELS, width=PIXELS, fps=REAL)
def decoded(video: Video, height: int, width: int, fps: float | None = None) -> Iterator[np.ndarray]:
    """The frames of a video as blocks of (b, 3, height, width) uint8: scaled so that they cover the size, and
    cut to their centre.

    Args:
        fps: frames per second; each moment shows the frame that was on screen. None: every frame. Folders of
            frames have no clock, so all of their frames are taken.
    """
    frames = (
        _frames_of_folder(video.file, height, width)
        if video.file.is_dir()
        else _frames_of_file(video, height, width, fps)
    )
    while block := list(itertools.islice(frames, BLOCK)):
        yield np.ascontiguousarray(np.stack(block).transpose(0, 3, 1, 2))


def _frames_of_folder(folder: Path, height: int, width: int) -> Iterator[np.ndarray]:
    for file in pictures_in(folder):
        try:
            yield folders.fitted(file, height, width)
        except Unusable as reason:
            between = " is " if str(reason).startswith("unreadable") else ": "
            raise Unusable(f"{file.name}{between}{reason}") from None


def _readable(video: Video) -> str | io.BytesIO:
    """What PyAV opens."""
    if not video.member:
        return str(video.file)
    try:
        return io.BytesIO(open_archive(video.file).read(video.member))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise Unusable(f"cannot be taken out of {video.file.name} ({error})") from None


def _frames_of_file(video: Video, height: int, width: int, fps: float | None) -> Iterator[np.ndarray]:
    av, file = import_av(), _readable(video)
    count = 0

    def counted(frames):
        nonlocal count
        for frame in frames:
            count += 1
            yield frame

    try:
        with av.open(file) as container:
            if not container.streams.video:
                raise Unusable("it has no picture")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            stated, rate, pixel = (
                stream.frames,
                float(stream.average_rate or 25),
                float(stream.sample_aspect_ratio or 1),
            )
            for frame in _in_time(counted(container.decode(stream)), fps, rate):
                yield _fitted(frame, height, width, pixel)
    except Unusable:
        raise
    except Exception as error:  # the decoders of a hundred formats raise as many kinds for damaged files
        # with several threads the decoder may trip over the end of a file that was cut short
        if 0 < count < stated:
            raise Unusable(f"it ends after {count} of {stated} frames") from None
        raise Unusable(f"unreadable: {getattr(error, 'strerror', None) or error}") from None
    if not count:
        raise Unusable("it has no frame")
    if count < 0.9 * stated - 2:  # headers are often wrong by a frame or two
        raise Unusable(f"it ends after {count} of {stated} frames")


def _in_time(frames: Iterable, fps: float | None, rate: float) -> Iterator:
    """For each tick of a clock of `fps` the frame that was on screen. rate: frames per second of a video that
    does not say the time.
    """
    if fps is None:
        yield from frames
        return
    start, at, shown, ticks = None, 0.0, None, 0
    # Matroska rounds times to milliseconds: a frame half a millisecond late is not late
    slack = min(0.0015, 0.25 / fps)
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
    """(height, width, 3) uint8: upright, scaled to cover, cut to the centre. pixel: width of one pixel over
    its height.
    """
    if frame.width * frame.height > folders.MAX_PIXELS:
        raise Unusable(
            f"{frame.width} x {frame.height} pixels, more than {folders.MAX_PIXELS / 1e6:.0f} million"
        )
    # telephones film sideways and note it; older PyAV does not say
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    h, w = (width, height) if turns % 2 else (height, width)
    scale = max(h / frame.height, w / (frame.width * pixel))
    high, wide = max(h, round(frame.height * scale)), max(w, round(frame.width * pixel * scale))
    # AREA averages what it leaves out; single pixels would flicker.
    x = frame.reformat(
        width=wide, height=high, format="rgb24", interpolation="AREA" if scale < 1 else "BICUBIC"
    ).to_ndarray()
    top, left = (high - h) // 2, (wide - w) // 2
    return np.rot90(x[top : top + h, left : left + w], turns)


# seconds by which a packet of sound may miss the end of the one before: some containers round times to
# milliseconds
JITTER = 0.02


@takes(count=COUNT, fps=REAL, rate=WHOLE)
def sound_of(video: Video, count: int, fps: float, rate: int) -> np.ndarray:
    """The sound of the moments that the frames of `decoded(video, ..., fps)` show: (count, rate / fps) int16,
    channels mixed into one.

    Picture and sound of a file have clocks of their own that start together; a sound that begins before or
    after the picture stays where it is. There is silence only where the file has no sound: before it begins,
    behind its end, and in its gaps.

    Args:
        count: frames.
        fps: frames per second; must divide the rate.
        rate: samples per second.
    """
    if video.file.is_dir():
        raise Unusable("it is a folder of frames and has no sound")
    av = import_av()
    try:
        with av.open(_readable(video)) as container:
            if not container.streams.audio:
                raise Unusable("it has no sound")
            if not container.streams.video:
                raise Unusable("it has no picture")
            first = next(container.decode(container.streams.video[0]), None)
            start = 0.0 if first is None or first.time is None else first.time
        with av.open(_readable(video)) as container:
            stream = container.streams.audio[0]
            stream.thread_type = "AUTO"
            at: int | None = None
            for frame in container.decode(stream):
                if at is None:  # the stream itself may announce half the rate of what is decoded (HE-AAC)
                    own = frame.sample_rate
                    whole, mix = (
                        np.zeros(math.ceil(count / fps * own), np.int16),
                        av.AudioResampler(format="s16", layout="mono", rate=own),
                    )
                said = at if frame.time is None else round((frame.time - start) * own)
                if at is None or said is None or abs(said - at) > JITTER * own:
                    at = said or 0
                for mixed in mix.resample(frame):
                    samples = mixed.to_ndarray()[0]
                    low, high = max(at, 0), min(at + len(samples), len(whole))
                    if low < high:
                        whole[low:high] = samples[low - at : high - at]
                    at += len(samples)
                if at >= len(whole):
                    break
    except Unusable:
        raise
    except Exception as error:  # as for its frames
        raise Unusable(f"its sound is unreadable: {getattr(error, 'strerror', None) or error}") from None
    if at is None:
        raise Unusable("its sound is empty")
    out = np.zeros(count * round(rate / fps), np.int16)
    whole = _at_rate(whole, own, rate)[: len(out)]
    out[: len(whole)] = whole
    return out.reshape(count, -1)


def _at_rate(audio: np.ndarray, old: int, new: int, block: int = 30) -> np.ndarray:
    """A long sound (L,) at another rate, some seconds at a time. A block begins on a sample of both clocks,
    and sees a second on both sides.
    """
    parts = []
    for first in range(0, len(audio), block * old):
        before = min(first, old)
        part = heard.resampled(audio[first - before : first + (block + 1) * old], old, new).numpy()
        parts.append(part[before // old * new :][: block * new])
    return np.concatenate(parts) if parts else audio
