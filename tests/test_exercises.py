"""The exercises of the later chapters: each mistake is named, however it is written. One file
`answers_CHAPTER.py` for each chapter.

Such a file holds WRITTEN_OTHERWISE (exercise -> mistake -> at least two answers that make it, written by
other hands), RIGHT_OTHERWISE (exercise -> right answers, written otherwise) and, where an exercise trains,
its name in SLOW."""

import ast
import importlib
import pathlib
import textwrap

import pytest

from sslcourse import check
from sslcourse.check import engine
from sslcourse.check.shown import SHOWN

FILES = sorted(p.stem for p in pathlib.Path(__file__).parent.glob("answers_*.py"))
MODULES = {name.removeprefix("answers_"): importlib.import_module(name) for name in FILES}
WRONG = {e: rows for m in MODULES.values() for e, rows in m.WRITTEN_OTHERWISE.items()}
RIGHT = {e: rows for m in MODULES.values() for e, rows in m.RIGHT_OTHERWISE.items()}
SLOW = {e for m in MODULES.values() for e in getattr(m, "SLOW", ())}
ELSEWHERE = ("simclr.", "museum.")  # test_check and test_museum
OURS = [n for n in check.EXERCISES if not n.startswith(ELSEWHERE)]


def cases(rows):
    return [
        pytest.param(*row, id=": ".join(map(str, row)), marks=[pytest.mark.slow] * (row[0] in SLOW))
        for row in rows
    ]


@pytest.fixture(autouse=True)
def no_progress(monkeypatch):
    monkeypatch.setattr(engine, "_records", {})


def test_every_chapter_brings_its_answers():
    assert set(WRONG) == set(RIGHT) == set(OURS)


@pytest.mark.parametrize(
    "name, mistake", cases([(n, m.name) for n in OURS for m in check.EXERCISES[n].mistakes])
)
def test_each_mistake_is_named(name, mistake):
    (mistake,) = [m for m in check.EXERCISES[name].mistakes if m.name == mistake]
    for wrong in (mistake.wrong, *mistake.also):
        result = check.examine(name, wrong)
        assert (result.verdict, result.mistake, result.message) == ("not yet", mistake.name, mistake.message)
        assert result.found and result.found in str(result) and mistake.message in str(result)


OTHERWISE = [
    (e, m, k) for e, rows in WRONG.items() for m, answers in rows.items() for k in range(len(answers))
]


@pytest.mark.parametrize("seed", [0, pytest.param(7, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("name, mistake, k", cases(OTHERWISE))
def test_each_mistake_is_named_however_it_is_written(name, mistake, k, seed):
    result = check.examine(name, WRONG[name][mistake][k], seed)
    assert (result.verdict, result.mistake) == ("not yet", mistake), result


@pytest.mark.parametrize("name", WRONG)
def test_all_mistakes_are_also_written_otherwise(name):
    assert set(WRONG[name]) == {m.name for m in check.EXERCISES[name].mistakes}
    assert all(len(answers) >= 2 for answers in WRONG[name].values())


@pytest.mark.parametrize("name, k", cases([(e, k) for e, rows in RIGHT.items() for k in range(len(rows))]))
def test_right_answers_are_accepted_however_they_are_written(name, k):
    assert len(RIGHT[name]) >= 2
    for seed in range(3):
        result = check.examine(name, RIGHT[name][k], seed)
        assert result.verdict == "correct", result


@pytest.mark.parametrize("name", cases([(n,) for n in OURS]))
def test_the_reference_is_accepted(name):
    assert all(
        check.examine(name, check.EXERCISES[name].reference, seed).verdict == "correct" for seed in range(3)
    )


@pytest.mark.parametrize("name", cases([(n,) for n in SHOWN]))
def test_what_solution_shows_is_right(name):
    """And is the idea alone: it calls torch, and nothing of the course but other solutions."""
    for seed in range(2):
        assert check.examine(name, SHOWN[name], seed).verdict == "correct"
    used = {SHOWN[name].__globals__.get(called) for called in SHOWN[name].__code__.co_names}
    ours = {f for f in used if getattr(f, "__module__", "").startswith("sslcourse")}
    assert ours <= set(SHOWN.values())


@pytest.mark.parametrize("name", sorted({*OURS, "simclr.nt_xent"}))
def test_solution_shows_a_function_without_names_of_helpers(name, capsys):
    check.solution(name)
    text = capsys.readouterr().out
    (function,) = ast.parse(textwrap.dedent(text)).body
    assert isinstance(function, ast.FunctionDef)
    names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    assert not {n for n in names if n.startswith("_") and n != "_"}


@pytest.mark.parametrize("name", OURS)
def test_hints_lead_and_the_solution_is_shown(name):
    exercise = check.EXERCISES[name]
    assert len(exercise.hints) >= 2 and len(set(exercise.hints)) == len(exercise.hints)
