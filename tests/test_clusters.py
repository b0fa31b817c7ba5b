"""RotNet and DeepCluster: turns that only move pixels, pseudo-labels in their place, weights that balance,
heads that begin anew.
"""

import copy

import pytest
import torch
import torch.nn.functional as F

from sslcourse import encoders
from sslcourse.methods import deepcluster, rotnet
from sslcourse.results.claims import clusters as claims
from sslcourse.runtime.errors import CourseError
from sslcourse.train import clustering
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe, optimizers_of
from sslcourse.transforms import augment

QUICK = Recipe(epochs=2, batch_size=32, lr=1e-3, max_steps=3)


def small(**arguments):
    torch.manual_seed(1)
    return deepcluster.DeepCluster(encoders.small_cnn(8), **{"clusters": 8, "capacity": 512, **arguments})


# ---------------------------------------------------------------------------------------------- RotNet


def test_turns_only_move_pixels():
    x = torch.rand(3, 3, 6, 6)
    turned, label = rotnet.rotations(x)
    assert turned.shape == (12, 3, 6, 6) and label.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    for k, part in enumerate(turned.chunk(4)):
        assert torch.equal(
            torch.rot90(part, -k, (2, 3)), x
        )  # turned back it is what it was, to the last digit
        assert torch.equal(part.flatten(2).sort(2).values, x.flatten(2).sort(2).values)
    half, which = rotnet.rotations(x, (0, 2))
    assert torch.equal(half[3:], x.flip(2, 3)) and which.tolist() == [0] * 3 + [1] * 3


def test_the_loss_is_the_papers_sum():
    torch.manual_seed(0)
    method = rotnet.RotNet(encoders.small_cnn(8), view=augment.identity).eval()
    x = torch.rand(5, 3, 32, 32)
    loss, found = method.loss({"image": x})
    slow, right = 0.0, 0
    for image in x:
        for y in range(4):  # eq. 3: over all pictures and all turns
            p = method.g(method.f(image.rot90(y, (1, 2))[None])).softmax(1)[0]
            slow, right = slow - p[y].log() / 20, right + int(p.argmax() == y)
    assert float(loss) == pytest.approx(float(slow), rel=1e-5) and float(
        found["turn found"]
    ) == pytest.approx(right / 20)


def test_the_view_comes_before_the_turn():
    """Cropped first: a crop drawn after the turn could tell by its border how the picture was turned."""
    seen = []

    def view(image):
        seen.append(image.shape)
        return augment.identity(image)

    method = rotnet.RotNet(encoders.small_cnn(8), view=view)
    assert method.views({"image": torch.rand(4, 3, 32, 32)})["turned"].shape[0] == 16 and seen == [
        (4, 3, 32, 32)
    ]


@pytest.mark.parametrize("turns", [(0,), (0, 0), (0, 4), (1, -1)])
def test_wrong_turns_are_answered(turns):
    with pytest.raises(CourseError, match="two different"):
        rotnet.RotNet(encoders.small_cnn(8), turns=turns)
    with pytest.raises(CourseError, match="crop them to a square"):
        rotnet.rotations(torch.rand(2, 3, 4, 6))


# ---------------------------------------------------------------------------------------------- DeepCluster


def test_edges_forget_colour_and_light():
    flat = torch.full((1, 3, 8, 8), 0.3)
    assert torch.equal(deepcluster.sobel(flat), torch.full((1, 3, 8, 8), 0.5))
    x = torch.rand(2, 3, 9, 9) * 0.5
    same_grey = x[:, [1, 2, 0]]
    torch.testing.assert_close(deepcluster.sobel(x), deepcluster.sobel(same_grey))
    torch.testing.assert_close(deepcluster.sobel(x), deepcluster.sobel(x + 0.2))
    ramp = (torch.arange(8.0) / 16).expand(1, 3, 8, 8)
    inside = deepcluster.sobel(ramp)[0, :, 2:-2, 2:-2]
    assert (
        torch.allclose(inside[0], inside[0, 0, 0])
        and inside[0, 0, 0] != 0.5
        and torch.allclose(inside[1], torch.tensor(0.5))
    )
    turned = deepcluster.sobel(ramp.transpose(2, 3))[0, :, 2:-2, 2:-2]
    torch.testing.assert_close(turned[1].abs(), inside[0].T.abs())
    torch.testing.assert_close(inside[2], 0.5 + (inside[:2] - 0.5).square().sum(0).sqrt())


