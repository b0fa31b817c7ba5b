# ruff: noqa: F811 (pytest hands fixtures over by the names that were imported)
"""From an event to changed pixels, view by view: `make latency` prints the figures. The cluster explorer's
stand in test_maps.py.
"""

import numpy as np
import pytest
import torch
from browser import blank_page, host_view, lab, open_and_run, page  # noqa: F401 (fixtures)

from sslcourse import encoders
from sslcourse.data import toybox
from sslcourse.methods import simclr
from sslcourse.widgets import Replay, filters, neighbours, pointer, video

pytestmark = pytest.mark.browser

# Fire an event, wait for the frame that shows its effect (and that pixels did change), note the milliseconds.
TIMED = """
async ([act, canvas, count]) => {
  const run = new Function('i', act), frame = () => new Promise((done) => requestAnimationFrame(done)),
      times = [];
  // A checksum of the pixels: reading them back also waits for the drawing to be done.
  const look = () => [...document.querySelectorAll(canvas)].map((c) => {
      const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
    let s = 0; for (let i = 0; i < d.length; i += 7) s = (s * 31 + d[i]) | 0; return s; }).join();
  let unchanged = 0;
  for (let i = 0; i < count; i++) {
    const before = look(); await frame();
    const start = performance.now();
    run(i);
    let took = 0, changed = false;
    for (let wait = 0; wait < 12 && !changed; wait++) { await frame(); took = performance.now() - start;
        changed = look() !== before; }
    times.push(took);
    unchanged += !changed;
  }
  return { times, unchanged };
}
"""


def timed(page, name: str, act: str, canvas: str, most: float, count: int = 20) -> None:
    found = page.evaluate(TIMED, [act, canvas, count])
    times = np.array(found["times"])
    print(f"{name:<58} median {np.median(times):5.1f} ms, worst {times.max():5.1f} ms")
    assert found["unchanged"] <= count // 4, f"{name}: {found['unchanged']} of {count} events changed nothing"
    assert np.median(times) < most


def test_latency_of_a_replay(blank_page):
    rng, labels = np.random.default_rng(0), np.arange(1000) % 10
    view = Replay(
        [
            {
                "row": {"epoch": i + 1, "loss": 5 - 0.1 * i, "kNN": 0.02 * i},
                "xy": rng.normal(size=(1000, 2)),
                "labels": labels,
                "filters": rng.integers(0, 255, (64, 5, 5, 3), dtype=np.uint8),
            }
            for i in range(30)
        ]
    )
    host_view(blank_page, view)
    act = """const s = document.querySelector('.ssl-replay input[type=range]'); s.value = i;
        s.dispatchEvent(new Event('input', { bubbles: true }));"""
    print()
    timed(blank_page, "replay, slider: 1,000 points, 30 epochs, 64 filters", act, ".ssl-replay canvas", 50)


def test_latency_of_neighbours(blank_page):
    data, g = toybox.images(128, 512, 64), torch.Generator().manual_seed(0)
    spaces = {name: torch.randn(512, 32, generator=g) for name in ("one", "two")}
    host_view(
        blank_page, neighbours(spaces, data.validation.image, data.validation.label, classes=data.classes)
    )
    blank_page.wait_for_function(
        "() => document.querySelector('.ssl-neighbours').dataset.pictures === 'ready'"
    )
    act = "document.querySelectorAll('.ssl-neighbours button.near')[1 + i % 7].click();"
    print()
    timed(blank_page, "neighbours, click: 512 images, two encoders", act, ".ssl-neighbours canvas", 50)


def test_latency_of_filters(blank_page):
    data = toybox.images(512, 128, 64)
    torch.manual_seed(0)
    host_view(blank_page, filters(simclr.SimCLR(encoders.small_cnn()), data.train))
    blank_page.wait_for_function("() => document.querySelector('.ssl-filters').dataset.pictures === '1'")
    act = """const c = document.querySelector('.ssl-filters canvas.units');
        c.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));"""
    print()
    timed(blank_page, "filter gallery, next unit: five layers, 512 images", act, ".ssl-filters canvas", 50)


def test_latency_of_the_pointer(blank_page):
    film = toybox.crossing(seed=1)
    host_view(blank_page, pointer(film.frames, video.features_of_colour(film.frames, 16, 16), film.masks))
    blank_page.wait_for_function("() => document.querySelector('.ssl-pointer').dataset.loaded === '1'")
    act = """const r = document.querySelector('.ssl-pointer'); r.focus();
        r.dispatchEvent(new KeyboardEvent('keydown', { key: i % 2 ? ',' : '.', bubbles: true }));"""
    print()
    timed(
        blank_page, "pixel pointer, next frame: 16 x 16 cells, 3 references", act, ".ssl-pointer canvas", 50
    )


def test_latency_of_the_explorers_in_jupyterlab(page, lab, tmp_path):
    """With a real kernel: from a moved control through Python and back to the picture."""
    import nbformat

    cells = [
        "import torch\nfrom sslcourse.widgets import augmentations, temperature, toybox\nfrom "
        "sslcourse.data import toybox as world\n"
        "x = world.render(world.factors(16))[0]\nz = torch.randn(16, 64)",
        "toybox()",
        "augmentations(x)",
        "temperature(z, z + torch.randn(16, 64), x)",
    ]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nbformat.write(made, tmp_path / "explorers.ipynb")
    open_and_run(page, lab, tmp_path / "explorers.ipynb")
    page.wait_for_function("() => document.querySelectorAll('.ssl-explorer').length === 3")
    print()
    for number, control in enumerate(("hue", "colour", "temperature")):
        explorer = page.locator(".ssl-explorer").nth(number)
        explorer.scroll_into_view_if_needed()
        explorer.locator(f"input[data-name={control}]").focus()
        times = []
        for _ in range(15):
            draws = int(explorer.get_attribute("data-draws"))
            page.keyboard.press("ArrowRight")
            page.wait_for_function(
                "([e, old]) => +e.dataset.draws > old", arg=[explorer.element_handle(), draws]
            )
            times.append(float(explorer.get_attribute("data-ms")))
        name = explorer.get_attribute("aria-label")
        print(
            f"{name + ' with a kernel: control to new picture':<58} median {np.median(times):5.1f} ms, "
            f"worst {max(times):5.1f} ms"
        )
        assert np.median(times) < 200
    assert page.errors == []
