"""Backbones: images or short films in, one vector for each out.

Every encoder has `.dim`, the length of its vector, and `.layers`, an ordered dict of its named stages, which the layer-wise
probes read. Inputs are floats 0..1 (B, 3, H, W); they are centred inside, so that no data set's mean has to travel around.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sslcourse import colour, common
from sslcourse.common import CourseError


def _stage(inside: int, outside: int, kernel: int, stride: int, norm: str = "batch") -> nn.Sequential:
    conv, normalise = (nn.Conv2d, nn.BatchNorm2d) if norm == "batch" else (StandardisedConv2d, group_norm)
    return nn.Sequential(
        conv(inside, outside, kernel, stride, kernel // 2, bias=False), normalise(outside), nn.ReLU(inplace=True)
    )


def group_norm(channels: int, groups: int = 16) -> nn.GroupNorm:
    """Normalises each sample by itself, over `groups` groups of channels (fewer where they do not divide the channels)."""
    return nn.GroupNorm(math.gcd(groups, channels), channels)


def standardised(weight: Tensor) -> Tensor:
    """Each output's weights with mean 0 and variance 1 over all that it reads (weight standardisation, Qiao et al., 2019)."""
    return F.layer_norm(weight, weight.shape[1:], eps=1e-8)


class StandardisedConv2d(nn.Conv2d):
    """A convolution whose filters are standardised at every use; a normalisation must follow, which sets the scale."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, standardised(self.weight), self.bias)


class StandardisedLinear(nn.Linear):
    """A linear layer whose rows are standardised at every use; a normalisation must follow, which sets the scale."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, standardised(self.weight), self.bias)


class Stages(nn.Module):
    """Named stages one after another, and the length of what comes out."""

    def __init__(self, stages: dict[str, nn.Module], dim: int):
        super().__init__()
        self.stages = nn.Sequential()
        for name, stage in stages.items():
            self.stages.add_module(name, stage)
        self.dim = dim

    @property
    def layers(self) -> dict[str, nn.Module]:
        return dict(self.stages.named_children())


class Encoder(Stages):
    """Named stages one after another, then the average over all places."""

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        return self.stages(image * 4 - 2).mean((2, 3))  # centred, and spread to about unit variance


def small_cnn(width: int = 32, norm: str = "batch") -> Encoder:
    """Five convolutions for 32-pixel images: the course's own encoder, 280 k parameters and dim 128 at width 32.

    The first stage halves the resolution with a 5x5 kernel, because a convolution at full resolution is where a laptop's
    time would go. `norm="group+ws"` has group normalisation and weight standardisation in place of batch normalisation:
    what it makes of a picture does not depend on the others in its batch (Richemond et al., 2020, arXiv:2010.10241).
    """
    if norm not in ("batch", "group+ws"):
        raise CourseError(f"norm={norm!r}; choose 'batch' or 'group+ws'")
    w = width
    stages = {
        "conv1": _stage(3, w, 5, 2, norm),  # (B, 32, 16, 16)
        "conv2": _stage(w, 2 * w, 3, 2, norm),  # (B, 64, 8, 8)
        "conv3": _stage(2 * w, 2 * w, 3, 1, norm),
        "conv4": _stage(2 * w, 4 * w, 3, 2, norm),  # (B, 128, 4, 4)
        "conv5": _stage(4 * w, 4 * w, 3, 1, norm),
    }
    return Encoder(stages, 4 * w)


def resnet18(stem: str = "cifar") -> Encoder:
    """torchvision's ResNet-18; `stem="cifar"` has a 3x3 first convolution and no max-pooling (SimCLR, appendix B.9).

    The ImageNet stem on 32-pixel images costs several points. dim 512, 11.2 M parameters.
    """
    from torchvision.models import resnet18 as build

    net = build(weights=None)
    if stem == "cifar":
        first = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), net.bn1, net.relu]
        nn.init.kaiming_normal_(first[0].weight, mode="fan_out", nonlinearity="relu")
    elif stem == "imagenet":
        first = [net.conv1, net.bn1, net.relu, net.maxpool]
    else:
        raise CourseError(f"stem={stem!r}; choose 'cifar' (32 to 64 pixels) or 'imagenet'")
    stages = {"conv1": nn.Sequential(*first), "layer1": net.layer1, "layer2": net.layer2, "layer3": net.layer3,
              "layer4": net.layer4}  # fmt: skip
    return Encoder(stages, 512)


