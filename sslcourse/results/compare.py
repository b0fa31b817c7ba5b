"""Several methods under one encoder and one budget: the rows of the results wall, and the table of real
pictures.

    sslcourse compare simclr byol rotnet --data cifar10 --epochs 10 --batch-size 256
    sslcourse evaluate --all                 every method by its COURSE recipe on the data it is for, three
                                             seeds, with the factor table; --recipe full for the FULL ones

`wall()` gives what was last measured on the toybox, to which each notebook adds its own bar; the whole wall
is `sslcourse.results.wall`."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sslcourse import evaluate, runtime
from sslcourse.data.datasets import Data, Samples
from sslcourse.data.load import load
from sslcourse.methods import catalogue
from sslcourse.methods.base import Method
from sslcourse.methods.spec import Spec
from sslcourse.results.fitting import fitting
from sslcourse.results.stored import World, opened, write
from sslcourse.results.tables import cell
from sslcourse.runtime import progress
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import BATCH, EPOCHS, SEED, SEEDS, takes
from sslcourse.train import checkpoints, identity as identities, loop
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe

MEASURED = Path(__file__).parent / "measured"  # result files that come with the course
STORED = MEASURED / "toybox.json"
BASELINES = ("chance", "pixels", "random encoder", "log-mel", "random ear")


def is_baseline(name: str) -> bool:
    """Whether a row was not trained: one of `BASELINES`, or a random network that reads as one method does
    ("random encoder, as DeepCluster reads").
    """
    return name.split(", as ")[0] in BASELINES


FEW = 10  # labels of each class, for the probe with few labels


@takes(seeds=SEEDS, epochs=EPOCHS, batch_size=BATCH)
def run(
    names: Sequence[str] | None,
    data: str = "toybox",
    *,
    seeds: int = 1,
    encoder: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    recipe: str = "course",
    factors: bool = False,
    hear: bool = False,
    folder: str | Path = "results/compare",
    say=print,
) -> dict:
    """Train every method from scratch with each seed, and score them all in one opening of the test labels
    per seed.

    Args:
        names: methods of the catalogue; None for all that can learn from the data: the others are named,
            before anything trains.
        data: as for `load`; a seed of the toybox draws its own world.
        encoder: the one backbone of all; where left out, the course's own (`small_cnn` for pictures).
        epochs, batch_size: the one budget of all; where left out, each method's recipe decides.
        recipe: "course", "full" or "gpu", of every method.
        factors: also the factor table, on the test split.
        hear: judge the ears of the methods and not their eyes; only of those that have one.
        folder: where each training keeps its checkpoint; a run that was broken off goes on from there, if
            method, settings, encoder, recipe and data are the same.

    The scores of each seed are kept in `folder` as they come, in DATA-scores.json.

    A method for scenes is trained on scenes, also where it is judged on the films of one second
    ("toyevents").

    Returns {"data", "recipe", "encoder", "profile", "versions", "rows": {name: {"kNN": [per seed], "linear":
    [...], "few labels": [...], "seconds": [...], "epochs": n, "batch_size": n}}, "factors": {name: {factor:
    [per seed]}}, "left out": {name: why}}."""
    runtime.prove(Path(folder) / "proof", "name another folder (--folder FOLDER)")
    with loop.whole_runs():
        return _run(names, data, seeds, encoder, epochs, batch_size, recipe, factors, hear, Path(folder), say)


def _run(
    names: Sequence[str] | None,
    data: str,
    seeds: int,
    encoder: str | None,
    epochs: int | None,
    batch_size: int | None,
    recipe: str,
    factors: bool,
    hear: bool,
    folder: Path,
    say,
) -> dict:
    """See `run`."""
    specs: list[Spec] = []
    left_out: dict[str, str] = {}
    changes = {k: v for k, v in (("epochs", epochs), ("batch_size", batch_size)) if v is not None}
    rows: dict[str, dict] = {}
    kept: dict[str, dict[str, list[float]]] = {}
    profile: runtime.Profile | None = None
    used: dict[str, None] = {}  # backbones, in order; films have one for each method
    for seed in progress.each(range(seeds), "seed"):
        sets = load(data, seed)
        if not specs:
            specs, left_out = fitting(names, data, sets, encoder, epochs, batch_size, recipe)
            for name, reason in left_out.items():
                say(f"  left out: {name} ({reason})")
        methods: dict[str, Any] = {}
        planned = []
        for spec in specs:
            method, part, how, file = training(
                spec, data, sets, seed=seed, recipe=recipe, encoder=encoder, folder=folder, **changes
            )
            used.setdefault(method.about["encoder"])
            planned.append((spec, method, part, how, file))
        # All are compared on one profile: that of what is trained already, if anything is.
        there = [found for found in (checkpoints.profile_of(file) for *_, file in planned) if found]
        profile = profile or next(iter(there), None) or runtime.profile()
        if other := {str(found) for found in there} - {str(profile)}:
            say(f"  some of these were trained on {' and on '.join(sorted(other))}, the others on {profile}")
        for spec, method, part, how, file in progress.each(planned, "method"):
            start = time.perf_counter()
            try:
                history = fit(method, part, how, checkpoint=file, profile=profile)
            except CourseError as error:  # one that diverges takes nothing from the others
                left_out[spec.name] = str(error)
                say(f"  seed {seed}  {spec.name:<14} left out: {error}")
                continue
            seconds = sum(row["seconds"] for row in history)
            say(
                f"  seed {seed}  {spec.name:<14} {how.epochs} epochs in {seconds:.0f} s "
                f"({time.perf_counter() - start:.0f} s in this call)"
            )
            methods[spec.title] = method.ear if hear else method
            row = rows.setdefault(
                spec.title, {"seconds": [], "epochs": how.epochs, "batch_size": how.batch_size}
            )
            row["seconds"].append(seconds)
        specs = [spec for spec in specs if spec.name not in left_out]
        if not specs:
            name, reason = next(iter(left_out.items()))
            raise CourseError(f"nothing is left to compare; {name}: {reason}")
        judged = sets.heard() if hear else sets
        found = evaluate.report(methods, judged, seed=seed, few=FEW)
        for scores in found.rows:
            row = rows.setdefault(scores["features"], {})
            for key in ("kNN", "linear", "few labels"):
                row.setdefault(key, []).append(scores[key])
            say(
                f"  seed {seed}  {scores['features']:<16} kNN {scores['kNN']:.3f}  linear "
                f"{scores['linear']:.3f}"
            )
        if factors:
            sources: dict[str, Any] = {
                evaluate.baselines_of(judged.train)[0]: "pixels",
                **evaluate.random_rows(methods, judged.train, seed),
                **methods,
            }
            for name, values in evaluate.factor_table(sources, judged, on="test").items():
                for factor, value in values.items():
                    kept.setdefault(name, {}).setdefault(factor, []).append(value)
        result = {
            "data": found.data,
            "protocol": found.protocol,
            "recipe": recipe,
            "encoder": ", ".join(used),
            "seeds": seed + 1,
            "profile": str(runtime.profile()),
            "versions": checkpoints.versions(),
            "rows": rows,
            "factors": kept,
            **({"left out": left_out} if left_out else {}),
        }
        strength = "" if recipe == "course" else f"-{recipe}"
        keep(result, Path(folder) / f"{_file_name(data)}{strength}-scores.json")
    return result


@takes(seed=SEED)
def training(
    spec: Spec,
    data: str,
    sets: Data,
    *,
    seed: int = 0,
    recipe: str = "course",
    encoder: str | None = None,
    folder: str | Path = "results/compare",
    **changes: Any,
) -> tuple[Method, Samples, Recipe, Path]:
    """What `run` trains, not yet trained: the method, its training split, its recipe, and the file that keeps
    its checkpoint.

    Args:
        data: what it is judged on, as `load` calls it, and `sets`, which that gives with this seed.
        changes: of the recipe, such as epochs.
    """
    how = spec.recipe(recipe).but(seed=seed, **changes)
    torch.manual_seed(runtime.step_seed(seed, 0xC09))
    home = spec.data if data == "toyevents" else data
    about = catalogue.describe(spec.name, home, len(sets.classes), recipe, encoder, samples=sets.train)
    method = catalogue.build(about)
    part = (sets if home == data else load(home, seed)).train
    # What the training is goes into the name: two folders of pictures may have one name, and the pictures of
    # a folder may change.
    known = identities.short(identities.identity(method, part))
    budget = f"{how.epochs}x{how.batch_size}" + ("" if recipe == "course" else f"-{recipe}")
    name = f"{_file_name(data)}-{spec.name}-{about['encoder']}-{budget}-{seed}-{known}.safetensors"
    return method, part, how, Path(folder) / name


def _file_name(data: str) -> str:
    """What files of results on this data begin with: "toybox:0.5" must be a file's name everywhere, and
    another one than "toybox:0.1".
    """
    return Path(data).stem if Path(data).exists() else re.sub(r"[^\w.=]+", "-", data)


def table(found: dict) -> list[dict]:
    """Rows for a table, in per cent: baselines first, then by their linear probe. Where both recipes were
    measured (`wall.read` lays them together), the FULL one's columns stand beside. Seconds are those of the
    quickest seed: whatever else the machine does makes a training longer, never shorter.
    """
    both = _full(found)
    rows = []
    for name, row in sorted(
        found["rows"].items(),
        key=lambda item: (not is_baseline(item[0]), statistics.fmean(item[1]["linear"])),
    ):
        seconds = row.get("seconds")
        rows.append(
            {
                "features": name,
                "kNN": cell(row["kNN"]),
                "linear probe": cell(row["linear"]),
                "few labels": cell(row.get("few labels", [])),
                "seconds of training": f"{min(seconds):.0f}" if seconds else "–",
                "epochs": row.get("epochs", "–"),
                "batch size": row.get("batch_size", "–"),
            }
        )
        if both:
            # Baselines are not trained: a second measurement of the same would say nothing.
            full = both.get(name, {}) if seconds else {}
            longer = full.get("seconds")
            rows[-1] |= {
                "kNN, full": cell(full.get("kNN", [])),
                "linear probe, full": cell(full.get("linear", [])),
                "few labels, full": cell(full.get("few labels", [])),
                "seconds of training, full": f"{min(longer):.0f}" if longer else "–",
                "epochs, full": full.get("epochs", "–"),
            }
    return rows


def _full(found: Mapping) -> dict[str, dict]:
    """The rows of the FULL recipes that were laid beside these; empty where there are none."""
    return found.get("full", {}).get("rows", {})


def factor_rows(found: dict) -> list[dict]:
    """The factor table as rows: means over seeds, 0 (nothing) to 1 (everything can be read); of the FULL
    recipes where they were measured.
    """
    return [
        {"features": name, **{factor: f"{value:.2f}" for factor, value in row.items()}}
        for name, row in mean_factors(found).items()
    ]


def mean_factors(found: Mapping) -> dict[str, dict[str, float]]:
    """Name -> factor -> mean over seeds, of the FULL recipes where they were measured: for
    `show.factor_table`.
    """
    kept = {**found.get("factors", {}), **found.get("full", {}).get("factors", {})}
    return {name: {f: statistics.fmean(values) for f, values in row.items()} for name, row in kept.items()}


def rounded(value):
    """A result with every number as it is stored."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, Mapping):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


