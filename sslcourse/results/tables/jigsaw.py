"""The combinations of "Completing damaged jigsaw puzzles" (arXiv:1802.01880): each task alone, all sums, and
the damaged puzzle.

    sslcourse table jigsaw --seeds 5

Departures: the paper transfers from ImageNet to PASCAL; here it is a linear probe on the toybox's test split.
Every network has the same encoder, the same grey pieces and as many steps; the simple sum poses three puzzles
a step where the others pose one. The last column holds the paper's PASCAL classification (mAP), for the order
alone: the scales have nothing to do with each other."""

from __future__ import annotations

import statistics

from sslcourse.data import toybox
from sslcourse.data.datasets import Data
from sslcourse.methods import jigsaw
from sslcourse.results.claims.jigsaw import PICTURES, RECIPE, trained
from sslcourse.results.tables import cell
from sslcourse.runtime import progress
from sslcourse.runtime.options import EPOCHS, SEEDS, Number, takes

TITLE = "Jigsaw, inpainting and colouring, alone, added and entangled (toybox, test accuracy, %)"
PAPER = {"Jig": 66.6, "Jig + Inp": 67.4, "Jig + Col": 68.4, "Jig + Inp + Col, simple": 68.0, "CDJP": 69.2}


@takes(seeds=SEEDS, pictures=Number(128, 6000), epochs=EPOCHS)
def measure(seeds: int = 3, say=print, pictures: int = PICTURES, epochs: int = RECIPE.epochs) -> list[dict]:
    """Rows of the table: mean and standard deviation over seeds.

    Args:
        pictures: of the toybox to train on, whose labels also fit the probes; 128 to 6,000.
        epochs: over them.
    """
    data = toybox.images()
    part = Data(data.train.take(slice(0, pictures)), data.validation, data.test)
    found = [
        trained(tuple(jigsaw.COMBINATIONS), seed, part, RECIPE.but(epochs=epochs), "tables.jigsaw", say)
        for seed in progress.each(range(seeds), "seed")
    ]
    rows = []
    for name in ("random", *jigsaw.COMBINATIONS):
        scores = lambda key, name=name: cell([r[name][key] for r in found if key in r[name]])
        rows.append(
            {
                "task": name,
                "linear probe": scores("linear"),
                "kNN": scores("kNN"),
                "puzzles solved": scores("puzzles solved"),
                "seconds": f"{statistics.fmean(r[name]['seconds'] for r in found):.0f}"
                if name != "random"
                else "–",
                "paper, mAP": PAPER.get(name, "–"),
            }
        )
    return rows
