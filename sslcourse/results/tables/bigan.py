"""Table 1 of "Adversarial feature learning" (arXiv:1605.09782): nearest neighbours of digits, for BiGAN and
the five baselines.

    sslcourse table bigan                            scikit-learn's 1,797 digits, seconds
    sslcourse table bigan --set data=mnist           MNIST; or data=PATH of a .npz file of your own

Every encoder is the same network of two hidden layers, which sees a picture as a plain vector; what is kept
is its last hidden layer. A
test picture is given the label of its nearest training picture, by Euclidean distance. Departures: narrower
layers and far fewer steps than the paper's 400 passes, as the settings say; a tenth of the training pictures
is set aside and unused. An untrained encoder and the pixels stand beside the paper's six rows, for without
them nobody can tell what a row is worth."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from sslcourse import evaluate, runtime
from sslcourse.data.datasets import Data
from sslcourse.data.load import load
from sslcourse.methods import bigan
from sslcourse.methods.base import floats_of
from sslcourse.results.tables import cell
from sslcourse.runtime import progress
from sslcourse.runtime.options import BATCH, EPOCHS, RATE_OF_LEARNING, SEEDS, WIDTH, takes
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe

TITLE = "Nearest-neighbour accuracy of flat networks on digits (%)"
LATENT = 50


def variants(size: int, width: int = 256, latent: int = LATENT) -> dict[str, Callable[[], nn.Module]]:
    """The rows of the table, by the names of `bigan.TABLE`: each makes its method, permutation-invariant,
    with fresh weights.

    Args:
        size: side of the pictures.
        width: units of each hidden layer; 1,024 in the paper.
    """
    encoder = lambda: bigan.FlatEncoder(size, width)
    g = lambda: bigan.FlatGenerator(size, latent, width)
    d = lambda told: bigan.FlatDiscriminator(size, told, width)
    regressor = lambda joint: bigan.LatentRegressor(
        encoder(), size, latent, joint=joint, generator=g(), discriminator=d(0)
    )
    return {
        "BiGAN": lambda: bigan.BiGAN(encoder(), size, latent, generator=g(), discriminator=d(latent)),
        "D": lambda: bigan.GAN(encoder(), size, latent, generator=g()),
        "latent regressor": lambda: regressor(0.0),
        "joint latent regressor": lambda: regressor(0.25),
        "autoencoder, l2": lambda: bigan.Autoencoder(encoder(), size, latent, power=2, generator=g()),
        "autoencoder, l1": lambda: bigan.Autoencoder(encoder(), size, latent, power=1, generator=g()),
    }


def trained(
    data: Data, recipe: Recipe, width: int = 256, names: tuple[str, ...] | None = None, say=print
) -> tuple[dict[str, nn.Module], dict[str, float]]:
    """All variants (or those named), trained from the recipe's seed, with an untrained encoder; and the
    seconds that each took.
    """
    methods: dict[str, nn.Module] = {}
    seconds: dict[str, float] = {}
    makers = variants(data.train.image.shape[-1], width)
    for name in names or tuple(makers):
        start = time.perf_counter()
        torch.manual_seed(runtime.step_seed(recipe.seed, 0xB16))
        methods[name] = makers[name]()
        row = fit(methods[name], data.train.unlabelled(), recipe)[-1]
        seconds[name] = time.perf_counter() - start
        say(f"  seed {recipe.seed}  {name:<24} loss {row['loss']:.3f}  {seconds[name]:.0f} s")
    methods["untrained encoder"] = evaluate.random_like(
        next(iter(methods.values())), data.train.image, recipe.seed
    )
    return methods, seconds


def accuracies(methods: dict[str, nn.Module], data: Data, on: str = "validation") -> dict[str, float]:
    """1-NN accuracy of every method's encoding, of BiGAN's code E(x), and of the pixels.

    Args:
        on: "validation", or "test", whose labels are then opened once.
    """
    sources: dict = {name: (method, method.encode) for name, method in methods.items()}
    if "BiGAN" in methods:
        sources["BiGAN, E(x) itself"] = (
            methods["BiGAN"],
            lambda batch, m=methods["BiGAN"]: m.head(m.encode(batch)),
        )
    # Three equal channels: one is enough.
    sources["pixels"] = (next(iter(methods.values())), lambda batch: floats_of(batch)[:, 0].flatten(1))
    return evaluate.nearest_neighbour(sources, data, on=on)


@takes(seeds=SEEDS, epochs=EPOCHS, width=WIDTH, batch_size=BATCH, lr=RATE_OF_LEARNING)
def measure(
    seeds: int = 3,
    say=print,
    data: str = "digits",
    epochs: int = 30,
    width: int = 256,
    batch_size: int = 64,
    lr: float = 1e-3,
) -> list[dict]:
    """Rows of the table: mean and standard deviation over seeds.

    Args:
        data: "digits", "mnist", or the path of a .npz file with image, label, test_image, test_label; grey
            pictures.
        epochs, batch_size, lr: of every row's training.
        width: units of the hidden layers.
    """
    scores, seconds = [], []
    for seed in progress.each(range(seeds), "seed"):
        loaded = load(data, seed)
        # The paper's schedule: constant, then falling; a cosine does both.
        recipe = Recipe(
            epochs, batch_size, lr, schedule="cosine", weight_decay=bigan.PAPER["weight_decay"], seed=seed
        )
        methods, took = trained(loaded, recipe, width, say=say)
        scores.append(accuracies(methods, loaded, "test"))
        seconds.append(took)
        say("  " + "  ".join(f"{name} {100 * value:.2f}" for name, value in scores[-1].items()))
    rows = []
    for name in scores[0]:
        times = [s[name] for s in seconds if name in s]
        rows.append(
            {
                "features": name,
                "1-NN": cell([s[name] for s in scores], 2),
                "seconds": f"{statistics.fmean(times):.0f}" if times else "–",
                "paper, MNIST": f"{bigan.TABLE[name]:.2f}" if name in bigan.TABLE else "–",
            }
        )
    return rows
