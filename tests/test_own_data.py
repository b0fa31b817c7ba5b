"""Arrays, labels, sounds and checkpoints as users bring them: right, or refused in words."""

import io

import numpy as np
import pytest
import torch
from torch import nn

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import folders, heard, images
from sslcourse.data.datasets import Samples, carve, few_of_each, open_labels
from sslcourse.methods import avts, byol, clip, moco, simclr
from sslcourse.runtime.errors import CourseError
from sslcourse.train import checkpoints, clustering
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe


def noise(n, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


# ---------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    "kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"]
)
def test_labels_of_any_whole_type(kind):
    y = (np.arange(40) % (2 if kind == "bool" else 3)).astype(kind)
    for label in (y, y.tolist(), y[:, None]):
        data = images.arrays(noise(40, 8, 8), label)
        assert data.train.label.dtype == torch.int64 and len(data.classes) == len(set(y.tolist()))
    assert Samples(noise(40, 8, 8), y).label.tolist() == [int(v) for v in y]


@pytest.mark.parametrize(
    "label",
    [
        np.tile([0.4, 1.9], 20),
        np.tile([0.0, 1.0], 20),
        torch.tensor([0.4, 1.9] * 20),
        np.tile([np.nan, 1.0], 20),
        np.tile(["cat", "dog"], 20),
        np.tile([-1, 1], 20),
        np.eye(40),
        np.full(40, 2**63, np.uint64),
        [[1], [2, 3]] * 20,
    ],
)
def test_labels_that_are_none_are_refused_everywhere(tmp_path, label):
    with pytest.raises(CourseError):
        Samples(noise(40, 8, 8), label)
    with pytest.raises(CourseError):
        images.arrays(noise(40, 8, 8), label)
    array = None if isinstance(label, list) else np.asarray(label)
    if array is not None and array.dtype.kind not in "U":  # names are what heard.npz takes
        np.savez(tmp_path / "x.npz", audio=np.zeros((40, 800), np.int16), rate=8000, label=array)
        with pytest.raises(CourseError):
            heard.npz(tmp_path / "x.npz")


@pytest.mark.parametrize("values", [range(1, 21), (3, 5, 1000), (0, 255)])
def test_each_value_that_occurs_is_a_class(tmp_path, values):
    y = np.tile(list(values), 12)
    sounds = np.random.default_rng(0).integers(-99, 99, (len(y), 800)).astype(np.int16)
    np.savez(tmp_path / "x.npz", audio=sounds, rate=8000, label=y)
    x = noise(len(y), 8, 8)
    for make, rows in ((lambda: images.arrays(x, y), x), (lambda: heard.npz(tmp_path / "x.npz"), sounds)):
        with pytest.warns(UserWarning, match=f"are {len(values)} classes"):
            data = make()
        assert data.classes == tuple(str(v) for v in values)
        there = data.train.image[:, 0] if data.train.kind == "image" else data.train.audio
        for row, number in zip(there.numpy(), data.train.label):
            (at,) = np.flatnonzero((rows == row).reshape(len(rows), -1).all(1))
            assert y[at] == int(data.classes[number])
    named = images.arrays(x, y % 2, classes=["even", "odd"])
    assert named.classes == ("even", "odd")


def test_names_as_bytes_are_names(tmp_path):
    y = np.tile([b"cat", b"dog"], 20)
    np.savez(tmp_path / "x.npz", audio=np.zeros((40, 800), np.int16), rate=8000, label=y)
    assert heard.npz(tmp_path / "x.npz").classes == ("cat", "dog")
    np.savez(
        tmp_path / "y.npz", image=noise(40, 8, 8), label=np.arange(40) % 2, classes=np.array([b"a", b"b"])
    )
    assert images.npz(tmp_path / "y.npz").classes == ("a", "b")


def test_probes_take_labels_of_any_whole_type():
    x, y = torch.randn(200, 8, generator=torch.Generator().manual_seed(0)), torch.arange(200) % 4
    x[:, 0] += 3 * y
    expected = evaluate.score(x, y, x, y, classes=4, linear=False)
    for kind in (torch.int32, torch.uint8, torch.int8, torch.int16):
        assert evaluate.score(x, y.to(kind), x, y.to(kind), classes=4, linear=False) == expected
    x, y = x[:60], y[:60].to(torch.uint8)  # so few that no penalty is chosen
    assert evaluate.score(x, y, x, y, classes=4)["linear"] > 0.5
    for wrong in (y.float(), y[:, None], y + 1):
        with pytest.raises(CourseError):
            evaluate.score(x, wrong, x, wrong, classes=4)


