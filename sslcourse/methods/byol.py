"""BYOL: predict what a slow copy of yourself makes of another view, and no negatives are needed.

Grill, Strub, Altché, Tallec, Richemond and others. Bootstrap Your Own Latent: A New Approach to
Self-Supervised Learning. NeurIPS 2020. arXiv:2006.07733.         Notebook: 06_byol

Section 3.1 of the paper                               here
    online network:  y = f(v), z = g(y), q(z)          BYOL.f, BYOL.g, BYOL.q
    target network:  z' = g_xi(f_xi(v'))               BYOL.target, without a predictor
    loss L = |norm q(z) - norm sg(z')|^2 (eq. 2)       regression_loss
    both directions, summed                            BYOL.loss
    xi <- tau xi + (1 - tau) theta (eq. 1)             update_target, after the optimizer, in BYOL.step
    tau from tau_base to 1 along a cosine              momentum_at
    keep f, throw away the rest                        BYOL.encode

A constant output would solve the task perfectly. The paper's answer to why training does not go there: the
target does not follow the gradient of the loss, and the predictor stays near its best; `predictor`,
`stop_gradient` and `target` take each of these away. That batch statistics are not the reason is the claim of
Richemond et al., arXiv:2010.10241: `norm="group+ws"`."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sslcourse.encoders.images import StandardisedLinear, group_norm
from sslcourse.methods.base import Method, at_least_float32, descend, dim_of, floats_of, images_of
from sslcourse.methods.spec import Spec
from sslcourse.runtime import distributed
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import FACTOR, SHARE, WIDTH, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train.recipe import Recipe
from sslcourse.transforms.augment import CIFAR_VIEW, COURSE_VIEW, View, simclr_view

# What the authors report for ImageNet, 300 epochs (their ablations; section 3.2 and appendix); shown beside
# our recipes.
PAPER = dict(
    data="ImageNet",
    encoder="ResNet-50",
    optimizer="LARS",
    epochs=300,
    batch_size=4096,
    lr=0.3 * 4096 / 256,
    weight_decay=1e-6,
    projector="2048-4096-256",
    predictor="256-4096-256",
    momentum=0.99,
    area=(0.08, 1.0),
)

COURSE = Recipe(epochs=8, batch_size=64, lr=1.25e-3)  # a laptop CPU, the toybox, the small encoder
FULL = COURSE.but(epochs=40)  # for longer, at most five minutes there
# one GPU, CIFAR-10, ResNet-18
GPU = Recipe(epochs=200, batch_size=256, lr=0.06, optimizer="sgd", weight_decay=5e-4)

TARGETS = ("ema", "online", "fixed")
NORMS = ("batch", "group+ws", "none")


@explained
def regression_loss(p: Float[Tensor, "n d"], target: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Eq. 2: the squared distance of unit-length rows, 2 - 2 cos, mean over the batch; 0 to 4, about 2 for
    strangers.

    Row i of p predicts row i of target, which is the other view of the same image. No gradient reaches the
    target: that is the stop-gradient of the paper. Rows need not be normalised."""
    return distance(p, target.detach())


