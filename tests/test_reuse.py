"""Old work is used again only where it is the same work; and nothing goes that we did not make."""

import json
import os
import time

import numpy as np
import pytest
import torch

from sslcourse import encoders, runtime
from sslcourse.data import download
from sslcourse.data.datasets import Samples
from sslcourse.methods import rotnet, simclr
from sslcourse.results import claims, compare, wall
from sslcourse.runtime import device, files
from sslcourse.runtime.errors import CourseError
from sslcourse.train import checkpoints, identity
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe
from sslcourse.transforms import augment

RECIPE = Recipe(epochs=1, batch_size=32, lr=1e-3, max_steps=1)


def make(kind=simclr.SimCLR, **arguments):
    torch.manual_seed(1)
    return kind(encoders.small_cnn(8), **arguments)


def pictures(n=64, seed=0, label=None):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Samples(image, torch.arange(n) % 4 if label is None else label, name="pictures")


# ------------------------------------------------------------------------------------------------ trainings


@pytest.mark.parametrize(
    "change, match",
    [
        (dict(data=pictures(seed=1)), r"data pictures \(64 samples\), but not the same ones"),
        (dict(data=pictures(48)), r"data pictures \(64 samples\) there, pictures \(48 samples\) here"),
        (dict(temperature=0.5), "temperature 0.2 there, 0.5 here"),
        (dict(loss=lambda a, b, t: simclr.nt_xent(a, b, t)), "loss"),
        (dict(view=augment.simclr_view(area=(0.5, 1))), r"view None there, .*in_blocks.* here"),
        (dict(head="linear"), "head 'nonlinear' there, 'linear' here"),
        (dict(kind=rotnet.RotNet), "method SimCLR there, RotNet here"),
        (dict(recipe=RECIPE.but(lr=0.5)), "lr 0.001 there, 0.5 here"),
    ],
)
def test_another_training_is_told_in_what_it_differs(tmp_path, change, match):
    file = tmp_path / "run.safetensors"
    change = dict(change)
    data, recipe = change.pop("data", pictures()), change.pop("recipe", RECIPE)
    fit(make(), pictures(), RECIPE, checkpoint=file)
    before = file.read_bytes()
    with pytest.raises(CourseError, match=f"(?s){match}.*Name another file.*or delete this one"):
        fit(make(**change), data, recipe, checkpoint=file)
    assert file.read_bytes() == before
    fit(make(), pictures(), RECIPE, checkpoint=file)  # the same one goes on


def test_what_was_begun_and_left_is_in_nobodys_way(tmp_path):
    """A file without a step in it holds no work: a wrong learning rate may be mended, and the same typed
    again."""
    file, data = tmp_path / "run.safetensors", pictures()
    with pytest.raises(CourseError, match="Lower the learning rate"):
        fit(make(loss=lambda a, b, t: (a * b).sum() / 0), data, RECIPE, checkpoint=file)
    assert checkpoints.read(file).step == 0
    assert len(fit(make(), data, RECIPE, checkpoint=file)) == 1


def test_a_checkpoint_of_an_earlier_version_goes_on_with_a_remark(tmp_path, capsys):
    file, data = tmp_path / "run.safetensors", pictures()
    method = make()
    fit(method, data, RECIPE)
    checkpoints.save(file, method, RECIPE.but(epochs=2), step=0, history=[{"epoch": 1}])
    assert checkpoints.read(file).identity is None
    with pytest.raises(CourseError, match="method SimCLR there, RotNet here"):
        fit(make(rotnet.RotNet), data, RECIPE.but(epochs=2), checkpoint=file)
    state = checkpoints.resume(file, RECIPE.but(epochs=2), identity.identity(make(), data))
    assert state is not None and "does not say which data" in capsys.readouterr().err


def test_the_digest_of_data_sees_every_change():
    data = pictures()
    changed = data.image.clone()
    changed[63, 2, 31, 31] ^= 1
    others = [
        pictures(63),
        Samples(changed, data.label, name="pictures"),
        Samples(data.image, data.label.flip(0), name="pictures"),
        Samples(data.image, data.label, factors={"size": torch.arange(64)}, name="pictures"),
        data.unlabelled(),
        data.take(torch.arange(64).flip(0)),
    ]
    assert len({data.digest(), *(other.digest() for other in others)}) == 7
    assert data.digest() == pictures().digest() == data.take(slice(0, 64)).digest()


