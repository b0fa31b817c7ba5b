# %% [markdown]
# # GAN and BiGAN: a game that makes an encoder
#
# **The question of this notebook.** A generator learns to draw pictures from noise. Can the same game give us the way *back*, from a picture to its code, and
# is that code worth keeping?
#
# J. Donahue, P. Krähenbühl, T. Darrell. *Adversarial Feature Learning.* ICLR 2017.
# I. Goodfellow and others. *Generative Adversarial Nets.* NeurIPS 2014.
#
# **You will be able to**
# - write both players' losses, say whose gradient goes where, and train with your own code;
# - prove on a tiny world that the best encoder undoes the generator;
# - see a game that is lost and a generator that draws one thing only, and measure both.
#
# **Time**: about an hour in class; the machine works for one to two minutes. **Needs**: a laptop, no network, no GPU.

# %%
# {{first cell}}

# %%
import time
notebook_started = time.perf_counter()

import itertools
import math
import sslcourse                       # first: it sets how torch's threads wait for each other
import torch
import torch.nn.functional as F
from sslcourse import compare, encoders, evaluate, features, health, show, widgets
from sslcourse.check import check, hint, lesson, solution
from sslcourse.data import images, toybox
from sslcourse.methods import bigan
from sslcourse.results.tables import bigan as paper_table
from sslcourse.train import Recipe, epochs, fit

profile = sslcourse.setup(seed=0)
data, digits = toybox.images(), images.digits(8)
held_out = data.validation.label

# %% [markdown]
# ## 1. A picture that makes the question visible
#
# Real digits, eight pixels wide, and below them what an untrained generator makes of noise. A **discriminator** has to tell one kind from the other, and the
# generator has to fool it. Nobody compares a drawing with any particular digit.

# %%
def new_flat(name="BiGAN"):
    torch.manual_seed(0)
    return paper_table.variants(8, 128)[name]()

real, z_shown = digits.validation.image[:12].float() / 255, bigan.noise(12, paper_table.LATENT)
untrained_flat = new_flat()
with torch.no_grad():
    drawn = untrained_flat.g(z_shown)
show.grid(torch.cat([real, drawn]), columns=12, scale=6)

# %% [markdown]
# ## 2. Predict
#
# BiGAN's discriminator sees *pairs*: a real picture with its code, a drawing with its noise. No loss ever compares $G(E(x))$ with $x$. Will they look alike
# after training? And what is the loss of a discriminator that knows nothing?

# %%
my_prediction = {"G(E(x)) resembles x": None, "D's loss when it knows nothing": None}

# %% [markdown]
# ## 3. The idea in mathematics, with the names of the code
#
# Generator `g`, encoder `code` $=E(x)$, discriminator `d` (its logit; $D$ is the sigmoid of it):
#
# $$V(D, E, G) = \mathbb{E}_x \log D(x, E(x)) + \mathbb{E}_z \log\left(1 - D(G(z), z)\right)$$
#
# $D$ raises it, $E$ and $G$ lower it together. `discriminator_loss` is $-V/2$. For $E$ and $G$ we swap the labels
# instead of negating $V$ (`generator_encoder_loss`): where $D$ is confident, the gradient of $V$ vanishes.

# %% [markdown]
# In a picture, with the names of the code. Blue boxes learn by the gradient; a dashed border or a dashed arrow means that no gradient passes.

# %%
show.diagram("gan", "bigan")

# %% [markdown]
# ## 4. Exercises: both losses (core, about 8 minutes)
#
# From logits, in whichever way you like. `hint("bigan.discriminator_loss", 1)` helps, `solution("bigan.discriminator_loss")` shows ours.

# %% tags=["nbval-check-output"]
def my_discriminator_loss(real, generated):
    """real, generated: (n,) logits of D. Returns one number: the mean of both halves' cross-entropies."""
    # SOLUTION: bigan.discriminator_loss

d_loss = check("bigan.discriminator_loss", my_discriminator_loss)

