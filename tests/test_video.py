# ruff: noqa: F811 (pytest hands fixtures over by the names that were imported)
"""Films of the toybox, the pointer and the player: against loops, against ears and eyes of their own, and in
a browser.
"""

import io
import math

import nbformat
import numpy as np
import pytest
import torch
from browser import blank_page, browser_page, host_view, keep, lab, open_and_run, page, use_theme, wait_change  # noqa: F401 (fixtures)
from PIL import Image

from sslcourse import encoders
from sslcourse.data import toybox as world
from sslcourse.data.datasets import Samples
from sslcourse.data.toybox import moving
from sslcourse.evaluate import tracking
from sslcourse.runtime.errors import CourseError
from sslcourse.train import features
from sslcourse.widgets import clip, pointer, video, views
from sslcourse.widgets.video import Clip, Pointer

# ================================================================================================ films of
# the toybox


def onsets(wave, rate: int) -> np.ndarray:
    """Where something begins to sound: energy above 2.5 kHz that rises by 5 dB against the 15 ms before. It
    knows nothing of the film.
    """
    step, size = rate // 1000, rate // 250  # 1 ms and 4 ms
    pieces = np.lib.stride_tricks.sliding_window_view(np.pad(np.asarray(wave, float), size), size)[
        ::step
    ] * np.hanning(size)
    spectrum = np.abs(np.fft.rfft(pieces, 1024)) ** 2
    loud = 10 * np.log10(spectrum[:, np.fft.rfftfreq(1024, 1 / rate) > 2500].sum(1) + 1e-9)
    found = []
    for k in range(22, len(loud)):
        if loud[k] - loud[k - 17 : k - 4].max() > 5 and loud[k] > -40 and (not found or k - found[-1] > 60):
            found.append(k)
    return (np.array(found) * step - size / 2) / rate


@pytest.mark.parametrize("material", world.MATERIALS)
@pytest.mark.parametrize("restitution", [0.8, 0.55, None])
def test_what_is_heard_is_what_hit_the_floor(material, restitution):
    for seed in range(3):
        film = world.bounce("sphere", material, restitution=restitution, seed=seed)
        heard = onsets(film.audio, film.rate)
        heard = heard[heard < 2.99]  # where the sound is cut off it cracks, too
        apart = np.abs(heard[:, None] - film.impacts.numpy()[None])  # (heard, true)
        assert apart.shape[1] > 3 and apart.min(1).max() < 0.005  # nothing is heard but impacts
        assert (
            apart.min(0)[film.impacts.numpy() < 2.95].max() < 0.005
        )  # and all of them are (the detector needs some sound after one)


def heights(film) -> np.ndarray:
    """The masks' centroids, up, in pixels."""
    rows = torch.arange(film.masks.shape[1], dtype=torch.float32)
    share = (film.masks > 0).float().sum(2)
    return -((share * rows).sum(1) / share.sum(1)).numpy()


@pytest.mark.parametrize("shape", ["sphere", "cube", "link"])
@pytest.mark.parametrize("restitution", [0.8, None])
def test_what_is_seen_hits_the_floor_at_the_same_times(shape, restitution):
    film = world.bounce(shape, restitution=restitution, seed=4)
    up, at = heights(film), (np.arange(48) + 0.5) / 16
    for t in film.impacts.numpy():
        near = np.flatnonzero(np.abs(at - t) < 2 / 16)
        assert (
            abs(at[near[up[near].argmin()]] - t) < 1 / 16
        )  # the lowest frame around an impact is a neighbour of it
    # Two parabolas through the pictures meet at the impact: a clock that is wrong by half a frame (31 ms)
    # would show.
    compared = 0
    for a, t, b in zip(film.impacts[:-2].numpy(), film.impacts[1:-1].numpy(), film.impacts[2:].numpy()):
        before, after = (at > a) & (at < t), (at > t) & (at < b)
        if before.sum() < 5 or after.sum() < 5:
            continue
        p, q = np.polyfit(at[before], up[before], 2), np.polyfit(at[after], up[after], 2)
        roots = np.roots(p - q)
        assert np.abs(roots.real - t).min() < 0.010
        compared += 1
    assert compared >= 2


def test_the_lowest_point_stands_on_the_floor():
    film = world.bounce("cone", restitution=0.2, seed=1, background=0)
    rest = film.masks[-1]
    assert film.impacts[-1] < 2 and torch.equal(rest, film.masks[-2])  # it came to rest
    bottom = int(rest.any(1).nonzero().max()) + 1
    assert abs(bottom - (1 - moving.FLOOR) / 2 * 64) <= 1
    ground = film.frames[:, -1].float().mean(0)
    assert (
        ground[bottom + 1 :].mean() < 0.75 * ground[:bottom][rest[:bottom] == 0].mean()
    )  # there the picture turns dark


@pytest.mark.parametrize(
    "make",
    [
        lambda: world.bounce("torus", seed=3),
        lambda: world.bounce("link", restitution=None, side=48, seed=2),
        lambda: world.crossing(seed=3),
    ],
)
def test_masks_cover_what_differs_from_the_ground(make):
    film = make()
    ground = film.frames.float().median(1).values  # the solids are elsewhere most of the time
    differs = (film.frames.float() - ground[:, None]).abs().amax(0) > 40
    for f in range(0, film.masks.shape[0], 5):
        mask = film.masks[f] > 0
        assert (differs[f] & mask).sum() > 0.8 * mask.sum()
        assert (
            differs[f] & ~torch.nn.functional.max_pool2d(mask[None].float(), 3, 1, 1)[0].bool()
        ).sum() < 0.1 * mask.sum()


def test_the_second_solid_passes_in_front_of_the_first():
    for seed in range(6):
        film = world.crossing(seed=seed)
        assert (
            set(film.masks.unique().tolist()) == {0, 1, 2}
            and film.names == ("cube", "torus")
            and film.audio is None
        )
        sizes = torch.stack([(film.masks == k).flatten(1).sum(1) for k in (1, 2)]).float()
        assert sizes[0].min() < 0.75 * sizes[0].max()  # the first is hidden in part
        assert sizes[1].min() > 0.75 * sizes[1].max()  # the second never is: it only turns
        apart = (film.centres[:, 0, 0] - film.centres[:, 1, 0]).numpy()
        assert apart[0] * apart[-1] < 0  # they have changed sides
        whole = torch.stack(
            [(film.masks == 2)[f].nonzero().float().mean(0) + 0.5 for f in range(16)]
        )  # of a torus the middle is the centre
        assert (whole.flip(1) - film.centres[:, 1]).norm(dim=1).max() < 1


def test_films_are_functions_of_their_seed():
    for make in (world.bounce, world.crossing):
        a, b, c = make(seed=7), make(seed=7), make(seed=8)
        assert (
            torch.equal(a.frames, b.frames)
            and torch.equal(a.masks, b.masks)
            and not torch.equal(a.frames, c.frames)
        )
        assert (a.audio is None) == (b.audio is None) and (a.audio is None or torch.equal(a.audio, b.audio))
        assert a.frames.dtype == torch.uint8 and a.frames.shape[1:] == a.masks.shape
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    world.bounce(seconds=1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_sensor_noise_is_new_in_each_frame():
    film = world.bounce(seed=2, background=0)
    noise = film.frames[:, :, :20].float() - film.frames[:, :, :20].float().mean(1, keepdim=True)
    noise = noise[:, (film.masks[:, :20] == 0).flatten(1).all(1)]
    flat = noise.transpose(0, 1).flatten(1)
    for shift in range(0, 20 * 64, 64):  # also not the same noise moved by some rows
        moved = flat[1:].roll(shift, 1)
        assert abs(float(torch.nn.functional.cosine_similarity(flat[:-1], moved).mean())) < 0.15


def test_the_sound_follows_size_material_and_speed():
    def spectrum_peak(radius):
        wave = world.strike([0.0], [6.25], radius, "metal", seconds=1, seed=5).double()
        return int(torch.fft.rfft(wave).abs().argmax())  # 1 Hz a bin

    assert spectrum_peak(0.2) == pytest.approx(2 * spectrum_peak(0.4), rel=0.02)
    after = lambda m: float(world.strike([0.0], [6.25], 0.3, m, seconds=1, seed=5)[3200:8000].square().mean())
    energies = [after(m) for m in ("metal", "glass", "wood", "rubber")]
    assert energies == sorted(energies, reverse=True) and energies[0] > 10 * energies[2]
    loud = [float(world.strike([0.0], [v], 0.3, seconds=1).abs().max()) for v in (1, 2, 4)]
    assert loud[1] / loud[0] == pytest.approx(2**1.2, rel=1e-3) and loud[2] / loud[1] == pytest.approx(
        2**1.2, rel=1e-3
    )
    crowd = world.strike(np.linspace(0, 0.5, 40), np.full(40, 9.0), 0.3, "metal", seconds=1)
    assert crowd.abs().max() <= 0.98 + 1e-6
    exact = world.strike([0.1 + 0.5 / 16000], [6.25], 0.3, seconds=1)  # between two samples
    assert exact[:1601].abs().max() == 0 and exact[1601:1700].abs().max() > 0.05


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: world.bounce(material="paper"), "metal, glass, wood, rubber"),
        (lambda: world.bounce(shape="duck"), "sphere"),
        (lambda: world.bounce(size=0.9), "size=0.9; choose 0.2 to 0.7"),
        (lambda: world.bounce(restitution=1.2), "restitution=1.2"),
        (lambda: world.bounce(seconds=0.1), "before the first impact"),
        (lambda: world.bounce(fps=0), "fps=0"),
        (lambda: world.bounce(rate=4000), "rate=4000"),
        (lambda: world.crossing(("cube",)), "1 shapes"),
        (lambda: world.crossing(sizes=(0.5, 1)), "sizes="),
        (lambda: world.strike([4.0], [1.0], 0.3, seconds=3), "do not lie within 3"),
        (lambda: world.strike([1.0, 2.0], [1.0], 0.3), "2 times but 1 speeds"),
    ],
)
def test_films_that_cannot_be_made(make, words):
    with pytest.raises(CourseError, match=words):
        make()


