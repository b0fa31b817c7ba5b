"""The kit for Colab: what the first cell of its notebooks does, run as Colab runs it, and its wheel."""

import base64
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import zipfile

import pytest

from sslcourse.commands import colab, lessons
from sslcourse.commands.parser import main
from sslcourse.runtime.errors import CourseError

ROOT = pathlib.Path(__file__).resolve().parents[1]
NAME = "sslcourse-0.1.0-py3-none-any.whl"


def a_wheel(folder, name=NAME):
    """Enough of a wheel to be taken for one."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("sslcourse/__init__.py", "")
    return folder / name


@pytest.fixture
def kit(tmp_path):
    """A kit as it is written, its wheel taken out of it: tests put it where they want it."""
    wheel = a_wheel(tmp_path / "made")
    assert main(["colab", "--out", str(tmp_path / "kit"), "--wheel", str(wheel)]) == 0
    return tmp_path / "kit"


def first_code(notebook):
    page = json.loads(notebook.read_text(encoding="utf-8"))
    return "".join(next(c for c in page["cells"] if c["cell_type"] == "code")["source"])


MACHINE = """\
import importlib.machinery, importlib.util, json, os, pathlib, subprocess, sys, types
on_colab, drive_has, fails = json.loads(os.environ["MACHINE"])
real = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "sslcourse" else real(name)
def mount(where):
    print("MOUNT", where)
    if fails:
        raise ValueError("mount failed")
    for file in drive_has:
        path = pathlib.Path(where, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
if on_colab:
    google, on, drive = (types.ModuleType(n) for n in ("google", "google.colab", "google.colab.drive"))
    for module in (google, on, drive):
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None, is_package=True)
        module.__path__ = []
        sys.modules[module.__name__] = module
    google.colab, on.drive, drive.mount = on, drive, mount
def run(words, check):
    assert check is True
    print("PIP", json.dumps(words[1:]))
