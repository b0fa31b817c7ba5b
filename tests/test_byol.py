"""BYOL and MoCo: their equations written out by hand, what their targets and queue may and may not do, and
collapse on a switch.
"""

import copy
import inspect
import json
import math
import os
import subprocess
import sys
from collections import deque

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslcourse import encoders
from sslcourse.methods import byol, moco
from sslcourse.results.claims import byol as claims
from sslcourse.runtime.errors import CourseError
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe
from sslcourse.transforms import augment

QUICK = Recipe(epochs=2, batch_size=32, lr=1e-3, max_steps=3)


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small(kind, **arguments):
    torch.manual_seed(1)
    return kind(encoders.small_cnn(8), dim=16, hidden=32, **arguments)


def still(batch):
    """Views that draw nothing: the picture, and the picture mirrored."""
    x = augment.as_float(batch["image"])
    return x, x.flip(3)


# ---------------------------------------------------------------------------------------------- BYOL's loss


def by_hand(p, target):
    """Eq. 2 of the paper, picture by picture."""
    terms = [((a / a.norm() - b / b.norm()) ** 2).sum() for a, b in zip(p, target)]
    return sum(terms) / len(terms)


@pytest.mark.parametrize("n, d", [(1, 3), (2, 1), (7, 5)])
def test_the_loss_is_equation_2_in_value_and_gradient(n, d):
    p, t = rows(n, d).requires_grad_(), rows(n, d, seed=1)
    ours, theirs = byol.regression_loss(p, t), by_hand(p, t)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(*(torch.autograd.grad(v, p)[0] for v in (ours, theirs)), rtol=1e-8, atol=1e-10)
    assert torch.autograd.gradcheck(lambda x: byol.regression_loss(x, t), p)


def test_the_loss_of_known_vectors():
    p = rows(6, 4)
    assert float(byol.regression_loss(p, 3 * p)) == pytest.approx(0, abs=1e-12)
    assert float(byol.regression_loss(p, -p)) == pytest.approx(4)
    turned = torch.stack([-p[:, 1], p[:, 0], -p[:, 3], p[:, 2]], 1)  # at a right angle
    assert float(byol.regression_loss(p, turned)) == pytest.approx(2)
    strangers = byol.regression_loss(rows(4000, 64, seed=2), rows(4000, 64, seed=3))
    assert float(strangers) == pytest.approx(2, abs=0.02)


def test_the_loss_sees_directions_only():
    p, t = rows(6, 5).requires_grad_(), rows(6, 5, seed=1)
    value = byol.regression_loss(p, t)
    scale, turn, order = (
        rows(6, 1, seed=2).abs() + 0.1,
        torch.linalg.qr(rows(5, 5, seed=3)).Q,
        torch.tensor([3, 0, 5, 1, 4, 2]),
    )
    for other in ((p * scale, t), (p, t * scale), (p @ turn, t @ turn), (p[order], t[order])):
        assert torch.isclose(byol.regression_loss(*other), value)
    assert not torch.isclose(byol.regression_loss(p[order], t), value)
    (gradient,) = torch.autograd.grad(value, p)
    torch.testing.assert_close((gradient * p).sum(1), torch.zeros(6, dtype=torch.float64), atol=1e-12, rtol=0)


def test_the_gradient_stops_at_the_target():
    p, t = rows(6, 5).requires_grad_(), rows(6, 5, seed=1).requires_grad_()
    byol.regression_loss(p, t).backward()
    assert t.grad is None and p.grad is not None
    byol.distance(p, t).backward()  # the switch: the same number, with gradients to both sides
    assert t.grad.norm() > 0
    assert torch.equal(byol.distance(p, t), byol.regression_loss(p, t))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_losses_stay_finite(dtype):
    big, dead = (rows(16, 8) * 300).to(dtype).requires_grad_(), torch.zeros(16, 8, dtype=dtype)
    for loss in (
        byol.regression_loss(big, dead),
        byol.regression_loss(big, big.detach()),
        byol.regression_loss(dead.clone().requires_grad_(), big),
        moco.info_nce(big, dead, big.detach(), 0.01),
        moco.info_nce(big, big, dead, 0.01),
    ):
        assert loss.dtype == torch.float32 and torch.isfinite(loss)
    (gradient,) = torch.autograd.grad(
        moco.info_nce(big, big, dead, 0.01) + byol.regression_loss(big, dead), big
    )
    assert torch.isfinite(gradient).all()


