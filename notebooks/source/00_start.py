# %% [markdown]
# # Start here: what is a picture worth before anything is learned?
#
# **The question of this notebook.** A network turns a picture into a list of numbers. How do we find out whether that list is *good*, and
# how good is it before any learning, and after learning with every label there is? Every later chapter is measured against the answer.
#
# **You will be able to**
# - say what self-supervision is, and name its two ways of being useful;
# - read a linear probe and a nearest-neighbour score, and know what they do *not* say;
# - say what chance, raw pixels, a random network and a supervised network reach on our toy world.
#
# **Time**: about half an hour in class; the machine works for one to two minutes. **Needs**: a laptop, no network, no GPU.

# %%
# {{first cell}}

# %%
import time
notebook_started = time.perf_counter()

import dataclasses
import sslcourse                       # first: it sets how torch's threads wait for each other
import torch
from sslcourse import encoders, evaluate, features, show, widgets
from sslcourse.data import toybox
from sslcourse.methods import supervised
from sslcourse.train import epochs

profile = sslcourse.setup(seed=0)

# %% [markdown]
# ## 1. A world in which everything is known
#
# The **toybox** draws small shaded solids. For each picture we know *all* of its factors: which solid it is, its colour, size, place and pose,
# where the light comes from, its surface and the background. Nothing is downloaded; the pictures are computed the first time (a few seconds)
# and kept on disk.

# %% tags=["nbval-check-output"]
data = toybox.images()
data

# %%
first = [int((data.train.label == c).nonzero()[0]) for c in range(10)]
show.grid(data.train.image[first], titles=data.classes, columns=5, scale=3)

# %% [markdown]
# Move the sliders: each of them is one factor. `label` in this course means the **shape**; everything else is nuisance to somebody who sorts by
# shape, and exactly what somebody else may want to know.

# %%
widgets.toybox()

# %% tags=["nbval-check-output"]
for i in range(4):
    print(toybox.caption(data.train.factors, i))

# %% [markdown]
# ## 2. Self-supervision, in two sentences
#
# *Supervised* learning asks people for labels; *self-supervised* learning makes its own task from the data: which two crops come from one
# picture, how was it turned, what comes next, which sound belongs to it. The task itself is a pretext. What we keep is the **representation**
# $h = f(x)$ that the network had to build in order to solve it, and there are two ways to use one:
#
# | | how it is used | how it is measured | here |
# |---|---|---|---|
# | **features that transfer** | freeze $f$, train something small on top | linear probe, few labels, fine-tuning | most chapters |
# | **embeddings that apply directly** | compare $f(x)$ with $f(x')$, nothing is trained any more | nearest neighbours, retrieval, tracking, synchronising | tracking by colorization, audio-video sync |
#
# ## 3. Predict
#
# There are ten shapes. Before you run the next cells, write down what you expect, in per cent:
# the accuracy of **guessing**, of the **raw pixels**, of a **network that was never trained**, and of the same network **trained with all 6,000 labels**.

# %%
my_prediction = {"chance": 10, "pixels": None, "random encoder": None, "supervised": None}   # your numbers here

# %% [markdown]
# ## 4. Two ways to read a representation
#
# **kNN**: a picture gets the class that its nearest neighbours vote for (cosine similarity, $k=20$, votes weighted by $e^{s/0.07}$). Nothing is
# trained, so it asks: *is the space arranged by class as it stands?*
#
# **Linear probe**: logistic regression on the frozen features. It may stretch and weigh directions, so it asks: *is the class written there
# somewhere, in a form that a plane can cut?*

# %%
label, held_out = data.train.label, data.validation.label

def scores(train_features, validation_features):
    return evaluate.score(train_features, label, validation_features, held_out, classes=10)

torch.manual_seed(0)
network = encoders.small_cnn()
untrained = evaluate.random_like(supervised.Supervised(network, 10), data.train.image)

wall = {"pixels": scores(features.pixels(data.train), features.pixels(data.validation)),
        "random encoder": evaluate.probe(untrained, data)}
print(f"{encoders.parameters(network):,} parameters, {network.dim} numbers for each picture")
# Holds: "Raw pixels are far above chance for **kNN**", "it is **worse than its own input** for kNN", "For the linear probe it is about as good as the pixels"
assert wall["pixels"]["kNN"] > 0.25 and wall["random encoder"]["kNN"] < wall["pixels"]["kNN"] - 0.05
assert abs(wall["random encoder"]["linear"] - wall["pixels"]["linear"]) < 0.1
show.table([{"features": name, **row} for name, row in wall.items()],
           caption="validation accuracy, nothing trained but the probe")

