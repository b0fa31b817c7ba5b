"""GAN and BiGAN: both players' losses, whose gradient goes where, what the optimum of the game is, and the
paper's baselines.
"""

import itertools
import math

import pytest
import torch

from sslcourse import encoders, evaluate
from sslcourse.data import images
from sslcourse.evaluate import health
from sslcourse.methods import bigan, catalogue
from sslcourse.results.tables import bigan as table
from sslcourse.runtime.errors import CourseError
from sslcourse.train import checkpoints
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe


def logits(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(2, n, generator=g, dtype=torch.float64) * 2).unbind()


def small(kind=bigan.BiGAN, **arguments):
    torch.manual_seed(1)
    return kind(encoders.small_cnn(8), latent=8, width=8, **arguments).train()


def batch_of(n=6, seed=0):
    return {"image": torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))}


# ---------------------------------------------------------------------------------------------- the losses


@pytest.mark.parametrize("n", [1, 7])
def test_the_losses_are_the_papers_in_value_and_gradient(n):
    real, made = (a.requires_grad_() for a in logits(n))
    value = (
        sum(math.log(1 / (1 + math.exp(-a))) for a in real.tolist()) / n
        + sum(math.log(1 - 1 / (1 + math.exp(-a))) for a in made.tolist()) / n
    )
    assert bigan.discriminator_loss(real, made).item() == pytest.approx(-value / 2)
    swapped = sum(-math.log(1 - 1 / (1 + math.exp(-a))) for a in real.tolist()) + sum(
        -math.log(1 / (1 + math.exp(-a))) for a in made.tolist()
    )
    assert bigan.generator_encoder_loss(real, made).item() == pytest.approx(swapped / n / 2)
    for f in (bigan.discriminator_loss, bigan.generator_encoder_loss):
        assert torch.autograd.gradcheck(f, (real, made))
    assert torch.equal(
        bigan.generator_encoder_loss(real, made), bigan.discriminator_loss(made, real)
    )  # the opposite labels


def test_a_discriminator_that_knows_nothing_costs_log_2():
    nothing = torch.zeros(5, dtype=torch.float64)
    assert float(bigan.discriminator_loss(nothing, nothing)) == pytest.approx(math.log(2))
    assert float(bigan.generator_encoder_loss(nothing, nothing)) == pytest.approx(math.log(2))
    assert float(bigan.generator_loss(nothing)) == pytest.approx(math.log(2))


def test_the_losses_have_a_slope_where_the_discriminator_is_sure():
    real, made = torch.full((3,), 300.0, requires_grad=True), torch.full((3,), -300.0, requires_grad=True)
    loss = bigan.generator_encoder_loss(real, made)
    assert float(loss) == pytest.approx(300)
    full = torch.autograd.grad(loss, (real, made))
    assert all(float(g.abs().sum()) == pytest.approx(0.5) for g in full)
    saturating = torch.autograd.grad(-bigan.discriminator_loss(real, made), (real, made))
    assert all(float(g.abs().sum()) < 1e-6 for g in saturating)


def test_the_regression_of_z_is_least_at_z():
    z = torch.tensor([[-0.5, 0.8], [0.2, -0.9]], dtype=torch.float64)
    best = 2 * torch.atanh(z)  # tanh(a / 2) = z
    at_best = bigan.regression_loss(best, z)
    for other in (best + 0.1, best - 0.1, torch.zeros_like(best), -best):
        assert bigan.regression_loss(other, z) > at_best
    p = (z + 1) / 2
    torch.testing.assert_close(at_best, -(p * p.log() + (1 - p) * (1 - p).log()).mean())


def test_logits_have_one_axis():
    with pytest.raises(
        (CourseError, TypeError), match="flatten|real"
    ):  # the tests check shapes by their annotations, before the code does
        bigan.discriminator_loss(torch.zeros(4, 1), torch.zeros(4))


# ---------------------------------------------------------------------------------------------- the optimum


