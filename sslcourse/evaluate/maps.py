"""Features drawn in two dimensions: t-SNE, UMAP, and a map that moves with a training."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sslcourse import runtime
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import REAL, SEED, SOME, WHOLE, takes
from sslcourse.runtime.shapes import explained

# ------------------------------------------------------------------------------- maps, for pictures only


def _directions(x: Tensor) -> Tensor:
    """Unit vectors of features about their mean, (n, d) float64 on the CPU: the same distances, and where all
    features point nearly the same way the digits in which they differ.
    """
    if x.ndim != 2 or not torch.isfinite(x).all():
        raise CourseError(
            f"features of shape {tuple(x.shape)}, {int((~torch.isfinite(x)).sum())} of them NaN or "
            "infinite; a map wants one vector of numbers for each sample (if the training has diverged, "
            "start again with a lower lr)"
        )
    z = runtime.unit(x.detach()).cpu()
    return z - z.mean(0)


def _collapsed(z: Tensor, x: Tensor) -> bool:
    """Whether directions differ by no more than the last digits of the features they come from: then a map
    of them would be a map of rounding errors (and scikit-learn's t-SNE ends the process).
    """
    eps = torch.finfo(x.dtype if x.dtype == torch.float64 else torch.float32).eps
    return float((z - z[:1]).norm(dim=1).max()) <= 4 * eps


@explained
@takes(seed=SEED, perplexity=REAL)
def tsne(x: Float[Tensor, "n d"], seed: int = 0, perplexity: float = 30.0) -> Float[Tensor, "n 2"]:
    """t-SNE of features (van der Maaten and Hinton, 2008) by scikit-learn. For looking, not for measuring:
    distances
    between far clusters and sizes of clusters mean nothing. Features that are all the same lie on one place,
    (0, 0)."""
    from sklearn.manifold import TSNE

    if len(x) <= 3 * perplexity:
        raise CourseError(
            f"{len(x)} samples are too few for perplexity={perplexity:g}; take more than {3 * perplexity:g}"
        )
    z = _directions(x)
    if _collapsed(z, x):
        return torch.zeros(len(x), 2)
    if float(z.abs().amax()) < 1e-3:
        z = z / z.abs().amax()  # ratios of distances are what counts; squares of small ones would be lost
    drawn = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(z.float().numpy())
    return torch.from_numpy(drawn)


@explained
@takes(seed=SEED, neighbours=WHOLE)
def umap(x: Float[Tensor, "n d"], seed: int = 0, neighbours: int = 15) -> Float[Tensor, "n 2"]:
    """UMAP of features (McInnes et al., 2018) by umap-learn, which takes about ten seconds to import.
    Features that are all the same lie on one place, (0, 0).
    """
    from umap import UMAP

    if len(x) <= neighbours:
        raise CourseError(f"{len(x)} samples are too few for neighbours={neighbours}; take more")
    z = _directions(x)
    if _collapsed(z, x):
        return torch.zeros(len(x), 2)
    drawn = UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1).fit_transform(z.float().numpy())
    return torch.from_numpy(np.asarray(drawn))


@explained
@takes(perplexity=REAL, steps=SOME)
def living_map(
    x: Float[Tensor, "n d"],
    previous: Float[Tensor, "m 2"] | None = None,
    *,
    perplexity: float = 20.0,
    steps: int | None = None,
) -> Float[Tensor, "n 2"]:
    """A map that goes on living while a network trains: exact t-SNE that starts from where the points were.

    Args:
        x: features of the same samples, in the same order, at every call; a few hundred (the cost grows with
            their square).
        previous: the last map; without it the points start on their first two principal components. So they
            do after a map without width or height, such as that of features that had collapsed: points on
            one place, or on a line, would never leave it.
        steps: of gradient descent, 60 to go on and 250 to begin.

    Returns positions within about -1..1, all of them (0, 0) where the features are all the same. Half a
    second for 600 samples on one thread. For looking, as `tsne` is."""
    n = len(x)
    if n <= 3 * perplexity:
        raise CourseError(
            f"{n} samples are too few for perplexity={perplexity:g}; take more than {3 * perplexity:g}"
        )
    if previous is not None and len(previous) != n:
        raise CourseError(
            f"the previous map has {len(previous)} points, there are {n} samples now; give the same "
            "samples each time"
        )
    z = _directions(x)
    if _collapsed(z, x):
        return torch.zeros(n, 2)
    begin = previous is None or not _two_dimensional(previous)
    squared = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist").square()
    # In units of their mean: what neighbours are is a matter of ratios, also where all points nearly agree.
    squared = squared / squared.mean().clamp_min(torch.finfo(torch.float64).tiny)
    p = _neighbour_probabilities(squared.float(), perplexity)
    if begin or previous is None:
        # Of a single dimension the second component is 0.
        wide = F.pad(z, (0, max(0, 2 - z.shape[1])))
        u, s, _ = torch.pca_lowrank((wide / z.abs().amax()).float(), q=2)
        y = u * s
        y = y / y.std().clamp_min(1e-12) * 1e-2
    else:
        y = previous.float().cpu() * 15  # back to the scale in which t-SNE works
    velocity = torch.zeros_like(y)
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


def _two_dimensional(xy: Tensor) -> bool:
    """Whether points of a map are numbers, and lie neither on one place nor on one line."""
    if not torch.isfinite(xy).all():
        return False
    long, short = torch.linalg.svdvals(xy.double().cpu() - xy.double().cpu().mean(0)).tolist()
    return short > 1e-4 * long > 1e-12


def _neighbour_probabilities(squared: Tensor, perplexity: float) -> Tensor:
    """Symmetric neighbour probabilities of t-SNE: each row's width is found by bisection so that its entropy
    is log(perplexity).
    """
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
