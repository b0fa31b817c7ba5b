"""Propagation, the measures of DAVIS, key-points, and optical flow as a tracker: against loops, hand-made
cases and known motion.
"""

import math
import time

import numpy as np
import pytest
import torch

from sslcourse.data import datasets, toybox
from sslcourse.evaluate import optical_flow, tracking
from sslcourse.runtime.errors import CourseError


def disk_mask(h, w, y, x, r):
    return ((torch.arange(h)[:, None] - y) ** 2 + (torch.arange(w) - x) ** 2 <= r * r).long()


# ---------------------------------------------------------------------- F, against the benchmark's definition


def slow_boundary(mask):
    """Pixel by pixel: differs from its right, lower or lower-right neighbour; in the last row and column only
    along it.
    """
    h, w = mask.shape
    found = np.zeros((h, w), bool)
    for y in range(h):
        for x in range(w):
            around = []
            if x + 1 < w:
                around.append((y, x + 1))
            if y + 1 < h:
                around.append((y + 1, x))
            if x + 1 < w and y + 1 < h:
                around.append((y + 1, x + 1))
            found[y, x] = any(mask[y, x] != mask[p] for p in around)
    return found


def slow_contour(m, g, radius):
    """Precision and recall by distances between all pairs of boundary pixels."""
    a, b = (np.argwhere(slow_boundary(x)) for x in (m, g))
    if not len(a) or not len(b):
        return float(len(a) == len(b))
    near = ((a[:, None] - b[None]) ** 2).sum(2) <= radius**2
    precision, recall = near.any(1).mean(), near.any(0).mean()
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("size, share", [((9, 13), 0.008), ((20, 30), 0.05), ((24, 17), 0.1)])
def test_f_is_the_benchmarks_definition(size, share):
    g = torch.Generator().manual_seed(sum(size))
    m, t = (torch.randint(3, (6, *size), generator=g) for _ in range(2))
    m[:3] = torch.stack([disk_mask(*size, size[0] // 2 + k, size[1] // 2, 4) for k in range(3)])
    t[:3] = torch.stack([disk_mask(*size, size[0] // 2, size[1] // 2 + k, 4 - k) for k in range(3)])
    t[5] = 0
    found = tracking.contour(m, t, 2, share)
    radius = tracking.tolerance(*size, share)
    for i in range(6):
        for k in (1, 2):
            expected = slow_contour((m[i] == k).numpy(), (t[i] == k).numpy(), radius)
            assert float(found[i, k - 1]) == pytest.approx(expected, abs=1e-9), (i, k)


def by_convolution(predicted, given, objects, radius):
    """The same with the disk as a convolution's kernel, all frames at once: 200 products a pixel."""
    side = torch.arange(-radius, radius + 1)
    disk = (side[:, None] ** 2 + side**2 <= radius**2).float()[None, None]
    around = lambda x: torch.nn.functional.conv2d(x[:, None].float(), disk, padding=radius)[:, 0] > 0.5
    columns = []
    for k in range(1, objects + 1):
        m, g = (tracking.boundary(x == k) for x in (predicted, given))
        hits, found = ((a & around(b)).sum((1, 2)).double() for a, b in ((m, g), (g, m)))
        n_m, n_g = (x.sum((1, 2)).double() for x in (m, g))
        precision = torch.where(n_m > 0, hits / n_m.clamp_min(1), 1.0)
        recall = torch.where(n_g > 0, found / n_g.clamp_min(1), 1.0)
        columns.append(2 * precision * recall / (precision + recall).clamp_min(1e-12))
    return torch.stack(columns, 1)


def test_f_is_the_same_to_the_last_digit_and_ten_times_as_fast():
    """On masks as large as the benchmark's, and on smaller ones: objects amid the frame, at its edges, over
    all of it, in shreds, and gone.
    """

    def films(height, width, frames):
        g = torch.Generator().manual_seed(5)
        given = torch.zeros(frames, height, width, dtype=torch.uint8)
        predicted, part = given.clone(), height / 480
        for t, (y, x, r) in enumerate(((240, 400, 90), (2, 3, 60), (479, 853, 130))[:frames]):
            given[t][disk_mask(height, width, y * part, x * part, r * part) == 1] = 1
            predicted[t][
                disk_mask(height, width, y * part + 3 + 5 * part, x * part - 4 - 5 * part, r * part) == 1
            ] = 1
            given[t, int(200 * part) : int(260 * part), int(600 * part) : int(760 * part)] = 2
        if frames > 3:
            given[3], predicted[3] = 1, (torch.rand(height, width, generator=g) < 0.5).byte()
            predicted[4, 10:12, 10:30] = 1
        return predicted, given

    def timed(f, *arguments):
        start = time.process_time()
        return f(*arguments), time.process_time() - start

    for height, width, frames in ((60, 107, 5), (48, 33, 5), (480, 854, 1)):
        films_of, radius = films(height, width, frames), tracking.tolerance(height, width)
        ours, quick = timed(tracking.contour, *films_of, 2)
        expected, slow = timed(by_convolution, *films_of, 2, radius)
        assert torch.equal(ours, expected) and 0.1 < float(ours[0, 0]) < 1
    assert radius == 8 and slow > 10 * quick, (slow, quick)


def test_the_boundary_is_that_of_a_loop_and_one_pixel_wide():
    g = torch.Generator().manual_seed(0)
    for mask in (
        torch.rand(7, 9, generator=g) < 0.5,
        disk_mask(7, 9, 3, 4, 3).bool(),
        torch.ones(7, 9, dtype=torch.bool),
    ):
        assert np.array_equal(tracking.boundary(mask).numpy(), slow_boundary(mask.numpy()))
    square = torch.zeros(8, 8, dtype=torch.bool)
    square[2:6, 2:6] = True
    assert (
        int(tracking.boundary(square).sum()) == 16
    )  # half inside and half outside: 9 along the left and top, 7 along the right and bottom


def test_the_tolerance_of_the_benchmarks_own_size():
    assert (
        tracking.tolerance(480, 854) == 8
        and tracking.tolerance(256, 456) == 5
        and tracking.tolerance(48, 48) == 1
    )


def test_corner_cases_of_both_measures():
    nothing, something = torch.zeros(1, 10, 10).long(), disk_mask(10, 10, 5, 5, 3)[None]
    for measure in (tracking.overlap, tracking.contour):
        assert measure(nothing, nothing, 1).item() == 1 and measure(something, something, 1).item() == 1
        assert measure(nothing, something, 1).item() == 0 and measure(something, nothing, 1).item() == 0
        assert (
            measure(something, something.roll(1, 2), 1).item()
            == measure(something.roll(1, 2), something, 1).item()
        )  # symmetric
        assert measure(nothing, nothing, 0).shape == (1, 0)
        with pytest.raises(CourseError, match="both must be"):
            measure(nothing, something[0], 1)
    wide = torch.ones(1, 10, 10).long()  # a mask that fills the picture has no boundary
    assert tracking.contour(wide, wide, 1).item() == 1 and tracking.contour(something, wide, 1).item() == 0
    shifted = tracking.contour(disk_mask(30, 30, 15, 15, 6)[None], disk_mask(30, 30, 15, 16, 6)[None], 1)
    assert (
        shifted.item() == 1
        and tracking.overlap(disk_mask(30, 30, 15, 15, 6)[None], disk_mask(30, 30, 15, 16, 6)[None], 1).item()
        < 0.9
    )


def test_j_of_one_mask_is_that_of_all():
    g = torch.Generator().manual_seed(4)
    m, t = (torch.randint(3, (5, 6, 7), generator=g) for _ in range(2))
    m[0], t[0] = 0, 0
    whole = tracking.overlap(m, t, 2)
    assert all(
        float(whole[i, k - 1]) == pytest.approx(tracking.region(m[i] == k, t[i] == k))
        for i in range(5)
        for k in (1, 2)
    )


# ---------------------------------------------------------------------------------------------- key-points


def test_a_point_survives_the_cells():
    g = torch.Generator().manual_seed(1)
    points = torch.rand(7, 2, generator=g, dtype=torch.float64) * torch.tensor([40.0, 26.0]) + torch.tensor(
        [2.0, 2.0]
    )
    soft = tracking.points_to_cells(points, 10, 15, 30, 45)
    assert soft.shape == (10, 15, 7) and torch.allclose(soft.sum((0, 1)), torch.ones(7, dtype=torch.float64))
    assert torch.allclose(tracking.cells_to_points(soft[None], 30, 45)[0], points)
    corner = tracking.points_to_cells(torch.tensor([[0.0, 30.0]]), 10, 15, 30, 45)
    assert tracking.cells_to_points(corner[None], 30, 45)[0, 0].tolist() == [
        1.5,
        28.5,
    ]  # the middle of its cell
    gone = torch.cat([soft[None], torch.zeros(1, 10, 15, 7).double()])
    assert torch.allclose(tracking.cells_to_points(gone, 30, 45)[1], points)  # it stays where it was


def test_pck_by_hand():
    given = torch.zeros(3, 1, 2, 3)
    given[..., 2] = 1
    given[:, 0, 1, :2] = torch.tensor([30.0, 40.0])  # a diagonal of 50, so a size of 30
    given[2, 0, 1, 2] = 0  # hidden in the last frame
    predicted = given[..., :2].clone()
    predicted[1, 0, 0, 0] += 6  # 0.2 of the size
    predicted[2, 0, 0, 0] += 9  # 0.3
    predicted[1, 0, 1, 1] += 30  # a whole size
    errors = tracking.point_errors(predicted, given)
    assert errors[1, 0].tolist() == pytest.approx([0.2, 1.0]) and math.isnan(errors[2, 0, 1])
    found = tracking.Measured(errors=[errors])
    # The first point: one of two frames within 0.25. The second: its only visible frame is off by a whole
    # size.
    assert (
        found.pck(0.25) == pytest.approx((1 / 2 + 0) / 2)
        and found.pck(0.2 + 1e-9) == pytest.approx(1 / 4)
        and found.pck(1.0) == 1
    )
    with pytest.raises(CourseError, match="no key-points"):
        tracking.Measured().pck(0.1)


def test_means_are_those_of_the_benchmark():
    j = [torch.tensor([[1.0, 1.0], [0.5, 0.2], [0.3, math.nan], [0.1, 0.0]]), torch.tensor([[1.0], [0.8]])]
    j[0][:, 1] = math.nan  # an object that the first frame does not show
    found = tracking.Measured(j=j, f=j)
    assert found.J == pytest.approx(
        ((0.5 + 0.3 + 0.1) / 3 + 0.8) / 2
    )  # frames first, then objects; the first frame is given
    assert tracking.Measured(j=j[:1], last=False).J == pytest.approx((0.5 + 0.3) / 2)
    assert found.films().tolist() == pytest.approx([0.3, 0.8])


def test_j_over_time_of_some_objects():
    j = torch.tensor([[[1.0, 1.0], [0.5, 0.1]], [[1.0, 1.0], [0.7, 0.3]]])
    found = tracking.Measured(j=list(j))
    assert found.over_time() == pytest.approx([1, 0.4])
    assert found.over_time(torch.tensor([[True, False], [False, True]])) == pytest.approx([1, 0.4])
    assert found.over_time(torch.tensor([[True, False], [True, False]])) == pytest.approx([1, 0.6])


# ---------------------------------------------------------------------------------------------- trackers


def moving(dx=2, dy=1, t=5, size=40, seed=0):
    """A smooth texture that moves as a whole, a mask and two points that move with it."""
    g = torch.Generator().manual_seed(seed)
    wide = torch.nn.functional.interpolate(
        torch.rand(1, 3, 24, 24, generator=g), size=(120, 120), mode="bicubic"
    )[0].clamp(0, 1)
    at = [(40 - dy * i, 40 - dx * i) for i in range(t)]
    film = torch.stack([wide[:, y : y + size, x : x + size] for y, x in at], 1)
    mask = torch.stack([disk_mask(size, size, 15 + dy * i, 14 + dx * i, 6) for i in range(t)])
    points = torch.stack(
        [torch.tensor([[14.5 + dx * i, 15.5 + dy * i], [18.5 + dx * i, 12.5 + dy * i]]) for i in range(t)]
    )
    return (film * 255).to(torch.uint8), mask.to(torch.uint8), points


@pytest.mark.parametrize("name", optical_flow.FLOWS)
def test_flows_find_a_known_motion(name):
    film, mask, points = moving()
    step = optical_flow.FLOWS[name](
        *optical_flow.grey(film)[1::-1]
    )  # where the pixels of the second frame were
    inside = step[:, 8:-8, 8:-8]
    assert np.abs(inside[0] + 2).mean() < 0.25 and np.abs(inside[1] + 1).mean() < 0.25
    masks, places = optical_flow.by_flow(optical_flow.FLOWS[name])(film, mask[0], points[0])
    assert float(tracking.overlap(masks, mask, 1).min()) > 0.85
    assert (places - points).abs().max() < 0.8
    assert tracking.overlap(tracking.identity(film, mask[0])[0], mask, 1)[-1].item() < 0.3


def test_chained_flow_is_exact_where_the_flow_is():
    film, mask, points = moving(dx=3, dy=2, t=4)

    def known(first, second, way=1):
        return np.stack([np.full(first.shape, 3.0), np.full(first.shape, 2.0)]).astype(np.float32) * way

    places = optical_flow.chained(
        torch.from_numpy(np.stack([known(f, f, -1) for f in film[0, :3].numpy()])).double()
    )
    y, x = 20, 25
    assert places[3, :, y, x].tolist() == [x - 9, y - 6] and places[0, :, y, x].tolist() == [x, y]
    back = iter(
        [-1] * 3 + [1] * 3
    )  # first all steps back, for the masks, then all steps ahead, for the points
    masks, moved = optical_flow.by_flow(lambda a, b: known(a, b, next(back)))(film, mask[0], points[0])
    assert torch.equal(masks, mask) and torch.allclose(moved, points.double())


@pytest.mark.parametrize(
    "tracker",
    [
        optical_flow.by_flow(optical_flow.coarse_to_fine),
        tracking.by_features(lambda film: film.float(), references=1, temperature=0.01, window=3),
    ],
)
def test_masks_may_be_larger_than_frames(tracker):
    film, mask, _ = moving(dx=2, dy=2, t=4)
    large = mask.repeat_interleave(2, 1).repeat_interleave(2, 2)
    small, _ = tracker(film, mask[0], None)
    found, _ = tracker(film, large[0], None)
    assert (
        found.shape == (4, 80, 80)
        and float(tracking.overlap(found, large, 1).min())
        > float(tracking.overlap(small, mask, 1).min()) - 0.05
    )


def test_chained_flow_follows_the_flow_where_it_has_arrived():
    """Steps that differ from place to place: by hand, one pixel's way back through three frames."""
    steps = torch.rand(3, 2, 12, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2 - 1
    places = optical_flow.chained(steps)
    for x, y in ((5, 6), (3, 8)):
        at = torch.tensor([float(x), float(y)], dtype=torch.float64)
        for step in reversed(steps):  # from frame 3 to 2, to 1, to 0
            at = at + optical_flow.sample(step, at.view(2, 1, 1))[:, 0, 0]
        assert (
            places[3, :, y, x] - at
        ).abs().max() < 0.35  # bilinear once in places and once in steps: near, not equal
        assert (places[1, :, y, x] - torch.tensor([x, y]) - steps[0, :, y, x]).abs().max() < 1e-9
    whole = (
        (4 * torch.rand(3, 2, 12, 12, generator=torch.Generator().manual_seed(3)) - 2).round().double()
    )  # from pixel to pixel: exact
    places = optical_flow.chained(whole)
    x, y = 6, 5
    for step in reversed(whole):
        x, y = (min(11, max(0, int(v + d))) for v, d in zip((x, y), step[:, y, x]))
    assert places[3, :, 5, 6].tolist() == pytest.approx([x, y], abs=1e-9)


def test_a_point_that_is_hidden_at_first_does_not_count():
    film, mask, points = moving()
    given = torch.cat([points, torch.ones(5, 2, 1)], 2).view(5, 1, 2, 3).clone()
    given[0, 0, 1, 2] = 0
    found = tracking.measure({"identity": tracking.identity}, [(film, mask, given)])["identity"]
    assert found.errors[0][:, 0, 1].isnan().all() and not found.errors[0][:, 0, 0].isnan().any()


def test_samples_between_pixels():
    maps = torch.arange(12.0).view(1, 3, 4)
    at = torch.tensor([[0.0, 1.5, 3.0, -5.0], [0.0, 1.0, 2.0, 0.0]]).view(2, 1, 4)
    assert optical_flow.sample(maps, at)[0, 0].tolist() == pytest.approx([0, 5.5, 11, 0], abs=1e-5)


def test_features_that_know_the_place_track_perfectly():
    """The coordinates on the moving texture as embeddings: everything is found again."""
    film, mask, points = moving(dx=2, dy=2, size=40)

    def embed(frames):
        t, h, w = frames.shape[1], 20, 20
        i, y, x = torch.meshgrid(torch.arange(t), torch.arange(h), torch.arange(w), indexing="ij")
        angle = torch.stack([y - i, x - i]) * 0.09  # of the texture: a cell a frame
        return torch.cat([angle.cos(), angle.sin()])

    tracker = tracking.by_features(embed, references=1, temperature=0.005, topk=1)
    masks, places = tracker(film, mask[0], points[0])
    assert torch.equal(masks[0], mask[0]) and torch.allclose(places[0], points[0].double())
    assert float(tracking.overlap(masks, mask, 1).min()) > 0.8 and (places - points).abs().max() < 1e-4
    found = tracking.measure({"known": tracker, "identity": tracking.identity}, [(film, mask, None)])
    assert (
        found["known"].J > found["identity"].J + 0.3
        and found["known"].F > found["identity"].F
        and not found["known"].errors
    )
    alone, none = tracker(film, mask[0])
    assert torch.equal(alone, masks) and none is None


def test_single_precision_is_as_good_and_windows_are_cut_alike():
    g = torch.Generator().manual_seed(3)
    f, first = torch.randn(8, 5, 9, 7, generator=g), torch.randint(3, (9, 7), generator=g)
    for window in (None, 0, 2, 5, 6, 8):
        exact = tracking.propagate(f, first, 2, 0.1, window)
        quick = tracking.propagate(f, first, 2, 0.1, window, precise=False)
        assert quick.dtype == torch.float32 and (exact - quick).abs().max() < 1e-4
        for cell in ((0, 0), (4, 3), (8, 6)):
            a, refs = tracking.attention(f, 3, *cell, 2, 0.1, window)
            assert torch.allclose((a[..., None] * exact[refs]).sum((0, 1, 2)), exact[3][cell])


# ---------------------------------------------------------------------------------------- films of a data set


@pytest.fixture(scope="module")
def tracks():
    return toybox.tracks(8, 6, 4, size=32)


def test_measuring_the_toybox(tracks):
    found = tracking.measure(
        {
            "identity": tracking.identity,
            "truth": lambda frames, first, points: (truth(frames)[0], truth(frames)[1]),
        },
        tracks.validation,
    )
    assert found["truth"].J == 1 and found["truth"].F == 1 and found["truth"].pck(1e-6) == 1
    assert 0 < found["identity"].J < 0.7 and set(found["identity"].row()) == {
        "J",
        "F",
        "PCK@0.1",
        "PCK@0.2",
        "PCK@0.4",
    }
    assert (
        len(found["identity"].over_time()) == tracks.validation.video.shape[2]
        and found["identity"].over_time()[0] == 1
    )


def truth(frames):
    """What a tracker that peeks would say; `measure`'s loops are right only if this is right everywhere."""
    data = toybox.tracks(8, 6, 4, size=32).validation
    (i,) = [k for k in range(len(data)) if torch.equal(data.video[k], frames)]
    return data.extra["mask"][i], data.extra["keypoint"][i, ..., :2].flatten(1, 2)


def test_test_masks_are_sealed_while_a_training_is_under_way(tracks):
    test = tracks.test.take(slice(0, 2))
    test.openings = []
    tracking.measure({"identity": tracking.identity}, test, reader="a test")
    assert test.openings == ["a test"]
    with datasets.training_in_progress(), pytest.raises(CourseError, match="under way"):
        tracking.measure({"identity": tracking.identity}, test)
    with pytest.raises(CourseError, match="no masks"):
        tracking.measure({"identity": tracking.identity}, datasets.Samples(video=tracks.train.video))


def official(found, truth):
    """J and F of the semi-supervised DAVIS benchmark as its rules say, object by object, pixel by pixel.

    255 is taken off the truth and put nowhere: void is ground. Objects are those of the first mask; the first
    and the last frame do not count; what an object loses in one frame it loses in its mean.
    """
    truth = np.where(truth == 255, 0, truth)
    objects, rows = range(1, int(truth[0].max()) + 1), []
    radius = math.ceil(0.008 * math.hypot(*truth.shape[1:]))
    for k in objects:
        j, f = [], []
        for m, g in list(zip(found == k, truth == k))[1:-1]:
            either = int((m | g).sum())
            j.append(int((m & g).sum()) / either if either else 1.0)
            f.append(slow_contour(m, g, radius))
        rows.append((np.mean(j), np.mean(f)))
    return np.mean(rows, axis=0)


@pytest.mark.parametrize("seed", range(4))
def test_void_is_ground_in_every_frame_as_the_benchmark_has_it(seed):
    """Void in the first, a middle and the last frame, in truth and, as given, at the tracker."""
    rng = np.random.default_rng(seed)
    truth, found = (np.zeros((6, 22, 28), np.uint8) for _ in range(2))
    for t in range(6):
        for k, (y, x) in enumerate(((5, 6), (14, 17)), 1):
            truth[t, y + t % 2 : y + 5, x + t : x + 6 + t] = k
            found[t, y : y + 5, x + t // 2 : x + 6 + t] = k
    truth[4][truth[4] == 2] = 0  # gone for a frame
    for t in (0, 2, 5):
        truth[t][rng.random(truth[t].shape) < 0.15] = 255
    seen = []

    def tracker(frames, first, points=None):
        seen.append(first)
        return torch.from_numpy(found), None

    film = torch.zeros(3, 6, 22, 28, dtype=torch.uint8)
    masks = torch.from_numpy(truth.copy())
    measured = tracking.measure({"x": tracker}, [(film, masks, None)], last=False)["x"]
    assert (measured.J, measured.F) == pytest.approx(tuple(official(found, truth)), abs=1e-12)
    assert int(seen[0].max()) == 2 and torch.equal(seen[0] > 0, (masks[0] > 0) & (masks[0] < 255))
    assert torch.equal(masks, torch.from_numpy(truth))  # nothing was written into what was given
    # A tracker that is handed the mask as it is stored, void and all, carries objects and no 255 labels.
    carried, _ = tracking.by_features(lambda f: torch.ones(1, 6, 11, 14))(film, masks[0])
    assert int(carried.max()) <= 2


def test_what_a_tracker_loses_in_a_frame_with_void_it_loses():
    truth = torch.zeros(5, 40, 60, dtype=torch.uint8)
    truth[:, 10:30, 10:30] = 1
    found = truth.clone()
    found[2] = 0
    truth[2, :3, :3] = tracking.UNKNOWN
    film = torch.zeros(3, 5, 40, 60, dtype=torch.uint8)
    assert tracking.measure({"x": lambda *_: (found, None)}, [(film, truth, None)])["x"].J == 0.75


def test_hidden_points_say_nothing_of_the_others():
    """Wherever a hidden point is put, even nowhere, the errors of the visible ones are the same; and a frame
    that shows one point alone is judged by the size that its object last had.
    """
    film, mask, points = moving()
    given = torch.cat([points, torch.ones(5, 2, 1)], 2).view(5, 1, 2, 3).repeat(1, 2, 2, 1).clone()
    given[:, :, 2:, :2] += torch.tensor([3.0, 7.0])
    given[2, 0, 1, 2], given[3, 1, :3, 2], given[0, 1, 0, 2] = 0, 0, 0
    told = [given]
    for place in ([math.nan, 1e6], [-1e6, -1e6], [1e6, 1e6]):
        told.append(given.clone())
        told[-1][..., :2][given[..., 2] < 0.5] = torch.tensor(place)
    seen = []

    def tracker(frames, first, start):
        seen.append(start)
        return tracking.identity(frames, first, start)

    errors = [tracking.measure({"x": tracker}, [(film, mask, points)])["x"] for points in told]
    assert torch.isfinite(torch.stack(seen)).all()
    a = errors[0].errors[0]
    for other in errors[1:]:
        b = other.errors[0]
        assert torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(-1), b.nan_to_num(-1))
    hidden = (given[..., 2] < 0.5) | (given[:1, ..., 2] < 0.5)
    assert torch.equal(a.isnan(), hidden) and len({x.pck(0.3) for x in errors}) == 1
    box = given[2, 1, :, :2].amax(0) - given[2, 1, :, :2].amin(0)  # the frame before the one with one point
    off = (given[0, 1, 3, :2] - given[3, 1, 3, :2]).norm()
    assert float(a[3, 1, 3]) == pytest.approx(float(off / (0.6 * box.norm())))


def test_what_is_no_number_is_no_score():
    film, mask, points = moving()
    given = torch.cat([points, torch.ones(5, 2, 1)], 2).view(5, 1, 2, 3)
    nan = torch.full((2, 5, 20, 20), math.nan)
    by = tracking.by_features
    lost = lambda frames, first, start: (first.expand(5, -1, -1), torch.full((5, 2, 2), math.nan))
    alone = mask.clone()
    alone[1:] = tracking.UNKNOWN
    for call, words in (
        (lambda: tracking.measure({"x": by(lambda f: nan)}, [(film, mask, None)]), "NaN"),
        (lambda: tracking.attention(nan, 1, 0, 0), "NaN"),
        (lambda: tracking.measure({"x": lost}, [(film, mask, given)]), "NaN"),
        (lambda: tracking.measure({"x": tracking.identity}, []), "no film"),
        (
            lambda: tracking.measure({"x": tracking.identity}, [(film, alone, None)])["x"].J,
            "nothing was measured",
        ),
        (lambda: tracking.point_errors(given[:, :, :1, :2], given[:, :, :1]), "two points"),
        (lambda: tracking.correlation([1.0, 1.0], [2.0, 3.0]), "differ"),
        (lambda: tracking.correlation([1.0, math.nan], [2.0, 3.0]), "differ"),
    ):
        with pytest.raises(CourseError, match=words):
            call()


def test_where_all_cells_are_alike_a_point_is_in_their_middle():
    """And not at the top left, where counting begins. Turning the frame turns the answer."""
    even = torch.full((1, 6, 8, 1), 1 / 48)
    assert tracking.cells_to_points(even, 12, 16)[0, 0].tolist() == pytest.approx([8, 6])
    some = torch.zeros(1, 6, 8, 1)
    some[0, 1, 1:8] = 0.1
    some[0, 1, 2] = 0.3
    a, b = tracking.cells_to_points(some, 12, 16), tracking.cells_to_points(some.flip(1, 2), 12, 16)
    assert torch.allclose(a, torch.tensor([16.0, 12.0]) - b)


def test_frames_that_nobody_annotated_do_not_count():
    film, mask, points = moving()
    part = mask.clone()
    part[2] = tracking.UNKNOWN
    whole, found = (
        tracking.measure({"identity": tracking.identity}, [(film, m, None)])["identity"] for m in (mask, part)
    )
    assert (
        found.j[0].shape == (5, 1)
        and math.isnan(found.j[0][2])
        and found.J == pytest.approx(float(whole.j[0][[1, 3, 4]].mean()))
    )
    for nothing in (0 * mask, torch.full_like(mask, tracking.UNKNOWN)):
        with pytest.raises(CourseError, match="nothing to carry"):
            tracking.measure({"identity": tracking.identity}, [(film, nothing, None)])


def test_correlation_of_known_numbers():
    assert tracking.correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1) and tracking.correlation(
        [1, 2, 3], [3, 2, 1]
    ) == pytest.approx(-1)
