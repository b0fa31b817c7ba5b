"""Grade a folder of submitted notebooks: one row for each, whatever is in it.

    graded = grade.grade("submissions", "homework_simclr")    a table that shows itself; .write("grades.csv")

How a submission is graded:

1. Its code cells are read as IPython reads them, not run. What they printed, and what is stored in them, is
   not looked at.
2. For each exercise the *statements that its function needs* are picked by their names: the function, the
   imports, constants and other functions that it uses, what fills its tables, and what those use. Nothing
   else runs: no training, no plots, no `check` of the submission's own.
3. These statements run in a process of their own, and the course's checker asks the function from another
   process (`sslcourse.check.grading.ask` says what this keeps out and what it does not), with inputs of a
   seed that was drawn for this run. An answer that prints "correct", patches the checker, ends its process
   or knows the values of the notebook by heart gains nothing.
4. A function that crashes, never ends or takes all memory loses the points of its exercise; the other
   exercises, and the other submissions, are examined as if nothing had happened. Where something fails that
   is not the submission's doing, the exercise is "not examined": it has no points, not 0 points.
5. Each row is kept as it comes, in a file beside the table. A run that was broken off goes on from there.

What this cannot see: whether students wrote their functions themselves. The course's own functions can be
imported or copied; an answer that does so is right. Where the course's own function for the exercise ran
while the answer was asked, the remark says so."""

from __future__ import annotations

import ast
import asyncio
import builtins
import contextlib
import csv
import hashlib
import inspect
import io
import json
import linecache
import os
import re
import secrets
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import traceback
import types
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sslcourse import __version__, check, runtime
from sslcourse.check import engine
from sslcourse.check.engine import AnswerError, Assignment, Task
from sslcourse.check.grading import ask, sandbox
from sslcourse.check.grading.notebooks import code_cells, files, future, needed, plain, statements, texts
from sslcourse.check.grading.wire import Limits
from sslcourse.data.toybox.disk_cache import drawn_by
from sslcourse.runtime import text as shown
from sslcourse.runtime.errors import CourseError

LARGEST = 20 << 20  # bytes of a notebook
LIMITS = Limits()

# ----------------------------------------------------------------------------------------- what was handed in


@dataclass(frozen=True)
class Submission:
    """One row to be: whose, which file (None where there is none), and why it cannot be a notebook, if so."""

    student: str
    path: Path | None
    file: str
    problem: str = ""


# What systems and learning platforms leave in folders and archives, and nobody handed in.
LEFT_BY_SYSTEMS = frozenset(("__macosx", "__pycache__", "thumbs.db", "desktop.ini", "$recycle.bin", "@eadir"))


def _is_left(name: str) -> bool:
    return name.startswith(".") or name.lower() in LEFT_BY_SYSTEMS


def submissions(folder: str | os.PathLike, leave_out: Sequence[Path] = ()) -> list[Submission]:
    """What a folder holds: notebooks, or one subfolder per student with a notebook in it; sorted by name.

    Other files in the folder itself are submissions of the wrong kind; in a student's subfolder they may lie
    beside the notebook. Hidden files are left out, and what systems leave (`__MACOSX`, `Thumbs.db`)."""
    root = Path(folder)
    if root.suffix.lower() == ".zip" and root.is_file():
        raise CourseError(
            f"{str(folder)!r} is an archive; unpack it first: python -m zipfile -e {root.name} {root.stem}"
        )
    if not root.is_dir():
        raise CourseError(f"{str(folder)!r} is no folder; name the folder that holds the submitted notebooks")
    found = []
    left_out = {p.resolve() for p in leave_out}
    for entry in sorted(root.iterdir(), key=lambda p: (p.name.lower(), p.name)):
        if _is_left(entry.name) or entry.resolve() in left_out:
            continue
        if entry.is_dir() and not entry.is_symlink():
            inside = sorted(
                p
                for p in entry.rglob("*")
                if p.suffix.lower() == ".ipynb" and not any(map(_is_left, p.relative_to(entry).parts))
            )
            found += [Submission(entry.name, p, str(p.relative_to(root)), _problem(p)) for p in inside]
            ours = any(path.is_relative_to(entry.resolve()) for path in left_out)  # where the table goes
            if not inside and not ours:
                found.append(Submission(entry.name, None, entry.name, "no notebook in this folder"))
        else:
            student = entry.stem if entry.suffix.lower() == ".ipynb" else entry.name
            found.append(Submission(student, entry, entry.name, _problem(entry)))
    if not found:
        raise CourseError(
            f"{str(folder)!r} is empty; it should hold notebooks, or one folder for each student"
        )
    return found


