"""The command line: sslcourse train | evaluate | compare | esc | table | claims | wall | exercises | grade | bench | doctor."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from sslcourse.commands import colab, lab
from sslcourse.common import CourseError

# Written out, so that --help need not wait for torch; a test compares them with `methods.catalogue`.
METHODS = ("simclr", "bigan", "jigsaw", "byol", "moco", "rotnet", "deepcluster", "clip", "video_lstm", "colorization", "dpc", "avts", "xdc",
           "supervised")  # fmt: skip
ENCODERS = ("small_cnn", "resnet18", "dense_cnn", "dense_resnet18", "small_3d", "resnet18_2d3d", "small_clip", "r2plus1d_18", "small_mc3", "mc3_18",
            "pixel_lstm", "patch_lstm")  # fmt: skip

TOP = """\
A hands-on course on self-supervised learning.

  sslcourse lab                               put the lessons into a folder and open JupyterLab there
  sslcourse colab --out kit                   the lessons for Colab, with a wheel of the course beside them
  sslcourse doctor                            is everything installed? what does this machine compute on?
  sslcourse train simclr                      train on the toybox, about half a minute on a laptop
  sslcourse evaluate results/simclr.safetensors
                                              its score on the test split, with baselines beside it
  sslcourse compare simclr byol               several methods under one encoder and one budget
  sslcourse esc --data spokendigits --folds speaker
                                              what ears hear: crops, a linear SVM, fold by fold
  sslcourse table bigan --seeds 5             a paper's table, made again
  sslcourse claims simclr --seeds 5           does what the paper claims hold here?
  sslcourse wall                              every method and every claim, as one page
  sslcourse grade FOLDER                      check a folder of submitted homework, into a CSV file
  sslcourse exercises                         does every checker name every known mistake?
  sslcourse bench                             how near is a training step to the network alone?

