# ruff: noqa: F811 (pytest hands fixtures over by the names that were imported)
"""The cluster explorer and the neighbour browser: what they pack, what they answer to the pointer, what comes
back to Python.
"""

import collections
import io
import json
import math

import nbformat
import numpy as np
import pytest
import torch
from browser import NOTEBOOK, blank_page, browser_page, host_view, keep, lab, open_and_run, page, use_theme  # noqa: F401 (fixtures)
from matplotlib.path import Path as Polygon
from PIL import Image

from sslcourse import show
from sslcourse.runtime.errors import CourseError
from sslcourse.widgets import clusters, maps, neighbours

MAP, EDGE = 480, 14  # of static/clusters.js: where a position lies on the map, in pixels
CLASSES = ("sphere", "cube", "cone")


def cloud(n: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three clusters far apart: positions and labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return np.array([[-4.0, 3.0], [4.0, 3.0], [0.0, -4.0]])[labels] + rng.normal(size=(n, 2)) * 0.8, labels


def flat(n: int, side: int = 32) -> torch.Tensor:
    """Images of one colour each, so that a thumbnail's pixel tells whose it is: red counts, green counts in
    tens.
    """
    images = torch.zeros(n, 3, side, side, dtype=torch.uint8)
    for i in range(n):
        images[i, 0], images[i, 1], images[i, 2] = 20 * (i % 10) + 40, 20 * (i // 10 % 10) + 40, 90
    return images


def kinds(n: int) -> dict:
    """A column of each kind."""
    rng = np.random.default_rng(1)
    return {
        "cluster": rng.integers(0, 4, n),
        "light": (rng.uniform(0, 2 * math.pi, n), 2 * math.pi),
        "size": rng.uniform(0.6, 1, n),
        "pattern": (rng.integers(-1, 2, n), ("plain", "spots")),
        "far": rng.random(n) < 0.3,
    }


def pixels_of(view) -> np.ndarray:
    """(N, 2): where each point lies on the map."""
    u = np.frombuffer(view.positions, "<u2").reshape(-1, 2) / 65535
    return np.stack([EDGE + u[:, 0] * (MAP - 2 * EDGE), EDGE + (1 - u[:, 1]) * (MAP - 2 * EDGE)], 1)


def sheet(view) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(view.tiles)).convert("RGB")).astype(int)


def tile(view, number: int) -> np.ndarray:
    about = view.about["pictures"]
    t, across = about["tile"], about["across"]
    y, x = number // across * t, number % across * t
    return sheet(view)[y : y + t, x : x + t]


# ------------------------------------------------------------------------------- packing


def test_positions_keep_their_shape_within_a_square():
    xy = np.random.default_rng(0).normal(size=(200, 2)) * [3, 1] + [100, -7]
    packed = maps.pack_positions(xy).astype(float)
    span = np.ptp(xy, 0).max()
    back = (packed / 65535 * 2 - 1) * span / 2 + (xy.min(0) + xy.max(0)) / 2
    assert np.abs(back - xy).max() <= span / 65535 / 2 * 1.01
    assert (
        packed.min() == 0 and packed.max() == 65535 and np.ptp(packed[:, 1]) < 65535 * 0.6
    )  # the wide axis fills it, the other does not
    assert (maps.pack_positions([[2.0, 3.0]]) == 32768).all()  # a single point stands in the middle
    assert (maps.pack_positions(np.zeros((4, 2))) == 32768).all()


def test_columns_mean_what_they_look_like():
    n = 6
    cases = {
        "words": (["b", "a", "b", None, "a", "b"], "category", [1, 0, 1, -1, 0, 1], ("a", "b")),
        "yes": (np.array([1, 0, 1, 0, 0, 1], bool), "category", [1, 0, 1, 0, 0, 1], ("no", "yes")),
        "ids": (torch.tensor([2, 0, -1, 2, 1, 0]), "category", [2, 0, -1, 2, 1, 0], ("0", "1", "2")),
        "years": (
            np.array([1990, 2020, 1990, 2001, 2001, 2020]),
            "category",
            [0, 2, 0, 1, 1, 2],
            ("1990", "2001", "2020"),
        ),
        "named": (
            (torch.tensor([1, 0, 1, -1, 0, 1]), ("x", "y")),
            "category",
            [1, 0, 1, -1, 0, 1],
            ("x", "y"),
        ),
        "number": (np.array([0.5, 1, np.nan, np.inf, 2, 3]), "number", [0.5, 1, np.nan, np.nan, 2, 3], ()),
        "half": (torch.arange(6).bfloat16(), "number", [0, 1, 2, 3, 4, 5], ()),
        "angle": ((np.linspace(0, 1, 6), 1.0), "angle", np.linspace(0, 1, 6), ()),
        "turned": ((np.linspace(0, 1, 6), "angle"), "angle", np.linspace(0, 1, 6), ()),
    }
    for name, (given, kind, values, names) in cases.items():
        column = maps.as_column(name, given, n)
        assert (column.kind, column.names) == (kind, names), name
        np.testing.assert_allclose(column.values, values, rtol=1e-6, err_msg=name)
        if kind == "category":
            codes = np.frombuffer(column.packed(), "<u2").astype(int)
            assert np.where(codes == 65535, -1, codes).tolist() == list(values), name
        else:
            np.testing.assert_array_equal(
                np.frombuffer(column.packed(), "<f4"), np.asarray(values, np.float32), err_msg=name
            )
    assert maps.as_column("turned", cases["turned"][0], n).turn == 2 * math.pi
    assert maps.as_column("many", np.arange(101), 101).kind == "number"
    assert maps.as_column("hundred", np.arange(100), 100).kind == "category"
    about = maps.as_column("number", cases["number"][0], n).about()
    assert (about["low"], about["high"]) == (0.5, 3.0)
    json.dumps(about, allow_nan=False)
    json.dumps(maps.as_column("nothing", np.full(6, np.nan), 6).about(), allow_nan=False)


def test_a_data_set_brings_its_factors_with_their_kinds(toys):
    part = toys.validation
    columns = {c.name: c for c in maps.gathered([{"cluster": np.arange(len(part)) % 7}, part], len(part))}
    assert list(columns) == ["cluster", *part.factors]
    assert (
        columns["shape"].names == tuple(part.classes)
        and columns["hue"].turn == 1.0
        and columns["light"].kind == "angle"
    )
    assert columns["size"].kind == "number" and columns["pattern"].kind == "category"
    np.testing.assert_array_equal(columns["shape"].values, part.label)
    with pytest.raises(CourseError, match="sealed"):
        clusters(np.zeros((len(toys.test), 2)), columns=toys.test)


def test_labels_and_predictions_make_columns():
    xy, labels = cloud(9)
    labels[0], predicted = -1, np.array([0, 1, 2, 1, 1, 2, 0, 0, 2])
    view = clusters(xy, labels, classes=CLASSES, predicted=predicted)
    about = {c["name"]: c for c in view.about["columns"]}
    assert list(about) == ["label", "predicted", "correct"] and view.by == "label"
    assert about["correct"]["colours"] == [show.RIGHT, show.WRONG] and about["correct"]["marks"] == [
        "circle",
        "cross",
    ]
    truth = [-1, *(int(a != b) for a, b in zip(labels[1:], predicted[1:]))]
    assert view.column("correct").values.tolist() == truth
    assert view.column("predicted").names == CLASSES
    data = np.frombuffer(view.columns, "<u2").reshape(3, 9).astype(int)
    assert data[0].tolist() == [65535, *labels[1:]] and data[1].tolist() == predicted.tolist()


def test_thumbnails_are_the_images_and_shrink_when_they_are_many():
    xy, labels = cloud(30)
    images = flat(30, 16)
    view = clusters(xy, labels, images)
    for i in (0, 7, 29):
        assert np.abs(tile(view, i) - images[i].permute(1, 2, 0).numpy()).max() <= 3, i
    wide = torch.full((2, 3, 10, 20), 200, dtype=torch.uint8)  # not square: centred on black, never stretched
    part = tile(clusters(xy[:2], images=wide), 1)
    assert (
        part.shape == (20, 20, 3) and part[:5].max() == 0 and part[15:].max() == 0 and part[6:14].min() > 190
    )
    assert maps._thumbnails(flat(500, 96), 500)[1]["tile"] == 96
    assert maps._thumbnails(flat(500, 96), 500, most=500 * 64 * 64)[1]["tile"] == 64
    assert maps._thumbnails(flat(500, 28), 500, most=500 * 24 * 24)[1]["tile"] == 24


@pytest.mark.parametrize("n", [1, 60, 500, 3000, 5000])
@pytest.mark.parametrize(("frames", "side"), [(1, 16), (8, 32), (16, 64), (64, 112)])
def test_clips_fit_or_are_refused(n, frames, side):
    count, s = maps.frames_kept(n, frames, side)
    assert n * count * s * s <= maps.MOST_PIXELS and 1 <= count <= frames and s <= side
    assert count >= min(4, frames)
    if n * frames * side * side <= maps.MOST_PIXELS:
        assert (count, s) == (frames, side)


def test_too_many_clips_are_refused_with_the_number_that_fits():
    with pytest.raises(CourseError, match="up to 5,859 of them"):
        maps.frames_kept(6000, 16, 32)
    assert maps.frames_kept(5859, 16, 32) == (4, 16)


def test_frames_of_clips_lie_one_after_the_other():
    xy, labels = cloud(5)
    clips = torch.zeros(5, 3, 6, 16, 16)
    for i in range(5):
        for t in range(6):
            clips[i, 0, t], clips[i, 1, t] = (i + 1) / 6, (t + 1) / 7
    view = clusters(xy, labels, clips=clips, audio=np.zeros((5, 4000)), rate=8000)
    about = view.about["pictures"]
    assert (about["frames"], about["seconds"]) == (6, 0.5)  # as long as the sound
    for i, t in ((0, 0), (2, 3), (4, 5)):
        np.testing.assert_allclose(
            tile(view, i * 6 + t)[8, 8, :2], [255 * (i + 1) / 6, 255 * (t + 1) / 7], atol=4
        )
    assert clusters(xy, clips=clips).about["pictures"]["seconds"] == 6 / 8


# ------------------------------------------------------------------------------- sound