def _problem(path: Path) -> str:
    try:
        kind = path.lstat()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if path.suffix.lower() == ".zip":
        return "a .zip, not an .ipynb: unpack it into a folder of this name, and grade again"
    if path.suffix.lower() != ".ipynb":
        return f"a {path.suffix or 'file without ending'}, not an .ipynb"
    if not stat.S_ISREG(kind.st_mode):
        return "a link or a special file, not a file"
    if not kind.st_size:
        return "the file is empty"
    return f"{kind.st_size:,} bytes; at most {LARGEST:,} are read" if kind.st_size > LARGEST else ""


# ---------------------------------------------------------------------------------------------- in the worker


def read(data: bytes, assignment: Assignment) -> dict:
    """What can be said of a notebook without running any of it."""
    try:
        found, broken = statements(code_cells(data))
    except CourseError as error:
        return {"problem": str(error)}
    defined = {name for s in found for name in s.names}
    return {
        "problem": "",
        "broken": list(broken.values()),
        "written": texts(found, list(assignment.written)),
        "functions": [t.function for t in assignment.tasks if t.function in defined],
    }


def load(data: bytes, task: Task) -> tuple[Callable | None, dict]:
    """Build one function of a notebook by running the statements that it needs, and nothing else.

    An exercise that cannot be asked from another process is judged here: what comes back then is a function
    of the seed."""
    judge = engine.examine  # before anything of the notebook runs
    cells = code_cells(data)
    found, broken = statements(cells)
    chosen = needed(found, task.function)
    said = {"broken": [text for i, text in broken.items() if re.search(rf"\b{task.function}\b", cells[i])]}
    if not chosen:
        return None, said
    # A submission may hand its function to `check` and go on with what comes back. It shall go on with its
    # own.
    check.check = engine.check = lambda name, answer: answer
    space = types.ModuleType("__main__")
    sys.modules["__main__"] = space
    space.__dict__.update(__builtins__=builtins, In=[""], Out={})
    _as_in_ipython(space)
    for name, text in files(cells).items():
        Path(name).write_text(text, encoding="utf-8", errors="replace")
        sys.path[:0] = [os.getcwd()] * (os.getcwd() not in sys.path)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | future(found)
    for i in dict.fromkeys(s.cell for s in chosen):
        name, text = f"<code cell {i + 1}>", plain(cells[i])
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        body = [s.node for s in chosen if s.cell == i]
        try:
            code = compile(ast.Module(body, []), name, "exec", flags)
            if code.co_flags & inspect.CO_COROUTINE:
                asyncio.run(eval(code, space.__dict__))
            else:
                exec(code, space.__dict__)
        except (Exception, SystemExit) as error:
            if ask.is_refused_memory(error):
                raise
            at = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == name][-1:]
            where = "".join(f", line {f.lineno}: {f.line}" for f in at)
            raise AnswerError(f"{type(error).__name__}: {error} (code cell {i + 1}{where})") from None
    answer: Any = space.__dict__.get(task.function)  # whatever the name stands for; the judge says what it is
    if check.EXERCISES[task.exercise].apart:
        return answer, said

    def judged(seed: int) -> dict:
        result = judge(task.exercise, answer, seed)
        return {"verdict": result.verdict, "mistake": result.mistake or "", "found": result.found}

    return judged, said


def _lend(pictures: Path) -> None:
    """Links in a worker's own cache to what is drawn already. It can read that and not change it, and the
    size of its folder does not matter then.
    """
    cache = runtime.cache_dir("toybox")
    for file in sorted(pictures.glob(f"*-{drawn_by()}/*.npz")):
        link = cache / file.relative_to(pictures)
        link.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            link.symlink_to(file)


class _Nothing:
    """Whatever one asks of it: nothing happens."""

    def __getattr__(self, name: str) -> _Nothing:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_, **__) -> _Nothing:
        return self

    def __iter__(self) -> Iterator:
        return iter(())

    def __len__(self) -> int:
        return 0


class ZMQInteractiveShell(_Nothing):
    """What `get_ipython()` gives while grading: magics and commands to the shell do nothing. Its name is the
    one by which notebooks are known.
    """

    def __init__(self, space: types.ModuleType):
        self.user_ns = space.__dict__
        self.user_module = space

    def run_line_magic(self, *_, **__) -> None:
        return None

    run_cell_magic = magic = system = run_line_magic

    def getoutput(self, *_, **__) -> list[str]:
        return []


def _as_in_ipython(space: types.ModuleType) -> None:
    """The names that IPython gives every notebook. What would show or ask something does nothing here."""
    shell = ZMQInteractiveShell(space)
    silent = lambda *_, **__: None
    for name, value in {
        "get_ipython": lambda: shell,
        "display": silent,
        "input": lambda *_: "",
        "exit": silent,
        "quit": silent,
    }.items():
        setattr(builtins, name, value)
    import IPython

    IPython.get_ipython = lambda: shell


# -------------------------------------------------------------------------------------------- in the examiner


