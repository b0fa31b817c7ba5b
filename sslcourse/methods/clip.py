"""CLIP: a picture and the words that somebody wrote under it are two views of one thing, and words can then
name new classes.

Radford, Kim, Hallacy, Ramesh, Goh, Agarwal, Sastry, Askell, Mishkin, Clark, Krueger and Sutskever. Learning
Transferable Visual Models From Natural Language Supervision. ICML 2021. arXiv:2103.00020.
Notebook: 07_clip

figure 3 of the paper                             here
    I_f = image_encoder(I)                        CLIP.f, h
    T_f = text_encoder(T)                         CLIP.g, a small transformer (TextEncoder)
    I_e = l2_normalize(I_f W_i), T_e likewise     CLIP.embed_images, CLIP.embed_texts
    logits = I_e T_e^T exp(t)                     symmetric_loss
    loss = (loss_i + loss_t) / 2                  symmetric_loss
    a classifier made of prompts (section 3.1)    prompt_weights, zero_shot

The captions are the supervision of this method: they name things, and so its features are not learned without
any human word."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sslcourse.data import captions
from sslcourse.methods.base import Method, at_least_float32, dim_of, floats_of, images_of
from sslcourse.methods.spec import Spec
from sslcourse.runtime.distributed import gather
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import WIDTH, Number, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train import features, ties
from sslcourse.train.recipe import Recipe
from sslcourse.transforms.augment import View, simclr_view

# What the authors report for 400 million pairs (section 2 and appendix F); shown beside our recipes, never
# executed.
PAPER = dict(
    data="400 million pairs",
    encoder="ResNet-50 to ViT-L/14",
    text="transformer, 12 layers, width 512, 8 heads",
    vocabulary=49408,
    optimizer="Adam, decoupled weight decay",
    weight_decay=0.2,
    epochs=32,
    batch_size=32768,
    first_scale="1 / 0.07",
    largest_scale=100,
    augmentation="random square crop",
)

# a laptop CPU, the toybox, the small encoder
COURSE = Recipe(epochs=10, batch_size=128, lr=2.5e-3, weight_decay=0.1)
FULL = COURSE.but(epochs=30)  # for longer, at most five minutes there
# one GPU, the toybox (the only data here with captions), ResNet-18
GPU = Recipe(epochs=60, batch_size=512, lr=1e-3, weight_decay=0.1)

FIRST_SCALE = math.log(1 / 0.07)  # of the parameter t: exp(t) = 14.3
LARGEST_SCALE = math.log(100)


@explained
def symmetric_loss(
    image: Float[Tensor, "n d"], text: Float[Tensor, "n d"], log_scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """The loss of figure 3: every picture picks its caption among n, every caption its picture, and both
    losses are averaged.

    Row i of both is a pair. Rows need not be normalised. With several processes the candidates come from all
    of them.

    Args:
        log_scale: t, the logarithm of what the cosines are multiplied by; 1 / exp(t) is the temperature.
    """
    if image.shape != text.shape or image.ndim != 2:
        raise CourseError(
            f"image is {tuple(image.shape)} and text is {tuple(text.shape)}; both must be (n, d), row for row"
        )
    image, text = gather(image), gather(text)
    image, text = F.normalize(at_least_float32(image), dim=1), F.normalize(at_least_float32(text), dim=1)
    with torch.autocast(image.device.type, enabled=False):
        logits = image @ text.T * log_scale.exp()  # (n, n): pictures down, captions across
    pair = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pair) + F.cross_entropy(logits.T, pair)) / 2


@explained
@torch.no_grad()
def pairs_found(image: Float[Tensor, "n d"], text: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """How often a picture's own caption is the nearest of the batch, 0 to 1. Below 1 where several captions
    are the same: each of k equals is found one time in k.
    """
    with torch.autocast(image.device.type, enabled=False):
        cosine = ties.directions(image) @ ties.directions(text).T
    return ties.found(cosine, torch.arange(len(cosine), device=cosine.device)).mean()


# ------------------------------------------------------------------------------------------- the text encoder


@explained
def at_the_end(hidden: Float[Tensor, "b l d"], tokens: Int[Tensor, "b l"]) -> Float[Tensor, "b d"]:
    """The vector at each caption's end token (section 2.4): the only place that has seen the whole sentence,
    and no padding.
    """
    end = (tokens == captions.END).int().argmax(1)  # the first one
    return hidden[torch.arange(len(hidden), device=hidden.device), end]


class Block(nn.Module):
    """One layer of a transformer: each word looks at those before it, then thinks for itself; normalised
    first, as in GPT-2.
    """

    @takes(width=WIDTH, heads=Number(1, 1024))
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        b, length, width = x.shape
        q, k, v = (
            self.qkv(self.norm1(x)).view(b, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        )  # (B, heads, L, d)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(b, length, width))
        return x + self.mlp(self.norm2(x))


class TextEncoder(nn.Module):
    """Tokens (B, L) to vectors (B, width): the paper's transformer in small.

    The mask is causal, so what stands at the end token does not depend on the padding behind it.
    """

    @takes(
        vocabulary=Number(1, 2**20),
        length=Number(1, 65_536),
        width=WIDTH,
        layers=Number(1, 100),
        heads=Number(1, 1024),
    )
    def __init__(self, vocabulary: int, length: int, width: int = 64, layers: int = 2, heads: int = 4):
        super().__init__()
        if width % heads:
            raise CourseError(f"width={width} cannot be shared by {heads} heads; use a multiple of {heads}")
        self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        # Small: with PyTorch's unit variance the words would drown what the layers add to them.
        nn.init.normal_(self.words.weight, std=0.02)
        nn.init.normal_(self.places.weight, std=0.01)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.dim = width

    def forward(self, tokens: Int[Tensor, "b l"]) -> Float[Tensor, "b d"]:
        x = self.words(tokens) + self.places.weight[: tokens.shape[1]]  # (B, L, D)
        return at_the_end(self.norm(self.blocks(x)), tokens)


# ---------------------------------------------------------------------------------------------- the method

# The paper crops at random and does nothing else. A mirrored picture would turn "left" into a lie.
COURSE_VIEW: dict[str, Any] = dict(area=(0.7, 1.0), strength=0.0, flip=0.0, greyscale=0.0)


class CLIP(Method):
    """CLIP around any image encoder; its batches hold "image" and "caption", see `sslcourse.data.captions`.

    Args:
        encoder: images (B, 3, H, W) in 0..1 to vectors (B, encoder.dim).
        words: the vocabulary of the captions; the toybox's by default.
        dim: width of the space that pictures and captions share.
        width, layers, heads: of the text encoder.
        view: draws one random view of a batch of images; a mild crop by default.
        loss: a function of (image, text, log_scale); put your own here.
    """

    least_batch = 2

    @takes(dim=WIDTH, width=WIDTH, layers=Number(1, 100), heads=Number(1, 1024))
    def __init__(
        self,
        encoder: nn.Module,
        words: captions.Vocabulary = captions.TOYBOX,
        dim: int = 64,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        view: View | None = None,
        loss=symmetric_loss,
    ):
        super().__init__()
        self.f, self.vocabulary = encoder, words
        self.g = TextEncoder(len(words), words.length, width, layers, heads)
        # One linear projection on each side, and no hidden layer: section 2.3.
        self.project_image, self.project_text = (
            nn.Linear(dim_of(encoder), dim, bias=False),
            nn.Linear(width, dim, bias=False),
        )
        self.log_scale = nn.Parameter(torch.tensor(FIRST_SCALE))
        self.view, self.contrast = view or simclr_view(**COURSE_VIEW), loss

    def views(self, batch):
        x = self.view(images_of(batch))
        return {"image": x, "caption": captions.random_caption(captions.captions_of(batch))}

    def loss(self, batch):
        x, tokens = self.views(batch).values()
        image, text = self.project_image(self.f(x)), self.project_text(self.g(tokens))  # (B, dim) each
        loss = self.contrast(image, text, self.log_scale)
        return loss, {"pairs found": pairs_found(image, text), "scale": self.log_scale.exp()}

    def step(self, batch, optimizers):
        metrics = super().step(batch, optimizers)
        # Section 2.5: never more than 100. On the parameter: a clamp in the loss would leave it no gradient
        # to come back by.
        with torch.no_grad():
            self.log_scale.clamp_(max=LARGEST_SCALE)
        return metrics

    def encode(self, batch):
        return self.f(floats_of(batch))  # h, before the projection, as for every method here

    def embed_images(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Pictures in the space that they share with captions: (B, dim), rows of length 1."""
        return F.normalize(self.project_image(self.encode(batch)).float(), dim=1)

    def embed_texts(self, tokens: Int[Tensor, "b l"]) -> Tensor:
        """Captions in the space that they share with pictures: (B, dim), rows of length 1."""
        return F.normalize(self.project_text(self.g(tokens)).float(), dim=1)


