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
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from torch import Tensor, nn

from sslcourse.runtime import pages
from sslcourse.runtime.device import Profile
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.files import atomic, set_aside
from sslcourse.runtime.options import WHOLE, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train import identity as identities

FORMAT = 1


class Page(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON beside the tensors."""

    format: Literal[1]
    method: pages.Name
    recipe: dict[str, Any] | None
    profile: pages.ProfilePage | None
    history: list[dict[str, int | float]]
    step: pages.Whole
    optimizers: dict[str, list[dict[str, Any]]]
    about: dict[str, Any]
    versions: pages.Versions
    written: pages.Name
    sha256: pages.Sha256
    identity: dict[str, Any] | None = None  # since 0.1; files of before have none
    sealed: pages.Sha256 | None = None


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


@explained
@takes(step=WHOLE)
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

    method = unwrapped(method)
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
    page = pages.sealed(page)
    with atomic(path) as temporary:
        # Not `save_file`: it writes to a file of its own first, which a kill would leave under a name that
        # nobody could tell for ours.
        temporary.write_bytes(packed_file(tensors, metadata={"sslcourse": json.dumps(page)}))
    return Path(path)


def read(path: str | os.PathLike, method: nn.Module | None = None) -> State:
    """Read a checkpoint and verify its checksum.

    Args:
        method: whose weights it must hold; what does not fit is refused before it is read.

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
            page = pages.parsed((file.metadata() or {})["sslcourse"], dict[str, Any])
            if type(pages.unchanged(page).get("format")) is int and page["format"] != FORMAT:
                raise _other_format(path, page)
            pages.fitting(page, Page)
            names = file.keys()  # it is no dict: it has to be asked for them
            if method is not None:
                _compare({k: tuple(file.get_slice(k).get_shape()) for k in names}, page["method"], method)
            tensors = {k: file.get_tensor(k) for k in names}
    # KeyError: it has no page. RuntimeError: a type of numbers that this torch lacks.
    except (SafetensorError, KeyError, pages.Unfit, OSError, RuntimeError) as error:
        raise Damaged(
            f"{str(path)!r} is not a whole checkpoint of this course ({error}); delete it and train again"
        ) from error
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


def _other_format(path: Path, page: dict) -> CourseError:
    versions = page.get("versions")
    by = versions.get("sslcourse") if isinstance(versions, dict) else None
    return CourseError(
        f"{str(path)!r} has format {page['format']}, this version reads {FORMAT}; train again"
        + (f", or install sslcourse {by}" if isinstance(by, str) else "")
    )


def shapes_of(state: State) -> dict[str, tuple[int, ...]]:
    """Of the method's weights and buffers in a checkpoint, by name."""
    return {
        name.removeprefix("method/"): tuple(value.shape)
        for name, value in state.tensors.items()
        if name.startswith("method/")
    }


def resume(path: str | os.PathLike, recipe, identity: dict[str, Any] | None = None) -> State | None:
    """The state to go on from, or None where there is none.

    A damaged file is named, kept as `*.damaged`, and training starts anew; so it does where no step was taken
    yet. A checkpoint of another training (recipe, method, arguments, data) is an error that says what
    differs.
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
            f"{str(path)!r} does not say which data it was trained on (an earlier version wrote it); "
            f"going on",
            file=sys.stderr,
        )
    elif identity and state.identity and (remark := identities.derived(state.identity, identity)):
        print(f"{str(path)!r}: {remark}; going on", file=sys.stderr)
    if state.profile and usable(state.profile) is None:
        print(
            f"{str(path)!r} was made on {state.profile.device}, which is not used here; going on without "
            f"it, so "
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
    return usable(state.profile) if state else None


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
                i, _, slot = key.removeprefix(prefix).partition("/")
                if not i.isdecimal() or not slot:
                    raise CourseError(f"the checkpoint of {state.method} holds {key!r}, which is no state")
                slots.setdefault(int(i), {})[slot] = value
        groups = state.optimizer_settings.get(name)
        if groups is None or not _belongs(slots, groups, optimizer):
            raise CourseError(
                f"the checkpoint of {state.method} holds no state of this optimizer {name!r}; delete it and "
                "train again"
            )
        optimizer.load_state_dict({"state": slots, "param_groups": groups})


def _belongs(
    slots: dict[int, dict[str, Tensor]], groups: list[dict], optimizer: torch.optim.Optimizer
) -> bool:
    """Whether a stored state is one of this optimizer: the same settings of the same kinds, and for each
    parameter numbers of its shape.
    """
    own = optimizer.state_dict()["param_groups"]
    kinds = lambda group: {key: type(value) for key, value in group.items()}
    as_stored = [json.loads(json.dumps(group)) for group in own]  # tuples have become lists
    if [(kinds(g), g["params"]) for g in as_stored] != [(kinds(g), g.get("params")) for g in groups]:
        return False
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return all(
        i < len(parameters) and all(v.ndim == 0 or v.shape == parameters[i].shape for v in values.values())
        for i, values in slots.items()
    )


def unwrapped(method: nn.Module) -> nn.Module:
    """The method inside what PyTorch wraps around it: `torch.compile`, `DataParallel`,
    `DistributedDataParallel`.
    """
    while True:
        inside = getattr(method, "_orig_mod", None)
        if inside is None and isinstance(method, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inside = method.module
        if not isinstance(inside, nn.Module):
            return method
        method = inside


def _plain_names(names: Iterable[str]) -> dict[str, str]:
    """Each name without what wrapping adds to it (`module.` in front, `_orig_mod.` anywhere) -> the name."""
    plain = {}
    for name in names:
        parts = [part for part in name.split(".") if part != "_orig_mod"]
        while len(parts) > 1 and parts[0] == "module":
            parts.pop(0)
        plain[".".join(parts)] = name
    return plain


def _named_as_in(method: nn.Module, weights: dict[str, Any]) -> dict[str, Any]:
    """The weights under the method's own names, where one of the two was wrapped, as a whole or in part, when
    its names were written.
    """
    own = method.state_dict()
    if set(own) == set(weights):
        return weights
    theirs, ours = _plain_names(weights), _plain_names(own)
    return {ours[name]: weights[theirs[name]] for name in ours} if set(theirs) == set(ours) else weights


def load_weights(state: State, method: nn.Module) -> nn.Module:
    """Only the method's weights and buffers, with an error that names what does not fit.

    Either may be wrapped (`unwrapped`): the names of its weights then begin with `module.`, or hold
    `_orig_mod.`
    """
    _compare({name: tuple(value.shape) for name, value in state.tensors.items()}, state.method, method)
    method = unwrapped(method)
    weights = {k.removeprefix("method/"): v for k, v in state.tensors.items() if k.startswith("method/")}
    weights = _named_as_in(method, {**unsaid(method, weights), **weights})
    method.load_state_dict(weights)
    return method


def unsaid(method: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """What a checkpoint with tensors of these names leaves unsaid, because its method had no such buffer yet:
    a module that has got one since then says in `before` what older files mean.
    """
    known = _plain_names(names)
    return {
        f"{name}.{key}": value
        for name, module in unwrapped(method).named_modules()
        for key, value in getattr(module, "before", {}).items()
        if next(iter(_plain_names([f"{name}.{key}"]))) not in known
    }


def _compare(shapes: dict[str, tuple[int, ...]], name: str, method: nn.Module) -> None:
    """CourseError where the shapes of a checkpoint's tensors are not those of a method's weights."""
    method = unwrapped(method)
    weights = {k.removeprefix("method/"): shape for k, shape in shapes.items() if k.startswith("method/")}
    older = {k: tuple(value.shape) for k, value in unsaid(method, weights).items()}
    weights = _named_as_in(method, {**older, **weights})
    own = {k: tuple(value.shape) for k, value in method.state_dict().items()}
    if wrong := sorted(set(own) ^ set(weights)) or [k for k in own if own[k] != weights[k]]:
        raise CourseError(
            f"the checkpoint of {name} does not fit this {type(method).__name__}: {wrong[0]!r} and "
            f"{len(wrong) - 1} more differ. Build it with the same encoder and sizes as when it was trained; "
            "if the method itself has changed since then, train it again: sslcourse train "
            f"{getattr(method, 'about', {}).get('method', 'METHOD')}"
        )


def load(path: str | os.PathLike, method: nn.Module) -> list[dict[str, float]]:
    """Put a checkpoint's weights into `method`, leave it in eval mode, and return the history of its
    training.
    """
    state = read(path, method)
    load_weights(state, method).eval()
    return state.history
