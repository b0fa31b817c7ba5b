"""Video: a pointer that shows where a pixel comes from and carries masks along, and a player that keeps
picture and sound in step.

`pointer(frames, features)` draws the attention of tracking by colorization (Vondrick, Shrivastava, Fathi,
Guadarrama and Murphy, Tracking Emerges by Colorizing Videos, ECCV 2018, arXiv:1806.09594): for a place j of
the present frame and places i of reference frames

    A_ij = exp(f_i . f_j / temperature) / sum_k exp(f_k . f_j / temperature),        y_j = sum_i A_ij y_i

and propagates any labels y with it. `sslcourse.tracking` is that in PyTorch; the view computes the same in
JavaScript, without a kernel. `clip(frames, audio, fps, rate)` is the player; `log_mel` is the picture of the
sound below it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import traitlets
from torch import Tensor
from torch.nn import functional as F

from sslcourse.data.clips.reader import UNKNOWN
from sslcourse.evaluate.tracking import (
    attention,
    checked,
    overlap,
    propagate,
    to_cells,
    to_pixels,
    unit_vectors,
)
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import REAL, WHOLE, takes
from sslcourse.widgets.views import View, Whole, filmstrip, packed, script

LARGEST = 256  # pixels along a side of a frame: the view draws them all, and a mask is as large as a frame
# bytes that all frames may take as they are; of WebP, where they would take more
EXACT, QUALITY = (40_000, (88,))
MOST_OBJECTS = 9  # there is a key for each
SPARE = 3  # objects that can be drawn although no mask was given
# dark to bright: the order is seen without colours
HEAT = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))


# ---------------------------------------------------------------------------------------------- what comes in


def _film(frames) -> np.ndarray:
    """(3, T, H, W) or (T, 3, H, W), uint8 or float 0..1, to (T, H, W, 3) uint8."""
    from sslcourse import show

    x = torch.as_tensor(frames)
    if x.ndim != 4 or 3 not in x.shape[:2] or not x.numel():
        raise CourseError(
            f"frames of shape {tuple(x.shape)}; pass a film (3, T, H, W) or (T, 3, H, W) of at least one "
            "frame"
        )
    film = show.to_uint8(x.transpose(0, 1) if x.shape[0] == 3 else x)
    if max(film.shape[1:3]) > LARGEST:
        raise CourseError(
            f"frames of {film.shape[1]} x {film.shape[2]} pixels; reduce them to at most {LARGEST} along a "
            "side, for example with torch.nn.functional.interpolate(frames, size=(128, 128), mode='area')"
        )
    return film


def _runs(masks: np.ndarray) -> bytes:
    """Object numbers below 256 as runs of equal ones: each a uint32, the number in its upper 8 bits, the
    length in its lower 24.
    """
    flat = masks.reshape(-1).astype(np.uint32)
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    lengths = np.diff(np.append(starts, len(flat)))
    return packed(flat[starts] << 24 | lengths.astype(np.uint32), "u4")


def _dense(features, count: int) -> Tensor:
    """(D, T, h, w) or (T, D, h, w) to (D, T, h, w) float32."""
    f = torch.as_tensor(features).detach().float().cpu()
    if f.ndim != 4 or count not in f.shape[:2] or not f.numel():
        raise CourseError(
            f"features of shape {tuple(f.shape)} for {count} frames; pass (D, {count}, h, w) or "
            f"({count}, "
            "D, h, w)"
        )
    if not torch.isfinite(f).all():
        raise CourseError("the features hold NaN or infinity; the training of their encoder has diverged")
    return f if f.shape[1] == count else f.transpose(0, 1)


# ---------------------------------------------------------------------------------------------- features


def features_of_colour(frames, h: int, w: int) -> Tensor:
    """The colour of each cell as its embedding: the baseline that has learned nothing.

    Args:
        frames: (3, T, H, W) or (T, 3, H, W), uint8 or float 0..1 (sRGB).
        h, w: cells down and across.

    Returns: (4, T, h, w) of length 1. The mean colour of a cell in CIE Lab (white D65), with 50 units of
        difference as 1, is laid on a sphere
        by the inverse stereographic projection, which keeps near what is near: so a cosine compares colours,
            dark ones too.
    """
    x = torch.from_numpy(_film(frames)).permute(0, 3, 1, 2).double() / 255
    if not (1 <= h <= x.shape[2] and 1 <= w <= x.shape[3]):
        raise CourseError(
            f"{h} x {w} cells for frames of {x.shape[2]} x {x.shape[3]} pixels; choose 1 to as many "
            "cells "
            "as pixels"
        )
    linear = torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    linear = F.adaptive_avg_pool2d(linear, (h, w))  # light adds up, code values do not
    to_xyz = torch.tensor(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    ).double()
    xyz = torch.einsum("ij,tjhw->tihw", to_xyz, linear) / to_xyz.sum(1)[:, None, None]  # as shares of white
    f = torch.where(xyz > (6 / 29) ** 3, xyz.clamp_min(1e-9) ** (1 / 3), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    # (3, T, h, w)
    lab = torch.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])])
    c = (lab - torch.tensor([50.0, 0, 0]).view(3, 1, 1, 1)) / 50
    square = (c * c).sum(0, keepdim=True)
    return (torch.cat([2 * c, square - 1]) / (square + 1)).float()


def dense(network, frames, layer: str) -> Tensor:
    """The map of a named layer for each frame: embeddings of an encoder that was made for whole pictures.

    Args:
        network: a method, or an encoder with `.layers` alone, an ordered dict of named stages; put into eval
            mode meanwhile.
        frames: (3, T, H, W) or (T, 3, H, W), uint8 or float 0..1.
        layer: one of `encoder.layers` whose output is a map.

    Returns:
        (D, T, h, w) float32 on the CPU, at the layer's own resolution.
    """
    from sslcourse.encoders.images import layers_of
    from sslcourse.train.features import frozen, layer_of, reads

    encoder, read = reads(network)
    stage = layer_of(encoder, layer)
    x = torch.from_numpy(_film(frames)).permute(0, 3, 1, 2).float() / 255
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    maps: list[Tensor] = []
    hook = stage.register_forward_hook(lambda module, inputs, output: maps.append(output.float().cpu()))
    try:
        with frozen(network):
            for part in x.split(64):
                read({"image": part.to(device)})
    finally:
        hook.remove()
    if maps[0].ndim != 4:
        raise CourseError(
            f"layer {layer!r} gives {tuple(maps[0].shape[1:])}, no map; choose an earlier one of "
            f"{', '.join(layers_of(encoder))}"
        )
    return torch.cat(maps).transpose(0, 1).contiguous()


def reduced(features: Tensor, dims: int) -> tuple[Tensor, float]:
    """The directions that keep most of what cosines compare (principal components of the unit vectors, not
    centred).

    Args:
        features: (D, T, h, w).
        dims: how many directions, 1 to D.

    Returns:
        (dims, T, h, w) float32, and the share of the unit vectors' squared length that they hold, 0 to 1.
    """
    d, t, h, w = features.shape
    if not 1 <= dims <= d:
        raise CourseError(f"dims={dims}; the features have {d}, choose 1 to {d}")
    unit = unit_vectors(features).reshape(-1, d)
    energy, directions = torch.linalg.eigh(unit.T @ unit)  # ascending
    kept = unit @ directions[:, -dims:].flip(1)
    share = float(energy[-dims:].sum() / energy.sum().clamp_min(1e-300))
    return kept.T.reshape(dims, t, h, w).float(), share


def painted(frames, masks=None, points=None) -> Tensor:
    """A film with its masks as a tint and its key-points as crosses: grey where nothing is marked.

    Args:
        frames: (3, T, H, W) or (T, 3, H, W), uint8 or float 0..1.
        masks: (T, H, W) integers, 0 the ground, 255 void.
        points: (T, P, 2), x and y in pixels, 0 the outer edge of the first pixel; those outside of the
            picture are left out.

    Returns:
        (3, T, H, W) uint8, for `widgets.films`.
    """
    from matplotlib.colors import to_rgb

    from sslcourse import show

    film = torch.from_numpy(_film(frames)).float()  # (T, H, W, 3)
    t, h, w = film.shape[:3]
    colours = torch.tensor([to_rgb(c) for c in show.COLOURS]) * 255
    made = film.mean(-1, keepdim=True).expand(-1, -1, -1, 3).clone()
    if masks is not None:
        ids = torch.as_tensor(masks).long()
        ids = ids.masked_fill(ids == UNKNOWN, 0)
        if ids.shape != (t, h, w):
            raise CourseError(
                f"masks of shape {tuple(ids.shape)} for {t} frames of {h} x {w}; pass ({t}, {h}, {w})"
            )
        tint = colours[(ids - 1).clamp_min(0) % len(colours)]
        made = torch.where((ids > 0)[..., None], 0.45 * made + 0.55 * tint, made)
    if points is not None:
        for frame, row in enumerate(torch.as_tensor(points).tolist()):
            for k, (x, y) in enumerate(row):
                for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
                    column, line = math.floor(x) + dx, math.floor(y) + dy
                    if 0 <= column < w and 0 <= line < h:
                        made[frame, line, column] = colours[k % len(colours)]
    return made.round().clamp(0, 255).to(torch.uint8).permute(3, 0, 1, 2)


# ---------------------------------------------------------------------------------------------- the pointer


class Pointer(View):
    """A film to point into and to draw masks on. Made by `pointer`; everything happens in the browser.

    What the reader does can be read here, and be set from here: `frame` (0 is the first), `pixel` [x, y],
    `temperature`, `window`, `topk`, `keep_first`. Its first frame's mask is `first`; `soft()`, `masks()`,
    `overlap()` and `attention()` compute in Python what the view shows.

    Keys: comma and full stop step through the film, Home and End jump, space plays. On the picture: arrows
    move the pixel (with shift by a cell), 1 to 9 choose an object to draw on the first frame, 0 the eraser,
    space draws where the pixel is, [ and ] change the brush."""

    _esm = script("pointer")

    sheet = traitlets.Bytes(b"").tag(sync=True)  # all frames on one picture
    vectors = traitlets.Bytes(b"").tag(sync=True)  # (T, h * w, D) float16, little-endian
    runs = traitlets.Bytes(b"").tag(sync=True)  # the given masks, see _runs; empty where none were given
    about = traitlets.Dict().tag(sync=True)
    frame = Whole(0).tag(sync=True)
    pixel = traitlets.List(Whole(), default_value=[0, 0]).tag(sync=True)
    temperature = traitlets.Float(0.05).tag(sync=True)
    window = Whole(0).tag(sync=True)  # as many cells as the film has are everywhere
    topk = Whole(0).tag(sync=True)  # 0 is all
    keep_first = traitlets.Bool(False).tag(sync=True)
    # (H, W) uint8: the labels on the first frame, given or drawn. Bytes from a view may arrive as a
    # memoryview, which the trait refuses.
    drawn = traitlets.Bytes(b"").tag(sync=True, from_json=lambda value, widget: bytes(value))

    def __init__(
        self,
        frames,
        features,
        masks=None,
        *,
        references: int = 3,
        keep_first: bool = False,
        temperature: float = 0.05,
        window: int | None = 5,
        topk: int | None = 10,
        dims: int | None = None,
        names: Sequence[str] = (),
        title: str = "",
    ):
        from sslcourse import show

        self._frames = _film(frames)
        count, height, width = self._frames.shape[:3]
        if count < 2:
            raise CourseError("a film of 1 frame has nothing to point to; pass at least 2 frames")
        f = _dense(features, count)
        if f.shape[2] > height or f.shape[3] > width:
            raise CourseError(
                f"features of {f.shape[2]} x {f.shape[3]} cells for frames of {height} x {width} "
                "pixels; a "
                "cell is at least a pixel"
            )
        checked(references, temperature, window, topk, keep_first)
        f, share = reduced(f, dims) if dims is not None else (f, 1.0)
        length = f.norm(dim=0, keepdim=True).clamp_min(1e-12)
        self._features = (f / length).half()  # what the view computes with, to the bit
        self._given = None
        if masks is not None:
            given = torch.as_tensor(masks).detach().cpu()
            if given.shape != (count, height, width) or given.is_floating_point():
                raise CourseError(
                    f"masks of shape {tuple(given.shape)} and type {given.dtype}; pass ({count}, {height}, "
                    f"{width}) integers, "
                    "0 the ground"
                )
            unknown = (given == UNKNOWN).flatten(1).all(1)
            if unknown.any():
                raise CourseError(
                    f"nobody annotated frame {int(unknown.int().argmax())} (all of it is {UNKNOWN}); leave "
                    "out such frames, or the masks"
                )
            given = given.masked_fill(given == UNKNOWN, 0)  # void is ground, as the benchmark has it
            if int(given.min()) < 0 or int(given.max()) > MOST_OBJECTS:
                raise CourseError(
                    f"masks hold numbers from {int(given.min())} to {int(given.max())}; number the "
                    "objects "
                    f"1 to {MOST_OBJECTS}"
                )
            self._given = given.to(torch.uint8)
        known = int(self._given.max()) if self._given is not None else 0
        self.objects = min(MOST_OBJECTS, max(known, len(names), SPARE))
        if len(names) > MOST_OBJECTS:
            raise CourseError(f"{len(names)} names; at most {MOST_OBJECTS} objects have a key")
        self.references = int(references)
        cells = list(f.shape[2:])
        everywhere = max(cells) - 1
        named = [str(n) for n in names] + [f"object {i + 1}" for i in range(len(names), self.objects)]
        sheet, where = filmstrip(self._frames, EXACT, QUALITY)
        super().__init__(
            sheet=sheet,
            vectors=packed(self._features.permute(1, 2, 3, 0), "f2"),
            frame=count // 2,
            pixel=self._start(),
            temperature=float(temperature),
            window=everywhere if window is None else min(int(window), everywhere),
            topk=int(topk or 0),
            keep_first=bool(keep_first),
            runs=b"" if self._given is None else _runs(self._given.numpy()),
            drawn=bytes(height * width) if self._given is None else packed(self._given[0], "u1"),
            about={
                "count": count,
                "height": height,
                "width": width,
                "rows": cells[0],
                "columns": cells[1],
                "depth": int(f.shape[0]),
                "objects": self.objects,
                "names": named,
                "colours": list(show.COLOURS),
                "heat": [list(c) for c in HEAT],
                "title": str(title),
                "references": self.references,
                "sheet": where,
                "kept": share,
                "topk": self._choices(int(topk or 0)),
            },
        )

    @staticmethod
    def _choices(topk: int) -> list[int]:
        return [*sorted({1, 2, 3, 5, 10, 20, 50, 100, topk} - {0}), 0]

    def _start(self) -> list[int]:
        """A pixel to begin with: amid the largest object of the middle frame, or amid the picture."""
        count, height, width = self._frames.shape[:3]
        if self._given is not None:
            mask = self._given[count // 2]
            sizes = torch.bincount(mask.flatten().long(), minlength=2)[1:]
            if int(sizes.max()):
                rows, columns = (mask == int(sizes.argmax()) + 1).nonzero().T
                nearest = (
                    (rows - rows.float().mean()) ** 2 + (columns - columns.float().mean()) ** 2
                ).argmin()  # a ring's middle is not the ring
                return [int(columns[nearest]), int(rows[nearest])]
        return [width // 2, height // 2]

    def __repr__(self):
        t, h, w = self._frames.shape[:3]
        d, _, rows, columns = self._features.shape
        kept = f", {self.about['kept']:.1%} of their length kept" if self.about["kept"] < 1 else ""
        return (
            f"<pointer into {t} frames of {h} x {w}: embeddings of {rows} x {columns} cells, {d} "
            f"numbers each{kept}>"
        )

    # ------------------------------------------------------------------ what the view shows, in Python

    @property
    def settings(self) -> dict:
        """Where the sliders stand: arguments of `propagate` and `attention`."""
        everywhere = max(self._features.shape[2:]) - 1
        return {
            "references": self.references,
            "temperature": self.temperature,
            "window": None if self.window >= everywhere else self.window,
            "topk": self.topk or None,
            "keep_first": self.keep_first,
        }

    @property
    def first(self) -> Tensor:
        """The mask on the first frame (H, W) uint8, given or drawn."""
        return torch.frombuffer(bytearray(self.drawn), dtype=torch.uint8).view(self._frames.shape[1:3])

    def soft(self) -> Tensor:
        """The propagated labels (T, h, w, objects + 1) float64."""
        h, w = self._features.shape[2:]
        return propagate(self._features, to_cells(self.first, h, w, self.objects + 1), **self.settings)

    def masks(self) -> Tensor:
        """The propagated masks (T, H, W) uint8. The first is as it was drawn."""
        found = to_pixels(self.soft(), *self._frames.shape[1:3])
        found[0] = self.first
        return found

    def overlap(self) -> Tensor:
        """J (T, objects) of the propagated masks with the given ones.

        Raises:
            CourseError: when no masks were given.
        """
        if self._given is None:
            raise CourseError(
                "no masks were given to compare with; make the view with pointer(frames, features, masks)"
            )
        return overlap(self.masks(), self._given, self.objects)

    def attention(
        self, frame: int | None = None, pixel: Sequence[int] | None = None
    ) -> tuple[Tensor, list[int]]:
        """Where a pixel [x, y] of a frame points to, by default the ones that the view shows: see
        `attention`.
        """
        frame, (x, y) = self.frame if frame is None else frame, self.pixel if pixel is None else pixel
        h, w = self._features.shape[2:]
        height, width = self._frames.shape[1:3]
        return attention(self._features, frame, y * h // height, x * w // width, **self.settings)

    def picture(self) -> bytes:
        from sslcourse import show
        from sslcourse.show import look

        with look.course_style():
            return show.png(_pointer_picture(self))


def _heat(weights: np.ndarray) -> np.ndarray:
    """Weights 0..1 of the largest one to colours (..., 3) float 0..255, dark to bright."""
    at = np.sqrt(weights) * (len(HEAT) - 1)  # the square root shows small shares too
    return np.stack([np.interp(at, range(len(HEAT)), [c[i] for c in HEAT]) for i in range(3)], -1)


def _pointer_picture(view: Pointer):
    """The present frame with its pixel, and the attention over its reference frames."""
    from matplotlib.patches import Circle, Rectangle

    from sslcourse import show
    from sslcourse.show import sheets

    frames, frame, (x, y) = view._frames, view.frame, view.pixel
    height, width = frames.shape[1:3]
    weights, refs = view.attention() if frame else (torch.zeros(0, 1, 1), [])
    h, w = view._features.shape[2:]
    big, small = max(1, 224 // max(height, width)), max(1, 128 // max(height, width))
    gap, top, columns = 12, 34, 3
    rows = max(1, math.ceil(len(refs) / columns))
    left = 2 * gap + width * big
    page = sheets.Sheet(
        left + columns * (max(width * small, 136) + gap),
        top + max(height * big + 26, rows * (height * small + 26)) + 20,
    )
    page.text(
        gap, 8, view.about["title"] or "Where does this pixel come from?", 11, ha="left", fontweight="bold"
    )
    page.paste(show.enlarge(frames[frame], max(height, width) * big), gap, top)
    page.text(gap, top + height * big + 5, f"frame {frame + 1}: the pixel at ({x}, {y})", 9, ha="left")
    cell = (gap + (x * w // width) * width / w * big, top + (y * h // height) * height / h * big)
    for colour, line in (("black", 3.2), ("white", 1.4)):
        page.axes.add_patch(
            Rectangle(cell, width / w * big, height / h * big, fill=False, edgecolor=colour, linewidth=line)
        )
    largest = float(weights.max()) if len(refs) else 1.0
    for i, ref in enumerate(refs):
        at = left + i % columns * (max(width * small, 136) + gap), top + i // columns * (height * small + 26)
        share = weights[i].numpy() / largest
        grown = np.repeat(np.repeat(share, -(-height // h), 0), -(-width // w), 1)[:height, :width, None]
        grey = np.repeat(frames[ref].mean(-1, keepdims=True), 3, -1)
        blend = 0.9 * np.sqrt(grown)
        tile = (grey * (1 - blend) + _heat(grown[..., 0]) * blend).round().clip(0, 255).astype(np.uint8)
        page.paste(show.enlarge(tile, max(height, width) * small), *at)
        row, column = divmod(int(weights[i].argmax()), w)
        peak = float(weights[i].max())
        page.text(
            at[0],
            at[1] + height * small + 4,
            f"frame {ref + 1}: {float(weights[i].sum()):.0%}, peak {peak:.0%}",
            8.5,
            ha="left",
        )
        centre = at[0] + (column + 0.5) * width / w * small, at[1] + (row + 0.5) * height / h * small
        for colour, line in (("black", 3), ("white", 1.2)):
            page.axes.add_patch(
                Circle(centre, 5 if peak < largest else 7, fill=False, edgecolor=colour, linewidth=line)
            )
    if view._given is not None:
        j = view.overlap()[1:, : int(view._given.max())].mean()
        page.text(
            page.width - gap,
            page.height - 18,
            f"mask propagation, mean J of all later frames: {float(j):.2f}",
            9,
            ha="right",
        )
    return page.done()


@takes(
    references=WHOLE,
    temperature=REAL,
    window=WHOLE,
    topk=WHOLE,
    dims=WHOLE,
)
def pointer(
    frames,
    features,
    masks=None,
    *,
    references: int = 3,
    keep_first: bool = False,
    temperature: float = 0.05,
    window: int | None = 5,
    topk: int | None = 10,
    dims: int | None = None,
    names: Sequence[str] = (),
    title: str = "",
) -> Pointer:
    """Click a pixel of a film and see where it comes from; draw a mask on its first frame and watch it being
    carried along.

    Args:
        frames: (3, T, H, W) or (T, 3, H, W), uint8 or float 0..1, at most 256 pixels along a side. (3, 3, H,
            W) is three frames.
        features: (D, T, h, w) or (T, D, h, w), embeddings of h x w cells of each frame (`features_of_colour`,
            `dense`, or your own);
            they are normalised here, and sent as float16: 2 D T h w bytes.
        masks: (T, H, W) integers, 0 the ground and 1 to 9 the objects; J is shown where they are given.
        references: how many frames before the present one it points to.
        keep_first: to the first frame too.
        temperature: of the softmax, 0.005 to 10.
        window: radius in cells of what a cell may point to; None is everywhere.
        topk: how many matches are kept; None is all.
        dims: send only this many directions of the embeddings, see `reduced`; the share they keep stands in
            the repr.
        names: of the objects.
        title: written above.
    """
    return Pointer(
        frames,
        features,
        masks,
        references=references,
        keep_first=keep_first,
        temperature=temperature,
        window=window,
        topk=topk,
        dims=dims,
        names=names,
        title=title,
    )


# ------------------------------------------------------------------------------------------ picture and sound


def log_mel(audio, rate: int, bands: int = 40, window_s: float = 0.025, hop_s: float = 0.01) -> Tensor:
    """The picture of a sound, for the player: natural logarithm of its power in bands that are spaced as we
    hear pitch. Its columns stand where the playhead is at their time, so its windows are centred and reach
    beyond both ends; networks read `sslcourse.sounds.log_mel`, whose do not.

    Args:
        audio: (L,) float, -1..1.
        rate: samples per second.
        bands: how many, triangles from 60 Hz to half of the rate, each weighing its frequencies with a sum of
            1.
        window_s, hop_s: length and distance of the (Hann) windows in seconds.

    Returns: (bands, M): column m is the sound around time m * hop_s, M = 1 + floor(seconds / hop_s). The mel
        scale is 1127 ln(1 + f / 700). Silence is ln(1e-8).
    """
    x = torch.as_tensor(audio).detach().double().cpu()
    if x.ndim != 1 or not len(x):
        raise CourseError(f"audio of shape {tuple(x.shape)}; pass one channel (L,) of at least one sample")
    length, hop = max(2, round(window_s * rate)), max(1, round(hop_s * rate))
    size = 2 ** math.ceil(math.log2(length))
    padded = F.pad(x, (length // 2, length))
    pieces = padded.unfold(0, length, hop)[: 1 + len(x) // hop]  # (M, length), centred at m * hop
    # (M, size / 2 + 1)
    power = torch.fft.rfft(pieces * torch.hann_window(length, dtype=torch.float64), size).abs() ** 2 / length
    mel = lambda f: 1127 * np.log1p(np.asarray(f) / 700)
    edges = 700 * np.expm1(np.linspace(mel(60), mel(rate / 2), bands + 2) / 1127)  # Hz
    f = np.arange(size // 2 + 1) * rate / size
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((f - low) / (centre - low), (high - f) / (high - centre)).clip(0)  # (bands, F)
    # the lowest bands may fall between two frequencies: then they read the nearest
    nearest = np.abs(f - centre).argmin(1)
    empty = triangles.sum(1) == 0
    triangles[empty, nearest[empty]] = 1
    triangles /= triangles.sum(1, keepdims=True)
    return (torch.from_numpy(triangles) @ power.T + 1e-8).log().float()


def _wave(audio, rate) -> tuple[np.ndarray, int]:
    """(L,) or (1 or 2, L), float -1..1 or int16, to int16 (L,): the mean of the channels."""
    x = audio.detach().cpu() if isinstance(audio, Tensor) else torch.as_tensor(np.asarray(audio))
    if x.ndim == 2 and x.shape[0] in (1, 2):
        x = x.double().mean(0) / (32768 if x.dtype == torch.int16 else 1)
    elif x.dtype == torch.int16:
        x = x.double() / 32768
    if x.ndim != 1 or not len(x) or not x.is_floating_point():
        raise CourseError(
            f"audio of shape {tuple(x.shape)} and type {x.dtype}; pass (L,) or (channels, L) of floats "
            "-1..1 or int16"
        )
    if rate is None or not 8000 <= rate <= 96000 or rate != int(rate):
        raise CourseError(
            f"rate={rate}; browsers play 8,000 to 96,000 samples per second: resample the sound"
        )
    if not torch.isfinite(x).all() or float(x.abs().max()) > 1.001:
        raise CourseError(
            f"the sound reaches {float(x.abs().max()):.3g}; it must stay within -1..1: divide it by its "
            "largest value"
        )
    return (x.double().clamp(-1, 1) * 32767).round().to(torch.int16).numpy(), int(rate)


def _events(event, seconds: float) -> dict[str, list[float]]:
    """Times in seconds by name."""
    if event is None:
        return {}
    named = event if isinstance(event, Mapping) else {"event": event}
    made = {
        str(k): np.asarray(torch.as_tensor(v).cpu(), np.float64).reshape(-1).tolist()
        for k, v in named.items()
    }
    for name, times in made.items():
        wrong = [t for t in times if not 0 <= t <= seconds]
        if wrong:
            raise CourseError(
                f"{name} at {wrong[0]:g} s lies outside the clip of {seconds:g} s; pass times in seconds"
            )
    return made


class Clip(View):
    """A film with its sound. Made by `clip`; plays in the browser, where the clock of the sound moves the
    picture.

    `offset` (-1 to 1) is by how many seconds the sound comes later than it should, `position` where the film
    stands (written by the view when it pauses or is moved; setting it moves the film), both readable and
    settable.

    Keys: space plays, left and right step by a frame, Home and End jump, [ and ] shift the sound by a frame,
    m mutes, l loops."""

    _esm = script("clip")

    sheet = traitlets.Bytes(b"").tag(sync=True)
    sound = traitlets.Bytes(b"").tag(sync=True)  # (L,) int16, little-endian; empty for a silent film
    mel = traitlets.Bytes(b"").tag(sync=True)  # (bands, M) uint8, the lowest band first
    about = traitlets.Dict().tag(sync=True)
    offset = traitlets.Float(0.0).tag(sync=True)
    position = traitlets.Float(0.0).tag(sync=True)

    def __init__(self, frames, audio, fps: float, rate: int | None = None, *, event=None, title: str = ""):
        from sslcourse import show

        self._frames = _film(frames)
        if not 1 <= fps <= 120:
            raise CourseError(f"fps={fps}; choose 1 to 120 frames per second")
        self.fps, count = float(fps), len(self._frames)
        self._sound: np.ndarray = np.zeros(0, np.int16)
        self.rate: int | None = None
        if audio is not None:
            self._sound, self.rate = _wave(audio, rate)
        self.seconds = max(count / self.fps, len(self._sound) / self.rate if self.rate else 0.0)
        if self.seconds > 60:
            raise CourseError(
                f"a clip of {self.seconds:.0f} s; cut it to 60 s: all of it travels with the notebook"
            )
        if self.rate and not 0.5 <= len(self._sound) / self.rate * self.fps / count <= 2:
            raise CourseError(
                f"{count} frames at {fps:g} per second last {count / self.fps:.2f} s, but the sound lasts "
                f"{len(self._sound) / self.rate:.2f} s; check fps and rate"
            )
        self._event = _events(event, self.seconds)
        self._hop, self._mel = 0.0, np.zeros((0, 0), np.uint8)
        if self.rate:
            # as many columns as the view has pixels for
            self._hop = round(max(0.01, self.seconds / 800) * self.rate) / self.rate
            mel = log_mel(self._sound / 32768, self.rate, hop_s=self._hop).numpy()
            top = max(float(mel.max()), math.log(1e-6))
            self._mel = (255 * ((mel - top) / 12 + 1).clip(0, 1)).round().astype(np.uint8)  # the upper 52 dB
        sheet, where = filmstrip(self._frames, EXACT, QUALITY)
        super().__init__(
            sheet=sheet,
            sound=packed(self._sound, "i2"),
            mel=packed(self._mel, "u1"),
            about={
                "count": count,
                "height": self._frames.shape[1],
                "width": self._frames.shape[2],
                "fps": self.fps,
                "rate": self.rate or 0,
                "seconds": self.seconds,
                "bands": self._mel.shape[0],
                "columns": self._mel.shape[1],
                "hop": self._hop,
                "events": self._event,
                "heat": [list(c) for c in HEAT],
                "title": str(title),
                "colours": list(show.COLOURS),
                "sheet": where,
            },
        )

    @traitlets.validate("offset")
    def _near(self, proposal):
        if not -1 <= proposal["value"] <= 1:
            raise CourseError(f"offset={proposal['value']:g}; shift the sound by -1 to 1 seconds")
        return proposal["value"]

    @traitlets.validate("position")
    def _inside(self, proposal):
        if not 0 <= proposal["value"] <= self.seconds + 1e-6:
            raise CourseError(f"position={proposal['value']:g}; the clip lasts {self.seconds:g} s")
        return proposal["value"]

    def at(self, position: float, offset: float | None = None) -> tuple[int, int | None]:
        """What is seen and heard `position` seconds into the clip: the number of the frame, and that of the
        sample (None: silence).

        Frame f is shown from f / fps until (f + 1) / fps, the last one until the end. With the sound `offset`
        seconds late (by default as the view stands) the sample that belongs to position - offset is heard.
        """
        shift = self.offset if offset is None else offset
        frame = min(len(self._frames) - 1, max(0, math.floor(position * self.fps + 1e-9)))
        if not self.rate:
            return frame, None
        sample = math.floor((position - shift) * self.rate + 1e-6)
        return frame, sample if 0 <= sample < len(self._sound) else None

    def __repr__(self):
        t, h, w = self._frames.shape[:3]
        sound = f", sound at {self.rate:,} samples per second" if self.rate else ", silent"
        return f"<clip of {self.seconds:.2f} s: {t} frames of {h} x {w}{sound}>"

    def picture(self) -> bytes:
        from sslcourse import show
        from sslcourse.show import look

        with look.course_style():
            return show.png(_clip_picture(self))


def _clip_picture(view: Clip):
    """Eight frames in a row above the waveform and the log-mel picture, events marked."""
    from sslcourse import show

    count, height, width = view._frames.shape[:3]
    chosen = np.unique(np.linspace(0, count - 1, min(8, count)).round().astype(int))
    figure = show.Picture(show.WIDTH, 3.6 if view.rate else 1.9)
    left, right, top = 0.075, 0.985, 0.9 if view.about["title"] else 0.985
    if view.about["title"]:
        figure.text(0.01, 0.985, view.about["title"], ha="left", va="top", fontsize=11, fontweight="bold")
    wide = (right - left) / len(chosen)
    high = min(
        0.36 if view.rate else 0.6, wide * 0.96 * show.WIDTH * height / width / figure.get_size_inches()[1]
    )
    for i, frame in enumerate(chosen):
        axes = figure.add_axes((left + i * wide, top - high, wide * 0.96, high))
        axes.imshow(view._frames[frame])
        axes.axis("off")
        figure.text(
            left + (i + 0.48) * wide,
            top - high - 0.01,
            f"{frame / view.fps:.2f} s",
            ha="center",
            va="top",
            fontsize=8,
        )
    bottom = 0.13 if view.rate else 0.25
    room = top - high - 0.08 - bottom
    plots = [figure.add_axes((left, bottom, right - left, room * 0.55 if view.rate else room))]
    if view.rate:
        plots[0].imshow(
            view._mel,
            origin="lower",
            aspect="auto",
            cmap="inferno",
            interpolation="nearest",
            extent=(-view._hop / 2, (view._mel.shape[1] - 0.5) * view._hop, 0, view._mel.shape[0]),
        )
        plots[0].set_ylabel("mel band")
        plots.append(figure.add_axes((left, bottom + room * 0.6, right - left, room * 0.4)))
        part = max(1, len(view._sound) // 700)
        cut = (view._sound[: len(view._sound) // part * part] / 32768).reshape(-1, part)
        plots[1].fill_between(
            (np.arange(len(cut)) + 0.5) * part / view.rate,
            cut.min(1),
            cut.max(1),
            color=show.COLOURS[0],
            linewidth=0.4,
        )
        plots[1].set(ylim=(-1.05 * np.abs(cut).max() - 1e-3, 1.05 * np.abs(cut).max() + 1e-3), yticks=[0])
        plots[1].tick_params(labelbottom=False)
    else:
        plots[0].set_yticks([])
    plots[0].set_xlabel("seconds" + "".join(f"   (dashed: {name})" for name in view._event))
    for axes in plots:
        axes.set_xlim(0, view.seconds)
        for i, times in enumerate(view._event.values()):
            for t in times:
                axes.axvline(t, color=show.COLOURS[(4 + i) % 10], linestyle=(0, (4, 3)), linewidth=1.2)
    return figure


@takes(fps=REAL, rate=WHOLE)
def clip(frames, audio, fps: float, rate: int | None = None, *, event=None, title: str = "") -> Clip:
    """Play a film with its sound, in step: the clock of the sound moves the picture, and a slider puts them
    out of step.

    Args:
        frames: (3, T, H, W) or (T, 3, H, W), uint8 or float 0..1, at most 256 pixels along a side. (3, 3, H,
            W) is three frames.
        audio: (L,) or (channels, L), floats -1..1 or int16; two channels are averaged. None: a silent film.
        fps: frames per second, 1 to 120. Frame f is shown from f / fps until (f + 1) / fps.
        rate: samples per second, 8,000 to 96,000.
        event: times in seconds to mark, or {name: times}.
        title: written above.
    """
    return Clip(frames, audio, fps, rate, event=event, title=title)
