"""Videos on disk: prepared once and exactly, read the same whatever reads them, and sequences with masks."""

import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from sslcourse import evaluate
from sslcourse.data import clips, download
from sslcourse.data.datasets import (
    SPLITS,
    Samples,
    SealedLabels,
    few_labels,
    open_labels,
    training_in_progress,
)
from sslcourse.methods.base import Method
from sslcourse.runtime.errors import CourseError
from sslcourse.train import checkpoints, features
from sslcourse.train.loop import epochs
from sslcourse.train.recipe import Recipe

av = pytest.importorskip("av", reason="videos are written and read by PyAV: pip install av")

# --------------------------------------------------------------------------------------- sequences with masks

PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]


def moving(seed, frames, height, width):
    """(T, H, W, 3) smooth frames and (T, H, W) ids: two objects that drift over a ground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    wave = lambda t, c: 127 + 100 * np.sin((x + t) / 7 + c + rng.random()) * np.cos(y / 9 + c)
    pictures = np.stack([np.stack([wave(t, c) for c in range(3)], -1) for t in range(frames)])
    ids = np.zeros((frames, height, width), np.uint8)
    for t in range(frames):
        ids[t, 2 : height // 2, t : t + width // 3] = 1
        ids[t, height // 2 : height - 2, width // 2 - t : width - 4 - t] = 2
    return pictures.astype(np.uint8), ids


def davis_tree(
    root,
    names=("cow", "dog"),
    frames=5,
    height=24,
    width=44,
    suffix=".png",
    resolution="480p",
    binary=False,
    digits=5,
):
    """A folder in the layout of DAVIS, from its description; returns {name: (frames, ids)}."""
    truth = {}
    for k, name in enumerate(names):
        pictures, ids = truth[name] = moving(k, frames, height, width)
        for kind in ("JPEGImages", "Annotations"):
            (root / kind / resolution / name).mkdir(parents=True)
        for t in range(frames):
            stem = f"{t:0{digits}d}"
            Image.fromarray(pictures[t]).save(
                root / "JPEGImages" / resolution / name / f"{stem}{suffix}", quality=95
            )
            if binary:
                mask = Image.fromarray(np.where(ids[t] > 0, 255, 0).astype(np.uint8))
                mask = mask.convert("RGB") if t % 2 else mask
            else:
                mask = Image.fromarray(ids[t], mode="P")
                mask.putpalette(PALETTE)
            mask.save(root / "Annotations" / resolution / name / f"{stem}.png")
    return truth


def test_sequences_are_what_was_written(tmp_path):
    truth = davis_tree(tmp_path / "DAVIS", digits=1, frames=11)  # 10.png comes after 9.png
    films = clips.sequences(tmp_path)
    assert len(films) == 2 and films.names == ("cow", "dog") and "cow, dog" in repr(films)
    for name, frames, masks in films:
        pictures, ids = truth[name]
        assert (
            torch.equal(frames, torch.from_numpy(pictures).permute(3, 0, 1, 2))
            and frames.dtype == torch.uint8
        )
        assert torch.equal(masks, torch.from_numpy(ids))
    assert films["dog"].name == films[1].name == films[1:][0].name == "dog" and len(films[:1]) == 1
    assert (
        films["dog"].frames.shape
        == clips.sequences(tmp_path / "DAVIS", ["dog"])[0].frames.shape
        == (3, 11, 24, 44)
    )
    assert clips.sequences(tmp_path, limit=3)[0].masks.shape == (3, 24, 44)


def test_sequences_are_lazy(tmp_path):
    davis_tree(tmp_path)
    films = clips.sequences(tmp_path)
    (tmp_path / "JPEGImages" / "480p" / "cow" / "00003.png").write_bytes(b"no picture")
    assert films["dog"].frames.shape[1] == 5
    with pytest.raises(CourseError, match="00003.png .*damaged"):
        films["cow"]


def test_sequences_resized(tmp_path):
    truth = davis_tree(tmp_path, height=48, width=88)
    small = clips.sequences(tmp_path, size=24)["cow"]
    assert small.frames.shape == (3, 5, 24, 44) and set(small.masks.unique().tolist()) <= {
        0,
        1,
        2,
    }  # ids are never mixed
    means = (
        torch.from_numpy(truth["cow"][0])
        .permute(3, 0, 1, 2)
        .float()
        .unflatten(3, (44, 2))
        .unflatten(2, (24, 2))
        .mean((3, 5))
    )
    assert (small.frames - means).abs().max() <= 1  # averages, and no single pixels
    share = (small.masks == 2).float().mean() / (torch.from_numpy(truth["cow"][1]) == 2).float().mean()
    assert share == pytest.approx(1, abs=0.05)
    assert clips.sequences(tmp_path, size=(24, 45))["cow"].frames.shape == (3, 5, 24, 45)
    with pytest.raises(CourseError, match="squeeze cow"):
        clips.sequences(tmp_path, size=(24, 24))["cow"]


def test_masks_of_one_object(tmp_path):
    truth = davis_tree(tmp_path / "2016", binary=True, suffix=".jpg")
    film = clips.sequences(tmp_path / "2016")["cow"]
    assert torch.equal(film.masks, torch.from_numpy((truth["cow"][1] > 0).astype(np.uint8)))
    assert (
        film.frames.float() - torch.from_numpy(truth["cow"][0]).permute(3, 0, 1, 2)
    ).abs().mean() < 6  # JPEG
    davis_tree(tmp_path / "2017")
    (tmp_path / "2017" / "Annotations" / "480p" / "cow" / "00002.png").unlink()
    merged = clips.sequences(tmp_path / "2017", one_object=True)["cow"].masks
    assert merged[0].unique().tolist() == [0, 1] and merged[2].unique().tolist() == [clips.UNKNOWN]


@pytest.mark.parametrize(
    "stored, expected",
    [
        ([[0, 255], [0, 255]], [[0, 1], [0, 1]]),  # DAVIS 2016: white on black
        ([[0, 1, 2, 255], [0, 1, 2]], [[0, 1, 2, 255], [0, 1, 2]]),  # ids and void
        ([[0, 255], [0, 2, 255]], [[0, 255], [0, 2, 255]]),  # an id in another frame makes white void in all
        ([[0, 255], [0, 3]], [[0, 255], [0, 3]]),
        ([[1, 2], [1]], [[1, 2], [1]]),
    ],
)
@pytest.mark.parametrize("mode", ["L", "P", "RGB", "both"])
@pytest.mark.parametrize("limit", [None, 1])
def test_white_is_void_where_any_other_id_stands_in_the_sequence(tmp_path, stored, expected, mode, limit):
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / kind / "480p" / "a").mkdir(parents=True)
    masks = [np.repeat(np.resize(np.array(row, np.uint8), (1, 12)), 8, 0) for row in stored]
    for t, ids in enumerate(masks):
        Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(tmp_path / f"JPEGImages/480p/a/{t:05d}.png")
        how = ("P", "L")[t % 2] if mode == "both" else mode
        image = Image.fromarray(ids, mode="P") if how == "P" else Image.fromarray(ids).convert(how)
        if how == "P":
            image.putpalette((PALETTE + [0] * 768)[:768])
        image.save(tmp_path / f"Annotations/480p/a/{t:05d}.png")
    found = clips.sequences(tmp_path, limit=limit)["a"].masks
    for ids, row, now in zip(masks, stored, found):
        truth = np.array(ids)
        for before, after in zip(row, expected[stored.index(row)]):
            truth[ids == before] = after
        assert np.array_equal(now.numpy(), truth), (mode, limit)


def test_soft_edges_of_a_white_object_are_no_ids(tmp_path):
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / kind / "480p" / "a").mkdir(parents=True)
    soft = np.repeat(np.array([[0, 0, 40, 90, 160, 220, 255, 255]], np.uint8), 6, 0)
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(tmp_path / "JPEGImages/480p/a/00000.png")
    Image.fromarray(soft).save(tmp_path / "Annotations/480p/a/00000.png")
    assert clips.sequences(tmp_path)["a"].masks[0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_official_lists(tmp_path):
    davis_tree(tmp_path, names=("bear", "cow", "dog"))
    for folder, text in (
        ("2017", "dog\ncow\n"),
        ("480p", "/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png\n" * 3),
    ):
        (tmp_path / "ImageSets" / folder).mkdir(parents=True)
        (tmp_path / "ImageSets" / folder / "val.txt").write_text(text)
    assert clips.sequences(tmp_path, "val").names == ("dog", "cow")
    assert clips.sequences(tmp_path, "val", year=2016).names == ("bear",)
    with pytest.raises(CourseError, match="no list 'train' of 2017; it has ImageSets/2017/val.txt"):
        clips.sequences(tmp_path, "train")
    (tmp_path / "ImageSets" / "2017" / "val.txt").write_text("horse\n")
    with pytest.raises(CourseError, match="lacks horse; it has bear, cow, dog"):
        clips.sequences(tmp_path, "val")


def test_sequences_name_what_is_wrong(tmp_path, monkeypatch):
    with pytest.raises(CourseError, match="expected JPEGImages/480p/NAME"):
        clips.sequences(tmp_path)
    davis_tree(tmp_path, resolution="1080p")
    with pytest.raises(CourseError, match="pass resolution='1080p'"):
        clips.sequences(tmp_path)
    films = clips.sequences(tmp_path, resolution="1080p")
    with pytest.raises(CourseError, match="no sequence 'cat'; there are cow, dog"):
        films["cat"]
    Image.new("RGB", (9, 9)).save(tmp_path / "JPEGImages" / "1080p" / "cow" / "00004.png")
    with pytest.raises(CourseError, match="00004.png is 9 x 9 pixels, the first frame 44 x 24"):
        films["cow"]
    monkeypatch.setenv("SSLCOURSE_DATA", str(tmp_path / "data"))
    with pytest.raises(CourseError, match=r"type: sslcourse data davis --year 2016$"):
        clips.davis(2016)


# ---------------------------------------------------------------------------------------------- preparing


def frames_of(seed, frames, height=24, width=32):
    """(T, H, W, 3) uint8 noise: every frame is unlike every other."""
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def encode(path, pictures, fps=8, codec="ffv1", pixels="bgr0"):
    """A video file, lossless unless another codec is asked for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:3], pixels
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """Three classes of four videos of 10 to 21 frames, 24 x 32, and the frames that they were made from."""
    root, truth = tmp_path_factory.mktemp("videos") / "album", {}
    for c, label in enumerate(("jump", "run", "swim")):
        for i in range(4):
            name = f"{label}/{i + 8}.avi"  # 10.avi comes after 9.avi
            truth[name] = frames_of((c, i), 10 + 4 * c + i)
            encode(root / name, truth[name])
    return root, truth