def first_filters(encoder: nn.Module) -> Float[Tensor, "n 3 k k"]:
    """The first convolution's kernels, each scaled to 0..1 for a picture."""
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            w = module.weight.detach().float().cpu()
            low, high = w.amin((1, 2, 3), keepdim=True), w.amax((1, 2, 3), keepdim=True)
            return (w - low) / (high - low).clamp_min(1e-8)
    raise CourseError(f"{type(encoder).__name__} has no convolution whose filters could be shown")


def parameters(network: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def random_encoder(encoder: Encoder, images: Tensor) -> Encoder:
    """An untrained encoder made ready to be a fair baseline: batch statistics from the data, then eval mode.

    An untrained network whose batch normalisation still holds mean 0 and variance 1 loses its scale from layer to layer,
    and looks worse than random features are.
    """
    encoder.train()
    with torch.no_grad():
        for part in images.split(256)[:8]:
            encoder(part)
    return encoder.eval()


class FrozenStage(nn.Module):
    """A stage that does not learn: no gradient reaches its weights, and its batch normalisation stays in eval mode whatever the loop says."""

    def __init__(self, stage: nn.Module):
        super().__init__()
        self.stage = stage.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> FrozenStage:
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.stage(x)


def with_frozen(encoder: Encoder, first: int, seed: int = 0) -> Encoder:
    """A copy whose first stages are kept as they are and do not learn, and whose other stages start anew.

    Args:
        first: how many stages are kept; 0 keeps none, so that everything is trained from scratch.
        seed: of the new weights: the same for every encoder that is compared.
    """
    layers = copy.deepcopy(encoder).layers
    if not 0 <= first < len(layers):
        raise CourseError(f"first={first}; this encoder has {len(layers)} stages, keep 0 to {len(layers) - 1} of them")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(common.step_seed(seed, 0xF2))
        for i, stage in enumerate(layers.values()):
            for module in stage.modules() if i >= first else ():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
    return Encoder({name: FrozenStage(s) if i < first else s for i, (name, s) in enumerate(layers.items())}, encoder.dim)


# ---------------------------------------------------------------------------------------------- blocks of a film


class BlockEncoder(Stages):
    """Named stages of 3-D convolutions over a few frames, then the average over time: a dense map, and its mean as one vector.

    `maps` is what Dense Predictive Coding predicts: the last stage has no ReLU, so that a feature can also be below 0.
    """

    def maps(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d y x"]:
        """The map before the last ReLU, averaged over the time that is left; films are floats 0..1."""
        return self.stages(video * 4 - 2).mean(2)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        return F.relu(self.maps(video)).mean((2, 3))


class RepeatedBorder3d(nn.Conv3d):
    """A 3-D convolution that goes on beyond the picture's border with the border's own pixels, and with zeros before and after the block."""

    def __init__(self, inside: int, outside: int, kernel: tuple[int, int, int], stride: tuple[int, int, int]):
        super().__init__(inside, outside, kernel, stride, (kernel[0] // 2, 0, 0), bias=False)
        self.beyond = (kernel[2] // 2,) * 2 + (kernel[1] // 2,) * 2

    def forward(self, x: Tensor) -> Tensor:
        b, c, t, h, w = x.shape
        # As images of C T channels: torch repeats the border of those twice as fast as that of a film.
        padded = F.pad(x.reshape(b, c * t, h, w), self.beyond, mode="replicate")
        return super().forward(padded.view(b, c, t, *padded.shape[2:]))


def small_3d(dim: int = 64, border: str = "repeated") -> BlockEncoder:
    """Four convolutions for blocks of a few frames of 32 pixels, 181 k parameters at dim 64: (B, 3, T, 32, 32) to a map (B, dim, 4, 4).

    The first looks at each frame by itself (2-D, as the lower layers of DPC's backbone), the others over three frames (3-D).

    - Group normalisation and not batch normalisation: the blocks of one film stand in one batch and share its colours, and batch
      statistics would tell each of them about the others. With groups a block's map owes nothing to its neighbours.
    - The border is repeated and not padded with zeros: zeros tell a place how far the border is, and then DPC's places are told apart
      without looking at the film (`border="zeros"` shows it; lesson 10).
    """
    if border not in ("repeated", "zeros"):
        raise CourseError(f"border={border!r}; choose 'repeated' or 'zeros'")

    def stage(inside: int, outside: int, kernel: tuple, stride: tuple, last: bool = False) -> nn.Sequential:
        if border == "zeros":
            conv = nn.Conv3d(inside, outside, kernel, stride, tuple(k // 2 for k in kernel), bias=False)
        else:
            conv = RepeatedBorder3d(inside, outside, kernel, stride)
        return nn.Sequential(conv, group_norm(outside, 8), *[nn.ReLU(inplace=True)] * (not last))

    quarter, half = max(1, dim // 4), max(1, dim // 2)
    stages = {
        "conv1": stage(3, quarter, (1, 5, 5), (1, 2, 2)),  # (B, 16, T, 16, 16)
        "conv2": stage(quarter, half, (3, 3, 3), (1, 2, 2)),  # (B, 32, T, 8, 8)
        "conv3": stage(half, dim, (3, 3, 3), (2, 2, 2)),  # (B, 64, T/2, 4, 4)
        "conv4": stage(dim, dim, (3, 3, 3), (2, 1, 1), last=True),  # (B, 64, T/4, 4, 4)
    }
    return BlockEncoder(stages, dim)


class BasicBlock3d(nn.Module):
    """Two convolutions and a shortcut (ResNet's basic block), with kernels of `time` frames and, at the end of a DPC backbone, no last ReLU."""

    def __init__(self, inside: int, outside: int, time: int, stride: tuple[int, int, int], last_relu: bool = True):
        super().__init__()
        kernel, padding = (time, 3, 3), (time // 2, 1, 1)
        self.conv1 = nn.Conv3d(inside, outside, kernel, stride, padding, bias=False)
        self.conv2 = nn.Conv3d(outside, outside, kernel, 1, padding, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm3d(outside), nn.BatchNorm3d(outside)
        self.shortcut = nn.Identity()
        if inside != outside or stride != (1, 1, 1):
            self.shortcut = nn.Sequential(nn.Conv3d(inside, outside, 1, stride, bias=False), nn.BatchNorm3d(outside))
        self.last_relu = last_relu

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))) + self.shortcut(x)
        return F.relu(out) if self.last_relu else out


def resnet18_2d3d() -> BlockEncoder:
    """DPC's backbone (section 4 of the paper and the authors' code): a ResNet-18 that is 2-D in its lower half and 3-D above.

    The last stage has 256 channels instead of 512 and no last ReLU: blocks of 5 frames of 128 pixels, (B, 3, 5, 128, 128), give a map
    (B, 256, 4, 4). 14.1 M parameters, dim 256. Its batch normalisation keeps running statistics, unlike the authors' during
    pre-training, so that a frozen encoder can be judged (they gave out weights with statistics later for the same reason).
    """
    first = nn.Sequential(nn.Conv3d(3, 64, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False), nn.BatchNorm3d(64), nn.ReLU(inplace=True),
                          nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)))  # fmt: skip

    def layer(inside: int, outside: int, time: int, stride: tuple[int, int, int], last: bool = False) -> nn.Sequential:
        return nn.Sequential(BasicBlock3d(inside, outside, time, stride), BasicBlock3d(outside, outside, time, (1, 1, 1), last_relu=not last))

    stages = {"conv1": first, "layer1": layer(64, 64, 1, (1, 1, 1)), "layer2": layer(64, 128, 1, (1, 2, 2)),
              "layer3": layer(128, 256, 3, (2, 2, 2)), "layer4": layer(256, 256, 3, (2, 2, 2), last=True)}  # fmt: skip
    encoder = BlockEncoder(stages, 256)
    for module in encoder.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return encoder


class ConvGRU(nn.Module):
    """A gated recurrent unit at every place of a map (Ballas et al., 2016); with a kernel of 1 the places do not speak to each other.

        u, r = sigmoid(W [x, h]),   n = tanh(V [x, r * h]),   h' = (1 - u) h + u n

    The reset gate acts on h *before* the matrix, as in Cho et al. (2014) and in DPC's code; `torch.nn.GRUCell` lets it act after, and
    calls 1 - u what is u here. Weights start orthogonal and biases at 0, as in DPC's code.

    Args:
        inside, hidden: channels of the input and of the state.
        kernel: side of the convolutions, odd; DPC has 1.
        dropout: of the state after every step while training; DPC has 0.1.
    """

    def __init__(self, inside: int, hidden: int, kernel: int = 1, dropout: float = 0.0):
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise CourseError(f"kernel={kernel}; a map keeps its size under an odd kernel: 1 (the paper's), 3 ...")
        self.inside, self.hidden, self.kernel = inside, hidden, kernel
        self.gates = nn.Parameter(torch.empty(2 * hidden, inside + hidden, kernel, kernel))  # update, then reset
        self.candidate = nn.Parameter(torch.empty(hidden, inside + hidden, kernel, kernel))
        self.gates_bias, self.candidate_bias = nn.Parameter(torch.empty(2 * hidden)), nn.Parameter(torch.empty(hidden))
        self.dropout = nn.Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for matrix in (*self.gates.data.chunk(2), self.candidate.data):
            nn.init.orthogonal_(matrix)
        for bias in (self.gates_bias, self.candidate_bias):
            nn.init.zeros_(bias)

    def step(self, x: Float[Tensor, "b c y x"], h: Float[Tensor, "b d y x"] | None = None) -> Float[Tensor, "b d y x"]:
        """The next state from one map; without a state it begins at 0."""
        if h is None:
            h = x.new_zeros(len(x), self.hidden, *x.shape[2:])
        gates = F.conv2d(torch.cat([x, h], 1), self.gates, self.gates_bias, padding=self.kernel // 2)
        u, r = torch.sigmoid(gates).chunk(2, 1)
        n = torch.tanh(F.conv2d(torch.cat([x, r * h], 1), self.candidate, self.candidate_bias, padding=self.kernel // 2))
        return self.dropout((1 - u) * h + u * n)

    def forward(self, x: Float[Tensor, "b n c y x"], h: Float[Tensor, "b d y x"] | None = None) -> Float[Tensor, "b d y x"]:
        """The state after a whole sequence of maps."""
        for one in x.unbind(1):
            h = self.step(one, h)
        return h


# ---------------------------------------------------------------------------------------------- frame by frame


class Pixels(nn.Module):
    """A frame as its pixels, reduced to `side` x `side` by averaging: (B, 3, T, H, W) to (B, 1, T, size).

    Args:
        side: of the reduced frame, which must divide the film's.
        grey: one value for each pixel (Rec. 601 luma) instead of three.

    `of` undoes it for pictures. The axis of length 1 counts the pieces into which a frame is cut: here there is one, see `Patches`.
    """

    kind = "bce"  # values 0..1: a logistic output and cross-entropy, as Srivastava et al. (2015) have for digits

    def __init__(self, side: int = 16, grey: bool = True):
        super().__init__()
        self.side, self.grey = side, grey
        self.size = side * side * (1 if grey else 3)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b p t d"]:
        height, width = video.shape[3:]
        if height != width or height % self.side:
            raise CourseError(f"frames of {height} x {width} pixels cannot be averaged to {self.side} x {self.side}; take square ones of a multiple")
        video = colour.grey(video)[:, :, None] if self.grey else video.transpose(1, 2)  # (B, T, C, H, W)
        return F.avg_pool2d(video.flatten(1, 2), height // self.side).unflatten(1, video.shape[1:3]).flatten(2)[:, None]

    def of(self, x: Float[Tensor, "b p t d"]) -> Float[Tensor, "b 3 t h w"]:
        """Vectors as pictures again, `side` pixels wide."""
        film = x[:, 0].unflatten(2, (-1, self.side, self.side)).transpose(1, 2)  # (B, C, T, side, side)
        return film.expand(-1, 3, -1, -1, -1)


class Patches(nn.Module):
    """A frame as square patches in colour, at full resolution: one at a random place (the same in all frames of a film) while
    training, all of them side by side in eval mode. (B, 3, T, H, W) to (B, P, T, size).

    Args:
        side: of a patch, which must divide the film's.
    """

    kind = "squared"  # natural patches: a linear output and squared error

    def __init__(self, side: int = 16):
        super().__init__()
        self.side, self.size = side, 3 * side * side

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b p t d"]:
        b, _, _, height, width = video.shape
        s = self.side
        if height % s or width % s:
            raise CourseError(f"frames of {height} x {width} pixels cannot be cut into patches of {s} x {s}; take a side that divides them")
        if self.training:
            y, x = (torch.randint(0, n - s + 1, (b, 1), device=video.device) + torch.arange(s, device=video.device) for n in (height, width))
            film = torch.arange(b, device=video.device)[:, None, None]
            cut = video.permute(0, 3, 4, 2, 1)[film, y[:, :, None], x[:, None, :]]  # (B, s, s, T, 3)
            return cut.permute(0, 3, 4, 1, 2).flatten(2)[:, None]
        cut = video.unflatten(4, (-1, s)).unflatten(3, (-1, s))  # (B, 3, T, rows, s, columns, s)
        return cut.permute(0, 3, 5, 2, 1, 4, 6).flatten(4).flatten(1, 2)

    def of(self, x: Float[Tensor, "b p t d"]) -> Float[Tensor, "b 3 t h w"]:
        """All patches of square frames laid together again; of a single one, the patch."""
        rows = math.isqrt(x.shape[1])
        film = x.unflatten(3, (3, self.side, self.side)).unflatten(1, (rows, rows))  # (B, rows, columns, T, 3, s, s)
        return film.permute(0, 4, 3, 1, 5, 2, 6).flatten(5).flatten(3, 4)


class Percepts(nn.Module):
    """A frame as what a convolutional network that does not learn makes of it: (B, 3, T, H, W) to (B, 1, T, network.dim).

    Each number is standardised by its mean and spread over the films that `fit` was given, without which they are taken as they are.
    The paper's percepts are the first fully connected layer of a network for ImageNet.
    """

    kind = "squared"

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network, self.size = FrozenStage(network), network.dim
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("scale", torch.ones(self.size))

    def raw(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b t d"]:
        with torch.no_grad():
            return self.network(video.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(video), -1)).float()

    def fit(self, video: Tensor) -> Percepts:
        """Take mean and spread from films (N, 3, T, H, W), uint8 or floats 0..1."""
        parts = [self.raw(p if p.is_floating_point() else p.float() / 255).flatten(0, 1) for p in video.split(64)]
        x = torch.cat(parts)
        self.mean.copy_(x.mean(0))
        self.scale.copy_(x.std(0).clamp_min(1e-4))
        return self

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b p t d"]:
        return ((self.raw(video) - self.mean) / self.scale)[:, None]

    def of(self, x: Tensor) -> Tensor:
        raise CourseError("features of a frame are no picture; look at the error of each step instead")


class FrameLSTM(nn.Module):
    """An LSTM that reads a film frame by frame; its last state, h and c of all layers, is the film's representation.

    Args:
        frames: what a frame becomes before the LSTM: `Pixels`, `Patches` or `Percepts`.
        hidden: width of each layer.
        depth: how many layers.
        past: how many frames it reads, the first ones of a film.

    Films are floats 0..1, (B, 3, T, H, W) with T of at least `past`; `dim` is 2 hidden depth. Where a frame is cut into several
    patches, each is read by itself and the states are averaged.
    """

    def __init__(self, frames: nn.Module, hidden: int = 256, depth: int = 1, past: int = 8):
        super().__init__()
        self.frames, self.hidden, self.depth, self.past = frames, hidden, depth, past
        self.lstm = nn.LSTM(frames.size, hidden, depth, batch_first=True)
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
        """The top layer's h after every frame (n, t, hidden), and the last h and c of all layers, each (depth, n, hidden)."""
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
    """For one GPU, the size of the paper's: colour patches of 32 x 32, two layers of 2,048 units, 16 frames; 75 M parameters, dim 8,192."""
    return FrameLSTM(Patches(32), 2048, 2, 16)


# ---------------------------------------------------------------------------------------------- a vector for every place


class DenseEncoder(Stages):
    """Named stages one after another, and no average: every cell of `stride` x `stride` pixels keeps its own vector."""

    def __init__(self, stages: dict[str, nn.Module], dim: int, stride: int):
        super().__init__(stages, dim)
        self.stride = stride

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d i j"]:
        return self.stages(image * 4 - 2)


def dense_cnn(width: int = 32, dim: int = 32, stride: int = 2) -> DenseEncoder:
    """Four convolutions whose cells see 19 pixels at stride 2: for tracking in small films, 45 k parameters.

    Args:
        width: channels of the first convolution; the next two have half as many again.
        dim: of a cell's vector.
        stride: 2, or 4 for larger frames (a cell then sees 33 pixels).
    """
    if stride not in (2, 4):
        raise CourseError(f"stride={stride}; choose 2 or 4, or dense_resnet18() with its stride of 8")
    w, v = width, width * 3 // 2
    wide = nn.Sequential(nn.Conv2d(v, v, 3, 1, 2, dilation=2, bias=False), nn.BatchNorm2d(v), nn.ReLU(inplace=True))
    stages = {"conv1": _stage(3, w, 5, 2), "conv2": _stage(w, v, 3, stride // 2), "conv3": wide, "conv4": nn.Conv2d(v, dim, 3, 1, 1)}
    return DenseEncoder(stages, dim, stride)


def dense_resnet18(dim: int = 64) -> DenseEncoder:
    """torchvision's ResNet-18 at stride 8, its last two stages at full pace, then one number in `dim` for each direction (Vondrick et al., 2018)."""
    from torchvision.models import resnet18 as build

    net = build(weights=None)
    for stage in (net.layer3, net.layer4):
        stage[0].conv1.stride = stage[0].downsample[0].stride = (1, 1)
    stages = {"conv1": nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool), "layer1": net.layer1, "layer2": net.layer2, "layer3": net.layer3,
              "layer4": net.layer4, "to_dim": nn.Conv2d(512, dim, 1)}  # fmt: skip
    return DenseEncoder(stages, dim, 8)


class MelEncoder(Stages):
    """Named stages over a log-mel spectrogram, as over a grey picture, then the average over pitch and time.

    Its input is standardised by batch normalisation without weights: the statistics are those of the training sounds, one pair for all bands, so
    that loud stays louder than soft.
    """

    def __init__(self, stages: dict[str, nn.Module], dim: int):
        super().__init__(stages, dim)
        self.standard = nn.BatchNorm2d(1, affine=False)

    def maps(self, logmel: Float[Tensor, "b 1 m t"]) -> Float[Tensor, "b d s"]:
        """What is heard at each moment: averaged over pitch, time is kept."""
        return self.stages(self.standard(logmel)).mean(2)

    def forward(self, logmel: Float[Tensor, "b 1 m t"]) -> Float[Tensor, "b d"]:
        return self.maps(logmel).mean(2)


def small_mel(dim: int = 64) -> MelEncoder:
    """Four convolutions for spectrograms of 32 bands, 61 k parameters at dim 64: (B, 1, 32, 49) to (B, dim, 4, 13), then averaged."""
    quarter, half = max(1, dim // 4), max(1, dim // 2)
    stages = {
        "conv1": _stage(1, quarter, 5, 2),  # (B, 16, 16, 25)
        "conv2": _stage(quarter, half, 3, 2),  # (B, 32, 8, 13)
        "conv3": nn.Sequential(nn.Conv2d(half, dim, 3, (2, 1), 1, bias=False), nn.BatchNorm2d(dim), nn.ReLU(inplace=True)),  # (B, 64, 4, 13)
        "conv4": _stage(dim, dim, 3, 1),
    }
    return MelEncoder(stages, dim)


def resnet18_mel() -> MelEncoder:
    """torchvision's ResNet-18 for spectrograms (one input channel, 3x3 first convolution), dim 512: for a GPU. XDC has such a network for sound."""
    picture = resnet18("cifar")
    stages = picture.layers
    stages["conv1"][0] = nn.Conv2d(1, 64, 3, 1, 1, bias=False)
    nn.init.kaiming_normal_(stages["conv1"][0].weight, mode="fan_out", nonlinearity="relu")
    return MelEncoder(stages, 512)


# ---------------------------------------------------------------------------------------------- a film as one vector


class ClipEncoder(Stages):
    """Named stages of 3-D convolutions over a whole film, then the average over time and place."""

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        return self.stages(video * 4 - 2).mean((2, 3, 4))


def small_clip(dim: int = 64) -> ClipEncoder:
    """Four 3-D convolutions for short films of 32 pixels, 184 k parameters at dim 64: (B, 3, 16, 32, 32) to (B, dim, 2, 4, 4), then averaged.

    All four see time, the first one already: what moves is told from what stands still before anything is averaged.
    """

    def stage(inside: int, outside: int, side: int, time: int, place: int) -> nn.Sequential:
        conv = nn.Conv3d(inside, outside, (3, side, side), (time, place, place), (1, side // 2, side // 2), bias=False)
        return nn.Sequential(conv, nn.BatchNorm3d(outside), nn.ReLU(inplace=True))

    quarter, half = max(1, dim // 4), max(1, dim // 2)
    stages = {
        "conv1": stage(3, quarter, 5, 2, 2),  # (B, 16, 8, 16, 16)
        "conv2": stage(quarter, half, 3, 1, 2),  # (B, 32, 8, 8, 8)
        "conv3": stage(half, dim, 3, 2, 2),  # (B, 64, 4, 4, 4)
        "conv4": stage(dim, dim, 3, 2, 1),  # (B, 64, 2, 4, 4)
    }
    return ClipEncoder(stages, dim)


def r2plus1d_18() -> ClipEncoder:
    """torchvision's R(2+1)D-18 (Tran et al., 2018), whose every 3-D convolution is one over places and then one over time; dim 512, for a GPU.

    XDC's video network. The authors' differs in details: it sets the number of channels between the two for each convolution by itself, and
    its batch normalisation has eps 1e-3 and PyTorch momentum 0.9.
    """
    from torchvision.models.video import r2plus1d_18 as build

    net = build(weights=None)
    return ClipEncoder({"stem": net.stem, "layer1": net.layer1, "layer2": net.layer2, "layer3": net.layer3, "layer4": net.layer4}, 512)


# ---------------------------------------------------------------------------------------------- films whose time is kept


class FilmEncoder(Stages):
    """Named stages of convolutions that never stride in time: a map for every frame, and the average of all of them as one vector.

    Without `still`, a film is centred by its own mean frame: what stands still is not seen.
    """

    def __init__(self, stages: dict[str, nn.Module], dim: int, still: bool = True):
        super().__init__(stages, dim)
        self.still = still

    def maps(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d t y x"]:
        """What is seen at each moment and place; films are floats 0..1."""
        return self.stages(video * 4 - 2 if self.still else (video - video.mean(2, keepdim=True)) * 6)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        return self.maps(video).mean((2, 3, 4))


def small_mc3(dim: int = 64, still: bool = False) -> FilmEncoder:
    """Four convolutions of the MCx family for films of 32 pixels, 101 k parameters at dim 64: (B, 3, T, 32, 32) to a map (B, dim, T, 4, 4).

    MC3 (Tran et al., CVPR 2018, arXiv:1711.11248): the lower stages look at three frames at once, the upper ones at each frame by itself, and
    none strides in time, so that what happens can be dated to a frame in the end. What stands still (`still=True` keeps it) can be in step
    with nothing, and to find that out takes a network longer than a class will wait.
    """

    def stage(inside: int, outside: int, kernel: tuple[int, int, int], stride: int) -> nn.Sequential:
        conv = nn.Conv3d(inside, outside, kernel, (1, stride, stride), tuple(k // 2 for k in kernel), bias=False)
        return nn.Sequential(conv, nn.BatchNorm3d(outside), nn.ReLU(inplace=True))

    half, most = max(1, 3 * dim // 8), max(1, 3 * dim // 4)
    stages = {
        "conv1": stage(3, half, (3, 5, 5), 4),  # (B, 24, T, 8, 8)
        "conv2": stage(half, most, (3, 3, 3), 2),  # (B, 48, T, 4, 4)
        "conv3": stage(most, dim, (1, 3, 3), 1),  # (B, 64, T, 4, 4)
        "conv4": stage(dim, dim, (1, 3, 3), 1),
    }
    return FilmEncoder(stages, dim, still)


def mc3_18() -> FilmEncoder:
    """torchvision's MC3 with 18 layers, dim 512, 11.5 M parameters: (B, 3, T, 112, 112) to a map (B, 512, T, 7, 7). For a GPU; AVTS's own."""
    from torchvision.models.video import mc3_18 as build

    net = build(weights=None)
    return FilmEncoder({"stem": net.stem, "layer1": net.layer1, "layer2": net.layer2, "layer3": net.layer3, "layer4": net.layer4}, 512)
