"""Honest evaluation: what a frozen representation is worth, with its protocol and its baselines beside it.

- Inside a training loop: `probe(method, data)`. It reads the training and the validation split, never the
  test split.
- For the final number: `report(method, data)`. It opens the test labels, once, and says how often they have
  been opened.

Every score is an accuracy between 0 and 1 unless its name says otherwise. All choices inside a probe (its
regularisation) are made on a part of the training split."""

from __future__ import annotations

import copy
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sslcourse import runtime
from sslcourse.data.datasets import MODALITIES, Data, Samples, few_labels, few_of_each
from sslcourse.encoders.images import layers_of, reset
from sslcourse.evaluate.probes import KNN, accuracy_of, knn_predict, labels_of, linear_probe
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, SEED, SHARE, SOME, Number, takes
from sslcourse.train import features

Network = TypeVar("Network", bound=nn.Module)


def _numbers(label: Tensor, what: str) -> Tensor:
    """(N,) class numbers as PyTorch indexes by them, whatever type of whole number they are."""
    label = torch.as_tensor(label).cpu()
    if label.is_floating_point() or label.is_complex() or label.ndim != 1 or not len(label):
        raise CourseError(
            f"{what} of type {label.dtype} and shape {tuple(label.shape)}; pass one whole number for each "
            f"sample: "
            "label.long()"
        )
    return label.long()


@takes(classes=Number(-(2**40), 2**40))
def score(
    train_x: Tensor,
    train_y: Tensor,
    x: Tensor,
    y: Tensor,
    *,
    classes: int,
    protocol: str = "dino",
    linear: bool = True,
) -> dict[str, float]:
    """kNN and linear accuracy of features x with labels y, learned from train_x and train_y."""
    if train_x.ndim != 2:
        raise CourseError(
            f"features of shape {tuple(train_x.shape)}; a probe reads one vector per sample, and these are "
            "dense: average them over their places (on the command line: --no-probe), or judge them by "
            "tracking: sslcourse.tracking"
        )
    if len(train_x) != len(train_y) or len(x) != len(y):
        raise CourseError(
            f"{len(train_x)} features for {len(train_y)} labels, {len(x)} for {len(y)}; they must agree"
        )
    train_y, y = _numbers(train_y, "training labels"), _numbers(y, "labels")
    if int(train_y.min()) < 0:
        raise CourseError("some training labels are -1 (unlabelled); probe with a labelled split")
    if int(train_y.max()) >= classes:
        raise CourseError(
            f"label {int(train_y.max())} of {classes} classes; labels run from 0 to {classes - 1}: pass "
            f"classes={int(train_y.max()) + 1}, or mend the labels"
        )
    result = {"kNN": accuracy_of(knn_predict(train_x, train_y, x, classes=classes, protocol=protocol), y)}
    if linear:
        result["linear"] = accuracy_of(linear_probe(train_x, train_y, classes=classes).predict(x), y)
    return result


@takes(limit=SOME)
def probe(
    method: nn.Module, data: Data, *, linear: bool = True, limit: int | None = None, protocol: str = "dino"
) -> dict[str, float]:
    """kNN and linear accuracy on the *validation* split: for loops, curves and choices.

    Args:
        linear: also fit the linear probe (half a second on 6,000 samples).
        limit: use only so many training and validation samples, for a quick look in a loop.
    """
    train, held = data.train, data.validation
    if limit:
        train, held = train.take(slice(0, limit)), held.take(slice(0, limit))
    return score(
        features.extract(method, train),
        train.label,
        features.extract(method, held),
        held.label,
        classes=len(data.classes),
        protocol=protocol,
        linear=linear,
    )


@takes(n=COUNT, limit=COUNT)
def guesses(
    method: nn.Module, data: Data, n: int = 12, *, limit: int = 500, protocol: str = "dino"
) -> Int[Tensor, " n"]:
    """What the first `n` validation samples are taken for by kNN among the first `limit` training samples:
    for pictures, not for scores.
    """
    bank, held = data.train.take(slice(0, limit)), data.validation.take(slice(0, n))
    return knn_predict(
        features.extract(method, bank),
        bank.label.cpu(),
        features.extract(method, held),
        classes=len(data.classes),
        protocol=protocol,
    )


