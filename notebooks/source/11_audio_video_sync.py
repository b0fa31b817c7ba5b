# %% [markdown]
# # In step: a film and its sound teach each other
#
# **The question of this notebook.** A film, and a sound: do they belong together *at this very moment*? Whoever can answer has learned to see what
# happens and to hear
# what happens. *What does it take to learn that without a label*, and what is it good for?
#
# B. Korbar, D. Tran, L. Torresani. *Cooperative Learning of Audio and Video Models from Self-Supervised Synchronization.* NeurIPS 2018.
#
# **You will be able to**
# - cut films and sounds on one clock, write the contrastive loss with a margin, and judge pairs with a threshold that has not seen them;
# - tell easy, hard and super-hard negatives apart, and say what each of them teaches;
# - find by how much a sound is late, and where in the picture it comes from.
#
# **Time**: about an hour in class; the machine works for one to two minutes. **Needs**: a laptop with loudspeakers, no network, no GPU.

# %%
# {{first cell}}

# %%
import time
notebook_started = time.perf_counter()

import sslcourse                       # first: it sets how torch's threads wait for each other
import torch
import torch.nn.functional as F
from sslcourse import encoders, evaluate, features, show, sounds, synchrony, widgets
from sslcourse.check import check, hint, lesson, solution
from sslcourse.data import toybox
from sslcourse.methods import avts
from sslcourse.train import epochs
from sslcourse.widgets.explorers import Control, Explorer
from sslcourse.widgets.films import films
from sslcourse.widgets.video import clip

profile = sslcourse.setup(seed=0)
data = toybox.sounding.scenes()
held = data.validation

# %% [markdown]
# ## 1. A picture that makes the question visible
#
# A solid strikes, scrapes, rolls or floats, and is heard. Press play. Then move the slider **shift the sound** by a few frames, and play again: from
# which offset on do you notice?

# %%
def scene(i, samples=held):
    return toybox.film(samples, i)

struck = [i for i in range(len(held)) if held.classes[held.label[i]] in ("bounce", "hammer", "thud")]
film = scene(struck[0])
clip(film.frames, film.audio, film.fps, film.rate, event={"impact": film.impacts}, title=held.classes[held.label[struck[0]]])

# %% [markdown]
# You used that something *moves* when something *sounds*. Does that need a network? Let us correlate how much moves from frame to frame with how loud
# it is, and ask this baseline of pairs of one second: in step, or not? The wrong sound comes from another film (**easy**), from the same film at least
# a second away (**hard**), or from the same film and overlapping (**super-hard**).

# %%
energy = {kind: synchrony.accuracy(synchrony.Energy(), held, kind) for kind in synchrony.KINDS}
# Holds: "Motion against loudness is better than guessing for all three kinds"
assert min(energy.values()) > 0.55
show.bars(energy, chance=0.5, title="motion against loudness: pairs told apart, validation films")

# %% [markdown]
# Motion against loudness is better than guessing for all three kinds, without any learning. A network has to beat this baseline, and not only chance.
#
# ## 2. Predict
#
# We shall train one network with the paper's **curriculum** (easy negatives, later some hard ones), and one that only learns **correspondence**: is
# this sound from the same *film*, whatever the moment? (To save time, that one is stopped half way.) How many hard pairs will each of them tell apart?
# And motion against loudness was above.

# %%
my_prediction = {"curriculum": None, "correspondence, stopped early": None}                 # on hard pairs, 0.5 (chance) to 1

# %% [markdown]
# ## 3. The idea in mathematics, with the names of the code
#
# A video network `see` makes a vector $v$ of a window of frames, an audio network `hear` a vector $a$ of a second of sound, both of length one half, so
# that their distance $d = \|v - a\|$ lies between 0 and 1. For pairs $n$ with $y_n = 1$ where they are in sync (`together`) and $y_n = 0$ where not:
#
# $$E = \frac{1}{N} \sum_n \; y_n \, d_n^2 \; + \; (1 - y_n) \max(m - d_n, 0)^2$$
#
# Pairs in sync are drawn together; the others are pushed apart until they are a margin $m$ away, and then left alone.

