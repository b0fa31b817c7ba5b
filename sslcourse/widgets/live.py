"""A panel that shows a training while it runs, and spends at most two per cent of its time on that.

    panel = Panel(recipe.epochs, classes=data.classes)
    for row in epochs(method, data.train, recipe):
        panel.add(row)                                     # plain code: the loop belongs to the reader
    panel.close()

Frames are matplotlib pictures sent as PNG through a display handle: one output, replaced in place, so that the notebook
keeps exactly the last frame. Between frames rows are only remembered; what is remembered can be played again with
`panel.replay`.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from sslcourse.common import CourseError

BACKENDS = ("notebook", "terminal", "silent")
PLAIN = ("epoch", "step", "lr", "seconds", "samples/s", "interrupted")  # columns of a row that are no metrics
HEALTH = {"spread": (0.3, 1.05), "effective rank": (4.0, math.inf), "alignment": (0.0, 1.4), "uniformity": (-4.2, -1.5),
          "loss / log(2n-1)": (0.05, 0.95)}  # as in sslcourse.health, for a value that comes without its range  # fmt: skip
MOST_POINTS = 2000  # on a map; more would cost more than they show
NEAREST = 0.25  # a map never zooms in further than this half-width: a collapsed cloud must look like one


def is_probe(name: str) -> bool:
    """Whether a metric is a score of a probe, which gets a chart of its own."""
    return any(word in name.lower() for word in ("knn", "linear", "probe", "accuracy"))


def is_health(name: str) -> bool:
    return name in HEALTH


def choose_backend() -> str:
    """`SSLCOURSE_DISPLAY` if set (notebook, terminal or silent), else what this front end can show."""
    wanted = os.environ.get("SSLCOURSE_DISPLAY")
    if wanted:
        if wanted not in BACKENDS:
            raise CourseError(f"SSLCOURSE_DISPLAY={wanted!r}; set it to {', '.join(BACKENDS)}, or unset it")
        return wanted
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and getattr(shell, "kernel", None) is not None:
        return "notebook"
    return "terminal" if sys.stderr is not None and sys.stderr.isatty() else "silent"


# ---------------------------------------------------------------------------------------------- maps


def _points(xy, name: str = "xy") -> np.ndarray:
    xy = xy.detach().float().cpu().numpy() if isinstance(xy, Tensor) else np.asarray(xy, np.float32)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise CourseError(f"{name} has shape {xy.shape}; expected (N, 2): map2d(features) makes two coordinates of many")
    return xy.astype(np.float32)


def align(xy, previous) -> Tensor:
    """Turn, mirror and shift `xy` (N, 2) so that it lies on `previous` (N, 2) as well as it can; nothing is stretched.

    Orthogonal Procrustes: with centred A and B, the rotation U V' of the singular value decomposition A'B = U S V' brings
    A nearest to B. The axes of a principal component analysis may swap or change sign from one epoch to the next; this
    undoes it, so that clusters move instead of jumping.
    """
    a, b = torch.from_numpy(_points(xy)).double(), torch.from_numpy(_points(previous, "previous")).double()
    if a.shape != b.shape:
        raise CourseError(f"xy is {tuple(a.shape)} and previous is {tuple(b.shape)}; map the same samples in the same order")
    centre_a, centre_b = a.mean(0), b.mean(0)
    u, _, vh = torch.linalg.svd((a - centre_a).T @ (b - centre_b))
    return ((a - centre_a) @ (u @ vh) + centre_b).float()


def map2d(features, previous=None) -> Tensor:
    """The two directions along which the features differ most: (N, D) to (N, 2).

    Features are normalised to length 1 first (only their direction counts for a cosine) and centred; nothing is rescaled,
    so a representation that collapses shrinks to a point on the map. With `previous`, the map of the same samples an epoch
    ago, the new one is turned to lie on it.
    """
    x = torch.as_tensor(features).detach().float().cpu()
    if x.ndim != 2 or len(x) < 3 or x.shape[1] < 2:
        raise CourseError(f"features of shape {tuple(x.shape)}; expected (N, D) with at least 3 samples and 2 dimensions")
    if not torch.isfinite(x).all():
        raise CourseError("the features hold NaN or infinity: the training has diverged; start again with a lower lr")
    x = torch.nn.functional.normalize(x, dim=1)
    x = x - x.mean(0)
    # Eigenvectors of the (D, D) covariance: 40 times faster than a singular value decomposition of all samples.
    if x.shape[1] > len(x):
        _, _, basis = torch.linalg.svd(x, full_matrices=False)
        basis = basis[:2].T
    else:
        basis = torch.linalg.eigh((x.T @ x).double())[1][:, -2:].flip(1).float()
    # The sign of an eigenvector is arbitrary; fix it by its largest entry, so that a map can be repeated.
    largest = basis.abs().argmax(0)
    xy = x @ (basis * basis[largest, torch.arange(2)].sign())
    return xy if previous is None else align(xy, previous)


# ---------------------------------------------------------------------------------------------- the panel


class Panel:
    """Loss, probe scores, health, a map of clusters and filters, redrawn while a training runs.

    Args:
        recipe_epochs: how many epochs there will be: a number, or the `Recipe`.
        classes: names of the classes, for the map's legend.
        title: written above.
        budget: share of the time since the start that drawing may take.
        backend: "notebook", "terminal" or "silent"; by default `SSLCOURSE_DISPLAY`, else what the front end can show.

    A frame is drawn only when the budget has room for it, and always at the last epoch and at `close()`, so what stays in
    the notebook is the end of the training. The first, empty frame is drawn before the clock starts, because it pays for
    fonts and caches. Works as a context manager; running the cell again makes a new picture.
    """

    def __init__(self, recipe_epochs, classes: Sequence[str] = (), title: str = "", budget: float = 0.02,
                 backend: str | None = None):  # fmt: skip
        self.epochs = int(getattr(recipe_epochs, "epochs", recipe_epochs))
        if self.epochs < 1:
            raise CourseError(f"recipe_epochs={recipe_epochs!r}; pass recipe.epochs, a whole number from 1")
        if not 0 < budget <= 1:
            raise CourseError(f"budget={budget}; it is a share of the training's time, 0.02 for two per cent")
        self.backend = backend or choose_backend()
        if self.backend not in BACKENDS:
            raise CourseError(f"backend={backend!r} is none of {', '.join(BACKENDS)}")
        self.classes, self.title, self.budget = tuple(map(str, classes)), str(title), budget
        self.rows: list[dict[str, float]] = []
        self.frames_drawn = 0
        self._xy = self._labels = self._filters = None
        self._reach = NEAREST
        self._snapshots: list[dict] = []
        self._lock = threading.RLock()  # a second thread (a widget's callback) may ask for a frame while one is drawn
        self._handle, self._closed, self._stale, self._last_png = None, False, False, b""
        self._spent, self._cost, self._next, self._line = 0.0, 0.0, 0.0, 0
        self._stopped = None
        if self.backend == "notebook":
            self._show(self._render())
            start = time.perf_counter()  # a second one: the first also filled font caches, which says nothing on the next
            self._render()
            self._cost = 2.0 * (time.perf_counter() - start)  # an empty frame is about half the work of a full one
        self._start = time.perf_counter()

    # ------------------------------------------------------------------ what comes in

    def map(self, xy, labels=None) -> Panel:
        """The clusters as they are now: positions (N, 2) and class numbers (N,). Shown with the next row."""
        with self._spending():
            xy = _points(xy)
            labels = np.full(len(xy), -1) if labels is None else np.asarray(torch.as_tensor(labels).cpu()).astype(int)
            if labels.shape != (len(xy),):
                raise CourseError(f"{len(xy)} points but labels of shape {labels.shape}; pass one number per point")
            self._xy, self._labels = xy[:MOST_POINTS], labels[:MOST_POINTS]
            if len(xy):
                self._reach = max(self._reach, float(np.nan_to_num(np.abs(xy)).max()) * 1.05)
            self._stale = True
        return self

    def filters(self, tensor) -> Panel:
        """The first layer's kernels (n, 3, k, k) in 0..1, or an encoder. Shown with the next row."""
        with self._spending():
            if isinstance(tensor, torch.nn.Module):
                from sslcourse.encoders import first_filters

                tensor = first_filters(tensor)
            x = torch.as_tensor(tensor).detach().cpu()
            if x.ndim != 4:
                raise CourseError(f"filters of shape {tuple(x.shape)}; expected (n, 3, k, k), as encoders.first_filters gives")
            x = x if x.shape[1] == 3 else x.float().mean(1, keepdim=True).expand(-1, 3, -1, -1)
            x = x if x.dtype == torch.uint8 else (x.float().clamp(0, 1) * 255).round().to(torch.uint8)
            self._filters = x[:64].permute(0, 2, 3, 1).contiguous().numpy()  # (n, k, k, 3)
            self._stale = True
        return self

    def add(self, row: Mapping[str, float], xy=None, labels=None, filters=None) -> Panel:
        """One row of numbers, with the map and filters of this moment if they are given; drawn if the budget has room."""
        with self._lock:
            if self._closed:
                raise CourseError("this panel is closed; make a new one with Panel(recipe.epochs) for another training")
            if xy is not None:
                self.map(xy, labels)
            if filters is not None:
                self.filters(filters)
            with self._spending():
                self.record(row)
            last = self.rows[-1]
            self._update(force=last.get("epoch", len(self.rows)) >= self.epochs or bool(last.get("interrupted")))
        return self

    def record(self, row: Mapping[str, float]) -> None:
        """Remember a row, with the map and filters as they are, for the charts and for `replay`; draw nothing."""
        kept = {}
        for name, value in row.items():
            try:
                kept[str(name)] = float(value)
            except (TypeError, ValueError):
                raise CourseError(f"row[{name!r}] is {value!r}; a row holds plain numbers, {{'loss': 1.5}}") from None
        with self._lock:
            self.rows.append(kept)
            snapshot: dict = {"row": kept}
            if self._xy is not None:
                snapshot["xy"] = self._xy.astype(np.float16) if np.abs(self._xy).max(initial=0) < 6e4 else self._xy
                snapshot["labels"] = self._labels
            if self._filters is not None:
                snapshot["filters"] = self._filters
            self._snapshots.append(snapshot)
            self._stale = True

    @property
    def replay(self):
        """Everything recorded so far as a `Replay`: a slider over the epochs that needs no kernel."""
        from sslcourse.widgets.replay import Replay

        with self._lock:
            return Replay(list(self._snapshots), classes=self.classes, title=self.title)

    # ------------------------------------------------------------------ when to draw

    @contextlib.contextmanager
    def _spending(self):
        start = time.perf_counter()
        with self._lock:
            yield
            self._spent += time.perf_counter() - start

    @property
    def spent_share(self) -> float:
        """The share of the time since the start (up to `close`) that went into this panel."""
        return self._spent / max((self._stopped or time.perf_counter()) - self._start, 1e-9)

    def _update(self, force: bool = False) -> None:
        now = time.perf_counter()
        if self.backend == "silent" or not self._stale:
            return
        allowed = self.budget * (now - self._start)
        if not force and (now < self._next or self._spent + self._cost > allowed):
            return
        if self.backend == "terminal":
            self._print_line()
        else:
            self._show(self._render())
        cost = time.perf_counter() - now
        self._cost = cost if not self.frames_drawn else 0.5 * (self._cost + cost)
        self._spent += cost
        self.frames_drawn += 1
        self._next = time.perf_counter() + 0.2
        self._stale = False

    def close(self) -> None:
        """Draw the final state, whatever the budget says, and take no more rows. Calling it again does nothing."""
        with self._lock:
            if self._closed:
                return
            self._update(force=True)
            if self.backend == "terminal" and self._line:
                print(file=sys.stderr, flush=True)
            self._closed, self._stopped = True, time.perf_counter()

    def __enter__(self) -> Panel:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def __repr__(self):
        return f"<panel: {len(self.rows)} of {self.epochs} epochs{', closed' * self._closed}>"

    # ------------------------------------------------------------------ how to draw

    @property
    def png(self) -> bytes:
        """The current state as PNG bytes."""
        with self._lock:
            return self._render()

    def _show(self, data: bytes) -> None:
        from IPython.display import Image, display

        self._last_png = data
        if self._handle is None:
            self._handle = display(Image(data, format="png"), display_id=True)
        else:
            self._handle.update(Image(data, format="png"))

    def _print_line(self) -> None:
        row = self.rows[-1] if self.rows else {}
        metrics = "  ".join(f"{k} {v:.3f}" for k, v in row.items() if k not in PLAIN)
        text = f"{self.title + ': ' if self.title else ''}epoch {row.get('epoch', len(self.rows)):>3.0f}/{self.epochs}  {metrics}"
        print("\r" + text[:150].ljust(self._line), end="", file=sys.stderr, flush=True)
        self._line = len(text[:150])

    def _render(self) -> bytes:
        from sslcourse import show

        names = list(dict.fromkeys(k for row in self.rows for k in row if k not in PLAIN))
        with show._lock, show.matplotlib.rc_context(show._LOOK):
            figure = draw(self.rows, names, self.epochs, self.title, self._xy, self._labels, self.classes, self._filters, self._reach)
            return show.png(figure)


