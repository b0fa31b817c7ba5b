"""The bugs museum: tests that students write are judged rightly, and the planted bugs do what their names
say.
"""

import copy
import json
import math
import os
import pathlib
import re
import subprocess
import sys

import build_notebooks as build
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslcourse import check, show
from sslcourse.check import museum
from sslcourse.methods.simclr import nt_xent
from sslcourse.runtime.errors import CourseError

NAMES = list(museum.EXHIBITS)
REFERENCE = {name: check.EXERCISES[name].reference for name in NAMES}
MISTAKES = [(name, m) for name in NAMES for m in check.EXERCISES[name].mistakes]
SPECIMENS = [
    (name, specimen, bug) for name in NAMES for specimen, bug, _ in museum.EXHIBITS[name].specimens()
]


def bug(name, specimen):
    return museum.EXHIBITS[f"museum.{name}"].bugs[specimen]


def right(name, specimen):
    return museum.EXHIBITS[f"museum.{name}"].right[specimen]


# ------------------------------------------------------------------------------------ our own tests are right


@pytest.mark.parametrize("name, specimen, is_bug", SPECIMENS, ids=[f"{n}: {s}" for n, s, _ in SPECIMENS])
@pytest.mark.parametrize("seeds", [range(2), pytest.param(range(2, 8), marks=pytest.mark.nightly)], ids=repr)
def test_the_reference_passes_what_is_right_and_fails_what_is_planted(name, specimen, is_bug, seeds):
    for seed in seeds:
        outcome = museum.EXHIBITS[name].outcome(REFERENCE[name], specimen, seed)
        assert outcome.said == ("fails" if is_bug else "passes",) * museum.engine.DRAWS, (seed, outcome)
        assert not outcome.left
        assert outcome.text or not is_bug, "an assertion should say what is wrong"


def test_every_exhibit_has_several_forms():
    assert len(NAMES) >= 8
    for exhibit in museum.EXHIBITS.values():
        assert len(exhibit.right) >= 4 and len(exhibit.bugs) >= 3, exhibit.name
        assert len(check.EXERCISES[exhibit.name].hints) == 3
        assert not check.EXERCISES[exhibit.name].apart, "a test is handed functions"
        assert not set(exhibit.right) & set(exhibit.bugs)


# ----------------------------------------------------------------------------------------- mistakes are named


@pytest.mark.nightly
@pytest.mark.parametrize("name, mistake", MISTAKES, ids=[f"{n}: {m.name}" for n, m in MISTAKES])
def test_each_mistake_is_named_under_other_seeds(name, mistake):
    for wrong in (mistake.wrong, *mistake.also):
        result = check.examine(name, wrong, 8)  # under seed 0 it is named in test_check
        assert (result.verdict, result.mistake, result.message) == (
            "not yet",
            mistake.name,
            mistake.message,
        ), result
        assert result.found and result.found != result.message


def swallowed(test):
    def wrong(*arguments):
        try:
            test(*arguments)
        except AssertionError:
            pass

    return wrong


def reported(test):
    def wrong(*arguments):
        try:
            test(*arguments)
        except AssertionError as error:
            return str(error)
        return "fine"

    return wrong


def another_error(test):
    def wrong(*arguments):
        try:
            test(*arguments)
        except AssertionError:
            return {}["the property"]

    return wrong


def upside_down(test):
    def wrong(*arguments):
        raise AssertionError(f"{len(arguments)} arguments")

    return wrong


def by_chance(test):
    def wrong(*arguments):
        if torch.initial_seed() % 3 == 1:
            return False
        test(*arguments)

    return wrong


def switch_left_off(test):
    def wrong(*arguments):
        torch.autograd.set_grad_enabled(True)
        try:
            return test(*arguments)
        finally:
            torch._C._set_grad_enabled(False)

    return wrong


def default_left_double(test):
    def wrong(*arguments):
        try:
            test(*arguments)
        finally:
            torch.set_default_dtype(torch.double)

    return wrong


GENERAL = {
    "never fails": [swallowed],
    "no verdict": [reported],
    "another error instead of an assertion": [another_error],
    "always fails": [upside_down],
    "depends on luck": [by_chance],
    "changes what it tests": [switch_left_off, default_left_double],
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mistake", GENERAL)
def test_general_mistakes_are_named_however_they_are_made(name, mistake):
    for make in GENERAL[mistake]:
        result = check.examine(name, make(REFERENCE[name]), 4)
        assert (result.verdict, result.mistake) == ("not yet", mistake), result
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32


# The same mistakes by other hands.
# ---------------------------------------------------------------------------


def ring(n):
    """n unit vectors round a circle, in 2n dimensions so that none is opposite to another."""
    return torch.eye(2 * n)[::2]


def partner_exact_zero_for_identity(loss):
    z = ring(4)
    return float(loss(z, z, 0.01)) < 1e-3 and float(loss(z, z.flip(0), 0.01)) > 1


def partner_gradient_pulls(loss):
    """The gradient on the first view points away from its partner, on average over all images."""
    z1, z2 = ring(6).requires_grad_(), ring(6).roll(1, 0)
    loss(z1, z2, 0.5).backward()
    assert (z1.grad * z2).sum() < -1e-4, "nothing pulls partners together"


def partner_swapped_pair(loss):
    z = ring(5)
    other = z[[1, 0, 2, 3, 4]]
    assert loss(z, other, 0.2) - loss(z, z, 0.2) > 1e-3


def partner_reference_value(loss):
    g = torch.Generator().manual_seed(3)
    a, b = torch.randn(5, 4, generator=g), torch.randn(5, 4, generator=g)
    z = F.normalize(torch.cat([a, b]), dim=1)
    rows = [
        -z[i] @ z[(i + 5) % 10] / 0.5
        + torch.logsumexp(torch.stack([z[i] @ z[k] / 0.5 for k in range(10) if k != i]), 0)
        for i in range(10)
    ]
    return abs(float(loss(a, b, 0.5)) - float(torch.stack(rows).mean())) < 1e-4


def partner_perfect_one_by_one(loss):
    for n in range(2, 25, 3):
        assert float(loss(ring(n), ring(n), 0.02)) < 0.05, n


def gather_rows_counted(gather):
    for world in (2, 3, 4):
        parts = [torch.full((2, 3), float(r)) for r in range(world)]
        for rank in range(world):
            assert gather(parts, rank)[:, 0].tolist() == [float(r) for r in range(world) for _ in range(2)]


def gather_by_finite_difference(world, rank_of):
    """Is the derivative that autograd finds the one that the numbers show?"""

    def test(gather):
        parts = [torch.randn(2, 3, requires_grad=True) for _ in range(world)]
        for rank in rank_of(world):
            out = gather(parts, rank)
            if len(out) != 2 * world or not out.requires_grad:
                return False
            grads = torch.autograd.grad(out.square().sum(), parts, allow_unused=True)
            if any(g is None or not torch.allclose(g, 2 * p) for g, p in zip(grads, parts)):
                return False
        return True

    return test


def gather_own_gradient(gather):
    for rank in (0, 1, 2):
        parts = [torch.ones(2, 2, requires_grad=True) for _ in range(3)]
        out = gather(parts, rank)
        assert out.shape == (6, 2) and out.requires_grad
        out.pow(2).sum().backward()
        assert torch.equal(parts[rank].grad, 2 * torch.ones(2, 2)), "the own rows get another gradient"


def gather_direction_only(gather):
    for world in (2, 3):
        for rank in range(world):
            parts = [torch.randn(2, 2, requires_grad=True) for _ in range(world)]
            out = gather(parts, rank)
            assert len(out) == 2 * world and out.requires_grad
            out.pow(2).sum().backward()
            for p in parts:
                assert (
                    p.grad is not None
                    and F.cosine_similarity(p.grad.flatten(), p.detach().flatten(), dim=0) > 0.99
                ), "another direction"


def gather_same_object(gather):
    parts = [torch.randn(2, 2, requires_grad=True) for _ in range(2)]
    return (
        gather_by_finite_difference(3, range)(gather)
        and type(gather(parts, 1).grad_fn).__name__ == "CatBackward0"
    )


def frozen_numpy(entries):
    def test(probe):
        encoder = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Tanh())
        names = [n for n in encoder.state_dict() if entries(n)]
        before = {n: encoder.state_dict()[n].numpy().copy() for n in names}
        probe(encoder, torch.randn(30, 5) * 3, torch.randint(0, 2, (30,)))
        return all(np.array_equal(encoder.state_dict()[n].numpy(), before[n]) for n in names)

    return test


