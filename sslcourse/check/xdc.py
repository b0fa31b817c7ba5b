"""The exercises of 12_cross_modal_clustering: whose clusters each network predicts, both features side by
side, and the balanced loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse.check.compare import (
    expect_gradient,
    expect_scalar,
    number,
    same_gradients,
    same_number,
    slopes,
    tensor_valued,
    zeros_for_none,
)
from sslcourse.check.engine import Assignment, Exercise, Mistake, NotYet, Task, assign, register
from sslcourse.methods import xdc
from sslcourse.runtime.seeds import generator

# --------------------------------------------------------------------------------------------- whose clusters

VARIANTS = ("sdc", "mdc", "cdc", "xdc")
NAMES = ("eye", "ear", "eye + ear")


def _row(value: str | Iterable[str]) -> str | tuple[str, ...]:
    """A network's targets, whatever their order; a text stays a text."""
    joined = lambda name: " + ".join(sorted(str(name).split(" + "), reverse=True))
    return joined(value) if isinstance(value, str) else tuple(sorted(map(joined, value)))


def _told(f: Callable) -> dict:
    return {
        variant: {network: _row(targets) for network, targets in f(variant).items()} for variant in VARIANTS
    }


def _named(targets: str | tuple[str, ...]) -> str:
    return repr(targets) if isinstance(targets, str) else " and ".join(targets) or "nothing"


def _whose_properties(f: Callable, seed: int) -> None:
    # In the order of the lesson, and then in one that is drawn, which nobody can recite without listening.
    drawn = torch.randint(len(VARIANTS), (16,), generator=generator(seed, 60))
    for variant in (*VARIANTS, *(VARIANTS[i] for i in drawn)):
        given = f(variant)
        if not isinstance(given, Mapping):
            raise NotYet(f"{variant}: what it returns", "a dict", type(given).__name__)
        if set(given) != {"eye", "ear"}:
            raise NotYet(
                f"{variant}: the networks, which are the keys",
                "eye, ear",
                ", ".join(map(str, given)) or "none",
            )
        for network in ("eye", "ear"):
            targets, right = given[network], _row(xdc.WHOSE[variant][network])
            if not isinstance(targets, (tuple, list)):
                raise NotYet(
                    f"{variant}: the targets of the {network}",
                    'a tuple of names, such as ("ear",)',
                    repr(targets),
                )
            if _row(targets) != right:
                raise NotYet(
                    f"{variant}: the {network} predicts the clusters of", _named(right), _named(_row(targets))
                )


def _by(**rows: tuple[tuple[str, ...], tuple[str, ...]]) -> Callable:
    """The right table with some rows changed; a row is (targets of the eye, targets of the ear)."""

    def whose(variant: str) -> dict:
        if variant in rows:
            return dict(zip(("eye", "ear"), rows[variant]))
        return xdc.WHOSE[variant]

    return whose


OWN, OTHER, BOTH = (("eye",), ("ear",)), (("ear",), ("eye",)), (("eye + ear",), ("eye + ear",))
TWO = (("eye", "ear"), ("ear", "eye"))

