"""Videos on disk: prepared once and exactly, read the same whatever reads them, and sequences with masks."""

import numpy as np
import pytest
import torch
from PIL import Image

from sslcourse.common import CourseError
from sslcourse.data import clips

# ---------------------------------------------------------------------------------------------- sequences with masks

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


def davis_tree(root, names=("cow", "dog"), frames=5, height=24, width=44, suffix=".png", resolution="480p", binary=False, digits=5):
    """A folder in the layout of DAVIS, from its description; returns {name: (frames, ids)}."""
    truth = {}
    for k, name in enumerate(names):
        pictures, ids = truth[name] = moving(k, frames, height, width)
        for kind in ("JPEGImages", "Annotations"):
            (root / kind / resolution / name).mkdir(parents=True)
        for t in range(frames):
            stem = f"{t:0{digits}d}"
            Image.fromarray(pictures[t]).save(root / "JPEGImages" / resolution / name / f"{stem}{suffix}", quality=95)
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
        assert torch.equal(frames, torch.from_numpy(pictures).permute(3, 0, 1, 2)) and frames.dtype == torch.uint8
        assert torch.equal(masks, torch.from_numpy(ids))
    assert films["dog"].name == films[1].name == films[1:][0].name == "dog" and len(films[:1]) == 1
    assert films["dog"].frames.shape == clips.sequences(tmp_path / "DAVIS", ["dog"])[0].frames.shape == (3, 11, 24, 44)
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
    assert small.frames.shape == (3, 5, 24, 44) and set(small.masks.unique().tolist()) <= {0, 1, 2}  # ids are never mixed
    means = torch.from_numpy(truth["cow"][0]).permute(3, 0, 1, 2).float().unflatten(3, (44, 2)).unflatten(2, (24, 2)).mean((3, 5))
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
    assert (film.frames.float() - torch.from_numpy(truth["cow"][0]).permute(3, 0, 1, 2)).abs().mean() < 6  # JPEG
    davis_tree(tmp_path / "2017")
    (tmp_path / "2017" / "Annotations" / "480p" / "cow" / "00002.png").unlink()
    merged = clips.sequences(tmp_path / "2017", one_object=True)["cow"].masks
    assert merged[0].unique().tolist() == [0, 1] and merged[2].unique().tolist() == [clips.UNKNOWN]


def test_official_lists(tmp_path):
    davis_tree(tmp_path, names=("bear", "cow", "dog"))
    for folder, text in (("2017", "dog\ncow\n"), ("480p", "/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png\n" * 3)):
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
    with pytest.raises(CourseError, match=r"type: python data_scripts/davis.py --year 2016$"):
        clips.davis(2016)