def frozen_output_compared(probe):
    """Compares what the encoder computes in train mode, where the running statistics have no say."""
    encoder = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7))
    x = torch.randn(30, 5) + 1
    before = copy.deepcopy(encoder).train()(x).detach()
    probe(encoder, x, torch.arange(30) % 2)
    assert torch.equal(copy.deepcopy(encoder).train()(x), before), "other features"


def frozen_no_leaf_requires(probe):
    encoder = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    probe(encoder, torch.randn(20, 4), torch.arange(20) % 2)
    return [p.requires_grad for p in encoder.parameters()] == [False] * 4


def selection_permuted(report):
    """Reverses the test scores; no two validation scores are equal."""
    for _ in range(20):
        validation, test = torch.randperm(10).float() / 10, torch.randperm(10).float() / 10
        a, b = report(validation, test), report(validation, 1 - test)
        assert a[0] == b[0] and math.isclose(a[1], float(test[a[0]]), abs_tol=1e-6)


def selection_choice(report):
    choices = {report(torch.tensor([0.2, 0.5, 0.4, 0.5, 0.1]), t)[0] for t in torch.eye(5)}
    others = {report(torch.tensor([0.2, 0.5, 0.4, 0.5, 0.1]), t)[0] for t in torch.rand(20, 5)}
    return len(choices | others) == 1


def selection_score(report):
    for _ in range(5):
        validation, test = torch.rand(6), torch.rand(6)
        epoch, score = report(validation, test)
        assert float(test[epoch]) == pytest.approx(score)


def selection_single(report):
    validation = torch.tensor([0.3, 0.9, 0.2, 0.9, 0.8, 0.1])
    tests = [torch.tensor([0.1, 0.3, 0.2, 0.2, 0.9, 0.95]), torch.tensor([0.95, 0.2, 0.1, 0.3, 0.9, 0.2])]
    got = [report(validation, t) for t in tests]
    return got[0][0] == got[1][0] and all(abs(float(t[e]) - s) < 1e-6 for t, (e, s) in zip(tests, got))


def selection_argmax(report):
    validation = torch.tensor([0.1, 0.3, 0.9, 0.2, 0.4])
    return (
        int(report(validation, torch.rand(5))[0]) == 2
        and int(report(validation.flip(0), torch.rand(5))[0]) == 2
    )


def mean_repeated(n, times=2):
    def test(loss):
        p, z = torch.randn(n, 5), torch.randn(n, 5)
        once, often = float(loss(p, z)), float(loss(p.repeat(times, 1), z.repeat(times, 1)))
        return abs(once - often) <= 1e-3 * abs(once) + 1e-5

    return test


def mean_halves(loss):
    p, z = torch.randn(64, 5), torch.randn(64, 5)
    whole, halves = loss(p, z), (loss(p[:32], z[:32]) + loss(p[32:], z[32:])) / 2
    assert torch.allclose(whole, halves, rtol=1e-3, atol=1e-5)


def mean_permutation(loss):
    """Alone and in a batch that does not divide evenly; the width is never changed."""
    for n in (19, 23, 35):
        p, z = torch.randn(n, 5), torch.randn(n, 5)
        alone = sum(float(loss(p[i][None], z[i][None])) for i in range(n)) / n
        assert abs(float(loss(p, z)) - alone) < 1e-3 * abs(alone) + 1e-4


def mean_distance_of_unit_vectors(loss):
    p, z = torch.randn(19, 5), torch.randn(19, 5)
    return abs(float(loss(p, z)) - float((F.normalize(p) - F.normalize(z)).pow(2).sum(1).mean())) < 1e-3


def mean_bitwise(loss):
    for n in (3, 21):
        p, z = torch.randn(n, 5), torch.randn(n, 5)
        each = [loss(p[i : i + 1], z[i : i + 1]).item() for i in range(n)]
        assert loss(p, z).item() == float(np.mean(np.array(each, np.float32))), "not the mean"


def statistics_positions(encode):
    """Notes the places at which samples are computed."""
    places = []
    encode(
        lambda x: (places.extend(x[:, 0].int().tolist()), x)[1],
        torch.arange(32.0)[:, None],
        torch.arange(32.0)[:, None],
    )
    return places != 2 * list(range(32))


