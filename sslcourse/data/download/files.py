"""Files from the network or from the student's disk: never half a file, never a changed one, none outside its
folder.

    download            a file from one of several mirrors; goes on where it stopped; renamed once verified
    local_or_download   the same, or a file that the student already has, held to the same checksum
    members             the wanted files of a tar or zip archive as streams: nothing is written to disk
    unpack              a whole archive into a new folder
    unrar               the same for a .rar archive, by a program that is installed
    download_unsigned   for the rare file that nobody publishes a checksum of: resumed, examined, and noted
    run_script          the command line that all of `sslcourse data` share

While a download is under way `NAME.part` holds its bytes and `NAME.part.json` the server's version of the
file. Both survive a crash, and the next call goes on from there. `NAME` itself exists only when its checksum
has been verified."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from sslcourse import runtime
from sslcourse.runtime import pages
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, SECONDS, SOME, Number, takes

RETRY = (408, 425, 429, 500, 502, 503, 504)  # HTTP answers that may be better in a moment
MOST_BYTES = 50 * 10**9  # of a file of unknown size; the largest archive of the course has 7 GB
FRESH_STARTS = 2  # how often one mirror may send a file with a wrong checksum before the next one is asked


@dataclass(frozen=True)
class Remote:
    """A file as its authors published it: name, size in bytes, and a checksum (one of the two, as hexadecimal
    text).
    """

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
            return (
                f"its {kind} is {found} and should be {wanted.lower()} ({Path(path).stat().st_size:,} bytes)"
            )
    return None


def _need_checksum(path: str | Path, sha256: str | None, md5: str | None) -> None:
    if not (sha256 or md5):
        raise CourseError(
            f"no checksum for {Path(path).name}; pass sha256=... or md5=..., else nothing is verified"
        )


# ---------------------------------------------------------------------------------------------- download


class _Broken(Exception):
    """This attempt failed; the next one may do better."""


class _Hopeless(Exception):
    """This mirror will not do better."""


@takes(size=SOME, chunk=COUNT, timeout=SECONDS, attempts=COUNT, pause=Number(0, 1e9, whole=False))
def download(
    urls: str | Sequence[str],
    path: str | Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    chunk: int = 1 << 18,
    timeout: float = 30.0,
    attempts: int = 5,
    pause: float = 1.0,
    quiet: bool = False,
) -> Path:
    """Fetch a file, or go on with a fetch that was interrupted, and put it into place once its checksum is
    right.

    A file that already stands at `path` is verified and kept. A second process that wants the same folder
    waits.

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
        CourseError: no mirror gave the right file, the disk is full or not writable, or an address is not
            http(s).
    """
    urls, path = [urls] if isinstance(urls, str) else list(urls), Path(path)
    _need_checksum(path, sha256, md5)
    for url in urls:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise CourseError(
                f"{url!r} is no http(s) address; for a file on this computer pass it as the local file"
            )
    with alone(path.parent):
        say = _teller(quiet)
        if path.exists():
            wrong = mismatch(path, sha256=sha256, md5=md5)
            if wrong is None:
                return path
            say(f"{path.name} is damaged ({wrong}); fetching it again")
        part = _Part(path, size)
        is_right = lambda: mismatch(part.path, sha256=sha256, md5=md5) is None
        part.settle(is_right)
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
    again = (
        f"The {part.have:,} bytes that arrived are kept: do the same again to go on."
        if part.have
        else "Try later."
    )
    raise CourseError(
        f"could not download {path.name}:\n"
        + "\n".join(reasons)
        + f"\n{again} Or fetch {path.name} with a browser "
        "and pass it as the local file (--from FILE for sslcourse data)"
    )


@contextlib.contextmanager
def alone(folder: str | Path) -> Iterator[None]:
    """One process at a time in this folder; the others wait. The lock dies with its process and leaves no
    file.

    Where the system has no such locks (Windows, some network folders) nobody waits; checksums still guard the
    result."""
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


class PartNote(TypedDict):
    """NAME.part.json: which file of which server the bytes in NAME.part are."""

    url: pages.Name
    validator: pages.Name | None
    total: pages.Whole | None


class ArrivalNote(TypedDict):
    """NAME.note.json: what arrived of a file that nobody publishes a checksum of."""

    url: pages.Name
    bytes: pages.Whole
    sha256: pages.Sha256


class _Part:
    """The bytes that have arrived so far, and which version of the file they belong to."""

    def __init__(self, target: Path, size: int | None, most: int = MOST_BYTES):
        self.target, self.size, self.most = target, size, most
        self.path = target.with_name(target.name + ".part")
        self.note_path = target.with_name(target.name + ".part.json")
        try:
            self.note = pages.unchanged(pages.read(self.note_path, PartNote))
        except pages.Unfit:  # none, or no longer ours: the checksum judges the bytes
            self.note = {}
        self.strange = self.path.exists() and not self.note_path.exists()
        # What a server says about the length may be a lie, so the published size goes first.
        self.total = size or self.note.get("total")

    @property
    def have(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def clear(self) -> None:
        """Forget everything. The note goes last: it says that the bytes are ours."""
        # May go: `describe` wrote the note before the first byte came.
        self.path.unlink(missing_ok=True)
        self.note_path.unlink(missing_ok=True)
        self.note, self.total = {}, self.size

    def describe(self, url: str, validator: str | None, total: int | None) -> None:
        self.note, self.total = {"url": url, "validator": validator, "total": total}, self.size or total
        with runtime.atomic(self.note_path) as temporary:
            temporary.write_text(json.dumps(pages.sealed(self.note)), encoding="utf-8", newline="\n")

    def settle(self, is_right: Callable[[], bool]) -> None:
        """Before anything is asked of a server: bytes that we did not note (browsers call what they fetch
        NAME.part too) are the whole file, or they are somebody else's and set aside."""
        if self.strange and not is_right():
            aside = runtime.files.set_aside(self.path, "not-ours")
            _aloud(f"{self.path} is not of this download; it is {aside.name} now")
        elif self.strange:
            self.total = self.have

    def finish(self) -> None:
        with open(self.path, "rb+") as file:
            os.fsync(file.fileno())
        # May replace: what stood there has another checksum than the file that was asked for.
        os.replace(self.path, self.target)
        self.note_path.unlink(missing_ok=True)  # May go: `describe` wrote it.


