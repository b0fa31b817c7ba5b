# %% [markdown]
# # The results wall: what did all of this teach?
#
# **The question of this notebook.** Every method of the course, judged by the same probes, on one wall; every claim of every paper, with its verdict.
# *Which method should you use, for
# what, and how sure can you be?*
#
# **You will be able to**
# - read a wall of results with its baselines and its spread, and say what it cannot tell;
# - say whether one method is better than another, with an interval that knows how few the runs are;
# - put a row of your own on the wall, judged as all the others.
#
# **Time**: about an hour in class; the machine works for less than a minute. **Needs**: a laptop, no network, no GPU.

# %%
# {{first cell}}

# %%
import time
notebook_started = time.perf_counter()

import itertools
import statistics
import tempfile
import numpy as np
import sslcourse                       # first: it sets how torch's threads wait for each other
import torch
from sslcourse import claims, compare, encoders, evaluate, show, wall, widgets
from sslcourse.check import check, hint, lesson, solution
from sslcourse.data import toybox
from sslcourse.methods import simclr
from sslcourse.results import papers
from sslcourse.train import epochs
from sslcourse.widgets.explorers import Control, Explorer

profile = sslcourse.setup(seed=0)
walls = wall.read()                    # what comes with the course, and your own results before it
rows = walls["toybox"]["rows"]
shipped = wall.read(compare.MEASURED)  # what comes with the course alone: the sentences below are about this
theirs = {world: {name: {key: statistics.fmean(row[key]) for key in ("linear", "kNN", "few labels") if key in row}
                  for name, row in shipped[world]["rows"].items()} for world in ("toybox", "films", "seen", "heard")}

# %% [markdown]
# ## 1. Predict, before you look
#
# The methods of the image chapters were all trained on the same pictures, with the same small encoder, by their own recipes. Then the encoder was
# frozen, and a linear probe was asked for the *shape* of the solid. Write down your order, best first.

# %% tags=["nbval-check-output"]
learners = sorted(name for name, row in rows.items() if row.get("seconds") and name != "Supervised")
print(", ".join(learners))

# %%
my_order = []                          # names from above, best first

# %% [markdown]
# ## 2. The wall
#
# Bars are the linear probe, circles nearest neighbours, diamonds a linear probe that has seen ten labels of each class. Whiskers are standard
# deviations over seeds, each with a world of its own. Grey is what needs no training.

# %%
wall.drawn("toybox", walls["toybox"])

# %%
order = sorted(learners, key=lambda n: -statistics.fmean(rows[n]["linear"]))
best, second = order[:2]
show.table([{"place": i + 1, "you expected": my_order[i] if i < len(my_order) else "", "measured": name} for i, name in enumerate(order)])

# %% [markdown]
# One bar needs a warning. *Jigsaw* reads pictures enlarged, grey and normalised, and read so a network that was never trained has far more than the
# first grey bar. What a pretext task has *taught* is the distance from the random network that reads as the method does:

# %%
verdicts = wall.verdicts()
shapes = theirs["toybox"]
own = {name: shapes.get(f"random encoder, as {name} reads", shapes["random encoder"])["linear"] for name in learners if name in shapes}
above = {name: shapes[name]["linear"] - linear for name, linear in own.items()}
# Holds: "read so a network that was never trained has far more than the first grey bar"
assert own["Jigsaw"] > shapes["random encoder"]["linear"] + 0.1
# Holds: "SimCLR has taught its network more than the jigsaw has"
assert above["SimCLR"] > above["Jigsaw"] + 0.1
show.table([{"": name, "its own random network": f"{100 * own[name]:.1f}", "points above it": f"{100 * above[name]:+.1f}"}
            for name in sorted(above, key=lambda n: -above[n])], caption="linear probe")

# %% [markdown]
# By that measure SimCLR has taught its network more than the jigsaw has. Before you believe the rest, ask how it was measured. Where the numbers come
# from is written in the file itself; `sslcourse evaluate --all toybox` measures them again.