# %% tags=["nbval-check-output"]
def my_generator_encoder_loss(real, generated):
    """The same logits; E and G want the opposite labels."""
    # SOLUTION: bigan.generator_encoder_loss

eg_loss = check("bigan.generator_encoder_loss", my_generator_encoder_loss)

# %% [markdown]
# ## 5. Exercise: who is detached when? (more, about 6 minutes)
#
# `encoder`, `generator` and `discriminator` are functions. Return both losses; $D$'s must not move $E$ or $G$.

# %% tags=["nbval-check-output"]
def my_updates(x, z, encoder, generator, discriminator):
    """Returns D's loss, and the loss that E and G share."""
    # SOLUTION: bigan.updates

updates = check("bigan.updates", my_updates)

# %% [markdown]
# ## 6. Why the encoder undoes the generator
#
# A world of three pictures and three codes. There are 27 encoders and 27 generators; for each pair of them the best possible $D$ is known, $p / (p +
# q)$. Where can even that $D$ do no better than a coin?

# %% tags=["nbval-check-output"]
def best_d_loss(e, g):
    p, q = torch.zeros(3, 3), torch.zeros(3, 3)
    for i in range(3):
        p[i, e[i]] += 1 / 3                # the pair (x, E(x))
        q[g[i], i] += 1 / 3                # the pair (G(z), z)
    logit = (p.log() - q.log()).clamp(-60, 60)
    return float(bigan.discriminator_loss(logit[range(3), e], logit[g, range(3)]))

maps = [list(m) for m in itertools.product(range(3), repeat=3)]
fooled = [(e, g) for e, g in itertools.product(maps, maps) if best_d_loss(e, g) > 0.69]
assert len(fooled) == 6 and all(g[e[x]] == x for e, g in fooled for x in range(3))
show.table([{"E": str(e), "G": str(g), "D's loss": best_d_loss(e, g), "G(E(x))": str([g[i] for i in e])} for e, g in fooled],
           caption="the only pairs that fool the best discriminator")

# %% [markdown]
# Six, one for each way to number the pictures, and in each $G(E(x)) = x$. The loss there is $\log 2$: $D$ says one half to everything.
#
# **In numbers: what the game measures.** With the best $D$, the paper's theorem says, $V = 2\, D_{JS}(p, q) - \log 4$: apart from a constant, $E$ and $G$
# lower the Jensen-Shannon divergence of the two kinds of pairs. `discriminator_loss` is $-V/2$, so the best $D$ pays $\log 2 - D_{JS}$. Two ways to compute
# the same, for all 729 worlds:

# %% tags=["nbval-check-output"]
def divergence(e, g):
    p, q = torch.zeros(3, 3), torch.zeros(3, 3)
    for i in range(3):
        p[i, e[i]] += 1 / 3
        q[g[i], i] += 1 / 3
    middle = (p + q) / 2
    return float((torch.xlogy(p, p) + torch.xlogy(q, q)).sum() / 2 - torch.xlogy(middle, middle).sum())

worlds = list(itertools.product(maps, maps))
# Holds: "With the best $D$, the paper's theorem says", "so the best $D$ pays"
assert max(abs(best_d_loss(e, g) - (math.log(2) - divergence(e, g))) for e, g in worlds) < 1e-5
show.table([{"E": str(e), "G": str(g), "D's loss": best_d_loss(e, g), "log 2 - divergence": math.log(2) - divergence(e, g)}
            for e, g in (([0, 1, 2], [0, 1, 2]), ([0, 1, 2], [0, 2, 1]), ([0, 0, 0], [0, 0, 0]))])

# %% [markdown]
# ## 7. The library's method, and your functions in it

# %%
show.source(bigan.BiGAN.loss, bigan.BiGAN.step)

# %% [markdown]
# Now train on the digits, with your losses. Below the curves, live: what $G$ draws from the same noise, real digits $x$, and $G(E(x))$.

