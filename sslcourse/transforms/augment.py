"""Random augmentations of a whole batch at once, every sample with parameters of its own.

torchvision's transforms draw one set of parameters and give it to all images of a batch tensor, which
silently weakens every method that learns from views (pytorch/vision issues 2929 and 8484). Here the
parameters are tensors with one entry
per sample. Each operation comes in two parts: `crop(x, box)` does what it is told and is checked per sample
against torchvision's functional form; `simclr_view(...)` draws the parameters and strings operations
together.

Images are floats (B, 3, H, W) from 0 to 1. Random numbers come from PyTorch's global generator, which
`sslcourse.train` seeds before every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import FACTOR, PIXELS, REAL, SHARE, Number, takes
from sslcourse.runtime.shapes import explained

View = Callable[[Tensor], Tensor]

_GREY = (0.2989, 0.587, 0.114)  # as torchvision rounds them; `colour.grey` has those of the standard


@explained
def as_float(image: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 to float, 0 to 1; floats pass. Raises CourseError for anything else."""
    if image.ndim != 4 or image.shape[1] != 3:
        raise CourseError(
            f"images of shape {tuple(image.shape)}; expected (B, 3, H, W): for one image write x[None]"
        )
    if image.dtype == torch.uint8:
        return image.float().mul_(1 / 255)
    if image.is_floating_point():
        return image
    raise CourseError(f"images of type {image.dtype}; expected uint8 (0 to 255) or float (0 to 1)")


# --------------------------------------------------------------------------- operations, told what to do


@explained
@takes(size=PIXELS)
def crop(image: Tensor, box: Tensor, size: int | None = None, flip: Tensor | None = None) -> Tensor:
    """Cut a box out of every image, resize it to `size` and mirror it where told, in one bilinear lookup.

    Args:
        box: (B, 4) of left, top, width, height in pixels; need not be whole numbers.
        flip: (B,) bool.

    Like torchvision's `resized_crop` without antialiasing; pixels outside the image repeat its border.
    """
    _, _, h, w = image.shape
    size = size or h
    left, top, width, height = box.unbind(1)
    # affine_grid maps -1..1 of the output to -1..1 of the input: a scale and a shift for each axis.
    theta = torch.zeros(len(image), 2, 3, device=image.device, dtype=image.dtype)
    theta[:, 0, 0] = width / w if flip is None else torch.where(flip, -width, width) / w
    theta[:, 1, 1] = height / h
    theta[:, 0, 2] = (2 * left + width) / w - 1
    theta[:, 1, 2] = (2 * top + height) / h - 1
    grid = F.affine_grid(theta, [len(image), 3, size, size], align_corners=False)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _column(x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.dtype).view(-1, 1, 1, 1)


@explained
def grey(image: Tensor) -> Tensor:
    """(B, 3, H, W) to (B, 1, H, W)."""
    r, g, b = image.unbind(1)
    return torch.add(r * _GREY[0], g, alpha=_GREY[1]).add_(b, alpha=_GREY[2]).unsqueeze(1)


@explained
def brightness(image: Tensor, factor: Tensor) -> Tensor:
    """Multiply by a factor per sample (B,): 1 leaves it, 0 is black."""
    return (image * _column(factor, image)).clamp_(0, 1)


@explained
def contrast(image: Tensor, factor: Tensor) -> Tensor:
    """Away from (or towards, below 1) the mean grey of each image, by a factor per sample (B,)."""
    mean = grey(image).mean((2, 3), keepdim=True)
    return torch.lerp(mean, image, _column(factor, image)).clamp_(0, 1)


@explained
def saturation(image: Tensor, factor: Tensor) -> Tensor:
    """Away from (or towards) the grey picture, by a factor per sample (B,): 0 is grey, 1 leaves it."""
    return torch.lerp(grey(image), image, _column(factor, image)).clamp_(0, 1)


@explained
def hue(image: Tensor, shift: Tensor) -> Tensor:
    """Turn the colour wheel by `shift` of a full turn (B,), -0.5 to 0.5: exactly, through HSV."""
    r, g, b = image.unbind(1)
    value = torch.maximum(torch.maximum(r, g), b)
    spread = value - torch.minimum(torch.minimum(r, g), b)
    # Where on the wheel a pixel lies depends on which channel is the greatest: red at 0, green at 1/3, blue
    # at 2/3 of a turn.
    red, green = r == value, g == value
    at = torch.where(red, g - b, torch.where(green, b - r, r - g)).div_(spread.clamp_min(1e-12))
    at.add_(green.to(image.dtype).mul_(-2).add_(4).masked_fill_(red, 0)).mul_(1 / 6).add_(
        shift.to(image.dtype).view(-1, 1, 1)
    )
    out = torch.empty_like(image)
    # a channel is darkest half a turn from its own colour
    for channel, opposite in enumerate((1 / 2, 1 / 6, -1 / 6)):
        away = at + opposite
        away = away.sub_(away.round()).abs_()  # turns from there, 0 to 1/2
        torch.sub(value, away.mul_(-6).add_(2).clamp_(0, 1).mul_(spread), out=out[:, channel])
    return out


