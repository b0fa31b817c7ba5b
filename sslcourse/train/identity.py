"""What a training is: its method with all arguments, its recipe, and a digest of its data.

Work that is found on disk is gone on with, or used again, only where this is the same; else `differences`
says in words what is not. The initial weights are no part of it: they are in the file."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import math
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sslcourse.data.datasets import digest_of

DEPTH = 6  # of values inside values that are looked at
SHOWN = 60  # letters of a value in a message


def identity(method: nn.Module, dataset: Any) -> dict[str, Any]:
    """Plain values, as JSON gives them back: "method" (the class of the course), "class" (it, or what was
    derived from it), "arguments" (of its constructor), "weights" (digest of their names and shapes), "data"
    (name, number of samples, digest)."""
    kind = type(method)
    return _as_json(
        {
            "method": next((c for c in kind.__mro__ if c.__module__.startswith("sslcourse.")), kind).__name__,
            "class": kind.__name__,
            "arguments": _arguments(method),
            "weights": _short("".join(f"{k} {tuple(v.shape)};" for k, v in _shapes(method))),
            "data": data(dataset),
        }
    )


def data(dataset: Any) -> dict[str, Any]:
    """Name and number of the samples, and the digest of what a batch can carry; None for a data set of
    somebody else's class, which has no `digest`."""
    digest = getattr(dataset, "digest", None)
    return {
        "name": str(getattr(dataset, "name", type(dataset).__name__)),
        "samples": len(dataset),
        "digest": digest() if callable(digest) else None,
    }


def network(method: nn.Module) -> str:
    """Digest of all its weights and buffers: which of two trainings it came from."""
    states = sorted((k, v) for k, v in method.state_dict().items() if isinstance(v, Tensor))
    return digest_of(*(v for _, v in states))[:8]


def changed(known: Mapping[str, Any] | None, train: Any) -> bool:
    """Whether a training split is another one than that of an identity. False where nobody can tell."""
    found = (known or {}).get("data") or {}
    if not found.get("digest") or not callable(getattr(train, "digest", None)):
        return False
    if found["samples"] > len(train):
        return True
    # `--limit` trains on the first ones.
    part = train if found["samples"] == len(train) else train.take(slice(0, found["samples"]))
    return part.digest() != found["digest"]


def short(found: Mapping[str, Any]) -> str:
    """Eight digits that stand for an identity, in the name of a file. Names of data are no part of it: a
    folder may be moved."""
    page = {**found, "data": {k: v for k, v in found["data"].items() if k != "name"}}
    return _short(json.dumps(page, sort_keys=True))


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What differs between two identities, each in words; empty where they are the same.

    What one of them does not state is not compared: older checkpoints say less."""
    found = []
    if {there.get("method"), here.get("method")} - {None} and there.get("method") != here.get("method"):
        found.append(f"method {there.get('method')} there, {here.get('method')} here")
    arguments = there.get("arguments"), here.get("arguments")
    if not found and None not in arguments:
        found += unequal(*arguments)
    of_data = there.get("data") or {}, here.get("data") or {}
    digests = [d.get("digest") for d in of_data]
    if None not in digests and digests[0] != digests[1]:
        names = [f"{d.get('name')} ({d.get('samples'):,} samples)" for d in of_data]
        found.append(
            f"data {names[0]} there, {names[1]} here"
            if names[0] != names[1]
            else f"data {names[0]}, but not the same ones: they have changed since"
        )
    elif None in digests and all("samples" in d for d in of_data):
        counts = [d["samples"] for d in of_data]
        found += [] if counts[0] == counts[1] else [f"{counts[0]:,} samples there, {counts[1]:,} here"]
    if not found and None not in (there.get("weights"), here.get("weights")):
        found += [] if there["weights"] == here["weights"] else ["its weights have other names or shapes"]
    return found


def derived(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """A remark where both are made of one class of the course, but not by the same class."""
    kinds = there.get("class"), here.get("class")
    return None if None in kinds or kinds[0] == kinds[1] else f"a {kinds[0]} there, a {kinds[1]} here"


def unequal(there: Any, here: Any, name: str = "") -> list[str]:
    """Where two plain values differ: "temperature 0.2 there, 0.5 here"."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        return [
            line
            for key in dict.fromkeys([*there, *here])
            for line in unequal(there.get(key), here.get(key), f"{name}.{key}".strip("."))
        ]
    if there == here:
        return []
    return [f"{name} {_shown(there)} there, {_shown(here)} here"]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (list, Mapping)) else repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _shapes(method: nn.Module) -> list[tuple[str, Tensor]]:
    return [(k, v) for k, v in method.state_dict().items() if isinstance(v, Tensor)]


