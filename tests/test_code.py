"""The code that lessons show is the code that runs, without what guards it."""

import pathlib
import re
import sys

import pytest
import torch

from sslcourse import show
from sslcourse.methods import byol, moco, simclr
from sslcourse.runtime.errors import CourseError
from sslcourse.show import code

SOURCES = sorted((pathlib.Path(__file__).parents[1] / "notebooks" / "source").glob("*.py"))


def run(function):
    """What is shown of a function, made to run where the function lives."""
    names = dict(vars(sys.modules[function.__module__]))
    exec(
        compile(
            code.idea(function), "shown", "exec", flags=__import__("__future__").annotations.compiler_flag
        ),
        names,
    )
    return names[function.__name__]


@pytest.mark.parametrize("function", [simclr.nt_xent, byol.regression_loss], ids=lambda f: f.__name__)
def test_what_is_shown_computes_the_same(function):
    a, b = torch.randn(6, 5), torch.randn(6, 5)
    assert torch.equal(run(function)(a, b), function(a, b))


def test_what_hides_the_idea_is_left_out(capsys):
    show.source(simclr.nt_xent, moco.MoCo.step)
    text = capsys.readouterr().out
    assert "def nt_xent" in text and "def step" in text and "self(batch)" in text
    for word in ("raise", "explained", "autocast", "gather(", "at_least_float32", "distributed"):
        assert word not in text
    assert re.search(r"^    similarity = z @ z\.T / temperature", text, re.M)  # out of its `with`
    assert "# nobody is compared with itself" in text


def test_what_is_ours_alone_is_left_out():
    def gather(x):
        return x

    def mine(x, y):
        if x is None:
            raise ValueError
        if y is None:
            y = x
        x, z = gather(y), gather(x)  # not the same on one process
        return x + z

    text = code.idea(mine)
    assert "raise" not in text and "y = x" in text and "gather(y)" in text
    with pytest.raises(CourseError, match="'len' has no source"):
        show.source(len)


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_lessons_show_code_by_it(source):
    assert "getsource" not in source.read_text(encoding="utf-8")
