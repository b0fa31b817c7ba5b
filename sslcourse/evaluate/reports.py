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
from jaxtyping import Float, Int
from torch import Tensor, nn

from sslcourse import runtime
from sslcourse.data.datasets import MODALITIES, Data, Samples, few_labels, few_of_each, some_of
from sslcourse.encoders.images import as_encoder, is_method, layers_of, reset, shown_to_encoder
from sslcourse.evaluate.probes import (
    BLOCK,
    KNN,
    found_of,
    judged_by,
    knn_predict,
    knn_votes,
    labels_of,
    linear_probe,
    majority,
    numbers,
)
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, SEED, SHARE, SOME, WHOLE, Number, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train import features, ties

Network = TypeVar("Network", bound=nn.Module)


def _numbers(label: Tensor, what: str) -> Tensor:
    """(N,) class numbers as PyTorch indexes by them, whatever type of whole number they are."""
    label = torch.as_tensor(label).cpu()
    if label.is_floating_point() or label.is_complex() or label.ndim != 1:
        raise CourseError(
            f"{what} of type {label.dtype} and shape {tuple(label.shape)}; pass one whole number for each "
            "sample: label.long()"
        )
    return label.long()


@explained
@takes(classes=WHOLE)
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
    """kNN and linear accuracy of features x with labels y, learned from train_x and train_y.

    Classes that draw count by chance, so features that are all the same score what the training labels alone
    are worth, in whatever order the samples come.

    Raises:
        CourseError: features that are not numbers, splits that are empty or unlabelled, classes that are
            asked for and were never shown, and training labels of one class alone.
    """
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
    judged_by(train_y, y)
    if int(train_y.max()) >= classes:
        raise CourseError(
            f"label {int(train_y.max())} of {classes} classes; labels run from 0 to {classes - 1}: pass "
            f"classes={int(train_y.max()) + 1}, or mend the labels"
        )
    result = {"kNN": found_of(knn_votes(train_x, train_y, x, classes=classes, protocol=protocol), y)}
    if linear:
        result["linear"] = linear_probe(train_x, train_y, classes=classes).found(x, y)
    return result


@takes(limit=SOME)
def probe(
    method: nn.Module, data: Data, *, linear: bool = True, limit: int | None = None, protocol: str = "dino"
) -> dict[str, float]:
    """kNN and linear accuracy on the *validation* split: for loops, curves and choices.

    Args:
        linear: also fit the linear probe (half a second on 6,000 samples).
        limit: use only so many training and validation samples, for a quick look in a loop: the first ones,
            or some of the whole length where those lack classes (as in a set that lies in the order of
            them). Validation samples of classes that still have not been shown are left out.
    """
    train, held = data.train, data.validation
    if limit:
        train, held = some_of(train, limit), some_of(held, limit)
        held = held.take((torch.isin(held.label, train.label) | (held.label < 0)).nonzero().flatten())
    judged_by(train.label.cpu(), held.label.cpu(), held="the validation split")
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
    bank, held = some_of(data.train, limit), data.validation.take(slice(0, n))
    return knn_predict(
        features.extract(method, bank),
        bank.label.cpu(),
        features.extract(method, held),
        classes=len(data.classes),
        protocol=protocol,
    )


@explained
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


@takes(seed=SEED)
def random_rows(methods: Mapping[str, Network], shown: Samples, seed: int = 0) -> dict[str, Network]:
    """The random networks that stand beside methods in a table: one for each way of reading among them.

    Edges, or grey pictures in another size, are worth more or less than colours before anything is learned;
    a method is ahead of a random network that reads as it does, or not at all. What has no weights has no
    such row. The first row is the one that reads samples as they are, where there is one; "as ... reads"
    names the others, by the first method that reads so.
    """
    batch = next(shown.take(slice(0, 8)).batches(8))
    batch = {name: batch[name] for name in MODALITIES if name in batch}
    first: dict[tuple, tuple[str, Network, bool]] = {}
    for name, method in methods.items():
        if next(method.parameters(), None) is None:
            continue  # a spectrogram, say, has no weights that could be random: it is a baseline itself
        reading, plain = _reading(method, batch)
        first.setdefault(reading, (name, method, plain))
    ways = sorted(first.values(), key=lambda way: not way[2])  # stable: else in the order of the methods
    title = baselines_of(shown)[1]
    return {
        title if i == 0 else f"{title}, as {name} reads": random_like(method, shown, seed)
        for i, (name, method, _) in enumerate(ways)
    }


