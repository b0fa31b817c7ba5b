"""The readers of frozen features: kNN, linear probe, ridge regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sslcourse import runtime
from sslcourse.data.datasets import Samples, open_labels
from sslcourse.runtime import progress
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, WHOLE, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train import ties

# ------------------------------------------------------------------------------- what can be scored at all


@explained
def numbers(x: Tensor, what: str = "features") -> Tensor:
    """Features (n, d), or an error that says why no score could mean anything."""
    if x.ndim != 2 or not len(x) or not x.shape[1]:
        raise CourseError(f"{what} of shape {tuple(x.shape)}; pass one vector for each sample, (n, d)")
    if not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x)).any(1).sum())
        raise CourseError(
            f"{bad} of {len(x)} rows of {what} hold NaN or infinity; the training has diverged: start "
            "again with a lower lr"
        )
    return x


@explained
def judged_by(
    train_label: Tensor,
    label: Tensor,
    train: str = "the training split",
    held: str = "the split that is judged",
) -> None:
    """Whether a classifier that learns from the first labels can be judged by the second: an error if not."""
    for column, where in ((train_label, train), (label, held)):
        if not len(column):
            raise CourseError(f"{where} is empty; there is nothing to score")
        if int(column.min()) < 0:
            raise CourseError(
                f"{int((column < 0).sum())} of {len(column)} labels of {where} are -1 (unlabelled); probe "
                "with labelled splits"
            )
    known = set(train_label.unique().tolist())
    if len(known) < 2:
        raise CourseError(
            f"{train} has one class alone ({known.pop()}), which is right whatever the features; take "
            "samples of at least two (mix them if they lie in the order of their classes)"
        )
    if missing := sorted(set(label.unique().tolist()) - known):
        raise CourseError(
            f"{held} asks for {len(missing)} classes of which {train} has no sample, such as {missing[0]}; "
            "take more samples (mixed, if they lie in the order of their classes), or leave those classes out"
        )


# ------------------------------------------------------------------------------- nearest neighbours


class Vote(TypedDict):
    """How neighbours vote: `k` of them, each with weight exp(cosine / temperature), or 1 without."""

    k: int
    temperature: float | None


# Three protocols go by the name of kNN in the field, and differ by points. Ours is DINO's.
KNN: dict[str, Vote] = {
    "dino": {"k": 20, "temperature": 0.07},  # cosine, weights exp(s / T): DINO, solo-learn, and this course
    "lightly": {"k": 200, "temperature": 0.1},  # cosine, weights exp(s / T): lightly, MoCo's demo
    "sklearn": {"k": 10, "temperature": None},  # cosine, every neighbour one vote
}


BLOCK = 4096  # rows of a bank in float64 at a time


@explained
@takes(classes=WHOLE, chunk=COUNT)
def knn_predict(
    bank: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    queries: Float[Tensor, "m d"],
    *,
    classes: int,
    protocol: str = "dino",
    chunk: int = 1024,
) -> Int[Tensor, " m"]:
    """The class that each query's nearest neighbours in the bank vote for, of equals the lowest. See
    `knn_votes`.
    """
    return ties.first_best(knn_votes(bank, labels, queries, classes=classes, protocol=protocol, chunk=chunk))


@explained
def knn_votes(
    bank: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    queries: Float[Tensor, "m d"],
    *,
    classes: int,
    protocol: str = "dino",
    chunk: int = 1024,
) -> Float[Tensor, "m c"]:
    """How many votes each class gets from each query's nearest neighbours in the bank.

    Samples that are as near as the k-th share the places that the nearer ones have left, so the order of the
    bank decides nothing. `ties.found` of these votes and the true classes is the accuracy, in which a draw
    counts as chance.

    Args:
        bank, labels: labelled features; need not be normalised.
        classes: how many there are.
        protocol: "dino" (k=20, T=.07), "lightly" (k=200, T=.1) or "sklearn" (k=10, unweighted), all by
            cosine.
        chunk: queries at once; no influence on the result.

    Raises:
        CourseError: features that are not numbers, labels that are missing or none of the classes.
    """
    if protocol not in KNN:
        raise CourseError(f"protocol={protocol!r}; choose one of {', '.join(KNN)}")
    numbers(bank, "the bank"), numbers(queries, "the queries")
    if bank.shape[1] != queries.shape[1] or len(labels) != len(bank):
        raise CourseError(
            f"a bank of shape {tuple(bank.shape)} with {len(labels)} labels, queries of shape "
            f"{tuple(queries.shape)}; they must agree"
        )
    if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise CourseError(
            f"labels from {int(labels.min())} to {int(labels.max())} of {classes} classes; label every "
            f"sample of the bank from 0 to {classes - 1}"
        )
    k, temperature = KNN[protocol]["k"], KNN[protocol]["temperature"]
    k = min(k, len(bank))
    voted = []
    chunk = max(1, min(chunk, 2**24 // len(bank)))  # 128 MB of cosines, however large the bank
    for part in progress.each(queries.split(chunk), "nearest neighbours, part"):
        cosine = cosines(part, bank)  # (m, n)
        label = labels.to(cosine.device).long()
        # One more than vote: whether the next is as near as the last of them.
        similarity, index = cosine.topk(min(k + 1, len(bank)), dim=1)
        tied = (similarity[:, k - 1] - similarity[:, -1] <= 1e-12) & (k < len(bank))
        similarity, index = similarity[:, :k], index[:, :k]  # (m, k)
        weight = torch.ones_like(similarity) if temperature is None else (similarity / temperature).exp()
        votes = weight.new_zeros(len(part), classes).scatter_add_(1, label[index], weight)
        if tied.any():
            near = cosine[tied]
            weight = torch.ones_like(near) if temperature is None else (near / temperature).exp()
            weight = weight * ties.places(near, k)
            votes[tied] = weight.new_zeros(len(near), classes).index_add_(1, label, weight)
        voted.append(votes)
    return torch.cat(voted)


@explained
def cosines(queries: Float[Tensor, "m d"], bank: Float[Tensor, "n d"]) -> Float[Tensor, "m n"]:
    """Cosine similarity of each query with each row of the bank, in float64.

    All features of one network may point nearly the same way: their cosines then differ only behind the
    digits that float32 has.
    """
    own = runtime.unit(queries)
    return torch.cat([own @ runtime.unit(block.to(own.device)).T for block in bank.split(BLOCK)], 1)


# ---------------------------------------------------------------------------------------------- linear probe


@dataclass
class LinearProbe:
    """A fitted linear classifier (or, for several columns of numbers, a ridge regression) on standardised
    features.
    """

    mean: Tensor  # (D,) float64, and so is the scale
    scale: Tensor
    weight: Tensor  # (D, C)
    bias: Tensor
    penalty: float

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        numbers(x)
        return runtime.standardised(x, self.mean, self.scale) @ self.weight + self.bias

    def predict(self, x: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
        """The likeliest class, of equals the lowest."""
        return ties.first_best(self(x))

    def found(self, x: Float[Tensor, "n d"], label: Int[Tensor, " n"]) -> float:
        """Accuracy, in which classes that are equally likely count by chance."""
        return found_of(self(x), label)


PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # raw pixels want the strong ones


def _standardise(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x with mean 0 and variance 1 in each column, the mean, and what each column was divided by.

    A column that is the same everywhere becomes 0, whatever it was: dead units change nothing.
    """
    mean, scale = runtime.moments(x)
    scale = scale.masked_fill(scale == 0, 1.0)
    return runtime.standardised(x, mean, scale), mean, scale


