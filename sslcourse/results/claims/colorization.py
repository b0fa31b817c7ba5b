"""What tracking by colorization (arXiv:1806.09594) claims, and three networks a seed to decide it.

Every seed has films of its own. Nobody is told a mask; the test films' masks are opened once, after the last
training. All features are tracked with the same settings (`TRACK`), which are those of the paper's
successors; only the temperature is judged as the paper tracks.
Flow is given two chances: films in which it has an easy life, and films with what hurts it.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import torch

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import toybox
from sslcourse.data.datasets import Data
from sslcourse.evaluate import tracking
from sslcourse.evaluate.optical_flow import FLOWS, by_flow
from sslcourse.methods import colorization
from sslcourse.results.claims.engine import Claim, Runs
from sslcourse.train.loop import epochs, fit
from sslcourse.train.recipe import Recipe

LESSON = "09_tracking_by_colorization"

# Twice as fast, large changes of size, motion blur, a third solid that hides the others, flicker and noise.
HURT: dict[str, Any] = dict(speed=(2.5, 5.0), scale=0.3, blur=3, solids=3, gain=0.2, noise=0.05)
FILMS = 400
RECIPE = colorization.COURSE.but(epochs=6)
TEMPERATURE = 0.1  # of the training; half of it is the paper's choice for the test
TRACK = dict(references=3, temperature=TEMPERATURE / 2, window=8, topk=10, keep_first=True, precise=False)
PAPERS = dict(references=3, precise=False)  # everywhere in the three frames before, and all matches count
EARLY = 1  # epochs after which a copy is kept
# Run -> its name on the results wall, and whether it was trained.
ON_THE_WALL = {
    "identity": ("copy the first mask", False),
    "random features": ("random encoder", False),
    "flow, local": ("flow, local", False),
    "flow, coarse to fine": ("flow, coarse to fine", False),
    "single image": ("Single-image colorization", True),
    "colorization": ("Colorization", True),
}
FLOW_NAMES = {"local": "flow, local", "coarse to fine": "flow, coarse to fine"}


def worlds(seed: int, films: int = FILMS, test: int = 40) -> dict[str, Data]:
    """Films in which flow has an easy life, and films with what hurts it."""
    return {
        name: toybox.tracks(films, 8, test, seed=seed, cache=False, **knobs)
        for name, knobs in (("calm", {}), ("hurt", HURT))
    }


def new(kind: type = colorization.Colorization, seed: int = 0, **arguments):
    torch.manual_seed(runtime.step_seed(seed, 0xC0))
    return kind(encoders.dense_cnn(), **arguments)


def colours_found(method: colorization.Colorization, video: torch.Tensor) -> torch.Tensor:
    """Share of the cells that are given their true colour, for each film (N,): the mean over all frames that
    have enough before them.
    """
    found = []
    with torch.no_grad():
        for film in video:
            parts = [
                method.coloured(film[None, :, : t + 1])["found"]
                for t in range(method.references, film.shape[1])
            ]
            found.append(torch.cat(parts).mean())
    return torch.stack(found)


def runs(seed: int, data: dict[str, Data] | None = None, recipe: Recipe = RECIPE, say=print) -> Runs:
    """Train colorization on both kinds of films and single-image colorization on one, a minute together on
    one thread.

    Args:
        data: "calm" and "hurt" films; by default the seed's `worlds`.
    """
    data = data or worlds(seed)
    how, start = recipe.but(seed=seed), time.perf_counter()
    method, single, harder = (
        new(seed=seed, temperature=TEMPERATURE),
        new(colorization.SingleImage, seed),
        new(seed=seed, temperature=TEMPERATURE),
    )
    for row in epochs(method, data["calm"].train, how):
        if row["epoch"] == EARLY:
            early = copy.deepcopy(method)
    fit(harder, data["hurt"].train, how)
    fit(single, data["calm"].train, how)
    untrained = evaluate.random_like(new(seed=seed), data["calm"].train, seed)
    say(f"  seed {seed}  three trainings, {time.perf_counter() - start:.0f} s")
    flows = {FLOW_NAMES[name]: by_flow(flow) for name, flow in FLOWS.items()}
    by = tracking.by_features
    calm = {
        "identity": tracking.identity,
        **flows,
        "random features": by(untrained.embed, **TRACK),
        "single image": by(single.embed, **TRACK),
        "single image, as the paper tracks": by(single.embed, temperature=TEMPERATURE / 2, **PAPERS),
        "colorization, early": by(early.embed, **TRACK),
        "colorization": by(method.embed, **TRACK),
        "as the paper tracks": by(method.embed, temperature=TEMPERATURE / 2, **PAPERS),
        "at the temperature of the training": by(method.embed, temperature=TEMPERATURE, **PAPERS),
    }
    hurt = {"identity": tracking.identity, **flows, "colorization": by(harder.embed, **TRACK)}
    results: Runs = {}
    for kind, trackers in (("calm", calm), ("hurt", hurt)):
        measured = tracking.measure(trackers, data[kind].test, reader="claims.colorization")
        for name, found in measured.items():
            name = name if kind == "calm" else f"{name}, hurt"
            results[name] = found.row()
            say(
                f"  seed {seed}  {name:<36} J {results[name]['J']:.3f}  F {results[name]['F']:.3f}  "
                f"PCK@0.2 {results[name]['PCK@0.2']:.3f}"
            )
        if kind == "calm":
            films = measured["colorization"].films()
    together = tracking.correlation(colours_found(method, data["calm"].test.video).tolist(), films.tolist())
    results["colorization"]["colour and J"] = together
    say(
        f"  seed {seed}  colour against J, film by film: correlation {together:.2f}; "
        f"{time.perf_counter() - start:.0f} s"
    )
    return results


def _above(other: str, kind: str = "", key: str = "J"):
    return lambda r: r[f"colorization{kind}"][key] - r[f"{other}{kind}"][key]


def _drop(r: Runs, name: str) -> float:
    return r[name]["J"] - r[f"{name}, hurt"]["J"]


CLAIMS = (
    Claim(
        "identity",
        "copying colours teaches to track: colorization beats copying the first mask",
        "table of masks",
        _above("identity"),
        "J",
    ),
    Claim(
        "random", "it beats the same network with random weights", "(control)", _above("random features"), "J"
    ),
    Claim(
        "single_image",
        "it beats colours told from a single picture",
        "table of masks",
        _above("single image"),
        "J",
    ),
    Claim(
        "single_image_plain",
        "by the paper's plain pointer, colours told from a single picture track worse than the first mask",
        "table of masks: 4.7 and 22.1",
        lambda r: r["identity"]["J"] - r["single image, as the paper tracks"]["J"],
        "J",
    ),
    Claim(
        "single_image_rescued",
        "a window, the first frame and the best ten matches rescue it: its pointer is too diffuse by itself",
        "settings of the paper's successors",
        lambda r: r["single image"]["J"] - r["single image, as the paper tracks"]["J"],
        "J",
    ),
    Claim(
        "flow_local",
        "it beats scikit-image's local flow where flow has an easy life",
        "table of masks",
        _above("flow, local"),
        "J",
    ),
    Claim(
        "flow_coarse_to_fine",
        "it beats OpenCV's flow, coarse to fine, where flow has an easy life",
        "table of masks",
        _above("flow, coarse to fine"),
        "J",
    ),
    Claim(
        "hurt_flow_local",
        "it beats scikit-image's local flow in films with what hurts flow",
        "masks, by attributes",
        _above("flow, local", ", hurt"),
        "J",
    ),
    Claim(
        "hurt_flow_coarse_to_fine",
        "it beats OpenCV's flow, coarse to fine, in films with what hurts flow",
        "masks, by attributes",
        _above("flow, coarse to fine", ", hurt"),
        "J",
    ),
    Claim(
        "robust",
        "what hurts flow costs colorization less than either flow",
        "analysis by attributes",
        lambda r: min(_drop(r, name) for name in FLOW_NAMES.values()) - _drop(r, "colorization"),
        "J",
    ),
    Claim(
        "emerges",
        "tracking improves as the training on colours goes on",
        "title and abstract",
        _above("colorization, early"),
        "J",
    ),
    Claim(
        "temperature",
        "half of the training's temperature tracks better",
        "settings of the test",
        lambda r: r["as the paper tracks"]["J"] - r["at the temperature of the training"]["J"],
        "J",
    ),
    Claim(
        "keypoints",
        "key-points: it beats leaving them where they were",
        "table of key-points",
        _above("identity", key="PCK@0.2"),
        "PCK@0.2",
    ),
    Claim(
        "keypoints_flow",
        "key-points: it beats both flows",
        "table of key-points",
        lambda r: r["colorization"]["PCK@0.2"] - max(r[name]["PCK@0.2"] for name in FLOW_NAMES.values()),
        "PCK@0.2",
    ),
    Claim(
        "colour_and_tracking",
        "films whose colours are found are films that are tracked",
        "colour and tracking",
        lambda r: r["colorization"]["colour and J"],
        "correlation",
    ),
)
