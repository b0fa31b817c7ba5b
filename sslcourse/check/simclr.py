"""The exercises of 01_simclr: the loss and the two views."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse.augment import simclr_view
from sslcourse.check.engine import Exercise, Mistake, NotYet, by_behaviour, register
from sslcourse.methods import simclr

# ---------------------------------------------------------------------------------------------- NT-Xent


def _pair(n: int = 6, d: int = 5, seed: int = 0, dtype=torch.float64) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=dtype), torch.randn(n, d, generator=g, dtype=dtype)


def _slow(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Eq. 1 of the paper, term by term."""
    z = [v / v.norm() for v in (*z1, *z2)]
    n = len(z1)
    terms = []
    for i in range(2 * n):
        positive = torch.exp(z[i] @ z[(i + n) % (2 * n)] / temperature)
        everything = sum(torch.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i)
        terms.append(-torch.log(positive / everything))
    return torch.stack(terms).mean()


def _nt_xent_properties(f: Callable) -> None:
    a, b = _pair()
    value = f(a, b, 0.5)
    if not isinstance(value, Tensor):
        raise NotYet(f"it returns {type(value).__name__}; return a tensor, so that gradients can flow")
    if value.ndim:
        raise NotYet(f"it returns a tensor of shape {tuple(value.shape)}; the loss is one number, a tensor of shape ()")
    if not torch.isfinite(value):
        raise NotYet(f"for plain random vectors the loss is {float(value)}; look for a log of 0 or a division by 0")
    for temperature in (0.5, 0.1, 2.0):
        expected, value = float(_slow(a, b, temperature)), float(f(a, b, temperature))
        if abs(value - expected) > 1e-5 * max(1, abs(expected)):
            raise NotYet(f"for six random pairs at temperature {temperature} the loss should be {expected:.4f}, yours is {value:.4f}")
    same = torch.ones(8, 4, dtype=torch.float64)
    if abs(float(f(same, same, 0.3)) - math.log(15)) > 1e-5:
        raise NotYet(f"when all vectors are equal the loss is log(2n - 1) = {math.log(15):.4f} for n = 8; yours is {float(f(same, same, 0.3)):.4f}")
    for which in (0, 1):
        pair = [x.clone().requires_grad_(i == which) for i, x in enumerate(_pair(seed=1))]
        value = f(*pair, 0.5)
        gradient = torch.autograd.grad(value, pair[which], allow_unused=True)[0] if value.requires_grad else None
        expected = torch.autograd.grad(_slow(*pair, 0.5), pair[which])[0]
        if gradient is None or not torch.allclose(gradient, expected, atol=1e-6):
            raise NotYet(f"the value is right but the gradient with respect to z{which + 1} is not: does every step stay a tensor operation?")
    small, other = _pair(16, 8, dtype=torch.float32)
    if not torch.isfinite(f(small * 100, other, 0.01)):
        raise NotYet("at temperature 0.01 the loss is not finite: use cross_entropy or logsumexp instead of exp, sum and log")


def _nt_xent_same(f: Callable, g: Callable) -> bool:
    """Equal values on several inputs, and equal gradients."""
    for seed, temperature in ((0, 0.5), (2, 1.3)):
        pair = [x.requires_grad_() for x in _pair(seed=seed)]
        mine, theirs = f(*pair, temperature), g(*pair, temperature)
        if not torch.allclose(mine.double(), theirs.double(), rtol=1e-5, atol=1e-7):
            return False
        slopes = [torch.autograd.grad(v, pair, allow_unused=True) for v in (mine, theirs)]
        for x, y in zip(*slopes):
            if (x is None) != (y is None) or (x is not None and not torch.allclose(x, y, rtol=1e-4, atol=1e-7)):
                return False
    return True


