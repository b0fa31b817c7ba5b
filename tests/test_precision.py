"""Columns far from zero or nearly constant, rows nearly alike: what is read from features does not change.

The oracle is scikit-learn or NumPy in float64.
"""

import numpy as np
import pytest
import torch

from sslcourse import encoders, evaluate, runtime
from sslcourse.data.datasets import Data, Samples
from sslcourse.evaluate import esc50, health
from sslcourse.train import clustering
from sslcourse.transforms import sounds
from sslcourse.widgets.live import map2d


@pytest.fixture(scope="module")
def blobs():
    g = torch.Generator().manual_seed(0)
    label = torch.arange(600) % 5
    x = torch.randn(5, 16, generator=g)[label] + torch.randn(600, 16, generator=g)
    return x, label


FAR = [0.0, 1234.567, 30000.1, 1e5 + 0.1, 1e7]


@pytest.mark.parametrize("c", FAR)
@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_dead_units_change_no_probe(blobs, c, noise):
    """A few columns that are (nearly) always the same large number, beside those that mean something."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = blobs
    g = torch.Generator().manual_seed(1)
    dead = (c * (1 + noise * torch.randn(600, 4, generator=g).double())).float()
    z = torch.cat([x, dead], 1)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.25)).fit(z[:400].double(), y[:400])
    ours = evaluate.linear_probe(z[:400], y[:400], classes=5)
    right = float((ours.predict(z[400:]) == y[400:]).float().mean())
    assert right > theirs.score(z[400:].double(), y[400:]) - 0.03
    number = x[:, :1] * 2
    error = (evaluate.ridge_probe(z[:400], number[:400])(z[400:]) - number[400:]).square().mean()
    assert error < 0.05 * number.var()
    held = torch.arange(400) % 4 == 0
    predict, _ = esc50.linear_machine(z[:400, None].numpy(), y[:400].numpy(), held.numpy())
    assert float((predict(z[400:, None].numpy()) == y[400:].numpy()).mean()) > right - 0.05


def test_a_unit_that_wakes_up_only_in_the_test_changes_nothing(blobs):
    x, y = blobs
    z = torch.cat([x, torch.full((600, 1), 7.3)], 1)
    probe = evaluate.linear_probe(z[:400], y[:400], classes=5)
    before = probe.predict(z[400:])
    z[400:, -1] = -1e6
    assert torch.equal(probe.predict(z[400:]), before)


def test_moments_are_scikit_learns():
    from sklearn.preprocessing import StandardScaler

    g = np.random.default_rng(0)
    x = np.stack(
        [g.normal(size=9000) * s + m for s, m in ((1, 0), (1e-3, 1e4), (0, 0.1), (0, 3e7), (1e-20, 0))]
    )
    theirs = StandardScaler().fit(x.T)
    mean, spread = runtime.moments(torch.from_numpy(x.T.copy()))
    np.testing.assert_allclose(mean, theirs.mean_, rtol=1e-12)
    np.testing.assert_allclose(spread.masked_fill(spread == 0, 1.0), theirs.scale_, rtol=1e-9)


@pytest.mark.parametrize("c, dtype", [*((c, torch.float32) for c in FAR[:4]), (1e9, torch.float64)])
def test_one_neighbour_far_from_zero(blobs, c, dtype):
    from sklearn.neighbors import KNeighborsClassifier

    x, y = blobs
    z = (x.double() + c).to(dtype)
    near = z.double() - c  # scikit-learn expands squares as well
    theirs = KNeighborsClassifier(1, algorithm="brute").fit(near[:400], y[:400]).predict(near[400:])
    assert (evaluate.nearest(z[:400], y[:400], z[400:], chunk=70).numpy() == theirs).mean() > 0.99


@pytest.mark.parametrize("c, scale", [(0.0, 1.0), (300.0, 1.0), (3000.0, 1.0), (0.0, 1e-18), (0.0, 1e18)])
def test_cosines_of_features_that_nearly_agree(blobs, c, scale):
    from sklearn.neighbors import KNeighborsClassifier

    x, y = blobs
    truth = x.double() + c  # of any length: only its direction counts
    z = (truth * scale).float()
    theirs = KNeighborsClassifier(10, metric="cosine", algorithm="brute").fit(truth[:400], y[:400])
    found = evaluate.knn_predict(z[:400], y[:400], z[400:], classes=5, protocol="sklearn", chunk=33)
    assert (found.numpy() == theirs.predict(truth[400:])).mean() > 0.98
    own = torch.nn.functional.normalize(truth, dim=1)
    order = (own @ own.T).fill_diagonal_(-2).argmax(1)
    hit = float((y[order] == y).double().mean())
    assert evaluate.retrieval(z, y, ks=(1,))["recall@1"] == pytest.approx(hit, abs=0.004)


# ---------------------------------------------------------------------------------------------- whitening


@pytest.mark.parametrize("c", [0.1, 0.7, 3.3, 1000.1, 1e7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [2, 100, 4097])
def test_whitened_constants_are_zero(c, dtype, n):
    assert not clustering.whiten(torch.full((n, 8), c, dtype=dtype)).any()
    rounded = torch.full((n, 8), c, dtype=dtype)
    rounded[::2] = torch.nextafter(rounded[::2], torch.tensor(1e9, dtype=dtype))
    assert clustering.whiten(rounded).abs().max() == 0, "last digits are no direction"


@pytest.mark.parametrize("c", [0.0, 1234.5, 1e5])
def test_whitening_far_from_zero_is_scikit_learns(blobs, c):
    from sklearn.decomposition import PCA

    x = (blobs[0].double() + c).float()
    z = torch.cat([x, torch.full((len(x), 3), 1e6)], 1)  # dead units, too
    ours = clustering.whiten(z, 16).numpy().astype(np.float64)
    theirs = PCA(16, whiten=True).fit_transform(x.double().numpy()) * (len(x) / (len(x) - 1)) ** 0.5
    signs = np.sign((ours * theirs).sum(0))
    np.testing.assert_allclose(ours * signs, theirs, atol=2e-2 if c else 1e-3)
    assert np.abs(ours.mean(0)).max() < 1e-3


def test_whitening_of_healthy_features_keeps_its_numbers(blobs):
    """Trainings by clusters start from these numbers: to the last bit what they were."""
    x = blobs[0].relu()
    centred = (x - x.mean(0)).double()
    variance, direction = torch.linalg.eigh(centred.T @ centred / len(x))
    expected = (centred @ direction.flip(1) * variance.flip(0).rsqrt()).float()
    assert torch.equal(clustering.whiten(x), expected)


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1e12, 1e25])
def test_clusters_of_points_of_any_size(blobs, scale):
    from sklearn.cluster import KMeans

    x, _ = blobs
    z = (x.double() * scale).float()
    found = clustering.kmeans(z, 5, start=z[:5], iterations=30)
    theirs = KMeans(5, init=x[:5].double().numpy(), n_init=1, max_iter=30, tol=0).fit(x.double().numpy())
    assert (found.label.numpy() == theirs.labels_).all()
    assert found.inertia / scale**2 == pytest.approx(theirs.inertia_, rel=1e-4)
    assert torch.equal(clustering.assign(z, found.centre), found.label)


def test_percepts_of_a_dead_unit_stay_small():
    class Frame(torch.nn.Module):
        dim = 2

        def forward(self, x):
            return torch.stack([x.mean((1, 2, 3)), torch.full((len(x),), 30000.1)], 1)

    film = torch.rand(40, 3, 5, 4, 4)
    assert encoders.Percepts(Frame()).fit(film)(film).abs().max() < 6


# ------------------------------------------------------------------------------------------ health, maps


def test_health_of_features_far_from_zero(blobs):
    """By their written definitions in NumPy's float64."""
    x = (blobs[0].double() + 3000).float()
    z = x.double().numpy()
    s = np.linalg.svd(z - z.mean(0), compute_uv=False)
    p = s / s.sum()
    assert health.effective_rank(x) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-4)
    u = z / np.linalg.norm(z, axis=1, keepdims=True)
    assert health.spread(x) == pytest.approx(u.std(0).mean() * 4, rel=1e-4)
    assert health.alignment(x[:300], x[300:]) == pytest.approx(
        ((u[:300] - u[300:]) ** 2).sum(1).mean(), rel=1e-4
    )
    assert health.coverage(x[:300], x[300:]) == pytest.approx(
        health.coverage(blobs[0][:300], blobs[0][300:]), abs=0.01
    )


