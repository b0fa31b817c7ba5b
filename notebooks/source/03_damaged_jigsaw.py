# %% [markdown]
# # Damaged jigsaws: the more is broken, the more must be understood?
#
# **The question of this notebook.** A network that solves jigsaw puzzles learns what things look like. Does it learn *more* when the puzzle is damaged, a
# piece lost and all colours gone? And how do we know that it solves the puzzle by looking at the *things*?
#
# D. Kim, D. Cho, D. Yoo and I. S. Kweon. *Learning Image Representations by Completing Damaged Jigsaw Puzzles.* WACV 2018.
# M. Noroozi and P. Favaro. *Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles.* ECCV 2016.
#
# **You will be able to**
# - choose orders that are far apart, cut pieces that give nothing away, and write the loss of the damaged puzzle;
# - tell a pretext task that is solved by a shortcut from one that is solved by looking;
# - say what each of the three tasks asks of a network, and whether their sum is worth more than one of them.
#
# **Time**: about an hour in class; the machine works for one to two minutes. **Needs**: a laptop, no network, no GPU.

# %%
# {{first cell}}

# %%
import time
notebook_started = time.perf_counter()

import math
import sslcourse                       # first: it sets how torch's threads wait for each other
import torch
import torch.nn.functional as F
from sslcourse import augment, compare, encoders, evaluate, features, health, show, widgets
from sslcourse.check import check, hint, lesson, solution
from sslcourse.data import toybox
from sslcourse.data.datasets import Data, Samples
from sslcourse.methods import jigsaw
from sslcourse.train import epochs, fit

profile = sslcourse.setup(seed=0)
data = toybox.images()
pictures, held_out = data.train.image, data.validation.label

# %% [markdown]
# ## 1. A picture that makes the question visible
#
# Each row begins with a picture; what follows is what a network is shown of it. Nine pieces, shuffled; one is missing, and no colour is left.

# %%
def new_method(**arguments):
    torch.manual_seed(0)
    return jigsaw.Jigsaw(encoders.small_cnn(), **arguments)

untrained = evaluate.random_like(new_method(), pictures)
show.views(untrained, data.train, n=2, draws=3)

# %% [markdown]
# Try it yourself. Drag pieces, or click two, or use the arrow keys and Enter; then press *check*. Which cue did you use: lines that run on, light and
# shadow, or what the thing is? Each of them is a possible answer for a network too, and section 9 shows what each one teaches. The network beside you
# has not learned anything yet.

# %%
widgets.puzzles(untrained, data.validation.image[20:], n=4, title="a network that knows nothing")

# %% [markdown]
# ## 2. Predict
#
# We shall train one network to fill in a missing piece, one to colour, one to solve an intact (but grey) jigsaw, and one to do all three in one damaged
# puzzle. Which features will be best? Then we leave three doors open: pieces that *touch*, *light* from one side, and a lens with *colour* faults.
# Which one will be used most?

# %%
# "inpainting", "colour", "jigsaw" or "damaged"; then "touching pieces", "light" or "colour faults".
my_prediction = {"best features": None, "widest door": None}

# %% [markdown]
# ## 3. Orders that are far from each other
#
# Nine pieces have 362,880 orders. The network chooses among a few of them, so these should be as different as can be: two that only swap two pieces are
# distinguished only by those two pieces. The *Hamming distance* of two orders is the number of places in which they differ.
#
# **Exercise** (more, about 10 minutes): begin with the first candidate. Then always add the one whose *nearest* chosen order is farthest; among equals the one with
# the greatest sum of distances. `hint("jigsaw.permutation_set", 1)` helps, `solution("jigsaw.permutation_set")` shows ours.

