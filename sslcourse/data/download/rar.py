"""RAR archives, for data sets that are published as such."""

from __future__ import annotations

import collections
import contextlib
import os
import shutil
import stat
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from sslcourse.data.download.archives import UNPACK_LIMIT, not_plain, safe_parts, sweep
from sslcourse.data.download.files import need_space
from sslcourse.runtime.errors import CourseError

# ---------------------------------------------------------------------------------------------- rar


def rar_programs() -> list[str]:
    """Paths of the installed programs that read .rar, the most faithful first: the format is closed, and
    Python cannot read it.

    Raises:
        CourseError: there is none; the message says what to install.
    """
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


def _rar_commands(program: str, archive: Path, folder: Path) -> tuple[list[str], list[str], int]:
    """How to list an archive, how to unpack it, and how many lines of the list are no names."""
    kind = Path(program).stem
    if kind == "unrar":
        return (
            [program, "lb", "-p-", "--", str(archive)],
            [program, "x", "-p-", "-o-", "-idq", "--", str(archive), f"{folder}{os.sep}"],
            0,
        )
    if kind == "unar":
        lister = shutil.which("lsar") or str(Path(program).with_name("lsar"))
        return (
            [lister, "-p", "", str(archive)],
            [program, "-q", "-D", "-s", "-p", "", "-o", str(folder), str(archive)],
            1,
        )
    return [program, "-tf", str(archive)], [program, "-xf", str(archive), "-C", str(folder)], 0


def _run(command: Sequence[str]) -> subprocess.CompletedProcess:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}  # names beyond ASCII
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, env=environment
    )


def examine_rar(archive: Path) -> str | None:
    """What is wrong with a .rar archive as far as its beginning and its table of contents tell; None if
    nothing is.
    """
    with open(archive, "rb") as file:
        if file.read(6) != b"Rar!\x1a\x07":
            return "it does not begin like a .rar archive"
    for program in rar_programs():
        done = _run(_rar_commands(program, archive, archive.parent)[0])
        if not done.returncode:
            return None
    return f"its table of contents cannot be read ({(done.stderr or done.stdout).strip()[-200:]})"


def rar_table(archive: str | Path) -> list[tuple[int, int | None]] | None:
    """(bytes, CRC-32 or None) of every file in a .rar archive of version 4 or 5, from its headers; None where
    they cannot be followed (encrypted, in several volumes, cut short).

    Unpacking needs a program, but programs differ: libarchive does not compare the checksums of files that
    are stored uncompressed."""
    archive = Path(archive)
    try:
        with open(archive, "rb") as file:
            signature = file.read(8)
            if signature == b"Rar!\x1a\x07\x01\x00":
                return _rar5_table(file, archive.stat().st_size)
            file.seek(7)
            return _rar4_table(file, archive.stat().st_size) if signature[:7] == b"Rar!\x1a\x07\x00" else None
    except (struct.error, IndexError):
        return None


def _rar4_table(file: BinaryIO, end: int) -> list[tuple[int, int | None]] | None:
    """Blocks of: checksum, kind, flags, size of the header, then in a file's header packed and unpacked size,
    system, CRC, and so on.
    """
    found = []
    while True:
        at = file.tell()
        _, kind, flags, size = struct.unpack("<HBHH", file.read(7))
        if kind == 0x7B:  # the end; its first flag: another volume follows
            return None if flags & 1 else found
        if size < 7 or (kind == 0x73 and flags & 0x81):  # a volume, or encrypted headers
            return None
        more = 0
        if kind in (0x74, 0x7A) or flags & 0x8000:
            more, unpacked, _, crc = struct.unpack("<IIBI", (file.read(13) + bytes(13))[:13])
            if kind in (0x74, 0x7A) and flags & 0x100:  # upper halves of both sizes
                file.seek(at + 32)
                high_packed, high = struct.unpack("<II", file.read(8))
                more, unpacked = more + (high_packed << 32), unpacked + (high << 32)
            if kind == 0x74 and flags & 0xE0 != 0xE0:  # no folder
                if flags & 0x3:
                    return None
                found.append((unpacked, crc))
        if at + size + more > end:
            return None
        file.seek(at + size + more)


