"""Build the notebooks from `notebooks/source/`: lessons, homework, and the teacher's solutions of both.

    python tools/build_notebooks.py                     all of them; lessons are executed
    python tools/build_notebooks.py 01_simclr           one lesson and its solution
    python tools/build_notebooks.py --without-outputs   only what is not executed: homework and solutions
    python tools/build_notebooks.py --check             do the stored notebooks agree with their sources?

    source/NN_name.py         ->  NN_name.ipynb            what the class sees, executed, with light outputs
    source/homework/name.py   ->  homework/name.ipynb      blank, to hand out
    either of them            ->  solutions/....ipynb      for the teacher, with the answers

The sources are in jupytext's percent format and are the truth. An answer stands in its source between two
comments:

    # BEGIN SOLUTION
    return z1 @ z2.T
    # END SOLUTION

An answer that `solution()` shows too stands in sslcourse/check/shown.py alone; a source names it:

    # SOLUTION: simclr.nt_xent

Students see `raise NotImplementedError` in its place, or what follows the colon of
`# BEGIN SOLUTION: answer = ""`. Solutions end with a cell that insists on every exercise being correct. They
and the homework are stored without outputs, so that they can be compared with their sources byte for byte and
a teacher sees only what ran on the teacher's own machine. Cell ids are positions, so that two builds are
equal to the byte.

A lesson is not stored if it shows an empty table or a number that is none, or draws an axis whose values are
cut off at 0: see lesson_faults.py.

A cell with the tag nbval-check-output prints the same on every machine; `make nbval` compares it. What is
executed is also kept in build/lessons, with the states of the views, for the course's pages.
"""

from __future__ import annotations

import argparse
import ast
import base64
import inspect
import os
import re
import sys
import textwrap
from pathlib import Path

import jupytext
import lesson_faults
import nbformat
from lesson_runs import COLLECT, RECORDED, SECONDS, processor_seconds

from sslcourse.check.shown import SHOWN
from sslcourse.commands import colab

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
SOURCES = NOTEBOOKS / "source"
LIMIT = 600_000  # bytes of a stored notebook: GitHub shows them up to a million
COMPARED = "nbval-check-output"  # tag of a cell that is compared; solutions are stored without outputs

REGION = re.compile(
    r"^(?P<indent>[ \t]*)# BEGIN SOLUTION(?:: (?P<stub>[^\n]*))?\n(?P<answer>.*?)^(?P=indent)# END SOLUTION$",
    re.M | re.S,
)
SHOWN_ANSWER = re.compile(r"^(?P<indent>[ \t]*)# SOLUTION: (?P<exercise>[\w.]+)$", re.M)


