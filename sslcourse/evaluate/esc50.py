"""The ESC protocol: what an ear is worth for recognising sounds, by a linear machine on frozen features, fold
by fold.

1. Of every recording several crops are taken, evenly spaced.
2. The frozen ear turns each crop into a vector; each number is standardised as the training crops say.
3. A linear support vector machine (scikit-learn's `LinearSVC`, one against all others) learns the class of
   each training crop. Its cost C is the best on one held-out training fold, never on the fold that tests;
   then it learns from all training folds.
4. Its scores are averaged over the crops of a recording; the highest wins.
5. Every fold tests once. What is reported is the mean over the folds, with chance, the log-mel spectrogram
   itself and an ear that was never trained beside it.

So audio networks were compared on ESC-50 by Korbar, Tran and Torresani (AVTS, NeurIPS 2018) and Alwassel et
al. (XDC, NeurIPS 2020). ESC-50 has five folds (K. J. Piczak, ACM Multimedia 2015); any other factor makes
folds as well, such as the speaker of a spoken digit."""

from __future__ import annotations

import hashlib
import html
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sslcourse import encoders, runtime
from sslcourse.data import heard
from sslcourse.data.datasets import Data, Samples, open_labels
from sslcourse.evaluate.reports import random_like
from sslcourse.methods.base import Ear, Method
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import REAL, WHOLE, Number, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train import features, ties
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe
from sslcourse.transforms import sounds

COSTS = (0.1, 1.0, 10.0)  # of the support vector machine, for features of unit length
# of a crop: two seconds, or four fifths of a recording that is shorter than two and a half
SECONDS, SHARE = (2.0, 0.8)
MOMENTS = 8  # columns that are left of a crop's spectrogram where it is itself the feature
MAKER = "a function of (training recordings, seed) that returns an ear"

# ---------------------------------------------------------------------------------------------- crops


