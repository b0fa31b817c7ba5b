"""The static site: what becomes of cells, and all pages in a browser, without kernel and network."""

import functools
import http.server
import pathlib
import re
import sys
import threading

import nbformat
import pytest
from browser import browser_page, keep

NOTEBOOKS = pathlib.Path(__file__).resolve().parents[1] / "notebooks"


@pytest.fixture(scope="module")
def site():
    """The module that writes the site; `site` is also a module of Python's own, so it is loaded by its path."""
    import importlib.util

    sys.path.insert(0, str(NOTEBOOKS))
    spec = importlib.util.spec_from_file_location("course_site", NOTEBOOKS / "site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(NOTEBOOKS))


def test_formulas_become_mathml(site):
    text = site.markdown("Inline $h = f(x)$ and\n\n$$\\frac{a}{b} = \\sum_{k \\ne i} e^{s_{ik}/\\tau}$$\n\n| a | b |\n|---|---|\n| $x'$ | 2 |")
    assert text.count("<math") == 3 and 'display="block"' in text and "<mfrac>" in text and "$" not in text and "<table>" in text


def test_every_formula_of_the_course_is_understood(site):
    """What the converter does not know it leaves as text with a backslash."""
    for source in [*NOTEBOOKS.glob("source/*.py"), *NOTEBOOKS.glob("source/homework/*.py")]:
        notebook = site.build.build(source)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                for formula in re.findall(r"<math.*?</math>", site.markdown(cell.source), re.S):
                    assert "\\" not in formula, (source.name, formula)


def test_links_to_notebooks_lead_to_pages(site):
    text = site.markdown("[a](01_simclr.ipynb) [b](../00_start.ipynb) [c](homework/simclr.ipynb) [d](https://example.org/x.ipynb)")
    assert re.findall(r'href="([^"]+)"', text) == ["01_simclr.html", "00_start.html", "homework_simclr.html", "https://example.org/x.ipynb"]


def test_outputs(site):
    cell = nbformat.v4.new_code_cell("1", outputs=[
        nbformat.v4.new_output("stream", name="stdout", text="a < b"), nbformat.v4.new_output("stream", name="stderr", text="secret path"),
        nbformat.v4.new_output("display_data", {"text/html": "<b>t</b>", "text/plain": "t"}),
        nbformat.v4.new_output("display_data", {"image/png": "AAAA", "text/plain": "<picture>"}),
        nbformat.v4.new_output("display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": "m"}, "image/png": "BBBB"}),
    ])  # fmt: skip
    shown = {}
    text = site.outputs(cell, {"m": {"script": "replay"}}, shown)
    assert "a &lt; b" in text and "secret" not in text and "<b>t</b>" in text and 'src="data:image/png;base64,AAAA"' in text
    assert 'data-view="m"' in text and shown == {"m": {"script": "replay"}}
    shown = {}
    assert 'data-view="m"' not in site.outputs(cell, {}, shown) and not shown  # a widget of somebody else: its picture
    cell.outputs.append(nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[]))
    with pytest.raises(SystemExit, match="ValueError: no"):
        site.outputs(cell, {}, {})


@pytest.fixture(scope="module")
def pages(site, tmp_path_factory):
    """All lessons executed and written: minutes."""
    folder = tmp_path_factory.mktemp("site")
    return folder, site.write(folder, [])


@pytest.fixture(scope="module")
def served(pages):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(pages[0]))
    handler.log_message = lambda *a: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.browser
def test_the_whole_site(pages, served, tmp_path):
    """Every page, from disk and over http: views answer, links lead somewhere, both themes, nothing from outside, no error."""
    folder, files = pages
    names = {f.name for f in files}
    for file in files:
        for target in re.findall(r'href="([^":#]+)"', file.read_text()):
            assert target in names, f"{file.name} links to {target}"
    views = 0
    for file in files:
        for address in (file.as_uri(), f"{served}/{file.name}"):
            with browser_page((folder.as_uri(), served)) as page:
                page.goto(address)
                count = page.locator("[data-view]").count()
                if count:
                    page.wait_for_function("() => document.documentElement.dataset.views === 'ready'", timeout=60_000)
                    assert page.locator(".ssl-view").count() >= count and page.locator(".ssl-place > img").count() == 0
                    views += count
                replay = page.locator(".ssl-replay").first
                if replay.count():
                    replay.focus()
                    before = replay.get_attribute("data-frame")
                    page.keyboard.press("ArrowLeft")
                    assert replay.get_attribute("data-frame") == str(int(before) - 1)
                explorer = page.locator(".ssl-explorer").first
                if explorer.count():
                    before = int(explorer.get_attribute("data-draws"))
                    explorer.locator("input[type=range]").first.focus()
                    page.keyboard.press("End")
                    assert int(explorer.get_attribute("data-draws")) > before
                theme = page.evaluate("() => document.documentElement.dataset.theme")
                page.locator("#theme").click()
                assert page.evaluate("() => document.documentElement.dataset.theme") != theme
                if address.startswith("file"):
                    keep(page, tmp_path / f"site-{file.stem}.png", full_page=True)
                assert page.external == [], page.external
                assert page.errors == [], page.errors
    assert views >= 10, "explorers and replays should be on the pages"
