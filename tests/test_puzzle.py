# ruff: noqa: F811 (pytest hands fixtures over by the names that were imported)
"""The puzzle view: what it is handed equals the method's puzzles, and in a browser it is solved by mouse and
by keyboard.
"""

import io

import numpy as np
import pytest
import torch
from browser import blank_page, host_view, keep  # noqa: F401 (fixtures)
from PIL import Image

from sslcourse import encoders
from sslcourse.methods import jigsaw, simclr
from sslcourse.runtime.errors import CourseError
from sslcourse.widgets import puzzles


@pytest.fixture(scope="module")
def method():
    torch.manual_seed(0)
    return jigsaw.Jigsaw(encoders.small_cnn(8), hidden=32).eval()


def test_it_shows_what_the_method_was_shown(method, toys):
    view, found = (
        puzzles(method, toys.validation.image, n=4, seed=5),
        method.solve(toys.validation.image[:4], seed=5),
    )
    given, mended, whole = view._parts
    assert view.about["order"] == found["order"].tolist() and view.about["answer"] == found["answer"].tolist()
    assert (
        view.network_right == (found["order"] == found["answer"]).all(1).tolist()
        and view.about["choices"] == 24
    )
    for i in range(4):
        assert (given[i, found["missing"][i]] == 1).all()  # a hole
        for k in range(9):
            if k != found["missing"][i]:
                assert torch.equal(given[i, k, 0], given[i, k, 2])  # grey, as the network sees it
            torch.testing.assert_close(whole[i, found["order"][i, k]], found["piece"][i, k])
    torch.testing.assert_close(mended, found["mended"].clamp(0, 1))
    cut = view.about["cut"]
    sheet = np.asarray(Image.open(io.BytesIO(view.tiles)))
    place = lambda i: (i // cut["across"] * cut["tile"], i % cut["across"] * cut["tile"])
    y, x = place((2 * 3 + 2) * 9 + 4)  # the third puzzle, as it was, the middle piece
    if cut["type"] == "image/png":
        expected = (whole[2, 4] * 255).round().permute(1, 2, 0).numpy()
        assert np.abs(sheet[y : y + cut["tile"], x : x + cut["tile"]].astype(float) - expected).max() <= 1
    assert len(view.tiles) < 200_000 and "4 of 9 pieces" in repr(view) and "0x" not in repr(view)
    assert np.asarray(Image.open(io.BytesIO(view.picture())).convert("RGB")).std() > 5


def test_one_faded_piece_is_shown_grey_and_the_others_in_colour(toys):
    torch.manual_seed(0)
    method = jigsaw.Jigsaw(encoders.small_cnn(8), hidden=32, fade="one", grey=False).eval()
    view, found = puzzles(method, toys.validation.image, n=4), method.solve(toys.validation.image[:4])
    coloured = (view._parts[0][:, :, 0] - view._parts[0][:, :, 2]).abs().amax((2, 3)) > 0.01
    assert not coloured[found["faded"]].any() and coloured.sum() > 20


def test_mistakes_are_named(method, toys):
    torch.manual_seed(0)
    for call, match in (
        (
            lambda: puzzles(simclr.SimCLR(encoders.small_cnn(8)), toys.validation.image),
            "SimCLR solves no puzzles",
        ),
        (
            lambda: puzzles(jigsaw.Jigsaw(encoders.small_cnn(8), tasks=("colour",)), toys.validation.image),
            "solves no puzzles",
        ),
        (lambda: puzzles(method, toys.validation.image, n=20), "n=20"),
        (lambda: puzzles(method, toys.validation.image[:2], n=3), "of 2 pictures"),
    ):
        with pytest.raises(CourseError, match=match):
            call()


def _solve(order, swap):
    """Swap until the piece of place j lies at place j, for all j; `placed` begins unshuffled."""
    placed = list(range(len(order)))
    for j in range(len(order)):
        at = next(p for p in range(len(order)) if order[placed[p]] == j)
        if at != j:
            swap(at, j)
            placed[at], placed[j] = placed[j], placed[at]
    return placed


@pytest.mark.browser
def test_it_is_solved_in_a_browser(method, toys, blank_page, tmp_path):
    page, view = blank_page, puzzles(method, toys.validation.image, n=3, seed=2, title="solve me")
    orders = view.about["order"]
    host_view(page, view)
    root = page.locator(".ssl-puzzle")
    data = lambda name: root.get_attribute(f"data-{name}")
    page.wait_for_function("() => document.querySelector('.ssl-puzzle').dataset.pictures === 'ready'")
    tile = lambda j: root.locator(".yours .tile").nth(j)
    assert data("placed") == "0,1,2,3,4,5,6,7,8" and data("network") == ""
    drawn = """(e) => { const c = e.querySelector('canvas');
        return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.reduce((a, b) => a + b, 0); }"""
    assert page.evaluate(drawn, tile(0).element_handle()) > 0

    root.locator("button.check").click()
    right = sum(v == k for k, v in enumerate(orders[0]))
    assert (
        data("hits") == str(right)
        and data("tries") == "1"
        and f"{right} of 9" in root.locator(".said").inner_text()
    )

    def drag(a, b):
        boxes = [tile(j).bounding_box() for j in (a, b)]
        middle = lambda box: (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.move(*middle(boxes[0]))
        page.mouse.down()
        page.mouse.move(*middle(boxes[1]), steps=4)
        page.mouse.up()

    placed = _solve(orders[0], drag)
    assert data("placed") == ",".join(map(str, placed)) and data("hits") == "" and data("picked") == ""
    root.locator("button.check").click()
    hits = sum(a == b for a, b in zip(view.about["order"][0], view.about["answer"][0]))
    assert (
        data("hits") == "9" and data("solved") == "0" and data("network") == str(hits)
    )  # the answer shows itself
    assert "All 9 in place, after 2 checks" in root.locator(".said").inner_text()
    assert page.evaluate("() => window.saved.at(-1).solved") == [0]
    assert root.locator(".network .tile.right").count() == hits and root.locator(".was").is_visible()
    keep(page, tmp_path / "puzzle-solved.png")

    root.locator("button.after").click()  # the second one, by keyboard alone
    assert data("puzzle") == "1" and data("network") == "" and data("tries") == "0"
    where = [0]

    def go(j):
        while where[0] // 3 != j // 3:
            page.keyboard.press("ArrowDown" if j // 3 > where[0] // 3 else "ArrowUp")
            where[0] += 3 if j // 3 > where[0] // 3 else -3
        while where[0] != j:
            page.keyboard.press("ArrowRight" if j > where[0] else "ArrowLeft")
            where[0] += 1 if j > where[0] else -1

    def by_keys(a, b):
        go(a)
        page.keyboard.press("Enter")
        assert data("picked") == str(a)
        go(b)
        page.keyboard.press("Enter")

    start = page.evaluate(
        "() => [...document.querySelectorAll('.yours .tile')].findIndex((t) => t.tabIndex === 0)"
    )
    tile(start).focus()
    where[0] = start
    _solve(orders[1], by_keys)
    root.locator("button.check").click()
    assert data("hits") == "9" and data("solved") == "0,1"
    root.locator("button.again").click()
    assert data("placed") == "0,1,2,3,4,5,6,7,8" and data("solved") == "0,1"

    tile(4).click()  # by two clicks; a second click on the same piece puts it down
    assert data("picked") == "4"
    tile(4).click()
    assert data("picked") == ""
    tile(4).click()
    tile(7).click()
    assert data("placed") == "0,1,2,3,7,5,6,4,8"
    root.locator("button.reveal").click()
    assert data("network") != "" and root.locator("button.reveal").get_attribute("aria-pressed") == "true"
    page.evaluate("() => window.model.set('puzzle', 2)")
    assert data("puzzle") == "2"
    page.evaluate("() => window.cleanup()")
    left = (
        "() => [window.alive, [...window.listeners.values()].reduce((n, s) => n + s.size, 0), "
        "window.el.childElementCount]"
    )
    assert page.evaluate(left) == [0, 0, 0]
    assert page.errors == [] and page.external == []


@pytest.mark.browser
def test_it_lives_on_a_page_without_a_kernel(method, toys, tmp_path):
    from browser import browser_page

    path = puzzles(method, toys.validation.image, n=2, seed=2).page(tmp_path / "puzzle.html")
    with browser_page((path.as_uri(),)) as page:
        page.goto(path.as_uri())
        page.wait_for_function("() => document.querySelector('.ssl-puzzle')?.dataset.pictures === 'ready'")
        page.locator(".ssl-puzzle button.check").click()
        assert page.locator(".ssl-puzzle").get_attribute("data-tries") == "1"
        page.locator(".ssl-puzzle button.after").click()
        assert page.locator(".ssl-puzzle").get_attribute("data-puzzle") == "1"
        page.emulate_media(color_scheme="dark")
        page.locator(".ssl-puzzle button.reveal").click()
        keep(page, tmp_path / "puzzle-dark.png")
        assert page.errors == [] and page.external == []
