# %% [markdown]
# # Homework: SimCLR
#
# You write the parts of SimCLR, compare temperatures in a way that can be trusted, and measure what was learned without spoiling it.
#
# | task | function | points |
# |---|---|---|
# | 1 | `nt_xent` | 4 |
# | 2 | `two_views` | 2 |
# | 3 | `contrastive_accuracy` | 2 |
# | 4 | `compare_temperatures` | 4 |
# | 5 | `frozen_probe` | 3 |
# | 6 | a written answer, read by your teacher | 5 |
#
# **How it works.** Replace each line that raises. `check` tells you at once whether your function is right, and which mistake it found if not;
# `hint("simclr.nt_xent", 1)` helps. Where you have not written anything yet, the notebook goes on with our function and says so, so it always
# runs to its end.
#
# **How it is graded.** Your teacher runs the same checks on your *functions*, on inputs that you have not seen; what the notebook printed does
# not count. So keep the functions' names, import what they need at the top level of a cell, and hand in this one file. A function may call
# other functions of this notebook.
#
# **Time**: the machine works for about half a minute. **Needs**: a laptop, no network, no GPU.

# %%
# {{first cell}}

# %%
import time
notebook_started = time.perf_counter()

import sslcourse                       # first: it sets how torch's threads wait for each other
import torch
import torch.nn.functional as F
from sslcourse import augment, encoders, evaluate, features, show
from sslcourse.check import check, hint, points, progress
from sslcourse.data import toybox
from sslcourse.data.datasets import Data
from sslcourse.methods import simclr
from sslcourse.train import fit

profile = sslcourse.setup(seed=0)
data = toybox.images()
part = Data(data.train.take(slice(0, 3000)), data.validation, data.test)      # trainings in this homework use half of the pictures

# %% [markdown]
# ## 1. The loss (4 points)
#
# Equation 1 of the paper, mean over all $2n$ views: each view must pick its partner out of all the other views of the batch.
#
# $$\ell_{ij} = -\log \frac{e^{s_{ij}/\tau}}{\sum_{k \ne i} e^{s_{ik}/\tau}}, \qquad s_{ij} = \frac{z_i \cdot z_j}{\|z_i\|\,\|z_j\|}$$
#
# Use matrix operations: loops over pairs give the right number, but training with them would take hours.

# %%
def nt_xent(z1, z2, temperature):
    """z1, z2: (n, d), row i of both is the same image. Returns one number, a tensor of shape ()."""
    # SOLUTION: simclr.nt_xent

loss = check("simclr.nt_xent", nt_xent)

# %% [markdown]
# ## 2. The two views (2 points)
#
# Two random views of each image of a batch: a crop, a flip, a distortion of the colours, sometimes grey, with parameters of its own for every
# image. `augment.simclr_view(...)` returns a function that draws one view.

# %%
def two_views(image):
    """image: (B, 3, H, W), uint8 or floats 0 to 1. Returns first, second: both (B, 3, H, W), floats 0 to 1."""
    # BEGIN SOLUTION
    view = augment.simclr_view(area=(0.3, 1.0), strength=0.5, hue_by=0.2)
    return view(image), view(image)                            # drawn twice
    # END SOLUTION

views = check("simclr.two_views", two_views)

# %% [markdown]
# ## 3. How often is the partner found? (2 points)
#
# The paper's *contrastive accuracy*: the share of the $2n$ views whose nearest neighbour by cosine, among all the other views, is their partner.

# %%
def contrastive_accuracy(z1, z2):
    """z1, z2: (n, d), row i of both is the same image. Returns a share from 0 to 1, a number or a tensor of shape ()."""
    # BEGIN SOLUTION
    n = len(z1)
    z = F.normalize(torch.cat([z1, z2]).float(), dim=1)
    similarity = z @ z.T
    similarity.fill_diagonal_(-2)                              # below every cosine: nobody is its own neighbour
    partner = torch.arange(2 * n, device=z.device).roll(n)
    return (similarity.argmax(1) == partner).float().mean()
    # END SOLUTION

accuracy = check("simclr.contrastive_accuracy", contrastive_accuracy)

# %% [markdown]
# Your three functions in a real training:

# %%
class MySimCLR(simclr.SimCLR):
    def views(self, batch):
        first, second = views(batch["image"])
        return {"first": first, "second": second}

    def loss(self, batch):
        first, second = self.views(batch).values()
        z1, z2 = self.g(self.f(torch.cat([first, second]))).chunk(2)
        return loss(z1, z2, self.temperature), {"partner found": torch.as_tensor(accuracy(z1.detach(), z2.detach()))}

