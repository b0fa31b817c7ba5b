"""The exercises of 11_audio_video_sync: windows on one clock, the loss with its margin, and a threshold that
has not seen what it judges.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sslcourse.check.compare import (
    Gradients,
    expect_scalar,
    same_gradients,
    same_number,
    slopes,
    tensor_valued,
)
from sslcourse.check.engine import Assignment, Exercise, Mistake, NotYet, Task, assign, register
from sslcourse.evaluate import synchrony
from sslcourse.methods import avts
from sslcourse.runtime.seeds import generator

# --------------------------------------------------------------------------------------- windows on one clock

# Films of so many frames with so many samples a frame; the last does not come out even.
CLOCKS = ((4, 12, 5.0, 4), (3, 10, 7.5, 4))


def _films(count: int, frames: int, rate: float) -> tuple[Tensor, Tensor]:
    """Films whose every pixel and sample is a number of its own."""
    length = round(frames * rate)
    film = torch.arange(count).float()[:, None] * 10_000
    video = film + torch.arange(frames)  # (B, T)
    video = (
        video[:, None, :, None, None]
        + torch.arange(3).view(3, 1, 1, 1) * 1000
        + torch.arange(4).view(2, 2) * 100
    )
    return video, film + torch.arange(length)


def _moments(count: int, frames: int, window: int, seed: int) -> tuple[Tensor, Tensor]:
    g = generator(seed, count, 0xC7)
    last = frames - window
    seen = torch.randint(0, last + 1, (count,), generator=g)
    heard = torch.randint(0, last + 1, (count,), generator=g)
    seen[0], heard[0], seen[1], heard[1] = 2, 2, 1, last  # in step, and out of step
    return seen, heard


def _cut_slow(
    video: Tensor, audio: Tensor, seen: Tensor, heard: Tensor, frames: int
) -> tuple[Tensor, Tensor]:
    rate, pictures, sounds = audio.shape[1] / video.shape[2], [], []
    for i in range(len(video)):
        pictures.append(video[i, :, int(seen[i]) : int(seen[i]) + frames])
        first = round(int(heard[i]) * rate)
        sounds.append(audio[i, first : first + round(frames * rate)])
    return torch.stack(pictures), torch.stack(sounds)


def _cut_properties(f: Callable, seed: int) -> None:
    for count, length, rate, frames in CLOCKS:
        video, audio = _films(count, length, rate)
        seen, heard = _moments(count, length, frames, seed)
        if rate % 1:
            heard = heard // 2 * 2  # so that its first sample is a whole number
        given = f(video.clone(), audio.clone(), seen.clone(), heard.clone(), frames)
        where = f"films of {length} frames and {audio.shape[1]} samples"
        if (
            not isinstance(given, (tuple, list))
            or len(given) != 2
            or not all(isinstance(x, Tensor) for x in given)
        ):
            raise NotYet(f"{where}: what it returns", "two tensors", type(given).__name__)
        right = _cut_slow(video, audio, seen, heard, frames)
        for name, got, expected in zip(("pictures", "sound"), given, right):
            if got.shape != expected.shape:
                raise NotYet(
                    f"{where}, windows of {frames} frames: shape of the {name}",
                    tuple(expected.shape),
                    tuple(got.shape),
                )
        for i in range(count):
            if not torch.equal(given[0][i], right[0][i]):
                raise NotYet(
                    f"{where}: film {i}, picture from frame {int(seen[i])}: number of the first frame",
                    int(seen[i]),
                    (
                        f"{float(given[0][i, 0, 0, 0, 0]) % 1000:g} of film "
                        f"{int(given[0][i, 0, 0, 0, 0]) // 10_000}"
                    ),
                )
            if not torch.equal(given[1][i], right[1][i]):
                raise NotYet(
                    f"{where}: film {i}, sound from frame {int(heard[i])}: number of the first sample",
                    int(right[1][i, 0]) % 10_000,
                    f"{int(given[1][i, 0]) % 10_000} of film {int(given[1][i, 0]) // 10_000}",
                )


def _cut_same(f: Callable, g: Callable, seed: int) -> bool:
    for count, length, rate, frames in CLOCKS:
        video, audio = _films(count, length, rate)
        seen, heard = _moments(count, length, frames, seed)
        if rate % 1:
            heard = heard // 2 * 2
        a, b = (h(video.clone(), audio.clone(), seen.clone(), heard.clone(), frames) for h in (f, g))
        if not all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b)):
            return False
    return True


def _window(x: Tensor, first: list[int], length: int, axis: int) -> Tensor:
    """A part of each row; a part that reaches beyond the end is moved back."""
    return torch.stack(
        [row.narrow(axis, max(0, min(at, row.shape[axis] - length)), length) for row, at in zip(x, first)]
    )


def _cutting(
    start: Callable = lambda heard, seen, rate: (heard * rate).round().long(),
    seen_at: Callable = lambda seen, heard: seen,
    rate_of: Callable = lambda audio, video: audio.shape[1] / video.shape[2],
    length: Callable = lambda frames, rate: round(frames * rate),
    shape: Callable = lambda pictures, sound: (pictures, sound),
) -> Callable:
    """`cut` with one step done otherwise."""

    def cut(video: Tensor, audio: Tensor, seen: Tensor, heard: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        rate = rate_of(audio, video)
        pictures = _window(video, seen_at(seen, heard).tolist(), frames, 1)
        return shape(pictures, _window(audio, start(heard, seen, rate).tolist(), length(frames, rate), 0))

    return cut


CUT = Exercise(
    "avts.cut",
    avts.cut,
    _cut_properties,
    (
        Mistake(
            "frames taken for samples",
            "The sound begins at sample `heard`, but `heard` counts frames: multiply it by the samples a "
            "frame, "
            "audio.shape[1] / video.shape[2].",
            _cutting(lambda heard, seen, rate: heard),
        ),
        Mistake(
            "always in step",
            (
                "The sound is cut where the picture is cut; `heard` is not read, so nothing can ever be "
                "out of "
                "step."
            ),
            _cutting(lambda heard, seen, rate: (seen * rate).round().long()),
        ),
        Mistake(
            "seen and heard changed over",
            "The picture is cut at `heard` and the sound at `seen`.",
            _cutting(lambda heard, seen, rate: (seen * rate).round().long(), lambda seen, heard: heard),
        ),
        Mistake(
            "one moment for all films",
            "Every film is cut where the first one is; each has moments of its own.",
            _cutting(
                lambda heard, seen, rate: (heard[:1] * rate).round().long().expand(len(heard)),
                lambda seen, heard: seen[:1].expand(len(seen)),
            ),
            (
                _cutting(lambda heard, seen, rate: (heard[:1] * rate).round().long().expand(len(heard))),
                _cutting(seen_at=lambda seen, heard: seen[:1].expand(len(seen))),
            ),
        ),
        Mistake(
            "as many samples as frames",
            "The window of sound has `frames` samples; it should last as long as `frames` frames.",
            _cutting(length=lambda frames, rate: frames),
        ),
        Mistake(
            "a rounded rate",
            "The samples a frame were rounded to a whole number first. Where they do not come out even, "
            "sound and picture "
            "drift apart: round only at the end.",
            _cutting(rate_of=lambda audio, video: audio.shape[1] // video.shape[2]),
            (_cutting(rate_of=lambda audio, video: -(-audio.shape[1] // video.shape[2])),),
        ),
        Mistake(
            "the moment is in the middle",
            "`seen` and `heard` are where the windows begin, not where their middles are.",
            _cutting(
                lambda heard, seen, rate: ((heard * rate).round().long() - round(rate * 2)).clamp(min=0),
                lambda seen, heard: (seen - 2).clamp(min=0),
            ),
        ),
        Mistake(
            "time before channels",
            "The window of pictures has its axes changed over: it stays (B, 3, frames, H, W).",
            _cutting(shape=lambda pictures, sound: (pictures.transpose(1, 2), sound)),
        ),
    ),
    _cut_same,
    (
        "How many samples are heard while one frame is seen? Films and sounds are as long as each other.",
        (
            "rate = audio.shape[1] / video.shape[2]; the sound begins at sample round(heard * rate) and has "
            "round(frames * rate) samples."
        ),
        "Film by film: video[i, :, seen[i] : seen[i] + frames], and of audio[i] from first = "
        "round(int(heard[i]) * rate) on; torch.stack puts the "
        "films together.",
    ),
)


# ------------------------------------------------------------------------------------- the loss with a margin


def _pairs(seed: int, n: int = 10, scale: float = 0.25) -> tuple[Tensor, Tensor, Tensor]:
    g = generator(seed, n, 0xA5)
    v, a = (torch.randn(n, 5, generator=g, dtype=torch.float64) * scale for _ in range(2))
    return v, a, torch.arange(n) % 3 == 0


MARGINS = (0.99, 0.4)


def _slow(v: Tensor, a: Tensor, together: Tensor, margin: float) -> Tensor:
    """Pair by pair."""
    terms = []
    for x, y, same in zip(v, a, together.tolist()):
        d = torch.linalg.vector_norm(x - y)
        terms.append(d**2 if same else torch.clamp(margin - d, min=0) ** 2)
    return torch.stack(terms).mean()


def _coincide() -> tuple[Tensor, Tensor, Tensor]:
    same = torch.full((2, 3), 0.3, dtype=torch.float64)
    return same, same.clone(), torch.tensor([True, False])


def _loss_properties(f: Callable, seed: int) -> None:
    v, a, together = _pairs(seed)
    kept = v.clone(), a.clone()
    value = f(v, a, together, 0.99)
    expect_scalar(value)
    if not (torch.equal(v, kept[0]) and torch.equal(a, kept[1])):
        raise NotYet(
            "the embeddings after the call (avoid operations in place on them)", "unchanged", "changed"
        )
    one, zero = torch.tensor([[0.3, 0.4]], dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    for same, margin, expected in ((True, 0.99, 0.25), (False, 0.99, 0.49**2), (False, 0.4, 0.0)):
        got = float(f(one, zero, torch.tensor([same]), margin))
        if not abs(got - expected) <= 1e-6:
            raise NotYet(
                f"one pair {'in' if same else 'out of'} sync at a distance of 0.5, margin {margin}",
                f"{expected:.4f}",
                f"{got:.4f}",
            )
    for margin in MARGINS:
        for scale in (0.25, 0.06):
            pair = _pairs(seed, scale=scale)
            expected, got = float(_slow(*pair, margin)), float(f(*pair, margin))
            if not abs(got - expected) <= 1e-6:
                raise NotYet(
                    f"{len(pair[0])} random pairs, {int(pair[2].sum())} of them in sync, margin {margin}",
                    f"{expected:.4f}",
                    f"{got:.4f}",
                )
    right = torch.autograd.grad(_slow(*(x := _slopes_input(seed)), 0.99), x[:2])
    mine = slopes(tensor_valued(f), (v, a), together, 0.99)
    for name, slope, known in zip(("what is seen", "what is heard"), mine, right):
        size = 0.0 if slope is None else float(slope.norm())
        if slope is None or not torch.allclose(slope, known, atol=1e-8):
            raise NotYet(f"the gradient into {name}: its length", f"{float(known.norm()):.4f}", f"{size:.4f}")
    for name, slope in zip(("what is seen", "what is heard"), _slopes_at_zero(f)):
        if slope is None or not torch.isfinite(slope).all():
            raise NotYet(
                f"the gradient into {name} where both embeddings are the same",
                "finite numbers",
                "not a number",
            )


def _slopes_input(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    v, a, together = _pairs(seed)
    return v.requires_grad_(), a.requires_grad_(), together


def _loss_same(f: Callable, g: Callable, seed: int) -> bool:
    f, g = tensor_valued(f), tensor_valued(g)
    for margin in MARGINS:
        for scale in (0.25, 0.06):
            pair = _pairs(seed, scale=scale)
            if not same_number(f(*pair, margin), g(*pair, margin), 0, 1e-9):
                return False
    v, a, together = _pairs(seed)
    mine, theirs = (slopes(h, (v, a), together, 0.99) for h in (f, g))
    return same_gradients(mine, theirs, 1e-5, 1e-9) and _breaks(f) == _breaks(g)


def _slopes_at_zero(f: Callable) -> Gradients:
    """The gradients where both embeddings are the same."""
    v, a, together = _coincide()
    return slopes(tensor_valued(f), (v, a), together, 0.99)


def _breaks(f: Callable) -> bool:
    """Whether its slope is no number where both embeddings are the same."""
    return any(s is not None and not torch.isfinite(s).all() for s in _slopes_at_zero(f))


def _loss(
    near: Callable = lambda d: d**2,
    far: Callable = lambda d, margin: torch.clamp(margin - d, min=0) ** 2,
    reduce: Callable = lambda terms, together: terms.mean(),
    kind: Callable = lambda together: together,
    between: Callable = lambda v, a: torch.linalg.vector_norm(v - a, dim=-1),
) -> Callable:
    """The loss with one step done otherwise."""

    def contrastive(v: Tensor, a: Tensor, together: Tensor, margin: float) -> Tensor:
        d = between(v, a)
        together = kind(together)
        return reduce(torch.where(together, near(d), far(d, margin)), together)

    return contrastive


def _each_kind(terms: Tensor, together: Tensor) -> Tensor:
    parts = [terms[part].mean() for part in (together, ~together) if part.any()]
    return torch.stack(parts).sum() / len(parts)


CONTRASTIVE = Exercise(
    "avts.contrastive",
    avts.contrastive,
    _loss_properties,
    (
        Mistake(
            "changed over",
            (
                "Pairs in sync are driven apart and pairs out of sync drawn together: `together` is true for "
                "pairs in sync."
            ),
            _loss(kind=lambda together: ~together),
        ),
        Mistake(
            "the hinge is not squared",
            (
                "Pairs out of sync pay max(margin - d, 0) *squared*: the nearer they are, the harder they "
                "are "
                "pushed."
            ),
            _loss(far=lambda d, margin: torch.clamp(margin - d, min=0)),
        ),
        Mistake(
            "the distance is not squared",
            "Pairs in sync pay the *square* of their distance.",
            _loss(near=lambda d: d),
            (_loss(near=lambda d: d, far=lambda d, margin: torch.clamp(margin - d, min=0)),),
        ),
        Mistake(
            "the margin is for the squared distance",
            "The margin is compared with the distance, not with its square: max(margin - d, 0) ** 2.",
            _loss(far=lambda d, margin: torch.clamp(margin - d**2, min=0) ** 2),
            (
                _loss(far=lambda d, margin: torch.clamp(margin - d**2, min=0)),
                _loss(far=lambda d, margin: torch.clamp(margin**2 - d**2, min=0)),
            ),
        ),
        Mistake(
            "no hinge",
            "Pairs out of sync that are farther apart than the margin are pulled back to it. Beyond the "
            "margin nothing should be "
            "asked: max(..., 0).",
            _loss(far=lambda d, margin: (margin - d) ** 2),
        ),
        Mistake(
            "the sum",
            "It adds the pairs up; the loss is their mean.",
            _loss(reduce=lambda terms, together: terms.sum()),
        ),
        Mistake(
            "half of it",
            "It is half of the loss. (Later code has a factor 1/2; the paper's formula has none.)",
            _loss(reduce=lambda terms, together: terms.mean() / 2),
        ),
        Mistake(
            "each kind by itself",
            "It averages over the pairs in sync and over those out of sync, and then over both. The loss "
            "is the mean over "
            "all pairs.",
            _loss(reduce=_each_kind),
            (
                _loss(
                    reduce=lambda terms, together: (
                        2 * _each_kind(terms, together)
                        if together.any() and not together.all()
                        else terms.mean()
                    )
                ),
            ),
        ),
        Mistake(
            "the gradient stops",
            "The value is right, but one of the two embeddings is detached: both networks should learn.",
            _loss(between=lambda v, a: torch.linalg.vector_norm(v - a.detach(), dim=-1)),
            (
                _loss(between=lambda v, a: torch.linalg.vector_norm(v.detach() - a, dim=-1)),
                _loss(between=lambda v, a: torch.linalg.vector_norm(v.detach() - a.detach(), dim=-1)),
            ),
        ),
        Mistake(
            "no number where both are the same",
            "The slope of a square root is infinite at 0, and the loss's gradient is not a number there. "
            "torch.linalg.vector_norm(v - a, dim=1) takes care of it.",
            _loss(between=lambda v, a: (v - a).square().sum(-1).sqrt()),
            recognise=_breaks,
        ),
    ),
    _loss_same,
    (
        (
            "First the distance of each pair: one number for each row. Then what a pair pays, depending on "
            "whether it is in sync."
        ),
        "In sync: d ** 2. Out of sync: torch.relu(margin - d) ** 2. torch.where(together, ..., ...) chooses.",
        (
            "d = torch.linalg.vector_norm(v - a, dim=1); torch.where(together, d ** 2, torch.relu(margin - "
            "d) "
            "** 2).mean()"
        ),
    ),
)


# ------------------------------------------------------------------------- a threshold that has not seen them


def _distances(seed: int, n: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Distances of pairs of which a third is in sync; in the second half everything is a little farther. One
    half is harder than the other.
    """
    g = generator(seed, n, 0xBA)
    together, half = torch.arange(n) % 3 == 0, torch.arange(n) < n // 2
    harder = half if n % 60 else ~half
    return (
        torch.rand(n, generator=g) * (1 + 0.8 * harder) + 0.5 * (~together).float() + 0.25 * (~half).float(),
        together,
        half,
    )