# ================================================================================================ the pointer
# in Python


def by_loops(f, first, references, temperature, window, topk, keep_first):
    """y_j = sum_i A_ij y_i written out: lists, loops and math.exp."""
    depth, t, h, w = f.shape
    count = first.shape[2]
    unit = [[[None] * w for _ in range(h)] for _ in range(t)]
    for a in range(t):
        for y in range(h):
            for x in range(w):
                v = [float(f[d, a, y, x]) for d in range(depth)]
                length = math.sqrt(sum(q * q for q in v))
                unit[a][y][x] = [q / length for q in v]
    labels = [[[[float(first[y, x, k]) for k in range(count)] for x in range(w)] for y in range(h)]]
    for now in range(1, t):
        back = list(range(max(0, now - references), now))
        if keep_first and 0 not in back:
            back.append(0)
        frame = []
        for y in range(h):
            row = []
            for x in range(w):
                found = []
                for r in back:
                    for y2 in range(h):
                        for x2 in range(w):
                            if window is None or (abs(y - y2) <= window and abs(x - x2) <= window):
                                found.append(
                                    (sum(p * q for p, q in zip(unit[now][y][x], unit[r][y2][x2])), r, y2, x2)
                                )
                found.sort(reverse=True)
                found = found if topk is None else found[:topk]
                e = [math.exp(s / temperature) for s, *_ in found]
                row.append(
                    [
                        sum(v * labels[r][y2][x2][k] for v, (_, r, y2, x2) in zip(e, found)) / sum(e)
                        for k in range(count)
                    ]
                )
            frame.append(row)
        labels.append(frame)
    return torch.tensor(labels, dtype=torch.float64)