exit codes: 0 done, 1 a claim failed, a mistake has no name or doctor found a problem, 2 wrong input (the message says what to
type), 130 interrupted
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("sslcourse", description=TOP, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, does, brief: str, more: str = ""):
        sub = commands.add_parser(name, help=brief, description=f"{brief}\n\n{more}",
                                  formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
        sub.set_defaults(does=does)
        sub.add_argument("--json", action="store_true", help="print the result as one JSON object on standard output")
        return sub

    sub = command("train", train, "train a method and keep its checkpoint", TRAIN)
    sub.add_argument("method", choices=METHODS, metavar="METHOD", help=", ".join(METHODS))
    _data(sub, default=None)
    sub.add_argument("--recipe", choices=("course", "gpu"), help="default: gpu where there is a GPU and the data are real")
    sub.add_argument("--encoder", choices=ENCODERS, help="default: small_cnn for the course recipe, resnet18 for the gpu recipe")
    for name, kind in (("epochs", int), ("batch-size", int), ("lr", float)):
        sub.add_argument(f"--{name}", type=kind, help="instead of the recipe's")
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the method itself, such as temperature=0.1")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--limit", type=int, help="use only so many training images")
    sub.add_argument("--checkpoint", help="file to write and to resume from (default: results/METHOD.safetensors)")
    sub.add_argument("--replay", action="store_true", help="record the training beside the checkpoint: sslcourse replay shows it")
    sub.add_argument("--no-probe", action="store_true", help="skip the validation score at the end")

    sub = command("evaluate", evaluate, "score checkpoints on the test split, with baselines", EVALUATE)
    sub.add_argument("checkpoint", nargs="*", help="files written by `sslcourse train`")
    _data(sub, default=None)
    sub.add_argument("--protocol", default="dino", choices=("dino", "lightly", "sklearn"), help="of kNN")
    sub.add_argument("--factors", action="store_true", help="also the factor table (toybox): what was kept, what was thrown away")
    sub.add_argument("--calibration", action="store_true", help="train and score the toybox's yardsticks over three seeds")
    sub.add_argument("--all", nargs="?", const="all", metavar="WORLD", help="train and score every method of the course for the results wall "
                     "(toybox, films, seen or heard; all of them by default)")  # fmt: skip
    sub.add_argument("--seeds", type=int, default=3, help="of --calibration and --all")

    sub = command("replay", replay, "make a page of one recorded training, or of several side by side", REPLAY)
    sub.add_argument("checkpoint", nargs="+", help="checkpoints of `sslcourse train --replay`, or .replay.npz files")
    sub.add_argument("--out", help="the page to write (default: beside the first)")

    sub = command("compare", compare, "train several methods under one encoder and one budget, and score them together", COMPARE)
    sub.add_argument("methods", nargs="*", metavar="METHOD", help=f"all by default: {', '.join(METHODS)}")
    _data(sub)
    sub.add_argument("--encoder", choices=ENCODERS, help="of all; default: the course's own (small_cnn for pictures)")
    sub.add_argument("--epochs", type=int, help="of every method, instead of its own recipe's")
    sub.add_argument("--batch-size", type=int, help="of every method, instead of its own recipe's")
    sub.add_argument("--seeds", type=int, default=1)
    sub.add_argument("--factors", action="store_true", help="also the factor table (toybox)")
    sub.add_argument("--folder", default="results/compare", help="where the checkpoints go; the same command goes on from them")

    sub = command("esc", esc, "judge ears by the ESC protocol: crops, a linear SVM, fold by fold", ESC)
    sub.add_argument("checkpoint", nargs="*", help="of methods that learn from films with sound; without one, the baselines alone")
    _data(sub, default="esc50")
    sub.add_argument("--folds", default="fold", metavar="FACTOR", help="whose values are the folds, such as speaker; none for the official split")
    sub.add_argument("--crops", type=int, default=10, help="of each recording")
    sub.add_argument("--seconds", type=float, help="of a crop (default: 2, or four fifths of shorter recordings)")
    sub.add_argument("--seeds", type=int, default=3, help="of ears that are made here: random, supervised")
    sub.add_argument("--supervised", action="store_true", help="also an ear trained with the labels of the training folds")
    sub.add_argument("--random", action="append", default=[], choices=("resnet18_mel",), help="also this network with random weights")

    sub = command("table", table, "make a paper's table again, with seeds and spread", TABLE)
    sub.add_argument("name", nargs="?", help="leave it out for a list")
    sub.add_argument("--seeds", type=int, default=3)
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the table itself, such as data=mnist")

    sub = command("claims", claims, "test a paper's claims over several seeds", CLAIMS)
    sub.add_argument("paper", nargs="?", default="simclr")
    sub.add_argument("--all", action="store_true", help="of every paper, one after another; goes on where it was broken off")
    sub.add_argument("--seeds", type=int, default=5)
    sub.add_argument("--out", help="JSON with all numbers; seeds in it are not run again (default: results/claims-PAPER.json)")

    sub = command("wall", wall, "show the results wall, and write it as one page", WALL)
    sub.add_argument("--out", help="the page (default: results/wall.html)")
    sub.add_argument("--picture", help="also write the bars and the verdicts as a PNG file of this name")
    sub.add_argument("--folder", default="results", help="where your own results are; they go before those that come with the course")
    sub.add_argument("--keep", action="store_true", help="store them as those that come with the course (for those who build it)")

    sub = command("grade", grade, "check a folder of submitted notebooks and write a CSV file", GRADE)
    sub.add_argument("folder", help="notebooks, or one subfolder with a notebook for each student")
    sub.add_argument("--assignment", default="homework_simclr", help="which homework or lesson (default: homework_simclr)")
    sub.add_argument("--out", help="the CSV file (default: results/grades-ASSIGNMENT.csv)")
    sub.add_argument("--seed", type=int, help="of the checkers' inputs (default: drawn anew, and written into the file)")
    sub.add_argument("--seconds", type=float, default=60, help="of processor time for each exercise of each submission")
    sub.add_argument("--memory", type=int, default=2048, help="megabytes that an answer may take")
    sub.add_argument("--jobs", type=int, default=1, help="submissions at a time")

    sub = command("exercises", exercises, "hand every checker its known mistakes: is each rejected, and named?", EXERCISES)
    sub.add_argument("exercise", nargs="*", help="such as simclr.nt_xent; all by default")
    sub.add_argument("--seed", type=int, default=0, help="of the inputs")

    sub = command("bench", bench, "measure the training step against the network alone", BENCH)
    sub.add_argument("--rounds", type=int, default=15)
    sub.add_argument("--encoder", choices=ENCODERS, help="default: small_cnn on a CPU, resnet18 on a GPU")

    command("doctor", doctor, "say what is installed, what is wrong, and what to type")

    lab.arguments(command("lab", lab.lab, "put the lessons into a folder and open JupyterLab there", lab.LAB))
    colab.arguments(command("colab", colab.colab, "write a folder of notebooks and a wheel for Colab", colab.COLAB))

    words = list(sys.argv[1:] if arguments is None else arguments)
    words, passed_on = lab.divided(words)
    options = parser.parse_args(words)
    options.passed_on = passed_on
    try:
        return options.does(options)
    except CourseError as error:
        print(f"sslcourse: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sslcourse: interrupted", file=sys.stderr)
        return 130


