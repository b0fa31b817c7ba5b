"""The calibration of the toybox holds: the numbers that every lesson relies on, one seed, on the validation
split.
"""

import time

import pytest
import torch

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import toybox
from sslcourse.methods import simclr, supervised
from sslcourse.train import features
from sslcourse.train.loop import fit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data():
    return toybox.images()


@pytest.fixture(autouse=True)
def quick_profile(plain_profile):
    runtime.use_profile(runtime.measure_profile("cpu"))


def test_pixels_and_a_random_encoder_are_low(data):
    label, held_out = data.train.label, data.validation.label
    pixels = evaluate.score(
        features.pixels(data.train),
        label,
        features.pixels(data.validation),
        held_out,
        classes=10,
        linear=False,
    )
    assert pixels["kNN"] <= 0.45
    untrained = evaluate.random_like(simclr.SimCLR(encoders.small_cnn()), data.train.image)
    assert evaluate.probe(untrained, data)["linear"] <= 0.35


def test_supervision_is_high_and_simclr_far_above_random(data):
    torch.manual_seed(0)
    yardstick = supervised.Supervised(encoders.small_cnn(), 10)
    fit(yardstick, data.train, supervised.COURSE)
    assert evaluate.probe(yardstick, data)["linear"] >= 0.88
    method = simclr.SimCLR(encoders.small_cnn())
    start = time.process_time()
    fit(method, data.train.unlabelled(), simclr.COURSE)
    print(f"SimCLR: {time.process_time() - start:.0f} s of processor time")
    score = evaluate.probe(method, data)["linear"]
    untrained = evaluate.probe(evaluate.random_like(method, data.train.image), data)["linear"]
    assert score >= 0.62 and score >= untrained + 0.25


def test_crops_alone_are_a_shortcut(data):
    """Found far more often, worth far less."""
    from sslcourse.transforms.augment import simclr_view

    short = simclr.COURSE.but(epochs=2)
    result = {}
    for name, view in (
        ("both", None),
        ("crops", simclr_view(area=(0.3, 1), strength=0, hue_by=0, greyscale=0)),
    ):
        torch.manual_seed(0)
        method = simclr.SimCLR(encoders.small_cnn(), view=view)
        row = fit(method, data.train.unlabelled(), short)[-1]
        result[name] = row["partner found"], evaluate.probe(method, data)["linear"]
    assert result["crops"][0] > 2 * result["both"][0] and result["crops"][1] < result["both"][1] - 0.1
