"""What every other module stands on: where we compute, how randomness is seeded, where files live.

Nothing here knows about learning. Three rules are kept in this one place:

- **Device**: `profile()` is what this machine is good at, measured once for about a second and kept.
- **Seeds**: `seed_all` for a notebook, `step_seed` for one training step (the same whatever happened before
  it).
- **Files**: `atomic` writes beside the target and renames, so nothing half-written is ever taken for whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sslcourse.runtime import options
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.files import atomic, cache_dir
from sslcourse.runtime.options import cores

# ---------------------------------------------------------------------------------------------- device


@dataclass(frozen=True)
class Profile:
    """Where and how a training computes. Stored in every checkpoint, because it moves the last digits."""

    device: str = "cpu"  # "cpu", "cuda" or "mps"
    threads: int = 1  # torch threads on the CPU
    channels_last: bool = False  # memory format of images and convolutions
    precision: str = "float32"  # or "bfloat16": autocast around the forward pass

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self):
        """The context of a forward pass: bf16 where the profile says so, else nothing."""
        if self.precision == "bfloat16":
            return torch.autocast(self.device, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def __str__(self):
        layout = "channels_last" if self.channels_last else "contiguous"
        threads = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.device == "cpu" else ""
        return f"{self.device}{threads}, {layout}, {self.precision}"


def laid_out(x: torch.Tensor, profile: Profile) -> torch.Tensor:
    """A batch in the profile's memory format; anything but images (B, C, H, W) stays in the plain one, which
    convolutions over time like.
    """
    return x.contiguous(memory_format=profile.memory_format) if x.ndim == 4 else x.contiguous()


Network = TypeVar("Network", bound=nn.Module)


def placed(network: Network, profile: Profile) -> Network:
    """The network on the profile's device, its image convolutions in the profile's memory format."""
    network = network.to(profile.device)
    for tensor in [*network.parameters(), *network.buffers()]:
        tensor.grad = None  # it would keep the old layout
        tensor.data = laid_out(tensor.data, profile)
    return network


def best_device() -> str:
    """`SSLCOURSE_DEVICE` if set, else "cuda", "mps" or "cpu", the first that is there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    wanted = options.variable("SSLCOURSE_DEVICE", ("cpu", "cuda", "mps"))
    if wanted is not None and not there[wanted]:
        raise CourseError(
            f"SSLCOURSE_DEVICE={wanted}, but PyTorch finds no such device here; set it to "
            f"{' or '.join(name for name, found in there.items() if found)}, or unset it"
        )
    return wanted or next(name for name, found in there.items() if found)


