"""Words and pictures in one space: type a caption and see the nearest pictures, or choose a picture and see
the nearest captions.
"""

from __future__ import annotations

import threading

import torch
import torch.nn.functional as F
import traitlets

from sslcourse.data import captions, toybox
from sslcourse.methods.clip import CLIP
from sslcourse.runtime.errors import CourseError
from sslcourse.train import features
from sslcourse.widgets.views import View, Whole, packed, script, sprite

MOST_PICTURES = 300  # each of them travels to the page
_FILLER = ("a", "an", "the", "picture", "of", "in", "thing")


def short_captions() -> list[str]:
    """Every combination of a size, a colour and a shape, each of which may be missing: what a page without a
    kernel knows.
    """
    texts = []
    for shape in (*toybox.SHAPES, "thing"):
        for hue in ("", *captions.HUES):
            for size in ("", *captions.SIZES):
                text = " ".join(word for word in (size, hue, shape) if word)
                texts.append(f"{'an' if text[0] in 'aeiou' else 'a'} {text}")
    return texts


class Captions(View):
    """A text box over the nearest pictures; below, a picture beside its nearest captions.

    Args: as for `captions`, which makes it. `view.nearest("a red cube")` and `view.said(3)` give both answers
    in Python."""

    _esm = script("captions")

    images = traitlets.Bytes(b"").tag(sync=True)  # (n, dim) int8: the unit vectors times 127
    captions = traitlets.Bytes(b"").tag(sync=True)  # (texts, dim) int8
    pictures = traitlets.Bytes(b"").tag(sync=True)
    about = traitlets.Dict().tag(sync=True)
    wanted = traitlets.Dict().tag(sync=True)  # what was typed: written by the view alone
    # its vector, float32: written by Python alone, before `reply`
    answer = traitlets.Bytes(b"").tag(sync=True)
    reply = traitlets.Dict().tag(sync=True)
    chosen = Whole(0).tag(sync=True)

    def __init__(self, method: CLIP, samples, start: str, title: str):
        self._method, self._lock, self._samples = method, threading.Lock(), samples
        self._texts = short_captions()
        self._images = features.extract(method, samples, encode=method.embed_images)
        self._captions = self._embed(self._texts)
        sheet, cut = sprite(samples.image.cpu())
        small = lambda z: packed((F.normalize(z, dim=1) * 127).round().numpy(), "i1")
        kinds = {"size": list(captions.SIZES), "hue": list(captions.HUES), "shape": list(toybox.SHAPES)}
        super().__init__(
            images=small(self._images),
            captions=small(self._captions),
            pictures=sheet,
            about={
                "texts": self._texts,
                "words": list(method.vocabulary.words),
                "kinds": kinds,
                "filler": list(_FILLER),
                "cut": cut,
                "count": len(samples),
                "dim": self._images.shape[1],
                "start": start,
                "title": title,
            },
        )
        self._start = start
        self.chosen = int(self.nearest(start, 1)[0])
        self.observe(self._asked, names="wanted")

    def _embed(self, texts) -> torch.Tensor:
        tokens = self._method.vocabulary.encode(texts).to(self._method.log_scale.device)
        with features.frozen(self._method):
            return self._method.embed_texts(tokens).float().cpu()

    def nearest(self, text: str, k: int = 10) -> torch.Tensor:
        """Positions of the k pictures nearest to a text. CourseError for words that no caption holds."""
        return (self._images @ self._embed([text])[0]).topk(min(k, len(self._images))).indices

    def said(self, picture: int, k: int = 8) -> list[str]:
        """The k short captions nearest to a picture."""
        return [self._texts[i] for i in (self._captions @ self._images[picture]).topk(k).indices.tolist()]

    def _asked(self, change) -> None:
        wanted = change["new"]
        with self._lock:  # callbacks may come from another thread than the cell
            try:
                z, error = packed(self._embed([wanted["text"]])[0].numpy(), "f4"), ""
            except CourseError as problem:
                z, error = b"", str(problem)
            self.answer = z
            self.reply = {"text": wanted["text"], "turn": wanted["turn"], "error": error}

    def picture(self) -> bytes:
        """The first caption with its nearest pictures, and one picture with its nearest captions."""
        from sslcourse import show
        from sslcourse.show import sheets

        found = self.nearest(self._start, 10)
        sheet = sheets.Sheet(620, 262)
        sheet.text(6, 6, f"“{self._start}”: the nearest pictures", 10.5, ha="left", fontweight="bold")
        image = show.to_uint8(self._samples.image)
        for i, at in enumerate(found.tolist()):
            sheet.paste(show.enlarge(image[at], 56), 6 + i * 61, 28)
        sheet.text(6, 104, "a picture, and the nearest captions", 10.5, ha="left", fontweight="bold")
        sheet.paste(show.enlarge(image[self.chosen], 128), 6, 126)
        for i, text in enumerate(self.said(self.chosen)):
            sheet.text(150, 126 + i * 16, text, 9, ha="left")
        return show.png(sheet.done())

    def __repr__(self):
        return f"<captions: {len(self._texts)} short captions, {len(self._images)} pictures>"


def text_box(method: CLIP, samples, start: str = "a red cube", title: str = "") -> Captions:
    """A text box in which a caption finds pictures, and pictures that find captions.

    Args:
        method: a trained `CLIP` with the toybox's words.
        samples: a data set, of which the first 300 pictures are searched; labels are not read.
        start: the caption with which it opens, of a size, a colour and a shape.
    """
    if not hasattr(method, "embed_texts"):
        raise CourseError(
            f"{type(method).__name__} has no text encoder; pass a trained sslcourse.methods.clip.CLIP"
        )
    if method.vocabulary != captions.TOYBOX:
        raise CourseError(
            "this view speaks the words of the toybox; this method was trained with a vocabulary of its own"
        )
    if start not in short_captions():
        raise CourseError(
            f"start={start!r}; begin with a size, a colour and a shape, such as 'a small red cube'"
        )
    return Captions(method, samples.take(slice(0, MOST_PICTURES)), start, title)
