"""The package's docstrings as reStructuredText: an extension of Sphinx.

Our docstrings are plain text with `names` in single backticks and indented examples. reStructuredText
would read an example as a quotation and a star as emphasis: examples become literal blocks here, and
marks that are not meant as marks are escaped.
"""

from __future__ import annotations

import ast
import itertools
import re
import textwrap

SECTION = re.compile(r"(Args|Returns|Raises|Yields|Attributes|Example|Examples|Note|Notes):\s*$")
# Code, *one or a few words* with stress, marks that mean themselves, names that end in an underscore.
MARKS = re.compile(r"(``[^`]+``|`[^`]+`)|(?<![\w*])(\*\w[^*`]*\*)(?![\w*])|([*|\\])|(\w_)(?=\W|$)")


# "K. Piczak" at the beginning of a line is an author and not the eleventh point of a list.
INITIAL = re.compile(r"^( *)([A-Za-z]\. )")


def _escaped(line: str) -> str:
    """A line of prose: names in backticks are code, stars, bars and trailing underscores are themselves."""

    def mark(found: re.Match) -> str:
        if found[1]:
            return f"``{found[1].strip('`')}``"
        if found[2]:
            return found[2]
        return f"\\{found[3]}" if found[3] else f"{found[4][0]}\\_"

    return INITIAL.sub(r"\1\\\2", MARKS.sub(mark, line))


def _language(lines: list[str]) -> str:
    """Of the indented block that these lines begin with: "python" where it is Python, else "text"."""
    block = list(itertools.takewhile(lambda line: not line.strip() or line.startswith(" "), lines))
    try:
        ast.parse(textwrap.dedent("\n".join(block)))
    except SyntaxError:
        return "text"
    return "python"


def _joined(lines: list[str]) -> list[str]:
    """A line that ends within backticks, and the next one, as one."""
    result: list[str] = []
    for line in lines:
        if result and result[-1].count("`") % 2 and line.strip():
            result[-1] += f" {line.lstrip()}"
        else:
            result.append(line)
    return result


def _begins_block(before: str, line: str) -> bool:
    """Whether an indented line after a line of text begins a table or an example: else it goes on."""
    return before.rstrip().endswith(":") or any(re.search(r"\S  +\S", text) for text in (before, line))


BULLET = re.compile(r"\s*(- |\d+\. )")


def plain(lines: list[str]) -> list[str]:
    """The lines of a docstring as reStructuredText that napoleon reads.

    Outside of the sections that napoleon knows, indented lines are an example or a table, and stay as they
    are written; lists of points become lists.
    """
    lines = _joined(lines)
    result: list[str] = []
    hang = 0  # how far the text of a list's point is indented
    state = "text"  # or "section", "literal", "list"
    for i, line in enumerate(lines):
        if not line.strip():
            result.append("")
            continue
        indent = len(line) - len(line.lstrip())
        if SECTION.match(line):
            state = "section"
        elif state == "section" and indent:
            line = " " * min(indent, 8) + line.lstrip()  # a name, or what is said of it
        elif (found := BULLET.match(line)) and state != "literal":
            result += [] if state == "list" else [""]
            state, line, hang = "list", line.lstrip(), len(found[1])
        elif state == "list" and indent:
            line = " " * hang + line.lstrip()
        elif not indent:
            result += [""] if state in ("literal", "list") else []
            state = "text"
        elif state == "text" and result and result[-1] and not _begins_block(lines[i - 1], line):
            line = line.lstrip()
        elif state != "literal":
            result += ["", f".. code-block:: {_language(lines[i:])}", ""]
            state = "literal"
        result.append(line if state == "literal" else _escaped(line))
    return result


def _process(app, what, name, obj, options, lines: list[str]) -> None:
    lines[:] = plain(lines)


def setup(app) -> dict:
    # Before napoleon (priority 500), which reads the sections.
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