def best_discriminator(e, g):
    """Logits of the best D, log p / q, on the pairs (x, e[x]) and (g[z], z) of a world with as many codes as
    pictures.
    """
    n = len(e)
    p, q = torch.zeros(n, n, dtype=torch.float64), torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        p[i, e[i]] += 1 / n
        q[g[i], i] += 1 / n
    a = (p.log() - q.log()).clamp(-60, 60)  # where only one of them is: as sure as a number can be
    return p, q, torch.stack([a[i, e[i]] for i in range(n)]), torch.stack([a[g[i], i] for i in range(n)])


def test_in_a_small_world_the_encoder_of_the_optimum_inverts_the_generator():
    """All encoders and all generators between three pictures and three codes: the game is even exactly where
    E undoes G.
    """
    maps = list(itertools.product(range(3), repeat=3))
    even = 0
    for e, g in itertools.product(maps, maps):
        p, q, real, made = best_discriminator(e, g)
        loss = float(bigan.discriminator_loss(real, made))
        m = (p + q) / 2
        js = sum(float(torch.where(a > 0, a * (a / m).log(), torch.zeros_like(a)).sum()) / 2 for a in (p, q))
        assert loss == pytest.approx(math.log(2) - js, abs=1e-9)  # V = 2 JS - log 4, and the loss is -V / 2
        inverse = all(g[e[x]] == x for x in range(3)) and all(e[g[z]] == z for z in range(3))
        assert (loss > math.log(2) - 1e-9) == inverse
        if inverse:
            even += 1
            assert (
                torch.equal(p, q) and real.abs().max() == made.abs().max() == 0
            )  # equal joints, D = 1/2 everywhere
    assert even == 6  # a permutation for each


def test_without_the_code_the_optimum_says_nothing_about_the_encoder():
    """A D of pictures alone is at one half for any E, as soon as G makes every picture equally often."""
    g = (2, 0, 1)
    for e in itertools.product(range(3), repeat=3):
        p, q, *_ = best_discriminator(e, g)
        assert torch.equal(p.sum(1), q.sum(1))


# ---------------------------------------------------------------------------------------------- both players


def gradients(method, names):
    return {
        n: torch.cat([p.grad.flatten() for p in players])
        for n, players in method.trainable().items()
        if n in names
    }


def test_each_player_descends_its_own_loss():
    method, batch = small(), batch_of()
    torch.manual_seed(5)
    both, losses = method.loss(batch)
    both.backward()
    got = gradients(method, ("discriminator", "generator and encoder"))
    # By hand: two backward passes of two losses, each into its own player.
    torch.manual_seed(5)
    z = bigan.noise(6, 8)
    x = batch["image"]
    real, made = method.d(x, method.code(x)), method.d(method.g(z), z)
    players = method.trainable()
    for name, loss in (
        ("discriminator", bigan.discriminator_loss(real, made)),
        ("generator and encoder", bigan.generator_encoder_loss(real, made)),
    ):
        found = torch.autograd.grad(loss, players[name], retain_graph=True)
        torch.testing.assert_close(got[name], torch.cat([g.flatten() for g in found]), rtol=1e-3, atol=1e-5)
    assert float(losses["D"]) == pytest.approx(float(bigan.discriminator_loss(real, made)), abs=1e-5)


def test_a_step_moves_both_players_at_the_same_time():
    method = small()
    optimizers = {n: torch.optim.SGD(p, lr=0.1) for n, p in method.trainable().items()}
    before = {n: [w.detach().clone() for w in p] for n, p in method.trainable().items()}
    method.step(batch_of(), optimizers)
    for name, players in method.trainable().items():
        assert all(not torch.equal(a, b) for a, b in zip(before[name], players)), name
    everything = [id(p) for players in method.trainable().values() for p in players]
    assert (
        len(everything) == len(set(everything)) == len(list(method.parameters()))
    )  # every weight has one player


def test_your_own_losses_are_used():
    method = small(d_loss=lambda r, g: 0 * r.sum() + 7, eg_loss=lambda r, g: 0 * r.sum() + 9)
    _, losses = method.loss(batch_of())
    assert float(losses["D"]) == 7 and float(losses["E and G"]) == 9


def test_the_encoder_is_reached_by_the_real_pairs_alone():
    method, batch = small(eg_loss=lambda real, made: bigan.generator_loss(made)), batch_of()
    method.loss(batch)[0].backward()
    assert all(
        p.grad is None or not p.grad.any() for p in [*method.f.parameters(), *method.head.parameters()]
    )
    assert any(p.grad.any() for p in method.g.parameters())


