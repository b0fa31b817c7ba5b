"""The command line: sslcourse train | evaluate | compare | esc | table | claims | wall | exercises | grade |
bench | doctor.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from sslcourse import __version__
from sslcourse.commands import colab, data, lab
from sslcourse.commands.evaluate import COMPARE, ESC, EVALUATE, TABLE, compare, esc, evaluate, table
from sslcourse.commands.options import add_data_option, file_name, print_result
from sslcourse.commands.results import BENCH, CLAIMS, WALL, bench, claims, wall
from sslcourse.commands.teach import EXERCISES, GRADE, exercises, grade
from sslcourse.commands.train import REPLAY, TRAIN, replay, train
from sslcourse.methods import spec
from sslcourse.runtime import options as numbers, signals, text as texts
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import Number, one_of

# Read from the methods' files, so that --help need not wait for torch.
METHODS = tuple(spec.stated())
ENCODERS = spec.encoders()
PAPERS = data.modules("results", "claims", but=("engine",))
TABLES = data.modules("results", "tables")

TOP = """\
A hands-on course on self-supervised learning.

  sslcourse lab                               put the lessons into a folder and open JupyterLab there
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
  sslcourse data cifar10                      fetch or prepare real data; sslcourse data lists them all
  sslcourse colab --out kit                   the lessons for Colab, with a wheel of the course beside them
  sslcourse grade FOLDER                      check a folder of submitted homework, into a CSV file
  sslcourse exercises                         does every checker name every known mistake?
  sslcourse bench                             how near is a training step to the network alone?

sslcourse --version says which version this is. The names of methods may be written in any case.
Completion of what is typed, in bash and zsh: eval "$(register-python-argcomplete sslcourse)"