@takes(seed=SEED)
def random_like(method: Network, shown: Tensor | Samples, seed: int = 0) -> Network:
    """The same network with fresh random weights and batch statistics of the data: the baseline of every
    representation.

    The statistics are the plain mean over (at most) eight batches of 256 drawn at random, whatever momentum
    the network trains with: a moving average would after so few steps still be nearly half of what it began
    as, and the baseline weaker than random weights are.

    Args:
        shown: images (N, 3, H, W), videos (N, 3, T, H, W), or a data set.
    """
    untrained = copy.deepcopy(method)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(runtime.step_seed(seed, 0x4A9D))
        reset(untrained)
    momenta = {
        module: module.momentum
        for module in untrained.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    }
    for module in momenta:
        module.momentum = None
    device = next(untrained.parameters()).device
    # Mixed, for a set may lie in the order of its classes.
    mixed = torch.randperm(len(shown), generator=runtime.generator(seed, 0x4A9E))[:2048]
    untrained.train()
    with torch.no_grad():
        for chosen in mixed.tensor_split(-(-len(mixed) // 256)):
            if isinstance(shown, Tensor):
                batch = {"video" if shown.ndim == 5 else "image": shown[chosen.to(shown.device)]}
            else:
                batch = next(shown.take(chosen).batches(256))
            features.encode_of(untrained)(
                {name: batch[name].to(device) for name in MODALITIES if name in batch}
            )
    for module, momentum in momenta.items():
        module.momentum = momentum
    return untrained.eval()


@dataclass
class Report:
    """Scores on a test split, each row one kind of feature, with the protocol under which they were read."""

    rows: list[dict]
    data: str
    protocol: str
    readings: int  # how often this test split has been opened, this report included
    extra: dict = field(default_factory=dict)

    def __getitem__(self, name: str) -> dict:
        for row in self.rows:
            if row["features"] == name:
                return row
        raise KeyError(f"{name!r}; this report has {', '.join(r['features'] for r in self.rows)}")

    def _heading(self) -> str:
        again = f" (opened {self.readings} times: a score chosen among several readings is no test score)" * (
            self.readings > 1
        )
        return f"{self.data}, test split{again}; {self.protocol}"

    def __repr__(self):
        width = max(len(r["features"]) for r in self.rows)
        keys = [k for k in self.rows[0] if k != "features"]
        lines = [self._heading(), f"{'features':<{width}}  " + "  ".join(f"{k:>8}" for k in keys)]
        lines += [f"{r['features']:<{width}}  " + "  ".join(f"{r[k]:8.1%}" for k in keys) for r in self.rows]
        return "\n".join(lines)

    def _repr_html_(self):
        keys = [k for k in self.rows[0] if k != "features"]
        head = "".join(f"<th>{k}</th>" for k in ("features", *keys))
        body = "".join(
            "<tr><td style='text-align:left'>"
            + html.escape(str(r["features"]))
            + "</td>"
            + "".join(f"<td>{r[k]:.1%}</td>" for k in keys)
            + "</tr>"
            for r in self.rows
        )
        return (
            "<table><caption "
            f"style='text-align:left;white-space:nowrap'>{html.escape(self._heading())}</caption><tr>{head}</tr>{body}</table>"
        )


def baselines_of(samples: Samples) -> tuple[str, str]:
    """What the two baselines of such data are called in every table: the raw input, and a network with random
    weights.
    """
    return ("log-mel", "random ear") if samples.kind == "audio" else ("pixels", "random encoder")


@takes(seed=SEED, few=COUNT)
def report(
    methods: nn.Module | Mapping[str, nn.Module],
    data: Data,
    *,
    seed: int = 0,
    protocol: str = "dino",
    baselines: bool = True,
    few: int | None = None,
) -> Report:
    """The final scores on the test split, with chance, raw pixels and a random encoder beside them.

    Args:
        methods: one trained method, or several by name (a dict), read in one opening of the test labels.
        seed: of the random encoder.
        protocol: of kNN, see `KNN`.
        baselines: leave out the three only where another row of the same table has them.
        few: also kNN ("few kNN") and a linear probe ("few labels") that have seen so many labels of each
            class, the same ones for every row.

    Raises:
        SealedLabels: when a training is under way.
    """
    if isinstance(methods, nn.Module):
        methods = {type(methods).__name__: methods}
    if not methods:
        raise CourseError("report needs at least one trained method: report(method, data)")
    classes = len(data.classes)
    label, train_label = labels_of(data.test, "evaluate.report").cpu(), data.train.label.cpu()
    rows: list[dict] = []

    chosen = few_of_each(data.train, few, seed) if few else None

    def add(name: str, train_x: Tensor, x: Tensor) -> None:
        row = {"features": name, **score(train_x, train_label, x, label, classes=classes, protocol=protocol)}
        if chosen is not None:
            votes = knn_predict(train_x[chosen], train_label[chosen], x, classes=classes, protocol=protocol)
            row["few kNN"] = accuracy_of(votes, label)
            row["few labels"] = accuracy_of(
                linear_probe(train_x[chosen], train_label[chosen], classes=classes).predict(x), label
            )
        rows.append(row)

    if baselines:
        most = float(torch.bincount(train_label, minlength=classes).max() / len(train_label))
        rows.append(
            {
                "features": "chance",
                "kNN": most,
                "linear": most,
                **({"few kNN": most, "few labels": most} if few else {}),
            }
        )
        raw, untrained = baselines_of(data.train)
        add(raw, features.pixels(data.train), features.pixels(data.test))
        encoder = random_like(next(iter(methods.values())), data.train, seed)
        add(untrained, features.extract(encoder, data.train), features.extract(encoder, data.test))
    for name, method in methods.items():
        add(name, features.extract(method, data.train), features.extract(method, data.test))
    settings = KNN[protocol]
    text = f"kNN {protocol}: cosine, k={settings['k']}" + (
        f", T={settings['temperature']}" if settings["temperature"] else ""
    )
    text += (
        f"; linear: logistic regression on {len(train_label):,} labels, frozen encoder"
        + f"; few labels: on {few} of each class" * bool(few)
    )
    return Report(rows, data.name, text, len(data.test.openings))


# ------------------------------------------------------------------------ layer by layer, few labels


@takes(size=Number(1, 64))
def layer_probes(
    method: nn.Module, data: Data, *, encoder: nn.Module | None = None, on: str = "validation", size: int = 2
) -> dict[str, dict[str, float]]:
    """Scores after each named layer of the encoder: layer -> {"kNN", "linear"}.

    Args:
        encoder: has `.layers`; `method.f` by default.
        on: "validation", or "test" for the final table.
        size: each layer's map is averaged over size x size places.
    """
    encoder = method.get_submodule("f") if encoder is None else encoder
    held = split_of(data, on)
    label = labels_of(held, "evaluate.layer_probes")
    result = {}
    for layer in layers_of(encoder):
        encode = features.after(encoder, layer, size)
        result[layer] = score(
            features.extract(method, data.train, encode=encode),
            data.train.label,
            features.extract(method, held, encode=encode),
            label,
            classes=len(data.classes),
        )
    return result


def split_of(data: Data, on: str) -> Samples:
    if on not in ("validation", "test"):
        raise CourseError(
            f"on={on!r}; score on 'validation' (to look and to choose) or on 'test' (to report)"
        )
    return getattr(data, on)


def label_curve(
    method: nn.Module,
    data: Data,
    shares: Sequence[float] = (0.01, 0.1, 1.0),
    *,
    seeds: Sequence[int] = (0, 1, 2),
    on: str = "validation",
) -> dict[float, list[float]]:
    """Linear probes from few labels: share of the labels -> accuracy for each random, class-balanced subset.

    SimCLR, section 4.3 and table 7 (there by fine-tuning: see `fine_tune`).
    """
    held = split_of(data, on)
    label = labels_of(held, "evaluate.label_curve")
    train_x, x = features.extract(method, data.train), features.extract(method, held)
    result: dict[float, list[float]] = {}
    for share in shares:
        result[share] = []
        for seed in seeds if share < 1 else seeds[:1]:  # all labels are one subset
            chosen = few_labels(data.train, share, seed)
            fitted = linear_probe(train_x[chosen], data.train.label.cpu()[chosen], classes=len(data.classes))
            result[share].append(accuracy_of(fitted.predict(x), label))
    return result


@takes(share=SHARE, seed=SEED)
def fine_tune(
    encoder: nn.Module, data: Data, share: float, recipe, *, seed: int = 0, on: str = "validation"
) -> float:
    """Accuracy after training a *copy* of the encoder and a new linear head on a share of the labels.

    SimCLR, section 4.3. Give a random encoder for the supervised baseline. The given encoder is left as it
    was.

    Args:
        share: of the labels, class-balanced; 0 < share <= 1.
        recipe: how to train; its batch size is lowered where there are fewer samples.
    """
    from sslcourse.methods.supervised import Supervised
    from sslcourse.train.loop import fit

    held = split_of(data, on)
    label = labels_of(held, "evaluate.fine_tune")
    part = data.train.take(few_labels(data.train, share, seed))
    method = Supervised(copy.deepcopy(encoder), len(data.classes))
    torch.manual_seed(runtime.step_seed(seed, 0xF1))
    method.head.reset_parameters()
    fit(method, part, recipe.but(batch_size=min(recipe.batch_size, len(part)), seed=seed))
    logits = features.extract(method, held, encode=lambda batch: method.head(method.encode(batch)))
    return accuracy_of(logits.argmax(1), label)


# ---------------------------------------------------------------------------------------------- retrieval


def retrieval(
    x: Float[Tensor, "n d"], label: Int[Tensor, " n"], ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """Search each sample among all others by cosine.

    Returns "recall@k" (is one of the k nearest of the same class) for each k, and "mAP" (mean over queries of
    the average precision of the full ranking), all 0 to 1. Queries whose class has no other member are left
    out."""
    n = len(x)
    if n <= max(ks):
        raise CourseError(
            f"ks={tuple(ks)} but only {n} samples; the largest k must be below the number of samples"
        )
    x, label = F.normalize(x.float(), dim=1), label.to(x.device)
    hits = {k: 0.0 for k in ks}
    precision, queries = 0.0, 0
    for start in range(0, n, 512):
        rows = torch.arange(start, min(start + 512, n), device=x.device)
        similarity = x[rows] @ x.T
        similarity[torch.arange(len(rows)), rows] = -2  # not itself
        order = similarity.argsort(1, descending=True)[:, :-1]  # (m, n - 1)
        same = label[order] == label[rows][:, None]
        same = same[same.any(1)]
        queries += len(same)
        for k in ks:
            hits[k] += float(same[:, :k].any(1).sum())
        found = same.cumsum(1)
        place = torch.arange(1, same.shape[1] + 1, device=x.device)
        precision += float(((found / place) * same).sum(1).div(same.sum(1)).sum())
    return {**{f"recall@{k}": hits[k] / queries for k in ks}, "mAP": precision / queries}


@takes(chunk=COUNT)
def nearest(bank: Tensor, labels: Tensor, queries: Tensor, chunk: int = 500) -> Tensor:
    """The label of each query's nearest row of the bank, by Euclidean distance: the oldest classifier there
    is.

    Args:
        bank, labels: (n, d) features and their (n,) labels.
        queries: (m, d).
        chunk: queries at once; no influence on the result.
    """
    if len(bank) != len(labels) or bank.shape[1:] != queries.shape[1:]:
        raise CourseError(
            f"{len(bank)} features {tuple(bank.shape[1:])}, {len(labels)} labels, queries "
            f"{tuple(queries.shape[1:])}; they must agree"
        )
    half = (
        bank.square().sum(1) / 2
    )  # |q - b|^2 = |q|^2 - 2 (q b - |b|^2 / 2), and |q|^2 is the same for all b
    return torch.cat([labels[(part @ bank.T - half).argmax(1)] for part in queries.split(chunk)])


def nearest_neighbour(
    sources: Mapping[str, tuple[nn.Module, Callable]], data: Data, *, on: str = "validation"
) -> dict[str, float]:
    """1-nearest-neighbour accuracy of several features of a split among the training pictures, in one reading
    of its labels.

    Args:
        sources: name -> (the network that owns the weights, an encode function of a batch).
        on: "validation" or, for the final table, "test".
    """
    held = split_of(data, on)
    label, bank_label = labels_of(held, "evaluate.nearest_neighbour").cpu(), data.train.label.cpu()
    result = {}
    for name, (method, encode) in sources.items():
        bank, x = (features.extract(method, part, encode=encode) for part in (data.train, held))
        result[name] = accuracy_of(nearest(bank, bank_label, x), label)
    return result