# ---------------------------------------------------------------------------------------------- BYOL's target


@pytest.mark.parametrize("update", [byol.update_target, moco.follow])
def test_the_target_follows_in_closed_form(update):
    online, target = nn.Linear(3, 2).double(), nn.Linear(3, 2).double().requires_grad_(False)
    theta, xi = online.weight.clone(), target.weight.clone()
    place = target.weight.data_ptr()
    for _ in range(7):
        update(online, target, 0.8)
    torch.testing.assert_close(target.weight, 0.8**7 * xi + (1 - 0.8**7) * theta, rtol=1e-12, atol=1e-12)
    assert (
        torch.equal(online.weight, theta)
        and target.weight.data_ptr() == place
        and not target.weight.requires_grad
    )
    before = target.weight.clone()
    update(online, target, 1.0)
    assert torch.equal(target.weight, before)
    update(online, target, 0.0)
    assert torch.equal(target.weight, theta) and torch.equal(target.bias, online.bias)
    with torch.no_grad():
        online.weight.add_(1)
    assert torch.equal(target.weight, theta)  # a copy of numbers, not the same tensor


@pytest.mark.parametrize("update", [byol.update_target, moco.follow])
def test_running_statistics_are_the_targets_own(update):
    online, target = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    online.running_mean += 5
    update(online, target, 0.5)
    assert not target.running_mean.any()


def test_the_momentum_rises_from_base_to_one():
    values = [byol.momentum_at(k / 100, 0.9) for k in range(101)]
    assert (
        values[0] == pytest.approx(0.9)
        and values[50] == pytest.approx(0.95)
        and values[100] == pytest.approx(1)
    )
    assert values == sorted(values)


def test_the_schedule_is_the_papers_in_a_real_training(toys):
    taus = []
    method = small(byol.BYOL, momentum=0.9, update=lambda online, target, tau: taus.append(tau))
    fit(method, toys.train, QUICK.but(epochs=4))
    papers = [1 - (1 - 0.9) * (math.cos(math.pi * k / 12) + 1) / 2 for k in range(12)]
    assert taus[3:] == pytest.approx(papers[3:], abs=1e-12)
    assert (
        taus[:3] == [0.9] * 3 == pytest.approx(papers[:3], abs=0.01)
    )  # how long the training is, it learns after the first epoch


def test_the_schedule_is_part_of_the_checkpoint(toys):
    method = small(byol.BYOL)
    fit(method, toys.train, QUICK)
    again = small(byol.BYOL)
    assert again.tau() != method.tau()
    again.load_state_dict(method.state_dict())
    assert again.tau() == method.tau() and again.steps == 6


def test_no_gradient_and_no_optimizer_reaches_the_target(toys):
    method = small(byol.BYOL)
    loss, _ = method.train().loss(next(toys.train.batches(8)))
    loss.backward()
    assert all(p.grad is None for p in method.target.parameters())
    trained = {id(p) for group in method.trainable().values() for p in group}
    assert trained == {id(p) for part in (method.f, method.g, method.q) for p in part.parameters()}


def test_the_predictor_learns_faster(toys):
    method = small(byol.BYOL, predictor_lr=10.0).train()
    optimizers = {
        name: torch.optim.SGD(parameters, lr=0.1) for name, parameters in method.trainable().items()
    }
    for _ in range(2):
        method.step(next(toys.train.batches(8)), optimizers)
        assert [o.param_groups[0]["lr"] for o in optimizers.values()] == [0.1, 1.0]
    assert list(small(byol.BYOL, predictor=False).trainable()) == ["rest"]


def test_z_itself_is_normalised_unless_it_is_the_papers_form():
    x = torch.rand(16, 3, 32, 32)
    for normalise, same in ((True, True), (False, False)):
        method = small(byol.BYOL, normalise_z=normalise).train()
        z = method.g(method.f(x))
        assert torch.allclose(z.mean(0), torch.zeros(16), atol=1e-4) is same
        assert len(method.target[1]) == len(method.g)


