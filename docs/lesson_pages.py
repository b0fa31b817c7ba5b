"""Lessons as pages with views that work: an extension of Sphinx, and what runs the lessons for it.

    python docs/lesson_pages.py                 run all lessons now and store their runs in docs/runs/
    python docs/lesson_pages.py 01_simclr       this one only
    python docs/lesson_pages.py --from FOLDER   lessons that ran already: NAME.ipynb and NAME.views.json

A page is made of the lesson's cells and of its stored run: `docs/runs/NAME.json.xz` holds what every
cell printed and drew, and the state of every view. So `make site` trains nothing. Formulas are MathML,
scripts and pictures stand inside the page, nothing is loaded from elsewhere: a page opens from disk or
from any web server.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import html
import json
import lzma
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
RUNS = DOCS / "runs"
PAGES = DOCS / "lessons"  # what Sphinx reads, written by this module and not tracked
SHEETS = DOCS / "teaching"  # the run sheets of the lessons, likewise
sys.path.insert(0, str(ROOT / "tools"))

import build_notebooks as build  # noqa: E402 (in that folder)

VIEW = "application/vnd.jupyter.widget-view+json"


def stem(source: Path) -> str:
    """The name of a lesson's or a homework's page."""
    return build.name_of(source)


# -------------------------------------------------------------------------------------------- runs


def digest(notebook: nbformat.NotebookNode) -> str:
    """Of the code that a run has executed: imports, comments and the installation change no result."""
    cells = [c for c in notebook.cells if c.cell_type == "code" and "google.colab" not in c.source]
    lines = [line for cell in cells for line in cell.source.splitlines()]
    kept = [
        line for line in lines if line.strip() and not re.match(r"\s*(#|import |from \S+ import |[%!])", line)
    ]
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()[:16]


def executed(source: Path) -> dict:
    """A lesson run from top to bottom: {"digest", "outputs": [of each cell], "views": {key: state}}."""
    notebook = build.build(source)
    told = digest(notebook)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "views.json"
        collect = f"from sslcourse.widgets import views\nviews.collect({str(path)!r})"
        notebook.cells.append(nbformat.v4.new_code_cell(collect))
        build.execute(notebook)
        notebook.cells.pop()
        return run_of(notebook, json.loads(path.read_text(encoding="utf-8")), told)


def taken(source: Path, folder: Path) -> dict:
    """The run of a lesson that was kept: NAME.ipynb, and NAME.views.json that `views.collect` wrote."""
    kept = nbformat.read(folder / f"{source.stem}.ipynb", as_version=4)
    states = json.loads((folder / f"{source.stem}.views.json").read_text(encoding="utf-8"))
    return run_of(kept, states, digest(kept))


def run_of(notebook: nbformat.NotebookNode, states: dict[str, dict], told: str) -> dict:
    """What is stored of a notebook that has run. Views are numbered: their ids are new in every run."""
    views: dict[str, dict] = {}
    outputs = []
    for cell in notebook.cells:
        kept = []
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                raise SystemExit(f"a cell failed: {output.ename}: {output.evalue}")
            if output.output_type == "stream":
                if output.name == "stdout":
                    kept.append({"text": output.text})
                continue
            data = output.get("data", {})
            item = {
                kind: "".join(data[kind]) for kind in ("image/png", "text/html", "text/plain") if kind in data
            }
            model = data.get(VIEW, {}).get("model_id")
            if model in states:
                key = f"view{len(views) + 1}"
                views[key] = states[model]
                item["view"] = key
            elif (
                "image/png" not in item and "text/html" not in item and "Widget" in item.get("text/plain", "")
            ):
                continue  # somebody else's widget, which leaves no picture
            kept.append(item)
        outputs.append(kept)
    return {"digest": told, "outputs": outputs, "views": views}


def stored(name: str) -> dict:
    """The stored run of a lesson; where there is none, what its notebook holds: pictures where views were."""
    file = RUNS / f"{name}.json.xz"
    if file.exists():
        return json.loads(lzma.decompress(file.read_bytes()))
    kept = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    return run_of(kept, {}, digest(kept))


def store(name: str, run: dict) -> int:
    """Write a run; bytes on disk."""
    RUNS.mkdir(exist_ok=True)
    data = lzma.compress(
        json.dumps(run, ensure_ascii=False, sort_keys=True).encode(), preset=9 | lzma.PRESET_EXTREME
    )
    (RUNS / f"{name}.json.xz").write_bytes(data)
    return len(data)


def stale(name: str) -> str:
    """What is wrong with the stored run of a lesson: an empty string where nothing is."""
    (source,) = build.sources([name])
    notebook, run = build.build(source), stored(name)
    if len(run["outputs"]) != len(notebook.cells):
        return f"{name}: the run has {len(run['outputs'])} cells, the lesson {len(notebook.cells)}"
    if run["digest"] != digest(notebook):
        return f"{name}: the lesson's code has changed since it was run"
    return ""


# ----------------------------------------------------------------------------------- from a run to HTML


def output_html(items: list[dict], views: dict[str, dict]) -> str:
    """The outputs of a cell as HTML, views as the places where the page's script puts them."""
    from sslcourse.widgets.views import pictured, place

    parts = []
    for item in items:
        text = item.get("text/plain", "")
        if "text" in item:
            parts.append(f"<pre>{html.escape(item['text'])}</pre>")
        elif item.get("view") in views:
            still = pictured(item["image/png"].strip(), text) if "image/png" in item else item["text/html"]
            parts.append(place(item["view"], still))
        elif "image/png" in item:
            name = html.escape(text)
            parts.append(f'<img alt="{name}" src="data:image/png;base64,{item["image/png"].strip()}">')
        elif "text/html" in item:
            parts.append(item["text/html"])
        elif text:
            parts.append(f"<pre>{html.escape(text)}</pre>")
    return f'<div class="lesson-output">{"".join(parts)}</div>' if parts else ""


