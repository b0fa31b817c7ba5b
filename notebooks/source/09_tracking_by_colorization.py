# %% [markdown]
# # Tracking by colorization: a network that copies colours learns to track
#
# **The question of this notebook.** A network is shown grey films and asked for their colours, which it may only *copy* from earlier frames. Nobody tells it
# what an object is, or that anything should be followed. *Does it learn to track*, and what in the films teaches it?
#
# C. Vondrick, A. Shrivastava, A. Fathi, S. Guadarrama, K. Murphy. *Tracking Emerges by Colorizing Videos.* ECCV 2018.
#
# **You will be able to**
# - write the pointer that copies, the loss of what was copied, and the measure J, and train with your own code;
# - carry masks and key-points along a film with a network that was never told of either, and say what temperature, window and best matches do;
# - judge it against standing still, random weights and optical flow, and say when flow is the better tracker.
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
from sslcourse import colour, encoders, evaluate, show, tracking, widgets
from sslcourse.check import check, hint, lesson, solution
from sslcourse.data import toybox
from sslcourse.data.datasets import Samples
from sslcourse.methods import colorization
from sslcourse.evaluate.optical_flow import FLOWS, by_flow
from sslcourse.train import epochs, fit
from sslcourse.widgets.films import films
from sslcourse.widgets.video import painted

profile = sslcourse.setup(seed=0)
data = toybox.tracks(300, 20, 20)
learn, held = data.train.video, data.validation        # the held films have masks, for judging only

# %% [markdown]
# ## 1. A picture that makes the question visible
#
# Above: what the network sees. Below: what it is asked for. Play the films, and choose a place in a grey one: how do *you* know its colour, once you have seen the
# first frame in colour? You look for the same place again.

# %%
grey = colorization.shown_to_network(learn[:4] / 255)
films({"shown": grey, "asked for": learn[:4]}, fps=6, scale=2.5, title="grey films, and their colours")

# %% [markdown]
# ## 2. Predict
#
# We shall carry the two masks of a film's first frame to its other frames: by leaving them where they are (**identity**), by pointing with **random** weights, by
# pointing with a network that tells **colours from a single image**, with one that **copies** colours, and by **optical flow**. Put them in order. And:
# if the films stood still, would the network still learn to track?

# %%
my_prediction = {"best first": ["?", "?", "?", "?", "?"], "tracks after films that stand still": None}

# %% [markdown]
# ## 3. The idea in mathematics, with the names of the code
#
# Every cell of every frame gets an embedding $f$ from its grey values. A target cell $j$ points to the cells $i$ of the frames before it and copies
# their colours $c_i$:
#
# $$A_{ij} = \frac{e^{f_i \cdot f_j / \tau}}{\sum_k e^{f_k \cdot f_j / \tau}}, \qquad y_j = \sum_i A_{ij}\, c_i, \qquad L = -\frac{1}{m}\sum_j \log y_j[\text{true colour}]$$
#
# Colours are numbers of clusters: k-means on $a$ and $b$ of Lab, so that "which colour" is a question with few answers. Sixteen of them, as in the paper:

# %% [markdown]
# In a picture, with the names of the code. Blue boxes learn by the gradient; a dashed border or a dashed arrow means that no gradient passes.

# %%
show.diagram("colorization")

# %%
torch.manual_seed(0)
method = colorization.Colorization(encoders.dense_cnn())
method.before_epoch(0.0, data.train, {})                     # finds the palette
cells = colorization.in_cells(learn[:4, :, :1] / 255, 2)
number = method.palette(cells)[:, 0]                         # (4, 24, 24)
light = colour.lab(cells[:, :, 0])[:, 0]
repainted = method.palette.paint(F.one_hot(number, 16).float(), light)
show.grid(torch.cat([cells[:, :, 0], repainted]), titles=["true"] * 4 + ["16 colours"] * 4, columns=4, scale=4)

