"""Which sentences of the lessons compare results, and which cell holds each.

    python tools/lesson_sentences.py              all lessons
    python tools/lesson_sentences.py 03_damaged_jigsaw

A lesson must not say what its own numbers deny. So a sentence such as "Colours alone teach the least" stands
beside an assertion that fails the lesson if it is not so. The assertion quotes the sentence, or a part of it,
in a comment above:

    # Holds: "Colours alone teach the least"
    assert linear["colour"] < min(linear[name] for name in ("jigsaw", "damaged")) - 0.03

One comment may hold several sentences: `# Holds: "this", "that"`. Leave room in the assertion: it must hold
with other seeds and on other machines.

Some sentences compare and are no result: they explain a method, a task or a picture, or report a paper. A
part of each of these stands in tests/explained.txt, below the name of its lesson. Questions are never
results, nor is what a lesson says of its aims (the first cell) and of later papers ("What changed since").
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import jupytext

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "notebooks" / "source"
EXPLAINED = ROOT / "tests" / "explained.txt"

# What makes a sentence compare.
COMPARES = re.compile(
    r"\b(?:\w+er|more|less|worse)\b[^.;:]*?\bthan\b"  # better than, more of the hue than
    r"|\bbeats?\b|\blos(?:es|e|t)\b|\bwins?\b|\bovertakes?\b|\bahead\b|\bbehind\b"
    r"|\b(?:above|below) (?:an?|the|its|their|those|these|chance|random|flow|both|every|it|that)\b"
    r"|\b(?:as|no) (?:good|well|often|far|much|fast|better|worse|more|less) (?:as|than)\b"
    r"|\bthe (?:best|worst|least|most|lowest|highest)\b|\bhardly\b|\bnearly as\b|\bfar (?:more|less|from)\b"
)
HOLDS = re.compile(r"^[ \t]*# Holds: (.*)$", re.M)
LATER = ("what changed since", "references", "the road ahead", "the real cases")  # sections about other work


@dataclass
class Sentence:
    text: str
    cell: int  # of the notebook, from 0
    held_by: list[int] = field(default_factory=list)  # cells whose assertion quotes it
    explained: str = ""  # the phrase of tests/explained.txt that stands in it


@dataclass
class Quote:
    text: str
    cell: int
    asserted: bool  # whether an assertion follows the comment that quotes it


def plain(text: str) -> str:
    """Text for comparing: in small letters, one space between words, no marks of Markdown."""
    return " ".join(re.sub(r"[*_`]", "", text).lower().split())


def sentences(markdown: str) -> list[str]:
    """The sentences of a cell; headings, tables, formulas and items of later work are left out."""
    kept, later = [], False
    for block in re.split(r"\n\s*\n", re.sub(r"\$\$.*?\$\$", "", markdown, flags=re.S)):
        if re.match(r"#+ ", block):
            title = plain(block.lstrip("# "))
            later = any(name in title for name in LATER)
            continue
        if later or block.startswith("|"):
            continue
        for item in re.split(r"\n(?=- |\d+\. )", block):
            flat = " ".join(item.split())
            kept += re.split(r"(?<=[.?!])[*)\"]* (?=[\"*`$(A-Z])", flat)
    return [s for s in kept if s]


def quotes(code: str, cell: int) -> list[Quote]:
    """What the comments of a cell say that it holds."""
    found = []
    for match in HOLDS.finditer(code):
        after = [line for line in code[match.end() :].splitlines() if line.strip()]
        while after and after[0].lstrip().startswith("#"):
            after.pop(0)
        # The assertion follows at once, or at the latest where the next sentences are quoted.
        upto = next((i for i, line in enumerate(after) if HOLDS.match(line)), len(after))
        asserted = any(line.lstrip().startswith("assert ") for line in after[:upto])
        found += [Quote(text, cell, asserted) for text in re.findall(r'"([^"]+)"', match[1])]
    return found


def explained(name: str) -> list[str]:
    """Phrases of the sentences of a lesson that compare and are no result."""
    sections = re.split(r"^\[(.+)\]$", EXPLAINED.read_text(encoding="utf-8"), flags=re.M)
    found = dict(zip(sections[1::2], sections[2::2]))
    lines = (line.strip() for line in found.get(name, "").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def of_lesson(source: Path) -> tuple[list[Sentence], list[Quote], list[str]]:
    """Of the source of a lesson: the sentences that compare, all that its code quotes, and all of its text,
    cell by cell."""
    cells = jupytext.read(source, fmt="py:percent").cells
    quoted = [q for i, c in enumerate(cells) if c.cell_type == "code" for q in quotes(c.source, i)]
    texts = [plain(c.source) if c.cell_type == "markdown" else "" for c in cells]
    phrases = explained(source.stem)
    found = []
    for i, cell in enumerate(cells):
        if cell.cell_type != "markdown" or not i:
            continue
        for text in sentences(cell.source):
            if not COMPARES.search(plain(text)) or text.rstrip('*") ').endswith("?"):
                continue
            one = Sentence(text, i)
            one.held_by = [q.cell for q in quoted if plain(q.text).rstrip(".") in plain(text)]
            one.explained = next((p for p in phrases if plain(p) in plain(text)), "")
            found.append(one)
    return found, quoted, texts


def lessons(names: list[str] | None = None) -> list[Path]:
    found = sorted(SOURCES.glob("*.py"))
    known = [f.stem for f in found]
    if unknown := set(names or ()) - set(known):
        sys.exit(f"no lesson {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return [f for f in found if not names or f.stem in names]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="such as 03_damaged_jigsaw; all by default")
    options = parser.parse_args()
    missing = 0
    for source in lessons(options.names):
        print(f"\n{source.stem}")
        for one in of_lesson(source)[0]:
            cells = ", ".join(map(str, dict.fromkeys(one.held_by)))
            by = f"held by cell {cells}" if cells else "no result" if one.explained else "HELD BY NOTHING"
            missing += not (cells or one.explained)
            print(f"  cell {one.cell:>2}, {by}: {one.text}")
    print(f"\n{missing} sentences are held by nothing" if missing else "\nevery one is held")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