def test_both_directions_are_summed(toys, monkeypatch):
    method = small(byol.BYOL).train().double()
    batch = {"image": torch.rand(6, 3, 32, 32, dtype=torch.float64)}
    values = []
    for swap in (1, -1):
        monkeypatch.setattr(
            method, "views", lambda batch, swap=swap: dict(zip(("first", "second"), still(batch)[::swap]))
        )
        values.append(float(method.loss(batch)[0].detach()))
    first, second = still(batch)
    p1, p2, t1, t2 = (
        f(v) for f in (nn.Sequential(method.f, method.g, method.q), method.target) for v in (first, second)
    )
    assert values == pytest.approx([(by_hand(p1, t2) + by_hand(p2, t1)).item()] * 2, rel=1e-9)


def test_each_switch_takes_away_its_part(toys):
    batch = next(toys.train.batches(16))

    def after_a_step(**switches):
        method = small(byol.BYOL, **switches).train()
        before = copy.deepcopy(method.target)
        method.step(
            batch,
            {name: torch.optim.SGD(parameters, lr=0.1) for name, parameters in method.trainable().items()},
        )
        moved = (
            None
            if before is None
            else any(not torch.equal(a, b) for a, b in zip(before.parameters(), method.target.parameters()))
        )
        return method, moved

    assert after_a_step()[1] and not after_a_step(target="fixed")[1]
    assert after_a_step(target="online")[0].target is None and isinstance(
        after_a_step(predictor=False)[0].q, nn.Identity
    )
    trained, _ = after_a_step(stop_gradient=False)
    assert all(p.grad is not None for p in trained.target.parameters())
    # Where target and online are the same weights, the stopped gradient is all that differs.
    gradients = [
        after_a_step(target="online", stop_gradient=stop)[0].f.stages[0][0].weight.grad
        for stop in (True, False)
    ]
    assert (gradients[0] - gradients[1]).norm() > 0.01 * gradients[0].norm()


def test_errors_say_what_to_type():
    for arguments, text in (
        (dict(target="slow"), "'ema', 'online', 'fixed'"),
        (dict(momentum=1.5), "momentum=1.5"),
        (dict(norm="layer"), "'layer'"),
    ):
        with pytest.raises(CourseError, match=text):
            small(byol.BYOL, **arguments)
    # Tests check the shapes in signatures; a student's session does not.
    unchecked = inspect.unwrap
    with pytest.raises(CourseError, match=r"\(4, 3\).*\(5, 3\)"):
        unchecked(byol.distance)(torch.rand(4, 3), torch.rand(5, 3))
    for arguments, text in (
        (dict(queue=-1), "queue=-1"),
        (dict(momentum=2.0), "momentum=2"),
        (dict(head="deep"), "'linear'"),
        (dict(head="deep"), "'linear'"),
        (dict(own_keys=True, loss=lambda q, k, negatives, t: q.sum()), "own_keys=False"),
    ):
        with pytest.raises(CourseError, match=text):
            small(moco.MoCo, **arguments)
    with pytest.raises(CourseError, match="temperature=0"):
        moco.info_nce(torch.rand(4, 3), torch.rand(4, 3), torch.rand(5, 3), 0.0)
    with pytest.raises(CourseError, match="queries are"):
        unchecked(moco.info_nce)(torch.rand(4, 3), torch.rand(5, 3), torch.rand(5, 3), 0.1)
    with pytest.raises(CourseError, match="norm='layer'"):
        encoders.small_cnn(8, norm="layer")


# ----------------------------------------------------------------------------------- without batch statistics


def test_the_batch_network_is_what_it_always_was():
    torch.manual_seed(3)
    ours = encoders.small_cnn(8)
    torch.manual_seed(3)
    sizes = [(3, 8, 5), (8, 16, 3), (16, 16, 3), (16, 32, 3), (32, 32, 3)]
    for (name, stage), (inside, outside, kernel) in zip(ours.layers.items(), sizes):
        conv, norm = nn.Conv2d(inside, outside, kernel, bias=False), nn.BatchNorm2d(outside)
        assert torch.equal(stage[0].weight, conv.weight) and type(stage[1]) is type(norm), name
    assert list(ours.state_dict())[:3] == [
        "stages.conv1.0.weight",
        "stages.conv1.1.weight",
        "stages.conv1.1.bias",
    ]