def keep(found: dict, file: str | Path = STORED) -> None:
    """Store what `run` returned as the wall, rounded to what the seeds can tell. `stored.opened` reads it."""
    write(rounded(found), file, seal=Path(file).resolve().parent != MEASURED.resolve())


def stored() -> dict:
    """The wall as it was last measured, as `run` returned it."""
    if not STORED.exists():
        raise CourseError(
            "no results wall is stored in this installation; measure one: sslcourse evaluate --all toybox "
            "(about twenty minutes), "
            "then sslcourse wall --keep"
        )
    return opened(STORED, World, "sslcourse evaluate --all toybox")


def wall(mine: Mapping[str, float] | None = None, leave_out: Iterable[str] = ()) -> dict[str, float]:
    """Linear probe on the toybox's test split for every chapter so far, for `show.bars`: baselines, methods,
    and yours.

    Args:
        mine: name -> accuracy of what was trained just now, from 0 to 1.
        leave_out: names that are not shown.
    """
    rows = stored()["rows"]
    means = {
        name: statistics.fmean(row["linear"])
        for name, row in rows.items()
        if name not in (*leave_out, "chance")
    }
    ordered = dict(sorted(means.items(), key=lambda item: (not is_baseline(item[0]), item[1])))
    return {**ordered, **{f"{name}, just now": value for name, value in (mine or {}).items()}}


def wall_factors(mine: Mapping[str, Mapping[str, float]] | None = None) -> dict[str, dict[str, float]]:
    """The factor table of every chapter so far (means over seeds) for `show.factor_table`; yours below."""
    return {
        **mean_factors(stored()),
        **{f"{name}, just now": dict(row) for name, row in (mine or {}).items()},
    }
