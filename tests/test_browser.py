# ruff: noqa: F811 (pytest hands fixtures over by the names that were imported)
"""What a student sees and touches: the replay's JavaScript alone in a page, then all widgets in a real
JupyterLab.
"""

import nbformat
import numpy as np
import pytest
from browser import blank_page, host_view, keep, lab, open_and_run, page, use_theme, wait_change  # noqa: F401 (fixtures)

pytestmark = pytest.mark.browser

FRAMES = 5


# ------------------------------------------------------------------------------- the view alone

ROOT = "document.querySelector('.ssl-replay')"
PIXELS = "[...document.querySelectorAll('.ssl-replay canvas')].map((c) => c.toDataURL()).join('|')"


def recorded(frames: int = FRAMES, points: int = 60):
    from sslcourse.widgets import Replay

    rng = np.random.default_rng(0)
    labels = np.arange(points) % 3
    centre = np.array([[0.6, 0.0], [-0.6, 0.4], [0.0, -0.6]])[labels]
    noise = rng.normal(size=(points, 2)) * 0.15
    return Replay(
        [
            {
                "row": {"epoch": i + 1, "loss": 5.0 - i, "kNN": 0.1 * i + 0.1, "linear": 0.12 * i + 0.1},
                "labels": labels,
                "xy": centre * (i + 1) / frames + noise,
                "filters": rng.integers(0, 255, (8, 5, 5, 3), dtype=np.uint8),
            }
            for i in range(frames)
        ],
        classes=("sphere", "cube", "cone"),
        title="A training",
    )


def host(page, replay):
    host_view(page, replay)
    page.wait_for_function(
        f"() => {ROOT}.dataset.draws >= 2"
    )  # the second drawing, once the view stands in the page


def frame_of(page) -> int:
    return int(page.evaluate(f"() => {ROOT}.dataset.frame"))


def test_the_slider_moves_the_frame_and_the_picture(blank_page):
    host(blank_page, recorded())
    assert frame_of(blank_page) == FRAMES - 1
    old = blank_page.evaluate(f"() => {PIXELS}")
    slider = blank_page.locator(".ssl-replay input[type=range]")
    slider.evaluate("(s) => { s.value = 1; s.dispatchEvent(new Event('input', { bubbles: true })) }")
    assert frame_of(blank_page) == 1
    new = blank_page.evaluate(f"() => {PIXELS}")
    changed = [a != b for a, b in zip(old.split("|"), new.split("|"))]
    assert changed[:3] == [True, True, True] and changed[-1]  # map, loss, probe; filters
    assert "epoch 2 of 5" in blank_page.locator(".ssl-replay output").inner_text()
    assert blank_page.errors == [] and blank_page.external == []


def test_the_map_is_where_the_points_are(blank_page):
    host(blank_page, recorded())
    box = blank_page.locator(".ssl-replay canvas.points").bounding_box()
    reach = recorded().about["runs"][0]["reach"]
    blank_page.mouse.move(
        box["x"] + box["width"] * (0.6 / reach / 2 + 0.5), box["y"] + box["height"] * 0.5
    )  # amid the first class
    blank_page.wait_for_function(
        "() => getComputedStyle(document.querySelector('.ssl-replay .tip')).display === 'block'"
    )
    assert blank_page.locator(".ssl-replay .tip").inner_text() == "sphere"
    assert blank_page.evaluate(f"() => {ROOT}.dataset.hover") == "sphere"
    blank_page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] + 200)
    blank_page.wait_for_function(
        "() => getComputedStyle(document.querySelector('.ssl-replay .tip')).display === 'none'"
    )


def test_keys_step_jump_and_play(blank_page):
    host(blank_page, recorded())
    blank_page.locator(".ssl-replay").focus()
    for key, frame in (
        ("ArrowLeft", 3),
        ("ArrowLeft", 2),
        ("ArrowRight", 3),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("End", 4),
        ("ArrowRight", 4),
    ):
        blank_page.keyboard.press(key)
        assert frame_of(blank_page) == frame, key
    blank_page.locator(
        ".ssl-replay input[type=range]"
    ).focus()  # one step, not two, where the slider has the focus
    blank_page.keyboard.press("ArrowLeft")
    assert frame_of(blank_page) == 3


