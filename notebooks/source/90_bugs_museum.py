# %% [markdown]
# # The bugs museum
#
# **The question of this notebook.** A self-supervised training with a bug runs, its loss falls, and a table gets a number. *How would you have
# noticed?*
#
# Each exhibit is a bug that real code shipped or that somebody lost weeks to, in about five lines. You see its symptom on a small live run, and then
# you write a **property test** that catches it: the bug is planted, in several forms, and so are several right ways to write the same thing.
#
# **You will be able to**
# - recognise ten bugs of self-supervised code, and say why the loss does not show them;
# - write a test that passes everything right and fails everything wrong, instead of one that knows a number by heart;
# - say which instrument to look at: a gradient, a resumed run, the company in a batch, a probe, a second split.
#
# **Time**: three hours in class with all ten exercises, which alone are nearly two; after section 3 each exhibit stands alone, so pick some. The
# machine works for about a minute.
# **Needs**: a laptop, no network, no GPU; [01_simclr](01_simclr.ipynb).

# %%
# {{first cell}}

# %%
import time
notebook_started = time.perf_counter()

import copy, math
import sslcourse                       # first: it sets how torch's threads wait for each other
import torch
import torch.nn.functional as F
from torch import nn
from sslcourse import augment, encoders, evaluate, features, health, show, widgets
from sslcourse.check import check, hint, lesson, museum, solution, verdicts
from sslcourse.data import toybox
from sslcourse.methods import simclr
from sslcourse.train import epochs

profile = sslcourse.setup(seed=0)
data = toybox.images()
pictures, held_out = data.train.image[:2000], data.validation
view = augment.simclr_view(**simclr.COURSE_VIEW)
as_float = lambda image: image.float() / 255

# %% [markdown]
# ## 1. Two losses, two trainings
#
# Here are two contrastive losses. Both are short, both run. One of them has a bug of a kind that a well-known library has shipped. Read them before
# you go on: do you see it?

# %%
def loss_a(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    similarity = z @ z.T / temperature
    target = torch.arange(len(z))
    return F.cross_entropy(similarity, target)

def loss_b(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    similarity = (z @ z.T / temperature).fill_diagonal_(float("-inf"))
    target = torch.arange(len(z)).roll(len(z1))
    return F.cross_entropy(similarity, target)

# %% [markdown]
# Now both train the same network on the same pictures, from the same start. This is what you would see on your screen.

# %%
recipe = simclr.COURSE.but(epochs=4, batch_size=64, lr=2.5e-3)
seen = held_out.take(slice(0, 100))

def train(loss):
    """A short training. Returns the method, its rows, what each epoch made of the validation pictures, and a recording."""
    torch.manual_seed(0)
    method, rows, h, xy = simclr.SimCLR(encoders.small_cnn(), loss=loss), [], [], None
    panel = widgets.Panel(recipe.epochs, classes=data.classes, backend="silent")
    for row in epochs(method, data.train.take(slice(0, 2000)).unlabelled(), recipe):
        h.append(features.extract(method, held_out))
        rows.append(row | evaluate.probe(method, data, limit=1000))
        xy = evaluate.living_map(h[-1][:100], xy)
        panel.add(rows[-1], xy=xy, labels=seen.label)
    return method.cpu(), rows, h, panel.replay

runs = {name: train(loss) for name, loss in {"A": loss_a, "B": loss_b}.items()}
show.history({name: rows for name, (_, rows, _, _) in runs.items()}, keys=("loss",), title="two trainings; one has a bug")

# %% [markdown]
# Both fall. A is even far lower. Nothing here says which of them has the bug.
#
# ## 2. Predict
#
# Ten bugs follow. For each: would the number that *everybody watches* (the training loss, or the score that is reported) have looked **worse**
# because of the bug? Write True or False.

# %%
# True: it would have looked worse. False: as good, or better.
my_prediction = {"positives paired with themselves": None, "gather without gradient": None,
                 "unfrozen backbone in the probe": None, "selection on the test split": None, "sum instead of mean": None,
                 "batch statistics that leak": None, "a queue that is not saved": None,
                 "one augmentation for a whole batch": None, "a target that learns, or stands still": None,
                 "empty clusters": None}
assert set(my_prediction) == {exhibit.title for exhibit in museum.EXHIBITS.values()}

# %% [markdown]
# ## 3. What a property test is
#
# A function that receives an implementation, calls it on inputs of *its own choice*, and raises `AssertionError` where a property does not hold
# that **every** right implementation has. Take cosine similarity: its values are many, but it has a property in one line, for all vectors $a, b$
# and every $c > 0$:
#
# $$\cos(c\,a, b) = \cos(a, b)$$
#
# `museum.catches(test, implementation)` runs a test on an implementation.

# %% tags=["nbval-check-output"]
def test_scale(similarity):
    a, b = torch.randn(5, 3), torch.randn(5, 3)
    assert torch.allclose(similarity(7 * a, b), similarity(a, b), atol=1e-5), "a longer vector is more similar"

unit = lambda v: v / v.norm(dim=1, keepdim=True)
implementations = {"torch's cosine": F.cosine_similarity, "unit vectors, then dot": lambda a, b: (unit(a) * unit(b)).sum(1),
                   "normalisation forgotten": lambda a, b: (a * b).sum(1)}
show.table([{"implementation": name, "caught": museum.catches(test_scale, f)} for name, f in implementations.items()])

# %% [markdown]
# A test can be wrong in two ways: it lets a bug through, or it rejects what is right (it demands one way of writing, one number, the last digit).
# `check` tries both, with several right implementations and several forms of the bug, small and large. What you learn in each exhibit is
# which input makes a bug **visible**.
#
# One more thing before the tour: what the exhibits show is collected, so that the question can be answered in the end.

# %%
findings = []

def remember(name, watched, healthy, broken, betrayed_by, good, bad, higher_is_better=False):
    """One exhibit: the number that everybody watches, and the one that gives the bug away."""
    looks_worse = not (broken >= healthy if higher_is_better else broken <= healthy * 1.02)
    change = lambda what, before, after: f"{what}: {float(before):.3g} → {float(after):.3g}"
    findings.append({"bug": museum.EXHIBITS[name].title, "everybody watches": change(watched, healthy, broken),
                     "looks worse": looks_worse, "given away by": change(betrayed_by, good, bad)})

# %% [markdown]
# ## Exhibit 1. Positives paired with themselves
#
# **The bug** is loss A. Row `i` of the similarity matrix should look for its other view; here it looks for itself, and its cosine with itself is
# always the largest. Nothing pulls the two views of an image together. All that is left of the loss is the push.
#
# *Seen in* [solo-learn, issue 206](https://github.com/vturrisi/solo-learn/issues/206) (on the second GPU each view was its own positive, its partner
# masked) and [mmselfsup, issue 159](https://github.com/open-mmlab/mmselfsup/issues/159) (partners of one layout, rows of another).
#
# **The symptom.** Both runs on one slider. The losses fall, the maps look alike, and nearest neighbours do not tell the two apart. Look at *partner
# found*, which should rise, and at the linear probe.

# %%
widgets.side_by_side({"A: paired with itself": runs["A"][3], "B: right": runs["B"][3]})

# %%
(_, rows_a, _, _), (healthy, rows_b, h_by_epoch, _) = runs["A"], runs["B"]
a, b = rows_a[-1], rows_b[-1]
# Holds: "A is even far lower", "The run with the bug has the lower loss and the worse linear probe"
assert a["loss"] < 0.5 * b["loss"] and a["linear"] < b["linear"], "the bug should look better and be worse"
remember("museum.partner", "training loss", b["loss"], a["loss"], "linear probe", b["linear"], a["linear"])
show.bars({"right": b["linear"], "paired with itself": a["linear"]}, title="linear probe on the validation split", chance=0.1)

# %% [markdown]
# The run with the bug has the lower loss and the worse linear probe.
#
# **Exercise (core, 10 minutes).** `loss(z1, z2, temperature)` is some contrastive loss; row `i` of both views is one image. Right losses differ in scale and
# in their candidates. Test that everybody's partner is the other view: not by a value, but by inputs for which you *know* whether the loss is
# small or large. `hint("museum.partner", 1)` helps, `solution("museum.partner")` shows ours.

# %% tags=["nbval-check-output"]
def my_test_partner(loss):
    """Raise AssertionError unless the partner of every view is the other view of its image."""
    # BEGIN SOLUTION
    for n in (2, 5, 20):
        z = torch.eye(n)                                               # n images that have nothing in common
        assert loss(z, z, 0.05) < 0.01, "perfect pairs cost something"
        assert loss(z, z.roll(1, 0), 0.05) > 2, "strangers cost nothing"
    # END SOLUTION

test_partner = check("museum.partner", my_test_partner)

# %%
assert museum.catches(test_partner, loss_a) and not museum.catches(test_partner, loss_b)
museum.trial("museum.partner", test_partner)

# %% [markdown]
# ## Exhibit 2. Gather without gradient
#
# With several GPUs, each process needs the embeddings of all others as candidates. `dist.all_gather` brings them, as numbers without a graph.
# The usual repair puts the own rows back "so that the gradient flows again".
#
# In the picture of a single process: `parts[r]` is what process `r` has computed, `gather(parts, rank)` what process `rank` gets to see; each
# process computes the loss over everybody, and the engine averages the gradients of all.
#
# *Seen in* [vissl, pull request 123](https://github.com/facebookresearch/vissl/pull/123) (one side of the matrix carried no gradient),
# [lightly, issue 1977](https://github.com/lightly-ai/lightly/issues/1977) (a gradient too small by the number of processes) and
# [DeCLUTR, pull request 212](https://github.com/JohnGiorgi/DeCLUTR/pull/212) (the same, rescaled).

# %%
def gather_own_rows_put_back(parts, rank):
    everybody = [part.detach() for part in parts]
    everybody[rank] = parts[rank]
    return torch.cat(everybody)

def trained_with(gather, processes):
    """The loss and the gradient of one step, averaged over so many processes that share one batch."""
    network.zero_grad()
    z1, z2 = network(first).chunk(processes), network(second).chunk(processes)
    loss = sum(simclr.nt_xent(gather(z1, r), gather(z2, r), 0.2) for r in range(processes)) / processes
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in network.parameters()]).norm().item()