subprocess.run = run
exec(compile(sys.stdin.read(), "first cell", "exec"), {"__name__": "__main__"})
"""


def run_cell(cell, content, colab=True, drive=(), fails=False, cwd=None):
    """Run a first cell where /content is `content`: (pip's arguments or None, was Drive asked, result)."""
    content.mkdir(parents=True, exist_ok=True)
    assert "/content" in cell
    done = subprocess.run(
        [sys.executable, "-c", MACHINE],
        input=cell.replace("/content", content.as_posix()),
        text=True,
        capture_output=True,
        cwd=cwd or content,
        env={**os.environ, "MACHINE": json.dumps([colab, list(drive), fails])},
    )
    asked = re.findall(r"^PIP (.*)$", done.stdout, re.M)
    assert len(asked) <= 1
    return (json.loads(asked[0]) if asked else None), "MOUNT" in done.stdout, done


def installs(*what):
    return ["-m", "pip", "install", "-q", *what]


def test_all_notebooks_of_a_kit_begin_with_its_cell_and_are_else_as_stored(kit):
    stored = lessons.notebooks()
    assert len(stored) > 10 and "homework/simclr.ipynb" in stored
    assert {p.relative_to(kit).as_posix() for p in kit.rglob("*.ipynb")} == set(stored)
    for name, content in stored.items():
        assert first_code(kit / name) == colab.first_cell(colab.address(), kit=True), name
        mine, theirs = json.loads((kit / name).read_bytes()), json.loads(content)
        differ = [
            i
            for i, (a, b) in enumerate(zip(mine["cells"], theirs["cells"]))
            if {**a, "source": 0} != {**b, "source": 0}
        ]
        assert (
            not differ
            and mine["metadata"] == theirs["metadata"]
            and len(mine["cells"]) == len(theirs["cells"])
        )
    assert (kit / NAME).is_file() and NAME in (kit / "README.md").read_text(encoding="utf-8")


def test_a_wheel_beside_the_notebook_is_installed_without_asking_for_drive(kit, tmp_path):
    wanted, asked, done = run_cell(first_code(kit / "01_simclr.ipynb"), tmp_path / "content", cwd=kit)
    assert wanted == installs(f"./{NAME}") and not asked, done.stderr


def test_a_wheel_that_was_uploaded_is_installed(kit, tmp_path):
    there = a_wheel(tmp_path / "content")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    wanted, asked, done = run_cell(
        first_code(kit / "homework" / "simclr.ipynb"), tmp_path / "content", cwd=elsewhere
    )
    assert wanted == installs(there.as_posix()) and not asked, done.stderr


@pytest.mark.parametrize("where", ["", "kit/", "teaching/kit/"])
def test_a_wheel_in_drive_is_installed_once_drive_is_open(kit, tmp_path, where):
    content = tmp_path / "content"
    wanted, asked, done = run_cell(
        first_code(kit / "01_simclr.ipynb"), content, drive=[f"MyDrive/{where}{NAME}"]
    )
    assert wanted == installs(f"{content.as_posix()}/drive/MyDrive/{where}{NAME}") and asked, done.stderr
    again, asked, _ = run_cell(first_code(kit / "01_simclr.ipynb"), content)  # it is open now
    assert again == wanted and not asked


def test_the_newest_of_several_versions_and_no_second_copy_of_a_browser(tmp_path):
    for version in ("0.1.0", "0.3.0", "0.2.0"):
        a_wheel(tmp_path / "content", NAME.replace("0.1.0", version))
    a_wheel(tmp_path / "content", "sslcourse-0.4.0-py3-none-any (1).whl")  # pip refuses such a name
    wanted, *_ = run_cell(colab.first_cell("", kit=True), tmp_path / "content")
    assert wanted == installs("./sslcourse-0.3.0-py3-none-any.whl")


def test_with_nothing_one_sentence_says_what_to_do(kit, tmp_path):
    wanted, asked, done = run_cell(
        first_code(kit / "01_simclr.ipynb"), tmp_path / "content", drive=["MyDrive/a/b/c/" + NAME]
    )
    assert wanted is None and asked and done.returncode == 1
    assert re.fullmatch(
        r"The course is not here: upload its file sslcourse-\S+\.whl .*again\.\n", done.stderr
    )
    wanted, asked, done = run_cell(first_code(kit / "01_simclr.ipynb"), tmp_path / "other", fails=True)
    assert (
        wanted is None
        and "Your Drive cannot be read: mount failed" in done.stdout
        and "Traceback" not in done.stderr
    )


ADDRESS = "git+https://github.com/someone/course"


@pytest.mark.parametrize("kit", [True, False])
def test_an_address_is_used_where_no_wheel_is(tmp_path, kit):
    cell = colab.first_cell(ADDRESS, kit=kit)
    wanted, asked, _ = run_cell(cell, tmp_path / "a")
    assert (
        wanted == installs(ADDRESS) and asked == kit
    )  # a lesson opened by a badge does not ask for anybody's Drive
    wanted, _, _ = run_cell(cell, tmp_path / "b", fails=True)
    assert wanted == installs(ADDRESS)
    a_wheel(tmp_path / "c")
    assert run_cell(cell, tmp_path / "c")[0] == installs(f"./{NAME}")
    wanted, _, _ = run_cell(cell, tmp_path / "d", drive=[f"MyDrive/kit/{NAME}"])
    assert wanted == (
        installs((tmp_path / "d").as_posix() + f"/drive/MyDrive/kit/{NAME}") if kit else installs(ADDRESS)
    )


def test_at_home_it_does_nothing(tmp_path):
    a_wheel(tmp_path / "content")
    wanted, asked, done = run_cell(colab.first_cell(ADDRESS, kit=True), tmp_path / "content", colab=False)
    assert wanted is None and not asked and done.returncode == 0 and done.stdout == ""


# --------------------------------------------------------------------------------- the address and the badges


@pytest.mark.parametrize(
    "url, address",
    [
        ("https://example.org/sslcourse", ""),
        ("https://www.example.com/x", ""),
        ("https://github.com/a/b", "git+https://github.com/a/b"),
        ("https://example.org.uk/x", "git+https://example.org.uk/x"),
    ],
)
def test_a_stand_in_is_no_address(tmp_path, monkeypatch, url, address):
    (tmp_path / "pyproject.toml").write_text(f'[project.urls]\nRepository = "{url}"\n')
    monkeypatch.setattr(lessons, "checkout", lambda: tmp_path)
    assert colab.address() == address


def test_badges_only_where_colab_can_open_the_address():
    assert (
        colab.badge("01_simclr.ipynb", "") == ""
        and colab.badge("01_simclr.ipynb", "https://codeberg.org/a/b") == ""
    )
    badge = colab.badge("01_simclr.ipynb", "https://github.com/a/b.git")
    assert badge.endswith(
        "(https://colab.research.google.com/github/a/b/blob/main/notebooks/01_simclr.ipynb)"
    )
    if not colab.address():
        assert not any("colab-badge" in content.decode() for content in lessons.notebooks().values())


# ------------------------------------------------------------------------------------------------- the folder


def test_a_second_kit_changes_nothing_and_a_new_one_takes_the_old_wheel_away(kit, tmp_path, capsys):
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in kit.rglob("*") if p.is_file()}
    assert main(["colab", "--out", str(kit), "--wheel", str(tmp_path / "made" / NAME)]) == 0
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in kit.rglob("*") if p.is_file()} == before
    (kit / "01_simclr.ipynb").write_bytes(b"the teacher's")
    stranger = a_wheel(kit, "sslcourse-0.0.9-py3-none-any.whl")
    newer = a_wheel(tmp_path / "made", "sslcourse-0.2.0-py3-none-any.whl")
    capsys.readouterr()
    assert main(["colab", "--out", str(kit), "--wheel", str(newer)]) == 0
    assert (
        sorted(p.name for p in kit.glob("*.whl")) == [stranger.name, newer.name]
        and f"removed, of the version before: {NAME}" in capsys.readouterr().out
    )
    assert (kit / "01_simclr.ipynb").read_bytes() == b"the teacher's"


