"""The README and the result files behind it: short, true, and its ten lines run."""

import json
import pathlib
import re
import sys

import pytest

from sslcourse import claims, compare
from sslcourse.check import engine
from sslcourse.commands.parser import main
from sslcourse.results import tables

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def docs():
    """The modules in docs/ that make tables."""
    sys.path.insert(0, str(ROOT / "docs"))
    import course_tables
    import readme

    yield course_tables, readme
    sys.path.remove(str(ROOT / "docs"))


def own() -> dict[str, dict]:
    """The result files that hold a table as it was printed: name -> content."""
    found = {f.stem: json.loads(f.read_text(encoding="utf-8")) for f in compare.MEASURED.glob("*.json")}
    return {name: page for name, page in found.items() if isinstance(page.get("rows"), list)}


def test_the_readme_is_short():
    assert len(README.encode()) <= 10_000


def test_the_table_of_lessons_is_what_the_result_files_say(docs):
    _, readme = docs
    assert readme.renewed(README) == README, "run: python docs/readme.py"
    worse = re.sub(r"SimCLR [0-9.]+ ±", "SimCLR 12.3 ±", README)
    assert worse != README and readme.renewed(worse) == README
    with pytest.raises(SystemExit, match="needs the comments"):
        readme.renewed("# sslcourse")


def test_the_numbers_of_the_lessons_are_those_of_the_seeds():
    """Computed here, from the files alone."""
    import numpy as np

    rows = json.loads((compare.MEASURED / "toybox.json").read_text())["rows"]
    for lesson, name in (("00_start", "random encoder"), ("01_simclr", "SimCLR"), ("02_bigan", "BiGAN")):
        values = 100 * np.array(rows[name]["linear"])
        (line,) = [line for line in README.splitlines() if line.startswith(f"| [{lesson}]")]
        assert f"{name} {values.mean():.1f} ± {values.std(ddof=1):.1f}" in line


def test_every_lesson_stands_in_the_table_with_its_minutes(docs):
    course_tables, _ = docs
    assert course_tables.names() == sorted(course_tables.QUESTIONS) == sorted(course_tables.NUMBERS)
    assert len(course_tables.names()) == 15
    for row in course_tables.lessons():
        assert 0 < float(row["minutes"].replace("½", ".5")) <= 4 and row["the question"].endswith("?")


@pytest.mark.slow
def test_the_ten_lines_run(capsys, monkeypatch):
    """As they stand, but for two epochs instead of eight."""
    from sslcourse.methods import simclr

    monkeypatch.setattr(simclr, "COURSE", simclr.COURSE.but(epochs=2))

    (block,) = [b for b in re.findall(r"```python\n(.*?)```", README, re.S) if "toybox" in b]
    assert len([line for line in block.splitlines() if line.strip()]) <= 10
    names: dict = {}
    exec(compile(block, "README.md", "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if re.match(r"\d+ \d", line)]) == 2
    report = {line.split("  ")[0]: line.split()[-1] for line in lines if "%" in line}
    assert float(report["SimCLR"].rstrip("%")) > 1.2 * float(report["random encoder"].rstrip("%"))


def test_result_files_say_where_they_come_from():
    """Each has a command that exists, a date, seeds, a device, and rows of equal columns."""
    found = own()
    assert len(found) == 19
    for name, page in found.items():
        assert re.fullmatch(r"2\d{3}-\d\d-\d\d", page["measured"]), name
        assert page["measured"] in page["source"], name
        assert page["seeds"] >= 1 and page["device"] and page["what"] and page["title"], name
        assert len({tuple(row) for row in page["rows"]}) == 1, name
        for command in re.findall(r"sslcourse (\w+)", page["command"]):
            with pytest.raises(SystemExit) as stopped:
                main([command, "--help"])
            assert stopped.value.code == 0, (name, command)
        for table in re.findall(r"sslcourse table (\w+)", page["command"]):
            assert table in tables.names(), (name, table)
        for target in re.findall(r"make (\w+)", page["command"]):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), (name, target)


def test_every_result_stands_on_a_page_and_every_table_of_a_page_exists(docs):
    course_tables, _ = docs
    texts = [file.read_text(encoding="utf-8") for file in (ROOT / "docs").rglob("*.md")]
    named = {name for text in texts for name in re.findall(r"^```\{result\} (.+)$", text, re.M)}
    for name in named:
        assert course_tables.markdown(course_tables.rows(name).rows).count("\n") >= 3, name
    assert set(own()) <= named
    assert {f"claims {paper}" for paper in claims.papers()} <= named
    with pytest.raises(LookupError, match="there are .*table-jigsaw"):
        course_tables.rows("table-nobody")


def test_a_table_says_what_it_waits_for(docs):
    course_tables, _ = docs
    for name in ("wall toybox", "table-jigsaw"):
        found = course_tables.page(name.split()[-1])
        note = course_tables.rows(name).note
        assert ("**Awaits a new measurement:** " + found.get("awaits", "")) in note or "awaits" not in found
    stored = {"command": "c", "what": "w", "seeds": 1, "device": "d", "source": "s"}
    assert course_tables.note_of(stored).endswith("Source: s.")
    assert course_tables.note_of({**stored, "awaits": "more"}).endswith(
        "Source: s. **Awaits a new measurement:** more"
    )


def test_the_stored_exercises_are_the_checkers_own():
    """Mistakes and ways of making them, counted in the checkers as they are now."""
    stored = {row["exercise"].strip("`"): row for row in own()["exercises"]["rows"]}
    all_of = engine.EXERCISES.values()
    now = {e.name: (len(e.mistakes), sum(1 + len(m.also) for m in e.mistakes)) for e in all_of}
    assert {n: (int(r["mistakes"]), int(r["ways of making them"])) for n, r in stored.items()} == now
    assert all(r["mistakes"] == r["rejected by their own message"] for r in stored.values())


def test_columns_that_differ_are_refused(docs):
    course_tables, _ = docs
    assert course_tables.markdown([{"a": "x|y", "b": 1}]) == "| a | b |\n| --- | --- |\n| x\\|y | 1 |"
    with pytest.raises(ValueError, match="columns"):
        course_tables.markdown([{"a": 1}, {"b": 2}])


@pytest.mark.slow
def test_the_lines_on_data_of_ones_own_run(monkeypatch):
    monkeypatch.setenv("SSLCOURSE_DISPLAY", "silent")
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", README, re.S) if "images.arrays" in b]
    names: dict = {}
    exec(compile(block, "README.md", "exec"), names)
    assert [set(row) >= {"loss", "kNN", "linear"} for row in names["panel"].rows] == [True, True]
