"""RAR archives, for data sets that are published as such.

`rarfile` reads what an archive holds: names, kinds, sizes, checksums. An installed program unpacks it whole,
in one call: one call a file would read a solid archive from its start each time.
"""

from __future__ import annotations

import collections
import contextlib
import os
import shutil
import stat
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from sslcourse.data.download.archives import UNPACK_LIMIT, not_plain, safe_parts
from sslcourse.data.download.files import need_space
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.files import new_folder
from sslcourse.runtime.options import COUNT, takes


class RarMember(NamedTuple):
    """What an archive says of a member.

    Args:
        name: with `/` between its parts.
        kind: "file", "folder", or "other" for links and devices.
        size: bytes when unpacked.
        crc: CRC-32 of the file; None where the archive has none.
    """

    name: str
    kind: str
    size: int
    crc: int | None


def _rarfile() -> ModuleType:
    try:
        import rarfile
    except ImportError:
        raise CourseError("reading .rar archives needs rarfile; install it: pip install rarfile") from None
    return rarfile


def rar_programs() -> list[str]:
    """Paths of the installed programs that read .rar, the most faithful first: the format is closed, and
    Python cannot read it.

    Raises:
        CourseError: there is none, or `rarfile` is missing; the message says what to install.
    """
    _rarfile()  # asked for here, so that whoever is about to fetch gigabytes hears of it before
    found = [path for path in map(shutil.which, ("unrar", "unar", "bsdtar")) if path]
    if (tar := shutil.which("tar")) and not found:  # on macOS and Windows `tar` is bsdtar
        with contextlib.suppress(OSError):
            if (
                "bsdtar"
                in subprocess.run(
                    [tar, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL
                ).stdout
            ):
                found.append(tar)
    if not found:
        raise CourseError(
            "no program here unpacks .rar archives; install one of unrar, unar and bsdtar, such as: sudo "
            "apt install "
            "libarchive-tools (Debian, Ubuntu, Colab: it has bsdtar), brew install unar (macOS), conda "
            "install libarchive"
        )
    return found


def _rar_command(program: str, archive: Path, folder: Path) -> list[str]:
    """How to unpack a whole archive into a folder, without a password and without a question."""
    kind = Path(program).stem
    if kind == "unrar":
        return [program, "x", "-p-", "-o-", "-idq", "--", str(archive), f"{folder}{os.sep}"]
    if kind == "unar":
        return [program, "-q", "-D", "-s", "-p", "", "-o", str(folder), str(archive)]
    return [program, "-xf", str(archive), "-C", str(folder)]


def _run(command: Sequence[str]) -> subprocess.CompletedProcess:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}  # names beyond ASCII
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, env=environment
    )


def rar_members(archive: str | Path) -> list[RarMember]:
    """What a .rar archive of version 3 to 5 holds, in its order, from its headers. Nothing is unpacked.

    Raises:
        CourseError: `rarfile` is missing, or the headers cannot be followed: damaged, cut short, encrypted,
            or the first of several volumes without the others.
    """
    rarfile, archive = _rarfile(), Path(archive)
    headers: list = []
    try:
        with rarfile.RarFile(archive, errors="strict", info_callback=headers.append) as rar:
            found, encrypted = rar.infolist(), rar.needs_password()
    except (rarfile.Error, ValueError, LookupError, OverflowError) as error:
        raise _unreadable(archive, str(error) or type(error).__name__) from None
    if encrypted:
        raise _unreadable(archive, "it is encrypted")
    sizes = {path: os.path.getsize(path) for path in {header.volume_file for header in headers}}
    for header in headers:
        if header.data_offset + (header.add_size or 0) > sizes[header.volume_file]:
            raise _unreadable(archive, "it is cut short")
    # Programs of version 3 and later end each archive with a block of its own: without it a file that was cut
    # between two members would pass for whole.
    if not any(header.type == rarfile.RAR_BLOCK_ENDARC for header in headers):
        raise _unreadable(archive, "it has no end marker, so it is cut short")
    return [RarMember(info.filename, _kind(rarfile, info), info.file_size, info.CRC) for info in found]


def _unreadable(archive: Path, reason: str) -> CourseError:
    return CourseError(
        f"{archive} is damaged, or of a kind that no program here can read ({reason}); fetch it again, or "
        "install unrar"
    )