WHOSE = Exercise(
    "xdc.whose",
    xdc.whose,
    _whose_properties,
    (
        Mistake(
            "SDC and XDC changed over",
            "S stands for single: in SDC each network predicts its own clusters. X is the cross: in XDC each "
            "predicts the other's.",
            _by(sdc=OTHER, xdc=OWN),
        ),
        Mistake(
            "the cross goes one way",
            "In XDC one of the networks still predicts its own clusters. Both learn from the other.",
            _by(xdc=(("ear",), ("ear",))),
            (_by(xdc=(("eye",), ("eye",))),),
        ),
        Mistake(
            "MDC without its own clusters",
            "MDC has two heads for each network: its own clusters and the other's. The own ones are missing.",
            _by(mdc=OTHER),
        ),
        Mistake(
            "MDC without the other's clusters",
            "MDC has two heads for each network: its own clusters and the other's. The other's are missing.",
            _by(mdc=OWN),
        ),
        Mistake(
            "CDC with a head for each modality",
            "In CDC there is one clustering, of both features side by side, and one head for it. Two heads "
            "for two clusterings is MDC.",
            _by(cdc=TWO),
            (_by(cdc=TWO, mdc=BOTH),),
        ),
        Mistake(
            "MDC with the joint clusters",
            "MDC clusters each modality by itself; clusters of both features side by side belong to CDC.",
            _by(mdc=BOTH),
            (
                _by(mdc=(("eye", "eye + ear"), ("ear", "eye + ear"))),
                _by(mdc=(("ear", "eye + ear"), ("eye", "eye + ear"))),
                _by(mdc=(("eye", "ear", "eye + ear"), ("ear", "eye", "eye + ear"))),
            ),
        ),
        Mistake(
            "CDC with other clusters besides",
            "In CDC each network predicts the joint clusters and nothing else.",
            _by(cdc=(("eye", "eye + ear"), ("ear", "eye + ear"))),
            (_by(cdc=(("ear", "eye + ear"), ("eye", "eye + ear"))),),
        ),
        Mistake(
            "the ear is left out",
            'There are two networks to be trained: the dict needs the keys "eye" and "ear".',
            lambda variant: {"eye": xdc.WHOSE[variant]["eye"]},
            (lambda variant: {"ear": xdc.WHOSE[variant]["ear"]},),
        ),
        Mistake(
            "the same for all",
            "The answer does not depend on the variant.",
            _by(sdc=OTHER, mdc=OTHER, cdc=OTHER),
            (
                _by(xdc=OWN, mdc=OWN, cdc=OWN),
                _by(sdc=TWO, cdc=TWO, xdc=TWO),
                _by(sdc=BOTH, mdc=BOTH, xdc=BOTH),
            ),
        ),
        Mistake(
            "a text in place of a tuple",
            'Targets are a tuple of names, also where there is only one: ("ear",) with the comma. A bare '
            '("ear") is a text, and a loop over it meets its letters.',
            lambda variant: {n: t[0] if len(t) == 1 else t for n, t in xdc.WHOSE[variant].items()},
        ),
    ),
    lambda f, g: _told(f) == _told(g),
    (
        (
            "Read the names: Single, Multi-head, Concatenated, Cross. Each network has one head for each "
            "name "
            "in its tuple."
        ),
        (
            'SDC: {"eye": ("eye",), "ear": ("ear",)}. In XDC the two tuples change places; in MDC each '
            "network "
            "has both names."
        ),
        (
            'In CDC both networks predict the clusters of both features side by side: {"eye": ("eye + '
            'ear",), '
            '"ear": ("eye + ear",)}.'
        ),
    ),
)

# ---------------------------------------------------------------------------------------------- side by side


def _pair(seed: int, k: int, n: int = 6, d: int = 5, e: int = 5) -> tuple[Tensor, Tensor]:
    g = generator(seed, k)
    return torch.randn(n, d, generator=g, dtype=torch.float64), 7 * torch.randn(
        n, e, generator=g, dtype=torch.float64
    ) + 2


def _unit(x: Tensor) -> Tensor:
    return x / x.square().sum(1, keepdim=True).sqrt()


def _distances(x: Tensor) -> Tensor:
    return (x[:, None] - x).square().sum(2)


def _joint_properties(f: Callable, seed: int) -> None:
    for k, (n, d, e) in enumerate(((6, 5, 5), (4, 3, 7))):
        pair = _pair(seed, k, n, d, e)
        kept = [x.clone() for x in pair]
        found = f(*pair)
        if not isinstance(found, Tensor):
            raise NotYet("what it returns", "a tensor", type(found).__name__)
        if not all(torch.equal(a, b) for a, b in zip(pair, kept)):
            raise NotYet(
                "the features after the call (avoid operations in place on them)", "unchanged", "changed"
            )
        if tuple(found.shape) != (n, d + e):
            raise NotYet(
                f"{n} clips with {d} and {e} numbers; the shape of what it returns",
                (n, d + e),
                tuple(found.shape),
            )
        right = _distances(_unit(pair[0])) + _distances(_unit(pair[1]))
        mine = _distances(found)
        if not torch.allclose(mine / mine.mean(), right / right.mean(), atol=1e-6):
            share = lambda x, split: float(_distances(x[:, :split]).mean() / _distances(x).mean())
            ours = torch.cat([_unit(x) for x in pair], 1)
            if abs(share(found, d) - share(ours, d)) > 1e-3:
                raise NotYet(
                    "the share of the first modality in the squared distances of clips",
                    f"{share(ours, d):.1%}",
                    f"{share(found, d):.1%}",
                )
            raise NotYet(
                "the squared distance of clips 1 and 2, as a multiple of the mean over all pairs",
                f"{float(right[0, 1] / right.mean()):.3f}",
                f"{float(mine[0, 1] / mine.mean()):.3f}",
            )
    alone = f(pair[1])
    if not isinstance(alone, Tensor) or not torch.allclose(
        _distances(_unit(pair[1])), _distances(alone), atol=1e-6
    ):
        raise NotYet(
            (
                "with features of one modality alone it should bring each row to length 1; the length of the "
                "first row"
            ),
            "1.000",
            f"{float(alone[0].norm()):.3f}" if isinstance(alone, Tensor) else type(alone).__name__,
        )


