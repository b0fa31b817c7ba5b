"""MoCo: many negatives without a large batch, from a queue of keys that a slowly moving encoder has made.

He, Fan, Wu, Xie and Girshick. Momentum Contrast for Unsupervised Visual Representation Learning. CVPR 2020.
arXiv:1911.05722. Chen, Fan, Girshick and He. Improved Baselines with Momentum Contrastive Learning. 2020.
arXiv:2003.04297 (v2: head="mlp"). Chen, Xie and He. An Empirical Study of Training Self-Supervised Vision
Transformers. ICCV 2021. arXiv:2104.02057 (v3: its symmetric loss, symmetric=True with own_keys=True).
Notebook: 06_byol

Algorithm 1 of the paper                            here
    q = f_q(x_q),  k = f_k(x_k), no gradient to k   MoCo.loss
    InfoNCE of [q.k | q queue] / t (eq. 1)          info_nce
    theta_k <- m theta_k + (1 - m) theta_q (eq. 2)  follow
    enqueue k, dequeue the oldest                   enqueue
    shuffling batch normalisation (section 3.3)     shuffled
    both directions, own batch's keys (version 3)   MoCo(symmetric=True, own_keys=True), among_keys
    keep f_q                                        MoCo.encode
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sslcourse.methods.base import Method, at_least_float32, descend, dim_of, floats_of, images_of
from sslcourse.methods.spec import Spec
from sslcourse.runtime import distributed
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, SHARE, SOME, TEMPERATURE, WIDTH, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train import ties
from sslcourse.train.recipe import Recipe
from sslcourse.transforms.augment import CIFAR_VIEW, COURSE_VIEW, View, simclr_view

# What the authors report for ImageNet with version 2; shown beside our recipes, never executed.
PAPER = dict(
    data="ImageNet",
    encoder="ResNet-50",
    optimizer="SGD",
    epochs=200,
    batch_size=256,
    lr=0.03,
    weight_decay=1e-4,
    projector="2048-2048-128",
    queue=65536,
    momentum=0.999,
    temperature=0.2,
)

COURSE = Recipe(epochs=6, batch_size=64, lr=4e-3)  # a laptop CPU, the toybox, the small encoder
FULL = COURSE.but(epochs=30)  # for longer, at most five minutes there
# one GPU, CIFAR-10, ResNet-18
GPU = Recipe(epochs=200, batch_size=512, lr=0.06 * 512 / 256, optimizer="sgd", weight_decay=5e-4)


@explained
def info_nce(
    q: Float[Tensor, "n d"], k: Float[Tensor, "n d"], negatives: Float[Tensor, "m d"], temperature: float
) -> Float[Tensor, ""]:
    """Eq. 1: each query q_i finds its key k_i among 1 + m candidates, k_i and all negatives; mean over the n
    queries.

    Keys and negatives get no gradient. Rows are normalised here. With m = 0 there is nothing to choose from,
    and the loss is 0."""
    if q.shape != k.shape or q.ndim != 2:
        raise CourseError(
            f"queries are {tuple(q.shape)} and keys {tuple(k.shape)}; both must be (n, d), row for row"
        )
    if not temperature > 0:
        raise CourseError(f"temperature={temperature}; it divides the similarities and must be above 0")
    q, k, negatives = (F.normalize(at_least_float32(x), dim=1) for x in (q, k.detach(), negatives.detach()))
    with torch.autocast(q.device.type, enabled=False):
        # (n, 1 + m): the key first
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ negatives.T], 1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long, device=q.device))


@explained
def among_keys(
    q: Float[Tensor, "n d"],
    k: Float[Tensor, "m d"],
    first: int,
    temperature: float,
    queue: Float[Tensor, "r d"] | None = None,
) -> Float[Tensor, ""]:
    """Query i finds key first + i among all keys of the batch: the paper's "end-to-end" without a queue, and
    the term ctr(q, k) of version 3. The rows of a queue are candidates beside them.
    """
    if not temperature > 0:
        raise CourseError(f"temperature={temperature}; it divides the similarities and must be above 0")
    candidates = k if queue is None else torch.cat([k, queue.to(k.dtype)])
    q, candidates = (F.normalize(at_least_float32(x), dim=1) for x in (q, candidates.detach()))
    with torch.autocast(q.device.type, enabled=False):
        logits = q @ candidates.T / temperature  # (n, m + r): the batch's keys first
    return F.cross_entropy(logits, first + torch.arange(len(q), device=q.device))


@explained
@torch.no_grad()
def enqueue(queue: Float[Tensor, "m d"], keys: Float[Tensor, "n d"], seen: int) -> int:
    """Write keys over the oldest rows of the queue, in place, going on at row 0 after the last; any n will
    do.

    Args:
        seen: how many keys were ever written; row `seen % m` is the oldest, and the first min(seen, m) rows
            hold keys.

    Returns the new `seen`.
    """
    size, last = len(queue), seen + len(keys)
    keys = keys[-size:]  # of more keys than fit only the newest stay
    rows = torch.arange(last - len(keys), last, device=queue.device) % size
    queue[rows] = keys.to(queue.dtype)
    return last


@torch.no_grad()
def follow(query: nn.Module, key: nn.Module, momentum: float) -> None:
    """Eq. 2: theta_k <- m theta_k + (1 - m) theta_q, in place; buffers are left alone, as in the authors'
    code.
    """
    ours: list[Tensor] = list(key.parameters())
    torch._foreach_mul_(ours, momentum)
    theirs: list[Tensor] = list(query.parameters())
    torch._foreach_add_(ours, theirs, alpha=1 - momentum)


@explained
def shuffled(
    network: nn.Module, x: Float[Tensor, "n ..."], groups: int, shuffle: bool
) -> Float[Tensor, "n d"]:
    """A network applied to `groups` equal parts of a batch, each with batch statistics of its own; rows come
    back in their order.

    The paper's GPUs are such groups, and keys are shuffled among them, so that no query shares its statistics
    with just its own key's neighbours. Shuffling a batch that stays whole would change nothing."""
    if groups == 1:
        return network(x)
    order = torch.randperm(len(x), device=x.device) if shuffle else torch.arange(len(x), device=x.device)
    y = torch.cat([network(part) for part in x[order].chunk(groups)])
    return y[order.argsort()]


