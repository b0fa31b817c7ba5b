"""DPC: its dense loss against the loop, its negatives counted, its GRU against torch's, what its curriculum
and its views may and may not do.
"""

import copy
import inspect
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslcourse import encoders
from sslcourse.methods import dpc
from sslcourse.results.claims import dpc as claims
from sslcourse.results.tables import dpc as table
from sslcourse.runtime.errors import CourseError
from sslcourse.train.loop import epochs, fit
from sslcourse.train.recipe import Recipe
from sslcourse.transforms import augment

QUICK = Recipe(epochs=2, batch_size=16, lr=1e-3, max_steps=2)
KINDS = ("other time", "other place", "other film")


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small(**arguments):
    torch.manual_seed(1)
    return dpc.DPC(encoders.small_3d(16), **arguments)


def still(films):
    """A view that draws nothing."""
    return films if films.is_floating_point() else films.float() / 255


@pytest.fixture(scope="module")
def films():
    """Sixty-four films of 16 frames in which squares of noise drift: enough to take steps on."""
    from sslcourse.data.datasets import Samples

    g = torch.Generator().manual_seed(0)
    big = torch.randint(0, 256, (64, 3, 1, 64, 64), generator=g, dtype=torch.uint8)
    big = F.interpolate(big.float(), (1, 64, 64)).to(torch.uint8)
    video = torch.stack([big[:, :, 0, t : t + 32, 2 * t : 2 * t + 32] for t in range(16)], 2)
    return Samples(video=video, label=torch.randint(0, 4, (64,), generator=g), name="drift")


# --------------------------------------------------------------------------------------------- the dense loss


def by_hand(prediction, target, temperature=1.0, allowed=lambda same_film, same_time, same_place: True):
    """The dense loss as its formula is written, feature by feature."""
    b, p, _, h, w = prediction.shape
    places = [(i, k, y, x) for i in range(b) for k in range(p) for y in range(h) for x in range(w)]
    terms = []
    for i, k, y, x in places:
        own = prediction[i, k, :, y, x] @ target[i, k, :, y, x] / temperature
        others = [
            prediction[i, k, :, y, x] @ target[j, m, :, v, u] / temperature
            for j, m, v, u in places
            if (i, k, y, x) == (j, m, v, u) or allowed(i == j, k == m, (y, x) == (v, u))
        ]
        terms.append(-(own.exp() / torch.stack(others).exp().sum()).log())
    return torch.stack(terms).mean()


@pytest.mark.parametrize("shape", [(2, 2, 3, 2, 3), (3, 1, 4, 1, 2), (1, 3, 2, 2, 2), (1, 1, 2, 1, 1)])
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_the_loss_is_the_loop_in_value_and_gradient(shape, temperature):
    prediction, target = draw(*shape).requires_grad_(), draw(*shape, seed=1).requires_grad_()
    ours, theirs = dpc.dense_nce(prediction, target, temperature), by_hand(prediction, target, temperature)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    for mine, right in zip(*(torch.autograd.grad(v, (prediction, target)) for v in (ours, theirs))):
        torch.testing.assert_close(mine, right, rtol=1e-8, atol=1e-10)


def test_the_loss_passes_gradcheck():
    pair = draw(2, 2, 3, 1, 2).requires_grad_(), draw(2, 2, 3, 1, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda p, t: dpc.dense_nce(p, t, 0.7), pair)


@pytest.mark.parametrize(
    "name, allowed",
    [
        ("other time", lambda film, time, place: not (film and place)),
        ("other place", lambda film, time, place: not film or place),
        ("other film", lambda film, time, place: film),
    ],
)
def test_a_kind_of_negatives_left_out_is_out_of_the_loop_too(name, allowed):
    prediction, target = draw(2, 2, 3, 2, 2), draw(2, 2, 3, 2, 2, seed=1)
    torch.testing.assert_close(
        dpc.dense_nce(prediction, target, without=(name,)), by_hand(prediction, target, allowed=allowed)
    )


