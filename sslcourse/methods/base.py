"""What a method is: an `nn.Module` that shows views, computes a loss and, in the end, encodes.

    views(batch)    what the network is shown; notebooks display it
    loss(batch)     -> a scalar and a dict of metrics; never reads batch["label"] (a test replaces all by -1)
    encode(batch)   what we keep: (B, D), or (B, D, H, W) where it is dense

and only where a paper needs it:

    step(batch, optimizers)                       one update, for games and momentum encoders
    before_epoch(progress, dataset, optimizers)   re-cluster, move a curriculum; progress runs from 0 to 1
    trainable()                                   one optimizer per entry

Device, seed, mode and precision are the business of `sslcourse.train`; methods write `device=x.device`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sslcourse.encoders.images import dim_of as dim_of  # methods take it from here
from sslcourse.runtime import distributed
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.shapes import explained
from sslcourse.transforms import sounds

Batch = dict[str, Tensor]


@explained
def descend(loss: Tensor, *optimizers: torch.optim.Optimizer) -> None:
    """The three lines that every student should know by heart."""
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    # Mixed precision is for the forward pass: each backward step runs in the type of its forward one, and an
    # autocast still switched on would round the gradients of what was kept in float32 on purpose.
    with torch.autocast(loss.device.type, enabled=False):
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()


class Method(nn.Module):
    """Base class of every paper in `sslcourse.methods`; see the module's text for what to override."""

    f: Any  # the backbone; what it has beside `dim` (maps, stages, a stride) is between it and its method
    about: dict[str, Any]  # how it was built, where `catalogue.build` made it
    least_batch = 1  # samples of a step; 2 where it needs others: as negatives, or for batch statistics
    made_with: tuple[tuple, dict[str, Any]]  # the arguments of its constructor: part of what a training is

    def __new__(cls, *arguments, **named):
        new = super().__new__(cls)
        # Past nn.Module, which cannot hold anything before its own __init__; in a tuple, so that a network
        # among the arguments is not registered once more.
        object.__setattr__(new, "made_with", (arguments, named))
        return new

    def views(self, batch: Batch) -> Batch:
        return batch

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        raise NotImplementedError(
            f"{type(self).__name__} has no loss(batch) yet: return a scalar and a dict of metrics"
        )

    def encode(self, batch: Batch) -> Tensor:
        raise NotImplementedError(
            f"{type(self).__name__} has no encode(batch) yet: return one vector per sample, (B, D)"
        )

    def step(self, batch: Batch, optimizers: dict[str, torch.optim.Optimizer]) -> dict[str, Tensor]:
        loss, metrics = distributed.parallel(self)(batch)
        descend(loss, *optimizers.values())
        return {"loss": loss, **metrics}

    def before_epoch(self, progress: float, dataset, optimizers) -> None:
        return None

    def trainable(self) -> dict[str, list[nn.Parameter]]:
        return {"all": [p for p in self.parameters() if p.requires_grad]}

    def forward(self, batch: Batch):  # PyTorch's data-parallel engine calls a module, not one of its methods
        return self.loss(batch)


def _shown(batch: Batch, key: str, axes: str, what: str) -> Tensor:
    """batch[key], or an error that says what a batch looks like."""
    if not isinstance(batch, dict) or key not in batch:
        found = ", ".join(batch) if isinstance(batch, dict) else type(batch).__name__
        raise CourseError(
            f'a batch of {what}s is a dict with the key "{key}"; this one has: {found}. Write {{"{key}": x}}'
        )
    x = batch[key]
    if x.ndim != axes.count(",") + 1 or x.shape[1] != 3:
        raise CourseError(
            f'batch["{key}"] has shape {tuple(x.shape)}; expected {axes}: for one {what} write x[None]'
        )
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise CourseError(f'batch["{key}"] is {x.dtype}; expected uint8 (0 to 255) or float (0 to 1)')
    return x


def images_of(batch: Batch) -> Tensor:
    """batch["image"] (B, 3, H, W), uint8 or float; an error says what a batch looks like."""
    return _shown(batch, "image", "(B, 3, H, W)", "image")


def videos_of(batch: Batch) -> Tensor:
    """batch["video"] (B, 3, T, H, W), uint8 or float; an error says what a batch looks like."""
    return _shown(batch, "video", "(B, 3, T, H, W)", "film")


def video_floats_of(batch: Batch) -> Tensor:
    """batch["video"] as an encoder reads it: (B, 3, T, H, W), floats from 0 to 1."""
    return floats(videos_of(batch))


def sounds_of(batch: Batch) -> Tensor:
    """batch["audio"] (B, L) float within -1..1; an error says what a batch looks like."""
    if not isinstance(batch, dict) or "audio" not in batch:
        found = ", ".join(batch) if isinstance(batch, dict) else type(batch).__name__
        raise CourseError(
            f'a batch of sounds is a dict with the key "audio"; this one has: {found}. Take data with '
            "sound, such as toybox.events()"
        )
    x = batch["audio"]
    if x.ndim != 2:
        raise CourseError(
            f'batch["audio"] has shape {tuple(x.shape)}; expected (B, L): for one sound write x[None]'
        )
    if not x.is_floating_point() and x.dtype != torch.int16:
        raise CourseError(f'batch["audio"] is {x.dtype}; expected float (-1 to 1) or int16')
    return x


class Ear(nn.Module):
    """The half of a method that hears: `encode(batch)` reads batch["audio"], so whatever judges a method can
    judge its ear.

    Args:
        encoder: from log-mel spectrograms (B, 1, M, T) to (B, dim); it is `f` here.
        rate: samples per second of what it will hear.
    """

    f: Any  # from spectrograms to vectors, `encoder` below

    def __init__(self, encoder: nn.Module, rate: int):
        super().__init__()
        self.f, self.rate = encoder, rate

    def logmel(self, batch: Batch) -> Tensor:
        """(B, 1, M, T) of a batch, see `sslcourse.transforms.sounds.log_mel`."""
        return sounds.log_mel(sounds_of(batch), self.rate)

    def encode(self, batch: Batch) -> Tensor:
        return self.f(self.logmel(batch))


@explained
def floats(x: Tensor) -> Tensor:
    """Pictures as floats from 0 to 1; floats pass."""
    return x if x.is_floating_point() else x.float() / 255


def floats_of(batch: Batch) -> Tensor:
    """batch["image"] as an encoder reads it: (B, 3, H, W), floats from 0 to 1."""
    return floats(images_of(batch))


@explained
def at_least_float32(x: Tensor) -> Tensor:
    """At least single precision: half precision would lose the small gaps between similarities. Double
    precision stays.
    """
    return x if x.dtype == torch.float64 else x.float()
