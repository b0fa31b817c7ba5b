"""Tracking by colorization: colours, the pointer and its loss against loops; what may and may not be seen;
and that tracking comes of it.
"""

import math

import pytest
import torch

from sslcourse import encoders
from sslcourse.data import toybox
from sslcourse.evaluate import tracking
from sslcourse.methods import colorization
from sslcourse.results.claims import colorization as claims
from sslcourse.results.tables import tracking as table
from sslcourse.runtime.errors import CourseError
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe
from sslcourse.transforms import colour

QUICK = Recipe(epochs=2, batch_size=8, lr=1e-3, max_steps=3)


@pytest.fixture(scope="module")
def films():
    return toybox.tracks(64, 8, 8, size=32)


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small(kind=colorization.Colorization, **arguments):
    torch.manual_seed(1)
    return kind(encoders.dense_cnn(8, 8), **arguments)


def ready(films, **arguments):
    method = small(**arguments)
    method.before_epoch(0.0, films.train, {})
    return method


# ---------------------------------------------------------------------------------------------- colours


def test_lab_is_that_of_scikit_image():
    color = pytest.importorskip("skimage.color")
    picture = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    picture[0, :, :4] = (
        torch.tensor([0.0, 0.001, 0.04045, 0.05]).double().repeat_interleave(1).view(1, 4, 1)
    )  # the two branches of the curve
    ours = colour.lab(picture)
    theirs = torch.from_numpy(color.rgb2lab(picture.permute(0, 2, 3, 1).numpy())).permute(0, 3, 1, 2)
    assert (ours - theirs).abs().max() < 1e-3
    assert (colour.lab(picture.float()) - theirs).abs().max() < 2e-3
    film = colour.lab(picture[:, :, None].expand(-1, -1, 5, -1, -1))
    assert film.shape == (2, 3, 5, 20, 30) and torch.allclose(film[:, :, 3], ours)
    assert torch.allclose(colour.lab(picture.permute(0, 2, 3, 1), dim=-1).permute(0, 3, 1, 2), ours)


def test_lab_there_and_back_and_of_greys():
    picture = torch.rand(1, 3, 30, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    picture[:, :, 0] = 0
    assert (colour.from_lab(colour.lab(picture)) - picture).abs().max() < 1e-6
    grey = colour.lab(torch.linspace(0, 1, 11).double().view(1, 1, 1, 11).expand(1, 3, 1, 11))
    assert grey[:, 1:].abs().max() < 6e-3 and grey[0, 0, 0].tolist() == sorted(grey[0, 0, 0].tolist())
    assert float(grey[0, 0, 0, 0]) == pytest.approx(0, abs=1e-6) and float(
        grey[0, 0, 0, -1]
    ) == pytest.approx(100, abs=1e-3)
    dark = torch.zeros(1, 3, 1, 2, requires_grad=True)
    colour.lab(dark).sum().backward()
    assert torch.isfinite(dark.grad).all()


def test_the_palette_holds_the_films_colours(films):
    method = ready(films)
    video = films.train.video[:16].float() / 255
    cells = colorization.in_cells(video, 2)
    assert cells.shape == (16, 3, 8, 16, 16) and torch.allclose(
        cells[3, :, 2, 1, 5], video[3, :, 2, 2:4, 10:12].mean((1, 2)), atol=1e-6
    )
    number = method.palette(cells)
    ab = colour.lab(cells)[:, 1:].movedim(1, -1)
    distance = (ab[..., None, :] - method.palette.centre).norm(dim=-1)  # by hand
    assert torch.equal(number, distance.argmin(-1)) and len(number.unique()) > 12
    spread = (ab - ab.flatten(0, 3).mean(0)).norm(dim=-1).mean()
    assert distance.amin(-1).mean() < 0.3 * spread  # painting with the palette is near the truth
    again = ready(films)
    assert torch.equal(again.palette.centre, method.palette.centre)
    assert colorization.in_cells(video[:, :, :, :31, :29], 2).shape[3:] == (16, 15)


def test_the_palette_stays_and_travels_with_the_checkpoint(films):
    method = small()
    with pytest.raises(CourseError, match="before_epoch"):
        method.views({"video": films.train.video[:2]})
    fit(method, films.train, QUICK)
    kept = method.palette.centre.clone()
    method.before_epoch(0.5, films.train, {})
    assert torch.equal(method.palette.centre, kept)
    other = small()
    other.load_state_dict(method.state_dict())
    assert bool(other.palette.found) and torch.equal(other.palette.centre, kept)
    with pytest.raises(CourseError, match="colours=1|fewer"):
        colorization.Palette(1)


# ---------------------------------------------------------------------------------------------- the equations


def slow_pointer(references, targets, colours, temperature):
    y = torch.zeros(len(targets), colours.shape[1], dtype=torch.float64)
    for j, target in enumerate(targets):
        weight = [math.exp(float(f @ target) / temperature) for f in references]
        for i, w in enumerate(weight):
            y[j] += w / sum(weight) * colours[i]
    return y


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_the_pointer_is_the_papers_double_loop(temperature):
    references, targets = rows(7, 4), rows(5, 4, seed=1)
    colours = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 0, 1, 2, 1])).double()
    y = colorization.pointer(references, targets, colours, temperature)
    torch.testing.assert_close(
        y, slow_pointer(references, targets, colours, temperature), rtol=1e-10, atol=1e-12
    )
    assert torch.allclose(y.sum(1), torch.ones(5).double())
    learned = (references.requires_grad_(), targets.requires_grad_())
    assert torch.autograd.gradcheck(lambda r, t: colorization.pointer(r, t, colours, temperature), learned)