SETTINGS = [
    dict(references=3),
    dict(references=1, temperature=0.3, window=1),
    dict(references=2, topk=4),
    dict(references=2, window=2, topk=3),
    dict(references=2, window=2, topk=5, keep_first=True),
    dict(references=0, keep_first=True),
    dict(references=9, temperature=5.0),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_propagation_equals_the_loops(settings):
    g = torch.Generator().manual_seed(0)
    f, first = torch.randn(5, 4, 5, 4, generator=g), torch.rand(5, 4, 3, generator=g)
    first = first / first.sum(2, keepdim=True)
    full = {"temperature": 0.05, "window": None, "topk": None, "keep_first": False, **settings}
    found = video.propagate(f, first, **full)
    assert found.shape == (4, 5, 4, 3) and torch.allclose(
        found.sum(3), torch.ones(4, 5, 4, dtype=torch.float64)
    )
    # Similarities are rounded to float32 there: relative 6e-8, divided by the temperature, over three frames.
    assert (found - by_loops(f, first, **full)).abs().max() < 2e-5


def test_chunks_do_not_matter(monkeypatch):
    f, first = torch.randn(6, 4, 6, 7), torch.randint(3, (6, 7))
    whole = video.propagate(f, first, 2, topk=5)
    monkeypatch.setattr(tracking, "_AT_ONCE", 200)
    assert torch.allclose(whole, video.propagate(f, first, 2, topk=5), atol=1e-12)


def shuffled() -> torch.Tensor:
    """In the first frame the same numbers in another order in each cell, in the second a constant: equal
    cosines but for the order of a sum.
    """
    g = torch.Generator().manual_seed(7)
    values = torch.randn(9, generator=g).half().float()
    first = torch.stack([values[torch.randperm(9, generator=g)] for _ in range(25)], 1).view(9, 5, 5)
    return torch.stack([first, torch.ones(9, 5, 5)], 1)


def test_closed_forms_of_propagation():
    g = torch.Generator().manual_seed(1)
    f, first = torch.randn(8, 5, 6, 6, generator=g), torch.randint(3, (6, 6), generator=g)
    still = video.propagate(f, first, window=0)
    assert torch.equal(still.argmax(3), first.expand(5, 6, 6))  # its own place only: the identity baseline
    flat = video.propagate(torch.ones(8, 5, 6, 6), first, 1, temperature=0.05)
    shares = torch.nn.functional.one_hot(first).double().flatten(0, 1).mean(0)
    assert torch.allclose(flat[1:], shares.expand(4, 6, 6, 3))  # nothing to tell places apart: the average
    assert torch.allclose(
        video.propagate(torch.ones(8, 5, 6, 6), first, 1, topk=1)[1:], flat[1:]
    )  # a tie is kept whole, not broken
    assert torch.allclose(
        video.propagate(shuffled(), first[:5, :5], 1, topk=1)[1],
        torch.nn.functional.one_hot(first[:5, :5]).double().mean((0, 1)),
    )
    moved = torch.stack([f[:, 0].roll((t, 2 * t), (1, 2)) for t in range(5)], 1)
    carried = video.propagate(moved, first, 1, topk=1)
    for t in range(5):
        assert torch.equal(carried[t].argmax(2), first.roll((t, 2 * t), (0, 1)))  # what moves is followed
    longer = f * torch.rand(1, 5, 6, 6, generator=g).add(0.5)
    assert torch.allclose(
        video.propagate(longer, first), video.propagate(f, first), atol=1e-4
    )  # lengths do not count


def test_reference_frames():
    assert [tracking.reference_frames(t, 3) for t in (0, 1, 2, 5)] == [[], [0], [0, 1], [2, 3, 4]]
    assert tracking.reference_frames(5, 2, keep_first=True) == [0, 3, 4] and tracking.reference_frames(
        1, 2, keep_first=True
    ) == [0]
    assert (
        tracking.reference_frames(4, 0, keep_first=True) == [0]
        and tracking.reference_frames(0, 2, keep_first=True) == []
    )


def test_attention_is_what_propagation_uses():
    f, first = torch.randn(8, 4, 5, 6), torch.rand(5, 6, 2)
    y = video.propagate(f, first, 2, 0.1, 2, 7, True)
    a, refs = video.attention(f, 3, 4, 1, 2, 0.1, 2, 7, True)
    assert (
        refs == [0, 1, 2]
        and a.shape == (3, 5, 6)
        and float(a.sum()) == pytest.approx(1)
        and int((a > 0).sum()) == 7
    )
    assert torch.allclose((a[..., None] * y[refs]).sum((0, 1, 2)), y[3, 4, 1])
    far = [(r, c) for r in range(5) for c in range(6) if abs(r - 4) > 2 or abs(c - 1) > 2]
    assert all(float(a[:, r, c].sum()) == 0 for r, c in far)
    with pytest.raises(CourseError, match="the first one has none before it"):
        video.attention(f, 0, 0, 0)


def test_labels_between_pixels_and_cells():
    mask = torch.randint(3, (7, 10))
    found = video.to_cells(mask, 3, 4, 3)
    for r in range(3):
        for c in range(4):
            part = mask[r * 7 // 3 : -(-(r + 1) * 7 // 3), c * 10 // 4 : -(-(c + 1) * 10 // 4)]
            assert torch.allclose(
                found[r, c], torch.bincount(part.flatten(), minlength=3).double() / part.numel()
            )
    soft = torch.nn.functional.one_hot(mask, 3).double()[None]
    assert torch.equal(video.to_pixels(soft, 7, 10)[0].long(), mask)
    row = torch.tensor(
        [[[[1.0, 0.0], [0.0, 1.0]]]]
    )  # half of the cells each: the border lies amid, an exact tie goes to the lower
    assert video.to_pixels(row, 1, 8)[0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert video.to_pixels(row, 1, 3)[0, 0].tolist() == [0, 0, 1]


def test_overlap_of_hand_made_masks():
    m = torch.tensor([[[1, 1, 0], [2, 0, 0]], [[0, 0, 0], [0, 0, 0]], [[1, 0, 0], [0, 0, 0]]])
    g = torch.tensor([[[1, 0, 0], [2, 2, 2]], [[0, 0, 0], [0, 0, 0]], [[0, 1, 0], [0, 0, 0]]])
    assert video.overlap(m, g, 2).tolist() == [[1 / 2, 1 / 3], [1, 1], [0, 1]]
    with pytest.raises(CourseError, match="both must be"):
        video.overlap(m, g[:2], 2)


def test_colours_as_embeddings():
    known = {
        (255, 255, 255): (100, 0, 0),
        (0, 0, 0): (0, 0, 0),
        (255, 0, 0): (53.24, 80.09, 67.20),
        (0, 0, 255): (32.30, 79.19, -107.86),
        (0, 128, 0): (46.23, -51.70, 49.90),
    }  # CIE Lab of sRGB, white D65
    for rgb, expected in known.items():
        frames = torch.tensor(rgb, dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 2, 4, 6)
        v = video.features_of_colour(frames, 2, 3)
        assert v.shape == (4, 2, 2, 3) and torch.allclose(v.norm(dim=0), torch.ones(2, 2, 3))
        back = v[:3, 0, 0, 0] / (1 - v[3, 0, 0, 0])  # the projection undone
        assert torch.allclose(
            back * 50 + torch.tensor([50.0, 0, 0]), torch.tensor([float(q) for q in expected]), atol=0.15
        )
    half = torch.zeros(3, 1, 2, 2)
    half[:, :, :, 0] = 1
    v = video.features_of_colour(half, 1, 1).flatten()
    assert float(50 + 50 * v[0] / (1 - v[3])) == pytest.approx(
        76.07, abs=0.05
    )  # half of the light, not half of the code value


def test_maps_of_an_encoder():
    frames = torch.randint(256, (3, 5, 32, 32), dtype=torch.uint8)
    encoder = encoders.random_encoder(encoders.small_cnn(8), torch.rand(16, 3, 32, 32)).train()
    found = video.dense(encoder, frames, "conv2")
    assert found.shape == (16, 5, 8, 8) and encoder.training
    samples = Samples(frames.transpose(0, 1).contiguous(), torch.zeros(5, dtype=torch.long))
    expected = features.extract(encoder, samples, encode=features.after(encoder, "conv2", size=8)).view(
        5, 16, 8, 8
    )
    assert torch.allclose(found.transpose(0, 1), expected, atol=1e-5)
    with pytest.raises(CourseError, match="conv1, conv2"):
        video.dense(encoder, frames, "conv9")


def test_masks_and_points_are_painted():
    film = torch.randint(256, (3, 2, 6, 8), dtype=torch.uint8)
    plain = video.painted(film)
    assert plain.shape == film.shape and plain.dtype == torch.uint8 and torch.equal(plain[0], plain[2])
    mask = torch.zeros(2, 6, 8).long()
    mask[0, 2:4, 3:5], mask[1, 5, 7] = 1, 2
    tinted = video.painted(film, mask)
    assert torch.equal((tinted != plain).any(0), mask > 0) or ((tinted != plain).any(0) <= (mask > 0)).all()
    assert tinted[2, 0, 2, 3] > tinted[0, 0, 2, 3]  # the first object's colour is blue
    crossed = video.painted(film, None, torch.tensor([[[2.5, 3.9], [-4.0, 2.0]], [[7.9, 0.0], [1.0, 1.0]]]))
    changed = (crossed != plain).any(0)
    assert (
        changed[0].nonzero().tolist() == [[2, 2], [3, 1], [3, 2], [3, 3], [4, 2]]
        and changed[1, 0, 7]
        and not changed[1, 3:].any()
    )
    with pytest.raises(CourseError, match="masks of shape"):
        video.painted(film, mask[:1])


def test_fewer_directions():
    f = torch.randn(12, 3, 4, 4)
    unit = torch.nn.functional.normalize(f.flatten(1).double(), dim=0)
    same, share = video.reduced(f, 12)
    assert share == pytest.approx(1) and torch.allclose(
        same.flatten(1).double().T @ same.flatten(1).double(), unit.T @ unit, atol=1e-5
    )
    errors, shares = [], []
    for dims in (2, 5, 9):
        less, share = video.reduced(f, dims)
        errors.append(float((less.flatten(1).double().T @ less.flatten(1).double() - unit.T @ unit).norm()))
        shares.append(share)
        assert share == pytest.approx(float(less.double().square().sum() / unit.square().sum()), abs=1e-5)
    assert errors == sorted(errors, reverse=True) and shares == sorted(shares)


def crossed(side: int = 64, cells: int = 16, **kwargs) -> Pointer:
    film = world.crossing(seed=0, side=side)
    return pointer(
        film.frames,
        video.features_of_colour(film.frames, cells, cells),
        film.masks,
        names=film.names,
        **kwargs,
    )


def test_the_colour_carries_masks_where_standing_still_does_not():
    j = lambda **k: float(crossed(**k).overlap()[1:, :2].mean())
    assert j(window=0, topk=None) < 0.2 < 0.7 < j()
    film = world.crossing(seed=0)
    noise = torch.randn(8, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    assert float(pointer(film.frames, noise, film.masks).overlap()[1:, :2].mean()) < 0.2


def test_the_view_weighs_little_and_has_a_picture():
    film = world.crossing(seed=0)
    view = pointer(
        film.frames, torch.randn(16, 16, 16, 16), film.masks, names=film.names, title="Sixteen numbers a cell"
    )
    assert sum(len(v) for v in (view.sheet, view.vectors, view.runs, view.drawn)) < 300_000
    for v in (view, crossed(references=8, keep_first=True), pointer(film.frames, torch.randn(4, 16, 16, 16))):
        assert len(v.picture()) < 60_000
        assert min(Image.open(io.BytesIO(v.picture())).size) > 150
    view.frame = 0
    assert len(view.picture()) < 60_000  # without references
    assert "16 x 16 cells, 16 numbers" in repr(view)
    b = world.bounce()
    player = clip(b.frames, b.audio, b.fps, b.rate, event={"impact": b.impacts}, title="Wood")
    assert sum(len(v) for v in (player.sheet, player.sound, player.mel)) < 300_000
    for v in (player, clip(b.frames, None, 16), clip(b.frames[:, :2], None, 1, event=[0.5, 1.5])):
        assert len(v.picture()) < 60_000


def test_frames_come_back_from_the_sheet():
    for frames in (world.crossing(seed=1).frames, torch.randint(256, (3, 5, 20, 50), dtype=torch.uint8)):
        x = video._film(frames)
        data, where = views.filmstrip(x, video.EXACT, video.QUALITY)
        page = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
        for f in range(len(x)):
            top, left = f // where["across"] * where["high"], f % where["across"] * where["wide"]
            tile = page[top : top + x.shape[1], left : left + x.shape[2]]
            assert np.abs(tile - x[f]).mean() < (0.01 if where["type"] == "image/png" else 6)


def test_masks_as_runs():
    for mask in (torch.randint(4, (3, 5, 7)).numpy(), np.zeros((2, 3, 3), int), np.full((1, 1, 1), 9)):
        runs = np.frombuffer(video._runs(mask), "<u4")
        assert np.array_equal(np.repeat(runs >> 24, runs & 0xFFFFFF), mask.reshape(-1))


def test_features_either_way_round_and_settings_of_the_view():
    film, f = world.crossing(seed=0), torch.randn(8, 16, 12, 10)
    one, other = pointer(film.frames, f), pointer(film.frames.transpose(0, 1), f.transpose(0, 1))
    assert one.vectors == other.vectors and one.sheet == other.sheet
    assert one.settings == {
        "references": 3,
        "temperature": 0.05,
        "window": 5,
        "topk": 10,
        "keep_first": False,
    }
    everywhere = pointer(film.frames, f, window=None, topk=None, keep_first=True)
    assert (
        everywhere.settings["window"] is None
        and everywhere.settings["topk"] is None
        and everywhere.settings["keep_first"]
    )
    assert (
        "kept" in repr(pointer(film.frames, f, dims=4))
        and pointer(film.frames, f, dims=4).about["depth"] == 4
    )
    assert crossed().first.equal(world.crossing(seed=0).masks[0])


def test_a_mask_arrives_from_the_view():
    view = crossed()
    view.set_state({"drawn": memoryview(bytes([2]) * 64 * 64)})
    assert (view.first == 2).all() and view.first.shape == (64, 64)


FILM = torch.zeros(3, 4, 16, 16, dtype=torch.uint8)
CELLS = torch.ones(2, 4, 4, 4)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: pointer(FILM[0], CELLS), r"pass a film \(3, T, H, W\)"),
        (lambda: pointer(FILM[:, :1], CELLS[:, :1]), "at least 2 frames"),
        (lambda: pointer(FILM, CELLS[:, :3]), r"\(D, 4, h, w\)"),
        (lambda: pointer(FILM, CELLS * math.nan), "NaN"),
        (lambda: pointer(FILM, torch.ones(2, 4, 32, 32)), "a cell is at least a pixel"),
        (lambda: pointer(torch.zeros(3, 4, 300, 300), CELLS), "at most 256"),
        (
            lambda: pointer(FILM, CELLS, torch.zeros(4, 16, 15, dtype=torch.int)),
            r"pass \(4, 16, 16\) integers",
        ),
        (lambda: pointer(FILM, CELLS, torch.zeros(4, 16, 16)), "integers"),
        (lambda: pointer(FILM, CELLS, torch.full((4, 16, 16), 12)), "number the objects 1 to 9"),
        (lambda: pointer(FILM, CELLS, names=[str(i) for i in range(12)]), "12 names"),
        (lambda: pointer(FILM, CELLS, temperature=0), "temperature=0"),
        (lambda: pointer(FILM, CELLS, topk=0), "topk=0"),
        (lambda: pointer(FILM, CELLS, window=-1), "window=-1"),
        (lambda: pointer(FILM, CELLS, references=0), "references=0"),
        (lambda: pointer(FILM, CELLS, dims=3), "the features have 2"),
        (lambda: pointer(FILM, CELLS).overlap(), "no masks were given"),
        (lambda: video.propagate(CELLS, torch.zeros(3, 3, dtype=torch.long)), r"pass \(4, 4\) integers"),
        (lambda: video.propagate(CELLS[0], torch.zeros(4, 4, dtype=torch.long)), r"pass \(D, T, h, w\)"),
        (lambda: video.propagate(CELLS, torch.full((4, 4), -1)), "the label -1"),
        (lambda: video.features_of_colour(FILM, 17, 4), "17 x 4 cells"),
        (lambda: clip(FILM, None, 0), "fps=0"),
        (lambda: clip(FILM, torch.zeros(4000), 16), "rate=None"),
        (lambda: clip(FILM, torch.zeros(4000), 16, 4000), "8,000 to 96,000"),
        (lambda: clip(FILM, torch.full((4000,), 3.0), 16, 16000), "within -1..1"),
        (lambda: clip(FILM, torch.full((4000,), math.nan), 16, 16000), "within -1..1"),
        (lambda: clip(FILM, torch.zeros(3, 4000), 16, 16000), "channels"),
        (lambda: clip(FILM, torch.zeros(40000), 16, 16000), "check fps and rate"),
        (lambda: clip(FILM, None, 16, event=[0.1, 0.7]), "event at 0.7 s lies outside"),
        (lambda: setattr(clip(FILM, None, 16), "offset", 1.5), "offset=1.5"),
        (lambda: setattr(clip(FILM, None, 16), "position", 9), "position=9"),
        (lambda: video.log_mel(torch.zeros(2, 100), 16000), "one channel"),
    ],
)
def test_what_cannot_be_shown(make, words):
    with pytest.raises(CourseError, match=words):
        make()


# ================================================================================================ picture and
# sound in Python


def test_log_mel_equals_its_formula():
    from torchaudio.functional import melscale_fbanks

    rate, wave = 16000, world.bounce(seed=1).audio[:16000].double().numpy()
    ours = video.log_mel(torch.from_numpy(wave), rate, bands=40).numpy()
    assert ours.shape == (40, 101)
    bank = (
        melscale_fbanks(257, 60.0, 8000.0, 40, rate, norm=None, mel_scale="htk").double().numpy()
    )  # (257, 40)
    n, k = np.arange(400), np.arange(257)
    window = 0.5 - 0.5 * np.cos(2 * math.pi * n / 400)
    for m in (2, 43, 44, 60, 97):  # 43 is where the ball hits the floor
        piece = wave[m * 160 - 200 : m * 160 + 200] * window
        power = np.abs(np.exp(-2j * math.pi * np.outer(k, n) / 512) @ piece) ** 2 / 400
        expected = np.log(power @ bank / bank.sum(0) + 1e-8)
        assert np.abs(ours[:, m] - expected).max() < 2e-3


def test_log_mel_puts_a_tone_where_and_when_it_is():
    rate, t = 8000, torch.arange(8000) / 8000
    for hz in (200, 1000, 3000):
        wave = torch.where((t > 0.4) & (t < 0.6), (2 * math.pi * hz * t).sin(), 0)
        mel = video.log_mel(wave, rate, bands=32)
        band, column = divmod(int(mel.argmax()), mel.shape[1])
        edges = 700 * np.expm1(np.linspace(1127 * np.log1p(60 / 700), 1127 * np.log1p(4000 / 700), 34) / 1127)
        assert edges[band] < hz < edges[band + 2] and 0.39 < column * 0.01 < 0.61
        assert mel[:, :35].max() < mel.max() - 10 and torch.isfinite(mel).all()
    assert video.log_mel(torch.zeros(8000), rate).unique().tolist() == pytest.approx([math.log(1e-8)])


def test_which_frame_and_which_sample():
    player = clip(torch.zeros(3, 48, 8, 8), torch.zeros(48000), 16, 16000)
    assert player.at(0) == (0, 0) and player.at(1 / 16) == (1, 1000) and player.at(1 / 16 - 1e-4) == (0, 998)
    assert (
        player.at(1.0, 0.25) == (16, 12000)
        and player.at(0.1, 0.25) == (1, None)
        and player.at(2.9, -0.25) == (46, None)
    )
    player.offset = -0.5
    assert player.at(1.0) == (16, 24000) and player.at(3.0) == (47, None)
    assert clip(torch.zeros(3, 4, 8, 8), None, 4).at(0.5) == (2, None)


def test_sound_of_several_kinds():
    wave = torch.sin(torch.arange(4000) / 5) * 0.5
    sixteen = (wave * 32767).round().to(torch.int16)
    a = clip(FILM, wave, 16, 16000)
    b = clip(FILM, torch.stack([wave, wave]), 16, 16000)
    c = clip(FILM, sixteen.numpy(), 16, 16000)
    stored = [np.frombuffer(v.sound, "<i2").astype(int) for v in (a, b, c)]
    assert np.array_equal(stored[0], stored[1]) and np.abs(stored[0] - stored[2]).max() <= 1
    assert np.abs(stored[0] / 32767 - wave.numpy()).max() < 2 / 32767
    assert a.seconds == 0.25 and clip(FILM, None, 8).seconds == 0.5 and "silent" in repr(clip(FILM, None, 8))


# ================================================================================================ the pointer
# in a browser

POINTER = "document.querySelector('.ssl-pointer')"


def host(page, view, ready: str = "loaded"):
    host_view(page, view)
    page.wait_for_function(f"() => document.querySelector('.ssl-view').dataset.{ready}")


def data(page, root: str = ".ssl-view") -> dict:
    return page.evaluate(f"() => ({{ ...document.querySelector('{root}').dataset }})")


def carried(page, frames: int):
    page.wait_for_function(f"() => {POINTER}.dataset.done === '{frames}'")


def oblong(**kwargs) -> Pointer:
    """Nothing is square, and cells are no whole pixels."""
    g = torch.Generator().manual_seed(2)
    masks = torch.zeros(6, 21, 34, dtype=torch.long)
    masks[:, 4:11, 5:15], masks[:, 9:18, 18:30] = 1, 2
    return pointer(
        torch.rand(3, 6, 21, 34, generator=g), torch.randn(7, 6, 8, 11, generator=g), masks, **kwargs
    )


def striped(**kwargs) -> Pointer:
    """Whole rows of cells are equal: nothing but ties."""
    masks = torch.zeros(5, 16, 16, dtype=torch.long)
    masks[:, 3:9, 4:12] = 1
    f = torch.randn(3, 1, 8, 1, generator=torch.Generator().manual_seed(3)).expand(3, 5, 8, 8)
    return pointer(torch.zeros(3, 5, 16, 16), f, masks, **kwargs)


def tied(**kwargs) -> Pointer:
    masks = torch.zeros(2, 10, 10, dtype=torch.long)
    masks[:, :6, :4] = 1
    return pointer(torch.rand(3, 2, 10, 10), shuffled(), masks, **kwargs)


def tiny(**kwargs) -> Pointer:
    """Only numbers too small for a normal float16 tell the cells of the first frame apart."""
    g = torch.Generator().manual_seed(4)
    f = torch.zeros(2, 3, 6, 6)
    f[1, 0], f[0, 0] = 1, 5e-5 * torch.rand(6, 6, generator=g)
    f[0, 1:] = 1
    masks = torch.zeros(3, 6, 6, dtype=torch.long)
    masks[:, :3] = 1
    return pointer(torch.rand(3, 3, 6, 6), f, masks, **{"temperature": 0.005, **kwargs})


@pytest.mark.browser
@pytest.mark.parametrize("make", [crossed, oblong, striped, tied, tiny])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        dict(window=None, topk=None),
        dict(window=2, topk=3, keep_first=True),
        dict(references=1, topk=1, temperature=1.0),
    ],
    ids=str,
)
def test_javascript_computes_what_python_computes(blank_page, make, settings):
    view = make(**settings)
    count = view._frames.shape[0]
    host(blank_page, view)
    carried(blank_page, count)
    theirs = torch.tensor(blank_page.evaluate(f"() => {POINTER}.results.labels()"), dtype=torch.float64).view(
        view.soft().shape
    )
    assert (
        theirs - view.soft()
    ).abs().max() < 1e-6  # both read the same float16 numbers and compute in float64
    masks = torch.tensor(blank_page.evaluate(f"() => {POINTER}.results.masks()"), dtype=torch.uint8).view(
        view.masks().shape
    )
    assert torch.equal(masks, view.masks())
    known = int(view._given.max())
    assert float(data(blank_page)["mean"]) == pytest.approx(
        float(view.overlap()[1:, :known].mean()), abs=1e-4
    )
    heat = torch.tensor(
        blank_page.evaluate(f"() => {POINTER}.results.attention()"), dtype=torch.float64
    ).view(count, *view._features.shape[2:])
    weights, refs = view.attention()
    assert (heat[refs] - weights).abs().max() < 1e-6 and float(heat.sum()) == pytest.approx(1)
    assert blank_page.errors == [] and blank_page.external == []