# %% [markdown]
# ## 4. Exercise: the pointer (core, about 5 minutes)
#
# Replace the line that raises. `check` tells you *which* mistake it found; `hint("colorization.pointer", 1)` helps, `solution("colorization.pointer")` shows ours.

# %% tags=["nbval-check-output"]
def my_pointer(references, targets, colours, temperature):
    """references: (n, d), targets: (m, d), colours: (n, c) one-hot. Returns y: (m, c), what each target copies."""
    # SOLUTION: colorization.pointer

pointer = check("colorization.pointer", my_pointer)

# %% [markdown]
# ## 5. Exercise: what a copy costs (core, about 5 minutes)
#
# `y` holds probabilities already: what would a loss "with logits" do to them?

# %% tags=["nbval-check-output"]
def my_copy_loss(y, colour):
    """y: (m, c) shares that add up to 1, colour: (m,) the true colour of each cell. Returns one number."""
    # BEGIN SOLUTION
    return -(y[torch.arange(len(y)), colour] + 1e-6).log().mean()
    # END SOLUTION

copy_loss = check("colorization.copy_loss", my_copy_loss)

# %%
perfect = F.one_hot(number.flatten()[:100], 16).float()
truth = number.flatten()[:100]
costs = {"a perfect copy": copy_loss(perfect, truth), "an even mixture": copy_loss(torch.full((100, 16), 1 / 16), truth),
         "a perfect copy, softmax twice": F.cross_entropy(perfect, truth)}
# Holds: "even a perfect copy costs more than one nat"
assert costs["a perfect copy"] < 0.01 and costs["a perfect copy, softmax twice"] > 1
show.bars({name: round(float(cost), 3) + 0.0 for name, cost in costs.items()}, title="what a copy costs", unit="")

# %% [markdown]
# A loss "with logits" applies a softmax first. `y` has gone through one already, so this is a softmax of a softmax: even a perfect copy costs more than one nat
# (third bar), and no training can bring the loss down to 0.

# %% [markdown]
# ## 6. Exercise: J (more, about 5 minutes)
#
# How well does a mask fit? The DAVIS benchmark counts the pixels that both masks have, against those that either has. Two empty masks agree: J is 1.

# %% tags=["nbval-check-output"]
def my_region(predicted, given):
    """Two masks (H, W) of booleans. Returns a number from 0 to 1."""
    # BEGIN SOLUTION
    either = (predicted | given).sum()
    return 1.0 if either == 0 else float((predicted & given).sum() / either)
    # END SOLUTION

region = check("tracking.region", my_region)

# %% [markdown]
# ## 7. The library's method, and your functions in it

# %%
show.source(colorization.Colorization.views, colorization.Colorization.copied, colorization.Colorization.loss)

# %% tags=["nbval-check-output"]
recipe = colorization.COURSE.but(epochs=5)
ours = {"data": "toybox tracks, 300 films", "encoder": "four convolutions", "cells": "stride 2",
        "references": method.references, "colours": len(method.palette.centre)}
show.table([{"": "paper", **{k: colorization.PAPER[k] for k in ours}}, {"": "here", **ours}], caption="every departure, in the open")

# %% [markdown]
# Two more departures: here embeddings have length 1, so that the length of an embedding cannot act as a temperature; and every frame is encoded alone.
#
# Now train. No mask is used. `J` is measured on films that are not trained on, and no gradient comes of it. Below the curves: grey frames, the colours that
# were copied for them, and the true ones.

# %%
def new_method(kind=colorization.Colorization, **arguments):
    torch.manual_seed(0)
    return kind(encoders.dense_cnn(), **arguments)

track = dict(references=3, temperature=0.05, window=8, topk=10, keep_first=True, precise=False)
some = [(held.video[i], held.extra["mask"][i], held.extra["keypoint"][i]) for i in range(6)]

def j_of(network):
    return tracking.measure({"": tracking.by_features(network.embed, **track)}, some)[""].J

