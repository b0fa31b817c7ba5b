"""The yardsticks of the toybox, measured: what makes it a world worth learning in.

`sslcourse evaluate --calibration` prints the table that is kept in `measured/calibration.json`.
"""

from __future__ import annotations

import time

import torch

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import toybox
from sslcourse.data.datasets import Data
from sslcourse.methods import simclr, supervised
from sslcourse.runtime import progress
from sslcourse.runtime.options import SEEDS, WHOLE, takes
from sslcourse.train import loop
from sslcourse.train.loop import fit

BACKGROUNDS = (0.0, 0.5, 1.0)  # beside the default


@takes(seed=WHOLE)
def trained(kind: str, data: Data, seed: int) -> tuple[torch.nn.Module, float]:
    """A method trained by its COURSE recipe, and how many seconds that took."""
    torch.manual_seed(runtime.step_seed(seed, 0xCA1))
    encoder = encoders.small_cnn()
    method, module = (
        (simclr.SimCLR(encoder), simclr)
        if kind == "SimCLR"
        else (supervised.Supervised(encoder, len(data.classes)), supervised)
    )
    start = time.perf_counter()
    with loop.whole_runs():
        fit(method, data.train, module.COURSE.but(seed=seed))
    return method, time.perf_counter() - start


@takes(seeds=SEEDS)
def measure(seeds: int = 3, say=print, backgrounds=BACKGROUNDS) -> list[dict]:
    """Rows of {"features", "kNN": [per seed], "linear": [...], "seconds": [...]} on the test split.

    Each seed draws its own world, initial weights and views.
    """
    rows: dict[str, dict] = {}

    def add(name: str, scores: dict, seconds: float) -> None:
        row = rows.setdefault(name, {"features": name, "kNN": [], "linear": [], "seconds": []})
        row["kNN"].append(scores["kNN"])
        row["linear"].append(scores["linear"])
        row["seconds"].append(seconds)
        say(f"  {name:<22} kNN {scores['kNN']:.3f}  linear {scores['linear']:.3f}  {seconds:.1f} s")

    for seed in progress.each(range(seeds), "seed"):
        data = toybox.images(seed=seed)
        methods, seconds = {}, {}
        for kind in ("supervised", "SimCLR"):
            methods[kind], seconds[kind] = trained(kind, data, seed)
        found = evaluate.report(methods, data, seed=seed)
        for row in found.rows:
            add(row["features"], row, seconds.get(row["features"], 0.0))
        for background in backgrounds:
            other = toybox.images(seed=seed, background=background)
            method, took = trained("SimCLR", other, seed)
            found = evaluate.report({"SimCLR": method}, other, seed=seed)
            add(f"pixels, background {background:g}", found["pixels"], 0.0)
            add(f"SimCLR, background {background:g}", found["SimCLR"], took)
    order = ["chance", "pixels", "random encoder", "SimCLR", "supervised"]
    return sorted(
        rows.values(), key=lambda r: order.index(r["features"]) if r["features"] in order else len(order)
    )
