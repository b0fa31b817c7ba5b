"""CLIP's equations, its captions, its prompts, two processes as one, and what its claims' effects mean."""

import inspect
import json
import math
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from sslcourse import encoders
from sslcourse.data import captions, toybox
from sslcourse.data.datasets import Samples
from sslcourse.methods import catalogue, clip
from sslcourse.results.claims import clip as claims
from sslcourse.runtime.errors import CourseError
from sslcourse.train import features
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe, optimizers_of

# ---------------------------------------------------------------------------------------------- the loss


def by_hand(image, text, log_scale):
    """Figure 3 of the paper, loop for loop."""
    n, total = len(image), 0
    s = lambda i, j: image[i] @ text[j] / (image[i].norm() * text[j].norm()) * torch.exp(log_scale)
    for i in range(n):
        total = total - torch.log(torch.exp(s(i, i)) / sum(torch.exp(s(i, k)) for k in range(n)))
        total = total - torch.log(torch.exp(s(i, i)) / sum(torch.exp(s(k, i)) for k in range(n)))
    return total / (2 * n)


def inputs(n, d, scale, seed=0):
    g = torch.Generator().manual_seed(seed)
    pair = [torch.randn(n, d, generator=g, dtype=torch.float64).requires_grad_() for _ in range(2)]
    return (*pair, torch.tensor(math.log(scale), dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("n, d", [(1, 3), (2, 1), (7, 5)])
@pytest.mark.parametrize("scale", [0.5, 14.3, 100.0])
def test_the_loss_is_the_papers_double_loop(n, d, scale):
    x = inputs(n, d, scale)
    ours, theirs = clip.symmetric_loss(*x), by_hand(*x)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    for mine, other in zip(torch.autograd.grad(ours, x), torch.autograd.grad(theirs, x)):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-8)


def test_gradcheck_closed_forms_and_invariances():
    x = inputs(4, 3, 2.0)
    assert torch.autograd.gradcheck(clip.symmetric_loss, x)
    image, text, log_scale = inputs(6, 5, 3.0, seed=1)
    same = torch.ones(6, 5, dtype=torch.float64)
    assert float(clip.symmetric_loss(same, same, log_scale).detach()) == pytest.approx(
        math.log(6)
    )  # tells nothing apart
    basis = torch.eye(6, dtype=torch.float64)
    assert float(clip.symmetric_loss(basis, basis, log_scale).detach()) == pytest.approx(
        math.log(1 + 5 * math.exp(-3))
    )
    value = clip.symmetric_loss(image, text, log_scale)
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    order = torch.randperm(6)
    for other in (
        (text, image),
        (image[order], text[order]),
        (image @ turn, text @ turn),
        (image * 7, text / 3),
    ):
        torch.testing.assert_close(clip.symmetric_loss(*other, log_scale), value)


def test_duplicate_captions_set_a_floor():
    """With ten captions in a batch of 120 even a perfect network pays log 12: the others with the same words
    are no negatives.
    """
    basis = torch.eye(10, dtype=torch.float64).repeat(12, 1)
    floor = float(clip.symmetric_loss(basis, basis, torch.tensor(math.log(1e4), dtype=torch.float64)))
    assert floor == pytest.approx(math.log(12))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_loss_stays_finite(dtype):
    image, text = (torch.randn(16, 8) * 100).to(dtype).requires_grad_(), torch.zeros(16, 8, dtype=dtype)
    loss = clip.symmetric_loss(image, text, torch.tensor(clip.LARGEST_SCALE))
    assert (
        loss.dtype == torch.float32
        and torch.isfinite(loss)
        and torch.isfinite(torch.autograd.grad(loss, image)[0]).all()
    )


def test_wrong_shapes_are_named():
    with pytest.raises(CourseError, match=r"\(4, 3\).*\(5, 3\)"):
        # Without the tests' own check of shapes, which comes first.
        inspect.unwrap(clip.symmetric_loss)(torch.rand(4, 3), torch.rand(5, 3), torch.tensor(0.0))


WORKER = """
import json, sys
import torch, torch.distributed as dist
from sslcourse.runtime import distributed
import sslcourse.methods.clip as module

torch.set_num_threads(1)
rank, world = distributed.start()
torch.manual_seed(0)
f, g = torch.nn.Linear(6, 4).double(), torch.nn.Linear(5, 4).double()
x, y = torch.randn(8, 6, dtype=torch.float64), torch.randn(8, 5, dtype=torch.float64)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.f, self.g, self.t = f, g, torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, a, b):
        return module.symmetric_loss(self.f(a), self.g(b), self.t)


if sys.argv[1] == "local":
    module.gather = lambda x: x
model, share = Model(), 8 // world
mine = slice(rank * share, (rank + 1) * share)
loss = distributed.parallel(model)(x[mine], y[mine])
loss.backward()
if rank == 0:
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    print("RESULT" + json.dumps([float(loss)] + gradient.tolist()))
distributed.stop()
"""


@pytest.mark.distributed
@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    """Value, and the gradient of both encoders and of the scale; with local negatives only they differ."""
    file = tmp_path / "worker.py"
    file.write_text(WORKER)

    def run(kind, processes):
        torchrun = (
            ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
            if processes > 1
            else []
        )
        done = subprocess.run(
            [sys.executable, *torchrun, str(file), kind],
            capture_output=True,
            text=True,
            timeout=180,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        line = next(x for x in done.stdout.splitlines() if "RESULT" in x)
        return torch.tensor(json.loads(line[line.index("RESULT") + 6 :]))

    one = run("right", 1)
    torch.testing.assert_close(run("right", 2), one, rtol=1e-6, atol=1e-8)
    assert (run("local", 2) - one).abs().max() > 1e-3


# ---------------------------------------------------------------------------------------------- captions


def test_captions_say_what_the_toybox_says():
    scene = toybox.factors(400)
    tokens = captions.full(scene)
    assert captions.TOYBOX.decode(tokens) == [toybox.caption(scene, i) for i in range(400)]
    assert torch.equal(captions.TOYBOX.encode(captions.TOYBOX.decode(tokens)), tokens)
    left_out = captions.full(scene, ("hue", "place"))
    assert captions.TOYBOX.decode(left_out) == [
        toybox.caption(scene, i, ("hue", "place")) for i in range(400)
    ]


def test_drawn_captions_are_true_and_leave_things_out():
    scene = toybox.factors(300)
    tokens = captions.draw(scene, draws=6, leave_out=("size",))
    assert tokens.shape == (300, 6, 16) and torch.equal(
        tokens[:50], captions.draw({k: v[:50] for k, v in scene.items()}, 6, ("size",))
    )
    assert not torch.equal(tokens, captions.draw(scene, 6, ("size",), seed=1))
    whole = captions.full(scene)
    words, allowed = captions.TOYBOX.words, {"a", "an", "the", "picture", "of", "thing", "in"}
    said = set()
    for i in range(300):
        truth = {words[t - 3] for t in whole[i].tolist() if t > captions.END} | allowed
        for text in captions.TOYBOX.decode(tokens[i]):
            assert set(text.split()) <= truth, text
            said |= set(text.split())
            assert "a orange" not in text and "a octahedron" not in text and "an r" not in text
    assert not said & set(captions.SIZES) and set(captions.HUES) | set(toybox.SHAPES) | {"thing"} <= said
    assert (tokens == captions.END).sum(2).eq(1).all()
    shown = (tokens == captions.TOYBOX.token("thing")).any(2).float().mean()
    assert float(shown) == pytest.approx(1 - captions.MENTIONED["shape"], abs=0.03)


def test_the_sealed_split_has_no_captions(toys):
    assert (
        "caption" in toys.train.extra
        and "caption" in toys.validation.extra
        and "caption" not in toys.test.extra
    )
    assert toys.train.unlabelled().extra["caption"].shape == (512, captions.DRAWS, 16)
    quiet = captions.with_captions(toys, leave_out=("hue",))
    text = " ".join(captions.TOYBOX.decode(quiet.train.extra["caption"].flatten(0, 1)))
    assert not set(captions.HUES) & set(text.split()) and "caption" not in quiet.test.extra


def test_captions_of_your_own():
    texts = ["A dog, asleep!", "two dogs", "a cat"]
    words = captions.vocabulary(texts)
    tokens = words.encode(texts)
    assert words.decode(tokens) == ["a dog asleep", "two dogs", "a cat"]
    data = Samples(torch.randint(0, 255, (3, 3, 32, 32), dtype=torch.uint8), extra={"caption": tokens})
    method = clip.CLIP(encoders.small_cnn(8), words, width=16)
    rows = fit(method, data, Recipe(epochs=2, batch_size=3, lr=1e-3))
    assert math.isfinite(rows[-1]["loss"]) and clip.zero_shot(method, data, ["a dog", "a cat"]).shape == (3,)


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: captions.TOYBOX.encode("a crimson cube"), "'crimson'.*red"),
        (lambda: captions.TOYBOX.encode(""), "0 words"),
        (lambda: captions.TOYBOX.encode("a " * 20), "20 words"),
        (lambda: captions.draw(toybox.factors(2), leave_out=("colour",)), "'colour'"),
        (lambda: captions.draw(toybox.factors(2), leave_out="hue"), r"\('hue',\)"),
        (lambda: captions.draw(toybox.factors(2), 0), "draws=0"),
        (lambda: captions.vocabulary(["", "!"]), "no word"),
        (lambda: clip.prompts_of(["cube"], ("a cube",)), "{}"),
        (lambda: clip.TextEncoder(9, 4, 10, 1, 4), "width=10"),
    ],
)
def test_errors(call, match):
    with pytest.raises(CourseError, match=match):
        call()


