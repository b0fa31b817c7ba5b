"""Checkpoints: one file of plain tensors with a page of JSON, written atomically, loaded without running any
code.

The format is safetensors, whose header carries the JSON: recipe, device profile, versions, history and a
checksum of all tensors. Nothing is pickled, so a file from a stranger can at worst be refused."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslcourse.runtime.device import Profile
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.files import atomic, set_aside
from sslcourse.train import identity as identities

FORMAT = 1


@dataclass
class State:
    """What a checkpoint holds."""

    tensors: dict[str, Tensor]
    recipe: dict[str, Any] | None
    profile: Profile | None
    history: list[dict[str, float]]
    step: int
    totals: dict[str, Tensor]
    method: str
    optimizer_settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] | None = (
        None  # see `sslcourse.train.identity`; None in files of earlier versions
    )


class Damaged(CourseError):
    """The file is no whole checkpoint."""


def versions() -> dict[str, str]:
    """Of everything that a number can depend on."""
    from sslcourse import __version__

    return {
        "sslcourse": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def _checksum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}:{tensors[name].dtype}:{tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save(
    path: str | os.PathLike,
    method: nn.Module,
    recipe=None,
    *,
    optimizers=None,
    history=(),
    step: int = 0,
    totals: dict[str, Tensor] | None = None,
    profile: Profile | None = None,
    identity: dict[str, Any] | None = None,
) -> Path:
    """Write the method's weights and buffers and, if given, all that resuming needs. Returns the path.

    The file appears under its name only when it is complete, also if the process is killed in between. A
    plain dict `method.about` (what it takes to build it again) is written too and read back as `State.about`.
    """
    from safetensors.torch import save as packed_file

    tensors = {f"method/{k}": v for k, v in method.state_dict().items()}
    settings: dict[str, Any] = {}
    for name, optimizer in (optimizers or {}).items():
        packed = optimizer.state_dict()
        settings[name] = packed["param_groups"]
        for i, slots in packed["state"].items():
            for slot, value in slots.items():
                tensors[f"optimizer/{name}/{i}/{slot}"] = torch.as_tensor(value)
    for name, value in (totals or {}).items():
        tensors[f"totals/{name}"] = torch.as_tensor(value)
    # A copy of its own for each: safetensors refuses tensors that share memory.
    tensors = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    page = {
        "format": FORMAT,
        "method": type(method).__name__,
        "recipe": asdict(recipe) if recipe else None,
        "profile": asdict(profile) if profile else None,
        "history": list(history),
        "step": step,
        "optimizers": settings,
        "about": getattr(method, "about", {}),
        "identity": identity,
        "versions": versions(),
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "sha256": _checksum(tensors),
    }
    with atomic(path) as temporary:
        # Not `save_file`: it writes to a file of its own first, which a kill would leave under a name that nobody
        # could tell for ours.
        temporary.write_bytes(packed_file(tensors, metadata={"sslcourse": json.dumps(page)}))
    return Path(path)


def read(path: str | os.PathLike) -> State:
    """Read a checkpoint and verify its checksum.

    Raises:
        CourseError: no such file; or `Damaged`, when it is cut short, altered, or not a checkpoint of ours.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise CourseError(
            f"there is no checkpoint {str(path)!r}; train with checkpoint={str(path)!r} to make one"
        )
    try:
        with safe_open(path, framework="pt") as file:
            page = json.loads((file.metadata() or {})["sslcourse"])
            names = file.keys()  # it is no dict: it has to be asked for them
            tensors = {k: file.get_tensor(k) for k in names}
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise Damaged(
            f"{str(path)!r} is not a whole checkpoint of this course ({error}); delete it and train again"
        ) from error
    if page.get("format") != FORMAT:
        written_by = page.get("versions", {}).get("sslcourse")
        raise CourseError(
            f"{str(path)!r} has format {page.get('format')}, this version reads {FORMAT}; train again, or "
            f"install sslcourse {written_by}"
        )
    if _checksum(tensors) != page["sha256"]:
        raise Damaged(
            f"the numbers in {str(path)!r} are not those that were written (checksum differs); delete it "
            "and train again"
        )
    totals = {k.removeprefix("totals/"): v for k, v in tensors.items() if k.startswith("totals/")}
    profile = Profile(**page["profile"]) if page["profile"] else None
    return State(
        tensors,
        page["recipe"],
        profile,
        page["history"],
        page["step"],
        totals,
        page["method"],
        page["optimizers"],
        page["versions"],
        page["about"],
        page.get("identity"),
    )


