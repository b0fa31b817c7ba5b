"""What a long command says while it works: soon, whatever it does, with the time that is left."""

import io
import re
import sys
import time

import pytest

from sslcourse.runtime import progress


class Log(io.StringIO):
    def isatty(self):
        return False


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def soon(monkeypatch):
    for name in ("FIRST", "EVERY", "LIVE"):
        monkeypatch.setattr(progress, name, 0.03)


def test_a_log_gets_lines_with_the_time_that_is_left(soon, monkeypatch):
    monkeypatch.setattr(sys, "stderr", log := Log())
    with progress.shown():
        for _ in progress.each(range(3), "seed"):
            with progress.part("training SimCLR, step", 4) as step:
                for _ in range(4):
                    time.sleep(0.02)
                    step()
    lines = log.getvalue().splitlines()
    assert len(lines) >= 3 and "\r" not in log.getvalue()
    assert re.fullmatch(
        r"  \d s: seed 1 of 3, training SimCLR, step [1234] of 4(; about \d s left of this)?", lines[0]
    )
    assert any(re.search(r"seed [23] of 3, .*; about \d s left$", line) for line in lines)


def test_one_long_piece_of_work_is_no_silence(soon, monkeypatch):
    monkeypatch.setattr(sys, "stderr", log := Log())
    with progress.shown(), progress.part("loading cifar10"):
        time.sleep(0.15)
    assert log.getvalue().count("loading cifar10") >= 2


def test_a_terminal_keeps_one_line_and_takes_it_away(soon, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress.shown(), progress.part("files of \x1b[31mann", 2) as step:
        step()
        time.sleep(0.1)
    said = terminal.getvalue()
    assert "\n" not in said and "\x1b" not in said and "\\x1b[31mann 1 of 2" in said
    assert said.endswith("\r") and said.rsplit("\r", 2)[1].strip() == ""


def test_a_library_call_says_nothing_and_errors_leave_no_part_behind(soon, monkeypatch):
    monkeypatch.setattr(sys, "stderr", log := Log())
    assert list(progress.each(range(3), "seed")) == [0, 1, 2]
    with pytest.raises(ValueError), progress.shown():
        with progress.part("outer", 2):
            kept = progress.each(range(3), "inner")
            next(kept)
            raise ValueError
    assert progress.line(0) == "  0 s: working" and "outer" not in log.getvalue()


def test_the_time_left_is_of_what_is_left():
    """Of a training that goes on: what was done before took no time now."""
    half = progress._Part("training", 100, done=60, before=50, start=time.monotonic() - 10)
    assert progress._left([half]) == "about 40 s left"
    outer = progress._Part("seed", 4, done=1, start=time.monotonic() - 150)
    assert progress._left([outer, half]) == "about 5 min 50 s left"  # 1.2 of 4 took 150 s
    fresh = progress._Part("seed", 4, start=time.monotonic() - 10)
    assert progress._left([fresh, half]) == "about 40 s left of this"
    assert progress._left([progress._Part("loading", None)]) is None


def test_the_commands_that_work_long_say_so(monkeypatch, soon, capfd, tmp_path):
    """`table` itself, with a table that takes its time."""
    from sslcourse.commands.parser import main
    from sslcourse.results import tables

    class Slow:
        TITLE = "Slow"

        @staticmethod
        def measure(seeds=2, say=print):
            for _ in progress.each(range(seeds), "seed"):
                time.sleep(0.1)
            return [{"row": 1}]

    monkeypatch.setattr(tables, "module", lambda name: Slow)
    assert main(["table", "dpc", "--seeds", "2"]) == 0
    assert "seed 1 of 2" in capfd.readouterr().err


# ---------------------------------------------------------------------------------------------- many pictures


def test_raw_pixels_of_many_pictures_are_bounded(monkeypatch):
    """Averaged down to what a probe can read, train and test alike; few pictures stay as they are."""
    import torch
    import torch.nn.functional as F

    from sslcourse.data.datasets import Samples
    from sslcourse.train import features

    image = torch.randint(
        0, 256, (40, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    samples = Samples(image=image, label=torch.zeros(40, dtype=torch.long), classes=("a",))
    assert features.places(samples) is None
    assert torch.equal(features.pixels(samples), image.flatten(1) / 255)
    monkeypatch.setattr(features, "MOST_NUMBERS", 40 * 3 * 8 * 8)
    assert features.places(samples) == 8
    found = features.pixels(samples, 8)
    assert torch.allclose(found, F.avg_pool2d(image / 255, 2).flatten(1), atol=1e-6)


def test_neighbours_do_not_depend_on_the_size_of_a_part():
    import torch

    from sslcourse.evaluate import knn_predict

    g = torch.Generator().manual_seed(0)
    bank, queries, labels = (
        torch.randn(300, 8, generator=g),
        torch.randn(64, 8, generator=g),
        torch.arange(300) % 5,
    )
    whole = knn_predict(bank, labels, queries, classes=5)
    assert torch.equal(whole, knn_predict(bank, labels, queries, classes=5, chunk=7))