# %%
about = walls["toybox"]
show.table([{"": key, "value": str(about[key])} for key in ("data", "encoder", "protocol", "seeds", "profile")]
           + [{"": "torch", "value": about["versions"]["torch"]}]
           + [{"": "seeds of the full recipes", "value": str(about["full"]["seeds"])}] * ("full" in about))

# %% [markdown]
# The three readings do not agree. Whose *neighbours* are good, although its linear probe is not the best? Who needs *many* labels? The answers stand
# below the table.

# %% tags=["nbval-check-output"]
readings = ("linear", "kNN", "few labels")
ranks = {key: sorted(learners, key=lambda n: -statistics.fmean(rows[n][key])) for key in readings}
assert len({tuple(r) for r in ranks.values()}) > 1, "the readings should disagree on the order"
read = theirs["toybox"]
# Holds: "RotNet has better neighbours than Jigsaw, although its linear probe is lower"
assert read["RotNet"]["kNN"] > read["Jigsaw"]["kNN"] + 0.03 and read["RotNet"]["linear"] < read["Jigsaw"]["linear"] - 0.02
# Holds: "Jigsaw loses most when it gets ten labels of each class in the place of all"
assert max(learners, key=lambda n: read[n]["linear"] - read[n]["few labels"]) == "Jigsaw"
show.table([{"place": i + 1, **{key: ranks[key][i] for key in readings}} for i in range(len(learners))], caption="one wall, three orders")

# %% [markdown]
# RotNet has better neighbours than Jigsaw, although its linear probe is lower. And Jigsaw loses most when it gets ten labels of each class in the place
# of all: it needs many labels.
#
# ## 3. How sure can one be?
#
# A bar is a mean over $n$ runs. Is the first really better than the second? Run $i$ of both had the same seed: the same pictures, the same luck. So
# look at the *differences* $d_i = a_i - b_i$. Their mean $\bar d$ has a standard error $s / \sqrt n$, where $s$ is their standard deviation (with $n -
# 1$ below the fraction), and because $s$ itself was guessed from the few runs, the interval is Student's:
#
# $$\bar d \;\pm\; t_{1 - \alpha/2,\; n-1}\, \frac{s}{\sqrt n}$$
#
# with $\alpha$ one in twenty. If it lies above 0, the first is better; if it holds 0, these runs cannot tell. This is how every verdict of this course is made.
#
# ## 4. Exercise: the interval of a difference (core, about 8 minutes)
#
# Replace the line that raises. `check` tells you *which* mistake it found; `hint("wall.difference", 1)` helps, `solution("wall.difference")` shows ours.

# %% tags=["nbval-check-output"]
def my_difference(mine, theirs):
    """Two lists of n numbers, entry i of the same seed. Returns (low, high), the 95 % interval of the mean difference."""
    # BEGIN SOLUTION
    from scipy.stats import t
    d = np.array(mine) - np.array(theirs)
    half = t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / len(d) ** 0.5
    return d.mean() - half, d.mean() + half
    # END SOLUTION

difference = check("wall.difference", my_difference)

# %% [markdown]
# Your function on the wall: every method (down) against every other (across). A number is the mean difference of the linear probes in points; it is
# printed only where the interval does not hold 0.

# %%
def against(a, b):
    low, high = difference(rows[a]["linear"], rows[b]["linear"])
    return f"{50 * (low + high):+.1f}" if low > 0 or high < 0 else "?"

duels = list(itertools.combinations(order, 2))
open_duels = sum(against(a, b) == "?" for a, b in duels)
show.table([{"": a, **{b: "" if a == b else against(a, b) for b in order}} for a in order],
           caption=f"{open_duels} of {len(duels)} pairs cannot be told apart with {about['seeds']} seeds")

# %% [markdown]
# Mind their number, too. An interval of 95 per cent is wrong once in twenty times. With one comparison you can live with that; with many, some are wrong for
# certain, and nobody knows which.

# %%
by_luck = 0.05 * len(duels)
print(f"if all {len(order)} methods were equally good, about {by_luck:.1f} of the {len(duels)} pairs would still be told apart, by luck")
print(f"Bonferroni's remedy: intervals of {100 * (1 - 0.05 / len(duels)):.1f} % each, so that all hold together with 95 %")

