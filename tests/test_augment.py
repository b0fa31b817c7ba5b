"""Each operation equals torchvision's functional form sample by sample, and every sample has parameters of
its own.
"""

import math

import pytest
import torch
from torchvision import transforms
from torchvision.transforms import functional as tv

from sslcourse.runtime.errors import CourseError
from sslcourse.transforms import augment


@pytest.fixture
def images():
    return torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "ours, theirs, low, high",
    [
        (augment.brightness, tv.adjust_brightness, 0.2, 1.8),
        (augment.contrast, tv.adjust_contrast, 0.2, 1.8),
        (augment.saturation, tv.adjust_saturation, 0.0, 1.8),
        (augment.hue, tv.adjust_hue, -0.5, 0.5),
    ],
)
def test_colour_operations_equal_torchvision(images, ours, theirs, low, high):
    amounts = torch.linspace(low, high, len(images))
    images[0] = 0.4  # a grey picture has no hue
    images[1, :, :4] = torch.eye(3)[:, :1, None].expand(3, 4, 32)  # pure red
    expected = torch.stack([theirs(x, float(a)) for x, a in zip(images, amounts)])
    torch.testing.assert_close(ours(images, amounts), expected, rtol=0, atol=2e-6)


def test_crop_equals_torchvision_and_flips(images):
    boxes = torch.tensor(
        [[0, 0, 32, 32], [3, 5, 20, 24], [10, 2, 7, 9], [31, 31, 1, 1]] * 3, dtype=torch.float32
    )
    flip = torch.arange(12) % 2 == 1
    expected = []
    for x, (left, top, w, h), turned in zip(images, boxes.int().tolist(), flip):
        # torchvision cuts before it resizes, so its border is the box's; ours sees beyond it. Compare inside.
        y = tv.resized_crop(x, top, left, h, w, [32, 32], antialias=False)
        expected.append(tv.hflip(y) if turned else y)
    got = augment.crop(images, boxes, 32, flip)
    for i, (_, _, w, h) in enumerate(boxes.tolist()):
        edge = math.ceil(32 / min(w, h) / 2)
        if 2 * edge < 32:
            torch.testing.assert_close(
                got[i][:, edge:-edge, edge:-edge], expected[i][:, edge:-edge, edge:-edge], rtol=0, atol=2e-5
            )
    torch.testing.assert_close(got[0], images[0], rtol=0, atol=1e-5)


def test_grey_and_blur_equal_torchvision(images):
    torch.testing.assert_close(augment.grey(images), tv.rgb_to_grayscale(images), rtol=0, atol=1e-6)
    sigma = torch.linspace(0.1, 2.0, len(images))
    expected = torch.stack([tv.gaussian_blur(x, [5, 5], [float(s)] * 2) for x, s in zip(images, sigma)])
    torch.testing.assert_close(augment.blur(images, sigma, 5), expected, rtol=0, atol=2e-6)


def test_boxes_have_torchvisions_distribution():
    from scipy.stats import ks_2samp

    area, aspect, n = (0.08, 1.0), (3 / 4, 4 / 3), 4000
    ours = augment.random_boxes(n, 32, 32, area, aspect, "cpu")
    left, top, w, h = ours.T
    assert (
        (left >= 0).all()
        and (top >= 0).all()
        and (left + w <= 32).all()
        and (top + h <= 32).all()
        and (w > 0).all()
    )
    blank = torch.zeros(3, 32, 32)
    theirs = torch.tensor(
        [transforms.RandomResizedCrop.get_params(blank, area, aspect) for _ in range(n)]
    ).float()  # top, left, h, w
    t, s, height, width = theirs.T
    for mine, other in ((w * h, width * height), (w / h, width / height), (left, s), (top, t)):
        assert ks_2samp(mine.numpy(), other.numpy()).pvalue > 1e-3
    wrong = augment.random_boxes(
        n, 32, 32, (0.3, 1.0), aspect, "cpu"
    )  # and the comparison notices another range
    assert ks_2samp((wrong[:, 2] * wrong[:, 3]).numpy(), (theirs[:, 2] * theirs[:, 3]).numpy()).pvalue < 1e-6


def test_every_sample_has_its_own_parameters():
    same = torch.rand(1, 3, 32, 32).expand(32, 3, 32, 32)
    view = augment.simclr_view()(same)
    different = (view[:, None] - view[None]).abs().amax((2, 3, 4)) > 1e-3
    assert different.sum() == 32 * 31
    from torchvision.transforms import v2

    one_for_all = v2.RandomResizedCrop(32, antialias=True)(same)  # the trap that this module exists for
    assert torch.equal(one_for_all[0], one_for_all[1])


def test_nothing_drawn_is_the_identity(images):
    still = augment.simclr_view(area=(1, 1), strength=0, flip=0, greyscale=0)(images)
    torch.testing.assert_close(still, images, rtol=0, atol=1e-5)


def test_range_seed_and_input_types():
    x = torch.randint(0, 256, (70, 3, 32, 32), dtype=torch.uint8)
    view = augment.simclr_view(strength=1, blurred=0.5)
    torch.manual_seed(5)
    first = view(x)
    torch.manual_seed(5)
    assert torch.equal(first, view(x))
    assert not torch.equal(first, view(x))
    assert first.min() >= 0 and first.max() <= 1 and first.dtype == torch.float32
    torch.manual_seed(5)
    torch.testing.assert_close(first, view(x.float() / 255))
    assert augment.simclr_view(size=16)(x).shape == (70, 3, 16, 16)


def test_probabilities():
    x = torch.rand(1, 3, 8, 8).expand(4000, 3, 8, 8).contiguous()
    grey = (augment.random_grey(x, 0.2).std(1).amax((1, 2)) < 1e-6).float().mean()
    assert abs(float(grey) - 0.2) < 0.03
    jittered = (augment.colour_jitter(x, 0.4, 0.4, 0.4, 0.1, p=0.8) - x).abs().amax((1, 2, 3)) > 1e-6
    assert abs(float(jittered.float().mean()) - 0.8) < 0.03


@pytest.mark.parametrize(
    "arguments, match",
    [
        (dict(area=(0, 1)), "area"),
        (dict(area=(0.5, 0.2)), "area"),
        (dict(strength=-1), "strength=-1"),
        (dict(strength=4), "half a turn"),
    ],
)
def test_errors(arguments, match):
    with pytest.raises(CourseError, match=match):
        augment.simclr_view(**arguments)


def test_wrong_images_are_named():
    view = augment.simclr_view()
    with pytest.raises(CourseError, match=r"\(3, 32, 32\).*x\[None\]"):
        view(torch.rand(3, 32, 32))
    with pytest.raises(CourseError, match="int64"):
        view(torch.zeros(2, 3, 8, 8, dtype=torch.long))
