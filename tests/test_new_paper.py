"""A paper touches four places: its method (with a row of the contract test), its claims, its exercise and its
lesson. All are found by file; no list is kept by hand.

The files of `new_paper` are a whole paper, Barlow Twins. They are laid into a copy of the course, where
nothing else changes, and everything must know it."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
NEW = ROOT / "tests" / "new_paper"
PLACES = {
    "method.py": "sslcourse/methods/barlow.py",
    "exercise.py": "sslcourse/check/barlow.py",
    "claims.py": "sslcourse/results/claims/barlow.py",
    "lesson.py": "notebooks/source/14_barlow_twins.py",
}
ROW = '    "barlow": lambda: methods.barlow.BarlowTwins(encoders.small_cnn(8), dim=16, hidden=32),\n'

WALL = """
import json
from sslcourse.data import toybox
from sslcourse.methods import barlow, catalogue
from sslcourse.results import claims, compare, wall
found = json.loads(open("compared.json").read())
compare.keep(found, wall._file("results", "toybox"))
small = toybox.images(256, 64, 64, cache=False)
quick = barlow.COURSE.but(epochs=1, batch_size=64)
options = dict(file="results/claims-barlow.json", say=lambda text: None, data=small, recipe=quick)
verdicts = list(claims.run("barlow", 2, **options))
asked = []
compare.run = lambda names, *a, **k: asked.extend(names) or found
wall.measure("toybox")
print(json.dumps({
    "measured": asked,
    "rows": [row["features"] for row in wall.table("toybox", wall.read()["toybox"])],
    "papers": [row["paper"] for row in wall.counted(wall.verdicts())],
    "page": wall.page().read_text().count("barlow"),
}))
"""


def python(folder, *arguments, **named):
    """What a fresh Python prints in a folder, with the course that lies there."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "SSLCOURSE_DEVICE": "cpu",
        "SSLCOURSE_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, text=True, capture_output=True, **named
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A copy of the course with the new paper in it."""
    folder = tmp_path_factory.mktemp("course")
    shutil.copytree(ROOT / "sslcourse", folder / "sslcourse", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("notebooks/source", "tests"):
        (folder / name).mkdir(parents=True)
    for name in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(ROOT / name, folder / name)
    contract = (ROOT / "tests" / "test_contract.py").read_text()
    assert contract.count("METHODS = {\n") == 1
    (folder / "tests" / "test_contract.py").write_text(
        contract.replace("METHODS = {\n", f"METHODS = {{\n{ROW}")
    )
    for file, place in PLACES.items():
        assert not (folder / place).exists()
        shutil.copy(NEW / file, folder / place)
    return folder


def test_the_command_line_knows_it_without_torch(course):
    seen = python(
        course,
        "-c",
        "import sys; from sslcourse.commands import parser; import sslcourse; print(sslcourse.__file__, "
        "parser.METHODS.index('barlow'), 'torch' in sys.modules)",
    )
    assert seen.split() == [
        str(course / "sslcourse" / "__init__.py"),
        "13",
        "False",
    ]  # the yardstick stays last
    for command in ("train", "compare"):
        assert "xdc, barlow, supervised" in " ".join(
            python(course, "-m", "sslcourse", command, "--help").split()
        )


@pytest.mark.slow
def test_it_trains_and_is_compared_and_is_on_the_wall(course):
    small = ("--data", "digits", "--epochs", "1")
    trained = json.loads(
        python(course, "-m", "sslcourse", "train", "barlow", *small, "--limit", "256", "--no-probe", "--json")
    )
    assert (course / trained["checkpoint"]).exists() and trained["epoch"] == 1
    compared = python(course, "-m", "sslcourse", "compare", "barlow", *small, "--json")
    assert "Barlow Twins" in json.loads(compared)["rows"]
    (course / "compared.json").write_text(compared)
    wall = json.loads(python(course, "-c", WALL).splitlines()[-1])
    assert "barlow" in wall["measured"] and "simclr" in wall["measured"]
    assert "Barlow Twins" in wall["rows"] and wall["papers"][-1] == "barlow" and wall["page"] > 0


@pytest.mark.slow
def test_its_exercise_names_mistakes(course):
    rows = json.loads(python(course, "-m", "sslcourse", "exercises", "barlow.loss", "--json"))["rows"]
    assert len(rows) == 3 and all(row["named"] for row in rows)


@pytest.mark.slow
def test_its_lesson_is_built(course):
    python(course, "tools/build_notebooks.py", "--without-outputs", "14_barlow_twins")
    built = course / "notebooks" / "solutions" / "14_barlow_twins.ipynb"
    cells = ["".join(cell["source"]) for cell in json.loads(built.read_text())["cells"]]
    code = "\n".join(
        cells[i] for i, cell in enumerate(cells) if "my_loss" in cell or cell.startswith("from ssl")
    )
    assert "barlow.loss: correct" in python(course, "-c", code)


@pytest.mark.slow
def test_it_keeps_the_contract(course):
    found = python(
        course,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/test_contract.py",
        "-k",
        "barlow or row",
    )
    assert "passed" in found and "failed" not in found
    assert int(found.rsplit(" passed")[0].split()[-1]) >= 14