exit codes: 0 done, 1 a claim failed, a mistake has no name, doctor found a problem or data cannot be had,
2 wrong input (the message says what to type), 130 interrupted (143 by SIGTERM, 129 by SIGHUP)
"""


SECONDS_OF_AN_ANSWER = Number(0, 86_400.0, whole=False, above=True)


def parser() -> numbers.Parser:
    """The command line, all commands and options."""
    parser = numbers.Parser(
        "sslcourse", description=TOP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"sslcourse {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, does, brief: str, more: str = ""):
        sub = commands.add_parser(
            name,
            help=brief,
            description=f"{brief}\n\n{more}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(does=does)
        sub.add_argument(
            "--json", action="store_true", help="print the result as one JSON object on standard output"
        )
        return sub

    sub = command("train", train, "train a method and keep its checkpoint", TRAIN)
    sub.add_argument("method", type=one_of(METHODS, "method"), metavar="METHOD", help=", ".join(METHODS))
    add_data_option(sub, default=None)
    sub.add_argument(
        "--recipe",
        choices=spec.RECIPES,
        help="course: what a class waits for; full: up to five minutes on a laptop; gpu: real data on a GPU "
        "(default: gpu where there is a GPU and the data are real, else course)",
    )
    sub.add_argument(
        "--encoder",
        type=one_of(ENCODERS, "encoder"),
        metavar="ENCODER",
        help="default: small_cnn for the course and full recipes, resnet18 for the gpu recipe; "
        + ", ".join(ENCODERS),
    )
    for name, kind in (
        ("epochs", numbers.EPOCHS),
        ("batch-size", numbers.BATCH),
        ("lr", numbers.RATE_OF_LEARNING),
    ):
        sub.add_argument(f"--{name}", type=kind, help="instead of the recipe's")
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the method itself, such as temperature=0.1",
    )
    sub.add_argument("--seed", type=numbers.SEED, default=0, help="of everything random (default: 0)")
    sub.add_argument("--limit", type=numbers.COUNT, help="use only so many training images")
    sub.add_argument(
        "--checkpoint",
        type=file_name,
        metavar="FILE",
        help="file to write and to resume from (default: results/METHOD.safetensors, and "
        "results/METHOD-full.safetensors for the full recipe)",
    )
    sub.add_argument(
        "--replay",
        action="store_true",
        help="record the training beside the checkpoint: sslcourse replay shows it",
    )
    sub.add_argument("--no-probe", action="store_true", help="skip the validation score at the end")

    sub = command("evaluate", evaluate, "score checkpoints on the test split, with baselines", EVALUATE)
    sub.add_argument("checkpoint", nargs="*", type=file_name, help="files written by `sslcourse train`")
    add_data_option(sub, default=None)
    sub.add_argument(
        "--protocol", default="dino", choices=("dino", "lightly", "sklearn"), help="of kNN (default: dino)"
    )
    sub.add_argument(
        "--few",
        type=numbers.COUNT,
        metavar="K",
        help="also scores of readers that have seen K labels of each class: few shots",
    )
    sub.add_argument(
        "--factors",
        action="store_true",
        help="also the factor table (toybox): what was kept, what was thrown away",
    )
    sub.add_argument(
        "--calibration", action="store_true", help="train and score the toybox's yardsticks over three seeds"
    )
    sub.add_argument(
        "--all",
        nargs="?",
        const="all",
        type=one_of(("all", "toybox", "films", "seen", "heard"), "world"),
        metavar="WORLD",
        help="train and score every method of the course for the results wall "
        "(toybox, films, seen or heard; all of them by default)",
    )
    sub.add_argument("--seeds", type=numbers.SEEDS, default=3, help="of --calibration and --all (default: 3)")
    sub.add_argument(
        "--recipe", choices=("course", "full"), default="course", help="of every method, with --all"
    )

    sub = command(
        "replay", replay, "make a page of one recorded training, or of several side by side", REPLAY
    )
    sub.add_argument(
        "checkpoint",
        nargs="+",
        type=file_name,
        help="checkpoints of `sslcourse train --replay`, or .replay.npz files",
    )
    sub.add_argument("--out", type=file_name, help="the page to write (default: beside the first)")

    sub = command(
        "compare",
        compare,
        "train several methods under one encoder and one budget, and score them together",
        COMPARE,
    )
    sub.add_argument(
        "methods",
        nargs="*",
        type=one_of(METHODS, "method"),
        metavar="METHOD",
        help=f"all by default: {', '.join(METHODS)}",
    )
    add_data_option(sub)
    sub.add_argument(
        "--encoder",
        type=one_of(ENCODERS, "encoder"),
        metavar="ENCODER",
        help=f"of all; default: the course's own (small_cnn for pictures); {', '.join(ENCODERS)}",
    )
    sub.add_argument("--recipe", choices=spec.RECIPES, default="course", help="of every method")
    sub.add_argument("--epochs", type=numbers.EPOCHS, help="of every method, instead of its own recipe's")
    sub.add_argument("--batch-size", type=numbers.BATCH, help="of every method, instead of its own recipe's")
    sub.add_argument("--seeds", type=numbers.SEEDS, default=1, help="how many, from 0 (default: 1)")
    sub.add_argument("--factors", action="store_true", help="also the factor table (toybox)")
    sub.add_argument(
        "--folder",
        type=file_name,
        default="results/compare",
        help="where the checkpoints go; the same command goes on from them",
    )

    sub = command("esc", esc, "judge ears by the ESC protocol: crops, a linear SVM, fold by fold", ESC)
    sub.add_argument(
        "checkpoint",
        nargs="*",
        type=file_name,
        help="of methods that learn from films with sound; without one, the baselines alone",
    )
    add_data_option(sub, default="esc50", sized=False)
    sub.add_argument(
        "--folds",
        default="fold",
        metavar="FACTOR",
        help="whose values are the folds, such as speaker; none for the official split",
    )
    sub.add_argument("--crops", type=Number(1, 1000), default=10, help="of each recording (default: 10)")
    sub.add_argument(
        "--seconds", type=numbers.SECONDS, help="of a crop (default: 2, or four fifths of shorter recordings)"
    )
    sub.add_argument(
        "--seeds",
        type=numbers.SEEDS,
        default=3,
        help="of ears that are made here: random, supervised (default: 3)",
    )
    sub.add_argument(
        "--supervised", action="store_true", help="also an ear trained with the labels of the training folds"
    )
    sub.add_argument(
        "--random",
        action="append",
        default=[],
        choices=("resnet18_mel",),
        help="also this network with random weights",
    )

    sub = command("table", table, "make a paper's table again, with seeds and spread", TABLE)
    sub.add_argument(
        "name", nargs="?", type=one_of(TABLES, "table"), metavar="NAME", help="leave it out for a list"
    )
    sub.add_argument("--seeds", type=numbers.SEEDS, default=3, help="how many, from 0 (default: 3)")
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the table itself, such as data=mnist",
    )

    sub = command("claims", claims, "test a paper's claims over several seeds", CLAIMS)
    sub.add_argument(
        "paper",
        nargs="?",
        default="simclr",
        type=one_of(PAPERS, "paper with claims"),
        metavar="PAPER",
        help=f"{', '.join(PAPERS)} (default: simclr)",
    )
    sub.add_argument(
        "--all",
        action="store_true",
        help="of every paper, one after another; goes on where it was broken off",
    )
    sub.add_argument("--seeds", type=numbers.SEEDS, default=5, help="how many, from 0 (default: 5)")
    sub.add_argument(
        "--out",
        type=file_name,
        help="JSON with all numbers; seeds in it are not run again (default: results/claims-PAPER.json)",
    )

    sub = command("wall", wall, "show the results wall, and write it as one page", WALL)
    sub.add_argument("--out", type=file_name, help="the page (default: results/wall.html)")
    sub.add_argument(
        "--picture", type=file_name, help="also write the bars and the verdicts as a PNG file of this name"
    )
    sub.add_argument(
        "--folder",
        type=file_name,
        default="results",
        help="where your own results are; they go before those that come with the course",
    )
    sub.add_argument(
        "--keep",
        action="store_true",
        help="store them as those that come with the course (for those who build it)",
    )

    sub = command("grade", grade, "check a folder of submitted notebooks and write a CSV file", GRADE)
    sub.add_argument(
        "folder", type=file_name, help="notebooks, or one subfolder with a notebook for each student"
    )
    sub.add_argument(
        "--assignment", default="homework_simclr", help="which homework or lesson (default: homework_simclr)"
    )
    sub.add_argument("--out", type=file_name, help="the CSV file (default: results/grades-ASSIGNMENT.csv)")
    sub.add_argument(
        "--seed",
        type=numbers.SEED,
        help="of the checkers' inputs (default: drawn anew, and written into the file)",
    )
    sub.add_argument(
        "--seconds",
        type=SECONDS_OF_AN_ANSWER,
        default=60.0,
        help="of processor time for each exercise of each submission",
    )
    sub.add_argument(
        "--memory", type=Number(1, 2**20), default=2048, help="megabytes that an answer may take"
    )
    sub.add_argument("--jobs", type=Number(1, 1024), default=1, help="submissions at a time")
    sub.add_argument(
        "--unsafe",
        action="store_true",
        help="run submissions also where this machine cannot keep them from your files, the network and "
        "other processes",
    )

    sub = command(
        "exercises",
        exercises,
        "hand every checker its known mistakes: is each rejected, and named?",
        EXERCISES,
    )
    sub.add_argument("exercise", nargs="*", help="such as simclr.nt_xent; all by default")
    sub.add_argument("--seed", type=numbers.SEED, default=0, help="of the inputs (default: 0)")

    sub = command("bench", bench, "measure the training step against the network alone", BENCH)
    sub.add_argument(
        "--rounds", type=Number(1, 10_000), default=15, help="measurements of each part (default: 15)"
    )
    sub.add_argument(
        "--encoder",
        type=one_of(ENCODERS, "encoder"),
        metavar="ENCODER",
        help=f"default: small_cnn on a CPU, resnet18 on a GPU; {', '.join(ENCODERS)}",
    )

    sub = command("doctor", doctor, "say what is installed, what is wrong, and what to type")
    sub.add_argument(
        "--renew",
        action="store_true",
        help="measure anew what this machine computes fastest with, and keep that from now on",
    )

    sub = command("lab", lab.lab, "put the lessons into a folder and open JupyterLab there", lab.LAB)
    lab.add_options(sub)
    sub = command("colab", colab.colab, "write a folder of notebooks and a wheel for Colab", colab.COLAB)
    colab.add_options(sub)
    sub = command("data", data.data, "fetch or prepare real data", data.text())
    data.add_options(sub)

    for sub in commands.choices.values():
        for action in sub._actions:
            if names := getattr(action.type, "choices", None):
                # What a shell offers here.
                action.completer = lambda names=names, **_: names  # type: ignore[attr-defined]
    return parser


def main(arguments: list[str] | None = None) -> int:
    # a pipe on Windows knows few letters: "?" is better than no table
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    line = parser()
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what may stand here
        import argcomplete

        argcomplete.autocomplete(line)
    words, passed_on = divided(sys.argv[1:] if arguments is None else arguments)
    try:
        options = line.parse_args(words, argparse.Namespace(passed_on=passed_on))
    except SystemExit as stop:  # --help and --version end so, too
        if stop.code == 2:
            return 2
        raise
    try:
        with signals.raised():
            if options.does is not doctor:  # which lists what is wrong
                numbers.check_variables()
            return options.does(options)
    except CourseError as error:
        return refuse(error)
    except OSError as error:  # a folder that is closed, a disk that is full: of whatever file it was
        return refuse(told(error))
    except MemoryError as error:
        return refuse(f"this needs more memory than there is ({error}); take smaller batches or fewer data")
    except KeyboardInterrupt as error:
        print(f"sslcourse: {signals.reason(error)}", file=sys.stderr)
        return signals.exit_code(error)


def refuse(reason: object) -> int:
    """Say why nothing is done, and return the exit code of wrong input."""
    print(f"sslcourse: {texts.for_terminal(reason)}", file=sys.stderr)
    return 2


def told(error: OSError) -> str:
    """What an error of the system means, in a sentence."""
    names = " and ".join(repr(str(name)) for name in (error.filename, error.filename2) if name is not None)
    reason = error.strerror or str(error) or type(error).__name__
    return f"{names}: {reason}; name another file or folder" if names else f"{reason}"


def divided(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is typed after `sslcourse`: the words that are parsed here, and those that are handed on.

    Of lab, JupyterLab gets what follows the first "--"; of data, each data set what follows its name.
    """
    words = list(words)
    if words[:1] == ["lab"] and "--" in words:
        at = words.index("--")
        return words[:at], words[at + 1 :]
    if words[:1] == ["data"]:
        name = next((i for i, word in enumerate(words) if i and not word.startswith("-")), len(words))
        return words[: name + 1], words[name + 1 :]
    return words, []


def doctor(options) -> int:
    from sslcourse.runtime import doctor

    found = doctor.examine(renew=options.renew)
    print_result(options, found, doctor.text(found))
    return 1 if found["problems"] else 0
