"""Data sets made of the toybox: pictures with labels, factors, masks and captions, cached on disk.

What the default pictures are worth to pixels, to a random encoder, to SimCLR and with all labels, and what
the knob `background` does to that: `sslcourse evaluate --calibration` measures it, and the page "What the
toybox is worth" shows it (`results/measured/calibration.json`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sslcourse.data.datasets import Data, Samples
from sslcourse.data.toybox import disk_cache, world
from sslcourse.data.toybox.world import hue_name
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import REAL, SEED, WHOLE, takes
from sslcourse.runtime.shapes import explained

FACTORS = ("shape", *[n for n in world.RANGES if n != "ground"], "pattern", "ground")


@takes(
    train=WHOLE,
    validation=WHOLE,
    test=WHOLE,
    size=WHOLE,
    background=REAL,
    seed=SEED,
)
def images(
    train: int = 6000,
    validation: int = 1000,
    test: int = 2000,
    *,
    size: int = 32,
    background: float = 0.1,
    tied: float = 0.0,
    seed: int = 0,
    cache: bool = True,
) -> Data:
    """Pictures of the toybox's ten solids, in three splits that share no scene.

    Args:
        train, validation, test: how many of each.
        size: pixels along a side, 8 to 256.
        background: 0 to 1, see `world.render`.
        tied: 0 to 1, how much hue says of shape, see `world.factors`: things in photographs have their
            colours, the toybox's solids by default have any.
        seed: of the world: another seed, other scenes.
        cache: keep the rendered pictures on disk (`SSLCOURSE_CACHE`).

    Returns: `Data` whose samples carry the class (`label`, the solid's shape), all factors, and in each batch
        `mask` (H, W) and, but for the test split, `caption` (8, 16): several captions as tokens, see
        `sslcourse.data.captions`.
    """
    from sslcourse.data import captions  # which are made of the words of this module

    parts = []
    for split, n in (("train", train), ("validation", validation), ("test", test)):
        scene = world.factors(n, seed, split, tied)
        image, mask = _rendered(scene, n, seed, split, size, background, tied, cache)
        columns = {name: scene[name] for name in FACTORS}
        extra = {"mask": mask}
        if split != "test":  # a caption names the class, and the labels of the test split are sealed
            extra["caption"] = captions.draw(columns, seed=seed)
        parts.append(
            Samples(
                image,
                scene["shape"],
                classes=world.SHAPES,
                factors=columns,
                factor_names=kinds(),
                extra=extra,
                split=split,
                name=_name(background, tied),
            )
        )
    return Data(*parts)


def kinds() -> dict[str, tuple[str, ...] | float]:
    """What kind of factor each one is: names of its values, a full turn (an angle), or nothing (a plain
    number).
    """
    return {**world.CATEGORIES, **world.ANGLES}


def _name(background: float, tied: float) -> str:
    knobs = [f"background {background:g}"] * (background != 0.1) + [f"hue tied to shape {tied:g}"] * bool(
        tied
    )
    return ", ".join(["toybox", *knobs])


def _rendered(scene, n, seed, split, size, background, tied, cache) -> tuple[Tensor, Tensor]:
    def draw() -> dict[str, np.ndarray]:
        image, mask = world.render(scene, size, background)
        return {"image": image.numpy(), "mask": np.packbits(mask.numpy())}

    knobs = disk_cache.named(bg=background, tied=tied)
    path = disk_cache.place("pictures", f"{split}-{n}-seed{seed}-{size}px-{knobs}")
    found = disk_cache.arrays(
        path, {"image": (n, 3, size, size), "mask": (-(-n * size * size // 8),)}, draw, cache
    )
    mask = np.unpackbits(found["mask"], count=n * size * size).reshape(n, size, size).astype(bool)
    return torch.from_numpy(found["image"]), torch.from_numpy(mask)


@explained
def caption(scene: dict[str, Tensor], i: int, leave_out: tuple[str, ...] = ()) -> str:
    """A sentence that says what picture `i` shows: size, colour, shape, pattern and place.

    Args:
        scene: factors as `world.factors` or `Samples.factors` give them.
        leave_out: any of "size", "hue", "shape", "pattern", "place", not to be mentioned.
    """
    unknown = set(leave_out) - {"size", "hue", "shape", "pattern", "place"}
    if unknown:
        raise CourseError(
            f"a caption has no part {sorted(unknown)[0]!r}; it has size, hue, shape, pattern and place"
        )
    words = ["a"]
    if "size" not in leave_out:
        low, high = world.RANGES["size"]
        third = (float(scene["size"][i]) - low) / (high - low)
        words.append("small" if third < 1 / 3 else "large" if third > 2 / 3 else "medium-sized")
    if "hue" not in leave_out:
        words.append(hue_name(float(scene["hue"][i])))
    words.append("thing" if "shape" in leave_out else world.SHAPES[int(scene["shape"][i])])
    pattern = world.PATTERNS[int(scene["pattern"][i])]
    if "pattern" not in leave_out and pattern != "plain":
        words += ["with", pattern]
    if "place" not in leave_out:
        x, y = float(scene["x"][i]), float(scene["y"][i])
        height = "top" if y > 1 / 3 else "bottom" if y < -1 / 3 else ""
        side = "right" if x > 1 / 3 else "left" if x < -1 / 3 else ""
        words += ["at", "the", *([height, side] if height or side else ["centre"])]
    text = " ".join(word for word in words if word)
    return text.replace("a orange", "an orange").replace("a octahedron", "an octahedron")
