"""The parts of Dense Predictive Coding (arXiv:1909.04656), taken away one at a time: horizon, feedback,
negatives, colours, border.

    sslcourse table dpc --seeds 3

Departures: the paper fine-tunes 3D-ResNets on UCF101 and HMDB51; here frozen features are judged on the
toybox's films by nearest neighbours and by a linear probe, four motion classes, test split. "Pooled" predicts
one vector for each block, the average over its places. The columns of errors say what is picked in place of
the right cell on validation films, in batches of 32; they have a meaning of their own in each row, because a
row's own horizon and places decide how many candidates there are."""

from __future__ import annotations

import functools
import statistics
from typing import Any

from torch import Tensor

from sslcourse import encoders
from sslcourse.data import toybox
from sslcourse.data.datasets import Data
from sslcourse.methods import dpc
from sslcourse.results.claims.dpc import AREA, RECIPE, trained
from sslcourse.results.tables import cell
from sslcourse.runtime import progress
from sslcourse.runtime.options import EPOCHS, SEEDS, Number, takes
from sslcourse.transforms.augment import film_view

TITLE = "Dense Predictive Coding and its parts (toybox films, motion class, test accuracy, %)"


def pooled(prediction: Tensor, target: Tensor, temperature: float) -> Tensor:
    """The loss of one vector per block in place of one per cell."""
    average = lambda maps: maps.mean((3, 4), keepdim=True)
    return dpc.dense_nce(average(prediction), average(target), temperature)


ROWS: dict[str, dict[str, Any]] = {
    "DPC, horizon 1 to 2": {},
    "horizon 2 from the start": dict(horizon=(2, 2)),
    "horizon 1": dict(horizon=(1, 1)),
    "parallel predictors": dict(horizon=(2, 2), sequential=False),
    "pooled prediction": dict(loss=pooled),
    "no negatives of other times": dict(loss=functools.partial(dpc.dense_nce, without=("other time",))),
    "no negatives of other places": dict(loss=functools.partial(dpc.dense_nce, without=("other place",))),
    "no negatives of the same film": dict(
        loss=functools.partial(dpc.dense_nce, without=("other time", "other place"))
    ),
    "one colour jitter a film": dict(view=film_view(AREA, per_frame=False)),
    "border of zeros": dict(encoder=functools.partial(encoders.small_3d, border="zeros")),
    "shuffled blocks": dict(order="shuffled"),
}


@takes(seeds=SEEDS, films=Number(32, 1200), epochs=EPOCHS)
def measure(seeds: int = 3, say=print, films: int = 1200, epochs: int = 3) -> list[dict]:
    """Rows of the table: mean and standard deviation over seeds.

    Args:
        films: to train on, whose labels also fit the probes; 32 to 1,200.
        epochs: over them.
    """
    data = toybox.videos()
    part = Data(data.train.take(slice(0, films)), data.validation, data.test)
    found = [
        trained(ROWS, seed, part, RECIPE.but(epochs=epochs), "tables.dpc", say)
        for seed in progress.each(range(seeds), "seed")
    ]
    rows = []
    for name in ("random", *ROWS):
        scores = lambda key, name=name: cell([r[name][key] for r in found if key in r[name]])
        rows.append(
            {
                "": name,
                "kNN": scores("kNN"),
                "linear": scores("linear"),
                **{key: scores(key) for key in ("cell found", *dpc.KINDS[1:])},
                "seconds": f"{statistics.fmean(r[name]['seconds'] for r in found):.0f}"
                if name != "random"
                else "–",
            }
        )
    return rows
