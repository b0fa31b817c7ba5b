"""Encoders for films: 3-D and (2+1)-D convolutions."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sslcourse.encoders.images import Stages, group_norm
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import WIDTH, takes

# ------------------------------------------------------------------------------------ blocks of a film


class BlockEncoder(Stages):
    """Named stages of 3-D convolutions over a few frames, then the average over time: a dense map, and its
    mean as one vector.

    `maps` is what Dense Predictive Coding predicts: the last stage has no ReLU, so that a feature can also be
    below 0."""

    def maps(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d y x"]:
        """The map before the last ReLU, averaged over the time that is left; films are floats 0..1."""
        return self.stages(video * 4 - 2).mean(2)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        return F.relu(self.maps(video)).mean((2, 3))


class RepeatedBorder3d(nn.Conv3d):
    """A 3-D convolution that goes on beyond the picture's border with the border's own pixels, and with zeros
    before and after the block.
    """

    def __init__(self, inside: int, outside: int, kernel: tuple[int, int, int], stride: tuple[int, int, int]):
        super().__init__(inside, outside, kernel, stride, (kernel[0] // 2, 0, 0), bias=False)
        self.beyond = (kernel[2] // 2,) * 2 + (kernel[1] // 2,) * 2

    def forward(self, x: Tensor) -> Tensor:
        b, c, t, h, w = x.shape
        # As images of C T channels: torch repeats the border of those twice as fast as that of a film.
        padded = F.pad(x.reshape(b, c * t, h, w), self.beyond, mode="replicate")
        return super().forward(padded.view(b, c, t, *padded.shape[2:]))


@takes(dim=WIDTH)
def small_3d(dim: int = 64, border: str = "repeated") -> BlockEncoder:
    """Four convolutions for blocks of a few frames of 32 pixels, 181 k parameters at dim 64: (B, 3, T, 32,
    32) to a map (B, dim, 4, 4).

    The first looks at each frame by itself (2-D, as the lower layers of DPC's backbone), the others over
    three frames (3-D).

    - Group normalisation and not batch normalisation: the blocks of one film stand in one batch and share its
      colours, and batch statistics would tell each of them about the others. With groups a block's map owes
      nothing to its neighbours.
    - The border is repeated and not padded with zeros: zeros tell a place how far the border is, and then
      DPC's places are told apart without looking at the film (`border="zeros"` shows it; lesson 10).
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
    """Two convolutions and a shortcut (ResNet's basic block), with kernels of `time` frames and, at the end
    of a DPC backbone, no last ReLU.
    """

    def __init__(
        self, inside: int, outside: int, time: int, stride: tuple[int, int, int], last_relu: bool = True
    ):
        super().__init__()
        kernel, padding = (time, 3, 3), (time // 2, 1, 1)
        self.conv1 = nn.Conv3d(inside, outside, kernel, stride, padding, bias=False)
        self.conv2 = nn.Conv3d(outside, outside, kernel, 1, padding, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm3d(outside), nn.BatchNorm3d(outside)
        self.shortcut: nn.Module = nn.Identity()
        if inside != outside or stride != (1, 1, 1):
            self.shortcut = nn.Sequential(
                nn.Conv3d(inside, outside, 1, stride, bias=False), nn.BatchNorm3d(outside)
            )
        self.last_relu = last_relu

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))) + self.shortcut(x)
        return F.relu(out) if self.last_relu else out


