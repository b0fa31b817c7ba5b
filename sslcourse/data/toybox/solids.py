"""The ten solids of the toybox as signed distance functions, and where a bundle of rays meets them.

A signed distance says how far a point is from a surface (negative inside). Sphere tracing walks along a ray
by just that distance, which can never jump through the surface (Hart, Sphere tracing, The Visual Computer
1996). Points come as three 1-D tensors x, y, z, in the solid's own frame: centre at the origin, everything
within distance 1."""

from __future__ import annotations

import torch
from torch import Tensor

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.shapes import explained

NAMES = ("sphere", "cube", "cylinder", "cone", "torus", "capsule", "octahedron", "cross", "link", "disc")
REACH = 1.02  # no solid extends further from its centre

_STEPS = 28  # with the stopping rule below, enough for every solid at 64 pixels
_SURFACE = 2e-3


def _length(a: Tensor, b: Tensor) -> Tensor:
    return torch.sqrt(a * a + b * b)


def _box(x: Tensor, y: Tensor, z: Tensor, a: float, b: float, c: float) -> Tensor:
    x, y, z = x.abs() - a, y.abs() - b, z.abs() - c
    outside = torch.sqrt(x.clamp_min(0) ** 2 + y.clamp_min(0) ** 2 + z.clamp_min(0) ** 2)
    return outside + torch.maximum(x, torch.maximum(y, z)).clamp_max(0)


def _can(x: Tensor, y: Tensor, z: Tensor, radius: float, half: float) -> Tensor:
    side, top = _length(x, z) - radius, y.abs() - half
    return torch.maximum(side, top).clamp_max(0) + _length(side.clamp_min(0), top.clamp_min(0))


def sphere(x, y, z):
    return torch.sqrt(x * x + y * y + z * z) - 0.82


def cube(x, y, z):
    return _box(x, y, z, 0.52, 0.52, 0.52) - 0.05


def cylinder(x, y, z):
    return _can(x, y, z, 0.52, 0.72) - 0.04


def cone(x, y, z):
    # Apex at y = 0.85, base of radius 0.8 at y = -0.55; distance to the slanted side, cut off by the base.
    slope = 0.8 / 1.4
    side = (_length(x, z) - slope * (0.85 - y)) / (1 + slope * slope) ** 0.5
    return torch.maximum(side, -0.55 - y)


def torus(x, y, z):
    return _length(_length(x, z) - 0.66, y) - 0.28


def capsule(x, y, z):
    stick = y - y.clamp(-0.58, 0.58)
    return torch.sqrt(x * x + stick * stick + z * z) - 0.36


def octahedron(x, y, z):
    return (x.abs() + y.abs() + z.abs() - 0.98) * 3**-0.5


def cross(x, y, z):
    return torch.minimum(_box(x, y, z, 0.92, 0.26, 0.26), _box(x, y, z, 0.26, 0.92, 0.26))


def link(x, y, z):
    stretched = y - y.clamp(-0.38, 0.38)
    return _length(_length(x, stretched) - 0.38, z) - 0.17


def disc(x, y, z):
    return _can(x, z, y, 0.9, 0.1) - 0.03  # its axis points at the viewer


_DISTANCE = (sphere, cube, cylinder, cone, torus, capsule, octahedron, cross, link, disc)


@explained
def distance(shape: int, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Signed distance (in units of the solid's size) of points (K,), (K,), (K,) to solid number `shape`, 0 to
    9.
    """
    if not 0 <= shape < len(_DISTANCE):
        raise CourseError(
            f"shape={shape}; the solids are numbered 0 to {len(_DISTANCE) - 1}: {', '.join(NAMES)}"
        )
    return _DISTANCE[shape](x, y, z)


@explained
def trace(shape: int, origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Walk along K rays. Returns how far along each the surface is (K,), and how near it the ray came (K,): 0
    on a hit.

    Args:
        origin, direction: (3, K); directions of length 1, origins about 1.5 before the centre.
    """
    ox, oy, oz = origin
    dx, dy, dz = direction
    along = torch.zeros_like(ox)
    nearest = torch.full_like(ox, float("inf"))
    alive = None  # positions still walking; None = all
    for step in range(_STEPS):
        if alive is None:
            gap = distance(shape, ox + along * dx, oy + along * dy, oz + along * dz)
            nearest = torch.minimum(nearest, gap)
            along = along + gap
        else:
            t = along[alive]
            gap = distance(
                shape, ox[alive] + t * dx[alive], oy[alive] + t * dy[alive], oz[alive] + t * dz[alive]
            )
            nearest[alive] = torch.minimum(nearest[alive], gap)
            along[alive] = t + gap
        if step % 4 == 3:  # most rays have arrived or left: go on with the few that graze an edge
            alive = ((nearest > _SURFACE) & (along < 3.2)).nonzero().squeeze(1)
            if not len(alive):
                break
    return along, torch.where(nearest <= 2 * _SURFACE, torch.zeros_like(nearest), nearest)


@explained
def normals(shape: int, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Unit normals (3, K) at surface points: the distance's gradient, by differences on a tetrahedron."""
    e = 2e-3
    total = torch.zeros(3, len(x), device=x.device)
    for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
        value = distance(shape, x + e * corner[0], y + e * corner[1], z + e * corner[2])
        for axis in range(3):
            total[axis] += corner[axis] * value
    return torch.nn.functional.normalize(total, dim=0)
