# %% [markdown]
# # Dense Predictive Coding: predict what a film will look like, not which pixels it will have
#
# **The question of this notebook.** A network sees the first blocks of a film and must pick the features of the next ones out of hundreds of others. *What does it
# have to understand of motion* for that, and through which doors can it slip without understanding any?
#
# T. Han, W. Xie, A. Zisserman. *Video Representation Learning by Dense Predictive Coding.* ICCV workshops 2019.
#
# **You will be able to**
# - say which three kinds of negatives a dense prediction meets, write its loss and its roll-out, and train with your own code;
# - read a score matrix: where the prediction is right, and of what kind its errors are;
# - recognise two shortcuts that solve the task without motion, and close them.
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
from sslcourse import augment, encoders, evaluate, features, show, widgets
from sslcourse.check import check, hint, lesson, solution
from sslcourse.data import toybox
from sslcourse.data.datasets import Samples
from sslcourse.methods import dpc, simclr
from sslcourse.train import Recipe, epochs, fit
from sslcourse.widgets.explorers import Control, Explorer
from sslcourse.widgets.films import films

profile = sslcourse.setup(seed=0)
data = toybox.videos()
held, moves = data.validation.video, data.validation.label

# %% [markdown]
# ## 1. A picture that makes the question visible
#
# A large and a small solid go round, each clockwise or counter-clockwise: four classes of motion. Press play. Then stop: from a single frame, could you
# tell the class?

# %%
one_of_each = [int((moves == c).nonzero()[0]) for c in range(4)]
films({"": held[one_of_each]}, scale=4, titles=data.classes, title="one film of each class")

# %% [markdown]
# No single frame says how things move, and no average of frames does: each film shown backwards has the very same frames. So what an encoder of
# *images* makes of the frames is no use here, however good it is. We shall measure that.
#
# ## 2. Predict
#
# Nearest neighbours among films (of four classes) under the features of four networks: a **random** one, **SimCLR on frames** with its features
# averaged over the film, **DPC** without labels, and a **supervised** one. Where will each land?

# %%
my_prediction = {"random encoder": None, "SimCLR on frames": None, "DPC": None, "supervised": None}      # accuracy, 0 to 1

# %% [markdown]
# ## 3. The idea in mathematics, with the names of the code
#
# A film is cut into blocks $x_1, x_2, \ldots$ of a few frames. An encoder `f` makes of each block a *map* $z_t = f(x_t)$: a feature at every place. A recurrent
# network `g`, the same at every place, sums up the past, and a small network `phi` says what the next map will be; the prediction is read by `g` as if
# it had come true:
#
# $$c_t = g(\mathrm{ReLU}(z_t), c_{t-1}), \qquad \hat z_{t+1} = \phi(c_t), \qquad c_{t+1} = g(\mathrm{ReLU}(\hat z_{t+1}), c_t), \quad \ldots$$
#
# Every predicted feature, of film $i$, block $k$ and place $s$, must pick the true one among *all* true features of the batch:
#
# $$L = -\frac{1}{n} \sum_{i, k, s} \log \frac{e^{\hat z_{iks} \cdot z_{iks} / \tau}}{\sum_{j, m, u} e^{\hat z_{iks} \cdot z_{jmu} / \tau}}$$
#
# The temperature $\tau$ is 1, as in the paper: it is there for you to change.

# %% [markdown]
# In a picture, with the names of the code. Blue boxes learn by the gradient; a dashed border or a dashed arrow means that no gradient passes.

# %%
show.diagram("dpc")

# %% [markdown]
# ## 4. Exercise: which negatives are there? (core, about 8 minutes)
#
# A wrong candidate comes from another film (**easy**), from another place of the same film (**spatial**), or from the same place of the same film at another time
# (**temporal**, the hardest). Fill the table of kinds: 0 the positive, 1 other time, 2 other place, 3 other film. Rows and columns count places
# fastest, then blocks, then films.
#
# Replace the line that raises. `check` tells you *which* mistake it found; `hint("dpc.kinds", 1)` helps, `solution("dpc.kinds")` shows ours.

