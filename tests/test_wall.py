"""The results wall: what comes with the course is whole, your own results go before it, your rows are added,
verdicts are computed here.
"""

import json
import statistics

import pytest
import torch
from PIL import Image
from torch import nn

from sslcourse import show
from sslcourse.commands.parser import main
from sslcourse.data.datasets import Data, Samples
from sslcourse.methods import catalogue
from sslcourse.results import claims, compare, wall
from sslcourse.runtime.errors import CourseError


class Numbers(nn.Module):
    """Its features are the picture's mean colour, which the small data below have as their class."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def encode(self, batch):
        x = batch["image"].float().mean((2, 3))
        return self.scale * torch.cat([x, x**2 / 255], 1)


@pytest.fixture
def sets():
    g = torch.Generator().manual_seed(0)

    def part(split, n):
        label = torch.arange(n) % 3
        image = (60 * label[:, None, None, None] + torch.randint(0, 60, (n, 3, 8, 8), generator=g)).to(
            torch.uint8
        )
        factors = {"class": label, "noise": torch.rand(n, generator=g)}
        return Samples(image, label, factors=factors, factor_names={"class": ("a", "b", "c")}, split=split)

    return Data(part("train", 150), part("validation", 60), part("test", 60))


def test_every_claim_of_every_paper_comes_with_the_course():
    found = wall.verdicts(folder="/nowhere")
    assert {r["paper"] for r in found} == set(claims.papers())
    for name in claims.papers():
        there = [r["claim"] for r in found if r["paper"] == name]
        unmeasured = [c.name for c in claims.paper(name).CLAIMS if c.name not in there]
        assert there == [c.name for c in claims.paper(name).CLAIMS if c.name not in unmeasured]
        # A claim without a run is said to be one.
        stored = json.loads((compare.MEASURED / f"claims-{name}.json").read_text(encoding="utf-8"))
        assert not unmeasured or "awaits" in stored, f"{name}: {unmeasured}"
    assert all(len(r["effects"]) >= 5 for r in found), "five seeds, or no verdict worth reporting"


def test_every_method_of_every_world_comes_with_the_course():
    walls = wall.read(folder="/nowhere")
    assert list(walls) == [*wall.WORLDS, "tracks"]
    for world, (data, hear, _) in wall.WORLDS.items():
        rows = walls[world]["rows"]
        names = catalogue.methods_for(data, hears=hear)
        assert len([n for n in rows if not compare.is_baseline(n)]) == len(names), world
        assert all(
            len(row["linear"]) == walls[world]["seeds"] >= 3 and row.get("few labels")
            for row in rows.values()
        ), world
        assert set(walls[world]["factors"]) == set(rows) - {"chance"}


def test_a_file_of_yours_goes_before_the_courses(tmp_path):
    mine = wall.read(folder="/nowhere")["toybox"]
    mine["rows"] = {"SimCLR": {"kNN": [0.1], "linear": [0.2], "seconds": [3.0]}}
    (tmp_path / "wall").mkdir()
    (tmp_path / "wall" / "toybox.json").write_text(json.dumps(mine))
    assert wall.read(tmp_path)["toybox"]["rows"]["SimCLR"]["linear"] == [0.2]
    page = json.loads((compare.MEASURED / "claims-bigan.json").read_text())
    page["verdicts"] = [{"verdict": "pass"}] * 5  # what a file says about itself is not believed
    page["runs"] = {"0": page["runs"]["0"]}
    (tmp_path / "claims-bigan.json").write_text(json.dumps(page))
    found = [r for r in wall.verdicts(tmp_path) if r["paper"] == "bigan"]
    assert all(r["verdict"] == "inconclusive" and len(r["effects"]) == 1 for r in found)


def test_your_row_is_judged_as_the_others_and_added(tmp_path, sets):
    method = Numbers()
    row = wall.add("mine", method, sets, seconds=2.5, folder=tmp_path)
    assert (
        row["linear"][0] > 0.95
        and row["kNN"][0] > 0.95
        and row["few labels"][0] > 0.9
        and row["seconds"] == [2.5]
    )
    assert row["factors"]["class"][0] > 0.9 and row["factors"]["noise"][0] < 0.2
    again = wall.add("mine", method, sets, folder=tmp_path, seed=1)
    assert len(again["linear"]) == 2
    walls = wall.read(tmp_path)
    assert walls["toybox"]["rows"]["mine"]["mine"] and len(walls["toybox"]["rows"]["mine"]["linear"]) == 2
    assert "mine" in wall.factors(walls["toybox"]) and "mine" not in walls["films"]["rows"]
    assert not any(row.get("mine") for name, row in walls["toybox"]["rows"].items() if name != "mine")
    assert sets.test.openings.count("evaluate.report") == 2
    wall.forget("mine", tmp_path)
    assert "mine" not in wall.read(tmp_path)["toybox"]["rows"]
    with pytest.raises(CourseError, match="you have added none"):
        wall.forget("mine", tmp_path)


def test_wrong_files_and_names_say_what_to_do(tmp_path, sets):
    with pytest.raises(CourseError, match="choose one of toybox, films"):
        wall.add("mine", Numbers(), sets, world="cifar", folder=tmp_path)
    (tmp_path / "wall").mkdir()
    for text in ("{", "[1]"):
        (tmp_path / "wall" / "films.json").write_text(text)
        with pytest.raises(CourseError, match="films.json.*delete it"):
            wall.read(tmp_path)
    (tmp_path / "claims-dpc.json").write_text('{"paper": "simclr", "runs": {}}')
    with pytest.raises(CourseError, match="holds no claims of 'dpc'"):
        wall.verdicts(tmp_path)


def test_counts_and_rows_agree():
    rows = wall.verdicts(folder="/nowhere")
    for row in wall.counted(rows):
        assert (
            row["pass"] + row["inconclusive"] + row["fail"]
            == row["claims"]
            == len([r for r in rows if r["paper"] == row["paper"]])
        )
    for line, row in zip(wall.claim_rows(rows), rows):
        assert (
            line["claim"] == row["text"]
            and line["verdict"] == row["verdict"]
            and line["effect"].startswith(f"{row['mean']:+.3f}")
        )


def test_the_page_needs_no_network(tmp_path):
    text = wall.page(tmp_path / "wall.html", folder="/nowhere").read_text()
    assert not any(word in text for word in ("src='http", 'src="http', "href=", "@import", "url("))
    assert text.count("data:image/png;base64,") >= 2 * len(wall.WORLDS) + 1
    assert "BiGAN" in text or "bigan" in text


def test_the_command_prints_it_and_writes_the_page(tmp_path, capsys):
    assert main(["wall", "--folder", str(tmp_path), "--json", "--picture", str(tmp_path / "wall.png")]) == 0
    found = json.loads(capsys.readouterr().out)
    with Image.open(tmp_path / "wall.png") as picture:
        assert picture.width == 810 and picture.height > 1000
    assert (
        set(found["worlds"]) == {*wall.WORLDS, "tracks"}
        and (tmp_path / "wall.html").exists()
        and len(found["claims"]) > 80
    )
    assert main(["evaluate", "--all", "mars"]) == 2 and "choose one of" in capsys.readouterr().err
    assert main(["claims", "--all", "--out", "x.json"]) == 2 and "leave out --out" in capsys.readouterr().err


def test_all_claims_run_one_after_another(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(claims, "papers", lambda: ("bigan", "dpc"))
    pages = {
        n: json.loads((compare.MEASURED / f"claims-{n}.json").read_text())["runs"] for n in ("bigan", "dpc")
    }
    for name in pages:
        monkeypatch.setattr(
            claims.paper(name), "runs", lambda seed, say=print, runs=pages[name]: runs[str(seed)]
        )
    assert main(["claims", "--all", "--seeds", "2"]) in (0, 1)
    assert "bigan" in capsys.readouterr().err
    assert {f.name for f in (tmp_path / "results").glob("*.json")} == {"claims-bigan.json", "claims-dpc.json"}
    assert len(json.loads((tmp_path / "results" / "claims-dpc.json").read_text())["runs"]) == 2


def test_measuring_a_world_writes_its_file(tmp_path, monkeypatch):
    called = {}

    def run(names, data, **kwargs):
        called.update(names=names, data=data, **kwargs)
        return {"rows": {"SimCLR": {"linear": [0.123456]}}, "seeds": 1}

    monkeypatch.setattr(compare, "run", run)
    wall.measure("heard", 1, folder=tmp_path)
    assert (
        called["data"] == "toyevents"
        and called["hear"]
        and all(catalogue.spec(n).hears for n in called["names"])
        and called["names"]
    )
    assert json.loads((tmp_path / "wall" / "heard.json").read_text())["rows"]["SimCLR"]["linear"] == [0.1235]


def test_both_recipes_stand_on_the_wall(tmp_path, monkeypatch):
    asked = []

    def run(names, data, *, recipe, **kwargs):
        asked.append(recipe)
        long = recipe == "full"
        row = {"kNN": [0.5 + 0.3 * long], "linear": [0.6 + 0.3 * long], "few labels": [0.3 + 0.3 * long]}
        rows = {
            "pixels": {"kNN": [0.2], "linear": [0.2], "few labels": [0.1]},
            "SimCLR": {**row, "seconds": [20.0 + 160 * long], "epochs": 8 + 42 * long, "batch_size": 128},
        }
        kept = {"pixels": {"hue": [0.1]}, "SimCLR": {"hue": [0.4 + 0.4 * long]}}
        head = {
            "data": "toybox",
            "protocol": "kNN",
            "seeds": 1,
            "profile": "cpu",
            "versions": {},
            "encoder": "c",
        }
        return {**head, "recipe": recipe, "rows": rows, "factors": kept}

    monkeypatch.setattr(compare, "run", run)
    monkeypatch.setattr(compare, "MEASURED", tmp_path / "course")
    (tmp_path / "course").mkdir()
    wall.measure("toybox", 1, folder=tmp_path)
    alone = wall.read(tmp_path)["toybox"]
    assert "full" not in alone and not any(
        "full" in key for row in wall.table("toybox", alone) for key in row
    )
    wall.measure("toybox", 1, recipe="full", folder=tmp_path)
    assert asked == ["course", "full"]
    assert {f.name for f in (tmp_path / "wall").iterdir()} == {"toybox.json", "toybox-full.json"}
    found = wall.read(tmp_path)["toybox"]
    assert found["rows"]["SimCLR"]["linear"] == [0.6] and found["full"]["rows"]["SimCLR"]["linear"] == [0.9]
    rows = {row["features"]: row for row in wall.table("toybox", found)}
    assert rows["SimCLR"]["linear probe"].startswith("60") and rows["SimCLR"][
        "linear probe, full"
    ].startswith("90")
    assert (
        rows["SimCLR"]["seconds of training"] == "20" and rows["SimCLR"]["seconds of training, full"] == "180"
    )
    assert rows["pixels"]["linear probe, full"] == "–" and rows["pixels"]["seconds of training, full"] == "–"
    assert wall.factors(found)["SimCLR"]["hue"] == 0.8 and wall.factors(alone)["SimCLR"]["hue"] == 0.4
    assert compare.factor_rows(found)[1]["hue"] == "0.80"
    ax = wall.drawn("toybox", found).axes[0]
    widths = sorted(round(p.get_width()) for p in ax.patches)
    assert widths == [20, 60, 90]
    assert any(
        "60.0" in t.get_text() and "full: 90.0" in t.get_text() and "180 s" in t.get_text() for t in ax.texts
    )
    assert len(wall.drawn("toybox", alone).axes[0].patches) == 2
    assert {f.name for f in wall.keep(tmp_path)} >= {"toybox.json", "toybox-full.json"}
    with pytest.raises(CourseError, match="'course' and 'full'"):
        wall.measure("toybox", 1, recipe="gpu", folder=tmp_path)


def test_results_of_an_older_course_are_told_from_whole_ones(tmp_path):
    """A claim that came later has no runs in an old file: the wall leaves it out, the command says what to
    do.
    """
    page = json.loads((compare.MEASURED / "claims-bigan.json").read_text())
    page["runs"] = {
        seed: {name: row for name, row in run.items() if name != "pixels"}
        for seed, run in page["runs"].items()
    }
    (tmp_path / "claims-bigan.json").write_text(json.dumps(page))
    found = [r["claim"] for r in wall.verdicts(tmp_path) if r["paper"] == "bigan"]
    assert found == [c.name for c in claims.paper("bigan").CLAIMS if c.name != "beats_pixels"]
    with pytest.raises(CourseError, match="'beats_pixels'.*'pixels'.*sslcourse claims bigan"):
        list(claims.run("bigan", 2, file=tmp_path / "claims-bigan.json", say=lambda text: None))


def test_tracking_is_read_from_its_claims():
    found = wall.read(folder="/nowhere")["tracks"]
    page = json.loads((compare.MEASURED / "claims-colorization.json").read_text())
    assert (
        found["rows"]["Colorization"]["J"] == [run["colorization"]["J"] for run in page["runs"].values()]
        and found["seeds"] == 5
    )
    rows = {row["features"]: row for row in wall.table("tracks", found)}
    mean = 100 * statistics.fmean(found["rows"]["copy the first mask"]["J"])
    assert rows["copy the first mask"]["J (masks)"].startswith(f"{mean:.1f} ±")
    ax = wall.drawn("tracks", found).axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()][-1] == "Colorization" and len(ax.patches) == 6


def test_pictures_of_the_wall():
    rows = {
        "chance": {"linear": [0.1, 0.1]},
        "pixels": {"linear": [0.2, 0.3], "kNN": [0.3, 0.3]},
        "SimCLR": {
            "linear": [0.8, 0.9],
            "kNN": [0.7, 0.7],
            "few labels": [0.5, 0.6],
            "seconds": [20.0, 22.0],
        },
        "mine": {"linear": [0.5], "mine": True},
    }
    ax = show.wall(rows, chance=0.1).axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["pixels", "mine (yours)", "SimCLR"]
    widths = [p.get_width() for p in ax.patches]
    assert widths == pytest.approx([25, 50, 85]) and len({p.get_facecolor() for p in ax.patches}) == 3
    assert any("20 s" in t.get_text() and "85.0" in t.get_text() for t in ax.texts)
    picture = show.verdicts(
        [{"paper": "a", "verdict": v} for v in ("fail", "pass", "pass", "inconclusive")]
        + [{"paper": "b", "verdict": "pass"}]
    )
    assert [t.get_text() for t in picture.axes[0].texts] == ["✓", "✓", "?", "✗", "2 of 4", "✓", "1 of 1"]
    with pytest.raises(CourseError, match="nothing to draw"):
        show.wall({"chance": {"linear": [0.1]}})
    with pytest.raises(CourseError, match="maybe"):
        show.verdicts([{"paper": "a", "verdict": "maybe"}])


def test_intervals_are_drawn_where_they_are():
    rows = [
        ("a", 0.1, 0.05, 0.15, "pass"),
        ("b", -0.2, -0.4, 0.01, "inconclusive"),
        ("c", 0.3, float("-inf"), float("inf"), "inconclusive"),
    ]
    ax = show.intervals(rows, "three").axes[0]
    spans = [
        tuple(line.get_xdata())
        for line in ax.lines
        if len(line.get_xdata()) == 2 and line.get_xdata()[0] != line.get_xdata()[1]
    ]
    assert (0.05, 0.15) in spans and (-0.4, 0.01) in spans and len(spans) == 2
    assert [t.get_text()[-1] for t in ax.get_yticklabels()] == ["✓", "?", "?"]
    with pytest.raises(CourseError, match="maybe"):
        show.intervals([("a", 0, 0, 0, "maybe")])
    with pytest.raises(CourseError, match="nothing to draw"):
        show.intervals([])


def test_factor_means():
    found = {"factors": {"a": {"hue": [0.2, 0.4]}}}
    assert wall.factors(found) == {"a": {"hue": pytest.approx(statistics.fmean([0.2, 0.4]))}}


def test_a_row_says_its_gain_over_the_random_network_that_reads_as_it_does():
    """Seed by seed, and with the spread of the differences; a file from before has no such network."""
    rows = {
        "random encoder": {"linear": [0.20, 0.30]},
        "random encoder, as Jigsaw reads": {"linear": [0.50, 0.60]},
        "SimCLR": {"linear": [0.80, 0.94], "seconds": [1.0, 1.0]},
        "Jigsaw": {"linear": [0.85, 0.87], "seconds": [1.0, 1.0]},
        "my own": {"linear": [0.70], "mine": True, "seconds": [1.0]},
    }
    text = lambda picture: " ".join(t.get_text() for t in picture.axes[0].texts)
    shown = text(wall.drawn("toybox", {"rows": rows}))
    assert "+62.0 ± 2.8" in shown and "+31.0 ± 5.7" in shown and shown.count("+") == 2
    full = {"rows": {**rows, "SimCLR": {"linear": [0.99, 0.98], "seconds": [9.0, 9.0]}}}
    assert "full: 98.5   +73.5 ± 7.8" in text(wall.drawn("toybox", {"rows": rows, "full": full}))
    assert "+" not in text(wall.drawn("toybox", {"rows": rows, "awaits": "a new measurement"}))
