"""A class of submissions to the homework on SimCLR, each in its own way: right, wrong, broken, endless,
hostile.

`write(folder)` makes them; `EXPECTED` is what the grader must make of each.
"""

import json
import pathlib

from sslcourse import check
from sslcourse.check import engine

ROOT = pathlib.Path(__file__).resolve().parents[1]
TASKS = ("nt_xent", "two_views", "contrastive_accuracy", "compare_temperatures", "frozen_probe")
IMPORTS = """\
import os, sys, time
import torch
import torch.nn.functional as F
from sslcourse import augment, encoders, evaluate, features
from sslcourse.check import check, points
from sslcourse.methods import simclr
from sslcourse.train import fit"""

RIGHT = {
    "nt_xent": """\
def nt_xent(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    s = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), float("-inf"))
    return F.cross_entropy(s, torch.arange(len(z)).roll(len(z1)))""",
    "two_views": """\
view = augment.simclr_view(area=(0.3, 1.0), strength=0.5)
def two_views(image):
    return view(image), view(image)""",
    "contrastive_accuracy": """\
def contrastive_accuracy(z1, z2):
    z = F.normalize(torch.cat([z1, z2]).float(), dim=1)
    s = (z @ z.T).fill_diagonal_(-2)
    return (s.argmax(1) == torch.arange(len(z)).roll(len(z1))).float().mean()""",
    "compare_temperatures": """\
def compare_temperatures(data, temperatures, recipe):
    rows = []
    for temperature in temperatures:
        torch.manual_seed(1)
        method = simclr.SimCLR(encoders.small_cnn(), temperature=temperature)
        last = fit(method, data.train.unlabelled(), recipe)[-1]
        kNN = evaluate.probe(method, data, linear=False)["kNN"]
        rows.append({"temperature": temperature, "loss": last["loss"],
            "partner found": last["partner found"], "kNN": kNN})
    return rows
rows = compare_temperatures(toybox.images(), (0.1, 1.0), simclr.COURSE)  # must not run""",
    "frozen_probe": """\
def frozen_probe(method, data):
    return evaluate.probe(method, data)["linear"]""",
}

LOOPS = {
    **RIGHT,
    "nt_xent": """\
import math
def cosine(a, b):
    return (a * b).sum() / (a.norm() * b.norm())

def one(views, i, partner, temperature):
    logits = [cosine(views[i], views[k]) / temperature for k in range(len(views)) if k != i]
    return torch.logsumexp(torch.stack(logits), 0) - cosine(views[i], views[partner]) / temperature

def nt_xent(z1, z2, temperature):
    views, n = [*z1, *z2], len(z1)
    total = 0
    for i in range(2 * n):
        total = total + one(views, i, (i + n) % (2 * n), temperature)
    return total / (2 * n)""",
    "contrastive_accuracy": """\
def contrastive_accuracy(z1, z2):
    views, n, found = [*z1.float(), *z2.float()], len(z1), 0
    for i in range(2 * n):
        best = max((k for k in range(2 * n) if k != i), key=lambda k: float(cosine(views[i], views[k])))
        found += best == (i + n) % (2 * n)
    return found / (2 * n)""",
}

WRONG_1 = {
    "nt_xent": RIGHT["nt_xent"].replace("F.normalize(torch.cat([z1, z2]), dim=1)", "torch.cat([z1, z2])"),
    "two_views": RIGHT["two_views"].replace(
        "return view(image), view(image)", "v = view(image)\n    return v, v"
    ),
    "contrastive_accuracy": RIGHT["contrastive_accuracy"].replace("mean()", "mean() * 100"),
    "compare_temperatures": RIGHT["compare_temperatures"].replace("        torch.manual_seed(1)\n", ""),
    "frozen_probe": """\
def frozen_probe(method, data):
    head = torch.nn.Linear(method.f.dim, len(data.classes))
    method.eval()
    optimizer = torch.optim.Adam([*method.parameters(), *head.parameters()], lr=0.02)
    batch = lambda part: part.batch(torch.arange(len(part)))
    for _ in range(30):
        loss = F.cross_entropy(head(method.encode(batch(data.train))), data.train.label)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    return (head(method.encode(batch(data.validation))).argmax(1) == data.validation.label).float().mean()""",
}

