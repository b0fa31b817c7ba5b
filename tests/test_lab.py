"""`sslcourse lab`: lessons come into a student's folder, the student's work stays, JupyterLab shows them."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from sslcourse.commands import lab, lessons
from sslcourse.commands.parser import divided, main
from sslcourse.runtime.errors import CourseError

ROOT = pathlib.Path(__file__).resolve().parents[1]
OLD = {"01_a.ipynb": b"one\r\nold\n", "homework/b.ipynb": b"two\n"}
NEW = {"01_a.ipynb": b"one\r\nnew\n", "homework/b.ipynb": b"two\n", "02_c.ipynb": b"three"}


def state(folder):
    """Every file with its bytes and the moment it was written."""
    return {
        p.relative_to(folder).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file()
    }


def content(folder):
    return {name: data for name, (data, _) in state(folder).items() if name != lessons.MANIFEST}


# ---------------------------------------------------------------------------------------------- putting files


def test_files_come_byte_by_byte_and_a_second_time_nothing_is_written(tmp_path):
    placed = lessons.place(OLD, tmp_path / "new" / "folder")
    assert placed.new == list(OLD) and content(tmp_path / "new" / "folder") == OLD
    before = state(tmp_path / "new" / "folder")
    placed = lessons.place(OLD, tmp_path / "new" / "folder")
    assert placed.same == list(OLD) and placed.text == "" and state(tmp_path / "new" / "folder") == before


def test_untouched_files_are_updated(tmp_path):
    lessons.place(OLD, tmp_path)
    placed = lessons.place(NEW, tmp_path)
    assert (placed.new, placed.updated, placed.same) == (["02_c.ipynb"], ["01_a.ipynb"], ["homework/b.ipynb"])
    assert content(tmp_path) == NEW


@pytest.mark.parametrize(
    "change",
    [
        lambda old: old + b"\n",
        lambda old: old.replace(b"\r\n", b"\n"),
        lambda old: b"",
        lambda old: b"mine" + old,
    ],
)
def test_a_changed_file_stays_and_the_new_version_is_set_beside_it_once(tmp_path, change):
    lessons.place(OLD, tmp_path)
    mine = change(OLD["01_a.ipynb"])
    (tmp_path / "01_a.ipynb").write_bytes(mine)
    assert lessons.place(OLD, tmp_path).kept == ["01_a.ipynb"]  # nothing newer than what it was made of
    assert not (tmp_path / "01_a.new.ipynb").exists()
    placed = lessons.place(NEW, tmp_path)
    assert placed.beside == {"01_a.ipynb": "01_a.new.ipynb"} and "01_a.new.ipynb" in placed.text
    assert content(tmp_path) == {**NEW, "01_a.ipynb": mine, "01_a.new.ipynb": NEW["01_a.ipynb"]}
    before = state(tmp_path)
    assert lessons.place(NEW, tmp_path).kept == ["01_a.ipynb"] and state(tmp_path) == before
    (tmp_path / "01_a.new.ipynb").unlink()  # the student has seen it, and does not want it
    lessons.place(NEW, tmp_path)
    assert not (tmp_path / "01_a.new.ipynb").exists()


def test_what_is_beside_is_guarded_too(tmp_path):
    lessons.place(OLD, tmp_path)
    (tmp_path / "01_a.ipynb").write_bytes(b"mine")
    lessons.place({"01_a.ipynb": b"2"}, tmp_path)
    lessons.place({"01_a.ipynb": b"3"}, tmp_path)  # nobody touched what was beside it: replaced
    assert content(tmp_path)["01_a.new.ipynb"] == b"3" and not (tmp_path / "01_a.new-2.ipynb").exists()
    (tmp_path / "01_a.new.ipynb").write_bytes(b"mine too")
    placed = lessons.place({"01_a.ipynb": b"4"}, tmp_path)
    assert placed.beside == {"01_a.ipynb": "01_a.new-2.ipynb"}
    found = content(tmp_path)
    assert (found["01_a.ipynb"], found["01_a.new.ipynb"], found["01_a.new-2.ipynb"]) == (
        b"mine",
        b"mine too",
        b"4",
    )


def test_the_student_may_take_the_new_version_or_begin_again(tmp_path):
    lessons.place(OLD, tmp_path)
    (tmp_path / "01_a.ipynb").write_bytes(b"mine")
    lessons.place(NEW, tmp_path)
    os.replace(tmp_path / "01_a.ipynb", tmp_path / "my_01_a.ipynb")
    os.replace(tmp_path / "01_a.new.ipynb", tmp_path / "01_a.ipynb")
    assert lessons.place(NEW, tmp_path).same == list(NEW)
    (tmp_path / "01_a.ipynb").unlink()
    assert lessons.place({"01_a.ipynb": b"5"}, tmp_path).new == ["01_a.ipynb"]
    assert content(tmp_path)["my_01_a.ipynb"] == b"mine"


def test_files_of_others_are_not_touched(tmp_path):
    """No manifest, or one that cannot be read: everything that differs is the student's."""
    (tmp_path / "01_a.ipynb").write_bytes(b"a stranger's")
    (tmp_path / "notes.txt").write_bytes(b"notes")
    placed = lessons.place(OLD, tmp_path)
    assert placed.beside == {"01_a.ipynb": "01_a.new.ipynb"}
    for damaged in (b"{", b"[]", b'{"files": {"01_a.ipynb": 3}}', b"\xff\xfe"):
        (tmp_path / lessons.MANIFEST).write_bytes(damaged)
        placed = lessons.place(NEW, tmp_path)
        assert (
            content(tmp_path)["01_a.ipynb"] == b"a stranger's" and content(tmp_path)["notes.txt"] == b"notes"
        )
    (tmp_path / "new-folder").mkdir()
    placed = lessons.place({"notes.txt": b"x", "new-folder": b"y"}, tmp_path)
    assert placed.beside["notes.txt"] == "notes.new.txt" and (tmp_path / "new-folder").is_dir()


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "far" / "work.ipynb").write_bytes(OLD["01_a.ipynb"])
    lessons.place(OLD, tmp_path / "here")
    (tmp_path / "here" / "01_a.ipynb").unlink()
    try:
        (tmp_path / "here" / "01_a.ipynb").symlink_to(tmp_path / "far" / "work.ipynb")
    except OSError:
        pytest.skip("this system lets nobody make links")
    assert lessons.place(NEW, tmp_path / "here").beside == {"01_a.ipynb": "01_a.new.ipynb"}
    assert (tmp_path / "far" / "work.ipynb").read_bytes() == OLD["01_a.ipynb"] and (
        tmp_path / "here" / "01_a.ipynb"
    ).is_symlink()


