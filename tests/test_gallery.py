# ruff: noqa: F811 (pytest hands fixtures over by the names that were imported)
"""The filter gallery: what excites a unit, against planted detectors and loops; and the view in a browser."""

import io

import numpy as np
import pytest
import torch
from browser import blank_page, host_view, keep  # noqa: F401 (fixtures)
from PIL import Image
from torch import nn

from sslcourse import encoders
from sslcourse.data.datasets import Samples
from sslcourse.methods import simclr
from sslcourse.runtime.errors import CourseError
from sslcourse.train import features
from sslcourse.widgets import Panel, filters


def test_a_planted_detector_finds_its_spot():
    """One convolution that answers to red, and black pictures with one red pixel each: the strongest place is
    that pixel.
    """
    stage = nn.Conv2d(3, 2, 3, 1, 1, bias=False)
    with torch.no_grad():
        stage.weight.zero_()
        stage.weight[0, 0, 1, 1] = 1.0  # unit 0: red at the centre; unit 1 stays silent
    encoder = encoders.Encoder({"conv1": stage}, 2)
    image = torch.full(
        (12, 3, 16, 16), 128, dtype=torch.uint8
    )  # the encoder centres its input: 128 is about zero
    spots = [((3 * i) % 16, (5 * i) % 16) for i in range(12)]
    for i, (y, x) in enumerate(spots):
        image[i, 0, y, x] = 140 + 10 * i  # the later, the redder
    found = features.excitations(encoder, Samples(image), "conv1", top=4)
    assert found["image"][0].tolist() == [11, 10, 9, 8] and bool((found["value"][0].diff() < 0).all())
    assert [(int(y), int(x)) for y, x in zip(found["y"][0], found["x"][0])] == [
        spots[i] for i in (11, 10, 9, 8)
    ]


@pytest.mark.parametrize("layer", ["conv1", "conv3", "conv5"])
def test_excitations_equal_a_loop(layer, toys):
    torch.manual_seed(0)
    encoder, part = encoders.small_cnn(8).eval().requires_grad_(False), toys.train.take(slice(0, 40))
    found = features.excitations(encoder, part, layer, top=3)
    x = part.image.float() / 255 * 4 - 2
    for stage in encoder.stages.named_children():
        x = stage[1](x)
        if stage[0] == layer:
            break
    for unit in (0, 3, 7):
        best = sorted(((float(x[i, unit].max()), i) for i in range(40)), reverse=True)[:3]
        assert found["image"][unit].tolist() == [i for _, i in best]
        assert torch.allclose(found["value"][unit], torch.tensor([v for v, _ in best]), atol=1e-5)
        i = best[0][1]
        y, x_ = divmod(int(x[i, unit].argmax()), x.shape[3])
        assert (
            float(found["y"][unit][0]) == (y + 0.5) * 32 / x.shape[2]
            and float(found["x"][unit][0]) == (x_ + 0.5) * 32 / x.shape[3]
        )


