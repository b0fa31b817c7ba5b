"""Each paper's claims as functions: an effect per seed, and from several seeds a verdict.

A claim is written so that its effect is positive where the paper is right. The verdict is

    pass           the 95 % confidence interval of the mean effect (Student's t over seeds) lies above 0
    fail           it lies below 0
    inconclusive   it holds 0, or there is only one seed

All numbers are read on the test split, once per seed, with settings that were fixed before the first run.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from sslcourse import augment, checkpoints, common, encoders, evaluate, features
from sslcourse.common import CourseError
from sslcourse.data import toybox
from sslcourse.data.datasets import Data, open_labels
from sslcourse.methods import simclr
from sslcourse.train import Recipe, fit


@dataclass(frozen=True)
class Claim:
    """What a paper says, where, and the effect that decides it.

    `effect` takes the results of one seed (name of a run -> its numbers) and returns a number in units of `unit`.
    """

    name: str
    text: str
    source: str
    effect: Callable[[dict[str, dict[str, float]]], float]
    unit: str = "accuracy"


@dataclass(frozen=True)
class Verdict:
    claim: str
    text: str
    source: str
    effects: tuple[float, ...]
    unit: str = "accuracy"

    @property
    def mean(self) -> float:
        return statistics.fmean(self.effects)

    @property
    def spread(self) -> float:
        """Standard deviation over seeds; 0 for one seed."""
        return statistics.stdev(self.effects) if len(self.effects) > 1 else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the mean."""
        n = len(self.effects)
        if n < 2:
            return float("-inf"), float("inf")
        from scipy.stats import t

        half = float(t.ppf(0.975, n - 1)) * self.spread / n**0.5
        return self.mean - half, self.mean + half

    @property
    def verdict(self) -> str:
        low, high = self.interval
        return "pass" if low > 0 else "fail" if high < 0 else "inconclusive"

    def row(self) -> dict:
        """For a table: claim, effect with its spread and interval, verdict."""
        low, high = self.interval
        return {"claim": self.text, "source": self.source, "effect": f"{self.mean:+.3f} ± {self.spread:.3f}",
                "95 % interval": f"{low:+.3f} to {high:+.3f}" if len(self.effects) > 1 else "one seed", "seeds": len(self.effects),
                "verdict": self.verdict}  # fmt: skip


# ---------------------------------------------------------------------------------------------- SimCLR

# Six passes: short enough for nine runs a seed, long enough that the order of the variants no longer changes.
SIMCLR_RECIPE = simclr.COURSE.but(epochs=6)
_VIEW = simclr.COURSE_VIEW


def in_groups(loss, images: int):
    """The same loss within groups of so many images of a batch: fewer negatives, everything else alike.

    Batch, updates, learning rate and batch statistics stay what they are, so only the number of negatives differs.
    """

    def grouped(z1, z2, temperature):
        return torch.stack([loss(a, b, temperature) for a, b in zip(z1.split(images), z2.split(images))]).mean()

    return grouped