# %% [markdown]
# Choose any two, and any reading:

# %%
def duel(a, b, reading):
    low, high = difference(rows[order[int(a)]][reading], rows[order[int(b)]][reading])
    names = order[int(a)], order[int(b)]
    picture = show.bars({name: (statistics.fmean(rows[name][reading]), statistics.stdev(rows[name][reading])) for name in dict.fromkeys(names)},
                        title=f"{reading}, test split")
    verdict = "the same method" if a == b else "the first is better" if low > 0 else "the second is better" if high < 0 else "cannot be told"
    return show.png(picture), f"difference {100 * low:+.1f} to {100 * high:+.1f} points: {verdict}"

choose = [(name, str(i)) for i, name in enumerate(order)]
Explorer(duel, [Control("a", "choice", "0", "first", options=choose), Control("b", "choice", "1", "second", options=choose),
                Control("reading", "choice", "linear", "reading", options=[(r, r) for r in readings])], name="duel")

# %% [markdown]
# And with a single run? Take one run of each method and compare: how often does it put two methods in the other order than their means do?

# %%
flips, pairs = 0, 0
for a, b in duels:
    for x, y in itertools.product(rows[a]["linear"], rows[b]["linear"]):
        flips, pairs = flips + (x < y), pairs + 1
print(f"{flips} of {pairs} comparisons of single runs have the order of the means turned round ({flips / pairs:.0%})")

# %% [markdown]
# ## 5. What each one kept
#
# The shape is one factor of many. The course's signature picture: how much of each factor a linear probe reads, for every method. Pick a column, and
# another method wins.

# %%
factors = wall.factors(walls["toybox"])
show.factor_table(factors, title="pictures, full recipes: 0 nothing, 1 everything can be read (test split)")

# %%
known = {n: factors[n] for n in order}
came = wall.factors(shipped["toybox"])
# Holds: "SimCLR, BYOL and MoCo, whose views change colours, lose the hue"
assert max(came[n]["hue"] for n in ("SimCLR", "BYOL", "MoCo")) < 0.3 < came["random encoder"]["hue"]
# Holds: "RotNet and DeepCluster, whose views do not touch colours, lose it as well"
assert max(came[n]["hue"] for n in ("RotNet", "DeepCluster")) < 0.2
# Holds: "CLIP, whose captions name the colour, keeps it"
assert came["CLIP (captions)"]["hue"] > 0.8
winners = {factor: max(known, key=lambda n: known[n][factor]) for factor in next(iter(known.values()))}
# Holds: "Pick a column, and another method wins", "There is no best method"
assert len(set(winners.values())) > 2, "no method should keep everything"
show.table([{"factor": f, "kept best by": n, "": f"{known[n][f]:.2f}", "pixels": f"{factors['pixels'][f]:.2f}"} for f, n in winners.items()],
           caption="who keeps what, among the methods without shape labels")

# %% [markdown]
# A pretext task keeps what it needs, and may throw away the rest. It is tempting to say that a method forgets what its views change. Look at the hue:
# SimCLR, BYOL and MoCo, whose views change colours, lose the hue. But RotNet and DeepCluster, whose views do not touch colours, lose it as well:
# nobody needs a colour to say which way is up, and DeepCluster sees edges alone. CLIP, whose captions name the colour, keeps it. So
# look, and do not guess. *There is no best method before you have said what you want to know.*
#
# ## 6. Films, and films with sound
#
# The same wall for motion (which way round do two solids go?), and for events that are seen and heard. Look at the grey bars first: in some worlds a
# network that has learned nothing is a strong opponent.

# %%
films_of = {name: row["kNN"] for name, row in theirs["films"].items()}
# Holds: "DPC's neighbours share the motion most often", "A random encoder is near chance here"
assert films_of["DPC"] > films_of["VideoLSTM"] + 0.05 > films_of["random encoder"] + 0.1 and abs(films_of["random encoder"] - films_of["chance"]) < 0.1
wall.drawn("films", walls["films"])

