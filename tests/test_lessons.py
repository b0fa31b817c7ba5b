"""Every lesson in a real JupyterLab: it runs to its end, every view answers, nothing leaves the machine, the
console is silent.

And then, from the same run, as a page of the site: what answers there needs no kernel.
"""

# ruff: noqa: F401, F811 (fixtures are imported, and named as arguments)

import json
import pathlib

import nbformat
import pytest
from browser import (
    NOTEBOOK,
    PICTURES,
    keep as keep_picture,
    lab,
    move_explorer,
    open_and_run,
    page,
    site,
    use_page,
    use_theme,
)

pytestmark = pytest.mark.browser

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "notebooks"
LESSONS = [*sorted(FOLDER.glob("*.ipynb")), *sorted((FOLDER / "homework").glob("*.ipynb"))]
# What a lesson must show, at least: a lesson that loses a view should not pass.
VIEWS = {
    "00_start": {"replay", "explorer", "clusters", "neighbours", "filters", "pointer", "clip"},
    "01_simclr": {"replay", "explorer", "clusters", "neighbours", "filters"},
    "02_bigan": {"replay", "explorer", "neighbours"},
    "03_damaged_jigsaw": {"replay", "puzzle", "neighbours", "filters"},
    "04_rotation_and_clusters": {"replay", "clusters", "neighbours"},
    "05_single_image": {"replay", "neighbours", "filters"},
    "06_byol": {"replay", "clusters", "neighbours"},
    "07_clip": {"replay", "captions"},
    "08_video_lstm": {"replay", "films", "explorer", "neighbours"},
    "09_tracking_by_colorization": {"replay", "films", "pointer"},
    "10_dense_predictive_coding": {"replay", "films", "explorer"},
    "11_audio_video_sync": {"replay", "clip", "explorer", "films"},
    "12_cross_modal_clustering": {"replay", "films", "explorer", "clusters", "clip"},
    "13_results_wall": {"explorer"},
    "90_bugs_museum": {"replay"},
}


def first(page, view: str):
    found = page.locator(f".ssl-{view}").first
    found.scroll_into_view_if_needed()
    return found


def data(found, name: str) -> str:
    return found.get_attribute(f"data-{name}") or ""


def until(page, found, condition: str, old=None, timeout_s: float = 20) -> None:
    """Wait until a condition on the view's data attributes `d` holds."""
    script = f"([e, old]) => {{ const d = e.dataset; return {condition}; }}"
    page.wait_for_function(script, arg=[found.element_handle(), old], timeout=timeout_s * 1000)


def use_replay(page) -> None:
    replay = first(page, "replay")
    before = data(replay, "frame")
    replay.locator("input[type=range]").first.focus()
    page.keyboard.press("ArrowLeft")
    until(page, replay, "d.frame !== old", before)


def use_explorer(page) -> None:
    """A slider moves (or, where there is none, another choice is made), and the kernel draws another picture."""
    explorer = first(page, "explorer")
    before = data(explorer, "draws")
    sliders = explorer.locator("input[type=range]")
    if sliders.count():
        sliders.first.focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
    else:
        move_explorer(page, explorer)
    until(page, explorer, "+d.draws > +old && +d.ms > 0", before)


def use_clusters(page) -> None:
    """Hover, pin, a lasso round everything, and its indices in Python."""
    clusters = first(page, "clusters")
    until(page, clusters, "d.pictures === 'ready'")
    clusters.focus()
    page.keyboard.press("ArrowRight")
    until(page, clusters, "d.hover !== ''")
    page.keyboard.press("Enter")
    until(page, clusters, "d.pins !== ''")
    by = data(clusters, "by")
    clusters.locator("select").first.select_option(index=2)
    until(page, clusters, "d.by !== old", by)
    box = clusters.locator(".over").bounding_box()
    corners = [(0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98), (0.02, 0.05)]
    page.mouse.move(box["x"] + box["width"] * corners[0][0], box["y"] + box["height"] * corners[0][1])
    page.mouse.down()
    for x, y in corners[1:]:
        page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y, steps=8)
    page.mouse.up()
    until(page, clusters, "+d.selected > 0.9 * +d.points")
    for _ in range(20):  # the message to the kernel may still be under way, on a busy machine behind others
        count = in_kernel(page, "len(explorer.selected)")
        if count == data(clusters, "selected"):
            break
        page.wait_for_timeout(500)
    assert count == data(clusters, "selected"), "the selection comes back to Python"


def use_neighbours(page) -> None:
    view = first(page, "neighbours")
    before = data(view, "query")
    view.locator("button.near").first.click()
    until(page, view, "d.query !== old && +d.history > 0", before)


def use_filters(page) -> None:
    view = first(page, "filters")
    until(page, view, "d.pictures === '1'")
    view.locator("canvas.units").focus()
    page.keyboard.press("ArrowRight")
    until(page, view, "d.unit === '1'")


def use_puzzle(page) -> None:
    """Two pieces change places, and a check counts."""
    view = first(page, "puzzle")
    until(page, view, "d.pictures === 'ready'")
    before = data(view, "placed")
    view.locator("button.tile").nth(0).click()
    view.locator("button.tile").nth(4).click()
    until(page, view, "d.placed !== old", before)
    view.locator("button.check").click()
    until(page, view, "d.hits !== '' && d.tries === '1'")
    view.locator("button.reveal").click()
    until(page, view, "d.network !== ''")


