"""Films with sound: one clock, factors that are independent, nuisances that are private, no leak, and the
log-mel picture.
"""

import math
import pathlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslcourse.data import toybox
from sslcourse.data.datasets import Samples
from sslcourse.data.load import load
from sslcourse.data.toybox import sounding
from sslcourse.methods.base import Ear
from sslcourse.runtime.errors import CourseError
from sslcourse.transforms import sounds


@pytest.fixture(scope="module")
def made():
    return sounding.make(240, "train")


@pytest.fixture(scope="module")
def scenes():
    return sounding.make(24, "train", seconds=3.0, distractors=0, channel=0)


def named(made, event):
    return (made["label"] == sounding.EVENTS.index(event)).nonzero().squeeze(1)


# --------------------------------------------------------------------------------------------- the same again


def test_the_first_films_are_the_same_whatever_their_number_is(made):
    few = sounding.make(7, "train")
    for key, value in few.items():
        torch.testing.assert_close(value, made[key][:7], rtol=0, atol=0, equal_nan=True)


def test_seeds_and_splits_differ(made):
    for other in (sounding.make(3, "test"), sounding.make(3, "train", seed=1)):
        assert not torch.equal(other["video"], made["video"][:3]) and not torch.equal(
            other["audio"], made["audio"][:3]
        )