untrained = evaluate.random_like(new_method(), data.train)
method, rows = new_method(point=pointer, cost=copy_loss), []
with widgets.Panel(recipe.epochs, title="copying colours") as panel:
    for row in epochs(method, data.train, recipe):
        rows.append(row | {"J": j_of(method)})
        made = method.coloured(held.video[:4])
        panel.add(rows[-1], filters=encoders.first_filters(method.f), pictures={k: made[k] for k in ("grey", "copied", "true")})

# %%
panel.replay

# %% [markdown]
# A network that learns colours learns to carry a mask, which nobody asked for. The horizontal lines: a mask that stays where it was, and the network
# before its training.

# %%
still = tracking.measure({"identity": tracking.identity}, some)["identity"].J
assert rows[-1]["J"] > still + 0.2, "a copier of colours should track far better than a mask that stays where it was"
lines = {"J": {"identity": still, "untrained": j_of(untrained)}}
# Holds: "The later epochs add far less than the first one"
assert rows[0]["J"] - lines["J"]["untrained"] > 2 * (rows[-1]["J"] - rows[0]["J"])
print(f"J before training {lines['J']['untrained']:.2f}, after one epoch {rows[0]['J']:.2f}, at the end {rows[-1]['J']:.2f}")
show.history(rows, ["loss", "colour found", "J"], baselines=lines, title="tracking emerges")

# %% [markdown]
# Most of the tracking is there after one epoch. The later epochs add far less than the first one: the claim "tracking improves as the training goes on" is
# judged over five seeds in section 14.

# %% [markdown]
# ## 8. Where does it point?
#
# Click a pixel. Which cells of the frames before does it point to? Then draw on frame 1 (keys 1 to 9 choose an object, 0 is the eraser), and play: your drawing is
# carried along. Move temperature, window and the number of best matches. All of it happens in your browser.

# %%
i = int((held.extra["hidden"][:20].amax((1, 2)) - 0.25).abs().argmin())      # a film in which a solid is hidden in part
widgets.pointer(held.video[i], method.embed(held.video[i]), held.extra["mask"][i], temperature=0.05, window=8, topk=10,
                keep_first=True, dims=10, title="where does this pixel come from?")

# %% [markdown]
# ## 9. Masks and key-points, carried along
#
# All trackers on the same films. The baselines: a network for *single-image* colorization, which never had to find anything again, and two flows of
# well-kept libraries.

# %%
single = new_method(colorization.SingleImage)
fit(single, data.train, recipe.but(epochs=3))
learned = tracking.by_features(method.embed, **track)
trackers = {"identity": tracking.identity, "random weights": tracking.by_features(untrained.embed, **track),
            "single image": tracking.by_features(single.embed, **track), "flow, local": by_flow(FLOWS["local"]),
            "flow, coarse to fine": by_flow(FLOWS["coarse to fine"]), "colorization": learned}
found = tracking.measure(trackers, held)
show.table([{"": name, **m.row()} for name, m in found.items()], caption=f"validation: mean over {len(held)} films")

# %% [markdown]
# J compares the areas of two masks, F their outlines, and PCK counts key-points (below). And your own `region`, on the first of these films:

# %%
carried = learned(held.video[0], held.extra["mask"][0, 0], None)[0]
own_j = torch.tensor([[region(carried[t] == k, held.extra["mask"][0, t] == k) for k in (1, 2)] for t in range(1, len(carried))])
print(f"J of the first and of the second solid, by your function: {own_j[:, 0].mean():.2f} and {own_j[:, 1].mean():.2f}")
assert torch.allclose(own_j.double(), found["colorization"].j[0][1:].double(), atol=1e-6), "it is what the table is made of"

# %%
order = sorted((name for name in found if name != "flow, local"), key=lambda name: -found[name].J)
# Holds: "Both flows are better here", "Among the networks colorization wins", "It is far above the other three", "its features are no bad trackers here"
assert all(found["colorization"].J > found[name].J + 0.05 for name in ("identity", "random weights", "single image"))
assert min(found[name].J for name in ("flow, local", "flow, coarse to fine")) > found["colorization"].J
assert found["single image"].J > found["random weights"].J + 0.08
show.table([{"": "you expected", **dict(enumerate(my_prediction["best first"], 1))}, {"": "measured", **dict(enumerate(order, 1))}])

