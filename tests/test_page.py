"""Views as pages of their own: opened from disk, without a kernel, without a network."""

import json
import re

import pytest
import torch
from browser import browser_page, keep
from test_browser import FRAMES, with_clusters

from sslcourse.data import toybox as world
from sslcourse.widgets import augmentations, temperature, toybox, views


def explorer(name: str):
    x = world.render(world.factors(12))[0]
    z = torch.randn(12, 8)
    return {
        "toybox": toybox,
        "augmentations": lambda: augmentations(x),
        "temperature": lambda: temperature(z, z + torch.randn(12, 8), x),
    }[name]()


def test_a_page_is_whole_and_speaks_of_nothing_outside(tmp_path):
    path = with_clusters("</script><b>one</b>").page(tmp_path / "run", title="<a training>")
    text = path.read_text()
    assert (
        path.name == "run.html"
        and "&lt;a training&gt;" in text
        and "<b>one" not in text.replace("\\/", "/").split("<body>")[0]
    )
    for kind in ("data-script", "data-state"):
        for body in re.findall(rf'<script type="application/json" {kind}="[^"]*">(.*?)</script>', text, re.S):
            assert not set("<>&") & set(body)  # a comment could swallow the end of the element, too
            assert json.loads(body)
    assert text.count("<script") == text.count("</script>") == 3
    assert not re.search(r'(src|href)="(?!data:)', text) and "http" not in re.sub(
        r"data:image/png;base64,[^\"]*", "", text
    )


def test_collect_writes_every_living_view(tmp_path):
    for left in views.alive():  # of other tests, some of them broken on purpose
        left.close()
    made = with_clusters("mine")
    gone = with_clusters("closed")
    gone.close()
    count = views.collect(tmp_path / "views.json")
    found = json.loads((tmp_path / "views.json").read_text())
    assert count == len(found) and made.model_id in found and found[made.model_id]["script"] == "replay"
    assert found[made.model_id]["traits"]["about"]["runs"][0]["title"] == "mine" and gone not in views.alive()


@pytest.mark.browser
def test_a_replay_from_disk(tmp_path):
    path = with_clusters("one").page(tmp_path / "run.html")
    with browser_page((path.as_uri(),)) as opened:
        opened.goto(path.as_uri())
        opened.wait_for_function("() => document.documentElement.dataset.views === 'ready'")
        assert opened.locator(".ssl-place > img").count() == 0  # the stand-in has gone
        opened.locator(".ssl-replay").focus()
        opened.keyboard.press("ArrowLeft")
        assert opened.evaluate("() => document.querySelector('.ssl-replay').dataset.frame") == str(FRAMES - 2)
        assert opened.errors == [] and opened.external == []


@pytest.mark.browser
@pytest.mark.parametrize(
    "name, control", [("toybox", "hue"), ("augmentations", "colour"), ("temperature", "temperature")]
)
def test_an_explorer_answers_without_a_kernel(tmp_path, name, control):
    path = explorer(name).page(tmp_path / f"{name}.html")
    with browser_page((path.as_uri(),)) as opened:
        opened.goto(path.as_uri())
        opened.wait_for_function("() => document.documentElement.dataset.views === 'ready'")
        picture = "() => document.querySelector('img.ssl-picture').src"
        size = "() => document.querySelector('img.ssl-picture').naturalWidth"
        old = opened.evaluate(picture)
        slider = opened.locator(f".ssl-explorer input[data-name={control}]")
        for end in ("End", "Home"):
            slider.focus()
            opened.keyboard.press(end)
            opened.wait_for_function(f"(old) => ({picture})() !== old", arg=old)
            old = opened.evaluate(picture)
            opened.wait_for_function(f"() => ({size})() > 50")
        assert float(opened.evaluate("() => document.querySelector('.ssl-explorer').dataset.ms")) < 50
        opened.locator(".ssl-explorer select").first.select_option(index=2)
        opened.wait_for_function(f"(old) => ({picture})() !== old", arg=old)
        assert opened.locator(".ssl-explorer button").count() == 0  # what needs Python is not offered
        keep(opened, tmp_path / f"page-{name}.png")
        assert opened.errors == [] and opened.external == []


@pytest.mark.browser
def test_without_scripts_the_picture_stands(tmp_path):
    path = with_clusters("one").page(tmp_path / "run.html")
    stripped = tmp_path / "plain.html"
    stripped.write_text(re.sub(r"<script.*?</script>", "", path.read_text(), flags=re.S))
    with browser_page((stripped.as_uri(),)) as opened:
        opened.goto(stripped.as_uri())
        assert opened.evaluate("() => document.querySelector('.ssl-place > img').naturalWidth") > 500