# %%
recipe = Recipe(60, 64, 2e-3, schedule="cosine", weight_decay=2.5e-5)
torch.manual_seed(0)
game = new_flat()
game.d_loss, game.eg_loss = d_loss, eg_loss
x = digits.validation.image.float() / 255
with widgets.Panel(recipe.epochs, classes=digits.classes, title="BiGAN") as panel:
    for row in epochs(game, digits.train.unlabelled(), recipe):
        with torch.no_grad():
            again, drawn = game.reconstruct(x), game.g(z_shown)
        row |= {"x to G(E(x))": float((x - again).abs().mean()), "to another": float((x.roll(1, 0) - again).abs().mean())}
        panel.add(row, pictures={"G(z)": drawn, "x": x[:12], "G(E(x))": again[:12]})

# %%
panel.replay

# %%
own, other = panel.rows[-1]["x to G(E(x))"], panel.rows[-1]["to another"]
# Holds: "On average $G(E(x))$ is nearer to its own $x$"
assert own < 0.9 * other, "G(E(x)) should be nearer to its own x"
nearer = float(((x - again).abs().mean((1, 2, 3)) < (x.roll(1, 0) - again).abs().mean((1, 2, 3))).float().mean())
# Holds: "on digits $G(E(x))$ comes nearer to $x$ than to another digit", "most of the digits come back nearer to themselves than to another digit"
assert nearer > 0.6
print(f"nearer to its own x than to another: {nearer:.0%} of {len(x)} digits")
show.bars({"its own x": own, "another x": other}, title="mean distance of G(E(x)) from", unit="")

# %% [markdown]
# On average $G(E(x))$ is nearer to its own $x$, and most of the digits come back nearer to themselves than to another digit. But look at the pictures
# above, too: only some of them are *read* as the same digit. "Resembles" is a matter of degree here.

# %%
measured = {"G(E(x)) resembles x": f"nearer than to another for {nearer:.0%}", "D's loss when it knows nothing": best_d_loss([0, 1, 2], [0, 1, 2])}
show.table([{"": "you expected", **my_prediction}, {"": "measured", **measured}])

# %% [markdown]
# ## 8. A walk through the codes
#
# Between two digits: encode both, and draw what lies on the way.

# %%
from sslcourse.widgets.explorers import Control, Explorer

def walk(first, second, way):
    with torch.no_grad():
        a, b = game.code(x[[int(first)]]), game.code(x[[int(second)]])
        middle = game.g((1 - way) * a + way * b)
    page = torch.cat([x[[int(first)]], middle, x[[int(second)]]])
    return show.png(show.grid(page, titles=["from", f"{way:.2f}", "to"], columns=3, scale=12)), "G of a code on the way"

Explorer(walk, [Control("first", "slider", 0.0, "first digit", 0.0, 11.0, 1.0, 0), Control("second", "slider", 5.0, "second digit", 0.0, 11.0, 1.0, 0),
                Control("way", "slider", 0.5, "way", 0.0, 1.0, 0.125)], name="walk")

# %% [markdown]
# What do the three networks look at? Every weight of a flat network is a pixel's, so a unit's weights are a picture. First row: units of $E$; second:
# of $D$ (bright where ink excites them, dark where it calms them). Third row: what each of twelve last units of $G$ draws.

# %%
def as_pictures(weights):                  # (units, 64) -> pictures, grey where a weight is zero
    weights = weights[weights.norm(dim=1).topk(12).indices].detach()
    return (0.5 + 0.5 * weights / weights.abs().amax(1, keepdim=True)).view(-1, 1, 8, 8).expand(-1, 3, -1, -1)

show.grid(torch.cat([as_pictures(game.f.hidden1[0].weight), as_pictures(game.d.first.weight), as_pictures(game.g.last.weight.T)]), columns=12, scale=6)

