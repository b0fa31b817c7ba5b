"""Where files live, and how they are written: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sslcourse.runtime.errors import CourseError


def cache_dir(*parts: str) -> Path:
    """Where drawn worlds and trained networks are kept: `SSLCOURSE_CACHE`, else the user's cache folder.

    Raises:
        CourseError: the variable is set to nothing, or it is not set and the user has no home folder.
    """
    root = _named_by("SSLCOURSE_CACHE")
    if root is None:
        # The standard of these variables: one that is empty or not a whole path counts as not set.
        home = os.environ.get("XDG_CACHE_HOME", "")
        root = (Path(home) if os.path.isabs(home) else _at_home("~/.cache")) / "sslcourse"
    return root.joinpath(*parts)


def data_dir(*parts: str) -> Path:
    """Where `sslcourse data` writes prepared arrays: `SSLCOURSE_DATA`, else `data` in the cache folder."""
    root = _named_by("SSLCOURSE_DATA")
    return (cache_dir("data") if root is None else root).joinpath(*parts)


def _named_by(variable: str) -> Path | None:
    """The folder that an environment variable names; None where it is not set."""
    value = os.environ.get(variable)
    if value is None:
        return None
    if not value.strip():
        raise CourseError(f"{variable} is set to nothing; set it to a folder, or unset it")
    return _at_home(value)


def _at_home(path: str) -> Path:
    """The path with "~" replaced by the user's home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # HOME is not set, and the system knows no such user: containers are started so
        raise CourseError(
            "your home folder is not known (HOME is not set); set SSLCOURSE_CACHE to a folder for what the "
            "course keeps"
        ) from None


class Unwritable(CourseError, OSError):
    """Nothing can be written there: the folder is closed, or is a file, or the name is none."""


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it into place, else remove
    it.

    Raises:
        Unwritable: nothing can be written there.

    Readers therefore see the old file or the whole new one, also when the process is killed or two processes
    write."""
    path = Path(path)
    if path.is_dir():
        raise Unwritable(f"{path}: a folder stands there; name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except (OSError, ValueError) as error:  # the second for names that no system takes
        reason = getattr(error, "strerror", None) or str(error)
        raise Unwritable(
            f"{str(path)!r} cannot be written ({reason}); name another file, in a folder that is yours"
        ) from error
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
