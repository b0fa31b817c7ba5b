"""The course as web pages: every lesson with its pictures, working replays and explorers, readable without a kernel.

    python notebooks/site.py                       all lessons, executed now, into site/
    python notebooks/site.py --out FOLDER 01_simclr

Pages open from disk or from any web server. They load nothing from elsewhere: formulas are MathML, scripts and pictures are inside.
"""

from __future__ import annotations

import argparse
import functools
import html
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import build  # noqa: E402 (beside this file)

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1f2328; --soft: #57606a; --line: #d0d7de; --box: #f6f8fa; --link: #0550ae; }
:root[data-theme=dark] { color-scheme: dark; --ground: #14171c; --ink: #e6e9ee; --soft: #9aa4b0; --line: #343a43; --box: #1d2128; --link: #79b8ff; }
:root[data-theme=light] { color-scheme: light; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
header { border-bottom: 1px solid var(--line); padding: 10px 20px; display: flex; flex-wrap: wrap; gap: 4px 16px; align-items: center; }
header { font-size: 14px; } header a { color: var(--soft); text-decoration: none; } header a[aria-current] { color: var(--ink); font-weight: 600; }
header .home { font-weight: 600; color: var(--ink); }
header button { margin-left: auto; font: inherit; color: inherit; background: var(--box); border: 1px solid var(--line); border-radius: 4px;
  padding: 2px 10px; cursor: pointer; }
main { max-width: 1060px; margin: 0 auto; padding: 12px 20px 80px; }
a { color: var(--link); } h1 { font-size: 30px; line-height: 1.2; }
h2 { margin-top: 42px; border-bottom: 1px solid var(--line); padding-bottom: 4px; }
img { max-width: 100%; height: auto; border-radius: 3px; }
pre { overflow-x: auto; }
code { font-size: .9em; background: var(--box); padding: 1px 4px; border-radius: 3px; } pre code { padding: 0; background: none; }
.code pre { background: var(--box); border: 1px solid var(--line); border-radius: 5px; padding: 10px 14px; margin: 14px 0 6px; }
.code pre, .output pre { font-size: 13.5px; line-height: 1.45; }
.output { margin: 6px 0 14px; overflow-x: auto; } .output pre { margin: 0; padding: 4px 14px; white-space: pre-wrap; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { padding: 4px 12px; border-bottom: 1px solid var(--line); text-align: left; } .output td { text-align: right; } caption { text-align: left; }
math[display=block] { margin: 14px 0; overflow-x: auto; max-width: 100%; }
.lessons { list-style: none; padding: 0; } .lessons li { border: 1px solid var(--line); border-radius: 6px; padding: 12px 18px; margin: 12px 0; }
.lessons b { font-size: 18px; } .lessons p { margin: 4px 0 0; color: var(--soft); }
"""

# Before anything is painted, so that a dark page never flashes white. The reader's choice is kept, else the system's is taken.
THEME = """
const stored = (() => { try { return localStorage.getItem("theme"); } catch { return null; } })();
document.documentElement.dataset.theme = stored || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
"""

SWITCH = """
document.querySelector("#theme").addEventListener("click", () => {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* pages from disk may have no storage: the choice holds for this page */ }
});
"""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>{title}</title><style>{style}</style><script>{theme}</script></head>
<body><header><a class="home" href="index.html">sslcourse</a>{links}<button id="theme" type="button">light / dark</button></header>
<main>{body}</main>
{scripts}<script>{switch}</script>
</body></html>
"""


# ---------------------------------------------------------------------------------------------- cells


@functools.cache
def _markdown():
    import latex2mathml.converter
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    def formula(text: str, options: dict) -> str:
        return latex2mathml.converter.convert(text, display="block" if options["display_mode"] else "inline")

    return (
        MarkdownIt("commonmark").enable("table").use(dollarmath_plugin, renderer=formula, double_inline=True)
    )


def markdown(text: str) -> str:
    """Markdown with formulas to HTML with MathML; links to notebooks lead to their pages."""
    text = re.sub(
        r'href="(?:\.\./)?homework/(\w+)\.ipynb"', r'href="homework_\1.html"', _markdown().render(text)
    )
    return re.sub(r'href="(?:\.\./)?(\w+)\.ipynb"', r'href="\1.html"', text)


def code(text: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return f'<div class="code">{highlight(text, PythonLexer(), HtmlFormatter())}</div>'


def code_style() -> str:
    """Colours of code for both themes."""
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(":root[data-theme=dark] .highlight")
    # The ground of a code box is the page's own.
    return re.sub(r"(\.highlight) \{ background: [^}]*\}", r"\1 { background: none }", light + "\n" + dark)


def outputs(cell, states: dict[str, dict], shown: dict[str, dict]) -> str:
    """The outputs of a cell. Views that are met are added to `shown`."""
    from sslcourse.widgets import views

    parts = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            if output.name == "stdout":
                parts.append(f"<pre>{html.escape(output.text)}</pre>")
            continue
        if output.output_type == "error":
            raise SystemExit(f"a cell failed: {output.ename}: {output.evalue}")
        data = output.get("data", {})
        view = data.get("application/vnd.jupyter.widget-view+json", {}).get("model_id")
        text = "".join(data.get("text/plain", ""))
        if view in states:
            shown[view] = states[view]
            parts.append(views.place(view, data["image/png"].strip(), text))
        elif "image/png" in data:
            parts.append(
                f'<img alt="{html.escape(text)}" src="data:image/png;base64,{data["image/png"].strip()}">'
            )
        elif "text/html" in data:
            parts.append("".join(data["text/html"]))
        elif text:
            parts.append(f"<pre>{html.escape(text)}</pre>")
    return f'<div class="output">{"".join(parts)}</div>' if parts else ""


def body(notebook: nbformat.NotebookNode, states: dict[str, dict]) -> tuple[str, dict[str, dict]]:
    """A notebook's cells as HTML, and the states of the views in it."""
    parts, shown = [], {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(markdown(cell.source))
        elif cell.cell_type == "code" and cell.source.strip():
            parts += [code(cell.source), outputs(cell, states, shown)]
    return "\n".join(parts), shown


# ---------------------------------------------------------------------------------------------- pages


def heading(notebook: nbformat.NotebookNode) -> tuple[str, str]:
    """Title and first question of a notebook, in Markdown."""
    first = next(c.source for c in notebook.cells if c.cell_type == "markdown")
    title = re.search(r"^# (.+)$", first, re.M)
    question = re.search(r"\*\*The question[^*]*\*\*\s*(.+?)(?:\n\n|\Z)", first, re.S)
    return title[1] if title else "?", " ".join(question[1].split()) if question else ""


def executed(source: Path) -> tuple[nbformat.NotebookNode, dict[str, dict]]:
    """A lesson run from top to bottom, and the states of all its views."""
    notebook = build.build(source)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "views.json"
        notebook.cells.append(
            nbformat.v4.new_code_cell(f"from sslcourse.widgets import views\npage.collect({str(path)!r})")
        )
        build.execute(notebook)
        notebook.cells.pop()
        return notebook, json.loads(path.read_text(encoding="utf-8"))


def plain(text: str) -> str:
    """A title without Markdown's marks."""
    return re.sub(r"[*`$]", "", text)


def stem(source: Path) -> str:
    """The name of a lesson's or a homework's page."""
    return build.name_of(source) if build.is_homework(source) else source.stem


def page_of(
    source: Path, notebook: nbformat.NotebookNode, states: dict[str, dict], sources: list[Path]
) -> tuple[str, int]:
    """The page of a lesson that has run, with links to the pages of all `sources`; and how many views are on it."""
    from sslcourse.widgets import views

    text, shown = body(notebook, states)
    links = "".join(
        f'<a href="{stem(s)}.html"{" aria-current=page" if s == source else ""}>{html.escape(stem(s))}</a>'
        for s in sources
    )
    return PAGE.format(
        title=html.escape(plain(heading(notebook)[0])),
        style=STYLE + code_style(),
        theme=THEME,
        links=links,
        body=text,
        scripts=views.scripts(shown) if shown else "",
        switch=SWITCH,
    ), len(shown)


def index_of(sources: list[Path]) -> str:
    """The first page: every lesson with its question."""
    titles = {s: heading(build.build(s)) for s in sources}
    items = "".join(
        f'<li><b><a href="{stem(s)}.html">{markdown(t)[3:-5]}</a></b>{markdown(q)}</li>'
        for s, (t, q) in titles.items()
    )
    text = (
        "<h1>sslcourse</h1><p>A hands-on course on self-supervised learning. These pages show every lesson as it ran, with replays "
        "and explorers that work here; to change the code, open the notebooks.</p>"
        f'<ul class="lessons">{items}</ul>'
    )
    return PAGE.format(
        title="sslcourse", style=STYLE, theme=THEME, links="", body=text, scripts="", switch=SWITCH
    )


def write(folder: Path, names: list[str], say=lambda text: None) -> list[Path]:
    """Execute the lessons and write their pages, the homework's, and an index. Returns the files."""
    sources = build.sources(names)
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for source in sources:
        notebook, states = (build.build(source), {}) if build.is_homework(source) else executed(source)
        text, views = page_of(source, notebook, states, sources)
        path = folder / f"{stem(source)}.html"
        path.write_text(text, encoding="utf-8")
        made.append(path)
        say(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {views} views")
    index = folder / "index.html"
    index.write_text(index_of(sources), encoding="utf-8")
    return [*made, index]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="such as 01_simclr; all by default")
    parser.add_argument("--out", default=str(HERE.parent / "site"), help="folder to write to (default: site)")
    options = parser.parse_args()
    os.environ.setdefault("CI", "1")  # an interrupt must end the build, not a training
    write(Path(options.out), options.names, say=lambda text: print(text, flush=True))
    print(f"open {options.out}/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
