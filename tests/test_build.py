"""One source, three notebooks: what students get holds no answer, what teachers get holds all, and stored
files are what is built.
"""

import inspect
import json
import pathlib
import re
import shutil

import build_notebooks as build
import lesson_faults
import lesson_runs
import nbformat
import pytest

from sslcourse import check, show
from sslcourse.check import levels
from sslcourse.check.shown import SHOWN

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
SOURCES = build.sources([])
HOMEWORK = NOTEBOOKS / "source" / "homework" / "simclr.py"


def answers(source: pathlib.Path) -> list[str]:
    """The lines of a source that only the teacher may see, short ones left out that may stand anywhere."""
    text = source.read_text()
    lines = [line.strip() for m in build.REGION.finditer(text) for line in m["answer"].splitlines()]
    for m in build.SHOWN_ANSWER.finditer(text):
        shown = inspect.getsource(SHOWN[m["exercise"]]).rpartition('"""')[
            2
        ]  # what stands below its docstring
        lines += [line.strip() for line in shown.splitlines() if "_loss(discriminator(" not in line]
    return [line for line in lines if len(line) > 30]


def code(notebook) -> list[str]:
    return [c.source for c in notebook.cells if c.cell_type == "code"]


# -------------------------------------------------------------------------------------------- what is in them


def exercises_apart(notebook) -> list[str]:
    """Texts of exercises that are not followed at once by the cell in which the exercise is written."""
    titled = re.compile(r"^(?:#+ (?:\d+\. )?Exercises?\b|\*\*Exercise\b)", re.M)
    after = [*notebook.cells[1:], None]
    return [
        cell.source
        for cell, follows in zip(notebook.cells, after)
        if cell.cell_type == "markdown"
        and titled.search(cell.source)
        and (follows is None or follows.cell_type != "code" or 'check("' not in follows.source)
    ]


EFFORTS = re.compile(r"\((core|more|for the fast), (?:about )?(\d+) minutes\)")


@pytest.mark.parametrize("source", [s for s in SOURCES if not build.is_homework(s)], ids=build.name_of)
def test_headings_of_exercises_say_for_whom_and_how_long(source):
    """As `levels` does, where several exercises stand below a heading for all of them together."""
    said, meant, tasks = [], [], []
    for cell in build.build(source).cells:
        if cell.cell_type == "markdown":
            said += [(level, int(minutes)) for level, minutes in EFFORTS.findall(cell.source)]
            meant += [[]] * (len(said) - len(meant))
        elif said and (names := re.findall(r'check\("([\w.]+)"', cell.source)):
            meant[-1] = [*meant[-1], *(levels.EFFORT[name] for name in names)]
            tasks += names
    assert said == [(m[0].level, sum(e.minutes for e in m)) for m in meant]
    assert all(len({effort.level for effort in m}) == 1 for m in meant)
    if source.stem in check.ASSIGNMENTS:
        assert tasks == [task.exercise for task in check.ASSIGNMENTS[source.stem].tasks]
        assert levels.CORE in {effort.level for m in meant for effort in m}


def test_levels_are_of_exercises_that_there_are():
    in_lessons = {t.exercise for n, a in check.ASSIGNMENTS.items() if n[0].isdigit() for t in a.tasks}
    assert set(levels.EFFORT) == in_lessons <= set(check.EXERCISES)


@pytest.mark.parametrize("source", SOURCES, ids=build.name_of)
def test_an_exercise_is_written_right_below_its_text(source):
    assert exercises_apart(build.build(source)) == []


def test_a_picture_between_an_exercise_and_its_cell_is_found():
    text = '# %% [markdown]\n# ## 4. Exercise: a sum\n\n# %%\nshow.diagram()\n\n# %%\ncheck("sum", mine)\n'
    lesson = build.jupytext.reads(text, fmt="py:percent")
    assert exercises_apart(lesson) == ["## 4. Exercise: a sum"]
    lesson.cells.insert(0, lesson.cells.pop(1))
    assert exercises_apart(lesson) == []


@pytest.mark.parametrize("source", SOURCES, ids=build.name_of)
def test_two_builds_are_equal_to_the_byte(source):
    for solution in (False, True):
        assert build.text_of(build.build(source, solution)) == build.text_of(build.build(source, solution))
    assert build.without_outputs(source) == build.without_outputs(source)


@pytest.mark.parametrize("source", SOURCES, ids=build.name_of)
def test_students_see_no_answer(source):
    text = "\n".join(c.source for c in build.build(source).cells)
    assert "SOLUTION" not in text
    assert [line for line in answers(source) if line in text] == []