def _data(sub, default: str | None = "toybox") -> None:
    sub.add_argument("--data", default=default, help="toybox, toybox:BACKGROUND, digits, cifar10, stl10, mnist, a .npz file of your "
                     "own arrays (image, label[, test_image, test_label]; for sounds audio, rate, label), or a folder with one subfolder per class; "
                     "sounds: esc50, spokendigits; films: toyvideos, toytracks, "
                     "movingdigits, with sound toyevents, toyscenes, avdigits, or a folder of prepared clips")  # fmt: skip


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _answer(options, value, text: str) -> None:
    print(json.dumps(value) if options.json else text, flush=True)


# ---------------------------------------------------------------------------------------------- train

TRAIN = """\
Trains in half a minute on the toybox. With real data and a GPU:

  python data_scripts/cifar10.py
  sslcourse train simclr --data cifar10 --recipe gpu

Interrupt it with Ctrl-C whenever you like: the same command goes on where it stopped, to the very numbers of a run that was not
interrupted. With several GPUs or processes, each sees its part of every batch and all negatives:

  torchrun --nproc-per-node 2 -m sslcourse train simclr --data cifar10
"""


def train(options) -> int:
    import torch

    from sslcourse import common, distributed, train
    from sslcourse import evaluate as scores
    from sslcourse.data.load import load
    from sslcourse.methods import catalogue

    rank, world = distributed.start()
    try:
        profile = common.profile()
        options.data = options.data or catalogue.home(options.method)
        kind = options.recipe or ("gpu" if profile.device == "cuda" and not options.data.startswith(("toy", "moving")) else "course")
        changes = {k: v for k, v in (("epochs", options.epochs), ("batch_size", options.batch_size), ("lr", options.lr)) if v is not None}
        recipe = getattr(catalogue.module(options.method), kind.upper()).but(seed=options.seed, **changes)
        if rank == 0:
            data = load(options.data)  # the first process fills the cache, the others read it
        distributed.barrier()
        if rank:
            data = load(options.data)
        samples = data.train if options.limit is None else data.train.take(slice(0, options.limit))
        about = catalogue.about(options.method, options.data, len(data.classes), kind, options.encoder, options.set)
        torch.manual_seed(common.step_seed(options.seed, 0x1417))
        method = catalogue.build(about)
        path = Path(options.checkpoint or f"results/{options.method}.safetensors")
        if rank == 0:
            _say(f"{method.__class__.__name__}, {about['encoder']}, {data!r}, on {profile}" + (f", {world} processes" if world > 1 else ""))
            if path.exists():
                _say(f"going on from {path}")
        row: dict = {}
        start = time.perf_counter()
        rows = train.epochs(method, _watched(samples, recipe) if rank == 0 else samples, recipe, checkpoint=path)
        if options.replay and rank == 0:
            from sslcourse.widgets.recording import recorded

            rows = recorded(rows, method, data, recipe, path)
        for row in rows:
            if rank == 0:
                _say("\r" + train.line(row, recipe.epochs))
        if rank:
            return 0
        if row.get("interrupted"):
            _say(f"interrupted; the same command goes on from {path}")
            return 130
        result = {"checkpoint": str(path), "seconds": time.perf_counter() - start, **row, "device": str(profile), "processes": world}
        if world > 1 or options.no_probe or not data.train.labelled:
            text = ""
        else:
            result["validation"] = scores.probe(method, data)
            text = "validation: " + ", ".join(f"{k} {v:.1%}" for k, v in result["validation"].items()) + "\n"
        _answer(options, result, f"{text}written: {path}\nnext: sslcourse evaluate {path}")
        return 0
    finally:
        distributed.stop()