def test_closed_forms_of_the_pointer():
    references, targets, colours = rows(6, 8), rows(4, 8, seed=1), torch.eye(6, dtype=torch.float64)
    far = colorization.pointer(references, targets, colours, 1e9)
    assert torch.allclose(far, torch.full((4, 6), 1 / 6).double())
    best = colorization.pointer(references, targets, colours, 1e-3)
    assert torch.equal(best.argmax(1), (targets @ references.T).argmax(1)) and best.max(1).values.min() > 0.99
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert torch.allclose(
        colorization.pointer(references[order], targets, colours[order]),
        colorization.pointer(references, targets, colours),
    )
    turn = torch.linalg.qr(rows(8, 8, seed=2)).Q
    assert torch.allclose(
        colorization.pointer(references @ turn, targets @ turn, colours),
        colorization.pointer(references, targets, colours),
    )
    same = torch.nn.functional.normalize(rows(6, 8), dim=1)
    assert torch.equal(
        colorization.pointer(same, same, colours, 0.1).argmax(1), torch.arange(6)
    )  # the same frame returns its own colours


def test_the_pointer_agrees_with_propagation(films):
    """With unit vectors, training and tracking are one equation."""
    method = ready(films)
    f = method.embed(films.train.video[0][:, :2])
    unit = torch.nn.functional.normalize(f.double(), dim=0).flatten(2)  # (D, 2, cells)
    first = torch.rand(16, 16, 3, dtype=torch.float64)
    y = colorization.pointer(unit[:, 0].T, unit[:, 1].T, first.flatten(0, 1), 0.07)
    assert torch.allclose(tracking.propagate(f, first, 1, 0.07)[1].flatten(0, 1), y, atol=1e-5)


def test_a_perfect_pointer_costs_nothing():
    colour = torch.tensor([0, 3, 15, 7])
    y = torch.nn.functional.one_hot(colour, 16).double()
    assert abs(float(colorization.copy_loss(y, colour))) < 1e-5
    assert float(torch.nn.functional.cross_entropy(y, colour)) == pytest.approx(
        math.log(1 + 15 / math.e)
    )  # softmax twice: never below 1.87
    assert float(colorization.copy_loss(torch.full((4, 16), 1 / 16), colour)) == pytest.approx(
        math.log(16), abs=1e-4
    )
    nothing = torch.zeros(4, 16, requires_grad=True)  # the true colour was not copied at all
    loss = colorization.copy_loss(nothing, colour)
    assert torch.isfinite(loss) and torch.isfinite(torch.autograd.grad(loss, nothing)[0]).all()


