# ruff: noqa: F811 (pytest hands fixtures over by the names that were imported)
"""The course's pages: what becomes of a lesson, and the whole site, built, with every link followed."""

import json
import pathlib
import re
import resource
import subprocess
import sys
import urllib.parse

import nbformat
import pytest
from browser import browser_page, site, use_page  # noqa: F401 (fixture)
from bs4 import BeautifulSoup

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"


# ------------------------------------------------------------------------------ from a lesson to a page


def test_links_to_notebooks_lead_to_pages(site):
    text = "[a](01_simclr.ipynb) [b](../00_start.ipynb) [c](homework/simclr.ipynb) [d](https://example.org/x.ipynb)"
    found = re.findall(r"\]\((.+?)\)", site.links(text))
    assert found == ["01_simclr.md", "00_start.md", "homework_simclr.md", "https://example.org/x.ipynb"]


def ran() -> nbformat.NotebookNode:
    """A notebook of one cell that has printed, drawn, and shown a view."""
    new = nbformat.v4.new_output
    outputs = [
        new("stream", name="stdout", text="a < b"),
        new("stream", name="stderr", text="secret path"),
        new("display_data", {"text/html": "<b>t</b>", "text/plain": "t"}),
        new("display_data", {"image/png": "AAAA", "text/plain": "<picture>"}),
        new("display_data", {site_view(): {"model_id": "m"}, "image/png": "BBBB", "text/plain": "<view>"}),
        new("display_data", {site_view(): {"model_id": "of others"}, "text/plain": "Widget()"}),
    ]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=outputs)])


def site_view() -> str:
    return "application/vnd.jupyter.widget-view+json"


def test_what_is_kept_of_a_run(site):
    run = site.run_of(ran(), {"m": {"script": "replay"}, "unseen": {}}, "digest")
    assert run["views"] == {"view1": {"script": "replay"}}
    text = site.output_html(run["outputs"][0], run["views"])
    assert "a &lt; b" in text and "secret" not in text and "<b>t</b>" in text and "Widget" not in text
    assert 'src="data:image/png;base64,AAAA"' in text and text.count('data-view="view1"') == 1
    still = site.run_of(ran(), {}, "digest")  # a view without a state is its picture
    text = site.output_html(still["outputs"][0], still["views"])
    assert "data-view" not in text and 'src="data:image/png;base64,BBBB"' in text
    broken = ran()
    broken.cells[0].outputs.append(
        nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
    )
    with pytest.raises(SystemExit, match="ValueError: no"):
        site.run_of(broken, {}, "digest")


def test_a_run_that_was_kept_as_it_ran_is_taken(site, tmp_path):
    (source,) = site.build.sources(["90_bugs_museum"])
    nbformat.write(ran(), tmp_path / "90_bugs_museum.ipynb")
    (tmp_path / "90_bugs_museum.views.json").write_text('{"m": {"script": "replay"}}')
    run = site.taken(source, tmp_path)
    assert list(run["views"]) == ["view1"] and run["digest"] == site.digest(ran())


def test_the_digest_knows_what_changes_a_result(site):
    def of(*texts):
        return site.digest(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(t) for t in texts]))

    same = of("x = 1\ny = 2")
    assert of("# why\nx = 1\n\nfrom a import b", "import c\ny = 2") == of("x = 1", "y = 2")
    assert of("import google.colab", "x = 1\ny = 2") == same != of("x = 1\ny = 3")


def test_stored_runs_are_those_of_the_lessons(site):
    """Each belongs to a lesson whose code is what was run, and has views."""
    names = [site.stem(s) for s in site.build.sources([]) if not site.build.is_homework(s)]
    kept = sorted(f.name.removesuffix(".json.xz") for f in site.RUNS.glob("*.json.xz"))
    assert kept and set(kept) <= set(names) and [text for text in map(site.stale, kept) if text] == []
    for name in kept:
        run = site.stored(name)
        shown = {item["view"] for items in run["outputs"] for item in items if "view" in item}
        assert shown == set(run["views"]) and shown, name


