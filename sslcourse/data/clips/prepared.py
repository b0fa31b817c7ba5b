"""Videos, or folders of frames, decoded once into files that `sslcourse.data.clips` reads.

    prepare(source, out)    it can be broken off and called again; what is damaged is found and made again
    videos_in(folder)       the videos of a folder, with the classes and splits that its subfolders name
    decoded(video, ...)     the frames of one video, upright, scaled and cut
    sound_of(video, ...)    what is heard while these frames are on screen

A folder of prepared clips holds `frames-0000.npy` and so on, (F, 3, H, W) uint8, many videos one after
another, and `index.json`, which says where each video begins and is written last: a folder with an index is
complete. With sound, `sound-0000.npy` beside it holds (F, S) int16: row f are the S samples from the moment
of frame f to that of the next. While `prepare` is under way, `prepare.jsonl` notes every video that is safely
on disk, and the next call goes on behind the last one."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sslcourse import runtime
from sslcourse.data import download
from sslcourse.data.clips import schema
from sslcourse.data.clips.decode import (
    Unusable,
    decoded,
    fingerprint,
    import_av,
    open_archive,
    size_of,
    sound_of,
)
from sslcourse.data.clips.source import Video, as_videos
from sslcourse.runtime import pages
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.files import Made
from sslcourse.runtime.options import REAL, WHOLE, takes

# ------------------------------------------------------------------------- a folder of prepared clips

FORMAT = "sslcourse clips 1"
SETTINGS = ("size", "fps", "rate")  # of an index; the last only with sound
HEADER = 128  # bytes before the frames of a shard, and before its sound
SHARD_NAME = re.compile(r"(?:frames|sound)-(\d{4,})\.npy(?:\.part)?")
SHARD = 1 << 28  # bytes of frames after which a new file is begun: what is rebuilt when one is damaged


@takes(fps=REAL, rate=WHOLE, shard=WHOLE)
def prepare(
    source: str | Path | Iterable,
    out: str | Path,
    *,
    size: int | tuple[int, int] = 64,
    fps: float | None = 8,
    sound: bool = False,
    rate: int = 8000,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    again: str | None = None,
    shard: int = SHARD,
    quiet: bool = False,
) -> dict:
    """Decode videos once into a folder that `open` reads, and go on where an earlier call was broken off.

    Call it again at any time: it verifies the checksums of what is there, decodes what is new, what has
    changed and what is damaged, and is done quickly when nothing is. A video that cannot be read is named,
    noted in the index and left out.

    Args:
        source: a folder (see `videos_in`), or a list of `Video`, or of (file, class, split).
        out: the folder to write; its parts appear whole or not at all. Nothing in it is removed or written
        over     that an earlier call did not make.
        size: side in pixels of the square that is cut from the centre, or (height, width): with the aspect of
            the videos, all is kept.
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
        CourseError: nothing can be used, PyAV is missing, the disk is full, or the folder was begun with
            another size or fps, or holds something and is not ours.
    """
    height, width = _checked(size, fps, rate if sound else None)
    rate = int(rate)
    videos, out = as_videos(source), Path(out).expanduser()
    if any(not v.file.is_dir() for v in videos):
        import_av()  # better now than after the first hundred folders
    folder = Path(source).expanduser().resolve() if isinstance(source, (str, Path)) else out
    about: dict[str, Any] = dict(
        name=name or folder.name,
        size=[height, width],
        fps=fps,
        **(dict(rate=rate) if sound else {}),
        classes=_class_names(videos, classes),
        again=again,
    )
    say = (lambda text: None) if quiet else (lambda text: print(text, file=sys.stderr, flush=True))
    with download.alone(out):
        made = begin(out)
        store = _Workshop(out, made, {key: about[key] for key in SETTINGS if key in about}, shard, say)
        todo = [v for v in videos if not store.has(v)]
        index = read_index(out)
        if index is not None and not todo and _contents(videos, store, about) == _without_checksum(index):
            return index
        made.note("index.json", "prepare.jsonl")
        made.remove("index.json")  # from here until the end the folder is incomplete
        made.note("index.json")
        store.begin()
        for video, remark in _with_progress(todo, about["name"], quiet):
            blocks = functools.partial(decoded, video, height, width, fps)
            heard = functools.partial(sound_of, video, fps=fps, rate=rate) if sound and fps else None
            if reason := store.add(video, fingerprint(video), blocks, heard):
                remark(f"{video.name} is left out: {reason}")
        store.close()
        index = _contents(videos, store, about)
        if not index["videos"]["name"]:
            raise CourseError(
                f"none of the {len(videos)} videos can be used; the first: "
                f"{': '.join(index['left_out'][0][:2])}"
            )
        if index["left_out"]:
            say(
                f"{about['name']}: {len(index['videos']['name']):,} videos are prepared, "
                f"{len(index['left_out']):,} left out (see left_out in index.json)"
            )
        if silent := index.get("silent"):
            say(
                f"{about['name']}: {len(silent):,} videos have a track of sound in which there is silence "
                f"alone, such "
                f"as {', '.join(silent[:3])}; nothing can be learned from them by ear (see silent in "
                f"index.json)"
            )
        index["checksum"] = _digest(index)
        with runtime.atomic(out / "index.json") as temporary:
            temporary.write_text(json.dumps(index), encoding="utf-8", newline="\n")
        made.remove("prepare.jsonl")
    open_archive.cache_clear()
    return index


def _checked(size: int | tuple[int, int], fps: float | None, rate: int | None) -> tuple[int, int]:
    """Height and width. rate: of the sound, or None where none is wanted."""
    sides = [size, size] if runtime.as_whole(size) is not None else size
    whole = [runtime.as_whole(s) or 0 for s in sides] if isinstance(sides, Sequence) else []
    if len(whole) != 2 or not all(4 <= s <= 4096 for s in whole):
        raise CourseError(f"size={size!r}; pass a whole number of pixels from 4 to 4096, or (height, width)")
    if fps is not None and not 0 < fps <= 1000:
        raise CourseError(f"fps={fps}; pass frames per second above 0, or None for every frame")
    if rate is not None and (
        fps is None or runtime.as_whole(rate) is None or not 1000 <= rate <= 192_000 or rate % fps
    ):
        raise CourseError(
            f"rate={rate!r} and fps={fps}; sound needs a rate of 1000 to 192000 samples a second that is a "
            "multiple of the frames per second, such as rate=8000 and fps=16"
        )
    return whole[0], whole[1]


def _class_names(videos: Sequence[Video], classes: Sequence[str] | None) -> list[str]:
    """In the order of their numbers; those of the videos in alphabetical order, where none are given."""
    there = {v.label for v in videos if v.label}
    known = sorted(there) if classes is None else list(classes)
    if unknown := sorted(there - set(known)):
        raise CourseError(f"{', '.join(unknown[:5])} is none of the {len(known)} classes")
    return known


def _with_progress(
    videos: Sequence[Video], name: str, quiet: bool
) -> Iterator[tuple[Video, Callable[[str], None]]]:
    """Each video, and a function that prints a remark about it above the bar of progress."""
    from tqdm.auto import tqdm

    live = sys.stderr is not None and sys.stderr.isatty()
    with tqdm(
        total=len(videos),
        desc=name,
        unit="video",
        file=sys.stderr,
        disable=quiet or not videos,
        mininterval=0.2 if live else 30,  # in the log of a job a line every half minute is enough
    ) as bar:
        remark = (lambda text: None) if quiet else functools.partial(bar.write, file=sys.stderr)
        for video in videos:
            yield video, remark
            bar.update()


def _contents(videos: Sequence[Video], store: _Workshop, about: dict) -> dict:
    """The index, without its checksum. Videos stand in the order of the source, whatever order they were
    decoded in.
    """
    usable, left_out = [], []
    for video in videos:
        record = store.records.get(video.name)
        if record is not None and "left_out" in record:
            left_out.append([video.name, record["left_out"], record["stamp"]])
        elif record is not None:
            usable.append((video, record))
    folds = sorted(
        {fold for video, _ in usable if isinstance(video.split, Mapping) for fold in video.split}
    ) or [""]
    number = {label: i for i, label in enumerate(about["classes"])}
    columns: dict = {
        key: [record[key] for _, record in usable] for key in ("name", "stamp", "shard", "start", "count")
    }
    columns["class"] = [number.get(video.label, -1) for video, _ in usable]
    columns["group"] = [video.group for video, _ in usable]
    columns["split"] = {
        fold: [v.split.get(fold, "") if isinstance(v.split, Mapping) else v.split for v, _ in usable]
        for fold in folds
    }
    shards = {str(k): entry for k, entry in sorted(store.shards.items())}
    silent = [record["name"] for _, record in usable if record.get("silent")]
    return dict(
        format=FORMAT,
        **about,
        shards=shards,
        videos=columns,
        left_out=left_out,
        **({"silent": silent} if silent else {}),
    )


def _without_checksum(index: dict) -> dict:
    return {k: v for k, v in index.items() if k != "checksum"}


def _digest(index: dict) -> str:
    return hashlib.sha256(json.dumps(_without_checksum(index), sort_keys=True).encode()).hexdigest()


def read_index(folder: str | Path) -> dict | None:
    """The index of a folder of prepared clips; None where there is none, or a damaged one."""
    try:
        index = pages.read(Path(folder) / "index.json", dict[str, Any])
        if index.get("format") != FORMAT or index.get("checksum") != _digest(index):
            return None
        return schema.checked(index)
    except pages.Unfit:
        return None


def begin(folder: str | Path, shared: bool = False) -> Made:
    """Mark a folder as one for clips.

    Args:
        shared: other things may lie in it, as in the course's own folder of a data set.

    Raises:
        CourseError: it holds something, and has neither our mark nor an index or a journal of ours.
    """
    made = Made(folder, _known(Path(folder)))
    made.begin(shared, "name another folder for the clips")
    return made


def _known(folder: Path) -> set[str]:
    """The files of a folder that are ours without a note, because our index or our journal names them: an
    earlier version made no notes."""
    index = read_index(folder)
    numbers: set[int] = set()
    names: set[str] = set()
    if index is not None:
        names.add("index.json")
        numbers |= {int(number) for number in index["shards"]}
    else:
        # torn by a kill, or somebody else's
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            for i, line in enumerate((folder / "prepare.jsonl").read_text(encoding="utf-8").splitlines()):
                entry = json.loads(line)
                if i == 0 and not set(entry["settings"]) >= {"size", "fps"}:
                    return set()
                names.add("prepare.jsonl")
                numbers |= {int(entry[key]) for key in ("shard", "file") if key in entry}
    shards = {shard_file(folder, n, track).name for n in numbers for track in ("frames", "sound")}
    return names | shards | {f"{name}.part" for name in shards}


def is_prepared(folder: str | Path) -> bool:
    """Whether a folder has been written, or begun, by `prepare`."""
    return any((Path(folder) / name).is_file() for name in ("index.json", "prepare.jsonl"))


def damaged(folder: str | Path, index: dict, *, thorough: bool = False) -> dict[str, str]:
    """Which files of a folder of prepared clips are damaged, and why. thorough: also compare checksums, which
    reads everything.
    """
    found = {}
    for number, entry in index["shards"].items():
        for file, wrong in _wrong_with(Path(folder), int(number), entry, index, thorough).items():
            found[file] = wrong
    return found


def shard_file(folder: Path, number: int, track: str = "frames") -> Path:
    """track: "frames" or "sound"."""
    return folder / f"{track}-{number:04d}.npy"


def _tracks(settings: Mapping) -> dict[str, tuple[int, ...]]:
    """Height and width of the "frames", and samples of "sound" that belong to one, of an index or of its
    settings.
    """
    tracks = {"frames": tuple(settings["size"])}
    return (
        tracks | {"sound": (round(settings["rate"] / settings["fps"]),)} if settings.get("rate") else tracks
    )


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
            if (
                file.name not in found
                and thorough
                and download.checksum(file) != entry["sha256" if name == "frames" else name]
            ):
                found[file.name] = "its checksum has changed"
    return found


def _header(frames: int, size: Sequence[int], track: str = "frames") -> bytes:
    """The header of a .npy file, always of the same length: it is written anew when the number of frames is
    known.
    """
    kind, shape = ("|u1", (frames, 3, *size)) if track == "frames" else ("<i2", (frames, *size))
    text = str({"descr": kind, "fortran_order": False, "shape": shape})
    return (
        b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.encode().ljust(HEADER - 11) + b"\n"
    )


class _Workshop:
    """The files of frames while they are being written, and a journal of what is safely in them."""

    def __init__(self, folder: Path, made: Made, settings: dict, limit: int, say: Callable[[str], None]):
        self.folder, self.made, self.settings, self.limit, self.say = folder, made, settings, limit, say
        self.tracks = _tracks(settings)
        self.frame = sum(_bytes(*track) for track in self.tracks.items())
        self.records: dict[str, dict] = {}  # name -> where a video is, or why it is left out
        self.shards: dict[int, dict] = {}  # finished files
        # The files that are being written, by track; their number, and how many frames they have.
        self.files: dict[str, io.FileIO] = {}
        self.number, self.at = -1, 0
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
            for name in index.get("silent", ()):
                if name in self.records:
                    self.records[name]["silent"] = True
            for name, reason, stamp in index["left_out"]:
                self.records[name] = dict(name=name, stamp=stamp, left_out=reason)
            self.shards = {int(k): entry for k, entry in index["shards"].items()}
        elif self.journal.is_file():
            with contextlib.suppress(ValueError):  # a kill may tear the last line
                for line in self.journal.read_text(encoding="utf-8").splitlines():
                    entry = dict(schema.line(line))
                    if "settings" in entry:
                        settings = entry["settings"]
                    elif "sha256" in entry:
                        self.shards[entry.pop("file")] = entry
                    else:
                        self.records[entry["name"]] = entry
        if settings is not None and settings != self.settings:
            there, here = ({k: s[k] for k in s} for s in (settings, self.settings))
            raise CourseError(
                f"{self.folder} was prepared with {there}, now it would be {here}; name another folder, or "
                "delete this one"
            )

    def _verify(self) -> None:
        """Forget what is damaged, so that it is made again; bring the file that was being written back to its
        last whole video.
        """
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
                        # May move: the journal has videos in it; and nothing is at the other name.
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
        return download.checksum(file) if file.is_file() else None

    def _part(self, number: int, track: str) -> Path:
        return self.folder / f"{track}-{number:04d}.npy.part"

    def has(self, video: Video) -> bool:
        """Whether this very video is done. If its source is gone, what is there is all that there is."""
        record = self.records.get(video.name)
        if record is None:
            return False
        stamp = fingerprint(video)
        return stamp == -1 or record["stamp"] in (stamp, size_of(video))  # earlier versions noted the size

    def begin(self) -> None:
        """Write down what holds, and remove files of ours that nothing refers to."""
        used = set(self.shards) | {self.number}
        for number in {int(found[1]) for name in self.made.names if (found := SHARD_NAME.fullmatch(name))}:
            for track in ("frames", "sound"):
                if number not in used:
                    # May go: we noted it, and no video is in it that the index or the journal knows.
                    self.made.remove(shard_file(self.folder, number, track).name)
                if number not in used or number in self.shards:
                    self.made.remove(self._part(number, track).name)  # likewise
        with runtime.atomic(self.journal) as temporary:
            lines = [
                dict(settings=self.settings),
                *self.records.values(),
                *(dict(file=k, **entry) for k, entry in self.shards.items()),
            ]
            temporary.write_text(
                "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8", newline="\n"
            )
        if self.number >= 0:
            self.files = {
                name: self._part(self.number, name).open("r+b", buffering=0) for name in self.tracks
            }
            self._back()

    def _back(self) -> None:
        """To the end of the last whole video."""
        for name, file in self.files.items():
            file.truncate(HEADER + self.at * _bytes(name, self.tracks[name]))
            file.seek(HEADER + self.at * _bytes(name, self.tracks[name]))

    def _note(self, entry: dict) -> None:
        with self.journal.open("a", encoding="utf-8", newline="\n") as journal:
            journal.write(json.dumps(entry) + "\n")

    def add(
        self,
        video: Video,
        stamp: int,
        blocks: Callable[[], Iterator[np.ndarray]],
        sound: Callable[[int], np.ndarray] | None = None,
    ) -> str | None:
        """Write one video behind the last one. Returns why it is left out, or None.

        Args:
            sound: number of frames -> (frames, S); None where there is to be none.
        """
        if not self.files:
            self.number, self.at = self._free_number(), 0
            # Noted first: after a kill this is how we know them again.
            self.made.note(
                *(shard_file(self.folder, self.number, name).name for name in self.tracks),
                *(self._part(self.number, name).name for name in self.tracks),
            )
            self.files = {
                name: self._part(self.number, name).open("w+b", buffering=0) for name in self.tracks
            }
            for name, file in self.files.items():
                file.write(_header(0, self.tracks[name], name))
        count, silent = 0, False
        try:
            for block in blocks():
                self._write("frames", block)
                count += len(block)
            reason = None if count else "it has no frame"
            if count and sound is not None:
                heard = sound(count)
                silent = not heard.any()
                self._write("sound", heard)
        except Unusable as error:
            reason = str(error)
        if reason is not None:
            self._back()
            record = dict(name=video.name, stamp=stamp, left_out=reason)
        else:
            for file in self.files.values():
                os.fsync(file.fileno())  # the note must not outlive the frames
            record = dict(name=video.name, stamp=stamp, shard=self.number, start=self.at, count=count)
            record |= {"silent": True} if silent else {}
            self.at += count
        self.records[video.name] = record
        self._note(record)
        if self.at * self.frame >= self.limit:
            self.close()
        return reason

    def _free_number(self) -> int:
        """Behind all files, also behind those that are not ours."""
        there = [SHARD_NAME.fullmatch(file.name) for file in self.folder.iterdir()]
        strange = [int(found[1]) for found in there if found and found[0] not in self.made]
        return max([-1, *self.shards, *strange]) + 1

    def _write(self, track: str, block: np.ndarray) -> None:
        download.need_space(self.folder, block.nbytes)
        try:
            _write_all(self.files[track], np.ascontiguousarray(block).data.cast("B"))
        except OSError as error:
            raise CourseError(
                f"cannot write {self.files[track].name}: {error.strerror}; make room and call again"
            ) from None

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
                # May replace: both names were noted when neither was there.
                os.replace(self._part(self.number, name), shard_file(self.folder, self.number, name))
            else:
                self.made.remove(self._part(self.number, name).name)  # nothing came into it
        if self.at:
            self.shards[self.number] = self._entry(self.number, self.at)
            self._note(dict(file=self.number, **self.shards[self.number]))
        self.files, self.number, self.at = {}, -1, 0


def _write_all(file, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]