def test_the_loss_is_the_mean_of_minus_log_y():
    y = rows(6, 5).softmax(1).requires_grad_()
    colour = torch.tensor([0, 4, 2, 2, 1, 3])
    ours = colorization.copy_loss(y, colour, eps=0.0)
    theirs = sum(-torch.log(y[j, colour[j]]) for j in range(6)) / 6
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(v, y)[0] for v in (ours, theirs)))
    assert torch.autograd.gradcheck(
        lambda p: colorization.copy_loss(p, colour), rows(6, 5).softmax(1).requires_grad_()
    )


# ---------------------------------------------------------------------------------------------- the method


def test_a_film_that_stands_still_costs_next_to_nothing(films):
    """Copying from the same frame: with distinct embeddings the loss of the whole method, double softmax or
    not, shows here.
    """
    method = ready(films, temperature=0.01)

    class Places(torch.nn.Module):
        dim, stride = 512, 2

        def forward(self, x):  # every cell has a direction of its own
            h, w = x.shape[2] // 2, x.shape[3] // 2
            return torch.eye(h * w, device=x.device).view(1, h * w, h, w).expand(len(x), -1, -1, -1)

    method.f = Places()
    still = films.train.video[:3][:, :, :1].expand(-1, -1, 8, -1, -1)
    loss, metrics = method.loss({"video": still})
    assert float(loss) < 1e-4 and float(metrics["colour found"]) == 1


def test_the_network_never_sees_a_colour(films):
    method = ready(films).eval()
    video = films.train.video[:4].float() / 255
    seen = method.views({"video": video})["shown"]
    assert (
        torch.equal(seen[:, 0], seen[:, 1])
        and torch.equal(seen[:, 0], seen[:, 2])
        and 0 <= float(seen.min()) <= float(seen.max()) <= 1
    )
    three = colour.lab(video)
    three[:, 1:] = -0.3 * three[:, 1:]  # other colours, the same light
    other = colour.from_lab(three)
    inside = (colour.lab(other)[:, :1] - three[:, :1]).abs().amax(
        (1, 2, 3, 4)
    ) < 0.5  # where the screen has such a colour
    assert inside.any() and (other - video).abs().mean() > 0.03
    f, g = (method.encode({"video": x})[inside] for x in (video, other))
    assert (f - g).abs().max() < 0.02 * f.abs().max()
    given = ready(films, shown="colour").eval()
    f, g = (given.encode({"video": x})[inside] for x in (video, other))
    assert (f - g).abs().max() > 0.05 * f.abs().max()


def test_dropped_channels_are_a_bottleneck(films):
    video = films.train.video[:64].float() / 255
    torch.manual_seed(0)
    seen = colorization.shown_to_network(video, "dropout")
    gone = (seen == 0.5).flatten(2).all(2)  # (B, 3)
    assert 0.2 < gone.float().mean() < 0.6 and not gone.all(1).any() and gone.any(0).all()
    assert torch.equal(
        colorization.shown_to_network(video, "dropout", training=False),
        colorization.shown_to_network(video, "colour"),
    )
    with pytest.raises(CourseError, match="choose one of"):
        small(shown="gray")


def test_the_target_is_no_reference(films):
    """The last frame asks, those before it are asked: each with its own labels."""
    method = ready(films).eval()
    with torch.no_grad():
        maps = method.encode({"video": films.train.video[:2, :, :4]})
    labels = torch.rand(2, 4, 16, 16, 3)
    found = method.copied(maps, labels)
    unit = torch.nn.functional.normalize(maps, dim=1)
    for i in range(2):
        references = torch.cat([unit[i, :, t].flatten(1).T for t in range(3)])
        known = torch.cat([labels[i, t].flatten(0, 1) for t in range(3)])
        expected = colorization.pointer(references, unit[i, :, 3].flatten(1).T, known, method.temperature)
        assert torch.allclose(found[i], expected, atol=1e-5)
    labels[:, 3] += 100
    assert torch.equal(method.copied(maps, labels), found)