def test_a_lesson_without_a_run_shows_the_pictures_of_its_notebook(site, monkeypatch, tmp_path):
    monkeypatch.setattr(site, "RUNS", tmp_path)
    run = site.stored("90_bugs_museum")
    text = "".join(site.output_html(items, run["views"]) for items in run["outputs"])
    assert run["views"] == {} and text.count("data:image/png;base64,") >= 5 and "data-view" not in text


# -------------------------------------------------------------------------------------------- the whole site


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> pathlib.Path:
    """The site, built as `make site` builds it: a warning is an error."""
    pytest.importorskip("sphinx")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(folder / "doctrees")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command += [str(ROOT / "docs"), str(folder / "site")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout + done.stderr
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    (folder / "seconds").write_text(f"{seconds}")
    return folder / "site"


# Elements that load what they name, and the attributes in which they name it.
LOADS = {
    "img": ("src", "srcset"),
    "script": ("src",),
    "iframe": ("src",),
    "audio": ("src",),
    "video": ("src", "poster"),
    "source": ("src", "srcset"),
    "embed": ("src",),
    "object": ("data",),
    "input": ("src",),
    "link": ("href",),
    "image": ("href",),
    "use": ("href",),
}
# In style sheets and scripts: what makes a browser ask another host.
OTHER = r"""['"`]?(?:https?:)?//"""
ASKS = re.compile(rf"""url\(\s*{OTHER}|@import\s+{OTHER}|(?:fetch|import|importScripts|open)\(\s*{OTHER}""")


def soup_of(file: pathlib.Path) -> BeautifulSoup:
    return BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")


def foreign(address: str) -> bool:
    return bool(urllib.parse.urlsplit(address.strip()).netloc)


def problems(folder: pathlib.Path) -> list[str]:
    """Dead links and anchors of all pages in a folder, and whatever asks another host."""
    soups = {f: soup_of(f) for f in sorted(folder.rglob("*.html"))}
    anchors = {
        f: {e[k] for k in ("id", "name") for e in s.find_all(attrs={k: True})} for f, s in soups.items()
    }
    wrong = []
    for file, soup in soups.items():
        name = file.relative_to(folder)
        named = [a["href"] for a in soup.find_all("a", href=True)]
        for tag, keys in LOADS.items():
            for element in soup.find_all(tag):
                for key in keys:
                    address = element.get(key)
                    if address and foreign(address):
                        wrong.append(f"{name}: <{tag}> asks another host: {address}")
                    elif address and not address.startswith("data:"):
                        named.append(address)
        for address in named:
            parts = urllib.parse.urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else file
            if not target.is_file():
                wrong.append(f"{name}: {address} leads nowhere")
            elif parts.fragment and urllib.parse.unquote(parts.fragment) not in anchors.get(target, ()):
                wrong.append(f"{name}: {address} has no such place")
        code = [e for e in soup.find_all(["style", "script"]) if e.get("type") != "application/json"]
        texts = [e.get_text() for e in code]
        texts += [json.loads(e.get_text()) for e in soup.select("script[data-script]")]  # of the views
        texts += [e["style"] for e in soup.find_all(style=True)]
        wrong += [f"{name}: asks another host: {found[0]}" for text in texts for found in ASKS.finditer(text)]
    for file in [*folder.rglob("*.css"), *folder.rglob("*.js")]:
        name, text = file.relative_to(folder), file.read_text(encoding="utf-8")
        wrong += [f"{name}: asks another host: {found[0]}" for found in ASKS.finditer(text)]
    return wrong


def test_problems_are_found_where_they_were_planted(tmp_path):
    """Each fault on a page of its own, and a page without one."""
    planted = {
        "fine": '<a href="fine.html#x" id="x">x</a> <a href="https://arxiv.org">a</a> <img src="data:,">',
        "dead": '<a href="nobody.html">x</a>',
        "anchor": '<a href="fine.html#gone">x</a>',
        "picture": '<img src="https://example.org/x.png">',
        "script": '<script src="//example.org/x.js"></script>',
        "missing": '<script src="x.js"></script>',
        "font": "<style>@font-face { src: url(https://fonts.example.org/a.woff) }</style>",
        "import": '<style>@import "https://example.org/a.css";</style>',
        "fetched": "<script>fetch('https://example.org/a')</script>",
        "view": """<script type="application/json" data-script="a">"fetch('//example.org')"</script>""",
        "attribute": '<p style="background: url(//example.org/a)">x</p>',
    }
    for name, text in planted.items():
        (tmp_path / f"{name}.html").write_text(text)
    assert sorted({line.split(".")[0] for line in problems(tmp_path)}) == sorted(set(planted) - {"fine"})


@pytest.mark.slow
def test_no_dead_link_and_no_other_host(built):
    pages = sorted(str(f.relative_to(built)) for f in built.rglob("*.html"))
    assert {"index.html", "lessons/00_start.html", "results/claims.html"} <= set(pages) and len(pages) > 35
    assert problems(built) == []
    assert float((built.parent / "seconds").read_text()) < 60  # of processor


@pytest.mark.slow
def test_formulas_are_mathml_and_understood(built):
    """What the converter does not know it leaves as text with a backslash."""
    found = 0
    for file in (built / "lessons").glob("*.html"):
        for formula in re.findall(r"<math.*?</math>", file.read_text(encoding="utf-8"), re.S):
            found += 1
            assert "\\" not in formula, (file.name, formula)
    assert found > 100


def tables(file: pathlib.Path) -> list[list[str]]:
    """All rows of all tables of a page, as text."""
    rows = soup_of(file).select("table.docutils tr")
    return [[" ".join(c.get_text().split()) for c in row.find_all(["th", "td"])] for row in rows]


@pytest.mark.slow
def test_the_pages_print_what_was_measured(built):
    """Effects, intervals and verdicts, computed here from the seeds; every row of every stored table."""
    import numpy as np
    from scipy.stats import t

    from sslcourse import claims, compare

    shown = tables(built / "results" / "claims.html")
    for name in claims.papers():
        stored = json.loads((compare.MEASURED / f"claims-{name}.json").read_text())
        runs = stored["runs"]
        for claim in claims.paper(name).CLAIMS:
            try:
                effects = np.array([claim.effect(runs[seed]) for seed in sorted(runs, key=int)])
            except KeyError:  # not measured yet: then the file says so, and no page has it
                assert "awaits" in stored and claim.text not in {r[0] for r in shown}, claim
                continue
            half = t.ppf(0.975, len(effects) - 1) * effects.std(ddof=1) / len(effects) ** 0.5
            low, high = effects.mean() - half, effects.mean() + half
            verdict = "pass" if low > 0 else "fail" if high < 0 else "inconclusive"
            row = [
                f"{effects.mean():+.3f} ± {effects.std(ddof=1):.3f}",
                f"{low:+.3f} to {high:+.3f}",
                verdict,
            ]
            own = [r[-3:] for r in shown if re.fullmatch(re.escape(claim.text) + r"( \(.*\))?", r[0])]
            assert row in own, (claim, row, own)
    wall = tables(built / "results" / "wall.html")
    for world in ("toybox", "films", "seen", "heard"):
        found = json.loads((compare.MEASURED / f"{world}.json").read_text())
        for name, row in found["rows"].items():
            values = 100 * np.array(row["linear"])
            true = np.array([values.mean(), values.std(ddof=1)])
            told = [[float(x) for x in r[2].split(" ± ")] for r in wall if r[0] == name and "±" in r[2]]
            # Rounded to one digit; a mean in the middle of two may go either way.
            assert any(np.abs(true - t).max() < 0.0501 for t in told), (world, name, true, told)
    others = [file for file in built.rglob("*.html") if file.parent.name != "lessons"]
    everything = [row for file in others for row in tables(file)]
    plain = lambda value: str(value).replace("`", "")
    for file in compare.MEASURED.glob("*.json"):
        stored = json.loads(file.read_text())
        if isinstance(stored.get("rows"), list) and file.stem != "calibration":
            for row in stored["rows"]:
                assert [plain(v) for v in row.values()] in everything, (file.name, row)


@pytest.mark.slow
def test_one_quantity_has_one_number(built):
    """The linear probes that the README, the wall and the calibration all show."""
    from sslcourse import compare

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    calibration = {r[0]: r[2] for r in tables(built / "results" / "calibration.html") if len(r) > 2}
    awaits = "awaits" in json.loads((compare.MEASURED / "calibration.json").read_text())
    # The table of the pictures has the columns of both recipes.
    wall = {r[0]: r[2] for r in reversed(tables(built / "results" / "wall.html")) if len(r) == 12}
    for name in ("random encoder", "SimCLR", "Supervised"):
        here = name.lower() if name == "Supervised" else name
        assert awaits or calibration[here] == wall[name], (name, calibration[here], wall[name])
        assert f"{name} {wall[name]}" in readme


@pytest.mark.slow
@pytest.mark.browser
def test_a_page_and_a_lesson_in_a_browser(built, tmp_path):
    """From disk and over http, light and dark: views answer, no error, nothing is asked of another host."""
    assert use_page(built / "index.html", tmp_path, root=built) == 0
    lesson = built / "lessons" / "01_simclr.html"
    assert use_page(lesson, tmp_path, root=built) == len(soup_of(lesson).select("[data-view]")) >= 5


@pytest.mark.slow
@pytest.mark.browser
def test_a_request_to_another_host_is_seen_in_the_browser(tmp_path):
    asks = "<script>document.write('<im' + 'g src=https://example.org/x.png>')</script>"
    (tmp_path / "index.html").write_text(f"<html data-views=ready><body>{asks}</body></html>")
    with pytest.raises(AssertionError, match="example.org"):
        use_page(tmp_path / "index.html", tmp_path)


@pytest.mark.browser
def test_the_whole_way_from_a_lesson_to_a_page(site, tmp_path):
    """From a run as it is stored, without the theme: the smallest lesson."""
    run = site.stored("02_bigan")
    file = tmp_path / "page.html"
    body = "\n".join(site.output_html(items, run["views"]) for items in run["outputs"])
    file.write_text(site.ALONE.format(title="02_bigan", body=body + site.scripts(run)), encoding="utf-8")
    assert use_page(file, tmp_path) == len(run["views"]) > 0


def test_every_docstring_is_read_without_a_warning(site):
    """By docutils and napoleon, as the reference reads it."""
    pytest.importorskip("sphinx")
    import ast
    import io

    import docstrings
    from docutils.core import publish_doctree
    from sphinx.ext.napoleon import Config, GoogleDocstring

    def warnings(text: str, prepared: bool = True) -> str:
        lines = docstrings.plain(text.splitlines()) if prepared else text.splitlines()
        told = str(GoogleDocstring("\n".join(lines), Config(napoleon_use_rtype=False)))
        stream = io.StringIO()
        publish_doctree(told, settings_overrides={"warning_stream": stream, "report_level": 2})
        return stream.getvalue()

    kinds, read = (ast.Module, ast.FunctionDef, ast.ClassDef), 0
    for file in (ROOT / "sslcourse").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            text = ast.get_docstring(node) if isinstance(node, kinds) else None
            if text:
                read += 1
                assert not warnings(text), (file.name, getattr(node, "name", "module"), warnings(text))
    assert read > 500
    assert "WARNING" in warnings("What **kwargs are", prepared=False)  # as it would be without our reading
