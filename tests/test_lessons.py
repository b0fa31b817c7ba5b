# ruff: noqa: F811 (pytest hands fixtures over by the names that were imported)
"""Lessons in a browser: every view answers, nothing leaves the machine, the console is silent.

No lesson is run for this alone. `make nbval` has run them all and kept the states of their views, and here
each becomes a page of the site, where every view answers without a kernel. With a kernel, in a real
JupyterLab, one lesson of each modality is run as well: WHOLE. The others are run there by `make nightly`.
"""

# ruff: noqa: F401, F811 (fixtures are imported, and named as arguments)

import json
import os
import pathlib
import re

import lesson_runs
import nbformat
import pytest
from browser import (
    NOTEBOOK,
    PICTURES,
    keep as keep_picture,
    lab,
    move_explorer,
    need,
    open_and_run,
    page,
    site,
    use_page,
    use_theme,
)
from test_guard import COMPARED, shown

pytestmark = pytest.mark.browser

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "notebooks"
LESSONS = [*sorted(FOLDER.glob("*.ipynb")), *sorted((FOLDER / "homework").glob("*.ipynb"))]
# Where `make nbval` keeps lessons as they ran.
RECORDED = pathlib.Path(os.environ.get("SSLCOURSE_RECORDED") or lesson_runs.RECORDED)
# Run in JupyterLab in `make test`, in the place of nbval: the shortest with pictures, with films, with
# sound.
WHOLE = {"02_bigan": "image", "10_dense_predictive_coding": "video", "11_audio_video_sync": "sound"}
# What a lesson must show, at least: a lesson that loses a view should not pass.
VIEWS = {
    "00_start": {"replay", "explorer", "clusters", "neighbours", "filters", "pointer", "clip"},
    "01_simclr": {"replay", "explorer", "clusters", "neighbours", "filters", "quiz"},
    "02_bigan": {"replay", "explorer", "neighbours", "quiz"},
    "03_damaged_jigsaw": {"replay", "puzzle", "neighbours", "filters", "quiz"},
    "04_rotation_and_clusters": {"replay", "clusters", "neighbours", "quiz"},
    "05_single_image": {"replay", "neighbours", "filters", "quiz"},
    "06_byol": {"replay", "clusters", "neighbours", "quiz"},
    "07_clip": {"replay", "captions", "quiz"},
    "08_video_lstm": {"replay", "films", "explorer", "neighbours", "quiz"},
    "09_tracking_by_colorization": {"replay", "films", "pointer", "quiz"},
    "10_dense_predictive_coding": {"replay", "films", "explorer", "quiz"},
    "11_audio_video_sync": {"replay", "clip", "explorer", "films", "quiz"},
    "12_cross_modal_clustering": {"replay", "films", "explorer", "clusters", "clip", "quiz"},
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
    """A slider moves (where there is none, another choice is made), and the kernel draws another picture."""
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


def use_clusters(page, kernel: bool = True) -> None:
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
    if not kernel:
        return
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


def use_captions(page, kernel: bool = True) -> None:
    """A typed caption is answered, by a kernel where there is one, and a picture by its nearest captions.

    Without a kernel its size, colour and shape are read, and the caption of the training that says these.
    """
    view = first(page, "captions")
    until(page, view, "d.pictures === 'ready'")
    before, chosen, read = data(view, "answers"), data(view, "picture"), data(view, "text")
    view.locator("input[type=text]").fill("a large blue torus with stripes at the left")
    if kernel:
        until(page, view, "+d.answers > +old && d.source === 'kernel'", before)
    else:
        until(page, view, "d.source === 'here' && d.text !== old && d.text.includes('blue')", read)
    view.locator(".tiles button[aria-pressed=false]").first.click()
    until(page, view, "d.picture !== old && d.caption !== ''", chosen)


def use_quiz(page) -> None:
    """An answer is judged at once."""
    view = first(page, "quiz")
    view.locator("button.choice").first.click()
    until(page, view, "d.answered !== '0'")
    assert view.locator(".said").first.inner_text()[0] in "✓✗"


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
    "quiz": use_quiz,
}


