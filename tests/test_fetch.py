"""Downloads survive every bad server, nothing unverified is ever taken for whole, and no archive leaves its
folder.

A loopback server misbehaves on request and counts the bytes that it sends, so "resumed" is a number here.
"""

import gzip
import hashlib
import io
import os
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sslcourse.data import download
from sslcourse.runtime.errors import CourseError

BODY = bytes(hashlib.shake_256(b"a file").digest(300_000))
OTHER = bytes(hashlib.shake_256(b"another version").digest(310_000))
SHA, MD5 = hashlib.sha256(BODY).hexdigest(), hashlib.md5(BODY).hexdigest()
PLAN = dict(
    status=None,
    break_after=None,
    stall_after=None,
    ignore_range=False,
    ignore_if_range=False,
    length="right",
    corrupt=False,
    retry=None,
)


class Server(ThreadingHTTPServer):
    """Serves `body` at every path. `plans` says how the next requests are answered; then `plan` holds for the
    rest.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.etag, self.plans, self.plan = BODY, '"one"', [], {}
        self.requests, self.served, self.release = [], 0, threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/file.bin"

    def ranges(self):
        return [headers.get("Range") for _, headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        plan = {**PLAN, **(server.plans.pop(0) if server.plans else server.plan)}
        server.requests.append((self.path, self.headers))
        if plan["status"]:
            return self.send_error(plan["status"])
        start, body, wanted = 0, server.body, self.headers.get("Range")
        same = plan["ignore_if_range"] or self.headers.get("If-Range") in (None, server.etag)
        if wanted and same and not plan["ignore_range"]:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        payload = body[start:]
        if plan["corrupt"]:
            payload = payload[:1000] + bytes(200) + payload[1200:]
        if plan["length"] is not None:
            self.send_header(
                "Content-Length", str(len(payload) if plan["length"] == "right" else plan["length"])
            )
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        self.send(payload, plan)

    def send(self, payload, plan):
        cut = next((plan[k] for k in ("break_after", "stall_after") if plan[k] is not None), len(payload))
        try:
            self.wfile.write(payload[:cut])
            self.wfile.flush()
            self.server.served += len(payload[:cut])
        except OSError:  # the client has had enough
            self.close_connection = True
        if plan["stall_after"] is not None:
            self.server.release.wait(20)


def serve():
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.02), daemon=True).start()
    return server


@pytest.fixture
def server():
    server = serve()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def get(server, tmp_path):
    """download(...) from the server with short waits; the target is tmp_path/folder/file.bin."""

    def call(urls=None, **options):
        options = dict(sha256=SHA, pause=0.0, timeout=5.0, attempts=3) | options
        return download.download(urls or server.url, tmp_path / "folder" / "file.bin", **options)

    return call


@pytest.fixture
def target(tmp_path):
    return tmp_path / "folder" / "file.bin"


def alone_in(target):
    """The target stands there, and nothing else."""
    return [p.name for p in target.parent.iterdir()] == [target.name]


# ---------------------------------------------------------------------------------------------- download


def test_download_then_reuse(server, get, target):
    assert get() == target and target.read_bytes() == BODY and alone_in(target)
    assert get(md5=MD5) == target and len(server.requests) == 1  # verified, not fetched again


@pytest.mark.parametrize("size", [None, len(BODY)])
def test_resumes_after_a_break(server, get, target, size):
    server.plans = [dict(break_after=100_000), dict(break_after=50_000)]
    get(size=size)
    assert target.read_bytes() == BODY and alone_in(target)
    assert server.ranges() == [None, "bytes=100000-", "bytes=150000-"]
    assert server.served == len(BODY)  # every byte crossed the wire once
    assert server.requests[1][1]["If-Range"] == server.etag


def test_breaks_with_progress_do_not_use_up_the_attempts(server, get, target):
    server.plan = dict(break_after=len(BODY) // 12 + 1)
    get(attempts=2)
    assert target.read_bytes() == BODY and server.served == len(BODY) and len(server.requests) == 12


def test_stall_is_noticed_and_resumed(server, get, target):
    server.plans, began = [dict(stall_after=70_000)], time.monotonic()
    get(timeout=0.3)
    assert time.monotonic() - began < 10  # the server would have been silent for 20 s
    assert target.read_bytes() == BODY and server.served == len(BODY) and server.ranges()[1] == "bytes=70000-"


def test_server_without_range(server, get, target):
    server.plans = [dict(break_after=100_000), dict(ignore_range=True)]
    get()
    assert target.read_bytes() == BODY and server.served == 100_000 + len(BODY)


def test_server_without_range_that_always_breaks_comes_to_an_end(server, get, target):
    server.plan = dict(ignore_range=True, break_after=100_000)
    with pytest.raises(CourseError, match="3 times in a row"):
        get()
    assert not target.exists() and len(server.requests) <= 4


@pytest.mark.parametrize("size", [None, len(BODY)])
def test_length_too_long(server, get, target, size):
    server.plans = [dict(length=len(BODY) + 5000)]
    get(size=size)
    assert target.read_bytes() == BODY and server.served == len(BODY)


def test_length_too_long_for_ever_and_no_range(server, get, target):
    server.plan = dict(length=len(BODY) + 5000, ignore_range=True)
    get()
    assert target.read_bytes() == BODY


def test_length_too_short(server, get, target):
    server.plans = [dict(length=120_000)]
    get(size=len(BODY))
    assert target.read_bytes() == BODY and server.ranges() == [None, "bytes=120000-"]


def test_length_too_short_and_size_unknown(server, get, target):
    server.plan = dict(length=120_000)
    with pytest.raises(CourseError, match="wrong checksum"):
        get()
    assert list(target.parent.iterdir()) == []


def test_no_length(server, get, target):
    server.plans = [dict(length=None, break_after=90_000)]
    get(size=len(BODY))
    assert target.read_bytes() == BODY and server.served == len(BODY)


def test_corrupt_once(server, get, target):
    server.plans = [dict(corrupt=True)]
    get()
    assert target.read_bytes() == BODY and server.ranges() == [None, None]  # the bad part was thrown away


def test_corrupt_always(server, get, target):
    server.plan = dict(corrupt=True)
    with pytest.raises(CourseError, match=r"(?s)file.bin.*wrong checksum, 2 times.*browser"):
        get()
    assert len(server.requests) == 2 and list(target.parent.iterdir()) == []


def test_corrupt_mirror_then_a_good_one(server, second_server, get, target):
    server.plan = dict(corrupt=True)
    get([server.url, second_server.url])
    assert target.read_bytes() == BODY and second_server.served == len(BODY)


@pytest.fixture
def second_server():
    server = serve()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()


def test_a_file_that_changes_half_way(server, get, target):
    swap(server, [dict(break_after=100_000)])
    get(sha256=hashlib.sha256(OTHER).hexdigest())
    assert target.read_bytes() == OTHER and server.served == 100_000 + len(OTHER)


def test_a_file_that_changes_on_a_server_without_if_range(server, get, target):
    swap(server, [dict(break_after=100_000), dict(ignore_if_range=True)])
    get(sha256=hashlib.sha256(OTHER).hexdigest())
    assert target.read_bytes() == OTHER and server.ranges() == [None, "bytes=100000-", None]


def test_a_changed_file_of_the_same_length_is_known_by_its_etag(server, get, target):
    new = OTHER[: len(BODY)]
    swap(server, [dict(break_after=100_000), dict(ignore_if_range=True), dict(corrupt=True)], new)
    get(
        sha256=hashlib.sha256(new).hexdigest()
    )  # mixing both versions and the corruption would be one error too many
    assert target.read_bytes() == new


def swap(server, plans, new=OTHER):
    """After its first answer the server has another file."""

    class Plans(list):
        def pop(self, i):
            if len(self) <= len(plans):  # not the first answer
                server.body, server.etag = new, '"two"'
            return super().pop(i)

    server.plans = Plans([*plans, {}])


def test_absent_here_there_elsewhere(server, second_server, get, target):
    server.plan = dict(status=404)
    get([server.url, second_server.url])
    assert target.read_bytes() == BODY and len(server.requests) == 1  # 404 is not asked again


def test_the_next_mirror_goes_on_where_the_first_stopped(server, second_server, get, target):
    server.plans, server.plan, second_server.etag = (
        [dict(break_after=200_000)],
        dict(status=503),
        '"of its own"',
    )
    get([server.url, second_server.url])
    assert target.read_bytes() == BODY and server.served + second_server.served == len(BODY)
    assert second_server.requests[0][1]["If-Range"] is None


def test_errors_that_pass(server, get, target):
    server.plans = [dict(status=500), dict(status=503)]
    get()
    assert target.read_bytes() == BODY


def test_no_mirror_helps(server, second_server, get, target):
    server.plan, second_server.plan = dict(status=404), dict(status=500)
    with pytest.raises(CourseError, match=r"(?s)404.*500.*--from FILE") as error:
        get([server.url, second_server.url])
    assert server.url in str(error.value) and second_server.url in str(error.value)
    assert len(second_server.requests) == 3 and not target.exists()


def test_nobody_answers(get, target):
    with pytest.raises(CourseError, match="no connection"):
        get("http://127.0.0.1:9/file.bin")
    assert not target.exists()


def test_part_that_is_whole_already(server, get, target):
    target.parent.mkdir()
    part = target.with_name("file.bin.part")
    part.write_bytes(BODY)
    get(size=len(BODY))
    assert server.requests == [] and alone_in(target)
    target.rename(part)
    get()  # the size is unknown now: the server says 416, "bytes */300000"
    assert target.read_bytes() == BODY and server.served == 0


@pytest.mark.parametrize("size", [None, len(BODY)])
def test_part_that_is_too_long_or_foreign(server, get, target, size):
    target.parent.mkdir()
    part = target.with_name("file.bin.part")
    part.write_bytes(BODY + b"more")  # without a note: a browser's, or anybody's
    get(size=size)
    assert target.read_bytes() == BODY
    strange = part.with_name("file.bin.part.not-ours")
    assert strange.read_bytes() == BODY + b"more"  # set aside, and not one byte of it changed
    target.unlink()
    strange.unlink()
    part.write_bytes(bytes(1000))  # of some other file
    part.with_name("file.bin.part.json").write_text("[no json")
    get(size=size)
    assert target.read_bytes() == BODY and alone_in(target)


def test_the_published_size_outweighs_what_a_server_said_before(server, get, target):
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(BODY[:1000])
    target.with_name("file.bin.part.json").write_text('{"total": 1000}')
    get(size=len(BODY))
    assert target.read_bytes() == BODY and server.ranges() == ["bytes=1000-"]


def test_416_for_a_part_that_is_too_long_is_no_wrong_checksum(server, get, target):
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(BODY + b"more")
    server.plans = [{}, dict(corrupt=True)]  # one wrong checksum is allowed
    get()
    assert target.read_bytes() == BODY


def test_never_in_place_before_it_is_verified(server, get, target, monkeypatch):
    seen, honest = [], download.mismatch

    def watch(path, **sums):
        seen.append((str(path), target.exists()))
        return honest(path, **sums)

    monkeypatch.setattr(download.files, "mismatch", watch)
    server.plans = [dict(corrupt=True), dict(break_after=9)]
    get()
    assert seen == [(f"{target}.part", False)] * 2


def test_damaged_file_stays_until_a_right_one_is_there(server, get, target):
    target.parent.mkdir()
    target.write_bytes(BODY[:500])
    server.plan = dict(status=404)
    with pytest.raises(CourseError):
        get()
    assert target.read_bytes() == BODY[:500]
    server.plan = {}
    get()
    assert target.read_bytes() == BODY


def test_killed_and_finished(server, get, target):
    server.plans = [dict(stall_after=130_000)]
    code = (
        f"from sslcourse.data import download; download.download({server.url!r}, {str(target)!r}, "
        f"sha256={SHA!r})"
    )
    child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    part, deadline = target.with_name("file.bin.part"), time.monotonic() + 60
    while not (part.exists() and part.stat().st_size == 130_000):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not target.exists() and part.stat().st_size == 130_000
    get()
    assert target.read_bytes() == BODY and alone_in(target)
    assert server.served == len(BODY) and server.ranges()[1] == "bytes=130000-"


def test_a_second_caller_waits(server, get, target):
    with download.alone(target.parent):
        thread = threading.Thread(target=get)
        thread.start()
        thread.join(0.3)
        assert server.requests == []
    thread.join(10)
    assert target.read_bytes() == BODY


def test_refuses_what_it_cannot_verify_or_fetch(get, tmp_path):
    with pytest.raises(CourseError, match="no checksum for file.bin"):
        get(sha256=None)
    with pytest.raises(CourseError, match="no http"):
        get((tmp_path / "x").as_uri())


def test_full_disk(get, target, monkeypatch):
    monkeypatch.setattr(download.files.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(CourseError, match="make room"):
        get()
    assert not target.exists()


def test_progress_is_for_people(server, get, target, capsys, monkeypatch):
    get()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    target.unlink()
    get(quiet=True)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    target.unlink()
    get()
    last = capsys.readouterr().err.split("\r")[-1]
    assert last.startswith("file.bin: 100%") and "300k/300k" in last and "B/s" in last


# ---------------------------------------------------------------------------------------------- local files


def test_local_file_or_folder(server, tmp_path, target):
    (tmp_path / "mine").mkdir()
    mine = tmp_path / "mine" / "file.bin"
    mine.write_bytes(BODY)
    for local in (mine, mine.parent):
        assert download.local_or_download(local, server.url, target, md5=MD5) == mine
    assert server.requests == [] and not target.exists()
    assert download.local_or_download(None, server.url, target, md5=MD5) == target


def test_local_file_that_is_wrong(server, tmp_path, target):
    mine = tmp_path / "mine.bin"
    mine.write_bytes(BODY[:-1])
    with pytest.raises(CourseError, match=f"(?s){MD5}.*299,999 bytes.*of 300,000 bytes.*{server.url}"):
        download.local_or_download(mine, server.url, target, md5=MD5, size=len(BODY))
    with pytest.raises(CourseError, match="there is no file .*absent"):
        download.local_or_download(tmp_path / "absent", server.url, target, md5=MD5)
    assert server.requests == []


# ---------------------------------------------------------------------------------------------- archives


def tar_of(path, *entries, mode="w:gz"):
    """entries: (name, bytes) or a TarInfo."""
    with tarfile.open(path, mode) as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                tar.addfile(info, io.BytesIO(entry[1]))
    return path


def special(name, kind, linkname=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info


def zip_of(path, *entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data, *mode in entries:
            info = zipfile.ZipInfo("x")
            info.filename = name  # as it is: the constructor would tidy it
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (mode[0] if mode else stat.S_IFREG | 0o644) << 16
            zipped.writestr(info, data)
    return path


def gz_of(path, data):
    path.write_bytes(gzip.compress(data))
    return path


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_unpack(tmp_path, kind):
    entries, archive = [("a/b.txt", b"one"), ("./a/c/d.txt", b"two"), ("e", b"")], tmp_path / f"x.{kind}"
    if kind == "zip":
        zip_of(archive, ("a/", b"", stat.S_IFDIR | 0o755), *entries)
    else:
        tar_of(archive, special("a", tarfile.DIRTYPE), *entries, mode="w:gz" if kind == "tar.gz" else "w")
    folder = download.unpack(archive, tmp_path / "out")
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert found == {"a/b.txt": b"one", "a/c/d.txt": b"two", "e": b""}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", archive.name]
    with pytest.raises(CourseError, match="exists already"):
        download.unpack(archive, folder)


def test_unpack_a_single_gz(tmp_path):
    folder = download.unpack(gz_of(tmp_path / "data.bin.gz", BODY), tmp_path / "out")
    assert (folder / "data.bin").read_bytes() == BODY


BAD_TARS = {
    "parent": [("../evil", b"x")],
    "deep parent": [("a/../../evil", b"x")],
    "absolute": [("/tmp/evil-of-sslcourse", b"x")],
    "windows": [("a\\..\\..\\evil", b"x")],
    "drive": [("C:/evil", b"x")],
    "symlink out": [special("link", tarfile.SYMTYPE, "../.."), ("link/evil", b"x")],
    "symlink absolute": [special("link", tarfile.SYMTYPE, "/etc/passwd")],
    "symlink chain": [special("a", tarfile.SYMTYPE, "."), special("b", tarfile.SYMTYPE, "a/..")],
    "hard link": [special("link", tarfile.LNKTYPE, "../secret")],
    "device": [special("null", tarfile.CHRTYPE)],
    "pipe": [special("pipe", tarfile.FIFOTYPE)],
    "folder out": [special("../evil", tarfile.DIRTYPE)],
    "twice": [("a", b"x"), ("./a", b"y")],
    "file as folder": [("a", b"x"), ("a/b", b"y")],
}
BAD_ZIPS = {
    "parent": [("../evil", b"x")],
    "absolute": [("/tmp/evil-of-sslcourse", b"x")],
    "windows": [("..\\evil", b"x")],
    "symlink": [("link", b"../..", stat.S_IFLNK | 0o777), ("link/evil", b"x")],
    "folder out": [("../evil/", b"", stat.S_IFDIR | 0o755)],
}


@pytest.mark.parametrize("kind, name", [("tar", n) for n in BAD_TARS] + [("zip", n) for n in BAD_ZIPS])
def test_unpack_refuses_and_leaves_nothing(tmp_path, kind, name):
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret").write_text("secret")
    archive = (
        tar_of(inner / "x.tar.gz", ("good", b"1"), *BAD_TARS[name])
        if kind == "tar"
        else zip_of(inner / "x.zip", ("good", b"1"), *BAD_ZIPS[name])
    )
    with pytest.raises(CourseError, match=r"unsafe|twice"):
        download.unpack(archive, inner / "out")
    assert [p.name for p in inner.iterdir()] == [archive.name]  # neither the folder nor a temporary one
    assert sorted(p.name for p in tmp_path.iterdir()) == ["inner", "secret"]
    assert not os.path.exists("/tmp/evil-of-sslcourse")


def test_unpack_refuses_bombs(tmp_path):
    bomb = bytes(5_000_000)
    archives = [
        tar_of(tmp_path / "x.tar.gz", ("a", bomb[:3_000_000]), ("b", bomb[:3_000_000])),
        zip_of(tmp_path / "x.zip", ("a", bomb)),
        gz_of(tmp_path / "x.gz", bomb),
    ]
    for archive in archives:
        assert archive.stat().st_size < 20_000
        with pytest.raises(CourseError, match="more than 4,000,000 bytes"):
            download.unpack(archive, tmp_path / "out", limit=4_000_000)
        assert not (tmp_path / "out").exists()
    assert len(list(tmp_path.iterdir())) == len(archives)


def test_unpack_damaged_archives(tmp_path):
    whole = [
        tar_of(tmp_path / "x.tar.gz", ("a", BODY)),
        tar_of(tmp_path / "x.tar", ("a", BODY), mode="w"),
        zip_of(tmp_path / "x.zip", ("a", BODY)),
        gz_of(tmp_path / "x.gz", BODY),
    ]
    for archive in whole:
        archive.write_bytes(archive.read_bytes()[:100_000])
        with pytest.raises(CourseError, match="damaged|no tar, zip or gz"):
            download.unpack(archive, tmp_path / "out")
        assert not (tmp_path / "out").exists()
    data = bytearray(zip_of(tmp_path / "x.zip", ("a", BODY)).read_bytes())
    data[5000] ^= 255
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(CourseError, match="damaged"):
        download.unpack(tmp_path / "x.zip", tmp_path / "out")
    (tmp_path / "page.tar.gz").write_text("<html>log in first</html>")
    with pytest.raises(CourseError, match="no tar, zip or gz"):
        download.unpack(tmp_path / "page.tar.gz", tmp_path / "out")


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_a_tar_that_is_cut_between_two_members_is_damaged(tmp_path, kind):
    """Only its end marker, blocks of zeros, tells a whole archive from one that lacks its last members."""
    whole = tar_of(tmp_path / "whole.tar", ("a", b"one"), ("b", b"two"), mode="w").read_bytes()
    archive = tmp_path / f"x.{kind}"
    for end, rest in ((1024, b""), (2048, b""), (1024 + 100, b""), (1024, b"no header" * 100)):
        data = whole[:end] + rest
        archive.write_bytes(gzip.compress(data) if kind == "tar.gz" else data)
        with pytest.raises(CourseError, match="damaged: it has no end marker"):
            download.unpack(archive, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        with pytest.raises(CourseError, match="damaged: it has no end marker"):
            list(download.members(archive, {"a"}))
    archive.write_bytes(gzip.compress(whole) if kind == "tar.gz" else whole)
    assert len(list(download.unpack(archive, tmp_path / "out").iterdir())) == 2


def test_members_pass_the_data_filter(tmp_path, monkeypatch):
    """What it refuses is refused, also where our own rules would not; without it they stand alone."""

    def refuses(member, folder):
        raise tarfile.OutsideDestinationError(member, folder)

    archive = tar_of(tmp_path / "x.tar.gz", ("a", b"one"))
    monkeypatch.setattr(tarfile, "data_filter", refuses)
    with pytest.raises(CourseError, match="'a' would be written outside of its folder"):
        download.unpack(archive, tmp_path / "out")
    monkeypatch.delattr(tarfile, "data_filter")
    assert (download.unpack(archive, tmp_path / "out") / "a").read_bytes() == b"one"
    with pytest.raises(CourseError, match="unsafe"):
        download.unpack(tar_of(tmp_path / "y.tar.gz", *BAD_TARS["parent"]), tmp_path / "other")


def test_unpack_after_a_kill(tmp_path):
    leftover = tmp_path / ".out.abcd1234.part"
    leftover.mkdir()
    (leftover / "half").write_text("x")
    download.unpack(tar_of(tmp_path / "x.tar.gz", ("a", b"1")), tmp_path / "out")
    assert not leftover.exists() and [p.name for p in (tmp_path / "out").iterdir()] == ["a"]


def test_members(tmp_path):
    archive = tar_of(
        tmp_path / "x.tar.gz", ("f/a", b"one"), special("f/link", tarfile.SYMTYPE, "/"), ("../b", b"two")
    )
    assert {n: s.read(size) for n, size, s in download.members(archive, {"a", "b"})} == {
        "a": b"one",
        "b": b"two",
    }
    with pytest.raises(CourseError, match="lacks c"):
        list(download.members(archive, {"a", "c"}))
    with pytest.raises(CourseError, match="twice"):
        list(download.members(tar_of(tmp_path / "y.tar", ("a", b""), ("g/a", b""), mode="w"), {"a"}))
    for _, size, stream in download.members(archive, {"a"}):
        with pytest.raises(CourseError, match="1 bytes early"):
            download.read_exactly(stream, size + 1, "a")


# ---------------------------------------------------------------------------------------------- unsigned


def unsigned(server, target, **options):
    options = dict(pause=0.0, timeout=5.0, attempts=2) | options
    return download.download_unsigned(server.url, target, lambda path: None, **options)


def test_an_unsigned_file_has_a_limit_of_bytes(server, target):
    """Announced or not: nobody says how long such a file is."""
    for plan in ({}, {"length": None}):
        server.plan = plan
        with pytest.raises(CourseError, match="more than 1,000 bytes"):
            unsigned(server, target, limit=1000)
        assert not target.exists()
    server.plan = {}
    assert unsigned(server, target, limit=len(BODY)).read_bytes() == BODY


def test_a_note_that_is_damaged_is_no_proof(server, target):
    unsigned(server, target)
    note = target.with_name(target.name + ".note.json")
    good = note.read_text()
    for bad in ("", "[]", "{}", good.replace('"bytes"', '"byte"'), good.replace("sha256", "sha"), "[" * 9999):
        note.write_text(bad)
        before = len(server.requests)
        unsigned(server, target)
        assert len(server.requests) > before, bad  # it is fetched again, and noted anew
        assert target.read_bytes() == BODY
    before = len(server.requests)
    unsigned(server, target)
    assert len(server.requests) == before


@pytest.mark.parametrize("header", ["\u00b2\u00b3", "-5", "1e9", "9" * 30, " 12", "0x10"])
def test_a_length_that_is_none(header):
    assert download.files._count(header) is None
