"""What the course must know about a method, stated once, in the method's own module: `SPEC = Spec(...)`.

Every module of this folder that states a SPEC is a method. The command line reads the plain parts of the
statement from the file (`stated`), so that `sslcourse --help` need not wait for torch; everything else reads
the object itself, through `methods.catalogue`.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslcourse.runtime.errors import CourseError

if TYPE_CHECKING:
    from torch import nn

    from sslcourse.methods.base import Method
    from sslcourse.train.recipe import Recipe

FOLDER = Path(__file__).parent
RECIPES = ("course", "full", "gpu")
_STATEMENT = "SPEC = Spec("


@dataclass(frozen=True)
class Spec:
    """A method, as command line, catalogue, comparison and wall know it.

    Write name, lesson, title, data, encoders and hears as plain values: they are read without running the
    module.

    Args:
        name: what a student types, `sslcourse train NAME`; the module's name.
        lesson: the notebook that teaches it, such as "01_simclr"; "" for a yardstick. Lists and tables keep
            the order of the lessons.
        title: its row in tables and on the wall.
        course, full, gpu: the three recipes: what a class waits for, half a minute to two on a laptop CPU
            with the data below; what the method can do there, at most five minutes; one GPU with real data.
        settings: (one of `RECIPES`, whether the data are the course's own, number of classes) ->
            what the method is, as plain values that a checkpoint can hold.
        build: (encoder, settings) -> the method, untrained.
        data: what it learns from, as `data.load` understands it.
        encoders: recipe -> the name of its backbone in `sslcourse.encoders`; "full" has that of "course"
            where it is not named.
        hears: whether it learns from films with sound, and so has an `ear` beside its eye.
        frames: that it is shown at once of a film of one's own.
    """

    name: str
    lesson: str
    title: str
    course: Recipe
    full: Recipe
    gpu: Recipe
    settings: Callable[[str, bool, int], dict]
    build: Callable[[nn.Module, dict], Method]
    data: str = "toybox"
    encoders: Mapping[str, str] = field(
        default_factory=lambda: {"course": "small_cnn", "gpu": "resnet18"}, hash=False
    )
    hears: bool = False
    frames: int = 16

    def recipe(self, kind: str) -> Recipe:
        """The recipe "course", "full" or "gpu"."""
        return {"course": self.course, "full": self.full, "gpu": self.gpu}[_known(kind)]

    def encoder(self, kind: str) -> str:
        """The name of the backbone that this recipe is made for."""
        return self.encoders.get(_known(kind), self.encoders["course"])


def _known(kind: str) -> str:
    if kind not in RECIPES:
        raise CourseError(f"no recipe {kind!r}; choose 'course', 'full' or 'gpu'")
    return kind


@dataclass(frozen=True)
class Stated:
    """The plain parts of a SPEC, read from its file without running it; see `Spec`."""

    name: str
    lesson: str
    title: str
    data: str = "toybox"
    encoders: Mapping[str, str] = field(
        default_factory=lambda: {"course": "small_cnn", "gpu": "resnet18"}, hash=False
    )
    hears: bool = False
    frames: int = 16


def _read(file: Path) -> Stated | None:
    """The plain parts of a file's SPEC; None where it states none."""
    text = file.read_text(encoding="utf-8")
    start = text.find(f"\n{_STATEMENT}") + 1
    if not start:
        return None
    lines = text[start:].splitlines(keepends=True)
    for end in range(1, len(lines) + 1):  # parsing all of every file would take ten times as long
        try:
            statement = ast.parse("".join(lines[:end])).body[0]
        except SyntaxError:
            continue
        break
    else:
        raise CourseError(f"{file.name}: the statement {_STATEMENT}...) is never closed")
    assert isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call)
    plain: dict[str, Any] = {}
    for keyword in statement.value.keywords:
        if keyword.arg in Stated.__dataclass_fields__:
            try:
                plain[keyword.arg] = ast.literal_eval(keyword.value)
            except ValueError as error:
                raise CourseError(
                    f"{file.name}: write SPEC's {keyword.arg} as a plain value; it is read without running "
                    f"the file, and {ast.unparse(keyword.value)} is none"
                ) from error
    missing = {"name", "lesson", "title"} - set(plain)
    if missing or plain["name"] != file.stem:
        raise CourseError(
            f"{file.name}: its SPEC must state lesson, title and name={file.stem!r}, each by its keyword; "
            + (f"{', '.join(sorted(missing))} missing" if missing else f"name is {plain['name']!r}")
        )
    return Stated(**plain)


@functools.cache
def stated() -> dict[str, Stated]:
    """Name -> the plain parts of its SPEC, for every method of this folder, in the order of the lessons;
    yardsticks come last.
    """
    found = [spec for file in sorted(FOLDER.glob("*.py")) if (spec := _read(file)) is not None]
    return {spec.name: spec for spec in sorted(found, key=lambda s: (not s.lesson, s.lesson, s.name))}


def encoders() -> tuple[str, ...]:
    """The backbones that methods are built with by default, in the order of the lessons."""
    return tuple(dict.fromkeys(name for spec in stated().values() for name in spec.encoders.values()))
