"""A drawn diagram of each method: what goes in, which networks it passes, what the loss compares.

    show.diagram("simclr")

Names are those of the code (`method.f`, `method.g`), shapes those of the course's recipe, with B for the
batch; a test runs each method and compares. Ink is the text's own colour, so that a diagram reads on a light
page and on a dark one.

A diagram is a list of boxes on a grid (column, row) and of arrows between them. Blue boxes learn by the
gradient; those with a dashed border do not (a copy, a moving average, a clustering); what has no border is
data; orange is the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from sslcourse.runtime.errors import CourseError

_TOP, _ROW, _BOX, _PAD, _GAP = 34, 74, 44, 12, 30  # heights and widths in pixels
_BIG, _SMALL = 13, 11  # text sizes
_FILL = {
    "data": "fill='none' stroke='none'",
    "net": "fill='#4C8BF5' fill-opacity='.22' stroke='#4C8BF5'",
    "still": "fill='currentColor' fill-opacity='.06' stroke='currentColor' stroke-dasharray='5 4'",
    "loss": "fill='#E8871E' fill-opacity='.25' stroke='#E8871E'",
}


@dataclass(frozen=True)
class Box:
    """A box: its text, a second line below it, its place, its kind ("data", "net", "still", "loss") and the
    part of the method that it draws ("" where it is none)."""

    text: str
    below: str
    column: float
    row: float
    kind: str
    module: str = ""


@dataclass(frozen=True)
class Arrow:
    """From a box to a box: what travels along it (a shape such as "(B, 128)", or words), and whether no
    gradient comes back."""

    start: str
    end: str
    label: str = ""
    stopped: bool = False


@dataclass(frozen=True)
class Diagram:
    """Shows itself as SVG; `svg()` is its text, `save(path)` writes it."""

    name: str
    title: str
    boxes: dict[str, Box]
    arrows: tuple[Arrow, ...]

    def svg(self) -> str:
        """The picture, as SVG text with a description for those who cannot see it."""
        columns = sorted({b.column for b in self.boxes.values()})
        wide = {c: max(self._width(b) for b in self.boxes.values() if b.column == c) for c in columns}
        left, at = {}, 8.0
        for i, column in enumerate(columns):
            left[column] = at
            at += wide[column] + (self._between(columns, i) if i + 1 < len(columns) else 8)
        middle = {
            name: (left[b.column] + wide[b.column] / 2, _TOP + _ROW * b.row + _BOX / 2)
            for name, b in self.boxes.items()
        }
        height = _TOP + max(b.row for b in self.boxes.values()) * _ROW + _BOX + 12
        parts = [self._arrow(a, middle) for a in self.arrows] + [self._box(n, middle[n]) for n in self.boxes]
        told = "; ".join(f"{self.boxes[a.start].text} to {self.boxes[a.end].text}" for a in self.arrows)
        mark = f"tip-{self.name}"
        head = (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {at:.0f} {height:.0f}' role='img' "
            f"style='max-width:{at:.0f}px;width:100%;color:inherit' font-family='system-ui, sans-serif'>"
            f"<title>{escape(self.title)}</title><desc>{escape(told)}</desc>"
            f"<defs><marker id='{mark}' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' "
            "orient='auto-start-reverse'><path d='M0 0L8 4L0 8z' fill='currentColor'/></marker></defs>"
            f"<text x='8' y='16' font-size='{_BIG}' font-weight='600' fill='currentColor'>"
            f"{escape(self.title)}</text>"
        )
        return head + "".join(parts) + "</svg>"

    def save(self, path: str | Path) -> Path:
        """Write the picture to a file that ends in .svg; its ink is then dark grey."""
        path = Path(path)
        if path.suffix.lower() != ".svg":
            raise CourseError(f"{str(path)!r}: a diagram is written as .svg, for example {path.stem}.svg")
        path.write_text(self.svg().replace("color:inherit", "color:#24292f"), encoding="utf-8", newline="\n")
        return path

    def _repr_html_(self) -> str:
        return self.svg()

    def __repr__(self):
        lines = [f"{self.title}"]
        for a in self.arrows:
            label = f"  {a.label}" if a.label else ""
            stop = "  (no gradient)" if a.stopped else ""
            lines.append(f"  {self.boxes[a.start].text} -> {self.boxes[a.end].text}{label}{stop}")
        return "\n".join(lines)

    def _width(self, box: Box) -> float:
        return max(len(box.text) * _BIG * 0.58, len(box.below) * _SMALL * 0.6) + 2 * _PAD

    def _between(self, columns: Sequence[float], i: int) -> float:
        """Room between a column and the next: for the longest label that has to stand there."""
        crossing = [
            len(a.label)
            for a in self.arrows
            if {self.boxes[a.start].column, self.boxes[a.end].column} == {columns[i], columns[i + 1]}
        ]
        return max([_GAP, *(n * _SMALL * 0.58 + 26 for n in crossing)])

    def _box(self, name: str, place: tuple[float, float]) -> str:
        box, (x, y) = self.boxes[name], place
        width = self._width(box)
        shape = (
            f"<rect x='{x - width / 2:.1f}' y='{y - _BOX / 2:.1f}' width='{width:.1f}' height='{_BOX}' "
            f"rx='7' {_FILL[box.kind]}/>"
        )
        up = 4 if box.below else -4
        text = (
            f"<text x='{x:.1f}' y='{y - up + 1:.1f}' text-anchor='middle' font-size='{_BIG}' "
            f"fill='currentColor'>{escape(box.text)}</text>"
        )
        below = (
            f"<text x='{x:.1f}' y='{y + 14:.1f}' text-anchor='middle' font-size='{_SMALL}' "
            f"fill='currentColor' fill-opacity='.75'>{escape(box.below)}</text>"
            if box.below
            else ""
        )
        return shape + text + below

    def _arrow(self, arrow: Arrow, middle: dict[str, tuple[float, float]]) -> str:
        (x0, y0), (x1, y1) = middle[arrow.start], middle[arrow.end]
        start, end = self.boxes[arrow.start], self.boxes[arrow.end]
        if start.column == end.column:  # up or down
            down = 1 if y1 > y0 else -1
            y0, y1 = y0 + down * _BOX / 2, y1 - down * (_BOX / 2 + 2)
            label = (x0 + 6, (y0 + y1) / 2 + 4, "start")
        else:
            way = 1 if x1 > x0 else -1
            x0, x1 = x0 + way * self._width(start) / 2, x1 - way * (self._width(end) / 2 + 2)
            label = ((x0 + x1) / 2, y0 - 5, "middle")
            if y0 != y1:  # slanted: beside its beginning, on the side from which the line goes away
                label = (x0 + way * 4, y0 + (-6 if y1 > y0 else 15), "start" if way > 0 else "end")
        dash = " stroke-dasharray='5 4'" if arrow.stopped else ""
        line = (
            f"<line x1='{x0:.1f}' y1='{y0:.1f}' x2='{x1:.1f}' y2='{y1:.1f}' stroke='currentColor' "
            f"stroke-opacity='.7'{dash} marker-end='url(#tip-{self.name})'/>"
        )
        if not arrow.label:
            return line
        return line + (
            f"<text x='{label[0]:.1f}' y='{label[1]:.1f}' text-anchor='{label[2]}' font-size='{_SMALL}' "
            f"fill='currentColor' fill-opacity='.85'>{escape(arrow.label)}</text>"
        )


def _diagram(name: str, title: str, boxes: dict[str, Box], *arrows: Arrow) -> Diagram:
    return Diagram(name, title, boxes, arrows)


_PICTURE = "(B, 3, 32, 32)"


def _two_views(top: str, low: str) -> dict[str, Box]:
    return {
        "x": Box("picture x", _PICTURE, 0, 0.5, "data"),
        "a": Box(top, "crop, colour", 1, 0, "data"),
        "b": Box(low, "crop, colour", 1, 1, "data"),
    }


def _xdc(name: str, title: str, eye: Sequence[str], ear: Sequence[str], joint: bool = False) -> Diagram:
    """The four of the paper differ in whose clusters are the labels of whose network, and in nothing else."""
    boxes = {
        "film": Box("film", "(B, 3, 16, 32, 32)", 0, 0, "data"),
        "sound": Box("sound", "log-mel", 0, 2, "data"),
        "eye": Box("eye: f", "small_clip", 1, 0, "net"),
        "ear": Box("ear", "small_mel", 1, 2, "net"),
        "heads eye": Box("heads of the eye", "cross-entropy", 3, 0, "loss"),
        "heads ear": Box("heads of the ear", "cross-entropy", 3, 2, "loss"),
    }
    arrows = [
        Arrow("film", "eye"),
        Arrow("sound", "ear"),
        Arrow("eye", "heads eye"),
        Arrow("ear", "heads ear"),
    ]
    if joint:
        boxes["k both"] = Box("k-means", "of both side by side", 2, 1, "still")
        arrows += [Arrow("eye", "k both", stopped=True), Arrow("ear", "k both", stopped=True)]
    else:
        boxes["k eye"] = Box("k-means", "of what the eye sees", 2, 0.6, "still")
        boxes["k ear"] = Box("k-means", "of what the ear hears", 2, 1.4, "still")
        arrows += [Arrow("eye", "k eye", stopped=True), Arrow("ear", "k ear", stopped=True)]
    clusters = {"eye": "k eye", "ear": "k ear", "both": "k both"}
    arrows += [Arrow(clusters[w], "heads eye", stopped=True) for w in eye]
    arrows += [Arrow(clusters[w], "heads ear", stopped=True) for w in ear]
    return _diagram(name, title, boxes, *arrows)


DIAGRAMS: dict[str, Diagram] = {
    d.name: d
    for d in (
        _diagram(
            "simclr",
            "SimCLR: two views of a picture find each other among all views of the batch",
            {
                **_two_views("view 1", "view 2"),
                "f": Box("encoder f", "small_cnn", 2, 0.5, "net", "f"),
                "g": Box("projector g", "two layers", 3, 0.5, "net", "g"),
                "loss": Box("NT-Xent", "cosines / temperature", 4, 0.5, "loss"),
                "probe": Box("probe, kNN", "use h; g is thrown away", 3, 1.5, "still"),
            },
            Arrow("x", "a"),
            Arrow("x", "b"),
            Arrow("a", "f", "(2B, 3, 32, 32)"),
            Arrow("b", "f"),
            Arrow("f", "g", "h (2B, 128)"),
            Arrow("g", "loss", "z (2B, 64)"),
            Arrow("f", "probe", stopped=True),
        ),
        _diagram(
            "gan",
            "GAN: the generator learns to be taken for the data",
            {
                "z": Box("noise z", "(B, 64)", 0, 0, "data"),
                "x": Box("pictures x", _PICTURE, 1, 1, "data"),
                "g": Box("generator G", "", 1, 0, "net"),
                "d": Box("discriminator D", "real or generated?", 2, 0.5, "net"),
                "loss": Box("log D(x) + log(1 - D(G(z)))", "D raises it, G lowers it", 3, 0.5, "loss"),
            },
            Arrow("z", "g"),
            Arrow("g", "d", _PICTURE),
            Arrow("x", "d", _PICTURE),
            Arrow("d", "loss", "(B,)"),
        ),
        _diagram(
            "bigan",
            "BiGAN: D judges pairs of a picture and a code, so E learns to invert G",
            {
                "x": Box("pictures x", _PICTURE, 0, 0, "data"),
                "z": Box("noise z", "(B, 64)", 0, 1, "data"),
                "e": Box("encoder E", "f and its head", 1, 0, "net", "head"),
                "g": Box("generator G", "", 1, 1, "net", "g"),
                "p": Box("pair (x, E(x))", "real picture", 2, 0, "data"),
                "q": Box("pair (G(z), z)", "real code", 2, 1, "data"),
                "d": Box("discriminator D", "which pair is it?", 3, 0.5, "net", "d"),
                "loss": Box("log D + log(1 - D)", "D raises it, E and G lower it", 4, 0.5, "loss"),
            },
            Arrow("x", "e"),
            Arrow("z", "g"),
            Arrow("e", "p", "(B, 64)"),
            Arrow("g", "q", _PICTURE),
            Arrow("p", "d"),
            Arrow("q", "d"),
            Arrow("d", "loss", "(B,)"),
        ),
        _diagram(
            "jigsaw",
            "Completing damaged jigsaw puzzles: nine grey pieces, one is missing",
            {
                "x": Box("picture", _PICTURE, 0, 1, "data"),
                "pieces": Box("9 pieces", "shuffled, grey, one empty", 1, 1, "data"),
                "f": Box("encoder f", "for each piece", 2, 1, "net"),
                "context": Box("context", "all pieces together", 3, 1, "net", "context"),
                "order": Box("which order?", "24 permutations", 4, 0, "loss", "heads.jigsaw"),
                "fill": Box(
                    "what is missing?", "its colours, by its place", 4, 1, "loss", "heads.inpainting"
                ),
                "colour": Box("which colours?", "of every piece", 4, 2, "loss", "heads.colour"),
            },
            Arrow("x", "pieces"),
            Arrow("pieces", "f"),
            Arrow("f", "context", "(B, 1152)"),
            Arrow("context", "order", "(B, 256)"),
            Arrow("context", "fill"),
            Arrow("f", "colour"),
        ),
        _diagram(
            "rotnet",
            "RotNet: by how much was the picture turned?",
            {
                "x": Box("picture", _PICTURE, 0, 0, "data"),
                "turned": Box("four turns of it", "0, 90, 180, 270 degrees", 1, 0, "data"),
                "f": Box("encoder f", "small_cnn", 2, 0, "net", "f"),
                "g": Box("head g", "one layer", 3, 0, "net", "g"),
                "loss": Box("cross-entropy", "with the turn", 4, 0, "loss"),
            },
            Arrow("x", "turned"),
            Arrow("turned", "f", "(4B, 3, 32, 32)"),
            Arrow("f", "g", "(4B, 128)"),
            Arrow("g", "loss", "(4B, 4)"),
        ),
        _diagram(
            "deepcluster",
            "DeepCluster: cluster, learn to tell the clusters, cluster again",
            {
                "x": Box("pictures", _PICTURE, 0, 0, "data"),
                "edges": Box("edges", "Sobel", 1, 0, "data"),
                "f": Box("encoder f", "small_cnn", 2, 0, "net", "f"),
                "g": Box("head g", "new in each round", 3, 0, "net", "g"),
                "loss": Box("cross-entropy", "with the cluster", 4, 0, "loss"),
                "k": Box("PCA, whitening, k-means", "of all pictures, once a round", 3, 1, "still"),
            },
            Arrow("x", "edges"),
            Arrow("edges", "f"),
            Arrow("f", "g", "(B, 128)"),
            Arrow("g", "loss"),
            Arrow("f", "k", stopped=True),
            Arrow("k", "loss", "labels", stopped=True),
        ),
        _diagram(
            "byol",
            "BYOL: the online network predicts what the target network makes of the other view",
            {
                **_two_views("view 1", "view 2"),
                "f": Box("encoder f", "online", 2, 0, "net", "f"),
                "g": Box("projector g", "online", 3, 0, "net", "g"),
                "q": Box("predictor q", "only here", 4, 0, "net", "q"),
                "target": Box("target", "average of f and g", 3, 1, "still", "target"),
                "loss": Box("2 - 2 cos", "no negatives", 5, 0.5, "loss"),
            },
            Arrow("x", "a"),
            Arrow("x", "b"),
            Arrow("a", "f", _PICTURE),
            Arrow("f", "g", "(B, 128)"),
            Arrow("g", "q", "(B, 64)"),
            Arrow("q", "loss", "(B, 64)"),
            Arrow("b", "target", _PICTURE),
            Arrow("target", "loss", "(B, 64)", stopped=True),
        ),
        _diagram(
            "moco",
            "MoCo: one key to find among a queue of old ones",
            {
                **_two_views("query view", "key view"),
                "f": Box("encoder f", "", 2, 0, "net", "f"),
                "g": Box("projector g", "", 3, 0, "net", "g"),
                "key": Box("key", "average of f and g", 3, 1, "still", "key"),
                "queue": Box("queue", "keys of earlier batches", 3, 2, "still"),
                "loss": Box("InfoNCE", "own key against the queue", 4, 0.5, "loss"),
            },
            Arrow("x", "a"),
            Arrow("x", "b"),
            Arrow("a", "f", _PICTURE),
            Arrow("f", "g", "(B, 128)"),
            Arrow("g", "loss", "q (B, 64)"),
            Arrow("b", "key", _PICTURE),
            Arrow("key", "loss", "k (B, 64)", stopped=True),
            Arrow("key", "queue", "write", stopped=True),
            Arrow("queue", "loss", "negatives", stopped=True),
        ),
        _diagram(
            "clip",
            "CLIP: pictures find their captions and captions their pictures",
            {
                "x": Box("picture", _PICTURE, 0, 0, "data"),
                "t": Box("caption", "16 words at most", 0, 1, "data"),
                "f": Box("encoder f", "small_cnn", 1, 0, "net", "f"),
                "g": Box("text encoder g", "transformer", 1, 1, "net", "g"),
                "pi": Box("project_image", "one layer", 2, 0, "net", "project_image"),
                "pt": Box("project_text", "one layer", 2, 1, "net", "project_text"),
                "loss": Box("B x B cosines x scale", "cross-entropy of rows and columns", 3, 0.5, "loss"),
            },
            Arrow("x", "f", _PICTURE),
            Arrow("t", "g", "(B, 16)"),
            Arrow("f", "pi", "(B, 128)"),
            Arrow("g", "pt", "(B, 64)"),
            Arrow("pi", "loss", "(B, 64)"),
            Arrow("pt", "loss", "(B, 64)"),
        ),
        _diagram(
            "video_lstm",
            "Video LSTM: read eight frames, say them backwards, say the next eight",
            {
                "film": Box("8 frames seen", "in order", 0, 0.5, "data"),
                "f": Box("encoder LSTM f", "its last state is the film", 1, 0.5, "net"),
                "back": Box("decoder", "the frames seen, backwards", 2, 0, "net", "backward_decoder"),
                "next": Box("decoder", "the next 8 frames", 2, 1, "net", "forward_decoder"),
                "l1": Box("reconstruction", "each frame", 3, 0, "loss"),
                "l2": Box("prediction", "each frame", 3, 1, "loss"),
            },
            Arrow("film", "f"),
            Arrow("f", "back", "state"),
            Arrow("f", "next", "state"),
            Arrow("back", "l1"),
            Arrow("next", "l2"),
        ),
        _diagram(
            "colorization",
            "Tracking by colorization: each grey cell points to where its colour comes from",
            {
                "old": Box("earlier frames", "grey", 0, 0, "data"),
                "new": Box("frame", "grey", 0, 1, "data"),
                "f": Box("encoder f", "dense_cnn", 1, 0.5, "net"),
                "point": Box("pointer", "softmax of likeness / temperature", 2, 0.5, "net"),
                "known": Box("colours of earlier frames", "at the test: masks, key-points", 2, 1.5, "data"),
                "copy": Box("copied colours", "sum by the pointer", 3, 1, "data"),
                "loss": Box("cross-entropy", "with the true colour", 4, 1, "loss"),
            },
            Arrow("old", "f"),
            Arrow("new", "f"),
            Arrow("f", "point", "a vector for each cell"),
            Arrow("point", "copy"),
            Arrow("known", "copy"),
            Arrow("copy", "loss"),
        ),
        _diagram(
            "dpc",
            "Dense Predictive Coding: the future of each cell, among other places, times and films",
            {
                "seen": Box("blocks seen", "of a film", 0, 0, "data"),
                "ahead": Box("blocks ahead", "of the same film", 0, 1, "data"),
                "f": Box("encoder f", "small_3d", 1, 0, "net"),
                "f2": Box("encoder f", "the same", 1, 1, "net"),
                "g": Box("ConvGRU g", "from block to block", 2, 0, "net", "g"),
                "phi": Box("predictor phi", "its block is read by g in turn", 3, 0, "net", "phi"),
                "loss": Box("InfoNCE", "over all cells", 4, 0.5, "loss"),
            },
            Arrow("seen", "f"),
            Arrow("ahead", "f2"),
            Arrow("f", "g"),
            Arrow("g", "phi", "(B, 64, 4, 4)"),
            Arrow("phi", "loss", "(B, 64, 4, 4)"),
            Arrow("f2", "loss", "true cells"),
        ),
        _diagram(
            "avts",
            "AVTS: is this the sound of this moment?",
            {
                "film": Box("film", "some frames", 0, 0, "data"),
                "right": Box("sound in sync", "", 0, 1, "data"),
                "wrong": Box("sound out of sync", "easy: another film; hard: later", 0, 2, "data"),
                "f": Box("eye f", "small_mc3", 1, 0, "net"),
                "ear": Box("ear", "small_mel", 1, 1.5, "net"),
                "gs": Box("g_seen", "two layers", 2, 0, "net", "g_seen"),
                "gh": Box("g_heard", "two layers", 2, 1.5, "net", "g_heard"),
                "loss": Box("contrastive loss", "near if in sync, else a margin apart", 3, 0.75, "loss"),
            },
            Arrow("film", "f"),
            Arrow("right", "ear"),
            Arrow("wrong", "ear"),
            Arrow("f", "gs"),
            Arrow("ear", "gh"),
            Arrow("gs", "loss", "(2B, 64)"),
            Arrow("gh", "loss", "(2B, 64)"),
        ),
        _xdc("sdc", "SDC: each network learns its own clusters", ("eye",), ("ear",)),
        _xdc(
            "mdc", "MDC: each network learns its own clusters and the other's", ("eye", "ear"), ("eye", "ear")
        ),
        _xdc("cdc", "CDC: both learn the clusters of both together", ("both",), ("both",), joint=True),
        _xdc("xdc", "XDC: each network learns the other's clusters", ("ear",), ("eye",)),
    )
}


class Diagrams(tuple):
    """Several diagrams, one below the other."""

    def _repr_html_(self) -> str:
        return "<br>".join(d.svg() for d in self)

    def __repr__(self):
        return "\n\n".join(repr(d) for d in self)


def diagram(name: str, *more: str) -> Diagram | Diagrams:
    """The diagram of a method, or of several, one below the other.

    Args:
        name: a method as `sslcourse train` has it, such as "byol"; also "gan", "sdc", "mdc" and "cdc".
        more: further names.

    Raises:
        CourseError: there is none of that name.
    """
    for one in (name, *more):
        if one not in DIAGRAMS:
            raise CourseError(f"there is no diagram of {one!r}; there are those of {', '.join(DIAGRAMS)}")
    return Diagrams(DIAGRAMS[one] for one in (name, *more)) if more else DIAGRAMS[name]
