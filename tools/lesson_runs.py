"""How long a notebook may compute, how long it did, and where it is kept as it ran.

Time is what its processes spent on a processor. The wall clock also counts what others compute meanwhile, so
it says nothing about a notebook on a machine that is shared.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil

# Lessons as they ran: NAME.ipynb with its outputs, and NAME.views.json with the states of its views, for the
# course's pages and their tests.
RECORDED = Path(__file__).resolve().parents[1] / "build" / "lessons"
# What a notebook's kernel is asked for once all cells have run.
COLLECT = "from sslcourse.widgets import views\nviews.collect({path!r})"
SECONDS = 90  # of a processor, that a whole notebook may take, as a student runs it
STEP = 0.065  # of a processor, that one of SimCLR's steps takes on a core for which SECONDS is meant
ROOM = 1.2  # what a lesson's time varies by: whose caches it shares, how its steps differ from SimCLR's
MOST = 1.9  # on slow cores there is more time, but never more than so many times SECONDS


def processor_seconds(pid: int) -> float:
    """What a process has spent so far, user and system: its own, of its children that ended, and of those
    that still live.

    Children that ended are known on Linux alone; elsewhere those of them that live are counted.
    """
    process = psutil.Process(pid)
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # a child that ended since is in its parent's sum
            times = one.cpu_times()
            total += times.user + times.system
            total += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return total


def slowness() -> float:
    """How many times longer than STEP a step takes here and now, on one thread; at least 1."""
    from sslcourse import encoders, runtime, train
    from sslcourse.data import toybox
    from sslcourse.methods import simclr

    runtime.use_profile(runtime.Profile("cpu", 1, False, "bfloat16"))
    steps, epochs, spent = 5, 4, []
    recipe = simclr.COURSE.but(epochs=epochs)
    data = toybox.images(steps * recipe.batch_size, 8, 8).train
    before = time.process_time()
    for _ in train.epochs(simclr.SimCLR(encoders.small_cnn()), data, recipe):
        now = time.process_time()
        spent.append(now - before)
        before = now
    return max(1.0, min(spent) / steps / STEP)


def allowed() -> float:
    """Processor seconds that a notebook may take here and now."""
    return SECONDS * min(ROOM * slowness(), MOST)
