"""Colours as the papers need them: grey, and CIE Lab, in which lightness stands apart from what is red,
green, blue or yellow.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sslcourse.runtime.shapes import explained

_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as PIL, OpenCV and television have it
# of linear sRGB
_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = (0.95047, 1.0, 1.08883)  # D65
_BEND = 6 / 29


@explained
def grey(image: Tensor, dim: int = 1) -> Tensor:
    """How bright each pixel is, in the units of its three channels, which stand on axis `dim` and are gone
    afterwards.
    """
    red, green, blue = image.unbind(dim)
    return _GREY[0] * red + _GREY[1] * green + _GREY[2] * blue


@explained
def lab(image: Tensor, dim: int = 1) -> Tensor:
    """CIE Lab of sRGB pictures: floats from 0 to 1 in, L from 0 to 100 and a (green to red), b (blue to
    yellow) from about -110 to 110 out.

    Args:
        dim: the axis of the three channels: 1 for (B, 3, H, W) and (B, 3, T, H, W).
    """
    linear = torch.where(
        image <= 0.04045, image / 12.92, ((image.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    ).movedim(dim, -1)
    ratio = (linear @ linear.new_tensor(_XYZ).T) / linear.new_tensor(_WHITE)
    # The root's slope is infinite at 0: clamped, so that no gradient becomes NaN.
    bent = torch.where(
        ratio > _BEND**3, ratio.clamp_min(_BEND**3) ** (1 / 3), ratio / (3 * _BEND**2) + 4 / 29
    )
    x, y, z = bent.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim)


@explained
def from_lab(image: Tensor, dim: int = 1) -> Tensor:
    """sRGB from 0 to 1 of Lab pictures; what a screen cannot show is clamped."""
    light, a, b = image.unbind(dim)
    y = (light + 16) / 116
    bent = torch.stack([y + a / 500, y, y - b / 200], -1)
    ratio = torch.where(bent > _BEND, bent**3, 3 * _BEND**2 * (bent - 4 / 29))
    linear = (ratio * ratio.new_tensor(_WHITE)) @ torch.linalg.inv(
        ratio.new_tensor(_XYZ, dtype=torch.float64)
    ).T.to(ratio.dtype)
    rgb = torch.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    )
    return rgb.clamp(0, 1).movedim(-1, dim)