def in_kernel(page, expression: str, first: str = "pass") -> str:
    """Evaluate an expression in the notebook's kernel, after a statement; its text."""
    return page.evaluate(
        """async ([notebook, first, expression]) => {
            const future = eval(notebook).sessionContext.session.kernel.requestExecute(
                { code: first, user_expressions: { value: expression },
                  silent: false, store_history: false });
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


def use_all(page, there, kernel: bool) -> None:
    for view in USES:  # in this order
        if view in there:
            USES[view](page, kernel) if view in ("clusters", "captions") else USES[view](page)


def test_every_view_of_the_course_is_in_a_lesson_and_known_here():
    assert set().union(*VIEWS.values()) == set(USES)
    assert set(VIEWS) == {path.stem for path in LESSONS if path.parent == FOLDER} > set(WHOLE)


def test_each_lesson_is_run_once_by_make_test():
    """By nbval or in JupyterLab: the Makefile leaves to one what the other does not do."""
    line = re.search(r"^WHOLE := .*$", (FOLDER.parent / "Makefile").read_text(encoding="utf-8"), re.M)[0]
    assert re.findall(r"(\w+)\.ipynb", line) == list(WHOLE)


def source_of(site, path):
    (source,) = [
        s
        for s in site.build.sources([])
        if (s.stem, site.build.is_homework(s)) == (path.stem, path.parent.name == "homework")
    ]
    return source


def page_file(site, path, ran, states: dict, folder) -> tuple[pathlib.Path, int]:
    """A lesson that has run as a page of the site, and how many views are on it."""
    text, views = site.page_of(source_of(site, path), ran, states)
    file = folder / "site" / f"{site.stem(source_of(site, path))}.html"
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    return file, views


@pytest.mark.parametrize(
    "path", [p for p in LESSONS if p.parent == FOLDER and p.stem not in WHOLE], ids=lambda p: p.stem
)
def test_views_without_a_kernel(path, site, tmp_path):
    """From the states of the lesson's last run by nbval."""
    kept, states = RECORDED / path.name, RECORDED / f"{path.stem}.views.json"
    if not kept.exists() or not states.exists():
        need(f"{path.stem} has not been run by `make nbval`, which keeps it in {RECORDED}")
    ran = nbformat.read(kept, as_version=4)
    if [c.source for c in ran.cells] != [c.source for c in nbformat.read(path, as_version=4).cells]:
        need(f"{path.stem} has changed since `make nbval` ran it")
    file, views = page_file(site, path, ran, json.loads(states.read_text(encoding="utf-8")), tmp_path)
    seen = []

    def drive(opened) -> None:
        there = {view for view in USES if opened.locator(f".ssl-{view}").count()}
        seen.append(there)
        use_all(
            opened, there - {"explorer"}, kernel=False
        )  # explorers are moved by use_page, which knows what they can do alone

    assert use_page(file, tmp_path, drive=drive) == views
    assert seen and VIEWS[path.stem] <= seen[0], f"missing: {VIEWS[path.stem] - seen[0]}"


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=[] if p.stem in WHOLE else pytest.mark.nightly) for p in LESSONS],
    ids=[f"homework-{p.stem}" if p.parent.name == "homework" else p.stem for p in LESSONS],
)
def test_lesson_in_jupyterlab(path, page, lab, site, tmp_path):
    open_and_run(page, lab, path, timeout_s=400)
    there = {view for view in USES if page.locator(f".ssl-{view}").count()}
    wanted = VIEWS.get(path.stem, set())
    assert wanted <= there, f"missing: {wanted - there}"
    pictures = page.evaluate(f"""() => {{ const cells = {NOTEBOOK}.content.model.cells; let pictures = 0;
        for (let i = 0; i < cells.length; i++) {{ const c = cells.get(i); if (c.type !== 'code') continue;
            for (let j = 0; j < c.outputs.length; j++)
                pictures += 'image/png' in (c.outputs.get(j).data || {{}}); }}
        return pictures; }}""")
    assert pictures >= (1 if path.parent.name == "homework" else 5), pictures
    spent = float(
        in_kernel(page, "sum(__import__('os').times()[:4])")
    )  # itself and its children, as nbval's guard
    assert spent < lesson_runs.allowed()
    use_all(page, there, kernel=True)
    keep(page, path.stem, tmp_path)
    assert page.external == [], page.external
    assert page.errors == [], page.errors
    states = tmp_path / "states.json"
    in_kernel(page, f"views.collect({str(states)!r})", first="from sslcourse.widgets import views")
    # Widgets of others (a progress bar, say) are no part of a page, and an input's prompt has no meaning
    # there.
    ran = nbformat.from_dict(page.evaluate(f"() => {NOTEBOOK}.content.model.toJSON()"))
    file, views = page_file(site, path, ran, json.loads(states.read_text()), tmp_path)
    assert views >= len(wanted) and use_page(file, tmp_path, beside=page) == views
    for here, stored in zip(ran.cells, nbformat.read(path, as_version=4).cells):
        if COMPARED in stored.metadata.get("tags", []):
            assert shown(here) == shown(stored), stored.source