def test_drawn_frames_follow_one_another():
    film = torch.arange(8).view(1, 1, 8, 1, 1).expand(200, 3, 8, 2, 2)
    torch.manual_seed(0)
    drawn = colorization.draw(film, 4)
    assert drawn.shape == (200, 3, 4, 2, 2)
    steps = drawn[:, 0, :, 0, 0]
    assert (steps.diff(dim=1) == 1).all() and set(steps[:, 0].tolist()) == {0, 1, 2, 3, 4}
    with pytest.raises(CourseError, match="fewer references"):
        colorization.draw(film, 9)


def test_encode_is_dense_and_embed_is_its_film(films):
    method = ready(films)
    method.train()
    found = method.embed(films.train.video[0])
    assert found.shape == (8, 8, 16, 16) and method.training
    method.eval()
    with torch.no_grad():
        whole = method.encode({"video": films.train.video[:2]})
    assert whole.shape == (2, 8, 8, 16, 16) and torch.allclose(whole[0], found, atol=1e-5)
    assert torch.allclose(
        method.embed(films.train.video[0][:, 3:5]), found[:, 3:5], atol=1e-5
    )  # each frame alone


def test_your_own_pointer_and_loss_are_called(films):
    calls = []

    def point(references, targets, colours, temperature):
        calls.append((references.shape, targets.shape, colours.shape, temperature))
        return colorization.pointer(references, targets, colours, temperature)

    method = ready(
        films,
        point=point,
        cost=lambda y, colour: calls.append((y.shape, colour.shape)) or colorization.copy_loss(y, colour),
    )
    method.train().loss({"video": films.train.video[:2]})
    assert calls == [((768, 8), (256, 8), (768, 16), 0.1)] * 2 + [((512, 16), (512,))]


def test_pictures_of_what_was_copied(films):
    method = ready(films)
    made = method.coloured(films.train.video[:3])
    found = made.pop("found")
    assert {k: v.shape for k, v in made.items()} == {k: (3, 3, 32, 32) for k in ("grey", "copied", "true")}
    assert found.shape == (3,) and 0 <= found.min() and found.max() <= 1
    assert torch.allclose(made["true"], films.train.video[:3, :, -1] / 255)
    light = [colour.lab(made[k])[:, 0] for k in ("copied", "true")]
    assert (light[0] - light[1]).abs().median() < 1.5  # the light is the film's own; only colours were copied


def test_the_yardstick_reads_masks_and_only_it_does(films):
    batch = next(films.train.batches(4))
    method = small(colorization.CopiedMasks)
    loss, metrics = method.train().loss(batch)
    assert torch.isfinite(loss) and 0 <= float(metrics["mask found"]) <= 1
    with pytest.raises(CourseError, match='batch\\["mask"\\]'):
        method.loss({"video": batch["video"]})
    here = ready(films).train()

    def history(method, batch):
        torch.manual_seed(5)
        return method.loss(batch)[0].item()

    first = history(here, batch)
    again = history(here, {**batch, "mask": 0 * batch["mask"]})
    assert first == again
    mask = method.views(batch)["mask"]
    assert set(mask.unique().tolist()) <= {0, 1, 2} and mask.shape == (4, 4, 16, 16)


def test_settings_build_the_method():
    method = colorization.SPEC.build(
        encoders.dense_cnn(8, 8),
        {**colorization.SPEC.settings("course", True, 0), "references": 2, "unit": False},
    )
    assert method.references == 2 and not method.unit and len(method.palette.centre) == 16
    for wrong in (dict(references=0), dict(temperature=0.0), dict(colours=1)):
        with pytest.raises(CourseError):
            small(**wrong)


