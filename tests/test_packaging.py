"""What is installed is what is declared: locks, conda's list, the wheel, the version, the workflows."""

import pathlib
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = ("requirements.lock", "requirements-test.lock")

PYTHONS = {"3.10": "3.10.13", "3.11": "3.11.7", "3.12": "3.12.1", "3.13": "3.13.0"}
LINUX = {
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "platform_machine": "x86_64",
}
MAC = {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"}
WINDOWS = {
    "sys_platform": "win32",
    "platform_system": "Windows",
    "os_name": "nt",
    "platform_machine": "AMD64",
}
ENVIRONMENTS = [
    pytest.param(
        {**default_environment(), **system, "python_version": short, "python_full_version": full},
        id=f"{system['platform_system']}-{short}",
    )
    for system in (LINUX, MAC, WINDOWS)
    for short, full in PYTHONS.items()
]


def applies(requirement: Requirement, environment: dict) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment)


def entries(lock: str) -> list[Requirement]:
    text = (ROOT / lock).read_text(encoding="utf-8")
    return [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]


def pins(environment: dict, *locks: str) -> dict[str, set[str]]:
    """Name -> the versions that these locks ask for there."""
    found: dict[str, set[str]] = {}
    for entry in (entry for lock in locks for entry in entries(lock)):
        if applies(entry, environment):
            (specifier,) = entry.specifier
            assert specifier.operator == "==", entry
            found.setdefault(canonicalize_name(entry.name), set()).add(specifier.version)
    return found


def declared(*extras: str) -> list[Requirement]:
    """The requirements of pyproject.toml, with those of its extras."""
    project = PROJECT["project"]
    wanted = [Requirement(text) for text in project["dependencies"]]
    todo = list(extras)
    while todo:
        for requirement in map(Requirement, project["optional-dependencies"][todo.pop()]):
            if requirement.name == project["name"]:
                todo += requirement.extras
            else:
                wanted.append(requirement)
    return wanted


def unmet(wanted: list[Requirement], found: dict[str, set[str]], environment: dict) -> list[str]:
    """The requirements that hold in an environment and that the pins there do not meet with one version."""
    missing = []
    for requirement in wanted:
        versions = found.get(canonicalize_name(requirement.name), set())
        if applies(requirement, environment):
            if len(versions) != 1 or not requirement.specifier.contains(next(iter(versions))):
                missing.append(f"{requirement}: {sorted(versions)}")
    return missing


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_locks_pin_what_the_project_asks_for(environment):
    student, both = pins(environment, LOCKS[0]), pins(environment, *LOCKS)
    assert unmet(declared("lab"), student, environment) == []
    assert unmet(declared("lab", "docs", "test"), both, environment) == []
    assert [name for name, versions in both.items() if len(versions) > 1] == []
    assert (student["torch"], student["torchvision"], student["torchaudio"]) == (
        {"2.11.0"},
        {"0.26.0"},
        {"2.11.0"},
    )


def test_what_a_lock_lacks_is_noticed():
    environment = ENVIRONMENTS[0].values[0]
    found = {"numpy": {"1.20"}, "scipy": {"1.15", "1.16"}, "pillow": {"12.0"}}
    wanted = [
        Requirement(text)
        for text in ("numpy>=1.26", "scipy>=1.11", "tqdm>=4", "pillow>=10", "pywin; os_name == 'nt'")
    ]
    assert [text.split(">")[0] for text in unmet(wanted, found, environment)] == ["numpy", "scipy", "tqdm"]


def test_no_package_is_held_down():
    """Lower bounds only: installing the course on Colab must replace nothing."""
    operators = {(r.name, s.operator) for r in declared("lab", "docs", "test") for s in r.specifier}
    assert len(operators) > 30 and {operator for _, operator in operators} == {">="}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_gpu_libraries_are_for_linux_alone(environment):
    gpu = [
        name
        for name in pins(environment, *LOCKS)
        if name.startswith(("nvidia-", "cuda-")) or name == "triton"
    ]
    assert len(gpu) > 10 if environment["sys_platform"] == "linux" else gpu == []


def test_a_student_gets_nothing_that_only_tests_need():
    student = {canonicalize_name(entry.name) for entry in entries(LOCKS[0])}
    tests = {canonicalize_name(entry.name) for entry in entries(LOCKS[1])}
    for name in ("lightly", "pytorch-lightning", "playwright", "hydra-core", "pytest", "mypy", "sphinx"):
        assert name not in student and name in tests, name
    assert not [name for name in student if "lightning" in name or "hydra" in name]


