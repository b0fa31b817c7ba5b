# %% [markdown]
# # BYOL and MoCo: without negatives, and with very many
#
# **The question of this notebook.** BYOL only pulls the two views of a picture together, and nothing pushes. A constant answer would be perfect. *Why does
# training not go there*, and which of its parts keeps it away?
#
# J.-B. Grill and others. *Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning.* NeurIPS 2020.
# K. He, H. Fan, Y. Wu, S. Xie, R. Girshick. *Momentum Contrast for Unsupervised Visual Representation Learning.* CVPR 2020.
#
# **You will be able to**
# - write BYOL's loss and the update of its target, and MoCo's queue, and train with your own code;
# - take each part away, see the collapse, and read in the health panel which kind it is;
# - say what a batch means to SimCLR, to BYOL and to MoCo, and where batch statistics come in.
#
# **Time**: about an hour and a half in class; the machine works for two to three minutes. **Needs**: a laptop, no network, no GPU.

# %%
# {{first cell}}

# %%
import time
notebook_started = time.perf_counter()

import math
import sslcourse                       # first: it sets how torch's threads wait for each other
import torch
import torch.nn.functional as F
from sslcourse import compare, encoders, evaluate, features, health, show, widgets
from sslcourse.check import check, hint, lesson, solution
from sslcourse.data import toybox
from sslcourse.methods import byol, moco, simclr
from sslcourse.train import epochs

profile = sslcourse.setup(seed=0)
data = toybox.images()
pictures, held_out = data.train.image, data.validation.label

# %% [markdown]
# ## 1. A picture that makes the question visible
#
# In each row: one image, then random views of it. BYOL's task is to tell, from one view, what a second network makes of another view of the same image.

# %%
def new_method(kind=byol.BYOL, encoder_norm="batch", width=32, **arguments):
    torch.manual_seed(0)
    return kind(encoders.small_cnn(width, encoder_norm), **arguments)

untrained = evaluate.random_like(new_method(), pictures)
show.views(untrained, data.train, n=3, draws=6)

# %% [markdown]
# Now three ways to answer, and what the loss thinks of them: both views always get the *same* vector, or vectors that have nothing to do with each other, or
# what the untrained network gives. Lower is better. The best one looks at no picture.

# %%
same, first, second = torch.ones(256, 64), torch.randn(256, 64), torch.randn(256, 64)
with torch.no_grad():
    answer = untrained.q(untrained.g(untrained.f(untrained.view(pictures[:256]))))
    wanted = untrained.target(untrained.view(pictures[:256]))
answers = {"one and the same vector": (same, same), "random vectors": (first, second), "the untrained network": (answer, wanted)}
costs = {name: float(byol.regression_loss(*pair)) for name, pair in answers.items()}
# Holds: "Lower is better", "The best one looks at no picture"
assert costs["one and the same vector"] < 0.01 and min(costs, key=costs.get) == "one and the same vector"
show.bars(costs, title="loss of one direction", unit="")

# %% [markdown]
# ## 2. Predict
#
# We shall train BYOL as it is, **without the predictor**, with **target = online** (no second network), **without the stopped gradient**, and with a **fixed**
# random target that never learns. Which ones collapse? Which one ends with the lowest loss?

# %%
# For each: True if you think that it collapses. Then the name of the one with the lowest loss.
my_prediction = {"no predictor": None, "target = online": None, "no stop-gradient": None,
                 "fixed target": None, "lowest loss": None}

# %% [markdown]
# ## 3. The idea in mathematics, with the names of the code
#
# The *online* network has an encoder `f`, a projector `g` and a predictor `q`; the *target* has $f_\xi$ and $g_\xi$ only. For two views $v, v'$ of an image
#
# $$p = q(g(f(v))), \qquad z' = g_\xi(f_\xi(v')), \qquad L(v, v') = \left\| \frac{p}{\|p\|} - \frac{z'}{\|z'\|} \right\|^2 = 2 - 2\cos(p, z')$$
#
# and the loss is $L(v, v') + L(v', v)$ (eq. 2 of the paper). Gradient descent moves the online weights $\theta$ only. After it the target follows (eq. 1):
#
# $$\xi \leftarrow \tau \xi + (1 - \tau)\, \theta$$

