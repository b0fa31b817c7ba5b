"""RotNet: to say by how much a picture was turned, a network must know what is in it and how it usually
stands.

Gidaris, Singh and Komodakis. Unsupervised Representation Learning by Predicting Image
Rotations. ICLR 2018. arXiv:1803.07728.                       Notebook: 04_rotation_and_clusters

Section 3.1 of the paper                        here
    g(X|y) = Rot(X, y 90 degrees)               rotations
    F(X|theta), a distribution over K turns     RotNet.g(RotNet.f(x))
    loss (eq. 2, 3): -log F^y(g(X|y)), mean     RotNet.loss
    all K turns of a picture in one batch       RotNet.views
    keep F up to a middle layer                 RotNet.encode, features.after(method, "conv4")
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sslcourse.methods.base import Method, dim_of, floats_of, images_of
from sslcourse.methods.spec import Spec
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.shapes import explained
from sslcourse.train import ties
from sslcourse.train.recipe import Recipe
from sslcourse.transforms.augment import View, crop_and_flip

# CIFAR-10 (section 4.1); shown beside our recipes, never executed.
PAPER = dict(
    data="CIFAR-10",
    encoder="Network in Network",
    optimizer="SGD",
    epochs=100,
    batch_size=128,
    lr=0.1,
    weight_decay=5e-4,
    turns="0, 90, 180, 270",
    head="linear",
)

COURSE = Recipe(epochs=6, batch_size=64, lr=3e-3)  # a batch of 64 pictures is 256 turned ones
FULL = COURSE.but(epochs=24)  # for longer, at most five minutes there
# one GPU, CIFAR-10, ResNet-18
GPU = Recipe(epochs=100, batch_size=128, lr=0.1, optimizer="sgd", schedule="cosine", weight_decay=5e-4)


@explained
def rotations(
    image: Float[Tensor, "b c h w"], turns: Sequence[int] = (0, 1, 2, 3)
) -> tuple[Float[Tensor, "m c h w"], Int[Tensor, " m"]]:
    """Every picture turned by each number of quarter turns, counter-clockwise, and which of the turns it was.

    Quarter turns only move pixels. Any other angle would need interpolation and leave dark corners, and the
    network would read the angle from those.

    Args:
        image: square.
        turns: different whole numbers from 0 to 3.

    Returns: pictures (K B, C, H, W), first all at `turns[0]`, then all at `turns[1]`, and so on; labels (K
        B,), positions in `turns`.
    """
    if image.shape[-1] != image.shape[-2]:
        raise CourseError(
            f"pictures of {image.shape[-2]} x {image.shape[-1]} pixels; a quarter turn would change "
            "their "
            "shape: crop them to a square"
        )
    if len(turns) < 2 or sorted(set(turns)) != sorted(turns) or not set(turns) <= {0, 1, 2, 3}:
        raise CourseError(
            f"turns={tuple(turns)}; give at least two different numbers of quarter turns from 0 to 3, "
            "such "
            "as (0, 1, 2, 3)"
        )
    turned = torch.cat([image.rot90(k, (2, 3)) for k in turns])  # (K B, C, H, W)
    return turned, torch.arange(len(turns), device=image.device).repeat_interleave(len(image))


class RotNet(Method):
    """RotNet around any encoder.

    Args:
        encoder: images (B, 3, H, W) in 0..1 to vectors (B, encoder.dim).
        turns: which quarter turns the network must tell apart; the paper's four by default.
        view: augmentation before the turn (after it, a crop's border could give the turn away); crops and
            flips by default, as in the paper.
        turn: makes of pictures the turned pictures and their labels; put your own `rotations` here.

    The head is one linear layer on the encoder's average over all places, as in the paper.
    """

    def __init__(
        self,
        encoder: nn.Module,
        turns: Sequence[int] = (0, 1, 2, 3),
        view: View | None = None,
        turn=rotations,
    ):
        super().__init__()
        turn(torch.zeros(1, 3, 2, 2), turns)  # refuses wrong turns now and not in the middle of a training
        self.f, self.g = encoder, nn.Linear(dim_of(encoder), len(turns))
        self.turns, self.turn = tuple(turns), turn
        self.view = view or crop_and_flip()

    def views(self, batch):
        turned, label = self.turn(self.view(images_of(batch)), self.turns)
        return {"turned": turned, "turn": label}

    def loss(self, batch):
        turned, label = self.views(batch).values()
        logits = self.g(self.f(turned)).float()  # (K B, K)
        return F.cross_entropy(logits, label), {"turn found": ties.found(logits, label).mean()}

    def encode(self, batch):
        return self.f(floats_of(batch))


def settings_for(recipe: str, toy: bool, classes: int) -> dict:
    """What this method is; plain values, for files."""
    return {"turns": [0, 1, 2, 3], "area": [0.5, 1.0]}


def from_settings(encoder: nn.Module, settings: dict) -> RotNet:
    """The method that `settings` describe."""
    return RotNet(encoder, settings["turns"], crop_and_flip(settings["area"]))


SPEC = Spec(
    name="rotnet",
    lesson="04_rotation_and_clusters",
    title="RotNet",
    course=COURSE,
    full=FULL,
    gpu=GPU,
    settings=settings_for,
    build=from_settings,
)