# %% tags=["nbval-check-output"]
def my_permutation_set(candidates, count):
    """candidates: (m, n), an order of n pieces in each row. Returns (count, n)."""
    # BEGIN SOLUTION
    chosen = [0]
    total = torch.zeros(len(candidates))
    nearest = torch.full((len(candidates),), float("inf"))
    while len(chosen) < count:
        distance = (candidates != candidates[chosen[-1]]).sum(1).float()
        total, nearest = total + distance, torch.minimum(nearest, distance)
        chosen.append(int((1000 * nearest + total).argmax()))
    return candidates[chosen].long()
    # END SOLUTION

permutation_set = check("jigsaw.permutation_set", my_permutation_set)

# %%
def distances(orders):
    return (orders[:, None] != orders).sum(2)[~torch.eye(len(orders), dtype=torch.bool)].float()

everything = jigsaw.all_orders(9)
orders = permutation_set(everything, 24)
by_chance = distances(everything[torch.randperm(len(everything))[:24]])
# Holds: "Chosen greedily, every two orders differ in at least seven of nine places"
assert int(distances(orders).min()) >= 7 > int(by_chance.min())
show.table([{"24 orders": name, "smallest distance": int(d.min()), "mean distance": float(d.mean())}
            for name, d in (("drawn at random", by_chance), ("chosen greedily", distances(orders)))])

# %% [markdown]
# Chosen greedily, every two orders differ in at least seven of nine places. So the network has to look at nearly every piece.
#
# ## 4. Pieces that give nothing away
#
# **Exercise** (for the fast, about 10 minutes). Cut every picture into 3 x 3 cells. From each cell take one piece, `gap` pixels smaller, from a random place, drawn
# for every piece of every picture. Place $k$ of the puzzle shows the piece that belongs at place `order[k]`. Last, every piece gets mean 0 and standard
# deviation 1, by itself.

# %% tags=["nbval-check-output"]
def my_puzzle(image, order, gap):
    """image: (B, 3, H, H), 0 to 1; order: (B, 9). Returns (B, 9, 3, t, t) with t = H // 3 - gap."""
    # SOLUTION: jigsaw.puzzle

puzzle = check("jigsaw.puzzle", my_puzzle)

# %%
large = F.interpolate(pictures[:4] / 255, size=(60, 60), mode="bilinear")
rows = [large] + [jigsaw.assembled(puzzle(large, orders[i].expand(4, -1), 5) / 4 + 0.5, gap=2).clamp(0, 1) for i in (0, 5)]
names = ["picture"] * 4 + ["not shuffled"] * 4 + ["shuffled"] * 4
show.grid(torch.cat([F.interpolate(r, size=(60, 60)) for r in rows]), names, columns=4, scale=1.4)

# %% [markdown]
# ## 5. The idea in mathematics, with the names of the code
#
# The encoder `f` looks at each piece alone and gives $u_1 \dots u_9$ (nothing for the missing one). From all of them together the `context` is made,
# and from the context the arrangement, out of $P$ orders; the missing piece; and, with a look at the piece itself, the colours of the others:
#
# $$L = w_1 \frac{-\log p(\text{order})}{\log P} + w_2 \frac{-\overline{\log p(\text{colours of the missing piece})}}{\log Q}
#  + w_3 \frac{-\overline{\log p(\text{colours of the faded pieces})}}{\log Q}$$
#
# A jigsaw asks for relations *between* pieces, inpainting for what a piece must *be*, colouring for what is *in* a piece. Colours are answered as one of $Q$ bins:
# grey, and hues in two strengths. A network that knows nothing pays 1 in each term.

# %% [markdown]
# In a picture, with the names of the code. Blue boxes learn by the gradient; a dashed border or a dashed arrow means that no gradient passes.

# %%
show.diagram("jigsaw")

# %% [markdown]
# **Exercise** (core, about 10 minutes): write this loss.

