"""What the homework on SimCLR adds to the exercises of 01_simclr: the contrastive accuracy, a fair comparison
of temperatures,
and a probe that leaves the encoder alone."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslcourse import encoders, evaluate, runtime
from sslcourse.check.compare import number, same_number
from sslcourse.check.engine import Assignment, Exercise, Mistake, NotYet, Task, assign, by_behaviour, register
from sslcourse.check.simclr import pairs
from sslcourse.data.datasets import Data, Samples
from sslcourse.methods import simclr
from sslcourse.methods.base import Method, images_of
from sslcourse.runtime.seeds import generator
from sslcourse.train import features
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe


def _as_number(value: object, what: str) -> float:
    """A plain number or a tensor with one entry as a float; NotYet for anything else."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return number(value.reshape(()))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    kind = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    raise NotYet(what, "one number", kind)


# --------------------------------------------------------------------------------------- contrastive accuracy

NOISES = (0.2, 0.6, 1.2, 2.5)


def _noisy(noise: float, seed: int, n: int = 24, d: int = 6) -> tuple[Tensor, Tensor]:
    """Pairs that resemble each other less the more noise there is; rows of very different lengths, as a
    network gives them.
    """
    a, b = pairs(n, d, seed, 30)
    long = torch.exp(1.2 * torch.randn(2, n, 1, generator=generator(seed, 31), dtype=a.dtype))
    return a * long[0], (a + noise * b) * long[1]


def _partners_by_hand(z1: Tensor, z2: Tensor) -> float:
    z = [v / v.norm() for v in (*z1, *z2)]
    n, found = len(z1), 0
    for i in range(2 * n):
        nearest = max((k for k in range(2 * n) if k != i), key=lambda k: float(z[i] @ z[k]))
        found += nearest == (i + n) % (2 * n)
    return found / (2 * n)


def _inputs(seed: int) -> list[tuple[str, tuple[Tensor, Tensor]]]:
    """Pairs that resemble each other, pairs that are opposed, and few unrelated ones, where luck finds any
    partner.
    """
    a, b = _noisy(0.2, seed)
    noisy = [(f"24 pairs with noise {noise}", _noisy(noise, seed)) for noise in NOISES]
    return [
        *noisy,
        ("24 pairs of opposed views", (a, -b)),
        *[("4 unrelated pairs", pairs(4, 3, seed, 33, k)) for k in range(16)],
    ]


def _accuracy_properties(f: Callable, seed: int) -> None:
    what = "the share of views that find their partner"
    for name, (a, b) in _inputs(seed):
        kept = a.clone(), b.clone()
        got, expected = _as_number(f(a, b), what), _partners_by_hand(*kept)
        if not abs(got - expected) < 1e-5:
            raise NotYet(f"{what} among {name}", f"{expected:.4f}", f"{got:.4f}")
        if not (torch.equal(a, kept[0]) and torch.equal(b, kept[1])):
            raise NotYet(
                "z1 and z2 after the call (avoid operations in place on them)", "unchanged", "changed"
            )
    one = _as_number(f(*pairs(1, 4, seed, 32)), what)
    if abs(one - 1) > 1e-6:
        raise NotYet(
            "for a single pair, where the partner is the only candidate, the share", "1", f"{one:.4f}"
        )
    a, b = (z.bfloat16() for z in _noisy(0.0, seed))
    got = _as_number(f(a, b), what)
    if got < 0.99:
        raise NotYet("the share for equal vectors in half precision (bfloat16)", "1", f"{got:.4f}")


def _accuracy_same(f: Callable, g: Callable, seed: int) -> bool:
    return all(same_number(f(*pair), g(*pair), 1e-5, 1e-6) for _, pair in _inputs(seed))