# %% [markdown]
# Read it from both sides. Both flows are better here, in films that are easy for them. Among the networks colorization wins. It is far above the other three rows.
#
# A network for single images needs some sense of place and texture too, and the window helps it: its features are no bad trackers here. (In the paper, without a
# window and on real films, they were the worst.) Now play the films. Tinted: the masks. Each film's first mask was given.

# %%
picks = held.extra["mask"].flatten(1).float().mean(1).argsort(descending=True)[:3]
rows_of = {"true": [painted(held.video[k], held.extra["mask"][k]) for k in picks]}
for name in ("identity", "colorization"):
    rows_of[name] = [painted(held.video[k], trackers[name](held.video[k], held.extra["mask"][k, 0], None)[0]) for k in picks]
films({name: torch.stack(row) for name, row in rows_of.items()}, fps=6, scale=2.5, title="the first mask, carried along")

# %% [markdown]
# Any label can be carried, points too. Five on each solid; a prediction is right within a tenth, two tenths, ... of the solid's size (PCK).

# %%
alphas = (0.1, 0.2, 0.3, 0.4, 0.5)
# Holds: "colorization stays below both flows at each of these thresholds"
assert all(found["colorization"].pck(a) < found[name].pck(a) for a in alphas[:4] for name in ("flow, local", "flow, coarse to fine"))
show.curve(alphas, {name: [m.pck(a) for a in alphas] for name, m in found.items()}, xlabel="within so much of the solid's size",
           ylabel="key-points found", title="PCK (validation)")

# %% [markdown]
# For key-points, colorization stays below both flows at each of these thresholds. One reason: its cells are two pixels wide, and flow moves every pixel.
#
# ## 10. J over time, slow and fast
#
# Errors add up. Identity loses at once what is fast; what about the others?

# %%
middle = held.extra["keypoint"][..., :2].mean(3)                             # (N, T, K, 2), of each solid
speed = middle.diff(dim=1).norm(dim=3).mean(1)                               # (N, K), pixels a frame
fast = speed > speed.median()
curves = {f"{name}, {word}": found[name].over_time(which)[1:] for name in ("identity", "flow, local", "colorization")
          for word, which in (("slow", ~fast), ("fast", fast))}
# Holds: "Identity loses the fast solids first", "Flow and colorization follow both halves far longer"
assert sum(curves["identity, slow"]) > sum(curves["identity, fast"])
assert all(sum(curves[f"{name}, {word}"]) > sum(curves["identity, slow"]) for name in ("flow, local", "colorization") for word in ("slow", "fast"))
print("J in the last frame: " + "; ".join(f"{name} {values[-1]:.2f}" for name, values in curves.items()))
show.curve(range(2, held.video.shape[2] + 1), curves, xlabel="frame", ylabel="J", title="the slow half of the solids and the fast half")

# %% [markdown]
# Identity loses the fast solids first, and soon the slow ones too. Flow and colorization follow both halves far longer: for them speed alone is not
# what hurts in these films.

# %% [markdown]
# ## 11. What hurts flow
#
# Flow assumes small steps, steady brightness and that nothing disappears. Films that break all of this: twice as fast, growing and shrinking, blurred
# by their motion, with a third solid that hides the others, flicker and noise. Colorization learns from films of that kind, again without a mask.

# %%
hard_knobs = dict(speed=(2.5, 5.0), scale=0.3, blur=3, solids=3, gain=0.2, noise=0.05)
hard = toybox.tracks(200, 16, 8, **hard_knobs)
hardened = new_method()
fit(hardened, hard.train, recipe)
in_hard = tracking.measure({**{name: trackers[name] for name in ("identity", "flow, local", "flow, coarse to fine")},
                            "colorization": tracking.by_features(hardened.embed, **track)}, hard.validation)