def _joint_same(f: Callable, g: Callable, seed: int) -> bool:
    pair = _pair(seed, 3)
    a, b = f(*pair), g(*pair)
    if a.shape != b.shape:
        return False
    a, b = _distances(a), _distances(b)
    return torch.allclose(a / a.mean(), b / b.mean(), rtol=1e-5, atol=1e-8)


def _each(change: Callable, lay: Callable = lambda h: torch.cat(h, 1)) -> Callable:
    return lambda *h: lay([change(x) for x in h])


JOINT = Exercise(
    "xdc.joint",
    xdc.joint,
    _joint_properties,
    (
        Mistake(
            "not normalised",
            "The features are laid side by side as they are: whichever modality has the larger numbers "
            "decides all distances. "
            "Bring each row of each modality to length 1 first.",
            _each(lambda x: x),
        ),
        Mistake(
            "normalised together",
            "Each row is brought to length 1 after both were joined, so the louder modality still drowns "
            "the other. "
            "Normalise each modality, then join.",
            lambda *h: _unit(torch.cat(h, 1)),
        ),
        Mistake(
            "normalised over the clips",
            "Each column is brought to length 1 over all clips. It is each clip's vector, a row, that "
            "should have "
            "length 1.",
            _each(lambda x: F.normalize(x, dim=0)),
        ),
        Mistake(
            "one length for all clips",
            "A whole modality is divided by one number. Each clip's vector should have length 1 by itself.",
            _each(lambda x: x / x.norm()),
            (
                _each(lambda x: x / x.norm(dim=1).mean()),
                _each(lambda x: x / x.norm(dim=1).max()),
                _each(lambda x: x / x.abs().max()),
            ),
        ),
        Mistake(
            "standardised",
            "Each number is standardised over the clips, so that a modality weighs as much as it has "
            "numbers. Bring each row to "
            "length 1.",
            _each(lambda x: (x - x.mean(0)) / x.std(0)),
            (_each(lambda x: (x - x.mean(0)) / x.std(0, correction=0)),),
        ),
        Mistake(
            "divided by the squared length",
            "Each row is divided by its squared length. A length is the root of the sum of squares.",
            _each(lambda x: x / x.square().sum(1, keepdim=True)),
        ),
        Mistake(
            "divided by the sum of sizes",
            "Each row is divided by the sum of its absolute values. Squared distances ask for the Euclidean "
            "length: the root of the sum of squares.",
            _each(lambda x: x / x.abs().sum(1, keepdim=True)),
        ),
        Mistake(
            "added",
            (
                "The two features are added into one vector, so that one modality can cancel the other. Side "
                "by side, both stay."
            ),
            _each(_unit, sum),
            (_each(lambda x: x, sum), _each(_unit, lambda h: math.prod(h))),
        ),
        Mistake(
            "one modality only",
            "Only one of the two is returned.",
            lambda *h: _unit(h[0]),
            (lambda *h: _unit(h[-1]), lambda *h: h[0], lambda *h: h[-1]),
        ),
        Mistake(
            "clips one below the other",
            (
                "The features are put one below the other, which makes twice as many clips. Side by side is "
                "axis 1."
            ),
            _each(_unit, lambda h: torch.cat(h, 0)),
            (_each(lambda x: x, lambda h: torch.cat(h, 0)),),
        ),
    ),
    _joint_same,
    (
        (
            "How much does each modality add to the squared distance of two clips, if one of them has "
            "numbers "
            "a hundred times as large?"
        ),
        "F.normalize(x, dim=1) brings every row to length 1. Do it for each modality by itself.",
        "return torch.cat([F.normalize(x, dim=1) for x in h], 1)",
    ),
)

