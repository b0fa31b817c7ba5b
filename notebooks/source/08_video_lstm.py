# %% [markdown]
# # Video LSTM: tell the past backwards, and the future
#
# **The question of this notebook.** A network reads eight frames and must put all that it knows of them into one state. *What does it have to remember*, if
# from that state alone the past is to be told and the future to be predicted? And what is such a state good for when labels are few?
#
# N. Srivastava, E. Mansimov, R. Salakhutdinov. *Unsupervised Learning of Video Representations using LSTMs.* ICML 2015.
#
# **You will be able to**
# - write one step of an LSTM, what two decoders must say, and their loss in nats per frame, and train with your own code;
# - say what autoencoder, future predictor and composite model must remember, and what conditioning a decoder changes;
# - judge a prediction: against the floor, against copying, against extrapolation, and far beyond the horizon it was trained for.
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
from sslcourse import encoders, evaluate, features, show, widgets
from sslcourse.check import check, hint, lesson, solution
from sslcourse.data import moving_digits, toybox
from sslcourse.methods import video_lstm
from sslcourse.train import Recipe, epochs, fit
from sslcourse.widgets.explorers import Control, Explorer
from sslcourse.widgets.films import films

profile = sslcourse.setup(seed=0)
digits, toys = moving_digits.videos(), toybox.videos()
held = digits.validation.video

# %% [markdown]
# ## 1. A picture that makes the question visible
#
# Real handwriting drifts over black and bounces off the borders. Press play. The network is shown the frames without an outline; the outlined ones are to be
# predicted. What must you know after the last plain frame to go on? Where the digit is,
# which way it moves, and what it looks like.

# %%
films({"digits": held[:6]}, scale=3, marks={"digits": range(8, 16)}, title="eight frames to read, eight to predict",
      note="Outlined: not shown to the network.")

# %% [markdown]
# The LSTM reads each frame as grey values at half the resolution. Two baselines, and what they cost: *copy* the last frame, or *shift* it by its last
# displacement, again and again. Shifting fails where a digit meets a border: the true digit turns round, the shifted one leaves the picture.

# %%
frames = encoders.Pixels(16)                                    # what a frame becomes before the LSTM
x = frames(held.float() / 255)                                  # (N, 1, 16, 256)
seen, future = x[:, :, :8], x[:, :, 8:]
answers = {"true": future, "copy the last": video_lstm.copy_last(seen, 8), "shift on": video_lstm.extrapolate(seen, 8, 16)}
films({name: frames.of(guess[:6]) for name, guess in answers.items()}, scale=5,
      title="the next eight frames, as two baselines predict them")

# %% [markdown]
# ## 2. Predict
#
# Three models are to come: one rebuilds the past (**autoencoder**), one predicts the future (**future predictor**), one does both from the same state
# (**composite**). Which of them predicts best? And a decoder can be **conditional**: in training it is fed the *true* frame of the step before. Does it
# predict better when it is on its own?

# %%
my_prediction = {"predicts best": None,                        # "future predictor" or "composite"
                 "conditional is better on its own": None}      # True or False

# %% [markdown]
# ## 3. The idea in mathematics, with the names of the code
#
# An LSTM has a state of two vectors, `h` (what it shows) and `c` (what it keeps). From a frame `x` and the old state, four vectors are made: input gate $i$, forget
# gate $f$, candidate $a$, output gate $o$, each a matrix times `x` plus a matrix times `h` plus a bias. Then
#
# $$c \leftarrow \sigma(f)\, c + \sigma(i) \tanh(a), \qquad h \leftarrow \sigma(o) \tanh(c)$$
#
# The *encoder* reads eight frames. Its last $(h, c)$ starts each *decoder*, an LSTM of its own that emits one frame a step. The representation of the
# film is $(h, c)$ itself. (The paper's gates also look at `c`, through weights called peepholes; torch's do not. `video_lstm.lstm_cell` has both.)

