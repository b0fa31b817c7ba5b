"""Audio-visual synchronisation (arXiv:1807.00230) and what its reviewers asked: negatives, loss, time, data;
and what needs no network.

    sslcourse table avts --seeds 3

Departures: scenes of the toybox in place of Kinetics and AudioSet; frozen features under a linear SVM on
crops (the ESC protocol), event class of 200 test films, in place of fine-tuning on UCF101 and of ESC-50.
Pairs: balanced accuracy on test films in per cent, the threshold from the other
half, chance 50. Offset: mean error in frames (16 a second) of finding by how much a film of two seconds is
out of step, up to half a second. "Energy" correlates how much moves with how loud it is. "Plain heads" have
no batch normalisation (the paper's, as far as is known), "all that is seen" a video network that is also
shown what stands still."""

from __future__ import annotations

import functools
import statistics
from typing import Any

from sslcourse import encoders
from sslcourse.evaluate import synchrony
from sslcourse.results.claims.avts import CURRICULUM, RECIPE, scenes, trained
from sslcourse.results.tables import cell
from sslcourse.runtime import progress
from sslcourse.runtime.options import EPOCHS, SEEDS, takes

TITLE = "Audio-visual synchronisation and its alternatives (toybox scenes, test split, %)"

EASY, HARD = (0.0, 0.0), (1.0, 1.0)
ROWS: dict[str, dict[str, Any]] = {
    "easy, then 25 % hard": dict(hard=CURRICULUM),
    "easy, then 50 % hard": dict(hard=(0.0, 0.5)),
    "25 % hard from the start": dict(hard=(0.25, 0.25)),
    "easy only": dict(hard=EASY),
    "hard only": dict(hard=HARD),
    "easy, then 25 % super-hard": dict(hard=CURRICULUM, overlap=True),
    "correspondence": dict(hard=EASY, correspondence=True),
    "cross-entropy": dict(hard=CURRICULUM, objective="cross-entropy"),
    "unit vectors, not halved": dict(hard=CURRICULUM, length="unit"),
    "averaged over time": dict(hard=CURRICULUM, keep_time=False),
    "plain heads": dict(hard=CURRICULUM, normalised=False),
    "all that is seen": dict(hard=CURRICULUM, encoder=functools.partial(encoders.small_mc3, still=True)),
    "half of the films": dict(hard=CURRICULUM, films=0.5),
    "a quarter of the films": dict(hard=CURRICULUM, films=0.25),
}


@takes(seeds=SEEDS, epochs=EPOCHS)
def measure(seeds: int = 3, say=print, epochs: int = 6) -> list[dict]:
    """Rows of the table: mean and standard deviation over seeds.

    Args:
        epochs: of each training; the trainings on fewer films have as many steps.
    """
    data = scenes()
    assert data.test.fps is not None  # scenes have a clock
    found = [
        trained(ROWS, seed, data, RECIPE.but(epochs=epochs), say, features=tuple(ROWS))
        for seed in progress.each(range(seeds), "seed")
    ]
    for seed, results in enumerate(found):
        results["energy"] = {
            kind: synchrony.accuracy(synchrony.Energy(), data.test, kind, each=2, seed=seed)
            for kind in synchrony.KINDS
        }
        results["energy"]["offset error"] = (
            synchrony.offset_error(synchrony.Energy(), data.test, seed=seed) / data.test.fps
        )
    rows = []
    for name in ("energy", "random", *ROWS):
        values = {
            key: [r[name][key] for r in found if key in r[name]]
            for key in (*synchrony.KINDS, "offset error", "eye", "ear")
        }
        offset = [v * data.test.fps for v in values.pop("offset error")]
        scores = {key: cell(v) for key, v in values.items()}
        rows.append(
            {
                "": name,
                **{key: scores[key] for key in synchrony.KINDS},
                "offset": f"{statistics.fmean(offset):.1f}" if offset else "–",
                "eye": scores["eye"],
                "ear": scores["ear"],
            }
        )
    return rows
