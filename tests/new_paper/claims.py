"""What Barlow Twins (arXiv:2103.03230) claims: its features beat those of a random encoder."""

from __future__ import annotations

import torch

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import toybox
from sslcourse.data.datasets import Data
from sslcourse.methods import barlow
from sslcourse.results.claims.engine import Claim, Runs, gain, scored
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe

LESSON = "14_barlow_twins"


def runs(seed: int, data: Data | None = None, recipe: Recipe = barlow.COURSE, say=print) -> Runs:
    """Train the method and score it beside a random encoder."""
    data = data or toybox.images()
    torch.manual_seed(runtime.step_seed(seed, 0xBA2))
    method = barlow.BarlowTwins(encoders.small_cnn())
    fit(method, data.train.unlabelled(), recipe.but(seed=seed))
    untrained = evaluate.random_like(method, data.train, seed)
    found = scored({"Barlow Twins": method, "random": untrained}, data, "claims.barlow")
    say(f"  seed {seed}  linear {found['Barlow Twins']['linear']:.3f}")
    return found


CLAIMS = (
    Claim("beats_random", "Barlow Twins beats a random encoder", "section 3", gain("Barlow Twins", "random")),
)
