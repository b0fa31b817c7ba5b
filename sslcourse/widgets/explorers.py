"""Explorers: a few sliders and a picture that answers them.

Each explorer is a pure function from the state of its controls to a picture (`explorer.frame(hue=0.3)` gives it without any
widget) and a column of ipywidgets around it. No `interact`, no pyplot; callbacks may come from another thread than the cell
(JupyterLab sends them over subshells), so they take a lock and touch nothing but their own picture. The notebook stores a PNG
of the explorer's current state beside the widget view.
"""

from __future__ import annotations

import base64
import io
import math
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence

import ipywidgets as widgets
import numpy as np
import torch
from torch import Tensor

from sslcourse import augment, show
from sslcourse.common import CourseError
from sslcourse.data import toybox as world

_WORDS = {"description_width": "118px"}


def _slider(name: str, low: float, high: float, value: float, step: float, text: str | None = None, form: str = ".2f"):
    return widgets.FloatSlider(value=value, min=low, max=high, step=step, description=text or name.replace("_", " "), readout_format=form,
                               style=_WORDS, layout={"width": "360px"}, continuous_update=True)  # fmt: skip


def _choice(text: str, options: Sequence, value):
    return widgets.Dropdown(options=options, value=value, description=text, style=_WORDS, layout={"width": "360px"})


class Explorer(widgets.HBox):
    """Controls on the left, the picture they make on the right. `frame(**state)` is the picture as PNG bytes.

    Args:
        draw: state of the controls -> (PNG bytes, text below the picture).
        controls: {name of an argument of `draw`: widget with a `value`}.
        buttons: {text: function() -> new values of controls}: what a press of a button sets.
        name: for the repr.
    """

    def __init__(self, draw: Callable, controls: Mapping[str, widgets.Widget], buttons: Mapping[str, Callable] | None = None, name: str = ""):
        self._draw, self._controls, self._name = draw, dict(controls), name
        self._lock = threading.RLock()
        self._quiet = False
        self.picture = widgets.Image(format="png", layout={"max_width": "100%", "object_fit": "contain", "align_self": "flex-start"})
        self.picture.add_class("ssl-picture")
        self.text = widgets.HTML()
        self.text.add_class("ssl-caption")
        presses = []
        for text, action in (buttons or {}).items():
            button = widgets.Button(description=text, layout={"width": "auto", "margin": "4px 0 0 122px"})
            button.on_click(lambda _, action=action: self._press(action))
            presses.append(button)
        for control in self._controls.values():
            control.observe(self._changed, names="value")
        visible = [c for c in self._controls.values() if c.layout.display != "none"]
        left = widgets.VBox([*visible, *presses], layout={"flex": "0 0 auto", "width": "375px"})
        right = widgets.VBox([self.picture, self.text], layout={"flex": "1 1 300px", "min_width": "200px"})
        super().__init__([left, right], layout={"flex_flow": "row wrap", "align_items": "flex-start", "grid_gap": "8px 20px"})
        self.add_class("ssl-explorer")
        self.redraw()

    @property
    def state(self) -> dict:
        """The values of the controls by name."""
        return {name: control.value for name, control in self._controls.items()}

    def frame(self, **state) -> bytes:
        """The picture for this state as PNG bytes; what is not named stands as the controls do.

        Raises:
            CourseError: when a name is no control of this explorer, or a value is outside its control's range.
        """
        for name, value in state.items():
            control = self._controls.get(name)
            if control is None:
                raise CourseError(f"this explorer has no control {name!r}; it has {', '.join(self._controls)}")
            low, high = getattr(control, "min", None), getattr(control, "max", None)
            if isinstance(control, widgets.FloatLogSlider):
                low, high = control.base**low, control.base**high
            if low is not None and not low * (1 - 1e-9) - 1e-9 <= value <= high * (1 + 1e-9) + 1e-9:
                raise CourseError(f"{name}={value}; it goes from {low:g} to {high:g}")
            options = getattr(control, "options", None)
            if options is not None and value not in [o[1] if isinstance(o, tuple) else o for o in options]:
                raise CourseError(f"{name}={value!r}; choose one of {', '.join(str(o[1] if isinstance(o, tuple) else o) for o in options)}")
        return self._draw(**{**self.state, **state})[0]

    def redraw(self) -> None:
        """Draw the picture anew. An error is written below the picture: in a callback it would go nowhere."""
        with self._lock:
            try:
                data, text = self._draw(**self.state)
            except CourseError as error:
                self.text.value = _message(str(error))
            except Exception as error:  # a callback has nobody to raise to: the student must see it here
                self.text.value = _message(f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)[-3:]))
            else:
                with self.hold_sync():
                    self.picture.value, self.text.value = data, text

    def _changed(self, change) -> None:
        if not self._quiet:
            self.redraw()

    def _press(self, action: Callable) -> None:
        with self._lock:
            self._quiet = True
            try:
                for name, value in action(self.state).items():
                    self._controls[name].value = value
            finally:
                self._quiet = False
            self.redraw()

    def __repr__(self):
        return f"<{self._name} explorer: {', '.join(self._controls)}>"

    def _repr_mimebundle_(self, **kwargs):
        return {
            "text/plain": repr(self),
            "application/vnd.jupyter.widget-view+json": {"version_major": 2, "version_minor": 0, "model_id": self.model_id},
            "image/png": base64.b64encode(_for_storing(bytes(self.picture.value))).decode(),
        }

    def _ipython_display_(self, **kwargs):  # ipywidgets 7 displays through this method and would leave out the picture
        from IPython.display import display

        display(self._repr_mimebundle_(), raw=True)


