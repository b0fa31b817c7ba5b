"""Where the notebooks are, and how they are put into a folder without touching the student's work there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import sslcourse
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.files import atomic

MANIFEST = ".sslcourse.json"  # in the student's folder: what we wrote there
START = "00_start.ipynb"


def checkout() -> Path | None:
    """The repository that this package is imported from, or None where it was installed from a wheel."""
    root = Path(sslcourse.__file__).resolve().parents[1]
    return root if (root / "pyproject.toml").is_file() and (root / "notebooks").is_dir() else None


def folder() -> Path:
    """The folder of the lessons: the repository's, else the one inside the package. It holds homework/."""
    root = checkout()
    inside = Path(sslcourse.__file__).resolve().parent / "lessons"
    for candidate in ([root / "notebooks"] if root else []) + [inside]:
        if (candidate / START).is_file():
            return candidate
    raise CourseError(
        f"this installation of sslcourse has no lessons: {inside} is missing; install the course again from "
        "its wheel, pip install --force-reinstall --no-deps sslcourse-...whl"
    )


def notebooks() -> dict[str, bytes]:
    """All lessons and homework: name, with "/" on every system, -> the file's bytes."""
    home = folder()
    found = [*sorted(home.glob("*.ipynb")), *sorted((home / "homework").glob("*.ipynb"))]
    return {file.relative_to(home).as_posix(): file.read_bytes() for file in found}


# ---------------------------------------------------------------------------------------------- putting files


@dataclass
class Placed:
    """What became of each file: names relative to the folder."""

    new: list[str] = field(default_factory=list)  # was not there
    updated: list[str] = field(default_factory=list)  # was as we had written it: replaced by the new version
    same: list[str] = field(default_factory=list)  # is what we would write
    # has the student's changes; nothing newer than what they began with
    kept: list[str] = field(default_factory=list)
    # has changes and stays; the new version has this other name
    beside: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """A line for each thing that the student should know; empty when nothing was done."""
        lines = [
            f"  {verb}: {', '.join(names)}"
            for verb, names in (("new", self.new), ("updated", self.updated))
            if names
        ]
        lines += [f"  kept with your changes: {', '.join(self.kept)}"] if self.kept else []
        lines += [
            f"  {mine} has your changes and stays; the new version is beside it: {other}"
            for mine, other in self.beside.items()
        ]
        return "\n".join(lines)


def place(files: Mapping[str, bytes], folder: str | Path) -> Placed:
    """Write `files` into `folder`, never over anything that somebody else wrote or changed.

    A file is ours to replace as long as its bytes are those that we wrote last (their digests stand in
    `MANIFEST`). Running or saving a notebook changes its bytes: from then on it is the student's. A new
    version of such a file is set beside it once, as NAME.new.ipynb. Files are written whole or not at all;
    the second of two equal calls writes nothing.

    Args:
        files: name relative to the folder, with "/" between parts -> content.

    Raises:
        CourseError: where the folder cannot be read or written.
    """
    folder = Path(folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _place(files, folder)
    except OSError as error:
        raise CourseError(
            f"{error.filename or folder} cannot be written ({error.strerror}); close the program that "
            "holds it open, or choose another folder"
        ) from None


def _place(files: Mapping[str, bytes], folder: Path) -> Placed:
    ours, placed = _manifest(folder), Placed()

    def write(name: str, content: bytes) -> None:
        with atomic(_path(folder, name)) as temporary:
            temporary.write_bytes(content)
        remember(name, written=_digest(content), given=_digest(content))

    def remember(name: str, **digests: str) -> None:
        entry = {**ours.get(name, {}), **digests}
        # after each file: a run that is killed leaves a manifest that tells the truth
        if ours.get(name) != entry:
            ours[name] = entry
            _save(folder, ours)

    def untouched(name: str) -> bool:
        return _digest_of(_path(folder, name)) == ours.get(name, {}).get("written", "never")

    for name, content in files.items():
        there, wanted = _digest_of(_path(folder, name)), _digest(content)
        if there is None:
            write(name, content)
            placed.new.append(name)
        elif there == wanted:
            remember(name, written=wanted, given=wanted)
            placed.same.append(name)
        elif untouched(name):
            write(name, content)
            placed.updated.append(name)
        elif ours.get(name, {}).get("given") == wanted:
            placed.kept.append(name)
        else:
            other = next(
                n
                for n in _other_names(name)
                if _digest_of(_path(folder, n)) in (None, wanted) or untouched(n)
            )
            write(other, content)
            remember(name, given=wanted)
            placed.beside[name] = other
    return placed


def withdraw(name: str, folder: str | Path) -> bool:
    """Remove a file that we wrote and nobody changed since; True if it was removed."""
    folder = Path(folder).expanduser()
    ours, path = _manifest(folder), _path(folder, name)
    if _digest_of(path) != ours.get(name, {}).get("written", "never"):
        return False
    path.unlink()  # May go: the manifest says that we wrote it, and its digest that nobody changed it.
    del ours[name]
    _save(folder, ours)
    return True


def written(folder: str | Path) -> list[str]:
    """Names of the files that we wrote into a folder, whether or not they were changed since."""
    return sorted(_manifest(Path(folder).expanduser()))


def _path(folder: Path, name: str) -> Path:
    return folder.joinpath(*PurePosixPath(name).parts)


def _other_names(name: str):
    stem, dot, suffix = name.rpartition(".")
    yield f"{stem}.new{dot}{suffix}"
    for number in range(2, 1_000_000):
        yield f"{stem}.new-{number}{dot}{suffix}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of(path: Path) -> str | None:
    """None where nothing is; for a link, a folder or the like a text that no digest equals."""
    if not os.path.lexists(path):
        return None
    return _digest(path.read_bytes()) if path.is_file() and not path.is_symlink() else "not a plain file"


def _manifest(folder: Path) -> dict[str, dict[str, str]]:
    """Name -> {"written": digest of what we wrote there last, "given": of the newest version that was given}.

    A manifest that cannot be understood counts as none: every file that differs is the student's then.
    """
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        entries = {str(name): {str(k): str(v) for k, v in entry.items()} for name, entry in files.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return entries


def _save(folder: Path, ours: Mapping[str, Mapping[str, str]]) -> None:
    page = {
        "what": "digests of the files that sslcourse wrote here; it replaces unchanged ones, and no others",
        "version": sslcourse.__version__,
        "files": dict(sorted(ours.items())),
    }
    with atomic(folder / MANIFEST) as temporary:
        temporary.write_bytes((json.dumps(page, indent=1) + "\n").encode())