def test_identities_are_the_same_in_every_process():
    """No address and no order of a hash in them: they are compared with those of yesterday."""
    import subprocess
    import sys

    code = (
        "import json, torch; from sslcourse import encoders; from sslcourse.methods import simclr;"
        "from sslcourse.train import identity; from sslcourse.data.datasets import Samples;"
        "torch.manual_seed(1);"
        "data = Samples(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), name='zeros');"
        "print(json.dumps(identity.identity(simclr.SimCLR(encoders.small_cnn(8)), data)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    data = Samples(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), name="zeros")
    assert json.loads(done.stdout) == identity.identity(make(), data)


# -------------------------------------------------------------------------------------------------- results


def test_comparisons_keep_the_networks_of_two_folders_apart(tmp_path, monkeypatch):
    """p/pictures and q/pictures have one name, and once had one network."""

    class Enough(Exception):
        pass

    from sslcourse.data.datasets import Data

    seen = []

    def recorded(method, data, recipe, *, checkpoint, profile):
        seen.append(checkpoint)
        raise Enough

    monkeypatch.setattr(compare, "fit", recorded)
    for seed in (0, 1, 0):
        sets = Data(
            pictures(300, seed), pictures(8, 3), Samples(pictures(8).image, pictures(8).label, split="test")
        )
        monkeypatch.setattr(compare, "load", lambda name, seed, sets=sets: sets)
        with pytest.raises(Enough):
            compare.run(["simclr"], f"{'pq'[seed]}/pictures", folder=tmp_path, say=lambda text: None)
    assert seen[0] != seen[1] and seen[0] == seen[2] and "pictures-simclr" in seen[0].name


def test_seeds_of_claims_are_used_again_only_for_the_same_runs(tmp_path, monkeypatch):
    module, file, calls = claims.paper("simclr"), tmp_path / "claims.json", []

    def runs(seed, say=print, **given):
        calls.append(seed)
        return {}

    monkeypatch.setattr(module, "runs", runs)
    monkeypatch.setattr(module, "CLAIMS", ())
    list(claims.run("simclr", 2, file=file, recipe=RECIPE))
    list(claims.run("simclr", 2, file=file, recipe=RECIPE))
    assert calls == [0, 1]
    with pytest.raises(CourseError, match=r"recipe.lr 0.001 there, 0.5 here.*--out FILE"):
        list(claims.run("simclr", 2, file=file, recipe=RECIPE.but(lr=0.5)))
    page = json.loads(file.read_text())
    page.pop("sealed", None)
    page["code"] = "0" * 8
    file.write_text(json.dumps(page))
    with pytest.raises(CourseError, match="what is trained for simclr is written otherwise since"):
        list(claims.run("simclr", 2, file=file, recipe=RECIPE))
    assert calls == [0, 1]


@pytest.mark.parametrize("what", ["claims", "compare", "wall.add", "wall.measure"])
def test_where_results_go_is_proven_before_the_work(tmp_path, monkeypatch, what):
    (tmp_path / "a file").write_text("mine")
    there = tmp_path / "a file"
    no = lambda *_, **__: pytest.fail("it began to work")
    monkeypatch.setattr(claims.paper("simclr"), "runs", no)
    monkeypatch.setattr(compare, "load", no)
    monkeypatch.setattr(wall.evaluate, "report", no)
    work = {
        "claims": lambda: next(claims.run("simclr", 1, file=there / "claims.json")),
        "compare": lambda: compare.run(["simclr"], folder=there),
        "wall.add": lambda: wall.add("mine", make(), pictures(), folder=there),
        "wall.measure": lambda: wall.measure("toybox", 1, folder=there),
    }
    with pytest.raises(CourseError, match="cannot be written .*nothing was begun"):
        work[what]()
    assert there.read_text() == "mine"


# ---------------------------------------------------------------------------------------------------- files


def test_leftovers_of_killed_processes_are_swept_and_nothing_else(tmp_path):
    target = tmp_path / "run [1].json"  # with letters that mean something to glob
    left, other = tmp_path / f".{target.name}.abcdef12.part", tmp_path / ".other.json.abcdef12.part"
    mine = [tmp_path / f".{target.name}.mine.part", tmp_path / f"{target.name}.abcdef12.part", other]
    for file in (left, *mine):
        file.write_text("half")
    with runtime.atomic(target) as first:  # that is being written by somebody alive
        with runtime.atomic(target) as second:
            second.write_text("two")
        assert first.exists() and not left.exists()
        first.write_text("one")
    assert target.read_text() == "one" and all(file.read_text() == "half" for file in mine)


def test_links_and_devices_stay_what_they_are(tmp_path):
    (tmp_path / "drive").mkdir()
    real, link, pipe = tmp_path / "drive" / "run", tmp_path / "run", tmp_path / "pipe"
    real.write_text("old")
    link.symlink_to(real)
    with runtime.atomic(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink() and real.read_text() == "new"
    os.mkfifo(pipe)
    with pytest.raises(CourseError, match="device or a pipe"):
        runtime.prove(pipe)
    with pytest.raises(OSError), runtime.atomic(pipe):
        pass
    assert pipe.is_fifo()


def test_what_is_set_aside_stands_in_nothings_way(tmp_path):
    for text in "abc":
        (tmp_path / "x").write_text(text)
        assert files.set_aside(tmp_path / "x", "damaged").read_text() == text
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        "x.damaged": "c",
        "x.damaged-2": "a",
        "x.damaged-3": "b",
    }


def test_only_what_was_noted_before_it_was_made_is_removed(tmp_path):
    made = files.Made(tmp_path / "out")
    made.begin()
    (tmp_path / "out" / "theirs.npy").write_text("theirs")
    with pytest.raises(CourseError, match="theirs.npy is in the way"):
        made.note("theirs.npy")
    made.note("ours.npy")
    (tmp_path / "out" / "ours.npy").write_text("ours")
    made.fetches("download/a.zip")
    (tmp_path / "out" / "download").mkdir()
    for name in ("a.zip", "holiday.zip"):
        (tmp_path / "out" / "download" / name).write_text(name)
    with (tmp_path / "out" / files.Made.FILE).open("a") as note:
        note.write("+ half a na")  # killed while it noted something
    again = files.Made(tmp_path / "out")
    again.begin()
    assert "ours.npy" in again and not again.remove("theirs.npy")
    again.note("next.npy")
    assert "next.npy" in files.Made(tmp_path / "out")
    again.discard("download")
    assert again.remove("ours.npy")
    assert sorted(p.name for p in (tmp_path / "out").rglob("*")) == sorted(
        ["download", "holiday.zip", "theirs.npy", files.Made.FILE]
    )
    strange = files.Made(tmp_path / "out" / "download")
    with pytest.raises(CourseError, match="holds 'holiday.zip', and no note that sslcourse made that"):
        strange.begin()


def test_clips_leave_the_users_files_alone(tmp_path):
    from sslcourse.data import clips

    films, out = tmp_path / "films", tmp_path / "out"
    for name in "ab":
        (films / name).mkdir(parents=True)
        for i in range(3):
            from PIL import Image

            Image.fromarray(np.full((16, 16, 3), 40 * i, np.uint8)).save(films / name / f"{i:03d}.png")
    out.mkdir()
    mine = out / "frames-0007.npy"
    mine.write_bytes(b"mine")
    with pytest.raises(CourseError, match="holds 'frames-0007.npy'.*name another folder for the clips"):
        clips.prepare(films, out, size=16, quiet=True)
    (out / "index.json").write_text("{}")  # somebody else's index is no mark
    with pytest.raises(CourseError, match="no note that sslcourse made that"):
        clips.prepare(films, out, size=16, quiet=True)
    assert mine.read_bytes() == b"mine" and (out / "index.json").read_text() == "{}"
    (out / "index.json").unlink()
    mine.unlink()
    clips.prepare(films, out, size=16, quiet=True)
    mine.write_bytes(b"mine")  # later, in a folder of ours
    (films / "c").mkdir()
    for i in range(3):
        (films / "c" / f"{i:03d}.png").write_bytes((films / "a" / f"{i:03d}.png").read_bytes())
    index = clips.prepare(films, out, size=16, quiet=True)
    assert mine.read_bytes() == b"mine" and len(index["videos"]["name"]) == 3
    assert not clips.damaged(out, index, thorough=True)


def test_a_video_that_was_replaced_by_one_of_the_same_size_is_noticed(tmp_path):
    from sslcourse.data.clips.decode import fingerprint
    from sslcourse.data.clips.source import Video

    file = tmp_path / "film.mp4"
    seen = set()
    for place in (0, 500_000, 999_999):
        content = bytearray(1_000_000)
        content[place] = 1
        file.write_bytes(content)
        seen.add(fingerprint(Video(file)))
    assert len(seen) == 3 and fingerprint(Video(tmp_path / "none.mp4")) == -1


def test_a_browsers_part_is_no_part_of_ours(tmp_path):
    part = download.files._Part(tmp_path / "set.zip", None)
    part.path.write_bytes(b"a browser's")
    part = download.files._Part(tmp_path / "set.zip", None)
    part.settle(lambda: False)
    assert not part.have and (tmp_path / "set.zip.part.not-ours").read_bytes() == b"a browser's"
    part.describe("http://there/set.zip", None, 3)
    part.path.write_bytes(b"our")
    part.clear()
    assert [p.name for p in tmp_path.iterdir()] == ["set.zip.part.not-ours"]


# -------------------------------------------------------------------------------------------------- profile


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A cache of its own, and a probe that chooses otherwise each time it is asked."""
    calls = []

    def probe(name):
        calls.append(1)
        return runtime.Profile("cpu", 1, False, ("float32", "bfloat16")[len(calls) % 2])

    monkeypatch.setenv("SSLCOURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SSLCOURSE_PRECISION", raising=False)
    monkeypatch.setattr(device, "measure_profile", probe)
    runtime.use_profile(None)
    return calls


def test_the_choice_is_measured_once_a_machine(measured, monkeypatch):
    first = runtime.profile()
    runtime.use_profile(None)  # as in the next process
    assert runtime.profile() == first == device.kept_profile().profile and len(measured) == 1
    assert device.kept_profile().measured.startswith(time.strftime("%Y-", time.gmtime()))
    assert device.kept_profile(renew=True).profile != first and len(measured) == 2
    assert device.kept_profile().profile != first and len(measured) == 2
    monkeypatch.setenv("SSLCOURSE_PRECISION", "float32")  # another question, asked once
    device.kept_profile()
    device.kept_profile()
    assert len(measured) == 3
    file = runtime.cache_dir(device.KEPT)
    for text in ("", "[]", "{", '{"x": 3}', file.read_text().replace("float32", "float8")):
        file.write_text(text)
        device.kept_profile()
    assert len(measured) == 8


def test_doctor_says_what_a_run_computes_on(measured, capsys, monkeypatch):
    from sslcourse.commands.parser import main
    from sslcourse.runtime import doctor

    monkeypatch.setattr(doctor, "broken_imports", lambda packages: {})
    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    main(["doctor"])
    told = capsys.readouterr().out
    assert f"computes on   {found['device']}" in told and f"measured on {found['measured']}" in told
    assert found["device"] == str(runtime.profile()) and len(measured) == 1
    main(["doctor", "--renew", "--json"])
    assert json.loads(capsys.readouterr().out)["device"] != found["device"]


def test_a_cache_that_cannot_be_written_is_told(measured, tmp_path, monkeypatch, capsys):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("SSLCOURSE_CACHE", str(tmp_path / "a file"))
    device.kept_profile()
    assert "could not be kept" in capsys.readouterr().err


def test_a_training_keeps_the_profile_that_it_began_with(tmp_path, measured):
    file, data = tmp_path / "run.safetensors", pictures()
    fit(make(), data, RECIPE, checkpoint=file)
    began = checkpoints.read(file).profile
    device.kept_profile(renew=True)
    runtime.use_profile(None)
    assert runtime.profile() != began
    fit(make(), data, RECIPE, checkpoint=file)
    assert runtime.profile() == began == checkpoints.profile_of(file)


def test_evaluate_says_that_the_data_are_no_longer_those(tmp_path, capsys):
    """A folder or a file of one's own that was changed since: then train and test may have been mixed."""
    from sslcourse.commands.parser import main

    file, checkpoint = str(tmp_path / "own.npz"), str(tmp_path / "run.safetensors")
    random = np.random.default_rng(0)
    save = lambda: np.savez(
        file, image=random.integers(0, 256, (120, 32, 32, 3), dtype=np.uint8), label=np.arange(120) % 3
    )
    save()
    train = ["train", "simclr", "--data", file, "--epochs", "1", "--batch-size", "32", "--limit", "64"]
    assert main([*train, "--no-probe", "--checkpoint", checkpoint]) == 0
    assert main(["evaluate", checkpoint]) == 0
    assert "was trained on other data" not in capsys.readouterr().err
    save()
    assert main(["evaluate", checkpoint]) == 0
    assert f"say that you mean these: --data {file}" in capsys.readouterr().err
    assert main([*train, "--checkpoint", checkpoint]) == 2
    assert "not the same ones: they have changed since" in capsys.readouterr().err


def test_settings_that_differ_in_their_last_digit_share_no_drawing():
    from sslcourse.data.toybox import disk_cache

    values = (0.1, 0.1 + 1e-9, 0.3, 0.1 + 0.2, 0, 1, 1.5, (1, 2), (1, 3))
    assert len({disk_cache.named(bg=value) for value in values}) == len(values)
    assert disk_cache.named(bg=np.float32(0.5), speed=(1, 2.5), spin=3.0) == "bg0.5-speed1-2.5-spin3"