def test_group_norm_with_weight_standardisation_looks_at_each_picture_alone():
    method = small(byol.BYOL, norm="group+ws")
    assert any(isinstance(m, nn.BatchNorm2d) for m in method.modules())
    torch.manual_seed(1)
    method = byol.BYOL(
        encoders.small_cnn(8, norm="group+ws"), dim=16, hidden=32, norm="group+ws", normalise_z=False
    ).train()
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in method.modules())
    x = torch.rand(6, 3, 32, 32)
    z = method.g(method.f(x))
    torch.testing.assert_close(z[2:3], method.g(method.f(x[2:3])), rtol=1e-4, atol=1e-5)
    batch = small(byol.BYOL).train()
    assert (batch.f(x)[2:3] - batch.f(x[2:3])).abs().max() > 1e-2  # with batch norm the others matter


@pytest.mark.parametrize(
    "layer, x",
    [
        (encoders.StandardisedConv2d(3, 4, 3, bias=False), torch.rand(2, 3, 8, 8)),
        (encoders.StandardisedLinear(5, 4), torch.rand(2, 5)),
    ],
)
def test_weights_are_standardised_at_every_use(layer, x):
    w = layer.weight.flatten(1)
    by_formula = (w - w.mean(1, keepdim=True)) / w.std(1, correction=0, keepdim=True)
    torch.testing.assert_close(
        encoders.standardised(layer.weight).flatten(1), by_formula, rtol=1e-4, atol=1e-4
    )
    before = layer(x)
    with torch.no_grad():
        layer.weight.mul_(3).add_(0.7)
    torch.testing.assert_close(layer(x), before, rtol=1e-3, atol=1e-3)


def test_group_norm_fits_any_number_of_channels():
    assert [encoders.group_norm(c).num_groups for c in (8, 12, 32, 128, 7)] == [8, 4, 16, 16, 1]


# -------------------------------------------------------------------------------------- MoCo's loss and queue


def info_nce_by_hand(q, k, negatives, temperature):
    """Algorithm 1 of MoCo, query by query."""
    unit = lambda v: v / v.norm()
    total = 0
    for a, b in zip(q, k):
        logits = torch.stack([unit(a) @ unit(c) / temperature for c in (b, *negatives)])
        total = total - torch.log(torch.exp(logits[0]) / torch.exp(logits).sum())
    return total / len(q)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 3.0])
