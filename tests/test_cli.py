"""The command line: what it prints, what it returns, and what it says when it is held wrong."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from sslcourse import runtime
from sslcourse.commands.parser import main
from sslcourse.methods import catalogue
from sslcourse.results import bench, claims
from sslcourse.results.claims import Verdict, simclr as simclr_claims
from sslcourse.runtime import doctor

TRAIN = ["train", "simclr", "--limit", "256", "--epochs", "1", "--batch-size", "64"]


@pytest.fixture
def checkpoint(tmp_path):
    file = str(tmp_path / "run.safetensors")
    assert main([*TRAIN, "--checkpoint", file, "--no-probe", "--json"]) == 0
    return file


def test_train_then_evaluate(tmp_path, capsys):
    file = str(tmp_path / "run.safetensors")
    assert main([*TRAIN, "--data", "digits", "--checkpoint", file, "--json"]) == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert (
        answer["checkpoint"] == file and 0 < answer["validation"]["kNN"] < 1 and "samples/s" in captured.err
    )
    assert main(["evaluate", file, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [r["features"] for r in rows] == ["chance", "pixels", "random encoder", "SimCLR"]


def test_the_same_command_goes_on(checkpoint, capsys):
    assert main([*TRAIN, "--checkpoint", checkpoint, "--no-probe"]) == 0
    assert "going on from" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, match",
    [
        (["evaluate"], "name a checkpoint"),
        (["evaluate", "missing.safetensors"], "no checkpoint 'missing.safetensors'"),
        (["train", "simclr", "--data", "imagenet"], "imagenet"),
        (["train", "simclr", "--data", "toybox:blue"], "0 to 1"),
        (["train", "simclr", "--batch-size", "0"], "--batch-size: '0' is not a whole number"),
        (["claims", "dino"], "simclr"),
        (["claims", "simclr", "--seeds", "0"], "--seeds: '0' is not a whole number"),
    ],
)
def test_wrong_input_is_explained_with_code_2(arguments, match, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert match in error and "Traceback" not in error


def test_help_teaches(capsys):
    for command in (
        [],
        ["train"],
        ["evaluate"],
        ["replay"],
        ["claims"],
        ["exercises"],
        ["grade"],
        ["bench"],
        ["doctor"],
    ):
        with pytest.raises(SystemExit) as stop:
            main([*command, "--help"])
        assert stop.value.code == 0
        assert len(capsys.readouterr().out) > 150


def test_as_a_module():
    done = subprocess.run([sys.executable, "-m", "sslcourse", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "sslcourse doctor" in done.stdout


# ---------------------------------------------------------------------------------------------- doctor

GOOD = {"torch": "2.11.0+cu128", "torchvision": "0.26.0+cu128", "torchaudio": "2.11.0+cu128"}


def test_doctor_accepts_matching_versions():
    assert doctor.conflicts(GOOD) == []
    assert doctor.conflicts({"torch": "2.6.0", "torchvision": "0.21.0", "torchaudio": "2.6.0"}) == []
    assert doctor.conflicts({"torch": "2.14.1", "torchvision": "0.29.1", "torchaudio": "2.11.1"}) == []


@pytest.mark.parametrize(
    "change, match",
    [
        ({"torchaudio": "2.11.0+cu126"}, "different CUDA versions"),
        ({"torch": "2.13.0"}, "torchvision 0.26.0.* was built for torch 2.11"),
        ({"torchaudio": "2.10.0+cu128"}, "torchaudio=="),
        ({"torch": "2.10.0", "torchvision": "0.25.0"}, r"torchaudio==2\.10\.\*"),
        (
            {"torch": "2.14.1", "torchvision": "0.29.1", "torchaudio": "2.9.1"},
            "-U 'torchaudio>=2.11'",
        ),
        ({"ipykernel": "7.1.0", "ipython": "6.5"}, "pip install -U ipython"),
    ],
)
def test_doctor_knows_the_conflicts(change, match):
    import re

    found = doctor.conflicts({**GOOD, **change})
    assert found and re.search(match, " ".join(found)) and all("pip install" in f for f in found)


def test_doctor_sees_a_package_that_cannot_be_imported():
    broken = doctor.broken_imports(["json", "no_such_package"])
    assert list(broken) == ["no_such_package"] and "No module named" in broken["no_such_package"]


def test_doctor_here(capsys):
    code = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == bool(found["problems"]) and found["versions"]["torch"] and "cpu" in found["device"]
    assert "computes on" in doctor.text(found)


# ---------------------------------------------------------------------------------------------- claims


def test_verdicts_are_students_t():
    from scipy import stats

    effects = (0.12, 0.05, 0.2, 0.11, 0.08)
    verdict = Verdict("x", "x", "x", effects)
    low, high = stats.t.interval(0.95, 4, loc=verdict.mean, scale=stats.sem(effects))
    assert verdict.interval == pytest.approx((low, high)) and verdict.verdict == "pass"
    assert Verdict("x", "x", "x", tuple(-e for e in effects)).verdict == "fail"
    assert Verdict("x", "x", "x", (0.1, -0.1, 0.05)).verdict == "inconclusive"
    assert Verdict("x", "x", "x", (0.5,)).verdict == "inconclusive"


def _results(**changes):
    names = [
        "crop + colour",
        "crop",
        "colour",
        "linear head",
        "no head",
        "temperature 0.02",
        "temperature 2",
        "30 negatives",
        "batch 32",
        "z",
    ]
    base = {n: {"linear": 0.5, "partner found": 0.5, "turn": 0.5} for n in names}
    for name, value in changes.items():
        run, key = name.split("__")
        base[run.replace("_", " ").replace(" plus ", " + ")][key] = value
    return base


def test_effects_are_positive_where_the_paper_is_right():
    right = {
        "crop_and_colour": _results(crop_plus_colour__linear=0.6),
        "nonlinear_head": _results(crop_plus_colour__linear=0.6),
        "linear_head": _results(linear_head__linear=0.6),
        "h_beats_z": _results(z__linear=0.4),
        "head_forgets": _results(z__turn=0.4),
        "temperature": _results(crop_plus_colour__linear=0.6),
        "more_negatives": _results(crop_plus_colour__linear=0.6),
        "bigger_batch": _results(crop_plus_colour__linear=0.6),
    }
    by_name = {c.name: c for c in simclr_claims.CLAIMS}
    for name, results in right.items():
        assert by_name[name].effect(results) == pytest.approx(0.1), name
        assert by_name[name].effect(_results()) == 0
    both = _results(crop_plus_colour__linear=0.6)
    both["crop"]["partner found"] = 0.9
    assert by_name["pretext_is_not_quality"].effect(both) == pytest.approx(0.1)
    assert (
        by_name["pretext_is_not_quality"].effect(_results(crop_plus_colour__linear=0.6)) == 0
    )  # one half alone does not do
    assert set(right) | {"pretext_is_not_quality"} == set(by_name)


def test_claims_are_kept_per_seed_and_not_run_twice(tmp_path, monkeypatch):
    calls = []

    def fake(seed, say=print):
        calls.append(seed)
        return _results(crop_plus_colour__linear=0.6 + 0.01 * seed)

    monkeypatch.setattr(simclr_claims, "runs", fake)
    file = tmp_path / "claims.json"
    next(claims.run("simclr", 3, file=file))
    verdicts = list(claims.run("simclr", 3, file=file))[-1]
    assert calls == [0, 1, 2] and verdicts[0].effects == pytest.approx((0.1, 0.11, 0.12))
    page = json.loads(file.read_text())
    assert page["versions"]["torch"] and len(page["runs"]) == 3 and page["verdicts"][0]["verdict"] == "pass"
    file.write_text("{half")
    with pytest.raises(runtime.CourseError, match="delete it"):
        list(claims.run("simclr", 1, file=file))


def test_claims_command_prints_verdicts_and_says_by_its_code_that_one_failed(tmp_path, monkeypatch, capsys):
    def fake(seed, say=print):
        return _results(crop_plus_colour__linear=0.6 + 0.001 * seed, batch_32__linear=0.9)

    monkeypatch.setattr(simclr_claims, "runs", fake)
    out = str(tmp_path / "claims.json")
    assert main(["claims", "simclr", "--seeds", "3", "--out", out]) == 1
    printed = capsys.readouterr()
    failed = [line for line in printed.out.splitlines() if line.split()[-1] == "fail"]
    assert len(failed) == 1 and "batch 128 beats batch 32" in failed[0] and "seed 3/3 done" in printed.err
    assert main(["claims", "simclr", "--seeds", "3", "--out", out, "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["claims"]) == len(simclr_claims.CLAIMS) and answer["claims"][0]["verdict"] == "pass"


def test_calibration_command_prints_mean_and_spread(monkeypatch, capsys):
    from sslcourse.results import calibration

    rows = [
        {
            "features": "SimCLR",
            "kNN": [0.7, 0.8, 0.9],
            "linear": [0.8, 0.8, 0.8],
            "seconds": [30.0, 31.0, 32.5],
        }
    ]
    monkeypatch.setattr(calibration, "measure", lambda seeds, say: rows)
    assert main(["evaluate", "--calibration"]) == 0
    assert "SimCLR" in (line := capsys.readouterr().out.splitlines()[1])
    assert line.split()[1:] == ["0.800", "±", "0.100", "0.800", "±", "0.000", "32.5"]


def test_factor_table_command(checkpoint, capsys, monkeypatch):
    from sslcourse.data import toybox

    monkeypatch.setattr("sslcourse.data.load.load", lambda *a, **k: toybox.images(400, 60, 100))
    capsys.readouterr()
    assert main(["evaluate", checkpoint, "--factors", "--json"]) == 0
    factors = json.loads(capsys.readouterr().out)["factors"]
    assert set(factors) == {"pixels", "random", "SimCLR"} and {"shape", "hue", "light"} <= set(
        factors["pixels"]
    )


def test_fewer_negatives_are_the_same_loss_in_groups():
    import torch

    from sslcourse.methods import simclr

    a, b = torch.randn(12, 4), torch.randn(12, 4)
    expected = sum(float(simclr.nt_xent(a[i : i + 4], b[i : i + 4], 0.5)) for i in (0, 4, 8)) / 3
    assert float(simclr_claims.in_groups(simclr.nt_xent, 4)(a, b, 0.5)) == pytest.approx(expected, rel=1e-6)


# ---------------------------------------------------------------------------------------------- bench


@pytest.mark.nightly
def test_bench_measures():
    """Not how fast, which depends on the machine: that the parts add up."""
    rows = bench.step_table(size=512, rounds=3)
    assert len(rows) == len(catalogue.NAMES)
    for row in rows:
        assert 0.2 < row["bound"] < 1.2 and row["network ms"] <= 1.2 * row["step ms"]


def test_the_network_alone_trains_nothing_and_sees_ready_views():
    """What `bound` divides: gradients are computed, weights stay, and nothing is drawn twice."""
    from sslcourse import encoders
    from sslcourse.data import toybox
    from sslcourse.methods import simclr
    from sslcourse.train.recipe import optimizers_of

    method = simclr.SimCLR(encoders.small_cnn(8))
    batch = next(toybox.images(64, 8, 8).train.batches(8))
    ready, still = (
        bench._Ready(method),
        {k: bench._Still(o) for k, o in optimizers_of(method, simclr.COURSE).items()},
    )
    before = {
        k: v.clone() for k, v in method.state_dict().items() if "running" not in k and "batches" not in k
    }
    losses = []
    for _ in range(2):
        with ready:
            losses.append(float(method.eval().step(batch, still)["loss"].detach()))
    assert losses[0] == losses[1] and all(p.grad is not None for p in method.parameters())
    assert all(torch.equal(v, method.state_dict()[k]) for k, v in before.items())
    assert (
        float(method.step(batch, still)["loss"].detach()) != losses[0] and "views" not in method.__dict__
    )  # drawn anew once it is closed
    assert 0.3 < bench.memory_gain(rounds=2) < 5 and bench.films_per_second(8, 1) > 5
    views = {r["augmentation"]: r["times PIL"] for r in bench.augmentation_table(batch=128, rounds=2)}
    assert views["sslcourse, batched"] > 2 and views["torchvision, PIL in a DataLoader"] == 1


def test_replays_of_the_command_line(tmp_path, capsys, monkeypatch):
    """Recorded beside the checkpoint, and made into pages, one or two side by side."""
    monkeypatch.chdir(tmp_path)
    for name, temperature in (("a", "0.2"), ("b", "1")):
        assert (
            main(
                [
                    "train",
                    "simclr",
                    "--epochs",
                    "1",
                    "--limit",
                    "256",
                    "--no-probe",
                    "--replay",
                    "--checkpoint",
                    f"{name}.safetensors",
                    "--set",
                    f"temperature={temperature}",
                ]
            )
            == 0
        )
    assert (tmp_path / "a.replay.npz").exists()
    capsys.readouterr()
    assert main(["replay", "a.safetensors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"page": "a.html", "epochs": 1}
    assert main(["replay", "a.safetensors", "b.replay.npz", "--out", "both.html"]) == 0
    assert (
        "side by side" in (tmp_path / "both.html").read_text()
        and "data-view" in (tmp_path / "a.html").read_text()
    )
    assert main(["replay", "c.safetensors"]) == 2
    assert "train with --replay" in capsys.readouterr().err


def test_the_command_line_knows_every_method_of_the_catalogue():
    from sslcourse import encoders
    from sslcourse.commands import parser as line
    from sslcourse.methods import catalogue

    assert line.METHODS == catalogue.NAMES and line.ENCODERS == catalogue.ENCODERS
    for name in catalogue.NAMES:
        for recipe, data in (("course", "toybox"), ("full", "toybox"), ("gpu", "cifar10")):
            small = catalogue.spec(name).encoder("course")
            about = catalogue.describe(name, data, 10, recipe, encoder=small)
            again = catalogue.build(json.loads(json.dumps(about)))  # plain values: they survive a checkpoint
            assert again.about == about and again.f.dim == getattr(encoders, small)().dim
        spec = catalogue.spec(name)
        assert spec.course.epochs < min(spec.full.epochs, spec.gpu.epochs)
        assert spec.full == spec.recipe("full") and spec.encoder("full") == spec.encoder("course")
        # The same kind of training for longer: what both say differs in nothing that a network is made of.
        both = [catalogue.describe(name, spec.data, 10, recipe) for recipe in ("course", "full")]
        short, full = (catalogue.build(about).state_dict() for about in both)
        assert {k: v.shape for k, v in short.items()} == {k: v.shape for k, v in full.items()}
    with pytest.raises(runtime.CourseError, match="'course', 'full' or 'gpu'"):
        spec.recipe("long")
    with pytest.raises(runtime.CourseError, match="'course', 'full' or 'gpu'"):
        spec.encoder("long")


def test_the_full_recipe_is_trained_under_a_name_of_its_own(tmp_path, monkeypatch, capsys):
    from sslcourse.methods import simclr
    from sslcourse.train import checkpoints

    monkeypatch.chdir(tmp_path)
    small = ("--data", "digits", "--limit", "128", "--epochs", "1", "--no-probe", "--json")
    for recipe, file in (("course", "simclr"), ("full", "simclr-full")):
        assert main(["train", "simclr", "--recipe", recipe, *small]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["checkpoint"] == str(Path("results") / f"{file}.safetensors")
        state = checkpoints.read(found["checkpoint"])
        assert state.about["recipe"] == recipe
        assert state.recipe == asdict(getattr(simclr, recipe.upper()).but(epochs=1))
    assert main(["train", "simclr", "--recipe", "long"]) == 2 and "full" in capsys.readouterr().err


def test_settings_are_changed_by_name_and_wrong_names_are_answered():
    from sslcourse.methods import catalogue

    assert (
        catalogue.build(catalogue.describe("simclr", "toybox", 10, changes=["temperature=0.07"])).temperature
        == 0.07
    )
    for change in ("temprature=1", "temperature"):
        with pytest.raises(runtime.CourseError, match="temperature"):
            catalogue.describe("simclr", "toybox", 10, changes=[change])
    with pytest.raises(runtime.CourseError, match="choose one of"):
        catalogue.module("simsiam")
    with pytest.raises(runtime.CourseError, match="train it again"):
        catalogue.build({"method": "simclr", "encoder": "small_cnn"})


@pytest.mark.slow
def test_compare_trains_scores_and_goes_on(tmp_path, capsys, monkeypatch):
    from sslcourse.data import toybox
    from sslcourse.results import compare

    monkeypatch.setattr(
        compare, "load", lambda name, seed: toybox.images(256, 64, 64, seed=seed, cache=False)
    )
    command = [
        "compare",
        "simclr",
        "supervised",
        "--epochs",
        "1",
        "--batch-size",
        "64",
        "--seeds",
        "2",
        "--factors",
        "--folder",
        str(tmp_path),
        "--json",
    ]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"chance", "pixels", "random encoder", "SimCLR", "Supervised"} == set(found["rows"])
    assert (
        all(len(row["linear"]) == 2 for row in found["rows"].values())
        and len(found["factors"]["SimCLR"]["hue"]) == 2
    )
    assert len(list(tmp_path.glob("*.safetensors"))) == 4
    assert main(command) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["rows"] == found["rows"]  # from the checkpoints, to the same numbers
    table = compare.table(found)
    assert [r["features"] for r in table[:3]] and set(r["features"] for r in table[:3]) == set(
        compare.BASELINES[:3]
    )
    assert all("few labels" in row for row in found["rows"].values()) and all(
        row["few labels"] != "–" for row in table
    )
    file = tmp_path / "toybox.json"
    compare.keep(found, file)
    monkeypatch.setattr(compare, "STORED", file)
    shown = compare.wall({"Mine": 0.5})
    assert list(shown)[-1] == "Mine, just now" and shown["SimCLR"] == pytest.approx(
        sum(found["rows"]["SimCLR"]["linear"]) / 2, abs=1e-4
    )
    assert compare.wall_factors()["SimCLR"]["hue"] == pytest.approx(
        sum(found["factors"]["SimCLR"]["hue"]) / 2, abs=1e-4
    )


def test_methods_are_compared_by_the_recipe_that_is_asked_for(toys, tmp_path, monkeypatch, capsys):
    from sslcourse.methods import byol, simclr
    from sslcourse.results import compare

    trained, asked = [], []

    def fit(method, data, recipe, checkpoint, profile):
        trained.append((method.about["settings"], recipe, checkpoint.name))
        return [{"seconds": 1.0}]

    class Found:
        data, protocol, rows = "toybox", "none", []

    monkeypatch.setattr(compare, "fit", fit)
    monkeypatch.setattr(compare, "load", lambda name, seed: toys)
    monkeypatch.setattr(compare.evaluate, "report", lambda *arguments, **named: Found)
    files = []
    for recipe, data in (
        ("course", "toybox"),
        ("full", "toybox"),
        ("full", "toybox:0.5"),
        ("full", "toybox:0.1"),
    ):
        found = compare.run(["byol", "simclr"], data, recipe=recipe, folder=tmp_path, say=lambda text: None)
        (settings, how, file), (_, other, _) = trained[-2:]
        assert found["recipe"] == recipe and found["rows"]["BYOL"]["epochs"] == how.epochs
        assert how == getattr(byol, recipe.upper()) and other == getattr(simclr, recipe.upper())
        assert settings == byol.SPEC.settings(recipe, True, 10) | {"view": settings["view"]}
        files.append(file)
    assert files[0].startswith("toybox-byol-small_cnn-8x64-0-")
    assert len(set(files)) == 4 and not any(set(file) & set(r'\/:*?"<>|') for file in files)
    compare.run(["byol"], recipe="full", epochs=2, folder=tmp_path, say=lambda text: None)
    assert trained[-1][1] == byol.FULL.but(epochs=2) and "full" in trained[-1][2]
    with pytest.raises(runtime.CourseError, match="'course', 'full' or 'gpu'"):
        compare.run(["byol"], recipe="long", folder=tmp_path, say=lambda text: None)

    monkeypatch.setattr(compare, "run", lambda *arguments, **named: asked.append(named) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["compare", "byol", "--recipe", "full"])
    with pytest.raises(ZeroDivisionError):
        main(["evaluate", "--all", "toybox", "--recipe", "full"])
    assert [named["recipe"] for named in asked] == ["full", "full"]


def test_tables_are_listed_and_wrong_names_are_answered(capsys, monkeypatch):
    from sslcourse.results import tables

    assert main(["table"]) == 0
    printed = capsys.readouterr().out
    assert (
        all(f"sslcourse table {name}" in printed for name in tables.names())
        and "single_image" in tables.names()
    )
    assert main(["table", "dino"]) == 2 and "single_image" in capsys.readouterr().err
    assert (
        main(["table", "single_image", "--set", "colour=red"]) == 2
        and "the table 'single_image' has" in capsys.readouterr().err
    )

    class Small:
        TITLE = "Two rows"

        @staticmethod
        def measure(seeds=1, say=print, epochs=3, data="toybox", rate=0.5):
            say("working")
            return [
                {"row": name, "seeds": seeds, "epochs": epochs, "data": data, "rate": rate}
                for name in ("a", "b")
            ]

    monkeypatch.setattr(tables, "module", lambda name: Small)
    assert main(["table", "dpc", "--seeds", "2", "--set", "epochs=7", "--set", "rate=1", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["rows"][1] == {"row": "b", "seeds": 2, "epochs": 7, "data": "toybox", "rate": 1.0}
    assert found["heading"].startswith("Two rows; 2 seeds")
    assert "working" in printed.err
    for wrong, words in (("epochs=many", "whole number"), ("rate=fast", "a number"), ("rate", "key=value")):
        assert main(["table", "dpc", "--set", wrong]) == 2 and words in capsys.readouterr().err
    assert main(["table", "dpc", "--seeds", "0"]) == 2 and "from 1 to" in capsys.readouterr().err