def test_companded_sound_is_near_enough_loud_or_quiet():
    x = np.concatenate([np.linspace(-1, 1, 20001), np.geomspace(1e-6, 1, 500)]).astype(np.float32)
    codes = maps.compand(x)
    assert codes.dtype == np.int8 and codes[x == 0].tolist() == [0] * int((x == 0).sum())
    assert (np.abs(maps.expand(codes) - x) <= 0.023 * np.abs(x) + 1e-4).all()
    assert (maps.expand(maps.compand(-x)) == -maps.expand(codes)).all()


def test_sounds_within_the_limit_are_in_the_state_and_larger_ones_are_asked_for(monkeypatch):
    xy, labels = cloud(4)
    waves = (np.sin(np.arange(1000) / 5) * np.array([[0.1], [0.5], [1.0], [3.0]])).astype(np.float32)
    view = clusters(xy, labels, audio=waves, rate=16000)
    assert view.about["sound"] == {"rate": 16000, "length": 1000, "stored": True}
    heard = maps.expand(np.frombuffer(view.sounds, np.int8).reshape(4, 1000))
    np.testing.assert_allclose(heard[:3], waves[:3], atol=0.024)
    np.testing.assert_allclose(heard[3], waves[3] / 3, atol=0.024)  # what is too loud is turned down
    monkeypatch.setattr(maps, "MOST_SAMPLES", 3999)
    asked = clusters(xy, labels, audio=torch.from_numpy(waves))
    assert asked.sounds == b"" and not asked.about["sound"]["stored"]
    sent = []
    monkeypatch.setattr(
        type(asked), "send", lambda self, content, buffers=None: sent.append((content, buffers))
    )
    asked._message(asked, {"sound": 2}, [])
    content, buffers = sent[0]
    assert content == {"sound": 2, "rate": 16000}
    np.testing.assert_allclose(np.frombuffer(buffers[0], "<i2") / 32767, waves[2], atol=1e-4)
    asked._message(asked, {"other": 2}, [])
    assert len(sent) == 1


def test_a_function_of_sounds_is_asked_point_by_point(monkeypatch):
    xy, labels = cloud(3)
    calls, sent = [], []

    def wave(i):
        calls.append(i)
        if i == 1:
            raise ValueError("no such file")
        return (np.ones((1, 100 + i)) * 16384).astype(np.int16)

    view = clusters(xy, labels, audio=wave, rate=8000)
    monkeypatch.setattr(
        type(view), "send", lambda self, content, buffers=None: sent.append((content, buffers))
    )
    assert calls == []
    view._message(view, {"sound": 2}, [])
    assert calls == [2] and np.frombuffer(sent[0][1][0], "<i2").tolist() == [16384] * 102
    view._message(view, {"sound": 1}, [])
    assert sent[1] == ({"sound": 1, "failed": "ValueError: no such file"}, None)


def test_a_page_gets_the_sounds_of_a_function(monkeypatch):
    xy, labels = cloud(3)
    view = clusters(xy, labels, audio=lambda i: np.full(10 + i, 0.5), rate=8000)
    view.for_page()
    assert view.about["sound"] == {"rate": 8000, "length": 12, "stored": True}
    heard = maps.expand(np.frombuffer(view.sounds, np.int8).reshape(3, 12))
    assert np.abs(heard[0, :10] - 0.5).max() < 0.02 and (heard[0, 10:] == 0).all()
    view.for_page()  # once is enough
    monkeypatch.setattr(maps, "MOST_SAMPLES", 35)
    longer = clusters(xy, labels, audio=lambda i: np.full(10 + i, 0.5))
    longer.for_page()
    assert longer.sounds == b"" and not longer.about["sound"]["stored"]


# ------------------------------------------------------------------------------- the selection


def test_the_selection_goes_both_ways_through_the_trait():
    xy, labels = cloud(20)
    view, heard = clusters(xy, labels), []
    view.on_select(lambda at: heard.append(at.tolist()))
    assert view.selected.tolist() == [] and view.selected.dtype == np.int64
    view.selected = [7, 3, 3, 19]
    assert view.selected.tolist() == [3, 7, 19] and np.frombuffer(view.chosen, "<u4").tolist() == [3, 7, 19]
    view.set_state({"chosen": memoryview(np.array([5, 1], "<u4").tobytes())})  # as it arrives from JavaScript
    assert view.selected.tolist() == [1, 5]
    view.selected = labels == 2
    assert view.selected.tolist() == np.flatnonzero(labels == 2).tolist()
    view.selected = torch.tensor([0])
    view.selected = []
    assert heard == [[3, 7, 19], [1, 5], np.flatnonzero(labels == 2).tolist(), [0], []]


def test_an_error_in_on_select_is_raised_here_and_shown_there():
    xy, labels = cloud(20)
    view = clusters(xy, labels)

    def broken(at):
        if len(at):
            raise KeyError("nothing there")

    view.on_select(broken)
    with pytest.raises(KeyError):
        view.selected = [1]
    assert view.failed == ""
    view.set_state({"chosen": memoryview(np.array([2], "<u4").tobytes())})
    assert view.failed == "KeyError in on_select: 'nothing there'"
    view.set_state({"chosen": memoryview(b"")})
    assert view.failed == ""
    view.on_select(broken, remove=True)
    view.selected = [1]
    with pytest.raises(CourseError, match="was not registered"):
        view.on_select(broken, remove=True)


def test_the_composition_counts_what_a_counter_counts():
    rng = np.random.default_rng(3)
    names = tuple("abcdefgh")
    codes = rng.choice(9, 500, p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.04, 0.03, 0.03]) - 1
    column = maps.as_column("kind", (codes, names), 500)
    at = rng.choice(500, 120, replace=False)
    text = maps.composition(column, at, 500)
    found = collections.Counter(names[c] if c >= 0 else "unknown" for c in codes[at])
    head, rest = text.split(": ")
    assert head == "120 of 500 selected"
    parts = rest.split(", ")
    assert len(parts) == 5 and parts[-1].startswith(f"{len(found) - 4} others ")
    named = [p.rsplit(" ", 2)[:2] for p in parts[:4]]
    assert sorted((found[n] for n, _ in named), reverse=True) == [c for _, c in found.most_common(4)]
    for name, percent in named:
        assert abs(int(percent) - 100 * found[name] / 120) <= 0.5, name


def test_the_composition_in_words():
    column = maps.as_column("shape", (np.array([1] * 80 + [2] * 20 + [0] * 4900), CLASSES), 5000)
    assert maps.composition(column, range(100), 5000) == "100 of 5,000 selected: cube 80 %, cone 20 %"
    assert (
        maps.composition(column, range(5000), 5000)
        == "5,000 of 5,000 selected: sphere 98 %, cube 2 %, cone under 1 %"
    )
    assert maps.composition(column, [], 5000) == "none of 5,000 selected"
    assert maps.composition(None, [3], 5000) == "1 of 5,000 selected"
    ids = maps.as_column("cluster", np.array([3, 3, 0, -1]), 4)
    assert (
        maps.composition(ids, [0, 1, 2, 3], 4)
        == "4 of 4 selected: cluster 3 50 %, cluster 0 25 %, unknown 25 %"
    )
    size = maps.as_column("size", np.array([0.5, 0.75, np.nan, 2.0]), 4)
    assert (
        maps.composition(size, [0, 1, 2], 4) == "3 of 4 selected: size 0.500 to 0.750, mean 0.625 (all 1.08)"
    )
    assert maps.composition(size, [2], 4) == "1 of 4 selected: size unknown"
    angle = maps.as_column(
        "hue", (np.array([0.95, 0.05, 0.5, 0.0]), 1.0), 4
    )  # around zero the plain mean would be 0.5
    text = maps.composition(angle, [0, 1], 4)
    mean = float(text.split("around ")[1].split(",")[0])
    assert min(mean, 1 - mean) < 1e-6 and f"agreement {math.cos(0.1 * math.pi):.2f}" in text
    quarter = maps.as_column("hue", (np.array([0.2, 0.3, 0.8, 0.7]), 1.0), 4)
    assert (
        maps.composition(quarter, [0, 1], 4) == "2 of 4 selected: hue around 0.250, agreement 0.95 (all 0.00)"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3.0, "3"),
        (-0.1234, "-0.123"),
        (1.2345, "1.23"),
        (12.345, "12.3"),
        (123.45, "123"),
        (1e-5, "1.0e-5"),
        (2.5e7, "2.5e+7"),
        (math.nan, "none"),
    ],
)
def test_figures(value, text):
    assert maps.figure(value) == text


# ------------------------------------------------------------------------------- neighbours


def brute(features, k: int) -> list[list[int]]:
    """Every pair by itself."""
    f = np.asarray(features, np.float64)
    cosine = [[float(a @ b / math.sqrt((a @ a) * (b @ b))) for b in f] for a in f]
    return [
        sorted((j for j in range(len(f)) if j != i), key=lambda j: (-cosine[i][j], j))[:k]
        for i in range(len(f))
    ], cosine


@pytest.mark.parametrize("chunk", [1, 7, 512])
def test_nearest_agrees_with_every_pair_by_itself(chunk):
    features = np.random.default_rng(0).normal(size=(60, 5)) * np.random.default_rng(1).uniform(
        0.1, 9, (60, 1)
    )
    expected, cosine = brute(features, 6)
    indices, similarities = maps.nearest(features, 6, chunk=chunk)
    assert indices.tolist() == expected
    np.testing.assert_allclose(
        similarities, [[cosine[i][j] for j in row] for i, row in enumerate(expected)], atol=1e-12
    )


def test_equal_similarities_come_in_order_and_nobody_meets_itself():
    features = np.array([[1.0, 0]] * 4 + [[0, 1.0]])
    indices, _ = maps.nearest(features, 4)
    assert indices.tolist() == [[1, 2, 3, 4], [0, 2, 3, 4], [0, 1, 3, 4], [0, 1, 2, 4], [0, 1, 2, 3]]
    zero, similarities = maps.nearest(np.array([[0.0, 0], [1, 0], [2, 0]]), 2)
    assert np.isfinite(similarities).all() and zero[1].tolist() == [2, 0]


