"""DPC: from the past of a film predict the features of its future, place by place, well enough to tell them
from all other features.

Han, Xie and Zisserman. Video Representation Learning by Dense Predictive Coding.
ICCV workshop on Large Scale Holistic Video Understanding, 2019. arXiv:1909.04656.
Notebook: 10_dense_predictive_coding

The paper                                       here
    blocks x_1 .. x_N of a film                 blocks_of, DPC.views
    z_t = f(x_t), a map, not a vector           DPC.f.maps
    c_t = g(z_1 .. z_t), a ConvGRU              DPC.g
    z^_{t+1} = phi(c_t), fed back into g        roll_out, with DPC.phi
    dense contrastive loss                      dense_nce
    easy, spatial and temporal negatives        kinds
    curriculum: predict further, from less      horizon_at, DPC.before_epoch
    the context of all blocks, pooled           DPC.encode

What is predicted is z before its ReLU, so that there is something to predict where a unit is silent; what the
GRU reads is rectified. Neither side is detached. With several processes each scores its own films against
each other, as the authors' code does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sslcourse.encoders.sequences import ConvGRU
from sslcourse.methods.base import Method, at_least_float32, dim_of, floats, video_floats_of, videos_of
from sslcourse.methods.spec import Spec
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, SHARE, TEMPERATURE, Number, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train import ties
from sslcourse.train.recipe import Recipe
from sslcourse.transforms.augment import View, film_view

# UCF101, the authors' code; shown beside our recipes, never executed.
PAPER = dict(
    data="UCF101",
    encoder="2d3d-ResNet-18",
    optimizer="Adam",
    epochs=470,
    batch_size=32,
    lr=1e-3,
    weight_decay=1e-5,
    blocks="8 of 5 frames",
    predicted=3,
    GRU="kernel 1, 256 channels, dropout 0.1",
    temperature=1.0,
)

# a laptop CPU, the moving toybox: many small steps rather than many candidates
COURSE = Recipe(epochs=10, batch_size=16, lr=2e-3)
FULL = COURSE.but(epochs=60)  # for longer, at most five minutes there
# one GPU, UCF101 at 128 pixels
GPU = Recipe(epochs=100, batch_size=64, lr=1e-3, schedule="cosine", weight_decay=1e-5)

# of the columns of a row: what `kinds` numbers
KINDS = ("positive", "other time", "other place", "other film")
POSITIVE, TEMPORAL, SPATIAL, EASY = range(4)


@explained
def blocks_of(video: Float[Tensor, "b 3 t h w"], frames: int) -> Float[Tensor, "b n 3 k h w"]:
    """A film cut into blocks of `frames` frames that follow one another and do not overlap; what is left at
    its end is left out.
    """
    count = video.shape[2] // frames if frames >= 1 else 0
    if count < 2:
        raise CourseError(
            f"a film of {video.shape[2]} frames has fewer than two blocks of {frames}; take shorter "
            "blocks "
            "or longer films"
        )
    return video[:, :, : count * frames].unflatten(2, (count, frames)).transpose(1, 2)


@explained
def roll_out(
    context: Float[Tensor, "b d y x"], phi: Callable, step: Callable, ahead: int
) -> Float[Tensor, "b p d y x"]:
    """Predict the next map from the context, let the GRU read the prediction as if it had come true, and go
    on.

    Args:
        context: the GRU's state after the past.
        phi: context -> prediction, which can be below 0.
        step: (map, context) -> the next context; maps are rectified before they are read, the predicted ones
            too.
        ahead: how many blocks.
    """
    predicted: list[Tensor] = []
    for k in range(ahead):
        if k:
            context = step(F.relu(predicted[-1]), context)
        predicted.append(phi(context))
    return torch.stack(predicted, 1)


@explained
def cells(maps: Float[Tensor, "b p d y x"]) -> Float[Tensor, "n d"]:
    """Every feature of the maps as one row: film after film, in it block after block, in it place after
    place.
    """
    return maps.permute(0, 1, 3, 4, 2).flatten(0, 3)


@explained
def scores_of(
    prediction: Float[Tensor, "b p d y x"], target: Float[Tensor, "b p d y x"], temperature: float = 1.0
) -> Float[Tensor, "n n"]:
    """Every predicted feature (row) against every true one (column): dot products, divided by the
    temperature.
    """
    if prediction.shape != target.shape:
        raise CourseError(
            f"predictions of shape {tuple(prediction.shape)} for {tuple(target.shape)}; they must "
            "agree in "
            "all axes"
        )
    return at_least_float32(cells(prediction)) @ at_least_float32(cells(target)).T / temperature


@explained
def dense_nce(
    prediction: Float[Tensor, "b p d y x"],
    target: Float[Tensor, "b p d y x"],
    temperature: float = 1.0,
    without: Sequence[str] = (),
) -> Float[Tensor, ""]:
    """Each predicted feature must pick the true one of its film, block and place out of all of the batch;
    mean over all of them.

    Args:
        prediction, target: (films, blocks, channels, height, width), both can be negative; gradients flow
            into both.
        temperature: divides the dot products; the paper has 1.
        without: kinds of negatives to leave out, of "other time", "other place" and "other film".
    """
    scores = scores_of(prediction, target, temperature)
    if without:
        unknown = sorted(set(without) - set(KINDS[1:]))
        if unknown:
            raise CourseError(f"without={tuple(without)}; the kinds of negatives are {', '.join(KINDS[1:])}")
        b, p, _, h, w = target.shape
        kind = kinds(b, p, h * w, scores.device)
        for name in without:
            scores = scores.masked_fill(kind == KINDS.index(name), float("-inf"))
    return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def kinds(
    films: int, blocks: int, places: int, device: torch.device | str | None = None
) -> Int[Tensor, "n n"]:
    """What a column is to a row: 0 the positive, 1 other time (temporal), 2 other place (spatial), 3 other
    film (easy).

    A row has blocks - 1 of "other time" (the same place of the same film), blocks (places - 1) of "other
    place" (the same film, any time) and (films - 1) blocks places of "other film"; n = films blocks places,
    in the order of `cells`."""
    n = films * blocks * places
    row = torch.arange(n, device=device)
    film, place = row // (blocks * places), row % places
    kind = torch.full((n, n), EASY, device=device)
    same_film = film[:, None] == film
    kind[same_film] = SPATIAL
    kind[same_film & (place[:, None] == place)] = TEMPORAL
    return kind.fill_diagonal_(POSITIVE)


@explained
def picked(scores: Float[Tensor, "n n"], kind: Int[Tensor, "n n"]) -> dict[str, Tensor]:
    """What the best-scoring column of each row is, as shares that add up to 1: "cell found", and the three
    kinds of error. Columns that score equally well share what one of them alone would get.
    """
    best = ties.best(scores).float()
    share = best / best.sum(1, keepdim=True)
    return {
        name: (share * (kind == number)).sum(1).mean()
        for number, name in enumerate(("cell found", *KINDS[1:]))
    }


def horizon_at(progress: float, first: int, last: int) -> int:
    """How many blocks are predicted at this point of the training: from `first` to `last` in equal parts of
    it.
    """
    return min(last, first + int(progress * (last - first + 1) + 1e-9))


class DPC(Method):
    """Dense Predictive Coding around any encoder of blocks.

    Args:
        encoder: has `maps`, from blocks (B, 3, K, H, W) in 0..1 to (B, dim, h, w) before the last ReLU, and
            `dim`.
        frames: of a block.
        horizon: (first, last) number of blocks that are predicted, from as many fewer; two different numbers
            are the paper's curriculum.
        temperature: of the loss; divides the dot products. The paper has 1.
        dropout: of the GRU's state after every step in training.
        sequential: feed each prediction back into the GRU (the paper's way); False has one phi for every step
            ahead, from the same context.
        order: of the blocks: "kept", "shuffled" (drawn anew for each film and step: then nothing says what
            comes next) or "reversed".
        view: draws one random view of a batch of films; by default one crop a film and colours of their own
            for every frame.
        loss: (prediction, target, temperature) -> number; put your own `dense_nce` here.
        roll: (context, phi, step, ahead) -> predictions; put your own `roll_out` here.
    """

    @takes(frames=Number(1, 10_000), temperature=TEMPERATURE, dropout=SHARE)
    def __init__(
        self,
        encoder: nn.Module,
        frames: int = 4,
        horizon: Sequence[int] = (1, 2),
        temperature: float = 1.0,
        dropout: float = 0.1,
        sequential: bool = True,
        order: str = "kept",
        view: View | None = None,
        loss: Callable = dense_nce,
        roll: Callable = roll_out,
    ):
        super().__init__()
        first, last = horizon if len(horizon) == 2 else (0, 0)
        if not 1 <= first <= last <= 100:
            raise CourseError(
                f"horizon={tuple(horizon)}; give the first and the last number of blocks to predict, "
                "such "
                "as (1, 2)"
            )
        if order not in ("kept", "shuffled", "reversed"):
            raise CourseError(f"order={order!r}; choose 'kept', 'shuffled' or 'reversed'")
        if not temperature > 0:
            raise CourseError(f"temperature={temperature}; it divides the scores and must be above 0")
        self.f, self.g = encoder, ConvGRU(dim_of(encoder), dim_of(encoder), kernel=1, dropout=dropout)
        predictors = [predictor(dim_of(encoder)) for _ in range(1 if sequential else last)]
        self.phi = predictors[0] if sequential else nn.ModuleList(predictors)
        self.frames, self.horizon, self.temperature, self.sequential, self.order = (
            frames,
            (first, last),
            temperature,
            sequential,
            order,
        )
        self.view = view or film_view()
        self.contrast, self.roll = loss, roll
        self.ahead = last  # blocks that are predicted now; the training sets it

    def views(self, batch):
        films = self.view(videos_of(batch))
        blocks = blocks_of(films, self.frames)  # (B, N, 3, K, H, W)
        if self.order == "reversed":
            blocks = blocks.flip(1)
        elif self.order == "shuffled":
            order = torch.rand(blocks.shape[:2], device=blocks.device).argsort(1)  # another one for each film
            blocks = blocks[torch.arange(len(blocks), device=blocks.device)[:, None], order]
        return {"blocks": blocks}

    def maps(self, blocks: Float[Tensor, "b n 3 k h w"]) -> Float[Tensor, "b n d y x"]:
        """z of every block, before the ReLU."""
        return self.f.maps(blocks.flatten(0, 1)).unflatten(0, blocks.shape[:2])

    def predict(self, z: Float[Tensor, "b n d y x"], ahead: int) -> Float[Tensor, "b p d y x"]:
        """From the maps of the past the maps of the next `ahead` blocks."""
        context = self.g(F.relu(z))
        if self.sequential:
            return self.roll(context, self.phi, self.g.step, ahead)
        return torch.stack([phi(context) for phi in list(self.phi)[:ahead]], 1)

    def guessed(
        self, blocks: Float[Tensor, "b n 3 k h w"], ahead: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Predicted and true maps of the last `ahead` blocks, both (B, ahead, D, h, w)."""
        ahead = ahead or self.ahead
        if ahead >= blocks.shape[1]:
            raise CourseError(
                f"{blocks.shape[1]} blocks, of which {ahead} should be predicted; at least one must be "
                "left to predict from: "
                f"lower horizon, or cut shorter blocks (frames={self.frames})"
            )
        z = self.maps(blocks)
        past = blocks.shape[1] - ahead
        return self.predict(z[:, :past], ahead), z[:, past:]

    def loss(self, batch):
        prediction, target = self.guessed(self.views(batch)["blocks"])
        loss = self.contrast(prediction, target, self.temperature)
        with torch.no_grad():
            b, p, _, h, w = target.shape
            found = picked(
                scores_of(ties.wide(prediction), ties.wide(target)), kinds(b, p, h * w, target.device)
            )
        return loss, {**found, "horizon": loss.new_tensor(float(p))}

    def encode(self, batch):
        return self.context(video_floats_of(batch)).mean((2, 3))

    def context(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d y x"]:
        """The GRU's state after all blocks of a film: what is kept in the end."""
        return self.g(F.relu(self.maps(blocks_of(video, self.frames))))

    def before_epoch(self, progress, dataset, optimizers):
        self.ahead = horizon_at(progress, *self.horizon)

    # Where the curriculum stands belongs to the checkpoint: an epoch that goes on in its middle does not
    # begin again.
    def get_extra_state(self):
        return torch.tensor([self.ahead])

    def set_extra_state(self, state):
        self.ahead = int(state[0])


def predictor(dim: int) -> nn.Sequential:
    """phi: two layers at every place (the authors' code)."""
    return nn.Sequential(nn.Conv2d(dim, dim, 1), nn.ReLU(inplace=True), nn.Conv2d(dim, dim, 1))


@explained
@torch.no_grad()
def pretext(method: DPC, video: Tensor, ahead: int | None = None, chunk: int = 32) -> dict[str, float]:
    """How well the task is solved on films as they are: what is picked, as `picked` says, mean over chunks of
    so many films.

    The number of candidates is that of a batch of `chunk` films; films that fill no chunk are left out.
    """
    if len(video) < chunk:
        raise CourseError(f"{len(video)} films, fewer than a chunk of {chunk}; pass more, or a smaller chunk")
    rows = []
    for part in video.split(chunk):
        if len(part) == chunk:
            prediction, target = method.guessed(blocks_of(floats(part), method.frames), ahead)
            b, p, _, h, w = target.shape
            scores = scores_of(ties.wide(prediction), ties.wide(target))
            rows.append(picked(scores, kinds(b, p, h * w, target.device)))
    return {name: float(torch.stack([row[name] for row in rows]).mean()) for name in rows[0]}


class MotionClassifier(Method):
    """The yardstick: the same encoder and GRU trained with labels. It reads `batch["label"]`, and is no
    paper's method.

    Args:
        encoder, frames: as for `DPC`.
        classes: how many labels there are.
        view: augmentation; leave its flip off where labels depend on clockwise and counter-clockwise.
    """

    @takes(classes=COUNT, frames=Number(1, 10_000))
    def __init__(self, encoder: nn.Module, classes: int, frames: int = 4, view: View | None = None):
        super().__init__()
        self.f, self.g = encoder, ConvGRU(dim_of(encoder), dim_of(encoder))
        self.head = nn.Linear(dim_of(encoder), classes)
        self.frames, self.view = frames, view or film_view(strength=0, hue_by=0, jitter=0, copied=0)

    def views(self, batch):
        return {"blocks": blocks_of(self.view(videos_of(batch)), self.frames)}

    def features(self, blocks: Tensor) -> Tensor:
        return self.g(F.relu(self.f.maps(blocks.flatten(0, 1))).unflatten(0, blocks.shape[:2])).mean((2, 3))

    def before_epoch(self, progress, dataset, optimizers):
        if not dataset.labelled:
            raise CourseError(
                f"{dataset.name!r} carries no labels (-1); supervised training needs a labelled training "
                "split"
            )

    def loss(self, batch):
        logits = self.head(self.features(self.views(batch)["blocks"])).float()  # (B, classes)
        return F.cross_entropy(logits, batch["label"]), {
            "accuracy": ties.found(logits, batch["label"]).mean()
        }

    def encode(self, batch):
        return self.features(blocks_of(video_floats_of(batch), self.frames))


def settings_for(recipe: str, toy: bool, classes: int) -> dict:
    """What this method is; plain values, for files."""
    if recipe != "gpu":
        return {
            "frames": 4,
            "horizon": [1, 2],
            "temperature": 1.0,
            "dropout": 0.1,
            "view": {"area": [0.7, 1.0], "flip": 0.0 if toy else 0.5},
        }
    return {
        "frames": 5,
        "horizon": [3, 4],
        "temperature": 1.0,
        "dropout": 0.1,
        "view": {"area": [0.5, 1.0], "flip": 0.0 if toy else 0.5},
    }


def from_settings(encoder: nn.Module, settings: dict) -> DPC:
    """The method that `settings` describe."""
    return DPC(encoder, **{**settings, "view": film_view(**settings["view"])})


SPEC = Spec(
    name="dpc",
    lesson="10_dense_predictive_coding",
    title="DPC",
    course=COURSE,
    full=FULL,
    gpu=GPU,
    settings=settings_for,
    build=from_settings,
    data="toyvideos",
    encoders={"course": "small_3d", "gpu": "resnet18_2d3d"},
)
