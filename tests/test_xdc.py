"""XDC and its rivals: who is handed whose clusters, the loss against its loop, what a clustering may and may
not touch, what resumes.
"""

import collections
import copy
import functools
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslcourse import encoders, evaluate
from sslcourse.data.datasets import Data, Samples
from sslcourse.methods import catalogue, xdc
from sslcourse.results.claims import xdc as claims
from sslcourse.results.tables import xdc as table, xdc_nuisance as nuisance
from sslcourse.runtime.errors import CourseError
from sslcourse.train import checkpoints, clustering, features
from sslcourse.train.loop import epochs, fit
from sslcourse.train.recipe import Recipe, optimizers_of

QUICK = Recipe(epochs=2, batch_size=16, lr=1e-3, max_steps=2)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def planted(n=96, seed=0, split="train"):
    """Clips whose picture is in one of four greys and whose sound has one of four pitches, drawn apart: two
    partitions that are known.
    """
    g = torch.Generator().manual_seed(seed)
    grey, pitch = torch.randint(4, (n,), generator=g), torch.randint(4, (n,), generator=g)
    noise = torch.randint(-6, 7, (n, 3, 4, 16, 16), generator=g)
    video = (grey.view(-1, 1, 1, 1, 1) * 60 + 30 + noise).to(torch.uint8)
    t = torch.arange(1600) / 8000
    audio = 0.5 * torch.sin(
        2 * torch.pi * (300 * 2**pitch)[:, None] * t + torch.rand(n, 1, generator=g)
    ) + 0.01 * torch.randn(n, 1600, generator=g)
    return Samples(
        video=video,
        audio=audio.clamp(-1, 1),
        rate=8000,
        fps=20,
        label=grey,
        classes=tuple("abcd"),
        factors={"pitch": pitch},
        factor_names={"pitch": tuple("wxyz")},
        split=split,
        name="planted",
    )


class Grey(nn.Module):
    """An eye that sees one thing: how bright it is. (Its weight is there to be learned, and to tell one eye
    from another.)
    """

    dim = 3

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def reset_parameters(self):
        nn.init.normal_(self.scale, 1, 0.1)

    def forward(self, video):
        level = video.mean((1, 2, 3, 4))[:, None]
        return torch.cat([torch.cos(3 * level), torch.sin(3 * level), level], 1) * self.scale


class Pitch(nn.Module):
    """An ear that hears one thing: which third of the bands is the loudest."""

    dim = 32

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(32))

    def reset_parameters(self):
        nn.init.normal_(self.scale, 1, 0.1)

    def forward(self, logmel):
        return logmel.mean((1, 3)).softmax(1) * self.scale


def small(variant="xdc", **arguments):
    torch.manual_seed(1)
    return xdc.XDC(
        encoders.small_clip(8, still=1.0),
        encoders.small_mel(8),
        variant=variant,
        **{"clusters": 4, "every": 1, **arguments},
    )


def known(variant="xdc", **arguments):
    torch.manual_seed(1)
    return xdc.XDC(Grey(), Pitch(), variant=variant, **{"clusters": 4, "every": 1, "pca": 0, **arguments})


@pytest.fixture(scope="module")
def clips():
    return planted()


# --------------------------------------------------------------------------------------------- whose clusters


# said once more, in words of the paper's figure: head -> the modality whose clusters it is taught
EXPECTED = {
    "sdc": {"eye of eye": "picture", "ear of ear": "sound"},
    "mdc": {"eye of eye": "picture", "eye of ear": "sound", "ear of ear": "sound", "ear of eye": "picture"},
    "cdc": {"eye of eye + ear": "both", "ear of eye + ear": "both"},
    "xdc": {"eye of ear": "sound", "ear of eye": "picture"},
    "pair": {
        "eye of second eye": "picture",
        "second eye of eye": "picture",
        "ear of second ear": "sound",
        "second ear of ear": "sound",
    },
}