def _variant(normalise=True, mask=True, shift=None, multiply=False, reduction="mean", one_direction=False, detach=False):
    def wrong(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
        n = len(z1)
        z = torch.cat([z1, z2.detach() if detach else z2])
        z = F.normalize(z, dim=1) if normalise else z
        s = z @ z.T * temperature if multiply else z @ z.T / temperature
        if mask:
            s = s.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=z.device), float("-inf"))
        partner = torch.arange(2 * n, device=z.device).roll(n if shift is None else shift)
        if one_direction:
            s, partner = s[:n], partner[:n]
        return F.cross_entropy(s, partner, reduction=reduction)

    return wrong


def _only_the_other_view(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    s = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T / temperature
    target = torch.arange(len(z1), device=z1.device)
    return (F.cross_entropy(s, target) + F.cross_entropy(s.T, target)) / 2


NT_XENT = Exercise(
    "simclr.nt_xent",
    simclr.nt_xent,
    _nt_xent_properties,
    (
        Mistake("no normalisation", "The vectors are compared by their dot product; the paper's similarity is the cosine. Scale every row to "
                "length 1 first: F.normalize(z, dim=1).", _variant(normalise=False)),
        Mistake("self-similarity kept", "Every view is compared with itself too, and wins: its cosine is 1. Put -inf on the diagonal of the "
                "similarity matrix before the softmax.", _variant(mask=False)),
        Mistake("wrong partner", "The positives are not where you look for them. With torch.cat([z1, z2]) the partner of row i is row i + n, "
                "and of row i + n it is row i; i + 1 would be right if the views were interleaved.", _variant(shift=1)),
        Mistake("temperature multiplied", "The similarities are multiplied by the temperature; they are divided by it. A low temperature must "
                "make the softmax sharper.", _variant(multiply=True)),
        Mistake("sum for mean", "Your value is the sum over the 2n views; the paper takes the mean, so that the loss does not grow with the "
                "batch.", _variant(reduction="sum")),
        Mistake("one direction only", "Only the views in z1 look for their partners. Eq. 1 is taken over all 2n views: z2 asks too.",
                _variant(one_direction=True)),
        Mistake("detached view", "The value is right but no gradient flows into z2: a .detach(), .data, .item() or torch.no_grad() cuts it off.",
                _variant(detach=True)),
        Mistake("only the other view as candidates", "Each view is compared with the n vectors of the other view only. In SimCLR the candidates "
                "are all 2n - 1 others: the other images' first *and* second views.", _only_the_other_view),
    ),
    _nt_xent_same,
    (
        "Stack both views into one (2n, d) matrix. What must its rows look like for a dot product to be a cosine?",
        "similarity = z @ z.T / temperature is (2n, 2n). Which entries must not take part? Which one in each row is the right answer?",
        "Set the diagonal to -inf, make partner = torch.arange(2n).roll(n), and F.cross_entropy(similarity, partner) is the whole of eq. 1.",
    ),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------- the two views


def two_views(image: Tensor) -> tuple[Tensor, Tensor]:
    """Two random views of each image: crop and resize, flip, colour jitter, grey."""
    view = simclr_view(**simclr.COURSE_VIEW)
    return view(image), view(image)


def _scene() -> Tensor:
    """Sixteen copies of one picture with a clear layout: a colour gradient and a block, so that every operation shows."""
    axis = torch.linspace(0.1, 0.9, 32)
    picture = torch.stack([axis[None, :].expand(32, 32), axis[:, None].expand(32, 32), torch.full((32, 32), 0.3)])
    picture[:, 4:12, 6:14] = torch.tensor([0.9, 0.1, 0.2])[:, None, None]
    return picture[None].repeat(16, 1, 1, 1)


def _far(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().amax((1, 2, 3)) > 0.02


def _traits(f: Callable) -> dict[str, bool]:
    """What an answer does, as yes-or-no traits; each mistake is a pattern of them."""
    x = _scene()
    first, second = f(x.clone())
    again, _ = f(x.clone())
    flat = torch.tensor([0.8, 0.4, 0.2]).view(1, 3, 1, 1).expand(16, 3, 32, 32).clone()  # only a change of colour shows on it
    recoloured = f(flat)
    return {
        "views alike": not bool(_far(first, second).any()),
        "first untouched": not bool(_far(first, x).any()),
        "second untouched": not bool(_far(second, x).any()),
        "one for the batch": not bool(_far(first, first[:1]).any()),
        "fixed": torch.equal(first, again),
        "colours kept": not bool(torch.cat([_far(v, flat) for v in recoloured]).any()),
    }


def _views_properties(f: Callable) -> None:
    x = _scene()
    out = f(x.clone())
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        raise NotYet(f"it returns {type(out).__name__}; return two tensors: first, second")
    for name, v in zip(("first", "second"), out):
        if not isinstance(v, Tensor) or v.shape != x.shape:
            raise NotYet(f"the {name} view has shape {tuple(getattr(v, 'shape', ()))}; keep (B, 3, H, W) = {tuple(x.shape)}")
        if not torch.isfinite(v).all() or v.min() < 0 or v.max() > 1:
            raise NotYet(f"the {name} view ranges from {float(v.min()):.2f} to {float(v.max()):.2f}; views stay between 0 and 1")
    traits = _traits(f)
    wrong = [name for name, found in traits.items() if found]
    if wrong:
        raise NotYet(f"a property of random views does not hold: {', '.join(wrong)}")
    if not bool((out[0].std(1).mean((1, 2)) > 0.02).any()):
        raise NotYet("every view is grey; draw grey with a probability of about 0.2")


_views_same = by_behaviour(lambda f, seed: _traits(f))


def _batch_view(image: Tensor) -> Tensor:
    """One set of random parameters for the whole batch, as torchvision's transforms do with a batch tensor."""
    state = torch.get_rng_state()
    views = []
    for x in image:
        torch.set_rng_state(state)
        views.append(_view()(x[None])[0])
    torch.rand(1)
    return torch.stack(views)


def _view(**changes) -> Callable:
    return simclr_view(**{**simclr.COURSE_VIEW, **changes})


def _fixed(image: Tensor) -> tuple[Tensor, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return two_views(image)


TWO_VIEWS = Exercise(
    "simclr.two_views",
    two_views,
    _views_properties,
    (
        Mistake("one view, twice", "Both views are the same picture. Draw twice: call the random view two times, not once.",
                lambda x: (lambda v: (v, v))(_view()(x))),
        Mistake("the image itself", "One of the views is the untouched image. In SimCLR both views are drawn at random.",
                lambda x: (x, _view()(x))),
        Mistake("the image itself, second", "The second view is the untouched image. In SimCLR both views are drawn at random.",
                lambda x: (_view()(x), x)),
        Mistake("nothing is drawn", "Both views are the untouched image.", lambda x: (x, x)),
        Mistake("one augmentation for the whole batch", "All images of the batch get the same crop and the same colours. The parameters must be "
                "drawn per image; torchvision's transforms applied to a batch do not do that.", lambda x: (_batch_view(x), _batch_view(x))),
        Mistake("always the same draw", "Called twice, it draws the same views: a seed is set inside the function.", _fixed),
        Mistake("no colour distortion", "The views keep the colours of their image, and a colour histogram is enough to find the partner: that "
                "is the shortcut of section 3.1. Add colour jitter.",
                lambda x: tuple(_view(strength=0, hue_by=0, greyscale=0)(x) for _ in range(2))),
    ),
    _views_same,
    (
        "augment.simclr_view(...) returns a function that draws one random view of a batch.",
        "Make the view function once, and call it twice on the same images.",
        "view = augment.simclr_view(area=(0.3, 1.0), strength=0.5, hue_by=0.2); return view(image), view(image)",
    ),
)  # fmt: skip

register(NT_XENT, TWO_VIEWS)