def test_play_runs_to_the_end_and_stops(blank_page):
    host(blank_page, recorded())
    blank_page.locator(".ssl-replay button").click()
    assert frame_of(blank_page) <= 1 and blank_page.evaluate(f"() => {ROOT}.dataset.playing") == "1"
    blank_page.wait_for_function(
        f"() => {ROOT}.dataset.frame === '4' && {ROOT}.dataset.playing === '0'", timeout=10_000
    )
    blank_page.locator(".ssl-replay").focus()
    blank_page.keyboard.press(" ")
    assert blank_page.evaluate(f"() => {ROOT}.dataset.playing") == "1"
    blank_page.keyboard.press(" ")
    assert blank_page.evaluate(f"() => {ROOT}.dataset.playing") == "0"


def test_the_clean_up_leaves_nothing(blank_page):
    host(blank_page, recorded())
    blank_page.locator(".ssl-replay button").click()  # also while it plays
    assert blank_page.evaluate("() => window.alive") > 0
    blank_page.evaluate("() => window.cleanup()")
    assert blank_page.evaluate("() => window.alive") == 0
    assert blank_page.evaluate("() => [...window.listeners.values()].reduce((n, s) => n + s.size, 0)") == 0
    assert blank_page.evaluate("() => window.el.childElementCount") == 0
    blank_page.wait_for_timeout(600)  # a timer that still ran would now draw on what is gone
    assert blank_page.errors == []


@pytest.mark.parametrize(
    "frames",
    [
        [{"row": {"epoch": 1, "loss": 1.0}}],  # one epoch, neither map nor filters
        [{"row": {"epoch": i, "kNN": 0.5}} for i in (1, 2)],  # a metric that stays, no loss
        [{"row": {}, "xy": np.zeros((1, 2)), "labels": np.array([-1])}],  # one unlabelled point, no metric
    ],
)
def test_little_is_enough(blank_page, frames):
    from sslcourse.widgets import Replay

    host(blank_page, Replay(frames))
    blank_page.locator(".ssl-replay").focus()
    blank_page.keyboard.press("ArrowLeft")
    assert frame_of(blank_page) == 0 and blank_page.errors == []


def test_rows_of_pictures_follow_the_frame(blank_page):
    """Every tile stands where its number says; each frame of the changing row has a colour of its own."""
    from sslcourse.widgets import Replay

    flat = lambda *colours: np.stack([np.full((8, 8, 3), c, np.uint8) for c in colours])
    frames = [
        {
            "row": {"epoch": i + 1, "loss": 1.0},
            "strips": {"x": flat((0, 0, 255), (0, 0, 200)), "drawn": flat((50 * i, 250, 0))},
        }
        for i in range(FRAMES)
    ]
    host(blank_page, Replay(frames))
    blank_page.wait_for_function(f"() => {ROOT}.dataset.strips === '1'")
    centre = """(cell) => { const c = document.querySelector('.ssl-replay canvas.strips');
        const w = parseFloat(c.style.width), h = parseFloat(c.style.height);
        const tile = h / 2 - 6, left = w - 2 * (tile + 4), scale = c.width / w;
        const [column, line] = cell, x = left + column * (tile + 4) + tile / 2,
            y = line * (tile + 6) + tile / 2;
        return [...c.getContext('2d').getImageData(Math.round(x * scale), Math.round(y * scale),
            1, 1).data].slice(0, 3) }"""
    blank_page.locator(".ssl-replay").focus()
    for key, frame in (("End", FRAMES - 1), ("Home", 0), ("ArrowRight", 1)):
        blank_page.keyboard.press(key)
        assert blank_page.evaluate(centre, [0, 0]) == [0, 0, 255] and blank_page.evaluate(centre, [1, 0]) == [
            0,
            0,
            200,
        ]
        assert blank_page.evaluate(centre, [0, 1]) == [50 * frame, 250, 0]
    assert blank_page.errors == [] and blank_page.external == []


