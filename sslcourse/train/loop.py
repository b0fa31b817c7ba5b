"""Training: a recipe, and the only loop of the course.

    for row in epochs(method, data.train, recipe):    # training is a generator: the loop is the reader's own
        print(row["loss"])                            # plotting, probing, stopping: plain code, no callbacks

Step number s of a run draws all its randomness from a seed made of (recipe.seed, s, process). Nothing that
happens between two steps can change it, so a run that was killed and resumed gives the very numbers of one
that was not."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sslcourse import runtime
from sslcourse.data.datasets import training_in_progress
from sslcourse.runtime import distributed
from sslcourse.runtime.errors import CourseError
from sslcourse.train import checkpoints
from sslcourse.train.recipe import SCHEDULES, Recipe, as_trainable, optimizers_of


def epochs(
    method: nn.Module,
    dataset,
    recipe: Recipe,
    *,
    checkpoint: str | os.PathLike | None = None,
    profile: runtime.Profile | None = None,
) -> Iterator[dict[str, float]]:
    """Train, yielding one row after each epoch: number, mean of every metric, seconds, samples per second.

    Args:
        method: a `Method`; moved to the profile's device, in eval mode whenever a row is yielded.
        dataset: what to train on, usually `data.train`. A test split is refused.
        checkpoint: a file to write after every epoch and to go on from when it is there; then the first rows
            are those that it recorded. A damaged file is named, set aside and training starts anew.
        profile: where and how to compute; by default what this machine is best at, or what the checkpoint was
            made with.

    Ctrl-C (or "interrupt kernel") ends the run after the step in progress: the row so far is yielded with
    `interrupted=1`, the weights are whole, and with a checkpoint nothing is lost. In CI the interrupt is
    raised."""
    if getattr(dataset, "split", "train") == "test":
        raise CourseError(f"{dataset.name!r} (test) is for reporting only; train on data.train")
    world = distributed.world()
    if recipe.batch_size % world:
        raise CourseError(
            f"batch_size={recipe.batch_size} cannot be shared by {world} processes; use a multiple of {world}"
        )
    if recipe.batch_size < (least := getattr(method, "least_batch", 1)):
        raise CourseError(
            f"batch_size={recipe.batch_size}: {type(method).__name__} learns by comparing the samples of a step, or "
            f"by their statistics; use at least {least}"
        )
    state = checkpoints.resume(checkpoint, recipe) if checkpoint else None
    # Each process would measure on its own, and might choose otherwise.
    profile = distributed.from_first(profile or (state and state.profile) or runtime.profile())
    runtime.use_profile(profile)
    if state is None:
        runtime.seed_all(recipe.seed)
    dataset = dataset.to(profile.device)
    method = runtime.placed(method, profile)
    distributed.synchronize_batch_norm(method)
    optimizers = optimizers_of(method, recipe)
    learner = as_trainable(method)
    steps = _steps_of(dataset, recipe)
    history: list[dict[str, float]] = []
    totals: dict[str, Tensor] = {}
    done = 0
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
                runtime.seed_all(runtime.step_seed(recipe.seed, epoch, 1))
                learner.before_epoch(epoch / recipe.epochs, dataset, optimizers)
                totals = {}
            method.train()
            order = torch.Generator().manual_seed(runtime.step_seed(recipe.seed, epoch, 2))
            start, before = time.perf_counter(), done
            batches = dataset.batches(
                recipe.batch_size, order, rank=distributed.rank(), world=world, first=first
            )
            with _interruptible() as stop:
                for number, batch in zip(range(first, steps), batches):
                    lr = recipe.lr * schedule((epoch + number / steps) / recipe.epochs)
                    _set_learning_rate(optimizers, lr)
                    torch.manual_seed(runtime.step_seed(recipe.seed, done, 3, distributed.rank()))
                    with profile.autocast(), _batch_statistics(recipe):
                        metrics = learner.step(batch, optimizers)
                    _add_up(totals, metrics, number_type)
                    done += 1
                    if stop.is_set():
                        break
            runtime.synchronize(profile.device)
            method.eval()
            seconds = time.perf_counter() - start
            counted = done - epoch * steps
            means = {name: float(_mean_over_processes(v)) / counted for name, v in totals.items()}
            speed = (done - before) * recipe.batch_size / seconds
            row = {"epoch": epoch + 1, **means, "lr": lr, "seconds": seconds, "samples/s": speed}
            _check_finite(row)
            whole = counted == steps
            if whole:
                history.append(row)
                totals = {}
            else:
                row["interrupted"] = 1
            if checkpoint and distributed.rank() == 0:
                checkpoints.save(
                    checkpoint,
                    method,
                    recipe,
                    optimizers=optimizers,
                    history=history,
                    step=done,
                    totals=totals,
                    profile=profile,
                )
            yield row
            if stop.is_set():
                return


def fit(
    method: nn.Module, dataset, recipe: Recipe, *, verbose: bool = False, **kwargs
) -> list[dict[str, float]]:
    """Train to the end and return all rows; `verbose` prints each as a line. Arguments as for `epochs`."""
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


def _steps_of(dataset, recipe: Recipe) -> int:
    """How many steps an epoch has."""
    n = len(dataset)
    if recipe.batch_size > n:
        raise CourseError(f"batch_size={recipe.batch_size} is larger than the {n} samples; take at most {n}")
    steps = n // recipe.batch_size
    return min(steps, recipe.max_steps or steps)


@contextlib.contextmanager
def _batch_statistics(recipe: Recipe):
    """PyTorch's complaint about a batch of one in words that name the recipe."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise CourseError(
            f"batch_size={recipe.batch_size}: batch normalisation needs at least two samples in a step (of each "
            "process); use a larger batch_size"
        ) from error


def _set_learning_rate(optimizers: dict[str, torch.optim.Optimizer], lr: float) -> None:
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = lr


def _add_up(totals: dict[str, Tensor], metrics: dict[str, Tensor], number_type: torch.dtype) -> None:
    """Add a step's metrics to the sums of its epoch, which stay on the device: no wait per step."""
    for name, value in metrics.items():
        totals[name] = totals.get(name, 0) + value.detach().to(number_type)


def _mean_over_processes(value: Tensor) -> Tensor:
    if distributed.world() > 1:
        torch.distributed.all_reduce(value := value.clone())
        value /= distributed.world()
    return value


def _check_finite(row: dict[str, float]) -> None:
    bad = [k for k, v in row.items() if not math.isfinite(v)]
    if bad:
        raise CourseError(
            f"{', '.join(bad)} became {row[bad[0]]} in epoch {row['epoch']}. Lower the learning rate "
            f"(lr={row['lr']:.2g} at the end of the epoch), or look for a division by zero or a logarithm of "
            "zero in the loss."
        )


@contextlib.contextmanager
def _interruptible():
    """Yields an event. The first Ctrl-C sets it (the loop then ends at a step boundary), the second one
    raises.

    In CI, and off the main thread, where Python allows no handler, interrupts stay as they are: a training
    that caught them would turn a test's timeout into a pass."""
    flag = threading.Event()
    # Ignored in a job in the background: there Ctrl-C is meant for somebody else.
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
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
