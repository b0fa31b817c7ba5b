"""Every option of every command with bad values: one sentence, exit code 2, no traceback, no work begun.

The options are read from the parsers themselves: one that is added is swept too.
"""

import argparse
import importlib
import json
import subprocess
import sys

import pytest

from sslcourse.commands import data as data_command, parser as command_line
from sslcourse.methods import catalogue
from sslcourse.results import tables
from sslcourse.runtime import options, override
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import Number

NO_NUMBER = ["nan", "inf", "-inf", "1e400", "1_000", "\u0663", "\uff11\uff12", "True", "", " ", "1 2", "0x10"]
NO_NUMBER += ["--1", "1,5", "\u00bd", "9" * 5000, "1e99999", "\udc80", "None", "\x1b[31m1"]
NO_NAME = ["", "nonsense", "\udcff", "\x1b[2Jsimclr", "../../etc", "a" * 5000, "nan"]
NO_FILE = ["", "  ", "x" * 300, "zero\0byte"]

# What a command needs beside the option that is tried.
NEEDED = {"train": ["simclr"], "replay": ["x.npz"], "grade": ["folder"], "colab": ["--out", "kit"]}


def subparsers() -> dict[str, argparse.ArgumentParser]:
    (choices,) = [
        a.choices for a in command_line.parser()._actions if isinstance(a, argparse._SubParsersAction)
    ]
    return choices


