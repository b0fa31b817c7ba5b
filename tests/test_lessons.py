"""Every lesson in a real JupyterLab: it runs to its end, its widgets answer, nothing leaves the machine, the console is silent."""

import os
import pathlib
import shutil

import pytest
from browser import NOTEBOOK, lab, open_and_run, page  # noqa: F401 (fixtures)

pytestmark = pytest.mark.browser

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "notebooks"
LESSONS = sorted(FOLDER.glob("*.ipynb"))


def keep(page, lesson: str, folder: pathlib.Path) -> None:  # noqa: F811
    """One picture of the whole notebook, as tall as it is."""
    height = page.evaluate("() => document.querySelector('.jp-WindowedPanel-outer').scrollHeight")
    page.set_viewport_size({"width": 1200, "height": min(int(height) + 150, 16_000)})
    page.wait_for_timeout(1500)
    page.screenshot(path=str(folder / f"{lesson}.png"))
    wanted = os.environ.get("SSLCOURSE_SCREENSHOTS")
    if wanted:
        pathlib.Path(wanted).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / f"{lesson}.png", wanted)


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_lesson(path, page, lab, tmp_path):  # noqa: F811
    open_and_run(page, lab, path, timeout_s=300)
    outputs = page.evaluate(f"""() => {{ const cells = {NOTEBOOK}.content.model.cells; let pictures = 0, widgets = 0;
        for (let i = 0; i < cells.length; i++) {{ const c = cells.get(i); if (c.type !== 'code') continue;
            for (let j = 0; j < c.outputs.length; j++) {{ const d = c.outputs.get(j).data || {{}};
                pictures += 'image/png' in d; widgets += 'application/vnd.jupyter.widget-view+json' in d; }} }}
        return [pictures, widgets]; }}""")
    assert outputs[0] >= 5 and outputs[1] >= 2, outputs
    # The replay: its slider is moved by the keyboard, and another frame is shown.
    replay = page.locator(".ssl-replay").first
    replay.scroll_into_view_if_needed()
    slider = replay.locator("input[type=range]").first
    before = slider.input_value()
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("([e, old]) => e.value !== old", arg=[slider.element_handle(), before], timeout=10_000)
    # A slider of the first explorer: the kernel draws another picture.
    picture = page.locator("img.ssl-picture").first
    picture.scroll_into_view_if_needed()
    source = picture.get_attribute("src")
    handle = page.locator(".ssl-explorer input[type=range]").first
    handle.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("([e, old]) => e.src !== old", arg=[picture.element_handle(), source], timeout=20_000)
    keep(page, path.stem, tmp_path)
    assert page.external == [], page.external
    assert page.errors == [], page.errors
