"""`sslcourse lab`: the lessons in a folder of the student's, opened in JupyterLab."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sslcourse.commands import lessons, present
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import Number

FOLDER = "sslcourse-lessons"

LAB = """\
Puts the lessons and the homework into FOLDER and opens JupyterLab there:

  sslcourse lab                         into the folder sslcourse-lessons
  sslcourse lab my-course --port 8890   another folder, another port
  sslcourse lab --present               also copies for the one in front of a class, and run sheets
  sslcourse lab -- --ServerApp.token=x  what follows -- goes to JupyterLab

Type it again at any time, also after an update of the course. A notebook that you ran, changed or saved is
yours: it stays as it is, and a new version of it is set beside it, as 01_simclr.new.ipynb. To begin a lesson
again, rename or delete your notebook.
"""


def add_options(sub) -> None:
    sub.add_argument("folder", nargs="?", default=FOLDER, metavar="FOLDER", help="(default: %(default)s)")
    sub.add_argument(
        "--port",
        type=Number(1, 65_535),
        help="of JupyterLab's server (default: 8888, or the next that is free)",
    )
    sub.add_argument(
        "--no-browser",
        action="store_true",
        help="start JupyterLab and print its address, but open no browser",
    )
    sub.add_argument(
        "--present",
        action="store_true",
        help="also put copies for the one in front (NAME.present.ipynb) and a run sheet for each lesson",
    )
    sub.add_argument("--no-open", action="store_true", help="only put the lessons into the folder")


def lab(options) -> int:
    """Put the lessons, say what was done, and stay with JupyterLab until it ends; its exit status."""
    folder = Path(options.folder).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise CourseError(
            f"{folder} is a file; name a folder for the lessons, such as: sslcourse lab {FOLDER}"
        )
    placed = lessons.Placed()
    if folder.resolve() != lessons.folder():  # the repository's own lessons are opened where they are
        found = lessons.notebooks()
        placed = lessons.place(found | (present.files(found) if options.present else {}), folder)
    elif options.present:
        raise CourseError(
            f"{folder} holds the course's own lessons; name another folder: sslcourse lab my-course --present"
        )
    if options.json:
        done = {
            "folder": str(folder),
            "new": placed.new,
            "updated": placed.updated,
            "same": placed.same,
            "kept": placed.kept,
        }
        print(json.dumps(done | {"beside": placed.beside}), flush=True)
    else:
        print(f"The lessons are in {folder}" + (f"\n{placed.text}" if placed.text else ""), flush=True)
        if options.present:
            print(
                "For the one in front: NAME.present.ipynb shows about thirty cells of a lesson and folds the "
                "rest; NAME.run-sheet.md has its minutes, its questions, what is answered wrongly and what "
                "to cut",
                flush=True,
            )
    if options.no_open:
        return 0
    if importlib.util.find_spec("jupyterlab") is None:
        raise CourseError(
            'JupyterLab is not installed here; type: pip install "sslcourse[lab]"  and then the same again'
        )
    return wait_for(command(folder, options.port, not options.no_browser, options.passed_on), folder)


def command(
    folder: Path, port: int | None = None, browser: bool = True, more: Sequence[str] = ()
) -> list[str]:
    """What starts JupyterLab with this folder as its root, the first lesson opened."""
    # Settings of the user's may name another root and another first page: these lessons were asked for.
    words = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}"]
    # the address that is printed leads there too, with or without a browser
    if (folder / lessons.START).is_file():
        words.append(f"--LabApp.default_url=/lab/tree/{lessons.START}")
    words += [f"--ServerApp.port={port}"] if port is not None else []
    words += [] if browser else ["--no-browser"]
    if getattr(os, "geteuid", lambda: 1)() == 0:  # root, as in a container: JupyterLab wants to be told
        words.append("--allow-root")
    return [*words, *more]


def wait_for(words: Sequence[str], folder: Path) -> int:
    """Run a program in a folder until it ends. Ctrl-C is its affair (it asks); our own end ends it too.

    Ctrl-C is caught by an empty handler and not as `KeyboardInterrupt`: that one may come between the moment
    when the system hands out the program's status and the moment when `Popen` keeps it, and then the status
    is lost (and told as 0). A caught signal goes back to its default in the program that is started.
    """
    at_interrupt = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        process = subprocess.Popen(words, cwd=folder)
        at_end = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            return process.wait()
        finally:
            signal.signal(signal.SIGTERM, at_end)
            if process.poll() is None:
                process.terminate()
    finally:
        signal.signal(signal.SIGINT, at_interrupt)
