"""Unpacking tar and zip archives of strangers: nothing leaves its folder, nothing is larger than expected."""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, cast

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.files import new_folder
from sslcourse.runtime.options import COUNT, SOME, takes

UNPACK_LIMIT = 20 * 10**9  # bytes; the largest data set of the course unpacks to 3.2 GB
MEMBER_LIMIT = 1_000_000  # files in one archive
BROKEN_ARCHIVE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    NotImplementedError,
)


# ---------------------------------------------------------------------------------------------- archives


def members(archive: str | Path, wanted: Collection[str]) -> Iterator[tuple[str, int, IO[bytes]]]:
    """The wanted regular files of a tar(.gz, .bz2, .xz) or zip archive, as (name, size in bytes, stream), in
    its order.

    Nothing is written to disk, so no archive can write where it should not. Read a stream before asking for
    the next.

    Args:
        wanted: names without folders. All of them must come, each once.

    Raises:
        CourseError: the archive is damaged, a wanted file is missing or comes twice.
    """
    missing = set(wanted)
    for name, size, stream in _regular_files(Path(archive), skip_others=True):
        base = name.rpartition("/")[2]
        if base not in wanted:
            continue
        if base not in missing:
            raise CourseError(f"{archive} holds {base!r} twice; fetch it again")
        missing.discard(base)
        yield base, size, stream
    if missing:
        raise CourseError(f"{archive} lacks {', '.join(sorted(missing))}; is it the archive that was meant?")


@takes(limit=COUNT)
def unpack(archive: str | Path, folder: str | Path, *, limit: int = UNPACK_LIMIT) -> Path:
    """Unpack a tar(.gz, .bz2, .xz), a zip or a single gz file into a new folder, which appears once it is
    complete.

    Only plain files and folders are written, with plain permissions. A member that is absolute, has `..`, is
    a device or a link (of whatever aim: chains of links are how archives break out) stops the unpacking, and
    nothing remains. Members of a tar archive also pass Python's own data filter (PEP 706). Python lacks it
    before 3.10.12 and 3.11.4; there our rules, which are no looser, stand alone.

    Args:
        folder: must not exist yet, or be empty. An existing one is complete, so callers can ask
            `folder.is_dir()`.
        limit: bytes that the unpacked files may have together.

    Returns:
        The folder. A single gz file `name.gz` becomes `folder/name`.

    Raises:
        CourseError: the archive is damaged, of another kind, unsafe or too large, or the folder is not empty.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CourseError(
            f"{folder} exists already; delete it to unpack {archive.name} again, or name another folder"
        )
    with new_folder(folder) as temporary:
        _unpack_into(archive, temporary, limit)
    return folder


def _unpack_into(archive: Path, folder: Path, limit: int) -> None:
    written = 0
    for count, (name, size, stream) in enumerate(_regular_files(archive, into=folder), 1):
        if count > MEMBER_LIMIT:
            raise CourseError(f"{archive} holds more than {MEMBER_LIMIT:,} files; refused")
        target = folder.joinpath(*safe_parts(archive, name))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            file = open(target, "xb")
        except (FileExistsError, NotADirectoryError):
            raise CourseError(f"{archive} holds {name!r} twice; refused") from None
        with file:
            before = written
            while block := _read(archive, stream, 1 << 20):
                # counted as it comes: what an archive claims about itself proves nothing
                written += len(block)
                if written > limit:
                    raise CourseError(
                        f"{archive} unpacks to more than {limit:,} bytes; if it should, pass limit=..."
                    )
                file.write(block)
        if size >= 0 and written - before != size:
            raise CourseError(f"{archive} is damaged: {name!r} is cut short; delete it and fetch it again")


def safe_parts(archive: Path, name: str) -> list[str]:
    """The parts of a member's name; CourseError when it would leave its folder."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    # C:\ and alternate streams of Windows
    absolute = name.startswith(("/", "\\")) or (parts and ":" in parts[0])
    if absolute or ".." in parts or "\0" in name or not parts:
        raise outside(archive, name)
    return parts


def outside(archive: Path, name: str) -> CourseError:
    return CourseError(
        f"{archive} is unsafe: its member {name!r} would be written outside of its folder. Nothing was "
        "unpacked; fetch the archive from its authors"
    )