# %% tags=["nbval-check-output"]
def my_damaged_loss(orders, permutation, colours, bins, missing, faded, weights):
    """orders: (B, P) scores, permutation: (B,) the right one;
    colours: (B, n, Q, s, s) scores, bins: (B, n, s, s) the right ones; missing: (B,) the place of the missing piece;
    faded: (B, n) bool, pieces that lost their colours; weights: three numbers."""
    # SOLUTION: jigsaw.damaged_loss

loss = check("jigsaw.damaged_loss", my_damaged_loss)

# %% [markdown]
# ## 6. The library's method, and your functions in it
#
# `loss` makes a puzzle of each picture (`pose`), reads its pieces, and asks `answers` for the order and for the colours. `self.whole` is your loss.

# %%
show.source(jigsaw.Jigsaw.loss, jigsaw.Jigsaw.answers, jigsaw.Jigsaw.encode)

# %% tags=["nbval-check-output"]
recipe, part = jigsaw.COURSE.but(epochs=4), data.train.take(slice(0, 3000)).unlabelled()
ours = {"data": "toybox", "encoder": "five convolutions", "side": untrained.side, "cell": untrained.side // 3,
        "tile": untrained.size, "permutations": len(orders), "batch_size": recipe.batch_size,
        "optimizer": recipe.optimizer, "target": "17 colours in the ab plane"}
show.table([{"": "papers", **{k: jigsaw.PAPER[k] for k in ours}}, {"": "here", **ours}], caption="every departure, in the open")

# %% [markdown]
# The loss weights and the layers of the paper by Kim and others were not at our disposal: this is a re-implementation in its spirit. One departure
# matters: here *every* network reads grey pieces, whatever its task, so that only the task differs. Now train, with your orders and your loss. Below
# the map: puzzles, how the network lays them, and what they were.

# %%
method = new_method(loss=loss)
method.orders.copy_(orders)
shown, xy = data.validation.take(slice(0, 300)), None

def puzzles_and_answers(method, images, seed=1):
    found = method.solve(images, seed)
    right = jigsaw.restored(found["piece"], found["order"])
    rows = {"puzzle": found["shown"] / 4 + 0.5, "answer": found["mended"], "was": right}
    return {name: jigsaw.assembled(pieces, gap=2).clamp(0, 1) for name, pieces in rows.items()}

def grey_filters(method):
    """What the first kernels are for a grey picture, whose three channels are the same: the sum over them, 0 to 1."""
    kernels = next(p for p in method.f.parameters() if p.ndim == 4).detach().float().sum(1, keepdim=True)
    low, high = kernels.amin((2, 3), keepdim=True), kernels.amax((2, 3), keepdim=True)
    return (kernels - low) / (high - low)

some = shown.take(slice(0, 6))
with widgets.Panel(recipe.epochs, classes=data.classes, title="damaged jigsaws, no labels", samples=some) as panel:
    for row in epochs(method, part, recipe):
        h = features.extract(method, data.validation)
        row |= evaluate.probe(method, data, linear=False, limit=500)
        row |= {"effective rank": health.effective_rank(h)}
        xy = evaluate.living_map(h[:300], xy)
        panel.add(row, xy=xy, labels=shown.label, filters=grey_filters(method),
                  predicted=evaluate.guesses(method, data, 6), pictures=puzzles_and_answers(method, shown.image[:5]))

# %%
panel.replay

# %% [markdown]
# ## 7. You against the network
#
# The same puzzles as before. It chooses among two dozen orders, you among all of them; and you have seen things before.

# %%
by_hand = widgets.puzzles(method, data.validation.image[20:], n=6, title="a network that has seen three thousand pictures")
by_hand

# %%
fresh = method.solve(data.validation.image, seed=7)
solved = float((fresh["answer"] == fresh["order"]).all(1).float().mean())
print(f"pictures that it never saw: {solved:.1%} of the puzzles solved (by chance {1 / len(orders):.1%}); "
      f"by you: {len(by_hand.solved)} of {len(by_hand.about['order'])}")
assert solved > 8 / len(orders)

