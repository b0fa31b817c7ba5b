"""DeepCluster: group the features a network has, teach it to predict the groups, and group again what it has
then.

Caron, Bojanowski, Joulin and Douze. Deep Clustering for Unsupervised Learning of Visual
Features. ECCV 2018. arXiv:1807.05520.                        Notebook: 04_rotation_and_clusters

Section 3 of the paper                          here
    a fixed linear transformation, edges only   sobel
    f_theta(x_n), features of all images        DeepCluster.before_epoch
    PCA, whitening, l2-normalisation            phi
    min over C, y of |phi(f(x_n)) - C y_n|^2    partition (clustering.kmeans)
    pseudo-labels y_n                           DeepCluster.assigned
    the classifier g_W, fresh in every round    DeepCluster.g
    l(g_W(f_theta(t(x_n))), y_n)                DeepCluster.loss
    images drawn uniformly over clusters        balance, in the loss
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sslcourse.methods.base import Method, dim_of, floats_of, images_of
from sslcourse.methods.spec import Spec
from sslcourse.runtime import distributed
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, RATE_OF_LEARNING, Number, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train import clustering, features, ties
from sslcourse.train.recipe import Recipe
from sslcourse.transforms.augment import View, crop_and_flip

# ImageNet (section 3 and the authors' code); shown beside our recipes, never executed.
PAPER = dict(
    data="ImageNet",
    encoder="AlexNet with batch normalisation",
    optimizer="SGD",
    epochs=500,
    batch_size=256,
    lr=0.05,
    weight_decay=1e-5,
    clusters=10_000,
    pca=256,
    every=1,
    view="crop and flip",
    input="Sobel edges",
)

COURSE = Recipe(epochs=12, batch_size=64, lr=3e-3)  # a laptop CPU, the toybox, the small encoder
FULL = COURSE.but(epochs=50)  # for longer, at most five minutes there
# one GPU, CIFAR-10, ResNet-18
GPU = Recipe(epochs=200, batch_size=256, lr=0.05, optimizer="sgd", schedule="cosine", weight_decay=1e-5)

AREA = (0.3, 1.0)  # of the crops, on the toybox; smaller ones often miss the solid

Partition = Callable[[Tensor, int], Tensor]


@explained
def sobel(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """The edges of a picture, without its colours: slope along x, slope along y, and how steep it is, about
    0.5.

    The authors' network looks through such a filter too (two channels there), because clusters of untrained
    features follow colour first of all, and a network that is then taught to predict them looks for nothing
    else."""
    kernel = (
        torch.tensor(
            [[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]], device=image.device, dtype=image.dtype
        )
        / 4
    )
    grey = image.mean(1, keepdim=True)  # (B, 1, H, W), the plain mean of the three as in the authors' code
    # Edges of the picture itself are no edges of what it shows: repeat the last row instead of padding with
    # black.
    slope = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), torch.stack([kernel, kernel.T])[:, None])
    return torch.cat([0.5 + slope, 0.5 + slope.square().sum(1, keepdim=True).sqrt()], 1)


@explained
def phi(h: Float[Tensor, "n d"], dim: int = 32) -> Float[Tensor, "n p"]:
    """Features made ready for k-means: PCA to at most `dim` numbers, whitened, each row of length 1 (section
    4).
    """
    return F.normalize(clustering.whiten(h, min(dim, h.shape[1])), dim=1)


@takes(dim=Number(1, 65_536), iterations=COUNT)
def by_kmeans(dim: int = 32, iterations: int = 20) -> Partition:
    """The paper's step (a): features (n, d) and k to cluster numbers (n,). Starts from random points, as the
    authors' k-means does.
    """

    def partition(h: Tensor, k: int) -> Tensor:
        return clustering.kmeans(phi(h, dim), k, start="random", iterations=iterations).label

    return partition


@explained
def balance(assigned: Int[Tensor, " n"], k: int) -> Float[Tensor, " k"]:
    """Weight of each cluster's pictures so that all clusters count alike: n / (clusters with pictures *
    pictures in it).

    The paper draws a cluster first and then a picture of it. A picture of cluster c then comes with
    probability 1 / (m |c|), with m clusters that have any, instead of 1 / n. Here every picture comes once an
    epoch and its loss is multiplied by the ratio of the two, n / (m |c|): each step's loss, and its gradient,
    are the same in expectation. What differs is their spread, which is larger where a cluster is very small,
    and the batch statistics, which see the pictures as often as they are."""
    count = torch.bincount(assigned, minlength=k)
    return torch.where(count > 0, len(assigned) / (int((count > 0).sum()) * count.clamp_min(1)), 0.0)


class DeepCluster(Method):
    """DeepCluster around any encoder.

    Args:
        encoder: images (B, 3, H, W) in 0..1 to vectors (B, encoder.dim).
        clusters: k. More than there are classes is better (section 4.1); below 20 pictures a cluster there is
            little to learn.
        every: epochs from one clustering to the next.
        view: augmentation of the pictures that are to be classified, crops and flips by default; clustered
            are the plain pictures.
        edges: whether the network is shown the pictures' edges (`sobel`) instead of their colours.
        partition: makes of all features (n, d) and k the cluster numbers (n,); the paper's by default
            (`by_kmeans`).
        balanced: whether all clusters count alike (`balance`).
        fresh_head: whether the classifier and its optimizer state begin anew after each clustering. Cluster 7
            of this round has nothing to do with cluster 7 of the last.
        head_lr: the learning rate of the classifier, the same in every step, as in the authors' code; None
            leaves it to the recipe. A schedule that ends at 0 would leave the heads of the last rounds as
            they were drawn, and what they cannot tell apart yet teaches the encoder nothing.
        capacity: for how many pictures there is room. The cluster numbers are part of the checkpoint, whose
            size is fixed when the method is built, so that a run that was killed goes on with the
            pseudo-labels it had.

    Departures from the paper: h, the average over all places, is clustered and classified directly (the paper
    has two more layers in between), and the balance is in the loss and not in the sampling."""

    @takes(clusters=Number(1, 65_536), every=COUNT, capacity=COUNT, head_lr=RATE_OF_LEARNING)
    def __init__(
        self,
        encoder: nn.Module,
        clusters: int = 100,
        every: int = 1,
        view: View | None = None,
        edges: bool = True,
        partition: Partition | None = None,
        balanced: bool = True,
        fresh_head: bool = True,
        head_lr: float | None = 1e-2,
        capacity: int = 65_536,
    ):
        super().__init__()
        self.f, self.g = encoder, nn.Linear(dim_of(encoder), clusters)
        self.clusters, self.every, self.balanced, self.fresh_head = clusters, every, balanced, fresh_head
        self.head_lr = head_lr
        self.edges, self.view = edges, view or crop_and_flip(AREA)
        self.partition = partition or by_kmeans()
        self.register_buffer("assigned", torch.full((capacity,), -1))
        self.register_buffer("weight", torch.zeros(clusters))  # of the pictures of each cluster in the loss
        self.register_buffer("epochs", torch.tensor(0))  # begun so far
        self.register_buffer("agreement", torch.tensor(0.0))  # NMI of this clustering with the last
        self.register_buffer("in_use", torch.tensor(0.0))

    def seen(self, image: Tensor) -> Tensor:
        """What the encoder is shown of pictures, floats from 0 to 1."""
        return sobel(image) if self.edges else image

    def views(self, batch):
        return {"view": self.seen(self.view(images_of(batch)))}

    @torch.no_grad()
    def features(self, dataset) -> Float[Tensor, "n d"]:
        """h of all pictures, plain, in their order, in eval mode."""
        return torch.cat(features.map_batches(self, dataset, lambda batch: self.encode(batch).float()))

    @torch.no_grad()
    def before_epoch(self, progress, dataset, optimizers):
        self.epochs += 1
        if (int(self.epochs) - 1) % self.every:
            return
        n = len(dataset)
        if n > len(self.assigned):
            raise CourseError(
                f"{n} pictures, but room for the clusters of {len(self.assigned)}; write "
                f"DeepCluster(..., capacity={n}), on the command line --set capacity={n}"
            )
        if n < self.clusters:
            raise CourseError(
                f"{self.clusters} clusters of {n} pictures; write DeepCluster(..., "
                f"clusters={max(1, n // 20)}), on the command line --set clusters={max(1, n // 20)}, or give "
                "more pictures"
            )
        before = self.assigned[:n].clone()
        now = self.partition(self.features(dataset), self.clusters)
        now = torch.as_tensor(
            distributed.from_first(now.tolist()) if distributed.world() > 1 else now, device=before.device
        )
        self.assigned[:n] = now
        self.agreement.fill_(clustering.agreement(now, before) if (before >= 0).all() else 0.0)
        self.in_use.fill_(clustering.clusters_in_use(now))
        self.weight.copy_(balance(now, self.clusters) if self.balanced else torch.ones_like(self.weight))
        if self.fresh_head:
            nn.init.normal_(self.g.weight, 0, 0.01)  # the authors' code
            nn.init.zeros_(self.g.bias)
            if "head" in optimizers:
                # its memory is of clusters that are no more; the encoder keeps its own
                optimizers["head"].state.clear()

    def loss(self, batch):
        if "index" not in batch:
            raise CourseError(
                'this batch has no "index", by which the pseudo-labels are found; take it from '
                "dataset.batches(...)"
            )
        if not self.weight.is_cuda and not self.weight.any():
            raise CourseError(
                "there are no pseudo-labels yet; call before_epoch(0, dataset, {}) first, or train with "
                "epochs(...) or fit(...)"
            )
        y = self.assigned[batch["index"]]  # (B,)
        logits = self.g(self.f(self.views(batch)["view"])).float()  # (B, k)
        loss = (self.weight[y] * F.cross_entropy(logits, y, reduction="none")).mean()
        return loss, {
            "cluster found": ties.found(logits, y).mean(),
            "as before (NMI)": self.agreement,
            "clusters in use": self.in_use,
        }

    def encode(self, batch):
        return self.f(self.seen(floats_of(batch)))

    def step(self, batch, optimizers):
        for group in optimizers["head"].param_groups if self.head_lr is not None else ():
            group["lr"] = self.head_lr  # the loop set both alike
        return super().step(batch, optimizers)

    def trainable(self):
        return {"encoder": list(self.f.parameters()), "head": list(self.g.parameters())}


def settings_for(recipe: str, toy: bool, classes: int) -> dict:
    """What this method is under each recipe, on the toybox or on real pictures; plain values, for files."""
    sizes = (
        dict(clusters=1000, every=1, pca=128, head_lr=0.05)
        if recipe == "gpu"
        else dict(clusters=100, every=1, pca=32, head_lr=1e-2)
    )
    return {
        **sizes,
        "capacity": 8192 if toy else 65_536,
        "edges": True,
        "area": list(AREA if toy else (0.2, 1.0)),
    }


def from_settings(encoder: nn.Module, settings: dict) -> DeepCluster:
    """The method that `settings` describe. Those of older checkpoints do not say head_lr: their heads had the
    recipe's.
    """
    return DeepCluster(
        encoder,
        settings["clusters"],
        settings["every"],
        crop_and_flip(settings["area"]),
        settings["edges"],
        by_kmeans(settings["pca"]),
        head_lr=settings.get("head_lr"),
        capacity=settings["capacity"],
    )


SPEC = Spec(
    name="deepcluster",
    lesson="04_rotation_and_clusters",
    title="DeepCluster",
    course=COURSE,
    full=FULL,
    gpu=GPU,
    settings=settings_for,
    build=from_settings,
)
