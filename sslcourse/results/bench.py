"""How near a training step comes to the time of its network alone, and what else one could run.

Everything is a ratio of times measured in turns within one run, because on a shared machine only ratios mean
anything.

    bound    time of the method's forward and backward pass on views that lie ready / time of a real step,
             which adds fetching the batch, drawing its views and the optimizer. 1 is perfect.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sslcourse import encoders, runtime
from sslcourse.data import toybox
from sslcourse.data.load import load
from sslcourse.methods import catalogue, simclr
from sslcourse.methods.base import Method
from sslcourse.runtime.options import COUNT, WHOLE, takes
from sslcourse.train.recipe import optimizers_of
from sslcourse.transforms import augment


def in_turns(work: dict[str, Callable[[], object]], rounds: int, device: str) -> dict[str, float]:
    """Median seconds of each piece of work; they take turns, so that a busy moment hits all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, do in work.items():
            runtime.synchronize(device)
            start = time.perf_counter()
            do()
            runtime.synchronize(device)
            if turn:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(t) for name, t in times.items()}


class _Still(torch.optim.Optimizer):
    """Stands where an optimizer would: gradients are cleared, nothing is stepped. The optimizer's time is not
    the network's.
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        # which BYOL's step reads
        super().__init__([p for group in optimizer.param_groups for p in group["params"]], {"lr": 0.0})

    def step(self, closure: Any = None) -> Any:
        return None


class _Ready:
    """While open, what a method draws for its network lies ready: `views` (a jigsaw's `pose`) returns what it
    returned the first time.
    """

    def __init__(self, method: Method):
        self.method: Method = method
        self.kept: dict[tuple, dict[str, Tensor]] = {}

    def _once(self, name: str, draw: Callable) -> Callable:
        def drawn(batch, *settings):
            key = (name, *settings)
            if key not in self.kept:
                self.kept[key] = draw(batch, *settings)
            return self.kept[key]

        return drawn

    def __enter__(self):
        for name in ("views", "pose"):
            if hasattr(self.method, name):
                object.__setattr__(self.method, name, self._once(name, getattr(self.method, name)))

    def __exit__(self, *error):
        for name in ("views", "pose"):
            self.method.__dict__.pop(name, None)


def _network_alone(
    method: Method, batch: dict[str, Tensor], optimizers: dict, profile: runtime.Profile
) -> Callable[[], None]:
    """Forward and backward of a step, on views that lie ready."""
    ready, still = _Ready(method), {name: _Still(optimizer) for name, optimizer in optimizers.items()}

    def work():
        with ready, profile.autocast():
            method.step(batch, still)

    return work


@takes(size=COUNT, rounds=COUNT)
def step_table(
    size: int = 4096, rounds: int = 15, encoder: Callable | None = None, names: Sequence[str] | None = None
) -> list[dict]:
    """One row per method of the catalogue: `bound`, samples per second, seconds of its parts, peak memory.

    Args:
        size: pictures to train on; films are an eighth of them.
        rounds: measurements of each part, in turns.
        encoder: instead of the recipe's own, for methods that learn from pictures.
        names: which methods; all by default.
    """
    profile = runtime.profile()
    kind = "gpu" if profile.device == "cuda" else "course"
    rows = []
    for name in names or catalogue.NAMES:
        spec = catalogue.spec(name)
        home, recipe = spec.data, spec.recipe(kind)
        train = (load(home).train if home != "toybox" else toybox.images(size, 64, 64).train).to(
            profile.device
        )
        train = (
            train
            if home == "toybox"
            else train.take(slice(0, min(len(train), max(size // 8, 2 * recipe.batch_size))))
        )
        about = catalogue.describe(
            name, home, len(train.classes), kind, encoder.__name__ if encoder and home == "toybox" else None
        )
        method = runtime.placed(catalogue.build(about), profile)
        optimizers = optimizers_of(method, recipe)
        method.eval()
        method.before_epoch(0.0, train, optimizers)
        method.train()
        stream = iter(())

        def step(method=method, recipe=recipe, optimizers=optimizers, train=train):
            nonlocal stream
            batch = next(stream, None)
            if batch is None:
                stream = train.batches(recipe.batch_size, torch.Generator().manual_seed(0))
                batch = next(stream)
            with profile.autocast():
                method.step(batch, optimizers)

        batch = next(train.batches(recipe.batch_size, torch.Generator().manual_seed(0)))

        def shown(method=method, batch=batch):
            with profile.autocast():
                method.views(batch)

        if profile.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        times = in_turns(
            {"network": _network_alone(method, batch, optimizers, profile), "step": step, "views": shown},
            rounds,
            profile.device,
        )
        rows.append(
            {
                "method": spec.title,
                "bound": times["network"] / times["step"],
                "samples/s": recipe.batch_size / times["step"],
                "step ms": 1e3 * times["step"],
                "network ms": 1e3 * times["network"],
                "views ms": 1e3 * times["views"],
                "peak MB": _peak_megabytes(profile.device),
                "batch": recipe.batch_size,
                "encoder": about["encoder"],
            }
        )
    return rows


def _peak_megabytes(device: str) -> float:
    """The most memory that was taken; not a number where the system does not say it."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ModuleNotFoundError:  # Windows counts it elsewhere
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # of the process; kilobytes, bytes on macOS
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


class _Pictures(torch.utils.data.Dataset):
    """What most code does: one PIL image at a time, transformed on its own. (At module level, so that workers
    can import it.)
    """

    def __init__(self, images: Tensor, transform):
        self.images, self.transform = images.permute(0, 2, 3, 1).cpu().numpy(), transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        from PIL import Image

        return self.transform(Image.fromarray(self.images[i]))


@takes(batch=WHOLE, rounds=COUNT)
def augmentation_table(batch: int = 256, rounds: int = 5) -> list[dict]:
    """Views per second of SimCLR's pipeline: ours, torchvision on PIL images in a DataLoader, and lightly's
    if installed.

    All crop, flip, jitter and grey alike, from uint8 pictures in memory to a float batch, on the CPU with the
    profile's threads (ours on the profile's device)."""
    from torchvision import transforms

    profile = runtime.profile()
    images = toybox.images(max(batch, 64), 64, 64).train.image[:batch]
    area, s, hue = simclr.COURSE_VIEW["area"], simclr.COURSE_VIEW["strength"], simclr.COURSE_VIEW["hue_by"]
    ours, ready = augment.simclr_view(**simclr.COURSE_VIEW), images.to(profile.device)
    one_by_one = transforms.Compose(
        [
            transforms.RandomResizedCrop(32, area),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.8 * s, 0.8 * s, 0.8 * s, hue)], 0.8),
            transforms.RandomGrayscale(0.2),
            transforms.ToTensor(),
        ]
    )
    loaders = {"torchvision, PIL in a DataLoader": one_by_one}
    try:
        from lightly.transforms import SimCLRTransform
    except ImportError:
        print("lightly is not installed and is left out: pip install lightly", file=sys.stderr)
    else:
        both = SimCLRTransform(
            input_size=32, cj_strength=s, cj_hue=hue / s, min_scale=area[0], gaussian_blur=0.0, normalize=None
        )

        def two_views(picture) -> Tensor:
            pair: list = both(picture)
            return torch.stack(pair)

        loaders["lightly, in a DataLoader"] = two_views
    work: dict[str, Callable] = {"sslcourse, batched": lambda: ours(ready)}
    for name, transform in loaders.items():
        loader = torch.utils.data.DataLoader(_Pictures(images, transform), batch_size=batch)
        work[name] = lambda loader=loader: [x for x in loader]
    seconds = in_turns(work, rounds, profile.device)
    views = {name: batch * (2 if name.startswith("lightly") else 1) / t for name, t in seconds.items()}
    slow = views["torchvision, PIL in a DataLoader"]
    return [{"augmentation": name, "views/s": v, "times PIL": v / slow} for name, v in views.items()]