def _three(seed: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    return [_distances(10 * seed + k, n) for k, n in enumerate((60, 90, 120))]


def _judged_properties(f: Callable, seed: int) -> None:
    sure = torch.tensor([0.1, 0.2, 0.8, 0.9, 1.1, 1.2, 1.8, 1.9])
    together, half = torch.tensor([True, True, False, False] * 2), torch.arange(8) < 4
    got = float(f(sure % 1, together, half))
    if abs(got - 1) > 1e-6:
        raise NotYet("distances that one threshold parts without a mistake in both halves", 1.0, f"{got:.4f}")
    got = float(f(sure, together, half))
    if abs(got - 0.5) > 1e-6:
        raise NotYet(
            "halves each of which is perfect with a threshold of its own and at chance with the other's",
            0.5,
            f"{got:.4f}",
        )
    for d, kind, part in _three(seed):
        expected, got = synchrony.judged(d, kind, part), float(f(d.clone(), kind.clone(), part.clone()))
        if not abs(got - expected) <= 1e-6:
            raise NotYet(
                f"{len(d)} pairs, {int(kind.sum())} of them in sync", f"{expected:.4f}", f"{got:.4f}"
            )


def _judged_same(f: Callable, g: Callable, seed: int) -> bool:
    return all(abs(float(f(*x)) - float(g(*x))) < 1e-6 for x in _three(seed))


def _plain(distance: Tensor, together: Tensor, threshold: float) -> float:
    return float(((distance < threshold) == together).float().mean())


def _judging(
    fit: Callable = lambda part, half: ~part,
    score: Callable = synchrony.balanced,
    parts: Callable = lambda half: (half, ~half),
    find: Callable = synchrony.threshold,
) -> Callable:
    """`judged` with one step done otherwise."""

    def judged(distance: Tensor, together: Tensor, half: Tensor) -> float:
        scores = []
        for part in parts(half):
            seen = fit(part, half)
            scores.append(score(distance[part], together[part], find(distance[seen], together[seen])))
        return sum(scores) / len(scores)

    return judged


JUDGED = Exercise(
    "avts.judged",
    synchrony.judged,
    _judged_properties,
    (
        Mistake(
            "the threshold has seen them",
            "The threshold is chosen on the very pairs that it judges: it is too good. Take it from the "
            "other "
            "half.",
            _judging(fit=lambda part, half: part),
        ),
        Mistake(
            "one threshold from all pairs",
            (
                "The threshold was chosen on all pairs, also on those that are judged. Take it from the "
                "other "
                "half."
            ),
            _judging(fit=lambda part, half: torch.ones_like(part)),
            (
                _judging(
                    fit=lambda part, half: torch.ones_like(part), parts=lambda half: (torch.ones_like(half),)
                ),
            ),
        ),
        Mistake(
            "plain accuracy",
            "It counts all pairs alike. Where two thirds are out of sync, whoever always says so would "
            "have two thirds right: "
            "average the two kinds (synchrony.balanced).",
            _judging(score=_plain),
        ),
        Mistake(
            "far is in sync",
            "It takes the pairs *above* the threshold for those in sync: near is in sync.",
            _judging(score=lambda d, together, at: 1 - synchrony.balanced(d, together, at)),
        ),
        Mistake(
            "only one half is judged",
            "Each half is judged with the threshold of the other, and the two results are averaged.",
            _judging(parts=lambda half: (half,)),
            (_judging(parts=lambda half: (~half,)),),
        ),
        Mistake(
            "the threshold is the mean distance",
            "The mean of the distances is not the best threshold: synchrony.threshold finds that.",
            _judging(find=lambda d, together: float(d.mean())),
            (_judging(find=lambda d, together: float(d.median())),),
        ),
        Mistake(
            "the better half",
            "It keeps the better of the two results; the score is their mean.",
            lambda d, together, half: max(
                _judging(parts=lambda h: (h,))(d, together, half),
                _judging(parts=lambda h: (~h,))(d, together, half),
            ),
            (
                lambda d, together, half: min(
                    _judging(parts=lambda h: (h,))(d, together, half),
                    _judging(parts=lambda h: (~h,))(d, together, half),
                ),
            ),
        ),
    ),
    _judged_same,
    (
        "Whoever chooses a threshold on some pairs may not be judged on the same pairs.",
        (
            "at = synchrony.threshold(distance[half], together[half]) is the threshold of the first half. "
            "Which pairs does it judge?"
        ),
        (
            "(synchrony.balanced(distance[~half], together[~half], at_of_half) "
            "+ synchrony.balanced(distance[half], "
            "together[half], at_of_the_other)) / 2"
        ),
    ),
)

register(CUT, CONTRASTIVE, JUDGED)
assign(
    Assignment(
        "11_audio_video_sync",
        (
            Task("avts.cut", "my_cut"),
            Task("avts.contrastive", "my_contrastive"),
            Task("avts.judged", "my_judged"),
        ),
    )
)