# %% tags=["nbval-check-output"]
def my_kinds(films, blocks, places):
    """Returns (n, n) whole numbers from 0 to 3, n = films * blocks * places."""
    # BEGIN SOLUTION
    row = torch.arange(films * blocks * places)
    film, place = row // (blocks * places), row % places
    kind = torch.full((len(row), len(row)), 3)
    kind[film[:, None] == film] = 2
    kind[(film[:, None] == film) & (place[:, None] == place)] = 1
    return kind.fill_diagonal_(0)
    # END SOLUTION

kinds = check("dpc.kinds", my_kinds)

# %% [markdown]
# Two blocks are predicted, at four times four places. How many candidates of each kind does one prediction meet, with as many films in a batch as we
# shall train with?

# %% tags=["nbval-check-output"]
names = ("the positive", "other time", "other place", "other film")
counts = torch.bincount(kinds(16, 2, 16)[0], minlength=4)
show.table([{"kind": name, "candidates": int(c)} for name, c in zip(names, counts)], caption="for each predicted feature, in a batch of sixteen films")

# %% [markdown]
# ## 5. Exercise: the dense loss (core, about 8 minutes)
#
# It is one classification for all predicted features at once. Plain dot products, divided by the temperature; gradients flow into both sides.

# %% tags=["nbval-check-output"]
def my_dense_nce(prediction, target, temperature):
    """Both (films, blocks, channels, height, width). Returns one number."""
    # SOLUTION: dpc.dense_nce

dense_nce = check("dpc.dense_nce", my_dense_nce)

# %% [markdown]
# **In numbers: how much can such a loss know?** With $N$ candidates, $\log N - L$ is a lower bound of the mutual information of prediction and truth (van den
# Oord and others, 2018), and it never says more than $\log N$. A world to check it: 256 things, all equally likely, and a network that always knows
# which. The information is $\log 256$. Among few candidates the loss cannot show it, however good the network is:

# %% tags=["nbval-check-output"]
generator, known, information = torch.Generator().manual_seed(0), [], math.log(256)
for candidates in (2, 16, 128, 2048):
    thing = torch.randint(256, (500, candidates), generator=generator)     # in each row the first one is the right one
    ratio = torch.where(thing == thing[:, :1], information, -50.0)         # the best score there is: log p(thing | known) / p(thing)
    bound = math.log(candidates) - float(F.cross_entropy(ratio, torch.zeros(500, dtype=torch.long)))
    known.append({"candidates N": candidates, "log N": math.log(candidates), "log N - L": bound, "the information": information})
# Holds: "a lower bound of the mutual information", "it never says more than"
assert all(row["log N - L"] <= min(row["log N"], information) + 0.02 for row in known)
# Holds: "Among few candidates the loss cannot show it"
assert known[0]["log N - L"] < 0.2 * information and known[-1]["log N - L"] > 0.95 * information
show.table(known)

# %% [markdown]
# ## 6. Exercise: feed the prediction back (more, about 5 minutes)
#
# `phi(context)` predicts a map, `step(map, context)` gives the next context. The GRU only ever reads rectified maps.

# %% tags=["nbval-check-output"]
def my_roll_out(context, phi, step, ahead):
    """Returns the predictions of the next `ahead` blocks, (films, ahead, channels, height, width)."""
    # BEGIN SOLUTION
    predictions = []
    for _ in range(ahead):
        predictions.append(phi(context))
        context = step(F.relu(predictions[-1]), context)
    return torch.stack(predictions, 1)
    # END SOLUTION

roll_out = check("dpc.roll_out", my_roll_out)

# %% [markdown]
# ## 7. The library's method, and your functions in it
#
# Which line keeps the future out of the prediction? The last one of `guessed`: only the maps of the past, `z[:, :past]`, enter `predict`.

