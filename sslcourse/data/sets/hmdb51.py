"""Fetch HMDB51 (2 GB) from its authors and write it as clips that `sslcourse.data.clips.hmdb51()` reads.

    sslcourse data hmdb51                            download, unpack, decode
    sslcourse data hmdb51 --size 128 --fps 10        larger and smoother
    sslcourse data hmdb51 --from FOLDER              the same from files that you have

It can be stopped at any moment and typed again: the download goes on behind its last byte, the decoding
behind its last video. It needs PyAV (pip install av), a program that unpacks .rar (unrar, unar or bsdtar)
and, at 64 pixels and 8 frames a second, about 7 GB of disk, 2 GB in the end. At the end it prints how
many videos there are, and in each of the three official folds:

    videos              6,766
    fold 1 train        3,570
    fold 1 test         1,530  and so on

FOLDER holds hmdb51_org.rar and test_train_splits.rar, or what is in them, unpacked. In each fold, 70
videos of a class train and 30 test; the rest is in neither.

Page: https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database (H. Kuehne et al.,
2011; CC BY 4.0). The md5 of the lists is torchvision's. Nobody publishes a checksum of the videos: their
archives' own checks, the names in the lists and the numbers have to do, and what arrived is noted in
download/hmdb51_org.rar.note.json.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sslcourse.data import clips, download, folders
from sslcourse.runtime import CourseError, data_dir
from sslcourse.runtime.files import Made

MIRRORS = ("https://serre-lab.clps.brown.edu/wp-content/uploads/2013/10",)
VIDEOS = "hmdb51_org.rar"
PARTS = {"0": None, "1": "train", "2": "test"}  # as the lists write them


@dataclass(frozen=True)
class Expected:
    """The archive of the lists, and what the authors say is in both: videos, classes, folds, and videos of a
    class in (train, test).
    """

    lists: download.Remote = download.Remote("test_train_splits.rar", md5="15e67781e70dcfbdce2d7dbb9b3344b5")
    count: int = 6_766
    classes: int = 51
    folds: int = 3
    per_class: tuple[int, int] = (70, 30)


def prepare(
    source: str | Path | None = None,
    folder: str | Path | None = None,
    expected: Expected = Expected(),
    *,
    mirrors: Sequence[str] = MIRRORS,
    size: int = 64,
    fps: float = 8.0,
    keep: bool = False,
    quiet: bool = False,
) -> dict:
    """Write the clips into `folder` from `source` (a folder of the user's, or None to download)."""
    folder = Path(folder or data_dir("hmdb51")).expanduser()
    downloads, unpacked = folder / "download", folder / "unpacked"
    index, made = clips.finished(folder, size, fps), Made(folder)
    if index is None:
        made = clips.begin(folder, shared=folder == data_dir("hmdb51"))
        given = _local_folder(source)
        if given is None or (given / VIDEOS).is_file():
            download.rar_programs()  # missing? Then say so before two gigabytes are fetched
            urls = lambda name: [m.rstrip("/") + "/" + name for m in mirrors]
            remote = expected.lists
            if source is None:
                for file in (remote.name, VIDEOS):
                    made.fetches(f"download/{file}")
            archive = download.local_or_download(
                given,
                urls(remote.name),
                downloads / remote.name,
                md5=remote.md5,
                sha256=remote.sha256,
                quiet=quiet,
            )
            lists = _unpack(archive, unpacked / "lists", made)
            archive = (
                given / VIDEOS
                if given
                else download.download_unsigned(
                    urls(VIDEOS), downloads / VIDEOS, download.examine_rar, quiet=quiet
                )
            )
            for inner in sorted(_unpack(archive, unpacked / "classes", made).rglob("*.rar")):
                _unpack(inner, unpacked / "videos" / inner.stem, made)
            place = unpacked / "videos"
        else:
            place = lists = given
        classes, entries = read_lists(lists, expected)
        paths = clips.by_file_name((p.as_posix() for p in folders.files_below(place)), str(place), entries)
        videos = [
            clips.Video(
                Path(paths[base]), label, split, group=base.partition(f"_{label.lower()}_")[0], name=base
            )
            for base, (label, split) in entries.items()
        ]
        index = clips.prepare(
            videos,
            folder,
            size=size,
            fps=fps,
            name="HMDB51",
            classes=classes,
            quiet=quiet,
            again=clips.command("hmdb51", folder, size=size, fps=fps),
        )
    if not keep:
        for used in ["unpacked", *([] if source else ["download"])]:
            made.discard(used)
    return clips.summary(index, folder)


def _local_folder(source: str | Path | None) -> Path | None:
    if source is None:
        return None
    place = Path(source).expanduser()
    if not place.is_dir():
        raise CourseError(
            f"{place} is no folder; pass the one that holds {VIDEOS} and test_train_splits.rar, or what is "
            "them"
        )
    return place


def _unpack(archive: Path, folder: Path, made: Made) -> Path:
    if not folder.is_dir():
        download.unrar(archive, folder)
        made.holds(folder.relative_to(made.folder).as_posix())
    return folder


def read_lists(folder: Path, expected: Expected) -> tuple[list[str], dict[str, tuple[str, dict[str, str]]]]:
    """The classes in alphabetical order, and {file name in small letters: (class, {fold: part})}.

    The lists are called CLASS_test_split1.txt; a line is the name of a video and 1 to train, 2 to test, 0 for
    neither."""
    found: dict[str, tuple[str, dict[str, str]]] = {}
    tables: dict[tuple[str, str], list[str]] = {}
    for file in folders.files_below(folder):
        if not fnmatch.fnmatchcase(file.name, "*_test_split?.txt"):
            continue
        called = re.fullmatch(r"(.+)_test_split(\d)\.txt", file.name)
        if called is None:
            raise CourseError(f"{file} is no list of HMDB51; they are called CLASS_test_split1.txt")
        label, fold = called.groups()
        for line in file.read_text(encoding="utf-8").splitlines():
            if not line.strip():
                continue
            name, _, part = line.strip().rpartition(" ")
            if part not in PARTS:
                raise CourseError(f"{file} has the line {line.strip()!r}; expected a name and 0, 1 or 2")
            known, split = found.setdefault(name.strip().lower(), (label, {}))
            if known != label or fold in split:
                raise CourseError(f"{file.name} names {name.strip()!r} again; fetch the lists anew")
            split[fold] = PARTS[part] or ""
            tables.setdefault((label, fold), []).append(part)
    classes = sorted({label for label, _ in tables})
    wrong = [
        f"{label} in fold {fold} has {table.count('1')} and {table.count('2')}"
        for (label, fold), table in tables.items()
        if (table.count("1"), table.count("2")) != expected.per_class
    ]
    if (len(found), len(classes), len(tables)) != (
        expected.count,
        expected.classes,
        expected.classes * expected.folds,
    ) or wrong:
        raise CourseError(
            f"{folder} lists {len(found):,} videos of {len(classes)} classes in {len(tables)} files; "
            f"expected {expected.count:,}, {expected.classes} and {expected.classes * expected.folds}, with "
            f"{expected.per_class} of a "
            "class in train and test" + (f"; {wrong[0]}" if wrong else "")
        )
    return classes, found


def main(argv: Sequence[str] | None = None) -> int:
    return download.run_script("hmdb51", prepare, __doc__, data_dir("hmdb51"), argv, clips.add_options)