def _reading(method: nn.Module, batch: dict[str, Tensor]) -> tuple[tuple, bool]:
    """What tells one way of reading from another, and whether it shows the encoder samples as they are."""
    if is_method(method):
        device = next((p.device for p in method.parameters()), torch.device("cpu"))
        there = {name: x.to(device) for name, x in batch.items()}
        encoder = method.get_submodule("f")
        with features.frozen(method):
            try:
                seen = shown_to_encoder(method, there)
            except CourseError:  # encodes in several steps: then it is a way of its own
                seen = None
            if seen is not None and torch.allclose(features.encode_of(method)(there), encoder(seen)):
                plain = any(
                    seen.shape == x.shape
                    and torch.equal(seen, x if x.is_floating_point() else x.float() / 255)
                    for x in there.values()
                )
                knobs = {k: v for k, v in vars(encoder).items() if isinstance(v, (bool, int, float, str))}
                knobs.pop("training", None)
                return (repr(encoder), repr(knobs), seen.cpu().numpy().tobytes()), plain
    return (type(method).__name__, repr(method)), False


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
    """The final scores on the test split, with chance (the commonest class of the training labels), raw
    pixels and random encoders beside them.

    Args:
        methods: one trained method, or several by name (a dict), read in one opening of the test labels.
        seed: of the random encoder.
        protocol: of kNN, see `KNN`.
        baselines: leave them out only where another row of the same table has them.
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
    judged_by(train_label, label, held="the test split")  # before anything is read
    rows: list[dict] = []

    chosen = few_of_each(data.train, few, seed) if few else None

    def add(name: str, train_x: Tensor, x: Tensor) -> None:
        row = {"features": name, **score(train_x, train_label, x, label, classes=classes, protocol=protocol)}
        if chosen is not None:
            few_x, few_y = train_x[chosen], train_label[chosen]
            votes = knn_votes(few_x, few_y, x, classes=classes, protocol=protocol)
            row["few kNN"] = found_of(votes, label)
            row["few labels"] = linear_probe(few_x, few_y, classes=classes).found(x, label)
        rows.append(row)

    if baselines:
        most = majority(train_label, label)
        rows.append(
            {
                "features": "chance",
                "kNN": most,
                "linear": most,
                **({"few kNN": most, "few labels": most} if few else {}),
            }
        )
        side = features.places(data.train)
        add(baselines_of(data.train)[0], features.pixels(data.train, side), features.pixels(data.test, side))
        for name, encoder in random_rows(methods, data.train, seed).items():
            add(name, features.extract(encoder, data.train), features.extract(encoder, data.test))
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

    The layers are read while the method encodes in its own way: on edges, on grey pictures, in its size.

    Args:
        method: trained; or an encoder alone, which is shown pictures as they are.
        encoder: has `.layers`; `method.f` by default. One that is no part of the method is read alone.
        on: "validation", or "test" for the final table.
        size: each layer's map is averaged over size x size places.
    """
    encoder = features.reads(method)[0] if encoder is None else encoder
    network = method if any(m is encoder for m in method.modules()) else encoder
    held = split_of(data, on)
    label = labels_of(held, "evaluate.layer_probes")
    judged_by(data.train.label.cpu(), label.cpu())
    result = {}
    for layer in layers_of(encoder):
        encode = features.after(network, layer, size, encoder=encoder)
        result[layer] = score(
            features.extract(network, data.train, encode=encode),
            data.train.label,
            features.extract(network, held, encode=encode),
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
    judged_by(data.train.label.cpu(), label.cpu())
    train_x, x = features.extract(method, data.train), features.extract(method, held)
    result: dict[float, list[float]] = {}
    for share in shares:
        result[share] = []
        for seed in seeds if share < 1 else seeds[:1]:  # all labels are one subset
            chosen = few_labels(data.train, share, seed)
            fitted = linear_probe(train_x[chosen], data.train.label.cpu()[chosen], classes=len(data.classes))
            result[share].append(fitted.found(x, label.cpu()))
    return result


@takes(share=SHARE, seed=SEED)
def fine_tune(
    network: nn.Module, data: Data, share: float, recipe, *, seed: int = 0, on: str = "validation"
) -> float:
    """Accuracy after training a *copy* of the encoder and a new linear head on a share of the labels.

    SimCLR, section 4.3. Give a random encoder for the supervised baseline. The given network is left as it
    was.

    Args:
        network: a method: its encoder goes on to see what the method shows it (edges, or grey pictures); or
            an encoder that is shown pictures as they are.
        share: of the labels, class-balanced; 0 < share <= 1.
        recipe: how to train; its batch size is lowered where there are fewer samples.
    """
    from sslcourse.methods.supervised import Supervised
    from sslcourse.train.loop import fit

    held = split_of(data, on)
    label = labels_of(held, "evaluate.fine_tune")
    judged_by(data.train.label.cpu(), label.cpu())
    part = data.train.take(few_labels(data.train, share, seed))
    method = Supervised(copy.deepcopy(as_encoder(network)), len(data.classes))
    torch.manual_seed(runtime.step_seed(seed, 0xF1))
    method.head.reset_parameters()
    fit(method, part, recipe.but(batch_size=min(recipe.batch_size, len(part)), seed=seed))
    logits = features.extract(method, held, encode=lambda batch: method.head(method.encode(batch)))
    return found_of(logits, label)


# ---------------------------------------------------------------------------------------------- retrieval


@explained
def retrieval(
    x: Float[Tensor, "n d"], label: Int[Tensor, " n"], ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """Search each sample among all others by cosine.

    Returns "recall@k" (is one of the k nearest of the same class) for each k, and "mAP" (mean over queries of
    the average precision of the full ranking), all 0 to 1. Queries whose class has no other member are left
    out. Samples that are equally near stand in every order alike: all figures are the mean over these orders.

    Raises:
        CourseError: features that are not numbers, labels that are missing, or no class with two members.
    """
    n = len(x)
    if n <= max(ks):
        raise CourseError(
            f"ks={tuple(ks)} but only {n} samples; the largest k must be below the number of samples"
        )
    if min(ks) < 1:
        raise CourseError(f"ks={tuple(ks)}; look at one neighbour or more")
    numbers(x)
    if len(label) != n or int(label.min()) < 0:
        raise CourseError(
            f"{n} samples with {len(label)} labels, {int((label < 0).sum())} of them -1 (unlabelled); give "
            "each a class from 0"
        )
    if int(torch.bincount(label.cpu().long()).max()) < 2:
        raise CourseError(
            f"none of the {n} samples has another one of its class, so there is nothing to find; take "
            "classes with two members or more"
        )
    x = runtime.unit(x)
    label = label.to(x.device)
    hits = {k: 0.0 for k in ks}
    precision, queries = 0.0, 0
    for rows in torch.arange(n, device=x.device).split(max(1, 2**20 // n)):
        similarity = x[rows] @ x.T
        same = label == label[rows][:, None]
        own = torch.arange(len(rows)), rows  # not itself
        similarity[own], same[own] = float("-inf"), False
        asked = same.any(1)
        queries += int(asked.sum())
        recall, average = ties.recalled(similarity[asked], same[asked], ks)
        for k in ks:
            hits[k] += float(recall[k].sum())
        precision += float(average.sum())
    return {**{f"recall@{k}": hits[k] / queries for k in ks}, "mAP": precision / queries}


@explained
@takes(chunk=COUNT)
def nearest(bank: Tensor, labels: Tensor, queries: Tensor, chunk: int = 500) -> Tensor:
    """The label of each query's nearest row of the bank, by Euclidean distance: the oldest classifier there
    is. Of rows that are equally near the label that most of them have, of equals the lowest.

    Args:
        bank, labels: (n, d) features and their (n,) labels.
        queries: (m, d).
        chunk: queries at once; no influence on the result.
    """
    numbers(bank, "the bank"), numbers(queries, "the queries")
    known, number = labels.unique(return_inverse=True)
    shares = _nearest_shares(bank, number, queries, len(known), chunk)
    return known[ties.first_best(shares).to(known.device)]


def _nearest_shares(bank: Tensor, number: Tensor, queries: Tensor, classes: int, chunk: int = 500) -> Tensor:
    """(m, classes) which share of the rows of the bank that are nearest to each query has each number: of one
    nearest row 1.
    """
    if len(bank) != len(number) or bank.shape[1:] != queries.shape[1:]:
        raise CourseError(
            f"{len(bank)} features {tuple(bank.shape[1:])}, {len(number)} labels, queries "
            f"{tuple(queries.shape[1:])}; they must agree"
        )
    # |q - b|^2 = |q|^2 - 2 (q b - |b|^2 / 2), and |q|^2 is the same for all b. About the mean and in float64:
    # far from zero the squares are large and their differences small.
    centre = runtime.moments(bank)[0]
    blocks = [(block, (runtime.precise(block) - centre).square().sum(1) / 2) for block in bank.split(BLOCK)]
    which = torch.nn.functional.one_hot(number.long(), classes).to(centre)  # (n, classes)
    found = []
    for part in queries.split(chunk):
        own = runtime.precise(part).to(centre.device) - centre
        near = [own @ (runtime.precise(block) - centre).T - half for block, half in blocks]
        best = ties.best(torch.cat(near, 1)).to(centre.dtype)
        found.append((best @ which / best.sum(1, keepdim=True)).cpu())
    return torch.cat(found)


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
    judged_by(bank_label, label)
    result = {}
    for name, (method, encode) in sources.items():
        bank, x = (features.extract(method, part, encode=encode) for part in (data.train, held))
        numbers(bank, "the bank"), numbers(x, "the queries")
        shares = _nearest_shares(bank, bank_label, x, int(max(bank_label.max(), label.max())) + 1)
        result[name] = float(shares.gather(1, label.long()[:, None]).mean())
    return result
