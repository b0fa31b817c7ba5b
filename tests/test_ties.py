"""Where several answers are equally good: every score is what chance is worth, whatever the order of the
samples. And what is no number, unlabelled, empty or never shown is no score at all.
"""

import itertools
import math
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from sslcourse import evaluate
from sslcourse.data.datasets import Data, Samples
from sslcourse.evaluate import esc50, health, probes, reports, synchrony
from sslcourse.methods import clip, dpc, moco, simclr
from sslcourse.runtime.errors import CourseError
from sslcourse.train import clustering, ties
from sslcourse.widgets import live, maps

N, CLASSES = 60, 3


def by_hand(similarity, same, ks):
    """Recall@k and average precision of one query: mean over every order of what is equally similar."""
    total, recall, precision = 0, dict.fromkeys(ks, 0), 0.0
    for order in itertools.permutations(range(len(similarity))):
        ranked = [same[i] for i in sorted(order, key=lambda i: -similarity[i])]  # stable
        hits = 0
        for place, right in enumerate(ranked, 1):
            hits += right
            precision += right * hits / place / sum(ranked)
        for k in ks:
            recall[k] += any(ranked[:k])
        total += 1
    return {k: v / total for k, v in recall.items()}, precision / total


def test_rankings_with_equals_are_the_mean_over_all_their_orders():
    g = torch.Generator().manual_seed(0)
    for levels in (1, 2, 3, 100):
        similarity = torch.randint(levels, (6, 6), generator=g).double() / 7
        same = torch.rand(6, 6, generator=g) < 0.4
        same[:, 0] |= ~same.any(1)
        recall, precision = ties.recalled(similarity, same, (1, 2, 5))
        for i in range(6):
            expected, average = by_hand(similarity[i].tolist(), same[i].tolist(), (1, 2, 5))
            assert float(precision[i]) == pytest.approx(average, abs=1e-12)
            assert {k: float(v[i]) for k, v in recall.items()} == pytest.approx(expected, abs=1e-12)


def test_a_tie_of_k_is_found_one_time_in_k():
    scores = torch.tensor([[2.0, 1, 2, 2], [0, 0, 0, 0], [1, 2, 3, 4], [math.nan, 0, 0, 0], [-math.inf] * 4])
    found = ties.found(scores, torch.tensor([2, 1, 0, 1, 3]))
    assert found[:3].tolist() == pytest.approx([1 / 3, 1 / 4, 0]) and found[3].isnan() and found[4] == 0.25
    # Last digits break no tie in a coarse sum, and do where they are meant.
    assert ties.found(torch.tensor([[1.0, 1 + 1e-7]]), torch.tensor([0])) == 0.5
    close = torch.tensor([[1.0, 1.0]]).double() + torch.tensor([0, 1e-9]).double()
    assert ties.found(close, torch.tensor([1])) == 1
    assert ties.first_best(torch.tensor([[1.0, 1 + 1e-7, 0]])).tolist() == [0]
    shares = ties.places(torch.tensor([[3.0, 2, 2, 2, 1], [5, 4, 3, 2, 1]]), 2)
    assert shares.tolist() == [pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 0]), [1, 1, 0, 0, 0]]


# ------------------------------------------------------- one test for all: name -> (figure of features,
# chance)

LABEL = torch.arange(N) % CLASSES
HELD = torch.arange(24) % CLASSES


def score(protocol, key):
    def figure(x, label, held, held_label):
        return evaluate.score(x, label, held, held_label, classes=CLASSES, protocol=protocol)[key]

    return figure


def machine(x, label, held, held_label):
    predict, _ = esc50.linear_machine(x[:, None].numpy(), label.numpy(), np.zeros(len(x), bool), (1.0,))
    return predict.found(held[:, None].numpy(), held_label.numpy())


def one_nearest(x, label, held, held_label):
    return float(reports._nearest_shares(x, label, held, CLASSES).gather(1, held_label[:, None]).mean())


def browsed(x, label, held, held_label):
    indices, _ = maps.nearest(x, 4)
    return maps.precision(indices, label, x)[0]


