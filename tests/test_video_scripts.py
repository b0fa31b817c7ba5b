"""The data scripts of videos, from a small server that breaks off to clips that can be trained on; and
archives in .rar.

No program can write .rar freely, so archives are written here from the format's description (version 4, files
stored as they are). Where unrar, unar or bsdtar is installed it reads them; a program of this file, which
knows only such archives, stands in elsewhere."""

import dataclasses
import hashlib
import io
import json
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import threading
import zipfile
import zlib
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from test_clips import PALETTE, encode, frames_of, moving, whole
from test_images import SCRIPTS, script

from sslcourse import runtime
from sslcourse.data import clips, download
from sslcourse.runtime.errors import CourseError

from PIL import Image  # isort: skip

DAVIS, UCF, HMDB = script("davis"), script("ucf101"), script("hmdb51")


# -------------------------------------------------------------------------------------- a server and archives


class Server(ThreadingHTTPServer):
    """Serves `files` by name; `breaks[name]` lists after how many bytes the next answers break off."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.breaks, self.asked, self.sent = {}, {}, [], 0
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        name = self.path.rpartition("/")[2]
        self.server.asked.append((name, self.headers.get("Range")))
        if name not in self.server.files:
            return self.send_error(404)
        body, start = self.server.files[name], int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("ETag", '"one"')
        self.end_headers()
        stops = self.server.breaks.get(name)
        rest = body[start : start + stops.pop(0)] if stops else body[start:]
        self.server.sent += len(rest)
        self.wfile.write(rest)


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.02), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def quick_and_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("SSLCOURSE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(download.files.time, "sleep", lambda seconds: None)


def rar_of(files):
    """An archive of {name: bytes, or (bytes, mode)}: its signature, a header, one header for each file, an
    end.
    """
    block = lambda rest: struct.pack("<H", zlib.crc32(rest) & 0xFFFF) + rest
    parts = [b"Rar!\x1a\x07\x00", block(struct.pack("<BHHHI", 0x73, 0, 13, 0, 0))]
    for name, data in files.items():
        data, mode = data if isinstance(data, tuple) else (data, stat.S_IFREG | 0o644)
        written = name.replace("/", "\\").encode()  # as this version has it
        header = struct.pack(
            "<BHHIIBIIBBHI",
            0x74,
            0x8000,
            32 + len(written),
            len(data),
            len(data),
            3,
            zlib.crc32(data),
            0x5A5A5A5A,
            20,
            0x30,
            len(written),
            mode,
        )
        parts += [block(header + written), data]
    return b"".join([*parts, block(struct.pack("<BHH", 0x7B, 0x4000, 7))])


def rar5_of(files):
    """The same in version 5."""

    def number(value):
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + number(value >> 7)

    def block(*numbers, tail=b""):
        body = b"".join(map(number, numbers)) + tail
        return struct.pack("<I", zlib.crc32(number(len(body)) + body)) + number(len(body)) + body

    parts = [b"Rar!\x1a\x07\x01\x00", block(1, 0, 0)]
    for name, data in files.items():
        data, mode = data if isinstance(data, tuple) else (data, stat.S_IFREG | 0o644)
        written = name.encode()
        tail = (
            struct.pack("<II", 1_600_000_000, zlib.crc32(data))
            + number(0)
            + number(1)
            + number(len(written))
            + written
        )
        parts += [block(2, 2, len(data), 2 | 4, len(data), mode, tail=tail), data]
    return b"".join([*parts, block(5, 0, 0)])


FAKE = """#!{python}
import os, pathlib, struct, sys, zlib
action, (archive, *to) = sys.argv[1], sys.argv[sys.argv.index("--") + 1 :]
data, at = pathlib.Path(archive).read_bytes(), 20
while True:
    if at + 7 > len(data):
        sys.exit("unexpected end of archive")
    kind, _, size = struct.unpack_from("<BHH", data, at + 2)
    if kind == 0x7B:
        break
    length, _, _, crc, *_, named, mode = struct.unpack_from("<IIBIIBBHI", data, at + 7)
    name = data[at + 32 : at + size].decode().replace(chr(92), "/")
    body = data[at + size : at + size + length]
    if action == "lb":
        print(name)
    elif mode >> 12 == 10:
        os.symlink(body.decode(), pathlib.Path(to[0], name))
    elif len(body) < length or zlib.crc32(body) != crc:
        sys.exit(name + " checksum error")
    else:
        pathlib.Path(to[0], name).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(to[0], name).write_bytes(body)
    at += size + length
"""


@pytest.fixture
def unrar(tmp_path, monkeypatch):
    """The stand-in, called unrar, and nothing else that reads .rar."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "unrar").write_text(FAKE.format(python=sys.executable))
    (folder / "unrar").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.fixture(params=["stand-in", "unrar", "unar", "bsdtar"])
