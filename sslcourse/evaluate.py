"""Honest evaluation: what a frozen representation is worth, with its protocol and its baselines beside it.

- Inside a training loop: `probe(method, data)`. It reads the training and the validation split, never the test split.
- For the final number: `report(method, data)`. It opens the test labels, once, and says how often they have been opened.

Every score is an accuracy between 0 and 1 unless its name says otherwise. All choices inside a probe (its regularisation)
are made on a part of the training split.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sslcourse import common, features
from sslcourse.common import CourseError
from sslcourse.data.datasets import MODALITIES, Data, Samples, few_labels, open_labels

# ---------------------------------------------------------------------------------------------- nearest neighbours

# Three protocols go by the name of kNN in the field, and differ by points. Ours is DINO's.
KNN = {
    "dino": dict(k=20, temperature=0.07),  # cosine, weights exp(s / T): DINO, solo-learn, and this course
    "lightly": dict(k=200, temperature=0.1),  # cosine, weights exp(s / T): lightly, MoCo's demo
    "sklearn": dict(k=10, temperature=None),  # cosine, every neighbour one vote
}


def knn_predict(bank: Float[Tensor, "n d"], labels: Int[Tensor, " n"], queries: Float[Tensor, "m d"], *, classes: int,
                protocol: str = "dino", chunk: int = 1024) -> Int[Tensor, " m"]:  # fmt: skip
    """The class that each query's nearest neighbours in the bank vote for.

    Args:
        bank, labels: labelled features; need not be normalised.
        classes: how many there are.
        protocol: "dino" (k=20, T=.07), "lightly" (k=200, T=.1) or "sklearn" (k=10, unweighted), all by cosine.
        chunk: queries at once; no influence on the result.
    """
    if protocol not in KNN:
        raise CourseError(f"protocol={protocol!r}; choose one of {', '.join(KNN)}")
    k, temperature = KNN[protocol]["k"], KNN[protocol]["temperature"]
    k = min(k, len(bank))
    bank = F.normalize(bank.float(), dim=1)
    predicted = []
    for part in queries.split(chunk):
        similarity, index = (F.normalize(part.float(), dim=1) @ bank.T).topk(k, dim=1)  # (m, k)
        weight = torch.ones_like(similarity) if temperature is None else (similarity / temperature).exp()
        votes = torch.zeros(len(part), classes, device=bank.device).scatter_add_(1, labels[index], weight)
        predicted.append(votes.argmax(1))
    return torch.cat(predicted)


# ---------------------------------------------------------------------------------------------- linear probe


@dataclass
class LinearProbe:
    """A fitted linear classifier (or, for several columns of numbers, a ridge regression) on standardised features."""

    mean: Tensor
    scale: Tensor
    weight: Tensor  # (D, C)
    bias: Tensor
    penalty: float

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        return (x.float() - self.mean) / self.scale @ self.weight + self.bias

    def predict(self, x: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
        return self(x).argmax(1)


PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)


def _standardise(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x = x.float()
    mean, scale = x.mean(0), x.std(0, correction=0).clamp_min(1e-6)
    return (x - mean) / scale, mean, scale


def _softmax_regression(x: Tensor, label: Tensor, classes: int, penalty: float, iterations: int) -> tuple[Tensor, Tensor]:
    weight = torch.zeros(x.shape[1], classes, device=x.device, requires_grad=True)
    bias = torch.zeros(classes, device=x.device, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=iterations, tolerance_change=1e-7, line_search_fn="strong_wolfe")

    def closure():
        solver.zero_grad()
        loss = F.cross_entropy(x @ weight + bias, label) + 0.5 * penalty * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        solver.step(closure)
    return weight.detach(), bias.detach()


def _held_out(n: int) -> tuple[Tensor, Tensor]:
    """A fixed random four fifths to fit on, and the fifth on which the penalty is chosen."""
    order = torch.randperm(n, generator=common.generator(n, 0x40D))
    return order[n // 5 :], order[: n // 5]


def linear_probe(x: Float[Tensor, "n d"], label: Int[Tensor, " n"], *, classes: int,
                 penalties: Sequence[float] = PENALTIES, iterations: int = 100) -> LinearProbe:  # fmt: skip
    """Logistic regression on frozen features: full batch, L-BFGS, to convergence or `iterations`.

    Args:
        x, label: the labelled training features.
        penalties: strengths of the squared penalty (per sample); the best on a held-out fifth of x is taken, then all of x
            is fitted. With one strength, or fewer than 100 samples, nothing is held out.

    The paper trains this classifier by SGD (SimCLR, appendix B.6); the optimum is the same.
    """
    x, mean, scale = _standardise(x)
    penalty = penalties[len(penalties) // 2]
    if len(penalties) > 1 and len(x) >= 100:
        fit, held = _held_out(len(x))
        right = []
        for candidate in penalties:
            w, b = _softmax_regression(x[fit], label[fit], classes, candidate, max(20, iterations // 4))
            right.append(((x[held] @ w + b).argmax(1) == label[held]).float().mean())
        penalty = penalties[int(torch.stack(right).argmax())]
    weight, bias = _softmax_regression(x, label, classes, penalty, iterations)
    return LinearProbe(mean, scale, weight, bias, penalty)


def ridge_probe(x: Float[Tensor, "n d"], y: Float[Tensor, "n c"], penalties: Sequence[float] = PENALTIES) -> LinearProbe:
    """Linear regression with a squared penalty, in closed form; the strength is chosen on a held-out fifth."""
    x, mean, scale = _standardise(x)
    y = y.float()

    def solve(x, y, penalty):
        x, y = x.double(), y.double()
        centre = y.mean(0)
        gram = x.T @ x / len(x) + penalty * torch.eye(x.shape[1], dtype=torch.float64, device=x.device)
        return torch.linalg.solve(gram, x.T @ (y - centre) / len(x)).float(), centre.float()

    fit, held = _held_out(len(x))
    errors = []
    for candidate in penalties:
        w, b = solve(x[fit], y[fit], candidate)
        errors.append((x[held] @ w + b - y[held]).square().mean())
    penalty = penalties[int(torch.stack(errors).argmin())]
    return LinearProbe(mean, scale, *solve(x, y, penalty), penalty)


# ---------------------------------------------------------------------------------------------- scores


def _labels(samples: Samples, reader: str) -> Tensor:
    return open_labels(samples, reader)[0] if samples.split == "test" else samples.label


def _accuracy(predicted: Tensor, label: Tensor) -> float:
    return float((predicted.cpu() == label.cpu()).float().mean())


def score(train_x: Tensor, train_y: Tensor, x: Tensor, y: Tensor, *, classes: int, protocol: str = "dino",
          linear: bool = True) -> dict[str, float]:  # fmt: skip
    """kNN and linear accuracy of features x with labels y, learned from train_x and train_y."""
    if train_x.ndim != 2:
        raise CourseError(f"features of shape {tuple(train_x.shape)}; a probe reads one vector per sample, and these are dense: average them over "
                          "their places (on the command line: --no-probe), or judge them by tracking: sslcourse.tracking")  # fmt: skip
    if len(train_x) != len(train_y) or len(x) != len(y):
        raise CourseError(f"{len(train_x)} features for {len(train_y)} labels, {len(x)} for {len(y)}; they must agree")
    if int(train_y.min()) < 0:
        raise CourseError("some training labels are -1 (unlabelled); probe with a labelled split")
    train_y, y = train_y.cpu(), y.cpu()
    result = {"kNN": _accuracy(knn_predict(train_x, train_y, x, classes=classes, protocol=protocol), y)}
    if linear:
        result["linear"] = _accuracy(linear_probe(train_x, train_y, classes=classes).predict(x), y)
    return result


def probe(method: nn.Module, data: Data, *, linear: bool = True, limit: int | None = None,
          protocol: str = "dino") -> dict[str, float]:  # fmt: skip
    """kNN and linear accuracy on the *validation* split: for loops, curves and choices.

    Args:
        linear: also fit the linear probe (half a second on 6,000 samples).
        limit: use only so many training and validation samples, for a quick look in a loop.
    """
    train, held = data.train, data.validation
    if limit:
        train, held = train.take(slice(0, limit)), held.take(slice(0, limit))
    return score(features.extract(method, train), train.label, features.extract(method, held), held.label,
                 classes=len(data.classes), protocol=protocol, linear=linear)  # fmt: skip


def guesses(method: nn.Module, data: Data, n: int = 12, *, limit: int = 500, protocol: str = "dino") -> Int[Tensor, " n"]:
    """What the first `n` validation samples are taken for by kNN among the first `limit` training samples: for pictures, not for scores."""
    bank, held = data.train.take(slice(0, limit)), data.validation.take(slice(0, n))
    return knn_predict(features.extract(method, bank), bank.label.cpu(), features.extract(method, held), classes=len(data.classes), protocol=protocol)


def random_like(method: nn.Module, shown: Tensor | Samples, seed: int = 0) -> nn.Module:
    """The same network with fresh random weights and batch statistics of the data: the baseline of every representation.

    The statistics are the plain mean over (at most) eight batches of 256 drawn at random, whatever momentum the network trains with: a moving
    average would after so few steps still be nearly half of what it began as, and the baseline weaker than random weights are.

    Args:
        shown: images (N, 3, H, W), videos (N, 3, T, H, W), or a data set.
    """
    untrained = copy.deepcopy(method)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(common.step_seed(seed, 0x4A9D))
        for module in untrained.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    momenta = {module: module.momentum for module in untrained.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)}
    for module in momenta:
        module.momentum = None
    device = next(untrained.parameters()).device
    mixed = torch.randperm(len(shown), generator=common.generator(seed, 0x4A9E))[:2048]  # a set may lie in the order of its classes
    untrained.train()
    with torch.no_grad():
        for chosen in mixed.tensor_split(-(-len(mixed) // 256)):
            if isinstance(shown, Tensor):
                batch = {"video" if shown.ndim == 5 else "image": shown[chosen.to(shown.device)]}
            else:
                batch = next(shown.take(chosen).batches(256))
            untrained.encode({name: batch[name].to(device) for name in MODALITIES if name in batch})
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
        again = f" (opened {self.readings} times: a score chosen among several readings is no test score)" * (self.readings > 1)
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
        body = "".join("<tr><td style='text-align:left'>" + r["features"] + "</td>" + "".join(f"<td>{r[k]:.1%}</td>" for k in keys)
                       + "</tr>" for r in self.rows)  # fmt: skip
        return f"<table><caption style='text-align:left;white-space:nowrap'>{self._heading()}</caption><tr>{head}</tr>{body}</table>"


def baselines_of(samples: Samples) -> tuple[str, str]:
    """What the two baselines of such data are called in every table: the raw input, and a network with random weights."""
    return ("log-mel", "random ear") if samples.kind == "audio" else ("pixels", "random encoder")


def report(methods: nn.Module | Mapping[str, nn.Module], data: Data, *, seed: int = 0, protocol: str = "dino", baselines: bool = True,
           few: int | None = None) -> Report:  # fmt: skip
    """The final scores on the test split, with chance, raw pixels and a random encoder beside them.

    Args:
        methods: one trained method, or several by name (a dict), read in one opening of the test labels.
        seed: of the random encoder.
        protocol: of kNN, see `KNN`.
        baselines: leave out the three only where another row of the same table has them.
        few: also a linear probe that has seen so many labels of each class ("few labels"), the same ones for every row.

    Raises:
        SealedLabels: when a training is under way.
    """
    if isinstance(methods, nn.Module):
        methods = {type(methods).__name__: methods}
    if not methods:
        raise CourseError("report needs at least one trained method: report(method, data)")
    classes = len(data.classes)
    label, train_label = _labels(data.test, "evaluate.report").cpu(), data.train.label.cpu()
    rows: list[dict] = []

    chosen = few_labels(data.train, min(1.0, few * classes / len(data.train)), seed) if few else None

    def add(name: str, train_x: Tensor, x: Tensor) -> None:
        row = {"features": name, **score(train_x, train_label, x, label, classes=classes, protocol=protocol)}
        if chosen is not None:
            row["few labels"] = _accuracy(linear_probe(train_x[chosen], train_label[chosen], classes=classes).predict(x), label)
        rows.append(row)

    if baselines:
        most = float(torch.bincount(train_label, minlength=classes).max() / len(train_label))
        rows.append({"features": "chance", "kNN": most, "linear": most, **({"few labels": most} if few else {})})
        raw, untrained = baselines_of(data.train)
        add(raw, features.pixels(data.train), features.pixels(data.test))
        encoder = random_like(next(iter(methods.values())), data.train, seed)
        add(untrained, features.extract(encoder, data.train), features.extract(encoder, data.test))
    for name, method in methods.items():
        add(name, features.extract(method, data.train), features.extract(method, data.test))
    settings = KNN[protocol]
    text = f"kNN {protocol}: cosine, k={settings['k']}" + (f", T={settings['temperature']}" if settings["temperature"] else "")
    text += f"; linear: logistic regression on {len(train_label):,} labels, frozen encoder" + f"; few labels: on {few} of each class" * bool(few)
    return Report(rows, data.name, text,
                  len(data.test.openings))  # fmt: skip


# ---------------------------------------------------------------------------------------------- layer by layer, few labels


def layer_probes(method: nn.Module, data: Data, *, encoder: nn.Module | None = None, on: str = "validation",
                 size: int = 2) -> dict[str, dict[str, float]]:  # fmt: skip
    """Scores after each named layer of the encoder: layer -> {"kNN", "linear"}.

    Args:
        encoder: has `.layers`; `method.f` by default.
        on: "validation", or "test" for the final table.
        size: each layer's map is averaged over size x size places.
    """
    encoder = encoder or method.f
    held = _split(data, on)
    label = _labels(held, "evaluate.layer_probes")
    result = {}
    for layer in encoder.layers:
        encode = features.after(encoder, layer, size)
        result[layer] = score(features.extract(method, data.train, encode=encode), data.train.label,
                              features.extract(method, held, encode=encode), label, classes=len(data.classes))  # fmt: skip
    return result


def _split(data: Data, on: str) -> Samples:
    if on not in ("validation", "test"):
        raise CourseError(f"on={on!r}; score on 'validation' (to look and to choose) or on 'test' (to report)")
    return getattr(data, on)


def label_curve(method: nn.Module, data: Data, shares: Sequence[float] = (0.01, 0.1, 1.0), *, seeds: Sequence[int] = (0, 1, 2),
                on: str = "validation") -> dict[float, list[float]]:  # fmt: skip
    """Linear probes from few labels: share of the labels -> accuracy for each random, class-balanced subset.

    SimCLR, section 4.3 and table 7 (there by fine-tuning: see `fine_tune`).
    """
    held = _split(data, on)
    label = _labels(held, "evaluate.label_curve")
    train_x, x = features.extract(method, data.train), features.extract(method, held)
    result: dict[float, list[float]] = {}
    for share in shares:
        result[share] = []
        for seed in seeds if share < 1 else seeds[:1]:  # all labels are one subset
            chosen = few_labels(data.train, share, seed)
            fitted = linear_probe(train_x[chosen], data.train.label.cpu()[chosen], classes=len(data.classes))
            result[share].append(_accuracy(fitted.predict(x), label))
    return result


def fine_tune(encoder: nn.Module, data: Data, share: float, recipe, *, seed: int = 0, on: str = "validation") -> float:
    """Accuracy after training a *copy* of the encoder and a new linear head on a share of the labels.

    SimCLR, section 4.3. Give a random encoder for the supervised baseline. The given encoder is left as it was.

    Args:
        share: of the labels, class-balanced; 0 < share <= 1.
        recipe: how to train; its batch size is lowered where there are fewer samples.
    """
    from sslcourse.methods.supervised import Supervised
    from sslcourse.train import fit

    held = _split(data, on)
    label = _labels(held, "evaluate.fine_tune")
    part = data.train.take(few_labels(data.train, share, seed))
    method = Supervised(copy.deepcopy(encoder), len(data.classes))
    torch.manual_seed(common.step_seed(seed, 0xF1))
    method.head.reset_parameters()
    fit(method, part, recipe.but(batch_size=min(recipe.batch_size, len(part)), seed=seed))
    logits = features.extract(method, held, encode=lambda batch: method.head(method.encode(batch)))
    return _accuracy(logits.argmax(1), label)


# ---------------------------------------------------------------------------------------------- retrieval


def retrieval(x: Float[Tensor, "n d"], label: Int[Tensor, " n"], ks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """Search each sample among all others by cosine.

    Returns "recall@k" (is one of the k nearest of the same class) for each k, and "mAP" (mean over queries of the average
    precision of the full ranking), all 0 to 1. Queries whose class has no other member are left out.
    """
    n = len(x)
    if n <= max(ks):
        raise CourseError(f"ks={tuple(ks)} but only {n} samples; the largest k must be below the number of samples")
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


def nearest(bank: Tensor, labels: Tensor, queries: Tensor, chunk: int = 500) -> Tensor:
    """The label of each query's nearest row of the bank, by Euclidean distance: the oldest classifier there is.

    Args:
        bank, labels: (n, d) features and their (n,) labels.
        queries: (m, d).
        chunk: queries at once; no influence on the result.
    """
    if len(bank) != len(labels) or bank.shape[1:] != queries.shape[1:]:
        raise CourseError(f"{len(bank)} features {tuple(bank.shape[1:])}, {len(labels)} labels, queries {tuple(queries.shape[1:])}; they must agree")
    half = bank.square().sum(1) / 2  # |q - b|^2 = |q|^2 - 2 (q b - |b|^2 / 2), and |q|^2 is the same for all b
    return torch.cat([labels[(part @ bank.T - half).argmax(1)] for part in queries.split(chunk)])


def nearest_neighbour(sources: Mapping[str, tuple[nn.Module, Callable]], data: Data, *, on: str = "validation") -> dict[str, float]:
    """1-nearest-neighbour accuracy of several features of a split among the training pictures, in one reading of its labels.

    Args:
        sources: name -> (the network that owns the weights, an encode function of a batch).
        on: "validation" or, for the final table, "test".
    """
    held = _split(data, on)
    label, bank_label = _labels(held, "evaluate.nearest_neighbour").cpu(), data.train.label.cpu()
    result = {}
    for name, (method, encode) in sources.items():
        bank, x = (features.extract(method, part, encode=encode) for part in (data.train, held))
        result[name] = _accuracy(nearest(bank, bank_label, x), label)
    return result


# ---------------------------------------------------------------------------------------------- the factor table


def factor_scores(train_x: Tensor, train_factors: Mapping[str, Tensor], x: Tensor, factors: Mapping[str, Tensor],
                  kinds: Mapping[str, object]) -> dict[str, float]:  # fmt: skip
    """How much of each factor a linear probe reads from features: 0 is chance or worse, 1 is everything.

    Args:
        kinds: factor -> names of its values (then: accuracy above chance), a full turn (an angle: R2 of its sine and cosine),
            or absent (a number: R2).
    """
    result = {}
    for name, column in train_factors.items():
        kind, truth = kinds.get(name), factors[name].cpu()
        column = column.cpu()
        if isinstance(kind, tuple):
            fitted = linear_probe(train_x, column.long(), classes=len(kind), penalties=(1e-3,), iterations=50)
            chance = float(torch.bincount(truth.long(), minlength=len(kind)).max()) / len(truth)
            value = (_accuracy(fitted.predict(x), truth) - chance) / (1 - chance)
        else:
            y, target = _numbers(column, kind), _numbers(truth, kind)
            error = (ridge_probe(train_x, y)(x) - target).square().sum()
            value = float(1 - error / (target - target.mean(0)).square().sum())
        result[name] = max(0.0, value)
    return result


def _numbers(column: Tensor, turn: object) -> Tensor:
    column = column.float()
    if turn is None:
        return column[:, None]
    angle = column * (2 * np.pi / turn)
    return torch.stack([angle.cos(), angle.sin()], 1)


def factor_table(encodes: Mapping[str, nn.Module | str | Callable], data: Data, *, on: str = "validation",
                 method: nn.Module | None = None) -> dict[str, dict[str, float]]:  # fmt: skip
    """What each representation kept and what it threw away: name -> {factor: 0..1}. The course's signature figure.

    Args:
        encodes: name -> a trained method, the word "pixels", or an encode function (then `method` owns its weights).
        on: "validation" or, for the final table, "test".
    """
    held = _split(data, on)
    factors = open_labels(held, "evaluate.factor_table")[1] if on == "test" else held.factors
    if not factors:
        raise CourseError(f"{data.name!r} has no known factors; the toybox has: toybox.images()")
    result = {}
    for name, source in encodes.items():
        if source == "pixels":
            train_x, x = features.pixels(data.train), features.pixels(held)
            # 3,072 pixels: their first 256 principal components hold nearly all of the variance and fit 20 times faster.
            _, _, basis = torch.pca_lowrank(train_x, q=256, niter=2)
            centre = train_x.mean(0)
            train_x, x = (train_x - centre) @ basis, (x - centre) @ basis
        elif isinstance(source, nn.Module):
            train_x, x = features.extract(source, data.train), features.extract(source, held)
        else:
            if method is None:
                raise CourseError(f"{name!r} is a function; pass method=..., the network that it calls, so that it is kept frozen")
            train_x, x = (features.extract(method, s, encode=source) for s in (data.train, held))
        result[name] = factor_scores(train_x, data.train.factors, x, factors, data.train.factor_names)
    return result


# ---------------------------------------------------------------------------------------------- maps, for pictures only


def tsne(x: Float[Tensor, "n d"], seed: int = 0, perplexity: float = 30.0) -> Float[Tensor, "n 2"]:
    """t-SNE of features (van der Maaten and Hinton, 2008) by scikit-learn. For looking, not for measuring: distances
    between far clusters and sizes of clusters mean nothing."""
    from sklearn.manifold import TSNE

    if len(x) <= 3 * perplexity:
        raise CourseError(f"{len(x)} samples are too few for perplexity={perplexity:g}; take more than {3 * perplexity:g}")
    z = F.normalize(x.float(), dim=1).cpu().numpy()
    return torch.from_numpy(TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(z))


def umap(x: Float[Tensor, "n d"], seed: int = 0, neighbours: int = 15) -> Float[Tensor, "n 2"]:
    """UMAP of features (McInnes et al., 2018) by umap-learn, which takes about ten seconds to import."""
    from umap import UMAP

    if len(x) <= neighbours:
        raise CourseError(f"{len(x)} samples are too few for neighbours={neighbours}; take more")
    z = F.normalize(x.float(), dim=1).cpu().numpy()
    return torch.from_numpy(np.asarray(UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1).fit_transform(z)))


def living_map(x: Float[Tensor, "n d"], previous: Float[Tensor, "m 2"] | None = None, *, perplexity: float = 20.0,
               steps: int | None = None) -> Float[Tensor, "n 2"]:  # fmt: skip
    """A map that goes on living while a network trains: exact t-SNE that starts from where the points were.

    Args:
        x: features of the same samples, in the same order, at every call; a few hundred (the cost grows with their square).
        previous: the last map; without it the points start on their first two principal components.
        steps: of gradient descent, 60 to go on and 250 to begin.

    Returns positions within about -1..1. Half a second for 600 samples on one thread. For looking, as `tsne` is.
    """
    n = len(x)
    if n <= 3 * perplexity:
        raise CourseError(f"{n} samples are too few for perplexity={perplexity:g}; take more than {3 * perplexity:g}")
    if previous is not None and len(previous) != n:
        raise CourseError(f"the previous map has {len(previous)} points, there are {n} samples now; give the same samples each time")
    z = F.normalize(x.float().cpu(), dim=1)
    p = _neighbour_probabilities(torch.cdist(z, z).square(), perplexity)
    if previous is None:
        u, s, _ = torch.pca_lowrank(z, q=2)
        y = u * s
        y = y / y.std().clamp_min(1e-12) * 1e-2
    else:
        y = previous.float().cpu() * 15  # back to the scale in which t-SNE works
    velocity = torch.zeros_like(y)
    begin = previous is None
    for step in range(steps or (250 if begin else 60)):
        early = begin and step < 100
        near = 1 / (1 + torch.cdist(y, y).square())  # Student's t, as in the paper
        near.fill_diagonal_(0)
        force = (p * (8.0 if early else 1.0) - near / near.sum()) * near
        gradient = 4 * (force.sum(1, keepdim=True) * y - force @ y)
        velocity = (0.5 if early else 0.8) * velocity - (n / 8) * gradient
        y = y + velocity
        y = y - y.mean(0)
    return y / (y.abs().amax() if begin else torch.maximum(y.abs().amax(), torch.tensor(15.0)))


def _neighbour_probabilities(squared: Tensor, perplexity: float) -> Tensor:
    """Symmetric neighbour probabilities of t-SNE: each row's width is found by bisection so that its entropy is log(perplexity)."""
    n = len(squared)
    squared = squared + torch.diag(torch.full((n,), float("inf")))
    low, high = torch.full((n, 1), -10.0), torch.full((n, 1), 14.0)  # log of the precision
    for _ in range(32):
        middle = (low + high) / 2
        log_p = F.log_softmax(-squared * middle.exp(), dim=1)
        entropy = -(log_p.exp() * log_p.clamp_min(-1e4)).sum(1, keepdim=True)
        wide = entropy > np.log(perplexity)
        low, high = torch.where(wide, middle, low), torch.where(wide, high, middle)
    p = log_p.exp()
    return (p + p.T) / (2 * n)