def _accuracy(
    normalise: bool = True,
    lowest: float = -2.0,
    choose: Callable = lambda i, n: i.roll(n),
    nearest: Callable = torch.argmax,
    rows: Callable = lambda right, n: right,
    summary: Callable = torch.mean,
) -> Callable:
    """The accuracy with one of its steps done otherwise."""

    def wrong(z1: Tensor, z2: Tensor) -> Tensor:
        n, z = len(z1), torch.cat([z1, z2])
        z = F.normalize(z, dim=1) if normalise else z
        s = (z @ z.T).masked_fill(torch.eye(2 * n, dtype=torch.bool), lowest if normalise else float("-inf"))
        return summary(rows(nearest(s, 1) == choose(torch.arange(2 * n), n), n).double())

    return wrong


def _other_view_only(*directions: int) -> Callable:
    def wrong(z1: Tensor, z2: Tensor) -> Tensor:
        s = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T
        return torch.stack(
            [((s.T if d else s).argmax(1) == torch.arange(len(s))).double().mean() for d in directions]
        ).mean()

    return wrong


def _accuracy_picture(f: Callable, seed: int):
    from sslcourse import show

    noises = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
    curves = {
        name: [number(g(*_noisy(x, seed))) for x in noises]
        for name, g in (("target", _partners_by_hand), ("yours", f))
    }
    return show.curve(
        noises, curves, "noise between the two views", "share that find their partner", log=True
    )


CONTRASTIVE_ACCURACY = Exercise(
    "simclr.contrastive_accuracy",
    simclr.partner_found,
    _accuracy_properties,
    (
        Mistake(
            "self-similarity kept",
            "Every view is its own nearest neighbour, so no partner is ever found. Put something below -1 "
            "on the "
            "diagonal of the cosine matrix.",
            _accuracy(lowest=1.0 + 1e-6),
        ),
        Mistake(
            "no normalisation",
            (
                "The nearest neighbour is looked for by dot product, where long vectors win. Scale every row "
                "to length 1."
            ),
            _accuracy(normalise=False),
        ),
        Mistake(
            "wrong partner",
            "With torch.cat([z1, z2]) the partner of row i is row i + n, and of row i + n it is row i.",
            _accuracy(choose=lambda i, n: i.roll(1)),
            (_accuracy(choose=lambda i, n: i.roll(-1)), _accuracy(choose=lambda i, n: i ^ 1)),
        ),
        Mistake(
            "farthest for nearest",
            "You pick the view that is least similar. The nearest neighbour has the highest cosine: argmax.",
            _accuracy(lowest=2.0, nearest=torch.argmin),
        ),
        Mistake(
            "one direction only",
            "Only one of the two views looks for its partner; the mean goes over all 2n views.",
            _accuracy(rows=lambda right, n: right[:n]),
            (_accuracy(rows=lambda right, n: right[n:]),),
        ),
        Mistake(
            "only the other view as candidates",
            "Each view is compared with the n vectors of the other view only; the candidates are all "
            "2n - 1 others.",
            _other_view_only(0, 1),
            (_other_view_only(0), _other_view_only(1)),
        ),
        Mistake(
            "per cent for a share",
            "Your values go to 100; return a share from 0 to 1.",
            lambda a, b: 100 * _accuracy()(a, b),
        ),
        Mistake(
            "count for a share",
            "You count the views that found their partner; divide by all 2n of them.",
            _accuracy(summary=torch.sum),
            (_accuracy(summary=lambda right: right.sum() * 2 / len(right)),),
        ),
    ),
    _accuracy_same,
    (
        "It is the loss without the softmax: for each of the 2n views, which other view is nearest?",
        (
            "Make the (2n, 2n) cosine matrix, put -2 on its diagonal, and take argmax(1). What should it "
            "be in "
            "row i?"
        ),
        "partner = torch.arange(2 * n).roll(n); return (similarity.argmax(1) == partner).float().mean()",
    ),
    _accuracy_picture,
)


# ------------------------------------------------------------------------------------------ a fair comparison


@contextlib.contextmanager
def _plain() -> Iterator[None]:
    """Trainings inside compute on one CPU thread in float32, where equal runs give equal numbers."""
    with runtime.computing_on(runtime.Profile("cpu", 1, False, "float32")):
        yield


