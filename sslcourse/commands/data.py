"""`sslcourse data`: fetch or prepare real data. Each module of `sslcourse.data.sets` is a command."""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Sequence
from pathlib import Path

import sslcourse
from sslcourse.commands.options import print_result
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import one_of


def names() -> dict[str, str]:
    """Every data set and what its command does in a line, read from the files: nothing is imported for it."""
    found = {}
    for file in sorted((Path(sslcourse.__file__).parent / "data" / "sets").glob("[!_]*.py")):
        with file.open(encoding="utf-8") as stream:
            found[file.stem] = stream.readline().strip().removeprefix('"""').removesuffix('"""').rstrip(".:")
    return found


def modules(*room: str, but: Sequence[str] = ()) -> tuple[str, ...]:
    """The modules of a room by their files, such as of ("results", "claims"): nothing is imported for it."""
    folder = Path(sslcourse.__file__).parent.joinpath(*room)
    return tuple(sorted(file.stem for file in folder.glob("[!_]*.py") if file.stem not in but))


def text() -> str:
    """What `sslcourse data` alone prints."""
    known = names()
    width = max(map(len, known))
    brief = {name: re.split(r" and write it| that `|, which `", what)[0] for name, what in known.items()}
    lines = [f"  sslcourse data {name:<{width}}   {what}" for name, what in brief.items()]
    return "\n".join(
        [
            *lines,
            "",
            "  sslcourse data NAME --help says more of one of them, such as how to use files that you have",
        ]
    )


def add_options(sub) -> None:
    sub.add_argument(
        "name", nargs="?", metavar="NAME", help=f"{', '.join(names())}; its own options follow it"
    ).completer = lambda **_: names()  # what a shell offers here


def data(options) -> int:
    """Hand on to the data set's command; without a name, list them."""
    known = names()
    if options.name is None:
        print_result(options, known, text())
        return 0
    try:
        name = one_of(known, "data")(options.name)
    except argparse.ArgumentTypeError as error:
        raise CourseError(f"{error}; sslcourse data alone lists them") from None
    words = [*options.passed_on, *(["--json"] if options.json else [])]
    return importlib.import_module(f"sslcourse.data.sets.{name}").main(words)