def test_weights_make_all_clusters_count_alike():
    assigned = torch.tensor([0] * 6 + [1] * 3 + [3] * 1)
    weight = deepcluster.balance(assigned, 5)
    each = [float(weight[assigned][assigned == c].sum()) for c in (0, 1, 3)]
    assert each == pytest.approx([10 / 3] * 3) and weight[2] == weight[4] == 0
    # In expectation the weighted loss of a picture drawn at random is the loss of one that is drawn cluster
    # by cluster.
    loss = torch.rand(10, dtype=torch.float64)
    drawn = torch.stack([loss[assigned == c].mean() for c in (0, 1, 3)]).mean()
    assert float((weight[assigned] * loss).mean()) == pytest.approx(float(drawn))


def test_features_for_k_means_are_round_and_of_length_one():
    h = torch.randn(300, 16) @ torch.diag(torch.linspace(0.1, 5, 16))
    phi = deepcluster.phi(h, 8)
    assert phi.shape == (300, 8)
    torch.testing.assert_close(phi.norm(dim=1), torch.ones(300))
    variance = phi.var(0)
    assert variance.max() / variance.min() < 2


def test_pseudo_labels_belong_to_their_pictures(toys):
    """Whatever order the loop draws: picture i is told the cluster of its own plain features."""
    method = small(partition=lambda h, k: h.argmax(1) % k, view=augment.identity)
    method.before_epoch(0.0, toys.train, {})
    with torch.no_grad():
        h = method.features(toys.train)
    assert torch.equal(method.assigned[: len(h)], h.argmax(1) % 8) and (method.assigned[len(h) :] == -1).all()
    batch = next(toys.train.batches(32, torch.Generator().manual_seed(3)))
    method.eval()
    with torch.no_grad():
        logits = method.g(method.encode(batch))
        y = method.assigned[batch["index"]]
        weight = deepcluster.balance(method.assigned[: len(h)], 8)
        expected = (weight[y] * -logits.log_softmax(1)[torch.arange(32), y]).mean()
        assert float(method.loss(batch)[0]) == pytest.approx(float(expected), rel=1e-5)


def test_head_and_its_memory_begin_anew_and_the_encoders_stay(toys):
    method = small()
    optimizers = optimizers_of(method, QUICK)
    method.before_epoch(0.0, toys.train, optimizers)
    method.step(next(toys.train.batches(32)), optimizers)
    head, body = method.g.weight.clone(), [p.clone() for p in method.f.parameters()]
    assert optimizers["head"].state and optimizers["encoder"].state
    method.before_epoch(0.5, toys.train, optimizers)
    assert not torch.equal(head, method.g.weight) and method.g.weight.std() < 0.02 and not method.g.bias.any()
    assert not optimizers["head"].state and optimizers["encoder"].state
    assert all(torch.equal(a, b) for a, b in zip(body, method.f.parameters()))
    stays = small(fresh_head=False)
    optimizers = optimizers_of(stays, QUICK)
    before = stays.g.weight.clone()
    stays.before_epoch(0.0, toys.train, optimizers)
    assert torch.equal(before, stays.g.weight)


def test_the_head_keeps_its_learning_rate_and_the_encoder_follows_the_recipe(toys):
    """An independent loop: SGD without momentum, so that what a step moves is its rate times its gradient."""
    recipe = Recipe(epochs=1, batch_size=32, lr=0.4, optimizer="sgd", schedule="cosine", weight_decay=0.0)
    for head_lr, at in ((0.01, lambda lr: 0.01), (None, lambda lr: lr)):
        method = small(head_lr=head_lr, view=augment.identity)
        seen = []

        class Watched(deepcluster.DeepCluster):
            def step(self, batch, optimizers, seen=seen):
                asked = optimizers["encoder"].param_groups[0]["lr"]
                for group in (g for o in optimizers.values() for g in o.param_groups):
                    group["momentum"], group["nesterov"] = 0.0, False
                before = [self.g.bias.detach().clone(), next(self.f.parameters()).detach().clone()]
                result = super().step(batch, optimizers)
                after = [self.g.bias, next(self.f.parameters())]
                seen.append((asked, [(b - a) / p.grad for b, a, p in zip(before, after, after)]))
                return result

        method.__class__ = Watched
        fit(method, toys.train, recipe)
        assert len({asked for asked, _ in seen}) > 10  # the recipe's rate falls
        for asked, (head, body) in seen:
            assert float(head.detach().median()) == pytest.approx(at(asked), rel=0.02)
            if asked > 0.1:
                assert float(body.detach().median()) == pytest.approx(asked, rel=0.05)
    for wrong in (0.0, -1.0):
        with pytest.raises(CourseError, match="head_lr"):
            small(head_lr=wrong)


