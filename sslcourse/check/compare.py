"""What the checkers share: values as numbers, gradients, and whether two losses are the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sslcourse.check.engine import NotYet

Gradients = tuple[Tensor | None, ...]


def number(value: Tensor | float) -> float:
    """A tensor with one entry, or a number, as a float that knows no gradient."""
    return float(value.detach() if isinstance(value, Tensor) else value)


def expect_scalar(value: object) -> None:
    """NotYet unless a loss is a tensor of shape ()."""
    if not isinstance(value, Tensor):
        raise NotYet("what it returns, so that gradients can flow", "a tensor", type(value).__name__)
    if value.ndim:
        raise NotYet("the loss is one number; the shape of the tensor", "()", tuple(value.shape))


def gradients(value: Tensor, inputs: Sequence[Tensor]) -> Gradients:
    """Of a tensor of shape (), one for each input; None where none arrives."""
    if not value.requires_grad:
        return (None,) * len(inputs)
    return torch.autograd.grad(value, tuple(inputs), allow_unused=True)


def slopes(f: Callable, inputs: Sequence[Tensor], *rest: object) -> Gradients:
    """The gradients of f(*inputs, *rest) that reach copies of the inputs; None where none arrives."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    return gradients(f(*leaves, *rest), leaves)


def zeros_for_none(found: Gradients, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """No gradient as a gradient of 0, in the shape of its input."""
    return tuple(torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs))


def tensor_valued(f: Callable) -> Callable:
    """The same function; where it gives a plain number, that is a tensor which no gradient goes through."""

    def wrapped(*inputs: object) -> Tensor:
        value = f(*inputs)
        return value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)

    return wrapped


def expect_gradient(where: str, mine: Tensor | None, right: Tensor, atol: float) -> None:
    """NotYet, with both lengths, unless the gradient is the right one.

    Args:
        where: what follows "the gradient", such as " that reaches p".
    """
    if mine is None or not torch.allclose(mine, right, atol=atol):
        raise NotYet(
            f"the value is right, but not the gradient{where}; its length",
            f"{float(right.norm()):.4f}",
            "none" if mine is None else f"{float(mine.norm()):.4f}",
        )


def same_number(mine: Tensor | float, theirs: Tensor | float, rel: float, least: float) -> bool:
    """Whether two values agree to a share of `rel`, or are `least` or less apart."""
    return math.isclose(number(mine), number(theirs), rel_tol=rel, abs_tol=least)


def same_gradients(
    mine: Gradients, theirs: Gradients, rel: float, least: float, *, none_is_zero: bool = True
) -> bool:
    """Whether gradients agree, one by one.

    Args:
        rel, least: the difference allowed: this share of the other gradient, and this much in any case.
        none_is_zero: whether an input that no gradient reaches is like one that a gradient of 0 reaches.
    """
    for x, y in zip(mine, theirs, strict=True):
        if x is not None and y is not None:
            if not torch.allclose(x, y, rtol=rel, atol=least):
                return False
            continue
        reached = y if x is None else x
        if reached is not None and not (
            none_is_zero and torch.allclose(reached, torch.zeros_like(reached), atol=least)
        ):
            return False
    return True
