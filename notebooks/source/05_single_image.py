# %% [markdown]
# # What one image can teach
#
# **The question of this notebook.** Self-supervised learning is said to need millions of pictures. What if there is only *one*, cut into thousands of crops? *Which
# layers* of a network can be learned from it, and which need to see more of the world?
#
# Y. M. Asano, C. Rupprecht, A. Vedaldi. *A Critical Analysis of Self-supervision, or What We Can Learn from a Single Image.* ICLR 2020.
#
# **You will be able to**
# - make a training set out of one photograph, with your own code and from your own picture;
# - read a network layer by layer with linear probes, and say what in each layer comes from data, from augmentation and from the architecture alone;
# - transfer the style of a picture with features that have seen a single photograph.
#
# **Time**: about an hour in class; the machine works for one to two minutes. **Needs**: a laptop, no network, no GPU.

# %%
# {{first cell}}

# %%
import time
notebook_started = time.perf_counter()

import sslcourse                       # first: it sets how torch's threads wait for each other
import torch
import torch.nn.functional as F
from sslcourse import compare, encoders, evaluate, features, show, single_image, style_transfer, widgets
from sslcourse.check import check, hint, lesson, solution
from sslcourse.data import toybox
from sslcourse.data.datasets import Data, Samples
from sslcourse.methods import bigan, deepcluster, rotnet, supervised
from sslcourse.encoders.scattering import scattering_encoder, scattering_stem
from sslcourse.train import epochs, fit

profile = sslcourse.setup(seed=0)
data = toybox.images()

# %% [markdown]
# ## 1. A picture that makes the question visible
#
# One photograph. Put your own in, if you like: a busy one, at least a few hundred pixels wide.

# %%
my_picture = None                      # "holiday.jpg"

