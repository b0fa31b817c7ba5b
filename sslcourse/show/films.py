"""Pictures of films, of sound and picture in step, and of dense predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import torch

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, FRAMES, SHARE, WHOLE, takes
from sslcourse.show.look import (
    INK,
    MARKERS,
    PALE,
    WIDTH,
    Picture,
    as_array,
    colour_of,
    in_course_style,
    to_uint8,
)

# ------------------------------------------------------------------------------------------ dense predictions

# the positive, other time, other place, other film
KIND_COLOURS = ("#009E73", "#D55E00", "#0072B2", PALE)


def kinds_tile(weight, kind) -> np.ndarray:
    """A score matrix as one small picture: the colour says what a column is to the row, the brightness how
    much attention it gets.

    Args:
        weight: (n, n) shares from 0 to 1, such as the softmax of each row; small ones are lifted (fourth
            root) to be seen at all.
        kind: (n, n) whole numbers from 0 to 3, see `methods.dpc.kinds`.

    Returns:
        (3, n, n) float32, 0..1.
    """
    shares, numbers = as_array(weight, "weight", 2), as_array(kind, "kind", 2).astype(int)
    if shares.shape != numbers.shape or numbers.min() < 0 or numbers.max() >= len(KIND_COLOURS):
        raise CourseError(
            f"weights {shares.shape} and kinds {numbers.shape} of {numbers.min()} to {numbers.max()}; "
            "one "
            "kind from 0 to 3 per weight"
        )
    colours = np.array([matplotlib.colors.to_rgb(c) for c in KIND_COLOURS])
    return (colours[numbers] * np.clip(shares, 0, 1)[..., None] ** 0.25).transpose(2, 0, 1).astype(np.float32)


@takes(blocks=COUNT, places=COUNT)
@in_course_style
def dense_scores(scores, kind, blocks: int, places: int, title: str | None = None) -> Picture:
    """The scores of dense predictions: on the left what each candidate is, on the right where the softmax of
    each row goes.

    Args:
        scores: (n, n) of every predicted cell (row) against every true one, n = films blocks places.
        kind: (n, n), see `methods.dpc.kinds`.
        blocks, places: of each film; films and blocks are outlined.
    """
    from matplotlib.patches import Patch, Rectangle

    logits, numbers = as_array(scores, "scores", 2), as_array(kind, "kind", 2)
    n = len(logits)
    if logits.shape != numbers.shape or n % (blocks * places):
        raise CourseError(
            f"scores {logits.shape}, kinds {numbers.shape}; both are (n, n) with n a multiple of "
            "blocks * "
            f"places = {blocks * places}"
        )
    weight = np.exp(logits - logits.max(1, keepdims=True))
    weight /= weight.sum(1, keepdims=True)
    figure = Picture(WIDTH, 5.4, layout="constrained")
    left, right = figure.subplots(1, 2)
    for ax, shares, heading in (
        (left, np.ones_like(weight), "what a column is to its row"),
        (right, weight, "softmax of each row"),
    ):
        ax.imshow(kinds_tile(shares, numbers).transpose(1, 2, 0), interpolation="nearest")
        for at in range(places, n, places):
            ax.axhline(at - 0.5, color="white", linewidth=0.5)
            ax.axvline(at - 0.5, color="white", linewidth=0.5)
        for at in range(0, n, blocks * places):
            ax.add_patch(
                Rectangle(
                    (at - 0.5, at - 0.5),
                    blocks * places,
                    blocks * places,
                    fill=False,
                    edgecolor="white",
                    linewidth=1.8,
                )
            )
        middle = [at + blocks * places / 2 - 0.5 for at in range(0, n, blocks * places)]
        ax.set_xticks(middle, [f"film {i + 1}" for i in range(len(middle))], fontsize=9)
        ax.set_yticks(
            middle, [f"film {i + 1}" for i in range(len(middle))], fontsize=9, rotation=90, va="center"
        )
        ax.tick_params(length=0)
        ax.set_title(heading, fontsize=10)
        ax.set_xlabel("true features")
    left.set_ylabel("predicted features")
    names = ("the positive", "other time", "other place", "other film")
    figure.legend(
        handles=[Patch(color=c, label=name) for c, name in zip(KIND_COLOURS, names)],
        loc="outside lower center",
        ncols=4,
        fontsize=9,
        frameon=False,
    )
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


@takes(place=WHOLE)
@in_course_style
def match(seen, future, share, place: int, title: str | None = None) -> Picture:
    """Where the prediction of one cell finds itself in the true future.

    Args:
        seen, future: (3, H, W) the last frame before and a frame of the predicted block, uint8 or float 0..1.
        share: (h, w) the softmax over the places of that block.
        place: which cell was asked for, row by row from 0; outlined.
    """
    from matplotlib.patches import Rectangle

    heat = as_array(share, "share", 2)
    h, w = heat.shape
    if not 0 <= place < h * w:
        raise CourseError(f"place={place}; there are {h} x {w} cells, 0 to {h * w - 1}")
    before, after = to_uint8(seen)[0], to_uint8(future)[0]
    figure = Picture(WIDTH * 0.8, 2.9, layout="constrained")
    axes = figure.subplots(1, 3)
    high, wide = after.shape[:2]
    axes[0].imshow(before)
    axes[1].imshow(after)
    shown = axes[2].imshow(
        heat,
        cmap="viridis",
        vmin=0,
        vmax=max(float(heat.max()), 1e-6),
        extent=(-0.5, wide - 0.5, high - 0.5, -0.5),
    )
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


# ------------------------------------------------------------------------------------------ picture and sound


@takes(fps=FRAMES, offset=WHOLE)
@in_course_style
def in_step(frames, mel, distances, offset: int, fps: float, title: str | None = None) -> Picture:
    """A window of a film above the sound that is heard with it, and the distance for every offset with the
    present one marked.

    Args:
        frames: (3, T, H, W) uint8 or float 0..1.
        mel: (M, S) log-mel of the sound heard with them, as long as the frames.
        distances: {name: (2 R + 1,)} for offsets of -R to R frames.
        offset: the present one, in frames; above 0 the sound comes from later.
        fps: frames a second.
    """
    heat = as_array(mel, "mel", 2)
    curves = {str(name): as_array(values, str(name), 1) for name, values in distances.items()}
    sizes = {len(values) for values in curves.values()}
    if len(sizes) != 1 or not (reach := min(sizes) // 2) >= abs(offset) or min(sizes) % 2 == 0:
        raise CourseError(
            f"distances of {sorted(sizes)} offsets and offset={offset}; pass as many for each name, from "
            "-R to R, "
            f"R at least {abs(offset)}"
        )
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
        bottom.plot(at, values, color=colour_of(n), marker=MARKERS[n % 10], markersize=4, label=name)
        bottom.plot(
            at[reach + offset],
            values[reach + offset],
            "o",
            markersize=11,
            color=colour_of(n),
            markerfacecolor="none",
            markeredgewidth=2,
        )
    bottom.axvline(offset / fps, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
    bottom.set(xlabel="how much later the sound was taken, in seconds", ylabel="distance")
    bottom.grid(axis="y")
    if len(curves) > 1:
        figure.legend(loc="outside lower center", ncols=len(curves), fontsize=9, frameon=False)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


# -------------------------------------------------------------------------------- clusters, round after round


@takes(least=SHARE)
@in_course_style
def flow(
    assigned: Sequence,
    labels,
    names: Sequence[str],
    rounds: Sequence[str] | None = None,
    title: str | None = None,
    least: float = 0.005,
) -> Picture:
    """How samples go from the clusters of one round to those of the next: bars are clusters, bands the
    samples that stay together.

    A cluster has the colour of the commonest class in it, pale where the class is less than half of it, and
    clusters of one class stand together.

    Args:
        assigned: (N,) cluster numbers for every round, of the same samples in the same order; at least two
            rounds.
        labels: (N,) class numbers from 0; for the colours only.
        names: of the classes.
        rounds: what each round is called.
        least: bands of a smaller share of all samples are left out, so that the others can be seen.
    """
    steps, truth = (
        [as_array(a, f"assigned[{i}]", 1).astype(int) for i, a in enumerate(assigned)],
        as_array(labels, "labels", 1).astype(int),
    )
    if len(steps) < 2 or any(len(a) != len(truth) or a.min() < 0 for a in steps):
        raise CourseError(
            f"{len(steps)} rounds of {[len(a) for a in steps]} samples with {len(truth)} labels; pass at "
            "least two rounds, one cluster "
            "number from 0 for each sample in each"
        )
    n, gap = len(truth), 0.012
    figure = Picture(WIDTH * 0.92, 4.3 + (0.25 if title else 0), colours=128, layout="constrained")
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
            ax.fill_between(
                [x - 0.045, x + 0.045],
                top - height,
                top,
                color=colour_of(int(best[c])),
                linewidth=0,
                alpha=1.0 if 2 * table[c, best[c]] >= count[c] else 0.5,
            )
            top -= height + gap
        places.append(place)
        looks.append({c: colour_of(int(best[c])) for c in order})
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
                high, low = (
                    share * (1 - gap * (len(places[x]) - 1)),
                    share * (1 - gap * (len(places[x + 1]) - 1)),
                )
                upper = left + (arrived[d] - left) * smooth
                lower = left - high + (arrived[d] - low - left + high) * smooth
                if share >= least:
                    ax.fill_between(
                        x + 0.045 + 0.91 * bend, lower, upper, color=looks[x][c], alpha=0.42, linewidth=0
                    )
                left -= high
                arrived[d] -= low
    called = list(rounds) if rounds is not None else [f"round {i + 1}" for i in range(len(steps))]
    ax.set_xticks(range(len(steps)), called)
    ax.set(yticks=[], xlim=(-0.1, len(steps) - 0.9), ylim=(-0.01, 1.01))
    for spine in ax.spines.values():
        spine.set_visible(False)
    handles = [matplotlib.patches.Patch(color=colour_of(k), label=str(name)) for k, name in enumerate(names)]
    figure.legend(handles=handles, loc="outside right upper")
    if title:
        ax.set_title(title)
    return figure


@in_course_style
def plane(
    paths: Mapping[str, Sequence[tuple[float, float]]], xlabel: str, ylabel: str, title: str | None = None
) -> Picture:
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
        colour = colour_of(n)
        for a, b in zip(points, points[1:]):
            ax.annotate(
                "", b, a, arrowprops=dict(arrowstyle="-|>", color=colour, linewidth=1.6, shrinkA=2, shrinkB=2)
            )
        ax.plot(*points[0], "o", markersize=7, color=colour, markerfacecolor="white", markeredgewidth=1.6)
        ax.plot(*points[-1], MARKERS[n % 10], markersize=8, color=colour, label=str(name))
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.margins(0.08)
    ax.grid()
    figure.legend(loc="outside right upper")
    if title:
        ax.set_title(title)
    return figure