def parser_of_set(name: str, monkeypatch) -> argparse.ArgumentParser:
    """The parser that a data set's command makes."""
    made = []

    def stop(self, *arguments):
        made.append(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(options.Parser, "parse_args", stop)
        with pytest.raises(KeyboardInterrupt):
            importlib.import_module(f"sslcourse.data.sets.{name}").main([])
    return made[0]


def bad_values(action: argparse.Action) -> list[str]:
    """Values that this option may not take, by what it says it takes."""
    if isinstance(action.type, Number):
        low, high = action.type.low, action.type.high
        outside = [str(int(high) + 1), "-1", "-0.5", str(-(2**63)), str(2**64), str(int(low) - 1)]
        fractions = ["1.5", "2.0", "1e3"] if action.type.whole else []
        below = [str(low)] if action.type.above else []
        return [*NO_NUMBER, *outside, *fractions, *below]
    if action.choices is not None or hasattr(action.type, "choices"):
        return NO_NAME
    return NO_FILE if getattr(action.type, "__name__", "") == "file_name" else []


def tries(name: str, parser: argparse.ArgumentParser, needed: list[str]) -> list[list[str]]:
    """Command lines, each with one bad value."""
    lines = []
    for action in parser._actions:
        for bad in bad_values(action):
            if action.option_strings:
                lines.append([*name.split(), *needed, f"{action.option_strings[-1]}={bad}"])
            else:
                lines.append([*name.split(), "--", bad])
    return lines


def refused(arguments: list[str], capsys) -> None:
    """Assert one sentence and code 2."""
    try:
        code = command_line.main(arguments)
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    assert code == 2, (arguments, code)
    assert said.out == "" and said.err.startswith("sslcourse"), (arguments, said)
    assert said.err.count("\n") == 1 and "Traceback" not in said.err, (arguments, said.err)
    assert said.err[:-1].isprintable(), (arguments, said.err)
    assert len(said.err) < 1000, (arguments, said.err)


@pytest.mark.parametrize("name", sorted(subparsers()))
def test_no_option_takes_a_bad_value(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = tries(name, subparsers()[name], NEEDED.get(name, []))
    for line in lines:
        refused(line, capsys)
    assert not list(tmp_path.iterdir())  # and nothing was begun


@pytest.mark.parametrize("name", sorted(data_command.names()))
def test_no_option_of_a_data_set_takes_a_bad_value(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parser = parser_of_set(name, monkeypatch)
    needed = ["videos", "--to", "clips"] if name in ("videos", "av_folder") else []
    for line in tries(f"data {name}", parser, needed):
        if "--" not in line:
            refused(line, capsys)
    assert not list(tmp_path.iterdir())


def test_every_number_is_a_number_of_ours():
    """No option reads a number with Python's int or float, which take "nan", "1_000" and other scripts."""
    for name, parser in subparsers().items():
        for action in parser._actions:
            assert action.type not in (int, float), f"{name}: {action.option_strings}"


def test_the_sweep_is_wide():
    lines = [line for name, p in subparsers().items() for line in tries(name, p, NEEDED.get(name, []))]
    assert len(lines) > 600


# ---------------------------------------------------------------------------------------------- settings


def bad_settings(key: str, old) -> list[str]:
    """Texts behind --set KEY= that no setting of this kind may take."""
    if isinstance(old, bool):
        return ["1", "yes", "", "null", "nan", "True"]
    if isinstance(old, (int, float)):
        return [
            "nan",
            "inf",
            "-inf",
            "1e400",
            "-1",
            "-0.5",
            "1_000",
            "\uff13",
            "true",
            "",
            "null",
            "[]",
            "1e30",
        ]
    if isinstance(old, str):
        return ["", "nonsense", "\udc80", "../x", "nan"]
    if isinstance(old, (list, tuple)):
        bad = ["[]", "{}", "[null]", "[NaN]", "[1e400]", "[-1,-2]", "[true]", "[" * 3000, "nan", "[[1]]", "["]
        return [*bad, json.dumps([99_999] * len(old))] if len(old) == 2 else bad
    return [
        "[]",
        '{"area":[NaN,1]}',
        '{"area":[-1,1]}',
        '{"nonsense":1}',
        '{"area":[0.5]}',
        '{"area":"x"}',
    ] + [
        '{"strength":-1}',
        '{"strength":1e9}',
        "null",
        '{"flip":-3}',
        '{"flip":true}',
    ]


def settings_refused(name: str, every: int = 1) -> int:
    """Try bad settings of a method; returns how many."""
    settings = catalogue.describe(name, "toybox", 10)["settings"]
    lines = [f"{key}={bad}" for key, old in settings.items() for bad in bad_settings(key, old)][::every]
    for line in [*lines, "nonsense=1", "nonsense", "=", ""]:
        with pytest.raises(CourseError) as error:
            catalogue.build(catalogue.describe(name, "toybox", 10, changes=[line]))
        assert len(str(error.value)) < 1500, line
    return len(lines)


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_bad_settings_of_a_method(name):
    assert settings_refused(name, every=9)


@pytest.mark.slow
def test_bad_settings_of_all_methods():
    assert sum(settings_refused(name) for name in catalogue.NAMES) > 800


@pytest.mark.parametrize("name", tables.names())
def test_bad_settings_of_a_table(name):
    import inspect

    known = {k: p.default for k, p in inspect.signature(tables.module(name).measure).parameters.items()}
    for key, old in known.items():
        if type(old) in (int, float) and key != "seeds":
            for bad in ("nan", "inf", "1e400", "-1", "1_000", "\uff13", "true", "", "1e30"):
                with pytest.raises(CourseError):
                    tables.make(name, 1, [f"{key}={bad}"], say=lambda text: None)
    for seeds in (0, -1, float("nan"), 2.5, True, "3", 10**9):
        with pytest.raises(CourseError):
            tables.make(name, seeds, [], say=lambda text: None)


def test_a_setting_is_refused_before_the_data_are_loaded(monkeypatch, capsys):
    import sslcourse.data.load

    monkeypatch.setattr(sslcourse.data.load, "load", lambda *a, **k: pytest.fail("loaded"))
    refused(["train", "simclr", "--set", "temperature=nan"], capsys)
    refused(["train", "simclr", "--set", "colour=1"], capsys)


def test_settings_of_lists_and_nested_ones():
    known = {"area": [0.3, 1.0], "view": {"area": [0.3, 1.0], "flip": 0.5}, "turns": (0, 1), "name": "x"}
    changed = override(known, ["area=[0.1, 1]", "turns=[2]", 'view={"flip": 0}', "name=y"], "it")
    assert changed == {"area": [0.1, 1], "view": {"flip": 0}, "turns": (2,), "name": "y"}
    with pytest.raises(CourseError, match="twice"):
        override(known, ["name=a", "name=b"], "it")


# ---------------------------------------------------------------------------------------------- numbers


def test_a_number_takes_what_is_one():
    import numpy as np
    import torch

    whole, real = Number(1, 100), Number(0, 1.0, whole=False, above=True)
    for value in (7, np.int32(7), np.uint8(7), torch.tensor(7)):
        assert whole.of(value) == 7 and type(whole.of(value)) is int
    for value in (0.5, np.float32(0.5), np.float64(0.5), torch.tensor(0.5)):
        assert real.of(value) == 0.5 and type(real.of(value)) is float
    assert real.of(1) == 1 and whole.read("+7") == whole.read("007") == 7 and real.read("5e-1") == 0.5
    for bad in (
        True,
        np.bool_(True),
        torch.tensor(True),
        "7",
        b"7",
        7.0,
        None,
        [7],
        np.array([7]),
        0,
        101,
        10**400,
    ):
        with pytest.raises(CourseError):
            whole.of(bad)
    for bad in (float("nan"), float("inf"), 0.0, -0.0, 1.5, 10**400, True, "0.5", None, 1j, np.array([0.5])):
        with pytest.raises(CourseError):
            real.of(bad)


def test_names_know_no_case():
    for written in ("SimCLR", "SIMCLR", "simclr"):
        assert subparsers()["train"].parse_args([written]).method == "simclr"
    assert subparsers()["train"].parse_args(["Video-LSTM"]).method == "video_lstm"
    assert subparsers()["compare"].parse_args(["BYOL", "MoCo"]).methods == ["byol", "moco"]
    assert subparsers()["claims"].parse_args(["CLIP"]).paper == "clip"


def test_version_and_completion():
    """As a shell asks: what argcomplete writes to the file that it names."""
    import sslcourse

    asked = subprocess.run([sys.executable, "-m", "sslcourse", "--version"], capture_output=True, text=True)
    assert (asked.returncode, asked.stdout) == (0, f"sslcourse {sslcourse.__version__}\n")


def completions(typed: str, tmp_path) -> set[str]:
    import os

    file = tmp_path / "answers"
    words = {"_ARGCOMPLETE": "1", "COMP_LINE": typed, "COMP_POINT": str(len(typed)), "IFS": "\013"}
    words |= {
        "_ARGCOMPLETE_STDOUT_FILENAME": str(file),
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_IFS": "\013",
    }
    subprocess.run([sys.executable, "-m", "sslcourse"], env={**os.environ, **words}, timeout=60)
    return {word.strip() for word in file.read_text().split("\013")}


def test_a_shell_completes_commands_methods_and_options(tmp_path):
    assert {"train", "evaluate"} <= completions("sslcourse ", tmp_path)
    assert completions("sslcourse tr", tmp_path) == {"train"}
    assert set(catalogue.NAMES) <= completions("sslcourse train ", tmp_path)
    assert completions("sslcourse train sim", tmp_path) == {"simclr"}
    assert {"--epochs", "--encoder"} <= completions("sslcourse train simclr --e", tmp_path)
    assert set(tables.names()) <= completions("sslcourse table ", tmp_path)
    assert set(data_command.names()) <= completions("sslcourse data ", tmp_path)


# ---------------------------------------------------------------------------------------------- variables


@pytest.mark.parametrize(
    "name, values",
    [
        ("SSLCOURSE_DEVICE", ["", "gpu", "cuda:x", "CPU", "\udc80"]),
        ("SSLCOURSE_PRECISION", ["", "float16", "nan"]),
        ("SSLCOURSE_DISPLAY", ["", "vt100"]),
        ("SSLCOURSE_THREADS", ["", "0", "-1", "1_0", "100000", "\u0663", "two", "1.5", "9" * 5000]),
        ("SSLCOURSE_CACHE", ["", "  "]),
        ("SSLCOURSE_DATA", ["", "  "]),
    ],
)
def test_a_variable_that_is_set_wrongly(name, values, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    for value in values:
        monkeypatch.setenv(name, value)
        refused(["wall", "--folder", "none"], capsys)
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_there(monkeypatch):
    import torch

    from sslcourse import runtime

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("SSLCOURSE_DEVICE", "cuda")
    with pytest.raises(CourseError, match="SSLCOURSE_DEVICE=cuda, but PyTorch finds no such device"):
        runtime.best_device()


def test_no_home(monkeypatch, tmp_path):
    """Containers start processes of users that the system does not know."""
    import pathlib

    from sslcourse import runtime

    def unknown(self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(pathlib.Path, "expanduser", unknown)
    for name in ("SSLCOURSE_CACHE", "SSLCOURSE_DATA", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CourseError, match="HOME is not set.*SSLCOURSE_CACHE"):
        runtime.cache_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", "not/whole")  # its standard: such a path counts as not set
    with pytest.raises(CourseError, match="HOME is not set"):
        runtime.data_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert runtime.cache_dir("a") == tmp_path / "sslcourse" / "a"


@pytest.mark.parametrize("name", ["folder", "file/below", "zero\0byte", "x" * 300])
def test_what_cannot_be_written_is_told(name, tmp_path):
    from sslcourse import runtime

    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CourseError, match="cannot be written"):
        with runtime.atomic(tmp_path / name) as temporary:
            temporary.write_text("yours")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "mine"
