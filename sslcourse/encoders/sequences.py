"""Encoders for sequences of frames: LSTM and convolutional GRU."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sslcourse import runtime
from sslcourse.encoders.images import FrozenStage, dim_of
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, SHARE, WHOLE, WIDTH, Number, takes
from sslcourse.transforms import colour


class ConvGRU(nn.Module):
    """A gated recurrent unit at every place of a map (Ballas et al., 2016); with a kernel of 1 the places do
    not speak to each other.

        u, r = sigmoid(W [x, h]),   n = tanh(V [x, r * h]),   h' = (1 - u) h + u n

    The reset gate acts on h *before* the matrix, as in Cho et al. (2014) and in DPC's code;
    `torch.nn.GRUCell` lets it act after, and calls 1 - u what is u here. Weights start orthogonal and biases
    at 0, as in DPC's code.

    Args:
        inside, hidden: channels of the input and of the state.
        kernel: side of the convolutions, odd; DPC has 1.
        dropout: of the state after every step while training; DPC has 0.1.
    """

    @takes(inside=WIDTH, hidden=WIDTH, kernel=WHOLE, dropout=SHARE)
    def __init__(self, inside: int, hidden: int, kernel: int = 1, dropout: float = 0.0):
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise CourseError(
                f"kernel={kernel}; a map keeps its size under an odd kernel: 1 (the paper's), 3 ..."
            )
        self.inside, self.hidden, self.kernel = inside, hidden, kernel
        # update, then reset
        self.gates = nn.Parameter(torch.empty(2 * hidden, inside + hidden, kernel, kernel))
        self.candidate = nn.Parameter(torch.empty(hidden, inside + hidden, kernel, kernel))
        self.gates_bias, self.candidate_bias = (
            nn.Parameter(torch.empty(2 * hidden)),
            nn.Parameter(torch.empty(hidden)),
        )
        self.dropout = nn.Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for matrix in (*self.gates.data.chunk(2), self.candidate.data):
            nn.init.orthogonal_(matrix)
        for bias in (self.gates_bias, self.candidate_bias):
            nn.init.zeros_(bias)

    def step(
        self, x: Float[Tensor, "b c y x"], h: Float[Tensor, "b d y x"] | None = None
    ) -> Float[Tensor, "b d y x"]:
        """The next state from one map; without a state it begins at 0."""
        if h is None:
            h = x.new_zeros(len(x), self.hidden, *x.shape[2:])
        gates = F.conv2d(torch.cat([x, h], 1), self.gates, self.gates_bias, padding=self.kernel // 2)
        u, r = torch.sigmoid(gates).chunk(2, 1)
        n = torch.tanh(
            F.conv2d(torch.cat([x, r * h], 1), self.candidate, self.candidate_bias, padding=self.kernel // 2)
        )
        return self.dropout((1 - u) * h + u * n)

    def forward(
        self, x: Float[Tensor, "b n c y x"], h: Float[Tensor, "b d y x"] | None = None
    ) -> Float[Tensor, "b d y x"]:
        """The state after a whole sequence of maps."""
        for one in x.unbind(1):
            h = self.step(one, h)
        if h is None:
            raise CourseError(f"a sequence of shape {tuple(x.shape)} holds no map; give at least one")
        return h


# ---------------------------------------------------------------------------------------- frame by frame


class Pixels(nn.Module):
    """A frame as its pixels, reduced to `side` x `side` by averaging: (B, 3, T, H, W) to (B, 1, T, size).

    Args:
        side: of the reduced frame, which must divide the film's.
        grey: one value for each pixel (Rec. 601 luma) instead of three.

    `of` undoes it for pictures. The axis of length 1 counts the pieces into which a frame is cut: here there
    is one, see `Patches`."""

    kind = (
        "bce"  # values 0..1: a logistic output and cross-entropy, as Srivastava et al. (2015) have for digits
    )

    @takes(side=COUNT)
    def __init__(self, side: int = 16, grey: bool = True):
        super().__init__()
        self.side, self.grey = side, grey
        self.size = side * side * (1 if grey else 3)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b p t d"]:
        height, width = video.shape[3:]
        if height != width or height % self.side:
            raise CourseError(
                f"frames of {height} x {width} pixels cannot be averaged to {self.side} x {self.side}; "
                "take square ones of a multiple"
            )
        video = colour.grey(video)[:, :, None] if self.grey else video.transpose(1, 2)  # (B, T, C, H, W)
        return (
            F.avg_pool2d(video.flatten(1, 2), height // self.side)
            .unflatten(1, video.shape[1:3])
            .flatten(2)[:, None]
        )

    def of(self, x: Float[Tensor, "b p t d"]) -> Float[Tensor, "b 3 t h w"]:
        """Vectors as pictures again, `side` pixels wide."""
        film = x[:, 0].unflatten(2, (-1, self.side, self.side)).transpose(1, 2)  # (B, C, T, side, side)
        return film.expand(-1, 3, -1, -1, -1)


class Patches(nn.Module):
    """A frame as square patches in colour, at full resolution: one at a random place (the same in all frames
    of a film) while training, all of them side by side in eval mode. (B, 3, T, H, W) to (B, P, T, size).

    Args:
        side: of a patch, which must divide the film's.
    """

    kind = "squared"  # natural patches: a linear output and squared error

    @takes(side=COUNT)
    def __init__(self, side: int = 16):
        super().__init__()
        self.side, self.size = side, 3 * side * side

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b p t d"]:
        b, _, _, height, width = video.shape
        s = self.side
        if height % s or width % s:
            raise CourseError(
                f"frames of {height} x {width} pixels cannot be cut into patches of {s} x {s}; take a side "
                "that divides them"
            )
        if self.training:
            y, x = (
                torch.randint(0, n - s + 1, (b, 1), device=video.device)
                + torch.arange(s, device=video.device)
                for n in (height, width)
            )
            film = torch.arange(b, device=video.device)[:, None, None]
            cut = video.permute(0, 3, 4, 2, 1)[film, y[:, :, None], x[:, None, :]]  # (B, s, s, T, 3)
            return cut.permute(0, 3, 4, 1, 2).flatten(2)[:, None]
        cut = video.unflatten(4, (-1, s)).unflatten(3, (-1, s))  # (B, 3, T, rows, s, columns, s)
        return cut.permute(0, 3, 5, 2, 1, 4, 6).flatten(4).flatten(1, 2)

    def of(self, x: Float[Tensor, "b p t d"]) -> Float[Tensor, "b 3 t h w"]:
        """All patches of square frames laid together again; of a single one, the patch."""
        rows = math.isqrt(x.shape[1])
        # (B, rows, columns, T, 3, s, s)
        film = x.unflatten(3, (3, self.side, self.side)).unflatten(1, (rows, rows))
        return film.permute(0, 4, 3, 1, 5, 2, 6).flatten(5).flatten(3, 4)


class Percepts(nn.Module):
    """A frame as what a convolutional network that does not learn makes of it: (B, 3, T, H, W) to (B, 1, T,
    network.dim).

    Each number is standardised by its mean and spread over the films that `fit` was given, without which they
    are taken as they are. The paper's percepts are the first fully connected layer of a network for ImageNet.
    """

    kind = "squared"
    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network, self.size = FrozenStage(network), dim_of(network)
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("scale", torch.ones(self.size))

    def raw(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b t d"]:
        with torch.no_grad():
            return self.network(video.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(video), -1)).float()

    def fit(self, video: Tensor) -> Percepts:
        """Take mean and spread from films (N, 3, T, H, W), uint8 or floats 0..1."""
        parts = [
            self.raw(p if p.is_floating_point() else p.float() / 255).flatten(0, 1) for p in video.split(64)
        ]
        x = torch.cat(parts)
        mean, spread = runtime.moments(x)
        narrow = spread < 1e-3 * mean.abs()  # there the rounding of a float32 mean is as large as the spread
        self.mean.copy_(torch.where(narrow, mean.float(), x.mean(0)))
        self.scale.copy_(torch.where(narrow, spread.float(), x.std(0)).clamp_min(1e-4))
        return self

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b p t d"]:
        return ((self.raw(video) - self.mean) / self.scale)[:, None]

    def of(self, x: Tensor) -> Tensor:
        raise CourseError("features of a frame are no picture; look at the error of each step instead")


class FrameLSTM(nn.Module):
    """An LSTM that reads a film frame by frame; its last state, h and c of all layers, is the film's
    representation.

    Args:
        frames: what a frame becomes before the LSTM: `Pixels`, `Patches` or `Percepts`.
        hidden: width of each layer.
        depth: how many layers.
        past: how many frames it reads, the first ones of a film.

    Films are floats 0..1, (B, 3, T, H, W) with T of at least `past`; `dim` is 2 hidden depth. Where a frame
    is cut into several patches, each is read by itself and the states are averaged."""

    @takes(hidden=WIDTH, depth=Number(1, 100), past=COUNT)
    def __init__(self, frames: nn.Module, hidden: int = 256, depth: int = 1, past: int = 8):
        super().__init__()
        self.frames, self.hidden, self.depth, self.past = frames, hidden, depth, past
        self.lstm = nn.LSTM(cast(int, frames.size), hidden, depth, batch_first=True)
        self.dim = 2 * hidden * depth

    @property
    def layers(self) -> dict[str, nn.Module]:
        return {"frames": self.frames, "lstm": self.lstm}

    def enter(self, x: Tensor) -> Tensor:
        """Frame vectors as the LSTM reads them: values 0..1 are centred."""
        return x if isinstance(self.frames, Percepts) else 2 * x - 1

    def vectors(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b p t d"]:
        """All frames of films as vectors."""
        return self.frames(video)

    def read(self, x: Float[Tensor, "n t d"]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The top layer's h after every frame (n, t, hidden), and the last h and c of all layers, each
        (depth, n, hidden).
        """
        return self.lstm(self.enter(x))

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        if video.shape[2] < self.past:
            raise CourseError(f"films of {video.shape[2]} frames; this encoder reads the first {self.past}")
        x = self.vectors(video[:, :, : self.past])  # (B, P, past, D)
        _, (h, c) = self.read(x.flatten(0, 1))
        state = torch.cat([*h, *c], 1).float()  # (B P, dim)
        return state.unflatten(0, x.shape[:2]).mean(1)


def pixel_lstm() -> FrameLSTM:
    """The course's own: grey frames of 16 x 16, 256 units, eight frames; 525 k parameters, dim 512."""
    return FrameLSTM(Pixels(16))


def patch_lstm() -> FrameLSTM:
    """For one GPU, the size of the paper's: colour patches of 32 x 32, two layers of 2,048 units, 16 frames;
    75 M parameters, dim 8,192.
    """
    return FrameLSTM(Patches(32), 2048, 2, 16)
