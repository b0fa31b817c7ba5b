"""Networks that come with the course, trained by the FULL recipes: what a lesson's half a minute leads to.

    networks.names()                    which there are
    network = networks.load("simclr")   the method, ready to encode; how it was made; what it scored
    network.replay                      its map before and after, or while it trained

Each is three files of `sslcourse/results/trained`: NAME.safetensors, a checkpoint whose weights are rounded
to bfloat16; NAME.json, the page that says how it was made; NAME.replay.npz. `make networks` makes them
again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import torch

from sslcourse import runtime
from sslcourse.data.download import checksum
from sslcourse.methods import catalogue
from sslcourse.methods.base import Method
from sslcourse.runtime import pages
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.pages import Counted, Name, Share
from sslcourse.train import checkpoints
from sslcourse.widgets.replay import Replay

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path(__file__).parent / "trained"
MOST_BYTES = 12_000_000  # of all files together: a student downloads them with the course
# Parts that only training needs. They are not kept, and a loaded network has random ones in their place.
LEFT_OUT = {
    "bigan": ("d",),
    "jigsaw": ("heads", "context"),
    "byol": ("target",),
    "moco": ("key", "queue"),
    "video_lstm": ("forward_decoder", "backward_decoder"),
}


class Page(msgspec.Struct, forbid_unknown_fields=True):
    """What stands in NAME.json."""

    format: Literal[1]
    name: Name
    title: Name
    command: Name  # what made it
    recipe: dict[str, Any]
    encoder: Name
    data: dict[str, Any]  # name, samples and digest of what it was trained on
    seconds: float  # of the training, on this device
    device: Name
    versions: pages.Versions
    judged_on: Name  # the data of the scores below
    validation: dict[Name, Share]
    test: dict[Name, Share]
    protocol: Name  # of the test scores
    left_out: list[Name]
    replay: Literal["recorded", "before and after"]
    bytes: Counted
    sha256: pages.Sha256  # of NAME.safetensors
    sealed: pages.Sha256 | None = None


@dataclass(frozen=True)
class Network:
    """A trained network that came with the course.

    method: in float32 and eval mode; whatever judges a method judges it.
    page: how it was made: "command", "recipe", "data", "seconds", "device", "versions"; its scores,
        "validation" and "test", from 0 to 1; "left_out", the parts that only training needs, which were not
        kept.
    history: a row of numbers for each epoch of its training.
    """

    name: str
    method: Method
    page: dict[str, Any]
    history: list[dict[str, float]]
    folder: Path = field(default=FOLDER, repr=False)

    @property
    def replay(self) -> Replay:
        """A map of 500 validation samples: of every epoch where the training was recorded ("replay" of the
        page), else before the first epoch and after the last.
        """
        file = self.folder / f"{self.name}.replay.npz"
        if not file.is_file():
            raise CourseError(f"{str(file)!r} is missing: {_again(self.name)}")
        return Replay.load(file)

    def __repr__(self) -> str:
        page, recipe = self.page, self.page["recipe"]
        scores = "; ".join(
            f"{split}: " + ", ".join(f"{name} {value:.3f}" for name, value in page[split].items())
            for split in ("validation", "test")
            if page[split]
        )
        gone = f"\n  not kept, only training needs it: {', '.join(page['left_out'])}" * bool(page["left_out"])
        return (
            f"{page['title']}, trained by: {page['command']}\n"
            f"  {recipe['epochs']} epochs, batches of {recipe['batch_size']}, seed {recipe['seed']}, "
            f"{page['data']['samples']:,} samples of {page['data']['name']}\n"
            f"  {page['seconds']:.0f} s on {page['device']}\n"
            f"  {scores}{gone}"
        )


def names(folder: Path = FOLDER) -> tuple[str, ...]:
    """Of the networks that come with the course, in the order of the lessons."""
    return tuple(name for name in catalogue.NAMES if (folder / f"{name}.safetensors").is_file())


def load(name: str, *, folder: Path = FOLDER) -> Network:
    """A trained network of the course.

    Args:
        name: one of `names()`, such as "simclr".
        folder: where its three files are.

    Raises:
        CourseError: there is no such network, or its files are damaged.
    """
    known = names(folder)
    if name not in known:
        near = name.lower().replace("-", "_") if isinstance(name, str) else ""
        raise CourseError(
            f"no trained network {name!r} comes with the course; "
            + (
                f"write networks.load({near if near in known else known[0]!r}): there are {', '.join(known)}"
                if known
                else f"there is none in {str(folder)!r}: {_again('them')}"
            )
        )
    page = _page(folder / f"{name}.json", name)
    file = folder / f"{name}.safetensors"
    if checksum(file) != page["sha256"]:
        raise CourseError(
            f"the trained network {str(file)!r} is not what was written (its digest differs): {_again(name)}"
        )
    try:
        state = checkpoints.read(file)
        with torch.random.fork_rng(devices=[]):  # nobody's own numbers change by loading one
            torch.manual_seed(0)
            method = catalogue.build(state.about)
        for key, value in method.state_dict().items():
            if key.split(".")[0] in page["left_out"]:
                state.tensors.setdefault(f"method/{key}", value)
        checkpoints.load_weights(state, method).float().eval()
    except CourseError as error:
        raise CourseError(f"the trained network {name!r} cannot be read: {error}; {_again(name)}") from error
    return Network(name, method, page, state.history, folder)


def keep(
    method: Method,
    state: checkpoints.State,
    *,
    command: str,
    judged_on: str,
    validation: Mapping[str, float],
    test: Mapping[str, float],
    protocol: str,
    replay: Replay,
    recorded: bool,
    folder: Path = FOLDER,
) -> Path:
    """Write a trained network's three files. Its weights are rounded in place, and what `LEFT_OUT` names is
    taken from it.

    Args:
        method: with the weights of `state`, the checkpoint of its training.
        validation, test: its scores, from 0 to 1.
        recorded: whether the replay shows every epoch.
    """
    from sslcourse.train.recipe import Recipe

    assert state.recipe is not None and state.identity is not None and state.profile is not None
    name = method.about["method"]
    left_out = LEFT_OUT.get(name, ())
    for part in left_out:
        delattr(method, part)
    rounded(method)
    file = folder / f"{name}.safetensors"
    checkpoints.save(
        file,
        method,
        Recipe(**state.recipe),
        history=state.history,
        step=state.step,
        profile=state.profile,
        identity=state.identity,
    )
    page = {
        "format": 1,
        "name": name,
        "title": catalogue.spec(name).title,
        "command": command,
        "recipe": state.recipe,
        "encoder": method.about["encoder"],
        "data": state.identity["data"],
        "seconds": round(sum(row["seconds"] for row in state.history), 1),
        "device": str(state.profile),
        "versions": state.versions,
        "judged_on": judged_on,
        "validation": {key: round(value, 4) for key, value in validation.items()},
        "test": {key: round(value, 4) for key, value in test.items()},
        "protocol": protocol,
        "left_out": list(left_out),
        "replay": "recorded" if recorded else "before and after",
        "bytes": file.stat().st_size,
        "sha256": checksum(file),
    }
    pages.fitting(page, Page)
    with runtime.atomic(folder / f"{name}.json") as temporary:
        text = json.dumps(pages.sealed(page), indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8", newline="\n")
    replay.save(folder / f"{name}.replay.npz")
    return file


def rounded(method: Method) -> Method:
    """The method with its weights in bfloat16, in place. What has one axis (biases, batch statistics) stays
    as it is: it is small, and a probe feels it.
    """
    with torch.no_grad():
        for value in _tensors(method):
            if value.ndim > 1 and value.is_floating_point():
                value.data = value.data.to(torch.bfloat16)
    return method


def _tensors(method: Method) -> Iterable[Tensor]:
    yield from method.parameters()
    yield from method.buffers()


def _page(file: Path, name: str) -> dict[str, Any]:
    try:
        page = pages.unchanged(pages.read(file, dict[str, Any]))
        pages.fitting(page, Page)
        if page["name"] != name:
            raise pages.Unfit(f"it is the page of {page['name']}")
    except pages.Unfit as error:
        raise CourseError(
            f"{str(file)!r} does not say how {name} was made ({error}): {_again(name)}"
        ) from None
    return page


def _again(name: str) -> str:
    what = name if name in catalogue.NAMES else "simclr"
    return (
        "install the course again, or train one: "
        f"sslcourse train {what} --recipe full --checkpoint {what}.safetensors"
    )