# %% [markdown]
# And the colours? Look at the *answers* above: they are pale. The table compares how often the network names the right colour with how often "grey"
# alone would be right.

# %%
faded, bins = fresh["faded"], fresh["bins"]
guess = fresh["colours"].argmax(2)
coloured = {"always grey": float((bins[faded] == 0).float().mean()), "the network": float((guess[faded] == bins[faded]).float().mean())}
chance_of_colour = 1 - fresh["colours"].softmax(2)[:, :, 0]
colourful = bins != 0
knows = {"where it is grey": float(chance_of_colour[faded][~colourful[faded]].mean()),
         "where it is coloured": float(chance_of_colour[faded][colourful[faded]].mean())}
# Holds: "The network names hardly more colours than somebody who always says grey", "It gives more chance to a colour where there is one"
assert abs(coloured["the network"] - coloured["always grey"]) < 0.05
assert knows["where it is coloured"] > knows["where it is grey"] + 0.04
show.table([{"right colours": name, "share": value} for name, value in coloured.items()]
           + [{"right colours": f"chance that it gives to colour {name}", "share": value} for name, value in knows.items()])

# %% [markdown]
# The network names hardly more colours than somebody who always says grey. It does know *where* there is a colour. It gives more chance to a colour
# where there is one. In photographs grass is green and sky is blue; the toybox draws the hue of each solid at random, so *nobody* can know it from a
# grey picture. Keep this in mind for the claims below: colouring can teach little in a world where colours mean nothing.
#
# ## 8. Each task alone
#
# Three more networks, on fewer pictures: missing piece only, colours only, an intact jigsaw only; and the damaged puzzle again with the same budget.

# %%
short, fewer = recipe.but(epochs=2, batch_size=64), data.train.take(slice(0, 1200)).unlabelled()
alone, table = {}, []
for name, tasks in {"inpainting": ("inpainting",), "colour": ("colour",), "jigsaw": ("jigsaw",), "damaged": jigsaw.TASKS}.items():
    alone[name] = new_method(tasks=tasks)
    row = fit(alone[name], fewer, short)[-1]
    marks = {k: row.get(k, "") for k in ("puzzles solved", "filled right", "coloured right")}
    table.append({"task": name, **marks, **evaluate.probe(alone[name], data, limit=800)})
table.append({"task": "untrained", **evaluate.probe(untrained, data, limit=800)})
show.table(table, caption=f"after {short.epochs} epochs on {len(fewer):,} pictures")

# %%
linear = {row["task"]: row["linear"] for row in table}
# Holds: "The puzzles and the missing piece teach", "of the damaged puzzles fewer are solved"
assert min(linear["jigsaw"], linear["damaged"], linear["inpainting"]) > linear["untrained"] + 0.05, "puzzles should teach"
assert table[3]["puzzles solved"] < table[2]["puzzles solved"], "damaged puzzles should be harder"
# Holds: "Colours alone teach the least"
assert linear["colour"] < min(linear[name] for name in ("jigsaw", "damaged", "inpainting")) - 0.03
show.bars(linear, title="linear probe on the validation split", chance=0.1)

# %% [markdown]
# The puzzles and the missing piece teach; of the damaged puzzles fewer are solved. Colours alone teach the least. The order of the other three is *not*
# a result: this is one seed, two epochs and 1,200 pictures, and they are close together. Section 11 has five seeds of the whole recipe.
#
# Click pictures, and see whom each task takes for neighbours: puzzles first, then the other two.

# %%
some = slice(0, 120)
encoded = {name: features.extract(network, data.validation)[some] for name, network in alone.items()}
pair = lambda *names: widgets.neighbours({name: encoded[name] for name in names}, data.validation.image[some],
                                         held_out[some], classes=data.classes)
pair("jigsaw", "damaged")

# %%
pair("inpainting", "colour")

