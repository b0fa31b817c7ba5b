"""Every exercise accepts right answers and rejects each of its plausible wrong answers by that mistake's own message."""

import pytest
import torch
import torch.nn.functional as F

from sslcourse import augment, check
from sslcourse.common import CourseError
from sslcourse.methods import simclr

CASES = [(e, m) for e in check.EXERCISES.values() for m in e.mistakes]


@pytest.mark.parametrize("exercise, mistake", CASES, ids=[f"{e.name}: {m.name}" for e, m in CASES])
def test_each_mistake_is_named(exercise, mistake):
    result = check.examine(exercise.name, mistake.wrong)
    assert (result.verdict, result.mistake, result.message) == ("not yet", mistake.name, mistake.message)


@pytest.mark.parametrize("name", check.EXERCISES)
def test_the_reference_is_correct_under_many_seeds(name):
    for seed in range(5):
        torch.manual_seed(seed)
        assert check.examine(name, check.EXERCISES[name].reference).verdict == "correct"


def by_loops(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    n = len(z1)
    total = 0
    for i in range(2 * n):
        row = torch.stack([z[i] @ z[k] for k in range(2 * n) if k != i]) / temperature
        total = total - z[i] @ z[(i + n) % (2 * n)] / temperature + torch.logsumexp(row, 0)
    return total / (2 * n)


def interleaved(z1, z2, temperature):
    z = F.normalize(torch.stack([z1, z2], 1).flatten(0, 1), dim=1)
    s = (z @ z.T / temperature).fill_diagonal_(float("-inf"))
    return F.cross_entropy(s, torch.arange(len(z)) ^ 1)


@pytest.mark.parametrize("answer", [by_loops, interleaved])
def test_other_right_answers_are_correct(answer):
    assert check.examine("simclr.nt_xent", answer).verdict == "correct"


@pytest.mark.parametrize("answer, match", [
    (lambda a, b, t: simclr.nt_xent(a, b, t) + 0.1, "should be"),
    (lambda a, b, t: simclr.nt_xent(a, b, t).item(), "return a tensor"),
    (lambda a, b, t: simclr.nt_xent(a, b, t)[None], r"shape \(1,\)"),
    (lambda a, b, t: torch.log((F.cosine_similarity(a, b) / t).exp() - 1e9).mean(), "log of 0"),
    (lambda a, b, t: simclr.nt_xent(a, b[:, :2], t), "it raises an error|rows|both views|z1 is"),
])  # fmt: skip
def test_other_wrong_answers_get_the_offending_value(answer, match):
    import re

    result = check.examine("simclr.nt_xent", answer)
    assert result.verdict == "not yet" and re.search(match, f"{result.mistake} {result.message}")


def test_views_of_the_wrong_kind():
    assert "two tensors" in check.examine("simclr.two_views", lambda x: x[0]).message
    assert "between 0 and 1" in check.examine("simclr.two_views", lambda x: (x * 3 - 1, x)).message
    assert "keep (B, 3, H, W)" in check.examine("simclr.two_views", lambda x: (x[:, :, :8], x)).message
    own = lambda x: tuple(augment.simclr_view(area=(0.2, 1), strength=0.8)(x) for _ in range(2))
    assert check.examine("simclr.two_views", own).verdict == "correct"


def test_not_attempted_goes_on_with_the_reference(capsys):
    def stub(z1, z2, temperature):
        raise NotImplementedError

    assert check.check("simclr.nt_xent", stub) is simclr.nt_xent
    assert "not attempted" in capsys.readouterr().out
    mine = interleaved
    assert check.check("simclr.nt_xent", mine) is mine
    assert "1 of 1 exercises correct" in repr(check.progress())


def test_checking_leaves_randomness_alone():
    torch.manual_seed(3)
    first = torch.rand(1)
    torch.manual_seed(3)
    check.examine("simclr.two_views", check.EXERCISES['simclr.two_views'].reference)
    assert torch.equal(first, torch.rand(1))


def test_help(capsys):
    check.hint("simclr.nt_xent", 2)
    check.solution("simclr.two_views")
    out = capsys.readouterr().out
    assert "hint 2 of 3" in out and "def two_views" in out
    with pytest.raises(CourseError, match="hints 1 to 3"):
        check.hint("simclr.nt_xent", 4)
    with pytest.raises(CourseError, match="simclr.nt_xent"):
        check.examine("simclr.ntxent", by_loops)
