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
# **Time**: about an hour in class; the machine works for about a minute. **Needs**: a laptop, no network, no GPU.

# %%
# {{first cell}}

# %%
import time
notebook_started = time.perf_counter()

import inspect
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
# Each of these was turned by 0, 90, 180 or 270 degrees. By how much? What gives it away: the shape, the shadow, the light from above?

# %%
torch.manual_seed(1)
secret = torch.randint(4, (6,))
riddle = torch.stack([picture.rot90(int(k), (1, 2)) for picture, k in zip(pictures[20:26], secret)])
show.grid(riddle, columns=6, scale=2.5)

# %%
print("turned, counter-clockwise:", ", ".join(f"{90 * int(k)}°" for k in secret))

# %% [markdown]
# ## 2. Predict
#
# We shall train a network to tell turns (**RotNet**), and one to predict which of a hundred clusters of its own features a picture belongs to (**DeepCluster**).
# Which one tells *shapes* apart better afterwards? Which one still knows by how much a solid is *rolled*? And what will clusters of an untrained network
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
#
# ## 4. Exercise: turn pictures (about 5 minutes)
#
# Replace the line that raises. `check` tells you *which* mistake it found; `hint("clusters.rotations", 1)` helps, `solution("clusters.rotations")` shows ours.

# %% tags=["nbval-check-output"]
def my_rotations(image):
    """image: (B, 3, H, H). Returns (4 B, 3, H, H) and labels (4 B,): label k was turned by k quarter turns, counter-clockwise."""
    # BEGIN SOLUTION
    turned = torch.cat([image.rot90(k, (2, 3)) for k in range(4)])
    return turned, torch.arange(4, device=image.device).repeat_interleave(len(image))
    # END SOLUTION

rotations = check("clusters.rotations", my_rotations)

# %% [markdown]
# ## 5. The library's method, and your turns in it

# %%
for source in (rotnet.RotNet.views, rotnet.RotNet.loss):
    print(inspect.getsource(source))

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
# Which shapes betray their turn, and which do not? The network is asked for all four turns of validation pictures.

# %%
def turn_found(method, samples):
    """Whether each of the four turns of each picture is found: (4, N)."""
    turned, label = rotnet.rotations(samples.image)
    with torch.no_grad():
        guess = torch.cat([method.g(method.encode({"image": part})).argmax(1) for part in turned.split(500)])
    return (guess == label).float().view(4, -1)

found = turn_found(turns, data.validation)
by_shape = {name: float(found[:, held_out == c].mean()) for c, name in enumerate(data.classes)}
show.bars(dict(sorted(by_shape.items(), key=lambda item: item[1])), title="turns found, by shape (validation split)", chance=0.25)

# %% [markdown]
# No solid has an upright pose in this world: they lie in all ways. What has a direction is the **light**, which comes from above, and shading shows it on every shape.
# So a network that reads turns has to see surfaces. Would it learn *without* an up? Turn every picture at random beforehand, and the labels mean nothing:

# %%
def no_up(image):
    """Crop and flip as always, then turn each picture by a secret number of quarter turns."""
    image = turns.view(image)
    secret = torch.randint(4, (len(image),))
    return torch.stack([image.rot90(k, (2, 3)) for k in range(4)])[secret, torch.arange(len(image))]

part = data.train.take(slice(0, 2000)).unlabelled()
lost = fit(new_rotnet(view=no_up), part, recipe.but(epochs=1))[-1]
known = fit(new_rotnet(), part, recipe.but(epochs=1))[-1]
assert lost["turn found"] < 0.3, "without an up there is nothing to find"
show.bars({"pictures with an up": known["turn found"], "without": lost["turn found"]}, title="turns found in one epoch", chance=0.25)

# %% [markdown]
# ## 6. Clusters: the idea in mathematics
#
# DeepCluster alternates. It groups the features of all pictures by k-means (eq. 2 of the paper), with $\phi$ for PCA, whitening and length 1,
#
# $$\min_{C} \frac{1}{N} \sum_{n=1}^{N} \min_{y_n} \| \phi(f(x_n)) - C\, y_n \|_2^2$$
#
# then takes the cluster numbers $y_n$ for labels and trains $f$ with a *fresh* classifier to predict them. And again.
#
# ## 7. Exercise: one step of k-means (about 10 minutes)

