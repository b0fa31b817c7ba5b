# %% [markdown]
# # RotNet and DeepCluster: two ways to invent labels
#
# **The question of this notebook.** A classifier needs labels. Can we make some up, from *how a picture was turned* or from *the groups that a network's own
# features form*, and is a network that learned to predict them good for anything else?
#
# S. Gidaris, P. Singh and N. Komodakis. *Unsupervised Representation Learning by Predicting Image Rotations.* ICLR 2018.
# M. Caron, P. Bojanowski, A. Joulin and M. Douze. *Deep Clustering for Unsupervised Learning of Visual Features.* ECCV 2018.
#
# **You will be able to**
# - write both pretext tasks, and a step of k-means, and train with your own code;
# - watch clusters form, and measure whether they settle and what they mean;
# - say which shortcut each task leaves open, and show it being taken.
#
# **Time**: about an hour in class; the machine works for one to two minutes. **Needs**: a laptop, no network, no GPU.

# %%
# {{first cell}}

# %%
import time
notebook_started = time.perf_counter()

import sslcourse                       # first: it sets how torch's threads wait for each other
import torch
from sslcourse import clustering, compare, encoders, evaluate, features, show, widgets
from sslcourse.check import check, hint, lesson, solution
from sslcourse.data import toybox
from sslcourse.methods import deepcluster, rotnet
from sslcourse.train import epochs, fit

profile = sslcourse.setup(seed=0)
data = toybox.images()
pictures, held_out = data.train.image, data.validation.label

# %% [markdown]
# ## 1. A picture that makes the question visible
#
# Each of these was turned by 0, 90, 180 or 270 degrees. By how much? What gives it away: the shape, its shading, or the side from which the light comes?

# %%
torch.manual_seed(1)
secret = torch.randint(4, (6,))
riddle = torch.stack([picture.rot90(int(k), (1, 2)) for picture, k in zip(pictures[20:26], secret)])
show.grid(riddle, columns=6, scale=2.5)

# %%
print("turned, counter-clockwise:", ", ".join(f"{90 * int(k)}°" for k in secret))
pose = data.train.factors
quarters = torch.histc(pose["light"].float(), bins=4) / len(data.train)           # of a full turn
# Holds: "Every solid stands nearly upright", "seen a little from above", "the light comes from every side"
assert pose["roll"].abs().max() < 0.36 and pose["pitch"].min() > 0.1 and quarters.min() > 0.2
print(f"rolled by at most {torch.rad2deg(pose['roll'].abs().max()):.0f} degrees; pictures with the light in each quarter of a turn: "
      + ", ".join(f"{q:.0%}" for q in quarters.tolist()))

# %% [markdown]
# Every solid stands nearly upright before it is turned, and is seen a little from above. So a shape with a top and a bottom gives its turn away. The
# light as such does not: the light comes from every side.

# %% [markdown]
# ## 2. Predict
#
# We shall train a network to tell turns (**RotNet**), and one to predict which of a hundred clusters of its own features a picture belongs to (**DeepCluster**).
# Which one tells *shapes* apart better afterwards? Which one still knows the *roll angle* of a solid? And what will clusters of an untrained network
# follow first: shape, colour, or place?

# %%
# "RotNet" or "DeepCluster" for the first two; "shape", "hue" or "place" for the last.
my_prediction = {"shapes": None, "roll": None, "first clusters follow": None}

# %% [markdown]
# ## 3. Turns: the idea in mathematics
#
# With $g(x \mid y)$ the picture turned by $y$ quarter turns, RotNet is a classifier with four classes (eq. 2 and 3 of the paper):
#
# $$L = -\frac{1}{4N} \sum_{i=1}^{N} \sum_{y=0}^{3} \log F^y\big(g(x_i \mid y)\big)$$
#
# All four turns of a picture are in one batch. Quarter turns only move pixels. Any other angle would leave dark corners, and a network would look at nothing else.

# %% [markdown]
# In a picture, with the names of the code. Blue boxes learn by the gradient; a dashed border or a dashed arrow means that no gradient passes.

# %%
show.diagram("rotnet")

