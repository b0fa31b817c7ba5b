"""The project as a whole: it installs what it says, speaks of itself alone, and its notebooks hold their
sources.
"""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


def tracked() -> list[pathlib.Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_notebooks_hold_their_sources():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "build_notebooks.py"), "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_paths_of_one_machine():
    pattern = re.compile(r"/(?:home|root|Users|work)/[a-z]")
    guilty = []
    for file in tracked():
        if (
            file.suffix in {".py", ".md", ".toml", ".yml", ".ipynb", ".js", ""}
            and file != pathlib.Path(__file__).resolve()
        ):
            if pattern.search(file.read_text(encoding="utf-8", errors="replace")):
                guilty.append(file.name)
    assert not guilty


def test_readme_names_what_exists():
    text = (ROOT / "README.md").read_text()
    named = re.findall(r"(?:^|`)make (\w+)", text, re.M)  # in a line of code, or in a block of its own
    for target in named:
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), target
    for link in re.findall(r"\]\((?!https?:|#)([^)]+)\)", text):
        assert (ROOT / link).exists(), link
    assert {"lab", "test"} <= set(named)


def test_no_number_is_typed_in_a_notebooks_prose():
    """Percentages and scores belong to cells that compute them."""
    for source in (ROOT / "notebooks" / "source").rglob("*.py"):
        prose = "\n".join(line for line in source.read_text().splitlines() if line.startswith("# "))
        assert not re.search(r"\b\d+(\.\d+)?\s?%(?!%)|\b0\.\d{2,}\b(?!\}|\$)", prose.replace("# %%", "")), (
            source.name
        )