@takes(n=COUNT, rounds=COUNT)
def pictures_per_second(n: int = 2048, rounds: int = 3) -> float:
    """How many 32-pixel pictures the toybox renders in a second, after warm-up, on the profile's device and
    threads.
    """
    profile = runtime.profile()
    scene = toybox.factors(n)
    return (
        n
        / in_turns({"render": lambda: toybox.render(scene, device=profile.device)}, rounds, profile.device)[
            "render"
        ]
    )


@takes(n=COUNT, rounds=COUNT)
def films_per_second(n: int = 128, rounds: int = 3) -> float:
    """How fast the toybox draws films of 16 frames at 32 pixels with two solids, on this machine's CPU
    profile.
    """
    return n / in_turns({"draw": lambda: toybox.videos(n, 1, 1, cache=False)}, rounds, "cpu")["draw"]


@takes(rounds=COUNT)
def memory_gain(rounds: int = 9) -> float:
    """How much faster the small network's step is when freed memory is kept (`runtime.keep_memory`); 1 where
    it cannot be.
    """
    profile = runtime.profile()
    if profile.device != "cpu" or not runtime.keep_memory():
        return 1.0
    method = runtime.placed(simclr.SimCLR(encoders.small_cnn()), profile).train()
    alone = _network_alone(
        method, {"image": torch.rand(256, 3, 32, 32)}, optimizers_of(method, simclr.COURSE), profile
    )
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for keep in (True, False):
            runtime.keep_memory(keep)
            alone()
            start = time.perf_counter()
            alone()
            times[keep].append(time.perf_counter() - start)
    runtime.keep_memory()
    return statistics.median(times[False]) / statistics.median(times[True])


