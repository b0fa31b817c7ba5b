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


@pytest.mark.slow
@pytest.mark.parametrize("wall", ["bubblewrap", "namespaces"])
def test_what_ipython_gives_is_there_and_points_are_not_had_for_nothing(tmp_path, monkeypatch, request, wall):
    if wall == "bubblewrap":
        request.getfixturevalue("bubblewrap")
    else:
        monkeypatch.setattr(sandbox.Bubblewrap, "works", lambda self: False)
    submissions.write_more(tmp_path / "class")
    # A cache that is larger than the worker's folder, which holds 128 MB.
    large = toybox_file(monkeypatch, tmp_path)
    with open(large, "wb") as file:
        file.truncate(300 << 20)
    found = grade.grade(tmp_path / "class", "homework", seed=4, jobs=2, unsafe=True)
    rows = {r["student"]: r for r in found.rows}
    for name in [*submissions.HONEST, "own_module"]:
        assert (rows[name]["total"], rows[name]["status"], rows[name]["remark"]) == (6, "graded", ""), rows[
            name
        ]
    assert rows["constants"]["total"] == 0
    assert [
        rows["constants"]["results"][e]["verdict"]
        for e in ("simclr.compare_temperatures", "simclr.frozen_probe")
    ] == ["not yet"] * 2
    assert rows["reached"]["total"] == 4 and "uses the course's own function" in rows["reached"]["remark"]


def toybox_file(monkeypatch, folder) -> pathlib.Path:
    """A place in a cache of its own, beside the pictures that the tests have drawn."""
    from sslcourse.data.toybox.disk_cache import drawn_by

    drawn = pathlib.Path(os.environ["SSLCOURSE_CACHE"]) / "toybox"
    cache = folder / "cache"
    if drawn.is_dir():
        shutil.copytree(drawn, cache / "toybox", copy_function=os.link)
    monkeypatch.setenv("SSLCOURSE_CACHE", str(cache))
    place = cache / "toybox" / f"films-{drawn_by()}" / "large.npz"
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


@pytest.mark.slow
def test_no_worker_holds_the_seed_or_the_way_to_classmates(tmp_path, monkeypatch):
    """In namespaces alone, where it can read its own memory. A seed that is handed to a worker is found."""
    monkeypatch.setattr(sandbox.Bubblewrap, "works", lambda self: False)
    folder = tmp_path / "where_all_of_them_lie"
    folder.mkdir()
    seed = 1_876_543_219
    cell = submissions.SEARCHES.replace("SEED_BACKWARDS", str(seed)[::-1])
    (folder / "a.ipynb").write_text(submissions.notebook(cell.replace("PATH_BACKWARDS", folder.name[::-1])))
    held = grade.BOOT.replace("grade.serve", f"held = {{'seed': {seed}}}\ngrade.serve")
    for boot, expected in ((grade.BOOT, "found [] in "), (held, "'held'")):
        monkeypatch.setattr(grade, "BOOT", boot)
        found = grade.grade(folder, "homework", seed=seed)
        assert "LookupError: found [" in found.rows[0]["remark"] and expected in found.rows[0]["remark"], (
            found
        )


# ------------------------------------------------------------------------------------- what workers cannot do