# %% tags=["nbval-check-output"]
def my_kmeans_step(x, centre):
    """x: (n, d), centre: (k, d). Returns the number of each point's nearest centre (n,), and the moved centres (k, d);
    a centre without points stays where it is."""
    # BEGIN SOLUTION
    label = torch.cdist(x, centre).argmin(1)
    total = torch.zeros_like(centre).index_add(0, label, x)
    count = torch.bincount(label, minlength=len(centre))[:, None]
    return label, torch.where(count > 0, total / count.clamp_min(1), centre)
    # END SOLUTION

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
# What do the pictures of a cluster have in common? The course's own k-means (`clustering.kmeans`) does the same steps in chunks, and splits a large cluster whenever one runs
# empty. Now a hundred clusters, by colours and by edges; the pictures of the largest cluster of each.

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
# ## 8. Exercise: do two partitions agree? (about 10 minutes)
#
# The numbers of clusters mean nothing, so we need a measure that does not look at them: the *normalised mutual information* (section 3 of the paper),
#
# $$\text{NMI}(A; B) = \frac{I(A; B)}{\sqrt{H(A)\, H(B)}}$$

# %% tags=["nbval-check-output"]
def my_nmi(a, b):
    """a, b: (n,) cluster numbers from 0. Returns one number: 1 for the same partition, 0 for unrelated ones."""
    # BEGIN SOLUTION
    p = torch.zeros(int(a.max()) + 1, int(b.max()) + 1, dtype=torch.float64)
    p.index_put_((a, b), torch.ones(len(a), dtype=torch.float64), accumulate=True)
    p = p / len(a)                                             # the joint distribution
    entropy = lambda q: -torch.special.xlogy(q, q).sum()       # 0 log 0 is 0
    h_a, h_b, h_both = entropy(p.sum(1)), entropy(p.sum(0)), entropy(p)
    return float((h_a + h_b - h_both) / (h_a * h_b).sqrt())
    # END SOLUTION

nmi = check("clusters.nmi", my_nmi)

# %% [markdown]
# What do the first clusters follow? Cut each known factor of the pictures into ten bins of equal size, and compare.