# %% [markdown]
# In a picture, with the names of the code. Blue boxes learn by the gradient; a dashed border or a dashed arrow means that no gradient passes.

# %%
show.diagram("avts")

# %% [markdown]
# ## 4. Exercise: windows on one clock (more, about 8 minutes)
#
# A window begins with a *frame*. Its sound begins with a *sample*. `seen` and `heard` count frames for each film; where they are equal, the pair is in sync.
#
# Replace the line that raises. `check` tells you *which* mistake it found; `hint("avts.cut", 1)` helps, `solution("avts.cut")` shows ours.

# %% tags=["nbval-check-output"]
def my_cut(video, audio, seen, heard, frames):
    """video (B, 3, T, H, W), audio (B, L), seen and heard (B,). Returns (B, 3, frames, H, W) and (B, frames * L / T)."""
    # BEGIN SOLUTION
    rate = audio.shape[1] / video.shape[2]                                  # samples a frame
    length = round(frames * rate)
    first = (heard * rate).round().long()
    pictures = torch.stack([v[:, s : s + frames] for v, s in zip(video, seen.tolist())])
    return pictures, torch.stack([a[s : s + length] for a, s in zip(audio, first.tolist())])
    # END SOLUTION

cut = check("avts.cut", my_cut)

# %% [markdown]
# A window of another film, cut by that function, with the sound of a moment later. Look first: can you see it in the marks? Then listen.

# %%
late, i = 8, struck[1]
part = held.take([i])
seen = torch.tensor([16])
pictures, sound = cut(part.video, part.audio.float() / 32767, seen, seen + late, 16)
clip(pictures[0], sound[0], held.fps, held.rate, title=f"the sound of {late} frames later")

# %% [markdown]
# ## 5. Exercise: the loss with its margin (core, about 8 minutes)
#
# One number from all pairs. Mind its gradient, too: it should be a number even where both vectors are the same.

# %% tags=["nbval-check-output"]
def my_contrastive(v, a, together, margin):
    """v, a: (n, d), row n of both is a pair; together: (n,) true where in sync. Returns one number."""
    # SOLUTION: avts.contrastive

contrastive = check("avts.contrastive", my_contrastive)

# %% [markdown]
# What one pair pays. If the network gives *everything* the same distance, which one costs least, when half of the pairs are in sync? There it will be
# tempted to rest.

# %%
d = torch.linspace(0, 1, 41)
pays = lambda kind: [float(contrastive(torch.tensor([[x]]), torch.zeros(1, 1), torch.tensor([kind]), avts.PAPER["margin"])) for x in d]
near, far = pays(True), pays(False)
both = [(x + y) / 2 for x, y in zip(near, far)]
cheapest = float(d[both.index(min(both))])
# Holds: "The third curve is lowest at half of the margin"
assert abs(cheapest - avts.PAPER["margin"] / 2) < 0.03
print(f"half of each costs least at distance {cheapest:.2f}: {min(both):.3f}")
show.curve(d.tolist(), {"in sync": near, "out of sync": far, "half of each": both}, "distance", "loss")

# %% [markdown]
# The third curve is lowest at half of the margin, where it costs a quarter of the margin's square. A network can go there without looking at anything.
# Section 13 shows one that does.
#
# ## 6. Exercise: judge with a threshold that has not seen them (for the fast, about 5 minutes)
#
# In step or not? That needs a threshold, and whoever chooses it on the pairs that are judged flatters the network. `synchrony.threshold(distance,
# together)` finds the best one, `synchrony.balanced(distance, together, threshold)` is the mean of both kinds' shares that are right. Each half is
# judged with the threshold of the *other*; return the mean.

# %% tags=["nbval-check-output"]
def my_judged(distance, together, half):
    """distance (n,), together (n,) bool, half (n,) bool: which half a pair belongs to. Returns one number."""
    # BEGIN SOLUTION
    scores = []
    for part in (half, ~half):
        at = synchrony.threshold(distance[~part], together[~part])
        scores.append(synchrony.balanced(distance[part], together[part], at))
    return sum(scores) / 2
    # END SOLUTION

