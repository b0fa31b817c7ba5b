"""Data of one's own on the command line: what is used is said, what cannot be is refused before work."""

import contextlib
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from sslcourse import encoders, runtime, wall
from sslcourse.commands.parser import main
from sslcourse.data import clips
from sslcourse.data.datasets import some_of
from sslcourse.data.load import load
from sslcourse.methods import catalogue, simclr
from sslcourse.results import compare, fitting
from sslcourse.runtime.errors import CourseError

COLOURS = {"cat": (200, 30, 30), "dog": (30, 200, 30), "owl": (30, 30, 200)}


def picture(kind, number, side=20):
    x = np.random.default_rng(number).integers(0, 50, (side, side, 3)) + COLOURS[kind]
    return Image.fromarray(x.astype(np.uint8))


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A folder to work in, with the folder "pets" of three classes of 12 pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSLCOURSE_THREADS", "1")
    before = runtime.profile()
    runtime.use_profile(runtime.Profile("cpu", 1, False, "float32"))
    for number in range(36):
        kind = list(COLOURS)[number % 3]
        (tmp_path / "pets" / kind).mkdir(parents=True, exist_ok=True)
        picture(kind, number).save(tmp_path / "pets" / kind / f"{number}.png")
    yield tmp_path
    runtime.use_profile(before)


def flat(room):
    (room / "flat").mkdir()
    for file in (room / "pets" / "cat").iterdir():
        shutil.copy(file, room / "flat")


TRAIN = ["train", "simclr", "--data", "pets", "--epochs", "1", "--batch-size", "8"]


@pytest.mark.slow
def test_a_size_belongs_to_the_checkpoint_and_the_header_says_what_is_used(room, capsys):
    assert main([*TRAIN, "--size", "24", "--limit", "16", "--json"]) == 0
    told = capsys.readouterr()
    assert "<pets: 25 train, 5 validation, 6 test" in told.err.replace("24 train, 6 val", "25 train, 5 val")
    assert "16 of the training ones" in told.err and set(json.loads(told.out)["validation"]) == {
        "kNN",
        "linear",
    }
    assert main(["evaluate", "results/simclr.safetensors", "--few", "2", "--json"]) == 0
    told = capsys.readouterr()
    rows = {row["features"]: row for row in json.loads(told.out)["rows"]}
    assert "few kNN" in rows["SimCLR"] and rows["pixels"]["few labels"] > 0.9  # colours are easy
    assert "test" in told.err
    assert load("pets@24").train.image.shape[-1] == 24 and load("pets").train.image.shape[-1] == 32


@pytest.mark.parametrize(
    "words, said",
    [
        (["evaluate", "pets"], "is data and no checkpoint"),
        (["evaluate", "sounds.npz"], "--data sounds.npz"),
        (["evaluate", "x.safetensors", "--size", "24"], "name those, too"),
        (["train", "simclr", "--data", "toybox", "--size", "24"], "has a size of its own"),
        (["train", "simclr", "--data", "pets@x"], "whole number of pixels"),
        (["train", "simclr", "--data", "one"], "single class"),
        (["compare", "--data", "flat"], "has no labels"),
        (["train", "supervised", "--data", "flat", "--batch-size", "4"], "flat' carries no labels"),
        (["train", "dpc", "--data", "pets", "--batch-size", "4"], "video"),
        (["compare", "clip", "rotnet", "--data", "pets", "--batch-size", "8"], "pets is not for clip"),
        (["compare", "--data", "pets"], "--batch-size 8"),
        (["train", "simclr", "--data", "films"], "sslcourse data videos films --to CLIPS"),
        (["train", "simclr", "--data", "notes.txt"], "a file of your own is a .npz"),
        (["train", "simclr", "--data", "sounds"], "np.savez"),
        (["train", "simclr", "--data", "begun"], "sslcourse data videos"),
    ],
)
def test_what_cannot_be_is_refused_in_words(room, capsys, words, said):
    flat(room)
    shutil.copytree(room / "pets" / "cat", room / "one" / "cat")
    for name in ("films/run/a.mp4", "sounds/dog/a.wav", "notes.txt", "begun/prepare.jsonl", "sounds.npz"):
        (room / name).parent.mkdir(parents=True, exist_ok=True)
        (room / name).write_bytes(b"x")
    with pytest.warns(UserWarning) if "one" in words else contextlib.nullcontext():
        assert main(words) == 2
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told
    assert not (room / "results" / "compare").exists() or not [
        *(room / "results" / "compare").glob("*.safe*")
    ]