def test_data_without_captions_say_what_to_type(toys):
    bare = Samples(toys.train.image, toys.train.label, classes=toys.classes)
    with pytest.raises(CourseError, match="--data toybox.*vocabulary"):
        fit(clip.CLIP(encoders.small_cnn(8), width=16), bare, Recipe(epochs=1, batch_size=32, lr=1e-3))
    with pytest.raises(CourseError, match="no known factors"):
        captions.with_captions(type(toys)(bare, bare, bare))
    with pytest.raises(CourseError, match="torch.float32"):
        clip.CLIP(encoders.small_cnn(8), width=16).loss(
            {"image": torch.rand(4, 3, 32, 32), "caption": torch.rand(4, 9)}
        )


# -------------------------------------------------------------------------------- the encoder and its prompts


def test_the_text_encoder_reads_up_to_the_end_and_no_further():
    encoder = clip.TextEncoder(len(captions.TOYBOX), 16, 16, 2, 2).eval()
    tokens = captions.TOYBOX.encode(["a small red cube", "a cone"])
    z = encoder(tokens)
    changed = tokens.clone()
    changed[0, 7:] = 9  # behind the end
    torch.testing.assert_close(encoder(changed), z)
    torch.testing.assert_close(encoder(tokens[:, :8]), z)
    assert not torch.allclose(
        encoder(captions.TOYBOX.encode(["a red small cube", "a cone"]))[0], z[0]
    )  # the order counts
    assert torch.equal(
        clip.at_the_end(torch.arange(16.0).expand(2, 16)[..., None], tokens)[:, 0], torch.tensor([5.0, 3.0])
    )


