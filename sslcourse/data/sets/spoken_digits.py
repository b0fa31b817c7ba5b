"""Fetch the Free Spoken Digit Dataset (16 MB), which `sslcourse.data.heard.spoken_digits()` reads.

    sslcourse data spoken_digits                          download, verify, decode
    sslcourse data spoken_digits --from FILE_OR_FOLDER    the same from an archive, or a folder, that you have

Ten digits, six speakers, fifty takes of each at 8,000 samples a second. The first five takes test, as the
authors say:

    train               2,700
    test                  300

With pictures of digits they make audio-visual digits: `sslcourse.data.heard.av_digits()`, a constructed
pairing.

Page: https://github.com/Jakobovski/free-spoken-digit-dataset, release 1.0.10 (Z. Jackson et al.,
doi:10.5281/zenodo.1342401; CC BY-SA 4.0). Nobody publishes a checksum of the archive: the CRC-32 of each
file in it, the names and the numbers have to do, and what arrived is noted in
download/v1.0.10.zip.note.json (see --keep).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslcourse.data import download, heard
from sslcourse.runtime import CourseError, data_dir
from sslcourse.runtime.files import Made

MIRRORS = ("https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags",)
NAMES = ("v1.0.10.zip", "free-spoken-digit-dataset-1.0.10.zip", "free-spoken-digit-dataset-master.zip")
TESTED = 5  # the first takes of every speaker and digit


@dataclass(frozen=True)
class Expected:
    """What the authors say is there."""

    speakers: tuple[str, ...] = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
    takes: int = 50
    rate: int = 8_000

    @property
    def tested(self) -> int:
        return 10 * len(self.speakers) * TESTED

    @property
    def trained(self) -> int:
        return 10 * len(self.speakers) * (self.takes - TESTED)


def prepare(
    source: str | Path | None = None,
    folder: str | Path | None = None,
    expected: Expected = Expected(),
    *,
    mirrors: Sequence[str] = MIRRORS,
    keep: bool = False,
    quiet: bool = False,
) -> dict:
    """Write `spoken_digits.npz` into `folder` from `source` (an archive or a folder of the user's, or None to
    download).
    """
    folder = Path(folder or data_dir("spoken_digits")).expanduser()
    file, downloads = folder / "spoken_digits.npz", folder / "download"
    arrays = {"train": (expected.trained,), "test": (expected.tested,)}
    with download.alone(folder):
        # An earlier version made no notes; in the course's own folder the file is its own all the same.
        made = Made(folder, [file.name] if folder == data_dir("spoken_digits") else ())
        there = heard.shapes(file) or {}
        if (there.get("label"), there.get("test_label")) != (arrays["train"], arrays["test"]):
            made.begin(shared=True)
            made.note(file.name)
            if source is None:
                made.fetches(f"download/{NAMES[0]}")
            place = heard.place_of(
                source, NAMES, [m.rstrip("/") + "/" + NAMES[0] for m in mirrors], downloads, quiet
            )
            heard.store(
                file, rate=expected.rate, classes=[str(digit) for digit in range(10)], **read(place, expected)
            )
        if source is None and not keep:
            made.discard("download")
    return dict(name="Free Spoken Digit Dataset", folder=str(folder), arrays=arrays)


def read(place: Path, expected: Expected) -> dict[str, np.ndarray]:
    """audio (end to end), length, label, speaker, take and name of the training takes, and the same of the
    test takes as test_...
    """
    wanted = {
        f"{digit}_{speaker}_{take}.wav": (digit, speaker, take)
        for digit, speaker, take in itertools.product(range(10), expected.speakers, range(expected.takes))
    }
    sounds = {}
    for name, data in heard.files_in(place, wanted):
        sounds[name], rate = heard.decoded(data, name)
        if rate != expected.rate or not len(sounds[name]):
            raise CourseError(
                f"{name} has {len(sounds[name]):,} samples at {rate:,} Hz; expected some at "
                f"{expected.rate:,} Hz"
            )
    found: dict[str, np.ndarray] = {}
    for prefix, part in (("", lambda take: take >= TESTED), ("test_", lambda take: take < TESTED)):
        names = [name for name, (_, _, take) in wanted.items() if part(take)]
        column = lambda k, names=names: np.array([wanted[name][k] for name in names])
        made = dict(
            audio=np.concatenate([sounds[name] for name in names]),
            length=np.array([len(sounds[name]) for name in names]),
            label=column(0),
            speaker=column(1),
            take=column(2),
            name=np.array(names),
        )
        found |= {prefix + key: value for key, value in made.items()}
    return found


def main(argv: Sequence[str] | None = None) -> int:
    return download.run_script("spoken_digits", prepare, __doc__, data_dir("spoken_digits"), argv)