def any_unrar(request, tmp_path, monkeypatch):
    """The stand-in, and every real program that is installed, each alone."""
    if request.param == "stand-in":
        return request.getfixturevalue("unrar")
    if not (path := shutil.which(request.param)):
        pytest.skip(f"{request.param} is not installed")
    (tmp_path / "programs").mkdir()
    for name in (path, shutil.which("lsar")) if request.param == "unar" else (path,):
        (tmp_path / "programs" / Path(name).name).symlink_to(name)
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))


@pytest.mark.parametrize("make", [rar_of, rar5_of])
def test_a_rar_that_is_cut_anywhere_is_refused(tmp_path, make):
    """Between two members, too: only the end marker tells such a file from a whole one."""
    whole, archive = make({"a/x.txt": b"hello" * 10, "b.txt": b"world"}), tmp_path / "x.rar"
    archive.write_bytes(whole)
    assert [m.name for m in download.rar_members(archive)] == ["a/x.txt", "b.txt"]
    for end in range(len(whole)):
        archive.write_bytes(whole[:end])
        with pytest.raises(CourseError):
            download.rar_members(archive)


def test_unrar(tmp_path, any_unrar):
    files = {"a/b.txt": b"one", "a/c/d#1 (HQ).txt": b"two" * 1000, "e": b"three"}
    (tmp_path / "x.rar").write_bytes(rar_of(files))
    folder = download.unrar(tmp_path / "x.rar", tmp_path / "out")
    assert {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    } == files
    assert download.examine_rar(tmp_path / "x.rar") is None
    with pytest.raises(CourseError, match="exists already"):
        download.unrar(tmp_path / "x.rar", folder)
    with pytest.raises(CourseError, match="more than 100 bytes"):
        download.unrar(tmp_path / "x.rar", tmp_path / "other", limit=100)
    with pytest.raises(CourseError, match="there is no file"):
        download.unrar(tmp_path / "absent.rar", tmp_path / "other")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "programs", "x.rar"]


@pytest.mark.parametrize(
    "files",
    [
        {"good": b"1", "../evil": b"x"},
        {"/tmp/evil-of-sslcourse": b"x"},
        {"a/../../evil": b"x"},
        {"good": b"1", "link": (b"..", stat.S_IFLNK | 0o777)},
        {"good": b"1", "null": (b"", stat.S_IFCHR | 0o666)},
    ],
)
def test_unrar_refuses_and_leaves_nothing(tmp_path, any_unrar, files):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "x.rar").write_bytes(rar_of(files))
    with pytest.raises(CourseError, match="unsafe|damaged"):
        download.unrar(inner / "x.rar", inner / "out")
    assert (
        [p.name for p in inner.iterdir()] == ["x.rar"]
        and not (tmp_path / "evil").exists()
        and not Path("/tmp/evil-of-sslcourse").exists()
    )


