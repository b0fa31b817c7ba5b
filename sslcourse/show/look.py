"""What all pictures share: colours, size, bytes of a PNG, checked input."""

from __future__ import annotations

import contextlib
import functools
import io
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib.rcsetup
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, POSITIVE, WHOLE, takes
from sslcourse.runtime.text import encodable

# Ten colours after Okabe and Ito, and Paul Tol, moved to a middle lightness: charts have no ground of their
# own, and each ink stands out from a white page (WCAG 2.1: 3 to 1) and from a dark one. Colour-blind readers
# tell them apart with the help of `MARKERS`.
COLOURS = (
    "#0072B2",
    "#BF8600",
    "#009E73",
    "#CC6FA3",
    "#D55E00",
    "#18A0BE",
    "#7B55D6",
    "#7F8A1E",
    "#B5305A",
    "#808080",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
# INK is for words and lines without a ground: no colour can have 4.5 to 1 both on white and on JupyterLab's
# #111111 (the two contrasts of a colour multiply to 18.9), and this one has 4.3 on each. DARK is for words on
# a light ground that we drew ourselves. PALE marks what was not learned or is not known.
RIGHT, WRONG, INK, SOFT, PALE, DARK = "#00805F", "#C9471E", "#797979", "#797979", "#8C9299", "#1F2328"
CLEAR = (1.0, 1.0, 1.0, 0.0)  # no ground: the page's own is seen
DPI = 90
WIDTH = 9.0  # inches: 810 pixels, what fits beside JupyterLab's prompt on a small screen
MOST_BYTES = 30_000  # of a PNG in true colour: a lesson holds a dozen of them, and their sum counts

# The look is set around every drawing call, whatever style the notebook has chosen for its own plots. The
# lock makes the figures safe to draw from two threads: neither these settings nor matplotlib's font cache
# are.
STYLE: dict[Any, Any] = {
    "figure.facecolor": CLEAR,
    "axes.facecolor": "none",
    "savefig.facecolor": CLEAR,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "font.family": ["DejaVu Sans"],
    "text.parse_math": False,  # names of classes and files are no formulas: "$x" is shown as it is
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": "#808080",
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "axes.prop_cycle": matplotlib.rcsetup.cycler(color=COLOURS),
    "text.usetex": False,
    "path.simplify": True,
    "axes.titlelocation": "left",
    "image.interpolation": "nearest",
}
DRAWING = threading.RLock()


class Picture(Figure):
    """A matplotlib figure that shows itself as a PNG, also where pyplot was never imported."""

    @takes(
        width=POSITIVE,
        height=POSITIVE,
        colours=WHOLE,
    )
    def __init__(self, width: float = WIDTH, height: float = 3.0, *, colours: int | None = 256, **kwargs):
        super().__init__(**{"figsize": (width, height), "dpi": DPI, "facecolor": CLEAR, **kwargs})
        FigureCanvasAgg(self)
        self.colours = colours  # of the PNG's palette; None keeps true colour while the file stays small

    def _repr_png_(self) -> bytes:
        return png(self)

    def __repr__(self):
        width, height = self.get_size_inches() * self.dpi
        return f"<picture of {width:.0f} x {height:.0f} pixels>"


def _register() -> None:
    """Inside IPython: our PNG also after pyplot has claimed all figures, which would crop them and drop their
    palette.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        shell.display_formatter.formatters["image/png"].for_type(Picture, png)


@contextlib.contextmanager
def course_style() -> Iterator[None]:
    """Our look, and one thread at a time."""
    with DRAWING, matplotlib.rc_context(STYLE):
        yield


def in_course_style(function):
    """Every public figure: our look, and one thread at a time."""

    @functools.wraps(function)
    def drawn(*args, **kwargs):
        with course_style():
            return function(*_drawable(args), **_drawable(kwargs))

    return drawn


def _drawable(value: Any) -> Any:
    """The value, with texts that a font can draw in place of those that hold half of a surrogate pair."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {_drawable(key): _drawable(part) for key, part in value.items()}
    return type(value)(map(_drawable, value)) if type(value) in (list, tuple) else value


def pixels(figure: Figure) -> np.ndarray:
    """Draw a figure: (height, width, 3) uint8, on white where it has no ground, in the look that is set."""
    return on_ground(rgba(figure))


def on_ground(rgba: np.ndarray, ground: str = "#FFFFFF") -> np.ndarray:
    """(h, w, 4) uint8 as it looks on a page of this colour, (h, w, 3) uint8."""
    if (rgba[..., 3] == 255).all():
        return rgba[..., :3].copy()
    page = np.array([int(ground[i : i + 2], 16) for i in (1, 3, 5)], np.float32)
    share = rgba[..., 3:].astype(np.float32) / 255
    return (page + (rgba[..., :3] - page) * share).round().astype(np.uint8)


def rgba(figure: Figure) -> np.ndarray:
    """(height, width, 4) uint8, alpha not multiplied in."""
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file, 256 colours where that is enough or where true colour would be
    large. A chart has no ground; a sheet of pictures has a white one.
    """
    from PIL import Image

    with course_style():
        drawn = rgba(figure)
    opaque = bool((drawn[..., 3] == 255).all())
    return encode_png(Image.fromarray(drawn[..., :3] if opaque else drawn), getattr(figure, "colours", 256))


_register()


@takes(colours=WHOLE)
def encode_png(picture, colours: int | None = 256) -> bytes:
    """A PIL picture, RGB or RGBA, as PNG bytes; `colours=None` keeps true colour unless the file would be
    above 30 KB."""
    from PIL import Image

    if colours is None:
        data = png_bytes(picture)
        if len(data) <= MOST_BYTES:
            return data
        # Photographs need a palette made for them, and dithering to hide its steps would cost twice the
        # bytes.
        if picture.mode == "RGB":
            return png_bytes(picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE))
        colours = 256
    if picture.mode == "RGBA":
        return _clear_png(np.asarray(picture), colours)
    return png_bytes(picture.quantize(colours, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))


def _clear_png(rgba: np.ndarray, colours: int) -> bytes:
    """The bytes of a PNG with a palette whose colours may be transparent, from (h, w, 4) uint8.

    Half of the palette are the commonest colours as they are, so that inks keep their exact contrast; the
    other half stands for all others.
    """
    from PIL import Image

    flat = np.ascontiguousarray(rgba).view(np.uint32).ravel()
    known, at, count = np.unique(flat, return_inverse=True, return_counts=True)
    exact = len(known) if len(known) <= colours else colours // 2
    order = np.argsort(-count, kind="stable")
    palette = known[order[:exact]].view(np.uint8).reshape(-1, 4)
    numbers = np.empty(len(known), np.uint8)
    numbers[order[:exact]] = np.arange(exact)
    if exact < len(known):
        # Each of the others once, in a row: which one is common does not matter any more.
        rest = Image.fromarray(known[order[exact:]].view(np.uint8).reshape(1, -1, 4), "RGBA")
        rest = rest.quantize(colours - exact, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        others = np.asarray(rest.getpalette("RGBA"), np.uint8).reshape(-1, 4)[: colours - exact]
        palette = np.concatenate([palette, others])
        numbers[order[exact:]] = exact + np.asarray(rest).ravel()
    picture = Image.fromarray(numbers[at].reshape(rgba.shape[:2]), "P")
    picture.putpalette(palette[:, :3].tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=6, transparency=palette[:, 3].tobytes())
    return buffer.getvalue()


def two_toned(*artists) -> None:
    """Lines that cross bars: dark with a light edge, so that they are seen on the bar and on any page."""
    from matplotlib.patheffects import withStroke

    for artist in artists:
        artist.set_path_effects([withStroke(linewidth=3.2, foreground="white")])


def png_bytes(picture) -> bytes:
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
        raise CourseError(
            f"images of shape {tuple(x.shape)}; expected (N, 3, H, W), uint8 (0 to 255) or float (0 to 1)"
        )
    if x.shape[1] == 1:
        x = x.expand(-1, 3, -1, -1)
    if x.dtype != torch.uint8:
        if not x.is_floating_point():
            raise CourseError(f"images of type {x.dtype}; expected uint8 (0 to 255) or float (0 to 1)")
        x = (x.float().nan_to_num(0).clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy())


def as_array(x, name: str, ndim: int | None = None) -> np.ndarray:
    x = x.detach().float().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x, dtype=np.float64)
    if ndim is not None and x.ndim != ndim:
        raise CourseError(f"{name} has shape {x.shape}; expected {ndim} axes")
    return x


def label_array(labels, n: int) -> np.ndarray:
    labels = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if labels.shape != (n,):
        raise CourseError(f"{n} points but labels of shape {labels.shape}; pass one number per point")
    return labels.astype(int)


def class_names_of(classes, labels: np.ndarray) -> list[str]:
    count = max(int(labels.max(initial=-1)) + 1, len(classes or ()))
    names = [str(c) for c in classes or ()]
    return names + [str(i) for i in range(len(names), count)]


@takes(side=COUNT)
def enlarge(tile: np.ndarray, side: int) -> np.ndarray:
    """(h, w, 3) to about `side` pixels along its longer side: whole multiples, each pixel a square; never
    blurred.
    """
    h, w = tile.shape[:2]
    if max(h, w) > side:  # too large: every so many-th pixel
        rows, columns = (np.arange(round(s * side / max(h, w))) * max(h, w) // side for s in (h, w))
        return tile[np.minimum(rows, h - 1)][:, np.minimum(columns, w - 1)]
    factor = max(1, side // max(h, w))
    return tile.repeat(factor, 0).repeat(factor, 1)


LETTER_WIDTH = 0.62 * DPI / 72  # width of an average character in pixels per point
LINE_HEIGHT = 1.25 * DPI / 72  # height of a line


def wrapped(text, pixels: float, size: float = 9, most: int = 3) -> str:
    lines = [
        w
        for part in str(text).split("\n")
        for w in textwrap.wrap(part, max(4, int(pixels / (LETTER_WIDTH * size)))) or [""]
    ]
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][:-1] + "\u2026"]
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------- numbers


def series_of(rows, key: str) -> tuple[list[float], list[float]]:
    x, y = [], []
    for i, row in enumerate(rows):
        if key in row:
            x.append(float(row.get("epoch", i + 1)))
            y.append(float(row[key]))
    return x, y


def ink_on(colour) -> str:
    """Black or white, whichever reads better on this colour."""
    r, g, b = colour[:3]
    return "white" if 0.299 * r + 0.587 * g + 0.114 * b < 0.55 else DARK


def colour_of(n: int) -> str:
    """The colour of the n-th of several things in one chart: none comes twice. The first ten are `COLOURS`;
    further ones go round the wheel, at a lightness that stands out from white and from black."""
    import colorsys

    if n < len(COLOURS):
        return COLOURS[n]
    hue = 0.08 + 0.618034 * (n - len(COLOURS))
    wanted = (0.17, 0.21, 0.25)[n % 3]
    low, high = 0.0, 1.0
    for _ in range(20):  # relative luminance grows with the lightness
        middle = (low + high) / 2
        if luminance(colorsys.hls_to_rgb(hue % 1, middle, 0.62)) < wanted:
            low = middle
        else:
            high = middle
    return "#{:02X}{:02X}{:02X}".format(*(round(255 * v) for v in colorsys.hls_to_rgb(hue % 1, low, 0.62)))


def luminance(rgb: Sequence[float]) -> float:
    """Relative luminance of a colour of 0..1 parts, 0 to 1 (WCAG 2.1)."""
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb[:3])
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
