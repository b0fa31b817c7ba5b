"""The toybox: a small world of shaded solids in which everything about every picture is known.

`factors(n, ...)` draws what is to be seen, `render(factors)` draws the pictures; both take any number of
scenes at once and run on any device. `images()` is the data set of the course: three splits, cached on disk.

A scene is a dict of (N,) tensors:

    shape       0..9      which solid: the class of the picture
    hue         [0, 1)    of the solid, an angle on the colour wheel
    saturation  .35..1    of the solid
    size        .6..1     radius, as a share of .85 of half the picture
    x, y        -1..1     position: the ends are as far out as the solid stays inside the picture
    yaw, pitch, roll      pose in radians: turn about the vertical, nod, tilt
    light       [0, 2pi)  where the light comes from, clockwise from the top, an angle
    pattern     0..3      surface: plain, stripes, checks, spots
    ground_hue  [0, 1)    colour of the background, an angle
    ground      0..1      brightness of the background
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sslcourse import runtime
from sslcourse.data.toybox import solids
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import REAL, SEED, SHARE, WHOLE, takes
from sslcourse.runtime.shapes import explained

SHAPES = solids.NAMES
PATTERNS = ("plain", "stripes", "checks", "spots")
CATEGORIES = {"shape": SHAPES, "pattern": PATTERNS}
ANGLES = {"hue": 1.0, "light": 2 * math.pi, "ground_hue": 1.0}  # factor -> its full turn
RANGES = {
    "hue": (0, 1),
    "saturation": (0.35, 1),
    "size": (0.6, 1),
    "x": (-1, 1),
    "y": (-1, 1),
    "yaw": (-0.6, 0.6),
    "pitch": (0.15, 0.75),
    "roll": (-0.35, 0.35),
    "light": (0, 2 * math.pi),
    "ground_hue": (0, 1),
    "ground": (0, 1),
}

_GRID = 6  # cells along a side of the background's noise
_SPLIT_ID = {"train": 0, "validation": 1, "test": 2}
# pictures rendered at once: enough work for each of the ten bundles of rays, and still a few megabytes
_CHUNK = 512


@takes(n=WHOLE, seed=SEED, tied=SHARE)
def factors(n: int, seed: int = 0, split: str = "train", tied: float = 0.0) -> dict[str, Tensor]:
    """Draw `n` scenes, every factor independent of every other, unless hue is tied to shape.

    Args:
        tied: how much a solid's hue says of its shape, 0 to 1. At 0 nothing: any hue. Above, each shape has a
            hue of its own, a tenth of the wheel from the next one's, and a solid's hue lies within half of
            (1 - tied) of the wheel around it: at 0.9 within 5 % of the wheel, at 1 it is that very hue.

    One row of random numbers per scene, so the first scenes are the same whatever `n` is; `split` ("train",
    "validation", "test") chooses a stream of its own. The column `grain` (N, 6, 6, 3) is the background's
    noise and `speckle` (N,) the seed of the sensor noise; they are nuisances and not probed."""
    if n < 1:
        raise CourseError(f"n={n}; ask for at least one scene")
    if split not in _SPLIT_ID:
        raise CourseError(f"split={split!r} is none of {', '.join(_SPLIT_ID)}")
    columns = ["shape", "pattern", *RANGES, "speckle"]
    rng = np.random.default_rng([seed, _SPLIT_ID[split], 0x70B])
    u = rng.random((n, len(columns) + 3 * _GRID * _GRID), dtype=np.float32)
    scene: dict[str, Tensor] = {}
    for i, name in enumerate(columns):
        column = torch.from_numpy(u[:, i].copy())
        if name in CATEGORIES:
            scene[name] = (column * len(CATEGORIES[name])).long()
        elif name in RANGES:
            low, high = RANGES[name]
            scene[name] = low + (high - low) * column
        else:
            scene[name] = (column * 2**24).long()
    if tied:
        scene["hue"] = (scene["shape"] / len(SHAPES) + (1 - tied) * (scene["hue"] - 0.5)) % 1
    scene["grain"] = torch.from_numpy(u[:, len(columns) :].reshape(n, _GRID, _GRID, 3).copy())
    return scene


def scene(**known) -> dict[str, Tensor]:
    """One scene (all tensors of length 1) from the factors you name; the rest are typical values.

    `shape` and `pattern` may be names: `scene(shape="torus", hue=0.3)`.
    """
    values = {
        "shape": 1,
        "pattern": 0,
        "hue": 0.05,
        "saturation": 0.8,
        "size": 0.9,
        "x": 0.0,
        "y": 0.0,
        "yaw": 0.5,
        "pitch": 0.45,
        "roll": 0.0,
        "light": 5.5,
        "ground_hue": 0.6,
        "ground": 0.5,
        "speckle": 0,
    }
    for name, value in known.items():
        if name not in values:
            raise CourseError(f"{name!r} is no factor of the toybox; the factors are {', '.join(values)}")
        if name in CATEGORIES and isinstance(value, str):
            if value not in CATEGORIES[name]:
                raise CourseError(f"{name}={value!r}; choose one of {', '.join(CATEGORIES[name])}")
            value = CATEGORIES[name].index(value)
        values[name] = value
    integer = ("shape", "pattern", "speckle")
    result = {
        k: torch.tensor([v], dtype=torch.long if k in integer else torch.float32) for k, v in values.items()
    }
    rng = np.random.default_rng([int(values["speckle"]), 0x9A1])
    result["grain"] = torch.from_numpy(rng.random((1, _GRID, _GRID, 3), dtype=np.float32))
    return result


@explained
def hsv_to_rgb(hue: Tensor, saturation: Tensor | float, value: Tensor | float) -> Tensor:
    """(N,), each 0..1, to (N, 3)."""
    k = (torch.tensor([5.0, 3.0, 1.0], device=hue.device) + 6 * hue[:, None]) % 6
    bump = torch.minimum(k, 4 - k).clamp(0, 1)
    s = saturation[:, None] if isinstance(saturation, Tensor) else saturation
    v = value[:, None] if isinstance(value, Tensor) else value
    return v - v * s * bump


@explained
def rotation(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Rotation matrices (N, 3, 3) that turn the solid's frame into the world: roll after pitch after yaw."""
    one, zero = torch.ones_like(yaw), torch.zeros_like(yaw)

    def matrix(*rows):
        return torch.stack([torch.stack(row, -1) for row in rows], -2)

    cy, sy, cp, sp, cr, sr = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin(), roll.cos(), roll.sin()
    about_y = matrix((cy, zero, sy), (zero, one, zero), (-sy, zero, cy))
    about_x = matrix((one, zero, zero), (zero, cp, -sp), (zero, sp, cp))
    about_z = matrix((cr, -sr, zero), (sr, cr, zero), (zero, zero, one))
    return about_z @ about_x @ about_y


