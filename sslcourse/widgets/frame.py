"""One frame of the panel as a figure: charts, gauges, a map, filters, rows of pictures. Panel and replay both
draw by it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

HEALTH = {
    "spread": (0.3, 1.05),
    "effective rank": (4.0, math.inf),
    "alignment": (0.0, 1.4),
    "uniformity": (-4.2, -1.5),
    "loss / log(2n-1)": (0.05, 0.95),
}  # as in sslcourse.evaluate.health, for a value that comes without its range


def is_probe(name: str) -> bool:
    """Whether a metric is a score of a probe, which gets a chart of its own."""
    return any(word in name.lower() for word in ("knn", "linear", "probe", "accuracy"))


def is_health(name: str) -> bool:
    return name in HEALTH


def draw(
    rows: Sequence[Mapping[str, float]],
    names: Sequence[str],
    epochs: int,
    title: str,
    xy,
    labels,
    classes,
    filters,
    reach: float,
    pictures: Mapping[str, np.ndarray] | None = None,
):
    """One frame of the panel as a figure: charts and gauges on the left, the map, beside it the legend and
    the filters, below rows of pictures.

    Everything stands on one page in pixels. Axes objects of matplotlib's own, with their ticks and spines,
    took half of a frame's time (131 ms of processor time against 70); without them twice as many frames fit
    in the budget."""
    from sslcourse import show
    from sslcourse.show import sheets

    first, second, probes, vital = _shares_of_charts(rows, names)
    wide, aside = xy is not None, filters is not None and xy is None
    height = 334 if vital and wide else 298
    below = [(name, [show.enlarge(tile, 46) for tile in row]) for name, row in (pictures or {}).items()]
    sheet = sheets.Sheet(
        show.WIDTH * show.DPI,
        height + sum(row[0].shape[0] + 6 for _, row in below),
        colours=64 if filters is None and not below else 256,
    )
    done = f"epoch {rows[-1].get('epoch', len(rows)) if rows else 0:.0f} of {epochs}"
    sheet.text(10, 6, f"{title}   {done}" if title else done, 10.5, ha="left", fontweight="bold")
    bottom = height - 36 - 25 * len(vital)
    if wide:
        middle = (44 + bottom) // 2
        boxes = (52, 48, 366, middle - 8), (52, middle + 20, 366, bottom)
    else:
        end = 640 if aside else 796
        boxes = (52, 52, (52 + end) // 2 - 26, bottom), ((52 + end) // 2 + 26, 52, end, bottom)
    _chart(sheet, boxes[0], rows, first, epochs, 0, "loss", show, labelled=not wide)
    _chart(sheet, boxes[1], rows, second, epochs, 4 if probes else 5, "probe", show, labelled=True)
    for i, name in enumerate(vital):
        value = next(row[name] for row in reversed(rows) if name in row)
        _gauge(sheet, name, value, height - 24 - 25 * (len(vital) - 1 - i), show)
    if wide:
        _map_with_legend(sheet, xy, labels, classes, filters, height, reach)
    elif aside:
        _filter_sheet(sheet, filters, 668, 52, sheet.width - 668 - 10, bottom - 52)
    _picture_rows(sheet, below, height)
    return sheet.done(exact=True)


def _shares_of_charts(
    rows: Sequence[Mapping[str, float]], names: Sequence[str]
) -> tuple[list[str], list[str], list[str], list[str]]:
    """The metrics of the first chart, of the second, which of them are probes, and those that are gauges."""
    plain = [n for n in names if not is_probe(n) and not is_health(n)]
    first = [n for n in names if n == "loss"] or plain[:1]
    probes = [n for n in names if is_probe(n)]
    others = [n for n in plain if n not in first]
    # Only what has a similar size shares a chart: a queue's age beside an accuracy would flatten it.
    size = {
        n: max((abs(row[n]) for row in rows if n in row and math.isfinite(row[n])), default=0.0)
        for n in others
    }
    like = 1.5 if probes else 10 * size[others[0]] if others else 0.0
    beside = [n for n in others if size[n] <= like and (probes or size[n] >= like / 100)]
    second = probes + beside[: max(0, 3 - len(probes))]
    return first, second, probes, [n for n in names if is_health(n)][:4]


def _map_with_legend(sheet, xy, labels, classes, filters, height: int, reach: float) -> None:
    """The map, and right of it the legend (of 12 classes at most) above the filters."""
    from sslcourse.show import look

    side = min(height - 20, 288)
    _map(sheet, xy, labels, 396, (height - side) // 2, side, reach)
    x, y = 396 + side + 10, 10
    present = sorted({int(c) for c in labels})
    if len(present) <= 12:
        names = look.class_names_of(classes, labels)
        legend = _legend(tuple((c, names[c] if c >= 0 else "unlabelled") for c in present))
        sheet.paste(legend, x, 8)
        y = 8 + legend.shape[0] + 12
    _filter_sheet(sheet, filters, x, y, sheet.width - x - 8, height - 10 - y)


def _picture_rows(sheet, rows: Sequence[tuple[str, list[np.ndarray]]], top: int) -> None:
    """Rows of tiles below each other, their names on the left."""
    for name, row in rows:
        sheet.text(100, top + row[0].shape[0] / 2, name, 9, ha="right", va="center")
        for i, tile in enumerate(row):
            sheet.paste(tile, 110 + i * (tile.shape[1] + 4), top)
        top += row[0].shape[0] + 6


def _steps(low: float, high: float, about: int) -> list[float]:
    """Round numbers from low to high, about so many."""
    raw = (high - low) / about
    unit = 10 ** math.floor(math.log10(raw))
    step = min((s * unit for s in (1, 2, 2.5, 5, 10)), key=lambda s: abs(math.log(s / raw)))
    return [step * i for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _chart(sheet, box, rows, keys, epochs: int, shift: int, empty: str, show, labelled: bool) -> None:
    """Curves over epochs in the box (left, top, right, bottom), their names with the last values above it."""
    from sslcourse.show import look, tables

    left, top, right, bottom = map(int, box)
    series = [(key, *look.series_of(rows, key)) for key in keys[:4]]
    finite = [v for _, _, y in series for v in y if math.isfinite(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    low, high = low - 0.06 * (high - low), high + 0.06 * (high - low)
    last = max([epochs, 2, *(x[-1] for _, x, _ in series if x)])
    at_x = lambda e: left + 9 + (e - 1) / (last - 1) * (right - left - 18)
    at_y = lambda v: bottom - (v - low) / (high - low) * (bottom - top)
    for v in _steps(low, high, 4 if bottom - top > 60 else 3):
        y = round(at_y(v))
        sheet.canvas[y, left:right] = 228
        sheet.text(left - 6, y, f"{v:.3g}" if finite else "", 8, ha="right", va="center")
    sheet.canvas[top:bottom, left] = sheet.canvas[bottom, left:right] = 150
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**6) if epochs / s <= 8)
    for e in {1, *range(step, epochs + 1, step)} if labelled else ():
        sheet.canvas[bottom : bottom + 3, round(at_x(e))] = 150
        if e > 1 or step == 1 or step > 2:
            sheet.text(at_x(e), bottom + 4, str(e), 8)
    if labelled:
        sheet.text((left + right) / 2, bottom + 18, "epoch", 8.5)
    at = float(left)
    for n, (key, x, y) in enumerate(series):
        mark = {"marker": show.MARKERS[n % 10], "color": show.COLOURS[(n + shift) % 10]}
        width = lambda text: len(text) * 8.5 * look.LETTER_WIDTH * 0.93 + 24
        text = f"{key} {tables.number_text(y[-1])}" if y else key
        if n and at + width(text) > right + 20:
            text = key  # the number must go, or the curve: one without a name says nothing
            if at + width(text) > right + 20:
                continue
        sheet.axes.plot(
            [at_x(e) for e in x],
            [at_y(v) for v in y],
            markersize=3.4 if len(x) < 60 else 0,
            linewidth=1.6,
            **mark,
        )
        sheet.axes.plot([at + 5], [top - 12], markersize=5, **mark)
        sheet.text(at + 13, top - 12, text, 8.5, ha="left", va="center")
        at += width(text)
    if not keys:
        sheet.text(left, top - 12, empty, 8.5, ha="left", va="center", color=show.SOFT)


def _gauge(sheet, name: str, value: float, y: int, show) -> None:
    """A vital sign: its healthy range as a band, the value as a dot inside it or a cross outside."""
    from sslcourse.show import tables

    low, high = HEALTH[name]
    top = high if math.isfinite(high) else max(4 * low, value)
    start, stop = min(low, value), max(top, value)
    start, stop = start - 0.05 * (stop - start), stop + 0.05 * (stop - start)
    at = lambda v: 122 + (v - start) / (stop - start) * 150
    sheet.canvas[y : y + 9, 122:272] = (232, 236, 240)
    sheet.canvas[y : y + 9, round(at(low)) : round(at(top))] = (191, 227, 213)
    healthy = low <= value <= high
    colour = show.RIGHT if healthy else show.WRONG
    sheet.axes.plot(
        [at(value)],
        [y + 4.5],
        marker="o" if healthy else "X",
        color=colour,
        markersize=7,
        markeredgecolor="white",
    )
    sheet.text(114, y + 4, name, 8.5, ha="right", va="center")
    sheet.text(
        280,
        y + 4,
        f"{tables.number_text(value)} {'ok' if healthy else 'LOOK'}",
        8.5,
        ha="left",
        va="center",
        color=colour,
        fontweight="normal" if healthy else "bold",
    )


def _map(sheet, xy, labels, left: int, top: int, side: int, reach: float) -> None:
    edge = sheet.canvas[top : top + side, left : left + side]
    edge[:] = 201
    edge[1:-1, 1:-1] = 255
    x, y = left + side / 2 + xy[:, 0] / reach * side / 2, top + side / 2 - xy[:, 1] / reach * side / 2
    size = max(2.2, min(4.2, 60 / max(1, len(xy)) ** 0.42))
    for c in sorted({int(c) for c in labels}):
        one = labels == c
        sheet.axes.plot(
            x[one], y[one], linestyle="none", markersize=size, markeredgewidth=0, alpha=0.8, **_mark(c)
        )


def _mark(c: int) -> dict[str, Any]:
    """Marker and colour of a class; -1 stands for no class."""
    from sslcourse import show

    if c < 0:
        return {"marker": ".", "color": "#B8C0C8"}
    return {"marker": show.MARKERS[c % 10], "color": show.COLOURS[c % 10]}


@functools.lru_cache(8)
def _legend(entries: tuple[tuple[int, str], ...]) -> np.ndarray:
    """Markers and names of the classes as pixels (h, w, 3): the same in every frame, so it is drawn once."""
    from sslcourse.show import look, sheets

    longest = max((len(name) for _, name in entries), default=1)
    sheet = sheets.Sheet(min(22 + 1.25 * longest * 8.5 * look.LETTER_WIDTH, 140), 17 * len(entries) + 2)
    for i, (c, name) in enumerate(entries):
        sheet.axes.plot([7], [17 * i + 9], markersize=6, markeredgewidth=0, **_mark(c))
        sheet.text(17, 17 * i + 9, name, 8.5, ha="left", va="center_baseline")
    return look.pixels(sheet.done(exact=True))


def _filter_sheet(sheet, filters, left: int, top: int, width: int, height: int) -> None:
    """The kernels as square tiles, as large as the place allows in whole multiples of their pixels."""
    if filters is None or width < 20 or height < 20:
        return
    n, k = filters.shape[:2]
    # The number of columns that gives the largest tiles.
    scale, columns = max(
        (min((width + 2) // c - 2, (height + 2) // math.ceil(n / c) - 2) / k, c) for c in range(1, n + 1)
    )
    side = max(2, int(scale) * k if scale >= 1 else int(scale * k))
    at = np.arange(side) * k // side
    for i, tile in enumerate(filters):
        y, x = top + i // columns * (side + 2), left + i % columns * (side + 2)
        if y + side <= sheet.height:
            sheet.paste(tile[at][:, at], x, y)
