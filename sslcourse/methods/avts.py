"""AVTS: a film and its sound belong together only at the right moment; who can tell when they are out of step
has learned to see and to hear.

Korbar, Tran and Torresani. Cooperative Learning of Audio and Video Models from Self-Supervised
Synchronization. NeurIPS 2018. arXiv:1807.00230.
Notebook: 11_audio_video_sync

The paper                                       here
    video network f_v (MC3, 3-D then 2-D)       AVTS.f and its head AVTS.g_seen
    audio network f_a on a mel spectrogram      AVTS.ear and its head AVTS.g_heard
    a clip and the sound of the same time       cut, AVTS.views
    easy, hard, super-hard negatives            starts, partners
    contrastive loss with a margin              contrastive
    curriculum: easy, then 25 % hard            share_at, AVTS.before_epoch
    features for actions and for sounds         AVTS.encode, AVTS.ear

Each film of a batch gives two windows, drawn so that the two could change places. Picture and sound of a
window are a pair in sync; the pairs out of sync are the same pictures with the same sounds, dealt out anew.
So every picture and every sound is in as many pairs of one kind as of the other, and neither alone says
anything about the answer. (The paper draws a second sound for each negative.)

What the paper leaves open, or what had to change for small films and half a minute, are arguments: how long
the embeddings are (`length`), and with it what the margin asks for; how far apart the windows of a hard
negative are (`gap`: half a second, as in the paper, would leave few moments in films of three seconds); batch
normalisation in the heads (`normalised`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sslcourse import encoders
from sslcourse.methods.base import (
    Ear,
    Method,
    at_least_float32,
    dim_of,
    floats,
    sounds_of,
    video_floats_of,
    videos_of,
)
from sslcourse.methods.spec import Spec
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import FACTOR, FRAMES, HERTZ, SHARE, WIDTH, Number, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train import ties
from sslcourse.train.recipe import Recipe
from sslcourse.transforms import sounds

# What the reviews and later code of others confirm; shown beside our recipes, never executed.
PAPER = dict(
    data="AudioSet, Kinetics",
    encoder="MC3-18",
    margin=0.99,
    curriculum="easy, then 75 % easy and 25 % hard",
    first_filter="3 x 7 x 7",
)

# a laptop CPU, scenes of the toybox: many small steps, of 24 windows each
COURSE = Recipe(epochs=20, batch_size=12, lr=2e-3)
FULL = COURSE.but(epochs=100)  # for longer, at most five minutes there
GPU = Recipe(epochs=90, batch_size=64, lr=1e-3, schedule="cosine")  # one GPU, films of 112 pixels with sound
EARS = {"small_mel": encoders.small_mel, "resnet18_mel": encoders.resnet18_mel}

LENGTHS = {"halved": 0.5, "unit": 1.0, "free": None}  # of embeddings


@explained
def contrastive(
    v: Float[Tensor, "n d"], a: Float[Tensor, "n d"], together: Bool[Tensor, " n"], margin: float
) -> Float[Tensor, ""]:
    """The paper's loss: pairs in sync are drawn together, pairs out of sync are driven apart until they are
    `margin` away.

        E = 1/N sum_n  y_n |v_n - a_n|^2 + (1 - y_n) max(margin - |v_n - a_n|, 0)^2

    Args:
        v, a: what is seen and what is heard, row n of both is a pair.
        together: whether the pair is in sync (y).
        margin: the paper has 0.99; distances of halved unit vectors go from 0 to 1, of unit vectors from 0 to
            2.
    """
    # its slope at 0 is 0; that of a root of squares would be infinite
    d = torch.linalg.vector_norm(at_least_float32(v) - at_least_float32(a), dim=1)
    return torch.where(together, d.square(), F.relu(margin - d).square()).mean()


@explained
def cut(
    video: Tensor, audio: Tensor, seen: Int[Tensor, " b"], heard: Int[Tensor, " b"], frames: int
) -> tuple[Tensor, Tensor]:
    """A window of `frames` frames of each film, and as much of its sound, from the same or another moment.

    Args:
        video, audio: (B, 3, T, H, W) and (B, L), as long as each other: sample n is heard while frame n T / L
            is seen.
        seen, heard: the frames with which the window of the picture and that of the sound begin, one for each
            film.
        frames: of a window.

    Returns:
        (B, 3, frames, H, W) and (B, frames L / T).
    """
    film = torch.arange(len(video), device=video.device)[:, None]
    rate = audio.shape[1] / video.shape[2]  # samples a frame
    length = round(frames * rate)
    at = (heard.to(torch.float64) * rate).round().long()[:, None] + torch.arange(length, device=audio.device)
    when = seen[:, None] + torch.arange(frames, device=video.device)
    return video.transpose(1, 2)[film, when].transpose(1, 2), audio[film, at]


def starts(
    films: int,
    count: int,
    frames: int,
    least: int,
    most: int,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "2 films"]:
    """Two moments for each film, at least `least` and at most `most` frames apart: all such pairs are equally
    likely.

    As (t, t') is as likely as (t', t), both moments have the same distribution.

    Args:
        count: frames of a film.
        frames: of a window; both windows lie inside the film.
    """
    last = count - frames  # the last start
    if last < max(least, 1):
        raise CourseError(
            f"films of {count} frames; two windows of {frames} frames that begin {least} frames apart need "
            f"{frames + max(least, 1)}: "
            "take longer films (toybox.sounding.scenes()) or shorter windows (frames=, on the command line "
            "--set "
            "frames=8)"
        )
    moment = torch.arange(last + 1)
    apart = (moment[:, None] - moment).abs()
    allowed = ((apart >= least) & (apart <= most)).nonzero().to(device)  # (pairs, 2)
    return allowed[torch.randint(len(allowed), (films,), device=device, generator=generator)].T


@explained
def partners(hard: Bool[Tensor, " b"], generator: torch.Generator | None = None) -> Int[Tensor, " n"]:
    """Which window's sound each picture gets in its pair out of sync: every sound once, none its own.

    Windows are numbered 0 to B - 1 (the first ones of the films) and B to 2 B - 1 (the second ones).

    Args:
        hard: for each film whether its negatives are hard: then its windows change sounds. The others get
            those of another film, the first window that of a first one, in a random ring.
    """
    films = len(hard)
    film = torch.arange(films, device=hard.device)
    easy = film[~hard]
    if len(easy) == 1:
        raise CourseError(
            "one film alone has no other whose sound it could get; make no film or at least two of a "
            "batch "
            "easy"
        )
    other = film + films  # the other window of the same film
    ring = easy[torch.randperm(len(easy), device=hard.device, generator=generator)]
    other[ring] = ring.roll(1)
    back = torch.where(hard, film, other + films)
    return torch.cat([other, back])


def share_at(progress: float, shares: Sequence[float | int], switch: float) -> float:
    """The share of hard negatives: the first one until `switch` (0 to 1), then the second. The paper: 0 for
    50 of 90 epochs, then 1/4.
    """
    return float(shares[0] if progress < switch - 1e-9 else shares[1])


def head(inside: int, hidden: int, dim: int, normalised: bool) -> nn.Sequential:
    """From what one network found at each moment to the common space."""
    if not normalised:
        return nn.Sequential(nn.Linear(inside, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim))
    return nn.Sequential(
        nn.Linear(inside, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, dim, bias=False),
        nn.BatchNorm1d(dim, affine=False),
    )


class AVTS(Method):
    """Audio-visual temporal synchronisation of any video encoder and any audio encoder that keep time.

    Args:
        encoder: has `maps`, from films (B, 3, T, H, W) in 0..1 to (B, dim, T', h, w), and `dim`.
        hears: has `maps`, from log-mel spectrograms (B, 1, M, S) to (B, dim, S'), and `dim`; becomes `ear.f`.
        frames: of a window.
        fps, rate: frames and samples of sound per second.
        dim, hidden: of the common space, and of the layer before it.
        margin: of the loss.
        length: of embeddings: "halved" unit vectors (distances 0 to 1; so does later code that cites the
            paper), "unit" vectors, or "free".
        hard: share of hard negatives at first and after the switch. (0, 0.25) is the paper's curriculum, (0,
            0) easy only, (1, 1) hard only.
        switch: when, as a share of the training.
        gap: seconds between the two windows of a hard negative.
        overlap: super-hard negatives in place of hard ones: windows a quarter of their length or more apart
            that overlap.
        objective: "margin", or "cross-entropy" of a classifier of both embeddings side by side.
        correspondence: only ask whether picture and sound are of one film, whatever the moment; then a pair
            "in sync" need not be.
        keep_time: what the heads read keeps the order of moments; False averages over them.
        normalised: the heads have batch normalisation, also at their end. It takes the easy way out, the same
            embedding for everything at half of the margin, where the loss stands still for hundreds of steps.
            The paper's heads have none, as far as is known.
        loss: (v, a, together, margin) -> number; put your own `contrastive` here.
        window: (video, audio, seen, heard, frames) -> windows; put your own `cut` here.
    """

    least_batch = 2

    @takes(
        frames=Number(1, 10_000),
        fps=FRAMES,
        rate=HERTZ,
        dim=WIDTH,
        hidden=WIDTH,
        margin=FACTOR,
        switch=SHARE,
        gap=FACTOR,
    )
    def __init__(
        self,
        encoder: nn.Module,
        hears: nn.Module,
        frames: int = 16,
        fps: float | int = 16,
        rate: int = 8000,
        dim: int = 64,
        hidden: int = 128,
        margin: float = 0.99,
        length: str = "halved",
        hard: Sequence[float | int] = (0.0, 0.25),
        switch: float = 5 / 9,
        gap: float = 0.0,
        overlap: bool = False,
        objective: str = "margin",
        correspondence: bool = False,
        keep_time: bool = True,
        normalised: bool = True,
        loss: Callable = contrastive,
        window: Callable = cut,
    ):
        super().__init__()
        if length not in LENGTHS:
            raise CourseError(f"length={length!r}; choose one of {', '.join(LENGTHS)}")
        if objective not in ("margin", "cross-entropy"):
            raise CourseError(f"objective={objective!r}; choose 'margin' or 'cross-entropy'")
        if len(hard) != 2 or not all(0 <= share <= 1 for share in hard):
            raise CourseError(
                f"hard={hard}; give two shares from 0 to 1, before and after the switch: (0, 0.25) is "
                "the "
                "paper's"
            )
        if correspondence and any(hard):
            raise CourseError(
                f"correspondence=True asks for the film and not for the moment; hard={tuple(hard)} does: "
                "write hard=(0, 0)"
            )
        if not margin > 0 or frames < 2 or gap < 0:
            raise CourseError(
                f"margin={margin}, frames={frames}, gap={gap}; use a margin above 0, at least 2 "
                "frames, a "
                "gap of 0 or more seconds"
            )
        self.f, self.ear = encoder, Ear(hears, rate)
        self.frames, self.fps, self.margin, self.length, self.gap, self.overlap = (
            frames,
            fps,
            margin,
            length,
            gap,
            overlap,
        )
        self.hard, self.switch, self.objective, self.correspondence, self.keep_time = (
            tuple(hard),
            switch,
            objective,
            correspondence,
            keep_time,
        )
        self.contrast, self.window = loss, window
        moments = (
            self._moments(encoder, torch.zeros(1, 3, frames, 32, 32), 2),
            self._moments(hears, self._silence(), 2),
        )
        self.g_seen = head(dim_of(encoder) * (moments[0] if keep_time else 1), hidden, dim, normalised)
        self.g_heard = head(dim_of(hears) * (moments[1] if keep_time else 1), hidden, dim, normalised)
        self.judge = head(2 * dim, hidden, 2, False) if objective == "cross-entropy" else None
        self.share = float(self.hard[0])  # of hard negatives now; the training sets it

    def _silence(self) -> Tensor:
        return sounds.log_mel(torch.zeros(1, round(self.frames / self.fps * self.ear.rate)), self.ear.rate)

    @staticmethod
    def _moments(encoder: Any, x: Tensor, axis: int) -> int:
        was = encoder.training
        with torch.no_grad():
            moments = encoder.eval().maps(x).shape[axis]
        encoder.train(was)
        return moments

    # ------------------------------------------------------------------------------------------ pairs

    @property
    def apart(self) -> tuple[int, int]:
        """By how many frames the two windows of a film differ, at least and at most."""
        if self.overlap:
            return max(1, self.frames // 4), self.frames - 1
        return self.frames + round(self.gap * self.fps), 10**9

    def views(self, batch):
        video, audio = videos_of(batch), sounds_of(batch)
        seconds = video.shape[2] / self.fps, audio.shape[1] / self.ear.rate
        if abs(seconds[0] - seconds[1]) > 0.5 / self.fps:
            raise CourseError(
                f"{seconds[0]:.2f} s of picture ({self.fps} frames a second) with {seconds[1]:.2f} s of "
                f"sound ({self.ear.rate} samples "
                "a second); they must be as long as each other: set fps and rate to those of the films (on "
                "the "
                "command line --set fps=16 --set rate=8000)"
            )
        films = len(video)
        if films < 2:
            raise CourseError("a batch of one film has no other film to take a sound from; use at least two")
        moments = starts(films, video.shape[2], self.frames, *self.apart, device=video.device)
        windows = [self.window(video, audio, moment, moment, self.frames) for moment in moments]
        hard = torch.zeros(films, dtype=torch.bool, device=video.device)
        count = int(self.share * films + torch.rand(()))  # so that it is right on average
        hard[torch.randperm(films, device=video.device)[: films if films - count == 1 else count]] = True
        right = torch.arange(2 * films, device=video.device)
        if self.correspondence:
            swap = torch.rand(films, device=video.device) < 0.5
            right = torch.where(swap.repeat(2), right.roll(films), right)
        return {
            "video": torch.cat([w[0] for w in windows]),
            "audio": torch.cat([w[1] for w in windows]),
            "right": right,
            "wrong": partners(hard)[right],
        }

    # --------------------------------------------------------------------------------------- the common space

    def _embedded(self, z: Tensor) -> Tensor:
        length = LENGTHS[self.length] if self.objective == "margin" else None
        return at_least_float32(z) if length is None else length * F.normalize(at_least_float32(z), dim=1)

    def see(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        """Windows of pictures, floats 0..1, in the common space."""
        moments = self.f.maps(video).mean((3, 4))  # (B, D, T)
        return self._embedded(self.g_seen(moments.flatten(1) if self.keep_time else moments.mean(2)))

    def hear(self, audio: Float[Tensor, "b l"]) -> Float[Tensor, "b d"]:
        """Windows of sound in the common space."""
        moments = self.ear.f.maps(self.ear.logmel({"audio": audio}))  # (B, D, S)
        return self._embedded(self.g_heard(moments.flatten(1) if self.keep_time else moments.mean(2)))

    def distance(self, v: Float[Tensor, "n d"], a: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """How far each pair is from being in sync; of the classifier, how much it prefers "out of sync"."""
        if self.judge is None:
            return torch.linalg.vector_norm(v - a, dim=1)
        logits = self.judge(torch.cat([v, a], 1)).float()
        return logits[:, 0] - logits[:, 1]

    def loss(self, batch):
        shown = self.views(batch)
        v, a = self.see(floats(shown["video"])), self.hear(shown["audio"])
        pairs = torch.cat([v, v]), torch.cat([a[shown["right"]], a[shown["wrong"]]])
        together = torch.arange(2 * len(v), device=v.device) < len(v)
        d = self.distance(*pairs)
        if self.judge is None:
            loss = self.contrast(*pairs, together, self.margin)
        else:
            # the cross-entropy of two classes whose logits differ by d
            loss = F.softplus(torch.where(together, d, -d)).mean()
        right, wrong = d.detach().chunk(2)
        return loss, {
            # The nearer of the two pairs is taken for the one in sync, of equals either.
            "told apart": ties.found(-torch.stack([right, wrong], 1), torch.zeros_like(right)).mean(),
            "in sync": right.mean(),
            "out of sync": wrong.mean(),
            "hard": loss.new_tensor(self.share),
        }

    def encode(self, batch):
        return self.f(video_floats_of(batch))

    def before_epoch(self, progress, dataset, optimizers):
        self.share = share_at(progress, self.hard, self.switch)

    # Where the curriculum stands belongs to the checkpoint: an epoch that goes on in its middle does not
    # begin again.
    def get_extra_state(self):
        return torch.tensor([self.share], dtype=torch.float64)

    def set_extra_state(self, state):
        self.share = float(state[0])


def settings_for(recipe: str, toy: bool, classes: int) -> dict:
    """What this method is; plain values, for files."""
    rest = {
        "frames": 16,
        "margin": 0.99,
        "length": "halved",
        "hard": [0.0, 0.25],
        "switch": 5 / 9,
        "objective": "margin",
    }
    if recipe != "gpu":
        return {"ear": "small_mel", "fps": 16, "rate": 8000, "gap": 0.0, "dim": 64, "hidden": 128, **rest}
    return {
        "ear": "resnet18_mel",
        "fps": 16,
        "rate": 8000 if toy else 16000,
        "gap": 0.0 if toy else 0.5,
        "dim": 128,
        "hidden": 512,
        **rest,
    }


def from_settings(encoder: nn.Module, settings: dict) -> AVTS:
    """The method that `settings` describe."""
    rest = {name: value for name, value in settings.items() if name != "ear"}
    if settings["ear"] not in EARS:
        raise CourseError(f"ear={settings['ear']!r}; choose one of {', '.join(EARS)}")
    return AVTS(encoder, EARS[settings["ear"]](), **rest)


SPEC = Spec(
    name="avts",
    lesson="11_audio_video_sync",
    title="AVTS",
    course=COURSE,
    full=FULL,
    gpu=GPU,
    settings=settings_for,
    build=from_settings,
    data="toyscenes",
    encoders={"course": "small_mc3", "gpu": "mc3_18"},
    hears=True,
    frames=48,  # three seconds: two windows of one second, and room between them
)
