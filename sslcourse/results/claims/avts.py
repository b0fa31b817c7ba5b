"""What Audio-Visual Temporal Synchronization (arXiv:1807.00230) claims, and six trainings a seed to decide
it.

All have the same networks and the same number of steps on scenes of the toybox. Pairs are judged by balanced
accuracy on films of the test split, the threshold from the other half, one kind of negative at a time (chance
1/2); features by a linear SVM on crops of frozen features, event class, 200 test films. The paper fine-tunes
on UCF101 and HMDB51 and has its SVM on ESC-50 and DCASE.

In the toybox every sound belongs to its film. "Few coupled" are the same scenes with the sound of another
film in most of those that are trained on, as music lies over the clips of Kinetics; its networks are judged
on the same test films as all others."""

from __future__ import annotations

import time
from typing import Any

import torch

from sslcourse import encoders, evaluate, runtime
from sslcourse.data.datasets import Data
from sslcourse.data.toybox import sounding
from sslcourse.evaluate import synchrony
from sslcourse.methods import avts
from sslcourse.results.claims.engine import Claim, Runs
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe

LESSON = "11_audio_video_sync"

RECIPE = avts.COURSE.but(epochs=7)
CURRICULUM = (0.0, 0.25)
VARIANTS: dict[str, dict[str, Any]] = {
    "curriculum": dict(hard=CURRICULUM),
    "easy only": dict(hard=(0.0, 0.0)),
    "hard only": dict(hard=(1.0, 1.0)),
    "correspondence": dict(hard=(0.0, 0.0), correspondence=True),
    "cross-entropy": dict(hard=CURRICULUM, objective="cross-entropy"),
    "a quarter of the films": dict(hard=CURRICULUM, films=0.25),
}
COUPLING = 0.2  # share of the films with their own sound, where they are few
FEW_COUPLED: dict[str, dict[str, Any]] = {
    "curriculum, few coupled": dict(hard=CURRICULUM),
    "hard only, few coupled": dict(hard=(1.0, 1.0)),
}
FEATURES = ("curriculum", "hard only", "correspondence")  # whose features are judged, too


def scenes(seed: int = 0, coupling: float = 1.0) -> Data:
    """The films of the claims: twice as many to test on as the course has.

    Args:
        coupling: share of the training films that have their own sound; those to validate and to test on all
            have it.
    """
    data = sounding.scenes(400, 100, 200, seed=seed)
    if coupling == 1:
        return data
    return Data(sounding.scenes(400, 1, 1, seed=seed, coupling=coupling).train, data.validation, data.test)