# %% [markdown]
# In a picture, with the names of the code. Blue boxes learn by the gradient; a dashed border or a dashed arrow means that no gradient passes.

# %%
show.diagram("video_lstm")

# %% [markdown]
# ## 4. Exercise: one step of an LSTM (core, about 8 minutes)
#
# Replace the line that raises. `check` tells you *which* mistake it found; `hint("video_lstm.lstm_cell", 1)` helps, `solution("video_lstm.lstm_cell")` shows ours.

# %% tags=["nbval-check-output"]
def my_lstm_cell(x, h, c, w_x, w_h, bias):
    """x: (b, d); h, c: (b, n). w_x: (4n, d), w_h: (4n, n), bias: (4n,): the rows of i, f, a, o, in this order.

    Returns the new h and the new c.
    """
    # BEGIN SOLUTION
    i, f, a, o = (x @ w_x.T + h @ w_h.T + bias).chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(a)
    return torch.sigmoid(o) * torch.tanh(c), c
    # END SOLUTION

lstm_cell = check("video_lstm.lstm_cell", my_lstm_cell)

# %% [markdown]
# In training torch's own LSTM does the work. It is the same: your step, eight times, against `torch.nn.LSTM`.

# %%
lstm = torch.nn.LSTM(256, 32, batch_first=True)
h = c = torch.zeros(6, 32)
with torch.no_grad():
    for t in range(8):
        h, c = lstm_cell(seen[:6, 0, t], h, c, lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0 + lstm.bias_hh_l0)
    _, (theirs_h, theirs_c) = lstm(seen[:6, 0])
apart = max(float((h - theirs_h[0]).abs().max()), float((c - theirs_c[0]).abs().max()))
assert apart < 1e-5
print(f"after eight frames, the largest difference of any unit: {apart:.1e}")

# %% [markdown]
# ## 5. Exercise: what the decoders must say (core, about 4 minutes)
#
# One decoder tells the past **in reverse order**: the state has just read the last frame, so that one is nearest. The other one tells the future in its own order.

# %% tags=["nbval-check-output"]
def my_targets(x, past):
    """x: (films, frames, pixels). Returns the first `past` frames in reverse, and the frames after them in their own order."""
    # BEGIN SOLUTION
    return x[:, :past].flip(1), x[:, past:]
    # END SOLUTION

targets = check("video_lstm.targets", my_targets)

# %%
backwards, ahead = targets(x[:1, 0], 8)
names = [f"frame {k}" for k in [*range(8, 0, -1), *range(9, 17)]]
show.grid(frames.of(torch.cat([backwards, ahead], 1)[:, None])[0].transpose(0, 1), names,
          columns=8, scale=4, title="above: what one decoder must say; below: the other")

# %% [markdown]
# ## 6. Exercise: nats per frame (more, about 5 minutes)
#
# Each decoder gives a logit for each pixel. With $y = \sigma(\text{logit})$ and true grey values $x$, a frame costs
#
# $$-\sum_{\text{pixels}} \left[ x \log y + (1 - x) \log(1 - y) \right]$$
#
# and the loss is the mean over all frames and films. The composite model adds both decoders' losses as they are: there is no weight to tune.

# %% tags=["nbval-check-output"]
def my_nats_per_frame(logits, target):
    """logits, target: (films, frames, pixels), target from 0 to 1. Returns one number; logits may be very large."""
    # BEGIN SOLUTION
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1).mean()
    # END SOLUTION

nats_per_frame = check("video_lstm.nats_per_frame", my_nats_per_frame)

# %% [markdown]
# Grey pixels cost something even when they are predicted perfectly: that is the **floor**. A loss means nothing without it, and without the baselines.

