"""Explorers: a few sliders and a picture that answers them.

Each explorer is a pure function from the state of its controls to a picture (`explorer.frame(hue=0.3)` gives
it without any widget) and a view around it. Callbacks may come from another thread than the cell (JupyterLab
sends them over subshells), so they take a lock and touch nothing but their own picture. The notebook stores a
PNG of the explorer's current state beside the widget view; a page without a kernel gets its pictures drawn
beforehand."""

from __future__ import annotations

import io
import itertools
import math
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor

from sslcourse import show
from sslcourse.data import toybox as world
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import SEED, WHOLE, takes
from sslcourse.show import look, sheets
from sslcourse.transforms import augment
from sslcourse.widgets.views import View, script

MOST_DRAWN = 130  # pictures that a page without a kernel carries
STEPS = 9  # places of a slider that are drawn for it


@dataclass(frozen=True)
class Control:
    """One argument of an explorer's picture: a slider ("slider", "log") from low to high, a choice, or
    hidden.

    `options` are (text, value) pairs; `digits` are written behind the point.
    """

    name: str
    kind: str
    value: Any
    text: str = ""
    low: float = 0.0
    high: float = 1.0
    step: float = 0.01
    digits: int = 2
    options: tuple = ()

    def check(self, value) -> None:
        """Raises CourseError when the value is outside the control's range."""
        if self.kind == "choice":
            known = [v for _, v in self.options]
            if value not in known:
                raise CourseError(f"{self.name}={value!r}; choose one of {', '.join(map(str, known))}")
        elif not self.low * (1 - 1e-9) - 1e-9 <= value <= self.high * (1 + 1e-9) + 1e-9:
            raise CourseError(f"{self.name}={value}; it goes from {self.low:g} to {self.high:g}")

    def steps(self, most: int = STEPS) -> list:
        """Its values at evenly spaced places, both ends and the start among them."""
        if self.kind == "choice":
            return [v for _, v in self.options]
        if self.kind == "hidden":
            return [self.value]
        at = (
            np.geomspace(self.low, self.high, most)
            if self.kind == "log"
            else np.linspace(self.low, self.high, most)
        )
        return sorted({*(float(v) for v in at), float(self.value)})


def _slider(
    name: str, low: float, high: float, value: float, step: float, text: str | None = None
) -> Control:
    return Control(
        name, "slider", float(value), text or name.replace("_", " "), float(low), float(high), float(step)
    )


def _choice(name: str, options: Sequence, value) -> Control:
    return Control(
        name, "choice", value, name, options=tuple(o if isinstance(o, tuple) else (o, o) for o in options)
    )


