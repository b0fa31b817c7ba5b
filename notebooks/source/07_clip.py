# %% [markdown]
# # CLIP: words are views too
#
# **The question of this notebook.** If pictures are matched with *sentences* and not with other views of themselves, what can the network do
# that it could not do before? And what happens to the things that nobody mentions?
#
# A. Radford and colleagues. *Learning Transferable Visual Models From Natural Language Supervision.* ICML 2021.
#
# **You will be able to**
# - write the symmetric loss between pictures and captions, and train with it;
# - build a classifier out of words, and recognise classes that no training showed;
# - say how the words of a caption decide what the picture's representation keeps.
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
from sslcourse import compare, encoders, evaluate, features, show, widgets
from sslcourse.check import check, hint, lesson, solution
from sslcourse.data import captions, toybox
from sslcourse.methods import clip
from sslcourse.train import epochs, fit

profile = sslcourse.setup(seed=0)
data = toybox.images()
pictures, words = data.train.image, captions.TOYBOX

# %% [markdown]
# ## 1. A picture that makes the question visible
#
# Each picture of the toybox comes with several captions, by somebody who mentions this and leaves out that. Which words would you need to
# find the picture again? A caption is a view of a scene, as a crop is; but it is one that *somebody chose to write*.

# %%
said = [words.decode(data.train.extra["caption"][i])[0] for i in range(8)]
show.grid(pictures[:8], said, columns=4, scale=4)

# %% [markdown]
# The words are supervision: they name the shape, which is the class of our probes. That is why CLIP's row of the results wall will say
# "captions". They are not labels, though: many captions leave the shape out, and all of them speak of other things too.

# %% tags=["nbval-check-output"]
show.table([{"caption": t} for t in words.decode(data.train.extra["caption"][3])], caption="all captions of one picture")

# %% [markdown]
# ## 2. Predict
#
# We shall leave words out of all captions. Without **colour words**: how well can the colour still be read from the features, compared with a
# training that hears them: "as well", "worse", or "not at all"? And of a pair such as "pink torus" that no training picture showed: will the
# network find it from its name, "never", "sometimes" or "as often as the others"?

# %%
my_prediction = {"colour without colour words": None, "pairs never seen": None}

# %% [markdown]
# ## 3. The idea in mathematics, with the names of the code
#
# Two encoders, `f` for pictures and `g` for words, and one linear projection each into a common space. For $n$ pairs,
#
# $$I_i = \frac{W_i f(x_i)}{\|W_i f(x_i)\|}, \qquad T_j = \frac{W_t\, g(t_j)}{\|W_t\, g(t_j)\|}, \qquad s_{ij} = e^{a} \; I_i \cdot T_j$$
#
# and both ask for their partner: picture $i$ among all captions, caption $i$ among all pictures (figure 3 of the paper):
#
# $$L = \frac{1}{2n} \sum_i \left[ -\log \frac{e^{s_{ii}}}{\sum_j e^{s_{ij}}} \;-\; \log \frac{e^{s_{ii}}}{\sum_j e^{s_{ji}}} \right]$$
#
# The scale $e^{a}$ is the inverse of a temperature, and it is *learned*: `log_scale` is $a$.

# %% [markdown]
# In a picture, with the names of the code. Blue boxes learn by the gradient; a dashed border or a dashed arrow means that no gradient passes.

# %%
show.diagram("clip")

# %% [markdown]
# ## 4. Exercise: write the loss (core, about 10 minutes)
#
# Replace the line that raises. `check` tells you *which* mistake it found; `hint("clip.symmetric_loss", 1)` helps.

# %% tags=["nbval-check-output"]
def my_symmetric_loss(image, text, log_scale):
    """image, text: (n, d), row i of both is a pair; log_scale: one number, a tensor. Returns one number."""
    # SOLUTION: clip.symmetric_loss

loss = check("clip.symmetric_loss", my_symmetric_loss)

# %% [markdown]
# ## 5. The library's method, and your loss in it
#
# The text encoder is a small transformer that is read at the end of the sentence. The method itself is short:

# %%
show.source(clip.CLIP.views, clip.CLIP.loss, clip.CLIP.step)

# %% tags=["nbval-check-output"]
def new_method(**arguments):
    torch.manual_seed(0)
    return clip.CLIP(encoders.small_cnn(), **arguments)