lost = {name: found[name].J - m.J for name, m in in_hard.items()}
# Holds: "Both flows lose more than colorization", "colorization is above the local flow there"
assert lost["colorization"] < min(lost["flow, local"], lost["flow, coarse to fine"]), "what hurts flow should cost colorization less"
assert in_hard["colorization"].J > in_hard["flow, local"].J + 0.03
show.table([{"": name, "J, easy films": found[name].J, "J, hard films": m.J, "lost": lost[name]} for name, m in in_hard.items()],
           caption="what flow has an easy life with, and what hurts it")

# %%
follow = tracking.by_features(hardened.embed, **track)
shown_films, given = hard.validation.video[:4], hard.validation.extra["mask"][:4, 0]
carried = [painted(film, follow(film, mask, None)[0]) for film, mask in zip(shown_films, given)]
films({"colorization": torch.stack(carried)}, fps=6, scale=2.5, title="in films with what hurts flow")

# %% [markdown]
# Where everything is sharp, textured and slow, flow is the better tracker. The hard films cost every tracker a good deal. Both flows lose more than
# colorization, and colorization is above the local flow there. Against the flow from coarse to fine this one run decides nothing; section 14 has five
# seeds, and they cannot tell either. Mind one thing: colorization was trained *anew*, on hard films, and the flows were not. The harder the film, the
# more training on similar films helps.
#
# ## 12. Break it
#
# Two switches. **Stand still**: the same films, but each one repeats its first frame. **Colours shown**: the network sees the colours that it is asked for.

# %%
part = data.train.take(slice(0, 200))
frozen = Samples(video=part.video[:, :, :1].expand_as(part.video).contiguous(), name="films that stand still")
short, results = recipe.but(epochs=3), {}
for name, films_shown, shown in (("as it should be", part, "grey"), ("stand still", frozen, "grey"), ("colours shown", part, "colour")):
    victim = new_method(shown=shown)
    last = fit(victim, films_shown, short)[-1]
    results[name] = {"network": victim, "loss": last["loss"], "colour found": last["colour found"], "J": j_of(victim)}
show.table([{"": name, **{k: v for k, v in r.items() if k != "network"}} for name, r in results.items()], caption=f"after {short.epochs} epochs")

# %%
# Holds: "Films that stand still give a perfect score and teach no tracking"
assert results["stand still"]["colour found"] > 0.97, "a film that stands still is coloured perfectly"
assert results["stand still"]["J"] < results["as it should be"]["J"] - 0.2, "and teaches no tracking"
# Holds: "showing them does no harm here"
assert results["colours shown"]["J"] > results["as it should be"]["J"] - 0.08
answer = "yes" if results["stand still"]["J"] > still + 0.1 else "no"
show.table([{"": "you expected", "tracks after films that stand still": my_prediction["tracks after films that stand still"]},
            {"": "measured", "tracks after films that stand still": answer}])

# %% [markdown]
# Films that stand still give a perfect score and teach no tracking: a cell finds itself by its very noise. **Motion is the teacher**: only what looks
# the same *after it has moved* can be used.
#
# And the colours? In this world they stay with their solid, so showing them does no harm here. It does harm when colours change while light does not.
# So let us turn all hues a little from frame to frame.

# %%
def turned(film, degrees=35):
    """The hues of frame t turned by t times so many degrees; its light stays."""
    three = colour.lab(film[None] / 255)
    angle = math.radians(degrees) * torch.arange(film.shape[1]).view(1, -1, 1, 1)
    a, b = 0.6 * three[:, 1], 0.6 * three[:, 2]              # paler, so that a screen has all of these colours
    three = torch.stack([three[:, 0], a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], 1)
    return (colour.from_lab(three)[0] * 255).round().to(torch.uint8)

recoloured = [(turned(frames), masks, points) for frames, masks, points in some]
by_hue = {}
for name in ("as it should be", "colours shown"):
    tracker = {"": tracking.by_features(results[name]["network"].embed, **track)}
    by_hue[name] = {"J": results[name]["J"], "J, hues turned": tracking.measure(tracker, recoloured)[""].J}
