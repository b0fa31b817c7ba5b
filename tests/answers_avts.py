"""The exercises of 11_audio_video_sync in other hands: loops, gather, masks, formulas multiplied out."""

import torch

from sslcourse.evaluate import synchrony

# ---------------------------------------------------------------------------------------------- avts.cut


def by_loops(
    video,
    audio,
    seen,
    heard,
    frames,
    *,
    rate=None,
    first=lambda heard, rate: int(heard * rate + 0.5),
    many=None,
    swap=False,
    same=False,
    early=0.0,
    one=False,
    turn=False,
):
    rate = audio.shape[-1] / video.shape[2] if rate is None else rate(audio, video)
    pictures, sounds = [], []
    for i, film in enumerate(video):
        s, h = int(seen[0 if one else i]), int(heard[0 if one else i])
        s, h = (h, s) if swap else (s, s) if same else (s, h)
        s, at = max(0, s - int(early * frames)), max(0, first(h, rate) - int(early * frames * rate))
        length = many or int(frames * rate + 0.5)
        at = min(at, audio.shape[1] - length)
        picture = film[:, s : s + frames]
        pictures.append(picture.permute(1, 0, 2, 3) if turn else picture)
        sounds.append(audio[i][at : at + length])
    return torch.stack(pictures), torch.stack(sounds)


def by_unfold(
    video,
    audio,
    seen,
    heard,
    frames,
    *,
    count=None,
    step=None,
    order=lambda seen, heard: (seen, heard),
    out=lambda p, s: (p, s),
):
    """All windows, and of them the wanted ones."""
    seen, heard = order(seen, heard)
    rate = audio.shape[1] / video.shape[2] if step is None else step
    length = count or round(frames * rate)
    film = torch.arange(len(video))
    pictures = video.unfold(2, frames, 1)[film, :, seen].movedim(-1, 2)
    windows = audio.unfold(1, length, 1)
    return out(pictures, windows[film, (heard.double() * rate).round().long().clamp(0, windows.shape[1] - 1)])


def by_gather(video, audio, seen, heard, frames):
    b, c, t, h, w = video.shape
    at = (seen[:, None] + torch.arange(frames)).view(b, 1, frames, 1, 1).expand(-1, c, -1, h, w)
    sample = (heard * audio.shape[1] / t).round().long()[:, None] + torch.arange(
        round(frames * audio.shape[1] / t)
    )
    return video.gather(2, at), audio.gather(1, sample)