@pytest.mark.parametrize(
    "source", [s for s in SOURCES if build.REGION.search(s.read_text())], ids=build.name_of
)
def test_teachers_see_all_answers_and_no_stub(source):
    student, teacher = build.build(source), build.build(source, solution=True)
    text = "\n".join(code(teacher))
    assert "SOLUTION" not in text and not re.search(r"^\s*raise NotImplementedError$", text, re.M)
    assert [line for line in answers(source) if line not in text] == []
    # Cell by cell the same notebook, but for a word to the teacher before it and a check after it.
    own = teacher.cells[1:-1]
    assert len(own) == len(student.cells) and "for the teacher" in teacher.cells[0].source
    regions = len(build.REGION.findall(source.read_text()) + build.SHOWN_ANSWER.findall(source.read_text()))
    assert sum(a.source != b.source for a, b in zip(own, student.cells)) == regions > 0
    assert f'verdicts("{build.name_of(source)}")' in teacher.cells[-1].source


def test_what_a_region_becomes():
    text = "def f():\n    a = 1\n    # BEGIN SOLUTION\n    return a\n    # END SOLUTION\n\nx = 2\n"
    text += "# BEGIN SOLUTION: y = None\ny = 3\nz = 4\n# END SOLUTION\n"
    assert (
        build.for_student(text) == "def f():\n    a = 1\n    raise NotImplementedError\n\nx = 2\ny = None\n"
    )
    assert build.for_teacher(text) == "def f():\n    a = 1\n    return a\n\nx = 2\ny = 3\nz = 4\n"


def test_an_answer_that_is_shown_is_written_once():
    """What it becomes computes what `solution()` shows; who names no such answer is told."""
    import torch

    start = 'def my_updates(x, z, encoder, generator, discriminator):\n    """Two losses."""\n'
    text = f"{start}    # SOLUTION: bigan.updates\n\nx = 2\n"
    assert build.for_student(text) == f"{start}    raise NotImplementedError\n\nx = 2\n"
    told = build.for_teacher(text)
    assert told.startswith(start) and told.endswith("    return d, eg\n\nx = 2\n") and "# " not in told
    names = {
        f"my_{name}": SHOWN[f"bigan.{name}"] for name in ("discriminator_loss", "generator_encoder_loss")
    }
    exec(told, names)
    x, z = torch.randn(6, 4), torch.randn(6, 4)
    game = (x, z, torch.tanh, torch.sin, lambda a, b: (a * b).sum(1))
    assert all(torch.equal(a, b) for a, b in zip(names["my_updates"](*game), SHOWN["bigan.updates"](*game)))
    for wrong, said in (
        (text.replace("bigan.updates", "bigan.nothing"), "no such answer"),
        (text.replace("z, encoder", "encoder, z"), "stands in my_updates"),
        (text.replace("my_updates", "my_loss"), "stands in my_loss"),
    ):
        with pytest.raises(SystemExit, match=said):
            build.for_teacher(wrong)


@pytest.mark.parametrize(
    "text",
    ["# BEGIN SOLUTION\nx = 1\n", "x = 1\n# END SOLUTION\n", "# BEGIN SOLUTION\nx = 1\n    # END SOLUTION\n"],
)
def test_a_marker_without_partner_is_an_error(text, tmp_path):
    source = tmp_path / "02_x.py"
    source.write_text(f"# %%\n{text}")
    for solution in (False, True):
        with pytest.raises(SystemExit, match="has no partner"):
            build.build(source, solution)


def test_homework_is_blank_and_tells_its_points():
    from sslcourse.check import assignment

    whole = assignment("homework_simclr")
    blank = build.build(HOMEWORK)
    text = "\n".join(code(blank))
    for task in whole.tasks:
        stub = re.search(rf"^def {task.function}\(.*\):\n    \"\"\".*\"\"\"\n    (.*)$", text, re.M)
        assert stub[1] == "raise NotImplementedError", task
        assert f'check("{task.exercise}", {task.function})' in text
        prose = "\n".join(c.source for c in blank.cells if c.cell_type == "markdown")
        assert re.search(rf"\| `{task.function}` \| {task.points} \|", prose), task
    assert (
        all(re.search(rf'^{name} = """ """$', text, re.M) for name in whole.written)
        and 'points("homework_simclr")' in text
    )


# --------------------------------------------------------------------------------------------- what is stored