def test_a_link_is_refused_where_the_table_hides_it(tmp_path, any_unrar, monkeypatch):
    monkeypatch.setattr(download.rar, "_kind", lambda rarfile, info: "file")
    (tmp_path / "x.rar").write_bytes(rar_of({"good": b"1", "link": (b"good", stat.S_IFLNK | 0o777)}))
    with pytest.raises(CourseError, match="its member 'link' is a link"):
        download.unrar(tmp_path / "x.rar", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unrar_of_what_is_damaged(tmp_path, any_unrar):
    whole = rar_of({"a": b"one" * 1000, "b": b"two" * 1000})
    flipped = bytearray(whole)
    flipped[200] ^= 1
    for data in (whole[: len(whole) // 2], bytes(flipped), b"<html>log in first</html>" * 9):
        (tmp_path / "x.rar").write_bytes(data)
        with pytest.raises(CourseError, match="x.rar is damaged, or of a kind"):
            download.unrar(tmp_path / "x.rar", tmp_path / "out")
        assert not (tmp_path / "out").exists()
    assert "does not begin like" in download.examine_rar(tmp_path / "x.rar")


@pytest.mark.parametrize("write", [rar_of, rar5_of])
def test_the_table_of_contents_of_an_archive(tmp_path, write):
    files = {"a": b"one" * 1000, "b/c": b"two" * 50, "empty": b""}
    (tmp_path / "x.rar").write_bytes(write(files))
    assert download.rar_members(tmp_path / "x.rar") == [
        (name, "file", len(data), zlib.crc32(data)) for name, data in files.items()
    ]
    for data in (write(files)[:2000], b"PK" * 50, b""):
        (tmp_path / "x.rar").write_bytes(data)
        with pytest.raises(CourseError, match="x.rar is damaged, or of a kind"):
            download.rar_members(tmp_path / "x.rar")


@pytest.mark.parametrize("write", [rar_of, rar5_of])
def test_kinds_of_members(tmp_path, write):
    kinds = {"a": stat.S_IFREG, "link": stat.S_IFLNK, "null": stat.S_IFCHR, "pipe": stat.S_IFIFO}
    (tmp_path / "x.rar").write_bytes(write({name: (b"a", kind | 0o644) for name, kind in kinds.items()}))
    found = {member.name: member.kind for member in download.rar_members(tmp_path / "x.rar")}
    assert found == {"a": "file", "link": "other", "null": "other", "pipe": "other"}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR])
def test_what_is_no_plain_file_is_refused_before_a_program_writes_anything(
    tmp_path, unrar, monkeypatch, kind
):
    (tmp_path / "x.rar").write_bytes(rar_of({"good": b"1", "bad": (b"good", kind | 0o644)}))
    monkeypatch.setattr(download.rar, "_unrar_into", lambda *given: pytest.fail("a program was started"))
    with pytest.raises(CourseError, match="its member 'bad' is a link or a device"):
        download.unrar(tmp_path / "x.rar", tmp_path / "out")


def test_without_rarfile_the_message_says_what_to_install(tmp_path, unrar, monkeypatch):
    (tmp_path / "x.rar").write_bytes(rar_of({"a": b"one"}))
    monkeypatch.setitem(sys.modules, "rarfile", None)
    for ask in (download.rar_programs, lambda: download.unrar(tmp_path / "x.rar", tmp_path / "out")):
        with pytest.raises(CourseError, match="pip install rarfile"):
            ask()


@pytest.mark.parametrize("program", ["unrar", "unar", "bsdtar"])
def test_version_5(tmp_path, program, monkeypatch):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    monkeypatch.setattr(download.rar, "rar_programs", lambda: [shutil.which(program)])
    files = {"a": b"one" * 1000, "b/c": b"two" * 50}
    (tmp_path / "x.rar").write_bytes(rar5_of(files))
    folder = download.unrar(tmp_path / "x.rar", tmp_path / "out")
    assert {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    } == files
    (tmp_path / "x.rar").write_bytes(rar5_of(files).replace(b"oneone", b"oneOne", 1))
    with pytest.raises(CourseError, match="damaged"):
        download.unrar(tmp_path / "x.rar", tmp_path / "other")


def test_without_a_program_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        CourseError, match="install one of unrar, unar and bsdtar, such as: sudo apt install libarchive-tools"
    ):
        download.rar_programs()


def test_tar_that_is_bsdtar(tmp_path, monkeypatch):
    for answer, works in (("bsdtar 3.6 - libarchive 3.6", True), ("tar (GNU tar) 1.34", False)):
        (tmp_path / "tar").write_text(f"#!{sys.executable}\nprint({answer!r})\n")
        (tmp_path / "tar").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        if works:
            assert download.rar_programs() == [str(tmp_path / "tar")]
        else:
            with pytest.raises(CourseError, match="install one of"):
                download.rar_programs()


# ----------------------------------------------------------------------------------- files without a checksum


def test_download_without_a_checksum(server, tmp_path):
    body = bytes(hashlib.shake_256(b"x").digest(300_000))
    server.files["x.bin"], server.breaks["x.bin"] = body, [100_000, 50_000]
    examine = lambda path: None if path.stat().st_size == 300_000 else "it is short"
    get = partial(
        download.download_unsigned, f"{server.url}/x.bin", tmp_path / "f" / "x.bin", examine, pause=0.0
    )
    assert get().read_bytes() == body and server.sent == 300_000
    assert [wanted for _, wanted in server.asked] == [None, "bytes=100000-", "bytes=150000-"]
    note = json.loads((tmp_path / "f" / "x.bin.note.json").read_text())
    assert (note["bytes"], note["sha256"], note["url"]) == (
        300_000,
        hashlib.sha256(body).hexdigest(),
        f"{server.url}/x.bin",
    )
    assert get() and len(server.asked) == 3  # it is there
    (tmp_path / "f" / "x.bin").write_bytes(
        body[:-1] + b"!"
    )  # examined, it looks whole; the note knows better
    assert get().read_bytes() == body and len(server.asked) == 4
    assert {p.name for p in (tmp_path / "f").iterdir()} == {"x.bin", "x.bin.note.json"}
    with pytest.raises(CourseError, match="(?s)could not download y.bin.*404.*pass it as the local file"):
        download.download_unsigned(f"{server.url}/y.bin", tmp_path / "f" / "y.bin", examine)
    server.files["y.bin"] = b"<html>log in first</html>"
    with pytest.raises(CourseError, match="could not download y.bin"):
        download.download_unsigned(f"{server.url}/y.bin", tmp_path / "f" / "y.bin", examine)
    assert not (tmp_path / "f" / "y.bin").exists()


