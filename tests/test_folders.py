"""Folders as students have them: hidden copies, links, odd suffixes, broken files, names of splits, copies.

The truth is what was written: every picture has a number of its own in its pixels.
"""

import io
import os
import shutil
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from sslcourse.data import clips, folders, images
from sslcourse.data.clips.source import videos_in
from sslcourse.data.datasets import open_labels
from sslcourse.data.load import load
from sslcourse.runtime.errors import CourseError


def drawn(number, side=16):
    """A picture that is like no other: noise of its number."""
    return np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)


def saved(path, number, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(drawn(number)).save(path, **options)
    return path


@pytest.fixture
def pets(tmp_path):
    """Eight pictures each of cat and dog."""
    for c, name in enumerate(("cat", "dog")):
        for i in range(8):
            saved(tmp_path / "pets" / name / f"{i}.png", 100 * c + i)
    return tmp_path / "pets"


def read(path, **options):
    """The data, and what was said."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        data = images.folder(path, 16, **options)
    return data, " ".join(str(one.message) for one in told)


def rows(data):
    return [{bytes(x) for x in part.image.flatten(1).numpy()} for part in data]


def count(data):
    return sum(map(len, data))


# ------------------------------------------------------------------------------------- what is looked at


@pytest.mark.parametrize(
    "hidden", [".ipynb_checkpoints", "__MACOSX", "deep/.cache/more", "@eaDir", "deep/.git"]
)
def test_what_is_hidden_at_any_depth_is_not_read_and_is_said(pets, hidden):
    for i in range(8):
        copy = pets / "cat" / hidden / f"{i}-checkpoint.png"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pets / "cat" / f"{i}.png", copy)
    (pets / "cat" / "._0.png").write_bytes(b"an AppleDouble file")
    data, told = read(pets)
    assert count(data) == 16 and len(set.union(*rows(data))) == 16
    assert "the hidden folder cat/" + "/".join(p for p in hidden.split("/") if p not in ("more",)) in told


def test_what_lies_above_the_folder_may_be_hidden(pets):
    home = pets.parent / ".cache" / "__data" / "pets"
    shutil.copytree(pets, home)
    data, told = read(home)
    assert count(data) == 16 and not told


def test_a_hidden_class_is_no_class(pets):
    shutil.copytree(pets / "cat", pets / ".Trash" / "cat")
    data, told = read(pets)
    assert data.classes == ("cat", "dog") and ".Trash" in told


def test_links_are_followed_once(pets, tmp_path):
    for i in range(5):
        saved(tmp_path / "elsewhere" / f"{i}.png", 500 + i)
    try:
        os.symlink(tmp_path / "elsewhere", pets / "dog" / "more", target_is_directory=True)
        os.symlink(pets / "dog", pets / "dog" / "again", target_is_directory=True)
        os.symlink(pets, pets / "dog" / "up", target_is_directory=True)
        os.symlink(tmp_path, pets / "dog" / "further-up", target_is_directory=True)
        os.symlink(tmp_path / "gone.png", pets / "dog" / "gone.png")
    except OSError:
        pytest.skip("no links on this system")
    data, told = read(pets)
    assert count(data) == 21
    assert "dog/again" in told and "dog/up" in told and "dog/further-up" in told
    assert "dog/gone.png (a link to nothing)" in told


def test_links_that_lead_to_each_other_come_to_an_end(tmp_path):
    for name in "abcdefgh":
        saved(tmp_path / "net" / name / "x.png", ord(name))
    try:
        for a in "abcdefgh":
            for b in "abcdefgh":
                if a != b:
                    os.symlink(
                        tmp_path / "net" / b, tmp_path / "net" / a / f"to-{b}", target_is_directory=True
                    )
    except OSError:
        pytest.skip("no links on this system")
    remarks = folders.Remarks(tmp_path / "net")
    found = [*folders.walk(tmp_path / "net" / "a", remarks)]
    assert len(found) == 8 and len(set(map(os.path.realpath, found))) == 8


@pytest.mark.parametrize(
    "suffix, kind", [("jfif", "JPEG"), ("JPE", "JPEG"), ("Jpg", "JPEG"), ("TIF", "TIFF")]
)
def test_every_name_of_a_kind_of_picture_is_read(pets, suffix, kind):
    for i in range(8):
        saved(pets / "owl" / f"{i}.{suffix}", 300 + i, format=kind)
    data, told = read(pets)
    assert data.classes == ("cat", "dog", "owl") and count(data) == 24 and not told


def test_a_class_that_is_gone_is_said(pets):
    for i in range(3):
        (pets / "owl").mkdir(exist_ok=True)
        (pets / "owl" / f"{i}.heic").write_bytes(b"x")
        (pets / "yak").mkdir(exist_ok=True)
        (pets / "yak" / f"{i}.png").write_bytes(b"no picture")
    (pets / "gnu").mkdir()
    data, told = read(pets)
    assert data.classes == ("cat", "dog")
    assert "the folder owl is no class: it holds no picture, only files that end in .heic" in told
    assert "3 of .heic" in told and "the folder gnu is no class" in told
    assert "the class yak is gone: none of its 3 pictures can be used" in told


def exif(tag, kind, value):
    turned = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)  # "turn me a quarter clockwise"
    entry = struct.pack("<HHI", tag, kind, 4 if kind == 2 else 1) + value
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entry + turned + struct.pack("<I", 0)


@pytest.mark.parametrize(
    "note",
    [
        exif(0x100, 2, b"40x\0"),
        exif(0x101, 11, struct.pack("<f", 1e30)),
        exif(0x11A, 5, struct.pack("<I", 38)),
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0",
        b"Exif\0\0no header of any kind",
    ],
)
def test_a_broken_note_about_a_picture_does_not_stop_the_others(pets, note):
    Image.fromarray(drawn(900)).save(pets / "cat" / "odd.jpg", exif=note)
    assert count(read(pets)[0]) == 17


def test_a_picture_is_turned_also_where_the_rest_of_its_note_is_broken(tmp_path):
    half = np.zeros((16, 16, 3), np.uint8)
    half[:8] = 255  # white above black; a quarter turn clockwise brings the white to the right
    Image.fromarray(half).save(tmp_path / "x.jpg", quality=95, exif=exif(0x100, 2, b"40x\0"))
    seen = folders.fitted(tmp_path / "x.jpg", 16, 16)
    assert seen[:, 12:].min() > 230 and seen[:, :4].max() < 25


def test_orientations_are_those_of_pil(tmp_path):
    from PIL import ImageOps

    for turn in range(1, 9):
        note = Image.Exif()
        note[0x0112] = turn
        Image.fromarray(drawn(turn)).save(tmp_path / "x.png", exif=note)
        with Image.open(tmp_path / "x.png") as image:
            expected = np.asarray(ImageOps.exif_transpose(image))
            assert np.array_equal(np.asarray(folders.upright(image)), expected)


def test_files_that_are_cut_anywhere_are_named(pets):
    whole = io.BytesIO()
    Image.fromarray(drawn(1, 40)).save(whole, "JPEG")
    data = whole.getvalue()
    for i, share in enumerate((0, 0.02, 0.3, 0.6, 0.9)):
        (pets / "cat" / f"cut{i}.jpg").write_bytes(data[: int(share * len(data))])
    found, told = read(pets)
    assert count(found) == 16 and "skipped 5 files" in told
    assert all(f"cat/cut{i}.jpg (unreadable" in told for i in range(5))


# ---------------------------------------------------------------------------------------------- splits


@pytest.mark.parametrize(
    "name, part",
    [
        *((n, "train") for n in ("train", "Train", "TRAINING", "training_set", "train-images", "train2017")),
        *((n, "validation") for n in ("val", "Valid", "validation", "dev", "val_split", "VAL_SET")),
        *(
            (n, "test")
            for n in ("Testing", "test_set", "Test Data", "holdout", "held_out", "eval", "images-test")
        ),
        *((n, "") for n in ("unlabeled", "unlabelled_images")),
        *((n, None) for n in ("trains", "cat", "contest", "val d'or", "train_station", "tester", "")),
    ],
)
def test_names_of_splits(name, part):
    assert folders.part_of(name) == part


LAYOUTS = [("train", "test"), ("Training", "Testing"), ("TRAIN", "VAL"), ("training_set", "test_set")]


@pytest.mark.parametrize("names", LAYOUTS)
def test_folders_of_splits_are_no_classes(tmp_path, names):
    for part, name in enumerate(names):
        for c, kind in enumerate(("cat", "dog")):
            for i in range(12):
                saved(tmp_path / "x" / name / kind / f"{i}.png", 1000 * part + 100 * c + i)
    with pytest.raises(CourseError, match="are splits and no classes; type .*own_splits=True"):
        images.folder(tmp_path / "x")
    data, told = read(tmp_path / "x", own_splits=True)
    assert data.classes == ("cat", "dog") and not told
    held = data.validation if folders.part_of(names[1]) == "validation" else data.test
    assert len(held) == 24 and held.split == folders.part_of(names[1]) and count(data) == 48
    label = open_labels(held, "a test")[0].tolist()
    for image, y in zip(held.image, label):
        number = next(n for n in range(1000, 1112) if (drawn(n) == image.permute(1, 2, 0).numpy()).all())
        assert (number - 1000) // 100 == y
    known = load(f"{tmp_path / 'x'}@16")  # what the command line reads
    assert rows(known) == rows(data)


def test_what_is_no_split_beside_splits(tmp_path):
    for name in ("train/cat", "train/dog", "test/cat", "test/dog", "unlabeled"):
        for i in range(12):
            saved(tmp_path / "x" / name / f"{i}.png", zlib.crc32(name.encode()) % 10**6 + i)
    with pytest.raises(CourseError, match="are splits"):
        images.folder(tmp_path / "x")
    data, told = read(tmp_path / "x", own_splits=True)
    assert count(data) == 48 and "unlabeled is passed over" in told
    saved(tmp_path / "x" / "birds" / "0.png", 1)
    with pytest.raises(CourseError, match=r"others are not \(birds\)"):
        images.folder(tmp_path / "x", own_splits=True)
    shutil.rmtree(tmp_path / "x" / "birds")
    saved(tmp_path / "x" / "test" / "owl" / "0.png", 2)
    with pytest.raises(
        CourseError, match=r"owl is a class of validation or test, but not of train \(cat, dog\)"
    ):
        images.folder(tmp_path / "x", own_splits=True)


def test_a_single_class_is_said_and_refused_on_the_command_line(pets):
    shutil.rmtree(pets / "dog")
    data, told = read(pets)
    assert count(data) == 8 and "cat is a single class" in told
    with pytest.warns(UserWarning), pytest.raises(CourseError, match="single class"):
        load(str(pets))
    wrapped = pets.parent / "download"
    for kind in "ab":
        saved(wrapped / "pets" / kind / "0.png", ord(kind))
        saved(wrapped / "pets" / kind / "1.png", ord(kind) + 50)
        saved(wrapped / "pets" / kind / "2.png", ord(kind) + 90)
        saved(wrapped / "pets" / kind / "3.png", ord(kind) + 130)
    assert "if its subfolders are the classes pass" in read(wrapped)[1]


# ---------------------------------------------------------------------------------------------- copies


def test_copies_stay_in_one_split_and_are_counted(pets):
    for file in [*pets.rglob("*.png")]:
        shutil.copy(file, file.with_name(f"{file.stem} (1).png"))
    for seed in range(5):
        data, told = read(pets, seed=seed)
        train, validation, test = rows(data)
        assert count(data) == 32 and not train & (validation | test) and not validation & test
        assert (
            "16 of 32 pictures are copies" in told
            and "(1).png" in told
            and "copies stay in one split" in told
        )


def test_a_class_of_one_picture_many_times_trains(tmp_path):
    for kind, number in (("cat", 1), ("dog", 100), ("owl", 200)):
        for i in range(12):
            saved(tmp_path / "x" / kind / f"{i}.png", number if kind == "cat" else number + i)
    for seed in range(8):
        data, told = read(tmp_path / "x", seed=seed)
        assert set(data.train.label.tolist()) == {0, 1, 2} and "11 of 36 pictures are copies" in told
    x, y = np.stack([drawn(1)] * 12 + [drawn(i) for i in range(100, 124)]), np.repeat([0, 1, 2], 12)
    with pytest.warns(UserWarning, match="copies"):
        data = images.arrays(x, y, x[12:20], y[12:20], validation=0.3)
    assert set(data.train.label.tolist()) == {0, 1, 2} and len(data.validation)


def test_a_copy_in_another_class_is_said(pets):
    shutil.copy(pets / "cat" / "0.png", pets / "dog" / "nine.png")
    assert "1 of them are the same in two classes" in read(pets)[1]


def test_copies_between_own_splits_are_said(tmp_path):
    for part, first in (("train", 0), ("test", 9)):
        for c, kind in enumerate(("cat", "dog")):
            for i in range(12):
                saved(tmp_path / part / kind / f"{i}.png", 100 * c + i + first)
    data, told = read(tmp_path, own_splits=True)
    assert len(data.test) == 24 and "6 of 24 test pictures are copies of" in told  # 9, 10, 11 of both classes


def test_pictures_without_anything_in_them_are_no_copies(tmp_path):
    for kind, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        for i in range(10):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.new("RGB", (20, 20), colour).save(tmp_path / kind / f"{i}.png")
    data, told = read(tmp_path)
    assert not told and count(data) == 20


def test_nothing_changes_where_there_are_no_copies():
    """The very splits of earlier versions: their stored results depend on them."""
    data = images.arrays(np.stack([drawn(i) for i in range(40)]), np.arange(40) % 4)
    key = np.random.default_rng([0, 0x5917]).random(40)
    expected = set()
    for c in range(4):
        members = np.flatnonzero(np.arange(40) % 4 == c)
        expected |= set(members[key[members].argsort()][:2])  # a fifth of each class tests
    assert {drawn(int(i)).transpose(2, 0, 1).tobytes() for i in expected} == rows(data)[2]


# ---------------------------------------------------------------------------------------------- films


def test_films_follow_the_same_rule(tmp_path):
    for name in (
        "run/a.mp4",
        "run/.ipynb_checkpoints/a-checkpoint.mp4",
        "jump/deep/b.MP4",
        "__MACOSX/run/c.mp4",
    ):
        file = tmp_path / "films" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    (tmp_path / "films" / "fly").mkdir()
    (tmp_path / "films" / "fly" / "b.rmvb").write_bytes(b"x")
    with pytest.warns(UserWarning) as told:
        found = videos_in(tmp_path / "films")
    assert [(v.name, v.label) for v in found] == [("jump/deep/b.MP4", "jump"), ("run/a.mp4", "run")]
    text = str(told[0].message)
    assert "run/.ipynb_checkpoints" in text and "__MACOSX" in text and "1 of .rmvb" in text
    assert "the folder fly is no class" in text


@pytest.mark.parametrize("names", LAYOUTS)
def test_folders_of_splits_of_films(tmp_path, names):
    for name in names:
        (tmp_path / name / "run").mkdir(parents=True)
        (tmp_path / name / "run" / "a.mp4").write_bytes(b"x")
    found = videos_in(tmp_path)
    assert {v.label for v in found} == {"run"}
    assert [v.split for v in found] == [folders.part_of(v.name.split("/")[0]) for v in found]


def test_a_frame_that_cannot_be_read_leaves_out_its_film_alone(tmp_path):
    for film in range(6):
        for i in range(3):
            saved(tmp_path / "films" / "ab"[film % 2] / str(film) / f"{i}.png", 10 * film + i)
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "films" / "a" / "0" / "1.tif")
    index = clips.prepare(tmp_path / "films", tmp_path / "out", size=16, fps=None, quiet=True)
    assert [name for name, *_ in index["left_out"]] == ["a/0"] and len(index["videos"]["name"]) == 5
    assert "1.tif: floating-point pixels" in index["left_out"][0][1]


def test_copies_of_films_stay_in_one_split(tmp_path):
    for film in range(20):
        for i in range(3):
            saved(tmp_path / "films" / "ab"[film % 2] / f"{film}" / f"{i}.png", 10 * film + i)
        shutil.copytree(
            tmp_path / "films" / "ab"[film % 2] / f"{film}",
            tmp_path / "films" / "ab"[film % 2] / f"{film} (1)",
        )
    clips.prepare(tmp_path / "films", tmp_path / "out", size=16, fps=None, quiet=True)
    with pytest.warns(UserWarning, match="20 videos are copies of others"):
        data = clips.open(tmp_path / "out", frames=2, workers=0)
    parts = [{name.removesuffix(" (1)") for name in part.names} for part in data]
    assert sum(map(len, data)) == 40 and sum(map(len, parts)) == 20