def scripts(run: dict) -> str:
    """The script elements of a page with these views."""
    from sslcourse.widgets import views as host

    return host.scripts(run["views"]) if run["views"] else ""


def links(text: str) -> str:
    """Links to notebooks lead to their pages."""
    text = re.sub(r"\]\((?:\.\./)?homework/(\w+)\.ipynb\)", r"](homework_\1.md)", text)
    return re.sub(r"\]\((?:\.\./)?(\w+)\.ipynb\)", r"](\1.md)", text)


def _fenced(text: str) -> str:
    ticks = "`" * max(3, *(len(found) + 1 for found in re.findall(r"`+", text)), 3)
    return f"{ticks}{{code-block}} ipython3\n{text}\n{ticks}"


PLACE = '<div class="lesson-output" data-cell="{}"></div>'


def markdown_of(source: Path) -> str:
    """The Markdown that Sphinx reads: the lesson's cells, and after each the place of its outputs."""
    parts = []
    for i, cell in enumerate(build.build(source).cells):
        if cell.cell_type == "markdown":
            parts.append(links(cell.source))
        elif cell.source.strip():
            parts += [_fenced(cell.source), PLACE.format(i)]
    return "\n\n".join(parts) + "\n"


ALONE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,"><title>{title}</title></head>
<body>
{body}
</body></html>
"""


def page_of(source: Path, notebook: nbformat.NotebookNode, states: dict[str, dict]) -> tuple[str, int]:
    """What a lesson that has run shows, without theme and text; and how many views are on that page."""
    run = run_of(notebook, states, "")
    body = "\n".join(output_html(items, run["views"]) for items in run["outputs"])
    return ALONE.format(title=stem(source), body=body + scripts(run)), len(run["views"])


def filled(body: str, run: dict) -> str:
    """A page's body with the outputs in their places and the scripts of its views behind."""
    place = re.escape(PLACE).replace(re.escape("{}"), r"(\d+)")
    body = re.sub(place, lambda found: output_html(run["outputs"][int(found[1])], run["views"]), body)
    return body + scripts(run)


# -------------------------------------------------------------------------------------------- Sphinx


def run_sheets() -> dict[Path, str]:
    """The run sheet of each lesson, from its stored notebook: path -> text."""
    from sslcourse.commands import present

    names = [source.stem for source in build.sources([]) if not build.is_homework(source)]
    stored_ones = {name: nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4) for name in names}
    return {SHEETS / f"{name}.md": present.run_sheet(notebook) for name, notebook in stored_ones.items()}


def _write_pages(app) -> None:
    wanted = {PAGES / f"{stem(source)}.md": markdown_of(source) for source in build.sources([])}
    wanted |= run_sheets()
    for folder in (PAGES, SHEETS):
        folder.mkdir(exist_ok=True)
        for file in folder.glob("*.md"):
            if file not in wanted:
                file.unlink()
    for file, text in wanted.items():
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


@functools.cache
def _homeworks() -> frozenset[str]:
    return frozenset(stem(source) for source in build.sources([]) if build.is_homework(source))


def _fill(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    folder, _, name = pagename.partition("/")
    if folder == PAGES.name and name and doctree is not None and name not in _homeworks():
        context["body"] = filled(context["body"], stored(name))


def _mathml(display: str):
    """A renderer of formulas for Sphinx: MathML inside the page, and no script."""

    def render(translator, node) -> None:
        from docutils.nodes import SkipNode
        from latex2mathml.converter import convert

        translator.body.append(convert(node.astext(), display=display))
        raise SkipNode

    return render, None


def setup(app) -> dict:
    app.add_html_math_renderer("mathml", inline_renderers=_mathml("inline"), block_renderers=_mathml("block"))
    app.connect("builder-inited", _write_pages)
    app.connect("html-page-context", _fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="such as 01_simclr; all by default")
    parser.add_argument(
        "--check",
        action="store_true",
        help="say which stored runs are older than their lessons, and run nothing",
    )
    parser.add_argument(
        "--from", dest="folder", help="store the runs that lie in this folder, and run nothing"
    )
    options = parser.parse_args()
    names = [stem(source) for source in build.sources(options.names) if not build.is_homework(source)]
    if options.check:
        wrong = [text for text in map(stale, names) if text]
        print("\n".join(wrong) if wrong else f"the runs of {len(names)} lessons agree with them")
        return bool(wrong)
    os.environ.setdefault("CI", "1")  # an interrupt must end the build, not a training
    for name in names:
        (source,) = build.sources([name])
        run = taken(source, Path(options.folder)) if options.folder else executed(source)
        print(f"{name}: {len(run['views'])} views, {store(name, run) / 1e6:.2f} MB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
