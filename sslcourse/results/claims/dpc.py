"""What Dense Predictive Coding (arXiv:1909.04656) claims, and five networks a seed to decide it.

All have the same encoder, the same films, the same number of steps and the same last horizon, where they have
one. The score is the
accuracy of the motion class by nearest neighbours: a film's nearest films should move as it does. (A linear
probe is kept beside it in the results.) The paper fine-tunes on UCF101; the horizon there ends at 3 or 4
blocks of 8, here at 2 of 4."""

from __future__ import annotations

import time
from typing import Any

import torch

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import toybox
from sslcourse.data.datasets import Data
from sslcourse.methods import dpc
from sslcourse.results.claims.engine import Claim, Runs, gain, scored
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe
from sslcourse.transforms.augment import film_view

LESSON = "10_dense_predictive_coding"

RECIPE = dpc.COURSE.but(epochs=4)
AREA = (0.7, 1.0)
VARIANTS: dict[str, dict[str, Any]] = {
    "DPC": dict(horizon=(1, 2)),
    "fixed horizon": dict(horizon=(2, 2)),
    "one block ahead": dict(horizon=(1, 1)),
    "parallel": dict(horizon=(2, 2), sequential=False),
    "shuffled": dict(horizon=(1, 2), order="shuffled"),
}


def trained(variants: dict[str, dict], seed: int, data: Data, recipe: Recipe, reader: str, say) -> Runs:
    """Train each variant and score all of them, and an untrained network, in one opening of the test labels.

    Args:
        variants: name -> arguments of `dpc.DPC`; "encoder" among them is a function that makes one,
            `encoders.small_3d` where there is none.
        reader: who opens the labels, such as "claims.dpc".

    Returns: name -> "kNN", "linear", and for the trained ones "seconds", "loss" and what is picked on
        validation films ("cell found", ...).
    """
    results: Runs = {}
    methods: dict[str, Any] = {}
    for name, arguments in variants.items():
        start = time.perf_counter()
        torch.manual_seed(runtime.step_seed(seed, 0xD9C))
        arguments = dict(arguments)
        method = dpc.DPC(
            arguments.pop("encoder", encoders.small_3d)(), **{"view": film_view(AREA), **arguments}
        )
        row = fit(method, data.train.unlabelled(), recipe.but(seed=seed))[-1]
        seconds = time.perf_counter() - start
        results[name] = {
            "loss": row["loss"],
            **dpc.pretext(method, data.validation.video),
            "seconds": seconds,
        }
        methods[name] = method
        say(f"  seed {seed}  {name:<22} cell found {results[name]['cell found']:.3f}  {seconds:.0f} s")
    methods["random"] = evaluate.random_like(next(iter(methods.values())), data.train, seed)
    for name, scores in scored(methods, data, reader).items():
        results[name] = {**results.get(name, {}), **scores}
        say(f"  seed {seed}  {name:<22} kNN {scores['kNN']:.3f}  linear {scores['linear']:.3f}")
    return results


def runs(seed: int, data: Data | None = None, recipe: Recipe = RECIPE, say=print) -> Runs:
    """Train all variants that the claims compare: five, a good minute together on one thread."""
    return trained(VARIANTS, seed, data or toybox.videos(seed=seed), recipe, "claims.dpc", say)


CLAIMS = (
    Claim("learns", "DPC beats a random network", "comparison on UCF101", gain("DPC", "random", key="kNN")),
    Claim(
        "further",
        "predicting two blocks in the end beats predicting one",
        "curriculum",
        gain("DPC", "one block ahead", key="kNN"),
    ),
    Claim(
        "curriculum",
        "a horizon that grows beats the long one from the start",
        "ablations: progressive training",
        gain("DPC", "fixed horizon", key="kNN"),
    ),
    Claim(
        "order",
        "the order of the blocks matters: on shuffled blocks it loses",
        "what is predicted is the future",
        gain("DPC", "shuffled", key="kNN"),
    ),
    Claim(
        "sequential",
        "feeding predictions back beats one predictor for each step",
        "ablations: sequential or parallel",
        gain("fixed horizon", "parallel", key="kNN"),
    ),
)