class WordPrediction(Method):
    """The rival of figure 2: the same encoder predicts which words the caption holds, in no order; no text
    encoder, no negatives.

    Args: as for `CLIP`.
    """

    def __init__(
        self, encoder: nn.Module, words: captions.Vocabulary = captions.TOYBOX, view: View | None = None
    ):
        super().__init__()
        self.f, self.vocabulary = encoder, words
        self.head = nn.Linear(dim_of(encoder), len(words))
        self.view = view or simclr_view(**COURSE_VIEW)

    def views(self, batch):
        x = self.view(images_of(batch))
        return {"image": x, "caption": captions.random_caption(captions.captions_of(batch))}

    def loss(self, batch):
        x, tokens = self.views(batch).values()
        there = word_counts(tokens, len(self.vocabulary)).clamp(max=1)  # (B, words): 0 or 1
        logits = self.head(self.f(x)).float()
        return F.binary_cross_entropy_with_logits(logits, there) * len(self.vocabulary), {}

    def encode(self, batch):
        return self.f(floats_of(batch))

    def word_scores(self, batch: Mapping[str, Tensor]) -> Tensor:
        """log p of each word of the vocabulary for each picture: (B, words)."""
        return F.logsigmoid(self.head(self.encode(batch)).float())


@explained
def word_counts(tokens: Int[Tensor, "b l"], words: int) -> Float[Tensor, "b w"]:
    """How often each word stands in each caption; the three tokens that are no words count 0."""
    counts = torch.zeros(len(tokens), words, device=tokens.device).scatter_add_(
        1, tokens, torch.ones_like(tokens, dtype=torch.float32)
    )
    counts[:, : captions.END + 1] = 0
    return counts


