"""Figures and tables: pure functions from numbers to a picture that displays itself at the end of a cell.

No pyplot anywhere: every figure owns its canvas, so figures can be drawn from a slider's callback (which may run on another
thread), none stays open, and no backend has to be chosen. `png(figure)` gives the bytes.

All figures share one look: ten class colours that colour-blind readers can tell apart (after Okabe and Ito, and Paul Tol)
together with ten markers, so that no distinction rests on colour alone; legends outside the data; an opaque white ground,
which stays legible in a dark notebook.
"""

from __future__ import annotations

import functools
import html
import io
import math
import statistics
import sys
import textwrap
import threading
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from sslcourse.common import CourseError

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#332288", "#999933", "#882255", "#555555")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
RIGHT, WRONG, INK, SOFT = "#00795A", "#C4441C", "#1F2328", "#6A737D"
DPI = 90
WIDTH = 9.0  # inches: 810 pixels, what fits beside JupyterLab's prompt on a small screen
MOST_BYTES = 30_000  # of a PNG in true colour: a lesson holds a dozen of them, and their sum counts

# The look is set around every drawing call, whatever style the notebook has chosen for its own plots. The lock makes the
# figures safe to draw from two threads: neither these settings nor matplotlib's font cache are.
_LOOK = {
    "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "white", "text.color": INK,
    "axes.labelcolor": INK, "axes.edgecolor": "#8C959F", "axes.titlecolor": INK, "xtick.color": "#57606A",
    "ytick.color": "#57606A", "xtick.labelcolor": INK, "ytick.labelcolor": INK, "font.family": ["DejaVu Sans"],
    "font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10, "xtick.labelsize": 9, "ytick.labelsize": 9,
    "legend.fontsize": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False, "grid.color": "#E4E8EC",
    "axes.axisbelow": True, "legend.frameon": False, "lines.linewidth": 1.8, "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    "text.usetex": False, "path.simplify": True, "axes.titlelocation": "left", "image.interpolation": "nearest",
}  # fmt: skip
_lock = threading.RLock()


class Picture(Figure):
    """A matplotlib figure that shows itself as a PNG, also where pyplot was never imported."""

    def __init__(self, width: float = WIDTH, height: float = 3.0, *, colours: int | None = 256, **kwargs):
        super().__init__(figsize=(width, height), dpi=DPI, facecolor="white", **kwargs)
        FigureCanvasAgg(self)
        self._colours = colours  # of the PNG's palette; None keeps true colour while the file stays small

    def _repr_png_(self) -> bytes:
        return png(self)

    def __repr__(self):
        width, height = self.get_size_inches() * self.dpi
        return f"<picture of {width:.0f} x {height:.0f} pixels>"


def _register() -> None:
    """Inside IPython: our PNG also after pyplot has claimed all figures, which would crop them and drop their palette."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        shell.display_formatter.formatters["image/png"].for_type(Picture, png)


def _drawing(function):
    """Every public figure: our look, and one thread at a time."""

    @functools.wraps(function)
    def drawn(*args, **kwargs):
        with _lock, matplotlib.rc_context(_LOOK):
            return function(*args, **kwargs)

    return drawn


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file, 256 colours where that is enough or where true colour would be large."""
    from PIL import Image

    with _lock, matplotlib.rc_context(_LOOK):
        canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
        canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return encode_png(picture, getattr(figure, "_colours", 256))


_register()


def encode_png(picture, colours: int | None = 256) -> bytes:
    """A PIL picture as PNG bytes; `colours=None` keeps true colour unless the file would be above 30 KB."""
    from PIL import Image

    if colours is None:
        data = _encode(picture)
        if len(data) <= MOST_BYTES:
            return data
        # Photographs need a palette made for them, and dithering to hide its steps would cost twice the bytes.
        return _encode(picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE))
    return _encode(picture.quantize(colours, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))


def _encode(picture) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


# ---------------------------------------------------------------------------------------------- what comes in


def to_uint8(images) -> np.ndarray:
    """(N, 3 or 1, H, W), uint8 or float 0..1 (clipped), or one image (3, H, W), to (N, H, W, 3) uint8."""
    x = images.detach().cpu() if isinstance(images, Tensor) else torch.as_tensor(np.asarray(images))
    if x.ndim == 3 and x.shape[0] in (1, 3):
        x = x[None]
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise CourseError(f"images of shape {tuple(x.shape)}; expected (N, 3, H, W), uint8 (0 to 255) or float (0 to 1)")
    if x.shape[1] == 1:
        x = x.expand(-1, 3, -1, -1)
    if x.dtype != torch.uint8:
        if not x.is_floating_point():
            raise CourseError(f"images of type {x.dtype}; expected uint8 (0 to 255) or float (0 to 1)")
        x = (x.float().nan_to_num(0).clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy())


def _array(x, name: str, ndim: int | None = None) -> np.ndarray:
    x = x.detach().float().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x, dtype=np.float64)
    if ndim is not None and x.ndim != ndim:
        raise CourseError(f"{name} has shape {x.shape}; expected {ndim} axes")
    return x


def _labels(labels, n: int) -> np.ndarray:
    labels = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if labels.shape != (n,):
        raise CourseError(f"{n} points but labels of shape {labels.shape}; pass one number per point")
    return labels.astype(int)


def _class_names(classes, labels: np.ndarray) -> list[str]:
    count = max(int(labels.max(initial=-1)) + 1, len(classes or ()))
    names = [str(c) for c in classes or ()]
    return names + [str(i) for i in range(len(names), count)]


def enlarge(tile: np.ndarray, side: int) -> np.ndarray:
    """(h, w, 3) to about `side` pixels along its longer side: whole multiples, each pixel a square; never blurred."""
    h, w = tile.shape[:2]
    if max(h, w) > side:  # too large: every so many-th pixel
        rows, columns = (np.arange(round(s * side / max(h, w))) * max(h, w) // side for s in (h, w))
        return tile[np.minimum(rows, h - 1)][:, np.minimum(columns, w - 1)]
    factor = max(1, side // max(h, w))
    return tile.repeat(factor, 0).repeat(factor, 1)


# ---------------------------------------------------------------------------------------------- sheets of images


class _Sheet:
    """A page whose coordinates are pixels, with images pasted on a canvas and text written over it."""

    def __init__(self, width: float, height: float):
        self.width, self.height = int(math.ceil(width)), int(math.ceil(height))
        self.canvas = np.full((self.height, self.width, 3), 255, np.uint8)
        self.figure = Picture(self.width / DPI, self.height / DPI, colours=None)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        self.axes.axis("off")

    def paste(self, tile: np.ndarray, x: float, y: float) -> None:
        x, y = int(x), int(y)
        part = self.canvas[y : y + tile.shape[0], x : x + tile.shape[1]]
        part[:] = tile[: part.shape[0], : part.shape[1]]

    def text(self, x: float, y: float, text: str, size: float = 9, **kwargs) -> None:
        kwargs = {"ha": "center", "va": "top", "linespacing": 1.1, "parse_math": False, **kwargs}
        self.axes.text(x, y, text, fontsize=size, **kwargs)

    def frame(self, x: float, y: float, side: tuple[int, int], kind: str) -> None:
        """An outline round a tile; "right" and "wrong" carry a symbol too, for readers who do not see the colour."""
        from matplotlib.patches import Rectangle

        colour = {"right": RIGHT, "wrong": WRONG, "query": INK}.get(kind, kind)
        self.axes.add_patch(Rectangle((x - 1.5, y - 1.5), side[1] + 3, side[0] + 3, fill=False, edgecolor=colour, linewidth=2.4,
                                      linestyle=(0, (3, 1.5)) if kind == "wrong" else "-"))  # fmt: skip
        if kind in ("right", "wrong"):
            self.axes.text(x + side[1] - 1, y + side[0] - 1, "\u2713" if kind == "right" else "\u2717", fontsize=9, color="white",
                           ha="right", va="bottom", fontweight="bold",
                           bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.2})  # fmt: skip

    def done(self, exact: bool = False) -> Picture:
        """The finished figure; `exact` pastes the canvas as it is, faster, for pictures that are only ever drawn at this size."""
        if exact:
            self.figure.figimage(self.canvas, origin="upper", zorder=-1)
            self.axes.patch.set_visible(False)
            return self.figure
        self.axes.imshow(self.canvas, extent=(0, self.width, self.height, 0), interpolation="nearest", aspect="auto", zorder=-1)
        self.axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        return self.figure


_LETTER = 0.62 * DPI / 72  # width of an average character in pixels per point
_LINE = 1.25 * DPI / 72  # height of a line


def _wrap(text, pixels: float, size: float = 9, most: int = 3) -> str:
    lines = [w for part in str(text).split("\n") for w in textwrap.wrap(part, max(4, int(pixels / (_LETTER * size)))) or [""]]
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][:-1] + "\u2026"]
    return "\n".join(lines)


