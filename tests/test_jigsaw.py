"""The damaged jigsaw: colours, pieces, orders and losses against their definitions, and what a puzzle may not
give away.
"""

import itertools
import math

import pytest
import torch

from sslcourse import encoders, evaluate
from sslcourse.data.datasets import Data
from sslcourse.methods import jigsaw
from sslcourse.results import tables
from sslcourse.results.claims import jigsaw as claims
from sslcourse.runtime.errors import CourseError
from sslcourse.train.loop import fit
from sslcourse.train.recipe import Recipe
from sslcourse.transforms import colour


def small(**arguments):
    torch.manual_seed(1)
    return jigsaw.Jigsaw(encoders.small_cnn(8), hidden=32, **arguments)


def plain(*colours):
    """(B, 3, 2, 2) pictures of one colour each."""
    return torch.tensor(colours, dtype=torch.float64)[:, :, None, None].expand(-1, 3, 2, 2)


# ---------------------------------------------------------------------------------------------- colours


@pytest.mark.parametrize(
    "rgb, lab",
    [
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.2, 80.1, 67.2)),
        ((0, 1, 0), (87.7, -86.2, 83.2)),
        ((0, 0, 1), (32.3, 79.2, -107.9)),
        ((0.5, 0.5, 0.5), (53.4, 0, 0)),
    ],
)
def test_known_colours_in_lab(rgb, lab):
    assert colour.lab(plain(rgb))[0, :, 0, 0].tolist() == pytest.approx(lab, abs=0.06)