def test_dense_encoders_keep_every_place():
    for encoder, side in ((encoders.dense_cnn().eval(), 48), (encoders.dense_cnn(stride=4).eval(), 24)):
        picture, step = torch.rand(1, 3, 96, 96), encoder.stride
        with torch.no_grad():
            still, moved = encoder(picture), encoder(picture.roll((2 * step, 3 * step), (2, 3)))
        assert still.shape == (1, encoder.dim, side, side)
        inside = (..., slice(9, -6), slice(9, -6))  # away from the border, which the padding changes
        assert torch.allclose(moved[inside], still.roll((2, 3), (2, 3))[inside], atol=1e-5)
    assert 40_000 < encoders.parameters(encoders.dense_cnn()) < 60_000
    with pytest.raises(CourseError, match="choose 2 or 4"):
        encoders.dense_cnn(stride=3)
    big = encoders.dense_resnet18().eval()
    with torch.no_grad():
        assert big(torch.rand(1, 3, 64, 64)).shape == (1, 64, 8, 8) and big.stride == 8


# ---------------------------------------------------------------------------------------------- claims


def test_the_effects_of_the_claims_are_positive_where_the_paper_is_right():
    calm = (
        "identity",
        *claims.FLOW_NAMES.values(),
        "random features",
        "single image",
        "single image, as the paper tracks",
        "colorization, early",
        "colorization",
        "as the paper tracks",
        "at the temperature of the training",
    )
    hurt = [f"{name}, hurt" for name in ("identity", *claims.FLOW_NAMES.values(), "colorization")]

    def results(**changed):
        found = {name: {"J": 0.5, "F": 0.5, "PCK@0.2": 0.5} for name in (*calm, *hurt)}
        found["colorization"]["colour and J"] = 0.0
        for where, value in changed.items():
            name, key = where.split("__")
            (name,) = [n for n in found if n.replace(" ", "_").replace(",", "") == name]
            found[name][{"P": "PCK@0.2", "C": "colour and J"}.get(key, key)] = value
        return found

    right = {
        "identity": results(identity__J=0.4),
        "random": results(random_features__J=0.4),
        "single_image": results(single_image__J=0.4),
        "single_image_plain": results(single_image_as_the_paper_tracks__J=0.4),
        "single_image_rescued": results(single_image_as_the_paper_tracks__J=0.4),
        "flow_local": results(flow_local__J=0.4),
        "flow_coarse_to_fine": results(flow_coarse_to_fine__J=0.4),
        "hurt_flow_local": results(flow_local_hurt__J=0.4),
        "hurt_flow_coarse_to_fine": results(flow_coarse_to_fine_hurt__J=0.4),
        "robust": results(flow_local_hurt__J=0.4, flow_coarse_to_fine_hurt__J=0.3),
        "emerges": results(colorization_early__J=0.4),
        "temperature": results(as_the_paper_tracks__J=0.6),
        "keypoints": results(identity__P=0.4),
        "keypoints_flow": results(flow_local__P=0.4, flow_coarse_to_fine__P=0.3),
        "colour_and_tracking": results(colorization__C=0.1),
    }
    assert set(right) == {c.name for c in claims.CLAIMS}
    for claim in claims.CLAIMS:
        assert claim.effect(right[claim.name]) == pytest.approx(0.1), claim.name
        assert claim.effect(results()) == pytest.approx(0, abs=1e-12), claim.name
    effects = {c.name: c.effect for c in claims.CLAIMS}
    assert effects["robust"](results(colorization_hurt__J=0.3)) == pytest.approx(-0.2)
    assert effects["keypoints_flow"](results(flow_local__P=0.4, colorization__P=0.5)) == pytest.approx(
        0
    )  # one of the two is not enough


@pytest.mark.slow
def test_the_claims_run_on_little():
    data = {
        name: toybox.tracks(16, 4, 3, seed=5, **knobs)
        for name, knobs in (("calm", {}), ("hurt", claims.HURT))
    }
    said = []
    found = claims.runs(0, data, claims.RECIPE.but(epochs=2, max_steps=1), say=said.append)
    assert all(torch.isfinite(torch.tensor(c.effect(found))) for c in claims.CLAIMS) and said
    assert data["calm"].test.openings == data["hurt"].test.openings == ["claims.colorization"]