show.table([{"": name, **row} for name, row in by_hue.items()], caption="who looks at colours, and who cannot")

# %%
# Holds: "The network that saw colours loses its solids", "the grey one hardly notices"
fall = {name: row["J"] - row["J, hues turned"] for name, row in by_hue.items()}
assert fall["as it should be"] < 0.1 and fall["colours shown"] > 0.3, "a network that sees colours should rely on them"
films({"hues turned": torch.stack([frames for frames, _, _ in recoloured[:4]])}, fps=6, scale=2.5, title="other hues, the same light")

# %% [markdown]
# The network that saw colours loses its solids when the hues turn; the grey one hardly notices. That is why the paper shows grey frames.
#
# ## 13. Temperature, window, best matches
#
# The paper trains at one temperature and tracks at half of it. A window forbids far matches, keeping only the best few forbids weak ones; both came
# with the paper's successors. How much of the tracking is the network's, and how much is such help?

# %%
temperatures = (0.2, 0.1, 0.05, 0.025)
sweep = {}
for name, network in (("random weights", untrained), ("colorization", method)):
    for word, settings in (("everywhere", {}), ("window and best ten", dict(window=5, topk=10))):
        pointing = {t: tracking.by_features(network.embed, temperature=t, precise=False, **settings) for t in temperatures}
        sweep[f"{name}, {word}"] = [m.J for m in tracking.measure(pointing, some[:4]).values()]
show.curve(temperatures, sweep, xlabel="temperature of the test (0.1 in training)", ylabel="J", log=True, title="four films")

# %%
at = {name: dict(zip(temperatures, values)) for name, values in sweep.items()}
trained, helped = at["colorization, everywhere"], at["colorization, window and best ten"]
random_helped = at["random weights, window and best ten"]
stays = tracking.measure({"": tracking.identity}, some[:4])[""].J
print(f"a mask that stays where it was: {stays:.2f}; " + "; ".join(
    f"{name}: " + ", ".join(f"{value:.2f} at {t}" for t, value in values.items()) for name, values in at.items()))
# Holds: "Half of the training's temperature tracks better than all of it"
assert trained[0.05] > trained[0.1] and trained[0.05] > at["random weights, everywhere"][0.05] + 0.2
# Holds: "are above a mask that stays where it was", "They stay far below the trained network"
assert max(random_helped.values()) > stays + 0.05 and trained[0.05] > max(random_helped.values()) + 0.15
# Holds: "which hardly needs help there", "At the temperature of the training the help is worth a good deal"
assert helped[0.05] - trained[0.05] < 0.1 and helped[0.1] - trained[0.1] > 0.05

# %% [markdown]
# Random weights with a window and a low temperature are above a mask that stays where it was: that much is the help's own. They stay far below the
# trained network. Half of the training's temperature tracks better than all of it, for the trained network, which hardly needs help there. At the
# temperature of the training the help is worth a good deal: a low temperature and a window do the same work, they keep weak matches out.
#
# ## 14. The paper's claims
#
# `sslcourse claims colorization --seeds 5` trains three networks a seed and returns a verdict for each claim. `sslcourse table tracking` makes the
# paper's table, with full supervision; with `--set data=FOLDER` on your own sequences in the layout of DAVIS. The table has the paper's numbers and five
# seeds of ours.

# %% tags=["nbval-check-output"]
# Measured beforehand over five seeds, and stored with the course.
from sslcourse.results import compare, papers, wall as stored
five = {row["claim"]: row for row in stored.verdicts(compare.MEASURED) if row["paper"] == "colorization"}
papers.findings("colorization", compare.MEASURED)