def _given(handle: int) -> int:
    """The run's seed, out of a file that only examiners read: no worker, and no process that workers are
    forked from, ever holds it.
    """
    return int(os.pread(handle, 100, 0))


def _told_to_worker(seed: int, exercise: str) -> int:
    """The seed of an exercise that is judged where the answer runs; the run's own cannot be found from it."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {exercise}".encode()).digest()[:3], "big")


def examined(task: Task, seed_file: int) -> Callable[[Any, dict], dict]:
    def examine(answer: Any, said: dict) -> dict:
        seed = _given(seed_file)
        remark = {
            "missing": "the notebook defines no such function",
            "no function": "the name stands for something that is no function",
            "error": f"its cells raise {said.get('error')}",
        }
        if said["state"] == "missing" and said.get("broken"):
            return {
                "verdict": "not yet",
                "mistake": "its cell is no Python",
                "found": said["broken"][0],
                "borrowed": False,
            }
        if said["state"] in ("error", "no function"):
            return {
                "verdict": "not yet",
                "mistake": "its cells raise an error" if said["state"] == "error" else "not a function",
                "found": remark[said["state"]],
                "borrowed": False,
            }
        if said["state"] == "ready" and not check.EXERCISES[task.exercise].apart:
            try:
                told = answer(_told_to_worker(seed, task.exercise))
                return {**{k: str(told[k]) for k in ("verdict", "mistake", "found")}, "borrowed": False}
            except (AnswerError, TypeError, KeyError) as error:
                found = f"it gives no verdict: {error}"
                return {"verdict": "not yet", "mistake": "", "found": found, "borrowed": False}
        result = engine.examine(task.exercise, answer, seed)
        found = remark["missing"] if said["state"] == "missing" else result.found
        return {
            "verdict": result.verdict,
            "mistake": result.mistake or "",
            "found": found,
            "borrowed": said.get("borrowed") is True or getattr(answer, "borrowed", False),
        }

    return examine


# --------------------------------------------------------------------------------------------- one submission


NOT_EXAMINED = "not examined"  # our own fault, and no reason to take points away


def grade_one(
    data: bytes,
    assignment: Assignment,
    seed_file: int,
    limits: Limits,
    visible: sandbox.Visible = sandbox.NOTHING_MORE,
) -> dict:
    """The row of one notebook: status, remark, written texts, and for each exercise verdict, mistake, found
    and points.

    Args:
        seed_file: an open file that holds the seed of the checkers' inputs.
    """
    outcome = ask.ask(lambda: read(data, assignment), limits, visible)
    if outcome.status == NOT_EXAMINED:
        return _row(NOT_EXAMINED, [outcome.remark], assignment)
    if outcome.status != "answered" or outcome.value["problem"]:
        return _row("not a notebook", [outcome.remark or outcome.value.get("problem", "")], assignment)
    told, results, status = outcome.value, {}, "graded"
    remarks, pictures = [*told["broken"]], runtime.cache_dir("toybox")
    for task in assignment.tasks:
        exercise = check.EXERCISES[task.exercise]
        outcome = ask.question(
            partial(load, data, task),
            examined(task, seed_file),
            limits,
            visible,
            watched=inspect.unwrap(exercise.reference).__code__ if exercise.apart else None,
            kept=[seed_file],
            prepare=partial(_lend, pictures),
        )
        if outcome.status == "answered":
            results[task.exercise] = {
                **outcome.value,
                "points": task.points if outcome.value["verdict"] == "correct" else 0,
            }
            if outcome.value["borrowed"]:
                remarks.append(f"{task.function}: uses the course's own function")
            # these speak for themselves
            known = {"its cell is no Python", *(m.name for m in exercise.mistakes)}
            if outcome.value["verdict"] == "not yet" and outcome.value["mistake"] not in known:
                remarks.append(f"{task.function}: {outcome.value['found']}")
            continue
        if status == "graded" or outcome.status == NOT_EXAMINED:
            status = outcome.status
        remarks.append(f"{task.function}: {outcome.remark}")
        results[task.exercise] = {
            "verdict": outcome.status,
            "mistake": "",
            "found": outcome.remark,
            "borrowed": False,
            "points": None if outcome.status == NOT_EXAMINED else 0,
        }
    return _row(status, remarks, assignment, results, told["written"])


def _row(
    status: str,
    remarks: Sequence[str],
    assignment: Assignment,
    results: dict | None = None,
    written: dict | None = None,
) -> dict:
    """A row. Points that are None, and a total that is, stand for what could not be examined."""
    ours = status == NOT_EXAMINED and results is None
    nothing = {"verdict": "", "mistake": "", "found": "", "borrowed": False, "points": None if ours else 0}
    results = {t.exercise: (results or {}).get(t.exercise, nothing) for t in assignment.tasks}
    points = [r["points"] for r in results.values()]
    lacking = [t.function for t in assignment.tasks if results[t.exercise]["points"] is None]
    if lacking and not ours:
        remarks = [*remarks, f"the others earn {sum(p for p in points if p is not None):g} points"]
    return {
        "status": status,
        "remark": "; ".join(r for r in remarks if r),
        "written": {v: (written or {}).get(v, "") for v in assignment.written},
        "results": results,
        "total": None if lacking else sum(points),
        "of": assignment.points,
    }


# ------------------------------------------------------------------------------------- the process that forks


def serve_grading() -> None:
    """The main function of the process that grades: it computes nothing itself, so that its forks start
    clean.

    Reads one JSON object from standard input, which is a socket, writes one JSON line for every event to
    standard output, and ends when its input is closed. It opens no submission: for each that it starts, the
    open file comes over the socket, and only the process that watches this one reads it. The first file that
    comes holds the seed, which only examiners read: what is forked into a worker has never held it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Ahead of the forks, so that no worker waits for it: the modules that answers use, and what torch loads
    # at the first optimizer.
    import IPython  # noqa: F401
    import torch

    from sslcourse.data import toybox  # noqa: F401
    from sslcourse.train import features  # noqa: F401

    plain("")
    torch.set_num_threads(1)
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    job = json.loads(sys.stdin.buffer.readline())
    assignment, limits = engine.assignment(job["assignment"]), Limits(**job["limits"])
    visible = sandbox.Visible(**job["visible"])
    line = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    _say({"ready": True})  # reading the line above may have taken more than the line
    _, handles, *_ = socket.recv_fds(line, 4, 1)
    if not handles:  # nobody is waiting for us any more
        return
    seed_file = handles[0]
    _say({"isolation": sandbox.isolation(job["bubblewrap"])})
    if line.recv(5) != b"begin":  # who started us does not want it so
        return
    waiting: list[int] = list(job["submissions"])
    running: dict[int, tuple[sandbox.Child, int, float]] = {}  # by the end of the pipe that we read
    texts_of: dict[int, bytes] = {}
    try:
        while waiting or running:
            while waiting and len(running) < job["jobs"]:
                number = waiting.pop(0)
                _say({"started": number})
                problem, handles, *_ = socket.recv_fds(line, 1000, 1)
                if not problem:  # nobody is waiting for us any more
                    return
                told, tell = os.pipe()
                body = partial(
                    _grade_into, tell, handles, problem.decode(), assignment, limits, visible, seed_file
                )
                child = sandbox.Child(body, [tell, seed_file, *handles])
                for handle in (tell, *handles):
                    os.close(handle)
                running[told], texts_of[told] = (child, number, time.monotonic()), b""
            ready = select.select([sys.stdin.fileno(), *running], [], [])[0]
            if sys.stdin.fileno() in ready:  # nobody is waiting for us any more
                return
            for told in ready:
                child, number, start = running[told]
                part = os.read(told, 1 << 16)
                texts_of[told] += part
                if part:
                    continue
                text = texts_of.pop(told)
                child.wait(10)
                os.close(told)
                row = json.loads(text) if text else _watcher_gone(assignment)
                _say({"number": number, "row": {**row, "seconds": time.monotonic() - start}})
                child.end()
                del running[told]
    finally:
        for child, *_ in running.values():
            child.end()