# %%
# These networks see in grey: so do we here, filters and pictures.
in_grey = Samples((255 * jigsaw.greyed(data.validation.image / 255)).round().to(torch.uint8))
widgets.filters(method, in_grey, panel, layers=["conv1", "conv3"])

# %% [markdown]
# ## 9. Break it: three doors left open
#
# The intact jigsaw, six times. Each door is a switch of the method.
#
# - **touching pieces**: `gap=0`, and a line that runs across two pieces joins them;
# - **light**: a lamp at the lower right makes pieces there brighter. Normalised pieces do not show it; with `normalise=False` they do;
# - **colour faults**: a lens that fringes edges outwards, and a sensor that is redder on the right. Grey pieces do not show it; with `grey=False` they do.
#
# The toybox has no such light and no such lens: we plant them, in front of the protected network as well as of the open one.

# %%
crop = augment.crop_and_flip((0.6, 1.0))
faults = {"lamp": dict(lamp=0.5), "lens": dict(aberration=0.08, cast=0.25)}
through = {name: lambda x, how=how: jigsaw.lens(crop(x), **how) for name, how in faults.items()}
show.grid(torch.cat([pictures[:6] / 255, *(jigsaw.lens(pictures[:6] / 255, **how) for how in faults.values())]),
          ["picture"] * 6 + ["under the lamp"] * 6 + ["through the lens"] * 6, columns=6)

# %%
doors = {"touching pieces": ({}, dict(gap=0, jitter=False)),
         "light": (dict(view=through["lamp"]), dict(view=through["lamp"], normalise=False)),
         "colour faults": (dict(view=through["lens"]), dict(view=through["lens"], grey=False))}
found = []
for door, both in doors.items():
    for state, arguments in zip(("closed", "open"), both):
        victim = new_method(tasks=("jigsaw",), **arguments)
        row = fit(victim, fewer, short)[-1]
        score = evaluate.probe(victim, data, limit=600)
        found.append({"door": door, "": state, "puzzles solved": row["puzzles solved"], **score})
show.table(found, caption="the same pictures for both states of each door")

# %%
of = {(row["door"], row[""]): row for row in found}
eased = {door: of[door, "open"]["puzzles solved"] - of[door, "closed"]["puzzles solved"] for door in doors}
costs = {door: of[door, "closed"]["linear"] - of[door, "open"]["linear"] for door in doors}
assert min(eased["light"], eased["colour faults"]) > 0.1 and eased["touching pieces"] > 0.03, "every open door should be used"
assert costs["light"] > 0.07, "with light from one side nothing need be looked at"
# Holds: "Every open door makes the puzzle easier", "nearly all puzzles are solved"
assert min(of[door, "open"]["puzzles solved"] for door in ("light", "colour faults")) > 0.85
# Holds: "Pieces that touch make the puzzle easier too, and cost less than the light does"
assert costs["touching pieces"] < costs["light"]
show.table([{"door": door, "more puzzles solved": eased[door], "linear probe lost": costs[door]} for door in doors])

# %% [markdown]
# Every open door makes the puzzle easier. Light and colour faults replace looking at the thing: nearly all puzzles are solved, and the network infers
# each piece's position from its tint or its brightness. Pieces that touch make the puzzle easier too, and cost less than the light does: the door that
# is best known is not the most dangerous one.

# %%
measured = {"best features": max(alone, key=linear.get), "widest door": max(eased, key=eased.get)}
show.table([{"": "you expected", **my_prediction}, {"": "measured", **measured}], caption="in this one short run")

# %% [markdown]
# ## 10. What does each task keep?

# %%
few = Data(data.train.take(slice(0, 1500)), data.validation, data.test)
factors = evaluate.factor_table({"untrained": untrained, **alone}, few)
# Holds: "Every task keeps the place, colouring too"
assert min(factors[name][axis] for name in alone for axis in ("x", "y")) > 0.6
# Holds: "None of them keeps the hue", "The shape is what colouring does without"
assert max(factors[name]["hue"] for name in alone) < 0.3
assert factors["colour"]["shape"] < min(factors[name]["shape"] for name in ("jigsaw", "damaged", "inpainting")) - 0.03
show.factor_table(factors, title="what can be read, factor by factor (validation split)")