def test_the_pair_matters():
    """The discriminator answers otherwise when the same picture comes with another code, and a plain one
    takes none.
    """
    method = small()
    x, z = batch_of()["image"], bigan.noise(6, 8)
    assert not torch.allclose(method.d(x, z), method.d(x, z.roll(1, 0)))
    alone = bigan.Discriminator(latent=0, width=8)
    assert alone(x).shape == (6,) and not alone.told


def test_codes_and_pictures_are_in_range_and_memory_is_short():
    method = small()
    assert method.code(batch_of()["image"]).abs().max() <= 1
    z = bigan.noise(2000, 4)
    assert (
        z.abs().max() <= 1
        and abs(float(z.mean())) < 0.05
        and float(z.var()) == pytest.approx(1 / 3, abs=0.03)
    )
    picture = method.g(bigan.noise(4, 8))
    assert picture.shape == (4, 3, 32, 32) and 0 <= picture.min() and picture.max() <= 1
    optimizers = {n: torch.optim.AdamW(p) for n, p in method.trainable().items()}
    method.before_epoch(0, None, optimizers)
    assert {g["betas"] for o in optimizers.values() for g in o.param_groups} == {(0.5, 0.999)}


def test_codes_begin_with_the_spread_of_z_whatever_the_network():
    """Otherwise D tells the pairs apart by the size of the code. Without the normalisation, as a plain linear
    layer on the average over all places, it is a tenth of that."""
    x = batch_of(64)["image"]
    prior = bigan.noise(4096, 8).std()
    flat = bigan.BiGAN(
        bigan.FlatEncoder(32, 16),
        32,
        8,
        generator=bigan.FlatGenerator(32, 8, 16),
        discriminator=bigan.FlatDiscriminator(32, 8, 16),
    )
    for method in (small(), small(bigan.LatentRegressor), small(bigan.Autoencoder), flat.train()):
        code = method.code(x)
        assert float(code.std()) == pytest.approx(float(prior), abs=0.05), type(method)
        assert float(code.mean(0).abs().max()) < 0.2
    encoder = encoders.small_cnn(8).train()
    plain = torch.tanh(torch.nn.Linear(encoder.dim, 8)(encoder(x)) / 2)
    assert float(plain.std(0).mean()) < 0.3 * float(prior)


def test_the_head_reads_every_place():
    """Two maps with the same average give two codes, as a plain sum over places and channels says."""
    method, x = small().eval(), batch_of(3)["image"]
    maps = method.f.maps(x)  # (3, 32, 4, 4)
    linear, norm = method.head
    assert linear.in_features == maps[0].numel() and linear.bias is None
    a = torch.zeros(3, 8)
    for n, c, i, j in itertools.product(range(3), *(range(m) for m in maps.shape[1:])):
        a[n] += linear.weight[:, (c * maps.shape[2] + i) * maps.shape[3] + j] * maps[n, c, i, j]
    a = norm.weight * (a - norm.running_mean) / (norm.running_var + norm.eps).sqrt() + norm.bias
    torch.testing.assert_close(method.code(x), torch.tanh(a / 2), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        method.encode({"image": x}), maps.mean((2, 3))
    )  # and what is kept is the average

    class Vector(torch.nn.Module):
        dim = 5

        def forward(self, x):
            return x.flatten(1)[:, :5]

    assert bigan.BiGAN(Vector(), latent=4, width=8).head[0].in_features == 5  # an encoder without a map
    statistics = {k: v.clone() for k, v in encoders.small_cnn(8).state_dict().items() if "running" in k}
    fresh = encoders.small_cnn(8)
    head = bigan.CodeHead(fresh, 64, 4)  # 64 pixels: a map of 8 x 8
    assert head[0].in_features == fresh.dim * 64 and fresh.training
    assert all(torch.equal(v, fresh.state_dict()[k]) for k, v in statistics.items())


