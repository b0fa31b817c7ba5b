"""Table 2 of "A critical analysis of self-supervision" (arXiv:1904.13132), and the frozen layers of its
section 4.3.

BiGAN, RotNet and DeepCluster on crops of 1, 10 and 1,000 pictures and on all of them; a linear probe after
each convolution, and the accuracy of a network whose first two layers are kept while the others are trained
with labels. Beside them random weights, the scattering transform and full supervision. Every training without
labels has equally many pictures, whatever they were cut from.

    sslcourse table single_image                 the toybox and scikit-learn's photograph
    sslcourse table single_image --set data=cifar10.npz --set picture=a.jpg,b.jpg
                                                 real pictures, two photographs

Departures: five small convolutions and pictures of 32 pixels; "full" is as many pictures as there are crops,
not a million; the paper takes its 10 and 1,000 source pictures at their full size, here they have the 32
pixels of the data set; each layer is averaged over 2 x 2 places and probed by logistic regression; a few
epochs, named in every row."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import single_image
from sslcourse.data.datasets import Data, Samples
from sslcourse.data.load import load
from sslcourse.encoders.scattering import scattering_encoder, scattering_stem
from sslcourse.methods import bigan, supervised
from sslcourse.methods.base import Method
from sslcourse.results.claims.single_image import KINDS, RECIPES, Frozen, layer_by_layer, opened, untrained
from sslcourse.results.tables import cell
from sslcourse.runtime import progress
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, FACTOR, SEEDS, takes
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe

TITLE = (
    "One image, ten, a thousand, all: linear probes layer by layer, and the first two layers kept "
    "(test accuracy, %)"
)
HOW = {**RECIPES, "BiGAN": bigan.COURSE}
EPOCHS = {"BiGAN": 6, "RotNet": 6, "DeepCluster": 15}  # about equally long
SUPERVISED = 8  # epochs, of full supervision and of the upper layers on frozen ones
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5")
UPPER = "two kept"


@takes(seeds=SEEDS, pictures=COUNT, labelled=COUNT, effort=FACTOR)
def measure(
    seeds: int = 1,
    say=print,
    data: str = "toybox",
    picture: str = "china",
    pictures: int = 3000,
    labelled: int = 3000,
    effort: float = 1.0,
) -> list[dict]:
    """Rows of the table.

    Args:
        data: the name of a data set, as for `load`: where the labels come from, and the pictures of all rows
            but "1".
        picture: photographs for the rows "1", comma between, each as for `data.single_image.photograph`.
        pictures: that each training without labels has.
        labelled: to fit the probes on, and to train with where labels are used.
        effort: all epochs times this.
    """
    if not effort > 0:
        raise CourseError(f"effort={effort}; all epochs are multiplied by it, so take a number above 0")
    for name in picture.split(","):
        single_image.photograph(name)  # a wrong one is told before anything trains
    whole = load(data)
    n, labelled = min(pictures, len(whole.train)), min(labelled, len(whole.train))
    few = Data(whole.train.take(slice(0, labelled)), whole.validation, whole.test)
    found: dict[str, dict] = {}
    for seed in progress.each(range(seeds), "seed"):
        for name, (about, scores) in _seed(
            seed, whole.train, few, picture.split(","), n, effort, say
        ).items():
            row = found.setdefault(name, {"about": about, "scores": {}})
            for column, value in scores.items():
                row["scores"].setdefault(column, []).append(value)
    return [
        {**row["about"], **{c: cell(row["scores"].get(c, ())) for c in (*LAYERS, UPPER)}}
        for row in found.values()
    ]


def training_sets(
    train: Samples, photographs: Sequence[str], n: int, seed: int = 0
) -> dict[str, tuple[str, Samples]]:
    """Name of a condition -> (how many pictures it is made from, its samples): one for each photograph, then
    deka, kilo and full.
    """
    sets: dict[str, Samples] = {}
    for photograph in photographs:
        made = (
            single_image.conditions(train, photograph, n, seed=seed)
            if not sets
            else {"mono": single_image.single_image(photograph, n, seed=seed)}
        )
        sets |= {
            f"mono {Path(photograph).stem}" if name == "mono" else name: samples
            for name, samples in made.items()
        }
    count = {"deka": "10", "kilo": "1,000", "full": f"{n:,}"}
    order = sorted(sets, key=lambda name: list(count).index(name) if name in count else -1)
    return {name: (count.get(name, "1"), sets[name]) for name in order}


def _epochs(recipe: Recipe, epochs: float, effort: float, seed: int) -> Recipe:
    return recipe.but(epochs=max(1, round(epochs * effort)), seed=seed)


def _upper(encoder: nn.Module, data: Data, effort: float, seed: int) -> Method:
    """A classifier whose layers that are not frozen, and its head, were trained with labels."""
    torch.manual_seed(runtime.step_seed(seed, 0x52))
    method = supervised.Supervised(encoder, len(data.classes))
    recipe = _epochs(supervised.COURSE, SUPERVISED, effort, seed)
    fit(method, data.train, recipe.but(batch_size=min(recipe.batch_size, len(data.train))))
    return method


def _seed(
    seed: int, train: Samples, data: Data, photographs: Sequence[str], n: int, effort: float, say
) -> dict[str, tuple[dict, dict]]:
    """All rows of one seed: name -> (its first cells, its scores). The test labels are opened once, after the
    last training.
    """
    start = time.perf_counter()

    def told(name: str) -> None:
        say(f"  seed {seed}  {name:<26} {time.perf_counter() - start:5.0f} s")

    epochs = _epochs(supervised.COURSE, SUPERVISED, effort, seed).epochs
    about: dict[str, dict] = {
        "supervised": {"method": "full supervision", "images": f"{len(data.train):,}", "epochs": epochs},
        "scattering": {"method": "scattering", "images": "0", "epochs": "–"},
    }
    torch.manual_seed(runtime.step_seed(seed, 0x51))  # of the encoder; its head draws from a seed of its own
    methods: dict[str, Method] = {"supervised": _upper(encoders.small_cnn(), data, effort, seed)}
    told("full supervision")
    sets = training_sets(train, photographs, n, seed)
    trained: dict[str, Method] = {}
    for kind in KINDS:
        for condition in ("full", *[c for c in sets if c != "full"]):  # the paper's order
            images, samples = sets[condition]
            recipe = _epochs(HOW[kind], EPOCHS[kind], effort, seed)
            name = f"{kind} {condition}"
            method = trained[name] = untrained(kind, len(data.classes), n, seed)
            fit(method, samples, recipe.but(batch_size=min(recipe.batch_size, n)))
            about[name] = {"method": name.removesuffix(" full"), "images": images, "epochs": recipe.epochs}
            told(name)
    full = {kind: trained[f"{kind} full"] for kind in KINDS}
    blank = evaluate.random_rows(full, data.train, seed)
    blank = {name.replace("random encoder", "random"): network for name, network in blank.items()}
    about |= {name: {"method": name, "images": "0", "epochs": "–"} for name in blank}
    methods |= {**blank, **trained}
    kept: dict[str, nn.Module] = {
        name: encoders.with_frozen(m, 2, seed) for name, m in methods.items() if name != "supervised"
    }
    kept["scattering"] = scattering_stem(methods["random"].f, seed=seed)
    upper = {
        "supervised": methods["supervised"],
        **{name: _upper(encoder, data, effort, seed) for name, encoder in kept.items()},
    }
    told("the upper layers")
    probed = {**layer_by_layer(methods), **layer_by_layer({"scattering": Frozen(scattering_encoder())})}
    scores: dict[str, dict] = {name: {} for name in about}
    for key, value in opened(
        probed, data, "tables.single_image", {f"{name}: {UPPER}": m for name, m in upper.items()}
    ).items():
        name, column = key.split(": ")
        scores[name]["conv2" if column == "scattering" else column] = (
            value  # the paper's column, and where its maps are as large
        )
    told("the probes")
    order = ["supervised", "scattering", *blank, *trained]
    return {name: (about[name], scores[name]) for name in order}