def compare_temperatures(data: Data, temperatures: Sequence[float], recipe: Recipe) -> list[dict]:
    """Train one SimCLR for every temperature from the same start, and score each on the validation split."""
    rows = []
    for temperature in temperatures:
        torch.manual_seed(recipe.seed)
        method = simclr.SimCLR(encoders.small_cnn(), temperature=temperature)
        last = fit(method, data.train.unlabelled(), recipe)[-1]
        rows.append(
            {
                "temperature": temperature,
                "loss": last["loss"],
                "partner found": last["partner found"],
                "kNN": evaluate.probe(method, data, linear=False)["kNN"],
            }
        )
    return rows


COLUMNS = ("temperature", "loss", "partner found", "kNN")
# of the labels below; where the pictures themselves leave no doubt
RIGHT = {"validation": 0.3, "training": 1.0, "test": 0.65}


def _two_colours(seed: int, which: int = 0, validation: float = RIGHT["validation"]) -> Data:
    """Small pictures, red or blue, so that any network tells them apart; some labels of each split are wrong
    on purpose.

    Args:
        which: of several data sets.
        validation: the share of right labels in the validation split.
    """
    parts = []
    shares = {**RIGHT, "validation": validation}
    for k, (split, n) in enumerate((("train", 128), ("validation", 60), ("test", 60))):
        g = generator(seed, 40, k, *[which] * bool(which))
        red = torch.randperm(n, generator=g) < n // 2
        image = 60 * torch.rand(n, 3, 16, 16, generator=g)
        image[:, 0] += 180 * red[:, None, None]
        image[:, 2] += 180 * ~red[:, None, None]
        right = torch.randperm(n, generator=g) < round(shares["training" if split == "train" else split] * n)
        parts.append(
            Samples(
                image.to(torch.uint8),
                (red == right).long(),
                classes=("blue", "red"),
                split=split,
                name="two colours",
            )
        )
    return Data(*parts)


def _recipe(seed: int, **changes) -> Recipe:
    return Recipe(**{**dict(epochs=1, batch_size=32, lr=3e-3, seed=seed % 1000), **changes})


def _comparison_properties(f: Callable, seed: int) -> None:
    with _plain():
        for what, expected, got, holds in _comparison(f, seed, _check_rows).values():
            if not holds:
                raise NotYet(what, expected, got)


def _check_rows(rows: object, temperatures: Sequence[float]) -> None:
    if not isinstance(rows, (list, tuple)) or not all(isinstance(r, Mapping) for r in rows):
        raise NotYet("what it returns", "a list of dicts, one for each temperature", type(rows).__name__)
    if len(rows) != len(temperatures):
        raise NotYet(f"rows for {len(temperatures)} temperatures", len(temperatures), len(rows))
    for row, temperature in zip(rows, temperatures):
        missing = [c for c in COLUMNS if c not in row]
        if missing:
            raise NotYet("the keys of a row", ", ".join(COLUMNS), ", ".join(map(str, row)))
        values = {c: _as_number(row[c], f"{c!r} of a row") for c in COLUMNS}
        if not math.isclose(values["temperature"], temperature, rel_tol=1e-6):
            raise NotYet(
                "the temperatures of the rows, in the order given", temperature, values["temperature"]
            )
        for column in ("partner found", "kNN"):
            if not 0 <= values[column] <= 1:
                raise NotYet(f"{column!r}, a share", "from 0 to 1", f"{values[column]:.4f}")


def _distance(a: Sequence[Mapping], b: Sequence[Mapping]) -> float:
    """The largest difference between the losses of two lists of rows."""
    return max(abs(number(x["loss"]) - number(y["loss"])) for x, y in zip(a, b))