def test_a_checkpoint_from_before_the_head_was_normalised_is_refused_in_words(tmp_path):
    method = catalogue.build(catalogue.describe("bigan", "toybox", 10))
    head = method.head
    method.head = torch.nn.Linear(method.f.dim, 64)  # as it was
    file = checkpoints.save(tmp_path / "old.safetensors", method)
    method.head = head
    with pytest.raises(CourseError, match="head.*train it again: sslcourse train bigan"):
        checkpoints.load_weights(checkpoints.read(file), method)


def test_discriminators_keep_the_size_of_their_signal():
    """Kaiming's weights: the first layer, which nothing normalises, gives out about what it is given."""
    torch.manual_seed(0)
    x = torch.randn(64, 3, 32, 32)
    d = bigan.Discriminator(width=32)
    out = torch.nn.functional.leaky_relu(d.first(x), bigan.SLOPE)[:, :, 2:-2, 2:-2]
    assert 0.7 < float(out.square().mean()) < 1.4
    flat = bigan.FlatDiscriminator(32, 8, 64)
    out = torch.nn.functional.leaky_relu(flat.first(x[:, 0].flatten(1)), bigan.SLOPE)
    assert 0.7 < float(out.square().mean()) < 1.4


# ---------------------------------------------------------------------------------------------- the baselines


def test_the_gan_keeps_its_players_apart():
    method, batch = small(bigan.GAN), batch_of()
    torch.manual_seed(5)
    method.loss(batch)[0].backward()
    got = gradients(method, ("discriminator", "generator"))
    torch.manual_seed(5)
    picture = method.g(bigan.noise(6, 8))
    d, g = (
        bigan.discriminator_loss(method.d(batch["image"]), method.d(picture.detach())),
        bigan.generator_loss(method.d(picture)),
    )
    for name, loss in (("discriminator", d), ("generator", g)):
        found = torch.autograd.grad(loss, method.trainable()[name], retain_graph=True)
        torch.testing.assert_close(got[name], torch.cat([x.flatten() for x in found]), rtol=1e-3, atol=1e-5)
    assert method.f is method.d.body


def regressor_gradients(joint):
    method = small(bigan.LatentRegressor, joint=joint)
    torch.manual_seed(5)
    method.loss(batch_of())[0].backward()
    return gradients(method, ("generator", "encoder"))


def test_the_latent_regressor_teaches_the_generator_only_where_it_is_joint():
    alone, quarter, half = (regressor_gradients(joint) for joint in (0.0, 0.25, 0.5))
    for joint in (quarter, half):
        torch.testing.assert_close(
            joint["encoder"], alone["encoder"], rtol=1e-4, atol=1e-6
        )  # E descends the whole of it in any case
    first, second = quarter["generator"] - alone["generator"], half["generator"] - alone["generator"]
    assert first.norm() > 1e-4
    torch.testing.assert_close(second, 2 * first, rtol=1e-2, atol=1e-5)


def test_the_latent_regressor_never_sees_a_picture():
    method, found = small(bigan.LatentRegressor), []
    for seed in (0, 1):
        method.zero_grad()
        torch.manual_seed(5)
        method.loss(batch_of(seed=seed))[0].backward()
        found.append(gradients(method, ("encoder",))["encoder"].clone())
    assert torch.equal(*found)


@pytest.mark.parametrize("power", [1, 2])
def test_the_autoencoder_is_a_distance(power):
    method, x = small(bigan.Autoencoder, power=power), batch_of()["image"]
    loss, _ = method.loss({"image": x})
    torch.testing.assert_close(loss, ((method.reconstruct(x) - x).abs() ** power).mean())


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: bigan.Generator(size=20), "multiple of 8"),
        (lambda: bigan.Discriminator(size=20), "multiple of 8"),
        (lambda: bigan.LatentRegressor(encoders.small_cnn(8), joint=-1.0), "joint=-1"),
        (lambda: bigan.Autoencoder(encoders.small_cnn(8), power=3), "power=3"),
    ],
)
def test_wrong_arguments_say_what_to_type(make, match):
    with pytest.raises(CourseError, match=match):
        make()


# -------------------------------------------------------------------------------- flat networks and the table


