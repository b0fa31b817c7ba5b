# ruff: noqa: F811 (pytest hands fixtures over by the names that were imported)
"""Films in step: what is sent can be cut back into the frames, mistakes are named, and in a browser all films
show the same moment.
"""

import io

import numpy as np
import pytest
import torch
from browser import blank_page, host_view, keep  # noqa: F401 (fixtures)
from PIL import Image

from sslcourse.runtime.errors import CourseError
from sslcourse.widgets import films as module
from sslcourse.widgets.films import films


def _flat(n, t, h=8, w=8, offset=0):
    """Films whose every frame has one colour: red says which film, green which frame."""
    x = torch.zeros(n, 3, t, h, w, dtype=torch.uint8)
    for i in range(n):
        for f in range(t):
            x[i, 0, f], x[i, 1, f], x[i, 2, f] = 20 * i + offset, 10 * f, 200
    return x


def _cut(view, number):
    """One frame of the view's picture, as the browser cuts it."""
    cut, page = view.about["cut"], np.asarray(Image.open(io.BytesIO(view.sheet)).convert("RGB"))
    y, x = number // cut["across"] * cut["high"], number % cut["across"] * cut["wide"]
    return page[y : y + cut["height"], x : x + cut["width"]]


def test_every_frame_can_be_cut_out_again():
    torch.manual_seed(0)
    first, second = torch.rand(3, 3, 5, 6, 9), torch.rand(2, 3, 5, 6, 9)
    view = films({"true": first, "guess": second}, fps=4, scale=4)
    assert view.about["cut"]["type"] == "image/png"
    whole = torch.cat([first, second])
    for i in range(5):
        for f in range(5):
            expected = (whole[i, :, f] * 255).round().permute(1, 2, 0).numpy()
            assert (_cut(view, i * 5 + f) == expected).all()
    assert (
        view.about["rows"] == [["true", 3, []], ["guess", 2, []]]
        and view.about["count"] == 5
        and view.about["scale"] == 4
    )


def test_grey_films_and_large_ones_stay_small():
    torch.manual_seed(0)
    grey = films({"digits": torch.rand(2, 1, 6, 16, 16)})
    assert Image.open(io.BytesIO(grey.sheet)).mode == "L"
    t = torch.linspace(0, 6, 16)[:, None, None]
    y, x = torch.meshgrid(torch.linspace(0, 3, 32), torch.linspace(0, 3, 32), indexing="ij")
    waves = torch.stack([0.5 + 0.5 * torch.sin(t + k * x + (3 - k) * y) for k in range(3)])  # (3, T, H, W)
    many = (waves[None].repeat(8, 1, 1, 1, 1) + 0.05 * torch.randn(8, 3, 16, 32, 32)).clamp(0, 1)
    view = films({"films": many})
    assert view.about["cut"]["type"] == "image/webp" and len(view.sheet) < many.numel() / 8
    assert np.abs(_cut(view, 3 * 16 + 5) / 255 - many[3, :, 5].permute(1, 2, 0).numpy()).mean() < 0.08


def test_the_stored_picture_is_a_strip_of_frames_with_the_marks():
    rows = {"seen": _flat(2, 12), "predicted": _flat(2, 12, offset=100)}
    plain, marked = (
        films(rows),
        films(rows, marks={"predicted": range(6, 12)}, title="two films", note="outlined: predicted"),
    )
    a, b = (
        np.asarray(Image.open(io.BytesIO(v.picture())).convert("RGB")).astype(int) for v in (plain, marked)
    )
    blue = lambda x: int(((x[..., 2] > 190) & (x[..., 2] < 210)).sum())
    assert blue(a) >= 2 * 8 * 24 * 24 * 0.9  # two strips of eight frames, three times as large
    orange = lambda x: int(((x[..., 0] > 190) & (x[..., 1] < 130) & (x[..., 2] < 60)).sum())
    assert orange(b) > 400 > orange(a)
    assert (
        repr(plain) == "<films of 12 frames: seen (2), predicted (2)>"
        and len(marked._repr_mimebundle_()[0]["image/png"]) < 30_000
    )


def test_a_row_that_would_not_fit_is_drawn_smaller():
    assert films({"a": _flat(2, 3, 32, 32)}, scale=3).about["scale"] == 3
    assert films({"a": _flat(10, 3, 32, 32)}, scale=3).about["scale"] == 1
    assert films({"a": _flat(10, 2, 96, 96)}, scale=3).about["scale"] == pytest.approx((690 / 10 - 10) / 96)


