"""Double precision where last digits decide: columns far from zero or nearly constant, rows nearly alike.

Features are float32. Their own digits are enough; those of their *squares* are not: of 10,000.1 squared
nothing is left of the .1. So differences, means and spreads of features are taken in float64, a block of rows
at a time, so that no second copy of all features is held.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

ROWS = 4096  # that are held in float64 at a time


def precise(x: Tensor) -> Tensor:
    """x in float64: where it lies, or on the CPU where its device has no such numbers (Apple's GPU)."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def moments(x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """Mean and standard deviation (divided by n) of each column, in float64.

    A column that differs by no more than float64 can tell has the deviation 0, by scikit-learn's rule
    (`StandardScaler`).
    """
    n, parts = len(x), x.split(ROWS)
    mean = torch.stack([precise(part).sum(0) for part in parts]).sum(0) / n
    variance = torch.stack([(precise(part) - mean).square().sum(0) for part in parts]).sum(0) / n
    eps = torch.finfo(torch.float64).eps
    constant = variance <= n * eps * variance + (n * mean * eps).square()
    return mean, variance.masked_fill(constant, 0.0).sqrt()


def standardised(x: Float[Tensor, "n d"], mean: Tensor, scale: Tensor) -> Float[Tensor, "n d"]:
    """(x - mean) / scale in float32, subtracted and divided in float64; on the device of `mean`."""
    result = torch.empty(x.shape, dtype=torch.float32, device=mean.device)  # filled: nothing is held twice
    for part, place in zip(x.split(ROWS), result.split(ROWS)):
        place.copy_((precise(part.to(mean.device)) - mean) / scale)
    return result


def unit(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Rows of length 1, in float64; a row of zeros stays one, and any other has a direction however short it
    is.
    """
    return F.normalize(precise(x), dim=1, eps=torch.finfo(torch.float64).tiny)