@explained
def blur(image: Tensor, sigma: Tensor, kernel: int) -> Tensor:
    """Gaussian blur, one width per sample (B,) in pixels, `kernel` taps (odd); borders are reflected."""
    b, c, h, w = image.shape
    reach = kernel // 2
    at = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype)
    taps = torch.exp(-0.5 * (at / sigma.to(image.dtype)[:, None]) ** 2)
    taps = (taps / taps.sum(1, keepdim=True)).repeat_interleave(c, 0)  # (B*3, kernel)
    x = F.pad(image, [reach] * 4, mode="reflect").reshape(1, b * c, h + 2 * reach, w + 2 * reach)
    x = F.conv2d(x, taps[:, None, :, None], groups=b * c)
    return F.conv2d(x, taps[:, None, None, :], groups=b * c).view(b, c, h, w)


# ---------------------------------------------------------------------------------- operations that draw


def _uniform(n: int, low: float, high: float, device) -> Tensor:
    return torch.rand(n, device=device) * (high - low) + low


def random_boxes(
    n: int, height: int, width: int, area: Sequence[float], aspect: Sequence[float], device
) -> Tensor:
    """(n, 4) boxes of a random share of the area and a log-uniform aspect ratio, inside the image.

    The distribution of torchvision's RandomResizedCrop, which tries up to ten times for a box that fits: here
    all ten are drawn at once and the first that fits is taken (where none does: the largest central box of an
    allowed aspect)."""
    tries = 10
    share = _uniform(n * tries, area[0], area[1], device).view(n, tries) * height * width
    ratio = _uniform(n * tries, math.log(aspect[0]), math.log(aspect[1]), device).exp_().view(n, tries)
    w, h = (share * ratio).sqrt().round(), (share / ratio).sqrt().round()
    fits = (w <= width) & (h <= height) & (w > 0) & (h > 0)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    w, h = w.gather(1, first).squeeze(1), h.gather(1, first).squeeze(1)
    none = ~fits.any(1)
    whole = min(max(width / height, aspect[0]), aspect[1])
    w = torch.where(none, torch.full_like(w, min(width, round(height * whole))), w)
    h = torch.where(none, torch.full_like(h, min(height, round(width / whole))), h)
    left = (torch.rand(n, device=device) * (width - w + 1)).floor()
    top = (torch.rand(n, device=device) * (height - h + 1)).floor()
    middle_left, middle_top = ((width - w) / 2).floor(), ((height - h) / 2).floor()
    return torch.stack([torch.where(none, middle_left, left), torch.where(none, middle_top, top), w, h], 1)


@explained
@takes(
    p=SHARE,
    brightness_by=FACTOR,
    contrast_by=FACTOR,
    saturation_by=FACTOR,
    hue_by=REAL,
)
def colour_jitter(
    image: Tensor,
    brightness_by: float,
    contrast_by: float,
    saturation_by: float,
    hue_by: float,
    p: float = 0.8,
) -> Tensor:
    """With probability p per sample: brightness, contrast and saturation by factors in [1-s, 1+s], hue by a
    shift in [-h, h]. Strengths are drawn per sample; the order of the four is drawn once per call
    (torchvision: per image).
    """
    return _jitter_(image.clone(), brightness_by, contrast_by, saturation_by, hue_by, p)


def _jitter_(
    image: Tensor, brightness_by: float, contrast_by: float, saturation_by: float, hue_by: float, p: float
) -> Tensor:
    """`colour_jitter` that writes into its input, for pipelines that own it."""
    n, device = len(image), image.device
    chosen = (torch.rand(n, device=device) < p).nonzero().squeeze(1)
    m = len(chosen)
    if not m:
        return image
    x = image[chosen]
    amounts = {
        brightness: _uniform(m, max(0, 1 - brightness_by), 1 + brightness_by, device),
        contrast: _uniform(m, max(0, 1 - contrast_by), 1 + contrast_by, device),
        saturation: _uniform(m, max(0, 1 - saturation_by), 1 + saturation_by, device),
        hue: _uniform(m, -hue_by, hue_by, device),
    }
    strengths = {brightness: brightness_by, contrast: contrast_by, saturation: saturation_by, hue: hue_by}
    operations = list(amounts)
    for i in torch.randperm(4).tolist():  # drawn on the CPU: no wait for a GPU
        operation = operations[i]
        if strengths[operation]:
            x = operation(x, amounts[operation])
    image[chosen] = x
    return image