@pytest.mark.browser
def test_against_embeddings_that_were_not_rounded(blank_page):
    """What float16 costs: the labels that the view computes against those of the float32 embeddings."""
    film = world.crossing(seed=0)
    f = torch.nn.functional.normalize(
        torch.randn(16, 16, 16, 16, generator=torch.Generator().manual_seed(0)), dim=0
    )
    view = pointer(film.frames, f, film.masks, temperature=0.2, topk=None)
    host(blank_page, view)
    carried(blank_page, 16)
    theirs = torch.tensor(blank_page.evaluate(f"() => {POINTER}.results.labels()"), dtype=torch.float64).view(
        16, 16, 16, -1
    )
    exact = video.propagate(f, video.to_cells(film.masks[0], 16, 16, view.objects + 1), 3, 0.2, 5, None)
    assert (theirs - exact).abs().max() < 1e-3


def translated(**kwargs) -> Pointer:
    """Every cell has a name of its own and moves one cell to the right and one down in each frame."""
    base = torch.randn(32, 8, 8, generator=torch.Generator().manual_seed(0))
    f = torch.stack([base.roll((t, t), (1, 2)) for t in range(5)], 1)
    return pointer(torch.rand(3, 5, 32, 32), f, temperature=0.02, **{"window": None, "topk": None, **kwargs})


