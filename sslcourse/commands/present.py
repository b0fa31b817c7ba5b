"""For the one in front: copies of the lessons with a short path through them, and a sheet for each.

JupyterLab folds cells by itself, by `jupyter: {source_hidden, outputs_hidden}` in a cell's metadata; no
extension is needed. Folded cells run like all others, so nothing that a later cell needs is missing. VS Code
and Colab show all cells: the tags say there which belong to the path.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping

CORE = 30  # cells of the path through a lesson
WIDE = 90  # characters of a line that can be read from the last row
WORDS = 150  # a minute, read aloud
_CHECK = re.compile(r"""\b(?:check|quiz)\(\s*["']([\w.]+)["']""")
_HEADING = re.compile(r"^## (.+)$", re.M)
_MINUTES = re.compile(r"about (\d+) min")


def files(lessons: Mapping[str, bytes]) -> dict[str, bytes]:
    """NAME.ipynb -> NAME.present.ipynb and NAME.run-sheet.md, for the lessons among these files."""
    made = {}
    for name, content in lessons.items():
        if "/" in name:
            continue  # homework is not shown
        stem, notebook = name.removesuffix(".ipynb"), json.loads(content)
        made[f"{stem}.present.ipynb"] = (
            json.dumps(presented(notebook), indent=1, ensure_ascii=False) + "\n"
        ).encode()
        made[f"{stem}.run-sheet.md"] = run_sheet(notebook).encode()
    return made


def presented(notebook: Mapping) -> dict:
    """A copy of a notebook whose cells have the tag "core", or the tag "more" and are folded; its comments
    are at most `WIDE` characters wide."""
    made = json.loads(json.dumps(notebook))
    path = core(made)
    for i, cell in enumerate(made["cells"]):
        tags = [t for t in cell["metadata"].get("tags", []) if t not in ("core", "more")]
        cell["metadata"]["tags"] = [*tags, "core" if i in path else "more"]
        if i not in path:
            hidden = {"source_hidden": True}
            if cell["cell_type"] == "code":
                hidden["outputs_hidden"] = True
            cell["metadata"]["jupyter"] = hidden
        if cell["cell_type"] == "code":
            lines = _source(cell).split("\n")
            cell["source"] = "\n".join(part for line in lines for part in _narrow(line))
    return made


def core(notebook: Mapping) -> set[int]:
    """The positions of the cells on the path: what has the tag "core", the beginning of each section, each
    exercise with the text before it, then pictures and tables in the order in which they come."""
    cells, ranks = notebook["cells"], {}
    for i, cell in enumerate(cells):
        tags, text = cell["metadata"].get("tags", []), _source(cell)
        if "more" in tags:
            continue
        asked = [_asks(c) for c in cells[i : i + 2]]
        if "core" in tags or i == 0:
            ranks[i] = 0
        elif any(asked[:1]) or (any(asked) and cell["cell_type"] == "markdown"):
            ranks[i] = 1
        elif cell["cell_type"] == "markdown" and _HEADING.search(text):
            ranks[i] = 2
        elif any({"image/png", "text/html"} & set(o.get("data", {})) for o in cell.get("outputs", [])):
            ranks[i] = 3
    return set(sorted(ranks, key=lambda i: (ranks[i], i))[:CORE])


def long_lines(notebook: Mapping) -> list[str]:
    """Lines of code cells that are wider than `WIDE`."""
    code = (c for c in notebook["cells"] if c["cell_type"] == "code")
    return [line for cell in code for line in _source(cell).split("\n") if len(line) > WIDE]


def run_sheet(notebook: Mapping) -> str:
    """One page of Markdown: minutes of each section, what to ask, what is answered wrongly, what to cut.

    Everything on it is read from the lesson: reading aloud at `WORDS` words a minute, the minutes that an
    exercise names, the processor seconds that its cells took when the course was built, the questions of the
    text, and the named mistakes of the exercises.
    """
    path, seconds = core(notebook), _seconds(notebook)
    title = _source(notebook["cells"][0]).split("\n# ")[-1].removeprefix("# ").split("\n")[0]
    rows, ask, wrong = [], [], []
    cuts: list[tuple[float, str]] = []
    for name, members in _sections(notebook):
        cells = {i: notebook["cells"][i] for i in members}
        text = "\n".join(_source(c) for c in cells.values() if c["cell_type"] == "markdown")
        reading = len(re.findall(r"[A-Za-z]{2,}", _plain(text))) / WORDS
        doing = sum(int(m) for m in _MINUTES.findall(text))
        running = sum(seconds.get(i, 0.0) for i in members)
        more = sum(i not in path for i in members)
        total = reading + doing + running / 60
        rows.append(
            f"| {name} | {total:.0f} | {reading:.0f} | {doing or '-'} | "
            + (f"{running:.0f}" if seconds else "-")
            + f" | {len(members) - more} + {more} |"
        )
        ask += [f"- {name}: {q}" for q in _questions(text)]
        exercises = [
            n for c in cells.values() if c["cell_type"] == "code" for n in _CHECK.findall(_source(c))
        ]
        wrong += [line for n in exercises for line in _mistakes(n)]
        if not exercises and more and name != "Beginning":
            cuts.append((total, name))
    whole = notebook["metadata"].get("sslcourse", {}).get("processor_seconds")
    cuts = sorted(cuts, reverse=True)[:4]
    parts = [f"# Run sheet: {title}"]
    if whole:
        parts.append(f"The whole lesson took {whole:.0f} processor seconds when it was last built.")
    parts += [
        "## Minutes",
        "| section | minutes | reading aloud | exercises | seconds of running | cells shown + folded |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(rows),
        "## What to ask\n",
        "\n".join(ask) or "- The lesson asks nothing in its text.",
        "## What they will answer wrongly\n",
        "\n".join(wrong) or "- The lesson has no exercise.",
        "## What to cut\n",
        "\n".join(f"- {name} ({total:.0f} min): no exercise stands in it" for total, name in cuts)
        or "- Nothing: every section has an exercise.",
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _source(cell: Mapping) -> str:
    return cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])


def _asks(cell: Mapping) -> bool:
    return cell["cell_type"] == "code" and bool(_CHECK.search(_source(cell)))


def _narrow(line: str) -> list[str]:
    """A line of code as it is; a comment that is too wide in several lines."""
    found = re.match(r"(\s*# )(.*)", line)
    if len(line) <= WIDE or not found or found[2].startswith("Holds:"):
        return [line]
    return textwrap.wrap(
        found[2], WIDE, initial_indent=found[1], subsequent_indent=found[1], break_long_words=False
    )


def _sections(notebook: Mapping) -> list[tuple[str, list[int]]]:
    found: list[tuple[str, list[int]]] = [("Beginning", [])]
    for i, cell in enumerate(notebook["cells"]):
        text = _source(cell)
        heading = _HEADING.search(text) if cell["cell_type"] == "markdown" else None
        if i and heading:
            found.append((heading[1].replace("|", "/"), []))
        found[-1][1].append(i)
    return [(name, members) for name, members in found if name != "References"]


def _seconds(notebook: Mapping) -> dict[int, float]:
    kept = notebook["metadata"].get("sslcourse", {}).get("cell_seconds", {})
    return {int(i): float(s) for i, s in kept.items()}


def _plain(text: str) -> str:
    """Without formulas, code and addresses, which nobody reads aloud."""
    return re.sub(r"\$\$.*?\$\$|\$[^$\n]*\$|```.*?```|`[^`\n]*`|\]\([^)]*\)|<[^>\n]*>", " ", text, flags=re.S)


def _questions(text: str) -> list[str]:
    """The sentences of a text that end in a question mark, headings left out."""
    prose = " ".join(line for line in text.split("\n") if not line.startswith(("#", "|")))
    sentences = re.split(r"(?<=[.!?:])\s+", prose)
    return [
        s.replace("**", "").strip("*_- ") for s in sentences if s.rstrip("*_").endswith("?") and len(s) > 12
    ]


def _mistakes(exercise: str) -> list[str]:
    from sslcourse.check import EXERCISES

    if exercise not in EXERCISES:
        return []  # a quiz
    return [f"- `{exercise}`: **{m.name}**. {m.message}" for m in EXERCISES[exercise].mistakes]