def test_a_run_that_dies_loses_nothing(tmp_path, monkeypatch):
    """Die at every writing in turn; the next run takes no file of the student's and leaves nothing out."""
    real, fatal = lessons.atomic, 0

    def dying(path):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return real(path)

    finished = False
    while not finished:
        folder = tmp_path / str(fatal)
        lessons.place({**OLD, "03_d.ipynb": b"old"}, folder)
        (folder / "01_a.ipynb").write_bytes(b"mine")
        left = fatal
        monkeypatch.setattr(lessons, "atomic", dying)
        try:
            lessons.place({**NEW, "03_d.ipynb": b"new"}, folder)
            finished = True
        except KeyboardInterrupt:
            pass
        monkeypatch.setattr(lessons, "atomic", real)
        lessons.place({**NEW, "03_d.ipynb": b"new"}, folder)
        found = content(folder)
        assert found == {
            **NEW,
            "01_a.ipynb": b"mine",
            "01_a.new.ipynb": NEW["01_a.ipynb"],
            "03_d.ipynb": b"new",
        }, fatal
        fatal += 1
    assert fatal > 6


def test_a_folder_that_cannot_be_written_is_said(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_bytes(b"x")
    assert main(["lab", str(tmp_path / "file"), "--no-open"]) == 2
    assert "is a file" in capsys.readouterr().err
    (tmp_path / "homework").write_bytes(b"a file where a folder should be")
    with pytest.raises(CourseError, match="cannot be written"):
        lessons.place(OLD, tmp_path)

    def held(path):  # as Windows says it while another program has the file open
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(lessons, "atomic", held)
    with pytest.raises(
        CourseError, match=r"01_a.ipynb cannot be written \(Permission denied\); close the program"
    ):
        lessons.place(OLD, tmp_path / "other")


def test_only_what_we_wrote_is_withdrawn(tmp_path):
    lessons.place(OLD, tmp_path)
    (tmp_path / "01_a.ipynb").write_bytes(b"mine")
    assert not lessons.withdraw("01_a.ipynb", tmp_path) and not lessons.withdraw("absent", tmp_path)
    assert lessons.withdraw("homework/b.ipynb", tmp_path) and content(tmp_path) == {"01_a.ipynb": b"mine"}


# ------------------------------------------------------------------------------------------------------ names


def portable(name):
    """May a file be called so everywhere? After Microsoft's "Naming files, paths, and namespaces"."""
    parts = pathlib.PureWindowsPath(name).parts
    reserved = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))}
    return (
        all(
            part.split(".")[0].rstrip().upper() not in reserved
            and not re.search(r'[<>:"|?*\x00-\x1f\\]', part)
            and part == part.rstrip(". ")
            and part.isascii()
            for part in parts
        )
        and not pathlib.PureWindowsPath(name).is_absolute()
    )