# %%
torch.manual_seed(0)
network = nn.Sequential(encoders.small_cnn(16), nn.Linear(64, 32)).eval()
first, second, processes = view(pictures[:64]), view(pictures[:64]), (1, 2, 4, 8)
right = [trained_with(lambda parts, rank: torch.cat(parts), n) for n in processes]
bug = [trained_with(gather_own_rows_put_back, n) for n in processes]
ratio = [wrong[1] / true[1] for wrong, true in zip(bug, right)]
# Holds: "The gradient shrinks with every process"
assert all(math.isclose(r * n, 1, rel_tol=1e-3) for r, n in zip(ratio, processes)), ratio
remember("museum.gather", "training loss", right[-1][0], bug[-1][0], "gradient norm, 8 processes", 1, ratio[-1])
print("the loss:", *[f"{loss:.4f}" for loss, _ in bug], "with the bug;", *[f"{loss:.4f}" for loss, _ in right], "without")
show.curve(processes, {"right": [1.0] * 4, "own rows put back": ratio}, xlabel="processes",
           ylabel="share of the right gradient norm", title="the same loss, another gradient", log=True)

# %% [markdown]
# The loss is right to the last digit. The gradient shrinks with every process: more GPUs, slower learning. SGD silently trains with another learning
# rate; Adam hides the scale, until weight decay or clipping meets it.
#
# **Exercise (more, 10 minutes).** Test `gather(parts, rank)`: the rows of all, in order, and the **whole** gradient back to each of them, whoever asks.

# %% tags=["nbval-check-output"]
def my_test_gather(gather):
    """Raise AssertionError unless every process sees the rows of all, and sends the whole gradient back to each."""
    # BEGIN SOLUTION
    for world in (2, 3):
        parts = [torch.randn(4, 5, requires_grad=True) for _ in range(world)]
        for rank in range(world):
            everybody = gather(parts, rank)
            assert torch.equal(everybody, torch.cat(parts)), "not the rows of all, in order"
            assert everybody.requires_grad, "no gradient at all"
            weight = torch.randn_like(everybody)
            came = torch.autograd.grad((everybody * weight).sum(), parts, allow_unused=True)
            for gradient, sent in zip(came, weight.chunk(world)):
                assert gradient is not None and torch.allclose(gradient, sent), "the gradient gets lost"
    # END SOLUTION

test_gather = check("museum.gather", my_test_gather)

# %%
assert museum.catches(test_gather, gather_own_rows_put_back)
museum.trial("museum.gather", test_gather)

