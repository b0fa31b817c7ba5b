"""`sslcourse data`: fetch or prepare real data. Each module of `sslcourse.data.sets` is a command."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import sslcourse
from sslcourse.runtime.errors import CourseError


def names() -> dict[str, str]:
    """Every data set and what its command does in a line, read from the files: nothing is imported for it."""
    found = {}
    for file in sorted((Path(sslcourse.__file__).parent / "data" / "sets").glob("[!_]*.py")):
        with file.open(encoding="utf-8") as stream:
            found[file.stem] = stream.readline().strip().removeprefix('"""').removesuffix('"""').rstrip(".:")
    return found


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
    )


def data(options) -> int:
    """Hand on to the data set's command; without a name, list them."""
    known = names()
    if options.name is None:
        print(json.dumps(known) if options.json else text())
        return 0
    if options.name not in known:
        raise CourseError(
            f"there are no data {options.name!r}; type sslcourse data with one of {', '.join(known)}"
        )
    words = [*options.passed_on, *(["--json"] if options.json else [])]
    return importlib.import_module(f"sslcourse.data.sets.{options.name}").main(words)
