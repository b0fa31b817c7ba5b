"""Backbones: images or short films in, one vector for each out.

Every encoder has `.dim`, the length of its vector, and `.layers`, an ordered dict of its named stages, which
the layer-wise probes read. Inputs are floats 0..1 (B, 3, H, W); they are centred inside, so that no data
set's mean has to travel around."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sslcourse import runtime
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.numbers import as_whole
from sslcourse.runtime.options import COUNT, SEED, WHOLE, WIDTH, takes
from sslcourse.runtime.shapes import explained


def conv_stage(inside: int, outside: int, kernel: int, stride: int, norm: str = "batch") -> nn.Sequential:
    conv, normalise = (nn.Conv2d, nn.BatchNorm2d) if norm == "batch" else (StandardisedConv2d, group_norm)
    return nn.Sequential(
        conv(inside, outside, kernel, stride, kernel // 2, bias=False),
        normalise(outside),
        nn.ReLU(inplace=True),
    )


@takes(channels=COUNT, groups=COUNT)
def group_norm(channels: int, groups: int = 16) -> nn.GroupNorm:
    """Normalises each sample by itself, over `groups` groups of channels (fewer where they do not divide the
    channels).
    """
    return nn.GroupNorm(math.gcd(groups, channels), channels)


@explained
def standardised(weight: Tensor) -> Tensor:
    """Each output's weights with mean 0 and variance 1 over all that it reads (weight standardisation, Qiao
    et al., 2019).
    """
    return F.layer_norm(weight, weight.shape[1:], eps=1e-8)


class StandardisedConv2d(nn.Conv2d):
    """A convolution whose filters are standardised at every use; a normalisation must follow, which sets the
    scale.
    """

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, standardised(self.weight), self.bias)


class StandardisedLinear(nn.Linear):
    """A linear layer whose rows are standardised at every use; a normalisation must follow, which sets the
    scale.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, standardised(self.weight), self.bias)


class Stages(nn.Module):
    """Named stages one after another, and the length of what comes out."""

    def __init__(self, stages: Mapping[str, nn.Module], dim: int):
        super().__init__()
        self.stages = nn.Sequential()
        for name, stage in stages.items():
            self.stages.add_module(name, stage)
        self.dim = dim

    @property
    def layers(self) -> dict[str, nn.Module]:
        return dict(self.stages.named_children())


class MeanShare(nn.Module):
    """How much of an input's mean over one axis is seen: `share` of it, and all of what departs from it.

    A buffer holds the share, so that it is saved with the weights."""

    share: Tensor
    # Checkpoints from before it existed are of networks that saw everything (`checkpoints.load_weights`).
    before = {"share": torch.tensor(1.0)}

    def __init__(self, share: float):
        super().__init__()
        self.register_buffer("share", torch.tensor(0.0))
        self.set(share)

    def set(self, share: float) -> None:
        """Another share, from 0 to 1."""
        if not 0 <= share <= 1:
            raise CourseError(f"{share} of what stays the same; choose a share from 0 (none) to 1 (all)")
        self.share.fill_(share)
        self.all_of_it = share == 1  # a Python word, because a GPU would wait for a tensor's value

    def of_mean(self, x: Tensor, axis: int) -> Tensor:
        """x with so much of its mean over `axis`; at a share of 1, x itself."""
        return x if self.all_of_it else x - (1 - self.share) * x.mean(axis, keepdim=True)

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self.all_of_it = float(self.share) == 1


def layers_of(encoder: nn.Module) -> dict[str, nn.Module]:
    """`encoder.layers`, the named stages of an encoder, in order."""
    if not isinstance(getattr(encoder, "layers", None), Mapping):
        raise CourseError(
            f"{type(encoder).__name__} has no named layers; pass a method (with .f) or one of "
            "sslcourse.encoders"
        )
    return cast("dict[str, nn.Module]", encoder.layers)


# ------------------------------------------------------------------- what a method shows to its encoder


class _Shown(Exception):
    """Ends `encode` when its encoder has been given its input."""