# %% [markdown]
# ## Exhibit 3. The backbone is not frozen in the probe
#
# A linear probe says what a *frozen* representation is worth. The line below looks as if it froze the encoder. It gives a Python object an attribute
# that nobody reads; the method is `requires_grad_`. So the probe fine-tunes, and the table says "linear".
#
# *Seen in* [SimCLR-CIFAR10, issues 1](https://github.com/p3i0t/SimCLR-CIFAR10/issues/1) and
# [8](https://github.com/p3i0t/SimCLR-CIFAR10/issues/8) (this very line; "the results in this repo are invalid") and
# [Spijkervet/SimCLR, issue 19](https://github.com/Spijkervet/SimCLR/issues/19) (features read in train mode).

# %%
def linear_probe(encoder, freeze, x, y, passes=3):
    freeze(encoder.eval())
    dim = encoder(x[:2]).shape[1]
    head = nn.Sequential(nn.BatchNorm1d(dim, affine=False), nn.Linear(dim, 10))
    optimizer = torch.optim.AdamW([p for p in [*encoder.parameters(), *head.parameters()] if p.requires_grad], lr=2e-3)
    for batch in (i for _ in range(passes) for i in torch.randperm(len(x)).split(128)):
        optimizer.zero_grad()
        F.cross_entropy(head(encoder(x[batch])), y[batch]).backward()
        optimizer.step()
    head.eval()
    return lambda image: head(encoder(image)).argmax(1)

def looks_frozen(encoder):
    encoder.requires_grad = False

# %%
scores, moved = {}, {}
for name, freeze in {"really frozen": lambda encoder: encoder.requires_grad_(False), "looks frozen": looks_frozen}.items():
    torch.manual_seed(0)
    encoder = copy.deepcopy(healthy.f)
    predict = linear_probe(encoder, freeze, as_float(data.train.image[:3000]), data.train.label[:3000])
    scores[name] = (predict(as_float(held_out.image)) == held_out.label).float().mean().item()
    moved[name] = sum(not torch.equal(a, b) for a, b in zip(encoder.parameters(), healthy.f.parameters()))
assert moved == {"really frozen": 0, "looks frozen": len(list(healthy.f.parameters()))}
# Holds: "The wrong number is the better one"
assert scores["looks frozen"] > scores["really frozen"] + 0.1
remember("museum.frozen", "linear probe", *scores.values(), "encoder weights changed", *moved.values(), higher_is_better=True)
show.bars(scores, title='"linear probe", validation split', chance=0.1)

# %% [markdown]
# The wrong number is the better one: nobody looks for a bug in a good result.
#
# **Exercise (core, 10 minutes).** `probe(encoder, x, y)` trains some probe and returns an accuracy. Build an encoder of your own and test that the probe
# leaves it alone. What can change in a network, besides its weights?

# %% tags=["nbval-check-output"]
def my_test_frozen(probe):
    """Raise AssertionError unless probe(encoder, x, y) leaves the encoder as it was, and sees it in eval mode."""
    # BEGIN SOLUTION
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5)).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    modes = []
    encoder[3].register_forward_hook(lambda module, inputs, output: modes.append(module.training))
    probe(encoder, torch.randn(40, 6) + 2, torch.arange(40) % 3)       # data far from the running mean
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items()), "the encoder has changed"
    assert not any(modes), "features were read in train mode"
    # END SOLUTION

test_frozen = check("museum.frozen", my_test_frozen)

# %%
assert museum.catches(test_frozen, lambda encoder, x, y: linear_probe(encoder, looks_frozen, x, y))
museum.trial("museum.frozen", test_frozen)

# %% [markdown]
# ## Exhibit 4. Selection on the test split
#
# Evaluate every epoch on the test split, report the best. Each single reading is honest; their maximum is not: it contains the luck of the best day.
#
# *Seen in* the [documentation of lightly's CIFAR-10 benchmark](https://github.com/lightly-ai/lightly/blob/0243660ba10afc408e3f79541df537d8a2e24eb5/docs/source/getting_started/benchmarks.rst)
# ("the max accuracy over all epochs", on the test set) and [Semi-supervised-learning, issue 98](https://github.com/microsoft/Semi-supervised-learning/issues/98) (where a
# data set has no validation split). It is said openly there, which is the honest way to do it.
#
# **The symptom**: two hundred probes of the same encoder, each fitted to another hundred labels, so they differ by luck only. A small split chooses the
# best; a second split that nobody has looked at tells what the choice is worth.

# %%
def report(validation, test):
    epoch = int(test.argmax())
    return epoch, float(test[epoch])

torch.manual_seed(0)
h_train, h = features.extract(healthy, data.train.take(slice(0, 2000))), h_by_epoch[-1]
mean, scale = h_train.mean(0), h_train.std(0)
with_bias = lambda rows: F.pad((rows - mean) / scale, (0, 1), value=1.0).double()
right_answers = []
for _ in range(200):
    some = torch.randperm(2000)[:100]
    x, y = with_bias(h_train[some]), F.one_hot(data.train.label[some], 10).double()
    weight = torch.linalg.solve(x.T @ x + 10 * torch.eye(x.shape[1]).double(), x.T @ y)
    right_answers.append((with_bias(h) @ weight).argmax(1) == held_out.label)
right_answers = torch.stack(right_answers).float()                     # (200 probes, 1000 pictures)
fresh_draw = torch.Generator().manual_seed(0)
tries, repeats = (1, 2, 5, 10, 20, 50, 100, 200), 200
names = ("reported: best on test", "the same probe, fresh pictures", "reported: best on validation")
curves = {name: [0] * len(tries) for name in names}

# %%
for _ in range(repeats):
    order = torch.randperm(1000, generator=fresh_draw)
    validation, test, fresh = (right_answers[:, part].mean(1) for part in order.split([200, 200, 600]))
    probes = torch.randperm(200, generator=fresh_draw)
    for i, n in enumerate(tries):
        some = probes[:n]
        chosen, score = report(validation[some], test[some])
        honest = some[validation[some].argmax()]
        for values, value in zip(curves.values(), (score, fresh[some[chosen]].item(), test[honest].item())):
            values[i] += value / repeats
best, worth, honest = (values[-1] for values in curves.values())
# Holds: "The best on the test split promises more than fresh pictures give"
assert best > worth + 0.03 > honest + 0.01
remember("museum.selection", "reported accuracy", honest, best, "reported minus worth", honest - worth, best - worth,
         higher_is_better=True)