@pytest.fixture
def copy(tmp_path):
    """A folder of notebooks as a build leaves it, but for what is executed."""
    for source in SOURCES:
        for path, text in build.without_outputs(source, tmp_path).items():
            build.write(text, path)
    return tmp_path


def stored(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted([*(folder / "homework").glob("*.ipynb"), *(folder / "solutions").glob("*.ipynb")])


def test_a_planted_difference_is_noticed(copy):
    problems = lambda sources: [
        p for s in sources for p in build.differences(s, copy) if "homework/" in p or "solutions/" in p
    ]
    assert problems(SOURCES) == [] and len(stored(copy)) >= 3
    for path in stored(copy):
        data = path.read_bytes()
        name = str(path.relative_to(copy))
        own = [
            s
            for s in SOURCES
            if build.is_homework(s) == ("homework" in name) and path.stem.removeprefix("homework_") == s.stem
        ]
        assert len(own) == 1, name
        for changed in (
            data.replace(b"import", b"Import", 1),
            data + b"\n",
            data.replace(b'"outputs": []', b'"outputs": [1]', 1),
        ):
            assert changed != data
            path.write_bytes(changed)
            assert problems(own) == [f"{name} is not what its source builds"]
        path.unlink()
        assert problems(own) == [f"{name} is missing"]
        path.write_bytes(data)
    assert problems(SOURCES) == []


def test_a_notebook_without_source_is_noticed(copy):
    for name in ("homework/old.ipynb", "solutions/99_old.ipynb", "98_old.ipynb"):
        shutil.copy(stored(copy)[0], copy / name)
    assert sorted(build.orphans(copy)) == [
        "98_old.ipynb has no source",
        "homework/old.ipynb has no source",
        "solutions/99_old.ipynb has no source",
    ]


def test_a_changed_lesson_is_noticed(tmp_path):
    source = NOTEBOOKS / "source" / "00_start.py"
    notebook = build.build(source)
    for number, cell in enumerate([c for c in notebook.cells if c.cell_type == "code"], 1):
        cell.execution_count = number
    path = tmp_path / "00_start.ipynb"

    def said(change) -> list[str]:
        changed = nbformat.from_dict(json.loads(json.dumps(notebook)))
        change(changed)
        path.write_text(build.text_of(changed))
        return build.differences(source, tmp_path)

    first = lambda n: next(c for c in n.cells if c.cell_type == "code")
    error = nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])
    (empty,) = shown(show.table([{"": "measured", "J": ""}])).cells[0].outputs
    assert said(lambda n: None) == []
    assert "cells of its source" in said(lambda n: n.cells[3].update(source="1"))[0]
    assert "top to bottom" in said(lambda n: first(n).update(execution_count=None))[0]
    assert "stores an error" in said(lambda n: first(n).outputs.append(error))[0]
    assert "shows an empty table" in said(lambda n: first(n).outputs.append(empty))[0]
    assert "widget state" in said(lambda n: n.metadata.update(widgets={}))[0]
    assert (
        "the limit is"
        in said(lambda n: first(n).outputs.append(nbformat.v4.new_output("stream", text="x" * build.LIMIT)))[
            0
        ]
    )
    path.unlink()
    assert build.differences(source, tmp_path) == ["00_start.ipynb is missing"]


# ------------------------------------------------------------------------------------ what no lesson shows


def shown(table) -> nbformat.NotebookNode:
    """A notebook with one cell that shows a table."""
    output = nbformat.v4.new_output("display_data", data={"text/html": table._repr_html_()})
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("table", outputs=[output])])


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([], "an empty table"),
        ([{"": "measured", "first": "", "second": None}], "nothing in the row 'measured'"),
        ([{"name": "a", "J": None, "F": 1.0}, {"name": "b", "J": "", "F": 2.0}], "nothing in the column 'J'"),
        ([{"name": "a", "J": float("nan")}], "'nan' in a table, column 'J'"),
        ([{"name": "a", "J": (0.5, float("nan"))}], "in a table, column 'J'"),
        ([{"name": "a", "J": f"{float('inf'):.1f} %"}], "'inf %' in a table, column 'J'"),
    ],
)
def test_a_planted_table_is_a_fault(rows, fault):
    assert any(fault in found for found in lesson_faults.of_outputs(shown(show.table(rows, columns=None))))


