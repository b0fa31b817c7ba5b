"""The exercises of 02_bigan: what each player descends, and whose gradient goes where."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslcourse.check.compare import (
    expect_gradient,
    expect_scalar,
    number,
    same_gradients,
    same_number,
    slopes,
    zeros_for_none,
)
from sslcourse.check.engine import Assignment, Exercise, Mistake, NotYet, Task, assign, register
from sslcourse.methods import bigan
from sslcourse.runtime.seeds import generator

Losses = Callable[[Tensor, Tensor], Tensor]


def _logits(n: int, *seed: int) -> tuple[Tensor, Tensor]:
    g = generator(*seed)
    return (
        torch.randn(n, generator=g, dtype=torch.float64) * 2 + 0.7,
        torch.randn(n, generator=g, dtype=torch.float64) * 2 - 0.4,
    )


def _by_hand(
    of_real: Callable[[float], float], of_generated: Callable[[float], float]
) -> Callable[[Tensor, Tensor], float]:
    """Half of each mean, pair by pair, from probabilities."""
    probability = lambda a: 1 / (1 + math.exp(-a))

    def value(real: Tensor, generated: Tensor) -> float:
        sums = [
            sum(f(probability(float(a))) for a in logits)
            for f, logits in ((of_real, real), (of_generated, generated))
        ]
        return sum(sums) / len(real) / 2

    return value


_D_BY_HAND = _by_hand(lambda p: -math.log(p), lambda p: -math.log(1 - p))
_EG_BY_HAND = _by_hand(lambda p: -math.log(1 - p), lambda p: -math.log(p))


def _loss_properties(
    by_hand: Callable[[Tensor, Tensor], float], reference: Losses, who: str
) -> Callable[[Losses, int], None]:
    def properties(f: Losses, seed: int) -> None:
        n = 4 + seed % 5
        real, generated = _logits(n, seed, 1)
        kept = real.clone(), generated.clone()
        value = f(real, generated)
        expect_scalar(value)
        if not (torch.equal(real, kept[0]) and torch.equal(generated, kept[1])):
            raise NotYet(
                "the logits after the call (avoid operations in place on them)", "unchanged", "changed"
            )
        nothing = torch.zeros(n, dtype=torch.float64)
        got = number(f(nothing, nothing))
        if abs(got - math.log(2)) > 1e-9:
            raise NotYet(
                f"{who}'s loss while D says one half to every pair",
                f"log 2 = {math.log(2):.4f}",
                f"{got:.4f}",
            )
        expected, got = by_hand(real, generated), number(value)
        if not abs(got - expected) <= 1e-9:
            raise NotYet(
                f"{who}'s loss on {n} real and {n} generated pairs with random logits",
                f"{expected:.4f}",
                f"{got:.4f}",
            )
        given = real, generated
        mine_and_right = [zeros_for_none(slopes(g, given), given) for g in (f, reference)]
        for name, mine, right in zip(("real", "generated"), *mine_and_right):
            expect_gradient(f" that reaches the logits of the {name} pairs", mine, right, 1e-9)
        for a, b in ((300.0, -300.0), (-300.0, 300.0)):
            far = torch.full((3,), a, dtype=torch.float64), torch.full((3,), b, dtype=torch.float64)
            expected, got = number(reference(*far)), number(f(*far))
            if not abs(got - expected) < 1e-6:
                raise NotYet(
                    f"{who}'s loss when D is as sure as logits of {a:g} and {b:g} say",
                    f"{expected:.1f}",
                    f"{got:.1f}",
                )

    return properties


def _loss_same(f: Losses, g: Losses, seed: int) -> bool:
    """Equal values and equal gradients on two inputs of different size."""
    for n, k in ((6, 4), (9, 5)):
        logits = _logits(n, seed, k)
        if not same_number(f(*logits), g(*logits), 1e-6, 1e-9):
            return False
        if not same_gradients(slopes(f, logits), slopes(g, logits), 1e-5, 1e-8):
            return False
    return True


def _multiple(reference: Losses, factor: Callable[[int], float]) -> Callable[[Losses, int], bool]:
    """Whether a loss is the right one times factor(n), for two batch sizes."""

    def recognise(f: Losses, seed: int) -> bool:
        pairs = [_logits(n, seed, 6, n) for n in (5, 8)]
        return all(
            math.isclose(number(f(*p)), factor(len(p[0])) * number(reference(*p)), rel_tol=1e-6)
            for p in pairs
        )

    return recognise


def _overflows(reference: Losses) -> Callable[[Losses, int], bool]:
    """Whether a loss is right where D is unsure, and wrong where it is sure."""

    def recognise(f: Losses, seed: int) -> bool:
        mild, far = _logits(5, seed, 7), torch.full((3,), 300.0, dtype=torch.float64)
        agree = lambda *p: abs(number(f(*p)) - number(reference(*p))) < 1e-6
        return agree(*mild) and not (agree(far, -far) and agree(-far, far))

    return recognise


def _bce(a: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(a, torch.full_like(a, label))


def _detached(f: Losses) -> Losses:
    return lambda real, generated: f(real.detach(), generated.detach())


def _common_mistakes(reference: Losses, first: float, who: str) -> tuple[Mistake, ...]:
    """Mistakes that can be made with either player's loss; `first` is the label that the real pairs should
    get here.
    """
    second = 1 - first
    return (
        Mistake(
            "summed over the batch",
            "Take the mean over the pairs: a sum changes the size of the steps with the batch size.",
            lambda r, g: (_bce(r, first) + _bce(g, second)) * len(r) / 2,
            also=(lambda r, g: (_bce(r, first) + _bce(g, second)) * len(r),),
            recognise=_multiple(reference, lambda n: n),
        ),
        Mistake(
            "halves added",
            "Take the mean of the two halves, not their sum: a D that knows nothing should cost log 2, "
            "which is the number "
            "to watch for in a curve.",
            lambda r, g: _bce(r, first) + _bce(g, second),
            recognise=_multiple(reference, lambda n: 2),
        ),
        Mistake(
            "sigmoid twice",
            "`binary_cross_entropy_with_logits` takes the sigmoid itself: hand it the logits. With two "
            "sigmoids no loss can "
            "fall below 0.31 on one side, and gradients shrink.",
            lambda r, g: (_bce(r.sigmoid(), first) + _bce(g.sigmoid(), second)) / 2,
        ),
        Mistake(
            "probabilities that round",
            "Right while D is unsure. Once it is sure, its probability rounds to 0 or 1 and the logarithm to "
            "infinity (or to a ceiling, with no slope left). Work on the logits: "
            "`binary_cross_entropy_with_logits` or `softplus`.",
            lambda r, g: (
                (
                    F.binary_cross_entropy(r.sigmoid(), torch.full_like(r, first))
                    + F.binary_cross_entropy(g.sigmoid(), torch.full_like(g, second))
                )
                / 2
            ),
            recognise=_overflows(reference),
        ),
        Mistake(
            "squared differences",
            "This is the least-squares game (LSGAN). Here both losses are cross-entropies.",
            lambda r, g: ((r - first).square().mean() + (g - second).square().mean()) / 2,
            also=(
                lambda r, g: (
                    ((r.sigmoid() - first).square().mean() + (g.sigmoid() - second).square().mean()) / 2
                ),
            ),
        ),
        Mistake(
            "no gradient",
            f"The value is right, but {who} learns nothing from it: something between the logits and the "
            "loss is detached, "
            "or was turned into a plain number.",
            _detached(reference),
        ),
    )


_d, _eg = bigan.discriminator_loss, bigan.generator_encoder_loss

DISCRIMINATOR_LOSS = Exercise(
    "bigan.discriminator_loss",
    bigan.discriminator_loss,
    _loss_properties(_D_BY_HAND, _d, "D"),
    (
        Mistake(
            "labels swapped",
            (
                "This is what E and G descend. D should call (x, E(x)) real, label 1, and (G(z), z) "
                "generated, "
                "label 0."
            ),
            _eg,
            also=(lambda r, g: (_bce(r, 0) + _bce(g, 1)) / 2,),
        ),
        Mistake(
            "the value itself",
            "V is what D *raises*. An optimizer descends: hand it the negative.",
            lambda r, g: -_d(r, g),
            also=(lambda r, g: -2 * _d(r, g),),
        ),
        Mistake(
            "generated pairs forgotten",
            (
                "Only the real pairs are judged: a D that calls everything real would be perfect. Add the "
                "other half."
            ),
            lambda r, g: _bce(r, 1),
            also=(lambda r, g: _bce(r, 1) / 2,),
        ),
        Mistake(
            "real pairs forgotten",
            "Only the generated pairs are judged: a D that calls everything generated would be perfect. "
            "Add the "
            "other half.",
            lambda r, g: _bce(g, 0),
            also=(lambda r, g: _bce(g, 0) / 2,),
        ),
        Mistake(
            "one label for all",
            "Both kinds get the same label here, so there is nothing to tell apart.",
            lambda r, g: (_bce(r, 1) + _bce(g, 1)) / 2,
            also=(lambda r, g: (_bce(r, 0) + _bce(g, 0)) / 2,),
        ),
        *_common_mistakes(_d, 1.0, "D"),
    ),
    _loss_same,
    (
        "D is a classifier with two classes. Which label do the real pairs get, which the generated ones?",
        (
            "The logits are before the sigmoid: `F.binary_cross_entropy_with_logits(real, "
            "torch.ones_like(real))` is the real half."
        ),
        "The other half has `torch.zeros_like(generated)`. Return the mean of both halves.",
    ),
)

GENERATOR_ENCODER_LOSS = Exercise(
    "bigan.generator_encoder_loss",
    bigan.generator_encoder_loss,
    _loss_properties(_EG_BY_HAND, _eg, "E and G"),
    (
        Mistake(
            "the discriminator's own loss",
            "These are D's labels: E and G would help it. Give them the opposite ones.",
            _d,
            also=(lambda r, g: (_bce(r, 1) + _bce(g, 0)) / 2,),
        ),
        Mistake(
            "saturating",
            "This descends V itself. Right in theory, but where D is sure (and early on it always is) its "
            "slope is nearly zero. "
            "Do not change the sign: change the labels.",
            lambda r, g: -_d(r, g),
            also=(
                lambda r, g: -2 * _d(r, g),
                lambda r, g: (-_bce(r, 1) + _bce(g, 1)) / 2,
                lambda r, g: (_bce(r, 0) - _bce(g, 0)) / 2,
            ),
        ),
        Mistake(
            "encoder forgotten",
            (
                "Only the generated pairs count here, which E has no part in: it would stay as it was made. "
                "Add the real half."
            ),
            lambda r, g: _bce(g, 1),
            also=(lambda r, g: _bce(g, 1) / 2,),
        ),
        Mistake(
            "generator forgotten",
            (
                "Only the real pairs count here, which G has no part in: it would stay as it was made. Add "
                "the "
                "other half."
            ),
            lambda r, g: _bce(r, 0),
            also=(lambda r, g: _bce(r, 0) / 2,),
        ),
        Mistake(
            "encoder detached",
            (
                "The value is right, but no gradient reaches the real pairs, and E is reached through them "
                "alone."
            ),
            lambda r, g: _eg(r.detach(), g),
        ),
        Mistake(
            "generator detached",
            (
                "The value is right, but no gradient reaches the generated pairs, and G is reached through "
                "them alone."
            ),
            lambda r, g: _eg(r, g.detach()),
        ),
        Mistake(
            "one label for all",
            (
                "Both kinds get the same label here. E wants its pairs called generated, G wants its pairs "
                "called real."
            ),
            lambda r, g: (_bce(r, 1) + _bce(g, 1)) / 2,
            also=(lambda r, g: (_bce(r, 0) + _bce(g, 0)) / 2,),
        ),
        *_common_mistakes(_eg, 0.0, "both"),
    ),
    _loss_same,
    (
        "What would E like D to say of (x, E(x))? What would G like D to say of (G(z), z)?",
        "Both want D to be wrong: the same two cross-entropies as D's, with the two labels exchanged.",
        (
            "(cross-entropy of `real` against 0 + cross-entropy of `generated` against 1) / 2; neither is "
            "detached."
        ),
    ),
)


# ---------------------------------------------------------------------------------- whose gradient goes where


def updates(
    x: Tensor, z: Tensor, encoder: Callable, generator: Callable, discriminator: Callable
) -> tuple[Tensor, Tensor]:
    """D's loss, and the loss that E and G share.

    Args:
        x: real pictures (B, ...).
        z: noise (B, d).
        encoder, generator, discriminator: E(x), G(z) and D(x, z), whose outputs are codes, pictures and
            logits.
    """
    code, picture = encoder(x), generator(z)
    d = bigan.discriminator_loss(discriminator(x, code.detach()), discriminator(picture.detach(), z))
    eg = bigan.generator_encoder_loss(discriminator(x, code), discriminator(picture, z))
    return d, eg


class _Players(nn.Module):
    """Three tiny players in float64, alike for a seed."""

    def __init__(self, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.e, self.g = (
            nn.Sequential(nn.Linear(6, 3), nn.Tanh()),
            nn.Sequential(nn.Linear(3, 6), nn.Sigmoid()),
        )
        self.d = nn.Sequential(nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 1))
        self.double()

    def judge(self, x: Tensor, z: Tensor) -> Tensor:
        return self.d(torch.cat([x, z], 1))[:, 0]

    def play(self, f: Callable, seed: int) -> tuple[Tensor, Tensor]:
        g = generator(seed, 0xB16)
        x, z = (
            torch.rand(5, 6, generator=g, dtype=torch.float64),
            torch.rand(5, 3, generator=g, dtype=torch.float64) * 2 - 1,
        )
        return f(x, z, self.e, self.g, self.judge)


_NAMES = {"e": "E", "g": "G", "d": "D"}


def _reached(players: _Players, loss: Tensor) -> dict[str, Tensor]:
    """The gradient of a loss in each player's weights, as one vector; zeros where it does not reach."""
    result = {}
    for name in "egd":
        weights = list(getattr(players, name).parameters())
        found = (
            torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
            if loss.requires_grad
            else [None] * len(weights)
        )
        result[name] = torch.cat(
            [(torch.zeros_like(w) if s is None else s).flatten() for w, s in zip(weights, found)]
        )
    return result