@explained
def crops_of(audio: Float[Tensor, "n l"], count: int, length: int) -> Float[Tensor, "n k length"]:
    """`count` crops of each recording, the first at its beginning, the last at its end. One alone is taken
    from the middle.
    """
    if not 1 <= length <= audio.shape[1]:
        raise CourseError(
            f"crops of {length} samples from recordings of {audio.shape[1]}; pass fewer seconds"
        )
    if count < 1:
        raise CourseError(f"crops={count}; take at least one of each recording")
    free = audio.shape[1] - length
    starts = torch.linspace(0, free, count).round().long().tolist() if count > 1 else [free // 2]
    return torch.stack([audio[:, start : start + length] for start in starts], 1)


@explained
def spectrum(crops: Tensor, rate: int) -> Float[Tensor, "n d"]:
    """Log-mel spectrograms as feature vectors: 32 bands, each averaged down to 8 moments. The baseline that
    needs no network.
    """
    return F.adaptive_avg_pool2d(sounds.log_mel(crops, rate), (None, MOMENTS)).flatten(1)


def _features(
    ear: nn.Module | None, audio: Tensor, rate: int, crops: int, seconds: float, block: int = 64
) -> Float[Tensor, "n k d"]:
    """Frozen features of all crops, a block of recordings at a time. ear: None for the spectrogram itself."""
    own = getattr(ear, "rate", rate)
    if own > rate:
        raise CourseError(
            f"this ear hears {own:,} samples a second, the recordings have {rate:,}: what lies above "
            f"{rate // 2:,} Hz is not in them. Train an ear for rate={rate}"
        )
    rows = []
    for part in audio.split(block):
        part = crops_of(heard.resampled(part, rate, own), crops, round(seconds * own)).flatten(0, 1)
        x = spectrum(part, own) if ear is None else features.extract(ear, Samples(audio=part, rate=own))
        if x.ndim != 2:
            raise CourseError(
                f"this ear gives features of shape {tuple(x.shape)}; a linear machine reads one vector per "
                "sound, (B, D)"
            )
        rows.append(x)
    return torch.cat(rows).unflatten(0, (len(audio), crops))


# ---------------------------------------------------------------------------------------------- the machine


@explained
def averaged(scores: Float[np.ndarray, "n k c"], classes: Int[np.ndarray, " c"]) -> Int[np.ndarray, " n"]:
    """The class of each recording: the one whose score, averaged over the crops, is highest, of equals the
    first. One crop that is very sure outvotes several.
    """
    return classes[ties.first_best(torch.from_numpy(scores.mean(1))).numpy()]


@dataclass(frozen=True)
class Machine:
    """What `linear_machine` has learned: a function from crops (M, K, D) to classes (M,).

    `scores` gives (M, classes), averaged over the crops, in the order of `classes`; `found` the accuracy, in
    which of classes with equal scores each counts by chance.
    """

    scores: Callable[[np.ndarray], np.ndarray]
    classes: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return averaged(self.scores(x)[:, None], self.classes)

    def found(self, x: np.ndarray, label: np.ndarray) -> float:
        known = np.isin(label, self.classes)  # a class that was never shown is never right
        at = np.searchsorted(self.classes, np.where(known, label, self.classes[0]))
        right = ties.found(torch.from_numpy(self.scores(x)), torch.from_numpy(at)).numpy()
        return float((right * known).mean())


def _machine(x: np.ndarray, label: np.ndarray, cost: float) -> Machine:
    """Learned from crops (N, K, D) of recordings with labels (N,)."""
    from sklearn.svm import LinearSVC

    if len(np.unique(label)) < 2:
        raise CourseError(
            f"all {len(label)} recordings to learn from have the same label; give at least two classes"
        )

    flat = x.reshape(-1, x.shape[2]).astype(np.float64)
    mean, spread = (v.numpy() for v in runtime.moments(torch.from_numpy(flat)))
    # So that one C means the same for few and for many features; a constant one becomes 0.
    scale = np.where(spread == 0, 1.0, spread) * np.sqrt(x.shape[2])
    machine = LinearSVC(C=cost, dual=False, max_iter=3000).fit(
        (flat - mean) / scale, np.repeat(label, x.shape[1])
    )

    def averages(x: np.ndarray) -> np.ndarray:
        if not np.isfinite(x).all():
            raise CourseError("the features hold NaN or infinity: the training has diverged; lower lr")
        scores = machine.decision_function((x.reshape(-1, x.shape[2]) - mean) / scale)
        # of two classes there is one score
        scores = np.stack([-scores, scores], 1) if scores.ndim == 1 else scores
        return scores.reshape(*x.shape[:2], -1).mean(1)

    return Machine(averages, machine.classes_)


@explained
def linear_machine(
    x: np.ndarray, label: np.ndarray, held: np.ndarray, costs: Sequence[float] = COSTS
) -> tuple[Machine, float]:
    """A linear support vector machine on crops, whose cost was chosen on recordings that are held out.

    Args:
        x: (N, K, D) features of the crops of the training recordings.
        label: (N,) classes.
        held: (N,) true for the recordings on which the cost is chosen; then all are learned from.
        costs: of which one is taken, the smallest of the best.

    Returns:
        A function from crops (M, K, D) to classes (M,), see `Machine`, and the cost.

    Raises:
        CourseError: features that are not numbers, labels that are missing or all the same.
    """
    if not np.isfinite(x).all():
        raise CourseError("the features hold NaN or infinity: the training has diverged; lower lr")
    if len(x) != len(label) or not len(x) or (label < 0).any():
        raise CourseError(
            f"{len(x)} recordings with {len(label)} labels, {int((label < 0).sum())} of them -1 "
            "(unlabelled); give a label for each"
        )
    right = [0.0]
    if len(costs) > 1:
        if held.all() or not held.any():
            raise CourseError(
                f"{int(held.sum())} of {len(held)} training recordings are held out to choose the cost; "
                "hold out some, and not all"
            )
        right = [_machine(x[~held], label[~held], cost).found(x[held], label[held]) for cost in costs]
    cost = costs[int(np.argmax(right))]
    return _machine(x, label, cost), cost


# ---------------------------------------------------------------------------------------------- folds


@dataclass(frozen=True)
class Fold:
    """One division: positions of the recordings that train (with those of them that choose the cost) and that
    test.
    """

    name: str
    train: np.ndarray
    held: np.ndarray  # (len(train),) bool
    test: np.ndarray


def together(data: Data | Samples, reader: str = "esc.esc") -> Samples:
    """All recordings of the three splits, with their labels. This opens the test labels: each of them tests
    once.
    """
    parts = [data] if isinstance(data, Samples) else list(data)
    if any(part.audio is None or not part.labelled for part in parts):
        raise CourseError(f"{data!r} has no sound, or no labels; the ESC protocol needs both")
    opened = [
        open_labels(part, reader) if part.split == "test" else (part.label, part.factors) for part in parts
    ]
    join = lambda columns: torch.cat([column.cpu() for column in columns])
    return Samples(
        audio=join(part.audio for part in parts),
        rate=parts[0].rate,
        label=join(label for label, _ in opened),
        classes=parts[0].classes,
        factors={key: join(factors[key] for _, factors in opened) for key in opened[0][1]},
        factor_names=parts[0].factor_names,
        extra={key: join(part.extra[key] for part in parts) for key in parts[0].extra},
        name=parts[0].name,
    )


def folds_of(samples: Samples, factor: str) -> list[Fold]:
    """One division for each value of a factor: it tests, the next value's recordings choose the cost, all
    others train.

    Raises:
        CourseError: there is no such factor, it has fewer than three values, or the folds leak (see `leaks`).
    """
    if factor not in samples.factors:
        raise CourseError(
            f"{samples.name} has no factor {factor!r} to make folds of; it has "
            f"{', '.join(samples.factors) or 'none'} (or, "
            "with folds=None, the official split)"
        )
    column = samples.factors[factor].cpu().numpy()
    values = np.unique(column)
    if not 3 <= len(values) <= len(samples) // 2:
        raise CourseError(
            f"folds={factor!r} makes {len(values)} folds of {len(samples)} recordings; three are needed: "
            "to train, to choose, to test"
        )
    if found := leaks(samples, column):
        raise CourseError(
            f"the folds of {samples.name} leak: {found[0]} ({len(found)} such pairs); put them into one fold"
        )
    names = samples.factor_names.get(factor)
    made = []
    for k, value in enumerate(values):
        train = np.flatnonzero(column != value)
        name = names[int(value)] if names and not isinstance(names, float) else f"{value:g}"
        made.append(
            Fold(
                str(name),
                train,
                column[train] == values[(k + 1) % len(values)],
                np.flatnonzero(column == value),
            )
        )
    return made


def official(data: Data) -> tuple[Samples, list[Fold]]:
    """The split that a data set came with as one division: validation chooses the cost, then both parts
    train.
    """
    samples = together(data)
    n, held = len(data.train), len(data.validation)
    if found := leaks(samples, np.arange(len(samples)) >= n + held):
        raise CourseError(f"the test split of {samples.name} leaks: {found[0]}; leave one of the two out")
    return samples, [
        Fold("official", np.arange(n + held), np.arange(n + held) >= n, np.arange(n + held, len(samples)))
    ]


@explained
def leaks(samples: Samples, fold: np.ndarray) -> list[str]:
    """Recordings that are the same, or come from the same source (the extra `source`), and stand in two
    folds; in words.

    Args:
        fold: (N,) in which fold each recording is.
    """
    found: list[str] = []
    first: dict[tuple[str, bytes | int], int] = {}
    source = samples.extra.get("source")
    for i, row in enumerate(samples.sound()[0].cpu().numpy()):
        keys: list[tuple[str, bytes | int]] = (
            [("is the same sound as", hashlib.blake2b(row.tobytes(), digest_size=16).digest())]
            if row.any()
            else []
        )  # silence is silence
        keys += [] if source is None else [("comes from the same source as", int(source[i]))]
        for what, key in keys:
            j = first.setdefault((what, key), i)
            if fold[i] != fold[j]:
                found.append(f"recording {i} {what} recording {j}")
    return found


# ------------------------------------------------------------------------------------ ears to compare


def random_ear(encoder: Callable[[], nn.Module] = encoders.small_mel) -> Callable[[Samples, int], Ear]:
    """An ear that was never trained: random weights, batch statistics of the training recordings."""

    def make(train: Samples, seed: int) -> Ear:
        return random_like(Ear(encoder(), train.sound()[1]), train, seed)

    return make


def random_as(ear: nn.Module) -> Callable[[Samples, int], nn.Module]:
    """What an ear was before it learned anything: its network and its rate, random weights, batch statistics
    of the training recordings.
    """

    def make(train: Samples, seed: int) -> nn.Module:
        audio, rate = train.sound()
        own = getattr(ear, "rate", rate)
        return random_like(ear, Samples(audio=heard.resampled(audio, rate, own), rate=own), seed)

    return make


RECIPE = Recipe(epochs=12, batch_size=64, lr=3e-3)


@takes(share=Number(0, 1.0, whole=False))
def supervised_ear(
    encoder: Callable[[], nn.Module] = encoders.small_mel, recipe: Recipe = RECIPE, share: float = SHARE
) -> Callable[[Samples, int], Ear]:
    """The yardstick: an ear trained from end to end with the labels of the training folds, on crops and with
    SpecAugment's masks.

    Args:
        share: of a recording, the length of a crop.
    """

    def make(train: Samples, seed: int) -> Ear:
        torch.manual_seed(runtime.step_seed(seed, 0x5EA))
        audio, rate = train.sound()
        method = HeardWithLabels(encoder(), rate, len(train.classes), round(share * audio.shape[1]))
        fit(method, train, recipe.but(seed=seed))
        return method.ear.eval()

    return make


class HeardWithLabels(Method):
    """Cross-entropy on the labels of sounds. Like `Supervised`, no paper's claim, but every table needs the
    row.

    Args:
        encoder: from log-mel spectrograms to vectors.
        rate: samples per second.
        classes: how many labels there are.
        length: samples of the crop that a step sees of each recording, at a random place.
    """

    def __init__(self, encoder: nn.Module, rate: int, classes: int, length: int):
        super().__init__()
        self.ear, self.head, self.length = (
            Ear(encoder, rate),
            nn.Linear(encoders.images.dim_of(encoder), classes),
            length,
        )

    def views(self, batch):
        audio = batch["audio"]
        start = torch.randint(0, audio.shape[1] - self.length + 1, (len(audio), 1), device=audio.device)
        crop = audio.gather(1, start + torch.arange(self.length, device=audio.device))  # (B, length)
        return {"logmel": sounds.masked(self.ear.logmel({"audio": crop}))}

    def loss(self, batch):
        logits = self.head(self.ear.f(self.views(batch)["logmel"]))  # (B, classes)
        right = ties.found(logits, batch["label"]).mean()
        return F.cross_entropy(logits.float(), batch["label"]), {"accuracy": right}

    def encode(self, batch):
        return self.ear.encode(batch)


# ---------------------------------------------------------------------------------------------- the protocol


@dataclass
class Scores:
    """Accuracies by kind of feature, seed and fold, with the protocol under which they were read."""

    rows: list[dict]  # features, accuracy (S lists of F shares), cost (the same), dim, seconds
    folds: tuple[str, ...]
    data: str
    protocol: str
    readings: int  # how often this test split has been opened, this call included

    def __getitem__(self, name: str) -> dict:
        for row in self.rows:
            if row["features"] == name:
                return row
        raise KeyError(f"{name!r}; there are {', '.join(r['features'] for r in self.rows)}")

    def mean(self, name: str) -> float:
        """Over folds and seeds."""
        return float(np.mean(self[name]["accuracy"]))

    def table(self) -> list[dict]:
        """Rows of text: the mean in per cent, the standard deviation over folds (of means over seeds) and
        over seeds (of means over folds), every fold, the costs that were chosen, and the seconds of all folds
        and seeds."""
        per_cent = lambda share: f"{100 * share:.1f}"
        spread = lambda values: f"{100 * statistics.stdev(values):.1f}" if len(values) > 1 else "–"
        rows = []
        for row in self.rows:
            x = np.array(row["accuracy"])  # (S, F)
            each = {name: per_cent(v) for name, v in zip(self.folds, x.mean(0)) if len(self.folds) > 1}
            rows.append(
                {
                    "features": row["features"],
                    "dim": row["dim"] or "–",
                    "accuracy": per_cent(x.mean()),
                    "± folds": spread(x.mean(0).tolist()),
                    "± seeds": spread(x.mean(1).tolist()),
                    **each,
                    "C": " ".join(f"{c:g}" for c in sorted({c for one in row["cost"] for c in one})) or "–",
                    "seconds": f"{row['seconds']:.0f}",
                }
            )
        return rows

    def _heading(self) -> str:
        again = (
            f" (test labels opened {self.readings} times: a score chosen among several readings is no test "
            "score)"
        ) * (self.readings > 1)
        return f"{self.data}{again}; {self.protocol}"

    def __repr__(self):
        rows = self.table()
        width = {key: max(len(key), *(len(str(row[key])) for row in rows)) for key in rows[0]}
        line = lambda row: "  ".join(
            f"{row[k]!s:<{w}}" if k == "features" else f"{row[k]!s:>{w}}" for k, w in width.items()
        )
        return "\n".join([self._heading(), line({key: key for key in width}), *map(line, rows)])

    def _repr_html_(self):
        rows = self.table()
        cells = lambda values, tag: (
            "<tr>" + "".join(f"<{tag}>{html.escape(str(value))}</{tag}>" for value in values) + "</tr>"
        )
        body = "".join(cells(row.values(), "td") for row in rows)
        return (
            "<table><caption "
            f"style='text-align:left'>{html.escape(self._heading())}</caption>"
            f"{cells(rows[0], 'th')}{body}</table>"
        )


@takes(crops=WHOLE, seconds=REAL, seeds=Number(1, 1000))
def esc(
    ears: Mapping[str, nn.Module | Callable] | nn.Module | None,
    data: Data | Samples,
    *,
    folds: str | None = "fold",
    crops: int = 10,
    seconds: float | None = None,
    costs: Sequence[float] = COSTS,
    seeds: int = 1,
    baselines: bool = True,
    say: Callable[[str], object] = lambda text: None,
) -> Scores:
    """The ESC protocol, see the text of this module.

    Args:
        ears: by name, frozen modules with `encode(batch)` (such as `method.ear`), or functions of (training
            recordings, seed) that make one for each fold, such as `supervised_ear()`: then nothing of the
            fold that tests has a part in it. A single module does.
        data: with sound and labels.
        folds: the factor whose values are the folds, or None for the official split of `data` as the only
            one.
        crops: of each recording.
        seconds: of a crop; two by default, or four fifths of recordings shorter than two and a half seconds.
        costs: candidates for the cost of the machine.
        seeds: how many for the ears that are made, random ones among them; frozen ones are judged once.
        baselines: chance, the log-mel spectrogram, a random ear, and one more for each other way of hearing
            among the ears.
        say: is told about each row.

    Raises:
        CourseError: folds that leak or are too few, an ear that hears more than the recordings hold, features
            that are no vectors.
        SealedLabels: while a training is under way.
    """
    ears = {} if ears is None else {type(ears).__name__: ears} if isinstance(ears, nn.Module) else dict(ears)
    if not ears and not baselines:
        raise CourseError('nothing to judge; pass ears={"AVTS": method.ear}')
    if folds is None:
        if not isinstance(data, Data):
            raise CourseError(
                "the official split needs data with three splits; pass folds= and a factor, such as "
                "folds='speaker'"
            )
        samples, divisions = official(data)
    else:
        samples = together(data)
        divisions = folds_of(samples, folds)
    audio, rate = samples.sound()
    length = audio.shape[1] / rate
    seconds = min(SECONDS, SHARE * length) if seconds is None else seconds
    label = samples.label.numpy()
    for fold in divisions:
        if missing := sorted({*label[fold.test].tolist()} - {*label[fold.train].tolist()}):
            raise CourseError(
                f"fold {fold.name}: {samples.classes[missing[0]]!r} is tested and stands in no training fold"
            )
    rows = []

    def add(name: str, ear, seeds: int) -> None:
        start, fixed = time.perf_counter(), isinstance(ear, nn.Module) or ear is None
        accuracy: list[list[float]] = []  # of every seed, of every fold
        cost: list[list[float]] = []
        if fixed:
            x = _features(ear, audio, rate, crops, seconds).numpy()
        for seed in range(seeds):
            accuracy.append([])
            cost.append([])
            for fold in divisions:
                if not fixed:
                    made = ear(samples.take(fold.train), seed)
                    if not isinstance(made, nn.Module):
                        raise CourseError(
                            f"{name}: {type(made).__name__} is no ear; pass {MAKER}, or a module"
                        )
                    x = _features(made, audio, rate, crops, seconds).numpy()
                predict, chosen = linear_machine(x[fold.train], label[fold.train], fold.held, costs)
                accuracy[-1].append(predict.found(x[fold.test], label[fold.test]))
                cost[-1].append(chosen)
        rows.append(
            {
                "features": name,
                "accuracy": accuracy,
                "cost": cost,
                "dim": x.shape[2],
                "seconds": time.perf_counter() - start,
            }
        )
        say(f"{name}: {100 * np.mean(accuracy):.1f}, {rows[-1]['seconds']:.0f} s")

    if baselines:
        # The commonest class of those that train, of several equally common ones each as likely.
        counts = [torch.from_numpy(np.bincount(label[f.train], minlength=label.max() + 1)) for f in divisions]
        chance = [
            float(ties.found(count.expand(len(f.test), -1), torch.from_numpy(label[f.test])).mean())
            for count, f in zip(counts, divisions)
        ]
        rows.append(
            {
                "features": "chance",
                "accuracy": [chance],
                "cost": [],
                "dim": 0,
                "seconds": 0.0,
            }
        )
        add("log-mel", None, 1)
        add("random ear", random_ear(), seeds)
        known = {(rate, repr(encoders.small_mel()))}
        for name, ear in ears.items():  # another network, or fewer samples a second: a random row of its own
            if isinstance(ear, nn.Module) and isinstance(getattr(ear, "f", None), nn.Module):
                reading = getattr(ear, "rate", rate), repr(ear.f)
                if reading not in known:
                    add(f"random ear, as {name} reads", random_as(ear), seeds)
                known.add(reading)
    for name, ear in ears.items():
        add(name, ear, 1 if isinstance(ear, nn.Module) else seeds)
    what = f"{len(divisions)} folds by {folds}" if folds is not None else "official split"
    chosen = (
        (
            f"C of {', '.join(f'{c:g}' for c in costs)} on "
            f"{'the next fold' if folds is not None else 'the validation split'}"
        )
        if len(costs) > 1
        else f"C={costs[0]:g}"
    )
    protocol = f"{what}, {crops} crops of {seconds:.2g} s, linear SVM ({chosen}), scores averaged over crops"
    readings = 1 if isinstance(data, Samples) else len(data.test.openings)
    return Scores(rows, tuple(fold.name for fold in divisions), samples.name, protocol, readings)