def _from_mirror(
    url: str,
    part: _Part,
    is_right: Callable[[], bool],
    chunk: int,
    timeout: float,
    attempts: int,
    pause: float,
    say: Callable[[str], None],
) -> None:
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
            raise _Hopeless(
                f"a wrong checksum, {fresh_starts} times; the server or the network changes the file"
            )
        say("wrong checksum; fetching it again from the start")
        failures, farthest = 0, 0


def _transfer(url: str, part: _Part, chunk: int, timeout: float, say: Callable[[str], None]) -> None:
    """One request: append what the server sends. Returns when, as far as anyone can tell, the file is
    whole.
    """
    if part.total and part.have > part.total:
        part.clear()
    start = part.have
    headers = {"User-Agent": "sslcourse", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        # "Send the rest if this is still your file, else all of it." Only the mirror that it came from can
        # answer that; another mirror is asked for the rest without condition, and the checksum judges.
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
        reason = getattr(error, "reason", None)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise _Hopeless(f"the certificate of the server is not valid ({reason})") from None
        raise _Broken(f"no connection ({_reason(error)})") from None
    with response:
        end, complete_if_closed = _prepare_part(url, response, part, start)
        _append(response, part, end, chunk, say)
        if part.total and part.have < part.total:
            raise _Broken(f"the connection ended after {part.have:,} of {part.total:,} bytes")
        if not part.total and not complete_if_closed:
            raise _Broken(f"the connection ended after {part.have:,} bytes")


def _past_the_end(headers, part: _Part) -> None:
    """416: the server has no byte at our position. Either all is here, or the part belongs to another
    file.
    """
    if headers.get("Content-Range", "").strip() == f"bytes */{part.have}" and part.size in (None, part.have):
        part.total = part.have
        return
    part.clear()
    raise _Broken("the server's file is shorter than what had arrived before")


def _prepare_part(url: str, response, part: _Part, start: int) -> tuple[int | None, bool]:
    """Make the part fit the answer. Returns the position at which the body ends (None: unknown), and whether
    a body of
    unknown length may be taken for whole when the connection closes."""
    tag, length = response.headers.get("ETag"), response.headers.get("Content-Length", "")
    validator = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
    length = _count(length)
    if response.status == 206:
        first, total = _content_range(response.headers.get("Content-Range", ""))
        same_mirror = part.note.get("url") == url
        changed = (
            same_mirror and part.note.get("validator") and validator and part.note["validator"] != validator
        )
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
    """ "bytes 100-199/200" -> (100, 200); None where the server says nothing or nonsense."""
    unit, _, rest = text.strip().partition(" ")
    span, _, total = rest.partition("/")
    return (_count(span.partition("-")[0]) if unit == "bytes" else None), _count(total)


def _count(text: str) -> int | None:
    """A number of bytes as a server writes it; None where it is none."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def _append(response, part: _Part, end: int | None, chunk: int, say: Callable[[str], None]) -> None:
    try:
        file = open(part.path, "ab", buffering=0)  # unbuffered: what has arrived survives a kill
    except OSError as error:
        raise CourseError(f"cannot write {part.path}: {error.strerror}; choose another folder") from None
    with file, _bar(part, hidden=say is _silent) as bar:
        at = part.have
        if (part.total or at) > part.most:
            raise _Hopeless(_too_long(part))
        need_space(part.target.parent, (part.total or at) - at)
        while end is None or at < end:
            try:
                block = response.read1(chunk if end is None else min(chunk, end - at))
            except (OSError, http.client.HTTPException) as error:
                raise _Broken(f"the connection broke after {at:,} bytes ({_reason(error)})") from None
            if not block:
                break
            try:
                written = file.write(block)
            except OSError as error:
                raise CourseError(
                    f"cannot write {part.path}: {error.strerror}; make room and call again"
                ) from None
            at += written
            bar.update(written)
            if part.size and at > part.size:
                break  # more than the whole file: the checksum will refuse it
            if at > part.most:
                part.clear()
                raise _Hopeless(_too_long(part))


def _too_long(part: _Part) -> str:
    return f"the file has more than {part.most:,} bytes; if it should, pass limit=..."


@takes(size=SOME)
def need_space(folder: Path, size: int) -> None:
    """CourseError unless `size` more bytes fit on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise CourseError(
            f"{folder} needs {size / 1e6:,.0f} MB more and has {free / 1e6:,.0f} MB free; make room there, "
            "or name "
            "another folder (--to FOLDER, or the environment variable SSLCOURSE_DATA)"
        )


def _reason(error: BaseException) -> str:
    error = getattr(error, "reason", error)
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__


# ---------------------------------------------------------------------------------------------- telling


def _silent(text: str) -> None:
    """Says nothing."""


def _aloud(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _teller(quiet: bool) -> Callable[[str], None]:
    """A function that writes to stderr, or does nothing when quiet or when nobody watches."""
    nobody = quiet or sys.stderr is None or not sys.stderr.isatty()
    return _silent if nobody else _aloud


def _bar(part: _Part, hidden: bool):
    """How far a file has come, how fast, and the time that is left."""
    from tqdm.auto import tqdm

    return tqdm(
        total=part.total,
        initial=part.have,
        desc=part.target.name,
        unit="B",
        unit_scale=True,
        file=sys.stderr,
        mininterval=0.2,
        disable=hidden,
    )


# ------------------------------------------------------------------------------------- the student's own file


@takes(size=SOME)
def local_or_download(
    local: str | Path | None,
    urls: str | Sequence[str],
    path: str | Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    **options,
) -> Path:
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
        raise CourseError(
            f"there is no file {file}; fetch {path.name} from {source} and pass that file or its folder"
        )
    if wrong := mismatch(file, sha256=sha256, md5=md5):
        expected = f", of {size:,} bytes" if size else ""
        raise CourseError(
            f"{file} is not the file that was published: {wrong}. It may be incomplete or another version. "
            "Fetch "
            f"{path.name}{expected} again from {source}, or leave the local file out to download it"
        )
    return file


# ------------------------------------------------------------------------- files without a published checksum


@takes(chunk=COUNT, timeout=SECONDS, attempts=COUNT, pause=Number(0, 1e9, whole=False), limit=COUNT)
def download_unsigned(
    urls: str | Sequence[str],
    path: str | Path,
    examine: Callable[[Path], str | None],
    *,
    chunk: int = 1 << 18,
    timeout: float = 30.0,
    attempts: int = 5,
    pause: float = 1.0,
    quiet: bool = False,
    limit: int = MOST_BYTES,
) -> Path:
    """Fetch a file as `download` does, resumed too, although nobody publishes its checksum.

    All that can be known is that the server sent as much as it announced and that `examine` finds nothing
    wrong. What arrived is noted in `NAME.note.json` (address, bytes, sha256), and from then on the file is
    held to that note.

    Args:
        examine: path of the file -> what is wrong with it in half a sentence, or None.
        limit: bytes that a server may send: nobody says how long the file is.
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
        part, reasons = _Part(path, None, limit), []
        part.settle(lambda: examine(part.path) is None)
        for url in urls:
            try:
                _from_mirror(
                    url, part, lambda: examine(part.path) is None, chunk, timeout, attempts, pause, say
                )
            except _Hopeless as error:
                reasons.append(f"  {url}: {error}")
                say(reasons[-1].strip())
                continue
            found = dict(
                url=url,
                bytes=part.have,
                sha256=checksum(part.path),
                note="nobody publishes a checksum of this file: this is what arrived",
            )
            with runtime.atomic(note) as temporary:
                temporary.write_text(
                    json.dumps(pages.sealed(found), indent=1), encoding="utf-8", newline="\n"
                )
            part.finish()
            return path
    raise CourseError(
        f"could not download {path.name}:\n"
        + "\n".join(reasons)
        + f"\nDo the same again to go on, or fetch {path.name} with a "
        "browser and pass it as the local file (--from FILE for sslcourse data)"
    )


def _differs_from_note(path: Path, note: Path) -> str | None:
    if not note.exists():
        return None
    try:
        noted = pages.unchanged(pages.read(note, ArrivalNote))
    except pages.Unfit as error:
        return f"its note {note.name} is damaged: {error}"
    if noted["bytes"] != path.stat().st_size or noted["sha256"] != checksum(path):
        return "it is no longer what was downloaded"
    return None