def _comparison(
    f: Callable, seed: int, inspect: Callable[[Any, Sequence[float]], None]
) -> dict[str, tuple[str, str, str, bool]]:
    """Traits of a fair comparison: what is looked at, what to expect, what came, and whether that is fair."""
    data, recipe = _two_colours(seed), _recipe(seed)
    g = generator(seed, 41)
    low, high, flat = (0.1 + 0.02 * torch.rand(3, generator=g, dtype=torch.float64)).tolist()
    high, flat = 7 * high, 4e3 * flat
    share = 0.8 + 0.15 * float(torch.rand(1, generator=g))
    batch = int(torch.tensor([16, 64])[torch.randint(2, (1,), generator=g)])
    other = _two_colours(seed, 1, validation=share)

    def rows(*temperatures: float, data: Data = data, **changes) -> list[dict]:
        # fit leaves the generator where its recipe says: a call must not find it where the last one left it
        torch.rand(1)
        found = f(data, temperatures, recipe.but(**changes))
        inspect(found, temperatures)
        return found

    cold, warm = rows(low, high)
    warm_first, second, third = rows(high, low, low)
    still, still_again = rows(3 * low, 3 * low, lr=1e-12)
    (longer,) = rows(low, epochs=2)
    (elsewhere,) = rows(low, data=other)
    (level,) = rows(flat, batch_size=batch)
    shares = [number(r["partner found"]) for r in (cold, warm, longer, elsewhere, level)]
    order, equal, rest = (
        _distance((cold, warm), (second, warm_first)),
        _distance((second,), (third,)),
        _distance((still,), (still_again,)),
    )
    apart, more = _distance((cold,), (warm,)), _distance((cold,), (longer,))
    knn = number(cold["kNN"])
    split = min(RIGHT, key=lambda name: abs(RIGHT[name] - knn))
    return {
        "used": (
            f"losses at temperatures {low:.2f} and {high:.2f} differ by",
            "clearly more than 0",
            f"{apart:.6f}",
            apart > 1e-6,
        ),
        "recipe": (
            "losses after one and after two epochs of the recipe given differ by",
            "clearly more than 0",
            f"{more:.6f}",
            more > 1e-6,
        ),
        "start": (
            "a recipe that changes no weight, the same temperature twice: the losses differ by",
            "0",
            f"{rest:.4f}",
            rest < 1e-4,
        ),
        "equal": ("the same temperature twice: the losses differ by", "0", f"{equal:.4f}", equal < 1e-4),
        "order": ("temperatures in another order: the losses change by", "0", f"{order:.4f}", order < 1e-4),
        "split": (
            f"kNN where {RIGHT['validation']:.0%} of the validation labels, {RIGHT['test']:.0%} of the "
            "test labels and all training labels are "
            "right",
            f"about {RIGHT['validation']}",
            f"{knn:.2f} ({split})",
            split == "validation",
        ),
        "data": (
            "losses of trainings on two sets of pictures differ by",
            "clearly more than 0",
            f"{_distance((cold,), (elsewhere,)):.6f}",
            _distance((cold,), (elsewhere,)) > 1e-6,
        ),
        "labels": (
            f"kNN where {share:.0%} of the validation labels are right",
            f"about {share:.2f}",
            f"{number(elsewhere['kNN']):.2f}",
            abs(number(elsewhere["kNN"]) - share) < 0.1,
        ),
        "flat": (
            f"the loss of batches of {batch} at temperature {flat:.0f}, where all similarities are alike: "
            f"log({2 * batch - 1})",
            f"{math.log(2 * batch - 1):.4f}",
            f"{number(level['loss']):.4f}",
            abs(number(level["loss"]) - math.log(2 * batch - 1)) < 0.01,
        ),
        "found": (
            "different values of 'partner found' in five trainings",
            "two or more",
            f"{len(set(shares))}",
            len(set(shares)) > 1,
        ),
    }


class _TooFew(Exception):
    """Fewer rows than temperatures."""


def _one_each(rows: Sized, temperatures: Sequence[float]) -> None:
    if len(rows) != len(temperatures):
        raise _TooFew


