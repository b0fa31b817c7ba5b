"""What the toybox has drawn, kept on disk: written whole or not at all, checked when it is read, and drawn
again where it is damaged.

The folder's name holds a digest of the code that draws. A number that somebody must remember to raise would
be forgotten, and then results would be measured on pictures and sounds that this code no longer makes."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sslcourse import runtime

Arrays = Mapping[str, np.ndarray]


@functools.cache
def drawn_by() -> str:
    """Eight digits of the digest of all code in this folder."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def place(kind: str, name: str) -> Path:
    """Where what is called `name` is kept, such as place("films", "train-800-seed0")."""
    return runtime.cache_dir("toybox", f"{kind}-{drawn_by()}", f"{name}.npz")


def named(**settings: float | Sequence[float]) -> str:
    """Settings as a file is named by them, with all their digits: "bg0.1-speed1-2.5". Two that differ must
    not share what is drawn."""
    exact = lambda value: repr(float(value)).removesuffix(".0")
    return "-".join(
        f"{name}{'-'.join(map(exact, value)) if isinstance(value, Sequence) else exact(value)}"
        for name, value in settings.items()
    )


def arrays(
    path: Path, shapes: Mapping[str, Sequence[int]], make: Callable[[], Arrays], cache: bool = True
) -> dict[str, np.ndarray]:
    """Arrays by name, from the file or made anew.

    Args:
        path: a .npz file, which checks its own bytes; see `place`.
        shapes: what must be in the file, and how large it must be; further arrays may stand beside.
        make: called where there is no such file, where it is damaged (which is said on standard error), or
            without `cache`.
        cache: read and write the file. A disk that is full or closed is told, and does not end the lesson.
    """
    if cache and path.exists():
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
            for name, shape in shapes.items():
                if name not in found or found[name].shape != tuple(shape):
                    raise ValueError(f"its {name} is {found[name].shape if name in found else 'missing'}")
            return found
        except Exception as error:  # zip, header and checksum errors are of many types; all mean one thing
            print(f"the cache {path} is damaged ({error}); it is drawn again", file=sys.stderr)
    made = dict(make())
    if cache:
        try:
            with runtime.atomic(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, **made)  # type: ignore[arg-type]  # the stubs think of allow_pickle
        except OSError as error:
            print(
                f"what was drawn could not be cached in {path.parent} ({error}); going on without",
                file=sys.stderr,
            )
    return made