# %%
def in_tenths(column):
    return (column.argsort().argsort() * 10 // len(column)).long()

known = {"shape": some.label, "hue": in_tenths(some.factors["hue"]), "place": in_tenths(some.factors["x"])}
agreement = {name: {how: nmi(label, column) for how, label in by.items()} for name, column in known.items()}
show.table([{"factor": name, **values} for name, values in agreement.items()], caption="NMI of an untrained network's clusters with what we know")

# %% [markdown]
# ## 9. The library's DeepCluster
#
# Find the three guards against worthless solutions: the balance, the fresh head, and what k-means does with empty clusters. The authors' network sees **edges**
# (a fixed Sobel filter), ours too. You will see why.

# %%
for source in (deepcluster.DeepCluster.before_epoch, deepcluster.DeepCluster.loss):
    print(inspect.getsource(source))

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
# network never saw)? And why does the loss not simply fall? (Every round brings new labels and a head that knows nothing, and finer clusters are harder to tell.)

# %%
show.history(history, ["loss", "as before (NMI)", "purity"], title="round after round")

# %%
first, last = history[1]["as before (NMI)"], history[-1]["as before (NMI)"]
assert last > first + 0.1, "the clusters should settle"
assert history[-1]["purity"] > history[0]["purity"] + 0.05, "and should come to mean shapes"
print(f"NMI with the round before: {first:.2f} at first, {last:.2f} at last; purity {history[0]['purity']:.2f}, then {history[-1]['purity']:.2f}")

# %% [markdown]
# The largest cluster now. Compare it with the rows above.

# %%
label = method.assigned[: len(data.train)]
largest = torch.bincount(label).argmax()
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
assert by_name["colours"]["linear"] + 0.05 < nothing < by_name["healthy"]["linear"], "clusters of colours should teach less than nothing"
assert by_name["dead clusters"]["clusters in use"] < 0.3 * by_name["healthy"]["clusters in use"], "empty clusters should stay empty"
show.bars({name: row["linear"] for name, row in by_name.items()}, title="linear probe after a short training (validation split)", chance=0.1)

# %% [markdown]
# **Colours** are the shortcut here: the clusters agree with each other *better* than the healthy ones and are found more often, and the features are worth less than an
# untrained network's. Stable clusters are no proof of good ones. **Dead clusters** waste nine tenths of the classifier; in a run this short the few that live do not teach less. What is a fair sign, if you have no labels?
#
# How many clusters? As many as there are shapes, the hundred of above, three hundred. With seven pictures each, what is there to learn from a cluster?

# %%
ks = (10, 100, 300)
varied = {100: by_name["healthy"]}
for k in (10, 300):
    victim = new_method(clusters=k)
    fit(victim, part, short)
    varied[k] = evaluate.probe(victim, data)
show.curve([str(k) for k in ks], {name: [varied[k][name] for k in ks] for name in ("linear", "kNN")}, xlabel="clusters", ylabel="validation accuracy",
           title=f"the number of clusters, {len(part):,} pictures")

# %% [markdown]
# In a run this short, on so few pictures, fewer and larger clusters teach more. With all pictures and twelve epochs a hundred beat ten: see the claims in section 13.
#
# ## 11. What did they learn?

# %%
wall = {"random encoder": nothing, "DeepCluster": evaluate.probe(method, data)["linear"],
        "RotNet": evaluate.probe(turns, data)["linear"]}
assert min(wall["DeepCluster"], wall["RotNet"]) > wall["random encoder"] + 0.1, "both should stand above a random encoder"
show.bars(wall, title="linear probe on the validation split, no labels used before the probe", chance=0.1)

# %%
several = slice(0, 120)
encoded = {name: features.extract(m, data.validation)[several] for name, m in (("RotNet", turns), ("DeepCluster", method))}
widgets.neighbours(encoded, data.validation.image[several], held_out[several], classes=data.classes)

# %% [markdown]
# ## 12. What rotation keeps and clustering throws away

# %%
factors = evaluate.factor_table({"RotNet": turns, "DeepCluster": method}, data)
show.factor_table(factors, title="what can be read, factor by factor (validation split)")

# %%
difference = {f: factors["RotNet"][f] - factors["DeepCluster"][f] for f in factors["RotNet"]}
ordered = sorted(difference, key=difference.get)
print("RotNet keeps more of:", ", ".join(reversed(ordered[-3:])))
print("DeepCluster keeps more of:", ", ".join(f for f in ordered[:3] if difference[f] < 0) or "nothing")

# %%
better = lambda factor: max(("RotNet", "DeepCluster"), key=lambda name: factors[name][factor])
measured = {"shapes": max(("RotNet", "DeepCluster"), key=wall.get), "roll": better("roll" if "roll" in difference else "yaw"),
            "first clusters follow": max(agreement, key=lambda name: agreement[name]["colours"])}
show.table([{"": "you expected", **my_prediction}, {"": "measured", **measured}])

# %% [markdown]
# A turn can only be told by looking at how things lie, so RotNet has every reason to keep pose and light. A cluster is whatever many pictures have in common, and the edge filter has
# already thrown colours away.
#
# ## 13. The papers' claims
#
# `sslcourse claims clusters --seeds 5` trains five networks a seed and returns a verdict for each claim; the pages of the course hold the table that it printed. A positive
# effect means that the paper is right here too.

# %% tags=["nbval-check-output"]
from sslcourse import claims
show.table([{"claim": c.text, "where": c.source} for c in claims.paper("clusters").CLAIMS],
           caption="positive effect = the paper is right here too")

# %% [markdown]
# ## 14. What changed since
#
# - **SwAV** clusters online, batch by batch, and swaps the assignments of two views: clustering met contrastive learning.
# - **XDC** takes the clusters of the *sound* for the labels of the picture, and the other way round (chapter 12).
# - Turning pictures became a helper: a second loss for semi-supervised learning and for GANs, and a test of what a network knows.
#
# ## Answer
#
# Yes: labels can be made up, if what they depend on is worth seeing. The test split is opened once, for the final number.

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
# ## References
# - S. Gidaris, P. Singh, N. Komodakis. *Unsupervised representation learning by predicting image rotations.* ICLR 2018. arXiv:1803.07728.
# - M. Caron, P. Bojanowski, A. Joulin, M. Douze. *Deep clustering for unsupervised learning of visual features.* ECCV 2018. arXiv:1807.05520.
# - M. Caron and others. *Unsupervised learning of visual features by contrasting cluster assignments.* NeurIPS 2020. arXiv:2006.09882. (SwAV)
# - D. Arthur, S. Vassilvitskii. *k-means++: the advantages of careful seeding.* SODA 2007.
