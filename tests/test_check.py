"""Every exercise accepts right answers and rejects each of its plausible wrong answers by that mistake's own
message.
"""

import base64
import dataclasses
import functools
import json
import os
import pathlib
import sys

import pytest
import torch
import torch.nn.functional as F
from wrong_answers import RIGHT_OTHERWISE, WRITTEN_OTHERWISE

from sslcourse import check, runtime
from sslcourse.check import engine, simclr as simclr_exercises
from sslcourse.commands.parser import main
from sslcourse.methods import simclr
from sslcourse.runtime.errors import CourseError
from sslcourse.transforms import augment

# a second for each answer, and more for each mistake that it is held against
TRAINS = "simclr.compare_temperatures"


def cases(rows, mark=pytest.mark.slow):
    """Rows as parameters, by the name of an exercise that stands first; those that train are for `make test`
    only, or for another mark.
    """
    return [
        pytest.param(*row, id=": ".join(map(str, row)), marks=[mark] * (row[0] == TRAINS)) for row in rows
    ]


OURS = [
    n for n in check.EXERCISES if n.startswith("simclr.")
]  # another chapter's exercises have tests of their own
CASES = [(n, m.name) for n in OURS for m in check.EXERCISES[n].mistakes]
OTHERS = [
    (name, mistake, k)
    for name, mistakes in WRITTEN_OTHERWISE.items()
    for mistake, answers in mistakes.items()
    for k in range(len(answers))
]


@pytest.fixture(autouse=True)
def no_progress(monkeypatch):
    monkeypatch.setattr(engine, "_records", {})


# ----------------------------------------------------------------------------------------- mistakes are named


@pytest.mark.parametrize("name, mistake", cases(CASES))
def test_each_mistake_is_named(name, mistake):
    (mistake,) = [m for m in check.EXERCISES[name].mistakes if m.name == mistake]
    for wrong in (mistake.wrong, *mistake.also):
        result = check.examine(name, wrong)
        assert (result.verdict, result.mistake, result.message) == ("not yet", mistake.name, mistake.message)
        assert (
            result.found
            and result.found in str(result)
            and mistake.message in str(result)
            and mistake.name in str(result)
        )