# %% [markdown]
# DPC's neighbours share the motion most often, then those of the LSTM. A random encoder is near chance here: motion is in no single frame.
#
# Tracking is judged by masks and key-points that are carried along, and its opponents are no networks: optical flow needs no training.

# %%
wall.drawn("tracks", walls["tracks"])

# %%
events = {world: {name: row["linear"] for name, row in theirs[world].items()} for world in ("seen", "heard")}
# Holds: "On events AVTS and XDC are far above a random network by sight"
assert min(events["seen"][n] for n in ("AVTS", "XDC")) > events["seen"]["random encoder"] + 0.2
# Holds: "By ear they start from much: a random ear has most of it"
assert events["heard"]["random ear"] > 0.65 and min(events["heard"][n] for n in ("AVTS", "XDC")) > events["heard"]["random ear"] + 0.05
wall.drawn("seen", walls["seen"])

# %%
wall.drawn("heard", walls["heard"])

# %% [markdown]
# On events AVTS and XDC are far above a random network by sight. By ear they start from much: a random ear has most of it, as sounds of different
# events differ strongly.

# %%
show.factor_table(wall.factors(walls["seen"]), title="what the eyes kept of films with sound")

# %%
show.factor_table(wall.factors(walls["heard"]), title="what the ears kept of them")

# %% [markdown]
# ## 7. What holds of the papers
#
# Each paper of the course claims something, and each claim became an effect that is positive where the paper is right, measured over five seeds. All of them:

# %%
show.verdicts(verdicts)

# %% tags=["nbval-check-output"]
show.table(wall.counted(verdicts), caption="at the scale of a laptop; a claim that fails here may hold with more data, and the other way round")

# %% [markdown]
# Apply *your* interval to each claim, seed by seed: does it exclude 0? Your verdicts should be the course's. (As with the duels: of so many true zeros
# one in twenty would be decided by luck.)

# %% tags=["nbval-check-output"]
def judged(effects):
    low, high = difference(effects, [0.0] * len(effects))
    return "pass" if low > 0 else "fail" if high < 0 else "inconclusive"

assert all(judged(row["effects"]) == row["verdict"] for row in verdicts), "your verdicts should be the course's"
together = papers.holm([row["effects"] for row in verdicts])                # Holm's correction for their number
counts = {how: [found.count(v) for v in ("pass", "fail")] for how, found in (("alone", [row["verdict"] for row in verdicts]), ("together", together))}
# Holds: "Corrected for their number, fewer claims are decided"
assert sum(counts["together"]) < sum(counts["alone"])
print(f"all {len(verdicts)} verdicts agree; were there nothing in any claim, about {0.05 * len(verdicts):.0f} would still be decided, by luck")
print("; ".join(f"judged {how}: {passed} pass, {failed} fail" for how, (passed, failed) in counts.items()))

# %% [markdown]
# Corrected for their number, fewer claims are decided: what is left is safe against luck, all claims together. (Holm's method is Bonferroni's, made a
# little less strict.)

# %% [markdown]
# Choose a paper and read its claims. Each lesson says in words which of them stand, and which do not.

# %%
names = list(dict.fromkeys(row["paper"] for row in verdicts))

def effects_of(paper):
    mine = [row for row in verdicts if row["paper"] == paper]
    picture = show.intervals([(row["text"], row["mean"], row["low"], row["high"], row["verdict"]) for row in mine], title=f"{paper}: effects, and their intervals")
    return show.png(picture), f"{sum(row['verdict'] == 'pass' for row in mine)} of {len(mine)} pass"

Explorer(effects_of, [Control("paper", "choice", names[0], "paper", options=[(p, p) for p in names])], name="claims")

# %% [markdown]
# ## 8. Break it: choosing by the wall
#
# A score of the test split may be *reported*, and not be chosen by. Why? Take the wall's own spread, and let many students train the same method, each
# with a seed of their own. Each hands in an honest number. Then only the best is published.