# ---------------------------------------------------------------------------------------------- arrays


@pytest.mark.parametrize(
    "shape, match",
    [
        ((32, 32, 3), r"without the first axis: write image\[None\]"),
        ((3, 32, 32), r"without the first axis"),
        ((32, 32, 4), r"without the first axis"),
        ((40, 8, 8, 4), r"image\[\.\.\., :3\]"),
        ((40, 4, 8, 8), r"image\[:, :3\]"),
        ((40, 784), r"reshape\(-1, height, width\)"),
        ((32, 32), r"image\[None\]"),
        ((40, 0, 8, 3), "shape"),
    ],
)
def test_arrays_without_their_first_axis_are_taken_for_nothing_else(shape, match):
    with pytest.raises(CourseError, match=match):
        Samples(np.zeros(shape, np.uint8))


def test_axes_that_are_there_are_found():
    x = noise(40, 9, 8, 3)
    wanted = torch.from_numpy(x).permute(0, 3, 1, 2)
    for given in (x, x.transpose(0, 3, 1, 2), x / 255, (x / 255).astype(">f4"), list(x), torch.from_numpy(x)):
        assert torch.equal(Samples(given).image, wanted)
    three = noise(3, 9, 8)
    assert Samples(three, [0, 1, 1]).image.shape == (3, 3, 9, 8)  # as many labels: three grey pictures
    drawings = x[..., 0] > 127
    assert torch.equal(Samples(drawings).image[:, 0], torch.from_numpy(drawings).to(torch.uint8) * 255)


@pytest.mark.parametrize("film", [(16, 32, 32, 3), (3, 16, 32, 32)])
def test_a_film_without_its_first_axis(film):
    with pytest.raises(CourseError, match="single video without the first axis"):
        Samples(video=np.zeros(film, np.uint8))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((40, 8, 8), np.uint16),
        np.zeros((40, 8, 8), np.int8),
        np.zeros((40, 8, 8), np.complex64),
        np.full((40, 8, 8), 255.0),
        np.full((40, 8, 8), -0.5),
        np.full((40, 8, 8), np.inf),
        np.array(["x"] * 40),
        [np.zeros((8, 8)), np.zeros((9, 8))],
        np.array([None] * 40),
    ],
)
def test_arrays_of_other_numbers_are_refused(image):
    with pytest.raises(CourseError):
        Samples(image)


# ---------------------------------------------------------------------------------------------- few samples


def test_the_only_example_of_a_class_trains():
    """Omniglot's one-shot task: a test split of one's own, and one example of each of 242 classes."""
    y, x = np.arange(242), noise(242, 8, 8)
    tested = noise(484, 8, 8, seed=1)
    with pytest.warns(UserWarning, match="no validation split"):
        data = images.arrays(x, y, tested, np.arange(484) % 242)
    assert sorted(data.train.label.tolist()) == y.tolist() and len(data.validation) == 0
    five = images.arrays(noise(1210, 8, 8), np.arange(1210) % 242, tested, np.arange(484) % 242)
    assert set(five.train.label.tolist()) == set(y) and len(five.validation) > 60
    whole = images.arrays(
        noise(1210, 8, 8), np.arange(1210) % 242, tested, np.arange(484) % 242, validation=0
    )
    assert len(whole.train) == 1210 and len(whole.validation) == 0
    for seed in range(20):  # of classes of one and of many, the one never loses
        label = np.array([0] + [1] * 30)
        assert 0 not in carve(label, 0.3, seed)[1]


@pytest.mark.parametrize("each", [2, 3, 4, 5, 7])
def test_many_small_classes_make_three_splits(each):
    """Before, "too few for three splits": no class alone was large enough for a tenth."""
    y = np.arange(100 * each) % 100
    data = images.arrays(noise(len(y), 8, 8), y)
    parts = [len(part) / len(y) for part in data]
    assert np.abs(np.array(parts) - (0.7, 0.1, 0.2)).max() < (0.01 if each < 5 else 0.11)


def test_few_of_each_is_so_many_of_each():
    samples = Samples(noise(100, 8, 8), np.repeat([0, 1, 2], [5, 15, 80]))
    for count in (1, 3, 5, 10):
        chosen = samples.label[few_of_each(samples, count)]
        assert torch.bincount(chosen).tolist() == [min(count, 5), count, count]
    with pytest.raises(CourseError, match="few=0"):
        few_of_each(samples, 0)


