"""Arguments of a wrong kind or shape are told in words, by every public function that takes tensors; what
fits costs nothing and changes nothing."""

import importlib
import inspect
import pkgutil
import typing

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

import sslcourse
from sslcourse.evaluate import health
from sslcourse.methods import byol, simclr
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.shapes import Misfit, _arrays, explained

NO_TENSORS = {"None": None, "a text": "x", "a list": [1.0, 2.0], "an object": object()}


def taking_tensors():
    """Public functions whose arguments without a default all are tensors or arrays."""
    for room in ("encoders", "evaluate", "methods", "train", "transforms", "data"):
        package = importlib.import_module(f"sslcourse.{room}")
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            for name, function in vars(module).items():
                if (
                    name.startswith("_")
                    or not inspect.isfunction(function)
                    or function.__module__ != found.name
                ):
                    continue
                parameters = inspect.signature(function).parameters.values()
                needed = [p.name for p in parameters if p.default is p.empty and p.kind < p.VAR_KEYWORD]
                try:
                    hints = typing.get_type_hints(function)
                except NameError:
                    continue
                if needed and all(list(_arrays(hints.get(n))) for n in needed):
                    none = all(type(None) in typing.get_args(hints[n]) for n in needed)
                    yield function, len(needed), none


def test_every_public_function_tells_what_is_no_tensor():
    swept, silent = 0, []
    for function, many, none in taking_tensors():
        for kind, value in NO_TENSORS.items():
            if value is None and none:
                continue
            swept += 1
            try:
                function(*[value] * many)
                silent.append(f"{function.__module__}.{function.__name__}: takes {kind}")
            except CourseError:
                pass
            except Exception as error:
                silent.append(f"{function.__module__}.{function.__name__}: {kind}: {error!r}"[:200])
    assert swept >= 200 and silent == []


def test_the_sentence_names_the_argument_and_what_is_wanted():
    with pytest.raises(Misfit, match=r"nt_xent: z2 is a tensor \(5, 8\) of float32, beside z1 \(4, 8\)"):
        simclr.nt_xent(torch.randn(4, 8), torch.randn(5, 8))
    with pytest.raises(Misfit, match=r"spread: z is a NumPy array \(4, 8\) of float64; give it a float"):
        health.spread(np.zeros((4, 8)))
    with pytest.raises(Misfit, match="is None; give it a float tensor"):
        byol.regression_loss(None, torch.randn(4, 8))


def test_other_errors_stay_what_they_are():
    @explained
    def parted(x: Float[Tensor, "n d"], by):
        if by is None:
            raise RuntimeError("out of memory")
        return x / by()

    def broken():
        raise KeyError("mine")

    x = torch.ones(2, 3)
    with pytest.raises(RuntimeError, match="^out of memory$"):
        parted(x, None)
    with pytest.raises(KeyError, match="mine"):
        parted(x, broken)
    with pytest.raises(TypeError, match="by"):  # an argument that is missing
        parted(x)
    with pytest.raises(
        Misfit, match=r"parted: x is a tensor \(3\) of float32; give it a float tensor \(n, d\)"
    ):
        parted(torch.ones(3), broken)

    @explained
    def outer(picture: Float[Tensor, "n d"]):
        return parted(picture, broken)

    with pytest.raises(Misfit, match="^outer: picture is"):  # by the name that the caller used
        outer(torch.ones(3))

    @explained
    def told(x: Float[Tensor, "n d"]):
        raise CourseError("in words already")

    with pytest.raises(CourseError, match="^in words already$"):
        told(torch.ones(3))


def test_what_fits_is_not_looked_at(monkeypatch):
    from sslcourse.runtime import shapes

    monkeypatch.setattr(shapes, "_misfit", lambda *_: pytest.fail("looked at"))
    assert simclr.nt_xent.__wrapped__.__name__ == "nt_xent" and "temperature" in str(
        inspect.signature(simclr.nt_xent)
    )
    assert simclr.nt_xent(torch.randn(4, 8), torch.randn(4, 8)).ndim == 0
    assert sslcourse.__version__
