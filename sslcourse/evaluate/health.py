"""Is the representation alive? A few numbers that say so before any label is read, each with its healthy
range.

print(diagnose(z))                         features alone
print(diagnose(z, z1=z1, z2=z2, loss=l))   with the two views of a batch and its loss
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sslcourse import runtime
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import WHOLE, takes
from sslcourse.runtime.shapes import explained


@dataclass(frozen=True)
class Reading:
    """One number, the range in which it is healthy, and what it means where it is not."""

    name: str
    value: float
    low: float
    high: float
    meaning: str

    @property
    def healthy(self) -> bool:
        return self.low <= self.value <= self.high

    def __str__(self):
        verdict = "ok " if self.healthy else "BAD"
        return f"{verdict} {self.name:<22}{self.value:8.3f}   healthy {self.low:g} to {self.high:g}" + (
            ""
            if self.healthy
            else "\n" + textwrap.fill(self.meaning, 96, initial_indent="    ", subsequent_indent="    ")
        )


@dataclass(frozen=True)
class Diagnosis:
    readings: tuple[Reading, ...]

    @property
    def healthy(self) -> bool:
        return all(r.healthy for r in self.readings)

    def __getitem__(self, name: str) -> float:
        for reading in self.readings:
            if reading.name == name:
                return reading.value
        raise KeyError(f"{name!r}; this diagnosis has {', '.join(r.name for r in self.readings)}")

    def row(self) -> dict[str, float]:
        """The values by name, for a table or a live panel."""
        return {r.name: r.value for r in self.readings}

    def gauges(self) -> dict[str, tuple[float, float, float, str]]:
        """name -> (value, healthy from, healthy to, meaning), as `show.health` draws them."""
        return {r.name: (r.value, r.low, r.high, r.meaning) for r in self.readings}

    def __str__(self):
        return "\n".join(str(r) for r in self.readings)

    __repr__ = __str__


def _numbers(z: Tensor, least: int = 1) -> Tensor:
    if z.ndim != 2 or len(z) < least:
        raise CourseError(
            f"features of shape {tuple(z.shape)}; give {least} rows or more, one vector (d) per sample"
        )
    if not torch.isfinite(z).all():
        raise CourseError(
            "the features hold NaN or infinity: the training has diverged; start again with a lower lr"
        )
    return z


@explained
def spread(z: Float[Tensor, "n d"]) -> float:
    """Standard deviation of the unit-length features per dimension, times sqrt(d): 1 on a full sphere, 0 when
    all features
    point the same way (SimSiam, section 4.1)."""
    z = runtime.unit(_numbers(z))
    return float(z.std(0, correction=0).mean() * math.sqrt(z.shape[1]))


@explained
def effective_rank(z: Float[Tensor, "n d"]) -> float:
    """exp(entropy of the singular values): how many dimensions are in use (RankMe, Garrido et al., 2023), 1
    to d.
    """
    wide = runtime.precise(_numbers(z))
    s = torch.linalg.svdvals(wide - wide.mean(0))
    # What is no larger than the last digits of z is rounding, which would fill all dimensions.
    eps = torch.finfo(z.dtype if z.is_floating_point() else torch.float64).eps
    s = s[s > eps * wide.mean(0).norm() * math.sqrt(len(z))]
    p = s / s.sum()
    return float(torch.exp(-torch.special.xlogy(p, p).sum()))


@explained
def alignment(z1: Float[Tensor, "n d"], z2: Float[Tensor, "n d"]) -> float:
    """Mean squared distance between the two views of an image on the unit sphere, 0 to 4 (Wang and Isola,
    2020).
    """
    return float((runtime.unit(_numbers(z1)) - runtime.unit(_numbers(z2))).square().sum(1).mean())


@explained
def uniformity(z: Float[Tensor, "n d"]) -> float:
    """log of the mean of exp(-2 d^2) over pairs on the unit sphere: 0 when all fall together, towards -4 when
    spread
    evenly (Wang and Isola, 2020)."""
    return float(torch.pdist(runtime.unit(_numbers(z, 2))).square().mul(-2).exp().mean().log())


@explained
def diagnose(
    z: Float[Tensor, "n d"], *, z1: Tensor | None = None, z2: Tensor | None = None, loss: float | None = None
) -> Diagnosis:
    """Measure collapse in features, and, with two views, how the two halves of the contrastive loss stand.

    Args:
        z: features of at least 16 samples (the first 1,024 are used).
        z1, z2: projections of the two views of one batch.
        loss: NT-Xent of that batch; compared with log(2n - 1), the loss of a network that tells nothing
            apart.
    """
    if z.ndim != 2 or len(z) < 16:
        raise CourseError(
            f"features of shape {tuple(z.shape)}; give at least 16 rows, one vector (d) per sample"
        )
    z = _numbers(z)[:1024].detach().cpu()
    d = z.shape[1]
    readings = [
        Reading(
            "spread",
            spread(z),
            0.3,
            1.05,
            "all features point (nearly) the same way: the representation has collapsed. "
            "Look for missing negatives, a missing predictor or stop-gradient, or a temperature far too "
            "high.",
        ),
        Reading(
            "effective rank",
            effective_rank(z),
            max(4.0, 0.08 * d),
            float(d),
            "few of the dimensions are in use: dimensional collapse. Look for a shortcut (one cue that "
            "solves the task) or views that are too different.",
        ),
    ]
    if z1 is not None and z2 is not None:
        z1, z2 = z1.detach().cpu(), z2.detach().cpu()
        readings += [
            Reading(
                "alignment",
                alignment(z1, z2),
                0.0,
                1.4,
                "the two views of an image are hardly nearer than strangers "
                "(2 is chance): nothing has been learned yet, or the views have nothing in common.",
            ),
            Reading(
                "uniformity",
                uniformity(torch.cat([z1, z2])[:1024]),
                -4.2,
                -1.5,
                "the projections huddle together: negatives push too little. Lower the temperature or use "
                "more negatives.",
            ),
        ]
        if loss is not None:
            blind = math.log(2 * len(z1) - 1)
            readings.append(
                Reading(
                    "loss / log(2n-1)",
                    float(loss) / blind,
                    0.05,
                    0.95,
                    f"the loss is that of a network that tells nothing apart (log(2n-1) = {blind:.2f}), or "
                    "so low that the task must have a shortcut.",
                )
            )
    return Diagnosis(tuple(readings))


@explained
@takes(k=WHOLE)
def coverage(real: Float[Tensor, "n d"], made: Float[Tensor, "m d"], k: int = 5) -> float:
    """Share of real samples with a generated one nearer than their k-th real neighbour: does a generator draw
    everything there is?

    About 1 - 2**-k for as many samples of the same distribution, near 0 when all come from one mode (Naeem et
    al., Reliable fidelity and diversity metrics for generative models, ICML 2020). Measure held-out real
    samples beside it: they are its reference."""
    if len(real) <= k or not len(made):
        raise CourseError(f"{len(real)} real and {len(made)} generated samples; give at least {k + 1} and 1")
    real, made = runtime.precise(_numbers(real)), runtime.precise(_numbers(made))
    real, made = real - real.mean(0), made - real.mean(0)  # far from zero their squares would hide them
    # Not by a matrix product, whose last digits would give equal samples a distance.
    far = lambda a, b: torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    radius = far(real, real).kthvalue(k + 1, dim=1).values  # the nearest of all is the sample itself
    return float((far(real, made).min(1).values < radius).float().mean())