# --------------------------------------------------------------------------------------- classes out of words


def prompts_of(names: Sequence[str], templates: Sequence[str] = ("a {}",)) -> list[list[str]]:
    """Each class name put into each template, with "an" before a vowel: what `prompt_weights` wants.

    Args:
        templates: texts with {} for the name, at least one.
    """
    if isinstance(templates, str) or not templates or any("{}" not in t for t in templates):
        raise CourseError(
            f'templates={templates!r}; give texts with {{}} where the name goes, such as ("a {{}}", "a '
            f'picture of a {{}}")'
        )
    fits = lambda text: " ".join(
        "an" if w == "a" and after[:1] in "aeiou" and after else w
        for w, after in zip(text.split(), [*text.split()[1:], ""])
    )
    return [[fits(t.format(name)) for t in templates] for name in names]


@torch.no_grad()
def prompt_weights(method: CLIP, prompts: Sequence[str | Sequence[str]]) -> Float[Tensor, "c d"]:
    """A linear classifier made of words: one row of length 1 for each class (section 3.1.4).

    The prompts of a class are embedded, scaled to length 1, averaged, and scaled to length 1 again.

    Args:
        prompts: for each class one text or several.
    """
    if not len(prompts) or isinstance(prompts, str):
        raise CourseError(
            f'prompts={prompts!r}; give one text for each class, or a list of texts: ["a cube", "a sphere"]'
        )
    texts = [[p] if isinstance(p, str) else list(p) for p in prompts]
    if not all(texts):
        raise CourseError(
            f"class {[len(t) for t in texts].index(0)} has no prompt; give each class at least one text"
        )
    device = method.log_scale.device
    with features.frozen(method):
        z = method.embed_texts(method.vocabulary.encode([t for ts in texts for t in ts]).to(device))
    means = torch.stack([part.mean(0) for part in z.split([len(t) for t in texts])])
    return F.normalize(means, dim=1).cpu()