# %% [markdown]
# None of them keeps the hue: they never saw one. The shape is what colouring does without. And the two columns that you would expect from a task about
# *places*, x and y? Every task keeps the place, colouring too: it is no special gift of the jigsaw.
#
# ## 11. The paper's claims
#
# `sslcourse claims jigsaw --seeds 5` trains five networks a seed and returns a verdict for each claim; `sslcourse table jigsaw` makes the paper's table
# of combinations again. The table has the paper's numbers and five seeds of ours.

# %% tags=["nbval-check-output"]
# Measured beforehand over five seeds, and stored with the course.
from sslcourse.results import papers, wall as stored
five = {row["claim"]: row for row in stored.verdicts(compare.MEASURED) if row["paper"] == "jigsaw"}
papers.findings("jigsaw", compare.MEASURED)

# %% tags=["nbval-check-output"]
# The whole table, measured beforehand by `sslcourse table jigsaw`.
import json
made = json.loads((compare.MEASURED / "table-jigsaw.json").read_text(encoding="utf-8"))
row_of = {next(iter(row.values())): row for row in made["rows"]}
number = lambda row, column: float(row_of[row][column].split()[0])
# Holds: "a missing piece alone stays far behind the jigsaw", "The damaged puzzle and the intact one are level"
assert number("Inp", "linear probe") < number("Jig", "linear probe") - 4
assert abs(number("CDJP", "linear probe") - number("Jig", "linear probe")) < 3
show.table(made["rows"], caption=f"{made['title']}; {made['seeds']} seeds; {made['what']}")

# %% [markdown]
# With the whole recipe a missing piece alone stays far behind the jigsaw: the short run of section 8 showed nothing of that. The damaged puzzle and the
# intact one are level. The last column has the paper's numbers on real photographs, where each step of the ladder brings a little.

# %%
# Holds: "The first claim stands by a wide margin", "No step of the paper's ladder rises above the spread over seeds", "its whole order is not found"
assert five["learns"]["low"] > 0.1
steps = [five[name] for name in ("damage_helps", "inpainting", "colour", "order")]
assert all(row["verdict"] != "pass" for row in steps)
damage = five["damage_helps"]
# Holds: "the damaged puzzle and the intact one teach about the same"
assert abs(damage["mean"]) < 0.03
print(f"damaged minus intact, linear probe: this short run {linear['damaged'] - linear['jigsaw']:+.3f}; "
      f"five seeds {damage['mean']:+.3f}, {damage['low']:+.3f} to {damage['high']:+.3f}: {damage['verdict']}")

# %% [markdown]
# The first claim stands by a wide margin. No step of the paper's ladder rises above the spread over seeds here, and its whole order is not found. One reason is in
# section 7: colours mean nothing in this world. Another may be that an intact grey jigsaw is already hard enough for so small an encoder.
#
# ## Minutes later: the same network, trained for longer
#
# The course brings the damaged jigsaw after its `FULL` recipe; the page says how it was made.

# %%
from sslcourse import networks
longer = networks.load("jigsaw")
print(longer)
frames = longer.replay.frames()             # longer.replay shows them on a slider
show.embedding({"before any training": frames[0]["xy"], "after all of it": frames[-1]["xy"]}, frames[0]["labels"], data.classes)

# %%
later = evaluate.probe(longer.method, data, limit=800)["linear"]
minutes = {"random, as this one reads": linear["untrained"], "section 8, 1,200 pictures": linear["damaged"], "trained for longer": later}
# Holds: "Puzzles alone teach a network most of what a shape is"
assert later > minutes["section 8, 1,200 pictures"] + 0.1 and later > minutes["random, as this one reads"] + 0.2
show.bars(minutes, title="linear probe from 800 labels, validation split", chance=0.1)

