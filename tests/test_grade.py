"""Grading: every submission becomes its row, whatever it does; what counts is what its functions return."""

import ast
import csv
import dataclasses
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time

import pytest
import submissions
from submissions import EXPECTED, TASKS

from sslcourse import check
from sslcourse.check import engine
from sslcourse.check.grading import ask, grade, notebooks, sandbox, wire
from sslcourse.commands.parser import main
from sslcourse.runtime.errors import CourseError

HOMEWORK = engine.assignment("homework_simclr")
LIMITS = ["--seconds", "8", "--memory", "700"]


def rows_of(path) -> dict[str, dict]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


# -------------------------------------------------------------------------------------------- the whole class


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The class, graded once by the command: rows of the CSV by student, the JSON, and what lay in the folder
    before and after.
    """
    folder = tmp_path_factory.mktemp("class")
    submissions.write(folder)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    out = tmp_path_factory.mktemp("results") / "grades.csv"
    command = [
        sys.executable,
        "-m",
        "sslcourse",
        "grade",
        str(folder),
        "--out",
        str(out),
        "--seed",
        "31",
        "--json",
        "--jobs",
        "2",
        *LIMITS,
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "A_SECRET": "xyzzy"})
    assert done.returncode == 0, done.stderr
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    return rows_of(out), json.loads(done.stdout), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("student", EXPECTED)
def test_every_submission_becomes_its_row(graded, student):
    row = graded[0][student]
    status, total, verdicts, mistakes, words = EXPECTED[student]
    exercises = [t.exercise for t in HOMEWORK.tasks]
    assert [row[e] for e in exercises] == verdicts, row
    assert [row[f"{e} mistake"] for e in exercises] == mistakes, row
    assert (row["status"], row["total"], row["of"]) == (status, str(total), "15"), row
    assert [float(row[f"{e} points"]) for e in exercises] == [
        t.points * (v == "correct") for t, v in zip(HOMEWORK.tasks, verdicts)
    ]
    assert all(word in row["remark"] for word in words) and bool(row["remark"]) == bool(words), row["remark"]
    assert row["seed"] == "31" and row["sslcourse"] and float(row["seconds"]) < 60


@pytest.mark.slow
def test_the_class_has_no_other_rows_and_they_are_sorted(graded):
    rows, answer, said = graded
    assert list(rows) == sorted(EXPECTED, key=str.lower) and len(rows) >= 12
    assert [r["student"] for r in answer["rows"]] == list(rows)
    assert said.count(" of 15, ") == sum(
        status not in ("not a notebook", "nothing handed in") or student == "no_notebook"
        for student, (status, *_) in EXPECTED.items()
    )


@pytest.mark.slow
def test_written_answers_reach_the_teacher_and_are_no_formulas(graded):
    rows, answer, _ = graded
    assert rows["wrong_1"]["why_temperature"] == "At a low temperature\nthe hardest count."
    assert (
        rows["loops"]["why_temperature"].startswith("'=HYPERLINK") and rows["blank"]["why_temperature"] == ""
    )
    assert "A good answer names" in rows["right"]["why_temperature"]


@pytest.mark.slow
def test_the_class_sees_what_it_got_wrong(graded):
    mistakes = graded[1]["mistakes"]
    counted = {t.exercise: {} for t in HOMEWORK.tasks}
    for _, _, verdicts, names, _ in EXPECTED.values():
        for task, verdict, name in zip(HOMEWORK.tasks, verdicts, names):
            if verdict:
                key = name or {"not yet": "another mistake"}.get(verdict, verdict)
                counted[task.exercise][key] = counted[task.exercise].get(key, 0) + 1
    assert mistakes == counted


@pytest.mark.slow
def test_the_same_seed_gives_the_same_table_and_another_the_same_verdicts(
    graded, tmp_path, capsys, monkeypatch
):
    """With bubblewrap, where the class was graded in it, and without."""
    folder = tmp_path / "some"
    folder.mkdir()
    submissions.write(folder)
    for path in folder.iterdir():
        if path.stem not in ("takes_the_reference", "by_heart", "fake_success", "essay"):
            path.rename(tmp_path / path.name)
    tables = {}
    works = sandbox.Bubblewrap.works
    for seed in ("31", "32"):
        monkeypatch.setattr(sandbox.Bubblewrap, "works", works if seed == "32" else lambda self: False)
        assert main(["grade", str(folder), "--out", str(tmp_path / "g.csv"), "--seed", seed, *LIMITS]) == 0
        tables[seed] = rows_of(tmp_path / "g.csv")
    without = lambda row, *columns: {k: v for k, v in row.items() if k not in ("seconds", *columns)}
    for student, row in tables["31"].items():
        assert without(row) == without(graded[0][student])
        assert without(row, "seed", "remark") == without(tables["32"][student], "seed", "remark")
    out = capsys.readouterr().out
    assert "what came of each exercise, 4 submissions" in out and "█" in out and "seed 32" in out


@pytest.mark.slow
def test_a_seed_is_drawn_where_none_is_given(tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "a.ipynb").write_text(submissions.notebook(submissions.by_heart()))
    seeds, verdicts = set(), set()
    for _ in range(2):
        found = grade.grade(folder, "homework")
        seeds.add(found.seed)
        verdicts.add(found.rows[0]["results"]["simclr.contrastive_accuracy"]["verdict"])
    assert len(seeds) == 2 and verdicts == {"not yet"}
    known = grade.grade(folder, "homework", seed=0)
    assert (
        known.rows[0]["results"]["simclr.contrastive_accuracy"]["verdict"] == "correct"
    )  # what its author saw


def test_every_assignment_has_its_solutions():
    solved = {path.stem for path in (submissions.ROOT / "notebooks" / "solutions").glob("*.ipynb")}
    assert solved == set(engine.ASSIGNMENTS) >= {"01_simclr", "homework_simclr"}


@pytest.mark.slow
@pytest.mark.parametrize("name", engine.ASSIGNMENTS)
def test_the_teachers_solutions_pass_all_checks(tmp_path, name):
    (tmp_path / "teacher.ipynb").write_text(
        (submissions.ROOT / "notebooks" / "solutions" / f"{name}.ipynb").read_text()
    )
    found = grade.grade(tmp_path, name, seed=8)
    assert found.rows[0]["total"] == engine.assignment(name).points, found


@pytest.mark.slow
def test_an_exercise_that_is_handed_functions_is_judged_where_it_runs(tmp_path, monkeypatch):
    """The verdicts are the same; what is lost, that nobody can forge them, is said."""
    inside = "engine.EXERCISES['simclr.nt_xent'].__dict__['apart'] = False\n"
    monkeypatch.setattr(
        grade,
        "BOOT",
        grade.BOOT.replace("grade.serve", f"from sslcourse.check import engine\n{inside}grade.serve"),
    )
    monkeypatch.setitem(
        engine.EXERCISES,
        "simclr.nt_xent",
        dataclasses.replace(engine.EXERCISES["simclr.nt_xent"], apart=False),
    )
    for name, function in (
        ("right", submissions.RIGHT["nt_xent"]),
        ("wrong", submissions.WRONG_2["nt_xent"]),
        ("raises", "def nt_xent(a, b, t): return a @ b"),
        ("late", "def nt_xent(a, b, t): ..."),
    ):
        (tmp_path / f"{name}.ipynb").write_text(submissions.notebook(function))
    (tmp_path / "missing.ipynb").write_text(submissions.notebook("x = 1"))
    found = grade.grade(tmp_path, "homework", seed=2)
    verdicts = {
        r["student"]: (r["results"]["simclr.nt_xent"]["verdict"], r["results"]["simclr.nt_xent"]["mistake"])
        for r in found.rows
    }
    assert verdicts == {
        "right": ("correct", ""),
        "wrong": ("not yet", "sum for mean"),
        "raises": ("not yet", "it raises an error"),
        "late": ("not attempted", ""),
        "missing": ("not attempted", ""),
    }
    assert "judged in the answers' own process, where a verdict can be forged: simclr.nt_xent" in str(found)


# ------------------------------------------------------------------------------------- what workers cannot do

BATTERY = """
import json, os, pathlib, socket, sys, time
import torch
from sslcourse.check import engine
from sslcourse.check.grading import ask, sandbox, wire

