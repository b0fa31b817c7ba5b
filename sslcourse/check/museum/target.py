"""Exhibit: a target network that learns, or never moves."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from sslcourse.check.museum.engine import Exhibit
from sslcourse.check.museum.exercises import exercise_of, general_mistakes, misses, rejects
from sslcourse.check.museum.mean import mean_of_distances

# ------------------------------------------------------------------------------------ 9. a target that learns


def _small_network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))


class Learner(nn.Module):
    """BYOL without pictures: online predicts the target's output of the other view; the target follows
    slowly.
    """

    def __init__(self):
        super().__init__()
        self.online, self.predictor = _small_network(), nn.Linear(4, 4)
        self.target = copy.deepcopy(self.online)

    def seen(self, x: Tensor) -> Tensor:
        return self.target(x).detach()

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return mean_of_distances(self.predictor(self.online(a)), self.seen(b))

    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        return self.distance(first, second) + self.distance(second, first)

    @torch.no_grad()
    def update(self, momentum: float) -> None:
        for t, o in zip(self.target.parameters(), self.online.parameters()):
            t.mul_(momentum).add_(o, alpha=1 - momentum)


class _WithoutGraph(Learner):
    @torch.no_grad()
    def seen(self, x: Tensor) -> Tensor:
        return self.target(x)

    @torch.no_grad()
    def update(self, momentum: float) -> None:
        torch._foreach_lerp_(list(self.target.parameters()), list(self.online.parameters()), 1 - momentum)


class _NothingRequired(Learner):
    def __init__(self):
        super().__init__()
        self.target.requires_grad_(False)

    def seen(self, x: Tensor) -> Tensor:
        return self.target(x)


class _OtherStart(Learner):
    """The authors' code draws the two networks' first weights independently; and here the loss is half as
    large.
    """

    def __init__(self):
        super().__init__()
        self.target = _small_network()

    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        return super().loss(first, second) / 2


class _GradientFlows(Learner):
    def seen(self, x: Tensor) -> Tensor:
        return self.target(x)


class _OneDirection(Learner):
    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        return self.distance(first, second) + mean_of_distances(
            self.predictor(self.online(second)), self.target(first)
        )


class _TargetIsOnline(Learner):
    def __init__(self):
        super().__init__()
        self.target = self.online


class _MomentumTurnedRound(Learner):
    def update(self, momentum: float) -> None:
        super().update(1 - momentum)


class _NothingHappens(Learner):
    def update(self, momentum: float) -> None:
        for t, o in zip(self.target.parameters(), self.online.parameters()):
            t = momentum * t + (1 - momentum) * o  # a new tensor under an old name


class _HeadForgotten(Learner):
    @torch.no_grad()
    def update(self, momentum: float) -> None:
        for t, o in zip(self.target[:-1].parameters(), self.online[:-1].parameters()):
            t.lerp_(o, 1 - momentum)


TARGET = Exhibit(
    "museum.target",
    "a target that learns, or stands still",
    right={
        "detached": Learner,
        "without a graph": _WithoutGraph,
        "no weight requires a gradient": _NothingRequired,
        "starts elsewhere": _OtherStart,
    },
    bugs={
        "the gradient flows into it": _GradientFlows,
        "in one direction it flows": _OneDirection,
        "it is the online network itself": _TargetIsOnline,
        "the momentum turned round": _MomentumTurnedRound,
        "the update changes nothing": _NothingHappens,
        "the head is forgotten": _HeadForgotten,
    },
    arguments=lambda kind: (kind(),),
)


def test_target(learner: Learner) -> None:
    """A step of the optimizer moves the online network and not the target; an update moves the target by 1 -
    momentum of the way.
    """
    weights = lambda network: [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    for momentum in (0.75, 1.0, 0.0):
        target, online = weights(learner.target), weights(learner.online)
        optimizer.zero_grad()
        learner.loss(torch.randn(16, 6), torch.randn(16, 6)).backward()
        optimizer.step()
        assert any(not torch.equal(a, b) for a, b in zip(online, weights(learner.online))), (
            "the online network does not learn"
        )
        assert all(torch.equal(a, b) for a, b in zip(target, weights(learner.target))), (
            "the optimizer has moved the target"
        )
        online = weights(learner.online)
        learner.update(momentum)
        for t, o, now in zip(target, online, weights(learner.target)):
            assert torch.allclose(now, momentum * t + (1 - momentum) * o, atol=1e-6), (
                f"update({momentum}) leads elsewhere"
            )


def _target_moved(learner: Learner, momentum: float, parts: slice = slice(None)) -> bool:
    """Whether update(momentum) leads where it should, after a step."""
    optimizer = torch.optim.SGD(learner.online.parameters(), lr=0.1)
    old = [p.detach().clone() for p in learner.target[parts].parameters()]
    learner.loss(torch.randn(16, 6), torch.randn(16, 6)).backward()
    optimizer.step()
    new = [p.detach().clone() for p in learner.online[parts].parameters()]
    is_online = learner.target is learner.online  # then what was old has moved too
    learner.update(momentum)
    return all(
        is_online or torch.allclose(p, momentum * a + (1 - momentum) * b, atol=1e-6)
        for p, a, b in zip(learner.target[parts].parameters(), old, new)
    )


def _no_gradient_in_target(learner: Learner) -> None:
    learner.loss(torch.randn(16, 6), torch.randn(16, 6)).backward()
    assert any(p.grad is not None for p in learner.online.parameters()), "the online network gets no gradient"
    assert all(p.grad is None or not p.grad.any() for p in learner.target.parameters()), (
        "the target gets a gradient"
    )


def _update_only(learner: Learner) -> None:
    assert _target_moved(learner, 0.9), "the update leads elsewhere"


def _halfway(learner: Learner) -> None:
    _no_gradient_in_target(learner)
    assert _target_moved(learner, 0.5), "the update leads elsewhere"


def _moves_at_all(learner: Learner) -> None:
    _no_gradient_in_target(learner)
    torch.optim.SGD(learner.online.parameters(), lr=0.1).step()
    before = [p.detach().clone() for p in learner.target.parameters()]
    learner.update(0.9)
    assert any(not torch.equal(a, b) for a, b in zip(before, learner.target.parameters())), (
        "the target stands still"
    )


def _first_layer(learner: Learner) -> None:
    _no_gradient_in_target(learner)
    assert _target_moved(learner, 0.9, slice(0, 1)), "the update leads elsewhere"


def _nothing_required(learner: Learner) -> None:
    assert not any(p.requires_grad for p in learner.target.parameters()), (
        "the target's weights require gradients"
    )


def _loss_in_range(learner: Learner) -> None:
    assert 0 <= learner.loss(torch.randn(16, 6), torch.randn(16, 6)) <= 8, (
        "a sum of two squared distances of unit vectors"
    )


_TARGET_MISTAKES = {
    "demands one way to stop the gradient": (
        "It rejects a target that gets no gradient, because its weights *could*. detach, no_grad and "
        "requires_grad_(False) all do. Run backward, or "
        "a step of the optimizer, and see whether the target has moved.",
        rejects(),
        _nothing_required,
    ),
    "checks the update, not the gradient": (
        "update() does what it should, and the loss sends its gradient into the target all the same: both "
        "networks run towards each other, and the "
        "shortest way is collapse. Take a step of an optimizer over learner.parameters() and look at the "
        "target.",
        misses("the gradient flows into it", "in one direction it flows"),
        _update_only,
    ),
    "checks the gradient, not the update": (
        "The target gets no gradient, and nothing else either: update() has no effect. After a step it "
        "must lie at momentum * target + "
        "(1 - momentum) * online.",
        misses("the update changes nothing"),
        _no_gradient_in_target,
    ),
    "takes a momentum that hides the mistake": (
        "The momentum is turned round: the target jumps to the online network instead of following slowly. "
        "Halfway both are the same, and that it "
        "moves says nothing about how far. Try 0.75, 1 and 0, and compute where it should be.",
        misses("the momentum turned round"),
        _halfway,
        _moves_at_all,
    ),
    "looks at some of the weights": (
        "The first layers follow, the last one is forgotten. Compare all parameters.",
        misses("the head is forgotten"),
        _first_layer,
    ),
}

TARGET_EXERCISE = exercise_of(
    TARGET,
    test_target,
    general_mistakes(
        test_target,
        never=(_loss_in_range, lambda learner: learner.update(0.99)),
        never_because=(
            "The loss is in its range for a collapsed pair of networks too. Who moves, when, and how far?"
        ),
    ),
    _TARGET_MISTAKES,
    (
        "Two things move weights: the optimizer's step and update(). Which of them may move which network?",
        (
            "Clone the weights of both networks, take a step of torch.optim.SGD(learner.parameters(), "
            "lr=0.1), "
            "compare; call update(0.75), compare."
        ),
        "After the step: online differs, target equals its clone. After the update: momentum * target + (1 "
        "- momentum) * online, for momentum 0.75, "
        "1.0 and 0.0, for all parameters.",
    ),
)