def test_what_is_no_wheel_of_the_course_is_refused(tmp_path, capsys):
    (tmp_path / "broken.whl").write_bytes(b"no")
    for wrong in (
        tmp_path / "broken.whl",
        tmp_path / "absent.whl",
        a_wheel(tmp_path, "other-1-py3-none-any.whl"),
    ):
        assert main(["colab", "--out", str(tmp_path / "kit"), "--wheel", str(wrong)]) == 2
        assert wrong.name in capsys.readouterr().err and not (tmp_path / "kit").exists()
    assert main(["colab", "--out", str(lessons.folder()), "--wheel", str(a_wheel(tmp_path))]) == 2


# -------------------------------------------------------------------------------------------------- the wheel


def installed(folder, files):
    """An installation of a wheel as pip leaves it, made by hand."""
    rows = []
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(content)}")
    info = folder / "sslcourse-9.0.dist-info"
    rows += [
        "sslcourse/__pycache__/__init__.cpython-311.pyc,,",
        f"{info.name}/RECORD,,",
        "../../bin/sslcourse,sha256=x,3",
    ]
    (info / "RECORD").write_text("\n".join(rows) + "\n")
    return colab.importlib.metadata.Distribution.at(info)


FILES = {
    "sslcourse/__init__.py": b"__version__ = '9.0'\n",
    "sslcourse/lessons/00_start.ipynb": b"{}",
    "sslcourse-9.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: sslcourse\nVersion: 9.0\n",
    "sslcourse-9.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "sslcourse-9.0.dist-info/INSTALLER": b"pip\n",
}


def test_a_wheel_is_put_together_again_from_what_was_installed(tmp_path):
    """pip is the judge: it installs what was made, and finds every file as its RECORD says."""
    distribution = installed(tmp_path / "site", FILES)
    name, content = colab.repack(distribution)
    assert name == "sslcourse-9.0-py3-none-any.whl" and colab.repack(distribution)[1] == content
    (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            "--disable-pip-version-check",
            "--target",
            str(tmp_path / "again"),
            str(tmp_path / name),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for file, data in FILES.items():
        assert (tmp_path / "again" / file).read_bytes() == data or file.endswith("INSTALLER")
    assert "INSTALLER" not in " ".join(zipfile.ZipFile(tmp_path / name).namelist())


def test_a_changed_or_missing_file_is_not_packed(tmp_path):
    distribution = installed(tmp_path / "site", FILES)
    (tmp_path / "site" / "sslcourse" / "__init__.py").write_bytes(b"changed")
    with pytest.raises(CourseError, match="sslcourse/__init__.py is not as it was installed"):
        colab.repack(distribution)
    (tmp_path / "site" / "sslcourse" / "__init__.py").unlink()
    with pytest.raises(CourseError, match="sslcourse/__init__.py cannot be read"):
        colab.repack(distribution)


@pytest.mark.slow
def test_the_kit_of_a_checkout_and_the_kit_of_its_wheel_carry_the_same_files(tmp_path):
    copy = tmp_path / "copy"  # pip may leave folders beside the sources
    names = subprocess.run(
        ["git", "ls-files", "-z", "--", "sslcourse", "notebooks", "pyproject.toml", "README.md", "LICENSE"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, names):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    try:
        name, content = colab.build_wheel(copy)
    except CourseError as error:
        if re.search(r"(?i)connection|network|resolve|timed out|Max retries", str(error)):
            pytest.skip("no package index can be reached")
        raise
    (tmp_path / name).write_bytes(content)
    site = tmp_path / "site"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            "--disable-pip-version-check",
            "--target",
            str(site),
            str(tmp_path / name),
        ],
        check=True,
    )
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-m", "sslcourse", "colab", "--out", "kit", "--json"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["wheel"] == name and set(said["notebooks"]) == set(lessons.notebooks())
    one, other = zipfile.ZipFile(tmp_path / name), zipfile.ZipFile(tmp_path / "kit" / name)
    assert sorted(one.namelist()) == sorted(other.namelist())
    assert all(one.read(n) == other.read(n) for n in one.namelist() if not n.endswith("/RECORD"))
