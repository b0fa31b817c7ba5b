"""The factor table: how well each factor of the toybox can be read from features."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from sslcourse.data.datasets import Data, open_labels
from sslcourse.evaluate.probes import linear_probe, majority, ridge_probe
from sslcourse.evaluate.reports import split_of
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.shapes import explained
from sslcourse.train import features

# ------------------------------------------------------------------------------------ the factor table


@explained
def factor_scores(
    train_x: Tensor,
    train_factors: Mapping[str, Tensor],
    x: Tensor,
    factors: Mapping[str, Tensor],
    kinds: Mapping[str, tuple[str, ...] | float | int],
) -> dict[str, float]:
    """How much of each factor a linear probe reads from features: 0 is chance or worse, 1 is everything.

    Args:
        kinds: factor -> names of its values (then: accuracy above that of always saying the value that is
            commonest in training), a full turn (an angle: R2 of its sine and cosine), or absent (a number:
            R2).
    """
    result = {}
    for name, column in train_factors.items():
        kind, truth = kinds.get(name), factors[name].cpu()
        column = column.cpu()
        if isinstance(kind, tuple):
            fitted = linear_probe(train_x, column.long(), classes=len(kind), penalties=(1e-3,), iterations=50)
            chance = majority(column.long(), truth.long())
            found = fitted.found(x, truth.long())
            value = (found - chance) / (1 - chance) if chance < 1 else 0.0
        else:
            y, target = _numbers(column, kind), _numbers(truth, kind)
            error = (ridge_probe(train_x, y)(x) - target).square().sum()
            whole = float((target - target.mean(0)).square().sum())
            value = 1 - float(error) / whole if whole else 0.0  # what is the same everywhere cannot be read
        result[name] = max(0.0, value)
    return result


def _numbers(column: Tensor, turn: float | int | None) -> Tensor:
    column = column.float()
    if turn is None:
        return column[:, None]
    angle = column * (2 * np.pi / turn)
    return torch.stack([angle.cos(), angle.sin()], 1)


def factor_table(
    encodes: Mapping[str, nn.Module | str | Callable],
    data: Data,
    *,
    on: str = "validation",
    method: nn.Module | None = None,
) -> dict[str, dict[str, float]]:
    """What each representation kept and what it threw away: name -> {factor: 0..1}. The course's signature
    figure.

    Args:
        encodes: name -> a trained method, the word "pixels", or an encode function (then `method` owns its
            weights).
        on: "validation" or, for the final table, "test".
    """
    held = split_of(data, on)
    factors = open_labels(held, "evaluate.factor_table")[1] if on == "test" else held.factors
    if not factors:
        raise CourseError(f"{data.name!r} has no known factors; the toybox has: toybox.images()")
    result = {}
    for name, source in encodes.items():
        if isinstance(source, str):
            if source != "pixels":
                raise CourseError(f"{name!r} is {source!r}; the only representation with a name is 'pixels'")
            side = features.places(data.train)
            train_x, x = features.pixels(data.train, side), features.pixels(held, side)
            # 3,072 pixels: their first 256 principal components hold nearly all of the variance and fit 20
            # times faster.
            _, _, basis = torch.pca_lowrank(train_x, q=min(256, *train_x.shape), niter=2)
            centre = train_x.mean(0)
            train_x, x = (train_x - centre) @ basis, (x - centre) @ basis
        elif isinstance(source, nn.Module):
            train_x, x = features.extract(source, data.train), features.extract(source, held)
        else:
            if method is None:
                raise CourseError(
                    f"{name!r} is a function; pass method=..., the network that it calls, so that it is kept "
                    "frozen"
                )
            train_x, x = (features.extract(method, s, encode=source) for s in (data.train, held))
        result[name] = factor_scores(train_x, data.train.factors, x, factors, data.train.factor_names)
    return result