# ---------------------------------------------------------------------------------------------- the loss

SIZE = torch.tensor([30, 2, 9, 59, 0])


def _case(seed: int, k: int, size: Tensor = SIZE) -> tuple[Tensor, Tensor, Tensor]:
    g = generator(seed, 11, k)
    label = torch.multinomial(size.double().sqrt(), 9, True, generator=g)
    return 2 * torch.randn(9, len(size), generator=g, dtype=torch.float64), label, size


def _slow(logits: Tensor, label: Tensor, size: Tensor, balance: float) -> Tensor:
    raw = [float(s) ** -balance if s else 0.0 for s in size]
    scale = float(size.sum()) / sum(w * float(s) for w, s in zip(raw, size))
    return torch.stack(
        [scale * raw[int(y)] * (torch.logsumexp(row, 0) - row[int(y)]) for row, y in zip(logits, label)]
    ).mean()


FULL = torch.tensor([30, 2, 9, 59])  # no cluster is empty


def _loss_properties(f: Callable, seed: int) -> None:
    case = _case(seed, 0, FULL)
    value = f(*case, 0.5)
    expect_scalar(value)
    for k, (balance, size) in enumerate(((0.0, FULL), (1.0, FULL), (0.5, FULL), (0.5, SIZE), (1.0, SIZE))):
        case = _case(seed, k, size)
        expected, got = number(_slow(*case, balance)), number(f(*case, balance))
        if not abs(got - expected) <= 1e-6:
            raise NotYet(
                (
                    f"the loss of random logits with clusters of {', '.join(map(str, size.tolist()))} "
                    "clips at "
                    f"balance {balance:g}"
                ),
                f"{expected:.4f}",
                f"{got:.4f}",
            )
    (mine,) = slopes(tensor_valued(f), case[:1], *case[1:], 0.5)
    (right,) = zeros_for_none(slopes(_slow, case[:1], *case[1:], 0.5), case[:1])
    expect_gradient("", mine, right, 1e-7)


def _loss_same(f: Callable, g: Callable, seed: int) -> bool:
    f, g = tensor_valued(f), tensor_valued(g)
    for k, balance in ((5, 0.5), (6, 1.0), (7, 0.0)):
        case = _case(seed, k, FULL)
        if not same_number(f(*case, balance), g(*case, balance), 1e-6, 1e-8):
            return False
    mine, theirs = (slopes(h, case[:1], *case[1:], 0.5) for h in (f, g))
    return same_gradients(mine, theirs, 1e-4, 1e-8, none_is_zero=False)


def _breaks_on_empty(f: Callable, seed: int) -> bool:
    """Right where no cluster is empty, and no number where one is."""
    full, holed = _case(seed, 8, FULL), _case(seed, 8, SIZE)
    return math.isclose(number(f(*full, 0.5)), number(_slow(*full, 0.5)), rel_tol=1e-6) and not math.isfinite(
        number(f(*holed, 0.5))
    )


def _weights(
    raw: Callable,
    scale: Callable,
    reduce: Callable = lambda w, ce, y: (w[y] * ce).mean(),
    term: Callable | None = None,
) -> Callable:
    """A loss from how a cluster is weighted, how the weights are scaled, and how the batch is reduced."""
    term = term or (lambda logits, y: F.cross_entropy(logits, y, reduction="none"))

    def loss(logits: Tensor, label: Tensor, size: Tensor, balance: float) -> Tensor:
        size = size.double()
        w = raw(size, balance, label)
        return reduce(scale(w, size), term(logits, label), label)

    return loss


def _down(size: Tensor, balance: float, label: Tensor) -> Tensor:
    return torch.where(size > 0, size.clamp_min(1) ** -balance, 0.0)


def _per_clip(w: Tensor, size: Tensor) -> Tensor:
    return w * size.sum() / (w * size).sum()


def _counted(size: Tensor, balance: float, label: Tensor) -> Tensor:
    return _down(torch.bincount(label, minlength=len(size)).double(), balance, label)


