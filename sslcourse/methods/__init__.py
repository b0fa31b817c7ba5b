"""One file for each paper's method, with its SPEC; `base` says what a method is, `catalogue` has all by name.

A module loads when it is first used: `from sslcourse.methods import simclr`, or `methods.simclr`."""

import importlib
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise  # the method is there; what it needs is not
        raise AttributeError(f"sslcourse.methods has no {name!r}") from None
