"""The scattering transform: two layers of fixed wavelets, each followed by a modulus, then averages. Nothing
is learned.

    S0 = x * phi      S1 = |x * psi_j| * phi      S2 = ||x * psi_j| * psi_k| * phi,   k a coarser scale than j

Bruna and Mallat, Invariant Scattering Convolution Networks, PAMI 2013. arXiv:1203.1513 (equations 8 to 11).
Oyallon, Belilovsky and Zagoruyko, Scaling the Scattering Transform, ICCV 2017: as the first layers of a
    network.
It is the yardstick that asks of the first two layers of a network: did they have to see any picture at all?
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslcourse import runtime
from sslcourse.encoders.images import Encoder, reset
from sslcourse.runtime.errors import CourseError

SIGMA, FREQUENCY = 0.8, 0.75 * math.pi  # of the finest wavelet, in pixels and in radians per pixel


def _grid(sigma: float) -> tuple[Tensor, Tensor]:
    reach = math.ceil(3.5 * sigma)
    axis = torch.arange(-reach, reach + 1, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return y, x


def gaussian(octave: int) -> Tensor:
    """(k, k) phi: a blur of 0.8 * 2**(octave - 1) pixels that sums to 1."""
    sigma = SIGMA * 2.0 ** (octave - 1)
    y, x = _grid(sigma)
    g = torch.exp(-(x * x + y * y) / (2 * sigma**2))
    return (g / g.sum()).float()


def morlet(octave: int, angle: float) -> Tensor:
    """(2, k, k) psi, real and imaginary part: a wave of 0.75 pi / 2**octave radians per pixel in a Gaussian
    window of 0.8 * 2**octave pixels.

    A constant is taken off the wave so that psi sums to exactly 0: a plain surface gives nothing, however
    bright it is."""
    sigma, frequency = SIGMA * 2.0**octave, FREQUENCY / 2.0**octave
    y, x = _grid(sigma)
    window = torch.exp(-(x * x + y * y) / (2 * sigma**2))
    window = window / window.sum()
    phase = frequency * (x * math.cos(angle) + y * math.sin(angle))
    real, imaginary = window * phase.cos(), window * phase.sin()
    return torch.stack([real - window * real.sum(), imaginary]).float()


class Scattering(nn.Module):
    """Pictures (B, C, H, W) to (B, C * paths, H / 2**octaves, W / 2**octaves); two octaves and four angles
    make 25 paths.

    After a wavelet of octave j the modulus is smooth, so it is kept at every 2**j-th pixel only, and the rest
    is computed on that grid, where a coarser octave k is the octave k - j. Borders are reflected.

    Args:
        octaves: J of the papers, at least 1.
        angles: L of the papers, over half a turn (the modulus cannot tell a direction from its opposite).
    """

    def __init__(self, octaves: int = 2, angles: int = 4):
        super().__init__()
        if octaves < 1 or angles < 1:
            raise CourseError(f"octaves={octaves}, angles={angles}; each must be at least 1")
        self.octaves, self.angles = octaves, angles
        for j in range(octaves):
            waves = torch.stack([morlet(j, math.pi * a / angles) for a in range(angles)], 1)  # (2, L, k, k)
            self.register_buffer(f"psi{j}", waves.flatten(0, 1)[:, None])
        for j in range(1, octaves + 1):
            self.register_buffer(f"phi{j}", gaussian(j)[None, None])
        # One factor for all wavelets, so that no picture gains energy: |phi|^2 + sum |psi|^2 is at most 1 at
        # every frequency.
        fft = lambda kernel: torch.fft.fft2(kernel, s=(128, 128)).abs().square()
        passed = sum(
            fft(torch.complex(*getattr(self, f"psi{j}")[:, 0].unflatten(0, (2, angles)))).sum(0)
            for j in range(octaves)
        )
        # a real picture holds each frequency twice
        passed = (passed + passed.flip(0, 1).roll((1, 1), (0, 1))) / 2
        room = 1 - fft(gaussian(octaves))
        scale = (room / passed)[passed > 1e-3 * passed.max()].min().clamp_min(0).sqrt()
        for j in range(octaves):
            getattr(self, f"psi{j}").mul_(scale)

    @property
    def paths(self) -> int:
        """Maps for each channel of the picture."""
        j, a = self.octaves, self.angles
        return 1 + j * a + j * (j - 1) // 2 * a * a

    def _each(self, x: Tensor, kernels: Tensor, stride: int) -> Tensor:
        """Every channel with every kernel: (B, C, H, W) -> (B, C, kernels, h, w)."""
        b, c = x.shape[:2]
        reach = kernels.shape[-1] // 2
        x = F.pad(x.flatten(0, 1)[:, None], [reach] * 4, mode="reflect")
        return F.conv2d(x, kernels, stride=stride).unflatten(0, (b, c))

    def wave(self, x: Tensor, octave: int) -> Tensor:
        """|x * psi| for all angles, at every 2**octave-th pixel: (B, C, H, W) -> (B, C * L, h, w)."""
        real, imaginary = self._each(x, getattr(self, f"psi{octave}"), 2**octave).chunk(2, dim=2)
        return torch.hypot(real, imaginary).flatten(1, 2)

    def smooth(self, x: Tensor, octave: int) -> Tensor:
        """x * phi, at every 2**octave-th pixel."""
        return self._each(x, getattr(self, f"phi{octave}"), 2**octave).flatten(1, 2)

    def forward(self, image: Tensor) -> Tensor:
        size, least = 2**self.octaves, 2 * math.ceil(3.5 * SIGMA * 2.0 ** (self.octaves - 1))
        if image.shape[-1] % size or image.shape[-2] % size or min(image.shape[-2:]) < least:
            raise CourseError(
                f"images of {image.shape[-1]} x {image.shape[-2]} pixels; each side must be a multiple of "
                f"{size}, at least {least}"
            )
        with torch.autocast(image.device.type, enabled=False):
            x, top = image.float(), self.octaves
            maps = [self.smooth(x, top)]
            for j in range(top):
                first = self.wave(x, j)
                maps.append(self.smooth(first, top - j))
                maps += [self.smooth(self.wave(first, k), top - j - k) for k in range(1, top - j)]
            return torch.cat(maps, 1)


def scattering_encoder(octaves: int = 2, angles: int = 4) -> Encoder:
    """The transform alone as an encoder with one layer, "scattering", for the same probes as the networks."""
    transform = Scattering(octaves, angles)
    return Encoder({"scattering": transform}, 3 * transform.paths)


def scattering_stem(network: Encoder, octaves: int = 2, angles: int = 4, seed: int = 0) -> Encoder:
    """The network with its stages up to "conv2" replaced by the transform, standardised; the others are new
    and read its maps.

    Oyallon et al., section 3.1. With two octaves the maps are as large as those of the course's conv2, 8 x 8
    for pictures of 32 pixels.

    Args:
        network: has stages conv1, conv2, ...; it is not changed.
        seed: of the new weights.
    """
    layers = copy.deepcopy(network).layers
    if not {"conv1", "conv2", "conv3"} <= set(layers):
        raise CourseError(
            f"this encoder has {', '.join(layers)}; the transform stands for conv1 and conv2 of "
            "encoders.small_cnn()"
        )
    transform = Scattering(octaves, angles)
    # momentum=None: the plain mean over all batches so far. A running mean would start from variance 1,
    # thousands of times that of the finest paths, and after a short training the network would still be shown
    # all but a constant in eval mode.
    standardise = nn.BatchNorm2d(3 * transform.paths, affine=False, momentum=None)
    stages: dict[str, nn.Module] = {"scattering": nn.Sequential(transform, standardise)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(runtime.step_seed(seed, 0xF2))
        for name in list(layers)[2:]:
            reset(layers[name])
            stages[name] = layers[name]
        old, *others = layers["conv3"].children()
        if not isinstance(old, nn.Conv2d):
            raise CourseError(f"conv3 begins with {type(old).__name__}; it should begin with a convolution")
        conv = type(old)(
            3 * transform.paths,
            old.out_channels,
            old.kernel_size,  # type: ignore[arg-type]  # two numbers each, though torch says "some"
            old.stride,  # type: ignore[arg-type]
            old.padding,  # type: ignore[arg-type]
            bias=old.bias is not None,
        )
        stages["conv3"] = nn.Sequential(conv, *others)
    return Encoder(stages, network.dim)