def statistics_identity(encode):
    x = torch.randn(24, 2)
    q, k = encode(lambda rows: rows + 0, x, -x)
    assert (q == x).all() and (k == -x).all()


def statistics_means(every):
    def test(encode):
        x = torch.randn(64, 3)
        q, k = encode(lambda rows: rows.mean(0, keepdim=True).repeat(len(rows), 1), x, x)
        apart = (q - k).abs().amax(1) > 1e-6
        if not every:
            y = torch.randn(64, 2)
            assert torch.equal(torch.cat(encode(lambda rows: rows, y, y)), torch.cat([y, y]))
        return apart.all() if every else bool(apart.any())

    return test


def statistics_first_group(encode):
    """Insists that the queries stay where they are."""
    calls = []
    encode(
        lambda x: (calls.append(x[:, 0].tolist()), x)[1],
        torch.arange(16.0)[:, None],
        100 + torch.arange(16.0)[:, None],
    )
    queries = [c for c in calls if c[0] < 100]
    assert queries == [[*map(float, range(8))], [*map(float, range(8, 16))]], "the queries were moved"
    REFERENCE["museum.statistics"](encode)


def queue_file_names(queue, fresh):
    assert any(key.endswith(("keys", "queue", "bank")) for key in queue.state_dict())


def queue_numbers_saved(queue, fresh):
    saved = sum(v.numel() for v in queue.state_dict().values() if isinstance(v, torch.Tensor))
    assert saved >= queue.negatives().numel(), "fewer numbers are saved than the queue holds"
    REFERENCE["museum.queue"](queue, fresh)


def queue_sorted_rows(queue, fresh):
    twin = fresh()
    twin.load_state_dict(queue.state_dict())
    return torch.equal(twin.negatives().sort(0).values, queue.negatives().sort(0).values)


def queue_after_a_round(queue, fresh):
    """Pushes a whole round, so that every key is replaced, whatever the pointer says."""
    running, twin = copy.deepcopy(queue), fresh()
    twin.load_state_dict(queue.state_dict())
    assert torch.equal(running.negatives(), twin.negatives())
    keys = torch.randn(len(running.negatives()), 4)
    for one in (running, twin):
        one.push(keys)
    return torch.equal(running.negatives().sort(0).values, twin.negatives().sort(0).values)


def views_unique(view):
    out = view(torch.rand(1, 3, 12, 12).repeat(6, 1, 1, 1))
    return len({tuple(v.flatten().tolist()) for v in out}) == 6


def views_pairs(pairs):
    def test(view):
        always = dict.fromkeys(pairs, True)
        for _ in range(25):
            out = view(torch.rand(1, 3, 12, 12).repeat(6, 1, 1, 1))
            for i, j in pairs:
                always[i, j] &= torch.allclose(out[i], out[j], atol=1e-3)
        return not any(always.values())

    return test


EVERY_PAIR = [(i, j) for i in range(6) for j in range(i)]


def target_grads(learner):
    learner.loss(torch.randn(9, 6), torch.randn(9, 6)).backward()
    return sum(float(p.grad.abs().sum()) for p in learner.target.parameters() if p.grad is not None) == 0


def target_followed(momentum, layers=slice(None), check_gradient=True):
    """update() from weights that were set by hand, so that no step is needed."""

    def test(learner):
        if check_gradient:
            assert target_grads(learner), "the target gets a gradient"
        with torch.no_grad():
            for p in learner.online.parameters():
                p.add_(1.0)
        t = [p.detach().clone() for p in learner.target[layers].parameters()]
        o = [p.detach().clone() for p in learner.online[layers].parameters()]
        learner.update(momentum)
        for now, a, b in zip(learner.target[layers].parameters(), t, o):
            assert torch.allclose(now, momentum * a + (1 - momentum) * b, atol=1e-5), "it leads elsewhere"

    return test


def target_comes_nearer(learner):
    assert target_grads(learner)
    with torch.no_grad():
        learner.online[0].weight.add_(1.0)
    gap = lambda: float((learner.online[0].weight - learner.target[0].weight).detach().norm())
    before = gap()
    learner.update(0.99)
    return gap() < before


def target_leaves(learner):
    return all(not p.requires_grad for p in learner.target.parameters())


def clusters_start(*lost):
    def test(kmeans):
        x = torch.cat([torch.randn(15, 2) * 0.2 + 4, torch.randn(15, 2) * 0.2 + torch.tensor([9.0, 4.0])])
        for n in lost:
            start = torch.cat([x[:1], x[-1:], torch.tensor([[-80.0, 10.0], [70.0, 70.0], [10.0, -90.0]])[:n]])
            centres, labels = kmeans(x, start)
            if not bool(torch.isfinite(centres).all()) or len(set(labels.tolist())) < len(start):
                return False
        return True

    return test


def clusters_no_nan(kmeans):
    x = torch.cat([torch.randn(15, 2) * 0.2 + 4, torch.randn(15, 2) * 0.2 + torch.tensor([9.0, 4.0])])
    centres, _ = kmeans(x, torch.cat([x[:1], torch.full((1, 2), -40.0)]))
    assert not np.isnan(centres.numpy()).any()


def clusters_inertia(kmeans):
    x = torch.arange(40.0)[:, None].repeat(1, 2) + 0.1 * torch.randn(40, 2)
    start = torch.cat([x[:2], torch.tensor([[-500.0, 500.0], [700.0, -700.0]])])
    best = museum.EXHIBITS["museum.clusters"].right["to the farthest point"](x, start)
    cost = lambda centres, labels: float((x - centres[labels]).square().sum())
    assert math.isclose(cost(*kmeans(x, start)), cost(*best), rel_tol=1e-4), "another optimum"