@pytest.mark.parametrize("seed", [7, pytest.param(0, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("name, mistake, k", cases(OTHERS, pytest.mark.nightly))
def test_each_mistake_is_named_however_it_is_written(name, mistake, k, seed):
    result = check.examine(name, WRITTEN_OTHERWISE[name][mistake][k], seed)
    assert (result.verdict, result.mistake) == ("not yet", mistake), result


@pytest.mark.parametrize("name", WRITTEN_OTHERWISE)
def test_all_mistakes_are_also_written_otherwise(name):
    assert set(WRITTEN_OTHERWISE[name]) == {m.name for m in check.EXERCISES[name].mistakes}
    assert all(len(answers) >= 2 for answers in WRITTEN_OTHERWISE[name].values())


def test_every_exercise_of_simclr_has_other_versions():
    assert set(WRITTEN_OTHERWISE) == set(RIGHT_OTHERWISE) == set(OURS)


@pytest.mark.parametrize("name", cases([(n,) for n in WRITTEN_OTHERWISE]))
def test_what_gave_it_away_holds_both_values(name):
    """The text says what was expected and what came, whichever property failed."""
    for mistake in check.EXERCISES[name].mistakes:
        found = check.examine(name, mistake.wrong).found
        assert ": expected " in found and ", got " in found.split(": expected ")[1], found


@pytest.mark.parametrize("name", OURS)
def test_the_reference_is_correct_under_other_seeds(name):
    for seed in (0, 3, 2**40 + 1):
        assert check.examine(name, check.EXERCISES[name].reference, seed).verdict == "correct"


@pytest.mark.parametrize("name", cases([(n,) for n in RIGHT_OTHERWISE]))
def test_other_right_answers_are_correct(name):
    for answer in RIGHT_OTHERWISE[name]:
        for seed in (0, 5):
            result = check.examine(name, answer, seed)
            assert result.verdict == "correct", result


@pytest.mark.parametrize(
    "answer, match",
    [
        (lambda a, b, t: simclr.nt_xent(a, b, t) + 0.1, "expected 3.1938, got 3.2938"),
        (lambda a, b, t: simclr.nt_xent(a, b, t).item(), "expected a tensor, got float"),
        (lambda a, b, t: simclr.nt_xent(a, b, t)[None], r"expected \(\), got \(1,\)"),
        (lambda a, b, t: torch.log((F.cosine_similarity(a, b) / t).exp() - 1e9).mean(), "log of 0.*got nan"),
        (lambda a, b, t: simclr.nt_xent(a, b[:, :2], t), "z1 is"),
        (lambda a, b, t: simclr.nt_xent(F.normalize(a, dim=1, out=a), b, t), "in place"),
        (lambda a, b, t: simclr.nt_xent(a, b, t) if a.dtype != torch.bfloat16 else a.sum(), "half precision"),
        (lambda a, b, t: simclr.nt_xent(a, b, max(t, 0.05)) / (t != 0.01), "temperature 0.01"),
        (
            lambda a, b, t: simclr.nt_xent(a, b, t) + 0 * a.sum() + (a - a.detach()).sum(),
            "gradient that reaches z1",
        ),
    ],
)
def test_other_wrong_answers_get_the_offending_value(answer, match):
    import re

    result = check.examine("simclr.nt_xent", answer)
    assert result.verdict == "not yet" and re.search(
        match, f"{result.mistake} {result.message} {result.found}"
    ), result


def test_views_of_the_wrong_kind():
    found = lambda answer: check.examine("simclr.two_views", answer).found
    assert "two tensors: first, second, got Tensor" in found(lambda x: x[0])
    assert "between 0 and 1" in found(lambda x: (x * 3 - 1, x))
    assert "keep (B, 3, H, W)" in found(lambda x: (x[:, :, :8], x))
    assert "uint8" in found(
        lambda x: tuple(augment.simclr_view()(x) * (255 if x.dtype == torch.uint8 else 1) for _ in range(2))
    )
    assert "not grey" in found(lambda x: tuple(augment.simclr_view(greyscale=1.0)(x) for _ in range(2)))


# ---------------------------------------------------------------------------------------------- seeds


def by_heart(a, b, temperature, known={}):  # noqa: B006 (kept between calls on purpose)
    """Looks the answer up: what the function saw while its author worked, under seed 0."""
    key = (float(a.detach().double().sum()), float(b.detach().double().sum()), temperature)
    if by_heart.learning:
        known[key] = simclr.nt_xent(a, b, temperature)
        return known[key]
    return known.get(key, a.sum() + b.sum())


def test_an_answer_that_knows_values_by_heart_fails_under_another_seed():
    by_heart.learning = True
    assert check.examine("simclr.nt_xent", by_heart, seed=0).verdict == "correct"
    by_heart.learning = False
    assert by_heart(*simclr_exercises.pairs(6, 5, 0, 1), 0.5) == simclr.nt_xent(
        *simclr_exercises.pairs(6, 5, 0, 1), 0.5
    )
    assert check.examine("simclr.nt_xent", by_heart, seed=1).verdict == "not yet"


@pytest.mark.parametrize("name", OURS)
def test_the_inputs_depend_on_the_seed(name):
    """Every call of an answer under one seed gets other numbers than the same call under another."""

    def fingerprint(value):
        if isinstance(value, torch.Tensor):
            return [float(value.detach().double().sum())]
        if hasattr(value, "train") and hasattr(value, "validation"):
            return [float(part.image.double().sum()) + float(part._label.double().sum()) for part in value]
        return []

    def seen(seed):
        calls = []

        def spy(*arguments):
            calls.append(sum((fingerprint(a) for a in arguments), []))
            return check.EXERCISES[name].reference(*arguments)

        assert check.examine(name, spy, seed).verdict == "correct"
        return calls

    first, again, other = seen(0), seen(0), seen(1)
    assert first == again
    closed_forms = sum(a == b for a, b in zip(first, other))  # equal vectors are equal under every seed
    assert closed_forms <= 1 and len(first) >= 2


def test_checking_leaves_everything_as_it_was():
    profile = runtime.Profile("cpu", 2, True, "bfloat16")
    runtime.use_profile(profile)
    torch.manual_seed(3)
    first = torch.rand(1)
    torch.manual_seed(3)
    with torch.no_grad():
        for name in OURS:
            assert check.examine(name, check.EXERCISES[name].reference).verdict == "correct"
        assert not torch.is_grad_enabled()
    assert torch.equal(first, torch.rand(1))
    assert runtime.profile() == profile and torch.get_num_threads() == 2


# ---------------------------------------------------------------------------------------------- not attempted


def stub(z1, z2, temperature):
    raise NotImplementedError


def three_dots(z1, z2, temperature): ...


def passes(z1, z2, temperature):
    """To do."""
    pass


def returns_none(z1, z2, temperature):
    return None


@pytest.mark.parametrize("answer", [stub, three_dots, passes, returns_none, lambda a, b, t: None, None, ...])
def test_not_attempted(answer, capsys):
    assert check.check("simclr.nt_xent", answer) is simclr.nt_xent
    out = capsys.readouterr().out
    assert "not attempted" in out and "going on with the reference" in out
    if answer is stub:
        assert "still raises NotImplementedError" in out
    elif callable(answer):
        assert "no body yet: it does nothing and returns None" in out


def test_an_attempt_is_told_from_a_stub():
    def forgot_return(a, b, t):
        simclr.nt_xent(a, b, t)

    def lacks_an_operation(a, b, t):
        return torch.zeros(3, dtype=torch.complex64).lgamma()  # torch raises NotImplementedError itself

    assert check.examine("simclr.nt_xent", forgot_return).found.endswith("expected a tensor, got NoneType")
    result = check.examine("simclr.nt_xent", lacks_an_operation)
    assert (result.verdict, result.mistake) == (
        "not yet",
        "it raises an error",
    ) and "NotImplementedError" in result.found
    assert check.examine("simclr.nt_xent", functools.partial(simclr.nt_xent)).verdict == "correct"
    for thing in (3.2, torch.tensor(1.0), "nt_xent"):
        assert check.examine("simclr.nt_xent", thing).mistake == "not a function"


def test_an_error_shows_the_students_own_line():
    def deep(a, b, t):
        return F.cross_entropy(a @ b, torch.arange(len(a)))

    result = check.examine("simclr.nt_xent", deep)
    assert result.mistake == "it raises an error" and "return F.cross_entropy(a @ b" in result.found

    def leaves(a, b, t):
        sys.exit("done")

    assert "SystemExit: done" in check.examine("simclr.nt_xent", leaves).found


# ---------------------------------------------------------------------------------------------- in a notebook


def test_correct_answers_are_handed_back(capsys):
    mine = RIGHT_OTHERWISE["simclr.nt_xent"][1]
    assert check.check("simclr.nt_xent", mine) is mine
    assert capsys.readouterr().out == "✓ simclr.nt_xent: correct\n"


def test_progress_counts_tries_mistakes_and_hints(capsys):
    assert "nothing has been checked yet" in repr(check.progress())
    wrong = {m.name: m.wrong for m in check.EXERCISES["simclr.nt_xent"].mistakes}
    check.check("simclr.nt_xent", stub)
    check.check("simclr.nt_xent", wrong["no normalisation"])
    check.hint("simclr.nt_xent", 2)
    check.check("simclr.nt_xent", wrong["sum for mean"])
    check.check("simclr.nt_xent", wrong["sum for mean"])
    check.solution("simclr.nt_xent")
    check.check("simclr.nt_xent", simclr.nt_xent)
    check.check("simclr.two_views", ...)
    table = check.progress()
    assert table.rows == [
        dict(
            zip(
                table.columns,
                ("simclr.nt_xent", "✓ correct", 4, "no normalisation, sum for mean", "2, solution"),
            )
        ),
        dict(zip(table.columns, ("simclr.two_views", "… not attempted", 0, "", ""))),
    ]
    assert (
        table.caption == "1 of 2 exercises correct"
        and "<table" in table._repr_html_()
        and "sum for mean" in repr(table)
    )


def test_a_lesson_closes_with_its_exercises(capsys):
    check.check("simclr.two_views", lambda x: (x, x))
    check.check("simclr.nt_xent", simclr.nt_xent)
    capsys.readouterr()
    check.lesson("01")
    assert capsys.readouterr().out.splitlines() == [
        "01_simclr: 1 of 2 exercises correct",
        "  ✓ simclr.nt_xent: correct",
        "  ✗ simclr.two_views: not yet",
    ]
    assert check.verdicts("01_simclr") == {"simclr.nt_xent": "correct", "simclr.two_views": "not yet"}
    with pytest.raises(CourseError, match="01_simclr"):
        check.lesson("99_nothing")


def test_points_of_a_homework(capsys):
    check.check("simclr.nt_xent", simclr.nt_xent)
    check.check("simclr.contrastive_accuracy", lambda a, b: 100 * simclr.partner_found(a, b))
    capsys.readouterr()
    check.points("homework_simclr")
    out = capsys.readouterr().out
    assert out.startswith("homework_simclr: 4 of 15 points so far")
    assert (
        "0 of 2  not yet (per cent for a share)" in out
        and out.count("not attempted") == 3
        and "read by your teacher" in out
    )
    for name in OURS:
        engine._records[name] = engine._Record("correct")
    check.points("homework")
    assert "15 of 15 points" in capsys.readouterr().out


@pytest.fixture
def shown(monkeypatch):
    """What IPython is asked to display, with a notebook pretended."""
    IPython = pytest.importorskip("IPython")
    pictures = []
    monkeypatch.setenv("SSLCOURSE_DISPLAY", "notebook")
    monkeypatch.setattr(IPython.display, "display", lambda *things, **named: pictures.extend(things))
    return pictures


@pytest.mark.parametrize("name", [n for n in OURS if check.EXERCISES[n].picture is not None])
def test_a_wrong_answer_is_drawn_beside_the_target(name, shown, capsys):
    exercise = check.EXERCISES[name]
    for mistake in exercise.mistakes[:3]:
        shown.clear()
        check.check(name, mistake.wrong)
        (picture,) = shown
        assert picture._repr_png_()[:4] == b"\x89PNG" and "no picture" not in capsys.readouterr().out
    shown.clear()
    check.check(name, exercise.reference)
    assert shown == []


def test_the_pictures_differ_where_the_answers_do(shown):
    pictures = set()
    for mistake in check.EXERCISES["simclr.nt_xent"].mistakes:
        check.check("simclr.nt_xent", mistake.wrong)
        pictures.add(shown[-1]._repr_png_())
    assert len(pictures) == len(check.EXERCISES["simclr.nt_xent"].mistakes)


@pytest.mark.slow
def test_the_picture_is_stored_in_a_real_notebook():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    text = (
        "from sslcourse.check import check\nfrom wrong_answers import NT_XENT\ncheck('simclr.nt_xent', "
        "NT_XENT['wrong partner'][0]);"
    )
    path = f"import sys\nsys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})"
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(path), nbformat.v4.new_code_cell(text)]
    )
    environment = {k: v for k, v in os.environ.items() if k != "SSLCOURSE_DISPLAY"}
    nbclient.NotebookClient(notebook, timeout=120).execute(env=environment)
    outputs = notebook.cells[1].outputs
    assert "not yet (wrong partner)" in outputs[0].text
    (picture,) = [o.data for o in outputs if o.output_type == "display_data"]
    assert base64.b64decode(picture["image/png"])[:4] == b"\x89PNG" and picture["text/plain"].startswith(
        "<picture of"
    )


def test_an_answer_that_cannot_be_drawn_is_said_to_be_so(shown, capsys):
    check.check("simclr.nt_xent", lambda a, b, t: "a word")
    assert shown == [] and "no picture: drawing this answer raised" in capsys.readouterr().out


def test_no_picture_in_a_plain_terminal(monkeypatch, capsys):
    exercise = check.EXERCISES["simclr.nt_xent"]
    watched = dataclasses.replace(exercise, picture=lambda answer: pytest.fail("a picture was drawn"))
    monkeypatch.setitem(check.EXERCISES, exercise.name, watched)
    for display in ("terminal", "silent"):
        monkeypatch.setenv("SSLCOURSE_DISPLAY", display)
        check.check("simclr.nt_xent", lambda a, b, t: a.sum())
        assert "not yet" in capsys.readouterr().out


def test_help(capsys):
    check.hint("simclr.nt_xent", 2)
    check.solution("simclr.two_views")
    out = capsys.readouterr().out
    assert "hint 2 of 3" in out and "def two_views" in out
    with pytest.raises(CourseError, match="hints 1 to 3"):
        check.hint("simclr.nt_xent", 4)
    with pytest.raises(CourseError, match="simclr.nt_xent"):
        check.examine("simclr.ntxent", simclr.nt_xent)
    with pytest.raises(CourseError, match="no exercise"):
        check.assign(check.Assignment("x", (check.Task("simclr.ntxent", "f"),)))


# ----------------------------------------------------------------------------------------- the mutation table


def test_the_mutation_table_is_printed_and_its_code_is_0(capsys):
    assert main(["exercises", "simclr.nt_xent", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [r["mistake"] for r in rows] == [
        "none: the reference",
        *(m.name for m in check.EXERCISES["simclr.nt_xent"].mistakes),
    ]
    assert all(
        r["named"] and r["rejected"] == (r["mistake"] != "none: the reference") and r["seconds"] > 0
        for r in rows
    )
    assert main(["exercises", "simclr.two_views"]) == 0
    out = capsys.readouterr().out
    assert "one augmentation for the whole batch" in out and "8 of 8 mistakes" in out
    assert main(["exercises", "simclr.nonsense"]) == 2


def test_a_checker_that_misses_a_mistake_is_found_out(monkeypatch, capsys):
    exercise = check.EXERCISES["simclr.nt_xent"]
    blind = check.Mistake("a new one", "its text", lambda a, b, t: simclr.nt_xent(a, b, t) * 3)
    changed = check.Exercise(
        exercise.name,
        exercise.reference,
        exercise.properties,
        (*exercise.mistakes, blind),
        lambda f, g: False,
        exercise.hints,
    )
    monkeypatch.setitem(check.EXERCISES, exercise.name, changed)
    assert main(["exercises", exercise.name]) == 1
    assert "NO" in capsys.readouterr().out
    lazy = check.Exercise(
        exercise.name, exercise.reference, lambda f: None, exercise.mistakes, exercise.same, exercise.hints
    )
    monkeypatch.setitem(check.EXERCISES, exercise.name, lazy)
    assert not any(r["rejected"] for r in check.mutations([exercise.name]))


def test_exercises_without_seeds_work_as_they_are():
    """Properties, sameness and pictures may take the seed or leave it."""

    def properties(f):
        if f(2) != 4:
            raise check.NotYet(f"f(2) is {f(2)}")

    doubled = check.Mistake("added", "Multiply.", lambda x: x + 1)
    plain = check.Exercise(
        "test.square", lambda x: x * x, properties, (doubled,), lambda f, g: f(5) == g(5), ("x * x",)
    )
    check.register(plain)
    try:
        assert check.examine("test.square", lambda x: x**2, seed=4).verdict == "correct"
        result = check.examine("test.square", lambda x: 1 + x)
        assert (result.mistake, result.found) == ("added", "f(2) is 3")
        result = check.examine("test.square", lambda x: 7)
        assert (result.mistake, result.message) == (None, "f(2) is 7") and str(result).count("f(2) is 7") == 1
    finally:
        del check.EXERCISES["test.square"]