@explained
def classify(image: Float[Tensor, "n d"], prompts: Float[Tensor, "c k d"]) -> Int[Tensor, " n"]:
    """The class of each picture from k prompts for each of c classes; vectors of any length, in one space. Of
    classes that fit equally well the first.
    """
    weights = F.normalize(F.normalize(prompts, dim=2).mean(1), dim=1)  # (c, d)
    return ties.first_best(F.normalize(image, dim=1) @ weights.T)


def zero_shot(method: CLIP, samples, prompts: Sequence[str | Sequence[str]]) -> Int[Tensor, " n"]:
    """Sort pictures into classes that are named only now: the number of the class for each sample, of classes
    that fit equally well the first. No label is read.

    Args:
        samples: any split.
        prompts: for each class one text or several, see `prompts_of`.
    """
    return ties.first_best(fits(method, samples, prompts))


def zero_shot_words(
    method: WordPrediction, samples, prompts: Sequence[str | Sequence[str]]
) -> Int[Tensor, " n"]:
    """The same from predicted words: the class whose words are likeliest, see `fits`."""
    return ties.first_best(fits(method, samples, prompts))


def fits(
    method: CLIP | WordPrediction, samples, prompts: Sequence[str | Sequence[str]]
) -> Float[Tensor, "n c"]:
    """How well each sample fits the words of each class: the cosine of CLIP's embeddings, or the mean of
    log p over the words of all prompts. What `zero_shot` takes the best of; `train.ties.found` of it and the
    true classes is the accuracy, in which classes that fit equally well count by chance.
    """
    if isinstance(method, CLIP):
        weights = prompt_weights(method, prompts)
        return features.extract(method, samples, encode=method.embed_images) @ weights.T
    texts = [[p] if isinstance(p, str) else list(p) for p in prompts]
    counts = torch.stack(
        [word_counts(method.vocabulary.encode(t), len(method.vocabulary)).sum(0) for t in texts]
    )  # (c, words)
    scores = features.extract(method, samples, encode=method.word_scores)
    return scores @ (counts / counts.sum(1, keepdim=True)).T


def settings_for(recipe: str, toy: bool, classes: int) -> dict:
    """What this method is under each recipe; plain values, for files. Its words are
    those of the toybox.
    """
    sizes = (
        dict(dim=64, width=64, layers=2, heads=4)
        if recipe != "gpu"
        else dict(dim=128, width=128, layers=4, heads=4)
    )
    return {**sizes, "view": dict(COURSE_VIEW)}


def from_settings(encoder: nn.Module, settings: dict) -> CLIP:
    """The method that `settings` describe."""
    return CLIP(encoder, **{**settings, "view": simclr_view(**settings["view"])})


SPEC = Spec(
    name="clip",
    lesson="07_clip",
    title="CLIP (captions)",  # its captions name the shapes: it is told more than the other methods
    course=COURSE,
    full=FULL,
    gpu=GPU,
    settings=settings_for,
    build=from_settings,
)