@explained
@takes(p=SHARE)
def random_grey(image: Tensor, p: float) -> Tensor:
    """Each sample turns grey with probability p."""
    return _grey_(image.clone(), p)


def _grey_(image: Tensor, p: float) -> Tensor:
    chosen = (torch.rand(len(image), device=image.device) < p).nonzero().squeeze(1)
    image[chosen] = grey(image[chosen]).expand(-1, 3, -1, -1)
    return image


@explained
@takes(p=SHARE)
def random_blur(image: Tensor, p: float = 0.5, sigma: Sequence[float] = (0.1, 2.0)) -> Tensor:
    """Each sample is blurred with probability p, kernel a tenth of the side (SimCLR, appendix A)."""
    n, device = len(image), image.device
    kernel = 2 * round(image.shape[-1] / 20) + 1
    chosen = (torch.rand(n, device=device) < p).view(-1, 1, 1, 1)
    return torch.where(chosen, blur(image, _uniform(n, sigma[0], sigma[1], device), kernel), image)


# ---------------------------------------------------------------------------------- whole pipelines

_BLOCK = (
    128  # samples worked on at once on a CPU: a dozen passes over more of them would run from main memory
)


def in_blocks(view: View) -> View:
    """The same view, on a CPU applied to 128 samples at a time."""

    def blocks(image: Tensor) -> Tensor:
        if image.device.type != "cpu" or len(image) <= _BLOCK:
            return view(image)
        return torch.cat([view(part) for part in image.split(_BLOCK)])

    return blocks


@takes(
    strength=FACTOR,
    flip=SHARE,
    jitter=SHARE,
    greyscale=SHARE,
    blurred=SHARE,
    hue_by=Number(0, 0.5, whole=False),
    size=PIXELS,
)
def simclr_view(
    area: Sequence[float] = (0.08, 1.0),
    strength: float = 0.5,
    flip: float = 0.5,
    jitter: float = 0.8,
    greyscale: float = 0.2,
    blurred: float = 0.0,
    hue_by: float | None = None,
    size: int | None = None,
) -> View:
    """The random view of SimCLR's appendix A: crop and resize, flip, colour jitter, grey, blur.

    Args:
        area: range of the crop's share of the image; (1, 1) for no crop.
        strength: s of the paper: brightness, contrast and saturation by 0.8 s, hue by 0.2 s (1 on ImageNet,
            0.5 on CIFAR).
        flip, jitter, greyscale, blurred: probability of each, per sample. Blur is left out on small images
            (appendix B.9).
        hue_by: hue shift if it should not be 0.2 s.
        size: side of the output in pixels, the input's by default.

    Returns:
        A function from images (B, 3, H, W), uint8 or float 0..1, to views (B, 3, size, size), float 0..1.
    """
    if len(area) != 2 or not (0 < area[0] <= area[1] <= 1):
        raise CourseError(f"area={tuple(area)}; give two shares of the image, such as (0.2, 1.0)")
    if strength < 0:
        raise CourseError(f"strength={strength}; 0 is no colour distortion, 1 is ImageNet's")
    hue_by = 0.2 * strength if hue_by is None else hue_by
    if not 0 <= hue_by <= 0.5:
        raise CourseError(f"a hue shift of {hue_by} turns; half a turn (0.5) is the largest there is")

    def view(image: Tensor) -> Tensor:
        x = as_float(image)
        n, _, h, w = x.shape
        mirrored = torch.rand(n, device=x.device) < flip
        if area[0] < 1:
            boxes = random_boxes(n, h, w, area, (3 / 4, 4 / 3), x.device)
        else:
            boxes = torch.tensor([[0.0, 0.0, w, h]], device=x.device).expand(n, 4)
        x = crop(x, boxes, size, mirrored)
        if strength or hue_by:
            # x is the crop's own
            x = _jitter_(x, 0.8 * strength, 0.8 * strength, 0.8 * strength, hue_by, jitter)
        if greyscale:
            x = _grey_(x, greyscale)
        if blurred:
            x = random_blur(x, blurred)
        return x

    return in_blocks(view)


# What the contrastive lessons show their networks. On CIFAR-10 as in SimCLR's appendix B.9, but for the
# smallest crop: .08 of 32 pixels is 9 pixels wide. On the toybox smaller crops often miss the solid, and hue
# is shifted further than the paper's 0.1 (0.2 s at s = 0.5), by a fifth of the wheel, because colours fill
# the whole wheel there.
CIFAR_VIEW: dict[str, Any] = dict(area=(0.2, 1.0), strength=0.5)
COURSE_VIEW: dict[str, Any] = dict(area=(0.3, 1.0), strength=0.5, hue_by=0.2)


