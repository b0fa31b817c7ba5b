"""Copies of the lessons for the one in front: about thirty open cells, nothing lost; and the run sheets."""

import json

import pytest

from sslcourse.check import EXERCISES
from sslcourse.commands import lessons, present
from sslcourse.commands.parser import main

LESSONS = {name: json.loads(data) for name, data in lessons.notebooks().items() if "/" not in name}


def cell(kind, source, **metadata):
    more = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "source": source, "metadata": metadata, **more}


SMALL = {
    "metadata": {"sslcourse": {"processor_seconds": 65, "cell_seconds": {"3": 60.0, "5": 2.0}}},
    "cells": [
        cell("markdown", "# Title\n" + "word " * 300),
        cell("code", "# " + "long " * 30 + "\nx = 1"),
        cell("markdown", "Text.\n\n## 1. Do (about 7 minutes)\nWhich one finds its partner? Say `why?`."),
        cell("code", 'loss = check("simclr.nt_xent", mine)'),
        cell("markdown", "## 2. See\nLook."),
        cell("code", "picture", tags=["core"]),
        cell("code", 'check("x.y", z)', tags=["more"]),
        cell("code", "aside"),
    ],
}


@pytest.mark.parametrize("name", LESSONS)
def test_a_copy_has_a_short_path_and_loses_nothing(name):
    before = LESSONS[name]
    made = present.presented(before)
    open_ones = [c for c in made["cells"] if "core" in c["metadata"]["tags"]]
    assert 15 <= len(open_ones) <= present.CORE
    for old, new in zip(before["cells"], made["cells"], strict=True):
        folded = "more" in new["metadata"]["tags"]
        assert folded != ("core" in new["metadata"]["tags"])
        assert new["metadata"].get("jupyter", {}).get("source_hidden", False) == folded
        assert old.get("outputs") == new.get("outputs")
        if old["cell_type"] == "code":
            code = [
                "\n".join(
                    line for line in present._source(c).split("\n") if not line.lstrip().startswith("#")
                )
                for c in (old, new)
            ]
            assert code[0] == code[1], "only comments may be broken"
    comments = [line for line in present.long_lines(made) if line.startswith("# ")]
    assert [line for line in comments if not line.startswith("# Holds:")] == []


def test_what_is_open_and_what_is_folded():
    assert present.core(SMALL) == {0, 2, 3, 4, 5}
    made = present.presented(SMALL)["cells"]
    assert made[7]["metadata"]["jupyter"] == {"source_hidden": True, "outputs_hidden": True}
    assert max(map(len, made[1]["source"].split("\n"))) <= 90 and made[1]["source"].endswith("\nx = 1")
    assert made[1]["source"].replace("\n# ", " ").split() == SMALL["cells"][1]["source"].split()


def test_a_run_sheet_adds_up_and_says_the_mistakes():
    sheet = present.run_sheet(SMALL)
    assert "| 1. Do (about 7 minutes) | 8 | 0 | 7 | 60 | 2 + 0 |" in sheet
    assert "| Beginning | 2 | 2 | - | 0 | 1 + 1 |" in sheet and "65 processor seconds" in sheet
    assert "Which one finds its partner?" in sheet and "why?" not in sheet
    for mistake in EXERCISES["simclr.nt_xent"].mistakes:
        assert mistake.name in sheet and mistake.message in sheet
    assert "- 2. See" not in sheet.split("## What to cut")[1], "an exercise stands in it"


def test_lab_puts_them_beside_the_lessons_and_never_over_changes(tmp_path, capsys):
    words = ["lab", str(tmp_path), "--present", "--no-open"]
    assert main(words) == 0 and "run-sheet.md" in capsys.readouterr().out
    names = {p.name for p in tmp_path.iterdir()}
    for name in LESSONS:
        stem = name.removesuffix(".ipynb")
        assert {name, f"{stem}.present.ipynb", f"{stem}.run-sheet.md"} <= names
    mine = tmp_path / "01_simclr.present.ipynb"
    mine.write_text("my own words", encoding="utf-8")
    assert main(words) == 0 and mine.read_text(encoding="utf-8") == "my own words"
    assert main(["lab", str(lessons.folder()), "--present", "--no-open"]) != 0
    assert "name another folder" in "".join(capsys.readouterr())
