"""What all commands of `sslcourse data` share: options, errors and the lines that they print."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sslcourse.runtime import signals
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import Parser
from sslcourse.runtime.text import for_terminal

# ------------------------------------------------------------------------------------------- the command line


def run_script(
    name: str,
    prepare: Callable[..., dict],
    doc: str | None,
    folder: Path | None,
    argv: Sequence[str] | None = None,
    options: Callable[[argparse.ArgumentParser], None] | None = None,
) -> int:
    """The command of a data set: parse, call `prepare(source, folder, mirrors=, keep=, quiet=)`, print.

    Args:
        name: what is typed after `sslcourse data`.
        doc: what --help says.
        folder: where the arrays stand by default.
        options: adds further arguments to the parser; `prepare` gets them by name.

    Returns:
        The exit status: 0, 1 for a mistake that is explained in words, 130 for Ctrl-C, 143 for SIGTERM.
    """
    parser = Parser(
        f"sslcourse data {name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="FILE_OR_FOLDER",
        help="files that you already have, or the folder they lie in: nothing is downloaded, but they "
        "are held to the same checksum",
    )
    parser.add_argument(
        "--to",
        dest="folder",
        metavar="FOLDER",
        default=folder,
        help="where the arrays should stand (default: %(default)s; the environment variable "
        "SSLCOURSE_DATA moves the folder of all data sets)",
    )
    parser.add_argument(
        "--url",
        dest="mirrors",
        metavar="ADDRESS",
        action="append",
        help="address of a folder that mirrors the files, instead of the official one; may be repeated",
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep the downloaded files when the arrays are written"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    add_json(parser)
    if options:
        options(parser)
    given = vars(parser.parse_args(argv))
    as_json = given.pop("json")
    given = {name: value for name, value in given.items() if value is not None}
    return run_and_report(parser.prog, given.get("folder"), lambda: prepare(**given), as_json)


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option that every command of the course has."""
    parser.add_argument(
        "--json", action="store_true", help="print the result as one JSON object on standard output"
    )


def run_and_report(
    program: str, folder: str | Path | None, work: Callable[[], dict], as_json: bool = False
) -> int:
    """Do the work of such a command, print what came of it or why nothing did, and return the exit status.

    Args:
        folder: where the arrays stand, unless the work says it itself ("folder" in what it returns, beside
            "name" and "arrays").
    """
    try:
        meta = work()
    except CourseError as error:
        print(f"{program}: {for_terminal(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f"\n{program}: {signals.reason(error)}. Type the same again to go on.", file=sys.stderr)
        return signals.exit_code(error)
    where = str(meta.get("folder", folder))
    if as_json:
        print(json.dumps({"name": meta["name"], "folder": where, "arrays": meta["arrays"]}))
        return 0
    print(for_terminal(f"{meta['name']} in {where}"))
    for name, shape in meta["arrays"].items():
        print(
            f"  {name:<17} {shape[0]:>7,}"
            + (f"  of {'x'.join(str(s) for s in shape[1:])}" if shape[1:] else "")
        )
    return 0
