"""The trained networks that come with the course: whole, small, and worth what their pages say."""

import json
import shutil
from pathlib import Path

import make_networks
import numpy as np
import pytest
import torch

from sslcourse import evaluate, networks, runtime
from sslcourse.data.load import load
from sslcourse.methods import catalogue
from sslcourse.results import compare, stored
from sslcourse.runtime.errors import CourseError

NAMES = networks.names()
by_name = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def copy(tmp_path):
    """A folder of its own with SimCLR's three files."""
    for file in networks.FOLDER.glob("simclr.*"):
        shutil.copy(file, tmp_path)
    return tmp_path


def test_the_methods_for_pictures_have_one():
    pictures = {name for name in catalogue.NAMES if catalogue.spec(name).data == "toybox"}
    assert pictures <= set(NAMES) <= set(make_networks.known())
    assert list(NAMES) == [name for name in catalogue.NAMES if name in NAMES]


def test_together_they_are_small():
    files = [file for file in networks.FOLDER.iterdir() if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= networks.MOST_BYTES
    assert {file.name for file in files} == {
        f"{name}{end}" for name in NAMES for end in (".safetensors", ".json", ".replay.npz")
    }


@by_name
def test_it_encodes_in_float32(name):
    network = networks.load(name)
    assert {p.dtype for p in network.method.parameters()} == {torch.float32} and not network.method.training
    assert torch.bfloat16 not in {b.dtype for b in network.method.buffers()}
    assert len(network.history) == network.page["recipe"]["epochs"]
    # A bfloat16 number has sixteen zeros at its end.
    weights = network.method.f.parameters()
    bits = next(p for p in weights if p.ndim > 1).detach().contiguous().view(torch.int32)
    assert bits.any() and not (bits & 0xFFFF).any()


@by_name
def test_its_page_says_how_it_was_made(name):
    network = networks.load(name)
    page, spec = network.page, catalogue.spec(name)
    recipe = spec.recipe("full")
    made = {
        key: page["recipe"][key] for key in ("epochs", "batch_size", "lr", "optimizer", "schedule", "seed")
    }
    assert made == {key: getattr(recipe, key) for key in made} and made["seed"] == 0
    assert page["encoder"] == spec.encoder("full") and page["data"]["digest"] and page["seconds"] > 10
    assert page["device"].startswith("cpu") and page["versions"]["torch"] and name in page["command"]
    assert {"kNN", "linear"} <= set(page["validation"]) and {"kNN", "linear", "few labels"} <= set(
        page["test"]
    )
    assert all(name in repr(network) for name in (page["command"], "validation", "test"))
    # Weights that are not kept are random: what encodes is never among them.
    assert page["left_out"] == list(networks.LEFT_OUT.get(name, ())) and "f" not in page["left_out"]


@by_name
def test_its_test_scores_are_those_of_the_wall(name):
    world = make_networks.WORLD_OF[catalogue.spec(name).data]
    file = compare.MEASURED / f"{world}-full.json"
    if not file.exists():
        pytest.skip("the wall has no FULL rows yet")
    row = stored.opened(file, stored.World, "")["rows"][catalogue.spec(name).title]
    for key, value in networks.load(name).page["test"].items():
        assert value == pytest.approx(row[key][0], abs=1e-4), key


@by_name
def test_its_replay_is_that_of_its_network(name):
    network = networks.load(name)
    frames = network.replay.frames()
    assert frames[-1]["row"]["epoch"] == network.page["recipe"]["epochs"] and len(frames) >= 2
    assert all(frame["xy"].shape == (500, 2) and np.isfinite(frame["xy"]).all() for frame in frames)
    assert frames[-1]["row"]["kNN"] > frames[0]["row"]["kNN"]
    assert (network.page["replay"] == "recorded") == (len(frames) > 2)


@pytest.mark.slow
@by_name
def test_it_scores_what_its_page_says(name):
    """Exactly, up to one sample in a hundred: processors round the last digits otherwise."""
    network = networks.load(name)
    with runtime.computing_on(make_networks.JUDGED):
        found = evaluate.probe(network.method, load(network.page["judged_on"]))
    for key, value in network.page["validation"].items():
        assert found[key] == pytest.approx(value, abs=0.01), key
        # Rounding to bfloat16 costs nothing that the test split would notice.
        assert found[key] == pytest.approx(network.page["test"][key], abs=0.06), key


@pytest.mark.slow
def test_it_is_worth_more_than_a_random_one():
    """A few hundred samples show it, and that the weights are those of its method."""
    network, data = networks.load("simclr"), load("toybox")
    untrained = evaluate.random_like(network.method, data.train.take(slice(0, 256)))
    score = lambda method: evaluate.probe(method, data, linear=False, limit=300)["kNN"]
    assert score(network.method) > score(untrained) + 0.4


def test_loading_leaves_the_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    networks.load("bigan")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "name, says", [("SimCLR", "networks.load('simclr')"), ("dino", "simclr"), (3, "simclr")]
)
def test_an_unknown_name_is_told_which_there_are(name, says):
    with pytest.raises(CourseError, match="no trained network") as error:
        networks.load(name)
    assert says in str(error.value) and all(known in str(error.value) for known in NAMES)


def test_an_empty_folder_says_what_to_type(tmp_path):
    with pytest.raises(CourseError, match="sslcourse train simclr --recipe full"):
        networks.load("simclr", folder=tmp_path)


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def changed_score(folder: Path) -> None:
    page = json.loads((folder / "simclr.json").read_text())
    page["test"]["linear"] = 0.999
    (folder / "simclr.json").write_text(json.dumps(page))


DAMAGES = {
    "a weight": lambda folder: flip(folder / "simclr.safetensors", -1),
    "the header": lambda folder: flip(folder / "simclr.safetensors", 40),
    "cut short": lambda folder: (folder / "simclr.safetensors").write_bytes(b"1234"),
    "another's file": lambda folder: shutil.copy(
        networks.FOLDER / "moco.safetensors", folder / "simclr.safetensors"
    ),
    "another's page": lambda folder: shutil.copy(networks.FOLDER / "moco.json", folder / "simclr.json"),
    "a score": changed_score,
    "no page": lambda folder: (folder / "simclr.json").unlink(),
    "half a page": lambda folder: (folder / "simclr.json").write_text("{"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_network_is_refused(copy, damage):
    assert networks.load("simclr", folder=copy).name == "simclr"
    DAMAGES[damage](copy)
    with pytest.raises(CourseError, match="install the course again.*sslcourse train simclr --recipe full"):
        networks.load("simclr", folder=copy)


def test_a_missing_replay_is_told(copy):
    network = networks.load("simclr", folder=copy)
    (copy / "simclr.replay.npz").unlink()
    with pytest.raises(CourseError, match="install the course again"):
        _ = network.replay
