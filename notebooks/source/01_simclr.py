# %% [markdown]
# # SimCLR: two views of one image find each other
#
# **The question of this notebook.** Can a network learn to tell shapes apart without a single label, only by recognising that two distorted
# views come from the same picture, and *what makes it work*?
#
# T. Chen, S. Kornblith, M. Norouzi and G. Hinton. *A Simple Framework for Contrastive Learning of Visual Representations.* ICML 2020.
#
# **You will be able to**
# - write the contrastive loss and the two views, and train with your own code;
# - say why the views define the task, what the temperature does, and why $h$ is kept and $z$ thrown away;
# - recognise collapse and a shortcut when you see them.
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
from sslcourse import augment, encoders, evaluate, features, health, show, widgets
from sslcourse.check import check, hint, lesson, solution
from sslcourse.data import toybox
from sslcourse.methods import simclr
from sslcourse.train import epochs

profile = sslcourse.setup(seed=0)
data = toybox.images()
pictures = data.train.image

# %% [markdown]
# ## 1. A picture that makes the question visible
#
# In each row: one image, then random views of it. You see at once which views belong together. What do you use for that? Shape, colour,
# place? A network will use whatever is *easiest*, and only what survives in both views.

# %%
torch.manual_seed(0)
untrained = evaluate.random_like(simclr.SimCLR(encoders.small_cnn()), pictures)
show.views(untrained, data.train, n=4, draws=6)

# %% [markdown]
# Play with the distortions. Find a setting in which *you* could match views by colour alone, and one in which you cannot match them at all.

# %%
widgets.augmentations(pictures[:64])

# %% [markdown]
# ## 2. Predict
#
# We shall train three times: with **crop and colour** distortion, with **crops only**, and with **no negatives**. Which of them finds the
# partner of a view most often *during training*? Which of them gives the best features *afterwards*? Write both down.

# %%
# Each is "crop and colour", "crops only" or "no negatives".
my_prediction = {"finds partners best": None, "best features": None}

# %% [markdown]
# ## 3. The idea in mathematics, with the names of the code
#
# Every image $x$ gives two views, `first` and `second`. The encoder `f` and the projector `g` make of each
#
# $$h = f(\text{view}), \qquad z = g(h), \qquad s_{ij} = \frac{z_i \cdot z_j}{\|z_i\|\,\|z_j\|}$$
#
# and for a batch of $n$ images, $2n$ views, view $i$ must pick its partner $j$ out of all the others (eq. 1 of the paper):
#
# $$\ell_{ij} = -\log \frac{e^{s_{ij}/\tau}}{\sum_{k \ne i} e^{s_{ik}/\tau}}, \qquad L = \frac{1}{2n}\sum_{\text{partners}} \ell_{ij}$$
#
# It is a classification with $2n-1$ candidates. A network that tells nothing apart pays $\log(2n-1)$. The temperature $\tau$ decides how much
# the *hardest* candidates count.

# %% [markdown]
# In a picture, with the names of the code. Blue boxes learn by the gradient; a dashed border or a dashed arrow means that no gradient passes.

# %%
show.diagram("simclr")

# %% [markdown]
# ## 4. Exercise: write NT-Xent (core, about 10 minutes)
#
# Replace the line that raises. `check` tells you *which* mistake it found; `hint("simclr.nt_xent", 1)` helps, `solution("simclr.nt_xent")` shows ours.
# An exercise that is *core* is for everybody; *more* and *for the fast* may be left out: the lesson then goes on with the course's own function.

# %% tags=["nbval-check-output"]
def my_nt_xent(z1, z2, temperature):
    """z1, z2: (n, d), row i of both is the same image. Returns one number."""
    # SOLUTION: simclr.nt_xent

loss = check("simclr.nt_xent", my_nt_xent)

# %% [markdown]
# ## 5. Exercise: the two views (core, about 5 minutes)
#
# A batch of images goes in, two batches of random views come out. `augment.simclr_view(...)` draws *one* random view, with parameters of its own for every image.