BATTERY = """
import ctypes, json, os, pathlib, socket, sys, time
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

def segment():  # of memory that no address space holds
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.shmget(0, 1 << 20, 0o1600) < 0:
        raise OSError(ctypes.get_errno(), "shmget")
    return "made"

def clones():  # a namespace of users, by the call that libraries use for processes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(56 if os.uname().machine == "x86_64" else 220, 0x10000000 | 17, 0, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "clone")
    os._exit(0)

actions = {
    "memory file": lambda: os.memfd_create("x"),
    "segment": segment,
    "clone": clones,
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
visible = sandbox.Visible(**given["visible"])
found = {"isolation": sandbox.isolation(given["bubblewrap"]), "ours": [*capabilities(), os.getsid(0)]}
for name, action in actions.items():
    outcome = ask.question(lambda: (attempt(action), {}), text, limits, visible)
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
            "visible": dataclasses.asdict(grade._visible(scratch / "class")),
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
    """By namespaces of its own alone: where bubblewrap is missing. What is not Python's is not there, the
    user's temporary folder, sockets and terminals included.
    """
    found = battery(tmp_path / "isolated")
    if not all(v for k, v in found["isolation"].items() if k != "bubblewrap"):
        pytest.skip(f"this machine permits no namespaces: {found['isolation']}")
    came = came_of(found)
    assert not found["isolation"]["bubblewrap"]
    assert "OSError" in came["network"] or "Refused" in came["network"], came["network"]
    for attempt in ("write", "delete", "neighbours", "read", "the teacher's", "unix socket", "sys"):
        assert came[attempt] == MISSING, (attempt, came[attempt])
    assert came["write at the root"] == READ_ONLY and (tmp_path / "isolated" / "class" / "other.txt").exists()
    assert came["terminal"] == "2" and came["own terminal"] == MISSING
    assert came["devices"] == "['null', 'random', 'urandom', 'zero']"
    assert {"run", "sys", "old"}.isdisjoint(ast.literal_eval(came["root"])) and came["rooms"].count("[]") == 2
    assert came["user"] == str([os.getuid() or sandbox.NOBODY, os.getgid() or sandbox.NOBODY])
    assert came["processes"] == MISSING or len(json.loads(came["processes"])) <= 2
    assert came["kill"] == "ProcessLookupError 3"
    assert came["remount"] == FORBIDDEN and "Error" in came["new namespace"]
    assert set(ast.literal_eval(came["kernel settings"])) <= {2, 13, 30}, came["kernel settings"]
    assert came["capabilities"] in ("[0, 0, 0, 0, 1]", MISSING) and came["python"] in ("13", "30")
    kept_to_its_folder(came)


def kept_to_its_folder(came: dict) -> None:
    """What holds with whatever namespaces a worker has: it takes nothing along, and has one folder."""
    assert "A_SECRET" not in came["environment"] and came["home"] == "(True, [])"
    assert came["descriptors"] == MISSING or len(json.loads(came["descriptors"])) <= 5
    assert came["own file"] == "3" and "OSError" in came["large file"]
    if os.uname().machine in sandbox._REFUSED:
        for attempt in ("memory file", "segment", "clone"):
            assert came[attempt] == FORBIDDEN, (attempt, came[attempt])


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
    assert came["remount"] == came["new namespace"] == FORBIDDEN
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
    assert "PermissionError" in found["memory file"][1] or sys.platform != "linux"
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
        next(grade._events({}, 0, {}, None, False))
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
    with pytest.raises(CourseError, match="nothing was graded.*your other processes.*--unsafe"):
        grade.grade(folder, "homework", seed=1)
    found = grade.grade(folder, "homework", seed=1, limits=wire.Limits(seconds=5), unsafe=True)
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
from pathlib import Path
from sslcourse.check.grading import ask, grade, sandbox, wire

visible = sandbox.Visible(grade._python(Path(sys.argv[1])))  # as in grading
cases = [(name, check.EXERCISES[name].reference) for name in WRITTEN_OTHERWISE]
cases += [("simclr.nt_xent", a) for a in RIGHT_OTHERWISE["simclr.nt_xent"]]
cases += [("simclr.nt_xent", answers[0]) for answers in WRITTEN_OTHERWISE["simclr.nt_xent"].values()]
for name in ("simclr.two_views", "simclr.contrastive_accuracy", "simclr.frozen_probe"):
    cases += [(name, answers[-1]) for answers in list(WRITTEN_OTHERWISE[name].values())[:2]]
told = lambda result: {"verdict": result.verdict, "mistake": result.mistake, "found": result.found}
far = []
for name, answer in cases:
    judge = lambda remote, said: told(engine.examine(name, remote, 5))
    outcome = ask.question(lambda: (answer, {}), judge, wire.Limits(), visible)
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


def python(cell: str) -> str:
    """A cell as the grader runs it."""
    return ast.unparse(notebooks._tree(cell))


def test_cells_of_ipython():
    """Against IPython itself: what its transformer makes of a cell without cell magics is what we take."""
    from IPython.core.inputtransformer2 import TransformerManager

    for cell in (
        "%matplotlib inline\nx = 1\n!ls\nf?\ny = !ls\nif x:\n    %pip list",
        'def f():\n    return ("%d of %d"\n            % (1, 2))',
        "def f():\n    return (3\n            != 4)",
        'T = """a\n%b\n!c\n?d"""',
        ">>> x = 1\n>>> y = 2",
        "    x = 1\n    y = 2",
        "await g()",
        "",
    ):
        assert notebooks.plain(cell) == TransformerManager().transform_cell(cell)
    assert notebooks.plain("\n\n%%time\n%%capture out\nx = 1").split("\n")[4] == "x = 1"  # in its own line
    for language in ("bash", "html", "writefile x.py", "script ruby", "!"):
        assert notebooks.plain(f"%%{language}\nrm -r x") == ""
    assert notebooks.statements(["%%cython\ndef f(): pass"])[1] == {
        0: "code cell 1 is a %%cython cell: what it holds is not run here"
    }
    assert notebooks.statements(["%%writefile a.py\ndef f(): pass"])[1] == {}
    written = [
        "%%writefile a.py\nx = 1",
        "%%writefile -a a.py\ny = 2",
        "%%file b c.py\n",
        "%%writefile ../d.py\n",
    ]
    assert notebooks.files([*written, "%%writefile /e.py\n", "x"]) == {"a.py": "x = 1y = 2"}
    found, broken = notebooks.statements(["x = 1", "def f(:\n  pass", "y = 2", "(" * 5000, "\ud800 = 1"])
    assert [s.cell for s in found] == [0, 2] and broken[1].startswith("code cell 2, line 1: ") and 3 in broken
    assert 4 in broken


@pytest.mark.parametrize("magic", ["time", "timeit -n1", "capture", "prun -s time", "memit", "debug", "heat"])
def test_python_below_a_cell_magic_is_python(magic):
    assert chosen("f", f"%%{magic}\ndef f():\n    return 1") == "def f():\n    return 1"


def test_python_behind_a_line_magic_is_python():
    assert python("%time rows = [1, 2]\n%prun -s time x = f()") == "rows = [1, 2]\nx = f()"
    assert python("x = %time 3 + 4\n%time") == "x = 3 + 4\npass"
    assert "get_ipython().run_line_magic" in python("x = %timeit -o f()")


FILLED = {
    "append": ("W = []\nfor i in range(3):\n    W.append(i)", "sum(W)"),
    "comprehension": ("W = []\n[W.append(i) for i in range(3)]", "sum(W)"),
    "update": ("W = {}\nW.update(a=3)", "W['a']"),
    "item": ("W = {}\nwith open(__import__('os').devnull):\n    W['a'] = 3", "W['a']"),
    "setattr": ("class W: pass\nsetattr(W, 'a', 3)", "W.a"),
    "deep": ("W = {'a': []}\nW['a'].append(3)", "W['a'][0]"),
    "own function": ("W = []\ndef put(x):\n    W.append(x)\nput(3)", "W[0]"),
    "own function's argument": ("W = []\ndef put(x, w):\n    w.append(x)\nput(3, W)", "W[0]"),
    "own class": (
        "class T:\n    def __init__(self): self.a = 0\n    def put(self, x): self.a = x\nW = T()\nW.put(3)",
        "W.a",
    ),
    "own global": ("W = 0\ndef put():\n    global W\n    W = 3\nput()", "W"),
    "heap": ("import heapq\nW = []\nheapq.heappush(W, 3)", "W[0]"),
    "method of the class": ("W = []\nlist.append(W, 3)", "W[0]"),
    "removed": ("W = {'a': 3, 'b': 4}\ndel W['b']", "sum(W.values())"),
    "function's attribute": ("def f(): return f.a\nf.a = 3", None),
}


@pytest.mark.parametrize("way", FILLED)
def test_what_fills_a_table_at_the_top_level_arrives(way):
    cell, value = FILLED[way]
    space = {"__name__": "notebook"}
    exec(chosen("f", cell, *([f"def f(): return {value}"] if value else [])), space)
    assert space["f"]() == 3


def test_what_tries_the_answer_out_is_not_run():
    text = chosen(
        "f",
        "LOSSES = []\nimport torch\ntorch.manual_seed(0)",
        "def f(x):\n    LOSSES.append(x)\n    return helper(x)\ndef helper(x): return x",
        "for i in range(10**9):\n    LOSSES.append(f(i))\nf(2)\nprint(LOSSES)\nplot(LOSSES)",
        "def train(net):\n    for i in range(10**9): f(i)\ntrain(3)",
    )
    assert "10**9" not in text.replace(" ", "") and "print" not in text and "manual_seed" not in text


WRITTEN = {
    'why = "a"': "a",
    'why: str = "a"': "a",
    'import textwrap\nwhy = textwrap.dedent("""\n  a\n  b""")': "a\nb",
    'why = "a" "b".upper() + "c"': '"ab".upper() + "c"',  # upper is not among what is put together
    'why = "a" + "b"\nwhy += "c"': "abc",
    'why = "a".strip().replace("a", "b")': "b",
    'why = "%d of %s" % (1, "x")': "1 of x",
    'part = "a"\nwhy = f"{part} and {2}"': "a and 2",
    'if True:\n    why = "a"': "a",
    'x, why = 1, "a"': "a",
    'why = " ".join(["a", "b"])': "a b",
    'why = """a\n% of them\n!b"""': "a\n% of them\n!b",
    "why = open('x').read()": "open('x').read()",
    "why = 'a'\ndef f():\n    why = 'b'": "a",
    "%%time\nwhy = 'a'": "a",
    "x = 1": "",
}


@pytest.mark.parametrize("cell", WRITTEN)
def test_written_answers_arrive_as_written(cell):
    found = notebooks.texts(notebooks.statements([cell])[0], ["why"])["why"]
    assert found.replace("'", '"') == WRITTEN[cell].replace("'", '"')


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
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        assert notebooks.code_cells(four.encode(encoding)) == ["a\nb"]
    odd = {"cells": [{"cell_type": "raw", "source": "x"}, {"cell_type": "code"}, {"source": "y"}]}
    assert notebooks.code_cells(json.dumps(odd).encode()) == [""]
    assert notebooks.code_cells(b'{"cells": []}') == []


# ----------------------------------------------------------------------------------------- rows that are kept


@pytest.mark.parametrize("place", ["folder", "below a file", "no such device", "zero byte"])
def test_the_target_is_proven_before_anything_is_graded(tmp_path, monkeypatch, capsys, place):
    (tmp_path / "a.ipynb").write_text("{}")
    (tmp_path / "file").write_text("mine")
    target = {
        "folder": str(tmp_path),
        "below a file": str(tmp_path / "file" / "x.csv"),
        "no such device": "/proc/none/x.csv",
        "zero byte": "x\0.csv",
    }[place]
    monkeypatch.setattr(grade, "grade", lambda *_, **__: pytest.fail("it was graded"))
    try:
        code = main(["grade", str(tmp_path), "--out", target])
    except SystemExit as ended:
        code = ended.code
    told = capsys.readouterr().err
    assert code == 2 and "Traceback" not in told
    assert (tmp_path / "file").read_text() == "mine"


def classes(tmp_path, *names: str) -> pathlib.Path:
    folder = tmp_path / "class"
    folder.mkdir()
    for name in names:
        (folder / f"{name}.ipynb").write_text(json.dumps({"cells": [], "x": name}))
    return folder


def playing(monkeypatch, *, until: int | None = None) -> list[dict]:
    """Instead of the process that grades, one that gives every notebook 4 points; after `until` rows comes
    Ctrl-C. Returns the jobs that it was given.
    """
    jobs: list[dict] = []

    def events(job, seed, notebooks, wall, unsafe):
        jobs.append({**job, "seed": seed})
        yield {"isolation": {"network": True, "files": True, "processes": True, "bubblewrap": False}}
        for done, number in enumerate(job["submissions"]):
            if done == until:
                raise KeyboardInterrupt
            yield {"started": number}
            yield {
                "number": number,
                "row": {**grade._row("graded", [], HOMEWORK), "total": 4, "seconds": 1.0},
            }

    monkeypatch.setattr(grade, "_events", events)
    monkeypatch.setattr(grade, "_bubblewrap", lambda folder: None)
    return jobs


def test_rows_are_kept_as_they_come_and_a_run_goes_on_from_them(tmp_path, monkeypatch, capsys):
    folder, out = classes(tmp_path, "a", "b", "c", "d"), tmp_path / "grades.csv"
    kept = tmp_path / "grades.csv.rows.jsonl"
    command = ["grade", str(folder), "--out", str(out)]
    first = playing(monkeypatch, until=2)
    assert main(command) == 130
    assert "2 rows are kept" in capsys.readouterr().err and list(rows_of(out)) == ["a", "b"]
    with open(kept, "a") as file:
        file.write('{"student": "c", "fi')  # the machine went off while it wrote
    (folder / "a.ipynb").write_text("{}")  # handed in anew
    second = playing(monkeypatch)
    assert main(command) == 0
    assert second[0]["seed"] == first[0]["seed"] and second[0]["submissions"] == [0, 2, 3]
    rows = rows_of(out)
    assert list(rows) == ["a", "b", "c", "d"] and {r["total"] for r in rows.values()} == {"4"}
    assert not kept.exists()


def test_a_table_that_is_there_stays_as_it_is_when_a_run_is_broken_off(tmp_path, monkeypatch):
    folder, out = classes(tmp_path, "a", "b"), tmp_path / "grades.csv"
    out.write_text("last year's")
    playing(monkeypatch, until=1)
    assert main(["grade", str(folder), "--out", str(out)]) == 130
    assert out.read_text() == "last year's"


@pytest.mark.parametrize(
    "other, match",
    [
        (["--seed", "5"], "seed 4, not 5"),
        (["--seconds", "7"], "limits"),
        (["--assignment", "01_simclr"], "assignment homework_simclr, not 01_simclr"),
    ],
)
def test_rows_of_another_run_are_not_taken(tmp_path, monkeypatch, capsys, other, match):
    folder, out = classes(tmp_path, "a", "b"), tmp_path / "grades.csv"
    playing(monkeypatch, until=1)
    assert main(["grade", str(folder), "--out", str(out), "--seed", "4"]) == 130
    kept = (tmp_path / "grades.csv.rows.jsonl").read_bytes()
    out.unlink()
    jobs = playing(monkeypatch)
    assert main(["grade", str(folder), "--out", str(out), *other]) == 2
    told = capsys.readouterr().err
    assert match in told and "to go on" in told and "--out" in told
    assert jobs == [] and not out.exists() and (tmp_path / "grades.csv.rows.jsonl").read_bytes() == kept


@pytest.mark.parametrize(
    "text", ["", "mine", '{"a": 1}\n', "[]\n", '{"kept by": "sslcourse grade"}\n', "\xff\n"]
)
def test_a_file_that_is_not_ours_is_left_alone(tmp_path, monkeypatch, capsys, text):
    folder, out = classes(tmp_path, "a"), tmp_path / "grades.csv"
    place = tmp_path / "grades.csv.rows.jsonl"
    place.write_text(text, encoding="latin-1")
    jobs = playing(monkeypatch)
    assert main(["grade", str(folder), "--out", str(out)]) == 2 and jobs == []
    assert place.read_text(encoding="latin-1") == text and "--out" in capsys.readouterr().err


def test_rows_that_were_tampered_with_are_graded_again(tmp_path, monkeypatch):
    folder, kept = classes(tmp_path, "a"), tmp_path / "rows"
    playing(monkeypatch)
    grade.grade(folder, kept=kept)
    lines = kept.read_text().splitlines()
    jobs = playing(monkeypatch)
    grade.grade(folder, kept=kept)
    assert jobs == []  # all are there
    for broken in ('{"row": 3}', '{"student": "a", "file": "a.ipynb", "digest": "x", "row": {}}', "3"):
        kept.write_text("\n".join([lines[0], broken]) + "\n")
        jobs = playing(monkeypatch)
        grade.grade(folder, kept=kept)
        assert [j["submissions"] for j in jobs] == [[0]]


@pytest.mark.slow
def test_ctrl_c_keeps_rows(tmp_path):
    """With the process that grades, and a signal."""
    folder, out = tmp_path / "class", tmp_path / "grades.csv"
    folder.mkdir()
    (folder / "a.ipynb").write_text(submissions.notebook(submissions.RIGHT["nt_xent"]))
    (folder / "b.ipynb").write_text(submissions.notebook(submissions.HOSTILE["endless"]["nt_xent"]))
    command = [sys.executable, "-m", "sslcourse", "grade", str(folder), "--out", str(out), "--unsafe"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stderr.readline().startswith("a: ")
        time.sleep(1)
        run.send_signal(2)
        told = run.communicate(timeout=60)[1]
    assert run.returncode == 130 and "1 rows are kept" in told
    seed = rows_of(out)["a"]["seed"]
    assert rows_of(out)["a"]["total"] == "4" and len(rows_of(out)) == 1
    (folder / "b.ipynb").write_text(submissions.notebook(submissions.RIGHT["nt_xent"]))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "a: " not in done.stderr and "b: " in done.stderr
    assert {r["seed"] for r in rows_of(out).values()} == {seed} and len(rows_of(out)) == 2


# --------------------------------------------------------------------------------------------- our own faults


def test_what_we_fail_to_do_takes_no_points(tmp_path, monkeypatch):
    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ask, "isolate", fails)
    found = ask.ask(lambda: {}, wire.Limits(seconds=5))
    assert found.status == "not examined" and "No space left" in found.remark
    found = ask.question(lambda: (len, {}), lambda answer, said: {}, wire.Limits(seconds=5))
    assert found.status == "not examined" and "No space left" in found.remark


def test_what_is_prepared_for_an_answer_is_ours():
    def fails():
        raise OSError("the pictures are gone")

    seconds = wire.Limits(seconds=5)
    found = ask.question(lambda: (len, {}), lambda answer, said: {"x": answer("ab")}, seconds, prepare=fails)
    assert found.status == "not examined" and "the pictures are gone" in found.remark


def test_what_was_not_examined_has_no_points_and_no_total():
    results = {
        t.exercise: {"verdict": "correct", "mistake": "", "found": "", "borrowed": False, "points": t.points}
        for t in HOMEWORK.tasks
    }
    results["simclr.nt_xent"] |= {"verdict": "not examined", "points": None}
    row = grade._row("not examined", ["nt_xent: the disk is full"], HOMEWORK, results)
    assert row["total"] is None and row["remark"] == "nt_xent: the disk is full; the others earn 11 points"
    whole = grade._row("not examined", ["no more processes"], HOMEWORK)
    assert whole["total"] is None and {r["points"] for r in whole["results"].values()} == {None}
    table = grade.Graded([{"student": "a", "file": "a", "seconds": 0.0, **row}], HOMEWORK, 1, {})
    (line,) = table.table()
    assert line["total"] == line["simclr.nt_xent points"] == "" and line["simclr.two_views points"] == "2"
    assert "? of 15" in str(table)


def test_an_answer_cannot_fill_the_examiners_memory(tmp_path):
    """By one message: a list that is short in JSON is long in memory. Nor by the types that it names."""
    told = lambda answer, said: {"came": len(answer(3))}
    python = grade._visible(tmp_path)
    found = ask.question(lambda: (lambda x: [[]] * 400_000, {}), told, wire.Limits(seconds=20), python)
    assert found.status == "not examined" and "at most 4,194,304 are read" in found.remark
    few, _ = wire.unpacked({"list": [{"other": f"T{i}"} for i in range(5000)]}, [])
    assert len({type(x) for x in few}) == wire.MOST_TYPES + 1


def test_a_message_that_is_too_long_is_not_read():
    import struct

    class End:
        """A line on which all has been sent already."""

        def __init__(self, letters: int):
            body = json.dumps({"message": {"x": "y" * letters}, "sizes": []}).encode()
            self.sent = io.BytesIO(struct.pack("<I", len(body)) + body)
            self.recv = self.sent.read

    assert wire.Channel(End(1000)).receive()[0] == {"x": "y" * 1000}
    with pytest.raises(wire.Gone):
        wire.Channel(End(wire.LARGEST_HEAD)).receive()
    with pytest.raises(wire.TooLarge):
        wire.Channel(End(0)).send({"x": "y" * wire.LARGEST_HEAD})


@pytest.mark.parametrize("lacking", ["network", "files", "processes"])
def test_what_is_not_held_is_said_before_anything_runs(lacking):
    held = {"network": True, "files": True, "processes": True, "bubblewrap": False}
    grade._refuse_unsafe(held, False)
    held[lacking] = False
    with pytest.raises(CourseError, match="nothing was graded.*--unsafe"):
        grade._refuse_unsafe(held, False)
    grade._refuse_unsafe(held, True)


# ---------------------------------------------------------------------------------------- what a folder holds


def test_what_a_folder_holds(tmp_path):
    for name in ("b.ipynb", "A.ipynb", "C.IPYNB", "notes.txt", ".hidden.ipynb", "old.csv", "d.e f ü.ipynb"):
        (tmp_path / name).write_text("{}")
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "__MACOSX/._b.ipynb", "__MACOSX/b.ipynb", "x.zip"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "zoe" / ".ipynb_checkpoints").mkdir(parents=True)
    (tmp_path / "zoe" / "__MACOSX").mkdir()
    (tmp_path / "zoe" / "HW.Ipynb").write_text("{}")
    (tmp_path / "zoe" / "data.txt").write_text("")
    for name in (".ipynb_checkpoints/hw.ipynb", "__MACOSX/hw.ipynb", "._HW.Ipynb"):
        (tmp_path / "zoe" / name).write_text("{}")
    (tmp_path / "link.ipynb").symlink_to(tmp_path / "b.ipynb")
    os.mkfifo(tmp_path / "pipe.ipynb")
    found = grade.submissions(tmp_path, leave_out=[tmp_path / "old.csv"])
    assert [(s.student, s.problem) for s in found] == [
        ("A", ""),
        ("b", ""),
        ("C", ""),
        ("d.e f ü", ""),
        ("link", "a link or a special file, not a file"),
        ("notes.txt", "a .txt, not an .ipynb"),
        ("pipe", "a link or a special file, not a file"),
        ("x.zip", "a .zip, not an .ipynb: unpack it into a folder of this name, and grade again"),
        ("zoe", ""),
    ]
    assert found[-1].file == os.path.join("zoe", "HW.Ipynb")
    (tmp_path / "empty").mkdir()
    for path, match in (("missing", "no folder"), ("empty", "is empty"), ("x.zip", "unpack it first")):
        with pytest.raises(CourseError, match=match):
            grade.submissions(tmp_path / path)


def test_what_students_wrote_is_no_formula():
    for text, cell in {
        "+1\x1b[2J": "'+1\\x1b[2J",
        "It helps;=1+1;@SUM(A1)": "It helps;'=1+1;'@SUM(A1)",
        ";=1+1": "';'=1+1",
        "\t=1+1": "'\t'=1+1",
        "a\r=1+1": "a\\x0d=1+1",
        "  =1": "  '=1",
        "a\n-1+cmd": "a\n'-1+cmd",
        "half \ud800": "half \\ud800",
        "-0.5": "-0.5",
        "a - b = c": "a - b = c",
    }.items():
        row = grade._row("graded", ["=cmd|' /C calc'!A0"], HOMEWORK, None, {"why_temperature": text})
        table = grade.Graded([{"student": "@x\udcff", "file": "-y", "seconds": 0.0, **row}], HOMEWORK, 1, {})
        written = table.csv().encode("utf-8")  # nothing in it that has no bytes
        (line,) = csv.DictReader(io.StringIO(written.decode(), newline=""))
        assert (line["student"], line["file"], line["remark"]) == ("'@x\\udcff", "'-y", "'=cmd|' /C calc'!A0")
        assert line["why_temperature"] == cell and line["seed"] == "1"
        assert "\x1b" not in str(table) and str(table).encode("utf-8")


def test_wrong_input_is_explained_with_code_2(tmp_path, capsys):
    (tmp_path / "a.ipynb").write_text("")
    for arguments, match in (
        (["nowhere"], "no folder"),
        ([str(tmp_path), "--assignment", "none"], "homework_simclr"),
        ([str(tmp_path), "--jobs", "0"], "jobs=0"),
        ([str(tmp_path), "--jobs", "100000"], "jobs=100000"),
        ([str(tmp_path), "--seconds", "0"], "above 0"),
        ([str(tmp_path), "--seconds", "nan"], "above 0"),
        ([str(tmp_path), "--seconds", "inf"], "above 0"),
        ([str(tmp_path), "--memory", "-1"], "above 0"),
        ([str(tmp_path), "--memory", str(10**30)], "above 0"),
        ([str(tmp_path), "--seed", "-1"], "seed=-1"),
        ([str(tmp_path), "--seed", str(2**70)], f"seed={2**70}"),
    ):
        try:  # the command line refuses some itself
            code = main(["grade", *arguments, "--out", str(tmp_path / "x.csv")])
        except SystemExit as ended:
            code = ended.code
        assert code == 2
        told = capsys.readouterr().err
        assert match in told or arguments[-2] in told
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
