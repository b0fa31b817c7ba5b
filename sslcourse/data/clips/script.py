"""What all scripts that prepare films share: options, progress, the closing summary."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable
from pathlib import Path

from sslcourse import runtime
from sslcourse.data.clips.prepared import damaged, read_index
from sslcourse.data.clips.source import SUFFIXES
from sslcourse.data.datasets import SPLITS
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import FRAMES, PIXELS

# ------------------------------------------------------------------------------ what data scripts share


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of a command that prepares videos."""
    parser.add_argument(
        "--size",
        type=PIXELS,
        metavar="PIXELS",
        help="side of the square that is cut from the centre (default: 64)",
    )
    parser.add_argument(
        "--fps", type=FRAMES, metavar="N", help="frames that are kept of each second (default: 8)"
    )


def command(words: str, folder: str | Path, **options) -> str:
    """What to type to prepare this folder again: the command with what differs from its defaults."""
    home = "" if Path(folder) == runtime.data_dir(words) else f" --to {folder}"
    given = "".join(f" --{name} {value}" for name, value in options.items())
    return f"sslcourse data {words}{home}{given}"


def finished(folder: str | Path, size: int | tuple[int, int], fps: float | None) -> dict | None:
    """The index of a folder that is complete, of these settings, and whose checksums are right; else None."""
    index, sides = read_index(folder), list(size) if isinstance(size, tuple) else [int(size)] * 2
    if index is None or (index["size"], index["fps"]) != (sides, fps):
        return None
    return None if damaged(folder, index, thorough=True) else index


def summary(index: dict, folder: str | Path) -> dict:
    """What the command prints: counts of videos and frames, and of every split of every fold."""
    videos = index["videos"]
    arrays: dict = {
        "videos": (len(videos["name"]),),
        "left out": (len(index["left_out"]),),
        **({"silent": (len(silent),)} if (silent := index.get("silent")) else {}),
        "classes": (len(index["classes"]),),
        "frames": (sum(videos["count"]), 3, *index["size"]),
    }
    for fold, parts in videos["split"].items():
        for part in SPLITS:
            if part in parts:
                arrays[f"{'fold ' + fold + ' ' if fold else ''}{part}"] = (parts.count(part),)
    return dict(name=index["name"], folder=str(folder), arrays=arrays, index=index)


def by_file_name(names: Iterable[str], where: str, wanted: Collection[str]) -> dict[str, str]:
    """{file name in small letters: path} of the videos among the paths; lists and archives do not agree about
    capitals.

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
        raise CourseError(
            f"{len(missing):,} of the {len(wanted):,} videos are missing, such as {missing[0]}; is "
            f"{where} whole?"
        )
    return found