def test_the_scale_is_kept_below_a_hundred_and_can_come_back(toys):
    method = clip.CLIP(encoders.small_cnn(8), width=16)
    assert float(method.log_scale.exp()) == pytest.approx(1 / 0.07)
    with torch.no_grad():
        method.log_scale.fill_(9.0)
    before = None
    for row in (
        fit(method, toys.train, Recipe(epochs=1, batch_size=64, lr=1e-2, max_steps=k))[-1] for k in (1, 4)
    ):
        assert row["scale"] > 0 and float(method.log_scale) <= clip.LARGEST_SCALE + 1e-6
        before = before or float(method.log_scale)
    assert (
        float(method.log_scale) < before
    )  # a gradient reaches it there: far too sharp for an untrained network
    names = [
        g["weight_decay"]
        for o in optimizers_of(method, clip.COURSE).values()
        for g in o.param_groups
        if any(p is method.log_scale for p in g["params"])
    ]
    assert names == [0.0]


def test_prompts():
    assert clip.prompts_of(["octahedron", "red cube"], ("a {}", "a picture of a {}")) == [
        ["an octahedron", "a picture of an octahedron"],
        ["a red cube", "a picture of a red cube"],
    ]


def test_zero_shot_equals_a_loop(toys):
    method = clip.CLIP(encoders.small_cnn(8), width=16).eval()
    prompts = [["a cube", "the cube"], ["a sphere", "a red sphere"], ["a cone", "a thing"]]
    part = toys.validation.take(slice(0, 40))
    found = clip.zero_shot(method, part, prompts)
    z = features.extract(method, part, encode=method.embed_images)
    with torch.no_grad():
        texts = torch.stack([method.embed_texts(captions.TOYBOX.encode(p)) for p in prompts])
    weights = [F.normalize(sum(v / v.norm() for v in group), dim=0) for group in texts]
    assert found.tolist() == [max(range(3), key=lambda c: float(x @ weights[c])) for x in z]
    assert torch.equal(clip.classify(z, texts), found)
    single = clip.zero_shot(method, part, ["a cube", "a sphere", "a cone"])
    assert torch.equal(single, clip.zero_shot(method, part, [["a cube"], ["a sphere"], ["a cone"]]))