@pytest.mark.parametrize("n, m, d", [(1, 1, 3), (5, 9, 4), (6, 2, 1)])
def test_info_nce_is_equation_1_in_value_and_gradient(n, m, d, temperature):
    q, k, queue = (
        rows(n, d).requires_grad_(),
        rows(n, d, seed=1).requires_grad_(),
        rows(m, d, seed=2).requires_grad_(),
    )
    ours, theirs = (
        moco.info_nce(q, k, queue, temperature),
        info_nce_by_hand(q, k.detach(), queue.detach(), temperature),
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    mine = torch.autograd.grad(ours, (q, k, queue), allow_unused=True)
    torch.testing.assert_close(mine[0], torch.autograd.grad(theirs, q)[0], rtol=1e-7, atol=1e-9)
    assert mine[1] is None and mine[2] is None  # keys learn nothing
    assert torch.autograd.gradcheck(lambda x: moco.info_nce(x, k.detach(), queue.detach(), temperature), q)


def test_info_nce_closed_forms():
    same = torch.ones(4, 5, dtype=torch.float64)
    assert float(moco.info_nce(same, same, torch.ones(9, 5, dtype=torch.float64), 0.1)) == pytest.approx(
        math.log(1 + 9)
    )  # tells nothing apart
    basis = torch.eye(6, dtype=torch.float64)
    assert float(moco.info_nce(basis[:2], basis[:2], basis[2:], 0.5)) == pytest.approx(
        math.log(1 + 4 * math.exp(-1 / 0.5))
    )
    assert float(moco.info_nce(basis, basis.roll(1, 0), torch.zeros(0, 6, dtype=torch.float64), 0.5)) == 0
    q, k, queue = rows(5, 4), rows(5, 4, seed=1), rows(8, 4, seed=2)
    values = [float(moco.info_nce(q, k, queue[:m], 0.2)) for m in range(9)]
    assert values == sorted(values)  # another negative never makes it easier
    assert float(moco.info_nce(q, k, queue.flip(0), 0.2)) == pytest.approx(values[-1])


def test_without_a_queue_the_other_keys_of_the_batch_are_the_negatives():
    q, k = rows(5, 4).requires_grad_(), rows(5, 4, seed=1)
    by_hand = (
        sum(
            info_nce_by_hand(q[i : i + 1], k[i : i + 1], torch.cat([k[:i], k[i + 1 :]]), 0.3)
            for i in range(5)
        )
        / 5
    )
    torch.testing.assert_close(moco.among_keys(q, k, 0, 0.3), by_hand, rtol=1e-9, atol=1e-9)
    part = (
        sum(info_nce_by_hand(q[i : i + 1], k[i : i + 1], torch.cat([k[:i], k[i + 1 :]]), 0.3) for i in (3, 4))
        / 2
    )
    torch.testing.assert_close(
        moco.among_keys(q[3:], k, 3, 0.3), part, rtol=1e-9, atol=1e-9
    )  # the second of two processes


def test_own_keys_and_the_queue_are_candidates_together():
    q, k, queue = rows(5, 4).requires_grad_(), rows(5, 4, seed=1).requires_grad_(), rows(3, 4, seed=2)
    by_hand = (
        sum(
            info_nce_by_hand(q[i : i + 1], k[i : i + 1], torch.cat([k[:i], k[i + 1 :], queue]), 0.3)
            for i in range(5)
        )
        / 5
    )
    ours = moco.among_keys(q, k, 0, 0.3, queue)
    torch.testing.assert_close(ours, by_hand, rtol=1e-9, atol=1e-9)
    mine = torch.autograd.grad(ours, (q, k), allow_unused=True)
    by_hand = sum(
        info_nce_by_hand(
            q[i : i + 1], k[i : i + 1].detach(), torch.cat([k[:i], k[i + 1 :], queue]).detach(), 0.3
        )
        for i in range(5)
    )
    torch.testing.assert_close(mine[0], torch.autograd.grad(by_hand / 5, q)[0], rtol=1e-7, atol=1e-9)
    assert mine[1] is None  # keys learn nothing
    with pytest.raises(CourseError, match="temperature=0"):
        moco.among_keys(q, k, 0, 0.0)


class Mirrored(moco.MoCo):
    """MoCo whose views draw nothing."""

    def views(self, batch):
        return dict(zip(("query", "key"), still(batch)))


@pytest.mark.parametrize("own_keys", [True, False])
def test_the_symmetric_loss_is_the_mean_of_both_directions(toys, own_keys):
    """Algorithm 1 of version 3 with a queue beside it, direction by direction and query by query. In eval
    mode, where a picture's vector does not depend on what passes with it."""
    method = small(Mirrored, queue=20, symmetric=True, own_keys=own_keys, temperature=0.4)
    with torch.no_grad():  # another key encoder than the query encoder
        for p in method.key.parameters():
            p.add_(0.05 * torch.randn_like(p))
    method.before_epoch(0.0, toys.train, {})
    method.eval()
    batch = next(toys.train.batches(6))
    queue = method.queue.clone().double()
    loss, metrics = method.loss(batch)
    views = still(batch)
    q = [method.g(method.f(x)).double() for x in views]
    k = [method.key(x).double().detach() for x in views]
    terms, found = [], []
    for there, back in ((0, 1), (1, 0)):
        for i in range(6):
            others = torch.cat([k[back][:i], k[back][i + 1 :], queue]) if own_keys else queue
            terms.append(info_nce_by_hand(q[there][i : i + 1], k[back][i : i + 1], others, 0.4))
            near = F.cosine_similarity(q[there][i : i + 1], k[back])
            found.append(float(near.argmax() == i))
    expected = sum(terms) / 12
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    assert float(metrics["key found"]) == pytest.approx(sum(found) / 12)
    mine, theirs = (
        torch.cat(
            [g.flatten() for g in torch.autograd.grad(v, [*method.f.parameters(), *method.g.parameters()])]
        )
        for v in (loss, expected)
    )
    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-6)
    # The queue gets the keys of both views, those of the second first.
    torch.testing.assert_close(
        method.keys.double(), F.normalize(torch.cat([k[1], k[0]]), dim=1), rtol=1e-5, atol=1e-6
    )