def sources(names: list[str]) -> list[Path]:
    found = [*sorted(SOURCES.glob("*.py")), *sorted((SOURCES / "homework").glob("*.py"))]
    known = [name_of(f) for f in found]
    unknown = set(names) - set(known)
    if unknown:
        sys.exit(f"no source for {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return [f for f in found if not names or name_of(f) in names]


def is_homework(source: Path) -> bool:
    return source.parent.name == "homework"


def name_of(source: Path) -> str:
    """What the assignment is called: 01_simclr, homework_simclr."""
    return f"homework_{source.stem}" if is_homework(source) else source.stem


def for_student(text: str) -> str:
    """The text of a source with a stub in place of every answer."""
    text = SHOWN_ANSWER.sub(r"\g<indent>raise NotImplementedError", text)
    return REGION.sub(lambda m: m["indent"] + (m["stub"] or "raise NotImplementedError"), text)


def for_teacher(text: str) -> str:
    """The text of a source with its answers and without the comments around them."""
    text = SHOWN_ANSWER.sub(lambda m: shown_answer(m["exercise"], m["indent"], text[: m.start()]), text)
    return REGION.sub(lambda m: m["answer"].removesuffix("\n"), text)


def shown_answer(exercise: str, indent: str, before: str) -> str:
    """The body of the function that `solution(exercise)` shows, for the function that `before` ends in.

    What it calls of the other shown functions is named as the lesson names them: my_nt_xent where the
    function is my_updates.
    """
    if exercise not in SHOWN:
        sys.exit(f"# SOLUTION: {exercise}: check/shown.py has no such answer; it has {', '.join(SHOWN)}")
    shown = inspect.getsource(SHOWN[exercise])
    function = ast.parse(shown).body[0]
    assert isinstance(function, ast.FunctionDef)
    *_, (name, parameters) = re.findall(r"^[ \t]*def (\w+)\((.*?)\):", before, re.M)
    if not name.endswith(function.name) or parameters != ast.unparse(function.args):
        sys.exit(
            f"# SOLUTION: {exercise} answers {function.name}({ast.unparse(function.args)}), and stands in "
            f"{name}({parameters})"
        )
    prefix = name.removesuffix(function.name)
    first = function.body[1] if ast.get_docstring(function) else function.body[0]
    body = "\n".join(shown.splitlines()[first.lineno - 1 :])
    others = "|".join(f.__name__ for f in SHOWN.values())
    body = re.sub(rf"\b({others})\(", rf"{prefix}\1(", textwrap.dedent(body))
    return textwrap.indent(body, indent)


CLOSING = """\
# For the teacher and for CI: every exercise above must be correct.
from sslcourse.check import verdicts
assert set(verdicts("{name}").values()) == {{"correct"}}, verdicts("{name}")"""


def build(source: Path, solution: bool = False) -> nbformat.NotebookNode:
    """The notebook of a source, not executed: the student's, or the teacher's with the answers."""
    text = source.read_text(encoding="utf-8").replace("# {{first cell}}", colab.first_cell(colab.address()))
    text = for_teacher(text) if solution else for_student(text)
    left = re.search(r"^.*# (?:(?:BEGIN|END) )?SOLUTION\b.*$", text, re.M)
    if left:
        sys.exit(f"{source.name}: {left[0].strip()!r} has no partner of the same indent")
    notebook = jupytext.reads(text, fmt="py:percent")
    if badge := "" if solution or is_homework(source) else colab.badge(f"{source.stem}.ipynb"):
        notebook.cells[0].source = f"{badge}\n\n{notebook.cells[0].source}"
    if solution:
        note = "**Solutions, for the teacher.** "
        note += "The notebook that students get stands without them in the folder above."
        notebook.cells.insert(0, nbformat.v4.new_markdown_cell(note))
        notebook.cells.append(nbformat.v4.new_code_cell(CLOSING.format(name=name_of(source))))
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"c{i:03d}"
        tags = [t for t in cell.metadata.get("tags", []) if not (solution and t == COMPARED)]
        cell.metadata = nbformat.NotebookNode({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = None, []
            compile(re.sub(r"^[ \t]*[%!].*$", "pass", cell.source, flags=re.M), f"{source.name}:{i}", "exec")
    if faults := lesson_faults.of_source(c.source for c in notebook.cells if c.cell_type == "code"):
        sys.exit(f"{source.name}: {'; '.join(faults)}. Show the values as they are")
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.NotebookNode(kernelspec=kernel, language_info={"name": "python"})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return notebook


def without_outputs(source: Path, folder: Path = NOTEBOOKS) -> dict[Path, str]:
    """What is stored of a source without being executed: path -> text of the file."""
    found = {}
    if is_homework(source):
        found[folder / "homework" / f"{source.stem}.ipynb"] = text_of(build(source))
    if REGION.search(source.read_text(encoding="utf-8")):
        found[folder / "solutions" / f"{name_of(source)}.ipynb"] = text_of(build(source, solution=True))
    return found


def execute(notebook: nbformat.NotebookNode, states: Path | None = None) -> float:
    """Run all cells as a student would; seconds of a processor that the kernel took, its start included. The
    seconds of each cell go to the notebook's metadata, for the run sheets of teachers.

    Args:
        states: a file for the states of the notebook's views, asked for after the last cell, when the time
            has been taken.
    """
    from nbclient import NotebookClient

    spent: list[float] = []
    at: list[int] = []

    def look(cell_index: int, **_) -> None:
        if cell_index < own:
            spent.append(processor_seconds(client.km.provisioner.pid))  # the kernel still lives
            at.append(cell_index)

    own = len(notebook.cells)
    if states is not None:
        states.parent.mkdir(parents=True, exist_ok=True)
        notebook.cells.append(nbformat.v4.new_code_cell(COLLECT.format(path=str(states.resolve()))))
    client = NotebookClient(
        notebook,
        timeout=300,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        store_widget_state=False,
        on_cell_executed=look,
    )
    client.execute()
    if states is not None:
        notebook.cells.pop()
    each = {str(i): round(b - a, 1) for i, a, b in zip(at, [0.0, *spent], spent)}
    notebook.metadata["sslcourse"] = {"cell_seconds": {i: s for i, s in each.items() if s >= 0.1}}
    return spent[-1]


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Keep what every viewer can show: no widget state (hosting sites refuse such notebooks), no messages to
    stderr."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        kept = []
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                continue
            data = output.get("data")
            if data:
                data.pop("application/vnd.jupyter.widget-view+json", None)
                if "image/png" in data:  # the picture says it; its textual name carries addresses
                    data["text/plain"] = "<picture>"
                if not set(data) - {"text/plain"} and "text/plain" in data and "Widget" in data["text/plain"]:
                    continue
            kept.append(output)
        cell.outputs = kept


def text_of(notebook: nbformat.NotebookNode) -> str:
    return nbformat.writes(notebook, indent=1) + "\n"


def write(text: str, path: Path) -> int:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode())
    return len(text.encode())


def cells_of(notebook: nbformat.NotebookNode) -> list[tuple]:
    return [(c.cell_type, c.source, tuple(c.metadata.get("tags", ()))) for c in notebook.cells]


def differences(source: Path, folder: Path = NOTEBOOKS) -> list[str]:
    """What is wrong with the stored notebooks of a source."""
    wrong = [] if is_homework(source) else _lesson_differences(source, folder / f"{source.stem}.ipynb")
    for path, text in without_outputs(source, folder).items():
        if not path.exists():
            wrong.append(f"{path.relative_to(folder)} is missing")
        elif path.read_bytes() != text.encode():
            wrong.append(f"{path.relative_to(folder)} is not what its source builds")
    return wrong


def _lesson_differences(source: Path, stored: Path) -> list[str]:
    if not stored.exists():
        return [f"{stored.name} is missing"]
    notebook = nbformat.read(stored, as_version=4)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    size = stored.stat().st_size
    found = {
        "does not hold the cells of its source": cells_of(notebook) != cells_of(build(source)),
        "stores widget state": "widgets" in notebook.metadata,
        "was not executed from top to bottom": [c.execution_count for c in code]
        != list(range(1, len(code) + 1)),
        "stores an error": any(o.output_type == "error" for c in code for o in c.outputs),
        f"has {size:,} bytes; the limit is {LIMIT:,}": size > LIMIT,
    }
    wrong = [f"{stored.name} {what}" for what, is_so in found.items() if is_so]
    return wrong + [f"{stored.name}: {fault}" for fault in lesson_faults.of_outputs(notebook)]


def orphans(folder: Path = NOTEBOOKS) -> list[str]:
    """Stored notebooks that no source builds any more."""
    wanted = {folder / f"{s.stem}.ipynb" for s in sources([]) if not is_homework(s)}
    wanted |= {path for s in sources([]) for path in without_outputs(s, folder)}
    stored = [f for part in (".", "homework", "solutions") for f in sorted((folder / part).glob("*.ipynb"))]
    return [f"{f.relative_to(folder)} has no source" for f in stored if f not in wanted]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="such as 01_simclr or homework_simclr; all by default")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--without-outputs", action="store_true")
    options = parser.parse_args()
    chosen = sources(options.names)
    if options.check:
        wrong = [d for s in chosen for d in differences(s)] + orphans()
        print(
            "\n".join(wrong) + "\nrun: make notebooks"
            if wrong
            else f"the notebooks of {len(chosen)} sources agree with them"
        )
        return bool(wrong)
    os.environ.setdefault("CI", "1")  # an interrupt must end the build, not a training
    for source in chosen:
        for path, text in without_outputs(source).items():
            print(f"{path.relative_to(NOTEBOOKS)}: {write(text, path):,} bytes", flush=True)
        if options.without_outputs or is_homework(source):
            continue
        notebook = build(source)
        RECORDED.mkdir(parents=True, exist_ok=True)
        seconds = execute(notebook, RECORDED / f"{source.stem}.views.json")
        nbformat.write(notebook, RECORDED / f"{source.stem}.ipynb")
        tidy(notebook)
        if faults := lesson_faults.of_outputs(notebook):
            sys.exit(f"{source.stem} is not stored: {'; '.join(faults)}")
        # the pages print it, beside what `execute` notes for each cell
        notebook.metadata.setdefault("sslcourse", {})["processor_seconds"] = round(seconds)
        size = write(text_of(notebook), NOTEBOOKS / f"{source.stem}.ipynb")
        for cell in notebook.cells:
            if "readme-picture" in cell.metadata.get("tags", []):  # the README shows what this run made
                png = base64.b64decode(cell.outputs[-1].data["image/png"])
                (ROOT / "docs" / "pictures" / "panel.png").write_bytes(png)
        print(f"{source.stem}: {seconds:.0f} processor seconds, {size:,} bytes", flush=True)
        if seconds > SECONDS:
            print(f"  that is more than the {SECONDS} that a notebook may take", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