def test_a_limit_shows_every_class(room):
    pets = load("pets").train
    assert set(some_of(pets, 6).label.tolist()) == {0, 1, 2} and set(pets.label[:6].tolist()) == {0}
    mixed = pets.take([0, 10, 20, 1, 2, 11, 21])
    assert torch.equal(some_of(mixed, 3).image, mixed.image[:3])  # as before, where the first are enough


def test_unlabelled_pictures_train_and_are_not_scored(room, capsys):
    flat(room)
    assert main(["train", "rotnet", "--data", "flat", "--epochs", "1", "--batch-size", "4"]) == 0
    told = capsys.readouterr()
    assert "no score: flat has no labels" in told.out and "next: sslcourse evaluate" not in told.out
    assert main(["evaluate", "results/rotnet.safetensors"]) == 2
    assert "flat has no labels, and a score needs some" in capsys.readouterr().err


@pytest.mark.slow
def test_a_comparison_asks_first_and_keeps_each_score(room, capsys, monkeypatch):
    monkeypatch.setattr(fitting, "candidates", lambda name, data: ("clip", "rotnet", "supervised"))
    trained = []
    fit = compare.fit
    monkeypatch.setattr(
        compare, "fit", lambda m, *a, **k: trained.append(type(m).__name__) or fit(m, *a, **k)
    )
    found = compare.run(None, "pets", epochs=1, batch_size=8, seeds=1, say=print)
    assert trained == ["RotNet", "Supervised"] and list(found["left out"]) == ["clip"]
    assert "left out: clip" in capsys.readouterr().out
    kept = json.loads((room / "results" / "compare" / "pets-scores.json").read_text())
    assert kept["rows"]["RotNet"]["linear"] == [round(v, 4) for v in found["rows"]["RotNet"]["linear"]]

    def diverges(method, *arguments, **options):
        if type(method).__name__ == "RotNet":
            raise CourseError("loss became nan in epoch 1. Lower the learning rate")
        return fit(method, *arguments, **options)

    monkeypatch.setattr(compare, "fit", diverges)
    found = compare.run(["rotnet", "supervised"], "pets", epochs=1, batch_size=8, say=lambda text: None)
    assert (
        "nan" in found["left out"]["rotnet"]
        and "Supervised" in found["rows"]
        and "RotNet" not in found["rows"]
    )
    with pytest.raises(CourseError, match="nothing is left to compare"):
        compare.run(["rotnet"], "pets", epochs=1, batch_size=8, say=lambda text: None)
    monkeypatch.setattr(compare, "fit", fit)

    def broken(seed):
        if seed:
            raise KeyboardInterrupt
        return load("pets")

    monkeypatch.setattr(compare, "load", lambda name, seed: broken(seed))
    with pytest.raises(KeyboardInterrupt):
        compare.run(
            ["rotnet"], "pets", epochs=1, batch_size=8, seeds=2, folder="elsewhere", say=lambda text: None
        )
    kept = json.loads((room / "elsewhere" / "pets-scores.json").read_text())
    assert kept["seeds"] == 1 and len(kept["rows"]["RotNet"]["kNN"]) == 1