def test_with_one_direction_and_no_own_keys_it_is_the_papers_own(toys):
    """What version 3 adds is off by default: same seed, same numbers as a plain reading of algorithm 1."""
    method = small(Mirrored, queue=20)
    method.before_epoch(0.0, toys.train, {})
    method.eval()
    batch = next(toys.train.batches(6))
    x_q, x_k = still(batch)
    q, k = method.g(method.f(x_q)).double(), method.key(x_k).double()
    expected = info_nce_by_hand(q, k, method.queue.double(), method.temperature)
    torch.testing.assert_close(method.loss(batch)[0].double(), expected, rtol=1e-5, atol=1e-6)


def test_the_symmetric_loss_writes_the_keys_of_both_views(toys):
    method = small(moco.MoCo, queue=100, symmetric=True, own_keys=True)
    fit(method, toys.train, QUICK)
    assert method.seen == 100 + 6 * 64  # six steps of 32 pictures
    torch.testing.assert_close(method.queue.norm(dim=1), torch.ones(100), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1, 4, 7, 10])
@pytest.mark.parametrize("n", [1, 3, 4, 11])
def test_the_queue_is_first_in_first_out(size, n):
    queue, seen, known = torch.zeros(size, 2), 0, deque(maxlen=size)
    for step in range(9):
        keys = torch.arange(2.0 * n).view(n, 2) + 100 * step
        known.extend(keys)
        seen = moco.enqueue(queue, keys, seen)
        oldest_first = [
            queue[(seen + i) % size] if seen >= size else queue[i] for i in range(min(seen, size))
        ]
        assert torch.equal(torch.stack(oldest_first), torch.stack(list(known)))
    assert seen == 9 * n


def test_negatives_are_old_keys_and_never_those_of_this_batch(toys):
    met = []

    def spy(q, k, negatives, temperature):
        met.append((k.clone(), negatives.clone()))
        return moco.info_nce(q, k, negatives, temperature)

    fit(small(moco.MoCo, queue=64, loss=spy), toys.train, QUICK)
    assert all(len(negatives) == 64 for _, negatives in met)  # filled before the first step
    for (k, _), (_, later) in zip(met, met[1:]):
        assert all((later == row).all(1).any() for row in k)
    for k, negatives in met:
        assert not any((negatives == row).all(1).any() for row in k)
        torch.testing.assert_close(negatives.norm(dim=1), torch.ones(64), rtol=1e-5, atol=1e-5)


def test_a_queue_longer_than_the_data_is_filled_as_far_as_they_go(toys):
    met = []
    method = small(
        moco.MoCo,
        queue=1000,
        loss=lambda q, k, negatives, t: met.append(len(negatives)) or moco.info_nce(q, k, negatives, t),
    )
    method.before_epoch(0.0, toys.train.take(slice(0, 300)), {})
    assert method.seen == 300 and method.queue[:300].norm(dim=1).min() > 0.99 and not method.queue[300:].any()
    loss, _ = method.train().loss(next(toys.train.batches(8)))
    assert loss.item() == pytest.approx(math.log(1 + 300), abs=0.8)  # an untrained network tells little apart
    assert met == [300]  # the empty rows do not count


def test_momentum_at_its_ends(toys):
    never = small(moco.MoCo, queue=32, momentum=1.0)
    before = copy.deepcopy(never.key)
    fit(never, toys.train, QUICK)
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), never.key.parameters()))
    at_once = small(moco.MoCo, queue=32, momentum=0.0)
    fit(at_once, toys.train, QUICK)
    assert all(
        torch.equal(a, b)
        for a, b in zip([*at_once.f.parameters(), *at_once.g.parameters()], at_once.key.parameters())
    )