def test_precision_agrees_with_loops_and_chance_with_shuffles():
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 3, 80)
    indices, _ = maps.nearest(rng.normal(size=(80, 4)) + 2 * np.eye(4)[labels], 5)
    hits = [labels[j] == labels[i] for i in range(80) if labels[i] >= 0 for j in indices[i]]
    value, chance = maps.precision(indices, labels)
    assert value == pytest.approx(np.mean(hits))
    drawn = []
    for _ in range(300):
        shuffled = np.stack([rng.choice(np.delete(np.arange(80), i), 5, replace=False) for i in range(80)])
        drawn.append(maps.precision(shuffled, labels)[0])
    assert chance == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / math.sqrt(300))
    assert value > chance + 0.2
    assert all(math.isnan(v) for v in maps.precision(indices, np.full(80, -1)))


def test_the_browser_of_neighbours_carries_what_was_found():
    rng = np.random.default_rng(0)
    spaces = {
        "trained": torch.from_numpy(rng.normal(size=(50, 6))),
        "random": rng.normal(size=(50, 3)).astype(np.float32),
    }
    labels = np.arange(50) % 3
    labels[4] = -1
    view = neighbours(spaces, flat(50), labels, classes=CLASSES, k=5, query=9)
    found = np.frombuffer(view.found, "<u2").reshape(2, 50, 5)
    cosines = np.frombuffer(view.cosines, "<i2").reshape(2, 50, 5) / 32767
    for e, features in enumerate(spaces.values()):
        expected, cosine = brute(features, 5)
        assert found[e].tolist() == expected
        np.testing.assert_allclose(
            cosines[e], [[cosine[i][j] for j in row] for i, row in enumerate(expected)], atol=2e-5
        )
    assert np.frombuffer(view.labels, "<u2")[[3, 4]].tolist() == [0, 65535]
    assert view.about["precision"] == [pytest.approx(maps.precision(found[e], labels)[0]) for e in (0, 1)]
    assert repr(view).startswith("<neighbour browser of 50 images, k=5: trained 0.")
    view.query = np.int64(3)
    assert view.query == 3
    plain = neighbours({"only": spaces["random"]}, flat(50))
    assert (
        plain.labels == b""
        and plain.about["precision"] == [None]
        and repr(plain) == "<neighbour browser of 50 images, k=8: only>"
    )
    json.dumps(neighbours({"only": spaces["random"]}, flat(50), np.full(50, -1)).about, allow_nan=False)


def test_two_thousand_images_stay_small():
    rng = np.random.default_rng(0)
    view = neighbours(
        {name: rng.normal(size=(2000, 16)) for name in "abc"}, flat(2000, 16), np.arange(2000) % 10, k=8
    )
    assert len(view.found) + len(view.cosines) + len(view.labels) == 3 * 2000 * 8 * 4 + 4000


# ------------------------------------------------------------------------------- mistakes


XY, LABELS = cloud(12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"xy": np.zeros((12, 3))}, r"xy has shape \(12, 3\)"),
        ({"xy": np.zeros((0, 2))}, "length 0"),
        ({"xy": np.zeros((45_000, 2))}, r"45,000 points; .* xy\[::3\]"),
        (
            {"xy": np.where(np.arange(24).reshape(12, 2) == 7, np.nan, 1.0)},
            "1 positions in xy are NaN or infinite, the first is that of point 3",
        ),
        ({"labels": np.zeros(11)}, r"12 points but labels of shape \(11,\)"),
        ({"labels": np.full(12, 0.5)}, "labels are of type float64"),
        ({"labels": np.full(12, -2)}, "labels go from -2"),
        ({"labels": np.full(12, 70_000)}, "to 70000"),
        ({"images": flat(11)}, "12 points but 11 images"),
        ({"clips": np.zeros((12, 3, 16, 16))}, r"clips of shape \(12, 3, 16, 16\)"),
        ({"clips": np.zeros((11, 3, 2, 16, 16))}, "12 points but 11 clips"),
        ({"predicted": LABELS, "labels": None}, "predicted came without labels"),
        ({"predicted": np.zeros(3)}, r"predicted of shape \(3,\)"),
        ({"columns": {"size": np.zeros(3)}}, r"column 'size' has shape \(3,\) for 12 points"),
        ({"columns": {"hue": (np.zeros(12), 0.0)}}, "full turn of 0.0"),
        ({"columns": {"hue": (np.zeros(12), math.inf)}}, "full turn of inf"),
        ({"columns": {"hue": (np.zeros(12), "round")}}, "came with 'round'"),
        ({"columns": {"shape": (np.full(12, 3), ("a", "b"))}}, "code 3 but only 2 names"),
        ({"columns": {"shape": (np.full(12, -2), ("a", "b"))}}, "codes of column 'shape' go from -2"),
        (
            {
                "columns": {"word": np.array([f"w{i}" for i in range(200)])},
                "xy": np.zeros((200, 2)),
                "labels": None,
            },
            "200 different words",
        ),
        ({"columns": {"z": np.zeros(12, complex)}}, "type complex128"),
        ({"columns": {"label": np.zeros(12)}}, "two columns are called 'label'"),
        ({"columns": 5}, "columns is a int"),
        ({"audio": np.zeros(12)}, r"audio of shape \(12,\)"),
        ({"audio": np.zeros((11, 50))}, r"audio of shape \(11, 50\)"),
        ({"audio": np.zeros((12, 50)), "rate": 44}, "rate=44"),
    ],
)
def test_clusters_names_mistakes(arguments, message):
    with pytest.raises(CourseError, match=message):
        clusters(**{"xy": XY, "labels": LABELS, **arguments})


def test_a_cluster_explorer_names_later_mistakes():
    view = clusters(XY, LABELS, columns={"size": np.arange(12) / 7})
    for selection, message in (
        ([12], "index 12; the points are numbered 0 to 11"),
        ([-1, 3], "index -1"),
        ([0.5], "type float64"),
        (np.zeros(3, bool), "one for each of the 12 points"),
    ):
        with pytest.raises(CourseError, match=message):
            view.selected = selection
    with pytest.raises(CourseError, match="by='colour'; the points can be coloured by label, size"):
        view.by = "colour"
    view.by = "size"
    with pytest.raises(CourseError, match="no column 'x'"):
        view.describe("x")
    with pytest.raises(CourseError, match="pass a function"):
        view.on_select(3)
    with pytest.raises(CourseError, match="no sound"):
        view.wave(0)
    heard = clusters(XY, audio=lambda i: np.zeros((2, 5)))
    with pytest.raises(CourseError, match=r"sound of point 0 has shape \(2, 5\)"):
        heard.wave(0)
    with pytest.raises(CourseError, match="point 12"):
        heard.wave(12)
    with pytest.raises(CourseError, match="pass labels or columns"):
        clusters(XY).by = "label"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spaces": {}}, "0 encoders"),
        ({"spaces": dict.fromkeys("abcd", np.ones((12, 2)))}, "4 encoders"),
        ({"spaces": np.ones((12, 2))}, "spaces is a ndarray"),
        ({"spaces": {"a": np.ones((11, 2))}}, r"features of 'a' have shape \(11, 2\) for 12 images"),
        ({"spaces": {"a": np.full((12, 2), np.nan)}}, "'a' hold NaN"),
        ({"images": flat(1)}, "1 images; this view shows 2 to 5,000"),
        ({"images": np.zeros((12, 5, 4, 4))}, "images of shape"),
        ({"labels": np.zeros(3)}, "labels of shape"),
        ({"k": 0}, "k=0; there are 11 other images"),
        ({"k": 12}, "ask for 1 to 11"),
        ({"k": 2.5}, "k=2.5"),
        ({"query": 12}, "query=12 is not among the 12 images"),
        ({"query": -1}, "query=-1"),
        ({"query": "a"}, "query='a'"),
    ],
)
def test_neighbours_names_mistakes(arguments, message):
    with pytest.raises(CourseError, match=message):
        neighbours(
            **{
                "spaces": {"a": np.random.default_rng(0).normal(size=(12, 3))},
                "images": flat(12),
                "labels": LABELS,
                **arguments,
            }
        )


def test_a_query_from_python_is_checked():
    view = neighbours({"a": np.random.default_rng(0).normal(size=(12, 3))}, flat(12))
    with pytest.raises(CourseError, match="query=99"):
        view.query = 99


# ------------------------------------------------------------------------------- what stays in a notebook


def opened(data: bytes) -> Image.Image:
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) <= 60_000, len(data)
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(
    "case",
    ["labels and images", "nothing", "number", "angle", "no value", "100 classes", "20,000 points", "clips"],
)
def test_clusters_draws_its_picture(case, toys):
    part = toys.validation
    n = len(part)
    xy = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    view = {
        "labels and images": lambda: clusters(
            xy, part.label, part.image, classes=part.classes, columns=part, title="A title"
        ),
        "nothing": lambda: clusters(xy),
        "number": lambda: clusters(xy, columns={"size": part.factors["size"]}, title="By size"),
        "angle": lambda: clusters(xy, columns={"hue": (part.factors["hue"], 1.0)}),
        "no value": lambda: clusters(xy, columns={"x": np.full(n, np.nan)}),
        "100 classes": lambda: clusters(rng.normal(size=(2000, 2)), np.arange(2000) % 100),
        "20,000 points": lambda: clusters(
            rng.normal(size=(20_000, 2)), rng.integers(0, 10, 20_000), title="Many"
        ),
        "clips": lambda: clusters(
            xy[:20], part.label[:20], clips=part.image[:20, :, None].expand(-1, -1, 4, -1, -1)
        ),
    }[case]()
    first = view.picture()
    picture = opened(first)
    seen = show.look.on_ground(np.asarray(picture.convert("RGBA")))
    colours = len(np.unique(seen.reshape(-1, 3), axis=0))
    assert picture.width > 400 and colours > (5 if case in ("nothing", "no value") else 20)
    if case == "labels and images":
        view.by = "hue"
        assert opened(view.picture()) and view.picture() != first


def test_neighbours_draws_its_picture(toys):
    part = toys.validation
    f = part.image.float().mean((2, 3))
    for k, spaces in ((8, {"colour": f}), (24, {"colour": f, "red": f[:, :2], "blue": f[:, 1:]})):
        opened(neighbours(spaces, part.image, part.label, classes=part.classes, k=k, query=3).picture())


