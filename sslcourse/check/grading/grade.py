"""Grade a folder of submitted notebooks: one row for each, whatever is in it.

    graded = grade.grade("submissions", "homework_simclr")    a table that shows itself; .write("grades.csv")

How a submission is graded:

1. Its code cells are read, not run. What they printed, and what is stored in them, is not looked at.
2. For each exercise the *statements that its function needs* are picked by their names: the function, the
  imports, constants and
   other functions that it uses, and what those use. Nothing else runs: no training, no plots, no `check` of
       the submission's own.
3. These statements run in a process of their own, and the course's checker asks the function from another
   process (`sslcourse.check.grading.ask` says what this keeps out and what it does not), with inputs of a
   seed that was drawn for this run. An answer that prints "correct", patches the checker, ends its process
   or knows the values of the notebook by heart gains nothing.
4. A function that crashes, never ends or takes all memory loses the points of its exercise; the other
   exercises, and the other submissions, are examined as if nothing had happened.

What this cannot see: whether students wrote their functions themselves. The course's own functions can be
imported; an answer that does so is right, and the remark says so."""

from __future__ import annotations

import ast
import builtins
import contextlib
import csv
import io
import json
import linecache
import os
import re
import secrets
import select
import shutil
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sslcourse import __version__, check, runtime
from sslcourse.check import engine
from sslcourse.check.engine import AnswerError, Assignment, Task
from sslcourse.check.grading import ask, sandbox
from sslcourse.check.grading.notebooks import Statement, code_cells, needed, plain, statements, texts
from sslcourse.check.grading.wire import Limits
from sslcourse.data.toybox.disk_cache import drawn_by
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


def submissions(folder: str | os.PathLike, leave_out: Sequence[Path] = ()) -> list[Submission]:
    """What a folder holds: notebooks, or one subfolder per student with a notebook in it; sorted by name.

    Other files in the folder itself are submissions of the wrong kind; in a student's subfolder they may lie
    beside the notebook. Hidden files are left out."""
    root = Path(folder)
    if not root.is_dir():
        raise CourseError(f"{str(folder)!r} is no folder; name the folder that holds the submitted notebooks")
    found = []
    for entry in sorted(root.iterdir(), key=lambda p: (p.name.lower(), p.name)):
        if (
            entry.name.startswith(".")
            or entry.name == "__pycache__"
            or entry.resolve() in {p.resolve() for p in leave_out}
        ):
            continue
        if entry.is_dir() and not entry.is_symlink():
            inside = sorted(
                p
                for p in entry.rglob("*.ipynb")
                if not any(part.startswith(".") for part in p.relative_to(entry).parts)
            )
            found += [Submission(entry.name, p, str(p.relative_to(root)), _problem(p)) for p in inside]
            if not inside:
                found.append(Submission(entry.name, None, entry.name, "no notebook in this folder"))
        else:
            student = entry.stem if entry.suffix == ".ipynb" else entry.name
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
    if path.suffix != ".ipynb":
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


def load(data: bytes, task: Task, pictures: Path, seed: int) -> tuple[Callable | None, dict]:
    """Build one function of a notebook by running the statements that it needs, and nothing else.

    Where one of them needs the toybox it finds a copy of the rendered `pictures`, so that they need not be
    drawn again. An exercise that cannot be asked from another process is judged here, with `seed`."""
    judge = engine.examine  # before anything of the notebook runs
    cells = code_cells(data)
    found, broken = statements(cells)
    chosen = needed(found, task.function)
    said = {
        "broken": [text for i, text in broken.items() if re.search(rf"\b{task.function}\b", cells[i])],
        "borrowed": _borrows(chosen, check.EXERCISES[task.exercise].reference.__name__),
    }
    if not chosen:
        return None, said
    # A submission may hand its function to `check` and go on with what comes back. It shall go on with its
    # own.
    check.check = engine.check = lambda name, answer: answer
    if any("toybox" in s.needs for s in chosen) and pictures.is_dir():
        shutil.copytree(pictures, runtime.cache_dir("toybox"))
    space = types.ModuleType("__main__")
    sys.modules["__main__"] = space
    space.__dict__["__builtins__"] = builtins
    for i in dict.fromkeys(s.cell for s in chosen):
        name, text = f"<code cell {i + 1}>", plain(cells[i])
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        body = [s.node for s in chosen if s.cell == i]
        try:
            exec(compile(ast.Module(body, []), name, "exec"), space.__dict__)
        except (Exception, SystemExit) as error:
            if ask.is_refused_memory(error):
                raise
            at = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == name][-1:]
            where = "".join(f", line {f.lineno}: {f.line}" for f in at)
            raise AnswerError(f"{type(error).__name__}: {error} (code cell {i + 1}{where})") from None
    answer: Any = space.__dict__.get(task.function)  # whatever the name stands for; the judge says what it is
    if not check.EXERCISES[task.exercise].apart:
        result = judge(task.exercise, answer, seed)
        return None, {
            **said,
            "judged": {
                "verdict": result.verdict,
                "mistake": result.mistake or "",
                "found": result.found,
                "borrowed": False,
            },
        }
    return answer, said