def _watcher_gone(assignment: Assignment) -> dict:
    """The row of a submission whose watcher has ended. Where processes are kept apart it has not done it."""
    said = "the process that watched it was ended"
    return _row(NOT_EXAMINED if "process" in sandbox.way() else "crashed", [said], assignment)


def _grade_into(
    tell: int,
    handles: Sequence[int],
    problem: str,
    assignment: Assignment,
    limits: Limits,
    visible: sandbox.Visible,
    seed_file: int,
) -> None:
    sandbox.visible_to_others(False)
    row = _row(NOT_EXAMINED, [f"cannot be read: {problem}"], assignment)
    try:
        for handle in handles:
            with os.fdopen(handle, "rb") as file:
                data = file.read(LARGEST + 1)
            row = grade_one(data, assignment, seed_file, limits, visible)
    except Exception as error:  # a disk that is full, no more processes: nothing that the submission did
        row = _row(NOT_EXAMINED, [f"{type(error).__name__}: {error}"], assignment)
    with os.fdopen(tell, "w") as file:
        json.dump(row, file)


def _say(event: dict) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


# --------------------------------------------------------------------------------------------- a whole folder


@dataclass
class Graded:
    """What a folder came to. `rows` hold student, file, status, remark, written, results (by exercise),
    total, of and seconds.
    """

    rows: list[dict]
    assignment: Assignment
    seed: int
    isolation: dict[str, bool]
    version: str = __version__

    def table(self) -> list[dict]:
        """The rows as they stand in the CSV file: one flat dict each. All but `seconds` is the same for the
        same seed.
        """
        flat = []
        for row in self.rows:
            line = {"student": row["student"], "file": row["file"]}
            for exercise, result in row["results"].items():
                line |= {
                    exercise: result["verdict"],
                    f"{exercise} points": _points(result["points"]),
                    f"{exercise} mistake": result["mistake"],
                }
            line |= {
                "total": _points(row["total"]),
                "of": f"{row['of']:g}",
                "status": row["status"],
                "remark": row["remark"],
                **row["written"],
            }
            flat.append(
                {**line, "seconds": f"{row['seconds']:.1f}", "seed": self.seed, "sslcourse": self.version}
            )
        return flat

    def csv(self) -> str:
        """The table as text. What students wrote cannot become a formula when a spreadsheet opens it."""
        rows, file = self.table(), io.StringIO()
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: _harmless(v) for k, v in row.items()})
        return file.getvalue()

    def write(self, path: str | os.PathLike) -> Path:
        with runtime.atomic(Path(path)) as temporary:
            # the mark by which spreadsheets know the encoding
            temporary.write_text(self.csv(), encoding="utf-8-sig")
        return Path(path)

    def mistakes(self) -> dict[str, list[tuple[str, int]]]:
        """Of each exercise: how often it was correct, not attempted, and which mistakes were made how often,
        most frequent first.
        """
        found = {}
        for task in self.assignment.tasks:
            results = [row["results"][task.exercise] for row in self.rows]
            named = Counter(
                r["mistake"] or {"not yet": "another mistake"}.get(r["verdict"], r["verdict"])
                for r in results
                if r["verdict"]
            )
            found[task.exercise] = sorted(named.items(), key=lambda pair: (-pair[1], pair[0]))
        return found

    def __str__(self):
        from sslcourse import show

        marks = {
            **engine.MARKS,
            "": " ",
            "crashed": "!",
            "out of time": "!",
            "out of memory": "!",
            NOT_EXAMINED: "?",
        }
        lines = []
        for row in self.rows:
            verdicts = {
                t.function: marks[row["results"][t.exercise]["verdict"]] for t in self.assignment.tasks
            }
            points = f"{_points(row['total']) or '?'} of {row['of']:g}"
            lines.append(
                {
                    "student": shown.for_terminal(row["student"]),
                    **verdicts,
                    "points": points,
                    "status": row["status"],
                    "remark": shown.for_terminal(_short(row["remark"], 70)),
                }
            )
        counts = [f"\nwhat came of each exercise, {len(self.rows)} submissions:"]
        unit = max(1, len(self.rows) / 40)  # of a bar: submissions
        for exercise, pairs in self.mistakes().items():
            counts.append(f"  {exercise}")
            width = max((len(name) for name, _ in pairs), default=0)
            counts += [
                f"    {name:<{width}}  {'█' * max(1, round(count / unit))} {count}" for name, count in pairs
            ]
        kept = [text for key, text in KEPT.items() if self.isolation.get(key)]
        lacks = [key for key in KEPT if not self.isolation.get(key)]
        way = ""
        if self.isolation.get("bubblewrap"):
            way = " in bubblewrap"
        elif self.isolation.get("files"):
            way = " in namespaces of their own (bubblewrap was not used)"
        apart_ = f"answers ran apart{way}: {', '.join(kept) or 'in processes of their own, with your rights'}"
        lacking = f"; NOT kept from them on this machine: {', '.join(lacks)}" if lacks else ""
        if not self.isolation:
            apart_, lacking = "no answer had to be run", ""
        inside = [t.exercise for t in self.assignment.tasks if not check.EXERCISES[t.exercise].apart]
        if inside:
            lacking += (
                f"\njudged in the answers' own process, where a verdict can be forged: {', '.join(inside)}"
            )
        return "\n".join(
            [
                repr(show.table(lines)),
                *counts,
                "",
                apart_ + lacking,
                f"seed {self.seed}, sslcourse {self.version}",
            ]
        )