def is_method(network: nn.Module) -> bool:
    """Whether a network reads batches by an `encode` of its own, around an encoder `f`."""
    return callable(getattr(network, "encode", None)) and isinstance(getattr(network, "f", None), nn.Module)


@explained
def shown_to_encoder(method: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """What `method.encode(batch)` gives to `method.f`: edges, grey pictures, another size, or the batch as it
    is.

    Gradients flow. Nothing is computed beyond it.
    """
    seen: list[Tensor] = []

    def stop(module: nn.Module, inputs: tuple) -> None:
        seen.append(inputs[0])
        raise _Shown

    hook = method.get_submodule("f").register_forward_pre_hook(stop)
    try:
        cast("Callable[[dict[str, Tensor]], Tensor]", method.encode)(batch)
    except _Shown:
        return seen[0]
    finally:
        hook.remove()
    raise CourseError(
        f"{type(method).__name__}.encode does not call its encoder .f as a whole; there is no one input that "
        "could be put before another network"
    )


def eyes(method: nn.Module) -> Callable[[Tensor], Tensor]:
    """What a method makes of pictures (B, 3, H, W) before its encoder sees them, as a function."""
    return lambda image: shown_to_encoder(method, {"image": image})


class Through(nn.Module):
    """An encoder that sees pictures through a method's eyes: for layers that were trained on edges or on grey
    pictures and go on to be shown those.

    Args:
        encoder: pictures, as the method shows them, to vectors.
        see: of pictures (B, 3, H, W), 0 to 1, what the encoder is given; see `eyes`.
    """

    def __init__(self, encoder: nn.Module, see: Callable[[Tensor], Tensor]):
        super().__init__()
        self.encoder, self.see, self.dim = encoder, see, dim_of(encoder)

    @property
    def layers(self) -> dict[str, nn.Module]:
        return layers_of(self.encoder)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        return self.encoder(self.see(image))


def as_encoder(network: nn.Module) -> nn.Module:
    """Pictures to vectors: an encoder as it is, a method as its encoder behind its own eyes."""
    return Through(network.get_submodule("f"), eyes(network)) if is_method(network) else network


def dim_of(encoder: nn.Module) -> int:
    """The length of an encoder's vector (of a dense one's vector at each place)."""
    dim = as_whole(getattr(encoder, "dim", None))
    if dim is None:
        raise CourseError(
            f"{type(encoder).__name__} does not say how long its vectors are; set its .dim, such as "
            "encoder.dim = 128"
        )
    return dim


class Encoder(Stages):
    """Named stages one after another, then the average over all places."""

    def maps(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d i j"]:
        """The last stage's map, before the average over all places."""
        return self.stages(image * 4 - 2)  # centred, and spread to about unit variance

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        return self.maps(image).mean((2, 3))


@takes(width=WIDTH)
def small_cnn(width: int = 32, norm: str = "batch") -> Encoder:
    """Five convolutions for 32-pixel images: the course's own encoder, 280 k parameters and dim 128 at width
    32.

    The first stage halves the resolution with a 5x5 kernel, because a convolution at full resolution is where
    a laptop's time would go. `norm="group+ws"` has group normalisation and weight standardisation in place of
    batch normalisation: what it makes of a picture does not depend on the others in its batch (Richemond et
    al., 2020, arXiv:2010.10241)."""
    if norm not in ("batch", "group+ws"):
        raise CourseError(f"norm={norm!r}; choose 'batch' or 'group+ws'")
    w = width
    stages = {
        "conv1": conv_stage(3, w, 5, 2, norm),  # (B, 32, 16, 16)
        "conv2": conv_stage(w, 2 * w, 3, 2, norm),  # (B, 64, 8, 8)
        "conv3": conv_stage(2 * w, 2 * w, 3, 1, norm),
        "conv4": conv_stage(2 * w, 4 * w, 3, 2, norm),  # (B, 128, 4, 4)
        "conv5": conv_stage(4 * w, 4 * w, 3, 1, norm),
    }
    return Encoder(stages, 4 * w)


def resnet18(stem: str = "cifar") -> Encoder:
    """torchvision's ResNet-18; `stem="cifar"` has a 3x3 first convolution and no max-pooling (SimCLR,
    appendix B.9).

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
    stages = {
        "conv1": nn.Sequential(*first),
        "layer1": net.layer1,
        "layer2": net.layer2,
        "layer3": net.layer3,
        "layer4": net.layer4,
    }
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


@explained
def random_encoder(encoder: Encoder, images: Tensor) -> Encoder:
    """An untrained encoder made ready to be a fair baseline: batch statistics from the data, then eval mode.

    An untrained network whose batch normalisation still holds mean 0 and variance 1 loses its scale from
    layer to layer, and looks worse than random features are."""
    encoder.train()
    with torch.no_grad():
        for part in images.split(256)[:8]:
            encoder(part)
    return encoder.eval()


def reset(network: nn.Module) -> None:
    """Draw all weights anew, as when the network was made; statistics start anew too."""
    for module in network.modules():
        if hasattr(module, "reset_parameters"):
            cast("Callable[[], None]", module.reset_parameters)()


class FrozenStage(nn.Module):
    """A stage that does not learn: no gradient reaches its weights, and its batch normalisation stays in eval
    mode whatever the loop says.
    """

    def __init__(self, stage: nn.Module):
        super().__init__()
        self.stage = stage.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> FrozenStage:
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.stage(x)


@takes(first=WHOLE, seed=SEED)
def with_frozen(network: nn.Module, first: int, seed: int = 0) -> nn.Module:
    """A copy of an encoder whose first stages are kept as they are and do not learn, and whose other stages
    start anew.

    Args:
        network: a method: its encoder is copied, and goes on to see what the method shows it (edges, or grey
            pictures); or an `Encoder` that was trained on pictures as they are.
        first: how many stages are kept; 0 keeps none, so that everything is trained from scratch.
        seed: of the new weights: the same for every encoder that is compared.
    """
    if is_method(network):
        return Through(with_frozen(network.get_submodule("f"), first, seed), eyes(network))
    layers = layers_of(copy.deepcopy(network))
    if not 0 <= first < len(layers):
        raise CourseError(
            f"first={first}; this encoder has {len(layers)} stages, keep 0 to {len(layers) - 1} of them"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(runtime.step_seed(seed, 0xF2))
        for i, stage in enumerate(layers.values()):
            if i >= first:
                reset(stage)
    return Encoder(
        {name: FrozenStage(s) if i < first else s for i, (name, s) in enumerate(layers.items())},
        dim_of(network),
    )


# ------------------------------------------------------------------------ a vector for every place


class DenseEncoder(Stages):
    """Named stages one after another, and no average: every cell of `stride` x `stride` pixels keeps its own
    vector.
    """

    def __init__(self, stages: Mapping[str, nn.Module], dim: int, stride: int):
        super().__init__(stages, dim)
        self.stride = stride

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d i j"]:
        return self.stages(image * 4 - 2)


@takes(width=WIDTH, dim=WHOLE, stride=WHOLE)
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
    wide = nn.Sequential(
        nn.Conv2d(v, v, 3, 1, 2, dilation=2, bias=False), nn.BatchNorm2d(v), nn.ReLU(inplace=True)
    )
    stages = {
        "conv1": conv_stage(3, w, 5, 2),
        "conv2": conv_stage(w, v, 3, stride // 2),
        "conv3": wide,
        "conv4": nn.Conv2d(v, dim, 3, 1, 1),
    }
    return DenseEncoder(stages, dim, stride)


@takes(dim=WHOLE)
def dense_resnet18(dim: int = 64) -> DenseEncoder:
    """torchvision's ResNet-18 at stride 8, its last two stages at full pace, then one number in `dim` for
    each direction (Vondrick et al., 2018).
    """
    from torchvision.models import resnet18 as build

    net = build(weights=None)
    for stage in (net.layer3, net.layer4):
        stage[0].conv1.stride = stage[0].downsample[0].stride = (1, 1)
    stages = {
        "conv1": nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool),
        "layer1": net.layer1,
        "layer2": net.layer2,
        "layer3": net.layer3,
        "layer4": net.layer4,
        "to_dim": nn.Conv2d(512, dim, 1),
    }
    return DenseEncoder(stages, dim, 8)
