"""What cross-modal clustering (arXiv:1911.12667) claims, and sixteen trainings a seed to decide it.

All learn from as many clips for as many steps, with the same k, the same views and clusterings at the same
epochs; only whose clusters a
network predicts differs. The score is the accuracy of the event by nearest neighbours, of the eye and of the
ear apart: the sounds' events can be read by a linear probe from any features of them, untrained ones and raw
spectrograms too, so that probe (kept beside in the results) says little. The paper fine-tunes on UCF101,
HMDB51 and ESC-50.

The networks see nothing of what stands still and hear nothing of what stays the same (`encoders.small_clip`):
in Kinetics the scene goes with the action, here it says nothing of the event. "Seen" are networks that see
and hear all of it, and so have something to learn that is theirs alone: what the variants make of that is
asked of them. "Less nuisance" are the same clips with backgrounds and channels at a third, and in "one venue"
the channel goes with the background, in every clip; both for networks of the second kind."""

from __future__ import annotations

import time
from typing import Any

import torch

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import toybox
from sslcourse.data.datasets import Data, open_labels
from sslcourse.methods import xdc
from sslcourse.results.claims.engine import Claim, Runs, gain
from sslcourse.train import clustering, features
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe

LESSON = "12_cross_modal_clustering"

RECIPE = xdc.COURSE.but(epochs=9)  # three clusterings
CLIPS = (800, 100, 600)
VARIANTS = {"XDC": "xdc", "CDC": "cdc", "MDC": "mdc", "SDC": "sdc"}
LESS: dict[str, Any] = dict(background=0.1, channel=1 / 6)
VENUE: dict[str, Any] = dict(venue=1.0)
SEEN: dict[str, Any] = dict(still=1.0, steady=1.0)  # what stands still, and what stays the same
SHARED, PRIVATE = ("size", "force", "material"), {"eye": ("background", "direction"), "ear": ("channel",)}


def new(variant: str, seed: int, still: float = 0.0, steady: float = 0.0, **arguments) -> xdc.XDC:
    """A method whose networks begin the same for every variant of a seed.

    Args:
        still, steady: shares of what stands still that is seen, and of what stays the same that is heard.
    """
    torch.manual_seed(runtime.step_seed(seed, 0x8DC))
    eye, ear = encoders.small_clip(still=still), encoders.small_mel(steady=steady)
    return xdc.XDC(eye, ear, variant=variant, **arguments)


def agreement(method: xdc.XDC, data: Data) -> dict[str, float]:
    """NMI of each partition, by the networks as they are now, with what is known about the training clips:
    "ear clusters, channel", ...
    """
    known = {
        "event": data.train.label,
        **{name: data.train.factors[name] for name in ("background", "channel")},
    }
    return {
        f"{partition} clusters, {name}": clustering.nmi(label, column)
        for partition, label in method.cluster(data.train).items()
        for name, column in known.items()
    }


def halves(method: xdc.XDC) -> dict[str, Any]:
    """What of a method is judged, by name."""
    return {"eye": method, "ear": method.ear}


def opened(data: Data, reader: str) -> torch.Tensor:
    """The labels of the test split, opened for a final score: here, and for the table."""
    return open_labels(data.test, reader)[0].cpu()


def judged(
    networks: dict[str, dict[str, torch.nn.Module]], data: Data, reader: str, tables: tuple[str, ...] = ()
) -> Runs:
    """Scores of eyes and ears on the test split, in one opening of its labels.

    Args:
        networks: run -> {"eye": ..., "ear": ...}, or one of the two.
        tables: runs of which every factor is probed, too.

    Returns: run -> "eye kNN", "eye linear", "ear kNN", "ear linear", and where asked for "eye: size", "ear:
        channel", ...
    """
    label, known = open_labels(data.test, reader)
    result: Runs = {}
    for name, parts in networks.items():
        result[name] = {}
        for part, network in parts.items():
            x = [features.extract(network, split) for split in (data.train, data.test)]
            for key, value in evaluate.score(
                x[0], data.train.label.cpu(), x[1], label.cpu(), classes=len(data.classes)
            ).items():
                result[name][f"{part} {key}"] = value
            if name in tables:
                kept = evaluate.factor_scores(x[0], data.train.factors, x[1], known, data.train.factor_names)
                result[name].update({f"{part}: {factor}": value for factor, value in kept.items()})
    return result