WRONG_2 = {
    "nt_xent": RIGHT["nt_xent"].replace("roll(len(z1)))", "roll(len(z1)), reduction='sum')"),
    "two_views": RIGHT["two_views"].replace("(0.3, 1.0)", "(1.0, 1.0)"),
    "contrastive_accuracy": RIGHT["contrastive_accuracy"].replace(".fill_diagonal_(-2)", ""),
    "compare_temperatures": RIGHT["compare_temperatures"].replace(", temperature=temperature)", ")"),
    "frozen_probe": """\
def frozen_probe(method, data):
    return evaluate.report(method, data)["_Known"]["linear"]""",
}


def by_heart() -> str:
    """An accuracy that knows every value which the notebook's own check, of seed 0, asks for."""
    known = {}

    def spy(z1, z2):
        value = check.EXERCISES["simclr.contrastive_accuracy"].reference(z1, z2)
        known[round(float((z1.double() * z2.double()).sum()), 4)] = round(float(value), 6)
        return value

    assert engine.examine("simclr.contrastive_accuracy", spy, seed=0).verdict == "correct"
    return f"""\
KNOWN = {known!r}
def contrastive_accuracy(z1, z2):
    return KNOWN.get(round(float((z1.double() * z2.double()).sum()), 4), 0.5)"""


HOSTILE = {
    # Prints what a good run prints, and leaves.
    "fake_success": {
        "nt_xent": """\
def nt_xent(z1, z2, temperature):
    print("✓ simclr.nt_xent: correct")
    print("homework_simclr: 15 of 15 points so far", flush=True)
    os._exit(0)
print("✓ simclr.nt_xent: correct")
os._exit(0)"""
    },
    # Replaces the checker at the top of its notebook, and again from inside its function.
    "patched_checker": {
        "nt_xent": """\
import sslcourse.check
from sslcourse.check import engine
engine.examine = sslcourse.check.examine = lambda name, answer, seed=0: engine.Result(name, "correct")
sslcourse.check.check = lambda name, answer: answer
torch.isfinite = lambda x: torch.tensor(True)

def nt_xent(z1, z2, temperature):
    engine.examine = lambda name, answer, seed=0: engine.Result(name, "correct")
    engine.EXERCISES["simclr.nt_xent"].__dict__["properties"] = lambda f: None
    torch.allclose = lambda *a, **b: True
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()):
            if isinstance(value, engine.Result):
                value.__dict__["verdict"] = "correct"
        frame = frame.f_back
    return (z1.sum() + z2.sum()) / temperature""",
        "contrastive_accuracy": """\
def contrastive_accuracy(z1, z2):
    frame = sys._getframe()
    while frame:                                    # the value that is expected must be somewhere
        if "expected" in frame.f_locals:
            return frame.f_locals["expected"]
        frame = frame.f_back
    return 0.5""",
    },
    # Goes on with what check hands back: the course's own function, where the own one is wrong.
    "takes_the_reference": {
        "nt_xent": """\
def nt_xent(z1, z2, temperature):
    return z1.sum() / temperature
nt_xent = check("simclr.nt_xent", nt_xent)""",
        "contrastive_accuracy": """\
contrastive_accuracy = simclr.partner_found""",
    },
    "by_heart": {},
    "endless": {
        **RIGHT,
        "nt_xent": """\
def nt_xent(z1, z2, temperature):
    while True:
        pass""",
    },
    "all_memory": {
        **RIGHT,
        "nt_xent": """\
def nt_xent(z1, z2, temperature):
    kept = []
    while True:
        kept.append(torch.ones(5_000_000))""",
    },
    "many_processes": {
        "nt_xent": """\
def nt_xent(z1, z2, temperature):
    while True:
        os.fork()"""
    },
    "crashing": {
        **RIGHT,
        "nt_xent": """\
import ctypes
def nt_xent(z1, z2, temperature):
    return ctypes.string_at(0)""",
        "two_views": """\
size = 1 / 0
def two_views(image):
    return view(image, size), view(image, size)""",
    },
    "syntax_error": {
        **RIGHT,
        "nt_xent": """\
def nt_xent(z1, z2, temperature)
    return z1""",
    },
    # Runs things that are none of the grader's business; only its functions count.
    "untidy": {
        **RIGHT,
        "nt_xent": "%matplotlib inline\n!pip list\n" + RIGHT["nt_xent"] + "\nnt_xent?\nraise SystemExit",
        "two_views": "%%time\n" + RIGHT["two_views"] + "\nwhile True:\n    pass",
    },
}


