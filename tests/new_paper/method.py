"""Barlow Twins: two views of an image should agree in each feature, and no two features say the same.

Zbontar, Jing, Misra, LeCun and Deny. Barlow Twins: Self-Supervised Learning via Redundancy Reduction.
ICML 2021. arXiv:2103.03230.                                                  Notebook: 14_barlow_twins

Algorithm 1 of the paper                            here
    y_a, y_b = augment(x)                           BarlowTwins.views
    z_a, z_b = f(y_a), f(y_b)                       BarlowTwins.loss
    C of eq. 2, batch-normalised                    cross_correlation
    (C - 1)^2, off-diagonal terms by lambda (eq. 1) barlow_loss
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sslcourse.methods.base import Method, at_least_float32, floats_of, images_of
from sslcourse.methods.spec import Spec
from sslcourse.runtime.errors import CourseError
from sslcourse.train.recipe import Recipe
from sslcourse.transforms.augment import CIFAR_VIEW, COURSE_VIEW, View, simclr_view

# What the authors report for ImageNet; shown beside our recipes, never executed.
PAPER = dict(data="ImageNet", encoder="ResNet-50", optimizer="LARS", epochs=1000, batch_size=2048)
COURSE = Recipe(epochs=8, batch_size=128, lr=3.5e-3)  # a laptop CPU, the toybox, the small encoder
FULL = COURSE.but(epochs=50)  # what it can do there in three minutes
GPU = Recipe(epochs=200, batch_size=512, lr=1e-3)  # one GPU, CIFAR-10, ResNet-18


def cross_correlation(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """C of eq. 2, -1 to 1: how feature i of one view goes with feature j of the other, over the batch."""
    if a.shape != b.shape or len(a) < 2:
        raise CourseError(
            f"features are {tuple(a.shape)} and {tuple(b.shape)}; both must be (n, d), n above 1"
        )
    a, b = ((x - x.mean(0)) / x.std(0, correction=0).clamp(min=1e-6) for x in map(at_least_float32, (a, b)))
    return a.T @ b / len(a)


def barlow_loss(
    a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], redundancy: float = 5e-3
) -> Float[Tensor, ""]:
    """Eq. 1: the diagonal of C should be 1, all else 0, which counts by `redundancy` (the paper's lambda)."""
    with torch.autocast(a.device.type, enabled=False):
        c = cross_correlation(a, b)
        on = (c.diagonal() - 1).square().sum()
        return on + redundancy * (c.square().sum() - c.diagonal().square().sum())


class BarlowTwins(Method):
    """Barlow Twins around any encoder.

    Args:
        encoder: images (B, 3, H, W) in 0..1 to vectors (B, encoder.dim).
        dim, hidden: width of z and of the projector's hidden layer.
        redundancy: lambda of eq. 1.
        view: draws one random view of a batch of images.
    """

    def __init__(
        self, encoder, dim: int = 128, hidden: int = 256, redundancy: float = 5e-3, view: View | None = None
    ):
        super().__init__()
        self.f, self.redundancy = encoder, redundancy
        layers = nn.Linear(encoder.dim, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)
        self.g = nn.Sequential(*layers, nn.Linear(hidden, dim, bias=False))
        self.view = view or simclr_view(**COURSE_VIEW)

    def views(self, batch):
        x = images_of(batch)
        return {"first": self.view(x), "second": self.view(x)}

    def loss(self, batch):
        a, b = self.g(self.f(torch.cat([*self.views(batch).values()]))).chunk(2)
        agreement = cross_correlation(a.detach(), b.detach()).diagonal().mean()
        return barlow_loss(a, b, self.redundancy), {"agreement": agreement}

    def encode(self, batch):
        return self.f(floats_of(batch))


def settings_for(recipe: str, toy: bool, classes: int) -> dict:
    """What this method is under each recipe; plain values, for files."""
    sizes = dict(dim=1024, hidden=1024) if recipe == "gpu" else dict(dim=128, hidden=256)
    return {**sizes, "redundancy": 5e-3, "view": dict(COURSE_VIEW if toy else CIFAR_VIEW)}


def from_settings(encoder: nn.Module, settings: dict) -> BarlowTwins:
    """The method that `settings` describe."""
    return BarlowTwins(encoder, **{**settings, "view": simclr_view(**settings["view"])})


SPEC = Spec(
    name="barlow",
    lesson="14_barlow_twins",
    title="Barlow Twins",
    course=COURSE,
    full=FULL,
    gpu=GPU,
    settings=settings_for,
    build=from_settings,
)
