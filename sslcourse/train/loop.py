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
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from sslcourse import runtime
from sslcourse.data.datasets import training_in_progress
from sslcourse.runtime import distributed, progress, signals
from sslcourse.runtime.errors import CourseError
from sslcourse.train import checkpoints
from sslcourse.train.identity import identity
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
    `interrupted=1`, the weights are whole, and with a checkpoint nothing is lost. So do SIGTERM and SIGHUP,
    and then they end the process. In CI Ctrl-C is raised.

    Raises:
        CourseError: the checkpoint cannot be written, or is that of another training; see
        `checkpoints.resume`.
    """
    if getattr(dataset, "split", "train") == "test":
        raise CourseError(f"{dataset.name!r} (test) is for reporting only; train on data.train")
    world = distributed.world()
    if recipe.batch_size % world:
        raise CourseError(
            f"batch_size={recipe.batch_size} cannot be shared by {world} processes; use a multiple of {world}"
        )
    if recipe.batch_size < (least := getattr(method, "least_batch", 1)):
        raise CourseError(
            f"batch_size={recipe.batch_size}: {type(method).__name__} learns by comparing the samples of a "
            f"step, or "
            f"by their statistics; use at least {least}"
        )
    with signals.held() as ending:
        run = _Run(method, dataset, recipe, checkpoint, profile)
    yield from list(run.history)
    with training_in_progress():
        for epoch in range(run.done // run.steps, recipe.epochs):
            if distributed.one_of_all(ending.asked):  # while it was starting
                row = {**_no_step(epoch), "interrupted": 1}
            else:
                with signals.held() as ending:
                    row = run.epoch(epoch, ending)
            try:
                yield row
            finally:
                ending.deliver()
            if row.get("interrupted"):
                if _all_or_nothing:
                    raise KeyboardInterrupt
                return
        ending.deliver()


ASKED = 8  # steps after which several processes ask each other whether one of them is to end


class _Run:
    """One training between its epochs: what a checkpoint holds."""

    def __init__(self, method, dataset, recipe: Recipe, checkpoint, profile):
        self.recipe, self.checkpoint, self.identity = recipe, checkpoint, None
        state = None
        if checkpoint and not Path(checkpoint).is_file():
            self._prove()
        if checkpoint:
            self.identity = identity(method, dataset)
            state = checkpoints.resume(checkpoint, recipe, self.identity)
        # Each process would measure on its own, and might choose otherwise.
        profile = distributed.from_first(profile or (state and state.profile) or runtime.profile())
        runtime.use_profile(profile)
        if state is None:
            runtime.seed_all(recipe.seed)
        self.profile, self.dataset = profile, dataset.to(profile.device)
        self.method = runtime.placed(method, profile)
        distributed.synchronize_batch_norm(self.method)
        self.optimizers = optimizers_of(self.method, recipe)
        self.learner = as_trainable(self.method)
        self.steps = _steps_of(self.dataset, recipe)
        self.history: list[dict[str, float]] = []
        self.totals: dict[str, Tensor] = {}
        self.done = 0
        if state is not None:
            checkpoints.restore(state, self.method, self.optimizers)
            self.history, self.done, self.totals = state.history, state.step, state.totals
        else:
            # Before the first step: whatever ends this run, the file says how it began. And a file that
            # cannot be written is found out now, and not after the first epoch.
            self.save(first=True)

    def _prove(self) -> None:
        """That the checkpoint can be written, before anything is computed."""
        if not distributed.rank():
            runtime.prove(self.checkpoint, "name another file (--checkpoint FILE)")

    def save(self, first: bool = False) -> None:
        if not self.checkpoint or distributed.rank():
            return
        if first:
            self._prove()
        try:
            checkpoints.save(
                self.checkpoint,
                self.method,
                self.recipe,
                optimizers=self.optimizers,
                history=self.history,
                step=self.done,
                totals=self.totals,
                profile=self.profile,
                identity=self.identity,
            )
        except OSError as error:
            raise CourseError(
                f"{str(self.checkpoint)!r} could not be written ({error.strerror or error}). It holds what "
                f"was "
                "saved before: make room, and do the same again to go on."
            ) from error

    def epoch(self, epoch: int, ending: signals.Ending) -> dict[str, float]:
        """Train an epoch, or what is left of it, or what can be trained before the end is asked for; save,
        and return the row."""
        recipe, optimizers, steps = self.recipe, self.optimizers, self.steps
        first = self.done - epoch * steps  # above 0 only when a run was interrupted in mid-epoch
        if not first:
            self.method.eval()  # networks rest in eval mode; only this loop calls train()
            runtime.seed_all(runtime.step_seed(recipe.seed, epoch, 1))
            started = False
            # It can take long, and the file holds what was before it. Several processes do it together.
            with ending.may_break_off() if distributed.world() == 1 else contextlib.nullcontext():
                self.learner.before_epoch(epoch / recipe.epochs, self.dataset, optimizers)
                started = True
            if not started:
                return {**_no_step(epoch), "interrupted": 1}
            self.totals = {}
        self.method.train()
        order = torch.Generator().manual_seed(runtime.step_seed(recipe.seed, epoch, 2))
        start, before = time.perf_counter(), self.done
        schedule, world, lr = SCHEDULES[recipe.schedule], distributed.world(), 0.0
        number_type = torch.float32 if self.profile.device == "mps" else torch.float64
        batches = self.dataset.batches(
            recipe.batch_size, order, rank=distributed.rank(), world=world, first=first
        )
        name = f"training {type(self.method).__name__}, step"
        with progress.part(name, steps * recipe.epochs, self.done) as told:
            for number, batch in zip(range(first, steps), batches):
                lr = recipe.lr * schedule((epoch + number / steps) / recipe.epochs)
                _set_learning_rate(optimizers, lr)
                torch.manual_seed(runtime.step_seed(recipe.seed, self.done, 3, distributed.rank()))
                with self.profile.autocast(), _batch_statistics(recipe):
                    metrics = self.learner.step(batch, optimizers)
                _add_up(self.totals, metrics, number_type)
                self.done += 1
                told()
                # Several processes have to leave after the same step, so they ask each other now and then.
                if (world == 1 or number % ASKED == ASKED - 1) and distributed.one_of_all(ending.asked):
                    break
        runtime.synchronize(self.profile.device)
        self.method.eval()
        seconds = time.perf_counter() - start
        counted = self.done - epoch * steps
        means = {name: float(_mean_over_processes(v)) / counted for name, v in self.totals.items()}
        speed = (self.done - before) * recipe.batch_size / seconds
        row = {"epoch": epoch + 1, **means, "lr": lr, "seconds": seconds, "samples/s": speed}
        _check_finite(row)
        if counted == steps:
            self.history.append(row)
            self.totals = {}
        self.save()
        asked = distributed.one_of_all(ending.asked)
        # A row that is handed out may be changed by whoever gets it; that of the history stays.
        return {**row, "interrupted": 1} if counted < steps or asked else dict(row)


@contextlib.contextmanager
def _batch_statistics(recipe: Recipe) -> Iterator[None]:
    """PyTorch's complaint about a batch of one in words that name the recipe."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise CourseError(
            f"batch_size={recipe.batch_size}: batch normalisation needs at least two samples in a step (of "
            f"each "
            "process); use a larger batch_size"
        ) from error


def _no_step(epoch: int) -> dict[str, float]:
    """The row of an epoch that was left before its first step."""
    return {"epoch": epoch + 1, "lr": 0.0, "seconds": 0.0, "samples/s": 0.0}


_all_or_nothing = False


@contextlib.contextmanager
def whole_runs() -> Iterator[None]:
    """Inside, a training that is interrupted raises KeyboardInterrupt once it is saved: for whatever compares
    trainings, where a half of one would be measured as if it were whole."""
    global _all_or_nothing
    before, _all_or_nothing = _all_or_nothing, True
    try:
        yield
    finally:
        _all_or_nothing = before


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