def _rotations(samples_image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    turned = torch.cat([samples_image.rot90(k, (2, 3)) for k in range(4)])
    return turned, torch.arange(4).repeat_interleave(len(samples_image))


def _turn_accuracy(method, encode, data: Data) -> float:
    """How well a linear probe tells by how much a picture was turned (0, 90, 180, 270 degrees): table 3 of the paper."""
    from sslcourse.data.datasets import Samples

    parts = []
    for image in (data.train.image[:1500], data.test.image[:500]):  # needs pictures, not labels
        turned, label = _rotations(image)
        parts.append((features.extract(method, Samples(turned, label), encode=encode), label))
    (train_x, train_y), (x, y) = parts
    fitted = evaluate.linear_probe(train_x, train_y, classes=4, penalties=(1e-3,))
    return float((fitted.predict(x) == y).float().mean())


def simclr_runs(seed: int, data: Data | None = None, recipe: Recipe = SIMCLR_RECIPE, say=print) -> dict[str, dict[str, float]]:
    """Train all variants that the claims of SimCLR compare. About half a minute each on one thread, nine of them."""
    data = data or toybox.images()
    label, train_label = open_labels(data.test, "claims.simclr")[0], data.train.label
    view = augment.simclr_view
    variants: dict[str, tuple[dict, Recipe]] = {
        "crop + colour": ({}, recipe),
        "crop": (dict(view=view(area=_VIEW["area"], strength=0, hue_by=0, greyscale=0)), recipe),
        "colour": (dict(view=view(area=(1, 1), strength=_VIEW["strength"], hue_by=_VIEW["hue_by"])), recipe),
        "linear head": (dict(head="linear"), recipe),
        "no head": (dict(head="none"), recipe),
        "temperature 0.02": (dict(temperature=0.02), recipe),
        "temperature 2": (dict(temperature=2.0), recipe),
        "30 negatives": (dict(loss=in_groups(simclr.nt_xent, 16)), recipe),
        "batch 32": ({}, recipe.but(batch_size=recipe.batch_size // 4, lr=recipe.lr / 2)),  # square-root scaling, appendix B.1
    }  # fmt: skip
    results: dict[str, dict[str, float]] = {}
    for name, (arguments, how) in variants.items():
        start = time.perf_counter()
        torch.manual_seed(common.step_seed(seed, 0xC1A))
        method = simclr.SimCLR(encoders.small_cnn(), **arguments)
        row = fit(method, data.train, how.but(seed=seed))[-1]

        def judge(encode, method=method):
            x = features.extract(method, data.train, encode=encode), features.extract(method, data.test, encode=encode)
            return evaluate.score(x[0], train_label, x[1], label, classes=len(data.classes))

        results[name] = {**judge(method.encode), "partner found": row["partner found"], "loss": row["loss"]}
        if name == "crop + colour":
            z = lambda batch, method=method: method.g(method.encode(batch))
            results["z"] = judge(z)
            results["z"]["turn"] = _turn_accuracy(method, z, data)
            results[name]["turn"] = _turn_accuracy(method, method.encode, data)
        results[name]["seconds"] = time.perf_counter() - start
        say(f"  seed {seed}  {name:<18} linear {results[name]['linear']:.3f}  kNN {results[name]['kNN']:.3f}  "
            f"partner found {row['partner found']:.3f}  {results[name]['seconds']:.0f} s")  # fmt: skip
    return results


def _gain(better: str, *others: str, key: str = "linear") -> Callable:
    """How far a run is above the best of others."""
    return lambda r: r[better][key] - max(r[o][key] for o in others)


SIMCLR = (
    Claim("crop_and_colour", "crop with colour beats crop alone and colour alone", "section 3.1, figure 5",
          _gain("crop + colour", "crop", "colour")),
    Claim("pretext_is_not_quality", "crop alone finds its partner more often, and represents worse", "sections 3.1 and 5, table 5",
          lambda r: min(r["crop"]["partner found"] - r["crop + colour"]["partner found"],
                        r["crop + colour"]["linear"] - r["crop"]["linear"]), "the smaller of both gaps"),
    Claim("nonlinear_head", "a non-linear projector beats a linear one", "section 4.2, figure 8", _gain("crop + colour", "linear head")),
    Claim("linear_head", "a linear projector beats none", "section 4.2, figure 8", _gain("linear head", "no head")),
    Claim("h_beats_z", "h, before the projector, beats z after it", "section 4.2", _gain("crop + colour", "z")),
    Claim("head_forgets", "the projector forgets by how much a picture was turned: h tells, z tells less", "section 4.2, table 3",
          lambda r: r["crop + colour"]["turn"] - r["z"]["turn"]),
    Claim("temperature", "temperature has an optimum: 0.2 beats 0.02 and 2", "section 5.1, table 5",
          _gain("crop + colour", "temperature 0.02", "temperature 2")),
    Claim("more_negatives", "254 negatives beat 30 in a short training", "section 5.2, figure 9", _gain("crop + colour", "30 negatives")),
    Claim("bigger_batch", "batch 128 beats batch 32 at equal epochs in a short training", "section 5.2, figure 9",
          _gain("crop + colour", "batch 32")),
)  # fmt: skip

PAPERS: dict[str, tuple[Callable, tuple[Claim, ...]]] = {"simclr": (simclr_runs, SIMCLR)}


# ---------------------------------------------------------------------------------------------- running them


def judge(paper: str, results: dict[int, dict[str, dict[str, float]]]) -> list[Verdict]:
    """Verdicts of all claims of a paper from the results of its seeds."""
    return [Verdict(c.name, c.text, c.source, tuple(c.effect(results[s]) for s in sorted(results)), c.unit)
            for c in _paper(paper)[1]]  # fmt: skip


def _paper(paper: str):
    if paper not in PAPERS:
        raise CourseError(f"no claims of {paper!r} are written down; there are those of {', '.join(PAPERS)}")
    return PAPERS[paper]


def run(paper: str, seeds: int = 5, *, file: str | Path | None = None, say=print, **kwargs) -> Iterator[list[Verdict]]:
    """Run a paper's claims, yielding the verdicts so far after each seed.

    Args:
        seeds: how many, from 0.
        file: JSON to write after each seed (atomically); seeds that it holds already are not run again.
        **kwargs: handed to the runs (`data`, `recipe`).
    """
    if seeds < 1:
        raise CourseError(f"seeds={seeds}; use at least 1, and 5 for a verdict worth reporting")
    train, _ = _paper(paper)
    page = {"paper": paper, "runs": {}}
    if file and Path(file).exists():
        try:
            page = json.loads(Path(file).read_text())
            page["runs"]
        except (ValueError, KeyError, TypeError) as error:
            raise CourseError(f"{str(file)!r} is not a file of results ({error}); delete it or name another") from error
        if page.get("paper") != paper:
            raise CourseError(f"{str(file)!r} holds results of {page.get('paper')!r}, not of {paper!r}; name another file")
    results = {int(s): r for s, r in page["runs"].items() if int(s) < seeds}
    for seed in range(seeds):
        if seed not in results:
            results[seed] = train(seed, say=say, **kwargs)
            page["runs"][str(seed)] = results[seed]
            page.update(versions=checkpoints.versions(), profile=asdict(common.profile()),
                        verdicts=[{**asdict(v), "verdict": v.verdict} for v in judge(paper, results)])  # fmt: skip
            if file:
                with common.atomic(file) as temporary:
                    temporary.write_text(json.dumps(page, indent=1) + "\n")
        yield judge(paper, {s: results[s] for s in range(seed + 1)})