@pytest.mark.parametrize(
    "name",
    ["con.ipynb", "homework/NUL", "aux.new.ipynb", "a:b.ipynb", "what?.ipynb", "end. /a", "lpt1.txt", "C:/x"],
)
def test_names_that_windows_refuses_are_noticed(name):
    assert not portable(name)


def test_our_names_are_good_everywhere():
    names = [*lessons.notebooks(), lessons.MANIFEST, lab.FOLDER]
    names += [next(lessons._other_names(name)) for name in names]
    assert len(names) > 30 and [name for name in names if not portable(name)] == []
    assert len({name.lower() for name in names}) == len(names)  # a file system may see no difference
    path = lessons._path(pathlib.PureWindowsPath(r"D:\my lessons"), "homework/simclr.ipynb")
    assert str(path) == r"D:\my lessons\homework\simclr.ipynb"


# ------------------------------------------------------------------------------------------------ the command


def test_the_lessons_are_found_in_the_repository_and_in_an_installed_package(tmp_path, monkeypatch):
    assert lessons.folder() == ROOT / "notebooks"
    package = tmp_path / "site-packages" / "sslcourse"
    package.mkdir(parents=True)
    monkeypatch.setattr(lessons.sslcourse, "__file__", str(package / "__init__.py"))
    with pytest.raises(CourseError, match="has no lessons: .*lessons is missing; install the course again"):
        lessons.folder()
    (package / "lessons" / "homework").mkdir(parents=True)
    for name in ("00_start.ipynb", "homework/h.ipynb", "homework/readme.md"):
        (package / "lessons" / name).write_bytes(b"{}")
    assert lessons.notebooks() == {"00_start.ipynb": b"{}", "homework/h.ipynb": b"{}"}


