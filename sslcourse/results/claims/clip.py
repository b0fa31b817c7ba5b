"""What CLIP claims (arXiv:2103.00020), and four networks a seed to decide it.

Pairs of a shape and a colour are held out of the training: a picture of a red cube and the words "red cube"
are never seen together, though red things and cubes are. At test time such pairs are classes that only words
name. Pictures of held-out pairs are also what is scored."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import captions, toybox
from sslcourse.data.datasets import Data, open_labels
from sslcourse.methods import clip
from sslcourse.results.claims.engine import Claim, Runs, gain
from sslcourse.train import features, ties
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe

LESSON = "07_clip"

RECIPE = clip.COURSE.but(epochs=8)
ONE = ("a {}",)
SEVERAL = (
    "a {}",
    "the {}",
    "a picture of a {}",
    "at the centre a {}",
    "a {} at the left",
    "a {} at the right",
    "a {} with stripes",
)
SHOTS = (1, 2, 4, 8, 16)


def held_out(hue: Tensor, shape: Tensor) -> Tensor:
    """Which pictures show a pair that the training never sees: two of the eight colours of every shape, (N,)
    of booleans.
    """
    colour = _colour(hue)
    return ((colour - shape.long()) % len(captions.HUES)) < 2


def _colour(hue: Tensor) -> Tensor:
    words = captions.full(
        {
            "hue": hue,
            "shape": torch.zeros(len(hue)),
            "size": torch.ones(len(hue)),
            "pattern": torch.zeros(len(hue)),
            "x": torch.zeros(len(hue)),
            "y": torch.zeros(len(hue)),
        },
        ("size", "place"),
    )
    return words[:, 2] - captions.TOYBOX.token(captions.HUES[0])  # start, article, colour


def runs(seed: int, data: Data | None = None, recipe: Recipe = RECIPE, say=print) -> Runs:
    """Train CLIP, CLIP in one direction, and word prediction (for all epochs and for half of them): a minute
    and a half on one thread.
    """
    data = data or toybox.images()
    some = data.train.take(~held_out(data.train.factors["hue"], data.train.factors["shape"]))
    train = some.unlabelled()
    label, factors = open_labels(data.test, "claims.clip")
    new = held_out(factors["hue"], factors["shape"])
    colour = _colour(factors["hue"])
    pairs = [f"{hue} {shape}" for shape in toybox.SHAPES for hue in captions.HUES]
    pair = label * len(captions.HUES) + colour
    share = lambda right: float(right.float().mean())

    def one_way(image, text, log_scale):
        from torch.nn import functional as F

        logits = F.normalize(image.float(), dim=1) @ F.normalize(text.float(), dim=1).T * log_scale.exp()
        return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))

    variants = {
        "CLIP": (clip.CLIP, {}, recipe),
        "CLIP, short": (clip.CLIP, {}, recipe.but(epochs=max(1, recipe.epochs // 2))),
        "one direction": (clip.CLIP, dict(loss=one_way), recipe),
        "words": (clip.WordPrediction, {}, recipe),
    }
    results: Runs = {}
    for name, (kind, arguments, how) in variants.items():
        start = time.perf_counter()
        torch.manual_seed(runtime.step_seed(seed, 0xC1A))
        method = kind(encoders.small_cnn(), **arguments)
        row = fit(method, train, how.but(seed=seed))[-1]
        shapes = {
            key: clip.fits(method, data.test, clip.prompts_of(toybox.SHAPES, templates))
            for key, templates in (("one", ONE), ("several", SEVERAL))
        }
        named = ties.found(clip.fits(method, data.test, clip.prompts_of(pairs, ONE)), pair)
        sizes = clip.fits(
            method, data.test, clip.prompts_of([f"{size} thing" for size in ("small", "large")], ONE)
        )
        low, high = toybox.RANGES["size"]
        third = (factors["size"] - low) / (high - low)
        extreme = (third < 1 / 3) | (third > 2 / 3)
        results[name] = {
            "shape": share(ties.found(shapes["one"], label)),
            "shape, several prompts": share(ties.found(shapes["several"], label)),
            "new pair": share(named[new]),
            "seen pair": share(named[~new]),
            "size": share(ties.found(sizes, third > 2 / 3)[extreme]),
            "loss": row["loss"],
            "scale": row.get("scale", 0.0),
        }
        if name == "CLIP":
            x, held = features.extract(method, some), features.extract(method, data.test)
            g = runtime.generator(seed, 0x5407)
            for shots in SHOTS:
                index = torch.cat(
                    [
                        (order := (some.label == c).nonzero().squeeze(1))[
                            torch.randperm(len(order), generator=g)[:shots]
                        ]
                        for c in range(len(toybox.SHAPES))
                    ]
                )
                probe = evaluate.linear_probe(
                    x[index], some.label[index], classes=len(toybox.SHAPES), penalties=(1e-2,)
                )
                results[name][f"{shots} shots"] = share(ties.found(probe(held), label))
        results[name]["seconds"] = time.perf_counter() - start
        say(f"  seed {seed}  {name:<15} " + "  ".join(f"{k} {v:.3f}" for k, v in results[name].items()))
    return results


CHANCE_PAIR = 1 / (len(toybox.SHAPES) * len(captions.HUES))

CLAIMS = (
    Claim(
        "new_classes",
        "pairs of shape and colour that training never showed are recognised from their names alone, far "
        "above chance "
        "(ten times)",
        "sections 1 and 3.1",
        lambda r: r["CLIP"]["new pair"] - 10 * CHANCE_PAIR,
    ),
    Claim(
        "new_as_seen",
        "new pairs are recognised at least half as often as pairs that training showed",
        "section 3.1",
        lambda r: r["CLIP"]["new pair"] - r["CLIP"]["seen pair"] / 2,
    ),
    Claim(
        "prompt_ensemble",
        "several prompts for a class beat one",
        "section 3.1.4, figure 4",
        lambda r: r["CLIP"]["shape, several prompts"] - r["CLIP"]["shape"],
    ),
    Claim(
        "four_shots",
        "zero-shot is at least as good as a linear probe on four pictures of each class",
        "section 3.1.5, figure 6",
        lambda r: r["CLIP"]["shape"] - r["CLIP"]["4 shots"],
    ),
    Claim(
        "sixteen_shots",
        "a linear probe on sixteen pictures of each class overtakes zero-shot",
        "section 3.1.5, figure 6",
        lambda r: r["CLIP"]["16 shots"] - r["CLIP"]["shape"],
    ),
    Claim(
        "contrastive",
        "contrasting pictures with captions beats predicting the captions' words, at equal epochs",
        "section 2.3, figure 2",
        gain("CLIP", "words", key="shape"),
    ),
    Claim(
        "contrastive_faster",
        "and it does so in half of the epochs",
        "section 2.3, figure 2",
        gain("CLIP, short", "words", key="shape"),
    ),
    Claim(
        "both_directions",
        "the loss in both directions beats pictures that pick captions only",
        "section 2.3, figure 3",
        gain("CLIP", "one direction", key="shape"),
    ),
    Claim(
        "scale_rises",
        "the learned scale rises above where it begins",
        "section 2.3",
        lambda r: r["CLIP"]["scale"] - 1 / 0.07,
        "scale",
    ),
)