# %% [markdown]
# Two things to notice. Raw pixels are far above chance for **kNN**: pictures that look alike often *are* alike. And a random network is not nothing,
# but it is **worse than its own input** for kNN: its output is an average over places, and much is lost on the way. For the linear probe it is about as
# good as the pixels: a plane cannot cut shapes out of raw pixels either. Section 7 looks at what its single layers hold.
#
# What do the neighbours of a picture look like when pixels decide? Click a picture; click one of its neighbours to go on from there.

# %%
some = data.validation.take(slice(0, 300))
spaces = {"pixels": features.pixels(some), "random encoder": features.extract(untrained, some)}
widgets.neighbours(spaces, some.image, some.label, classes=data.classes)

# %% [markdown]
# Neighbours share a colour and a place; whether they share the shape is luck. That is what a good representation has to *unlearn*.
#
# ## 5. The yardstick: all the labels
#
# Now the same small network is trained with every label. Training is a generator: the loop below is yours, and what happens between two
# passes is plain code.

# %%
torch.manual_seed(0)
method = supervised.Supervised(encoders.small_cnn(), classes=10)
recipe = supervised.COURSE
shown = data.validation.take(slice(0, 500))      # the pictures on the map

xy = None
with widgets.Panel(recipe.epochs, classes=data.classes, title="supervised, all labels", samples=shown.take(slice(0, 12))) as panel:
    for row in epochs(method, data.train, recipe):
        row |= evaluate.probe(method, data, linear=False, limit=1000)
        xy = evaluate.living_map(features.extract(method, shown), xy)
        panel.add(row, xy=xy, labels=shown.label, filters=encoders.first_filters(method.f),
                  predicted=evaluate.guesses(method, data))

# %% [markdown]
# The replay holds what you just saw: drag the slider, or press play. Below, twelve pictures and what they were taken for on the way.

# %%
panel.replay

# %%
wall["supervised"] = evaluate.probe(method, data)
# Holds: "Between the random network and the supervised one lies the room"
assert wall["supervised"]["linear"] > wall["pixels"]["linear"] + 0.3, "the yardstick should be far above the pixels"
show.bars({name: row["linear"] for name, row in wall.items()},
          title="linear probe on the validation split", chance=0.1)

# %% [markdown]
# Between the random network and the supervised one lies the room in which the ten papers of this course compete, **without using a label**.
#
# ## 6. Walk on the map
#
# Every point is a picture of the validation split. Hover to see it, click to keep it, draw round a group with the mouse to select it. Colour
# the map by *shape*, then by *hue* or by *place*: which of them did the network sort by? (By shape, as its labels told it to; section 8 has a number for each factor.)
# Colour by *correct*, and look at the mistakes.

# %%
explorer = widgets.clusters(xy, shown.label, shown.image, classes=data.classes, columns=shown,
                            predicted=evaluate.guesses(method, data, len(shown)))
explorer

# %% [markdown]
# What you select comes back to Python as indices. Select a group, and run the next cell again.

# %%
print(explorer.describe())
explorer.selected[:10]

# %% [markdown]
# ## 7. Where in the network does the class appear?
#
# The same probe, put on after each layer. The pictures enter on the left. (The probes get a third of the training pictures here, to save time. They
# read *maps*, averaged over 2 x 2 places, and so more numbers than the output has.)

# %%
fewer = dataclasses.replace(data, train=data.train.take(slice(0, 2000)))
by_layer = {"random": evaluate.layer_probes(untrained, fewer), "supervised": evaluate.layer_probes(method, fewer)}
layers = list(by_layer["random"])
linear = {name: [row[layer]["linear"] for layer in layers] for name, row in by_layer.items()}
# Holds: "In the trained network the class becomes linear from layer to layer", "In the random one the first layer holds the most"
assert linear["supervised"][-1] > linear["supervised"][0] + 0.2 and max(linear["random"]) == linear["random"][0]
show.curve(range(1, len(layers) + 1), linear, xlabel="after convolution number",
           ylabel="linear probe, validation accuracy", title="layer by layer")

# %% [markdown]
# In the trained network the class becomes linear from layer to layer. In the random one the first layer holds the most, and further layers lose some of
# it: random filters make local contrasts, which help, and then only mix them.

# %% [markdown]
# Now single units. Choose a layer and a unit: you see the patches that excite it most, out of all validation pictures. For the first layer
# the slider goes back through the training.

# %%
widgets.filters(method, data.validation, panel)

