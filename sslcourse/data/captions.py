"""Captions as tensors: the words of the toybox, a tokeniser, and sentences drawn at random from what a
picture shows.

A caption travels as numbers of words: `batch["caption"]` is (B, K, L), K captions of L tokens for each
picture, of which a method draws one a step. `toybox.images()` carries them in its training and validation
splits. They are supervision by language, and no label: they name the class, but not always and never alone.
The test split has none, because they would give its labels away.

    TOYBOX.encode(["a small red cube"])              (1, L) tokens
    TOYBOX.decode(data.train.extra["caption"][0])    the captions of picture 0, as text
    with_captions(data, leave_out=("hue",))          the same pictures, described without their colours
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sslcourse.data.datasets import Data, Samples
from sslcourse.data.toybox import world
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import SEED, WHOLE, takes
from sslcourse.runtime.shapes import explained

PAD, START, END = 0, 1, 2  # after the end; before the first word; after the last
_SPECIAL = ("<pad>", "<start>", "<end>")
_WORD = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")

PARTS = ("size", "hue", "shape", "pattern", "place")  # what a caption can leave out
SIZES = ("small", "medium-sized", "large")
HUES = tuple(dict.fromkeys(world.HUE_NAMES))  # the eight everyday words, in the order of the colour wheel
HEIGHTS, SIDES = ("top", "bottom"), ("left", "right")
DRAWS = 8  # captions for each picture
# How often a drawn caption mentions each part: people name the thing nearly always, and its size seldom.
MENTIONED = {"size": 0.5, "hue": 0.75, "shape": 0.9, "pattern": 0.5, "place": 0.5}


@dataclass(frozen=True)
class Vocabulary:
    """The words that a text encoder knows, in the order of their tokens.

    Args:
        words: all words, each once, lower case; the three tokens for padding, start and end come before them.
        length: tokens of an encoded caption, start and end among them; shorter ones are padded.
    """

    words: tuple[str, ...]
    length: int = 16

    def __len__(self) -> int:
        return len(_SPECIAL) + len(self.words)

    def token(self, word: str) -> int:
        """The number of a word; an unknown one is named, with the known ones beside it."""
        if word not in self.words:
            raise CourseError(
                f"the word {word!r} is in no caption of this data; the known words are "
                f"{', '.join(self.words)}"
            )
        return len(_SPECIAL) + self.words.index(word)

    def encode(self, texts: str | Sequence[str]) -> Tensor:
        """Texts as (N, length) tokens: start, the words, end, padding. Capitals and punctuation do not
        matter.

        Raises:
            CourseError: for a word that is not in the vocabulary, and for a text that is empty or too long.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        rows = torch.full((len(texts), self.length), PAD)
        for row, text in zip(rows, texts):
            found = words_of(text)
            if not 1 <= len(found) <= self.length - 2:
                raise CourseError(f"{text!r} has {len(found)} words; a caption has 1 to {self.length - 2}")
            row[: len(found) + 2] = torch.tensor([START, *(self.token(word) for word in found), END])
        return rows

    def decode(self, tokens: Tensor) -> list[str]:
        """(N, L) or (L,) tokens as texts."""
        names = (*_SPECIAL, *self.words)
        return [
            " ".join(names[t] for t in row if t > END)
            for row in torch.atleast_2d(torch.as_tensor(tokens)).tolist()
        ]


def words_of(text: str) -> list[str]:
    """The words of a text in their order, lower case."""
    return _WORD.findall(text.lower())


def vocabulary(texts: Iterable[str], length: int | None = None) -> Vocabulary:
    """The vocabulary of captions of your own: all their words, in alphabetical order."""
    found = [words_of(text) for text in texts]
    words = tuple(sorted({word for words in found for word in words}))
    if not words:
        raise CourseError("there is no word in these texts; give at least one caption")
    return Vocabulary(words, length or max(map(len, found)) + 2)


TOYBOX = Vocabulary(
    (
        "a",
        "an",
        "the",
        "picture",
        "of",
        "thing",
        "in",
        "with",
        "at",
        *SIZES,
        *HUES,
        *world.SHAPES,
        *world.PATTERNS[1:],
        *HEIGHTS,
        *SIDES,
        "centre",
    )
)


