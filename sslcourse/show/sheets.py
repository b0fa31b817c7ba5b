"""Sheets of pictures: grids, views, neighbours, filters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, POSITIVE, SEED, WHOLE, takes
from sslcourse.show.look import (
    DARK,
    DPI,
    LETTER_WIDTH,
    LINE_HEIGHT,
    RIGHT,
    SOFT,
    WIDTH,
    WRONG,
    Picture,
    class_names_of,
    enlarge,
    in_course_style,
    label_array,
    to_uint8,
    wrapped,
)

# ------------------------------------------------------------------------------------------- sheets of images
from sslcourse.train import ties


class Sheet:
    """A page whose coordinates are pixels, with images pasted on a canvas and text written over it. Its
    ground is white in a dark notebook too: pictures are judged against the same ground everywhere.

    Args:
        colours: of the PNG's palette; None keeps true colour while the file stays small.
    """

    def __init__(self, width: float, height: float, colours: int | None = None):
        self.width, self.height = int(math.ceil(width)), int(math.ceil(height))
        self.canvas = np.full((self.height, self.width, 3), 255, np.uint8)
        self.figure = Picture(self.width / DPI, self.height / DPI, colours=colours, facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        self.axes.axis("off")

    def paste(self, tile: np.ndarray, x: float, y: float) -> None:
        x, y = int(x), int(y)
        part = self.canvas[y : y + tile.shape[0], x : x + tile.shape[1]]
        part[:] = tile[: part.shape[0], : part.shape[1]]

    def text(self, x: float, y: float, text: str, size: float = 9, **kwargs) -> None:
        kwargs = {
            "ha": "center",
            "va": "top",
            "linespacing": 1.1,
            "color": DARK,
            "parse_math": False,
            **kwargs,
        }
        self.axes.text(x, y, text, fontsize=size, **kwargs)

    def frame(self, x: float, y: float, side: tuple[int, int], kind: str) -> None:
        """An outline round a tile; "right" and "wrong" carry a symbol too, for readers who do not see the
        colour.
        """
        from matplotlib.patches import Rectangle

        colour = {"right": RIGHT, "wrong": WRONG, "query": DARK}.get(kind, kind)
        self.axes.add_patch(
            Rectangle(
                (x - 1.5, y - 1.5),
                side[1] + 3,
                side[0] + 3,
                fill=False,
                edgecolor=colour,
                linewidth=2.4,
                linestyle=(0, (3, 1.5)) if kind == "wrong" else "-",
            )
        )
        if kind in ("right", "wrong"):
            self.axes.text(
                x + side[1] - 1,
                y + side[0] - 1,
                "\u2713" if kind == "right" else "\u2717",
                fontsize=9,
                color="white",
                ha="right",
                va="bottom",
                fontweight="bold",
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.2},
            )

    def done(self, exact: bool = False) -> Picture:
        """The finished figure; `exact` pastes the canvas as it is, faster, for pictures that are only ever
        drawn at this size.
        """
        if exact:
            self.figure.figimage(self.canvas, origin="upper", zorder=-1)
            self.axes.patch.set_visible(False)
            return self.figure
        self.axes.imshow(
            self.canvas,
            extent=(0, self.width, self.height, 0),
            interpolation="nearest",
            aspect="auto",
            zorder=-1,
        )
        self.axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        return self.figure


@takes(columns=COUNT, scale=POSITIVE)
@in_course_style
def grid(
    images,
    titles: Sequence | None = None,
    columns: int = 8,
    scale: float = 2,
    frame: Sequence | None = None,
    title: str | None = None,
) -> Picture:
    """Images as enlarged tiles, each pixel a square.

    Args:
        images: (N, 3, H, W) uint8 or float 0..1.
        titles: one text per image, written below it.
        columns: tiles in a row, fewer where they would not fit.
        scale: side of a tile, in multiples of the image's.
        frame: per image "right" (green and a tick), "wrong" (red, dashed and a cross), any colour name, or
            None.
    """
    x = to_uint8(images)
    n = len(x)
    if not n:
        raise CourseError("no images to show: the tensor has length 0")
    for name, given in (("titles", titles), ("frame", frame)):
        if given is not None and len(given) != n:
            raise CourseError(f"{n} images but {len(given)} {name}; pass one for each image")
    gap = 10
    side = max(8, min(round(max(x.shape[1:3]) * scale), round(WIDTH * DPI) - 2 * gap))
    tiles = [enlarge(t, side) for t in x]
    h, w = tiles[0].shape[:2]
    pitch = max(w, 74) if titles is not None else w
    columns = max(1, min(columns, n, int((WIDTH * DPI - gap) // (pitch + gap))))
    rows = math.ceil(n / columns)
    texts = [wrapped(t, pitch + gap - 4) for t in titles] if titles is not None else [""] * n
    text_height = max(t.count("\n") + 1 for t in texts) * 9 * LINE_HEIGHT + 3 if titles is not None else 0
    top = 28 if title else gap
    width = max(columns * (pitch + gap) + gap, 240 if title else 0, len(title or "") * 11 * LETTER_WIDTH)
    sheet = Sheet(width, top + rows * (h + text_height + gap))
    if title:
        sheet.text(gap, 5, title, 11, ha="left")
    for i, tile in enumerate(tiles):
        left = gap + (i % columns) * (pitch + gap) + (pitch - w) // 2
        above = top + (i // columns) * (h + text_height + gap)
        sheet.paste(tile, left, above)
        if frame is not None and frame[i]:
            sheet.frame(int(left), int(above), (h, w), str(frame[i]))
        if texts[i]:
            sheet.text(left + w / 2, above + h + 4, texts[i])
    return sheet.done()


def _batch(samples, n: int) -> dict[str, Tensor]:
    """The first n samples as a batch, from a data set, a batch, or images."""
    if hasattr(samples, "batch"):
        n = min(n, len(samples))
        return samples.batch(torch.arange(n, device=getattr(samples, "device", "cpu")))
    if isinstance(samples, Mapping):
        return {k: v[:n] for k, v in samples.items()}
    images = torch.as_tensor(samples)[:n]
    return {"image": images, "index": torch.arange(len(images)), "label": torch.full((len(images),), -1)}


def _mosaic(view: Tensor) -> Tensor | None:
    """One picture per sample from whatever a method is shown: images, patches (B, P, 3, h, w), films (B, 3,
    T, h, w).
    """
    if view.ndim == 4 and view.shape[1] in (1, 3):
        return view if view.shape[1] == 3 else view.expand(-1, 3, -1, -1)
    if view.ndim != 5:
        return None
    if view.shape[1] == 3:  # a film: up to four moments, side by side two by two
        moments = torch.linspace(0, view.shape[2] - 1, min(4, view.shape[2])).round().long()
        view = view[:, :, moments].transpose(1, 2)
    if view.shape[2] != 3:
        return None
    b, p, c, h, w = view.shape
    across = math.ceil(math.sqrt(p))
    down = math.ceil(p / across)
    page = torch.full(
        (b, c, down * (h + 1) - 1, across * (w + 1) - 1),
        255 if view.dtype == torch.uint8 else 1.0,
        dtype=view.dtype,
    )
    for i in range(p):
        y, x = i // across * (h + 1), i % across * (w + 1)
        page[:, :, y : y + h, x : x + w] = view[:, i].cpu()
    return page


@takes(n=WHOLE, draws=WHOLE, seed=SEED)
@in_course_style
def views(method, samples, n: int = 6, draws: int = 4, seed: int = 0) -> Picture:
    """What the network is shown: each row one image, first as it is, then random views from `method.views`.

    Args:
        method: a `Method`, or a function from images to views (such as `augment.simclr_view()`).
        samples: a data set, a batch, or images (N, 3, H, W); the first `n` are shown.
        draws: how many views of each image.
        seed: of the views; the random numbers of the notebook are left as they were.
    """
    if n < 1 or draws < 1:
        raise CourseError(f"n={n}, draws={draws}; show at least one view of one image")
    batch = _batch(samples, n)
    n = len(batch["image"])
    device = next((p.device for p in method.parameters()), None) if hasattr(method, "parameters") else None
    if device is not None:
        batch = {k: v.to(device) for k, v in batch.items()}
    columns: list[tuple[str, np.ndarray]] = [("image", to_uint8(batch["image"]))]
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        while len(columns) < 1 + draws:
            drawn = method.views(batch) if hasattr(method, "views") else {"view": method(batch["image"])}
            found = []
            for name, view in drawn.items():
                page = _mosaic(view) if isinstance(view, Tensor) else None
                if page is None or len(page) % n:
                    continue
                for part in page.split(n):  # a method may lay several views of all images one after the other
                    found.append((name, to_uint8(part)))
            if not found:
                shapes = ", ".join(f"{k} {tuple(v.shape)}" for k, v in drawn.items() if isinstance(v, Tensor))
                raise CourseError(
                    f"{type(method).__name__}.views gives nothing that looks like images: {shapes}"
                )
            columns += found
    columns = columns[: 1 + draws]
    gap, apart = 8, 14
    side = int(min(96, max(32, (WIDTH * DPI - apart) // len(columns) - gap)))
    tiles = [[enlarge(t, side) for t in stack] for _, stack in columns]
    pitch = max(max(t.shape[1] for stack in tiles for t in stack), 56) + gap
    height = max(t.shape[0] for stack in tiles for t in stack) + gap
    sheet = Sheet(gap + len(columns) * pitch + apart, 24 + n * height)
    for c, ((name, _), stack) in enumerate(zip(columns, tiles)):
        left = gap + c * pitch + (apart if c else 0)
        sheet.text(left + (pitch - gap) / 2, 5, wrapped(name, pitch, 9, 1))
        for r, tile in enumerate(stack):
            sheet.paste(tile, left + (pitch - gap - tile.shape[1]) // 2, 24 + r * height)
    sheet.axes.axvline(gap + pitch + apart / 2 - gap / 2, color="#C9D1D9", linewidth=1)
    return sheet.done()


@takes(k=WHOLE)
@in_course_style
def neighbours(
    features, images, query, k: int = 8, labels=None, classes: Sequence[str] | None = None
) -> Picture:
    """Each query and its k nearest images by cosine similarity of their features.

    Args:
        features: (N, D), or {encoder name: features} for one block each.
        images: (N, 3, H, W) of the same N.
        query: position of the image to look for, or several.
        labels: (N,); with them a neighbour of the query's class is framed and ticked, any other dashed and
            crossed.
    """
    blocks = features if isinstance(features, Mapping) else {"": features}
    x = to_uint8(images)
    n = len(x)
    queries = [int(query)] if np.ndim(query) == 0 else [int(q) for q in query]
    for q in queries:
        if not -n <= q < n:
            raise CourseError(f"query={q} is not among the {n} images; choose 0 to {n - 1}")
    if not 1 <= k < n:
        raise CourseError(f"k={k}; there are {n - 1} other images, ask for 1 to {n - 1}")
    labels = None if labels is None else label_array(labels, n)
    names = None if labels is None else class_names_of(classes, labels)
    gap, first = 8, 18
    side = int(min(72, max(28, (WIDTH * DPI - first) // (k + 1) - gap)))
    pitch = max(side, 44) + gap
    head, row_height = 24, side + gap + (16 if names else 0)
    sheet = Sheet(gap + (k + 1) * pitch + first, sum(head + len(queries) * row_height for _ in blocks) + 4)
    y = 0
    for name, f in blocks.items():
        f = torch.as_tensor(f).detach().float().cpu()
        if f.ndim != 2 or len(f) != n:
            raise CourseError(f"features of shape {tuple(f.shape)} for {n} images; expected ({n}, D)")
        if not torch.isfinite(f).all():
            raise CourseError("the features hold NaN or infinity; the training has diverged: lower lr")
        f = ties.directions(f)
        sheet.text(gap, y + 5, name or "query, then its nearest", 10, ha="left", fontweight="bold")
        if labels is not None:
            hits, total = 0.0, 0
        y += head
        for q in queries:
            q %= n
            similarity = f @ f[q]
            similarity[q] = -math.inf
            found = similarity.sort(descending=True, stable=True).indices[:k].tolist()
            if labels is not None:
                # Of several that are as near as the last one shown, each counts for its share of the place.
                own = torch.as_tensor((labels == labels[q]) & (labels >= 0))
                hits, total = hits + float((ties.places(similarity[None], k)[0] * own).sum()), total + k
            for c, i in enumerate([q, *found]):
                tile = enlarge(x[i], side)
                left = gap + c * pitch + (first if c else 0)
                sheet.paste(tile, left, y)
                if c == 0:
                    sheet.frame(left, y, tile.shape[:2], "query")
                elif labels is not None:
                    same = labels[i] == labels[q]
                    sheet.frame(left, y, tile.shape[:2], "right" if same else "wrong")
                if names:
                    text = names[labels[i]] if labels[i] >= 0 else "?"
                    text = (
                        text
                        if len(text) <= pitch / (LETTER_WIDTH * 7.5)
                        else text[: int(pitch / (LETTER_WIDTH * 7.5)) - 1] + "."
                    )
                    sheet.text(left + tile.shape[1] / 2, y + tile.shape[0] + 3, text, 7.5)
            y += row_height
        if labels is not None:
            sheet.text(
                sheet.width - gap,
                y - head - len(queries) * row_height + 6,
                f"{round(hits, 1):g} of {total} share the query's class",
                9,
                ha="right",
                color=SOFT,
            )
    return sheet.done()


@in_course_style
def filters(encoder, title: str | None = None) -> Picture:
    """The kernels of the first convolution, each scaled to its own range. Also takes the kernels, (N, 3, k,
    k) in 0..1.
    """
    if not isinstance(encoder, Tensor):
        from sslcourse.encoders.images import first_filters

        encoder = first_filters(encoder)
    x = encoder if encoder.shape[1] in (1, 3) else encoder.mean(1, keepdim=True)
    tiles = [enlarge(t, 40) for t in to_uint8(x)]
    size = tiles[0].shape[0]
    columns = min(16, len(tiles), int(WIDTH * DPI // (size + 6)))
    top = 28 if title else 6
    sheet = Sheet(
        max(6 + columns * (size + 6), len(title or "") * 11 * LETTER_WIDTH),
        top + math.ceil(len(tiles) / columns) * (size + 6),
    )
    if title:
        sheet.text(6, 5, title, 11, ha="left")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, 6 + i % columns * (size + 6), top + i // columns * (size + 6))
    return sheet.done()