@pytest.fixture(scope="module")
def store(album, tmp_path_factory):
    """The album, prepared in several shards."""
    out = tmp_path_factory.mktemp("prepared") / "album"
    prepare(album[0], out, shard=60_000)
    return out


def prepare(source, out, **options):
    return clips.prepare(source, out, **{"size": (24, 32), "quiet": True, **options})


def whole(folder, name):
    """All frames of a video of a prepared folder, (T, H, W, 3)."""
    videos = clips.read_index(folder)["videos"]
    i = videos["name"].index(name)
    array = np.load(clips.shard_file(folder, videos["shard"][i]))
    return array[videos["start"][i] : videos["start"][i] + videos["count"][i]].transpose(0, 2, 3, 1)


def content(folder):
    """All that matters of a prepared folder, whatever files it lies in."""
    index = clips.read_index(folder)
    videos = index["videos"]
    return (
        {name: whole(folder, name).tobytes() for name in videos["name"]},
        list(videos["name"]),
        videos["class"],
        videos["split"],
        videos["group"],
        index["classes"],
        [left[:2] for left in index["left_out"]],
    )


def test_prepared_frames_are_those_of_the_videos(album, store):
    root, truth = album
    index = clips.read_index(store)
    assert (
        index["videos"]["name"] == list(truth)
        and index["classes"] == ["jump", "run", "swim"]
        and index["left_out"] == []
    )
    assert index["videos"]["class"] == [0] * 4 + [1] * 4 + [2] * 4 and len(index["shards"]) > 3
    for name, pictures in truth.items():
        assert np.array_equal(whole(store, name), pictures), name
    assert {p.name for p in store.iterdir()} == {
        "index.json",
        "made-by-sslcourse.txt",
        *(f"frames-{i:04d}.npy" for i in range(len(index["shards"]))),
    }
    before = {p: p.stat().st_mtime_ns for p in store.iterdir()}
    assert (
        prepare(root, store) == index and {p: p.stat().st_mtime_ns for p in store.iterdir()} == before
    )  # nothing to do