@pytest.mark.parametrize(
    "rows",
    [
        [{"": "you expected", "best": None}, {"": "measured", "best": "flow"}],
        [{"place": 1, "you expected": "", "measured": "SimCLR"}],
        [
            {"task": "jigsaw", "solved": 0.5, "filled": ""},
            {"task": "inpainting", "solved": "", "filled": 0.4},
        ],
        [{"name": "a nanosecond, to infinity", "value": -0.5}],
    ],
)
def test_an_open_prediction_and_a_gap_are_none(rows):
    assert lesson_faults.of_outputs(shown(show.table(rows))) == []


def test_a_number_that_is_none_is_noticed_in_print_too():
    cell = nbformat.v4.new_code_cell("print", outputs=[nbformat.v4.new_output("stream", text="a\nJ nan\n")])
    assert lesson_faults.of_outputs(nbformat.v4.new_notebook(cells=[cell])) == ["cell 0 prints 'J nan'"]


@pytest.mark.parametrize(
    "code",
    [
        "show.bars({k: max(0.0, v) for k, v in gap.items()})",
        "gap = {k: max(v, 0) for k, v in lead.items()}\nrows = [gap]\nshow.table(rows)",
        "show.curve(x, {'a': (y - z).clamp(min=0).tolist()})",
        "show.curve(x, {'a': np.maximum(0, y)})",
        "show.history(rows, baselines={'a': torch.relu(y)})",
    ],
)
def test_an_axis_that_is_cut_off_is_an_error(code, tmp_path):
    assert lesson_faults.of_source([code]) != []
    source = tmp_path / "02_x.py"
    source.write_text(f"# %%\n{code}\n")
    with pytest.raises(SystemExit, match="cut off at 0"):
        build.build(source)


def test_what_is_cut_off_elsewhere_is_none():
    """Pixels for the screen, the larger of two, a guard of a loss that is not shown."""
    assert (
        lesson_faults.of_source(
            [
                "show.grid(pictures.clamp(0, 1))",
                "show.bars({'a': max(1, x), 'b': min(0, y), 'c': max(found, key=len)})",
                "def loss(d):\n    return max(0, 1 - d)",
            ]
        )
        == []
    )


@pytest.mark.parametrize("rows", [[{"": "measured", "a": ""}], [{"": "measured", "a": "good"}]])
def test_a_lesson_with_a_fault_is_not_stored(rows, tmp_path, monkeypatch):
    source = tmp_path / "02_x.py"
    source.write_text("# %%\n1\n")
    for name, value in {
        "sources": lambda names: [source],
        "NOTEBOOKS": tmp_path,
        "RECORDED": tmp_path / "ran",
    }.items():
        monkeypatch.setattr(build, name, value)

    def execute(notebook, states):
        notebook.cells[0].outputs = shown(show.table(rows)).cells[0].outputs
        return 1.0

    monkeypatch.setattr(build, "execute", execute)
    monkeypatch.setattr(build.sys, "argv", ["build_notebooks.py"])
    if rows[0]["a"]:
        assert build.main() == 0 and (tmp_path / "02_x.ipynb").exists()
    else:
        with pytest.raises(SystemExit, match="02_x is not stored: cell 0 shows an empty table"):
            build.main()
        assert not (tmp_path / "02_x.ipynb").exists()


def test_names_on_the_command_line():
    assert {"00_start", "01_simclr", "homework_simclr"} <= {build.name_of(s) for s in SOURCES}
    assert build.sources(["homework_simclr"]) == [HOMEWORK]
    with pytest.raises(SystemExit, match="no source for 77_x"):
        build.sources(["77_x"])


# ---------------------------------------------------------------------------------------------- they run


def printed(notebook) -> str:
    return "\n".join(
        o.text
        for c in notebook.cells
        if c.cell_type == "code"
        for o in c.outputs
        if o.output_type == "stream" and o.name == "stdout"
    )


@pytest.mark.slow
@pytest.mark.parametrize("solution", [False, True], ids=["blank", "solved"])
def test_the_homework_runs_to_its_end(solution):
    """Blank it goes on with the reference and earns nothing; solved it earns every point; both in time."""
    notebook = build.build(HOMEWORK, solution)
    spent = build.execute(notebook)
    said = printed(notebook)
    assert spent < lesson_runs.allowed()
    assert f"homework_simclr: {15 if solution else 0} of 15 points so far" in said
    assert said.count("going on with the reference") == (0 if solution else 5)
    pictures = [
        o
        for c in notebook.cells
        if c.cell_type == "code"
        for o in c.outputs
        if "image/png" in o.get("data", {})
    ]
    assert len(pictures) == 2