class Explorer(View):
    """Controls on the left, the picture they make on the right. `frame(**state)` is the picture as PNG bytes.

    Args:
        draw: state of the controls -> (PNG bytes, text below the picture).
        controls: one for each argument of `draw`.
        buttons: {text: function(state) -> new values of controls}: what a press of a button sets.
        name: for the repr.
    """

    _esm = script("explorer")

    about = traitlets.Dict().tag(sync=True)  # the controls; with `drawn` where its pictures are
    wanted = traitlets.Dict().tag(sync=True)  # what the reader asks for: written by the view alone
    # where the controls stand: written by Python alone, so that no echo moves a slider back
    values = traitlets.Dict().tag(sync=True)
    image = traitlets.Bytes(b"").tag(sync=True)
    caption = traitlets.Unicode("").tag(sync=True)
    failed = traitlets.Bool(False).tag(sync=True)
    drawn = traitlets.Bytes(b"").tag(sync=True)
    turn = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        draw: Callable[..., tuple[bytes, str]],
        controls: Sequence[Control],
        buttons: Mapping[str, Callable] | None = None,
        name: str = "",
    ):
        self._draw, self._name, self._buttons = draw, name, dict(buttons or {})
        self.controls = {c.name: c for c in controls}
        self._lock, self._moves = threading.RLock(), 0
        self._state = {c.name: c.value for c in controls}
        super().__init__(
            about={
                "controls": [asdict(c) for c in controls],
                "buttons": list(self._buttons),
                "name": name,
                "drawn": None,
            },
            values=dict(self._state),
        )
        self.redraw()
        self.observe(self._asked, names="wanted")
        self.on_msg(self._message)

    @property
    def state(self) -> dict:
        """The values of the controls by name."""
        return dict(self._state)

    def _checked(self, state: Mapping) -> dict:
        for name, value in state.items():
            if name not in self.controls:
                raise CourseError(f"this explorer has no control {name!r}; it has {', '.join(self.controls)}")
            self.controls[name].check(value)
        return {**self._state, **state}

    def frame(self, **state) -> bytes:
        """The picture for this state as PNG bytes; what is not named stands as the controls do.

        Raises:
            CourseError: when a name is no control of this explorer, or a value is outside its control's
                range.
        """
        return self._draw(**self._checked(state))[0]

    def set(self, **state) -> None:
        """Move controls from Python, and draw. Raises CourseError as `frame` does."""
        with self._lock:
            self._state = self._checked(state)
            self.values = self._placed()
            self.redraw()

    def _placed(self) -> dict:
        self._moves += (
            1  # so that the message differs also where Python moves back what only the view had moved
        )
        return {**self._state, "": self._moves}

    def redraw(self) -> None:
        """Draw the picture anew. An error is written below the picture: in a callback it would go nowhere."""
        with self._lock:
            try:
                data, text, failed = *self._draw(**self._state), False
            except CourseError as error:
                data, text, failed = b"", str(error), True
            except Exception as error:  # a callback has nobody to raise to: the student must see it here
                data, text, failed = (
                    b"",
                    f"{type(error).__name__}: {error}\n" + "".join(traceback.format_exception(error)[-3:]),
                    True,
                )
            with self.hold_sync():  # one message; `turn` tells the view that all of it is there
                if data:
                    self.image = data
                self.caption, self.failed, self.turn = text, failed, self.turn + 1

    def _asked(self, change) -> None:
        with self._lock:
            known = {k: v for k, v in change["new"].items() if k in self.controls}
            try:
                self._state = self._checked(known)
            except CourseError as error:  # a view that asks for what its controls cannot say
                self.caption, self.failed, self.turn = str(error), True, self.turn + 1
                return
            self.redraw()

    def _message(self, _, content, buffers) -> None:
        press = content.get("press") if isinstance(content, dict) else None
        if press in self._buttons:
            self.press(press)

    def press(self, text: str) -> None:
        """What a press of the button with this text does."""
        if text not in self._buttons:
            raise CourseError(f"there is no button {text!r}; there are {', '.join(self._buttons) or 'none'}")
        with self._lock:
            self.set(**self._buttons[text](self.state))

    def for_page(self) -> None:
        """Draw what a page without a kernel shows: all combinations where they are few, else each control
        alone.
        """
        ways = {name: c.steps() for name, c in self.controls.items()}
        whole = math.prod(map(len, ways.values())) <= MOST_DRAWN
        if whole:
            wanted = {
                ",".join(map(str, at)): dict(zip(ways, (ways[n][i] for n, i in zip(ways, at))))
                for at in itertools.product(*(range(len(v)) for v in ways.values()))
            }
        else:
            fewer = {
                name: c.steps(max(2, min(STEPS, MOST_DRAWN // len(ways))))
                for name, c in self.controls.items()
            }
            start = {name: c.value for name, c in self.controls.items()}
            ways, wanted = fewer, {"": start}
            for name, values in fewer.items():
                wanted.update(
                    {f"{name},{i}": {**start, name: v} for i, v in enumerate(values) if v != start[name]}
                )
        kept, at = io.BytesIO(), {}
        for key, state in wanted.items():
            data, text = self._draw(**state)
            at[key] = [kept.tell(), kept.tell() + len(light := _for_page(data)), text]
            kept.write(light)
        self._state = {name: c.value for name, c in self.controls.items()}
        self.values = self._placed()
        self.redraw()
        self.about = {**self.about, "drawn": {"whole": whole, "steps": ways, "at": at}}
        self.drawn = kept.getvalue()

    def picture(self) -> bytes:
        return _for_storing(bytes(self.image))

    def _stored(self) -> str:
        import base64

        return base64.b64encode(self.picture()).decode()  # of the state as it is now, so never kept

    def __repr__(self):
        return f"<{self._name} explorer: {', '.join(self.controls)}>"


def _for_storing(data: bytes) -> bytes:
    """The picture that stays in a stored notebook: 256 colours, at a third of the size; photographs that are
    cut out keep all of theirs.
    """
    from PIL import Image

    picture = Image.open(io.BytesIO(data))
    if picture.mode == "RGBA":  # only a chart has edges that are half transparent
        alpha = np.asarray(picture)[..., 3]
        return show.encode_png(picture) if ((alpha > 0) & (alpha < 255)).any() else data
    return show.encode_png(picture)


def _for_page(data: bytes) -> bytes:
    """As a page carries it a hundred times: a drawing with a palette, or WebP for what is transparent,
    whichever is smaller.
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).save(buffer, "WEBP", quality=82, method=2)
    return min(buffer.getvalue(), _for_storing(data), key=len)


# ---------------------------------------------------------------------------------------------- the world


@takes(size=WHOLE, seed=SEED)
def toybox(size: int = 192, seed: int = 0) -> Explorer:
    """Every factor of the toybox on a slider: what the pictures of the course are made of.

    Args:
        size: side of the picture in pixels, 32 to 256.
        seed: of the background's noise.
    """
    if not 32 <= size <= 256:
        raise CourseError(f"size={size}; choose 32 to 256 pixels")
    from PIL import Image

    typical = {
        "hue": 0.05,
        "saturation": 0.8,
        "size": 0.9,
        "x": 0.0,
        "y": 0.0,
        "yaw": 0.5,
        "pitch": 0.45,
        "roll": 0.0,
        "light": 5.5,
        "ground_hue": 0.6,
        "ground": 0.5,
    }
    controls = [_choice("shape", world.SHAPES, "cube"), _choice("pattern", world.PATTERNS, "plain")]
    for name, (low, high) in world.RANGES.items():
        controls.append(
            _slider(
                name, low, high, min(max(typical.get(name, (low + high) / 2), low), high), (high - low) / 50
            )
        )
    controls.append(_slider("background", 0.0, 1.0, 0.1, 0.02))

    def draw(background: float, **factors) -> tuple[bytes, str]:
        scene = world.scene(speckle=seed, **factors)
        # without the sensor's noise, which belongs to 32 pixels
        image, _ = world.render(scene, size, background, noise=0)
        small, _ = world.render(scene, 32, background)
        big = show.to_uint8(image)[0]
        twice = show.to_uint8(small)[0].repeat(2, 0).repeat(2, 1)  # what the network gets, beside what we see
        page = np.zeros((size, size + 74, 4), np.uint8)
        page[:, :size, :3], page[:, :size, 3] = big, 255
        page[:64, size + 10 :, :3], page[:64, size + 10 :, 3] = twice[:size], 255
        picture = Image.fromarray(page)
        return look.png_bytes(
            picture
        ), f"{world.caption(scene, 0)}   (small: the 32 pixels that the network gets)"

    def anything(state) -> dict:
        drawn: dict[str, Any] = {
            name: float(torch.empty(1).uniform_(*world.RANGES[name], generator=_dice))
            for name in world.RANGES
        }
        for name, names in (("shape", world.SHAPES), ("pattern", world.PATTERNS)):
            drawn[name] = names[int(torch.randint(len(names), (1,), generator=_dice))]
        return drawn

    return Explorer(draw, controls, {"random scene": anything}, name="toybox")


# of its own: a press of a button must not disturb a training's random numbers
_dice = torch.Generator().manual_seed(0)


# ---------------------------------------------------------------------------------------------- views


@takes(n=WHOLE)
def augmentations(images, n: int = 8) -> Explorer:
    """What random views look like, and what each setting does to them.

    Args:
        images: (N, 3, H, W) uint8 or float 0..1, or a data set; the first 12 can be chosen.
        n: how many views to draw, 1 to 24.
    """
    x = images.image if hasattr(images, "image") else torch.as_tensor(images)
    if not 1 <= n <= 24:
        raise CourseError(f"n={n}; draw 1 to 24 views")
    x = augment.as_float(x[:12].detach().cpu())
    if not len(x):
        raise CourseError("there is no image to look at: the tensor has length 0")
    controls = [
        _choice("image", [(str(i + 1), i) for i in range(len(x))], 0),
        _slider("smallest_area", 0.05, 1.0, 0.3, 0.01, "smallest crop"),
        _slider("colour", 0.0, 1.0, 0.5, 0.02, "colour strength"),
        _slider("hue", 0.0, 0.5, 0.2, 0.01, "hue shift"),
        _slider("grey", 0.0, 1.0, 0.2, 0.02, "grey probability"),
        _slider("flip", 0.0, 1.0, 0.5, 0.02, "flip probability"),
        _slider("blur", 0.0, 1.0, 0.0, 0.02, "blur probability"),
        Control("draw", "hidden", 0, low=0, high=10**9),
    ]
    columns = min(n, 4)
    side = max(64, min(96, 420 // columns))

    def frame(
        image: int,
        smallest_area: float,
        colour: float,
        hue: float,
        grey: float,
        flip: float,
        blur: float,
        draw: int,
    ):
        view = augment.simclr_view(
            area=(smallest_area, 1.0), strength=colour, hue_by=hue, greyscale=grey, flip=flip, blurred=blur
        )
        # the same draw at every move of a slider, so that only its effect is seen
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draw)
            made = view(x[image : image + 1].expand(n, -1, -1, -1).contiguous())
        return _views_page(
            x[image], made, side, columns
        ), f"left: the image; right: {n} random views of it (draw {draw + 1})"

    return Explorer(
        frame, controls, {"new draw": lambda state: {"draw": state["draw"] + 1}}, name="augmentations"
    )


def _views_page(original: Tensor, made: Tensor, side: int, columns: int) -> bytes:
    """The original, larger, and the views beside it on a transparent page."""
    from PIL import Image

    tiles = [show.enlarge(t, side) for t in show.to_uint8(made)]
    first = show.enlarge(show.to_uint8(original)[0], round(side * 1.5))
    h, w = tiles[0].shape[:2]
    gap, apart = 6, 18
    rows = math.ceil(len(tiles) / columns)
    page = np.zeros(
        (max(first.shape[0], rows * (h + gap) - gap), first.shape[1] + apart + columns * (w + gap) - gap, 4),
        np.uint8,
    )

    def paste(tile, y, x):
        page[y : y + tile.shape[0], x : x + tile.shape[1], :3] = tile
        page[y : y + tile.shape[0], x : x + tile.shape[1], 3] = 255

    paste(first, 0, 0)
    for i, tile in enumerate(tiles):
        paste(tile, i // columns * (h + gap), first.shape[1] + apart + i % columns * (w + gap))
    return look.png_bytes(Image.fromarray(page))


# ---------------------------------------------------------------------------------------------- the loss


def softmax_weights(z1, z2, anchor: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Cosine similarities and softmax weights of one anchor (row of z1) over all other 2n - 1 views, itself
    excluded.

    Both have length 2n, in the order of cat([z1, z2]); the anchor's own entry is NaN. The gradient of NT-Xent
    pulls the partner with 1 - its weight, and every other view pushes with its weight."""
    z = torch.nn.functional.normalize(
        torch.cat([torch.as_tensor(z1), torch.as_tensor(z2)]).detach().double().cpu(), dim=1
    )
    cosine = z @ z[anchor]
    logits = cosine / temperature
    logits[anchor] = -math.inf
    weight = logits.softmax(0)
    cosine[anchor] = weight[anchor] = math.nan
    return cosine.numpy(), weight.numpy()


@takes(most=WHOLE)
def temperature(z1, z2, images=None, most: int = 12) -> Explorer:
    """What the temperature does: how hard the partner pulls an anchor, and how hard each other view pushes
    it.

    Args:
        z1, z2: (n, d) projections of two views of the same n images, at least 2.
        images: (n, 3, H, W), drawn beside the bars.
        most: how many of the other views to show (those that push hardest at temperature 0.2), 1 to 20.
    """
    a, b = torch.as_tensor(z1).detach().float().cpu(), torch.as_tensor(z2).detach().float().cpu()
    if a.shape != b.shape or a.ndim != 2 or len(a) < 2:
        raise CourseError(
            f"z1 is {tuple(a.shape)} and z2 is {tuple(b.shape)}; both views must be (n, d), row for "
            "row, n "
            "at least 2"
        )
    n = len(a)
    pictures = None if images is None else show.to_uint8(images)
    if pictures is not None and len(pictures) != n:
        raise CourseError(f"{n} projections but {len(pictures)} images; pass one image per row")
    if not 1 <= most <= 20:
        raise CourseError(f"most={most}; show 1 to 20 of the other views")
    controls = [
        _choice("anchor", [(f"image {i + 1}", i) for i in range(min(n, 50))], 0),
        Control("temperature", "log", 0.2, "temperature", 0.02, 2.0, 0.02),
    ]

    ordered: dict = {}  # by anchor: who is nearest, and the page without its bars

    def frame(anchor: int, temperature: float) -> tuple[bytes, str]:
        cosine, weight = softmax_weights(a, b, anchor, temperature)
        partner = anchor + n
        if anchor not in ordered:
            others = [i for i in np.argsort(-np.nan_to_num(cosine, nan=-9.0)) if i not in (anchor, partner)]
            ordered[anchor] = (
                others,
                _bars_ground(cosine, anchor, partner, others[:most], len(others), pictures, n),
            )
        others, ground = ordered[anchor]
        values = [float(1 - weight[partner]), *(float(weight[i]) for i in others[:most])]
        figure = _bars(ground, values, 136 if pictures is not None else 104)
        rest = weight[others]
        share = np.sort(rest)[::-1][: max(1, len(rest) // 10)].sum() / max(rest.sum(), 1e-300)
        text = (
            f"The partner holds {weight[partner]:.0%} of the softmax, so it still pulls with "
            f"{1 - weight[partner]:.2f}; the {len(rest)} "
            f"others push with {rest.sum():.2f} in all, and the hardest tenth of them does {share:.0%} of "
            "it. "
            f"Loss of this anchor: {-math.log(max(weight[partner], 1e-300)):.2f}."
        )
        return _at_once(figure), text

    return Explorer(frame, controls, name="temperature")


def _at_once(figure: show.Picture) -> bytes:
    """The figure as PNG for the screen: no palette and little compression, in a third of the time. What is
    stored is made smaller later.
    """
    from PIL import Image

    buffer = io.BytesIO()
    with look.course_style():
        Image.fromarray(look.rgba(figure)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


_ROW, _TOP, _LENGTH = 27, 34, 250  # of the bars, in pixels


@look.in_course_style
def _bars_ground(cosine, anchor, partner, others, count, pictures, n) -> np.ndarray:
    """All of the bars' page that the temperature does not touch, as pixels: names, thumbnails, similarities,
    the axis.
    """
    rows = [partner, *others]
    left = 136 if pictures is not None else 104
    sheet = sheets.Sheet(left + _LENGTH + 150, _TOP + len(rows) * _ROW + 40)
    sheet.text(6, 6, f"image {anchor + 1} as anchor", 10.5, ha="left", fontweight="bold")
    bottom = _TOP + len(rows) * _ROW
    for at in (0, 0.25, 0.5, 0.75, 1):
        sheet.canvas[_TOP:bottom, int(left + at * _LENGTH)] = 215
        sheet.text(left + at * _LENGTH, bottom + 3, f"{at:g}", 8, color=show.SOFT)
    sheet.text(left + _LENGTH / 2, bottom + 20, "strength of the pull (partner) or push (others)", 8.5)
    for i, row in enumerate(rows):
        y, image = _TOP + i * _ROW, row % n
        name = "its partner" if i == 0 else f"image {image + 1} {'ab'[row // n]}"
        sheet.text(
            left - (38 if pictures is not None else 8),
            y + _ROW / 2,
            name,
            9,
            ha="right",
            va="center",
            fontweight="bold" if i == 0 else "normal",
        )
        sheet.text(sheet.width - 6, y + _ROW / 2, f"cos {cosine[row]:+.2f}", 8.5, ha="right", va="center")
        if pictures is not None:
            sheet.paste(_fit(pictures[image], 24), left - 31, y + 2)
    if count > len(others):
        sheet.text(sheet.width - 6, 8, f"{len(others)} nearest of {count}", 8.5, ha="right", color=show.SOFT)
    return look.pixels(sheet.done(exact=True))


@look.in_course_style
def _bars(ground: np.ndarray, values: Sequence[float], left: int) -> show.Picture:
    """Bars and their numbers on a page that `_bars_ground` drew: the partner's pull on top, then pushes."""
    sheet = sheets.Sheet(ground.shape[1], ground.shape[0])
    sheet.canvas[:] = ground
    for i, value in enumerate(values):
        y, colour = _TOP + i * _ROW, show.COLOURS[0] if i == 0 else show.COLOURS[4]
        bar = np.full(
            (_ROW - 9, max(1, round(value * _LENGTH)), 3),
            [int(colour[j : j + 2], 16) for j in (1, 3, 5)],
            np.uint8,
        )
        sheet.paste(bar, left, y + 5)
        word, inside = "pulls" if i == 0 else "pushes", value > 0.6
        sheet.text(
            left + value * _LENGTH + (-5 if inside else 5),
            y + _ROW / 2,
            f"{word} {value:.3f}",
            8.5,
            ha="right" if inside else "left",
            va="center",
            color="white" if inside else look.DARK,
        )
    return sheet.done(exact=True)


def _fit(tile: np.ndarray, side: int) -> np.ndarray:
    """A thumbnail of exactly `side` pixels, smoothed where it shrinks."""
    from PIL import Image

    smooth = Image.Resampling.BOX if tile.shape[0] > side else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(tile).resize((side, side), smooth))