@explained
def distance(p: Float[Tensor, "n d"], target: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """The same number with gradients to both sides: what is left of eq. 2 where the gradient goes on."""
    if p.shape != target.shape or p.ndim != 2:
        raise CourseError(
            f"the prediction is {tuple(p.shape)} and its target {tuple(target.shape)}; both must be (n, "
            "d), row for row"
        )
    p, target = at_least_float32(p), at_least_float32(target)
    return 2 - 2 * (F.normalize(p, dim=1) * F.normalize(target, dim=1)).sum(1).mean()


@torch.no_grad()
def update_target(online: nn.Module, target: nn.Module, tau: float) -> None:
    """Eq. 1: xi <- tau xi + (1 - tau) theta for every parameter, in place; tau = 1 keeps the target, tau = 0
    copies.

    Buffers (running statistics of batch normalisation) are left alone, as in the authors' code: the target
    has its own, from its own batches."""
    ours: list[Tensor] = list(target.parameters())
    theirs: list[Tensor] = list(online.parameters())
    torch._foreach_mul_(ours, tau)
    torch._foreach_add_(ours, theirs, alpha=1 - tau)


def momentum_at(progress: float, base: float) -> float:
    """tau along the training: `base` at progress 0, 1 at progress 1, half a cosine between (section 3.2)."""
    return 1 - (1 - base) * (math.cos(math.pi * progress) + 1) / 2


@explained
@torch.no_grad()
def spread(z: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """About 1 where the directions of z fill the sphere, 0 where all are the same: says within an epoch what
    a loss near 0 hides.
    """
    z = F.normalize(z.float(), dim=1)
    return z.std(0, correction=0).mean() * math.sqrt(z.shape[1])


def head(inside: int, hidden: int, outside: int, norm: str = "batch") -> nn.Sequential:
    """Projector g and predictor q have this form (section 3.2): one hidden layer, normalised; the output is
    not.
    """
    if norm not in NORMS:
        raise CourseError(f"norm={norm!r}; choose one of {', '.join(map(repr, NORMS))}")
    linear = StandardisedLinear if norm == "group+ws" else nn.Linear
    layers: dict[str, Callable[[int], nn.Module]] = {
        "batch": nn.BatchNorm1d,
        "group+ws": group_norm,
        "none": lambda _: nn.Identity(),
    }
    return nn.Sequential(
        linear(inside, hidden),
        layers[norm](hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, outside, bias=False),
    )


class BYOL(Method):
    """BYOL around any encoder; with its switches, also what is left when one of its parts is taken away.

    Args:
        encoder: images (B, 3, H, W) in 0..1 to vectors (B, encoder.dim).
        dim, hidden: width of z and of the hidden layers of g and q.
        momentum: tau_base, where the target's momentum begins, from 0 to 1; it rises to 1 by the end of the
            training.
        predictor: whether the online network has q; without it p = z.
        stop_gradient: whether the target is kept from following the gradient. Without it a target with
            weights of its own is trained like the rest, besides being averaged.
        target: "ema" (the paper's), "online" (the online weights themselves: tau = 0) or "fixed" (random and
            never updated: tau = 1).
        norm: of the heads, "batch", "group+ws" or "none"; for an encoder without batch statistics see
            `encoders.small_cnn`.
        view: draws one random view of a batch of images; called twice.
        predictor_lr: how many times faster the predictor learns than the rest. The paper's text asks for a
            predictor near its optimum; in its appendix a factor of 10 even replaces the averaged target
            (table 21).
        normalise_z: batch normalisation on z itself, without scale and shift. The paper has none there
            (SimSiam has); without it the paper's form needs far longer than a minute before it learns
            anything.
        loss: of (p, target), `regression_loss` by default; put your own here. Without a stopped gradient it
            is `distance`.
        update: of (online, target, tau), how the target follows; `update_target` by default.
    """

    least_batch = 2

    @takes(dim=WIDTH, hidden=WIDTH, momentum=SHARE, predictor_lr=FACTOR)
    def __init__(
        self,
        encoder: nn.Module,
        dim: int = 64,
        hidden: int = 256,
        momentum: float = 0.8,
        predictor: bool = True,
        stop_gradient: bool = True,
        target: str = "ema",
        norm: str = "batch",
        predictor_lr: float = 10.0,
        normalise_z: bool = True,
        view: View | None = None,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        update: Callable = update_target,
    ):
        super().__init__()
        if target not in TARGETS:
            raise CourseError(f"target={target!r}; choose one of {', '.join(map(repr, TARGETS))}")
        if not 0 <= momentum <= 1:
            raise CourseError(f"momentum={momentum}; tau is a share of the old target, from 0 to 1")
        self.f = encoder
        self.g = head(dim_of(encoder), hidden, dim, norm)
        if normalise_z:
            self.g.append(nn.BatchNorm1d(dim, affine=False))
        self.q = head(dim, hidden, dim, norm) if predictor else nn.Identity()
        self.target = None
        if target != "online":
            # A copy: the authors begin with other random weights in the target, and saw no difference.
            self.target = nn.Sequential(copy.deepcopy(self.f), copy.deepcopy(self.g)).requires_grad_(
                not stop_gradient
            )
        self.momentum, self.kind, self.predictor_lr = momentum, target, predictor_lr
        self.regress = loss or (regression_loss if stop_gradient else distance)
        self.update = update
        self.view = view or simclr_view(**COURSE_VIEW)
        self.steps, self.all_steps = 0, 0.0  # taken so far; in the whole training, 0 while it is not known

    def views(self, batch):
        # One pipeline for both: the paper's two differ in blur and solarisation, and a symmetric pair scored
        # the same (table 17).
        x = images_of(batch)
        return {"first": self.view(x), "second": self.view(x)}

    def loss(self, batch):
        first, second = self.views(batch).values()
        # Each view is a batch of its own for batch normalisation, as in the authors' code.
        z1, z2 = self.g(self.f(first)), self.g(self.f(second))  # (B, dim)
        p1, p2 = self.q(z1), self.q(z2)
        t1, t2 = (z1, z2) if self.target is None else (self.target(first), self.target(second))
        return self.regress(p1, t2) + self.regress(p2, t1), {
            "spread of z": spread(z1),
            "spread of target": spread(t1),
        }

    def encode(self, batch):
        return self.f(floats_of(batch))  # y of the paper, and not z

    def trainable(self):
        predictor = {id(p) for p in self.q.parameters()}
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in predictor]
        return {"rest": rest, "predictor": list(self.q.parameters())} if predictor else {"rest": rest}

    def step(self, batch, optimizers):
        loss, metrics = distributed.parallel(self)(batch)
        for group in optimizers["predictor"].param_groups if "predictor" in optimizers else ():
            # the loop set both alike
            group["lr"] = self.predictor_lr * optimizers["rest"].param_groups[0]["lr"]
        descend(loss, *optimizers.values())
        tau = self.tau()
        if self.kind == "ema":
            self.update(nn.Sequential(self.f, self.g), self.target, tau)
        self.steps += 1
        return {"loss": loss, **metrics}

    def before_epoch(self, progress, dataset, optimizers):
        self.steps = self.steps if progress else 0
        self.all_steps = self.steps / progress if progress else 0.0

    def tau(self) -> float:
        """The target's momentum at this step. The first epoch, after which the length of the training is
        known, has `momentum`.
        """
        return momentum_at(min(1.0, self.steps / self.all_steps) if self.all_steps else 0.0, self.momentum)

    # Where the schedule stands belongs to the checkpoint; it is a pair of Python numbers, because a GPU would
    # wait for a tensor's value.
    def get_extra_state(self):
        return torch.tensor([self.steps, self.all_steps], dtype=torch.float64)

    def set_extra_state(self, state):
        self.steps, self.all_steps = int(state[0]), float(state[1])


def settings_for(recipe: str, toy: bool, classes: int) -> dict:
    """What this method is under each recipe, on the toybox or on real pictures; plain values, for files."""
    sizes = {
        # In so few steps a target of .95 stays too near where it began (chosen on validation, two worlds).
        "course": dict(dim=64, hidden=256, momentum=0.8),
        "full": dict(dim=64, hidden=256, momentum=0.95),
        "gpu": dict(dim=256, hidden=4096, momentum=0.99),
    }[recipe]
    return {
        **sizes,
        "predictor": True,
        "stop_gradient": True,
        "target": "ema",
        "norm": "batch",
        "predictor_lr": 10.0,
        "normalise_z": True,
        "view": dict(COURSE_VIEW if toy else CIFAR_VIEW),
    }


def from_settings(encoder: nn.Module, settings: dict) -> BYOL:
    """The method that `settings` describe."""
    return BYOL(encoder, **{**settings, "view": simclr_view(**settings["view"])})


SPEC = Spec(
    name="byol",
    lesson="06_byol",
    title="BYOL",
    course=COURSE,
    full=FULL,
    gpu=GPU,
    settings=settings_for,
    build=from_settings,
)