def _play(f: Callable, seed: int) -> tuple[tuple[Tensor, Tensor], list[dict[str, Tensor]]]:
    players = _Players(seed)
    losses = players.play(f, seed)
    return losses, [_reached(players, loss) for loss in losses]


def _updates_properties(f: Callable, seed: int) -> None:
    (right, reached), players = _play(updates, seed), _Players(seed)
    losses = players.play(f, seed)
    if (
        not isinstance(losses, (tuple, list))
        or len(losses) != 2
        or not all(isinstance(v, Tensor) and v.ndim == 0 for v in losses)
    ):
        raise NotYet("what it returns", "two losses, each a tensor with one number", type(losses).__name__)
    for who, mine, ours in zip(("D's loss", "the loss of E and G"), losses, right):
        if not abs(number(mine) - number(ours)) <= 1e-9:
            raise NotYet(f"{who} on five random pictures", f"{number(ours):.4f}", f"{number(mine):.4f}")
    found = [_reached(players, loss) for loss in losses]
    for name in "egd":
        if not torch.allclose(found[0][name], reached[0][name], atol=1e-9):
            raise NotYet(
                f"the length of the gradient of D's loss in the weights of {_NAMES[name]}",
                f"{float(reached[0][name].norm()):.4f}",
                f"{float(found[0][name].norm()):.4f}",
            )
    for name in "eg":  # whether it reaches D too is open: D's optimizer does not step on it
        if not torch.allclose(found[1][name], reached[1][name], atol=1e-9):
            raise NotYet(
                f"the length of the gradient of their loss in the weights of {_NAMES[name]}",
                f"{float(reached[1][name].norm()):.4f}",
                f"{float(found[1][name].norm()):.4f}",
            )