# %% [markdown]
# ## 4. Exercise: turn pictures (core, about 5 minutes)
#
# Replace the line that raises. `check` tells you *which* mistake it found; `hint("clusters.rotations", 1)` helps, `solution("clusters.rotations")` shows ours.

# %% tags=["nbval-check-output"]
def my_rotations(image):
    """image: (B, 3, H, H). Returns (4 B, 3, H, H) and labels (4 B,): label k was turned by k quarter turns, counter-clockwise."""
    # SOLUTION: clusters.rotations

rotations = check("clusters.rotations", my_rotations)

# %% [markdown]
# ## 5. The library's method, and your turns in it

# %%
show.source(rotnet.RotNet.views, rotnet.RotNet.loss)

# %% tags=["nbval-check-output"]
def new_rotnet(turn=rotnet.rotations, **arguments):
    torch.manual_seed(0)
    return rotnet.RotNet(encoders.small_cnn(), turn=turn, **arguments)

recipe = rotnet.COURSE.but(epochs=3)
ours = {"data": "toybox", "encoder": "five convolutions", "epochs": recipe.epochs, "batch_size": recipe.batch_size,
        "optimizer": recipe.optimizer, "head": "linear"}
show.table([{"": "paper", **{k: rotnet.PAPER[k] for k in ours}}, {"": "here", **ours}], caption="every departure, in the open")

# %%
turns = new_rotnet(lambda image, which=None: rotations(image))
with widgets.Panel(recipe.epochs, classes=data.classes, title="RotNet, no labels") as panel:
    for row in epochs(turns, data.train.unlabelled(), recipe):
        row |= evaluate.probe(turns, data, linear=False, limit=500)
        panel.add(row, filters=encoders.first_filters(turns.f))

# %% [markdown]
# Which shapes show their turn, and which do not? The network is asked for all four turns of validation pictures.

# %%
def turn_found(method, samples):
    """Whether each of the four turns of each picture is found: (4, N)."""
    turned, label = rotnet.rotations(samples.image)
    with torch.no_grad():
        guess = torch.cat([method.g(method.encode({"image": part})).argmax(1) for part in turned.split(500)])
    return (guess == label).float().view(4, -1)

found = turn_found(turns, data.validation)
by_shape = {name: float(found[:, held_out == c].mean()) for c, name in enumerate(data.classes)}
# Holds: "a cone shows its turn far more often than a sphere"
assert by_shape["cone"] > by_shape["sphere"] + 0.1
show.bars(dict(sorted(by_shape.items(), key=lambda item: item[1])), title="turns found, by shape (validation split)", chance=0.25)

# %% [markdown]
# Solids stand nearly upright in this world, so each shape with a top and a bottom has an *up*: a cone shows its turn far more often than a sphere,
# which looks alike from all sides. A network that finds turns has to see what stands there. Would it learn *without* an up? Turn every picture at
# random beforehand, and the labels mean nothing:

# %%
def no_up(image):
    """Crop and flip as always, then turn each picture by a secret number of quarter turns."""
    image = turns.view(image)
    secret = torch.randint(4, (len(image),))
    return torch.stack([image.rot90(k, (2, 3)) for k in range(4)])[secret, torch.arange(len(image))]

part = data.train.take(slice(0, 2000)).unlabelled()
quick = recipe.but(epochs=2, batch_size=32)
lost = fit(new_rotnet(view=no_up), part, quick)[-1]
known = fit(new_rotnet(), part, quick)[-1]
# Holds: "without an up the network guesses"
assert lost["turn found"] < 0.3 and lost["turn found"] < known["turn found"] - 0.02, "without an up there is nothing to find"
print(f"turns found in training: {known['turn found']:.1%} with an up, {lost['turn found']:.1%} without")
show.bars({"pictures with an up": known["turn found"], "without": lost["turn found"]}, title="turns found in the second epoch", chance=0.25)

