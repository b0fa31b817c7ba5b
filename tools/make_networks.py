"""Make the trained networks that come with the course again: sslcourse/results/trained.

    python tools/make_networks.py                     all that are missing there
    python tools/make_networks.py simclr byol         these, anew
    python tools/make_networks.py --results FOLDER    where `sslcourse evaluate --all --recipe full` wrote

Each is its method's FULL recipe with seed 0: the very work of the wall's FULL rows. So a checkpoint that the
wall's measurement left in FOLDER/compare is taken, if method, settings, recipe and data are the same; else
the network is trained here, about two minutes each, and recorded for its replay. What is taken was not
recorded, and its replay shows the map before the training and after it.

The test scores are those of the wall, FOLDER/wall/WORLD-full.json or the stored one: no test label is read
here. A network whose row is not there yet is left for later.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from sslcourse import encoders, evaluate, runtime
from sslcourse.data.datasets import Data
from sslcourse.data.load import load
from sslcourse.methods import catalogue
from sslcourse.methods.base import Method
from sslcourse.results import compare, networks, stored, wall
from sslcourse.runtime.errors import CourseError
from sslcourse.train import checkpoints, epochs, features
from sslcourse.train.recipe import Recipe
from sslcourse.widgets.live import Panel
from sslcourse.widgets.recording import POINTS, recorded
from sslcourse.widgets.replay import Replay, beside

SEED = 0
STEPS = 600  # of a map's descent, until it no longer changes
# The precision in which a probe reads moves the last digit of a score; this one is the same everywhere.
JUDGED = runtime.Profile("cpu", 1, True, "float32")
# Where a method's FULL row stands on the wall. Tracking is judged otherwise and has none.
WORLD_OF = {"toybox": "toybox", "toyvideos": "films", "toyevents": "seen", "toyscenes": "seen"}


def known() -> tuple[str, ...]:
    """The methods whose networks can be made."""
    return tuple(name for name in catalogue.NAMES if catalogue.spec(name).data in WORLD_OF)


def test_scores(name: str, results: Path) -> tuple[dict[str, float], str] | None:
    """What the wall has of a method with the first seed, and its protocol; None where it has nothing yet."""
    world = WORLD_OF[catalogue.spec(name).data]
    for file in (results / "wall" / f"{world}-full.json", compare.MEASURED / f"{world}-full.json"):
        if file.exists():
            page = stored.opened(file, stored.World, "sslcourse evaluate --all --recipe full")
            row = page["rows"].get(catalogue.spec(name).title)
            if row:
                scores = {key: row[key][SEED] for key in ("kNN", "linear", "few labels") if row.get(key)}
                return scores, page["protocol"]
    return None


def before_and_after(method: Method, data: Data, recipe: Recipe) -> Replay:
    """A replay of two frames: the same network never trained, and the trained one. Each has a map of its own,
    for the second has nothing in common with the first that it could go on from.
    """
    shown, samples = data.validation.take(slice(0, POINTS)), data.validation.take(slice(0, 12))
    title = type(method).__name__
    panel = Panel(recipe.epochs, classes=data.classes, title=title, backend="silent", samples=samples)
    for epoch, network in ((0, evaluate.random_like(method, data.train)), (recipe.epochs, method)):
        panel.add(
            {"epoch": epoch, "kNN": evaluate.probe(network, data, linear=False, limit=POINTS)["kNN"]},
            xy=evaluate.living_map(features.extract(network, shown), steps=STEPS),
            labels=shown.label,
            filters=first_filters(network),
            predicted=evaluate.guesses(network, data),
        )
    return panel.replay


def first_filters(method: Method) -> torch.Tensor | None:
    """None where they cannot be seen."""
    try:
        return encoders.first_filters(method)
    except CourseError:
        return None


def make(name: str, results: Path, folder: Path = networks.FOLDER, say=print) -> bool:
    """Write one network; False where the wall has no row of it yet."""
    spec = catalogue.spec(name)
    world = WORLD_OF[spec.data]
    scores = test_scores(name, results)
    if scores is None:
        say(f"{name:<12} waits for its test score: sslcourse evaluate --all {world} --recipe full")
        return False
    judged_on = wall.WORLDS[world][0]
    sets = load(judged_on, SEED)
    method, part, recipe, file = compare.training(
        spec, judged_on, sets, seed=SEED, recipe="full", folder=results / "compare"
    )
    if checkpoints.epochs_done(file) < recipe.epochs:
        say(f"{name:<12} is trained: {recipe.epochs} epochs")
        rows = epochs(method, part, recipe, checkpoint=file, profile=checkpoints.profile_of(file))
        for _ in recorded(rows, method, sets, recipe, file):
            pass
    state = checkpoints.read(file, method)
    checkpoints.load_weights(state, method).eval()
    # What is judged here is what is kept: rounded, and read again in float32.
    networks.rounded(method).float()
    whole = beside(file).exists() and len(Replay.load(beside(file)).frames()) > 2
    with runtime.computing_on(JUDGED):
        replay = Replay.load(beside(file)) if whole else before_and_after(method, sets, recipe)
        validation = evaluate.probe(method, sets)
    found = networks.keep(
        method,
        state,
        command=f"python tools/make_networks.py {name}",
        judged_on=judged_on,
        validation=validation,
        test=scores[0],
        protocol=scores[1],
        replay=replay,
        recorded=whole,
        folder=folder,
    )
    say(f"{name:<12} {found.stat().st_size / 1e6:.2f} MB\n{networks.load(name, folder=folder)!r}")
    return True


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known())}")
    parser.add_argument("--results", type=Path, default=wall.FOLDER, help="default: results")
    parser.add_argument(
        "--out", type=Path, default=networks.FOLDER, help="default: where the course has them"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(known()):
        parser.error(f"no network {', '.join(sorted(unknown))}; there are {', '.join(known())}")
    there = set(networks.names(options.out))
    wanted = options.names or [name for name in known() if name not in there]
    made = [make(name, options.results, options.out) for name in wanted]
    size = sum(file.stat().st_size for file in options.out.glob("*.*"))
    count, most = len(networks.names(options.out)), networks.MOST_BYTES
    print(f"{count} networks, {size / 1e6:.1f} MB of at most {most / 1e6:.0f}")
    return 0 if all(made) else 1


if __name__ == "__main__":
    sys.exit(main())
