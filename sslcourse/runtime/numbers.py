"""Whole numbers, whoever made them."""

from __future__ import annotations

import operator


def as_whole(value: object) -> int | None:
    """`value` as an `int` where it is a whole number, else None.

    What `y.max() + 1` and `np.unique` give (numpy's integers) and tensors of one integer are whole numbers
    too; a float is none, nor is True.
    """
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]  # that is the question
    except (TypeError, ValueError, RuntimeError):
        return None
