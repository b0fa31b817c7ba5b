"""Tables of rows, as text and as HTML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.tables import html_table

# ---------------------------------------------------------------------------------------------- tables


def number_text(value) -> str:
    """Three figures, or a whole number with its thousands apart."""
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if 0 < size < 0.001:
        return f"{value:.1e}"
    return f"{value:.3f}" if size < 1 else f"{value:.2f}"


def _cell(value) -> str:
    if value is None:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, Tensor):
        value = value.item() if value.numel() == 1 else tuple(value.tolist())
    if isinstance(value, (int, float, np.integer, np.floating)):
        return number_text(value)
    if (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and all(isinstance(v, (float, np.floating)) for v in value)
    ):
        return f"{number_text(value[0])} \u00b1 {number_text(value[1])}"
    return str(value)


class Table:
    """Rows and columns that show themselves as HTML, as Markdown or as plain text. `table.rows` has the
    numbers.
    """

    def __init__(self, rows: list[dict], columns: list[str], caption: str | None):
        self.rows, self.columns, self.caption = rows, columns, caption
        self._cells = [[_cell(row.get(c)) for c in columns] for row in rows]
        self._right = [
            any(not isinstance(row.get(c), (str, type(None), bool)) for row in rows)
            and not any(isinstance(row.get(c), str) for row in rows)
            for c in columns
        ]

    def __repr__(self):
        width = [
            max(len(c), *(len(row[i]) for row in self._cells)) if self._cells else len(c)
            for i, c in enumerate(self.columns)
        ]

        def line(cells):
            return "  ".join(
                c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, width, self._right)
            ).rstrip()

        head = [self.caption] if self.caption else []
        return "\n".join(
            [*head, line(self.columns), line(["-" * w for w in width]), *(line(row) for row in self._cells)]
        )

    def _repr_markdown_(self):
        def line(cells):
            return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"

        head = [f"**{self.caption}**", ""] if self.caption else []
        rule = "|" + "|".join("---:" if r else ":---" for r in self._right) + "|"
        return "\n".join([*head, line(self.columns), rule, *(line(row) for row in self._cells)])

    def _repr_html_(self):
        return html_table(self.columns, self._cells, self._right, self.caption)


def table(rows: Sequence[Mapping], columns: Sequence | None = None, caption: str | None = None) -> Table:
    """A table of results.

    Args:
        rows: dicts, one per row. Floats are written with three figures, (mean, std) pairs of floats as mean ±
            std. Keys need not be text: 1 is the column "1".
        columns: which keys to show, in this order; by default all, in order of appearance.

    Raises:
        CourseError: no row has a column that is asked for, or two keys of a row read alike: 1 and "1".
    """
    entries = [_by_name(r) for r in rows]
    known = list(dict.fromkeys(k for row in entries for k in row))
    names = [str(c) for c in columns] if columns is not None else known
    for c in names if entries else ():
        if c not in known:
            raise CourseError(f"no row has {c!r}; the rows have {', '.join(known)}")
    return Table(entries, names, caption)


def _by_name(row: Mapping) -> dict[str, Any]:
    """A row by the names of its columns, which are text: a column that is headed "1" finds the key 1."""
    named = {str(k): v for k, v in row.items()}
    if len(named) < len(row):
        read = [str(k) for k in row]
        twice = next(k for k in row if read.count(str(k)) > 1)
        raise CourseError(f"two columns of a row are called {str(twice)!r}; give one of them another name")
    return named
