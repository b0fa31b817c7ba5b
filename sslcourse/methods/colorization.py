"""Tracking by colorization: who may colour a grey film only by copying colours from earlier frames must find
out what moved where.

Vondrick, Shrivastava, Fathi, Guadarrama and Murphy. Tracking Emerges by Colorizing Videos.
ECCV 2018. arXiv:1806.09594.                                  Notebook: 09_tracking_by_colorization

Section 3 of the paper                                      here
    c_i: the colour of a reference cell, quantised          Palette (k-means on a and b of Lab, 16 clusters)
    f_i: embeddings of grey frames                          Colorization.f on Colorization.views
    A_ij = exp(f_i . f_j) / sum_k exp(f_k . f_j)            pointer, softmax over the references i
    y_j = sum_i A_ij c_i                                    pointer
    loss: cross-entropy of y_j and the true colour c_j      copy_loss: y is a distribution already
    afterwards any labels in the place of c                 tracking.propagate

Departures: embeddings are scaled to length 1, so that a temperature means the same for every network and at
every time of the training (`unit=False` is the paper's plain dot product); no 3-D convolutions over time and
no coordinates as input: each frame is encoded alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sslcourse import runtime
from sslcourse.methods.base import Method, at_least_float32, dim_of, floats, video_floats_of, videos_of
from sslcourse.methods.spec import Spec
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import TEMPERATURE, Number, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train import clustering, ties
from sslcourse.train.recipe import Recipe
from sslcourse.transforms.colour import from_lab, lab

# What can be verified of the authors' report; shown beside our recipes, never executed.
PAPER = dict(data="Kinetics", encoder="ResNet-18", cells="stride 8", references=3, colours=16)

COURSE = Recipe(epochs=8, batch_size=8, lr=3e-3)  # a laptop CPU, toytracks
FULL = COURSE.but(epochs=40)  # for longer, at most five minutes there
GPU = Recipe(epochs=100, batch_size=32, lr=1e-3)  # one GPU, a folder of films

SHOWN = ("grey", "colour", "dropout")

# ---------------------------------------------------------------------------------------------- colours


@explained
def in_cells(film: Float[Tensor, "b 3 t h w"], stride: int) -> Float[Tensor, "b 3 t i j"]:
    """The mean colour of each cell of stride x stride pixels; cells at the right and lower border may be
    smaller.
    """
    return F.avg_pool3d(film, (1, stride, stride), ceil_mode=True)


class Palette(nn.Module):
    """The colours that can be copied: centres of k-means on a and b of Lab. It is found once, before the
    first step of a training.
    """

    centre: Tensor  # (colours, 2): a and b of each
    found: Tensor  # whether k-means has run

    @takes(colours=Number(2, 1024))
    def __init__(self, colours: int = 16):
        super().__init__()
        if colours < 2:
            raise CourseError(
                f"colours={colours}; with fewer than 2 there is nothing to tell apart, the paper has 16"
            )
        self.register_buffer("centre", torch.zeros(colours, 2))
        self.register_buffer("found", torch.tensor(False))

    @torch.no_grad()
    def fit(self, dataset, stride: int, films: int = 256) -> None:
        """k-means on the cells of so many films of a data set, drawn at random; uses the random numbers of
        the training.
        """
        order = torch.Generator().manual_seed(runtime.step_seed(int(torch.randint(2**31, (1,))), 0xC01))
        films = min(films, len(dataset))
        videos = next(dataset.batches(films, order))["video"]
        ab = lab(in_cells(floats(videos), stride))[:, 1:].movedim(1, -1).reshape(-1, 2)
        ab = ab[torch.randperm(len(ab), generator=order)[:50_000].to(ab.device)]
        if len(ab) < len(self.centre):
            raise CourseError(
                f"{len(ab)} cells for {len(self.centre)} colours; give more films, or ask for fewer colours"
            )
        self.centre.copy_(clustering.kmeans(ab, len(self.centre), generator=order).centre)
        self.found.fill_(True)

    def forward(self, film: Float[Tensor, "b 3 t i j"]) -> Int[Tensor, "b t i j"]:
        """The nearest colour of each cell of a film of mean colours (0 to 1), as its number."""
        if not self.found:
            raise CourseError(
                "the palette is still empty; train with sslcourse.train.epochs, or call "
                "method.before_epoch(0.0, data.train, {}) first"
            )
        ab = lab(film)[:, 1:].movedim(1, -1)  # (B, T, i, j, 2)
        return clustering.assign(ab.reshape(-1, 2), self.centre).view(ab.shape[:-1])

    def paint(
        self, share: Float[Tensor, "b i j c"], light: Float[Tensor, "b h w"]
    ) -> Float[Tensor, "b 3 h w"]:
        """A picture with this light (L, 0 to 100) and, in each cell, the mean colour by the shares."""
        ab = (share @ self.centre).permute(0, 3, 1, 2)
        ab = F.interpolate(ab, size=light.shape[1:], mode="bilinear", align_corners=False)
        return from_lab(torch.cat([light[:, None], ab], 1))


# ---------------------------------------------------------------------------------------------- the pointer


@explained
def pointer(
    references: Float[Tensor, "n d"],
    targets: Float[Tensor, "m d"],
    colours: Float[Tensor, "n c"],
    temperature: float = 1.0,
) -> Float[Tensor, "m c"]:
    """Where each target points to, and the colours that it finds there: y_j = sum_i A_ij c_i.

    Args:
        references, targets: embeddings.
        colours: of the references, one-hot (or any other labels).
        temperature: the dot products are divided by it.

    Returns:
        y: rows add up to what the rows of `colours` do, 1 for one-hot colours.
    """
    if references.shape[-1] != targets.shape[-1] or len(references) != len(colours):
        raise CourseError(
            f"{tuple(references.shape)} references with {tuple(colours.shape)} colours, "
            f"{tuple(targets.shape)} targets: references and "
            "colours must agree in their rows, references and targets in their columns"
        )
    # (m, n): over the references, for each target
    attention = (at_least_float32(targets) @ at_least_float32(references).T / temperature).softmax(1)
    return attention @ colours.to(attention.dtype)


@explained
def copy_loss(y: Float[Tensor, "m c"], colour: Int[Tensor, " m"], eps: float = 1e-6) -> Float[Tensor, ""]:
    """Mean of -log y at the true colour; 0 where all of the true colour was copied.

    y holds probabilities already. Cross-entropy "with logits" would apply a second softmax to them, and could
    never come near 0."""
    return -(at_least_float32(y).gather(1, colour[:, None]) + eps).log().mean()


# ---------------------------------------------------------------------------------------------- the method


@explained
def draw(film: Tensor, frames: int) -> Tensor:
    """So many frames of each film that follow one another, from a random start of its own: (B, C, T, ...) to
    (B, C, frames, ...).
    """
    t = film.shape[2]
    if t < frames:
        raise CourseError(f"films of {t} frames; {frames} are needed, or fewer references")
    start = torch.randint(t - frames + 1, (len(film),), device=film.device)
    index = start[:, None] + torch.arange(frames, device=film.device)  # (B, frames)
    return film.movedim(2, 1)[torch.arange(len(film), device=film.device)[:, None], index].movedim(1, 2)


@explained
def shown_to_network(
    film: Float[Tensor, "b 3 t h w"], shown: str = "grey", training: bool = True
) -> Float[Tensor, "b 3 t h w"]:
    """What the network sees of a film: its light L three times, from 0 to 1.

    `shown="colour"` gives the colours away. "dropout" is CorrFlow's bottleneck (arXiv:1905.00875): the
    channels of Lab, each dropped with probability one half for a whole film, never all three; nothing is
    dropped outside of training."""
    three = lab(film)
    if shown == "grey":
        return (three[:, :1] / 100).expand(-1, 3, -1, -1, -1)
    if shown not in SHOWN:
        raise CourseError(f"shown={shown!r}; choose one of {', '.join(map(repr, SHOWN))}")
    three = torch.cat([three[:, :1] / 100, three[:, 1:] / 200 + 0.5], 1)
    if shown == "dropout" and training:
        keep = torch.rand(len(film), 3, 1, 1, 1, device=film.device)
        keep = (keep < 0.5) | (keep == keep.amin(1, keepdim=True))
        three = torch.where(keep, three, 0.5)
    return three


class Dense(Method):
    """A method whose encoder gives every cell of every frame a vector."""

    def __init__(self, encoder: nn.Module, shown: str = "grey"):
        super().__init__()
        # refuses a wrong word now and not in the middle of a training
        shown_to_network(torch.zeros(1, 3, 1, 1, 1), shown)
        self.f, self.shown = encoder, shown

    def maps(self, film: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d t i j"]:
        """Embeddings of what is shown of a film, each frame alone."""
        b, _, t = film.shape[:3]
        f = self.f(film.transpose(1, 2).flatten(0, 1))  # (B T, D, i, j)
        return f.unflatten(0, (b, t)).transpose(1, 2)

    def encode(self, batch):
        """(B, D, T, i, j): dense, and not scaled to length 1."""
        return self.maps(shown_to_network(video_floats_of(batch), self.shown, training=False))

    @torch.no_grad()
    def embed(self, frames: Tensor) -> Tensor:
        """(D, T, i, j) of one film (3, T, H, W), uint8 or 0..1, for `tracking.by_features` and
        `widgets.pointer`; on the CPU.
        """
        device, training = next(self.parameters()).device, self.training
        self.eval()
        found = self.encode({"video": frames[None].to(device)})[0].float().cpu()
        self.train(training)
        return found


class Colorization(Dense):
    """Colour the last of a few frames by copying from those before it.

    Args:
        encoder: pictures (B, 3, H, W) in 0..1 to maps (B, encoder.dim, H / encoder.stride, W /
            encoder.stride).
        colours: of the palette.
        references: how many frames before the target may be copied from.
        temperature: of the softmax in training.
        unit: whether embeddings are scaled to length 1; without it they are the paper's.
        shown: "grey", "colour" or "dropout", see `shown_to_network`.
        point, cost: put your own `pointer` and `copy_loss` here.
    """

    @takes(colours=Number(2, 1024), references=Number(1, 100), temperature=TEMPERATURE)
    def __init__(
        self,
        encoder: nn.Module,
        colours: int = 16,
        references: int = 3,
        temperature: float = 0.1,
        unit: bool = True,
        shown: str = "grey",
        point=pointer,
        cost=copy_loss,
    ):
        super().__init__(encoder, shown)
        if references < 1:
            raise CourseError(
                f"references={references}; there must be at least 1 frame to copy from, the paper has 3"
            )
        if not temperature > 0:
            raise CourseError(f"temperature={temperature}; use a number above 0")
        self.palette, self.references, self.temperature, self.unit = (
            Palette(colours),
            references,
            temperature,
            unit,
        )
        self.point, self.cost = point, cost

    def before_epoch(self, progress, dataset, optimizers):
        if not self.palette.found:
            self.palette.fit(dataset, self.f.stride)

    def views(self, batch):
        film = floats(draw(videos_of(batch), self.references + 1))
        return {
            "shown": shown_to_network(film, self.shown, self.training),
            "colour": self.palette(in_cells(film, self.f.stride)),
        }

    def copied(
        self, maps: Float[Tensor, "b d t i j"], labels: Float[Tensor, "b t i j c"]
    ) -> Float[Tensor, "b m c"]:
        """What the cells of the last frame copy of the labels of the frames before it."""
        f = F.normalize(at_least_float32(maps), dim=1) if self.unit else at_least_float32(maps)
        f = f.flatten(3).permute(0, 2, 3, 1)  # (B, T, cells, D)
        known = labels[:, :-1].flatten(1, 3)  # (B, (T - 1) cells, c)
        return torch.stack(
            [self.point(f[i, :-1].flatten(0, 1), f[i, -1], known[i], self.temperature) for i in range(len(f))]
        )

    def loss(self, batch):
        shown, colour = self.views(batch).values()
        onehot = F.one_hot(colour, len(self.palette.centre)).float()
        y, truth = self.copied(self.maps(shown), onehot).flatten(0, 1), colour[:, -1].flatten()
        return self.cost(y, truth), {"colour found": ties.found(y, truth).mean()}

    @torch.no_grad()
    def coloured(self, film: Tensor) -> dict[str, Tensor]:
        """Grey, copied and true colours of the last frame of films (B, 3, T, H, W): each (B, 3, H, W) in
        0..1.

        And, as "found" (B,), the share of the cells whose likeliest colour is the true one.
        """
        film = floats(film[:, :, -self.references - 1 :])
        training = self.training
        self.eval()
        colour = self.palette(in_cells(film, self.f.stride))
        y = self.copied(
            self.maps(shown_to_network(film, self.shown, False)),
            F.one_hot(colour, len(self.palette.centre)).float(),
        )
        self.train(training)
        light = lab(film[:, :, -1])[:, 0]
        return {
            "grey": (light / 100)[:, None].expand(-1, 3, -1, -1),
            "copied": self.palette.paint(y.view(*colour[:, -1].shape, -1), light),
            "true": film[:, :, -1],
            "found": ties.found(y, colour[:, -1].flatten(1)).mean(1),
        }


class SingleImage(Dense):
    """The baseline of the paper: tell the colour of each cell from one grey picture. It never has to find
    anything again.
    """

    @takes(colours=Number(2, 1024))
    def __init__(self, encoder: nn.Module, colours: int = 16):
        super().__init__(encoder)
        self.palette, self.g = (
            Palette(colours),
            nn.Sequential(nn.ReLU(), nn.Conv2d(dim_of(encoder), colours, 1)),
        )

    def before_epoch(self, progress, dataset, optimizers):
        if not self.palette.found:
            self.palette.fit(dataset, self.f.stride)

    def views(self, batch):
        film = floats(draw(videos_of(batch), 1))
        return {"shown": shown_to_network(film), "colour": self.palette(in_cells(film, self.f.stride))}

    def loss(self, batch):
        shown, colour = self.views(batch).values()
        logits = self.g(self.maps(shown)[:, :, 0]).float()
        return F.cross_entropy(logits, colour[:, 0]), {
            "colour found": ties.found(logits.movedim(1, -1), colour[:, 0]).mean()
        }


class CopiedMasks(Colorization):
    """The yardstick: the same network and the same pointer, told the true masks of the training films in the
    place of colours.

    Reads batch["mask"] (B, T, H, W), numbers from 0; and nothing else does.
    """

    def before_epoch(self, progress, dataset, optimizers):
        return None

    def views(self, batch):
        if "mask" not in batch:
            raise CourseError(
                'CopiedMasks learns from batch["mask"]; train it on films with masks, such as toybox.tracks()'
            )
        video = videos_of(batch)
        both = draw(
            torch.cat(
                [video.float() / (255 if video.dtype == torch.uint8 else 1), batch["mask"][:, None].float()],
                1,
            ),
            self.references + 1,
        )
        # The object in the middle of each cell: a mean of object numbers would be nobody's.
        middle = self.f.stride // 2
        mask = both[:, 3, :, middle :: self.f.stride, middle :: self.f.stride].long()
        return {"shown": shown_to_network(both[:, :3], self.shown, self.training), "mask": mask}

    def loss(self, batch):
        shown, mask = self.views(batch).values()
        y = self.copied(self.maps(shown), F.one_hot(mask, int(mask.max()) + 1).float()).flatten(0, 1)
        truth = mask[:, -1].flatten()
        # As many cells show the ground as show all objects together many times over: each object counts as
        # much as the ground.
        weight = 1 / torch.bincount(truth, minlength=y.shape[1]).clamp_min(1).float()
        nll = -(y.gather(1, truth[:, None])[:, 0] + 1e-6).log()
        weight = weight[truth]
        return (nll * weight).sum() / weight.sum(), {"mask found": ties.found(y, truth).mean()}


def settings_for(recipe: str, toy: bool, classes: int) -> dict:
    """What this method is; plain values, for files."""
    return {"colours": 16, "references": 3, "temperature": 0.1, "unit": True, "shown": "grey"}


def from_settings(encoder: nn.Module, settings: dict) -> Colorization:
    """The method that `settings` describe."""
    return Colorization(encoder, **settings)


SPEC = Spec(
    name="colorization",
    lesson="09_tracking_by_colorization",
    title="Colorization",
    course=COURSE,
    full=FULL,
    gpu=GPU,
    settings=settings_for,
    build=from_settings,
    data="toytracks",
    encoders={"course": "dense_cnn", "gpu": "dense_resnet18"},
)