show.curve(tries, curves, xlabel="probes tried", ylabel="accuracy", log=True,
           title="two hundred equals: the best of them is no better")

# %% [markdown]
# The best on the test split promises more than fresh pictures give. Chosen on the validation split, the same encoder is reported as what it is.
#
# **Exercise (core, 10 minutes).** `report(validation, test)` gets the accuracy of each epoch on both splits and returns `(epoch, score)`. Right ones
# choose in different ways (the best, the last of several equal ones, with patience, smoothed, not at all). Test the one thing that they share.

# %% tags=["nbval-check-output"]
def my_test_selection(report):
    """Raise AssertionError unless the choice never depends on the test split, and the score is that of the chosen epoch."""
    # BEGIN SOLUTION
    for _ in range(30):
        validation = torch.randint(0, 5, (12,)) / 5                    # with ties
        chosen = set()
        for test in torch.rand(4, 12):
            epoch, score = report(validation, test)
            chosen.add(epoch)
            assert abs(score - float(test[epoch])) < 1e-6, "the score of another epoch"
        assert len(chosen) == 1, "the test split has a say"
    # END SOLUTION

test_selection = check("museum.selection", my_test_selection)

# %%
assert museum.catches(test_selection, report)
museum.trial("museum.selection", test_selection)

# %% [markdown]
# ## Exhibit 5. Sum instead of mean
#
# One word. The loss then grows with the batch, and so does the gradient: whoever doubles the batch doubles the learning rate too, without knowing.
#
# *Seen in* [transformers, issue 35556](https://github.com/huggingface/transformers/issues/35556) (micro-batches were added up instead of averaged, in a trainer
# that self-supervised code uses too).

# %%
def distance_to_target(p, z):
    return (2 - 2 * F.cosine_similarity(p, z, dim=1)).sum()            # .mean() in the paper

mean_distance = lambda p, z: (2 - 2 * F.cosine_similarity(p, z, dim=1)).mean()
torch.manual_seed(0)
network, predictor = nn.Sequential(encoders.small_cnn(16), nn.Linear(64, 32)).eval(), nn.Linear(32, 32)
first, second, sizes, norms = view(pictures[:64]), view(pictures[:64]), (8, 16, 32, 64), {}
for name, loss in {"mean": mean_distance, "sum": distance_to_target}.items():
    norms[name] = []
    for n in sizes:
        predictor.zero_grad(), network.zero_grad()
        value = loss(predictor(network(first[:n])), network(second[:n]).detach())
        value.backward()
        norms[name].append(torch.cat([p.grad.flatten() for p in network.parameters()]).norm().item())
# Holds: "The gradient grows with the batch"
assert norms["sum"][-1] / norms["sum"][0] > 4 * norms["mean"][-1] / norms["mean"][0]
remember("museum.mean", "training loss", value.item() / sizes[-1], value.item(), "gradient norm, batch of 64",
         norms["mean"][-1] / norms["mean"][0], norms["sum"][-1] / norms["sum"][0])
show.curve(sizes, {name: [v / values[0] for v in values] for name, values in norms.items()}, xlabel="batch size",
           ylabel="gradient norm (batch of 8: 1)", title="the learning rate that you did not set", log=True)

# %% [markdown]
# The gradient grows with the batch. This one *can* be seen in the loss, if one knows what it should be. With a contrastive loss, which grows with the
# batch anyway, hardly anybody does.
#
# **Exercise (more, 10 minutes).** `loss(p, z)` compares rows of two matrices (n, d). Test that it is a mean over the samples, whatever it averages.

# %% tags=["nbval-check-output"]
def my_test_mean(loss):
    """Raise AssertionError unless the loss of a batch is the mean of the losses of its samples, and zeros change nothing."""
    # BEGIN SOLUTION
    close = lambda a, b: torch.allclose(a, b, rtol=1e-3, atol=1e-5)
    for n in (1, 2, 7, 17, 23, 40):
        p, z = torch.randn(n, 6), torch.randn(n, 6)
        each = torch.stack([loss(p[i:i + 1], z[i:i + 1]) for i in range(n)])
        assert close(loss(p, z), each.mean()), "not the mean over the samples"
        assert close(loss(p, z), loss(F.pad(p, (0, 10)), F.pad(z, (0, 10)))), "it depends on the width"
    # END SOLUTION

test_mean = check("museum.mean", my_test_mean)

# %%
assert museum.catches(test_mean, distance_to_target) and not museum.catches(test_mean, mean_distance)
museum.trial("museum.mean", test_mean)

# %% [markdown]
# ## Exhibit 6. Batch statistics that leak
#
# MoCo compares a query with its key and with a queue of old keys. Query and key pass through batch normalisation in the same company: the same other
# pictures were in their batch. Statistics of that company are in both of them, and in no key of the queue. So a positive can be recognised
# *without looking at the picture*. That is why MoCo shuffles the keys among the processes, and puts them back afterwards.
#
# *Seen in* [lightly, issue 18](https://github.com/lightly-ai/lightly/issues/18) (no shuffling yet, and a plot of what it brings),
# [CMC, issue 39](https://github.com/HobbitLong/CMC/issues/39) (a shuffle without effect on one GPU) and
# [solo-learn, issue 184](https://github.com/vturrisi/solo-learn/issues/184) (a question that got a frank answer: not done here).

# %%
def encode_pairs(network, queries, keys, group=8):
    q = torch.cat([network(part) for part in queries.split(group)])    # as on several processes
    k = torch.cat([network(part) for part in keys.split(group)])       # the same groups: the same company
    return q, k

# %% [markdown]
# **The symptom**, with the network of exhibit 1. Eight queries, each in its own company of seven; and *one other picture*, computed once in each of the
# eight companies. All eight keys show the same, and none of them shows a query. Does a query find the one that was in its company?

# %%
def encode_shuffled(network, queries, keys):
    order = torch.randperm(len(keys))
    q, k = encode_pairs(network, queries, keys[order])
    return q, k[order.argsort()]

