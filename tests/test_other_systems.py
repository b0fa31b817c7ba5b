"""Windows and macOS, as far as they can be had here: missing functions, encodings, how a process starts."""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sslcourse"
SANDBOX = PACKAGE / "check" / "grading"  # what isolates a submission is Linux's own, and says so elsewhere
FILES = [file for file in sorted(PACKAGE.rglob("*.py")) if SANDBOX not in file.parents]


# ------------------------------------------------------------------------------------- encodings and newlines


def locale_dependent(text: str) -> list[int]:
    """Lines that open a text file without an encoding, or write one without a newline."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        keywords = {k.arg for k in node.keywords}
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        words = [
            a.value
            for a in [*node.args[:2], *(k.value for k in node.keywords if k.arg == "mode")]
            if isinstance(a, ast.Constant) and isinstance(a.value, str)
        ]
        modes = [word for word in words if word and set(word) <= set("rwaxbt+")]
        binary = any("b" in mode for mode in modes)
        writes = any(set(mode) & set("wax") for mode in modes)
        if name == "read_text" and "encoding" not in keywords and not node.args:
            found.append(node.lineno)
        elif name == "write_text" and not {"encoding", "newline"} <= keywords:
            found.append(node.lineno)
        elif (
            name in ("open", "fdopen")
            and modes
            and not binary
            and not ({"encoding"} | ({"newline"} if writes else set())) <= keywords
        ):
            found.append(node.lineno)
    return found


def test_every_text_file_has_an_encoding_and_a_newline():
    assert len(FILES) > 60
    found = {
        file.relative_to(ROOT).as_posix(): lines
        for file in FILES
        if (lines := locale_dependent(file.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "p.read_text()",
        "p.write_text(x)",
        "p.write_text(x, encoding='utf-8')",
        "open(p, 'w')",
        "p.open('a')",
        "p.open('a', encoding='utf-8')",
        "open(p, 'rt')",
        "os.fdopen(h, 'w')",
    ],
)
def test_a_planted_one_is_found(line):
    assert locale_dependent(f"import os\n{line}\n") == [2]


@pytest.mark.parametrize(
    "line",
    [
        "p.read_text(encoding='utf-8')",
        "p.read_bytes()",
        "open(p, 'rb')",
        "p.open('r+b', buffering=0)",
        "Image.open(file)",
        "p.write_text(x, encoding='utf-8', newline='\\n')",
        "distribution.read_text('RECORD')",
    ],
)
def test_a_good_one_is_not(line):
    assert locale_dependent(line) == []


# ------------------------------------------------------------------------------------ a machine without POSIX

# Libraries choose by sys.platform, so they are imported before these things go away; the course must ask.
BARE = """\
import os, sys, warnings
import IPython.display, anywidget, ipywidgets, librosa, matplotlib.figure, matplotlib.backends.backend_agg
import numpy, PIL.Image, safetensors.torch
import sklearn.cluster, sklearn.datasets, sklearn.linear_model, torch, torchvision, torchaudio
import concurrent.futures, multiprocessing, subprocess, tempfile, zipfile
for name in ("sched_getaffinity", "fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "killpg",
             "getpgid", "setsid", "mkfifo", "uname", "O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY", "chown",
             "fchmod", "statvfs", "getloadavg", "sysconf", "nice", "wait4", "pread"):
    if hasattr(os, name):
        delattr(os, name)
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Absent())
warnings.filterwarnings("error", category=EncodingWarning, module=r"sslcourse(\\.|$)")
"""


def bare(code: str, folder: pathlib.Path, **environment: str) -> str:
    """Run code without POSIX's functions, where text files must name their encoding, in an ASCII terminal."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
        "PYTHONWARNDEFAULTENCODING": "1",
        "SSLCOURSE_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-c", BARE + code],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        encoding="ascii",
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.slow
def test_the_students_way_needs_no_posix(tmp_path):
    """From the lessons' folder over a training, its replay and its score to the wall."""
    out = bare(
        """\
from sslcourse.commands.parser import main
assert main(["lab", "lessons", "--no-open"]) == 0
assert main(["train", "simclr", "--limit", "512", "--epochs", "1", "--replay"]) == 0
assert main(["replay", "results/simclr.safetensors"]) == 0
assert main(["wall", "--json"]) == 0
assert main(["data"]) == 0
assert main(["data", "mnist", "--from", "absent"]) == 1
assert main(["exercises", "simclr.nt_xent"]) == 0
assert main(["grade", "."]) == 2
from sslcourse.data import toybox
from sslcourse.methods import simclr
import sslcourse
sslcourse.setup(seed=0)
print("END", len(toybox.images(64, 16, 16).train.image))
""",
        tmp_path,
        SSLCOURSE_DATA=str(tmp_path / "data"),
    )
    assert out.rstrip().endswith("END 64") and (tmp_path / "lessons" / "01_simclr.ipynb").is_file()
    assert (tmp_path / "results" / "simclr.safetensors").is_file()
    pages = [file for file in tmp_path.rglob("*.html")]
    assert pages and all(
        b"\r\n" not in file.read_bytes() and file.read_bytes().decode("utf-8") for file in pages
    )


@pytest.mark.slow
def test_this_machine_is_bare_indeed(tmp_path):
    for line in ("import fcntl", "import resource", "os.getuid()", "os.sched_getaffinity(0)"):
        with pytest.raises(AssertionError, match="No module named|has no attribute"):
            bare(line, tmp_path)
    (tmp_path / "sslcourse_like.py").write_text("open('x', 'w')", encoding="utf-8")
    code = """
warnings.filterwarnings("error", category=EncodingWarning, module="sslcourse_like")
sys.path.insert(0, ".")
import sslcourse_like
"""
    with pytest.raises(AssertionError, match="EncodingWarning"):
        bare(code, tmp_path)


# -------------------------------------------------------------------------------------------------- processes

SPAWNED = """\
import multiprocessing, sys, torch

def work(encoder, batch, queue):
    encoder.eval()
    with torch.no_grad():
        queue.put(encoder(batch).tolist())

if __name__ == "__main__":
    torch.set_num_threads(1)
    from sslcourse import encoders
    from sslcourse.data import toybox
    samples = toybox.images(32, 16, 16).train
    encoder, batch = encoders.small_cnn(), samples.image[:8].float() / 255
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=work, args=(encoder, batch, queue))
    child.start()
    there = torch.tensor(queue.get(timeout=120))
    child.join()
    encoder.eval()
    with torch.no_grad():
        here = encoder(batch)
    assert child.exitcode == 0 and torch.allclose(here, there), (here - there).abs().max()
    pictures = list(samples.image)
    loader = torch.utils.data.DataLoader(pictures, 8, num_workers=2, multiprocessing_context="spawn")
    assert torch.equal(torch.cat(list(loader)), samples.image)
    print("the same")
"""


def test_encoders_and_pictures_can_be_sent_to_a_process_that_was_spawned(tmp_path):
    """As Windows and macOS start processes: nothing is inherited, all is pickled."""
    (tmp_path / "spawned.py").write_text(SPAWNED, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "spawned.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0 and done.stdout == "the same\n", done.stderr[-3000:]
