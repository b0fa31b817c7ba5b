"""Fetch DAVIS 2017 (0.8 GB) or 2016 (1.9 GB): films with masks that `sslcourse.data.clips.davis()` reads.

    sslcourse data davis                             DAVIS 2017, several objects, 480 pixels high
    sslcourse data davis --year 2016                 DAVIS 2016, one object
    sslcourse data davis --from DAVIS-2017-trainval-480p.zip   the same from a file that you have

It can be stopped at any moment and typed again: it goes on where it was. It needs 2 GB of disk, 1.2 GB in
the end (2016: 4 GB). It leaves the sequences as they are (JPEG, and PNG for the masks) and, to train on,
prepares all frames without their masks as clips of 64 x 112 pixels that `sslcourse.data.clips.open`
reads: the official validation sequences are their test split. At the end it prints

    train sequences        60
    train frames        4,209
    val sequences          30
    val frames          1,999

Page: https://davischallenge.org (F. Perazzi et al., 2016; J. Pont-Tuset et al., 2017). The sha256 of the
archive of 2017 is that of TensorFlow Datasets (video/davis/checksums.tsv), the md5 of 2016 that of the
authors' own script (data/get_davis.sh).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sslcourse.data import clips, download, folders
from sslcourse.runtime import CourseError, data_dir
from sslcourse.runtime.files import Made
from sslcourse.runtime.options import PIXELS, Number

HOMES = {
    2017: "https://data.vision.ee.ethz.ch/csergi/share/davis",
    2016: "https://graphics.ethz.ch/Downloads/Data/Davis",
}


@dataclass(frozen=True)
class Expected:
    """An archive, how many sequences its lists have, and how many frames they have together."""

    archive: download.Remote
    sequences: Mapping[str, int]
    frames: int


EXPECTED = {
    2017: Expected(
        download.Remote(
            "DAVIS-2017-trainval-480p.zip",
            832_766_765,
            sha256="e3d0b5b77c3d031b000a19e0e25e3e2cac65d183755601bc2cf066df1a2aa492",
        ),
        dict(train=60, val=30),
        6_208,
    ),
    2016: Expected(
        download.Remote("DAVIS-data.zip", md5="0cb3cf9c5617209fa3cc4794e52a2ffa"),
        dict(train=30, val=20),
        3_455,
    ),
}


def prepare(
    source: str | Path | None = None,
    folder: str | Path | None = None,
    expected: Expected | None = None,
    *,
    year: int = 2017,
    mirrors: Sequence[str] | None = None,
    size: int = 64,
    keep: bool = False,
    quiet: bool = False,
) -> dict:
    """Unpack the sequences into `folder`/sequences and prepare clips in `folder`/clips, from `source` (a
    file, its folder, or None).
    """
    expected = expected or EXPECTED[year]
    folder = Path(folder or data_dir(f"davis{year}")).expanduser()
    sequences, remote = folder / "sequences", expected.archive
    made = Made(folder)
    if not sequences.is_dir():  # it appears once it is complete
        made.begin(shared=True)
        if source is None:
            made.fetches(f"download/{remote.name}")
        urls = [m.rstrip("/") + "/" + remote.name for m in mirrors or [HOMES[year]]]
        archive = download.local_or_download(
            source,
            urls,
            folder / "download" / remote.name,
            sha256=remote.sha256,
            md5=remote.md5,
            size=remote.size,
            quiet=quiet,
        )
        download.unpack(archive, sequences)
        made.holds("sequences")
    root = sequences / "DAVIS"
    for kind in ("JPEGImages", "Annotations"):  # the archive of 2016 has every frame twice
        made.discard(f"sequences/DAVIS/{kind}/1080p")
    arrays: dict[str, tuple[int, ...]] = {}
    videos: list[clips.Video] = []
    for part, split in (("train", "train"), ("val", "test")):
        names = clips.sequences(sequences, part, year=year).names
        arrays |= {
            f"{part} sequences": (len(names),),
            f"{part} frames": (sum(_frames(root, name) for name in names),),
        }
        videos += [clips.Video(root / "JPEGImages" / "480p" / name, split=split) for name in names]
    found = {part: arrays[f"{part} sequences"][0] for part in ("train", "val")}
    count = sum(arrays[f"{part} frames"][0] for part in found)
    if found != dict(expected.sequences) or count != expected.frames:
        raise CourseError(
            f"{sequences} has {found} sequences of {count:,} frames; expected {dict(expected.sequences)} and "
            f"{expected.frames:,}. Delete {sequences} and type the same again"
        )
    width = round(size * 854 / 480 / 16) * 16
    index = clips.prepare(
        videos,
        folder / "clips",
        size=(size, width),
        fps=None,
        name=f"DAVIS {year}",
        quiet=quiet,
        again=clips.command("davis", folder, year=year, size=size),
    )
    if source is None and not keep:
        made.discard("download")
    return dict(
        name=f"DAVIS {year}",
        folder=str(folder),
        arrays={**arrays, "clips": (len(index["videos"]["name"]), 3, size, width)},
    )


def _frames(root: Path, name: str) -> int:
    """How many frames a sequence has. CourseError where one has no mask."""
    stems = [
        {p.stem for p in (root / kind / "480p" / name).glob(f"*{suffix}") if not folders.is_hidden(p.name)}
        for kind, suffix in (("JPEGImages", ".jpg"), ("Annotations", ".png"))
    ]
    if stems[0] != stems[1]:
        raise CourseError(
            f"{name} in {root} has {len(stems[0])} frames but {len(stems[1])} masks; delete {root.parent} "
            "and type the same again"
        )
    return len(stems[0])


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--year", type=Number(2016, 2017), choices=(2017, 2016), help="2017 (default) or 2016"
    )
    parser.add_argument(
        "--size", type=PIXELS, metavar="PIXELS", help="height of the prepared clips (default: 64)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    def run(folder: str | None = None, year: int = 2017, **options) -> dict:
        return prepare(folder=folder or data_dir(f"davis{year}"), year=year, **options)

    return download.run_script("davis", run, __doc__, None, argv, add_options)