def test_few_shots_are_reported():
    y = np.arange(120) % 3
    x = noise(120, 8, 8, 3) // 4
    x[np.arange(120), :, :, y] += 150
    data = images.arrays(x, y)
    found = evaluate.report(simclr.SimCLR(encoders.small_cnn()).eval(), data, few=1)
    assert set(found.rows[0]) == {"features", "kNN", "linear", "few kNN", "few labels"}
    assert found["pixels"]["few kNN"] > 0.9 and found["pixels"]["few labels"] > 0.9  # classes by colour


# ---------------------------------------------------------------------------------------------- sounds


def sound_file(x, rate=8000, **options):
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, x, rate, **options)
    return file.getvalue()


KINDS = [
    ("PCM_16", "WAV", 1),
    ("PCM_24", "WAV", 1),
    ("PCM_32", "WAV", 1),
    ("PCM_U8", "WAV", 300),
    ("FLOAT", "WAV", 1),
    ("DOUBLE", "WAV", 1),
    ("ULAW", "WAV", 1200),
    ("PCM_24", "FLAC", 1),
    ("FLOAT", "AIFF", 1),
    ("VORBIS", "OGG", 1500),
]


@pytest.mark.parametrize("kind, form, error", KINDS)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_sound_is_the_same_in_every_kind_of_file(kind, form, error, channels):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    try:
        data = sound_file(np.stack([tone] * channels, 1), subtype=kind, format=form)
    except RuntimeError:
        pytest.skip(f"libsndfile writes no {form} of {channels} channels")
    audio, rate = heard.decoded(data, "x")
    assert rate == 8000 and audio.dtype == np.int16 and audio.shape == (8000,)
    assert np.abs(audio.astype(int) - np.round(tone * 32767)).max() <= error


def test_floats_beyond_one_are_scaled_and_nan_is_refused():
    wide = np.array([0, 3.0, -1.5] * 100)
    audio, _ = heard.decoded(sound_file(wide, subtype="FLOAT", format="WAV"), "x.wav")
    assert audio.max() == 32767 and audio.min() == -16384
    with pytest.raises(CourseError, match="no sound"):
        heard.decoded(sound_file(wide * np.nan, subtype="FLOAT", format="WAV"), "x.wav")
    for kind in ("FLOAT", "PCM_16"):
        assert len(heard.decoded(sound_file(np.zeros(0), subtype=kind, format="WAV"), "x.wav")[0]) == 0


@pytest.mark.parametrize(
    "rate, match",
    [
        (np.array([8000]), None),
        (np.full(30, 8000), None),
        (8000.0, None),
        (np.full((30, 1), 8000, np.uint16), None),
        (np.array([8000, 16000] * 15), "2 rates, 8000 to 16000"),
        (8000.5, "whole number"),
        (np.nan, "whole number"),
        ("8000", "whole number"),
        (np.array([]), "whole number"),
        (-8000, "whole number"),
        (0, "whole number"),
    ],
)
def test_rates_as_they_are_saved(tmp_path, rate, match):
    x = np.random.default_rng(0).normal(size=(30, 4000)).clip(-1, 1) * 0.1
    np.savez(tmp_path / "x.npz", audio=x, rate=rate, label=np.arange(30) % 2)
    if match is None:
        assert heard.npz(tmp_path / "x.npz").train.rate == 8000
    else:
        with pytest.raises(CourseError, match=match):
            heard.npz(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "audio", [np.zeros((0, 800)), np.zeros((30, 0)), np.array(0.5), np.zeros((30, 2, 800))]
)
def test_recordings_without_sound_are_refused(tmp_path, audio):
    np.savez(tmp_path / "x.npz", audio=audio, rate=8000)
    with pytest.raises(CourseError):
        heard.npz(tmp_path / "x.npz")


# ------------------------------------------------------------------------ numbers, batches and checkpoints


def test_numpys_integers_are_whole_numbers():
    x = torch.randn(20, 3)
    assert len(clustering.kmeans(x, np.int64(3)).centre) == 3
    assert images._checked_size(np.int64(16)) == 16
    recipe = Recipe(np.int64(2), np.uint8(8), np.float32(0.5), seed=np.int32(3), max_steps=np.int16(4))
    assert all(type(v) in (int, float, str) for v in vars(recipe).values())
    for value, whole in (
        (np.int64(3), 3),
        (torch.tensor(3), 3),
        (3, 3),
        (True, None),
        (3.0, None),
        ("3", None),
    ):
        assert runtime.as_whole(value) == whole and type(runtime.as_whole(value)) in (int, type(None))


@pytest.fixture
def plain_profile():
    before = runtime.profile()
    runtime.use_profile(runtime.Profile("cpu", 1, False, "float32"))
    yield
    runtime.use_profile(before)


