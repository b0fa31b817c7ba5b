"""Guards for nbval: it must compare something where it says so, and a swallowed timeout is a failure."""

import os
import signal
import statistics
import tempfile
import threading
from pathlib import Path

import pytest

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

SECONDS = 90  # that a whole notebook should take, as a student runs it
CROWDED = 1.5  # a machine that others use too may need so many times longer before it counts as a failure
STEP = 0.065  # seconds that one of SimCLR's steps takes on one core of the machine for which SECONDS is meant
_spent: dict[str, float] = {}
_loads: list[float] = []  # how many processes wanted a core, for each core, while the cells ran
_slow = [1.0]  # how many times longer than STEP this machine takes


def allowed() -> float:
    """Seconds that a notebook may take here and now: more on slower cores, and where more processes want to compute than there are cores."""
    return SECONDS * CROWDED * _slow[0] * max(1.0, statistics.fmean(_loads) if _loads else 1.0)


def slowness() -> float:
    """How many times longer than STEP a step takes here, on one thread and before anything else runs; at least 1."""
    from sslcourse import encoders, runtime, train
    from sslcourse.data import toybox
    from sslcourse.methods import simclr

    runtime.use_profile(runtime.Profile("cpu", 1, False, "bfloat16"))
    steps = 5
    recipe = simclr.COURSE.but(epochs=4)
    rows = train.fit(
        simclr.SimCLR(encoders.small_cnn()), toybox.images(steps * recipe.batch_size, 8, 8).train, recipe
    )
    return max(1.0, min(row["seconds"] for row in rows) / steps / STEP)


def pytest_sessionstart(session):
    if getattr(session.config.option, "nbval_lax", False) and not hasattr(session.config, "workerinput"):
        _slow[0] = slowness()


def _is_cell(item):
    return type(item).__name__ == "IPyNbCell"


def pytest_collection_modifyitems(items):
    for item in filter(_is_cell, items):
        item.output_timeout = 60  # nbval waits 5 s for each message, too little on a busy machine
        tagged = "nbval-check-output" in item.cell.metadata.get("tags", [])
        if tagged and (item.cell.execution_count is None or not item.cell.outputs):
            raise pytest.UsageError(
                f"{item.nodeid}: tagged nbval-check-output but has no stored run: nbval would check nothing"
            )


def _late(*_):
    raise TimeoutError("the notebook's kernel did not start within three minutes; run it again")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    """Kernels start one at a time. Each asks for free ports and opens them a moment later: two workers that ask at the same moment can be
    given the same ones, one kernel then dies while it starts, and old clients wait for it for ever. One that does not start is an error
    after three minutes."""
    if fcntl is None or not _is_cell(item) or getattr(item.parent, "kernel", None) is not None:
        return (yield)
    with open(Path(tempfile.gettempdir()) / f"sslcourse-kernels-{os.getuid()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if threading.current_thread() is not threading.main_thread():
            return (yield)
        before = signal.signal(signal.SIGALRM, _late)
        signal.alarm(180)
        try:
            return (yield)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if _is_cell(item) and call.when == "call" and item.parent.timed_out and report.outcome == "passed":
        report.outcome, report.longrepr = (
            "failed",
            "a cell ran into --nbval-cell-timeout and swallowed the interrupt",
        )
        report.wasxfail = None
        del report.wasxfail
    return report


def pytest_runtest_logreport(report):
    """Reports also come from workers, where notebooks run two at a time."""
    if report.when == "call" and "::Cell " in report.nodeid:
        name = report.nodeid.split("::")[0].rsplit("/", 1)[-1]
        _spent[name] = _spent.get(name, 0) + report.duration
        _loads.append(os.getloadavg()[0] / (os.cpu_count() or 1))


def pytest_terminal_summary(terminalreporter):
    for name, seconds in _spent.items():
        terminalreporter.write_line(
            f"{name}: {seconds:.0f} s, {seconds / _slow[0]:.0f} of at most {SECONDS} on a core of the usual speed"
        )


def pytest_sessionfinish(session, exitstatus):
    slow = {n: s for n, s in _spent.items() if s > allowed()}
    if slow and exitstatus == 0:
        session.exitstatus = 1
        print(
            "\nFAILED: too slow: "
            + ", ".join(f"{n} took {s:.0f} s of at most {SECONDS}" for n, s in slow.items())
        )
