"""Prepare videos with their sound: your own, or those of AVE and VGGSound that you have.

    sslcourse data av_folder VIDEOS --to CLIPS                       a folder, see below
    sslcourse data av_folder VIDEOS --to CLIPS --list vggsound.csv   classes and splits from a list
    sslcourse data av_folder VIDEOS --to CLIPS --list train=trainSet.txt --list test=testSet.txt

Nothing is downloaded: the videos of both sets belong to those who filmed them, and their hosts allow no
redistribution. The lists are public: AVE's trainSet.txt, valSet.txt and testSet.txt (lines
CLASS&ID&QUALITY&START&END; Y. Tian et al., ECCV 2018), VGGSound's vggsound.csv (lines
ID,START,CLASS,SPLIT; H. Chen et al., ICASSP 2020). A video is found by its name: ID, ID_START, or
ID_START with six digits, whatever its suffix. Those of a list that are not there are counted, so a part
of a set will do.

Without a list, VIDEOS is a folder as for `sslcourse data videos`: one subfolder for each class, or videos
alone. Each second keeps 16 frames of 64 pixels and 8,000 samples of the sound of those very moments, as
the toybox has them; a video without sound is named and left out. It can be stopped at any moment and
typed again. It needs PyAV (pip install av); an hour is 760 MB. Then:

    data = sslcourse.data.clips.open("CLIPS", frames=16)     batches have "video" and "audio"
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from sslcourse.data import clips, download, folders
from sslcourse.runtime import CourseError
from sslcourse.runtime.options import FRAMES, HERTZ, PIXELS, Parser

FPS, RATE = 16.0, 8000


def read_list(argument: str) -> list[tuple[str, int, str, str]]:
    """(ID, start in seconds, class, split) of each line of "FILE" or "SPLIT=FILE"."""
    split, _, name = argument.partition("=")
    if not folders.part_of(split) or not name:
        split, name = "", argument
    try:
        text = Path(name).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CourseError(
            f"{name} cannot be read ({reason}); pass a list as AVE or VGGSound publish it"
        ) from None
    found = []
    for row in (
        csv.reader(text.splitlines())
        if name.endswith(".csv")
        else (line.split("&") for line in text.splitlines())
    ):
        if not row or row == ["Category", "VideoID", "Quality", "StartTime", "EndTime"]:
            continue
        if name.endswith(".csv") and len(row) == 4 and row[1].strip().isdigit():
            found.append((row[0], int(row[1]), row[2].strip(), split or row[3].strip()))
        elif not name.endswith(".csv") and len(row) == 5:
            found.append((row[1], 0, row[0].strip(), split))
        else:
            raise CourseError(
                f"{name} has the line {','.join(row)!r}; expected ID,START,CLASS,SPLIT in a .csv file, "
                "else CLASS&ID&QUALITY&START&END"
            )
    if unknown := sorted({part for *_, part in found if part and not folders.part_of(part)}):
        raise CourseError(f"{name} has the split {unknown[0]!r}; expected train, validation or test")
    return found


def listed(folder: str | Path, lists: Iterable[str]) -> tuple[list[clips.Video], int]:
    """The videos of the lists that are there, and how many are not."""
    files: dict[str, Path] = {}
    for video in clips.videos_in(folder):
        if video.file.is_file():
            files.setdefault(video.file.stem, video.file)
    videos, missing = {}, 0
    for name, start, label, split in [entry for argument in lists for entry in read_list(argument)]:
        stem = next(
            (stem for stem in (f"{name}_{start:06d}", f"{name}_{start}", name) if stem in files), None
        )
        if stem is None:
            missing += 1
            continue
        # Two moments of one film, under one class, must not be divided between training and validation.
        videos[stem] = clips.Video(
            files[stem], label, folders.part_of(split) or "", group=name, name=files[stem].name
        )
    if not videos:
        raise CourseError(
            f"none of the {missing:,} listed videos is in {folder}; a file should be called ID.mp4, or "
            "ID_000030.mp4 for second 30"
        )
    return list(videos.values()), missing


def prepare(
    source: str | Path,
    out: str | Path,
    lists: Sequence[str] = (),
    *,
    size: int = 64,
    fps: float = FPS,
    rate: int = RATE,
    quiet: bool = False,
) -> dict:
    """Write the folder of clips `out`. Returns what the command prints."""
    videos, missing = listed(source, lists) if lists else (source, 0)
    again = clips.command(f"av_folder {source}", out, size=size, fps=fps, rate=rate) + "".join(
        f" --list {name}" for name in lists
    )
    index = clips.prepare(
        videos,
        out,
        size=size,
        fps=fps,
        sound=True,
        rate=rate,
        name=Path(out).expanduser().resolve().name,
        again=again,
        quiet=quiet,
    )
    meta = clips.summary(index, out)
    return meta | {
        "arrays": {
            **meta["arrays"],
            "samples a second": (rate,),
            **({"not there": (missing,)} if lists else {}),
        }
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        "sslcourse data av_folder", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="VIDEOS", help="the folder of videos")
    parser.add_argument("--to", metavar="CLIPS", required=True, help="the folder to write")
    parser.add_argument(
        "--list", dest="lists", metavar="[SPLIT=]LIST", action="append", default=[], help="may be repeated"
    )
    parser.add_argument(
        "--size",
        type=PIXELS,
        metavar="PIXELS",
        default=64,
        help="side of the square that is cut from the centre (default: 64)",
    )
    parser.add_argument(
        "--fps",
        type=FRAMES,
        metavar="N",
        default=FPS,
        help="frames that are kept of each second (default: 16)",
    )
    parser.add_argument(
        "--rate",
        type=HERTZ,
        metavar="N",
        default=RATE,
        help="samples that are kept of each second (default: 8000)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    download.add_json(parser)
    given = parser.parse_args(argv)
    return download.run_and_report(
        parser.prog,
        given.to,
        lambda: prepare(
            given.source,
            given.to,
            given.lists,
            size=given.size,
            fps=given.fps,
            rate=given.rate,
            quiet=given.quiet,
        ),
        given.json,
    )