network, repeats = copy.deepcopy(healthy).train(), 50
embed = lambda x: F.normalize(network.g(network.f(x)), dim=1)
recognised = {"same company": 0, "keys shuffled": 0}
torch.manual_seed(0)
for _ in range(repeats):
    company = pictures[torch.randint(0, 2000, (8, 7))].flatten(0, 1)                         # eight times seven
    in_groups = lambda first: torch.cat([first[:, None], view(company).unflatten(0, (8, 7))], 1).flatten(0, 1)
    queries = in_groups(view(pictures[torch.randint(0, 2000, (8,))]))
    keys = in_groups(view(pictures[torch.randint(0, 2000, (1,))]).expand(8, -1, -1, -1))     # one view for all
    for name, encode in {"same company": encode_pairs, "keys shuffled": encode_shuffled}.items():
        with torch.no_grad():
            q, k = encode(embed, queries, keys)
        found = (q[::8] @ k[::8].T).argmax(1) == torch.arange(8)
        recognised[name] += found.float().mean().item() / repeats

# %%
# Holds: "In the same company the key is found more often than by chance"
assert recognised["same company"] > recognised["keys shuffled"] + 0.03
right, leaking = recognised["keys shuffled"], recognised["same company"]
remember("museum.statistics", "positives found", right, leaking, "found without content", right, leaking, higher_is_better=True)
show.bars(recognised, title="how often a query picks the key from its own company, whatever it shows", chance=1 / 8)

# %% [markdown]
# In the same company the key is found more often than by chance, and the picture says nothing of it. Every hit above chance is a free gift to the loss.
# In the MoCo paper's appendix the pretext accuracy without shuffling goes up to nearly perfect, and the
# nearest-neighbour score goes *down*.
#
# **Exercise (for the fast, 15 minutes).** `encode(network, queries, keys)` runs a network on both, in groups of eight, and returns `(q, k)`. You choose the network:
# take one that betrays who was in the batch.

# %% tags=["nbval-check-output"]
def my_test_statistics(encode):
    """Raise AssertionError unless no key was computed among the same samples as its query, and both come back in order."""
    # BEGIN SOLUTION
    crowd = lambda x: x.sum(0, keepdim=True).expand(len(x), -1)        # every row lists its company
    one_hot = torch.eye(64)
    q, k = encode(crowd, one_hot, one_hot)
    assert not any(torch.equal(a, b) for a, b in zip(q, k)), "a key in its query's company"
    q, k = encode(lambda x: x, one_hot, one_hot)
    assert torch.equal(q, one_hot) and torch.equal(k, one_hot), "not in order"
    # END SOLUTION

test_statistics = check("museum.statistics", my_test_statistics)

# %%
assert museum.catches(test_statistics, encode_pairs)
museum.trial("museum.statistics", test_statistics)

# %% [markdown]
# ## Exhibit 7. A queue that is not saved
#
# A tensor that is a plain attribute of a module is in no `state_dict`. The run is killed at night, resumes in the morning, and fights against a
# queue of random vectors, which is easy.
#
# *Seen in* [lightly, pull request 993](https://github.com/lightly-ai/lightly/pull/993) (the memory bank is a buffer, by choice "not part of the state_dict"),
# [stable-pretraining, pull request 401](https://github.com/galilai-group/stable-pretraining/pull/401) (a queue that could not be resumed) and
# [vissl, pull request 440](https://github.com/facebookresearch/vissl/pull/440) (the centre of DINO).

# %%
class Queue(nn.Module):
    def __init__(self, size, dim):
        super().__init__()
        self.keys = F.normalize(torch.randn(size, dim), dim=1)         # register_buffer("keys", ...) would save it

    def push(self, keys):
        self.keys = torch.cat([keys.detach(), self.keys])[:len(self.keys)]

    def negatives(self):
        return self.keys.clone()

class SavedQueue(Queue):
    def __init__(self, size, dim):
        super().__init__(size, dim)
        keys = self.keys
        del self.keys
        self.register_buffer("keys", keys)

# %%
def moco_steps(state, numbers):
    """Steps of MoCo; every step draws from a seed of its own, so that a resumed run sees the same batches."""
    method, queue, optimizer = state
    losses = []
    for step in numbers:
        torch.manual_seed(step)
        image = pictures[torch.randperm(2000)[:64]]
        q, k = (F.normalize(method.g(method.f(view(image))), dim=1) for _ in range(2))
        logits = torch.cat([(q * k.detach()).sum(1, keepdim=True), q @ queue.negatives().T], 1) / 0.2
        loss = F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))
        optimizer.zero_grad(), loss.backward(), optimizer.step()
        queue.push(k)
        losses.append(loss.item())
    return losses

def start(kind, method):
    method = copy.deepcopy(method).train()
    return method, kind(512, 64), torch.optim.AdamW(method.parameters(), lr=1e-3)

def resumed(kind, saved):
    state = start(kind, healthy)
    for part, stored in zip(state, saved):
        part.load_state_dict(stored)
    return state

# %%
curves, killed, steps = {}, 20, 32
for name, kind in {"queue saved": SavedQueue, "queue not saved": Queue}.items():
    torch.manual_seed(0)
    running = start(kind, healthy)
    before = moco_steps(running, range(killed))
    saved = copy.deepcopy([part.state_dict() for part in running])
    curves["not interrupted"] = before + moco_steps(running, range(killed, steps))
    curves[f"resumed, {name}"] = [None] * killed + moco_steps(resumed(kind, saved), range(killed, steps))
whole, kept, lost = curves.values()
assert kept[killed:] == whole[killed:], "a resumed run should give the very numbers of one that was not interrupted"
# Holds: "The third one's loss *drops*"
assert lost[killed] < 0.8 * whole[killed], "random negatives are easy"
remember("museum.queue", "loss after resuming", whole[killed], lost[killed], "off the run that was not killed",
         abs(kept[killed] - whole[killed]), abs(lost[killed] - whole[killed]))
show.curve(range(steps), curves, xlabel=f"step (the run is killed after {killed})", ylabel="loss",
           title="after the restart it looks as if it had got better")

# %% [markdown]
# The uninterrupted run and the one with a saved queue lie on each other, to the last digit. The third one's loss *drops*: as its queue holds nothing but noise.
#
# **Exercise (more, 10 minutes).** You get the queue of a running training, and `fresh()`, which makes an empty one of the same kind. A queue has `push(keys)`
# and `negatives()`, both (n, 4). Test that a checkpoint keeps all of it, and let the running training notice nothing.