@takes(epochs=WHOLE, images=COUNT)
def panel_share(epochs: int = 5, images: int = 4000) -> dict[str, float]:
    """What the live panel costs a real training in a notebook: its share of the time, and the frames it drew
    for that.

    SimCLR with the course's small network; each epoch hands over a map, filters and scores. The frames are
    drawn and encoded as for a notebook and then dropped, since there is none to send them to."""
    from sslcourse import evaluate
    from sslcourse.train import features
    from sslcourse.train.loop import epochs as train
    from sslcourse.widgets import Panel

    class Unseen(Panel):
        def _show(self, data: bytes) -> None:
            self._last_png = data

    data = toybox.images(max(images, 128), 512, 64)
    method, xy = simclr.SimCLR(encoders.small_cnn()), None
    with Unseen(epochs, classes=data.classes, title="bench", backend="notebook") as panel:
        for row in train(method, data.train.unlabelled(), simclr.COURSE.but(epochs=epochs)):
            xy = evaluate.living_map(features.extract(method, data.validation), xy)
            panel.add(
                {**row, **evaluate.probe(method, data, linear=False, limit=500)},
                xy=xy,
                labels=data.validation.label,
                filters=encoders.first_filters(method.f),
            )
    return {"share": panel.spent_share, "frames": panel.frames_drawn, "epochs": epochs}


@takes(rounds=COUNT)
def explorer_table(rounds: int = 15) -> list[dict]:
    """Milliseconds from a moved control to the new picture as PNG, in Python: what the kernel adds to an
    explorer's answer.
    """
    from sslcourse.widgets import augmentations, temperature, toybox as world

    x = toybox.images(64, 64, 64).train.image
    g = torch.Generator().manual_seed(0)
    z = torch.randn(16, 64, generator=g)
    rows = []
    made = {
        "hue": world(),
        "colour": augmentations(x),
        "temperature": temperature(z, z + torch.randn(16, 64, generator=g), x[:16]),
    }
    for control, explorer in made.items():
        low, high, times = explorer.controls[control].low, explorer.controls[control].high, []
        for i in range(rounds + 2):
            start = time.perf_counter()
            explorer.wanted = {**explorer.state, control: low + (high - low) * (i + 1) / (rounds + 3)}
            times.append(1000 * (time.perf_counter() - start))
        rows.append(
            {
                "explorer": explorer._name,
                "median ms": statistics.median(times[2:]),
                "worst ms": max(times[2:]),
            }
        )
    return rows