@pytest.mark.parametrize("c", [0.1, 3.3, 1000.1])
def test_rounding_is_no_dimension(c):
    z = torch.full((200, 32), c)
    z = torch.where(torch.rand(200, 32) < 0.5, z, torch.nextafter(z, torch.tensor(1e9)))
    assert health.effective_rank(z) < 1.01 and not health.diagnose(z).healthy


def test_maps_of_features_that_nearly_agree(blobs):
    from sklearn.manifold import trustworthiness

    x = torch.nn.functional.one_hot(torch.arange(120) % 4, 8).double() * 4
    x = x + torch.randn(120, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    far = (x + 4000).float()
    for made in (evaluate.living_map(far, perplexity=10.0), map2d(far)):
        assert torch.isfinite(made).all()
    u = runtime.unit(far)
    z = (u - u.mean(0)).numpy()
    near = trustworthiness(z / z.std(), evaluate.living_map(far, perplexity=10.0).numpy(), n_neighbors=8)
    assert near > 0.85


# ---------------------------------------------------------------------------------------------- baselines


def numbers(label, split, seed=0):
    g = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 255, (len(label), 3, 8, 8), generator=g, dtype=torch.uint8)
    return Samples(image, torch.tensor(label), classes=("a", "b"), split=split)


class Flat(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.f = torch.nn.Linear(192, 4)

    def encode(self, batch):
        return self.f(batch["image"].float().flatten(1) / 255)


@pytest.mark.parametrize(
    "train, test", [([0] * 180 + [1] * 20, [0] * 50 + [1] * 50), ([1] * 150 + [0] * 50, [0] * 80 + [1] * 20)]
)
def test_chance_is_the_training_majority_scored_on_the_test(train, test):
    from sklearn.dummy import DummyClassifier

    data = Data(numbers(train, "train"), numbers([0, 1] * 5, "validation"), numbers(test, "test"))
    found = evaluate.report(Flat(), data, few=5)["chance"]
    right = (
        DummyClassifier(strategy="most_frequent")
        .fit([[0]] * len(train), train)
        .score([[0]] * len(test), test)
    )
    assert found["linear"] == found["kNN"] == found["few labels"] == pytest.approx(right)


def test_a_factor_is_read_above_the_training_majority():
    train, test = {"kind": torch.tensor([0] * 150 + [1] * 50)}, {"kind": torch.tensor([0] * 20 + [1] * 80)}
    nothing = torch.zeros(200, 2), torch.zeros(100, 2)
    scores = evaluate.factor_scores(nothing[0], train, nothing[1], test, {"kind": ("a", "b")})
    assert scores == {"kind": 0.0}
    told = train["kind"][:, None].float(), test["kind"][:, None].float()
    assert evaluate.factor_scores(told[0], train, told[1], test, {"kind": ("a", "b")}) == {"kind": 1.0}
    one = {"kind": torch.zeros(100, dtype=torch.long)}
    assert evaluate.factor_scores(nothing[0], train, nothing[1], one, {"kind": ("a", "b")}) == {"kind": 0.0}


def test_the_penalty_is_chosen_by_fits_that_go_as_far_as_the_last():
    """Many noisy columns: only a strong penalty reads them, and a search by hand finds it."""
    from sklearn.linear_model import LogisticRegression

    g = torch.Generator().manual_seed(3)
    y = torch.arange(400) % 2
    x = torch.randn(400, 300, generator=g)
    x[:, :60] += 0.18 * (2 * y[:, None] - 1)
    ours = evaluate.linear_probe(x, y, classes=2)
    fit, held = evaluate.probes._held_out(400)
    z = ((x.double() - ours.mean) / ours.scale).numpy()
    right = [
        LogisticRegression(C=1 / (penalty * len(fit) * 1), tol=1e-8, max_iter=5000)
        .fit(z[fit], y[fit])
        .score(z[held], y[held])
        for penalty in (
            2 * p for p in evaluate.PENALTIES
        )  # two opposite columns of weights share the penalty
    ]
    chosen = evaluate.PENALTIES.index(ours.penalty)
    assert max(evaluate.PENALTIES) == 10 and right[chosen] >= max(right) - 0.013 and ours.penalty >= 0.1


# ---------------------------------------------------------------------------------------------- log-mel


@pytest.mark.parametrize("rate", [500, 4000, 7999, 8000, 11025, 16000, 16001, 22050, 44100, 48000])
def test_log_mel_is_librosas_at_every_rate(rate):
    librosa = pytest.importorskip("librosa")
    wave = (np.random.default_rng(0).normal(size=rate // 5) * 0.1).astype(np.float32)
    how = {"n_fft": round(sounds.WINDOW * rate), "hop_length": round(sounds.HOP * rate), "center": False}
    power = librosa.feature.melspectrogram(y=wave, sr=rate, n_mels=32, fmin=60.0, fmax=0.4875 * rate, **how)
    ours = sounds.log_mel(torch.from_numpy(wave)[None], rate)[0, 0].numpy()
    np.testing.assert_allclose(ours, np.log(power + 1e-6), atol=2e-4)