def test_views_carry_a_picture_and_no_address(toys):
    xy, labels = cloud(20)
    for view in (clusters(xy, labels, classes=CLASSES), neighbours({"a": xy}, flat(20), labels)):
        made = view._repr_mimebundle_()
        data = made[0] if isinstance(made, tuple) else made
        assert "application/vnd.jupyter.widget-view+json" in data and len(data["image/png"]) > 1000
        assert " at 0x" not in data["text/plain"] and data["text/plain"] == repr(view)
    assert repr(clusters(xy)) == "<cluster explorer of 20 points>"
    assert (
        repr(clusters(xy, labels, columns=kinds(20)))
        == "<cluster explorer of 20 points, coloured by label, cluster, light, size and 2 more>"
    )


# ----------------------------------------------------------------------------- the cluster explorer in a page

ROOT = "document.querySelector('.ssl-clusters')"


def data(page, name: str) -> str:
    return page.evaluate(f"() => {ROOT}.dataset.{name} ?? ''")


def hosted(page, view):
    host_view(page, view)
    page.wait_for_function(
        f"() => +{ROOT}.dataset.draws >= 2"
        + (f" && {ROOT}.dataset.pictures === 'ready'" if view.tiles else "")
    )
    return page.locator(".ssl-clusters canvas.over").bounding_box()


def go(page, box, point, **kwargs):
    page.mouse.move(box["x"] + point[0], box["y"] + point[1], **kwargs)


def click(page, box, point):
    go(page, box, point)
    page.mouse.down()
    page.mouse.up()


def lasso(page, box, corners, key: str | None = None):
    """Drag round a polygon, in pixels of the map."""
    go(page, box, corners[0])
    if key:
        page.keyboard.down(key)
    page.mouse.down()
    for corner in corners[1:]:
        go(page, box, corner, steps=6)
    page.mouse.up()
    if key:
        page.keyboard.up(key)


def saved(page) -> list[int] | None:
    """The selection that the view last sent to Python."""
    found = page.evaluate("""() => { const last = window.saved.filter((d) => d.chosen !== undefined).at(-1);
        return last ? [...new Uint8Array(last.chosen.buffer)] : null }""")
    return None if found is None else np.frombuffer(bytes(found), "<u4").tolist()


def inside(points: np.ndarray, corners) -> list[int]:
    """Which points lie in a polygon, by matplotlib's arithmetic; none may be so near to an edge that a pixel
    decides.
    """
    a, b = np.array(corners, float), np.roll(np.array(corners, float), -1, 0)
    along = np.clip((((points[:, None] - a) * (b - a)).sum(-1) / ((b - a) ** 2).sum(-1)), 0, 1)
    assert np.linalg.norm(points[:, None] - a - along[..., None] * (b - a), axis=-1).min() > 1.0, (
        "another seed: a point lies on the path"
    )
    return np.flatnonzero(Polygon(corners).contains_points(points)).tolist()


def round_cluster(
    points: np.ndarray, labels: np.ndarray, c: int, grow: float = 1.0
) -> list[tuple[float, float]]:
    """A nine-cornered path about the middle of one class that cuts through it where `grow` is small; it
    begins on the map's inner side.
    """
    middle = points[labels == c].mean(0)
    reach = np.linalg.norm(points[labels == c] - middle, axis=1).max() * grow
    begin = math.atan2(MAP / 2 - middle[1], MAP / 2 - middle[0])
    return [
        (float(middle[0] + reach * math.cos(t)), float(middle[1] + reach * math.sin(t)))
        for t in begin + np.arange(9) / 9 * 2 * math.pi
    ]


def tip_colour(page) -> list[int]:
    return page.evaluate(
        "() => [...document.querySelector('.ssl-clusters .tip "
        "canvas').getContext('2d').getImageData(9, 9, "
        "1, 1).data].slice(0, 3)"
    )


def isolated(points: np.ndarray) -> np.ndarray:
    """The points that no other is near to: the pointer on one of them means that one."""
    distance = np.linalg.norm(points[:, None] - points, axis=-1) + 1e9 * np.eye(len(points))
    return np.flatnonzero(distance.min(1) > 4)


@pytest.mark.browser
def test_hover_shows_the_picture_and_what_is_known(blank_page):
    xy, labels = cloud()
    view = clusters(
        xy,
        labels,
        flat(90),
        classes=CLASSES,
        columns=kinds(90),
        predicted=(labels + (np.arange(90) < 45)) % 3,
    )
    box, points = hosted(blank_page, view), pixels_of(view)
    for i in isolated(points)[[0, 5, -1]]:
        go(blank_page, box, points[i] + [2, -1])
        assert data(blank_page, "hover") == str(i)
        text = blank_page.locator(".ssl-clusters .tip").inner_text().split()
        words = dict(zip(text[2::1], text[3::1]))  # keys and values follow each other
        assert text[:2] == ["point", str(i)] and words["label"] == CLASSES[labels[i]]
        assert words["size"] == maps.figure(view.column("size").values[i]) and words["cluster"] == str(
            view.column("cluster").values[i]
        )
        assert ("\u2717" if i < 45 else "\u2713") in text
        assert np.abs(np.array(tip_colour(blank_page)) - flat(90)[i, :, 0, 0].numpy()).max() <= 8, i
        tip = blank_page.locator(".ssl-clusters .tip").bounding_box()
        whole = blank_page.locator(".ssl-clusters").bounding_box()
        assert tip["x"] >= whole["x"] and tip["x"] + tip["width"] <= whole["x"] + whole["width"] + 1
    go(blank_page, box, (MAP + 200, 300))
    assert data(blank_page, "hover") == "" and not blank_page.locator(".ssl-clusters .tip").is_visible()
    assert (
        blank_page.evaluate("() => window.sent") == []
        and blank_page.errors == []
        and blank_page.external == []
    )


@pytest.mark.browser
def test_every_point_is_found_by_the_grid(blank_page):
    """The nearest point within reach, against all distances, at many places of the map and at its edges."""
    xy = np.random.default_rng(5).uniform(-1, 1, (400, 2))
    view = clusters(xy)
    hosted(blank_page, view)
    points = pixels_of(view)
    places = np.concatenate(
        [
            np.random.default_rng(6).uniform(0, MAP, (300, 2)),
            [[0, 0], [MAP - 1, MAP - 1], [0, MAP - 1], [14, 14]],
            points[:50],
        ]
    )
    found = blank_page.evaluate(
        f"""(places) => {{
        const over = document.querySelector('.ssl-clusters canvas.over'), box = over.getBoundingClientRect();
        return places.map(([x, y]) => {{ over.dispatchEvent(new PointerEvent('pointermove', {{
            clientX: box.left + x, clientY: box.top + y }}));
            return {ROOT}.dataset.hover === '' ? -1 : +{ROOT}.dataset.hover; }}); }}""",
        places.tolist(),
    )
    distance = np.linalg.norm(np.floor(places * 64)[:, None] / 64 - points, axis=-1)
    for place, i, d in zip(places, found, distance):
        best = d.min()
        if abs(best - 14) > 0.05:
            assert (i >= 0) == (best < 14), place
        if i >= 0:
            assert d[i] <= best + 0.05, place
    assert sum(i >= 0 for i in found) > 200 and -1 in found


@pytest.mark.browser
def test_a_click_pins_and_another_lets_go(blank_page):
    xy, labels = cloud()
    view = clusters(xy, labels, flat(90), classes=CLASSES)
    box, points = hosted(blank_page, view), pixels_of(view)
    a, b, c = isolated(points)[[1, 4, 8]].tolist()
    for i in (a, b, c):
        click(blank_page, box, points[i])
    assert (
        data(blank_page, "pins") == f"{a},{b},{c}" and blank_page.locator(".ssl-clusters .pin").count() == 3
    )
    assert (
        f"point {b}" in blank_page.locator(".pin").nth(1).inner_text()
        and CLASSES[labels[b]] in blank_page.locator(".pin").nth(1).inner_text()
    )
    colour = blank_page.evaluate(
        "() => [...document.querySelectorAll('.pin canvas')[1].getContext('2d').getImageData(9, 9, 1, "
        "1).data].slice(0, 3)"
    )
    assert np.abs(np.array(colour) - flat(90)[b, :, 0, 0].numpy()).max() <= 8
    click(blank_page, box, points[b])
    assert data(blank_page, "pins") == f"{a},{c}"
    blank_page.locator(".pin button[data-act=remove]").first.focus()
    blank_page.keyboard.press("Enter")
    assert data(blank_page, "pins") == str(c)
    assert blank_page.evaluate(f"() => document.activeElement === {ROOT}")  # the keys go on from the map
    for i in isolated(points)[10:25].tolist():
        click(blank_page, box, points[i])
    assert blank_page.locator(".ssl-clusters .pin").count() == 12  # the oldest made room
    assert data(blank_page, "selected") == "0" and blank_page.errors == []