# ---------------------------------------------------------------------------------------------- UCF101


def zip_bytes(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, data in files.items():
            zipped.writestr(name, data)
    return buffer.getvalue()


def remote(name, data):
    return download.Remote(name, len(data), sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture(scope="module")
def ucf(tmp_path_factory):
    """Two classes, four groups of two videos, three folds: videos by path, the lists, what is expected, and
    the frames.
    """
    root, videos, truth, lists = tmp_path_factory.mktemp("ucf"), {}, {}, {}
    for c, label in enumerate(("HandstandPushups", "Archery")):
        for group in range(1, 5):
            for clip in (1, 2):
                # The official lists write HandStandPushups in names of files, the archive HandstandPushups.
                name = f"v_{label}_g{group:02d}_c{clip:02d}.avi"
                truth[name.lower()] = frames_of((c, group, clip), 9, 20, 26)
                videos[f"{label}/{name}"] = encode(root / name, truth[name.lower()]).read_bytes()
    for fold in (1, 2, 3):
        line = lambda path: path.replace("/v_HandstandPushups", "/v_HandStandPushups")
        in_test = lambda path, fold=fold: f"_g{fold:02d}_" in path
        lists[f"trainlist0{fold}.txt"] = "".join(f"{line(p)} 1\r\n" for p in videos if not in_test(p))
        lists[f"testlist0{fold}.txt"] = "".join(f"{line(p)}\r\n" for p in videos if in_test(p))
    lists["classInd.txt"] = "1 Archery\r\n2 HandstandPushups\r\n"
    lists = zip_bytes({f"ucfTrainTestlist/{name}": text.encode() for name, text in lists.items()})
    archive = zip_bytes({f"UCF101/{path.rpartition('/')[2]}": data for path, data in videos.items()})
    official = UCF.Expected()
    expected = UCF.Expected(
        remote(official.videos.name, archive), remote(official.lists.name, lists), 16, 2, first=(12, 4)
    )
    return videos, lists, archive, expected, truth


SMALL = dict(size=16, fps=8.0, quiet=True)


def small(truth):
    """What a frame of 20 x 26 pixels becomes: near enough to tell it from all others."""
    return truth[:, :, 3:23].astype(float)


def check_ucf(truth, folder=None):
    folder = folder or runtime.data_dir("ucf101")
    for name, pictures in truth.items():
        found = whole(folder, name).astype(float)
        assert (
            found.shape == (9, 16, 16, 3)
            and np.abs(found.mean((1, 2)) - small(pictures).mean((1, 2))).max() < 3
        ), name
    data = clips.open(folder, fold=2, frames=8, validation=0.3)
    assert data.classes == ("Archery", "HandstandPushups") and data.name == "UCF101"
    assert (
        all("_g02_" in name for name in data.test.names)
        and len(data.test) == 4
        and len(data.train) + len(data.validation) == 12
    )
    group = lambda part: {name.rpartition("_")[0] for name in part.names}
    assert not group(data.train) & group(data.validation) and len(data.validation) == 4


def test_ucf101_from_the_network(server, ucf, tmp_path):
    _, lists, archive, expected, truth = ucf
    server.files |= {expected.lists.name: lists, expected.videos.name: archive}
    server.breaks = {expected.videos.name: [len(archive) // 3, len(archive) // 3]}
    run = partial(UCF.prepare, None, None, expected, mirrors=[server.url], **SMALL)
    meta = run()
    check_ucf(truth)
    assert (
        server.sent == len(lists) + len(archive) and server.asked[2][1] == f"bytes={len(archive) // 3}-"
    )  # no byte twice
    assert (
        meta["arrays"]["videos"] == (16,)
        and meta["arrays"]["fold 3 train"] == (12,)
        and meta["arrays"]["fold 3 test"] == (4,)
    )
    data = runtime.data_dir("ucf101")
    assert sorted(p.name for p in data.iterdir()) == [
        "frames-0000.npy",
        "index.json",
        "made-by-sslcourse.txt",
    ]  # the archives are gone
    assert run() == meta and len(server.asked) == 4  # nothing to do
    assert len(clips.ucf101(fold=3, frames=8, validation=0.3).test) == 4
    file = data / "frames-0000.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        CourseError, match=r"frames-0000.npy.*Type: sslcourse data ucf101 --size 16 --fps 8.0$"
    ):
        clips.ucf101()
    assert (
        run(keep=True)["arrays"] == meta["arrays"]
        and len(server.asked) == 6
        and (data / "download" / expected.videos.name).is_file()
    )
    check_ucf(truth)


def test_ucf101_from_files_of_ones_own(server, ucf, tmp_path, unrar):
    videos, lists, archive, expected, truth = ucf
    for kind in ("zip", "rar", "unpacked"):
        mine = tmp_path / kind
        mine.mkdir()
        (mine / expected.lists.name).write_bytes(lists)
        if kind == "zip":
            (mine / expected.videos.name).write_bytes(archive)
        elif kind == "rar":
            (mine / "UCF101.rar").write_bytes(
                rar_of({f"UCF-101/{path}": data for path, data in videos.items()})
            )
        else:
            for path, data in videos.items():
                (mine / "UCF-101" / path).parent.mkdir(parents=True, exist_ok=True)
                (mine / "UCF-101" / path).write_bytes(data)
        before = sorted(mine.rglob("*"))
        source = mine / "UCF101.rar" if kind == "rar" else mine
        UCF.prepare(source, tmp_path / "to" / kind, expected, **SMALL)
        check_ucf(truth, tmp_path / "to" / kind)
        assert sorted(mine.rglob("*")) == before and not (tmp_path / "to" / kind / "unpacked").exists()
    assert server.asked == []


def test_ucf101_that_is_not_the_published_one(ucf, tmp_path):
    videos, lists, archive, expected, _ = ucf
    (tmp_path / expected.lists.name).write_bytes(lists)
    (tmp_path / expected.videos.name).write_bytes(archive[:-1])
    with pytest.raises(CourseError, match="is not the file that was published"):
        UCF.prepare(tmp_path, tmp_path / "to", expected, **SMALL)
    less = zip_bytes({f"UCF101/{path.rpartition('/')[2]}": data for path, data in list(videos.items())[1:]})
    (tmp_path / expected.videos.name).write_bytes(less)
    with pytest.raises(
        CourseError, match="1 of the 16 videos are missing, such as v_handstandpushups_g01_c01.avi"
    ):
        UCF.prepare(
            tmp_path,
            tmp_path / "to",
            dataclasses.replace(expected, videos=remote(expected.videos.name, less)),
            **SMALL,
        )
    with pytest.raises(
        CourseError,
        match=r"lists 16 videos of 2 classes, \(12, 4\) .* expected 13,320, 101 and \(9537, 3783\)",
    ):
        UCF.read_lists(tmp_path / expected.lists.name, UCF.Expected())
    (tmp_path / expected.lists.name).unlink()
    with pytest.raises(
        CourseError,
        match="there is no file .*UCF101TrainTestSplits.*fetch .* from https://www.crcv.ucf.edu/data/UCF101/",
    ):
        UCF.prepare(tmp_path, tmp_path / "to", expected, **SMALL)
    with pytest.raises(CourseError, match=r"type: sslcourse data ucf101$"):
        clips.ucf101()


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
import test_video_scripts as tests
from sslcourse.data import download
from sslcourse.data.clips import prepared
expected = tests.UCF.Expected(download.Remote(*{videos!r}), download.Remote(*{lists!r}), 16, 2, first=(12, 4))
honest, count = prepared.decoded, 0

def decoded(*arguments):
    global count
    count += 1
    blocks = honest(*arguments)
    yield next(blocks)
    if count == 8:
        print("now", flush=True)
        time.sleep(60)
    yield from blocks

prepared.decoded = decoded
tests.UCF.prepare(None, None, expected, mirrors=[{url!r}], **tests.SMALL)
"""


@pytest.mark.slow
def test_ucf101_killed_while_it_decodes(server, ucf, monkeypatch):
    _, lists, archive, expected, truth = ucf
    server.files |= {expected.lists.name: lists, expected.videos.name: archive}
    fields = lambda r: (r.name, r.size, r.md5, r.sha256)
    code = KILLED.format(
        tests=str(Path(__file__).parent),
        videos=fields(expected.videos),
        lists=fields(expected.lists),
        url=server.url,
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as child:
        assert child.stdout.readline().strip() == "now"
        child.send_signal(signal.SIGKILL)
    folder = runtime.data_dir("ucf101")
    assert (folder / "prepare.jsonl").is_file() and not (folder / "index.json").exists()
    names, honest = [], clips.decoded
    monkeypatch.setattr(
        clips.prepared, "decoded", lambda video, *rest: names.append(video.name) or honest(video, *rest)
    )
    UCF.prepare(None, None, expected, mirrors=[server.url], **SMALL)
    assert len(names) == 9 and len(server.asked) == 2  # seven were safe, nothing was fetched twice
    check_ucf(truth)


# ---------------------------------------------------------------------------------------------- HMDB51


@pytest.fixture(scope="module")
def hmdb(tmp_path_factory):
    """Two classes of seven videos from three films: one archive per class within an archive, and lists of two
    folds.
    """
    root, inner, lists, truth = tmp_path_factory.mktemp("hmdb"), {}, {}, {}
    for c, label in enumerate(("brush_hair", "wave")):
        files = {}
        for i in range(7):
            name = f"Film_{i // 3}_{label}_u_nm_np1_ba_goo_{i}.avi"
            truth[name.lower()] = frames_of((c, i), 9, 20, 26)
            files[f"{label}/{name}"] = encode(root / name, truth[name.lower()]).read_bytes()
        inner[f"{label}.rar"] = rar_of(files)
        for fold in (1, 2):
            parts = "1112200" if fold == 1 else "0221110"
            text = "".join(f"{path.rpartition('/')[2]} {part} \n" for path, part in zip(files, parts))
            lists[f"testTrainMulti_7030_splits/{label}_test_split{fold}.txt"] = text.encode()
    lists = rar_of(lists)
    expected = HMDB.Expected(remote("test_train_splits.rar", lists), 14, 2, 2, (3, 2))
    return lists, rar_of(inner), expected, truth


def check_hmdb(truth, folder=None):
    folder = folder or runtime.data_dir("hmdb51")
    for name, pictures in truth.items():
        assert (
            np.abs(whole(folder, name).astype(float).mean((1, 2)) - small(pictures).mean((1, 2))).max() < 3
        ), name
    data = clips.open(folder, frames=8, validation=0.3)
    assert (
        data.classes == ("brush_hair", "wave")
        and len(data.test) == 4
        and len(data.train) + len(data.validation) == 6
    )  # 0 is in neither
    assert {name[-5] for name in data.test.names} == {"3", "4"}
    assert clips.read_index(folder)["videos"]["group"][:7] == ["film_0"] * 3 + ["film_1"] * 3 + ["film_2"]


def test_hmdb51_from_the_network(server, hmdb, any_unrar):
    lists, archive, expected, truth = hmdb
    server.files |= {"test_train_splits.rar": lists, "hmdb51_org.rar": archive}
    server.breaks = {"hmdb51_org.rar": [len(archive) // 2]}
    meta = HMDB.prepare(None, None, expected, mirrors=[server.url], **SMALL)
    check_hmdb(truth)
    assert server.sent == len(lists) + len(archive) and server.asked[-1] == (
        "hmdb51_org.rar",
        f"bytes={len(archive) // 2}-",
    )
    assert meta["arrays"]["fold 2 train"] == (6,) and meta["arrays"]["fold 2 test"] == (4,)
    folder = runtime.data_dir("hmdb51")
    assert sorted(p.name for p in folder.iterdir()) == [
        "frames-0000.npy",
        "index.json",
        "made-by-sslcourse.txt",
    ]
    assert len(clips.hmdb51(fold=2, frames=8, validation=0.3).test) == 4


def test_hmdb51_from_files_of_ones_own(hmdb, tmp_path, unrar):
    lists, archive, expected, truth = hmdb
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "test_train_splits.rar").write_bytes(lists)
    (mine / "hmdb51_org.rar").write_bytes(archive)
    HMDB.prepare(mine, None, expected, **SMALL)
    check_hmdb(truth)
    download.unrar(mine / "test_train_splits.rar", tmp_path / "unpacked" / "lists")
    download.unrar(mine / "hmdb51_org.rar", tmp_path / "inner")
    for file in (tmp_path / "inner").glob("*.rar"):
        download.unrar(file, tmp_path / "unpacked" / file.stem)
    HMDB.prepare(tmp_path / "unpacked", tmp_path / "to", expected, **SMALL)
    check_hmdb(truth, tmp_path / "to")
    wave = next((tmp_path / "unpacked").rglob("Film_1_wave*_4.avi"))
    wave.unlink()
    with pytest.raises(CourseError, match="1 of the 14 videos are missing, such as film_1_wave"):
        HMDB.prepare(tmp_path / "unpacked", tmp_path / "other", expected, **SMALL)
    with pytest.raises(CourseError, match=r"expected 6,766, 51 and 153, with \(70, 30\)"):
        HMDB.read_lists(tmp_path / "unpacked", HMDB.Expected())
    with pytest.raises(CourseError, match="is no folder"):
        HMDB.prepare(mine / "hmdb51_org.rar", tmp_path / "other", expected, **SMALL)


def test_hmdb51_says_before_the_download_what_to_install(server, hmdb, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CourseError, match="libarchive-tools"):
        HMDB.prepare(None, None, hmdb[2], mirrors=[server.url], **SMALL)
    assert server.asked == []


# ---------------------------------------------------------------------------------------------- DAVIS


def davis_zip(year, sequences):
    """An archive as the authors pack it, of {name: (part, frames)}; and the masks."""
    files, truth, lists = {}, {}, {"train": [], "val": []}
    for k, (name, (part, frames)) in enumerate(sequences.items()):
        pictures, ids = moving(k, frames, 24, 43)
        ids = ids if year == 2017 else (ids > 0).astype(np.uint8)
        truth[name] = pictures, ids
        for t in range(frames):
            for resolution in ("480p", "1080p")[: 2 if year == 2016 else 1]:
                mask = Image.fromarray(ids[t], mode="P") if year == 2017 else Image.fromarray(ids[t] * 255)
                if year == 2017:
                    mask.putpalette(PALETTE)
                for kind, image, suffix in (
                    ("JPEGImages", Image.fromarray(pictures[t]), "jpg"),
                    ("Annotations", mask, "png"),
                ):
                    image.save(buffer := io.BytesIO(), "JPEG" if suffix == "jpg" else "PNG")
                    files[f"DAVIS/{kind}/{resolution}/{name}/{t:05d}.{suffix}"] = buffer.getvalue()
            lists[part].append(
                name
                if year == 2017
                else f"/JPEGImages/480p/{name}/{t:05d}.jpg /Annotations/480p/{name}/{t:05d}.png "
            )
    for part, lines in lists.items():
        folder = "2017" if year == 2017 else "480p"
        files[f"DAVIS/ImageSets/{folder}/{part}.txt"] = "\n".join(dict.fromkeys(lines)).encode()
    count = lambda what: {
        part: what([frames for p, frames in sequences.values() if p == part]) for part in lists
    }
    data = zip_bytes(files)
    return (
        data,
        DAVIS.Expected(
            remote(DAVIS.EXPECTED[year].archive.name, data),
            count(len),
            sum(frames for _, frames in sequences.values()),
        ),
        truth,
    )


@pytest.mark.parametrize("year", [2017, 2016])
def test_davis_from_the_network(server, year):
    sequences = {
        "bear": ("train", 6),
        "boat": ("train", 5),
        "camel": ("train", 5),
        "dog": ("val", 7),
        "cow": ("val", 4),
    }
    archive, expected, truth = davis_zip(year, sequences)
    server.files[expected.archive.name], server.breaks[expected.archive.name] = archive, [len(archive) // 2]
    run = partial(DAVIS.prepare, None, None, expected, year=year, mirrors=[server.url], size=16, quiet=True)
    meta = run()
    assert server.sent == len(archive) and server.asked[-1][1] == f"bytes={len(archive) // 2}-"
    assert (
        meta["arrays"]["train sequences"] == (3,)
        and meta["arrays"]["val frames"] == (11,)
        and meta["arrays"]["clips"] == (5, 3, 16, 32)
    )
    films = clips.davis(year)
    assert films.names == ("dog", "cow") and len(clips.davis(year, None)) == 5
    for name, frames, masks in films:
        pictures, ids = truth[name]
        assert (
            torch.equal(masks, torch.from_numpy(ids))
            and (frames.float() - torch.from_numpy(pictures).permute(3, 0, 1, 2)).abs().mean() < 12
        )
    folder = runtime.data_dir(f"davis{year}")
    data = clips.open(folder / "clips", frames=4)
    assert (
        data.test.names == ["dog", "cow"]
        and [len(part) for part in data] == [2, 1, 2]
        and not data.train.labelled
    )
    assert data.train.video.shape == (2, 3, 4, 16, 32) and (data.train.label == -1).all()
    assert sorted(p.name for p in folder.iterdir()) == [
        "clips",
        "made-by-sslcourse.txt",
        "sequences",
    ] and not list(folder.rglob("1080p"))
    assert run() == meta and len(server.asked) == 2
    next((folder / "sequences/DAVIS/Annotations/480p/bear").iterdir()).unlink()
    with pytest.raises(
        CourseError, match="bear in .* has 6 frames but 5 masks; delete .*sequences and type the same again"
    ):
        run()


def test_davis_of_a_wrong_archive(tmp_path):
    archive, expected, _ = davis_zip(2017, {"bear": ("train", 4), "dog": ("val", 4)})
    (tmp_path / expected.archive.name).write_bytes(archive)
    with pytest.raises(CourseError, match="e3d0b5b77c3d031b000a19e0e25e3e2cac65d183755601bc2cf066df1a2aa492"):
        DAVIS.prepare(tmp_path, tmp_path / "to")
    with pytest.raises(
        CourseError,
        match=r"has {'train': 1, 'val': 1} sequences of 8 frames; expected {'train': 2, 'val': 1} and 8",
    ):
        DAVIS.prepare(
            tmp_path,
            tmp_path / "to",
            dataclasses.replace(expected, sequences=dict(train=2, val=1)),
            quiet=True,
        )


# ------------------------------------------------------------------------------------------- the command line


def test_command_lines(server, ucf, tmp_path, capsys, monkeypatch):
    _, lists, archive, expected, _ = ucf
    server.files |= {expected.lists.name: lists, expected.videos.name: archive}
    monkeypatch.setattr(UCF, "prepare", partial(UCF.prepare, expected=expected))
    assert (
        UCF.main(["--url", server.url, "--to", str(tmp_path / "to"), "--size", "16", "--fps", "4", "--quiet"])
        == 0
    )
    out = capsys.readouterr().out
    assert (
        f"UCF101 in {tmp_path / 'to'}" in out
        and "videos                 16" in out
        and "fold 1 train           12" in out
    )
    assert "of 3x16x16" in out and clips.read_index(tmp_path / "to")["fps"] == 4
    for module, options in (
        (UCF, ("--size", "--fps")),
        (HMDB, ("--size", "--fps")),
        (DAVIS, ("--year", "--size")),
    ):
        with pytest.raises(SystemExit) as stop:
            module.main(["--help"])
        text = capsys.readouterr().out
        assert (
            stop.value.code == 0
            and "--from FILE_OR_FOLDER" in text
            and all(option in text for option in options)
        )
    assert DAVIS.main(["--year", "2016", "--from", str(tmp_path / "absent.zip")]) == 1
    assert "DAVIS-data.zip from https://graphics.ethz.ch/Downloads/Data/Davis" in capsys.readouterr().err


@pytest.mark.parametrize(
    "module, wanted",
    [
        (UCF, "UCF101TrainTestSplits"),
        (HMDB, "lists 0 videos of 0 classes"),
        (DAVIS, "DAVIS-2017-trainval-480p.zip"),
    ],
)
def test_a_folder_that_holds_nothing(tmp_path, module, wanted, capsys):
    assert module.main(["--from", str(tmp_path), "--to", str(tmp_path / "to")]) == 1
    assert wanted in capsys.readouterr().err


def test_command_line_as_a_process(tmp_path):
    command = [
        sys.executable,
        str(SCRIPTS / "davis.py"),
        "--from",
        str(tmp_path),
        "--to",
        str(tmp_path / "to"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (
        done.returncode == 1
        and "DAVIS-2017-trainval-480p.zip" in done.stderr
        and "Traceback" not in done.stderr
    )


def test_ones_own_videos(tmp_path, capsys, monkeypatch):
    own = script("videos")
    for label, i in ((label, i) for label in ("run", "jump") for i in range(6)):
        encode(tmp_path / "mine" / label / f"{i}.avi", frames_of(i, 9, 24, 32))
    arguments = [
        str(tmp_path / "mine"),
        "--to",
        str(tmp_path / "clips"),
        "--size",
        "24x32",
        "--fps",
        "0",
        "--quiet",
    ]
    assert own.main(arguments) == 0
    out = capsys.readouterr().out
    assert (
        f"mine in {tmp_path / 'clips'}" in out
        and "frames                108  of 3x24x32" in out
        and "classes                 2" in out
    )
    assert np.array_equal(whole(tmp_path / "clips", "run/3.avi"), frames_of(3, 9, 24, 32))
    assert clips.open(tmp_path / "clips", frames=4).classes == ("jump", "run")
    file = clips.shard_file(tmp_path / "clips", 0)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        CourseError, match=r"Type: sslcourse data videos .*mine --to .*clips --size 24x32 --fps 0.0$"
    ):
        clips.open(tmp_path / "clips")
    assert (
        own.main([str(tmp_path / "absent"), "--to", str(tmp_path / "clips")]) == 1
        and "there is no folder" in capsys.readouterr().err
    )
    monkeypatch.setattr(clips, "prepare", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    assert own.main(arguments) == 130 and "Type the same again" in capsys.readouterr().err


def test_a_list_or_a_video_of_a_strange_name_is_named(tmp_path):
    (tmp_path / "run_test_splitX.txt").write_text("a.avi 1\n", encoding="utf-8")
    with pytest.raises(CourseError, match="run_test_splitX.txt is no list of HMDB51"):
        HMDB.read_lists(tmp_path, HMDB.Expected())
    assert UCF._group("v_Archery_g01_c02.avi") == "g01"
    with pytest.raises(CourseError, match="v_archery.avi is no video of UCF101"):
        UCF._group("v_archery.avi")