@pytest.mark.parametrize(
    "build", [encoders.small_cnn, lambda: encoders.resnet18("cifar")], ids=["small", "resnet18"]
)
def test_the_receptive_field_is_what_a_gradient_reaches(build):
    """All weights made positive, so that nothing cancels: where the gradient of one place is not zero, that
    place can see.
    """
    encoder = build().eval()
    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.abs_().add_(0.01)
    for layer in list(encoder.layers)[:3]:
        caught = []
        hook = encoder.layers[layer].register_forward_hook(lambda m, i, o, caught=caught: caught.append(o))
        image = torch.ones(1, 3, 160, 160, dtype=torch.float64, requires_grad=True)
        encoder.double()(image)
        hook.remove()
        h, w = caught[0].shape[2:]
        (slope,) = torch.autograd.grad(caught[0][0, 0, h // 2, w // 2], image)
        seen = (slope[0].abs().sum(0) > 0).nonzero()
        assert int(seen[:, 0].max() - seen[:, 0].min()) + 1 == features.receptive_field(encoder, layer), layer


def gallery(toys, epochs: int = 4):
    torch.manual_seed(0)
    method = simclr.SimCLR(encoders.small_cnn(16))
    panel, g = Panel(epochs, backend="silent"), torch.Generator().manual_seed(0)
    for epoch in range(epochs):
        panel.add({"epoch": epoch + 1, "loss": 1.0}, filters=torch.rand(16, 3, 5, 5, generator=g))
    return filters(method, toys.train, panel, title="a training")


def test_what_travels_and_what_is_stored(toys):
    view = gallery(toys)
    layers = {layer["name"]: layer for layer in view.about["layers"]}
    assert [layers[n]["units"] for n in ("conv1", "conv2", "conv5")] == [16, 32, 64] and view.about[
        "epochs"
    ] == [1, 2, 3, 4]
    assert (
        len(view.kernels) == 4 * 16 * 75 and layers["conv1"]["field"] == 5 and layers["conv2"]["field"] == 9
    )
    places = np.frombuffer(view.places, "<u2").reshape(-1, 3)
    assert places[:, 0].max() < len(view._images) and places[:, 1:].max() <= 32
    size = sum(len(getattr(view, n)) for n in ("kernels", "values", "places", "pictures"))
    assert size < 700_000, size
    picture = Image.open(io.BytesIO(view.picture()))
    assert len(view.picture()) < 60_000 and np.asarray(picture.convert("RGB")).std() > 5
    assert "conv1 (16)" in repr(view) and "0x" not in repr(view)
    patch = view.patches("conv1", 3)
    assert patch.shape == (9, 40, 40, 3)


def test_mistakes_are_named(toys):
    method = simclr.SimCLR(encoders.small_cnn(16))
    none, few = Panel(1, backend="silent"), toys.train.take(slice(0, 3))
    for call, word in (
        (lambda: filters(nn.Linear(2, 2), toys.train), "no named layers"),
        (lambda: filters(method, toys.train, layers=["conv9"]), "no layer 'conv9'"),
        (lambda: filters(method, toys.train, top=0), "top=0"),
        (lambda: filters(method, toys.train, none), "at least one frame"),
        (lambda: filters(method, toys.train, "results"), "history is a str"),
        (lambda: features.excitations(method.f, few, "conv1", top=4), "top=4"),
    ):
        with pytest.raises(CourseError, match=word):
            call()
    panel = Panel(1, backend="silent").add({"loss": 1.0})
    with pytest.raises(CourseError, match="recorded no filters"):
        filters(method, toys.train, panel)
    panel = Panel(1, backend="silent").add({"loss": 1.0}, filters=torch.rand(4, 3, 5, 5))
    with pytest.raises(CourseError, match="same encoder"):
        filters(method, toys.train, panel)


ROOT = "document.querySelector('.ssl-filters')"


@pytest.mark.browser
def test_the_gallery_in_a_page(blank_page, toys, tmp_path):
    page = blank_page
    host_view(page, gallery(toys))
    page.wait_for_function(f"() => {ROOT}.dataset.pictures === '1'")
    pixels = lambda name: page.evaluate(
        f"() => document.querySelector('.ssl-filters canvas.{name}').toDataURL()"
    )
    before = {name: pixels(name) for name in ("units", "kernel", "patches", "whole")}
    box = page.locator(".ssl-filters canvas.units").bounding_box()
    page.mouse.click(box["x"] + 3 + 63 * 2 + 10, box["y"] + 10)  # the third unit of the first row
    assert (
        page.evaluate(f"() => {ROOT}.dataset.unit") == "2"
        and page.evaluate("() => window.saved.at(-1).unit") == 2
    )
    assert all(pixels(name) != before[name] for name in before)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(f"() => {ROOT}.dataset.unit") == "1"
    image = page.evaluate(f"() => {ROOT}.dataset.image")
    box = page.locator(".ssl-filters canvas.patches").bounding_box()
    page.mouse.move(box["x"] + 30, box["y"] + 30)
    page.mouse.move(box["x"] + 180, box["y"] + 30)  # the third patch: another image
    page.wait_for_function(f"(old) => {ROOT}.dataset.image !== old", arg=image)
    units = pixels("units")
    slider = page.locator(".ssl-filters input[type=range]")
    slider.evaluate("(s) => { s.value = 0; s.dispatchEvent(new Event('input', { bubbles: true })) }")
    assert pixels("units") != units and "epoch 1 of 4" in page.locator(".ssl-filters output").inner_text()
    keep(page, tmp_path / "filters-light.png")
    page.locator(".ssl-filters select").select_option("conv3")
    assert (
        page.evaluate(f"() => {ROOT}.dataset.layer") == "conv3"
        and "17 x 17" in page.locator(".ssl-filters [aria-live]").inner_text()
    )
    page.evaluate("() => { document.documentElement.style.colorScheme = 'dark' }")
    page.wait_for_timeout(200)
    keep(page, tmp_path / "filters-dark.png")
    page.evaluate("() => window.model.set('unit', 5)")
    assert page.evaluate(f"() => {ROOT}.dataset.unit") == "5"
    page.evaluate("() => window.cleanup()")
    assert page.evaluate("() => [window.alive, window.el.childElementCount]") == [0, 0] and page.errors == []