# %% [markdown]
# ## 9. Break it: a generator that draws one thing
#
# **Mode collapse** on a switch. $D$ normalises each layer by its batch, so it sees at once when all drawings of a batch are alike. Without that it
# judges one picture at a time, and a generator that has found one convincing digit has no reason to draw another. `health.coverage` asks which share of
# the real pictures has a drawing among its nearest; held-out real digits give the reference, which neither of the two games comes near.

# %%
def play(normalised=True):
    player = new_flat()
    if not normalised:
        player.d.norm = torch.nn.Identity()
    fit(player, digits.train.unlabelled(), recipe)
    return player

flat = lambda pictures: pictures[:, 0].flatten(1)
players = {"D sees the batch": play(), "D sees one picture": play(normalised=False)}
with torch.no_grad():
    made = {name: player.g(bigan.noise(400, paper_table.LATENT)) for name, player in players.items()}
show.grid(torch.cat([made["D sees the batch"][:12], made["D sees one picture"][:12]]), columns=12, scale=6)

# %%
train_x = flat(digits.train.image[:400].float() / 255)
real = health.coverage(train_x, flat(digits.train.image[400:800].float() / 255))
covered = {name: health.coverage(train_x, flat(pictures)) for name, pictures in made.items()}
spread = {name: float(flat(pictures).std(0).mean() / train_x.std(0).mean()) for name, pictures in made.items()}
# Holds: "Without the batch the drawings cover far less", "they are more alike"
assert covered["D sees one picture"] < 0.5 * covered["D sees the batch"] and spread["D sees one picture"] < spread["D sees the batch"]
print(f"coverage: real digits {real:.2f}, " + ", ".join(f"{name} {value:.2f}" for name, value in covered.items()))
# Holds: "which neither of the two games comes near"
assert max(covered.values()) < 0.6 * real
show.health({f"{what}: {name}": (value, low, 1.0, f"the drawings are alike, and leave most digits out: mode collapse (real digits: {reference:.2f})")
             for what, of, low, reference in (("spread", spread, 0.6, 1.0), ("coverage", covered, real / 2, real)) for name, value in of.items()})

# %% [markdown]
# Without the batch the drawings cover far less, and they are more alike. With it there is more variety, and yet most kinds of writing are missing:
# healthy is too good a word.
#
# ## 10. The paper's table, on small digits
#
# What is a layer worth if a digit is given the label of its nearest neighbour? All six rows of the paper, with what the paper leaves to its appendix: pixels, and
# a network that has learned nothing.

# %%
methods, seconds = paper_table.trained(digits, recipe.but(epochs=10, lr=1e-3), 128, say=lambda line: None)
nearest = paper_table.accuracies(methods, digits)
n = len(digits.validation)
error = {name: 1.96 * (value * (1 - value) / n) ** 0.5 for name, value in nearest.items()}        # 95 %, of a share of n pictures
# Holds: "pixels and an untrained network are hard to beat here", "there is hardly anything to win"
assert max(nearest.values()) < min(nearest["pixels"], nearest["untrained encoder"]) + 0.05
# Holds: "The rows lie within a few points of each other", "BiGAN's features are no better than those of an untrained network"
assert max(value for name, value in nearest.items() if name != "BiGAN, E(x) itself") - nearest["BiGAN"] < 0.08
assert nearest["BiGAN"] < nearest["untrained encoder"] + 0.03
show.table([{"features": name, "1-NN": f"{100 * value:.1f} ± {100 * error[name]:.1f}", "paper, MNIST": bigan.TABLE.get(name, "")}
            for name, value in nearest.items()], caption=f"1-NN accuracy in %, with its 95 % interval; our validation split has {n} digits, MNIST's test split 10,000")

# %% [markdown]
# Read it from the yardsticks: pixels and an untrained network are hard to beat here. The rows lie within a few points of each other, and an interval is
# that wide for so few digits. BiGAN's features are no better than those of an untrained network. So this table shows what is *lost*; on such digits
# there is hardly anything to win, neither here nor in the paper's column.
#
# ## 11. Colour pictures
#
# The convolutional game on the toybox, short, beside the autoencoder on the same pictures. Does the game have a chance in seconds?

