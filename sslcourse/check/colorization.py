"""The exercises of 09_tracking_by_colorization: the pointer, the loss of what was copied, and J."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse.check.compare import gradients, number, same_gradients, same_number, zeros_for_none
from sslcourse.check.engine import Assignment, Exercise, Mistake, NotYet, Task, assign, register
from sslcourse.evaluate import tracking
from sslcourse.methods import colorization
from sslcourse.runtime.seeds import generator

# ---------------------------------------------------------------------------------------------- the pointer


def _scene(n: int, m: int, d: int, c: int, *seed: int, dtype=torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings of n references and m targets, and the references' one-hot colours."""
    g = generator(*seed)
    references, targets = (torch.randn(k, d, generator=g, dtype=torch.float64).to(dtype) for k in (n, m))
    return references, targets, F.one_hot(torch.randint(c, (n,), generator=g), c).to(dtype)


def _slow_pointer(references: Tensor, targets: Tensor, colours: Tensor, temperature: float) -> Tensor:
    """Section 3 of the paper, cell by cell."""
    rows = []
    for target in targets:
        weight = torch.stack([torch.exp(reference @ target / temperature) for reference in references])
        rows.append((weight[:, None] * colours).sum(0) / weight.sum())
    return torch.stack(rows)


def _slopes(value: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of a fixed mixture of a tensor's numbers; zeros where none arrive."""
    mixture = (value * torch.arange(1, value.numel() + 1, dtype=value.dtype).view(value.shape).cos()).sum()
    return zeros_for_none(gradients(mixture, inputs), inputs)


def _pointer_properties(f: Callable, seed: int) -> None:
    references, targets, colours = _scene(7, 4, 5, 3, seed, 1)
    kept = [x.clone() for x in (references, targets, colours)]
    y = f(references, targets, colours, 0.7)
    if not isinstance(y, Tensor):
        raise NotYet("what it returns", "a tensor", type(y).__name__)
    if y.shape != (4, 3):
        raise NotYet("the shape of y for 7 references, 4 targets and 3 colours", (4, 3), tuple(y.shape))
    for x, before in zip((references, targets, colours), kept):
        if not torch.equal(x, before):
            raise NotYet(
                "what was handed in, after the call (avoid operations in place)", "unchanged", "changed"
            )
    if not torch.isfinite(y).all() or (y < 0).any() or (y.sum(1) - 1).abs().max() > 1e-6:
        raise NotYet(
            "each target's shares of the colours: their smallest, and their sum",
            "0 or more, and 1",
            f"{float(y.min()):.3f}, and {float(y.sum(1).min()):.3f} to {float(y.sum(1).max()):.3f}",
        )
    for k, temperature in enumerate((0.7, 2.0, 1.0)):
        scene = _scene(6 + k, 4 + seed % 3, 5, 3, seed, 2, k)
        expected, got = _slow_pointer(*scene, temperature), f(*scene, temperature)
        if got.shape != expected.shape or not torch.allclose(got, expected, atol=1e-6):
            raise NotYet(
                f"what the first target copies at temperature {temperature}",
                [round(v, 3) for v in expected[0].tolist()],
                [round(v, 3) for v in got[0].tolist()],
            )
    same = torch.ones(5, 4, dtype=torch.float64)
    if not torch.allclose(
        f(same, same, torch.eye(5, dtype=torch.float64), 0.5), torch.full((5, 5), 0.2, dtype=torch.float64)
    ):
        raise NotYet("the shares of 5 references that look alike", "0.2 each", "something else")
    references, targets, colours = _scene(6, 4, 5, 3, seed, 5)
    inputs = references.requires_grad_(), targets.requires_grad_()
    slopes = [_slopes(g(*inputs, colours, 0.7), inputs) for g in (f, _slow_pointer)]
    for name, mine, theirs in zip(("references", "targets"), *slopes):
        if not torch.allclose(mine, theirs, atol=1e-6):
            raise NotYet(
                f"the values are right, but not the gradient that reaches the {name}; its length",
                f"{float(theirs.norm()):.4f}",
                f"{float(mine.norm()):.4f}",
            )
    large = _scene(6, 4, 5, 3, seed, 6, dtype=torch.float32)
    got = f(60 * large[0], large[1], large[2], 0.05)
    if not torch.isfinite(got).all():
        raise NotYet(
            "y of long embeddings at temperature 0.05 (use softmax in the place of exp and a division)",
            "finite numbers",
            "NaN or infinity",
        )


def _pointer_same(f: Callable, g: Callable, seed: int) -> bool:
    for k, temperature in ((7, 0.7), (8, 1.9)):
        references, targets, colours = _scene(7 - (k == 8), 4, 5, 3, seed, k)
        inputs = (references.requires_grad_(), targets.requires_grad_())
        mine, theirs = f(*inputs, colours, temperature), g(*inputs, colours, temperature)
        if mine.shape != theirs.shape or not torch.allclose(mine, theirs, rtol=1e-5, atol=1e-7):
            return False
        if not same_gradients(_slopes(mine, inputs), _slopes(theirs, inputs), 1e-4, 1e-7):
            return False
    return True


def _exp_and_divide(r: Tensor, t: Tensor, c: Tensor, temperature: float) -> Tensor:
    weight = (t @ r.T / temperature).exp()
    return weight / weight.sum(1, keepdim=True) @ c


POINTER = Exercise(
    "colorization.pointer",
    colorization.pointer,
    _pointer_properties,
    (
        Mistake(
            "softmax over the targets",
            "The shares add up to 1 over the targets: every reference hands its colour out once. It is "
            "each target "
            "that asks, and its shares over all references add up to 1.",
            lambda r, t, c, temperature: (t @ r.T / temperature).softmax(0) @ c,
            (lambda r, t, c, temperature: len(t) * (t @ r.T / temperature).softmax(0) @ c,),
        ),
        Mistake(
            "softmax over everything at once",
            "All shares of all targets together add up to 1. Each target needs a softmax of its own: one per "
            "row of (targets, references).",
            lambda r, t, c, temperature: (
                (t @ r.T / temperature).flatten().softmax(0).view(len(t), len(r)) @ c
            ),
        ),
        Mistake(
            "multiplied by the temperature",
            (
                "The dot products are multiplied by the temperature. Divide: a low temperature points more "
                "sharply."
            ),
            lambda r, t, c, temperature: (t @ r.T * temperature).softmax(1) @ c,
        ),
        Mistake(
            "temperature forgotten",
            "The temperature has no influence. The dot products are divided by it, before the softmax.",
            lambda r, t, c, temperature: (t @ r.T).softmax(1) @ c,
            (lambda r, t, c, temperature: (t @ r.T).softmax(1) / temperature @ c,),
        ),
        Mistake(
            "temperature twice",
            "The dot products are divided by the temperature twice: perhaps both sides are.",
            lambda r, t, c, temperature: (t @ r.T / temperature**2).softmax(1) @ c,
        ),
        Mistake(
            "vectors scaled to length 1",
            "The embeddings are scaled to length 1 here. The paper compares by the plain dot product; "
            "where the "
            "course scales them it has done so before it calls the pointer, and a pointer should not undo "
            "what is handed in.",
            lambda r, t, c, temperature: (
                (F.normalize(t, dim=1) @ F.normalize(r, dim=1).T / temperature).softmax(1) @ c
            ),
        ),
        Mistake(
            "distances for similarities",
            "It compares by distance. A_ij has the dot product of the two embeddings in its exponent.",
            lambda r, t, c, temperature: (-torch.cdist(t, r).square() / temperature).softmax(1) @ c,
            (lambda r, t, c, temperature: (-torch.cdist(t, r) / temperature).softmax(1) @ c,),
        ),
        Mistake(
            "only the best match",
            "The colour of the single best match is taken. No gradient passes through a choice: take all "
            "references, each "
            "with its share.",
            lambda r, t, c, temperature: c[(t @ r.T).argmax(1)],
        ),
        Mistake(
            "shares without softmax",
            "The dot products themselves weigh the colours. They can be below 0 and do not add up to 1: a "
            "softmax "
            "makes shares of them.",
            lambda r, t, c, temperature: t @ r.T / temperature @ c,
            (
                lambda r, t, c, temperature: t @ r.T @ c,
                lambda r, t, c, temperature: F.normalize(t @ r.T / temperature, p=1, dim=1) @ c,
                lambda r, t, c, temperature: (t @ r.T / temperature).sigmoid() @ c,
            ),
        ),
        Mistake(
            "logarithms of shares",
            (
                "log_softmax gives the logarithms of the shares, and colours weighed by these mean nothing. "
                "Use softmax."
            ),
            lambda r, t, c, temperature: (t @ r.T / temperature).log_softmax(1) @ c,
        ),
        Mistake(
            "overflow",
            "The values are right for small numbers, but exp(...) of long embeddings is infinite, and "
            "infinity over infinity is no "
            "number. softmax subtracts the largest exponent first.",
            _exp_and_divide,
            recognise=lambda f, seed: _pointer_same(f, colorization.pointer, seed),
        ),
        Mistake(
            "no gradient",
            (
                "The values are right, but no gradient reaches the embeddings: nothing would be learned. Do "
                "not detach."
            ),
            lambda r, t, c, temperature: colorization.pointer(r.detach(), t.detach(), c, temperature),
        ),
    ),
    _pointer_same,
    (
        (
            "targets @ references.T is a table of dot products: one row for each target, one column for each "
            "reference."
        ),
        (
            "A softmax over the columns, softmax(dim=1), turns each row into shares. What does (m, n) @ "
            "(n, c) "
            "do with the colours?"
        ),
        "return (targets @ references.T / temperature).softmax(1) @ colours",
    ),
)


# -------------------------------------------------------------------------------- the loss of what was copied


def _shares(m: int, c: int, *seed: int, dtype=torch.float64) -> tuple[Tensor, Tensor]:
    g = generator(*seed)
    y = (1.5 * torch.randn(m, c, generator=g, dtype=torch.float64)).softmax(1).to(dtype)
    return y, torch.randint(c, (m,), generator=g)


def _slow_loss(y: Tensor, colour: Tensor) -> Tensor:
    return torch.stack([-torch.log(y[j, colour[j]]) for j in range(len(y))]).sum() / len(y)


def _loss_properties(f: Callable, seed: int) -> None:
    y, colour = _shares(6, 5, seed, 1)
    kept = y.clone()
    value = f(y, colour)
    if not isinstance(value, Tensor) or value.ndim:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise NotYet("the loss is one number; what it returns", "a tensor of shape ()", shape)
    if not torch.equal(y, kept):
        raise NotYet("y after the call (avoid operations in place on it)", "unchanged", "changed")
    for k, (m, c) in enumerate(((6, 5), (3 + seed % 4, 16))):
        y, colour = _shares(m, c, seed, 2, k)
        expected, got = float(_slow_loss(y, colour)), float(f(y, colour))
        if not abs(got - expected) <= 2e-3 * max(1, expected):
            raise NotYet(f"the loss of {m} random cells of {c} colours", f"{expected:.4f}", f"{got:.4f}")
    perfect = F.one_hot(colour, 16).double()
    got = float(f(perfect, colour))
    if not abs(got) <= 1e-3:
        raise NotYet("the loss where all of the true colour was copied", "0", f"{got:.4f}")
    y = y.clone().requires_grad_()
    mine, theirs = _slopes(f(y, colour), (y,))[0], _slopes(_slow_loss(y, colour), (y,))[0]
    if not torch.allclose(mine, theirs, rtol=1e-2, atol=1e-5):
        raise NotYet(
            "the value is right, but not the gradient that reaches y; its length",
            f"{float(theirs.norm()):.4f}",
            f"{float(mine.norm()):.4f}",
        )
    nothing = torch.zeros(4, 5, requires_grad=True)
    value = f(nothing, torch.arange(4))
    if not torch.isfinite(value) or not torch.isfinite(_slopes(value, (nothing,))[0]).all():
        raise NotYet(
            "the loss, and its gradient, where nothing of the true colour was copied",
            "finite",
            f"{float(value.detach()):.3g}",
        )
    if float(value.detach()) < 5:
        raise NotYet(
            "the loss where nothing of the true colour was copied",
            "large (above 5)",
            f"{float(value.detach()):.3f}",
        )


def _loss_same(f: Callable, g: Callable, seed: int) -> bool:
    for m, c, k in ((6, 5, 7), (4, 16, 8)):
        y, colour = _shares(m, c, seed, k)
        y.requires_grad_()
        mine, theirs = f(y, colour), g(y, colour)
        if not same_number(mine, theirs, 2e-4, 1e-6):
            return False
        if not torch.allclose(_slopes(mine, (y,))[0], _slopes(theirs, (y,))[0], rtol=1e-2, atol=1e-6):
            return False
    return True


def _true(y: Tensor, colour: Tensor) -> Tensor:
    return y.gather(1, colour[:, None])[:, 0]


def _logs(y: Tensor, colour: Tensor) -> Tensor:
    return (_true(y, colour) + 1e-6).log()


def _infinite(f: Callable, seed: int) -> bool:
    """Right everywhere but where nothing was copied."""
    nothing = torch.zeros(4, 5, requires_grad=True)
    value = f(nothing, torch.arange(4))
    finite = torch.isfinite(value) and torch.isfinite(_slopes(value, (nothing,))[0]).all()
    return _loss_same(f, colorization.copy_loss, seed) and not bool(finite)


COPY_LOSS = Exercise(
    "colorization.copy_loss",
    colorization.copy_loss,
    _loss_properties,
    (
        Mistake(
            "softmax twice",
            "cross_entropy applies a softmax, but y holds shares already. The loss of a perfect copy would "
            "stay far above 0, "
            "and training would look stuck. Take the logarithm of y itself.",
            lambda y, colour: F.cross_entropy(y, colour),
            (lambda y, colour: -y.softmax(1).gather(1, colour[:, None]).log().mean(),),
        ),
        Mistake(
            "no logarithm",
            "The shares are not put through a logarithm. The loss is the mean of -log y at the true colour.",
            lambda y, colour: -_true(y, colour).mean(),
            (lambda y, colour: 1 - _true(y, colour).mean(),),
        ),
        Mistake(
            "logarithm of the mean",
            "The shares of all cells are averaged first, and the logarithm taken then: a cell that is "
            "right makes up "
            "for one that is wrong. First the logarithm of every cell, then the mean.",
            lambda y, colour: -_true(y, colour).mean().log(),
        ),
        Mistake(
            "sum over the cells",
            (
                "The cells are summed. Take their mean, or a larger picture would ask for a smaller learning "
                "rate."
            ),
            lambda y, colour: -_logs(y, colour).sum(),
        ),
        Mistake(
            "wrong sign",
            "The sign is wrong: training makes the loss smaller, and would drive the true colour out.",
            lambda y, colour: _logs(y, colour).mean(),
        ),
        Mistake(
            "mean over the colours too",
            "It is divided by the number of colours as well. Sum over the colours (only the true one "
            "counts), and "
            "average over the cells.",
            lambda y, colour: -_logs(y, colour).mean() / y.shape[1],
            (lambda y, colour: -(F.one_hot(colour, y.shape[1]) * (y + 1e-6).log()).mean(),),
        ),
        Mistake(
            "the other colours count too",
            "The colours that are not there are judged as well, each as a yes or no of its own. y is one "
            "distribution: its share at the true colour says it all.",
            lambda y, colour: (
                F.binary_cross_entropy(y, F.one_hot(colour, y.shape[1]).to(y), reduction="none").sum(1).mean()
            ),
            (lambda y, colour: F.binary_cross_entropy(y, F.one_hot(colour, y.shape[1]).to(y)),),
        ),
        Mistake(
            "squared error",
            (
                "It is the squared difference of y and the true colour. The loss is a cross-entropy: -log "
                "y at "
                "the true colour."
            ),
            lambda y, colour: (y - F.one_hot(colour, y.shape[1])).square().sum(1).mean(),
            (
                lambda y, colour: (y - F.one_hot(colour, y.shape[1])).square().mean(),
                lambda y, colour: (1 - _true(y, colour)).square().mean(),
            ),
        ),
        Mistake(
            "another logarithm",
            "The logarithm has base 2 or 10; the natural one is meant, torch.log.",
            lambda y, colour: -_logs(y, colour).mean() / math.log(2),
            (lambda y, colour: -_logs(y, colour).mean() / math.log(10),),
        ),
        Mistake(
            "no gradient",
            "The value is right, but no gradient reaches y: nothing would be learned. Do not detach, and "
            "return a tensor made "
            "of y.",
            lambda y, colour: -_logs(y.detach(), colour).mean(),
        ),
        Mistake(
            "infinite where nothing was copied",
            "Where nothing of the true colour was copied y is 0, and its logarithm is minus infinity: "
            "one such cell ruins the training. Add a small number, 1e-6, before the logarithm.",
            lambda y, colour: -_true(y, colour).log().mean(),
            recognise=_infinite,
        ),
    ),
    _loss_same,
    (
        "y already holds probabilities. Which of PyTorch's losses would put them through a softmax again?",
        (
            "y.gather(1, colour[:, None]), or y[torch.arange(len(y)), colour], is the share of the true "
            "colour "
            "in each cell."
        ),
        "return -(y[torch.arange(len(y)), colour] + 1e-6).log().mean()",
    ),
)


# ---------------------------------------------------------------------------------------------- J


NO_NUMBER = -1.0


def _masks(*seed: int, size: tuple[int, int] = (6, 7)) -> tuple[Tensor, Tensor]:
    g = generator(*seed)
    return torch.rand(size, generator=g) < 0.5, torch.rand(size, generator=g) < 0.3


def _slow_region(predicted: Tensor, given: Tensor) -> float:
    both = either = 0
    for m, g in zip(predicted.flatten().tolist(), given.flatten().tolist()):
        both, either = both + (m and g), either + (m or g)
    return both / either if either else 1.0


def _region_properties(f: Callable, seed: int) -> None:
    for k, size in enumerate(((6, 7), (4 + seed % 3, 9))):
        predicted, given = _masks(seed, 20 + k, size=size)
        kept = predicted.clone(), given.clone()
        got = number(f(predicted, given))
        if not (torch.equal(predicted, kept[0]) and torch.equal(given, kept[1])):
            raise NotYet(
                "the masks after the call (avoid operations in place on them)", "unchanged", "changed"
            )
        if not abs(got - _slow_region(*kept)) <= 1e-6:
            raise NotYet(
                f"J of two random masks of {size[0]} x {size[1]} pixels",
                f"{_slow_region(*kept):.4f}",
                f"{got:.4f}",
            )
    mask, nothing = _masks(seed, 22)[0], torch.zeros(6, 7, dtype=torch.bool)
    for name, m, g, expected in (
        ("a mask and itself", mask, mask, 1.0),
        ("a mask and its opposite", mask, ~mask, 0.0),
        ("no mask where there is one", nothing, mask, 0.0),
        ("a mask where there is none", mask, nothing, 0.0),
        ("two empty masks", nothing, nothing, 1.0),
    ):
        got = _outcome(f, m, g)
        if not abs(got - expected) <= 1e-6:
            raise NotYet(f"J of {name}", expected, f"{got:.4f}" if got != NO_NUMBER else "a division by zero")


def _region_same(f: Callable, g: Callable, seed: int) -> bool:
    nothing = torch.zeros(6, 7, dtype=torch.bool)
    for m, t in (
        _masks(seed, 30),
        _masks(seed, 31),
        _masks(seed, 32, size=(3, 11)),
        (nothing, nothing),
        (nothing, _masks(seed, 33)[0]),
        (_masks(seed, 33)[0], nothing),
    ):
        mine, theirs = _outcome(f, m, t), _outcome(g, m, t)
        if mine != theirs and not same_number(mine, theirs, 1e-5, 1e-6):
            return False
    return True


def _outcome(f: Callable, m: Tensor, t: Tensor) -> float:
    """The number; NO_NUMBER for NaN or an error, because a division by zero shows as either."""
    try:
        value = number(f(m, t))
    except ZeroDivisionError:
        return NO_NUMBER
    return value if math.isfinite(value) else NO_NUMBER


def _share(m: Tensor, t: Tensor, whole: Callable, empty: float = 1.0) -> float:
    size = float(whole(m, t))
    return float((m & t).sum()) / size if size else empty


def _or(m: Tensor, t: Tensor) -> Tensor:
    return (m | t).sum()


REGION = Exercise(
    "tracking.region",
    tracking.region,
    _region_properties,
    (
        Mistake(
            "Dice instead of Jaccard",
            "This is the Dice score: twice the intersection over the sum of both sizes, which is never "
            "lower than J. "
            "J divides by the union.",
            lambda m, t: 2 * _share(m, t, lambda m, t: m.sum() + t.sum(), 0.5),
        ),
        Mistake(
            "divided by the predicted mask",
            "The intersection is divided by the predicted mask: that is precision. A single right pixel "
            "would "
            "be perfect. Divide by the union.",
            lambda m, t: _share(m, t, lambda m, t: m.sum()),
            (lambda m, t: _share(m, t, lambda m, t: m.sum(), 0.0),),
        ),
        Mistake(
            "divided by the true mask",
            "The intersection is divided by the true mask: that is recall. A mask that fills the picture "
            "would be "
            "perfect. Divide by the union.",
            lambda m, t: _share(m, t, lambda m, t: t.sum()),
            (lambda m, t: _share(m, t, lambda m, t: t.sum(), 0.0),),
        ),
        Mistake(
            "divided by the sum",
            (
                "Both sizes are added, so that the intersection is counted twice: a perfect mask has half a "
                "point."
            ),
            lambda m, t: _share(m, t, lambda m, t: m.sum() + t.sum()),
            (lambda m, t: _share(m, t, lambda m, t: m.sum() + t.sum(), 0.0),),
        ),
        Mistake(
            "agreement of all pixels",
            "The ground counts too: where the object is small, a mask of nothing would score high. Only "
            "the two masks "
            "count.",
            lambda m, t: (m == t).float().mean(),
        ),
        Mistake(
            "share of the picture",
            "The intersection is divided by the size of the picture. J knows nothing of the picture's size.",
            lambda m, t: (m & t).float().mean(),
        ),
        Mistake(
            "difference for similarity",
            "It is 0 for a perfect mask and 1 for one that misses: that is 1 - J.",
            lambda m, t: 1 - _share(m, t, _or),
            (lambda m, t: 1 - _share(m, t, _or, 0.0),),
        ),
        Mistake(
            "two empty masks have no J",
            "Where both masks are empty the union is 0, and so is the intersection; 0 / 0 is no number. The "
            "benchmark says 1: that there is nothing was right.",
            lambda m, t: ((m & t).sum() / (m | t).sum()).item(),
        ),
        Mistake(
            "two empty masks score 0",
            "Where both masks are empty it is 0. The benchmark says 1: that there is nothing was right.",
            lambda m, t: _share(m, t, _or, 0.0),
        ),
        Mistake(
            "a count, not a share",
            "It counts pixels. J is a share, from 0 to 1.",
            lambda m, t: (m & t).sum(),
            (lambda m, t: (m ^ t).sum(),),
        ),
    ),
    _region_same,
    (
        "& and | of two masks of booleans are their intersection and their union; .sum() counts.",
        "What should happen where both masks are empty?",
        (
            "either = (predicted | given).sum(); return 1.0 if either == 0 else float((predicted & "
            "given).sum() / either)"
        ),
    ),
)

register(POINTER, COPY_LOSS, REGION)
assign(
    Assignment(
        "09_tracking_by_colorization",
        (
            Task("colorization.pointer", "my_pointer"),
            Task("colorization.copy_loss", "my_copy_loss"),
            Task("tracking.region", "my_region"),
        ),
    )
)
