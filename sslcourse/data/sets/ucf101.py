"""Fetch UCF101 (7 GB) and write it as clips that `sslcourse.data.clips.ucf101()` reads.

    sslcourse data ucf101                            download, verify, decode
    sslcourse data ucf101 --size 128 --fps 10        larger and smoother
    sslcourse data ucf101 --from FOLDER              the same from files that you have

It can be stopped at any moment and typed again: the download goes on behind its last byte, the decoding
behind its last video. It needs PyAV (pip install av) and, at 64 pixels and 8 frames a second, about 18 GB
of disk, 10 GB in the end; that grows with fps and with the square of the size. At the end it prints how
many videos each of the three official folds has:

    videos             13,320
    fold 1 train        9,537
    fold 1 test         3,783  and so on

FOLDER holds UCF101TrainTestSplits-RecognitionTask.zip and the videos: UCF101_videos.zip, or the original
UCF101.rar (then one of unrar, unar and bsdtar must be installed), or the unpacked videos. Lists and
videos are compared name by name and counted.

Page: https://www.crcv.ucf.edu/data/UCF101.php (K. Soomro, A. Zamir, M. Shah, 2012). The zip holds the
same videos and comes from the THUMOS challenge of the same group. No authors' checksums exist; the sha256
of both zips are those of TensorFlow Datasets (url_checksums/ucf101.txt). Of UCF101.rar no checksum is
known: its own checks, the names and the numbers have to do.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sslcourse.data import clips, download, folders
from sslcourse.runtime import CourseError, data_dir
from sslcourse.runtime.files import Made

VIDEOS = "https://storage.googleapis.com/thumos14_files"
LISTS = "https://www.crcv.ucf.edu/data/UCF101"


@dataclass(frozen=True)
class Expected:
    """The two archives, and what the authors say is in them: videos, classes, folds, and (train, test) of the
    first fold.
    """

    videos: download.Remote = download.Remote(
        "UCF101_videos.zip",
        6_960_400_115,
        sha256="dabf56f573cd19c79e096563529fec8126a2a34e18e10c72eb621dd687532b0d",
    )
    lists: download.Remote = download.Remote(
        "UCF101TrainTestSplits-RecognitionTask.zip",
        113_943,
        sha256="5c0d1a53b8ed364a2ac830a73f405e51bece7d98ce1254fd19ed4a36b224bd27",
    )
    count: int = 13_320
    classes: int = 101
    folds: tuple[str, ...] = ("1", "2", "3")
    first: tuple[int, int] = (9_537, 3_783)


def prepare(
    source: str | Path | None = None,
    folder: str | Path | None = None,
    expected: Expected = Expected(),
    *,
    mirrors: Sequence[str] | None = None,
    size: int = 64,
    fps: float = 8.0,
    keep: bool = False,
    quiet: bool = False,
) -> dict:
    """Write the clips into `folder` from `source` (a folder or file of the user's, or None to download)."""
    folder = Path(folder or data_dir("ucf101")).expanduser()
    downloads, unpacked = folder / "download", folder / "unpacked"
    index, made = clips.finished(folder, size, fps), Made(folder)
    if index is None:
        made = clips.begin(folder, shared=folder == data_dir("ucf101"))
        if source is None:
            for remote in (expected.lists, expected.videos):
                made.fetches(f"download/{remote.name}")
        urls = lambda home, remote: [m.rstrip("/") + "/" + remote.name for m in mirrors or [home]]
        local = Path(source).expanduser() if source is not None else None
        beside = local.parent if local is not None and local.is_file() else local
        get = lambda here, home, remote: download.local_or_download(
            here,
            urls(home, remote),
            downloads / remote.name,
            sha256=remote.sha256,
            md5=remote.md5,
            size=remote.size,
            quiet=quiet,
        )
        classes, entries = read_lists(get(beside, LISTS, expected.lists), expected)
        if local is not None and beside is not None:
            rar = local if local.suffix == ".rar" else beside / "UCF101.rar"
            if rar.is_file():
                if not unpacked.is_dir():
                    download.unrar(rar, unpacked)
                    made.holds("unpacked")
                beside = unpacked
        zipped = local is None or beside is None or (beside / expected.videos.name).is_file()
        if zipped or beside is None or (local is not None and local.suffix == ".zip"):
            archive = get(local, VIDEOS, expected.videos)
            with zipfile.ZipFile(archive) as opened:
                names = opened.namelist()
            where = lambda path: dict(file=archive, member=path)
        else:
            archive = beside
            names = [p.as_posix() for p in folders.files_below(beside)]
            where = lambda path: dict(file=Path(path))
        paths = clips.by_file_name(names, str(archive), entries)
        videos = [
            clips.Video(**where(paths[base]), label=label, split=split, group=_group(base), name=base)
            for base, (label, split) in entries.items()
        ]
        index = clips.prepare(
            videos,
            folder,
            size=size,
            fps=fps,
            name="UCF101",
            classes=classes,
            quiet=quiet,
            again=clips.command("ucf101", folder, size=size, fps=fps),
        )
    if not keep:
        for used in ["unpacked", *([] if source else ["download"])]:
            made.discard(used)
    return clips.summary(index, folder)


def _group(name: str) -> str:
    """Of v_Archery_g01_c02.avi: g01, which names the film that a video was cut from."""
    found = re.search(r"_(g\d+)_", name)
    if found is None:
        raise CourseError(f"{name} is no video of UCF101: its name has no group such as _g01_")
    return found[1]


def read_lists(archive: Path, expected: Expected) -> tuple[list[str], dict[str, tuple[str, dict[str, str]]]]:
    """The classes in the order of their numbers, and {file name in small letters: (class, {fold: part})} in
    the order of the classes.
    """
    wanted = {f"{part}list0{fold}.txt": (fold, part) for fold in expected.folds for part in ("train", "test")}
    texts = {}
    for name, size, stream in download.members(archive, {*wanted, "classInd.txt"}):
        texts[name] = [
            line.split()
            for line in download.read_exactly(stream, size, name).decode().splitlines()
            if line.strip()
        ]
    classes = [label for _, label in sorted((int(number), label) for number, label in texts["classInd.txt"])]
    spelled = {label.lower(): label for label in classes}
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for name, (fold, part) in wanted.items():
        for path, *_ in texts[name]:
            folder, _, file = path.partition("/")
            label = spelled.get(folder.lower(), "")
            known, split = found.setdefault(file.lower(), (label, {}))
            if not label or known != label or fold in split:
                raise CourseError(
                    f"{name} in {archive} has {path!r}, which is twice in a fold or of an unknown class; "
                    "fetch it again"
                )
            split[fold] = part
    count = lambda fold, part: sum(split.get(fold) == part for _, split in found.values())
    first = (count(expected.folds[0], "train"), count(expected.folds[0], "test"))
    in_all = all(len(split) == len(expected.folds) for _, split in found.values())
    if (len(found), len(classes), first, in_all) != (expected.count, expected.classes, expected.first, True):
        raise CourseError(
            f"{archive} lists {len(found):,} videos of {len(classes)} classes, {first} of them to train and "
            f"test in the first fold; expected {expected.count:,}, {expected.classes} and {expected.first}, "
            "and every video in every fold"
        )
    return classes, dict(sorted(found.items(), key=lambda entry: (classes.index(entry[1][0]), entry[0])))


def main(argv: Sequence[str] | None = None) -> int:
    return download.run_script("ucf101", prepare, __doc__, data_dir("ucf101"), argv, clips.add_options)