def place(page, x: float, y: float, size: int = 32) -> tuple[float, float]:
    """Where the middle of a pixel of the film lies on the page."""
    page.locator("canvas.film").scroll_into_view_if_needed()
    box = page.locator("canvas.film").bounding_box()
    return box["x"] + (x + 0.5) * box["width"] / size, box["y"] + (y + 0.5) * box["height"] / size


@pytest.mark.browser
def test_a_clicked_pixel_points_to_where_it_came_from(blank_page):
    view = translated()
    host(blank_page, view)
    blank_page.locator(".ssl-pointer").focus()
    blank_page.keyboard.press("End")
    old = blank_page.evaluate("() => document.querySelector('canvas.ref').toDataURL()")
    blank_page.mouse.click(*place(blank_page, 22, 25))  # cell (6, 5) of frame 5
    seen = data(blank_page)
    assert (seen["frame"], seen["x"], seen["y"]) == ("4", "22", "25")
    frame, row, column, share = seen["peak"].split(",")
    came_from = {3: (5, 4), 2: (4, 3), 1: (3, 2)}
    assert came_from[int(frame)] == (int(row), int(column))
    heat = torch.tensor(blank_page.evaluate(f"() => {POINTER}.results.attention()")).view(5, 8, 8)
    assert {t: divmod(int(heat[t].argmax()), 8) for t in came_from} == came_from and heat[0].sum() == 0
    assert all(float(heat[t].max()) == pytest.approx(1 / 3, abs=0.01) for t in came_from)
    assert blank_page.evaluate("() => document.querySelector('canvas.ref').toDataURL()") != old
    captions = blank_page.locator("figcaption").all_inner_texts()[:3]
    assert captions == [f"frame {i} holds 33%\npeak 33%" for i in (2, 3, 4)]
    says = blank_page.locator(".says").inner_text()
    assert (
        says.startswith("Pixel (22, 25) of frame 5 points most to frame")
        and f"cell ({column}, {row}) of 8 x 8" in says
    )
    assert blank_page.evaluate("() => window.saved.at(-1).pixel") == [22, 25]

    # By hand along the diagonal, where it can be read which cell lies under the pointer, and by keys.
    x, y = place(blank_page, 22, 25)
    blank_page.mouse.move(x, y)
    blank_page.mouse.down()
    blank_page.mouse.move(*place(blank_page, 30, 30))
    assert data(blank_page)["x"] == "30"
    blank_page.mouse.up()
    blank_page.mouse.move(*place(blank_page, 2, 2))
    assert data(blank_page)["x"] == "30"
    blank_page.locator("canvas.film").focus()
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowLeft", "Shift+ArrowUp"):
        blank_page.keyboard.press(key)
    assert (data(blank_page)["x"], data(blank_page)["y"]) == ("25", "25")
    for _ in range(12):
        blank_page.keyboard.press("Shift+ArrowRight")
    assert data(blank_page)["x"] == "31"  # the edge
    assert blank_page.errors == []


@pytest.mark.browser
def test_the_tip_reads_the_attention_of_a_cell(blank_page):
    view = translated()
    host(blank_page, view)
    blank_page.locator(".ssl-pointer").focus()
    blank_page.keyboard.press("End")
    blank_page.mouse.click(*place(blank_page, 22, 25))
    box = blank_page.locator("canvas.ref").nth(2).bounding_box()  # frame 4: the peak is cell (5, 4)
    blank_page.mouse.move(box["x"] + box["width"] * 4.5 / 8, box["y"] + box["height"] * 5.5 / 8)
    assert blank_page.locator(".refs .tip").nth(2).inner_text() == "33%"
    blank_page.mouse.move(box["x"] + box["width"] * 0.5 / 8, box["y"] + box["height"] * 0.5 / 8)
    assert blank_page.locator(".refs .tip").nth(2).inner_text() == "<0.1%"
    blank_page.mouse.move(5, 5)
    assert not blank_page.locator(".refs .tip").nth(2).is_visible()


def slide(page, name: str, key: str, times: int = 1):
    page.locator(f"input[data-name={name}]").focus()
    for _ in range(times):
        page.keyboard.press(key)


@pytest.mark.browser
def test_temperature_window_and_best_matches(blank_page):
    view = crossed()
    host(blank_page, view)
    carried(blank_page, 16)
    share = lambda: float(data(blank_page)["peak"].split(",")[3])
    sharp, mean = share(), data(blank_page)["mean"]
    slide(blank_page, "temperature", "End")
    assert (
        blank_page.evaluate("() => window.model.get('temperature')") == 10
        and share() == pytest.approx(0.1, abs=0.002)
        and share() < sharp
    )
    slide(blank_page, "temperature", "Home")
    assert blank_page.evaluate("() => window.model.get('temperature')") == 0.005 and share() > sharp
    slide(blank_page, "topk", "Home")
    assert blank_page.evaluate("() => window.model.get('topk')") == 1 and share() == pytest.approx(1)
    slide(blank_page, "topk", "End")
    assert blank_page.evaluate("() => window.model.get('topk')") == 0
    slide(blank_page, "window", "Home")
    carried(blank_page, 16)
    wait_change(blank_page, f"{POINTER}.dataset.mean", mean)
    assert blank_page.locator(".settings output").all_inner_texts() == ["0.005", "0", "all"]
    still = pointer(
        view._frames.transpose(0, 3, 1, 2),
        view._features.float(),
        view._given,
        window=0,
        topk=None,
        temperature=0.005,
    )
    blank_page.wait_for_function(f"() => {POINTER}.dataset.mean !== '' && {POINTER}.dataset.done === '16'")
    assert float(data(blank_page)["mean"]) == pytest.approx(
        float(still.overlap()[1:, :2].mean()), abs=1e-4
    )  # its own place: the identity
    slide(blank_page, "window", "End")
    assert blank_page.locator(".settings output").nth(1).inner_text() == "everywhere"
    tiles = "[...document.querySelectorAll('.refs figure')].filter((f) => f.offsetParent).length"
    assert blank_page.evaluate(f"() => {tiles}") == 3
    blank_page.locator("input[data-name=keep_first]").click()
    assert (
        blank_page.evaluate(f"() => {tiles}") == 4
        and blank_page.evaluate("() => window.model.get('keep_first')") is True
    )
    before = blank_page.evaluate("() => document.querySelector('canvas.film').toDataURL()")
    blank_page.locator("input[data-name=truth]").click()
    assert blank_page.evaluate("() => document.querySelector('canvas.film').toDataURL()") != before
    assert blank_page.errors == []


def drag(page, *points):
    page.mouse.move(*points[0])
    page.mouse.down()
    for p in points[1:]:
        page.mouse.move(*p, steps=3)
    page.mouse.up()


def mask_of(page, frame: int = 0, side: int = 64) -> torch.Tensor:
    return torch.tensor(page.evaluate(f"() => {POINTER}.results.masks()[{frame}]")).view(side, side)


@pytest.mark.browser
def test_a_mask_is_drawn_and_carried(blank_page):
    film = world.crossing(seed=0)
    view = crossed()
    host(blank_page, view)
    carried(blank_page, 16)
    blank_page.locator("[data-name=clear]").click()
    assert (
        data(blank_page)["frame"] == "0"
        and mask_of(blank_page).sum() == 0
        and data(blank_page)["done"] == "1"
    )
    blank_page.locator("[data-name='2']").click()
    assert (data(blank_page)["tool"], data(blank_page)["object"]) == ("draw", "2")
    rows, columns = (film.masks[0] == 2).nonzero().T
    left, right, middle = int(columns.min()) + 3, int(columns.max()) - 3, int(rows.float().mean())
    for row in (middle - 3, middle + 3, middle):
        drag(blank_page, place(blank_page, left, row, 64), place(blank_page, right, row, 64))
    drawn = mask_of(blank_page)
    assert set(drawn.unique().tolist()) == {0, 2} and (drawn[middle, left : right + 1] == 2).all()
    assert (drawn == 2).sum() > 11 * (right - left)  # three strokes, the brush 5 pixels wide
    sent = blank_page.evaluate(
        "() => Array.from(new Uint8Array(window.saved.filter((s) => s.drawn).at(-1).drawn.buffer))"
    )
    assert sent == drawn.flatten().tolist()
    carried(blank_page, 16)
    view.drawn = bytes(sent)
    theirs = torch.tensor(blank_page.evaluate(f"() => {POINTER}.results.labels()"), dtype=torch.float64).view(
        view.soft().shape
    )
    assert (theirs - view.soft()).abs().max() < 1e-6  # what was drawn is what is propagated
    assert (
        video.overlap(mask_of(blank_page, 6)[None], film.masks[6:7], 2)[0, 1] > 0.4
    )  # and it follows the torus

    blank_page.keyboard.press("1")  # a second object, with a smaller brush, from the keyboard
    for _ in range(2):
        blank_page.keyboard.press("[")
    assert (data(blank_page)["object"], data(blank_page)["brush"]) == ("1", "0")
    blank_page.locator("canvas.film").focus()
    blank_page.keyboard.press(" ")
    x, y = (int(data(blank_page)[k]) for k in "xy")
    assert mask_of(blank_page)[y, x] == 1 and (mask_of(blank_page) == 1).sum() == 1
    blank_page.keyboard.press("0")
    blank_page.keyboard.press(" ")
    assert (mask_of(blank_page) == 1).sum() == 0
    drag(blank_page, place(blank_page, left, middle, 64), place(blank_page, right, middle, 64))
    assert (mask_of(blank_page)[middle, left : right + 1] == 0).all()  # the eraser
    blank_page.keyboard.press("7")  # no such object
    assert data(blank_page)["object"] == "0"
    blank_page.locator("[data-name=given]").click()
    assert torch.equal(mask_of(blank_page).to(torch.uint8), film.masks[0])
    blank_page.locator("[data-name=point]").click()
    blank_page.mouse.click(*place(blank_page, 5, 6, 64))
    assert data(blank_page)["x"] == "5" and torch.equal(
        mask_of(blank_page).to(torch.uint8), film.masks[0]
    )  # points, draws nothing
    assert "none before it" in blank_page.locator(".refs .none").inner_text()
    assert blank_page.errors == []