def test_every_tick_shows_the_frame_on_screen(tmp_path):
    pictures = frames_of(1, 24)
    encode(tmp_path / "v" / "a.avi", pictures, fps=24)
    for fps, expected in (
        (8, range(0, 24, 3)),
        (None, range(24)),
        (24, range(24)),
        (16, [0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19, 21, 22]),
        (48, [i // 2 for i in range(48)]),
    ):
        out = tmp_path / f"{fps}"
        prepare(tmp_path / "v", out, fps=fps)
        assert np.array_equal(whole(out, "a.avi"), pictures[list(expected)]), fps


def test_scaled_to_cover_and_cut_to_the_centre(tmp_path):
    y, x = np.mgrid[:48, :96]
    picture = np.stack([x * 2, y * 4, np.full_like(x, 90)], -1).astype(np.uint8)
    encode(tmp_path / "v" / "wide.mkv", np.stack([picture] * 2))
    encode(tmp_path / "v" / "tall.mkv", np.stack([picture.transpose(1, 0, 2)] * 2))
    prepare(tmp_path / "v", tmp_path / "out", size=24)
    wide, tall = (whole(tmp_path / "out", f"{name}.mkv")[0].astype(float) for name in ("wide", "tall"))
    expected = (
        picture.astype(float).reshape(24, 2, 48, 2, 3).mean((1, 3))[:, 12:36]
    )  # averages of 2 x 2 pixels, the middle half
    assert np.abs(wide - expected)[1:-1, 1:-1].max() <= 3
    assert np.abs(tall - expected.transpose(1, 0, 2))[1:-1, 1:-1].max() <= 3
    prepare(tmp_path / "v", tmp_path / "large", size=96)  # enlarged
    assert whole(tmp_path / "large", "wide.mkv").shape == (2, 96, 96, 3)


def test_a_telephone_held_upright(tmp_path):
    picture = np.zeros((1, 32, 64, 3), np.uint8)
    picture[:, :, :16] = 255  # what the sensor has at its left
    path = encode(tmp_path / "v" / "a.mp4", np.repeat(picture, 3, 0), codec="mpeg4", pixels="yuv420p")
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # the matrix of the track's header: a quarter turn clockwise
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    prepare(tmp_path / "v", tmp_path / "out", size=(64, 32))
    upright = whole(tmp_path / "out", "a.mp4")[0]
    assert upright[:14].mean() > 200 and upright[20:].mean() < 40  # left went up


def test_frame_folders_and_splits_by_name(tmp_path):
    pictures = frames_of(2, 12)
    for part, label, film in itertools.product(("train", "val", "test"), ("a", "b"), ("one", "two")):
        (folder := tmp_path / "v" / part / label / film).mkdir(parents=True)
        for t, picture in enumerate(pictures):
            Image.fromarray(picture).save(folder / f"{t}.png")
    prepare(tmp_path / "v", tmp_path / "out")
    assert np.array_equal(whole(tmp_path / "out", "val/b/two"), pictures)
    data = clips.open(tmp_path / "out", frames=4)
    assert (
        [len(part) for part in data] == [4, 4, 4]
        and data.classes == ("a", "b")
        and data.validation.names[0] == "val/a/one"
    )
    prepare(tmp_path / "v" / "train" / "a", tmp_path / "flat")  # a folder of films without classes
    assert clips.read_index(tmp_path / "flat")["videos"]["name"] == ["one", "two"]


def test_a_list_of_files(album, tmp_path):
    root, truth = album
    entries = [
        (root / name, name.split("/")[0], "test" if i % 4 == 3 else "train") for i, name in enumerate(truth)
    ]
    index = prepare(
        entries, tmp_path / "out", classes=("swim", "run", "jump")
    )  # the same file names in three folders
    assert index["videos"]["class"] == [2] * 4 + [1] * 4 + [0] * 4 and index["videos"]["name"][0] == str(
        root / "jump/8.avi"
    )
    data = clips.open(tmp_path / "out", frames=4)
    assert data.test.names == [str(root / f"{c}/11.avi") for c in ("jump", "run", "swim")]
    assert len(data.train) + len(data.validation) == 9 and len(data.validation) >= 1
    archive = tmp_path / "videos.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(root / "run/8.avi", "deep/8.avi")
    prepare([clips.Video(archive, "run", member="deep/8.avi")], tmp_path / "zipped")
    assert np.array_equal(whole(tmp_path / "zipped", "deep/8.avi"), truth["run/8.avi"])


@pytest.mark.parametrize(
    "entries, match",
    [
        ([], "no video in this list"),
        ([("a.avi", "x", "dev")], "split 'dev' of a.avi is none of"),
        ([("a.avi", "x", "train"), ("b.avi", "x", "")], "some videos have a split and others have none"),
        ([("a.avi", "x"), ("b.avi", "")], "b.avi belongs to no class"),
        ([("a.avi", "x"), ("a.avi", "x")], "two videos are called 'a.avi'"),
        ([("a.avi", "x")], "none of the 1 videos can be used; the first: a.avi: unreadable"),
    ],
)
def test_lists_that_cannot_be(tmp_path, monkeypatch, entries, match):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CourseError, match=match):
        prepare(entries, tmp_path / "out")


def test_folders_that_cannot_be(album, tmp_path):
    with pytest.raises(CourseError, match="no video in .*should hold files that end in .*mp4"):
        prepare(tmp_path, tmp_path / "out")
    with pytest.raises(CourseError, match="it is a file, pass its folder"):
        prepare(album[0] / "jump/8.avi", tmp_path / "out")
    shutil.copytree(album[0], tmp_path / "mixed")
    shutil.copy(album[0] / "jump/8.avi", tmp_path / "mixed" / "stray.avi")
    with pytest.raises(CourseError, match="stray.avi in .* belongs to no class"):
        prepare(tmp_path / "mixed", tmp_path / "out")
    for options, match in (
        (dict(size=2), "size=2"),
        (dict(fps=0), "fps=0"),
        (dict(classes=("jump", "run")), "swim is none of the 2 classes"),
    ):
        with pytest.raises(CourseError, match=match):
            prepare(album[0], tmp_path / "out", **options)


def test_pyav_is_asked_for_only_where_it_is_needed(album, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(CourseError, match="type: pip install av$"):
        prepare(album[0], tmp_path / "out")
    (tmp_path / "film").mkdir()
    Image.fromarray(frames_of(0, 1)[0]).save(tmp_path / "film" / "0.png")
    prepare([tmp_path / "film"], tmp_path / "frames")


def test_unreadable_videos_are_named_and_left_out(album, tmp_path, capsys):
    root, truth = album
    shutil.copytree(root, tmp_path / "v")
    film = root / "swim/11.avi"
    (tmp_path / "v/run/9.avi").write_bytes(b"no video at all")
    for broken in (
        tmp_path / "v/run/99.avi",
        tmp_path / "v/swim/99.avi",
    ):  # the last one too, and with more frames than one block
        encode(broken, frames_of(5, 120))
        broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    with av.open(str(tmp_path / "v/run/7.mkv"), "w") as sound:  # no picture
        stream = sound.add_stream("pcm_s16le", rate=8000, layout="mono")
        noise = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        noise.sample_rate = 8000
        sound.mux(stream.encode(noise))
    index = prepare(tmp_path / "v", tmp_path / "out", quiet=False)
    error = capsys.readouterr().err
    assert (
        "run/9.avi is left out: unreadable" in error and "run/7.mkv is left out: it has no picture" in error
    )
    assert "run/99.avi is left out: it ends after" in error and "of 120 frames" in error
    assert "11 videos are prepared, 4 left out" in error and "15/15" in error
    assert [name for name, *_ in index["left_out"]] == ["run/7.mkv", "run/9.avi", "run/99.avi", "swim/99.avi"]
    assert not clips.damaged(tmp_path / "out", index, thorough=True)
    for name in index["videos"]["name"]:
        assert np.array_equal(
            whole(tmp_path / "out", name), truth[name]
        )  # nothing of a broken one is left between the others
    assert prepare(tmp_path / "v", tmp_path / "out") == index  # they are not tried again
    shutil.copy(film, tmp_path / "v/run/9.avi")  # until they change
    assert np.array_equal(whole(tmp_path / "out", "swim/11.avi"), truth["swim/11.avi"])
    assert [name for name, *_ in prepare(tmp_path / "v", tmp_path / "out")["left_out"]] == [
        "run/7.mkv",
        "run/99.avi",
        "swim/99.avi",
    ]
    assert np.array_equal(whole(tmp_path / "out", "run/9.avi"), truth["swim/11.avi"])


def decode_count(monkeypatch):
    """Names of the videos that are decoded from now on."""
    names, honest = [], clips.decoded
    monkeypatch.setattr(
        clips.prepared, "decoded", lambda video, *rest: names.append(video.name) or honest(video, *rest)
    )
    return names


@pytest.mark.parametrize("stop", [1, 4, 7, 11])
def test_broken_off_and_gone_on_with(album, store, tmp_path, monkeypatch, stop):
    names = decode_count(monkeypatch)
    honest = clips.prepared.decoded

    def until(video, *rest):
        blocks = honest(video, *rest)
        yield next(blocks)
        if len(names) == stop + 1:
            raise KeyboardInterrupt  # with a part of the video on disk
        yield from blocks

    monkeypatch.setattr(clips.prepared, "decoded", until)
    with pytest.raises(KeyboardInterrupt):
        prepare(album[0], tmp_path / "out", shard=60_000)
    with pytest.raises(CourseError, match="is not finished: prepare it again to go on"):
        clips.open(tmp_path / "out")
    monkeypatch.setattr(clips.prepared, "decoded", honest)
    with (tmp_path / "out/prepare.jsonl").open("a") as journal:
        journal.write('{"name": "half a li')  # what a kill may leave
    prepare(album[0], tmp_path / "out", shard=60_000)
    assert names == [*album[1]][: stop + 1] + [*album[1]][stop:]  # only the broken one is decoded twice
    assert content(tmp_path / "out") == content(store)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(p.name for p in store.iterdir())


def test_settings_are_not_mixed(album, store, tmp_path):
    with pytest.raises(CourseError, match=r"prepared with .*'size': \[24, 32\].* name another folder"):
        prepare(album[0], store, size=16)


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "header"])
def test_a_damaged_file_is_named_and_made_again(album, store, tmp_path, monkeypatch, capsys, damage):
    shutil.copytree(store, tmp_path / "out")
    before, file = content(store), clips.shard_file(tmp_path / "out", 1)
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[5000] ^= 1
    elif damage == "header":
        data[80] ^= 1
    file.unlink() if damage == "remove" else file.write_bytes(data[:-1] if damage == "cut" else data)
    if damage != "flip":  # a changed bit is found by those who read everything
        with pytest.raises(CourseError, match=r"is damaged \(frames-0001.npy: it.*clips.prepare\("):
            clips.open(tmp_path / "out")
    assert list(clips.damaged(tmp_path / "out", clips.read_index(store), thorough=True)) == [
        "frames-0001.npy"
    ]
    names = decode_count(monkeypatch)
    prepare(album[0], tmp_path / "out", quiet=False, shard=60_000)
    lost = [n for n, k in zip(album[1], clips.read_index(store)["videos"]["shard"]) if k == 1]
    assert (
        names == lost
        and f"frames-0001.npy is damaged (it{'s' if damage in ('flip', 'header') else ''} "
        in capsys.readouterr().err
    )
    assert content(tmp_path / "out") == before  # in the same order too
    assert not clips.damaged(tmp_path / "out", clips.read_index(tmp_path / "out"), thorough=True)