def folder_of_sequences(root, names=("calm", "crossing"), frames=7):
    """Two short sequences in the layout of DAVIS, 60 x 80 pixels."""
    from PIL import Image

    data = toybox.tracks(2, 2, 2, size=60, frames=frames)
    for k, name in enumerate(names):
        for kind in ("JPEGImages", "Annotations"):
            (root / kind / "480p" / name).mkdir(parents=True)
        for t in range(frames):
            frame, mask = data.train.video[k, :, t], data.train.extra["mask"][k, t]
            picture = torch.nn.functional.pad(frame, (10, 10), value=90).permute(1, 2, 0).numpy()
            Image.fromarray(picture).save(root / "JPEGImages" / "480p" / name / f"{t:05d}.jpg", quality=95)
            image = Image.fromarray(torch.nn.functional.pad(mask, (10, 10)).numpy(), "P")
            image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
            image.save(root / "Annotations" / "480p" / name / f"{t:05d}.png")
    return root


def test_the_table_of_your_own_sequences(tmp_path):
    said = []
    rows = table.measure(1, said.append, str(folder_of_sequences(tmp_path)), epochs=1, height=40, crops=16)
    assert [row["labels carried by"] for row in rows] == [
        table.SHOWN.get(n, n) for n in table.ORDER if n != "supervised"
    ]
    assert (
        all({"J", "F", "paper: J"} <= set(row) and 0 <= float(row["J"]) <= 100 for row in rows)
        and float(rows[0]["J"]) > 5
    )
    assert any("calm" in line and "crossing" in line for line in said)
    with pytest.raises(CourseError, match="pass resolution='480p'"):
        table.measure(1, said.append, str(tmp_path), resolution="256p")


def test_windows_are_cut_from_one_film_in_order():
    film = torch.arange(9, dtype=torch.uint8).view(1, 9, 1, 1).expand(3, 9, 20, 30)
    samples = table.windows([film, film[:, :4] + 100], 200, 4, side=16)
    assert samples.video.shape == (200, 3, 4, 16, 16)
    steps = samples.video[:, 0, :, 0, 0].int()
    gap = steps.diff(dim=1)
    assert (gap == gap[:, :1]).all() and set(gap.unique().tolist()) == {
        1,
        2,
    }  # a gap of 3 would need ten frames
    assert 0 < (steps[:, 0] >= 100).float().mean() < 0.4 and (gap[steps[:, 0] >= 100] == 1).all()
    with pytest.raises(CourseError, match="are needed"):
        table.windows([film[:, :3]], 5, 4)
    small = table.reduced(film, 8)
    assert (
        small.shape == (3, 9, 8, 12)
        and torch.equal(small[0, :, 0, 0], film[0, :, 0, 0])
        and table.reduced(film, 64) is film
    )


@pytest.mark.slow
def test_the_table_of_the_toybox():
    rows = table.measure(1, lambda line: None, films=16, test=2, epochs=1)
    assert [row["labels carried by"] for row in rows] == [table.SHOWN.get(n, n) for n in table.ORDER]
    assert all(
        {"J", "F", "PCK@0.1", "PCK@0.2", "PCK@0.4", "J, hurt", "paper: J", "paper: F"}
        == set(row) - {"labels carried by"}
        for row in rows
    )
    assert rows[0]["J, hurt"] != "–" and rows[1]["J, hurt"] == "–"


# ---------------------------------------------------------------------------------- that tracking comes of it


@pytest.mark.slow
def test_tracking_emerges_in_half_a_minute():
    data = toybox.tracks(300, 20, 8)
    torch.manual_seed(0)
    method = colorization.Colorization(encoders.dense_cnn())
    method.before_epoch(0.0, data.train, {})
    track = tracking.by_features(method.embed, temperature=0.05, precise=False)
    before = tracking.measure({"untrained": track}, data.validation)["untrained"].J
    fit(method, data.train, colorization.COURSE.but(epochs=4))
    found = tracking.measure({"trained": track, "identity": tracking.identity}, data.validation)
    assert found["trained"].J > 0.5 > found["identity"].J + 0.1 and found["trained"].J > before + 0.3, (
        before,
        found["trained"].J,
    )
