"""For whom each exercise is, and how long a student takes: what the lessons' headings and the teacher's page
say.

"core" is for everybody. "more" comes where there is time, and "for the fast" is what keeps the quickest
students busy. Whoever leaves an exercise out goes on with the course's own function. The minutes are what we
expect of a student who has met Python and torch; no class has been timed.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["core", "more", "for the fast"]


class Effort(NamedTuple):
    """Of an exercise: for whom it is, and the minutes of a student."""

    level: Level
    minutes: int


CORE: Level = "core"
MORE: Level = "more"
FAST: Level = "for the fast"

EFFORT: dict[str, Effort] = {
    "simclr.nt_xent": Effort(CORE, 10),
    "simclr.two_views": Effort(CORE, 5),
    "bigan.discriminator_loss": Effort(CORE, 4),
    "bigan.generator_encoder_loss": Effort(CORE, 4),
    "bigan.updates": Effort(MORE, 6),
    "jigsaw.permutation_set": Effort(MORE, 10),
    "jigsaw.puzzle": Effort(FAST, 10),
    "jigsaw.damaged_loss": Effort(CORE, 10),
    "clusters.rotations": Effort(CORE, 5),
    "clusters.kmeans_step": Effort(CORE, 10),
    "clusters.nmi": Effort(FAST, 10),
    "single_image.crops": Effort(CORE, 10),
    "single_image.gram": Effort(MORE, 5),
    "byol.regression_loss": Effort(CORE, 5),
    "byol.update_target": Effort(CORE, 5),
    "moco.enqueue": Effort(MORE, 5),
    "clip.symmetric_loss": Effort(CORE, 10),
    "clip.classify": Effort(MORE, 10),
    "video_lstm.lstm_cell": Effort(CORE, 8),
    "video_lstm.targets": Effort(CORE, 4),
    "video_lstm.nats_per_frame": Effort(MORE, 5),
    "colorization.pointer": Effort(CORE, 5),
    "colorization.copy_loss": Effort(CORE, 5),
    "tracking.region": Effort(MORE, 5),
    "dpc.kinds": Effort(CORE, 8),
    "dpc.dense_nce": Effort(CORE, 8),
    "dpc.roll_out": Effort(MORE, 5),
    "avts.cut": Effort(MORE, 8),
    "avts.contrastive": Effort(CORE, 8),
    "avts.judged": Effort(FAST, 5),
    "xdc.whose": Effort(CORE, 8),
    "xdc.joint": Effort(MORE, 5),
    "xdc.cluster_loss": Effort(FAST, 8),
    "wall.difference": Effort(CORE, 8),
    "museum.partner": Effort(CORE, 10),
    "museum.gather": Effort(MORE, 10),
    "museum.frozen": Effort(CORE, 10),
    "museum.selection": Effort(CORE, 10),
    "museum.mean": Effort(MORE, 10),
    "museum.statistics": Effort(FAST, 15),
    "museum.queue": Effort(MORE, 10),
    "museum.views": Effort(FAST, 15),
    "museum.target": Effort(FAST, 15),
    "museum.clusters": Effort(MORE, 10),
}