@pytest.mark.browser
@pytest.mark.parametrize(("n", "seed"), [(90, 0), (5000, 1)])
def test_the_lasso_catches_what_lies_in_the_polygon(blank_page, n, seed):
    rng = np.random.default_rng(seed)
    if n == 90:
        xy, labels = cloud(n, seed)
        view = clusters(xy, labels, classes=CLASSES)
        points = pixels_of(view)
        path, other = round_cluster(points, labels, 1, 1.12), round_cluster(points, labels, 2, 0.63)
        assert inside(points, path) == np.flatnonzero(labels == 1).tolist()
    # a dense cloud, a bent path that no convex hull would give; points near the path are left out beforehand
    else:
        path = [(100, 100), (380, 120), (390, 300), (250, 180), (230, 390), (80, 350)]
        other = [(200, 60), (300, 60), (300, 420), (200, 420)]
        spots = np.concatenate(
            [[[EDGE, EDGE], [MAP - EDGE, MAP - EDGE]], rng.uniform(EDGE, MAP - EDGE, (9000, 2))]
        )

        def apart(p, corners):
            a, b = np.array(corners, float), np.roll(np.array(corners, float), -1, 0)
            along = np.clip((((p[:, None] - a) * (b - a)).sum(-1) / ((b - a) ** 2).sum(-1)), 0, 1)
            return np.linalg.norm(p[:, None] - a - along[..., None] * (b - a), axis=-1).min(1) > 2

        spots = spots[apart(spots, path) & apart(spots, other)][:n]
        view = clusters(np.stack([spots[:, 0], -spots[:, 1]], 1), np.arange(n) % 3, classes=CLASSES)
        points = pixels_of(view)
        assert np.abs(points - spots).max() < 0.02
    box = hosted(blank_page, view)
    first, second = inside(points, path), inside(points, other)
    assert 5 < len(first) < n and 5 < len(second) < n
    lasso(blank_page, box, path)
    assert saved(blank_page) == first and data(blank_page, "selected") == str(len(first))
    lasso(blank_page, box, other, "Shift")
    assert saved(blank_page) == sorted({*first, *second})
    lasso(blank_page, box, path, "Alt")
    assert saved(blank_page) == sorted({*second} - {*first})
    lasso(blank_page, box, path[::-1])  # round the other way, and in place of what was selected
    assert saved(blank_page) == first
    blank_page.locator("select.mode").select_option("removes")  # without a key, as on a touch screen
    lasso(blank_page, box, other)
    assert saved(blank_page) == sorted({*first} - {*second})
    blank_page.locator("select.mode").select_option("selects")
    blank_page.locator(".ssl-clusters").focus()
    blank_page.keyboard.press("Escape")
    assert saved(blank_page) == [] and data(blank_page, "selected") == "0"
    assert blank_page.evaluate("() => window.sent") == [] and blank_page.errors == []


@pytest.mark.browser
def test_a_lasso_shows_what_it_holds_and_escape_drops_it(blank_page):
    xy, labels = cloud()
    view = clusters(xy, labels, classes=CLASSES)
    box, points = hosted(blank_page, view), pixels_of(view)
    view.selected = [2]
    path = round_cluster(points, labels, 0, 1.12)
    go(blank_page, box, path[0])
    blank_page.mouse.down()
    for corner in path[1:]:
        go(blank_page, box, corner, steps=3)
    assert blank_page.locator(".told").inner_text() == "30 of 90 selected: sphere 100 %"  # while it is drawn
    middle = "document.querySelectorAll('.ssl-clusters .map canvas')[1]"
    faded = blank_page.evaluate(f"() => [...{middle}.getContext('2d').getImageData(240, 240, 1, 1).data]")
    assert faded[:3] == [255, 255, 255] and 180 < faded[3] < 230  # a veil over those that are not in it
    blank_page.keyboard.press("Escape")
    blank_page.mouse.up()
    assert saved(blank_page) is None and data(blank_page, "selected") == "0"
    assert blank_page.evaluate(f"() => {middle}.getContext('2d').getImageData(240, 240, 1, 1).data[3]") == 0


@pytest.mark.browser
def test_the_legend_selects_a_category(blank_page):
    xy, labels = cloud()
    labels[:6] = -1
    view = clusters(xy, labels, classes=CLASSES)
    hosted(blank_page, view)
    entries = blank_page.locator(".legend button")
    assert [t.split("\n")[0] for t in entries.all_inner_texts()] == [*CLASSES, "unknown"]
    entries.nth(1).click()
    cubes = np.flatnonzero(labels == 1).tolist()
    assert saved(blank_page) == cubes and entries.nth(1).get_attribute("aria-pressed") == "true"
    assert blank_page.locator(".told").inner_text() == f"{len(cubes)} of 90 selected: cube 100 %"
    entries.nth(2).focus()
    blank_page.keyboard.down("Shift")  # and from the keyboard, added
    blank_page.keyboard.press("Enter")
    blank_page.keyboard.up("Shift")
    both = sorted([*cubes, *np.flatnonzero(labels == 2).tolist()])
    assert saved(blank_page) == both and entries.nth(1).get_attribute("aria-pressed") == "false"
    entries.nth(1).click(modifiers=["Alt"])
    assert saved(blank_page) == np.flatnonzero(labels == 2).tolist()
    entries.nth(2).click()  # pressed again: let go
    assert saved(blank_page) == []
    entries.nth(3).click()
    assert (
        saved(blank_page) == [0, 1, 2, 3, 4, 5]
        and "unknown 100 %" in blank_page.locator(".told").inner_text()
    )
    blank_page.locator("button.clear").click()
    assert saved(blank_page) == [] and blank_page.locator("button.clear").is_disabled()


@pytest.mark.browser
def test_every_kind_of_column_colours_anew_and_is_told(blank_page):
    xy, labels = cloud()
    rng = np.random.default_rng(2)
    columns = {
        **kinds(90),
        "holes": np.where(rng.random(90) < 0.2, np.nan, rng.normal(size=90)),
        "same": np.full(90, 2.5),
        "many": np.arange(90),
    }
    view = clusters(xy, labels, classes=CLASSES, columns=columns, predicted=rng.integers(0, 3, 90))
    view.selected = np.flatnonzero(labels != 1)[::2]
    hosted(blank_page, view)
    base = "document.querySelector('.ssl-clusters .map canvas').toDataURL()"
    seen = {}
    for about in view.about["columns"]:
        name = about["name"]
        blank_page.locator("select.by").select_option(name)
        assert data(blank_page, "by") == name
        seen[name] = blank_page.evaluate(f"() => {base}")
        assert blank_page.locator(".told").inner_text() == view.describe(name), name
        scale = blank_page.locator(".legend canvas.scale")
        assert scale.count() == (0 if about["kind"] == "category" else 1), name
        if about["kind"] == "angle":
            assert "\u03c0/2" in scale.get_attribute("aria-label")
        if about["kind"] == "number":
            ticks = [float(t) for t in scale.get_attribute("aria-label").split("marks at ")[1].split(", ")]
            assert ticks and all(about["low"] - 1e-6 <= t <= about["high"] + 1e-6 for t in ticks), name
        assert blank_page.evaluate("() => window.saved.at(-1).by") == name
    assert len(set(seen.values())) == len(seen)
    blank_page.evaluate("() => window.model.set('by', 'label')")  # Python may colour, too
    assert data(blank_page, "by") == "label" and blank_page.evaluate(f"() => {base}") == seen["label"]
    assert blank_page.locator("select.by").input_value() == "label" and blank_page.errors == []


@pytest.mark.browser
def test_points_have_the_colour_that_the_scale_says(blank_page):
    xy = np.array([[x, y] for y in range(2) for x in range(4)], float)
    columns = {
        "turn": (np.array([0, 0.25, 0.5, 0.99, 1.0, -0.5, 1.25, np.nan]), 1.0),
        "size": np.array([2, 2.5, 3, 4, 10, np.nan, 5.99, 6.01]),
        "shape": (np.array([0, 1, 2, -1, 9, 10, 11, 3]), tuple("abcdefghijkl")),
    }
    view = clusters(xy, columns=columns)
    hosted(blank_page, view)
    points, scales = pixels_of(view), view.about["scales"]
    assert len(set(scales["number"])) == len(scales["number"]) == 64
    expected = {
        "turn": [scales["angle"][i] for i in (0, 16, 32, 63, 0, 32, 16)] + ["#b8c0c8"],
        "size": [scales["number"][i] for i in (0, 4, 8, 16, 63)]
        + ["#b8c0c8"]
        + [scales["number"][i] for i in (31, 32)],
        "shape": [show.COLOURS[i] for i in (0, 1, 2)] + ["#b8c0c8"] + [show.COLOURS[i] for i in (9, 0, 1, 3)],
    }
    for name, colours in expected.items():
        blank_page.locator("select.by").select_option(name)
        drawn = blank_page.evaluate(
            """(points) => {
            const ctx = document.querySelector('.ssl-clusters .map canvas').getContext('2d');
            return points.map(([x, y]) => [...ctx.getImageData(x, y, 1, 1).data].slice(0, 3)); }""",
            np.round(points).tolist(),
        )
        for i, (pixel, colour) in enumerate(zip(drawn, colours)):
            ink = (
                0.85 * np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) + 0.15 * 255
            )  # a little of the white ground shows through
            assert np.abs(np.array(pixel) - ink).max() <= 3, (name, i)


@pytest.mark.browser
@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.8, 0.2)])
def test_no_class_covers_the_others_where_points_are_dense(blank_page, shares):
    rng = np.random.default_rng(0)
    n = 4000
    labels = rng.choice(2, n, p=shares)
    xy = np.concatenate(
        [[[-9.0, -9], [9, 9]], rng.uniform(-2, 2, (n - 2, 2))]
    )  # some twenty points over each pixel
    view = clusters(xy, labels)
    hosted(blank_page, view)
    middle = MAP // 2
    seen = blank_page.evaluate(f"""() => [...document.querySelector('.ssl-clusters .map canvas')
        .getContext('2d')
        .getImageData({middle - 40}, {middle - 40}, 80, 80).data]""")
    pixels = np.array(seen).reshape(-1, 4)[:, :3]
    inks = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in show.COLOURS[:2]])
    nearest = np.linalg.norm(pixels[:, None] - inks, axis=-1).argmin(1)
    assert abs((nearest == 0).mean() - shares[0]) < 0.12, (nearest == 0).mean()


@pytest.mark.browser
def test_a_selection_from_python_is_shown(blank_page):
    xy, labels = cloud()
    view = clusters(xy, labels, classes=CLASSES)
    hosted(blank_page, view)
    view.selected = labels == 0
    blank_page.evaluate(
        "(b) => window.model.set('chosen', new DataView(Uint8Array.from(b).buffer))", list(view.chosen)
    )
    assert (
        data(blank_page, "selected") == "30" and blank_page.locator(".told").inner_text() == view.describe()
    )
    blank_page.evaluate("() => window.model.set('failed', 'KeyError in on_select: 3')")
    assert blank_page.locator(".trouble").inner_text() == "KeyError in on_select: 3"


