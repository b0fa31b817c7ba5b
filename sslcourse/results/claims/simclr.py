"""What SimCLR claims (arXiv:2002.05709), and nine networks a seed to decide it."""

from __future__ import annotations

import time

import torch

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import toybox
from sslcourse.data.datasets import Data, open_labels
from sslcourse.methods import simclr
from sslcourse.results.claims.engine import Claim, Runs, gain
from sslcourse.train import features
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe
from sslcourse.transforms import augment

LESSON = "01_simclr"

# Six passes: short enough for nine runs a seed, long enough that the order of the variants no longer changes.
RECIPE = simclr.COURSE.but(epochs=6)
_VIEW = simclr.COURSE_VIEW


def in_groups(loss, images: int):
    """The same loss within groups of so many images of a batch: fewer negatives, everything else alike.

    Batch, updates, learning rate and batch statistics stay what they are, so only the number of negatives
    differs."""

    def grouped(z1, z2, temperature):
        return torch.stack(
            [loss(a, b, temperature) for a, b in zip(z1.split(images), z2.split(images))]
        ).mean()

    return grouped


def _rotations(samples_image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    turned = torch.cat([samples_image.rot90(k, (2, 3)) for k in range(4)])
    return turned, torch.arange(4).repeat_interleave(len(samples_image))


def _turn_accuracy(method, encode, data: Data) -> float:
    """How well a linear probe tells by how much a picture was turned (0, 90, 180, 270 degrees): table 3 of
    the paper.
    """
    from sslcourse.data.datasets import Samples

    parts = []
    for image in (data.train.image[:1500], data.test.image[:500]):  # needs pictures, not labels
        turned, label = _rotations(image)
        parts.append((features.extract(method, Samples(turned, label), encode=encode), label))
    (train_x, train_y), (x, y) = parts
    fitted = evaluate.linear_probe(train_x, train_y, classes=4, penalties=(1e-3,))
    return fitted.found(x, y)


def runs(seed: int, data: Data | None = None, recipe: Recipe = RECIPE, say=print) -> Runs:
    """Train all variants that the claims of SimCLR compare. About half a minute each on one thread, nine of
    them.
    """
    data = data or toybox.images(seed=seed)
    label, train_label = open_labels(data.test, "claims.simclr")[0], data.train.label
    view = augment.simclr_view
    variants: dict[str, tuple[dict, Recipe]] = {
        "crop + colour": ({}, recipe),
        "crop": (dict(view=view(area=_VIEW["area"], strength=0, hue_by=0, greyscale=0)), recipe),
        "colour": (dict(view=view(area=(1, 1), strength=_VIEW["strength"], hue_by=_VIEW["hue_by"])), recipe),
        "linear head": (dict(head="linear"), recipe),
        "no head": (dict(head="none"), recipe),
        "temperature 0.02": (dict(temperature=0.02), recipe),
        "temperature 2": (dict(temperature=2.0), recipe),
        "30 negatives": (dict(loss=in_groups(simclr.nt_xent, 16)), recipe),
        "batch 32": (
            {},
            recipe.but(batch_size=recipe.batch_size // 4, lr=recipe.lr / 2),
        ),  # square-root scaling, appendix B.1
    }
    results: Runs = {}
    for name, (arguments, how) in variants.items():
        start = time.perf_counter()
        torch.manual_seed(runtime.step_seed(seed, 0xC1A))
        method = simclr.SimCLR(encoders.small_cnn(), **arguments)
        row = fit(method, data.train, how.but(seed=seed))[-1]

        def judge(encode, method=method):
            x = (
                features.extract(method, data.train, encode=encode),
                features.extract(method, data.test, encode=encode),
            )
            return evaluate.score(x[0], train_label, x[1], label, classes=len(data.classes))

        results[name] = {**judge(method.encode), "partner found": row["partner found"], "loss": row["loss"]}
        if name == "crop + colour":
            z = lambda batch, method=method: method.g(method.encode(batch))
            results["z"] = judge(z)
            results["z"]["turn"] = _turn_accuracy(method, z, data)
            results[name]["turn"] = _turn_accuracy(method, method.encode, data)
        results[name]["seconds"] = time.perf_counter() - start
        say(
            f"  seed {seed}  {name:<18} linear {results[name]['linear']:.3f}  kNN "
            f"{results[name]['kNN']:.3f}  "
            f"partner found {row['partner found']:.3f}  {results[name]['seconds']:.0f} s"
        )
    return results


CLAIMS = (
    Claim(
        "crop_and_colour",
        "crop with colour beats crop alone and colour alone",
        "section 3.1, figure 5",
        gain("crop + colour", "crop", "colour"),
    ),
    Claim(
        "pretext_is_not_quality",
        "crop alone finds its partner more often, and represents worse",
        "sections 3.1 and 5, table 5",
        lambda r: min(
            r["crop"]["partner found"] - r["crop + colour"]["partner found"],
            r["crop + colour"]["linear"] - r["crop"]["linear"],
        ),
        "the smaller of both gaps",
    ),
    Claim(
        "nonlinear_head",
        "a non-linear projector beats a linear one",
        "section 4.2, figure 8",
        gain("crop + colour", "linear head"),
    ),
    Claim(
        "linear_head",
        "a linear projector beats none",
        "section 4.2, figure 8",
        gain("linear head", "no head"),
    ),
    Claim(
        "h_beats_z", "h, before the projector, beats z after it", "section 4.2", gain("crop + colour", "z")
    ),
    Claim(
        "head_forgets",
        "the projector forgets by how much a picture was turned: h tells, z tells less",
        "section 4.2, table 3",
        lambda r: r["crop + colour"]["turn"] - r["z"]["turn"],
    ),
    Claim(
        "temperature",
        "temperature has an optimum: 0.2 beats 0.02 and 2",
        "section 5.1, table 5",
        gain("crop + colour", "temperature 0.02", "temperature 2"),
    ),
    Claim(
        "more_negatives",
        "254 negatives beat 30 in a short training",
        "section 5.2, figure 9",
        gain("crop + colour", "30 negatives"),
    ),
    Claim(
        "bigger_batch",
        "batch 128 beats batch 32 at equal epochs in a short training",
        "section 5.2, figure 9",
        gain("crop + colour", "batch 32"),
    ),
)