# %% tags=["nbval-check-output"]
# The whole table, measured beforehand by `sslcourse table tracking`.
import json
made = json.loads((compare.MEASURED / "table-tracking.json").read_text(encoding="utf-8"))
row_of = {next(iter(row.values())): row for row in made["rows"]}
number = lambda row, column: float(row_of[row][column].split()[0])
# Holds: "masks for training are ahead of colours", "In the paper colorization beats flow"
assert number("supervised (masks)", "J") > number("colorization, as the paper tracks", "J")
assert number("colorization, as the paper tracks", "paper: J") > number("flow, OpenCV, coarse to fine", "paper: J") + 10
show.table(made["rows"], caption=f"{made['title']}; {made['seeds']} seeds; {made['what']}")

# %% [markdown]
# Trained with masks the same network is a better tracker: masks for training are ahead of colours, here and in the paper. In the paper colorization beats flow,
# on real films, where flow has a hard life; our easy films turn that round.

# %%
# Holds: "colorization beats standing still, random weights and single images", "flow wins on easy films", "what hurts flow costs colorization less"
assert all(five[c]["verdict"] == "pass" for c in ("identity", "random", "single_image", "robust"))
assert all(five[c]["verdict"] == "fail" for c in ("flow_local", "flow_coarse_to_fine"))
opponent = five["hurt_flow_coarse_to_fine"]
print(f"hard films, against the flow from coarse to fine: this run {in_hard['colorization'].J - in_hard['flow, coarse to fine'].J:+.3f}, "
      f"five seeds {opponent['mean']:+.3f} ({opponent['verdict']})")

# %% [markdown]
# Over five seeds the verdicts are those of this notebook where it had one: colorization beats standing still, random weights and single images; flow
# wins on easy films; and what hurts flow costs colorization less. Against the flow from coarse to fine on hard films five seeds leave it open.
#
# ## 15. What changed since
#
# - **CorrFlow and MAST** show the colours and drop channels at random, and point within a window, at a finer stride.
# - **UVC** adds a walk from a frame to another *and back* to a loss on colours. **CRW** keeps only the walk and drops the colours.
# - **DINO's** features, trained on pictures alone, track well by the same propagation.
#
# ## Answer
#
# Does it learn to track? Yes, without ever being told what an object is. What teaches it? Motion: in films that stand still a cell finds itself by its noise, and
# nothing is learned. The masks of the test films are opened once, for the final number.

# %%
reported = {name: tracker for name, tracker in trackers.items() if name != "flow, local"}
final = tracking.measure(reported, data.test, reader="the report of lesson 09")
show.bars({name: m.J for name, m in final.items()}, title=f"J on {len(data.test)} test films, one opening", unit="")

# %%
said = {name: f"J {m.J:.2f}, F {m.F:.2f}" for name, m in final.items()}
print(f"Told only colours, never a mask: {said['colorization']}. Masks that stay where they were: {said['identity']}.\n"
      f"Optical flow, coarse to fine, on these easy films: {said['flow, coarse to fine']}.")
lesson("09_tracking_by_colorization")
print(f"this notebook: {time.perf_counter() - notebook_started:.0f} s on {profile}")

# %% [markdown]
# ## Quiz
#
# Five questions on what you have seen. Click an answer, and you are told why it is right, or which mistake it is.

# %%
from sslcourse.check import quiz
# BEGIN SOLUTION: quiz("09_tracking_by_colorization")
quiz("09_tracking_by_colorization", answers="d c b a d")
# END SOLUTION

# %% [markdown]
# ## References
# - C. Vondrick, A. Shrivastava, A. Fathi, S. Guadarrama, K. Murphy. *Tracking emerges by colorizing videos.* ECCV 2018. arXiv:1806.09594.
# - F. Perazzi and others. *A benchmark dataset and evaluation methodology for video object segmentation.* CVPR 2016. (J and F)
# - Z. Lai, W. Xie. *Self-supervised learning for video correspondence flow.* BMVC 2019. arXiv:1905.00875.
# - X. Li and others. *Joint-task self-supervised learning for temporal correspondence.* NeurIPS 2019. arXiv:1909.11895.
# - A. Jabri, A. Owens, A. Efros. *Space-time correspondence as a contrastive random walk.* NeurIPS 2020. arXiv:2006.14613.