OTHERWISE = {
    "museum.partner": {
        "demands a value": [
            partner_reference_value,
            lambda loss: torch.equal(loss(ring(3), ring(3), 0.5), nt_xent(ring(3), ring(3), 0.5)),
        ],
        "only compares two sums": [partner_gradient_pulls, partner_swapped_pair],
        "knows only small batches": [
            partner_exact_zero_for_identity,
            lambda loss: partner_exact_zero_for_identity(lambda a, b, t: loss(a[:3], b[:3], t)),
        ],
        "looks at perfect pairs only": [
            partner_perfect_one_by_one,
            lambda loss: bool(loss(ring(30), 3 * ring(30), 0.02) < 0.1),
        ],
    },
    "museum.gather": {
        "demands one way to write it": [gather_same_object],
        "looks at the value, not the gradient": [gather_rows_counted],
        "looks at a process's own rows only": [gather_own_gradient],
        "knows only two processes": [gather_by_finite_difference(2, range)],
        "looks from the first process only": [gather_by_finite_difference(4, lambda world: [0])],
        "asks whether, not how much": [gather_direction_only],
    },
    "museum.frozen": {
        "demands more than frozen": [frozen_no_leaf_requires],
        "does not see the batch statistics": [
            frozen_numpy(lambda n: "running" not in n and "tracked" not in n),
            frozen_output_compared,
        ],
        "compares some of the weights": [frozen_numpy(lambda n: n in ("0.weight", "1.running_mean"))],
        "sees the state, not the mode": [frozen_numpy(lambda n: True)],
    },
    "museum.selection": {
        "demands one way to choose": [selection_argmax],
        "checks the score, not the choice": [selection_score],
        "checks the choice, not the score": [selection_choice],
        "has no ties": [selection_permuted],
        "tries too few tables": [selection_single],
    },
    "museum.mean": {
        "demands equality to the last digit": [mean_bitwise],
        "demands one formula": [mean_distance_of_unit_vectors],
        "knows only small batches": [mean_repeated(5), mean_repeated(3, 4)],
        "knows only batches that divide evenly": [mean_repeated(16, 4), mean_halves],
        "looks at the batch only": [mean_permutation],
    },
    "museum.statistics": {
        "demands one way to do it": [statistics_first_group],
        "checks the order, not the company": [statistics_identity],
        "asks whether something was shuffled": [statistics_positions],
        "checks the company, not the order": [statistics_means(True)],
        "is content with one": [statistics_means(False)],
    },
    "museum.queue": {
        "looks into the file": [queue_file_names, queue_numbers_saved],
        "looks only right after loading": [queue_sorted_rows, queue_after_a_round],
    },
    "museum.views": {
        "demands that all views differ": [views_unique],
        "compares too few pairs": [views_pairs([(0, 1), (0, 2)]), views_pairs([(2, 3)])],
        "looks at one picture only": [views_pairs(EVERY_PAIR)],
    },
    "museum.target": {
        "demands one way to stop the gradient": [target_leaves],
        "checks the update, not the gradient": [target_followed(0.8, check_gradient=False)],
        "checks the gradient, not the update": [target_grads],
        "takes a momentum that hides the mistake": [target_followed(0.5), target_comes_nearer],
        "looks at some of the weights": [target_followed(0.9, slice(0, 2))],
    },
    "museum.clusters": {
        "demands one repair": [clusters_inertia],
        "asks only for finite numbers": [clusters_no_nan],
        "knows only one empty cluster": [clusters_start(0, 1)],
    },
}
OTHER_CASES = [
    (n, m, k) for n, found in OTHERWISE.items() for m, tests in found.items() for k in range(len(tests))
]


@pytest.mark.parametrize(
    "name, mistake, k", OTHER_CASES, ids=[f"{n}: {m}, version {k + 1}" for n, m, k in OTHER_CASES]
)
@pytest.mark.parametrize("seed", [5, pytest.param(0, marks=pytest.mark.nightly)])
def test_each_mistake_is_named_however_it_is_written(name, mistake, k, seed):
    result = check.examine(name, OTHERWISE[name][mistake][k], seed)
    assert (result.verdict, result.mistake) == ("not yet", mistake), result


def test_every_mistake_is_also_written_by_other_hands():
    for name in NAMES:
        assert {m.name for m in check.EXERCISES[name].mistakes} == set(OTHERWISE[name]) | set(GENERAL), name


# ----------------------------------------------------------------------------- right tests, written otherwise


def right_partner(loss):
    """Each row in turn: turning only its partner away must cost something, and nothing else may."""
    for n in (3, 17):
        z = torch.eye(n + 1)[:n]
        base = float(loss(z, z, 0.05))
        if base > 0.05:
            return False
        for i in range(n):
            for first in (True, False):
                turned = z.clone()
                turned[i] = torch.eye(n + 1)[n]  # a direction that nobody has
                if float(loss(turned, z, 0.05) if first else loss(z, turned, 0.05)) < base + 0.5 / n:
                    return False
    return bool(loss(torch.eye(4), torch.eye(4)[[1, 2, 3, 0]], 0.05) > 2)


def right_gather(gather):
    """Against numbers: the sum of squares of everybody has the gradient 2 x, in float64."""
    for world in (1, 2, 5):
        parts = [torch.randn(3, 2, dtype=torch.float64, requires_grad=True) for _ in range(world)]
        for rank in range(world):
            out = gather(parts, rank)
            torch.testing.assert_close(out.detach(), torch.cat([p.detach() for p in parts]))
            assert out.requires_grad
            grads = torch.autograd.grad(out.square().sum(), parts, allow_unused=True)
            for g, p in zip(grads, parts):
                assert g is not None
                torch.testing.assert_close(g, 2 * p.detach())


def right_frozen(probe):
    class Spy(nn.Module):
        seen = []

        def forward(self, x):
            self.seen.append(self.training)
            return x

    Spy.seen = []
    encoder = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), Spy())
    encoder[1].running_mean -= 3
    kept = copy.deepcopy(encoder.state_dict())
    probe(encoder, torch.randn(30, 2, 5), torch.arange(30) % 2)
    same = [np.array_equal(v, kept[k]) for k, v in encoder.state_dict().items()]
    assert all(same) and True not in Spy.seen


def right_selection(report):
    rng = np.random.default_rng(0)
    for _ in range(40):
        validation = torch.from_numpy(rng.integers(0, 4, 8) / 4)
        results = [(report(validation, t), t) for t in torch.from_numpy(rng.random((5, 8)))]
        if len({int(e) for (e, _), _ in results}) > 1 or any(
            abs(float(s) - float(t[e])) > 1e-6 for (e, s), t in results
        ):
            return False
    return True


def right_mean(loss):
    """A batch made of one sample n times costs what the sample costs; a mixed batch what its parts cost, by
    weight.
    """
    for n in (3, 19, 33):
        p, z = torch.randn(n, 4), torch.randn(n, 4)
        cut = n // 3
        parts = cut / n * loss(p[:cut], z[:cut]) + (n - cut) / n * loss(p[cut:], z[cut:])
        single = loss(p[:1].repeat(n, 1), z[:1].repeat(n, 1))
        for a, b in (
            (loss(p, z), parts),
            (single, loss(p[:1], z[:1])),
            (loss(p, z), loss(torch.cat([p, 0 * p], 1), torch.cat([z, 0 * z], 1))),
        ):
            assert abs(float(a) - float(b)) < 1e-4 + 1e-3 * abs(float(b))