# %%
show.source(dpc.DPC.guessed, dpc.DPC.loss, dpc.DPC.encode)

# %% tags=["nbval-check-output"]
horizon = (1, 2)                       # a switch: first and last number of blocks to predict. (2, 2): no curriculum
view = augment.film_view(area=(0.7, 1.0))

def new_method(border="repeated", **arguments):
    torch.manual_seed(0)
    return dpc.DPC(encoders.small_3d(border=border), **{"view": view, "horizon": horizon, **arguments})

recipe = dpc.COURSE.but(epochs=4, lr=3e-3)
ours = {"data": "toybox films", "encoder": "four convolutions", "epochs": recipe.epochs, "batch_size": recipe.batch_size,
        "lr": recipe.lr, "blocks": "4 of 4 frames", "predicted": f"{horizon[0]} to {horizon[1]}"}
show.table([{"": "paper", **{k: dpc.PAPER[k] for k in ours}}, {"": "here", **ours}], caption="every departure, in the open")

# %% [markdown]
# What the network is shown: one crop for the whole film, and colours *of their own for every frame*. Why that is, section 11 shows. There is no mirror
# image among the views: it would turn clockwise into counter-clockwise.

# %%
torch.manual_seed(0)
films({"as it is": held[:5] / 255, "as it is shown": view(held[:5])}, scale=3, title="what the network is shown")

# %% [markdown]
# Now train; no label is used. Beside the curves: the score matrix of two films, three times. The brighter, the more of a row's attention goes there.

# %%
method, shown, xy = new_method(loss=dense_nce, roll=roll_out), data.validation.take(slice(0, 150)), None
own = kinds(2, 2, 16)

def matrices(network, pairs=3):
    with torch.no_grad():
        scores = [dpc.scores_of(*network.guessed(dpc.blocks_of(held[2 * i : 2 * i + 2] / 255, 4), 2)) for i in range(pairs)]
    return torch.stack([torch.from_numpy(show.kinds_tile(s.softmax(1), own)) for s in scores])

ways, seen = [name.replace("large ", "").replace("small ", "") for name in data.classes], [matrices(method)]
with widgets.Panel(recipe.epochs, classes=ways, title="DPC, no labels (large, small)") as panel:
    for row in epochs(method, data.train.unlabelled(), recipe):
        h = features.extract(method, shown)
        row |= evaluate.probe(method, data, linear=False, limit=400)
        xy = evaluate.living_map(h, xy)
        seen.append(matrices(method))
        panel.add(row, xy=xy, labels=shown.label, pictures={"scores": seen[-1]})

# %%
panel.replay

# %% [markdown]
# The same matrices, larger: the slider goes from the untrained network to the last epoch. Green is the positive, orange another time, blue another
# place, grey another film. Watch the green diagonal: the more of it glows, the more often the right feature is picked.

# %%
films({"": torch.stack(seen, 2)}, fps=1, scale=3, titles=[f"films {2 * i + 1} and {2 * i + 2}" for i in range(len(seen[0]))],
      title="softmax of the scores, before training and after each epoch")

# %% [markdown]
# ## 8. What is it mistaken about?
#
# Two films that it has not seen: on the left what each candidate *is*, on the right where the softmax of each row goes. Look for the second, dimmer diagonals inside
# each film: the same place at the other time.

# %%
with torch.no_grad():
    prediction, target = method.guessed(dpc.blocks_of(held[:2] / 255, 4), 2)
show.dense_scores(dpc.scores_of(prediction, target), own, blocks=2, places=16)

# %% [markdown]
# Of all its wrong picks on the validation films, how many are of each kind, and how many would be if it guessed blindly among the wrong candidates?