def with_clusters(title: str, frames: int = FRAMES, seed: int = 0):
    """A run with cluster assignments and sample predictions."""
    from sslcourse.widgets import Replay

    rng = np.random.default_rng(seed)
    labels, truth = np.arange(60) % 3, np.arange(12) % 3
    return Replay(
        [
            {
                "row": {"epoch": i + 1, "loss": 5.0 - i - seed, "kNN": 0.1 * i + 0.1},
                "labels": labels,
                "xy": rng.normal(size=(60, 2)),
                "assigned": (np.arange(60) + i) % 25,
                "predicted": np.where(np.arange(12) <= 2 * i, truth, -1),
            }
            for i in range(frames)
        ],
        classes=("sphere", "cube", "cone"),
        title=title,
        pictures=rng.integers(0, 255, (12, 3, 32, 32), dtype=np.uint8),
        truth=truth,
    )


def test_clusters_and_predictions_follow_the_slider(blank_page):
    host(blank_page, with_clusters("one"))
    blank_page.wait_for_function(f"() => {ROOT}.dataset.pictures === '1'")
    right = "+document.querySelector('.ssl-replay canvas.guesses').dataset.right"
    assert (
        blank_page.evaluate(f"() => {right}") == 9
    )  # at the last frame 2 * 4 + 1 samples are taken for what they are
    old = blank_page.evaluate("() => document.querySelector('.ssl-replay canvas.points').toDataURL()")
    blank_page.locator(".ssl-replay select").select_option("by cluster")
    assert blank_page.evaluate(f"() => {ROOT}.dataset.colour") == "cluster"
    assert blank_page.evaluate("() => document.querySelector('.ssl-replay canvas.points').toDataURL()") != old
    assert "25 clusters" in blank_page.locator(".ssl-replay .legend").inner_text()
    blank_page.locator(".ssl-replay").focus()
    blank_page.keyboard.press("Home")
    assert blank_page.evaluate(f"() => {right}") == 1
    assert blank_page.errors == []


def test_two_runs_share_a_slider_and_their_axes(blank_page, tmp_path):
    from sslcourse.widgets import side_by_side

    host(
        blank_page, side_by_side({"long": with_clusters("a"), "short": with_clusters("b", frames=3, seed=2)})
    )
    assert frame_of(blank_page) == FRAMES - 1
    assert blank_page.locator(".ssl-replay .run .title").all_inner_texts() == ["long", "short"]
    charts = (
        "[...document.querySelectorAll('.ssl-replay .run')].map((r) => "
        "[...r.querySelectorAll('canvas')].map((c) => c.toDataURL()))"
    )
    at_end = blank_page.evaluate(f"() => {charts}")
    blank_page.locator(".ssl-replay").focus()
    blank_page.keyboard.press("ArrowLeft")  # the short run stays at its end, the long one goes back
    back = blank_page.evaluate(f"() => {charts}")
    assert at_end[1] == back[1] and at_end[0] != back[0]
    blank_page.keyboard.press("Home")
    assert blank_page.evaluate(f"() => {charts}")[1] != back[1]
    for dark in (False, True):
        blank_page.evaluate(
            f"() => {{ document.documentElement.style.colorScheme = '{'dark' if dark else 'light'}' }}"
        )
        blank_page.wait_for_timeout(200)
        keep(blank_page, tmp_path / f"replays-{'dark' if dark else 'light'}.png")
    assert blank_page.errors == []


# ------------------------------------------------------------------------------- all of them in JupyterLab

