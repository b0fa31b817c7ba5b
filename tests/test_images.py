"""Real images: the data scripts on tiny archives in the official formats, and every function that returns
images.
"""

import gzip
import hashlib
import importlib
import io
import json
import struct
import subprocess
import sys
import tarfile
import threading
import warnings
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sslcourse.data import download, images
from sslcourse.data.datasets import SealedLabels, open_labels
from sslcourse.runtime.errors import CourseError

SCRIPTS = Path(__file__).resolve().parent.parent / "data_scripts"


def script(name):
    return importlib.import_module(f"sslcourse.data.sets.{name}")


CIFAR, STL, MNIST = script("cifar10"), script("stl10"), script("mnist")


def pictures(seed, n, side, channels=3):
    shape = (n, side, side, channels) if channels else (n, side, side)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def remote(path):
    return download.Remote(path.name, path.stat().st_size, md5=hashlib.md5(path.read_bytes()).hexdigest())


def tar_gz(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


# ------------------------------------------------------ tiny archives, written from the formats' descriptions


def cifar_archive(folder, label=lambda n: np.arange(n) % 10, classes=CIFAR.CLASSES):
    """20 images in each of six files; returns (archive, train images, test images)."""
    x = pictures(0, 120, 32)
    files = {"cifar-10-batches-bin/batches.meta.txt": ("\n".join(classes) + "\n\n").encode()}
    names = [
        "test_batch",
        *(f"data_batch_{i}" for i in (3, 1, 2, 5, 4)),
    ]  # the order in the archive means nothing
    for name in names:
        i = 5 if name == "test_batch" else int(name[-1]) - 1
        record = b""
        for image, y in zip(x[20 * i : 20 * i + 20], label(20)):
            record += bytes([y]) + b"".join(image[:, :, c].tobytes() for c in range(3))
        files[f"cifar-10-batches-bin/{name}.bin"] = record
    return tar_gz(folder / "cifar-10-binary.tar.gz", files), x[:100], x[100:]


def stl_archive(folder):
    x, bytes_of = (
        pictures(1, 37, 96),
        lambda part: b"".join(im[:, :, c].T.tobytes() for im in part for c in range(3)),
    )
    y = np.arange(30) % 10 + 1
    folds = "\n".join(" ".join(str((i + j) % 20) for j in range(4)) + " " for i in range(10)) + "\n"
    files = {
        "fold_indices.txt": folds.encode(),
        "test_X.bin": bytes_of(x[20:30]),
        "test_y.bin": bytes(y[20:].tolist()),
        "train_X.bin": bytes_of(x[:20]),
        "train_y.bin": bytes(y[:20].tolist()),
        "unlabeled_X.bin": bytes_of(x[30:]),
        "class_names.txt": "\n".join(STL.CLASSES).encode(),
    }
    return tar_gz(folder / "stl10_binary.tar.gz", {f"stl10_binary/{k}": v for k, v in files.items()}), x


def mnist_files(folder):
    folder.mkdir(parents=True, exist_ok=True)
    x, y, paths = pictures(2, 50, 28, channels=0), np.arange(50) % 10, []
    for name, part in (("train", slice(40)), ("t10k", slice(40, 50))):
        n = len(x[part])
        for kind, data in (
            ("images-idx3", struct.pack(">4I", 0x803, n, 28, 28) + x[part].tobytes()),
            ("labels-idx1", struct.pack(">2I", 0x801, n) + bytes(y[part].tolist())),
        ):
            paths.append(folder / f"{name}-{kind}-ubyte.gz")
            paths[-1].write_bytes(gzip.compress(data))
    return paths, x


@pytest.fixture
def cifar(tmp_path):
    archive, train, test = cifar_archive(tmp_path / "published")
    return archive, CIFAR.Expected(remote(archive), 20), train, test


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The folder of prepared data sets, empty."""
    monkeypatch.setenv("SSLCOURSE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def mirror(tmp_path):
    """Address of tmp_path/published, and the list of the paths asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path / "published")))
    threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.02), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", asked
    server.shutdown()
    server.server_close()


# ---------------------------------------------------------------------------------------------- data scripts