@pytest.mark.browser
def test_keys_walk_pin_and_select(blank_page):
    xy = np.array(
        [[x, y] for y in range(5) for x in range(5)], float
    )  # a square lattice, row by row from below
    view = clusters(xy, np.arange(25) % 3, flat(25), classes=CLASSES)
    hosted(blank_page, view)
    blank_page.locator(".ssl-clusters").focus()
    for key, at in (
        ("ArrowRight", 12),
        ("ArrowRight", 13),
        ("ArrowRight", 14),
        ("ArrowRight", 14),
        ("ArrowUp", 19),
        ("ArrowLeft", 18),
        ("ArrowDown", 13),
        ("ArrowDown", 8),
        ("ArrowDown", 3),
        ("ArrowDown", 3),
    ):
        blank_page.keyboard.press(key)
        assert data(blank_page, "hover") == str(at), key
    assert blank_page.locator(".ssl-clusters .tip").is_visible()
    blank_page.keyboard.press("Enter")
    assert data(blank_page, "pins") == "3"
    blank_page.keyboard.press(" ")
    blank_page.keyboard.press("ArrowUp")
    blank_page.keyboard.press(" ")
    assert saved(blank_page) == [3, 8]
    blank_page.keyboard.press(" ")
    assert saved(blank_page) == [3]
    blank_page.keyboard.press("ArrowDown")
    blank_page.keyboard.press("Enter")
    assert data(blank_page, "pins") == ""
    blank_page.keyboard.press("Escape")
    assert saved(blank_page) == []
    blank_page.evaluate("() => window.cleanup()")
    hosted(
        blank_page, clusters([[0, 0], [1.0, 8], [-9, -2], [-8, 5]])
    )  # a point far to the side is not "to the right"
    blank_page.locator(".ssl-clusters").focus()
    for key, at in (
        ("ArrowUp", 3),
        ("ArrowDown", 2),
        ("ArrowRight", 0),
        ("ArrowRight", 0),
        ("ArrowUp", 1),
        ("ArrowLeft", 3),
        ("ArrowRight", 1),
    ):
        blank_page.keyboard.press(key)
        assert data(blank_page, "hover") == str(at), key
    blank_page.keyboard.press("Tab")  # out of the map, to the choices: nothing is held back
    assert blank_page.evaluate("() => document.activeElement.className") == "mode"


@pytest.mark.browser
def test_a_click_plays_the_sound_of_the_point(blank_page):
    xy, labels = cloud(30)
    t = np.arange(8000) / 16000
    waves = np.where(np.arange(30)[:, None] % 2, 0.5 * np.sin(2 * math.pi * 440 * t), 0.0)
    view = clusters(xy, labels, flat(30), audio=waves, rate=16000)
    box, points = hosted(blank_page, view), pixels_of(view)
    loud = next(i for i in isolated(points) if i % 2)
    silent = next(i for i in isolated(points) if not i % 2)
    go(blank_page, box, points[loud])
    blank_page.wait_for_timeout(200)
    assert data(blank_page, "rms") == "" and data(blank_page, "sound") == ""  # hovering is silent
    click(blank_page, box, points[loud])
    blank_page.wait_for_function(f"() => +{ROOT}.dataset.rms > 0.3", timeout=8000)
    assert float(data(blank_page, "rms")) < 0.4  # 0.5 / sqrt(2)
    blank_page.wait_for_function(f"() => {ROOT}.dataset.sound === 'ended'", timeout=8000)
    click(blank_page, box, points[silent])
    blank_page.wait_for_function(
        f"() => {ROOT}.dataset.sound === 'plays' && {ROOT}.dataset.rms !== undefined", timeout=8000
    )
    blank_page.wait_for_function(f"() => {ROOT}.dataset.sound === 'ended'", timeout=8000)
    assert float(data(blank_page, "rms")) < 0.001
    blank_page.locator(".pin button[data-act=play]").first.click()  # the pin plays it again
    blank_page.wait_for_function(f"() => +{ROOT}.dataset.rms > 0.3", timeout=8000)
    assert blank_page.evaluate("() => window.sent") == [] and blank_page.errors == []


@pytest.mark.browser
def test_a_sound_that_only_python_has_is_asked_for(blank_page):
    xy, labels = cloud(30)
    view = clusters(xy, labels, audio=lambda i: np.sin(np.arange(8000) / 5), rate=16000)
    box, points = hosted(blank_page, view), pixels_of(view)
    a, b = isolated(points)[:2].tolist()
    click(blank_page, box, points[a])
    assert blank_page.evaluate("() => window.sent") == [{"sound": a}] and data(blank_page, "sound") == "asked"
    blank_page.wait_for_function(f"() => {ROOT}.dataset.sound === 'unanswered'", timeout=10_000)
    assert "No kernel has answered" in blank_page.locator(".news").inner_text()
    click(blank_page, box, points[b])
    answer = """([i, n]) => { const wave = Int16Array.from({ length: n }, (_, k) => 16000 * Math.sin(k / 5));
        for (const f of window.listeners.get('msg:custom')) f({ sound: i, rate: 16000 },
            [new DataView(wave.buffer)]); }"""
    blank_page.evaluate(answer, [a, 8000])  # too late: by now the other was clicked
    assert data(blank_page, "sound") == "asked"
    blank_page.evaluate(answer, [b, 8000])
    blank_page.wait_for_function(f"() => +{ROOT}.dataset.rms > 0.3", timeout=8000)
    blank_page.evaluate(
        "() => { window.model.alone = true }"
    )  # a page that knows that no kernel will ever answer
    blank_page.locator(".pin button[data-act=play]").first.click()
    assert data(blank_page, "sound") == "absent" and len(blank_page.evaluate("() => window.sent")) == 2
    blank_page.evaluate("() => { window.model.alone = false }")
    blank_page.locator(".pin button[data-act=play]").first.click()
    blank_page.evaluate(
        (
            "([i]) => { for (const f of window.listeners.get('msg:custom')) f({ sound: i, failed: "
            "'ValueError: "
            "gone' }, []); }"
        ),
        [a],
    )
    assert "ValueError: gone" in blank_page.locator(".news").inner_text() and blank_page.errors == []


@pytest.mark.browser
def test_a_browser_without_sound_says_so(blank_page):
    xy, labels = cloud(30)
    view = clusters(xy, labels, clips=films(), audio=np.full((30, 2000), 0.1), rate=8000)
    box, points = hosted(blank_page, view), pixels_of(view)
    a, b = isolated(points)[:2].tolist()
    blank_page.evaluate(
        "() => { window.Real = AudioContext; window.AudioContext = class { constructor() { throw new "
        "Error('no device') } } }"
    )
    click(blank_page, box, points[a])
    assert (
        data(blank_page, "sound") == "mute"
        and "plays no sound (no device)" in blank_page.locator(".news").inner_text()
    )
    blank_page.evaluate("""() => { Object.defineProperty(window.Real.prototype.__proto__, 'currentTime', {
        get: () => 0 });
        window.AudioContext = window.Real }""")
    click(blank_page, box, points[b])
    assert data(blank_page, "sound") == "plays"
    blank_page.wait_for_function(f"() => {ROOT}.dataset.sound === 'mute'", timeout=8000)
    assert "clock stands still" in blank_page.locator(".news").inner_text() and blank_page.errors == []


def films(n: int = 30, frames: int = 6) -> torch.Tensor:
    """Clips whose green tells the frame."""
    clips = torch.zeros(n, 3, frames, 16, 16)
    clips[:, 1] = (torch.arange(frames) / (frames - 1)).view(1, frames, 1, 1)
    return clips


@pytest.mark.browser
def test_a_clip_plays_at_the_pointer_and_with_its_sound_when_pinned(blank_page):
    xy, labels = cloud(30)
    t = np.arange(16000) / 16000
    view = clusters(
        xy, labels, clips=films(), audio=np.tile(0.5 * np.sin(2 * math.pi * 440 * t), (30, 1)), rate=16000
    )
    box, points = hosted(blank_page, view), pixels_of(view)
    a = int(isolated(points)[0])
    go(blank_page, box, points[a])
    seen = set()
    for _ in range(60):
        frame, colour = blank_page.evaluate(f"""() => [{ROOT}.dataset.frame,
            document.querySelector('.ssl-clusters .tip canvas')
                .getContext('2d').getImageData(8, 8, 1, 1).data[1]]""")
        assert abs(colour - 255 * int(frame) / 5) < 12  # the frame that is told is the frame that is seen
        seen.add(frame)
        blank_page.wait_for_timeout(40)
    assert seen == set("012345")
    assert data(blank_page, "rms") == ""  # silently
    go(blank_page, box, (MAP - 3, MAP - 3))
    blank_page.wait_for_timeout(300)
    assert data(blank_page, "frame") == ""
    click(blank_page, box, points[a])
    pinned = "document.querySelector('.pin canvas').getContext('2d').getImageData(8, 8, 1, 1).data[1]"
    blank_page.evaluate(f"""() => {{ window.shown = [];
        const look = () => {{ window.shown.push({pinned});
            if ({ROOT}.dataset.sound === 'plays') requestAnimationFrame(look); }};
        look(); }}""")
    blank_page.wait_for_function(f"() => {ROOT}.dataset.sound === 'ended'", timeout=8000)
    order = [round(v / 51) for v in blank_page.evaluate("() => window.shown")]
    while order[-1] == 3:
        order.pop()  # what it rests on, its middle frame
    assert order == sorted(order) and set(order) == {0, 1, 2, 3, 4, 5}  # once, forwards
    assert round(blank_page.evaluate(f"() => {pinned}") / 51) == 3
    assert float(data(blank_page, "rms")) > 0.3 and blank_page.errors == []


@pytest.mark.browser
def test_clips_without_sound_play_when_pinned(blank_page):
    xy, labels = cloud(30)
    view = clusters(xy, labels, clips=films())
    box, points = hosted(blank_page, view), pixels_of(view)
    click(blank_page, box, points[int(isolated(points)[0])])
    pinned = "document.querySelector('.pin canvas').getContext('2d').getImageData(8, 8, 1, 1).data[1]"
    blank_page.wait_for_function(f"() => {pinned} > 240", timeout=5000)
    blank_page.wait_for_function(f"() => Math.abs({pinned} - 153) < 10", timeout=5000)
    assert blank_page.evaluate("() => window.sent") == [] and blank_page.errors == []