def test_groups_have_statistics_of_their_own_and_rows_keep_their_order():
    network, x = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), rows(12, 3).float()
    network.eval()
    torch.testing.assert_close(moco.shuffled(network, x, 3, shuffle=True), network(x))  # there and back again
    network.train()
    in_order = moco.shuffled(network, x, 3, shuffle=False)
    torch.testing.assert_close(in_order[4:8], network(x[4:8]))
    assert (in_order - network(x)).abs().max() > 0.1 and (
        moco.shuffled(network, x, 3, shuffle=True) - in_order
    ).abs().max() > 0.1
    assert torch.equal(moco.shuffled(network, x, 1, shuffle=True), network(x))


def test_a_filled_queue_survives_the_checkpoint(toys):
    method = small(moco.MoCo, queue=50)
    fit(method, toys.train, QUICK)
    again = small(moco.MoCo, queue=50)
    again.load_state_dict(method.state_dict())
    assert again.seen == method.seen == 50 + 6 * 32 and torch.equal(again.queue, method.queue)


# ---------------------------------------------------------------------------------------- claims and collapse


def test_the_effects_of_the_claims_are_positive_where_the_papers_are_right():
    names = (
        "healthy",
        "no predictor",
        "target = online",
        "groups",
        "groups, no predictor",
        "BYOL",
        "BYOL, small batch",
        "online target",
        "fixed target",
        "SimCLR",
        "SimCLR, small batch",
        "MoCo, 8 keys",
        "MoCo, 64 keys",
        "MoCo, 512 keys",
        "random",
    )

    def results(**changed):
        found = {name: {"linear": 0.5, "loss": 1.0, "spread": 0.5} for name in names}
        for where, value in changed.items():
            name, key = where.split("__")
            found[{n.replace(" ", "_").replace(",", "").replace("=", "is"): n for n in names}[name]][key] = (
                value
            )
        return found

    right = {
        "no_predictor": results(no_predictor__spread=0.4),
        "no_target": results(target_is_online__spread=0.4),
        "low_loss": results(healthy__loss=1.1),
        "averaging": results(BYOL__linear=0.6),
        "fixed_target": results(random__linear=0.4),
        "bootstrap": results(BYOL__linear=0.6),
        "small_batches": results(SimCLR__linear=0.6),
        "batch_statistics": results(groups_no_predictor__spread=0.4),
        "dictionary": results(MoCo_8_keys__linear=0.4),
        "long_dictionary": results(MoCo_512_keys__linear=0.6),
    }
    assert set(right) == {c.name for c in claims.CLAIMS}
    for claim in claims.CLAIMS:
        assert claim.effect(right[claim.name]) == pytest.approx(0.1), claim.name
        assert claim.effect(results()) == 0
    effects = {c.name: c.effect for c in claims.CLAIMS}
    assert effects["small_batches"](results(BYOL_small_batch__linear=0.3)) == pytest.approx(
        -0.2
    )  # it costs BYOL more: not what is claimed
    assert effects["low_loss"](results(healthy__loss=1.1, no_predictor__loss=1.3)) == pytest.approx(
        -0.2
    )  # one of the two is not enough


def test_parts_have_their_own_statistics_and_one_update(toys):
    batch = next(toys.train.batches(16))
    torch.manual_seed(1)
    method = claims.in_parts(byol.BYOL, 4)(encoders.small_cnn(8), dim=16, hidden=32).train()
    torch.manual_seed(2)
    whole, metrics = method.loss(batch)
    torch.manual_seed(2)
    pieces = [byol.BYOL.loss(method, {k: v[i : i + 4] for k, v in batch.items()})[0] for i in (0, 4, 8, 12)]
    torch.testing.assert_close(whole, torch.stack(pieces).mean())
    assert set(metrics) == {"spread of z", "spread of target"}