def _for_storing(data: bytes) -> bytes:
    """The picture that stays in a stored notebook: 256 colours, where nothing is transparent, at a third of the size."""
    from PIL import Image

    picture = Image.open(io.BytesIO(data))
    return show.encode_png(picture) if picture.mode == "RGB" else data


def _message(text: str, detail: str = "") -> str:
    import html

    more = f"<pre style='font-size:11px;white-space:pre-wrap'>{html.escape(detail)}</pre>" if detail else ""
    return (f"<div class='ssl-error' style='border-left:4px solid {show.WRONG};padding:4px 10px;line-height:1.4'>"
            f"{html.escape(text)}{more}</div>")  # fmt: skip


def _caption(text: str) -> str:
    import html

    return f"<div style='line-height:1.4;max-width:520px'>{html.escape(text)}</div>"


# ---------------------------------------------------------------------------------------------- the world


def toybox(size: int = 192, seed: int = 0) -> Explorer:
    """Every factor of the toybox on a slider: what the pictures of the course are made of.

    Args:
        size: side of the picture in pixels, 32 to 256.
        seed: of the background's noise.
    """
    if not 32 <= size <= 256:
        raise CourseError(f"size={size}; choose 32 to 256 pixels")
    from PIL import Image

    typical = {"hue": 0.05, "saturation": 0.8, "size": 0.9, "x": 0.0, "y": 0.0, "yaw": 0.5, "pitch": 0.45, "roll": 0.0, "light": 5.5,
               "ground_hue": 0.6, "ground": 0.5}  # fmt: skip
    controls: dict = {"shape": _choice("shape", list(world.SHAPES), "cube"), "pattern": _choice("pattern", list(world.PATTERNS), "plain")}
    for name, (low, high) in world.RANGES.items():
        controls[name] = _slider(name, low, high, min(max(typical.get(name, (low + high) / 2), low), high), (high - low) / 50)
    controls["background"] = _slider("background", 0.0, 1.0, 0.1, 0.02, "background")

    def draw(background: float, **factors) -> tuple[bytes, str]:
        scene = world.scene(speckle=seed, **factors)
        image, _ = world.render(scene, size, background, noise=0)  # without the sensor's noise, which belongs to 32 pixels
        small, _ = world.render(scene, 32, background)
        big = show.to_uint8(image)[0]
        twice = show.to_uint8(small)[0].repeat(2, 0).repeat(2, 1)  # what the network gets, beside what we see
        page = np.zeros((size, size + 74, 4), np.uint8)
        page[:, :size, :3], page[:, :size, 3] = big, 255
        page[:64, size + 10 :, :3], page[:64, size + 10 :, 3] = twice[:size], 255
        picture = Image.fromarray(page)
        return show._encode(picture), _caption(f"{world.caption(scene, 0)}   (small: the 32 pixels that the network gets)")

    def anything(state) -> dict:
        drawn = {name: float(torch.empty(1).uniform_(*world.RANGES[name], generator=_dice)) for name in world.RANGES}
        for name, names in (("shape", world.SHAPES), ("pattern", world.PATTERNS)):
            drawn[name] = names[int(torch.randint(len(names), (1,), generator=_dice))]
        return drawn

    return Explorer(draw, controls, {"random scene": anything}, name="toybox")


