"""Bars of the results wall, verdicts and intervals of claims."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import REAL, takes
from sslcourse.show.look import (
    COLOURS,
    DARK,
    INK,
    PALE,
    RIGHT,
    SOFT,
    WIDTH,
    WRONG,
    Picture,
    in_course_style,
    two_toned,
    wrapped,
)

# ------------------------------------------------------------------------------------------- the results wall

_VERDICT_COLOURS = {"pass": RIGHT, "inconclusive": PALE, "fail": WRONG}
_VERDICT_SIGNS = {"pass": "\u2713", "inconclusive": "?", "fail": "\u2717"}


@takes(chance=REAL)
@in_course_style
def wall(
    rows: Mapping[str, Mapping],
    chance: float | None = None,
    title: str | None = None,
    keys: Mapping[str, str] | None = None,
    what: str = "accuracy on the test split in per cent",
) -> Picture:
    """Every method in one picture: a bar for the linear probe, marks for kNN and for few labels, the seconds
    of training of the quickest seed behind it.

    Args:
        rows: {name: {"linear": [one per seed], "kNN": [...], "few labels": [...], "seconds": [...], "trained"
            or "mine": True or absent, "full": a row of the same method trained for longer, "own": what a
            random network that reads as this method does scores in the bar's reading, one per seed, or
            absent}}, shares from 0 to 1, as in the result files of the course; "chance" is left out.
            Baselines, which were not trained, come first and are grey.
        chance: what guessing scores.
        keys: other readings of the rows and what they are called; the first is the bar, up to two more are
            marks.
        what: what the axis says.
    """
    keys = dict(keys or {"linear": "linear probe", "kNN": "kNN", "few labels": "few labels"})
    bar, *marked = keys
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    shown = {name: row for name, row in rows.items() if name != "chance" and row.get(bar)}
    if not shown:
        raise CourseError(f'nothing to draw: pass {{name: {{"{bar}": [0.5, 0.6]}}}}')
    trained = {
        name: any(bool(row.get(key)) for key in ("seconds", "trained", "mine")) for name, row in shown.items()
    }
    order = sorted(shown, key=lambda n: (trained[n], statistics.fmean(shown[n][bar])))
    figure = Picture(WIDTH, 1.15 + 0.34 * len(order) + (0.25 if title else 0), layout="constrained")
    ax = figure.subplots()
    for i, name in enumerate(order):
        row = shown[name]
        linear, mean = 100 * np.array(row[bar], float), 100 * statistics.fmean(row[bar])
        colour = COLOURS[1] if row.get("mine") else COLOURS[0] if trained[name] else PALE
        _bar(ax, i, row[bar], color=colour)
        full = row.get("full", {}).get(bar)
        if full:
            _bar(ax, i, full, color="none", edgecolor=colour, linewidth=1.4)
        if row.get("own"):
            at = 100 * statistics.fmean(row["own"])
            two_toned(*ax.plot([at, at], [i - 0.32, i + 0.32], color=DARK, linewidth=1.6))
        for key, marker in zip(marked, "oD"):
            if row.get(key):
                ax.plot(
                    100 * float(np.mean(row[key])),
                    i,
                    marker,
                    color="white",
                    markeredgecolor=DARK,
                    markersize=5.5,
                    markeredgewidth=1.2,
                )
        text = f"{mean:.1f}" + (f" ± {linear.std(ddof=1):.1f}" if len(linear) > 1 else "")
        text += f"   {_gain(row[bar], row['own'])}" if row.get("own") else ""
        text += f"   {min(row['seconds']):.0f} s" if row.get("seconds") else ""
        if full:
            text += f"   full: {100 * statistics.fmean(full):.1f}"
            text += f"   {_gain(full, row['full']['own'])}" if row["full"].get("own") else ""
            text += f"   {min(row['full']['seconds']):.0f} s" if row["full"].get("seconds") else ""
        ax.text(102, i, text, va="center", fontsize=9)
    names = [wrapped(n + (" (yours)" if shown[n].get("mine") else ""), 190, 9.5, 2) for n in order]
    ax.set_yticks(range(len(order)), names, fontsize=9.5)
    ax.set_xlim(0, 100)
    ax.set_ylim(len(order) - 0.45, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(
        f"{what}\nright: {keys[bar]}"
        + ", its gain over its own random network" * any(row.get("own") for row in shown.values())
        + ", and seconds of training (quickest seed)" * any(row.get("seconds") for row in shown.values()),
        loc="left",  # there is room to the right, below the figures
    )
    if chance is not None:
        two_toned(ax.axvline(100 * chance, color=DARK, linewidth=1.1, linestyle=(0, (4, 2))))
    marks = [
        Line2D([], [], color=COLOURS[0], linewidth=7, label=keys[bar]),
        *(
            [Rectangle((0, 0), 1, 1, fill=False, edgecolor=COLOURS[0], label=f"{keys[bar]}, full recipe")]
            if any(row.get("full") for row in shown.values())
            else []
        ),
        *(
            Line2D(
                [],
                [],
                marker=m,
                linestyle="",
                color="white",
                markeredgecolor=DARK,
                markersize=5.5,
                label=keys[k],
            )
            for k, m in zip(marked, "oD")
        ),
        *(
            [
                Line2D(
                    [],
                    [],
                    marker="|",
                    linestyle="",
                    color=INK,
                    markersize=9,
                    markeredgewidth=1.6,
                    label="its own random network",
                )
            ]
            if any(row.get("own") for row in shown.values())
            else []
        ),
        *(
            [Line2D([], [], color=INK, linewidth=1.1, linestyle=(0, (4, 2)), label="chance")]
            if chance is not None
            else []
        ),
    ]
    figure.legend(handles=marks, loc="outside upper left", ncols=4, fontsize=9)
    if title:
        ax.set_title(title)
    return figure


def _bar(ax, at: int, shares: Sequence[float], **look) -> None:
    """A bar of the mean, and the spread over seeds where there are several."""
    values = 100 * np.array(shares, float)
    spread = values.std(ddof=1) if len(values) > 1 else None
    errors = {"ecolor": DARK, "elinewidth": 1.1, "capsize": 2.5}
    drawn = ax.barh(at, values.mean(), 0.64, xerr=spread, error_kw=errors, **look)
    if drawn.errorbar is not None:
        two_toned(*drawn.errorbar.get_children())


def _gain(shares: Sequence[float], own: Sequence[float]) -> str:
    """How far a method is ahead of its own random network, seed by seed where the seeds are the same ones."""
    if len(shares) == len(own) > 1:
        ahead = 100 * (np.array(shares, float) - np.array(own, float))
        return f"{ahead.mean():+.1f} \u00b1 {ahead.std(ddof=1):.1f}"
    return f"{100 * (statistics.fmean(shares) - statistics.fmean(own)):+.1f}"


@in_course_style
def verdicts(rows: Sequence[Mapping], title: str | None = None) -> Picture:
    """All claims at a glance: a row for each paper, a square for each claim, coloured by its verdict.

    Args:
        rows: dicts with "paper" and "verdict" ("pass", "inconclusive" or "fail"), in the order in which they
            are to be shown.
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
            ink = DARK if verdict == "inconclusive" else "white"
            ax.text(k + 0.5, i, _VERDICT_SIGNS[verdict], ha="center", va="center", fontsize=9, color=ink)
        ax.text(len(of) + 0.25, i, f"{of.count('pass')} of {len(of)}", va="center", fontsize=9)
    ax.set_xlim(0, most + 2)
    ax.set_ylim(len(papers) - 0.5, -0.5)
    ax.set_yticks(range(len(papers)), papers, fontsize=9.5)
    ax.set_xticks([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    handles = [
        Line2D([], [], marker="s", linestyle="", markersize=9, color=c, label=f"{_VERDICT_SIGNS[v]} {v}")
        for v, c in _VERDICT_COLOURS.items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3, fontsize=9)
    if title:
        ax.set_title(title)
    return figure


@in_course_style
def intervals(rows: Sequence[tuple], title: str | None = None) -> Picture:
    """Effects with their intervals, one below the other, and a line at 0: does the interval hold it?

    Args:
        rows: (text, mean, low, high, verdict) each; the verdict ("pass", "inconclusive" or "fail") chooses
            colour and sign. Without an interval (one seed) low and high are infinite, and only the mean is
            drawn.
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
    ax.set_yticks(
        range(len(rows)),
        [f"{wrapped(text, 300, 9, 3)}  {_VERDICT_SIGNS[verdict]}" for text, *_, verdict in rows],
        fontsize=9,
    )
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    ax.set_xlabel("effect, positive where the paper is right; the bar is the interval of its mean")
    if title:
        ax.set_title(title)
    return figure