# %% [markdown]
# In a picture, with the names of the code. Blue boxes learn by the gradient; a dashed border or a dashed arrow means that no gradient passes.

# %%
show.diagram("byol", "moco")

# %% [markdown]
# ## 4. Exercise: write the loss (core, about 5 minutes)
#
# Replace the line that raises. `check` tells you *which* mistake it found; `hint("byol.regression_loss", 1)` helps, `solution("byol.regression_loss")` shows ours.

# %% tags=["nbval-check-output"]
def my_regression_loss(p, target):
    """p, target: (n, d), row i of both is the same image. Returns one number; no gradient reaches the target."""
    # SOLUTION: byol.regression_loss

loss = check("byol.regression_loss", my_regression_loss)

# %% [markdown]
# ## 5. Exercise: the target follows (core, about 5 minutes)
#
# Two networks of the same shape, and $\tau$. Change the target's parameters *in place*, and nothing else.

# %% tags=["nbval-check-output"]
def my_update_target(online, target, tau):
    """xi <- tau xi + (1 - tau) theta for every parameter of the target."""
    # BEGIN SOLUTION
    with torch.no_grad():
        for theta, xi in zip(online.parameters(), target.parameters()):
            xi.mul_(tau).add_(theta, alpha=1 - tau)
    # END SOLUTION

update_target = check("byol.update_target", my_update_target)

# %% [markdown]
# How long does the target remember? After $k$ steps a share $\tau^k$ of its old weights is left. During training $\tau$ itself rises to 1 along a
# cosine: in the end the target stands still.

# %%
steps = [1, 3, 10, 30, 100, 300]
left = {f"τ = {tau}": [tau**k for k in steps] for tau in (0.9, 0.95, 0.99, 0.996)}
show.curve(steps, left, xlabel="steps", ylabel="share of the old target", log=True, title="what is left of the target as it was")

# %% [markdown]
# ## 6. The library's method, and your functions in it
#
# Find the three guards against collapse: the predictor `self.q`, the slow copy `self.target`, and the stopped gradient, which is within your loss (`self.regress`).

# %%
show.source(byol.BYOL.loss, byol.BYOL.step, byol.momentum_at)

# %% tags=["nbval-check-output"]
recipe = byol.COURSE.but(epochs=4)
ours = {"data": "toybox", "encoder": "five convolutions", "epochs": recipe.epochs, "batch_size": recipe.batch_size,
        "optimizer": recipe.optimizer, "momentum": new_method().momentum,
        "projector": "128-256-64, z normalised", "predictor": "64-256-64, faster"}
show.table([{"": "paper", **{k: byol.PAPER[k] for k in ours}}, {"": "here", **ours}], caption="every departure, in the open")

# %% [markdown]
# Two departures matter. The paper trains for about 94,000 steps (300 epochs of 1.28 million pictures, 4,096 at a time), we for a few hundred: so the
# predictor learns ten times faster than the rest (in the paper's appendix that alone replaces the averaged target), and $z$ is normalised over the
# batch. Below, where we break things, $z$ is *not* normalised.
#
# Now train. No label is used. Watch the map, and the effective rank of $h$: the number of directions that are in use.

# %%
method = new_method(loss=loss, update=update_target)
shown, xy = data.validation.take(slice(0, 300)), None
with widgets.Panel(recipe.epochs, classes=data.classes, title="BYOL, no negatives", samples=shown.take(slice(0, 12))) as panel:
    for row in epochs(method, data.train.unlabelled(), recipe):
        h = features.extract(method, data.validation)
        row |= evaluate.probe(method, data, linear=False, limit=500)
        row |= {"spread": health.spread(h), "effective rank": health.effective_rank(h)}
        xy = evaluate.living_map(h[:300], xy)
        panel.add(row, xy=xy, labels=shown.label, filters=encoders.first_filters(method.f), predicted=evaluate.guesses(method, data))

# %%
print(f"effective rank of h: {panel.rows[0]['effective rank']:.0f} after the first epoch, {panel.rows[-1]['effective rank']:.0f} after the last, of {h.shape[1]} numbers")
panel.replay