@explained
@takes(size=WHOLE, background=REAL, noise=SHARE)
def render(
    scene: Mapping[str, Tensor],
    size: int = 32,
    background: float = 0.1,
    device: str = "cpu",
    noise: float = 0.02,
) -> tuple[Tensor, Tensor]:
    """Draw scenes.

    Args:
        scene: as `factors` or `scene` return it, N scenes. For a film give one scene per frame.
        size: pixels along a side, 8 to 256.
        background: how strong and how different from picture to picture the background is, 0 to 1. At 0 it
            is the same grey in every picture; at 1 it identifies the picture: the shortcut of the lesson.
        noise: standard deviation of the sensor noise (of a range of 1).

    Returns: image (N, 3, size, size) uint8 and mask (N, size, size) bool: the pixels that are more than half
        covered.
    """
    if not 8 <= size <= 256:
        raise CourseError(f"size={size}; the toybox is drawn at 8 to 256 pixels")
    if not 0 <= background <= 1:
        raise CourseError(f"background={background}; it goes from 0 (plain) to 1 (identifies the picture)")
    missing = {"shape", "pattern", "speckle", "grain", *RANGES} - set(scene)
    if missing:
        raise CourseError(f"the scene lacks {', '.join(sorted(missing))}; build it with toybox.scene(...)")
    n = len(scene["shape"])
    images, masks = [], []
    for start in range(0, n, _CHUNK):
        part = {k: scene[k][start : start + _CHUNK].to(device) for k in scene}
        image, mask = _render(part, size, float(background), noise)
        images.append(image)
        masks.append(mask)
    return torch.cat(images), torch.cat(masks)