# %% [markdown]
# The answer: without an up the network guesses. A turn is a label only because pictures are usually taken upright.
#
# ## 6. Clusters: the idea in mathematics
#
# DeepCluster alternates. It groups the features of all pictures by k-means (eq. 2 of the paper), with $\phi$ for PCA, whitening and length 1,
#
# $$\min_{C} \frac{1}{N} \sum_{n=1}^{N} \min_{y_n} \| \phi(f(x_n)) - C\, y_n \|_2^2$$
#
# where each $y_n$ is one-hot: one of its $k$ entries is 1, all others are 0. It then takes these cluster numbers for labels and trains $f$ with a
# *fresh* classifier to predict them. And again.

# %% [markdown]
# In a picture, with the names of the code. Blue boxes learn by the gradient; a dashed border or a dashed arrow means that no gradient passes.

# %%
show.diagram("deepcluster")

# %% [markdown]
# ## 7. Exercise: one step of k-means (core, about 10 minutes)
#
# Give each point the number of its nearest centre. Then move each centre to the mean of its points.

# %% tags=["nbval-check-output"]
def my_kmeans_step(x, centre):
    """x: (n, d), centre: (k, d). Returns the number of each point's nearest centre (n,), and the moved centres (k, d);
    a centre without points stays where it is."""
    # SOLUTION: clusters.kmeans_step

kmeans_step = check("clusters.kmeans_step", my_kmeans_step)

# %% [markdown]
# Your step at work, on the first two whitened directions of an *untrained* network's features:

# %%
def new_method(**arguments):
    torch.manual_seed(0)
    return deepcluster.DeepCluster(encoders.small_cnn(), **arguments)

untrained = evaluate.random_like(new_method(), pictures)
flat = clustering.whiten(features.extract(untrained, data.validation), 2)
centre = flat[:6].clone()
for step in range(1, 21):
    label, centre = kmeans_step(flat, centre)
    if step in (1, 20):
        print(f"after step {step}: mean squared distance {float((flat - centre[label]).square().sum(1).mean()):.3f}")
show.embedding(flat[:300], label[:300], classes=[f"cluster {c}" for c in range(6)], title="six clusters of an untrained network")

# %% [markdown]
# What do the pictures of a cluster have in common? The course's own k-means (`clustering.kmeans`) does the same steps in chunks, and splits a large
# cluster whenever one runs empty. Now a hundred clusters, by colours and by edges; the pictures of the largest cluster of each.

# %%
some = data.train.take(slice(0, 3000))
coloured = evaluate.random_like(new_method(edges=False), pictures)
by = {}
for name, network in (("colours", coloured), ("edges", untrained)):
    torch.manual_seed(0)
    by[name] = clustering.kmeans(deepcluster.phi(features.extract(network, some)), 100, start="random").label
largest = {name: int(torch.bincount(label).argmax()) for name, label in by.items()}
rows = [some.image[(by[name] == c).nonzero().flatten()[:8]] for name, c in largest.items()]
show.grid(torch.cat(rows), columns=8, title="untrained networks: above, a cluster by colours; below, one by edges")

# %% [markdown]
# ## 8. Exercise: do two partitions agree? (for the fast, about 10 minutes)
#
# The numbers of clusters mean nothing, so we need a measure that does not look at them: the *normalised mutual information* (section 3 of the paper),
#
# $$\text{NMI}(A; B) = \frac{I(A; B)}{\sqrt{H(A)\, H(B)}}$$

# %% tags=["nbval-check-output"]
def my_nmi(a, b):
    """a, b: (n,) cluster numbers from 0. Returns one number: 1 for the same partition, 0 for unrelated ones."""
    # SOLUTION: clusters.nmi

nmi = check("clusters.nmi", my_nmi)

# %% [markdown]
# What do the first clusters follow? Cut each known factor of the pictures into ten bins of equal size, and compare.

