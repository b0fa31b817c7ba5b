"""Finding videos: files, folders of pictures and members of archives, one folder for each class."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sslcourse.data import folders
from sslcourse.data.datasets import SPLITS
from sslcourse.runtime.errors import CourseError

# ------------------------------------------------------------------------------ what there is to prepare

SUFFIXES = (
    ".3g2",
    ".3gp",
    ".asf",
    ".avi",
    ".flv",
    ".m2ts",
    ".m4v",
    ".mjpeg",
    ".mkv",
    ".mov",
    ".mp4",
    ".mpeg",
    ".mpg",
    ".mxf",
    ".mts",
    ".ogv",
    ".ts",
    ".vob",
    ".webm",
    ".wmv",
)


@dataclass(frozen=True)
class Video:
    """One video of a source.

    Args:
        file: a video file; a folder of frames, which are numbered in the order of time; or a .zip archive.
        label: name of its class, "" where there is none.
        split: "train", "validation" or "test"; "" to leave that to `open`. Where there are several official
            folds, {fold: split}; a video that has none in a fold does not belong to it.
        group: videos of one class and one group (the same room, the same film) are never divided between
            train and validation.
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
    """The videos of a folder, in the order of their names. What is hidden, at any depth, is passed over;
    links are followed.

    A subfolder is a class and may hold video files (however deep) and folders of frames; a subfolder that
    holds pictures itself is a video without a class. If all subfolders are called train, validation and test,
    or what else means these (see `folders.part_of`), those are the splits.

    Warns:
        UserWarning: what was passed over: files of other kinds, hidden folders that hold videos, classes
            without a video."""
    folder = folders.existing(folder)
    remarks = folders.Remarks(folder)
    below = _subfolders(folder, remarks)
    parts = {p.name: folders.part_of(p.name) for p in below}
    if below and any(parts.values()) and all(part is not None for part in parts.values()):
        found = [
            replace(v, split=parts[p.name] or "", name=f"{p.name}/{v.name}")
            for p in below
            if parts[p.name]
            for v in _videos_of_classes(p, remarks)
        ]
        for p in below:
            if not parts[p.name]:
                remarks.add(f"{p.name} is passed over: it has no classes to be judged by")
        for file in _video_files(folders.walk_one(folder, remarks), remarks):
            remarks.skip(file, "beside the splits")
    else:
        found = _videos_of_classes(folder, remarks)
    if not found:
        raise CourseError(
            f"no video in {folder}; it should hold files that end in {', '.join(SUFFIXES)}, or folders of "
            "frames"
        )
    remarks.warn()
    if any(v.label for v in found) and (stray := [v.name for v in found if not v.label]):
        more = " ..." if len(stray) > 3 else ""
        raise CourseError(
            f"{', '.join(stray[:3])}{more} in {folder} belongs to no class, others do; move it into a "
            "subfolder, or away"
        )
    return found


def natural(path: Path) -> list:
    """A key that sorts frame2 before frame10."""
    return [
        (0, int(piece), "") if piece.isdecimal() else (1, 0, piece)
        for piece in re.split(r"(\d+)", path.stem)
        if piece
    ]


def pictures_in(folder: Path) -> list[Path]:
    """The frames of a folder, in the order of time."""
    files = folders.walk_one(folder, folders.Remarks(folder))
    return sorted((p for p in files if p.suffix.lower() in folders.PICTURES), key=natural)


def _subfolders(folder: Path, remarks: folders.Remarks) -> list[Path]:
    return sorted(folders.subfolders(folder, remarks, SUFFIXES), key=natural)


def _videos_of_classes(folder: Path, remarks: folders.Remarks) -> list[Video]:
    found = [Video(p, name=p.name) for p in _video_files(folders.walk_one(folder, remarks), remarks)]
    for sub in _subfolders(folder, remarks):
        if pictures_in(sub):
            found.append(Video(sub, name=sub.name))
            continue
        files = [*folders.walk(sub, remarks, SUFFIXES)]
        videos = _video_files(files, remarks)
        inner = {p.parent for p in files if p.suffix.lower() in folders.PICTURES}
        found += [
            Video(p, sub.name, name=p.relative_to(folder).as_posix())
            for p in [*videos, *sorted(inner, key=natural)]
        ]
        if not videos and not inner:
            remarks.add(f"the folder {remarks.name(sub)} is no class: it holds no video")
    return found


def _video_files(paths: Iterable[Path], remarks: folders.Remarks) -> list[Path]:
    """The videos among these files; of the others, those that are no pictures are noted."""
    videos = []
    for path in paths:
        if path.suffix.lower() in SUFFIXES:
            videos.append(path)
        elif path.suffix.lower() not in folders.PICTURES:
            remarks.other(path)
    return sorted(videos, key=natural)


def as_videos(source: str | Path | Iterable) -> list[Video]:
    """A folder, or a list of `Video` or of (file, class, split), as videos with names that differ."""
    if isinstance(source, (str, Path)):
        return videos_in(source)
    found = []
    for entry in source:
        video = (
            entry
            if isinstance(entry, Video)
            else Video(*([entry] if isinstance(entry, (str, Path)) else entry))
        )
        file = Path(video.file).expanduser()
        found.append(replace(video, file=file, label=video.label or "", split=video.split or ""))
    if not found:
        raise CourseError("there is no video in this list")
    short = [v.name or v.member or v.file.name for v in found]
    names = (
        short if len(set(short)) == len(short) else [v.name or v.member or v.file.as_posix() for v in found]
    )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CourseError(f"two videos are called {twice!r}; give them names: Video(file, ..., name='other')")
    found = [replace(v, name=name) for v, name in zip(found, names)]
    for video in found:
        for part in video.split.values() if isinstance(video.split, Mapping) else [video.split]:
            if part not in ("", *SPLITS):
                raise CourseError(f"split {part!r} of {video.name} is none of {', '.join(SPLITS)}")
    if len({"folds" if isinstance(v.split, Mapping) else bool(v.split) for v in found}) > 1:
        raise CourseError(
            "some videos have a split and others have none; give one to every video, or to none (with "
            "folds: split={fold: part})"
        )
    if 0 < sum(bool(v.label) for v in found) < len(found):
        raise CourseError(
            f"{next(v.name for v in found if not v.label)} belongs to no class, others do; name its class, "
            "or leave it out"
        )
    return found
