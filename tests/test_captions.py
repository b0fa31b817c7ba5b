# ruff: noqa: F811 (pytest hands fixtures over by the names that were imported)
"""The text box: what it answers equals a loop, in Python and in a browser, with a kernel and without."""

import io

import numpy as np
import pytest
import torch
from browser import blank_page, browser_page, host_view, keep  # noqa: F401 (fixtures)
from PIL import Image

from sslcourse import encoders
from sslcourse.data import captions
from sslcourse.methods import clip, simclr
from sslcourse.runtime.errors import CourseError
from sslcourse.train import features
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe
from sslcourse.widgets import text_box
from sslcourse.widgets.captions import short_captions


@pytest.fixture(scope="module")
def trained(toys):
    torch.manual_seed(0)
    method = clip.CLIP(encoders.small_cnn(8), dim=16, width=16, layers=1, heads=2)
    fit(method, toys.train.unlabelled(), Recipe(epochs=3, batch_size=64, lr=3e-3))
    return method


def test_both_ways_equal_a_loop(trained, toys):
    view = text_box(trained, toys.validation, "a small red cube")
    z = features.extract(trained, toys.validation, encode=trained.embed_images)
    with torch.no_grad():
        words = trained.embed_texts(captions.TOYBOX.encode(short_captions()))
    query = words[short_captions().index("a small red cube")]
    order = sorted(range(len(z)), key=lambda i: -float(z[i] @ query))
    assert view.nearest("a small red cube", 5).tolist() == order[:5] and view.chosen == order[0]
    best = sorted(range(len(words)), key=lambda i: -float(z[3] @ words[i]))[:4]
    assert view.said(3, 4) == [short_captions()[i] for i in best]
    assert len(view.images) == 128 * 16 and len(view.captions) == len(short_captions()) * 16
    size = sum(len(getattr(view, name)) for name in ("images", "captions", "pictures"))
    assert size < 700_000, size
    assert np.asarray(Image.open(io.BytesIO(view.picture())).convert("RGB")).std() > 5 and "0x" not in repr(
        view
    )


def test_python_answers_word_for_word(trained, toys):
    view = text_box(trained, toys.validation)
    text = "a picture of a large cone with stripes at the top"
    view.wanted = {"text": text, "turn": 1}
    with torch.no_grad():
        expected = trained.embed_texts(captions.TOYBOX.encode(text))[0]
    torch.testing.assert_close(
        torch.from_numpy(np.frombuffer(view.answer, "<f4").copy()), expected, rtol=1e-5, atol=1e-6
    )
    assert view.reply == {"text": text, "turn": 1, "error": ""}
    view.wanted = {"text": "a crimson cone", "turn": 2}
    assert "crimson" in view.reply["error"] and "red" in view.reply["error"] and view.answer == b""


def test_mistakes_are_named(trained, toys):
    for call, match in (
        (lambda: text_box(simclr.SimCLR(encoders.small_cnn(8)), toys.validation), "no text encoder"),
        (lambda: text_box(trained, toys.validation, "a cube at the top"), "start="),
        (
            lambda: text_box(
                clip.CLIP(encoders.small_cnn(8), captions.vocabulary(["a dog"])), toys.validation
            ),
            "vocabulary of its own",
        ),
    ):
        with pytest.raises(CourseError, match=match):
            call()


@pytest.mark.browser
def test_in_a_browser(trained, toys, blank_page, tmp_path):
    page, view = blank_page, text_box(trained, toys.validation, "a red cube")
    host_view(page, view)
    root = page.locator(".ssl-captions")
    page.wait_for_function("() => document.querySelector('.ssl-captions').dataset.pictures === 'ready'")
    d = lambda name: root.get_attribute(f"data-{name}")
    rank = lambda text: view.nearest(text, 3).tolist()
    assert int(d("first")) in rank("a red cube")  # 8-bit vectors may swap close ones
    box = root.locator("input[type=text]")
    box.fill("the SMALL blue sphere!")
    assert (
        d("text") == "a small blue sphere"
        and d("source") == "here"
        and int(d("first")) in rank("a small blue sphere")
    )
    assert page.evaluate("() => window.saved.at(-1).wanted.text") == "the SMALL blue sphere!"
    first = d("first")
    box.fill("a crimson cube")
    assert (
        d("unknown") == "crimson"
        and "turquoise" in root.locator(".note.strange").inner_text()
        and d("first") == first
    )
    # The kernel's answer, as Python would give it; one to an older question is left aside.
    box.fill("a cone at the top")
    turn = page.evaluate("() => window.saved.at(-1).wanted.turn")
    view.wanted = {"text": "a cone at the top", "turn": turn}
    send = """([answer, reply]) => {
        window.model.set('answer', new DataView(Uint8Array.from(answer).buffer));
        window.model.set('reply', reply);
    }"""
    page.evaluate(send, [list(view.answer), {**view.reply, "turn": turn - 1}])
    assert d("source") == "here"
    page.evaluate(send, [list(view.answer), view.reply])
    assert d("source") == "kernel" and int(d("first")) in rank("a cone at the top")
    # The other way round, with the keyboard.
    root.locator(".tiles button").nth(2).focus()
    page.keyboard.press("Enter")
    chosen = int(d("picture"))
    assert chosen == page.evaluate("() => window.model.get('chosen')") and d("caption") in view.said(
        chosen, 3
    )
    caption = d("caption")
    root.locator(".said button").first.click()
    assert box.input_value() == caption and d("text") == caption
    keep(page, tmp_path / "captions.png")
    assert page.errors == [] and page.external == []
    page.evaluate("() => window.cleanup()")
    assert page.evaluate("() => window.alive") == 0 and root.count() == 0


@pytest.mark.browser
def test_without_a_kernel(trained, toys, tmp_path):
    file = text_box(trained, toys.validation, "a red cube").page(tmp_path / "box.html")
    with browser_page((tmp_path.as_uri(),)) as page:
        page.goto(file.as_uri())
        root = page.locator(".ssl-captions")
        root.locator("input[type=text]").fill("a green cone with stripes")
        assert (
            root.get_attribute("data-text") == "a green cone"
            and "stripes" in root.locator(".note").first.inner_text()
        )
        assert page.errors == [] and page.external == []