def kinds_of(x):
    return dpc.picked(x.double() @ x.double().T, dpc.kinds(len(x) // 4, 2, 2))["cell found"]


FIGURES = {
    **{f"kNN, {p}": (score(p, "kNN"), 1 / CLASSES) for p in probes.KNN},
    "linear probe": (score("dino", "linear"), 1 / CLASSES),
    "support vectors": (machine, 1 / CLASSES),
    "1-NN": (one_nearest, 1 / CLASSES),
    "recall@1": (lambda x, label, *_: evaluate.retrieval(x, label)["recall@1"], (N / CLASSES - 1) / (N - 1)),
    "recall@5": (
        lambda x, label, *_: evaluate.retrieval(x, label)["recall@5"],
        1 - math.comb(N - N // CLASSES, 5) / math.comb(N - 1, 5),
    ),
    "neighbour browser": (browsed, (N / CLASSES - 1) / (N - 1)),
    "majority": (lambda x, label, _, held: probes.majority(label, held), 1 / CLASSES),
    "SimCLR": (lambda x, *_: simclr.partner_found(x[: N // 2], x[N // 2 :]), 1 / (N - 1)),
    "MoCo": (lambda x, *_: moco.key_found(x, x, x), 1 / N),
    "CLIP": (lambda x, *_: clip.pairs_found(x, x), 1 / N),
    "DPC": (lambda x, *_: kinds_of(x), 1 / N),
    "AVTS, pairs": (
        lambda x, label, *_: synchrony.judged(x.sum(1), label > 0, torch.arange(N) < N // 2),
        1 / 2,
    ),
    "AVTS, place": (
        lambda x, *_: synchrony.pointed(
            x.mean(1)[:, None, None].expand(N, 4, 2), (torch.arange(N * 8) % 2).float().view(N, 4, 2)
        ),
        1 / 2,
    ),
}
# Those whose samples belong to their place: half of the views, blocks of a film, halves of the films.
PLACED = {"SimCLR", "DPC", "AVTS, pairs"}
# A fifth of the samples, by their place, chooses the penalty.
CHOSEN = {"linear probe"}


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, "row"])
@pytest.mark.parametrize("name", FIGURES)
def test_features_that_are_all_the_same_score_chance(name, constant):
    figure, chance = FIGURES[name]
    row = (
        torch.randn(8, generator=torch.Generator().manual_seed(1))
        if constant == "row"
        else constant * torch.ones(8)
    )
    x, held = row.repeat(N, 1), row.repeat(24, 1)
    for seed in (None, 0, 1):
        order = (
            slice(None) if seed is None else torch.randperm(N, generator=torch.Generator().manual_seed(seed))
        )
        other = (
            slice(None) if seed is None else torch.randperm(24, generator=torch.Generator().manual_seed(seed))
        )
        if name == "AVTS, pairs":
            order = slice(None)  # each half needs both kinds
        assert float(figure(x[order], LABEL[order], held[other], HELD[other])) == pytest.approx(
            chance, abs=1e-6
        )


@pytest.mark.parametrize("name", sorted(set(FIGURES) - PLACED - CHOSEN))
def test_the_order_of_samples_decides_nothing_among_equals(name):
    """Features of a few values each: most samples have many as near as the nearest."""
    figure, _ = FIGURES[name]
    g = torch.Generator().manual_seed(2)
    x, held = (torch.randint(2, (n, 8), generator=g).float() for n in (N, 24))
    label, held_label = (torch.randint(CLASSES, (n,), generator=g) for n in (N, 24))
    before = float(figure(x, label, held, held_label))
    for seed in range(3):
        order = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
        other = torch.randperm(24, generator=torch.Generator().manual_seed(seed))
        if name == "AVTS, place":
            continue  # what is covered belongs to the film
        now = float(figure(x[order], label[order], held[other], held_label[other]))
        assert now == pytest.approx(before, abs=1e-6)


def test_knn_votes_of_equals_are_the_mean_over_the_orders_of_the_bank():
    """By drawing: the votes that a random order of the bank would give, a thousand times."""
    g = torch.Generator().manual_seed(3)
    bank, query = torch.randint(2, (40, 3), generator=g).float() + 0.1, torch.tensor([[1.1, 0.1, 1.1]])
    label = torch.randint(3, (40,), generator=g)
    fair = probes.knn_votes(bank, label, query, classes=3, protocol="sklearn")[0]
    cosine = torch.nn.functional.cosine_similarity(query.double(), bank.double()).round(decimals=9)
    drawn = torch.zeros(3)
    for _ in range(1000):
        order = torch.randperm(40, generator=g)
        drawn += torch.bincount(
            label[order[cosine[order].argsort(descending=True, stable=True)[:10]]], minlength=3
        )
    assert torch.allclose(fair.float(), drawn / 1000, atol=0.15) and float(fair.sum()) == pytest.approx(10)


def test_an_offset_that_nothing_tells_is_off_by_what_chance_is():
    """Distances that are all the same: the error of picking any offset, and the answer "in step"."""

    class Deaf:
        def see(self, video):
            return torch.zeros(len(video), 2)

        hear = see

        def distance(self, v, a):
            return torch.full((len(v),), 0.3)

    video = torch.zeros(6, 3, 48, 8, 8, dtype=torch.uint8)
    samples = Samples(video=video, audio=torch.zeros(6, 48 * 100), rate=1600, fps=16.0)
    assert synchrony.found(Deaf(), video[:2], samples.audio[:2], reach=4).tolist() == [0, 0]
    by = torch.randint(-4, 5, (6,), generator=evaluate.synchrony.runtime.generator(0, 0x0FF))
    expected = (torch.arange(-4, 5) - by[:, None]).abs().float().mean()
    assert synchrony.offset_error(Deaf(), samples, reach=4) == pytest.approx(float(expected))


def test_two_clusterings_into_one_piece_agree_in_nothing():
    one, two = torch.zeros(20).long(), torch.arange(20) % 2
    assert (
        clustering.agreement(one, one)
        == clustering.agreement(one, two)
        == clustering.agreement(two, one)
        == 0
    )
    assert clustering.agreement(two, 1 - two) == pytest.approx(1)


# ---------------------------------------------------------------------------------------------- no score at
# all

NAN = torch.full((N, 8), math.nan)
GOOD = torch.randn(N, 8, generator=torch.Generator().manual_seed(4))
ONE_BAD = GOOD.clone()
ONE_BAD[7, 3] = math.inf


@pytest.mark.parametrize("bad", [NAN, ONE_BAD], ids=["NaN", "one infinity"])
@pytest.mark.parametrize(
    "call",
    [
        lambda bad: evaluate.knn_predict(bad, LABEL, GOOD, classes=CLASSES),
        lambda bad: evaluate.knn_predict(GOOD, LABEL, bad, classes=CLASSES),
        lambda bad: evaluate.linear_probe(bad, LABEL, classes=CLASSES),
        lambda bad: evaluate.linear_probe(GOOD, LABEL, classes=CLASSES).predict(bad),
        lambda bad: evaluate.ridge_probe(bad, GOOD),
        lambda bad: evaluate.ridge_probe(GOOD, bad),
        lambda bad: evaluate.score(bad, LABEL, GOOD, LABEL, classes=CLASSES),
        lambda bad: evaluate.score(GOOD, LABEL, bad, LABEL, classes=CLASSES),
        lambda bad: evaluate.retrieval(bad, LABEL),
        lambda bad: evaluate.nearest(bad, LABEL, GOOD),
        lambda bad: evaluate.nearest(GOOD, LABEL, bad),
        lambda bad: evaluate.factor_scores(bad, {"a": LABEL}, GOOD, {"a": LABEL}, {"a": ("x", "y", "z")}),
        lambda bad: evaluate.tsne(bad, perplexity=5.0),
        lambda bad: evaluate.living_map(bad, perplexity=5.0),
        lambda bad: live.map2d(bad),
        lambda bad: live.align(bad[:, :2] + bad[:, 2:4], GOOD[:, :2]),
        lambda bad: health.spread(bad),
        lambda bad: health.effective_rank(bad),
        lambda bad: health.uniformity(bad),
        lambda bad: health.alignment(GOOD, bad),
        lambda bad: health.coverage(GOOD, bad),
        lambda bad: health.coverage(bad, GOOD),
        lambda bad: health.diagnose(GOOD, z1=GOOD, z2=bad),
        lambda bad: machine(bad, LABEL, GOOD, LABEL),
        lambda bad: machine(GOOD, LABEL, bad, LABEL),
        lambda bad: synchrony.judged(bad.sum(1), LABEL > 0, torch.arange(N) < N // 2),
        lambda bad: synchrony.threshold(bad.sum(1), LABEL > 0),
        lambda bad: synchrony.balanced(bad.sum(1), LABEL > 0, 0.5),
        lambda bad: synchrony.pointed(bad.view(N, 4, 2), GOOD.view(N, 4, 2)),
        lambda bad: clustering.kmeans(bad, 3),
    ],
)
def test_what_is_no_number_is_refused(call, bad):
    with pytest.raises(CourseError, match="NaN|infinit"):
        call(bad)


@pytest.mark.parametrize(
    "label, held, words",
    [
        (LABEL - 1, HELD, "unlabelled"),
        (LABEL, torch.full_like(HELD, -1), "unlabelled"),
        (LABEL, torch.where(HELD == 2, -1, HELD), "unlabelled"),
        (LABEL * 0, HELD * 0, "one class alone"),
        (LABEL % 2, HELD, "no sample"),
        (LABEL[:0], HELD, "empty|whole number"),
        (LABEL, HELD[:0], "empty|whole number"),
    ],
)
def test_splits_that_cannot_be_judged_are_refused(label, held, words):
    x, y = GOOD[: len(label)], GOOD[: len(held)]
    with pytest.raises(CourseError, match=words):
        evaluate.score(x, label, y, held, classes=CLASSES)


class Plain(torch.nn.Module):
    """An encoder of eight numbers, and a method around it."""

    def encode(self, batch):
        return batch["image"].float().flatten(1)[:, :8]


@pytest.mark.parametrize(
    "call",
    [
        lambda data: evaluate.probe(Plain(), data),
        lambda data: evaluate.report(Plain(), data, baselines=False),
        lambda data: evaluate.label_curve(Plain(), data, (1.0,)),
        lambda data: evaluate.reports.nearest_neighbour({"x": (Plain(), Plain().encode)}, data),
        lambda data: synchrony.svm({}, data),
    ],
)
def test_every_report_says_what_its_splits_lack(call):
    image = torch.randint(256, (N, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    part = lambda label, split: Samples(image=image, label=label, classes=("a", "b", "c"), split=split)
    data = lambda train, held: Data(part(train, "train"), part(held, "validation"), part(held, "test"))
    call(data(LABEL, LABEL))
    for train, held in ((LABEL, None), (None, LABEL), (LABEL % 2, LABEL), (LABEL * 0, LABEL * 0)):
        with pytest.raises(CourseError, match="unlabelled|no sample|one class"):
            call(data(train, held))


def test_no_sample_has_no_features():
    nothing = Samples(image=torch.zeros(4, 3, 4, 4, dtype=torch.uint8)).take(slice(0, 0))
    with pytest.raises(CourseError, match="no sample to encode"):
        evaluate.reports.features.extract(Plain(), nothing)


def test_a_quick_probe_of_a_sorted_set_sees_all_classes():
    """And of so many classes that a few samples cannot show them all, it asks for those it has shown."""
    label = torch.arange(N) // (N // CLASSES)
    image = torch.zeros(N, 3, 4, 4, dtype=torch.uint8)
    image[:, 0, 0, :3] = 200 * torch.eye(CLASSES)[label].byte()
    part = lambda label: Samples(image=image, label=label)
    data = Data(part(label), part(label), part(label))
    assert evaluate.probe(Plain(), data, limit=9)["kNN"] == 1
    own = Data(part(torch.arange(N)), part(torch.arange(N)), part(torch.arange(N)))
    assert 0 <= evaluate.probe(Plain(), own, limit=9, linear=False)["kNN"] <= 1


def test_retrieval_of_singletons_is_refused():
    with pytest.raises(CourseError, match="another one of its class"):
        evaluate.retrieval(GOOD, torch.arange(N))
    with pytest.raises(CourseError, match="unlabelled"):
        evaluate.retrieval(GOOD, LABEL - 1)


# ---------------------------------------------------------------------------------------------- maps of
# collapse

COLLAPSED = {
    "zeros": torch.zeros(N, 8),
    "ones": torch.ones(N, 8),
    "one row": torch.randn(1, 8, generator=torch.Generator().manual_seed(6)).repeat(N, 1),
    "rounding": torch.ones(N, 8) + 1e-7 * torch.randn(N, 8, generator=torch.Generator().manual_seed(7)),
}


@pytest.mark.parametrize("name", COLLAPSED)
def test_a_map_of_collapse_is_one_place_and_the_next_one_lives(name):
    dead = evaluate.living_map(COLLAPSED[name], perplexity=5.0, steps=20)
    assert dead.shape == (N, 2) and float(dead.abs().max()) == 0
    again = evaluate.living_map(GOOD, dead, perplexity=5.0, steps=20)
    assert torch.isfinite(again).all() and float(again.std(0).min()) > 0.05
    assert float(evaluate.living_map(COLLAPSED[name], again, perplexity=5.0, steps=20).abs().max()) == 0


@pytest.mark.parametrize(
    "previous",
    [
        torch.full((N, 2), math.nan),
        torch.zeros(N, 2),
        torch.stack([torch.linspace(-1, 1, N)] * 2, 1),
        torch.cat([torch.full((1, 2), math.inf), torch.zeros(N - 1, 2)]),
    ],
    ids=["NaN", "one place", "a line", "infinite"],
)
def test_no_map_poisons_the_next(previous):
    again = evaluate.living_map(GOOD, previous, perplexity=5.0, steps=40)
    long, short = torch.linalg.svdvals(again - again.mean(0)).tolist()
    assert torch.isfinite(again).all() and short > 0.1 * long
    assert torch.isfinite(live.map2d(GOOD, previous)).all() or torch.isfinite(previous).all()


def test_a_panel_outlives_an_epoch_without_places():
    with live.Panel(3, classes=("a", "b"), backend="silent") as panel:
        for epoch, xy in enumerate((GOOD[:, :2], GOOD[:, :2] * math.inf, GOOD[:, :2]), 1):
            panel.add({"epoch": epoch, "loss": 1.0}, xy=xy, labels=LABEL % 2)
            assert panel._reach < 10
    assert panel.replay.frames()[-1]["xy"] is not None
    assert np.abs(panel.replay.frames()[0]["xy"] - GOOD[:, :2].numpy()).max() < 0.01


@pytest.mark.slow  # another process imports scikit-learn
def test_tsne_of_nearly_nothing_leaves_the_process_alive():
    """scikit-learn's t-SNE ends the process on equal features, so this is asked of another one."""
    code = textwrap.dedent("""
        import torch
        from sslcourse import evaluate
        one = torch.ones(40, 8)
        outlier = one.clone(); outlier[0] = -1
        line = torch.linspace(0.1, 2, 40)[:, None] * torch.ones(8) + torch.eye(8)[0]
        for x in (one * 0, one, outlier, torch.eye(8).repeat(5, 1), one + 1e-7 * torch.randn(40, 8), line):
            y = evaluate.tsne(x, perplexity=5.0)
            print(bool(torch.isfinite(y).all()), float(y.abs().max()) == 0)
    """)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    lines = done.stdout.split("\n")[:-1]
    assert done.returncode == 0 and lines == [
        "True True",
        "True True",
        "True False",
        "True False",
        "True True",
        "True False",
    ], done.stderr[-500:]


def test_collapse_is_not_covered():
    """A generator that draws one picture, among pictures that are all alike, has no radius to be within."""
    one = torch.full((40, 12), 0.1)
    assert health.coverage(one, one) == 0
    assert 0 <= health.coverage(GOOD, 100 * one[:, :8]) < 0.2 and health.coverage(GOOD, GOOD) == 1