untrained = evaluate.random_like(new_method(), pictures)
recipe = clip.COURSE.but(epochs=7)
ours = {"data": "toybox", "encoder": "five convolutions", "text": "transformer, 2 layers", "vocabulary": len(words), "epochs": recipe.epochs,
        "batch_size": recipe.batch_size, "weight_decay": recipe.weight_decay, "augmentation": "mild crop"}
show.table([{"": "paper", **{k: clip.PAPER[k] for k in ours}}, {"": "here", **ours}], caption="every departure, in the open")

# %% [markdown]
# Pictures are never mirrored here. Why not? A mirror would put the cone "at the left" on the right, and its caption would be wrong.
#
# Now train. Watch the score that needs no label at all, **zero-shot**: the shapes are named by ten prompts, and each picture takes the nearest.

# %%
prompts = clip.prompts_of(data.classes)                  # "a sphere", "a cube", ...
held, label = data.validation, data.validation.label
share = lambda right: float(right.float().mean())

method, scales = new_method(loss=loss), [1 / 0.07]
shown, xy = held.take(slice(0, 500)), None
with widgets.Panel(recipe.epochs, classes=data.classes, title="CLIP, captions and no labels", samples=shown.take(slice(0, 12))) as panel:
    for row in epochs(method, data.train.unlabelled(), recipe):
        row |= {"zero-shot": share(clip.zero_shot(method, held, prompts) == label)}
        row |= evaluate.probe(method, data, linear=False, limit=500)
        xy = evaluate.living_map(features.extract(method, shown), xy)
        panel.add(row, xy=xy, labels=shown.label, filters=encoders.first_filters(method.f), predicted=evaluate.guesses(method, data))
        scales.append(row["scale"])

# %%
panel.replay

# %% [markdown]
# The scale that was learned: how sure of itself the network dares to be. It begins where the paper's begins.

# %%
show.curve(range(len(scales)), {"exp(log_scale)": scales}, xlabel="epoch", ylabel="scale", title="the learned scale")

# %% [markdown]
# ## 6. Who finds whom
#
# One pair of each class (a: pictures, b: captions): cosines on the left, on the right their softmax at the learned temperature. Here all pairs are
# compared, pictures with pictures and captions with captions too; CLIP's loss looks only at the two blocks off the diagonal, pictures against captions.

# %%
first = [int((label == c).nonzero()[0]) for c in range(len(data.classes))]
some = held.take(first)
with torch.no_grad():
    image_z = method.embed_images({"image": some.image})
    text_z = method.embed_texts(captions.full(some.factors))
show.similarity(image_z, text_z, round(1 / scales[-1], 3), data.classes)

# %% [markdown]
# In the space that they share, do pictures and captions lie among each other? Both on one map. To the right is the direction from the centre of the
# captions to that of the pictures; upwards is the main direction of what is left.

# %%
z = features.extract(method, shown, encode=method.embed_images)
with torch.no_grad():
    t = method.embed_texts(captions.full(shown.factors))
towards, points = F.normalize(z.mean(0) - t.mean(0), dim=0), torch.cat([z, t])
along = points @ towards
along = along - (along[: len(z)].mean() + along[len(z) :].mean()) / 2                       # 0 is half way between the centres
rest = widgets.map2d(points - (points @ towards)[:, None] * towards)[:, 0]
both = torch.stack([along / along.abs().max(), torch.as_tensor(rest)], 1)
kind = torch.arange(2).repeat_interleave(len(z))
show.embedding(both, kind, ("pictures", "captions"), title="one space, two modalities")

# %%
gap = float((z.mean(0) - t.mean(0)).norm())
sides = share(torch.cat([along[: len(z)] > 0, along[len(z) :] < 0]))
# Holds: "The two clouds overlap, and their centres lie apart", "most pictures on its own side"
assert gap > 0.15 and sides > 0.6
print(f"{sides:.0%} of the points lie on their own side of the plane between the centres")
print(f"distance of the two centres: {gap:.2f}; a picture and its own caption: {float((z - t).norm(dim=1).mean()):.2f} on average")

# %% [markdown]
# The two clouds overlap, and their centres lie apart: a plane between the centres has most pictures on its own side, and most captions on the other.
# This is the *modality gap*. The loss only asks that a caption be nearer to its picture than to the others, not that it be near.
#
# ## 7. Type
#
# Type a caption: a size, a colour, a shape. Then choose a picture and see which captions lie nearest. Try a word that the toybox does not know.

# %%
widgets.text_box(method, held, "a red cube")