def _rar5_table(file: BinaryIO, end: int) -> list[tuple[int, int | None]] | None:
    """Blocks of: checksum, size, then kind, flags and so on as numbers of seven bits a byte."""
    found = []

    def number(data: bytes, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            value, shift, at = value | (data[at] & 0x7F) << shift, shift + 7, at + 1
            if not data[at - 1] & 0x80:
                return value, at

    while True:
        start = file.tell()
        size, length = number(file.read(16), 4)
        file.seek(start + length)
        header = file.read(size)
        kind, at = number(header, 0)
        flags, at = number(header, at)
        more = 0
        if flags & 1:
            _, at = number(header, at)
        if flags & 2:
            more, at = number(header, at)
        if kind == 5:  # the end
            volume, _ = number(header, at)
            return None if volume & 1 else found
        if kind == 4 or flags & 0x18:  # encrypted headers; a file that goes on in another volume
            return None
        if kind == 2:
            about, at = number(header, at)
            unpacked, at = number(header, at)
            _, at = number(header, at)
            at += 4 if about & 2 else 0  # the time
            if not about & 1:  # no folder
                found.append((unpacked, struct.unpack_from("<I", header, at)[0] if about & 4 else None))
        if start + length + size + more > end:
            return None
        file.seek(start + length + size + more)


def _not_the_table(folder: Path, table: Sequence[tuple[int, int | None]]) -> str | None:
    """How the files of a folder differ from the table of contents of their archive."""
    missing = collections.Counter(table)
    sizes_only = any(crc is None for _, crc in table)
    if sizes_only:
        missing = collections.Counter((size, None) for size, _ in table)
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
    return f"{lost} of {len(table)} files did not come out" if lost else None


def unrar(archive: str | Path, folder: str | Path, *, limit: int = UNPACK_LIMIT) -> Path:
    """Unpack a .rar archive into a new folder, which appears once it is complete and has the sizes and CRC-32
    that the archive lists.

    As for `unpack`, nothing may leave the folder and only plain files and folders are accepted: names are
    read before anything is written, and what was written is examined before the folder gets its name.

    Args:
        folder: must not exist yet, or be empty.
        limit: bytes that the unpacked files may have together.

    Raises:
        CourseError: no program is there, the archive is damaged, unsafe or too large, or the folder is not
            empty.
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        raise CourseError(f"there is no file {archive}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CourseError(
            f"{folder} exists already; delete it to unpack {archive.name} again, or name another folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    reasons = []
    for program in rar_programs():
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
        try:
            reason = _unrar_into(program, archive, temporary, limit)
            if reason:
                reasons.append(f"{Path(program).name}: {reason}")
                continue
            temporary.chmod(0o755)  # mkdtemp makes it private
            if folder.exists():
                folder.rmdir()
            os.replace(temporary, folder)
            return folder
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    raise CourseError(
        f"{archive} is damaged, or of a kind that no program here can read ({'; '.join(reasons)}); fetch "
        "it again, or install unrar"
    )


def _unrar_into(program: str, archive: Path, folder: Path, limit: int) -> str | None:
    """None, or why this program could not."""
    listing, unpacking, skip = _rar_commands(program, archive, folder)
    done = _run(listing)
    if done.returncode:
        return (done.stderr or done.stdout).strip()[-200:] or f"exit status {done.returncode}"
    for name in done.stdout.splitlines()[skip:]:
        if name.strip():
            safe_parts(archive, name)
    need_space(folder, archive.stat().st_size)
    done = _run(unpacking)
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
        raise CourseError(f"{archive} unpacks to more than {limit:,} bytes; if it should, pass limit=...")
    table = rar_table(archive)
    return _not_the_table(folder, table) if table else None if written else "nothing came out of it"