def right_statistics(encode):
    n, mates = 40, {}

    def spy(rows):
        for row in rows[:, 0].tolist():
            mates[row] = {r % 1000 for r in rows[:, 0].tolist()}
        return rows

    q, k = encode(spy, torch.arange(1000.0, 1000 + n)[:, None], torch.arange(2000.0, 2000 + n)[:, None])
    in_order = q[:, 0].tolist() == list(range(1000, 1000 + n)) and k[:, 0].tolist() == list(
        range(2000, 2000 + n)
    )
    return in_order and all(mates[1000 + i] != mates[2000 + i] for i in range(n))


def right_queue(queue, fresh):
    """Through a real file."""
    import io

    file, running, restored = io.BytesIO(), copy.deepcopy(queue), fresh()
    torch.save(queue.state_dict(), file)
    file.seek(0)
    restored.load_state_dict(torch.load(file, weights_only=True))
    for n in (0, 1, 7, 3):
        keys = torch.randn(n, 4)
        running.push(keys), restored.push(keys)
        assert (running.negatives() == restored.negatives()).all()


def right_views(view):
    pictures = [torch.rand(3, 10, 10), torch.ones(3, 10, 10) * torch.tensor([0.2, 0.5, 0.6])[:, None, None]]
    for picture in pictures:
        calls = np.stack([view(picture[None].repeat(5, 1, 1, 1)).numpy() for _ in range(30)])
        changes = np.abs(calls - calls[:1]).max() > 1e-3
        apart = np.abs(calls[:, :, None] - calls[:, None]).max((0, 3, 4, 5)) > 1e-3
        if changes and not apart[~np.eye(5, dtype=bool)].all():
            return False
    return True


def right_target(learner):
    flat = lambda network: torch.cat([p.detach().flatten() for p in network.parameters()])
    target = flat(learner.target)
    optimizer = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        learner.loss(torch.randn(12, 6), torch.randn(12, 6)).backward()
        optimizer.step()
    assert torch.equal(target, flat(learner.target))
    gap = flat(learner.online) - target
    learner.update(0.9)
    torch.testing.assert_close(flat(learner.target) - target, 0.1 * gap, atol=1e-6, rtol=1e-3)


def right_clusters(kmeans):
    x = torch.rand(50, 3) + torch.tensor([5.0, 5.0, 5.0])
    for lost in range(5):
        start = torch.cat([x[:4], 100 + 50 * torch.arange(lost)[:, None] * torch.ones(1, 3)])
        centres, labels = kmeans(x, start)
        if not np.isfinite(centres.numpy()).all() or sorted(set(labels.tolist())) != list(range(4 + lost)):
            return False
    return True


@pytest.mark.parametrize(
    "answer",
    [
        right_partner,
        right_gather,
        right_frozen,
        right_selection,
        right_mean,
        right_statistics,
        right_queue,
        right_views,
        right_target,
        right_clusters,
    ],
)
def test_right_tests_of_other_hands_are_correct(answer):
    for seed in (0, 1, 6):
        result = check.examine(answer.__name__.replace("right_", "museum."), answer, seed)
        assert result.verdict == "correct", result


# ---------------------------------------------------------------------------------------- what a student sees


def test_a_stub_is_not_attempted_and_the_reference_goes_on(capsys):
    def stub(loss):
        """Raise AssertionError unless the partner is the other view."""
        raise NotImplementedError

    assert check.check("museum.partner", stub) is museum.test_partner
    assert "not attempted" in capsys.readouterr().out


def test_a_crash_shows_its_line():
    def crashing(loss):
        return loss(torch.eye(3), torch.eye(3), 0.5) < undefined_name  # noqa: F821

    result = check.examine("museum.partner", crashing)
    assert (
        result.mistake == "it raises an error"
        and "undefined_name" in result.message
        and "line" in result.message
    )


def test_several_mistakes_at_once_all_show_in_what_was_found():
    result = check.examine("museum.partner", museum.partner._nearer_is_cheaper)
    for missed in ("itself, partner masked", "itself, in view two only", "counted anew every 16 rows"):
        assert missed in result.found
    assert "itself'" not in result.found.replace("itself, ", "")


def test_a_redefined_test_is_examined_anew():
    """A notebook's function keeps its name and changes; so may a name that it reads."""
    strictness = {"small": True}

    def answer(loss):
        (museum.partner._small_pairs_and_strangers if strictness["small"] else museum.test_partner)(loss)

    assert check.examine("museum.partner", answer).mistake == "knows only small batches"
    strictness["small"] = False
    assert check.examine("museum.partner", answer).verdict == "correct"


