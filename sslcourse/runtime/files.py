"""Where files live, and how they are written: whole or not at all.

What we did not make is never removed and never written over unasked:

- a file that is being written has a name of its own beside its place (`.NAME.????????.part`), and its writer
  holds a lock on it: what a killed process left has no lock, and the next writer of NAME sweeps it away;
- what we put into a folder that a user names is noted there first (`Made`), and only what is noted is
removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
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


# ------------------------------------------------------------------------------------- whole or not at all


def _locked(handle: int) -> bool:
    """Take the lock of an open file or folder without waiting; False where somebody has it. It dies with its
    process. True also where the system or the file system has no such locks (Windows guards open files
    itself).
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
    return True


def _target(path: str | os.PathLike[str]) -> Path:
    """The file itself where `path` is a link to one. An OSError where it is no file: nobody wants a folder or
    a device to be replaced."""
    path = Path(path)
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is a device or a pipe, no file", str(path))
    return path


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, locked, and removed in the end unless it was renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        # Between these two lines another process may take it for a leftover; then there is a next one.
        if _locked(handle) and os.path.exists(name):
            break
        os.close(handle)
    if os.name == "nt":  # there an open file can be neither written by others nor renamed
        os.close(handle)
    try:
        yield Path(name)
    finally:
        # May go: mkstemp made it here, under a name that nobody had.
        Path(name).unlink(missing_ok=True)
        if os.name != "nt":
            os.close(handle)


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it into place, else remove
    it.

    Raises:
        Unwritable: nothing can be written there.

    Readers therefore see the old file or the whole new one, also when the process is killed or two processes
    write. What killed processes left beside `path` is swept. Where `path` is a link, its file is written."""
    with contextlib.ExitStack() as stack:
        try:
            path = _target(path)
            temporary = stack.enter_context(_beside(path))
        except (OSError, ValueError) as error:  # the second for names that no system takes
            reason = getattr(error, "strerror", None) or str(error)
            raise Unwritable(
                f"{str(path)!r} cannot be written ({reason}); name another file, in a folder that is yours"
            ) from error
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes it private; a shared cache should stay readable
        # May replace: whoever calls this was told to write `path`.
        os.replace(temporary, path)


def prove(path: str | os.PathLike[str], advice: str = "name another file") -> Path:
    """See to it, before the work, that `path` can be written in the end; nothing is changed there.

    Raises:
        CourseError: it cannot, with the reason; `advice` says what to do instead.
    """
    try:
        with _beside(_target(path)) as temporary:
            temporary.write_bytes(b"\0" * 4096)  # a full disk takes a name, but no byte
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        reason = getattr(error, "strerror", None) or error
        raise CourseError(
            f"{str(path)!r} cannot be written ({reason}), so nothing was begun; {advice}"
        ) from None
    return Path(path)


def sweep(path: str | os.PathLike[str]) -> None:
    """Remove what killed processes left beside `path`: `.NAME.????????.part`, unless its writer still
    lives."""
    path = Path(path)
    ours = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.part")  # as tempfile names them
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in [entry for entry in entries if ours.fullmatch(entry.name)]:
            _remove_leftover(Path(entry.path))


def _remove_leftover(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY) if os.name != "nt" else None
    except OSError:
        return  # gone meanwhile, or not ours to read
    try:
        if handle is not None and not _locked(handle):
            return  # somebody is writing it
        # May go: a name that only `_beside` and `unpack` give, and its writer has died.
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif stat.S_ISREG(path.lstat().st_mode):
                path.unlink()
    finally:
        if handle is not None:
            os.close(handle)


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """As `atomic`, for a folder that must not exist yet, or be empty."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    handle = os.open(temporary, os.O_RDONLY) if os.name != "nt" else None
    try:
        if handle is not None:
            _locked(handle)
        yield temporary
        temporary.chmod(0o755)  # mkdtemp makes it private
        if folder.exists():
            folder.rmdir()  # May go: it is empty, else this is an error.
        os.replace(temporary, folder)
    finally:
        # May go: mkdtemp made it here, under a name that nobody had.
        shutil.rmtree(temporary, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def set_aside(path: str | os.PathLike[str], suffix: str) -> Path:
    """Rename a file that is in the way to NAME.suffix, and one that had that name to NAME.suffix-2, and so
    on: nothing is written over. Returns the new path."""
    aside = Path(f"{path}.{suffix}")
    if aside.exists():
        number = 2
        while (free := Path(f"{aside}-{number}")).exists():
            number += 1
        os.replace(aside, free)  # onto a name that nobody has
    os.replace(path, aside)  # likewise
    return aside


# --------------------------------------------------------------------------------- what we made in a folder


class Made:
    """What we made in a folder, noted there before it is made, so that it is known also after a kill.

    Names are relative to the folder, with "/" between their parts on every system.

    Args:
        folder: which may not exist yet.
        known: names of files that are ours without a note, as an earlier version wrote them.
    """

    FILE = "made-by-sslcourse.txt"
    HEAD = "What sslcourse made in this folder, and may remove when it is made anew:"

    def __init__(self, folder: str | os.PathLike[str], known: Iterable[str] = ()):
        self.folder = Path(folder)
        self.names = set(known)
        try:
            text = (self.folder / self.FILE).read_bytes().decode(errors="replace")
        except OSError:
            text = ""
        lines = text.split("\n")
        self.marked = lines[0] == self.HEAD
        for line in lines[1:-1] if self.marked else ():  # the last is empty, or a kill has torn it
            if line.startswith("+ "):
                self.names.add(line[2:])
            elif line.startswith("- "):
                self.names.discard(line[2:])

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def begin(self, shared: bool = False, advice: str = "name another folder") -> None:
        """Mark the folder as ours.

        Args:
            shared: other things may lie there. Without, a folder that holds something, and has neither a mark
                nor anything of ours, is refused: it is somebody's.
        """
        if self.marked:
            return
        found = sorted(p.name for p in self.folder.iterdir()) if self.folder.is_dir() else []
        if self.FILE in found:
            raise CourseError(f"{self.folder / self.FILE} is not the note that sslcourse writes; {advice}")
        if found and not shared and not any(self._there(name) for name in self.names):
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            raise CourseError(
                f"{self.folder} holds {found[0]!r}{more}, and no note that sslcourse made that; {advice}"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic(self.folder / self.FILE) as temporary:
            lines = [self.HEAD, *(f"+ {name}" for name in sorted(self.names))]
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
        self.marked = True

    def note(self, *names: str) -> None:
        """These are about to be made. Refused where one of them is there, and not ours."""
        for name in names:
            if name not in self and self._there(name):
                raise CourseError(
                    f"{self.folder / name} is in the way, and sslcourse did not make it; move it away, or "
                    f"name "
                    "another folder"
                )
        self.claim(*names)

    def claim(self, *names: str) -> None:
        """These are about to be made, except those that are there already: they stay their owner's."""
        new = [name for name in names if name not in self and not self._there(name)]
        self._write([f"+ {name}" for name in new])
        self.names.update(new)

    def fetches(self, name: str) -> None:
        """A download is about to be made here, with what belongs to it while it is under way."""
        self.claim(*(name + suffix for suffix in ("", ".part", ".part.json", ".note.json")))

    def holds(self, name: str) -> None:
        """Note every file of a folder that was just made whole, see `new_folder`."""
        files = [
            Path(root, file).relative_to(self.folder).as_posix()
            for root, _, files in os.walk(self.folder / name)
            for file in files
        ]
        self._write([f"+ {file}" for file in files])
        self.names.update(files)

    def remove(self, name: str) -> bool:
        """Remove a file, if it is noted as ours; False if it is not."""
        if name not in self:
            return False
        # May go: it was noted before it was made.
        (self.folder / name).unlink(missing_ok=True)
        self._write([f"- {name}"])
        self.names.discard(name)
        return True

    def discard(self, name: str) -> None:
        """Remove what is noted below a folder, and the folders that are empty then."""
        ours = [file for file in self.names if file.startswith(f"{name}/")]
        folders: set[Path] = set()
        for file in ours:
            path = self.folder / file
            # May go: noted before it was made, or when the folder that it came in was just made.
            path.unlink(missing_ok=True)
            folders.update(p for p in path.parents if (self.folder / name) in (p, *p.parents))
        for folder in sorted(folders, key=lambda p: -len(p.parts)):
            with contextlib.suppress(OSError):  # not empty: somebody's file is in it
                folder.rmdir()  # May go: our files stood in it, and nothing else does.
        self._write([f"- {file}" for file in ours])
        self.names.difference_update(ours)

    def _there(self, name: str) -> bool:
        return os.path.lexists(self.folder / name)

    def _write(self, lines: list[str]) -> None:
        if not lines:
            return
        with open(self.folder / self.FILE, "ab+") as file:
            # A line that a kill has torn must not run into the next one.
            torn = file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
            file.write(("\n" * bool(torn) + "".join(f"{line}\n" for line in lines)).encode())
            file.flush()
            os.fsync(file.fileno())
