"""Encoders for sounds: convolutions over log-mel spectrograms."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from sslcourse.encoders.images import Stages, conv_stage, resnet18
from sslcourse.runtime.options import WIDTH, takes


class MelEncoder(Stages):
    """Named stages over a log-mel spectrogram, as over a grey picture, then the average over pitch and time.

    Its input is standardised by batch normalisation without weights: the statistics are those of the training
    sounds, one pair for all bands, so that loud stays louder than soft."""

    def __init__(self, stages: Mapping[str, nn.Module], dim: int):
        super().__init__(stages, dim)
        self.standard = nn.BatchNorm2d(1, affine=False)

    def maps(self, logmel: Float[Tensor, "b 1 m t"]) -> Float[Tensor, "b d s"]:
        """What is heard at each moment: averaged over pitch, time is kept."""
        return self.stages(self.standard(logmel)).mean(2)

    def forward(self, logmel: Float[Tensor, "b 1 m t"]) -> Float[Tensor, "b d"]:
        return self.maps(logmel).mean(2)


@takes(dim=WIDTH)
def small_mel(dim: int = 64) -> MelEncoder:
    """Four convolutions for spectrograms of 32 bands, 61 k parameters at dim 64: (B, 1, 32, 49) to (B, dim,
    4, 13), then averaged.
    """
    quarter, half = max(1, dim // 4), max(1, dim // 2)
    stages = {
        "conv1": conv_stage(1, quarter, 5, 2),  # (B, 16, 16, 25)
        "conv2": conv_stage(quarter, half, 3, 2),  # (B, 32, 8, 13)
        "conv3": nn.Sequential(
            nn.Conv2d(half, dim, 3, (2, 1), 1, bias=False), nn.BatchNorm2d(dim), nn.ReLU(inplace=True)
        ),  # (B, 64, 4, 13)
        "conv4": conv_stage(dim, dim, 3, 1),
    }
    return MelEncoder(stages, dim)


def resnet18_mel() -> MelEncoder:
    """torchvision's ResNet-18 for spectrograms (one input channel, 3x3 first convolution), dim 512: for a
    GPU. XDC has such a network for sound.
    """
    picture = resnet18("cifar")
    first = nn.Conv2d(1, 64, 3, 1, 1, bias=False)
    nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    conv1 = nn.Sequential(first, *list(picture.layers["conv1"].children())[1:])
    return MelEncoder({**picture.layers, "conv1": conv1}, 512)
