"""What the guard of the notebooks holds, on planted ones: too slow, different, comparing nothing.

And every lesson compares some of its outputs.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

import lesson_runs
import nbformat
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LIMIT = 5  # processor seconds that a planted notebook may take; a kernel's start takes about one
SPIN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end:\n    pass"
COMPARED = "nbval-check-output"


def notebook(*cells: str, stored: str | None = None, tags=()) -> nbformat.NotebookNode:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    for number, cell in enumerate(made.cells, 1):
        cell.metadata["tags"] = list(tags)
        if stored is not None:
            cell.execution_count, cell.outputs = number, [nbformat.v4.new_output("stream", text=stored)]
    return made


def judged(
    folder: pathlib.Path, notebooks: dict[str, nbformat.NotebookNode], *options: str
) -> subprocess.CompletedProcess:
    """nbval with the guard on these notebooks, as `make nbval` calls it, but with LIMIT for a limit."""
    for name, made in notebooks.items():
        nbformat.write(made, folder / f"{name}.ipynb")
    (folder / "planted.py").write_text(f"import lesson_runs\nlesson_runs.allowed = lambda: {LIMIT}\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "nbval_guard",
        "-p",
        "planted",
        "-p",
        "no:cacheprovider",
    ]
    command += ["--nbval-lax", "--nbval-current-env", "--rootdir", str(folder), *options]
    command += [str(folder / f"{name}.ipynb") for name in notebooks]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tools"), str(folder)])}
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=folder)


@pytest.mark.slow
def test_a_notebook_that_computes_for_too_long_fails_and_one_that_waits_does_not(tmp_path):
    """Half of it in a child process: either half alone would be in time."""
    spin = SPIN.format(seconds=3)
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {spin!r}], check=True)"
    made = {
        "computes": notebook(spin, child),
        "waits": notebook(f"import time\ntime.sleep({2 * LIMIT})", "1 + 1"),
    }
    done = judged(tmp_path, made, "-n", "2", "--dist", "loadfile")
    said = dict(re.findall(rf"(\w+)\.ipynb: (\d+) of at most {LIMIT} processor seconds", done.stdout))
    assert set(said) == set(made), done.stdout + done.stderr
    assert int(said["computes"]) > LIMIT > int(said["waits"])
    assert "4 passed" in done.stdout and done.returncode == 1
    assert re.findall(r"(\w+)\.ipynb took", done.stdout) == ["computes"]


@pytest.mark.slow
def test_a_notebook_that_prints_something_else_fails_where_it_says_so(tmp_path):
    made = {
        "same": notebook("print('a table')", stored="a table\n", tags=[COMPARED]),
        "differs": notebook("print('another')", stored="a table\n", tags=[COMPARED]),
        "free": notebook("print('another')", stored="a table\n"),
    }
    done = judged(tmp_path, made)
    assert done.returncode == 1 and "1 failed, 2 passed" in done.stdout, done.stdout
    assert re.findall(r"FAILED (\w+)\.ipynb", done.stdout) == ["differs"]


@pytest.mark.slow
def test_a_cell_that_would_compare_nothing_is_no_test(tmp_path):
    done = judged(tmp_path, {"empty": notebook("print('a table')", tags=[COMPARED])})
    assert (
        done.returncode == pytest.ExitCode.USAGE_ERROR
        and "nbval would check nothing" in done.stderr + done.stdout
    )


@pytest.mark.slow
def test_a_swallowed_timeout_fails(tmp_path):
    swallows = "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('never mind')"
    done = judged(tmp_path, {"swallows": notebook(swallows)}, "--nbval-cell-timeout=2")
    assert done.returncode == 1 and "swallowed the interrupt" in done.stdout, done.stdout


@pytest.mark.slow
def test_a_notebook_is_kept_as_it_ran_with_the_states_of_its_views(tmp_path):
    view = "from sslcourse.widgets import Replay\nReplay([{'row': {'epoch': 1, 'loss': 1.0}}], title='kept')"
    done = judged(
        tmp_path,
        {"views": notebook("print('seen')", view), "fails": notebook("1 / 0", "2")},
        "--record",
        str(tmp_path / "kept"),
    )
    assert "1 failed, 3 passed" in done.stdout, done.stdout
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == ["views.ipynb", "views.views.json"]
    ran = nbformat.read(tmp_path / "kept" / "views.ipynb", as_version=4)
    (state,) = json.loads((tmp_path / "kept" / "views.views.json").read_text()).values()
    assert (
        ran.cells[0].outputs[0].text == "seen\n"
        and "application/vnd.jupyter.widget-view+json" in ran.cells[1].outputs[0].data
    )
    assert state["script"] == "replay" and state["traits"]


def test_slow_cores_never_get_twice_the_time(monkeypatch):
    """A notebook that takes double its time fails on the slowest machine, too."""
    assert lesson_runs.slowness() >= 1
    given = {}
    for slow in (1.0, 1.4, 2.0, 50.0):
        monkeypatch.setattr(lesson_runs, "slowness", lambda slow=slow: slow)
        given[slow] = lesson_runs.allowed() / lesson_runs.SECONDS
    assert 1 < given[1.0] < given[1.4] < given[2.0] == given[50.0] < 2


# ------------------------------------------------------------------------------------- what lessons compare


def compared(path: pathlib.Path) -> list[nbformat.NotebookNode]:
    return [c for c in nbformat.read(path, as_version=4).cells if COMPARED in c.metadata.get("tags", [])]


def shown(cell) -> str:
    """All that nbval compares of a cell: every text, but no picture. JupyterLab has an order of its own."""
    texts = []
    for output in cell.outputs:
        data = sorted(
            (kind, text) for kind, text in output.get("data", {}).items() if not kind.startswith("image/")
        )
        texts += [output["text"]] if "text" in output else ["".join(text) for _, text in data]
    return "".join(texts)


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_every_lesson_compares_three_outputs(path):
    cells = compared(path)
    texts = [shown(cell).strip() for cell in cells]
    assert len(cells) >= 3 and all(len(text) > 20 for text in texts) and len(set(texts)) == len(texts)


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_what_is_compared_is_the_same_on_every_machine(path):
    """No picture, whose bytes and textual name depend on the machine; no seconds; no address."""
    for cell in compared(path):
        assert not any("image/png" in o.get("data", {}) for o in cell.outputs), cell.source
        assert not re.search(r"\b\d+(\.\d+)? (s|ms|seconds)\b|0x[0-9a-f]{6}|torch \d|thread", shown(cell)), (
            cell.source
        )
