"""What RotNet (arXiv:1803.07728) and DeepCluster (arXiv:1807.05520) claim, and five networks a seed to decide
it.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import toybox
from sslcourse.data.datasets import Data
from sslcourse.methods import deepcluster, rotnet
from sslcourse.results.claims.engine import Claim, Runs, gain, scored
from sslcourse.train import features
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe

LESSON = "04_rotation_and_clusters"

FEW = 10  # clusters: as many as there are shapes


def runs(
    seed: int,
    data: Data | None = None,
    cluster: Recipe = deepcluster.COURSE,
    turn: Recipe = rotnet.COURSE,
    say=print,
) -> Runs:
    """Train all variants that the claims compare: under two minutes together on one thread."""
    data = data or toybox.images()
    pictures = data.train.unlabelled()
    variants: dict[str, tuple[type, dict[str, Any], Recipe]] = {
        "DeepCluster": (deepcluster.DeepCluster, {}, cluster),
        "DeepCluster, colours": (deepcluster.DeepCluster, dict(edges=False), cluster),
        "DeepCluster, as many clusters as shapes": (deepcluster.DeepCluster, dict(clusters=FEW), cluster),
        "RotNet": (rotnet.RotNet, {}, turn),
        "RotNet, half turns": (
            rotnet.RotNet,
            dict(turns=(0, 2)),
            turn.but(batch_size=2 * turn.batch_size),
        ),  # as many turned pictures
    }
    methods: dict[str, Any] = {}
    results: Runs = {}
    for name, (kind, arguments, recipe) in variants.items():
        start = time.perf_counter()
        torch.manual_seed(runtime.step_seed(seed, 0xC1A))
        methods[name] = kind(encoders.small_cnn(), **arguments)
        rows = fit(methods[name], pictures, recipe.but(seed=seed))
        results[name] = {"loss": rows[-1]["loss"], "seconds": time.perf_counter() - start}
        if kind is deepcluster.DeepCluster:
            # The first clustering has none before it to agree with.
            results[name] |= {
                "agreement at first": rows[1]["as before (NMI)"],
                "agreement at last": rows[-1]["as before (NMI)"],
            }
        say(f"  seed {seed}  {name:<40} loss {rows[-1]['loss']:.3f}  {results[name]['seconds']:.0f} s")
    judged = dict(methods)
    for name in ("DeepCluster", "RotNet"):
        judged[f"{name}, untrained"] = evaluate.random_like(methods[name], data.train.image, seed)
    for layer in ("conv4", "conv5"):
        judged[f"RotNet, {layer}"] = (methods["RotNet"], features.after(methods["RotNet"], layer))
    for name, scores in scored(judged, data, "claims.clusters").items():
        results[name] = {**results.get(name, {}), **scores}
        say(f"  seed {seed}  {name:<40} linear {scores['linear']:.3f}  kNN {scores['kNN']:.3f}")
    return results


CLAIMS = (
    Claim(
        "deepcluster_learns",
        "DeepCluster improves over an untrained network by its own clusters",
        "section 4.2, table 1",
        gain("DeepCluster", "DeepCluster, untrained"),
    ),
    Claim(
        "clusters_settle",
        "clusters agree more and more with those of the round before",
        "section 4.1, figure 2",
        lambda r: r["DeepCluster"]["agreement at last"] - r["DeepCluster"]["agreement at first"],
        "NMI",
    ),
    Claim(
        "many_clusters",
        f"many more clusters than classes (100) beat as many as classes ({FEW})",
        "section 4.1, figure 2",
        gain("DeepCluster", "DeepCluster, as many clusters as shapes"),
    ),
    Claim(
        "edges",
        "clusters of edges teach more than clusters of colours",
        "section 3.3; the authors' code",
        gain("DeepCluster", "DeepCluster, colours"),
    ),
    Claim(
        "rotnet_learns",
        "telling turns apart improves over an untrained network",
        "section 4.1, table 3",
        gain("RotNet", "RotNet, untrained"),
    ),
    Claim(
        "four_turns",
        "four turns beat the two half turns",
        "section 4.1, table 2",
        gain("RotNet", "RotNet, half turns"),
    ),
    Claim(
        "middle_layer",
        "features of the last layer but one beat those of the last",
        "section 4.1, table 1",
        gain("RotNet, conv4", "RotNet, conv5"),
    ),
)
