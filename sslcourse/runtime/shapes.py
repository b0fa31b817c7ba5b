"""Arguments of another kind or shape than a function is written for: the error in words.

    @explained
    def nt_xent(z1: Float[Tensor, "n d"], z2: Float[Tensor, "n d"], temperature: float = 0.5) -> ...

Nothing is tested while all goes well, so that it costs nothing and changes no number. Only when the function
fails are its arguments compared with what its annotations say: if one of them does not fit, that is what a
student is told; else the error is passed on as it is. Shapes belong together: one "n" is one number in all
arguments of a call.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from sslcourse.runtime.errors import CourseError

Function = TypeVar("Function", bound=Callable[..., Any])


class Misfit(CourseError):
    """An argument that does not fit its annotation."""


def explained(function: Function) -> Function:
    """A decorator: a failure whose cause is an argument of a wrong kind or shape becomes a `Misfit` that
    names the argument, what it is, and what is wanted. Other errors stay what they are.
    """

    @functools.wraps(function)
    def told(*given, **named):
        try:
            return function(*given, **named)
        except Exception as error:  # torch, NumPy and OpenCV raise a dozen kinds; what is not ours goes on
            # An error in words stays, but a misfit further down is told by the name that the caller used.
            if isinstance(error, CourseError) and not isinstance(error, Misfit):
                raise
            reason = _misfit(function, given, named)
            if reason is None:
                raise
            raise Misfit(f"{function.__name__}: {reason}") from error

    return told  # type: ignore[return-value]


def _misfit(function: Callable, given: tuple, named: dict[str, Any]) -> str | None:
    """What is wrong with the arguments, in a sentence; None where nothing is."""
    from jaxtyping import jaxtyped

    try:
        hints = typing.get_type_hints(function)
        arguments = inspect.signature(function).bind(*given, **named).arguments
    except (NameError, TypeError):  # annotations that only a type checker reads; arguments that are missing
        return None
    fitting: list[str] = []
    with jaxtyped("context"):  # one n for all of them
        for name, value in _each(function, arguments):
            wanted = list(_arrays(hints.get(name)))
            if not wanted or value is None and type(None) in typing.get_args(hints[name]):
                continue
            if not any(_fits(value, one) for one in wanted):
                beside = f", beside {', '.join(fitting)}" if fitting and hasattr(value, "shape") else ""
                return f"{name} is {_told(value)}{beside}; give it {' or '.join(map(_in_words, wanted))}"
            if hasattr(value, "shape"):
                fitting.append(f"{name} {_size(value)}")
    return None


def _each(function: Callable, arguments: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name and value of each argument; of *several each."""
    kinds = {name: parameter.kind for name, parameter in inspect.signature(function).parameters.items()}
    for name, value in arguments.items():
        for one in value if kinds[name] is inspect.Parameter.VAR_POSITIONAL else (value,):
            if kinds[name] is not inspect.Parameter.VAR_KEYWORD:
                yield name, one


def _arrays(hint: Any) -> Iterator[Any]:
    """The kinds of tensors and arrays that an annotation takes; nothing where it takes other things too."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(hint) if part is not type(None)]
    else:
        parts = [hint]
    if all(_is_array(part) for part in parts):
        yield from parts


def _is_array(hint: Any) -> bool:
    import numpy as np
    import torch

    return hasattr(hint, "dim_str") or hint in (torch.Tensor, np.ndarray)


def _fits(value: Any, hint: Any) -> bool:
    return isinstance(value, hint)


def _in_words(hint: Any) -> str:
    """Float[Tensor, "n 3 h w"] -> 'a float tensor (n, 3, h, w)'."""
    kind = getattr(hint, "array_type", hint)
    what = "tensor" if kind.__name__ == "Tensor" else "NumPy array"
    if not hasattr(hint, "dim_str"):
        return f"a {what}"
    numbers = hint.__name__.split("[")[0].lower()
    numbers = {"shaped": "", "num": "number ", "int": "whole-number ", "bool": "true-or-false "}.get(
        numbers, f"{numbers} "
    )
    shape = ", ".join(hint.dim_str.split())
    return f"a {numbers}{what} ({shape})" if shape else f"a {numbers}{what} of a single number"


def _size(value: Any) -> str:
    return f"({', '.join(map(str, value.shape))})"


def _told(value: Any) -> str:
    """What a value is, in a few words."""
    if value is None:
        return "None"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        what = "a tensor" if type(value).__module__.startswith("torch") else "a NumPy array"
        return f"{what} {_size(value)} of {str(value.dtype).removeprefix('torch.')}"
    kind = type(value).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
