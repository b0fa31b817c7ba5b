"""AVTS: its loss against the formula, its windows in step, its pairs free of leaks, its curriculum; and how
being in step is judged.
"""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from sslcourse import encoders, evaluate
from sslcourse.data.datasets import Data, Samples
from sslcourse.evaluate import synchrony
from sslcourse.methods import avts
from sslcourse.results.claims import avts as claims
from sslcourse.results.tables import avts as table
from sslcourse.runtime.errors import CourseError
from sslcourse.train.loop import epochs, fit
from sslcourse.train.recipe import Recipe

QUICK = Recipe(epochs=2, batch_size=8, lr=1e-3, max_steps=2)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small(**arguments):
    torch.manual_seed(1)
    return avts.AVTS(encoders.small_mc3(16), encoders.small_mel(16), **{"dim": 16, "hidden": 32, **arguments})


def clock(films=4, frames=48, rate=500, size=4):
    """Films that carry their own time: frame t of film i is i / 8 + t / 1000 bright, and the sample heard
    with it has the same value.
    """
    t = torch.arange(frames) / 1000 + torch.arange(films)[:, None] / 8
    return t.view(films, 1, frames, 1, 1).expand(-1, 3, -1, size, size).contiguous(), t.repeat_interleave(
        rate, 1
    )


@pytest.fixture(scope="module")
def scenes():
    """Thirty-two films of 3 s in which a spot jumps at the moment of a click: enough to take steps on."""
    g = torch.Generator().manual_seed(0)
    video, audio = torch.zeros(32, 3, 48, 32, 32), torch.randn(32, 24000, generator=g) * 0.01
    for i in range(32):
        for _ in range(5):
            at, x = int(torch.randint(0, 46, (), generator=g)), int(torch.randint(0, 24, (), generator=g))
            video[i, :, at : at + 2, x : x + 8, 8:24] = 1
            audio[i, at * 500 : at * 500 + 300] += 0.5 * torch.sin(torch.arange(300) * (0.2 + i / 50))
    return Samples(
        video=video, audio=audio.clamp(-1, 1), rate=8000, fps=16, label=torch.arange(32) % 4, name="clicks"
    )


# ---------------------------------------------------------------------------------------------- the loss


def by_hand(v, a, together, margin):
    """The formula of section 3.2, pair by pair."""
    terms = []
    for x, y, same in zip(v, a, together.tolist()):
        d = sum((p - q) ** 2 for p, q in zip(x, y)) ** 0.5
        terms.append(d**2 if same else torch.clamp(margin - d, min=0) ** 2)
    return sum(terms) / len(terms)