# %%
short, part = bigan.COURSE.but(epochs=3), data.train.take(slice(0, 2000)).unlabelled()
def new_method(kind=bigan.BiGAN, **arguments):
    torch.manual_seed(0)
    return kind(encoders.small_cnn(), **arguments)

method, auto = new_method(), new_method(bigan.Autoencoder, power=1)
rows = list(epochs(method, part, short))
fit(auto, part, short)
# Holds: "The discriminator's loss stays near"
assert 0.7 * math.log(2) < rows[-1]["loss"] < 1.5 * math.log(2)
show.history(rows, ["loss", "E and G"], baselines={"loss": {"blind": math.log(2)}}, title="an even game")

# %% [markdown]
# The discriminator's loss stays near $\log 2$, which is what it costs to know nothing: the game is even. It is so because $E$'s code is normalised to the
# spread of $z$ before the first step (`bigan.CodeHead`): with codes ten times smaller $D$ tells the pairs apart by size alone, and becomes a
# discriminator so strong that $E$ and $G$ get almost no signal. Even games are slow, though. Look at the pictures.

# %%
toys = data.validation.image[:8].float() / 255    # rows: G(z), x, G(E(x)), and the autoencoder's G(E(x))
with torch.no_grad():
    page = torch.cat([method.g(bigan.noise(8, method.latent)), toys, method.reconstruct(toys), auto.reconstruct(toys)])
show.grid(page, columns=8, scale=2)

# %%
show.filters(auto.f, "first filters of the autoencoder's E")

# %%
untrained = evaluate.random_like(method, data.train.image)
scores = {name: evaluate.probe(m, data)["linear"] for name, m in (("random encoder", untrained), ("BiGAN", method), ("autoencoder", auto))}
# Holds: "even in seconds BiGAN comes above a random encoder", "about as far as the autoencoder", "A probe reads more of the shape from it than from a random one"
assert scores["BiGAN"] > scores["random encoder"] + 0.05, "seconds should be enough to come above a random encoder"
assert abs(scores["BiGAN"] - scores["autoencoder"]) < 0.06
show.bars(scores, title="linear probe on the validation split", chance=0.1)

# %% [markdown]
# It has one: even in seconds BiGAN comes above a random encoder, about as far as the autoencoder. With codes of the wrong size it stayed below, however
# long it was trained.

# %%
some = slice(0, 150)
encoded = {name: features.extract(m, data.validation)[some] for name, m in (("BiGAN", method), ("autoencoder", auto))}
widgets.neighbours(encoded, data.validation.image[some], held_out[some], classes=data.classes)

# %% [markdown]
# ## 12. What did they throw away?

# %%
factors = evaluate.factor_table({"pixels": "pixels", "BiGAN": method, "autoencoder": auto}, data)
show.factor_table(factors, title="what can be read, factor by factor (validation split)")

# %% [markdown]
# ## 13. The paper's claims
#
# `sslcourse claims bigan --seeds 5` decides each with networks of its own, trained on colour pictures. The table has the paper's numbers and five seeds of ours.

# %% tags=["nbval-check-output"]
# Measured beforehand over five seeds, and stored with the course.
from sslcourse.results import papers, wall as stored
five = {row["claim"]: row for row in stored.verdicts(compare.MEASURED) if row["paper"] == "bigan"}
papers.findings("bigan", compare.MEASURED)

# %%
# Holds: "BiGAN's features are above the pixels' and above those of a random encoder", "That an autoencoder reconstructs better holds"
assert min(five[claim]["low"] for claim in ("beats_pixels", "beats_random")) > 0.03 and five["pixelwise"]["low"] > 0.02
# Holds: "BiGAN is level with the mean of its five baselines"
assert abs(five["level"]["mean"]) < 0.03
# Holds: "hardly visible on colour pictures"
assert abs(five["inverts"]["mean"]) < 0.02

