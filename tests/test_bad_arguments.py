"""Every number that a public function takes, with bad values: a CourseError in one sentence, before any work.

The functions are found through the front doors: one that is added is swept too. The other arguments are given
nothing to work with, so a value that is let through shows as another error.
"""

import ast
import importlib
import inspect
import pathlib

import numpy as np
import pytest
import torch

from sslcourse.methods import catalogue
from sslcourse.runtime.errors import CourseError

ROOT = pathlib.Path(__file__).resolve().parents[1] / "sslcourse"

# Parts that are reached by their names, such as `toybox.images` and `wall.add`.
PARTS = """
    data.toybox data.captions data.datasets data.heard data.images data.load data.moving_digits
    data.single_image evaluate.esc50 evaluate.health evaluate.style_transfer evaluate.synchrony
    evaluate.tracking results.bench results.calibration results.compare results.tables results.wall
    train.checkpoints train.clustering train.features transforms.augment transforms.colour
    transforms.sounds
""".split()

# Who takes numbers that are no setting: positions and sizes between our own functions, layers of networks
# that are put together by their factories, values that are drawn or judged whatever they are.
INSIDE = set(
    """
    BasicBlock3d BlockEncoder ClipEncoder DenseEncoder Encoder FilmEncoder MelEncoder
    RepeatedBorder3d Stages StandardisedConv2d StandardisedLinear Clips RarMember Remote Profile
    LinearProbe Report line shard_file Samples check_labels finished in_turns carve photographs cell
    boxes corners lookup square_crops to_pixels points_to_cells cells_to_points to_cells tolerance
    reference_frames checked only covered balanced threshold embedded cropped by_offset crops_of
    spectrum HeardWithLabels overlap contour random_boxes blur conditions diagnose fitted fitting
    sums assign timing receptive_field excitations grey lab from_lab pictures vocabulary by_flow
    caption hue_name film after step_table heights_above_ground between_walls Draws make programme
    sound recorded channel Measured Vocabulary Number Film Ear Scores Reading State few_of_each
    with_splits some_of sized Spec Pairs gauge
    """.split()
)


def public() -> dict[str, object]:
    """Dotted name -> function or class, of all front doors and parts."""
    found: dict[int, tuple[str, object]] = {}

    def add(name: str, thing: object) -> None:
        if (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__module__.startswith("sslcourse"):
            found.setdefault(id(thing), (name, thing))

    for stub in sorted(ROOT.rglob("__init__.pyi")):
        room = ".".join(("sslcourse", *stub.parent.relative_to(ROOT).parts))
        for node in ast.parse(stub.read_text()).body:
            if isinstance(node, ast.ImportFrom) and "commands" not in room:
                for alias in node.names:
                    add(f"{room}.{alias.name}", getattr(importlib.import_module(room), alias.name))
    for part in PARTS:
        module = importlib.import_module(f"sslcourse.{part}")
        for name, thing in vars(module).items():
            if not name.startswith("_") and getattr(thing, "__module__", "").startswith("sslcourse"):
                add(f"sslcourse.{part}.{name}", thing)
    for name in catalogue.NAMES:
        add(f"methods.{name}", type(catalogue.build(catalogue.describe(name, "toybox", 10))))
    return dict(found.values())


PUBLIC = public()
KINDS = {"int": "whole", "int | None": "whole", "float": "real", "float | None": "real"}
KINDS |= {"float | int": "real", "int | float": "real"}


def numbers_of(thing) -> dict[str, tuple[str, bool]]:
    """Name -> ("whole" or "real", whether None is its default), of the numbers that it takes."""
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        return {}
    found = {}
    for name, parameter in inspect.signature(thing).parameters.items():
        kind = (
            parameter.annotation
            if isinstance(parameter.annotation, str)
            else getattr(parameter.annotation, "__name__", str(parameter.annotation))
        )
        if kind in KINDS and parameter.kind is not parameter.VAR_POSITIONAL:
            found[name] = (KINDS[kind], parameter.default is None or "None" in kind)
    return found


CASES = [
    (name, parameter)
    for name, thing in sorted(PUBLIC.items())
    if name.rpartition(".")[2] not in INSIDE
    for parameter in numbers_of(thing)
]


def bad_numbers(kind: str, optional: bool) -> list:
    """Values that no number of ours may be. What is out of a function's own range is tested with it."""
    text = ["1", "1_000", "\u0663", "nan", b"1", "", [1], (1, 2), {}, object(), 1j]
    numbers = [float("nan"), float("inf"), float("-inf"), 10**400, -(10**400), -(2**63) - 1, 1e308 * 10]
    typed = [
        np.array([1, 2]),
        torch.zeros(2),
        np.bool_(True),
        True,
        torch.tensor(float("nan")),
        np.float64("inf"),
    ]
    return [*text, *numbers, *typed, *([1.5, 2.0, np.float32(1)] if kind == "whole" else [])] + (
        [] if optional else [None]
    )


def call(name: str, parameter: str, value):
    """The function with this value, and with nothing for all else that it must have."""
    thing = PUBLIC[name]
    needed = {
        other: object()
        for other, p in inspect.signature(thing).parameters.items()
        if p.default is p.empty and other != parameter and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    for other, (kind, _) in numbers_of(thing).items():
        if other in needed:
            needed[other] = {"rate": 8000, "fps": 8}.get(other, 4) if kind == "whole" else 0.5
    positional = [
        needed.pop(other)
        for other, p in inspect.signature(thing).parameters.items()
        if other in needed and p.kind is p.POSITIONAL_ONLY
    ]
    made = thing(*positional, **needed, **{parameter: value})
    return next(made) if inspect.isgenerator(made) else made


@pytest.mark.parametrize("name, parameter", CASES)
def test_a_bad_number_is_refused_before_any_work(name, parameter):
    kind, optional = numbers_of(PUBLIC[name])[parameter]
    for value in bad_numbers(kind, optional):
        with pytest.raises(CourseError) as error:
            call(name, parameter, value)
        said = str(error.value)
        assert said and "\n" not in said and len(said) < 600 and parameter in said, (value, said)


def test_the_sweep_is_wide():
    assert len(CASES) > 150 and len(PUBLIC) > 250
