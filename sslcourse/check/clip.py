"""The exercises of 07_clip: the symmetric loss, and a classifier made of prompts."""

from __future__ import annotations

import math
from collections.abc import Callable

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
    zeros_for_none,
)
from sslcourse.check.engine import Assignment, Exercise, Mistake, NotYet, Task, assign, register
from sslcourse.methods import clip
from sslcourse.runtime.seeds import generator

# ----------------------------------------------------------------------------------------- the symmetric loss


def _pair(n: int, d: int, *seed: int, dtype=torch.float64) -> tuple[Tensor, Tensor]:
    g = generator(*seed)
    return torch.randn(n, d, generator=g, dtype=dtype), torch.randn(n, d, generator=g, dtype=dtype)


def _log(scale: float, dtype=torch.float64) -> Tensor:
    return torch.tensor(math.log(scale), dtype=dtype)


def _slow(image: Tensor, text: Tensor, log_scale: Tensor) -> Tensor:
    """Figure 3 of the paper, pair by pair."""
    n = len(image)
    s = (
        torch.stack([torch.stack([a @ b / (a.norm() * b.norm()) for b in text]) for a in image])
        * log_scale.exp()
    )
    terms = []
    for i in range(n):
        terms.append(-torch.log(s[i, i].exp() / s[i].exp().sum()))  # picture i among all captions
        terms.append(-torch.log(s[i, i].exp() / s[:, i].exp().sum()))  # caption i among all pictures
    return torch.stack(terms).mean()


def _inputs(n: int, d: int, scale: float, *seed: int) -> tuple[Tensor, Tensor, Tensor]:
    return (*_pair(n, d, *seed), _log(scale))


def _loss_properties(f: Callable, seed: int) -> None:
    image, text = _pair(6, 5, seed, 1)
    kept = image.clone(), text.clone()
    value = f(image, text, _log(2.0))
    expect_scalar(value)
    for scale in (2.0, 0.5, 14.3):
        expected, got = number(_slow(*kept, _log(scale))), number(f(image, text, _log(scale)))
        if not abs(got - expected) <= 1e-5 * max(1, abs(expected)):
            raise NotYet(
                f"the loss of six random pairs at scale exp(log_scale) = {scale:g}",
                f"{expected:.4f}",
                f"{got:.4f}",
            )
    if not (torch.equal(image, kept[0]) and torch.equal(text, kept[1])):
        raise NotYet(
            "image and text after the call (avoid operations in place on them)", "unchanged", "changed"
        )
    n = 3 + seed % 7
    same = torch.ones(n, 4, dtype=torch.float64)
    got = number(f(same, same, _log(3.0)))
    if abs(got - math.log(n)) > 1e-5:
        raise NotYet(f"the loss of {n} pairs of equal vectors, log n", f"{math.log(n):.4f}", f"{got:.4f}")
    inputs = _inputs(5, 4, 2.0, seed, 2)
    known = zeros_for_none(slopes(_slow, inputs), inputs)
    for name, mine, right in zip(("image", "text", "log_scale"), slopes(f, inputs), known):
        expect_gradient(f" that reaches {name}", mine, right, 1e-6)
    a, b = _pair(16, 8, seed, 3, dtype=torch.float32)
    got = number(f(a * 100, b, _log(100.0, torch.float32)))
    if not math.isfinite(got):
        raise NotYet(
            "the loss at scale 100 (use cross_entropy or logsumexp instead of exp, sum and log)",
            "a finite number",
            got,
        )


def _loss_same(f: Callable, g: Callable, seed: int) -> bool:
    for k, scale in ((4, 2.0), (5, 0.7), (6, 5.0)):
        inputs = _inputs(6, 5, scale, seed, k)
        if not same_number(f(*inputs), g(*inputs), 1e-5, 1e-7):
            return False
        if not same_gradients(slopes(f, inputs), slopes(g, inputs), 1e-4, 1e-7, none_is_zero=False):
            return False
    return True


def _logits(image: Tensor, text: Tensor, log_scale: Tensor) -> Tensor:
    return F.normalize(image, dim=1) @ F.normalize(text, dim=1).T * log_scale.exp()


def _both(logits: Tensor, shift: int = 0, reduction: str = "mean") -> Tensor:
    pair = torch.arange(len(logits)).roll(shift)
    return (
        F.cross_entropy(logits, pair, reduction=reduction)
        + F.cross_entropy(logits.T, pair, reduction=reduction)
    ) / 2


def _one_modality(image: Tensor, text: Tensor, log_scale: Tensor) -> Tensor:
    """SimCLR's loss: pictures are also compared with pictures."""
    z = F.normalize(torch.cat([image, text]), dim=1)
    logits = (z @ z.T * log_scale.exp()).masked_fill(torch.eye(len(z), dtype=torch.bool), float("-inf"))
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(image)))


