"""The comparison of "Unsupervised learning of video representations using LSTMs" (arXiv:1502.04681): what
each model teaches an encoder.

    sslcourse table video_lstm --seeds 3

Departures: the paper trains on percepts of YouTube clips and fine-tunes on UCF101 and HMDB51; here it is grey
pixels of the toybox's films, and their four motion classes. Every encoder sees the same films as often; the
composite model takes two losses from each. The error of prediction is that of models of their own, on moving
digits, with no true frame to go on after the eighth. The paper's columns stand beside
it for the order alone: the scales have nothing to do with each other.
"""

from __future__ import annotations

import statistics

from sslcourse.data import moving_digits, toybox
from sslcourse.methods import video_lstm
from sslcourse.results.claims.video_lstm import (
    FILMS,
    FINE_TUNE,
    PREDICT,
    PRETRAIN,
    judged,
    opened,
    prediction_errors,
    untrained,
)
from sslcourse.results.tables import cell
from sslcourse.runtime import progress
from sslcourse.runtime.options import EPOCHS, SEEDS, Number, takes
from sslcourse.train.loop import fit

TITLE = (
    "Pretraining an LSTM on films (test accuracy of the motion class, %; error of prediction on "
    "digits, nats per frame)"
)
PAPER = {  # UCF101 with few labels, and with all of them
    "baseline LSTM": (63.7, 74.5),
    "autoencoder": (66.2, 75.1),
    "future predictor": (64.9, 74.9),
    "conditional autoencoder": (65.8, 74.8),
    "conditional future predictor": (65.1, 74.9),
    "composite": (67.0, 75.8),
    "composite, conditional future": (67.1, 75.8),
}


def _nats(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}" if values else "–"


@takes(
    seeds=SEEDS,
    films=Number(32, 100_000),
    digits=Number(32, 100_000),
    epochs=EPOCHS,
    digit_epochs=EPOCHS,
    labelled=Number(1, 100_000),
    held_out=Number(32, 100_000),
)
def measure(
    seeds: int = 3,
    say=print,
    films: int = 1200,
    digits: int = 1200,
    epochs: int = PRETRAIN.epochs,
    digit_epochs: int = PREDICT.epochs,
    labelled: int = FILMS,
    held_out: int = 600,
) -> list[dict]:
    """Rows of the table: mean and standard deviation over seeds.

    Args:
        films, epochs: of the toybox to train the encoders on, and passes over them.
        digits, digit_epochs: the same for prediction.
        labelled: films of each class for "few labels"; all of `films` are the other column, with half as many
            passes.
        held_out: test films of each kind.
    """
    data, moving = toybox.videos(films, test=held_out), moving_digits.videos(digits, test=held_out)
    found: dict[str, dict[str, list[float]]] = {name: {"few": [], "all": [], "error": []} for name in PAPER}
    for seed in progress.each(range(seeds), "seed"):
        encoded = {}
        for name, column in found.items():
            method = untrained(seed, **video_lstm.MODELS.get(name, {}))
            if name in video_lstm.MODELS:
                fit(method, data.train.unlabelled(), PRETRAIN.but(epochs=epochs, seed=seed))
            encoded[name] = method.f
            if name in video_lstm.MODELS and method.forward_decoder is not None:
                predictor = untrained(seed, **video_lstm.MODELS[name])
                fit(predictor, moving.train.unlabelled(), PREDICT.but(epochs=digit_epochs, seed=seed))
                column["error"].append(prediction_errors(predictor, moving.test)["error"])
        label = opened(data, "tables.video_lstm")
        for name, column in found.items():
            column["few"].append(judged(encoded[name], data, labelled, seed, label))
            column["all"].append(
                judged(
                    encoded[name],
                    data,
                    films,
                    seed,
                    label,
                    FINE_TUNE.but(epochs=max(1, FINE_TUNE.epochs // 2)),
                )
            )
            say(f"  seed {seed}  {name:<30} few {column['few'][-1]:.3f}  all {column['all'][-1]:.3f}")
    return [
        {
            "model": name,
            f"{labelled} films a class": cell(column["few"]),
            f"all {films:,} films": cell(column["all"]),
            "digits, nats per frame": _nats(column["error"]),
            "paper, UCF101 few": PAPER[name][0],
            "paper, UCF101 all": PAPER[name][1],
        }
        for name, column in found.items()
    ]