# %%
found = dpc.pretext(method, held, ahead=2)
candidates = torch.bincount(kinds(32, 2, 16)[0], minlength=4)[1:]
errors = {name: found[name] / (1 - found["cell found"]) for name in dpc.KINDS[1:]}
blind = dict(zip(dpc.KINDS[1:], (candidates / candidates.sum()).tolist()))
# Holds: "several times as often as by blind guessing", "Another *place* is picked far less often than by blind guessing"
assert errors["other time"] > 3 * blind["other time"], "temporal negatives should be over-represented among the errors"
assert errors["other place"] < 0.5 * blind["other place"]
# Holds: "Nearly all errors are another *film*"
assert errors["other film"] > 0.9
show.table([{"error": name, "share of the errors": errors[name], "if blind": blind[name], "times": errors[name] / blind[name]}
            for name in errors],
           caption=f"right: {found['cell found']:.1%} of the cells, among {len(kinds(32, 2, 16)):,} candidates")

# %% [markdown]
# Nearly all errors are another *film*: there are so many of them. So compare with blind guessing. Another *place* is picked far less often than by
# blind guessing. Another *time* is a rare error too, as there is one such candidate only; but it is picked several times as often as by blind guessing.
# And further ahead? Three blocks it was never trained to predict:

# %%
by_horizon = {ahead: dpc.pretext(method, held, ahead)["cell found"] for ahead in (1, 2, 3)}
# Holds: "The more blocks are predicted, the fewer cells are found"
assert by_horizon[1] > by_horizon[2] > by_horizon[3]
show.bars({f"{ahead} ahead": value for ahead, value in by_horizon.items()}, title="cells found, by number of predicted blocks")

# %% [markdown]
# The more blocks are predicted, the fewer cells are found: there is less past to predict from, the future is further away, and there are more candidates.
#
# ## 9. Where does a prediction find itself?
#
# Choose a film and a cell. The heat says in which place of the true future block the feature that was predicted *for the outlined cell* is found. If it
# stays in its cell, the network knew what would be there.

# %%
with torch.no_grad():
    prediction, target = method.guessed(dpc.blocks_of(held[:12] / 255, 4), 2)

def where(film, place, ahead):
    film, place, k = int(film), int(place), int(ahead) - 1
    scores = prediction[film, k].flatten(1)[:, place] @ dpc.cells(target).T            # against every true cell
    share = scores.softmax(0).view(12, 2, 4, 4)
    own = share[film, k]
    picture = show.match(held[film, :, 7], held[film, :, 8 + 4 * k + 2], own / own.sum(), place)
    return show.png(picture), f"of the attention, {float(own.sum()):.0%} is in this block, {float(share[film].sum()):.0%} in this film"

large = (data.validation.extra["mask"][0, 10] == 1).float()
solid = float(F.adaptive_avg_pool2d(large[None], 4).argmax())                          # where the large one will be
Explorer(where, [Control("film", "slider", 0.0, "film", 0, 11, 1, 0), Control("place", "slider", solid, "place", 0, 15, 1, 0),
                 Control("ahead", "slider", 1.0, "blocks ahead", 1, 2, 1, 0)], name="match")

# %% [markdown]
# ## 10. Does it know how things move?
#
# The baselines: the same network never trained; SimCLR on single frames, its features averaged over the film; and the same network trained with labels,
# for three epochs only. It is stopped early, so it is no upper bound: the printed line says how many of its own training films it has right.

# %%
frames = data.train.video[:, :, ::5].transpose(1, 2).flatten(0, 1)
torch.manual_seed(0)
on_frames = simclr.SimCLR(encoders.small_cnn(16))
fit(on_frames, Samples(image=frames, name="frames"), Recipe(epochs=2, batch_size=128, lr=4e-3))
torch.manual_seed(0)
crops = augment.film_view((0.7, 1.0), strength=0, hue_by=0, jitter=0, copied=0)
supervised = dpc.MotionClassifier(encoders.small_3d(), len(data.classes), view=crops)
rows = fit(supervised, data.train, Recipe(epochs=3, batch_size=16, lr=2e-3))
print(f"supervised: {rows[-1]['accuracy']:.0%} of the training films right, after {len(rows)} epochs")