def draw(rows: Sequence[Mapping[str, float]], names: Sequence[str], epochs: int, title: str, xy, labels, classes, filters,
         reach: float):  # fmt: skip
    """One frame of the panel as a figure: charts on the left, the map in the middle, its legend and the filters beside it.

    Every axis has its place in advance: matplotlib's automatic layout would double the cost of a frame.
    """
    from sslcourse import show

    first = [n for n in names if n == "loss"] or [n for n in names if not is_probe(n) and not is_health(n)][:1]
    probes = [n for n in names if is_probe(n)]
    vital = [n for n in names if is_health(n)]
    others = [n for n in names if n not in (*first, *probes, *vital)]
    wide = xy is not None
    aside = filters is not None and not wide
    gauges = [(n, next(row[n] for row in reversed(rows) if n in row)) for n in vital][:4]
    width, height = show.WIDTH, 3.7 if gauges and wide else 3.3
    figure = show.Picture(width, height, colours=64 if filters is None else 256)
    chart_right = 0.45 if wide else 0.80 if aside else 0.97
    top = 0.90
    done = f"epoch {rows[-1].get('epoch', len(rows)):.0f} of {epochs}" if rows else f"epoch 0 of {epochs}"
    figure.text(0.012, 0.985, f"{title}   {done}" if title else done, fontsize=10.5, va="top", fontweight="bold", parse_math=False)
    bottom = 0.135 + 0.085 * len(gauges)
    if wide:  # loss above probes
        charts = _stacked(0.065, chart_right, bottom, top - 0.055)
    else:
        charts = _beside(0.065, chart_right, bottom, top - 0.06)
    for box, chart, empty in zip(charts, (first + ([] if probes else others[:3]), probes + (others[:2] if probes and len(probes) < 3 else [])),
                                 ("loss", "probe")):  # fmt: skip
        ax = figure.add_axes(box)
        _chart(ax, rows, chart, epochs, show, share=chart is not None and chart[:1] != first[:1], empty=empty)
        if wide and box is charts[0]:
            ax.set_xticklabels([])
        else:
            ax.set_xlabel("epoch", fontsize=8.5, labelpad=1)
    for i, (name, value) in enumerate(gauges):
        ax = figure.add_axes((0.17, 0.085 * (len(gauges) - i) - 0.062, chart_right - 0.29, 0.05))
        _gauge(ax, name, value, show)
    if wide:
        side = 0.93 * height / width
        ax = figure.add_axes((0.475, 0.035, side, 0.93))
        names_of = show._class_names(classes, labels)
        handles = show.scatter(ax, xy, labels, names_of, size=max(4.0, min(14.0, 2600 / max(1, len(xy)) ** 0.85)))
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set(visible=True, color="#C9D1D9")
        x = 0.475 + side + 0.008
        if handles and len(handles) <= 12:
            legend = figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(x - 0.006, 0.985), fontsize=8.5, handletextpad=0.1,
                                   labelspacing=0.28, borderpad=0.1)  # fmt: skip
            for handle in legend.legend_handles:
                handle.set_sizes([26])
                handle.set_alpha(1)
        _filter_sheet(figure, filters, x, 0.035, 0.985 - x, 0.30 if len(handles) > 6 else 0.5)
    elif aside:
        _filter_sheet(figure, filters, 0.83, 0.13, 0.155, 0.77)
    return figure