def test_the_loss_of_known_features():
    shape = (3, 2, 5, 2, 2)
    n = 3 * 2 * 4
    same = torch.ones(shape, dtype=torch.float64)
    assert float(dpc.dense_nce(same, same)) == pytest.approx(math.log(n))
    assert float(dpc.dense_nce(torch.zeros(shape), draw(*shape).float())) == pytest.approx(math.log(n))
    own = (
        torch.eye(n, dtype=torch.float64).view(3, 2, 2, 2, n).permute(0, 1, 4, 2, 3)
    )  # every feature alone in its direction
    assert float(dpc.dense_nce(own, own)) == pytest.approx(math.log(math.e + n - 1) - 1)
    assert float(dpc.dense_nce(own, own, 0.01)) == pytest.approx(0, abs=1e-12)
    assert float(dpc.dense_nce(own, own, without=KINDS)) == pytest.approx(
        0, abs=1e-12
    )  # with no negatives there is nothing to learn


def test_the_order_of_films_blocks_and_places_does_not_matter():
    prediction, target = draw(3, 2, 4, 2, 3), draw(3, 2, 4, 2, 3, seed=1)
    value = dpc.dense_nce(prediction, target)
    for change in (
        lambda x: x[[2, 0, 1]],
        lambda x: x.flip(1),
        lambda x: x.flip(3),
        lambda x: x.flip(4),
        lambda x: x[:, :, [3, 1, 0, 2]],
    ):
        assert torch.isclose(dpc.dense_nce(change(prediction), change(target)), value)
        assert not torch.isclose(
            dpc.dense_nce(prediction, change(target)), value, rtol=1e-6
        )  # whose is whose does matter


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_loss_stays_finite(dtype):
    big = (draw(2, 2, 8, 2, 2) * 100).to(dtype).requires_grad_()
    loss = dpc.dense_nce(big, big.detach().flip(0), 0.1)
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert torch.isfinite(torch.autograd.grad(loss, big)[0]).all()


# ----------------------------------------------------------------------------------------- kinds of negatives


@pytest.mark.parametrize("films, blocks, places", [(4, 3, 16), (2, 1, 4), (1, 2, 3), (5, 2, 1)])
def test_the_count_of_negatives_of_each_kind_is_the_papers(films, blocks, places):
    kind = dpc.kinds(films, blocks, places)
    counts = {0: 1, 1: blocks - 1, 2: blocks * (places - 1), 3: (films - 1) * blocks * places}
    assert kind.shape == (films * blocks * places,) * 2
    for number, count in counts.items():
        assert ((kind == number).sum(1) == count).all() and ((kind == number).sum(0) == count).all()
    assert sum(counts.values()) == films * blocks * places


def test_each_kind_is_what_its_name_says():
    films, blocks, h, w = 2, 3, 2, 2
    where = torch.stack(torch.meshgrid(*(torch.arange(n) for n in (films, blocks, h, w)), indexing="ij"))
    rows = dpc.cells(
        where.permute(1, 2, 0, 3, 4).double()
    ).long()  # (n, 4): film, block, y, x of every row of `cells`
    kind = dpc.kinds(films, blocks, h * w)
    for i, mine in enumerate(rows.tolist()):
        for j, other in enumerate(rows.tolist()):
            expected = 0 if mine == other else 3 if mine[0] != other[0] else 1 if mine[2:] == other[2:] else 2
            assert kind[i, j] == expected, (mine, other)


def test_what_is_picked_is_sorted_by_kind():
    kind = dpc.kinds(2, 2, 2)
    columns = [
        0,
        3,
        1,
        7,
        4,
        4,
        4,
        7,
    ]  # row 0 right; row 1 time; row 2 place; row 3 film; 4 right; 5 place; 6 time; 7 right
    scores = torch.zeros(8, 8)
    scores[torch.arange(8), torch.tensor(columns)] = 1
    found = dpc.picked(scores, kind)
    expected = {"cell found": 3 / 8, "other time": 2 / 8, "other place": 2 / 8, "other film": 1 / 8}
    assert {k: float(v) for k, v in found.items()} == pytest.approx(expected)
    assert sum(float(v) for v in found.values()) == pytest.approx(1)


