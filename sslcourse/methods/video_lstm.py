"""Video LSTM: what has to be remembered of a film, if its past is to be told backwards and its future
predicted from one state.

Srivastava, Mansimov and Salakhutdinov. Unsupervised Learning of Video Representations using LSTMs.
ICML 2015. arXiv:1502.04681.                                  Notebook: 08_video_lstm

Section 2 of the paper                                 here
    LSTM cell: i, f, o, candidate, c, h                lstm_cell; torch.nn.LSTM in training
    autoencoder: targets in reverse order              targets, VideoLSTM(predict=False)
    future predictor                                   VideoLSTM(reconstruct=False)
    conditional decoder: fed its last true frame       Decoder(conditional=True), delayed
    composite: both decoders from one state            VideoLSTM, the default
and its experiments
    cross-entropy per frame, squared error             nats_per_frame, squared_per_frame
    classifier that starts from the encoder            Classifier, fine_tuned

A decoder starts from the encoder's last state, h *and* c of every layer, and that state is the
representation. The paper's cells have peepholes (gates that look at c), which torch's LSTM has not;
`lstm_cell` has both."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sslcourse import runtime
from sslcourse.encoders.sequences import FrameLSTM
from sslcourse.methods.base import Method, at_least_float32, video_floats_of
from sslcourse.methods.spec import Spec
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, SHARE, WIDTH, Number, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train.recipe import Recipe

# What the authors' configuration for moving digits says; shown beside our recipes, never executed. Its step
# is for a loss that is summed over the batch, the frames and the pixels, and its clamp acts on the update, so
# neither fits a loss that is a mean.
PAPER = dict(
    data="Moving MNIST, on the fly",
    frame="64 x 64, grey",
    past=10,
    future=10,
    hidden=2048,
    peepholes=True,
    forget_bias=0.0,
    optimizer="SGD, momentum 0.9",
    batch_size=80,
    loss="cross-entropy + cross-entropy",
)

# a laptop CPU, moving solids; small batches, because it is steps that are missing
COURSE = Recipe(epochs=20, batch_size=16, lr=3e-3)
FULL = COURSE.but(epochs=100)  # for longer, at most five minutes there
# one GPU, films of 32 frames and 128 pixels
GPU = Recipe(epochs=60, batch_size=128, lr=3e-4, schedule="cosine")

# The rows of the paper's table; arguments of VideoLSTM.
MODELS = {
    "autoencoder": dict(predict=False),
    "future predictor": dict(reconstruct=False),
    "conditional autoencoder": dict(predict=False, conditional_past=True),
    "conditional future predictor": dict(reconstruct=False, conditional_future=True),
    "composite": {},
    "composite, conditional future": dict(conditional_future=True),
}


# ---------------------------------------------------------------------------------------------- the cell


@explained
def lstm_cell(
    x: Float[Tensor, "b d"],
    h: Float[Tensor, "b n"],
    c: Float[Tensor, "b n"],
    w_x: Float[Tensor, "m d"],
    w_h: Float[Tensor, "m n"],
    bias: Float[Tensor, " m"],
    peepholes: Float[Tensor, "3 n"] | None = None,
) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n"]]:
    """One step of an LSTM, written out.

    Args:
        x, h, c: the input, and the state before this step.
        w_x, w_h, bias: m = 4 n rows: input gate, forget gate, candidate, output gate, in torch's order.
            (torch has two biases; this is their sum.)
        peepholes: one weight per unit from c to the input, the forget and the output gate, as in the paper;
            None as in torch.

    Returns:
        The new h and the new c.
    """
    i, f, a, o = (x @ w_x.T + h @ w_h.T + bias).chunk(4, dim=1)  # (B, n) each
    if peepholes is not None:
        i, f = i + peepholes[0] * c, f + peepholes[1] * c
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(a)  # forget a part, write a part
    if peepholes is not None:
        o = o + peepholes[2] * c  # the output gate looks at the new c
    return torch.sigmoid(o) * torch.tanh(c), c


# ----------------------------------------------------------------------------------------- targets and losses


@explained
def targets(x: Float[Tensor, "*b t d"], past: int) -> tuple[Float[Tensor, "*b p d"], Float[Tensor, "*b q d"]]:
    """What the two decoders must say of a film of frame vectors, whose first `past` frames the encoder has
    seen.

    Returns:
        The past in reverse order, the last seen frame first: the end of the film is what the state holds
            best, so the
        decoder starts with what is near. And the future in its own order: the first frame that was not seen
            comes first.
    """
    return x[..., :past, :].flip(-2), x[..., past:, :]


@explained
def delayed(target: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
    """What a conditional decoder is fed: at each step the target of the step before, at the first one nothing
    (zeros).
    """
    return F.pad(target[:, :-1], (0, 0, 1, 0))


@explained
def nats_per_frame(logits: Float[Tensor, "... d"], target: Float[Tensor, "... d"]) -> Float[Tensor, ""]:
    """Cross-entropy in the unit of the paper's tables: summed over the pixels, averaged over frames and
    films.

    Args:
        logits: before the logistic function.
        target: values 0..1. Grey ones keep the loss above 0 even where it is perfect, see `floor`.
    """
    return (
        F.binary_cross_entropy_with_logits(
            at_least_float32(logits), at_least_float32(target), reduction="none"
        )
        .sum(-1)
        .mean()
    )


@explained
def squared_per_frame(output: Float[Tensor, "... d"], target: Float[Tensor, "... d"]) -> Float[Tensor, ""]:
    """Half the squared distance of a frame and its target, averaged over frames and films (the paper's loss
    for patches and percepts).
    """
    return 0.5 * (at_least_float32(output) - at_least_float32(target)).square().sum(-1).mean()


LOSSES = {"bce": nats_per_frame, "squared": squared_per_frame}


@explained
def floor(target: Float[Tensor, "... d"]) -> float:
    """The cross-entropy of a target with itself, in nats per frame: what even a perfect prediction of grey
    values costs.
    """
    x = target.double()
    return float(-(torch.xlogy(x, x) + torch.xlogy(1 - x, 1 - x)).sum(-1).mean())


@explained
@torch.no_grad()
def errors(
    guess: Float[Tensor, "b p t d"], target: Tensor, kind: str = "bce", blur: float = 0.01
) -> Float[Tensor, " t"]:
    """The error of each step, averaged over films: nats per frame ("bce") or half the squared distance
    ("squared").

    Args:
        guess: values as `VideoLSTM.predict` gives them (probabilities, not logits), or copied frames.
        target: the true frames, of the same shape.
        blur: for cross-entropy the guess is kept that far from 0 and 1, or a single pixel that is copied
            wrong would cost infinitely much.
    """
    if guess.shape != target.shape:
        raise CourseError(
            f"guesses of shape {tuple(guess.shape)} for frames of {tuple(target.shape)}; they must agree"
        )
    guess, target = guess.double(), target.double()
    if kind == "squared":
        each = 0.5 * (guess - target).square()
    else:
        guess = guess.clamp(blur, 1 - blur)
        each = -(target * guess.log() + (1 - target) * (1 - guess).log())
    return each.sum(3).mean((0, 1)).float()


@explained
def copy_last(seen: Float[Tensor, "b p t d"], steps: int) -> Float[Tensor, "b p s d"]:
    """The baseline that says: nothing changes."""
    return seen[:, :, -1:].expand(-1, -1, steps, -1)


@explained
def extrapolate(
    seen: Float[Tensor, "b p t d"], steps: int, side: int, reach: int = 3
) -> Float[Tensor, "b p s d"]:
    """The baseline that says: what moved goes on moving. The whole last frame is shifted by its last
    displacement, again and again.

    The displacement is the whole number of pixels, up to `reach` along each axis, by which the last frame but
    one fits the last one best (least squares, on the part where both overlap). What comes in at the border
    repeats the border's pixels.

    Args:
        side: pixels along a side of a frame; d is a multiple of its square.
    """
    b, p, t, _ = seen.shape
    if t < 2:
        raise CourseError("a displacement needs two frames; this film has 1")
    film = seen.reshape(b * p, t, -1, side, side)
    before, last = film[:, -2], film[:, -1]  # (N, C, side, side)
    padded = F.pad(before, (reach,) * 4, mode="replicate")
    shifts = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
    inside = slice(reach, side - reach)
    costs = [
        (padded[:, :, reach - dy : reach - dy + side, reach - dx : reach - dx + side] - last)[
            :, :, inside, inside
        ]
        .square()
        .mean((1, 2, 3))
        for dy, dx in shifts
    ]
    move = torch.tensor(shifts, device=seen.device)[torch.stack(costs, 1).argmin(1)]  # (N, 2): y, x
    at, ahead = torch.arange(side, device=seen.device), torch.arange(1, steps + 1, device=seen.device)
    # (N, steps, side)
    rows, columns = ((at - move[:, k, None, None] * ahead[:, None]).clamp(0, side - 1) for k in (0, 1))
    n = torch.arange(b * p, device=seen.device)[:, None, None, None]
    # (N, steps, side, side, C)
    moved = last.permute(0, 2, 3, 1)[n, rows[..., :, None], columns[..., None, :]]
    return moved.permute(0, 1, 4, 2, 3).reshape(b, p, steps, -1)


# ---------------------------------------------------------------------------------------------- decoders


class Decoder(nn.Module):
    """An LSTM that starts from another's last state and emits a frame at each step.

    Args:
        size: of a frame vector.
        hidden, depth: as the encoder's, whose state it takes over layer by layer.
        conditional: whether it is fed the frame before. Otherwise it has no input, only its state.
        enter: how frame vectors enter an LSTM; the encoder's own `enter`.
        emit: from the read-out to a frame's values; the logistic function or nothing.
    """

    @takes(size=COUNT, hidden=WIDTH, depth=Number(1, 100))
    def __init__(
        self, size: int, hidden: int, depth: int, conditional: bool, enter: Callable, emit: Callable
    ):
        super().__init__()
        self.conditional, self.enter, self.emit, self.size = conditional, enter, emit, size
        # Without an input there is nothing to weigh: one number that is always 0 stands in, and its weights
        # do not learn.
        self.lstm = nn.LSTM(size if conditional else 1, hidden, depth, batch_first=True)
        self.lstm.weight_ih_l0.requires_grad_(conditional)
        self.out = nn.Linear(hidden, size)

    def forward(self, state: tuple[Tensor, Tensor], target: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        """Read-outs while training: a conditional decoder is fed the true frames, each a step late."""
        if self.conditional:
            inputs = delayed(self.enter(target))
        else:
            inputs = target.new_zeros(*target.shape[:2], 1)
        h, _ = self.lstm(inputs, state)
        return self.out(h)

    def run(self, state: tuple[Tensor, Tensor], steps: int) -> Float[Tensor, "n t d"]:
        """Frames without any truth to look at: a conditional decoder is fed what it has just emitted."""
        n, device = state[0].shape[1], state[0].device
        if not self.conditional:
            return self.emit(
                self.out(self.lstm(torch.zeros(n, steps, 1, device=device, dtype=state[0].dtype), state)[0])
            )
        x, frames = torch.zeros(n, 1, self.size, device=device, dtype=state[0].dtype), []
        for _ in range(steps):
            h, state = self.lstm(x, state)
            frames.append(self.emit(self.out(h)))
            x = self.enter(frames[-1]).to(state[0].dtype)
        return torch.cat(frames, 1)


# ---------------------------------------------------------------------------------------------- the method


class VideoLSTM(Method):
    """An encoder LSTM with one or two decoders: autoencoder, future predictor, or both.

    Args:
        encoder: an `encoders.FrameLSTM`.
        reconstruct, predict: which decoders there are; the composite model has both, and adds their losses as
            they are.
        conditional_past, conditional_future: whether they are fed the true frame of the step before while
            training.
        future: how many frames after those that the encoder reads are to be predicted.
        cells: whether a decoder starts from the encoder's c as well as from its h; False shows what c is good
            for.
        split: from (N, T, D) frame vectors and the length of the past to the two targets; put your own
            `targets` here.
        frame_loss: of read-outs and targets; by default what fits the frames (cross-entropy for pixels,
            squared error otherwise).
    """

    @takes(future=Number(1, 1000))
    def __init__(
        self,
        encoder: nn.Module,
        reconstruct: bool = True,
        predict: bool = True,
        conditional_past: bool = False,
        conditional_future: bool = False,
        future: int = 8,
        cells: bool = True,
        split=targets,
        frame_loss=None,
    ):
        super().__init__()
        if not isinstance(encoder, FrameLSTM):
            raise CourseError(
                f"{type(encoder).__name__} is no encoder of films; use an encoders.FrameLSTM, such as "
                "encoders.pixel_lstm()"
            )
        if not (reconstruct or predict):
            raise CourseError("reconstruct=False and predict=False leave nothing to learn; keep one of them")
        if (conditional_past and not reconstruct) or (conditional_future and not predict):
            raise CourseError(
                "a decoder that is not there cannot be conditional; leave conditional_past or "
                "conditional_future False"
            )
        if future < 1:
            raise CourseError(f"future={future}; predict at least 1 frame")
        self.f, self.future, self.cells, self.split = encoder, future, cells, split
        frames: Any = encoder.frames  # `encoders.Pixels` or its like
        self.kind: str = frames.kind
        self.frame_loss = frame_loss or LOSSES[self.kind]
        emit = torch.sigmoid if self.kind == "bce" else nn.Identity()
        decoder = lambda conditional: Decoder(
            frames.size, encoder.hidden, encoder.depth, conditional, encoder.enter, emit
        )
        self.backward_decoder = decoder(conditional_past) if reconstruct else None
        self.forward_decoder = decoder(conditional_future) if predict else None

    @property
    def past(self) -> int:
        return self.f.past

    def state(self, seen: Float[Tensor, "n t d"]) -> tuple[Tensor, Tensor]:
        """What is handed over to the decoders: h and c of all layers after the last frame that is seen."""
        _, (h, c) = self.f.read(seen)
        return (h, c) if self.cells else (h, torch.zeros_like(c))

    def views(self, batch):
        """The frames as the network has them: those it reads, and what the decoders must say. (B, P, T, D)
        each.
        """
        video = video_floats_of(batch)
        needed = self.past + (self.future if self.forward_decoder is not None else 0)
        if video.shape[2] < needed:
            raise CourseError(
                f"films of {video.shape[2]} frames; this method reads {self.past} and predicts "
                f"{needed - self.past}: give {needed}"
            )
        x = self.f.vectors(video[:, :, :needed])
        backwards, future = (
            part.unflatten(0, x.shape[:2]) for part in self.split(x.flatten(0, 1), self.past)
        )
        return {"seen": x[:, :, : self.past], "backwards": backwards, "future": future}

    def loss(self, batch):
        views = {name: x.flatten(0, 1) for name, x in self.views(batch).items()}  # (B P, T, D)
        state = self.state(views["seen"])
        found = {}
        if self.backward_decoder is not None:
            found["reconstruction"] = self.frame_loss(
                self.backward_decoder(state, views["backwards"]), views["backwards"]
            )
        if self.forward_decoder is not None:
            found["prediction"] = self.frame_loss(
                self.forward_decoder(state, views["future"]), views["future"]
            )
        return sum(found.values()), {name: value.detach() for name, value in found.items()}

    def encode(self, batch):
        return self.f(video_floats_of(batch))

    @torch.no_grad()
    def predict(self, batch, steps: int | None = None) -> Float[Tensor, "b p t d"]:
        """The next frames, `future` of them or any number, with no truth to look at; 0..1 for pixels."""
        if self.forward_decoder is None:
            raise CourseError("this model predicts nothing; make it with predict=True")
        return self._run(self.forward_decoder, batch, steps or self.future)

    @torch.no_grad()
    def reconstruct(self, batch) -> Float[Tensor, "b p t d"]:
        """The frames that were read, in the order of the film, from the state alone."""
        if self.backward_decoder is None:
            raise CourseError("this model reconstructs nothing; make it with reconstruct=True")
        return self._run(self.backward_decoder, batch, self.past).flip(2)

    def _run(self, decoder: Decoder, batch, steps: int) -> Tensor:
        if steps < 1:
            raise CourseError(f"steps={steps}; ask for at least 1 frame")
        x = self.f.vectors(video_floats_of(batch)[:, :, : self.past])
        return decoder.run(self.state(x.flatten(0, 1)), steps).float().unflatten(0, x.shape[:2])


# ---------------------------------------------------------------------------------------------- few labels


class Classifier(Method):
    """An LSTM classifier that starts from an encoder's weights: a softmax after every frame, all of them with
    the film's label.

    Args:
        encoder: a `FrameLSTM`; it is copied, and all of the copy learns.
        classes: how many.
        dropout: on h, before the softmax.
    """

    @takes(classes=COUNT, dropout=SHARE)
    def __init__(self, encoder: FrameLSTM, classes: int, dropout: float = 0.5):
        super().__init__()
        self.f = copy.deepcopy(encoder)
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(encoder.hidden, classes)

    def logits(self, batch) -> Float[Tensor, "n t k"]:
        """After every frame."""
        video = video_floats_of(batch)
        x = self.f.vectors(video[:, :, : self.f.past])
        return self.head(self.dropout(self.f.read(x.flatten(0, 1))[0]))

    def loss(self, batch):
        logits = self.logits(batch).float()
        label = batch["label"]
        if int(label.min()) < 0:
            raise CourseError("this data has no labels (-1); a classifier needs them")
        n, t, k = logits.shape
        label = label.repeat_interleave(n // len(label))  # every patch of a film has its label
        return F.cross_entropy(logits.flatten(0, 1), label.repeat_interleave(t)), {}

    def encode(self, batch):
        """The class probabilities of a film: the mean over its frames."""
        logits = self.logits(batch).float()
        video = batch["video"]
        return logits.softmax(2).mean(1).unflatten(0, (len(video), -1)).mean(1)


def fine_tuned(encoder: FrameLSTM, samples, classes: int, recipe: Recipe, seed: int = 0) -> Classifier:
    """A classifier trained on a few labelled films, from the encoder's weights. The encoder is left as it
    was.
    """
    from sslcourse.train.loop import fit

    torch.manual_seed(runtime.step_seed(seed, 0xC1A5))
    method = Classifier(encoder, classes)
    fit(method, samples, recipe.but(batch_size=min(recipe.batch_size, len(samples)), seed=seed))
    return method


def settings_for(recipe: str, toy: bool, classes: int) -> dict:
    """What this method is; plain values, for files."""
    return dict(
        reconstruct=True,
        predict=True,
        conditional_past=False,
        conditional_future=False,
        future=8 if recipe != "gpu" else 13,
    )


def from_settings(encoder: nn.Module, settings: dict) -> VideoLSTM:
    """The method that `settings` describe."""
    return VideoLSTM(encoder, **settings)


SPEC = Spec(
    name="video_lstm",
    lesson="08_video_lstm",
    title="VideoLSTM",
    course=COURSE,
    full=FULL,
    gpu=GPU,
    settings=settings_for,
    build=from_settings,
    data="toyvideos",
    encoders={"course": "pixel_lstm", "gpu": "patch_lstm"},
)