@pytest.mark.parametrize("variant", EXPECTED)
def test_each_head_is_handed_the_clusters_that_the_paper_says(variant, clips):
    """Planted partitions are found (NMI 1), and after shuffling each clip still comes with its own number,
    from the right modality.
    """
    taught = []

    def recorded(logits, label, size, balance):
        taught.append((label, size))
        return xdc.cluster_loss(logits, label, size, balance)

    method = known(variant, clusters=16 if variant == "cdc" else 4, loss=recorded)
    method.before_epoch(0, clips, {})
    truth = {
        "picture": clips.label,
        "sound": clips.factors["pitch"],
        "both": clips.label * 4 + clips.factors["pitch"],
    }
    assert list(method.heads) == list(EXPECTED[variant])
    batch = next(clips.batches(48, torch.Generator().manual_seed(3)))
    assert not torch.equal(batch["index"], batch["index"].sort().values)
    method.loss(batch)
    assert len(taught) == len(method.heads)
    for (head, what), (label, size) in zip(EXPECTED[variant].items(), taught):
        assert clustering.nmi(label, truth[what][batch["index"]]) == pytest.approx(1), (head, what)
        found = method.clusters_of(head.split(" of ")[1], len(clips))
        assert torch.equal(label, found[batch["index"]]) and torch.equal(
            size, torch.bincount(found, minlength=method.clusters)
        )


def test_the_four_methods_differ_in_a_row_of_the_table_only():
    heads = {variant: len(small(variant).heads) for variant in ("sdc", "mdc", "cdc", "xdc")}
    assert heads == {"sdc": 2, "mdc": 4, "cdc": 2, "xdc": 2}
    networks = [
        {k: v for k, v in small(variant).state_dict().items() if k.startswith(("f.", "ear."))}
        for variant in heads
    ]
    assert all(
        torch.equal(a, b) for other in networks[1:] for a, b in zip(networks[0].values(), other.values())
    )  # they start as the same
    with pytest.raises(CourseError, match="sdc, mdc, cdc, xdc, pair"):
        small("xcd")


def test_your_table_is_the_one_that_trains(clips):
    method = known(whose=lambda variant: {"eye": ("ear",), "ear": ("ear",)})
    fit(method, clips, QUICK.but(epochs=1))
    assert list(method.heads) == ["eye of ear", "ear of ear"] and method.partitions == ("ear",)
    joined = []
    known("cdc", joint=lambda *h: joined.append(len(h)) or xdc.joint(*h)).before_epoch(0, clips, {})
    assert joined == [2]


def test_eye_and_ear_share_nothing(clips):
    """Each network's gradient is that of its own heads: the other modality acts through the labels alone."""
    for variant in EXPECTED:
        method = small(variant, view=lambda films: films / 255, shift=0)
        method.before_epoch(0, clips, {})
        batch = clips.batch(torch.arange(32))
        eye, ear = list(method.f.parameters()), list(method.ear.parameters())
        whole = torch.autograd.grad(method.loss(batch)[0], eye)
        for name, head in method.heads.items():
            if name.startswith(("ear", "second")):
                nn.init.zeros_(head.weight)  # then nothing flows into the ear, or the twins
        assert all(torch.equal(a, b) for a, b in zip(whole, torch.autograd.grad(method.loss(batch)[0], eye)))
        assert not any(g.any() for g in torch.autograd.grad(method.loss(batch)[0], ear))


# ---------------------------------------------------------------------------------------------- the loss


def by_hand(logits, label, size, balance):
    """Clip by clip: the weight of each cluster, so scaled that over the whole set a clip weighs 1 in the
    mean.
    """
    sizes = [int(s) for s in size]
    n = sum(sizes)
    raw = [s**-balance if s else 0.0 for s in sizes]
    scale = n / sum(w * s for w, s in zip(raw, sizes))
    terms = [scale * raw[int(y)] * (torch.logsumexp(row, 0) - row[int(y)]) for row, y in zip(logits, label)]
    return sum(terms) / len(terms)


SIZE = torch.tensor([30, 1, 0, 9, 60])
LABEL = torch.tensor([0, 0, 3, 4, 4, 1, 4])


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_the_loss_is_the_loop_in_value_and_gradient(balance):
    logits = draw(7, 5).requires_grad_()
    ours, theirs = xdc.cluster_loss(logits, LABEL, SIZE, balance), by_hand(logits, LABEL, SIZE, balance)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        *(torch.autograd.grad(v, logits)[0] for v in (ours, theirs)), rtol=1e-10, atol=1e-12
    )
    assert torch.autograd.gradcheck(
        lambda x: xdc.cluster_loss(x, LABEL, SIZE, balance), draw(7, 5).requires_grad_()
    )