# What is kept from answers, by the keys of `sandbox.isolation`.
KEPT = {
    "network": "no network",
    "files": "no file of yours in sight",
    "processes": "no sight of other processes",
}


def _points(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _harmless(value: object) -> object:
    """A cell of the CSV: no formula for a spreadsheet, no control character, and nothing at its start by
    which one could take it apart.
    """
    if not isinstance(value, str):
        return value
    text = shown.for_csv(value)
    return "'" + text if text.startswith(("\t", ";", "\n")) else text


BOOT = """\
import json, os, sys
given = json.loads(os.environ.pop("SSLCOURSE_GRADING"))
sys.path[:] = given["path"]
import sslcourse
from sslcourse.check.grading import grade
grade.serve_grading()
"""


def grade(
    folder: str | os.PathLike,
    assignment: str = "homework_simclr",
    *,
    seed: int | None = None,
    limits: Limits = LIMITS,
    jobs: int = 1,
    leave_out: Sequence[Path] = (),
    say: Callable[[str], None] | None = None,
    unsafe: bool = False,
    kept: str | os.PathLike | None = None,
) -> Graded:
    """Grade everything in a folder.

    Args:
        folder: notebooks, or one subfolder per student.
        assignment: which exercises and points; the name of a lesson or homework.
        seed: of the checkers' inputs; by default drawn anew, so that nobody can know it, and kept in the
            result.
        limits: of each exercise of each submission.
        jobs: submissions at a time, 1 to 256.
        leave_out: files in the folder that are not submissions.
        say: is told each row as a line of text when it is done.
        unsafe: grade also where this machine cannot keep answers from the network, your files or other
            processes.
        kept: a file that keeps each row as it comes. A run that was broken off goes on from it, with its
            seed; notebooks that have changed since, and what was not examined, are graded again.

    Raises:
        CourseError: no such folder or assignment, a system that cannot fork, answers that cannot be kept
            apart (without `unsafe`), or rows that were kept by another run.
    """
    if not hasattr(os, "fork"):
        raise CourseError("grading starts processes as Linux and macOS can; on Windows run it in WSL")
    if not (isinstance(jobs, int) and 1 <= jobs <= 256):
        raise CourseError(f"jobs={jobs}; grade 1 to 256 submissions at a time")
    if seed is not None and not 0 <= seed < 2**63:
        raise CourseError(f"seed={seed}; a seed is a whole number from 0 to 2**63 - 1")
    whole, found = engine.assignment(assignment), submissions(folder, leave_out)
    journal = Journal(kept, whole, seed, limits) if kept is not None else None
    if journal is not None:
        seed = journal.seed
    seed = secrets.randbelow(2**31) if seed is None else seed
    if journal is not None:
        journal.begin(seed)
    rows: dict[int, dict] = {}
    for i, s in enumerate(found):
        if s.problem:
            rows[i] = {
                **_row("nothing handed in" if s.path is None else "not a notebook", [s.problem], whole),
                "seconds": 0.0,
            }
        elif journal is not None and s.path is not None:
            row = journal.row(s.file, _digest(s.path))
            if row is not None:
                rows[i] = row
    isolation: dict[str, bool] = {}
    wall: sandbox.Bubblewrap | None = _bubblewrap(Path(folder).resolve()) if len(rows) < len(found) else None

    def done(number: int, row: dict) -> None:
        rows[number] = row
        s = found[number]
        if journal is not None and s.path is not None:
            journal.keep(s.student, s.file, _digest(s.path), row)
        if say:
            say(_line(s, row))

    while len(rows) < len(found):
        before, started = len(rows), None
        items = {i: s.path for i, s in enumerate(found) if i not in rows and s.path is not None}
        job = {
            "assignment": whole.name,
            "jobs": jobs,
            "limits": ask.settings(limits),
            "submissions": list(items),
            "bubblewrap": wall is not None,
            "visible": asdict(_visible(Path(folder).resolve())),
        }
        in_flight = set()
        with contextlib.closing(_events(job, seed, items, wall, unsafe)) as events:
            for event in events:
                if "isolation" in event:
                    isolation = event["isolation"]
                elif "started" in event:
                    started = event["started"]
                    in_flight.add(started)
                else:
                    in_flight.discard(event["number"])
                    done(event["number"], event["row"])
        if wall and not isolation:  # its Python does not find everything in there: no answer has run yet
            wall = None
            continue
        if len(rows) == before and not in_flight:
            raise CourseError("the grading process does not start; does `sslcourse doctor` find anything?")
        # The process that grades has ended: where processes are not kept apart, an answer may have done it.
        status = NOT_EXAMINED if isolation.get("processes") else "crashed"
        for number in in_flight:
            said = "the process that grades has ended" if isolation.get("processes") else ENDED_US
            done(number, {**_row(status, [said], whole), "seconds": 0.0})
    return Graded([_named(s, rows[i]) for i, s in enumerate(found)], whole, seed, isolation)


ENDED_US = "it ended the process that grades"


def _named(submission: Submission, row: dict) -> dict:
    return {"student": submission.student, "file": submission.file, **row}


def _line(submission: Submission, row: dict) -> str:
    verdicts = " ".join(engine.MARKS.get(r["verdict"], "!") for r in row["results"].values() if r["verdict"])
    points = f"{_points(row['total']) or '?'} of {row['of']:g}"
    return f"{shown.for_terminal(submission.student)}: " + ", ".join(
        part for part in (verdicts, points, row["status"], f"{row['seconds']:.0f} s") if part
    )


# ----------------------------------------------------------------------------------------- rows that are kept


def _digest(notebook: Path) -> str:
    """Of a notebook's bytes; of one that cannot be read, nothing."""
    try:
        handle = os.open(notebook, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            return hashlib.sha256(file.read(LARGEST + 1)).hexdigest()
    except OSError:
        return ""


class Journal:
    """Rows, kept one by one while a class is graded: one JSON object a line, the first says of which run.

    Args:
        path: of the file; it is made with the first row.
        assignment, seed, limits: of the run that is to go on; where the seed is None, that of the file.

    Raises:
        CourseError: the file was kept by another run, or is none of ours.
    """

    def __init__(
        self, path: str | os.PathLike, assignment: Assignment, seed: int | None, limits: Limits
    ) -> None:
        self.path = Path(path)
        self.rows: dict[tuple[str, str], dict] = {}
        self.head: dict[str, Any] = {
            "kept by": "sslcourse grade",
            "assignment": assignment.name,
            "limits": ask.settings(limits),
            "sslcourse": __version__,
        }
        self.seed = seed
        if self.path.exists():
            self._read(assignment)

    def _read(self, assignment: Assignment) -> None:
        start_anew = "to start anew, delete it or name another table (--out)"
        try:
            lines = [json.loads(line) for line in _whole_lines(self.path)]
            head, *rows = lines or [{}]
            kept_by = head.get("kept by")
        except (OSError, ValueError, AttributeError) as error:
            raise CourseError(f"{self.path} cannot be read ({error}); {start_anew}") from None
        if kept_by != self.head["kept by"] or not isinstance(head.get("seed"), int):
            raise CourseError(f"{self.path} holds no rows of `sslcourse grade`; name another table (--out)")
        differ = [
            f"{name} {head.get(name)}, not {value}"
            for name, value in self.head.items()
            if head.get(name) != value
        ]
        if self.seed is not None and head["seed"] != self.seed:
            differ.append(f"seed {head['seed']}, not {self.seed}")
        if differ:
            raise CourseError(
                f"{self.path} keeps {len(rows)} rows of a run that was broken off, with {'; '.join(differ)}. "
                f"Give the same settings again to go on; {start_anew}"
            )
        self.seed = head["seed"]
        for line in rows:
            if _is_row(line, assignment):
                self.rows[line["file"], line["digest"]] = line

    def row(self, file: str, digest: str) -> dict | None:
        """The row of a notebook with these bytes; None where it must be examined."""
        kept = self.rows.get((file, digest))
        return None if kept is None or not digest or kept["row"]["total"] is None else kept["row"]

    def keep(self, student: str, file: str, digest: str, row: dict) -> None:
        line = {"student": student, "file": file, "digest": digest, "row": row}
        self.rows[file, digest] = line
        self._write(line)

    def begin(self, seed: int) -> None:
        """Make the file, where there is none yet."""
        self.seed = seed
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write({**self.head, "seed": seed})

    def _write(self, line: dict) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def graded(self, assignment: Assignment) -> Graded:
        """What is kept so far, as a table."""
        rows = [{"student": r["student"], "file": r["file"], **r["row"]} for r in self.rows.values()]
        return Graded(rows, assignment, self.seed or 0, {})


def _whole_lines(path: Path) -> list[str]:
    """All lines but the last one where that has no end: it was being written when the run ended."""
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


def _is_row(line: object, assignment: Assignment) -> bool:
    """Whether a line of the file is a row of this assignment, as `keep` writes it."""
    if not isinstance(line, dict) or not all(
        isinstance(line.get(k), str) for k in ("student", "file", "digest")
    ):
        return False
    row = line.get("row")
    if not isinstance(row, dict) or not isinstance(row.get("results"), dict):
        return False
    known = _row("", [], assignment)
    return (
        row.keys() == {*known, "seconds"}
        and row["results"].keys() == known["results"].keys()
        and all(isinstance(r, dict) and r.keys() == {"verdict", "mistake", "found", "borrowed", "points"}
                for r in row["results"].values())
    )  # fmt: skip


# --------------------------------------------------------------------------------- starting what grades


def _path() -> list[str]:
    """Where the process that grades looks for modules: the package that started it comes first."""
    package = str(Path(__file__).resolve().parents[3])  # the folder that holds sslcourse
    here = {"", str(Path.cwd())} - {package}
    return [p for p in dict.fromkeys([package, *sys.path]) if p not in here]


def _python(folder: Path) -> list[str]:
    """The folders that Python and the course need, and nothing of the class or of the teacher's."""
    return sandbox.python_folders(Path(__file__).resolve().parents[2], _path(), [folder, Path.home()])


def _visible(folder: Path) -> sandbox.Visible:
    """What a worker can read: Python, the course, and the pictures that this version draws."""
    drawn = sorted(runtime.cache_dir("toybox").absolute().glob(f"*-{drawn_by()}"))
    readable = _python(folder)
    return sandbox.Visible([*readable, *map(str, drawn)], _inside(folder, readable))


def _inside(folder: Path, readable: Sequence[str]) -> list[str]:
    """The class, where it lies in one of Python's own folders: it must be empty there."""
    holds_python = any(Path(p).is_relative_to(folder) for p in readable)
    return [str(folder)] if any(map(folder.is_relative_to, ["/usr", *readable])) and not holds_python else []


def _bubblewrap(folder: Path) -> sandbox.Bubblewrap | None:
    """What a class in this folder is graded in; None where bubblewrap is missing or not permitted.

    Of the cache there are only the pictures that this version draws: what is missing is drawn inside, for the
    run."""
    cache = runtime.cache_dir("toybox").absolute()
    readable = _python(folder)
    wall = sandbox.Bubblewrap(
        readable,
        [str(cache), *_inside(folder, readable)],
        [str(file) for file in sorted(cache.glob(f"*-{drawn_by()}/*.npz"))],
    )
    return wall if wall.works() else None


def _events(
    job: dict, seed: int, notebooks: Mapping[int, Path], wall: sandbox.Bubblewrap | None, unsafe: bool
) -> Generator[dict, None, None]:
    """Start the process that grades, with nothing of our environment but what it needs, hand it each notebook
    that it asks for, and yield what it says.
    """
    keep = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SSLCOURSE_CACHE", "XDG_CACHE_HOME", "HOME")
    environment = {k: os.environ[k] for k in keep if k in os.environ}
    environment |= {
        "SSLCOURSE_GRADING": json.dumps({"path": _path()}),
        "OMP_NUM_THREADS": "1",
        "SSLCOURSE_THREADS": "1",
        "SSLCOURSE_DEVICE": "cpu",
        "SSLCOURSE_DISPLAY": "silent",
        "CUDA_VISIBLE_DEVICES": "",
    }
    # All workers' folders are in one that is ours to remove, whoever was ended.
    room = tempfile.TemporaryDirectory(prefix="sslcourse-", ignore_cleanup_errors=True)
    environment["TMPDIR"] = room.name
    command = [sys.executable, "-I", "-c", BOOT]
    if wall:
        command = wall.command(command)
        # There is no list of users inside, and torch asks for the user's name.
        environment |= {"TMPDIR": "/tmp", "HOME": sandbox.HOME, "USER": "grader"}
        environment["SSLCOURSE_CACHE"] = str(runtime.cache_dir().absolute())
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                env=environment,
                start_new_session=True,
                text=True,
            )
        assert process.stdout is not None  # a pipe, as asked for
        try:
            with contextlib.suppress(OSError):  # it has ended already, and says nothing
                ours.sendall(json.dumps(job).encode() + b"\n")
            for line in process.stdout:
                event = json.loads(line)
                if "ready" in event:
                    _send_seed(seed, ours)
                    continue
                if "isolation" in event:
                    _refuse_unsafe(event["isolation"], unsafe)
                    with contextlib.suppress(OSError):  # it has ended; its silence is noticed
                        ours.sendall(b"begin")
                if "started" in event:
                    _hand_over(notebooks[event["started"]], ours)
                yield event
        finally:
            ours.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
            room.cleanup()


def _refuse_unsafe(isolation: Mapping[str, bool], unsafe: bool) -> None:
    """Raise CourseError, before any answer runs, where this machine cannot keep them from something."""
    lacks = {
        "network": "the network",
        "files": "your files, which they could read, change and delete",
        "processes": "your other processes, which they could end, and the grader itself",
    }
    open_to_them = [text for key, text in lacks.items() if not isolation.get(key)]
    if not open_to_them or unsafe:
        return
    way = (
        "On Linux, install bubblewrap (Debian and Ubuntu: apt-get install bubblewrap), or grade outside of a "
        "container that forbids namespaces"
        if sys.platform == "linux"
        else "Grade on Linux, or in a virtual machine with it"
    )
    raise CourseError(
        "nothing was graded: on this machine submissions would run with your own rights. They are not kept "
        f"from {'; from '.join(open_to_them)}. {way}. To run them all the same, because you trust their "
        "authors or this machine holds nothing of worth, add --unsafe"
    )


def _send_seed(seed: int, line: socket.socket) -> None:
    """As an open file: who passes it on has not read it, and cannot tell it to anybody."""
    with contextlib.suppress(OSError), tempfile.TemporaryFile() as file:
        file.write(str(seed).encode())
        file.flush()
        socket.send_fds(line, [b"seed"], [file.fileno()])


def _hand_over(notebook: Path, line: socket.socket) -> None:
    """Send an open file to the process that grades, or say why there is none."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has ended; its silence is noticed
        try:
            handle = os.open(notebook, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            line.sendall(str(error.strerror).encode())
            return
        try:
            socket.send_fds(line, [b"open"], [handle])
        finally:
            os.close(handle)