def test_locks_name_no_host_and_no_folder():
    for lock in LOCKS:
        pinned = [line for line in (ROOT / lock).read_text().splitlines() if not line.startswith("#")]
        assert len(pinned) > 50 and not [
            line for line in pinned if "/" in line or "@" in line or line.startswith("-")
        ]


# What conda-forge calls differently.
CONDA = {"pytorch": "torch", "pysoundfile": "soundfile"}


def test_conda_is_asked_for_the_same_packages():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (by_pip,) = (entry["pip"] for entry in listed if isinstance(entry, dict))
    assert by_pip[-1] == "-e ." and not any("-r" in line.split() for line in by_pip)
    packages = [Requirement(text) for text in [*(e for e in listed if isinstance(e, str)), *by_pip[:-1]]]
    asked = {canonicalize_name(CONDA.get(p.name, p.name)): str(p.specifier) for p in packages}
    assert asked.pop("pip") == "" and asked.pop("python") == "<3.14,>=3.10"
    assert asked == {canonicalize_name(r.name): str(r.specifier) for r in declared("lab")}


def test_the_version_has_one_place():
    from sslcourse import __version__

    assert "version" in PROJECT["project"]["dynamic"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__ and citation["license"] == PROJECT["project"]["license"]
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)[1] == __version__


def test_the_pythons_are_those_that_are_promised():
    promised = {c.rsplit(" ", 1)[1] for c in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", c)}
    checked = yaml.safe_load((ROOT / ".github/workflows/check.yml").read_text())["jobs"]["check"]
    assert promised == set(PYTHONS) == set(checked["strategy"]["matrix"]["python"])
    assert PROJECT["project"]["requires-python"] == ">=3.10"


def workflows() -> dict[str, list[str]]:
    """File -> the commands of its steps."""
    found = {}
    for file in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        jobs = yaml.safe_load(file.read_text())["jobs"].values()
        found[file.name] = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    return found


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):(?!=)", (ROOT / "Makefile").read_text(), re.M))


def test_workflows_call_targets_that_exist():
    assert {"check.yml", "nightly.yml", "release.yml"} <= set(workflows())
    for name, commands in workflows().items():
        called = {target for command in commands for target in re.findall(r"\bmake ([a-z][\w-]*)", command)}
        assert called and called <= targets(), f"{name} calls {called - targets()}"
    assert set(re.findall(r"`make ([a-z]\w*)", (ROOT / "CONTRIBUTING.md").read_text())) <= targets()


def planned(target: str, folder: pathlib.Path) -> str:
    """What make would do in an empty environment."""
    command = ["make", "--always-make", "--dry-run", target, f"VENV={folder}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_make_lab_installs_the_students_lock_alone(tmp_path):
    lab, check = planned("lab", tmp_path / "a"), planned("check", tmp_path / "b")
    assert "-r requirements.lock" in lab and "requirements-test.lock" not in lab
    assert "-r requirements.lock -r requirements-test.lock" in check


def test_hooks_use_the_version_that_is_locked():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    wanted = {text for hook in hooks for text in hook.get("additional_dependencies", [])}
    assert len(wanted) == 1 and wanted <= {str(entry) for entry in entries(LOCKS[1])}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_wheel_is_the_whole_course_for_a_student(built):
    (wheel,) = built.glob("*.whl")
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    lessons = {f"sslcourse/lessons/{p.name}" for p in (ROOT / "notebooks").glob("*.ipynb")}
    homework = {
        f"sslcourse/lessons/homework/{p.name}" for p in (ROOT / "notebooks" / "homework").glob("*.ipynb")
    }
    assert len(lessons) > 10 and homework
    kinds = {".py", ".pyi", ".js", ".json", ".css", ".html", ".typed", ".safetensors", ".npz"}
    package = {
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / "sslcourse").rglob("*")
        if p.suffix in kinds or p.name == "py.typed"
    }
    assert {"sslcourse/py.typed", "sslcourse/results/trained/simclr.safetensors"} <= package
    assert names >= lessons | homework | package
    assert not [n for n in names if not n.startswith("sslcourse/") or "solutions" in n or "/source/" in n]
    assert {n for n in names if n.endswith(".ipynb")} == lessons | homework


def test_the_sources_are_complete(built):
    (archive,) = built.glob("*.tar.gz")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no git checkout")
    tracked = {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}
    with tarfile.open(archive) as packed:
        assert {name.split("/", 1)[1] for name in packed.getnames()} >= tracked