@pytest.mark.browser
def test_the_film_plays_and_stops(blank_page):
    host(blank_page, crossed())
    blank_page.locator("button.play").click()
    assert data(blank_page)["playing"] == "1"
    blank_page.wait_for_function(
        f"() => {POINTER}.dataset.frame === '15' && {POINTER}.dataset.playing === '0'", timeout=15_000
    )
    assert blank_page.evaluate("() => window.saved.at(-1).frame") == 15
    blank_page.locator(".ssl-pointer").focus()
    for key, frame in (
        (",", 14),
        ("ArrowLeft", 13),
        ("ArrowRight", 14),
        (".", 15),
        (".", 15),
        ("Home", 0),
        (",", 0),
        ("End", 15),
    ):
        blank_page.keyboard.press(key)
        assert data(blank_page)["frame"] == str(frame), key
    blank_page.keyboard.press(" ")
    assert data(blank_page)["playing"] == "1"
    blank_page.keyboard.press(" ")
    assert data(blank_page)["playing"] == "0"
    blank_page.locator("input.time").focus()  # one step, not two, where the slider has the focus
    now = int(data(blank_page)["frame"])
    blank_page.keyboard.press("ArrowRight")
    assert data(blank_page)["frame"] == str(now + 1)


@pytest.mark.browser
def test_python_moves_the_pointer(blank_page):
    host(blank_page, crossed())
    carried(blank_page, 16)
    blank_page.evaluate(
        "() => { window.model.set('frame', 3); window.model.set('pixel', [7, 9]); "
        "window.model.set('topk', "
        "1) }"
    )
    seen = data(blank_page)
    assert (seen["frame"], seen["x"], seen["y"]) == ("3", "7", "9") and seen["peak"].endswith(",1.00000")
    blank_page.evaluate("() => window.model.set('drawn', new DataView(new ArrayBuffer(64 * 64)))")
    assert mask_of(blank_page).sum() == 0 and blank_page.errors == []


def nothing_is_left(page):
    assert page.evaluate("() => window.alive") > 0
    page.evaluate("""() => {
      const ask = window.requestAnimationFrame;
      window.asked = 0; // by what goes on; the test's own `look` does
      window.requestAnimationFrame = (f) => { if (f.name !== 'look') window.asked++; return ask(f); };
      const root = document.querySelector('.ssl-view'), words = () => JSON.stringify({ ...root.dataset });
      window.cleanup();
      const before = words();
      window.moved = () => words() !== before;
    }""")
    assert page.evaluate("() => window.alive") == 0
    assert page.evaluate("() => [...window.listeners.values()].reduce((n, s) => n + s.size, 0)") == 0
    assert page.evaluate("() => window.el.childElementCount") == 0
    page.wait_for_timeout(600)  # a timer that still ran would now draw on what is gone
    assert page.evaluate("() => window.asked") == 0 and not page.evaluate("() => window.moved()")
    assert page.errors == []


@pytest.mark.browser
def test_the_pointer_leaves_nothing_behind(blank_page):
    host(blank_page, crossed())
    carried(blank_page, 16)
    blank_page.locator("button.play").click()
    nothing_is_left(blank_page)


@pytest.mark.browser
def test_the_pointer_leaves_nothing_behind_while_it_computes(blank_page):
    g = torch.Generator().manual_seed(0)  # so large that it is still being propagated
    masks = torch.ones(40, 64, 64, dtype=torch.int)
    host(
        blank_page,
        pointer(
            torch.rand(3, 40, 64, 64), torch.randn(32, 40, 32, 32, generator=g), masks, window=None, topk=None
        ),
    )
    blank_page.locator("button.play").click()
    assert int(data(blank_page)["done"]) < 40
    nothing_is_left(blank_page)


@pytest.mark.browser
@pytest.mark.parametrize(
    "make",
    [
        lambda: pointer(torch.rand(3, 2, 8, 8), torch.randn(1, 2, 1, 1)),  # a single cell, no mask
        lambda: pointer(
            torch.rand(3, 3, 256, 256),
            torch.randn(2, 3, 5, 7),
            torch.full((3, 256, 256), 9),
            references=8,
            keep_first=True,
        ),
        lambda: pointer(
            torch.rand(3, 4, 30, 200), torch.zeros(3, 4, 3, 20), torch.zeros(4, 30, 200, dtype=torch.int)
        ),  # vectors of length 0, no object
    ],
)
def test_little_and_much_are_enough(blank_page, make):
    host(blank_page, make())
    blank_page.locator(".ssl-pointer").focus()
    for key in ("Home", "1", "End", "ArrowLeft", " "):
        blank_page.keyboard.press(key)
    blank_page.wait_for_timeout(300)
    assert blank_page.errors == []


# ================================================================================================ the player
# in a browser

CLIP = "document.querySelector('.ssl-clip')"

# Ears and eyes of the test's own: a second analyser behind the player's says at what times of the audio clock
# a burst begins, the canvas says when a white frame is on the screen. Neither reads the player's variables.
LISTEN = """
() => {
  window.heard = []; window.seen = []; window.contexts = [];
  const make = AudioContext.prototype.createAnalyser;
  let tap = null, context = null, until = 0, loud = -1, white = false;
  AudioContext.prototype.createAnalyser = function () {
    const node = make.call(this);
    context = this; tap = make.call(this); tap.fftSize = 32768; until = 0; loud = -1;
    window.contexts.push(this);
    node.connect(tap);
    return node;
  };
  const wave = new Float32Array(32768);
  const look = () => {
    if (tap && context.state === 'running') {
      const now = context.currentTime, rate = context.sampleRate;
      tap.getFloatTimeDomainData(wave);
      const first = Math.max(0, Math.ceil(wave.length - (now - until) * rate));
      for (let i = first; i < wave.length; i++) if (Math.abs(wave[i]) > 0.1) {
        const t = now - (wave.length - i) / rate;
        if (t - loud > 0.08) window.heard.push(t - window.zero + (context.outputLatency || 0));
        loud = t;
      }
      until = now;
    }
    const film = document.querySelector('canvas.film');
    if (film && window.zero !== undefined) {
      const bright = film.getContext('2d').getImageData(film.width / 2, film.height / 2, 1, 1).data[0] > 128;
      const now = context ? context.currentTime : performance.now() / 1000;
      if (bright && !white) window.seen.push(now - window.zero);
      white = bright;
    }
    requestAnimationFrame(look);
  };
  window.zero = 0;
  requestAnimationFrame(look);
}
"""
FLASHES = (8, 20, 36)  # frames that are white, and a burst begins with each


def flashing(seconds: float = 3.0, flashes=FLASHES, hz: float = 1000, **kwargs) -> Clip:
    count, rate = round(seconds * 16), 16000
    frames = torch.zeros(3, count, 16, 16)
    wave = torch.zeros(round(seconds * rate))
    t = torch.arange(800) / rate  # 50 ms
    for f in flashes:
        frames[:, f] = 1
        wave[f * 1000 : f * 1000 + 800] = 0.5 * (2 * math.pi * hz * t).sin()
    return clip(frames, wave, 16, rate, event=[f / 16 for f in flashes], **kwargs)


def listening(page, view):
    page.evaluate(LISTEN)
    host(page, view)


def heard_and_seen(page, count: int, timeout_s: float = 12) -> tuple[np.ndarray, np.ndarray]:
    page.wait_for_function(
        f"() => window.heard.length >= {count} && window.seen.length >= {count}", timeout=timeout_s * 1000
    )
    return np.array(page.evaluate("() => window.heard")), np.array(page.evaluate("() => window.seen"))


def from_the_start(page):
    """Play, and forget what was heard and seen before."""
    page.wait_for_function(f"() => {CLIP}.dataset.playing === '0'", timeout=10_000)
    page.evaluate("() => { window.heard = []; window.seen = [] }")
    page.locator("button.play").click()


def patiently(attempt, tries: int = 3):
    """A crowded machine may hold the page up for longer than a frame; it will not do so three times."""
    for i in range(tries):
        try:
            return attempt()
        except AssertionError:
            if i == tries - 1:
                raise


