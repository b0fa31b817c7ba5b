"""Layers are read, frozen and compared through the input that a method was trained on: edges, grey pictures,
another size.
"""

import copy

import pytest
import torch

from sslcourse import encoders, evaluate, widgets
from sslcourse.data.datasets import Data, Samples
from sslcourse.evaluate import style_transfer
from sslcourse.methods import avts, deepcluster, dpc, jigsaw, simclr, xdc
from sslcourse.methods.base import Ear
from sslcourse.results.claims import single_image as claims
from sslcourse.runtime.errors import CourseError
from sslcourse.train import features
from sslcourse.train.recipe import Recipe


def edges(image):
    """What DeepCluster is shown, written once more: Sobel's slopes of the grey picture, and how steep."""
    grey = torch.nn.functional.pad(image.double().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    left, right = grey[..., :-2], grey[..., 2:]
    x = (left[..., :-2, :] + 2 * left[..., 1:-1, :] + left[..., 2:, :]) - (
        right[..., :-2, :] + 2 * right[..., 1:-1, :] + right[..., 2:, :]
    )
    above, below = grey[..., :-2, :], grey[..., 2:, :]
    y = (above[..., :-2] + 2 * above[..., 1:-1] + above[..., 2:]) - (
        below[..., :-2] + 2 * below[..., 1:-1] + below[..., 2:]
    )
    return torch.cat([x / 4, y / 4, (x.square() + y.square()).sqrt() / 4], 1).float() + 0.5


@pytest.fixture
def image():
    return torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def clusters():
    torch.manual_seed(0)
    return deepcluster.DeepCluster(encoders.small_cnn(8)).eval()


def stage(encoder, layer, x):
    """A stage's output the long way: stage after stage, no hook."""
    x = x * 4 - 2
    for name, module in encoder.layers.items():
        x = module(x)
        if name == layer:
            return x
    raise AssertionError(layer)


@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv5"])
def test_layers_of_deepcluster_are_read_on_edges(clusters, image, layer):
    expected = torch.nn.functional.adaptive_avg_pool2d(stage(clusters.f, layer, edges(image)), 2).flatten(1)
    with torch.no_grad():
        torch.testing.assert_close(features.after(clusters, layer)({"image": image}), expected, **CLOSE)
        plain = features.after(clusters.f, layer)({"image": image})
    assert (plain - expected).abs().max() > 0.01, "the encoder alone sees colours"


CLOSE = {"atol": 1e-4, "rtol": 1e-4}


def test_layers_of_jigsaw_are_read_on_large_grey_pictures(image):
    torch.manual_seed(0)
    method = jigsaw.Jigsaw(encoders.small_cnn(8)).eval()
    red = image.clone()
    red[:, 0] = 0.5 * red[:, 0]
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = (red * weights).sum(1, keepdim=True).expand(-1, 3, -1, -1)  # another picture of the same grey
    with torch.no_grad():
        conv1 = features.after(method, "conv1", size=30)
        assert conv1({"image": image}).shape == (6, 8 * 30 * 30), "60 pixels, at stride 2"
        torch.testing.assert_close(conv1({"image": red}), conv1({"image": grey}), atol=2e-2, rtol=1e-2)


@pytest.mark.parametrize("freeze", [encoders.with_frozen, lambda m, first: encoders.as_encoder(m)])
def test_frozen_layers_go_on_to_see_edges(clusters, image, freeze):
    stem = freeze(clusters, 2).eval()
    with torch.no_grad():
        kept = features.after(stem, "conv2", size=8)({"image": image})
        expected = stage(clusters.f, "conv2", edges(image)).flatten(1)
    torch.testing.assert_close(kept, expected, **CLOSE)
    assert stem.dim == clusters.f.dim and list(stem.layers) == list(clusters.f.layers)
    again = copy.deepcopy(stem)
    with torch.no_grad():
        torch.testing.assert_close(again(image), stem(image), atol=0, rtol=0)


def test_frozen_layers_do_not_learn_and_the_others_do(clusters, image):
    stem = encoders.with_frozen(clusters, 2)
    assert [n for n, p in stem.named_parameters() if not p.requires_grad] == [
        f"encoder.stages.{layer}.stage.{rest}"
        for layer in ("conv1", "conv2")
        for rest in ("0.weight", "1.weight", "1.bias")
    ]
    stem.train()(image).sum().backward()
    assert stem.layers["conv3"][0].weight.grad.abs().max() > 0


def colour_blind(n, seed):
    """Two classes that only colour tells apart: of one grey, in stripes of the same contrast."""
    g = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % 2
    noise = torch.randint(90, 120, (n, 1, 32, 32), generator=g).expand(-1, 3, -1, -1).clone()
    noise[:, 0] += (30 * label)[:, None, None]
    noise[:, 2] += (30 * (1 - label))[:, None, None]
    return Samples(noise.to(torch.uint8), label, classes=("blue", "red"))


def test_layer_probes_tell_what_a_method_can_see():
    """Edges of the mean of three channels hold no colour; a small network on the picture itself sees it."""
    data = Data(colour_blind(96, 0), colour_blind(60, 1), colour_blind(4, 2))
    torch.manual_seed(0)
    method, other = deepcluster.DeepCluster(encoders.small_cnn(4)), simclr.SimCLR(encoders.small_cnn(4))
    assert evaluate.layer_probes(method, data)["conv1"]["linear"] < 0.7
    assert evaluate.layer_probes(other, data)["conv1"]["linear"] > 0.95
    tuned = evaluate.fine_tune(method, data, 1.0, Recipe(epochs=1, batch_size=48, lr=1e-3))
    assert tuned < 0.75


def test_films_and_sounds_have_layers_too():
    torch.manual_seed(0)
    film, sound = torch.rand(2, 3, 16, 32, 32), torch.rand(2, 8000) - 0.5
    batch = {"video": film, "audio": sound}
    method = xdc.XDC(encoders.small_clip(8)).eval()
    with torch.no_grad():
        last = features.after(method, "conv4", size=1)(batch)
        torch.testing.assert_close(last, method.encode(batch), **CLOSE)
        ear = features.after(method.ear, list(method.ear.f.layers)[-1])({"audio": sound})
        assert len(ear) == 2 and ear.ndim == 2
        dense = dpc.DPC(encoders.small_3d(8)).eval()
        maps = features.after(dense, "conv4", size=1)({"video": torch.rand(2, 3, 40, 32, 32)})
        assert maps.shape == (2, 8), "blocks of a film are parts of one sample"


def test_the_error_says_what_to_pass(toys):
    class Odd(simclr.SimCLR):
        def encode(self, batch):
            return batch["image"].float().flatten(1)

    with pytest.raises(CourseError, match="does not use the layer 'conv1'"):
        features.after(Odd(encoders.small_cnn(8)), "conv1")({"image": toys.train.image[:2]})
    with pytest.raises(CourseError, match=r"does not call its encoder \.f"):
        encoders.eyes(Odd(encoders.small_cnn(8)))(torch.rand(1, 3, 8, 8))
    with pytest.raises(CourseError, match="has no named layers"):
        evaluate.layer_probes(torch.nn.Linear(3, 3), toys)


def test_excitations_style_and_dense_maps_see_through_the_method(clusters, image, toys):
    part = toys.validation.take(slice(0, 20))
    found = features.excitations(clusters, part, "conv1", top=1)
    with torch.no_grad():
        maps = stage(clusters.f, "conv1", edges(part.image.float() / 255))
    torch.testing.assert_close(found["value"][:, 0], maps.amax((0, 2, 3)), **CLOSE)
    with torch.no_grad():
        seen = style_transfer.layer_maps(clusters, image)["conv3"]
    torch.testing.assert_close(seen, stage(clusters.f, "conv3", edges(image)).detach(), **CLOSE)
    pixels = image.clone().requires_grad_()
    style_transfer.layer_maps(clusters, pixels)["conv3"].sum().backward()
    assert pixels.grad.abs().max() > 0, "pixels can be changed to please it"
    film = part.image[:5].transpose(0, 1)  # (3, T, H, W)
    dense = widgets.video.dense(clusters, film, "conv2")
    expected = stage(clusters.f, "conv2", edges(part.image[:5].float() / 255)).detach()
    torch.testing.assert_close(dense.transpose(0, 1), expected, **CLOSE)


def test_fields_of_an_enlarged_picture_are_smaller_on_it(toys):
    large = widgets.filters(jigsaw.Jigsaw(encoders.small_cnn(8)), toys.validation, layers=["conv5"], top=1)
    plain = widgets.filters(simclr.SimCLR(encoders.small_cnn(8)), toys.validation, layers=["conv5"], top=1)
    (a,), (b,) = ([row["field"] for row in view.about["layers"]] for view in (large, plain))
    assert a == -(-b * 32 // 60)


# ------------------------------------------------------------------------------------------- random rows


def test_a_random_row_for_every_way_of_reading(toys):
    torch.manual_seed(0)
    methods = {
        "DeepCluster": deepcluster.DeepCluster(encoders.small_cnn(8)),
        "SimCLR": simclr.SimCLR(encoders.small_cnn(8)),
        "in colours": deepcluster.DeepCluster(encoders.small_cnn(8), edges=False),
        "Jigsaw": jigsaw.Jigsaw(encoders.small_cnn(8)),
        "wider": simclr.SimCLR(encoders.small_cnn(16)),
        "DeepCluster again": deepcluster.DeepCluster(encoders.small_cnn(8), clusters=7),
    }
    rows = evaluate.random_rows(methods, toys.train)
    assert list(rows) == [
        "random encoder",
        "random encoder, as wider reads",
        "random encoder, as DeepCluster reads",
        "random encoder, as Jigsaw reads",
    ]
    batch = {"image": toys.validation.image[:4]}
    with torch.no_grad():
        alike = evaluate.random_like(methods["DeepCluster"], toys.train).encode(batch)
        assert torch.equal(rows["random encoder, as DeepCluster reads"].encode(batch), alike)
    assert list(evaluate.random_rows({"mine": methods["Jigsaw"]}, toys.train)) == ["random encoder"]


def test_films_have_a_random_row_for_every_network():
    films = Samples(video=torch.randint(0, 255, (4, 3, 16, 32, 32), dtype=torch.uint8))
    methods = {
        "XDC": xdc.XDC(encoders.small_clip(8)),
        "AVTS": avts.AVTS(encoders.small_mc3(8), encoders.small_mel(8)),
    }
    assert len(evaluate.random_rows(methods, films)) == 2


def test_the_report_has_them(toys):
    torch.manual_seed(0)
    methods = {
        name: deepcluster.DeepCluster(encoders.small_cnn(4), edges=name == "edges")
        for name in ("edges", "plain")
    }
    found = evaluate.report(methods, toys)
    assert [row["features"] for row in found.rows] == [
        *("chance", "pixels", "random encoder", "random encoder, as edges reads"),
        *("edges", "plain"),
    ]


def test_what_has_no_weights_has_no_random_row(toys):
    class Grey(torch.nn.Module):
        def encode(self, batch):
            return batch["image"].float().mean(1).flatten(1)

    assert evaluate.random_rows({"grey": Grey()}, toys.train) == {}
    network = deepcluster.DeepCluster(encoders.small_cnn(4), edges=False)
    assert list(evaluate.random_rows({"grey": Grey(), "it": network}, toys.train)) == ["random encoder"]
    found = evaluate.report({"grey": Grey()}, toys)
    assert [row["features"] for row in found.rows] == ["chance", "pixels", "grey"]


def test_the_claims_compare_with_random_weights_that_see_the_same():
    scores = {"DeepCluster": (0.6, 0.5), "RotNet": (0.7, 0.3)}
    rows = {}
    for kind, (one, blank) in scores.items():
        rows[f"{kind}, one: conv1"] = {"linear": one}
        rows[f"{kind}, random: conv1"] = {"linear": blank}
    effect = next(c.effect for c in claims.CLAIMS if c.name == "random_conv1")
    assert effect(rows) == pytest.approx((0.1 + 0.4) / 2)


def test_an_ear_is_a_method(toys):
    ear = Ear(encoders.small_mel(8), 8000).eval()
    seen = encoders.images.shown_to_encoder(ear, {"audio": torch.zeros(1, 8000)})
    assert seen.shape == (1, 1, 32, 49)
