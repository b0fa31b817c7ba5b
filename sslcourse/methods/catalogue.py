"""The methods by name, for the command line, for comparisons, and for checkpoints that say how they were
built.

A method is a module of this folder that states a `SPEC` (see `methods.spec`); there is no other list of
them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, Literal

import msgspec
import torch

from sslcourse import encoders, runtime
from sslcourse.methods.base import Method
from sslcourse.methods.spec import Spec, encoders as default_encoders, stated
from sslcourse.runtime import pages
from sslcourse.runtime.errors import CourseError
from sslcourse.train.checkpoints import unsaid

NAMES = tuple(stated())
ENCODERS = default_encoders()


def module(name: str) -> ModuleType:
    """The module of a method: its recipes, its classes, its paper."""
    if name not in NAMES:
        raise CourseError(f"no method {name!r}; choose one of {', '.join(NAMES)}")
    return importlib.import_module(f"sslcourse.methods.{name}")


def spec(name: str) -> Spec:
    """What the course knows about a method."""
    return module(name).SPEC


def methods_for(data: str, hears: bool = False) -> tuple[str, ...]:
    """The methods that learn from such data: those for films from the films that come with the course, all
    others from pictures.

    Args:
        data: the name that `load` understands.
        hears: only those that have an ear.
    """
    known = stated().values()
    homes: tuple[str, ...] = ("toybox",)
    if data == "movingdigits" or data in {spec.data for spec in known}:
        # An event is a short scene: what learns from scenes is judged on events too.
        homes = ("toyevents", "toyscenes") if data == "toyevents" else (data,)
    return tuple(spec.name for spec in known if spec.data in homes and (spec.hears or not hears))


def describe(
    name: str,
    data: str,
    classes: int,
    recipe: str = "course",
    encoder: str | None = None,
    changes: Iterable[str] = (),
    samples: object = None,
) -> dict:
    """All that is needed to build a method again, as plain values.

    Args:
        data: the name that `load` understands.
        recipe: "course", "full" or "gpu".
        encoder: one of `ENCODERS`; by default the recipe's.
        changes: "key=value" instead of the method's own settings, values as in JSON: "temperature=0.1",
            "predictor=false".
        samples: what it will learn from: frames and samples of sound per second are those of these films.
    """
    method = spec(name)
    # as a checkpoint will hold them
    settings = json.loads(json.dumps(method.settings(recipe, data.startswith(("toy", "moving")), classes)))
    for key in ("fps", "rate"):
        value = getattr(samples, key, None)
        if key in settings and value is not None and value != settings[key]:
            settings[key] = int(value) if value == int(value) else value
    settings = runtime.override(settings, changes, name)
    return {
        "method": name,
        "encoder": encoder or method.encoder(recipe),
        "data": data,
        "classes": classes,
        "recipe": recipe,
        "settings": settings,
    }


class About(msgspec.Struct, forbid_unknown_fields=True):
    """What `describe` writes and `build` reads."""

    method: pages.Name
    encoder: pages.Name
    data: pages.Name
    classes: pages.Whole
    recipe: Literal["course", "full", "gpu"]
    settings: dict[str, Any]


def build(about: dict, shapes: Mapping[str, Sequence[int]] | None = None) -> Method:
    """The method, untrained, that `about` describes; it remembers it for its checkpoint.

    Args:
        shapes: of the weights that it will be given, by name. What does not fit them is refused before any
            memory is taken.
    """
    try:
        pages.fitting(about, About)
    except pages.Unfit as error:
        raise CourseError(
            f"this does not say how to build a method ({error}): {_short(about)}; train it again: sslcourse "
            f"train {about.get('method', 'simclr')}"
        ) from None
    if about["encoder"] not in ENCODERS:
        raise CourseError(
            f"no encoder {about['encoder']!r}; train it again with one of {', '.join(ENCODERS)}"
        )
    if shapes is not None:
        _compare(about, shapes)
    method = _built(about)
    method.about = about
    return method


def _built(about: dict) -> Method:
    try:
        return spec(about["method"]).build(getattr(encoders, about["encoder"])(), about["settings"])
    # A setting that nothing here has, or lacks, or of another kind: another version's, or a stranger's.
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise CourseError(
            f"{about['method']} cannot be built with {_short(about['settings'])}: {str(error)[:200]}"
        ) from error


def _compare(about: dict, shapes: Mapping[str, Sequence[int]]) -> None:
    """CourseError where the method has other weights than these. It is built without memory for that, as far
    as its class allows: jigsaw's and AVTS's do not, and their sizes are bounded.
    """
    try:
        with torch.device("meta"):
            method = _built(about)
            own = {name: tuple(value.shape) for name, value in method.state_dict().items()}
            older = {name: tuple(value.shape) for name, value in unsaid(method, shapes).items()}
    except (RuntimeError, NotImplementedError):
        return
    given = older | {name: tuple(shape) for name, shape in shapes.items()}
    if wrong := sorted(name for name in {*own, *given} if own.get(name) != given.get(name)):
        raise CourseError(
            f"the weights are not those of this {about['method']}: {wrong[0]!r} is "
            f"{given.get(wrong[0], 'missing')} there and {own.get(wrong[0], 'missing')} here, and "
            f"{len(wrong) - 1} more differ; train it again"
        )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:297]}..."