def test_the_cache_gives_the_same_and_a_damaged_one_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SSLCOURSE_CACHE", str(tmp_path))
    first = toybox.events(6, 2, 2)
    again = toybox.events(6, 2, 2)
    assert torch.equal(first.train.audio, again.train.audio) and torch.equal(
        first.train.video, again.train.video
    )
    file = next(tmp_path.rglob("train-6-*.npz"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    mended = toybox.events(6, 2, 2)
    assert "damaged" in capsys.readouterr().err and torch.equal(mended.train.audio, first.train.audio)


# ---------------------------------------------------------------------------------------------- one clock


def test_the_solid_stands_on_the_floor_when_it_strikes(made):
    """At the frame nearest to an impact the mask's lowest row is the lowest of the whole film, or nearly:
    read from the pictures alone.
    """
    gaps = []
    for i in torch.cat([named(made, e) for e in sounding.STRUCK]).tolist():
        rows = [(m == 1).any(1).nonzero() for m in made["mask"][i]]
        if any(len(r) == 0 for r in rows):
            continue
        lowest = np.array([int(r.max()) for r in rows])
        for time in made["impacts"][i][~made["impacts"][i].isnan()].tolist():
            frame = time * sounding.FPS - 0.5
            if 0 <= frame <= 15 and abs(frame - round(frame)) < 0.2:
                gaps.append(lowest.max() - lowest[round(frame)])
    assert len(gaps) > 40 and np.mean(np.array(gaps) <= 2) > 0.95 and np.mean(gaps) < 1


def test_every_impact_is_heard_at_its_time(scenes):
    """The loudest rise of the sound's energy near each impact lies within half a frame of it."""
    away = []
    for i in torch.cat([named(scenes, "bounce"), named(scenes, "thud")]).tolist():
        wave = scenes["audio"][i].double().numpy() / 32767
        energy = np.convolve(wave**2, np.ones(80) / 80, "full")[: len(wave)]  # the 10 ms before each sample
        rise = np.log(energy[40:] + 1e-7) - np.log(energy[:-40] + 1e-7)  # over 5 ms
        for time in scenes["impacts"][i][~scenes["impacts"][i].isnan()].tolist():
            start, stop = int((time - 0.15) * 8000), int((time + 0.15) * 8000)
            if start < 0 or stop > len(rise):
                continue
            away.append(abs((start + np.argmax(rise[start:stop])) / 8000 - time))
    assert len(away) > 15 and np.median(away) < 0.5 / sounding.FPS


def test_sounds_that_go_on_follow_the_motion(scenes):
    """A scrape is loud while the solid is fast: loudness of each frame against the speed of the mask's
    centre.
    """
    together = []
    for i in named(scenes, "scrape").tolist():
        mask = (scenes["mask"][i] == 1).float()
        centre = (mask * torch.arange(32)).sum((1, 2)) / mask.sum((1, 2)).clamp_min(1)
        speed = (centre[2:] - centre[:-2]).abs()
        loud = scenes["audio"][i].float().view(48, 500).pow(2).mean(1).sqrt()[1:-1]
        together.append(float(np.corrcoef(speed, loud)[0, 1]))
    assert len(together) >= 2 and np.mean(together) > 0.6


def test_a_hammer_beats_where_its_path_is_lowest():
    made = sounding.programme("hammer", np.random.default_rng(3), 3.0, 0.25, 1.0, 0.6)
    assert len(made.times) >= 6
    height = made.path(made.times)[1]
    assert np.abs(height).max() < 1e-9 and (made.path(made.times + 0.05)[1] > 0).all()
    # the speed at the impact is the slope of the path just before it
    slope = (made.path(made.times - 1e-6)[1] - made.path(made.times - 2e-6)[1]) / 1e-6
    np.testing.assert_allclose(-slope, made.speeds, rtol=1e-3)


@pytest.mark.parametrize("event", ["bounce", "thud"])
def test_what_falls_strikes_with_the_speed_of_its_path(event):
    for seed in range(5):
        made = sounding.programme(event, np.random.default_rng(seed), 3.0, 0.25, 1.2, 0.6)
        slope = (made.path(made.times - 1e-6)[1] - made.path(made.times - 2e-6)[1]) / 1e-6
        np.testing.assert_allclose(-slope, made.speeds, rtol=1e-3)
        assert np.abs(made.path(made.times + 1e-9)[1]).max() < 1e-6


def test_what_rolls_turns_as_far_as_it_goes():
    made = sounding.programme("roll", np.random.default_rng(0), 3.0, 0.3, 1.0, 0.6)
    t = np.linspace(0, 3, 400)
    x, height, turn = made.path(t)
    np.testing.assert_allclose(np.diff(turn) * 0.3, -np.diff(x), atol=1e-9)  # to the right is clockwise
    assert (height == 0).all()


def test_a_bounce_keeps_its_share_of_the_speed_or_is_kicked():
    for seed in range(8):
        made = sounding.programme("bounce", np.random.default_rng(seed), 3.0, 0.25, 1.2, 0.6)
        share, flight = made.speeds[1:] / made.speeds[:-1], np.diff(made.times)
        lost = (share > 0.74) & (share < 0.91)
        assert (lost | (flight > 0.4)).all() and (flight > 0.2).all()
        assert np.ptp(share[lost]) < 1e-6 if lost.any() else True  # one body, one restitution
        np.testing.assert_allclose(made.speeds[1:] / flight, made.speeds[1] / flight[0])  # and one gravity


@pytest.mark.parametrize("event", sounding.EVENTS)
def test_nothing_jumps(event):
    t = np.linspace(0, 3, 12_001)  # every quarter of a millisecond
    for seed in range(6):
        made = sounding.programme(event, np.random.default_rng(seed), 3.0, 0.25, 1.2, 0.6)
        x, height, _ = made.path(t)
        assert (
            np.abs(np.diff(x)).max() < 0.003 and np.abs(np.diff(height)).max() < 0.003
        )  # 12 halves of a picture a second
        assert np.abs(x).max() <= 0.6 + 1e-9 and height.min() > -1e-9 and height.max() <= 1.2 + 1e-9


def test_what_rolls_stays_on_the_floor(made):
    """Whatever its shape, and however far it has turned: the lowest row of its mask stays where it is."""
    spread = []
    for i in named(made, "roll").tolist():
        rows = [int((m == 1).any(1).nonzero().max()) for m in made["mask"][i] if (m == 1).any()]
        spread.append(max(rows) - min(rows))
    assert len(spread) > 20 and max(spread) <= 1


# ---------------------------------------------------------------------------------------------- factors


@pytest.fixture(scope="module")
def many():
    """Enough scenes, in small pictures, to see how factors go together."""
    return sounding.make(1200, "train", size=16)


def test_factors_are_independent(many):
    """Chi-square of every pair of categories that have nothing to do with each other; the p-values are
    Bonferroni-corrected.
    """
    from scipy.stats import chi2_contingency

    columns = many
    event = columns["label"].numpy()
    shared = {
        "material": 4,
        "background": 8,
        "channel": 8,
        "second": 2,
        "outside": 2,
        "shape": 10,
        "direction": 2,
    }
    pairs = [("event", name) for name in shared] + [
        ("background", "channel"),
        ("background", "material"),
        ("channel", "material"),
    ]
    for a, b in pairs:
        x, y = (event if n == "event" else columns[f"factor_{n}"].numpy() for n in (a, b))
        table = np.zeros((x.max() + 1, y.max() + 1))
        np.add.at(table, (x, y), 1)
        assert chi2_contingency(table).pvalue > 0.01 / len(pairs), (a, b)


def test_material_is_seen_nine_times_out_of_ten(many):
    right = (many["factor_material"] < 2) == (many["factor_shiny"] == 1)
    assert 0.87 < right.float().mean() < 0.93


def test_venue_ties_the_channel_to_the_background():
    for venue, low, high in ((0.0, 0.05, 0.22), (0.5, 0.42, 0.68), (1.0, 1.0, 1.0)):
        made = sounding.make(200, "train", size=16, venue=venue)
        share = float((made["factor_background"] == made["factor_channel"]).float().mean())
        assert low <= share <= high, (venue, share)


def test_coupling_swaps_the_sound_within_the_event(made):
    other = sounding.make(60, "train", coupling=0.0)
    assert torch.equal(other["label"], made["label"][:60]) and torch.equal(other["video"], made["video"][:60])
    assert not any(torch.equal(a, b) for a, b in zip(other["audio"], made["audio"]))
    assert torch.equal(
        other["impacts"].nan_to_num(), made["impacts"][:60].nan_to_num()
    )  # those that are seen


def test_new_backgrounds_and_channels_are_in_no_training_split():
    data = toybox.events(40, 10, 40, size=16, new=True, cache=False)
    assert int(data.train.factors["background"].max()) < sounding.BANK
    hidden = data.test._factors
    assert int(hidden["background"].min()) >= sounding.BANK and int(hidden["channel"].min()) >= sounding.BANK


def test_background_and_channel_dials_reach_only_their_own_sense(made):
    plain = sounding.make(40, "train", background=0.0)
    assert torch.equal(plain["audio"], made["audio"][:40]) and not torch.equal(
        plain["video"], made["video"][:40]
    )
    dry = sounding.make(40, "train", channel=0.0)
    assert torch.equal(dry["video"], made["video"][:40]) and not torch.equal(dry["audio"], made["audio"][:40])


def test_at_strength_0_nothing_tells_the_backgrounds_or_the_channels():
    """The eight backgrounds and channels are told from each other at strength 1 and not at 0."""

    def told(column, features, made):
        """Accuracy of the nearest class mean, means from the first half."""
        label, half = made[f"factor_{column}"], len(features) // 2
        means = torch.stack([features[:half][label[:half] == k].mean(0) for k in range(sounding.BANK)])
        return float((torch.cdist(features[half:], means).argmin(1) == label[half:]).float().mean())

    found = {}
    for strength in (0.0, 1.0):
        made = sounding.make(320, "train", size=16, background=strength, channel=strength)
        corner = made["video"].float()[:, :, :, :2].mean(2).flatten(1)  # the top rows: above the floor
        wave = made["audio"].float() / 2**15
        spectrum = torch.fft.rfft(wave[:, : wave.shape[1] // 256 * 256].view(len(wave), -1, 256)).abs()
        sound = (spectrum.mean(1) + 1e-3).log()
        found[strength] = told("background", corner, made), told("channel", sound, made)
    assert max(found[0.0]) < 0.25 < 0.6 < min(found[1.0]), found


def test_a_larger_solid_sounds_lower_and_a_harder_blow_louder():
    def sound(radius, speed):
        wave = sounding.sound(
            "thud",
            sounding.Programme(None, np.array([0.1]), np.array([speed]), None),
            np.random.default_rng(0),
            1.0,
            radius,
            2,
        )
        spectrum = np.abs(np.fft.rfft(wave))
        return np.argmax(spectrum), np.sqrt((wave**2).mean())

    small, large, hard = sound(0.17, 4), sound(0.34, 4), sound(0.17, 8)
    assert small[0] == pytest.approx(2 * large[0], rel=0.05) and hard[1] == pytest.approx(
        2**1.2 * small[1], rel=0.05
    )


def test_sound_is_never_silent_and_never_clips(made):
    wave = made["audio"].float() / 32767
    assert wave.abs().amax(1).max() <= 0.981 and wave.std(1).min() > 0.003


def test_silence_is_never_digital(scenes):
    """Before the first impact, without a channel and without anything from outside, there is still a faint
    noise: no logarithm of nothing.
    """
    for i in named(scenes, "thud").tolist():
        quiet = scenes["audio"][i][: int(8000 * float(scenes["impacts"][i][0])) - 80].float() / 32767
        assert 0.001 < quiet.std() < 0.004


def test_direction_is_where_it_goes_first(made):
    agree = []
    for i in torch.cat([named(made, e) for e in ("roll", "scrape", "whoosh", "bounce")]).tolist():
        x = [((m == 1).float() * torch.arange(32)).sum() / (m == 1).sum() for m in made["mask"][i][:3]]
        if abs(x[2] - x[0]) > 0.7:
            agree.append(bool(x[2] > x[0]) == bool(made["factor_direction"][i]))
    assert len(agree) > 60 and np.mean(agree) > 0.97


def test_stereo_comes_from_where_the_solid_is():
    made = sounding.make(60, "train", stereo=True, channel=0, distractors=0)
    x = [((m == 1).float() * torch.arange(32)).sum() / (m == 1).sum() - 15.5 for m in made["mask"]]
    left, right = made["stereo"].float().pow(2).mean(2).unbind(1)
    assert np.corrcoef(torch.stack(x), (right / left).log())[0, 1] > 0.9


def test_masks_show_the_solid_that_sounds_in_front(made):
    assert set(made["mask"].unique().tolist()) == {0, 1, 2}
    for i in range(20):
        assert bool((made["mask"][i] == 2).any()) <= bool(made["factor_second"][i])


@pytest.mark.parametrize(
    "wrong, words",
    [
        (dict(seconds=0.1), "0.5 to 10"),
        (dict(seconds=1.03), "sixteenths"),
        (dict(background=2), "background=2"),
        (dict(train=0), "at least one"),
        (dict(venue=-1), "venue=-1"),
    ],
)
def test_wrong_arguments_say_what_to_type(wrong, words):
    with pytest.raises(CourseError, match=words):
        toybox.events(**wrong)


def test_speed():
    """At least 40 films of one second a second on one thread (asked), with room for a crowded machine."""
    import time

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        sounding.make(8, "train")
        start = time.process_time()
        sounding.make(64, "train", seed=5)
        assert 64 / (time.process_time() - start) > 40
    finally:
        torch.set_num_threads(threads)


# ---------------------------------------------------------------------------------------------- leaks


def _accuracy(network: nn.Module, x, y, test, truth, epochs: int = 12) -> float:
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(64):
            loss = F.cross_entropy(network(x[part]), y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        return float((torch.cat([network(p) for p in test.split(256)]).argmax(1) == truth).float().mean())


def _small(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 16, 5, 2, 2),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.LazyLinear(2),
    )


def _windows(made, seed: int):
    """For each scene an audio window and whether it is in step with the picture's window: same start, or
    another at least half a second away.
    """
    rng = np.random.default_rng(seed)
    n = len(made["audio"])
    picture = rng.integers(0, 33, n)
    synced = rng.integers(0, 2, n)
    start = np.empty(n, int)
    for i in range(n):
        start[i] = picture[i] if synced[i] else rng.choice([s for s in range(33) if abs(s - picture[i]) >= 8])
    sound = torch.stack([made["audio"][i, s * 500 : s * 500 + 8000] for i, s in enumerate(start)])
    film = torch.stack([made["video"][i, :, s : s + 16] for i, s in enumerate(picture)])
    return sound, film, torch.from_numpy(synced), torch.from_numpy(start)


@pytest.mark.slow
def test_neither_sound_nor_picture_alone_tells_whether_they_are_in_step():
    """Networks that see one of the two stay at chance on held-out scenes; a planted mark they find."""
    many, more = (
        sounding.make(n, split, seconds=3.0, size=16) for n, split in ((500, "train"), (400, "test"))
    )
    torch.manual_seed(0)
    parts = [[torch.cat(column) for column in zip(*(_windows(m, s) for s in range(2)))] for m in (many, more)]
    (sound, film, y, start), (test_sound, test_film, truth, _) = parts
    heard, test_heard = sounds.log_mel(sound, 8000), sounds.log_mel(test_sound, 8000)
    seen, test_seen = (x[:, :, ::4].flatten(1, 2).float() / 255 for x in (film, test_film))
    mean, spread = heard.mean(), heard.std()
    error = 3 * math.sqrt(
        0.25 / len(more["audio"])
    )  # three standard errors; the two windows of a scene count once
    for name, train_x, test_x in (
        ("sound", (heard - mean) / spread, (test_heard - mean) / spread),
        ("picture", seen, test_seen),
    ):
        found = _accuracy(_small(train_x.shape[1]), train_x, y, test_x, truth, 6)
        assert abs(found - 0.5) < error, (name, found)
    marked = [
        torch.cat([x[..., :1] + 2.0 * t[:, None, None, None], x[..., 1:]], -1)
        for x, t in ((heard, y), (test_heard, truth))
    ]
    assert _accuracy(_small(1), (marked[0] - mean) / spread, y, (marked[1] - mean) / spread, truth, 6) > 0.9


@pytest.mark.slow
def test_both_senses_can_tell_the_event():
    """Supervised networks find it by ear and by eye, far above chance: both have something to teach."""
    many, more = sounding.make(900, "train"), sounding.make(300, "test")
    torch.manual_seed(0)
    ear = nn.Sequential(*list(_small(1))[:-1], nn.LazyLinear(6))
    heard = [(sounds.log_mel(m["audio"], 8000) + 7) / 2.5 for m in (many, more)]
    assert _accuracy(ear, heard[0], many["label"], heard[1], more["label"]) > 0.8
    eye = nn.Sequential(
        nn.Conv3d(3, 16, 3, 2, 1),
        nn.BatchNorm3d(16),
        nn.ReLU(),
        nn.Conv3d(16, 32, 3, 2, 1),
        nn.BatchNorm3d(32),
        nn.ReLU(),
        nn.Conv3d(32, 64, 3, (1, 2, 2), 1),
        nn.BatchNorm3d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(64, 6),
    )
    seen = [m["video"].float() / 127.5 - 1 for m in (many, more)]
    assert _accuracy(eye, seen[0], many["label"], seen[1], more["label"], 12) > 0.5


# ----------------------------------------------------------------------------------------- samples with sound


def test_samples_carry_sound():
    audio = torch.linspace(-1, 1, 8000).repeat(4, 1)
    samples = Samples(
        video=torch.zeros(4, 3, 16, 8, 8, dtype=torch.uint8),
        audio=audio,
        rate=8000,
        fps=16,
        label=[0, 1, 0, 1],
    )
    batch = samples.take([2, 3]).batch(torch.tensor([1]))
    torch.testing.assert_close(batch["audio"], audio[:1], atol=2e-5, rtol=0)
    assert (
        batch["video"].shape == (1, 3, 16, 8, 8) and samples.kind == "video" and "8,000 Hz" in repr(samples)
    )
    alone = samples.heard()
    assert (
        alone.kind == "audio"
        and "video" not in next(alone.batches(2))
        and alone.pictures.shape == (4, 3, 32, 32)
    )
    assert torch.equal(alone.label, samples.label) and "sounds" in repr(alone)
    assert Samples(audio=audio, rate=8000).inputs.dtype == torch.int16


def test_pictures_and_silent_films_say_what_they_are():
    assert repr(Samples(torch.zeros(2, 3, 8, 8))) == "<samples (train): 2 images of 3x8x8, 0 classes>"
    assert (
        repr(Samples(video=torch.zeros(2, 3, 4, 8, 8))) == "<samples (train): 2 videos of 3x4x8x8, 0 classes>"
    )


@pytest.mark.parametrize(
    "wrong, words",
    [
        (dict(audio=torch.zeros(4, 10)), "rate=None"),
        (dict(audio=torch.zeros(4, 2, 10), rate=8000), "one channel"),
        (dict(audio=torch.full((4, 10), 2.0), rate=8000), "scale them"),
        (dict(audio=torch.zeros(4, 10).long(), rate=8000), "int16"),
        (
            dict(audio=torch.zeros(3, 10), rate=8000, video=torch.zeros(4, 3, 2, 8, 8, dtype=torch.uint8)),
            "3 sounds",
        ),
        (dict(audio=torch.full((4, 10), math.nan), rate=8000), "scale them"),
        ({}, "or sounds"),
    ],
)
def test_wrong_sounds_say_what_to_type(wrong, words):
    with pytest.raises(CourseError, match=words):
        Samples(**wrong)


@pytest.mark.slow
def test_load_and_film():
    data = load("toyscenes")
    assert (
        data.train.audio.shape == (400, 24000)
        and data.train.video.shape[2] == 48
        and data.name == "toybox scenes"
    )
    film = toybox.film(data.train, 3)
    known = data.train.extra["impacts"][3]
    assert (
        film.audio.abs().max() <= 1
        and film.rate == 8000
        and film.fps == 16
        and len(film.impacts) == int((~known.isnan()).sum())
    )
    with pytest.raises(CourseError, match="toybox.events"):
        toybox.film(Samples(torch.zeros(2, 3, 8, 8)))
    with pytest.raises(CourseError, match="toybox.events"):
        Samples(torch.zeros(2, 3, 8, 8)).heard()


# ---------------------------------------------------------------------------------------------- log-mel


LOG_MEL = pathlib.Path(__file__).parent / "reference" / "log_mel.npz"


def librosas_log_mel(wave: np.ndarray) -> np.ndarray:
    """librosa's log-mel of sounds (n, samples) at 8,000 Hz: (n, 32, columns)."""
    import librosa

    how = dict(sr=8000, n_fft=256, hop_length=160, center=False, n_mels=32, fmin=60.0, fmax=3900.0, power=2.0)
    power = np.stack([librosa.feature.melspectrogram(y=row, **how) for row in wave])
    return np.log(power + 1e-6)


def test_log_mel_is_librosas():
    """As librosa gave it once: importing it costs more than all that is compared here."""
    stored = np.load(LOG_MEL)
    ours = sounds.log_mel(torch.from_numpy(stored["wave"].astype(np.float32) / 32767), 8000)[:, 0]
    assert ours.shape == (3, 32, 49) and np.ptp(stored["log_mel"]) > 5
    torch.testing.assert_close(ours, torch.from_numpy(stored["log_mel"]).float(), atol=2e-3, rtol=1e-3)


@pytest.mark.nightly
def test_the_stored_log_mel_is_librosas():
    """`python tests/test_sounding.py` writes it anew."""
    pytest.importorskip("librosa")
    stored = np.load(LOG_MEL)
    wave = stored["wave"].astype(np.float32) / 32767
    np.testing.assert_allclose(stored["log_mel"], librosas_log_mel(wave), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        torch.from_numpy(stored["wave"]), sounding.make(3, "train")["audio"], atol=1, rtol=0
    )


def test_log_mel_of_a_tone_peaks_in_its_band():
    t = torch.arange(8000) / 8000
    mel = sounds.log_mel(torch.stack([(2 * math.pi * f * t).sin() for f in (300.0, 1000.0, 3000.0)]), 8000)
    assert mel.shape == (3, 1, 32, 49)
    peak = mel[:, 0].mean(2).argmax(1)
    assert peak.tolist() == sorted(peak.tolist()) and len(set(peak.tolist())) == 3


def test_columns_owe_nothing_to_the_edges():
    """No padding: a sound moved by one hop has the same columns, moved by one."""
    wave = torch.randn(1, 8320, generator=torch.Generator().manual_seed(0)).clamp(-1, 1) * 0.3
    a, b = sounds.log_mel(wave[:, :8000], 8000), sounds.log_mel(wave[:, 160:8160], 8000)
    torch.testing.assert_close(a[..., 1:], b[..., :-1], atol=1e-4, rtol=1e-4)


def test_log_mel_says_what_is_wrong():
    with pytest.raises(CourseError, match=r"audio\[None\]"):
        sounds.log_mel(torch.zeros(8000), 8000)
    with pytest.raises(CourseError, match="shorter than one window"):
        sounds.log_mel(torch.zeros(1, 100), 8000)
    with torch.autocast("cpu", torch.bfloat16):
        assert sounds.log_mel(torch.zeros(1, 8000), 8000).dtype == torch.float32


def test_shifted_and_masked():
    torch.manual_seed(0)
    mel = torch.arange(49.0).expand(8, 1, 32, 49).contiguous()
    moved = sounds.shifted(mel, 4)
    by = moved[:, 0, 0, 24] - 24
    assert len(by.unique()) > 2 and by.abs().max() <= 4
    for row, shift in zip(moved[:, 0, 0], by):
        assert torch.equal(row, (torch.arange(49.0) + shift).clamp(0, 48))
    noise = torch.randn(200, 1, 32, 49)
    hidden = sounds.masked(noise, 4, 6)
    mean = noise.mean((1, 2, 3))
    gone = hidden == mean[:, None, None, None]
    bands, columns = gone[:, 0].all(2).sum(1), gone[:, 0].all(1).sum(1)
    assert set(bands.tolist()) == set(range(5)) and set(columns.tolist()) == set(range(7))
    assert torch.equal(hidden[~gone], noise[~gone])


def test_an_ear_reads_the_sound_and_nothing_else():
    from sslcourse import encoders

    torch.manual_seed(0)
    ear = Ear(encoders.small_mel(16), 8000).eval()
    made = sounding.make(6, "train")
    wave = made["audio"].float() / 32767
    h = ear.encode({"audio": wave})
    assert h.shape == (6, 16) and ear.f.maps(ear.logmel({"audio": wave})).shape == (6, 16, 13)
    torch.testing.assert_close(
        h, ear.encode({"audio": made["audio"], "video": made["video"]}), atol=1e-4, rtol=1e-4
    )
    for wrong, words in (
        ({"video": made["video"]}, "toybox.events"),
        ({"audio": wave[0]}, r"x\[None\]"),
        ({"audio": wave.long()}, "int64"),
    ):
        with pytest.raises(CourseError, match=words):
            ear.encode(wrong)


if __name__ == "__main__":
    made = sounding.make(3, "train")["audio"].numpy()
    LOG_MEL.parent.mkdir(exist_ok=True)
    np.savez_compressed(LOG_MEL, wave=made, log_mel=librosas_log_mel(made.astype(np.float32) / 32767))
    print(f"{LOG_MEL.name}: {LOG_MEL.stat().st_size:,} bytes")