def _t(*words: str) -> Tensor:
    """A table of tokens; the empty word is PAD, a gap that is closed in the end."""
    return torch.tensor([TOYBOX.token(word) if word else PAD for word in words])


# The orders in which the parts are said. "at the" and the like belong to their part, and go with it.
_ORDERS = (
    ("a", "size", "hue", "shape", "pattern", "place"),
    ("picture", "a", "size", "hue", "shape", "pattern", "place"),
    ("place", "a", "size", "hue", "shape", "pattern"),
    ("a", "size", "shape", "in hue", "pattern", "place"),
    ("the", "size", "hue", "shape", "pattern", "place"),
)


def _parts(scene: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The words for each part of n scenes: name -> (n, words) tokens."""
    n = len(scene["shape"])
    say = lambda *words: _t(*words).expand(n, -1)
    low, high = world.RANGES["size"]
    share = (scene["size"] - low) / (high - low)
    size = torch.where(share < 1 / 3, 0, torch.where(share > 2 / 3, 2, 1))
    hue = _t(*(HUES[HUES.index(name)] for name in world.HUE_NAMES))[((scene["hue"] * 12 + 0.5) % 12).long()][
        :, None
    ]
    pattern = _t("", *world.PATTERNS[1:])[scene["pattern"].long()][:, None]
    third = lambda x: torch.where(x > 1 / 3, 1, torch.where(x < -1 / 3, 2, 0))
    height, side = third(scene["y"]), third(scene["x"])
    middle = torch.where((height == 0) & (side == 0), TOYBOX.token("centre"), PAD)
    return {
        "a": say("a"),
        "the": say("the"),
        "picture": say("a", "picture", "of"),
        "size": _t(*SIZES)[size][:, None],
        "hue": hue,
        "in hue": torch.cat([say("in"), hue], 1),
        "shape": _t(*world.SHAPES)[scene["shape"].long()][:, None],
        "pattern": torch.cat([torch.where(pattern > PAD, TOYBOX.token("with"), PAD), pattern], 1),
        "place": torch.stack(
            [*say("at", "the").T, _t("", *HEIGHTS)[height], _t("", SIDES[1], SIDES[0])[side], middle], 1
        ),
    }


def _sentences(parts: Mapping[str, Tensor], order: Sequence[str], said: Mapping[str, Tensor]) -> Tensor:
    """(n, L) tokens of sentences in one order, with only those parts that are `said` (n,) of each."""
    n, columns = len(parts["a"]), []
    for name in order:
        part = name.removeprefix("in ")
        words = parts[name]
        if part in said:
            words = torch.where(said[part][:, None], words, PAD)
        if part == "shape":
            words = torch.where(words > PAD, words, TOYBOX.token("thing"))  # a sentence needs its noun
        columns.append(words)
    words = torch.cat(columns, 1)
    keep = torch.argsort((words == PAD).int(), dim=1, stable=True)  # words to the left, gaps to the right
    words = words.gather(1, keep)[:, : TOYBOX.length - 2]
    vowel = torch.isin(words, _t(*(w for w in TOYBOX.words if w in ("orange", "octahedron"))))
    words[:, :-1] = torch.where(
        (words[:, :-1] == TOYBOX.token("a")) & vowel[:, 1:], TOYBOX.token("an"), words[:, :-1]
    )
    count = (words > PAD).sum(1)
    whole = torch.full((n, TOYBOX.length), PAD)
    whole[:, 0] = START
    whole[:, 1 : 1 + words.shape[1]] = words
    whole[torch.arange(n), count + 1] = END
    return whole


@explained
def full(scene: Mapping[str, Tensor], leave_out: Sequence[str] = ()) -> Tensor:
    """(N, L) tokens of the whole caption of each scene: what `toybox.caption` says, for all at once."""
    _check(leave_out)
    nobody = torch.zeros(len(scene["shape"]), dtype=torch.bool)
    return _sentences(_parts(scene), _ORDERS[0], {part: nobody for part in leave_out})


@explained
@takes(seed=SEED, draws=WHOLE)
def draw(
    scene: Mapping[str, Tensor], draws: int = DRAWS, leave_out: Sequence[str] = (), seed: int = 0
) -> Tensor:
    """(N, draws, L) uint8 tokens: several captions of each scene, in several orders of words, each leaving
    other things out.

    Args:
        scene: factors as `toybox.factors` or `Samples.factors` give them.
        draws: captions for each scene, at least 1.
        leave_out: any of "size", "hue", "shape", "pattern", "place", which are then never mentioned.
        seed: of the drawing; the first scenes get the same captions whatever follows them.
    """
    _check(leave_out)
    if draws < 1:
        raise CourseError(f"draws={draws}; draw at least one caption for each picture")
    scene = {k: torch.as_tensor(v).cpu() for k, v in scene.items() if k in (*PARTS, "x", "y")}
    n = len(scene["shape"])
    chance = torch.from_numpy(
        np.random.default_rng([seed, 0xCA9]).random((n, draws, 1 + len(PARTS)), dtype=np.float32)
    ).flatten(0, 1)
    parts = {name: words.repeat_interleave(draws, 0) for name, words in _parts(scene).items()}
    said = {
        part: (chance[:, 1 + i] < MENTIONED[part]) & (part not in leave_out) for i, part in enumerate(PARTS)
    }
    order = (chance[:, 0] * len(_ORDERS)).long()
    result = torch.empty(n * draws, TOYBOX.length, dtype=torch.uint8)
    for k, names in enumerate(_ORDERS):
        rows = (order == k).nonzero().squeeze(1)
        some = {part: flags[rows] for part, flags in said.items()}
        result[rows] = _sentences({name: words[rows] for name, words in parts.items()}, names, some).to(
            torch.uint8
        )
    return result.view(n, draws, TOYBOX.length)


def _check(leave_out: Sequence[str]) -> None:
    if isinstance(leave_out, str):
        raise CourseError(f"leave_out={leave_out!r} is a text; write leave_out=({leave_out!r},)")
    for part in leave_out:
        if part not in PARTS:
            raise CourseError(f"a caption has no part {part!r}; it has {', '.join(PARTS)}")


@takes(seed=SEED, draws=WHOLE)
def with_captions(data: Data, draws: int = DRAWS, leave_out: Sequence[str] = (), seed: int = 0) -> Data:
    """The same pictures with newly drawn captions, in the training and validation splits.

    Raises:
        CourseError: for data whose factors are not known.
    """
    return replace(
        data,
        train=_described(data.train, draws, leave_out, seed),
        validation=_described(data.validation, draws, leave_out, seed),
    )


def _described(samples: Samples, draws: int, leave_out: Sequence[str], seed: int) -> Samples:
    if not {"shape", "hue", "size", "pattern", "x", "y"} <= set(samples.factors):
        raise CourseError(
            f"{samples.name!r} ({samples.split}) has no known factors to describe; captions are made of the "
            "toybox: with_captions(toybox.images()), before unlabelled()"
        )
    new = samples.take(slice(None))
    new.extra = {
        **new.extra,
        "caption": draw(samples.factors, draws, leave_out, seed).to(samples.image.device),
    }
    return new


@explained
def captions_of(batch: Mapping[str, Tensor]) -> Tensor:
    """batch["caption"] as (B, K, L) tokens, or an error that says where captions come from."""
    if "caption" not in batch:
        raise CourseError(
            'this batch has no "caption": CLIP learns from pictures with captions. Train on the toybox, '
            "which has them (sslcourse train clip --data toybox), or bring your own: words = "
            "captions.vocabulary(texts); "
            'Samples(images, extra={"caption": words.encode(texts)}); CLIP(encoder, words)'
        )
    tokens = batch["caption"]
    if tokens.ndim not in (2, 3) or tokens.is_floating_point() or len(tokens) != len(batch["image"]):
        raise CourseError(
            f'batch["caption"] is {tokens.dtype} of shape {tuple(tokens.shape)} for {len(batch["image"])} '
            "images; expected whole numbers (B, L), or (B, K, L) with K captions for each image"
        )
    return tokens if tokens.ndim == 3 else tokens[:, None]


@explained
def random_caption(tokens: Tensor) -> Tensor:
    """One of the K captions of each picture: (B, K, L) to (B, L)."""
    b, k, _ = tokens.shape
    return tokens[torch.arange(b, device=tokens.device), torch.randint(k, (b,), device=tokens.device)].long()
