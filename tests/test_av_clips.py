"""Videos with sound: prepared so that what is heard belongs to what is seen, whatever the container says
about their clocks.
"""

import json
import os
import shutil
import zipfile
from fractions import Fraction

import numpy as np
import pytest
import torch
from test_images import script

from sslcourse import encoders, evaluate
from sslcourse.data import clips, download, load
from sslcourse.methods.base import Ear, sounds_of, videos_of
from sslcourse.runtime.errors import CourseError
from sslcourse.train import features

av = pytest.importorskip("av", reason="videos are written and read by PyAV: pip install av")
AV = script("av_folder")
FPS, RATE, FLASHES = 16, 8000, (5, 17, 40)


def film(
    path,
    seconds=3.0,
    flashes=FLASHES,
    own=44_100,
    codec="aac",
    late=0.0,
    late_picture=0.0,
    sound_until=None,
    layout="mono",
    gap=None,
    fps=FPS,
):
    """A dark film that is white in some frames and clicks when they begin.

    Args:
        late: seconds by which the stream of sound begins after the container's clock; the clicks stay in step
            with the flashes.
        late_picture: the same of the picture: flashes and clicks come this much later on that clock.
        sound_until: seconds after which the file has no sound.
        gap: (from, to) in seconds where it has none.
    """
    count = round(seconds * fps)
    tone = np.zeros(round((seconds + late_picture) * own), np.float32)
    for flash in flashes:
        at = round((flash / fps + late_picture) * own)
        tone[at : at + own // 200] = np.sin(2 * np.pi * 900 * np.arange(own // 200) / own) * 0.8
    with av.open(str(path), "w") as container:
        # mpeg4 without B-frames: pictures are coded in the order in which they are shown.
        picture = container.add_stream("mpeg4" if path.suffix != ".avi" else "mjpeg", rate=fps)
        picture.width, picture.height, picture.pix_fmt = (
            32,
            32,
            "yuv420p" if path.suffix != ".avi" else "yuvj420p",
        )
        picture.bit_rate = 2_000_000
        sound = container.add_stream(codec, rate=own, layout=layout)
        for t in range(count):
            frame = av.VideoFrame.from_ndarray(
                np.full((32, 32, 3), 255 if t in flashes else 0, np.uint8), format="rgb24"
            )
            frame.pts, frame.time_base = t + round(late_picture * fps), Fraction(1, fps)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        end = len(tone) if sound_until is None else round(sound_until * own)
        spans = (
            [(round(late * own), end)]
            if gap is None
            else [(0, round(gap[0] * own)), (round(gap[1] * own), end)]
        )
        for first, stop in spans:
            for start in range(first, stop, 1024):
                part = (tone[start : min(start + 1024, stop)] * 32767).astype(np.int16)
                block = av.AudioFrame.from_ndarray(
                    np.repeat(part[None], 2 if layout == "stereo" else 1, 0), format="s16p", layout=layout
                )
                block.sample_rate, block.pts = own, start
                for fit in av.AudioResampler(sound.format, layout, own).resample(block):
                    fit.pts = start
                    container.mux(sound.encode(fit))
        container.mux(sound.encode())
    return path


def seen_and_heard(store):
    """Of every video: frames that are white, and moments in seconds at which clicks begin."""
    index = clips.read_index(store)
    found = {}
    for row, name in enumerate(index["videos"]["name"]):
        here = slice(start := index["videos"]["start"][row], start + index["videos"]["count"][row])
        number = index["videos"]["shard"][row]
        light = np.load(clips.shard_file(store, number))[here].mean((1, 2, 3))
        sound = np.load(clips.shard_file(store, number, "sound"))[here].reshape(-1).astype(float)
        assert len(sound) == len(light) * round(index["rate"] / index["fps"])
        loud = np.flatnonzero(np.abs(sound) > 6000)
        begins = loud[np.flatnonzero(np.diff(loud, prepend=-(10**6)) > index["rate"] // 20)] / index["rate"]
        found[name] = np.flatnonzero(light > 128).tolist(), begins.tolist()
    return found


CASES = {
    "plain.mp4": dict(),
    "late sound.mp4": dict(late=0.25),
    "late picture.mp4": dict(late_picture=0.5),
    "stereo.mkv": dict(codec="pcm_s16le", layout="stereo", own=48_000),
    "milliseconds.mkv": dict(codec="libopus", own=48_000),
    "old.avi": dict(codec="pcm_s16le", own=22_050),
}


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    root = tmp_path_factory.mktemp("films")
    for name, options in CASES.items():
        film(root / name, **options)
    return root


def test_what_is_heard_belongs_to_what_is_seen(album, tmp_path):
    clips.prepare(album, tmp_path / "out", size=16, fps=FPS, sound=True, rate=RATE, quiet=True)
    found = seen_and_heard(tmp_path / "out")
    assert set(found) == set(CASES)
    for name, (frames, moments) in found.items():
        assert frames == list(FLASHES), name
        # Within a third of a frame, while the files are up to half a second out of step if one clock is taken
        # for the other.
        assert np.abs(np.array(moments) - np.array(FLASHES) / FPS).max() < 1 / FPS / 3, (name, moments)


@pytest.mark.parametrize(
    "name, off", [("late sound.mp4", -0.25), ("late picture.mp4", 0.5), ("plain.mp4", 0.0)]
)
def test_the_files_are_out_of_step_for_who_ignores_their_clocks(album, name, off):
    """So the test above can fail: both streams laid end to end from their first packets on, the clicks come
    early or late.
    """
    with av.open(str(album / name)) as container:
        mix = av.AudioResampler("s16", "mono", 44_100)
        sound = np.concatenate(
            [m.to_ndarray()[0] for frame in container.decode(audio=0) for m in mix.resample(frame)]
        ).astype(float)
    first = np.flatnonzero(np.abs(sound) > 6000)[0] / 44_100
    assert first - FLASHES[0] / FPS == pytest.approx(off, abs=0.03)


def test_silence_only_where_the_file_has_no_sound(tmp_path):
    short = film(
        tmp_path / "short.mkv", codec="pcm_s16le", own=RATE, sound_until=2.0, flashes=tuple(range(0, 48, 2))
    )
    gap = film(
        tmp_path / "gap.mkv", codec="pcm_s16le", own=RATE, gap=(1.0, 2.0), flashes=tuple(range(0, 48, 2))
    )
    loud = lambda file: (
        np.abs(clips.sound_of(clips.Video(file), 48, FPS, RATE).astype(int)).max(1)[::2] > 6000
    )  # of the frames that flash
    assert loud(short).tolist() == [True] * 16 + [False] * 8
    assert loud(gap).tolist() == [True] * 8 + [False] * 8 + [True] * 8
    exact = clips.sound_of(clips.Video(short), 48, FPS, RATE).reshape(-1)
    assert exact[: RATE // 200].astype(float) == pytest.approx(
        (np.sin(2 * np.pi * 900 * np.arange(40) / RATE) * np.float32(0.8) * 32767), abs=1.5
    )
    assert not exact[2 * RATE :].any()


def test_long_sounds_are_resampled_as_whole_ones(tmp_path):
    x = (np.random.default_rng(0).normal(size=44_100 * 3 + 777) * 5000).clip(-32768, 32767).astype(np.int16)
    whole = clips.decode._at_rate(x, 44_100, 8000, block=100)
    assert np.array_equal(clips.decode._at_rate(x, 44_100, 8000, block=1), whole) and len(whole) == int(
        np.ceil(len(x) * 8000 / 44_100)
    )


def test_windows_carry_the_sound_of_their_moments(album, tmp_path):
    for label in ("a", "b"):
        (tmp_path / "v" / label).mkdir(parents=True)
        for i in range(5):
            shutil.copy(album / "stereo.mkv", tmp_path / "v" / label / f"{label}{i}.mkv")
    clips.prepare(tmp_path / "v", tmp_path / "out", size=16, fps=FPS, sound=True, rate=RATE, quiet=True)
    for step in (1, 2):
        data = (
            load.load(str(tmp_path / "out"))
            if step == 1
            else clips.open(tmp_path / "out", frames=16, step=step)
        )
        length = 16 * step * RATE // FPS
        assert (
            data.train.rate == RATE
            and data.train.fps == FPS / step
            and "with sound at 8,000 Hz" in repr(data.train)
        )
        assert data.train.audio.shape == (len(data.train), length) and data.train.audio.dtype == torch.int16
        batches = [*data.train.batches(2, torch.Generator().manual_seed(step))]
        heard = 0
        for batch in [*batches, data.test.batch(torch.arange(2))]:
            assert (
                videos_of(batch).shape[2] == 16
                and sounds_of(batch).shape == (2, length)
                and float(batch["audio"].abs().max()) <= 1
            )
            light = batch["video"].float().mean((1, 3, 4))  # (B, T)
            sound = batch["audio"].view(2, 16, -1).abs().amax(2)
            for t in range(
                16
            ):  # a flash that falls between two frames is heard all the same, so only from seen to heard
                assert (sound[:, t][light[:, t] > 128] > 0.2).all()
            heard += int((light > 128).sum())
            assert step == 2 or bool(((sound > 0.2) == (light > 128)).all())
        assert heard >= 3
        again = [
            *clips.open(tmp_path / "out", frames=16, step=step, workers=0).train.batches(
                2, torch.Generator().manual_seed(step)
            )
        ]
        assert all(
            torch.equal(one[key], two[key])
            for one, two in zip(batches, again)
            for key in ("audio", "video", "index")
        )
    ear = evaluate.random_like(
        Ear(encoders.small_mel(8), RATE), data.train
    )  # whatever judges a method judges an ear on clips
    assert features.extract(ear, data.test).shape == (len(data.test), 8)
    longer = clips.open(tmp_path / "out", frames=64).train  # the films have 48 frames
    assert not longer.audio[:, 48 * RATE // FPS :].any() and longer.audio[:, : 48 * RATE // FPS].any()
    assert longer.take(slice(0, 2)).spread(3).audio.shape == (6, 64 * RATE // FPS)


def test_without_sound_nothing_changes(album, tmp_path):
    index = clips.prepare(album, tmp_path / "out", size=16, fps=FPS, quiet=True)
    assert "rate" not in index and not list((tmp_path / "out").glob("sound*"))
    data = clips.open(tmp_path / "out", frames=4)
    assert data.train.audio is None and set(data.train.batch(torch.arange(1))) == {"video", "index", "label"}
    with pytest.raises(CourseError, match="was prepared with .*, now it would be .*'rate': 8000"):
        clips.prepare(album, tmp_path / "out", size=16, fps=FPS, sound=True, quiet=True)


def test_videos_that_cannot_be_heard_are_left_out(album, tmp_path, capsys):
    shutil.copytree(album, tmp_path / "v")
    with av.open(str(tmp_path / "v" / "mute.mp4"), "w") as container:
        picture = container.add_stream("mpeg4", rate=FPS)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        for _ in range(8):
            container.mux(
                picture.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24"))
            )
        container.mux(picture.encode())
    index = clips.prepare(tmp_path / "v", tmp_path / "out", size=16, fps=FPS, sound=True, quiet=False)
    assert [entry[:2] for entry in index["left_out"]] == [["mute.mp4", "it has no sound"]]
    assert "mute.mp4 is left out: it has no sound" in capsys.readouterr().err
    assert set(seen_and_heard(tmp_path / "out")) == set(
        CASES
    )  # and whoever stands behind it is still in step
    for options, match in (
        (dict(rate=8000, fps=30), "multiple of the frames per second"),
        (dict(fps=None), "fps=None"),
        (dict(rate=10), "rate=10"),
    ):
        with pytest.raises(CourseError, match=match):
            clips.prepare(album, tmp_path / "other", sound=True, **options)


def test_broken_off_and_damaged_folders_are_mended(album, tmp_path, monkeypatch):
    options = dict(
        size=16, fps=FPS, sound=True, rate=RATE, shard=40_000, quiet=True
    )  # one or two films in a file
    clips.prepare(album, tmp_path / "whole", **options)
    content = lambda store: {p.name: p.read_bytes() for p in store.iterdir() if p.suffix == ".npy"}
    assert sum(name.startswith("sound") for name in content(tmp_path / "whole")) > 2
    real, calls = clips.sound_of, []

    def dies(*arguments, **named):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr(clips.prepared, "sound_of", dies)
    with pytest.raises(KeyboardInterrupt):  # between a video and its sound
        clips.prepare(album, tmp_path / "out", **options)
    monkeypatch.setattr(
        clips.prepared, "sound_of", lambda *given, **named: calls.append(given) or real(*given, **named)
    )
    clips.prepare(album, tmp_path / "out", **options)
    assert len(calls) == 4 + len(CASES) - 3  # three were safe
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    file = clips.shard_file(tmp_path / "out", 1, "sound")
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(CourseError, match="sound-0001.npy: it has .* bytes"):
        clips.open(tmp_path / "out")
    clips.prepare(album, tmp_path / "out", **options)
    file = max((tmp_path / "out").glob("sound-*.npy"))
    flipped = bytearray(file.read_bytes())
    flipped[-40] ^= 1
    file.write_bytes(flipped)
    assert clips.damaged(tmp_path / "out", clips.read_index(tmp_path / "out"), thorough=True) == {
        file.name: "its checksum has changed"
    }
    clips.prepare(album, tmp_path / "out", **options)
    assert sorted(content(tmp_path / "out").values()) == sorted(content(tmp_path / "whole").values())
    assert seen_and_heard(tmp_path / "out") == seen_and_heard(tmp_path / "whole")


def test_killed_between_the_names_of_the_two_files(album, tmp_path, monkeypatch):
    options = dict(size=16, fps=FPS, sound=True, rate=RATE, quiet=True)
    whole = clips.prepare(album, tmp_path / "whole", **options)
    real = os.replace

    def dies(source, target):
        if str(target).endswith("sound-0000.npy"):
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(clips.prepared.os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        clips.prepare(album, tmp_path / "out", **options)
    monkeypatch.setattr(clips.prepared.os, "replace", real)
    monkeypatch.setattr(clips.prepared, "decoded", lambda *given, **named: pytest.fail("nothing was lost"))
    assert clips.prepare(album, tmp_path / "out", **options)["videos"] == whole["videos"]
    assert seen_and_heard(tmp_path / "out") == seen_and_heard(tmp_path / "whole")


def test_videos_within_an_archive(album, tmp_path):
    with zipfile.ZipFile(tmp_path / "films.zip", "w") as zipped:
        zipped.write(album / "late sound.mp4", "a/film.mp4")
    clips.prepare(
        [clips.Video(tmp_path / "films.zip", member="a/film.mp4")],
        tmp_path / "out",
        size=16,
        fps=FPS,
        sound=True,
        quiet=True,
    )
    ((frames, moments),) = seen_and_heard(tmp_path / "out").values()
    assert frames == list(FLASHES) and moments == pytest.approx(np.array(FLASHES) / FPS, abs=0.02)


# ---------------------------------------------------------------------------------------------- the script


def test_the_script_reads_lists(tmp_path, capsys):
    (tmp_path / "v").mkdir()
    names = ["---g-f_I2yQ_000001", "a_b-C_000030", "a_b-C_000090", "RUhOCu3LNXM", "zz_7"]
    for name in names:
        film(tmp_path / "v" / f"{name}.mp4", seconds=0.5, flashes=(2,))
    (tmp_path / "vggsound.csv").write_text(
        '---g-f_I2yQ,1,people marching,test\na_b-C,30,"dog, barking",train\na_b-C,90,"dog, barking",train\n'
        "zz,7,people marching,train\nabsent,5,people marching,train\n"
    )
    assert (
        AV.main(
            [
                str(tmp_path / "v"),
                "--to",
                str(tmp_path / "out"),
                "--size",
                "16",
                "--list",
                str(tmp_path / "vggsound.csv"),
                "--quiet",
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "not there" in printed and [line.split() for line in printed.splitlines() if "train" in line] == [
        ["train", "3"]
    ]
    index = clips.read_index(tmp_path / "out")
    assert index["classes"] == ["dog, barking", "people marching"] and index["videos"]["group"] == [
        "---g-f_I2yQ",
        "a_b-C",
        "a_b-C",
        "zz",
    ]
    assert (
        index["videos"]["split"] == {"": ["test", "train", "train", "train"]}
        and index["rate"] == 8000
        and index["fps"] == 16
    )
    assert index["again"].endswith(f"--list {tmp_path / 'vggsound.csv'}") and "--rate 8000" in index["again"]
    for name, split in (("trainSet.txt", "train"), ("testSet.txt", "test")):
        video = "RUhOCu3LNXM" if split == "test" else "zz_7"
        (tmp_path / name).write_text(
            f"Category&VideoID&Quality&StartTime&EndTime\nChurch bell&{video}&good&0&10\n"
        )
    lists = [f"train={tmp_path / 'trainSet.txt'}", f"test={tmp_path / 'testSet.txt'}"]
    meta = AV.prepare(tmp_path / "v", tmp_path / "ave", lists, size=16, quiet=True)
    assert meta["index"]["videos"]["split"] == {"": ["train", "test"]} and meta["index"]["classes"] == [
        "Church bell"
    ]
    assert AV.prepare(tmp_path / "v", tmp_path / "all", size=16, quiet=True)["arrays"]["videos"] == (5,)
    for text, match in (
        ("a,b\n", "expected ID,START,CLASS,SPLIT"),
        ("a,1,dog,other\n", "has the split 'other'"),
        ("x,1,dog,train\n", "none of the 1"),
    ):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(CourseError, match=match):
            AV.prepare(tmp_path / "v", tmp_path / "bad", [str(tmp_path / "bad.csv")])
    assert (
        AV.main([str(tmp_path / "v"), "--to", str(tmp_path / "bad"), "--list", "absent.csv"]) == 1
        and "absent.csv" in capsys.readouterr().err
    )
    assert json.loads((tmp_path / "out" / "index.json").read_text())["name"] == "out" and download.checksum(
        tmp_path / "out" / "frames-0000.npy"
    )