def test_lab_puts_the_lessons_and_says_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["lab", "--no-open"]) == 0
    folder = tmp_path / "sslcourse-lessons"
    assert str(folder) in capsys.readouterr().out and content(folder) == lessons.notebooks()
    with (folder / "01_simclr.ipynb").open("ab") as file:
        file.write(b"\n")
    before = state(folder)
    assert main(["lab", "--no-open", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (
        said["kept"] == ["01_simclr.ipynb"]
        and said["folder"] == str(folder)
        and not said["new"]
        and state(folder) == before
    )


def test_without_jupyterlab_it_says_what_to_type(tmp_path, capsys, monkeypatch):
    real = lab.importlib.util.find_spec
    monkeypatch.setattr(
        lab.importlib.util, "find_spec", lambda name: None if name == "jupyterlab" else real(name)
    )
    assert main(["lab", str(tmp_path / "x")]) == 2
    said = capsys.readouterr()
    assert 'pip install "sslcourse[lab]"' in said.err and (tmp_path / "x" / "00_start.ipynb").is_file()


def test_the_repositorys_own_folder_is_opened_as_it_is(monkeypatch):
    before = state(ROOT / "notebooks")
    assert main(["lab", str(ROOT / "notebooks"), "--no-open"]) == 0
    assert state(ROOT / "notebooks") == before


@pytest.mark.parametrize(
    "words, folder, more",
    [
        (["lab", "--", "--ServerApp.token=x", "--debug"], lab.FOLDER, ["--ServerApp.token=x", "--debug"]),
        (["lab", "a b", "--port", "9", "--", "c"], "a b", ["c"]),
        (["lab", "--no-browser", "a"], "a", []),
    ],
)
def test_what_follows_two_dashes_goes_to_jupyterlab(words, folder, more, tmp_path, monkeypatch):
    started = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lab, "wait_for", lambda words, folder: started.append((words, folder)) or 0)
    assert main(words) == 0
    ((started, where),) = started
    assert where == tmp_path / folder and started[:3] == [sys.executable, "-m", "jupyterlab"]
    assert started[3:5] == [
        f"--ServerApp.root_dir={tmp_path / folder}",
        "--LabApp.default_url=/lab/tree/00_start.ipynb",
    ]
    assert started[len(started) - len(more) :] == more
    assert ("--no-browser" in started) == ("--no-browser" in words) and ("--ServerApp.port=9" in started) == (
        "--port" in words
    )


def test_two_dashes_of_other_commands_are_left_alone():
    assert divided(["grade", "--", "x"]) == (["grade", "--", "x"], [])


def test_interrupts_are_the_programs_affair(tmp_path):
    """Ctrl-C reaches both; we wait until the program has ended by itself, and hand on its status."""
    program = (
        "import signal, sys, time\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(7))\n"
        "print('ready', flush=True)\n"
        "for _ in range(600): time.sleep(0.1)"
    )
    caller = (
        "import sys\nfrom sslcourse.commands import lab\n"
        f"sys.exit(lab.wait_for([sys.executable, '-c', {program!r}], '.'))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", caller], stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT
    )
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 7


@pytest.mark.skipif(os.name == "nt", reason="the signals of POSIX")
def test_a_status_is_not_lost_when_ctrl_c_comes_at_the_last_moment():
    """Between the system's answer and `Popen`'s note of it: an exception there loses the status."""
    caller = (
        "import os, signal\nfrom sslcourse.commands import lab\n"
        "answer = os.waitpid\n"
        "def interrupted(*words):\n"
        "    told = answer(*words)\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    return told\n"
        "os.waitpid = interrupted\n"
        "print(lab.wait_for(['sh', '-c', 'exit 7'], '.'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", caller], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.stdout == "7\n", done.stdout + done.stderr


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.slow
def test_jupyterlab_serves_the_lessons(tmp_path):
    """The real server, asked as a browser asks it; it ends with us."""
    port = free_port()
    env = {
        **os.environ,
        **{f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "DATA", "RUNTIME")},
    }
    words = [
        sys.executable,
        "-m",
        "sslcourse",
        "lab",
        str(tmp_path / "my lessons"),
        "--no-browser",
        "--port",
        str(port),
        "--",
        "--ServerApp.token=secret",
        "--ServerApp.port_retries=0",
    ]
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(words, cwd=ROOT, env=env, stdout=log, stderr=log)
    ask = lambda path: json.load(
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents/{path}?token=secret", timeout=30)
    )
    try:
        for _ in range(600):
            try:
                found = ask("")
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.2)
        names = {entry["path"] for entry in found["content"]} | {
            entry["path"] for entry in ask("homework")["content"]
        }
        assert names - {"homework"} == set(lessons.notebooks())
        assert ask("01_simclr.ipynb")["content"]["nbformat"] == 4
    finally:
        process.terminate()
        process.wait(timeout=60)
    with pytest.raises(OSError):
        ask("")
    assert "lab/tree/00_start.ipynb" in (tmp_path / "log").read_text()
