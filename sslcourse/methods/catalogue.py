"""The methods by name, for the command line and for checkpoints that say how they were built.

Each module here has `COURSE` and `GPU`, `settings(recipe, toy, classes)` (plain values) and `build(encoder,
settings)`; one that learns from videos also `DATA`, the data that it is for, and `ENCODERS`, the backbone of
either recipe."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable

from sslcourse import encoders, runtime
from sslcourse.methods.base import Method
from sslcourse.runtime.errors import CourseError

NAMES = (
    "simclr",
    "bigan",
    "jigsaw",
    "byol",
    "moco",
    "rotnet",
    "deepcluster",
    "clip",
    "video_lstm",
    "colorization",
    "dpc",
    "avts",
    "xdc",
    "supervised",
)
ENCODERS = (
    "small_cnn",
    "resnet18",
    "dense_cnn",
    "dense_resnet18",
    "small_3d",
    "resnet18_2d3d",
    "small_clip",
    "r2plus1d_18",
    "small_mc3",
    "mc3_18",
    "pixel_lstm",
    "patch_lstm",
)


def module(name: str):
    """The module of a method: its recipes, its classes, its paper."""
    if name not in NAMES:
        raise CourseError(f"no method {name!r}; choose one of {', '.join(NAMES)}")
    return importlib.import_module(f"sslcourse.methods.{name}")


def home(name: str) -> str:
    """The data that a method is for, as `load` understands it."""
    return getattr(module(name), "DATA", "toybox")


def hears(name: str) -> bool:
    """Whether a method learns from films with sound, and so has an `ear`."""
    return home(name) in ("toyevents", "toyscenes")


def methods_for(data: str) -> tuple[str, ...]:
    """The methods that learn from such data: those for videos from the videos that come with the course, all
    others from pictures.
    """
    films = data in ("toyvideos", "toytracks", "movingdigits", "toyevents", "toyscenes")
    homes = (
        {"toyevents": ("toyevents", "toyscenes")}.get(data, (data,)) if films else ("toybox",)
    )  # an event is a short scene
    return tuple(name for name in NAMES if home(name) in homes)


def describe(
    name: str,
    data: str,
    classes: int,
    recipe: str = "course",
    encoder: str | None = None,
    changes: Iterable[str] = (),
) -> dict:
    """All that is needed to build a method again, as plain values.

    Args:
        data: the name that `load` understands.
        recipe: "course" or "gpu".
        encoder: one of `ENCODERS`; by default the recipe's.
        changes: "key=value" instead of the method's own settings, values as in JSON: "temperature=0.1",
            "predictor=false".
    """
    settings = json.loads(
        json.dumps(module(name).settings(recipe, data.startswith(("toy", "moving")), classes))
    )  # as a checkpoint will hold them
    settings = runtime.override(settings, changes, name)
    backbones = getattr(module(name), "ENCODERS", {"course": "small_cnn", "gpu": "resnet18"})
    return {
        "method": name,
        "encoder": encoder or backbones[recipe],
        "data": data,
        "classes": classes,
        "recipe": recipe,
        "settings": settings,
    }


def build(about: dict) -> Method:
    """The method, untrained, that `about` describes; it remembers it for its checkpoint."""
    if about.get("encoder") not in ENCODERS or "settings" not in about:
        raise CourseError(
            f"this does not say how to build a method: {about}; train it again: sslcourse train "
            f"{about.get('method', 'simclr')}"
        )
    method = module(about["method"]).build(getattr(encoders, about["encoder"])(), about["settings"])
    method.about = about
    return method
