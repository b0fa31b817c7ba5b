"""Samples, splits, and the seal on test labels."""

import ast
import pathlib

import numpy as np
import pytest
import torch

from sslcourse import encoders, evaluate
from sslcourse.data import datasets
from sslcourse.data.datasets import Samples, SealedLabels, few_labels, split
from sslcourse.methods import simclr
from sslcourse.runtime.errors import CourseError
from sslcourse.train.loop import epochs, fit
from sslcourse.train.recipe import Recipe

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_test_labels_are_sealed(toys):
    for read in (
        lambda s: s.label,
        lambda s: s.factors,
        lambda s: s.take([0, 1]).label,
        lambda s: s.to("cpu").label,
    ):
        with pytest.raises(SealedLabels, match=r"evaluate.report"):
            read(toys.test)
    batch = next(toys.test.batches(8))
    assert (batch["label"] == -1).all() and "shape" not in batch and "mask" not in batch
    assert toys.validation.label.min() >= 0


def test_training_on_the_test_split_is_refused(toys):
    with pytest.raises(CourseError, match="reporting only"):
        fit(simclr.SimCLR(encoders.small_cnn(8)), toys.test, Recipe(epochs=1, batch_size=32, lr=1e-3))


def test_no_test_score_while_training(toys):
    """Early stopping on the test set is not possible, even with the reporting call."""
    method = simclr.SimCLR(encoders.small_cnn(8))
    recipe = Recipe(epochs=2, batch_size=32, lr=1e-3, max_steps=1)
    readings = len(toys.test.openings)
    for _ in epochs(method, toys.train, recipe):
        assert 0 <= evaluate.probe(method, toys, limit=100)["kNN"] <= 1  # the validation split may be read
        for peek in (
            lambda: evaluate.report(method, toys),
            lambda: evaluate.layer_probes(method, toys, on="test"),
            lambda: evaluate.factor_table({"x": method}, toys, on="test"),
        ):
            with pytest.raises(SealedLabels, match="while a training is under way"):
                peek()
    assert len(toys.test.openings) == readings
    evaluate.report(method, toys, baselines=False)
    assert toys.test.openings[readings:] == ["evaluate.report"]


def test_only_the_reporting_modules_can_open_labels():
    # The films that are made of a test split's digits are sealed again.
    allowed = {
        f"sslcourse/evaluate/{name}.py"
        for name in ("probes", "reports", "factors", "tracking", "esc50", "synchrony")
    }
    allowed |= {f"sslcourse/data/{name}.py" for name in ("datasets", "moving_digits", "heard")}
    users = set()
    for file in (ROOT / "sslcourse").rglob("*.py"):
        names = {n.id for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Name)} | {
            a.name
            for n in ast.walk(ast.parse(file.read_text()))
            if isinstance(n, ast.ImportFrom)
            for a in n.names
        }
        if "open_labels" in names:
            users.add(file.relative_to(ROOT).as_posix())
    assert {user for user in users if not user.startswith("sslcourse/results/claims/")} <= allowed
    for file in (ROOT / "notebooks" / "source").glob("*.py"):
        assert "open_labels" not in file.read_text() and "._label" not in file.read_text()


def test_a_report_counts_its_readings(toys):
    part = datasets.Data(toys.train, toys.validation, toys.test.take(slice(0, 64)))
    part.test.openings = []
    method = simclr.SimCLR(encoders.small_cnn(8))
    assert evaluate.report(method, part).readings == 1
    again = evaluate.report(method, part)
    assert again.readings == 2 and "opened 2 times" in repr(again)


def test_batches_shuffle_whole_and_in_order(toys):
    shuffled = [b["index"] for b in toys.train.batches(100, torch.Generator().manual_seed(0))]
    assert all(len(i) == 100 for i in shuffled) and len(torch.cat(shuffled).unique()) == 500
    in_order = torch.cat([b["index"] for b in toys.train.batches(100)])
    assert torch.equal(in_order, torch.arange(512))  # the last, short one too
    batch = next(toys.train.batches(7, torch.Generator().manual_seed(3)))
    assert torch.equal(batch["image"], toys.train.image[batch["index"]])
    assert torch.equal(batch["label"], toys.train.label[batch["index"]])


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_a_batch_without_doubles(toys, world):
    whole = [b["index"] for b in toys.train.batches(30, torch.Generator().manual_seed(0))]
    rest = [
        b["index"] for b in toys.train.batches(30, torch.Generator().manual_seed(0), first=5)
    ]  # where a training goes on
    assert torch.equal(torch.cat(rest), torch.cat(whole[5:]))
    parts = [
        [b["index"] for b in toys.train.batches(30, torch.Generator().manual_seed(0), rank=r, world=world)]
        for r in range(world)
    ]
    for step, index in enumerate(whole):
        assert torch.equal(torch.cat([p[step] for p in parts]), index)


