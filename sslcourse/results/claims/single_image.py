"""What one image can teach (arXiv:1904.13132), and six networks a seed to decide it: probed after conv1,
conv2 and conv5.

The crops are cut out of a photograph and the features are read on the toybox, whose solids are in no
photograph. What is alike in both are edges, colours and textures, and so only what is made of those can carry
over.

RotNet and DeepCluster, each on crops of one photograph, on crops of it that hardly vary, and on the toybox
itself: equally many pictures and equally many steps. BiGAN, the paper's third, takes three times as long a
step and stands in the table only (`sslcourse table single_image`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch
from torch import nn

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import single_image, toybox
from sslcourse.data.datasets import Data, open_labels
from sslcourse.encoders.scattering import scattering_encoder
from sslcourse.evaluate.probes import found_of
from sslcourse.methods import bigan, deepcluster, rotnet
from sslcourse.methods.base import Method, floats_of
from sslcourse.results.claims.engine import Claim, Runs
from sslcourse.train import features
from sslcourse.train.loop import fit

LESSON = "05_single_image"

PICTURES, LABELLED = 2000, 2000  # to learn from without labels, and to fit the probes on
KINDS = {"BiGAN": bigan, "RotNet": rotnet, "DeepCluster": deepcluster}
# With so few pictures: a hundred to a cluster, and a new clustering every third epoch only, because the fresh
# head needs steps of its own.
RECIPES = {"RotNet": rotnet.COURSE.but(epochs=5), "DeepCluster": deepcluster.COURSE.but(epochs=12, lr=1e-3)}
LAYERS = ("conv1", "conv2", "conv5")
# How far one image may stay behind and still count as enough: in the paper's table picture A is 1.5 points
# behind all images at conv2 (RotNet).
MARGIN = 0.02


class Frozen(Method):
    """Any encoder as a method that does not learn, for the probes."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.f = encoder

    def encode(self, batch):
        return self.f(floats_of(batch))


