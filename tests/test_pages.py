"""Pages that are read back: damaged, of another version, or a stranger's. What is wrong is said.

Truths: a flip of any byte is found out or changes nothing; every key of a page takes values of other kinds.
"""

import copy
import hashlib
import json
import random
import struct

import numpy as np
import pytest
import torch
from torch import nn

from sslcourse import runtime
from sslcourse.data import clips, images
from sslcourse.data.clips import schema
from sslcourse.methods import catalogue
from sslcourse.results import claims, compare, stored, wall
from sslcourse.runtime import pages
from sslcourse.runtime.errors import CourseError
from sslcourse.train import Recipe, checkpoints

BAD = [None, True, -1, 2.5, "x", "", [], {}, [None], {"x": None}, float("nan"), 10**30, [[[]]], "\udc80"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A checkpoint with all that one has: recipe, history, optimizer state."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, betas=(0.9, 0.95))
    network(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    return checkpoints.save(
        tmp_path_factory.mktemp("pages") / "run.safetensors",
        network,
        Recipe(2, 4, 1e-3),
        optimizers={"all": optimizer},
        history=[{"epoch": 1, "loss": 0.5, "seconds": 1.25}],
        step=3,
        totals={"loss": torch.tensor(1.5, dtype=torch.float64)},
        profile=runtime.Profile(),
    )


def page_of(data: bytes) -> tuple[int, dict, dict]:
    """Length of the header, the header, and our page in it."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    return length, header, json.loads(header["__metadata__"]["sslcourse"])


def with_page(data: bytes, page: dict) -> bytes:
    """The checkpoint of a stranger, who seals what he writes."""
    length, header, _ = page_of(data)
    header["__metadata__"]["sslcourse"] = json.dumps(pages.sealed(page))
    new = json.dumps(header).encode()
    return struct.pack("<Q", len(new)) + new + data[8 + length :]


def network_again():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    return network, {"all": torch.optim.AdamW(network.parameters(), lr=1e-3, betas=(0.9, 0.95))}


def test_a_flip_of_a_byte_is_found_or_changes_nothing(written, tmp_path):
    whole, data = checkpoints.read(written), written.read_bytes()
    page, file, draw = page_of(data)[2], tmp_path / "flipped.safetensors", random.Random(0)
    for at in draw.sample(range(len(data)), 150):
        flipped = bytearray(data)
        flipped[at] ^= 1 << draw.randrange(8)
        file.write_bytes(flipped)
        try:
            state = checkpoints.read(file)
        except CourseError:
            continue
        assert page_of(bytes(flipped))[2] == page, at  # such as the 17th digit of a number
        assert all(torch.equal(state.tensors[k], v) for k, v in whole.tensors.items()), at


def test_a_checkpoint_of_before_is_read(written, tmp_path):
    """It has neither a seal nor an identity."""
    data = written.read_bytes()
    length, header, page = page_of(data)
    del page["sealed"], page["identity"]
    header["__metadata__"]["sslcourse"] = json.dumps(page)
    new = json.dumps(header).encode()
    old = tmp_path / "old.safetensors"
    old.write_bytes(struct.pack("<Q", len(new)) + new + data[8 + length :])
    assert checkpoints.read(old).history == checkpoints.read(written).history


@pytest.mark.parametrize("key", list(checkpoints.Page.__struct_fields__))
def test_every_key_of_a_checkpoint_of_another_kind(key, written, tmp_path):
    """Read, resumed and restored: a CourseError, or a state that can be used."""
    data = written.read_bytes()
    page, file = page_of(data)[2], tmp_path / "stranger.safetensors"
    for bad in [*BAD, "missing"]:
        changed = {k: v for k, v in page.items() if k != key}
        file.write_bytes(with_page(data, changed if bad == "missing" else {**changed, key: bad}))
        network, optimizers = network_again()
        try:
            state = checkpoints.read(file)
            checkpoints.restore(state, network, optimizers)
            network(torch.randn(5, 3)).sum().backward()
            for optimizer in optimizers.values():
                optimizer.step()
            checkpoints.resume(file, Recipe(2, 4, 1e-3))
        except CourseError:
            continue
        assert isinstance(state.step, int) and state.step >= 0


def test_optimizer_states_that_do_not_belong(written, tmp_path):
    data, file = written.read_bytes(), tmp_path / "stranger.safetensors"
    page = page_of(data)[2]
    for change in (
        lambda g: g[0].update(lr="fast"),
        lambda g: g[0].update(betas=[0.9]) or g[0].pop("eps"),
        lambda g: g[0].update(params=[0, 1, 2, 99]),
        lambda g: g.append({}),
        lambda g: g.clear(),
    ):
        changed = copy.deepcopy(page)
        change(changed["optimizers"]["all"])
        file.write_bytes(with_page(data, changed))
        with pytest.raises(CourseError, match="optimizer"):
            checkpoints.restore(checkpoints.read(file), *network_again())


def test_a_page_that_would_take_all_memory(written, tmp_path):
    data, file = written.read_bytes(), tmp_path / "stranger.safetensors"
    length, header, _ = page_of(data)
    for text in ("[" * 100_000, "1" * 5000, '{"a":' * 3000 + "1" + "}" * 3000, "\x00"):
        header["__metadata__"]["sslcourse"] = text
        new = json.dumps(header).encode()
        file.write_bytes(struct.pack("<Q", len(new)) + new + data[8 + length :])
        with pytest.raises(checkpoints.Damaged):
            checkpoints.read(file)


def test_sizes_are_compared_before_memory_is_taken():
    """A stranger's page asks for a network of gigabytes beside weights of kilobytes."""
    about = catalogue.describe("bigan", "toybox", 10)
    shapes = {name: tuple(v.shape) for name, v in catalogue.build(about).state_dict().items()}
    assert catalogue.build(about, shapes).about == about
    large = {**about, "settings": {**about["settings"], "width": 8192, "latent": 8192}}
    with pytest.raises(CourseError, match="the weights are not those"):
        catalogue.build(large, shapes)
    for key in about:
        for bad in [*BAD, "missing"]:
            changed = {k: v for k, v in about.items() if k != key} | ({} if bad == "missing" else {key: bad})
            try:
                catalogue.build(changed, shapes)
            except CourseError:
                continue
            assert key in ("data", "classes", "settings")  # BiGAN's own settings stand in its class, too


def test_weights_of_another_size_are_refused_from_the_header(written, monkeypatch):
    import safetensors

    monkeypatch.setattr(checkpoints, "_checksum", lambda tensors: pytest.fail("the numbers were read"))
    with pytest.raises(CourseError, match="does not fit"):
        checkpoints.load(written, nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5)))
    assert safetensors  # the header is theirs