# %%
def averaged(batch):
    """SimCLR's features of every fifth frame, averaged over the film."""
    x = batch["video"][:, :, ::5].transpose(1, 2)
    return on_frames.f(x.flatten(0, 1) / 255).unflatten(0, x.shape[:2]).mean(1)

untrained = evaluate.random_like(method, data.train)
sources = {"random encoder": (untrained, None), "SimCLR on frames": (on_frames, averaged), "DPC": (method, None),
           "supervised": (supervised, None)}
h = {name: [features.extract(network, part, encode=encode) for part in (data.train, data.validation)]
     for name, (network, encode) in sources.items()}
scores = {name: evaluate.score(x[0], data.train.label, x[1], moves, classes=4) for name, x in h.items()}
without_motion = max(scores["random encoder"]["kNN"], scores["SimCLR on frames"]["kNN"])
# Holds: "DPC knows how things move", "features of frames stay at chance"
assert scores["DPC"]["kNN"] > without_motion + 0.1, "DPC should know about motion"
assert scores["SimCLR on frames"]["kNN"] < 0.36
show.bars({name: s["kNN"] for name, s in scores.items()}, chance=0.25, title="motion class by nearest neighbours, validation split")

# %%
measured = {name: s["kNN"] for name, s in scores.items()}
show.table([{"": "you expected", **my_prediction}, {"": "measured", **measured}], caption="nearest neighbours, validation split")

# %% [markdown]
# DPC knows how things move; SimCLR's features of frames stay at chance, as section 1 said they would.
#
# Retrieval, as in the paper's figure: a film, and the three films nearest to it under each encoder. Press play: which of them share its *motion*, which
# its *look*? Below, the same question is asked of all films.

# %%
query = one_of_each[0]
def nearest_films(x):
    similarity = F.normalize(x, dim=1) @ F.normalize(x[query], dim=0)
    similarity[query] = -2
    return similarity.topk(3).indices

answers = {name: held[nearest_films(h[name][1])] for name in ("random encoder", "DPC", "supervised")}
films({"query": held[[query]], **answers}, scale=4, title="the films nearest to the query",
      note="Below the query, from left to right: the nearest, the second and the third.")