def _in_batch(logits: Tensor, label: Tensor, size: Tensor, balance: float) -> Tensor:
    count = torch.bincount(label, minlength=len(size)).double()
    w = _per_clip(_down(count, balance, label), count)
    return (w[label] * F.cross_entropy(logits, label, reduction="none")).mean()


LOSS = Exercise(
    "xdc.cluster_loss",
    xdc.cluster_loss,
    _loss_properties,
    (
        Mistake(
            "all clips alike",
            (
                "Every clip has the same weight, whatever balance is: a cluster that holds half of the clips "
                "is half of the loss."
            ),
            lambda logits, label, size, balance: F.cross_entropy(logits, label),
        ),
        Mistake(
            "the wrong way round",
            (
                "The larger its cluster, the more a clip weighs here. The power is -balance: large clusters "
                "count less."
            ),
            _weights(lambda s, b, y: torch.where(s > 0, s**b, 0.0), _per_clip),
        ),
        Mistake(
            "always wholly balanced",
            "The sizes are taken to the power -1. The exponent is -balance.",
            _weights(lambda s, b, y: _down(s, 1.0, y), _per_clip),
            (_weights(lambda s, b, y: _down(s, 0.5, y), _per_clip),),
        ),
        Mistake(
            "not scaled",
            (
                "The weights are not scaled: over all clips of the set their mean must be 1, or the loss "
                "shrinks with the sizes."
            ),
            _weights(_down, lambda w, s: w),
        ),
        Mistake(
            "scaled over the clusters",
            "The weights are scaled so that their mean over the clusters is 1. It is their mean over all "
            "clips, "
            "where a cluster comes as often as it has clips.",
            _weights(_down, lambda w, s: w / w[s > 0].mean()),
            (_weights(_down, lambda w, s: w / w.mean()), _weights(_down, lambda w, s: w / w.sum())),
        ),
        Mistake(
            "divided by the weights of the batch",
            "The sum is divided by the weights of this batch, as F.cross_entropy(weight=...) does: a "
            "batch of one cluster then has weight 1, however large the cluster is. Divide by the number of "
            "clips.",
            _weights(_down, _per_clip, lambda w, ce, y: (w[y] * ce).sum() / w[y].sum()),
        ),
        Mistake(
            "counted in the batch",
            "The sizes are counted in the batch. `size` has them for the whole training set.",
            _in_batch,
            (_weights(_counted, lambda w, s: w),),
        ),
        Mistake(
            "the sum",
            "The loss is the mean over the clips of the batch; this is their sum.",
            _weights(_down, _per_clip, lambda w, ce, y: (w[y] * ce).sum()),
        ),
        Mistake(
            "logits taken for log-probabilities",
            "The logits are used as if they were log-probabilities. Take log_softmax, or let "
            "F.cross_entropy do it.",
            _weights(_down, _per_clip, term=lambda logits, y: -logits.gather(1, y[:, None])[:, 0]),
        ),
        Mistake(
            "no gradient",
            "The value is right, but no gradient reaches the logits.",
            lambda logits, label, size, balance: xdc.cluster_loss(logits, label, size, balance).detach(),
        ),
        Mistake(
            "empty clusters divide by zero",
            "It is right as long as no cluster is empty, and no number where one is: zero to a negative "
            "power "
            "is infinite. Give empty clusters the weight 0.",
            _weights(lambda s, b, y: s**-b, _per_clip),
            (),
            _breaks_on_empty,
        ),
    ),
    _loss_same,
    (
        (
            "First one weight for each cluster, its size to the power -balance; then the loss of a clip is "
            "multiplied by the weight of its cluster."
        ),
        (
            "Scale the weights so that their mean over all clips is 1: n / (sum over clusters of weight "
            "times "
            "size). Empty clusters have weight 0."
        ),
        (
            'weight[label] has one number for each clip; F.cross_entropy(logits, label, reduction="none") '
            "the "
            "losses. Multiply, and take the mean."
        ),
    ),
)

register(WHOSE, JOINT, LOSS)
assign(
    Assignment(
        "12_cross_modal_clustering",
        (
            Task("xdc.whose", "my_whose"),
            Task("xdc.joint", "my_joint"),
            Task("xdc.cluster_loss", "my_cluster_loss"),
        ),
    )
)