@pytest.mark.browser
def test_the_clean_up_leaves_nothing(blank_page):
    xy, labels = cloud(30)
    view = clusters(xy, labels, clips=films(), audio=np.full((30, 16000), 0.1), columns=kinds(30))
    box, points = hosted(blank_page, view), pixels_of(view)
    click(blank_page, box, points[int(isolated(points)[0])])  # a clip and a sound play, a pin stands
    blank_page.locator("select.by").select_option("light")
    go(blank_page, box, points[int(isolated(points)[1])])
    assert blank_page.evaluate("() => window.alive") > 0
    blank_page.evaluate("() => window.cleanup()")
    assert blank_page.evaluate("() => window.alive") == 0
    assert blank_page.evaluate("() => [...window.listeners.values()].reduce((n, s) => n + s.size, 0)") == 0
    assert blank_page.evaluate("() => window.el.childElementCount") == 0
    blank_page.wait_for_timeout(700)
    host_view(blank_page, neighbours({"a": xy}, flat(30), labels))
    blank_page.evaluate("() => window.cleanup()")  # also before its pictures are there
    assert (
        blank_page.evaluate("() => window.alive") == 0
        and blank_page.evaluate("() => window.el.childElementCount") == 0
    )
    blank_page.wait_for_timeout(300)
    assert blank_page.errors == []


@pytest.mark.browser
def test_little_is_enough(blank_page):
    for view in (
        clusters([[0.0, 0.0]]),
        clusters(np.zeros((3, 2)), [-1, -1, -1]),
        clusters(XY, columns={"x": np.full(12, np.nan)}),
    ):
        host_view(blank_page, view)
        blank_page.locator(".ssl-clusters").focus()
        for key in ("ArrowRight", " ", "Enter", "Escape"):
            blank_page.keyboard.press(key)
        blank_page.evaluate("() => window.cleanup()")
    assert blank_page.errors == []


TIMED = """async ([kind, places, names]) => {
  const canvases = [...document.querySelectorAll('.ssl-clusters .map canvas')], over = canvases[2],
      box = over.getBoundingClientRect();
  const frame = () => new Promise((r) => requestAnimationFrame(r)),
      rest = (ms) => new Promise((r) => setTimeout(r, ms));
  const chooser = document.querySelector('.ssl-clusters select.by'), watched = { hover: [2], lasso: [1, 2],
      recolour: [0] }[kind];
  const pixels = () => { // a readback of the layers that should change
    let h = 0;
    for (const layer of watched) {
      const { data } = canvases[layer].getContext('2d').getImageData(0, 0, over.width, over.height);
      for (const v of new Uint32Array(data.buffer)) h = (Math.imul(h, 31) + v) | 0; }
    return h; };
  const total = [], script = []; let unchanged = 0;
  for (let k = 0; k < places.length; k++) {
    const before = pixels();
    await rest(20 + (7 * k) % 17); // at no fixed phase of the screen's clock
    const [x, y] = places[k], begun = performance.now();
    if (kind === 'recolour') { chooser.value = names[k % names.length];
        chooser.dispatchEvent(new Event('change')); }
    else over.dispatchEvent(new PointerEvent('pointermove', { pointerId: 1, clientX: box.left + x,
        clientY: box.top + y, bubbles: true }));
    script.push(performance.now() - begun);
    // The frame that shows it begins, and is done when the next one does. A frame's own time can lie before
    // its callback: the later one counts.
    await frame();
    const next = await frame();
    total.push(Math.max(next, performance.now()) - begun);
    if (pixels() === before) unchanged++;
  }
  return { total, script, unchanged }; }"""