def test_few_labels_are_balanced(toys):
    chosen = few_labels(toys.train, 0.1, seed=1)
    counts = torch.bincount(toys.train.label[chosen], minlength=10)
    expected = (torch.bincount(toys.train.label, minlength=10) * 0.1).round().clamp_min(1).long()
    assert torch.equal(counts, expected)
    assert not torch.equal(chosen, few_labels(toys.train, 0.1, seed=2))
    assert len(few_labels(toys.train, 0.0001)) == 10  # at least one of each
    with pytest.raises(CourseError, match="share=2"):
        few_labels(toys.train, 2)


def test_split_is_stratified_and_disjoint():
    image = torch.arange(1000, dtype=torch.int32).view(1000, 1, 1, 1).expand(1000, 3, 8, 8)
    image = (image % 256).to(torch.uint8)
    label = np.repeat([0, 1, 2, 3], [400, 300, 200, 100])
    data = split(image, label, validation=0.1, test=0.2, factors={"id": np.arange(1000)})
    ids = [data.train.factors["id"], data.validation.factors["id"], data.test._factors["id"]]
    assert [len(i) for i in ids] == [700, 100, 200] and len(torch.cat(ids).unique()) == 1000
    assert torch.bincount(data.test._label).tolist() == [80, 60, 40, 20]
    with pytest.raises(SealedLabels):
        _ = data.test.label
    with pytest.raises(CourseError, match="leave no training data"):
        split(image, label, validation=0.5, test=0.5)


@pytest.mark.parametrize(
    "image, label, match",
    [
        (np.zeros((4, 8, 8, 2), np.uint8), None, "expected"),
        (np.zeros((4, 8, 8), np.int64), None, "int64"),
        (np.full((4, 8, 8), 2.0), None, "scale them to 0..1"),
        (np.full((4, 8, 8), np.nan), None, "range from"),
        (np.zeros((4, 8, 8), np.uint8), [0, 1], "4 images but labels"),
        (np.zeros((2, 8, 8), np.uint8), [0, -1], "-1 is negative"),
    ],
)
def test_wrong_arrays_are_named(image, label, match):
    with pytest.raises(CourseError, match=match):
        Samples(image, label)


def test_shapes_are_turned_round():
    grey = np.random.default_rng(0).integers(0, 256, (5, 8, 9), dtype=np.uint8)
    colour = np.stack([grey] * 3, -1)
    assert torch.equal(Samples(grey).image, Samples(colour).image)
    assert Samples(colour.astype(np.float32) / 255).image.equal(Samples(colour).image)


def test_unlabelled_takes_everything_away(toys):
    bare = next(toys.train.unlabelled().batches(4))
    # Captions stay: they are not labels but another view, which CLIP alone reads.
    assert set(bare) == {"image", "index", "label", "mask", "caption"} and (bare["label"] == -1).all()


def test_sound_and_its_rate_or_an_error_that_says_where_there_is_some():
    wave = np.array([[0, 5, -5, 7] * 50], np.int16)
    audio, rate = Samples(audio=wave, rate=8000).sound()
    assert audio.tolist() == wave.tolist() and rate == 8000
    with pytest.raises(CourseError, match="'quiet' has no sound; take data that has, such as toybox.events"):
        Samples(torch.zeros(1, 3, 8, 8), name="quiet").sound()


def test_inputs_are_what_an_encoder_is_shown():
    pictures, films = torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.ones(2, 3, 4, 8, 8, dtype=torch.uint8)
    wave = np.ones((2, 400), np.int16)
    assert torch.equal(Samples(pictures).inputs, pictures) and torch.equal(Samples(video=films).inputs, films)
    both = Samples(video=films, audio=wave, rate=8000)
    assert torch.equal(both.inputs, films) and both.heard().inputs.tolist() == wave.tolist()