@pytest.mark.parametrize("margin", [0.99, 3.0])
def test_the_loss_is_the_formula_in_value_and_gradient(margin):
    v, a = draw(9, 4).requires_grad_(), draw(9, 4, seed=1).requires_grad_()
    together = torch.arange(9) % 2 == 0
    ours, theirs = avts.contrastive(v, a, together, margin), by_hand(v, a, together, margin)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for mine, right in zip(*(torch.autograd.grad(x, (v, a)) for x in (ours, theirs))):
        torch.testing.assert_close(mine, right, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(lambda x, y: avts.contrastive(x, y, together, margin), (v, a))


def test_the_loss_of_known_pairs():
    yes, no = torch.tensor([True]), torch.tensor([False])
    x = torch.tensor([[0.3, 0.4]])
    zero = torch.zeros(1, 2)
    assert float(avts.contrastive(x, zero, yes, 0.99)) == pytest.approx(0.25)  # a distance of one half
    assert float(avts.contrastive(x, zero, no, 0.99)) == pytest.approx(0.49**2)
    assert float(avts.contrastive(x, zero, no, 0.4)) == 0  # beyond the margin nothing is asked for any more
    assert float(avts.contrastive(x, x, yes, 0.99)) == 0 and float(
        avts.contrastive(x, x, no, 0.99)
    ) == pytest.approx(0.99**2)
    half = torch.cat([x, x]) * 0.99  # the trivial solution: all distances are half of the margin
    assert float(
        avts.contrastive(half, torch.zeros(2, 2), torch.tensor([True, False]), 0.99)
    ) == pytest.approx(0.99**2 / 4)


def test_the_gradient_is_finite_where_both_are_the_same():
    for kind in (True, False):
        v = torch.zeros(2, 3, requires_grad=True)
        slope = torch.autograd.grad(
            avts.contrastive(v, torch.zeros(2, 3), torch.tensor([kind, kind]), 0.99), v
        )[0]
        assert torch.isfinite(slope).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_loss_stays_finite_in_half_precision(dtype):
    v = (draw(6, 8) * 100).to(dtype).requires_grad_()
    loss = avts.contrastive(v, -v.detach(), torch.arange(6) < 3, 0.99)
    assert (
        loss.dtype == torch.float32
        and torch.isfinite(loss)
        and torch.isfinite(torch.autograd.grad(loss, v)[0]).all()
    )


@pytest.mark.parametrize("length, farthest", [("halved", 1.0), ("unit", 2.0)])
def test_what_the_margin_asks_for_depends_on_the_length(length, farthest):
    method = small(length=length).eval()
    z = draw(5, 16).float()
    e = method._embedded(z)
    torch.testing.assert_close(method.distance(e, method._embedded(-z)), torch.full((5,), farthest))
    angle = 2 * math.asin(0.99 / farthest)
    assert math.degrees(angle) == pytest.approx({"halved": 163.8, "unit": 59.3}[length], abs=0.1)
    v, a = e[:1], torch.zeros(1, 16)
    u = F.normalize(z[:1], dim=1)
    w = F.normalize(z[1:2] - (z[1:2] @ u.T) * u, dim=1)
    for by, zero in ((-0.01, False), (0.01, True)):
        a = farthest / 2 * (math.cos(angle + by) * u + math.sin(angle + by) * w)
        assert (float(avts.contrastive(v, a, torch.tensor([False]), 0.99)) == 0) is zero
    assert torch.equal(small(length="free").eval()._embedded(z), z)


# ---------------------------------------------------------------------------------------------- windows


def test_the_sound_of_a_window_is_that_of_its_frames():
    video, audio = clock()
    seen, heard = torch.tensor([0, 5, 32, 7]), torch.tensor([0, 5, 32, 20])
    frames, sound = avts.cut(video, audio, seen, heard, 16)
    assert frames.shape == (4, 3, 16, 4, 4) and sound.shape == (4, 8000)
    for i in range(4):
        torch.testing.assert_close(frames[i, 0, :, 0, 0], i / 8 + (seen[i] + torch.arange(16)) / 1000)
        torch.testing.assert_close(
            sound[i].view(16, 500), (i / 8 + (heard[i] + torch.arange(16)) / 1000)[:, None].expand(-1, 500)
        )
    torch.testing.assert_close(frames[:3, 0, :, 0, 0], sound[:3].view(3, 16, 500)[:, :, 0])


def test_a_rate_that_no_frame_divides_loses_no_step():
    video, audio = torch.zeros(1, 3, 30, 2, 2), torch.arange(11025.0)[None]  # 367.5 samples a frame
    for start in (0, 1, 7, 14):
        _, sound = avts.cut(video, audio, torch.tensor([0]), torch.tensor([start]), 16)
        assert sound.shape == (1, 5880) and abs(float(sound[0, 0]) - start * 367.5) <= 0.5


@pytest.mark.parametrize("least, most", [(16, 10**9), (4, 15), (24, 10**9)])
def test_both_moments_have_the_same_distribution(least, most):
    g = torch.Generator().manual_seed(0)
    first, second = avts.starts(60_000, 48, 16, least, most, generator=g)
    apart = (first - second).abs()
    assert (
        int(apart.min()) == least
        and int(apart.max()) == min(most, 32)
        and int(torch.stack([first, second]).min()) == 0
    )
    assert int(torch.stack([first, second]).max()) == 32
    count = lambda t: torch.bincount(t, minlength=33).float()
    assert ((count(first) - count(second)).abs() < 5 * (count(first) + count(second) + 1).sqrt()).all()
    seen = torch.bincount(first * 33 + second)
    assert (
        float(seen[seen > 0].float().std() / seen[seen > 0].float().mean()) < 0.2
    )  # all allowed pairs are about as likely
    assert torch.equal(
        avts.starts(9, 48, 16, 16, 99, generator=torch.Generator().manual_seed(3)),
        avts.starts(9, 48, 16, 16, 99, generator=torch.Generator().manual_seed(3)),
    )


def test_films_too_short_say_what_to_type():
    with pytest.raises(CourseError, match="longer films"):
        avts.starts(4, 31, 16, 16, 99)
    assert avts.starts(4, 32, 16, 16, 99).sum(0).tolist() == [16] * 4


# ------------------------------------------------------------------------------------ who is paired with whom


@pytest.mark.parametrize("films, hard", [(6, 0), (6, 6), (6, 2), (2, 0), (5, 3)])
def test_every_sound_is_dealt_out_once_and_never_to_its_own(films, hard):
    flag = torch.zeros(films, dtype=torch.bool)
    flag[torch.randperm(films)[:hard]] = True
    wrong = avts.partners(flag)
    window = torch.arange(2 * films)
    assert torch.equal(wrong.sort().values, window) and not (wrong == window).any()
    same = wrong % films == window % films
    assert torch.equal(same, flag.repeat(2))  # hard ones stay in their film, the others leave it
    assert (
        torch.equal(wrong[same] % films, window[same] % films)
        and ((wrong[same] - window[same]).abs() == films).all()
    )
    assert torch.equal(wrong[~same] // films, window[~same] // films)  # first windows meet first windows
    with pytest.raises(CourseError, match="one film alone"):
        avts.partners(torch.tensor([True, False]))


def test_views_are_windows_of_the_films_and_their_own_sound(scenes):
    batch = next(scenes.batches(8))
    method = small()
    shown = method.views(batch)
    assert shown["video"].shape == (16, 3, 16, 32, 32) and shown["audio"].shape == (16, 8000)
    for i in range(16):
        film = i % 8
        at = [t for t in range(33) if torch.equal(batch["video"][film, :, t : t + 16], shown["video"][i])]
        assert any(torch.equal(batch["audio"][film, t * 500 : t * 500 + 8000], shown["audio"][i]) for t in at)
    assert (
        torch.equal(shown["right"], torch.arange(16)) and (shown["wrong"] % 8 != torch.arange(16) % 8).all()
    )
    method.share = 1.0
    assert (method.views(batch)["wrong"] == torch.arange(16).roll(8)).all()


@pytest.mark.parametrize(
    "arguments, least, most", [({}, 16, 32), ({"gap": 0.5}, 24, 32), ({"overlap": True}, 4, 15)]
)
def test_how_far_the_windows_of_a_film_are_apart(arguments, least, most):
    method = small(**arguments)
    found = []
    method.window = lambda video, audio, seen, heard, frames: (
        found.append(seen) or avts.cut(video, audio, seen, heard, frames)
    )
    video, audio = clock(64)
    method.views({"video": video, "audio": audio})
    apart = (found[0] - found[1]).abs()
    assert int(apart.min()) >= least and int(apart.max()) <= most and apart.unique().numel() > 3


def test_every_picture_and_every_sound_is_in_as_many_pairs_of_one_kind_as_of_the_other():
    for arguments in ({}, {"hard": (0.5, 0.5)}, {"hard": (1, 1)}, {"hard": (0, 0), "correspondence": True}):
        method = small(**arguments)
        video, audio = clock(10)
        for _ in range(5):
            shown = method.views({"video": video, "audio": audio})
            assert torch.equal(shown["right"].sort().values, torch.arange(20)) and torch.equal(
                shown["wrong"].sort().values, torch.arange(20)
            )
            if method.correspondence:
                assert (shown["right"] % 10 == torch.arange(20) % 10).all() and (
                    shown["wrong"] % 10 != torch.arange(20) % 10
                ).all()


def test_correspondence_does_not_ask_when():
    method, other = small(hard=(0, 0), correspondence=True), 0
    video, audio = clock(200)
    right = method.views({"video": video, "audio": audio})["right"]
    other = float((right != torch.arange(400)).float().mean())
    assert 0.35 < other < 0.65


@pytest.mark.parametrize("share", [0.0, 0.25, 0.3, 1.0])
def test_the_share_of_hard_negatives_is_right_on_average(share):
    method, found = small(hard=(share, share)), []
    method.share = share
    video, audio = clock(10)
    for _ in range(200):
        wrong = method.views({"video": video, "audio": audio})["wrong"]
        found.append(float((wrong % 10 == torch.arange(20) % 10).float().mean()))
    assert (
        sum(found) / len(found) == pytest.approx(share, abs=0.015) and max(found) - min(found) <= 0.1 + 1e-6
    )


def test_wrong_films_say_what_to_type():
    video, audio = clock(4)
    with pytest.raises(CourseError, match="fps and rate"):
        small().views({"video": video, "audio": audio[:, :-4000]})
    with pytest.raises(CourseError, match="one film"):
        small().views({"video": video[:1], "audio": audio[:1]})
    with pytest.raises(CourseError, match='"audio"'):
        small().views({"video": video})
    for wrong, match in (
        (dict(length="long"), "halved"),
        (dict(objective="hinge"), "cross-entropy"),
        (dict(hard=(0, 2)), "0.25"),
        (dict(margin=0.0), "margin"),
        (dict(correspondence=True), r"hard=\(0, 0\)"),
    ):
        with pytest.raises(CourseError, match=match):
            small(**wrong)


# ---------------------------------------------------------------------------------------------- curriculum


def test_the_curriculum_is_the_papers():
    shares = [avts.share_at(e / 90, (0, 0.25), 50 / 90) for e in range(90)]
    assert shares == [0] * 50 + [0.25] * 40
    assert avts.share_at(0.0, (1, 0.5), 0.0) == 0.5 and avts.share_at(1.0, (0.2, 0.9), 1.0) == 0.9


def test_the_curriculum_runs_in_a_real_training_and_in_its_checkpoint(scenes):
    method = small(switch=0.5)
    rows = fit(method, scenes, QUICK.but(epochs=4))
    assert [row["hard"] for row in rows] == [0, 0, 0.25, 0.25]
    again = small()
    assert again.share == 0 and method.share == 0.25
    again.load_state_dict(method.state_dict())
    assert again.share == 0.25
    early = small(hard=(1, 0.25))
    for row in epochs(early, scenes, QUICK.but(epochs=4)):
        assert row["hard"] == 1
        break


# ---------------------------------------------------------------------------------------------- the method


def test_encoders_keep_time():
    net = encoders.small_mc3(still=True)
    assert (
        encoders.parameters(net) == 101_416
        and net.dim == 64
        and list(net.layers) == ["conv1", "conv2", "conv3", "conv4"]
    )
    x = torch.rand(2, 3, 16, 32, 32)
    maps = net.eval().maps(x)
    assert maps.shape == (2, 64, 16, 4, 4) and torch.allclose(net(x), maps.mean((2, 3, 4)))
    assert [m.kernel_size[0] for m in net.modules() if isinstance(m, torch.nn.Conv3d)] == [
        3,
        3,
        1,
        1,
    ]  # 3-D below, 2-D above
    changed = x.clone()
    changed[:, :, 8] = 0
    moved = (net.maps(changed) - maps).abs().amax((0, 1, 3, 4)) > 1e-6
    assert moved.nonzero().flatten().tolist() == [
        6,
        7,
        8,
        9,
        10,
    ]  # two layers of three frames: nobody else is told
    moving = encoders.small_mc3().eval()
    ground = torch.rand(2, 3, 1, 32, 32)
    torch.testing.assert_close(
        moving.maps(x / 2), moving.maps(x / 2 + ground / 2), rtol=1e-3, atol=1e-4
    )  # what stands still is not seen


def test_the_papers_network_keeps_time_too():
    net = encoders.mc3_18().eval()
    assert encoders.parameters(net) == pytest.approx(11.5e6, rel=0.01)
    with torch.no_grad():
        assert net.maps(torch.rand(1, 3, 5, 32, 32)).shape == (1, 512, 5, 2, 2)
    assert net.layers["stem"][0].kernel_size == (3, 7, 7)


def test_what_the_heads_read_is_every_moment_in_order():
    method = small().eval()
    video, audio = torch.rand(2, 3, 16, 32, 32), torch.randn(2, 8000) * 0.1
    assert method.see(video).shape == method.hear(audio).shape == (2, 16)
    torch.testing.assert_close(method.see(video).norm(dim=1), torch.full((2,), 0.5))
    averaged = small(keep_time=False).eval()
    maps = torch.rand(1, 16, 16, 2, 2)
    for net, told in ((method, True), (averaged, False)):
        net.f.maps = lambda v: maps
        first = net.see(video[:1])
        net.f.maps = lambda v: maps.flip(2)
        assert (not torch.allclose(first, net.see(video[:1]), atol=1e-6)) is told


def test_what_is_kept_needs_no_sound(scenes):
    method = small().eval()
    batch = next(scenes.batches(4))
    with torch.no_grad():
        eye, ear = method.encode({"video": batch["video"]}), method.ear.encode({"audio": batch["audio"]})
    assert eye.shape == (4, method.f.dim) and ear.shape == (4, method.ear.f.dim)
    torch.testing.assert_close(eye, method.f(batch["video"].float() / 255))


def test_the_classifier_learns_by_the_cross_entropy(scenes):
    method = small(objective="cross-entropy").eval()
    v, a = draw(6, 16).float(), draw(6, 16, seed=1).float()
    logits = method.judge(torch.cat([v, a], 1))
    d = method.distance(v, a)
    together = torch.arange(6) < 3
    expected = F.cross_entropy(logits, together.long())
    torch.testing.assert_close(F.softplus(torch.where(together, d, -d)).mean(), expected)


@pytest.mark.parametrize(
    "arguments",
    [{"objective": "cross-entropy"}, {}, {"hard": (1, 1)}, {"hard": (0, 0), "correspondence": True}],
)
def test_the_loss_is_that_of_its_pairs(scenes, arguments):
    method, batch = (
        small(**arguments).train(),
        next(scenes.batches(8)),
    )  # in training mode, where an untrained network says something
    torch.manual_seed(3)
    loss, found = method.loss(batch)
    torch.manual_seed(3)
    shown = method.views(batch)
    v, a = method.see(shown["video"] / 255), method.hear(shown["audio"])
    right, wrong = a[shown["right"]], a[shown["wrong"]]
    assert (right - wrong).abs().max() > 0.01
    if method.judge is None:
        terms = [*(v - right).square().sum(1), *(0.99 - (v - wrong).norm(dim=1)).clamp(min=0).square()]
        expected, nearer = torch.stack(terms).mean(), (v - right).norm(dim=1) < (v - wrong).norm(dim=1)
    else:
        yes, no = (method.judge(torch.cat([v, x], 1)) for x in (right, wrong))
        expected = F.cross_entropy(torch.cat([yes, no]), torch.tensor([1] * 16 + [0] * 16))
        nearer = yes[:, 1] - yes[:, 0] > no[:, 1] - no[:, 0]
    torch.testing.assert_close(loss, expected)
    assert float(found["told apart"]) == pytest.approx(float(nearer.float().mean())) and loss.requires_grad


def test_your_loss_and_your_windows_are_the_ones_that_train(scenes):
    met = []
    method = small(
        loss=lambda *a: met.append("loss") or avts.contrastive(*a),
        window=lambda *a: met.append("cut") or avts.cut(*a),
    )
    fit(method, scenes, QUICK.but(epochs=1))
    assert met == ["cut", "cut", "loss"] * 2


def test_settings_build_what_they_describe():
    for recipe in ("course", "gpu"):
        described = avts.SPEC.settings(recipe, True, 6)
        method = avts.SPEC.build(encoders.small_mc3(16), described)
        assert method.hard == tuple(described["hard"]) and method.margin == described["margin"]
    twin = copy.deepcopy(method)
    assert twin.share == method.share and twin.g_seen is not method.g_seen


# ------------------------------------------------------------------------------------------- how it is judged


class Clockwork:
    """Reads the time that `clock` wrote into pictures and sounds: it knows everything."""

    def see(self, video):
        return video.mean((3, 4))[:, 0, :1] * 1000

    def hear(self, audio):
        return audio[:, :1] * 1000

    def distance(self, v, a):
        return (v - a).abs().sum(1)


def timed(films=12):
    video, audio = clock(films)
    t = torch.arange(48) * 5
    return Samples(
        video=t.to(torch.uint8).view(1, 1, 48, 1, 1).expand(films, 3, -1, 4, 4).contiguous(),
        audio=(t * (32767 / 255))
        .round()
        .to(torch.int16)
        .repeat_interleave(500)[None]
        .expand(films, -1)
        .contiguous(),
        rate=8000,
        fps=16,
        name="clock",
    )


@pytest.mark.parametrize("kind", synchrony.KINDS)
def test_pairs_to_judge_by_hold_every_window_once_on_either_side(kind):
    samples = timed(9)
    of = synchrony.pairs(samples, kind, each=3)
    assert len(of) == 9 * 3 * 4 and int(of.together.sum()) == len(of) // 2
    code = lambda film, start, part: (film[part] * 100 + start[part]).sort().values
    for film, start in ((of.film, of.seen), (of.other, of.heard)):
        assert torch.equal(code(film, start, of.together), code(film, start, ~of.together))
    assert torch.equal(of.film[of.together], of.other[of.together]) and torch.equal(
        of.seen[of.together], of.heard[of.together]
    )
    apart, off = (of.seen - of.heard)[~of.together].abs(), (of.film != of.other)[~of.together]
    assert off.all() if kind == "easy" else not off.any()
    if kind != "easy":
        assert int(apart.min()) >= (16 if kind == "hard" else 4) and int(apart.max()) <= (
            32 if kind == "hard" else 15
        )
    assert not ((of.film < 5) ^ (of.other < 5)).any()  # no pair lies across the halves
    again = synchrony.pairs(samples, kind, each=3)
    assert torch.equal(of.seen, again.seen) and not torch.equal(
        of.seen, synchrony.pairs(samples, kind, each=3, seed=1).seen
    )
    with pytest.raises(CourseError, match="easy, hard"):
        synchrony.pairs(samples, "medium")


def test_whoever_knows_the_time_is_always_right_and_whoever_guesses_half_of_the_time():
    samples = timed()
    assert (
        synchrony.accuracy(Clockwork(), samples, "hard")
        == synchrony.accuracy(Clockwork(), samples, "super-hard")
        == 1
    )
    g = torch.Generator().manual_seed(0)
    together = torch.arange(4000) % 2 == 0
    assert synchrony.judged(
        torch.rand(4000, generator=g), together, torch.arange(4000) < 2000
    ) == pytest.approx(0.5, abs=0.03)
    assert (
        synchrony.judged(torch.ones(4000), together, torch.arange(4000) < 2000) == 0.5
    )  # all distances the same: no threshold helps


def test_the_threshold_is_the_best_of_its_half_and_not_of_the_other():
    g = torch.Generator().manual_seed(1)
    for _ in range(20):
        d, together = torch.randint(0, 12, (30,), generator=g).float(), torch.rand(30, generator=g) < 0.5
        if together.all() or not together.any():
            continue
        best = max(synchrony.balanced(d, together, t) for t in [-1, *(x + 0.5 for x in range(13))])
        assert synchrony.balanced(d, together, synchrony.threshold(d, together)) == pytest.approx(best)
    d = torch.tensor(
        [0.1, 0.2, 0.8, 0.9, 1.1, 1.2, 1.8, 1.9]
    )  # each half is perfect with a threshold of its own
    together, half = torch.tensor([True, True, False, False] * 2), torch.arange(8) < 4
    assert synchrony.judged(d, together, half) == 0.5
    assert synchrony.judged(d % 1, together, half) == 1
    with pytest.raises(CourseError, match="more films"):
        synchrony.judged(d, together, together)


def test_the_sound_that_comes_late_is_found():
    samples = timed(6)
    by = torch.tensor([-8, -3, 0, 1, 5, 8])
    video, audio = synchrony.out_of_step(samples, by)
    assert video.shape[2] == 32 and audio.shape[1] == 16000
    assert torch.equal(synchrony.found(Clockwork(), video, audio), by)
    assert synchrony.offset_error(Clockwork(), samples) == 0
    curve = synchrony.curve(Clockwork(), samples, reach=10)
    assert curve.shape == (6, 21) and (curve.argmin(1) == 10).all()
    with pytest.raises(CourseError, match="-8 to 8"):
        synchrony.out_of_step(samples, by * 2)
    with pytest.raises(CourseError, match="reach"):
        synchrony.curve(Clockwork(), samples, reach=40)


def test_the_mean_over_a_diagonal_is_the_mean_over_pairs_so_far_apart():
    distance = draw(2, 5, 5)
    by = synchrony.by_offset(distance, 3)
    for k, o in enumerate(range(-3, 4)):
        expected = [distance[:, t, t + o] for t in range(5) if 0 <= t + o < 5]
        torch.testing.assert_close(by[:, k], torch.stack(expected).mean(0))


def test_energy_hears_what_moves():
    g = torch.Generator().manual_seed(0)
    loud = torch.rand(6, 16, generator=g)
    audio = (loud[:, :, None] * torch.sin(torch.arange(500) * 0.3)).flatten(1)
    video = torch.zeros(6, 3, 16, 8, 8)
    steps = (loud[:, 1:] + loud[:, :-1]).cumsum(1) / 40
    video[:, :, 1:] = steps.view(6, 1, 15, 1, 1)
    energy = synchrony.Energy()
    v, a = energy.see(video), energy.hear(audio)
    own, other = energy.distance(v, a), energy.distance(v, a.roll(1, 0))
    assert (own < other).all() and float(own.max()) < 0.3


def test_a_place_that_is_covered_is_pointed_at():
    mask = torch.zeros(1, 4, 8, 8, dtype=torch.uint8)
    mask[:, :2, 2:4, 4:6] = 1  # two of four frames, one whole cell of 2 x 2
    mask[:, :, 0, 0] = 2
    cover = synchrony.covered(mask, 1, (4, 4))
    assert (
        cover[0, 1, 2] == 0.5
        and float(cover.sum()) == 0.5
        and synchrony.covered(mask, 2, (4, 4))[0, 0, 0] == 0.25
    )
    assert synchrony.pointed(cover, cover) == 0.5 and synchrony.pointed(-cover, cover) == 0


def test_only_one_place_moves():
    video = torch.rand(2, 3, 6, 32, 32)
    made = synchrony.only(video, 1, 3)
    still = video.mean(2, keepdim=True).expand_as(video)
    assert torch.equal(made[..., 6:18, 22:32], video[..., 6:18, 22:32])
    left = torch.ones(32, 32, dtype=torch.bool)
    left[6:18, 22:32] = False
    assert torch.equal(made[..., left], still[..., left])
    assert torch.equal(synchrony.only(video, 0, 0, cells=1), video)  # one place is all of it


def test_the_map_is_the_distance_of_each_place(scenes):
    method = small().eval()
    batch = next(scenes.batches(3))
    video, audio = batch["video"][:, :, :16], batch["audio"][:, :8000]
    heat = synchrony.located(method, video, audio)
    assert heat.shape == (3, 4, 4)
    with torch.no_grad():
        expected = (method.see(synchrony.only(video / 255, 1, 2)) - method.hear(audio)).norm(dim=1)
    torch.testing.assert_close(heat[:, 1, 2], expected)
    flash = torch.zeros(2, 3, 16, 32, 32)
    flash[:, :, [3, 9], 27:32, 0:5] = 1
    sound = torch.zeros(2, 8000)
    for at in (3, 9):
        sound[:, at * 500 - 200 : at * 500 + 500] = torch.randn(700)
    near = synchrony.located(synchrony.Energy(), flash, sound)
    assert (near.flatten(1).argmin(1) == 12).all() and near.shape == (2, 4, 4)


def test_a_film_is_followed_frame_by_frame_and_glows_where_the_sound_is_near(scenes):
    method = small().eval()
    video, audio = scenes.video[0], scenes.audio[0].float() / 32767
    heat = synchrony.followed(method, video, audio)
    assert heat.shape == (48, 4, 4) and torch.equal(heat[0], heat[8]) and torch.equal(heat[47], heat[40])
    torch.testing.assert_close(
        heat[20],
        synchrony.located(method, video[None, :, 12:28], audio[None, 6000:14000])[0],
        rtol=1e-4,
        atol=1e-5,
    )
    cold = torch.ones(48, 4, 4)
    cold[:, 1, 2] = 0
    shown = synchrony.glowing(torch.full((3, 48, 32, 32), 100, dtype=torch.uint8), cold)
    assert (
        shown.shape == (3, 48, 32, 32)
        and shown[0, :, 12, 20].min() > 150
        and (shown[:, :, 30, 2] == 100).all()
    )
    with pytest.raises(CourseError, match="shorter than one window"):
        synchrony.followed(method, video[:, :9], audio)


def test_the_picture_of_a_window_and_its_sound():
    from sslcourse import show

    curves = {"network": torch.rand(33), "energy": torch.rand(33)}
    assert (
        len(show.png(show.in_step(torch.rand(3, 16, 32, 32), torch.rand(32, 49), curves, -4, 16, "a title")))
        > 2000
    )
    for wrong in (
        dict(offset=17),
        dict(distances={"a": torch.rand(32)}),
        dict(distances={"a": torch.rand(33), "b": torch.rand(3)}),
    ):
        with pytest.raises(CourseError, match="offset"):
            show.in_step(
                **{
                    "frames": torch.rand(3, 16, 8, 8),
                    "mel": torch.rand(32, 49),
                    "distances": curves,
                    "offset": 0,
                    "fps": 16,
                    **wrong,
                }
            )


# ---------------------------------------------------------------------------------------------- leaks


def test_neither_picture_nor_sound_alone_tells_and_a_planted_leak_is_found(scenes):
    train, held = scenes.take(slice(0, 20)), scenes.take(slice(20, 32))
    for kind in synchrony.KINDS:
        of = synchrony.pairs(train, kind), synchrony.pairs(held, kind, seed=1)
        assert synchrony.leaks(train, held, *of) == {
            "picture only": pytest.approx(0.5),
            "sound only": pytest.approx(0.5),
        }
    of_train, of_held = (copy.copy(p) for p in of)
    for p in (
        of_train,
        of_held,
    ):  # sounds out of step come from the beginning of the film: as a careless set would have it
        object.__setattr__(
            p, "heard", torch.where(p.together, p.heard.clamp(min=8), torch.zeros_like(p.heard))
        )
    planted = scenes.audio.clone()
    planted[:, :4000] = 0
    quiet = Samples(video=scenes.video, audio=planted, rate=8000, fps=16, label=scenes.label, name="fade in")
    found = synchrony.leaks(quiet.take(slice(0, 20)), quiet.take(slice(20, 32)), of_train, of_held)
    assert found["sound only"] > 0.9 and found["picture only"] == pytest.approx(0.5)


# ---------------------------------------------------------------------------------------------- downstream


def test_the_svm_averages_over_crops(scenes):
    class Told(torch.nn.Module):
        """Its features say the class, in the middle crop only."""

        def __init__(self):
            super().__init__()
            self.nothing = torch.nn.Parameter(torch.zeros(1))

        def encode(self, batch):
            return batch["audio"][:, :3]

    audio = torch.randn(32, 24000, generator=torch.Generator().manual_seed(0)) * 0.05
    which = torch.arange(32) % 3
    for crop in (0, 8000, 16000):
        audio[torch.arange(32), crop + which] += 0.2
    samples = Samples(
        video=scenes.video,
        audio=audio.clamp(-1, 1),
        rate=8000,
        fps=16,
        label=which,
        classes=("a", "b", "c"),
        name="told",
    )
    data = Data(samples, samples.take(slice(0, 16)), samples.take(slice(16, 32)))
    assert synchrony.cropped(Told(), samples, 3).shape == (32, 3, 3)
    assert synchrony.svm({"told": Told()}, data, crops=3)["told"] == 1
    with pytest.raises(CourseError, match="validation"):
        synchrony.svm({"told": Told()}, data, on="train")


def test_an_ear_can_be_judged_by_what_judges_every_method(scenes):
    method = small().eval()
    data = Data(scenes, scenes.take(slice(0, 16)), scenes.take(slice(16, 32)))
    assert (
        0 <= evaluate.probe(method, data)["linear"] <= 1 and 0 <= evaluate.probe(method.ear, data)["kNN"] <= 1
    )
    untrained = evaluate.random_like(method.ear, scenes)
    assert not torch.equal(next(untrained.parameters()), next(method.ear.parameters()))


# ---------------------------------------------------------------------------------------------- claims


def test_the_effects_of_the_claims_are_positive_where_the_paper_is_right():
    names = (*claims.VARIANTS, *claims.FEW_COUPLED, "random")

    def results(name="", **changed):
        found = {
            n: {"easy": 0.5, "hard": 0.5, "super-hard": 0.5, "eye": 0.5, "ear": 0.5, "offset error": 0.3}
            for n in names
        }
        if name:
            found[name].update({k.replace("_", " "): v for k, v in changed.items()})
        return found

    right = {
        "curriculum easy": results("easy only", easy=0.4),
        "curriculum hard": results("easy only", hard=0.4),
        "hard first easy": results("hard only", easy=0.4),
        "hard first hard": results("hard only", hard=0.4),
        "hard first, few coupled": results("hard only, few coupled", hard=0.4),
        "hard only fails": results("hard only, few coupled", hard=0.4),
        "eye": results("random", eye=0.4),
        "ear": results("random", ear=0.4),
        "meaning": results("hard only", eye=0.4),
        "timing": results("correspondence", hard=0.4),
        "offset": results("correspondence", offset_error=0.4),
        "margin": results("cross-entropy", easy=0.4, hard=0.4),
        "films": results("a quarter of the films", easy=0.4, hard=0.4),
    }
    assert set(right) == {c.name for c in claims.CLAIMS}
    for claim in claims.CLAIMS:
        assert claim.effect(right[claim.name]) == pytest.approx(0.1), claim.name
        assert claim.effect(results()) == 0
        assert (
            sum(abs(claim.effect(r)) > 1e-9 for n, r in right.items() if n != claim.name) <= 2
        )  # each is about its own variants
    effects = {c.name: c.effect for c in claims.CLAIMS}
    assert effects["offset"](results("correspondence", offset_error=0.1)) == pytest.approx(-0.2)
    assert effects["margin"](results("cross-entropy", easy=0.7)) == pytest.approx(-0.1)


@pytest.mark.slow
def test_the_runs_train_what_the_claims_compare(scenes):
    test = scenes.take(slice(16, 32))
    test.split, test.openings = "test", []
    data, lines = Data(scenes.take(slice(0, 16)), scenes.take(slice(0, 16)), test), []
    few = Data(scenes.take(slice(8, 24)), data.validation, test)
    found = claims.runs(0, data, QUICK.but(epochs=1, batch_size=8), lines.append, few)
    trained = {*claims.VARIANTS, *claims.FEW_COUPLED}
    assert set(found) == trained | {"random"} and test.openings == ["synchrony.svm"]  # opened once
    assert all(0 <= found[n][k] <= 1 for n in trained for k in ("easy", "hard", "super-hard"))
    assert set(found["random"]) == {"eye", "ear"} and len(lines) == len(trained) + len(claims.FEATURES) + 1
    assert all(isinstance(claim.effect(found), float) for claim in claims.CLAIMS)


def test_few_coupled_films_are_trained_on_and_whole_ones_are_judged(monkeypatch):
    made = []
    one = lambda name: type("Split", (), {"name": name})()

    def scenes(*sizes, seed, coupling=1.0):
        made.append((sizes[0], seed, coupling))
        return Data(*(one(f"{split} {coupling}") for split in ("train", "validation", "test")))

    monkeypatch.setattr(claims.sounding, "scenes", scenes)
    monkeypatch.setattr(claims, "Data", lambda *parts: [part.name for part in parts])
    assert claims.scenes(3, 0.2) == ["train 0.2", "validation 1.0", "test 1.0"]
    assert made == [(400, 3, 1.0), (400, 3, 0.2)]


def test_the_table_trains_every_row(scenes, monkeypatch):
    test = scenes.take(slice(8, 16))
    test.split, test.openings = "test", []
    monkeypatch.setattr(
        table, "scenes", lambda: Data(scenes.take(slice(0, 8)), scenes.take(slice(0, 8)), test)
    )
    monkeypatch.setattr(table, "RECIPE", QUICK.but(batch_size=4))
    monkeypatch.setattr(
        table, "ROWS", {k: v for k, v in table.ROWS.items() if "super" in k or "seen" in k or "half" in k}
    )
    rows = table.measure(seeds=1, say=lambda text: None, epochs=1)
    assert [row[""] for row in rows] == ["energy", "random", *table.ROWS]
    assert all(row["hard"] != "–" and row["eye"] != "–" and row["offset"] != "–" for row in rows[2:])
    assert (
        rows[0]["eye"] == "–" and rows[0]["hard"] != "–" and rows[1]["hard"] == "–" and rows[1]["ear"] != "–"
    )


def test_every_row_of_the_table_can_be_built():
    for arguments in table.ROWS.values():
        rest = {k: v for k, v in arguments.items() if k not in ("films", "encoder")}
        assert small(**rest).frames == 16


@pytest.mark.slow
def test_a_short_training_learns_when_and_what():
    """Half a minute on fewer films: pairs of films and of moments are told apart, better than by motion
    against loudness; plain heads rest.
    """
    from sslcourse.data.toybox import sounding

    data = sounding.scenes(200, 60, 4)
    torch.manual_seed(0)
    method = avts.AVTS(encoders.small_mc3(), encoders.small_mel(), hard=(0.5, 0.5))
    fit(method, data.train.unlabelled(), avts.COURSE.but(epochs=9))
    found = {kind: synchrony.accuracy(method, data.validation, kind) for kind in ("easy", "hard")}
    assert found["easy"] > 0.65 and found["hard"] > 0.6, found
    torch.manual_seed(0)
    plain = avts.AVTS(encoders.small_mc3(), encoders.small_mel(), normalised=False)
    row = fit(plain, data.train.unlabelled(), avts.COURSE.but(epochs=3))[-1]
    assert row["loss"] == pytest.approx(0.99**2 / 4, abs=0.02)  # every pair at half of the margin
