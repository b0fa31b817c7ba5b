"""Style transfer: the layout of one picture in the texture of another, as an encoder's layers see them.

Gatys, Ecker and Bethge. Image Style Transfer Using Convolutional Neural Networks. CVPR 2016. There with
VGG-19, trained on a million labelled photographs. Asano et al. (2020, arXiv:1904.13132) show that the layers
of a network that
has seen a single photograph serve as well: what texture needs stands in the first layers.

    F, the maps of a layer                (C, H W)         layers
    G = F F' / (H W)                      which features occur together, wherever      gram
    content: F stays, style: G becomes    gradient steps on the pixels                 transfer
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sslcourse import runtime
from sslcourse.encoders.images import layers_of
from sslcourse.runtime.options import COUNT, FACTOR, RATE_OF_LEARNING, SEED, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train.features import frozen, layer_of, reads


@explained
def gram(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c c"]:
    """The Gram matrix of every picture's maps: the mean over all places of the product of two channels (eq.
    3; there a sum).
    """
    f = maps.flatten(2)  # (B, C, H W)
    return f @ f.transpose(1, 2) / f.shape[2]


@explained
def layer_maps(network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """The output of every named layer for pictures (B, 3, H, W), 0 to 1; gradients flow.

    Args:
        network: a method, which sees the pictures in its own way, or an encoder alone.
    """
    encoder, read = reads(network)
    caught: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_hook(
            lambda module, inputs, output, name=name: caught.__setitem__(name, output)
        )
        for name, layer in layers_of(encoder).items()
    ]
    try:
        read({"image": image})
    finally:
        for hook in hooks:
            hook.remove()
    return caught


def _difference(x: Tensor, target: Tensor) -> Tensor:
    """Squared, as a share of the target's own size: so that no layer and no encoder counts more because its
    numbers are larger.
    """
    return (x - target).square().sum() / target.square().sum().clamp_min(1e-12)


@explained
@takes(steps=COUNT, weight=FACTOR, lr=RATE_OF_LEARNING, seed=SEED)
def transfer(
    network: nn.Module,
    content: Float[Tensor, "3 h w"],
    style: Float[Tensor, "3 a b"],
    *,
    steps: int = 100,
    weight: float = 30.0,
    content_layer: str = "conv3",
    style_layers: Sequence[str] = ("conv1", "conv2", "conv3"),
    lr: float = 0.02,
    gram: Callable = gram,
    seed: int = 0,
) -> tuple[Tensor, list[float]]:
    """A picture with the layout of `content` and the texture of `style`.

    Args:
        network: a method, or an encoder with `.layers` alone; it is read in eval mode and not changed.
        content, style: float 0 to 1 (or uint8); the two may have different sizes.
        steps, lr: of Adam on the pixels, which start from the content.
        weight: of the style; the content counts 1.
        gram: how maps (1, C, H, W) become a description of texture; put your own here.

    Returns the picture (3, h, w), 0 to 1, and the loss of every step.
    """
    for name in (content_layer, *style_layers):
        layer_of(reads(network)[0], name)
    content, style = (x.float() / 255 if x.dtype == torch.uint8 else x.float() for x in (content, style))
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    content, style = content[None].to(device), style[None].to(device)
    with frozen(network):
        wanted = layer_maps(network, content)[content_layer].float()
        textures = {
            name: gram(m.float()) for name, m in layer_maps(network, style).items() if name in style_layers
        }
        g = runtime.generator(seed, 0x571)
        image = (
            (content + 0.02 * torch.randn(content.shape, generator=g).to(device)).clamp(0, 1).requires_grad_()
        )
        optimizer = torch.optim.Adam([image], lr=lr)
        history = []
        with torch.enable_grad():
            for _ in range(steps):
                maps = layer_maps(network, image)
                content_cost = _difference(maps[content_layer].float(), wanted)
                texture = sum(
                    _difference(gram(maps[name].float()), target) for name, target in textures.items()
                ) / len(textures)
                rough = F.l1_loss(image[..., 1:], image[..., :-1]) + F.l1_loss(
                    image[..., 1:, :], image[..., :-1, :]
                )
                # A little smoothness: strided layers do not see every pattern of pixels.
                loss = content_cost + weight * texture + 0.5 * rough
                (image.grad,) = torch.autograd.grad(loss, image)
                optimizer.step()
                with torch.no_grad():
                    image.clamp_(0, 1)
                history.append(loss.detach())
    return image.detach()[0].cpu(), [float(v) for v in history]
