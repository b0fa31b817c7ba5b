"""A training that is killed again and again, by a process that forks it anew each time.

    python tests/killed.py METHOD KILLS SEED FOLDER

A fork needs no import of torch, so that a hundred kills take minutes. The moments are drawn uniformly from
the time that a few epochs take; every other one is put off until a file is being written. Prints one JSON
object: how many kills there were by signal and by place, how many trainings came to their end meanwhile, and
what of it is "wrong": each of them has to be, to the last bit, what one gives that nobody disturbed."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

EPOCHS, STEPS, BATCH = 30, 2, 16
SIGNALS = [signal.SIGKILL] * 3 + [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


def train(name: str, data, file: Path) -> bool:
    """Train to the end, or as far as one is let; True at the end."""
    import torch

    from sslcourse import encoders
    from sslcourse.methods import catalogue
    from sslcourse.train.loop import fit

    torch.manual_seed(7)
    changes = ["clusters=8"] if name == "deepcluster" else []
    settings = catalogue.describe(name, "toybox", 10, changes=changes)["settings"]
    method = catalogue.spec(name).build(encoders.small_cnn(8), settings)
    recipe = catalogue.spec(name).course.but(epochs=EPOCHS, batch_size=BATCH, max_steps=STEPS)
    return not fit(method, data, recipe, checkpoint=file)[-1].get("interrupted")


def forked(name: str, data, file: Path) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = 0 if train(name, data, file) else 130
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """As `subprocess` has it: the exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def state(file: Path) -> tuple[dict, list]:
    from sslcourse.train import checkpoints

    found = checkpoints.read(file)
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "samples/s")} for row in found.history]
    return found.tensors, [*rows, found.step, found.optimizer_settings]


def compared(file: Path, reference: Path) -> list[str]:
    """What differs between two checkpoints, to the last bit; nothing of it may."""
    import torch

    (tensors, rest), (expected, others) = state(file), state(reference)
    if tensors.keys() != expected.keys():
        return ["the tensors have other names"]
    found = [f"{k} differs" for k in expected if not torch.equal(tensors[k], expected[k])]
    return found + ["history, steps or optimizer settings differ"] * (rest != others)


def main(name: str, kills: int, seed: int, folder: Path) -> dict:
    os.environ.pop("CI", None)
    from sslcourse import runtime
    from sslcourse.data import toybox

    runtime.use_profile(runtime.Profile("cpu", 1, False, "float32"))
    data = toybox.images(BATCH * STEPS, 32, 32).train
    file, reference = folder / f"{name}.safetensors", folder / f"{name}-whole.safetensors"
    parts = f".{file.name}.*.part"
    begin = time.perf_counter()
    assert ended(forked(name, data, reference)) == 0
    whole = time.perf_counter() - begin
    moments, count, places, codes = random.Random(seed), Counter(), Counter(), set()
    wrong: list[str] = []
    whole_runs = 1
    while sum(count.values()) < kills:
        old = set(folder.glob(parts))  # of a SIGKILL: the next run that gets so far sweeps it
        child, number = forked(name, data, file), moments.choice(SIGNALS)
        time.sleep(moments.uniform(0, whole / 6))  # however busy the machine is
        if sum(count.values()) % 2:  # a save takes a hundredth of the time: every other kill waits for one
            patience = time.perf_counter() + 5
            while not set(folder.glob(parts)) - old and time.perf_counter() < patience:
                pass
        os.kill(child, number)
        code = ended(child)
        if code == 0:  # the end was nearer than the signal: look at it, and begin again
            wrong += compared(file, reference)
            file.unlink()
            whole_runs += 1
            continue
        count[number.name] += 1
        codes.add((number.name, code))
        left = sorted(set(folder.glob(parts)) - old)
        step = state(file)[0] and state(file)[1][-2] if file.exists() else None
        places["starting" if step is None else "saving" if left else "elsewhere"] += 1
        if left and number != signal.SIGKILL:
            wrong.append(f"{number.name} left {left[0].name}")
    while (code := ended(forked(name, data, file))) != 0:
        wrong.append(f"the last run ended with {code}")
        break
    wrong += compared(file, reference)
    left = [p.name for p in folder.iterdir() if p not in (file, reference)]
    return {
        "method": name,
        "kills": dict(count),
        "places": dict(places),
        "codes": sorted(codes),
        "wrong": wrong,
        "left": left,
        "tensors": len(state(file)[0]),
        "runs": whole_runs,
        "seconds": round(time.perf_counter() - begin, 1),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))))