# %%
floor = video_lstm.floor(future)
simple = {name: float(video_lstm.errors(guess, future).mean()) for name, guess in answers.items() if name != "true"}
average = x.mean((0, 2), keepdim=True).expand_as(future)
simple["the average frame"] = float(video_lstm.errors(average, future).mean())
# Holds: "Every baseline stands far above the floor"
assert min(simple.values()) > floor + 10
show.bars({"floor": floor, **simple}, unit="", title="nats per frame of the future (256 pixels)")

# %% [markdown]
# Every baseline stands far above the floor: there is room for a model.
#
# ## 7. The library's method, and your functions in it

# %%
show.source(video_lstm.VideoLSTM.state, video_lstm.VideoLSTM.loss, video_lstm.Decoder.forward, video_lstm.Decoder.run)

# %% tags=["nbval-check-output"]
recipe = video_lstm.COURSE.but(epochs=11)
ours = {"data": "moving digits", "frame": "16 x 16, grey", "past": 8, "future": 8, "hidden": 256, "peepholes": False,
        "optimizer": recipe.optimizer, "batch_size": recipe.batch_size}
show.table([{"": "paper", **{k: video_lstm.PAPER[k] for k in ours}}, {"": "here", **ours}], caption="every departure, in the open")

# %% [markdown]
# Now train the composite model. No label is used. `held out` is the error of prediction on films that are not trained on. Below the curves: one film, as it was
# seen and rebuilt, as it went on and was predicted.

# %%
def new_model(**arguments):
    torch.manual_seed(0)
    return video_lstm.VideoLSTM(encoders.pixel_lstm(), split=targets, frame_loss=nats_per_frame, **arguments)

def error(model):
    """Nats per frame of the held-out future, with no true frame to look at."""
    return float(video_lstm.errors(model.predict({"video": held}), future).mean())

def moment(model, film=held[3:4]):
    strip = lambda vectors: F.interpolate(frames.of(vectors)[0].transpose(0, 1), scale_factor=2)
    batch, both = {"video": film}, frames(film.float() / 255)
    return {"seen": strip(both[:, :, :8]), "rebuilt": strip(model.reconstruct(batch)),
            "comes": strip(both[:, :, 8:]), "predicted": strip(model.predict(batch))}

composite = new_model()
with widgets.Panel(recipe.epochs, title="composite model") as panel:
    for row in epochs(composite, digits.train.unlabelled(), recipe):
        panel.add(row | {"held out": error(composite)}, pictures=moment(composite))

# %%
panel.replay

# %%
scores = {"floor": floor, **simple, "composite model": error(composite)}
# Holds: "The composite model beats every baseline"
assert scores["composite model"] < min(simple.values()) - 3, "it should beat every baseline"
show.bars(scores, unit="", title="nats per frame of the future")

# %% [markdown]
# The composite model beats every baseline. Look at its frames, too: it predicts a grey blob at about the right place, and hardly a digit.
#
# ## 8. The three models
#
# The future predictor alone, and the same with a conditional decoder. For that one there are two numbers: **fed** the true frames, as in training, and
# **free**, fed its own.

# %%
alone, conditional = new_model(reconstruct=False), new_model(reconstruct=False, conditional_future=True)
for model in (alone, conditional):
    fit(model, digits.train.unlabelled(), recipe)

def fed(model):
    with torch.no_grad():
        views = model.views({"video": held})
        logits = model.forward_decoder(model.state(views["seen"].flatten(0, 1)), views["future"].flatten(0, 1))
        return logits.sigmoid()[:, None]

guesses = {"future predictor": alone.predict({"video": held}), "composite": composite.predict({"video": held}),
           "conditional, fed": fed(conditional), "conditional, free": conditional.predict({"video": held})}
curves = {name: video_lstm.errors(guess, future).tolist() for name, guess in guesses.items()}
curves["shift on"] = video_lstm.errors(answers["shift on"], future).tolist()
curves["floor"] = [video_lstm.floor(future[:, :, k : k + 1]) for k in range(8)]
show.curve(range(1, 9), curves, xlabel="frames after the last one that was seen", ylabel="nats per frame", title="error by step")

