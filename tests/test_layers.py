"""Arrows point down only, inside a room too; importing the course costs little more than importing torch."""

import ast
import pathlib
import resource
import subprocess
import sys

import pytest
from arrows import arrows, borrowed, circles, modules, room

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sslcourse"

# From the ground up: a room may use what stands before it.
ORDER = [
    "sslcourse",
    "runtime",
    "transforms",
    "data",
    "encoders",
    "train",
    "methods",
    "evaluate",
    "show",
    "widgets",
    "check",
    "results",
    "commands",
    "__main__",
]


def violations(package: pathlib.Path = PACKAGE):
    graph = arrows(package)
    for module, others in sorted(graph.items()):
        for other in sorted(others):
            own, theirs = room(module), room(other)
            if own != theirs and ORDER.index(theirs) > ORDER.index(own):
                yield f"{module} uses {other}, which stands above it"
    for group in circles(graph):
        yield f"a circle: {', '.join(group)}"


def test_the_rooms_are_those_of_the_order():
    there = {room(module) for module in modules(PACKAGE)}
    assert there == set(ORDER) and len(there) - 2 == 12  # the package itself and __main__ are no rooms


def test_each_room_says_what_lives_there():
    for name in set(ORDER) - {"sslcourse", "__main__"}:
        assert len(ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text())) or "") > 20, (
            name
        )


def test_arrows_point_down_and_there_is_no_circle():
    assert list(violations()) == []


@pytest.fixture
def small(tmp_path):
    """A package of three rooms: `runtime` with a front door, `train` with two modules, `methods`."""
    package = tmp_path / "sslcourse"
    files = {
        "__init__.py": "",
        "runtime/__init__.py": "",
        "runtime/__init__.pyi": "from .files import atomic as atomic",
        "runtime/files.py": "def atomic(): ...",
        "train/__init__.py": "",
        "train/__init__.pyi": "from .loop import fit as fit",
        "train/loop.py": "from sslcourse import runtime\ndef fit(): runtime.atomic()",
        "train/recipe.py": "",
        "methods/__init__.py": "",
        "methods/simclr.py": "from sslcourse.train import fit",
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    return package


def test_arrows_are_followed_through_a_front_door(small):
    graph = arrows(small)
    assert graph["sslcourse.train.loop"] == {"sslcourse.runtime.files"}
    assert graph["sslcourse.methods.simclr"] == {"sslcourse.train.loop"}
    assert list(violations(small)) == []


@pytest.mark.parametrize(
    "file, text, found",
    [
        ("runtime/files.py", "from sslcourse import train", []),  # named, and nothing of it used
        (
            "runtime/files.py",
            "from sslcourse.train import fit",
            [
                "sslcourse.runtime.files uses sslcourse.train.loop, which stands above it",
                "a circle: sslcourse.runtime.files, sslcourse.train.loop",
            ],
        ),
        (
            "runtime/files.py",
            "from sslcourse import train\ndef f(): train.fit()",
            [
                "sslcourse.runtime.files uses sslcourse.train.loop, which stands above it",
                "a circle: sslcourse.runtime.files, sslcourse.train.loop",
            ],
        ),
        (
            "train/recipe.py",
            "def f():\n    from sslcourse.methods import simclr\n    simclr.x",
            ["sslcourse.train.recipe uses sslcourse.methods.simclr, which stands above it"],
        ),
    ],
)
def test_a_planted_arrow_is_found(small, file, text, found):
    with open(small / file, "a") as stream:
        stream.write("\n" + text)
    assert list(violations(small)) == found


def test_a_planted_circle_inside_a_room_is_found(small):
    (small / "train" / "recipe.py").write_text("from sslcourse.train import loop\nloop.fit")
    with open(small / "train" / "loop.py", "a") as stream:
        stream.write("\ndef late():\n    from sslcourse.train.recipe import x")
    assert list(violations(small)) == ["a circle: sslcourse.train.loop, sslcourse.train.recipe"]


LOCK = "sslcourse.runtime.files._lock in sslcourse.train.loop"


def test_no_module_reaches_into_anothers_underscore_names():
    assert list(borrowed(PACKAGE)) == []


@pytest.mark.parametrize(
    "line, found",
    [
        (
            "from sslcourse.runtime.files import _lock",
            [LOCK],
        ),
        (
            "from sslcourse.runtime import files\nfiles._lock()",
            [LOCK],
        ),
        ("import torch\ntorch._foreach_add_\nself = 1\nself._own = 2\nfiles.__name__", []),
    ],
)
def test_a_planted_underscore_is_found(small, line, found):
    (small / "train" / "loop.py").write_text(line)
    assert list(borrowed(small)) == found


def test_methods_do_not_import_each_other():
    allowed = {"base", "spec"}
    for file in (PACKAGE / "methods").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sslcourse.methods."):
                assert node.module.split(".")[2] in allowed, file.name


def processor_seconds(statement: str) -> float:
    """Of a fresh Python that runs a statement. Processor time, which a crowded machine changes little."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_import_costs_little_more_than_torch():
    """In turns, and the best of each: what they need when nothing is in the way. Two turns do if
    they show it.
    """
    ours, theirs = [], []
    while len(ours) < 2 or (len(ours) < 4 and min(ours) > 1.3 * min(theirs)):
        theirs.append(processor_seconds("import torch"))
        ours.append(
            processor_seconds(
                "from sslcourse import evaluate, runtime, train; runtime.atomic, train.fit, evaluate.report"
            )
        )
    assert min(ours) <= 1.3 * min(theirs)


def test_heavy_packages_wait_until_they_are_used():
    code = """
import sys, sslcourse
from sslcourse import augment, train, evaluate, health, data, encoders
augment.simclr_view, train.fit, evaluate.report, health.diagnose, encoders.small_cnn
from sslcourse.data import toybox
from sslcourse.methods import simclr
heavy = {"umap", "librosa", "sklearn", "matplotlib", "torchvision", "scipy", "PIL", "av", "cv2", "skimage"}
bad = heavy & set(sys.modules)
sys.exit(str(bad) if bad else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_part_can_be_reached_by_name():
    import sslcourse

    for name in ("augment", "evaluate", "health", "train", "claims", "setup", "fit", "Recipe", "CourseError"):
        assert getattr(sslcourse, name) is not None
    try:
        _ = sslcourse.nonsense
    except AttributeError as error:
        assert "evaluate" in str(error)
