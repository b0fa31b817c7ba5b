"""Exhibit: one random view for the whole batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sslcourse.check.museum.engine import Exhibit
from sslcourse.check.museum.exercises import assert_true, exercise_of, general_mistakes, misses, rejects
from sslcourse.transforms.augment import (
    as_float,
    brightness,
    colour_jitter,
    crop,
    crop_and_flip,
    random_boxes,
    simclr_view,
)

# ---------------------------------------------------------------------- 8. one augmentation for a whole batch


def _view_per_image(image: Tensor) -> Tensor:
    shifts = [torch.randint(0, x.shape[-1], (2,)).tolist() for x in image]
    return torch.stack([x.roll(shift, (1, 2)) for x, shift in zip(as_float(image), shifts)])


def _view_flips_only(image: Tensor) -> Tensor:
    x = as_float(image)
    return torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)


def _view_colours_only(image: Tensor) -> Tensor:
    return colour_jitter(as_float(image), 0.4, 0.4, 0.4, 0.1)


def _view_of(boxes: Callable[[int], int], colours: Callable[[int], int]) -> Callable:
    """Crops and brightness, with parameters drawn for so many of n images and repeated for the others."""

    def view(image: Tensor) -> Tensor:
        n, _, h, w = image.shape
        box = random_boxes(boxes(n), h, w, (0.3, 0.9), (3 / 4, 4 / 3), image.device)
        factor = torch.rand(colours(n)) + 0.4
        times = lambda x: x.repeat(math.ceil(n / len(x)), *[1] * (x.ndim - 1))[:n]
        return brightness(crop(as_float(image), times(box)), times(factor))

    return view


VIEWS = Exhibit(
    "museum.views",
    "one augmentation for a whole batch",
    right={
        "the library's": simclr_view(area=(0.3, 1.0), strength=0.5, hue_by=0.2),
        "image by image": _view_per_image,
        "crop and flip": crop_and_flip(),
        "flips only": _view_flips_only,
        "colours only": _view_colours_only,
    },
    bugs={
        "drawn once": _view_of(lambda n: 1, lambda n: 1),
        "colours drawn once": _view_of(lambda n: n, lambda n: 1),
        "drawn for half, then repeated": _view_of(lambda n: math.ceil(n / 2), lambda n: math.ceil(n / 2)),
    },
)


def test_views(view: Callable) -> None:
    """No two images of a batch always get the same view, on a picture that shows the crop and on one that
    shows only colours.
    """
    layout = torch.rand(3, 16, 16)
    flat = torch.tensor([0.7, 0.4, 0.2]).view(3, 1, 1).expand(3, 16, 16)
    for name, picture in {"layout": layout, "colours": flat}.items():
        # (24, 8, 3, 16, 16): the same picture throughout
        calls = torch.stack([view(picture.repeat(8, 1, 1, 1)) for _ in range(24)])
        if not ((calls - calls[0]).abs() > 1e-3).any():
            continue  # nothing is drawn that this picture shows
        for i in range(8):
            for j in range(i):
                assert ((calls[:, i] - calls[:, j]).abs() > 1e-3).any(), (
                    f"images {j} and {i} of a batch always share their {name}"
                )


def _differs_from_call_to_call(view: Callable) -> None:
    x = torch.rand(8, 3, 16, 16)
    calls = [view(x) for _ in range(20)]
    assert any(not torch.equal(calls[0], c) for c in calls[1:]), "nothing is drawn"


def _all_views_differ(view: Callable) -> None:
    out = view(torch.rand(3, 16, 16).repeat(8, 1, 1, 1)).flatten(1)
    assert (torch.cdist(out, out) + torch.eye(8) > 1e-3).all(), "two images of a batch have the same view"


_FIRST_AND_OTHERS = tuple((0, i) for i in (1, 2, 3, 5, 6, 7))


def _not_all_like_the_first(view: Callable, pairs: Sequence[tuple[int, int]] = _FIRST_AND_OTHERS) -> None:
    calls = torch.stack([view(torch.rand(3, 16, 16).repeat(8, 1, 1, 1)) for _ in range(24)])
    for i, j in pairs:
        assert ((calls[:, i] - calls[:, j]).abs() > 1e-3).any(), (
            f"images {i} and {j} always have the same view"
        )


def _neighbours_differ(view: Callable) -> None:
    _not_all_like_the_first(view, tuple((i, i + 1) for i in range(7)))


def _some_differ(view: Callable) -> None:
    calls = torch.stack([view(torch.rand(3, 16, 16).repeat(8, 1, 1, 1)) for _ in range(24)])
    assert ((calls - calls[:, :1]).abs() > 1e-3).any(), "all images of a batch have the same view"


def _layout_only(view: Callable) -> None:
    _not_all_like_the_first(view, tuple((i, j) for i in range(8) for j in range(i)))


_VIEWS_MISTAKES = {
    "demands that all views differ": (
        "It rejects views that are drawn for each image. Where the only choice is to mirror or not, two "
        "images of eight must agree; what they must "
        "not do is agree *always*. Call the view many times.",
        rejects(),
        _all_views_differ,
    ),
    "compares too few pairs": (
        (
            "It compares some images of the batch, and those differ. Half of the batch has the parameters of "
            "the other half. Compare every pair."
        ),
        misses("drawn for half, then repeated"),
        _not_all_like_the_first,
        _neighbours_differ,
        _some_differ,
    ),
    "looks at one picture only": (
        "Crops make all views differ, and hide that the colours are the same for all. On a picture of one "
        "colour a crop does not show: try that too, "
        "and skip it for views that change nothing there.",
        misses("colours drawn once"),
        _layout_only,
    ),
}

VIEWS_EXERCISE = exercise_of(
    VIEWS,
    test_views,
    general_mistakes(
        test_views,
        never=(
            _differs_from_call_to_call,
            lambda view: assert_true(view(torch.rand(4, 3, 16, 16)).shape == (4, 3, 16, 16)),
        ),
        never_because=(
            "With one draw for the whole batch, two calls still differ. It is within a batch that "
            "nothing does."
        ),
    ),
    _VIEWS_MISTAKES,
    (
        "Make a batch of one picture, repeated. What may the view do to its copies, and what must it not do?",
        (
            "Call it two dozen times: calls[c, i]. Images i and j share their parameters if calls[:, i] and "
            "calls[:, j] are equal in *every* call."
        ),
        "Do that for a random picture and for one of a single colour (tolerance 1e-3: resizing rounds); "
        "skip a picture on which no call differs from "
        "the first; compare all pairs i, j.",
    ),
)