def _render(scene: dict[str, Tensor], size: int, background: float, noise: float) -> tuple[Tensor, Tensor]:
    n = len(scene["hue"])
    colour, alpha = solid(scene, size)
    a = alpha[..., None]
    image = _ground(scene, size, background) * (1 - a) + colour * a  # (N, size*size, 3)
    if noise:
        image = image + noise * speckle(scene["speckle"], size)
    image = (image.clamp(0, 1) * 255).round().to(torch.uint8).view(n, size, size, 3).permute(0, 3, 1, 2)
    return image.contiguous(), (alpha > 0.5).view(n, size, size)


@explained
def solid(scene: dict[str, Tensor], size: int) -> tuple[Tensor, Tensor]:
    """The solids alone: colours (N, size*size, 3) from 0 to about 1, and how much of each pixel they cover,
    (N, size*size) from 0 to 1.

    A scene may say how much its solid shines: `gloss` (N,), from 0 (matte) to 1; without it is 0.3.
    """
    device, n = scene["hue"].device, len(scene["hue"])
    # Geometry: every pixel's ray, seen from the solid. The view is parallel, so all rays of a picture share a
    # direction.
    radius = 0.85 * scene["size"]  # in units of half the picture
    room = 1 - 0.9 * radius  # how far the centre may go so that (nearly) all stays inside
    turn = rotation(scene["yaw"], scene["pitch"], scene["roll"])  # (N, 3, 3), solid -> world
    axis = (torch.arange(size, device=device) + 0.5) / size * 2 - 1
    # (N, size): pixel columns from the centre
    u = (axis[None, :] - (scene["x"] * room)[:, None]) / radius[:, None]
    v = (-axis[None, :] - (scene["y"] * room)[:, None]) / radius[:, None]  # rows; y points up
    near = (u[:, None, :] ** 2 + v[:, :, None] ** 2) < (solids.REACH + 2 / size / radius[:, None, None]) ** 2
    picture, row, column = near.nonzero(as_tuple=True)  # (K,) each: only rays that can hit
    pixel = 2 / size / radius  # width of a pixel in the solid's units

    alpha = torch.zeros(n, size * size, device=device)
    colour = torch.zeros(n * size * size, 3, device=device)
    albedo = hsv_to_rgb(scene["hue"], scene["saturation"], 0.95)  # (N, 3)
    # Light from the upper half of a dome over the viewer's shoulder; `light` turns it about the line of
    # sight.
    light = torch.stack(
        [0.62 * scene["light"].sin(), 0.62 * scene["light"].cos(), torch.full_like(scene["light"], 0.785)], 1
    )
    of_shape = scene["shape"][picture]
    # one bundle of rays per solid: each distance is written out once
    for shape in of_shape.unique().tolist():
        ray = (of_shape == shape).nonzero().squeeze(1)
        p, r, c = picture[ray], row[ray], column[ray]
        # (3, K) in the world, solid at the origin
        at = torch.stack([u[p, c], v[p, r], torch.full_like(u[p, c], 1.5)])
        back = turn[p].permute(1, 2, 0)  # (3 world, 3 solid, K): its transpose takes world to solid
        origin = (at[:, None] * back).sum(0)  # (3, K)
        direction = -back[2]
        along, nearest = solids.trace(shape, origin, direction)
        cover = (1 - nearest / pixel[p]).clamp(0, 1)  # soft over one pixel outside the outline
        seen = (cover > 0).nonzero().squeeze(1)
        p, cover, where = p[seen], cover[seen], (r * size + c)[seen]
        hit = origin[:, seen] + along[seen] * direction[:, seen]
        normal = solids.normals(shape, *hit)  # (3, K) in the solid's frame
        normal = (back[:, :, seen] * normal[None]).sum(1)  # in the world
        facing = (normal * light[p].T).sum(0).clamp_min(0)
        shine = (2 * facing * normal[2] - light[p, 2]).clamp_min(0) ** 16  # towards the viewer at (0, 0, 1)
        tint = _surface(scene["pattern"][p], hit)
        shade = (0.32 + 0.72 * facing) * tint  # (K,)
        gloss = scene["gloss"][p] if "gloss" in scene else 0.3
        colour[p * size * size + where] = shade[:, None] * albedo[p] + (gloss * shine)[:, None]
        alpha[p, where] = cover
    return colour.view(n, size * size, 3), alpha


