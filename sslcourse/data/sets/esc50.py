"""Fetch ESC-50 (600 MB) and write it as the recordings that `sslcourse.data.heard.esc50()` reads.

    sslcourse data esc50                             download, verify, decode, resample
    sslcourse data esc50 --rate 8000                 half the size, as ears that learned from the toybox hear
    sslcourse data esc50 --from FILE_OR_FOLDER       the same from an archive, or a folder, that you have

It can be stopped at any moment and typed again: a download goes on behind its last byte where the server
can do that (GitHub, which packs this archive anew, starts over). At 16,000 samples a second it writes one
file of 320 MB, and prints what is in it:

    recordings          2,000  of 80000
    fold 1                400  and so on

Page: https://github.com/karolpiczak/ESC-50 (K. J. Piczak, ESC: Dataset for Environmental Sound
Classification, ACM Multimedia 2015; CC BY-NC, the clips marked esc10 CC BY). Nobody publishes a checksum
of the archive: the CRC-32 of each file in it, the names, which repeat fold, source and class, and the
numbers have to do, and what arrived is noted in download/master.zip.note.json (see --keep).
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslcourse.data import download, heard
from sslcourse.runtime import CourseError, data_dir
from sslcourse.runtime.files import Made
from sslcourse.runtime.options import HERTZ

MIRRORS = ("https://github.com/karolpiczak/ESC-50/archive",)
NAMES = ("master.zip", "ESC-50-master.zip")  # on the server, and as browsers save it
COLUMNS = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
RATE = 16_000


@dataclass(frozen=True)
class Expected:
    """What the author says is there: classes, folds, recordings of each class in each fold, samples a second,
    seconds.
    """

    classes: int = 50
    folds: int = 5
    each: int = 8
    rate: int = 44_100
    seconds: int = 5

    @property
    def count(self) -> int:
        return self.classes * self.folds * self.each


def prepare(
    source: str | Path | None = None,
    folder: str | Path | None = None,
    expected: Expected = Expected(),
    *,
    mirrors: Sequence[str] = MIRRORS,
    rate: int = RATE,
    keep: bool = False,
    quiet: bool = False,
) -> dict:
    """Write `esc50.npz` into `folder` from `source` (an archive or a folder of the user's, or None to
    download).
    """
    folder = Path(folder or data_dir("esc50")).expanduser()
    if not 2000 <= rate <= expected.rate:
        raise CourseError(
            f"rate={rate}; the recordings have {expected.rate:,} samples a second, choose 2000 to that"
        )
    file, downloads = folder / "esc50.npz", folder / "download"
    with download.alone(folder):
        # An earlier version made no notes; in the course's own folder the file is its own all the same.
        made = Made(folder, [file.name] if folder == data_dir("esc50") else ())
        if (heard.shapes(file) or {}).get("audio") != (expected.count, expected.seconds * rate):
            made.begin(shared=True)
            made.note(file.name)
            if source is None:
                made.fetches(f"download/{NAMES[0]}")
            # `download_unsigned` waits for its own folder, so this may hold the outer one meanwhile.
            place = heard.place_of(
                source, NAMES, [m.rstrip("/") + "/" + NAMES[0] for m in mirrors], downloads, quiet
            )
            table = read_table(place, expected)
            heard.store(
                file, audio=read_audio(place, list(table["name"]), expected, rate), rate=rate, **table
            )
        if source is None and not keep:
            made.discard("download")
    with np.load(file, allow_pickle=False) as found:
        folds = Counter(found["fold"].tolist())
    arrays = {
        "recordings": (expected.count, expected.seconds * rate),
        **{f"fold {fold}": (folds[fold],) for fold in sorted(folds)},
    }
    return dict(name="ESC-50", folder=str(folder), arrays=arrays)


def read_table(place: Path, expected: Expected) -> dict[str, np.ndarray]:
    """name, label, fold, source (of the same Freesound recording), esc10 and classes, from meta/esc50.csv,
    once all of it fits together.
    """
    ((_, text),) = heard.files_in(place, {"esc50.csv"})
    reader = csv.DictReader(io.StringIO(text.decode()))
    if reader.fieldnames != COLUMNS:
        raise CourseError(
            f"esc50.csv in {place} has the columns {', '.join(reader.fieldnames or [])}; expected "
            f"{', '.join(COLUMNS)}"
        )
    rows = sorted(reader, key=lambda row: row["filename"])
    for row in rows:
        named = re.fullmatch(r"(\d+)-(\d+)-(\w+)-(\d+)\.wav", row["filename"])
        if not named or list(named.groups()) != [row["fold"], row["src_file"], row["take"], row["target"]]:
            raise CourseError(
                f"{row['filename']} in {place}: its name does not repeat its fold, source, take and class; "
                "is it the published set?"
            )
    name = {int(row["target"]): row["category"] for row in rows}
    in_cell = Counter((row["fold"], row["target"]) for row in {row["filename"]: row for row in rows}.values())
    home = {row["src_file"]: row["fold"] for row in rows}
    counts = (len(rows), len(name), len(set(name.values())), set(in_cell.values()))
    if counts != (expected.count, expected.classes, expected.classes, {expected.each}):
        raise CourseError(
            f"{place} lists {len(rows):,} recordings of {len(name)} classes; expected {expected.count:,} of "
            f"{expected.classes}, {expected.each} of each in each of {expected.folds} folds"
        )
    if stray := [row["filename"] for row in rows if home[row["src_file"]] != row["fold"]]:
        raise CourseError(
            f"{stray[0]} in {place} has its source in another fold too; the published folds never divide one"
        )
    number = lambda column: np.array([int(row[column]) for row in rows])
    return dict(
        name=np.array([row["filename"] for row in rows]),
        label=number("target"),
        fold=number("fold"),
        source=number("src_file"),
        esc10=np.array([row["esc10"] == "True" for row in rows]).astype(np.uint8),
        classes=np.array([name[i] for i in range(len(name))]),
    )


def read_audio(place: Path, names: Sequence[str], expected: Expected, rate: int) -> np.ndarray:
    """(N, seconds * rate) int16, in the order of the names."""
    out: np.ndarray = np.zeros((len(names), expected.seconds * rate), np.int16)
    row = {name: i for i, name in enumerate(names)}
    for name, data in heard.files_in(place, row.keys()):
        audio, own = heard.decoded(data, name)
        if own != expected.rate or abs(len(audio) - expected.seconds * own) > own // 100:
            raise CourseError(
                f"{name} has {len(audio):,} samples at {own:,} Hz; expected {expected.seconds} s at "
                f"{expected.rate:,} Hz"
            )
        audio = heard.resampled(audio, own, rate).numpy()[: out.shape[1]]
        out[row[name], : len(audio)] = audio
    return out


def add_options(parser) -> None:
    parser.add_argument(
        "--rate", type=HERTZ, metavar="N", help=f"samples that are kept of each second (default: {RATE})"
    )


def main(argv: Sequence[str] | None = None) -> int:
    return download.run_script("esc50", prepare, __doc__, data_dir("esc50"), argv, add_options)