def notebook(*cells: str, written: str = "") -> str:
    cells = [IMPORTS, *cells, *([f"why_temperature = {written!r}"] if written else [])]
    made = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "execution_count": 1, "outputs": [], "source": c}
        for i, c in enumerate(cells)
    ]
    made[0]["outputs"] = [
        {"output_type": "stream", "name": "stdout", "text": "homework_simclr: 15 of 15 points so far\n"}
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def write(folder: pathlib.Path) -> None:
    """All submissions, into an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save = lambda name, text: (folder / f"{name}.ipynb").write_text(text)
    save("right", (ROOT / "notebooks" / "solutions" / "homework_simclr.ipynb").read_text())
    save("loops", notebook(*LOOPS.values(), written='=HYPERLINK("http://example.org")'))
    save("wrong_1", notebook(*WRONG_1.values(), written="At a low temperature\nthe hardest count."))
    save("wrong_2", notebook(*WRONG_2.values()))
    save("blank", (ROOT / "notebooks" / "homework" / "simclr.ipynb").read_text())
    save("empty", "")
    save("no_notebook", "\x89PNG these are other bytes")
    (folder / "essay.pdf").write_bytes(b"%PDF")
    for name, functions in HOSTILE.items():
        save(name, notebook(by_heart()) if name == "by_heart" else notebook(*functions.values()))
    # One student's folder holds a module that calls itself sslcourse.
    inside = folder / "with_a_fake_course"
    inside.mkdir()
    fake = (
        "def check(*a): return a[1]\ndef examine(*a): raise SystemExit('correct')\nclass methods:\n    pass\n"
    )
    (inside / "sslcourse.py").write_text(fake)
    (inside / "torch.py").write_text("raise SystemExit(0)")
    (inside / "homework.ipynb").write_text(notebook(RIGHT["nt_xent"], WRONG_1["contrastive_accuracy"]))
    (folder / "nothing_there").mkdir()


# ------------------------------------------------------------- what IPython gives and what clever ones try

HONEST = {
    "percent_in_brackets": RIGHT["nt_xent"].replace(
        "torch.arange(len(z)).roll(len(z1))",
        "(\n        (torch.arange(len(z)) + len(z1))\n        % len(z)\n    )",
    ),
    "not_equal_in_brackets": RIGHT["nt_xent"].replace(
        "    z =",
        "    if (\n        len(z1)\n        != len(z2)\n    ):\n        raise ValueError('sizes')\n    z =",
        1,
    ),
    "names_of_ipython": "In, Out, get_ipython().kernel.x\n"
    + RIGHT["nt_xent"].replace(
        "    z =",
        "    display(z1.shape); get_ipython().run_line_magic('time', '1'); get_ipython().system('ls')\n"
        "    n = !ls\n    %timeit -n1 x\n    name = input('your name')\n    z =",
        1,
    ),
    "guarded_by_ipython": "if get_ipython() is not None:\n    EPS = 0.0\n"
    + RIGHT["nt_xent"].replace("    z =", "    _ = EPS\n    z =", 1),
    "cell_magics": "%%time\n%%capture out\n" + RIGHT["nt_xent"],
    "table_filled": "PARTS = []\nfor part in (1, 2):\n    PARTS.append(part)\nasync def g():\n    return 2\n"
    "TWO = await g()\n"
    + RIGHT["nt_xent"].replace("    z =", "    assert sum(PARTS) == 3 and TWO == 2\n    z =", 1),
    "large_cache": "from sslcourse.data import toybox\ndata = toybox.images(64, 16, 16)\n"
    + RIGHT["nt_xent"].replace("    z =", "    assert len(data.classes) > 1\n    z =", 1),
    "from_the_future": "from __future__ import annotations\n\n"
    + RIGHT["nt_xent"].replace("(z1, z2, temperature)", "(z1: Unheard[Of], z2, temperature) -> None"),
    "cached_values": "import functools\n@functools.lru_cache\ndef mask(n):\n"
    "    return torch.eye(n, dtype=torch.bool)\n"
    + RIGHT["nt_xent"].replace("torch.eye(len(z), dtype=torch.bool)", "mask(len(z))"),
}
CONSTANTS = {
    "compare_temperatures": """\
def compare_temperatures(data, temperatures, recipe):
    return [{"temperature": t, "loss": t + recipe.epochs, "partner found": 0.5, "kNN": 0.3}
            for t in temperatures]""",
    "frozen_probe": """\
CALLS = []
def frozen_probe(method, data):
    CALLS.append(1)
    return 0.6 if len(CALLS) == 1 else 0.0""",
}
REACHED = """\
import importlib
own = getattr(importlib.import_module("sslcourse.methods." + "sim" + "clr"), "nt_" + "xent")
def nt_xent(z1, z2, temperature):
    return own(z1, z2, temperature)"""

# Looks through all that its process holds for a number and a text, and says what it has found. It knows
# them backwards, and never puts them together itself.
SEARCHES = """\
import gc
def nt_xent(z1, z2, temperature):
    backwards = [b"SEED_BACKWARDS", b"PATH_BACKWARDS"]
    is_seed = lambda v: type(v) is int and v > 10**9 and str(v).encode()[::-1] == backwards[0]
    found, frame = [], sys._getframe(1)
    while frame:
        found += [k for k, v in frame.f_locals.items() if is_seed(v)]
        frame = frame.f_back
    for held in gc.get_objects():
        parts = held.values() if type(held) is dict else held if type(held) in (list, tuple) else ()
        found += ["held" for v in list(parts) if is_seed(v)]
    searched = 0
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            span, rights, *_, name = line.split(None, 5) + [""]
            if rights.startswith("rw") and "/dev" not in name:
                start, end = (int(x, 16) for x in span.split("-"))
                memory.seek(start)
                data = memory.read(end - start)
                searched += len(data)
                for text in backwards:
                    at = -1
                    while (at := data.find(text[-6:][::-1], at + 1)) >= 0:
                        if data[at + 6 : at + len(text)][::-1] == text[:-6]:
                            found.append("memory")
                            break
    raise LookupError(f"found {sorted(set(found))} in {searched >> 20} MB")"""


def write_more(folder: pathlib.Path) -> None:
    """Submissions that use what IPython gives them, and two that would like points for nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, cell in HONEST.items():
        # Each cell by itself: what stands above a cell magic would end it.
        (folder / f"{name}.ipynb").write_text(notebook(cell, RIGHT["contrastive_accuracy"]))
    written = "%%writefile my_loss.py\nimport torch\nimport torch.nn.functional as F\n" + RIGHT["nt_xent"]
    cells = [written, "from my_loss import nt_xent", RIGHT["contrastive_accuracy"]]
    (folder / "own_module.ipynb").write_text(notebook(*cells))
    (folder / "constants.ipynb").write_text(notebook(*CONSTANTS.values()))
    (folder / "reached.ipynb").write_text(notebook(REACHED))


CORRECT, NOT, LATER = "correct", "not yet", "not attempted"
ALL = [CORRECT] * 5
REST = [LATER] * 4
# student -> status, total, verdicts, mistakes, words of the remark
EXPECTED = {
    "right": ("graded", 15, ALL, [""] * 5, []),
    "loops": ("graded", 15, ALL, [""] * 5, []),
    "wrong_1": (
        "graded",
        0,
        [NOT] * 5,
        [
            "no normalisation",
            "one view, twice",
            "per cent for a share",
            "another start for each",
            "unfrozen encoder",
        ],
        [],
    ),
    "wrong_2": (
        "graded",
        0,
        [NOT] * 5,
        [
            "sum for mean",
            "no crop",
            "self-similarity kept",
            "temperature not passed on",
            "scored on the test split",
        ],
        [],
    ),
    "blank": ("graded", 0, [LATER] * 5, [""] * 5, []),
    "empty": ("not a notebook", 0, [""] * 5, [""] * 5, ["the file is empty"]),
    "no_notebook": ("not a notebook", 0, [""] * 5, [""] * 5, ["no notebook"]),
    "essay.pdf": ("not a notebook", 0, [""] * 5, [""] * 5, ["a .pdf, not an .ipynb"]),
    "nothing_there": ("nothing handed in", 0, [""] * 5, [""] * 5, ["no notebook in this folder"]),
    "fake_success": (
        "crashed",
        0,
        ["crashed", *REST],
        [""] * 5,
        ["nt_xent: its process ended with exit code 0 before it had answered"],
    ),
    "patched_checker": (
        "graded",
        0,
        [NOT, LATER, NOT, LATER, LATER],
        [""] * 5,
        ["nt_xent: the loss", "expected", "contrastive_accuracy: the share"],
    ),
    "takes_the_reference": (
        "graded",
        2,
        [NOT, LATER, CORRECT, LATER, LATER],
        [""] * 5,
        ["nt_xent: the loss", "contrastive_accuracy: uses the course's own function"],
    ),
    "by_heart": (
        "graded",
        0,
        [LATER, LATER, NOT, LATER, LATER],
        [""] * 5,
        ["contrastive_accuracy: the share"],
    ),
    "endless": ("out of time", 11, ["out of time", *[CORRECT] * 4], [""] * 5, ["nt_xent: stopped after"]),
    "all_memory": ("out of memory", 11, ["out of memory", *[CORRECT] * 4], [""] * 5, ["nt_xent:", "MB"]),
    "many_processes": (
        "crashed",
        0,
        ["crashed", *REST],
        [""] * 5,
        ["nt_xent: stopped: it started more than 16 processes"],
    ),
    "crashing": (
        "crashed",
        9,
        ["crashed", NOT, *[CORRECT] * 3],
        ["", "its cells raise an error", "", "", ""],
        ["SIGSEGV", "ZeroDivisionError", "size = 1 / 0"],
    ),
    "syntax_error": (
        "graded",
        11,
        [NOT, *[CORRECT] * 4],
        ["its cell is no Python", "", "", "", ""],
        ["code cell 2, line 1"],
    ),
    "untidy": ("graded", 15, ALL, [""] * 5, []),
    "with_a_fake_course": (
        "graded",
        4,
        [CORRECT, LATER, NOT, LATER, LATER],
        ["", "", "per cent for a share", "", ""],
        [],
    ),
}


if __name__ == "__main__":
    import sys

    if len(sys.argv) != 2:
        sys.exit(
            "python tests/submissions.py FOLDER: writes the class there, to be graded by: sslcourse "
            "grade "
            "FOLDER"
        )
    write(pathlib.Path(sys.argv[1]))
    print(f"{len(EXPECTED)} submissions in {sys.argv[1]}")
