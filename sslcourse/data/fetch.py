"""Files from the network or from the student's disk: never half a file, never a changed one, none outside its folder.

    download            a file from one of several mirrors; goes on where it stopped; renamed into place once verified
    local_or_download   the same, or a file that the student already has, held to the same checksum
    members             the wanted files of a tar or zip archive as streams: nothing is written to disk
    unpack              a whole archive into a new folder
    unrar               the same for a .rar archive, by a program that is installed
    download_unsigned   for the rare file that nobody publishes a checksum of: resumed, examined, and noted
    run_script          the command line that all of `data_scripts/` share

While a download is under way `NAME.part` holds its bytes and `NAME.part.json` the server's version of the file. Both
survive a crash, and the next call goes on from there. `NAME` itself exists only when its checksum has been verified.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import gzip
import hashlib
import http.client
import json
import os
import shutil
import ssl
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sslcourse import common
from sslcourse.common import CourseError

RETRY = (408, 425, 429, 500, 502, 503, 504)  # HTTP answers that may be better in a moment
FRESH_STARTS = 2  # how often one mirror may send a file with a wrong checksum before the next one is asked
UNPACK_LIMIT = 20 * 10**9  # bytes; the largest data set of the course unpacks to 3.2 GB
MEMBER_LIMIT = 1_000_000  # files in one archive
BROKEN_ARCHIVE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError,
                  NotImplementedError)  # fmt: skip


@dataclass(frozen=True)
class Remote:
    """A file as its authors published it: name, size in bytes, and a checksum (one of the two, as hexadecimal text)."""

    name: str
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None

    @property
    def checksum(self) -> str:
        """Such as "md5:c32a..."."""
        return f"sha256:{self.sha256}" if self.sha256 else f"md5:{self.md5}"


# ---------------------------------------------------------------------------------------------- checksums


def checksum(path: str | Path, kind: str = "sha256") -> str:
    """The checksum of a file as hexadecimal text. kind: "sha256" or "md5"."""
    digest = hashlib.new(kind, usedforsecurity=False)  # without the flag some systems refuse md5
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def mismatch(path: str | Path, *, sha256: str | None = None, md5: str | None = None) -> str | None:
    """What is wrong with a file in half a sentence, or None when every checksum that is given fits.

    Raises:
        CourseError: neither checksum is given: then nothing could be verified.
    """
    _need_checksum(path, sha256, md5)
    for kind, wanted in (("sha256", sha256), ("md5", md5)):
        found = checksum(path, kind) if wanted else None
        if wanted and found != wanted.lower():
            return f"its {kind} is {found} and should be {wanted.lower()} ({Path(path).stat().st_size:,} bytes)"
    return None


def _need_checksum(path: str | Path, sha256: str | None, md5: str | None) -> None:
    if not (sha256 or md5):
        raise CourseError(f"no checksum for {Path(path).name}; pass sha256=... or md5=..., else nothing is verified")


# ---------------------------------------------------------------------------------------------- download


class _Broken(Exception):
    """This attempt failed; the next one may do better."""


class _Hopeless(Exception):
    """This mirror will not do better."""


def download(urls: str | Sequence[str], path: str | Path, *, sha256: str | None = None, md5: str | None = None,
             size: int | None = None, chunk: int = 1 << 18, timeout: float = 30.0, attempts: int = 5,
             pause: float = 1.0, quiet: bool = False) -> Path:  # fmt: skip
    """Fetch a file, or go on with a fetch that was interrupted, and put it into place once its checksum is right.

    A file that already stands at `path` is verified and kept. A second process that wants the same folder waits.

    Args:
        urls: one address or several mirrors (http or https), tried in this order.
        path: where the file should stand.
        sha256, md5: checksums as hexadecimal text; at least one.
        size: bytes, where known: then a file that a server cuts short is resumed instead of thrown away.
        chunk: bytes per read.
        timeout: seconds of silence after which a connection counts as broken.
        attempts: failures in a row, without one new byte, after which the next mirror is asked.
        pause: seconds before the second attempt; each further pause is twice as long, at most 30.
        quiet: no progress line (there is none anyway when stderr is not a terminal).

    Returns:
        The path.

    Raises:
        CourseError: no mirror gave the right file, the disk is full or not writable, or an address is not http(s).
    """
    urls, path = [urls] if isinstance(urls, str) else list(urls), Path(path)
    _need_checksum(path, sha256, md5)
    for url in urls:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise CourseError(f"{url!r} is no http(s) address; for a file on this computer pass it as the local file")
    with alone(path.parent):
        say = _teller(quiet)
        if path.exists():
            wrong = mismatch(path, sha256=sha256, md5=md5)
            if wrong is None:
                return path
            say(f"{path.name} is damaged ({wrong}); fetching it again")
        part = _Part(path, size)
        is_right = lambda: mismatch(part.path, sha256=sha256, md5=md5) is None
        reasons = []
        for url in urls:
            try:
                _from_mirror(url, part, is_right, chunk, timeout, attempts, pause, say)
            except _Hopeless as error:
                reasons.append(f"  {url}: {error}")
                say(reasons[-1].strip())
                continue
            part.finish()
            return path
    again = f"The {part.have:,} bytes that arrived are kept: do the same again to go on." if part.have else "Try later."
    raise CourseError(
        f"could not download {path.name}:\n" + "\n".join(reasons) + f"\n{again} Or fetch {path.name} with a browser "
        "and pass it as the local file (--from FILE for a data script)"
    )


@contextlib.contextmanager
def alone(folder: str | Path) -> Iterator[None]:
    """One process at a time in this folder; the others wait. The lock dies with its process and leaves no file.

    Where the system has no such locks (Windows, some network folders) nobody waits; checksums still guard the result.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CourseError(f"{folder} cannot be made: {error.strerror}; choose another folder") from None
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class _Part:
    """The bytes that have arrived so far, and which version of the file they belong to."""

    def __init__(self, target: Path, size: int | None):
        self.target, self.size = target, size
        self.path = target.with_name(target.name + ".part")
        self.note_path = target.with_name(target.name + ".part.json")
        try:
            self.note = json.loads(self.note_path.read_text())
        except (OSError, ValueError):
            self.note = {}
        if not isinstance(self.note, dict):
            self.note = {}
        # What a server says about the length may be a lie, so the published size goes first.
        self.total = size or self.note.get("total")

    @property
    def have(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def clear(self) -> None:
        """Forget everything. The note goes last: bytes without a note are harmless, the checksum judges them."""
        self.path.unlink(missing_ok=True)
        self.note_path.unlink(missing_ok=True)
        self.note, self.total = {}, self.size

    def describe(self, url: str, validator: str | None, total: int | None) -> None:
        self.note, self.total = {"url": url, "validator": validator, "total": total}, self.size or total
        with common.atomic(self.note_path) as temporary:
            temporary.write_text(json.dumps(self.note))

    def finish(self) -> None:
        with open(self.path, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(self.path, self.target)
        self.note_path.unlink(missing_ok=True)


def _from_mirror(url: str, part: _Part, is_right: Callable[[], bool], chunk: int, timeout: float, attempts: int,
                 pause: float, say: Callable[[str], None]) -> None:  # fmt: skip
    """Bring `part` to a whole and right file, or raise `_Hopeless`."""
    failures, fresh_starts, farthest = 0, 0, part.have
    while True:
        try:
            if not (part.total and part.have == part.total):
                _transfer(url, part, chunk, timeout, say)
        except _Broken as error:
            # A server may always answer from the first byte, so only a new farthest byte counts as progress.
            failures = 1 if part.have > farthest else failures + 1
            farthest = max(farthest, part.have)
            if failures >= attempts:
                if part.have and is_right():  # whole all the same: a server may lie about the length
                    return
                raise _Hopeless(f"{error} ({attempts} times in a row, {part.have:,} bytes arrived)") from None
            wait = min(30.0, pause * 2 ** (failures - 1))
            say(f"{error}; trying again in {wait:.0f} s")
            time.sleep(wait)
            continue
        if is_right():
            return
        part.clear()
        fresh_starts += 1
        if fresh_starts >= FRESH_STARTS:
            raise _Hopeless(f"a wrong checksum, {fresh_starts} times; the server or the network changes the file")
        say("wrong checksum; fetching it again from the start")
        failures, farthest = 0, 0


def _transfer(url: str, part: _Part, chunk: int, timeout: float, say: Callable[[str], None]) -> None:
    """One request: append what the server sends. Returns when, as far as anyone can tell, the file is whole."""
    if part.total and part.have > part.total:
        part.clear()
    start = part.have
    headers = {"User-Agent": "sslcourse", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        # "Send the rest if this is still your file, else all of it." Only the mirror that it came from can answer that;
        # another mirror is asked for the rest without condition, and the checksum judges.
        if part.note.get("validator") and part.note.get("url") == url:
            headers["If-Range"] = part.note["validator"]
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:
                return _past_the_end(error.headers, part)
        if error.code in RETRY:
            raise _Broken(f"the server answered {error.code} {error.reason}") from None
        raise _Hopeless(f"the server answered {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
            raise _Hopeless(f"the certificate of the server is not valid ({error.reason})") from None
        raise _Broken(f"no connection ({_reason(error)})") from None
    with response:
        end, complete_if_closed = _prepare_part(url, response, part, start)
        _append(response, part, end, chunk, say)
        if part.total and part.have < part.total:
            raise _Broken(f"the connection ended after {part.have:,} of {part.total:,} bytes")
        if not part.total and not complete_if_closed:
            raise _Broken(f"the connection ended after {part.have:,} bytes")


def _past_the_end(headers, part: _Part) -> None:
    """416: the server has no byte at our position. Either all is here, or the part belongs to another file."""
    if headers.get("Content-Range", "").strip() == f"bytes */{part.have}" and part.size in (None, part.have):
        part.total = part.have
        return
    part.clear()
    raise _Broken("the server's file is shorter than what had arrived before")


def _prepare_part(url: str, response, part: _Part, start: int) -> tuple[int | None, bool]:
    """Make the part fit the answer. Returns the position at which the body ends (None: unknown), and whether a body of
    unknown length may be taken for whole when the connection closes."""
    tag, length = response.headers.get("ETag"), response.headers.get("Content-Length", "")
    validator = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
    length = int(length) if length.isdigit() else None
    if response.status == 206:
        first, total = _content_range(response.headers.get("Content-Range", ""))
        same_mirror = part.note.get("url") == url
        changed = same_mirror and part.note.get("validator") and validator and part.note["validator"] != validator
        if first != start or changed or (part.total and total and total != part.total):
            part.clear()
            raise _Broken("the server sent another part, or another version of the file")
        part.describe(url, validator, total)
        return (None if length is None else start + length), total is None
    if response.status != 200:
        raise _Broken(f"the server answered {response.status}")
    part.clear()  # all of it comes again: the server cannot resume, or the file has changed
    part.describe(url, validator, length)
    return length, True


def _content_range(text: str) -> tuple[int | None, int | None]:
    """"bytes 100-199/200" -> (100, 200); None where the server says nothing or nonsense."""
    unit, _, rest = text.strip().partition(" ")
    span, _, total = rest.partition("/")
    first = span.partition("-")[0]
    return (int(first) if unit == "bytes" and first.isdigit() else None), (int(total) if total.isdigit() else None)


def _append(response, part: _Part, end: int | None, chunk: int, say: Callable[[str], None]) -> None:
    try:
        file = open(part.path, "ab", buffering=0)  # unbuffered: what has arrived survives a kill
    except OSError as error:
        raise CourseError(f"cannot write {part.path}: {error.strerror}; choose another folder") from None
    with file:
        at, progress = part.have, _Progress(part.target.name, part.have, part.total, say)
        need_space(part.target.parent, (part.total or at) - at)
        while end is None or at < end:
            try:
                block = response.read1(chunk if end is None else min(chunk, end - at))
            except (OSError, http.client.HTTPException) as error:
                raise _Broken(f"the connection broke after {at:,} bytes ({_reason(error)})") from None
            if not block:
                break
            try:
                at += file.write(block)
            except OSError as error:
                raise CourseError(f"cannot write {part.path}: {error.strerror}; make room and call again") from None
            progress.show(at)
            if part.size and at > part.size:
                break  # more than the whole file: the checksum will refuse it
        progress.end(at)


def need_space(folder: Path, size: int) -> None:
    """CourseError unless `size` more bytes fit on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise CourseError(
            f"{folder} needs {size / 1e6:,.0f} MB more and has {free / 1e6:,.0f} MB free; make room there, or name "
            "another folder (--to FOLDER, or the environment variable SSLCOURSE_DATA)"
        )


def _reason(error: BaseException) -> str:
    error = getattr(error, "reason", error)
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__


# ---------------------------------------------------------------------------------------------- telling


def _teller(quiet: bool) -> Callable[..., None]:
    """A function that writes to stderr, or does nothing when quiet or when nobody watches."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        return lambda text, end="\n": None
    return lambda text, end="\n": print(text, end=end, file=sys.stderr, flush=True)


class _Progress:
    """`name  12.3 of 162.2 MB  4.1 MB/s  0:37 left`, five times a second."""

    def __init__(self, name: str, start: int, total: int | None, say: Callable[..., None]):
        self.name, self.start, self.total, self.say = name, start, total, say
        self.began, self.shown = time.monotonic(), 0.0

    def show(self, at: int, end: str = "") -> None:
        now = time.monotonic()
        if now - self.shown < 0.2 and not end:
            return
        self.shown, rate = now, (at - self.start) / max(now - self.began, 1e-6)
        text = f"\r{self.name}  {at / 1e6:.1f}"
        if self.total:
            left = max(0, self.total - at) / max(rate, 1.0)
            text += f" of {self.total / 1e6:.1f} MB  {rate / 1e6:.1f} MB/s  {left // 60:.0f}:{left % 60:02.0f} left"
        else:
            text += f" MB  {rate / 1e6:.1f} MB/s"
        self.say(f"{text:<79}", end=end)

    def end(self, at: int) -> None:
        self.show(at, end="\n")


# ---------------------------------------------------------------------------------------------- the student's own file


def local_or_download(local: str | Path | None, urls: str | Sequence[str], path: str | Path, *,
                      sha256: str | None = None, md5: str | None = None, size: int | None = None,
                      **options) -> Path:  # fmt: skip
    """The student's file where there is one, verified and left where it is; else `download(urls, path, ...)`.

    Args:
        local: None, a file, or a folder that holds a file of the name of `path`.
        **options: chunk, timeout, attempts, pause, quiet of `download`.

    Raises:
        CourseError: the local file is absent or has another checksum; or as `download`.
    """
    path = Path(path)
    if local is None:
        return download(urls, path, sha256=sha256, md5=md5, size=size, **options)
    local = Path(local).expanduser()
    file = local / path.name if local.is_dir() else local
    source = urls if isinstance(urls, str) else urls[0]
    if not file.is_file():
        raise CourseError(f"there is no file {file}; fetch {path.name} from {source} and pass that file or its folder")
    if wrong := mismatch(file, sha256=sha256, md5=md5):
        expected = f", of {size:,} bytes" if size else ""
        raise CourseError(
            f"{file} is not the file that was published: {wrong}. It may be incomplete or another version. Fetch "
            f"{path.name}{expected} again from {source}, or leave the local file out to download it"
        )
    return file


# ---------------------------------------------------------------------------------------------- archives


def members(archive: str | Path, wanted: Collection[str]) -> Iterator[tuple[str, int, BinaryIO]]:
    """The wanted regular files of a tar(.gz, .bz2, .xz) or zip archive, as (name, size in bytes, stream), in its order.

    Nothing is written to disk, so no archive can write where it should not. Read a stream before asking for the next.

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


def unpack(archive: str | Path, folder: str | Path, *, limit: int = UNPACK_LIMIT) -> Path:
    """Unpack a tar(.gz, .bz2, .xz), a zip or a single gz file into a new folder, which appears once it is complete.

    Only plain files and folders are written, with plain permissions. A member that is absolute, has `..`, is a device
    or a link (of whatever aim: chains of links are how archives break out) stops the unpacking, and nothing remains.

    Args:
        folder: must not exist yet, or be empty. An existing one is complete, so callers can ask `folder.is_dir()`.
        limit: bytes that the unpacked files may have together.

    Returns:
        The folder. A single gz file `name.gz` becomes `folder/name`.

    Raises:
        CourseError: the archive is damaged, of another kind, unsafe or too large, or the folder is not empty.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CourseError(f"{folder} exists already; delete it to unpack {archive.name} again, or name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        _unpack_into(archive, temporary, limit)
        temporary.chmod(0o755)  # mkdtemp makes it private
        if folder.exists():
            folder.rmdir()
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def sweep(path: str | Path) -> None:
    """Remove what a killed process left beside `path` (`.NAME.*.part`). For callers that are alone in the folder."""
    path = Path(path)
    for leftover in path.parent.glob(f".{path.name}.*.part"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _unpack_into(archive: Path, folder: Path, limit: int) -> None:
    written = 0
    for count, (name, size, stream) in enumerate(_regular_files(archive), 1):
        if count > MEMBER_LIMIT:
            raise CourseError(f"{archive} holds more than {MEMBER_LIMIT:,} files; refused")
        target = folder.joinpath(*_safe(archive, name))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            file = open(target, "xb")
        except (FileExistsError, NotADirectoryError):
            raise CourseError(f"{archive} holds {name!r} twice; refused") from None
        with file:
            before = written
            while block := _read(archive, stream, 1 << 20):
                written += len(block)  # counted as it comes: what an archive claims about itself proves nothing
                if written > limit:
                    raise CourseError(f"{archive} unpacks to more than {limit:,} bytes; if it should, pass limit=...")
                file.write(block)
        if size >= 0 and written - before != size:
            raise CourseError(f"{archive} is damaged: {name!r} is cut short; delete it and fetch it again")


def _safe(archive: Path, name: str) -> list[str]:
    """The parts of a member's name; CourseError when it would leave its folder."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    absolute = name.startswith(("/", "\\")) or (parts and ":" in parts[0])  # C:\ and alternate streams of Windows
    if absolute or ".." in parts or "\0" in name or not parts:
        raise CourseError(
            f"{archive} is unsafe: its member {name!r} would be written outside of its folder. Nothing was unpacked; "
            "fetch the archive from its authors"
        )
    return parts


def _read(archive: Path, stream: BinaryIO, size: int) -> bytes:
    try:
        return stream.read(size)
    except BROKEN_ARCHIVE as error:
        raise CourseError(f"{archive} is damaged ({error}); delete it and fetch it again") from None


def read_exactly(stream: BinaryIO, size: int, name: str) -> bytes:
    """`size` bytes of a stream of `members`. CourseError when it ends early or is damaged."""
    data = _read(Path(name), stream, size)
    if len(data) != size:
        raise CourseError(f"{name} ends {size - len(data):,} bytes early; delete its archive and fetch it again")
    return data


def _regular_files(archive: Path, skip_others: bool = False) -> Iterator[tuple[str, int, BinaryIO]]:
    """(name, size, stream) of each regular file; size -1 where the archive does not say. Folders are passed over; links
    and devices too with `skip_others`, else they are refused."""
    if not archive.is_file():
        raise CourseError(f"there is no file {archive}")
    try:
        if _is_tar(archive):
            yield from _tar_files(archive, skip_others)
        elif zipfile.is_zipfile(archive):
            yield from _zip_files(archive, skip_others)
        elif _is_gzip(archive):
            with gzip.open(archive, "rb") as stream:
                yield archive.name.removesuffix(".gz"), -1, stream
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


def _tar_files(archive: Path, skip_others: bool) -> Iterator[tuple[str, int, BinaryIO]]:
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            if member.isreg():
                yield member.name, member.size, tar.extractfile(member)
            elif member.isdir():
                if not skip_others and member.name not in ("", "."):
                    _safe(archive, member.name)
            elif not skip_others:
                aim = f" to {member.linkname!r}" if member.linkname else ""
                raise _not_plain(archive, member.name, aim)


def _zip_files(archive: Path, skip_others: bool) -> Iterator[tuple[str, int, BinaryIO]]:
    with zipfile.ZipFile(archive) as zipped:
        for info in zipped.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                if not skip_others:
                    _safe(archive, info.filename)
            elif kind in (0, stat.S_IFREG):
                with zipped.open(info) as stream:
                    yield info.filename, info.file_size, stream
            elif not skip_others:
                raise _not_plain(archive, info.filename, "")


def _not_plain(archive: Path, name: str, aim: str) -> CourseError:
    return CourseError(
        f"{archive} is unsafe: its member {name!r} is a link{aim} or a device. Nothing was unpacked; fetch the archive "
        "from its authors"
    )


# ---------------------------------------------------------------------------------------------- data scripts


def run_script(prepare: Callable[..., dict], doc: str, folder: Path, argv: Sequence[str] | None = None,
               options: Callable[[argparse.ArgumentParser], None] | None = None) -> int:  # fmt: skip
    """The command line of a data script: parse, call `prepare(source, folder, mirrors=, keep=, quiet=)`, print counts.

    Args:
        options: adds further arguments to the parser; `prepare` gets them by name.

    Returns:
        The exit status: 0, 1 for a mistake that is explained in words, 130 for Ctrl-C.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", metavar="FILE_OR_FOLDER",
                        help="files that you already have, or the folder they lie in: nothing is downloaded, but they "
                             "are held to the same checksum")  # fmt: skip
    parser.add_argument("--to", dest="folder", metavar="FOLDER", default=folder,
                        help="where the arrays should stand (default: %(default)s; the environment variable "
                             "SSLCOURSE_DATA moves the folder of all data sets)")  # fmt: skip
    parser.add_argument("--url", dest="mirrors", metavar="ADDRESS", action="append",
                        help="address of a folder that mirrors the files, instead of the official one; may be "
                             "repeated")  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="keep the downloaded files when the arrays are written")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    if options:
        options(parser)
    options = vars(parser.parse_args(argv))
    options = {name: value for name, value in options.items() if value is not None}
    return told(parser.prog, options.get("folder"), lambda: prepare(**options))


def told(program: str, folder: str | Path | None, work: Callable[[], dict]) -> int:
    """Do the work of a data script, print what came of it or why nothing did, and return the exit status, see `run_script`.

    Args:
        folder: where the arrays stand, unless the work says it itself ("folder" in what it returns, beside "name" and "arrays").
    """
    try:
        meta = work()
    except CourseError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{program}: stopped. Type the same again to go on.", file=sys.stderr)
        return 130
    print(f"{meta['name']} in {meta.get('folder', folder)}")
    for name, shape in meta["arrays"].items():
        print(f"  {name:<17} {shape[0]:>7,}" + (f"  of {'x'.join(str(s) for s in shape[1:])}" if shape[1:] else ""))
    return 0


# ---------------------------------------------------------------------------------------------- files without a published checksum


def download_unsigned(urls: str | Sequence[str], path: str | Path, examine: Callable[[Path], str | None], *, chunk: int = 1 << 18,
                      timeout: float = 30.0, attempts: int = 5, pause: float = 1.0, quiet: bool = False) -> Path:  # fmt: skip
    """Fetch a file as `download` does, resumed too, although nobody publishes its checksum.

    All that can be known is that the server sent as much as it announced and that `examine` finds nothing wrong. What arrived is noted
    in `NAME.note.json` (address, bytes, sha256), and from then on the file is held to that note.

    Args:
        examine: path of the file -> what is wrong with it in half a sentence, or None.
        others: as for `download`.

    Raises:
        CourseError: as `download`.
    """
    urls, path = [urls] if isinstance(urls, str) else list(urls), Path(path)
    note = path.with_name(path.name + ".note.json")
    with alone(path.parent):
        say = _teller(quiet)
        if path.exists():
            wrong = _differs_from_note(path, note) or examine(path)
            if wrong is None:
                return path
            say(f"{path.name} is damaged ({wrong}); fetching it again")
        part, reasons = _Part(path, None), []
        for url in urls:
            try:
                _from_mirror(url, part, lambda: examine(part.path) is None, chunk, timeout, attempts, pause, say)
            except _Hopeless as error:
                reasons.append(f"  {url}: {error}")
                say(reasons[-1].strip())
                continue
            found = dict(url=url, bytes=part.have, sha256=checksum(part.path), note="nobody publishes a checksum of this file: this is what arrived")
            with common.atomic(note) as temporary:
                temporary.write_text(json.dumps(found, indent=1))
            part.finish()
            return path
    raise CourseError(f"could not download {path.name}:\n" + "\n".join(reasons) + f"\nDo the same again to go on, or fetch {path.name} with a "
                      "browser and pass it as the local file (--from FILE for a data script)")  # fmt: skip


def _differs_from_note(path: Path, note: Path) -> str | None:
    try:
        noted = json.loads(note.read_text())
    except (OSError, ValueError):
        return None
    return None if noted.get("sha256") in (None, checksum(path)) else "it is no longer what was downloaded"


# ---------------------------------------------------------------------------------------------- rar


def rar_programs() -> list[str]:
    """Paths of the installed programs that read .rar, the most faithful first: the format is closed, and Python cannot read it.

    Raises:
        CourseError: there is none; the message says what to install.
    """
    found = [path for path in map(shutil.which, ("unrar", "unar", "bsdtar")) if path]
    if (tar := shutil.which("tar")) and not found:  # on macOS and Windows `tar` is bsdtar
        with contextlib.suppress(OSError):
            if "bsdtar" in subprocess.run([tar, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout:
                found.append(tar)
    if not found:
        raise CourseError("no program here unpacks .rar archives; install one of unrar, unar and bsdtar, such as: sudo apt install "
                          "libarchive-tools (Debian, Ubuntu, Colab: it has bsdtar), brew install unar (macOS), conda install libarchive")  # fmt: skip
    return found


def _rar_commands(program: str, archive: Path, folder: Path) -> tuple[list[str], list[str], int]:
    """How to list an archive, how to unpack it, and how many lines of the list are no names."""
    kind = Path(program).stem
    if kind == "unrar":
        return [program, "lb", "-p-", "--", str(archive)], [program, "x", "-p-", "-o-", "-idq", "--", str(archive), f"{folder}{os.sep}"], 0
    if kind == "unar":
        lister = shutil.which("lsar") or str(Path(program).with_name("lsar"))
        return [lister, "-p", "", str(archive)], [program, "-q", "-D", "-s", "-p", "", "-o", str(folder), str(archive)], 1
    return [program, "-tf", str(archive)], [program, "-xf", str(archive), "-C", str(folder)], 0


def _run(command: Sequence[str]) -> subprocess.CompletedProcess:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}  # names beyond ASCII
    return subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, env=environment)


def examine_rar(archive: Path) -> str | None:
    """What is wrong with a .rar archive as far as its beginning and its table of contents tell; None if nothing is."""
    with open(archive, "rb") as file:
        if file.read(6) != b"Rar!\x1a\x07":
            return "it does not begin like a .rar archive"
    for program in rar_programs():
        done = _run(_rar_commands(program, archive, archive.parent)[0])
        if not done.returncode:
            return None
    return f"its table of contents cannot be read ({(done.stderr or done.stdout).strip()[-200:]})"


def rar_table(archive: str | Path) -> list[tuple[int, int | None]] | None:
    """(bytes, CRC-32 or None) of every file in a .rar archive of version 4 or 5, from its headers; None where they cannot be followed
    (encrypted, in several volumes, cut short).

    Unpacking needs a program, but programs differ: libarchive does not compare the checksums of files that are stored uncompressed.
    """
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
    """Blocks of: checksum, kind, flags, size of the header, then in a file's header packed and unpacked size, system, CRC, and so on."""
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
    """Unpack a .rar archive into a new folder, which appears once it is complete and has the sizes and CRC-32 that the archive lists.

    As for `unpack`, nothing may leave the folder and only plain files and folders are accepted: names are read before anything is
    written, and what was written is examined before the folder gets its name.

    Args:
        folder: must not exist yet, or be empty.
        limit: bytes that the unpacked files may have together.

    Raises:
        CourseError: no program is there, the archive is damaged, unsafe or too large, or the folder is not empty.
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        raise CourseError(f"there is no file {archive}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CourseError(f"{folder} exists already; delete it to unpack {archive.name} again, or name another folder")
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
    raise CourseError(f"{archive} is damaged, or of a kind that no program here can read ({'; '.join(reasons)}); fetch it again, or install unrar")


def _unrar_into(program: str, archive: Path, folder: Path, limit: int) -> str | None:
    """None, or why this program could not."""
    listing, unpacking, skip = _rar_commands(program, archive, folder)
    done = _run(listing)
    if done.returncode:
        return (done.stderr or done.stdout).strip()[-200:] or f"exit status {done.returncode}"
    for name in done.stdout.splitlines()[skip:]:
        if name.strip():
            _safe(archive, name)
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
                raise _not_plain(archive, path.relative_to(folder).as_posix(), "")
            written += kind.st_size if stat.S_ISREG(kind.st_mode) else 0
    if written > limit:
        raise CourseError(f"{archive} unpacks to more than {limit:,} bytes; if it should, pass limit=...")
    table = rar_table(archive)
    return _not_the_table(folder, table) if table else None if written else "nothing came out of it"
