# ruff: noqa: F811 (pytest hands fixtures over by the names that were imported)
"""The static site: what becomes of cells, and its pages in a browser, without kernel and network."""

import pathlib
import re

import nbformat
import pytest
from browser import site, use_page  # noqa: F401 (fixture)

NOTEBOOKS = pathlib.Path(__file__).resolve().parents[1] / "notebooks"


def test_formulas_become_mathml(site):
    text = site.markdown(
        "Inline $h = f(x)$ and\n\n$$\\frac{a}{b} = \\sum_{k \\ne i} e^{s_{ik}/\\tau}$$\n\n| a | b "
        "|\n|---|---|\n| $x'$ | 2 |"
    )
    assert (
        text.count("<math") == 3
        and 'display="block"' in text
        and "<mfrac>" in text
        and "$" not in text
        and "<table>" in text
    )


def test_every_formula_of_the_course_is_understood(site):
    """What the converter does not know it leaves as text with a backslash."""
    for source in [*NOTEBOOKS.glob("source/*.py"), *NOTEBOOKS.glob("source/homework/*.py")]:
        notebook = site.build.build(source)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                for formula in re.findall(r"<math.*?</math>", site.markdown(cell.source), re.S):
                    assert "\\" not in formula, (source.name, formula)


def test_links_to_notebooks_lead_to_pages(site):
    text = site.markdown(
        "[a](01_simclr.ipynb) [b](../00_start.ipynb) [c](homework/simclr.ipynb) "
        "[d](https://example.org/x.ipynb)"
    )
    assert re.findall(r'href="([^"]+)"', text) == [
        "01_simclr.html",
        "00_start.html",
        "homework_simclr.html",
        "https://example.org/x.ipynb",
    ]


def test_outputs(site):
    cell = nbformat.v4.new_code_cell(
        "1",
        outputs=[
            nbformat.v4.new_output("stream", name="stdout", text="a < b"),
            nbformat.v4.new_output("stream", name="stderr", text="secret path"),
            nbformat.v4.new_output("display_data", {"text/html": "<b>t</b>", "text/plain": "t"}),
            nbformat.v4.new_output("display_data", {"image/png": "AAAA", "text/plain": "<picture>"}),
            nbformat.v4.new_output(
                "display_data",
                {"application/vnd.jupyter.widget-view+json": {"model_id": "m"}, "image/png": "BBBB"},
            ),
        ],
    )
    shown = {}
    text = site.outputs(cell, {"m": {"script": "replay"}}, shown)
    assert (
        "a &lt; b" in text
        and "secret" not in text
        and "<b>t</b>" in text
        and 'src="data:image/png;base64,AAAA"' in text
    )
    assert 'data-view="m"' in text and shown == {"m": {"script": "replay"}}
    shown = {}
    assert (
        'data-view="m"' not in site.outputs(cell, {}, shown) and not shown
    )  # a widget of somebody else: its picture
    cell.outputs.append(nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[]))
    with pytest.raises(SystemExit, match="ValueError: no"):
        site.outputs(cell, {}, {})


def test_every_link_of_the_site_leads_to_a_page(site):
    """From the notebooks as they are stored: index, links, and no view that is promised without its state."""
    sources = site.build.sources([])
    names = {"index.html", *(f"{site.stem(s)}.html" for s in sources)}
    assert len(names) == len(sources) + 1
    pages = {"index.html": site.index_of(sources)}
    for source in sources:
        stored = nbformat.read(
            (NOTEBOOKS / "homework" if site.build.is_homework(source) else NOTEBOOKS)
            / f"{source.stem}.ipynb",
            as_version=4,
        )
        pages[f"{site.stem(source)}.html"], views = site.page_of(source, stored, {}, sources)
        assert not views
    for text in pages.values():
        links = re.findall(r'href="([^":#]+)"', re.sub(r"<pre>.*?</pre>", "", text, flags=re.S))
        assert set(links) == names  # each page leads to all


@pytest.mark.browser
def test_the_whole_way_from_a_source_to_a_page(site, tmp_path):
    """Executed, written and opened: the smallest lesson. What each lesson's page shows is tested where it
    runs in JupyterLab.
    """
    (file, index) = site.write(tmp_path / "site", ["90_bugs_museum"])
    assert index.name == "index.html"
    use_page(file, tmp_path)


@pytest.mark.browser
def test_the_first_page_in_a_browser(site, tmp_path):
    file = tmp_path / "index.html"
    file.write_text(site.index_of(site.build.sources([])))
    use_page(file, tmp_path)