def test_cifar10_from_archive_to_samples(cifar, data, mirror):
    archive, expected, train, test = cifar
    meta = CIFAR.prepare(expected=expected, mirrors=[mirror[0]], quiet=True)
    page = json.loads((data / "cifar10" / "meta.json").read_text())
    assert meta == {key: value for key, value in page.items() if key != "sealed"} and "sealed" in page
    assert meta["checksums"] == {archive.name: f"md5:{expected.archive.md5}"} and meta["classes"] == list(
        CIFAR.CLASSES
    )
    load = lambda name: np.load(data / "cifar10" / f"{name}.npy")
    assert np.array_equal(load("train_image"), train) and np.array_equal(load("test_image"), test)
    assert load("train_label").dtype == np.uint8 and load("train_label").tolist() == list(range(10)) * 10
    assert not (data / "cifar10" / "download").exists()
    CIFAR.prepare(expected=expected, mirrors=[mirror[0]])
    assert len(mirror[1]) == 1  # the second run finds everything done

    got = images.cifar10(validation=0.2)
    assert (
        [len(part) for part in got] == [80, 20, 20] and got.classes == CIFAR.CLASSES and got.name == "cifar10"
    )
    assert (
        got.train.label.bincount().tolist() == [8] * 10
        and got.validation.label.bincount().tolist() == [2] * 10
    )
    assert_same_set(torch.cat([got.train.image, got.validation.image]), train)
    assert torch.equal(got.test.image, torch.from_numpy(test).permute(0, 3, 1, 2))
    assert open_labels(got.test, "a test")[0].tolist() == list(range(10)) * 2
    for part in (got.train, got.validation):  # labels still belong to their images
        for image, y in zip(part.image, part.label):
            (where,) = np.flatnonzero((train.transpose(0, 3, 1, 2) == image.numpy()).all((1, 2, 3)))
            assert y == where % 10
    with pytest.raises(SealedLabels):
        _ = got.test.label
    assert torch.equal(images.cifar10(validation=0.2).train.image, got.train.image)
    assert not torch.equal(images.cifar10(validation=0.2, seed=1).train.image, got.train.image)


def assert_same_set(image, original):
    """(N, 3, H, W) and (N, H, W, 3) hold the same pictures, each once."""
    rows = {bytes(x) for x in image.permute(0, 2, 3, 1).reshape(len(image), -1).numpy()}
    assert len(rows) == len(image) == len(original) and rows == {x.tobytes() for x in original}


def test_stl10_from_archive_to_samples(tmp_path, data, monkeypatch):
    monkeypatch.setattr(STL, "BLOCK", 3)
    archive, x = stl_archive(tmp_path / "published")
    STL.prepare(archive, expected=STL.Expected(remote(archive), 20, 10, 7, 4))
    assert archive.exists()  # the user's own file is never removed
    got = images.stl10(validation=0.5)
    assert [len(part) for part in got] == [10, 10, 10] and got.classes == STL.CLASSES
    assert_same_set(torch.cat([got.train.image, got.validation.image]), x[:20])
    assert torch.equal(got.test.image, torch.from_numpy(x[20:30]).permute(0, 3, 1, 2))
    assert open_labels(got.test, "a test")[0].tolist() == list(range(10))  # 1 to 10 in the file
    fold = images.stl10(fold=9)
    assert_same_set(fold.train.image, x[9:13])
    assert (len(fold.validation), fold.train.label.tolist()) == (16, [9, 0, 1, 2])
    unlabelled = images.stl10("unlabelled")
    assert (
        torch.equal(unlabelled.image, torch.from_numpy(x[30:]).permute(0, 3, 1, 2))
        and not unlabelled.labelled
    )
    small = images.stl10("unlabelled", size=32)
    assert small.image.shape == (7, 3, 32, 32)
    means = unlabelled.image.float().mean((2, 3)), small.image.float().mean((2, 3))
    assert (means[0] - means[1]).abs().max() < 1
    for wrong in (dict(part="x"), dict(size=64), dict(fold=10), dict(part="unlabelled", fold=1)):
        with pytest.raises(CourseError, match="pass"):
            images.stl10(**wrong)