def projector(inside: int, hidden: int, outside: int, kind: str = "mlp+bn") -> nn.Module:
    """ "mlp" as in version 2 (one hidden layer), "linear" as in version 1, or "mlp+bn": normalised inside, as
    short trainings like it.
    """
    if kind == "linear":
        return nn.Linear(inside, outside)
    if kind not in ("mlp", "mlp+bn"):
        raise CourseError(f"head={kind!r}; choose 'linear' (version 1), 'mlp' (version 2) or 'mlp+bn'")
    normalise = nn.BatchNorm1d(hidden) if kind == "mlp+bn" else nn.Identity()
    return nn.Sequential(
        nn.Linear(inside, hidden), normalise, nn.ReLU(inplace=True), nn.Linear(hidden, outside)
    )


class MoCo(Method):
    """MoCo around any encoder: version 2 with head="mlp", version 1 with head="linear".

    Args:
        encoder: images (B, 3, H, W) in 0..1 to vectors (B, encoder.dim).
        dim, hidden: width of q and k, and of the projector's hidden layer.
        queue: how many keys the dictionary holds; 0 for none: then the other keys of the batch are the
            negatives.
        momentum: m of eq. 2, from 0 (the key encoder is the query encoder, one step late) to 1 (it never
            moves).
        temperature: tau of eq. 1.
        head: "mlp+bn", "mlp" or "linear".
        groups: parts of a batch with batch statistics of their own, keys shuffled among them; 1 leaves the
            batch whole. The batch size should be a multiple.
        view: draws one random view of a batch of images; called twice.
        symmetric: version 3's loss: each view is once the query and once the key, and the loss is the mean of
            both directions (the paper of version 3 sums them). Both views of a batch go through each network
            in one pass, with common batch statistics; the queue gets the keys of both. Twice the
            comparisons for less than twice the time.
        own_keys: whether the keys of the other pictures of the batch are negatives too, beside the queue
            (version 3 has these alone: queue=0). Without a queue they are, whatever is said here.
        loss: of (q, k, negatives, temperature), `info_nce` by default; put your own here, where the negatives
            are those of the queue alone.
        write: of (queue, keys, seen), how keys are written into the queue; `enqueue` by default.

    Before the first step the queue is filled with keys of training pictures, where the authors take random
    vectors: those are so easy to tell from a key that their loss *rises* for an epoch. Only rows that hold a
    key ever count as negatives."""

    least_batch = 2

    @takes(dim=WIDTH, hidden=WIDTH, queue=SOME, momentum=SHARE, temperature=TEMPERATURE, groups=COUNT)
    def __init__(
        self,
        encoder: nn.Module,
        dim: int = 64,
        hidden: int = 128,
        queue: int = 1024,
        momentum: float = 0.97,
        temperature: float = 0.1,
        head: str = "mlp+bn",
        groups: int = 1,
        symmetric: bool = False,
        own_keys: bool = False,
        view: View | None = None,
        loss=info_nce,
        write=enqueue,
    ):
        super().__init__()
        if queue < 0 or groups < 1:
            raise CourseError(
                f"queue={queue}, groups={groups}; a queue holds 0 keys or more, and a batch has at "
                "least 1 "
                "group"
            )
        if not 0 <= momentum <= 1:
            raise CourseError(f"momentum={momentum}; m is a share of the old key encoder, from 0 to 1")
        if own_keys and loss is not info_nce:
            raise CourseError(
                "a loss of your own is handed the queue's keys alone as negatives; write own_keys=False"
            )
        self.f = encoder
        self.g = projector(dim_of(encoder), hidden, dim, head)
        self.key = nn.Sequential(copy.deepcopy(self.f), copy.deepcopy(self.g)).requires_grad_(False)
        self.register_buffer("queue", torch.zeros(queue, dim))
        self.seen = 0  # keys that were ever written
        self.momentum, self.temperature, self.groups, self.contrast, self.write = (
            momentum,
            temperature,
            groups,
            loss,
            write,
        )
        self.symmetric, self.own_keys = symmetric, own_keys
        self.view = view or simclr_view(**COURSE_VIEW)

    def views(self, batch):
        x = images_of(batch)
        return {"query": self.view(x), "key": self.view(x)}

    def loss(self, batch):
        x_q, x_k = self.views(batch).values()
        if self.symmetric:  # row i's key is row i, in both directions
            x_q, x_k = torch.cat([x_q, x_k]), torch.cat([x_k, x_q])
        q = shuffled(nn.Sequential(self.f, self.g), x_q, self.groups, shuffle=False)  # (B or 2 B, dim)
        with torch.no_grad():
            own = F.normalize(shuffled(self.key, x_k, self.groups, shuffle=True).float(), dim=1)
            self.keys = distributed.gather(own)  # of all processes, so that every one holds the same queue
        directions = 2 if self.symmetric else 1
        # A query looks among the keys of its own direction: among the others is one of its very own view.
        found = [key_found(a, b, b) for a, b in zip(q.chunk(directions), own.chunk(directions))]
        metrics = {"key found": torch.stack(found).mean()}
        negatives = self.queue[: self.seen].clone()  # the queue changes before the gradient is needed
        if len(self.queue) and not self.own_keys:
            return self.contrast(q, own, negatives, self.temperature), metrics
        first = distributed.rank() * (len(q) // directions)
        keys = self.keys.unflatten(
            0, (-1, directions, len(q) // directions)
        )  # (processes, directions, B, dim)
        losses = [
            among_keys(part, keys[:, i].flatten(0, 1), first, self.temperature, negatives)
            for i, part in enumerate(q.chunk(directions))
        ]
        return torch.stack(losses).mean(), metrics

    @torch.no_grad()
    def before_epoch(self, progress, dataset, optimizers):
        if progress or not len(self.queue):
            return
        self.seen = 0
        self.key.train()  # with batch statistics, as all later keys: others would be told apart by that alone
        few = dataset.take(slice(0, len(self.queue)))
        for batch in few.batches(min(256, len(few))):
            keys = self.key(self.views(batch)["key"])
            self.seen = self.write(self.queue, F.normalize(keys.float(), dim=1), self.seen)
        self.key.eval()

    def encode(self, batch):
        return self.f(floats_of(batch))

    def step(self, batch, optimizers):
        loss, metrics = distributed.parallel(self)(batch)
        descend(loss, *optimizers.values())
        follow(nn.Sequential(self.f, self.g), self.key, self.momentum)
        if len(self.queue):
            self.seen = self.write(self.queue, self.keys, self.seen)
        return {"loss": loss, **metrics}

    # How far the queue is written belongs to the checkpoint; a Python number, because a GPU would wait for a
    # tensor's value.
    def get_extra_state(self):
        return torch.tensor([self.seen])

    def set_extra_state(self, state):
        self.seen = int(state[0])


@explained
@torch.no_grad()
def key_found(
    q: Float[Tensor, "n d"], k: Float[Tensor, "n d"], keys: Float[Tensor, "m d"]
) -> Float[Tensor, ""]:
    """How often a query's own key is nearer than any other of `keys`: comparable between queues of different
    length, 0 to 1. Of m keys that are equally near it is found one time in m.

    Args:
        q, k: queries and, row for row, their keys.
        keys: all that are looked at; a row's own key may be among them, and counts once.
    """
    q, k, keys = ties.directions(q), ties.directions(k), ties.directions(keys)
    with torch.autocast(q.device.type, enabled=False):
        mine, all_ = (q * k).sum(1, keepdim=True), q @ keys.T  # (n, 1), (n, m)
    nearest = ties.best(torch.cat([mine, all_], 1))
    return (nearest[:, 0] / nearest[:, 1:].sum(1).clamp_min(1)).mean()


def settings_for(recipe: str, toy: bool, classes: int) -> dict:
    """What this method is under each recipe, on the toybox or on real pictures; plain values, for files."""
    small: dict[str, Any] = dict(
        dim=64,
        hidden=128,
        queue=256,
        momentum=0.9,
        temperature=0.2,
        head="mlp+bn",
        symmetric=True,
        own_keys=True,
    )
    sizes = {
        "course": small,
        "full": small,  # .9 and .97 are within a point of each other there (validation, one world)
        "gpu": dict(
            dim=128,
            hidden=512,
            queue=4096,
            momentum=0.99,
            temperature=0.1,
            head="mlp",
            symmetric=False,
            own_keys=False,
        ),
    }[recipe]
    return {**sizes, "groups": 1, "view": dict(COURSE_VIEW if toy else CIFAR_VIEW)}


def from_settings(encoder: nn.Module, settings: dict) -> MoCo:
    """The method that `settings` describe."""
    return MoCo(encoder, **{**settings, "view": simclr_view(**settings["view"])})


SPEC = Spec(
    name="moco",
    lesson="06_byol",
    title="MoCo",
    course=COURSE,
    full=FULL,
    gpu=GPU,
    settings=settings_for,
    build=from_settings,
)