# %%
mean = {name: sum(values) / 8 for name, values in curves.items()}
# Holds: "fed the true frames it is far better than on its own"
assert mean["conditional, fed"] < mean["conditional, free"] - 5, "what helps in training is missing at test time"
measured = {"predicts best": min(("future predictor", "composite"), key=mean.get),
            "conditional is better on its own": mean["conditional, free"] < mean["future predictor"]}
show.table([{"": "you expected", **my_prediction}, {"": "measured", **measured}])

# %%
shown = {"true": future, **{name: guess for name, guess in guesses.items() if name != "conditional, fed"}}
films({name: frames.of(guess[:6]) for name, guess in shown.items()},
      scale=4, title="the same eight frames, predicted by three models")

# %% [markdown]
# The conditional decoder learned to lean on the frame before: fed the true frames it is far better than on its own. On its own that frame is its own
# guess, and each mistake feeds the next one. This is against the paper, where conditioning helps to predict; over five seeds it harms here (section
# 14).
#
# ## 9. Far beyond the horizon
#
# Trained for eight frames, asked for sixty. Move the slider. When does the digit lose its shape, and when does it lose its path? Blur is the honest
# answer of a model that must give *one* picture and does not know which.

# %%
far = moving_digits.videos(16, 8, 8, frames=68).validation.video[:5]
truth = frames(far.float() / 255)[:, :, 8:]
long = {"true": truth, "composite": composite.predict({"video": far}, 60), "future predictor": alone.predict({"video": far}, 60),
        "shift on": video_lstm.extrapolate(frames(far.float() / 255)[:, :, :8], 60, 16)}

def at_horizon(horizon):
    k = int(horizon) - 1
    now = {name: film[:, :, k : k + 1] for name, film in long.items()}
    tiles = torch.cat([frames.of(film)[:, :, 0] for film in now.values()])
    names = [name if i == 0 else " " for name in now for i in range(5)]
    costs = [f"{name} {float(video_lstm.errors(film, now['true'])):.0f}" for name, film in now.items() if name != "true"]
    return show.png(show.grid(tiles, names, columns=5, scale=4.5)), ", ".join(costs) + " nats per frame"

Explorer(at_horizon, [Control("horizon", "slider", 8.0, "steps ahead", 1, 60, 1, 0)], name="horizon")

# %%
costs_far = {name: video_lstm.errors(film, truth).tolist() for name, film in long.items() if name != "true"}
costs_far["the average frame"] = video_lstm.errors(x.mean((0, 2), keepdim=True).expand_as(truth), truth).tolist()
lost_at = {name: next((k + 1 for k, (a, b) in enumerate(zip(costs_far[name], costs_far["the average frame"])) if a > b), None)
           for name in ("composite", "future predictor")}
# Holds: "The path is lost at about the step that is printed"
assert all(lost_at.values())
# Holds: "Far beyond the horizon both models cost more than the average frame"
assert all(sum(costs_far[name][40:]) > sum(costs_far["the average frame"][40:]) for name in lost_at)
print("worse than the average frame from step: " + ", ".join(f"{name} {step}" for name, step in lost_at.items()))
ink = {name: film.mean((0, 1, 3)) for name, film in long.items()}
show.curve(range(1, 61), {name: values.tolist() for name, values in ink.items()}, xlabel="steps ahead",
           ylabel="mean brightness", title="how much ink is left: trained for eight steps, asked for sixty")

# %% [markdown]
# The shape goes first: within eight steps there are blobs. The path is lost at about the step that is printed: from there on a model would do better to
# show the average of all frames. Far beyond the horizon both models cost more than the average frame.
#
# ## 10. Break it
#
# Short trainings, one thing taken away each: the past told in its **own order**, and only **h handed over**, so that each decoder starts with an empty `c`.

