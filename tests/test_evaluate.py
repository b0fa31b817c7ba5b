"""Probes against brute force, scikit-learn and closed forms; and scores that must be chance."""

import math

import numpy as np
import pytest
import torch

from sslcourse import encoders, evaluate
from sslcourse.data.datasets import Data
from sslcourse.evaluate import health
from sslcourse.methods import simclr
from sslcourse.runtime.errors import CourseError
from sslcourse.train import features
from sslcourse.train.recipe import Recipe


@pytest.fixture(scope="module")
def blobs():
    """Three overlapping classes in 10 dimensions: train (600) and held out (300)."""
    g = torch.Generator().manual_seed(0)
    centres = torch.randn(3, 10, generator=g) * 0.9
    label = torch.arange(900) % 3
    x = centres[label] + torch.randn(900, 10, generator=g)
    return x[:600], label[:600], x[600:], label[600:]


@pytest.mark.parametrize("protocol", evaluate.KNN)
def test_knn_is_brute_force(blobs, protocol):
    x, y, q, _ = blobs
    k, temperature = evaluate.KNN[protocol]["k"], evaluate.KNN[protocol]["temperature"]
    predicted = []
    for query in q[:60]:
        similarity = torch.stack([query @ b / query.norm() / b.norm() for b in x])
        nearest = similarity.argsort(descending=True)[:k]
        votes = [0.0] * 3
        for i in nearest:
            votes[y[i]] += math.exp(similarity[i] / temperature) if temperature else 1.0
        predicted.append(int(np.argmax(votes)))
    assert evaluate.knn_predict(x, y, q[:60], classes=3, protocol=protocol, chunk=7).tolist() == predicted


def test_knn_equals_scikit_learn(blobs):
    from sklearn.neighbors import KNeighborsClassifier

    x, y, q, _ = blobs
    theirs = (
        KNeighborsClassifier(10, metric="cosine", algorithm="brute")
        .fit(x.numpy(), y.numpy())
        .predict(q.numpy())
    )
    ours = evaluate.knn_predict(x, y, q, classes=3, protocol="sklearn").numpy()
    assert (ours == theirs).mean() > 0.99  # ties are broken differently


@pytest.mark.parametrize("penalty", [1e-3, 1e-1])
def test_linear_probe_is_scikit_learns_optimum(blobs, penalty):
    from sklearn.linear_model import LogisticRegression

    x, y, q, _ = blobs
    ours = evaluate.linear_probe(x, y, classes=3, penalties=(penalty,), iterations=300)
    standard = ((x - ours.mean) / ours.scale).numpy().astype(np.float64)
    theirs = LogisticRegression(C=1 / (penalty * len(x)), tol=1e-8, max_iter=5000).fit(standard, y.numpy())
    mine = torch.softmax(ours(q), 1).numpy()
    other = theirs.predict_proba(((q - ours.mean) / ours.scale).numpy())
    assert np.abs(mine - other).max() < 2e-3


def test_ridge_is_scikit_learns():
    from sklearn.linear_model import Ridge

    x = torch.randn(400, 6)
    y = x @ torch.randn(6, 2) + 0.3 + 0.1 * torch.randn(400, 2)
    ours = evaluate.ridge_probe(x, y, penalties=(0.05,))
    theirs = Ridge(alpha=0.05 * 400).fit(((x - ours.mean) / ours.scale).numpy(), y.numpy())
    np.testing.assert_allclose(
        ours(x).numpy(), theirs.predict(((x - ours.mean) / ours.scale).numpy()), atol=1e-4
    )


def test_shuffled_labels_are_chance(blobs):
    x, y, q, t = blobs
    shuffled = y[torch.randperm(len(y))]
    for value in evaluate.score(x, shuffled, q, t[torch.randperm(len(t))], classes=3).values():
        assert abs(value - 1 / 3) < 0.09  # 3.3 standard errors
    real = evaluate.score(x, y, q, t, classes=3)
    assert min(real.values()) > 0.6