def test_mnist_from_files_to_samples(tmp_path, data, mirror):
    paths, x = mnist_files(tmp_path / "published")
    expected = MNIST.Expected(tuple(map(remote, paths)), 40, 10)
    MNIST.prepare(expected=expected, mirrors=[mirror[0]], keep=True)
    assert len(list((data / "mnist" / "download").iterdir())) == 4
    MNIST.prepare(expected=expected, mirrors=[mirror[0]])
    assert len(mirror[1]) == 4 and not (data / "mnist" / "download").exists()
    MNIST.prepare(tmp_path / "published", tmp_path / "elsewhere", expected)
    got = images.mnist(validation=0.25, path=tmp_path / "elsewhere")
    assert [len(part) for part in got] == [30, 10, 10] and got.train.label.bincount().tolist() == [3] * 10
    assert torch.equal(got.test.image, torch.from_numpy(x[40:])[:, None].expand(-1, 3, -1, -1))
    wide = images.mnist(32, validation=0.25)
    assert torch.equal(wide.test.image[:, 0, 2:30, 2:30], torch.from_numpy(x[40:]))
    assert wide.train.image.shape == (30, 3, 32, 32) and wide.train.image[..., :2].max() == 0
    with pytest.raises(CourseError, match="four"):
        MNIST.prepare(paths[0], tmp_path / "third", expected)


def test_scripts_refuse_a_wrong_archive(cifar, tmp_path, data, capsys):
    archive, expected, *_ = cifar
    assert CIFAR.main(["--from", str(archive)]) == 1  # held to the official checksum
    assert "c32a1d4ab5d03f1284b67883e8d87530" in capsys.readouterr().err
    wrong = {
        "as many of each": (cifar_archive(tmp_path / "a", label=lambda n: np.zeros(n, int))[0], 20),
        "labels from 1 to 10": (cifar_archive(tmp_path / "b", label=lambda n: np.arange(n) % 10 + 1)[0], 20),
        "names the classes": (cifar_archive(tmp_path / "c", classes=CIFAR.CLASSES[::-1])[0], 20),
        "61,460 bytes": (archive, 19),
    }
    for match, (path, per_file) in wrong.items():
        with pytest.raises(CourseError, match=match):
            CIFAR.prepare(path, expected=CIFAR.Expected(remote(path), per_file))
        with pytest.raises(CourseError, match=r"type: sslcourse data cifar10$"):
            images.cifar10()


def test_command_line(cifar, tmp_path, mirror, capsys, monkeypatch):
    archive, expected, *_ = cifar
    monkeypatch.setattr(CIFAR, "prepare", partial(CIFAR.prepare, expected=expected))
    assert CIFAR.main(["--url", mirror[0], "--to", str(tmp_path / "to")]) == 0
    out = capsys.readouterr().out
    assert "train_image           100  of 32x32x3" in out and "test_label             20" in out
    monkeypatch.setattr(CIFAR, "prepare", lambda **options: (_ for _ in ()).throw(KeyboardInterrupt))
    assert CIFAR.main([]) == 130 and "Type the same again" in capsys.readouterr().err
    for module in (CIFAR, STL, MNIST):
        with pytest.raises(SystemExit) as stop:
            module.main(["--help"])
        assert stop.value.code == 0
        text = capsys.readouterr().out
        assert "--from FILE_OR_FOLDER" in text and "SSLCOURSE_DATA" in text and "train_image" in text