# ---------------------------------------------------------------------------------------------- results


def places(page, path=()):
    """Every place in a page, by its keys."""
    yield path
    for key in page if isinstance(page, dict) else range(len(page)) if isinstance(page, list) else ():
        yield from places(page[key], (*path, key))


def replaced(page, path, bad):
    page = copy.deepcopy(page)
    if not path:
        return bad
    part = page
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = bad
    return page


ROW = {
    "kNN": [0.5, 0.6],
    "linear": [0.5, 0.6],
    "few labels": [0.4],
    "seconds": [1.0],
    "epochs": 2,
    "batch_size": 8,
}
WORLD = {
    "data": "toybox",
    "protocol": "kNN",
    "encoder": "small_cnn",
    "seeds": 2,
    "profile": "cpu",
    "versions": {"sslcourse": "0.1.0"},
    "rows": {"SimCLR": ROW, "chance": {"kNN": [0.1], "linear": [0.1]}},
    "factors": {"SimCLR": {"hue": [0.5, 0.25]}},
}


def test_every_place_of_a_file_of_results_of_another_kind(tmp_path):
    """What the wall does with it: a table, or a CourseError that says what to type."""
    file = tmp_path / "wall" / "toybox.json"
    stored.write(WORLD, file)
    read = wall.read(tmp_path)["toybox"]
    assert {key: value for key, value in read.items() if key != "full"} == WORLD  # beside it the course's own
    tried = 0
    for path in places(WORLD):
        for bad in BAD[::2]:
            changed = replaced(WORLD, path, bad)
            file.write_text(json.dumps(pages.sealed(changed) if path else changed))
            tried += 1
            try:
                found = stored.opened(file, stored.World, "again")
                (
                    compare.table(found),
                    compare.factor_rows(found),
                    wall.table("toybox", found),
                    wall.factors(found),
                )
            except CourseError as error:
                assert "\n" not in str(error)
    assert tried > 150


def test_a_changed_result_is_found_out(tmp_path):
    file = tmp_path / "wall" / "toybox.json"
    stored.write(WORLD, file)
    file.write_text(file.read_text().replace("0.5", "0.9", 1))
    with pytest.raises(CourseError, match="digest differs"):
        wall.read(tmp_path)