# -------------------------------------------------------------------------------------- blocks, GRU, roll-out


def test_blocks_follow_one_another():
    video = torch.arange(11).float().view(1, 1, 11, 1, 1).expand(2, 3, 11, 2, 2)
    blocks = dpc.blocks_of(video, 3)
    assert blocks.shape == (2, 3, 3, 3, 2, 2)
    assert blocks[1, :, 2, :, 0, 1].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    for frames in (0, 6):
        with pytest.raises(CourseError, match="fewer than two blocks"):
            dpc.blocks_of(video, frames)


def gru_by_hand(cell, x, h):
    """The equations of the docstring, place by place."""
    out = torch.empty_like(h)
    size = cell.hidden
    gates, candidate = cell.gates[:, :, 0, 0], cell.candidate[:, :, 0, 0]
    for b in range(len(x)):
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                here, state = x[b, :, i, j], h[b, :, i, j]
                u = torch.sigmoid(gates[:size] @ torch.cat([here, state]) + cell.gates_bias[:size])
                r = torch.sigmoid(gates[size:] @ torch.cat([here, state]) + cell.gates_bias[size:])
                n = torch.tanh(candidate @ torch.cat([here, r * state]) + cell.candidate_bias)
                out[b, :, i, j] = (1 - u) * state + u * n
    return out