def test_flat_networks_do_not_care_where_a_pixel_stands():
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    f = bigan.FlatEncoder(8, 16).eval()
    x = torch.rand(5, 1, 8, 8).expand(-1, 3, -1, -1)
    shuffled = x.flatten(2)[:, :, order].unflatten(2, (8, 8))
    before = f(x)
    assert not torch.allclose(f(shuffled), before)
    with torch.no_grad():
        f.hidden1[0].weight.copy_(
            f.hidden1[0].weight[:, order].clone()
        )  # a first layer with its columns shuffled alike sees no difference
    torch.testing.assert_close(f(shuffled), before)


def test_the_nearest_is_the_nearest():
    g = torch.Generator().manual_seed(0)
    bank, queries, labels = torch.randn(40, 5, generator=g), torch.randn(13, 5, generator=g), torch.arange(40)
    by_hand = torch.tensor(
        [min(range(40), key=lambda i: float((bank[i] - q).square().sum())) for q in queries]
    )
    assert torch.equal(evaluate.nearest(bank, labels, queries, chunk=4), by_hand)
    with pytest.raises(CourseError, match="agree"):
        evaluate.nearest(bank, labels[:5], queries)


def test_the_table_has_the_papers_rows_and_the_yardsticks():
    said = []
    rows = table.measure(seeds=1, say=said.append, epochs=1, width=16)
    names = [row["features"] for row in rows]
    assert set(bigan.TABLE) | {"untrained encoder", "pixels", "BiGAN, E(x) itself"} == set(names)
    assert all(0 <= float(row["1-NN"]) <= 100 for row in rows) and len(said) == len(bigan.TABLE) + 1
    pixels = next(row for row in rows if row["features"] == "pixels")
    assert float(pixels["1-NN"]) > 95  # known of these digits


# ---------------------------------------------------------------------------------------------- coverage


def test_coverage_sees_a_mode_that_is_missing():
    g = torch.Generator().manual_seed(0)
    draw = lambda n: torch.randn(n, 2, generator=g) + 8 * torch.randint(0, 4, (n, 1), generator=g)
    real, again = draw(300), draw(300)
    assert health.coverage(real, again) > 0.9
    one = torch.randn(300, 2, generator=g)
    assert 0.1 < health.coverage(real, one) < 0.4  # one cloud of four
    assert health.coverage(real, one[:1].expand(300, -1)) < 0.05
    assert health.coverage(real, one + 100) == 0
    with pytest.raises(CourseError, match="at least"):
        health.coverage(real[:3], real)


# ------------------------------------------------------------------------------------------- a short training


@pytest.mark.slow
def test_on_digits_the_encoder_comes_to_undo_the_generator():
    data = images.digits(8)
    torch.manual_seed(0)
    method = table.variants(8, 128)["BiGAN"]()
    fit(method, data.train.unlabelled(), Recipe(60, 64, 2e-3, schedule="cosine", weight_decay=2.5e-5))
    x = data.validation.image.float() / 255
    with torch.no_grad():
        y = method.eval().reconstruct(x)
    own, other = float((x - y).abs().mean()), float((x.roll(1, 0) - y).abs().mean())
    assert own < 0.93 * other, (own, other)


# ---------------------------------------------------------------------------------------------- the claims


def test_the_claims_have_the_right_sign():
    from sslcourse.results.claims import bigan as claims

    names = ("BiGAN", *claims.BASELINES, "random", "pixels")
    made = {n: {"linear": 0.5, "own": 0.1, "other": 0.3} for n in names}
    effect = lambda name, **changes: next(c for c in claims.CLAIMS if c.name == name).effect(
        {n: {**row, **changes.get(n.split(",")[0], {})} for n, row in made.items()}
    )
    assert effect("beats_pixels", pixels={"linear": 0.4}) == pytest.approx(0.1)
    assert effect("beats_random", random={"linear": 0.6}) == pytest.approx(-0.1)
    assert effect("level") == pytest.approx(claims.MARGIN)
    assert (
        effect("level", BiGAN={"linear": 0.6})
        == effect("level", BiGAN={"linear": 0.4})
        == pytest.approx(claims.MARGIN - 0.1)
    )
    assert effect("inverts") == pytest.approx(0.2) and effect(
        "pixelwise", BiGAN={"own": 0.15}
    ) == pytest.approx(0.05)
