"""Video LSTM: the cell against torch's, the losses against loops, what each decoder may see, and what the
claims' effects mean.
"""

import math

import pytest
import torch
from torch import nn

from sslcourse import encoders
from sslcourse.data.datasets import Samples
from sslcourse.methods import video_lstm
from sslcourse.runtime.errors import CourseError
from sslcourse.train import features
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe


def small(past=4, depth=1, hidden=12, frames=None):
    torch.manual_seed(0)
    return encoders.FrameLSTM(frames or encoders.Pixels(4), hidden, depth, past)


def films(n=6, t=9, side=8, seed=0):
    return torch.rand(n, 3, t, side, side, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------------------------------------- the cell


def _cell_inputs(n=3, d=5, h=4):
    torch.manual_seed(1)
    shapes = (n, d), (n, h), (n, h), (4 * h, d), (4 * h, h), (4 * h,), (3, h)
    return [torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in shapes]


def test_the_cell_is_torchs_cell():
    x, h, c, w_x, w_h, bias, _ = _cell_inputs()
    cell = nn.LSTMCell(5, 4).double()
    with torch.no_grad():
        for mine, theirs in ((w_x, cell.weight_ih), (w_h, cell.weight_hh)):
            theirs.copy_(mine)
        cell.bias_ih.copy_(0.25 * bias)
        cell.bias_hh.copy_(0.75 * bias)
    got, expected = video_lstm.lstm_cell(x, h, c, w_x, w_h, bias), cell(x, (h, c))
    for a, b in zip(got, expected):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    ours = torch.autograd.grad(sum(v.sin().sum() for v in got), (x, h, c, w_x, w_h, bias))
    theirs = torch.autograd.grad(
        sum(v.sin().sum() for v in expected), (x, h, c, cell.weight_ih, cell.weight_hh, cell.bias_ih)
    )
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_steps_of_the_cell_are_torchs_sequence_of_two_layers():
    torch.manual_seed(0)
    lstm, x = nn.LSTM(5, 4, 2, batch_first=True).double(), torch.randn(3, 6, 5, dtype=torch.float64)
    out, (h_end, c_end) = lstm(x)
    sequence = x
    for layer in range(2):
        w_x, w_h, b_x, b_h = (
            getattr(lstm, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h, c, states = torch.zeros(3, 4).double(), torch.zeros(3, 4).double(), []
        for t in range(6):
            h, c = video_lstm.lstm_cell(sequence[:, t], h, c, w_x, w_h, b_x + b_h)
            states.append(h)
        sequence = torch.stack(states, 1)
        torch.testing.assert_close(h, h_end[layer])
        torch.testing.assert_close(c, c_end[layer])
    torch.testing.assert_close(sequence, out)


def test_peepholes_are_the_papers_equations_unit_by_unit():
    x, h, c, w_x, w_h, bias, peep = (v.detach() for v in _cell_inputs())
    new_h, new_c = video_lstm.lstm_cell(x, h, c, w_x, w_h, bias, peep)
    s = lambda v: 1 / (1 + math.exp(-v))
    for b in range(3):
        for j in range(4):
            gate = lambda k, b=b, j=j: float(bias[4 * k + j] + w_x[4 * k + j] @ x[b] + w_h[4 * k + j] @ h[b])
            i, f = s(gate(0) + float(peep[0, j] * c[b, j])), s(gate(1) + float(peep[1, j] * c[b, j]))
            after = f * float(c[b, j]) + i * math.tanh(gate(2))
            o = s(gate(3) + float(peep[2, j]) * after)  # the new c, and not the old one
            assert (
                abs(float(new_c[b, j]) - after) < 1e-12
                and abs(float(new_h[b, j]) - o * math.tanh(after)) < 1e-12
            )
    plain = video_lstm.lstm_cell(x, h, c, w_x, w_h, bias)
    for a, b in zip(plain, video_lstm.lstm_cell(x, h, c, w_x, w_h, bias, torch.zeros_like(peep))):
        torch.testing.assert_close(a, b)
    assert not torch.allclose(plain[0], new_h)
    assert torch.autograd.gradcheck(video_lstm.lstm_cell, _cell_inputs(2, 3, 2))


# ----------------------------------------------------------------------------------------- targets and losses


def test_targets_of_a_film_that_counts_its_frames():
    count = torch.arange(9.0).view(1, 9, 1).expand(2, 9, 3)
    backwards, future = video_lstm.targets(count, 5)
    assert backwards[0, :, 0].tolist() == [4, 3, 2, 1, 0] and future[1, :, 2].tolist() == [5, 6, 7, 8]
    pieces = video_lstm.targets(count[:, None].expand(2, 4, 9, 3), 5)  # with an axis for patches
    assert (
        pieces[0].shape == (2, 4, 5, 3)
        and torch.equal(pieces[0][:, 2], backwards)
        and torch.equal(pieces[1][:, 3], future)
    )
    late = video_lstm.delayed(backwards)
    assert late[0, :, 0].tolist() == [0, 4, 3, 2, 1] and late.shape == backwards.shape


def test_cross_entropy_equals_loops_over_films_frames_and_pixels():
    torch.manual_seed(0)
    logits, target = (
        torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True),
        torch.rand(2, 3, 4, dtype=torch.float64),
    )
    total = 0.0
    for b in range(2):
        for t in range(3):
            for d in range(4):
                y, x = 1 / (1 + torch.exp(-logits[b, t, d])), target[b, t, d]
                total = total - (x * y.log() + (1 - x) * (1 - y).log())
    slow = total / (2 * 3)
    fast = video_lstm.nats_per_frame(logits, target)
    assert abs(float((fast - slow).detach())) < 1e-12
    torch.testing.assert_close(*(torch.autograd.grad(v, logits)[0] for v in (fast, slow)))
    assert torch.autograd.gradcheck(video_lstm.nats_per_frame, (logits, target))
    squared = 0.5 * sum(((logits[b, t] - target[b, t]) ** 2).sum() for b in range(2) for t in range(3)) / 6
    torch.testing.assert_close(video_lstm.squared_per_frame(logits, target), squared)


def test_closed_forms_and_extremes():
    target = torch.rand(3, 4, 10)
    assert float(video_lstm.nats_per_frame(torch.zeros(3, 4, 10), target)) == pytest.approx(
        10 * math.log(2), abs=1e-5
    )
    best = float(video_lstm.nats_per_frame(torch.logit(target.double()), target.double()))
    assert best == pytest.approx(video_lstm.floor(target), abs=1e-6)  # nothing is below the floor
    assert float(video_lstm.nats_per_frame(torch.logit(target.double()) + 0.1, target.double())) > best
    black_and_white = (target > 0.5).float()
    assert video_lstm.floor(black_and_white) == 0
    wrong = video_lstm.nats_per_frame((1 - 2 * black_and_white) * 300, black_and_white)
    assert float(wrong) == pytest.approx(3000, rel=1e-4)  # far off, and finite
    assert torch.isfinite(video_lstm.nats_per_frame(torch.randn(2, 3).bfloat16() * 50, torch.rand(2, 3)))
    per_step = video_lstm.errors(torch.rand(2, 1, 5, 7).clamp(0.02, 0.98), torch.rand(2, 1, 5, 7))
    assert per_step.shape == (5,) and (per_step > 0).all()
    logits, frames = torch.randn(4, 1, 3, 6), torch.rand(4, 1, 3, 6)
    torch.testing.assert_close(
        video_lstm.errors(logits.sigmoid(), frames).mean(), video_lstm.nats_per_frame(logits, frames)
    )
    torch.testing.assert_close(
        video_lstm.errors(logits, frames, "squared").mean(), video_lstm.squared_per_frame(logits, frames)
    )


def test_baselines_of_prediction():
    side, film = 16, torch.zeros(2, 1, 10, 16, 16)
    for f in range(10):
        film[0, 0, f, 2 + f : 5 + f, 6:9] = 1  # down by 1
        film[1, 0, f, 6:9, 12 - f : 14 - f] = 0.5  # to the left by 1
    x = film.flatten(3)
    seen, future = x[:, :, :6], x[:, :, 6:]
    torch.testing.assert_close(video_lstm.extrapolate(seen, 4, side), future)
    still = video_lstm.copy_last(seen, 4)
    assert still.shape == future.shape and torch.equal(still[:, :, 3], seen[:, :, 5])
    torch.testing.assert_close(video_lstm.extrapolate(still, 4, side), still)
    far = video_lstm.extrapolate(seen, 60, side)
    assert far.shape == (2, 1, 60, 256) and torch.isfinite(far).all()
    colour = (
        torch.rand(2, 3, 1, 4, 16).repeat(1, 1, 6, 1, 1)[..., :4].contiguous()
    )  # (2, 3, 6, 4, 4): nothing moves
    vectors = colour.transpose(1, 2).flatten(2)[:, None]
    torch.testing.assert_close(
        video_lstm.extrapolate(vectors, 2, 4, reach=1), video_lstm.copy_last(vectors, 2)
    )


# ---------------------------------------------------------------------------------------------- frames


def test_pixels_are_averages_of_luma_and_come_back():
    video = films(2, 3, 8)
    x = encoders.Pixels(4)(video)
    grey = 0.299 * video[:, 0] + 0.587 * video[:, 1] + 0.114 * video[:, 2]
    assert x.shape == (2, 1, 3, 16)
    torch.testing.assert_close(x[1, 0, 2].view(4, 4)[1, 3], grey[1, 2, 2:4, 6:8].mean())
    colour = encoders.Pixels(8, grey=False)
    torch.testing.assert_close(colour.of(colour(video)), video)
    assert encoders.Pixels(4).of(x).shape == (2, 3, 3, 4, 4)
    with pytest.raises(CourseError, match="8 x 8 pixels cannot be averaged to 3 x 3"):
        encoders.Pixels(3)(video)


def test_patches_are_cut_at_one_place_in_training_and_tile_the_frame_otherwise():
    video, patches = films(3, 5, 12), encoders.Patches(4)
    whole = patches.eval()(video)
    assert whole.shape == (3, 9, 5, 48)
    torch.testing.assert_close(patches.of(whole), video)
    torch.manual_seed(0)
    one = patches.train()(video)
    assert one.shape == (3, 1, 5, 48)
    cut = patches.of(one)  # (3, 3, 5, 4, 4)
    for b in range(3):
        places = [
            (y, x)
            for y in range(9)
            for x in range(9)
            if torch.equal(video[b, :, :, y : y + 4, x : x + 4], cut[b])
        ]
        assert len(places) == 1  # the same place in all frames
    again = [patches(video) for _ in range(8)]
    assert any(not torch.equal(one, other) for other in again)
    with pytest.raises(CourseError, match="patches of 5 x 5"):
        encoders.Patches(5).eval()(video)


def test_percepts_do_not_learn_and_are_standardised():
    torch.manual_seed(0)
    video = films(6, 4, 32)
    percepts = encoders.Percepts(encoders.small_cnn(8)).fit(video)
    x = percepts(video)
    assert x.shape == (6, 1, 4, 32) and not x.requires_grad
    torch.testing.assert_close(x.mean((0, 1, 2)), torch.zeros(32), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        x[1, 0, 2] * percepts.scale + percepts.mean, percepts.network(video[1:2, :, 2])[0]
    )
    method = video_lstm.VideoLSTM(encoders.FrameLSTM(percepts, 8, past=2), future=2)
    assert method.kind == "squared"
    before = {k: v.clone() for k, v in percepts.state_dict().items()}
    fit(method, Samples(video=(video * 255).byte()), Recipe(epochs=1, batch_size=3, lr=1e-2))
    assert all(torch.equal(v, before[k]) for k, v in percepts.state_dict().items())
    with pytest.raises(CourseError, match="no picture"):
        percepts.of(x)


# --------------------------------------------------------------------------------------- encoder and decoders


@pytest.mark.parametrize("depth", [1, 2])
def test_the_representation_is_h_and_c_after_the_frames_that_are_read(depth):
    f, video = small(depth=depth), films()
    got = f(video)
    x = f.vectors(video[:, :, :4])[:, 0]
    h, c = [torch.zeros(6, 12)] * depth, [torch.zeros(6, 12)] * depth
    for t in range(4):
        inputs = 2 * x[:, t] - 1
        for k in range(depth):
            w_x, w_h, b_x, b_h = (
                getattr(f.lstm, f"{name}_l{k}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            h[k], c[k] = video_lstm.lstm_cell(inputs, h[k], c[k], w_x, w_h, b_x + b_h)
            inputs = h[k]
    torch.testing.assert_close(got, torch.cat([*h, *c], 1), atol=1e-6, rtol=1e-5)
    assert got.shape == (6, f.dim) == (6, 24 * depth)
    later = video.clone()
    later[:, :, 4:] = 0
    assert torch.equal(f(later), got)  # what comes afterwards is not seen
    with pytest.raises(CourseError, match="films of 3 frames"):
        f(video[:, :, :3])


def test_states_of_patches_are_averaged():
    f = small(frames=encoders.Patches(4)).eval()
    video = films(3, 4, 8)
    each = [f(video[:, :, :, y : y + 4, x : x + 4]) for y in (0, 4) for x in (0, 4)]
    torch.testing.assert_close(f(video), torch.stack(each).mean(0))


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("conditional", [False, True])
def test_a_decoder_uses_every_part_of_the_state_that_it_is_handed(conditional, depth):
    method = video_lstm.VideoLSTM(small(depth=depth), conditional_future=conditional, future=5)
    x = method.f.vectors(films())[:, 0]
    h, c = (v.detach().requires_grad_() for v in method.state(x[:, :4]))
    out = method.forward_decoder((h, c), x[:, 4:])
    for part in torch.autograd.grad(out.square().sum(), (h, c)):
        assert part.shape[0] == depth and (part.abs().amax((1, 2)) > 1e-6).all()
    without = video_lstm.VideoLSTM(small(depth=depth), future=5, cells=False)
    assert without.state(x[:, :4])[1].abs().max() == 0 and without.state(x[:, :4])[0].abs().max() > 0


def test_a_conditional_decoder_never_sees_the_frame_that_it_must_say():
    method = video_lstm.VideoLSTM(small(), conditional_past=True, conditional_future=True, future=5)
    x = method.f.vectors(films())[:, 0]
    state = tuple(v.detach() for v in method.state(x[:, :4]))
    target = x[:, 4:].clone().requires_grad_()
    out = method.forward_decoder(state, target)
    for k in range(5):
        slope = torch.autograd.grad(out[:, k].square().sum(), target, retain_graph=True)[0].abs().amax((0, 2))
        assert (slope[k:] == 0).all() and (slope[:k] > 0).all(), k
    free = video_lstm.VideoLSTM(small(), future=5).forward_decoder
    assert torch.equal(free(state, x[:, 4:]), free(state, 1 - x[:, 4:]))  # the unconditional one sees none


def test_free_running_equals_training_at_the_first_step_and_where_it_is_fed_its_own_frames():
    method = video_lstm.VideoLSTM(small(depth=2), conditional_future=True, future=5).eval()
    x = method.f.vectors(films())[:, 0]
    decoder, state = method.forward_decoder, method.state(x[:, :4])
    with torch.no_grad():
        fed, free = decoder(state, x[:, 4:]).sigmoid(), decoder.run(state, 5)
        torch.testing.assert_close(fed[:, 0], free[:, 0])
        assert not torch.allclose(fed[:, 1], free[:, 1])
        torch.testing.assert_close(decoder(state, free).sigmoid(), free)
        torch.testing.assert_close(decoder.run(state, 3), free[:, :3])
        plain = video_lstm.VideoLSTM(small(depth=2), future=5).eval()
        torch.testing.assert_close(
            plain.forward_decoder.run(state, 5), plain.forward_decoder(state, x[:, 4:]).sigmoid()
        )


def test_the_composite_loss_is_the_sum_and_a_slow_composite_agrees():
    batch = {"video": films()}
    both = video_lstm.VideoLSTM(small(), future=5)
    loss, found = both.loss(batch)
    torch.testing.assert_close(loss, found["reconstruction"] + found["prediction"])
    x = both.f.vectors(batch["video"])[:, 0]
    _, state = both.f.lstm(2 * x[:, :4] - 1)
    total = {}
    for name, decoder, frames in (
        ("reconstruction", both.backward_decoder, [3, 2, 1, 0]),
        ("prediction", both.forward_decoder, [4, 5, 6, 7, 8]),
    ):
        step, sums = state, 0.0
        for t in frames:
            h, step = decoder.lstm(torch.zeros(6, 1, 1), step)
            y = decoder.out(h)[:, 0].sigmoid()
            sums = sums - (x[:, t] * y.log() + (1 - x[:, t]) * (1 - y).log()).sum(1).mean()
        total[name] = sums / len(frames)
    for name, value in total.items():
        torch.testing.assert_close(found[name], value.detach(), atol=1e-4, rtol=1e-5)
    assert set(video_lstm.VideoLSTM(small(), predict=False).loss(batch)[1]) == {"reconstruction"}
    assert set(video_lstm.VideoLSTM(small(), reconstruct=False, future=5).loss(batch)[1]) == {"prediction"}


@pytest.mark.parametrize("name", video_lstm.MODELS)
def test_every_row_of_the_table_runs_and_rolls_out(name):
    method = video_lstm.VideoLSTM(small(), future=5, **video_lstm.MODELS[name]).eval()
    batch = {"video": films()}
    assert torch.isfinite(method.loss(batch)[0])
    assert method.encode(batch).shape == (6, 24)
    if method.forward_decoder is None:
        with pytest.raises(CourseError, match="predicts nothing"):
            method.predict(batch)
    else:
        far = method.predict(batch, 60)
        assert far.shape == (6, 1, 60, 16) and 0 <= far.min() and far.max() <= 1
        torch.testing.assert_close(far[:, :, :5], method.predict(batch))
        assert torch.equal(
            method.predict({"video": batch["video"][:, :, :4]}, 3), far[:, :, :3]
        )  # no frame after the past is needed
    if method.backward_decoder is None:
        with pytest.raises(CourseError, match="reconstructs nothing"):
            method.reconstruct(batch)
    else:
        assert method.reconstruct(batch).shape == (6, 1, 4, 16)


def test_reconstructions_come_in_the_order_of_the_film():
    """Frames of their own brightness, learned by heart: they come back in the film's order although the
    decoder says them backwards.
    """
    levels = torch.rand(8, 1, 6, 1, 1, generator=torch.Generator().manual_seed(3)).expand(8, 3, 6, 4, 4)
    data = Samples(video=(levels * 255).byte())
    torch.manual_seed(0)
    method = video_lstm.VideoLSTM(encoders.FrameLSTM(encoders.Pixels(4), 32, past=4), future=2)
    fit(method, data, Recipe(epochs=150, batch_size=8, lr=1e-2))
    rebuilt, ahead = (
        method.reconstruct({"video": data.video}).mean(3)[:, 0],
        method.predict({"video": data.video}).mean(3)[:, 0],
    )
    true = data.video.float()[:, 0, :, 0, 0] / 255
    assert (rebuilt - true[:, :4]).abs().mean() < 0.06 < (rebuilt - true[:, :4].flip(1)).abs().mean()
    assert (ahead - true[:, 4:]).abs().mean() < 0.06


def test_mistakes_say_what_to_type():
    for call, match in (
        (lambda: video_lstm.VideoLSTM(encoders.small_cnn(8)), "Encoder is no encoder of films"),
        (lambda: video_lstm.VideoLSTM(small(), False, False), "nothing to learn"),
        (
            lambda: video_lstm.VideoLSTM(small(), predict=False, conditional_future=True),
            "cannot be conditional",
        ),
        (lambda: video_lstm.VideoLSTM(small(), future=0), "future=0"),
        (lambda: video_lstm.VideoLSTM(small(), future=6).loss({"video": films(t=9)}), "give 10"),
        (lambda: video_lstm.VideoLSTM(small(), future=5).predict({"video": films()}, -1), "steps=-1"),
        (lambda: video_lstm.errors(torch.rand(1, 1, 2, 3), torch.rand(1, 1, 3, 3)), "must agree"),
        (lambda: video_lstm.extrapolate(torch.rand(1, 1, 1, 16), 2, 4), "two frames"),
        (
            lambda: video_lstm.Classifier(small(), 2).loss({"video": films(), "label": torch.full((6,), -1)}),
            "no labels",
        ),
    ):
        with pytest.raises(CourseError, match=match):
            call()


# --------------------------------------------------------------------------------------------- the classifier


def test_the_classifier_has_a_softmax_after_every_frame():
    f = small()
    method = video_lstm.Classifier(f, 3, dropout=0.0)
    batch = {"video": films(), "label": torch.tensor([0, 1, 2, 0, 1, 2])}
    x = 2 * f.vectors(batch["video"][:, :, :4])[:, 0] - 1
    h, _ = f.lstm(x)
    slow, scores = 0.0, torch.zeros(6, 3)
    for b in range(6):
        for t in range(4):
            p = method.head(h[b, t]).softmax(0)
            slow = slow - p[batch["label"][b]].log() / 24
            scores[b] += p / 4
    torch.testing.assert_close(method.loss(batch)[0], slow)
    torch.testing.assert_close(method.eval().encode(batch), scores)
    with torch.no_grad():
        method.f.lstm.weight_ih_l0.add_(1)
    assert not torch.equal(method.f.lstm.weight_ih_l0, f.lstm.weight_ih_l0)  # a copy
    patchy = video_lstm.Classifier(small(frames=encoders.Patches(4)), 3).eval()
    assert patchy.encode(batch).shape == (6, 3) and torch.isfinite(patchy.loss(batch)[0])


def moving_dots(n, seed):
    """A bright column that goes left or right: the label, which no frame alone tells."""
    g = torch.Generator().manual_seed(seed)
    way, at = torch.randint(0, 2, (n,), generator=g), torch.randint(0, 8, (n,), generator=g)
    t = torch.arange(8)
    column = (at[:, None] + (2 * way[:, None] - 1) * t) % 8
    film = torch.zeros(n, 8, 8, 8)
    film.scatter_(3, column[:, :, None, None].expand(n, 8, 8, 1), 1.0)
    return Samples(
        video=(film[:, None].expand(n, 3, 8, 8, 8) * 255).byte(), label=way, classes=("left", "right")
    )


def test_the_future_is_learned_without_labels_and_the_classifier_learns_which_way():
    data, held = moving_dots(256, 0), moving_dots(64, 1)
    torch.manual_seed(0)
    method = video_lstm.VideoLSTM(encoders.FrameLSTM(encoders.Pixels(8), 48, past=4), future=4)
    rows = fit(method, data.unlabelled(), Recipe(epochs=80, batch_size=32, lr=1e-2))
    assert rows[-1]["prediction"] < 0.2 * rows[0]["prediction"]
    guess = method.predict({"video": held.video}).view(64, 4, 8, 8).mean(2).argmax(2)
    assert (guess == held.video[:, 0, 4:, 0].float().argmax(2)).float().mean() > 0.9
    before = {k: v.clone() for k, v in method.f.state_dict().items()}
    judge = video_lstm.fine_tuned(
        method.f, data.take(slice(0, 128)), 2, Recipe(epochs=25, batch_size=8, lr=3e-3)
    )
    assert (features.extract(judge, held).argmax(1) == held.label).float().mean() > 0.95
    assert all(torch.equal(v, before[k]) for k, v in method.f.state_dict().items())


# ------------------------------------------------------------------------------------------- claims and table


def test_effects_are_positive_where_the_paper_is_right():
    from sslcourse.results import claims

    few = {
        "baseline LSTM": 0.3,
        "autoencoder": 0.45,
        "future predictor": 0.44,
        "conditional autoencoder": 0.41,
        "conditional future predictor": 0.46,
        "composite": 0.5,
        "composite, conditional future": 0.48,
    }
    error = {
        "future predictor": (50.0, 50.0),
        "composite": (45.0, 45.0),
        "conditional future predictor": (47.0, 30.0),
    }
    right = {name: {"few labels": value} for name, value in few.items()}
    for name, (free, fed) in error.items():
        right[name] |= {"error": free, "error, true frames fed": fed}
    effects = {c.name: c.effect(right) for c in claims.paper("video_lstm").CLAIMS}
    expected = {
        "over_baseline": 0.2,
        "every_one": 0.11,
        "over_autoencoder": 0.05,
        "over_predictor": 0.06,
        "better_prediction": 5.0,
        "condition_fed": 20.0,
        "condition_free": 3.0,
        "not_the_autoencoder": 0.04,
        "conditional_predictor": 0.02,
    }
    assert effects == {name: pytest.approx(value) for name, value in expected.items()}
    wrong = {name: {key: -value for key, value in row.items()} for name, row in right.items()}
    assert all(c.effect(wrong) < 0 for c in claims.paper("video_lstm").CLAIMS if c.name != "every_one")
    assert claims.paper("video_lstm").CLAIMS[1].effect(
        {**right, "conditional autoencoder": {"few labels": 0.2}}
    ) == pytest.approx(-0.1)


@pytest.mark.slow
def test_claims_and_table_run_on_few_films():
    from sslcourse.data import moving_digits, toybox
    from sslcourse.results import tables
    from sslcourse.results.claims import engine, video_lstm as paper

    quick = paper.PRETRAIN.but(epochs=1, max_steps=2)
    data = toybox.videos(64, 16, 32)
    results = paper.runs(0, data, moving_digits.videos(64, 16, 32), quick, quick, say=lambda text: None)
    assert set(results) == {"baseline LSTM", *video_lstm.MODELS} and len(data.test.openings) == 1
    assert all(
        len(verdict.effects) == 1 and verdict.verdict == "inconclusive"
        for verdict in engine.judge("video_lstm", {0: results})
    )
    rows = tables.make(
        "video_lstm",
        1,
        ["films=64", "digits=32", "epochs=1", "digit_epochs=1", "labelled=4", "held_out=32"],
        say=lambda text: None,
    )
    assert [r["model"] for r in rows] == list(tables.module("video_lstm").PAPER)
    assert (
        all(float(r["4 films a class"]) >= 0 for r in rows)
        and rows[0]["digits, nats per frame"] == "–" != rows[2]["digits, nats per frame"]
    )