def _updates_same(f: Callable, g: Callable, seed: int) -> bool:
    (a, to_a), (b, to_b) = _play(f, seed), _play(g, seed)
    if not all(math.isclose(number(x), number(y), rel_tol=1e-9, abs_tol=1e-12) for x, y in zip(a, b)):
        return False
    seen = [(0, "e"), (0, "g"), (0, "d"), (1, "e"), (1, "g")]
    return all(torch.allclose(to_a[i][name], to_b[i][name], atol=1e-9) for i, name in seen)


def _wrongly(
    *,
    real=lambda x, z, code, picture, e: (x, code),
    generated=lambda x, z, code, picture, e: (picture, z),
    for_d=(True, True),
    for_eg=(False, False),
    finish=lambda d, eg: (d, eg),
) -> Callable:
    """The two losses with a change planted: other pairs, others detached (code, picture), other results."""

    def losses(x, z, encoder, generator, discriminator):
        code, picture = encoder(x), generator(z)
        made = []
        for detach, loss in ((for_d, _d), (for_eg, _eg)):
            c, p = (v.detach() if off else v for v, off in zip((code, picture), detach))
            pairs = [kind(x, z, c, p, encoder) for kind in (real, generated)]
            made.append(loss(*(discriminator(*pair) for pair in pairs)))
        return finish(*made)

    return losses


