"""`sslcourse doctor`: what is installed, what this machine computes on, what is wrong and what to type."""

from __future__ import annotations

import importlib.metadata as metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from sslcourse.runtime.errors import CourseError

NEEDED = (
    "torch",
    "torchvision",
    "torchaudio",
    "numpy",
    "matplotlib",
    "scikit-learn",
    "umap-learn",
    "librosa",
    "pillow",
    "safetensors",
    "jaxtyping",
    "ipywidgets",
    "anywidget",
)
FOR_CLASS = ("jupyterlab", "ipykernel")
FOR_TESTS = ("pytest", "nbval", "jupytext", "playwright")
# torchvision is compiled against one torch each; torchaudio, whose numbers run in step with torch's, was so
# up to 2.10. From 2.11 on it takes every later torch: "torch 2.11 or newer, including all future releases".
_ANY_LATER_TORCH = (2, 11)
_TORCH_OF_VISION = {
    "0.21": "2.6",
    "0.22": "2.7",
    "0.23": "2.8",
    "0.24": "2.9",
    "0.25": "2.10",
    "0.26": "2.11",
}


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def release_of(text: str) -> tuple[int, int]:
    """Major and minor number of a version such as 2.11.0+cu128."""
    major, minor = text.split("+")[0].split(".")[:2]
    return int(major), int(minor)


def build_of(text: str) -> str | None:
    """The CUDA (or CPU) build in a version such as 2.11.0+cu128."""
    found = re.search(r"\+(cu\d+|cpu|rocm[\d.]+)", text)
    return found.group(1) if found else None


def conflicts(versions: dict[str, str | None]) -> list[str]:
    """Known conflicts among installed versions, each with what to type. Takes plain versions, so that it can
    be tested.
    """
    found = []
    torch, vision, audio = (versions.get(p) for p in ("torch", "torchvision", "torchaudio"))
    if torch and vision:
        wanted = _TORCH_OF_VISION.get(".".join(vision.split(".")[:2]))
        if wanted and ".".join(torch.split("+")[0].split(".")[:2]) != wanted:
            found.append(
                f"torchvision {vision} was built for torch {wanted}, but torch is {torch}: importing it "
                f"fails. Type: pip install --force-reinstall 'torch=={wanted}.*' "
                f"'torchvision=={vision.split('+')[0]}'"
            )
    if torch and audio:
        have, need = release_of(audio), release_of(torch)
        if have != need and not _ANY_LATER_TORCH <= have <= need:
            later = need > _ANY_LATER_TORCH
            wanted = "-U 'torchaudio>=2.11'" if later else f"'torchaudio=={need[0]}.{need[1]}.*'"
            found.append(
                f"torchaudio {audio} was built for another torch than {torch}. Type: pip install {wanted}"
            )
    builds = {
        p: b
        for p, v in (("torch", torch), ("torchvision", vision), ("torchaudio", audio))
        if v and (b := build_of(v))
    }
    if len(set(builds.values())) > 1:
        text = ", ".join(f"{p} for {b}" for p, b in builds.items())
        found.append(
            f"builds for different CUDA versions are mixed ({text}); torchaudio then fails at import. "
            "Install all three from one place: pip install --force-reinstall torch torchvision torchaudio, "
            "with the index that pytorch.org names"
        )
    ipython, ipykernel = versions.get("ipython"), versions.get("ipykernel")
    if ipython and ipykernel and ipykernel.startswith("7.") and int(ipython.split(".")[0]) < 7:
        found.append(
            f"ipykernel {ipykernel} needs a newer IPython than {ipython}. Type: pip install -U ipython"
        )
    return found


def broken_imports(packages=("torch", "torchvision", "torchaudio")) -> dict[str, str]:
    """Packages whose import fails, with the last line of the error. Each is tried in a process of its own: a
    crash is seen too.
    """
    broken = {}
    for package in packages:
        done = subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            broken[package] = lines[-1] if lines else f"it ended with code {done.returncode}"
    return broken


def examine(renew: bool = False) -> dict[str, Any]:
    """Everything doctor knows, as a dict: versions, device (and when it was measured), cache, problems (what
    is wrong and what to type), hints.

    Args:
        renew: measure anew what this machine computes fastest with.
    """
    versions = {p: version(p) for p in (*NEEDED, *FOR_CLASS, *FOR_TESTS, "ipython", "lightly")}
    missing = [p for p in NEEDED if versions[p] is None]
    problems = [f"{', '.join(missing)} missing. Type: pip install {' '.join(missing)}"] if missing else []
    problems += conflicts(versions)
    broken = broken_imports([p for p in ("torch", "torchvision", "torchaudio") if versions[p]])
    problems += [f"import {p} fails: {text}" for p, text in broken.items()]
    hints = []
    absent = [p for p in FOR_CLASS if versions[p] is None]
    if absent:
        hints.append(f"for the class room: pip install {' '.join(absent)} (Colab needs neither)")
    absent = [p for p in FOR_TESTS if versions[p] is None]
    if absent:
        hints.append(f"for the tests: pip install {' '.join(absent)}")
    result: dict[str, Any] = {
        "python": sys.version.split()[0],
        "versions": versions,
        "problems": problems,
        "hints": hints,
    }
    if "torch" not in broken and versions["torch"]:
        import torch

        from sslcourse.runtime import device, options
        from sslcourse.runtime.files import cache_dir

        try:
            kept, cache = device.kept_profile(renew), cache_dir()
        except CourseError as error:  # a variable names what is not there
            problems.append(str(error))
            return result
        profile = kept.profile
        result["device"] = str(profile)
        result["measured"] = kept.measured
        result["accelerator"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
        cores = options.cores()
        result["cores"] = cores
        if profile.device == "cpu" and cores > 1 and profile.threads == 1:
            hints.append(
                f"one thread of {cores} was fastest in the probe: the machine was busy, or is shared. "
                "sslcourse doctor --renew measures again, SSLCOURSE_THREADS=2 insists on two"
            )
        result["cache"] = str(cache)
        nearest = next(p for p in (cache, *cache.parents) if p.exists())
        if not os.access(nearest, os.W_OK):
            problems.append(
                f"the cache folder {cache} cannot be written. Type: export SSLCOURSE_CACHE=some/other/folder"
            )
        chromium = os.environ.get("SSLCOURSE_CHROMIUM")
        if chromium and not Path(chromium).exists():
            problems.append(
                f"SSLCOURSE_CHROMIUM={chromium} does not exist; unset it or name the browser's program"
            )
    return result


def text(found: dict) -> str:
    lines = [f"Python {found['python']}"]
    lines += [f"  {p:<14}{v or '-'}" for p, v in found["versions"].items()]
    if "device" in found:
        name = f" ({found['accelerator']})" if found["accelerator"] else ""
        lines += [
            f"computes on   {found['device']}{name}, {found['cores']} cores",
            f"  measured on {found['measured']} and kept; anew: sslcourse doctor --renew",
            f"cache         {found['cache']}",
        ]
    lines += [f"PROBLEM: {p}" for p in found["problems"]] + [f"hint: {h}" for h in found["hints"]]
    lines.append("All is well." if not found["problems"] else f"{len(found['problems'])} problem(s) to mend.")
    return "\n".join(lines)
