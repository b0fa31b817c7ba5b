"""Colab: installing the course there changes none of its packages, and the first cell is a no-op at home."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import venv

import pytest
from packaging.requirements import Requirement

from sslcourse.commands.colab import address, first_cell

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "colab"))
from constraints import versions  # noqa: E402 (beside this file's folder)

# What installing may add: small, and in need of nothing else. All are pure Python but msgspec, whose wheels
# are there for every system and Python.
NEW = {"jaxtyping", "wadler-lindig", "msgspec", "argcomplete"}


def dependencies() -> list[str]:
    text = (ROOT / "pyproject.toml").read_text()
    return re.findall(r'"([^"]+)"', re.search(r"^dependencies = \[(.*?)^\]", text, re.M | re.S)[1])


def broken(requirements: list[str]) -> list[str]:
    """Requirements that Colab's versions do not meet."""
    there = versions()
    bad = []
    for text in requirements:
        wanted = Requirement(text)
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if name not in there:
            bad += [text] * (name not in NEW)
        elif not wanted.specifier.contains(there[name].split("+")[0], prereleases=True):
            bad.append(text)
    return bad


def test_colab_meets_every_dependency():
    assert len(dependencies()) > 10 and broken(dependencies()) == []


@pytest.mark.parametrize(
    "requirement", ["ipywidgets>=8", "numpy>=2.2", "torch==2.12.0", "jupyterlab>=4.2", "traitlets>=5.8"]
)
def test_what_colab_lacks_is_noticed(requirement):
    assert broken([requirement]) == [requirement]


def test_the_optional_parts_stay_optional():
    assert not any(
        re.match(r"(jupyterlab|nbval|playwright|pytest|latex2mathml)\b", d) for d in dependencies()
    )


@pytest.mark.nightly
def test_pip_would_change_nothing_there(tmp_path):
    """Every package of Colab's list as a stub in an empty environment; then pip's own plan. Stubs carry no
    requirements, so this
    shows installs and upgrades, not conflicts."""
    venv.create(tmp_path / "stub", with_pip=False)
    python = tmp_path / "stub" / "bin" / "python"
    (site,) = (tmp_path / "stub" / "lib").glob("python*/site-packages")
    for name, version in versions().items():
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "INSTALLER").write_text("stub\n")
        (info / "RECORD").write_text("")
    plan = tmp_path / "plan.json"
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "-q",
        "--dry-run",
        "--report",
        str(plan),
        *dependencies(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode and re.search(
        r"(?i)connection|network|resolve|timed out|NewConnectionError|Max retries", done.stderr
    ):
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr[-2000:]
    planned = {
        re.sub(r"[-_.]+", "-", p["metadata"]["name"]).lower() for p in json.loads(plan.read_text())["install"]
    }
    assert planned <= NEW and "jaxtyping" in planned, planned


def test_every_notebook_begins_with_the_same_cell():
    """Sources have a place for it, what is stored has it; the kit's tests say what it does."""
    for source in [
        *(ROOT / "notebooks/source").glob("*.py"),
        *(ROOT / "notebooks/source/homework").glob("*.py"),
    ]:
        cells = re.findall(r"^# %%\n(.*?)\n\n", source.read_text(encoding="utf-8"), re.M | re.S)
        assert cells[0] == "# {{first cell}}" and cells.count(cells[0]) == 1, (
            f"{source.name} has no Colab cell"
        )
    stored = [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "notebooks").glob("*/*.ipynb")]
    assert len(stored) > 30
    for file in stored:
        code = [c for c in json.loads(file.read_bytes())["cells"] if c["cell_type"] == "code"]
        assert "".join(code[0]["source"]) == first_cell(address()) and not code[0]["outputs"], file.name


@pytest.mark.parametrize(
    "colab, installed, runs", [(False, False, 0), (False, True, 0), (True, True, 0), (True, False, 1)]
)
def test_the_first_cell_installs_on_colab_alone(monkeypatch, colab, installed, runs):
    import importlib.util

    called = []
    there = {"google": colab, "google.colab": colab, "sslcourse": installed}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: there[name] or None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: called.append((command, check)))
    exec(compile(first_cell("git+ADDRESS"), "cell", "exec"), {})
    assert len(called) == runs
    if runs:
        assert called[0][1] is True and called[0][0][1:] == ["-m", "pip", "install", "-q", "git+ADDRESS"]


def test_the_address_stands_in_one_place():
    address = re.search(
        r'^Repository = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M
    )[1]
    for file in [*ROOT.glob("notebooks/source/**/*.py"), *ROOT.glob("sslcourse/**/*.py"), ROOT / "README.md"]:
        assert address not in file.read_text(encoding="utf-8"), f"{file.name} repeats the project's address"


def test_without_a_gpu_colab_says_so_at_once(monkeypatch, capsys):
    import types

    import sslcourse

    sslcourse.setup()
    assert "No GPU" not in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    sslcourse.setup()
    assert "No GPU is attached" in capsys.readouterr().out


def test_every_lesson_runs_under_colabs_versions_each_night():
    """As make itself says what it would do."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    command = ["make", "--dry-run", "--always-make", "nightly"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "MAKEFLAGS": ""}
    )
    assert done.returncode == 0, done.stderr
    (line,) = [
        line
        for line in done.stdout.splitlines()
        if ".venv-colab/bin/python" in line and "--nbval-lax" in line
    ]
    chosen = set(re.findall(r"notebooks/[\w/]+\.ipynb", line))
    there = [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("notebooks/homework/*.ipynb")]
    assert chosen == {path.relative_to(ROOT).as_posix() for path in there} and len(chosen) > 15
