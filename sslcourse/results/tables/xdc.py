"""The variants of cross-modal clustering (arXiv:1911.12667) beside what they are to be compared with, for the
picture and for the sound.

    sslcourse table xdc --seeds 3
    sslcourse table xdc --set background=0.1 --set channel=0.17        less nuisance

Departures: the paper fine-tunes on UCF101, HMDB51 and ESC-50; here all is judged by the event of the toybox's
clips, test split: by nearest neighbours, by a linear probe on frozen features (the paper's "fc only"), and
after training all of the network on as many labels ("fine-tuned"). The row "random, fine-tuned" is training
from scratch. Raw input are 8 x 8 pixels of all frames, and the log-mel spectrogram. AVTS learns from the same
clips which sound belongs to which half second; its networks keep every frame, and XDC is trained from them
and, to tell the start from the network, from random ones of their kind."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import toybox
from sslcourse.data.datasets import Data
from sslcourse.methods import avts, xdc
from sslcourse.results.claims.xdc import CLIPS, RECIPE, VARIANTS, halves, new, opened
from sslcourse.results.tables import cell
from sslcourse.runtime import progress
from sslcourse.runtime.options import EPOCHS, SEEDS, SHARE, Number, takes
from sslcourse.train import features, ties
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe
from sslcourse.transforms import sounds

TITLE = "Clustering across modalities and its rivals (toybox events, test accuracy, %)"
ROWS = (
    "raw input",
    "random",
    "supervised",
    "SDC",
    "MDC",
    "CDC",
    "XDC",
    "AVTS",
    "XDC from random, AVTS's networks",
    "XDC from AVTS",
)
COLUMNS = tuple(f"{part} {how}" for part in ("eye", "ear") for how in ("kNN", "linear", "fine-tuned"))


def tuned(encoder: nn.Module, data: Data, hears: bool, recipe: Recipe, seed: int) -> xdc.Pupil:
    """A copy of an encoder and a new linear layer, all trained with the labels of the training split."""
    torch.manual_seed(runtime.step_seed(seed, 0xF1E))
    pupil = xdc.Pupil(copy.deepcopy(encoder), data.train.label, hears)
    fit(pupil, data.train, recipe.but(seed=seed))
    return pupil.eval()


def trained(data: Data, recipe: Recipe, tuning: Recipe, seed: int, say) -> dict[str, dict[str, float]]:
    """All rows of one seed: name -> column -> value, and "seconds". The test labels are opened once, at the
    end.
    """
    networks: dict[str, dict[str, Any]] = {}
    seconds: dict[str, float] = {}
    unlabelled = data.train.unlabelled()

    def keep(name: str, make) -> Any:
        start = time.perf_counter()
        method = make()
        seconds[name] = time.perf_counter() - start
        networks[name] = halves(method)
        say(f"  seed {seed}  {name:<32} {seconds[name]:.0f} s")
        return method

    def clustered(method: xdc.XDC) -> xdc.XDC:
        fit(method, unlabelled, recipe.but(seed=seed))
        return method

    for name in ("SDC", "MDC", "CDC", "XDC"):
        keep(name, lambda name=name: clustered(new(VARIANTS[name], seed)))

    def synchronised() -> nn.Module:
        torch.manual_seed(runtime.step_seed(seed, 0xA57))
        method = avts.AVTS(encoders.small_mc3(), encoders.small_mel(), frames=8)
        fit(method, unlabelled, avts.COURSE.but(epochs=recipe.epochs, seed=seed, max_steps=recipe.max_steps))
        return method

    def started(eye: nn.Module, ear: nn.Module) -> xdc.XDC:
        torch.manual_seed(runtime.step_seed(seed, 0x8DC))
        return clustered(xdc.XDC(copy.deepcopy(eye), copy.deepcopy(ear)))

    teacher = keep("AVTS", synchronised)
    keep("XDC from AVTS", lambda: started(teacher.f, teacher.ear.f))
    torch.manual_seed(runtime.step_seed(seed, 0x3C3))
    eye, ear = encoders.small_mc3(), encoders.small_mel()
    keep("XDC from random, AVTS's networks", lambda: started(eye, ear))
    networks["random"] = {
        part: evaluate.random_like(network, data.train, seed) for part, network in networks["XDC"].items()
    }
    start = time.perf_counter()
    fresh = halves(new("xdc", seed))
    networks["supervised"] = {
        part: tuned(network.f, data, part == "ear", recipe, seed) for part, network in fresh.items()
    }
    seconds["supervised"] = time.perf_counter() - start

    found: dict[str, dict[str, float]] = {name: {} for name in ROWS}
    last = {
        (name, part): tuned(network.f, data, part == "ear", tuning, seed)
        for name, parts in networks.items()
        if name != "supervised"
        for part, network in parts.items()
    }
    label, train_label = opened(data, "tables.xdc"), data.train.label.cpu()
    raw = {"eye": features.pixels, "ear": lambda part: sounds.log_mel(part.audio.cpu(), part.rate).flatten(1)}

    def judge(name: str, part: str, x: list) -> None:
        for how, value in evaluate.score(
            *(x[0], train_label, x[1], label), classes=len(data.classes)
        ).items():
            found[name][f"{part} {how}"] = value

    for part, read in raw.items():
        judge("raw input", part, [read(split) for split in (data.train, data.test)])
    for name, parts in networks.items():
        for part, network in parts.items():
            judge(name, part, [features.extract(network, split) for split in (data.train, data.test)])
    for (name, part), pupil in last.items():
        classify: Callable = lambda batch, pupil=pupil: pupil.head(pupil.encode(batch))
        logits = features.extract(pupil, data.test, encode=classify)
        found[name][f"{part} fine-tuned"] = float(ties.found(logits, label).mean())
    for name, value in seconds.items():
        found[name]["seconds"] = value
    return found


@takes(seeds=SEEDS, clips=Number(32, 100_000), epochs=EPOCHS, background=SHARE, channel=SHARE)
def measure(
    seeds: int = 3,
    say=print,
    clips: int = 800,
    epochs: int = 9,
    background: float = 0.3,
    channel: float = 0.5,
) -> list[dict]:
    """Rows of the table: mean and standard deviation over seeds.

    Args:
        clips: to train on, whose labels also fit the probes.
        epochs: of every method.
        background, channel: the nuisances of picture and sound, 0 to 1.
    """
    data = toybox.events(clips, *CLIPS[1:], background=background, channel=channel)
    found = [
        trained(data, RECIPE.but(epochs=epochs), RECIPE.but(epochs=max(1, epochs // 3)), seed, say)
        for seed in progress.each(range(seeds), "seed")
    ]
    rows = []
    for name in ROWS:
        values = lambda key, name=name: [r[name][key] for r in found if key in r[name]]
        taken = values("seconds")
        rows.append(
            {
                "": name,
                **{key: cell(values(key)) for key in COLUMNS},
                "seconds": f"{statistics.fmean(taken):.0f}" if taken else "–",
            }
        )
    return rows