def _surface(pattern: Tensor, at: Tensor) -> Tensor:
    """How bright the surface is at points (3, K): 1, or 0.5 on the dark parts of its pattern, which is
    painted on the solid.
    """
    x, y, z = at * 4.4
    wave = torch.where(pattern == 1, (1.5 * y).sin(), x.sin() * y.sin() * z.cos().sign())
    wave = torch.where(pattern == 3, 0.55 - (x.cos() * y.cos()).abs() - 0.2 * z.cos(), wave)
    dark = torch.sigmoid(-14 * wave)  # a soft edge: no aliasing at 32 pixels
    return torch.where(pattern == 0, torch.ones_like(dark), 1 - 0.5 * dark)


def ground_spread(strength: float) -> tuple[float, float, float]:
    """What a background of this strength (0 to 1) varies by: the range of its brightness, the saturation of
    its tint and the amplitude of its smooth noise, each as a share of full scale.

    At 0 all three are 0, so that every picture has the same grey background. They grow in proportion up to
    0.1, the default of still pictures, and more slowly from there to 1.
    """
    first = min(1.0, strength / 0.1)
    return (0.15 * first + 0.55 * strength, 0.1 * first + 0.5 * strength, 0.05 * first + 0.75 * strength)


def _ground(scene: dict[str, Tensor], size: int, strength: float) -> Tensor:
    """(N, size*size, 3): a colour per picture, and smooth noise of its own, both growing with `strength`."""
    brightness, saturation, amplitude = ground_spread(strength)
    mean = 0.5 + (scene["ground"] - 0.5) * brightness  # (N,)
    tint = hsv_to_rgb(scene["ground_hue"], saturation, 1.0)  # (N, 3)
    grain = scene["grain"].permute(0, 3, 1, 2) - 0.5
    waves = torch.nn.functional.interpolate(grain, size=(size, size), mode="bilinear", align_corners=True)
    plain = mean[:, None] * (tint / tint.mean(1, keepdim=True))
    return plain[:, None] + amplitude * waves.flatten(2).transpose(1, 2)


@explained
def speckle(seed: Tensor, size: int) -> Tensor:
    """(N, size*size, 3) of standard normal noise, a fixed function of each scene's seed, alike on every
    device.

    A table of noise is read from a place that depends on the seed: as good as fresh noise for a camera, and
    thirty times faster than a generator per picture."""
    count = size * size * 3
    table = _noise_table(str(seed.device))
    start = (seed * 7919) % (len(table) - count)
    return table[start[:, None] + torch.arange(count, device=seed.device)].view(len(seed), size * size, 3)


_tables: dict[str, Tensor] = {}


def _noise_table(device: str) -> Tensor:
    if device not in _tables:
        _tables[device] = torch.randn(2**20, generator=runtime.generator(0x5BEC)).to(device)
    return _tables[device]


HUE_NAMES = (
    "red",
    "orange",
    "yellow",
    "green",
    "green",
    "turquoise",
    "turquoise",
    "blue",
    "blue",
    "purple",
    "pink",
    "pink",
)


def hue_name(hue: float) -> str:
    """The everyday word for a place on the colour wheel, 0 to 1."""
    return HUE_NAMES[int((hue * 12 + 0.5) % 12)]