class _watched:
    """The data set with a running line on the terminal: how far the epoch is, how fast, how long it will take."""

    def __init__(self, samples, recipe):
        self.samples, self.recipe = samples, recipe

    def __getattr__(self, name):
        return getattr(self.samples, name)

    def __len__(self):
        return len(self.samples)

    def to(self, device):
        return _watched(self.samples.to(device), self.recipe)

    def batches(self, batch_size, *arguments, first=0, **named):
        start, steps = time.perf_counter(), len(self) // batch_size
        for i, batch in enumerate(self.samples.batches(batch_size, *arguments, first=first, **named), first):
            done, seconds = i - first, time.perf_counter() - start
            if sys.stderr.isatty() and done and i % max(1, steps // 50) == 0:
                left = seconds / done * (steps - i)
                sys.stderr.write(f"\r  step {i}/{steps}  {done * batch_size / seconds:,.0f} samples/s  {left:.0f} s left in this epoch ")
                sys.stderr.flush()
            yield batch


# ---------------------------------------------------------------------------------------------- evaluate

EVALUATE = """\
Reads the test labels once for all files given, and prints chance, raw pixels and a random encoder beside them. The data set is the
one that the checkpoint was trained on, unless --data names another.

  sslcourse evaluate results/simclr.safetensors --factors
  sslcourse evaluate --calibration         the toybox's table: pixels, random, supervised, SimCLR
  sslcourse evaluate --all                 every method of the course, for the results wall: writes results/wall/*.json
"""


def evaluate(options) -> int:
    from sslcourse import checkpoints, show
    from sslcourse import evaluate as scores
    from sslcourse.data.load import load
    from sslcourse.methods import catalogue

    if options.calibration:
        return _calibration(options)
    if options.all:
        return _all_worlds(options)
    if not options.checkpoint:
        raise CourseError("name a checkpoint: sslcourse evaluate results/simclr.safetensors (sslcourse train simclr writes it)")
    methods, names = {}, set()
    for file in options.checkpoint:
        state = checkpoints.read(file)
        if not state.about:
            raise CourseError(f"{file!r} does not say how to build its method; evaluate it in Python: evaluate.report(method, data)")
        method = catalogue.build(state.about)
        checkpoints.load_weights(state, method).eval()
        name = type(method).__name__
        methods[name if name not in methods else Path(file).stem] = method
        names.add(options.data or state.about["data"])
    if len(names) > 1:
        raise CourseError(f"these were trained on different data ({', '.join(sorted(names))}); choose one with --data")
    data = load(names.pop())
    found = scores.report(methods, data, protocol=options.protocol)
    value, text = {"data": found.data, "protocol": found.protocol, "rows": found.rows}, repr(found)
    if options.factors:
        sources = {"pixels": "pixels", "random": scores.random_like(next(iter(methods.values())), data.train), **methods}
        value["factors"] = scores.factor_table(sources, data, on="test")
        table = show.table([{"features": n, **{k: round(v, 2) for k, v in row.items()}} for n, row in value["factors"].items()])
        text += f"\n\n{table!r}"
    _answer(options, value, text)
    return 0


def _all_worlds(options) -> int:
    from sslcourse import compare, show
    from sslcourse import wall as walls

    if options.checkpoint:
        raise CourseError("--all trains and scores every method of the course; leave out the checkpoints")
    found = {}
    for world in walls.WORLDS if options.all == "all" else [options.all]:
        found[world] = walls.measure(world, options.seeds, say=_say)
        tables = (show.table(rows(found[world])) for rows in (compare.table, compare.factor_rows))
        _say(f"{walls.question(world)}\n" + "\n\n".join(map(repr, tables)) + f"\nwritten: results/wall/{world}.json\n")
    _answer(options, found, "next: sslcourse wall")
    return 0


def _calibration(options) -> int:
    import statistics

    from sslcourse import calibration

    rows = calibration.table(options.seeds, say=_say)
    value = [{k: v for k, v in r.items()} for r in rows]
    lines = [f"{'features':<22}{'kNN':>16}{'linear':>16}{'seconds':>10}"]
    for r in rows:
        cells = [f"{statistics.fmean(r[k]):.3f} ± {statistics.stdev(r[k]) if len(r[k]) > 1 else 0:.3f}" for k in ("kNN", "linear")]
        lines.append(f"{r['features']:<22}{cells[0]:>16}{cells[1]:>16}{max(r['seconds']):>10.1f}")
    from sslcourse import common

    lines.append(f"test split, {options.seeds} seeds (mean ± standard deviation), most seconds of training, on {common.profile()}")
    _answer(options, value, "\n".join(lines))
    return 0


# ---------------------------------------------------------------------------------------------- compare

COMPARE = """\
Every method from scratch with the same encoder, the same data and, where --epochs and --batch-size are given, the same budget; all are
scored in one opening of the test labels for each seed. A run that was broken off goes on where it stopped.

  sslcourse compare simclr byol supervised --data cifar10 --epochs 10 --batch-size 256
  sslcourse evaluate --all                 every method by its own recipe: the results wall of the course
"""


def compare(options) -> int:
    from sslcourse import compare, show
    from sslcourse.methods import catalogue

    seeds = options.seeds
    found = compare.run(options.methods or catalogue.of(options.data), options.data, seeds=seeds, encoder=options.encoder, epochs=options.epochs,
                        batch_size=options.batch_size, factors=options.factors, folder=options.folder, say=_say)  # fmt: skip
    text = (f"{found['data']}, test split, {seeds} seed{'s' * (seeds > 1)}; {found['protocol']}; {found['encoder']} on {found['profile']}\n"
            f"{show.table(compare.table(found))!r}")  # fmt: skip
    if options.factors:
        text += f"\n\n{show.table(compare.factor_rows(found))!r}"
    _answer(options, found, text)
    return 0


# ---------------------------------------------------------------------------------------------- esc

ESC = """\
Every fold tests once; chance, the log-mel spectrogram and an ear that was never trained stand beside the ears of the checkpoints.

  python data_scripts/esc50.py
  sslcourse esc results/xdc.safetensors --supervised
  sslcourse esc --data spokendigits --folds speaker         other speakers in the test than in the training
"""


def esc(options) -> int:
    from sslcourse import checkpoints, common, encoders, esc, show
    from sslcourse.data.load import load
    from sslcourse.methods import catalogue

    ears = {}
    for file in options.checkpoint:
        state = checkpoints.read(file)
        method = catalogue.build(state.about) if state.about else None
        if not hasattr(method, "ear"):
            raise CourseError(f"{file!r} has no ear; train a method that learns from films with sound, on toyevents for example")
        checkpoints.load_weights(state, method).eval()
        name = type(method).__name__
        ears[name if name not in ears else Path(file).stem] = method.ear
    ears |= {f"random {name}": esc.random_ear(getattr(encoders, name)) for name in options.random}
    if options.supervised:
        ears["supervised"] = esc.supervised_ear()
    found = esc.esc(ears, load(options.data), folds=None if options.folds == "none" else options.folds, crops=options.crops, seconds=options.seconds,
                    seeds=options.seeds, say=_say)  # fmt: skip
    value = {"data": found.data, "protocol": found.protocol, "folds": found.folds, "rows": found.rows, "profile": str(common.profile())}
    _answer(options, value, f"{found._heading()}; {options.seeds} seeds, on {common.profile()}\n{show.table(found.table())!r}")
    return 0


# ---------------------------------------------------------------------------------------------- table

TABLE = """\
Without a name: which tables there are. Each is trained from scratch; a table says in its heading what it measured, and on what.
"""


def table(options) -> int:
    from sslcourse import common, show, tables

    if not options.name:
        titles = {name: tables.module(name).TITLE for name in tables.names()}
        _answer(options, titles, "\n".join(f"  sslcourse table {name:<16}{title}" for name, title in titles.items()))
        return 0
    start = time.perf_counter()
    rows = tables.make(options.name, options.seeds, options.set, _say)
    heading = f"{tables.module(options.name).TITLE}; {options.seeds} seeds, {time.perf_counter() - start:.0f} s on {common.profile()}"
    _answer(options, {"table": options.name, "heading": heading, "rows": rows}, f"{heading}\n{show.table(rows)!r}")
    return 0


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
            raise CourseError(f"there is no replay of {given}; train with --replay to record one: sslcourse train simclr --replay")
    loaded = {f.name.removesuffix(".replay.npz"): replays.Replay.load(f) for f in files}
    view = next(iter(loaded.values())) if len(files) == 1 else replays.side_by_side(loaded)
    path = view.page(options.out or files[0].with_name("-".join(loaded) + ".html"), title="sslcourse: " + ", ".join(loaded))
    _answer(options, {"page": str(path), "epochs": len(view)}, f"written: {path}\nopen it in a browser")
    return 0


# ---------------------------------------------------------------------------------------------- claims

CLAIMS = """\
Every claim is an effect that is positive where the paper is right. Over the seeds: pass where the 95 % interval of its mean lies above
0, fail where it lies below, else inconclusive. SimCLR trains nine networks a seed, half a minute each on one thread.
"""


def claims(options) -> int:
    from sslcourse import claims as papers

    if not options.all:
        return _claims_of(options)
    if options.out:
        raise CourseError("--all writes one file for each paper, results/claims-PAPER.json; leave out --out")
    codes = []
    for paper in papers.papers():
        _say(paper)
        codes.append(_claims_of(argparse.Namespace(**{**vars(options), "paper": paper})))
    return max(codes)


def _claims_of(options) -> int:
    from sslcourse import claims, show

    out = options.out or f"results/claims-{options.paper}.json"
    start, verdicts = time.perf_counter(), []
    for done, so_far in enumerate(claims.run(options.paper, options.seeds, file=out, say=_say), 1):
        verdicts = so_far
        seconds = time.perf_counter() - start
        _say(f"seed {done}/{options.seeds} done, {seconds:.0f} s, about {seconds / done * (options.seeds - done):.0f} s left")
    rows = [v.row() for v in verdicts]
    _answer(options, {"paper": options.paper, "file": out, "claims": [{**r, "effects": v.effects} for r, v in zip(rows, verdicts)]},
            f"{show.table(rows)!r}\nall numbers: {out}")  # fmt: skip
    return 1 if any(v.verdict == "fail" for v in verdicts) else 0


# ---------------------------------------------------------------------------------------------- wall

WALL = """\
Reads the result files that come with the course, and yours before them: results/wall/*.json (sslcourse evaluate --all, wall.add in Python)
and results/claims-*.json (sslcourse claims --all).
"""


def wall(options) -> int:
    from sslcourse import show
    from sslcourse import wall as walls

    if options.keep:
        _say("kept: " + ", ".join(file.name for file in walls.keep(options.folder)))
    found, verdicts = walls.read(options.folder), walls.verdicts(options.folder)
    page = walls.page(options.out, options.folder)
    if options.picture:
        walls.picture(options.picture, options.folder)
    parts = [f"{walls.question(world)} ({rows['protocol']}; {rows['seeds']} seeds on {rows['profile']})\n{show.table(walls.table(world, rows))!r}"
             for world, rows in found.items()]  # fmt: skip
    parts.append(f"claims\n{show.table(walls.counted(verdicts))!r}")
    _answer(options, {"worlds": found, "claims": verdicts, "page": str(page)}, "\n\n".join([*parts, f"written: {page}"]))
    return 0


# ---------------------------------------------------------------------------------------------- grade

GRADE = """\
Each function of a submission runs in a process of its own, with limits, and is checked from another process on inputs that nobody
has seen. What the notebook printed does not count, and its trainings are not repeated: about five seconds a submission. One that
crashes, never ends or is no notebook costs one row.

  sslcourse grade submissions --jobs 4
  sslcourse grade submissions --seed 1234            the same inputs as in an earlier run
  sslcourse grade lesson --assignment 01_simclr      a lesson's exercises, one point each
"""


def grade(options) -> int:
    from sslcourse import apart, grade
    from sslcourse.check import assignment

    if options.seconds <= 0 or options.memory <= 0:
        raise CourseError(f"--seconds {options.seconds:g} --memory {options.memory}: both must be above 0")
    name = assignment(options.assignment).name
    out = Path(options.out or f"results/grades-{name}.csv")
    limits = apart.Limits(seconds=options.seconds, memory=options.memory << 20)
    found = grade.grade(options.folder, name, seed=options.seed, limits=limits, jobs=options.jobs, leave_out=[out], say=_say)
    found.write(out)
    value = {"assignment": name, "seed": found.seed, "sslcourse": found.version, "isolation": found.isolation, "file": str(out),
             "mistakes": {exercise: dict(pairs) for exercise, pairs in found.mistakes().items()}, "rows": found.rows}  # fmt: skip
    _answer(options, value, f"{found}\nwritten: {out}")
    return 0


# ---------------------------------------------------------------------------------------------- exercises

EXERCISES = """\
Each row is one mistake, made in one or several ways and handed to the checker just now. "named" is yes where all of them were
rejected by this mistake's own message; the reference must be accepted.
"""


def exercises(options) -> int:
    from sslcourse import check, show

    rows = list(check.mutations(options.exercise or None, options.seed))
    wrong = [r for r in rows if r["mistake"] != "none: the reference"]
    named, good = sum(r["named"] for r in wrong), all(r["named"] for r in rows)
    yes = lambda holds: "yes" if holds else "NO"
    lines = [{**r, "rejected": yes(r["rejected"]) if r in wrong else "accepted" if r["named"] else "NO",
              "named": yes(r["named"]) if r in wrong else "-"} for r in rows]  # fmt: skip
    text = f"{named} of {len(wrong)} mistakes are rejected by their own message; seed {options.seed}"
    _answer(options, {"seed": options.seed, "rows": rows}, f"{show.table(lines)!r}\n{text}")
    return 0 if good else 1


# ---------------------------------------------------------------------------------------------- bench, doctor

BENCH = """\
bound = time of the network's forward and backward pass / time of a real step (data, augmentation, loss, optimizer included).
Everything is measured in turns within this run; compare ratios, not seconds, between machines.
"""


def bench(options) -> int:
    import torch

    from sslcourse import bench, clustering, common, encoders, show

    steps = bench.step_table(rounds=options.rounds, encoder=getattr(encoders, options.encoder) if options.encoder else None)
    views = bench.augmentation_table()
    kept, rendered, filmed = bench.memory_gain(), bench.pictures_per_second(), bench.films_per_second()
    explorers, panel = bench.explorer_table(), bench.panel_share()
    kmeans = list(clustering.timing())
    device = torch.cuda.get_device_name() if common.profile().device == "cuda" else "CPU"
    value = {"device": device, "profile": str(common.profile()), "steps": steps, "augmentation": views, "memory kept": kept,
             "pictures/s": rendered, "films/s": filmed, "explorers": explorers, "live panel": panel, "k-means": kmeans}
    short = lambda rows: show.table([{k: round(v, 2 if v < 20 else 0) if isinstance(v, float) else v for k, v in r.items()} for r in rows])
    text = (f"{device}: {common.profile()}\n\n{short(steps)!r}\n\n{short(views)!r}\n\n"
            f"keeping freed memory: {kept:.2f} times faster (forward and backward of the small network)\n"
            f"toybox: {rendered:,.0f} pictures of 32 pixels a second, {filmed:,.0f} films of 16 frames\n\n{short(explorers)!r}\n\n"
            f"20,000 x 64, 200 clusters, seconds on one thread:\n{show.table(kmeans)!r}\n\n"
            f"live panel: {panel['share']:.1%} of a training's time for {panel['frames']} frames in {panel['epochs']} epochs")  # fmt: skip
    _answer(options, value, text)
    return 0


def doctor(options) -> int:
    from sslcourse import doctor

    found = doctor.examine()
    _answer(options, found, doctor.text(found))
    return 1 if found["problems"] else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
