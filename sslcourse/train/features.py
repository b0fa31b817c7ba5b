"""From a frozen encoder to a matrix of features, in chunks, in eval mode, without gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from sslcourse import runtime
from sslcourse.data.datasets import MODALITIES, Samples
from sslcourse.encoders.images import is_method, layers_of
from sslcourse.runtime import progress
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, WHOLE, takes
from sslcourse.runtime.shapes import explained
from sslcourse.transforms import sounds

Encode = Callable[[dict[str, Tensor]], Tensor]


def encode_of(method: nn.Module) -> Encode:
    """`method.encode`: what `nn.Module` cannot say to a type checker."""
    return cast(Encode, method.encode)


@contextlib.contextmanager
def frozen(network: nn.Module) -> Iterator[nn.Module]:
    """The network in eval mode and without gradients, and proof that nothing in it was changed meanwhile.

    Raises:
        CourseError: when a weight or a buffer (such as a batch statistic) differs afterwards: then the
            features were not those of the encoder that was to be judged.
    """
    before = {k: v.clone() for k, v in network.state_dict().items()}
    modes = {m: m.training for m in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield network
    finally:
        for module, mode in modes.items():
            module.training = mode
    # A weight that is not a number has not changed: what a diverged training did is for those to say who read
    # the features.
    changed = [
        k
        for k, v in network.state_dict().items()
        if not bool(((v == before[k]) | ((v != v) & (before[k] != before[k]))).all())
    ]
    if changed:
        raise CourseError(
            f"{changed[0]!r} changed while features were read; the encoder must stay frozen and in eval mode"
        )


@explained
@takes(batch_size=WHOLE)
def map_batches(
    method: nn.Module, samples: Samples, encode: Callable[[dict[str, Tensor]], Any], batch_size: int = 512
) -> list[Any]:
    """What `encode` gives for each batch, on the method's device: one pass over all samples, in order,
    frozen, in the profile's precision.
    """
    if not len(samples):
        raise CourseError(
            f"the {samples.split} split of {samples.name!r} is empty; there is nothing to encode"
        )
    first = next(method.parameters(), None)
    device = first.device if first is not None else torch.device("cpu")
    profile = runtime.profile()
    rows = []
    with frozen(method), progress.part("features of sample", len(samples)) as told:
        for batch in samples.to(device).batches(batch_size):
            x = {name: runtime.laid_out(batch[name], profile) for name in MODALITIES if name in batch}
            with profile.autocast() if profile.device == device.type else contextlib.nullcontext():
                rows.append(encode(x))
            told(len(next(iter(x.values()))))
    return rows


@takes(batch_size=WHOLE)
def extract(
    method: nn.Module, samples: Samples, *, encode: Encode | None = None, batch_size: int = 512
) -> Tensor:
    """Features (N, D) float32 on the CPU of all samples, in their order.

    Args:
        method: its `encode` is used (or `encode`, a function of a batch, if given); put into eval mode
            meanwhile.
        samples: any split; labels are not read.
        batch_size: chunk; has no influence on the result.

    Raises:
        CourseError: no sample at all, or features that are not numbers.
    """
    if not len(samples):
        raise CourseError(f"{samples.name or 'this split'} has no sample to encode; pass at least one")
    encoded = encode or encode_of(method)
    features = joined(map_batches(method, samples, lambda batch: encoded(batch).float().cpu(), batch_size))
    if bad := sum(int((~torch.isfinite(part)).any(1).sum()) for part in features.flatten(1).split(4096)):
        raise CourseError(
            f"{bad} of {len(features)} feature vectors hold NaN or infinity; the training has diverged: "
            "lower lr"
        )
    return features


@explained
def joined(rows: list[Tensor]) -> Tensor:
    """The rows as one tensor; the list is emptied on the way, so that nothing is held twice."""
    if len(rows) == 1:
        return rows.pop()
    whole = rows[0].new_empty((sum(map(len, rows)), *rows[0].shape[1:]))
    at = len(whole)
    while rows:
        last = rows.pop()
        whole[at - len(last) : at] = last
        at -= len(last)
    return whole


def layer_of(encoder: nn.Module, layer: str) -> nn.Module:
    """The named layer of an encoder, or an error that says which ones it has."""
    layers = layers_of(encoder)
    if layer not in layers:
        raise CourseError(f"no layer {layer!r}; this encoder has {', '.join(layers)}")
    return layers[layer]


def reads(network: nn.Module) -> tuple[nn.Module, Encode]:
    """The encoder of a network, and how the network reads a batch.

    A method reads by its own `encode`, which may show its encoder edges, grey pictures or another size. An
    encoder alone is shown pictures or films as they are.
    """
    if is_method(network):
        return network.get_submodule("f"), encode_of(network)

    def plain(batch: dict[str, Tensor]) -> Tensor:
        x = batch["image"] if "image" in batch else batch["video"]
        return network(x if x.is_floating_point() else x.float() / 255)

    return network, plain


def after(network: nn.Module, layer: str, size: int = 2, *, encoder: nn.Module | None = None) -> Encode:
    """An `encode` that stops after a named layer and averages its map over size x size places.

    Args:
        network: a method, whose layers are read while it encodes in its own way; or an encoder alone, which
            is shown pictures as they are. Of a method pass the method, and not its `f`: DeepCluster's encoder
            was trained on edges, and of colours it makes nothing.
        layer: the name of one of the encoder's `.layers`, an ordered dict of named stages.
        size: places along a side that are kept, so that (C, H, W) becomes C * size * size numbers. Of films
            all moments are averaged.
        encoder: whose layer it is, where that is another part of the method than `f`.
    """
    own, read = reads(network)
    encoder = own if encoder is None else encoder
    stage = layer_of(encoder, layer)

    def encode(batch: dict[str, Tensor]) -> Tensor:
        caught: list[Tensor] = []
        hook = stage.register_forward_hook(lambda module, inputs, output: caught.append(output))
        try:
            read(batch)
        finally:
            hook.remove()
        if not caught:
            raise CourseError(
                f"{type(network).__name__} does not use the layer {layer!r} when it encodes; pass the "
                "encoder whose layer it is alone"
            )
        count = next(len(x) for x in batch.values())
        return torch.stack([_averaged(x, size, count, layer) for x in caught]).mean(0)

    return encode


def _averaged(x: Tensor, size: int, count: int, layer: str) -> Tensor:
    """A layer's output as one row for each of `count` samples: of maps size x size places, of vectors all
    numbers; of the parts of a sample (blocks of a film, one after another) the mean.
    """
    if not isinstance(x, Tensor) or x.ndim not in (2, 4, 5) or len(x) % count:
        shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise CourseError(f"layer {layer!r} gives {shape} for {count} samples; choose one that gives maps")
    x = x.float()
    if x.ndim == 5:
        x = x.mean(2)
    if x.ndim == 4:
        x = nn.functional.adaptive_avg_pool2d(x, size).flatten(1)
    return x if len(x) == count else x.unflatten(0, (count, -1)).mean(1)


MOST_NUMBERS = 2**28  # of raw pictures as features: 1 GiB; CIFAR-10 has half of that


def places(samples: Samples) -> int | None:
    """To how many places along a side `pixels` has to average so many pictures down; None: to none."""
    if samples.kind != "image":
        return None
    height, width = samples.image.shape[2:]
    side, whole = min(height, width), len(samples) * samples.image.shape[1] * height * width
    if whole <= MOST_NUMBERS:
        return None
    while side > 4 and len(samples) * 3 * side * side > MOST_NUMBERS:
        side //= 2
    return side


@takes(side=COUNT)
def pixels(samples: Samples, side: int | None = None) -> Tensor:
    """The raw picture as a feature vector (N, 3 H W), 0 to 1: the baseline that needs no network. Of videos
    all frames one after another, each averaged down to 8 x 8 places, (N, 3 T 64): whole ones would be more
    numbers than a probe can read. Of sounds alone the log-mel spectrogram,
    (N, M T).

    Args:
        side: average pictures down to so many places along a side, as `places` says of the training split.
    """
    if samples.kind == "audio":
        audio, rate = samples.sound()
        return sounds.log_mel(audio.cpu(), rate).flatten(1)
    if samples.kind == "image":
        if side is None:
            return samples.image.cpu().flatten(1).float().div_(255)
        parts = samples.image.split(4096)
        return joined(
            [nn.functional.adaptive_avg_pool2d(x.cpu().float() / 255, side).flatten(1) for x in parts]
        )
    rows = [batch["video"].cpu().float() / 255 for batch in samples.batches(64)]
    return joined([nn.functional.adaptive_avg_pool3d(x, (x.shape[2], 8, 8)).flatten(1) for x in rows])


# ------------------------------------------------------------------------------- what a unit looks at


def receptive_field(encoder: nn.Module, layer: str) -> int:
    """Side in pixels of what one place after a named layer can see, for stages that follow one another.

    Each convolution or pooling of kernel k adds (k - 1) times the strides before it. Kernels of one pixel
    (ResNet's shortcuts) add nothing and are left out, their strides too: the path beside them has the same.
    """
    layer_of(encoder, layer)
    size, jump = 1, 1
    for name, stage in layers_of(encoder).items():
        for module in stage.modules():
            if isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
                kernel, stride = (
                    v if isinstance(v, int) else v[0] for v in (module.kernel_size, module.stride)
                )
                if kernel > 1:
                    size, jump = size + (kernel - 1) * jump, jump * stride
        if name == layer:
            break
    return size


@takes(top=WHOLE)
def excitations(network: nn.Module, samples: Samples, layer: str, top: int = 9) -> dict[str, Tensor]:
    """Which images excite each unit of a layer most, and where (Zeiler and Fergus, Visualizing and
    understanding CNNs, 2014, section 4).

    Args:
        network: a method, or an encoder with `.layers` alone; see `after`. Is read in eval mode and left as
            it was.
        samples: labels are not read.
        layer: the name of one of its layers, whose output is (B, C, h, w).
        top: images for each unit, the strongest first; of every image only its strongest place counts, so
            that one does not fill the row.

    Returns: "value" (C, top) activations, "image" (C, top) positions in `samples`, "y" and "x" (C, top) the
        centre in pixels.
    """
    encoder, read = reads(network)
    stage = layer_of(encoder, layer)
    if not 1 <= top <= len(samples):
        raise CourseError(f"top={top}; there are {len(samples)} images, ask for 1 to {len(samples)}")
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    values, places = [], []
    caught: list[Tensor] = []
    hook = stage.register_forward_hook(lambda module, inputs, output: caught.append(output))
    try:
        with frozen(network):
            for batch in samples.to(device).batches(512):
                read({"image": batch["image"]})
                maps = caught.pop().float().cpu()  # (B, C, h, w)
                value, place = maps.flatten(2).max(2)
                values.append(value)
                places.append(place)
    finally:
        hook.remove()
    height, width = samples.image.shape[2:]
    h, w = maps.shape[2:]
    value, image = torch.cat(values).T.topk(top, dim=1)  # (C, top)
    place = torch.cat(places).T.gather(1, image)
    return {
        "value": value,
        "image": image,
        "y": ((place // w) + 0.5) * height / h,
        "x": ((place % w) + 0.5) * width / w,
    }