photo = single_image.photograph(my_picture or "china")                     # (3, H, W), 0 to 255
small = F.interpolate(photo[None].float() / 255, (80, 80 * photo.shape[2] // photo.shape[1]), mode="bilinear", antialias=True)
show.grid(small, scale=1, title=f"one photograph, {photo.shape[2]} x {photo.shape[1]} pixels")

# %% [markdown]
# Crops of it: all sizes, turned, sheared, mirrored, recoloured. Did you know that so much is in one picture?

# %%
N = 1000                               # pictures in every training set of this notebook
crops = single_image.single_image(my_picture or "china", N)
show.grid(crops.image[:30], columns=10, title="one photograph, many training pictures")

# %% [markdown]
# And this is what the features will be *tested* on. Not one of these solids is in the photograph. What is alike in both: edges, corners, colours, blobs.

# %%
show.grid(data.train.image[:2], columns=2, title="the toybox")

# %% [markdown]
# ## 2. Predict
#
# We train on one picture, on ten, a thousand and all, with equally many pictures and steps, and then probe after each of five convolutions. Up to which
# layer is one picture as good as all, within a few points? And is one picture *without* augmentation any better than random weights?

# %%
my_prediction = {"one is enough up to": None,               # "conv1" to "conv5", or "none"
                 "helps without augmentation": None}        # True or False

# %% [markdown]
# ## 3. Exercise: a training set from one photograph (core, about 10 minutes)
#
# With $H \times W$ pixels in the picture, each crop draws a share $a$ of the largest square, evenly between `area[0]` and `area[1]`, and a place:
#
# $$s = \sqrt{a}\,\min(H, W), \qquad \text{left} \sim U(0, W - s), \qquad \text{top} \sim U(0, H - s)$$
#
# and is then shrunk to `size` x `size`. Everything is drawn anew for *every* crop.

# %% tags=["nbval-check-output"]
def my_crops(picture, n, size, area):
    """picture: (3, H, W), 0 to 1. Returns (n, 3, size, size), 0 to 1: squares of the picture, each with its own place and scale."""
    # BEGIN SOLUTION
    height, width = picture.shape[1:]
    result = []
    for _ in range(n):
        share = area[0] + (area[1] - area[0]) * float(torch.rand(()))
        side = round(share**0.5 * min(height, width))
        left, top = int(torch.randint(width - side + 1, ())), int(torch.randint(height - side + 1, ()))
        crop = picture[None, :, top:top + side, left:left + side]
        result.append(F.interpolate(crop, (size, size), mode="bilinear", antialias=True))
    return torch.cat(result).clamp(0, 1)
    # END SOLUTION

cut = check("single_image.crops", my_crops)

# %%
torch.manual_seed(0)
mine = Samples(cut(photo.float() / 255, N, 32, (0.01, 0.25)), name="my crops")
busy = mine.image.float().flatten(1).std(1).argsort(descending=True)[:5]          # not those that show nothing but sky
show.grid(mine.image[busy], columns=5, title="five of your crops, the busiest")

# %% [markdown]
# ## 4. No new method
#
# The paper takes methods that there are: **BiGAN**, **RotNet** and **DeepCluster**. New is only what they are shown. RotNet first: it turns each
# picture by quarter turns and must tell by how much. In a row: one of your crops, then what RotNet is shown.

# %%
def new_method(kind=rotnet.RotNet, **arguments):
    torch.manual_seed(0)
    return kind(encoders.small_cnn(), **arguments)

show.views(new_method(), mine.take(busy), n=1, draws=6)

# %% [markdown]
# Train it on *your* crops. `samples` in the panel are toybox pictures: the network sees them here for the first time.

# %%
recipe = rotnet.COURSE.but(epochs=4)
method, xy, shown = new_method(), None, data.validation.take(slice(0, 300))
with widgets.Panel(recipe.epochs, classes=data.classes, title="RotNet, one photograph", samples=shown.take(slice(0, 12))) as panel:
    for row in epochs(method, mine, recipe):
        row |= evaluate.probe(method, data, linear=False, limit=500)
        xy = evaluate.living_map(features.extract(method, shown), xy)
        panel.add(row, xy=xy, labels=shown.label, filters=encoders.first_filters(method.f), predicted=evaluate.guesses(method, data))

# %%
panel.replay

# %% [markdown]
# ## 5. One, ten, a thousand, all
#
# Ten and a thousand toybox pictures get the same heavy augmentation as the photograph; "full" is as many different pictures, as they are. Here is what is drawn for
# each crop (the paper's numbers, as far as small crops allow):

# %% tags=["nbval-check-output"]
print(single_image.HEAVY)
sets = single_image.conditions(data.train, my_picture or "china", N)
show.table([{"set": name, "samples": len(s), "made from": s.name} for name, s in sets.items()])

# %%
busiest = {name: int(s.image.float().flatten(1).std(1).argmax()) for name, s in sets.items()}
show.grid(torch.stack([s.image[busiest[name]] for name, s in sets.items()]), columns=4, title="one each, the busiest: mono, deka, kilo, full")

# %% [markdown]
# The same network, from the same first weights, on each of them, and the two other methods on the first and the last.

# %%
plans = {"RotNet": (new_method, recipe, list(sets)),
         "DeepCluster": (lambda: new_method(deepcluster.DeepCluster, clusters=20, every=3), deepcluster.COURSE.but(epochs=9, lr=1e-3), ["mono", "full"]),
         "BiGAN": (lambda: new_method(bigan.BiGAN), bigan.COURSE.but(epochs=2), ["mono", "full"])}
trained = {}
for name, (build, how, conditions) in plans.items():
    for condition in conditions:
        trained[f"{name} {condition}"] = build()
        rows = fit(trained[f"{name} {condition}"], sets[condition], how)
        print(f"{name:<12} {condition:<5} loss {rows[-1]['loss']:.3f}   {sum(r['seconds'] for r in rows):.0f} s")

# %% [markdown]
# ## 6. Layer by layer
#
# A linear probe after each convolution: frozen maps, averaged over 2 x 2 places, and a logistic regression from some labelled *toybox* pictures. Beside
# them, what needs no picture at all: random weights, and the **scattering transform** (fixed wavelets, a modulus, averages). And what needs every
# label.

# %%
labelled = data.train.take(slice(0, 600))
few = Data(labelled, data.validation, data.test)
yardsticks = {"random": evaluate.random_like(method, data.train.image), "supervised": supervised.Supervised(encoders.small_cnn(), len(data.classes))}
fit(yardsticks["supervised"], data.train.take(slice(0, N)), supervised.COURSE)

def layers_of(network):
    return {layer: scores["linear"] for layer, scores in evaluate.layer_probes(network, few).items()}

probed = {name: layers_of(network) for name, network in {**yardsticks, **trained}.items()}

# %%
names = ["supervised", "RotNet full", "RotNet kilo", "RotNet deka", "RotNet mono", "random"]
layers = list(probed["random"])
show.curve(layers, {name: list(probed[name].values()) for name in names}, xlabel="", ylabel="validation accuracy", title="linear probe after each layer")

# %%
wavelets = scattering_encoder()
maps = lambda samples: features.extract(wavelets, samples, encode=features.after(wavelets, "scattering"))
scattered = evaluate.score(maps(labelled), labelled.label, maps(data.validation), data.validation.label, classes=len(data.classes))["linear"]
count = {"mono": "1", "deka": "10", "kilo": "1000", "full": str(N)}
rows = [{"method": name, "images": count.get(name.split()[-1], "0" if name == "random" else str(N)),
         **{layer: f"{100 * v:.1f}" for layer, v in scores.items()}} for name, scores in probed.items()]
rows.insert(1, {"method": "scattering", "images": "0", "conv2": f"{100 * scattered:.1f}"})
no_better = [f"{name}: {layer}" for name in trained for layer in layers if probed[name][layer] <= probed["random"][layer]]
print(f"{len(no_better)} of {len(trained) * len(layers)} cells of trained networks are no better than random weights")
# Holds: "reads these solids better than every network in the table, the supervised one included"
assert scattered > max(max(scores.values()) for scores in probed.values()) + 0.02
# Holds: "Some cells are no better than random weights"
assert len(no_better) > 3
# Holds: "a thousand source pictures teach conv5 less than ten"
assert probed["RotNet kilo"]["conv5"] < probed["RotNet deka"]["conv5"] - 0.02
show.table(rows, columns=["method", "images", *layers], caption="the paper's table 2 on the toybox (validation accuracy, %)")

# %%
gap = {layer: probed["RotNet full"][layer] - probed["RotNet mono"][layer] for layer in layers}
# Holds: "The deep layers miss the other pictures more than the first layers do"
assert gap["conv5"] > 0.03, "deep layers should need more than one image"
assert gap["conv5"] > gap["conv1"] + 0.05, "what one image lacks should be deep in the network"
assert gap["conv3"] + gap["conv4"] + gap["conv5"] > 1.5 * (gap["conv1"] + gap["conv2"]) + 0.08
show.table([{"RotNet, points of accuracy": "all images minus one image", **{layer: f"{100 * value:+.1f}" for layer, value in gap.items()}}],
           caption="where the sign is minus, one image leads")

# %% [markdown]
# The deep layers miss the other pictures more than the first layers do. Edges and colours are in any photograph: what they are *edges of* is not. More source
# pictures are not always better in so short a training: a thousand source pictures teach conv5 less than ten. Of a thousand there is one heavily
# distorted crop each.
#
# Two rows should make you think. **Random weights**: some cells are no better than random weights, most of them of DeepCluster and BiGAN. There this
# short training has added nothing that the probe can use. And the **scattering transform**, fixed wavelets, reads these solids better than every
# network in the table, the supervised one included. That is a property of this toy world, of solids on plain backgrounds: on ImageNet the paper finds
# both far behind.
#
# ## 7. Break it: the same photograph without augmentation
#
# Nearly the whole photograph every time. It is still turned, and mirrored; but there is nothing new to see. Look at the loss, too.

# %%
weak = single_image.single_image(my_picture or "china", N, distortion=single_image.WEAK)
show.grid(weak.image[:2], columns=2, title="nearly no augmentation")

# %%
trained["RotNet weak"] = new_method()
last = fit(trained["RotNet weak"], weak, recipe)[-1]
probed["RotNet weak"] = layers_of(trained["RotNet weak"])
print(f"turns found in training: {last['turn found']:.1%}")
# Holds: "Every turn is found, and conv5 is worse than with augmentation"
assert last["turn found"] > 0.95 and probed["RotNet weak"]["conv5"] < probed["RotNet mono"]["conv5"]
show.curve(layers, {name: list(probed[name].values()) for name in ("RotNet full", "RotNet mono", "RotNet weak", "random")}, xlabel="",
           ylabel="validation accuracy", title="one image with and without augmentation")

# %%
enough = [layer for layer in layers if gap[layer] < 0.03]
measured = {"one is enough up to": enough[-1] if enough else "none",
            "helps without augmentation": probed["RotNet weak"]["conv2"] > probed["random"]["conv2"] + 0.02}
show.table([{"": "you expected", **my_prediction}, {"": "measured", **measured}])

# %% [markdown]
# Every turn is found, and conv5 is worse than with augmentation: the task was too easy to teach anything.
#
# ## 8. Filters
#
# The first layer's filters side by side, a row each: before any training, then after three of them.

# %%
side_by_side = ("before training", "RotNet mono", "RotNet full", "DeepCluster mono")
kernels = [encoders.first_filters((trained | {"before training": new_method()})[name].f)[:16] for name in side_by_side]
centred = [F.normalize((k - k.mean((1, 2, 3), keepdim=True)).flatten(1), dim=1) for k in kernels]
alike = {name: float((centred[0] * k).sum(1).mean()) for name, k in zip(side_by_side[1:], centred[1:])}
print("mean correlation of each filter with itself before training: " + ", ".join(f"{name} {value:.2f}" for name, value in alike.items()))
# Holds: "the filters of a column are still related"
assert min(alike.values()) > 0.1
show.filters(torch.cat(kernels), title="rows: " + ", ".join(side_by_side))

# %% [markdown]
# All networks began with the same weights, and so short a training has not made them forget it: the filters of a column are still related, as far as
# the printed correlations say. So take "one image is enough for conv1" with care here: seconds of training are little for any data. The paper trains for
# days. Now see what excites a unit most: choose a layer and a unit.

# %%
widgets.filters(method, data.validation, panel)

# %% [markdown]
# ## 9. Two layers kept, three trained
#
# If the first two layers of one image are good ones, a network may *keep* them, frozen, and learn the rest with labels.

# %%
how = supervised.COURSE.but(epochs=4)
part = Data(data.train.take(slice(0, N)), data.validation, data.test)
stems = {"random": encoders.with_frozen(yardsticks["random"], 2), "scattering": scattering_stem(yardsticks["random"].f),
         **{name: encoders.with_frozen(trained[name], 2) for name in ("RotNet mono", "DeepCluster mono", "RotNet full")},
         "nothing frozen": encoders.with_frozen(yardsticks["random"], 0)}
kept = {name: evaluate.fine_tune(stem, part, 1.0, how) for name, stem in stems.items()}
print(", ".join(f"{name} {value:.1%}" for name, value in kept.items()))
# Holds: "Fixed wavelets are the best start in this world"
assert kept["scattering"] > max(value for name, value in kept.items() if name != "scattering")
show.bars(kept, chance=1 / len(data.classes), title="first two layers frozen, the rest trained with labels (validation)")

# %% [markdown]
# Fixed wavelets are the best start in this world, and nobody trained them. Does one image do as well as all of them, and what is a frozen *random*
# start worth? The printed line has this run's answer; it rests on one seed, so read a difference of a few points as none.
#
# ## 10. Exercise: what a layer knows of a texture (more, about 5 minutes)
#
# Which features occur *together*, wherever they are? With maps $F$ of $c$ channels, $f_{ip}$ at place $p$:
#
# $$G_{ij} = \frac{1}{HW} \sum_p f_{ip} f_{jp}$$

# %% tags=["nbval-check-output"]
def my_gram(maps):
    """maps: (b, c, h, w). Returns (b, c, c), a matrix for each picture."""
    # BEGIN SOLUTION
    f = maps.flatten(2)                                     # (b, c, h w)
    return f @ f.transpose(1, 2) / f.shape[2]
    # END SOLUTION

gram = check("single_image.gram", my_gram)

# %% [markdown]
# Style transfer (Gatys and others, 2016) changes the pixels until the Gram matrices are those of the *style* and a deeper layer's maps still those of
# the *content*. It was done with networks trained on a million labelled photographs. Here with RotNet that has seen one, and with random weights.

# %%
def resized(picture, height):
    return F.interpolate(picture[None].float() / 255, (height, height * picture.shape[2] // picture.shape[1]), mode="bilinear", antialias=True)[0]

content, style = resized(single_image.photograph("flower"), 64), resized(photo, 64)
painted = {name: style_transfer.transfer((trained | yardsticks)[name], content, style, steps=40, gram=gram)[0] for name in ("RotNet mono", "random")}
tiles = {"content": content, "style": style, "features of one image": painted["RotNet mono"], "random features": painted["random"]}
show.grid(torch.stack([F.interpolate(t[None], content.shape[1:])[0] for t in tiles.values()]), list(tiles), columns=4, scale=1)

# %% [markdown]
# What comes out is colour and grain of the style, and no painting: five small convolutions, two of them with strides, see little, and leave a pattern
# of dots. First layers encode texture; random filters see some of it too.
#
# ## 11. What was learned, and what was not?

# %%
some = slice(0, 40)
encoded = {name: features.extract(trained[name], data.validation)[some] for name in ("RotNet mono", "RotNet full")}
widgets.neighbours(encoded, data.validation.image[some], data.validation.label[some], classes=data.classes)

# %%
tables = evaluate.factor_table({"pixels": "pixels", "one image": trained["RotNet mono"], "all images": trained["RotNet full"]}, few)
show.factor_table(tables, title="what can be read, factor by factor (validation split)")

# %% [markdown]
# ## 12. The paper's claims
#
# `sslcourse claims single_image --seeds 5` trains six networks a seed and returns a verdict for each claim; `sslcourse table single_image` makes the
# whole table, on the toybox or, with `--set data=... --set picture=...`, on your own pictures and photographs. The table has the paper's numbers and five seeds of ours, with more
# pictures than this notebook used.

# %% tags=["nbval-check-output"]
# Measured beforehand over five seeds, and stored with the course.
from sslcourse.results import papers, wall as stored
five = {row["claim"]: row for row in stored.verdicts(compare.MEASURED) if row["paper"] == "single_image"}
papers.findings("single_image", compare.MEASURED)

# %%
# Holds: "RotNet's conv5 is far behind with one image", "Its first two layers stay behind too, by several points", "at conv1 one image is hardly better than random weights that see the same"
assert five["rotnet_conv5"]["low"] > 0.15
assert all(-0.12 < five[name]["mean"] - 0.02 < -0.02 for name in ("rotnet_conv1", "rotnet_conv2"))         # the claim allows two points
assert five["random_conv1"]["mean"] < 0.04
for layer in ("conv1", "conv2", "conv5"):
    behind = -(five[f"rotnet_{layer}"]["mean"] - 0.02) if layer != "conv5" else five["rotnet_conv5"]["mean"]
    print(f"RotNet at {layer}, all images minus one: this run {100 * gap[layer]:+.1f} points, five seeds {100 * behind:+.1f}")

# %% [markdown]
# Read the table beside section 6. Over five seeds RotNet's conv5 is far behind with one image: there the paper is right. Its first two layers stay
# behind too, by several points: there it is not. And at conv1 one image is hardly better than random weights that see the same, if at all, so conv1 cannot decide anything in this world.
#
# ## 13. What changed since
#
# - **The augmented image prior** (Asano and Saeed, 2023): with a teacher's answers on crops of one photograph, a student network learns much of what the teacher knows.
# - **Fractals and noise** as training pictures: other sources of edges without any photograph.
# - The paper's lesson for practice: early layers are cheap, augmentation is knowledge put in by hand, and scale pays in the deep layers. Our five seeds support the last part best.
#
# ## Answer
#
# Which layers can be learned from one image? The first ones come close to those of all pictures, within ten points over five seeds; but so do random
# weights at conv1. The deep ones need to see more of the world. Augmentation does the work: without it the task is solved at once, and the deep layers
# learn less still. The test split is opened once, for the final number.

# %%
final = evaluate.report({"RotNet, one image": trained["RotNet mono"], "RotNet, all images": trained["RotNet full"]}, data)
final

# %%
mine_on_the_wall = {"RotNet, one image": final["RotNet, one image"]["linear"]}
show.bars(compare.wall(mine_on_the_wall), chance=0.1, title="the results wall: linear probe, test split")

# %%
print(f"The last layer, test split: one image {final['RotNet, one image']['linear']:.1%}, all images {final['RotNet, all images']['linear']:.1%}, "
      f"random weights {final['random encoder']['linear']:.1%}; at conv1 (validation) {probed['RotNet mono']['conv1']:.1%}, "
      f"{probed['RotNet full']['conv1']:.1%} and {probed['random']['conv1']:.1%}.")
lesson("05_single_image")
print(f"this notebook: {time.perf_counter() - notebook_started:.0f} s on {profile}")

# %% [markdown]
# ## Quiz
#
# Five questions on what you have seen. Click an answer, and you are told why it is right, or which mistake it is.

# %%
from sslcourse.check import quiz
# BEGIN SOLUTION: quiz("05_single_image")
quiz("05_single_image", answers="c a b d b")
# END SOLUTION

# %% [markdown]
# ## References
# - Y. M. Asano, C. Rupprecht, A. Vedaldi. *A critical analysis of self-supervision, or what we can learn from a single image.* ICLR 2020. arXiv:1904.13132.
# - Y. M. Asano, A. Saeed. *The augmented image prior: distilling 1000 classes by extrapolating from a single image.* ICLR 2023. arXiv:2112.00725.
# - E. Oyallon, E. Belilovsky, S. Zagoruyko. *Scaling the scattering transform: deep hybrid networks.* ICCV 2017. arXiv:1703.08961.
# - L. Gatys, A. Ecker, M. Bethge. *Image style transfer using convolutional neural networks.* CVPR 2016.