def _stacked(left, right, bottom, top):
    half = (top - bottom - 0.085) / 2
    return (left, top - half, right - left, half), (left, bottom, right - left, half)


def _beside(left, right, bottom, top):
    half = (right - left - 0.06) / 2
    return (left, bottom, half, top - bottom), (left + half + 0.06, bottom, half, top - bottom)


def _chart(ax, rows, keys, epochs: int, show, share: bool, empty: str) -> None:
    import matplotlib.ticker as ticker
    import matplotlib.transforms as mtransforms

    for n, key in enumerate(keys[:4]):
        x, y = show._series(rows, key)
        colour = show.COLOURS[(n + (4 if share else 0)) % 10]
        ax.plot(x, y, marker=show.MARKERS[n % 10], markersize=3.2, color=colour, linewidth=1.6)
    ax.set_xlim(0.5 if epochs == 1 else 1 - 0.02 * epochs, max(epochs, 2) + 0.02 * epochs)
    ax.xaxis.set_major_locator(ticker.MaxNLocator(7, integer=True, min_n_ticks=1))
    ax.yaxis.set_major_locator(ticker.MaxNLocator(4))
    ax.tick_params(labelsize=8, length=2.5, pad=2)
    ax.grid(axis="y")
    # Names with their last values stand above the chart, in the colours and markers of the curves: a legend without a box.
    pixels = ax.get_position().width * show.WIDTH * show.DPI
    at = 0.0
    for n, key in enumerate(keys[:4]):
        _, y = show._series(rows, key)
        text = f"{key} {show._number(y[-1])}" if y else key
        length = len(text) * 8.5 * show._LETTER * 0.93 + 22
        if n and at + length > pixels:  # no room: the curve is drawn all the same
            break
        ax.plot([(at + 5) / pixels], [1.0], marker=show.MARKERS[n % 10], color=show.COLOURS[(n + (4 if share else 0)) % 10], markersize=5,
                transform=ax.transAxes + mtransforms.ScaledTranslation(0, 8 / show.DPI, ax.figure.dpi_scale_trans), clip_on=False)  # fmt: skip
        ax.annotate(text, (at / pixels, 1), xycoords="axes fraction", xytext=(9.5, 6.6), textcoords="offset points", va="center", fontsize=8.5,
                    parse_math=False)  # fmt: skip
        at += length
    if not keys:
        ax.annotate(empty, (0, 1), xycoords="axes fraction", xytext=(1, 6.6), textcoords="offset points", va="center", fontsize=8.5,
                    color=show.SOFT)  # fmt: skip


