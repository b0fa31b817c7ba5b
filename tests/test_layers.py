"""Arrows point down only, and importing the course costs little more than importing torch."""

import ast
import pathlib
import resource
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sslcourse"

# From the ground up: a module may import what stands before it (and its own row, where that is a folder).
ORDER = ["common", "colour", "sounds", "data", "distributed", "augment", "single", "encoders", "scattering", "features", "stylize", "clustering",
         "losses", "checkpoints", "train", "methods", "evaluate", "tracking", "esc", "sync", "optical_flow", "health", "show", "widgets",
         "check", "apart", "grade", "claims", "tables", "calibration", "compare", "wall", "bench", "doctor", "start", "__main__"]  # fmt: skip


def imports(file: pathlib.Path):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "sslcourse":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [a.name for a in node.names]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("sslcourse."))


def violations(package: pathlib.Path = PACKAGE):
    for file in sorted(package.rglob("*.py")):
        own = file.relative_to(package).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for other in imports(file):
            if other == "__version__" or other == own:
                continue
            if own not in ORDER or other not in ORDER:
                yield f"{file.name}: {other if own in ORDER else own} has no place in the order"
            elif ORDER.index(other) > ORDER.index(own) and (own, other) not in {("evaluate", "train"), ("evaluate", "methods")}:
                yield f"{file.relative_to(package)} imports {other}, which stands above it"


def test_arrows_point_down():
    assert list(violations()) == []


def test_a_planted_arrow_is_found(tmp_path):
    (tmp_path / "common.py").write_text("from sslcourse import train\n")
    assert list(violations(tmp_path)) == ["common.py imports train, which stands above it"]


def test_methods_do_not_import_each_other():
    allowed = {"base"}
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
    """In turns, and the best of each: what they need when nothing is in the way."""
    ours, theirs = [], []
    for _ in range(4):
        theirs.append(processor_seconds("import torch"))
        ours.append(processor_seconds("import sslcourse, sslcourse.common, sslcourse.train, sslcourse.evaluate"))
    assert min(ours) <= 1.3 * min(theirs)


def test_heavy_packages_wait_until_they_are_used():
    code = """
import sys, sslcourse
from sslcourse import augment, train, evaluate, health, data, encoders
from sslcourse.data import toybox
from sslcourse.methods import simclr
bad = {"umap", "librosa", "sklearn", "matplotlib", "torchvision", "scipy", "PIL", "av", "cv2", "skimage"} & set(sys.modules)
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