@pytest.mark.parametrize("method", [simclr.SimCLR, byol.BYOL, moco.MoCo])
def test_a_batch_of_one_is_refused(method, plain_profile):
    data = Samples(noise(8, 16, 16))
    with pytest.raises(CourseError, match="batch_size=1"):
        fit(method(encoders.small_cnn()), data, Recipe(1, 1, 1e-3, max_steps=2))


def test_methods_that_compare_samples_say_so():
    assert all(m.least_batch == 2 for m in (simclr.SimCLR, byol.BYOL, moco.MoCo, clip.CLIP, avts.AVTS))


def test_batch_statistics_of_one_of_ones_own(plain_profile):
    class Mine(simclr.Method):
        def __init__(self):
            super().__init__()
            self.f = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4), nn.BatchNorm1d(4))

        def loss(self, batch):
            return self.f(batch["image"].float()).square().mean(), {}

    with pytest.raises(CourseError, match="batch_size=1: batch normalisation needs at least two"):
        fit(Mine(), Samples(noise(8, 8, 8)), Recipe(1, 1, 1e-3))


class Compiled(nn.Module):
    """Wraps as `torch.compile` does, without the seconds that its import takes."""

    def __init__(self, module):
        super().__init__()
        self._orig_mod = module

    def __getattr__(self, name):
        return super().__getattr__(name) if name == "_orig_mod" else getattr(self._orig_mod, name)


@pytest.mark.parametrize("wrap", [Compiled, pytest.param(torch.compile, marks=pytest.mark.slow)])
def test_weights_of_wrapped_networks_are_taken(tmp_path, wrap):
    method, other = simclr.SimCLR(encoders.small_cnn()), simclr.SimCLR(encoders.small_cnn())
    before = {k: v.clone() for k, v in method.state_dict().items()}
    same = lambda net: all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not same(other)
    checkpoints.save(tmp_path / "whole.safetensors", nn.DataParallel(method))
    checkpoints.load(tmp_path / "whole.safetensors", other)
    assert same(other)
    inside = simclr.SimCLR(encoders.small_cnn())
    inside.load_state_dict(before)
    inside.f = wrap(inside.f)
    checkpoints.save(tmp_path / "part.safetensors", wrap(inside))
    fresh = simclr.SimCLR(encoders.small_cnn())
    checkpoints.load(tmp_path / "part.safetensors", fresh)
    assert same(fresh)
    compiled = simclr.SimCLR(encoders.small_cnn())
    wrapped = nn.DataParallel(wrap(compiled))
    checkpoints.load(tmp_path / "whole.safetensors", wrapped)
    assert same(compiled)
    with pytest.raises(CourseError, match="does not fit"):
        checkpoints.load(tmp_path / "whole.safetensors", simclr.SimCLR(encoders.small_cnn(), head="linear"))


def test_names_of_ones_own_modules_are_left_alone(tmp_path):
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.module, self.weight = nn.Linear(2, 2), nn.Parameter(torch.zeros(1))

    one, two = Holder(), Holder()
    checkpoints.save(tmp_path / "x.safetensors", one)
    checkpoints.load(tmp_path / "x.safetensors", two)
    assert torch.equal(one.module.weight, two.module.weight)


def test_labels_of_the_test_split_stay_sealed():
    data = images.arrays(noise(40, 8, 8), np.arange(40) % 2, noise(10, 8, 8, seed=1), np.arange(10) % 2)
    assert data.test.split == "test" and data.test.openings == []
    assert open_labels(data.test, "a test")[0].tolist() == [0, 1] * 5


def test_a_small_file_does_not_fill_the_memory(tmp_path, monkeypatch):
    """Zeros shrink a thousand times. Nothing is unpacked before it is known how much it is."""
    monkeypatch.setattr(folders, "MAX_ARRAYS", 2**22)
    path = tmp_path / "bomb.npz"
    read = []
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda self, key: read.append(key), raising=True)
    for many, refused in ((2**23, True), (2**21, False)):
        np.savez_compressed(path, image=np.zeros(many, np.uint8), audio=np.zeros(8, np.uint8))
        if refused:
            for reader in (images.npz, heard.npz):
                with pytest.raises(CourseError, match="these are no pictures and no sounds"):
                    reader(path)
            assert read == []
        else:
            folders.arrays_of(path, "")
            assert sorted(read) == ["audio", "image"]
    np.savez(path, image=np.zeros(2**23, np.uint8))  # as large as it says
    folders.arrays_of(path, "")
