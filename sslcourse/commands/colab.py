"""`sslcourse colab`: a folder of notebooks and a wheel for Colab, which needs no public address."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import io
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from sslcourse.commands import lessons
from sslcourse.runtime.errors import CourseError

COLAB = """\
Writes the lessons, the homework and a wheel of the course into FOLDER. Upload the folder to Google Drive
(or a notebook and the wheel to Colab itself) and open a notebook there: its first cell finds the wheel and
installs the course from it.

  sslcourse colab --out kit
  sslcourse colab --out kit --wheel sslcourse-0.1.0-py3-none-any.whl     with a wheel that you have

Type it again after an update: a notebook of the folder that you changed stays, and the new version is set
beside it.
"""

# {address} is "" as long as the course has no public address. Short, because every student reads it, and
# without the course, which it installs. Drive is asked for only where nothing else can help: Colab then shows
# a question to the student.
FIRST_CELL = """\
# On Colab this installs the course: from a wheel in /content or in your Drive, else from its address.
# At home it does nothing.
import glob, importlib.util, subprocess, sys
here, address = importlib.util.find_spec, "{address}"
if here("google") and here("google.colab") and not here("sslcourse"):
    places = [".", "/content", *("/content/drive/MyDrive" + deeper for deeper in ("", "/*", "/*/*"))]
    wheels = lambda: [w for p in places for w in sorted(glob.glob(p + "/sslcourse-*-py3-none-any.whl"))[::-1]]
    if not {enough}:
        try:
            from google.colab import drive
            drive.mount("/content/drive")
        except Exception as error:
            print(f"Your Drive cannot be read: {{error}}")
    course = [*wheels(), address][0]
    if not course:
        sys.exit("The course is not here: upload its file sslcourse-...-py3-none-any.whl with the folder "
                 "button on the left, and run this cell again.")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", course], check=True)"""

HOW = """\
# The course on Colab

1. Upload this whole folder to Google Drive (drive.google.com, New > Folder upload), into "My Drive" or a
   folder of it.
2. There, open a notebook with Google Colaboratory and run its first cell. It asks for your Drive, finds
   `{wheel}` and installs it.

Without Drive: open colab.research.google.com, upload a notebook, then upload `{wheel}` with the folder button
on the left. A folder that was shared with you is found once you add a shortcut to it to "My Drive".
"""


# --------------------------------------------------------------------------------------------- the first cell


def project_url() -> str:
    """The public address of the course, from pyproject.toml, its only place; "" while it is a stand-in."""
    root = lessons.checkout()
    if root:
        text = (root / "pyproject.toml").read_text(encoding="utf-8")
        found = re.search(r'^Repository = "(.*)"$', text, re.M)
        url = found[1] if found else ""
    else:  # the wheel's metadata repeat it
        lines = importlib.metadata.metadata("sslcourse").get_all("Project-URL") or []
        stated = [line.partition(", ") for line in lines]
        url = next((url for label, _, url in stated if label == "Repository"), "")
    host = urlsplit(url).hostname or ""
    return "" if re.search(r"(^|\.)example(\.(com|org|net))?$", host) else url


def address() -> str:
    """What pip installs the course from without a wheel; "" where there is none."""
    url = project_url()
    return f"git+{url}" if url else ""


def first_cell(address: str, kit: bool = False) -> str:
    """The text of every notebook's first code cell.

    Args:
        address: what pip may install the course from, or "".
        kit: the notebook travels with a wheel, so Drive is looked into before the address is used.
    """
    enough = "wheels()" if kit or not address else "(wheels() or address)"
    return FIRST_CELL.format(address=address, enough=enough)


def badge(name: str, url: str | None = None) -> str:
    """Markdown that opens a lesson on Colab; "" without an address on GitHub, which Colab can open by itself.

    Args:
        name: of a notebook, such as "01_simclr.ipynb".
        url: the address of the repository (default: that of pyproject.toml).
    """
    parts = urlsplit(project_url() if url is None else url)
    owner_and_name = parts.path.strip("/").removesuffix(".git")
    if parts.hostname != "github.com" or owner_and_name.count("/") != 1:
        return ""
    colab = "https://colab.research.google.com"
    picture, page = f"{colab}/assets/colab-badge.svg", f"{colab}/github/{owner_and_name}"
    return f"[![Open in Colab]({picture})]({page}/blob/main/notebooks/{name})"


def for_colab(notebook: bytes, address: str) -> bytes:
    """A stored notebook with the kit's first cell in the place of the one it has; nothing else is changed."""
    page = json.loads(notebook)
    begins = FIRST_CELL.partition(":")[0]
    code = [cell for cell in page["cells"] if cell["cell_type"] == "code"]
    cells = [cell for cell in code if "".join(cell["source"]).startswith(begins)]
    if len(cells) != 1:
        raise CourseError(f"a lesson has {len(cells)} cells that begin with {begins!r}; expected one")
    cells[0]["source"] = first_cell(address, kit=True).splitlines(keepends=True)
    return (json.dumps(page, indent=1, ensure_ascii=False) + "\n").encode()


# -------------------------------------------------------------------------------------------------- the wheel