# %% [markdown]
# ## 8. Exercise: a classifier made of words (more, about 10 minutes)
#
# The rows of a linear classifier are one vector for each class. Here they come from prompts, several for each class: each prompt's vector is
# scaled to length 1, a class's are averaged, and the mean is scaled to length 1 again. A picture's class is the one with the largest cosine.

# %% tags=["nbval-check-output"]
def my_classify(image, prompts):
    """image: (n, d), prompts: (c, k, d), k prompts for each of c classes. Returns the class of each picture, (n,)."""
    # SOLUTION: clip.classify

classify = check("clip.classify", my_classify)

# %% [markdown]
# One prompt against several:

# %%
templates = ("a {}", "the {}", "a picture of a {}", "at the centre a {}", "a {} at the left", "a {} at the right", "a {} with stripes")
picture_z = features.extract(method, held, encode=method.embed_images)
found = {}
for name, some_templates in (("one prompt", templates[:1]), ("several prompts", templates)):
    texts = clip.prompts_of(data.classes, some_templates)
    with torch.no_grad():
        z_text = torch.stack([method.embed_texts(words.encode(group)) for group in texts])     # (c, k, d)
    found[name] = share(classify(picture_z, z_text) == label)
# Holds: "Several prompts change little here"
assert abs(found["several prompts"] - found["one prompt"]) < 0.06
show.bars(found, title="zero-shot accuracy, validation split", chance=0.1)

# %% [markdown]
# Several prompts change little here: our captions are made by a few rules, and one wording says all.
#
# How many labels is a name worth? A linear probe on the same features, from one to sixty-four labelled pictures of each class, against the name
# alone, which needs none.

# %%
h_train, h = features.extract(method, data.train), features.extract(method, held)
shots, curve = (1, 2, 4, 8, 16, 64), []
order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
for k in shots:
    index = torch.cat([order[data.train.label[order] == c][:k] for c in range(len(data.classes))])
    probe = evaluate.linear_probe(h_train[index], data.train.label[index], classes=len(data.classes), penalties=(1e-2,))
    curve.append(share(probe.predict(h) == label))
show.curve(shots, {"linear probe": curve, "zero-shot": [found["one prompt"]] * len(shots)}, xlabel="labelled pictures of each class",
           ylabel="validation accuracy", log=True, title="what a name is worth")

# %%
# Holds: "A name is worth more than one labelled picture of each class"
assert found["one prompt"] > 0.3, "the names of the shapes should find them"
assert found["one prompt"] > curve[0], "a name should be worth more than one labelled picture"
overtaken = next((k for k, value in zip(shots, curve) if value > found["one prompt"]), None)
print(f"the linear probe overtakes the name with {overtaken or 'more than 64'} labelled pictures of each class")

# %% [markdown]
# A name is worth more than one labelled picture of each class; the printed line says where labels overtake it in this run. Over five seeds a name beats
# four pictures of each class clearly, and about sixteen are worth as much (section 11).

# %% [markdown]
# ## 9. Break it: what the captions leave out
#
# Four short trainings on the same pictures. Only the captions differ: everything is mentioned; colours never; shapes never; **only** colours.
# The last one is a shortcut that we build ourselves: eight words tell all captions apart, and many pairs of a batch have the very same one.

# %%
short, part = recipe.but(epochs=5, batch_size=64), data.train.take(slice(0, 1500))
quiet = {"everything": (), "no colours": ("hue",), "no shapes": ("shape",), "only colours": ("size", "shape", "pattern", "place")}
trained, rows = {}, []
for name, leave_out in quiet.items():
    described = captions.with_captions(data, leave_out=leave_out).train.take(slice(0, len(part))).unlabelled()
    trained[name] = new_method()
    last = fit(trained[name], described, short)[-1]
    rows.append({"captions say": name, "loss": last["loss"], "pairs found": last["pairs found"], **evaluate.probe(trained[name], data)})
show.table(rows, caption=f"after {short.epochs} epochs on {len(part):,} pictures; kNN and linear probe of the shape")

# %%
factors = evaluate.factor_table({"untrained": untrained, **trained}, data)
show.factor_table(factors, title="what can be read, by what the captions said (validation split)")

# %% [markdown]
# Nothing about the pictures changed, nor the loss, nor the network. *Words decide what is kept*: as augmentations do in SimCLR, but from the
# other side. There a view says what does not matter; here a caption says what does. And the shape? *Without* colour words its linear probe is far better: a
# network that hears of colours can find many pairs by colour, and has less need of shapes.

