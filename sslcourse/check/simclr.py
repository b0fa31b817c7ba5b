"""The exercises of 01_simclr: the loss and the two views."""

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
)
from sslcourse.check.engine import Assignment, Exercise, Mistake, NotYet, Task, assign, by_behaviour, register
from sslcourse.methods import simclr
from sslcourse.runtime.seeds import generator
from sslcourse.transforms.augment import grey, simclr_view

# ---------------------------------------------------------------------------------------------- NT-Xent


def pairs(n: int, d: int, *seed: int, dtype=torch.float64) -> tuple[Tensor, Tensor]:
    """Two random views (n, d) of n images, rows of any length."""
    g = generator(*seed)
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


def _nt_xent_properties(f: Callable, seed: int) -> None:
    a, b = pairs(6, 5, seed, 1)
    kept = a.clone(), b.clone()
    value = f(a, b, 0.5)
    expect_scalar(value)
    if not torch.isfinite(value):
        hint = "look for a log of 0, a division by 0, or a view that is told to pick itself"
        raise NotYet(
            f"the loss of plain random vectors ({hint})", f"{number(_slow(*kept, 0.5)):.4f}", number(value)
        )
    for temperature in (0.5, 0.1, 2.0):
        expected, got = number(_slow(*kept, temperature)), number(f(a, b, temperature))
        if not abs(got - expected) <= 1e-5 * max(1, abs(expected)):
            raise NotYet(
                f"the loss of six random pairs at temperature {temperature}", f"{expected:.4f}", f"{got:.4f}"
            )
    if not (torch.equal(a, kept[0]) and torch.equal(b, kept[1])):
        raise NotYet("z1 and z2 after the call (avoid operations in place on them)", "unchanged", "changed")
    n = 3 + seed % 7
    same = torch.ones(n, 4, dtype=torch.float64)
    got = number(f(same, same, 0.3))
    if abs(got - math.log(2 * n - 1)) > 1e-5:
        raise NotYet(
            f"the loss of {n} pairs of equal vectors, log(2n - 1)", f"{math.log(2 * n - 1):.4f}", f"{got:.4f}"
        )
    for which in (0, 1):
        z1, z2 = pairs(5, 4, seed, 2)
        pair = z1.requires_grad_(which == 0), z2.requires_grad_(which == 1)
        (mine,) = gradients(f(*pair, 0.5), (pair[which],))
        right = torch.autograd.grad(_slow(*pair, 0.5), pair[which])[0]
        expect_gradient(f" that reaches z{which + 1}", mine, right, 1e-6)
    small, other = pairs(16, 8, seed, 3, dtype=torch.float32)
    got = f(small * 100, other, 0.01)
    if not math.isfinite(number(got)):
        raise NotYet(
            "the loss at temperature 0.01 (use cross_entropy or logsumexp instead of exp, sum and log)",
            "a finite number",
            number(got),
        )
    expected, got = number(_slow(small, other, 0.2)), number(f(small.bfloat16(), other.bfloat16(), 0.2))
    if not abs(got - expected) < 0.15:
        raise NotYet(
            "the loss of vectors in half precision (bfloat16), as they come in training",
            f"about {expected:.2f}",
            f"{got:.2f}",
        )


def _nt_xent_same(f: Callable, g: Callable, seed: int) -> bool:
    """Equal values on several inputs, and equal gradients where the first has them."""
    for k, temperature in ((4, 0.5), (5, 1.3)):
        pair = [x.requires_grad_() for x in pairs(6, 5, seed, k)]
        mine, theirs = f(*pair, temperature), g(*pair, temperature)
        if not same_number(mine, theirs, 1e-5, 1e-7):
            return False
        if mine.requires_grad and not same_gradients(
            gradients(mine, pair), gradients(theirs, pair), 1e-4, 1e-7, none_is_zero=False
        ):
            return False
    return True


def _cosines(z1: Tensor, z2: Tensor) -> Tensor:
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    return z @ z.T