# %% [markdown]
# ## 7. Break it
#
# One part taken away at a time, each for some ninety steps on a thousand pictures, with an encoder of half the width. The heads are the paper's, with
# no normalisation of $z$ that could hide a collapse. Two numbers to watch: the loss, and the **spread** of $z$ (near 1: directions in all ways; 0: all
# the same).

# %%
switches = {"healthy": {}, "no predictor": dict(predictor=False), "target = online": dict(target="online", stop_gradient=False),
            "no stop-gradient": dict(stop_gradient=False), "fixed target": dict(target="fixed")}
short, part = recipe.but(epochs=3, batch_size=32), data.train.take(slice(0, 1000)).unlabelled()

def run(**arguments):
    """The network after a short training, its rows, its replay, and z."""
    victim, rows = new_method(width=16, normalise_z=False, **arguments), []
    watch = widgets.Panel(short.epochs, classes=data.classes, backend="silent")     # records, and draws nothing
    for row in epochs(victim, part, short):
        z = features.extract(victim, data.validation, encode=lambda batch: victim.g(victim.encode(batch)))
        watch.add(row, xy=widgets.map2d(z[:300]), labels=shown.label)
        rows.append(row)
    return victim, rows, watch.replay, z

broken = {name: run(**arguments) for name, arguments in switches.items()}
last = {name: rows[-1] for name, (_, rows, _, _) in broken.items()}
# Holds: "Without a stopped gradient it is the *target* that gives up"
assert last["no stop-gradient"]["spread of target"] < 0.3 < last["healthy"]["spread of target"]
show.history({name: rows for name, (_, rows, _, _) in broken.items()}, ["loss", "spread of z", "spread of target"],
             title="what the loss says, and what z and its target do")

# %% [markdown]
# A low loss is no success: the runs that have it say the same about every picture. Without a stopped gradient it is the *target* that gives up: it
# follows the gradient to where it is easiest to predict. Side by side, the map of $z$, drawn to scale:

# %%
widgets.side_by_side({name: broken[name][2] for name in ("healthy", "no predictor")})

# %%
diagnoses = {name: health.diagnose(z) for name, (_, _, _, z) in broken.items()}
print("healthy:\n" + str(diagnoses["healthy"]) + "\n\nno predictor:\n" + str(diagnoses["no predictor"]))
# Holds: "the runs that have it say the same about every picture"
for name in ("no predictor", "target = online"):
    assert diagnoses[name]["spread"] < 0.2 < 0.4 < diagnoses["healthy"]["spread"], f"{name} should collapse, and the healthy run should not"
    assert last[name]["loss"] < 0.2 * last["healthy"]["loss"], f"{name} should have a far lower loss"

# %%
collapsed = {name: min(last[name]["spread of z"], last[name]["spread of target"]) < 0.3 for name in my_prediction if name in last}
measured = {**collapsed, "lowest loss": min(last, key=lambda name: last[name]["loss"])}
# Holds: "with the best loss of all"
assert measured["lowest loss"] in ("no predictor", "target = online") and not collapsed["fixed target"]
show.table([{"": "you expected", **my_prediction}, {"": "measured", **measured}], caption="collapsed after so few steps?")

# %% [markdown]
# The *fixed* target does not collapse: it cannot follow. And it is where BYOL came from. The paper's authors trained a network to predict a random one that
# never learns, and the pupil became far better than its teacher. So they let the target follow the pupil. How much does a fixed target teach here, in
# ninety steps and over five seeds?

# %%
# Measured beforehand over five seeds, and stored with the course.
from sslcourse.results import wall as stored
five = {row["claim"]: row for row in stored.verdicts(compare.MEASURED) if row["paper"] == "byol"}
pupil = broken["fixed target"][0]
blank = evaluate.probe(evaluate.random_like(pupil, pictures), data)["linear"]
paper = {"a random network": 1.4, "its pupil": 18.8}          # section 2 of the paper: ImageNet, linear probe, top 1, per cent
# Holds: "the pupil became far better than its teacher"
assert paper["its pupil"] > 10 * paper["a random network"]
print("the paper, ImageNet: " + ", ".join(f"{name} {value} %" for name, value in paper.items()))
print(f"linear probe, ninety steps at half the width: untrained {blank:.1%}, fixed target {evaluate.probe(pupil, data)['linear']:.1%}")
for claim in ("fixed_target", "bootstrap"):
    print(f"five seeds of a longer training: {five[claim]['text']}: {five[claim]['mean']:+.3f} ({five[claim]['verdict']})")