def use_pointer(page) -> None:
    view = first(page, "pointer")
    until(page, view, "d.loaded === '1' && d.peak !== ''")
    before = data(view, "frame")
    view.locator("button.play").first.click()
    until(page, view, "d.frame !== old && +d.done > 2", before)


def use_clip(page) -> None:
    """After a real click there is sound, above silence and in step with the picture."""
    view = first(page, "clip")
    until(page, view, "d.loaded === '1'")
    view.locator("button.play").first.click()
    until(page, view, "d.sound === 'running' && +d.rms > 0.005")
    assert float(data(view, "drift")) < 250


def use_films(page) -> None:
    """It plays: the frame moves on by itself."""
    view = first(page, "films")
    until(page, view, "d.loaded === '1'")
    before = data(view, "frame")
    view.locator("button.play").click()
    until(page, view, "d.frame !== old && d.playing === '1'", before)
    view.locator("button.play").click()
    until(page, view, "d.playing === '0'")


def use_captions(page) -> None:
    """A typed caption is answered by the kernel, and a picture by the captions nearest to it."""
    view = first(page, "captions")
    until(page, view, "d.pictures === 'ready'")
    before, chosen = data(view, "answers"), data(view, "picture")
    view.locator("input[type=text]").fill("a large blue torus with stripes at the left")
    until(page, view, "+d.answers > +old && d.source === 'kernel'", before)
    view.locator(".tiles button[aria-pressed=false]").first.click()
    until(page, view, "d.picture !== old && d.caption !== ''", chosen)


USES = {
    "replay": use_replay,
    "explorer": use_explorer,
    "clusters": use_clusters,
    "neighbours": use_neighbours,
    "filters": use_filters,
    "pointer": use_pointer,
    "clip": use_clip,
    "films": use_films,
    "captions": use_captions,
    "puzzle": use_puzzle,
}


def in_kernel(page, expression: str, first: str = "pass") -> str:
    """Evaluate an expression in the notebook's kernel, after a statement; its text."""
    return page.evaluate(
        """async ([notebook, first, expression]) => {
            const future = eval(notebook).sessionContext.session.kernel.requestExecute(
                { code: first, user_expressions: { value: expression }, silent: false, store_history: false });
            const reply = await future.done;
            return reply.content.user_expressions.value.data['text/plain'];
        }""",
        [NOTEBOOK, first, expression],
    )


def keep(page, lesson: str, folder: pathlib.Path) -> None:
    """Both themes, where pictures are kept with one of the whole notebook, as tall as it is."""
    if PICTURES:
        height = page.evaluate("() => document.querySelector('.jp-WindowedPanel-outer').scrollHeight")
        page.set_viewport_size({"width": 1200, "height": min(int(height) + 150, 16_000)})
    for dark in (False, True):
        use_theme(page, dark)
        if PICTURES:
            page.evaluate(
                "() => { document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0 }"
            )  # where the views took it
            page.wait_for_timeout(1500)
            keep_picture(page, folder / f"{lesson}-{'dark' if dark else 'light'}.png")


@pytest.mark.parametrize(
    "path", LESSONS, ids=lambda p: f"homework-{p.stem}" if p.parent.name == "homework" else p.stem
)
def test_lesson(path, page, lab, site, tmp_path):
    open_and_run(page, lab, path, timeout_s=400)
    there = {view for view in USES if page.locator(f".ssl-{view}").count()}
    wanted = VIEWS.get(path.stem, set())
    assert wanted <= there, f"missing: {wanted - there}"
    pictures = page.evaluate(f"""() => {{ const cells = {NOTEBOOK}.content.model.cells; let pictures = 0;
        for (let i = 0; i < cells.length; i++) {{ const c = cells.get(i); if (c.type !== 'code') continue;
            for (let j = 0; j < c.outputs.length; j++) pictures += 'image/png' in (c.outputs.get(j).data || {{}}); }}
        return pictures; }}""")
    assert pictures >= (1 if path.parent.name == "homework" else 5), pictures
    for view in USES:  # in this order
        if view in there:
            USES[view](page)
    keep(page, path.stem, tmp_path)
    assert page.external == [], page.external
    assert page.errors == [], page.errors
    states = tmp_path / "states.json"
    in_kernel(page, f"views.collect({str(states)!r})", first="from sslcourse.widgets import views")
    # Widgets of others (a progress bar, say) are no part of a page, and an input's prompt has no meaning
    # there.
    ran = nbformat.from_dict(page.evaluate(f"() => {NOTEBOOK}.content.model.toJSON()"))
    sources = site.build.sources([])
    (source,) = [
        s
        for s in sources
        if (s.stem, site.build.is_homework(s)) == (path.stem, path.parent.name == "homework")
    ]
    text, views = site.page_of(source, ran, json.loads(states.read_text()))
    file = tmp_path / "site" / f"{site.stem(source)}.html"
    file.parent.mkdir()
    file.write_text(text)
    assert views >= len(wanted) and use_page(file, tmp_path, beside=page) == views
