"""Build the notebooks from `source/*.py`, execute them, and store them with light outputs.

    python notebooks/build.py                 all of them
    python notebooks/build.py 01_simclr       one
    python notebooks/build.py --check         do the stored notebooks hold the cells of their sources? (seconds; used in CI)

The sources are in jupytext's percent format and are the truth. Cell ids are positions, so that two builds are equal to the byte.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import sys
import time
from pathlib import Path

import jupytext
import nbformat

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "source"
LIMIT = 350_000  # bytes of a stored notebook
SECONDS = 90  # that a notebook may run


def sources(names: list[str]) -> list[Path]:
    found = sorted(SOURCES.glob("*.py"))
    unknown = set(names) - {f.stem for f in found}
    if unknown:
        sys.exit(f"no source for {', '.join(sorted(unknown))}; there are {', '.join(f.stem for f in found)}")
    return [f for f in found if not names or f.stem in names]


def repository() -> str:
    """What pip installs the course from: the project URL in pyproject.toml, its only place."""
    address = re.search(r'^Repository = "(.+)"$', (HERE.parent / "pyproject.toml").read_text(), re.M).group(1)
    return f"git+{address}"


def build(source: Path) -> nbformat.NotebookNode:
    """The notebook of a source, not executed."""
    notebook = jupytext.reads(source.read_text(encoding="utf-8").replace("{{repository}}", repository()), fmt="py:percent")
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"c{i:03d}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.NotebookNode({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = None, []
            compile(re.sub(r"^[ \t]*[%!].*$", "pass", cell.source, flags=re.M), f"{source.name}:{i}", "exec")
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.NotebookNode(kernelspec=kernel, language_info={"name": "python"})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return notebook


def execute(notebook: nbformat.NotebookNode) -> float:
    """Run all cells as a student would; seconds that it took, the kernel's start included."""
    from nbclient import NotebookClient

    start = time.perf_counter()
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(HERE)}}, store_widget_state=False).execute()
    return time.perf_counter() - start


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Keep what every viewer can show: no widget state (hosting sites refuse such notebooks), no messages to stderr."""
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


def write(notebook: nbformat.NotebookNode, path: Path) -> int:
    text = nbformat.writes(notebook, indent=1) + "\n"
    path.write_text(text, encoding="utf-8")
    return len(text.encode())


def cells_of(notebook: nbformat.NotebookNode) -> list[tuple]:
    return [(c.cell_type, c.source, tuple(c.metadata.get("tags", ()))) for c in notebook.cells]


def differences(source: Path) -> str | None:
    """What is wrong with the stored notebook of a source, or None."""
    stored = HERE / f"{source.stem}.ipynb"
    if not stored.exists():
        return f"{stored.name} is missing"
    notebook = nbformat.read(stored, as_version=4)
    if cells_of(notebook) != cells_of(build(source)):
        return f"{stored.name} does not hold the cells of its source"
    if "widgets" in notebook.metadata:
        return f"{stored.name} stores widget state"
    code = [c for c in notebook.cells if c.cell_type == "code"]
    if [c.execution_count for c in code] != list(range(1, len(code) + 1)):
        return f"{stored.name} was not executed from top to bottom"
    if any(o.output_type == "error" for c in code for o in c.outputs):
        return f"{stored.name} stores an error"
    size = stored.stat().st_size
    return f"{stored.name} has {size:,} bytes; the limit is {LIMIT:,}" if size > LIMIT else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="such as 01_simclr; all by default")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.check:
        wrong = [d for s in sources(options.names) if (d := differences(s))]
        wrong += [f"{f.name} has no source" for f in sorted(HERE.glob("*.ipynb")) if not (SOURCES / f"{f.stem}.py").exists()]
        print("\n".join(wrong) + "\nrun: make notebooks" if wrong else f"{len(sources(options.names))} notebooks hold their sources")
        return bool(wrong)
    os.environ.setdefault("CI", "1")  # an interrupt must end the build, not a training
    for source in sources(options.names):
        notebook = build(source)
        seconds = execute(notebook)
        tidy(notebook)
        size = write(notebook, HERE / f"{source.stem}.ipynb")
        for cell in notebook.cells:
            if "readme-picture" in cell.metadata.get("tags", []):  # the README shows what this run made
                (HERE / "picture.png").write_bytes(base64.b64decode(cell.outputs[-1].data["image/png"]))
        print(f"{source.stem}: {seconds:.0f} s, {size:,} bytes", flush=True)
        if seconds > SECONDS:
            print(f"  that is more than the {SECONDS} s a notebook may take", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