def test_lab_and_back():
    x = torch.rand(3, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(colour.from_lab(colour.lab(x)), x, atol=1e-4, rtol=0)


def test_bins_hold_their_own_colours_and_a_turn_of_the_wheel():
    assert jigsaw.colour_bins(plain((0.2, 0.2, 0.2), (0.9, 0.9, 0.9)))[:, 0, 0].tolist() == [0, 0]
    around = jigsaw.colour_bins(plain((1, 0, 0), (0, 1, 0), (0, 0, 1)))[:, 0, 0]
    assert (around > 8).all() and len(around.unique()) == 3  # full colours, three hues
    ab = jigsaw.bin_colours().double()
    heart = torch.cat([torch.full((17, 1), 60.0, dtype=torch.float64), ab], 1)[:, :, None, None]
    inside = colour.from_lab(heart).amin((1, 2, 3)) > 0  # colours that a screen has
    assert inside.sum() >= 9
    assert torch.equal(jigsaw.colour_bins(colour.from_lab(heart))[:, 0, 0][inside], torch.arange(17)[inside])


# ---------------------------------------------------------------------------------------------- pieces


def coordinates(b=5, side=24):
    """Pictures whose channels say where each pixel lies, and in which picture."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.stack([torch.stack([y, x, torch.full_like(x, i)]) for i in range(b)]).float()


@pytest.mark.parametrize("grid, gap", [(3, 3), (3, 1), (2, 4)])
def test_pieces_are_windows_of_their_cells(grid, gap):
    image = coordinates()
    pieces, cell = jigsaw.cut_pieces(image, grid, gap), 24 // grid
    assert pieces.shape == (5, grid**2, 3, cell - gap, cell - gap)
    for i, k in itertools.product(range(5), range(grid**2)):
        top, left, which = (int(v) for v in pieces[i, k, :, 0, 0])
        assert which == i and 0 <= top - k // grid * cell <= gap and 0 <= left - k % grid * cell <= gap
        assert torch.equal(pieces[i, k], image[i, :, top : top + cell - gap, left : left + cell - gap])


def test_every_shift_is_drawn_equally_often_and_for_itself():
    torch.manual_seed(0)
    corner = jigsaw.cut_pieces(coordinates(400), 3, 3)[:, :, :2, 0, 0] % 8  # (B, n, 2)
    counts = torch.bincount((corner[..., 0] * 4 + corner[..., 1]).long().flatten(), minlength=16)
    expected = 400 * 9 / 16
    assert (
        float((counts - expected).square().sum() / expected) < 37.7
    )  # chi-squared, 15 degrees of freedom, p = 0.001
    flat = corner.flatten(1) - corner.flatten(1).mean(0)
    likeness = (flat.T @ flat) / flat.square().sum(0).sqrt()[:, None] / flat.square().sum(0).sqrt()
    assert (likeness - torch.eye(18)).abs().max() < 0.2  # no piece tells another's shift


def test_without_jitter_and_gap_the_pieces_are_the_picture():
    image = coordinates()
    still = jigsaw.cut_pieces(image, 3, 2, jitter=False)
    assert (still[:, :, :2, 0, 0] % 8 == 1).all()
    torch.testing.assert_close(jigsaw.assembled(jigsaw.cut_pieces(image, 3, 0), gap=0), image)
    framed = jigsaw.assembled(still, gap=2, ground=-1.0)
    assert (
        framed.shape == (5, 3, 22, 22)
        and (framed[:, :, 6:8] == -1).all()
        and torch.equal(framed[:, :, 8:14, :6], still[:, 3])
    )


def test_a_normalised_piece_tells_neither_brightness_nor_contrast():
    piece = torch.rand(2, 4, 3, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(jigsaw.normalised(0.3 * piece + 0.2), jigsaw.normalised(piece))
    z = jigsaw.normalised(piece).flatten(2)
    torch.testing.assert_close(z.mean(2), torch.zeros(2, 4, dtype=torch.float64))
    torch.testing.assert_close(z.std(2, correction=0), torch.ones(2, 4, dtype=torch.float64))
    assert (
        jigsaw.normalised(torch.full((1, 1, 3, 4, 4), 0.7)).abs().max() < 1e-4
    )  # and its rounding is not blown up


# ---------------------------------------------------------------------------------------------- orders


def mean_distance(orders):
    return sum(sum(a != b for a, b in zip(p, q)) for p, q in itertools.combinations(orders, 2)) / math.comb(
        len(orders), 2
    )


def test_all_orders():
    assert sorted(map(tuple, jigsaw.all_orders(4).tolist())) == sorted(itertools.permutations(range(4)))
    assert jigsaw.all_orders(3)[0].tolist() == [0, 1, 2] and len(jigsaw.all_orders(9)) == math.factorial(9)


@pytest.mark.parametrize("pieces, count", [(3, 3), (4, 2), (4, 3), (4, 4)])
def test_the_greedy_set_is_as_good_as_the_best_of_all_sets(pieces, count):
    """Brute force over all sets of so many orders, for the mean distance and for the smallest."""
    everything = [tuple(o) for o in jigsaw.all_orders(pieces).tolist()]
    best = max(mean_distance(s) for s in itertools.combinations(everything, count))
    ours = jigsaw.permutation_set(jigsaw.all_orders(pieces), count).tolist()
    assert len(set(map(tuple, ours))) == count and mean_distance(ours) == pytest.approx(best)


def test_the_set_of_the_course_keeps_its_distance():
    orders = jigsaw.permutation_set(jigsaw.all_orders(9), 24)
    assert orders.dtype == torch.long and all(sorted(o) == list(range(9)) for o in orders.tolist())
    distances = [(a != b).sum().item() for a, b in itertools.combinations(orders, 2)]
    assert min(distances) >= 7  # the sum alone would let in two orders that swap two pieces
    assert (
        mean_distance(orders.tolist())
        > 8.25
        > mean_distance(jigsaw.all_orders(9)[torch.randperm(362_880)[:24]].tolist())
    )


def test_place_k_shows_the_piece_of_place_order_k_and_restoring_undoes_it():
    pieces, order = torch.arange(9).repeat(4, 1), torch.stack([torch.randperm(9) for _ in range(4)])
    shown = jigsaw.shuffled(pieces, order)
    assert torch.equal(shown, order)
    assert torch.equal(jigsaw.restored(shown, order), pieces)
    assert not torch.equal(jigsaw.shuffled(shown, order), pieces)  # which is why there are two functions


def test_a_bad_lens_tells_where_and_a_grey_normalised_piece_does_not():
    """A pattern that is the same everywhere: after the lamp its pieces differ, and normalised they are the
    same again.
    """
    stripes = (torch.arange(60) % 2).float()[None, None, :, None].expand(1, 3, 60, 60) * 0.2 + 0.4
    pieces = jigsaw.cut_pieces(jigsaw.lens(stripes, lamp=0.3), 3, 4, jitter=False)
    assert pieces.mean((2, 3, 4)).std() > 0.05
    assert (jigsaw.normalised(pieces) - jigsaw.normalised(pieces[:, :1])).abs().max() < 1e-4
    assert torch.equal(jigsaw.lens(stripes), stripes)
    cast = jigsaw.cut_pieces(jigsaw.lens(stripes, cast=0.2), 3, 4, jitter=False)
    red = (jigsaw.normalised(cast)[0, :, 0] - jigsaw.normalised(cast)[0, :, 2]).mean((1, 2)).view(3, 3)
    assert (red.diff(dim=1) > 0.3).all() and red.diff(
        dim=0
    ).abs().max() < 1e-4  # coloured pieces tell their column
    without = jigsaw.normalised(jigsaw.greyed(cast))
    assert (without - without[:, :1]).abs().max() < 1e-3  # grey ones do not
    spot = torch.zeros(1, 3, 60, 60)
    spot[:, :, 8, 8] = 1  # far from the centre: red moves outwards, blue inwards
    red, _, blue = (
        channel.flatten().argmax().item() // 60 for channel in jigsaw.lens(spot, aberration=0.08)[0]
    )
    assert red < 8 < blue


# ---------------------------------------------------------------------------------------------- the loss


def puzzles(seed=0, b=4, n=4, q=5, s=2):
    g = torch.Generator().manual_seed(seed)
    missing = torch.randint(n, (b,), generator=g)
    faded = missing[:, None] != torch.arange(n)
    return (
        torch.randn(b, 6, generator=g, dtype=torch.float64),
        torch.randint(6, (b,), generator=g),
        torch.randn(b, n, q, s, s, generator=g, dtype=torch.float64),
        torch.randint(q, (b, n, s, s), generator=g),
        missing,
        faded,
    )


def by_hand(orders, permutation, colours, bins, missing, faded, weights):
    """Each term as its definition says: minus the log of a softmax's share, a mean, over the log of the
    number of choices.
    """
    share = lambda scores, i: (
        -torch.log(torch.exp(scores[i]) / sum(torch.exp(v) for v in scores)) / math.log(len(scores))
    )
    first = [share(orders[i], permutation[i]) for i in range(len(orders))]
    second, third = [], []
    for i, k in itertools.product(range(colours.shape[0]), range(colours.shape[1])):
        pays = [
            share(colours[i, k, :, y, x], bins[i, k, y, x]) for y, x in itertools.product(range(2), range(2))
        ]
        if k == missing[i]:
            second += pays
        if faded[i, k]:
            third += pays
    return sum(w * sum(t) / len(t) for w, t in zip(weights, (first, second, third)))


def test_the_loss_is_its_definition_in_value_and_gradient():
    orders, permutation, colours, *rest = puzzles()
    pair = orders.requires_grad_(), colours.requires_grad_()
    ours, theirs = (
        f(orders, permutation, colours, *rest, (1.0, 0.5, 2.0)) for f in (jigsaw.damaged_loss, by_hand)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    for a, b in zip(torch.autograd.grad(ours, pair), torch.autograd.grad(theirs, pair)):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
    assert torch.autograd.gradcheck(lambda o, c: jigsaw.damaged_loss(o, permutation, c, *rest), pair)


def test_the_loss_of_who_knows_nothing_and_of_who_knows_everything():
    orders, permutation, colours, bins, missing, faded = puzzles()
    nothing = jigsaw.damaged_loss(orders * 0, permutation, colours * 0, bins, missing, faded)
    assert float(nothing) == pytest.approx(3)
    sure = 1e3 * torch.nn.functional.one_hot(permutation, 6).double()
    painted = 1e3 * torch.nn.functional.one_hot(bins, 5).movedim(-1, 2).double()
    assert float(jigsaw.damaged_loss(sure, permutation, painted, bins, missing, faded)) == pytest.approx(
        0, abs=1e-9
    )
    wrong = painted.clone()
    wrong[0, missing[0]] = painted[0, missing[0]].roll(
        1, 0
    )  # the missing piece in wrong colours: only its own term sees it
    assert float(
        jigsaw.damaged_loss(sure, permutation, wrong, bins, missing, faded, (1.0, 0.0, 1.0))
    ) == pytest.approx(0, abs=1e-9)
    assert float(jigsaw.damaged_loss(sure, permutation, wrong, bins, missing, faded, (0.0, 1.0, 0.0))) > 1


def test_half_precision_stays_finite():
    orders, permutation, colours, *rest = puzzles()
    assert math.isfinite(
        float(jigsaw.damaged_loss(1e3 * orders.bfloat16(), permutation, 1e3 * colours.bfloat16(), *rest))
    )


# ---------------------------------------------------------------------------------------------- the method


def test_the_default_is_damaged_in_all_ways(toys):
    puzzle = small().pose(toys.train.image[:64])
    there = puzzle["missing"][:, None] != torch.arange(9)
    assert (
        (there.sum(1) == 8).all()
        and torch.equal(puzzle["faded"], there)
        and len(puzzle["missing"].unique()) == 9
    )
    assert (puzzle["shown"][~there] == 0).all() and (puzzle["shown"][there].flatten(1).std(1) > 0.1).all()
    assert torch.equal(puzzle["shown"][:, :, 0], puzzle["shown"][:, :, 2])  # no colour is seen
    assert len(puzzle["permutation"].unique()) > 12 and torch.equal(
        puzzle["order"], small().orders[puzzle["permutation"]]
    )
    assert torch.equal(
        puzzle["bins"], jigsaw.colour_bins(puzzle["piece"].flatten(0, 1))[:, ::2, ::2].unflatten(0, (64, 9))
    )


@pytest.mark.parametrize("name", jigsaw.COMBINATIONS)
def test_each_combination_asks_for_its_tasks_and_damages_accordingly(name, toys):
    method = small(**jigsaw.COMBINATIONS[name])
    _, metrics = method.loss(next(toys.train.batches(16)))
    asked = {"Jig": "puzzles solved", "Inp": "filled right", "Col": "coloured right"}
    words = name.replace("CDJP", "Jig + Inp + Col").replace(", simple", "").split(" + ")
    assert set(metrics) == {asked[w] for w in words}
    if "simple" in name:
        assert set(method.views(next(toys.train.batches(4)))) == {"jigsaw", "inpainting", "colour"}
        return
    puzzle = method.pose(toys.train.image[:32])
    assert bool((puzzle["permutation"] != 0).any()) == ("Jig" in words)
    assert bool((puzzle["missing"] >= 0).all()) == ("Inp" in words) and bool(
        (puzzle["missing"] == -1).all()
    ) == ("Inp" not in words)
    assert bool(puzzle["faded"].any()) == ("Col" in words)


def test_one_faded_piece_shows_no_colour_and_the_others_do(toys):
    puzzle = small(fade="one", grey=False).pose(toys.train.image[:200])
    assert (puzzle["faded"].sum(1) == 1).all() and not puzzle["faded"][
        torch.arange(200), puzzle["missing"]
    ].any()
    counts = puzzle["faded"].sum(0)
    assert counts.min() > 8  # of 200 / 9: every place fades now and then
    spread = puzzle["shown"].std(2).amax((2, 3))
    assert (spread[puzzle["faded"]] < 1e-5).all() and spread[
        ~puzzle["faded"] & (puzzle["missing"][:, None] != torch.arange(9))
    ].mean() > 0.1


def test_the_network_cannot_see_what_it_is_asked_for(toys):
    """Other colours of the same grey, and another missing piece, change no answer."""
    method = small().eval()
    x = toys.train.image[:8].float() / 255 * 0.5 + 0.2
    tint = torch.tensor([0.05, 0.0, 0.0]) - 0.05 * 0.2989 * torch.tensor([0.0, 0.0, 1 / 0.114])
    recoloured = x + tint[:, None, None]
    assert recoloured.min() >= 0 and recoloured.max() <= 1
    a, b = (method.solve(v, seed=3) for v in (x, recoloured))
    assert not torch.equal(a["bins"], b["bins"])
    torch.testing.assert_close(a["orders"], b["orders"], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(a["colours"], b["colours"], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(
        method.encode({"image": x}), method.encode({"image": recoloured}), atol=1e-4, rtol=1e-3
    )

    torch.manual_seed(0)
    puzzle = method.pose(x)
    maps, rows = method.read([puzzle])[0], torch.arange(8)
    other = maps.clone()
    other[rows, puzzle["missing"]] = torch.randn_like(other[rows, puzzle["missing"]])
    for name, answer in method.answers(maps, puzzle["missing"], method.tasks).items():
        assert torch.equal(answer, method.answers(other, puzzle["missing"], method.tasks)[name]), name


def test_the_simple_sum_is_the_sum_of_its_tasks(toys, monkeypatch):
    """In eval mode, so that no batch statistics tie the three puzzles together, and with the same draws."""
    method = small(together=False).eval()
    image, drawn, parts = toys.train.image[:16], {}, []
    for task in jigsaw.TASKS:
        drawn[task] = puzzle = method.pose(image, (task,))
        answer = method.answers(method.read([puzzle])[0], puzzle["missing"], (task,))
        rows, there, missing = torch.arange(16), puzzle["faded"], puzzle["missing"]
        if task == "jigsaw":
            parts.append(jigsaw.order_term(answer["orders"], puzzle["permutation"]))
        elif task == "inpainting":
            parts.append(jigsaw.colour_term(answer["colours"][rows, missing], puzzle["bins"][rows, missing]))
        else:
            parts.append(jigsaw.colour_term(answer["colours"][there], puzzle["bins"][there]))
    monkeypatch.setattr(method, "pose", lambda image, tasks: drawn[tasks[0]])
    torch.testing.assert_close(method.loss({"image": image})[0], sum(parts), rtol=1e-4, atol=1e-5)
    method.weights = (2.0, 0.0, 0.5)
    torch.testing.assert_close(
        method.loss({"image": image})[0], 2 * parts[0] + 0.5 * parts[2], rtol=1e-4, atol=1e-5
    )


def test_your_loss_is_the_one_that_trains(toys):
    batch, seen, values = next(toys.train.batches(16)), [], []

    def mine(*given):
        seen.append(len(given))
        return 2 * jigsaw.damaged_loss(*given)

    for loss in (jigsaw.damaged_loss, mine):
        method = small(loss=loss)
        torch.manual_seed(5)
        values.append(method.loss(batch)[0].detach())
    assert seen == [7] and float(values[1]) == pytest.approx(2 * float(values[0]), rel=1e-6)


def test_a_perfect_answer_mends_the_picture(toys):
    """`mended` under the right order and the true colours is the picture, but for what lies in the gaps and
    for its half resolution.
    """
    method = small(gap=0).eval()
    image = toys.train.image[:6].float() / 255
    puzzle = method.solve(image, seed=1)
    assert torch.equal(puzzle["order"], method.orders[puzzle["permutation"]])
    right = jigsaw.restored(puzzle["piece"], puzzle["order"])
    whole = torch.nn.functional.interpolate(image, size=(60, 60), mode="bilinear", align_corners=False)
    torch.testing.assert_close(jigsaw.assembled(right, gap=0), whole)
    with torch.no_grad():
        for p in method.heads["jigsaw"].parameters():
            p.zero_()
        method.heads["jigsaw"].bias[3] = 1.0
    solved = method.solve(image, seed=1)
    assert torch.equal(solved["answer"], method.orders[3].expand(6, -1))
    lightness = lambda x: colour.lab(x)[:, 0]
    mine = lightness(jigsaw.assembled(solved["mended"], gap=0))
    theirs = lightness(jigsaw.assembled(jigsaw.restored(solved["piece"], solved["answer"]), gap=0))
    assert float((mine - theirs).abs().mean()) < 2  # on their true lightness, laid out by its answer
    again = method.solve(image, seed=1)
    assert all(torch.equal(solved[k], again[k]) for k in solved) and not torch.equal(
        method.solve(image, seed=2)["order"], solved["order"]
    )


def test_errors_say_what_to_type():
    for arguments, text in (
        (dict(tasks=("rotation",)), "jigsaw, inpainting, colour"),
        (dict(tasks=()), "choose one or more"),
        (dict(fade="two"), "'all' or 'one'"),
        (dict(permutations=0), "count=0"),
        (dict(grid=4), "from 2 to 9"),
    ):
        with pytest.raises(CourseError, match=text):
            small(**arguments)
    with pytest.raises(CourseError, match="a gap from 0 to 7"):
        jigsaw.cut_pieces(torch.rand(1, 3, 24, 24), 3, 8)


# --------------------------------------------------------------------------------------- claims and the table


def results(world="", **changes):
    names = (*claims.COMPARED, "random")
    found = {f"{n}{w}": {"linear": 0.5, "puzzles solved": 0.5} for n in names for w in ("", ", tied")}
    for name, value in changes.items():
        run = name.replace("_", " ").replace(" plus ", " + ").replace(" simple", ", simple")
        found[f"{run}{world}"]["linear"] = value
    return found


def test_effects_are_positive_where_the_paper_is_right():
    by_name = {c.name: c for c in claims.CLAIMS}
    right = results(Jig_plus_Inp=0.6, Jig_plus_Col=0.7, CDJP=0.8, Jig_plus_Inp_plus_Col_simple=0.65)
    expected = {
        "learns": 0.3,
        "damage_helps": 0.3,
        "order": 0.1,
        "inpainting": 0.1,
        "colour": 0.2,
        "colour_above_inpainting": 0.1,
        "entangled": 0.15,
        "harder_and_better": 0.0,
    }
    # Where hue goes with shape all that is about colours is asked again, of the networks trained there.
    coloured = {
        f"{n}, tied": expected[n] for n in expected if n not in ("learns", "inpainting", "harder_and_better")
    }
    assert {n: by_name[n].effect(right) for n in by_name} == pytest.approx(
        expected | dict.fromkeys(coloured, 0.0)
    )
    there = results(", tied", Jig_plus_Inp=0.6, Jig_plus_Col=0.7, CDJP=0.8, Jig_plus_Inp_plus_Col_simple=0.65)
    assert {n: by_name[n].effect(there) for n in by_name} == pytest.approx(
        coloured | dict.fromkeys(expected, 0.0)
    )
    assert all(c.effect(results()) == 0 for c in claims.CLAIMS)
    assert by_name["order"].effect(results(Jig_plus_Inp=0.7, Jig_plus_Col=0.6, CDJP=0.8)) == pytest.approx(
        -0.1
    )
    right["CDJP"]["puzzles solved"] = 0.3
    assert by_name["harder_and_better"].effect(right) == pytest.approx(0.2)


@pytest.mark.slow
def test_the_claims_run_on_a_handful(toys):
    few = Data(toys.train.take(slice(0, 256)), toys.validation, toys.test)
    found = claims.runs(0, few, claims.RECIPE.but(epochs=1, max_steps=1), say=lambda text: None, tied=few)
    names = {*claims.COMPARED, "random"}
    assert set(found) == names | {f"{name}, tied" for name in names} and all(
        0 <= row["linear"] <= 1 for row in found.values()
    )
    assert all(math.isfinite(c.effect(found)) for c in claims.CLAIMS)


@pytest.mark.slow
def test_the_table_on_a_handful(toys, monkeypatch):
    from sslcourse.results.tables import jigsaw as module

    monkeypatch.setattr(module.toybox, "images", lambda: toys)
    rows = tables.make("jigsaw", 1, ["pictures=128", "epochs=1"], say=lambda text: None)
    assert [r["task"] for r in rows] == ["random", *jigsaw.COMBINATIONS]
    assert (
        rows[-1]["paper, mAP"] == 69.2
        and rows[1]["puzzles solved"] == "–"
        and float(rows[-1]["puzzles solved"]) >= 0
    )


@pytest.mark.slow
def test_puzzles_are_solved_and_the_features_are_worth_it():
    from sslcourse.data import toybox

    data = toybox.images()
    data = Data(data.train.take(slice(0, 1500)), data.validation, data.test)
    method = jigsaw.Jigsaw(encoders.small_cnn())
    before = evaluate.probe(evaluate.random_like(method, data.train.image), data)["linear"]
    row = fit(method, data.train.unlabelled(), Recipe(epochs=5, batch_size=64, lr=3e-3))[-1]
    assert row["puzzles solved"] > 0.4 and evaluate.probe(method, data)["linear"] > before + 0.1
    fresh = method.solve(data.validation.image[:300])
    assert (
        float((fresh["answer"] == fresh["order"]).all(1).float().mean()) > 0.4
    )  # pictures that it never saw
