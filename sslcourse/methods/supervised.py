"""The yardstick: the same encoder trained with every label. No paper's claim, but every table needs the row.

Notebook: 00_start"""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from sslcourse.methods.base import Method, dim_of, floats_of, images_of
from sslcourse.methods.spec import Spec
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, takes
from sslcourse.train import ties
from sslcourse.train.recipe import Recipe
from sslcourse.transforms.augment import View, crop_and_flip

COURSE = Recipe(epochs=8, batch_size=128, lr=5e-3)
FULL = COURSE.but(epochs=30)  # for longer, at most five minutes there
GPU = Recipe(epochs=60, batch_size=512, lr=0.4, optimizer="sgd", weight_decay=5e-4)


class Supervised(Method):
    """Cross-entropy on labels, with light augmentation. The only method that reads `batch["label"]`.

    Args:
        encoder: images to vectors.
        classes: how many labels there are.
        view: augmentation; crops of at least half the area and flips by default.
    """

    @takes(classes=COUNT)
    def __init__(self, encoder: nn.Module, classes: int, view: View | None = None):
        super().__init__()
        self.f, self.head = encoder, nn.Linear(dim_of(encoder), classes)
        self.view = view or crop_and_flip()

    def views(self, batch):
        return {"view": self.view(images_of(batch))}

    def before_epoch(self, progress, dataset, optimizers):
        # Here and not in `loss`: looking at a batch's labels would make a GPU wait at every step.
        if not dataset.labelled:
            raise CourseError(
                f"{dataset.name!r} carries no labels (-1); supervised training needs a labelled training "
                "split"
            )

    def loss(self, batch):
        logits = self.head(self.f(self.views(batch)["view"]))  # (B, classes)
        right = ties.found(logits, batch["label"]).mean()
        return F.cross_entropy(logits.float(), batch["label"]), {"accuracy": right}

    def encode(self, batch):
        return self.f(floats_of(batch))


def settings_for(recipe: str, toy: bool, classes: int) -> dict:
    """What this method is; plain values, for files."""
    return {"classes": classes, "area": [0.5, 1.0]}


def from_settings(encoder: nn.Module, settings: dict) -> Supervised:
    """The method that `settings` describe."""
    return Supervised(encoder, settings["classes"], crop_and_flip(settings["area"]))


SPEC = Spec(
    name="supervised",
    lesson="",
    title="Supervised",
    course=COURSE,
    full=FULL,
    gpu=GPU,
    settings=settings_for,
    build=from_settings,
)