CUT = {
    "frames taken for samples": [
        lambda *a: by_unfold(*a[:2], *a[2:], count=round(a[4] * a[1].shape[1] / a[0].shape[2]), step=1.0),
        lambda *a: by_loops(*a, first=lambda heard, rate: heard),
    ],
    "always in step": [
        lambda *a: by_loops(*a, same=True),
        lambda *a: by_unfold(*a, order=lambda seen, heard: (seen, seen)),
    ],
    "seen and heard changed over": [
        lambda *a: by_loops(*a, swap=True),
        lambda *a: by_unfold(*a, order=lambda seen, heard: (heard, seen)),
    ],
    "one moment for all films": [
        lambda *a: by_loops(*a, one=True),
        lambda *a: by_unfold(
            *a, order=lambda seen, heard: (seen[0].repeat(len(seen)), heard[0].repeat(len(heard)))
        ),
    ],
    "as many samples as frames": [lambda *a: by_loops(*a, many=a[4]), lambda *a: by_unfold(*a, count=a[4])],
    "a rounded rate": [
        lambda *a: by_loops(*a, rate=lambda audio, video: audio.shape[1] // video.shape[2]),
        lambda *a: by_unfold(*a, step=int(a[1].shape[1] / a[0].shape[2])),
    ],
    "the moment is in the middle": [
        lambda *a: by_loops(*a, early=0.5),
        lambda v, a, s, h, n: by_loops(v, a, s, h, n, early=n // 2 / n),
    ],
    "time before channels": [
        lambda *a: by_loops(*a, turn=True),
        lambda *a: by_unfold(*a, out=lambda p, s: (p.movedim(2, 1), s)),
    ],
}

# ------------------------------------------------------------------------------------------- avts.contrastive


def by_masks(
    v,
    a,
    together,
    margin,
    *,
    near=lambda d, square: square,
    far=lambda d, square, margin: torch.relu(margin - d).pow(2),
    over=None,
    scale=1.0,
    left=lambda v: v,
    right=lambda a: a,
):
    """y and 1 - y as numbers, as the formula is written."""
    y = together.to(v.dtype)
    difference = left(v) - right(a)
    square = difference.pow(2).sum(1)
    d = difference.norm(dim=1)
    terms = y * near(d, square) + (1 - y) * far(d, square, margin)
    return scale * terms.sum() / (over or len(v))


def by_parts(
    v,
    a,
    together,
    margin,
    *,
    swap=False,
    far=lambda d, margin: (margin - d).clamp(min=0).square(),
    near=lambda d: d.square(),
    weigh=lambda near, far: (near.sum() + far.sum()) / (near.numel() + far.numel()),
    gap=torch.nn.functional.pairwise_distance,
):
    if gap is torch.nn.functional.pairwise_distance:
        d = gap(v, a, eps=0.0)
    else:
        d = gap(v, a)
    first, second = (~together, together) if swap else (together, ~together)
    return weigh(near(d[first]), far(d[second], margin))


def pair_by_pair(v, a, together, margin):
    total = v.new_zeros(())
    for x, y, same in zip(v.unbind(), a.unbind(), together.tolist()):
        total = total + ((x - y) @ (x - y) if same else torch.relu(margin - torch.linalg.norm(x - y)) ** 2)
    return total / len(v)


def means(near, far):
    return near.mean() + far.mean() if len(near) and len(far) else torch.cat([near, far]).mean()


CONTRASTIVE = {
    "changed over": [lambda *x: by_parts(*x, swap=True), lambda v, a, y, m: by_masks(v, a, ~y, m)],
    "the hinge is not squared": [
        lambda *x: by_masks(*x, far=lambda d, square, m: torch.relu(m - d)),
        lambda *x: by_parts(*x, far=lambda d, m: (m - d).clamp(min=0)),
    ],
    "the distance is not squared": [
        lambda *x: by_masks(*x, near=lambda d, square: d),
        lambda *x: by_parts(*x, near=lambda d: d.abs()),
    ],
    "the margin is for the squared distance": [
        lambda *x: by_masks(*x, far=lambda d, square, m: torch.relu(m - square).square()),
        lambda *x: by_parts(*x, far=lambda d, m: (m - d * d).clamp(min=0)),
    ],
    "no hinge": [
        lambda *x: by_masks(*x, far=lambda d, square, m: (m - d).square()),
        lambda *x: by_parts(*x, far=lambda d, m: (d - m) ** 2),
    ],
    "the sum": [
        lambda *x: by_masks(*x, over=1),
        lambda *x: by_parts(*x, weigh=lambda near, far: near.sum() + far.sum()),
    ],
    "half of it": [
        lambda *x: by_masks(*x, scale=0.5),
        lambda v, a, y, m: by_masks(v, a, y, m, over=2 * len(v)),
    ],
    "each kind by itself": [
        lambda *x: by_parts(*x, weigh=means),
        lambda *x: by_parts(
            *x, weigh=lambda near, far: means(near, far) / (2 if len(near) and len(far) else 1)
        ),
    ],
    "the gradient stops": [
        lambda *x: by_masks(*x, right=lambda a: a.detach()),
        lambda *x: by_masks(*x, left=lambda v: v.detach().clone()),
    ],
    "no number where both are the same": [
        lambda *x: by_parts(*x, gap=lambda v, a: torch.sqrt(((v - a) ** 2).sum(1))),
        lambda *x: by_parts(*x, gap=lambda v, a: (v - a).pow(2).sum(1) ** 0.5, near=lambda d: d * d),
    ],
}

# ---------------------------------------------------------------------------------------------- avts.judged


def by_hand(distance, together, half, *, thresholds=None, count=None, mix=lambda a, b: (a + b) / 2):
    parts = (half, ~half)
    at = (
        thresholds(distance, together, half)
        if thresholds
        else [synchrony.threshold(distance[~p], together[~p]) for p in parts]
    )
    return mix(*((count or balanced_by_hand)(distance[p], together[p], t) for p, t in zip(parts, at)))


def balanced_by_hand(d, y, at):
    hits, passed = ((d < at) & y).sum() / y.sum(), ((d >= at) & ~y).sum() / (~y).sum()
    return float((hits + passed) / 2)


def each_pair(distance, together, half):
    """Every pair with the threshold that is meant for it."""
    own = torch.where(
        half,
        synchrony.threshold(distance[~half], together[~half]),
        synchrony.threshold(distance[half], together[half]),
    )
    right = ((distance < own) == together).float()
    groups = [right[part & kind].mean() for part in (half, ~half) for kind in (together, ~together)]
    return float(torch.stack(groups).mean())


def of_all(d, y, half):
    return [synchrony.threshold(d, y)] * 2


JUDGED = {
    "the threshold has seen them": [
        lambda *x: by_hand(*x, thresholds=lambda d, y, h: [synchrony.threshold(d[p], y[p]) for p in (h, ~h)]),
        lambda d, y, h: (
            sum(max(synchrony.balanced(d[p], y[p], float(t)) for t in [*(d[p] + 1e-6), 0]) for p in (h, ~h))
            / 2
        ),
    ],
    "one threshold from all pairs": [
        lambda *x: by_hand(*x, thresholds=of_all),
        lambda d, y, h: balanced_by_hand(d, y, synchrony.threshold(d, y)),
    ],
    "plain accuracy": [
        lambda *x: by_hand(*x, count=lambda d, y, at: float(((d < at) == y).float().mean())),
        lambda d, y, h: by_hand(d, y, h, count=lambda d, y, at: 1 - float(((d < at) ^ y).sum()) / len(d)),
    ],
    "far is in sync": [
        lambda *x: by_hand(*x, count=lambda d, y, at: balanced_by_hand(d, ~y, at)),
        lambda *x: 1 - by_hand(*x),
    ],
    "only one half is judged": [
        lambda *x: by_hand(*x, mix=lambda a, b: a),
        lambda *x: by_hand(*x, mix=lambda a, b: b),
    ],
    "the threshold is the mean distance": [
        lambda *x: by_hand(*x, thresholds=lambda d, y, h: [float(d[~p].sum() / (~p).sum()) for p in (h, ~h)]),
        lambda *x: by_hand(*x, thresholds=lambda d, y, h: [float(d[~p].mean()) for p in (h, ~h)]),
    ],
    "the better half": [lambda *x: by_hand(*x, mix=max), lambda *x: by_hand(*x, mix=min)],
}

WRITTEN_OTHERWISE = {"avts.cut": CUT, "avts.contrastive": CONTRASTIVE, "avts.judged": JUDGED}

RIGHT_OTHERWISE = {
    "avts.cut": [by_loops, by_unfold, by_gather],
    "avts.contrastive": [by_masks, by_parts, pair_by_pair],
    "avts.judged": [by_hand, each_pair],
}
