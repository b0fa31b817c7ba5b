"""Panels, replays and explorers without a browser: what they draw, what they cost, what they store."""

import base64
import io
import json
import math
import os
import pathlib
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from sslcourse.data import toybox as world
from sslcourse.runtime.errors import CourseError
from sslcourse.widgets import Panel, Replay, align, augmentations, live, map2d, temperature, toybox


def decoded(data: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return np.asarray(picture.convert("RGB")).astype(int)


@pytest.fixture()
def shown(monkeypatch):
    """What a notebook would receive: every picture that a panel sends."""
    sent = []
    monkeypatch.setattr(Panel, "_show", lambda self, data: sent.append(data))
    return sent


def row(epoch: int) -> dict:
    return {
        "epoch": epoch,
        "loss": 5.0 - 0.3 * epoch,
        "kNN": 0.1 + 0.04 * epoch,
        "linear": 0.1 + 0.05 * epoch,
        "lr": 0.1,
        "seconds": 1.0,
    }


def test_nothing_heavy_is_imported_before_it_is_used():
    code = """
import sys, sslcourse.widgets
bad = {"matplotlib", "ipywidgets", "anywidget", "PIL"} & set(sys.modules)
assert not bad, bad
from sslcourse.widgets import Panel
assert "ipywidgets" not in sys.modules and "matplotlib" not in sys.modules
try:
    sslcourse.widgets.nonsense
except AttributeError as error:
    assert "toybox" in str(error)
from sslcourse.widgets import toybox, Replay
toybox()
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------------------------------ maps


def test_align_undoes_a_turn_a_mirror_and_a_shift_and_nothing_else():
    xy = torch.randn(50, 2)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    for matrix in (turn, turn @ torch.diag(torch.tensor([1.0, -1.0]))):
        assert torch.allclose(align(xy @ matrix + 3, xy), xy, atol=1e-5)
    assert torch.allclose(
        align(2 * xy, xy).std(0), 2 * xy.std(0), rtol=0.05
    )  # a map that grew must look larger
    with pytest.raises(CourseError, match="same samples"):
        align(xy[:10], xy)


def test_map2d_is_a_principal_component_analysis_of_directions():
    from sklearn.decomposition import PCA

    for shape in ((200, 16), (20, 64)):
        f = torch.randn(*shape)
        expected = PCA(2).fit_transform(torch.nn.functional.normalize(f, dim=1).numpy())
        found = map2d(f).numpy()
        assert np.allclose(np.abs(found), np.abs(expected), atol=1e-4)
        assert torch.equal(map2d(f), map2d(100 * f)) or torch.allclose(map2d(f), map2d(100 * f), atol=1e-5)


def test_maps_of_successive_epochs_do_not_jump():
    g = torch.Generator().manual_seed(0)
    centre, labels = torch.randn(10, 32, generator=g), torch.arange(300) % 10
    noise = torch.randn(300, 32, generator=g)
    previous, steps = None, []
    for epoch in range(6):
        new = map2d(centre[labels] * (0.6 + 0.1 * epoch) + 0.3 * noise, previous)
        if previous is not None:
            steps.append(float((new - previous).norm(dim=1).mean() / previous.norm(dim=1).mean()))
        previous = new
    assert max(steps) < 0.2, steps


def test_map2d_says_what_it_needs():
    for bad in (torch.randn(2, 8), torch.randn(8), torch.full((8, 8), math.nan)):
        with pytest.raises(CourseError):
            map2d(bad)
    assert torch.isfinite(map2d(torch.ones(8, 4))).all()  # collapsed features are a point and no error


# ------------------------------------------------------------------------------------------ the panel


class Clock:
    """A clock that only moves when the test says so, in the place of the panel's: what other work does to
    this machine cannot count.
    """

    def __init__(self):
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.mark.parametrize("frame", [0.05, 0.15])
@pytest.mark.parametrize(
    "dearer", [1.0, 3.0]
)  # the full frames may cost more than the empty ones let the panel foresee
def test_the_panel_keeps_to_its_budget(shown, monkeypatch, frame, dearer):
    """Up to the last epoch at most 2 % and what the first frame costs beyond what was foreseen, and not much
    less either.
    """
    from sslcourse.widgets import live

    clock = Clock()
    monkeypatch.setattr(live, "time", clock)
    render = Panel._render

    def slowly(panel):
        clock.now += frame * (dearer if panel.rows else 1)
        return render(panel)

    monkeypatch.setattr(Panel, "_render", slowly)
    panel, shares = Panel(1000, classes=world.SHAPES, backend="notebook"), []
    for epoch in range(1, 201):
        clock.now += 0.2
        panel.add(row(epoch), xy=torch.zeros(30, 2), labels=torch.arange(30) % 10)
        shares.append(panel.spent_share)
    surprise = max(0.0, frame * (dearer - 1.6)) / (200 * 0.2)
    assert shares[-1] <= 0.02 + surprise, (shares[-1], panel.frames_drawn)
    assert panel.frames_drawn * frame * dearer == pytest.approx(panel._spent), "all that was drawn is counted"
    full = 0.02 * 200 * 0.2 / (frame * dearer)
    assert full - 2 < panel.frames_drawn <= full + 2, (panel.frames_drawn, full)
    panel.close()
    assert panel.frames_drawn <= full + 3


def test_a_short_training_gets_its_last_frame_and_little_more(shown):
    panel = Panel(3, backend="notebook")
    for epoch in (1, 2, 3):
        panel.add(row(epoch))
    assert len(shown) == 2  # the empty one, and the last: two epochs went by faster than the budget allows
    drawn = panel.frames_drawn
    panel.close()
    assert panel.frames_drawn == drawn  # nothing is new: nothing is drawn
    assert np.array_equal(decoded(shown[-1]), decoded(panel.png))


def test_close_shows_the_final_state_of_a_training_that_was_stopped(shown):
    with Panel(100, backend="notebook") as panel:
        for epoch in range(1, 6):
            panel.add(row(epoch))
        stale = decoded(panel._last_png or shown[-1])
    assert not np.array_equal(decoded(shown[-1]), stale)
    assert np.array_equal(decoded(shown[-1]), decoded(panel.png))
    panel.close()  # a second time does nothing
    with pytest.raises(CourseError, match="closed"):
        panel.add(row(6))
    assert repr(panel) == "<panel: 5 of 100 epochs, closed>"


def test_an_error_in_the_loop_still_leaves_the_last_state(shown):
    with pytest.raises(ZeroDivisionError), Panel(100, backend="notebook") as panel:
        panel.add(row(1))
        raise ZeroDivisionError
    assert np.array_equal(decoded(shown[-1]), decoded(panel.png))


@pytest.mark.parametrize("filled", [{}, {"xy"}, {"filters"}, {"xy", "filters"}, {"xy", "health"}])
def test_every_kind_of_panel_draws(filled):
    panel = Panel(4, classes=world.SHAPES, title="$not math_", backend="silent")
    empty = decoded(panel.png)
    for epoch in (1, 2):
        extra = (
            {"spread": 0.01, "effective rank": 1.5, "alignment": 0.2, "uniformity": -2.0}
            if "health" in filled
            else {}
        )
        if "xy" in filled:
            panel.map(torch.randn(50, 2) * epoch, torch.arange(50) % 11 - 1)
        if "filters" in filled:
            panel.filters(torch.rand(32, 3, 5, 5))
        panel.add(row(epoch) | extra)
    picture = decoded(panel.png)
    assert (
        picture.shape[1] <= 830
        and len(panel.png) < 60_000
        and (picture.shape != empty.shape or (picture != empty).any())
    )


def test_a_metric_of_another_size_does_not_flatten_the_probes():
    def picture(**more):
        panel = Panel(3, backend="silent")
        for epoch in (1, 2):
            panel.add(row(epoch) | more)
        return panel.png

    assert picture(age=1000.0 * 1) == picture() != picture(found=0.5)


def test_a_collapsed_cloud_looks_collapsed():
    """The map does not zoom in on what has shrunk to a point."""

    def ink(xy):
        panel = Panel(1, backend="silent").map(xy, torch.zeros(300))
        panel.add(row(1))
        middle = decoded(panel.png)[20:-20, 400:660]
        return (np.abs(middle - 255).sum(2) > 60).sum()

    cloud = torch.randn(300, 2)
    assert ink(0.001 * cloud) < 0.1 * ink(0.2 * cloud)


def test_the_panel_names_mistakes(monkeypatch):
    for call, word in (
        (lambda: Panel(0), "recipe_epochs=0"),
        (lambda: Panel(3, budget=0), "budget"),
        (lambda: Panel(3, backend="x"), "backend"),
        (lambda: Panel(3).add({"loss": "high"}), "loss"),
        (lambda: Panel(3).map(torch.randn(3, 5)), "map2d"),
        (lambda: Panel(3).map(torch.randn(3, 2), [1]), "labels"),
        (lambda: Panel(3).filters(torch.rand(3)), "filters"),
    ):
        with pytest.raises(CourseError, match=word):
            call()
    monkeypatch.setenv("SSLCOURSE_DISPLAY", "loud")
    with pytest.raises(CourseError, match="loud"):
        Panel(3)


def test_the_terminal_gets_one_line(capsys):
    with Panel(2, title="run", backend="terminal", budget=1.0) as panel:
        panel.add(row(1))
        panel.add(row(2))
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "\r" in err and "epoch   2/2" in err and "loss 4.400" in err


def test_silence_is_silent(capsys):
    with Panel(2, backend="silent") as panel:
        panel.add(row(1))
    assert capsys.readouterr() == ("", "") and panel.frames_drawn == 0


def test_two_threads_may_use_one_panel(shown):
    panel, errors = Panel(1000, backend="notebook", budget=1.0), []

    def look():
        try:
            for _ in range(5):
                decoded(panel.png)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for t in threads:
        t.start()
    for epoch in range(1, 20):
        panel.add(row(epoch), xy=torch.randn(30, 2), labels=torch.zeros(30))
    for t in threads:
        t.join()
    assert errors == [] and len(panel.rows) == 19


def test_a_recipe_or_a_number_of_epochs():
    from sslcourse.train.recipe import Recipe

    assert (
        Panel(Recipe(epochs=7, batch_size=2, lr=0.1), backend="silent").epochs
        == Panel(7, backend="silent").epochs
        == 7
    )


@pytest.mark.slow
def test_a_notebook_stores_the_final_picture_once(tmp_path):
    """Through a real kernel: one output, holding the last frame, and nothing else; running the cell again
    does the same.
    """
    import nbformat
    from nbclient import NotebookClient

    source = (
        "from sslcourse.widgets import Panel\nimport base64, time\npanel = Panel(5, title='run')\nfor "
        "epoch in range(1, 6):\n"
        "    panel.add({'epoch': epoch, 'loss': 5.0 - epoch}); time.sleep(0.3)\npanel.close()\n"
    )
    cells = [
        source,
        source,
        "print(base64.b64encode(panel.png).decode())",
        "panel.replay",
        "from sslcourse.widgets import toybox\ntoybox()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    env = {k: v for k, v in os.environ.items() if k != "SSLCOURSE_DISPLAY"}
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(env=env)
    first, second, printed, replay, explorer = (c.outputs for c in notebook.cells)
    assert len(first) == len(second) == 1 and set(second[0]["data"]) == {"image/png", "text/plain"}
    final = decoded(base64.b64decode(printed[0]["text"]))
    for outputs in (first, second):
        assert np.array_equal(decoded(base64.b64decode(outputs[0]["data"]["image/png"])), final)
    for outputs in (replay, explorer):
        assert len(outputs) == 1 and decoded(base64.b64decode(outputs[0]["data"]["image/png"])).std() > 1
        assert "0x" not in outputs[0]["data"]["text/plain"]
    assert len(json.dumps(notebook)) < 600_000


# ------------------------------------------------------------------------------------------ the replay


def recording(frames: int = 4, points: int = 30, **changes) -> Panel:
    panel = Panel(frames, classes=world.SHAPES, title="run", backend="silent")
    g = torch.Generator().manual_seed(0)
    for epoch in range(1, frames + 1):
        panel.add(
            row(epoch),
            xy=torch.randn(points, 2, generator=g),
            labels=torch.arange(points) % 10,
            filters=torch.rand(8, 3, 5, 5, generator=g),
        )
    return panel


def test_a_replay_holds_what_the_panel_saw():
    panel = recording()
    replay = panel.replay
    assert (
        repr(replay) == "<replay of 4 epochs, 30 points, 2 metrics>".replace("2 metrics", "3 metrics")
        and len(replay) == 4
    )
    maps = np.frombuffer(replay.positions, "<u2").reshape(4, 30, 2).astype(float) / 65535 * 2 - 1
    assert np.allclose(
        maps[-1] * replay.about["runs"][0]["reach"], panel._xy, atol=0.004
    )  # float16, then 65,536 steps
    assert np.frombuffer(replay.labels, np.uint8).tolist() == [i % 10 for i in range(30)]
    metrics = np.frombuffer(replay.metrics, "<f4").reshape(3, 4)
    about = replay.about["runs"][0]
    assert about["names"] == ["loss", "kNN", "linear"] and np.allclose(metrics[0], [4.7, 4.4, 4.1, 3.8])
    assert len(replay.kernels) == 4 * 8 * 5 * 5 * 3 and replay.frame == 3
    size = len(replay.positions) + len(replay.kernels) + len(replay.metrics)
    assert size < 12_000
    assert "lr" not in about["names"] and not any(os.sep in str(v) for v in about["classes"])


def test_a_thousand_points_over_thirty_epochs_stay_small(tmp_path):
    replay = recording(30, 1000).replay
    assert len(replay.positions) == 30 * 1000 * 4 and replay.save(tmp_path / "r").stat().st_size < 160_000


def test_a_replay_comes_back_from_its_file(tmp_path):
    replay = recording().replay
    path = replay.save(tmp_path / "run")
    assert path.name == "run.npz" and [p.name for p in tmp_path.iterdir()] == ["run.npz"]
    again = Replay.load(path)
    for name in ("positions", "labels", "metrics", "kernels", "about", "frame"):
        assert getattr(again, name) == getattr(replay, name), name
    assert again.picture() == replay.picture() and again.picture(0) != again.picture(3)
    with pytest.raises(CourseError, match="frame=4"):
        again.picture(4)


@pytest.mark.parametrize("harm", ["cut", "flip", "text", "pickle"])
def test_a_damaged_file_is_named(tmp_path, harm):
    path = recording().replay.save(tmp_path / "run.npz")
    data = bytearray(path.read_bytes())
    if harm == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif harm == "flip":
        data[len(data) // 2] ^= 255
        path.write_bytes(data)
    elif harm == "text":
        path.write_text("not a replay")
    else:
        np.savez(path, words=np.array([{}], dtype=object))
    with pytest.raises(CourseError, match=r"run\.npz is damaged"):
        Replay.load(path)
    with pytest.raises(CourseError, match="no replay"):
        Replay.load(tmp_path / "missing.npz")


def test_a_file_of_another_version_is_refused(tmp_path, monkeypatch):
    from sslcourse.widgets import replay as module

    path = recording().replay.save(tmp_path / "run.npz")
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    with pytest.raises(CourseError, match=f"format {module.VERSION - 1}"):
        Replay.load(path)


def test_replays_of_little():
    assert decoded(Replay([{"row": {"loss": 1.0}}]).picture()).std() > 1
    assert decoded(Replay([{"row": {}, "xy": np.zeros((1, 2))}]).picture()).std() > 1
    gaps = Replay([{"row": {"loss": 1.0}}, {"row": {"kNN": 0.5}, "xy": np.ones((2, 2)), "labels": [0, -1]}])
    assert math.isnan(np.frombuffer(gaps.metrics, "<f4")[1]) and gaps.labels == bytes([0, 255])
    for bad in ([], [{"xy": np.zeros((2, 2))}, {"xy": np.zeros((3, 2))}]):
        with pytest.raises(CourseError):
            Replay(bad)


def samples(m: int = 12):
    from sslcourse.data.datasets import Samples

    return Samples(
        torch.randint(0, 255, (m, 3, 32, 32), dtype=torch.uint8), torch.arange(m) % 3, classes=("a", "b", "c")
    )


def clustered(epochs: int = 4, seed: int = 0) -> Panel:
    panel, g = (
        Panel(epochs, classes=("a", "b", "c"), title="run", backend="silent", samples=samples()),
        torch.Generator().manual_seed(seed),
    )
    for epoch in range(epochs):
        panel.add(
            row(epoch + 1),
            xy=torch.randn(30, 2, generator=g),
            labels=torch.arange(30) % 3,
            assigned=(torch.arange(30) * (epoch + 1)) % 7,
            predicted=(torch.arange(12) + epoch) % 3,
        )
    return panel


def test_a_replay_keeps_clusters_and_predictions(tmp_path):
    replay = clustered().replay
    about = replay.about["runs"][0]
    assert about["clustered"] and about["guesses"] == 12
    assert [list(np.frombuffer(replay.assigned, np.uint8).reshape(4, 30)[i]) for i in (0, 3)] == [
        [j * k % 7 for j in range(30)] for k in (1, 4)
    ]
    assert list(np.frombuffer(replay.guesses, np.uint8).reshape(4, 12)[1]) == [(i + 1) % 3 for i in range(12)]
    again = Replay.load(replay.save(tmp_path / "r"))
    assert (again.assigned, again.guesses, again.pictures, again.truth) == (
        replay.assigned,
        replay.guesses,
        replay.pictures,
        replay.truth,
    )
    assert (
        decoded(again.picture()).shape[0] > decoded(recording().replay.picture()).shape[0]
    )  # the samples stand below
    with pytest.raises(CourseError, match="hand over the samples"):
        Replay([{"row": {}, "predicted": [0, 1]}])
    with pytest.raises(CourseError, match=r"assigned of shape \(3,\) for 2 points"):
        Replay([{"row": {}, "xy": np.zeros((2, 2)), "assigned": [0, 1, 2]}])
    with pytest.raises(CourseError, match="assigned holds 300"):
        Replay([{"row": {}, "xy": np.zeros((2, 2)), "assigned": [0, 300]}])


def with_rows(epochs: int = 4, seed: int = 0) -> Panel:
    """What is drawn changes with every epoch, the pictures it is compared with do not."""
    panel, g = Panel(epochs, title="run", backend="silent"), torch.Generator().manual_seed(seed)
    fixed = torch.rand(5, 3, 8, 8, generator=g)
    for epoch in range(1, epochs + 1):
        panel.add(row(epoch), pictures={"x": fixed, "G(z)": torch.rand(3, 3, 8, 8, generator=g)})
    return panel


def test_a_replay_keeps_rows_of_pictures_and_each_picture_once(tmp_path):
    panel = with_rows()
    replay = panel.replay
    about = replay.about["runs"][0]
    assert about["strips"] == [["x", 5], ["G(z)", 3]] and len(replay.runs[0].arrays["tiles"]) == 5 + 4 * 3
    index = np.frombuffer(replay.strips, "<u2").reshape(4, 8)
    assert (index[:, :5] == index[0, :5]).all() and len(set(index[:, 5:].flat)) == 12
    again = Replay.load(replay.save(tmp_path / "r"))
    assert (again.strips, again.tiles, again.about) == (replay.strips, replay.tiles, replay.about)
    for frame, kept in zip(again.frames(), panel._snapshots):
        assert all(np.array_equal(frame["strips"][name], kept["strips"][name]) for name in ("x", "G(z)"))
    assert again.picture() == replay.picture() != replay.picture(0)
    plain = Panel(4, title="run", backend="silent").add(row(1))
    assert decoded(panel.png).shape[0] > decoded(plain.png).shape[0]  # the rows stand below
    # As before where there are none: no new key in the file, nothing in the state.
    assert not {"strips", "tiles"} & set(np.load(plain.replay.save(tmp_path / "plain")).files)
    assert plain.replay.strips == plain.replay.tiles == b"" and "tileCut" not in plain.replay.about


def test_rows_of_pictures_side_by_side_and_those_that_do_not_fit():
    from sslcourse.widgets import side_by_side

    a, b, none = with_rows(4).replay, with_rows(3, seed=1).replay, recording().replay
    both = side_by_side({"first": a, "without": none, "second": b})
    at = [run["at"] for run in both.about["runs"]]
    assert (
        [p["tiles"] for p in at] == [0, 17, 17]
        and at[2]["strips"] == len(a.strips)
        and both.strips == a.strips + b.strips
    )
    assert both.about["tileCut"]["tile"] == 8
    with pytest.raises(CourseError, match="the same rows"):
        Replay(
            [
                {"row": {}, "strips": {"x": np.zeros((2, 8, 8, 3), np.uint8)}},
                {"row": {}, "strips": {"x": np.zeros((3, 8, 8, 3), np.uint8)}},
            ]
        )
    panel = Panel(2, backend="silent")
    rows = "one to 4 named rows"
    for bad, words in (
        ({}, rows),
        (torch.rand(2, 3, 8, 8), rows),
        ({"x": torch.rand(2, 5, 8, 8)}, r"\(2, 5, 8, 8\)"),
        ({"x": torch.rand(2, 3, 8, 8), "y": torch.rand(2, 3, 9, 9)}, "one size"),
    ):
        with pytest.raises(CourseError, match=words):
            panel.add(row(1), pictures=bad)


def test_a_resumed_record_is_the_record_of_one_run(tmp_path):
    whole = clustered(4)
    first = clustered(
        4
    ).replay  # saved after all four epochs; the training itself is taken up after the second
    path = first.save(tmp_path / "r")
    second = Panel(4, classes=("a", "b", "c"), title="run", backend="silent", samples=samples()).resume(
        Replay.load(path), epoch=2
    )
    assert [r["epoch"] for r in second.rows] == [1, 2]
    g = torch.Generator().manual_seed(0)
    maps = [torch.randn(30, 2, generator=g) for _ in range(4)]
    for epoch in (2, 3):
        second.add(
            row(epoch + 1),
            xy=maps[epoch],
            labels=torch.arange(30) % 3,
            assigned=(torch.arange(30) * (epoch + 1)) % 7,
            predicted=(torch.arange(12) + epoch) % 3,
        )
    a, b = whole.replay, second.replay
    assert (a.assigned, a.guesses, a.metrics, a.labels) == (b.assigned, b.guesses, b.metrics, b.labels)
    far = np.frombuffer(a.positions, "<u2").astype(int) - np.frombuffer(b.positions, "<u2").astype(int)
    assert np.abs(far).max() <= 20  # of 65,536: positions went through half precision and 16 bits twice


def test_replays_side_by_side():
    from sslcourse.widgets import side_by_side

    a, b = clustered(4).replay, clustered(3, seed=1).replay
    both = side_by_side({"first": a, "second": b})
    assert (
        len(both) == 4
        and [r["title"] for r in both.about["runs"]] == ["first", "second"]
        and a.about["runs"][0]["title"] == "run"
    )
    assert both.metrics == a.metrics + b.metrics and both.about["runs"][1]["at"]["metrics"] == len(a.metrics)
    assert both.about["runs"][1]["at"]["pictures"] == 12
    assert decoded(both.picture()).shape[0] == decoded(a.picture()).shape[0] + decoded(b.picture()).shape[0]
    assert "side by side: first, second" in repr(both)
    with pytest.raises(CourseError, match="two or three"):
        side_by_side({"only": a})
    with pytest.raises(CourseError, match="save each"):
        both.save("nowhere")


def test_a_training_is_recorded_beside_its_checkpoint_and_goes_on_there(toys, tmp_path, capsys):
    """Stopped after two epochs and taken up again: the record is that of an uninterrupted training."""
    from sslcourse import encoders
    from sslcourse.methods import simclr
    from sslcourse.train.loop import epochs
    from sslcourse.train.recipe import Recipe
    from sslcourse.widgets import recorded
    from sslcourse.widgets.replay import beside

    recipe, opened = Recipe(epochs=4, batch_size=128, lr=1e-3), len(toys.test.openings)

    def run(path, stop_after=None):
        torch.manual_seed(0)
        method = simclr.SimCLR(encoders.small_cnn(8))
        rows = recorded(epochs(method, toys.train, recipe, checkpoint=path), method, toys, recipe, path)
        for row in rows:
            if row["epoch"] == stop_after:
                rows.close()
                return

    run(tmp_path / "whole.safetensors")
    run(tmp_path / "broken.safetensors", stop_after=2)
    assert len(Replay.load(beside(tmp_path / "broken.safetensors"))) in (1, 2)
    run(tmp_path / "broken.safetensors")
    whole, broken = (Replay.load(beside(tmp_path / f"{n}.safetensors")) for n in ("whole", "broken"))
    assert (
        beside(tmp_path / "whole.safetensors").name == "whole.replay.npz" and len(whole) == len(broken) == 4
    )
    assert (whole.metrics, whole.guesses, whole.kernels) == (broken.metrics, broken.guesses, broken.kernels)
    assert whole.about["runs"][0]["guesses"] == 12 and whole.about["runs"][0]["points"] == 128
    assert "kNN" in whole.about["runs"][0]["names"] and len(toys.test.openings) == opened
    # A damaged record is named, and the training is not in its way.
    path = beside(tmp_path / "broken.safetensors")
    path.write_bytes(path.read_bytes()[:500])
    run(tmp_path / "broken.safetensors")
    assert (
        "damaged" in capsys.readouterr().err and len(Replay.load(path)) == 1
    )  # only the last epoch's weights are left to look at
    # The replay of another training does not become part of this one.
    path.write_bytes(beside(tmp_path / "whole.safetensors").read_bytes())
    (tmp_path / "broken.safetensors").unlink()
    recipe = recipe.but(seed=5, epochs=2)
    run(tmp_path / "broken.safetensors", stop_after=1)
    run(tmp_path / "broken.safetensors")
    assert len(Replay.load(path)) == 2


@pytest.mark.parametrize("epochs, most, expected", [(8, 40, 8), (200, 40, 40), (41, 40, 40), (100, 3, 3)])
def test_recorded_epochs_are_spread_and_end_with_the_last(epochs, most, expected):
    from sslcourse.widgets.recording import due

    chosen = [e for e in range(1, epochs + 1) if due(e, epochs, most)]
    assert len(chosen) == expected and chosen[-1] == epochs and max(np.diff(chosen)) <= -(-epochs // most)


def bundle(widget) -> dict:
    made = widget._repr_mimebundle_()
    return made[0] if isinstance(made, tuple) else made


def test_views_carry_a_picture_and_no_address():
    for widget in (
        recording().replay,
        toybox(),
        augmentations(torch.rand(2, 3, 32, 32)),
        temperature(torch.randn(4, 3), torch.randn(4, 3)),
    ):
        data = bundle(widget)
        assert decoded(base64.b64decode(data["image/png"])).std() > 1
        assert "application/vnd.jupyter.widget-view+json" in data
        assert "0x" not in data["text/plain"] and data["text/plain"] == repr(widget)


# ------------------------------------------------------------------------------------------ explorers


def explorers():
    x = world.render(world.factors(12))[0]
    z1 = torch.randn(12, 8)
    return {
        "toybox": toybox(),
        "augmentations": augmentations(x),
        "temperature": temperature(z1, z1 + 0.5 * torch.randn(12, 8), x),
    }


def extremes(control):
    """The ends and the start of a control."""
    if control.kind == "choice":
        values = [v for _, v in control.options]
        return {values[0], values[-1], control.value}
    return {control.low, control.high, control.value}


@pytest.mark.parametrize("name", ["toybox", "augmentations", "temperature"])
def test_every_control_at_both_ends_and_at_the_start(name):
    explorer = explorers()[name]
    start = explorer.frame()
    assert start == bytes(explorer.image), "the pure function and the widget show the same"
    for control, about in explorer.controls.items():
        for value in extremes(about):
            picture = decoded(explorer.frame(**{control: value}))
            assert picture.std() > 1 and picture.shape[1] <= 720, (control, value)
    assert explorer.frame() == start, "looking at another state changes nothing"
    with pytest.raises(CourseError, match="no control 'nonsense'"):
        explorer.frame(nonsense=1)
    control = next(k for k, c in explorer.controls.items() if c.kind in ("slider", "log"))
    with pytest.raises(CourseError, match=f"{control}=1000"):
        explorer.frame(**{control: 1000.0})


@pytest.mark.parametrize("name", ["toybox", "augmentations", "temperature"])
def test_a_moved_slider_changes_the_picture(name):
    explorer = explorers()[name]
    for control, about in explorer.controls.items():
        if control in ("blur", "flip", "grey", "light", "roll", "draw"):
            continue  # may leave a picture as it is
        before, turn = bytes(explorer.image), explorer.turn
        value = next(v for _, v in about.options if v != about.value) if about.kind == "choice" else about.low
        explorer.wanted = {**explorer.state, control: value}  # as the view asks for it
        assert (
            bytes(explorer.image) != before and explorer.turn == turn + 1 and explorer.state[control] == value
        ), control


def test_python_moves_back_what_the_view_moved():
    explorer = explorers()["toybox"]
    start, before = explorer.state["hue"], explorer.values
    explorer.wanted = {**explorer.state, "hue": 0.7}
    explorer.set(hue=start)
    assert (
        explorer.values["hue"] == start and explorer.values != before
    )  # a message goes out, although Python's own value is the old one


def test_a_view_cannot_ask_for_what_its_controls_do_not_say():
    explorer = explorers()["toybox"]
    before, picture = explorer.state, bytes(explorer.image)
    explorer.wanted = {**before, "hue": 99.0}
    assert (
        explorer.failed
        and "hue=99" in explorer.caption
        and explorer.state == before
        and bytes(explorer.image) == picture
    )
    explorer.wanted = {**before, "hue": 0.2}
    assert not explorer.failed and explorer.state["hue"] == 0.2
    with pytest.raises(CourseError, match="no button 'explode'"):
        explorer.press("explode")


def test_the_toybox_explorer_has_every_factor():
    state = toybox().state
    assert set(state) == {"shape", "pattern", "background", *world.RANGES}
    controls = toybox().controls
    for name, (low, high) in world.RANGES.items():
        assert (controls[name].low, controls[name].high) == (low, high)


def test_buttons_draw_anew_once():
    explorer = explorers()["augmentations"]
    draws = []
    explorer._draw = lambda inner=explorer._draw, **state: (draws.append(state["draw"]), inner(**state))[1]
    before = bytes(explorer.image)
    explorer.press("new draw")
    assert draws == [1] and bytes(explorer.image) != before
    world_explorer, count = explorers()["toybox"], []
    world_explorer._draw = lambda inner=world_explorer._draw, **state: (count.append(1), inner(**state))[1]
    world_explorer._message(world_explorer, {"press": "random scene"}, [])  # as it comes from the view
    assert len(count) == 1, "a new scene sets thirteen sliders and draws one picture"


def test_an_error_in_a_callback_is_seen_and_the_next_move_mends_it():
    explorer = explorers()["toybox"]
    good = explorer._draw

    def broken(**state):
        raise RuntimeError("the <brush> broke")

    explorer._draw = broken
    explorer.wanted = {**explorer.state, "hue": 0.5}
    assert explorer.failed and "RuntimeError: the <brush> broke" in explorer.caption
    explorer._draw = good
    explorer.wanted = {**explorer.state, "hue": 0.6}
    assert not explorer.failed and "broke" not in explorer.caption and "octahedron" not in explorer.caption


def test_callbacks_from_several_threads_end_with_the_last_state():
    explorer = explorers()["toybox"]

    def move(part):
        for i in range(5):
            explorer.set(hue=(part * 5 + i) / 20)

    threads = [threading.Thread(target=move, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert bytes(explorer.image) == explorer.frame()


def test_explorers_leave_the_random_numbers_of_the_notebook_alone():
    made = explorers()
    before = torch.get_rng_state()
    for explorer in made.values():
        explorer.redraw()
    made["augmentations"].press("new draw")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name, control", [("toybox", "hue"), ("augmentations", "colour")])
def test_a_redraw_takes_less_than_a_tenth_of_a_second(name, control):
    explorer, times = explorers()[name], []
    for i in range(9):
        start = time.process_time()  # of this process: other work on the machine must not count
        explorer.frame(**{control: 0.1 + i / 20})
        times.append(time.process_time() - start)
    assert sorted(times)[4] < 0.1, times


def test_weights_are_the_gradient_of_the_loss():
    """The pull and the pushes shown are the derivatives of the anchor's loss by its similarities, times
    temperature.
    """
    from sslcourse.widgets.explorers import softmax_weights

    z1, z2, tau = torch.randn(5, 4), torch.randn(5, 4), 0.3
    cosine, weight = softmax_weights(z1, z2, 2, tau)
    s = torch.tensor(np.nan_to_num(cosine), requires_grad=True)
    others = [i for i in range(10) if i != 2]
    loss = torch.logsumexp(s[others] / tau, 0) - s[7] / tau
    loss.backward()
    assert np.allclose(s.grad[7] * tau, -(1 - weight[7])) and np.allclose(
        s.grad[[0, 1, 9]] * tau, weight[[0, 1, 9]]
    )
    assert math.isnan(weight[2]) and abs(np.nansum(weight) - 1) < 1e-12


def test_explorers_name_mistakes():
    for call, word in (
        (lambda: toybox(size=8), "size=8"),
        (lambda: augmentations(torch.rand(2, 3, 8, 8), n=0), "n=0"),
        (lambda: augmentations(torch.rand(0, 3, 8, 8)), "no image"),
        (lambda: temperature(torch.randn(3, 2), torch.randn(2, 2)), "row for row"),
        (
            lambda: temperature(torch.randn(3, 2), torch.randn(3, 2), torch.rand(2, 3, 8, 8)),
            "3 projections but 2",
        ),
    ):
        with pytest.raises(CourseError, match=word):
            call()


def test_the_saved_state_holds_no_surprise():
    """What a notebook that saves its widgets would store: small, and nothing of this machine."""
    for name, view in {**explorers(), "replay": recording().replay}.items():
        state = {k: v for k, v in view.get_state().items() if k not in ("_esm", "layout")}
        text = json.dumps(state, default=lambda b: base64.b64encode(bytes(b)).decode())
        assert (
            len(text) < 250_000 and os.getcwd() not in text and os.path.expanduser("~") + os.sep not in text
        ), name


def test_a_page_without_a_kernel_gets_every_picture_drawn():
    small = explorers()["temperature"]
    small.for_page()
    drawn = small.about["drawn"]
    steps = drawn["steps"]["temperature"]
    assert (
        drawn["whole"]
        and len(drawn["at"]) == 12 * len(steps)
        and steps[0] == 0.02
        and 0.2 in steps
        and steps[-1] == 2.0
    )
    start, end, text = drawn["at"][f"3,{steps.index(0.2)}"]
    assert (
        np.array_equal(decoded(small.drawn[start:end]).shape, decoded(small.frame(anchor=3)).shape)
        and "softmax" in text
    )


@pytest.mark.slow
def test_a_page_without_a_kernel_gets_one_control_after_another_where_all_would_be_too_many():
    large = explorers()["toybox"]
    large.set(hue=0.9)
    large.for_page()
    drawn = large.about["drawn"]
    assert not drawn["whole"] and large.state["hue"] == large.controls["hue"].value, (
        "it starts where its controls do"
    )
    assert set(drawn["steps"]) == set(large.controls) and "shape,0" in drawn["at"] and "" in drawn["at"]
    start, end, _ = drawn["at"][f"hue,{len(drawn['steps']['hue']) - 1}"]
    there, wanted, other = (
        decoded(d) for d in (large.drawn[start:end], large.frame(hue=1.0), large.frame(hue=0.5))
    )
    assert abs(there - wanted).mean() < 4 < abs(there - other).mean()  # as good as the same, and not another
    assert len(large.drawn) < 600_000


@pytest.mark.parametrize(
    "path", sorted((pathlib.Path(live.__file__).parent / "static").glob("*.js")), ids=lambda p: p.name
)
def test_the_scripts_reach_for_nothing_outside(path):
    text = path.read_text()
    if path.name == "host.js":  # it loads the views' own scripts, out of the page it stands in
        assert text.count("import(") == text.count("import(URL.createObjectURL(new Blob(") == 1
        text = text.replace("import(", "")
    assert not any(word in text for word in ("http", "import ", "import(", "eval(", "innerHTML", "fetch("))