def _gauge(ax, name: str, value: float, show) -> None:
    low, high = HEALTH[name]
    top = high if math.isfinite(high) else max(4 * low, value)
    start, stop = min(low, value), max(top, value)
    pad = 0.05 * ((stop - start) or 1)
    healthy = low <= value <= high
    ax.set(xlim=(start - pad, stop + pad), ylim=(-1, 1))
    ax.axis("off")
    ax.fill_between([start - pad, stop + pad], -0.55, 0.55, color="#E8ECF0", linewidth=0)
    ax.fill_between([low, top], -0.55, 0.55, color="#BFE3D5", linewidth=0)
    colour = show.RIGHT if healthy else show.WRONG
    ax.plot([value], [0], marker="o" if healthy else "X", color=colour, markersize=7, markeredgecolor="white", clip_on=False)
    ax.text(-0.02, 0.5, name, transform=ax.transAxes, ha="right", va="center", fontsize=8.5, parse_math=False)
    ax.text(1.02, 0.5, f"{show._number(value)} {'ok' if healthy else 'LOOK'}", transform=ax.transAxes, va="center", fontsize=8.5, color=colour,
            fontweight="normal" if healthy else "bold")  # fmt: skip


def _filter_sheet(figure, filters, left: float, bottom: float, width: float, height: float) -> None:
    """The kernels as one picture of square tiles in the given part of the figure."""
    if filters is None:
        return
    n, k = filters.shape[:2]
    pixels_wide, pixels_high = width * figure.bbox.width, height * figure.bbox.height
    columns = max(1, min(n, round(math.sqrt(n * pixels_wide / pixels_high))))
    rows = math.ceil(n / columns)
    sheet = np.full((rows * (k + 1) - 1, columns * (k + 1) - 1, 3), 255, np.uint8)
    for i, tile in enumerate(filters):
        y, x = i // columns * (k + 1), i % columns * (k + 1)
        sheet[y : y + k, x : x + k] = tile
    scale = min(pixels_wide / sheet.shape[1], pixels_high / sheet.shape[0])
    ax = figure.add_axes((left, bottom, sheet.shape[1] * scale / figure.bbox.width, sheet.shape[0] * scale / figure.bbox.height))
    ax.imshow(sheet, interpolation="nearest", aspect="auto")
    ax.axis("off")