def noisy(cell, seed=0):
    """Weights and biases all away from their first values."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in cell.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return cell


def test_the_gru_is_its_equations_at_every_place():
    cell = noisy(encoders.ConvGRU(3, 4).double())
    x, h = draw(2, 3, 2, 3), draw(2, 4, 2, 3, seed=1)
    torch.testing.assert_close(cell.step(x, h), gru_by_hand(cell, x, h), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        cell.step(x), gru_by_hand(cell, x, torch.zeros_like(h)), rtol=1e-10, atol=1e-12
    )
    films = draw(2, 3, 3, 2, 3, seed=2)
    state = h
    for t in range(3):
        state = gru_by_hand(cell, films[:, t], state)
    torch.testing.assert_close(cell(films, h), state, rtol=1e-10, atol=1e-12)


def test_the_gru_is_torchs_cell_where_the_two_equations_agree():
    """torch resets after the matrix V, we before: with a diagonal V on the state that is the same. And
    torch's z is our 1 - u.
    """
    cell, theirs = noisy(encoders.ConvGRU(3, 4).double()), nn.GRUCell(3, 4).double()
    with torch.no_grad():
        cell.candidate[:, 3:, 0, 0] *= torch.eye(4)
        u, r = cell.gates[:, :, 0, 0].chunk(2)
        theirs.weight_ih.copy_(torch.cat([r[:, :3], -u[:, :3], cell.candidate[:, :3, 0, 0]]))
        theirs.weight_hh.copy_(torch.cat([r[:, 3:], -u[:, 3:], cell.candidate[:, 3:, 0, 0]]))
        u, r = cell.gates_bias.chunk(2)
        theirs.bias_ih.copy_(torch.cat([r, -u, cell.candidate_bias]))
        theirs.bias_hh.zero_()
    x, h = draw(2, 3, 2, 3), draw(2, 4, 2, 3, seed=1)
    rows = lambda m: m.permute(0, 2, 3, 1).flatten(0, 2)  # (b, c, y, x) to one row per place
    torch.testing.assert_close(rows(cell.step(x, h)), theirs(rows(x), rows(h)), rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        cell.candidate[0, 4] = 1.0  # one weight off the diagonal, and they differ
    theirs.weight_hh.data[8, 1] = 1.0
    assert (rows(cell.step(x, h)) - theirs(rows(x), rows(h))).abs().max() > 1e-3


def test_the_gru_starts_orthogonal_and_drops_only_in_training():
    cell = encoders.ConvGRU(4, 4, dropout=0.5)
    for matrix in (*cell.gates[:, :, 0, 0].chunk(2), cell.candidate[:, :, 0, 0]):
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(4), rtol=0, atol=1e-5)
    assert not cell.gates_bias.any() and not cell.candidate_bias.any()
    x = torch.rand(8, 4, 3, 3)
    dropped = (cell.train().step(x) == 0).float().mean()
    assert 0.3 < dropped < 0.7 and not (cell.eval().step(x) == 0).any()
    with pytest.raises(CourseError, match="odd"):
        encoders.ConvGRU(4, 4, kernel=2)


def test_places_do_not_speak_to_each_other_under_a_kernel_of_one():
    x, h = draw(1, 3, 7, 7), draw(1, 4, 7, 7, seed=1)
    moved = x.clone()
    moved[0, :, 3, 2] += 1
    for kernel, reach in ((1, 1), (3, 25)):  # a kernel of 3 is passed twice: by the reset gate, and then by V
        cell = noisy(encoders.ConvGRU(3, 4, kernel).double())
        changed = (cell.step(x, h) - cell.step(moved, h)).abs().amax((0, 1)) > 1e-12
        assert int(changed.sum()) == reach and changed[3, 2]


def test_predictions_are_fed_back_rectified():
    """Known answers: phi doubles and subtracts 1, the GRU adds what it reads."""
    context = torch.tensor([0.25, 2.0]).view(1, 2, 1, 1)
    found = dpc.roll_out(context, lambda c: 2 * c - 1, lambda x, c: c + x, 3)
    # 0.25: -0.5 is read as 0, so the context stays; 2: 3, then 5 -> 9, then 14 -> 27
    assert found[0, :, :, 0, 0].tolist() == [[-0.5, 3.0], [-0.5, 9.0], [-0.5, 27.0]]


def test_the_future_does_not_reach_the_prediction_and_the_past_does():
    method = small(view=still).eval()
    blocks = torch.rand(2, 4, 3, 4, 32, 32)
    with torch.no_grad():
        prediction, target = method.guessed(blocks, 2)
        for block, same in ((0, False), (1, False), (2, True), (3, True)):
            other = blocks.clone()
            other[:, block] = torch.rand_like(other[:, block])
            changed, new = method.guessed(other, 2)
            assert torch.equal(changed, prediction) is same
            assert torch.equal(new, target) is not same
    assert prediction.shape == target.shape == (2, 2, 16, 4, 4)
    assert (target < 0).any() and (prediction < 0).any()  # neither is rectified


def test_gradients_reach_both_sides():
    method = small(view=still)
    prediction, target = method.guessed(torch.rand(2, 4, 3, 4, 32, 32))
    assert prediction.requires_grad and target.requires_grad
    to_prediction, to_target = torch.autograd.grad(dpc.dense_nce(prediction, target), (prediction, target))
    assert to_prediction.abs().sum() > 0 and to_target.abs().sum() > 0


def test_parallel_predictors_read_one_context():
    method = small(view=still, sequential=False, horizon=(2, 2)).eval()
    z = torch.randn(2, 2, 16, 4, 4)
    with torch.no_grad():
        context = method.g(F.relu(z))
        torch.testing.assert_close(method.predict(z, 2), torch.stack([phi(context) for phi in method.phi], 1))
    assert len(method.phi) == 2


def test_the_clip_is_encoded_whole_and_without_chance():
    method = small().eval()
    video = torch.randint(0, 256, (3, 3, 16, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        h = method.encode({"video": video})
        assert h.shape == (3, 16) and torch.equal(h, method.encode({"video": video}))
        torch.testing.assert_close(h, method.context(video.float() / 255).mean((2, 3)))
        backwards = method.encode({"video": video.flip(2)})
    assert (h - backwards).abs().max() > 1e-3  # the order of frames is in it


# ---------------------------------------------------------------------------------------------- curriculum


def test_the_horizon_grows_in_equal_parts():
    assert [dpc.horizon_at(k / 8, 1, 2) for k in range(8)] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert [dpc.horizon_at(k / 9, 1, 3) for k in range(9)] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert dpc.horizon_at(0.0, 3, 3) == dpc.horizon_at(1.0, 3, 3) == 3 and dpc.horizon_at(1.0, 1, 3) == 3


def test_the_curriculum_runs_in_a_real_training(films):
    for horizon, expected in (((1, 3), [1, 1, 2, 2, 3, 3]), ((2, 2), [2] * 6)):
        method = small(horizon=horizon)
        assert [row["horizon"] for row in fit(method, films, QUICK.but(epochs=6))] == expected
        assert method.ahead == horizon[1]


def test_the_horizon_is_part_of_the_checkpoint(films):
    method = small(horizon=(1, 3))
    for row in epochs(method, films, QUICK.but(epochs=6)):
        if row["epoch"] == 3:
            break
    again = small(horizon=(1, 3))
    assert again.ahead == 3 and method.ahead == 2
    again.load_state_dict(method.state_dict())
    assert again.ahead == 2


# ---------------------------------------------------------------------------------------------- views


def test_one_crop_for_the_film_and_colours_for_each_frame():
    torch.manual_seed(0)
    film = torch.rand(3, 3, 1, 32, 32).expand(-1, -1, 5, -1, -1)  # a film that stands still
    cropped = augment.film_view(strength=0, hue_by=0, copied=0)(film)
    assert (cropped - cropped[:, :, :1]).abs().max() < 1e-6  # the same crop in all frames
    assert (cropped - film).abs().max() > 0.1 and (cropped[0] - cropped[1]).abs().max() > 0.1
    coloured = augment.film_view(area=(1, 1))(film)
    gap = (coloured - coloured[:, :, :1]).abs().amax((1, 3, 4))[:, 1:]
    assert (gap > 0.01).all()
    consistent = augment.film_view(area=(1, 1), per_frame=False)(film)
    assert (consistent - consistent[:, :, :1]).abs().max() < 1e-6 and (consistent - film).abs().max() > 0.1
    assert coloured.shape == film.shape and coloured.min() >= 0 and coloured.max() <= 1


def test_a_channel_takes_the_place_of_all_three():
    image = torch.rand(200, 3, 4, 4)
    copied = augment.channel_copy(image, 1.0)
    which = [
        [torch.equal(c[0], i[k]) and torch.equal(c[1], i[k]) and torch.equal(c[2], i[k]) for k in range(3)]
        for c, i in zip(copied, image)
    ]
    assert all(sum(row) == 1 for row in which) and all(
        30 < sum(row[k] for row in which) < 110 for k in range(3)
    )
    assert torch.equal(augment.channel_copy(image, 0.0), image)
    changed = (augment.channel_copy(image, 0.5) != image).flatten(1).any(1).float().mean()
    assert 0.35 < changed < 0.65


def test_a_flip_mirrors_the_whole_film_and_is_off_unless_asked_for():
    film = torch.rand(6, 3, 4, 8, 8)
    plain = dict(area=(1, 1), strength=0, hue_by=0, copied=0)
    torch.testing.assert_close(augment.film_view(**plain, flip=1.0)(film), film.flip(4))
    torch.testing.assert_close(augment.film_view(**plain)(film), film)
    torch.manual_seed(0)
    some = augment.film_view(**plain, flip=0.5)(film.repeat(8, 1, 1, 1, 1))
    mirrored = [torch.allclose(s, f.flip(2 + 1), atol=1e-5) for s, f in zip(some, film.repeat(8, 1, 1, 1, 1))]
    assert 0.2 < sum(mirrored) / len(mirrored) < 0.8
    assert (
        dpc.SPEC.settings("course", True, 8)["view"]["flip"] == 0.0
        and dpc.SPEC.settings("course", False, 8)["view"]["flip"] == 0.5
    )


def test_films_do_not_depend_on_how_many_are_worked_on_at_once():
    films = torch.rand(20, 3, 16, 8, 8)
    view = augment.film_view(area=(1, 1), strength=0, hue_by=0, copied=0)
    torch.testing.assert_close(view(films), films)
    for wrong in (dict(area=(0.0, 1.0)), dict(flip=2.0), dict(hue_by=0.6), dict(strength=-1.0)):
        with pytest.raises(CourseError):
            augment.film_view(**wrong)
    with pytest.raises(CourseError, match=r"x\[None\]"):
        view(films[0])


def test_blocks_are_shuffled_film_by_film_and_whole():
    blocks = torch.arange(4).float().repeat_interleave(4).view(1, 1, 16, 1, 1).expand(12, 3, 16, 32, 32) / 4
    for order, expected in (("kept", [0, 1, 2, 3]), ("reversed", [3, 2, 1, 0])):
        shown = small(view=still, order=order).views({"video": blocks})["blocks"]
        assert (shown[:, :, 0, :, 0, 0] * 4)[5].tolist() == [[float(k)] * 4 for k in expected]
    shown = small(view=still, order="shuffled").views({"video": blocks})["blocks"][:, :, 0, :, 0, 0] * 4
    assert all(len(set(block.tolist())) == 1 for film in shown for block in film)  # a block stays whole
    orders = {tuple(film[:, 0].int().tolist()) for film in shown}
    assert len(orders) > 3 and all(sorted(o) == [0, 1, 2, 3] for o in orders)


# ---------------------------------------------------------------------------------------------- encoders


def test_the_encoders_have_a_dense_map_before_the_relu():
    net = encoders.small_3d(64)
    assert encoders.parameters(net) == 181_264
    x = torch.rand(2, 3, 4, 32, 32)
    maps = net.maps(x)
    assert maps.shape == (2, 64, 4, 4) and (maps < 0).any()
    torch.testing.assert_close(net(x), F.relu(maps).mean((2, 3)))
    assert net(x).shape == (2, net.dim) and list(net.layers) == ["conv1", "conv2", "conv3", "conv4"]


def test_a_block_owes_nothing_to_its_neighbours():
    net, x = encoders.small_3d(16).train(), torch.rand(6, 3, 4, 32, 32)
    torch.testing.assert_close(net.maps(x)[:2], net.maps(x[:2]), rtol=1e-4, atol=1e-5)


def test_the_papers_backbone_has_the_papers_size():
    net = encoders.resnet18_2d3d()
    assert encoders.parameters(net) == pytest.approx(14.06e6, rel=1e-3) and net.dim == 256
    with torch.no_grad():
        maps = net.eval().maps(torch.rand(1, 3, 5, 128, 128))
    assert maps.shape == (1, 256, 4, 4) and (maps < 0).any()
    kernels = {
        name: {m.kernel_size[0] for m in stage.modules() if isinstance(m, nn.Conv3d)} - {1}
        for name, stage in net.layers.items()
    }
    assert kernels == {
        "conv1": set(),
        "layer1": set(),
        "layer2": set(),
        "layer3": {3},
        "layer4": {3},
    }  # 2-D below, 3-D above
    assert encoders.parameters(encoders.ConvGRU(256, 256)) == pytest.approx(0.394e6, rel=1e-2)
    assert encoders.parameters(dpc.predictor(256)) == pytest.approx(0.132e6, rel=1e-2)


# ---------------------------------------------------------------------------------------------- the method


def test_wrong_arguments_say_what_to_type(films):
    for wrong, match in (
        (dict(horizon=(2, 1)), "horizon"),
        (dict(order="random"), "shuffled"),
        (dict(temperature=0.0), "temperature"),
    ):
        with pytest.raises(CourseError, match=match):
            small(**wrong)
    with pytest.raises(CourseError, match="lower horizon"):
        fit(small(horizon=(4, 4)), films, QUICK)
    with pytest.raises(CourseError, match="agree in all axes"):
        inspect.unwrap(dpc.scores_of)(torch.zeros(2, 1, 3, 2, 2), torch.zeros(2, 2, 3, 2, 2))
    with pytest.raises(CourseError, match="other film"):
        dpc.dense_nce(torch.zeros(2, 1, 3, 2, 2), torch.zeros(2, 1, 3, 2, 2), without=("easy",))


def test_your_loss_and_your_roll_out_are_the_ones_that_train(films):
    met = []
    method = small(
        loss=lambda p, t, temperature: met.append("loss") or dpc.dense_nce(p, t, temperature),
        roll=lambda *a: met.append("roll") or dpc.roll_out(*a),
    )
    fit(method, films, QUICK.but(epochs=1))
    assert met == ["roll", "loss"] * 2


def test_the_pretext_is_read_without_chance(films):
    method = small().eval()
    found = dpc.pretext(method, films.video, chunk=16)
    assert found == dpc.pretext(method, films.video, chunk=16) and sum(found.values()) == pytest.approx(1)
    with pytest.raises(CourseError, match="chunk"):
        dpc.pretext(method, films.video[:4])


def test_the_yardstick_reads_labels_and_only_it_does(films):
    torch.manual_seed(1)
    yardstick = dpc.MotionClassifier(encoders.small_3d(16), 4)
    rows = fit(yardstick, films, QUICK)
    assert 0 <= rows[-1]["accuracy"] <= 1 and yardstick.encode({"video": films.video[:3]}).shape == (3, 16)
    with pytest.raises(CourseError, match="no labels"):
        fit(dpc.MotionClassifier(encoders.small_3d(16), 4), films.unlabelled(), QUICK)


def test_settings_build_what_they_describe():
    for recipe in ("course", "gpu"):
        method = dpc.SPEC.build(encoders.small_3d(16), dpc.SPEC.settings(recipe, True, 8))
        assert method.horizon == tuple(dpc.SPEC.settings(recipe, True, 8)["horizon"])
    twin = copy.deepcopy(method)
    assert twin.ahead == method.ahead


# ---------------------------------------------------------------------------------------------- pictures


def test_the_pictures_say_what_is_there():
    from sslcourse import show

    kind, weight = dpc.kinds(2, 2, 4), torch.eye(16) * 0.81
    tile = show.kinds_tile(weight, kind)
    assert (
        tile.shape == (3, 16, 16) and not tile[:, ~torch.eye(16, dtype=torch.bool).numpy()].any()
    )  # no attention, no light
    green = torch.tensor([0x00, 0x9E, 0x73]) / 255 * 0.81**0.25
    torch.testing.assert_close(torch.from_numpy(tile[:, 3, 3]), green.float(), rtol=1e-4, atol=1e-4)
    assert len(show.png(show.dense_scores(torch.randn(16, 16), kind, 2, 4))) > 2000
    assert (
        len(
            show.png(show.match(torch.rand(3, 32, 32), torch.rand(3, 32, 32), torch.rand(4, 4), 5, "a title"))
        )
        > 2000
    )
    for wrong in (
        lambda: show.kinds_tile(weight, kind + 1),
        lambda: show.dense_scores(torch.zeros(16, 16), kind, 3, 4),
        lambda: show.match(torch.rand(3, 8, 8), torch.rand(3, 8, 8), torch.rand(4, 4), 16),
    ):
        with pytest.raises(CourseError):
            wrong()


# ---------------------------------------------------------------------------------------------- claims, table


def test_the_effects_of_the_claims_are_positive_where_the_paper_is_right():
    names = ("DPC", "fixed horizon", "one block ahead", "parallel", "shuffled", "random")

    def results(**changed):
        found = {name: {"kNN": 0.5, "linear": 0.5} for name in names}
        for name, value in changed.items():
            found[name.replace("_", " ")]["kNN"] = value
        return found

    right = {
        "learns": results(random=0.4),
        "further": results(one_block_ahead=0.4),
        "curriculum": results(fixed_horizon=0.4),
        "order": results(shuffled=0.4),
        "sequential": results(parallel=0.4),
    }
    assert set(right) == {c.name for c in claims.CLAIMS}
    assert set(names) == {*claims.VARIANTS, "random"}
    for claim in claims.CLAIMS:
        assert claim.effect(right[claim.name]) == pytest.approx(0.1), claim.name
        assert claim.effect(results()) == 0
    effects = {c.name: c.effect for c in claims.CLAIMS}
    assert effects["order"](results(shuffled=0.7)) == pytest.approx(-0.2)
    assert effects["sequential"](results(DPC=0.9)) == 0  # feedback is judged at the same, fixed horizon


def tiny():
    from sslcourse.data import toybox

    return toybox.videos(64, 32, 32, cache=False)


def test_the_runs_train_what_the_claims_compare():
    data, lines = tiny(), []
    found = claims.runs(0, data, QUICK.but(epochs=1), lines.append)
    assert set(found) == {*claims.VARIANTS, "random"} and len(data.test.openings) == 1
    assert all(0 <= found[name]["kNN"] <= 1 and "cell found" in found[name] for name in claims.VARIANTS)
    assert len(lines) == 11
    for claim in claims.CLAIMS:
        assert isinstance(claim.effect(found), float)


def test_the_table_trains_every_row(monkeypatch):
    data = tiny()
    monkeypatch.setattr(table.toybox, "videos", lambda: data)
    monkeypatch.setattr(table, "RECIPE", QUICK)
    rows = table.measure(seeds=1, say=lambda text: None, films=32, epochs=1)
    assert [row[""] for row in rows] == ["random", *table.ROWS]
    assert all(row["cell found"] != "–" for row in rows[1:]) and rows[0]["cell found"] == "–"


def test_a_pooled_prediction_is_one_vector_a_block():
    prediction, target = draw(3, 2, 4, 2, 2), draw(3, 2, 4, 2, 2, seed=1)
    mean = lambda m: m.mean((3, 4)).flatten(0, 1)
    expected = F.cross_entropy(mean(prediction) @ mean(target).T / 0.5, torch.arange(6))
    torch.testing.assert_close(table.pooled(prediction, target, 0.5), expected)


@pytest.mark.slow
def test_a_border_of_zeros_is_a_shortcut():
    """With zeros beyond the border the task is solved by place alone: other films are all alike, and motion
    is not learned.
    """
    from sslcourse.data import toybox

    data, recipe, errors = toybox.videos(600, 96, 32), Recipe(epochs=3, batch_size=16, lr=3e-3), {}
    for border in ("repeated", "zeros"):
        torch.manual_seed(0)
        method = dpc.DPC(encoders.small_3d(64, border), horizon=(1, 1), view=augment.film_view((0.7, 1.0)))
        loss = fit(method, data.train.unlabelled(), recipe)[-1]["loss"]
        errors[border] = dpc.pretext(method, data.validation.video)
        if border == "zeros":
            assert loss == pytest.approx(
                math.log(16), abs=0.25
            )  # as if only the sixteen films were left to choose from
    assert errors["zeros"]["other place"] < 0.01 and errors["zeros"]["cell found"] == pytest.approx(
        1 / 32, abs=0.02
    )
    assert (
        errors["repeated"]["other place"] > 5 * errors["zeros"]["other place"]
    )  # there a place is not given away


@pytest.mark.parametrize("border, same", [("repeated", True), ("zeros", False)])
def test_places_cannot_be_told_apart_where_the_border_is_repeated(border, same):
    flat = torch.tensor([0.2, 0.6, 0.4]).view(1, 3, 1, 1, 1).expand(1, 3, 4, 32, 32)
    maps = encoders.small_3d(16, border).maps(flat)
    assert bool((maps - maps[:, :, :1, :1]).abs().max() < 1e-4) is same
    with pytest.raises(CourseError, match="repeated"):
        encoders.small_3d(16, "mirrored")