# %%
kept = {name: factors[name]["hue"] for name in ("everything", "no colours")}
by_name = {row["captions say"]: row for row in rows}
# Holds: "*Without* colour words its linear probe is far better"
assert by_name["no colours"]["linear"] > by_name["everything"]["linear"] + 0.05
# Holds: "*Words decide what is kept*", "less of the hue can be read when no caption speaks of colours"
assert kept["no colours"] < kept["everything"] - 0.03, "features should know less of what nobody mentions"
assert by_name["only colours"]["linear"] < by_name["everything"]["linear"], "and a shortcut should cost the shape"
print(f"hue that can be read: {kept['everything']:.2f} with colour words, {kept['no colours']:.2f} without")

# %% [markdown]
# ## 10. Classes that exist only in words
#
# Now the test that no SimCLR can take. Two of the eight colours of every shape are taken out of the training: no picture and no caption joins
# them. Then all eighty pairs become classes, named "a pink torus" and so on. Beside CLIP stands its rival of the paper's figure 2, the same
# encoder that *predicts the words* of the caption, without negatives.

# %%
from sslcourse.results.claims.clip import held_out

factor = data.train.factors
seen_only = data.train.take(~held_out(factor["hue"], factor["shape"])).unlabelled()
new = held_out(held.factors["hue"], held.factors["shape"])
colour = torch.tensor([captions.HUES.index(toybox.caption(held.factors, i, ("size", "shape", "pattern", "place")).split()[1]) for i in range(len(held))])
pairs = clip.prompts_of([f"{hue} {shape}" for shape in toybox.SHAPES for hue in captions.HUES])
pair = label * len(captions.HUES) + colour
torch.manual_seed(0)
rivals = {"CLIP": (new_method(), clip.zero_shot), "predicting the words": (clip.WordPrediction(encoders.small_cnn()), clip.zero_shot_words)}
result = {}
for name, (rival, sort) in rivals.items():
    fit(rival, seen_only, recipe.but(epochs=5))
    right = sort(rival, held, pairs) == pair
    result |= {f"{name}: pairs seen": share(right[~new]), f"{name}: pairs never seen": share(right[new])}
show.bars(result, title="one of eighty pairs, by its name alone (validation split)", chance=1 / len(pairs))

# %%
# Holds: "New pairs are found about as often as seen ones", "The rival, which predicts words, finds seen pairs and hardly any new one"
assert result["CLIP: pairs never seen"] > 0.5 * result["CLIP: pairs seen"]
assert result["predicting the words: pairs never seen"] < 0.3 * min(result["CLIP: pairs never seen"], result["predicting the words: pairs seen"])
assert result["CLIP: pairs never seen"] > 5 / len(pairs), "CLIP should know new pairs from their names"
measured = {"colour without colour words": f"{kept['no colours']:.2f} against {kept['everything']:.2f}",
            "pairs never seen": f"{result['CLIP: pairs never seen']:.0%}, seen ones {result['CLIP: pairs seen']:.0%}"}
show.table([{"": "you expected", **my_prediction}, {"": "measured", **measured}])

# %% [markdown]
# This is the best result of the lesson. New pairs are found about as often as seen ones: CLIP puts a colour and a shape together that it never saw
# together. The rival, which predicts words, finds seen pairs and hardly any new one. It has learned which words come together, and "pink" with "torus"
# never did.
#
# ## 11. The paper's claims
#
# `sslcourse claims clip --seeds 5` trains four networks a seed and returns a verdict for each claim. The table has the paper's numbers and five seeds of ours.

# %% tags=["nbval-check-output"]
# Measured beforehand over five seeds, and stored with the course.
from sslcourse.results import papers, wall as stored
five = {row["claim"]: row for row in stored.verdicts(compare.MEASURED) if row["paper"] == "clip"}
papers.findings("clip", compare.MEASURED)

# %%
# Holds: "New pairs are recognised over all five seeds", "Over five seeds a name beats four pictures of each class", "about sixteen are worth as much"
assert min(five["new_classes"]["effects"]) > 0.1 and five["four_shots"]["low"] > 0.05 and abs(five["sixteen_shots"]["mean"]) < 0.06
# Holds: "a name beats four labelled pictures of each class", "predicting words is the faster way here"
assert five["contrastive_faster"]["high"] < -0.02

# %% [markdown]
# New pairs are recognised over all five seeds, and a name beats four labelled pictures of each class. Against the paper, predicting words is the faster
# way here, where a caption has a few words out of forty-one: in half of the epochs CLIP does not catch up with it.
#
# ## Minutes later: the same network, trained for longer
#
# The course brings CLIP after its `FULL` recipe; the page says how it was made.

