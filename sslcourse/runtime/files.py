"""Where files live, and how they are written: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def cache_dir(*parts: str) -> Path:
    """Where drawn worlds and trained networks are kept: `SSLCOURSE_CACHE`, else the user's cache folder."""
    root, home = os.environ.get("SSLCOURSE_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if root is not None:
        return Path(root, *parts)
    return (Path(home) if home else Path("~", ".cache").expanduser()).joinpath("sslcourse", *parts)


def data_dir(*parts: str) -> Path:
    """Where `sslcourse data` writes prepared arrays: `SSLCOURSE_DATA`, else `data` in the cache folder."""
    root = os.environ.get("SSLCOURSE_DATA")
    return (Path(root) if root else cache_dir("data")).joinpath(*parts)


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it into place, else remove
    it.

    Readers therefore see the old file or the whole new one, also when the process is killed or two processes
    write."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes it private; a shared cache should stay readable
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
