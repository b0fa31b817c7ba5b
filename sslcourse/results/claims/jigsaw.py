"""What "Completing damaged jigsaw puzzles" (arXiv:1802.01880) claims, and five networks a seed to decide it.

All read the same grey pieces of the same pictures for as many steps; they differ in what is asked of them.
The simple sum poses each task in a puzzle of its own, so that it is shown three times as many pieces as the
others in as many steps.

Whether a missing colour teaches anything of a thing depends on whether things have their colours. The
toybox's solids have any; "tied" is a world where hue goes with shape, as it does in photographs. What the
paper says of colours is asked in both."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import toybox
from sslcourse.data.datasets import Data
from sslcourse.methods import jigsaw
from sslcourse.results.claims.engine import Claim, Runs, gain, scored
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe

LESSON = "03_damaged_jigsaw"

PICTURES = 3000  # to train on, and whose labels fit the probes
RECIPE = jigsaw.COURSE.but(epochs=4)  # four passes over them: four in five intact puzzles are solved by then
TIED = 0.9  # how much hue says of shape where it is tied: within 5 % of the wheel, see `toybox.factors`
COMPARED = ("Jig", "Jig + Inp", "Jig + Col", "Jig + Inp + Col, simple", "CDJP")


def trained(
    names: Sequence[str],
    seed: int,
    data: Data,
    recipe: Recipe = RECIPE,
    reader: str = "claims.jigsaw",
    say=print,
) -> Runs:
    """Train some of `jigsaw.COMBINATIONS` and score them, with a random encoder, on the test split.

    Returns name -> "linear", "kNN", "seconds", and the marks of the last epoch ("puzzles solved" and others,
    where asked for)."""
    methods: dict[str, Any] = {}
    results: Runs = {}
    for name in names:
        start = time.perf_counter()
        torch.manual_seed(runtime.step_seed(seed, 0xC1A))
        methods[name] = jigsaw.Jigsaw(encoders.small_cnn(), **jigsaw.COMBINATIONS[name])
        row = fit(methods[name], data.train.unlabelled(), recipe.but(seed=seed))[-1]
        marks: dict[str, float] = {
            k: row[k] for k in ("puzzles solved", "filled right", "coloured right") if k in row
        }
        results[name] = {**marks, "seconds": time.perf_counter() - start}
        say(
            f"  seed {seed}  {name:<24} "
            + "  ".join(f"{k} {v:.3f}" for k, v in marks.items())
            + f"  {results[name]['seconds']:.0f} s"
        )
    methods["random"] = evaluate.random_like(methods[names[-1]], data.train.image, seed)
    for name, scores in scored(methods, data, reader).items():
        results[name] = {**results.get(name, {}), **scores}
        say(f"  seed {seed}  {name:<24} linear {scores['linear']:.3f}  kNN {scores['kNN']:.3f}")
    return results


def runs(
    seed: int, data: Data | None = None, recipe: Recipe = RECIPE, say=print, tied: Data | None = None
) -> Runs:
    """Train what the claims compare: five networks in either world, three minutes together on one thread.

    Args:
        data: pictures whose hues are free; by default those of the seed's world.
        tied: pictures whose hues go with the shapes; likewise.
    """
    results: Runs = {}
    worlds = {"": data or toybox.images(seed=seed), ", tied": tied or toybox.images(tied=TIED, seed=seed)}
    for world, found in worlds.items():
        part = Data(found.train.take(slice(0, PICTURES)), found.validation, found.test)
        say(f"  seed {seed}  {found.train.name}")
        for name, scores in trained(COMPARED, seed, part, recipe, say=say).items():
            results[f"{name}{world}"] = scores
    return results


def _steps_up(*names: str):
    """The smallest of the gains from each name to the next."""
    return lambda r: min(r[b]["linear"] - r[a]["linear"] for a, b in zip(names, names[1:]))


def _of_colours(world: str, where: str) -> tuple[Claim, ...]:
    """What the paper says of colours and damage, in one of the worlds."""
    run = lambda name: f"{name}{world}"
    table = "table of combinations"
    return (
        Claim(
            f"damage_helps{world}",
            f"the damaged puzzle beats the intact one{where}",
            f"{table}, +2.6 mAP",
            gain(run("CDJP"), run("Jig")),
        ),
        Claim(
            f"order{world}",
            f"damaged > jigsaw + colour > jigsaw + inpainting > jigsaw{where}",
            table,
            _steps_up(*map(run, ("Jig", "Jig + Inp", "Jig + Col", "CDJP"))),
            "the smallest step",
        ),
        Claim(
            f"colour{world}",
            f"asking for colours helps: jigsaw + colour beats jigsaw{where}",
            table,
            gain(run("Jig + Col"), run("Jig")),
        ),
        Claim(
            f"colour_above_inpainting{world}",
            f"colours add more than a missing piece{where}",
            table,
            gain(run("Jig + Col"), run("Jig + Inp")),
        ),
        Claim(
            f"entangled{world}",
            f"one damaged puzzle beats the three tasks simply added{where}",
            table,
            gain(run("CDJP"), run("Jig + Inp + Col, simple")),
        ),
    )


CLAIMS = (
    Claim(
        "learns",
        "completing damaged puzzles teaches more than random weights hold",
        "abstract",
        gain("CDJP", "random"),
    ),
    *_of_colours("", ""),
    *_of_colours(", tied", ", where hue goes with shape"),
    Claim(
        "inpainting",
        "a missing piece helps: jigsaw + inpainting beats jigsaw",
        "table of combinations",
        gain("Jig + Inp", "Jig"),
    ),
    Claim(
        "harder_and_better",
        "of the damaged puzzles fewer are solved, and the features are better",
        "section 1",
        lambda r: min(
            r["Jig"]["puzzles solved"] - r["CDJP"]["puzzles solved"], r["CDJP"]["linear"] - r["Jig"]["linear"]
        ),
        "the smaller of both gaps",
    ),
)