def test_the_loss_at_its_two_ends():
    """0 is plain cross-entropy; 1, over the whole set, is what drawing a cluster first and then a clip of it
    gives.
    """
    label = torch.repeat_interleave(torch.arange(5), SIZE)
    logits = draw(len(label), 5)
    torch.testing.assert_close(xdc.cluster_loss(logits, label, SIZE, 0.0), F.cross_entropy(logits, label))
    each = F.cross_entropy(logits, label, reduction="none")
    drawn = torch.stack([each[label == c].mean() for c in range(5) if SIZE[c]]).mean()
    torch.testing.assert_close(xdc.cluster_loss(logits, label, SIZE, 1.0), drawn)
    for balance in (0.0, 0.5, 1.0):  # a clip weighs 1 in the mean, so a head that knows nothing has log k
        assert float(xdc.cluster_loss(torch.zeros(len(label), 5), label, SIZE, balance)) == pytest.approx(
            torch.log(torch.tensor(5.0)).item()
        )
    order = torch.tensor([3, 0, 4, 2, 1])
    renamed = xdc.cluster_loss(logits[:, order.argsort()], order[label], SIZE[order.argsort()], 0.5)
    torch.testing.assert_close(renamed, xdc.cluster_loss(logits, label, SIZE, 0.5))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_loss_stays_finite(dtype):
    logits = (draw(7, 5) * 300).to(dtype).requires_grad_()
    loss = xdc.cluster_loss(logits, LABEL, SIZE)
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert torch.isfinite(torch.autograd.grad(loss, logits)[0]).all()


# ---------------------------------------------------------------------------------------------- clusters


def test_joint_distances_are_the_sum_of_both():
    a, b = draw(6, 4), 100 * draw(6, 7, seed=1)
    found = torch.cdist(xdc.joint(a, b), xdc.joint(a, b)).square()
    expected = sum(torch.cdist(F.normalize(x, dim=1), F.normalize(x, dim=1)).square() for x in (a, b))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        xdc.joint(a, b / 1000), xdc.joint(a, b)
    )  # how loud a modality is decides nothing
    torch.testing.assert_close(xdc.joint(a), F.normalize(a, dim=1))


def test_k_means_keeps_its_tightest_run():
    x = F.normalize(draw(200, 3), dim=1)
    torch.manual_seed(0)
    runs = [clustering.kmeans(x, 12, iterations=50) for _ in range(4)]
    torch.manual_seed(0)
    best = min(runs, key=lambda r: r.inertia)
    assert torch.equal(xdc.by_kmeans(4)(x, 12), best.label) and best.inertia < max(r.inertia for r in runs)