# Holds: "over five seeds a fixed target teaches a good deal, and one that follows teaches more"
assert five["fixed_target"]["low"] > 0.05 and five["bootstrap"]["low"] > 0.01

# %% [markdown]
# So over five seeds a fixed target teaches a good deal, and one that follows teaches more.
#
# Why does the predictor matter? For a squared distance the best predictor of $z'$ from $z$ is the mean of $z'$ given $z$, and
#
# $$\min_q \; \mathbb{E}\, \| q(z) - z' \|^2 = \mathbb{E}\, \operatorname{Var}(z' \mid z)$$
#
# With the best predictor the loss that remains is the variance of $z'$ given $z$. The target does not move along the loss, so there is one way to lower
# it: a $z$ that says more of $z'$. An online network that forgets something makes the prediction worse, so it is pushed to remember. Without $q$ the
# online network itself must answer, and averages its own answers until there is one left.
#
# **In numbers.** Six views, and what the target says of each one's partner. An online network that tells three pictures apart, one that has forgotten one of
# the differences, and one that says the same of all. A predictor is fitted to each by least squares; beside what it pays stands the variance:

# %% tags=["nbval-check-output"]
wanted = torch.tensor([1.0, 1.2, 3.0, 3.4, -2.0, -1.0])                   # z' of six views, two of each picture
online = {"tells three apart": [0, 0, 1, 1, 2, 2], "has forgotten one": [0, 0, 0, 0, 1, 1], "says the same of all": [0] * 6}
table = []
for name, z in online.items():
    z = torch.tensor(z)
    fitted = F.one_hot(z).float() @ torch.linalg.lstsq(F.one_hot(z).float(), wanted[:, None]).solution
    variance = sum(wanted[z == value].var(correction=0) * (z == value).float().mean() for value in z.unique())
    table.append({"": name, "what the best predictor pays": float((fitted[:, 0] - wanted).square().mean()), "Var(z' | z)": float(variance)})
assert all(abs(row["what the best predictor pays"] - row["Var(z' | z)"]) < 1e-5 for row in table)
# Holds: "the more the online network forgets, the more its best predictor pays"
assert table[0]["Var(z' | z)"] < table[1]["Var(z' | z)"] < table[2]["Var(z' | z)"]
show.table(table)

# %% [markdown]
# So the more the online network forgets, the more its best predictor pays.
#
# ## 8. Is it the batch statistics?
#
# Batch normalisation compares pictures with each other: are these hidden negatives? The test is a network without it. **Group norm** normalises each picture by
# itself, and **weight standardisation** each filter. First, what a picture's $h$ owes to its neighbours in the batch:

# %%
def moved_by_neighbours(norm):
    """How far h of 16 pictures moves when 48 others join their batch, as a share of its length."""
    network = new_method(encoder_norm=norm).train()
    with torch.no_grad():
        alone, together = network.f(pictures[:16] / 255), network.f(pictures[:64] / 255)[:16]
    return float((alone - together).norm() / alone.norm())

moved = {"batch norm": moved_by_neighbours("batch"), "group norm + weight standardisation": moved_by_neighbours("group+ws")}
assert moved["group norm + weight standardisation"] < 0.02 < moved["batch norm"]
show.bars(moved, title="how far the others in the batch move h", unit="")

# %% [markdown]
# Now BYOL with no batch statistics anywhere, with and without its predictor.

# %%
groups = dict(encoder_norm="group+ws", norm="group+ws", normalise_z=False)

def spread_over_time(**arguments):
    victim = new_method(**groups, **arguments)
    return list(epochs(victim, data.train.take(slice(0, 2000)).unlabelled(), short.but(lr=1.8e-3)))

