"""Recordings: the data scripts on tiny archives, files of one's own, audio-visual digits, and the ESC
protocol on hand-made cases.
"""

import csv
import io
import itertools
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from test_images import SCRIPTS, script
from test_video_scripts import server  # noqa: F401 (a fixture)

from sslcourse import encoders
from sslcourse.data import download, heard, images
from sslcourse.data.datasets import Data, Samples, SealedLabels, open_labels, training_in_progress
from sslcourse.data.load import load
from sslcourse.evaluate import esc50
from sslcourse.methods.base import Ear
from sslcourse.runtime.errors import CourseError
from sslcourse.train.recipe import Recipe
from sslcourse.transforms import sounds

ESC, DIGITS = script("esc50"), script("spoken_digits")


@pytest.fixture(autouse=True)
def quick_and_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("SSLCOURSE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(download.files.time, "sleep", lambda seconds: None)


def wav(audio, rate):
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, audio, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def tone(pitch, seconds, rate, amplitude=0.5):
    return (np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate) * amplitude * 32767).astype(
        np.int16
    )


def zip_bytes(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in files.items():
            zipped.writestr(name, data)
    return buffer.getvalue()


# ------------------------------------------------------------------------------------------- sound as numbers


def test_resampling_keeps_pitch_level_and_time():
    for old, new in ((44_100, 16_000), (44_100, 8_000), (8_000, 16_000), (48_000, 22_050)):
        there = heard.resampled(tone(700, 0.5, old)[None], old, new)[0]
        assert there.dtype == torch.int16 and len(there) == int(np.ceil(round(0.5 * old) * new / old))
        middle = slice(len(there) // 10, -len(there) // 10)
        assert (
            np.abs(there.numpy()[middle].astype(float) - tone(700, 0.5, new)[: len(there)][middle]).max() < 60
        )  # of 16,000
    high = heard.resampled(tone(6000, 0.5, 44_100)[None], 44_100, 8_000)[
        0
    ].float()  # cannot be heard any more, and must not come back as 2,000 Hz
    assert high[200:-200].abs().max() < 100
    x = torch.randn(5, 441) / 9
    assert (heard.resampled(x, 441, 160) - heard.resampled(x, 441, 160, block=2)).abs().max() < 1e-6
    assert heard.resampled(x, 441, 160).shape == (5, 160)
    assert heard.resampled(x, 8000, 8000) is x
    loud = torch.full((1, 400), 32767, dtype=torch.int16) * torch.tensor([1, -1]).repeat_interleave(
        100
    ).repeat(2)
    assert (
        int(heard.resampled(loud.to(torch.int16), 100, 80).abs().max()) <= 32768
    )  # the filter overshoots; it is clipped, not wrapped round
    assert (heard.resampled(loud.to(torch.int16), 100, 80)[0, 10:70] > 30_000).all()
    with pytest.raises(CourseError, match="whole number"):
        heard.resampled(x, 8000, 0.5)


def test_decoding():
    mono = tone(300, 0.1, 8000)
    audio, rate = heard.decoded(wav(mono, 8000), "a.wav")
    assert rate == 8000 and audio.dtype == np.int16 and np.array_equal(audio, mono)
    stereo, _ = heard.decoded(wav(np.stack([mono, np.zeros_like(mono)], 1), 8000), "a.wav")
    assert np.abs(stereo.astype(int) - mono.astype(int) / 2).max() <= 0.5
    with pytest.raises(CourseError, match="b.wav cannot be decoded"):
        heard.decoded(b"RIFF no sound", "b.wav")


def test_recordings_of_many_lengths():
    audio = np.concatenate([np.array([1, 2, 3]), np.array([1, 1, 9, 9, 9, 1, 1, 1]), np.arange(4)]).astype(
        np.int16
    )
    got = heard.fitted(audio, np.array([3, 8, 4]), 4)
    assert got.tolist() == [
        [1, 2, 3, 0],
        [1, 9, 9, 9],
        [0, 1, 2, 3],
    ]  # in the middle, the loudest stretch, all of it
    assert heard.fitted(audio, np.array([3, 8, 4]), 7)[0].tolist() == [0, 0, 1, 2, 3, 0, 0]


# ----------------------------------------------------------------------------------------- files of one's own


def test_own_recordings(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(-9000, 9000, (40, 800)).astype(np.int16)
    label, voice = np.repeat(["dog", "cat"], 20), np.tile(["b", "a"], 20)
    np.savez(
        tmp_path / "own.npz",
        audio=x,
        rate=8000,
        label=label,
        voice=voice,
        mood=np.arange(40) / 40,
        name=label,
    )
    data = load(str(tmp_path / "own.npz"))
    assert (
        data.classes == ("cat", "dog")
        and data.train.kind == "audio"
        and data.train.rate == 8000
        and data.name == "own"
    )
    assert [len(part) for part in data] == [28, 4, 8] and data.train.factor_names == {"voice": ("a", "b")}
    everything = {tuple(row.tolist()): (label[i], voice[i]) for i, row in enumerate(x)}
    for part in (data.train, data.validation):
        for row, number, speaker in zip(part.audio, part.label, part.factors["voice"]):
            assert everything[tuple(row.tolist())] == (data.classes[number], "ab"[speaker])
    with pytest.raises(SealedLabels):
        _ = data.test.label
    np.savez(
        tmp_path / "two.npz",
        audio=x[:30] / 32768.0,
        rate=8000,
        label=np.arange(30) % 3,
        test_audio=x[30:] / 32768.0,
        test_label=np.arange(10) % 3,
        classes=["x", "y", "z"],
    )
    data = heard.npz(tmp_path / "two.npz", seconds=0.05)
    assert (
        len(data.test) == 10
        and data.test.audio.shape == (10, 400)
        and open_labels(data.test, "a test")[0].tolist() == [*(np.arange(10) % 3)]
    )
    assert data.classes == ("x", "y", "z") and len(data.train) + len(data.validation) == 30
    np.savez(tmp_path / "long.npz", audio=x.reshape(-1), length=np.full(40, 800), rate=8000)
    unlabelled = heard.npz(tmp_path / "long.npz")
    assert unlabelled.train.audio.shape[1] == 800 and not unlabelled.train.labelled
    assert torch.equal(heard.npz(tmp_path / "long.npz").train.audio, unlabelled.train.audio)
    assert not torch.equal(heard.npz(tmp_path / "long.npz", seed=1).train.audio, unlabelled.train.audio)


def test_own_recordings_that_do_not_fit_together(tmp_path):
    x = np.zeros((6, 800), np.int16)
    cases = [
        (dict(audio=x), "sounds need at least audio and rate"),
        (dict(audio=x.astype(np.float32) + 2, rate=8000), "float from -1 to 1"),
        (dict(audio=x.reshape(-1), rate=8000), r"\(M,\) together with length"),
        (dict(audio=x.reshape(-1), rate=8000, length=[1, 2]), "add up"),
        (
            dict(audio=x, rate=8000, label=np.arange(6), test_audio=x),
            "label is given for one of the two splits",
        ),
        (dict(audio=x, rate=8000, label=["dog"] * 6, classes=["cat"]), "'dog' is none of the 1 classes"),
        (dict(audio=x, rate=8000, label=[0] * 6, speaker=[1, 2]), "'speaker' has 2 rows"),
        (dict(audio=x, rate=80), "rate=80"),
    ]
    for arrays, match in cases:
        np.savez(tmp_path / "x.npz", **arrays)
        with pytest.raises(CourseError, match=match):
            heard.npz(tmp_path / "x.npz")
    with pytest.raises(CourseError, match="seconds=0"):
        heard.npz(tmp_path / "x.npz", seconds=0)
    with pytest.raises(CourseError, match="there is no file"):
        heard.npz(tmp_path / "absent.npz")
    (tmp_path / "x.npz").write_bytes(b"PK no zip")
    with pytest.raises(CourseError, match="cannot be read"):
        heard.npz(tmp_path / "x.npz")
    assert heard.shapes(tmp_path / "x.npz") is None and heard.shapes(tmp_path / "absent.npz") is None
    np.savez(tmp_path / "image.npz", image=np.zeros((40, 8, 8), np.uint8), label=np.arange(40) % 2)
    assert load(str(tmp_path / "image.npz")).train.kind == "image"  # as before


# ---------------------------------------------------------------------------------------------- ESC-50

SMALL = ESC.Expected(classes=3, folds=5, each=2, rate=4_000, seconds=1)


@pytest.fixture(scope="module")
def esc_files():
    """The official layout with three classes; a recording's pitch tells which it is."""
    rows, files = [], {}
    for i, (fold, target, k) in enumerate(itertools.product(range(1, 6), range(3), range(2))):
        source, take = (
            100_000 + fold * 100 + target * 10 + (0 if target == 2 else k),
            "AB"[k],
        )  # both of the last class are cut from one source
        name = f"{fold}-{source}-{take}-{target}.wav"
        files[f"ESC-50-master/audio/{name}"] = wav(tone(200 + 20 * i, 1.0, 4_000), 4_000)
        rows.append([name, fold, target, ("dog", "rain", "church_bells")[target], target == 0, source, take])
    return rows[::-1], files


def esc_zip(rows, files):
    text = io.StringIO()
    csv.writer(text).writerows([ESC.COLUMNS, *rows])
    return zip_bytes(
        {"ESC-50-master/README.md": b"x", "ESC-50-master/meta/esc50.csv": text.getvalue().encode(), **files}
    )


def pitch_of(audio, rate):
    return np.abs(np.fft.rfft(audio.astype(float), axis=-1)).argmax(-1) * rate / audio.shape[-1]


def test_esc50_from_a_server_that_breaks_off(esc_files, server, tmp_path, capsys):  # noqa: F811
    with pytest.raises(CourseError, match="no esc50 in .*; type: sslcourse data esc50$"):
        load("esc50")
    body = esc_zip(*esc_files)
    server.files["master.zip"], server.breaks["master.zip"] = body, [len(body) // 3, 1000]
    get = lambda **options: ESC.prepare(
        None, None, SMALL, mirrors=[server.url + "/gone", server.url], quiet=True, **options
    )
    meta = get(rate=2_000)
    ranges = [wanted for _, wanted in server.asked]
    assert ranges == [
        None,
        f"bytes={len(body) // 3}-",
        f"bytes={len(body) // 3 + 1000}-",
    ] and server.sent == len(body)
    assert meta["arrays"] == {"recordings": (30, 2000), **{f"fold {k}": (6,) for k in range(1, 6)}}
    folder = tmp_path / "data" / "esc50"
    assert sorted(p.name for p in folder.iterdir()) == [
        "esc50.npz",
        "made-by-sslcourse.txt",
    ]  # the archive is gone
    server.files.clear()
    before = (folder / "esc50.npz").stat().st_mtime_ns
    assert get(rate=2_000) == meta and (folder / "esc50.npz").stat().st_mtime_ns == before  # nothing to do
    data = load("esc50")
    assert (
        [len(part) for part in data] == [18, 6, 6]
        and data.classes == ("dog", "rain", "church_bells")
        and data.train.rate == 2_000
    )
    assert set(data.train.factors["fold"].tolist()) == {2, 3, 4} and set(
        data.validation.factors["fold"].tolist()
    ) == {1}
    assert data.train.factor_names["fold"] == ("1", "2", "3", "4", "5")
    with pytest.raises(SealedLabels):
        _ = data.test.factors
    expected = {
        200 + 20 * i: (fold - 1, target)
        for i, (fold, target, _) in enumerate(itertools.product(range(1, 6), range(3), range(2)))
    }
    seen = []
    for part in data:
        label, factors = open_labels(part, "a test") if part.split == "test" else (part.label, part.factors)
        for pitch, fold, target in zip(pitch_of(part.audio.numpy(), 2_000), factors["fold"], label):
            assert expected[int(pitch)] == (int(fold), int(target))
            seen.append(int(pitch))
    assert sorted(seen) == sorted(expected)
    other = heard.esc50(5, rate=1_000)
    assert other.test.audio.shape == (6, 1000) and set(other.validation.factors["fold"].tolist()) == {0}
    assert set(pitch_of(other.train.audio.numpy(), 1_000)) <= {*expected} | {*range(1000)}
    with pytest.raises(CourseError, match="fold=6; ESC-50 has the folds 1 to 5"):
        heard.esc50(6)
    joined = esc50.together(data)
    assert len(esc50.folds_of(joined, "fold")) == 5  # sources never leave their fold
    joined.extra["source"][0] = joined.extra["source"][-1]
    with pytest.raises(
        CourseError, match=r"folds of ESC-50 leak: recording \d+ comes from the same source as recording \d+"
    ):
        esc50.folds_of(joined, "fold")


def test_esc50_from_what_the_user_has(esc_files, server, tmp_path, capsys):  # noqa: F811
    rows, files = esc_files
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "ESC-50-master.zip").write_bytes(esc_zip(rows, files))  # as a browser calls it
    with zipfile.ZipFile(tmp_path / "mine" / "ESC-50-master.zip") as zipped:
        zipped.extractall(tmp_path / "open")
    for k, source in enumerate(
        (tmp_path / "mine", tmp_path / "mine" / "ESC-50-master.zip", tmp_path / "open")
    ):
        ESC.prepare(source, tmp_path / f"out{k}", SMALL, rate=4_000, quiet=True)
    stored = [dict(np.load(tmp_path / f"out{k}" / "esc50.npz")) for k in range(3)]
    for key in ("audio", "rate", "label", "fold", "source", "name", "classes", "esc10"):
        assert all(np.array_equal(stored[0][key], other[key]) for other in stored[1:])
    assert (
        stored[0]["name"].tolist() == sorted(row[0] for row in rows) and stored[0]["audio"].dtype == np.int16
    )
    assert np.array_equal(
        stored[0]["audio"][0], tone(200, 1.0, 4_000)
    )  # to the sample, at the rate of the archive
    assert (tmp_path / "mine" / "ESC-50-master.zip").exists() and not server.asked
    bad = {
        "name": [["1-9-A-1.wav", 1, 0, "dog", True, 9, "A"]],
        "count": rows[:-1],
        "stray": [[*row[:5], 7, row[6]] if row[2] == 0 else row for row in rows],
    }
    bad["stray"] = [
        [f"{row[1]}-{row[5]}-{row[6]}{i}-{row[2]}.wav", *row[1:6], f"{row[6]}{i}"]
        for i, row in enumerate(bad["stray"])
    ]
    for what, match in (
        ("name", "does not repeat"),
        ("count", "lists 29 recordings of 3 classes; expected 30"),
        ("stray", "source in another fold"),
    ):
        (tmp_path / "bad.zip").write_bytes(esc_zip(bad[what], files))
        with pytest.raises(CourseError, match=match):
            ESC.prepare(tmp_path / "bad.zip", tmp_path / "bad", SMALL, rate=4_000)
    (tmp_path / "bad.zip").write_bytes(esc_zip(rows, dict([*files.items()][1:])))
    with pytest.raises(CourseError, match="lacks"):
        ESC.prepare(tmp_path / "bad.zip", tmp_path / "bad", SMALL, rate=4_000)
    damaged = bytearray(esc_zip(rows, files))
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "bad.zip").write_bytes(damaged)
    with pytest.raises(CourseError, match="bad.zip is damaged: .*; fetch it again"):
        ESC.prepare(tmp_path / "bad.zip", tmp_path / "bad", SMALL, rate=4_000)
    first = next(iter(files))
    (tmp_path / "bad.zip").write_bytes(esc_zip(rows, {**files, first: wav(tone(200, 1.0, 8_000), 8_000)}))
    with pytest.raises(CourseError, match="has 8,000 samples at 8,000 Hz; expected 1 s at 4,000 Hz"):
        ESC.prepare(tmp_path / "bad.zip", tmp_path / "bad", SMALL, rate=4_000)
    with pytest.raises(CourseError, match="rate=96000"):
        ESC.prepare(tmp_path / "open", tmp_path / "bad", SMALL, rate=96_000)
    assert not (tmp_path / "bad" / "esc50.npz").exists() and not list((tmp_path / "bad").glob(".*"))
    assert (
        ESC.main(["--from", str(tmp_path / "absent")]) == 1
        and "there is no file or folder" in capsys.readouterr().err
    )


def test_a_page_in_place_of_the_archive_is_no_archive(server, tmp_path):  # noqa: F811
    server.files["master.zip"] = b"<html>log in first</html>" * 99
    with pytest.raises(CourseError, match="could not download master.zip"):
        ESC.prepare(None, None, SMALL, mirrors=[server.url], rate=4_000, quiet=True)
    assert not (tmp_path / "data" / "esc50" / "esc50.npz").exists()


# ---------------------------------------------------------------------------------------------- spoken digits

TWO = DIGITS.Expected(speakers=("george", "theo"), takes=10)


@pytest.fixture(scope="module")
def spoken():
    """Ten takes of ten digits by two speakers: the pitch is the digit, the level the speaker, the length the
    take.
    """
    return {
        f"fsdd-1/recordings/{d}_{s}_{n}.wav": wav(
            tone(300 + 100 * d, 0.2 + 0.02 * n, 8000, 0.2 + 0.3 * (s == "theo")), 8000
        )
        for d, s, n in itertools.product(range(10), ("george", "theo"), range(10))
    }


def test_spoken_digits(spoken, server, tmp_path):  # noqa: F811
    with pytest.raises(CourseError, match="no spoken_digits in .*; type: sslcourse data spoken_digits$"):
        load("spokendigits")
    body = zip_bytes({"fsdd-1/README.md": b"x", **spoken})
    server.files["v1.0.10.zip"], server.breaks["v1.0.10.zip"] = body, [len(body) // 2]
    meta = DIGITS.prepare(None, None, TWO, mirrors=[server.url], quiet=True)
    assert meta["arrays"] == {"train": (100,), "test": (100,)} and server.sent == len(body)
    server.files.clear()
    assert DIGITS.prepare(None, None, TWO, mirrors=[server.url], quiet=True) == meta
    data = heard.spoken_digits(0.5)
    assert (
        len(data.test) == 100
        and len(data.train) + len(data.validation) == 100
        and data.train.audio.shape[1] == 4000
    )
    assert data.classes == tuple("0123456789") and data.train.factor_names == {"speaker": ("george", "theo")}
    for part in data:
        label, factors = open_labels(part, "a test") if part.split == "test" else (part.label, part.factors)
        assert (factors["take"].numpy() < 5).all() == (part.split == "test") and len(
            set((factors["take"] < 5).tolist())
        ) == 1
        assert np.abs(pitch_of(part.audio.numpy(), 8000) - 300 - 100 * label.numpy()).max() < 30
        assert ((part.audio.max(1).values > 10_000) == (factors["speaker"] == 1)).all()
    assert load("spokendigits").train.audio.shape[1] == 8000
    pairs = heard.av_digits(
        None, heard.spoken_digits(validation=0.4), 30, 20, 10
    )  # as load("avdigits"), with a voice for every digit
    assert pairs.train.video.shape[1:] == (3, 16, 32, 32) and pairs.train.fps == 16
    (tmp_path / "short.zip").write_bytes(zip_bytes(dict([*spoken.items()][:-1])))
    with pytest.raises(CourseError, match="lacks"):
        DIGITS.prepare(tmp_path / "short.zip", tmp_path / "other", TWO)
    (tmp_path / "wrong.zip").write_bytes(
        zip_bytes({**spoken, [*spoken][0]: wav(tone(300, 0.2, 16_000), 16_000)})
    )
    with pytest.raises(CourseError, match="at 16,000 Hz; expected some at 8,000 Hz"):
        DIGITS.prepare(tmp_path / "wrong.zip", tmp_path / "other", TWO)


def test_what_the_scripts_expect_by_default():
    assert ESC.Expected().count == 2000 and (DIGITS.Expected().trained, DIGITS.Expected().tested) == (
        2700,
        300,
    )
    done = subprocess.run(
        [sys.executable, SCRIPTS / "spoken_digits.py", "--from", "absent"],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 1 and "there is no file or folder absent" in done.stderr


# ---------------------------------------------------------------------------------------- audio-visual digits


def sounds_of_digits(n=200, seed=0, seconds=0.5):
    rng = np.random.default_rng(seed)
    label = np.arange(n) // 4 % 10  # every speaker says every digit
    audio = np.stack([tone(300 + 100 * d, seconds, 8000, rng.uniform(0.2, 0.6)) for d in label])
    audio[:, 0] = rng.permutation(n)  # each is another one
    make = lambda part, rows: Samples(
        audio=audio[rows],
        rate=8000,
        label=label[rows],
        factors={"speaker": rows % 4, "row": rows},
        split=part,
        name="tones",
    )
    cut = [np.arange(0, n // 2), np.arange(n // 2, 3 * n // 4), np.arange(3 * n // 4, n)]
    return Data(*(make(part, rows) for part, rows in zip(("train", "validation", "test"), cut)))


def test_audio_visual_digits_are_constructed_pairs_of_one_class():
    tones, pictures = sounds_of_digits(), images.digits(14)
    data = heard.av_digits(pictures, tones, 120, 40, 60, frames=8, size=24, seed=3)
    assert (
        "constructed pairs" in data.name
        and data.train.video.shape == (120, 3, 8, 24, 24)
        and data.train.fps == 16.0
    )
    assert {"digit", "x", "y", "dx", "dy", "speaker", "row"} == set(data.train.factors)
    recordings = []
    for films, own in zip(data, tones):
        label, factors = (
            open_labels(films, "a test") if films.split == "test" else (films.label, films.factors)
        )
        spoken, known = open_labels(own, "a test") if own.split == "test" else (own.label, own.factors)
        chosen = films.extra["recording"]
        assert torch.equal(label, spoken[chosen]) and torch.equal(films.audio, own.audio[chosen])
        assert torch.equal(factors["row"], known["row"][chosen])
        assert np.abs(pitch_of(films.audio.numpy(), 8000) - 300 - 100 * label.numpy()).max() < 30
        recordings.append(set(factors["row"].tolist()))
        with pytest.raises(SealedLabels) if films.split == "test" else pytest.MonkeyPatch.context():
            _ = films.label
    assert not recordings[0] & recordings[1] and not recordings[1] & recordings[2]
    # Within a class, which film gets which recording is chance.
    table = [data.train.factors["speaker"][data.train.label == d].unique().numel() for d in range(10)]
    assert np.mean(table) > 1.5
    again, other = (heard.av_digits(pictures, tones, 120, 40, 60, frames=8, size=24, seed=s) for s in (3, 4))
    assert torch.equal(again.train.audio, data.train.audio) and not torch.equal(
        other.train.extra["recording"], data.train.extra["recording"]
    )
    batch = next(data.train.batches(4))
    assert batch["video"].shape == (4, 3, 8, 24, 24) and batch["audio"].shape == (4, 4000)
    few = Data(*(part.take((part._label != 7).nonzero()[:, 0]) for part in tones))
    with pytest.raises(CourseError, match="no recording of 7 in the train split"):
        heard.av_digits(pictures, few, 120, 40, 60)
    with pytest.raises(CourseError, match="sounds need labels, and audio"):
        heard.av_digits(pictures, pictures, 12, 12, 12)
    with training_in_progress(), pytest.raises(SealedLabels):
        heard.av_digits(pictures, tones, 12, 12, 12)


# ------------------------------------------------------------------------------------------- the ESC protocol


def test_crops():
    x = torch.arange(10)[None]
    assert esc50.crops_of(x, 4, 4)[0].tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert esc50.crops_of(x, 1, 4)[0].tolist() == [[3, 4, 5, 6]] and esc50.crops_of(x, 3, 10).shape == (
        1,
        3,
        10,
    )
    for count, length in ((3, 11), (0, 4), (3, 0)):
        with pytest.raises(CourseError, match="crops"):
            esc50.crops_of(x, count, length)


def test_scores_are_averaged_over_crops_and_not_votes():
    sure = np.array(
        [[[0.1, 0.0], [0.2, 0.1], [0.0, 9.0]]]
    )  # two crops prefer class 0 by a little, one class 1 by far
    assert esc50.averaged(sure, np.array([4, 7])).tolist() == [7]
    assert esc50.averaged(sure[:, :2], np.array([4, 7])).tolist() == [4]


def test_the_machine_is_scikit_learns_on_standardised_features():
    from sklearn.svm import LinearSVC

    rng = np.random.default_rng(0)
    label = np.arange(60) % 3
    x = (np.eye(3)[label][:, None] * 2 + rng.normal(size=(60, 4, 3))) * [1, 100, 0.01] + [
        5,
        0,
        -3,
    ]  # units must not matter
    predict = esc50._machine(x, label, 1.0)
    flat = x.reshape(-1, 3)
    z = (flat - flat.mean(0)) / flat.std(0) / np.sqrt(3)
    scores = (
        LinearSVC(C=1.0, dual=False, max_iter=3000)
        .fit(z, label.repeat(4))
        .decision_function(z)
        .reshape(60, 4, 3)
    )
    assert np.array_equal(predict(x), scores.mean(1).argmax(1))
    assert np.array_equal(predict(x), esc50._machine(x * [3, 0.2, 7] + 1, label, 1.0)(x * [3, 0.2, 7] + 1))
    assert (predict(x) == label).mean() > (
        scores.argmax(2) == label[:, None]
    ).mean()  # more crops, fewer mistakes
    two = esc50._machine(x[label < 2], label[label < 2] + 5, 1.0)(
        x[label < 2]
    )  # of two classes scikit-learn gives one score
    assert set(two) == {5, 6} and (two == label[label < 2] + 5).mean() > 0.9


def test_the_cost_is_chosen_on_what_is_held_out(monkeypatch):
    asked = []

    def machine(x, label, cost):
        asked.append((cost, sorted(x[:, 0, 0].astype(int).tolist())))
        sure = np.eye(2)[{0.1: 0, 1.0: 1, 10.0: 1}[cost]]
        return esc50.Machine(lambda y: np.tile(sure, (len(y), 1)), np.array([0, 1]))

    monkeypatch.setattr(esc50, "_machine", machine)
    x, label, held = (
        np.arange(6.0)[:, None, None],
        np.array([0, 0, 0, 0, 1, 1]),
        np.array([False] * 4 + [True] * 2),
    )
    predict, cost = esc50.linear_machine(x, label, held, (0.1, 1.0, 10.0))
    assert cost == 1.0 and predict(x).tolist() == [1] * 6  # the smallest of the best
    assert asked == [(c, [0, 1, 2, 3]) for c in (0.1, 1.0, 10.0)] + [(1.0, [0, 1, 2, 3, 4, 5])]
    with pytest.raises(CourseError, match="0 of 6 training recordings are held out"):
        esc50.linear_machine(x, label, np.zeros(6, bool), (0.1, 1.0))
    assert esc50.linear_machine(x, label, np.zeros(6, bool), (1.0,))[1] == 1.0


class Hash(torch.nn.Module):
    """An ear that gives each recording a vector of its own and nothing else: whoever has not seen the
    recording knows nothing.
    """

    rate = 8000

    def encode(self, batch):
        key = (batch["audio"][:, :8].double() * 32767).round().long().sum(1) * 7919 % 100_003
        return torch.stack([torch.randn(64, generator=torch.Generator().manual_seed(int(k))) for k in key])


def noise(n=300, classes=3, folds=5, seed=0, length=400):
    rng = np.random.default_rng(seed)
    return Samples(
        audio=rng.integers(-9000, 9000, (n, length)).astype(np.int16),
        rate=8000,
        label=rng.integers(classes, size=n),
        factors={"fold": np.arange(n) % folds},
        factor_names={"fold": tuple("abcde")},
        name="noise",
    )


def test_a_planted_leak_is_found_and_would_have_paid():
    clean = noise()
    options = dict(crops=1, seconds=0.05, baselines=False, costs=(1.0, 10.0))
    assert abs(esc50.esc(Hash(), clean, **options).mean("Hash") - 1 / 3) < 0.1
    leaky = noise()
    leaky.audio[1::2] = leaky.audio[
        ::2
    ].clone()  # every recording stands in two neighbouring folds, with its label
    leaky._label[1::2] = leaky._label[::2].clone()
    with pytest.raises(
        CourseError,
        match=r"the folds of noise leak: recording 1 is the same sound as recording 0 \(150 such pairs\)",
    ):
        esc50.esc(Hash(), leaky, **options)
    real, esc50.leaks = esc50.leaks, lambda samples, fold: []
    try:
        assert esc50.esc(Hash(), leaky, **options).mean("Hash") > 0.6  # so this is no trifle
    finally:
        esc50.leaks = real
    silent = noise()
    silent.audio[:20] = 0
    assert esc50.leaks(silent, np.arange(300) % 5) == []  # silence is no recording


def test_folds():
    samples = noise(50)
    made = esc50.folds_of(samples, "fold")
    assert [fold.name for fold in made] == list("abcde")
    column = samples.factors["fold"].numpy()
    for k, fold in enumerate(made):
        assert sorted([*fold.train, *fold.test]) == [*range(50)] and set(column[fold.test]) == {k}
        assert set(column[fold.train[fold.held]]) == {(k + 1) % 5} and set(
            column[fold.train[~fold.held]]
        ) == {*range(5)} - {k, (k + 1) % 5}
    samples._factors["half"] = torch.arange(50) % 2
    for factor, match in (
        ("speaker", "no factor 'speaker' to make folds of; it has fold, half"),
        ("half", "makes 2 folds"),
    ):
        with pytest.raises(CourseError, match=match):
            esc50.folds_of(samples, factor)
    data = sounds_of_digits()
    whole, (fold,) = esc50.official(data)
    assert (
        len(fold.train) == 150
        and fold.held.sum() == 50
        and torch.equal(whole.audio[fold.test], data.test.audio)
    )
    assert data.test.openings == ["esc.esc"]
    data.test.audio[0] = data.train.audio[0]
    with pytest.raises(
        CourseError, match="test split of tones leaks: recording 150 is the same sound as recording 0"
    ):
        esc50.official(data)


def test_the_protocol_hears_what_is_there():
    """Tones of ten pitches: the spectrogram tells them apart, and so does a random ear; chance is chance;
    what is made never sees its test.
    """
    data, seen = sounds_of_digits(240), []

    def maker(train, seed):
        seen.append((seed, set(train.factors["row"].tolist())))
        return esc50.random_ear()(train, seed)

    found = esc50.esc(
        {"made": maker, "frozen": Ear(encoders.small_mel(16), 4000)},
        data,
        folds="speaker",
        crops=2,
        seeds=2,
        costs=(10.0,),
    )
    assert (
        found.folds == ("0", "1", "2", "3")
        and found.mean("chance") == pytest.approx(0.1, abs=0.03)
        and found.mean("log-mel") > 0.95
    )
    assert found.mean("made") > 0.6 and np.array(found["made"]["accuracy"]).shape == (2, 4)
    names = [row["features"] for row in found.rows]
    assert names == ["chance", "log-mel", "random ear", "random ear, as frozen reads", "made", "frozen"]
    assert found["random ear, as frozen reads"]["dim"] == 16 and found["random ear"]["dim"] == 64
    assert (
        len(found["frozen"]["accuracy"]) == 1
        and found["log-mel"]["dim"] == 256
        and found["frozen"]["dim"] == 16
    )
    rows = np.arange(240)
    assert [
        (seed, rows_seen == set(rows[rows % 4 != fold]))
        for (seed, rows_seen), fold in zip(seen, [0, 1, 2, 3] * 2)
    ] == [(seed, True) for seed in (0, 0, 0, 0, 1, 1, 1, 1)]
    text = repr(found)
    assert (
        "4 folds by speaker, 2 crops of 0.4 s" in text
        and "log-mel" in text
        and "<table>" in found._repr_html_()
    )
    assert (
        found.table()[2]["± seeds"] != "–"
        and found.readings == 1
        and esc50.esc(None, data, folds=None, costs=(1.0,)).readings == 2
    )
    official = esc50.esc(None, data, folds=None, crops=2, costs=(1.0, 10.0))
    assert (
        official.folds == ("official",)
        and "on the validation split" in official.protocol
        and "opened 3 times" in repr(official)
    )


def test_a_random_ear_is_random_and_a_supervised_one_learns():
    data = sounds_of_digits(200)
    ears = [esc50.random_ear()(data.train, seed) for seed in (0, 0, 1)]
    weights = [next(ear.f.parameters()) for ear in ears]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    mel = sounds.log_mel(data.train.audio, 8000)
    assert ears[0].f.standard.running_mean.item() == pytest.approx(
        mel.mean().item(), abs=1e-3
    )  # the statistics of these sounds
    assert ears[0].f.standard.running_var.item() == pytest.approx(mel.var().item(), rel=1e-3)
    few = Recipe(epochs=2, batch_size=20, lr=3e-3)
    one, two = (esc50.supervised_ear(recipe=few)(data.train, 0) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values()))
    method = esc50.HeardWithLabels(encoders.small_mel(16), 8000, 10, 3200)
    batch = next(data.train.batches(50))
    assert method.views(batch)["logmel"].shape == (50, 1, 32, 19)
    assert method.loss(batch)[0].item() == pytest.approx(np.log(10), abs=0.6)
    assert method.encode({"audio": batch["audio"]}).shape == (50, 16)  # no label is needed


def test_mistakes_are_explained():
    data = sounds_of_digits()
    ear = Ear(encoders.small_mel(8), 16_000)
    with pytest.raises(CourseError, match="hears 16,000 samples a second, the recordings have 8,000"):
        esc50.esc(ear, data, folds="speaker", baselines=False)
    with pytest.raises(CourseError, match="nothing to judge"):
        esc50.esc(None, data, baselines=False)
    with pytest.raises(CourseError, match="three splits"):
        esc50.esc(None, noise(), folds=None)
    with pytest.raises(CourseError, match="is no ear; pass a function of"):
        esc50.esc({"x": lambda train, seed: 3}, data, folds="speaker", baselines=False)
    with pytest.raises(CourseError, match="no sound, or no labels"):
        esc50.esc(None, images.digits())

    class Dense(torch.nn.Module):
        def encode(self, batch):
            return batch["audio"][:, None, :4, None]

    with pytest.raises(CourseError, match="one vector per sound"):
        esc50.esc(Dense(), data, folds="speaker", baselines=False)
    alone = noise(30, classes=2)
    alone._label[:] = 0
    alone._label[alone._factors["fold"] == 2] = 1
    with pytest.raises(CourseError, match="fold c: '1' is tested and stands in no training fold"):
        esc50.esc(Hash(), alone, baselines=False)
    with training_in_progress(), pytest.raises(SealedLabels):
        esc50.esc(None, data, folds="speaker")


def test_the_command(tmp_path, capsys, monkeypatch):
    from sslcourse.commands.parser import main

    data = sounds_of_digits(120)
    parts = [(p, *(open_labels(p, "a test") if p.split == "test" else (p.label, p.factors))) for p in data]
    join = lambda k: np.concatenate([k(*part) for part in parts])
    np.savez(
        tmp_path / "own.npz",
        audio=join(lambda p, y, f: p.audio.numpy()),
        rate=8000,
        label=join(lambda p, y, f: y.numpy()),
        speaker=join(lambda p, y, f: f["speaker"].numpy()),
    )
    assert (
        main(
            [
                "esc",
                "--data",
                str(tmp_path / "own.npz"),
                "--folds",
                "speaker",
                "--crops",
                "2",
                "--seeds",
                "1",
                "--json",
            ]
        )
        == 0
    )
    value = json.loads(capsys.readouterr().out)
    assert [row["features"] for row in value["rows"]] == ["chance", "log-mel", "random ear"] and value[
        "folds"
    ] == ["0", "1", "2", "3"]
    assert (
        main(["esc", "--data", str(tmp_path / "own.npz")]) == 2
        and "no factor 'fold'" in capsys.readouterr().err
    )
    monkeypatch.setenv("SSLCOURSE_DATA", str(tmp_path / "none"))
    assert main(["esc"]) == 2 and "type: sslcourse data esc50" in capsys.readouterr().err