# %%
forwards = lambda vectors, past: (vectors[:, :past], vectors[:, past:])
switches = {"as it is": {}, "past in its own order": dict(split=forwards), "only h handed over": dict(cells=False)}
short, part, broken = recipe.but(epochs=4), digits.train.unlabelled(), {}
for name, arguments in switches.items():
    torch.manual_seed(0)
    broken[name] = fit(video_lstm.VideoLSTM(encoders.pixel_lstm(), **arguments), part, short)
show.history(broken, ["reconstruction", "prediction"], title="what it costs, in training")

# %%
last = {name: rows[-1] for name, rows in broken.items()}
# Holds: "the two broken runs rebuild the past worse"
for name in ("past in its own order", "only h handed over"):
    assert last[name]["reconstruction"] > last["as it is"]["reconstruction"] + 2, f"{name}: the past should be harder to tell"
# Holds: "The prediction is alike in all three"
assert max(row["prediction"] for row in last.values()) - min(row["prediction"] for row in last.values()) < 4
show.table([{"": name, "reconstruction": row["reconstruction"], "prediction": row["prediction"]} for name, row in last.items()],
           caption=f"nats per frame, training; the average frame costs {simple['the average frame']:.1f}")

# %% [markdown]
# Read both columns. The prediction is alike in all three: after four epochs none of them has left the plateau of the average frame. In the other column
# the healthy run has left it, and the two broken runs rebuild the past worse. In its own order the past begins with the frame that was read longest
# ago: the decoder has to learn the hardest thing first. And `h` alone is squashed and gated: what the encoder keeps for later stands in `c`.
#
# ## 11. What a frame is: pixels, patches, percepts
#
# The paper's LSTMs read grey digits, colour patches of natural films, or *percepts*: what a convolutional network that does not learn makes of a frame. One switch
# decides; losses of different kinds of frames cannot be compared, only each with its own beginning.

# %%
torch.manual_seed(0)
few_toys = toys.train.take(slice(0, 300)).unlabelled()
network = encoders.random_encoder(encoders.small_cnn(16), few_toys.video[:, :, 0].float() / 255)
kinds = {"pixels": encoders.Pixels(16), "patches": encoders.Patches(16),
         "percepts": encoders.Percepts(network).fit(few_toys.video[:60])}
table = []
for name, kind in kinds.items():
    rows = fit(video_lstm.VideoLSTM(encoders.FrameLSTM(kind, 128)), few_toys, recipe.but(epochs=3))
    table.append({"a frame is": name, "numbers": kind.size, "loss": kind.kind,
                  "after one epoch": rows[0]["prediction"], "after three": rows[-1]["prediction"]})
grey = kinds["pixels"](few_toys.video.float() / 255)[:, :, 8:16]
print(f"the floor of the grey pixels: {video_lstm.floor(grey):.1f} nats")
# Holds: "Most of what pixels cost is their floor"
assert video_lstm.floor(grey) > 0.8 * table[0]["after three"]
show.table(table, caption="the prediction's loss on films of the toybox")

# %% [markdown]
# Most of what pixels cost is their floor, so a fall by one nat is more than it seems. A squared loss has the floor 0.
#
# ## 12. What did the state keep?
#
# Linear probes on $(h, c)$: which digit it is, where it will be and how it will move in the *last* frame, eight frames after the last one that was read. (The row
# "pixels" has seen all sixteen.) No label was used before the probe.

# %%
untrained = evaluate.random_like(composite, digits.train)
probed = {"pixels": "pixels", "random LSTM": untrained, "future predictor": alone, "composite": composite}
kept = evaluate.factor_table(probed, digits)
# Holds: "Where the digit will be is kept"
assert kept["composite"]["x"] > kept["random LSTM"]["x"] + 0.1, "the state should say where the digit will be"
# Holds: "*What* it is, is hardly kept", "and hardly a digit", "How things *look* comes last"
assert kept["composite"]["digit"] < 0.3
print("; ".join(f"{factor}: {kept['composite'][factor]:.2f} against {kept['random LSTM'][factor]:.2f} for a random LSTM" for factor in kept["composite"]))
show.factor_table(kept, title="what can be read, factor by factor (validation split)")

