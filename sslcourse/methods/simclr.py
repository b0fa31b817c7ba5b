"""SimCLR: two views of one image should find each other among all the other images.

Chen, Kornblith, Norouzi and Hinton. A Simple Framework for Contrastive Learning of
Visual Representations. ICML 2020. arXiv:2002.05709.         Notebook: 01_simclr

Algorithm 1 of the paper                        here
    draw two augmentations t, t' of each x      SimCLR.views
    h = f(t(x)),  z = g(h)                      SimCLR.loss
    s_ij = cosine similarity,  l(i, j)          nt_xent
    keep f, throw away g                        SimCLR.encode
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sslcourse.methods.base import Method, at_least_float32, dim_of, floats_of, images_of
from sslcourse.methods.spec import Spec
from sslcourse.runtime.distributed import gather
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import TEMPERATURE, WIDTH, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train import ties
from sslcourse.train.recipe import Recipe
from sslcourse.transforms.augment import CIFAR_VIEW, COURSE_VIEW, View, simclr_view

# What the authors report for ImageNet (section 2 and appendix A); shown beside our recipes, never executed.
PAPER = dict(
    data="ImageNet",
    encoder="ResNet-50",
    optimizer="LARS",
    epochs=100,
    batch_size=4096,
    lr=4.8,
    weight_decay=1e-6,
    temperature=0.1,
    projector="2048-2048-128",
    strength=1.0,
    area=(0.08, 1.0),
)

COURSE = Recipe(epochs=8, batch_size=128, lr=3.5e-3)  # a laptop CPU, the toybox, the small encoder
FULL = COURSE.but(epochs=40)  # for longer, at most five minutes there
# one GPU, CIFAR-10, ResNet-18
GPU = Recipe(epochs=200, batch_size=512, lr=0.06 * 512 / 256, optimizer="sgd", weight_decay=5e-4)


@explained
def nt_xent(
    z1: Float[Tensor, "n d"], z2: Float[Tensor, "n d"], temperature: float = 0.5
) -> Float[Tensor, ""]:
    """The normalised, temperature-scaled cross-entropy of eq. 1, mean over both views of n images.

    Row i of z1 and row i of z2 are the two views of one image; every view is told its partner from 2n - 1
    candidates. Rows need not be normalised. With several processes the candidates come from all of them."""
    if z1.shape != z2.shape or z1.ndim != 2:
        raise CourseError(
            f"z1 is {tuple(z1.shape)} and z2 is {tuple(z2.shape)}; both views must be (n, d), row for row"
        )
    if not temperature > 0:
        raise CourseError(f"temperature={temperature}; it divides the similarities and must be above 0")
    z1, z2 = gather(z1), gather(z2)
    z = torch.cat([z1, z2])  # (2n, d)
    z = F.normalize(at_least_float32(z), dim=1)
    with torch.autocast(z.device.type, enabled=False):
        similarity = z @ z.T / temperature  # (2n, 2n)
    similarity = similarity.fill_diagonal_(float("-inf"))  # nobody is compared with itself
    partner = torch.arange(len(z), device=z.device).roll(len(z1))  # i + n for i, and back
    return F.cross_entropy(similarity, partner)


@explained
@torch.no_grad()
def partner_found(z1: Float[Tensor, "n d"], z2: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """How often an image's other view is its nearest neighbour: the paper's contrastive accuracy, from 0 to
    1. Where others are as near, it is found as often as by chance among them: 1 / (2n - 1) where all views
    are the same.
    """
    z = ties.directions(torch.cat([z1, z2]))
    with torch.autocast(z.device.type, enabled=False):
        similarity = (z @ z.T).fill_diagonal_(float("-inf"))
    partner = torch.arange(len(z), device=z.device).roll(len(z1))
    return ties.found(similarity, partner).mean()


def projector(inside: int, hidden: int, outside: int, kind: str = "nonlinear") -> nn.Module:
    """g of the paper (section 4.2): "nonlinear" (one hidden layer), "linear" or "none"."""
    if kind == "none":
        return nn.Identity()
    if kind == "linear":
        return nn.Linear(inside, outside)
    if kind != "nonlinear":
        raise CourseError(f"projector={kind!r}; choose 'nonlinear', 'linear' or 'none'")
    # The authors' code normalises inside the head too, which lets short trainings use a high learning rate.
    return nn.Sequential(
        nn.Linear(inside, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, outside),
    )


class SimCLR(Method):
    """SimCLR around any encoder.

    Args:
        encoder: images (B, 3, H, W) in 0..1 to vectors (B, encoder.dim).
        dim, hidden: width of z and of the projector's hidden layer.
        temperature: tau of eq. 1.
        view: draws one random view of a batch of images; the paper's pipeline by default.
        head: "nonlinear" (the paper's), "linear" or "none".
        loss: the contrastive loss, a function of (z1, z2, temperature); put your own here.
    """

    least_batch = 2

    @takes(dim=WIDTH, hidden=WIDTH, temperature=TEMPERATURE)
    def __init__(
        self,
        encoder: nn.Module,
        dim: int = 64,
        hidden: int = 256,
        temperature: float = 0.2,
        view: View | None = None,
        head: str = "nonlinear",
        loss=nt_xent,
    ):
        super().__init__()
        self.f = encoder
        self.g = projector(dim_of(encoder), hidden, dim, head)
        self.temperature, self.contrast = temperature, loss
        self.view = view or simclr_view(**COURSE_VIEW)

    def views(self, batch):
        x = images_of(batch)
        return {"first": self.view(x), "second": self.view(x)}

    def loss(self, batch):
        first, second = self.views(batch).values()
        # One forward pass for both views: the batch statistics are those of all 2n, as in the authors' code.
        h = self.f(torch.cat([first, second]))  # (2B, D)
        z1, z2 = self.g(h).chunk(2)  # (B, dim) each
        return self.contrast(z1, z2, self.temperature), {"partner found": partner_found(z1, z2)}

    def encode(self, batch):
        return self.f(floats_of(batch))  # h and not z: section 4.2


def settings_for(recipe: str, toy: bool, classes: int) -> dict:
    """What this method is under each recipe, on the toybox or on real pictures; plain values, for files."""
    sizes = (
        dict(dim=64, hidden=256, temperature=0.2)
        if recipe != "gpu"
        else dict(dim=128, hidden=1024, temperature=0.5)
    )
    return {**sizes, "view": dict(COURSE_VIEW if toy else CIFAR_VIEW)}


def from_settings(encoder: nn.Module, settings: dict) -> SimCLR:
    """The method that `settings` describe."""
    return SimCLR(encoder, **{**settings, "view": simclr_view(**settings["view"])})


SPEC = Spec(
    name="simclr",
    lesson="01_simclr",
    title="SimCLR",
    course=COURSE,
    full=FULL,
    gpu=GPU,
    settings=settings_for,
    build=from_settings,
)
