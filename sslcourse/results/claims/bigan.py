"""What BiGAN claims of its features (arXiv:1605.09782), and six networks a seed to decide it.

The equivalence is claimed within a margin that was fixed before the first run: level means that the mean of
the baselines is at most so far away. The paper trains for days what is trained here for seconds; the game is
the slowest of all to begin."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import toybox
from sslcourse.data.datasets import Data
from sslcourse.methods import bigan
from sslcourse.results.claims.engine import Claim, Runs, gain, scored
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe
from sslcourse.transforms import augment

LESSON = "02_bigan"

RECIPE = bigan.COURSE.but(epochs=4)
PICTURES = 3000
# of accuracy: the paper's own rows on MNIST lie within half a hundredth, those on photographs within one of
# each other
MARGIN = 0.03
BASELINES = ("D", "latent regressor", "joint latent regressor", "autoencoder, l2", "autoencoder, l1")


def reconstruction_distances(method, images: torch.Tensor) -> tuple[float, float]:
    """Mean distance of G(E(x)) from x, and from another picture: (own, other), 1 is a pixel's range."""
    x = images.float() / 255
    with torch.no_grad():
        y = method.eval().reconstruct(x)
    return float((y - x).abs().mean()), float((y - x.roll(1, 0)).abs().mean())


def runs(seed: int, data: Data | None = None, recipe: Recipe = RECIPE, say=print) -> Runs:
    """Train BiGAN and the paper's five baselines, with one encoder, on the same pictures as often."""
    data = data or toybox.images(seed=seed)
    part = data.train.take(slice(0, min(PICTURES, len(data.train)))).unlabelled()
    variants: dict[str, tuple[type, dict[str, Any]]] = {
        "BiGAN": (bigan.BiGAN, {}),
        "D": (bigan.GAN, {}),
        "latent regressor": (bigan.LatentRegressor, {}),
        "joint latent regressor": (bigan.LatentRegressor, dict(joint=0.25)),
        "autoencoder, l2": (bigan.Autoencoder, dict(power=2)),
        "autoencoder, l1": (bigan.Autoencoder, dict(power=1)),
    }
    methods: dict[str, Any] = {}
    results: Runs = {}
    for name, (kind, arguments) in variants.items():
        start = time.perf_counter()
        torch.manual_seed(runtime.step_seed(seed, 0xC1A))
        method = kind(encoders.small_cnn(), **arguments)
        row = fit(method, part, recipe.but(seed=seed))[-1]
        results[name] = {"loss": row["loss"], "seconds": time.perf_counter() - start}
        if hasattr(method, "reconstruct"):
            results[name]["own"], results[name]["other"] = reconstruction_distances(
                method, data.validation.image[:512]
            )
        methods[name] = method
        say(f"  seed {seed}  {name:<24} loss {row['loss']:.3f}  {results[name]['seconds']:.0f} s")
    methods["random"] = evaluate.random_like(methods["BiGAN"], data.train.image, seed)
    methods["pixels"] = (methods["random"], lambda batch: augment.as_float(batch["image"]).flatten(1))
    for name, scores in scored(methods, data, "claims.bigan").items():
        results[name] = {**results.get(name, {}), **scores}
        say(f"  seed {seed}  {name:<24} linear {scores['linear']:.3f}  kNN {scores['kNN']:.3f}")
    return results


def _level(r: Runs) -> float:
    return MARGIN - abs(r["BiGAN"]["linear"] - statistics.fmean(r[name]["linear"] for name in BASELINES))


CLAIMS = (
    Claim("beats_pixels", "BiGAN's features beat the pixels", "section 4", gain("BiGAN", "pixels")),
    Claim("beats_random", "BiGAN's features beat a random encoder", "section 4", gain("BiGAN", "random")),
    Claim(
        "level",
        f"BiGAN stands level with the mean of the five baselines (within {MARGIN:g}, fixed beforehand)",
        "section 4.2, table 1",
        _level,
        "margin left",
    ),
    Claim(
        "inverts",
        "G(E(x)) is nearer to x than to another picture, though no loss asks for it",
        "section 3, figure 2",
        lambda r: r["BiGAN"]["other"] - r["BiGAN"]["own"],
        "distance",
    ),
    Claim(
        "pixelwise",
        "an autoencoder reconstructs the pixels better",
        "section 4.2",
        lambda r: r["BiGAN"]["own"] - r["autoencoder, l1"]["own"],
        "distance",
    ),
)
