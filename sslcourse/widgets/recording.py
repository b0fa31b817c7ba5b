"""Record any training beside its checkpoint, without a notebook.

    for row in recorded(epochs(method, data.train, recipe, checkpoint=path), method, data, recipe, path):
        ...

`sslcourse train --replay` does it, `sslcourse replay` makes pages of what was recorded.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from sslcourse import encoders, evaluate
from sslcourse.data.datasets import Data
from sslcourse.runtime.errors import CourseError
from sslcourse.train import checkpoints, features
from sslcourse.widgets.live import Panel
from sslcourse.widgets.replay import Replay, beside

MOST_FRAMES = 40  # of a long training; evenly spaced, the last epoch among them
POINTS = 500  # on the map


def due(epoch: int, epochs: int, most: int = MOST_FRAMES) -> bool:
    """Whether this epoch, 1 to `epochs`, is one of at most `most` evenly spaced ones up to the last."""
    return epochs <= most or epoch * most // epochs > (epoch - 1) * most // epochs


def recorded(rows: Iterable[dict], method: nn.Module, data: Data, recipe, checkpoint) -> Iterator[dict]:
    """Pass the rows of a training through, and keep a replay beside its checkpoint: metrics, validation kNN,
    map, filters, samples.

    Args:
        rows: what `epochs(method, ..., checkpoint=checkpoint)` yields; a recorded epoch costs about half a
            second, at most 40 are recorded.
        method: the method that is trained.
        data: its splits; labels are used for colours and the kNN score, those of the test split are never
            touched.
        recipe: for the number of epochs.
        checkpoint: the training's own file; the replay is written beside it (`beside`), whole, after each
            recorded epoch. Where a training is resumed its record goes on. A damaged replay, or one of
            another training, is said to be so and recorded anew.
    """
    path, done = beside(checkpoint), checkpoints.epochs_done(checkpoint)
    shown, samples = data.validation.take(slice(0, POINTS)), data.validation.take(slice(0, 12))
    panel = Panel(
        recipe.epochs, classes=data.classes, title=type(method).__name__, backend="silent", samples=samples
    )
    history: list[dict] = []
    for row in rows:
        epoch = int(row["epoch"])
        if (
            epoch <= done
            # what the checkpoint remembers: the weights are those of epoch `done`, and tell nothing about
            # earlier ones
        ):
            history.append(row)
            if epoch == done:
                _take_over(panel, path, history)
        if (
            epoch >= done
            and due(epoch, recipe.epochs)
            and not row.get("interrupted")
            and not any(r["epoch"] == epoch for r in panel.rows)
        ):
            score = evaluate.probe(method, data, linear=False, limit=POINTS)["kNN"]
            xy = evaluate.living_map(features.extract(method, shown), panel.last_map)
            panel.add(
                {**row, "kNN": score},
                xy=xy,
                labels=shown.label,
                filters=_filters(method),
                predicted=evaluate.guesses(method, data),
            )
            panel.replay.save(path)
        yield row


def _take_over(panel: Panel, path: pathlib.Path, history: list[dict]) -> None:
    if not path.exists():
        return
    try:
        replay = Replay.load(path)
    except CourseError as error:
        print(f"{error}. It is recorded anew.", file=sys.stderr)
        return
    losses = {r["epoch"]: r.get("loss") for r in history}
    frames = {f["row"]["epoch"]: f["row"].get("loss") for f in replay.frames()}
    if any(
        e in frames and v is not None and frames[e] is not None and abs(v - frames[e]) > 1e-5 * max(1, abs(v))
        for e, v in losses.items()
    ):
        print(f"{path} holds the replay of another training; it is recorded anew.", file=sys.stderr)
        return
    panel.resume(replay, history[-1]["epoch"])


def _filters(method: nn.Module) -> torch.Tensor | None:
    """First filters where they can be seen: up to three input channels."""
    try:
        return encoders.first_filters(method)
    except CourseError:
        return None