def test_command_line_as_a_process(tmp_path):
    command = [
        sys.executable,
        str(SCRIPTS / "mnist.py"),
        "--from",
        str(tmp_path),
        "--to",
        str(tmp_path / "to"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (
        done.returncode == 1
        and "train-images-idx3-ubyte.gz" in done.stderr
        and "Traceback" not in done.stderr
    )


@pytest.mark.parametrize("stop_at", ["train_image", "train_label", "test_image", "test_label", "meta"])
def test_interrupted_anywhere_and_run_again(cifar, data, mirror, monkeypatch, stop_at):
    _, expected, train, _ = cifar
    honest, folder = images.runtime.atomic, data / "cifar10"

    def stop(path):
        if Path(path).name.startswith(stop_at):
            (folder / f".{Path(path).name}.killed12.part").write_bytes(b"half")  # what a kill would leave
            raise KeyboardInterrupt
        return honest(path)

    monkeypatch.setattr(images.runtime, "atomic", stop)
    with pytest.raises(KeyboardInterrupt):
        CIFAR.prepare(expected=expected, mirrors=[mirror[0]])
    monkeypatch.setattr(images.runtime, "atomic", honest)
    with pytest.raises(CourseError, match="no complete cifar10"):
        images.cifar10()
    CIFAR.prepare(expected=expected, mirrors=[mirror[0]])
    assert len(mirror[1]) == 1  # the archive was fetched once
    assert np.array_equal(np.load(folder / "train_image.npy"), train)
    wanted = {
        "meta.json",
        "made-by-sslcourse.txt",
        *(f"{a}_{b}.npy" for a in ("train", "test") for b in ("image", "label")),
    }
    assert {p.name for p in folder.iterdir()} == wanted  # what the kill left is gone


def test_damaged_arrays_are_made_again(cifar, data):
    archive, expected, train, _ = cifar
    CIFAR.prepare(archive, expected=expected)
    path = data / "cifar10" / "train_image.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CourseError, match="type: sslcourse data cifar10"):
        images.cifar10()
    CIFAR.prepare(archive, expected=expected)
    assert np.array_equal(np.load(path), train)


def test_arrays_of_another_shape_or_of_half_a_redo_do_not_count(cifar, tmp_path, data, monkeypatch):
    archive, expected, train, _ = cifar
    CIFAR.prepare(archive, expected=expected)
    np.save(data / "cifar10" / "train_image.npy", train[1:])
    with pytest.raises(CourseError, match="no complete cifar10"):
        images.cifar10()
    CIFAR.prepare(archive, expected=expected)
    other = cifar_archive(tmp_path / "other", label=lambda n: (np.arange(n) + 1) % 10)[0]
    monkeypatch.setattr(images, "check_labels", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        CIFAR.prepare(other, expected=CIFAR.Expected(remote(other), 20))
    with pytest.raises(
        CourseError, match="no complete cifar10"
    ):  # the old note does not vouch for mixed arrays
        images.cifar10()


def test_save_array_takes_only_what_was_promised(tmp_path, monkeypatch):
    for blocks in ([np.zeros((3, 2), np.uint8)], [np.zeros((4, 3), np.uint8)], [np.zeros((4, 2))]):
        with pytest.raises(CourseError):
            images.save_array(tmp_path / "x.npy", (4, 2), blocks)
    assert list(tmp_path.iterdir()) == []
    whole = np.arange(8, dtype=np.uint8).reshape(4, 2)
    images.save_array(tmp_path / "x.npy", (4, 2), [whole[:1], whole[1:]])
    assert np.array_equal(np.load(tmp_path / "x.npy"), whole)
    monkeypatch.setattr(download.files.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 7}))
    with pytest.raises(CourseError, match="make room"):
        images.save_array(tmp_path / "y.npy", (4, 2), [whole])


@pytest.mark.parametrize("name", ["cifar10", "stl10", "mnist"])
def test_absent_arrays_name_the_command(data, name):
    with pytest.raises(CourseError, match=rf"type: sslcourse data {name}$"):
        getattr(images, name)()
    with pytest.raises(CourseError, match=rf"sslcourse data {name} --to .*there$"):
        getattr(images, name)(path=data / "there")


# ---------------------------------------------------------------------------------------------- offline


def test_digits():
    from sklearn.datasets import load_digits

    small, large = images.digits(8), images.digits()
    assert small.train.image.shape[1:] == (3, 8, 8) and large.train.image.shape[1:] == (3, 32, 32)
    assert sum(len(part) for part in large) == 1797 and len(large.test) / 1797 == pytest.approx(
        0.2, abs=0.005
    )
    original = np.round(load_digits().images * 255 / 16).astype(np.uint8)
    together = torch.cat([part.image for part in small])
    assert_same_set(
        together, np.repeat(original[..., None], 3, axis=3)
    )  # nothing lost, nothing in two splits
    share = small.validation.label.bincount() / 1797
    assert share.min() > 0.009 and share.max() < 0.011  # stratified: a tenth of each tenth
    assert (large.train.image.float().mean() - small.train.image.float().mean()).abs() < 1
    with pytest.raises(CourseError, match="size=2"):
        images.digits(2)


def test_photographs():
    grid = images.photographs()
    assert len(grid) == 2 * 13 * 20 and grid.image.shape[1:] == (3, 32, 32) and not grid.labelled
    assert grid.factors["photo"].bincount().tolist() == [260, 260]
    from sklearn.datasets import load_sample_images

    china = torch.from_numpy(load_sample_images().images[0].copy()).permute(2, 0, 1)
    rows = [torch.cat(list(grid.image[20 * i : 20 * i + 20]), dim=2) for i in range(13)]
    assert torch.equal(
        torch.cat(rows, dim=1), china[:, : 13 * 32]
    )  # the patches put together are the photograph
    some = images.photographs(64, count=9, seed=3)
    assert some.image.shape == (9, 3, 64, 64) and torch.equal(
        images.photographs(64, count=9, seed=3).image, some.image
    )
    for wrong in (dict(size=500), dict(count=0)):
        with pytest.raises(CourseError, match="pass"):
            images.photographs(**wrong)


# ---------------------------------------------------------------------------------------------- your own


def test_arrays_with_and_without_a_test_split():
    x, y = pictures(3, 60, 12), np.arange(60) % 3
    data = images.arrays(x, y, classes=("a", "b", "c"), name="mine")
    assert (
        [len(part) for part in data] == [42, 6, 12]
        and data.classes == ("a", "b", "c")
        and data.name == "mine"
    )
    assert_same_set(torch.cat([part.image for part in data]), x)
    data = images.arrays(x[:30], y[:30], x[30:], y[30:], validation=0.2)
    assert [len(part) for part in data] == [24, 6, 30] and data.validation.split == "validation"
    assert torch.equal(data.test.image, torch.from_numpy(x[30:]).permute(0, 3, 1, 2))
    assert_same_set(torch.cat([data.train.image, data.validation.image]), x[:30])
    assert not images.arrays(x).train.labelled and len(images.arrays(x[5:], test_image=x[:5]).test) == 5
    with pytest.warns(UserWarning, match="0, 4 are 2 classes"):
        assert images.arrays(x[:30], np.zeros(30, int), x[30:32], np.array([0, 4])).classes == ("0", "4")


@pytest.mark.parametrize(
    "wrong, match",
    [
        (dict(label=np.array(["cat", "dog"] * 30)), "np.unique"),
        (dict(label=np.zeros(60)), "whole numbers"),
        (dict(label=np.full(60, 10**9)), "1000000000"),
        (dict(label=np.full(60, -1)), "negative"),
        (dict(label=np.zeros(59, int)), "60 images"),
        (dict(test_label=np.zeros(60, int)), "without test_image"),
        (dict(label=np.zeros(60, int), test_image=pictures(0, 5, 12)), "missing"),
        (dict(test_image=pictures(0, 5, 10)), "resize"),
        (dict(image=pictures(3, 60, 12).astype(float)), "scale them"),
        (dict(image=pictures(3, 60, 12).astype(np.int64)), "uint8"),
        (dict(validation=0.0), "validation=0"),
        (dict(test_image=pictures(0, 5, 12), validation=1.0), "validation=1"),
    ],
)
def test_arrays_names_the_mistake(wrong, match):
    with pytest.raises(CourseError, match=match):
        images.arrays(**{"image": pictures(3, 60, 12), **wrong})


def test_npz(tmp_path):
    x, y, path = pictures(4, 40, 8), np.arange(40) % 4, tmp_path / "mine.npz"
    np.savez(path, image=x, label=y, classes=np.array(["a", "b", "c", "d"]))
    data = images.npz(path, validation=0.2, test=0.2)
    assert (
        data.name == "mine" and data.classes == ("a", "b", "c", "d") and [len(p) for p in data] == [24, 8, 8]
    )
    np.savez(path, x_train=x, y_train=y, x_test=x[:8], y_test=y[:8], note=y)
    with pytest.warns(UserWarning, match="note not used"):
        assert len(images.npz(path).test) == 8
    np.savez(path, image=np.array([{}], dtype=object))
    with pytest.raises(CourseError, match="object arrays"):
        images.npz(path)
    np.savez(path, pixels=x)
    with pytest.raises(CourseError, match="has the arrays pixels; name them image"):
        images.npz(path)
    path.write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(CourseError, match="cannot be read"):
        images.npz(path)
    np.save(tmp_path / "one.npy", x)
    with pytest.raises(CourseError, match=r"single array; write it with its name: np.savez\('one.npy'"):
        images.npz(tmp_path / "one.npy")
    with pytest.raises(CourseError, match="there is no file"):
        images.npz(tmp_path / "absent.npz")


@pytest.fixture
def album(tmp_path):
    """Ten red pictures in `red`, ten blue ones deep in `blue`, of various kinds and shapes."""
    for name, colour in (("red", (255, 0, 0)), ("blue/deep", (0, 0, 255))):
        (tmp_path / "album" / name).mkdir(parents=True)
        for i in range(10):
            kind = ("png", "jpg", "webp", "bmp", "PNG")[i % 5]
            Image.new("RGB", (40 + 10 * i, 60), colour).save(tmp_path / "album" / name / f"{i}.{kind}")
    (tmp_path / "album" / ".hidden.png").write_text("x")
    (tmp_path / "album" / "notes.txt").write_text("x")
    return tmp_path / "album"


def test_folder_of_classes(album):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = images.folder(album, size=16)
    assert data.classes == ("blue", "red") and data.name == "album" and [len(p) for p in data] == [14, 2, 4]
    for part in data:
        y = open_labels(part, "a test")[0]
        assert (
            part.image.shape[1:] == (3, 16, 16)
            and (part.image.float().mean((2, 3)).argmax(1) == 2 - 2 * y).all()
        )


def test_folder_names_what_it_skips(album):
    (album / "red" / "text.png").write_text("no picture")
    (album / "red" / "cut.png").write_bytes((album / "red" / "0.png").read_bytes()[:60])
    Image.new("RGB", (400, 5)).save(album / "blue" / "thin.png")
    Image.new("1", (9000, 9000)).save(album / "blue" / "huge.png")  # 81 million pixels in 10 kB
    Image.new("1", (20000, 20000)).save(album / "blue" / "bomb.png")
    Image.new("RGB", (40, 40)).save(album / "loose.png")
    with pytest.warns(UserWarning) as caught:
        data = images.folder(album, size=16)
    (text,) = [str(w.message) for w in caught]
    assert "skipped 6 files" in text and sum(len(part) for part in data) == 20
    for reason in (
        "text.png (unreadable",
        "cut.png (unreadable",
        "thin.png (400 x 5 pixels, smaller than 8)",
        "huge.png (9000 x 9000 pixels, more than 64 million)",
        "bomb.png (more than 64 million pixels)",
        "loose.png (beside the class folders)",
    ):
        assert reason in text


def test_flat_folder_and_its_mistakes(album, tmp_path):
    data = images.folder(album / "red", size=8)
    assert not data.train.labelled and sum(len(part) for part in data) == 10
    with pytest.raises(CourseError, match="it is a file, pass its folder"):
        images.folder(album / "notes.txt")
    with pytest.raises(CourseError, match="there is no folder"):
        images.folder(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CourseError, match="no image in"):
        images.folder(tmp_path / "empty")
    (tmp_path / "empty" / "x.png").write_text("x")
    with pytest.raises(CourseError, match="none of the 1 images"), pytest.warns(UserWarning):
        images.folder(tmp_path / "empty")
    (album / "red").rename(album / "train")
    (album / "blue").rename(album / "test")
    with pytest.raises(CourseError, match="are splits and no classes"):
        images.folder(album)


def test_images_are_read_as_people_see_them(tmp_path):
    read = lambda name: images._read_image(tmp_path / name, 8, 4)
    half = np.zeros((16, 16, 3), np.uint8)
    half[:8] = 255  # white above black
    sideways = Image.fromarray(half)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me a quarter clockwise"
    sideways.save(tmp_path / "turned.png", exif=exif)
    turned = read("turned.png")
    assert turned[:, 7].min() > 250 and turned[:, 0].max() < 5
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read("clear.png").min() == 255
    Image.fromarray(np.full((16, 16), 257 * 100, np.uint16)).save(tmp_path / "deep.png")
    assert (read("deep.png") == 100).all()
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert (read("wide.png")[:, 2:6] == 200).all() and read("wide.png").min() > 150  # the central square
