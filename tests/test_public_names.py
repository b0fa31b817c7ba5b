"""What a notebook, a homework or a student's own script may write: these names stay, whatever moves behind
them.
"""

import ast
import importlib
import pathlib

import pytest
from arrows import doors, modules

import sslcourse

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Room or part -> names that it hands on.
PUBLIC = {
    "": (
        "CourseError Recipe augment check checkpoints claims clustering colour compare data encoders epochs "
        "evaluate features fit free health methods networks papers results runtime seed_all setup show "
        "single_image sounds style_transfer synchrony tracking train transforms wall widgets"
    ),
    "train": "Recipe epochs fit features clustering checkpoints",
    "evaluate": "probe report score random_like layer_probes label_curve fine_tune retrieval factor_table "
    "tsne umap living_map knn_predict linear_probe health tracking synchrony",
    "encoders": (
        "small_cnn resnet18 dense_cnn small_3d small_clip small_mc3 small_mel pixel_lstm patch_lstm "
        "first_filters"
    ),
    "show": "grid views neighbours filters table bars diagram factor_table verdicts wall COLOURS",
    "widgets": "Panel Replay side_by_side recorded toybox augmentations temperature clusters neighbours "
    "text_box filters puzzles pointer clip Films",
    "runtime": (
        "CourseError atomic cache_dir data_dir profile Profile use_profile seed_all step_seed generator free"
    ),
    "data.toybox": "images videos tracks events scene render bounce crossing caption",
    "data.clips": "prepare open Clips Video",
    "check": "check hint solution lesson quiz points progress assignment EXERCISES",
    "claims": "Claim Verdict paper papers run judge",
    "papers": "reported findings names holm",
    "wall": "add forget read table verdicts page",
    "compare": "run table",
    "networks": "names load",
}


def reached(path: str):
    """A room by its import, a part such as `wall` from the top."""
    if (ROOT / "sslcourse").joinpath(*path.split(".")).is_dir():
        return importlib.import_module(f"sslcourse.{path}".rstrip("."))
    return getattr(sslcourse, path)


@pytest.mark.parametrize("path", PUBLIC)
def test_public_names(path):
    for name in PUBLIC[path].split():
        assert getattr(reached(path), name) is not None, f"{path}.{name}"


def test_what_lessons_and_homework_import_is_public():
    """`from sslcourse import x, y` of every notebook source is in the list above: nothing leans on what may
    move.
    """
    top = set(PUBLIC[""].split())
    for source in (ROOT / "notebooks" / "source").rglob("*.py"):
        for node in ast.walk(
            ast.parse(
                "".join(
                    line for line in source.read_text().splitlines(True) if not line.startswith(("%", "!"))
                )
            )
        ):
            if isinstance(node, ast.ImportFrom) and node.module == "sslcourse":
                assert {alias.name for alias in node.names} <= top, source.name


def test_front_doors_hand_on_what_they_say():
    """Every name of every __init__.pyi can be reached."""
    for stub in (ROOT / "sslcourse").rglob("__init__.pyi"):
        path = ".".join(stub.parent.relative_to(ROOT / "sslcourse").parts)
        for node in ast.parse(stub.read_text()).body:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    assert hasattr(reached(path), alias.asname or alias.name), f"{path}: {alias.name}"


def test_front_doors_find_each_name_where_they_say():
    """Read from the code alone: a name that another import happens to have loaded is found by luck."""
    known = modules(ROOT / "sslcourse")
    handed_on = doors(known)
    for module, file in known.items():
        stub = file.with_suffix(".pyi")
        for node in ast.parse(stub.read_text()).body if stub.exists() else ():
            if not isinstance(node, ast.ImportFrom):
                continue
            home = f"{module}.{node.module}" if node.module else module
            for alias in node.names:
                if node.module is None:
                    assert f"{home}.{alias.name}" in known, f"{module}: {alias.name}"
                elif known[home].name == "__init__.py":
                    assert alias.name in handed_on[home], f"{module}: {alias.name} is not handed on by {home}"
                else:
                    defined = {
                        name
                        for statement in ast.parse(known[home].read_text()).body
                        for name in bound(statement)
                    }
                    assert alias.name in defined, f"{module}: {alias.name} is not in {home}"


def bound(statement: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module gives a value."""
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [node.id for t in targets if t is not None for node in ast.walk(t) if isinstance(node, ast.Name)]