# %%
from sslcourse import networks
longer = networks.load("clip")
print(longer)
frames = longer.replay.frames()             # longer.replay shows them on a slider
show.embedding({"before any training": frames[0]["xy"], "after all of it": frames[-1]["xy"]}, frames[0]["labels"], data.classes)

# %%
named = clip.zero_shot(longer.method, held, clip.prompts_of(data.classes))
minutes = {"this lesson, by name": found["one prompt"], "longer, by name": share(named == label),
           "longer, linear probe": evaluate.probe(longer.method, data)["linear"]}
# Holds: "The names alone find far more pictures", "nearly as many as a probe with six thousand labels"
assert minutes["longer, by name"] > minutes["this lesson, by name"] + 0.1
assert minutes["longer, by name"] > minutes["longer, linear probe"] - 0.1
show.bars(minutes, title="shapes found, validation split", chance=0.1)

# %%
prompts_of_hues = clip.prompts_of(captions.HUES, ("a {} sphere", "a {} cube", "a {} cone", "a {} torus"))
print(f"hues found by their names: this lesson {share(clip.zero_shot(method, held, prompts_of_hues) == colour):.0%}, "
      f"trained for longer {share(clip.zero_shot(longer.method, held, prompts_of_hues) == colour):.0%}")
z = F.normalize(features.extract(longer.method, held)[:500], dim=1)
nearest = (z @ z.T).fill_diagonal_(-1).argmax(1)
print(f"the nearest picture has the same shape: {share(label[nearest] == label[:500]):.0%}; the same hue: {share(colour[nearest] == colour[:500]):.0%}")
# Holds: "both divide it"
assert min(share(label[nearest] == label[:500]), share(colour[nearest] == colour[:500])) > 0.4

# %% [markdown]
# The names alone find far more pictures than earlier in this lesson, nearly as many as a probe with six thousand labels. The map falls into many small groups: a
# caption speaks of shape and hue, and both divide it.
#
# ## 12. What changed since
#
# - The softmax over a huge batch turned out to be replaceable by one yes-or-no question for each pair (SigLIP).
# - Image towers trained so are the eyes of most models that talk about pictures.
# - Sound can take the place of words: see the chapters on audio and video.
#
# ## Answer
#
# What can it do that it could not do before? It names pictures without a classifier, from words alone, and it knows pairs of words that no training
# joined. What happens to the things that nobody mentions? They fade: less of the hue can be read when no caption speaks of colours, though not all of
# it is lost. The test split is opened once, for the final number. The row says *captions*, because words helped.

# %%
final = evaluate.report({"CLIP (captions)": method}, data)
final

# %%
show.bars(compare.wall({"CLIP (captions)": final["CLIP (captions)"]["linear"]}), title="linear probe, test split", chance=0.1)

# %%
print(f"From captions: {final['CLIP (captions)']['linear']:.1%} by a linear probe, against {final['random encoder']['linear']:.1%} for the random "
      f"encoder; {found['one prompt']:.1%} of the validation pictures are named by words alone, and {result['CLIP: pairs never seen']:.1%} of the "
      f"pairs that no training showed (chance {1 / len(pairs):.1%}).")
lesson("07_clip")
print(f"this notebook: {time.perf_counter() - notebook_started:.0f} s on {profile}")

# %% [markdown]
# ## Quiz
#
# Five questions on what you have seen. Click an answer, and you are told why it is right, or which mistake it is.

# %%
from sslcourse.check import quiz
# BEGIN SOLUTION: quiz("07_clip")
quiz("07_clip", answers="a b b c a")
# END SOLUTION

# %% [markdown]
# ## References
# - A. Radford, J. W. Kim, C. Hallacy, A. Ramesh, G. Goh, S. Agarwal, G. Sastry, A. Askell, P. Mishkin, J. Clark, G. Krueger, I. Sutskever. *Learning transferable visual models from natural language supervision.* ICML 2021. arXiv:2103.00020.
# - X. Zhai, B. Mustafa, A. Kolesnikov, L. Beyer. *Sigmoid loss for language image pre-training.* ICCV 2023. arXiv:2303.15343.
# - W. Liang, Y. Zhang, Y. Kwon, S. Yeung, J. Zou. *Mind the gap: understanding the modality gap in multi-modal contrastive representation learning.* NeurIPS 2022. arXiv:2203.02053.