# %% [markdown]
# Where the digit will be is kept. *What* it is, is hardly kept: a blob at the right place is what lowers the error most, and our training ends before
# shapes pay. Compare the velocities with those of the random LSTM, too: not all of what the state says was learned. The paper trains far longer, and
# its digits keep their shape. Now the neighbours:

# %%
some = slice(0, 150)
encoded = {name: features.extract(model, digits.validation)[some]
           for name, model in (("composite", composite), ("random LSTM", untrained))}
widgets.neighbours(encoded, digits.validation.pictures[some], digits.validation.label[some],
                   classes=digits.classes)

# %% [markdown]
# ## 13. Few labels
#
# Now the toybox's films: a large and a small solid go round, each clockwise or counter-clockwise; no single frame tells. The paper's test: the encoder's weights
# *start* a classifier, which has a softmax after every frame and is trained on a few labelled films. Against it stands the same LSTM, started from nothing.

# %%
films({name: toys.train.video[toys.train.label == k][:3] for k, name in enumerate(toys.classes)}, scale=2,
      title="four classes of motion")

# %%
motion = video_lstm.VideoLSTM(encoders.pixel_lstm())
fit(motion, toys.train.unlabelled(), recipe.but(epochs=6))
nothing = evaluate.random_like(motion, toys.train)
tuning, truth_of_motion = Recipe(epochs=20, batch_size=32, lr=3e-3), toys.validation.label

def accuracy(model, films_a_class):
    chosen = torch.cat([(toys.train.label == k).nonzero()[:films_a_class, 0] for k in range(4)])
    judge = video_lstm.fine_tuned(model.f, toys.train.take(chosen), 4, tuning)
    return float((features.extract(judge, toys.validation).argmax(1) == truth_of_motion).float().mean())

counts = (10, 40, 120)
few = {name: [accuracy(model, n) for n in counts] for name, model in (("LSTM from nothing", nothing), ("composite encoder", motion))}
# Holds: "With forty films of each class the composite encoder is ahead", "With forty labelled films of each class it is a better start than"
assert few["composite encoder"][1] > few["LSTM from nothing"][1] + 0.02, "with few labels the films without labels should help"
# Holds: "With ten films of each class both are near chance"
assert max(values[0] for values in few.values()) < 0.4
show.table([{"": name, **{f"{n} films a class": value for n, value in zip(counts, values)}} for name, values in few.items()],
           caption=f"validation accuracy; chance is 0.25, and the last column has {4 * counts[-1]} of the {len(toys.train):,} films")

# %%
show.curve(counts, few, xlabel="labelled films of each class", ylabel="validation accuracy", log=True,
           title="the motion class, chance is one in four")

# %% [markdown]
# With ten films of each class both are near chance: too few for either. With forty films of each class the composite encoder is ahead.
#
# ## 14. The paper's claims
#
# `sslcourse claims video_lstm --seeds 5` trains nine encoders a seed and returns a verdict for each claim; `sslcourse table video_lstm` makes the paper's table of
# seven models. The table has the paper's numbers and five seeds of ours.

# %% tags=["nbval-check-output"]
# Measured beforehand over five seeds, and stored with the course.
from sslcourse.results import compare, papers, wall as stored
five = {row["claim"]: row for row in stored.verdicts(compare.MEASURED) if row["paper"] == "video_lstm"}
papers.findings("video_lstm", compare.MEASURED)