def _comparison_behaviour(f: Callable, seed: int) -> Mapping:
    try:
        with _plain():
            traits = _comparison(f, seed, _one_each)
    except _TooFew:
        return {"rows": "not one for each temperature"}
    # What ties the numbers to the data says nothing more about a mistake, and depends on chance there.
    return {
        **{name: traits[name][-1] for name in ("used", "recipe", "start", "equal", "order", "split")},
        "which": traits["split"][2].split(" ")[-1],
    }


def _compare(
    method_for: Callable | None = None,
    seed_for: Callable = lambda i, recipe: recipe.seed,
    temperature_for: Callable = lambda t: t,
    recipe_for: Callable = lambda r: r,
    score: Callable = lambda m, data: evaluate.probe(m, data, linear=False)["kNN"],
    stop: int | None = None,
) -> Callable:
    """The comparison with one of its steps done otherwise."""

    def wrong(data: Data, temperatures: Sequence[float], recipe: Recipe) -> list[dict]:
        rows, carried = [], None
        for i, temperature in enumerate(temperatures):
            seed = seed_for(i, recipe)
            if seed is not None:
                torch.manual_seed(seed)
            if method_for is None or carried is None:
                carried = simclr.SimCLR(encoders.small_cnn(), temperature=temperature_for(temperature))
            carried.temperature = temperature_for(temperature)
            last = fit(carried, data.train.unlabelled(), recipe_for(recipe))[-1]
            rows.append(
                {
                    "temperature": temperature,
                    "loss": last["loss"],
                    "partner found": last["partner found"],
                    "kNN": score(carried, data),
                }
            )
        return rows[:stop]

    return wrong


def _on_training_split(method: nn.Module, data: Data) -> float:
    h = features.extract(method, data.train)
    return evaluate.score(h, data.train.label, h, data.train.label, classes=len(data.classes), linear=False)[
        "kNN"
    ]


def _on_test_split(method: nn.Module, data: Data) -> float:
    return evaluate.report({"it": method}, data, baselines=False)["it"]["kNN"]


COMPARE_TEMPERATURES = Exercise(
    "simclr.compare_temperatures",
    compare_temperatures,
    _comparison_properties,
    (
        Mistake(
            "returned after the first temperature",
            "Only one temperature is trained: the return stands inside the loop.",
            _compare(stop=1),
        ),
        Mistake(
            "weights carried over",
            "The second training goes on with the network of the first, so it has been trained twice as "
            "long. Build a "
            "new network for every temperature.",
            _compare(method_for=lambda: None),
        ),
        Mistake(
            "another start for each",
            "Every training starts from other random weights, so their differences may be luck. Call "
            "torch.manual_seed with the same number before you build each network.",
            _compare(seed_for=lambda i, recipe: None),
            (_compare(seed_for=lambda i, recipe: recipe.seed + i),),
        ),
        Mistake(
            "temperature not passed on",
            (
                "All rows are alike: the temperature never reaches the method. SimCLR(..., "
                "temperature=temperature)."
            ),
            _compare(temperature_for=lambda t: 0.2),
        ),
        Mistake(
            "recipe not used",
            "The recipe that is handed in changes nothing: pass it on to fit or epochs.",
            _compare(recipe_for=lambda r: r.but(epochs=1)),
        ),
        Mistake(
            "scored on the training split",
            "The score is read where the network was trained. Fit on data.train, score on data.validation: "
            "evaluate.probe(method, data) does.",
            _compare(score=_on_training_split),
        ),
        Mistake(
            "scored on the test split",
            "You compare settings by their test scores; then no honest number is left to report. Choose on "
            "data.validation.",
            _compare(score=_on_test_split),
        ),
    ),
    by_behaviour(_comparison_behaviour),
    (
        "What must be equal in all trainings, so that a difference can only come from the temperature?",
        (
            "Inside the loop: torch.manual_seed(recipe.seed), a new SimCLR with this temperature, fit on "
            "data.train.unlabelled() with the recipe."
        ),
        "last = fit(method, data.train.unlabelled(), recipe)[-1] holds 'loss' and 'partner found'; "
        "evaluate.probe(method, data, linear=False)['kNN'] scores on the validation split.",
    ),
)