# %%
known = longer.page["validation"]
print(f"with all labels: linear probe {known['linear']:.1%}, nearest neighbours {known['kNN']:.1%}")
# Holds: "a line through its features finds the shapes, and their distances say less of it"
assert known["linear"] > known["kNN"] + 0.1

# %% [markdown]
# Puzzles alone teach a network most of what a shape is, without a label and without a colour. Why does the map show so little of it? A map reads
# distances: a line through its features finds the shapes, and their distances say less of it. SimCLR was trained on distances; this one was not.
#
# ## 12. What changed since
#
# - **Rotation** (chapter 04) turned out to be a simpler question with better features at the time; contrastive learning (chapters 01 and 06) overtook both.
# - **Invariance instead**: PIRL asks that a picture and its shuffled pieces have the *same* features, rather than that the shuffling can be told.
# - **Masked autoencoders** took the missing piece further: three quarters of the pieces are gone, the order is given, and pixels are asked for.
#
# ## Answer
#
# *The more is broken, the more must be understood?* Not here, as far as five seeds can tell: the damaged puzzle and the intact one teach about the
# same. Both teach a great deal about shape, without a label and without a colour. And how do we know that a network solves the puzzle by looking at the
# *things*? We open one door after another and watch the probe: where a shortcut is open, the puzzles are solved and the probe falls. The test split is
# opened once, for the final number.

# %%
# The probes get the labels of those pictures only that the network was trained on.
as_many = Data(data.train.take(slice(0, len(part))), data.validation, data.test)
final = evaluate.report({"damaged jigsaw": method}, as_many)
final

# %% [markdown]
# Mind the random encoder. On the wall it stands far lower, because there it reads small pictures in colour; here it reads them as the network does,
# enlarged, grey and normalised, and that alone is worth a good deal. Compare methods by how far they are above *their own* random encoder.

# %%
mine = {"random, as this one reads": final["random encoder"]["linear"], "damaged jigsaw": final["damaged jigsaw"]["linear"]}
show.bars(compare.wall(mine), chance=0.1, title="the results wall: linear probe, test split")

# %%
print(f"Without labels and without colours: {final['damaged jigsaw']['linear']:.1%} by a linear probe, against "
      f"{final['random encoder']['linear']:.1%} for the random encoder and {final['pixels']['linear']:.1%} for raw pixels.")
lesson("03_damaged_jigsaw")
print(f"this notebook: {time.perf_counter() - notebook_started:.0f} s on {profile}")

# %% [markdown]
# ## Quiz
#
# Five questions on what you have seen. Click an answer, and you are told why it is right, or which mistake it is.

# %%
from sslcourse.check import quiz
# BEGIN SOLUTION: quiz("03_damaged_jigsaw")
quiz("03_damaged_jigsaw", answers="b c b a c")
# END SOLUTION

# %% [markdown]
# ## References
# - D. Kim, D. Cho, D. Yoo, I. S. Kweon. *Learning image representations by completing damaged jigsaw puzzles.* WACV 2018. arXiv:1802.01880.
# - M. Noroozi, P. Favaro. *Unsupervised learning of visual representations by solving jigsaw puzzles.* ECCV 2016. arXiv:1603.09246.
# - D. Pathak and others. *Context encoders: feature learning by inpainting.* CVPR 2016. arXiv:1604.07379.
# - R. Zhang, P. Isola, A. Efros. *Colorful image colorization.* ECCV 2016. arXiv:1603.08511.
# - I. Misra, L. van der Maaten. *Self-supervised learning of pretext-invariant representations.* CVPR 2020. arXiv:1912.01991.
# - K. He and others. *Masked autoencoders are scalable vision learners.* CVPR 2022. arXiv:2111.06377.