# %% tags=["nbval-check-output"]
def my_two_views(image):
    """image: (B, 3, H, W). Returns first, second: both (B, 3, H, W), 0 to 1."""
    # BEGIN SOLUTION
    view = augment.simclr_view(area=(0.3, 1.0), strength=0.5, hue_by=0.2)
    return view(image), view(image)                            # drawn twice
    # END SOLUTION

two_views = check("simclr.two_views", my_two_views)

# %% [markdown]
# ## 6. The library's method, and your functions in it
#
# The whole of SimCLR is three short methods. Read them: they are what is trained below, with *your* loss and *your* views where they passed
# the check.

# %%
show.source(simclr.SimCLR.views, simclr.SimCLR.loss, simclr.SimCLR.encode)

# %% tags=["nbval-check-output"]
class MySimCLR(simclr.SimCLR):
    def views(self, batch):
        first, second = two_views(batch["image"])
        return {"first": first, "second": second}

def new_method(kind=MySimCLR, **arguments):
    torch.manual_seed(0)
    return kind(encoders.small_cnn(), **arguments)

# A smaller batch than the course's own recipe has: fewer negatives, but more updates in the half minute that a class will wait.
recipe = simclr.COURSE.but(epochs=6, batch_size=64, lr=2.5e-3)
ours = {"data": "toybox", "encoder": "five convolutions", "epochs": recipe.epochs, "batch_size": recipe.batch_size,
        "optimizer": recipe.optimizer, "temperature": untrained.temperature}
show.table([{"": "paper", **{k: simclr.PAPER[k] for k in ours}}, {"": "here", **ours}], caption="every departure, in the open")

# %% [markdown]
# Now train. No label is used: `data.train.unlabelled()` has none. The labels of the *validation* split only measure how it is going. Watch
# the map: do pictures of one shape begin to gather?

# %% tags=["readme-picture"]
method = new_method(loss=loss)
held_out = data.validation.label

shown, xy = data.validation.take(slice(0, 500)), None
with widgets.Panel(recipe.epochs, classes=data.classes, title="SimCLR, no labels", samples=shown.take(slice(0, 12))) as panel:
    for row in epochs(method, data.train.unlabelled(), recipe):
        h = features.extract(method, data.validation)
        row |= evaluate.probe(method, data, linear=False, limit=500)
        row |= {"spread": health.spread(h), "effective rank": health.effective_rank(h)}
        xy = evaluate.living_map(h[:500], xy)
        panel.add(row, xy=xy, labels=shown.label, filters=encoders.first_filters(method.f),
                  predicted=evaluate.guesses(method, data))

# %% [markdown]
# The replay holds what you just saw; drag the slider, or press play. Below the map: twelve pictures, and what their neighbours take them for.

# %%
# Holds: "the neighbours of a picture share its shape more often than after the first"
assert panel.rows[-1]["kNN"] > panel.rows[0]["kNN"] + 0.05
print(f"kNN after the first epoch {panel.rows[0]['kNN']:.2f}, after the last {panel.rows[-1]['kNN']:.2f}; effective rank {panel.rows[-1]['effective rank']:.0f}")
panel.replay

# %% [markdown]
# They begin to: after the last epoch the neighbours of a picture share its shape more often than after the first. The clusters of a long training are
# clearer than these.
#
# ## 7. Who pulls and who pushes: the temperature
#
# The bars take one view as the anchor and show the softmax weights of eq. 1 in the trained network. The gradient pulls the partner by what it
# lacks to 1, and pushes every other candidate by its weight. Lower the temperature: fewer and fewer candidates are pushed, the nearest ones.
# Raise it: all are pushed alike, near or far.

# %%
first, second = two_views(pictures[:16])
with torch.no_grad():
    z1, z2 = (method.g(method.f(view)) for view in (first, second))
widgets.temperature(z1, z2, images=first)

# %% [markdown]
# **In numbers: the gradient.** With $p$ the softmax weights of one view's candidates, eq. 1 has the gradient $(p - 1) / \tau$ for the similarity of the
# partner and $p / \tau$ for every other one. They add up to 0: what the partner is pulled by, the others are pushed by, all together. Autograd says so too:

