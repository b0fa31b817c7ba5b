"""A table as HTML: the one way in which results, reports and scores show themselves in a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence

_TABLE = "border-collapse:collapse;color:inherit;font-variant-numeric:tabular-nums"
_CAPTION = "text-align:left;caption-side:top;white-space:nowrap;color:inherit;padding:2px 10px"
_CELL = "padding:3px 10px;color:inherit;background:transparent;border-bottom:1px solid rgba(128,128,128,{});"


def html_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], caption: str | None = None
) -> str:
    """Cells of text as HTML. Colours are inherited, so that it reads in a dark notebook as in a light one.

    Args:
        columns: the names at the top.
        rows: their cells, as many as there are columns.
        right: for each column whether it is aligned to the right, as numbers are.
        caption: written above the table.
    """

    def line(cells: Sequence[str], tag: str) -> str:
        style = _CELL.format(".6" if tag == "th" else ".2") + "text-align:"
        written = "".join(
            f"<{tag} style='{style}{'right' if flush else 'left'}'>{html.escape(cell)}</{tag}>"
            for cell, flush in zip(cells, right)
        )
        return f"<tr style='background:transparent'>{written}</tr>"

    above = f"<caption style='{_CAPTION}'>{html.escape(caption)}</caption>" if caption else ""
    body = "".join(line(cells, "td") for cells in rows)
    return f"<table style='{_TABLE}'>{above}<thead>{line(columns, 'th')}</thead><tbody>{body}</tbody></table>"