def test_a_checkpoint_from_before_the_head_had_a_rate_is_read_as_it_was():
    settings = deepcluster.SPEC.settings("course", True, 10)
    assert deepcluster.from_settings(encoders.small_cnn(8), settings).head_lr == settings["head_lr"] > 0
    del settings["head_lr"]
    assert deepcluster.from_settings(encoders.small_cnn(8), settings).head_lr is None


def test_clustering_takes_place_every_so_many_epochs(toys):
    method, seen = small(every=2), []
    for epoch in range(4):
        method.before_epoch(epoch / 4, toys.train, {})
        seen.append(method.assigned.clone())
        with torch.no_grad():
            for p in method.f.parameters():
                p.add_(0.1 * torch.randn_like(p))
    assert (
        torch.equal(seen[0], seen[1]) and torch.equal(seen[2], seen[3]) and not torch.equal(seen[1], seen[2])
    )
    assert float(method.agreement) == pytest.approx(clustering.nmi(seen[2][:512], seen[0][:512]), abs=1e-6)


def test_an_empty_network_is_answered_by_full_clusters(toys):
    """All features alike: a trivial solution. k-means splits what it can, and nothing becomes NaN."""
    method = small()
    with torch.no_grad():
        for p in method.f.parameters():
            p.zero_()
    method.before_epoch(0.0, toys.train, {})
    assert torch.isfinite(method.weight).all()
    loss, _ = method.loss(next(toys.train.batches(32)))
    assert torch.isfinite(loss)


def test_wrong_settings_are_answered(toys):
    for arguments, words in (
        (dict(clusters=0), "whole number"),
        (dict(capacity=100), "capacity=512"),
        (dict(clusters=600), "clusters=25"),
    ):
        with pytest.raises(CourseError, match=words):
            small(**arguments).before_epoch(0.0, toys.train, {})
    with pytest.raises(CourseError, match="before_epoch"):
        small().loss(next(toys.train.batches(8)))
    with pytest.raises(CourseError, match="index"):
        small().loss({"image": torch.rand(4, 3, 32, 32)})


def test_other_pictures_do_not_inherit_pseudo_labels(toys):
    method = small()
    fit(method, toys.train, QUICK)
    twin = copy.deepcopy(method)
    fit(twin, toys.train.take(slice(0, 128)), QUICK)
    assert (twin.assigned[:128] >= 0).all()
    assert F.one_hot(twin.assigned[:128], 8).sum(0).max() < 128


# ---------------------------------------------------------------------------------------------- claims


def _results(**changes):
    """Everything alike, but for `run__number=value`."""
    names = (
        "DeepCluster",
        "DeepCluster, untrained",
        "DeepCluster, colours",
        "DeepCluster, as many clusters as shapes",
        "RotNet",
        "RotNet, untrained",
        "RotNet, half turns",
        "RotNet, conv4",
        "RotNet, conv5",
    )
    results = {name: {"linear": 0.5, "agreement at first": 0.4, "agreement at last": 0.4} for name in names}
    for key, value in changes.items():
        name, _, number = key.partition("__")
        results[name][number.replace("_", " ")] = value
    return results


def test_claims_are_positive_where_the_papers_are_right():
    right = {
        "deepcluster_learns": {"DeepCluster, untrained__linear": 0.4},
        "clusters_settle": {"DeepCluster__agreement_at_last": 0.5},
        "many_clusters": {"DeepCluster, as many clusters as shapes__linear": 0.4},
        "edges": {"DeepCluster, colours__linear": 0.4},
        "rotnet_learns": {"RotNet, untrained__linear": 0.4},
        "four_turns": {"RotNet, half turns__linear": 0.4},
        "middle_layer": {"RotNet, conv5__linear": 0.4},
    }
    assert {c.name for c in claims.CLAIMS} == set(right)
    for claim in claims.CLAIMS:
        assert claim.effect(_results()) == 0 and claim.effect(_results(**right[claim.name])) == pytest.approx(
            0.1
        ), claim.name


@pytest.mark.slow
def test_the_runs_hold_all_that_the_claims_ask_for(toys):
    results = claims.runs(0, toys, QUICK, QUICK, say=lambda text: None)
    assert all(isinstance(c.effect(results), float) for c in claims.CLAIMS)
    assert toys.test.openings[-1] == "claims.clusters"


def test_there_is_room_for_real_data_whatever_the_recipe():
    for recipe in ("course", "gpu"):
        assert (
            deepcluster.SPEC.settings(recipe, False, 10)["capacity"] >= 50_000
        )  # all of CIFAR-10's training pictures
