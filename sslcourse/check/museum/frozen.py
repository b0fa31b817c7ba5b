"""Exhibit: a frozen encoder that is not frozen."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslcourse.check.museum.engine import Exhibit
from sslcourse.check.museum.exercises import exercise_of, general_mistakes, misses, rejects
from sslcourse.train.features import frozen

# ----------------------------------------------------------------------------- 3. a probe on a frozen encoder


def _fit_head(
    features: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    others: Sequence[Tensor] = (),
    each_epoch: Callable = lambda: None,
    steps: int = 6,
) -> float:
    """Train a linear head on features(x), and `others` along with it; the accuracy on the same samples."""
    head = nn.Linear(features(x[:2]).shape[1], int(y.max()) + 1)
    optimizer = torch.optim.SGD([*head.parameters(), *others], lr=0.1)
    for _ in range(steps):
        each_epoch()
        optimizer.zero_grad()
        F.cross_entropy(head(features(x)), y).backward()
        optimizer.step()
    with torch.no_grad():
        return float((head(features(x)).argmax(1) == y).float().mean())


def _probe_features_first(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    with frozen(encoder):
        h = encoder(x)
    return _fit_head(lambda rows: h[: len(rows)], x, y)


def _probe_detached(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    modes = {m: m.training for m in encoder.modules()}
    encoder.eval()
    accuracy = _fit_head(lambda rows: encoder(rows).detach(), x, y)
    for module, mode in modes.items():
        module.training = mode
    return accuracy


def _probe_left_in_eval_mode(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    for p in encoder.parameters():
        p.requires_grad_(False)
    return _fit_head(encoder.eval(), x, y)


def _probe_copy(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    twin = copy.deepcopy(encoder).eval().requires_grad_(False)
    return _fit_head(twin, x, y)


def _probe_closed_form(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    with frozen(encoder):
        h = F.pad(encoder(x), (0, 1), value=1.0)
    weight = torch.linalg.lstsq(h, F.one_hot(y).to(h.dtype)).solution
    return float(((h @ weight).argmax(1) == y).float().mean())


def _probe_requires_grad_of_the_module(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    encoder.eval()
    # sets an attribute that nobody reads; the method is requires_grad_
    encoder.requires_grad = False  # type: ignore[assignment]
    return _fit_head(encoder, x, y, [p for p in encoder.parameters() if p.requires_grad])


def _probe_statistics_drift(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    encoder.requires_grad_(False)
    return _fit_head(encoder, x, y, each_epoch=encoder.train)


def _probe_forgets_batch_norm(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    encoder.eval()
    for m in encoder.modules():
        if isinstance(m, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            m.requires_grad_(False)
    return _fit_head(encoder, x, y, [p for p in encoder.parameters() if p.requires_grad])


def _probe_dropout_goes_on(encoder: nn.Module, x: Tensor, y: Tensor) -> float:
    encoder.requires_grad_(False).train()
    for m in encoder.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.eval()
    return _fit_head(encoder, x, y)


FROZEN = Exhibit(
    "museum.frozen",
    "unfrozen backbone in the probe",
    right={
        "features first": _probe_features_first,
        "detached, modes put back": _probe_detached,
        "left in eval mode": _probe_left_in_eval_mode,
        "on a copy": _probe_copy,
        "in closed form": _probe_closed_form,
    },
    bugs={
        "trained along": _probe_requires_grad_of_the_module,
        "batch statistics drift": _probe_statistics_drift,
        "batch norm's weights learn": _probe_forgets_batch_norm,
        "dropout goes on": _probe_dropout_goes_on,
    },
)


def test_frozen(probe: Callable) -> None:
    """A probe changes no weight and no buffer of the encoder, and sees it only as it will be used: in eval
    mode.
    """
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5)).train()
    # state_dict itself would change along
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    modes = []
    encoder[3].register_forward_hook(lambda module, inputs, output: modes.append(module.training))
    x, y = torch.randn(40, 6) + 2, torch.arange(40) % 3  # far from the running mean, which starts at 0
    probe(encoder, x, y)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} is another after the probe"
    assert not any(modes), "the encoder was in train mode while features were read"


def _encoder_watched(what: Callable[[nn.Module], Mapping[str, Tensor]], *layers: nn.Module) -> Callable:
    """Compare only `what` before and after, on an encoder of these layers."""

    def test(probe: Callable) -> None:
        encoder = nn.Sequential(nn.Linear(6, 8), *copy.deepcopy(layers))
        before = {name: value.clone() for name, value in what(encoder).items()}
        probe(encoder, torch.randn(40, 6) + 2, torch.arange(40) % 3)
        for name, value in what(encoder).items():
            assert torch.equal(value, before[name]), f"{name} is another after the probe"

    return test


def _state_compared_with_itself(probe: Callable) -> None:
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU())
    before = encoder.state_dict()
    probe(encoder, torch.randn(40, 6) + 2, torch.arange(40) % 3)
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items()), "the encoder has changed"


def _asks_requires_grad(probe: Callable) -> None:
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU())
    probe(encoder, torch.randn(40, 6) + 2, torch.arange(40) % 3)
    assert not any(p.requires_grad for p in encoder.parameters()), "some weight still requires a gradient"


def _asks_for_the_mode(probe: Callable) -> None:
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU()).train()
    probe(encoder, torch.randn(40, 6) + 2, torch.arange(40) % 3)
    assert encoder.training, "the encoder was left in eval mode"


def _parameters(encoder: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in encoder.named_parameters()}


def _first_layer_and_statistics(encoder: nn.Module) -> dict[str, Tensor]:
    return {
        name: value
        for name, value in encoder.state_dict().items()
        if name.startswith("0.") or "running" in name
    }


_FROZEN_MISTAKES = {
    "demands more than frozen": (
        "It rejects a probe that leaves the encoder alone. Features read without gradients need no "
        "requires_grad=False, and a probe may leave the "
        "encoder in eval mode. What counts is the encoder's state before and after.",
        rejects(),
        _asks_requires_grad,
        _asks_for_the_mode,
    ),
    "does not see the batch statistics": (
        "Weights are not all that a network learns: batch normalisation keeps a running mean and variance, "
        "which move at every forward pass in train "
        "mode, without any gradient. Give the test an encoder with batch norm, data far from its "
        "statistics, and compare the whole state_dict.",
        misses("batch statistics drift"),
        _encoder_watched(_parameters, nn.BatchNorm1d(8), nn.ReLU()),
        _encoder_watched(nn.Module.state_dict, nn.ReLU()),
    ),
    "compares some of the weights": (
        (
            "The first layer, or the large matrices, are frozen; the scales and shifts of batch norm are "
            "not. "
            "Compare every entry of the state_dict."
        ),
        misses("batch norm's weights learn"),
        _encoder_watched(_first_layer_and_statistics, nn.BatchNorm1d(8), nn.ReLU()),
    ),
    "sees the state, not the mode": (
        "No weight and no buffer changes, and the probe still sees another network than the one that will "
        "be used: dropout goes on. Let the encoder "
        "tell you in which mode it was called: a forward hook that notes module.training.",
        misses("dropout goes on"),
        _encoder_watched(nn.Module.state_dict, nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5)),
    ),
}

FROZEN_EXERCISE = exercise_of(
    FROZEN,
    test_frozen,
    general_mistakes(
        test_frozen,
        never=(_state_compared_with_itself,),
        never_because="A state_dict holds the tensors themselves, not copies: kept before and compared "
        "after, it is compared with itself. Clone each value. And give the encoder something that can "
        "change.",
    ),
    _FROZEN_MISTAKES,
    (
        (
            "What of an encoder can change although no parameter of it is in an optimizer? List its "
            "state_dict()."
        ),
        (
            "Build a small encoder with BatchNorm1d and Dropout, clone every value of its state_dict, call "
            "the "
            "probe, compare."
        ),
        "Put it into train mode first, give inputs far from 0, compare all entries with torch.equal, and "
        "let a forward hook on the dropout layer "
        "collect module.training: all must be False.",
    ),
)
