"""What the papers printed, beside what is measured here: the numbers fit each other, and the correction for
many claims is that of its definition."""

import itertools
import json
import re

import pytest
from scipy import stats

from sslcourse import claims, papers, wall
from sslcourse.results.papers import engine
from sslcourse.runtime.errors import CourseError


def numbers(text):
    return {float(n) for n in re.findall(r"\d+\.\d+", text)}


@pytest.mark.parametrize("name", papers.names())
def test_a_papers_numbers_are_complete_and_fit_each_other(name):
    page = json.loads((engine._FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert set(page) == {"papers", "tables", "claims"}
    assert all(re.search(r"arXiv:\d{4}\.\d{4,5}|github\.com/", p) for p in page["papers"])
    known = {c.name for c in claims.paper(name).CLAIMS}
    assert set(page["claims"]) <= known, "a number for a claim that nobody makes"
    printed, apart = set(), set()
    for table in page["tables"]:
        assert set(table) == {"table", "what", "columns", "rows", "paper", "note"}
        assert 0 <= table["paper"] < len(page["papers"]) and len(set(table["columns"])) == len(
            table["columns"]
        )
        assert table["rows"] and all(len(row) == len(table["columns"]) for row in table["rows"])
        columns = list(zip(*table["rows"]))
        assert all(any(v is not None for v in column) for column in columns), "an empty column"
        printed |= {float(v) for row in table["rows"] for v in row if isinstance(v, float)} | numbers(
            table["note"]
        )
        printed |= {
            float(v)
            for row in table["rows"]
            for v in row
            if isinstance(v, str) and re.fullmatch(r"0\.\d+", v)
        }
        for column in columns:
            values = [v for v in column if isinstance(v, float)]
            apart |= {round(a - b, 1) for a, b in itertools.permutations(values, 2)}
    for claim, text in page["claims"].items():
        missing = numbers(text) - printed
        assert missing <= apart, f"{claim}: {missing} stands in no table of the paper"


def test_tables_show_themselves_as_they_were_printed():
    table = papers.reported("bigan").table("table 1")
    assert "97.39" in repr(table) and "Donahue et al." in repr(table)
    simclr = papers.reported("simclr")
    assert "89.0" in repr(simclr.table("table 6")) and "<table" in simclr._repr_html_()
    assert "None" not in repr(simclr) and "nan" not in repr(simclr)
    with pytest.raises(CourseError, match="table 1"):
        papers.reported("bigan").table("table 9")
    with pytest.raises(CourseError, match="bigan"):
        papers.reported("biggan")


@pytest.mark.parametrize("name", claims.papers())
def test_findings_tell_every_claim_once(name, tmp_path):
    table = papers.findings(name, tmp_path)
    there = {row["text"] for row in wall.verdicts(tmp_path) if row["paper"] == name}
    known = [c for c in claims.paper(name).CLAIMS if c.text in there]  # what was measured
    assert len(known) >= 5
    assert [row["claim"].split(" (")[0] for row in table.rows] == [c.text.split(" (")[0] for c in known]
    for row in table.rows:
        assert row["verdict"] in ("pass", "fail", "inconclusive") and row["effect here"]
        if row["with Holm"] != "inconclusive":  # the correction takes verdicts away and gives none
            assert row["with Holm"] == row["verdict"]
    if name in papers.names():
        told = [row["in the paper"] for row in table.rows if not row["in the paper"].startswith("(")]
        assert sorted(told) == sorted(papers.reported(name).claims.values())


def test_holm_is_the_closed_test():
    """Each claim is decided where every set of claims that holds it is rejected by Bonferroni."""
    import numpy as np

    rng = np.random.default_rng(0)
    for _ in range(40):
        effects = [tuple(rng.normal(shift, 1, 5)) for shift in rng.choice([0, 1, -2, 3], size=5)]
        p = [float(stats.ttest_1samp(e, 0).pvalue) for e in effects]
        sets = [s for k in range(1, 6) for s in itertools.combinations(range(5), k)]
        expected = []
        for i, values in enumerate(effects):
            decided = all(min(p[j] for j in s) < 0.05 / len(s) for s in sets if i in s)
            sign = "pass" if sum(values) > 0 else "fail"
            expected.append(sign if decided else "inconclusive")
        assert papers.holm(effects) == expected
    assert papers.holm([(0.1,), (0.0, 0.0), (1.0, 1.0)]) == ["inconclusive", "inconclusive", "pass"]
