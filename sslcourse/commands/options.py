"""What several commands share: the option for the data, progress on the error stream, results as text or
JSON.
"""

from __future__ import annotations

import json
import sys


def add_data_option(sub, default: str | None = "toybox") -> None:
    sub.add_argument(
        "--data",
        default=default,
        help="toybox, toybox:BACKGROUND, toybox:tied=0.9 (shapes have their colours), digits, cifar10, "
        "stl10, mnist, a .npz file of your own arrays (image, label[, test_image, test_label]; for sounds "
        "audio, rate, label), or a folder with one subfolder per class; sounds: esc50, spokendigits; films: "
        "toyvideos, toytracks, movingdigits, with sound toyevents, toyscenes, avdigits, or a folder of "
        "prepared clips",
    )


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def print_result(options, value, text: str) -> None:
    print(json.dumps(value) if options.json else text, flush=True)