@pytest.mark.browser
def test_pointer_to_pixels_at_five_thousand_points(blank_page):
    """From the event to the beginning of the frame after the one that shows its effect; run with -s to see
    the figures.
    """
    n, moves = 5000, 24
    rng = np.random.default_rng(0)
    view = clusters(
        rng.normal(size=(n, 2)),
        np.arange(n) % 10,
        flat(n, 16),
        columns=kinds(n),
        predicted=rng.integers(0, 10, n),
    )
    box, points = hosted(blank_page, view), pixels_of(view)
    near = np.flatnonzero((np.abs(points - MAP / 2) < 150).all(1))
    circle = [
        (MAP / 2 + 150 * math.cos(t), MAP / 2 + 150 * math.sin(t)) for t in np.linspace(0.3, 5.5, moves)
    ]
    print()
    for kind, places in (
        ("hover", points[near[:: len(near) // moves][:moves]].tolist()),
        ("lasso", circle),
        ("recolour", circle),
    ):
        if kind == "lasso":
            go(blank_page, box, (MAP / 2 + 150, MAP / 2))
            blank_page.mouse.down()
            go(blank_page, box, (MAP / 2 + 150, MAP / 2 + 20), steps=4)
        found = blank_page.evaluate(TIMED, [kind, places, ["light", "size", "correct", "label", "pattern"]])
        if kind == "lasso":
            blank_page.mouse.up()
            assert 500 < int(data(blank_page, "selected")) < n
        total, script = np.array(found["total"]), np.array(found["script"])
        print(
            f"{kind:9s} at {n:,} points, {len(total)} events: pointer to pixels median "
            f"{np.median(total):.1f} ms, worst {total.max():.1f} ms; "
            f"script alone median {np.median(script):.1f} ms, worst {script.max():.1f} ms"
        )
        assert len(total) >= 20 and found["unchanged"] == 0, found["unchanged"]
        assert np.median(total) < 50, kind
    assert blank_page.errors == []


# ---------------------------------------------------------------------------- the neighbour browser in a page

BROWSER = "document.querySelector('.ssl-neighbours')"


def told(page, name: str) -> str:
    return page.evaluate(f"() => {BROWSER}.dataset.{name} ?? ''")


def browsed(page, view):
    host_view(page, view)
    page.wait_for_function(f"() => {BROWSER}.dataset.pictures === 'ready'")


def pair(n: int = 90):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    return neighbours(
        {"trained": rng.normal(size=(n, 8)) + 3 * np.eye(8)[labels], "random": rng.normal(size=(n, 8))},
        flat(n),
        labels,
        classes=CLASSES,
        k=6,
        query=4,
        title="Two encoders",
    ), labels


@pytest.mark.browser
def test_neighbours_are_shown_marked_and_counted(blank_page):
    view, labels = pair()
    browsed(blank_page, view)
    for e, (name, found) in enumerate(view.indices.items()):
        block = blank_page.locator(".ssl-neighbours .block").nth(e)
        same = labels[found[4]] == labels[4]
        assert block.locator("b").inner_text() == name
        assert block.locator(".hits").inner_text() == f"{int(same.sum())} of 6 share the class"
        assert (
            f"precision@6 {view.precision[name]:.2f}, by chance {view.chance:.2f}"
            in block.locator(".mean").inner_text()
        )
        for j, i in enumerate(found[4]):
            near = block.locator(".near").nth(j)
            assert (
                near.get_attribute("data-i") == str(i)
                and near.locator(".name").inner_text() == CLASSES[labels[i]]
            )
            assert near.locator(".sign").inner_text() == ("\u2713" if same[j] else "\u2717")
            assert ("right" if same[j] else "wrong") in near.get_attribute("class").split()
            assert near.locator(".cosine").inner_text() == f"{view.similarities[name][4, j]:.3f}"
            colour = near.locator("canvas").evaluate(
                "(c) => [...c.getContext('2d').getImageData(9, 9, 1, 1).data].slice(0, 3)"
            )
            assert np.abs(np.array(colour) - flat(90)[i, :, 0, 0].numpy()).max() <= 8, (name, j)
    both = len({*view.indices["trained"][4]} & {*view.indices["random"][4]})
    assert (
        f"{both} of 6 neighbours are the same under both encoders"
        in blank_page.locator(".asked").inner_text()
    )


@pytest.mark.browser
def test_a_neighbour_becomes_the_query_and_back(blank_page):
    view, _ = pair()
    browsed(blank_page, view)
    way = [4]
    for e, j in ((0, 2), (1, 5), (0, 0)):
        blank_page.locator(".block").nth(e).locator(".near").nth(j).click()
        way.append(int(list(view.indices.values())[e][way[-1], j]))
        assert (
            told(blank_page, "query") == str(way[-1])
            and blank_page.evaluate("() => window.saved.at(-1).query") == way[-1]
        )
        assert f"image {way[-1]}: " in blank_page.locator(".asked .name").inner_text()
    for at in way[-2::-1]:
        blank_page.locator("button.back").click()
        assert told(blank_page, "query") == str(at)
    assert blank_page.locator("button.back").is_disabled() and told(blank_page, "history") == "0"
    blank_page.evaluate("() => window.model.set('query', 11)")  # Python may ask, too
    assert told(blank_page, "query") == "11"
    blank_page.locator("button.back").click()
    assert (
        told(blank_page, "query") == "4"
        and blank_page.evaluate("() => window.sent") == []
        and blank_page.errors == []
    )


@pytest.mark.browser
def test_the_sheet_answers_clicks_keys_and_the_choice_of_a_class(blank_page):
    view, labels = pair()
    browsed(blank_page, view)
    box = blank_page.locator(".ssl-neighbours .thumbs").bounding_box()
    pitch, across = 36, 6  # 32-pixel tiles, 4 pixels apart
    blank_page.mouse.click(box["x"] + 4 + 2 * pitch + 10, box["y"] + 4 + 3 * pitch + 10)
    assert told(blank_page, "query") == str(3 * across + 2)
    sheet_box = blank_page.locator(".ssl-neighbours .window")
    assert "image 20" in blank_page.locator(".pointed").inner_text()
    for key, at in (
        ("ArrowRight", 21),
        ("ArrowDown", 27),
        ("ArrowLeft", 26),
        ("ArrowUp", 20),
        ("End", 89),
        ("ArrowRight", 89),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("PageDown", 66),
    ):
        sheet_box.press(key)
        assert told(blank_page, "cursor") == str(at), key
    assert told(blank_page, "query") == "20"
    sheet_box.press("Enter")
    assert told(blank_page, "query") == "66"
    seen = blank_page.evaluate("() => document.querySelector('.ssl-neighbours .thumbs').toDataURL()")
    blank_page.locator("select.only").select_option("cone")
    assert (
        told(blank_page, "shown") == "30"
        and blank_page.evaluate("() => document.querySelector('.ssl-neighbours .thumbs').toDataURL()") != seen
    )
    sheet_box.press("Home")
    sheet_box.press("ArrowRight")
    sheet_box.press("Enter")
    assert told(blank_page, "query") == str(np.flatnonzero(labels == 2)[1])


@pytest.mark.browser
def test_a_long_sheet_scrolls_to_every_image(blank_page):
    n = 2000
    rng = np.random.default_rng(0)
    view = neighbours({"a": rng.normal(size=(n, 4))}, flat(n, 16), np.arange(n) % 10, query=1999)
    browsed(blank_page, view)
    window = blank_page.locator(".ssl-neighbours .window")
    assert window.evaluate("(w) => w.scrollTop") > 5000  # the query is in sight
    height = blank_page.locator(".ssl-neighbours .thumbs").bounding_box()["height"]
    assert height < 460  # one window is drawn, not all of it
    before = blank_page.evaluate("() => document.querySelector('.ssl-neighbours .thumbs').toDataURL()")
    window.evaluate("(w) => { w.scrollTop = 3000 }")
    blank_page.wait_for_function(
        "(b) => document.querySelector('.ssl-neighbours .thumbs').toDataURL() !== b", arg=before
    )
    box = blank_page.locator(".ssl-neighbours .window").bounding_box()
    blank_page.mouse.click(box["x"] + 20, box["y"] + 200)
    pitch, across = 36, 6
    assert told(blank_page, "query") == str(int((3000 + 199 - 2) // pitch * across))
    colour = blank_page.evaluate(
        "() => [...document.querySelector('canvas.query').getContext('2d').getImageData(5, 5, 1, "
        "1).data].slice(0, 3)"
    )
    assert np.abs(np.array(colour) - flat(n, 16)[int(told(blank_page, "query")), :, 0, 0].numpy()).max() <= 8
    assert blank_page.errors == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 700])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_runs_out_of_the_view(blank_page, toys, width, dark, tmp_path):
    blank_page.set_viewport_size({"width": width, "height": 900})
    blank_page.evaluate(
        """(dark) => { document.documentElement.style.colorScheme = dark ? 'dark' : 'light';
        document.body.style.background = dark ? '#111' : '#fff' }""",
        dark,
    )
    part = toys.train
    f = part.image.float().mean((2, 3))
    rng = np.random.default_rng(0)
    view = clusters(
        f[:, :2],
        part.label,
        part.image,
        classes=part.classes,
        predicted=rng.integers(0, 10, len(part)),
        title="Mean colour",
        columns=[{"cluster": rng.integers(0, 60, len(part))}, part],
    )
    view.selected = np.arange(0, 512, 5)
    box, points = hosted(blank_page, view), pixels_of(view)
    for i in isolated(points)[[3, 9]].tolist():
        click(blank_page, box, points[i])
    name = f"{'dark' if dark else 'light'}-{width}"
    for by in ("label", "hue", "size", "correct", "cluster"):
        blank_page.locator("select.by").select_option(by)
        go(blank_page, box, points[int(isolated(points)[-1])])
        keep(blank_page, tmp_path / f"clusters-{by}-{name}.png")
        assert spills(blank_page, ".ssl-clusters") == []
    blank_page.evaluate("() => window.cleanup()")
    spaces = {"colour": f, "red and green": f[:, :2], "green and blue": f[:, 1:]}
    browsed(blank_page, neighbours(spaces, part.image, part.label, classes=part.classes, k=8, query=7))
    keep(blank_page, tmp_path / f"neighbours-{name}.png")
    assert spills(blank_page, ".ssl-neighbours") == [] and blank_page.errors == []


def spills(page, root: str) -> list[str]:
    """What stands outside of the view's own box, or beyond the page."""
    return page.evaluate(
        """(root) => { const whole = document.querySelector(root), box = whole.getBoundingClientRect();
        return [...whole.querySelectorAll('*')].filter((e) => !e.matches('style, option')
                && !e.closest('.legend, .window, .pin .values'))
            .filter((e) => { const b = e.getBoundingClientRect();
                return b.width && (b.right > box.right + 1 || b.left < box.left - 1
                    || b.right > document.documentElement.clientWidth); })
            .map((e) => e.tagName + '.' + e.className); }""",
        root,
    )


@pytest.mark.browser
@pytest.mark.parametrize("samples", [4000, 200_000])
def test_pages_without_a_kernel_answer_alike(tmp_path, samples):
    xy, labels = cloud(30)
    view = clusters(
        xy, labels, flat(30), classes=CLASSES, audio=lambda i: np.sin(np.arange(samples) / 5), rate=16000
    )
    near = neighbours({"a": xy, "b": xy[:, :1] + [0, 9.0]}, flat(30), labels, classes=CLASSES, k=3)
    points, (first, second) = (
        pixels_of(view),
        (v.page(tmp_path / f"{n}.html") for n, v in (("map", view), ("near", near))),
    )
    with browser_page((tmp_path.as_uri(),)) as page:
        page.goto(first.as_uri())
        page.wait_for_function(f"() => {ROOT}?.dataset.pictures === 'ready'")
        box = page.locator(".ssl-clusters canvas.over").bounding_box()
        path = round_cluster(points, labels, 2, 1.15)
        lasso(page, box, path)
        assert data(page, "selected") == str(len(inside(points, path))) == "10"
        assert page.locator(".told").inner_text() == "10 of 30 selected: cone 100 %"
        click(page, box, points[isolated(points)[0]])
        if samples * 30 < maps.MOST_SAMPLES:
            page.wait_for_function(f"() => +{ROOT}.dataset.rms > 0.3", timeout=8000)
        else:
            assert (
                data(page, "sound") == "absent" and "carries no sounds" in page.locator(".news").inner_text()
            )
        page.goto(second.as_uri())
        page.wait_for_function(f"() => {BROWSER}?.dataset.pictures === 'ready'")
        page.locator(".near").nth(1).click()
        assert told(page, "query") == str(near.indices["a"][0, 1])
        assert page.errors == [] and page.external == []


# ------------------------------------------------------------------------------- both in JupyterLab

CELLS = [
    "import numpy as np\nfrom sslcourse.data import toybox\nfrom sslcourse.evaluate import "
    "living_map\nfrom sslcourse.train.features import pixels\n"
    "from sslcourse.widgets import clusters, neighbours\nval = toybox.images(512, 128, 128).validation\nh "
    "= pixels(val)\ncalls = []",
    "view = clusters(living_map(h), val.label, val.image, classes=val.classes, columns=val, title='Pixels',\n"
    "                audio=lambda i: np.sin(np.arange(8000) / 5))\nview.on_select(lambda at: "
    "calls.append(len(at)))\nview",
    (
        "near = neighbours({'pixels': h, 'mean colour': val.image.float().mean((2, 3))}, val.image, "
        "val.label, "
        "classes=val.classes)\nnear"
    ),
    (
        "import json\nprint(json.dumps([view.selected.tolist(), calls[-1:], view.by, near.query, "
        "np.frombuffer(view.positions, '<u2').tolist()]))"
    ),
]


def run_last(page) -> list:
    """Run the last cell once more and read what it prints."""
    count = page.evaluate(f"() => {NOTEBOOK}.content.model.cells.get({len(CELLS) - 1}).executionCount")
    page.evaluate(
        "() => "
        f"{{ {NOTEBOOK}.content.activeCellIndex = {len(CELLS) - 1};"
        f" window.jupyterapp.commands.execute('notebook:run-cell') }}"
    )
    cell = f"{NOTEBOOK}.content.model.cells.get({len(CELLS) - 1})"
    page.wait_for_function(
        f"(count) => {cell}.executionCount > count && {cell}.outputs.length > 0", arg=count, timeout=30_000
    )
    return json.loads(page.evaluate(f"() => [].concat({cell}.outputs.get(0).toJSON().text).join('')"))


@pytest.mark.browser
def test_the_lasso_reaches_python_in_jupyterlab(page, lab, tmp_path):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    path = tmp_path / "maps.ipynb"
    nbformat.write(book, path)
    open_and_run(page, lab, path, timeout_s=120)
    page.wait_for_function(
        f"() => {ROOT}?.dataset.pictures === 'ready' && {BROWSER}?.dataset.pictures === 'ready'",
        timeout=30_000,
    )
    selected, _, by, query, positions = run_last(page)
    assert (selected, by, query) == ([], "label", 0)
    u = np.array(positions).reshape(-1, 2) / 65535
    points = np.stack([EDGE + u[:, 0] * (MAP - 2 * EDGE), EDGE + (1 - u[:, 1]) * (MAP - 2 * EDGE)], 1)

    canvas = page.locator(".ssl-clusters canvas.over")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    corners = [(120, 90), (360, 110), (330, 300), (140, 280)]
    path_of = np.array(corners)
    for _ in range(200):  # until no point lies within a pixel of the path
        try:
            expected = inside(points, path_of.tolist())
            break
        except AssertionError:
            path_of = path_of + 1
    assert 5 < len(expected) < len(points)
    lasso(page, box, path_of.tolist())
    assert data(page, "selected") == str(len(expected))
    page.locator(".ssl-clusters select.by").select_option("hue")
    page.locator(".ssl-neighbours .near").nth(3).click()
    selected, calls, by, query, _ = run_last(page)
    assert (
        selected == expected
        and calls == [len(expected)]
        and by == "hue"
        and query == int(told(page, "query")) != 0
    )

    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    free = isolated(points)
    central = int(free[np.linalg.norm(points[free] - MAP / 2, axis=1).argmin()])
    click(page, box, points[central])  # the sound comes from the kernel
    page.wait_for_function(f"() => +{ROOT}.dataset.rms > 0.3", timeout=20_000)
    at = str(central)
    for key in ("ArrowRight", "ArrowDown"):  # the notebook takes no key away
        page.keyboard.press(key)
        assert data(page, "hover") != at, key
        at = data(page, "hover")
    page.keyboard.press("Enter")
    assert len(data(page, "pins").split(",")) == 2
    page.keyboard.press("Escape")
    assert run_last(page)[0] == []
    for dark in (False, True):
        use_theme(page, dark)
        for i, cell in enumerate(page.locator(".jp-CodeCell").all()[1:3], 1):
            cell.scroll_into_view_if_needed()
            keep(cell, tmp_path / f"maps-lab-{'dark' if dark else 'light'}-{i}.png")
    assert page.external == [], page.external
    assert page.errors == [], page.errors
