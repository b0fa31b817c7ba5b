"""A training that is killed again and again, by a process that forks it anew each time.

    python tests/killed.py METHOD KILLS SEED FOLDER

A fork needs no import of torch, so that a hundred kills take minutes. The moments are drawn uniformly from
the
time that a few epochs take, and epochs are so short that about half of it goes into saving. Prints one JSON
object: how many kills there were by signal and by place, and whether what came out in the end is, to the last
bit, what a training gives that nobody disturbed."""

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

EPOCHS, STEPS, BATCH = 60, 3, 32
SIGNALS = [signal.SIGKILL] * 3 + [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
LONGEST = 0.35  # seconds until a kill


def train(name: str, data, file: Path) -> bool:
    """Train to the end, or as far as one is let; True at the end."""
    import torch

    from sslcourse.methods import catalogue
    from sslcourse.train.loop import fit

    torch.manual_seed(7)
    changes = ["clusters=8"] if name == "deepcluster" else []
    method = catalogue.build(catalogue.describe(name, "toybox", 10, changes=changes))
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


def main(name: str, kills: int, seed: int, folder: Path) -> dict:
    os.environ.pop("CI", None)
    import torch

    from sslcourse import runtime
    from sslcourse.data import toybox

    runtime.use_profile(runtime.Profile("cpu", 1, False, "float32"))
    data = toybox.images(BATCH * STEPS, 32, 32).train
    file, reference = folder / f"{name}.safetensors", folder / f"{name}-whole.safetensors"
    begin = time.perf_counter()
    assert ended(forked(name, data, reference)) == 0
    whole = time.perf_counter() - begin
    moments, count, places, codes = random.Random(seed), Counter(), Counter(), set()
    wrong: list[str] = []
    while sum(count.values()) < kills:
        child, number = forked(name, data, file), moments.choice(SIGNALS)
        time.sleep(moments.uniform(0, min(LONGEST, 4 * whole / EPOCHS)))
        os.kill(child, number)
        code = ended(child)
        if code == 0:  # the end was nearer than the signal: begin again
            file.unlink()
            continue
        count[number.name] += 1
        codes.add((number.name, code))
        left = list(folder.glob(f".{file.name}.*.part"))
        step = state(file)[0] and state(file)[1][-2] if file.exists() else None
        places["starting" if step is None else "saving" if left else "elsewhere"] += 1
        if left and number != signal.SIGKILL:
            wrong.append(f"{number.name} left {left[0].name}")
    while (code := ended(forked(name, data, file))) != 0:
        wrong.append(f"the last run ended with {code}")
        break
    (tensors, rest), (expected, others) = state(file), state(reference)
    same = tensors.keys() == expected.keys() and all(torch.equal(tensors[k], expected[k]) for k in expected)
    left = [p.name for p in folder.iterdir() if p not in (file, reference)]
    return {
        "method": name,
        "kills": dict(count),
        "places": dict(places),
        "codes": sorted(codes),
        "wrong": wrong,
        "left": left,
        "tensors": len(expected),
        "same": bool(same and rest == others),
        "seconds": round(time.perf_counter() - begin, 1),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))))