# %% tags=["nbval-check-output"]
def my_test_queue(queue, fresh):
    """Raise AssertionError unless a fresh queue that loads the state_dict of this one goes on exactly as it does."""
    # BEGIN SOLUTION
    running, restored = copy.deepcopy(queue), fresh()
    restored.load_state_dict(copy.deepcopy(queue.state_dict()))
    for _ in range(4):
        assert torch.equal(running.negatives(), restored.negatives()), "the queues differ"
        keys = torch.randn(5, 4)
        running.push(keys), restored.push(keys)
    # END SOLUTION

test_queue = check("museum.queue", my_test_queue)

# %%
verdict = {kind.__name__: museum.catches(test_queue, kind(12, 4), lambda: kind(12, 4)) for kind in (Queue, SavedQueue)}
assert verdict == {"Queue": True, "SavedQueue": False}, verdict
museum.trial("museum.queue", test_queue)

# %% [markdown]
# ## Exhibit 8. One augmentation for a whole batch
#
# torchvision's random transforms take a batch of images, and draw **once** for all of them. Every image of the batch is cut at the same place and tinted
# alike: no error, no warning.
#
# *Seen in* [torchvision, issues 2929](https://github.com/pytorch/vision/issues/2929) and [8484](https://github.com/pytorch/vision/issues/8484), open for years: it
# is how it is meant, and not what most people expect.

# %%
from torchvision.transforms import v2
transform = v2.Compose([v2.RandomResizedCrop(32, scale=(0.3, 1.0), antialias=True), v2.RandomHorizontalFlip(),
                        v2.ColorJitter(0.4, 0.4, 0.4, 0.2)])

def one_view_for_all(image):
    return transform(image if image.is_floating_point() else as_float(image))

torch.manual_seed(3)
same = pictures[7:8].repeat(8, 1, 1, 1)                                # one picture, eight times
show.grid(torch.cat([view(same)[:4], one_view_for_all(same)[:4]]), columns=4, scale=2,
          titles=["own draw"] * 4 + ["one draw"] * 4, title="one picture, many times in a batch")

# %% [markdown]
# What does a training make of it? The same view twice, written with the course's operations: once with parameters for each image, once with one set for all.

# %%
def crop_and_tint(image, draws):
    """Views with `draws` sets of random parameters: one for each image, or one."""
    each = lambda parameter: parameter.expand(len(image), *parameter.shape[1:])
    draw = lambda low, high: each(low + (high - low) * torch.rand(draws, device=image.device))
    box = each(augment.random_boxes(draws, 32, 32, (0.3, 1.0), (3 / 4, 4 / 3), image.device))
    x = augment.crop(as_float(image), box, flip=draw(0, 1) < 0.5)
    for operation in (augment.brightness, augment.contrast, augment.saturation):
        x = operation(x, draw(0.6, 1.4))
    x = augment.hue(x, draw(-0.2, 0.2))
    return torch.where(draw(0, 1).view(-1, 1, 1, 1) < 0.2, augment.grey(x), x)

trained = {}
for name, draw in {"own draws": lambda x: crop_and_tint(x, len(x)), "one draw": lambda x: crop_and_tint(x, 1)}.items():
    torch.manual_seed(0)
    method = simclr.SimCLR(encoders.small_cnn(), view=draw)
    trained[name] = list(epochs(method, data.train.take(slice(0, 2000)).unlabelled(), recipe.but(epochs=3)))
    trained[name][-1] |= evaluate.probe(method, data, limit=1000)
    trained[name][-1]["distinct views"] = len({tuple(v.flatten().tolist()) for v in draw(same)})

# %%
own, one = (rows[-1] for rows in trained.values())
# Holds: "The loss is higher, as with any views that are harder to match", "The probe is clearly worse"
assert one["loss"] > own["loss"]
assert own["linear"] > one["linear"] + 0.04 and (own["distinct views"], one["distinct views"]) == (8, 1)
remember("museum.views", "training loss", own["loss"], one["loss"], "different views of 8 copies",
         own["distinct views"], one["distinct views"])
numbers = ("loss", "linear", "distinct views")
show.table([{"": name, **{key: rows[-1][key] for key in numbers}} for name, rows in trained.items()],
           caption="training loss, linear probe, and how many of eight copies look different")

# %% [markdown]
# The loss is higher, as with any views that are harder to match, so nobody is alarmed. The probe is clearly worse.
#
# **Exercise (for the fast, 15 minutes).** `view(image)` draws views of a batch of floats (B, 3, H, W). Right ones may draw little: one of them only mirrors, so two images of a
# batch *often* get the same view. What must never happen?

# %% tags=["nbval-check-output"]
def my_test_views(view):
    """Raise AssertionError if two images of a batch always share what is drawn."""
    # BEGIN SOLUTION
    layout, flat = torch.rand(3, 16, 16), torch.tensor([0.7, 0.4, 0.2]).view(3, 1, 1).expand(3, 16, 16)
    for picture in (layout, flat):                                     # one shows the crop, one only colours
        calls = torch.stack([view(picture.repeat(8, 1, 1, 1)) for _ in range(24)])
        differ = lambda a, b: bool(((a - b).abs() > 1e-3).any())
        if differ(calls, calls[:1]):                                   # else nothing is drawn that this picture shows
            for i in range(8):
                for j in range(i):
                    assert differ(calls[:, i], calls[:, j]), f"images {j} and {i} always share their draw"
    # END SOLUTION

test_views = check("museum.views", my_test_views)

# %%
assert museum.catches(test_views, one_view_for_all) and not museum.catches(test_views, view)
museum.trial("museum.views", test_views)

# %% [markdown]
# ## Exhibit 9. A target that learns
#
# BYOL has no negatives. A network predicts the output of its own slower copy, and that works only because the copy does **not** learn from the loss: it gets no
# gradient, and follows by an average. Forget the `detach`, and both sides run towards each other.
#
# *Seen in* [SimSiam, issue 26](https://github.com/PatrickHua/SimSiam/issues/26) (BYOL's `update` was written and never called) and
# [lightning-bolts, issue 1059](https://github.com/Lightning-Universe/lightning-bolts/issues/1059) (MoCo's update forgets the head). Whether the `detach` is there
# is what readers of such code ask, as in [SimSiam, issue 39](https://github.com/PatrickHua/SimSiam/issues/39), where it stood in the loss after all.