# %% tags=["nbval-check-output"]
# The whole table, measured beforehand by `sslcourse table video_lstm`.
import json
made = json.loads((compare.MEASURED / "table-video_lstm.json").read_text(encoding="utf-8"))
row_of = {next(iter(row.values())): row for row in made["rows"]}
number = lambda row, column: float(row_of[row][column].split()[0])
# Holds: "every model is ahead of the baseline with few labels, and by less with all"
ahead = {part: min(number(m, part) for m in row_of if m != "baseline LSTM") - number("baseline LSTM", part) for part in list(made["rows"][0])[1:3]}
few_labels, all_labels = ahead.values()
assert few_labels > all_labels > 0
show.table(made["rows"], caption=f"{made['title']}; {made['seeds']} seeds; {made['what']}")

# %% [markdown]
# Here every model is ahead of the baseline with few labels, and by less with all. The paper's columns, on real films (UCF101), say the same.

# %%
# Holds: "every unsupervised model beats an LSTM from nothing", "the composite model predicts better than the future predictor", "With both tasks it predicts better than with one"
assert min(five[claim]["low"] for claim in ("over_baseline", "every_one")) > 0.02 and five["better_prediction"]["low"] > 0.5
# Holds: "over five seeds it harms here", "On its own the conditional model predicts worse"
assert five["condition_fed"]["low"] > 5 and five["condition_free"]["high"] < -0.5

# %% [markdown]
# Over five seeds every unsupervised model beats an LSTM from nothing when labels are few, and the composite model predicts better than the future
# predictor. Conditioning lowers the error only while the true frames are fed. On its own the conditional model predicts worse, against the paper.
#
# ## 15. What changed since
#
# - **ConvLSTM, PredNet and Video Pixel Networks** kept the task and gave the state a place in the picture; blur went once the loss no longer asked for one average picture.
# - **Contrastive prediction** (lesson 10) predicts features and not pixels: noise need not be predicted.
# - **Masked video models** rebuild hidden parts of a film with transformers; the autoencoder of this paper is their ancestor.
#
# ## Answer
#
# What does it have to remember? To tell the past, where things were; to predict the future, where they will be. With both tasks it predicts better than
# with one, over five seeds. How things *look* comes last, and in our short training hardly at all. And what is the state good for? With forty labelled
# films of each class it is a better start than nothing. We measure the state once, on the test split: probes for the motion class, on frozen states.
# The pixels of all frames stand beside it.

# %%
final = evaluate.report({"composite": motion}, toys)
final

# %%
show.bars({row["features"]: row["linear"] for row in final.rows if row["features"] != "chance"}, chance=final["chance"]["linear"],
          title="the motion class by a linear probe on all labels, test split")

# %%
print(f"The next eight frames cost {scores['composite model']:.0f} nats each, against {simple['shift on']:.0f} by shifting "
      f"and {simple['copy the last']:.0f} by copying; the floor is {floor:.0f}.")
print(f"With {counts[1]} labelled films a class: {few['composite encoder'][1]:.1%} from the composite encoder, "
      f"{few['LSTM from nothing'][1]:.1%} from nothing.")
lesson("08_video_lstm")
print(f"this notebook: {time.perf_counter() - notebook_started:.0f} s on {profile}")

# %% [markdown]
# ## Quiz
#
# Five questions on what you have seen. Click an answer, and you are told why it is right, or which mistake it is.

# %%
from sslcourse.check import quiz
# BEGIN SOLUTION: quiz("08_video_lstm")
quiz("08_video_lstm", answers="d b d c a")
# END SOLUTION

# %% [markdown]
# ## References
# - N. Srivastava, E. Mansimov, R. Salakhutdinov. *Unsupervised learning of video representations using LSTMs.* ICML 2015. arXiv:1502.04681.
# - S. Hochreiter, J. Schmidhuber. *Long short-term memory.* Neural Computation 9, 1997.
# - N. Kalchbrenner and others. *Video pixel networks.* ICML 2017. arXiv:1610.00527.
# - X. Shi and others. *Convolutional LSTM network.* NeurIPS 2015. arXiv:1506.04214.
