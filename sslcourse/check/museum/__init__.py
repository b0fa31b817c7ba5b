"""The exercises of 90_bugs_museum, one file an exhibit: here the answer is a test, and it is examined by
planting bugs.

    test_partner = check("museum.partner", my_test)   does it pass whatever is right, and fail every bug?
    matrix({"museum.partner": test_partner})          which of the planted bugs it caught, as a picture
    catches(test_partner, some_loss)                  what a test says of one implementation
"""

from sslcourse.check.engine import Assignment, Task, assign, register
from sslcourse.check.museum.clusters import CLUSTERS, CLUSTERS_EXERCISE, test_clusters
from sslcourse.check.museum.engine import EXHIBITS, Exhibit, Outcome, catches
from sslcourse.check.museum.frozen import FROZEN, FROZEN_EXERCISE, test_frozen
from sslcourse.check.museum.gather import GATHER, GATHER_EXERCISE, test_gather
from sslcourse.check.museum.mean import MEAN, MEAN_EXERCISE, test_mean
from sslcourse.check.museum.partner import PARTNER, PARTNER_EXERCISE, test_partner
from sslcourse.check.museum.picture import caught, matrix, trial
from sslcourse.check.museum.queue import QUEUE, QUEUE_EXERCISE, test_queue
from sslcourse.check.museum.selection import SELECTION, SELECTION_EXERCISE, test_selection
from sslcourse.check.museum.statistics import STATISTICS, STATISTICS_EXERCISE, test_statistics
from sslcourse.check.museum.target import TARGET, TARGET_EXERCISE, test_target
from sslcourse.check.museum.views import VIEWS, VIEWS_EXERCISE, test_views

# In the order of the lesson.
EXHIBITS.update(
    {
        exhibit.name: exhibit
        for exhibit in (PARTNER, GATHER, FROZEN, SELECTION, MEAN, STATISTICS, QUEUE, VIEWS, TARGET, CLUSTERS)
    }
)
register(
    PARTNER_EXERCISE,
    GATHER_EXERCISE,
    FROZEN_EXERCISE,
    SELECTION_EXERCISE,
    MEAN_EXERCISE,
    STATISTICS_EXERCISE,
    QUEUE_EXERCISE,
    VIEWS_EXERCISE,
    TARGET_EXERCISE,
    CLUSTERS_EXERCISE,
)
assign(
    Assignment("90_bugs_museum", [Task(name, f"my_{name.replace('museum.', 'test_')}") for name in EXHIBITS])
)

__all__ = [
    "EXHIBITS",
    "Exhibit",
    "Outcome",
    "catches",
    "caught",
    "matrix",
    "trial",
    "PARTNER",
    "test_partner",
    "GATHER",
    "test_gather",
    "FROZEN",
    "test_frozen",
    "SELECTION",
    "test_selection",
    "MEAN",
    "test_mean",
    "STATISTICS",
    "test_statistics",
    "QUEUE",
    "test_queue",
    "VIEWS",
    "test_views",
    "TARGET",
    "test_target",
    "CLUSTERS",
    "test_clusters",
]