# %%
class Byol(nn.Module):
    def __init__(self, online, dim):
        super().__init__()
        self.online, self.predictor, self.target = online, simclr.projector(dim, 64, dim), copy.deepcopy(online)

    def seen(self, x):
        return self.target(x)                                          # the detach is missing

    def loss(self, a, b):
        distance = lambda a, b: (2 - 2 * F.cosine_similarity(self.predictor(self.online(a)), self.seen(b))).mean()
        return distance(a, b) + distance(b, a)

    @torch.no_grad()
    def update(self, momentum):
        for t, o in zip(self.target.parameters(), self.online.parameters()):
            t.lerp_(o, 1 - momentum)

class RightByol(Byol):
    def seen(self, x):
        return self.target(x).detach()

# %%
def fifty_steps(kind):
    torch.manual_seed(0)
    learner = kind(nn.Sequential(encoders.small_cnn(16), simclr.projector(64, 64, 32)), 32).train()
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    for step in range(1, 51):
        image = pictures[torch.randperm(2000)[:64]]
        loss = learner.loss(view(image), view(image))
        optimizer.zero_grad(), loss.backward(), optimizer.step()
        learner.update(0.95)
        if step % 5 == 0:
            yield loss.item(), health.spread(learner.target(as_float(image)).detach())

kinds = {"right": RightByol, "the gradient flows": Byol}
curves = {name: list(zip(*fifty_steps(kind))) for name, kind in kinds.items()}
(good_loss, good), (bad_loss, bad) = ([values[-1] for values in pair] for pair in curves.values())
# Holds: "An excellent loss, and a target that says nearly the same about every picture"
assert bad_loss < 0.5 * good_loss and bad < 0.5 * good, "a collapsed target is easy to predict"
remember("museum.target", "training loss", good_loss, bad_loss, "spread of the target", good, bad)
lines = {f"{what}, {name}": curves[name][i] for i, what in enumerate(("loss", "spread")) for name in kinds}
show.curve(range(5, 51, 5), lines, xlabel="step", ylabel="loss; spread of the target's output",
           title="fifty steps of BYOL: what is learned is to say nothing")

# %% [markdown]
# An excellent loss, and a target that says nearly the same about every picture.
#
# **Exercise (for the fast, 15 minutes).** `learner` has `online`, `target`, `loss(first, second)` for inputs (n, 6), and `update(momentum)`. Test who moves whom, and how far.