# %% tags=["nbval-check-output"]
tau = 0.2
cosine = torch.tensor([0.8, 0.7, 0.3, -0.2, -0.6], requires_grad=True)      # of one view with its partner, then with four others
F.cross_entropy(cosine[None] / tau, torch.tensor([0])).backward()
p = (cosine.detach() / tau).softmax(0)
formula = (p - torch.tensor([1.0, 0, 0, 0, 0])) / tau
# Holds: "They add up to 0"
assert torch.allclose(cosine.grad, formula, atol=1e-5) and abs(float(cosine.grad.sum())) < 1e-5
show.table([{"": name, "cosine": float(c), "weight p": float(w), "by autograd": float(g), "by the formula": float(f)}
            for name, c, w, g, f in zip(["partner", *["stranger"] * 4], cosine.detach(), p, cosine.grad, formula)])

# %% [markdown]
# **In numbers: alignment and uniformity.** For vectors of length 1 a cosine is $1 - d^2 / 2$, with $d$ their distance. Put into eq. 1, the loss falls
# into two parts (the names are Wang and Isola's):
#
# $$L = \underbrace{\frac{1}{2\tau}\, \overline{d_{\text{partner}}^2}}_{\text{alignment: pull}} \; + \; \underbrace{\overline{\log \sum_{k \ne i} e^{-d_{ik}^2 / 2\tau}}}_{\text{uniformity: push}}$$
#
# A collapse makes the first part 0, and the second one as large as it can be. The two parts of your loss on the sixteen pictures above:

# %%
z = F.normalize(torch.cat([z1, z2]), dim=1)
apart = torch.cdist(z, z).square().fill_diagonal_(float("inf"))             # squared distances; nobody is a candidate for itself
pull, push = health.alignment(z1, z2) / (2 * tau), float((-apart / (2 * tau)).logsumexp(1).mean())
whole = float(loss(z1, z2, tau))
assert abs(pull + push - whole) < 1e-3 * abs(whole) + 1e-4, "both parts should add up to the loss"
print(f"alignment {pull:.4f} + uniformity {push:.4f} = {pull + push:.4f}; the loss {whole:.4f}")

# %% [markdown]
# ## 8. What did it learn?
#
# The probe, with its baseline beside it: the same architecture, never trained. (Raw pixels follow with the final report.)

# %%
wall = {"random encoder": evaluate.probe(untrained, data)["linear"], "SimCLR": evaluate.probe(method, data)["linear"]}
# Holds: "SimCLR stands far above the same network before its training"
assert wall["SimCLR"] > wall["random encoder"] + 0.25, "SimCLR should stand far above a random encoder"
show.bars(wall, title="linear probe on the validation split, no labels used before the probe", chance=0.1)

# %% [markdown]
# SimCLR stands far above the same network before its training. Click pictures, and compare whom both encoders take for their neighbours. Find one for
# which SimCLR is wrong: what do its neighbours share instead? (The candidates are in the
# factor table of section 12: whatever $h$ keeps besides the shape.)

# %%
h_untrained, h = features.extract(untrained, data.validation), features.extract(method, data.validation)
some = slice(0, 300)
widgets.neighbours({"random encoder": h_untrained[some], "SimCLR": h[some]}, data.validation.image[some], held_out[some],
                   classes=data.classes)

# %% [markdown]
# The map, to walk on. Colour it by *shape*, by *hue*, by *place*: nobody told the network about any of them. Draw round a group to select it.

# %%
explorer = widgets.clusters(xy, shown.label, shown.image, classes=data.classes, columns=shown,
                            predicted=evaluate.guesses(method, data, len(shown)))
explorer

# %%
print(explorer.describe())          # select a group above, and run this cell again

# %% [markdown]
# And what single units came to look for, without a label:

# %%
widgets.filters(method, data.validation, panel)

# %% [markdown]
# ## 9. $h$ against $z$
#
# The paper keeps $h$ and throws the projector away, because $z$ was trained to forget whatever the views change. Look at both maps (t-SNE),
# then at the numbers: t-SNE keeps neighbours and invents distances, so do not judge by its gaps.