def test_a_clustering_reads_plain_clips_in_eval_mode_and_leaves_the_networks_alone(clips):
    method = small().train()
    before = {k: v.clone() for k, v in method.state_dict().items()}
    h = method.features(clips)
    assert all(m.training for m in method.modules())
    assert all(torch.equal(v, before[k]) for k, v in method.state_dict().items())  # batch statistics too
    torch.testing.assert_close(h["eye"], features.extract(method, clips), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(h["ear"], features.extract(method.ear, clips), rtol=1e-5, atol=1e-6)
    assert all(
        torch.equal(a, b) for a, b in zip(h.values(), method.features(clips).values())
    )  # nothing is drawn


def test_every_some_epochs_there_are_new_clusters_and_heads_that_know_nothing(clips):
    method = small(every=2)
    optimizers = optimizers_of(method, QUICK)
    seen = []
    for epoch in range(4):
        kept, agreed = {k: v.clone() for k, v in method.heads.state_dict().items()}, method.assigned.clone()
        method.before_epoch(epoch / 4, clips, optimizers)
        fresh = epoch % 2 == 0
        assert all(torch.equal(v, kept[k]) is not fresh for k, v in method.heads.state_dict().items())
        assert bool(optimizers["heads"].state) is not fresh and bool(optimizers["networks"].state) is bool(
            epoch
        )
        if not fresh:
            assert torch.equal(agreed, method.assigned)
        seen.append(method.assigned[:, : len(clips)].clone())
        for batch in clips.batches(32):
            method.train()
            method.step(batch, optimizers)
    assert (seen[0] >= 0).all() and (method.size.sum(1) == len(clips)).all()
    for row, name in enumerate(method.partitions):
        assert torch.equal(method.clusters_of(name, len(clips)), seen[-1][row])
        assert float(method.agreement[row]) == pytest.approx(
            clustering.nmi(seen[2][row], seen[1][row]), abs=1e-6
        )
        assert torch.equal(method.size[row], torch.bincount(seen[-1][row], minlength=4))
    stubborn = small(fresh_heads=False)
    kept = copy.deepcopy(stubborn.heads.state_dict())
    stubborn.before_epoch(0, clips, optimizers_of(stubborn, QUICK))
    assert all(torch.equal(v, kept[k]) for k, v in stubborn.heads.state_dict().items())


def test_a_pair_are_strangers_of_one_modality(clips):
    method = small("pair")
    assert set(method.twins) == {"second eye", "second ear"}
    mine, other = method.f.state_dict(), method.twins["second eye"].state_dict()
    assert (
        any(not torch.equal(v, other[k]) for k, v in mine.items())
        and len(encoders.Stages.layers.fget(method.f)) == 4
    )
    rows = fit(method, clips, QUICK)
    assert {"eye finds", "second eye finds", "ear finds", "second ear finds"} <= set(rows[-1])
    parameters = sum(p.numel() for group in method.trainable().values() for p in group)
    assert parameters == sum(p.numel() for p in method.parameters())


@pytest.mark.parametrize("variant", ["pair", "cdc"])
def test_a_run_that_was_killed_goes_on_with_its_pseudo_labels(variant, clips, tmp_path):
    recipe, file = QUICK.but(epochs=3), tmp_path / "run.safetensors"
    whole = small(variant, every=2)
    fit(whole, clips, recipe)
    for row in epochs(small(variant, every=2), clips, recipe, checkpoint=file):
        if row["epoch"] == 1:
            break
    again = small(variant, every=2)
    fit(again, clips, recipe, checkpoint=file)
    for (k, a), b in zip(whole.state_dict().items(), again.state_dict().values()):
        assert torch.equal(a, b), k


def test_it_goes_on_from_networks_that_know_something(clips):
    """Given encoders are taken as they are: the first clusters are those of what they know already."""
    eye, ear = encoders.small_clip(8, still=1.0).eval(), encoders.small_mel(8).eval()
    method = xdc.XDC(copy.deepcopy(eye), copy.deepcopy(ear), clusters=4, pca=0)
    torch.manual_seed(0)
    method.before_epoch(0, clips, {})
    torch.manual_seed(0)
    h = torch.cat([eye(batch["video"] / 255) for batch in clips.batches(64)]).detach()
    expected = xdc.by_kmeans()(F.normalize(features.extract(method.ear, clips), dim=1), 4)
    assert torch.equal(method.clusters_of("ear", len(clips)), expected)
    torch.testing.assert_close(method.features(clips)["eye"], h, rtol=1e-4, atol=1e-5)


# ----------------------------------------------------------------------------------- pseudo-labels for others


@pytest.mark.parametrize("hears", [False, True])
def test_a_pupil_learns_what_its_teacher_found(hears, clips):
    label = clips.factors["pitch"] if hears else clips.label
    torch.manual_seed(0)
    pupil = xdc.Pupil(encoders.small_mel(16) if hears else encoders.small_clip(16, still=1.0), label, hears)
    rows = fit(pupil, clips.unlabelled(), Recipe(epochs=12, batch_size=16, lr=5e-3))
    assert rows[-1]["found"] > 0.9 > rows[0]["found"]  # it does not read batch["label"], which is -1
    held = planted(60, 5, "validation")
    scores = evaluate.probe(pupil, Data(clips, held, planted(20, 6, "test")))["kNN"]
    assert scores > 0.8 if not hears else scores < 0.6  # the label of these clips is what is seen


def test_a_pupil_needs_the_clips_that_its_labels_belong_to(clips):
    for wrong in (clips.label[None], clips.label - 1, clips.label[:0]):
        with pytest.raises(CourseError, match="one class number"):
            xdc.Pupil(encoders.small_clip(8, still=1.0), wrong)
    with pytest.raises(CourseError, match="96 labels for 40 clips"):
        fit(xdc.Pupil(encoders.small_clip(8, still=1.0), clips.label), clips.take(slice(0, 40)), QUICK)
    assert torch.equal(
        xdc.Pupil(encoders.small_clip(8, still=1.0), clips.label).state_dict()["label"], clips.label
    )


# --------------------------------------------------------------------------------- errors, settings, encoders


def test_wrong_arguments_and_data_say_what_to_type(clips):
    for wrong in (dict(clusters=0), dict(every=0), dict(capacity=-1)):
        with pytest.raises(CourseError, match="whole number"):
            small(**wrong)
    with pytest.raises(CourseError, match="capacity=96"):
        fit(small(capacity=50), clips, QUICK)
    with pytest.raises(CourseError, match="clusters=4"):
        fit(small(clusters=200), clips, QUICK)
    with pytest.raises(CourseError, match="rate=16000"):
        fit(small(), Samples(video=clips.video, audio=clips.audio, rate=16000), QUICK)
    with pytest.raises(CourseError, match="no sound"):
        fit(small(), Samples(video=clips.video), QUICK)
    with pytest.raises(CourseError, match="before_epoch"):
        small().loss(clips.batch(torch.arange(4)))
    method = small()
    method.before_epoch(0, clips, {})
    with pytest.raises(CourseError, match='"index"'):
        method.loss({"video": clips.video[:4]})
    with pytest.raises(CourseError, match="ear, eye"):
        method.clusters_of("eye + ear", 4)
    with pytest.raises(CourseError, match="as many first"):
        method.clusters_of("eye", 97)


def test_settings_build_what_they_describe(clips):
    for recipe in ("course", "gpu"):
        found = xdc.SPEC.settings(recipe, True, 6)
        method = xdc.SPEC.build(encoders.small_clip(8, still=1.0), found)
        assert (
            method.variant == "xdc"
            and method.clusters == found["clusters"]
            and method.ear.f.dim == (64 if recipe == "course" else 512)
        )
    assert xdc.SPEC.settings("gpu", False, 6)["rate"] == 16_000
    about = catalogue.describe("xdc", "toyevents", 6, changes=["variant=sdc", "clusters=5", "every=2"])
    method = catalogue.build(about)
    assert (method.variant, method.clusters, method.every) == ("sdc", 5, 2) and about[
        "encoder"
    ] == "small_clip"
    assert "xdc" in catalogue.methods_for("toyevents") and catalogue.spec("xdc").data == "toyevents"


def test_both_halves_can_be_judged(clips):
    data = Data(clips, planted(40, 5, "validation"), planted(40, 6, "test"))
    method = known()
    assert evaluate.probe(method, data)["kNN"] > 0.95  # the label is the grey
    assert evaluate.probe(method.ear, data)["kNN"] < 0.5
    heard = evaluate.factor_table({"eye": method, "ear": method.ear}, data)
    assert heard["ear"]["pitch"] > 0.9 > 0.3 > heard["eye"]["pitch"]


def test_the_encoders_of_whole_films():
    net = encoders.small_clip()
    assert encoders.parameters(net) == 183_664
    film = torch.rand(2, 3, 16, 32, 32)
    assert net.eval()(film).shape == (2, net.dim) and list(net.layers) == ["conv1", "conv2", "conv3", "conv4"]
    assert (net(film) - net(film.flip(2))).abs().max() > 1e-3  # a film backwards is another film
    whole = encoders.small_clip(still=1.0).eval()
    torch.testing.assert_close(whole(film), whole.stages(film * 4 - 2).mean((2, 3, 4)))
    with torch.device("meta"):
        large = encoders.r2plus1d_18()
        assert large(torch.rand(2, 3, 8, 112, 112)).shape == (2, 512) and large.dim == 512
    assert encoders.parameters(large) == pytest.approx(31.3e6, rel=1e-2)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_so_much_of_what_stands_still_is_seen_and_of_what_stays_is_heard(share):
    """Pixel by pixel and band by band; what moves is equally strong at every share."""
    torch.manual_seed(0)
    eye, ear = encoders.small_clip(8, still=share).eval(), encoders.small_mel(8, steady=share).eval()
    film, mel = torch.rand(2, 3, 8, 32, 32), torch.randn(2, 1, 32, 49)
    seen = eye.shown(film)
    for n, c, y, x in ((0, 0, 0, 0), (1, 2, 31, 5), (0, 1, 7, 30)):
        pixel = film[n, c, :, y, x]
        expected = 4 * (pixel - pixel.mean()) + share * (4 * pixel.mean() - 2)
        torch.testing.assert_close(seen[n, c, :, y, x], expected, rtol=1e-4, atol=1e-5)
    heard = mel.clone()
    for n, band in itertools.product(range(2), range(32)):
        heard[n, 0, band] -= (1 - share) * mel[n, 0, band].mean()
    torch.testing.assert_close(ear(mel), ear.stages(ear.standard(heard)).mean((2, 3)), rtol=1e-4, atol=1e-5)
    # Another background, another channel: at 0 nothing of it arrives, at 1 all of it.
    grounds, channel = torch.rand(2, 3, 1, 32, 32), torch.randn(2, 1, 32, 1)
    moved = (eye(0.5 * film) - eye(0.5 * film + 0.5 * grounds)).abs().max()
    told = (ear(mel) - ear(mel + channel)).abs().max()
    assert (moved < 1e-4 and told < 1e-4) if share == 0 else (moved > 1e-4 and told > 1e-4)


def test_the_share_belongs_to_the_checkpoint_and_old_ones_saw_everything(tmp_path):
    method = xdc.XDC(encoders.small_clip(8, still=0.3), encoders.small_mel(8, steady=0.2), clusters=4)
    file = checkpoints.save(tmp_path / "new.safetensors", method)
    again = xdc.XDC(encoders.small_clip(8), encoders.small_mel(8), clusters=4)
    checkpoints.load(file, again)
    film, mel = torch.rand(2, 3, 8, 32, 32), torch.randn(2, 1, 32, 49)
    method.eval()
    assert torch.equal(method.f(film), again.f(film)) and torch.equal(method.ear.f(mel), again.ear.f(mel))
    # A file from before there were shares, as it was written then.
    state = checkpoints.read(file)
    old = {k: v for k, v in state.tensors.items() if not k.endswith("share")}
    assert len(state.tensors) - len(old) == 2
    state.tensors.clear()
    state.tensors.update(old)
    checkpoints.load_weights(state, again)
    whole = xdc.XDC(encoders.small_clip(8, still=1.0), encoders.small_mel(8, steady=1.0), clusters=4)
    whole.load_state_dict({**again.state_dict()})
    assert torch.equal(again.f.shown(film), film * 4 - 2) and torch.equal(
        whole.eval().f(film), again.eval().f(film)
    )
    about = catalogue.describe("xdc", "toyevents", 6)
    built = {k: tuple(v.shape) for k, v in catalogue.build(about).state_dict().items()}
    told = {k: v for k, v in built.items() if not k.endswith("share")}
    assert len(built) - len(told) == 2
    catalogue.build(about, told)  # nor is it refused by what looks at the shapes first
    with pytest.raises(CourseError, match="train it again"):  # what else lacks is an error, as before
        state.tensors.pop("method/heads.eye of ear.bias")
        checkpoints.load_weights(state, again)


def test_the_share_is_set_by_name():
    for changes, still, steady in (([], 0, 0), (["still=1", "steady=0.5"], 1, 0.5)):
        method = catalogue.build(catalogue.describe("xdc", "toyevents", 6, changes=changes))
        assert float(method.f.still.share) == still and float(method.ear.f.steady.share) == steady
    old = xdc.SPEC.settings("course", True, 6)
    del old["still"], old["steady"]
    method = xdc.from_settings(encoders.small_clip(8), old)  # as checkpoints were written before
    assert float(method.f.still.share) == float(method.ear.f.steady.share) == 1
    assert (
        float(xdc.from_settings(encoders.r2plus1d_18(), xdc.SPEC.settings("gpu", False, 6)).f.still.share)
        == 1
    )
    of_avts = xdc.from_settings(encoders.small_mc3(8, still=True), xdc.SPEC.settings("course", True, 6))
    assert of_avts.f.still is False
    for wrong in (-0.1, 1.2):
        with pytest.raises(CourseError, match="from 0"):
            encoders.small_clip(8, still=wrong)
        with pytest.raises(CourseError, match="from 0"):
            encoders.small_mel(8, steady=wrong)
    with pytest.raises(CourseError, match="still=1"):
        xdc.from_settings(encoders.small_3d(8), xdc.SPEC.settings("course", True, 6))


# ---------------------------------------------------------------------------------------------- claims


def test_the_effects_of_the_claims_are_positive_where_the_paper_is_right():
    """For each claim: a run, one of its numbers, and the way in which a tenth more of it moves the effect."""
    moves = {
        **{
            f"{part}: {a} above {b}": [(a, f"{part} kNN", 1), (b, f"{part} kNN", -1)]
            for part in ("eye", "ear")
            for a, b in (("XDC", "CDC"), ("CDC", "MDC"), ("MDC", "SDC"))
        },
        **{
            f"{part}: {name} learns": [(name, f"{part} kNN", 1), ("random", f"{part} kNN", -1)]
            for part in ("eye", "ear")
            for name in ("XDC", "CDC", "MDC", "SDC")
        },
        **{
            f"pair, {part}": [("XDC", f"{part} kNN", 1), ("pair", f"{part} kNN", -1)]
            for part in ("eye", "ear")
        },
        **{
            f"still: {name}": [(name, "eye kNN", 1), (f"{name}, seen", "eye kNN", -1)]
            for name in ("SDC", "MDC", "CDC")
        },
        "less: CDC": [("CDC, less", "eye kNN", 1), ("SDC, less", "eye kNN", -1)],
        "less: MDC": [("MDC, less", "eye kNN", 1), ("SDC, less", "eye kNN", -1)],
        "less: gap": [
            ("XDC, seen", "eye kNN", 1),
            ("CDC, seen", "eye kNN", -1),
            ("XDC, less", "eye kNN", -1),
            ("CDC, less", "eye kNN", 1),
        ],
        "venue, eye": [
            ("XDC, venue", "eye clusters, background", 1),
            ("XDC, seen", "eye clusters, background", -1),
        ],
        "venue, ear": [
            ("XDC, venue", "ear clusters, channel", 1),
            ("XDC, seen", "ear clusters, channel", -1),
        ],
        "transfer": [("pupil", "eye kNN", 1), ("random pupil", "eye kNN", -1)],
        "transfer, teacher": [("pupil", "eye kNN", 1), ("XDC", "eye kNN", -1)],
        **{
            f"{part}: {factor}": [("XDC", f"{part}: {factor}", 1), ("random", f"{part}: {factor}", -1)]
            for part in ("eye", "ear")
            for factor in ("size", "force", "material")
        },
        **{
            f"{part}: {factor}": [
                ("XDC, seen", f"{part}: {factor}", -1),
                ("random, seen", f"{part}: {factor}", 1),
            ]
            for part, factor in (("eye", "background"), ("eye", "direction"), ("ear", "channel"))
        },
    }
    assert set(moves) == {c.name for c in claims.CLAIMS} and len(claims.CLAIMS) == len(moves)
    level = collections.defaultdict(lambda: collections.defaultdict(lambda: 0.5))
    for claim in claims.CLAIMS:
        assert claim.effect(level) == 0, claim.name
        for run, key, way in moves[claim.name]:
            changed = copy.deepcopy(level)
            changed[run][key] = 0.6
            assert claim.effect(changed) == pytest.approx(0.1 * way), (claim.name, run)


@pytest.mark.slow
def test_the_runs_train_what_the_claims_compare(monkeypatch):
    made, lines = [], []

    def events(*sizes, **knobs):
        made.append((sizes, knobs))
        return tiny(len(made))

    monkeypatch.setattr(claims.toybox, "events", events)
    data = tiny(0)
    found = claims.runs(0, data, QUICK.but(max_steps=1), lines.append)
    assert (
        made == [((32, 24, 24), {"seed": 0, **knobs}) for knobs in (claims.LESS, claims.VENUE)]
        and len(data.test.openings) == 1
    )
    assert {"XDC", "CDC", "MDC", "SDC", "pair", "random", "pupil", "random pupil", "XDC, venue"} < set(found)
    for claim in claims.CLAIMS:
        assert isinstance(claim.effect(found), float), claim.name
    first = claims.new("xdc", 3).state_dict()
    assert all(
        torch.equal(first[k], v)
        for k, v in claims.new("sdc", 3).state_dict().items()
        if k.startswith(("f.", "ear."))
    )


@functools.cache
def tiny(seed):
    from sslcourse.data.toybox import (
        sounding,
    )  # `toybox.events` itself is replaced in the tests that need this

    return sounding.events(32, 24, 24, seed=seed, cache=False)


# ---------------------------------------------------------------------------------------------- tables


@pytest.mark.slow
def test_the_tables_train_every_row(monkeypatch):
    monkeypatch.setattr(table.toybox, "events", lambda *sizes, **knobs: tiny(0))
    monkeypatch.setattr(nuisance.toybox, "events", lambda *sizes, **knobs: tiny(0))
    monkeypatch.setattr(table, "RECIPE", QUICK.but(max_steps=1))
    monkeypatch.setattr(nuisance, "RECIPE", QUICK.but(max_steps=1))
    rows = table.measure(seeds=1, say=lambda text: None, epochs=1)
    assert [row[""] for row in rows] == list(table.ROWS)
    empty = {(row[""], key) for row in rows for key in table.COLUMNS if row[key] == "–"}
    assert empty == {
        (name, f"{part} fine-tuned") for name in ("raw input", "supervised") for part in ("eye", "ear")
    }
    monkeypatch.setattr(nuisance, "ROWS", {name: nuisance.ROWS[name] for name in ("strength 0", "one venue")})
    rows = nuisance.measure(seeds=1, say=lambda text: None, epochs=1)
    assert [row[""] for row in rows] == ["strength 0", "one venue"] and all(
        value != "–" for row in rows for value in row.values()
    )


# -------------------------------------------------------------------------------- pictures, and that it works


def test_the_pictures_say_what_is_there():
    from sslcourse import show

    g = torch.Generator().manual_seed(0)
    label = torch.randint(3, (60,), generator=g)
    first = torch.randint(4, (60,), generator=g)
    picture = show.flow([first, label * 2], label, ("a", "b", "c"), ("before", "after"))
    ax = picture.axes[0]
    moved = {(int(c), int(d)) for c, d in zip(first, label * 2)}
    assert len(ax.collections) == 4 + 3 + len(
        moved
    )  # bars of the clusters that are in use, and a band for each pair that any sample goes between
    bars = [c.get_paths()[0].get_extents().height for c in ax.collections[:4]]
    sizes = sorted(torch.bincount(first).tolist())
    assert sorted(bars) == pytest.approx([s / 60 * (1 - 3 * 0.012) for s in sizes])
    pale = [c.get_alpha() for c in ax.collections[:7]]
    assert pale[4:] == [1.0] * 3 and min(pale[:4]) < 0.6  # clusters that are classes have full colours
    assert len(
        show.flow([first, label * 2], label, ("a", "b", "c"), least=0.1).axes[0].collections
    ) < 4 + 3 + len(moved)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["before", "after"]
    drawn = show.plane(
        {"XDC": [(0, 0.5), (0.2, 0.3), (0.4, 0.1)], "SDC": [(0, 0.5)]}, "shared", "private", "where they go"
    )
    assert len(drawn.axes[0].texts) == 2 and len(drawn.axes[0].lines) == 4 and len(show.png(drawn)) > 2000
    for wrong in (
        lambda: show.flow([first], label, ("a", "b", "c")),
        lambda: show.flow([first, first[:9]], label, ("a", "b", "c")),
        lambda: show.flow([first, first - 9], label, ("a", "b", "c")),
        lambda: show.plane({}, "x", "y"),
        lambda: show.plane({"a": []}, "x", "y"),
    ):
        with pytest.raises(CourseError):
            wrong()


@pytest.mark.slow
def test_the_eye_learns_the_event_from_the_ear_and_not_from_itself():
    """At a size at which all seeds of the claims did."""
    from sslcourse.data.toybox import sounding

    data, scores = sounding.events(800, 200, 1), {}
    for name, kind in (("XDC", {}), ("SDC", {}), ("SDC, seen", claims.SEEN)):
        method = claims.new(claims.VARIANTS[name[:3]], 1, **kind)
        fit(method, data.train.unlabelled(), claims.RECIPE.but(seed=1))
        scores[name] = evaluate.probe(method, data, linear=False)["kNN"]
        scores[f"{name}, background"] = claims.agreement(method, data)["eye clusters, background"]
    assert scores["XDC"] > scores["SDC"] + 0.1
    # By what stands still, where it is seen.
    assert scores["SDC"] > scores["SDC, seen"] + 0.05
    assert scores["SDC, seen, background"] > scores["SDC, background"] + 0.1
