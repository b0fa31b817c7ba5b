"""Sounds as pictures: the log-mel spectrogram that every audio network of the course reads.

Korbar, Tran and Torresani (NeurIPS 2018) and Alwassel et al. (NeurIPS 2020) both feed a spectrogram of mel
bands to a network for pictures. torchaudio computes it on any device; the numbers agree with librosa's (a
test compares them)."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, HERTZ, POSITIVE, REAL, SOME, takes
from sslcourse.runtime.shapes import explained

MELS, WINDOW, HOP = 32, 0.032, 0.02  # bands, and seconds
LOWEST = 60.0  # Hz: below there is hum
_FAINT = 1e-6  # added before the logarithm: the power of a sound that nobody hears


@explained
@takes(mels=COUNT, window=REAL, hop=POSITIVE, rate=HERTZ)
def log_mel(
    audio: Float[Tensor, "b l"], rate: int, *, mels: int = MELS, window: float = WINDOW, hop: float = HOP
) -> Float[Tensor, "b 1 m t"]:
    """Log-mel spectrograms.

    Args:
        audio: (B, L) within -1..1, on any device. (B, L) int16 is scaled.
        rate: samples per second.
        mels: bands from 60 Hz to just below half the rate, on the mel scale of librosa (Slaney), each a
            triangle of unit area.
        window, hop: seconds of sound that one column sees, and seconds from column to column.

    Returns: (B, 1, mels, T) float32: natural logarithm of the power. No window reaches beyond the sound, so
        nothing is padded and a column at the
        edge is like any other: T = 1 + (L - window) // hop, 49 for one second at 8,000 Hz.

    Raises:
        CourseError: when the sound is shorter than a window, or not (B, L).
    """
    if audio.ndim != 2:
        raise CourseError(
            f"sounds of shape {tuple(audio.shape)}; expected (B, L): for one sound write audio[None]"
        )
    n_fft = round(window * rate)
    if audio.shape[1] < n_fft:
        raise CourseError(
            f"a sound of {audio.shape[1]} samples is shorter than one window of {n_fft}; take a longer one "
            f"or window={window / 2:g}"
        )
    audio = audio.float() / 32767 if audio.dtype == torch.int16 else audio.float()
    with torch.autocast(audio.device.type, enabled=False):  # half precision would lose whatever is soft
        power = _spectrogram(rate, mels, n_fft, round(hop * rate), str(audio.device))(audio)
    return (power + _FAINT).log()[:, None]


@functools.lru_cache(16)
def _spectrogram(rate: int, mels: int, n_fft: int, hop: int, device: str) -> nn.Module:
    from torchaudio.transforms import MelSpectrogram

    low, high = LOWEST, 0.4875 * rate
    made = MelSpectrogram(
        rate,
        n_fft,
        hop_length=hop,
        f_min=low,
        f_max=high,
        n_mels=mels,
        power=2,
        center=False,
        norm="slaney",
        mel_scale="slaney",
    )
    if rate % 2 or n_fft % 2:
        # torchaudio takes the last frequency of every window for half the rate, rounded down. That of an odd
        # window lies below, and with it all bands would stand beside their places.
        from librosa.filters import mel

        bands = mel(sr=rate, n_fft=n_fft, n_mels=mels, fmin=low, fmax=high)
        made.mel_scale.fb.copy_(torch.from_numpy(bands.T))
    return made.to(device)


@explained
def pictures(audio: Tensor, rate: int, size: int = 32) -> Tensor:
    """Sounds (N, L) as pictures (N, 3, size, size) uint8: time to the right, pitch upwards, dark is silent.
    For sheets and maps.
    """
    from matplotlib import colormaps

    mel = log_mel(audio, rate).flip(2)  # (N, 1, M, T)
    low, high = mel.amin((1, 2, 3), keepdim=True), mel.amax((1, 2, 3), keepdim=True)
    mel = F.interpolate((mel - low) / (high - low).clamp_min(1e-6), (size, size), mode="area")[:, 0]
    colours = colormaps["magma"]((mel.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy(), bytes=True)[
        ..., :3
    ]  # (N, size, size, 3)
    return torch.from_numpy(colours.copy()).permute(0, 3, 1, 2).contiguous()


# ---------------------------------------------------------------------------------------------- views


@explained
@takes(most=SOME)
def shifted(mel: Float[Tensor, "b 1 m t"], most: int = 4) -> Float[Tensor, "b 1 m t"]:
    """Each spectrogram moved in time by up to `most` columns, another number for each; what leaves on one
    side is repeated at the other's edge.
    """
    count = mel.shape[-1]
    by = torch.randint(-most, most + 1, (len(mel), 1), device=mel.device)
    column = (torch.arange(count, device=mel.device) + by).clamp(0, count - 1)  # (B, T)
    return mel.gather(3, column[:, None, None].expand(-1, mel.shape[1], mel.shape[2], -1))


@explained
@takes(bands=SOME, columns=SOME)
def masked(mel: Float[Tensor, "b 1 m t"], bands: int = 4, columns: int = 6) -> Float[Tensor, "b 1 m t"]:
    """Of each spectrogram up to `bands` neighbouring bands and up to `columns` neighbouring moments are
    replaced by its mean.

    Park et al., SpecAugment, Interspeech 2019, section 2.
    """
    mean = mel.mean((1, 2, 3), keepdim=True)
    for axis, most in ((2, bands), (3, columns)):
        size = mel.shape[axis]
        width = torch.randint(0, most + 1, (len(mel), 1), device=mel.device)
        start = (torch.rand(len(mel), 1, device=mel.device) * (size - width + 1)).long()
        at = torch.arange(size, device=mel.device)
        gone = (at >= start) & (at < start + width)  # (B, size)
        mel = torch.where(gone[:, None, :, None] if axis == 2 else gone[:, None, None, :], mean, mel)
    return mel