# %%
encode_z = lambda batch: method.g(method.encode(batch))
z = features.extract(method, data.validation, encode=encode_z)
part = slice(0, 600)
maps = {"h, before the projector": evaluate.tsne(h[part]), "z, after it": evaluate.tsne(z[part])}
show.embedding(maps, held_out[part], data.classes)

# %%
z_train = features.extract(method, data.train, encode=encode_z)
z_score = evaluate.score(z_train, data.train.label, z, held_out, classes=10)
h_or_z = {"h": wall["SimCLR"], "z": z_score["linear"]}
# Measured beforehand over five seeds, and stored with the course.
from sslcourse.results import compare, wall as stored
five = {row["claim"]: row for row in stored.verdicts(compare.MEASURED) if row["paper"] == "simclr"}
print(f"h minus z, linear probe for the shape: this run {h_or_z['h'] - h_or_z['z']:+.3f}; five seeds {five['h_beats_z']['mean']:+.3f} ({five['h_beats_z']['verdict']})")
print(f"h minus z, how a picture was turned: five seeds {five['head_forgets']['mean']:+.3f} ({five['head_forgets']['verdict']})")
# Holds: "Over five seeds h says more of the shape than z does", "more of how a picture was turned"
assert five["h_beats_z"]["mean"] > 0.02 and five["head_forgets"]["low"] > 0.01
show.bars(h_or_z, title="linear probe on h and on z, validation split", chance=0.1)

# %% [markdown]
# Over five seeds h says more of the shape than z does, and more of how a picture was turned: that is the paper's own test of what the projector forgets.
#
# ## 10. Few labels
#
# The point of it all: when labels are scarce, features that were learned without them are worth most. One and ten per cent of the labels, then
# all of them, against the random encoder.

# %%
shares = (0.01, 0.1, 1.0)
mean_and_spread = lambda values: (sum(values) / len(values), float(torch.tensor(values).std(correction=0)))
curves = {}
for name, network in (("random encoder", untrained), ("SimCLR", method)):
    accuracy = evaluate.label_curve(network, data, shares)      # three random subsets for each share
    curves[name] = [mean_and_spread(accuracy[share]) for share in shares]
# Holds: "SimCLR is ahead at every share"
assert all(curves["SimCLR"][i][0] > curves["random encoder"][i][0] + 0.05 for i in range(len(shares)))
show.curve([100 * share for share in shares], curves, xlabel="labels used by the probe, %", ylabel="validation accuracy",
           log=True, title="linear probe from few labels (three subsets)")

# %% [markdown]
# SimCLR is ahead at every share. With one per cent there are sixty labels, about six of each shape.
#
# ## 11. Break it
#
# Two switches, and one short training for each beside the healthy one. Compare what the *task* says ("partner found") with what the *probe*
# says, and read the diagnosis. (About twenty seconds.)
#
# - **no negatives**: the loss only pulls partners together;
# - **crops only**: no colour distortion in the views.

# %%
def only_pull(z1, z2, temperature):
    return 1 - F.cosine_similarity(z1, z2).mean()          # nothing is pushed away

crops = augment.simclr_view(area=simclr.COURSE_VIEW["area"], strength=0, hue_by=0, greyscale=0)
switches = {"crop and colour": {}, "crops only": dict(view=crops), "no negatives": dict(loss=only_pull)}

short, part = recipe.but(epochs=3), data.train.take(slice(0, 2000)).unlabelled()
broken, diagnoses, replays = [], {}, {}
for name, arguments in switches.items():
    victim = new_method(simclr.SimCLR, **arguments)
    watch = widgets.Panel(short.epochs, classes=data.classes, backend="silent")     # records, and draws nothing
    for row in epochs(victim, part, short):
        sample = features.extract(victim, data.validation, encode=lambda batch: victim.g(victim.encode(batch)))
        watch.add(row, xy=widgets.map2d(sample[:500]), labels=shown.label)
    diagnoses[name], replays[name] = health.diagnose(sample), watch.replay
    broken.append({"switch": name, "loss": row["loss"], "partner found": row["partner found"],
                   "spread of z": diagnoses[name]["spread"], **evaluate.probe(victim, data)})
show.table(broken, caption=f"after {short.epochs} epochs on {len(part):,} pictures")