without_statistics = {"BYOL": spread_over_time(), "no predictor": spread_over_time(predictor=False)}
show.history(without_statistics, ["spread of z", "loss"], title="no batch statistics anywhere")

# %%
spread = {name: rows[-1]["spread of z"] for name, rows in without_statistics.items()}
at_first = without_statistics["BYOL"][0]["spread of z"]
# Holds: "In its first epoch it is nearer to collapse than in its last, and it recovers"
assert at_first < spread["BYOL"] - 0.03
print(f"spread of BYOL's z, mean of the first epoch: {at_first:.2f}")
assert spread["no predictor"] < 0.2 < spread["BYOL"], "with its predictor it should spread, though no batch statistics help"
print({name: round(value, 2) for name, value in spread.items()})

# %% [markdown]
# In its first epoch it is nearer to collapse than in its last, and it recovers. So the batch is not what keeps BYOL alive
# (Richemond and others, 2020).
#
# ## 9. What a batch means
#
# One batch of 64, and the same pictures in parts of 8: the loss of the parts, averaged, against the loss of the whole. What changes for whom?

# %%
def gap_in_parts(victim, size=8):
    """Loss of a batch in parts of `size`, minus the loss of the whole batch, in per cent of it."""
    batch, victim = {"image": pictures[:64]}, victim.train()
    views = victim.views(batch)
    victim.views = lambda batch: {k: v[batch["rows"]] for k, v in views.items()}      # the same views every time
    with torch.no_grad():
        whole = victim.loss({"rows": torch.arange(64)})[0]
        parts = torch.stack([victim.loss({"rows": rows})[0] for rows in torch.arange(64).split(size)]).mean()
    return float(100 * (parts - whole) / whole)

gaps = {"SimCLR": gap_in_parts(new_method(simclr.SimCLR)), "BYOL": gap_in_parts(new_method()),
        "BYOL, no batch statistics": gap_in_parts(new_method(**groups))}
# Holds: "SimCLR's task *is* the batch", "BYOL's loss hardly changes"
assert max(abs(gaps["BYOL, no batch statistics"]), abs(gaps["BYOL"])) < 8 < abs(gaps["SimCLR"])
show.table([{"": name, "change of the loss, %": gap} for name, gap in gaps.items()], caption="a batch of 64 in parts of 8")

# %% [markdown]
# SimCLR's task *is* the batch: with fewer candidates it is another, easier task. BYOL's loss hardly changes: it is a mean over pictures, and only batch
# normalisation ties them together. Does that make BYOL the more robust one in training? The paper says so; our five seeds cannot tell (section 15).
#
# ## 10. MoCo: many negatives, small batch
#
# MoCo keeps BYOL's slow copy (here: the *key* encoder) and SimCLR's negatives, but takes these from a **queue** of keys of earlier batches (eq. 1 of that paper):
#
# $$L = -\log \frac{e^{q \cdot k_+ / \tau}}{e^{q \cdot k_+ / \tau} + \sum_{k \in \text{queue}} e^{q \cdot k / \tau}}$$
#
# **Exercise** (more, about 5 minutes): write keys into the queue. `seen` counts all keys that were ever written; the oldest row is the next to go.

# %% tags=["nbval-check-output"]
def my_enqueue(queue, keys, seen):
    """queue: (m, d), changed in place; keys: (n, d), any n. Returns how many keys were written in the end."""
    # BEGIN SOLUTION
    m, last = len(queue), seen + len(keys)
    keys = keys[-m:].detach()                                  # of more than fit, the newest
    rows = torch.arange(last - len(keys), last, device=queue.device) % m
    with torch.no_grad():
        queue[rows] = keys
    return last
    # END SOLUTION

enqueue = check("moco.enqueue", my_enqueue)

# %% [markdown]
# In pictures: a queue of eight, filled by batches of three. The number in each place is the step at which its key was written.

# %% tags=["nbval-check-output"]
ages, seen, history = torch.full((8, 1), float("nan")), 0, []
for step in range(1, 7):
    seen = enqueue(ages, torch.full((3, 1), float(step)), seen)
    history.append({"after step": step, **{f"row {i}": "" if v != v else int(v) for i, v in enumerate(ages[:, 0].tolist())}})