def _is_multiple(*factors: Callable) -> Callable:
    def recognise(f: Callable, seed: int) -> bool:
        ratios = {
            n: number(f(*_inputs(n, 5, 2.0, seed, 8, n))) / number(_slow(*_inputs(n, 5, 2.0, seed, 8, n)))
            for n in (4, 7)
        }
        return any(
            all(math.isclose(r, factor(n), rel_tol=1e-5) for n, r in ratios.items()) for factor in factors
        )

    return recognise


def _ignores_scale(f: Callable, seed: int) -> bool:
    a, b = _pair(6, 5, seed, 9)
    return math.isclose(number(f(a, b, _log(2.0))), number(f(a, b, _log(9.0))), rel_tol=1e-6)


def _is_cut_off(f: Callable, seed: int) -> bool:
    """The value is right, the gradient of some input is not."""
    inputs = _inputs(6, 5, 2.0, seed, 10)
    if not math.isclose(number(f(*inputs)), number(_slow(*inputs)), rel_tol=1e-5):
        return False
    return not same_gradients(slopes(f, inputs), slopes(_slow, inputs), 1e-5, 1e-6, none_is_zero=False)


def _shifted(f: Callable, seed: int) -> bool:
    """Each picture is told another's caption: any shift of the pairs, in one direction or in both."""
    image, text, log_scale = _inputs(5, 4, 2.0, seed, 11)
    logits, value = _logits(image, text, log_scale), number(f(image, text, log_scale))
    ways = [F.cross_entropy(x, torch.arange(5).roll(k)) for k in range(1, 5) for x in (logits, logits.T)]
    pairs = [
        (a + b) / 2
        for a in ways
        for b in (*ways, F.cross_entropy(logits, torch.arange(5)), F.cross_entropy(logits.T, torch.arange(5)))
    ]
    return any(math.isclose(value, float(w), rel_tol=1e-6) for w in (*ways, *pairs))