CELLS = [
    "import torch\nfrom sslcourse.data import toybox as world\nfrom sslcourse.widgets import Panel, "
    "augmentations, map2d, temperature, toybox\n"
    "from sslcourse import show\nscene = world.factors(300)\nimages = world.render(scene)[0]",
    "toybox()",
    "augmentations(images)",
    "g = torch.Generator().manual_seed(0)\nz1 = torch.randn(32, 16, generator=g)\n"
    "temperature(z1, z1 + 0.7 * torch.randn(32, 16, generator=g), images[:32])",
    "import time\ncentre, xy = torch.randn(10, 32, generator=g), None\npanel = Panel(8, "
    "classes=world.SHAPES, title='A training')\n"
    "for epoch in range(8):\n    f = centre[scene['shape']] * epoch / 4 + torch.randn(300, 32, "
    "generator=g)\n    xy = map2d(f, xy)\n"
    "    panel.add({'epoch': epoch + 1, 'loss': 5 - 0.4 * epoch, 'kNN': 0.1 + 0.08 * epoch, 'linear': 0.12 "
    "+ 0.09 * epoch, 'spread': 0.9},\n"
    "              xy=xy, labels=scene['shape'], filters=torch.rand(32, 3, 5, 5, generator=g))\n    "
    "time.sleep(0.3)\npanel.close()",
    "panel.replay",
    "show.grid(images[:8], titles=[world.SHAPES[i] for i in scene['shape'][:8]])",
    (
        "show.table([{'features': 'SimCLR', 'kNN': 0.553, 'linear': (0.6, 0.01)}, {'features': 'pixels', "
        "'kNN': 0.43, 'linear': (0.4, 0.01)}])"
    ),
]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in CELLS],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    path = tmp_path_factory.mktemp("made") / "widgets.ipynb"
    nbformat.write(made, path)
    return path


def picture(number: int) -> str:
    """The nth explorer's picture, as it is loaded in the page."""
    return f"document.querySelectorAll('img.ssl-picture')[{number}].src"


def press(page, number: int, name: str, key: str = "ArrowRight", times: int = 1):
    """Move a slider of the nth explorer from the keyboard, as a student would."""
    slider = page.locator(".ssl-explorer").nth(number).locator(f"input[data-name={name}]")
    slider.scroll_into_view_if_needed()
    slider.focus()
    for _ in range(times):
        page.keyboard.press(key)


def test_widgets_in_jupyterlab(page, lab, notebook, tmp_path):
    open_and_run(page, lab, notebook, timeout_s=180)
    page.wait_for_selector(".ssl-replay")
    page.wait_for_function("() => document.querySelectorAll('img.ssl-picture').length === 3")
    for i in range(3):
        page.wait_for_function(f"() => document.querySelectorAll('img.ssl-picture')[{i}].naturalWidth > 50")

    old = page.evaluate(f"() => {picture(0)}")
    press(page, 0, "hue", times=3)
    old = wait_change(page, picture(0), old)
    page.locator(".ssl-explorer").nth(0).locator("select").first.select_option(label="torus")
    old = wait_change(page, picture(0), old)
    page.wait_for_function("() => document.querySelectorAll('.ssl-caption')[0].innerText.includes('torus')")

    old = page.evaluate(f"() => {picture(1)}")
    press(page, 1, "colour", times=2)
    old = wait_change(page, picture(1), old)
    page.get_by_role("button", name="new draw").click()
    wait_change(page, picture(1), old)

    old = page.evaluate(f"() => {picture(2)}")
    press(page, 2, "temperature", times=4)
    wait_change(page, picture(2), old)

    old = page.evaluate(f"() => {PIXELS}")
    page.locator(".ssl-replay").scroll_into_view_if_needed()
    page.locator(".ssl-replay").focus()
    page.keyboard.press("Home")
    assert frame_of(page) == 0
    wait_change(page, PIXELS, old)
    page.keyboard.press("End")

    seen = page.evaluate(
        "() => [...document.querySelectorAll('.jp-OutputArea-output img')].filter((i) => "
        "i.naturalWidth > "
        "300).length"
    )
    assert seen >= 2  # the panel's last frame and the grid
    for dark in (False, True):
        use_theme(page, dark)
        for i, cell in enumerate(page.locator(".jp-CodeCell").all()[1:], 1):
            cell.scroll_into_view_if_needed()
            keep(cell, tmp_path / f"widgets-{'dark' if dark else 'light'}-{i}.png")
    keep(page, tmp_path / "widgets-page.png")
    assert page.external == [], page.external
    assert page.errors == [], page.errors