@pytest.mark.slow
def test_collapse_shows_within_a_minute_and_only_where_a_part_is_missing():
    from sslcourse.data import toybox
    from sslcourse.evaluate import health
    from sslcourse.train import features

    data = toybox.images(1000, 256, 64)
    loss, spread = {}, {}
    for name, switch in (
        ("healthy", {}),
        ("no predictor", dict(predictor=False)),
        ("target = online", dict(target="online", stop_gradient=False)),
    ):
        torch.manual_seed(0)
        method = byol.BYOL(encoders.small_cnn(16), normalise_z=False, **switch)
        loss[name] = fit(method, data.train, Recipe(epochs=3, batch_size=32, lr=2.5e-3))[-1]["loss"]
        spread[name] = health.spread(
            features.extract(method, data.validation, encode=lambda batch, m=method: m.g(m.encode(batch)))
        )
    assert spread["healthy"] > 0.4 and max(spread["no predictor"], spread["target = online"]) < 0.2, spread
    assert loss["healthy"] > 10 * max(loss["no predictor"], loss["target = online"]), loss


# ---------------------------------------------------------------------------------------------- two processes

WORKER = """
import json, sys
import torch, torch.distributed as dist
from sslcourse import augment, encoders, runtime
from sslcourse.runtime import distributed
from sslcourse.data import toybox
from sslcourse.methods import byol, moco
from sslcourse.train import Recipe, fit
rank, world = distributed.start()
runtime.use_profile(runtime.Profile("cpu", 1, False, "float32"))
if "local keys" in sys.argv:
    moco.distributed = type("Alone", (), {"parallel": distributed.parallel, "rank": distributed.rank,
        "gather": staticmethod(lambda x: x)})
data = toybox.images(512, 128, 128)
mirrored = lambda x: augment.as_float(x).flip(3)
class StillMoCo(moco.MoCo):
    def views(self, batch):
        return {"query": augment.as_float(batch["image"]), "key": mirrored(batch["image"])}
class StillBYOL(byol.BYOL):
    def views(self, batch):
        return {"first": augment.as_float(batch["image"]), "second": mirrored(batch["image"])}
results = {}
runs = [("moco", StillMoCo, dict(queue=160)), ("no queue", StillMoCo, dict(queue=0)), ("byol", StillBYOL, {}),
    ("symmetric", StillMoCo, dict(queue=160, symmetric=True, own_keys=True))]
for name, kind, arguments in runs[:1] if "local keys" in sys.argv else runs:
    torch.manual_seed(0)
    method = kind(encoders.small_cnn(8), dim=16, hidden=32, **arguments)
    history = fit(method, data.train, Recipe(epochs=2, batch_size=64, lr=1e-3, max_steps=4))
    results[name] = {"loss": [row["loss"] for row in history], "alike": True}
    kept = torch.cat([method.queue.flatten() if name in ("moco", "symmetric") else torch.zeros(0),
        *[p.detach().flatten() for p in method.parameters()]])
    if world > 1:
        other = [torch.empty_like(kept) for _ in range(world)]
        dist.all_gather(other, kept)
        results[name]["alike"] = all(torch.equal(o, kept) for o in other)
    if name == "moco":
        results[name]["queue"] = method.queue.flatten().tolist()
if rank == 0:
    print("RESULT" + json.dumps(results))
distributed.stop()
"""


def train_in(tmp_path, processes, *words):
    file = tmp_path / "worker.py"
    file.write_text(WORKER)
    start = (
        []
        if processes == 1
        else ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    )
    done = subprocess.run(
        [sys.executable, *start, str(file), *words],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout[done.stdout.index("RESULT") + 6 :].splitlines()[0])


@pytest.mark.distributed
def test_two_processes_train_as_one_and_hold_the_same_queue(tmp_path):
    one, two = train_in(tmp_path, 1), train_in(tmp_path, 2)
    for name in one:
        torch.testing.assert_close(
            torch.tensor(two[name]["loss"]), torch.tensor(one[name]["loss"]), rtol=1e-3, atol=1e-3
        )
        assert two[name]["alike"], name
    torch.testing.assert_close(
        torch.tensor(two["moco"]["queue"]), torch.tensor(one["moco"]["queue"]), rtol=5e-2, atol=2e-2
    )
    assert not train_in(tmp_path, 2, "local keys")["moco"][
        "alike"
    ]  # without the gather each process would hold a queue of its own