# %% tags=["nbval-check-output"]
def my_test_target(learner):
    """Raise AssertionError unless the optimizer never moves the target, and update(m) moves it by 1 - m of the way."""
    # BEGIN SOLUTION
    weights = lambda network: [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    for momentum in (0.75, 1.0, 0.0):
        target, online = weights(learner.target), weights(learner.online)
        optimizer.zero_grad()
        learner.loss(torch.randn(16, 6), torch.randn(16, 6)).backward()
        optimizer.step()
        assert all(torch.equal(a, b) for a, b in zip(target, weights(learner.target))), "the optimizer moves the target"
        assert not all(torch.equal(a, b) for a, b in zip(online, weights(learner.online))), "nothing learns"
        online = weights(learner.online)
        learner.update(momentum)
        for t, o, now in zip(target, online, weights(learner.target)):
            assert torch.allclose(now, momentum * t + (1 - momentum) * o, atol=1e-6), "it moves elsewhere"
    # END SOLUTION

test_target = check("museum.target", my_test_target)

# %%
small = lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
verdict = {kind.__name__: museum.catches(test_target, kind(small(), 4)) for kind in (Byol, RightByol)}
assert verdict == {"Byol": True, "RightByol": False}, verdict
museum.trial("museum.target", test_target)

# %% [markdown]
# ## Exhibit 10. Empty clusters
#
# DeepCluster clusters the features again and again. When a centre is nobody's nearest, its mean is the mean of nothing: `nan`. And `nan` is contagious: `argmin`
# takes it for the smallest distance.
#
# *Seen in* [deepcluster, issue 43](https://github.com/facebookresearch/deepcluster/issues/43) (a crash in epoch 32), [issue 12](https://github.com/facebookresearch/deepcluster/issues/12)
# and [issue 87](https://github.com/facebookresearch/deepcluster/issues/87) (who repairs them? The library underneath).

# %%
def kmeans(x, start, rounds=8):
    centres = start
    for _ in range(rounds):
        labels = torch.cdist(x, centres).argmin(1)
        centres = torch.stack([x[labels == j].mean(0) for j in range(len(start))])
    return centres, torch.cdist(x, centres).argmin(1)

def kmeans_repaired(x, start, rounds=8):
    centres = start.clone()
    for _ in range(rounds):
        labels = torch.cdist(x, centres).argmin(1)
        for j in range(len(start)):
            mine = x[labels == j]
            centres[j] = mine.mean(0) if len(mine) else x[torch.randint(len(x), ())]
    return centres, torch.cdist(x, centres).argmin(1)

# %% [markdown]
# **The symptom**: features after the first epoch of exhibit 1 are clustered; after the last epoch the clustering goes on from the old centres, as one would to
# save time. The features have moved meanwhile.

# %%
torch.manual_seed(0)
early, late = (F.normalize(h, dim=1) for h in (h_by_epoch[0], h_by_epoch[-1]))
old, _ = kmeans_repaired(early, early[torch.randperm(len(early))[:60]], 12)
rounds, in_use = range(7), {"repaired": [], "the mean of nothing": []}
for n in rounds:
    for name, method in {"repaired": kmeans_repaired, "the mean of nothing": kmeans}.items():
        in_use[name].append(len(method(late, old, n)[1].unique()))
# Holds: "the next epoch's loss is perfect at once"
assert in_use["repaired"][-1] > 50 and in_use["the mean of nothing"][-1] < 10
good, bad = (counts[-1] for counts in in_use.values())
blind_guess = math.log                                                 # loss of a new head that knows nothing yet
remember("museum.clusters", "loss of the next head", blind_guess(good), blind_guess(bad), "clusters in use", good, bad)
show.curve(rounds, in_use, xlabel="round of k-means", ylabel="clusters in use, of 60",
           title="the empty clusters take all the others along")

# %% [markdown]
# With one pseudo-label for all pictures, the next epoch's loss is perfect at once.
#
# **Exercise (more, 10 minutes).** `kmeans(x, start)` returns centres (k, d) and labels (n,). Test that no cluster is left empty, however badly it starts.

# %% tags=["nbval-check-output"]
def my_test_clusters(kmeans):
    """Raise AssertionError unless every centre is finite and has a member, wherever the centres start."""
    # BEGIN SOLUTION
    heaps = torch.tensor([[3.0, 3.0], [8.0, 3.0], [3.0, 8.0]])
    x = heaps.repeat_interleave(20, 0) + 0.3 * torch.randn(60, 2)
    nowhere = torch.tensor([[60.0, 60.0], [-70.0, 80.0], [90.0, -50.0]])
    for lost in range(4):
        start = torch.cat([x[[0, 20, 40]], nowhere[:lost]])
        centres, labels = kmeans(x, start)
        assert torch.isfinite(centres).all(), "a centre is not finite"
        assert torch.bincount(labels, minlength=len(start)).min() > 0, "a cluster is empty"
    # END SOLUTION

test_clusters = check("museum.clusters", my_test_clusters)

# %%
assert museum.catches(test_clusters, kmeans)
museum.trial("museum.clusters", test_clusters)

# %% [markdown]
# ## The whole museum: the tests against all planted bugs
#
# Where an exercise is still open, our test stands in for yours.

# %%
tests = {"museum.partner": test_partner, "museum.gather": test_gather, "museum.frozen": test_frozen,
         "museum.selection": test_selection, "museum.mean": test_mean, "museum.statistics": test_statistics,
         "museum.queue": test_queue, "museum.views": test_views, "museum.target": test_target, "museum.clusters": test_clusters}
museum.matrix(tests)

# %% tags=["nbval-check-output"]
table = museum.caught(tests)
assert all(all(row.values()) for row in table.values()), "every planted bug should be caught, and nothing right rejected"
planted = sum(len(row) - 1 for row in table.values())
yours = list(verdicts("90_bugs_museum").values()).count("correct")
print(f"{len(tests)} tests ({yours} of them yours, the others ours) catch all of {planted} planted bugs and pass everything right")

# %% [markdown]
# ## What the number that everybody watches said, and what gave the bug away

# %%
show.table([row | {"you expected": my_prediction[row["bug"]]} for row in findings], caption="right → with the bug")

# %% [markdown]
# ## The real cases
#
# | exhibit | where | what happened |
# |---|---|---|
# | 1 partners | [solo-learn 206](https://github.com/vturrisi/solo-learn/issues/206), [mmselfsup 159](https://github.com/open-mmlab/mmselfsup/issues/159), [Spijkervet/SimCLR 30](https://github.com/Spijkervet/SimCLR/issues/30) | wrong positives after a gather or another layout |
# | 2 gather | [vissl 123](https://github.com/facebookresearch/vissl/pull/123), [lightly 1977](https://github.com/lightly-ai/lightly/issues/1977), [DeCLUTR 212](https://github.com/JohnGiorgi/DeCLUTR/pull/212), [lightning-bolts 179](https://github.com/Lightning-Universe/lightning-bolts/issues/179) | right loss, wrong gradient; or no gather at all |
# | 3 probe | [SimCLR-CIFAR10 8](https://github.com/p3i0t/SimCLR-CIFAR10/issues/8), [Spijkervet/SimCLR 19](https://github.com/Spijkervet/SimCLR/issues/19) | fine-tuning reported as linear; train mode |
# | 4 selection | [lightly's documentation](https://github.com/lightly-ai/lightly/blob/0243660ba10afc408e3f79541df537d8a2e24eb5/docs/source/getting_started/benchmarks.rst), [Semi-supervised-learning 98](https://github.com/microsoft/Semi-supervised-learning/issues/98) | best epoch on test, said openly |
# | 5 mean | [transformers 35556](https://github.com/huggingface/transformers/issues/35556) | sums over micro-batches |
# | 6 statistics | [lightly 18](https://github.com/lightly-ai/lightly/issues/18), [CMC 39](https://github.com/HobbitLong/CMC/issues/39), [solo-learn 184](https://github.com/vturrisi/solo-learn/issues/184) | no shuffling, or none that works |
# | 7 queue | [lightly 993](https://github.com/lightly-ai/lightly/pull/993), [stable-pretraining 401](https://github.com/galilai-group/stable-pretraining/pull/401), [vissl 440](https://github.com/facebookresearch/vissl/pull/440) | state outside the checkpoint |
# | 8 views | [torchvision 2929](https://github.com/pytorch/vision/issues/2929), [8484](https://github.com/pytorch/vision/issues/8484) | one draw for a batch |
# | 9 target | [SimSiam 26](https://github.com/PatrickHua/SimSiam/issues/26), [lightning-bolts 1059](https://github.com/Lightning-Universe/lightning-bolts/issues/1059) | an average that does not run, or not everywhere |
# | 10 clusters | [deepcluster 43](https://github.com/facebookresearch/deepcluster/issues/43), [12](https://github.com/facebookresearch/deepcluster/issues/12), [87](https://github.com/facebookresearch/deepcluster/issues/87) | empty clusters |
#
# These are good projects: there bugs are found, told and mended in public. The forms planted here are our own, written for this course.
#
# ## Answer
#
# How would you have noticed?

# %%
quiet = [row["bug"] for row in findings if not row["looks worse"]]
# Holds: "How would you have noticed?"
assert len(findings) == len(museum.EXHIBITS) and len(quiet) > len(findings) / 2
print(f"In {len(quiet)} of {len(findings)} exhibits the number that everybody watches looked as good with the bug, or better.")
print(f"It looked worse only for: {', '.join(row['bug'] for row in findings if row['looks worse'])}.")
print("So: not by watching. By a test that asks for what must be true.")
print(f"this notebook: {time.perf_counter() - notebook_started:.0f} s on {profile}")

# %%
lesson("90_bugs_museum")

# %% [markdown]
# ## References
# - K. He, H. Fan, Y. Wu, S. Xie, R. Girshick. *Momentum contrast for unsupervised visual representation learning.* CVPR 2020. arXiv:1911.05722. (shuffled batch normalisation)
# - T. Chen, S. Kornblith, M. Norouzi, G. Hinton. *A simple framework for contrastive learning of visual representations.* ICML 2020. arXiv:2002.05709.
# - J.-B. Grill et al. *Bootstrap your own latent.* NeurIPS 2020. arXiv:2006.07733. (a target without gradient)
# - M. Caron, P. Bojanowski, A. Joulin, M. Douze. *Deep clustering for unsupervised learning of visual features.* ECCV 2018. arXiv:1807.05520. (empty clusters)
# - K. Claessen, J. Hughes. *QuickCheck: a lightweight tool for random testing of Haskell programs.* ICFP 2000. (properties instead of examples)
