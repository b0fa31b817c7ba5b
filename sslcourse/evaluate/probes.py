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
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, Number, takes

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


@takes(classes=Number(-(2**40), 2**40), chunk=COUNT)
def knn_predict(
    bank: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    queries: Float[Tensor, "m d"],
    *,
    classes: int,
    protocol: str = "dino",
    chunk: int = 1024,
) -> Int[Tensor, " m"]:
    """The class that each query's nearest neighbours in the bank vote for.

    Args:
        bank, labels: labelled features; need not be normalised.
        classes: how many there are.
        protocol: "dino" (k=20, T=.07), "lightly" (k=200, T=.1) or "sklearn" (k=10, unweighted), all by
            cosine.
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
    """A fitted linear classifier (or, for several columns of numbers, a ridge regression) on standardised
    features.
    """

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


def _softmax_regression(
    x: Tensor, label: Tensor, classes: int, penalty: float, iterations: int
) -> tuple[Tensor, Tensor]:
    weight = torch.zeros(x.shape[1], classes, device=x.device, requires_grad=True)
    bias = torch.zeros(classes, device=x.device, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=iterations, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

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
    order = torch.randperm(n, generator=runtime.generator(n, 0x40D))
    return order[n // 5 :], order[: n // 5]


@takes(classes=Number(-(2**40), 2**40), iterations=COUNT)
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
        penalties: strengths of the squared penalty (per sample); the best on a held-out fifth of x is taken,
            then all of x is fitted. With one strength, or fewer than 100 samples, nothing is held out.

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


def ridge_probe(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n c"], penalties: Sequence[float] = PENALTIES
) -> LinearProbe:
    """Linear regression with a squared penalty, in closed form; a held-out fifth chooses the strength."""
    x, mean, scale = _standardise(x)
    y = y.float()

    def solve(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
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


def labels_of(samples: Samples, reader: str) -> Tensor:
    return open_labels(samples, reader)[0] if samples.split == "test" else samples.label


def accuracy_of(predicted: Tensor, label: Tensor) -> float:
    return float((predicted.cpu() == label.cpu()).float().mean())