def _arguments(method: nn.Module) -> dict[str, Any] | None:
    """Name -> value of what the method was made with, defaults included; None where it does not know."""
    given = getattr(method, "made_with", None)
    if given is None:
        return None
    try:
        bound = inspect.signature(type(method).__init__).bind(method, *given[0], **given[1])
    except (TypeError, ValueError):
        return None
    bound.apply_defaults()
    return {name: plain(value) for name, value in list(bound.arguments.items())[1:]}


def plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON can hold it, the same in every process: functions by their name and what they enclose,
    tensors and networks by a digest."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, np.generic):
        return plain(value.item(), depth)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth >= DEPTH:
        return f"<{type(value).__name__}>"
    inside = functools.partial(plain, depth=depth + 1)
    if isinstance(value, (Tensor, np.ndarray)):
        x = torch.as_tensor(value).detach().cpu().contiguous()
        return f"tensor {tuple(x.shape)} {digest_of(x)[:8]}"
    if callable(getattr(value, "digest", None)) and hasattr(value, "__len__"):  # samples
        return f"{getattr(value, 'name', type(value).__name__)} ({len(value):,} samples) {value.digest()[:8]}"
    if isinstance(value, nn.Module):
        shapes = "".join(f"{k} {tuple(v.shape)};" for k, v in _shapes(value))
        return f"{type(value).__name__} {_short(f'{value!r} {shapes}')}"
    if isinstance(value, Mapping):
        return {str(k): inside(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [inside(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted((inside(v) for v in value), key=repr)
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, functools.partial):
        return {"of": inside(value.func), "given": inside(value.args), **inside(value.keywords)}
    if isinstance(value, types.MethodType):
        return {"of": inside(value.__func__), "self": inside(value.__self__)}
    if isinstance(value, types.FunctionType):
        honest = inspect.unwrap(value)  # a decorator that checks types changes no number
        return _function(honest, inside) if isinstance(honest, types.FunctionType) else inside(honest)
    if dataclasses.is_dataclass(value):
        fields = {f.name: inside(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"a": type(value).__name__, **fields}
    return {
        "a": f"{type(value).__module__}.{type(value).__qualname__}",
        **inside(getattr(value, "__dict__", {})),
    }


def _function(value: types.FunctionType, inside) -> Any:
    """Its name, what it encloses, and, of a function that is none of the course's, a digest of its code."""
    found: dict[str, Any] = {"of": f"{value.__module__}.{value.__qualname__}"}
    if not str(value.__module__).startswith("sslcourse."):
        found["code"] = _short(f"{value.__code__.co_code.hex()} {_constants(value.__code__)}")
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or ()):
        try:
            found[name] = inside(cell.cell_contents)
        except ValueError:  # not yet given a value
            found[name] = None
    return found if len(found) > 1 else found["of"]


def _constants(code: types.CodeType) -> str:
    """Numbers, texts and names of a function's code, and of those inside it. No addresses."""
    constants = [
        _constants(c) if isinstance(c, types.CodeType) else repr(c)
        for c in code.co_consts
        if not isinstance(c, frozenset)
    ]
    return " ".join([*constants, *code.co_names])


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))