def test_word_prediction_counts_words():
    tokens = captions.TOYBOX.encode(["a red cube", "a thing at the top"])
    counts = clip.word_counts(tokens, len(captions.TOYBOX))
    assert (
        counts[:, :3].sum() == 0
        and counts.sum(1).tolist() == [3, 5]
        and counts[0, captions.TOYBOX.token("red")] == 1
    )


def test_a_checkpoint_knows_how_to_build_it():
    method = catalogue.build(catalogue.describe("clip", "toybox", 10))
    assert type(method).__name__ == "CLIP" and method.project_text.out_features == 64


@pytest.mark.slow
def test_it_learns_from_captions_alone(toys):
    """A few hundred steps on 512 pictures: their shapes are named from prompts, and nothing read a label."""
    method = clip.CLIP(encoders.small_cnn(16))
    fit(method, toys.train.unlabelled(), Recipe(epochs=30, batch_size=64, lr=3e-3))
    right = (
        (clip.zero_shot(method, toys.train, clip.prompts_of(toys.classes)) == toys.train.label).float().mean()
    )
    assert right > 0.3  # chance is a tenth


# ---------------------------------------------------------------------------------------------- claims


def test_held_out_pairs_are_two_colours_of_every_shape():
    scene = toybox.factors(4000)
    new = claims.held_out(scene["hue"], scene["shape"])
    pairs = {
        (toybox.caption(scene, i, ("size", "pattern", "place")).split(" ", 1)[1], bool(new[i]))
        for i in range(4000)
    }
    assert len({p for p, _ in pairs}) == len(pairs) == 80 and sum(held for _, held in pairs) == 20


def results(**changes):
    names = {
        "new pair": 0.0,
        "seen pair": 0.0,
        "shape": 0.0,
        "shape, several prompts": 0.0,
        "4 shots": 0.0,
        "16 shots": 0.0,
        "scale": 1 / 0.07,
    }
    found = {name: dict(names) for name in ("CLIP", "CLIP, short", "one direction", "words")}
    found["CLIP"]["new pair"] = 10 / 80
    found["CLIP"]["seen pair"] = 20 / 80
    for run, values in changes.items():
        found[{"short": "CLIP, short"}.get(run, run)].update(values)
    return found


def test_effects_are_positive_where_the_paper_is_right():
    effects = {c.name: c.effect for c in claims.CLAIMS}
    assert all(abs(effect(results())) < 1e-9 for effect in effects.values())
    for name, changes in {
        "new_classes": {"CLIP": {"new pair": 0.225}},
        "new_as_seen": {"CLIP": {"seen pair": 0.05}},
        "prompt_ensemble": {"CLIP": {"shape, several prompts": 0.1}},
        "four_shots": {"CLIP": {"shape": 0.1}},
        "sixteen_shots": {"CLIP": {"16 shots": 0.1}},
        "contrastive": {"CLIP": {"shape": 0.1}},
        "both_directions": {"CLIP": {"shape": 0.1}},
        "contrastive_faster": {"short": {"shape": 0.1}},
        "scale_rises": {"CLIP": {"scale": 1 / 0.07 + 0.1}},
    }.items():
        assert effects[name](results(**changes)) == pytest.approx(0.1), name
    assert effects["contrastive"](results(words={"shape": 0.1})) == pytest.approx(-0.1)