def _borrows(chosen: Sequence[Statement], reference: str) -> bool:
    """Whether the statements reach for the library's own function, or for what the checker holds."""
    for node in (n for s in chosen for n in ast.walk(s.node)):
        if isinstance(node, ast.Attribute) and node.attr in (reference, "reference", "EXERCISES"):
            return True
        if isinstance(node, (ast.Import, ast.ImportFrom)) and any(
            a.name in (reference, "EXERCISES") for a in node.names
        ):
            return True
    return False


# -------------------------------------------------------------------------------------------- in the examiner


def examined(task: Task, seed: int) -> Callable[[object, dict], dict]:
    def examine(answer: Any, said: dict) -> dict:
        if not check.EXERCISES[task.exercise].apart and isinstance(said.get("judged"), dict):
            return {k: said["judged"].get(k, "") for k in ("verdict", "mistake", "found", "borrowed")}
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
        result = engine.examine(task.exercise, answer, seed)
        found = remark["missing"] if said["state"] == "missing" else result.found
        return {
            "verdict": result.verdict,
            "mistake": result.mistake or "",
            "found": found,
            "borrowed": bool(said.get("borrowed")),
        }

    return examine


# --------------------------------------------------------------------------------------------- one submission


def grade_one(
    data: bytes, assignment: Assignment, seed: int, limits: Limits, hidden: Sequence[str] = ()
) -> dict:
    """The row of one notebook: status, remark, written texts, and for each exercise verdict, mistake, found
    and points.
    """
    outcome = ask.ask(lambda: read(data, assignment), limits, hidden)
    if outcome.status != "answered" or outcome.value["problem"]:
        return _row("not a notebook", [outcome.remark or outcome.value.get("problem", "")], assignment)
    told, results, status = outcome.value, {}, "graded"
    remarks, pictures = [*told["broken"]], runtime.cache_dir("toybox")
    for task in assignment.tasks:
        outcome = ask.question(
            partial(load, data, task, pictures, seed), examined(task, seed), limits, hidden
        )
        if outcome.status == "answered":
            results[task.exercise] = {
                **outcome.value,
                "points": task.points if outcome.value["verdict"] == "correct" else 0,
            }
            if outcome.value["borrowed"]:
                remarks.append(f"{task.function}: uses the course's own function")
            known = {
                "its cell is no Python",
                *(m.name for m in check.EXERCISES[task.exercise].mistakes),
            }  # these speak for themselves
            if outcome.value["verdict"] == "not yet" and outcome.value["mistake"] not in known:
                remarks.append(f"{task.function}: {outcome.value['found']}")
            continue
        status = outcome.status if status == "graded" else status
        remarks.append(f"{task.function}: {outcome.remark}")
        results[task.exercise] = {
            "verdict": outcome.status,
            "mistake": "",
            "found": outcome.remark,
            "borrowed": False,
            "points": 0,
        }
    return _row(status, remarks, assignment, results, told["written"])


def _row(
    status: str,
    remarks: Sequence[str],
    assignment: Assignment,
    results: dict | None = None,
    written: dict | None = None,
) -> dict:
    nothing = {"verdict": "", "mistake": "", "found": "", "borrowed": False, "points": 0}
    results = {t.exercise: (results or {}).get(t.exercise, nothing) for t in assignment.tasks}
    return {
        "status": status,
        "remark": "; ".join(r for r in remarks if r),
        "written": {v: (written or {}).get(v, "") for v in assignment.written},
        "results": results,
        "total": sum(r["points"] for r in results.values()),
        "of": assignment.points,
    }