judged = check("avts.judged", my_judged)

def told_apart(network, kind, samples=held, each=2):
    pairs = synchrony.pairs(samples, kind, each=each)
    return judged(synchrony.distances(network, samples, pairs), pairs.together, pairs.film < (len(samples) + 1) // 2)

# %% [markdown]
# ## 7. The library's method, and your functions in it
#
# Two windows of every film; the pairs out of sync are the same pictures with the same sounds, dealt out anew. Why is that better than drawing a new
# sound for each negative?

# %%
show.source(avts.partners, avts.AVTS.see, avts.AVTS.loss)

# %% [markdown]
# Because then neither the picture alone nor the sound alone gives the answer away: each is in as many pairs of one kind as of the other. The test that
# a data set of pairs should pass before anybody trains on it, with classifiers that see only one half of each pair:

# %%
leak = {kind: synchrony.leaks(data.train, held, synchrony.pairs(data.train, kind, each=2), synchrony.pairs(held, kind, each=2)) for kind in ("easy", "hard")}
assert all(abs(score - 0.5) < 0.05 for scores in leak.values() for score in scores.values()), "one half of a pair should say nothing"
show.table([{"negatives": kind, **scores} for kind, scores in leak.items()], caption="right answers from one half of each pair; chance is one half")

# %% tags=["nbval-check-output"]
curriculum = (0.0, 0.25)               # a switch: share of hard negatives, before and after. (1.0, 1.0): hard ones from the start

def new_method(**arguments):
    torch.manual_seed(0)
    return avts.AVTS(encoders.small_mc3(), encoders.small_mel(), **{"hard": curriculum, "loss": contrastive, "window": cut, **arguments})

recipe = avts.COURSE.but(epochs=8)
ours = {"data": "toybox scenes", "encoder": "MC3 of four convolutions", "margin": new_method().margin,
        "curriculum": f"easy, then {curriculum[1]:.0%} hard", "first_filter": "3 x 5 x 5"}
show.table([{"": "paper", **avts.PAPER}, {"": "here", **ours}],
           caption="every departure, in the open: our heads also have batch normalisation, and the mean frame is taken away")

# %% [markdown]
# Further departures: vectors have length one half, so that no distance is above 1; the windows last one second, sixteen frames; a batch has a dozen
# films, and the networks are small.
#
# Now train; no label is used. The small pictures are three films that it has not seen: row by row the moments of the picture, column by column those of
# the sound; dark is near. If it learns *when*, a dark diagonal should appear.

# %%
method, shown, xy = new_method(), held.take(slice(0, 100)), None
some = held.take(struck[:3])

def squares(network):
    d = synchrony.table(network, some.video, some.audio)
    low, high = d.amin((1, 2), keepdim=True), d.amax((1, 2), keepdim=True)
    return ((d - low) / (high - low).clamp_min(1e-6))[:, None].expand(-1, 3, -1, -1)

before = squares(method)
with widgets.Panel(recipe.epochs, classes=data.classes, title="AVTS, no labels") as panel:
    for row in epochs(method, data.train.unlabelled(), recipe):
        h = features.extract(method, shown)
        row |= {f"{kind} accuracy": told_apart(method, kind, each=1) for kind in ("easy", "hard")}
        xy = evaluate.living_map(h, xy)
        panel.add(row, xy=xy, labels=shown.label, pictures={"moments": squares(method)})

# %%
panel.replay

# %% [markdown]
# The dark diagonal is the answer to the question; what repeats itself has several. Hard pairs are learned later than easy ones: to tell films apart, it
# is enough to know *what* happens.
#
# ## 8. Distances, kind by kind

# %%
# Holds: "Hard pairs are learned later than easy ones"
assert panel.rows[3]["hard accuracy"] < panel.rows[3]["easy accuracy"] - 0.03
trained = {kind: told_apart(method, kind) for kind in synchrony.KINDS}
edges = torch.linspace(0, 1, 26)
spread = lambda d: (torch.histogram(d, edges).hist / len(d)).tolist()
lines = {}
for kind in synchrony.KINDS:
    pairs = synchrony.pairs(held, kind)
    d = synchrony.distances(method, held, pairs)
    lines = {"in sync": spread(d[pairs.together]), **lines, kind: spread(d[~pairs.together])}
show.curve(((edges[1:] + edges[:-1]) / 2).tolist(), lines, "distance", "share of the pairs", title="in sync, and three kinds of out of sync")

# %%
# Holds: "The network is ahead of motion against loudness"
assert trained["hard"] > energy["hard"] + 0.05, "the network should know more of timing than motion against loudness"
table = [{"": "motion against loudness", **energy}, {"": "AVTS", **trained}]
show.table(table, caption="pairs told apart (balanced accuracy), validation films; chance is one half")

# %% [markdown]
# The network is ahead of motion against loudness.
#
# ## 9. The sync explorer
#
# Choose a film and move the sound. Above what is seen, below it what is heard *with* it, and the distance for every offset. Where does each curve have
# its lowest point?

# %%
some = held.take(struck[:6] + [i for i in range(len(held)) if i not in struck][:4])
curves = {"AVTS": synchrony.curve(method, some), "motion against loudness": 0.5 * synchrony.curve(synchrony.Energy(), some)}

def step(film, later):
    film, later = int(film), int(later)
    heard_part = some.audio[film, (16 + later) * 500 : (32 + later) * 500].float()[None] / 32767
    own = {name: c[film] for name, c in curves.items()}
    best = {name: int(c.argmin()) - 16 for name, c in own.items()}
    picture = show.in_step(some.video[film, :, 16:32], sounds.log_mel(heard_part, held.rate)[0, 0], own, later, held.fps)
    return show.png(picture), f"{held.classes[some.label[film]]}; lowest at " + ", ".join(f"{b:+d} frames ({n})" for n, b in best.items())

Explorer(step, [Control("film", "slider", 0.0, "film", 0, len(some) - 1, 1, 0), Control("later", "slider", 4.0, "frames later", -16, 16, 1, 0)],
         name="sync")

# %% [markdown]
# Averaged over all validation films: a sharp dip at zero is what "in sync" means to it. The band is one standard deviation over films.

# %%
everything = synchrony.curve(method, held)
offsets = [o / held.fps for o in range(-16, 17)]
dip = {"AVTS": list(zip(everything.mean(0).tolist(), everything.std(0).tolist()))}
assert abs(int(everything.mean(0).argmin()) - 16) <= 1, "the lowest point should be where picture and sound are in step"
show.curve(offsets, dip, "how much later the sound was taken, in seconds", "distance")

# %% [markdown]
# ## 10. A clip that was put out of step
#
# Listen first: is the sound early or late, and by how many frames? Move the slider **shift the sound** until it fits, then run the next cell.

# %%
secret = torch.randint(-8, 9, (1,), generator=torch.Generator().manual_seed(5))
spoilt, sound = synchrony.out_of_step(held.take([struck[2]]), secret)
sound = sound.float() / 32767
clip(spoilt[0], sound[0], held.fps, held.rate, title="out of step: by how much?")

# %%
guess = int(synchrony.found(method, spoilt, sound))
print(f"the sound was {int(secret):+d} frames late; the network says {guess:+d}")
errors = {"always says 0": sum(abs(late) for late in range(-8, 9)) / 17, "motion against loudness": synchrony.offset_error(synchrony.Energy(), held),
          "AVTS": synchrony.offset_error(method, held)}
assert errors["AVTS"] < errors["always says 0"] - 1, "it should find offsets better than always answering zero"
show.table([{"": name, "frames": e, "seconds": e / held.fps} for name, e in errors.items()],
           caption="mean error over all validation films, each put out of step")

# %% [markdown]
# ## 11. Where does the sound come from?
#
# Nobody told it *where* anything is. So ask it: let only one square of the picture move, hold all else still, and see how near the film then comes to
# the sound. There is often a second, silent solid in the picture. Press play: in the lower row, what glows is near.

# %%
two = [i for i in range(len(held)) if held.factors["second"][i] == 1 and i in struck][:5]
glow = [synchrony.glowing(held.video[i], synchrony.followed(method, held.video[i], held.audio[i].float() / 32767)) for i in two]
films({"film": held.video[two], "near the sound": torch.stack(glow)}, scale=4, titles=[held.classes[held.label[i]] for i in two],
      title="which places are near the sound")

# %% [markdown]
# Judged against the masks: what share of the chosen place does the solid cover that is heard? And how much the silent one? Beside it, the place where most moves.

# %%
second = [i for i in range(len(held)) if held.factors["second"][i] == 1]
video, mask = held.video[second][:, :, 16:32], held.extra["mask"][second][:, 16:32]
heat = {"AVTS": -synchrony.located(method, video, held.audio[second][:, 8000:16000].float() / 32767),
        "where most moves": F.adaptive_avg_pool2d((video[:, :, 1:].float() - video[:, :, :-1].float()).abs().mean((1, 2)), (4, 4))}
heard_solid, silent = (synchrony.covered(mask, number, (4, 4)) for number in (1, 2))
where = {"any place": {"the solid heard": float(heard_solid.mean()), "the silent solid": float(silent.mean())}}
for name, warm in heat.items():
    where[name] = {"the solid heard": synchrony.pointed(warm, heard_solid), "the silent solid": synchrony.pointed(warm, silent)}
# Holds: "The place where most moves finds a solid, but nearly as often the silent one", "The network finds the one that is *heard*"
assert where["where most moves"]["the silent solid"] > 0.5 * where["where most moves"]["the solid heard"]
assert where["AVTS"]["the solid heard"] > 2 * where["AVTS"]["the silent solid"], "it should tell the solid that is heard from the silent one"
show.table([{"": name, **row} for name, row in where.items()], caption="share of the chosen place that is covered, films with two solids")

# %% [markdown]
# The place where most moves finds a solid, but nearly as often the silent one. The network finds the one that is *heard*.
#
# ## 12. What is it good for?
#
# The labels are what happens: bounce, thud, hammer, scrape, roll, whoosh. The protocol of sound classification: several crops of each film, a linear
# SVM on *frozen* features, scores averaged. Beside each network stands the same network with random weights, under the same SVM: reviewer 1 of the
# paper asked for this control.

# %%
random_eye, random_ear = evaluate.random_like(method, data.train), evaluate.random_like(method.ear, data.train)
sources = {"eye, random": random_eye, "eye, AVTS": method, "ear, random": random_ear, "ear, AVTS": method.ear}
known = synchrony.svm(sources, data, crops=3)
# Holds: "The eye has learned from the ear what happens"
assert known["eye, AVTS"] > known["eye, random"] + 0.05, "the eye should have learned from the ear"
show.bars(known, chance=1 / len(data.classes), title="what happens, by a linear SVM on frozen features (validation films)")

# %% [markdown]
# The eye has learned from the ear what happens. The ear had less to learn: a random one hears a good deal already.
#
# ## 13. Break it
#
# Three switches. Each network begins the same training and is stopped after four epochs, and so is compared with the healthy one at the same moment.
#
# - **correspondence**: a pair "in sync" may be any two moments of one film, so nothing asks for timing;
# - **averaged over time**: the heads read the mean over all moments, and cannot say *when*;
# - **plain heads**: without batch normalisation, the loss may rest where everything has the same distance.

# %%
switches = {"correspondence": dict(hard=(0.0, 0.0), correspondence=True), "averaged over time": dict(keep_time=False),
            "plain heads": dict(normalised=False)}
# switches["cross-entropy"] = dict(objective="cross-entropy")          # of both vectors side by side, instead of the margin
# switches["hard from the start"] = dict(hard=(1.0, 1.0))              # does it fail here, as in the paper?
at_same_moment = {"healthy": panel.rows[3]}
for name, arguments in switches.items():
    victim = new_method(**arguments)
    for row in epochs(victim, data.train.unlabelled(), recipe):
        if row["epoch"] == 4:
            break
    at_same_moment[name] = row | {f"{kind} accuracy": told_apart(victim, kind, each=1) for kind in ("easy", "hard")}
columns = ("loss", "told apart", "in sync", "out of sync", "easy accuracy", "hard accuracy")
show.table([{"": name, **{key: row[key] for key in columns}} for name, row in at_same_moment.items()],
           caption="after four epochs; the last two on validation films")

# %%
resting = avts.PAPER["margin"] ** 2 / 4
# Holds: "None of the three knows the moment", "the plain heads rest near half of the margin"
assert max(at_same_moment[name]["hard accuracy"] for name in switches) < 0.62 < at_same_moment["healthy"]["hard accuracy"]
assert abs(at_same_moment["plain heads"]["loss"] - resting) < 0.05, "without batch normalisation the loss should still rest"
assert at_same_moment["correspondence"]["hard accuracy"] < 0.6, "correspondence should know little of timing"
print(f"plain heads: loss {at_same_moment['plain heads']['loss']:.3f}; all distances at half of the margin would cost {resting:.3f}")
show.bars({name: row["hard accuracy"] for name, row in at_same_moment.items()}, chance=0.5, title="hard pairs told apart, after four epochs")

# %% [markdown]
# None of the three knows the moment: on hard pairs they guess. Correspondence never asks for it, the mean over time hides it, and the plain heads rest
# near half of the margin.
#
# ## 14. What did each sense keep?
#
# Some factors are in both senses (size, force), some in one of them: the background and the way it goes are only seen, the channel is only heard. The
# material is heard; of it the eye could see at most whether it shines. What does the eye learn from the ear?

# %%
factors = evaluate.factor_table({"eye, random": random_eye, "eye, AVTS": method, "ear, random": random_ear, "ear, AVTS": method.ear}, data)
eye = {factor: factors["eye, AVTS"][factor] - factors["eye, random"][factor] for factor in factors["eye, AVTS"]}
print("the eye against a random one: " + ", ".join(f"{factor} {value:+.2f}" for factor, value in sorted(eye.items(), key=lambda item: -item[1])))
# Holds: "The eye learns the force", "of the material it reads next to nothing"
assert eye["force"] > 0.15 and factors["eye, AVTS"]["material"] < 0.2
show.factor_table(factors, title="what can be read, factor by factor (validation split)")

# %% [markdown]
# The eye learns the force: how hard something strikes can be heard, and then it can be seen. Yet of the material it reads next to nothing, before and after.
#
# ## 15. The paper's claims
#
# `sslcourse claims avts --seeds 5` trains six networks a seed and returns a verdict for each claim. `sslcourse table avts` answers further questions of
# the reviewers: the share of hard negatives, the loss, the data. The table has the paper's numbers and five seeds of ours.

# %% tags=["nbval-check-output"]
# Measured beforehand over five seeds, and stored with the course.
from sslcourse.results import compare, papers, wall as stored
five = {row["claim"]: row for row in stored.verdicts(compare.MEASURED) if row["paper"] == "avts"}
papers.findings("avts", compare.MEASURED)

# %% tags=["nbval-check-output"]
# The whole table, measured beforehand by `sslcourse table avts`.
import json
made = json.loads((compare.MEASURED / "table-avts.json").read_text(encoding="utf-8"))
row_of = {next(iter(row.values())): row for row in made["rows"]}
number = lambda row, column: float(row_of[row][column].split()[0])
# Holds: "on hard pairs the arm with hard negatives only is far ahead of the curriculum", "Correspondence guesses there"
assert number("hard only", "hard") > number("easy, then 25 % hard", "hard") + 8 and number("correspondence", "hard") < 55
show.table(made["rows"], caption=f"{made['title']}; {made['seeds']} seeds; {made['what']}")

# %% [markdown]
# Arm by arm: on hard pairs the arm with hard negatives only is far ahead of the curriculum. Correspondence guesses there, but its eye learns a good deal about *what* happens.

# %%
# Holds: "The curriculum beats easy negatives only", "hard negatives only tell hard pairs apart far better than the curriculum", "there five seeds cannot tell"
assert five["curriculum hard"]["low"] > 0 and five["hard first hard"]["high"] < -0.03 and five["meaning"]["verdict"] == "inconclusive"
for claim in ("curriculum hard", "hard first hard", "meaning"):
    print(f"{five[claim]['text']}: {five[claim]['mean']:+.3f} ({five[claim]['verdict']})")

# %% [markdown]
# Neither *easy only* nor *hard only* was trained in this notebook; five seeds of them are in the table. The curriculum beats easy negatives only, as in
# the paper. In the paper, training on hard negatives from the start fails. Here it does not: hard negatives only tell hard pairs apart far better than
# the curriculum. Features for *what* happens are another matter: there five seeds cannot tell.
#
# ## 16. What changed since
#
# - **XDC** (the next lesson) replaces pairs by clusters: each sense learns the other one's clusters.
# - **Audio-visual instance discrimination** chooses one right sound among many wrong ones, instead of a margin for each pair. **MIL-NCE** does so with spoken text in the place of
#   the sound.
# - **VATT** and **CAV-MAE** train one transformer for both senses, with contrast and with masked patches.
#
# ## Answer
#
# To say whether a sound belongs to *this* moment a network must know what happens and when. It needs negatives in which the film is right and the
# moment wrong; correspondence alone does not ask for the moment. What it learns on the way, it keeps: what happens can be read from frozen features of
# both senses. The test split is opened once, for the final numbers.

# %%
final = synchrony.svm(sources, data, on="test", crops=3)
pair_judges = {"motion against loudness": synchrony.Energy(), "AVTS": method}
final_pairs = {name: told_apart(network, "hard", data.test, each=4) for name, network in pair_judges.items()}
show.bars({**final, **{f"hard pairs: {n}": s for n, s in final_pairs.items()}},
          title="test films: what happens (eye, ear), and hard pairs told apart")

# %%
measured = {"curriculum": trained["hard"], "correspondence, stopped early": at_same_moment["correspondence"]["hard accuracy"]}
show.table([{"": "you expected", **my_prediction}, {"": "measured", **measured}], caption="hard pairs, validation films")

# %%
print(f"Test films: {final_pairs['AVTS']:.1%} of the hard pairs told apart, against {final_pairs['motion against loudness']:.1%} for motion "
      f"against loudness; what happens, seen: {final['eye, AVTS']:.1%} against {final['eye, random']:.1%} for random weights.")
lesson("11_audio_video_sync")
print(f"this notebook: {time.perf_counter() - notebook_started:.0f} s on {profile}")

# %% [markdown]
# ## Quiz
#
# Five questions on what you have seen. Click an answer, and you are told why it is right, or which mistake it is.

# %%
from sslcourse.check import quiz
# BEGIN SOLUTION: quiz("11_audio_video_sync")
quiz("11_audio_video_sync", answers="c b d a c")
# END SOLUTION

# %% [markdown]
# ## References
# - B. Korbar, D. Tran, L. Torresani. *Cooperative learning of audio and video models from self-supervised synchronization.* NeurIPS 2018. arXiv:1807.00230.
# - R. Arandjelovic, A. Zisserman. *Look, listen and learn.* ICCV 2017. arXiv:1705.08168.
# - A. Owens, A. Efros. *Audio-visual scene analysis with self-supervised multisensory features.* ECCV 2018. arXiv:1804.03641.
# - D. Tran and others. *A closer look at spatiotemporal convolutions for action recognition.* CVPR 2018. arXiv:1711.11248.
# - H. Alwassel and others. *Self-supervised learning by cross-modal audio-video clustering.* NeurIPS 2020. arXiv:1911.12667.