def _softmax_regression(
    x: Tensor, label: Tensor, classes: int, penalty: float, iterations: int
) -> tuple[Tensor, Tensor]:
    weight = torch.zeros(classes, x.shape[1], device=x.device)  # (C, D): its two products are the fast ones
    bias = torch.zeros(classes, device=x.device)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=iterations, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )
    truth = F.one_hot(label, classes).to(x.dtype)

    def closure() -> Tensor:
        log_p = F.linear(x, weight, bias).log_softmax(1)
        error = (log_p.exp() - truth) / len(x)  # the slope of the mean cross-entropy
        weight.grad = error.T @ x + penalty * weight
        bias.grad = error.sum(0)
        return -(log_p * truth).sum() / len(x) + 0.5 * penalty * weight.square().sum()

    with torch.no_grad():
        solver.step(closure)
    return weight.T.contiguous(), bias


def _held_out(n: int) -> tuple[Tensor, Tensor]:
    """A fixed random four fifths to fit on, and the fifth on which the penalty is chosen."""
    order = torch.randperm(n, generator=runtime.generator(n, 0x40D))
    return order[n // 5 :], order[: n // 5]


@explained
@takes(classes=WHOLE, iterations=COUNT)
def linear_probe(
    x: Float[Tensor, "n d"],
    label: Int[Tensor, " n"],
    *,
    classes: int,
    penalties: Sequence[float] = PENALTIES,
    iterations: int = 100,
) -> LinearProbe:
    """Logistic regression on frozen features: full batch, L-BFGS, to convergence or `iterations`.

    Args:
        x, label: the labelled training features.
        penalties: strengths of the squared penalty (per sample), from weak to strong; the best on a held-out
            fifth of x is taken, then all of x is fitted. With one strength, or fewer than 100 samples,
            nothing is held out, and the middle one is taken.
        iterations: at most, for the fit and for each of the candidates.

    The paper trains this classifier by SGD (SimCLR, appendix B.6); the optimum is the same.
    """
    numbers(x)
    if len(x) != len(label) or not 0 <= int(label.min()) <= int(label.max()) < classes:
        raise CourseError(
            f"{len(x)} samples with {len(label)} labels from {int(label.min())} to {int(label.max())} of "
            f"{classes} classes; label every sample from 0 to {classes - 1}"
        )
    x, mean, scale = _standardise(x)
    label = label.to(x.device).long()
    penalty = penalties[(len(penalties) - 1) // 2]
    if len(penalties) > 1 and len(x) >= 100:
        fit, held = _held_out(len(x))
        own, known, right = x[fit], label[fit], []
        for candidate in progress.each(penalties, "linear probe, penalty"):
            # As far as in the end: a fit that is broken off early is itself a penalty, and hides which one
            # is needed.
            w, b = _softmax_regression(own, known, classes, candidate, iterations)
            right.append(ties.found(x[held] @ w + b, label[held]).mean())
        penalty = penalties[int(torch.stack(right).argmax())]
    weight, bias = _softmax_regression(x, label, classes, penalty, iterations)
    return LinearProbe(mean, scale, weight, bias, penalty)


@explained
def ridge_probe(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n c"], penalties: Sequence[float] = PENALTIES
) -> LinearProbe:
    """Linear regression with a squared penalty, in closed form; a held-out fifth chooses the strength."""
    numbers(x), numbers(y, "the numbers to read")
    x, mean, scale = _standardise(x)
    y = y.to(x.device).double()

    def solve(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
        x = x.double()
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


def labels_of(samples: Samples, reader: str) -> Tensor:
    return open_labels(samples, reader)[0] if samples.split == "test" else samples.label


@explained
def accuracy_of(predicted: Tensor, label: Tensor) -> float:
    return float((predicted.cpu() == label.cpu()).float().mean())


@explained
def found_of(scores: Float[Tensor, "n c"], label: Int[Tensor, " n"]) -> float:
    """Accuracy of the classes with the highest scores: of several equal ones each counts by chance."""
    return float(ties.found(scores.cpu(), label.cpu()).double().mean())


@explained
def majority(train_label: Tensor, label: Tensor) -> float:
    """Chance: how often the commonest class of the training labels is right on others (scikit-learn's
    `DummyClassifier`).
    """
    label = label.cpu().long()
    classes = int(max(train_label.max(), label.max())) + 1
    count = torch.bincount(train_label.cpu().long(), minlength=classes).float()
    return found_of(count.expand(len(label), -1), label)  # of equally common ones each is as likely