# %%
def in_tenths(column):
    return (column.argsort().argsort() * 10 // len(column)).long()

known = {"shape": some.label, "hue": in_tenths(some.factors["hue"]), "place": in_tenths(some.factors["x"])}
agreement = {name: {how: nmi(label, column) for how, label in by.items()} for name, column in known.items()}
# Holds: "By colours they follow the hue, more than shape and place", "By edges they follow none of the three strongly"
assert agreement["hue"]["colours"] > 1.5 * max(agreement["shape"]["colours"], agreement["place"]["colours"])
assert max(values["edges"] for values in agreement.values()) < 0.15
show.table([{"factor": name, **values} for name, values in agreement.items()], caption="NMI of an untrained network's clusters with what we know")

# %% [markdown]
# By colours they follow the hue, more than shape and place: that is what the upper row of pictures has in common. By edges they follow none of the
# three strongly; a little place, a little shape.

# %% [markdown]
# ## 9. The library's DeepCluster
#
# Three guards keep it from worthless solutions. Find two of them in the code below: the balance and the fresh head. The third is within
# `clustering.kmeans`: it splits a large cluster whenever one runs empty. The authors' network sees **edges** (a fixed Sobel filter), ours too. Section
# 10 shows why.

# %%
show.source(deepcluster.DeepCluster.before_epoch, deepcluster.DeepCluster.loss)

# %% tags=["nbval-check-output"]
cluster_recipe = deepcluster.COURSE.but(epochs=5)
ours = {"data": "toybox", "encoder": "five convolutions", "epochs": cluster_recipe.epochs, "batch_size": cluster_recipe.batch_size,
        "clusters": 100, "pca": 32, "input": "Sobel edges"}
show.table([{"": "paper", **{k: deepcluster.PAPER[k] for k in ours}}, {"": "here", **ours}], caption="every departure, in the open")

# %% [markdown]
# Now train, and watch the map of *training* pictures. In the replay you can colour it by cluster.

# %%
method = new_method()
shown, xy = data.train.take(slice(0, 250)), None
with widgets.Panel(cluster_recipe.epochs, classes=data.classes, title="DeepCluster, no labels", samples=shown.take(slice(0, 12))) as panel:
    for row in epochs(method, data.train.unlabelled(), cluster_recipe):
        h = features.extract(method, shown)
        assigned = method.assigned[: len(data.train)]
        row |= evaluate.probe(method, data, linear=False, limit=500)
        row["purity"] = clustering.purity(assigned, data.train.label)
        xy = evaluate.living_map(h, xy)
        panel.add(row, xy=xy, labels=shown.label, filters=encoders.first_filters(method.f), assigned=assigned[:250] % 20)
    history = panel.rows

# %%
panel.replay

# %% [markdown]
# Three questions to three curves. Do the clusters **settle** (NMI with the round before)? Do they come to mean **shapes** (purity, which looks at labels that the
# network never saw)? And why does the loss not simply fall? The last answer first: every round brings new labels and a head that knows nothing yet.

# %%
show.history(history, ["loss", "as before (NMI)", "purity"], title="round after round")

# %%
first, last = history[1]["as before (NMI)"], history[-1]["as before (NMI)"]
# Holds: "Both answers are yes"
assert last > first + 0.1, "the clusters should settle"
assert history[-1]["purity"] > history[0]["purity"] + 0.05, "and should come to mean shapes"
print(f"NMI with the round before: {first:.2f} at first, {last:.2f} at last; purity {history[0]['purity']:.2f}, then {history[-1]['purity']:.2f}")

# %% [markdown]
# Both answers are yes: the clusters settle, and they come to mean shapes, in part. The largest cluster now, and how many of its pictures have its commonest shape:

# %%
label = method.assigned[: len(data.train)]
largest = torch.bincount(label).argmax()
in_largest = torch.bincount(data.train.label[label == largest], minlength=len(data.classes))
print(f"the largest cluster: {int(in_largest.sum())} pictures, {in_largest.max() / in_largest.sum():.0%} of them {data.classes[int(in_largest.argmax())]}")
show.grid(pictures[(label == largest).nonzero().flatten()[:8]], columns=8, title="the largest cluster after training")

# %% [markdown]
# The map, to walk on: colour it by cluster, by shape, by hue. Draw round a group to select it. What a picture is *predicted* to be is the commonest shape of its
# cluster in the whole training set (that is where labels come in, and purity is how often it is right).

# %%
shapes = torch.zeros(method.clusters, len(data.classes)).index_put((label, data.train.label), torch.tensor(1.0), accumulate=True)
commonest = shapes.argmax(1)                                   # of each cluster
explorer = widgets.clusters(xy, shown.label, shown.image, classes=data.classes, columns=[{"cluster": label[: len(shown)]}, shown],
                            predicted=commonest[label[: len(shown)]])
assert abs(float((commonest[label] == data.train.label).double().mean()) - clustering.purity(label, data.train.label)) < 1e-6
explorer

# %%
print(explorer.describe())          # select a group above, and run this cell again

# %% [markdown]
# ## 10. Break it
#
# Short trainings on 2,000 pictures, one part changed at a time:
#
# - **colours**: the network sees colours instead of edges;
# - **dead clusters**: k-means starts with ninety centres where no point is, and empty clusters are left empty.

# %%
def dead_clusters(h, k):
    phi = deepcluster.phi(h)
    nowhere = 10 + torch.rand(k - 10, phi.shape[1])
    return clustering.kmeans(phi, k, start=torch.cat([phi[:10], nowhere]), empty="keep").label

switches = {"healthy": {}, "colours": dict(edges=False), "dead clusters": dict(partition=dead_clusters)}
short = cluster_recipe.but(epochs=4, batch_size=32)
runs, broken = {}, []
for name, arguments in switches.items():
    victim = new_method(**arguments)
    runs[name] = fit(victim, part, short)
    last = runs[name][-1]
    broken.append({"switch": name, "cluster found": last["cluster found"], "clusters in use": last["clusters in use"],
                   "as before (NMI)": last["as before (NMI)"], **evaluate.probe(victim, data)})
show.table(broken, caption=f"after {short.epochs} epochs on {len(part):,} pictures")

# %%
by_name = {row["switch"]: row for row in broken}
nothing = evaluate.probe(untrained, data)["linear"]            # of an untrained network
# Holds: "the features are worth less than an untrained network's", "found more often than the healthy ones", "agree with each other about as well"
assert by_name["colours"]["linear"] + 0.05 < nothing < by_name["healthy"]["linear"], "clusters of colours should teach less than nothing"
assert by_name["colours"]["cluster found"] > by_name["healthy"]["cluster found"]
assert by_name["colours"]["as before (NMI)"] > by_name["healthy"]["as before (NMI)"] - 0.05
# Holds: "Dead clusters waste nine tenths of the classifier", "teach no less"
assert by_name["dead clusters"]["clusters in use"] < 0.3 * by_name["healthy"]["clusters in use"], "empty clusters should stay empty"
assert by_name["dead clusters"]["linear"] > by_name["healthy"]["linear"] - 0.05
show.bars({name: row["linear"] for name, row in by_name.items()}, title="linear probe after a short training (validation split)", chance=0.1)

# %% [markdown]
# **Colours** are the shortcut here. The clusters of two rounds agree with each other about as well as the healthy ones, they are found more often than
# the healthy ones, and the features are worth less than an untrained network's. Stable clusters are no proof of good ones. **Dead clusters** waste nine
# tenths of the classifier. In a run this short the few large clusters that live teach no less, so the probe does not complain. Which label-free number
# would have warned you? The *clusters in use*, and nothing else in this table.
#
# How many clusters? As many as there are shapes, the hundred of above, three hundred. Three hundred leave seven pictures to each.

# %%
ks = (10, 100, 300)
varied = {100: by_name["healthy"]}
for k in (10, 300):
    victim = new_method(clusters=k)
    fit(victim, part, short)
    varied[k] = evaluate.probe(victim, data)
print("linear probe: " + ", ".join(f"{varied[k]['linear']:.3f} with {k} clusters" for k in ks))
show.curve([str(k) for k in ks], {name: [varied[k][name] for k in ks] for name in ("linear", "kNN")}, xlabel="clusters", ylabel="validation accuracy",
           title=f"the number of clusters, {len(part):,} pictures")

# %% [markdown]
# This is one short run on few pictures; take no rule from it. With all pictures and twelve epochs a hundred clusters beat ten in every one of five
# seeds: see the claims in section 13.
#
# ## 11. What did they learn?

# %%
wall = {"random encoder": nothing, "DeepCluster": evaluate.probe(method, data)["linear"],
        "RotNet": evaluate.probe(turns, data)["linear"]}
# Holds: "both stand above a random encoder"
assert min(wall["DeepCluster"], wall["RotNet"]) > wall["random encoder"] + 0.1, "both should stand above a random encoder"
show.bars(wall, title="linear probe on the validation split, no labels used before the probe", chance=0.1)

# %%
several = slice(0, 120)
encoded = {name: features.extract(m, data.validation)[several] for name, m in (("RotNet", turns), ("DeepCluster", method))}
widgets.neighbours(encoded, data.validation.image[several], held_out[several], classes=data.classes)

# %% [markdown]
# **In numbers: invariance.** A feature is *invariant* to turns if turning the picture does not change it. The mean of $h$ over all four turns is: they are the
# same four pictures, in another order. So no probe can tell the turn from it, and every probe has one in four right. RotNet's $h$ is trained to be the
# opposite. Its own classifier finds turns in $h$; hand the same classifier the mean:

# %%
four, turn = rotations(data.validation.image[:400])
with torch.no_grad():
    h = turns.eval().encode({"image": four})
    mean = h.unflatten(0, (4, -1)).mean(0).repeat(4, 1)                    # of the four turns of each picture
    before, after = (float((turns.g(x).argmax(1) == turn).float().mean()) for x in (h, mean))
assert abs(after - 0.25) < 1e-6 < 0.05 < before - after
print(f"turns found from h: {before:.3f}; from the mean over the turns: {after:.3f}, and 1/4 is 0.250")

# %% [markdown]
# ## 12. What rotation keeps and clustering throws away

# %%
factors = evaluate.factor_table({"RotNet": turns, "DeepCluster": method}, data)
# Holds: "RotNet keeps more of the light", "The edge filter has thrown the hue away"
assert factors["RotNet"]["light"] > factors["DeepCluster"]["light"] + 0.05 and factors["DeepCluster"]["hue"] < 0.15
# Holds: "Little of the roll angle is left in either"
assert max(row["roll"] for row in factors.values()) < 0.3
show.factor_table(factors, title="what can be read, factor by factor (validation split)")

# %%
difference = {f: factors["RotNet"][f] - factors["DeepCluster"][f] for f in factors["RotNet"]}
ordered = sorted(difference, key=difference.get)
print("RotNet keeps more of:", ", ".join(reversed(ordered[-3:])))
print("DeepCluster keeps more of:", ", ".join(f for f in ordered[:3] if difference[f] < 0) or "nothing")

# %%
rolled = sorted(("RotNet", "DeepCluster"), key=lambda name: -factors[name]["roll"])
measured = {"shapes": max(("RotNet", "DeepCluster"), key=wall.get), "roll": " against ".join(f"{name} {factors[name]['roll']:.2f}" for name in rolled),
            "first clusters follow": max(agreement, key=lambda name: agreement[name]["colours"])}
show.table([{"": "you expected", **my_prediction}, {"": "measured", **measured}])

# %% [markdown]
# RotNet keeps more of the light: whoever looks for an up looks at the shading too. Little of the roll angle is left in either, on a scale from 0 to 1. A cluster is
# whatever many pictures have in common. The edge filter has thrown the hue away, so no cluster can follow it.
#
# ## 13. The papers' claims
#
# `sslcourse claims clusters --seeds 5` trains five networks a seed and returns a verdict for each claim. The table has the paper's numbers and five seeds of ours.

# %% tags=["nbval-check-output"]
# Measured beforehand over five seeds, and stored with the course.
from sslcourse.results import papers, wall as stored
five = {row["claim"]: row for row in stored.verdicts(compare.MEASURED) if row["paper"] == "clusters"}
papers.findings("clusters", compare.MEASURED)

# %%
# Holds: "Six of the claims hold here by a wide margin", "a hundred clusters beat ten in every one of five seeds"
assert min(row["low"] for name, row in five.items() if name != "middle_layer") > 0.03
assert min(five["many_clusters"]["effects"]) > 0.03
# Holds: "the last layer but one is hardly better than the last"
assert abs(five["middle_layer"]["mean"]) < 0.03

# %% [markdown]
# Six of the claims hold here by a wide margin, among them the hundred clusters, the edges and the four turns. The seventh is small: the last layer but
# one is hardly better than the last.
#
# ## Minutes later: the same networks, trained for longer
#
# The course brings both networks after their `FULL` recipes; the pages say how they were made.

# %%
from sslcourse import networks
longer = {"RotNet": networks.load("rotnet"), "DeepCluster": networks.load("deepcluster")}
print(*longer.values(), sep="\n\n")
frames = {name: network.replay.frames()[-1] for name, network in longer.items()}
show.embedding({name: frame["xy"] for name, frame in frames.items()}, next(iter(frames.values()))["labels"], data.classes)

# %%
minutes = {"random encoder": wall["random encoder"]}
for name, network in longer.items():
    minutes |= {f"{name}, this lesson": wall[name], f"{name}, longer": evaluate.probe(network.method, data)["linear"]}
# Holds: "Given time, both invented tasks find the shapes"
assert all(minutes[f"{name}, longer"] > max(0.8, wall[name] + 0.05) for name in longer)
show.bars(minutes, title="linear probe on the validation split", chance=0.1)

# %%
found = turn_found(longer["RotNet"].method, data.validation)
by_shape_longer = {name: float(found[:, held_out == c].mean()) for c, name in enumerate(data.classes)}
print(f"turns found: cone {by_shape_longer['cone']:.0%} (this lesson {by_shape['cone']:.0%}), sphere {by_shape_longer['sphere']:.0%} (this lesson {by_shape['sphere']:.0%})")
# Holds: "the cone's turns are found nearly always"
assert by_shape_longer["cone"] > by_shape["cone"] and by_shape_longer["cone"] > 0.85

# %% [markdown]
# Given time, both invented tasks find the shapes. On both maps the cones stand apart; other shapes meet, and a probe tells them. And the cone's turns are found
# nearly always.
#
# ## 14. What changed since
#
# - **SwAV** clusters online, batch by batch, and swaps the assignments of two views: clustering met contrastive learning.
# - **XDC** takes the clusters of the *sound* for the labels of the picture, and the other way round (chapter 12).
# - Turning pictures became a helper: a second loss for semi-supervised learning and for GANs, and a test of what a network knows.
#
# ## Answer
#
# Can we make labels up? Yes, if what they depend on is worth seeing. Are the networks good for something else? Yes: nobody told them of shapes, and
# both stand above a random encoder. The test split is opened once, for the final number.

# %%
final = evaluate.report({"DeepCluster": method, "RotNet": turns}, data)
final

# %%
mine = {name: final[name]["linear"] for name in ("DeepCluster", "RotNet")}
show.bars(compare.wall(mine), chance=0.1, title="the results wall: linear probe, test split")

# %%
print(f"Without labels: RotNet {final['RotNet']['linear']:.1%} and DeepCluster {final['DeepCluster']['linear']:.1%} by a linear probe, against "
      f"{final['random encoder']['linear']:.1%} for the random encoder and {final['pixels']['linear']:.1%} for raw pixels.")
lesson("04_rotation_and_clusters")
print(f"this notebook: {time.perf_counter() - notebook_started:.0f} s on {profile}")

# %% [markdown]
# ## Quiz
#
# Five questions on what you have seen. Click an answer, and you are told why it is right, or which mistake it is.

# %%
from sslcourse.check import quiz
# BEGIN SOLUTION: quiz("04_rotation_and_clusters")
quiz("04_rotation_and_clusters", answers="d b d c a")
# END SOLUTION

# %% [markdown]
# ## References
# - S. Gidaris, P. Singh, N. Komodakis. *Unsupervised representation learning by predicting image rotations.* ICLR 2018. arXiv:1803.07728.
# - M. Caron, P. Bojanowski, A. Joulin, M. Douze. *Deep clustering for unsupervised learning of visual features.* ECCV 2018. arXiv:1807.05520.
# - M. Caron and others. *Unsupervised learning of visual features by contrasting cluster assignments.* NeurIPS 2020. arXiv:2006.09882. (SwAV)
# - D. Arthur, S. Vassilvitskii. *k-means++: the advantages of careful seeding.* SODA 2007.