def crop_and_flip(area: Sequence[float] = (0.5, 1.0)) -> View:
    """The light augmentation for supervised training and fine-tuning: crop, resize, mirror."""
    return simclr_view(area=area, strength=0, greyscale=0)


@explained
def identity(image: Tensor) -> Tensor:
    """The image itself as floats 0..1: no augmentation."""
    return as_float(image)


# ---------------------------------------------------------------------------------- films


@explained
@takes(p=SHARE)
def channel_copy(image: Tensor, p: float) -> Tensor:
    """With probability p per sample one of its channels, drawn anew, replaces all three (DPC's "grey")."""
    n, device = len(image), image.device
    channel = torch.randint(3, (n,), device=device)
    one = image[torch.arange(n, device=device), channel].unsqueeze(1).expand_as(image)
    return torch.where((torch.rand(n, device=device) < p).view(-1, 1, 1, 1), one, image)


@takes(flip=SHARE, strength=FACTOR, hue_by=Number(0, 0.5, whole=False), jitter=SHARE, copied=SHARE)
def film_view(
    area: Sequence[float] = (0.5, 1.0),
    flip: float = 0.0,
    strength: float = 0.5,
    hue_by: float = 0.25,
    jitter: float = 1.0,
    copied: float = 0.5,
    per_frame: bool = True,
) -> View:
    """The random view of a film in Dense Predictive Coding: one crop for the whole film, and colours of its
    own for every frame.

    Args:
        area: range of the crop's share of a frame, the same crop in all frames of a film; (1, 1) for no crop.
        flip: probability that the whole film is mirrored. A mirror turns clockwise into counter-clockwise:
            leave it at 0 where labels depend on that, as those of the moving toybox do. (DPC itself never
            pairs a film with its mirror, so there a flip is only more data; what is trained with labels would
            be told that both ways of turning are the same class.)
        strength: brightness, contrast and saturation by factors in [1 - s, 1 + s].
        hue_by: largest hue shift in turns, up to 0.5.
        jitter, copied: probabilities of the colour jitter and of one channel in place of all three, drawn for
            each frame.
        per_frame: False draws the colours once for each film. Colours then tell which frames belong together:
            a shortcut.

    Returns:
        A function from films (B, 3, T, H, W), uint8 or float 0..1, to films of the same shape, float 0..1.
    """
    if len(area) != 2 or not (0 < area[0] <= area[1] <= 1):
        raise CourseError(f"area={tuple(area)}; give two shares of the frame, such as (0.5, 1.0)")
    for name, value in (("flip", flip), ("jitter", jitter), ("copied", copied)):
        if not 0 <= value <= 1:
            raise CourseError(f"{name}={value}; use a probability, from 0 to 1")
    if strength < 0 or not 0 <= hue_by <= 0.5:
        raise CourseError(
            f"strength={strength}, hue_by={hue_by}; a strength from 0 on, and a hue shift of at most half a "
            "turn (0.5)"
        )

    def some(films: Tensor) -> Tensor:
        b, _, t, h, w = films.shape
        # (B T, 3, H, W), the frames of a film one after another
        x = as_float(films.transpose(1, 2).flatten(0, 1))
        if area[0] < 1 or flip:
            box = (
                random_boxes(b, h, w, area, (3 / 4, 4 / 3), x.device)
                if area[0] < 1
                else x.new_tensor([[0.0, 0.0, w, h]]).expand(b, 4)
            )
            mirrored = torch.rand(b, device=x.device) < flip
            x = crop(x, box.repeat_interleave(t, 0), None, mirrored.repeat_interleave(t))
        if per_frame:
            x = colours(x)
        else:
            x = (
                colours(x.view(b, t, 3, h, w).transpose(1, 2).reshape(b, 3, t * h, w))
                .view(b, 3, t, h, w)
                .transpose(1, 2)
                .flatten(0, 1)
            )
        return x.view(b, t, 3, h, w).transpose(1, 2)

    def colours(x: Tensor) -> Tensor:
        if copied:
            x = channel_copy(x, copied)
        return (
            colour_jitter(x, strength, strength, strength, hue_by, jitter)
            if jitter and (strength or hue_by)
            else x
        )

    def view(films: Tensor) -> Tensor:
        if films.ndim != 5 or films.shape[1] != 3:
            raise CourseError(
                f"films of shape {tuple(films.shape)}; expected (B, 3, T, H, W): for one film write x[None]"
            )
        if films.device.type != "cpu":
            return some(films)
        return torch.cat([some(part) for part in films.split(max(1, _BLOCK // films.shape[2]))])

    return view