UPDATES = Exercise(
    "bigan.updates",
    updates,
    _updates_properties,
    (
        Mistake(
            "nothing detached for D",
            (
                "D's loss reaches E and G too and makes them help D. Detach the code and the picture where D "
                "learns."
            ),
            _wrongly(for_d=(False, False)),
        ),
        Mistake(
            "code not detached for D",
            "D's loss reaches E too, which would learn to be found out. Detach the code where D learns.",
            _wrongly(for_d=(False, True)),
        ),
        Mistake(
            "picture not detached for D",
            "D's loss reaches G too, which would learn to be found out. Detach the picture where D learns.",
            _wrongly(for_d=(True, False)),
        ),
        Mistake(
            "detached for E and G",
            "E and G learn nothing: their loss is of detached codes and pictures. Detach for D alone.",
            _wrongly(for_eg=(True, True)),
            also=(_wrongly(for_d=(False, False), for_eg=(True, True)),),
        ),
        Mistake(
            "encoder left out",
            "The code is detached in the loss of E and G, so only G learns.",
            _wrongly(for_eg=(True, False)),
        ),
        Mistake(
            "generator left out",
            "The picture is detached in the loss of E and G, so only E learns.",
            _wrongly(for_eg=(False, True)),
        ),
        Mistake(
            "pairs crossed",
            (
                "D is shown (x, z) and (G(z), E(x)): strangers. A picture belongs to its own code: (x, E(x)) "
                "and (G(z), z)."
            ),
            _wrongly(real=lambda x, z, c, p, e: (x, z), generated=lambda x, z, c, p, e: (p, c)),
        ),
        Mistake(
            "code of the generated picture",
            "The generated pair should hold the z that the picture was made from, not E(G(z)).",
            _wrongly(generated=lambda x, z, c, p, e: (p, e(p))),
            also=(
                _wrongly(generated=lambda x, z, c, p, e: (p, e(p).detach())),
                lambda x, z, e, g, d: (
                    _wrongly(generated=lambda x, z, c, p, e: (p, e(p).detach()))(x, z, e, g, d)[0],
                    _wrongly(generated=lambda x, z, c, p, e: (p, e(p)))(x, z, e, g, d)[1],
                ),
            ),
        ),
        Mistake(
            "real and generated exchanged",
            "The pairs are right, but handed to the losses in the wrong order: (x, E(x)) first.",
            _wrongly(real=lambda x, z, c, p, e: (p, z), generated=lambda x, z, c, p, e: (x, c)),
        ),
        Mistake(
            "losses exchanged",
            "Both losses are right, but returned in the wrong order: D's first.",
            _wrongly(finish=lambda d, eg: (eg, d)),
        ),
        Mistake(
            "one loss for both",
            "Each player descends a loss of its own; one of the two was returned twice.",
            _wrongly(finish=lambda d, eg: (d, d)),
            also=(
                _wrongly(finish=lambda d, eg: (eg, eg)),
                _wrongly(finish=lambda d, eg: (d + eg, d + eg)),
                _wrongly(for_d=(False, False), finish=lambda d, eg: (d, d)),
            ),
        ),
        Mistake(
            "the saturating loss",
            (
                "E and G descend -D's loss here, whose slope vanishes where D is sure. Use "
                "`generator_encoder_loss`."
            ),
            _wrongly(for_d=(False, False), finish=lambda d, eg: (d, -d)),
            also=(
                lambda x, z, e, g, d: (
                    _wrongly()(x, z, e, g, d)[0],
                    -_wrongly(for_d=(False, False))(x, z, e, g, d)[0],
                ),
            ),
        ),
    ),
    _updates_same,
    (
        (
            "Make code = E(x) and picture = G(z) once. D sees both kinds of pairs twice: once to learn "
            "itself, "
            "once to teach E and G."
        ),
        (
            "Where D learns, code and picture are taken as they are: `.detach()`. Where E and G learn, "
            "nothing "
            "is detached."
        ),
        (
            "d = discriminator_loss(D(x, code.detach()), D(picture.detach(), z)); the second has the same "
            "pairs undetached."
        ),
    ),
    apart=False,  # it is handed functions
)

register(DISCRIMINATOR_LOSS, GENERATOR_ENCODER_LOSS, UPDATES)
assign(
    Assignment(
        "02_bigan",
        (
            Task("bigan.discriminator_loss", "my_discriminator_loss"),
            Task("bigan.generator_encoder_loss", "my_generator_encoder_loss"),
            Task("bigan.updates", "my_updates"),
        ),
    )
)