def test_mistakes_are_named():
    good = _flat(2, 4)
    for call, match in (
        (lambda: films({}), "a dict of rows"),
        (lambda: films(good), "a dict of rows"),
        (lambda: films({"a": good[0]}), r"write x\[None\]"),
        (lambda: films({"a": good[:, :2]}), r"\(n, 3, T, H, W\)"),
        (lambda: films({"a": good, "b": good[:, :, :3]}), "a 4 frames of 8 x 8, b 3 frames"),
        (lambda: films({"a": torch.zeros(1, 3, 2, 300, 300)}), "at most 256 pixels"),
        (lambda: films({"a": good.long()}), "expected uint8"),
        (lambda: films({"a": good}, fps=0), "fps=0"),
        (lambda: films({"a": good}, scale=0), "scale=0"),
        (lambda: films({"a": good}, titles=["one"]), "1 titles for rows of up to 2"),
        (lambda: films({"a": good}, marks={"b": [0]}), "marks for 'b'"),
        (lambda: films({"a": good}, marks={"a": [4]}), "from 0 to 3"),
    ):
        with pytest.raises(CourseError, match=match):
            call()
    assert module.MOST >= 1024


COLOUR = "(e) => [...e.getContext('2d').getImageData(3, 3, 1, 1).data].slice(0, 3)"


@pytest.mark.browser
def test_films_play_in_step_in_a_browser(blank_page, tmp_path):
    page = blank_page
    view = films(
        {"true": _flat(3, 6), "guess": _flat(2, 6, offset=100)},
        fps=20,
        scale=6,
        marks={"guess": [4, 5]},
        titles=["a", "b", "c"],
        title="in step",
        note="outlined: predicted",
    )
    host_view(page, view)
    root = page.locator(".ssl-films")
    data = lambda name: root.get_attribute(f"data-{name}")
    page.wait_for_function("() => document.querySelector('.ssl-films').dataset.loaded === '1'")

    def shown():
        return [tuple(page.evaluate(COLOUR, c)) for c in root.locator("canvas").element_handles()]

    at = lambda f: [(20 * i, 10 * f, 200) for i in range(3)] + [(20 * i + 100, 10 * f, 200) for i in range(2)]
    assert shown() == at(0) and data("marked") == "0" and data("frames") == "6"
    root.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert data("frame") == "2" and shown() == at(2)
    page.keyboard.press("End")
    assert data("frame") == "5" and shown() == at(5) and data("marked") == "2"
    assert root.locator("canvas.marked").count() == 2
    page.keyboard.press("ArrowRight")
    assert data("frame") == "5"  # there is nothing after the last frame
    page.keyboard.press("Home")
    root.locator("input.frame").focus()
    page.keyboard.press("ArrowRight")  # the slider's own key
    assert data("frame") == "1" and page.evaluate("() => window.saved.at(-1).frame") == 1
    root.locator("button.play").click()
    assert data("playing") == "1"
    page.wait_for_function("() => +document.querySelector('.ssl-films').dataset.frame >= 3")
    page.wait_for_function("() => +document.querySelector('.ssl-films').dataset.frame < 3")  # and round again
    root.locator("button.play").click()
    assert data("playing") == "0"
    still = int(data("frame"))
    assert shown() == at(still) and page.evaluate("() => window.saved.at(-1).frame") == still
    page.evaluate("() => window.model.set('frame', 4)")  # Python
    assert data("frame") == "4" and shown() == at(4)
    keep(page, tmp_path / "films.png")
    page.evaluate("() => window.cleanup()")
    left = (
        "() => [window.alive, [...window.listeners.values()].reduce((n, s) => n + s.size, 0), "
        "window.el.childElementCount]"
    )
    assert page.evaluate(left) == [0, 0, 0]
    assert page.errors == [] and page.external == []


@pytest.mark.browser
def test_films_live_on_a_page_without_a_kernel(tmp_path):
    from browser import browser_page

    path = films({"true": _flat(2, 6, 32, 32)}, marks={"true": [0]}, titles=["left", "right"]).page(
        tmp_path / "films.html"
    )
    with browser_page((path.as_uri(),)) as page:
        page.emulate_media(color_scheme="dark")
        page.goto(path.as_uri())
        page.wait_for_function("() => document.querySelector('.ssl-films')?.dataset.loaded === '1'")
        keep(page, tmp_path / "films-dark.png")
        page.locator(".ssl-films").focus()
        page.keyboard.press(" ")
        page.wait_for_function("() => +document.querySelector('.ssl-films').dataset.frame >= 2")
        assert page.errors == [] and page.external == []
