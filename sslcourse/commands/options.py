"""What several commands share: the option for the data, progress on the error stream, results as text or
JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from sslcourse.runtime import text as texts
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import PIXELS


def add_data_option(sub, default: str | None = "toybox", sized: bool = True) -> None:
    sub.add_argument(
        "--data",
        default=default,
        help="toybox, toybox:BACKGROUND, digits, cifar10, stl10, mnist, a .npz file of your "
        "own arrays (image, label[, test_image, test_label]; for sounds audio, rate, label), or a folder "
        "with one subfolder per class (or with train and test, which hold the classes); "
        "sounds: esc50, spokendigits; films: toyvideos, toytracks, "
        "movingdigits, with sound toyevents, toyscenes, avdigits, or a folder of prepared clips",
    )
    if sized:
        sub.add_argument(
            "--size",
            type=PIXELS,
            metavar="PIXELS",
            help="side of the pictures of a folder (default: 32), of digits, mnist or stl10",
        )


def log(text: str, over: bool = False) -> None:
    """Progress, on the error stream.

    Args:
        over: the line takes the place of a bar of progress.
    """
    print(("\r" if over else "") + texts.for_terminal(text), file=sys.stderr, flush=True)


def print_result(options, value, text: str) -> None:
    """The result on standard output: text for people, or strict JSON, in which what is not finite is null."""
    if options.json:
        print(json.dumps(texts.finite(value), allow_nan=False), flush=True)
    else:
        print(texts.for_terminal(text), flush=True)


def file_name(text: str) -> str:
    """The type of options that name a file or a folder: what no system takes for a name is told at once."""
    if not text.strip():
        raise argparse.ArgumentTypeError("its name is empty")
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a file: a zero byte stands in it")
    if max(len(os.fsencode(part)) for part in Path(text).parts or (text,)) > 255:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}... is longer than a file's name may be")
    return text


def refuse_folder(file: str | Path | None, option: str) -> None:
    """CourseError where a file is to be written and a folder of that name stands there."""
    if file is not None and Path(file).is_dir():
        raise CourseError(f"{option} {file}: this is a folder; name a file, such as {Path(file) / 'result'}")