show.table(history)

# %%
show.source(moco.MoCo.loss, moco.MoCo.step)

# %% [markdown]
# The dashed line is the loss of a network that tells nothing apart. On one device the paper's *shuffled* batch normalisation would change nothing: all pictures
# share their statistics anyway. `groups=4` splits the batch as four GPUs would. Here it stays whole, and we accept that a query and its key come from
# batches with the same pictures.

# %%
contrast = new_method(moco.MoCo, write=enqueue)
rows = []
for row in epochs(contrast, data.train.unlabelled(), moco.COURSE.but(epochs=3)):
    rows.append(row | evaluate.probe(contrast, data, linear=False, limit=1000))
blind = math.log(1 + len(contrast.queue))
show.history(rows, ["loss", "key found", "kNN"], baselines={"loss": {"blind": blind}}, title="MoCo")

# %%
print(f"loss: {rows[0]['loss']:.2f} in the first epoch, {rows[-1]['loss']:.2f} in the last; blind {blind:.2f}")
# Holds: "The loss stays below the dashed line"
assert rows[-1]["loss"] < blind

# %% [markdown]
# The loss stays below the dashed line, but it need not fall. The queue is empty at first and fills during the first epoch: more negatives make a harder
# task. And the keys in it come from a network that learns, so they become harder to tell apart. Compare *key found* and kNN from epoch to epoch, and
# not the loss.
#
# Queue against batch. SimCLR gets its negatives from the batch, and must encode, and keep for the backward pass, every one of them. What does a step
# cost, and what does each further negative cost?

# %%
def cost(batch_size, queue):
    """Seconds of one step, after one to warm up, and how many negatives a query met."""
    victim = new_method(moco.MoCo, queue=queue).train()
    optimizers = {"all": torch.optim.SGD(victim.trainable()["all"], lr=1e-3)}
    batches = data.train.batches(batch_size)
    victim.before_epoch(0.0, data.train, optimizers)
    victim.train().step(next(batches), optimizers)
    start = time.perf_counter()
    victim.step(next(batches), optimizers)
    seconds = time.perf_counter() - start
    return {"batch": batch_size, "queue": queue, "negatives": queue or batch_size - 1, "milliseconds a step": 1000 * seconds}

costs = [cost(64, 0), cost(512, 0), cost(64, 512), cost(64, 2048)]
by_batch, by_queue = (costs[i]["milliseconds a step"] for i in (1, 2))
# Holds: "the first is nearly free"
assert by_queue < 0.5 * by_batch, "the queue should be the cheap way to many negatives"
show.table(costs, caption="five hundred negatives, from the batch or from the queue")

# %% [markdown]
# So the number of negatives and the size of the batch are two separate knobs, and the first is nearly free. What old keys are worth is another
# question: the encoder that made them has changed since. Two claims in section 15 answer it: many keys help up to a point.
#
# ## 11. What did they learn?

# %%
scores = {"random encoder": evaluate.probe(untrained, data)["linear"], "BYOL": evaluate.probe(method, data)["linear"],
          "MoCo": evaluate.probe(contrast, data)["linear"]}
# Holds: "Both stand above a random encoder"
assert min(scores["BYOL"], scores["MoCo"]) > scores["random encoder"] + 0.08, "both should stand above a random encoder"
show.bars(scores, title="linear probe on the validation split, no labels used before the probe", chance=0.1)

# %% [markdown]
# Both stand above a random encoder. Their order is one seed's. Click pictures, and compare whom the two networks take for neighbours; then walk on BYOL's map.

# %%
some = slice(0, 150)
encoded = {name: features.extract(m, data.validation)[some] for name, m in (("BYOL", method), ("MoCo", contrast))}
widgets.neighbours(encoded, data.validation.image[some], held_out[some], classes=data.classes)

# %%
explorer = widgets.clusters(xy, shown.label, shown.image, classes=data.classes, columns=shown,
                            predicted=evaluate.guesses(method, data, len(shown)))
explorer

# %%
print(explorer.describe())          # select a group above, and run this cell again