def resnet18_2d3d() -> BlockEncoder:
    """DPC's backbone (section 4 of the paper and the authors' code): a ResNet-18 that is 2-D in its lower
    half and 3-D above.

    The last stage has 256 channels instead of 512 and no last ReLU: blocks of 5 frames of 128 pixels, (B, 3,
    5, 128, 128), give a map (B, 256, 4, 4). 14.1 M parameters, dim 256. Its batch normalisation keeps running
    statistics, unlike the authors' during pre-training, so that a frozen encoder can be judged (they gave out
    weights with statistics later for the same reason)."""
    first = nn.Sequential(
        nn.Conv3d(3, 64, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
        nn.BatchNorm3d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    )

    def layer(
        inside: int, outside: int, time: int, stride: tuple[int, int, int], last: bool = False
    ) -> nn.Sequential:
        return nn.Sequential(
            BasicBlock3d(inside, outside, time, stride),
            BasicBlock3d(outside, outside, time, (1, 1, 1), last_relu=not last),
        )

    stages = {
        "conv1": first,
        "layer1": layer(64, 64, 1, (1, 1, 1)),
        "layer2": layer(64, 128, 1, (1, 2, 2)),
        "layer3": layer(128, 256, 3, (2, 2, 2)),
        "layer4": layer(256, 256, 3, (2, 2, 2), last=True),
    }
    encoder = BlockEncoder(stages, 256)
    for module in encoder.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return encoder


# -------------------------------------------------------------------------------- a film as one vector


class ClipEncoder(Stages):
    """Named stages of 3-D convolutions over a whole film, then the average over time and place."""

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        return self.stages(video * 4 - 2).mean((2, 3, 4))


@takes(dim=WIDTH)
def small_clip(dim: int = 64) -> ClipEncoder:
    """Four 3-D convolutions for short films of 32 pixels, 184 k parameters at dim 64: (B, 3, 16, 32, 32) to
    (B, dim, 2, 4, 4), then averaged.

    All four see time, the first one already: what moves is told from what stands still before anything is
    averaged."""

    def stage(inside: int, outside: int, side: int, time: int, place: int) -> nn.Sequential:
        conv = nn.Conv3d(
            inside, outside, (3, side, side), (time, place, place), (1, side // 2, side // 2), bias=False
        )
        return nn.Sequential(conv, nn.BatchNorm3d(outside), nn.ReLU(inplace=True))

    quarter, half = max(1, dim // 4), max(1, dim // 2)
    stages = {
        "conv1": stage(3, quarter, 5, 2, 2),  # (B, 16, 8, 16, 16)
        "conv2": stage(quarter, half, 3, 1, 2),  # (B, 32, 8, 8, 8)
        "conv3": stage(half, dim, 3, 2, 2),  # (B, 64, 4, 4, 4)
        "conv4": stage(dim, dim, 3, 2, 1),  # (B, 64, 2, 4, 4)
    }
    return ClipEncoder(stages, dim)


def _stages_of(net: nn.Module) -> dict[str, nn.Module]:
    """The convolutional stages of torchvision's networks for films."""
    return {name: net.get_submodule(name) for name in ("stem", "layer1", "layer2", "layer3", "layer4")}


def r2plus1d_18() -> ClipEncoder:
    """torchvision's R(2+1)D-18 (Tran et al., 2018), whose every 3-D convolution is one over places and then
    one over time; dim 512, for a GPU.

    XDC's video network. The authors' differs in details: it sets the number of channels between the two for
    each convolution by itself, and its batch normalisation has eps 1e-3 and PyTorch momentum 0.9."""
    from torchvision.models.video import r2plus1d_18 as build

    return ClipEncoder(_stages_of(build(weights=None)), 512)


# ----------------------------------------------------------------------------- films whose time is kept


class FilmEncoder(Stages):
    """Named stages of convolutions that never stride in time: a map for every frame, and the average of all
    of them as one vector.

    Without `still`, a film is centred by its own mean frame: what stands still is not seen.
    """

    def __init__(self, stages: Mapping[str, nn.Module], dim: int, still: bool = True):
        super().__init__(stages, dim)
        self.still = still

    def maps(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d t y x"]:
        """What is seen at each moment and place; films are floats 0..1."""
        return self.stages(video * 4 - 2 if self.still else (video - video.mean(2, keepdim=True)) * 6)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        return self.maps(video).mean((2, 3, 4))


@takes(dim=WIDTH)
def small_mc3(dim: int = 64, still: bool = False) -> FilmEncoder:
    """Four convolutions of the MCx family for films of 32 pixels, 101 k parameters at dim 64: (B, 3, T, 32,
    32) to a map (B, dim, T, 4, 4).

    MC3 (Tran et al., CVPR 2018, arXiv:1711.11248): the lower stages look at three frames at once, the upper
    ones at each frame by itself, and none strides in time, so that what happens can be dated to a frame in
    the end. What stands still (`still=True` keeps it) can be in step with nothing, and to find that out takes
    a network longer than a class will wait."""

    def stage(inside: int, outside: int, kernel: tuple[int, int, int], stride: int) -> nn.Sequential:
        t, h, w = kernel
        conv = nn.Conv3d(inside, outside, kernel, (1, stride, stride), (t // 2, h // 2, w // 2), bias=False)
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
    """torchvision's MC3 with 18 layers, dim 512, 11.5 M parameters: (B, 3, T, 112, 112) to a map (B, 512, T,
    7, 7). For a GPU; AVTS's own.
    """
    from torchvision.models.video import mc3_18 as build

    return FilmEncoder(_stages_of(build(weights=None)), 512)
