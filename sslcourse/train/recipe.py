"""How a training goes: a frozen recipe, its schedules and optimizers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import BATCH, COUNT, EPOCHS, FACTOR, RATE_OF_LEARNING, SEED, SHARE, takes

# fused: one pass over all parameters instead of a dozen.
OPTIMIZERS: dict[str, Callable] = {
    "adamw": lambda groups, lr, fused: torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), fused=fused),
    "sgd": lambda groups, lr, fused: torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True, fused=fused),
}


@takes(progress=SHARE)
def constant(progress: float) -> float:
    """The learning rate stays."""
    return 1.0


@takes(progress=SHARE)
def cosine(progress: float) -> float:
    """From 1 to 0 along half a cosine (SGDR without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


@takes(progress=SHARE)
def one_cycle(progress: float) -> float:
    """Up from a twentieth over the first fifth, then down along a cosine: short trainings like it."""
    warm = 0.2
    if progress < warm:
        return 0.05 + 0.95 * progress / warm
    return cosine((progress - warm) / (1 - warm))


SCHEDULES = {"constant": constant, "cosine": cosine, "one_cycle": one_cycle}


_NUMBERS = {
    "epochs": EPOCHS,
    "batch_size": BATCH,
    "lr": RATE_OF_LEARNING,
    "weight_decay": FACTOR,
    "seed": SEED,
    "max_steps": COUNT,
}


@dataclass(frozen=True)
class Recipe:
    """How we train. What a method *is* are arguments of its class; nothing here changes the loss.

    Args:
        epochs: passes over the data, at least 1.
        batch_size: samples per step over all processes; the last, incomplete batch of an epoch is left out.
        lr: highest learning rate.
        optimizer: "adamw" or "sgd" (momentum 0.9, Nesterov).
        schedule: "constant", "cosine" or "one_cycle"; how the learning rate goes with progress.
        weight_decay: on weights only, never on biases or batch normalisation (SimCLR's code does the same).
        seed: of everything random in the run.
        max_steps: stop an epoch after so many steps; for tests and quick looks.
    """

    epochs: int
    batch_size: int
    lr: float
    optimizer: str = "adamw"
    schedule: str = "one_cycle"
    weight_decay: float = 1e-4
    seed: int = 0
    max_steps: int | None = None

    def __post_init__(self):
        for name, numbers in _NUMBERS.items():
            value = getattr(self, name)
            if value is not None or name != "max_steps":
                # Frozen: NumPy's numbers become Python's here, which a checkpoint can hold.
                object.__setattr__(self, name, numbers.of(value, f"Recipe: {name}"))
        for name, table in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if not isinstance(getattr(self, name), str) or getattr(self, name) not in table:
                raise CourseError(f"Recipe({name}={getattr(self, name)!r}); choose one of {', '.join(table)}")

    def but(self, **changes) -> Recipe:
        """The same recipe with some fields changed: `COURSE.but(epochs=2)`."""
        return replace(self, **changes)


class Trainable(Protocol):
    """What the loop asks of a network beside being an `nn.Module`; `methods.base.Method` has it all."""

    def trainable(self) -> dict[str, list[nn.Parameter]]:
        """Name -> parameters, one optimizer for each."""

    def before_epoch(
        self, progress: float, dataset: Any, optimizers: dict[str, torch.optim.Optimizer], /
    ) -> None:
        """Called before each epoch; progress runs from 0 to 1."""

    def step(
        self, batch: dict[str, Tensor], optimizers: dict[str, torch.optim.Optimizer], /
    ) -> dict[str, Tensor]:
        """One update; returns the metrics, scalars."""


def as_trainable(method: nn.Module) -> Trainable:
    """The same object; says to a type checker what `nn.Module` cannot: that it has the loop's three calls."""
    return cast(Trainable, method)


def optimizers_of(method: nn.Module, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
    """One optimizer per entry of `method.trainable()`; weight decay only where a parameter has two axes or
    more.
    """
    result = {}
    for name, parameters in as_trainable(method).trainable().items():
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
        result[name] = OPTIMIZERS[recipe.optimizer]([g for g in groups if g["params"]], recipe.lr, fused)
    return result


def settings(recipe: Recipe) -> dict:
    """A recipe as a plain dict, for tables and files."""
    return asdict(recipe)