def _seconds(network: nn.Module, x: Tensor, profile: Profile, repeats: int = 5) -> float:
    """Median time of one forward and backward pass of a small convolutional network."""
    network = placed(network, profile)
    x = laid_out(x.to(profile.device), profile)
    times = []
    for i in range(repeats + 1):
        start = time.perf_counter()
        with profile.autocast():
            out = network(x)
        out.float().mean().backward()
        if profile.device == "cuda":
            torch.cuda.synchronize()
        if i:  # the first pass warms up
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure_profile(device: str | None = None) -> Profile:
    """Try threads, memory format and precision on a small network for about a second, and keep what is
    fastest.

    A setting must win by a tenth to replace the plainer one. On a shared machine two threads can be ten times
    slower than one, so even their number is measured. Environment variables `SSLCOURSE_THREADS` and
    `SSLCOURSE_PRECISION` fix a choice (`SSLCOURSE_PRECISION=float32` for results that do not depend on the
    probe)."""
    device = device or best_device()
    fixed_precision = options.variable("SSLCOURSE_PRECISION", ("float32", "bfloat16"))
    network = nn.Sequential(
        nn.Conv2d(3, 32, 5, 2, 2),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, 2, 1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, 1, 1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
    )
    x = torch.rand(256 if device == "cuda" else 64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    best = Profile(device, 1 if device == "cpu" else before)
    try:
        torch.set_num_threads(best.threads)
        fastest = _seconds(network, x, best)
        trials: list[dict[str, Any]] = [dict(channels_last=True), dict(precision="bfloat16")]
        if device == "cpu":
            wanted = options.threads()
            if wanted is not None:
                best = Profile(device, wanted)
            elif cores() > 1:  # last, so that the other two are chosen without the noise that threads bring
                trials.append(dict(threads=min(4, cores())))
        if device == "mps":
            trials = trials[:1]  # autocast to bf16 is not worth probing there
        for trial in trials:
            if "precision" in trial and fixed_precision:
                continue
            candidate = Profile(**{**asdict(best), **trial})
            torch.set_num_threads(candidate.threads)
            seconds = _seconds(network, x, candidate)
            if seconds < 0.9 * fastest:
                best, fastest = candidate, seconds
        if fixed_precision:
            best = Profile(**{**asdict(best), "precision": fixed_precision})
    finally:
        torch.set_num_threads(before)
    return best


# --------------------------------------------------------------------------------- measured once, and kept

KEPT = "profiles.json"  # in the cache folder


@dataclass(frozen=True)
class Kept:
    """A profile that was measured, and when: "2026-11-30 01:13 UTC"."""

    profile: Profile
    measured: str


def machine(device: str) -> str:
    """What a measured profile holds for, in words: the processor, how many cores of it may be used, the
    device,
    the version of PyTorch, and what the environment fixes. No name of a computer: two of the same kind choose
    alike, and a container has another name every day."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        named = (line.partition(":")[2].strip() for line in file if line.startswith(("model name", "Model")))
        name = next(named, name)
    if device == "cuda":
        device = f"cuda ({torch.cuda.get_device_name()})"
    fixed = [
        f"{k}={os.environ[k]}" for k in ("SSLCOURSE_THREADS", "SSLCOURSE_PRECISION") if os.environ.get(k)
    ]
    return ", ".join([f"{cores()} x {name}", device, f"torch {torch.__version__}", *fixed])


def kept_profile(renew: bool = False) -> Kept:
    """The profile of this machine: from the cache folder, or measured (about a second) and put there.

    A measurement is noise in part, and the precision that it picks moves the numbers of a training: so it is
    made once a machine, and every run computes alike. `sslcourse doctor` shows it with its date, `sslcourse
    doctor --renew` makes it anew.

    Args:
        renew: measure anew, whatever is there.
    """
    device = best_device()
    key, file = machine(device), cache_dir(KEPT)
    if not renew and (found := _read_kept(file).get(key)):
        return found
    # As the run itself will compute, else the first run of a machine is measured otherwise than the next.
    if device == "cpu":
        keep_memory()
    found = Kept(measure_profile(device), time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))
    there = _read_kept(file)
    if not renew and key in there:  # another process was as quick: one choice for both
        return there[key]
    page = {k: {**asdict(v.profile), "measured": v.measured} for k, v in {**there, key: found}.items()}
    try:
        with atomic(file) as temporary:
            temporary.write_text(json.dumps(page, indent=1) + "\n", encoding="utf-8", newline="\n")
    except OSError as error:
        print(
            f"what this machine is best at could not be kept in {file} ({error.strerror}): the next run "
            "measures again, and may choose otherwise. SSLCOURSE_CACHE=FOLDER names another folder.",
            file=sys.stderr,
        )
    return found


def _read_kept(file) -> dict[str, Kept]:
    """What is kept there, by machine; entries that are none are passed over, and measured anew."""
    try:
        page = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    found: dict[str, Kept] = {}
    for key, entry in page.items() if isinstance(page, dict) else ():
        if not isinstance(entry, dict):
            continue
        entry = dict(entry)
        measured = entry.pop("measured", None)
        kinds = {"device": str, "threads": int, "channels_last": bool, "precision": str}
        if (
            isinstance(measured, str)
            and entry.keys() == kinds.keys()
            and all(type(entry[k]) is kind for k, kind in kinds.items())
            and entry["device"] in ("cpu", "cuda", "mps")
            and entry["precision"] in ("float32", "bfloat16")
            and 1 <= entry["threads"] <= 1024
        ):
            found[key] = Kept(Profile(**entry), measured)
    return found


_profile: Profile | None = None


def profile() -> Profile:
    """The profile of this process: the one that is kept for this machine, measured where there is none
    yet."""
    if _profile is None:
        if best_device() == "cpu":
            keep_memory()
        found = kept_profile().profile
        use_profile(found)
        return found
    return _profile


def use_profile(new: Profile | None) -> None:
    """Compute like this from now on; `None`: as this machine is best at, at the next call of `profile()`."""
    global _profile
    _profile = new
    if new is not None:
        torch.set_num_threads(new.threads)


@contextlib.contextmanager
def computing_on(profile: Profile) -> Iterator[Profile]:
    """Compute like this inside the `with`, and afterwards as before: with the same profile (or none yet) and
    the same number of threads.
    """
    before, threads = _profile, torch.get_num_threads()
    use_profile(profile)
    try:
        yield profile
    finally:
        use_profile(before)
        torch.set_num_threads(threads)


def keep_memory(keep: bool = True) -> bool:
    """Ask the C library to keep freed memory for the next step instead of handing it back to the system.

    A training step frees and takes the same few hundred megabytes again and again, and every fresh page costs
    a fault; `sslcourse bench` prints what that is worth. Only glibc (Linux) has the switch; True if it was
    set."""
    import ctypes
    import platform

    if platform.libc_ver()[0] != "glibc":
        return False
    mmap_threshold, trim_threshold = -3, -1  # numbers of <malloc.h>; glibc starts with 128 KiB for both
    libc = ctypes.CDLL(None)
    return bool(
        libc.mallopt(mmap_threshold, 1 << 30 if keep else 1 << 17)
        and libc.mallopt(trim_threshold, 2**31 - 1 if keep else 1 << 17)
    )


def synchronize(device: str) -> None:
    """Wait until the device has done all that it was given; a no-op on a CPU. For clocks only."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def free() -> None:
    """Let go of what the last exception holds on to: its frames keep tensors and trainings alive."""
    import gc
    import sys

    for name in ("last_value", "last_traceback", "last_type", "last_exc"):
        if hasattr(sys, name):
            delattr(sys, name)
    with contextlib.suppress(ImportError):
        from IPython import get_ipython

        shell = get_ipython()
        if shell is not None:
            shell.InteractiveTB.tb = None
            shell.last_execution_result = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