def runs(seed: int, data: Data | None = None, recipe: Recipe = RECIPE, say=print) -> Runs:
    """Train all that the claims compare: about three and a half minutes of one thread.

    Args:
        data: the clips at full nuisance; those with less of it, or with one venue, are made as many.
    """
    data = data or toybox.events(*CLIPS, seed=seed)
    sizes = len(data.train), len(data.validation), len(data.test)
    results: Runs = {}
    less, venue = (toybox.events(*sizes, seed=seed, **knobs) for knobs in (LESS, VENUE))

    def train(name: str, variant: str, clips: Data, **arguments) -> xdc.XDC:
        start = time.perf_counter()
        method = new(variant, seed, **arguments)
        fit(method, clips.train.unlabelled(), recipe.but(seed=seed))
        results[name] = {**agreement(method, clips), "seconds": time.perf_counter() - start}
        say(f"  seed {seed}  {name:<22} {results[name]['seconds']:.0f} s")
        return method

    def report(found: Runs) -> None:
        for name, scores in found.items():
            results[name] = {**results.get(name, {}), **scores}
            told = "  ".join(f"{key} {value:.3f}" for key, value in scores.items() if "kNN" in key)
            say(f"  seed {seed}  {name:<22} {told}")

    full = {name: train(name, variant, data) for name, variant in {**VARIANTS, "pair": "pair"}.items()}
    full |= {
        f"{name}, seen": train(f"{name}, seen", variant, data, **SEEN) for name, variant in VARIANTS.items()
    }
    networks = {name: halves(method) for name, method in full.items()}
    for kind in ("", ", seen"):
        networks[f"random{kind}"] = {
            "eye": evaluate.random_like(full[f"XDC{kind}"], data.train, seed),
            "ear": evaluate.random_like(full[f"XDC{kind}"].ear, data.train, seed),
        }
    torch.manual_seed(runtime.step_seed(seed, 0x9C1))
    pupil = xdc.Pupil(encoders.small_clip(128), full["XDC"].cluster(data.train)["ear"])
    fit(pupil, data.train.unlabelled(), recipe.but(epochs=max(1, recipe.epochs // 3), seed=seed))
    networks["pupil"] = {"eye": pupil}
    networks["random pupil"] = {"eye": evaluate.random_like(pupil, data.train, seed)}
    report(judged(networks, data, "claims.xdc", ("XDC", "random", "XDC, seen", "random, seen")))
    mild = {
        f"{name}, less": train(f"{name}, less", variant, less, **SEEN) for name, variant in VARIANTS.items()
    }
    report(judged({name: halves(method) for name, method in mild.items()}, less, "claims.xdc"))
    train("XDC, venue", "xdc", venue, **SEEN)
    return results


def _order(part: str) -> tuple[Claim, ...]:
    key, what = f"{part} kNN", {"eye": "pictures", "ear": "sounds"}[part]
    steps = (("XDC", "CDC"), ("CDC", "MDC"), ("MDC", "SDC"))
    return tuple(
        Claim(
            f"{part}: {a} above {b}", f"{what}: {a} above {b}", "table of the variants", gain(a, b, key=key)
        )
        for a, b in steps
    )


def _random(part: str) -> tuple[Claim, ...]:
    what = {"eye": "pictures", "ear": "sounds"}[part]
    return tuple(
        Claim(
            f"{part}: {name} learns",
            f"{what}: {name} above a random network",
            "table of the variants",
            gain(name, "random", key=f"{part} kNN"),
        )
        for name in VARIANTS
    )


def _kept(part: str, factor: str) -> Claim:
    key = f"{part}: {factor}"
    return Claim(
        key,
        f"the {part} gains what both share: {factor}",
        "why cross-modal",
        lambda r: r["XDC"][key] - r["random"][key],
        "read",
    )


def _lost(part: str, factor: str) -> Claim:
    key = f"{part}: {factor}"
    return Claim(
        key,
        f"networks that see and hear all: the {part} loses what it has alone: {factor}",
        "why cross-modal",
        lambda r: r["random, seen"][key] - r["XDC, seen"][key],
        "read",
    )


def _still(name: str) -> Claim:
    return Claim(
        f"still: {name}",
        f"pictures: {name} is better where the network cannot see what stands still",
        "why cross-modal",
        gain(name, f"{name}, seen", key="eye kNN"),
    )


CLAIMS = (
    *_order("eye"),
    *_order("ear"),
    *_random("eye"),
    *_random("ear"),
    Claim(
        "pair, eye",
        "pictures: XDC above a pair of eyes that guide each other",
        "reviewers' question",
        gain("XDC", "pair", key="eye kNN"),
    ),
    Claim(
        "pair, ear",
        "sounds: XDC above a pair of ears that guide each other",
        "reviewers' question",
        gain("XDC", "pair", key="ear kNN"),
    ),
    *map(_still, ("SDC", "MDC", "CDC")),
    Claim(
        "less: CDC",
        "networks that see and hear all: with a third of the nuisance CDC too is above SDC (pictures)",
        "why cross-modal",
        lambda r: r["CDC, less"]["eye kNN"] - r["SDC, less"]["eye kNN"],
    ),
    Claim(
        "less: MDC",
        "networks that see and hear all: with a third of the nuisance MDC too is above SDC (pictures)",
        "why cross-modal",
        lambda r: r["MDC, less"]["eye kNN"] - r["SDC, less"]["eye kNN"],
    ),
    Claim(
        "less: gap",
        "networks that see and hear all: XDC's lead over CDC shrinks with the nuisance (pictures)",
        "why cross-modal",
        lambda r: (
            (r["XDC, seen"]["eye kNN"] - r["CDC, seen"]["eye kNN"])
            - (r["XDC, less"]["eye kNN"] - r["CDC, less"]["eye kNN"])
        ),
    ),
    Claim(
        "venue, eye",
        "a nuisance that both share is learned: the eye's clusters follow it",
        "counter-example",
        lambda r: r["XDC, venue"]["eye clusters, background"] - r["XDC, seen"]["eye clusters, background"],
        "NMI",
    ),
    Claim(
        "venue, ear",
        "a nuisance that both share is learned: the ear's clusters follow it",
        "counter-example",
        lambda r: r["XDC, venue"]["ear clusters, channel"] - r["XDC, seen"]["ear clusters, channel"],
        "NMI",
    ),
    Claim(
        "transfer",
        "the sounds' clusters teach a larger eye from scratch: above a random one",
        "reviewers' question",
        gain("pupil", "random pupil", key="eye kNN"),
    ),
    Claim(
        "transfer, teacher",
        "and above the eye of the XDC that found them",
        "reviewers' question",
        gain("pupil", "XDC", key="eye kNN"),
    ),
    *(_kept(part, factor) for part in ("eye", "ear") for factor in SHARED),
    *(_lost(part, factor) for part in ("eye", "ear") for factor in PRIVATE[part]),
)