# %% [markdown]
# Five worlds agree, and with the paper: after minutes BiGAN's features are above the pixels' and above those of a random encoder, and BiGAN is level
# with the mean of its five baselines. That an autoencoder reconstructs better holds. That $G(E(x))$ finds its way back is clear on the digits of this notebook, and hardly visible on colour pictures.
#
# ## Minutes later: the same network, trained for longer
#
# The game needs time. The course brings BiGAN after its `FULL` recipe on the same colour pictures; the page says how it was made.

# %%
from sslcourse import networks
longer = networks.load("bigan")
print(longer)
torch.manual_seed(0)
with torch.no_grad():
    drawn, again = longer.method.g(bigan.noise(10, longer.method.latent)), longer.method.reconstruct(data.validation.image[:10].float() / 255)
show.grid(torch.cat([drawn, data.validation.image[:10].float() / 255, again]).clamp(0, 1), columns=10, scale=2, title="G(z), x, G(E(x))")

# %%
minutes = {"random encoder": scores["random encoder"], "this lesson": scores["BiGAN"], "trained for longer": evaluate.probe(longer.method, data)["linear"],
           "autoencoder": scores["autoencoder"]}
# Holds: "after minutes BiGAN is further ahead of a random encoder than after the seconds of this lesson"
assert minutes["trained for longer"] > minutes["this lesson"] + 0.03 > minutes["random encoder"]
show.bars(minutes, title="linear probe on the validation split", chance=0.1)

# %% [markdown]
# First row: blobs of colour on plain grounds. So long a game draws no solids yet, and what comes back in the third row has a ground and a blob, seldom the right
# one. But after minutes BiGAN is further ahead of a random encoder than after the seconds of this lesson.
#
# ## 14. What changed since
#
# - **BigBiGAN** (2019) added judges of $x$ alone and of $z$ alone, and far larger networks: features on a par with the best of that year.
# - **Masked autoencoders** and contrastive methods reached more with no game at all; adversarial feature learning is rarely used today.
# - The *pairs* live on: matching joint distributions connects two domains. (Cycle-consistent translation comes near, but matches the two marginals and asks for a cycle.)
#
# ## Answer
#
# Can the game give us the way back? In part: on digits $G(E(x))$ comes nearer to $x$ than to another digit, though no loss asks for it. Is the code
# worth keeping? A probe reads more of the shape from it than from a random one (section 11), and how far other methods come, the wall of lesson 13 says. The
# test split is opened once, for the final number.

# %%
final = evaluate.report({"BiGAN": method, "autoencoder": auto}, data)
final

# %%
show.bars(compare.wall({name: final[name]["linear"] for name in ("BiGAN", "autoencoder")}), chance=0.1, title="the results wall: linear probe, test split")

# %%
print(f"Linear probe: BiGAN {final['BiGAN']['linear']:.1%}, autoencoder {final['autoencoder']['linear']:.1%}, random encoder "
      f"{final['random encoder']['linear']:.1%}, pixels {final['pixels']['linear']:.1%}.")
lesson("02_bigan")
print(f"this notebook: {time.perf_counter() - notebook_started:.0f} s on {profile}")

# %% [markdown]
# ## Quiz
#
# Five questions on what you have seen. Click an answer, and you are told why it is right, or which mistake it is.

# %%
from sslcourse.check import quiz
# BEGIN SOLUTION: quiz("02_bigan")
quiz("02_bigan", answers="a d b a d")
# END SOLUTION

# %% [markdown]
# ## References
# - J. Donahue, P. Krähenbühl, T. Darrell. *Adversarial feature learning.* ICLR 2017. arXiv:1605.09782.
# - I. Goodfellow and others. *Generative adversarial nets.* NeurIPS 2014. arXiv:1406.2661.
# - V. Dumoulin and others. *Adversarially learned inference.* ICLR 2017. arXiv:1606.00704.
# - J. Donahue, K. Simonyan. *Large scale adversarial representation learning.* NeurIPS 2019. arXiv:1907.02544.
