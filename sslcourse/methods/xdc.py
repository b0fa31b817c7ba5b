"""XDC: let the network that sees predict how the sounds were grouped, and the network that hears how the
pictures were.

Alwassel, Mahajan, Korbar, Torresani, Ghanem and Tran. Self-Supervised Learning by Cross-Modal
Audio-Video Clustering. NeurIPS 2020. arXiv:1911.12667.       Notebook: 12_cross_modal_clustering

Section 3 of the paper                          here
    SDC, MDC, CDC and XDC                       WHOSE
    E_v, E_a                                    XDC.f, XDC.ear.f
    features of all clips, frozen               XDC.features
    k-means: clusters as pseudo-labels          partition, XDC.assigned
    [E_v(v), E_a(a)] of CDC                     joint
    fully connected layers, fresh each time     XDC.heads
    cross-entropy with the pseudo-labels        cluster_loss, XDC.loss
    go on from the networks as they are now     XDC.before_epoch

The four methods differ in nothing but a row of `WHOSE`. The same class also trains the control that reviewers
asked for: pairs of networks of one modality that guide each other ("pair")."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sslcourse import encoders
from sslcourse.encoders.films import show_still
from sslcourse.methods.base import (
    Ear,
    Method,
    at_least_float32,
    dim_of,
    sounds_of,
    video_floats_of,
    videos_of,
)
from sslcourse.methods.spec import Spec
from sslcourse.runtime import distributed
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, HERTZ, SHARE, SOME, Number, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train import clustering, features, ties
from sslcourse.train.recipe import Recipe
from sslcourse.transforms import sounds
from sslcourse.transforms.augment import View, film_view

# The released network and the paper's text; shown beside our recipes, never executed.
PAPER = dict(
    data="Kinetics, AudioSet, IG-Random (65M clips)",
    encoder="R(2+1)D-18",
    ear="ResNet-18 on log-mel",
    optimizer="SGD",
    clustering="k-means on all clips, fresh heads",
    labels="the other modality's clusters",
)

COURSE = Recipe(epochs=15, batch_size=32, lr=3e-3)  # a laptop CPU, the sounding toybox: five clusterings
FULL = COURSE.but(epochs=60)  # for longer, at most five minutes there
# one GPU, tens of thousands of clips at 112 pixels
GPU = Recipe(epochs=50, batch_size=128, lr=1e-3, schedule="cosine", weight_decay=1e-4)

# Whose clusters does each network predict? One head for each; "eye + ear" are the clusters of both features
# side by side.
WHOSE: dict[str, dict[str, tuple[str, ...]]] = {
    "sdc": {"eye": ("eye",), "ear": ("ear",)},
    "mdc": {"eye": ("eye", "ear"), "ear": ("ear", "eye")},
    "cdc": {"eye": ("eye + ear",), "ear": ("eye + ear",)},
    "xdc": {"eye": ("ear",), "ear": ("eye",)},
    "pair": {"eye": ("second eye",), "second eye": ("eye",), "ear": ("second ear",), "second ear": ("ear",)},
}

Partition = Callable[[Tensor, int], Tensor]


def whose(variant: str) -> dict[str, tuple[str, ...]]:
    """Network -> the networks whose clusters it predicts."""
    if variant not in WHOSE:
        raise CourseError(f"variant={variant!r}; choose one of {', '.join(WHOSE)}")
    return WHOSE[variant]


@explained
def joint(*h: Float[Tensor, "n _"]) -> Float[Tensor, "n e"]:
    """Features of the same clips side by side, each brought to length 1 first, so that neither drowns the
    other in the distances.
    """
    return torch.cat([F.normalize(at_least_float32(x), dim=1) for x in h], 1)


def by_kmeans(starts: int = 4, iterations: int = 50) -> Partition:
    """k-means as a function of features (n, d) and k to cluster numbers (n,): the tightest of several runs,
    which begin at other points.
    """

    def partition(h: Tensor, k: int) -> Tensor:
        return min(
            (clustering.kmeans(h, k, iterations=iterations) for _ in range(starts)),
            key=lambda found: found.inertia,
        ).label

    return partition


@explained
def cluster_loss(
    logits: Float[Tensor, "b k"], label: Int[Tensor, " b"], size: Int[Tensor, " k"], balance: float = 0.5
) -> Float[Tensor, ""]:
    """Cross-entropy with pseudo-labels in which a clip counts the less, the larger its cluster is.

    Args:
        label: cluster numbers of the clips of a batch.
        size: of each cluster, counted in the whole training set; 0 for those that are not in use.
        balance: a clip of cluster c is weighted by |c|^-balance, scaled so that the mean weight over all
            clips is 1. At 0 all clips count alike, and a giant cluster is worth predicting always; at 1 all
            clusters do (DeepCluster's sampling), and one of three clips shakes the network as much as one of
            three hundred.
    """
    logits = at_least_float32(logits)
    count = size.to(logits.dtype)
    weight = torch.where(count > 0, count.clamp_min(1) ** -balance, 0.0)  # (k,)
    weight = weight * count.sum() / (weight * count).sum()
    return (weight[label] * F.cross_entropy(logits, label, reduction="none")).mean()


class XDC(Method):
    """Clustering across modalities, and its rivals, around any two encoders.

    Args:
        encoder: films (B, 3, T, H, W) in 0..1 to vectors (B, encoder.dim). One that another method has
            trained is where this one goes on: its first clusters are then those of what it knows already.
        ear: log-mel spectrograms (B, 1, M, T) to vectors (B, ear.dim); `encoders.small_mel(steady=0.0)` by
            default. Likewise.
        rate: samples of sound per second.
        variant: a row of `WHOSE`.
        clusters: k, of every partition.
        every: epochs from one clustering to the next.
        view: augmentation of the films; crops by default.
        shift: the spectrograms are moved in time by up to so many columns.
        pca: each network's features are whitened to so many numbers and brought to length 1 before they are
            clustered, as DeepCluster's are; 0 leaves out the whitening. Whether the paper whitens is not
            known.
        balance: see `cluster_loss`.
        partition: makes of `joint` features (n, d) and k the cluster numbers (n,).
        fresh_heads: whether the heads and their optimizer state begin anew after each clustering: cluster 7
            of this round has nothing to do with cluster 7 of the last.
        capacity: for how many clips there is room; the cluster numbers belong to the checkpoint, whose size
            is fixed.
        whose, joint, loss: put your own functions of these names here.

    Departures from the paper: a set number of epochs in place of "until the loss on held-out clips
    saturates", weights by cluster size in the loss, and both networks in one step (they share nothing, so
    this changes nothing). The course's small encoders do not see what stands still, nor hear what stays the
    same: see `encoders.small_clip`."""

    assigned: Tensor  # (partitions, capacity): each clip's cluster, -1 before the first clustering
    size: Tensor  # (partitions, clusters): how many clips each has

    @takes(
        rate=HERTZ,
        clusters=Number(1, 65_536),
        every=COUNT,
        shift=SOME,
        pca=SOME,
        balance=SHARE,
        capacity=COUNT,
    )
    def __init__(
        self,
        encoder: nn.Module,
        ear: nn.Module | None = None,
        rate: int = 8000,
        variant: str = "xdc",
        clusters: int = 12,
        every: int = 3,
        view: View | None = None,
        shift: int = 4,
        pca: int = 8,
        balance: float = 0.5,
        partition: Partition | None = None,
        fresh_heads: bool = True,
        capacity: int = 8192,
        whose: Callable[[str], Mapping[str, Sequence[str]]] = whose,
        joint: Callable[..., Tensor] = joint,
        loss: Callable[[Tensor, Tensor, Tensor, float], Tensor] = cluster_loss,
    ):
        super().__init__()
        self.f, self.ear = encoder, Ear(ear or encoders.small_mel(steady=0.0), rate)
        self.variant, self.clusters, self.every, self.fresh_heads, self.shift = (
            variant,
            clusters,
            every,
            fresh_heads,
            shift,
        )
        self.whose = {network: tuple(targets) for network, targets in whose(variant).items()}
        self.twins = nn.ModuleDict(
            {
                name: _stranger(self.network(name.split()[-1]))
                for name in self.whose
                if name.startswith("second")
            }
        )
        self.heads = nn.ModuleDict(
            {
                f"{network} of {target}": nn.Linear(dim_of(self.network(network)), clusters)
                for network, targets in self.whose.items()
                for target in targets
            }
        )
        self.partitions = tuple(
            dict.fromkeys(target for targets in self.whose.values() for target in targets)
        )
        self.view = view or film_view((0.7, 1.0), strength=0, hue_by=0, jitter=0, copied=0)
        self.pca, self.balance, self.partition, self.joint, self.contrast = (
            pca,
            balance,
            partition or by_kmeans(),
            joint,
            loss,
        )
        self.register_buffer("assigned", torch.full((len(self.partitions), capacity), -1))
        # clips in each cluster
        self.register_buffer("size", torch.zeros(len(self.partitions), clusters, dtype=torch.long))
        self.register_buffer("epochs", torch.tensor(0))  # begun so far
        # NMI of each partition with its last one
        self.register_buffer("agreement", torch.zeros(len(self.partitions)))

    # ------------------------------------------------------------------ networks

    def network(self, name: str) -> nn.Module:
        """The encoder called "eye", "ear", "second eye" or "second ear"."""
        return self.f if name == "eye" else self.ear.f if name == "ear" else self.twins[name]

    def encoded(self, seen: Tensor, heard: Tensor) -> dict[str, Tensor]:
        """Features of every network that takes part, of films in 0..1 and spectrograms."""
        return {name: self.network(name)(seen if name.endswith("eye") else heard) for name in self.whose}

    def views(self, batch):
        return {
            "video": self.view(videos_of(batch)),
            "logmel": sounds.shifted(self.ear.logmel(batch), self.shift),
        }

    def encode(self, batch):
        return self.f(video_floats_of(batch))

    def trainable(self):
        networks = [*self.f.parameters(), *self.ear.parameters(), *self.twins.parameters()]
        return {"networks": networks, "heads": list(self.heads.parameters())}

    # ------------------------------------------------------------------ pseudo-labels

    @torch.no_grad()
    def features(self, dataset) -> dict[str, Float[Tensor, "n d"]]:
        """Network -> features of all clips, plain, in their order, in eval mode."""
        rows = features.map_batches(
            self, dataset, lambda batch: self.encoded(video_floats_of(batch), self.ear.logmel(batch)), 256
        )
        return {name: torch.cat([row[name].float() for row in rows]) for name in self.whose}

    def round(self, h: Float[Tensor, "n d"]) -> Float[Tensor, "n p"]:
        """Features in which no direction is louder than another."""
        return clustering.whiten(h, min(self.pca, h.shape[1])) if self.pca else h

    @torch.no_grad()
    def cluster(self, dataset) -> dict[str, Int[Tensor, " n"]]:
        """Partition -> cluster numbers of all clips by the networks as they are now; changes nothing."""
        h = {name: self.round(x) for name, x in self.features(dataset).items()}
        return {
            name: self.partition(self.joint(*(h[network] for network in name.split(" + "))), self.clusters)
            for name in self.partitions
        }

    @torch.no_grad()
    def before_epoch(self, progress, dataset, optimizers):
        self.epochs += 1
        if (int(self.epochs) - 1) % self.every:
            return
        self._refuse(dataset)
        n = len(dataset)
        for row, now in enumerate(self.cluster(dataset).values()):
            now = torch.as_tensor(
                distributed.from_first(now.tolist()) if distributed.world() > 1 else now,
                device=self.assigned.device,
            )
            before = self.assigned[row, :n]
            self.agreement[row] = clustering.agreement(now, before) if (before >= 0).all() else 0.0
            self.assigned[row, :n] = now
            self.size[row] = torch.bincount(now, minlength=self.clusters)
        if self.fresh_heads:
            for head in self.heads.values():
                head.reset_parameters()
            if "heads" in optimizers:
                # its memory is of clusters that are no more; the encoders keep theirs
                optimizers["heads"].state.clear()

    def _refuse(self, dataset) -> None:
        n, rate = len(dataset), getattr(dataset, "rate", None)
        if rate is None:
            raise CourseError(f"{dataset.name!r} has no sound; take data with both, such as toybox.events()")
        if rate != self.ear.rate:
            raise CourseError(
                f"{dataset.name!r} has {rate} samples of sound a second, the ear expects "
                f"{self.ear.rate}; "
                f"write XDC(..., rate={rate}), on the command line --set rate={rate}"
            )
        if n > self.assigned.shape[1]:
            raise CourseError(
                f"{n} clips, but room for the clusters of {self.assigned.shape[1]}; write XDC(..., "
                f"capacity={n}), on the command line --set capacity={n}"
            )
        if n < self.clusters:
            raise CourseError(
                f"{self.clusters} clusters of {n} clips; write XDC(..., clusters={max(1, n // 20)}), on the "
                f"command line --set clusters={max(1, n // 20)}, or give more clips"
            )

    def clusters_of(self, name: str, n: int) -> Int[Tensor, " n"]:
        """Cluster numbers of the first n training clips in a partition: "eye", "ear" or "eye + ear",
        whichever this variant makes.
        """
        if name not in self.partitions:
            raise CourseError(
                f"{self.variant} makes no clusters of {name!r}; it has those of {', '.join(self.partitions)}"
            )
        found = self.assigned[self.partitions.index(name), :n]
        if (found < 0).any():
            raise CourseError(
                f"there are no pseudo-labels of {n} clips; train with epochs(...) or fit(...) on as many "
                "first"
            )
        return found

    # ------------------------------------------------------------------ training

    def loss(self, batch):
        if "index" not in batch:
            raise CourseError(
                'this batch has no "index", by which the pseudo-labels are found; take it from '
                "dataset.batches(...)"
            )
        if not self.size.is_cuda and not self.size.any():
            raise CourseError(
                "there are no pseudo-labels yet; call before_epoch(0, dataset, {}) first, or train with "
                "epochs(...) or fit(...)"
            )
        views = self.views(batch)
        h = self.encoded(views["video"], views["logmel"])
        total, metrics = 0.0, {}
        for network, targets in self.whose.items():
            for target in targets:
                row = self.partitions.index(target)
                y = self.assigned[row, batch["index"]]  # (B,)
                logits = self.heads[f"{network} of {target}"](h[network])  # (B, k)
                total = total + self.contrast(logits, y, self.size[row], self.balance)
                metrics.setdefault(f"{network} finds", []).append(ties.found(logits, y).mean())
        found = {name: torch.stack(values).mean() for name, values in metrics.items()}
        return total, {
            **found,
            "as before (NMI)": self.agreement.mean(),
            "clusters in use": _in_use(self.size),
        }


def _in_use(size: Tensor) -> Tensor:
    """exp(entropy of the cluster sizes), mean over partitions: k clusters of one size count k."""
    share = size / size.sum(1, keepdim=True)
    return (-torch.special.xlogy(share, share).sum(1)).exp().mean()


def _stranger(network: nn.Module) -> nn.Module:
    """A network of the same kind with weights of its own."""
    other = copy.deepcopy(network)
    for module in other.modules():
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()
    return other


class Pupil(Method):
    """Any encoder trained once on pseudo-labels that are final: what a clustering found, handed to another
    network (or, with the true labels, the supervised yardstick).

    Args:
        encoder: films (B, 3, T, H, W), or with `hears` spectrograms (B, 1, M, T), to vectors.
        label: (n,) class numbers of the training clips, in their order, such as `xdc.clusters_of("ear", n)`.
            They belong to the checkpoint.
        hears: whether it is an ear: `encode` then reads the sound.
        rate, view, shift: as for `XDC`.
    """

    @takes(rate=HERTZ, shift=SOME)
    def __init__(
        self,
        encoder: nn.Module,
        label: Tensor,
        hears: bool = False,
        rate: int = 8000,
        view: View | None = None,
        shift: int = 4,
    ):
        super().__init__()
        if label.ndim != 1 or not len(label) or int(label.min()) < 0:
            raise CourseError(
                f"labels of shape {tuple(label.shape)}; pass one class number from 0 for each training clip"
            )
        self.f, self.hears, self.rate, self.shift = encoder, hears, rate, shift
        self.head = nn.Linear(dim_of(encoder), int(label.max()) + 1)
        self.view = view or film_view((0.7, 1.0), strength=0, hue_by=0, jitter=0, copied=0)
        self.register_buffer("label", label.clone())
        self.register_buffer("size", torch.bincount(label))

    def views(self, batch):
        if self.hears:
            return {"logmel": sounds.shifted(sounds.log_mel(sounds_of(batch), self.rate), self.shift)}
        return {"video": self.view(videos_of(batch))}

    def before_epoch(self, progress, dataset, optimizers):
        if len(dataset) != len(self.label):
            raise CourseError(
                f"{len(self.label)} labels for {len(dataset)} clips; train on the clips that they belong "
                "to, in the same order"
            )

    def loss(self, batch):
        y = self.label[batch["index"]]
        logits = self.head(self.f(next(iter(self.views(batch).values()))))
        return cluster_loss(logits, y, self.size), {"found": ties.found(logits, y).mean()}

    def encode(self, batch):
        return self.f(sounds.log_mel(sounds_of(batch), self.rate) if self.hears else video_floats_of(batch))


def settings_for(recipe: str, toy: bool, classes: int) -> dict:
    """What this method is; plain values, for files."""
    view = {
        "area": [0.7, 1.0] if toy else [0.4, 1.0],
        "flip": 0.0 if toy else 0.5,
        "strength": 0.0,
        "hue_by": 0.0,
        "jitter": 0.0,
        "copied": 0.0,
    }
    sizes = (
        dict(ear="small_mel", clusters=12, every=3, pca=8, still=0.0, steady=0.0)
        if recipe != "gpu"
        else dict(ear="resnet18_mel", clusters=128, every=10, pca=64, still=1.0, steady=1.0)
    )
    return {
        "variant": "xdc",
        **sizes,
        "rate": 8000 if toy else 16_000,
        "shift": 4,
        "capacity": 8192 if toy else 65_536,
        "view": view,
    }


def from_settings(encoder: nn.Module, settings: dict) -> XDC:
    """The method that `settings` describe. Those of older checkpoints do not say still and steady: their
    networks saw and heard everything.
    """
    others = {
        name: value for name, value in settings.items() if name not in ("ear", "view", "still", "steady")
    }
    if settings["ear"] not in ("small_mel", "resnet18_mel"):
        raise CourseError(f"ear={settings['ear']!r}; choose small_mel or resnet18_mel")
    ear = getattr(encoders, settings["ear"])()
    show_still(encoder, SHARE.of(settings.get("still", 1.0), "still"))
    ear.steady.set(SHARE.of(settings.get("steady", 1.0), "steady"))
    return XDC(encoder, ear, view=film_view(**settings["view"]), **others)


SPEC = Spec(
    name="xdc",
    lesson="12_cross_modal_clustering",
    title="XDC",
    course=COURSE,
    full=FULL,
    gpu=GPU,
    settings=settings_for,
    build=from_settings,
    data="toyevents",
    encoders={"course": "small_clip", "gpu": "r2plus1d_18"},
    hears=True,
)
