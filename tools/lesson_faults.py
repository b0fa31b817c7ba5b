"""What a lesson must not show: an empty table, a number that is none, an axis that hides half of its values.

    of_outputs(notebook)   faults in what its cells printed and showed
    of_source(cells)       faults that can be read off its code

A prediction that nobody has written yet is no fault: a row or a column called "you expected" may be empty.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser

OPEN = "you expected"  # the student's own row or column
NOT_A_NUMBER = re.compile(r"(?<![\w.])[+-]?(?:nan|inf)(?!\w)", re.I)
# Pictures and tables of numbers, in which a value below 0 has a meaning of its own. Pictures made of pixels
# (grid, views, filters) are not among them: their values are cut to 0..1 for the screen.
CHARTS = {"bars", "curve", "history", "scatter", "table", "wall", "intervals", "plane", "gauge", "health"}


class _Tables(HTMLParser):
    """The tables of a page: a list of (names of the columns, rows), all of them lists of text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[list[str], list[list[str]]]] = []
        self._cell: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag == "table":
            self.found.append(([], []))
        elif tag == "tr" and self.found:
            self.found[-1][1].append([])
        elif tag in ("td", "th") and self.found:
            self._cell = []

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            columns, rows = self.found[-1]
            (columns if tag == "th" else rows[-1]).append("".join(self._cell).strip())
            self._cell = None


def _tables(html: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    parser = _Tables()
    parser.feed(html)
    for columns, rows in parser.found:
        yield columns, [row for row in rows if row]


def _of_table(columns: list[str], rows: list[list[str]]) -> Iterator[str]:
    if not rows:
        yield f"an empty table ({', '.join(columns) or 'no columns'})"
    asked = [i for i, column in enumerate(columns) if i and column != OPEN]
    for row in rows:
        if asked and row[0] != OPEN and not any(row[i] for i in asked):
            yield f"an empty table: nothing in the row {row[0]!r}"
    for i, column in enumerate(columns):
        if rows and column != OPEN and not any(row[i] for row in rows if row[0] != OPEN):
            yield f"an empty table: nothing in the column {column!r}"
    for row in rows:
        for column, cell in zip(columns, row):
            if NOT_A_NUMBER.search(cell):
                yield f"{cell!r} in a table, column {column!r}"


def of_outputs(notebook) -> list[str]:
    """Faults in the outputs of a notebook that was executed, each with the number of its cell from 0."""
    found = []
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            for columns, rows in _tables(output.get("data", {}).get("text/html", "")):
                found += [f"cell {number} shows {fault}" for fault in _of_table(columns, rows)]
            if output.output_type == "stream" and NOT_A_NUMBER.search(output.text):
                line = next(line for line in output.text.splitlines() if NOT_A_NUMBER.search(line))
                found.append(f"cell {number} prints {line.strip()!r}")
    return found


def _is_zero(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not isinstance(node.value, bool) and node.value == 0


def _cuts_at_zero(node: ast.AST) -> bool:
    """Whether an expression is max(0, x), x.clamp(0), numpy's maximum(x, 0) or the like."""
    if not isinstance(node, ast.Call):
        return False
    given = [*node.args, *(k.value for k in node.keywords if k.arg in ("min", "a_min"))]
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name == "relu":
        return True
    return name in ("max", "maximum", "clamp", "clamp_min", "clip") and any(map(_is_zero, given))


def of_source(cells: Iterable[str]) -> list[str]:
    """Charts and tables of a lesson whose values are cut off at 0, so that a lead the other way round shows
    as nothing.

    A name is followed to what it was given anywhere in the lesson: `gap = max(0, x)`, then `show.bars(gap)`.
    """
    trees = [ast.parse(re.sub(r"^[ \t]*[%!].*$", "pass", cell, flags=re.M)) for cell in cells]
    given: dict[str, list[ast.expr]] = {}
    for node in (n for tree in trees for n in ast.walk(tree)):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    given.setdefault(target.id, []).append(node.value)

    def cut(node: ast.AST, seen: frozenset[str]) -> bool:
        for part in ast.walk(node):
            if _cuts_at_zero(part):
                return True
            if isinstance(part, ast.Name) and part.id in given and part.id not in seen:
                if any(cut(value, seen | {part.id}) for value in given[part.id]):
                    return True
        return False

    found = []
    for tree in trees:
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if getattr(node.func.value, "id", "") == "show" and node.func.attr in CHARTS:
                if any(cut(a, frozenset()) for a in [*node.args, *(k.value for k in node.keywords)]):
                    found.append(f"show.{node.func.attr}(...) shows values that are cut off at 0")
    return found