def test_a_damaged_index_is_written_again(album, store, tmp_path, monkeypatch):
    shutil.copytree(store, tmp_path / "out")
    text = (tmp_path / "out/index.json").read_text()
    (tmp_path / "out/index.json").write_text(text.replace('"count": [10', '"count": [11'))
    with pytest.raises(CourseError, match="has a damaged index.json: prepare it again"):
        clips.open(tmp_path / "out")
    prepare(album[0], tmp_path / "out", shard=60_000)
    assert content(tmp_path / "out") == content(store)


def test_only_what_is_new_is_decoded(album, store, tmp_path, monkeypatch):
    shutil.copytree(album[0], tmp_path / "v")
    shutil.copytree(store, tmp_path / "out")
    (tmp_path / "v/jump/8.avi").unlink()
    new = encode(tmp_path / "v/jump/12.avi", frames_of(9, 11))
    names = decode_count(monkeypatch)
    index = prepare(tmp_path / "v", tmp_path / "out")
    assert names == ["jump/12.avi"] and index["videos"]["name"][:4] == [
        f"jump/{i}.avi" for i in (9, 10, 11, 12)
    ]
    assert np.array_equal(whole(tmp_path / "out", "jump/12.avi"), frames_of(9, 11)) and new.is_file()


def test_full_disk(album, tmp_path, monkeypatch):
    monkeypatch.setattr(download.files.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(CourseError, match="make room"):
        prepare(album[0], tmp_path / "out")


# ---------------------------------------------------------------------------------------------- clips


@pytest.fixture
def data(store):
    return clips.open(store, frames=6, workers=0, validation=0.25, test=0.25)


def position(film, window):
    """Where the first frame of a window (3, T, H, W) stands in its film (T, H, W, 3)."""
    return [
        i
        for i, frame in enumerate(film)
        if torch.equal(torch.from_numpy(frame).permute(2, 0, 1), window[:, 0])
    ][0]


def test_three_splits(data, album):
    assert (
        [len(part) for part in data] == [6, 3, 3]
        and data.name == "album"
        and data.classes == ("jump", "run", "swim")
    )
    assert [part.split for part in data] == list(SPLITS) and sorted(
        sum((part.names for part in data), [])
    ) == sorted(album[1])
    assert data.train.label.bincount().tolist() == [
        2,
        2,
        2,
    ] and data.validation.label.bincount().tolist() == [1, 1, 1]
    assert (
        data.train.kind == "video"
        and data.train.labelled
        and repr(data.train) == "<album (train): 6 clips of 3x6x24x32 on disk, 3 classes>"
    )
    assert isinstance(data.train, Samples) and data.train.device == "cpu" and data.train.factors == {}


def test_the_middle_window_is_shown_unless_one_trains(data, album):
    expected = []
    for name in data.train.names:
        start = round((len(album[1][name]) - 6) / 2)
        expected.append(torch.from_numpy(album[1][name][start : start + 6]).permute(3, 0, 1, 2))
    expected = torch.stack(expected)
    assert torch.equal(data.train.video, expected) and torch.equal(data.train.pictures, expected[:, :, 3])
    batches = list(data.train.batches(4))
    assert [len(b["index"]) for b in batches] == [4, 2] and torch.equal(
        torch.cat([b["video"] for b in batches]), expected
    )
    assert (
        torch.equal(torch.cat([b["index"] for b in batches]), torch.arange(6))
        and batches[0]["video"].dtype == torch.uint8
    )
    assert torch.equal(torch.cat([b["label"] for b in batches]), data.train.label)
    one = data.train.batch(torch.tensor([4, 1]))
    assert list(one) == ["video", "index", "label"] and torch.equal(one["video"], expected[[4, 1]])


def test_windows_with_steps_and_short_videos(store, album):
    part = clips.open(store, frames=5, step=3, validation=0.25, test=0.25).train
    for name, window in zip(part.names, part.video):
        film = torch.from_numpy(album[1][name]).permute(3, 0, 1, 2)
        start = round(max(0, len(album[1][name]) - 13) / 2)
        times = (start + 3 * torch.arange(5)).clamp_max(film.shape[1] - 1)
        real = start + 3 * torch.arange(5) <= film.shape[1] - 1
        assert torch.equal(window[:, real], film[:, times[real]])
        if not real.all():  # the last frame that there was stays
            last = window[:, int(real.sum()) - 1]
            assert (window[:, ~real] == last[:, None]).all()
    long = clips.open(store, frames=40, validation=0.25, test=0.25).train
    i = long.names.index(next(n for n in long.names))
    film = torch.from_numpy(album[1][long.names[i]]).permute(3, 0, 1, 2)
    assert (
        torch.equal(long.video[i, :, : film.shape[1]], film)
        and (long.video[i, :, film.shape[1] :] == film[:, -1:]).all()
    )


def test_random_windows(data, album):
    seen = {name: set() for name in data.train.names}
    for seed in range(60):
        batches = list(data.train.batches(2, torch.Generator().manual_seed(seed)))
        assert sorted(torch.cat([b["index"] for b in batches]).tolist()) == list(range(6))
        for b in batches:
            for i, window in zip(b["index"], b["video"]):
                film = album[1][data.train.names[i]]
                start = position(film, window)
                assert torch.equal(
                    window, torch.from_numpy(film[start : start + 6]).permute(3, 0, 1, 2)
                )  # of one video, never across two
                seen[data.train.names[i]].add(start)
    one, other = (torch.Generator().manual_seed(7) for _ in range(2))
    order, place = (
        torch.randperm(6, generator=one),
        torch.rand(6, generator=one, dtype=torch.float64),
    )  # drawn in the order of the batches
    windows = torch.cat([b["video"] for b in data.train.batches(2, other)])
    for i, p, window in zip(order, place, windows):
        film = album[1][data.train.names[i]]
        assert position(film, window) == int(p * (len(film) - 5))
    for name, starts in seen.items():
        assert (
            min(starts) == 0
            and max(starts) == len(album[1][name]) - 6
            and len(starts) > 0.8 * (len(album[1][name]) - 5)
        )  # all of it


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_readers_change_nothing(store, data, workers):
    other = clips.open(store, frames=6, workers=workers, validation=0.25, test=0.25).train
    for generator in (lambda: None, lambda: torch.Generator().manual_seed(5)):
        for expected, found in zip(
            data.train.batches(2, generator()), other.batches(2, generator()), strict=True
        ):
            assert list(found) == list(expected) and all(torch.equal(found[k], expected[k]) for k in expected)


def test_processes_share_an_epoch(data):
    make = lambda: torch.Generator().manual_seed(3)
    whole = list(data.train.batches(4, make()))
    parts = [list(data.train.batches(4, make(), rank=r, world=2)) for r in range(2)]
    for k, batch in enumerate(whole):
        assert torch.equal(torch.cat([parts[0][k]["video"], parts[1][k]["video"]]), batch["video"])
        assert torch.equal(torch.cat([parts[0][k]["index"], parts[1][k]["index"]]), batch["index"])
    with pytest.raises(CourseError, match="batch_size=7 is larger than the 6 clips"):
        next(data.train.batches(7, make()))


@pytest.mark.parametrize("workers", [0, 2])
def test_what_was_seen_is_not_read_again(store, workers, monkeypatch):
    """A training that goes on in mid-epoch: the rest of the same batches, and nothing else is read."""
    part = clips.open(store, frames=6, workers=workers, validation=0.25, test=0.25).train
    whole = list(part.batches(1, torch.Generator().manual_seed(1)))
    reads, honest = [], clips.reader._Store.read
    monkeypatch.setattr(
        clips.reader._Store,
        "read",
        lambda self, rows, *rest: reads.append(rows.tolist()) or honest(self, rows, *rest),
    )
    rest = list(part.batches(1, torch.Generator().manual_seed(1), first=3))
    assert len(rest) == 3 and all(torch.equal(a[k], b[k]) for a, b in zip(rest, whole[3:]) for k in b)
    assert sorted(reads) == sorted([int(part._rows[int(b["index"])])] for b in whole[3:])
    assert type(rest[0]) is dict and list(part.batches(1, torch.Generator().manual_seed(1), first=6)) == []


def test_an_epoch_that_is_left_stops_its_readers(store):
    part = clips.open(store, frames=6, workers=3, validation=0.25, test=0.25).train
    before = threading.active_count()
    for _ in range(20):
        batches = part.batches(1, torch.Generator().manual_seed(1))
        next(batches)
        batches.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_test_labels_are_sealed(data):
    with pytest.raises(SealedLabels):
        data.test.label  # noqa: B018
    assert (
        all((b["label"] == -1).all() for b in data.test.batches(2))
        and (data.test.batch(torch.arange(3))["label"] == -1).all()
    )
    label, _ = open_labels(data.test.take(slice(0, 2)), "a test")
    assert len(label) == 2 and data.test.openings == ["a test"]  # a part of a test set is still that test set
    with training_in_progress(), pytest.raises(SealedLabels, match="while a training is under way"):
        open_labels(data.test, "somebody")
    hidden = data.train.unlabelled()
    assert (
        not hidden.labelled
        and (hidden.label == -1).all()
        and (next(hidden.batches(3))["label"] == -1).all()
        and data.train.labelled
    )
    assert torch.equal(hidden.video, data.train.video)


def test_take(data):
    for index in (
        slice(1, 4),
        [1, 2, 3],
        torch.tensor([1, 2, 3]),
        torch.tensor([False, True, True, True, False, False]),
        np.array([1, 2, 3]),
    ):
        part = data.train.take(index)
        assert part.names == data.train.names[1:4] and torch.equal(part.label, data.train.label[1:4])
        assert torch.equal(part.video, data.train.video[1:4])
        assert torch.equal(next(part.batches(3))["index"], torch.arange(3))
    assert len(few_labels(data.train, 0.5)) == 3


def test_spread_over_a_clip(data, album):
    spread = data.validation.spread(3)
    assert len(spread) == 9 and torch.equal(spread.label, data.validation.label.repeat_interleave(3))
    for i, name in enumerate(data.validation.names):
        film = album[1][name]
        assert [position(film, w) for w in spread.video[3 * i : 3 * i + 3]] == [
            0,
            round((len(film) - 6) / 2),
            len(film) - 6,
        ]
    assert torch.equal(data.validation.spread(1).video, data.validation.video)
    with pytest.raises(CourseError, match="windows=0"):
        data.train.spread(0)


def test_too_much_for_memory_is_not_read(data, monkeypatch):
    monkeypatch.setattr(clips.reader, "IN_MEMORY", 10_000)
    with pytest.raises(CourseError, match=r"6 clips are 0\.0 GB in memory; look at a few"):
        data.train.video  # noqa: B018
    assert next(data.train.batches(6))["video"].shape == (6, 3, 6, 24, 32)


@pytest.mark.slow
def test_frames_stay_on_disk(tmp_path):
    """An epoch over 300 MB of frames, and the process grows by a few batches."""
    status = pathlib.Path("/proc/self/status")
    if not status.exists() or "RssAnon" not in status.read_text():
        pytest.skip("this system does not say how much memory of its own a process has")
    pictures = np.zeros((1, 3, 256, 256), np.uint8)
    (tmp_path / "v").mkdir()
    Image.fromarray(pictures[0].transpose(1, 2, 0)).save(tmp_path / "v" / "0.png")
    index = clips.prepare(
        [clips.Video(tmp_path / "v", name=f"{i}") for i in range(30)], tmp_path / "out", size=256, quiet=True
    )
    file = clips.shard_file(tmp_path / "out", 0)
    with file.open("r+b") as stream:  # 1,530 frames, most of them a hole in the file
        stream.write(clips.prepared._header(1530, (256, 256)))
        stream.truncate(clips.HEADER + 1530 * pictures.nbytes)
    index["shards"]["0"]["frames"] = 1530
    index["videos"] |= {"start": [51 * i for i in range(30)], "count": [51] * 30}
    (tmp_path / "out/index.json").write_text(json.dumps(index | {"checksum": clips.prepared._digest(index)}))
    own = lambda: int(re.search(r"RssAnon:\s+(\d+)", status.read_text()).group(1)) / 1024  # MB
    part = clips.open(tmp_path / "out", frames=51, workers=2).train
    before, most = own(), 0
    for batch in part.batches(1, torch.Generator().manual_seed(0)):
        assert batch["video"].sum() == 0
        most = max(most, own() - before)
    assert len(part) * 51 * pictures.nbytes > 2e8 and most < 100


@pytest.mark.parametrize(
    "options, match",
    [
        (dict(frames=0), "frames=0; pass a whole number from 1"),
        (dict(step=0), "step=0"),
        (dict(workers=-1), "workers=-1"),
        (dict(fold=2), "fold=2; album has no folds"),
        (dict(validation=0), "validation=0 and test"),
        (dict(validation=0.5, test=0.5), "below 1"),
        (dict(validation=0.001, test=0.998), "has no video left for train"),
    ],
)
def test_open_names_what_is_wrong(store, tmp_path, options, match):
    with pytest.raises(CourseError, match=match):
        clips.open(store, **options)
    with pytest.raises(
        CourseError, match=r'holds no prepared clips; type: sslcourse data videos "FOLDER OF VIDEOS"'
    ):
        clips.open(tmp_path)
    assert clips.is_prepared(store) and not clips.is_prepared(tmp_path)


def test_folds_and_groups(album, tmp_path):
    """Official folds are kept, and no group stands both in train and in validation."""
    part = lambda i: {"1": "test" if i < 3 else "train", "2": "train" if i < 9 else "" if i == 9 else "test"}
    file = album[0] / "run/8.avi"
    videos = [
        clips.Video(file, label, part(i), group=f"g{i // 3}", name=f"{label}{i}")
        for label in ("a", "b")
        for i in range(12)
    ]
    prepare(videos, tmp_path / "out")
    for fold, tests, left in ((1, {0, 1, 2}, 0), ("2", {10, 11}, 1)):
        data = clips.open(tmp_path / "out", fold=fold, validation=0.3, frames=4)
        number = lambda part: {(name[0], int(name[1:])) for name in part.names}
        assert (
            number(data.test) == {(label, i) for label in "ab" for i in tests}
            and sum(map(len, data)) == 24 - 2 * left
        )
        groups = [{(label, i // 3) for label, i in number(part)} for part in (data.train, data.validation)]
        assert (
            not groups[0] & groups[1]
            and len(data.validation) == 6
            and data.validation.label.bincount().tolist() == [3, 3]
        )
    assert (
        clips.open(tmp_path / "out", frames=4).test.names
        == clips.open(tmp_path / "out", fold=1, frames=4).test.names
    )
    other = {
        tuple(clips.open(tmp_path / "out", frames=4, validation=0.3, seed=s).validation.names)
        for s in range(6)
    }
    assert len(other) > 1
    with pytest.raises(CourseError, match="fold=3; out has the folds 1, 2"):
        clips.open(tmp_path / "out", fold=3)


# ------------------------------------------------------------------------------------------ training on clips


class Mean(Method):
    """Predicts the last frame's mean from the others', with a little noise: everything random that a training
    has.
    """

    def __init__(self):
        super().__init__()
        self.f = torch.nn.Linear(5, 1)

    def loss(self, batch):
        means = batch["video"].float().mean((1, 3, 4)) / 255  # (B, T)
        loss = (
            (self.f(means[:, :-1] + 0.01 * torch.randn(len(means), 5))[:, 0] - means[:, -1]).square().mean()
        )
        return loss, {"index": batch["index"].double().mean()}

    def encode(self, batch):
        return batch["video"].float().mean((3, 4)).flatten(1)


RECIPE = Recipe(epochs=3, batch_size=1, lr=0.1, schedule="constant")
QUICK = ("seconds", "samples/s")


def history_of(rows):
    return [{k: v for k, v in row.items() if k not in QUICK} for row in rows]


def trained(store, workers, **kwargs):
    torch.manual_seed(0)
    method = Mean()
    rows = list(
        epochs(
            method,
            clips.open(store, frames=6, workers=workers, validation=0.25, test=0.25).train,
            RECIPE,
            **kwargs,
        )
    )
    return history_of(rows), [p.detach().clone() for p in method.parameters()]


def same(one, other):
    return one[0] == other[0] and all(torch.equal(a, b) for a, b in zip(one[1], other[1]))


def test_training_is_the_same_with_any_number_of_readers(store):
    expected = trained(store, 0)
    assert same(trained(store, 1), expected) and same(trained(store, 3), expected)
    assert len({row["loss"] for row in expected[0]}) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_interrupted_in_mid_epoch_and_resumed(store, tmp_path, workers, monkeypatch, request):
    """Ctrl-C keeps the steps of the epoch in progress; the batches that were seen are passed over without
    being read.
    """
    monkeypatch.delenv("CI", raising=False)
    interrupts = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a job in the background ignores them, and so would its tests
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, interrupts))
    expected, honest, reads = trained(store, 0), clips.reader._Store.read, []
    steps = []

    def step(self, batch, optimizers):
        steps.append(1)
        if len(steps) == 9:  # the third of the second epoch
            signal.raise_signal(signal.SIGINT)
        return Method.step(self, batch, optimizers)

    monkeypatch.setattr(Mean, "step", step)
    rows = trained(store, workers, checkpoint=tmp_path / "c.safetensors")[0]
    assert rows[-1]["interrupted"] == 1 and len(rows) == 2 and len(steps) == 9
    monkeypatch.setattr(
        clips.reader._Store, "read", lambda self, rows, *rest: reads.append(1) or honest(self, rows, *rest)
    )
    assert same(trained(store, workers, checkpoint=tmp_path / "c.safetensors"), expected)
    assert len(steps) == 18 and len(reads) == 9


KILLED = """
import sys, time, torch
sys.path.insert(0, {tests!r})
from sslcourse import runtime
import test_clips
runtime.use_profile(runtime.Profile("cpu", 1, False, "float32"))
steps = 0

def step(self, batch, optimizers):
    global steps
    steps += 1
    batch["video"]  # the threads are reading ahead from here on
    print(steps, flush=True)
    if steps == 9:
        time.sleep(60)
    return test_clips.Method.step(self, batch, optimizers)

test_clips.Mean.step = step
test_clips.trained({store!r}, 3, checkpoint={checkpoint!r})
"""


@pytest.mark.slow
def test_killed_in_mid_epoch_and_resumed(store, tmp_path):
    code = KILLED.format(
        tests=str(pathlib.Path(__file__).parent), store=str(store), checkpoint=str(tmp_path / "c.safetensors")
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    ) as child:
        while child.stdout.readline().strip() != "9":  # in the second of three epochs
            assert child.poll() is None
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert len(checkpoints.read(tmp_path / "c.safetensors").history) == 1
    assert same(trained(store, 2, checkpoint=tmp_path / "c.safetensors"), trained(store, 0))
    assert not clips.damaged(store, clips.read_index(store), thorough=True)


def test_evaluation_reads_clips(data):
    method = Mean()
    x = features.extract(method, data.train)
    assert (
        torch.equal(x, data.train.video.float().mean((3, 4)).flatten(1))
        and len(features.extract(method, data.test, batch_size=2)) == 3
    )
    assert set(evaluate.probe(method, data)) == {"kNN", "linear"}
    assert features.pixels(data.train).shape == (6, 3 * 6 * 64)
    rows = evaluate.report({"mean": method}, data)
    assert data.test.openings and "mean" in repr(rows)
    several = features.extract(method, data.validation.spread(4)).view(3, 4, -1).mean(1)
    assert several.shape == (3, 18)
