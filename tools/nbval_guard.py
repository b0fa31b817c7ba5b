"""Guards for nbval, a pytest plugin (`-p nbval_guard`, with this folder on PYTHONPATH).

A cell that says it is compared has something to be compared with; a swallowed timeout is a failure; a
notebook that computes for longer than a class will wait is a failure. Kernels start one at a time. With
`--record FOLDER` a notebook that has passed is kept as it ran, with the states of its views: NAME.ipynb and
NAME.views.json.
"""

import copy
import os
import queue
import signal
import tempfile
import threading
from pathlib import Path

import lesson_runs
import nbformat
import pytest
from lesson_runs import COLLECT

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

SPENT = "processor seconds"  # the name under which a cell's report carries them
ALLOWED = "processor seconds allowed"
_spent: dict[str, tuple[float, float]] = {}  # notebook -> what its kernel has spent, and might have


def pytest_addoption(parser):
    parser.addoption(
        "--record", metavar="FOLDER", help="keep notebooks as they ran, and the states of their views"
    )


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
    """Kernels start one at a time. Each asks for free ports and opens them a moment later: two workers that
    ask at the same moment can be given the same ones, one kernel then dies while it starts, and old clients
    wait for it for ever. One that does not start is an error after three minutes."""
    if not _is_cell(item) or getattr(item.parent, "kernel", None) is not None:
        return (yield)
    item.parent.allowed = lesson_runs.allowed()  # before each notebook: others may want the caches by then
    if fcntl is None:
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


def _fail(report, why: str) -> None:
    report.outcome, report.longrepr = "failed", why
    report.wasxfail = None
    del report.wasxfail


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if not _is_cell(item) or call.when != "call" or report.outcome != "passed":
        return report
    if item.parent.timed_out:
        _fail(report, "a cell ran into --nbval-cell-timeout and swallowed the interrupt")
        return report
    item.parent.__dict__.setdefault("ran", {})[item.cell.id] = item.test_outputs
    # Of the kernel itself, so that a crowded machine changes nothing. With the report it comes back from a
    # worker, too.
    spent = lesson_runs.processor_seconds(item.parent.kernel.km.provisioner.pid)
    report.user_properties += [(SPENT, spent), (ALLOWED, item.parent.allowed)]
    return report


def record(notebook, folder: Path) -> None:
    """Keep a notebook as it ran, with the states of its views. `notebook` is nbval's collector; its kernel
    still lives."""
    ran = copy.deepcopy(notebook.nb)
    for cell in ran.cells:
        if cell.cell_type == "code":
            cell.outputs = notebook.ran[cell.id]
    folder.mkdir(parents=True, exist_ok=True)
    name = notebook.path.stem
    states = folder / f"{name}.views.json"
    states.unlink(missing_ok=True)
    kernel = notebook.kernel
    asked = kernel.kc.execute(COLLECT.format(path=str(states.resolve())), silent=True, store_history=False)
    try:
        kernel.await_reply(asked, timeout=120)
    except queue.Empty:
        raise RuntimeError(
            f"{name}: its kernel did not tell the states of its views within two minutes"
        ) from None
    if not states.exists():
        raise RuntimeError(f"{name}: its kernel could not tell the states of its views")
    nbformat.write(ran, folder / f"{name}.ipynb")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """After the last cell, while the kernel lives: the next notebook gets another."""
    folder = item.config.getoption("record")
    if folder and _is_cell(item) and (nextitem is None or nextitem.parent is not item.parent):
        notebook = item.parent
        if len(getattr(notebook, "ran", {})) == sum(
            c.cell_type == "code" for c in notebook.nb.cells
        ):  # all have passed
            record(notebook, Path(folder))
    return (yield)


def pytest_runtest_logreport(report):
    """Reports also come from workers, where notebooks run two at a time."""
    told = dict(report.user_properties)
    if report.when == "call" and SPENT in told:
        name = report.nodeid.split("::")[0].rsplit("/", 1)[-1]
        _spent[name] = told[SPENT], told[ALLOWED]


def _told(name: str) -> str:
    return "{:.0f} of at most {:.0f} processor seconds".format(*_spent[name])


def pytest_terminal_summary(terminalreporter):
    for name in sorted(_spent):
        terminalreporter.write_line(f"{name}: {_told(name)}")


def pytest_sessionfinish(session, exitstatus):
    slow = [name for name, (spent, allowed) in _spent.items() if spent > allowed]
    if slow and exitstatus == 0:
        session.exitstatus = 1
        print("\nFAILED: too slow: " + ", ".join(f"{name} took {_told(name)}" for name in slow))