def _pick(logits: Tensor, reduction: str = "mean") -> Tensor:
    """The rest of eq. 1: everybody picks the partner, and nobody itself."""
    mine = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    partner = torch.arange(len(logits), device=logits.device).roll(len(logits) // 2)
    return F.cross_entropy(logits.masked_fill(mine, float("-inf")), partner, reduction=reduction)


def _rows(f: Callable) -> Callable:
    """Only some of the 2n rows ask for their partner."""

    def wrong(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
        n, s = len(z1), _cosines(z1, z2) / temperature
        s = s.masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
        return F.cross_entropy(f(s, n), f(torch.arange(2 * n).roll(n), n))

    return wrong


def _partner(choose: Callable) -> Callable:
    """The partner of row i is looked for in row choose(rows, n)[i]."""

    def wrong(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
        n = len(z1)
        s = (_cosines(z1, z2) / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
        return F.cross_entropy(s, choose(torch.arange(2 * n), n))

    return wrong


def _self_kept(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    s = _cosines(z1, z2) / temperature
    return F.cross_entropy(s, torch.arange(len(s)).roll(len(z1)))


def _diagonal_zero(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    s = _cosines(z1, z2) / temperature
    return F.cross_entropy(s * (1 - torch.eye(len(s), dtype=s.dtype)), torch.arange(len(s)).roll(len(z1)))


def _dot_products(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    z = torch.cat([z1, z2])
    return _pick(z @ z.T / temperature)


def _wrong_axis(normalise: Callable) -> Callable:
    def wrong(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
        z = normalise(z1, z2)
        return _pick(z @ z.T / temperature)

    return wrong


def _other_view_only(*directions: int) -> Callable:
    def wrong(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
        s = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T / temperature
        target = torch.arange(len(z1))
        return torch.stack([F.cross_entropy(s.T if d else s, target) for d in directions]).mean()

    return wrong


def _without_partner(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    s = _cosines(z1, z2) / temperature
    rows = torch.arange(len(s))
    partner = rows.roll(len(z1))
    taken = torch.eye(len(s), dtype=torch.bool)
    taken[rows, partner] = True
    return (s.masked_fill(taken, float("-inf")).logsumexp(1) - s[rows, partner]).mean()


def _softmax_twice(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    s = (_cosines(z1, z2) / temperature).masked_fill(torch.eye(2 * len(z1), dtype=torch.bool), float("-inf"))
    return F.cross_entropy(s.softmax(1), torch.arange(len(s)).roll(len(z1)))


def _is_wrong_partner(f: Callable, seed: int) -> bool:
    """Three pairs leave 5 choices to each of 6 rows: does one of all 15,625 ways to be wrong give this value,
    twice?
    """
    n = 3
    # (15625, 6)
    choices = torch.stack(torch.meshgrid(*[torch.arange(5)] * 6, indexing="ij"), -1).flatten(0, -2)
    choices = choices + (choices >= torch.arange(6))  # of the 6 rows all but the own one
    fits = (choices != torch.arange(6).roll(n)).any(1)
    for k in (6, 7):
        a, b = pairs(n, 4, seed, k)
        s = _cosines(a, b) / 0.5
        everything = s.masked_fill(torch.eye(6, dtype=torch.bool), float("-inf")).logsumexp(1)
        values = (everything - s[torch.arange(6), choices]).mean(1)
        fits &= (values - number(f(a, b, 0.5))).abs() < 1e-6
    return bool(fits.any())


def _is_multiple(*factors: Callable) -> Callable:
    """Whether the loss is the right one times factor(n), one factor for all sizes."""

    def recognise(f: Callable, seed: int) -> bool:
        ratios = {}
        for n in (4, 7):
            pair = pairs(n, 5, seed, 8, n)
            ratios[n] = number(f(*pair, 0.5)) / number(_slow(*pair, 0.5))
        return any(
            all(math.isclose(r, factor(n), rel_tol=1e-5) for n, r in ratios.items()) for factor in factors
        )

    return recognise


def _ignores_temperature(f: Callable, seed: int) -> bool:
    pair = pairs(6, 5, seed, 9)
    return math.isclose(number(f(*pair, 0.1)), number(f(*pair, 2.0)), rel_tol=1e-6)


def _is_cut_off(f: Callable, seed: int) -> bool:
    """The value is right on two inputs, the gradient is not."""
    for k in (10, 11):
        z1, z2 = pairs(6, 5, seed, k)
        pair = z1.requires_grad_(), z2.requires_grad_()
        value, expected = f(*pair, 0.5), _slow(*pair, 0.5)
        if not math.isclose(number(value), number(expected), rel_tol=1e-5):
            return False
        if same_gradients(gradients(value, pair), gradients(expected, pair), 1e-5, 1e-6, none_is_zero=False):
            return False
    return True


def _pull_and_push(f: Callable, z: Tensor, temperature: float) -> Tensor:
    """(2n, 2n): how much of row j the gradient adds to row i (rows independent): negative where descent pulls
    i towards j.
    """
    z = z.clone().requires_grad_()
    value = f(*z.chunk(2), temperature)
    gradient = torch.autograd.grad(value, z, allow_unused=True)[0] if value.requires_grad else None
    return (
        torch.zeros(len(z), len(z), dtype=z.dtype)
        if gradient is None
        else gradient @ torch.linalg.inv(z.detach())
    )


def _nt_xent_picture(f: Callable, seed: int):
    """Who pulls and who pushes whom, target against yours, and the loss against the temperature."""
    from sslcourse.show import look

    n, temperatures = 4, [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]
    blur = 0.35 * torch.randn(2 * n, 2 * n, generator=generator(seed, 12), dtype=torch.float64)
    z = F.normalize(torch.eye(2 * n, dtype=torch.float64) + blur, dim=1)
    forces = {name: _pull_and_push(g, z, 0.5).numpy() for name, g in (("target", _slow), ("yours", f))}
    a, b = pairs(6, 5, seed, 1)
    curves = {
        name: [number(g(a, b, t)) for t in temperatures] for name, g in (("target", _slow), ("yours", f))
    }
    return look.in_course_style(_draw_forces)(forces, temperatures, curves)


def _draw_forces(forces: dict, temperatures: list[float], curves: dict[str, list[float]]):
    from matplotlib.patches import Rectangle

    from sslcourse import show
    from sslcourse.show import look

    figure = show.Picture(show.WIDTH, 3.4, layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.15))
    most = abs(forces["target"]).max()
    count = len(forces["target"])
    names = [f"{i + 1}{view}" for view in "ab" for i in range(count // 2)]
    for ax, (name, force) in zip(axes, forces.items()):
        shown = ax.imshow(force, cmap="RdBu_r", vmin=-most, vmax=most)
        for (i, j), value in [(at, v / most) for at, v in _entries(force) if abs(v) > 0.05 * most]:
            ax.text(
                j,
                i,
                "−" if value < 0 else "+",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if abs(value) > 0.6 else look.DARK,
            )  # fmt: skip  (a sign too: nothing is told by colour alone)
        for i in range(count):
            ax.add_patch(
                Rectangle(
                    ((i + count // 2) % count - 0.5, i - 0.5),
                    1,
                    1,
                    fill=False,
                    linewidth=1.5,
                    edgecolor="black",
                )
            )
        ax.set_xticks(range(count), names, fontsize=8)
        ax.set_yticks(range(count), names, fontsize=8)
        ax.tick_params(length=0)
        ax.set_title(name if abs(force).max() else f"{name}: no gradient", fontsize=10)
        for spine in ax.spines.values():
            spine.set_visible(False)
    axes[0].set(ylabel="how each view is moved ...", xlabel="... by each other one")
    bar = figure.colorbar(
        shown, ax=axes[:2], orientation="horizontal", fraction=0.05, pad=0.02, ticks=[-most, 0, most]
    )
    bar.ax.set_xticklabels(["− pulled together", "0", "pushed apart +"], fontsize=8)
    bar.outline.set_visible(False)
    ax = axes[2]
    for (name, values), style, mark, colour in zip(
        curves.items(), ("-", "--"), "oX", (show.COLOURS[0], show.COLOURS[4])
    ):
        ax.plot(temperatures, values, style, marker=mark, markersize=6, color=colour, label=name)
    ax.set_xscale("log")
    ax.set_xticks(temperatures, [f"{t:g}" for t in temperatures], fontsize=8)
    ax.set_xticks([], minor=True)
    ax.set_xlabel("temperature", fontsize=9)
    ax.set_title("loss of six random pairs", fontsize=10)
    ax.grid(axis="y")
    ax.legend()
    return figure


def _entries(matrix):
    return [((i, j), float(v)) for i, row in enumerate(matrix) for j, v in enumerate(row)]


NT_XENT = Exercise(
    "simclr.nt_xent",
    simclr.nt_xent,
    _nt_xent_properties,
    (
        Mistake(
            "no normalisation",
            "The vectors are compared by their dot product; the paper's similarity is the cosine. Scale "
            "every row to "
            "length 1 first: F.normalize(z, dim=1).",
            _dot_products,
        ),
        Mistake(
            "normalised along the wrong axis",
            "Every row is one vector and must have length 1. You scale columns, or the matrix as a "
            "whole: F.normalize(z, dim=1) scales rows.",
            _wrong_axis(lambda a, b: F.normalize(torch.cat([a, b]), dim=0)),
            (
                _wrong_axis(lambda a, b: torch.cat([F.normalize(a, dim=0), F.normalize(b, dim=0)])),
                _wrong_axis(lambda a, b: torch.cat([a, b]) / torch.cat([a, b]).norm()),
                _wrong_axis(lambda a, b: torch.cat([a / a.norm(), b / b.norm()])),
            ),
        ),
        Mistake(
            "self-similarity kept",
            "Every view is compared with itself too, and wins: its cosine is 1. Put -inf on the diagonal "
            "of the "
            "similarity matrix before the softmax.",
            _self_kept,
        ),
        Mistake(
            "diagonal set to 0",
            "You set the diagonal of the similarity matrix to 0, but exp(0) = 1 still takes part in the "
            "sum. It has to "
            "be -inf, whose exp is 0.",
            _diagonal_zero,
        ),
        Mistake(
            "wrong partner",
            "The positives are not where you look for them. With torch.cat([z1, z2]) the partner of row i "
            "is row i + n, "
            "and of row i + n it is row i; i + 1 would be right if the views were interleaved.",
            _partner(lambda i, n: i.roll(1)),
            (
                _partner(lambda i, n: i.roll(-1)),
                _partner(lambda i, n: i ^ 1),
                _partner(lambda i, n: i.flip(0)),
            ),
            _is_wrong_partner,
        ),
        Mistake(
            "temperature multiplied",
            "The similarities are multiplied by the temperature; they are divided by it. A low temperature "
            "must "
            "make the softmax sharper.",
            lambda a, b, t: _pick(_cosines(a, b) * t),
        ),
        Mistake(
            "temperature not used",
            "Your loss is the same at every temperature. Divide the similarities by it before the softmax.",
            lambda a, b, t: _pick(_cosines(a, b)),
            (lambda a, b, t: _pick(_cosines(a, b) / 0.5),),
            _ignores_temperature,
        ),
        Mistake(
            "sum for mean",
            "Your value is a sum over the views; the paper takes the mean over all 2n, so that the loss "
            "does not grow with "
            "the batch.",
            lambda a, b, t: _pick(_cosines(a, b) / t, "sum"),
            (lambda a, b, t: _pick(_cosines(a, b) / t, "sum") / 2,),
            _is_multiple(lambda n: 2 * n, lambda n: n),
        ),
        Mistake(
            "the two directions are added",
            "Your value is twice the loss: the means over z1 and over z2 are added. Eq. 1 divides by all 2n "
            "views: take half of that.",
            lambda a, b, t: 2 * _pick(_cosines(a, b) / t),
            (),
            _is_multiple(lambda n: 2),
        ),
        Mistake(
            "one direction only",
            "Only one of the two views looks for its partners. Eq. 1 is taken over all 2n views: z1 asks, "
            "and z2 asks "
            "too.",
            _rows(lambda x, n: x[:n]),
            (_rows(lambda x, n: x[n:]),),
        ),
        Mistake(
            "detached view",
            "The value is right but the gradient is not: a .detach(), .data, .item() or torch.no_grad() "
            "cuts off a part of "
            "it. Both views must learn.",
            lambda a, b, t: _pick(_cosines(a, b.detach()) / t),
            (
                lambda a, b, t: _pick(_cosines(a.detach(), b) / t),
                lambda a, b, t: _pick(_cosines(a.detach(), b.detach()) / t),
            ),
            _is_cut_off,
        ),
        Mistake(
            "only the other view as candidates",
            "Each view is compared with the n vectors of the other view only. In SimCLR the candidates "
            "are all 2n - 1 others: the other images' first *and* second views.",
            _other_view_only(0, 1),
            (_other_view_only(0), _other_view_only(1)),
        ),
        Mistake(
            "partner missing from the sum",
            "The denominator of eq. 1 holds all 2n - 1 others, the partner among them; in yours it is left "
            "out.",
            _without_partner,
        ),
        Mistake(
            "softmax twice",
            "F.cross_entropy takes the softmax itself; it wants the similarities, not probabilities.",
            _softmax_twice,
        ),
    ),
    _nt_xent_same,
    (
        (
            "Stack both views into one (2n, d) matrix. What must its rows look like for a dot product to "
            "be a "
            "cosine?"
        ),
        (
            "similarity = z @ z.T / temperature is (2n, 2n). Which entries must not take part? Which one in "
            "each row is the right answer?"
        ),
        (
            "Set the diagonal to -inf, make partner = torch.arange(2n).roll(n), and "
            "F.cross_entropy(similarity, partner) is the whole of eq. 1."
        ),
    ),
    _nt_xent_picture,
)


# ---------------------------------------------------------------------------------------------- the two views

COPIES, CALLS = 16, 4


def two_views(image: Tensor) -> tuple[Tensor, Tensor]:
    """Two random views of each image: crop and resize, flip, colour jitter, grey."""
    view = simclr_view(**simclr.COURSE_VIEW)
    return view(image), view(image)


def _scene(seed: int) -> Tensor:
    """Sixteen copies of one picture with a clear layout: a soft change of colour and a block, so that every
    operation shows.
    """
    g = generator(seed, 20)
    corners = 0.15 + 0.6 * torch.rand(1, 3, 3, 3, generator=g)
    picture = F.interpolate(corners, size=(32, 32), mode="bilinear", align_corners=True)[0]
    top, left = (int(v) for v in torch.randint(2, 18, (2,), generator=g))
    picture[:, top : top + 9, left : left + 9] = torch.tensor([0.9, 0.1, 0.2])[
        torch.randperm(3, generator=g), None, None
    ]
    return picture[None].repeat(COPIES, 1, 1, 1)


def _texture(seed: int) -> Tensor:
    """Sixteen copies of one grey texture, from 0.3 to 0.6: a change of colour keeps its pattern, a crop does
    not.
    """
    blocks = 0.3 + 0.3 * torch.rand(1, 1, 8, 8, generator=generator(seed, 21))
    return F.interpolate(blocks, size=(32, 32)).repeat(COPIES, 3, 1, 1)


def _differ(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().amax((1, 2, 3)) > 0.02


def _moved(view: Tensor, texture: Tensor) -> Tensor:
    """Whether the pattern of each view is another one than its texture's and the mirrored texture's."""

    def alike(x: Tensor, y: Tensor) -> Tensor:
        x, y = (grey(t).flatten(1) for t in (x, y))
        return F.cosine_similarity(x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True))

    return torch.maximum(alike(view, texture), alike(view, texture.flip(3))) < 0.9


def _counts(f: Callable, seed: int) -> dict[str, tuple[str, str, int]]:
    """What an answer does: name of the trait that a count of 0 gives it -> what is counted, what to expect,
    the count.
    """
    x, texture = _scene(seed), _texture(seed)
    first, second = f(x.clone())
    again, _ = f(x.clone())
    # shows changes of colour only
    flat = (0.2 + 0.6 * torch.rand(1, 3, 1, 1, generator=generator(seed, 22))).repeat(COPIES, 1, 32, 32)
    # Several calls: who draws once for the whole batch leaves the colours of a whole call alone now and then.
    recoloured, moved = ([v for _ in range(CALLS) for v in f(t.clone())] for t in (flat, texture))
    most, all_of = f"most of {2 * CALLS * COPIES}", f"all {COPIES}, or nearly"
    return {
        "views alike": ("pictures whose two views differ", all_of, int(_differ(first, second).sum())),
        "first untouched": (
            "first views that differ from their picture",
            all_of,
            int(_differ(first, x).sum()),
        ),
        "second untouched": (
            "second views that differ from their picture",
            all_of,
            int(_differ(second, x).sum()),
        ),
        "one for the batch": (
            "copies of one picture whose view differs from the first copy's",
            f"all other {COPIES - 1}, or nearly",
            int(_differ(first, first[:1]).sum()),
        ),
        "fixed": (
            "first views that differ when it is called again",
            all_of,
            int(_differ(first, again).sum()),
        ),
        "colours kept": (
            "views of one plain colour that change it",
            most,
            sum(int(_differ(v, flat).sum()) for v in recoloured),
        ),
        "places kept": (
            "views that show another part of their picture",
            most,
            sum(int(_moved(v, texture).sum()) for v in moved),
        ),
    }


def _stripes(seed: int, n: int = 32) -> tuple[Tensor, Tensor]:
    """Pictures (n, 3, 32, 32) of stripes in an order that is drawn, and of which kind each is: 2 x (do they
    run from top to bottom) + (are they bright on dark). No crop, mirroring or change of colour makes one kind
    out of another.
    """
    g = generator(seed, 23)
    kind = torch.randint(4, (n,), generator=g)
    period = torch.randint(7, 10, (n, 1), generator=g)
    start = torch.randint(0, 9, (n, 1), generator=g)
    line = ((torch.arange(32) + start) % period < 3).float()
    line = torch.where((kind % 2 == 1)[:, None], line, 1 - line)
    picture = torch.where((kind >= 2)[:, None, None], line[:, None, :], line[:, :, None]).expand(n, 32, 32)
    tint = 0.8 + 0.2 * torch.rand(n, 3, 1, 1, generator=g)
    return tint * (0.15 + 0.5 * picture[:, None]), kind


def _kind_of(view: Tensor) -> Tensor:
    """Which kind of stripes each view shows: by the direction in which it changes, and by whether the few or
    the many of its values are bright.
    """
    x = grey(view)[:, 0]
    upright = x.diff(dim=2).abs().mean((1, 2)) > x.diff(dim=1).abs().mean((1, 2))
    x = x.flatten(1)
    bright = (x - x.mean(1, keepdim=True)).pow(3).mean(1) > 0
    return 2 * upright.long() + bright.long()


def _smooth(seed: int) -> Tensor:
    """Pictures in which neighbours are alike: waves that run across both directions."""
    g = generator(seed, 24)
    at = torch.arange(32) / 32
    phase = 6.3 * torch.rand(COPIES, 3, 1, 1, generator=g)
    waves = torch.sin(9 * (at[:, None] + at) + phase) + torch.sin(9 * (at[:, None] - at) + phase)
    return 0.45 + 0.15 * waves


def _neighbours(view: Tensor) -> Tensor:
    """How alike neighbours are in each view: the lower of their correlations along rows and along columns."""
    found = []
    for x in (grey(view), grey(view).transpose(2, 3)):
        a, b = x[..., :-1].flatten(1), x[..., 1:].flatten(1)
        found.append(F.cosine_similarity(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)))
    return torch.minimum(*found)


def _views_of_theirs(f: Callable, seed: int) -> None:
    """NotYet unless each view shows the picture in whose place it stands, but for crop and colours."""
    striped, kind = _stripes(seed)
    smooth = _smooth(seed)
    for name, own, waves in zip(("first", "second"), f(striped.clone()), f(smooth.clone())):
        shown = _kind_of(own) == kind
        if shown.float().mean() < 0.75:
            raise NotYet(
                f"{name} views that show the picture in whose place they stand (stripes: their direction, "
                "and whether they are brighter than what is between)",
                f"nearly all of {len(kind)}",
                int(shown.sum()),
            )
        whole = _neighbours(waves) > 0.5
        if whole.float().mean() < 0.75:
            raise NotYet(
                f"{name} views of smooth pictures in which neighbouring pixels are alike",
                f"nearly all of {len(whole)}",
                int(whole.sum()),
            )


def _views_properties(f: Callable, seed: int) -> None:
    x = _scene(seed)
    given = x.clone()
    out = f(given)
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        size = f" of {len(out)}" if isinstance(out, (tuple, list)) else ""
        raise NotYet("what it returns", "two tensors: first, second", f"{type(out).__name__}{size}")
    for name, v in zip(("first", "second"), out):
        if not isinstance(v, Tensor) or v.shape != x.shape:
            shape = tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__
            raise NotYet(f"the shape of the {name} view: keep (B, 3, H, W)", tuple(x.shape), shape)
        if not v.is_floating_point() or not torch.isfinite(v).all() or v.min() < 0 or v.max() > 1:
            raise NotYet(
                f"the range of the {name} view",
                "floats between 0 and 1",
                f"{v.dtype}, {float(v.min()):.2f} to {float(v.max()):.2f}",
            )
    if not torch.equal(given, x):
        raise NotYet("the images after the call (avoid operations in place on them)", "unchanged", "changed")
    for what, expected, count in _counts(f, seed).values():
        if not count:
            raise NotYet(what, expected, count)
    _views_of_theirs(f, seed)
    coloured = int(sum((v.std(1).mean((1, 2)) > 0.02).sum() for v in out))
    if not coloured:
        raise NotYet(
            "views that are not grey (draw grey with a probability of about 0.2)",
            f"most of {2 * COPIES}",
            coloured,
        )
    bytes_ = (x * 255).round().to(torch.uint8)
    for name, v in zip(("first", "second"), f(bytes_)):
        if not v.is_floating_point() or v.min() < 0 or v.max() > 1:
            raise NotYet(
                f"the {name} view of uint8 images, as a data set holds them",
                "floats between 0 and 1",
                f"{v.dtype}, {float(v.min()):.2f} to {float(v.max()):.2f}",
            )


_views_same = by_behaviour(
    lambda f, seed: {trait: count == 0 for trait, (_, _, count) in _counts(f, seed).items()}
)


def _views_picture(f: Callable, seed: int):
    from sslcourse import show

    # one of them twice: copies must get views of their own
    images = torch.cat([_scene(seed)[:2], _scene(seed + 1)[:1]])
    columns = [images, *two_views(images), *f(images.clone())]
    titles = ["image", "target, first", "target, second", "yours, first", "yours, second"]
    return show.grid(torch.stack(columns, 1).flatten(0, 1), titles * len(images), columns=5, scale=3)


def _view(**changes) -> Callable:
    return simclr_view(**{**simclr.COURSE_VIEW, **changes})


def _twice(**changes) -> Callable:
    return lambda x: (_view(**changes)(x), _view(**changes)(x))


def _batch_view(image: Tensor) -> Tensor:
    """One set of random parameters for the whole batch, as torchvision's transforms do with a batch."""
    state = torch.get_rng_state()
    views = []
    for x in image:
        torch.set_rng_state(state)
        views.append(_view(jitter=1.0, greyscale=0)(x[None])[0])
    return torch.stack(views)


def _fixed(image: Tensor) -> tuple[Tensor, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return two_views(image)


TWO_VIEWS = Exercise(
    "simclr.two_views",
    two_views,
    _views_properties,
    (
        Mistake(
            "one view, twice",
            "Both views are the same picture. Draw twice: call the random view two times, not once.",
            lambda x: (lambda v: (v, v))(_view()(x)),
            (lambda x: (_fixed(x)[0],) * 2,),
        ),
        Mistake(
            "the image itself",
            "One of the views is the untouched image. In SimCLR both views are drawn at random.",
            lambda x: (x, _view()(x)),
        ),
        Mistake(
            "the image itself, second",
            "The second view is the untouched image. In SimCLR both views are drawn at random.",
            lambda x: (_view()(x), x),
        ),
        Mistake("nothing is drawn", "Both views are the untouched image.", lambda x: (x, x)),
        Mistake(
            "one augmentation for the whole batch",
            "All images of the batch get the same crop and the same colours. The parameters must be "
            "drawn per image; torchvision's transforms applied to a batch do not do that.",
            lambda x: (_batch_view(x), _batch_view(x)),
        ),
        Mistake(
            "always the same draw",
            "Called twice, it draws the same views: a seed is set inside the function.",
            _fixed,
        ),
        Mistake(
            "no colour distortion",
            "The views keep the colours of their image, and a colour histogram is enough to find the "
            "partner: that "
            "is the shortcut of section 3.1. Add colour jitter.",
            _twice(strength=0, hue_by=0, greyscale=0),
        ),
        Mistake(
            "no crop",
            "The views change colours only; each pixel stays where it was. Without crops a network can "
            "compare pixel by pixel: "
            "section 3.1 shows that the crop matters most. Add one: area=(0.3, 1.0).",
            _twice(area=(1.0, 1.0)),
        ),
    ),
    _views_same,
    (
        "augment.simclr_view(...) returns a function that draws one random view of a batch.",
        "Make the view function once, and call it twice on the same images.",
        (
            "view = augment.simclr_view(area=(0.3, 1.0), strength=0.5, hue_by=0.2); return view(image), "
            "view(image)"
        ),
    ),
    _views_picture,
)

register(NT_XENT, TWO_VIEWS)
assign(
    Assignment("01_simclr", (Task("simclr.nt_xent", "my_nt_xent"), Task("simclr.two_views", "my_two_views")))
)