def test_penalty_is_chosen_on_training_data_only(blobs, monkeypatch):
    x, y, q, t = blobs
    first = evaluate.linear_probe(x, y, classes=3)
    again = evaluate.linear_probe(x, y, classes=3)
    assert torch.equal(first.weight, again.weight) and first.penalty in evaluate.PENALTIES


def test_retrieval_is_average_precision():
    from sklearn.metrics import average_precision_score

    x, y = torch.randn(60, 5), torch.randint(0, 4, (60,))
    found = evaluate.retrieval(x, y, ks=(1, 5))
    z = torch.nn.functional.normalize(x, dim=1)
    precision, recall = [], []
    for i in range(60):
        others = [j for j in range(60) if j != i]
        s = (z[i] @ z[others].T).numpy()
        same = (y[others] == y[i]).numpy()
        precision.append(average_precision_score(same, s))
        recall.append(same[np.argsort(-s)[:5]].any())
    assert found["mAP"] == pytest.approx(np.mean(precision), abs=1e-5) and found["recall@5"] == pytest.approx(
        np.mean(recall)
    )


def test_factor_scores_read_what_is_there():
    n = 3000
    factors = {
        "kind": torch.randint(0, 4, (n,)),
        "number": torch.rand(n),
        "angle": torch.rand(n) * 2 * math.pi,
        "hidden": torch.rand(n),
    }
    x = torch.cat(
        [
            torch.nn.functional.one_hot(factors["kind"], 4).float(),
            factors["number"][:, None],
            factors["angle"].cos()[:, None],
            factors["angle"].sin()[:, None],
            torch.randn(n, 5),
        ],
        1,
    )
    kinds = {"kind": ("a", "b", "c", "d"), "angle": 2 * math.pi}
    cut = slice(0, 2000), slice(2000, None)
    scores = evaluate.factor_scores(
        x[cut[0]],
        {k: v[cut[0]] for k, v in factors.items()},
        x[cut[1]],
        {k: v[cut[1]] for k, v in factors.items()},
        kinds,
    )
    assert min(scores["kind"], scores["number"], scores["angle"]) > 0.98 and scores["hidden"] < 0.02


def test_features_are_frozen_whole_and_in_order(toys):
    method = simclr.SimCLR(encoders.small_cnn(8)).train()
    before = {k: v.clone() for k, v in method.state_dict().items()}
    x = features.extract(method, toys.train, batch_size=100)
    assert x.shape == (512, 32) and all(torch.equal(before[k], v) for k, v in method.state_dict().items())
    assert method.training  # left as it was found
    torch.testing.assert_close(x, features.extract(method, toys.train, batch_size=512), rtol=1e-5, atol=1e-6)


def test_an_encoder_that_changes_while_probed_is_caught(toys):
    class Drifting(simclr.SimCLR):
        def encode(self, batch):
            self.f.train()  # batch statistics move: the classic slip
            return super().encode(batch)

    with pytest.raises(CourseError, match="must stay frozen"):
        features.extract(Drifting(encoders.small_cnn(8)), toys.validation)


def test_a_diverged_encoder_is_told_so_and_not_that_it_changed(toys):
    method = simclr.SimCLR(encoders.small_cnn())
    with torch.no_grad():
        next(method.parameters()).fill_(math.nan)
    with pytest.raises(CourseError, match="diverged: lower lr"):
        features.extract(method, toys.train.take(slice(0, 20)))


def test_layers(toys):
    encoder = encoders.small_cnn(8)
    method = simclr.SimCLR(encoder)
    last = features.extract(method, toys.validation, encode=features.after(encoder, "conv5", size=1))
    torch.testing.assert_close(last, features.extract(method, toys.validation), rtol=1e-4, atol=1e-5)
    assert set(evaluate.layer_probes(method, toys)) == {"conv1", "conv2", "conv3", "conv4", "conv5"}
    with pytest.raises(CourseError, match="conv1, conv2"):
        features.after(encoder, "fc7")
    assert list(encoders.resnet18().layers) == ["conv1", "layer1", "layer2", "layer3", "layer4"]
    assert encoders.resnet18()(torch.rand(2, 3, 32, 32)).shape == (2, 512)