def test_checking_leaves_no_trace():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    check.examine(
        "museum.mean", museum.exercises._broken(museum.test_mean, museum.exercises._in_double_ever_after)
    )
    check.examine(
        "museum.gather",
        museum.exercises._broken(museum.test_gather, museum.exercises._without_gradients_ever_after),
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()


def test_catches():
    assert museum.catches(museum.test_partner, bug("partner", "itself")) and not museum.catches(
        museum.test_partner, nt_xent
    )
    assert museum.catches(lambda f: False, nt_xent) and not museum.catches(
        lambda f: torch.tensor(True), nt_xent
    )
    with pytest.raises(ZeroDivisionError):
        museum.catches(lambda f: 1 / 0, nt_xent)
    with pytest.raises(CourseError, match="returned float"):
        museum.catches(lambda f: 0.5, nt_xent)
    with pytest.raises(CourseError, match="museum.partner"):
        museum.trial("museum.partners", museum.test_partner)
    with pytest.raises(CourseError, match="no tests"):
        museum.matrix({})


def words(figure):
    return [t.get_text().replace("\n", " ") for t in figure.axes[0].texts]


def test_the_pictures_tick_what_was_said_rightly():
    everything = museum.caught(REFERENCE)
    assert set(everything) == set(NAMES) and all(all(row.values()) for row in everything.values())
    assert sum(len(row) - 1 for row in everything.values()) == sum(
        len(e.bugs) for e in museum.EXHIBITS.values()
    )
    figure = museum.matrix(
        {
            "museum.partner": museum.partner._nearer_is_cheaper,
            "museum.frozen": museum.frozen._asks_for_the_mode,
        }
    )
    text = words(figure)
    assert "✓ itself" in text and "✗ missed: itself, partner masked" in text
    assert "✗ only: 4 of 5 pass" in text and "✓ 5 of 5 pass" in text
    single = words(museum.trial("museum.frozen", museum.frozen._asks_for_the_mode))
    assert "✗ rejected: left in eval mode" in single and any("4 of 5 right ones pass" in t for t in single)
    assert len(show.png(figure)) < 20_000
    table = museum.caught({"museum.frozen": museum.frozen._asks_for_the_mode})["museum.frozen"]
    assert table["trained along"] is False or table["right ones pass"] is False


def test_no_text_of_the_pictures_is_cut():
    for name in NAMES:
        wrong = {m.name: m.wrong for m in check.EXERCISES[name].mistakes}["never fails"]
        for figure in (museum.matrix({name: wrong}), museum.trial(name, wrong)):
            assert not [t for t in words(figure) if "…" in t], name


# ------------------------------------------------------------------------------- the bugs have their symptoms


def test_paired_with_itself_does_not_care_who_is_whose_partner():
    torch.manual_seed(0)
    a, b = torch.randn(10, 6), torch.randn(10, 6)
    for specimen in ("itself", "itself, partner masked"):
        loss, order = bug("partner", specimen), torch.randperm(10)
        pairs = loss(a, b, 0.5), loss(a, b[order], 0.5)
        assert torch.allclose(*pairs) is (specimen == "itself")
    assert not torch.allclose(nt_xent(a, b, 0.5), nt_xent(a, b[torch.randperm(10)], 0.5))
    # The gradient never pulls a view to its partner: without the softmax's push nothing is left.
    z = torch.randn(10, 6, requires_grad=True)
    pull = {}
    for name, loss in {"right": nt_xent, "bug": bug("partner", "itself")}.items():
        gradient = torch.autograd.grad(loss(z, b, 0.5), z)[0]
        pull[name] = float((gradient * F.normalize(b, dim=1)).sum(1).mean())
    assert pull["right"] < 0 < pull["bug"]


def test_chunks_and_small_batches():
    a, b = torch.randn(8, 5), torch.randn(8, 5)
    assert torch.allclose(bug("partner", "counted anew every 16 rows")(a, b, 0.3), nt_xent(a, b, 0.3))
    a, b = torch.randn(9, 5), torch.randn(9, 5)
    assert not torch.allclose(bug("partner", "counted anew every 16 rows")(a, b, 0.3), nt_xent(a, b, 0.3))


def simulated(gather, world):
    """Mean loss and gradient of `world` processes in one, as the notebook computes them."""
    torch.manual_seed(0)
    f = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    x1, x2 = torch.randn(12, 6, dtype=torch.float64), torch.randn(12, 6, dtype=torch.float64)
    z1, z2 = f(x1).chunk(world), f(x2).chunk(world)
    loss = sum(nt_xent(gather(z1, r), gather(z2, r), 0.3) for r in range(world)) / world
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in f.parameters()])


@pytest.mark.parametrize("world", [2, 3, 4])
def test_the_gradient_is_the_number_of_processes_too_small(world):
    loss, gradient = simulated(right("gather", "one after the other"), world)
    alone, true = simulated(right("gather", "one after the other"), 1)
    assert math.isclose(loss, alone) and torch.allclose(gradient, true)
    for specimen in ("own rows put back", "divided by the processes"):
        loss, wrong = simulated(bug("gather", specimen), world)
        assert math.isclose(loss, alone)  # the loss says nothing
        assert torch.allclose(wrong * world, true, rtol=1e-9)


WORKER = """
import json, torch, torch.distributed as dist
from torch import nn
from sslcourse.runtime import distributed
import sslcourse.methods.simclr as simclr

torch.set_num_threads(1)
rank, world = distributed.start()

def own_rows_put_back(x):
    parts = [torch.empty_like(x) for _ in range(world)]
    dist.all_gather(parts, x.detach())
    parts[rank] = x
    return torch.cat(parts)

simclr.gather = own_rows_put_back
torch.manual_seed(0)
f = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)).double()
x1, x2 = torch.randn(12, 6, dtype=torch.float64), torch.randn(12, 6, dtype=torch.float64)

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = f
    def forward(self, a, b):
        return simclr.nt_xent(self.f(a), self.f(b), 0.3)

share = 12 // world
mine = slice(rank * share, (rank + 1) * share)
loss = distributed.parallel(Model())(x1[mine], x2[mine])
loss.backward()
if rank == 0:
    gradient = torch.cat([p.grad.flatten() for p in f.parameters()])
    print("RESULT" + json.dumps([loss.item(), gradient.tolist()]))
distributed.stop()
"""


@pytest.mark.distributed
def test_real_processes_lose_the_same_share(tmp_path):
    """Two processes over gloo, PyTorch's own engine: what the notebook shows in one process happens."""
    file = tmp_path / "worker.py"
    file.write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(file)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=180, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    loss, gradient = json.loads(done.stdout[done.stdout.index("RESULT") + 6 :].splitlines()[0])
    expected_loss, expected = simulated(bug("gather", "own rows put back"), 2)
    assert math.isclose(loss, expected_loss, rel_tol=1e-9)
    assert torch.allclose(torch.tensor(gradient, dtype=torch.float64), expected, rtol=1e-7, atol=1e-12)


def test_what_each_probe_changes():
    def changed(probe, mode):
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5)).train(mode)
        before, modes = copy.deepcopy(encoder.state_dict()), []
        encoder[3].register_forward_hook(lambda m, i, o: modes.append(m.training))
        probe(encoder, torch.randn(40, 6) + 2, torch.arange(40) % 3)
        return {k for k, v in encoder.state_dict().items() if not torch.equal(v, before[k])}, any(modes)

    weights = {"0.weight", "0.bias", "1.weight", "1.bias"}
    statistics = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    for mode in (True, False):  # in whichever mode the encoder comes
        assert changed(bug("frozen", "trained along"), mode) == (weights, False)
        assert changed(bug("frozen", "batch statistics drift"), mode) == (statistics, True)
        assert changed(bug("frozen", "batch norm's weights learn"), mode) == ({"1.weight", "1.bias"}, False)
        assert changed(bug("frozen", "dropout goes on"), mode) == (set(), True)
        for specimen in museum.EXHIBITS["museum.frozen"].right.values():
            assert changed(specimen, mode) == (set(), False)


