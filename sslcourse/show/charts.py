"""Figures and tables: pure functions from numbers to a picture that displays itself at the end of a cell.

No pyplot anywhere: every figure owns its canvas, so figures can be drawn from a slider's callback (which may
run on another thread), none stays open, and no backend has to be chosen. `png(figure)` gives the bytes.

All figures share one look: ten class colours that colour-blind readers can tell apart (after Okabe and Ito,
and Paul Tol) together with ten markers, so that no distinction rests on colour alone; legends outside the
data; no ground of their own, and inks that read on a white page and on a dark one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import POSITIVE, REAL, takes
from sslcourse.show.look import (
    DARK,
    DPI,
    INK,
    LINE_HEIGHT,
    MARKERS,
    PALE,
    RIGHT,
    SOFT,
    WIDTH,
    WRONG,
    Picture,
    as_array,
    class_names_of,
    colour_of,
    in_course_style,
    ink_on,
    label_array,
    series_of,
    to_uint8,
    two_toned,
    wrapped,
)
from sslcourse.show.tables import number_text


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


def _lines_of_runs(ax, runs: Mapping[str, Sequence], chart: Sequence[str]) -> Iterator[tuple[str, Line2D]]:
    """A line for each run and metric of one chart. Yields those that need a name in the legend, with it."""
    n = 0
    for name, rows in runs.items():
        for key in chart:
            x, y = series_of(rows, key)
            (line,) = ax.plot(
                x, y, marker=MARKERS[n % 10], markersize=3.5 if len(x) > 1 else 6, color=colour_of(n)
            )
            label = " ".join(filter(None, (name, key if len(chart) > 1 else "")))
            if label:
                yield label, line
            n += 1


def _baselines(ax, values: Mapping[str, float]) -> None:
    """Horizontal lines, their names on the right, and room for them on the axis."""
    if not values:
        return
    low, high = ax.get_ylim()
    low, high = min(low, *values.values()), max(high, *values.values())
    ax.set_ylim(low - 0.04 * (high - low or 1), high + 0.06 * (high - low or 1))
    low, high = ax.get_ylim()
    heights = _apart(list(values.values()), 0.085 * (high - low))
    for (name, value), at in zip(values.items(), heights):
        ax.axhline(value, color=SOFT, linewidth=1.1, linestyle=(0, (4, 2)))
        ax.annotate(
            f"{name}  ",
            (1.01, at),
            xycoords=("axes fraction", "data"),
            fontsize=8.5,
            color=SOFT,
            va="center",
            annotation_clip=False,
        )


@in_course_style
def history(
    rows, keys: Sequence = ("loss",), title: str | None = None, baselines: Mapping | None = None
) -> Picture:
    """Metrics over epochs, one small chart for each.

    Args:
        rows: what `fit` returned or `epochs` yielded; or {run name: rows} to compare runs.
        keys: metrics to draw, as named in the rows; a tuple of names shares one chart.
        baselines: {metric: {name: value}}: horizontal lines with their names.
    """
    runs = rows if isinstance(rows, Mapping) else {"": rows}
    runs = {name: list(r) for name, r in runs.items()}
    if not any(runs.values()):
        raise CourseError(
            "no rows to draw: pass what fit(...) returned, or the rows that epochs(...) yielded"
        )
    keys = [keys] if isinstance(keys, str) else list(keys)
    known = list(dict.fromkeys(k for r in runs.values() for row in r for k in row))
    charts = [(k,) if isinstance(k, str) else tuple(k) for k in keys]
    for k in (k for chart in charts for k in chart):
        if k not in known:
            raise CourseError(f"no row has {k!r}; the rows have {', '.join(map(str, known))}")
    baselines = baselines or {}
    columns = min(3, len(charts))
    down = math.ceil(len(charts) / columns)
    figure = Picture(
        min(WIDTH, 0.8 + 3.6 * columns), down * 2.7 + (0.3 if title else 0), layout="constrained"
    )
    axes = figure.subplots(down, columns, squeeze=False).ravel()
    handles: dict = {}
    for ax, chart in zip(axes, charts):
        for label, line in _lines_of_runs(ax, runs, chart):
            handles.setdefault(label, line)
        _baselines(ax, {k: v for key in chart for k, v in baselines.get(key, {}).items()})
        ax.set_title(", ".join(chart), fontsize=10)
        ax.set_xlabel("epoch")
        ax.grid(axis="y")
        _whole_numbers(ax.xaxis)
        ax.yaxis.set_major_locator(MaxNLocator(5))
    for ax in axes[len(charts) :]:
        ax.axis("off")
    if handles and (len(handles) > 1 or len(runs) > 1):
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=min(4, len(handles))
        )
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


@takes(chance=REAL)
@in_course_style
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
        raise CourseError(
            f'a value of {largest:g} is no share; pass shares (0.55 for 55 %), or unit="" for plain numbers'
        )
    names = [wrapped(n, 230, 9.5, 2) for n in pairs]
    mean, std = (factor * np.array([p[i] for p in pairs.values()]) for i in (0, 1))
    figure = Picture(
        WIDTH * 0.85,
        0.55 + 0.36 * len(pairs) + (0.3 if title else 0) + (0.2 if chance is not None else 0),
        layout="constrained",
    )
    ax = figure.subplots()
    at = np.arange(len(pairs))
    drawn = ax.barh(
        at,
        mean,
        0.66,
        color=[colour_of(i) for i in range(len(pairs))],
        xerr=std if std.any() else None,
        error_kw={"ecolor": DARK, "elinewidth": 1.2, "capsize": 3},
    )
    if drawn.errorbar is not None:
        two_toned(*drawn.errorbar.get_children())
    low, high = min(0, (mean - std).min()), max(0, (mean + std).max(), factor * (chance or 0))
    span = (high - low) or 1
    for i in at:
        text = f"{mean[i]:.1f}" if factor == 100 else number_text(float(mean[i]))
        text += (
            (f" \u00b1 {std[i]:.1f}" if factor == 100 else f" \u00b1 {number_text(float(std[i]))}")
            if std[i]
            else ""
        )
        ax.text(
            high + 0.012 * span,  # in a column: the line of chance crosses no number
            float(i),
            f"{text} {unit}".strip(),
            va="center",
            fontsize=9.5,
            parse_math=False,
        )
    ax.set_yticks(at, names, fontsize=9.5)
    ax.set_xlim(low - (0.03 * span if low < 0 else 0), high + (0.21 if std.any() else 0.15) * span)
    ax.set_ylim(len(pairs) - 0.45, -0.55)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.axvline(0, color=INK, linewidth=1)
    if chance is not None:
        two_toned(ax.axvline(factor * chance, color=DARK, linewidth=1.2, linestyle=(0, (4, 2))))
        ax.annotate(
            f"chance {factor * chance:.1f} {unit}".strip(),
            (factor * chance, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="left",
            va="bottom",
            fontsize=8.5,
            color=INK,
        )
    if title:
        ax.set_title(title, pad=18 if chance is not None else 6)
    return figure


@takes(size=POSITIVE)
def scatter(ax, xy: np.ndarray, labels: np.ndarray, names: Sequence[str], size: float = 15) -> list:
    """Points by class, colour and marker together. Returns one handle per class that occurs."""
    handles = []
    for c in range(len(names)):
        members = labels == c
        if members.any():
            handles.append(
                ax.scatter(
                    *xy[members].T,
                    s=size,
                    c=colour_of(c),
                    marker=MARKERS[c % 10],
                    linewidths=0,
                    alpha=0.8,
                    label=names[c],
                )
            )
    unknown = labels < 0
    if unknown.any():
        handles.append(
            ax.scatter(*xy[unknown].T, s=size * 0.7, c=PALE, marker=".", linewidths=0, label="unlabelled")
        )
    return handles


def _thumbnails(ax, xy: np.ndarray, images: np.ndarray, labels: np.ndarray, across: int = 11) -> None:
    """Pictures at some of the points, framed in their class's colour: one in each cell of a grid over the
    map.
    """
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    low, high = xy.min(0), xy.max(0)
    cell = ((xy - low) / np.maximum(high - low, 1e-9) * (across - 1e-6)).astype(int)
    centre = (cell + 0.5) / across * (high - low) + low
    taken = set()
    for i in np.argsort(((xy - centre) ** 2).sum(1)):
        if tuple(cell[i]) not in taken:
            taken.add(tuple(cell[i]))
            picture = OffsetImage(
                images[i], zoom=24 / max(images.shape[1:3]) * 72 / DPI * 1.1, interpolation="nearest"
            )
            colour = colour_of(labels[i]) if labels[i] >= 0 else PALE
            ax.add_artist(
                AnnotationBbox(
                    picture,
                    xy[i],
                    pad=0.09,
                    bboxprops={"edgecolor": colour, "facecolor": colour, "linewidth": 0},
                )
            )


@in_course_style
def embedding(
    xy, labels, classes: Sequence[str] | None = None, images=None, title: str | None = None
) -> Picture:
    """A map of features in two dimensions, coloured by class.

    Args:
        xy: (N, 2), or {panel title: (N, 2)} for several maps of the same samples.
        labels: (N,) class numbers, -1 where unknown.
        images: (N, 3, H, W): some are drawn at their points.
    """
    panels = xy if isinstance(xy, Mapping) else {"": xy}
    panels = {str(k): as_array(v, "xy", 2) for k, v in panels.items()}
    n = len(next(iter(panels.values())))
    for points in panels.values():
        if points.shape != (n, 2):
            raise CourseError(f"xy has shape {points.shape}; expected ({n}, 2), two coordinates per sample")
    labels = label_array(labels, n)
    names = class_names_of(classes, labels)
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
            spine.set(visible=True, color=INK, alpha=0.5)
        if name:
            ax.set_title(wrapped(name, side * DPI - 10, 10, 2), fontsize=10)
    for ax in axes[len(panels) :]:
        ax.axis("off")
    order = [name for name in [*names, "unlabelled"] if name in handles]
    legend = figure.legend(
        [handles[k] for k in order],
        order,
        loc="outside right upper",
        handletextpad=0.2,
        borderaxespad=0.2,
        labelspacing=0.45,
    )
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):  # all are, being made by scatter
            handle.set_sizes([36])
            handle.set_alpha(1)
    if title:
        figure.suptitle(title, fontsize=11.5, x=0.01, ha="left")
    return figure


@in_course_style
def factor_table(table: Mapping[str, Mapping[str, float]], title: str | None = None) -> Picture:
    """What each representation kept: one row per method, one column per factor, dark where nothing can be
    read out.

    Args:
        table: {method name: {factor: score}}, scores from 0 (chance) to 1 (read out perfectly), as
            `evaluate.factor_table` returns them. Missing or NaN scores stay empty.
    """
    if not table:
        raise CourseError("nothing to draw: pass {method name: {factor: score}}")
    factors = list(dict.fromkeys(f for row in table.values() for f in row))
    scores = np.array([[float(row.get(f, math.nan)) for f in factors] for row in table.values()])
    names = [wrapped(n, 150, 9.5, 2) for n in table]
    figure = Picture(WIDTH, 0.95 + 0.36 * len(names) + (0.3 if title else 0), layout="constrained")
    ax = figure.subplots()
    colour = matplotlib.colormaps["cividis"]
    shown = ax.imshow(np.ma.masked_invalid(scores), cmap=colour, vmin=0, vmax=1, aspect="auto")
    size = 9.5 if len(factors) <= 12 else 8
    for (i, j), v in np.ndenumerate(scores):
        if math.isfinite(v):
            ax.text(
                j,
                i,
                f"{v:.2f}".replace("-0.00", "0.00"),
                ha="center",
                va="center",
                fontsize=size,
                color=ink_on(colour(min(max(v, 0), 1))),
            )
    ax.set_xticks(
        range(len(factors)),
        [str(f).replace("_", "\n") for f in factors],
        fontsize=9 if len(factors) <= 12 else 8,
    )
    ax.xaxis.tick_top()
    ax.set_yticks(range(len(names)), names, fontsize=9.5)
    ax.tick_params(length=0)
    ax.set_xticks(np.arange(len(factors) + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", alpha=1, linewidth=2)
    ax.tick_params(which="minor", length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(shown, ax=ax, fraction=0.025, pad=0.015, ticks=[0, 0.5, 1])
    bar.ax.set_yticklabels(["0 lost", "0.5", "1 kept"] if len(names) > 1 else ["0", ".5", "1"], fontsize=8.5)
    bar.outline.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=11.5, x=0.01, ha="left")
    return figure


@takes(temperature=REAL)
@in_course_style
def similarity(z1, z2, temperature: float, names: Sequence | None = None) -> Picture:
    """A contrastive loss looked at pair by pair: cosine similarities, and how the softmax shares out
    attention.

    Left: everybody against everybody, partners outlined, nobody compared with itself. Right: the softmax of
        each row at
    this temperature: the outlined cell pulls the anchor (by what is missing to 1), every other pushes by its
        share.

    Args:
        z1, z2: (n, d) projections of two views of the same n images, 2 to 12 of them.
        temperature: above 0.
        names: one short text per image.
    """
    from matplotlib.patches import Rectangle

    a, b = as_array(z1, "z1", 2), as_array(z2, "z2", 2)
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
            ax.add_patch(
                Rectangle(
                    (partner[i] - 0.5, i - 0.5),
                    1,
                    1,
                    fill=False,
                    linewidth=1.8,
                    edgecolor="black" if ax is left else "#FF6B35",
                )
            )
            if n <= 4:
                for j in range(2 * n):
                    if i != j:
                        rgb = matplotlib.colormaps[colour]((values[i, j] - low) / (1 - low))
                        ax.text(
                            j,
                            i,
                            f"{values[i, j]:.2f}",
                            ha="center",
                            va="center",
                            fontsize=7.5,
                            color=ink_on(rgb),
                        )
        size = 8.5 if n <= 8 else 7
        ax.set_xticks(
            range(2 * n), ticks, fontsize=size, rotation=90 if max(map(len, ticks)) > 3 or n > 6 else 0
        )
        ax.set_yticks(range(2 * n), ticks, fontsize=size)
        ax.tick_params(length=0)
        ax.set_title(heading, fontsize=10)
        bar = figure.colorbar(
            shown, ax=ax, orientation="horizontal", fraction=0.045, pad=0.02, ticks=[low, (low + 1) / 2, 1]
        )
        bar.outline.set_visible(False)
        for spine in ax.spines.values():
            spine.set_visible(False)
    left.set_ylabel("anchor")
    return figure


@takes(low=REAL, high=REAL, size=POSITIVE)  # the value may be anything: to show what is wrong it is here
def gauge(ax, name: str, value: float, low: float, high: float, size: float = 9.5) -> bool:
    """One horizontal gauge: the healthy range as a band, the value as a mark and a number. Returns whether it
    is healthy.
    """
    healthy = low <= value <= high
    finite = value if math.isfinite(value) else high
    start, stop = min(low, finite), max(high, finite)
    pad = 0.08 * ((stop - start) or 1)
    ax.set(xlim=(start - pad, stop + pad), ylim=(-1, 1), yticks=[])
    ax.axhspan(-0.32, 0.32, color=SOFT, alpha=0.18, linewidth=0)
    ax.fill_betweenx([-0.32, 0.32], low, high, color=RIGHT, alpha=0.25, linewidth=0)
    colour = RIGHT if healthy else WRONG
    ax.plot(
        [finite],
        [0],
        marker="o" if healthy else "X",
        markersize=10,
        color=colour,
        markeredgecolor="white",
        clip_on=False,
    )
    ax.set_xticks([low, high], [f"{low:g}", f"{high:g}"], fontsize=8)
    ax.tick_params(length=2, pad=1)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.text(
        -0.02, 0.5, name, transform=ax.transAxes, ha="right", va="center", fontsize=size, parse_math=False
    )
    ax.text(
        1.02,
        0.5,
        f"{number_text(value)}  {'ok' if healthy else 'LOOK'}",
        transform=ax.transAxes,
        va="center",
        fontsize=size,
        color=colour,
        fontweight="normal" if healthy else "bold",
    )
    return healthy


@in_course_style
def health(report: Mapping[str, tuple]) -> Picture:
    """Gauges: the healthy range as a band, the value as a dot inside it, or a cross outside with what that
    means.

    Args:
        report: {name: (value, healthy from, healthy to, text)}, as `health.diagnose(...).gauges()` returns
            it.
    """
    if not report:
        raise CourseError("nothing to draw: pass {name: (value, healthy from, healthy to, text)}")
    rows = []
    for name, entry in report.items():
        if len(entry) != 4:
            raise CourseError(
                f"{name!r} has {len(entry)} entries; pass (value, healthy from, healthy to, text)"
            )
        value, low, high, text = entry
        unhealthy = not low <= value <= high
        rows.append(
            (
                str(name),
                float(value),
                float(low),
                float(high),
                wrapped(text, 760, 8.5, 3) if unhealthy else "",
            )
        )
    heights = [46 + (r[4].count("\n") + 1) * 8.5 * LINE_HEIGHT * bool(r[4]) for r in rows]
    total = sum(heights) + 8
    figure = Picture(WIDTH, total / DPI)
    y = total - 4
    for (name, value, low, high, text), height in zip(rows, heights):
        ax = figure.add_axes((0.21, (y - 28) / total, 0.60, 24 / total))
        gauge(ax, wrapped(name, 150, 9.5, 2), value, low, high)
        if text:
            figure.text(0.03, (y - 46) / total, text, fontsize=8.5, color=INK, va="top", parse_math=False)
        y -= height
    return figure


@in_course_style
def curve(
    x: Sequence,
    ys: Mapping[str, Sequence],
    xlabel: str,
    ylabel: str,
    log: bool = False,
    title: str | None = None,
) -> Picture:
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
        raise CourseError(
            f"x={x[:5]} cannot stand on a logarithmic axis; all must be numbers above 0, or pass log=False"
        )
    figure = Picture(WIDTH * 0.85, 3.4 + (0.2 if title else 0), layout="constrained")
    ax = figure.subplots()
    for n, (name, values) in enumerate(ys.items()):
        if len(values) != len(x):
            raise CourseError(f"{name!r} has {len(values)} values for {len(x)} places on the x axis")
        pairs = np.array([(math.nan, 0.0) if v is None else _mean_std(v, name) for v in values])
        mean, std = pairs.T
        colour = colour_of(n)
        if np.nanmax(std, initial=0) > 0:
            ax.fill_between(at, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)
        ax.plot(at, mean, marker=MARKERS[n % 10], markersize=5, color=colour, label=str(name))
    if log:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")  # matplotlib's own would write formulas
    if words:
        ax.set_xticks(at, [wrapped(v, 560 / len(x), 9, 3) for v in x])
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