LOSS = Exercise(
    "clip.symmetric_loss",
    clip.symmetric_loss,
    _loss_properties,
    (
        Mistake(
            "no normalisation",
            "The vectors are compared by their dot product; the paper's similarity is the cosine. Scale "
            "every row of "
            "both to length 1 first: F.normalize(x, dim=1).",
            lambda i, t, s: _both(i @ t.T * s.exp()),
            (
                lambda i, t, s: _both(F.normalize(i, dim=1) @ t.T * s.exp()),
                lambda i, t, s: _both(i @ F.normalize(t, dim=1).T * s.exp()),
            ),
        ),
        Mistake(
            "normalised along the wrong axis",
            "Every row is one vector and must have length 1. You scale columns: F.normalize(x, dim=1) "
            "scales rows.",
            lambda i, t, s: _both(F.normalize(i, dim=0) @ F.normalize(t, dim=0).T * s.exp()),
        ),
        Mistake(
            "one direction only",
            "Only pictures look for captions, or only captions for pictures. The paper averages both: "
            "cross_entropy of "
            "the logits and of their transpose.",
            lambda i, t, s: F.cross_entropy(_logits(i, t, s), torch.arange(len(i))),
            (lambda i, t, s: F.cross_entropy(_logits(i, t, s).T, torch.arange(len(i))),),
        ),
        Mistake(
            "the two directions are added",
            "Your value is twice the loss: the two directions are added. The paper takes their mean.",
            lambda i, t, s: 2 * _both(_logits(i, t, s)),
            (),
            _is_multiple(lambda n: 2),
        ),
        Mistake(
            "sum for mean",
            (
                "Your value is a sum over the pairs; the paper takes the mean, so that the loss does not "
                "grow "
                "with the batch."
            ),
            lambda i, t, s: _both(_logits(i, t, s), reduction="sum"),
            (),
            _is_multiple(lambda n: n, lambda n: 2 * n),
        ),
        Mistake(
            "exp forgotten",
            (
                "log_scale is the logarithm of the scale: multiply the cosines by log_scale.exp(), not by "
                "log_scale."
            ),
            lambda i, t, s: _both(F.normalize(i, dim=1) @ F.normalize(t, dim=1).T * s),
            (lambda i, t, s: _both(F.normalize(i, dim=1) @ F.normalize(t, dim=1).T / s),),
        ),
        Mistake(
            "divided by the scale",
            "exp(log_scale) is a scale, the inverse of a temperature: the cosines are multiplied by it.",
            lambda i, t, s: _both(_logits(i, t, -s)),
        ),
        Mistake(
            "no negatives",
            "You only pull the pairs together. Without the softmax over all captions nothing is pushed "
            "apart, and every "
            "vector may become the same.",
            lambda i, t, s: -_logits(i, t, s).diag().mean(),
            (
                lambda i, t, s: 1 - F.cosine_similarity(i, t).mean() + 0 * s,
                lambda i, t, s: (1 - F.cosine_similarity(i, t)).mean() * s.exp(),
            ),
        ),
        Mistake(
            "scale not used",
            "Your loss is the same for every log_scale. Multiply the cosines by its exp before the softmax.",
            lambda i, t, s: _both(_logits(i, t, 0 * s)),
            (),
            _ignores_scale,
        ),
        Mistake(
            "wrong pairs",
            (
                "The pairs are not where you look for them. Row i of image belongs to row i of text: the "
                "targets are arange(n)."
            ),
            lambda i, t, s: _both(_logits(i, t, s), 1),
            (lambda i, t, s: _both(_logits(i, t, s), -1),),
            _shifted,
        ),
        Mistake(
            "negatives of the same kind",
            "Pictures are compared with pictures too, as in SimCLR. Here the candidates of a picture are "
            "the n "
            "captions, and nothing else.",
            _one_modality,
        ),
        Mistake(
            "softmax twice",
            "F.cross_entropy takes the softmax itself; it wants the logits, not probabilities.",
            lambda i, t, s: (
                (
                    F.cross_entropy((x := _logits(i, t, s)).softmax(1), torch.arange(len(i)))
                    + F.cross_entropy(x.T.softmax(1), torch.arange(len(i)))
                )
                / 2
            ),
            (
                lambda i, t, s: (
                    (
                        F.cross_entropy((x := _logits(i, t, s)).softmax(1), torch.arange(len(i)))
                        + F.cross_entropy(x.softmax(0).T, torch.arange(len(i)))
                    )
                    / 2
                ),
            ),
        ),
        Mistake(
            "cut off",
            "The value is right but a gradient is not: a .detach(), .data, .item() or torch.no_grad() cuts "
            "it off. Both encoders "
            "and the scale must learn.",
            lambda i, t, s: _both(_logits(i, t.detach(), s)),
            (
                lambda i, t, s: _both(_logits(i.detach(), t, s)),
                lambda i, t, s: _both(_logits(i, t, s.detach())),
            ),
            _is_cut_off,
        ),
    ),
    _loss_same,
    (
        "How many choices does one picture have, and which of them is right? What about one caption?",
        "Scale the rows of both to length 1; image @ text.T is then an (n, n) table of cosines, pictures "
        "down and captions across. Multiply it "
        "by log_scale.exp().",
        (
            "pair = torch.arange(n); the mean of F.cross_entropy(logits, pair) and F.cross_entropy(logits.T, "
            "pair)."
        ),
    ),
)

# ------------------------------------------------------------------------------- a classifier made of prompts


def _scene(n: int, c: int, k: int, d: int, *seed: int) -> tuple[Tensor, Tensor]:
    """Pictures, and prompts of very different lengths: normalising matters. Some prompts of a class point
    elsewhere.
    """
    g = generator(*seed)
    prompts = torch.randn(c, 1, d, generator=g, dtype=torch.float64) + 0.8 * torch.randn(
        c, k, d, generator=g, dtype=torch.float64
    )
    prompts = prompts * torch.exp(1.2 * torch.randn(c, k, 1, generator=g, dtype=torch.float64))
    return torch.randn(n, d, generator=g, dtype=torch.float64), prompts


def _slow_classes(image: Tensor, prompts: Tensor) -> Tensor:
    weights = []
    for texts in prompts:
        mean = sum(t / t.norm() for t in texts) / len(texts)
        weights.append(mean / mean.norm())
    return torch.tensor([max(range(len(weights)), key=lambda c: float(x @ weights[c])) for x in image])


def _classify_properties(f: Callable, seed: int) -> None:
    image, prompts = _scene(60, 5, 4, 6, seed, 21)
    kept = image.clone(), prompts.clone()
    found = f(image, prompts)
    if not isinstance(found, Tensor):
        raise NotYet("what it returns", "a tensor", type(found).__name__)
    if tuple(found.shape) != (60,):
        raise NotYet(
            "one class for each picture; the shape for 60 pictures and 5 classes of 4 prompts",
            "(60,)",
            tuple(found.shape),
        )
    right = _slow_classes(*kept)
    if not torch.equal(found.double(), right.double()):
        raise NotYet(
            "classes of 60 pictures; how many agree with the paper's rule",
            60,
            int((found.double() == right.double()).sum()),
        )
    if not (torch.equal(image, kept[0]) and torch.equal(prompts, kept[1])):
        raise NotYet(
            "image and prompts after the call (avoid operations in place on them)", "unchanged", "changed"
        )
    single = prompts[:, :1]
    if not torch.equal(f(image, single).double(), _slow_classes(image, single).double()):
        raise NotYet("classes from a single prompt for each class", "the nearest prompt's", "others")