def test_choosing_by_test_reports_luck():
    """Epochs that are equally good: whoever asks the test split reports more than they are worth."""
    torch.manual_seed(0)
    reported = dict.fromkeys(museum.EXHIBITS["museum.selection"].bugs, 0.0)
    honest = dict.fromkeys(museum.EXHIBITS["museum.selection"].right, 0.0)
    for _ in range(400):
        validation, test = (torch.randint(20, 41, (12,)) / 100 for _ in range(2))
        for name in reported:
            reported[name] += bug("selection", name)(validation, test)[1] / 400
        for name in honest:
            honest[name] += right("selection", name)(validation, test)[1] / 400
    assert all(abs(value - 0.3) < 0.012 for value in honest.values()), honest  # 0.3 is the mean of all epochs
    assert (
        all(value > 0.3 for value in reported.values())
        and min(reported[n] for n in reported if "ties" not in n) > 0.32
    ), reported


def test_how_each_sum_grows():
    torch.manual_seed(0)
    p, z = torch.randn(32, 4), torch.randn(32, 4)
    mean = float((2 - 2 * F.cosine_similarity(p, z)).mean())
    value = lambda specimen, k=1: float(bug("mean", specimen)(p.repeat(k, 1), z.repeat(k, 1)))
    assert math.isclose(value("sum"), 32 * mean, rel_tol=1e-5) and math.isclose(
        value("sum", 3), 96 * mean, rel_tol=1e-5
    )
    assert math.isclose(
        value("over a fixed batch size", 2), mean, rel_tol=1e-5
    )  # 64 samples, as somebody once had
    assert math.isclose(value("over a fixed batch size"), mean / 2, rel_tol=1e-5)
    assert math.isclose(value("chunks of 16 added"), 2 * mean, rel_tol=1e-5)
    assert math.isclose(value("mean of the chunks' means"), mean, rel_tol=1e-5)  # 32 divides evenly
    assert math.isclose(value("mean over the dimensions too"), mean / 4, rel_tol=1e-5)


def test_who_shares_a_batch():
    def company(encode, n=32):
        rows = {}

        def spy(x):
            for row in x[:, 0].tolist():
                rows[int(row)] = frozenset(int(r) % 100 for r in x[:, 0].tolist())
            return x

        _, k = encode(spy, torch.arange(100.0, 100 + n)[:, None], torch.arange(200.0, 200 + n)[:, None])
        shared = [rows[100 + i] == rows[200 + i] for i in range(n)]
        return shared, k[:, 0].tolist() == list(range(200, 200 + n))

    torch.manual_seed(0)
    for specimen in (
        "not shuffled",
        "shuffled within groups",
        "whole groups moved",
        "both in the same new order",
    ):
        shared, in_order = company(bug("statistics", specimen))
        assert all(shared) and in_order, specimen
    shared, _ = company(bug("statistics", "the last group stays together"))
    assert not any(shared[:24]) and all(shared[24:])
    shared, in_order = company(bug("statistics", "keys not put back"))
    assert not any(shared) and not in_order
    for specimen in museum.EXHIBITS["museum.statistics"].right.values():
        shared, in_order = company(specimen)
        assert not any(shared) and in_order


