"""sslcourse train and sslcourse replay: train a method, keep its checkpoint, look at it afterwards."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sslcourse.commands.options import log, print_result
from sslcourse.runtime.errors import CourseError

# ---------------------------------------------------------------------------------------------- train

TRAIN = """\
Trains in half a minute on the toybox. With real data and a GPU:

  sslcourse data cifar10
  sslcourse train simclr --data cifar10 --recipe gpu

Interrupt it with Ctrl-C whenever you like: the same command goes on where it stopped, to the very numbers of
a run that was not interrupted. With several GPUs or processes, each sees its part of every batch and all
negatives:

  torchrun --nproc-per-node 2 -m sslcourse train simclr --data cifar10
"""


def train(options) -> int:
    import torch

    from sslcourse import evaluate, runtime, train
    from sslcourse.data.datasets import some_of
    from sslcourse.data.load import load, sized
    from sslcourse.methods import catalogue
    from sslcourse.runtime import distributed
    from sslcourse.train import checkpoints

    strength = "-full" if options.recipe == "full" else ""
    path = Path(options.checkpoint or f"results/{options.method}{strength}.safetensors")
    runtime.prove(path, "name another file: --checkpoint FILE")  # before anything is waited for
    rank, world = distributed.start()
    try:
        # A training that goes on keeps what it was begun with, and so does its score.
        profile = checkpoints.profile_of(path) or runtime.profile()
        runtime.use_profile(profile)
        spec = catalogue.spec(options.method)
        options.data = sized(options.data or spec.data, options.size)
        kind = options.recipe or (
            "gpu" if profile.device == "cuda" and not options.data.startswith(("toy", "moving")) else "course"
        )
        changes = {
            k: v
            for k, v in (("epochs", options.epochs), ("batch_size", options.batch_size), ("lr", options.lr))
            if v is not None
        }
        recipe = spec.recipe(kind).but(seed=options.seed, **changes)
        # With ten classes: how many there are the data say, which are not loaded for a wrong setting.
        catalogue.build(
            catalogue.describe(options.method, options.data, 10, kind, options.encoder, options.set)
        )
        if rank == 0:
            # the first process fills the cache, the others read it
            data = load(options.data, frames=spec.frames)
        distributed.barrier()
        if rank:
            data = load(options.data, frames=spec.frames)
        samples = data.train if options.limit is None else some_of(data.train, options.limit)
        about = catalogue.describe(
            options.method, options.data, len(data.classes) or 1, kind, options.encoder, options.set, samples
        )
        torch.manual_seed(runtime.step_seed(options.seed, 0x1417))
        method = catalogue.build(about)
        if rank == 0:
            part = "" if options.limit is None else f", {len(samples):,} of the training ones"
            log(
                f"{method.__class__.__name__}, {about['encoder']}, {data!r}{part}, on {profile}"
                + (f", {world} processes" if world > 1 else "")
            )
            if path.exists():
                log(f"going on from {path}")
        row: dict = {}
        before = checkpoints.epochs_done(path)
        start = time.perf_counter()
        rows = train.epochs(
            method, _watched(samples, recipe) if rank == 0 else samples, recipe, checkpoint=path
        )
        if options.replay and rank == 0:
            from sslcourse.widgets.recording import recorded

            rows = recorded(rows, method, data, recipe, path)
        for row in rows:
            if rank == 0:
                log(train.line(row, recipe.epochs), over=True)
                if row.get("interrupted"):
                    log(f"interrupted; the same command goes on from {path}")
        if row.get("interrupted"):
            return 130
        if rank:
            return 0
        result = {
            "checkpoint": str(path),
            "seconds": time.perf_counter() - start,
            **row,
            "device": str(profile),
            "processes": world,
        }
        if world > 1 or options.no_probe:
            text = ""
        elif not data.train.labelled or not len(data.validation):
            lacking = "labels" if not data.train.labelled else "validation split"
            text = f"no score: {data.name} has no {lacking}\n"
        else:
            result["validation"] = evaluate.probe(method, data)
            text = "validation: " + ", ".join(f"{k} {v:.1%}" for k, v in result["validation"].items()) + "\n"
        following = f"next: sslcourse evaluate {path}" if data.train.labelled else "it can be read in Python"
        done = "nothing was left to train, read" if before == recipe.epochs else "written"
        print_result(options, result, f"{text}{done}: {path}\n{following}")
        return 0
    finally:
        distributed.stop()


class _watched:
    """The data set with a running line on the terminal: how far the epoch is, how fast, how long it will
    take.
    """

    def __init__(self, samples, recipe):
        self.samples, self.recipe = samples, recipe

    def __getattr__(self, name):
        return getattr(self.samples, name)

    def __len__(self):
        return len(self.samples)

    def to(self, device):
        return _watched(self.samples.to(device), self.recipe)

    def batches(self, batch_size, *arguments, first=0, **named):
        from tqdm.auto import tqdm

        yield from tqdm(
            self.samples.batches(batch_size, *arguments, first=first, **named),
            total=len(self) // batch_size,
            initial=first,
            unit="step",
            file=sys.stderr,
            leave=False,  # the epoch's own line takes its place
            disable=None,  # where nobody watches
        )


# ---------------------------------------------------------------------------------------------- replay

REPLAY = """\
The page holds everything and opens in any browser, without Python and without a network.

  sslcourse train simclr --replay
  sslcourse replay results/simclr.safetensors
"""


def replay(options) -> int:
    from sslcourse.widgets import replay as replays

    files = [Path(f) if f.endswith(".npz") else replays.beside(f) for f in options.checkpoint]
    for file, given in zip(files, options.checkpoint):
        if not file.exists():
            raise CourseError(
                f"there is no replay of {given}; train with --replay to record one: sslcourse train "
                "simclr "
                "--replay"
            )
    loaded = {f.name.removesuffix(".replay.npz"): replays.Replay.load(f) for f in files}
    view = next(iter(loaded.values())) if len(files) == 1 else replays.side_by_side(loaded)
    path = view.page(
        options.out or files[0].with_name("-".join(loaded) + ".html"), title="sslcourse: " + ", ".join(loaded)
    )
    print_result(options, {"page": str(path), "epochs": len(view)}, f"written: {path}\nopen it in a browser")
    return 0