# %% [markdown]
# ## 8. One number is not enough: the factor table
#
# "Good" depends on the question. For every factor of the toybox a linear probe tells how much of it can be read from the features: 0 is chance, 1 is
# everything. (For classes: how far the accuracy is on its way from chance to 1; for numbers: the share of the variance that is explained; an angle is
# read as sine and cosine. `light` is the side from which the light comes, `ground` the brightness of the background, `ground_hue` its colour.)
# Supervision on shape is free to throw the rest away. Does it?

# %%
factors = evaluate.factor_table({"pixels": "pixels", "random encoder": untrained, "supervised": method}, data)
with_labels, raw = factors["supervised"], factors["pixels"]
# Holds: "of the colours it keeps next to nothing", "*where* the solid is can be read better than from the pixels"
assert max(with_labels["hue"], with_labels["ground_hue"]) < 0.3
assert with_labels["y"] > raw["y"] + 0.1 and with_labels["size"] > raw["size"] + 0.2
show.factor_table(factors, title="what can be read, factor by factor (validation split)")

# %% [markdown]
# It throws away a part: of the colours it keeps next to nothing. But *where* the solid is can be read better than from the pixels, and its size too,
# although no label asked for these. What is not needed need not be lost.
#
# This table is the signature of the course: every method adds a row, and no two rows are alike.
#
# ## 9. The test split is opened once
#
# So far everything was read on the **validation** split. The labels of the test split are sealed: try it.

# %% tags=["nbval-check-output"]
try:
    data.test.label
except sslcourse.CourseError as error:
    print(f"{type(error).__name__}: {error}")

# %%
final = evaluate.report({"supervised": method}, data)
final

# %% [markdown]
# Compare with your prediction. Choosing the best of several test readings overestimates: so the split is opened once, and from the second opening on
# the heading says how many there were.

# %%
ours = {row["features"]: round(100 * row["linear"], 1) for row in final.rows}
show.table([{"features": name, "you expected": my_prediction.get(name), "linear probe, %": value}
            for name, value in ours.items()])

# %% [markdown]
# ## 10. The road ahead
#
# | chapter | the pretext in eight words | what it works on |
# |---|---|---|
# | SimCLR | two views of one image find each other | images |
# | BiGAN | an encoder that inverts a generator of images | images |
# | Damaged jigsaws | put pieces back, repaint and recolour what's missing | images |
# | RotNet, DeepCluster | how was it turned; which cluster is it | images |
# | One single image | how much can one photograph teach a network | one image |
# | BYOL, MoCo | predict your own slower self; a long queue | images |
# | CLIP | captions find their pictures, pictures find their captions | images and words |
# | Video LSTM | remember what you saw, predict what comes next | video |
# | Tracking by colorization | copy colours from the past, and objects follow | video |
# | Dense predictive coding | predict the features of the next video blocks | video |
# | AVTS | do this sound and this picture happen together | video and sound |
# | XDC | each sense learns from the other one's clusters | video and sound |
#
# The first of them is open: [01_simclr](01_simclr.ipynb). Two tastes of what comes later. A solid falls, and is heard: shift the sound against
# the picture. How far must it be out of step before *you* notice? (Audio-video synchronisation will ask a network.)

# %%
fall = toybox.bounce(material="metal", seed=3)
widgets.clip(fall.frames, fall.audio, fall.fps, fall.rate, event={"impact": fall.impacts}, title="picture and sound")

# %% [markdown]
# And a film of two solids. Click a place: where did its colours come from, in the frames before? Play it with the given mask: it is carried along
# by colour alone. (Tracking by colorization will learn better features for just this.)

# %%
film = toybox.crossing(seed=1)
by_colour = widgets.video.features_of_colour(film.frames, 16, 16)
widgets.pointer(film.frames, by_colour, film.masks, names=film.names, title="where does this pixel come from?")

# %% [markdown]
# ## Answer
#
# What is a picture worth? The cell prints it, with its baselines.

# %%
def percent(name):
    return f"{ours[name]:.1f} %"

print(f"linear probe on the test split: chance {percent('chance')}, pixels {percent('pixels')}, "
      f"random encoder {percent('random encoder')}, all labels {percent('supervised')}")
print(f"this notebook: {time.perf_counter() - notebook_started:.0f} s on {profile}")

# %% [markdown]
# ## References
# - G. Alain and Y. Bengio. *Understanding intermediate layers using linear classifier probes*, 2016. arXiv:1610.01644. (probes layer by layer)
# - Z. Wu, Y. Xiong, S. Yu and D. Lin. *Unsupervised feature learning via non-parametric instance discrimination*, CVPR 2018. arXiv:1805.01978. (weighted kNN)
# - M. Caron et al. *Emerging properties in self-supervised vision transformers*, ICCV 2021. arXiv:2104.14294. (the kNN protocol used here)