def _read(archive: Path, stream: IO[bytes], size: int) -> bytes:
    try:
        return stream.read(size)
    except BROKEN_ARCHIVE as error:
        raise CourseError(f"{archive} is damaged ({error}); delete it and fetch it again") from None


@takes(size=SOME)
def read_exactly(stream: IO[bytes], size: int, name: str) -> bytes:
    """`size` bytes of a stream of `members`. CourseError when it ends early or is damaged."""
    data = _read(Path(name), stream, size)
    if len(data) != size:
        raise CourseError(
            f"{name} ends {size - len(data):,} bytes early; delete its archive and fetch it again"
        )
    return data


def _regular_files(
    archive: Path, skip_others: bool = False, into: Path | None = None
) -> Iterator[tuple[str, int, IO[bytes]]]:
    """(name, size, stream) of each regular file; size -1 where the archive does not say. Folders are passed
    over; links and devices too with `skip_others`, else they are refused. `into`: where the files will be
    written.
    """
    if not archive.is_file():
        raise CourseError(f"there is no file {archive}")
    try:
        if _is_tar(archive):
            yield from _tar_files(archive, skip_others, into)
        elif zipfile.is_zipfile(archive):
            yield from _zip_files(archive, skip_others)
        elif _is_gzip(archive):
            with gzip.open(archive, "rb") as stream:
                yield archive.name.removesuffix(".gz"), -1, cast("IO[bytes]", stream)
        else:
            raise CourseError(f"{archive} is no tar, zip or gz archive; is it the file that was meant?")
    except BROKEN_ARCHIVE as error:
        raise CourseError(f"{archive} is damaged ({error}); delete it and fetch it again") from None


def _is_tar(path: Path) -> bool:
    """Zeros are a valid tar archive without members, and the beginning of many a gz file that is none."""
    if not tarfile.is_tarfile(path):
        return False
    with tarfile.open(path, "r:*") as tar:
        return tar.next() is not None


def _is_gzip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


class _Header(tarfile.TarInfo):
    """A header that tells its archive when it is the end marker: tarfile itself takes the end of the file, or
    whatever else is no header, for the archive's end too.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined, unused-ignore]
            archive.end_marker_seen = True  # type: ignore[attr-defined]
            raise


def _tar_files(archive: Path, skip_others: bool, into: Path | None) -> Iterator[tuple[str, int, IO[bytes]]]:
    with tarfile.open(archive, "r:*", tarinfo=_Header) as tar:
        for member in tar:
            if into is not None:
                _pass_data_filter(archive, member, into)
            stream = tar.extractfile(member) if member.isreg() else None
            if stream is not None:
                yield member.name, member.size, stream
            elif member.isdir():
                if not skip_others and member.name not in ("", "."):
                    safe_parts(archive, member.name)
            elif not skip_others:
                raise _link(archive, member)
        if not getattr(tar, "end_marker_seen", False):
            raise CourseError(
                f"{archive} is damaged: it has no end marker, so it is cut short; delete it and fetch it "
                "again"
            )


def _link(archive: Path, member: tarfile.TarInfo) -> CourseError:
    return not_plain(archive, member.name, f" to {member.linkname!r}" if member.linkname else "")


def _pass_data_filter(archive: Path, member: tarfile.TarInfo, folder: Path) -> None:
    """CourseError for what Python's data filter refuses: leaving the folder, devices, links that lead out."""
    if not hasattr(tarfile, "data_filter"):
        return
    try:
        tarfile.data_filter(member, str(folder))
    except tarfile.FilterError:
        if member.isreg() or member.isdir():
            raise outside(archive, member.name) from None
        raise _link(archive, member) from None


def _zip_files(archive: Path, skip_others: bool) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(archive) as zipped:
        for info in zipped.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                if not skip_others:
                    safe_parts(archive, info.filename)
            elif kind in (0, stat.S_IFREG):
                with zipped.open(info) as stream:
                    yield info.filename, info.file_size, stream
            elif not skip_others:
                raise not_plain(archive, info.filename, "")


def not_plain(archive: Path, name: str, aim: str) -> CourseError:
    return CourseError(
        f"{archive} is unsafe: its member {name!r} is a link{aim} or a device. Nothing was unpacked; fetch "
        "the archive "
        "from its authors"
    )