def _classify_same(f: Callable, g: Callable, seed: int) -> bool:
    for k, (n, c, p) in enumerate(((60, 5, 4), (40, 4, 3), (50, 7, 5))):
        scene = _scene(n, c, p, 6, seed, 30 + k)
        mine, theirs = f(*scene), g(*scene)
        if mine.shape != theirs.shape or not torch.allclose(
            mine.double(), theirs.double(), rtol=1e-5, atol=1e-7
        ):
            return False
    return True


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=-1)


CLASSIFY = Exercise(
    "clip.classify",
    clip.classify,
    _classify_properties,
    (
        Mistake(
            "prompts not normalised",
            "A long vector outvotes the others in the mean of a class. Scale each prompt to length 1 "
            "before you "
            "average.",
            lambda x, p: (_unit(x) @ _unit(p.mean(1)).T).argmax(1),
        ),
        Mistake(
            "mean not normalised",
            "The mean of unit vectors is shorter than 1, and shortest where the prompts disagree: that "
            "class would "
            "lose for its length. Scale the mean to length 1 again.",
            lambda x, p: (_unit(x) @ _unit(p).mean(1).T).argmax(1),
        ),
        Mistake(
            "nothing normalised",
            (
                "You compare dot products of raw means. Scale each prompt to length 1, average, and scale to "
                "length 1 again."
            ),
            lambda x, p: (_unit(x) @ p.mean(1).T).argmax(1),
        ),
        Mistake(
            "the farthest class",
            (
                "You take the least similar class: argmin, or argmax of a distance. The class with the "
                "largest "
                "cosine wins."
            ),
            lambda x, p: (_unit(x) @ _unit(_unit(p).mean(1)).T).argmin(1),
        ),
        Mistake(
            "first prompt only",
            "Only one prompt of each class takes part. The paper averages all of them.",
            lambda x, p: (_unit(x) @ _unit(p[:, 0]).T).argmax(1),
            (lambda x, p: (_unit(x) @ _unit(p[:, -1]).T).argmax(1),),
        ),
        Mistake(
            "best prompt wins",
            "Each class is judged by its best prompt alone. The paper averages the prompts' vectors first, "
            "into one "
            "classifier.",
            lambda x, p: torch.einsum("nd,ckd->nck", _unit(x), _unit(p)).amax(2).argmax(1),
        ),
        Mistake(
            "prompts for classes",
            "What you return numbers all prompts, from 0 to c·k - 1, and not the classes. Average over the "
            "prompts of "
            "a class first.",
            lambda x, p: (_unit(x) @ _unit(p.flatten(0, 1)).T).argmax(1),
        ),
        Mistake(
            "wrong axis averaged",
            (
                "You average over the classes and not over the prompts: prompts is (c, k, d), the prompts "
                "are "
                "axis 1."
            ),
            lambda x, p: (_unit(x) @ _unit(_unit(p).mean(0)).T).argmax(1),
        ),
        Mistake(
            "a picture for each class",
            "You say which picture is nearest to each class, (c,). Asked is the class of each picture: "
            "argmax "
            "over the classes.",
            lambda x, p: (_unit(x) @ _unit(_unit(p).mean(1)).T).argmax(0),
        ),
        Mistake(
            "scores for classes",
            "You return the similarities, (n, c). Asked is the number of the best class: argmax(1).",
            lambda x, p: _unit(x) @ _unit(_unit(p).mean(1)).T,
            (
                lambda x, p: (_unit(x) @ _unit(_unit(p).mean(1)).T).softmax(1),
                lambda x, p: 100 * _unit(x) @ _unit(_unit(p).mean(1)).T,
                lambda x, p: (100 * _unit(x) @ _unit(_unit(p).mean(1)).T).softmax(1),
            ),
        ),
    ),
    _classify_same,
    (
        "One vector for each class would be enough for a linear classifier. How do you make one of k "
        "prompts, so that none counts more than "
        "another?",
        "F.normalize(prompts, dim=2).mean(1) is (c, d). Is every class's vector as long as the others' now?",
        (
            "weights = F.normalize(F.normalize(prompts, dim=2).mean(1), dim=1); then the argmax over classes "
            "of image @ weights.T."
        ),
    ),
)

register(LOSS, CLASSIFY)
assign(
    Assignment(
        "07_clip", (Task("clip.symmetric_loss", "my_symmetric_loss"), Task("clip.classify", "my_classify"))
    )
)