# ------------------------------------------------------------------------------------- the process that forks


def serve_grading() -> None:
    """The main function of the process that grades: it computes nothing itself, so that its forks start
    clean.

    Reads one JSON object from standard input, which is a socket, writes one JSON line for every event to
    standard output, and ends when its input is closed. It opens no submission: for each that it starts, the
    open file comes over the socket, and only the process that watches this one reads it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Ahead of the forks, so that no worker waits for it: the modules that answers use, and what torch loads
    # at the first optimizer.
    import torch

    from sslcourse.data import toybox  # noqa: F401
    from sslcourse.train import features  # noqa: F401

    torch.set_num_threads(1)
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    job = json.loads(sys.stdin.buffer.readline())
    assignment, limits = engine.assignment(job["assignment"]), Limits(**job["limits"])
    line = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    _say({"isolation": sandbox.isolation(job["bubblewrap"])})
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
                body = partial(_grade_into, tell, handles, problem.decode(), assignment, job, limits)
                child = sandbox.Child(body, [tell, *handles])
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
                row = (
                    json.loads(text)
                    if text
                    else _row("crashed", ["the process that watched it was ended"], assignment)
                )
                _say({"number": number, "row": {**row, "seconds": time.monotonic() - start}})
                child.end()
                del running[told]
    finally:
        for child, *_ in running.values():
            child.end()


def _grade_into(
    tell: int, handles: Sequence[int], problem: str, assignment: Assignment, job: dict, limits: Limits
) -> None:
    sandbox.visible_to_others(False)
    try:
        for handle in handles:
            with os.fdopen(handle, "rb") as file:
                data = file.read(LARGEST + 1)
            row = grade_one(data, assignment, job["seed"], limits, job["hidden"])
        if not handles:
            row = _row("not a notebook", [f"cannot be read: {problem}"], assignment)
    except OSError as error:
        row = _row("not a notebook", [f"cannot be read: {error.strerror}"], assignment)
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
                    f"{exercise} points": f"{result['points']:g}",
                    f"{exercise} mistake": result["mistake"],
                }
            line |= {
                "total": f"{row['total']:g}",
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
            temporary.write_text(
                self.csv(), encoding="utf-8-sig"
            )  # the mark by which spreadsheets know the encoding
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
            "not examined": "!",
        }
        lines = []
        for row in self.rows:
            verdicts = {
                t.function: marks[row["results"][t.exercise]["verdict"]] for t in self.assignment.tasks
            }
            points = f"{row['total']:g} of {row['of']:g}"
            lines.append(
                {
                    "student": row["student"],
                    **verdicts,
                    "points": points,
                    "status": row["status"],
                    "remark": _short(row["remark"], 70),
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
        names = {
            "network": "no network",
            "files": "no writing to files",
            "processes": "no sight of other processes",
        }
        kept = [text for key, text in names.items() if self.isolation.get(key)]
        lacks = [key for key in names if not self.isolation.get(key)]
        way = ""
        if self.isolation.get("bubblewrap"):
            way = " in bubblewrap"
            kept.insert(0, "no file of yours in sight")
        elif self.isolation.get("files"):
            way = (
                " in namespaces of their own (bubblewrap, which keeps your files out of sight, was not used)"
            )
        apart_ = f"answers ran apart{way}: {', '.join(kept) or 'in processes of their own, with your rights'}"
        lacking = f"; NOT kept from them on this machine: {', '.join(lacks)}" if lacks else ""
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


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _harmless(value: object) -> object:
    if not isinstance(value, str):
        return value
    value = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in value)
    return "'" + value if value.startswith(("=", "+", "-", "@", "\t", "\n")) else value


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
) -> Graded:
    """Grade everything in a folder.

    Args:
        folder: notebooks, or one subfolder per student.
        assignment: which exercises and points; the name of a lesson or homework.
        seed: of the checkers' inputs; by default drawn anew, so that nobody can know it, and kept in the
            result.
        limits: of each exercise of each submission.
        jobs: submissions at a time.
        leave_out: files in the folder that are not submissions.
        say: is told each row as a line of text when it is done.

    Raises:
        CourseError: no such folder or assignment, or a system that cannot fork.
    """
    if not hasattr(os, "fork"):
        raise CourseError("grading starts processes as Linux and macOS can; on Windows run it in WSL")
    if jobs < 1:
        raise CourseError(f"jobs={jobs}; grade at least one submission at a time")
    whole, found = engine.assignment(assignment), submissions(folder, leave_out)
    seed = secrets.randbelow(2**31) if seed is None else seed
    rows: dict[int, dict] = {}
    for i, s in enumerate(found):
        if s.problem:
            rows[i] = {
                **_row("nothing handed in" if s.path is None else "not a notebook", [s.problem], whole),
                "seconds": 0.0,
            }
    isolation: dict[str, bool] = {}
    wall: sandbox.Bubblewrap | None = _bubblewrap(Path(folder).resolve()) if len(rows) < len(found) else None
    while len(rows) < len(found):
        before, started = len(rows), None
        items = {i: s.path for i, s in enumerate(found) if i not in rows and s.path is not None}
        job = {
            "assignment": whole.name,
            "seed": seed,
            "jobs": jobs,
            "limits": ask.settings(limits),
            "submissions": list(items),
            "bubblewrap": wall is not None,
            "hidden": [] if wall else _hideable(Path(folder).resolve()),
        }
        in_flight = set()
        for event in _events(job, items, wall):
            if "isolation" in event:
                isolation = event["isolation"]
            elif "started" in event:
                started = event["started"]
                in_flight.add(started)
            else:
                number, rows[event["number"]] = event["number"], event["row"]
                in_flight.discard(number)
                if say:
                    say(_line(found[number], event["row"]))
        if wall and not isolation:  # its Python does not find everything in there: no answer has run yet
            wall = None
            continue
        if len(rows) == before and not in_flight:
            raise CourseError("the grading process does not start; does `sslcourse doctor` find anything?")
        for (
            number
        ) in in_flight:  # it ended the process that grades: possible only where processes are not kept apart
            rows[number] = {**_row("crashed", ["it ended the process that grades"], whole), "seconds": 0.0}
    done = [{"student": s.student, "file": s.file, **rows[i]} for i, s in enumerate(found)]
    return Graded(done, whole, seed, isolation)


def _line(submission: Submission, row: dict) -> str:
    verdicts = " ".join(engine.MARKS.get(r["verdict"], "!") for r in row["results"].values() if r["verdict"])
    points = f"{row['total']:g} of {row['of']:g}"
    return f"{submission.student}: " + ", ".join(
        part for part in (verdicts, points, row["status"], f"{row['seconds']:.0f} s") if part
    )


def _hideable(folder: Path) -> list[str]:
    """The folder of submissions, for the workers to see empty, unless Python or the course live in it."""
    needed = [Path(p).resolve() for p in (sys.prefix, sys.base_prefix, __file__, *sys.path) if p]
    return [] if any(p.is_relative_to(folder) for p in needed) else [str(folder)]


def _path() -> list[str]:
    """Where the process that grades looks for modules: the package that started it comes first."""
    package = str(Path(__file__).resolve().parents[3])  # the folder that holds sslcourse
    here = {"", str(Path.cwd())} - {package}
    return [p for p in dict.fromkeys([package, *sys.path]) if p not in here]


def _bubblewrap(folder: Path) -> sandbox.Bubblewrap | None:
    """What a class in this folder is graded in; None where bubblewrap is missing or not permitted.

    Of the cache there are only the pictures that this version draws: what is missing is drawn inside, for the
    run."""
    cache = runtime.cache_dir("toybox").absolute()
    readable = sandbox.python_folders(Path(__file__).resolve().parents[2], _path(), [folder, Path.home()])
    wall = sandbox.Bubblewrap(
        readable,
        [
            str(cache),
            *(hidden for hidden in _hideable(folder) if any(map(folder.is_relative_to, ["/usr", *readable]))),
        ],
        [str(file) for file in sorted(cache.glob(f"*-{drawn_by()}/*.npz"))],
    )
    return wall if wall.works() else None


def _events(job: dict, notebooks: Mapping[int, Path], wall: sandbox.Bubblewrap | None) -> Iterator[dict]:
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