def judged(folder):
    page = wall._claims_page("simclr", folder)
    return claims.judge("simclr", {int(seed): runs for seed, runs in page["runs"].items()})


def test_claims_of_another_kind(tmp_path):
    good = json.loads((compare.MEASURED / "claims-simclr.json").read_text())
    file = tmp_path / "claims-simclr.json"
    for change in (
        {"runs": {"x": {}}},
        {"runs": {"0": {}}},
        {"runs": {"0": {"SimCLR": 3}}},
        {"runs": []},
        {"runs": {"-1": good["runs"]["0"]}},
        {"paper": 3},
        {"profile": {"device": "toaster"}},
        {"versions": []},
    ):
        file.write_text(json.dumps({**good, **change}))
        with pytest.raises(CourseError):
            judged(tmp_path)
    file.write_text(json.dumps(good))
    assert judged(tmp_path)


def test_all_results_that_come_with_the_course_fit_their_schema():
    for world in wall.WORLDS:
        stored.opened(compare.MEASURED / f"{world}.json", stored.World, "again")
    for file in compare.MEASURED.glob("claims-*.json"):
        stored.opened(file, stored.Claims, "again")


# ---------------------------------------------------------------------------------------------- prepared data


INDEX = {
    "format": clips.FORMAT,
    "name": "mine",
    "size": [8, 8],
    "fps": 8.0,
    "classes": ["a", "b"],
    "again": None,
    "shards": {"0": {"frames": 5, "sha256": "0" * 64}},
    "videos": {
        "name": ["x", "y"],
        "stamp": [1, 2],
        "shard": [0, 0],
        "start": [0, 2],
        "count": [2, 3],
        "class": [0, -1],
        "group": ["", ""],
        "split": {"": ["train", "test"]},
    },
    "left_out": [["z", "no frame", 3]],
}


def test_every_place_of_an_index_of_another_kind(tmp_path):
    """Sealed by a stranger: no index, or one whose parts fit together."""

    def sealed(index):
        text = json.dumps({k: v for k, v in index.items() if k != "checksum"}, sort_keys=True)
        return {**index, "checksum": hashlib.sha256(text.encode()).hexdigest()}

    file = tmp_path / "index.json"
    file.write_text(json.dumps(sealed(INDEX)))
    assert clips.read_index(tmp_path) == sealed(INDEX)
    for path in list(places(INDEX))[1:]:
        for bad in [*BAD[::3], 7, 2**60, ["x"]]:
            file.write_text(json.dumps(sealed(replaced(INDEX, path, bad))))
            index = clips.read_index(tmp_path)
            if index is not None:
                assert schema.checked(index) and len(set(map(len, index["videos"]["split"].values()))) <= 1
                ends = [s + c for s, c in zip(index["videos"]["start"], index["videos"]["count"])]
                assert all(type(end) is int and end <= 5 for end in ends), path


def test_meta_of_prepared_arrays(tmp_path):
    np.save(tmp_path / "image.npy", np.zeros((2, 3), np.uint8))
    good = {"name": "mine", "arrays": {"image": [2, 3]}, "checksums": {}, "classes": ["a"]}
    file = tmp_path / "meta.json"
    file.write_text(json.dumps(pages.sealed(good)))
    assert images.prepared(tmp_path) == good
    for change in (
        {"arrays": {"../image": [2, 3]}},
        {"arrays": {"image": [2, "3"]}},
        {"arrays": {"image": [2, 3, 4]}},
        {"arrays": ["image"]},
        {"arrays": {"image": [True, 3]}},
        {"classes": "ab"},
        {"classes": [1]},
        {"name": None},
    ):
        file.write_text(json.dumps(pages.sealed({**good, **change})))
        assert images.prepared(tmp_path) is None, change
    file.write_text(json.dumps(pages.sealed(good)).replace("mine", "yours"))
    assert images.prepared(tmp_path) is None


def test_optimizer_numbers_of_another_shape(written):
    """Sealed by a stranger: found when they are put back, not when the next step is taken."""
    for name, value in (
        ("0/exp_avg", torch.zeros(7)),
        ("99/exp_avg", torch.zeros(4, 3)),
        ("x", torch.zeros(1)),
    ):
        state = checkpoints.read(written)
        state.tensors[f"optimizer/all/{name}"] = value
        with pytest.raises(CourseError):
            checkpoints.restore(state, *network_again())
