"""The exercises of 08_video_lstm: one step of an LSTM, what the two decoders must say, and the loss of a
frame in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse.check.compare import (
    expect_gradient,
    expect_scalar,
    gradients,
    number,
    same_gradients,
    same_number,
    slopes,
)
from sslcourse.check.engine import Assignment, Exercise, Mistake, NotYet, Task, assign, register
from sslcourse.methods import video_lstm
from sslcourse.runtime.seeds import generator

# ---------------------------------------------------------------------------------------- one step of an LSTM


def _step_inputs(n: int, d: int, units: int, *seed: int) -> list[Tensor]:
    g = generator(*seed)
    shapes = (n, d), (n, units), (n, units), (4 * units, d), (4 * units, units), (4 * units,)
    return [torch.randn(*shape, generator=g, dtype=torch.float64) for shape in shapes]


def _pair(value) -> tuple[Tensor, Tensor]:
    if not (
        isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(v, Tensor) for v in value)
    ):
        raise NotYet("what a step returns", "two tensors, h and c", type(value).__name__)
    return value[0], value[1]


def _slow_step(x, h, c, w_x, w_h, bias) -> tuple[Tensor, Tensor]:
    """Section 2.1 of the paper without its peepholes, film by film and unit by unit."""
    units = h.shape[1]
    new_h, new_c = torch.zeros_like(h), torch.zeros_like(c)
    for b in range(len(x)):
        for j in range(units):
            i, f, a, o = (
                w_x[k * units + j] @ x[b] + w_h[k * units + j] @ h[b] + bias[k * units + j] for k in range(4)
            )
            new_c[b, j] = f.sigmoid() * c[b, j] + i.sigmoid() * a.tanh()
            new_h[b, j] = o.sigmoid() * new_c[b, j].tanh()
    return new_h, new_c


def _cell_properties(f: Callable, seed: int) -> None:
    given = _step_inputs(2, 3, 4, seed, 1)
    kept = [v.clone() for v in given]
    h, c = _pair(f(*given))
    right = _slow_step(*kept)
    for name, got, expected in (("c", c, right[1]), ("h", h, right[0])):
        if got.shape != expected.shape:
            raise NotYet(
                f"the shape of the new {name} of two films and four units",
                tuple(expected.shape),
                tuple(got.shape),
            )
        if not torch.allclose(got, expected, atol=1e-8):
            b, j = divmod(int((got - expected).abs().nan_to_num(99).argmax()), 4)
            raise NotYet(
                f"the new {name} of unit {j}", f"{float(expected[b, j]):.4f}", f"{float(got[b, j]):.4f}"
            )
    if not all(torch.equal(a, b) for a, b in zip(given, kept)):
        raise NotYet("what was handed in, after the step (avoid operations in place)", "unchanged", "changed")
    x, h, c, w_x, w_h, bias = _step_inputs(3, 2, 5, seed, 2)
    bias = bias.clone()
    bias[:5], bias[5:10] = -100.0, 100.0  # nothing is written, everything is kept
    kept_c = _pair(f(x, h, c, w_x, w_h, bias))[1]
    if not torch.allclose(kept_c, c, atol=1e-8):
        raise NotYet(
            "c, where the input gate is shut and the forget gate open; how far it moved",
            "0.0000",
            f"{float((kept_c - c).abs().max()):.4f}",
        )
    given = [v.requires_grad_() for v in _step_inputs(2, 3, 4, seed, 3)]
    mine = _pair(f(*given))
    if not all(v.requires_grad for v in mine):
        raise NotYet("whether gradients reach the weights through h and c", "yes", "no")
    slopes = torch.autograd.grad(mine[0].sum() + mine[1].sum(), given, allow_unused=True)
    h, c = video_lstm.lstm_cell(*given)
    theirs = torch.autograd.grad(h.sum() + c.sum(), given)
    for name, got, expected in zip(("x", "h", "c", "w_x", "w_h", "bias"), slopes, theirs):
        if got is None or not torch.allclose(got, expected, atol=1e-8):
            raise NotYet(
                f"the values are right, but not the gradient that reaches {name}; its length",
                f"{float(expected.norm()):.4f}",
                "none" if got is None else f"{float(got.norm()):.4f}",
            )


def _cell_same(f: Callable, g: Callable, seed: int) -> bool:
    for n, d, units, k in ((2, 3, 4, 4), (3, 5, 2, 5)):
        values = []
        for one in (f, g):
            given = [v.requires_grad_() for v in _step_inputs(n, d, units, seed, k)]
            out = one(*given)
            out = tuple(out) if isinstance(out, (tuple, list)) else (out,)
            flows = (
                torch.autograd.grad(sum(v.sum() for v in out), given, allow_unused=True)
                if out[0].requires_grad
                else (None,) * 6
            )
            values.append(
                (
                    *(v.detach() for v in out),
                    *(torch.zeros_like(v) if s is None else s for v, s in zip(given, flows)),
                )
            )
        if len(values[0]) != len(values[1]) or any(
            a.shape != b.shape or not torch.allclose(a, b, atol=1e-7) for a, b in zip(*values)
        ):
            return False
    return True


def _step(
    order=(0, 1, 2, 3),
    gate=torch.sigmoid,
    write=torch.tanh,
    out=torch.tanh,
    forget=None,
    use_h=True,
    use_bias=True,
    give=lambda h, c, old: (h, c),
    read=lambda new, old: new,
    detach=False,
) -> Callable:
    """A step with one thing done in another way."""

    def step(x, h, c, w_x, w_h, bias):
        z = x @ w_x.T + (h @ w_h.T if use_h else 0) + (bias if use_bias else 0)
        parts = z.chunk(4, 1)
        i, f, a, o = (parts[k] for k in order)
        i, o = gate(i), gate(o)
        f = gate(f) if forget is None else forget(i)
        new = f * (c.detach() if detach else c) + i * write(a)
        return give(o * out(read(new, c)), new, c)

    return step


LSTM_CELL = Exercise(
    "video_lstm.lstm_cell",
    video_lstm.lstm_cell,
    _cell_properties,
    (
        Mistake(
            "input and forget gate swapped",
            "The input gate stands where the forget gate belongs. In torch's order, the rows are: input "
            "gate, "
            "forget gate, candidate, output gate.",
            _step((1, 0, 2, 3)),
        ),
        Mistake(
            "candidate and output gate swapped",
            "The last two quarters of the rows are taken in the wrong order: the third is the candidate, "
            "which goes through tanh, and the fourth the output gate.",
            _step((0, 1, 3, 2)),
        ),
        Mistake(
            "the candidate is a gate",
            "The candidate goes through the logistic function like a gate. It is what is written, and must "
            "be able to "
            "lower c: tanh, from -1 to 1.",
            _step(write=torch.sigmoid),
        ),
        Mistake(
            "the candidate is not squashed",
            "The candidate is written as it is; it goes through tanh first.",
            _step(write=lambda v: v),
        ),
        Mistake(
            "gates without the logistic function",
            "Input, forget and output gate are to lie between 0 and 1: sigmoid, and not tanh or nothing.",
            _step(gate=lambda v: v),
            (_step(gate=torch.tanh),),
        ),
        Mistake(
            "c is not squashed for h",
            "h = o * tanh(c): c has no bounds, and h would have none either.",
            _step(out=lambda v: v),
            (_step(out=torch.sigmoid),),
        ),
        Mistake(
            "h is made from the old c",
            "h must show what has just been written: first the new c, then h = o * tanh(new c).",
            _step(read=lambda new, old: old),
        ),
        Mistake(
            "nothing is forgotten",
            "The old c is added whole. The forget gate says which share of it stays.",
            _step(forget=lambda i: torch.ones_like(i)),
        ),
        Mistake(
            "what is written is what is forgotten",
            "The forget gate is 1 minus the input gate, as in a GRU. An LSTM has its own weights for it.",
            _step(forget=lambda i: 1 - i),
        ),
        Mistake(
            "h and c handed back in the other order",
            "It returns c, then h; the caller expects h first.",
            _step(give=lambda h, c, old: (c, h)),
        ),
        Mistake(
            "the old h is not read",
            "The gates see the input alone. They also read the state before: + h @ w_h.T.",
            _step(use_h=False),
        ),
        Mistake("no bias", "The bias is left out.", _step(use_bias=False)),
        Mistake(
            "c is cut from the gradient",
            "The values are right, but no gradient flows back through c. That path is why an LSTM remembers: "
            "leave c as it is.",
            _step(detach=True),
        ),
        Mistake(
            "only h", "It returns h alone; c is the other half of the state.", _step(give=lambda h, c, old: h)
        ),
    ),
    _cell_same,
    (
        (
            "All four quarters at once: z = x @ w_x.T + h @ w_h.T + bias has 4 n columns, and z.chunk(4, "
            "dim=1) cuts them apart."
        ),
        (
            "Three of them go through torch.sigmoid, the candidate through torch.tanh. Then the new c, and "
            "last the new h."
        ),
        (
            "i, f, a, o = z.chunk(4, 1); c = f.sigmoid() * c + i.sigmoid() * a.tanh(); return o.sigmoid() * "
            "c.tanh(), c"
        ),
    ),
)


# --------------------------------------------------------------------------------- what the decoders must say


def _counted(n: int, t: int, d: int) -> Tensor:
    """Frame vectors in which every number says film, frame and pixel."""
    return (
        100 * torch.arange(n).view(-1, 1, 1) + 10 * torch.arange(t).view(1, -1, 1) + torch.arange(d) / d
    ).double()


def _frames(x: Tensor) -> list[int]:
    """Which frames of the first film stand there."""
    return [int(v) // 10 % 10 for v in x[0, :, 0]]


CASES = ((2, 7, 3, 4), (3, 9, 2, 6), (2, 6, 4, 3))  # films, frames, pixels, past


def _target_properties(f: Callable, seed: int) -> None:
    thousands = torch.randint(1_000_000, (len(CASES),), generator=generator(seed, 40)).tolist()
    for (n, t, d, past), more in zip(CASES, thousands):
        x = _counted(n, t, d) + 1000 * more
        kept = x.clone()
        backwards, future = _pair_of_targets(f(x, past))
        where = f"of {t} frames, numbered from 0, of which {past} were seen"
        expected = (list(range(past - 1, -1, -1)), list(range(past, t)))
        for name, got, frames in (
            ("the past in reverse", backwards, expected[0]),
            ("the future", future, expected[1]),
        ):
            if got.ndim != 3 or got.shape[0] != n or got.shape[2] != d:
                raise NotYet(f"the shape of {name} {where}", (n, len(frames), d), tuple(got.shape))
            if _frames(got) != frames or got.shape[1] != len(frames):
                raise NotYet(f"{name} {where}: its frames", frames, _frames(got))
            if not torch.equal(got, kept[:, frames]):
                raise NotYet(
                    f"{name} {where}: its frames are right in the first film's first pixel; all others",
                    "unchanged",
                    "mixed up",
                )
        if not torch.equal(x, kept):
            raise NotYet("the film that was handed in (avoid operations in place)", "unchanged", "changed")


def _pair_of_targets(value) -> tuple[Tensor, Tensor]:
    if not (
        isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(v, Tensor) for v in value)
    ):
        raise NotYet(
            "what it returns", "two tensors, the past in reverse and the future", type(value).__name__
        )
    return value[0], value[1]


def _target_same(f: Callable, g: Callable) -> bool:
    for n, t, d, past in CASES:
        for a, b in zip(f(_counted(n, t, d), past), g(_counted(n, t, d), past), strict=True):
            if a.shape != b.shape or not torch.equal(a, b):
                return False
    return True


TARGETS = Exercise(
    "video_lstm.targets",
    video_lstm.targets,
    _target_properties,
    (
        Mistake(
            "the past is not reversed",
            "The past comes in its own order. The decoder starts from a state that has just read the last "
            "frame: "
            "let it say that one first, and go backwards.",
            lambda x, past: (x[:, :past], x[:, past:]),
        ),
        Mistake(
            "the future is reversed too",
            "The future is to be told in its own order, the frame after the last seen one first.",
            lambda x, past: (x[:, :past].flip(1), x[:, past:].flip(1)),
        ),
        Mistake(
            "the whole film is reversed",
            "The film is turned round before it is cut: so the future is taken for the past.",
            lambda x, past: (x.flip(1)[:, :past], x.flip(1)[:, past:]),
        ),
        Mistake(
            "the films are reversed",
            "The first axis is turned round, which holds the films: each is given another film's past. The "
            "frames are "
            "axis 1.",
            lambda x, past: (x[:, :past].flip(0), x[:, past:]),
            (lambda x, past: (x[:, :past].flip(0, 1), x[:, past:]),),
        ),
        Mistake(
            "the pixels are reversed",
            "The last axis is turned round, which holds the pixels. The frames are axis 1.",
            lambda x, past: (x[:, :past].flip(2), x[:, past:]),
            (lambda x, past: (x[:, :past].flip(1, 2), x[:, past:]),),
        ),
        Mistake(
            "the future begins too early",
            "The first frame of the future is one that the encoder has seen: to predict it is to copy.",
            lambda x, past: (x[:, :past].flip(1), x[:, past - 1 :]),
            (lambda x, past: (x[:, :past].flip(1), x[:, past - 1 : -1]),),
        ),
        Mistake(
            "the future begins too late",
            "A frame is left out between the past and the future: frame number `past` is the first that "
            "was not "
            "seen.",
            lambda x, past: (x[:, :past].flip(1), x[:, past + 1 :]),
        ),
        Mistake(
            "past and future swapped",
            "The future comes first. Return the past in reverse, then the future.",
            lambda x, past: (x[:, past:], x[:, :past].flip(1)),
            (lambda x, past: (x[:, past:].flip(1), x[:, :past]),),
        ),
        Mistake(
            "a frame of the past is lost",
            "The past is one frame short: x[:, :past] has `past` frames.",
            lambda x, past: (x[:, : past - 1].flip(1), x[:, past:]),
            (lambda x, past: (x[:, 1:past].flip(1), x[:, past:]),),
        ),
    ),
    _target_same,
    (
        "x is (films, frames, pixels). x[:, :past] is what was seen, x[:, past:] what comes.",
        "x.flip(1) turns the frames round. Only one of the two parts needs it.",
        "return x[:, :past].flip(1), x[:, past:]",
    ),
)


# --------------------------------------------------------------------------------------------- nats per frame


def _scores(n: int, t: int, d: int, *seed: int) -> tuple[Tensor, Tensor]:
    g = generator(*seed)
    return 2 * torch.randn(n, t, d, generator=g, dtype=torch.float64), torch.rand(
        n, t, d, generator=g, dtype=torch.float64
    )


def _slow_nats(logits: Tensor, target: Tensor) -> Tensor:
    y = 1 / (1 + (-logits).exp())
    frames = [
        -sum(x * p.log() + (1 - x) * (1 - p).log() for x, p in zip(target[b, k], y[b, k]))
        for b in range(len(y))
        for k in range(y.shape[1])
    ]
    return torch.stack(frames).mean()


def _nats_properties(f: Callable, seed: int) -> None:
    logits, target = _scores(2, 3, 4, seed, 1)
    kept = logits.clone(), target.clone()
    value = f(logits, target)
    expect_scalar(value)
    right = float(_slow_nats(*kept))
    if not abs(float(value) - right) <= 1e-6:
        raise NotYet(
            "the loss of two films of three frames of four pixels", f"{right:.4f}", f"{float(value):.4f}"
        )
    if not (torch.equal(logits, kept[0]) and torch.equal(target, kept[1])):
        raise NotYet("what was handed in, after the call (avoid operations in place)", "unchanged", "changed")
    n, d = 2 + seed % 3, 10
    undecided = number(f(torch.zeros(n, 5, d).double(), _scores(n, 5, d, seed, 2)[1]))
    if abs(undecided - d * math.log(2)) > 1e-6:
        raise NotYet(
            f"the loss of a frame of {d} pixels whose probabilities are all one half",
            f"{d * math.log(2):.4f}",
            f"{undecided:.4f}",
        )
    sure = torch.tensor([[[800.0, -800.0, 800.0]]], dtype=torch.float64)
    for told, known in (
        (torch.tensor([[[1.0, 0.0, 1.0]]]).double(), 0.0),
        (torch.tensor([[[1.0, 1.0, 1.0]]]).double(), 800.0),
    ):
        got = number(f(sure, told))
        if not abs(got - known) < 1e-3:
            raise NotYet(
                f"the loss of logits of 800 and -800 for pixels {[int(v) for v in told.flatten()]}",
                f"{known:.1f}",
                f"{got:.1f}",
            )
    logits, target = _scores(3, 2, 5, seed, 3)
    logits.requires_grad_()
    (slope,) = gradients(f(logits, target), (logits,))
    expect_gradient(" that reaches the logits", slope, (logits.sigmoid() - target).detach() / 6, 1e-7)


def _nats_same(f: Callable, g: Callable, seed: int) -> bool:
    for n, t, d, k in ((2, 3, 4, 4), (3, 2, 5, 5)):
        logits, target = _scores(n, t, d, seed, k)
        if not same_number(f(logits, target), g(logits, target), 1e-6, 1e-8):
            return False
        mine, theirs = (slopes(h, (logits,), target) for h in (f, g))
        if not same_gradients(mine, theirs, 1e-5, 1e-7):
            return False
    return True


def _times(*factors: Callable) -> Callable:
    """Whether the loss is the right one times factor(films, frames, pixels), one factor for all sizes."""

    def recognise(f: Callable, seed: int) -> bool:
        ratios = {}
        for size in ((2, 3, 4), (5, 2, 7)):
            given = _scores(*size, seed, 8)
            ratios[size] = number(f(*given)) / float(_slow_nats(*given))
        return any(
            all(math.isclose(r, factor(*size), rel_tol=1e-6) for size, r in ratios.items())
            for factor in factors
        )

    return recognise


def _unsafe(f: Callable, seed: int) -> bool:
    """Right for moderate logits, but not for those where a probability rounds to 0 or 1."""
    if not _nats_same(f, video_lstm.nats_per_frame, seed):
        return False
    got = number(f(torch.tensor([[[800.0, -800.0]]]).double(), torch.tensor([[[0.0, 1.0]]]).double()))
    return not math.isclose(got, 1600.0, rel_tol=1e-3)


def _of_probabilities(logits: Tensor, target: Tensor) -> Tensor:
    y = logits.sigmoid()
    return -(target * y.log() + (1 - target) * (1 - y).log()).sum(-1).mean()


def _bce(logits: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none")


NATS_PER_FRAME = Exercise(
    "video_lstm.nats_per_frame",
    video_lstm.nats_per_frame,
    _nats_properties,
    (
        Mistake(
            "mean over the pixels",
            "It is the mean over the pixels. The papers' tables count a frame whole: sum over the pixels, "
            "then the mean "
            "over frames and films.",
            lambda z, x: F.binary_cross_entropy_with_logits(z, x),
            recognise=_times(lambda n, t, d: 1 / d),
        ),
        Mistake(
            "sum over frames or films",
            "Frames or films are summed as well: a longer film, or a larger batch, would count for more. "
            "Only the "
            "pixels are summed.",
            lambda z, x: _bce(z, x).sum(),
            (lambda z, x: _bce(z, x).sum((1, 2)).mean(),),
            recognise=_times(lambda n, t, d: n * t, lambda n, t, d: t, lambda n, t, d: n),
        ),
        Mistake(
            "logits taken for probabilities",
            "The logits are used as probabilities. They are any numbers: the logistic function makes "
            "probabilities of them, and binary_cross_entropy_with_logits has it inside.",
            lambda z, x: F.binary_cross_entropy(z.clamp(0, 1), x, reduction="none").sum(-1).mean(),
            (
                lambda z, x: (
                    -(x * z.clamp(1e-6, 1 - 1e-6).log() + (1 - x) * (1 - z.clamp(1e-6, 1 - 1e-6)).log())
                    .sum(-1)
                    .mean()
                ),
            ),
        ),
        Mistake(
            "the logistic function twice",
            "The logistic function is applied twice: binary_cross_entropy_with_logits has it inside already.",
            lambda z, x: _bce(z.sigmoid(), x).sum(-1).mean(),
        ),
        Mistake(
            "only bright pixels count",
            (
                "The second term is missing. A dark pixel that is said to be bright must cost too: (1 - x) "
                "log(1 - y)."
            ),
            lambda z, x: -(x * F.logsigmoid(z)).sum(-1).mean(),
        ),
        Mistake(
            "only dark pixels count",
            "The first term is missing: x log y.",
            lambda z, x: -((1 - x) * F.logsigmoid(-z)).sum(-1).mean(),
        ),
        Mistake(
            "the sign",
            (
                "It grows when the prediction gets better, and training makes it smaller: a minus sign is "
                "missing."
            ),
            lambda z, x: -_bce(z, x).sum(-1).mean(),
        ),
        Mistake(
            "squared error",
            "It is a squared error. For values from 0 to 1 the paper takes the cross-entropy, whose slope "
            "does not vanish where "
            "the logistic function is flat.",
            lambda z, x: (z.sigmoid() - x).square().sum(-1).mean(),
            (
                lambda z, x: 0.5 * (z.sigmoid() - x).square().sum(-1).mean(),
                lambda z, x: (z - x).square().sum(-1).mean(),
            ),
        ),
        Mistake(
            "bits and not nats",
            "It is in bits: the logarithm has base 2. A nat has base e.",
            lambda z, x: _bce(z, x).sum(-1).mean() / math.log(2),
        ),
        Mistake(
            "grey values are rounded",
            "The targets are rounded to black and white. Grey ones are meant as they are.",
            lambda z, x: _bce(z, x.round()).sum(-1).mean(),
        ),
        Mistake(
            "extreme logits break it",
            "For moderate logits it is right; for very sure ones a probability rounds to 0 or 1, and its "
            "logarithm is "
            "lost. F.binary_cross_entropy_with_logits(..., reduction='none') never forms the probability.",
            _of_probabilities,
            recognise=_unsafe,
        ),
        Mistake(
            "no gradient",
            "The value is right, but no gradient reaches the logits: nothing would be learned.",
            lambda z, x: _bce(z.detach(), x).sum(-1).mean(),
        ),
    ),
    _nats_same,
    (
        (
            "F.binary_cross_entropy_with_logits(logits, target, reduction='none') gives the cross-entropy of "
            "every pixel."
        ),
        "Sum over the last axis, which holds the pixels, and take the mean over the rest.",
        "return F.binary_cross_entropy_with_logits(logits, target, reduction='none').sum(-1).mean()",
    ),
)

register(LSTM_CELL, TARGETS, NATS_PER_FRAME)
assign(
    Assignment(
        "08_video_lstm",
        (
            Task("video_lstm.lstm_cell", "my_lstm_cell"),
            Task("video_lstm.targets", "my_targets"),
            Task("video_lstm.nats_per_frame", "my_nats_per_frame"),
        ),
    )
)
