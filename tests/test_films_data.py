"""Films of the toybox and moving digits: what they promise about motion, and that nothing else gives a motion
class away.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslcourse import evaluate, runtime
from sslcourse.data import moving_digits, toybox
from sslcourse.data.datasets import Samples
from sslcourse.data.load import load
from sslcourse.data.toybox import films
from sslcourse.runtime.errors import CourseError


@pytest.fixture(scope="module")
def motions():
    """Enough films to count in; small, because only their factors are looked at."""
    return toybox.videos(1200, 1, 1, size=16)


@pytest.fixture(scope="module")
def tracks():
    return toybox.tracks(16, 8, 24)


def test_shapes_kinds_and_seals():
    data = toybox.videos(24, 16, 16)
    assert (
        data.train.kind == "video"
        and data.train.video.shape == (24, 3, 16, 32, 32)
        and data.train.video.dtype == torch.uint8
    )
    assert data.train.pictures.shape == (24, 3, 32, 32)
    batch = next(data.train.batches(4))
    assert set(batch) >= {"video", "label", "index", "large", "small", "mask"} and "image" not in batch
    assert torch.equal(batch["label"], 2 * batch["large"] + batch["small"])
    hidden = next(data.test.batches(4))
    assert set(hidden) == {"video", "index", "label"} and (hidden["label"] == -1).all()
    assert data.classes == (
        "large cw, small cw",
        "large cw, small ccw",
        "large ccw, small cw",
        "large ccw, small ccw",
    )


def test_the_same_films_again_and_from_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SSLCOURSE_CACHE", str(tmp_path))
    first = toybox.videos(6, 2, 2, size=16)
    cached = toybox.videos(6, 2, 2, size=16)
    fresh = toybox.videos(9, 2, 2, size=16, cache=False)
    assert torch.equal(first.train.video, cached.train.video) and torch.equal(
        first.train.video, fresh.train.video[:6]
    )
    assert torch.equal(first.train.extra["mask"], cached.train.extra["mask"])
    assert not torch.equal(
        first.train.video, toybox.videos(6, 2, 2, size=16, seed=1, cache=False).train.video
    )
    assert not torch.equal(first.train.video[:2], first.validation.video)
    file = next(tmp_path.rglob("motions-train*.npz"))
    file.write_bytes(file.read_bytes()[:-200])
    assert torch.equal(toybox.videos(6, 2, 2, size=16).train.video, first.train.video)


def test_backwards_is_the_opposite_class():
    """The poses of a film that runs backwards are those of the other sense; and the senses are read from the
    motion, not from the label.
    """
    scenes = films._motions(40, 3, "train", 0.03)
    forwards = scenes.pose(torch.arange(16).float())
    x, y = (forwards[k] - forwards[k].mean(-1, keepdim=True) for k in ("x", "y"))  # (N, 2, T)

    def counter_clockwise(x, y):  # twice the area swept about the middle, y being up
        return (x[..., :-1] * y[..., 1:] - x[..., 1:] * y[..., :-1]).mean(-1) > 0

    for k, name in enumerate(("large", "small")):
        assert torch.equal(counter_clockwise(x, y)[:, k].long(), scenes.columns[name])
        assert torch.equal(counter_clockwise(x.flip(-1), y.flip(-1))[:, k].long(), 1 - scenes.columns[name])
    assert forwards["size"][:, 0].min() > 1.5 * forwards["size"][:, 1].max()


def test_classes_are_independent_of_looks(motions):
    """Chi-square of each motion bit against shape and hue: nothing to be learned from appearance."""
    from scipy.stats import chi2_contingency

    columns = motions.train.factors
    for bit in ("large", "small"):
        for other in (
            columns["shape"],
            (columns["hue"] * 6).long(),
            (columns["size"] * 50).long(),
            (columns["pace"] * 10).long(),
        ):
            table = torch.stack(
                [torch.bincount(other[columns[bit] == v], minlength=int(other.max()) + 1) for v in (0, 1)]
            )
            assert chi2_contingency(table[:, table.sum(0) > 0].numpy()).pvalue > 0.001


def still_pictures(samples: Samples) -> dict[str, torch.Tensor]:
    """What a probe may see that does not know about time: (N, 3, H, W) floats each."""
    x = samples.video.float() / 255
    return {
        "one frame": x[:, :, 7],
        "first frame": x[:, :, 0],
        "average": x.mean(2),
        "average difference": x.diff(dim=2).abs().mean(2),
    }


def leaks(accuracy: float, classes: int, n: int) -> bool:
    """More than three points above chance, and not by luck (two standard errors)."""
    chance = 1 / classes
    return accuracy - chance > 0.03 + 2 * math.sqrt(chance * (1 - chance) / n)


@pytest.fixture(scope="module")
def many():
    return toybox.videos(2400, 16, 1200, cache=False, seed=11)


@pytest.mark.nightly
@pytest.mark.parametrize("what", ["one frame", "first frame", "average", "average difference"])
def test_no_still_picture_tells_the_class(what, many):
    """A linear probe and a small CNN, on the class, on each of its two senses and on whether they agree."""
    data = many
    train, test = still_pictures(data.train)[what], still_pictures(data.test)[what]
    label, truth = data.train.label, data.test._label
    rows = F.adaptive_avg_pool2d(train, 16).flatten(1), F.adaptive_avg_pool2d(test, 16).flatten(1)
    for name, of, classes in (
        ("class", lambda y: y, 4),
        ("large", lambda y: y // 2, 2),
        ("small", lambda y: y % 2, 2),
        ("agree", lambda y: y // 2 ^ y % 2, 2),
    ):
        probe = evaluate.linear_probe(rows[0], of(label), classes=classes)
        accuracy = float((probe.predict(rows[1]) == of(truth)).float().mean())
        assert not leaks(accuracy, classes, len(truth)), (what, name, accuracy)
    accuracy = cnn_accuracy(train, label, test, truth)
    assert not leaks(accuracy, 4, len(truth)), (what, "a small CNN", accuracy)


def cnn_accuracy(train, label, test, truth, epochs: int = 6) -> float:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 24, 5, 2, 2),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 48, 3, 2, 1),
        nn.BatchNorm2d(48),
        nn.ReLU(),
        nn.Conv2d(48, 48, 3, 2, 1),
        nn.BatchNorm2d(48),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48 * 16, 4),
    )
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(epochs):
        for part in torch.randperm(len(train)).split(64):
            loss = F.cross_entropy(network(train[part]), label[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        return float((network(test).argmax(1) == truth).float().mean())


@pytest.mark.nightly
def test_a_planted_leak_is_found(many):
    """The same CNN finds a class that a still picture does give away: here a corner is brighter where the
    senses agree.
    """
    data, pictures = many, []
    for part, y in ((data.train, data.train.label), (data.test, data.test._label)):
        x = still_pictures(part)["average"]
        x[:, :, :4, :4] += 0.1 * (y // 2 ^ y % 2)[:, None, None, None]
        pictures.append(x)
    assert leaks(cnn_accuracy(pictures[0], data.train.label, pictures[1], data.test._label), 4, 1200)


@pytest.mark.nightly
def test_motion_tells_the_class(many):
    """It can be seen after all: the direction of each sense is found from the true poses' pictures, by a
    network that sees time.
    """
    data = many
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv3d(3, 16, (3, 5, 5), (1, 2, 2), (1, 2, 2)),
        nn.BatchNorm3d(16),
        nn.ReLU(),
        nn.Conv3d(16, 32, 3, (2, 2, 2), 1),
        nn.BatchNorm3d(32),
        nn.ReLU(),
        nn.Conv3d(32, 48, 3, 2, 1),
        nn.BatchNorm3d(48),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(2),
        nn.Flatten(),
        nn.Linear(48 * 8, 4),
    )
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    x, y = data.train.video, data.train.label
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, 9 * 50)
    for _ in range(9):
        for part in torch.randperm(len(x)).split(48):
            loss = F.cross_entropy(network(x[part].float() / 255), y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        found = torch.cat([network(part.float() / 255).argmax(1) for part in data.test.video.split(100)])
    assert float((found == data.test._label).float().mean()) > 0.7


@pytest.mark.slow
def test_sixty_films_a_second():
    """Processor time, which a crowded machine changes little; drawn, not read from the cache."""
    import resource

    spent = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_utime
    start = spent()
    toybox.videos(192, 1, 1, cache=False)
    assert 194 / (spent() - start) > 60


# ---------------------------------------------------------------------------------------------- tracks


def test_centres_of_masks_are_where_the_points_say():
    """A solid that nothing covers: the middle of its outline's box lies at its centre, to a pixel (its shapes
    are not all symmetric).
    """
    data = toybox.tracks(1, 1, 30, solids=1, cache=False)
    mask, point, box = (data.test.extra[k] for k in ("mask", "keypoint", "box"))
    rows, columns = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(48) + 0.5, indexing="ij")
    weight = (mask == 1).float()
    middle = (
        torch.stack([(weight * columns).sum((2, 3)), (weight * rows).sum((2, 3))], -1)
        / weight.sum((2, 3))[..., None]
    )
    away = (middle - point[:, :, 0, 0, :2]).norm(dim=-1)
    assert away.median() < 0.5 and away.max() < 3.5
    assert (data.test.extra["hidden"] == 0).all()
    for n in range(5):
        seen = (mask[n, 3] == 1).nonzero()
        top, left, bottom, right = *seen.min(0).values.tolist(), *(seen.max(0).values + 1).tolist()
        assert box[n, 3, 0].tolist() == [left, top, right, bottom]


def test_nothing_seen_has_no_box_and_no_point():
    masks = torch.zeros(1, 2, 16, 16, dtype=torch.uint8)
    masks[0, 1, 3:5, 6:9] = 2
    found = films.boxes(masks, 2)
    assert (
        (found[0, 0] == -1).all() and (found[0, 1, 0] == -1).all() and found[0, 1, 1].tolist() == [6, 3, 9, 5]
    )


@pytest.mark.parametrize("knobs", [{}, {"scale": 0.3, "spin": 0.4}])
def test_flow_carries_what_is_seen(knobs):
    """Warping the next frame back by the flow gives this frame again, far better than the next frame as it
    is: flow, rotation and growth
    have the right sign and size. Without noise and on what stays visible."""
    plain, warped = [], []
    for index in range(6):
        found = toybox.truth("train", index, noise=0.0, speed=(2.0, 3.5), **knobs)
        video, flow, seen = found["video"].float() / 255, found["flow"], found["seen"]
        side = video.shape[-1]
        axis = torch.arange(side) + 0.5
        at = torch.stack(torch.meshgrid(axis, axis, indexing="xy"))  # (2, H, W)
        for t in range(flow.shape[0]):
            place = (at + flow[t]) / side * 2 - 1
            back = F.grid_sample(
                video[None, :, t + 1],
                place.permute(1, 2, 0)[None],
                align_corners=False,
                padding_mode="border",
            )[0]
            on = seen[t] & (found["mask"][t] > 0)
            plain.append((video[:, t + 1] - video[:, t]).abs().mean(0)[on].mean())
            warped.append((back - video[:, t]).abs().mean(0)[on].mean())
    assert torch.stack(warped).mean() < 0.5 * torch.stack(plain).mean()


def test_the_ground_flows_too():
    found = toybox.truth("train", 2, noise=0.0, drift=0.1, background=1.0)
    ground = found["mask"] == 0
    both = ground[0] & found["seen"][0]
    flow = found["flow"][0][:, both]
    assert (
        flow.std(1).max() < 1e-4 and 0.5 < flow[:, 0].norm() < 2.5
    )  # one drift for all of it, 0.03 to 0.1 of 24 pixels
    video, side = found["video"].float() / 255, 48
    axis = torch.arange(side) + 0.5
    at = torch.stack(torch.meshgrid(axis, axis, indexing="xy"))
    back = F.grid_sample(
        video[None, :, 1],
        ((at + found["flow"][0]) / side * 2 - 1).permute(1, 2, 0)[None],
        align_corners=False,
    )[0]
    assert (back - video[:, 0]).abs().mean(0)[both].mean() < 0.3 * (video[:, 1] - video[:, 0]).abs().mean(0)[
        both
    ].mean()


def test_correspondence_is_the_same_place_in_every_frame():
    """The flow and the correspondence were computed apart: following the flow must not change the place on
    the solid.
    """
    found = toybox.truth("train", 1, scale=0.2, spin=0.3)
    place, flow, seen, mask = found["correspondence"], found["flow"], found["seen"], found["mask"]
    for t in range(3):
        row, column = (seen[t] & (mask[t] > 0)).nonzero(as_tuple=True)
        there = torch.stack([column + 0.5, row + 0.5]) + flow[t, :, row, column]
        pixel = there.floor().long()
        off = there - pixel - 0.5  # from the middle of the pixel that it falls into
        radius_px = 1 / (place[t + 1, 0, :, 1:] - place[t + 1, 0, :, :-1]).abs().nan_to_num(0).max()
        change = (place[t + 1, :, pixel[1], pixel[0]] - place[t, :, row, column]).norm(dim=0)
        assert (change <= off.norm(dim=0) / radius_px * 2.5 + 0.02).all()
    assert place[:, :, mask[0] == 0].isnan().any()
    same = toybox.tracks(2, 1, 1, scale=0.2, spin=0.3, cache=False).train
    assert torch.equal(same.video[1], found["video"]) and torch.equal(
        same.extra["keypoint"][1], found["keypoint"]
    )


def test_key_points_stay_on_the_solid_and_hide_behind_others():
    data = toybox.tracks(40, 1, 1, solids=3, radius=(7, 9), cache=False).train
    point, mask, hidden = data.extra["keypoint"], data.extra["mask"], data.extra["hidden"]
    seen = point[..., 2] == 1
    n, t, k, p = seen.nonzero(as_tuple=True)
    x, y = point[n, t, k, p, 0].floor().long(), point[n, t, k, p, 1].floor().long()
    assert (mask[n, t, y, x] == k + 1).all()
    assert (hidden[:, :, 2] == 0).all() and hidden[:, :, :2].max() > 0.5  # the last one is in front
    covered = hidden[:, :, 0] > 0.9
    assert covered.any() and seen[:, :, 0][covered].float().mean() < 0.15


def test_a_copy_of_the_first_mask_scores_a_quarter():
    """The anchor of the difficulty: the mean J of `identity`."""
    mask = toybox.tracks(1, 1, 120).test.extra["mask"]
    scores = []
    for k in (1, 2):
        first, later = mask[:, :1] == k, mask[:, 1:] == k
        scores.append(((first & later).sum((2, 3)) / (first | later).sum((2, 3)).clamp_min(1)).mean())
    assert 0.2 < float(torch.stack(scores).mean()) < 0.3


def test_knobs_change_what_they_name():
    base = toybox.tracks(4, 1, 1, cache=False, noise=0.0).train
    same = lambda **knobs: toybox.tracks(4, 1, 1, cache=False, noise=0.0, **knobs).train
    assert torch.equal(base.extra["mask"][:, 0], same(gain=0.3).extra["mask"][:, 0])
    bright = same(gain=0.4).video.float().mean((0, 1, 3, 4))
    assert (bright / bright.mean() - 1).abs().max() > (
        base.video.float().mean((0, 1, 3, 4)) / base.video.float().mean() - 1
    ).abs().max()
    edges = lambda s: (s.video.float().diff(dim=-1).abs()).mean()
    assert edges(same(blur=5, speed=(5, 6))) < edges(same(speed=(5, 6)))
    areas = lambda s: (s.extra["mask"] > 0).float().mean((2, 3)).std(1).mean()
    assert areas(same(solids=1, scale=0.4)) > 2 * areas(same(solids=1))
    hues = same(alike=True)
    assert not torch.equal(hues.video, base.video)


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: toybox.videos(frames=1), "frames=1"),
        (lambda: toybox.videos(size=8), "size=8"),
        (lambda: toybox.videos(drift=1), "drift=1"),
        (lambda: toybox.tracks(solids=0), "solids=0"),
        (lambda: toybox.tracks(speed=(3, 2)), "speed="),
        (lambda: toybox.tracks(radius=(1, 3)), "at least 2"),
        (lambda: toybox.truth(index=-1), "index=-1"),
        (lambda: toybox.tracks(blur=20), "blur=20"),
        (lambda: toybox.videos(0), "n=0"),
        (lambda: moving_digits.videos(rule="other"), "rule="),
        (lambda: moving_digits.videos(digits=9), "digits=9"),
        (lambda: moving_digits.videos(speed=(1, 40)), "speed="),
    ],
)
def test_wrong_arguments_are_named(call, match):
    with pytest.raises(CourseError, match=match):
        call()


def test_samples_of_videos_are_checked():
    x = torch.zeros(3, 3, 4, 8, 8, dtype=torch.uint8)
    assert Samples(video=x).video.shape == x.shape
    assert Samples(video=torch.zeros(3, 4, 8, 8, 3)).video.shape == x.shape  # (N, T, H, W, 3), floats
    assert Samples(video=torch.zeros(4, 4, 8, 8)).video.shape == (4, 3, 4, 8, 8)  # grey
    for wrong, match in (
        (torch.zeros(3, 2, 4, 8, 8), "expected"),
        (torch.zeros(3, 4, 8, 8), r"without the first axis: write video\[None\]"),
        (torch.full((1, 3, 2, 4, 4), 2.0), "range from 2 to 2"),
        (torch.zeros(1, 3, 2, 4, 4, dtype=torch.int32), "int32"),
    ):
        with pytest.raises(CourseError, match=match):
            Samples(video=wrong)
    with pytest.raises(CourseError, match="either images or videos"):
        Samples()
    with pytest.raises(CourseError, match="one number per video"):
        Samples(video=x, label=[0, 1])


def test_pixels_of_videos_are_few_enough():
    from sslcourse.train import features

    found = features.pixels(toybox.videos(4, 1, 1, size=32).train)
    assert found.shape == (4, 3 * 16 * 64) and 0 <= float(found.min()) and float(found.max()) <= 1


def test_networks_over_time_keep_the_plain_layout():
    network = runtime.placed(
        nn.Sequential(nn.Conv3d(3, 4, 3), nn.Conv2d(3, 4, 3)), runtime.Profile("cpu", 1, True, "float32")
    )
    assert network[0].weight.is_contiguous() and network[1].weight.is_contiguous(
        memory_format=torch.channels_last
    )


# ---------------------------------------------------------------------------------------------- moving digits


def test_the_authors_rule():
    """Written out once more, in plain Python, for one digit: unit square, step 0.1, cut at the border and
    turned round, the first frame after
    one step, whole pixels, brightest of all."""
    import numpy as np

    n, frames, size = 5, 30, 64
    rng = np.random.default_rng([7, 0, 0x3D1])
    rng.integers(10, size=(n, 1))
    at, angle = rng.random((n, 2)), rng.uniform(0, 2 * math.pi, n)
    ours = moving_digits._mnist_paths(np.random.default_rng(0), 1, 4)
    assert ours.shape == (1, 4, 2)
    again = np.random.default_rng([7, 0, 0x3D1])
    again.integers(10, size=(n, 1))
    ours = moving_digits._mnist_paths(again, n, frames).numpy()
    for i in range(n):
        x, y = at[i]
        vx, vy = 0.1 * math.cos(angle[i]), 0.1 * math.sin(angle[i])
        for t in range(frames):
            x, y = x + vx, y + vy
            if x <= 0:
                x, vx = 0.0, -vx
            if x >= 1:
                x, vx = 1.0, -vx
            if y <= 0:
                y, vy = 0.0, -vy
            if y >= 1:
                y, vy = 1.0, -vy
            assert abs(ours[i, t, 0] - x) < 1e-6 and abs(ours[i, t, 1] - y) < 1e-6
    data = moving_digits.videos(4, 1, 1, rule="mnist", size=size, digits=2)
    assert data.train.video.shape == (4, 3, 16, 64, 64)


def test_whole_pixels_paste_exactly():
    ink = torch.rand(1, 5, 5)
    canvas = moving_digits._put(ink, torch.tensor([[[3.0, 7.0], [0.0, 0.0]]]), 16)
    assert torch.allclose(canvas[0, 0, 7:12, 3:8], ink[0]) and float(canvas[0, 0].sum()) == pytest.approx(
        float(ink.sum()), rel=1e-5
    )
    assert torch.allclose(canvas[0, 1, :5, :5], ink[0])
    half = moving_digits._put(ink, torch.tensor([[[3.5, 7.0]]]), 16)
    assert float(half.sum()) == pytest.approx(float(ink.sum()), rel=1e-5)


def test_own_rule_keeps_the_ink_inside():
    data = moving_digits.videos(60, 1, 1, frames=60, speed=(2.0, 3.0))
    ink = data.train.video.float().mean(1)  # (N, T, H, W)
    total = ink.sum((2, 3))
    assert (
        total.min(1).values > 0.85 * total.max(1).values
    ).all()  # next to nothing is cut off at the border
    factors = data.train.factors
    speed = torch.stack([factors["dx"], factors["dy"]]).norm(dim=0)
    assert (speed < 3.01).all() and speed.median() > 1.5


def test_splits_share_no_handwriting():
    data = moving_digits.videos(30, 30, 30, frames=2)
    with pytest.raises(CourseError, match="sealed"):
        _ = data.test.label
    assert not any(torch.equal(a, b) for a in data.train.video[:, 0] for b in data.test.video[:, 0])


@pytest.mark.slow
def test_they_load_by_name():
    assert load("movingdigits").train.kind == "video"
    assert load("toytracks").train.extra["mask"].dtype == torch.uint8