_dice = torch.Generator().manual_seed(0)  # of its own: a press of a button must not disturb a training's random numbers


# ---------------------------------------------------------------------------------------------- views


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
    controls = {
        "image": _choice("image", [(str(i + 1), i) for i in range(len(x))], 0),
        "smallest_area": _slider("smallest_area", 0.05, 1.0, 0.3, 0.01, "smallest crop"),
        "colour": _slider("colour", 0.0, 1.0, 0.5, 0.02, "colour strength"),
        "hue": _slider("hue", 0.0, 0.5, 0.2, 0.01, "hue shift"),
        "grey": _slider("grey", 0.0, 1.0, 0.2, 0.02, "grey probability"),
        "flip": _slider("flip", 0.0, 1.0, 0.5, 0.02, "flip probability"),
        "blur": _slider("blur", 0.0, 1.0, 0.0, 0.02, "blur probability"),
        "draw": widgets.BoundedIntText(value=0, min=0, max=10**9, layout={"display": "none"}),
    }
    columns = min(n, 4)
    side = max(64, min(96, 420 // columns))

    def frame(image: int, smallest_area: float, colour: float, hue: float, grey: float, flip: float, blur: float, draw: int):
        view = augment.simclr_view(area=(smallest_area, 1.0), strength=colour, hue_by=hue, greyscale=grey, flip=flip, blurred=blur)
        with torch.random.fork_rng(devices=[]):  # the same draw at every move of a slider, so that only its effect is seen
            torch.manual_seed(draw)
            made = view(x[image : image + 1].expand(n, -1, -1, -1).contiguous())
        return _views_page(x[image], made, side, columns), _caption(f"left: the image; right: {n} random views of it (draw {draw + 1})")

    return Explorer(frame, controls, {"new draw": lambda state: {"draw": state["draw"] + 1}}, name="augmentations")


def _views_page(original: Tensor, made: Tensor, side: int, columns: int) -> bytes:
    """The original, larger, and the views beside it on a transparent page."""
    from PIL import Image

    tiles = [show.enlarge(t, side) for t in show.to_uint8(made)]
    first = show.enlarge(show.to_uint8(original)[0], round(side * 1.5))
    h, w = tiles[0].shape[:2]
    gap, apart = 6, 18
    rows = math.ceil(len(tiles) / columns)
    page = np.zeros((max(first.shape[0], rows * (h + gap) - gap), first.shape[1] + apart + columns * (w + gap) - gap, 4), np.uint8)

    def paste(tile, y, x):
        page[y : y + tile.shape[0], x : x + tile.shape[1], :3] = tile
        page[y : y + tile.shape[0], x : x + tile.shape[1], 3] = 255

    paste(first, 0, 0)
    for i, tile in enumerate(tiles):
        paste(tile, i // columns * (h + gap), first.shape[1] + apart + i % columns * (w + gap))
    return show._encode(Image.fromarray(page))


# ---------------------------------------------------------------------------------------------- the loss


def softmax_weights(z1, z2, anchor: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Cosine similarities and softmax weights of one anchor (row of z1) over all other 2n - 1 views, itself excluded.

    Both have length 2n, in the order of cat([z1, z2]); the anchor's own entry is NaN. The gradient of NT-Xent pulls the
    partner with 1 - its weight, and every other view pushes with its weight.
    """
    z = torch.nn.functional.normalize(torch.cat([torch.as_tensor(z1), torch.as_tensor(z2)]).detach().double().cpu(), dim=1)
    cosine = z @ z[anchor]
    logits = cosine / temperature
    logits[anchor] = -math.inf
    weight = logits.softmax(0)
    cosine[anchor] = weight[anchor] = math.nan
    return cosine.numpy(), weight.numpy()


def temperature(z1, z2, images=None, most: int = 12) -> Explorer:
    """What the temperature does: how hard the partner pulls an anchor, and how hard each other view pushes it.

    Args:
        z1, z2: (n, d) projections of two views of the same n images, at least 2.
        images: (n, 3, H, W), drawn beside the bars.
        most: how many of the other views to show (those that push hardest at temperature 0.2), 1 to 20.
    """
    a, b = torch.as_tensor(z1).detach().float().cpu(), torch.as_tensor(z2).detach().float().cpu()
    if a.shape != b.shape or a.ndim != 2 or len(a) < 2:
        raise CourseError(f"z1 is {tuple(a.shape)} and z2 is {tuple(b.shape)}; both views must be (n, d), row for row, n at least 2")
    n = len(a)
    pictures = None if images is None else show.to_uint8(images)
    if pictures is not None and len(pictures) != n:
        raise CourseError(f"{n} projections but {len(pictures)} images; pass one image per row")
    if not 1 <= most <= 20:
        raise CourseError(f"most={most}; show 1 to 20 of the other views")
    log_slider = widgets.FloatLogSlider(value=0.2, base=10, min=math.log10(0.02), max=math.log10(2), step=0.02, description="temperature",
                                        readout_format=".3f", style=_WORDS, layout={"width": "360px"})  # fmt: skip
    controls = {"anchor": _choice("anchor", [(f"image {i + 1}", i) for i in range(min(n, 50))], 0), "temperature": log_slider}

    def frame(anchor: int, temperature: float) -> tuple[bytes, str]:
        cosine, weight = softmax_weights(a, b, anchor, temperature)
        partner = anchor + n
        others = [i for i in np.argsort(-np.nan_to_num(cosine, nan=-9.0)) if i not in (anchor, partner)]
        figure = _pull_and_push(cosine, weight, anchor, partner, others[:most], len(others), temperature, pictures, n)
        rest = weight[others]
        share = np.sort(rest)[::-1][: max(1, len(rest) // 10)].sum() / max(rest.sum(), 1e-300)
        text = (f"The partner holds {weight[partner]:.0%} of the softmax, so it still pulls with {1 - weight[partner]:.2f}; the {len(rest)} "
                f"others push with {rest.sum():.2f} in all, and the hardest tenth of them does {share:.0%} of it. "
                f"Loss of this anchor: {-math.log(max(weight[partner], 1e-300)):.2f}.")  # fmt: skip
        return show.png(figure), _caption(text)

    return Explorer(frame, controls, name="temperature")


@show._drawing
def _pull_and_push(cosine, weight, anchor, partner, others, count, temperature, pictures, n) -> show.Picture:
    """Bars: the partner's pull on top, then the views that push hardest, thumbnails beside their names."""
    rows = [partner, *others]
    row_height, top, left, length = 27, 34, 136 if pictures is not None else 104, 250
    sheet = show._Sheet(left + length + 150, top + len(rows) * row_height + 40)
    sheet.text(6, 6, f"image {anchor + 1} as anchor, temperature {temperature:.3g}", 10.5, ha="left", fontweight="bold")
    bottom = top + len(rows) * row_height
    for at in (0, 0.25, 0.5, 0.75, 1):
        sheet.canvas[top:bottom, int(left + at * length)] = 215
        sheet.text(left + at * length, bottom + 3, f"{at:g}", 8, color=show.SOFT)
    sheet.text(left + length / 2, bottom + 20, "strength of the pull (partner) or push (others)", 8.5)
    for i, row in enumerate(rows):
        value = float(1 - weight[partner] if i == 0 else weight[row])
        y, image = top + i * row_height, row % n
        colour = show.COLOURS[0] if i == 0 else show.COLOURS[4]
        bar = np.full((row_height - 9, max(1, round(value * length)), 3), [int(colour[j : j + 2], 16) for j in (1, 3, 5)], np.uint8)
        sheet.paste(bar, left, y + 5)
        middle = y + row_height / 2
        name = "its partner" if i == 0 else f"image {image + 1} {'ab'[row // n]}"
        sheet.text(left - (38 if pictures is not None else 8), middle, name, 9, ha="right", va="center",
                   fontweight="bold" if i == 0 else "normal")  # fmt: skip
        word, inside = "pulls" if i == 0 else "pushes", value > 0.6
        sheet.text(left + value * length + (-5 if inside else 5), middle, f"{word} {value:.3f}", 8.5, ha="right" if inside else "left",
                   va="center", color="white" if inside else show.INK)  # fmt: skip
        sheet.text(sheet.width - 6, middle, f"cos {cosine[row]:+.2f}", 8.5, ha="right", va="center")
        if pictures is not None:
            sheet.paste(_fit(pictures[image], 24), left - 31, y + 2)
    if count > len(others):
        sheet.text(sheet.width - 6, 8, f"{len(others)} nearest of {count}", 8.5, ha="right", color=show.SOFT)
    return sheet.done(exact=True)


def _fit(tile: np.ndarray, side: int) -> np.ndarray:
    """A thumbnail of exactly `side` pixels, smoothed where it shrinks."""
    from PIL import Image

    smooth = Image.Resampling.BOX if tile.shape[0] > side else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(tile).resize((side, side), smooth))