# %% [markdown]
# Side by side, the map of $z$ (its two main directions, drawn to scale): one spreads, the other falls together.

# %%
widgets.side_by_side({name: replays[name] for name in ("crop and colour", "no negatives")})

# %%
print("no negatives:\n" + str(diagnoses["no negatives"]))
by_name = {row["switch"]: row for row in broken}
healthy, crops_only, alone = (by_name[n] for n in ("crop and colour", "crops only", "no negatives"))
# Holds: "Without negatives every picture is mapped to (nearly) the same $z$", "partners are found far more often, and the features are worse"
assert alone["spread of z"] < 0.3 < healthy["spread of z"], "without negatives z should collapse"
assert crops_only["partner found"] > healthy["partner found"], "crops only should find partners more often"
assert crops_only["linear"] < healthy["linear"], "and represent worse"

# %% [markdown]
# - Without negatives every picture is mapped to (nearly) the same $z$. The loss is perfect and worthless: **collapse**.
# - With crops only, partners are found far more often, and the features are worse. The colours of a picture identify it: a **shortcut**.
#
# So the pretext task's own score says nothing about the representation. Was that your prediction?

# %%
best_at = lambda key: max(broken, key=lambda row: row[key])["switch"]
measured = {"finds partners best": best_at("partner found"), "best features": best_at("linear")}
show.table([{"": "you expected", **my_prediction}, {"": "measured", **measured}])

# %% [markdown]
# ## 12. What did SimCLR throw away?
#
# The factor table again. Both views of an image share its solid, but not its crop nor its colours. Which factors should survive? Write your guess down;
# below are the answer and a surprise.

# %%
factors = evaluate.factor_table({"pixels": "pixels", "random encoder": untrained, "SimCLR": method}, data)
show.factor_table(factors, title="what can be read, factor by factor (validation split)")

# %%
kept, raw = factors["SimCLR"], factors["pixels"]
print("; ".join(f"{f} {kept[f]:.2f} (pixels {raw[f]:.2f})" for f in ("ground_hue", "ground", "x", "y", "size", "shape")))
# Holds: "it lets go of both", "Place and size can be read better than from the pixels"
assert kept["ground_hue"] < raw["ground_hue"] - 0.1 and kept["ground"] < raw["ground"] - 0.01
assert kept["x"] > raw["x"] + 0.1 and kept["y"] > raw["y"] + 0.1 and kept["size"] > raw["size"] + 0.2
# Holds: "the shape, which nobody asked for by name"
assert kept["shape"] > raw["shape"] + 0.3
gained = sorted(factors["SimCLR"], key=lambda f: factors["SimCLR"][f] - factors["pixels"][f])
print("lost most against the pixels:", ", ".join(gained[:3]))
print("gained most:", ", ".join(gained[-3:]))

# %% [markdown]
# Colour jitter tells the network that the background's tint and brightness do not matter, and it lets go of both. It keeps the shape, which nobody
# asked for by name. The surprise: place and size can be read better than from the pixels, although every crop changes them. The views say what *may* be
# lost; they do not force the network to lose it.
#
# ## 13. The paper's claims
#
# `sslcourse claims simclr --seeds 5` trains nine networks a seed and returns a verdict for each claim. Most of its effects are made by this function: it
# takes the names of runs, and returns the effect as a function of the results of one seed. The table has the paper's numbers and five seeds of ours.

# %%
from sslcourse import claims
show.source(claims.gain)

# %% tags=["nbval-check-output"]
from sslcourse.results import papers
papers.findings("simclr", compare.MEASURED)

# %%
# Holds: "Crops together with colours, and a projector"
assert five["crop_and_colour"]["low"] > 0.08 and five["linear_head"]["low"] > 0.05
# Holds: "A linear projector is as good as a non-linear one", "a batch of 32 beats one of 128"
assert abs(five["nonlinear_head"]["mean"]) < 0.04 and five["bigger_batch"]["mean"] < -0.02

# %% [markdown]
# What makes it work here? Crops together with colours, and a projector. A linear projector is as good as a non-linear one, against the paper; and a
# batch of 32 beats one of 128, as it gives four times as many steps.
#
# ## Minutes later: the same network, trained for longer
#
# Half a minute is what a class can wait for. The course brings the same network after its `FULL` recipe; the page says how it was made.