scratch = pathlib.Path(sys.argv[1])
given = json.loads(sys.argv[2])
if not given["namespaces"]:
    sandbox._way = ()
limits = wire.Limits(seconds=3, memory=500 << 20)
text = lambda answer, said: {"said": said, "came": repr(answer(3) if callable(answer) else answer)}

def attempt(action):
    def function(x):
        try:
            return str(action())
        except OSError as error:
            return f"{type(error).__name__} {error.errno}"
    return function

def opened(path):  # for writing, and never written: where it succeeds, it is the whole machine's
    try:
        os.close(os.open(path, os.O_WRONLY))
        return "opened"
    except OSError as error:
        return error.errno

def capabilities():
    told = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return [int(told[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs")]

def unix_socket():
    with socket.socket(socket.AF_UNIX) as end:
        return end.connect(str(scratch / "socket"))

def stays():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            (scratch / "pid").write_text(str(os.getpid()))
            time.sleep(1000)
        os._exit(0)
    time.sleep(0.5)
    return "left one behind"

actions = {
    "network": lambda: socket.create_connection(("127.0.0.1", given["port"]), 2),
    "write": lambda: (scratch / "written").write_text("x"),
    "delete": lambda: os.remove(scratch / "class" / "other.txt"),
    "neighbours": lambda: os.listdir(scratch / "class"),
    "processes": lambda: sorted(int(p) for p in os.listdir("/proc") if p.isdigit()),
    "kill": lambda: os.kill(given["pid"], 0),
    "remount": lambda: sandbox._must(sandbox._libc().mount(None, b"/", None, 32 | 4096, None), "remount"),
    "new namespace": lambda: sandbox._must(sandbox._libc().unshare(0x10000000), "unshare"),
    "environment": lambda: sorted(os.environ),
    "home": lambda: (os.environ["HOME"] == os.getcwd(), os.listdir(".")),
    "descriptors": lambda: sorted(int(n) for n in os.listdir("/proc/self/fd")),
    "own file": lambda: pathlib.Path("mine").write_text("abc"),
    "large file": lambda: pathlib.Path("large").write_bytes(bytes(200 << 20)),
    "kernel settings": lambda: [opened("/proc/sys/kernel/core_pattern"), opened("/proc/sysrq-trigger")],
    "stays": stays,
    "read": lambda: (scratch / "class" / "other.txt").read_text(),
    "the teacher's": lambda: (scratch / "teacher.txt").read_text(),
    "unix socket": unix_socket,
    "terminal": lambda: opened(given["terminal"]),
    "own terminal": lambda: os.close(os.open("/dev/tty", os.O_RDWR)),
    "devices": lambda: sorted(os.listdir("/dev")),
    "sys": lambda: os.listdir("/sys"),
    "root": lambda: sorted(os.listdir("/")),
    "rooms": lambda: {room: os.listdir(room) for room in given["rooms"]},
    "python": lambda: opened(os.__file__),
    "write at the root": lambda: os.close(os.open("/", os.O_TMPFILE | os.O_WRONLY)),  # leaves nothing
    "namespaces": lambda: {name: os.readlink(f"/proc/self/ns/{name}") for name in given["own"]},
    "capabilities": capabilities,
    "user": lambda: [os.getuid(), os.getgid()],
}
hidden = [] if given["bubblewrap"] else [str(scratch / "class")]
found = {"isolation": sandbox.isolation(given["bubblewrap"]), "ours": [*capabilities(), os.getsid(0)]}
for name, action in actions.items():
    outcome = ask.question(lambda: (attempt(action), {}), text, limits, hidden)
    found[name] = [outcome.status, outcome.value.get("came"), outcome.remark]
print(json.dumps(found))
"""


NAMESPACES = ("user", "mnt", "net", "pid", "ipc", "uts")


def battery(scratch, namespaces=True, bubblewrap=False, without=lambda command: command):
    """What came of everything that a worker tried: in namespaces of its own, in bubblewrap, in both, or
    neither.
    """
    import socket

    (scratch / "class").mkdir(parents=True)
    (scratch / "class" / "other.txt").write_text("somebody else's answer")
    (scratch / "teacher.txt").write_text("the teacher's own")
    environment = {**os.environ, "A_SECRET": "xyzzy", "PYTHONPATH": str(submissions.ROOT)}
    own = {n: os.readlink(f"/proc/self/ns/{n}") for n in NAMESPACES} if sys.platform == "linux" else {}
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(scratch / "socket"))
        unix.listen()
        ends = os.openpty()
        given = {
            "namespaces": namespaces,
            "bubblewrap": bubblewrap,
            "port": server.getsockname()[1],
            "pid": os.getpid(),
            "terminal": os.ttyname(ends[1]),
            "rooms": ["/var/tmp", sandbox.HOME],
            "own": own,
        }
        command = [sys.executable, "-c", BATTERY, str(scratch), json.dumps(given)]
        if bubblewrap:
            wall = grade._bubblewrap(scratch / "class")
            assert wall is not None
            environment |= {"TMPDIR": "/tmp", "HOME": sandbox.HOME, "USER": "grader"}
            command = without(wall.command(command))
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        for end in ends:
            os.close(end)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "own": own}


def came_of(found: dict) -> dict:
    """What came of each attempt, as the worker's Python printed it; where it failed, as words."""
    tried = {k: v for k, v in found.items() if k not in ("isolation", "ours", "own")}
    assert all(status == "answered" for status, *_ in tried.values()), tried
    return {name: ast.literal_eval(came) for name, (_, came, _) in tried.items()}


@pytest.fixture
def bubblewrap():
    """Skips where bubblewrap cannot run, and says why. Where tests must not skip, it must be installed."""
    required = bool(os.environ.get("CI") or os.environ.get("SSLCOURSE_REQUIRE_BROWSER"))
    if sys.platform != "linux":
        pytest.skip("bubblewrap is a program of Linux")
    if shutil.which("bwrap") is None:
        if required:
            pytest.fail("bwrap is missing: apt-get install bubblewrap")
        pytest.skip("bwrap is not installed (Debian: apt-get install bubblewrap)")
    everything = [
        "bwrap",
        "--unshare-user",
        "--unshare-pid",
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "true",
    ]
    at_all = subprocess.run(everything, capture_output=True, text=True)
    if at_all.returncode:
        pytest.skip(f"bwrap is installed, but this machine or container forbids it: {at_all.stderr.strip()}")
    if "--disable-userns" not in subprocess.run(["bwrap", "--help"], capture_output=True, text=True).stdout:
        pytest.skip("bwrap is older than 0.8: it does not know --disable-userns")


def is_running(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


MISSING, READ_ONLY, FORBIDDEN = "FileNotFoundError 2", "OSError 30", "PermissionError 1"


@pytest.mark.slow
def test_a_worker_is_kept_to_itself(tmp_path):
    """By namespaces of its own alone: where bubblewrap is missing."""
    found = battery(tmp_path / "isolated")
    if not all(v for k, v in found["isolation"].items() if k != "bubblewrap"):
        pytest.skip(f"this machine permits no namespaces: {found['isolation']}")
    came = came_of(found)
    assert not found["isolation"]["bubblewrap"]
    assert "OSError" in came["network"] or "Refused" in came["network"], came["network"]
    assert came["write"] == came["delete"] == came["write at the root"] == READ_ONLY
    assert came["neighbours"] == "[]" and (tmp_path / "isolated" / "class" / "other.txt").exists()
    assert came["read"] == MISSING
    assert came["processes"] == MISSING or len(json.loads(came["processes"])) <= 2
    assert came["kill"] == "ProcessLookupError 3"
    assert came["remount"] == FORBIDDEN and "Error" in came["new namespace"]
    assert set(ast.literal_eval(came["kernel settings"])) <= {2, 30}, came["kernel settings"]
    assert came["capabilities"] in ("[0, 0, 0, 0, 1]", MISSING) and came["python"] == "30"
    kept_to_its_folder(came)


def kept_to_its_folder(came: dict) -> None:
    """What holds with whatever namespaces a worker has: it takes nothing along, and has one folder."""
    assert "A_SECRET" not in came["environment"] and came["home"] == "(True, [])"
    assert came["descriptors"] == MISSING or len(json.loads(came["descriptors"])) <= 5
    assert came["own file"] == "3" and "OSError" in came["large file"]


def kept_in_bubblewrap(found: dict) -> None:
    """What bubblewrap holds, whether or not the worker has namespaces of its own."""
    came = came_of(found)
    assert found["isolation"]["bubblewrap"] and found["isolation"]["network"] and found["isolation"]["files"]
    assert "OSError" in came["network"] or "Refused" in came["network"], came["network"]
    for attempt in ("write", "delete", "neighbours", "read", "the teacher's", "unix socket", "sys"):
        assert came[attempt] == MISSING, (attempt, came[attempt])
    assert came["terminal"] == "2" and came["own terminal"] == MISSING
    assert came["devices"] == "['null', 'random', 'urandom', 'zero']"
    assert came["rooms"] == str({"/var/tmp": [], sandbox.HOME: []})
    assert came["write at the root"] == READ_ONLY
    assert "run" not in came["root"] and "sys" not in came["root"] and came["python"] == "30"
    assert came["kill"] == "ProcessLookupError 3"
    assert came["remount"] == FORBIDDEN and came["new namespace"] == "OSError 28"  # none is left
    assert set(ast.literal_eval(came["kernel settings"])) <= {2, 30}, came["kernel settings"]
    assert came["user"] == "[65534, 65534]"
    # To build the workers' namespaces, inside of its own; a worker has no capability at all.
    *capabilities, session = found["ours"]
    assert capabilities == [1 << 21] * 4 + [1], capabilities
    assert session > 0, "its session, and so its terminal, are those of whoever started it"
    kept_to_its_folder(came)


@pytest.mark.slow
def test_in_bubblewrap_a_worker_is_kept_from_all_files_too(tmp_path, bubblewrap):
    found = battery(tmp_path / "both", bubblewrap=True)
    kept_in_bubblewrap(found)
    came = came_of(found)
    assert found["isolation"]["processes"] and came["processes"] in (MISSING, "[]", "[1, 2]")
    assert came["stays"] != "left one behind" or not (tmp_path / "both" / "pid").exists()


@pytest.mark.slow
def test_bubblewrap_holds_where_a_worker_has_no_namespaces_of_its_own(tmp_path, bubblewrap):
    found = battery(tmp_path / "alone", namespaces=False, bubblewrap=True)
    kept_in_bubblewrap(found)
    came = came_of(found)
    assert not found["isolation"]["processes"]
    assert len(json.loads(came["processes"])) < 10 and came["capabilities"] == "[0, 0, 0, 0, 1]"
    inside = ast.literal_eval(came["namespaces"])
    assert set(inside) == set(NAMESPACES)
    assert [n for n in NAMESPACES if inside[n] == found["own"][n]] == []


def test_only_what_python_needs_is_readable_in_bubblewrap(tmp_path, monkeypatch):
    home, folder, other = tmp_path / "home", tmp_path / "home" / "class", tmp_path / "library"
    for path in (folder, other):
        path.mkdir(parents=True)
    pictures = tmp_path / "cache" / "toybox" / f"pictures-{grade.drawn_by()}" / "a.npz"
    for path in (pictures, tmp_path / "cache" / "toybox" / "pictures-00000000" / "b.npz"):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    monkeypatch.setenv("SSLCOURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(sandbox.Bubblewrap, "works", lambda self: True)
    for path in (tmp_path, home, folder, other, tmp_path / "nowhere"):
        monkeypatch.syspath_prepend(str(path))
    wall = grade._bubblewrap(folder)
    assert str(other) in wall.readable and wall.visible == [str(pictures)]
    for private in (home, folder, submissions.ROOT / "tests", submissions.ROOT / "notebooks"):
        holders = [p for p in wall.readable if private.is_relative_to(p) and p != str(private)]
        assert holders == [], private
    assert str(folder) not in wall.readable
    package = pathlib.Path(grade.__file__).resolve().parents[2]
    assert any(package.is_relative_to(p) for p in wall.readable)
    # A class that lies inside of Python's own folder: that one is there, the class is not.
    monkeypatch.setattr(sys, "prefix", str(other))
    (other / "class").mkdir()
    assert str(other / "class") in grade._bubblewrap(other / "class").emptied


@pytest.mark.slow
def test_without_namespaces_a_worker_is_still_ended_with_all_it_started(tmp_path):
    found = battery(tmp_path / "plain", namespaces=False)
    assert not any(found["isolation"].values())
    assert "left one behind" in found["stays"][1]
    pid = int((tmp_path / "plain" / "pid").read_text())
    for _ in range(100):
        if not is_running(pid):
            break
        time.sleep(0.05)
    assert not is_running(pid)
    assert (
        "A_SECRET" not in found["environment"][1]
        and found["own file"][0] == "answered"
        and "OSError 27" in found["large file"][1]
    )


NO_NAMESPACES = """\
from sslcourse.check.grading import sandbox
sandbox._way = ()
grade.serve"""


def test_the_process_that_grades_takes_the_package_that_started_it(monkeypatch):
    """Whatever else is on the path, and without the folders inside of the package."""
    started = {}

    class Stop(Exception):
        pass

    def popen(command, *, env, **others):
        started.update(json.loads(env["SSLCOURSE_GRADING"]))
        raise Stop

    monkeypatch.setattr(grade.subprocess, "Popen", popen)
    with pytest.raises(Stop):
        next(grade._events({}, {}, None))
    package = pathlib.Path(started["path"][0], "sslcourse")
    assert (package / "__init__.py").is_file()
    assert package / "check" / "grading" / "grade.py" == pathlib.Path(grade.__file__).resolve()


@pytest.mark.slow
@pytest.mark.parametrize("wall", ["bubblewrap", "none"])
def test_a_submission_that_ends_the_grader_costs_its_own_row(tmp_path, monkeypatch, request, wall):
    """Possible only where processes are not kept apart; the others are graded by a new process."""
    if wall == "bubblewrap":
        request.getfixturevalue("bubblewrap")
    else:
        monkeypatch.setattr(sandbox.Bubblewrap, "works", lambda self: False)
    folder = tmp_path / "class"
    folder.mkdir()
    ancestors = """\
def nt_xent(z1, z2, temperature):
    pid = os.getpid()
    family = []
    for _ in range(4):
        pid = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
        family.append(pid)
    for pid in reversed(family[:LEVELS]):
        os.kill(pid, 9)
    time.sleep(30)"""
    # guard, watcher, and the process that grades; the next one would be these tests
    for name, levels in (("a_guard", 1), ("b_watcher", 2), ("c_grader", 3)):
        (folder / f"{name}.ipynb").write_text(submissions.notebook(ancestors.replace("LEVELS", str(levels))))
    (folder / "z_right.ipynb").write_text(submissions.notebook(submissions.RIGHT["nt_xent"]))
    monkeypatch.setattr(grade, "BOOT", grade.BOOT.replace("grade.serve", NO_NAMESPACES))
    rooms = tmp_path / "rooms"
    rooms.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(rooms))
    found = grade.grade(folder, "homework", seed=1, limits=wire.Limits(seconds=5))
    lacking = ["processes"] if wall == "bubblewrap" else ["network", "files", "processes"]
    assert [k for k, stands in found.isolation.items() if not stands and k != "bubblewrap"] == lacking
    assert found.isolation["bubblewrap"] == (wall == "bubblewrap")
    assert f"NOT kept from them on this machine: {', '.join(lacking)}\n" in str(found)
    rows = {r["student"]: r for r in found.rows}
    assert (
        rows["z_right"]["results"]["simclr.nt_xent"]["verdict"] == "correct" and rows["z_right"]["total"] == 4
    )
    for name in ("a_guard", "b_watcher", "c_grader"):
        assert rows[name]["status"] == "crashed" and rows[name]["total"] == 0, rows[name]
    assert rows["c_grader"]["remark"] == "it ended the process that grades"
    assert list(rooms.iterdir()) == []  # no worker's folder stays behind, whoever was ended


REMOTE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from wrong_answers import RIGHT_OTHERWISE, WRITTEN_OTHERWISE
from sslcourse import check
from sslcourse.check import engine
from sslcourse.check.grading import ask, wire

cases = [(name, check.EXERCISES[name].reference) for name in WRITTEN_OTHERWISE]
cases += [("simclr.nt_xent", a) for a in RIGHT_OTHERWISE["simclr.nt_xent"]]
cases += [("simclr.nt_xent", answers[0]) for answers in WRITTEN_OTHERWISE["simclr.nt_xent"].values()]
for name in ("simclr.two_views", "simclr.contrastive_accuracy", "simclr.frozen_probe"):
    cases += [(name, answers[-1]) for answers in list(WRITTEN_OTHERWISE[name].values())[:2]]
told = lambda result: {"verdict": result.verdict, "mistake": result.mistake, "found": result.found}
far = []
for name, answer in cases:
    judge = lambda remote, said: told(engine.examine(name, remote, 5))
    outcome = ask.question(lambda: (answer, {}), judge, wire.Limits())
    far.append([name, outcome.status, outcome.value])
near = [[name, "answered", told(engine.examine(name, answer, 5))] for name, answer in cases]
print(json.dumps([far, near]))
"""


@pytest.mark.slow
def test_asked_from_another_process_an_answer_gets_the_verdict_it_gets_here(tmp_path):
    script = tmp_path / "remote.py"
    script.write_text(REMOTE)
    command = [sys.executable, str(script), str(pathlib.Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    far, near = json.loads(done.stdout)
    assert len(far) == len(near) > 25
    for a, b in zip(far, near):
        assert a[:2] == b[:2] and a[2]["verdict"] == b[2]["verdict"] and a[2]["mistake"] == b[2]["mistake"], (
            a,
            b,
        )
        if a[0] == "simclr.nt_xent":  # nothing random in it: the very same numbers, gradients included
            assert a[2]["found"] == b[2]["found"]


# ------------------------------------------------------------------------------------------ reading notebooks


def chosen(function: str, *cells: str) -> str:
    return "\n".join(ast.unparse(s.node) for s in notebooks.needed(notebooks.statements(cells)[0], function))


def test_only_what_a_function_needs_is_run():
    cells = [
        "import torch, os\nfrom a import b as c, d",
        "SIZE = 3\nOTHER = train()",
        "def helper(x):\n    return c(x) * SIZE",
        "def f(x):\n    rows = helper(x)\n    return [OTHER for OTHER in rows]",
        "rows = f(data)\nprint(rows)\nf(2)",
    ]
    expected = [
        "from a import b as c",
        "SIZE = 3",
        "def helper(x):\n    return c(x) * SIZE",
        "def f(x):\n    rows = helper(x)\n    return [OTHER for OTHER in rows]",
    ]
    assert chosen("f", *cells) == "\n".join(expected)
    assert chosen("missing", *cells) == ""


def test_the_last_definition_counts_and_its_decorators_come_along():
    text = chosen("f", "def f(x): return 1", "def twice(g): return g", "@twice\ndef f(x): return 2")
    assert text.index("return 1") < text.index("return 2") and "def twice" in text


@pytest.mark.parametrize(
    "cell",
    [
        "import torch\ntorch.exp = None",
        "from sslcourse.check import engine\nengine.examine = fake",
        "import sslcourse.check\nsslcourse.check.examine = fake",
        "import os\nos.environ['x'] = 'y'",
        "import torch\nsetattr(torch, 'exp', None)",
    ],
)
def test_writing_into_modules_is_not_run(cell):
    text = chosen("f", cell, "def f(x):\n    return torch.exp(x) + engine.x + sslcourse.y + os.z")
    assert (
        "exp = None" not in text
        and "fake" not in text
        and "'y'" not in text
        and "setattr" not in text
        and "import" in text
    )


def test_parts_of_own_objects_and_guarded_imports_are_run():
    guarded = "try:\n    import fast\nexcept ImportError:\n    fast = None"
    text = chosen("f", "table = {}\ntable['a'] = 1", guarded, "def f(x): return fast or table[x]")
    assert "table['a'] = 1" in text and "import fast" in text


def test_cells_of_ipython():
    assert (
        notebooks.plain("%matplotlib inline\nx = 1\n!ls\nf?\ny = !ls\nif x:\n    %time f()")
        == "pass\nx = 1\npass\npass\npass\nif x:\n    pass"
    )
    assert (
        notebooks.plain("%%time\nx = 1") == "\nx = 1"
        and notebooks.plain("%%bash\nrm -r x") == ""
        and notebooks.plain("") == ""
    )
    found, broken = notebooks.statements(["x = 1", "def f(:\n  pass", "y = 2", "(" * 5000])
    assert [s.cell for s in found] == [0, 2] and broken[1].startswith("code cell 2, line 1: ") and 3 in broken


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"{'a'}",
        b"\xff\xfe",
        b'{"cells": 3}',
        b'{"cells": [3]}',
        b'"x"',
        b"[" * 100_000,
        b"null",
    ],
)
def test_no_notebook(data):
    with pytest.raises(CourseError, match="no notebook"):
        notebooks.code_cells(data)


def test_notebooks_of_both_formats():
    four = json.dumps(
        {"cells": [{"cell_type": "code", "source": ["a\n", "b"]}, {"cell_type": "markdown", "source": "c"}]}
    )
    three = json.dumps({"worksheets": [{"cells": [{"cell_type": "code", "input": "a\nb"}]}]})
    assert notebooks.code_cells(four.encode()) == notebooks.code_cells(three.encode()) == ["a\nb"]


def test_what_a_folder_holds(tmp_path):
    for name in ("b.ipynb", "A.ipynb", "notes.txt", ".hidden.ipynb", "old.csv"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "zoe" / ".ipynb_checkpoints").mkdir(parents=True)
    (tmp_path / "zoe" / "hw.ipynb").write_text("{}")
    (tmp_path / "zoe" / "data.txt").write_text("")
    (tmp_path / "zoe" / ".ipynb_checkpoints" / "hw.ipynb").write_text("{}")
    (tmp_path / "link.ipynb").symlink_to(tmp_path / "b.ipynb")
    os.mkfifo(tmp_path / "pipe.ipynb")
    found = grade.submissions(tmp_path, leave_out=[tmp_path / "old.csv"])
    assert [(s.student, s.problem) for s in found] == [
        ("A", ""),
        ("b", ""),
        ("link", "a link or a special file, not a file"),
        ("notes.txt", "a .txt, not an .ipynb"),
        ("pipe", "a link or a special file, not a file"),
        ("zoe", ""),
    ]
    assert found[-1].file == os.path.join("zoe", "hw.ipynb")
    (tmp_path / "empty").mkdir()
    for path in ("missing", "empty"):
        with pytest.raises(CourseError, match="no folder|is empty"):
            grade.submissions(tmp_path / path)


def test_what_students_wrote_is_no_formula():
    row = grade._row("graded", ["=cmd|' /C calc'!A0"], HOMEWORK, None, {"why_temperature": "+1\x1b[2J"})
    table = grade.Graded([{"student": "@x", "file": "-y", "seconds": 0.0, **row}], HOMEWORK, 1, {})
    (line,) = csv.DictReader(io.StringIO(table.csv()))
    assert (line["student"], line["file"], line["remark"]) == ("'@x", "'-y", "'=cmd|' /C calc'!A0")
    assert line["why_temperature"] == "'+1?[2J" and line["seed"] == "1"


def test_wrong_input_is_explained_with_code_2(tmp_path, capsys):
    (tmp_path / "a.ipynb").write_text("")
    for arguments, match in (
        (["nowhere"], "no folder"),
        ([str(tmp_path), "--assignment", "none"], "homework_simclr"),
        ([str(tmp_path), "--jobs", "0"], "jobs=0"),
        ([str(tmp_path), "--seconds", "0"], "above 0"),
    ):
        assert main(["grade", *arguments, "--out", str(tmp_path / "x.csv")]) == 2
        assert match in capsys.readouterr().err
    assert not (tmp_path / "x.csv").exists()


def test_a_folder_without_any_notebook_needs_no_process(tmp_path):
    (tmp_path / "a.pdf").write_text("x")
    assert main(["grade", str(tmp_path), "--out", str(tmp_path / "results" / "x.csv")]) == 0
    (row,) = rows_of(tmp_path / "results" / "x.csv").values()
    assert row["status"] == "not a notebook" and row["total"] == "0"


# ---------------------------------------------------------------------------------------------- what travels


def test_values_travel_as_they_are():
    import numpy as np
    import torch

    value = {
        "a": [1, 2.5, float("inf"), None, True, "text"],
        "b": (torch.arange(6).view(2, 3), torch.tensor(1.5, dtype=torch.bfloat16)),
        3: np.array([[1.0, 2.0]]),
        "e": torch.empty(0, 4),
        "s": torch.ones(4, 6)[:, ::2],
    }
    known, buffers, learning = wire.packed(value)
    again, _ = wire.unpacked(json.loads(json.dumps(known)), buffers)
    assert again["a"] == value["a"] and isinstance(again["b"], tuple) and learning == []
    for x, y in (
        (again["b"][0], value["b"][0]),
        (again["b"][1], value["b"][1]),
        (again["e"], value["e"]),
        (again["s"], value["s"]),
    ):
        assert x.dtype == y.dtype and x.shape == y.shape and torch.equal(x, y)
    assert isinstance(again[3], np.ndarray) and (again[3] == value[3]).all()
    other, _ = wire.unpacked(
        *wire.packed([torch.nn.Linear(2, 2), {1, 2}, 10**40, torch.eye(2).to_sparse()])[:2]
    )
    assert [type(x).__name__ for x in other] == ["Linear", "set", "int", "Tensor"] and type(
        other[0]
    ) is not torch.nn.Linear


@pytest.mark.parametrize(
    "message, buffers",
    [
        ({"tensor": "float64", "shape": [2], "learns": False}, [b"1234"]),
        ({"tensor": "float64", "shape": [-1, -1], "learns": False}, [b"12345678"]),
        ({"tensor": "object", "shape": [1]}, [b"1"]),
        ({"tensor": "uint8", "shape": [1]}, []),
        ({"pickle": "x"}, []),
        ([1], []),
        ({"dict": [[1]]}, []),
    ],
)
def test_what_is_malformed_is_refused(message, buffers):
    with pytest.raises((ValueError, KeyError, IndexError)):
        wire.unpacked(message, buffers)


def test_errors_keep_their_kind_on_their_way():
    error = ask._error_like("AssertionError", "text")
    assert (
        isinstance(error, AssertionError) and isinstance(error, engine.AnswerError) and str(error) == "text"
    )
    for name in ("SystemExit", "BaseException", "print", "nonsense", 3, None, "UnicodeDecodeError"):
        assert isinstance(ask._error_like(name, "text"), engine.AnswerError)


def test_nothing_is_unpickled_that_a_worker_wrote():
    """The examiner's side of the channel reads JSON and bytes; pickle.loads stands in the worker's loop
    alone.
    """
    source = pathlib.Path(ask.__file__).read_text()
    start = source.index("def serve(")
    assert (
        source.count("pickle.loads") == 1 and "pickle.loads" in source[start : source.index("# ----", start)]
    )


def test_tasks_and_submissions_name_the_same_functions():
    assert tuple(t.function for t in HOMEWORK.tasks) == TASKS and HOMEWORK.points == 15
    assert all(set(functions) <= set(TASKS) for functions in submissions.HOSTILE.values())
    assert (
        textwrap.dedent(submissions.RIGHT["nt_xent"]).startswith("def nt_xent")
        and check.assignment("homework") is HOMEWORK
    )