def _kind(rarfile: ModuleType, info) -> str:
    """ "file", "folder" or "other" (a link, a device): by `rarfile`, and by the mode where Unix wrote it."""
    copied = rarfile.RAR5_XREDIR_FILE_COPY  # a file that is there twice, and stored once
    if info.is_symlink() or (info.file_redir and info.file_redir[0] != copied):
        return "other"
    if info.host_os == rarfile.RAR_OS_UNIX and stat.S_IFMT(info.mode or 0) not in (
        0,
        stat.S_IFREG,
        stat.S_IFDIR,
    ):
        return "other"
    return "folder" if info.is_dir() else "file"


def examine_rar(archive: Path) -> str | None:
    """What is wrong with a .rar archive as far as its beginning and its table of contents tell; None if
    nothing is.
    """
    with open(archive, "rb") as file:
        if file.read(6) != b"Rar!\x1a\x07":
            return "it does not begin like a .rar archive"
    try:
        members = rar_members(archive)
    except CourseError as error:
        return f"its table of contents cannot be read ({error})"
    return None if members else "its table of contents is empty"


def _not_the_table(folder: Path, files: Sequence[RarMember]) -> str | None:
    """How the files of a folder differ from those that their archive lists.

    Programs differ: libarchive does not compare the checksums of files that are stored uncompressed. Names
    are not compared: each program writes those that it cannot show in its own way.
    """
    sizes_only = any(member.crc is None for member in files)
    missing = collections.Counter((m.size, None if sizes_only else m.crc) for m in files)
    for path in folder.rglob("*"):
        if path.is_file():
            crc = 0
            with open(path, "rb") as file:
                while block := file.read(1 << 20):
                    crc = zlib.crc32(block, crc)
            key = (path.stat().st_size, None if sizes_only else crc)
            if not missing[key]:
                return f"checksum error in {path.name}"
            missing[key] -= 1
    lost = sum(missing.values())
    return f"{lost} of {len(files)} files did not come out" if lost else None


@takes(limit=COUNT)
def unrar(archive: str | Path, folder: str | Path, *, limit: int = UNPACK_LIMIT) -> Path:
    """Unpack a .rar archive into a new folder, which appears once it is complete and has the sizes and CRC-32
    that the archive lists.

    As for `unpack`, nothing may leave the folder and only plain files and folders are accepted: names, kinds
    and sizes are read before anything is written, and what was written is examined before the folder gets its
    name.

    Args:
        folder: must not exist yet, or be empty.
        limit: bytes that the unpacked files may have together.

    Raises:
        CourseError: no program or no `rarfile` is there, the archive is damaged, unsafe or too large, or the
            folder is not empty.
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        raise CourseError(f"there is no file {archive}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CourseError(
            f"{folder} exists already; delete it to unpack {archive.name} again, or name another folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    programs, members = rar_programs(), rar_members(archive)
    for member in members:
        safe_parts(archive, member.name)
        if member.kind == "other":
            raise not_plain(archive, member.name, "")
    size = sum(member.size for member in members)
    if size > limit:
        raise _too_large(archive, limit)
    need_space(folder.parent, size)
    reasons = []
    for program in programs:
        try:
            with new_folder(folder) as temporary:
                if reason := _unrar_into(program, archive, members, temporary, limit):
                    raise _Failed(f"{Path(program).name}: {reason}")
            return folder
        except _Failed as error:
            reasons.append(str(error))
    raise _unreadable(archive, "; ".join(reasons))


class _Failed(Exception):
    """Why a program could not unpack an archive."""


def _too_large(archive: Path, limit: int) -> CourseError:
    return CourseError(f"{archive} unpacks to more than {limit:,} bytes; if it should, pass limit=...")


def _unrar_into(
    program: str, archive: Path, members: Sequence[RarMember], folder: Path, limit: int
) -> str | None:
    """None, or why this program could not."""
    done = _run(_rar_command(program, archive, folder))
    if done.returncode:
        return (done.stderr or done.stdout).strip()[-200:] or f"exit status {done.returncode}"
    written = 0
    for root, folders, files in os.walk(folder):  # links are not followed
        for name in [*folders, *files]:
            path = Path(root, name)
            kind = path.lstat()
            if not (stat.S_ISDIR(kind.st_mode) or stat.S_ISREG(kind.st_mode)):
                raise not_plain(archive, path.relative_to(folder).as_posix(), "")
            written += kind.st_size if stat.S_ISREG(kind.st_mode) else 0
    if written > limit:
        raise _too_large(archive, limit)
    if not written:
        return "nothing came out of it"
    return _not_the_table(folder, [member for member in members if member.kind == "file"])