def resume(path: str | os.PathLike, recipe, identity: dict[str, Any] | None = None) -> State | None:
    """The state to go on from, or None where there is none.

    A damaged file is named, kept as `*.damaged`, and training starts anew; so it does where no step was taken
    yet. A checkpoint of another training (recipe, method, arguments, data) is an error that says what differs.
    """
    if not Path(path).exists():
        return None
    try:
        state = read(path)
    except Damaged as error:
        aside = set_aside(path, "damaged")
        print(f"{error}\nIt was set aside as {aside}; training starts from the beginning.", file=sys.stderr)
        return None
    differing = _differing(state, recipe, identity)
    if differing:
        if state.recipe is not None and not state.step and not state.history:
            return None  # begun and left: there is no work in it that could be lost
        raise CourseError(
            f"{str(path)!r} was made by another training ({'; '.join(differing)}). "
            "Name another file (--checkpoint FILE), or delete this one to train anew in its place."
        )
    if identity is not None and state.identity is None:
        print(
            f"{str(path)!r} does not say which data it was trained on (an earlier version wrote it); going on",
            file=sys.stderr,
        )
    elif identity and state.identity and (remark := identities.derived(state.identity, identity)):
        print(f"{str(path)!r}: {remark}; going on", file=sys.stderr)
    if state.profile and usable(state.profile) is None:
        print(
            f"{str(path)!r} was made on {state.profile.device}, which is not used here; going on without it, so "
            "the last digits differ",
            file=sys.stderr,
        )
        state.profile = None
    return state


def _differing(state: State, recipe, identity: dict[str, Any] | None) -> list[str]:
    """In words, what a checkpoint and what is wanted now do not have in common."""
    wanted = asdict(recipe)
    found = [
        f"{k} {v!r} there, {wanted.get(k)!r} here"
        for k, v in (state.recipe or {}).items()
        if wanted.get(k) != v
    ]
    if state.recipe is None:
        found.append("no recipe is recorded there")
    if identity is None:
        return found
    if state.identity is not None:
        return found + identities.differences(state.identity, identity)
    if state.method not in (identity["method"], identity["class"]):
        found.append(f"method {state.method} there, {identity['class']} here")
    return found


def usable(profile: Profile | None) -> Profile | None:
    """The same, or None where its device is not the one of this machine (a CPU is everywhere)."""
    if profile is None or profile.device == "cpu":
        return profile
    from sslcourse.runtime.device import best_device

    return profile if best_device() == profile.device else None


def _begun(path: str | os.PathLike) -> State | None:
    try:
        return read(path) if Path(path).is_file() else None
    except CourseError:  # whoever resumes from it says so
        return None


def profile_of(path: str | os.PathLike) -> Profile | None:
    """What the training in this file computes on; None where there is none, or its device is not here."""
    state = _begun(path)
    return state and usable(state.profile)


def epochs_done(path: str | os.PathLike) -> int:
    """How many whole epochs a training would take over from this file."""
    state = _begun(path)
    return len(state.history) if state else 0


def restore(state: State, method: nn.Module, optimizers: dict[str, torch.optim.Optimizer]) -> None:
    """Put weights, buffers and optimizer states back."""
    load_weights(state, method)
    for name, optimizer in optimizers.items():
        slots: dict[int, dict[str, Tensor]] = {}
        prefix = f"optimizer/{name}/"
        for key, value in state.tensors.items():
            if key.startswith(prefix):
                i, slot = key.removeprefix(prefix).split("/", 1)
                slots.setdefault(int(i), {})[slot] = value
        optimizer.load_state_dict({"state": slots, "param_groups": state.optimizer_settings[name]})


def load_weights(state: State, method: nn.Module) -> nn.Module:
    """Only the method's weights and buffers, with an error that names what does not fit."""
    weights = {k.removeprefix("method/"): v for k, v in state.tensors.items() if k.startswith("method/")}
    own = method.state_dict()
    wrong = sorted(set(own) ^ set(weights)) or [k for k in own if own[k].shape != weights[k].shape]
    if wrong:
        raise CourseError(
            f"the checkpoint of {state.method} does not fit this {type(method).__name__}: {wrong[0]!r} and "
            f"{len(wrong) - 1} more differ. Build it with the same encoder and sizes as when it was trained."
        )
    method.load_state_dict(weights)
    return method


def load(path: str | os.PathLike, method: nn.Module) -> list[dict[str, float]]:
    """Put a checkpoint's weights into `method`, leave it in eval mode, and return the history of its
    training.
    """
    state = read(path)
    load_weights(state, method).eval()
    return state.history