def build_wheel(root: Path) -> tuple[str, bytes]:
    """Let pip build the wheel of a checkout: (file name, content)."""
    with tempfile.TemporaryDirectory() as folder:  # May go: nothing but pip's wheel comes into it.
        words = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "wheel",
            "-q",
            "--no-deps",
            "-w",
            folder,
            str(root),
        ]
        done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", errors="replace")
        found = sorted(Path(folder).glob("sslcourse-*.whl"))
        if done.returncode or len(found) != 1:
            reason = done.stderr.strip()[-2000:] or "pip made no wheel"
            raise CourseError(
                f"pip could not build the wheel of {root}:\n{reason}\n"
                "Build it where there is a network, and pass it: --wheel FILE"
            )
        return found[0].name, found[0].read_bytes()


def repack(distribution: importlib.metadata.Distribution) -> tuple[str, bytes]:
    """The wheel that an installed distribution came from, made again from its RECORD: (file name, content).

    Every file is held to the digest that it was installed with. The files are those of the wheel; the archive
    has fixed dates.
    Format: packaging.python.org, "Binary distribution format" and "Recording installed projects".

    Raises:
        CourseError: where a file is missing or was changed, or the installation has no RECORD.
    """
    again = "install the course again from its wheel, or pass a wheel: --wheel FILE"
    record, wheel = distribution.read_text("RECORD"), distribution.read_text("WHEEL")
    if not record or not wheel:
        raise CourseError(f"this installation of sslcourse has no record of its files; {again}")
    tags = re.findall(r"^Tag: (\S+)$", wheel, re.M)
    rows, data = [], {}
    of_installer = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
    for name, digest, size in csv.reader(io.StringIO(record)):
        path = PurePosixPath(name.replace("\\", "/"))
        # The command in bin/, compiled modules and some notes are pip's own: the wheel had none of them.
        outside = path.is_absolute() or ".." in path.parts or ":" in path.parts[0]
        note = path.parent.suffix == ".dist-info" and path.name in of_installer
        if outside or note or "__pycache__" in path.parts:
            continue
        try:
            content = Path(str(distribution.locate_file(name))).read_bytes()
        except OSError as error:
            raise CourseError(f"{name} cannot be read ({error.strerror}); {again}") from None
        kind, _, expected = digest.partition("=")
        if not kind or _record_digest(kind, content) != expected:
            raise CourseError(f"{name} is not as it was installed; {again}")
        rows.append((path.as_posix(), digest, size))
        data[path.as_posix()] = content
    (info,) = {top for top in (name.partition("/")[0] for name in data) if top.endswith(".dist-info")}
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*sorted(rows), (f"{info}/RECORD", "", "")])
    data[f"{info}/RECORD"] = text.getvalue().encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(data, key=lambda name: (name.startswith(info), name == f"{info}/RECORD", name)):
            entry = zipfile.ZipInfo(name)  # of 1980: the same files give the same bytes
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            archive.writestr(entry, data[name])
    return f"{info.removesuffix('.dist-info')}-{'.'.join(dict.fromkeys(tags))}.whl", buffer.getvalue()


def _record_digest(kind: str, content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.new(kind, content).digest()).rstrip(b"=").decode()


def own_wheel() -> tuple[str, bytes]:
    """The wheel of this course: built from its checkout, or made again from what was installed."""
    root = lessons.checkout()
    return build_wheel(root) if root else repack(importlib.metadata.distribution("sslcourse"))


def wheel_of(file: str | Path) -> tuple[str, bytes]:
    """A wheel of the user's, after a look at it."""
    path = Path(file).expanduser()
    try:
        content = path.read_bytes()
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise CourseError(
            f"{file} is no wheel that can be read ({error}); pass sslcourse-VERSION-py3-none-any.whl"
        ) from None
    if (
        not re.fullmatch(r"sslcourse-[^-]+-py3-none-any\.whl", path.name)
        or "sslcourse/__init__.py" not in names
    ):
        raise CourseError(
            f"{path.name} is no wheel of the course; pass a file called sslcourse-VERSION-py3-none-any.whl"
        )
    return path.name, content


# ------------------------------------------------------------------------------------------------ the command


def add_options(sub) -> None:
    sub.add_argument("--out", required=True, metavar="FOLDER", help="the folder to write")
    sub.add_argument(
        "--wheel",
        metavar="FILE",
        help="a wheel of the course that you have, instead of one made of this installation",
    )


def colab(options) -> int:
    """Write the kit."""
    out = Path(options.out).expanduser()
    if out.exists() and not out.is_dir():
        raise CourseError(f"{out} is a file; name a folder for the kit")
    if out.resolve() == lessons.folder():
        raise CourseError(f"{out} holds the course's own lessons; name another folder for the kit")
    name, content = wheel_of(options.wheel) if options.wheel else own_wheel()
    files = {n: for_colab(text, address()) for n, text in lessons.notebooks().items()}
    placed = lessons.place({**files, name: content, "README.md": HOW.format(wheel=name).encode()}, out)
    old = [n for n in lessons.written(out) if re.fullmatch(r"sslcourse-.*\.whl", n) and n != name]
    gone = [n for n in old if lessons.withdraw(n, out)]  # the cell would not know which of two to take
    if options.json:
        print(
            json.dumps(
                {
                    "folder": str(out),
                    "wheel": name,
                    "notebooks": sorted(files),
                    "removed": gone,
                    "beside": placed.beside,
                }
            )
        )
        return 0
    print(f"{len(files)} notebooks and {name} are in {out}" + (f"\n{placed.text}" if placed.text else ""))
    print("".join(f"  removed, of the version before: {n}\n" for n in gone), end="")
    print("Upload the folder to Google Drive and open a notebook there, or see README.md in it.")
    return 0
