"""What "Unsupervised learning of video representations using LSTMs" (arXiv:1502.04681) claims, and nine
encoders a seed to decide it.

Representation: all six models of the paper's table are trained on the toybox's films without labels; then
each encoder, and one that was not trained, becomes a classifier of the motion class by fine-tuning on a few
labelled films. Prediction: three models on moving digits, whose errors are read where the paper reads them,
with nothing but the model's own frames to go on, and also with the true frame of the step before, as in
training. Errors are nats per frame; an effect is how much the error falls."""

from __future__ import annotations

import time

import torch

from sslcourse import encoders, runtime
from sslcourse.data import moving_digits, toybox
from sslcourse.data.datasets import Data, few_labels, open_labels
from sslcourse.methods import video_lstm
from sslcourse.results.claims.engine import Claim, Runs
from sslcourse.train import features, ties
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe

LESSON = "08_video_lstm"

PRETRAIN = video_lstm.COURSE.but(epochs=5)  # on films of the toybox
PREDICT = video_lstm.COURSE.but(epochs=8)  # on moving digits
FINE_TUNE = Recipe(epochs=20, batch_size=32, lr=3e-3)
FILMS = 40  # labelled ones for each class
PREDICTORS = ("future predictor", "composite", "conditional future predictor")


def untrained(seed: int, **arguments) -> video_lstm.VideoLSTM:
    """A model whose encoder starts from the same weights whatever its decoders are."""
    torch.manual_seed(runtime.step_seed(seed, 0x157))
    return video_lstm.VideoLSTM(encoders.pixel_lstm(), **arguments)


def few_films(data: Data, per_class: int, seed: int):
    """So many labelled films of each class."""
    share = per_class * len(data.classes) / len(data.train)
    return data.train if share >= 1 else data.train.take(few_labels(data.train, share, seed))


def opened(data: Data, reader: str):
    """The labels of the test films, read when no encoder is trained any more that could be chosen by them."""
    return open_labels(data.test, reader)[0].cpu()


def judged(encoder, data: Data, per_class: int, seed: int, label, recipe: Recipe = FINE_TUNE) -> float:
    """Accuracy on the test films, whose labels are given, of the encoder fine-tuned on a few films."""
    judge = video_lstm.fine_tuned(encoder, few_films(data, per_class, seed), len(data.classes), recipe, seed)
    return float(ties.found(features.extract(judge, data.test), label).mean())


def prediction_errors(method: video_lstm.VideoLSTM, samples) -> dict[str, float]:
    """Nats per frame of the future: "error" with its own frames only, "error, true frames fed" as in
    training.
    """
    with features.frozen(method):
        video = samples.video.float() / 255
        views = method.views({"video": video})
        assert method.forward_decoder is not None  # it was made to predict
        fed = method.forward_decoder(method.state(views["seen"].flatten(0, 1)), views["future"].flatten(0, 1))
        own = method.predict({"video": video})
        return {
            "error": float(video_lstm.errors(own, views["future"]).mean()),
            "error, true frames fed": float(
                video_lstm.errors(fed.sigmoid()[:, None], views["future"]).mean()
            ),
        }


def runs(
    seed: int,
    data: Data | None = None,
    digits: Data | None = None,
    pretrain: Recipe = PRETRAIN,
    predict: Recipe = PREDICT,
    say=print,
) -> Runs:
    """Train what the claims compare: six encoders on the toybox's films and three on moving digits, about a
    minute on one thread.
    """
    data, digits = data or toybox.videos(), digits or moving_digits.videos()
    results: Runs = {"baseline LSTM": {}}
    encoded = {"baseline LSTM": untrained(seed).f}
    for name, arguments in video_lstm.MODELS.items():
        start, method = time.perf_counter(), untrained(seed, **arguments)
        row = fit(method, data.train.unlabelled(), pretrain.but(seed=seed))[-1]
        encoded[name] = method.f
        results[name] = {"loss": row["loss"], "seconds": time.perf_counter() - start}
    label = opened(data, "claims.video_lstm")
    for name, encoder in encoded.items():
        results[name]["few labels"] = judged(encoder, data, FILMS, seed, label)
        say(f"  seed {seed}  {name:<30} {FILMS} labelled films a class: {results[name]['few labels']:.3f}")
    for name in PREDICTORS:
        method = untrained(seed, **video_lstm.MODELS[name])
        fit(method, digits.train.unlabelled(), predict.but(seed=seed))
        results[name] |= prediction_errors(method, digits.test)
        say(
            f"  seed {seed}  {name:<30} digits: {results[name]['error']:.1f} nats per frame, "
            f"{results[name]['error, true frames fed']:.1f} when fed the true frames"
        )
    return results


def _above(better: str, worse: str):
    return lambda r: r[better]["few labels"] - r[worse]["few labels"]


def _saved(better: str, worse: str, key: str = "error"):
    return lambda r: r[worse][key] - r[better][key]


TRANSFER, FUTURE = "the table of pretraining methods", "the table of future prediction"

CLAIMS = (
    Claim(
        "over_baseline",
        "few labels: the composite encoder beats an LSTM that starts from nothing",
        TRANSFER,
        _above("composite", "baseline LSTM"),
    ),
    Claim(
        "every_one",
        "so does each of the six unsupervised models",
        TRANSFER,
        lambda r: min(r[name]["few labels"] for name in video_lstm.MODELS) - r["baseline LSTM"]["few labels"],
    ),
    Claim(
        "over_autoencoder",
        "few labels: composite above autoencoder",
        TRANSFER,
        _above("composite", "autoencoder"),
    ),
    Claim(
        "over_predictor",
        "few labels: composite above future predictor",
        TRANSFER,
        _above("composite", "future predictor"),
    ),
    Claim(
        "better_prediction",
        "the composite model predicts the future better than the future predictor",
        FUTURE,
        _saved("composite", "future predictor"),
        "nats per frame",
    ),
    Claim(
        "condition_fed",
        "conditioning lowers the pixel error while the true frames are fed",
        FUTURE,
        _saved("conditional future predictor", "future predictor", "error, true frames fed"),
        "nats per frame",
    ),
    Claim(
        "condition_free",
        "and where the model is fed its own frames",
        FUTURE,
        _saved("conditional future predictor", "future predictor"),
        "nats per frame",
    ),
    Claim(
        "not_the_autoencoder",
        "few labels: the autoencoder is above the conditional one",
        TRANSFER,
        _above("autoencoder", "conditional autoencoder"),
    ),
    Claim(
        "conditional_predictor",
        "few labels: the conditional future predictor is above the one without a condition",
        TRANSFER,
        _above("conditional future predictor", "future predictor"),
    ),
)
