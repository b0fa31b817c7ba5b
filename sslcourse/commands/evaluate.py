"""sslcourse evaluate, compare, esc and table: scores with their baselines, and the papers' tables."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sslcourse.commands.options import log, print_result
from sslcourse.runtime import progress
from sslcourse.runtime.errors import CourseError

# ---------------------------------------------------------------------------------------------- evaluate

EVALUATE = """\
Reads the test labels once for all files given, and prints chance, raw pixels and a random encoder beside
them. The data set is the one that the checkpoint was trained on, unless --data names another.

  sslcourse evaluate results/simclr.safetensors --factors
  sslcourse evaluate --calibration         the toybox's table: pixels, random, supervised, SimCLR
  sslcourse evaluate --all                 every method of the course, for the wall: writes
                                           results/wall/*.json
  sslcourse evaluate --all --recipe full   the same at full strength: results/wall/*-full.json
"""


@progress.shown()
def evaluate(options) -> int:
    from sslcourse import evaluate, runtime, show
    from sslcourse.data.load import load, sized
    from sslcourse.methods import catalogue
    from sslcourse.train import checkpoints, identity

    if options.size and not options.data:
        raise CourseError(f"--size {options.size} says how large the pictures of --data are; name those, too")
    if options.calibration:
        return _calibration(options)
    if options.all:
        return _all_worlds(options)
    if not options.checkpoint:
        raise CourseError(
            "name a checkpoint: sslcourse evaluate results/simclr.safetensors (sslcourse train simclr "
            "writes it)"
        )
    methods, names, states = {}, set(), {}
    for file in options.checkpoint:
        if Path(file).is_dir() or Path(file).suffix.lower() in (".npz", ".npy", ".csv", ".zip"):
            raise CourseError(
                f"{file!r} is data and no checkpoint; to judge on it what was trained: sslcourse evaluate "
                f"results/simclr.safetensors --data {file} (to train on it: sslcourse train simclr --data "
                f"{file})"
            )
        state = states[file] = checkpoints.read(file)
        if not state.about:
            raise CourseError(
                f"{file!r} does not say how to build its method; evaluate it in Python: "
                "evaluate.report(method, data)"
            )
        method = catalogue.build(state.about, checkpoints.shapes_of(state))
        checkpoints.load_weights(state, method).eval()
        name = type(method).__name__
        methods[name if name not in methods else Path(file).stem] = method
        names.add(sized(options.data, options.size) if options.data else state.about["data"])
    if len(names) > 1:
        raise CourseError(
            f"these were trained on different data ({', '.join(sorted(names))}); choose one with --data"
        )
    name = names.pop()
    data = load(name)
    if not data.train.labelled:
        raise CourseError(
            f"{name} has no labels, and a score needs some; judge the method on data that have: --data NAME "
            "(of a folder of your own: one subfolder per class)"
        )
    log(f"{data!r}")
    for file, state in states.items():
        if not options.data and identity.changed(state.identity, data.train):
            log(
                f"{file} was trained on other data than {name} is now, so what it was trained on may be "
                f"among what it is judged on; train it again, or say that you mean these: --data {name}"
            )
    # A network is judged as it was trained: the precision moves the last digits of a score.
    profiles = {checkpoints.usable(state.profile) for state in states.values()}
    if len(profiles) == 1 and (profile := profiles.pop()):
        runtime.use_profile(profile)
    found = evaluate.report(methods, data, protocol=options.protocol, few=options.few)
    value: dict[str, Any] = {"data": found.data, "protocol": found.protocol, "rows": found.rows}
    text = repr(found)
    if options.factors:
        untrained = evaluate.baselines_of(data.train)[1]
        sources: dict[str, Any] = {
            "pixels": "pixels",
            **{
                name.replace(untrained, "random"): network
                for name, network in evaluate.random_rows(methods, data.train).items()
            },
            **methods,
        }
        value["factors"] = evaluate.factor_table(sources, data, on="test")
        table = show.table(
            [
                {"features": n, **{k: round(v, 2) for k, v in row.items()}}
                for n, row in value["factors"].items()
            ]
        )
        text += f"\n\n{table!r}"
    print_result(options, value, text)
    return 0


def _all_worlds(options) -> int:
    from sslcourse import show
    from sslcourse.results import compare, wall as walls

    if options.checkpoint:
        raise CourseError("--all trains and scores every method of the course; leave out the checkpoints")
    found = {}
    for world in walls.WORLDS if options.all == "all" else [options.all]:
        found[world] = walls.measure(world, options.seeds, recipe=options.recipe, say=log)
        tables = (show.table(rows(found[world])) for rows in (compare.table, compare.factor_rows))
        log(
            f"{walls.question(world)}\n"
            + "\n\n".join(map(repr, tables))
            + f"\nwritten: results/wall/{world}{walls.STRENGTHS[options.recipe]}.json\n"
        )
    print_result(options, found, "next: sslcourse wall")
    return 0


def _calibration(options) -> int:
    import statistics

    from sslcourse.results import calibration

    rows = calibration.measure(options.seeds, say=log)
    value = [{k: v for k, v in r.items()} for r in rows]
    lines = [f"{'features':<22}{'kNN':>16}{'linear':>16}{'seconds':>10}"]
    for r in rows:
        cells = [
            f"{statistics.fmean(r[k]):.3f} ± {statistics.stdev(r[k]) if len(r[k]) > 1 else 0:.3f}"
            for k in ("kNN", "linear")
        ]
        lines.append(f"{r['features']:<22}{cells[0]:>16}{cells[1]:>16}{max(r['seconds']):>10.1f}")
    from sslcourse import runtime

    lines.append(
        f"test split, {options.seeds} seeds (mean ± standard deviation), most seconds of training, on "
        f"{runtime.profile()}"
    )
    print_result(options, value, "\n".join(lines))
    return 0


# ---------------------------------------------------------------------------------------------- compare

COMPARE = """\
Every method from scratch with the same encoder, the same data and, where --epochs and --batch-size are
given, the same budget; all are scored in one opening of the test labels for each seed. A run that was broken
off goes on where it stopped.

  sslcourse compare simclr byol supervised --data cifar10 --epochs 10 --batch-size 256
  sslcourse evaluate --all                 every method by its own recipe: the results wall of the course
"""


@progress.shown()
def compare(options) -> int:
    from sslcourse import show
    from sslcourse.data.load import sized
    from sslcourse.results import compare

    seeds = options.seeds
    found = compare.run(
        options.methods or None,
        sized(options.data, options.size),
        seeds=seeds,
        encoder=options.encoder,
        epochs=options.epochs,
        batch_size=options.batch_size,
        recipe=options.recipe,
        factors=options.factors,
        folder=options.folder,
        say=log,
    )
    text = (
        f"{found['data']}, test split, {seeds} seed{'s' * (seeds > 1)}; {found['protocol']}; "
        f"{found['encoder']} on {found['profile']}\n"
        f"{show.table(compare.table(found))!r}"
    )
    if options.factors:
        text += f"\n\n{show.table(compare.factor_rows(found))!r}"
    print_result(options, found, text)
    return 0


# ---------------------------------------------------------------------------------------------- esc

ESC = """\
Every fold tests once; chance, the log-mel spectrogram and an ear that was never trained stand beside the
ears of the checkpoints.

  sslcourse data esc50
  sslcourse esc results/xdc.safetensors --supervised
  sslcourse esc --data spokendigits --folds speaker         other speakers in the test than in the training
"""


@progress.shown()
def esc(options) -> int:
    from sslcourse import encoders, runtime, show
    from sslcourse.data.load import load
    from sslcourse.evaluate import esc50
    from sslcourse.methods import catalogue
    from sslcourse.train import checkpoints

    ears: dict[str, Any] = {}
    for file in options.checkpoint:
        state = checkpoints.read(file)
        method = catalogue.build(state.about, checkpoints.shapes_of(state)) if state.about else None
        if method is None or not hasattr(method, "ear"):
            raise CourseError(
                f"{file!r} has no ear; train a method that learns from films with sound, on toyevents "
                "for "
                "example"
            )
        checkpoints.load_weights(state, method).eval()
        name = type(method).__name__
        ears[name if name not in ears else Path(file).stem] = method.ear
    ears |= {f"random {name}": esc50.random_ear(getattr(encoders, name)) for name in options.random}
    if options.supervised:
        ears["supervised"] = esc50.supervised_ear()
    found = esc50.esc(
        ears,
        load(options.data),
        folds=None if options.folds == "none" else options.folds,
        crops=options.crops,
        seconds=options.seconds,
        seeds=options.seeds,
        say=log,
    )
    value = {
        "data": found.data,
        "protocol": found.protocol,
        "folds": found.folds,
        "rows": found.rows,
        "profile": str(runtime.profile()),
    }
    print_result(
        options,
        value,
        f"{found._heading()}; {options.seeds} seeds, on {runtime.profile()}\n{show.table(found.table())!r}",
    )
    return 0


# ---------------------------------------------------------------------------------------------- table

TABLE = """\
Without a name: which tables there are. Each is trained from scratch; a table says in its heading what it
measured, and on what.
"""


@progress.shown()
def table(options) -> int:
    from sslcourse import runtime, show
    from sslcourse.results import tables

    if not options.name:
        titles = {name: tables.module(name).TITLE for name in tables.names()}
        print_result(
            options,
            titles,
            "\n".join(f"  sslcourse table {name:<16}{title}" for name, title in titles.items()),
        )
        return 0
    start = time.perf_counter()
    rows = tables.make(options.name, options.seeds, options.set, log)
    heading = (
        f"{tables.module(options.name).TITLE}; {options.seeds} seeds, "
        f"{time.perf_counter() - start:.0f} s on {runtime.profile()}"
    )
    print_result(
        options, {"table": options.name, "heading": heading, "rows": rows}, f"{heading}\n{show.table(rows)!r}"
    )
    return 0