recipe = simclr.COURSE.but(epochs=3, batch_size=64, lr=2.5e-3)
torch.manual_seed(0)
method = MySimCLR(encoders.small_cnn())
untrained = evaluate.random_like(method, part.train.image)
history = fit(method, part.train.unlabelled(), recipe)
show.table([{key: row[key] for key in ("epoch", "loss", "partner found", "seconds")} for row in history])

# %% [markdown]
# ## 4. A fair comparison of temperatures (4 points)
#
# Train one SimCLR for every temperature, `simclr.SimCLR(encoders.small_cnn(), temperature=...)`, with `fit` and the recipe that is handed in, and
# return one row for each: a dict with the keys `temperature`, `loss` and `partner found` (both from the last epoch) and `kNN` (on the validation
# split, as `evaluate.probe(method, data, linear=False)` measures it).
#
# Fair means: a difference between two rows can only come from the temperature. The same temperature twice must give the same row twice, in
# whatever order. The test split stays closed.

# %%
def compare_temperatures(data, temperatures, recipe):
    """data: the splits; temperatures: a list of numbers; recipe: how to train. Returns a list of dicts, one for each temperature."""
    # BEGIN SOLUTION
    rows = []
    for temperature in temperatures:
        torch.manual_seed(recipe.seed)                         # every training starts from the same weights
        candidate = simclr.SimCLR(encoders.small_cnn(), temperature=temperature)
        last = fit(candidate, data.train.unlabelled(), recipe)[-1]
        score = evaluate.probe(candidate, data, linear=False)
        rows.append({"temperature": temperature, "loss": last["loss"], "partner found": last["partner found"], "kNN": score["kNN"]})
    return rows
    # END SOLUTION

compare = check("simclr.compare_temperatures", compare_temperatures)

# %%
temperatures = (0.05, 0.2, 1.0)
rows = compare(part, temperatures, recipe.but(epochs=2))
show.table(rows)

# %%
show.curve(temperatures, {key: [row[key] for row in rows] for key in ("partner found", "kNN")}, "temperature", "share", log=True,
           title="what the pretext task says, and what the features are worth")

# %% [markdown]
# ## 5. A probe that leaves the encoder alone (3 points)
#
# How much of the class can a *linear* classifier read from the frozen features $h$? Fit it on the training split, score it on the validation
# split. The encoder must be the same after the probe as before, to the last batch statistic, and its features must not depend on which other
# pictures are in the batch. The test split stays closed.
#
# `method.encode({"image": x})` gives $h$; `features.extract(method, samples)` does it for a whole split. `evaluate.linear_probe(h, label,
# classes=...)` fits a classifier on a matrix of features, or write your own.

# %%
def frozen_probe(method, data):
    """method: a trained network with encode; data: the splits. Returns the accuracy on data.validation, from 0 to 1."""
    # BEGIN SOLUTION
    h, held_out = features.extract(method, data.train), features.extract(method, data.validation)   # in eval mode, no gradients
    classifier = evaluate.linear_probe(h, data.train.label, classes=len(data.classes))
    return float((classifier.predict(held_out) == data.validation.label).float().mean())
    # END SOLUTION

probe = check("simclr.frozen_probe", frozen_probe)

# %%
show.bars({"random encoder": probe(untrained, part), "SimCLR": probe(method, part)}, title="linear probe on the validation split", chance=0.1)

# %% [markdown]
# ## 6. In your own words (up to 5 points, read by your teacher)
#
# Look at the table and the curve of task 4. At which temperature do views find their partner most often, and at which are the features best? Is
# it the same one? Explain with equation 1 what a low and what a high temperature do to the candidates that are pushed away. What would you have
# to run before you trust the difference? Five to ten sentences.

# %%
# BEGIN SOLUTION: why_temperature = """ """
why_temperature = """
A good answer names both maxima from the table and says whether they agree. In eq. 1 every other candidate is pushed away by its softmax weight.
At a low temperature nearly all of that weight lies on the few candidates most similar to the anchor: hard negatives, among them pictures of the
same shape, which should not be pushed. At a high temperature the weights are nearly equal: candidates that are already far away are pushed as hard
as near ones, and similar pictures are hardly told apart. How often the partner is found measures the pretext task and not the features, so the two
need not agree. One training for each temperature is one draw: several seeds for each temperature, compared seed by seed, would show whether the
difference is larger than the spread.
"""
# END SOLUTION

# %% [markdown]
# ## Points so far

# %%
points("homework_simclr")

# %%
print(f"this notebook: {time.perf_counter() - notebook_started:.0f} s on {profile}")
progress()
