"""The filter gallery: what the first layer's kernels became, and what excites each unit of any layer most."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import traitlets
from torch import nn

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import WHOLE, takes
from sslcourse.train import features
from sslcourse.widgets.views import View, Whole, packed, script, sprite

MOST_UNITS = 64  # of a layer that are shown
MOST_IMAGES = 512  # that are searched: each of them travels to the page


class Filters(View):
    """Units as tiles; the chosen one large, beside the patches that excite it most. A slider over the epochs
    for the first layer.

    Args: as for `filters`, which makes it. `view.unit` is the chosen unit, `view.layer` the chosen layer's
    position."""

    _esm = script("filters")

    kernels = traitlets.Bytes(b"").tag(sync=True)  # (epochs, n, k, k, 3) uint8
    values = traitlets.Bytes(b"").tag(sync=True)  # layer after layer: (units, top) float32
    places = traitlets.Bytes(b"").tag(sync=True)  # layer after layer: (units, top, 3) uint16: image, y, x
    pictures = traitlets.Bytes(b"").tag(sync=True)
    about = traitlets.Dict().tag(sync=True)
    unit = Whole(0).tag(sync=True)
    layer = Whole(0).tag(sync=True)

    def __init__(
        self,
        kernels: np.ndarray,
        epochs: list[float],
        found: dict[str, dict],
        fields: dict[str, int],
        images,
        title: str,
    ):
        used = torch.cat([f["image"].flatten() for f in found.values()]).unique()
        again = torch.zeros(len(images), dtype=torch.long)
        again[used] = torch.arange(len(used))  # only images that excite somebody travel
        self._images, self._kernels, self._found, self._fields, self._again = (
            images[used],
            kernels,
            found,
            fields,
            again,
        )
        sheet, cut = sprite(self._images)
        layers, at = [], 0
        for name, f in found.items():
            units, top = f["value"].shape
            layers.append({"name": name, "units": units, "top": top, "field": fields[name], "at": at})
            at += units * top
        place = lambda f: torch.stack([again[f["image"]].float(), f["y"].round(), f["x"].round()], -1)
        super().__init__(
            kernels=np.ascontiguousarray(kernels).tobytes(),
            values=b"".join(packed(f["value"].numpy(), "f4") for f in found.values()),
            places=b"".join(packed(place(f).numpy(), "u2") for f in found.values()),
            pictures=sheet,
            about={
                "layers": layers,
                "epochs": epochs,
                "kernel": kernels.shape[2],
                "count": kernels.shape[1],
                "cut": cut,
                "title": title,
                "side": int(images.shape[-1]),
            },
        )

    def patches(self, layer: str, unit: int, side: int = 40) -> np.ndarray:
        """What excites a unit most, (top, side, side, 3) uint8: the receptive field, cut out at the strongest
        place.
        """
        from sslcourse import show

        f, field = self._found[layer], self._fields[layer]
        tiles = []
        for image, y, x in zip(self._again[f["image"][unit]], f["y"][unit], f["x"][unit]):
            picture = show.to_uint8(self._images[image])[0]
            near = field // 2 + 1
            padded = np.pad(picture, ((near, near), (near, near), (0, 0)), mode="edge")
            top, left = round(float(y)) + near - field // 2, round(float(x)) + near - field // 2
            tiles.append(show.enlarge(padded[top : top + field, left : left + field], side))
        height, width = (min(t.shape[i] for t in tiles) for i in (0, 1))
        return np.stack([t[:height, :width] for t in tiles])

    def picture(self) -> bytes:
        """The first layer's kernels, and for four of its units the patches that excite them most."""
        from sslcourse import show
        from sslcourse.show import sheets

        name = next(iter(self._found))
        tiles = [show.enlarge(t, 30) for t in self._kernels[-1]]
        side, columns = tiles[0].shape[0] + 4, 16
        rows = -(-len(tiles) // columns)
        units = list(range(0, len(tiles), max(1, len(tiles) // 4)))[:4]
        sheet = sheets.Sheet(max(columns * side + 12, 620), 28 + rows * side + 18 + len(units) * 46)
        sheet.text(6, 5, f"{self.about['title'] or 'filters of ' + name}", 10.5, ha="left", fontweight="bold")
        for i, tile in enumerate(tiles):
            sheet.paste(tile, 6 + i % columns * side, 28 + i // columns * side)
        y = 28 + rows * side + 8
        sheet.text(6, y, f"what excites units {', '.join(map(str, units))} of {name} most", 9, ha="left")
        for j, unit in enumerate(units):
            sheet.paste(show.enlarge(self._kernels[-1][unit], 40), 6, y + 18 + j * 46)
            for i, tile in enumerate(self.patches(name, unit)):
                sheet.paste(tile, 66 + i * 46, y + 18 + j * 46)
        return show.png(sheet.done())

    def __repr__(self):
        layers = ", ".join("{name} ({units})".format(**layer) for layer in self.about["layers"])
        return f"<filters: {layers}, {len(self.about['epochs'])} epochs>"


@takes(top=WHOLE)
def filters(
    method: nn.Module, samples, history=None, *, layers=None, top: int = 9, title: str = ""
) -> Filters:
    """The first layer's filters, over the epochs where they were recorded, and what excites every unit of
    each layer most.

    Args:
        method: a method or an encoder with `.layers`.
        samples: the data set to search, at most 512 of its images; labels are not read.
        history: a `Panel` or `Replay` that recorded filters; without it only the filters as they are now.
        layers: names of the layers to search; all by default.
        top: patches for each unit, 1 to 16.
    """
    from sslcourse.encoders.images import eyes, first_filters, is_method
    from sslcourse.widgets.replay import Replay

    encoder: Any = method if hasattr(method, "layers") else getattr(method, "f", None)
    if encoder is None or not hasattr(encoder, "layers"):
        raise CourseError(
            f"{type(method).__name__} has no named layers; pass the method (with .f) or one of "
            "sslcourse.encoders"
        )
    names = list(encoder.layers) if layers is None else list(layers)
    if not 1 <= top <= 16:
        raise CourseError(f"top={top}; show 1 to 16 patches for each unit")
    part = samples.take(slice(0, MOST_IMAGES))
    found = {}
    for name in names:
        f = features.excitations(method, part, name, min(top, len(part)))
        found[name] = {k: v[:MOST_UNITS] for k, v in f.items()}
    now = (first_filters(encoder)[:MOST_UNITS] * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    # A method may enlarge pictures before its encoder sees them: a field is then smaller on the picture.
    times = 1.0
    if is_method(method):
        device = next((p.device for p in method.parameters()), torch.device("cpu"))
        times = part.image.shape[-1] / eyes(method)(part.image[:1].to(device)).shape[-1]
    kernels, epochs = now[None], [0.0]
    if history is not None:
        replay = history if isinstance(history, Replay) else getattr(history, "replay", None)
        if replay is None:
            raise CourseError(
                f"history is a {type(history).__name__}; pass the Panel that watched the training, or "
                "its "
                "replay"
            )
        run = replay.runs[0]
        recorded = run.arrays["kernels"]
        if not recorded.shape[1]:
            raise CourseError(
                "this history recorded no filters; in the training loop: panel.add(row, "
                "filters=encoders.first_filters(method.f))"
            )
        if recorded.shape[1:] != now.shape:
            raise CourseError(
                f"the history holds filters of shape {recorded.shape[1:]}, this encoder's are "
                f"{now.shape}; "
                "pass the same encoder"
            )
        kernels, epochs = recorded, run.words["epochs"]
    return Filters(
        kernels,
        list(epochs),
        found,
        {n: math.ceil(features.receptive_field(encoder, n) * times) for n in names},
        part.image.cpu(),
        title,
    )
