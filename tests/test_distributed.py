"""Two processes with different data equal one process with all of it: loss *and* gradient, statistics, and
whole trainings.
"""

import json
import os
import subprocess
import sys

import pytest
import torch

pytestmark = pytest.mark.distributed

WORKER = """
import json, os, sys
import torch, torch.distributed as dist
from sslcourse.runtime import distributed
from sslcourse.methods import simclr
import sslcourse.methods.simclr as module

torch.set_num_threads(1)
rank, world = distributed.start()
kind = sys.argv[1]
torch.manual_seed(0)
f = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 4)).double()
x1, x2 = torch.randn(12, 6, dtype=torch.float64), torch.randn(12, 6, dtype=torch.float64)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.f = f

    def forward(self, a, b):
        z1, z2 = self.f(torch.cat([a, b])).chunk(2)
        return simclr.nt_xent(z1, z2, 0.3)


def no_gradient(x):
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.detach())
    return torch.cat(parts)


if kind == "gather without gradient" and world > 1:
    def own_put_back(x):
        parts = list(no_gradient(x).chunk(world))
        parts[rank] = x
        return torch.cat(parts)
    module.gather = own_put_back
if kind == "local negatives":
    module.gather = lambda x: x
model = Model()
if kind != "local statistics":
    distributed.synchronize_batch_norm(model)
share = 12 // world
mine = slice(rank * share, (rank + 1) * share)
loss = distributed.parallel(model)(x1[mine], x2[mine])
loss.backward()
value = loss.detach().clone()
if world > 1:
    dist.all_reduce(value)
    value /= world
if rank == 0:
    bn = model.f[1]
    gradient = torch.cat([p.grad.flatten() for p in f.parameters()]).tolist()
    statistics = torch.cat([bn.running_mean, bn.running_var]).tolist()
    print("RESULT" + json.dumps({"loss": float(value), "gradient": gradient, "statistics": statistics}))
distributed.stop()
"""


def run(tmp_path, kind, processes):
    file = tmp_path / "worker.py"
    file.write_text(WORKER)
    command = (
        [sys.executable, str(file), kind]
        if processes == 1
        else [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
            str(file),
            kind,
        ]
    )
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=180, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(x for x in done.stdout.splitlines() if "RESULT" in x)
    return json.loads(line[line.index("RESULT") + 6 :])


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    return run(tmp_path_factory.mktemp("one"), "right", 1)


def compare(a, b):
    g, h = torch.tensor(a["gradient"], dtype=torch.float64), torch.tensor(b["gradient"], dtype=torch.float64)
    return abs(a["loss"] - b["loss"]), float((g - h).norm() / h.norm())


def test_two_processes_equal_one(tmp_path, one_process):
    two = run(tmp_path, "right", 2)
    loss, gradient = compare(two, one_process)
    assert loss < 1e-10 and gradient < 1e-6  # the planted faults below are a thousand times larger
    torch.testing.assert_close(
        torch.tensor(two["statistics"]), torch.tensor(one_process["statistics"]), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("fault", ["gather without gradient", "local negatives", "local statistics"])
def test_the_usual_faults_are_seen(tmp_path, one_process, fault):
    loss, gradient = compare(run(tmp_path, fault, 2), one_process)
    assert gradient > 1e-3
    if fault == "gather without gradient":
        assert loss < 1e-10  # the right loss: only the gradient tells


def test_training_with_two_processes_from_the_command_line(tmp_path):
    """Same batches, same negatives: with views that draw nothing the history equals one process's to
    rounding.
    """
    script = tmp_path / "train.py"
    script.write_text("""
import json, sys
import torch
from sslcourse import augment, encoders, runtime
from sslcourse.runtime import distributed
from sslcourse.data import toybox
from sslcourse.methods import simclr
from sslcourse.train import Recipe, fit
rank, world = distributed.start()
runtime.use_profile(runtime.Profile("cpu", 1, False, "float32"))
data = toybox.images(512, 128, 128)
torch.manual_seed(0)
flip = lambda x: augment.as_float(x).flip(3)
class Still(simclr.SimCLR):
    def views(self, batch):
        x = augment.as_float(batch["image"])
        return {"first": x, "second": flip(x)}
recipe = Recipe(epochs=2, batch_size=64, lr=1e-3)
rows = fit(Still(encoders.small_cnn(8)), data.train, recipe, checkpoint=sys.argv[1])
if rank == 0:
    print("RESULT" + json.dumps([[r["loss"], r["partner found"]] for r in rows]))
distributed.stop()
""")
    results = []
    for processes in (1, 2):
        file = tmp_path / f"{processes}.safetensors"
        command = (
            [sys.executable, str(script), str(file)]
            if processes == 1
            else [
                sys.executable,
                "-m",
                "torch.distributed.run",
                "--standalone",
                "--nproc-per-node=2",
                str(script),
                str(file),
            ]
        )
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=180, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr[-3000:]
        results.append(json.loads(done.stdout[done.stdout.index("RESULT") + 6 :].splitlines()[0]))
        assert file.exists()
    # The loss is that of all negatives. (Contrastive accuracy is counted among a process's own views, so it
    # is not compared.)
    torch.testing.assert_close(
        torch.tensor(results[1])[:, 0], torch.tensor(results[0])[:, 0], rtol=2e-4, atol=2e-4
    )


def test_torchrun_command(tmp_path):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "sslcourse",
        "train",
        "simclr",
        "--limit=256",
        "--epochs=1",
        "--batch-size=64",
        f"--checkpoint={tmp_path / 'x.safetensors'}",
        "--json",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(answers) == 1 and answers[0]["processes"] == 2  # one writer
    assert (tmp_path / "x.safetensors").exists()
