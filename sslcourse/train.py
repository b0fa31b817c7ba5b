"""Training: a recipe, and the only loop of the course.

    for row in epochs(method, data.train, recipe):     # training is a generator: the loop belongs to the reader
        print(row["loss"])                             # plotting, probing, stopping: plain code, no callbacks

Step number s of a run draws all its randomness from a seed made of (recipe.seed, s, process). Nothing that happens between
two steps can change it, so a run that was killed and resumed gives the very numbers of one that was not.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from sslcourse import checkpoints, common, distributed
from sslcourse.common import CourseError
from sslcourse.data.datasets import training_in_progress

# fused: one pass over all parameters instead of a dozen.
OPTIMIZERS: dict[str, Callable] = {
    "adamw": lambda groups, lr, fused: torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), fused=fused),
    "sgd": lambda groups, lr, fused: torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True, fused=fused),
}


def constant(progress: float) -> float:
    """The learning rate stays."""
    return 1.0


def cosine(progress: float) -> float:
    """From 1 to 0 along half a cosine (SGDR without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def one_cycle(progress: float) -> float:
    """Up from a twentieth over the first fifth, then down along a cosine: short trainings like it."""
    warm = 0.2
    if progress < warm:
        return 0.05 + 0.95 * progress / warm
    return cosine((progress - warm) / (1 - warm))


SCHEDULES = {"constant": constant, "cosine": cosine, "one_cycle": one_cycle}


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
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise CourseError(f"Recipe({name}={value!r}); use a whole number from 1")
        if not self.lr > 0:
            raise CourseError(f"Recipe(lr={self.lr!r}); the learning rate must be above 0")
        for name, table in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in table:
                raise CourseError(f"Recipe({name}={getattr(self, name)!r}); choose one of {', '.join(table)}")

    def but(self, **changes) -> Recipe:
        """The same recipe with some fields changed: `COURSE.but(epochs=2)`."""
        return replace(self, **changes)


def optimizers_of(method: nn.Module, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
    """One optimizer per entry of `method.trainable()`; weight decay only where a parameter has two axes or more."""
    result = {}
    for name, parameters in method.trainable().items():
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
        result[name] = OPTIMIZERS[recipe.optimizer]([g for g in groups if g["params"]], recipe.lr, fused)
    return result


def epochs(method: nn.Module, dataset, recipe: Recipe, *, checkpoint: str | os.PathLike | None = None,
           profile: common.Profile | None = None) -> Iterator[dict[str, float]]:  # fmt: skip
    """Train, yielding one row after each epoch: its number, the mean of every metric, seconds, samples per second.

    Args:
        method: a `Method`; moved to the profile's device, in eval mode whenever a row is yielded.
        dataset: what to train on, usually `data.train`. A test split is refused.
        checkpoint: a file to write after every epoch and to go on from when it is there; then the first rows are those
            that it recorded. A damaged file is named, set aside and training starts anew.
        profile: where and how to compute; by default what this machine is best at, or what the checkpoint was made with.

    Ctrl-C (or "interrupt kernel") ends the run after the step in progress: the row so far is yielded with
    `interrupted=1`, the weights are whole, and with a checkpoint nothing is lost. In CI the interrupt is raised.
    """
    if getattr(dataset, "split", "train") == "test":
        raise CourseError(f"{dataset.name!r} (test) is for reporting only; train on data.train")
    world = distributed.world()
    if recipe.batch_size % world:
        raise CourseError(f"batch_size={recipe.batch_size} cannot be shared by {world} processes; use a multiple of {world}")
    state = checkpoints.resume(checkpoint, recipe) if checkpoint else None
    # Each process would measure on its own, and might choose otherwise.
    profile = distributed.from_first(profile or (state and state.profile) or common.profile())
    common.use_profile(profile)
    if state is None:
        common.seed_all(recipe.seed)
    dataset = dataset.to(profile.device)
    method = common.placed(method, profile)
    distributed.synchronize_batch_norm(method)
    optimizers = optimizers_of(method, recipe)
    steps = len(dataset) // recipe.batch_size
    if not steps:
        raise CourseError(f"batch_size={recipe.batch_size} is larger than the {len(dataset)} samples; take at most {len(dataset)}")
    steps = min(steps, recipe.max_steps or steps)
    history, done, totals = [], 0, {}
    if state is not None:
        checkpoints.restore(state, method, optimizers)
        history, done, totals = state.history, state.step, state.totals
        yield from history

    schedule = SCHEDULES[recipe.schedule]
    number_type = torch.float32 if profile.device == "mps" else torch.float64
    with training_in_progress():
        for epoch in range(done // steps, recipe.epochs):
            first = done - epoch * steps  # above 0 only when a run was interrupted in mid-epoch
            if not first:
                method.eval()  # networks rest in eval mode; only this loop calls train()
                common.seed_all(common.step_seed(recipe.seed, epoch, 1))
                method.before_epoch(epoch / recipe.epochs, dataset, optimizers)
                totals = {}
            method.train()
            order = torch.Generator().manual_seed(common.step_seed(recipe.seed, epoch, 2))
            start, before = time.perf_counter(), done
            batches = dataset.batches(recipe.batch_size, order, rank=distributed.rank(), world=world, first=first)
            with _interruptible() as stop:
                for number, batch in zip(range(first, steps), batches):
                    lr = recipe.lr * schedule((epoch + number / steps) / recipe.epochs)
                    for group in (g for o in optimizers.values() for g in o.param_groups):
                        group["lr"] = lr
                    torch.manual_seed(common.step_seed(recipe.seed, done, 3, distributed.rank()))
                    with profile.autocast():
                        metrics = method.step(batch, optimizers)
                    for name, value in metrics.items():  # stays on the device: no wait per step
                        totals[name] = totals.get(name, 0) + value.detach().to(number_type)
                    done += 1
                    if stop.is_set():
                        break
            common.synchronize(profile.device)
            method.eval()
            seconds = time.perf_counter() - start
            counted = done - epoch * steps
            row = {"epoch": epoch + 1, **{k: float(_mean_over_processes(v)) / counted for k, v in totals.items()},
                   "lr": lr, "seconds": seconds, "samples/s": (done - before) * recipe.batch_size / seconds}  # fmt: skip
            _check_finite(row)
            whole = counted == steps
            if whole:
                history.append(row)
            else:
                row["interrupted"] = 1
            if checkpoint and distributed.rank() == 0:
                checkpoints.save(checkpoint, method, recipe, optimizers=optimizers, history=history, step=done,
                                 totals={} if whole else totals, profile=profile)  # fmt: skip
            yield row
            if stop.is_set():
                return


def fit(method: nn.Module, dataset, recipe: Recipe, *, verbose: bool = False, **kwargs) -> list[dict[str, float]]:
    """Train to the end and return all rows; `verbose` prints one line per epoch. Arguments as for `epochs`."""
    rows = []
    for row in epochs(method, dataset, recipe, **kwargs):
        rows.append(row)
        if verbose:
            print(line(row, recipe.epochs), flush=True)
    return rows


def line(row: dict[str, float], of: int) -> str:
    """One row as a line of text: metrics, speed and the time that is left."""
    plain = ("epoch", "lr", "seconds", "samples/s", "interrupted")
    metrics = "  ".join(f"{k} {v:.3f}" for k, v in row.items() if k not in plain)
    left = (of - row["epoch"]) * row["seconds"]
    return f"epoch {row['epoch']:>3}/{of}  {metrics}  {row['samples/s']:,.0f} samples/s  {left:.0f} s left"


def _mean_over_processes(value: Tensor) -> Tensor:
    if distributed.world() > 1:
        torch.distributed.all_reduce(value := value.clone())
        value /= distributed.world()
    return value


def _check_finite(row: dict[str, float]) -> None:
    bad = [k for k, v in row.items() if not math.isfinite(v)]
    if bad:
        raise CourseError(
            f"{', '.join(bad)} became {row[bad[0]]} in epoch {row['epoch']}. Lower the learning rate (lr={row['lr']:.2g} at "
            "the end of the epoch), or look for a division by zero or a logarithm of zero in the loss."
        )


@contextlib.contextmanager
def _interruptible():
    """Yields an event. The first Ctrl-C sets it (the loop then ends at a step boundary), the second one raises.

    In CI, and off the main thread, where Python allows no handler, interrupts stay as they are: a training that caught
    them would turn a test's timeout into a pass.
    """
    flag = threading.Event()
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # a job in the background: Ctrl-C is meant for somebody else
    if threading.current_thread() is not threading.main_thread() or os.environ.get("CI") or ignored:
        yield flag
        return

    def handle(number, frame):
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)


def settings(recipe: Recipe) -> dict:
    """A recipe as a plain dict, for tables and files."""
    return asdict(recipe)
