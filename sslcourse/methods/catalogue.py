"""The methods by name, for the command line, for comparisons, and for checkpoints that say how they were
built.

A method is a module of this folder that states a `SPEC` (see `methods.spec`); there is no other list of
them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable
from types import ModuleType

from sslcourse import encoders, runtime
from sslcourse.methods.base import Method
from sslcourse.methods.spec import Spec, encoders as default_encoders, stated
from sslcourse.runtime.errors import CourseError

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
        recipe: "course" or "gpu".
        encoder: one of `ENCODERS`; by default the recipe's.
        changes: "key=value" instead of the method's own settings, values as in JSON: "temperature=0.1",
            "predictor=false".
        samples: what it will learn from: frames and samples of sound per second are those of these films.
    """
    method = spec(name)
    settings = json.loads(
        json.dumps(method.settings(recipe, data.startswith(("toy", "moving")), classes))
    )  # as a checkpoint will hold them
    for key in ("fps", "rate"):
        value = getattr(samples, key, None)
        if key in settings and value is not None and value != settings[key]:
            settings[key] = int(value) if value == int(value) else value
    settings = runtime.override(settings, changes, name)
    return {
        "method": name,
        "encoder": encoder or method.encoders[recipe],
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
    try:
        method = spec(about["method"]).build(getattr(encoders, about["encoder"])(), about["settings"])
    except (TypeError, KeyError) as error:  # a setting that nothing here has, or lacks: of another version
        raise CourseError(f"{about['method']} cannot be built with {about['settings']}: {error}") from error
    method.about = about
    return method