@_drawing
def grid(images, titles: Sequence | None = None, columns: int = 8, scale: float = 2, frame: Sequence | None = None,
         title: str | None = None) -> Picture:  # fmt: skip
    """Images as enlarged tiles, each pixel a square.

    Args:
        images: (N, 3, H, W) uint8 or float 0..1.
        titles: one text per image, written below it.
        columns: tiles in a row, fewer where they would not fit.
        scale: side of a tile, in multiples of the image's.
        frame: per image "right" (green and a tick), "wrong" (red, dashed and a cross), any colour name, or None.
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
    texts = [_wrap(t, pitch + gap - 4) for t in titles] if titles is not None else [""] * n
    text_height = max(t.count("\n") + 1 for t in texts) * 9 * _LINE + 3 if titles is not None else 0
    top = 28 if title else gap
    width = max(columns * (pitch + gap) + gap, 240 if title else 0, len(title or "") * 11 * _LETTER)
    sheet = _Sheet(width, top + rows * (h + text_height + gap))
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
    """One picture per sample from whatever a method is shown: images, patches (B, P, 3, h, w), films (B, 3, T, h, w)."""
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
    page = torch.full((b, c, down * (h + 1) - 1, across * (w + 1) - 1), 255 if view.dtype == torch.uint8 else 1.0, dtype=view.dtype)
    for i in range(p):
        y, x = i // across * (h + 1), i % across * (w + 1)
        page[:, :, y : y + h, x : x + w] = view[:, i].cpu()
    return page


@_drawing
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
                raise CourseError(f"{type(method).__name__}.views gives nothing that looks like images: {shapes}")
            columns += found
    columns = columns[: 1 + draws]
    gap, apart = 8, 14
    side = int(min(96, max(32, (WIDTH * DPI - apart) // len(columns) - gap)))
    tiles = [[enlarge(t, side) for t in stack] for _, stack in columns]
    pitch = max(max(t.shape[1] for stack in tiles for t in stack), 56) + gap
    height = max(t.shape[0] for stack in tiles for t in stack) + gap
    sheet = _Sheet(gap + len(columns) * pitch + apart, 24 + n * height)
    for c, ((name, _), stack) in enumerate(zip(columns, tiles)):
        left = gap + c * pitch + (apart if c else 0)
        sheet.text(left + (pitch - gap) / 2, 5, _wrap(name, pitch, 9, 1))
        for r, tile in enumerate(stack):
            sheet.paste(tile, left + (pitch - gap - tile.shape[1]) // 2, 24 + r * height)
    sheet.axes.axvline(gap + pitch + apart / 2 - gap / 2, color="#C9D1D9", linewidth=1)
    return sheet.done()


@_drawing
def neighbours(features, images, query, k: int = 8, labels=None, classes: Sequence[str] | None = None) -> Picture:
    """Each query and its k nearest images by cosine similarity of their features.

    Args:
        features: (N, D), or {encoder name: features} for one block each.
        images: (N, 3, H, W) of the same N.
        query: position of the image to look for, or several.
        labels: (N,); with them a neighbour of the query's class is framed and ticked, any other dashed and crossed.
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
    labels = None if labels is None else _labels(labels, n)
    names = None if labels is None else _class_names(classes, labels)
    gap, first = 8, 18
    side = int(min(72, max(28, (WIDTH * DPI - first) // (k + 1) - gap)))
    pitch = max(side, 44) + gap
    head, row_height = 24, side + gap + (16 if names else 0)
    sheet = _Sheet(gap + (k + 1) * pitch + first, sum(head + len(queries) * row_height for _ in blocks) + 4)
    y = 0
    for name, f in blocks.items():
        f = torch.as_tensor(f).detach().float().cpu()
        if f.ndim != 2 or len(f) != n:
            raise CourseError(f"features of shape {tuple(f.shape)} for {n} images; expected ({n}, D)")
        f = torch.nn.functional.normalize(f, dim=1)
        sheet.text(gap, y + 5, name or "query, then its nearest", 10, ha="left", fontweight="bold")
        if labels is not None:
            hits, total = 0, 0
        y += head
        for q in queries:
            q %= n
            similarity = f @ f[q]
            similarity[q] = -math.inf
            found = similarity.topk(k).indices.tolist()
            for c, i in enumerate([q, *found]):
                tile = enlarge(x[i], side)
                left = gap + c * pitch + (first if c else 0)
                sheet.paste(tile, left, y)
                if c == 0:
                    sheet.frame(left, y, tile.shape[:2], "query")
                elif labels is not None:
                    same = labels[i] == labels[q]
                    hits, total = hits + int(same), total + 1
                    sheet.frame(left, y, tile.shape[:2], "right" if same else "wrong")
                if names:
                    text = names[labels[i]] if labels[i] >= 0 else "?"
                    text = text if len(text) <= pitch / (_LETTER * 7.5) else text[: int(pitch / (_LETTER * 7.5)) - 1] + "."
                    sheet.text(left + tile.shape[1] / 2, y + tile.shape[0] + 3, text, 7.5)
            y += row_height
        if labels is not None:
            sheet.text(sheet.width - gap, y - head - len(queries) * row_height + 6, f"{hits} of {total} share the query's class",
                       9, ha="right", color=SOFT)  # fmt: skip
    return sheet.done()


@_drawing
def filters(encoder, title: str | None = None) -> Picture:
    """The kernels of the first convolution, each scaled to its own range. Also takes the kernels, (N, 3, k, k) in 0..1."""
    if not isinstance(encoder, Tensor):
        from sslcourse.encoders import first_filters

        encoder = first_filters(encoder)
    x = encoder if encoder.shape[1] in (1, 3) else encoder.mean(1, keepdim=True)
    tiles = [enlarge(t, 40) for t in to_uint8(x)]
    size = tiles[0].shape[0]
    columns = min(16, len(tiles), int(WIDTH * DPI // (size + 6)))
    top = 28 if title else 6
    sheet = _Sheet(max(6 + columns * (size + 6), len(title or "") * 11 * _LETTER), top + math.ceil(len(tiles) / columns) * (size + 6))
    if title:
        sheet.text(6, 5, title, 11, ha="left")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, 6 + i % columns * (size + 6), top + i // columns * (size + 6))
    return sheet.done()


# ---------------------------------------------------------------------------------------------- numbers


def _series(rows, key: str) -> tuple[list[float], list[float]]:
    x, y = [], []
    for i, row in enumerate(rows):
        if key in row:
            x.append(float(row.get("epoch", i + 1)))
            y.append(float(row[key]))
    return x, y


def _whole_numbers(axis) -> None:
    axis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def _apart(values: Sequence[float], least: float) -> list[float]:
    """The same heights moved as little as needed so that labels placed there do not overlap."""
    order = np.argsort(values)
    moved = np.asarray(values, float)[order]
    for _ in range(100):
        gaps = np.diff(moved)
        tight = np.flatnonzero(gaps < least - 1e-9)
        if not len(tight):
            break
        for i in tight:
            push = (least - (moved[i + 1] - moved[i])) / 2
            if push > 0:
                moved[i] -= push
                moved[i + 1] += push
    result = np.empty_like(moved)
    result[order] = moved
    return result.tolist()


@_drawing
def history(rows, keys: Sequence = ("loss",), title: str | None = None, baselines: Mapping | None = None) -> Picture:
    """Metrics over epochs, one small chart for each.

    Args:
        rows: what `fit` returned or `epochs` yielded; or {run name: rows} to compare runs.
        keys: metrics to draw, as named in the rows; a tuple of names shares one chart.
        baselines: {metric: {name: value}}: horizontal lines with their names.
    """
    runs = rows if isinstance(rows, Mapping) else {"": rows}
    runs = {name: list(r) for name, r in runs.items()}
    if not any(runs.values()):
        raise CourseError("no rows to draw: pass what fit(...) returned, or the rows that epochs(...) yielded")
    keys = [keys] if isinstance(keys, str) else list(keys)
    known = list(dict.fromkeys(k for r in runs.values() for row in r for k in row))
    charts = [(k,) if isinstance(k, str) else tuple(k) for k in keys]
    for k in (k for chart in charts for k in chart):
        if k not in known:
            raise CourseError(f"no row has {k!r}; the rows have {', '.join(map(str, known))}")
    baselines = baselines or {}
    columns = min(3, len(charts))
    down = math.ceil(len(charts) / columns)
    figure = Picture(min(WIDTH, 0.8 + 3.6 * columns), down * 2.7 + (0.3 if title else 0), layout="constrained")
    axes = figure.subplots(down, columns, squeeze=False).ravel()
    handles: dict = {}
    for ax, chart in zip(axes, charts):
        n = 0
        for name, r in runs.items():
            for key in chart:
                x, y = _series(r, key)
                label = " ".join(filter(None, (name, key if len(chart) > 1 else "")))
                (line,) = ax.plot(x, y, marker=MARKERS[n % 10], markersize=3.5 if len(x) > 1 else 6, color=COLOURS[n % 10])
                if label:
                    handles.setdefault(label, line)
                n += 1
        lines = {k: v for key in chart for k, v in baselines.get(key, {}).items()}
        if lines:
            low, high = ax.get_ylim()
            low, high = min(low, *lines.values()), max(high, *lines.values())
            ax.set_ylim(low - 0.04 * (high - low or 1), high + 0.06 * (high - low or 1))
            low, high = ax.get_ylim()
            heights = _apart(list(lines.values()), 0.085 * (high - low))
            for (name, value), at in zip(lines.items(), heights):
                ax.axhline(value, color=SOFT, linewidth=1.1, linestyle=(0, (4, 2)))
                ax.annotate(f"{name}  ", (1.01, at), xycoords=("axes fraction", "data"), fontsize=8.5, color=SOFT, va="center",
                            annotation_clip=False)  # fmt: skip
        ax.set_title(", ".join(chart), fontsize=10)
        ax.set_xlabel("epoch")
        ax.grid(axis="y")
        _whole_numbers(ax.xaxis)
        ax.yaxis.set_major_locator(MaxNLocator(5))
    for ax in axes[len(charts) :]:
        ax.axis("off")
    if handles and (len(handles) > 1 or len(runs) > 1):
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(4, len(handles)))
    if title:
        figure.suptitle(title, fontsize=11.5, x=0.01, ha="left")
    return figure


def _mean_std(value, name: str) -> tuple[float, float]:
    try:
        pair = tuple(float(v) for v in value) if np.ndim(value) else (float(value), 0.0)
    except (TypeError, ValueError):
        pair = ()
    if len(pair) != 2 or not math.isfinite(pair[0]):
        raise CourseError(f"{name!r} has {value!r}; pass a finite number, or (mean, standard deviation)")
    return pair[0], pair[1] if math.isfinite(pair[1]) else 0.0


@_drawing
def bars(table: Mapping, title: str | None = None, chance: float | None = None, unit: str = "%") -> Picture:
    """Horizontal bars, each with its number.

    Args:
        table: {name: value or (mean, std)}; with unit "%" the values are shares, 0 to 1.
        chance: what guessing scores, drawn as a dashed line.
        unit: written behind the numbers; "" for plain numbers.
    """
    if not table:
        raise CourseError("nothing to draw: pass {name: value}")
    pairs = {str(k): _mean_std(v, str(k)) for k, v in table.items()}
    factor = 100.0 if unit == "%" else 1.0
    largest = max(abs(m) for m, _ in pairs.values())
    if unit == "%" and largest > 1.5:
        raise CourseError(f'a value of {largest:g} is no share; pass shares (0.55 for 55 %), or unit="" for plain numbers')
    names = [_wrap(n, 230, 9.5, 2) for n in pairs]
    mean, std = (factor * np.array([p[i] for p in pairs.values()]) for i in (0, 1))
    figure = Picture(WIDTH * 0.85, 0.55 + 0.36 * len(pairs) + (0.3 if title else 0) + (0.2 if chance is not None else 0),
                     layout="constrained")  # fmt: skip
    ax = figure.subplots()
    at = np.arange(len(pairs))
    ax.barh(at, mean, 0.66, color=[COLOURS[i % 10] for i in at], xerr=std if std.any() else None,
            error_kw={"ecolor": INK, "elinewidth": 1.2, "capsize": 3})  # fmt: skip
    low, high = min(0, (mean - std).min()), max(0, (mean + std).max(), factor * (chance or 0))
    span = (high - low) or 1
    for i in at:
        text = f"{mean[i]:.1f}" if factor == 100 else _number(float(mean[i]))
        text += (f" \u00b1 {std[i]:.1f}" if factor == 100 else f" \u00b1 {_number(float(std[i]))}") if std[i] else ""
        end = max(mean[i] + std[i], 0)
        ax.text(end + 0.012 * span, i, f"{text} {unit}".strip(), va="center", fontsize=9.5, parse_math=False,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})  # fmt: skip
    ax.set_yticks(at, names, fontsize=9.5)
    ax.set_xlim(low - (0.03 * span if low < 0 else 0), high + (0.21 if std.any() else 0.15) * span)
    ax.set_ylim(len(pairs) - 0.45, -0.55)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.axvline(0, color="#8C959F", linewidth=1)
    if chance is not None:
        ax.axvline(factor * chance, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
        ax.annotate(f"chance {factor * chance:.1f} {unit}".strip(), (factor * chance, 1.0), xycoords=("data", "axes fraction"),
                    xytext=(0, 2), textcoords="offset points", ha="left", va="bottom", fontsize=8.5, color=INK)  # fmt: skip
    if title:
        ax.set_title(title, pad=18 if chance is not None else 6)
    return figure


def scatter(ax, xy: np.ndarray, labels: np.ndarray, names: Sequence[str], size: float = 15) -> list:
    """Points by class, colour and marker together. Returns one handle per class that occurs."""
    handles = []
    for c in range(len(names)):
        members = labels == c
        if members.any():
            handles.append(ax.scatter(*xy[members].T, s=size, c=COLOURS[c % 10], marker=MARKERS[c % 10], linewidths=0, alpha=0.8,
                                      label=names[c]))  # fmt: skip
    unknown = labels < 0
    if unknown.any():
        handles.append(ax.scatter(*xy[unknown].T, s=size * 0.7, c="#B8C0C8", marker=".", linewidths=0, label="unlabelled"))
    return handles


def _thumbnails(ax, xy: np.ndarray, images: np.ndarray, labels: np.ndarray, across: int = 11) -> None:
    """Pictures at some of the points, framed in their class's colour: one in each cell of a grid over the map."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    low, high = xy.min(0), xy.max(0)
    cell = ((xy - low) / np.maximum(high - low, 1e-9) * (across - 1e-6)).astype(int)
    centre = (cell + 0.5) / across * (high - low) + low
    taken = set()
    for i in np.argsort(((xy - centre) ** 2).sum(1)):
        if tuple(cell[i]) not in taken:
            taken.add(tuple(cell[i]))
            picture = OffsetImage(images[i], zoom=24 / max(images.shape[1:3]) * 72 / DPI * 1.1, interpolation="nearest")
            colour = COLOURS[labels[i] % 10] if labels[i] >= 0 else "#B8C0C8"
            ax.add_artist(AnnotationBbox(picture, xy[i], pad=0.09, bboxprops={"edgecolor": colour, "facecolor": colour, "linewidth": 0}))


@_drawing
def embedding(xy, labels, classes: Sequence[str] | None = None, images=None, title: str | None = None) -> Picture:
    """A map of features in two dimensions, coloured by class.

    Args:
        xy: (N, 2), or {panel title: (N, 2)} for several maps of the same samples.
        labels: (N,) class numbers, -1 where unknown.
        images: (N, 3, H, W): some are drawn at their points.
    """
    panels = xy if isinstance(xy, Mapping) else {"": xy}
    panels = {str(k): _array(v, "xy", 2) for k, v in panels.items()}
    n = len(next(iter(panels.values())))
    for points in panels.values():
        if points.shape != (n, 2):
            raise CourseError(f"xy has shape {points.shape}; expected ({n}, 2), two coordinates per sample")
    labels = _labels(labels, n)
    names = _class_names(classes, labels)
    pictures = None if images is None else to_uint8(images)
    if pictures is not None and len(pictures) != n:
        raise CourseError(f"{n} points but {len(pictures)} images; pass one image per point")
    columns = min(3, len(panels))
    down = math.ceil(len(panels) / columns)
    side = {1: 5.4, 2: 3.7, 3: 2.6}[columns]
    figure = Picture(columns * side + 1.3, down * (side + 0.3) + (0.3 if title else 0), layout="constrained")
    axes = figure.subplots(down, columns, squeeze=False).ravel()
    handles: dict = {}
    for ax, (name, points) in zip(axes, panels.items()):
        for handle in scatter(ax, points, labels, names, size=max(5.0, min(22.0, 6000 / n**0.9 * side / 5))):
            handles.setdefault(handle.get_label(), handle)
        if pictures is not None:
            _thumbnails(ax, points, pictures, labels, across=round(side * 2.2))
        ax.set(xticks=[], yticks=[])
        ax.set_aspect("equal", "datalim")
        for spine in ax.spines.values():
            spine.set(visible=True, color="#C9D1D9")
        if name:
            ax.set_title(_wrap(name, side * DPI - 10, 10, 2), fontsize=10)
    for ax in axes[len(panels) :]:
        ax.axis("off")
    order = [name for name in [*names, "unlabelled"] if name in handles]
    legend = figure.legend([handles[k] for k in order], order, loc="outside right upper", handletextpad=0.2, borderaxespad=0.2,
                           labelspacing=0.45)  # fmt: skip
    for handle in legend.legend_handles:
        handle.set_sizes([36])
        handle.set_alpha(1)
    if title:
        figure.suptitle(title, fontsize=11.5, x=0.01, ha="left")
    return figure


def _ink_on(colour) -> str:
    """Black or white, whichever reads better on this colour."""
    r, g, b = colour[:3]
    return "white" if 0.299 * r + 0.587 * g + 0.114 * b < 0.55 else INK


@_drawing
def factor_table(table: Mapping[str, Mapping[str, float]], title: str | None = None) -> Picture:
    """What each representation kept: one row per method, one column per factor, dark where nothing can be read out.

    Args:
        table: {method name: {factor: score}}, scores from 0 (chance) to 1 (read out perfectly), as
            `evaluate.factor_table` returns them. Missing or NaN scores stay empty.
    """
    if not table:
        raise CourseError("nothing to draw: pass {method name: {factor: score}}")
    factors = list(dict.fromkeys(f for row in table.values() for f in row))
    scores = np.array([[float(row.get(f, math.nan)) for f in factors] for row in table.values()])
    names = [_wrap(n, 150, 9.5, 2) for n in table]
    figure = Picture(WIDTH, 0.95 + 0.36 * len(names) + (0.3 if title else 0), layout="constrained")
    ax = figure.subplots()
    colour = matplotlib.colormaps["cividis"]
    shown = ax.imshow(np.ma.masked_invalid(scores), cmap=colour, vmin=0, vmax=1, aspect="auto")
    size = 9.5 if len(factors) <= 12 else 8
    for (i, j), v in np.ndenumerate(scores):
        if math.isfinite(v):
            ax.text(j, i, f"{v:.2f}".replace("-0.00", "0.00"), ha="center", va="center", fontsize=size,
                    color=_ink_on(colour(min(max(v, 0), 1))))  # fmt: skip
    ax.set_xticks(range(len(factors)), [str(f).replace("_", "\n") for f in factors], fontsize=9 if len(factors) <= 12 else 8)
    ax.xaxis.tick_top()
    ax.set_yticks(range(len(names)), names, fontsize=9.5)
    ax.tick_params(length=0)
    ax.set_xticks(np.arange(len(factors) + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=2)
    ax.tick_params(which="minor", length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(shown, ax=ax, fraction=0.025, pad=0.015, ticks=[0, 0.5, 1])
    bar.ax.set_yticklabels(["0 lost", "0.5", "1 kept"] if len(names) > 1 else ["0", ".5", "1"], fontsize=8.5)
    bar.outline.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=11.5, x=0.01, ha="left")
    return figure


@_drawing
def similarity(z1, z2, temperature: float, names: Sequence | None = None) -> Picture:
    """A contrastive loss looked at pair by pair: cosine similarities, and how the softmax shares out attention.

    Left: everybody against everybody, partners outlined, nobody compared with itself. Right: the softmax of each row at
    this temperature: the outlined cell pulls the anchor (by what is missing to 1), every other pushes by its share.

    Args:
        z1, z2: (n, d) projections of two views of the same n images, 2 to 12 of them.
        temperature: above 0.
        names: one short text per image.
    """
    from matplotlib.patches import Rectangle

    a, b = _array(z1, "z1", 2), _array(z2, "z2", 2)
    n = len(a)
    if a.shape != b.shape:
        raise CourseError(f"z1 is {a.shape} and z2 is {b.shape}; both views must be (n, d), row for row")
    if not 2 <= n <= 12:
        raise CourseError(f"{n} images; this picture shows 2 to 12, pass z1[:8], z2[:8]")
    if not temperature > 0:
        raise CourseError(f"temperature={temperature}; it divides the similarities and must be above 0")
    if names is not None and len(names) != n:
        raise CourseError(f"{n} images but {len(names)} names; pass one for each image")
    z = np.concatenate([a, b])
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    cosine = z @ z.T
    np.fill_diagonal(cosine, np.nan)
    logits = cosine / temperature
    weight = np.exp(logits - np.nanmax(logits, 1, keepdims=True))
    weight /= np.nansum(weight, 1, keepdims=True)
    stem = [str(i + 1) for i in range(n)] if names is None else [str(s)[:10] for s in names]
    ticks = [f"{s} a" for s in stem] + [f"{s} b" for s in stem]
    figure = Picture(WIDTH, 4.6 if n <= 4 else 5.2, layout="constrained")
    left, right = figure.subplots(1, 2)
    partner = (np.arange(2 * n) + n) % (2 * n)
    loss = -np.log(np.maximum(weight[np.arange(2 * n), partner], 1e-300)).mean()
    for ax, values, colour, low, heading in (
        (left, cosine, "RdBu_r", -1, "cosine similarity"),
        (right, weight, "viridis", 0, f"softmax at temperature {temperature:g}   (loss {loss:.2f})"),
    ):
        shown = ax.imshow(np.ma.masked_invalid(values), cmap=colour, vmin=low, vmax=1)
        ax.set_facecolor("#D0D7DE")
        for i in range(2 * n):
            ax.add_patch(Rectangle((partner[i] - 0.5, i - 0.5), 1, 1, fill=False, linewidth=1.8,
                                   edgecolor="black" if ax is left else "#FF6B35"))  # fmt: skip
            if n <= 4:
                for j in range(2 * n):
                    if i != j:
                        rgb = matplotlib.colormaps[colour]((values[i, j] - low) / (1 - low))
                        ax.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=7.5, color=_ink_on(rgb))
        size = 8.5 if n <= 8 else 7
        ax.set_xticks(range(2 * n), ticks, fontsize=size, rotation=90 if max(map(len, ticks)) > 3 or n > 6 else 0)
        ax.set_yticks(range(2 * n), ticks, fontsize=size)
        ax.tick_params(length=0)
        ax.set_title(heading, fontsize=10)
        bar = figure.colorbar(shown, ax=ax, orientation="horizontal", fraction=0.045, pad=0.02, ticks=[low, (low + 1) / 2, 1])
        bar.outline.set_visible(False)
        for spine in ax.spines.values():
            spine.set_visible(False)
    left.set_ylabel("anchor")
    return figure


def gauge(ax, name: str, value: float, low: float, high: float, size: float = 9.5) -> bool:
    """One horizontal gauge: the healthy range as a band, the value as a mark and a number. Returns whether it is healthy."""
    healthy = low <= value <= high
    finite = value if math.isfinite(value) else high
    start, stop = min(low, finite), max(high, finite)
    pad = 0.08 * ((stop - start) or 1)
    ax.set(xlim=(start - pad, stop + pad), ylim=(-1, 1), yticks=[])
    ax.axhspan(-0.32, 0.32, color="#E8ECF0", linewidth=0)
    ax.fill_betweenx([-0.32, 0.32], low, high, color="#BFE3D5", linewidth=0)
    colour = RIGHT if healthy else WRONG
    ax.plot([finite], [0], marker="o" if healthy else "X", markersize=10, color=colour, markeredgecolor="white", clip_on=False)
    ax.set_xticks([low, high], [f"{low:g}", f"{high:g}"], fontsize=8)
    ax.tick_params(length=2, pad=1)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.text(-0.02, 0.5, name, transform=ax.transAxes, ha="right", va="center", fontsize=size, parse_math=False)
    ax.text(1.02, 0.5, f"{_number(value)}  {'ok' if healthy else 'LOOK'}", transform=ax.transAxes, va="center", fontsize=size,
            color=colour, fontweight="normal" if healthy else "bold")  # fmt: skip
    return healthy


@_drawing
def health(report: Mapping[str, tuple]) -> Picture:
    """Gauges: the healthy range as a band, the value as a dot inside it, or a cross outside with what that means.

    Args:
        report: {name: (value, healthy from, healthy to, text)}, as `health.diagnose(...).gauges()` returns it.
    """
    if not report:
        raise CourseError("nothing to draw: pass {name: (value, healthy from, healthy to, text)}")
    rows = []
    for name, entry in report.items():
        if len(entry) != 4:
            raise CourseError(f"{name!r} has {len(entry)} entries; pass (value, healthy from, healthy to, text)")
        value, low, high, text = entry
        unhealthy = not low <= value <= high
        rows.append((str(name), float(value), float(low), float(high), _wrap(text, 760, 8.5, 3) if unhealthy else ""))
    heights = [46 + (r[4].count("\n") + 1) * 8.5 * _LINE * bool(r[4]) for r in rows]
    total = sum(heights) + 8
    figure = Picture(WIDTH, total / DPI)
    y = total - 4
    for (name, value, low, high, text), height in zip(rows, heights):
        ax = figure.add_axes((0.21, (y - 28) / total, 0.60, 24 / total))
        gauge(ax, _wrap(name, 150, 9.5, 2), value, low, high)
        if text:
            figure.text(0.03, (y - 46) / total, text, fontsize=8.5, color=INK, va="top", parse_math=False)
        y -= height
    return figure


@_drawing
def curve(x: Sequence, ys: Mapping[str, Sequence], xlabel: str, ylabel: str, log: bool = False, title: str | None = None) -> Picture:
    """Curves over a common axis, with a band of one standard deviation where it is given.

    Args:
        x: numbers, or names for an axis of categories.
        ys: {name: values}, each a number or (mean, std), one per x; None leaves a gap.
        log: a logarithmic x axis.
    """
    x = list(x)
    if not x or not ys:
        raise CourseError("nothing to draw: pass x and {name: values}")
    words = any(isinstance(v, str) for v in x)
    at = np.arange(len(x)) if words else np.array([float(v) for v in x])
    if log and (words or (at <= 0).any()):
        raise CourseError(f"x={x[:5]} cannot stand on a logarithmic axis; all must be numbers above 0, or pass log=False")
    figure = Picture(WIDTH * 0.85, 3.4 + (0.2 if title else 0), layout="constrained")
    ax = figure.subplots()
    for n, (name, values) in enumerate(ys.items()):
        if len(values) != len(x):
            raise CourseError(f"{name!r} has {len(values)} values for {len(x)} places on the x axis")
        pairs = np.array([(math.nan, 0.0) if v is None else _mean_std(v, name) for v in values])
        mean, std = pairs.T
        colour = COLOURS[n % 10]
        if np.nanmax(std, initial=0) > 0:
            ax.fill_between(at, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)
        ax.plot(at, mean, marker=MARKERS[n % 10], markersize=5, color=colour, label=str(name))
    if log:
        ax.set_xscale("log")
    if words:
        ax.set_xticks(at, [_wrap(v, 560 / len(x), 9, 3) for v in x])
        ax.set_xlim(-0.4, len(x) - 0.6)
    elif len(x) <= 8:
        ax.set_xticks(at, [f"{v:g}" for v in at])
        ax.set_xticks([], minor=True)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.grid(axis="y")
    if len(ys) > 1 or next(iter(ys)):
        figure.legend(loc="outside right upper")
    if title:
        ax.set_title(title)
    return figure


# ---------------------------------------------------------------------------------------------- tables


def _number(value) -> str:
    """Three figures, or a whole number with its thousands apart."""
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if 0 < size < 0.001:
        return f"{value:.1e}"
    return f"{value:.3f}" if size < 1 else f"{value:.2f}"


def _cell(value) -> str:
    if value is None:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, Tensor):
        value = value.item() if value.numel() == 1 else tuple(value.tolist())
    if isinstance(value, (int, float, np.integer, np.floating)):
        return _number(value)
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(v, (float, np.floating)) for v in value):
        return f"{_number(value[0])} \u00b1 {_number(value[1])}"
    return str(value)


class Table:
    """Rows and columns that show themselves as HTML, as Markdown or as plain text. `table.rows` has the numbers."""

    def __init__(self, rows: list[dict], columns: list[str], caption: str | None):
        self.rows, self.columns, self.caption = rows, columns, caption
        self._cells = [[_cell(row.get(c)) for c in columns] for row in rows]
        self._right = [
            any(not isinstance(row.get(c), (str, type(None), bool)) for row in rows) and not any(isinstance(row.get(c), str) for row in rows)
            for c in columns
        ]

    def __repr__(self):
        width = [max(len(c), *(len(row[i]) for row in self._cells)) if self._cells else len(c) for i, c in enumerate(self.columns)]

        def line(cells):
            return "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, width, self._right)).rstrip()

        head = [self.caption] if self.caption else []
        return "\n".join([*head, line(self.columns), line(["-" * w for w in width]), *(line(row) for row in self._cells)])

    def _repr_markdown_(self):
        def line(cells):
            return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"

        head = [f"**{self.caption}**", ""] if self.caption else []
        rule = "|" + "|".join("---:" if r else ":---" for r in self._right) + "|"
        return "\n".join([*head, line(self.columns), rule, *(line(row) for row in self._cells)])

    def _repr_html_(self):
        # Colours are inherited, so that the table reads in a dark notebook as in a light one.
        def row(cells, tag):
            rule = "1px solid rgba(128,128,128,.6)" if tag == "th" else "1px solid rgba(128,128,128,.2)"
            style = "padding:3px 10px;color:inherit;background:transparent;border-bottom:" + rule + ";text-align:"
            return "<tr style='background:transparent'>" + "".join(
                f"<{tag} style='{style}{'right' if right else 'left'}'>{html.escape(c)}</{tag}>" for c, right in zip(cells, self._right)
            ) + "</tr>"  # fmt: skip

        caption = ""
        if self.caption:
            style = "text-align:left;caption-side:top;white-space:nowrap;color:inherit;padding:2px 10px"
            caption = f"<caption style='{style}'>{html.escape(self.caption)}</caption>"
        body = "".join(row(r, "td") for r in self._cells)
        return (f"<table style='border-collapse:collapse;color:inherit;font-variant-numeric:tabular-nums'>{caption}"
                f"<thead>{row(self.columns, 'th')}</thead><tbody>{body}</tbody></table>")  # fmt: skip


def table(rows: Sequence[Mapping], columns: Sequence[str] | None = None, caption: str | None = None) -> Table:
    """A table of results.

    Args:
        rows: dicts, one per row. Floats are written with three figures, (mean, std) pairs of floats as mean ± std.
        columns: which keys to show, in this order; by default all, in order of appearance.
    """
    rows = [dict(r) for r in rows]
    known = list(dict.fromkeys(str(k) for row in rows for k in row))
    if columns is not None and rows:
        for c in columns:
            if c not in known:
                raise CourseError(f"no row has {c!r}; the rows have {', '.join(known)}")
    return Table(rows, list(columns) if columns is not None else known, caption)


# ---------------------------------------------------------------------------------------------- dense predictions

KIND_COLOURS = ("#009E73", "#D55E00", "#0072B2", "#B8BEC6")  # the positive, other time, other place, other film


def kinds_tile(weight, kind) -> np.ndarray:
    """A score matrix as one small picture: the colour says what a column is to the row, the brightness how much attention it gets.

    Args:
        weight: (n, n) shares from 0 to 1, such as the softmax of each row; small ones are lifted (fourth root) to be seen at all.
        kind: (n, n) whole numbers from 0 to 3, see `methods.dpc.kinds`.

    Returns:
        (3, n, n) float32, 0..1.
    """
    shares, numbers = _array(weight, "weight", 2), _array(kind, "kind", 2).astype(int)
    if shares.shape != numbers.shape or numbers.min() < 0 or numbers.max() >= len(KIND_COLOURS):
        raise CourseError(f"weights {shares.shape} and kinds {numbers.shape} of {numbers.min()} to {numbers.max()}; one kind from 0 to 3 per weight")
    colours = np.array([matplotlib.colors.to_rgb(c) for c in KIND_COLOURS])
    return (colours[numbers] * np.clip(shares, 0, 1)[..., None] ** 0.25).transpose(2, 0, 1).astype(np.float32)


@_drawing
def dense_scores(scores, kind, blocks: int, places: int, title: str | None = None) -> Picture:
    """The scores of dense predictions: on the left what each candidate is, on the right where the softmax of each row goes.

    Args:
        scores: (n, n) of every predicted cell (row) against every true one, n = films blocks places.
        kind: (n, n), see `methods.dpc.kinds`.
        blocks, places: of each film; films and blocks are outlined.
    """
    from matplotlib.patches import Patch, Rectangle

    logits, numbers = _array(scores, "scores", 2), _array(kind, "kind", 2)
    n = len(logits)
    if logits.shape != numbers.shape or n % (blocks * places):
        raise CourseError(f"scores {logits.shape}, kinds {numbers.shape}; both are (n, n) with n a multiple of blocks * places = {blocks * places}")
    weight = np.exp(logits - logits.max(1, keepdims=True))
    weight /= weight.sum(1, keepdims=True)
    figure = Picture(WIDTH, 5.4, layout="constrained")
    left, right = figure.subplots(1, 2)
    for ax, shares, heading in ((left, np.ones_like(weight), "what a column is to its row"), (right, weight, "softmax of each row")):
        ax.imshow(kinds_tile(shares, numbers).transpose(1, 2, 0), interpolation="nearest")
        for at in range(places, n, places):
            ax.axhline(at - 0.5, color="white", linewidth=0.5)
            ax.axvline(at - 0.5, color="white", linewidth=0.5)
        for at in range(0, n, blocks * places):
            ax.add_patch(Rectangle((at - 0.5, at - 0.5), blocks * places, blocks * places, fill=False, edgecolor="white", linewidth=1.8))
        middle = [at + blocks * places / 2 - 0.5 for at in range(0, n, blocks * places)]
        ax.set_xticks(middle, [f"film {i + 1}" for i in range(len(middle))], fontsize=9)
        ax.set_yticks(middle, [f"film {i + 1}" for i in range(len(middle))], fontsize=9, rotation=90, va="center")
        ax.tick_params(length=0)
        ax.set_title(heading, fontsize=10)
        ax.set_xlabel("true features")
    left.set_ylabel("predicted features")
    names = ("the positive", "other time", "other place", "other film")
    figure.legend(handles=[Patch(color=c, label=name) for c, name in zip(KIND_COLOURS, names)], loc="outside lower center", ncols=4, fontsize=9,
                  frameon=False)  # fmt: skip
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


@_drawing
def match(seen, future, share, place: int, title: str | None = None) -> Picture:
    """Where the prediction of one cell finds itself in the true future.

    Args:
        seen, future: (3, H, W) the last frame before and a frame of the predicted block, uint8 or float 0..1.
        share: (h, w) the softmax over the places of that block.
        place: which cell was asked for, row by row from 0; outlined.
    """
    from matplotlib.patches import Rectangle

    heat = _array(share, "share", 2)
    h, w = heat.shape
    if not 0 <= place < h * w:
        raise CourseError(f"place={place}; there are {h} x {w} cells, 0 to {h * w - 1}")
    before, after = to_uint8(seen)[0], to_uint8(future)[0]
    figure = Picture(WIDTH * 0.8, 2.9, layout="constrained")
    axes = figure.subplots(1, 3)
    high, wide = after.shape[:2]
    axes[0].imshow(before)
    axes[1].imshow(after)
    shown = axes[2].imshow(heat, cmap="viridis", vmin=0, vmax=max(float(heat.max()), 1e-6), extent=(-0.5, wide - 0.5, high - 0.5, -0.5))
    cell = (place % w * wide / w - 0.5, place // w * high / h - 0.5)
    headings = ("the last frame seen", "the block that came", "where the prediction matches")
    for ax, heading in zip(axes, headings):
        ax.add_patch(Rectangle(cell, wide / w, high / h, fill=False, edgecolor="#FF6B35", linewidth=2.2))
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_title(heading, fontsize=10)
    bar = figure.colorbar(shown, ax=axes[2], fraction=0.046, pad=0.03)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


# ---------------------------------------------------------------------------------------------- the results wall

_VERDICT_COLOURS = {"pass": RIGHT, "inconclusive": "#B8BEC6", "fail": WRONG}
_VERDICT_SIGNS = {"pass": "\u2713", "inconclusive": "?", "fail": "\u2717"}


@_drawing
def wall(rows: Mapping[str, Mapping], chance: float | None = None, title: str | None = None, keys: Mapping[str, str] | None = None,
         what: str = "accuracy on the test split in per cent") -> Picture:  # fmt: skip
    """Every method in one picture: a bar for the linear probe, marks for kNN and for few labels, the seconds of training behind it.

    Args:
        rows: {name: {"linear": [one per seed], "kNN": [...], "few labels": [...], "seconds": [...], "trained" or "mine": True or absent}}, shares
            from 0 to 1, as in the result files of the course; "chance" is left out. Baselines, which were not trained, come first and are grey.
        chance: what guessing scores.
        keys: other readings of the rows and what they are called; the first is the bar, up to two more are marks.
        what: what the axis says.
    """
    keys = dict(keys or {"linear": "linear probe", "kNN": "kNN", "few labels": "few labels"})
    bar, *marked = keys
    from matplotlib.lines import Line2D

    shown = {name: row for name, row in rows.items() if name != "chance" and row.get(bar)}
    if not shown:
        raise CourseError(f'nothing to draw: pass {{name: {{"{bar}": [0.5, 0.6]}}}}')
    trained = {name: any(bool(row.get(key)) for key in ("seconds", "trained", "mine")) for name, row in shown.items()}
    order = sorted(shown, key=lambda n: (trained[n], statistics.fmean(shown[n][bar])))
    figure = Picture(WIDTH, 1.15 + 0.34 * len(order) + (0.25 if title else 0), layout="constrained")
    ax = figure.subplots()
    for i, name in enumerate(order):
        row = shown[name]
        linear, mean = 100 * np.array(row[bar], float), 100 * statistics.fmean(row[bar])
        colour = "#E69F00" if row.get("mine") else COLOURS[0] if trained[name] else "#B8BEC6"
        ax.barh(i, mean, 0.64, color=colour, xerr=linear.std(ddof=1) if len(linear) > 1 else None,
                error_kw={"ecolor": INK, "elinewidth": 1.1, "capsize": 2.5})  # fmt: skip
        for key, marker in zip(marked, "oD"):
            if row.get(key):
                ax.plot(100 * float(np.mean(row[key])), i, marker, color="white", markeredgecolor=INK, markersize=5.5, markeredgewidth=1.2)
        text = f"{mean:.1f}" + (f" ± {linear.std(ddof=1):.1f}" if len(linear) > 1 else "")
        text += f"   {np.mean(row['seconds']):.0f} s" if row.get("seconds") else ""
        ax.text(102, i, text, va="center", fontsize=9)
    names = [_wrap(n + (" (yours)" if shown[n].get("mine") else ""), 190, 9.5, 2) for n in order]
    ax.set_yticks(range(len(order)), names, fontsize=9.5)
    ax.set_xlim(0, 100)
    ax.set_ylim(len(order) - 0.45, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(f"{what}; right: {keys[bar]}" + ", and seconds of training" * any(row.get("seconds") for row in shown.values()))
    if chance is not None:
        ax.axvline(100 * chance, color=INK, linewidth=1.1, linestyle=(0, (4, 2)))
    marks = [Line2D([], [], color=COLOURS[0], linewidth=7, label=keys[bar]),
             *(Line2D([], [], marker=m, linestyle="", color="white", markeredgecolor=INK, markersize=5.5, label=keys[k])
               for k, m in zip(marked, "oD")),
             *([Line2D([], [], color=INK, linewidth=1.1, linestyle=(0, (4, 2)), label="chance")] if chance is not None else [])]  # fmt: skip
    figure.legend(handles=marks, loc="outside upper left", ncols=4, fontsize=9)
    if title:
        ax.set_title(title)
    return figure


@_drawing
def verdicts(rows: Sequence[Mapping], title: str | None = None) -> Picture:
    """All claims at a glance: a row for each paper, a square for each claim, coloured by its verdict.

    Args:
        rows: dicts with "paper" and "verdict" ("pass", "inconclusive" or "fail"), in the order in which they are to be shown.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    unknown = sorted({str(r["verdict"]) for r in rows} - set(_VERDICT_COLOURS))
    if unknown or not rows:
        wrong = f"verdicts {', '.join(unknown)}; they are pass, inconclusive or fail"
        raise CourseError(wrong if unknown else "nothing to draw: there are no claims")
    papers = list(dict.fromkeys(r["paper"] for r in rows))
    most = max(sum(r["paper"] == p for r in rows) for p in papers)
    figure = Picture(WIDTH, 0.9 + 0.36 * len(papers) + (0.25 if title else 0), layout="constrained")
    ax = figure.subplots()
    for i, name in enumerate(papers):
        of = sorted((str(r["verdict"]) for r in rows if r["paper"] == name), key=list(_VERDICT_COLOURS).index)
        for k, verdict in enumerate(of):
            ax.add_patch(Rectangle((k + 0.06, i - 0.38), 0.88, 0.76, color=_VERDICT_COLOURS[verdict]))
            ink = INK if verdict == "inconclusive" else "white"
            ax.text(k + 0.5, i, _VERDICT_SIGNS[verdict], ha="center", va="center", fontsize=9, color=ink)
        ax.text(len(of) + 0.25, i, f"{of.count('pass')} of {len(of)}", va="center", fontsize=9)
    ax.set_xlim(0, most + 2)
    ax.set_ylim(len(papers) - 0.5, -0.5)
    ax.set_yticks(range(len(papers)), papers, fontsize=9.5)
    ax.set_xticks([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    handles = [Line2D([], [], marker="s", linestyle="", markersize=9, color=c, label=f"{_VERDICT_SIGNS[v]} {v}")
               for v, c in _VERDICT_COLOURS.items()]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper left", ncols=3, fontsize=9)
    if title:
        ax.set_title(title)
    return figure


@_drawing
def intervals(rows: Sequence[tuple], title: str | None = None) -> Picture:
    """Effects with their intervals, one below the other, and a line at 0: does the interval hold it?

    Args:
        rows: (text, mean, low, high, verdict) each; the verdict ("pass", "inconclusive" or "fail") chooses colour and sign. Without an interval
            (one seed) low and high are infinite, and only the mean is drawn.
    """
    if not rows:
        raise CourseError("nothing to draw: pass rows of (text, mean, low, high, verdict)")
    figure = Picture(WIDTH, 0.8 + 0.44 * len(rows) + (0.25 if title else 0), layout="constrained")
    ax = figure.subplots()
    for i, (_, mean, low, high, verdict) in enumerate(rows):
        if verdict not in _VERDICT_COLOURS:
            raise CourseError(f"verdict {verdict!r}; it is pass, inconclusive or fail")
        colour = _VERDICT_COLOURS[verdict] if verdict != "inconclusive" else SOFT
        if math.isfinite(low) and math.isfinite(high):
            ax.plot([low, high], [i, i], color=colour, linewidth=3, solid_capstyle="butt")
        ax.plot(mean, i, "o", color=colour, markersize=7)
    ax.axvline(0, color=INK, linewidth=1.1)
    ax.set_yticks(range(len(rows)), [f"{_wrap(text, 300, 9, 3)}  {_VERDICT_SIGNS[verdict]}" for text, *_, verdict in rows], fontsize=9)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    ax.set_xlabel("effect, positive where the paper is right; the bar is the interval of its mean")
    if title:
        ax.set_title(title)
    return figure


# ---------------------------------------------------------------------------------------------- picture and sound


@_drawing
def in_step(frames, mel, distances, offset: int, fps: float, title: str | None = None) -> Picture:
    """A window of a film above the sound that is heard with it, and the distance for every offset with the present one marked.

    Args:
        frames: (3, T, H, W) uint8 or float 0..1.
        mel: (M, S) log-mel of the sound heard with them, as long as the frames.
        distances: {name: (2 R + 1,)} for offsets of -R to R frames.
        offset: the present one, in frames; above 0 the sound comes from later.
        fps: frames a second.
    """
    heat = _array(mel, "mel", 2)
    curves = {str(name): _array(values, str(name), 1) for name, values in distances.items()}
    sizes = {len(values) for values in curves.values()}
    if len(sizes) != 1 or not (reach := min(sizes) // 2) >= abs(offset) or min(sizes) % 2 == 0:
        raise CourseError(f"distances of {sorted(sizes)} offsets and offset={offset}; pass as many for each name, from -R to R, "
                          f"R at least {abs(offset)}")  # fmt: skip
    film = torch.as_tensor(frames)
    pictures = to_uint8(film.transpose(0, 1))  # (T, H, W, 3)
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(8, len(pictures))).round().astype(int))
    strip = np.concatenate(list(pictures[chosen]), 1)
    figure = Picture(WIDTH * 0.85, 4.6, layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, gridspec_kw={"height_ratios": [1.15, 1, 1.9]})
    top.imshow(strip, aspect="auto")
    top.set(xticks=[], yticks=[], ylabel="seen")
    middle.imshow(heat, origin="lower", aspect="auto", cmap="magma")
    middle.set(xticks=[], yticks=[], ylabel="heard")
    at = np.arange(-reach, reach + 1) / fps
    for n, (name, values) in enumerate(curves.items()):
        bottom.plot(at, values, color=COLOURS[n], marker=MARKERS[n % 10], markersize=4, label=name)
        bottom.plot(at[reach + offset], values[reach + offset], "o", markersize=11, color=COLOURS[n], markerfacecolor="none", markeredgewidth=2)
    bottom.axvline(offset / fps, color=COLOURS[5], linewidth=1.2, linestyle=(0, (4, 3)))
    bottom.set(xlabel="how much later the sound was taken, in seconds", ylabel="distance")
    bottom.grid(axis="y")
    if len(curves) > 1:
        figure.legend(loc="outside lower center", ncols=len(curves), fontsize=9, frameon=False)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


# ---------------------------------------------------------------------------------------------- clusters, round after round


@_drawing
def flow(assigned: Sequence, labels, names: Sequence[str], rounds: Sequence[str] | None = None, title: str | None = None,
         least: float = 0.005) -> Picture:  # fmt: skip
    """How samples go from the clusters of one round to those of the next: bars are clusters, bands the samples that stay together.

    A cluster has the colour of the commonest class in it, pale where the class is less than half of it, and clusters of one class stand together.

    Args:
        assigned: (N,) cluster numbers for every round, of the same samples in the same order; at least two rounds.
        labels: (N,) class numbers from 0; for the colours only.
        names: of the classes.
        rounds: what each round is called.
        least: bands of a smaller share of all samples are left out, so that the others can be seen.
    """
    steps, truth = [_array(a, f"assigned[{i}]", 1).astype(int) for i, a in enumerate(assigned)], _array(labels, "labels", 1).astype(int)
    if len(steps) < 2 or any(len(a) != len(truth) or a.min() < 0 for a in steps):
        raise CourseError(f"{len(steps)} rounds of {[len(a) for a in steps]} samples with {len(truth)} labels; pass at least two rounds, one cluster "
                          "number from 0 for each sample in each")  # fmt: skip
    n, gap = len(truth), 0.012
    figure = Picture(WIDTH * 0.92, 4.3 + (0.25 if title else 0), colours=32, layout="constrained")
    ax = figure.subplots()
    places, looks = [], []
    for x, a in enumerate(steps):
        table = np.zeros((a.max() + 1, len(names)), int)
        np.add.at(table, (a, truth), 1)
        count, best = table.sum(1), table.argmax(1)
        order = [c for c in np.lexsort((-count, best)) if count[c]]
        top, place = 1.0, {}
        for c in order:
            height = count[c] / n * (1 - gap * (len(order) - 1))
            place[c] = top
            ax.fill_between([x - 0.045, x + 0.045], top - height, top, color=COLOURS[best[c] % 10], linewidth=0,
                            alpha=1.0 if 2 * table[c, best[c]] >= count[c] else 0.35)  # fmt: skip
            top -= height + gap
        places.append(place)
        looks.append({c: COLOURS[best[c] % 10] for c in order})
    bend = np.linspace(0, 1, 24)
    smooth = 3 * bend**2 - 2 * bend**3
    for x, (a, b) in enumerate(zip(steps, steps[1:])):
        arrived = dict(places[x + 1])
        for c in places[x]:
            left = places[x][c]
            for d in places[x + 1]:
                share = int(((a == c) & (b == d)).sum()) / n
                if not share:
                    continue
                high, low = share * (1 - gap * (len(places[x]) - 1)), share * (1 - gap * (len(places[x + 1]) - 1))
                upper = left + (arrived[d] - left) * smooth
                lower = left - high + (arrived[d] - low - left + high) * smooth
                if share >= least:
                    ax.fill_between(x + 0.045 + 0.91 * bend, lower, upper, color=looks[x][c], alpha=0.3, linewidth=0)
                left -= high
                arrived[d] -= low
    called = list(rounds) if rounds is not None else [f"round {i + 1}" for i in range(len(steps))]
    ax.set_xticks(range(len(steps)), called)
    ax.set(yticks=[], xlim=(-0.1, len(steps) - 0.9), ylim=(-0.01, 1.01))
    for spine in ax.spines.values():
        spine.set_visible(False)
    handles = [matplotlib.patches.Patch(color=COLOURS[k % 10], label=str(name)) for k, name in enumerate(names)]
    figure.legend(handles=handles, loc="outside right upper")
    if title:
        ax.set_title(title)
    return figure


@_drawing
def plane(paths: Mapping[str, Sequence[tuple[float, float]]], xlabel: str, ylabel: str, title: str | None = None) -> Picture:
    """Paths in a plane, from an open circle to a filled mark, an arrow for every step.

    Args:
        paths: {name: [(x, y), ...]}, at least one point each.
    """
    if not paths or any(not len(path) for path in paths.values()):
        raise CourseError("nothing to draw: pass {name: [(x, y), ...]} with at least one point for each name")
    figure = Picture(WIDTH * 0.75, 4.4 + (0.2 if title else 0), layout="constrained")
    ax = figure.subplots()
    for n, (name, path) in enumerate(paths.items()):
        points = np.array([[float(v) for v in p] for p in path])
        colour = COLOURS[n % 10]
        for a, b in zip(points, points[1:]):
            ax.annotate("", b, a, arrowprops=dict(arrowstyle="-|>", color=colour, linewidth=1.6, shrinkA=2, shrinkB=2))
        ax.plot(*points[0], "o", markersize=7, color=colour, markerfacecolor="white", markeredgewidth=1.6)
        ax.plot(*points[-1], MARKERS[n % 10], markersize=8, color=colour, label=str(name))
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.margins(0.08)
    ax.grid()
    figure.legend(loc="outside right upper")
    if title:
        ax.set_title(title)
    return figure