# %% [markdown]
# ## 12. Positives and strangers
#
# What collapse looks like from within: the cosine between two views of one picture, and between views of *different* pictures. In a living network the two
# stand apart; in a collapsed one everything is near 1, and the loss cannot tell.

# %%
def cosines(victim):
    with torch.no_grad():
        first, second = (F.normalize(victim.g(victim.f(victim.view(pictures[:256]))), dim=1) for _ in range(2))
    return (first * second).sum(1), (first @ second.roll(1, 0).T).diagonal()

table = []
for name, victim in (("BYOL", method), ("no predictor", broken["no predictor"][0])):
    own, other = cosines(victim)
    table.append({"": name, "two views of one picture": float(own.mean()), "views of two pictures": float(other.mean())})
# Holds: "The living network tells the two apart", "the collapsed one gives nearly 1 to both"
assert table[0]["two views of one picture"] > table[0]["views of two pictures"] + 0.2 and table[1]["views of two pictures"] > 0.9
show.table(table, caption="mean cosine of z")

# %% [markdown]
# The living network tells the two apart; the collapsed one gives nearly 1 to both.
#
# ## 13. Few labels
#
# One and ten per cent of the labels, then all of them (the paper's table 2, by linear probe).

# %%
shares = (0.01, 0.1)
mean_and_spread = lambda values: (sum(values) / len(values), float(torch.tensor(values).std(correction=0)))
curves = {}
for name, network in (("random encoder", untrained), ("BYOL", method), ("MoCo", contrast)):
    accuracy = evaluate.label_curve(network, data, shares)      # three random subsets for each share
    curves[name] = [*(mean_and_spread(accuracy[share]) for share in shares), scores[name]]
show.curve([*(100 * share for share in shares), 100], curves, xlabel="labels used by the probe, %", ylabel="validation accuracy",
           log=True, title="linear probe from few labels (three subsets)")

# %% [markdown]
# ## 14. What did they throw away?

# %%
factors = evaluate.factor_table({"pixels": "pixels", "BYOL": method, "MoCo": contrast}, data)
# Holds: "place and size can be read better than from the pixels", "The tint of the background is what both let go of"
assert all(factors[name][f] > factors["pixels"][f] + 0.1 for name in ("BYOL", "MoCo") for f in ("x", "y", "size"))
assert all(factors[name]["ground_hue"] < factors["pixels"]["ground_hue"] - 0.05 for name in ("BYOL", "MoCo"))
# Holds: "The hue of the solid stays"
assert min(factors[name]["hue"] for name in ("BYOL", "MoCo")) > 0.5
show.factor_table(factors, title="what can be read, factor by factor (validation split)")

# %% [markdown]
# Crops change place and size, and jitter changes colours. Are these thrown away? Hardly: place and size can be read better than from the pixels. The
# hue of the solid stays, too. The tint of the background is what both let go of, with negatives or without. The views say what *may* be forgotten; what
# is forgotten, and how fast, the training decides.
#
# ## 15. The papers' claims
#
# `sslcourse claims byol --seeds 5` trains a dozen networks a seed and returns a verdict for each claim. The table has the paper's numbers and five seeds of ours.

# %% tags=["nbval-check-output"]
from sslcourse.results import papers
papers.findings("byol", compare.MEASURED)

# %%
# Holds: "The three claims on collapse hold by a wide margin"
assert min(five[claim]["low"] for claim in ("no_predictor", "no_target", "low_loss")) > 0.3
# Holds: "BYOL lives without batch statistics"
assert five["batch_statistics"]["low"] > 0.1
# Holds: "our five seeds cannot tell", "many keys help up to a point", "A queue of 64", "a queue of 512 is no better than one of 64 here"
assert five["small_batches"]["verdict"] == "inconclusive"
assert five["dictionary"]["mean"] > 0.02 > five["long_dictionary"]["mean"]

# %% [markdown]
# The three claims on collapse hold by a wide margin, and BYOL lives without batch statistics. Whether small batches cost BYOL less than SimCLR our five
# seeds cannot tell. A queue of 64 keys beats one of 8; a queue of 512 is no better than one of 64 here, where a key is old after a few steps.
#
# ## Minutes later: the same networks, trained for longer
#
# The course brings both networks after their `FULL` recipes; the pages say how they were made.