@pytest.mark.browser
def test_sound_plays_after_a_click_and_the_picture_keeps_in_step(blank_page):
    listening(blank_page, flashing())
    assert (
        data(blank_page)["sound"] == "ready" and blank_page.evaluate("() => window.contexts.length") == 0
    )  # nothing sounds by itself

    def attempt():
        from_the_start(blank_page)
        blank_page.wait_for_function(f"() => +{CLIP}.dataset.rms > 0.05", timeout=8000)
        assert data(blank_page)["sound"] == "running"
        blank_page.wait_for_function(f"() => {CLIP}.dataset.playing === '0'", timeout=10_000)
        heard, seen = heard_and_seen(blank_page, 3)
        assert len(heard) == len(seen) == 3
        assert np.abs(np.diff(heard) - np.diff(FLASHES) / 16).max() < 0.01  # the sound keeps its own time
        assert np.abs(heard - seen).max() < 1 / 16  # each flash is on the screen within a frame of its burst
        assert float(data(blank_page)["drift"]) < 1000 / 16  # the player's own reckoning

    patiently(attempt)
    assert (
        data(blank_page)["position"] == "3.0000"
        and data(blank_page)["frame"] == "47"
        and data(blank_page)["rms"] == "0"
    )
    assert blank_page.evaluate("() => window.saved.at(-1).position") == 3
    assert blank_page.errors == [] and blank_page.external == []


@pytest.mark.browser
def test_a_page_that_is_held_up_drops_frames_and_no_sound(blank_page):
    listening(blank_page, flashing())
    blank_page.locator("button.play").click()
    blank_page.wait_for_function(f"() => +{CLIP}.dataset.position > 0.7")
    blank_page.evaluate("() => { const end = performance.now() + 300; while (performance.now() < end); }")
    blank_page.wait_for_timeout(100)
    assert 150 < float(data(blank_page)["drift"]) < 1000  # the player says how late the picture was
    heard, seen = heard_and_seen(blank_page, 3)
    assert np.abs(np.diff(heard) - np.diff(FLASHES) / 16).max() < 0.01
    assert np.abs(heard - seen)[1:].max() < 1 / 16  # and it is in step again


@pytest.mark.browser
def test_the_picture_waits_for_a_slow_sound_card(blank_page):
    """Wireless headphones: what the player hands over is heard 0.2 s later, and seen no earlier."""
    blank_page.evaluate(
        "() => Object.defineProperty(AudioContext.prototype, 'outputLatency', { get: () => 0.2 })"
    )
    listening(blank_page, flashing())

    def attempt():
        from_the_start(blank_page)
        heard, seen = heard_and_seen(blank_page, 3)  # `heard` counts the delay
        blank_page.wait_for_function(f"() => {CLIP}.dataset.playing === '0'", timeout=10_000)
        assert np.abs(heard - seen).max() < 1 / 16 and float(data(blank_page)["drift"]) < 1000 / 16

    patiently(attempt)


@pytest.mark.browser
@pytest.mark.parametrize("offset", [0.25, -0.4])
def test_the_offset_shifts_the_sound_that_plays(blank_page, offset):
    listening(blank_page, flashing())
    blank_page.locator("input[data-name=offset]").fill(str(offset))
    assert (
        data(blank_page)["offset"] == str(offset)
        and blank_page.evaluate("() => window.saved.at(-1).offset") == offset
    )
    word = blank_page.locator(".shift output").inner_text()
    assert word == f"{abs(offset):.2f} s too {'late' if offset > 0 else 'early'}"

    def attempt():
        from_the_start(blank_page)
        heard, seen = heard_and_seen(blank_page, 3)
        assert np.abs(heard - seen - offset).max() < 1 / 16
        blank_page.wait_for_function(f"() => {CLIP}.dataset.playing === '0'", timeout=10_000)

    patiently(attempt)


@pytest.mark.browser
def test_the_offset_moves_while_it_plays(blank_page):
    listening(blank_page, flashing())

    def attempt():
        blank_page.evaluate("() => window.model.set('offset', 0)")
        from_the_start(blank_page)
        blank_page.wait_for_function(f"() => +{CLIP}.dataset.position > 0.8")
        blank_page.evaluate("() => window.model.set('offset', 0.3)")  # as Python does it
        heard, seen = heard_and_seen(blank_page, 3)
        assert np.abs(heard - seen - np.array([0, 0.3, 0.3])).max() < 1 / 16
        blank_page.wait_for_function(f"() => {CLIP}.dataset.playing === '0'", timeout=10_000)

    patiently(attempt)


@pytest.mark.browser
def test_seeking_by_slider_picture_of_the_sound_and_keys(blank_page):
    view = flashing()
    listening(blank_page, view)
    slider = blank_page.locator("input.time")
    slider.fill("20")
    assert data(blank_page)["frame"] == "20" and float(data(blank_page)["position"]) == 1.25
    blank_page.locator(".ssl-clip").focus()
    for key, frame in (
        ("ArrowLeft", 19),
        ("ArrowRight", 20),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("End", 47),
        ("ArrowRight", 47),
        ("Home", 0),
    ):
        blank_page.keyboard.press(key)
        assert data(blank_page)["frame"] == str(frame), key
    box = blank_page.locator("canvas.sounds").bounding_box()
    at = lambda seconds: (
        box["x"] + 34 + (box["width"] - 44) * seconds / 3,
        box["y"] + 60,
    )  # the axis begins 34 pixels in
    blank_page.mouse.click(*at(1.0))
    assert float(data(blank_page)["position"]) == pytest.approx(1, abs=0.02)
    drag(blank_page, at(1.0), at(2.0))
    assert float(data(blank_page)["position"]) == pytest.approx(2, abs=0.02) and data(blank_page)[
        "frame"
    ] in ("31", "32")

    def attempt():
        blank_page.mouse.click(*at(0.1))
        from_the_start(blank_page)
        blank_page.wait_for_function(f"() => {CLIP}.dataset.playing === '1'")
        blank_page.mouse.click(*at(2.1))  # while it plays: the next burst is the third, at 2.25 s
        heard, seen = heard_and_seen(blank_page, 1)
        blank_page.wait_for_function(f"() => {CLIP}.dataset.playing === '0'", timeout=10_000)
        assert len(blank_page.evaluate("() => window.heard")) == len(seen) == 1
        assert abs(heard[0] - seen[0]) < 1 / 16

    patiently(attempt)
    blank_page.evaluate("() => window.model.set('position', 0.5)")
    assert data(blank_page)["frame"] == "8" and blank_page.errors == []


@pytest.mark.browser
def test_loops_have_no_gap(blank_page):
    listening(blank_page, flashing(1.0, (4,)))
    blank_page.locator("input[data-name=loop]").click()
    blank_page.locator("button.play").click()
    heard, seen = heard_and_seen(blank_page, 4)
    assert (
        np.abs(np.diff(heard) - 1).max() < 0.01
    )  # the next turn begins by the sample, whenever the page gets to draw
    assert int(data(blank_page)["turns"]) >= 3


@pytest.mark.browser
def test_the_last_turn_is_the_last_that_is_heard(blank_page):
    listening(blank_page, flashing(1.0, (0,)))
    blank_page.locator("input[data-name=loop]").click()
    blank_page.locator("button.play").click()
    heard_and_seen(blank_page, 2)
    # Shortly before the end, when the next turn has been scheduled already; from here it would be too late.
    now = blank_page.evaluate(f"""() => new Promise((done) => {{ const wait = () => {{
      if (+{CLIP}.dataset.position < 0.9) return requestAnimationFrame(wait);
      document.querySelector('input[data-name=loop]').click();
      done(window.heard.length);
    }}; wait(); }})""")
    blank_page.wait_for_function(f"() => {CLIP}.dataset.playing === '0'", timeout=5000)
    blank_page.wait_for_timeout(300)
    assert blank_page.evaluate("() => window.heard.length") == now


@pytest.mark.browser
def test_mute_and_pause_are_silent(blank_page):
    wave = 0.5 * torch.sin(torch.arange(48000) / 3)
    listening(blank_page, clip(torch.rand(3, 48, 16, 16), wave, 16, 16000))
    blank_page.locator(".ssl-clip").focus()
    blank_page.keyboard.press(" ")
    loud = f"() => +{CLIP}.dataset.rms > 0.3"
    blank_page.wait_for_function(loud)
    blank_page.keyboard.press("m")
    assert data(blank_page)["muted"] == "1"
    blank_page.wait_for_function(f"() => +{CLIP}.dataset.rms < 1e-4 && {CLIP}.dataset.playing === '1'")
    blank_page.keyboard.press("m")
    blank_page.wait_for_function(loud)
    blank_page.keyboard.press(" ")
    assert data(blank_page)["playing"] == "0" and data(blank_page)["rms"] == "0"
    blank_page.wait_for_function("() => window.contexts[0].state === 'suspended'")
    where = data(blank_page)["position"]
    blank_page.wait_for_timeout(300)
    assert data(blank_page)["position"] == where and 0 < float(where) < 3


@pytest.mark.browser
def test_half_speed_is_slower_and_says_that_it_is_lower(blank_page):
    listening(blank_page, flashing())
    assert blank_page.locator(".says").inner_text() == ""
    blank_page.locator("select").select_option("0.5")
    assert "one octave lower" in blank_page.locator(".says").inner_text()

    def attempt():
        from_the_start(blank_page)
        heard, seen = heard_and_seen(blank_page, 3)
        blank_page.wait_for_function(f"() => {CLIP}.dataset.playing === '0'", timeout=10_000)
        assert (
            np.abs(np.diff(heard) - np.diff(FLASHES) / 8).max() < 0.01 and np.abs(heard - seen).max() < 1 / 16
        )

    patiently(attempt)