# ---------------------------------------------------------------------- a probe that leaves the encoder alone

# of pictures whose blue is high: what cannot be read decides how often 'high' is right
SHARES = {"train": 0.9, "validation": 0.6, "test": 0.05}
# accuracies that give away what was scored, and how
READINGS = {"validation": 0.6, "training": 0.9, "test": 0.05, "z": 0.3, "blue seen": 1.0}


class _Reader(nn.Module):
    """A frozen encoder of which everything is known: red can be read from its features, blue cannot, green is
    noise.
    """

    dim = 12

    def __init__(self, seed: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.linear = nn.Linear(3 * 64, self.dim)
        g = generator(seed, 50)
        with torch.no_grad():
            weight = torch.zeros(self.dim, 3, 64)
            weight[:4, 0] = torch.rand(4, 1, generator=g) + 0.5
            weight[4:, 1] = torch.randn(self.dim - 4, 64, generator=g)
            self.linear.weight.copy_(weight.flatten(1) / 8)
            self.linear.bias.zero_()

    def forward(self, image: Tensor) -> Tensor:
        return self.linear(self.norm(image).flatten(1))


class _Known(Method):
    """A trained method whose features are understood to the last number; it comes in training mode, as
    networks do.
    """

    def __init__(self, seed: int, images: Tensor):
        super().__init__()
        self.f, self.g = _Reader(seed), nn.Linear(_Reader.dim, 4)
        with torch.no_grad():
            self.g.weight.copy_(
                torch.cat(
                    [torch.zeros(4, 4), torch.randn(4, _Reader.dim - 4, generator=generator(seed, 51))], 1
                )
            )
            x = images.float() / 255
            self.f.norm.get_buffer("running_mean").copy_(x.mean((0, 2, 3)))
            self.f.norm.get_buffer("running_var").copy_(x.var((0, 2, 3)))
        self.train()

    def encode(self, batch):
        x = images_of(batch)
        return self.f(x if x.is_floating_point() else x.float() / 255)


def _red_and_blue(
    seed: int, contradict: bool = False, which: int = 0, blue_in_validation: float = SHARES["validation"]
) -> Data:
    """Four classes, two bits: is red high, is blue high? `contradict` turns red round in the labels of the
    validation split; `which` is one of several data sets.
    """
    parts = []
    shares = {**SHARES, "validation": blue_in_validation}
    for k, (split, n) in enumerate((("train", 240), ("validation", 240), ("test", 120))):
        g = generator(seed, 52, k, *[which] * bool(which))
        # Few reds in the validation split: who normalises by its batches' own statistics puts the border
        # elsewhere.
        red = torch.randperm(n, generator=g) < (n // 2 if split == "train" else n // 3)
        blue = torch.randperm(n, generator=g) < round(shares[split] * n)
        level = torch.stack([70 + 90 * red, torch.full_like(red, 0, dtype=torch.long), 70 + 90 * blue], 1)[
            :, :, None, None
        ]
        image = level + torch.randint(0, 30, (n, 3, 8, 8), generator=g)
        image[:, 1] = torch.randint(0, 256, (n, 8, 8), generator=g)
        told = ~red if contradict and split == "validation" else red
        names = ("dark", "blue", "red", "purple")
        parts.append(
            Samples(
                image.to(torch.uint8),
                2 * told.long() + blue.long(),
                classes=names,
                split=split,
                name="red and blue",
            )
        )
    return Data(*parts)


def frozen_probe(method: Method, data: Data) -> float:
    """Validation accuracy of a linear classifier on the frozen features, fitted on the training split."""
    train, held = features.extract(method, data.train), features.extract(method, data.validation)
    probe = evaluate.linear_probe(train, data.train.label, classes=len(data.classes))
    return float((probe.predict(held) == data.validation.label).float().mean())


def _reading(f: Callable, seed: int) -> dict[str, tuple[str, str, str, bool]]:
    """What a probe does to an encoder of which everything is known, and which accuracy it reads."""
    # Several data sets in an order that is drawn: an answer that does not look cannot know which one comes.
    g = generator(seed, 53)
    low, high = (0.15 + 0.2 * torch.rand(2, generator=g)).tolist()
    asked = ["plain", "contradicting", "few", "many"]
    sets = {
        "plain": _red_and_blue(seed),
        "contradicting": _red_and_blue(seed, contradict=True),
        "few": _red_and_blue(seed, which=1, blue_in_validation=low),
        "many": _red_and_blue(seed, which=2, blue_in_validation=high + 0.6),
    }
    read: dict[str, float] = {}
    moved: list[str] = []
    weights: set[str] = set()
    with _plain():
        for name in [asked[i] for i in torch.randperm(len(asked), generator=g)]:
            method = _Known(seed, sets[name].train.image)
            before = {k: v.clone() for k, v in method.state_dict().items()}
            read[name] = _as_number(f(method, sets[name]), "what it returns, the accuracy")
            if name == "plain":
                weights = {k for k, _ in method.named_parameters()}
                moved = [k for k, v in method.state_dict().items() if not torch.equal(v, before[k])]
    accuracy, honest = read["plain"], read["contradicting"]
    share = accuracy / 100 if accuracy > 1.5 else accuracy
    which = min(READINGS, key=lambda name: abs(READINGS[name] - share))
    statistics = [k for k in moved if k not in weights]
    trained = [k for k in moved if k in weights]
    expected = READINGS["validation"]
    return {
        "weights": ("weights of the encoder that changed", "none", ", ".join(trained) or "none", not trained),
        "statistics": (
            "batch statistics of the encoder that changed",
            "none",
            ", ".join(statistics) or "none",
            not statistics,
        ),
        "share": ("the accuracy, a share", "from 0 to 1", f"{accuracy:.4f}", accuracy <= 1.5),
        "which": (
            "the accuracy on frozen features of which we know what can be read; on the validation split",
            f"about {expected}",
            f"{accuracy:.2f} ({which})",
            which == "validation" and abs(share - expected) < 0.1,
        ),
        "fitted": (
            "the accuracy where the validation labels contradict the training labels",
            "about 0",
            f"{honest:.2f}",
            honest < 0.2 or accuracy > 1.5,
        ),
        "follows": (
            f"the accuracies where blue is high in {low:.0%} and in {high + 0.6:.0%} of the validation split",
            f"about {low:.2f} and {high + 0.6:.2f}",
            f"{read['few']:.2f} and {read['many']:.2f}",
            accuracy > 1.5 or (abs(read["few"] - low) < 0.08 and abs(read["many"] - high - 0.6) < 0.08),
        ),
    }


def _probe_properties(f: Callable, seed: int) -> None:
    for what, expected, got, holds in _reading(f, seed).values():
        if not holds:
            raise NotYet(what, expected, got)


def _probe_behaviour(f: Callable, seed: int) -> Mapping:
    traits = _reading(f, seed)
    how = {name: holds for name, (*_, holds) in traits.items() if name not in ("which", "follows")}
    # Once an encoder was changed its accuracy says nothing more about the mistake.
    if not (how["weights"] and how["statistics"]):
        return how
    which = traits["which"][2].split("(")[1]
    if which.startswith("z"):  # red cannot be read from z: contradicting it moves the accuracy as luck has it
        del how["fitted"]
    return {**how, "which": which}


def _linear(x: Tensor, y: Tensor, held: Tensor, answer: Tensor, classes: int) -> float:
    probe = evaluate.linear_probe(x.detach(), y, classes=classes)
    return float((probe.predict(held.detach()) == answer).float().mean())


def _batch(samples: Samples) -> dict[str, Tensor]:
    return samples.batch(torch.arange(len(samples)))


def _fine_tuned(method: _Known, data: Data) -> float:
    head = nn.Linear(method.f.dim, len(data.classes))
    method.eval()
    optimizer = torch.optim.Adam([*method.parameters(), *head.parameters()], lr=0.02)
    for _ in range(60):
        loss = F.cross_entropy(head(method.encode(_batch(data.train))), data.train.label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(
        (head(method.encode(_batch(data.validation))).argmax(1) == data.validation.label).float().mean()
    )


def _in_training_mode(method: Method, data: Data) -> float:
    with torch.no_grad():
        h, held = method.encode(_batch(data.train)), method.encode(_batch(data.validation))
    return _linear(h, data.train.label, held, data.validation.label, len(data.classes))


def _scored_on_training(method: Method, data: Data) -> float:
    h = features.extract(method, data.train)
    return _linear(h, data.train.label, h, data.train.label, len(data.classes))


def _scored_on_test(method: Method, data: Data) -> float:
    return evaluate.report({"it": method}, data, baselines=False)["it"]["linear"]


def _fitted_on_validation(method: Method, data: Data) -> float:
    h = features.extract(method, data.validation)
    return _linear(h, data.validation.label, h, data.validation.label, len(data.classes))


def _on_z(method: _Known, data: Data) -> float:
    h, held = (
        features.extract(method, part, encode=lambda batch: method.g(method.encode(batch)))
        for part in (data.train, data.validation)
    )
    return _linear(h, data.train.label, held, data.validation.label, len(data.classes))


FROZEN_PROBE = Exercise(
    "simclr.frozen_probe",
    frozen_probe,
    _probe_properties,
    (
        Mistake(
            "unfrozen encoder",
            "The encoder's weights changed: that is fine-tuning. A probe trains its own linear layer only; "
            "take the "
            "features under torch.no_grad().",
            _fine_tuned,
        ),
        Mistake(
            "not in eval mode",
            "The encoder's batch statistics changed: it ran in training mode, where a picture's features "
            "depend on the "
            "other pictures in its batch. Call method.eval() first.",
            _in_training_mode,
        ),
        Mistake(
            "scored on the training split",
            "The accuracy is read where the classifier was fitted. Fit on data.train, score on "
            "data.validation.",
            _scored_on_training,
        ),
        Mistake(
            "scored on the test split",
            "The accuracy is the test split's. That split is opened once, by evaluate.report, when "
            "everything "
            "is decided; here score on data.validation.",
            _scored_on_test,
        ),
        Mistake(
            "fitted on the validation split",
            "The classifier has learned the labels that it is scored on. Fit it on data.train.",
            _fitted_on_validation,
        ),
        Mistake(
            "z for h",
            (
                "You probe z, after the projector, which has forgotten what the views change. Probe h: "
                "method.encode(batch)."
            ),
            _on_z,
        ),
        Mistake(
            "per cent for a share",
            "Your accuracy goes to 100; return a share from 0 to 1.",
            lambda m, d: 100 * frozen_probe(m, d),
        ),
    ),
    by_behaviour(_probe_behaviour),
    (
        "Which two things about the encoder must be the same after the probe as before it?",
        (
            "features.extract(method, data.train) gives h as a matrix, in eval mode and without gradients. "
            "Which labels belong to it?"
        ),
        (
            "probe = evaluate.linear_probe(h, data.train.label, classes=len(data.classes)), and "
            "probe.predict(...) on the validation split's h."
        ),
    ),
)

register(CONTRASTIVE_ACCURACY, COMPARE_TEMPERATURES, FROZEN_PROBE)
assign(
    Assignment(
        "homework_simclr",
        (
            Task("simclr.nt_xent", "nt_xent", 4),
            Task("simclr.two_views", "two_views", 2),
            Task("simclr.contrastive_accuracy", "contrastive_accuracy", 2),
            Task("simclr.compare_temperatures", "compare_temperatures", 4),
            Task("simclr.frozen_probe", "frozen_probe", 3),
        ),
        {"why_temperature": 5},
    )
)