# %%
from sslcourse import networks
longer = {"BYOL": networks.load("byol"), "MoCo": networks.load("moco")}
print(*longer.values(), sep="\n\n")
frames = {name: network.replay.frames()[-1] for name, network in longer.items()}
show.embedding({name: frame["xy"] for name, frame in frames.items()}, next(iter(frames.values()))["labels"], data.classes)

# %%
minutes = {"random encoder": scores["random encoder"]}
for name, network in longer.items():
    minutes |= {f"{name}, this lesson": scores[name], f"{name}, longer": evaluate.probe(network.method, data)["linear"]}
# Holds: "Both end near each other", "far above what this lesson had time for"
assert abs(minutes["BYOL, longer"] - minutes["MoCo, longer"]) < 0.05
assert all(minutes[f"{name}, longer"] > max(0.85, scores[name] + 0.1) for name in longer)
show.bars(minutes, title="linear probe on the validation split", chance=0.1)

# %%
h_longer = features.extract(longer["BYOL"].method, data.validation)
print(f"BYOL's effective rank: {health.effective_rank(features.extract(method, data.validation)):.0f} in this lesson, {health.effective_rank(h_longer):.0f} after minutes; spread {health.spread(h_longer):.2f}")
# Holds: "without negatives nothing has collapsed"
assert health.spread(h_longer) > 0.15 and health.effective_rank(h_longer) > 5

# %% [markdown]
# Both end near each other, far above what this lesson had time for. On both maps cones and tori stand apart: with negatives or
# without, the same things become clear. And after thousands of steps without negatives nothing has collapsed.
#
# ## 16. What changed since
#
# - **SimSiam** dropped the averaged target: a predictor and a stopped gradient can be enough, if the predictor learns fast enough.
# - **DINO** compares distributions instead of directions and keeps the averaged teacher; centring and sharpening replace the predictor.
# - **Barlow Twins and VICReg** write down what a collapse would violate: variance kept, correlations removed.
#
# ## Answer
#
# Training does not go to the constant answer as long as the target does not follow the gradient and a predictor stands between; take one of them away,
# and it is there within seconds, with the best loss of all. The test split is opened once, for the final number. Both networks are early in their
# training: by nearest neighbours the pixels may still be ahead.

# %%
final = evaluate.report({"BYOL": method, "MoCo": contrast}, data)
final

# %%
mine = {name: final[name]["linear"] for name in ("BYOL", "MoCo")}
show.bars(compare.wall(mine), chance=0.1, title="the results wall: linear probe, test split")

# %%
print(f"Without labels: BYOL {final['BYOL']['linear']:.1%} and MoCo {final['MoCo']['linear']:.1%} by a linear probe, against "
      f"{final['random encoder']['linear']:.1%} for the random encoder and {final['pixels']['linear']:.1%} for raw pixels.")
lesson("06_byol")
print(f"this notebook: {time.perf_counter() - notebook_started:.0f} s on {profile}")

# %% [markdown]
# ## Quiz
#
# Five questions on what you have seen. Click an answer, and you are told why it is right, or which mistake it is.

# %%
from sslcourse.check import quiz
# BEGIN SOLUTION: quiz("06_byol")
quiz("06_byol", answers="d a c c d")
# END SOLUTION

# %% [markdown]
# ## References
# - J.-B. Grill and others. *Bootstrap your own latent: a new approach to self-supervised learning.* NeurIPS 2020. arXiv:2006.07733.
# - P. Richemond and others. *BYOL works even without batch statistics.* 2020. arXiv:2010.10241.
# - K. He, H. Fan, Y. Wu, S. Xie, R. Girshick. *Momentum contrast for unsupervised visual representation learning.* CVPR 2020. arXiv:1911.05722.
# - X. Chen, H. Fan, R. Girshick, K. He. *Improved baselines with momentum contrastive learning.* 2020. arXiv:2003.04297.
# - X. Chen, K. He. *Exploring simple Siamese representation learning.* CVPR 2021. arXiv:2011.10566.