# %%
from sslcourse import networks
longer = networks.load("simclr")
print(longer)
frames = longer.replay.frames()             # longer.replay shows them on a slider
show.embedding({"before any training": frames[0]["xy"], "after all of it": frames[-1]["xy"]}, frames[0]["labels"], data.classes)

# %% [markdown]
# Before, all shapes lie mixed. After, most have a region of their own: cones, tori and crosses stand apart, cylinders and capsules still meet. Nobody told the
# network that there are shapes. What changed in numbers, and whom do both networks take for neighbours?

# %%
minutes = {"random encoder": wall["random encoder"], "this lesson": wall["SimCLR"], "trained for longer": evaluate.probe(longer.method, data)["linear"]}
# Holds: "What half a minute began, some minutes finish"
assert minutes["trained for longer"] > max(0.9, minutes["this lesson"] + 0.05)
show.bars(minutes, title="linear probe on the validation split", chance=0.1)

# %%
h_longer = features.extract(longer.method, data.validation)
queries = [int((held_out == data.classes.index(name)).nonzero()[1]) for name in ("cone",)]
show.neighbours({"this lesson": h[:400], "trained for longer": h_longer[:400]}, data.validation.image[:400], queries, k=6, labels=held_out[:400], classes=data.classes)

# %%
def same_shape(x):          # the share of the eight nearest pictures that have the picture's own shape
    x = F.normalize(x[:1000], dim=1)
    nearest = (x @ x.T).fill_diagonal_(-1).topk(8).indices
    return float((held_out[:1000][nearest] == held_out[:1000, None]).float().mean())

print(f"of eight neighbours share the shape: this lesson {same_shape(h):.0%}, trained for longer {same_shape(h_longer):.0%}")
# Holds: "its neighbours share the shape far more often"
assert same_shape(h_longer) > same_shape(h) + 0.15

# %% [markdown]
# What half a minute began, some minutes finish: its neighbours share the shape far more often, whatever their colour. The idea did not change, nor the encoder.
#
# ## 14. What changed since
#
# - **Negatives** turned out not to be needed: BYOL and SimSiam replace them by a predictor and a stopped gradient (chapter 06).
# - **Large batches** turned out to be replaceable: MoCo keeps a queue of old keys (chapter 06).
# - Words can be views: CLIP is the same loss between pictures and captions (chapter 07).
#
# ## Answer
#
# How can a network learn without labels? It makes two views of each image find each other. *And what makes it work?* Views that leave no easy cue: with
# crops alone the colours give the partner away. Something that pushes: without negatives all pictures fall together. And a projector that does the
# forgetting, so that $h$ need not. The test split is opened once, for the final number.

# %%
final = evaluate.report({"SimCLR": method}, data)
final

# %%
score_of = {row["features"]: row["linear"] for row in final.rows}
print(f"Without labels: {score_of['SimCLR']:.1%} by a linear probe, against "
      f"{score_of['random encoder']:.1%} for the random encoder and {score_of['pixels']:.1%} for raw pixels.")
lesson("01_simclr")
print(f"this notebook: {time.perf_counter() - notebook_started:.0f} s on {profile}")

# %% [markdown]
# ## Quiz
#
# Five questions on what you have seen. Click an answer, and you are told why it is right, or which mistake it is.

# %%
from sslcourse.check import quiz
# BEGIN SOLUTION: quiz("01_simclr")
quiz("01_simclr", answers="a c b d c")
# END SOLUTION

# %% [markdown]
# ## References
# - T. Chen, S. Kornblith, M. Norouzi, G. Hinton. *A simple framework for contrastive learning of visual representations.* ICML 2020. arXiv:2002.05709.
# - A. van den Oord, Y. Li, O. Vinyals. *Representation learning with contrastive predictive coding.* 2018. arXiv:1807.03748. (InfoNCE)
# - T. Wang, P. Isola. *Understanding contrastive representation learning through alignment and uniformity on the hypersphere.* ICML 2020. arXiv:2005.10242.
