"""What goes between the grader and its worker: limits, outcomes, and values packed as plain bytes.

Nothing is unpickled: a worker that runs a stranger's code could send whatever it likes.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslcourse.runtime.errors import CourseError

LARGEST = 64 << 20  # bytes of one answer's tensors
# Bytes of its JSON: a list that is two bytes there takes ninety in memory, and so a message is bounded before
# it is read.
LARGEST_HEAD = 4 << 20
MOST_MEMORY = 1 << 44  # bytes that a limit may allow
LONGEST = 200_000  # letters of one text
MOST_TYPES = 100  # of names of types in one answer; what goes beyond is an "object"
KINDS = {
    str(t).removeprefix("torch."): t
    for t in (
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    )
}


@dataclass(frozen=True)
class Limits:
    """What a worker may use.

    Args:
        seconds: of processor time, of all its processes together; waiting ends after three times as long and
            ten seconds.
        memory: bytes beyond what an idle worker has; its files, which live in memory, count apart.
        files: bytes of its files.
        processes: how many it may start.

    Raises:
        CourseError: a limit that is no number, not above 0, or more than a computer has.
    """

    seconds: float = 60
    memory: int = 2 << 30
    files: int = 128 << 20
    processes: int = 16

    def __post_init__(self):
        for name, unit, most in (
            ("seconds", "seconds", 7 * 86_400),
            ("memory", "bytes", MOST_MEMORY),
            ("files", "bytes", MOST_MEMORY),
            ("processes", "processes", 4096),
        ):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and 0 < value <= most):  # not a number is not in between
                raise CourseError(f"{name}={value}: must be above 0, and at most {most:,} {unit}")


@dataclass
class Outcome:
    """What came of a question: `value` is plain data, `status` one of

    - "answered", also where the answer is wrong;
    - "crashed", "out of time", "out of memory": the worker's end, by its own doing;
    - "not examined": our own fault, said in `remark`.
    """

    status: str
    value: dict = field(default_factory=dict)
    remark: str = ""


class Gone(BaseException):
    """The worker has ended. Not an Exception: nobody who catches what an answer may raise should take this
    for it.
    """


class OutOfMemory(BaseException):
    """The worker was refused the memory that it asked for."""


class TooLarge(Exception):
    """A message that nobody would read."""


class Unaskable(BaseException):
    """What the examiner wants to hand over cannot leave its process. No fault of the answer."""


# ---------------------------------------------------------------------------------------------- what travels


def packed(value: object) -> tuple[Any, list[bytes], list[Tensor]]:
    """A value as JSON, the bytes of its tensors, and those tensors that know a gradient. What cannot travel
    becomes its type's name.
    """
    buffers: list[bytes] = []
    learning: list[Tensor] = []

    def pack(x: Any, depth: int = 0) -> object:
        if x is None or isinstance(x, (bool, str)):
            return x[:LONGEST] if isinstance(x, str) else x
        if isinstance(x, (int, np.integer)):
            return int(x) if abs(int(x)) < 2**63 else {"other": "int"}
        if isinstance(x, (float, np.floating)):
            return {"float": repr(float(x))}
        plain = (
            isinstance(x, Tensor)
            and x.layout == torch.strided
            and x.device.type == "cpu"
            and not x.is_quantized
        )
        if plain and str(x.dtype).removeprefix("torch.") in KINDS:
            flat = x.detach().contiguous().reshape(-1)
            buffers.append(flat.view(torch.uint8).numpy().tobytes())
            if x.requires_grad:
                learning.append(x)
            return {
                "tensor": str(x.dtype).removeprefix("torch."),
                "shape": list(x.shape),
                "learns": x.requires_grad,
            }
        if isinstance(x, np.ndarray) and x.dtype.kind in "fiub":
            return {"array": pack(torch.from_numpy(np.array(x)), depth)}
        if depth < 8 and isinstance(x, (list, tuple)):
            return {"list" if isinstance(x, list) else "tuple": [pack(v, depth + 1) for v in x]}
        if depth < 8 and isinstance(x, dict):
            return {"dict": [[pack(k, depth + 1), pack(v, depth + 1)] for k, v in x.items()]}
        return {"other": type(x).__name__[:100]}

    return pack(value), buffers, learning


def unpacked(packed_value: object, buffers: Sequence[bytes]) -> tuple[Any, list[Tensor]]:
    """The value again, and those of its tensors that know a gradient, in their order. Raises ValueError for
    anything malformed.
    """
    left = list(buffers)
    learning: list[Tensor] = []
    types: dict[str, type] = {}

    def unpack(x: Any, depth: int = 0) -> Any:
        if x is None or isinstance(x, (bool, int, str)):
            return x
        if depth > 12 or not isinstance(x, dict):
            raise ValueError("malformed")
        if "float" in x:
            return float(x["float"])
        if "tensor" in x:
            kind, shape, data = KINDS[x["tensor"]], [int(s) for s in x["shape"]], left.pop(0)
            if any(s < 0 for s in shape) or math.prod(shape) * kind.itemsize != len(data):
                raise ValueError("malformed")
            tensor = (
                torch.frombuffer(bytearray(data), dtype=torch.uint8).view(kind).reshape(shape)
                if data
                else torch.empty(shape, dtype=kind)
            )
            if x.get("learns"):
                learning.append(tensor)
            return tensor
        if "array" in x:
            return unpack(x["array"], depth + 1).numpy()
        if "list" in x or "tuple" in x:
            values = [unpack(v, depth + 1) for v in (x["list"] if "list" in x else x["tuple"])]
            return values if "list" in x else tuple(values)
        if "dict" in x:
            return {unpack(k, depth + 1): unpack(v, depth + 1) for k, v in x["dict"]}
        name = str(x["other"])[:100]
        if not name.isidentifier() or (name not in types and len(types) >= MOST_TYPES):
            name = "object"
        if name not in types:
            types[name] = type(name, (), {})
        return types[name]()  # known by its type's name only

    return unpack(packed_value), learning


class Channel:
    """Messages over a socket: JSON and raw buffers, each with its length before it."""

    def __init__(self, end: socket.socket):
        self.end = end

    def send(self, message: dict, buffers: Sequence[bytes] = ()) -> None:
        head = json.dumps({"message": message, "sizes": [len(b) for b in buffers]}).encode()
        if len(head) > LARGEST_HEAD:
            raise TooLarge(
                f"{len(head):,} bytes of lists, numbers and texts; at most {LARGEST_HEAD:,} are read"
            )
        try:
            self.end.sendall(struct.pack("<I", len(head)) + head + b"".join(buffers))
        except OSError:
            raise Gone from None

    def receive(self) -> tuple[dict, list[bytes]]:
        """The next message; Gone at the end of the line, or when what comes is no message."""
        size = struct.unpack("<I", self._read(4))[0]
        if size > LARGEST_HEAD:
            raise Gone
        try:
            whole = json.loads(self._read(size))
            message, sizes = whole["message"], [int(s) for s in whole["sizes"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Gone from None
        if any(s < 0 for s in sizes) or sum(sizes) > LARGEST or not isinstance(message, dict):
            raise Gone
        return message, [self._read(s) for s in sizes]

    def _read(self, count: int) -> bytes:
        parts = []
        while count:
            try:
                part = self.end.recv(min(count, 1 << 20))
            except OSError:
                raise Gone from None
            if not part:
                raise Gone
            parts.append(part)
            count -= len(part)
        return b"".join(parts)