# %%
rng = np.random.default_rng(0)
mean, spread = statistics.fmean(rows[second]["linear"]), statistics.stdev(rows[second]["linear"])
students = (1, 2, 5, 10, 20, 50)
published = [float(rng.normal(mean, spread, (20_000, n)).max(1).mean()) for n in students]
gap = statistics.fmean(rows[best]["linear"]) - mean
show.curve(students, {f"{second}, the best of n": published, f"{second}, its mean": [mean] * len(students),
                      f"{best}, its mean": [mean + gap] * len(students)}, "students who try", "published accuracy", log=True,
           title="nobody cheats, and the number grows")

# %%
assert published[-1] > published[0] + spread, "the best of many is luck"
print(f"fifty tries and a look at the test split raise {second} by {100 * (published[-1] - mean):.1f} points; it stands {100 * gap:.1f} behind {best}")

# %% [markdown]
# ## 9. Your own row
#
# Train anything you like, on the training split of the same world, and put it on the wall: `wall.add` judges it as the others were judged. Change the
# encoder, the views, the temperature, or bring your homework. Here is SimCLR with half of its epochs; *predict where it lands*.

# %%
data = toybox.images()
torch.manual_seed(0)
recipe = simclr.COURSE.but(epochs=simclr.COURSE.epochs // 2)
method = simclr.SimCLR(encoders.small_cnn())
shown, xy = data.validation.take(slice(0, 150)), None
with widgets.Panel(recipe.epochs, classes=data.classes, title="my row") as panel:
    for row in epochs(method, data.train.unlabelled(), recipe):
        row |= evaluate.probe(method, data, linear=False, limit=1000)
        panel.add(row)
seconds = sum(row["seconds"] for row in panel.rows)

# %%
folder = tempfile.mkdtemp()            # leave `folder=folder` out below, and your row stays in results/wall
mine = wall.add("SimCLR, half the time", method, data, seconds=seconds, folder=folder)
wall.drawn("toybox", wall.read(folder)["toybox"], title="the wall, with your row")

# %%
show.factor_table({**{n: factors[n] for n in ("pixels", "SimCLR", "Supervised")}, "yours": {f: v[0] for f, v in mine["factors"].items()}},
                  title="what yours kept")

# %%
assert mine["linear"][0] > statistics.fmean(rows["random encoder"]["linear"]) + 0.2, "half a training should still be far above a random encoder"
print(f"half the epochs: {mine['linear'][0]:.1%}; the whole recipe: {statistics.fmean(rows['SimCLR']['linear']):.1%}")

# %% [markdown]
# ## Answer
#
# Which method should you use, and for what? It depends on what must be kept, on how many labels there will be, and on the time you have; each of these
# is a column that can be measured before you decide. How sure can you be? For the shape of a solid the wall has an order at its ends and little order
# in its middle: with a handful of seeds many pairs cannot be told apart. The claims of the papers hold in part, at the scale of a laptop.

# %%
holds = statistics.fmean(row["verdict"] == "pass" for row in verdicts)
fails = statistics.fmean(row["verdict"] == "fail" for row in verdicts)
print(f"{len(verdicts)} claims of {len(names)} papers at this scale: {holds:.0%} pass, {fails:.0%} fail, the rest cannot be told with the seeds we had.")
print(f"On pictures {best} is first with {statistics.fmean(rows[best]['linear']):.1%}, against {statistics.fmean(rows['random encoder']['linear']):.1%} for a random "
      f"encoder and {statistics.fmean(rows['Supervised']['linear']):.1%} with every label.")
lesson("13_results_wall")
print(f"this notebook: {time.perf_counter() - notebook_started:.0f} s on {profile}")

# %% [markdown]
# ## References
# - Student (W. S. Gosset). *The probable error of a mean.* Biometrika 1908.
# - X. Bouthillier and others. *Accounting for variance in machine learning benchmarks.* MLSys 2021. arXiv:2103.03098.
# - J. Dodge, S. Gururangan, D. Card, R. Schwartz, N. A. Smith. *Show your work: improved reporting of experimental results.* EMNLP 2019. arXiv:1909.03004.