@pytest.mark.parametrize("alone", [True, False], ids=["images", "data set"])
def test_random_weights_come_with_the_statistics_of_all_the_data(alone):
    """In the order of their classes, dark to light: what batch normalisation has seen is the mean and the
    variance of everything.
    """
    from sslcourse.data.datasets import Samples

    class Listener(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm2d(3)

        def encode(self, batch):
            return self.norm(batch["image"].float()).mean((2, 3))

    image = (
        (torch.arange(1030)[:, None, None, None] * 255 // 1030 + torch.randint(0, 3, (1030, 3, 4, 4)))
        .clamp(0, 255)
        .to(torch.uint8)
    )
    shown = image if alone else Samples(image, torch.arange(1030) % 10)
    method = Listener()
    untrained = evaluate.random_like(method, shown, seed=3)
    assert untrained.norm.running_mean.numpy() == pytest.approx(
        image.float().mean((0, 2, 3)).numpy(), rel=0.01
    )
    assert untrained.norm.running_var.numpy() == pytest.approx(image.float().var((0, 2, 3)).numpy(), rel=0.02)
    assert untrained.norm.momentum == 0.1 and not untrained.training, (
        "a network that can be trained like any other"
    )
    assert torch.equal(method.norm.running_mean, torch.zeros(3)) and method.training, (
        "the method itself is left alone"
    )


def test_report_has_its_baselines(toys):
    report = evaluate.report(
        simclr.SimCLR(encoders.small_cnn(8)), Data(toys.train, toys.validation, toys.test)
    )
    assert [r["features"] for r in report.rows] == ["chance", "pixels", "random encoder", "SimCLR"]
    assert "kNN dino: cosine, k=20, T=0.07" in repr(report) and "<table>" in report._repr_html_()
    assert 0.02 < report["chance"]["kNN"] < 0.3
    with pytest.raises(KeyError):
        report["BYOL"]


def test_label_curve_and_fine_tuning(toys):
    method = simclr.SimCLR(encoders.small_cnn(8))
    curve = evaluate.label_curve(method, toys, shares=(0.1, 1.0), seeds=(0, 1))
    assert [len(v) for v in curve.values()] == [2, 1] and curve[1.0][0] >= max(curve[0.1]) - 0.1
    before = {k: v.clone() for k, v in method.f.state_dict().items()}
    accuracy = evaluate.fine_tune(method.f, toys, 0.2, Recipe(epochs=1, batch_size=512, lr=1e-3))
    assert 0 <= accuracy <= 1 and all(torch.equal(before[k], v) for k, v in method.f.state_dict().items())


def test_errors(toys):
    with pytest.raises(CourseError, match="dino, lightly, sklearn"):
        evaluate.knn_predict(
            torch.rand(4, 2), torch.zeros(4, dtype=torch.long), torch.rand(2, 2), classes=2, protocol="moco"
        )
    with pytest.raises(CourseError, match="'validation'"):
        evaluate.layer_probes(simclr.SimCLR(encoders.small_cnn(8)), toys, on="train")
    with pytest.raises(CourseError, match="unlabelled"):
        bare = Data(toys.train.unlabelled(), toys.validation, toys.test)
        evaluate.probe(simclr.SimCLR(encoders.small_cnn(8)), bare)
    with pytest.raises(CourseError, match="too few"):
        evaluate.tsne(torch.rand(20, 4))


# umap takes ten seconds to import
@pytest.mark.parametrize("make", ["tsne", pytest.param("umap", marks=pytest.mark.nightly)])
def test_maps_put_neighbours_together(make):
    from sklearn.manifold import trustworthiness

    x = torch.randn(5, 12)[torch.arange(200) % 5] * 3 + torch.randn(200, 12)
    z = torch.nn.functional.normalize(x, dim=1).numpy()
    first = getattr(evaluate, make)(x)
    assert first.shape == (200, 2) and trustworthiness(z, first.numpy(), n_neighbors=8) > 0.8
    assert torch.equal(first, getattr(evaluate, make)(x))


def test_living_map_keeps_neighbours_and_goes_on():
    """As trustworthy as scikit-learn's t-SNE, better than a plane cut, and continuous from frame to frame."""
    from sklearn.manifold import TSNE, trustworthiness

    g = torch.Generator().manual_seed(0)
    label = torch.arange(300) % 10
    x = torch.nn.functional.normalize(
        torch.randn(10, 20, generator=g)[label] + 0.5 * torch.randn(300, 20, generator=g), dim=1
    )
    first = evaluate.living_map(x)
    plane = torch.pca_lowrank(x, q=2)
    theirs = TSNE(perplexity=20, init="pca", random_state=0).fit_transform(x.numpy())
    ours = trustworthiness(x.numpy(), first.numpy(), n_neighbors=8)
    assert ours > trustworthiness(x.numpy(), theirs, n_neighbors=8) - 0.03
    assert ours > trustworthiness(x.numpy(), (plane[0] * plane[1]).numpy(), n_neighbors=8) + 0.1
    assert first.abs().max() <= 1.0001
    moved = torch.nn.functional.normalize(x + 0.05 * torch.randn(300, 20, generator=g), dim=1)
    again = evaluate.living_map(moved, first)
    assert (again - first).norm(dim=1).median() < 0.35 * first.norm(dim=1).median()
    with pytest.raises(CourseError, match="same samples"):
        evaluate.living_map(x, first[:100])


def test_neighbour_probabilities_have_the_perplexity():
    x = torch.randn(200, 6)
    squared = torch.cdist(x, x).square()
    p = evaluate.maps._neighbour_probabilities(squared, 20.0)
    assert (
        float(p.sum()) == pytest.approx(1, abs=1e-4)
        and torch.equal(p, p.T)
        and float(p.diagonal().abs().max()) == 0
    )


# ---------------------------------------------------------------------------------------------- health


def test_health_closed_forms():
    sphere = torch.randn(4000, 64)
    assert health.spread(sphere) == pytest.approx(1, abs=0.02) and health.spread(
        torch.ones(100, 64)
    ) == pytest.approx(0, abs=1e-6)
    assert health.effective_rank(torch.eye(8).repeat(50, 1)) == pytest.approx(
        7, abs=0.01
    )  # centred: one direction less
    line = torch.randn(500, 1) @ torch.randn(1, 16)
    assert health.effective_rank(line) == pytest.approx(1, abs=0.01)
    z = torch.randn(300, 8)
    assert health.alignment(z, z) == 0 and health.alignment(z, -z) == pytest.approx(4)
    assert health.uniformity(torch.ones(50, 8)) == pytest.approx(0, abs=1e-5)
    circle = torch.tensor([[1.0, 0], [-1, 0]]).repeat(1, 1)
    assert health.uniformity(circle) == pytest.approx(-8)  # log exp(-2 * 4)


def test_health_names_what_is_wrong():
    good = torch.randn(256, 64)
    assert health.diagnose(
        good, z1=good, z2=good + 0.5 * torch.randn(256, 64), loss=0.5 * math.log(511)
    ).healthy
    collapsed = health.diagnose(torch.ones(256, 64) + 0.01 * torch.randn(256, 64))
    assert not collapsed.healthy and "collapsed" in str(collapsed)
    dimensional = health.diagnose(torch.randn(256, 3) @ torch.randn(3, 64))
    assert "dimensional collapse" in " ".join(str(dimensional).split())
    blind = health.diagnose(good, z1=torch.randn(128, 64), z2=torch.randn(128, 64), loss=math.log(255))
    assert all(text in " ".join(str(blind).split()) for text in ("nothing apart", "strangers"))
    with pytest.raises(CourseError, match="NaN"):
        health.diagnose(torch.full((32, 4), float("nan")))
    with pytest.raises(CourseError, match="16 rows"):
        health.diagnose(torch.rand(3, 4))


def test_dense_features_are_not_probed():
    x, y = torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 0, 1])
    with pytest.raises(CourseError, match="average them over their places"):
        evaluate.score(x, y, x, y, classes=2)


def test_the_factor_table_knows_one_representation_by_name(toys):
    with pytest.raises(
        CourseError, match="'raw' is 'colours'; the only representation with a name is 'pixels'"
    ):
        evaluate.factor_table({"raw": "colours"}, toys)
