"""Whatever ends a run from outside, at whatever moment: the file says how to go on, and the numbers are
those of a run that nobody disturbed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sslcourse import encoders
from sslcourse.commands.parser import main
from sslcourse.methods import deepcluster, simclr
from sslcourse.runtime import signals
from sslcourse.runtime.errors import CourseError
from sslcourse.train import checkpoints, loop
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe

RECIPE = Recipe(epochs=3, batch_size=64, lr=1e-3, max_steps=3)
JOB = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@pytest.fixture(autouse=True)
def as_on_a_terminal(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *JOB)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Delivered(Exception):
    """The signal reached whoever handled it before the training did."""


def owner(number, frame):
    raise Delivered(number)


def make(kind=simclr.SimCLR, **arguments):
    torch.manual_seed(1)
    return kind(encoders.small_cnn(8), **arguments)


def clusters():
    return make(deepcluster.DeepCluster, clusters=8)


def numbers(rows):
    return [{k: v for k, v in row.items() if k not in ("seconds", "samples/s")} for row in rows]


def send(number):
    os.kill(os.getpid(), number)


def disturb(place, number, monkeypatch):
    """Let the signal come while a training starts, clusters, takes a step, or saves; each time the second."""
    where, name = {
        "starting": (loop, "optimizers_of"),
        "clustering": (deepcluster.DeepCluster, "before_epoch"),
        "a step": (deepcluster.DeepCluster, "step"),
        "saving": (loop.checkpoints, "save"),
        "the first save": (loop.checkpoints, "save"),
    }[place]
    honest, calls = getattr(where, name), []

    def disturbed(*arguments, **named):
        calls.append(1)
        if len(calls) == (2 if place in ("clustering", "a step", "saving") else 1):
            send(number)
        return honest(*arguments, **named)

    monkeypatch.setattr(where, name, disturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, *JOB])
@pytest.mark.parametrize("place", ["starting", "the first save", "clustering", "a step", "saving"])
def test_nothing_is_lost_wherever_it_comes(toys, tmp_path, monkeypatch, place, number):
    data, file = toys.train.take(slice(0, 192)).unlabelled(), tmp_path / "run.safetensors"
    expected = make_reference(data)
    for job in JOB:
        signal.signal(job, owner)
    with monkeypatch.context() as patch:
        disturb(place, number, patch)
        if number == signal.SIGINT:
            rows = fit(clusters(), data, RECIPE, checkpoint=file)
            assert rows[-1]["interrupted"] == 1 and len(rows) <= 2
        else:
            with pytest.raises(Delivered):
                fit(clusters(), data, RECIPE, checkpoint=file)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]
    assert checkpoints.read(file).step == {"a step": 2, "saving": 3, "clustering": 3}.get(place, 0)
    resumed = clusters()
    assert numbers(fit(resumed, data, RECIPE, checkpoint=file)) == expected[0]
    assert all(torch.equal(a, b) for a, b in zip(resumed.state_dict().values(), expected[1]))


REFERENCE = []


def make_reference(data):
    """What an undisturbed training gives: rows, weights. Trained once."""
    if not REFERENCE:
        method = clusters()
        REFERENCE.extend([numbers(fit(method, data, RECIPE)), list(method.state_dict().values())])
    return REFERENCE


def test_a_signal_after_the_last_step_of_an_epoch_does_not_read_as_the_end(toys, tmp_path, monkeypatch):
    """An epoch is whole, but the training is not: the row says so, that of the file does not."""
    file = tmp_path / "run.safetensors"
    honest, calls = simclr.SimCLR.step, []

    def step(self, batch, optimizers):
        calls.append(1)
        if len(calls) == 3:
            send(signal.SIGINT)
        return honest(self, batch, optimizers)

    monkeypatch.setattr(simclr.SimCLR, "step", step)
    (row,) = fit(make(), toys.train, RECIPE, checkpoint=file)
    assert row["interrupted"] == 1 and "interrupted" not in checkpoints.read(file).history[0]


def test_a_second_one_does_not_wait(toys, monkeypatch):
    honest = simclr.SimCLR.step

    def step(self, batch, optimizers):
        send(signal.SIGINT)
        send(signal.SIGINT)
        return honest(self, batch, optimizers)

    monkeypatch.setattr(simclr.SimCLR, "step", step)
    with pytest.raises(KeyboardInterrupt):
        fit(make(), toys.train, RECIPE)


def test_half_a_training_is_never_measured_as_a_whole_one(toys, monkeypatch):
    """Claims, tables and comparisons go on to the next training, and score what they have: not after
    Ctrl-C."""
    honest = simclr.SimCLR.step

    def step(self, batch, optimizers):
        send(signal.SIGINT)
        return honest(self, batch, optimizers)

    monkeypatch.setattr(simclr.SimCLR, "step", step)
    assert fit(make(), toys.train, RECIPE)[-1]["interrupted"] == 1
    with loop.whole_runs(), pytest.raises(KeyboardInterrupt):
        fit(make(), toys.train, RECIPE)
    from sslcourse.results import claims

    monkeypatch.setattr(
        claims.paper("simclr"), "runs", lambda seed, say: fit(make(), toys.train, RECIPE) and {}
    )
    with pytest.raises(KeyboardInterrupt):
        next(claims.run("simclr", 1))


@pytest.mark.parametrize("number", [signal.SIGINT, *JOB])
@pytest.mark.parametrize("place", ["loading", "training"])
def test_exit_codes(tmp_path, monkeypatch, capsys, number, place):
    file = tmp_path / "run.safetensors"
    command = ["train", "simclr", "--data", "digits", "--limit", "128", "--batch-size", "64", "--epochs", "3"]
    honest, calls = simclr.SimCLR.step, []

    def step(self, batch, optimizers):
        calls.append(1)
        if len(calls) == 3:
            send(number)
        return honest(self, batch, optimizers)

    if place == "training":
        monkeypatch.setattr(simclr.SimCLR, "step", step)
    else:
        from sslcourse.data import load

        monkeypatch.setattr(load, "load", lambda *arguments, **named: send(number))
    assert main([*command, "--no-probe", "--checkpoint", str(file)]) == 128 + number
    said = capsys.readouterr().err
    assert ("the same command goes on from" in said) == (place == "training")
    assert file.exists() == (place == "training")


def test_an_error_that_a_library_makes_of_it_is_still_the_signal():
    with pytest.raises(KeyboardInterrupt) as caught, signals.raised():
        try:
            send(signal.SIGTERM)
        except KeyboardInterrupt:
            raise ImportError("could not be initialised") from None
    assert signals.exit_code(caught.value) == 143 and signals.reason(caught.value) == "ended by SIGTERM"
    with pytest.raises(ImportError), signals.raised():
        raise ImportError("and without a signal it stays an error")


def test_what_is_ignored_stays_ignored(toys):
    """nohup, and jobs in the background."""
    for number in JOB:
        signal.signal(number, signal.SIG_IGN)

    class Sending(simclr.SimCLR):
        def step(self, batch, optimizers):
            for number in JOB:
                send(number)
            return super().step(batch, optimizers)

    assert len(fit(make(Sending), toys.train, RECIPE)) == RECIPE.epochs


def test_a_file_that_cannot_be_written_is_found_out_before_the_first_step(toys, tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("")
    monkeypatch.setattr(simclr.SimCLR, "step", lambda *_: pytest.fail("it trained"))
    for file in (tmp_path / "a file" / "run.safetensors", tmp_path):
        with pytest.raises(CourseError, match="cannot be written.*nothing was begun"):
            fit(make(), toys.train, RECIPE, checkpoint=file)
        assert main(["train", "simclr", "--checkpoint", str(file)]) == 2


@pytest.mark.nightly
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the harness forks")
@pytest.mark.parametrize("name", ["simclr", "byol", "moco", "deepcluster", "bigan"])
def test_killed_at_twenty_random_moments_and_resumed_to_the_last_bit(name, tmp_path):
    script = Path(__file__).with_name("killed.py")
    words = [sys.executable, str(script), name, "20", "0", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found["wrong"] and not found["left"], found
    assert sum(found["kills"].values()) == 20 and set(found["kills"]) <= {
        "SIGKILL",
        "SIGTERM",
        "SIGINT",
        "SIGHUP",
    }
    assert all(code in (-signal.Signals[name], 130) for name, code in found["codes"])