def trained(variants: dict[str, dict], seed: int, data: Data, recipe: Recipe, say, features=FEATURES) -> Runs:
    """Train each variant, judge its pairs on test films (which takes no labels), and the features of some in
    one opening of the test labels.

    Args:
        variants: name -> arguments of `avts.AVTS`; "films" among them is the share of the training films that
            is used, in as many steps; "encoder" a function that makes the video network.
        features: names of those whose features are judged, and then "random" too; empty for none.

    Returns: name -> "easy", "hard", "super-hard", "offset error" (seconds), "eye", "ear", "seconds", "loss",
        as far as they were measured.
    """
    results: Runs = {}
    methods: dict[str, Any] = {}
    for name, arguments in variants.items():
        start = time.perf_counter()
        arguments = dict(arguments)
        share, encoder = arguments.pop("films", 1.0), arguments.pop("encoder", encoders.small_mc3)
        train = data.train.take(slice(0, round(share * len(data.train)))).unlabelled()
        torch.manual_seed(runtime.step_seed(seed, 0xA7))
        method = avts.AVTS(encoder(), encoders.small_mel(), **arguments)
        steps = len(data.train) // recipe.batch_size * recipe.epochs
        batch = min(recipe.batch_size, len(train))
        passes = max(1, round(steps / (len(train) // batch)))  # as many steps, however few films
        row = fit(method, train, recipe.but(seed=seed, epochs=passes, batch_size=batch))[-1]
        seconds = time.perf_counter() - start
        found = {kind: synchrony.accuracy(method, data.test, kind, each=2) for kind in synchrony.KINDS}
        assert data.test.fps is not None  # scenes have a clock
        found["offset error"] = synchrony.offset_error(method, data.test) / data.test.fps
        results[name] = {"loss": row["loss"], **found, "seconds": seconds}
        methods[name] = method
        say(
            f"  seed {seed}  {name:<24} "
            + "  ".join(f"{k} {v:.3f}" for k, v in found.items())
            + f"  {seconds:.0f} s"
        )
    if not features:
        return results
    first = next(iter(methods.values()))
    judged = {name: methods[name] for name in features if name in methods}
    judged["random"] = evaluate.random_like(first, data.train, seed)
    ears = {name: method.ear for name, method in judged.items()}
    ears["random"] = evaluate.random_like(first.ear, data.train, seed)
    networks: dict[Any, Any] = {("eye", n): m for n, m in judged.items()}
    networks |= {("ear", n): m for n, m in ears.items()}
    scores: dict[Any, float] = synchrony.svm(
        networks,
        data,
        on="test",
    )
    for (part, name), score in scores.items():
        results.setdefault(name, {})[part] = score
    for name in judged:
        say(f"  seed {seed}  {name:<24} eye {results[name]['eye']:.3f}  ear {results[name]['ear']:.3f}")
    return results


def runs(
    seed: int, data: Data | None = None, recipe: Recipe = RECIPE, say=print, few: Data | None = None
) -> Runs:
    """Train all variants that the claims compare: eight, two minutes together on one thread.

    Args:
        data: the scenes; by default those of the seed's world.
        few: the same with few of them coupled; likewise.
    """
    found = trained(VARIANTS, seed, data or scenes(seed), recipe, say)
    return found | trained(FEW_COUPLED, seed, few or scenes(seed, COUPLING), recipe, say, features=())


def above(better: str, worse: str, *keys: str):
    """An effect: how far a run is above another one in the mean of some numbers."""
    return lambda r: sum(r[better][key] - r[worse][key] for key in keys) / len(keys)


CLAIMS = (
    Claim(
        "curriculum easy",
        "the curriculum beats easy negatives only, on easy pairs",
        "section 4.1",
        above("curriculum", "easy only", "easy"),
    ),
    Claim(
        "curriculum hard",
        "the curriculum beats easy negatives only, on hard pairs",
        "section 4.1",
        above("curriculum", "easy only", "hard"),
    ),
    Claim(
        "hard first easy",
        "the curriculum beats hard negatives only, on easy pairs",
        "section 4.1",
        above("curriculum", "hard only", "easy"),
    ),
    Claim(
        "hard first hard",
        "the curriculum beats hard negatives only, on hard pairs",
        "section 4.1",
        above("curriculum", "hard only", "hard"),
    ),
    Claim(
        "hard first, few coupled",
        "where most sounds are another film's, the curriculum beats hard negatives only, on hard pairs",
        "section 4.1; music over films",
        above("curriculum, few coupled", "hard only, few coupled", "hard"),
    ),
    Claim(
        "hard only fails",
        "hard negatives only learn less where most sounds are another film's, on hard pairs",
        "section 4.1; music over films",
        above("hard only", "hard only, few coupled", "hard"),
    ),
    Claim(
        "eye",
        "its video features beat random ones",
        "action recognition",
        above("curriculum", "random", "eye"),
    ),
    Claim(
        "ear",
        "its audio features beat random ones under the same SVM",
        "sound classification; asked for by a reviewer",
        above("curriculum", "random", "ear"),
    ),
    Claim(
        "meaning",
        "the curriculum's video features say more of the event than those from hard negatives only",
        "section 4.1",
        above("curriculum", "hard only", "eye"),
    ),
    Claim(
        "timing",
        "synchronised beats correspondence, on hard pairs",
        "against Look, Listen and Learn",
        above("curriculum", "correspondence", "hard"),
    ),
    Claim(
        "offset",
        "synchronised finds how late a sound is with less error than correspondence",
        "against Look, Listen and Learn",
        above("correspondence", "curriculum", "offset error"),
        "seconds",
    ),
    Claim(
        "margin",
        "the margin loss beats cross-entropy on both embeddings, on easy and hard pairs",
        "choice of the loss",
        above("curriculum", "cross-entropy", "easy", "hard"),
    ),
    Claim(
        "films",
        "four times as many films are better at as many steps, on easy and hard pairs",
        "Kinetics against AudioSet",
        above("curriculum", "a quarter of the films", "easy", "hard"),
    ),
)
