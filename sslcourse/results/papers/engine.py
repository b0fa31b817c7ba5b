"""From the JSON files beside this module, and the result files of `sslcourse claims`, to tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sslcourse import show
from sslcourse.results import claims, wall
from sslcourse.runtime.errors import CourseError

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class ReportedTable:
    """One table of a paper: `rows` as long as `columns`; numbers in the unit that `what` names; None where
    the paper has no number."""

    name: str
    what: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | None, ...], ...]
    source: str
    note: str = ""

    def table(self) -> show.Table:
        caption = f"{self.source.split(',')[0]}, {self.name}. {self.what}"
        # As the paper printed them: 89.0 and not 89, 0.3 and not 0.300.
        rows = [
            [f"{v:.{self._places(i)}f}" if isinstance(v, float) else v for i, v in enumerate(r)]
            for r in self.rows
        ]
        note = f" ({self.note})" if self.note else ""
        return show.table([dict(zip(self.columns, r)) for r in rows], list(self.columns), caption + note)

    def _places(self, column: int) -> int:
        """Digits behind the point: those of the column; of the whole table where a column is one number."""
        columns = [column] if len(self.rows) > 1 else range(len(self.columns))
        texts = [str(r[i]) for r in self.rows for i in columns if isinstance(r[i], float)]
        return max(len(t.split(".")[1]) for t in texts)


@dataclass(frozen=True)
class Reported:
    """What a paper (or two on one subject) printed. Shows itself as all of its tables and their sources."""

    name: str
    papers: tuple[str, ...]
    tables: tuple[ReportedTable, ...]
    claims: dict[str, str]  # name of a claim -> the paper's number for it

    def table(self, name: str) -> show.Table:
        """One of its tables by name, such as "table 1"; the first of that name.

        Raises:
            CourseError: there is none of that name.
        """
        for one in self.tables:
            if one.name == name:
                return one.table()
        raise CourseError(
            f"no {name!r} of {self.name!r} is kept; there are {', '.join(t.name for t in self.tables)}"
        )

    def __repr__(self):
        sources = [f"  {p}" for p in self.papers]
        return "\n\n".join([*(repr(t.table()) for t in self.tables), "\n".join(["From", *sources])])

    def _repr_html_(self):
        from html import escape

        gap = "<div style='height:1em'></div>"
        sources = "<br>".join(escape(p) for p in self.papers)
        tables = gap.join(t.table()._repr_html_() for t in self.tables)
        return f"{tables}<p style='color:inherit;padding:2px 10px'>From {sources}</p>"


def names() -> tuple[str, ...]:
    """The papers whose numbers are kept, by the names of their claims."""
    return tuple(sorted(p.stem for p in _FOLDER.glob("*.json")))


def reported(name: str) -> Reported:
    """The tables of a paper, as it printed them.

    Args:
        name: as `claims.papers()` has it, such as "bigan".

    Raises:
        CourseError: no numbers of that name are kept.
    """
    if name not in names():
        raise CourseError(f"no numbers of {name!r} are kept; there are those of {', '.join(names())}")
    page = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    tables = tuple(
        ReportedTable(
            t["table"],
            t["what"],
            tuple(t["columns"]),
            tuple(tuple(row) for row in t["rows"]),
            page["papers"][t["paper"]],
            t["note"],
        )
        for t in page["tables"]
    )
    return Reported(name, tuple(page["papers"]), tables, dict(page["claims"]))


def findings(name: str, folder: str | Path = wall.FOLDER) -> show.Table:
    """Each claim of a paper: what the paper found, what is found here, and whether that settles it.

    Args:
        name: as `claims.papers()` has it.
        folder: where your own results lie (`sslcourse claims NAME` writes them); without them those that
            come with the course are shown.

    Returns: a table. "in the paper" is its number, or in brackets where it says so; "effect here" is the mean
        over seeds ± their standard deviation, positive where the paper is right; "verdict" is read off the
        interval alone, "with Holm" after the correction for the number of claims of this paper (see `holm`).
    """
    if name not in claims.papers():
        raise CourseError(
            f"no claims of {name!r} are written down; there are those of {', '.join(claims.papers())}"
        )
    found = [v for v in wall.verdicts(folder) if v["paper"] == name]
    if not found:
        raise CourseError(f"the claims of {name!r} were never measured here; type: sslcourse claims {name}")
    printed = reported(name).claims if name in names() else {}
    corrected = holm([v["effects"] for v in found])
    rows = []
    for verdict, still in zip(found, corrected):
        [row] = wall.claim_rows([verdict])
        unit = "" if verdict["unit"] == "accuracy" else f" ({verdict['unit']})"
        rows.append(
            {
                "claim": verdict["text"] + unit,
                "in the paper": printed.get(verdict["claim"]) or f"({verdict['source']})",
                "effect here": row["effect"],
                "95 % interval": row["95 % interval"],
                "verdict": verdict["verdict"],
                "with Holm": still,
            }
        )
    seeds, passed = len(found[0]["effects"]), sum(v["verdict"] == "pass" for v in found)
    return show.table(
        rows, caption=f"{passed} of {len(found)} claims pass ({seeds} seeds; positive: as the paper)"
    )


def holm(effects: Sequence[Sequence[float]], level: float = 0.05) -> list[str]:
    """Verdicts of several claims together, so that the chance of any wrong verdict stays below `level`.

    Holm (1979): the p-values of Student's t (two-sided) are looked at from the smallest on; the k-th of n
    must lie below level / (n - k + 1), and after the first that does not, all are inconclusive.

    Args:
        effects: for each claim its effect per seed.

    Returns: for each claim "pass", "fail" or "inconclusive".
    """
    from scipy.stats import t

    def p_value(values: Sequence[float]) -> float:
        n = len(values)
        if n < 2:
            return 1.0
        mean = sum(values) / n
        deviation = (sum((v - mean) ** 2 for v in values) / (n - 1)) ** 0.5
        if deviation == 0:
            return float(mean == 0)
        return float(2 * t.sf(abs(mean) / (deviation / n**0.5), n - 1))

    p = [p_value(e) for e in effects]
    result, open_still = ["inconclusive"] * len(p), True
    for rank, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        open_still = open_still and p[i] < level / (len(p) - rank)
        if open_still:
            result[i] = "pass" if sum(effects[i]) > 0 else "fail"
    return result