# %%
table = []
for name, (_, x) in h.items():
    similarity = F.normalize(x, dim=1) @ F.normalize(x, dim=1).T
    three = similarity.fill_diagonal_(-2).topk(3).indices
    table.append({"": name, "same motion": float((moves[three] == moves[:, None]).float().mean()),
                  "large solid goes the same way": float((moves[three] // 2 == moves[:, None] // 2).float().mean())})
of = {row[""]: row for row in table}
# Holds: "DPC's nearest films share the way of the large solid", "The random encoder's share it by chance"
assert of["DPC"]["large solid goes the same way"] > 0.7 and of["random encoder"]["large solid goes the same way"] < 0.6
show.table(table, caption="of the three nearest films, over all validation films")

# %% [markdown]
# DPC's nearest films share the way of the large solid, in most cases. The random encoder's share it by chance.
#
# ## 11. Break it
#
# Three switches. Each network begins the same training and is stopped after two epochs, and so is compared with the healthy one at the same moment. In
# these two epochs one block is predicted, so "another time" is no candidate yet, and has no column.
#
# - **shuffled**: the blocks in random order, so that nothing says what comes next;
# - **one jitter a film**: colours drawn once for each film;
# - **border of zeros**: the convolutions see zeros beyond the border, as is usual.

# %%
switches = {"shuffled": dict(order="shuffled"), "border of zeros": dict(border="zeros"),
            "one jitter a film": dict(view=augment.film_view((0.7, 1.0), per_frame=False))}
# switches["two blocks at once"] = dict(horizon=(2, 2))        # no curriculum: another six seconds
curves = {"healthy": panel.rows[:2]}
for name, arguments in switches.items():
    victim, curves[name] = new_method(**arguments), []
    for row in epochs(victim, data.train.unlabelled(), recipe):
        curves[name].append(row | evaluate.probe(victim, data, linear=False, limit=400))
        if len(curves[name]) == 2:
            break
last = {name: rows[-1] for name, rows in curves.items()}
columns = ("loss", "cell found", *(kind for kind in dpc.KINDS[1:] if kind != "other time"), "kNN")
show.table([{"": name, **{key: row[key] for key in columns}} for name, row in last.items()],
           caption="after two epochs, in training; kNN: motion class, validation split")

# %%
guessing = math.log(recipe.batch_size)                          # places known, films not, one block ahead
healthy, tinted, zeros = (last[name] for name in ("healthy", "one jitter a film", "border of zeros"))
# Holds: "Each of them costs most of the motion", "The right *film* is found far more often"
assert healthy["kNN"] > max(last[name]["kNN"] for name in switches) + 0.04, "each should cost most of the motion"
assert 1 - tinted["other film"] > 2 * (1 - healthy["other film"]), "colours should tell the film, if not the place"
# Holds: "The loss falls to what is left when places are known and films are not", "It never mistakes the place"
assert abs(zeros["loss"] - guessing) < 0.3 and zeros["other place"] < 0.01, "places should come for free"
# Holds: "within the right film the place is found less often"
assert tinted["cell found"] / (1 - tinted["other film"]) < healthy["cell found"] / (1 - healthy["other film"])
show.bars({name: row["kNN"] for name, row in last.items()}, chance=0.25, title="motion class by nearest neighbours, validation")

# %%
print(f"border of zeros: loss {zeros['loss']:.2f}; the logarithm of {recipe.batch_size} films is {guessing:.2f}")

# %% [markdown]
# Each of them costs most of the motion.
#
# - **One jitter a film**: a film's tint is in all of its cells and in no other film's. The right *film* is found far more often, but within the right film the place is found less
#   often. Motion is not needed: the first shortcut.
# - **Border of zeros**: zeros tell each place how far the border is. The loss falls to what is left when places are known and films are not, and stays there: the second
#   shortcut. It never mistakes the place, and knows nothing else.
# - **Shuffled**: which block comes next cannot be known, so the context is of no use.
#
# ## 12. What did it keep?

# %%
factors = evaluate.factor_table({"pixels": "pixels", "DPC": method, "supervised": supervised}, data)
kept = factors["DPC"]
print("DPC: " + ", ".join(f"{factor} {value:.2f}" for factor, value in kept.items()))
# Holds: "The way of the large solid is there, its place too", "of its shape and its colours little is left"
assert min(kept["large"], kept["x"], kept["y"]) > 0.3 and max(kept["shape"], kept["hue"]) < 0.2
# Holds: "far less of the way of the small one", "Labels, too, find it later than the large one"
assert kept["small"] < kept["large"] - 0.2 and factors["supervised"]["small"] < factors["supervised"]["large"] - 0.1
show.factor_table(factors, title="what can be read, factor by factor (validation split)")

# %% [markdown]
# The way of the large solid is there, its place too; of its shape and its colours little is left. And the small solid? The features say far less of the
# way of the small one. It is smaller than a cell of the map, and so it hardly affects a loss by cells. Labels, too, find it later than the large one.
#
# ## 13. The paper's claims
#
# `sslcourse claims dpc --seeds 5` trains five networks a seed and returns a verdict for each claim. `sslcourse table dpc` takes the method apart,
# negative by negative. The table has the paper's numbers and five seeds of ours.

# %% tags=["nbval-check-output"]
# Measured beforehand over five seeds, and stored with the course.
from sslcourse.results import compare, papers, wall as stored
five = {row["claim"]: row for row in stored.verdicts(compare.MEASURED) if row["paper"] == "dpc"}
papers.findings("dpc", compare.MEASURED)

# %% tags=["nbval-check-output"]
# The whole table, measured beforehand by `sslcourse table dpc`.
import json
made = json.loads((compare.MEASURED / "table-dpc.json").read_text(encoding="utf-8"))
row_of = {next(iter(row.values())): row for row in made["rows"]}
number = lambda row, column: float(row_of[row][column].split()[0])
# Holds: "predicting one pooled vector in the place of a map leaves no motion", "Which negatives there are hardly matters here"
assert number("pooled prediction", "kNN") < 35 and number("DPC, horizon 1 to 2", "kNN") > 40
assert all(abs(number(f"no negatives of {what}", "kNN") - number("DPC, horizon 1 to 2", "kNN")) < 4 for what in ("other times", "other places", "the same film"))
show.table(made["rows"], caption=f"{made['title']}; {made['seeds']} seeds; {made['what']}")

# %% [markdown]
# The method taken apart. What makes it *dense* matters: predicting one pooled vector in the place of a map leaves no motion. Which negatives there are hardly matters
# here, as long as there are other films.

# %%
# Holds: "DPC beats a random network, and it needs the order of the blocks", "five seeds show no clear effect"
assert min(five["learns"]["low"], five["order"]["low"]) > 0.15
assert all(five[claim]["low"] < 0.03 and five[claim]["high"] > -0.03 for claim in ("further", "curriculum", "sequential"))

# %% [markdown]
# Two claims hold by a wide margin: DPC beats a random network, and it needs the order of the blocks. Of a growing horizon, of two blocks and of
# fed-back predictions five seeds show no clear effect.
#
# ## 14. What changed since
#
# - **MemDPC** (the same authors) predicts a mixture of memorised features: the future is uncertain, and one vector cannot be two futures.
# - **CoCLR** uses flow to find positives that look different and move alike.
# - **V-JEPA** predicts masked features of a slow copy of itself, without any negatives, at a scale where it holds.
#
# ## Answer
#
# What does it have to understand of motion? To pick the right future it must know where things go. So the *way* a solid goes round can be read from its
# features, which no label told. It slips through wherever a cell can be recognised otherwise: by the tint of its film, or by its distance from the
# border. The test split is opened once, for the final number.

# %%
final = evaluate.report({"DPC": method, "supervised": supervised}, data)
final

# %%
show.bars({row["features"]: row["kNN"] for row in final.rows}, title="motion class by nearest neighbours, test split")

# %%
print(f"Without labels, by nearest neighbours: DPC {final['DPC']['kNN']:.1%}, against {final['random encoder']['kNN']:.1%} for the random encoder, "
      f"{final['pixels']['kNN']:.1%} for raw pixels and {final['supervised']['kNN']:.1%} with labels, stopped after three epochs.")
lesson("10_dense_predictive_coding")
print(f"this notebook: {time.perf_counter() - notebook_started:.0f} s on {profile}")

# %% [markdown]
# ## Quiz
#
# Five questions on what you have seen. Click an answer, and you are told why it is right, or which mistake it is.

# %%
from sslcourse.check import quiz
# BEGIN SOLUTION: quiz("10_dense_predictive_coding")
quiz("10_dense_predictive_coding", answers="b c a a d")
# END SOLUTION

# %% [markdown]
# ## References
# - T. Han, W. Xie, A. Zisserman. *Video representation learning by dense predictive coding.* ICCV workshops 2019. arXiv:1909.04656.
# - T. Han, W. Xie, A. Zisserman. *Memory-augmented dense predictive coding for video representation learning.* ECCV 2020. arXiv:2008.01065.
# - T. Han, W. Xie, A. Zisserman. *Self-supervised co-training for video representation learning.* NeurIPS 2020. arXiv:2010.09709.
# - A. van den Oord, Y. Li, O. Vinyals. *Representation learning with contrastive predictive coding.* 2018. arXiv:1807.03748.
# - A. Bardes and others. *Revisiting feature prediction for learning visual representations from video.* 2024. arXiv:2404.08471.
