"""Nothing is lost: kill, interrupt, damage, and the numbers stay the same."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from sslcourse import encoders, runtime, train
from sslcourse.methods import simclr
from sslcourse.runtime.errors import CourseError
from sslcourse.train import checkpoints
from sslcourse.train.loop import epochs, fit
from sslcourse.train.recipe import Recipe

RECIPE = Recipe(epochs=3, batch_size=64, lr=1e-3)


@pytest.fixture(autouse=True)
def interrupts():
    """As on a terminal: a job that was started in the background ignores SIGINT, and so would its tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def make():
    torch.manual_seed(1)
    return simclr.SimCLR(encoders.small_cnn(8))


def metrics(rows):
    return [{k: v for k, v in row.items() if k not in ("seconds", "samples/s")} for row in rows]


CHILD = """
import sys, torch
from sslcourse import encoders, runtime
from sslcourse.data import toybox
from sslcourse.methods import simclr
from sslcourse.train import Recipe, epochs
runtime.use_profile(runtime.Profile("cpu", 1, False, "float32"))
torch.manual_seed(1)
method = simclr.SimCLR(encoders.small_cnn(8))
recipe = Recipe(epochs=int(sys.argv[2]), batch_size=64, lr=1e-3)
for row in epochs(method, toybox.images(512, 128, 128).train, recipe, checkpoint=sys.argv[1]):
    print("row", row["epoch"], row["loss"], flush=True)
"""


def child(file, epochs=200, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(file), str(epochs)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.slow
def test_killed_in_the_middle_and_resumed_to_identical_numbers(toys, tmp_path):
    file, length = tmp_path / "run.safetensors", 16
    process = child(file, length)
    for line in process.stdout:
        if line.startswith("row 3"):
            time.sleep(0.13)  # somewhere inside an epoch
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait(30) == -signal.SIGKILL
    done = checkpoints.read(file).step
    assert 3 * 8 <= done < length * 8
    recipe = RECIPE.but(epochs=length)
    whole, resumed = make(), make()
    expected = metrics(fit(whole, toys.train, recipe))
    assert metrics(fit(resumed, toys.train, recipe, checkpoint=file)) == expected
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values()))


def test_interrupt_in_the_middle_of_an_epoch_loses_nothing(toys, tmp_path, monkeypatch):
    """Ctrl-C during step 11 of 24: the step is finished, the row says so, and resuming gives the
    uninterrupted numbers.
    """
    monkeypatch.delenv("CI", raising=False)
    file = tmp_path / "run.safetensors"

    class Interrupting(simclr.SimCLR):
        steps = 0

        def step(self, batch, optimizers):
            self.steps += 1
            if self.steps == 11:
                os.kill(os.getpid(), signal.SIGINT)
            return super().step(batch, optimizers)

    torch.manual_seed(1)
    method = Interrupting(encoders.small_cnn(8))
    rows = fit(method, toys.train, RECIPE, checkpoint=file)
    assert method.steps == 11 and rows[-1]["interrupted"] == 1 and [r["epoch"] for r in rows] == [1, 2]
    assert not method.training and checkpoints.read(file).step == 11
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed = make()
    assert metrics(fit(resumed, toys.train, RECIPE, checkpoint=file)) == metrics(
        fit(make(), toys.train, RECIPE)
    )