def test_batch_norm_lets_a_stranger_be_found_by_company():
    """The leak is in the statistics: same picture, same network, only the company differs."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16), nn.BatchNorm1d(16)
    ).train()
    found = 0
    with torch.no_grad():
        for _ in range(200):
            companies, query, other = torch.randn(4, 7, 16), torch.randn(1, 16), torch.randn(1, 16)
            q = network(torch.cat([query, companies[0]]))[0]
            keys = torch.stack([network(torch.cat([other, c]))[0] for c in companies])
            found += int(F.cosine_similarity(keys, q[None]).argmax() == 0)
    assert found / 200 > 0.36  # chance is 0.25, with a standard error of 0.03


def test_what_of_each_queue_is_lost(tmp_path):
    """Through a file, as a killed run finds it."""

    def restored(kind):
        torch.manual_seed(0)
        queue, fresh = museum.queue._queue_in_use(kind)
        torch.save(queue.state_dict(), tmp_path / "queue.pt")
        other = fresh()
        other.load_state_dict(torch.load(tmp_path / "queue.pt", weights_only=True))
        now = torch.equal(queue.negatives(), other.negatives())
        keys = torch.randn(2, museum.queue.KEY_DIM)
        queue.push(keys), other.push(keys)
        return now, torch.equal(queue.negatives(), other.negatives())

    for name, kind in museum.EXHIBITS["museum.queue"].right.items():
        assert restored(kind) == (True, True), name
    for name, kind in museum.EXHIBITS["museum.queue"].bugs.items():
        assert restored(kind) == ((True, False) if "pointer" in name else (False, False)), name


@pytest.mark.parametrize(
    "kind",
    [*museum.EXHIBITS["museum.queue"].right.values(), *museum.EXHIBITS["museum.queue"].bugs.values()],
    ids=[*museum.EXHIBITS["museum.queue"].right, *museum.EXHIBITS["museum.queue"].bugs],
)
def test_every_queue_keeps_the_newest_keys(kind):
    """Apart from checkpoints all of them are right: first in, first out, for any number of keys at once."""
    queue, pushed = kind(6, 2), []
    for n in (2, 3, 1, 4, 2):
        keys = torch.randn(n, 2)
        queue.push(keys)
        pushed += keys.tolist()
        held = {tuple(round(v, 5) for v in row) for row in queue.negatives().tolist()}
        assert {tuple(round(v, 5) for v in row) for row in pushed[-6:]} <= held


def test_how_many_views_differ():
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 16, 16).repeat(8, 1, 1, 1)
    flat = torch.full((8, 3, 16, 16), 0.5)
    different = lambda view, image: len(torch.unique((view(image) * 1000).round().flatten(1), dim=0))
    assert different(bug("views", "drawn once"), picture) == 1
    assert different(bug("views", "drawn for half, then repeated"), picture) == 4
    assert (
        different(bug("views", "colours drawn once"), picture) == 8
        and different(bug("views", "colours drawn once"), flat) == 1
    )
    assert different(right("views", "the library's"), picture) == 8
    assert different(right("views", "flips only"), picture) == 2


def test_torchvision_draws_once_for_a_batch():
    """The exhibit's claim about somebody else's library, tested."""
    from torchvision.transforms import v2

    torch.manual_seed(0)
    batch = torch.rand(1, 3, 16, 16).repeat(6, 1, 1, 1)
    for transform in (
        v2.RandomResizedCrop(16, scale=(0.3, 0.8), antialias=True),
        v2.ColorJitter(0.4, 0.4, 0.4, 0.2),
    ):
        view = transform(batch)
        assert (view == view[:1]).all() and not torch.equal(view, batch)
        assert museum.catches(museum.test_views, transform)


def test_what_moves_each_target():
    def moves(kind):
        torch.manual_seed(0)
        learner = kind()
        weights = lambda: torch.cat([p.detach().flatten() for p in learner.target.parameters()])
        before = weights()
        optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
        learner.loss(torch.randn(16, 6), torch.randn(16, 6)).backward()
        optimizer.step()
        by_step = not torch.equal(before, weights())
        before, online = weights(), torch.cat([p.detach().flatten() for p in learner.online.parameters()])
        learner.update(0.9)
        moved = weights() - before
        way = (online - before).clone()
        share = moved[way.abs() > 1e-6] / way[way.abs() > 1e-6]
        return by_step, sorted({round(float(s), 2) for s in share})

    for specimen in museum.EXHIBITS["museum.target"].right.values():
        assert moves(specimen) == (False, [0.1])
    assert (
        moves(bug("target", "the gradient flows into it"))[0]
        and moves(bug("target", "in one direction it flows"))[0]
    )
    assert moves(bug("target", "it is the online network itself")) == (True, [])
    assert moves(bug("target", "the momentum turned round")) == (False, [0.9])
    assert moves(bug("target", "the update changes nothing")) == (False, [0.0])
    assert moves(bug("target", "the head is forgotten")) == (False, [0.0, 0.1])


@pytest.mark.parametrize(
    "kind, collapses", [(museum.target.Learner, False), (museum.target._GradientFlows, True)]
)
def test_a_target_that_learns_collapses(kind, collapses):
    torch.manual_seed(0)
    learner, x = kind().train(), torch.randn(256, 6)
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    for _ in range(300):
        noise = lambda: x + 0.3 * torch.randn_like(x)
        loss = learner.loss(noise(), noise())
        optimizer.zero_grad(), loss.backward(), optimizer.step()
        learner.update(0.95)
    z = F.normalize(learner.target(x).detach(), dim=1)
    spread = float(z.std(0).mean() * math.sqrt(4))
    assert (spread < 0.2) is collapses, spread
    assert not collapses or float(loss.detach()) < 0.05


def test_what_becomes_of_empty_clusters():
    torch.manual_seed(0)
    x = museum.clusters._heaps()
    start = museum.clusters._lost(x, 2)
    centres, labels = bug("clusters", "the mean of nothing")(x, start)
    assert (
        torch.isnan(centres).any(1).sum() == 4 and len(labels.unique()) == 1
    )  # nan is the smallest distance: all but one cluster follow
    alive = {
        "a dead centre stays": {3},
        "a dead centre goes to the origin": {3},
        "an exact copy of the largest": {3, 4},
        "one repair and no more": {4},
    }
    for specimen, counts in alive.items():
        centres, labels = bug("clusters", specimen)(x, start)
        assert torch.isfinite(centres).all() and len(labels.unique()) in counts, specimen
    inertia = lambda centres, labels: float((x - centres[labels]).square().sum())
    dead = inertia(*bug("clusters", "a dead centre stays")(x, start))
    for name, kmeans in museum.EXHIBITS["museum.clusters"].right.items():
        centres, labels = kmeans(x, start)
        assert len(labels.unique()) == 5 and inertia(centres, labels) < dead, name
        for j in range(5):  # a fixed point of Lloyd's algorithm, as scikit-learn's is
            assert torch.allclose(centres[j], x[labels == j].mean(0), atol=1e-3), name


def test_right_kmeans_equals_scikit_learn_where_no_cluster_is_empty():
    from sklearn.cluster import KMeans

    torch.manual_seed(0)
    x = torch.rand(80, 3)
    theirs = KMeans(5, init=x[:5].numpy(), n_init=1, algorithm="lloyd", tol=0, max_iter=60).fit(x.numpy())
    for name, kmeans in museum.EXHIBITS["museum.clusters"].right.items():
        centres, labels = kmeans(x, x[:5])
        assert labels.tolist() == theirs.labels_.tolist(), name
        assert np.allclose(centres.numpy(), theirs.cluster_centers_, atol=1e-5), name


# ---------------------------------------------------------------------------------------------- the notebook

SOURCE = pathlib.Path(__file__).resolve().parents[1] / "notebooks" / "source" / "90_bugs_museum.py"


@pytest.fixture(scope="module")
def answers():
    """The answers that stand in the notebook's source, by exercise."""
    found = {}
    for cell in build.build(SOURCE, solution=True).cells:
        match = re.search(r'check\("(museum\.\w+)", (my_test_\w+)\)', cell.source)
        if match and cell.cell_type == "code":
            names = {"torch": torch, "nn": nn, "F": F, "copy": copy, "check": lambda name, answer: answer}
            exec(compile(cell.source, match[1], "exec"), names)
            found[match[1]] = match[2], names[match[2]]
    return found


def test_the_notebook_has_all_exercises_and_its_answers_are_correct(answers):
    tasks = {t.exercise: t.function for t in check.assignment("90_bugs_museum").tasks}
    assert {name: function for name, (function, _) in answers.items()} == tasks and list(tasks) == NAMES
    for name, (_, answer) in answers.items():
        for seed in (0, 2):
            result = check.examine(name, answer, seed)
            assert result.verdict == "correct", result


def test_the_notebook_names_a_source_for_every_exhibit():
    text = SOURCE.read_text()
    for i, part in enumerate(re.split(r"^# ## Exhibit \d+\.", text, flags=re.M)[1:], 1):
        seen = re.findall(r"\]\((https://github\.com/[^)]+)\)", part.split("# %%")[0])
        assert seen, f"exhibit {i} names no public case"
    table = text.split("# ## The real cases")[1].split("# %%")[0]
    assert len(re.findall(r"^# \| \d+ ", table, re.M)) == len(NAMES)


def test_museum_comes_without_heavy_packages():
    heavy = {"matplotlib", "torchvision", "sklearn", "PIL", "ipywidgets"}
    code = f"import sys, sslcourse.check; bad = {heavy} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
