"""`sslcourse data`: every set is a command, found by its file, and so is every script of the repository."""

import ast
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from sslcourse.commands import data
from sslcourse.commands.parser import main

ROOT = pathlib.Path(__file__).resolve().parents[1]
SETS = sorted(file.stem for file in (ROOT / "sslcourse" / "data" / "sets").glob("[!_]*.py"))


def test_every_set_is_listed_with_what_it_does(capsys):
    assert len(SETS) >= 10 and list(data.names()) == SETS
    assert main(["data", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == data.names()
    assert main(["data"]) == 0
    listed = capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["data", "--help"])
    assert stop.value.code == 0 and listed.strip() in capsys.readouterr().out
    for name, what in data.names().items():
        assert f"sslcourse data {name} " in listed and 20 < len(what) < 110
        assert ast.get_docstring(ast.parse((ROOT / f"sslcourse/data/sets/{name}.py").read_text())).startswith(
            what
        )


def test_the_list_waits_for_no_torch():
    code = (
        "import sys\nfrom sslcourse.commands.parser import main\nmain(['data'])\n"
        "heavy = [m for m in sys.modules if m in ('torch', 'numpy') or m.startswith('sslcourse.data.')]\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SETS)
def test_the_script_of_the_repository_is_the_same_command(name):
    tree = ast.parse((ROOT / "data_scripts" / f"{name}.py").read_text(encoding="utf-8"))
    code = [
        ast.unparse(node)
        for node in tree.body
        if not isinstance(node, ast.Expr) or "main" in ast.unparse(node)
    ]
    assert code == [
        "import sys",
        "from sslcourse.commands.parser import main",
        f"sys.exit(main(['data', '{name}', *sys.argv[1:]]))",
    ]
    assert {file.stem for file in (ROOT / "data_scripts").glob("*.py")} == set(SETS)


@pytest.mark.parametrize("name", SETS)
def test_each_set_has_help_of_its_own(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["data", name, "--help"])
    said = capsys.readouterr().out
    assert stop.value.code == 0 and said.startswith(f"usage: sslcourse data {name} ")
    assert f"sslcourse data {name} " in said.partition("\n\n")[2] and "--json" in said and "--to" in said


def test_an_unknown_set_and_a_wrong_option(capsys):
    assert main(["data", "imagenet"]) == 2
    assert "no data 'imagenet'" in (said := capsys.readouterr().err) and "stl10, ucf101" in said
    with pytest.raises(SystemExit) as stop:
        main(["data", "mnist", "--year", "2016"])
    assert (
        stop.value.code == 2
        and "sslcourse data mnist: unrecognized arguments: --year" in capsys.readouterr().err
    )


@pytest.mark.parametrize("before, after", [([], ["--json"]), (["--json"], []), ([], [])])
def test_what_was_written_is_printed(before, after, tmp_path, capsys):
    """One's own videos as folders of pictures: the one set that needs neither a download nor a decoder."""
    from PIL import Image

    for name in ("one", "two", "three"):
        (tmp_path / "films" / name).mkdir(parents=True)
        for i in range(4):
            noise = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "films" / name / f"{i}.png")
    given = [
        str(tmp_path / "films"),
        "--to",
        str(tmp_path / "clips"),
        "--size",
        "16",
        "--fps",
        "0",
        "--quiet",
    ]
    assert main(["data", *before, "videos", *given, *after]) == 0
    said = capsys.readouterr().out
    if before or after:
        found = json.loads(said)
        assert found["folder"] == str(tmp_path / "clips") and found["arrays"]["frames"] == [12, 3, 16, 16]
    else:
        assert "frames                 12  of 3x16x16" in said


def test_nothing_in_the_package_names_a_script_of_the_repository():
    for file in (ROOT / "sslcourse").rglob("*.py"):
        assert "data_scripts" not in file.read_text(encoding="utf-8"), file.name