def test_a_background_job_goes_on_ignoring_interrupts(toys, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    class Interrupting(simclr.SimCLR):
        def step(self, batch, optimizers):
            os.kill(os.getpid(), signal.SIGINT)
            return super().step(batch, optimizers)

    rows = fit(Interrupting(encoders.small_cnn(8)), toys.train, RECIPE.but(max_steps=2))
    assert len(rows) == RECIPE.epochs and "interrupted" not in rows[-1]


def test_in_ci_an_interrupt_is_raised(toys, monkeypatch):
    monkeypatch.setenv("CI", "1")

    class Interrupting(simclr.SimCLR):
        def step(self, batch, optimizers):
            os.kill(os.getpid(), signal.SIGINT)
            return super().step(batch, optimizers)

    with pytest.raises(KeyboardInterrupt):
        fit(Interrupting(encoders.small_cnn(8)), toys.train, RECIPE)


def test_finished_run_is_returned_without_training(toys, tmp_path):
    file = tmp_path / "run.safetensors"
    rows = fit(make(), toys.train, RECIPE, checkpoint=file)
    start = time.perf_counter()
    assert metrics(fit(make(), toys.train, RECIPE, checkpoint=file)) == metrics(rows)
    assert time.perf_counter() - start < 1


def test_damaged_checkpoint_is_named_set_aside_and_rebuilt(toys, tmp_path, capsys):
    file = tmp_path / "run.safetensors"
    quick = RECIPE.but(epochs=1, max_steps=2)
    expected = metrics(fit(make(), toys.train, quick, checkpoint=file))
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    for damaged in (whole[: len(whole) // 2], b"", bytes(flipped), b"x" * 100, b"\x80\x04}."):
        file.write_bytes(damaged)
        with pytest.raises(checkpoints.Damaged, match=r"run\.safetensors.*train again"):
            checkpoints.read(file)
        assert metrics(fit(make(), toys.train, quick, checkpoint=file)) == expected
        assert "set aside" in capsys.readouterr().err
        assert (tmp_path / "run.safetensors.damaged").read_bytes() == damaged
        checkpoints.read(file)


def test_no_pickled_code_is_run(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    file = tmp_path / "evil.safetensors"
    file.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(checkpoints.Damaged):
        checkpoints.read(file)
    torch.save({"x": Bomb()}, file)
    with pytest.raises(checkpoints.Damaged):
        checkpoints.read(file)
    assert not (tmp_path / "exploded").exists()


def test_checkpoint_that_does_not_fit_is_explained(toys, tmp_path):
    file = tmp_path / "run.safetensors"
    quick = RECIPE.but(epochs=1, max_steps=1)
    fit(make(), toys.train, quick, checkpoint=file)
    with pytest.raises(CourseError, match=r"lr 0.001 there, 0.5 here"):
        fit(make(), toys.train, quick.but(lr=0.5), checkpoint=file)
    with pytest.raises(CourseError, match="same encoder"):
        checkpoints.load(file, simclr.SimCLR(encoders.small_cnn(16)))
    with pytest.raises(CourseError, match="no checkpoint"):
        checkpoints.load(tmp_path / "none", make())
    page = checkpoints.read(file)
    assert (
        page.recipe["batch_size"] == 64
        and page.profile.precision == "float32"
        and page.versions["torch"] == torch.__version__
    )


def test_a_failing_disk_leaves_the_old_checkpoint(toys, tmp_path, monkeypatch):
    file = tmp_path / "run.safetensors"
    checkpoints.save(file, make())
    before = file.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(file, make())
    assert file.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]


def test_what_happens_between_epochs_does_not_matter(toys):
    method = make()
    rows = []
    for row in epochs(method, toys.train, RECIPE):
        rows.append(row)
        torch.rand(7)
        torch.manual_seed(1234)
    assert metrics(rows) == metrics(fit(make(), toys.train, RECIPE))


def test_every_step_draws_anew(toys):
    """No two steps, epochs or seeds share their random numbers; the same step of the same seed does."""

    def drawn(seed):
        numbers = []

        class Recording(simclr.SimCLR):
            def step(self, batch, optimizers):
                numbers.append(float(torch.rand(1)))
                return super().step(batch, optimizers)

        torch.manual_seed(1)
        fit(Recording(encoders.small_cnn(8)), toys.train, RECIPE.but(epochs=2, seed=seed))
        return numbers

    first = drawn(0)
    assert len(first) == 16 and len(set(first) | set(drawn(1))) == 32 and first == drawn(0)


@pytest.mark.parametrize(
    "change, match",
    [
        (dict(epochs=0), "epochs=0"),
        (dict(epochs=1.5), "epochs=1.5"),
        (dict(lr=0), "above 0"),
        (dict(lr=float("nan")), "above 0"),
        (dict(optimizer="lion"), "adamw, sgd"),
        (dict(schedule="step"), "cosine"),
    ],
)
def test_recipes_are_checked(change, match):
    with pytest.raises(CourseError, match=match):
        RECIPE.but(**change)


def test_schedules():
    assert (
        train.cosine(0) == 1
        and train.cosine(1) == pytest.approx(0)
        and train.cosine(0.5) == pytest.approx(0.5)
    )
    values = [train.one_cycle(i / 1000) for i in range(1001)]
    assert (
        values[0] == pytest.approx(0.05)
        and max(values) == pytest.approx(1)
        and values[-1] == pytest.approx(0)
    )
    assert values.index(max(values)) == 200


def test_no_decay_on_biases_and_norms():
    groups = train.optimizers_of(make(), RECIPE)["all"].param_groups
    assert all(p.ndim > 1 for p in groups[0]["params"]) and groups[0]["weight_decay"] == RECIPE.weight_decay
    assert all(p.ndim == 1 for p in groups[1]["params"]) and groups[1]["weight_decay"] == 0


def test_step_seeds_are_unrelated():
    seeds = {runtime.step_seed(a, b, c) for a in range(5) for b in range(50) for c in range(4)}
    assert len(seeds) == 1000 and runtime.step_seed(1, 2) != runtime.step_seed(2, 1)
    assert all(0 <= s < 2**63 for s in seeds)


def test_profile_is_measured_and_can_be_fixed(monkeypatch):
    monkeypatch.setenv("SSLCOURSE_PRECISION", "float32")
    monkeypatch.setenv("SSLCOURSE_THREADS", "1")
    start = time.perf_counter()
    found = runtime.measure_profile("cpu")
    assert found.threads == 1 and found.precision == "float32" and time.perf_counter() - start < 10
    monkeypatch.setenv("SSLCOURSE_THREADS", "many")
    with pytest.raises(CourseError, match="'many'"):
        runtime.measure_profile("cpu")
    monkeypatch.setenv("SSLCOURSE_DEVICE", "tpu")
    with pytest.raises(CourseError, match="tpu"):
        runtime.best_device()


def test_a_profile_for_a_while():
    before, other = runtime.profile(), runtime.Profile("cpu", 1, True, "bfloat16")
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError), runtime.computing_on(other) as inside:
            assert inside == runtime.profile() == other and torch.get_num_threads() == 1
            raise ZeroDivisionError
        assert runtime.profile() == before and torch.get_num_threads() == 2
    finally:
        runtime.use_profile(before)


def test_atomic_writes(tmp_path):
    target = tmp_path / "deep" / "file"
    with runtime.atomic(target) as temporary:
        temporary.write_text("one")
        assert not target.exists()
    with pytest.raises(RuntimeError), runtime.atomic(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "one" and [p.name for p in target.parent.iterdir()] == ["file"]


def test_mixed_precision_is_for_the_forward_pass_only():
    """A layer kept in float32 gets float32 gradients, although the step runs under autocast."""
    from sslcourse.methods.base import descend

    x, weight = torch.randn(64, 32), torch.randn(32, 16, requires_grad=True)

    def loss():
        with torch.autocast("cpu", enabled=False):
            return (x @ weight).square().mean()

    (exact,) = torch.autograd.grad(loss(), weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        descend(loss(), torch.optim.SGD([weight], lr=0.0))
        torch.testing.assert_close(weight.grad, exact, rtol=1e-6, atol=1e-8)
        weight.grad = None
        loss().backward()  # what a plain backward under autocast does
    assert (weight.grad - exact).abs().max() > 1e-5


def test_history_is_plain_json(toys, tmp_path):
    rows = fit(make(), toys.train, RECIPE.but(epochs=1, max_steps=1))
    assert json.loads(json.dumps(rows)) == rows