@pytest.mark.browser
def test_one_film_at_a_time(blank_page):
    host(blank_page, flashing())
    host_view(blank_page, flashing())
    plays = "[...document.querySelectorAll('.ssl-clip')].map((r) => r.dataset.playing).join()"
    for i, state in enumerate(("1,0", "0,1")):
        blank_page.locator("button.play").nth(i).click()
        blank_page.wait_for_function(
            f"() => {plays} === '{state}'", timeout=2000
        )  # the film would end by itself after 3 s


@pytest.mark.browser
def test_the_player_leaves_nothing_behind(blank_page):
    listening(blank_page, flashing())
    blank_page.locator("button.play").click()
    blank_page.wait_for_function(f"() => {CLIP}.dataset.playing === '1'")
    nothing_is_left(blank_page)
    assert blank_page.evaluate("() => window.contexts.map((c) => c.state)") == ["closed"]


@pytest.mark.browser
@pytest.mark.parametrize(
    "how, word",
    [
        ("window.AudioContext = window.webkitAudioContext = undefined", "no Web Audio"),
        ("window.AudioContext = class { constructor() { throw new Error('no device'); } }", "no device"),
        (
            (
                "AudioContext.prototype.resume = function () { return this.suspend().then(() => new "
                "Promise(() "
                "=> {})); }"
            ),
            "stays suspended",
        ),
    ],
)
def test_without_sound_the_picture_goes_on_and_a_sentence_says_so(blank_page, how, word):
    blank_page.evaluate(f"() => {{ {how} }}")
    host(blank_page, flashing(1.0, (4,)))
    blank_page.locator("button.play").click()
    blank_page.wait_for_function(f"() => {CLIP}.dataset.playing === '1'", timeout=5000)
    said = blank_page.locator(".says").inner_text()
    assert "plays no sound" in said and word in said and data(blank_page)["sound"] == "refused"
    blank_page.wait_for_function(
        f"() => {CLIP}.dataset.playing === '0' && {CLIP}.dataset.frame === '15'", timeout=5000
    )
    assert blank_page.errors == []


@pytest.mark.browser
def test_a_silent_film(blank_page):
    host(blank_page, clip(torch.rand(3, 8, 20, 40), None, 8, event={"begin": 0.25, "end": 0.75}))
    assert (
        data(blank_page)["sound"] == "none"
        and blank_page.locator("input[data-name=offset], input[data-name=mute]").count() == 0
    )
    blank_page.locator("button.play").click()
    blank_page.wait_for_function(f"() => {CLIP}.dataset.playing === '1'")
    blank_page.wait_for_function(
        f"() => {CLIP}.dataset.playing === '0' && {CLIP}.dataset.frame === '7'", timeout=5000
    )
    assert float(data(blank_page)["drift"]) < 1000 and blank_page.errors == []


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("wide", [1200, 700])
def test_how_they_look(blank_page, tmp_path, dark, wide):
    blank_page.set_viewport_size({"width": wide, "height": 1000})
    if dark:
        blank_page.evaluate(
            "() => { document.documentElement.style.colorScheme = 'dark'; "
            "document.documentElement.style.background = '#111' }"
        )
    b = world.bounce("cube", "metal", restitution=None)
    player = clip(
        b.frames, b.audio, b.fps, b.rate, event={"impact": b.impacts}, title="A metal cube is kicked"
    )
    host(blank_page, crossed(keep_first=True, title="Where does this pixel come from? Colour as embedding"))
    carried(blank_page, 16)
    host_view(blank_page, player)
    blank_page.wait_for_function(f"() => {CLIP}.dataset.loaded")
    blank_page.locator("input[data-name=offset]").fill("0.12")
    blank_page.locator(".ssl-clip input.time").fill("16")
    if dark:
        blank_page.locator("[data-name='2']").click()
    blank_page.wait_for_timeout(150)
    keep(blank_page, tmp_path / f"video-{'dark' if dark else 'light'}-{wide}.png", full_page=True)
    inside = blank_page.evaluate("""() => [...document.querySelectorAll('.ssl-view *')]
      .filter((n) => n.offsetParent && getComputedStyle(n).position !== 'absolute')
      .every((n) => n.getBoundingClientRect().right <= window.innerWidth)""")
    assert inside and blank_page.errors == []


# ================================================================================================ both
# without a kernel


@pytest.mark.browser
def test_pages_from_disk(tmp_path):
    path = crossed().page(tmp_path / "pointer.html")
    with browser_page((path.as_uri(),)) as opened:
        opened.goto(path.as_uri())
        carried(opened, 16)
        peak = data(opened)["peak"]
        opened.mouse.click(*place(opened, 10, 50, 64))
        assert data(opened)["peak"] != peak
        opened.locator("[data-name=clear]").click()
        opened.keyboard.press("1")
        drag(opened, place(opened, 40, 20, 64), place(opened, 52, 24, 64))
        assert (mask_of(opened) == 1).any() and not (mask_of(opened) == 2).any()
        opened.locator("[data-name=given]").click()
        carried(opened, 16)
        opened.locator("button.play").click()
        opened.wait_for_function(
            f"() => {POINTER}.dataset.frame === '15' && {POINTER}.dataset.playing === '0'", timeout=15_000
        )
        assert (mask_of(opened, 15) == 2).any() and opened.errors == [] and opened.external == []
    path = flashing().page(tmp_path / "clip.html")
    with browser_page((path.as_uri(),)) as opened:
        opened.goto(path.as_uri())
        opened.locator(".ssl-clip button.play").click()
        opened.wait_for_function(f"() => +{CLIP}.dataset.rms > 0.05", timeout=8000)
        opened.locator("input[data-name=offset]").fill("-0.5")
        opened.wait_for_function(f"() => {CLIP}.dataset.playing === '0'", timeout=10_000)
        assert data(opened)["offset"] == "-0.5" and opened.errors == [] and opened.external == []


# ================================================================================================ both in
# JupyterLab

NOTEBOOK_CELLS = [
    (
        "from sslcourse.data import toybox as world\nfrom sslcourse.widgets import clip, pointer, "
        "video\nfilm, "
        "ball = world.crossing(), world.bounce()"
    ),
    (
        "view = pointer(film.frames, video.features_of_colour(film.frames, 16, 16), film.masks, "
        "names=film.names)\nview"
    ),
    "player = clip(ball.frames, ball.audio, ball.fps, ball.rate, event={'impact': ball.impacts})\nplayer",
    # Python hears what the reader does: it answers in the view itself.
    "view.observe(lambda change: setattr(view, 'pixel', [int((view.first == 2).sum()) % 64, 1]), 'drawn')\n"
    "player.observe(lambda change: setattr(player, 'position', 1.0 if abs(player.offset) > 0.001 else "
    "0.0), 'offset')",
]


@pytest.mark.browser
def test_pointer_and_player_in_jupyterlab(page, lab, tmp_path):
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in NOTEBOOK_CELLS],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    path = tmp_path / "video.ipynb"
    nbformat.write(made, path)
    open_and_run(page, lab, path)
    page.wait_for_function(f"() => {POINTER}?.dataset.loaded && {CLIP}?.dataset.loaded")
    carried(page, 16)

    page.locator("canvas.film").first.scroll_into_view_if_needed()
    box = page.locator(".ssl-pointer canvas.film").bounding_box()
    peak = page.evaluate(f"() => {POINTER}.dataset.peak")
    page.mouse.click(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.8)
    wait_change(page, f"{POINTER}.dataset.peak", peak)
    kinds = "[...window.jupyterapp.shell.currentWidget.content.model.cells].map((c) => c.type).join()"
    page.keyboard.press("2")  # would make a heading of the cell, were the key JupyterLab's
    assert (
        page.evaluate(f"() => {kinds}") == ",".join(["code"] * 4)
        and data(page, ".ssl-pointer")["object"] == "2"
    )
    box = page.locator(".ssl-pointer canvas.film").bounding_box()
    drag(
        page,
        (box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.9),
        (box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.9),
    )
    page.wait_for_function(
        f"() => {POINTER}.dataset.y === '1'", timeout=20_000
    )  # the kernel got the mask and moved the pixel
    drawn = torch.tensor(page.evaluate(f"() => {POINTER}.results.masks()[0]"))
    assert int((drawn == 2).sum()) % 64 == int(data(page, ".ssl-pointer")["x"])

    page.locator(".ssl-clip").scroll_into_view_if_needed()
    page.locator(".ssl-clip button.play").click()
    page.wait_for_function(f"() => +{CLIP}.dataset.rms > 0.01", timeout=10_000)
    page.wait_for_function(f"() => {CLIP}.dataset.playing === '0'", timeout=10_000)
    page.locator(".ssl-clip input[data-name=offset]").fill("0.2")
    page.wait_for_function(
        f"() => {CLIP}.dataset.position === '1.0000'", timeout=20_000
    )  # the kernel got the offset and moved the film
    for dark in (False, True):
        use_theme(page, dark)
        for name in ("pointer", "clip"):
            page.locator(f".ssl-{name}").scroll_into_view_if_needed()
            keep(
                page.locator(f".ssl-{name}"), tmp_path / f"video-lab-{name}-{'dark' if dark else 'light'}.png"
            )
    assert page.external == [], page.external
    assert page.errors == [], page.errors
