"""Are picture and sound in step? What a network of two embeddings is asked after it was trained.

    accuracy(method, samples, "hard")       pairs in and out of sync told apart, by kind of negative
    curve(method, samples)                  distance as a function of how much too late the sound is
    found(method, video, audio)             by how much a film is out of step
    located(method, video, audio)           where in the picture the sound comes from
    svm({"name": ear}, data)                frozen features and a linear SVM, crops averaged: the ESC protocol

All of it asks a method for no more than `see`, `hear` and `distance` (`methods.avts`), reads no label (but
`svm`), and stands beside
what needs no network: `Energy`, which compares how much moves with how loud it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslcourse import runtime
from sslcourse.data.datasets import Data, Samples, open_labels
from sslcourse.evaluate.esc50 import linear_machine
from sslcourse.evaluate.probes import judged_by, linear_probe
from sslcourse.methods import avts
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, SEED, WHOLE, Number, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train import ties
from sslcourse.train.features import encode_of, frozen
from sslcourse.transforms import sounds

# of negatives: another film; the same film, apart; the same film, overlapping
KINDS = ("easy", "hard", "super-hard")
_CHUNK = 256


# ---------------------------------------------------------------------------------------------- pairs


@dataclass(frozen=True)
class Pairs:
    """Pairs of a window of pictures and a window of sound, half of them in sync.

    Args:
        film, seen: of the picture: which film, and the frame with which the window begins.
        other, heard: the same of the sound.
        together: whether the pair is in sync.
        frames: of a window.
    """

    film: Tensor
    seen: Tensor
    other: Tensor
    heard: Tensor
    together: Tensor
    frames: int

    def __len__(self) -> int:
        return len(self.film)


@takes(frames=Number(1, 100_000), each=COUNT, seed=SEED)
def pairs(samples: Samples, kind: str, *, frames: int = 16, each: int = 4, seed: int = 0) -> Pairs:
    """Fixed pairs for judging: every picture and every sound is in one pair in sync and in one out of sync.

    Args:
        kind: of the negatives, one of KINDS. Hard ones are a window or more apart, super-hard ones a quarter
            of a window up to nearly a whole one.
        each: draws per film; every one gives two windows, and so two pairs in sync and two that are not.
        seed: of the moments and of who meets whom.
    """
    if kind not in KINDS:
        raise CourseError(f"kind={kind!r}; choose one of {', '.join(KINDS)}")
    g = runtime.generator(seed, 0x5C)
    films = len(samples)
    if films < 4:
        raise CourseError(f"{films} films; two halves with pairs across films need at least four")
    count = samples.video.shape[2]
    least, most = (max(1, frames // 4), frames - 1) if kind == "super-hard" else (frames, 10**9)
    # The threshold of one half is used on the other, so no pair may lie across: each half is dealt out by
    # itself.
    rows = []
    for members in torch.arange(films).split((films + 1) // 2):
        for _ in range(each):
            # first windows, then second ones
            seen = avts.starts(len(members), count, frames, least, most, generator=g).reshape(-1)
            wrong = avts.partners(torch.full((len(members),), kind != "easy"), generator=g)
            film = members.repeat(2)
            for sound, together in ((torch.arange(len(film)), True), (wrong, False)):
                rows.append((film, seen, film[sound], seen[sound], torch.full((len(film),), together)))
    film, seen, other, heard, sync = (torch.cat(column) for column in zip(*rows))
    return Pairs(film, seen, other, heard, sync, frames)


@explained
@torch.no_grad()
def embedded(method, samples: Samples, film: Tensor, start: Tensor, frames: int, what: str) -> Tensor:
    """(n, d) of windows in the common space: `what` is "see" or "hear"; each distinct window is worked on
    once.
    """
    known, where = torch.unique(torch.stack([film, start]), dim=1, return_inverse=True)
    device = (
        next((p.device for p in method.parameters()), torch.device("cpu"))
        if isinstance(method, nn.Module)
        else torch.device("cpu")
    )
    rows = []
    films, sound = samples.video, samples.sound()[0]
    for part in known.T.split(_CHUNK):
        index, moment = part[:, 0].to(films.device), part[:, 1].to(films.device)
        video, audio = avts.cut(films[index], sound[index], moment, moment, frames)
        shown = video.to(device).float() / 255 if what == "see" else audio.to(device).float() / 32767
        rows.append(getattr(method, what)(shown).float().cpu())
    return torch.cat(rows)[where]


def distances(method, samples: Samples, of: Pairs) -> Tensor:
    """(n,) how far from being in sync each pair is."""
    with _still(method):
        v = embedded(method, samples, of.film, of.seen, of.frames, "see")
        a = embedded(method, samples, of.other, of.heard, of.frames, "hear")
        return _distance(method, v, a)


def _still(method):
    import contextlib

    return frozen(method) if isinstance(method, nn.Module) else contextlib.nullcontext()


@torch.no_grad()
def _distance(method, v: Tensor, a: Tensor) -> Tensor:
    device = (
        next((p.device for p in method.parameters()), v.device) if isinstance(method, nn.Module) else v.device
    )
    return method.distance(v.to(device), a.to(device)).float().cpu()


def _numbers(distance: Tensor) -> None:
    if not len(distance) or not torch.isfinite(distance).all():
        raise CourseError(
            f"{int((~torch.isfinite(distance)).sum())} of {len(distance)} distances are NaN or infinite; "
            "give some that are numbers (if the training has diverged, start again with a lower lr)"
        )


@explained
def balanced(distance: Tensor, together: Tensor, threshold: float) -> float:
    """Balanced accuracy of "in sync where the distance is below the threshold": the mean over both kinds of
    the share that is right.
    """
    _numbers(distance)
    near = distance < threshold
    return float(near[together].float().mean() + (~near[~together]).float().mean()) / 2


@explained
def threshold(distance: Tensor, together: Tensor) -> float:
    """The threshold with the best balanced accuracy, midway between two distances."""
    _numbers(distance)
    if not together.any() or together.all():
        raise CourseError("a threshold needs pairs in sync and pairs out of sync; these are all of one kind")
    values, order = distance.double().sort()
    right = together[order].double()
    # of the pairs in sync, those below
    hits = torch.cat([right.new_zeros(1), (right / right.sum()).cumsum(0)])
    alarms = torch.cat([right.new_zeros(1), ((1 - right) / (1 - right).sum()).cumsum(0)])
    gain = hits - alarms
    gain[1:-1][values[1:] == values[:-1]] = -1  # no threshold lies between equal distances
    k = int(gain.argmax())
    if k in (0, len(values)):
        return float(values[0]) - 1 if k == 0 else float(values[-1]) + 1
    return float(values[k - 1] + values[k]) / 2


@explained
def judged(distance: Tensor, together: Tensor, half: Tensor) -> float:
    """Balanced accuracy with the threshold of the other half, mean over both halves. Chance is 1/2.

    Args:
        distance: (n,) of pairs.
        together: (n,) bool, whether in sync.
        half: (n,) bool, which half a pair belongs to.
    """
    scores = []
    for fit, held in ((half, ~half), (~half, half)):
        if not all(bool((together[part] == kind).any()) for part in (fit, held) for kind in (True, False)):
            raise CourseError("each half needs pairs in sync and pairs out of sync; pass more films")
        scores.append(balanced(distance[held], together[held], threshold(distance[fit], together[fit])))
    return sum(scores) / 2


@takes(frames=Number(1, 100_000), each=COUNT, seed=SEED)
def accuracy(
    method, samples: Samples, kind: str = "hard", *, frames: int = 16, each: int = 4, seed: int = 0
) -> float:
    """How well pairs in and out of sync are told apart: balanced accuracy, the threshold from the other half
    of the films.

    Korbar et al., section 4.1; one kind of negative at a time.
    """
    of = pairs(samples, kind, frames=frames, each=each, seed=seed)
    return judged(distances(method, samples, of), of.together, of.film < (len(samples) + 1) // 2)


# ---------------------------------------------------------------------------------------------- out of step


@explained
@takes(frames=Number(1, 100_000))
@torch.no_grad()
def table(method, video: Tensor, audio: Tensor, frames: int = 16) -> Tensor:
    """(B, n, n) distances of every window of the pictures (rows) to every window of the sound of the same
    film, one window a frame.

    Args:
        video: (B, 3, T, H, W) uint8 or float 0..1; n = T - frames + 1.
        audio: (B, L) float within -1..1 or int16.
    """
    b, n = len(video), video.shape[2] - frames + 1
    if n < 1:
        raise CourseError(f"films of {video.shape[2]} frames are shorter than one window of {frames}")
    samples = Samples(video=video, audio=audio, rate=1000, fps=1.0)  # rate and fps are not read
    film, start = torch.arange(b).repeat_interleave(n), torch.arange(n).repeat(b)
    with _still(method):
        v, a = (
            embedded(method, samples, film, start, frames, what).view(b, n, -1) for what in ("see", "hear")
        )
        return torch.stack(
            [
                _distance(
                    method,
                    x[:, None].expand(-1, n, -1).flatten(0, 1),
                    y[None].expand(n, -1, -1).flatten(0, 1),
                ).view(n, n)
                for x, y in zip(v, a)
            ]
        )


@explained
def by_offset(distance: Tensor, reach: int) -> Tensor:
    """(B, 2 reach + 1) mean distance of the pairs whose sound is taken so many frames later than the picture,
    -reach to reach.

    Args:
        distance: (B, n, n), see `table`.
    """
    n = distance.shape[1]
    if not 0 <= reach < n:
        raise CourseError(f"reach={reach}; there are {n} windows a film, so offsets go up to {n - 1}")
    return torch.stack([distance.diagonal(o, 1, 2).mean(1) for o in range(-reach, reach + 1)], 1)


@takes(reach=WHOLE, frames=Number(1, 100_000))
def curve(method, samples: Samples, reach: int = 16, frames: int = 16) -> Tensor:
    """(N, 2 reach + 1) distance of the middle window of each film's pictures to the sound of `-reach` to
    `reach` frames later.
    """
    n, count = len(samples), samples.video.shape[2]
    middle = (count - frames) // 2
    if not 0 <= reach <= min(middle, count - frames - middle):
        raise CourseError(
            f"reach={reach}; films of {count} frames leave {min(middle, count - frames - middle)} frames "
            "on either side of the middle"
        )
    later = torch.arange(-reach, reach + 1)
    film = torch.arange(n)
    with _still(method):
        v = embedded(method, samples, film, torch.full((n,), middle), frames, "see")
        a = embedded(
            method, samples, film.repeat_interleave(len(later)), (middle + later).repeat(n), frames, "hear"
        )
        return _distance(method, v.repeat_interleave(len(later), 0), a).view(n, -1)


@explained
@takes(reach=WHOLE)
def out_of_step(samples: Samples, by: Tensor, reach: int = 8) -> tuple[Tensor, Tensor]:
    """Films whose sound is `by` frames late (negative: early), `reach` frames shorter at either end so that
    nothing is missing.

    Args:
        by: (N,) whole numbers within -reach..reach.

    Returns:
        (N, 3, T - 2 reach, H, W) and (N, L of as many frames).
    """
    if int(by.abs().max()) > reach:
        raise CourseError(f"by={by.tolist()}; shifts go from {-reach} to {reach} frames")
    at = torch.full_like(by, reach)
    return avts.cut(samples.video, samples.sound()[0], at, at - by, samples.video.shape[2] - 2 * reach)


@explained
@takes(reach=WHOLE, frames=Number(1, 100_000))
def found(method, video: Tensor, audio: Tensor, reach: int = 8, frames: int = 16) -> Tensor:
    """(B,) by how many frames the sound is late: the offset at which the mean distance of all windows is
    smallest. Of offsets that are equally good the one nearest to 0: nothing says that anything is out of
    step.
    """
    good = _nearest_offsets(by_offset(table(method, video, audio, frames), reach))
    offset = torch.arange(-reach, reach + 1)
    return offset[torch.where(good, offset.abs(), 2 * reach + 1).argmin(1)]


def _nearest_offsets(mean: Tensor) -> Tensor:
    """(B, offsets) bool: where the mean distance is smallest, of several that are equal but for the last
    digits all.
    """
    for row in mean:
        _numbers(row)
    return ties.best(-mean)


@takes(reach=WHOLE, frames=Number(1, 100_000), seed=SEED)
def offset_error(method, samples: Samples, *, reach: int = 8, frames: int = 16, seed: int = 0) -> float:
    """Mean error in frames of what is `found` in films put out of step by a random -reach to reach frames.
    Where several offsets are equally good, the mean over them: what picking one at random would err by.
    """
    by = torch.randint(-reach, reach + 1, (len(samples),), generator=runtime.generator(seed, 0x0FF))
    good = _nearest_offsets(by_offset(table(method, *out_of_step(samples, by, reach), frames), reach))
    error = (torch.arange(-reach, reach + 1) - by[:, None]).abs()
    return float(((good * error).sum(1) / good.sum(1)).mean())


class Energy:
    """The baseline without a network: how much moves from frame to frame against how much louder it gets, by
    their correlation.
    """

    def see(self, video: Tensor) -> Tensor:
        moved = (video[:, :, 1:] - video[:, :, :-1]).abs().mean((1, 3, 4))  # (B, T - 1)
        return F.normalize(moved - moved.mean(1, keepdim=True), dim=1)

    def hear(self, audio: Tensor) -> Tensor:
        return self._loud(audio, 16)

    @staticmethod
    def _loud(audio: Tensor, frames: int) -> Tensor:
        power = audio.float().unflatten(1, (frames, -1)).square().mean(2).add(1e-6).log()  # (B, T)
        loud = (power[:, 1:] + power[:, :-1]) / 2
        return F.normalize(loud - loud.mean(1, keepdim=True), dim=1)

    def distance(self, v: Tensor, a: Tensor) -> Tensor:
        return 1 - (v * a).sum(1)


# ---------------------------------------------------------------------------- where the sound comes from


@explained
def only(video: Tensor, y: int, x: int, cells: int = 4, beyond: float = 0.25) -> Tensor:
    """The films with nothing but one square moving: all else stands still as it is on average over the film.

    Args:
        video: (B, 3, T, H, W) float.
        y, x: which square, of `cells` x `cells`.
        beyond: by which part of its side it reaches over its borders.
    """
    height, width = video.shape[3] / cells, video.shape[4] / cells
    rows = slice(max(0, round((y - beyond) * height)), round((y + 1 + beyond) * height))
    columns = slice(max(0, round((x - beyond) * width)), round((x + 1 + beyond) * width))
    made = video.mean(2, keepdim=True).expand_as(video).clone()
    made[..., rows, columns] = video[..., rows, columns]
    return made


@explained
@takes(cells=COUNT)
@torch.no_grad()
def located(method, video: Tensor, audio: Tensor, cells: int = 4) -> Tensor:
    """(B, cells, cells) how far the sound is from the film in which only this place moves (`only`): small
    where it comes from.

    Args:
        video, audio: windows as long as the method's: (B, 3, frames, H, W) uint8 or float 0..1, (B, L) float.
    """
    video = video if video.is_floating_point() else video.float() / 255
    with _still(method):
        a = method.hear(audio)
        rows = [
            [method.distance(method.see(only(video, y, x, cells)), a) for x in range(cells)]
            for y in range(cells)
        ]
    return torch.stack([torch.stack(row, 1) for row in rows], 1).float()


@explained
@takes(frames=Number(1, 100_000))
def followed(method, video: Tensor, audio: Tensor, frames: int = 16) -> Tensor:
    """(T, h, w) of one film `located` at every frame: in the window around it, as far as the film goes.

    Args:
        video, audio: (3, T, H, W) and (L,), a whole film.
    """
    count = video.shape[1] - frames + 1
    if count < 1:
        raise CourseError(f"a film of {video.shape[1]} frames is shorter than one window of {frames}")
    at = torch.arange(count)
    windows = avts.cut(
        video[None].expand(count, -1, -1, -1, -1), audio[None].expand(count, -1), at, at, frames
    )
    heat = located(method, *windows)
    return heat[(torch.arange(video.shape[1]) - frames // 2).clamp(0, count - 1)]


@explained
def glowing(video: Tensor, heat: Tensor) -> Tensor:
    """(3, T, H, W) uint8: a film in grey that glows where the distance is small, each frame scaled for
    itself.

    Args:
        video: (3, T, H, W) uint8.
        heat: (T, h, w), such as `followed` gives.
    """
    low, high = heat.amin((1, 2), keepdim=True), heat.amax((1, 2), keepdim=True)
    # where all places are alike, none should glow
    near = ((high - heat) / (high - low).clamp_min(0.3)).pow(3)
    near = F.interpolate(near[None], video.shape[2:], mode="bilinear", align_corners=False)[0]  # (T, H, W)
    grey = video.float().mean(0)
    colour = torch.tensor([1.0, 0.42, 0.21]).view(3, 1, 1, 1) * 255
    return (grey * (1 - 0.6 * near) + 0.6 * near * colour).round().clamp(0, 255).to(torch.uint8)


@explained
def covered(mask: Tensor, number: int, cells: tuple[int, int]) -> Tensor:
    """(B, h, w) which share of each cell, over all frames, a solid covers.

    Args:
        mask: (B, T, H, W) as the toybox has it: 1 the solid that is heard, 2 the silent one.
        number: which of them.
    """
    return F.adaptive_avg_pool2d((mask == number).float(), cells).mean(1)


@explained
def pointed(heat: Tensor, cover: Tensor) -> float:
    """What share of the cell with the greatest heat is covered, mean over films: 0 to 1. Of cells that are
    equally hot the mean.

    Args:
        heat, cover: (B, h, w).
    """
    for row in heat.flatten(1):
        _numbers(row)
    best = ties.best(heat.flatten(1))
    return float(((best * cover.flatten(1)).sum(1) / best.sum(1)).mean())


# ---------------------------------------------------------------------------------------------- leaks


def leaks(train: Samples, held: Samples, of_train: Pairs, of_held: Pairs) -> dict[str, float]:
    """Accuracy of linear classifiers that read only the picture, or only the sound, of each pair: 1/2 where
    neither gives the answer away.
    """

    def read(samples: Samples, of: Pairs) -> dict[str, Tensor]:
        films, (sound, rate) = samples.video, samples.sound()
        film = of.film.to(films.device), of.other.to(films.device)
        video, _ = avts.cut(films[film[0]], sound[film[0]], of.seen, of.seen, of.frames)
        _, audio = avts.cut(films[film[1]], sound[film[1]], of.heard, of.heard, of.frames)
        x = F.adaptive_avg_pool3d(video.float() / 255, (4, 4, 4)).flatten(1)
        y = F.adaptive_avg_pool2d(sounds.log_mel(audio, rate), (16, 16)).flatten(1)
        return {"picture only": x, "sound only": y}

    x, y = read(train, of_train), read(held, of_held)
    result = {}
    for name in x:
        fitted = linear_probe(x[name], of_train.together.long(), classes=2)
        result[name] = float(ties.found(fitted(y[name]), of_held.together.long()).mean())
    return result


# ---------------------------------------------------------------------------------------------- downstream


@takes(crops=WHOLE, frames=Number(1, 100_000))
def svm(
    methods: Mapping[str, nn.Module], data: Data, *, on: str = "validation", crops: int = 5, frames: int = 16
) -> dict[str, float]:
    """Accuracy of a linear SVM on frozen features, scores averaged over the crops of a film: the protocol of
    `evaluate.esc50.esc` on films.

    Args:
        methods: name -> something that encodes: a method, or its `ear`.
        on: "validation" or, for the final table, "test", whose labels are opened once for all methods.
        crops: windows of a film, evenly spaced.
    """
    if on not in ("validation", "test"):
        raise CourseError(
            f"on={on!r}; score on 'validation' (to look and to choose) or on 'test' (to report)"
        )
    held = getattr(data, on)
    label = (open_labels(held, "synchrony.svm")[0] if on == "test" else held.label).cpu().numpy()
    own = data.train.label.cpu().numpy()
    judged_by(torch.from_numpy(own), torch.from_numpy(label))
    fifth = np.random.default_rng(0).permutation(len(own)) < len(own) // 5  # on these the cost is chosen
    result = {}
    for name, method in methods.items():
        x, held_x = (cropped(method, part, crops, frames).numpy() for part in (data.train, held))
        predict, _ = linear_machine(x, own, fifth)
        result[name] = predict.found(held_x, label)
    return result


@torch.no_grad()
def cropped(method: nn.Module, samples: Samples, crops: int = 5, frames: int = 16) -> Tensor:
    """(N, crops, D) features of evenly spaced windows of each film."""
    films, sound = samples.video, samples.sound()[0]
    last = films.shape[2] - frames
    if last < 0 or crops < 1:
        raise CourseError(
            f"crops={crops} of {frames} frames from films of {films.shape[2]}; use shorter windows and "
            "at least one crop"
        )
    device = next(method.parameters()).device
    rows = []
    with frozen(method):
        for start in np.linspace(0, last, crops).round().astype(int).tolist():
            parts = []
            for index in torch.arange(len(samples), device=films.device).split(_CHUNK):
                at = torch.full_like(index, start)
                video, audio = avts.cut(films[index], sound[index], at, at, frames)
                batch = {"video": video.to(device), "audio": audio.to(device).float() / 32767}
                parts.append(encode_of(method)(batch).float().cpu())
            rows.append(torch.cat(parts))
    return torch.stack(rows, 1)