def test_who_learns_from_what():
    from sslcourse.data.datasets import Data, Samples

    def data(**given):
        return Data(*(Samples(**given, label=[0, 1], name="mine", split=part) for part in ("train",) * 3))

    known = catalogue.stated()
    still, film = np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 4, 8, 8, 3), np.uint8)
    sound = dict(audio=np.zeros((2, 800), np.int16), rate=8000)
    of = lambda **given: fitting.candidates("mine", data(**given))
    assert set(of(image=still)) == {name for name, spec in known.items() if spec.data == "toybox"}
    silent = {name for name, spec in known.items() if spec.data != "toybox" and not spec.hears}
    assert set(of(video=film)) == silent and set(of(video=film, **sound)) == silent | {"avts", "xdc"}
    with pytest.raises(CourseError, match="sslcourse esc --data mine"):
        of(**sound)
    assert fitting.candidates("toybox", data(image=still)) == catalogue.methods_for("toybox")


def test_the_wall_takes_data_without_factors(room):
    data = load("pets")
    row = wall.add("mine", simclr.SimCLR(encoders.small_cnn()).eval(), data, folder=room / "results")
    assert row["factors"] == {} and len(row["kNN"]) == 1
    found = wall.read(room / "results")["toybox"]
    assert found["rows"]["mine"]["mine"] and "mine" not in found["factors"]


# ---------------------------------------------------------------------------------------------- films


def film(path, seconds, number, silent=False):
    """Uneven noise with a tone of its own, at 16 frames and 8,000 samples a second."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    with av.open(str(path), "w") as container:
        picture, sound = container.add_stream("mpeg4", rate=16), container.add_stream("pcm_s16le", rate=8000)
        picture.width = picture.height = 32
        sound.layout = "mono"
        for _ in range(round(16 * seconds)):
            frame = av.VideoFrame.from_ndarray(
                rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), format="rgb24"
            )
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        tone = np.sin(np.arange(round(8000 * seconds)) * (0.1 + 0.05 * number)) * (0 if silent else 9000)
        frame = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(sound.encode(frame))
        container.mux(sound.encode())


@pytest.fixture
def films(room, capsys):
    """Films of 2.5 seconds with sound, prepared by the command as it is; one of them is silent."""
    for number in range(14):
        film(room / "films" / "ab"[number % 2] / f"{number}.mkv", 2.5, number, silent=number == 3)
    assert main(["data", "av_folder", "films", "--to", "clips"]) == 0
    return capsys.readouterr()


@pytest.mark.slow
def test_films_as_they_are_prepared_train_what_hears(room, films, capsys):
    assert "1 videos have a track of sound in which there is silence alone, such as b/3.mkv" in films.err
    assert "silent" in films.out
    index = clips.prepared.read_index(room / "clips")
    assert index["silent"] == ["b/3.mkv"] and index["rate"] == 8000
    for method, frames, more in (("xdc", 16, ["--set", "clusters=4"]), ("avts", 40, [])):
        words = [
            "train",
            method,
            *more,
            "--data",
            "clips",
            "--epochs",
            "1",
            "--batch-size",
            "4",
            "--no-probe",
        ]
        assert main([*words, "--recipe", "course"]) == 0, capsys.readouterr().err
        assert load("clips", frames=catalogue.spec(method).frames).train.frames == frames


def test_settings_follow_the_films(room):
    for recipe in ("course", "gpu"):
        for method in ("avts", "xdc"):
            plain = catalogue.describe(method, "clips", 2, recipe)["settings"]
            films = type("Films", (), {"fps": 8.0, "rate": 22_050})()
            found = catalogue.describe(method, "clips", 2, recipe, samples=films)["settings"]
            assert found["rate"] == 22_050 and found.get("fps", 8) == 8
            assert {k: v for k, v in found.items() if k not in ("fps", "rate")} == {
                k: v for k, v in plain.items() if k not in ("fps", "rate")
            }
            kept = catalogue.describe(method, "clips", 2, recipe, None, ["rate=16000"], films)["settings"]
            assert kept["rate"] == 16_000  # what is typed goes before what the films have