def untrained(kind: str, classes: int, pictures: int, seed: int) -> Method:
    """A method of `KINDS` around the course's encoder; with one seed the encoder's first weights are the same
    for every training set.
    """
    settings = KINDS[kind].SPEC.settings("course", True, classes)
    if kind == "DeepCluster":
        settings |= {"clusters": max(2, pictures // 100), "every": 3, "capacity": pictures}
    torch.manual_seed(runtime.step_seed(seed, 0x51))
    return KINDS[kind].SPEC.build(encoders.small_cnn(), settings)


def layer_by_layer(methods: Mapping[str, Method], layers: tuple[str, ...] | None = None) -> dict[str, tuple]:
    """ "name: layer" -> (method, what it gives after that layer), for `opened`; all layers by default."""
    return {
        f"{name}: {layer}": (m, features.after(m, layer))
        for name, m in methods.items()
        for layer in layers or m.f.layers
    }


def opened(
    probed: Mapping[str, tuple], data: Data, reader: str, classifiers: Mapping[str, Method] | None = None
) -> dict[str, float]:
    """Accuracies on the test split, in one opening of its labels: of linear probes, and of classifiers with a
    `head`.

    Args:
        probed: name -> (a method, what to read of it), as `layer_by_layer` gives them.
        reader: who opens the labels.
    """
    label, train_label = open_labels(data.test, reader)[0].cpu(), data.train.label.cpu()
    right = {}
    for name, (method, encode) in probed.items():
        x = [features.extract(method, part, encode=encode) for part in (data.train, data.test)]
        right[name] = evaluate.linear_probe(x[0], train_label, classes=len(data.classes)).found(x[1], label)
    for name, method in (classifiers or {}).items():
        classify: Callable = lambda batch, m=method: m.head(m.encode(batch))
        logits = features.extract(method, data.test, encode=classify)
        right[name] = found_of(logits, label)
    return right


def runs(seed: int, data: Data | None = None, pictures: int = PICTURES, say=print) -> Runs:
    """Train all variants that the claims compare: six, three quarters of a minute on one thread, and half as
    long again for the probes.
    """
    data = data or toybox.images(seed=seed)
    n = min(pictures, len(data.train))
    sets = {
        "one": single_image.single_image("china", n, seed=seed),
        "weak": single_image.single_image("china", n, seed=seed, distortion=single_image.WEAK),
        "all": data.train.take(slice(0, n)).unlabelled(),
    }
    methods = {}
    for kind, recipe in RECIPES.items():
        for condition, samples in sets.items():
            start = time.perf_counter()
            method = methods[f"{kind}, {condition}"] = untrained(kind, len(data.classes), n, seed)
            row = fit(method, samples, recipe.but(seed=seed))[-1]
            say(
                f"  seed {seed}  {kind:<12} {condition:<5} loss {row['loss']:.3f}  "
                f"{time.perf_counter() - start:.0f} s"
            )
    for kind in RECIPES:  # each method's own: through its own input
        methods[f"{kind}, random"] = evaluate.random_like(methods[f"{kind}, all"], data.train.image, seed)
    probed = layer_by_layer(methods, LAYERS) | layer_by_layer({"scattering": Frozen(scattering_encoder())})
    few = Data(data.train.take(slice(0, LABELLED)), data.validation, data.test)
    results = {name: {"linear": value} for name, value in opened(probed, few, "claims.single_image").items()}
    for name, scores in results.items():
        say(f"  seed {seed}  {name:<26} linear {scores['linear']:.3f}")
    return results


def ahead(kind: str, one: str, other: str, layer: str, margin: float = 0.0):
    """An effect: how far a method's condition `one` is above its condition `other` after a layer, plus a
    margin.
    """
    return lambda r: (
        r[f"{kind}, {one}: {layer}"]["linear"] - r[f"{kind}, {other}: {layer}"]["linear"] + margin
    )


def deeper(kind: str):
    """An effect: how much more one image lacks at conv5 than at conv2."""
    return lambda r: ahead(kind, "all", "one", "conv5")(r) - ahead(kind, "all", "one", "conv2")(r)


def above(layer: str, yardstick: str):
    """An effect: how far one image is above what has learned nothing, mean over the methods.

    Args:
        yardstick: "random", each method's own (a file from before has one for all), or the name of a row.
    """

    def blank(r: Runs, kind: str) -> float:
        row = f"{kind}, random: {layer}" if yardstick == "random" else yardstick
        return r[row if row in r else f"{yardstick}: {layer}"]["linear"]

    return lambda r: (
        sum(r[f"{kind}, one: {layer}"]["linear"] - blank(r, kind) for kind in RECIPES) / len(RECIPES)
    )


def _of(kind: str) -> tuple[Claim, ...]:
    """What the paper says of each method."""
    short, table = kind.lower(), "section 4.2, table 2"
    return (
        Claim(
            f"{short}_conv1",
            f"{kind}: one image is enough for conv1 (less than two points behind all)",
            table,
            ahead(kind, "one", "all", "conv1", MARGIN),
        ),
        Claim(
            f"{short}_conv2",
            f"{kind}: one image is enough for conv2 (less than two points behind all)",
            table,
            ahead(kind, "one", "all", "conv2", MARGIN),
        ),
        Claim(
            f"{short}_conv5",
            f"{kind}: and not for conv5, where all images are above one",
            table,
            ahead(kind, "all", "one", "conv5"),
        ),
        Claim(f"{short}_depth", f"{kind}: one image lacks more at conv5 than at conv2", table, deeper(kind)),
        Claim(
            f"{short}_augmentation_conv1",
            f"{kind}: augmentation does the work: heavy above weak at conv1",
            "section 4.1, table 1",
            ahead(kind, "one", "weak", "conv1"),
        ),
        Claim(
            f"{short}_augmentation_conv2",
            f"{kind}: heavy above weak augmentation at conv2",
            "section 4.1, table 1",
            ahead(kind, "one", "weak", "conv2"),
        ),
    )


CLAIMS = (
    *_of("RotNet"),
    *_of("DeepCluster"),
    Claim(
        "random_conv1",
        "one image beats random weights that see the same at conv1 (mean of both methods)",
        "section 4.2, table 2",
        above("conv1", "random"),
    ),
    Claim(
        "random_conv2",
        "one image beats random weights that see the same at conv2 (mean of both methods)",
        "section 4.2, table 2",
        above("conv2", "random"),
    ),
    Claim(
        "scattering",
        "one image at conv2 beats the scattering transform (mean of both methods)",
        "section 4.2, table 2",
        above("conv2", "scattering: scattering"),
    ),
)
