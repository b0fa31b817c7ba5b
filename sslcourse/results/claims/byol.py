"""What BYOL (arXiv:2006.07733), its successor without batch statistics (arXiv:2010.10241) and MoCo
(arXiv:1911.05722) claim, and fourteen networks a seed to decide it.

Collapse shows within a hundred steps, in the spread of z and without a label: those runs are short and have
the paper's heads. What is stated in accuracy needs longer runs, and z normalised as `byol.BYOL` says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import toybox
from sslcourse.data.datasets import Data
from sslcourse.evaluate import health
from sslcourse.methods import byol, moco, simclr
from sslcourse.results.claims.engine import Claim, Runs, scored
from sslcourse.train import features
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe

LESSON = "06_byol"

# for what is stated in accuracy: the first epoch of BYOL's learning lies behind it by then
LONG = byol.COURSE.but(epochs=4)
SHORT = byol.COURSE.but(epochs=3, batch_size=32)  # on so many pictures, to show collapse
FEW, SOME = 1000, 3000
PART = 16


def in_parts(kind: type, pictures: int) -> type:
    """The same method with the loss of so many pictures at a time, averaged over a batch.

    Negatives and batch statistics are then those of a small batch, while the number and the size of the
    updates stay: the paper's protocol (appendix F.2), which averages the gradients of consecutive small
    batches."""

    class Parts(kind):
        def loss(self, batch):
            pieces = [
                super(Parts, self).loss({k: v[i : i + pictures] for k, v in batch.items()})
                for i in range(0, len(batch["image"]), pictures)
            ]
            metrics = {k: torch.stack([m[k] for _, m in pieces]).mean() for k in pieces[0][1]}
            return torch.stack([loss for loss, _ in pieces]).mean(), metrics

    return Parts


def runs(
    seed: int, data: Data | None = None, recipe: Recipe = LONG, short: Recipe = SHORT, say=print
) -> Runs:
    """Train all variants that the claims compare: fourteen, two minutes together on one thread."""
    data = data or toybox.images(seed=seed)
    everything, some, few = (data.train.take(slice(0, n)).unlabelled() for n in (len(data.train), SOME, FEW))
    # as in the paper, where nothing but the claim's parts keeps z from collapsing
    heads = dict(normalise_z=False)
    groups = dict(norm="group+ws", **heads)
    # SimCLR and MoCo learn at the rate of their own recipes.
    theirs = recipe.but(lr=2.5e-3)
    variants: dict[str, tuple[Callable[..., Any], str, dict[str, Any], Recipe, Any]] = {
        "healthy": (byol.BYOL, "batch", heads, short, few),
        "no predictor": (byol.BYOL, "batch", dict(predictor=False, **heads), short, few),
        "target = online": (
            byol.BYOL,
            "batch",
            dict(target="online", stop_gradient=False, **heads),
            short,
            few,
        ),
        "groups": (byol.BYOL, "group+ws", groups, short, some),
        "groups, no predictor": (byol.BYOL, "group+ws", dict(predictor=False, **groups), short, some),
        "BYOL": (byol.BYOL, "batch", {}, recipe, everything),
        "BYOL, small batch": (in_parts(byol.BYOL, PART), "batch", {}, recipe, everything),
        "online target": (byol.BYOL, "batch", dict(target="online"), recipe, everything),
        "fixed target": (byol.BYOL, "batch", dict(target="fixed"), recipe, everything),
        "SimCLR": (simclr.SimCLR, "batch", {}, theirs, everything),
        "SimCLR, small batch": (in_parts(simclr.SimCLR, PART), "batch", {}, theirs, everything),
        "MoCo, 8 keys": (moco.MoCo, "batch", dict(queue=8), theirs, everything),
        "MoCo, 64 keys": (moco.MoCo, "batch", dict(queue=64), theirs, everything),
        "MoCo, 512 keys": (moco.MoCo, "batch", dict(queue=512), theirs, everything),
    }
    methods: dict[str, Any] = {}
    results: Runs = {}
    for name, (kind, norm, arguments, how, part) in variants.items():
        start = time.perf_counter()
        torch.manual_seed(runtime.step_seed(seed, 0xC1A))
        method = kind(encoders.small_cnn(norm=norm), **arguments)
        row = fit(method, part, how.but(seed=seed))[-1]
        project: Callable = lambda batch, m=method: m.g(m.encode(batch))
        z = features.extract(method, data.validation, encode=project)
        results[name] = {
            "loss": row["loss"],
            "spread": health.spread(z),
            "seconds": time.perf_counter() - start,
        }
        methods[name] = method
        say(
            f"  seed {seed}  {name:<20} loss {row['loss']:.3f}  spread of z "
            f"{results[name]['spread']:.3f}  "
            f"{results[name]['seconds']:.0f} s"
        )
    methods["random"] = evaluate.random_like(methods["BYOL"], data.train.image, seed)
    for name, scores in scored(methods, data, "claims.byol").items():
        results[name] = {**results.get(name, {}), **scores}
        say(f"  seed {seed}  {name:<28} linear {scores['linear']:.3f}  kNN {scores['kNN']:.3f}")
    return results


def _lost(r: Runs, name: str) -> float:
    """Accuracy that a small batch costs."""
    return r[name]["linear"] - r[f"{name}, small batch"]["linear"]


CLAIMS = (
    Claim(
        "no_predictor",
        "without the predictor BYOL collapses",
        "section 5, table 5b",
        lambda r: r["healthy"]["spread"] - r["no predictor"]["spread"],
        "spread of z",
    ),
    Claim(
        "no_target",
        "with target = online, and no gradient stopped, it collapses",
        "section 5, table 5b",
        lambda r: r["healthy"]["spread"] - r["target = online"]["spread"],
        "spread of z",
    ),
    Claim(
        "low_loss",
        "both collapsed networks have a lower loss than the healthy one",
        "section 3.2",
        lambda r: r["healthy"]["loss"] - max(r["no predictor"]["loss"], r["target = online"]["loss"]),
        "loss",
    ),
    Claim(
        "averaging",
        "an averaged target beats the online network with a stopped gradient",
        "table 5a, appendix table 21",
        lambda r: r["BYOL"]["linear"] - r["online target"]["linear"],
    ),
    Claim(
        "fixed_target",
        "a fixed random target already teaches something",
        "section 2, table 5a",
        lambda r: r["fixed target"]["linear"] - r["random"]["linear"],
    ),
    Claim(
        "bootstrap",
        "a target that follows teaches more than a fixed one",
        "section 2, table 5a",
        lambda r: r["BYOL"]["linear"] - r["fixed target"]["linear"],
    ),
    Claim(
        "small_batches",
        "a small batch costs BYOL less than SimCLR",
        "section 5, figure 3a, table 16",
        lambda r: _lost(r, "SimCLR") - _lost(r, "BYOL"),
    ),
    Claim(
        "batch_statistics",
        "without batch statistics (group norm, weight standardisation) the predictor still prevents collapse",
        "arXiv:2010.10241",
        lambda r: r["groups"]["spread"] - r["groups, no predictor"]["spread"],
        "spread of z",
    ),
    Claim(
        "dictionary",
        "MoCo: 64 keys in the queue beat 8",
        "arXiv:1911.05722, figure 3",
        lambda r: r["MoCo, 64 keys"]["linear"] - r["MoCo, 8 keys"]["linear"],
    ),
    Claim(
        "long_dictionary",
        "MoCo: 512 keys in the queue beat 64",
        "arXiv:1911.05722, figure 3",
        lambda r: r["MoCo, 512 keys"]["linear"] - r["MoCo, 64 keys"]["linear"],
    ),
)
