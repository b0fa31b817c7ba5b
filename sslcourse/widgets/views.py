"""What all views share: a script of their own, a picture that stands in where scripts do not run, and a name
without an address.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
import json
import math
import pathlib
import threading
import weakref
from collections.abc import Sequence

import anywidget
import numpy as np
import traitlets

from sslcourse import runtime
from sslcourse.runtime.text import encodable, for_page

_STATIC = pathlib.Path(__file__).parent / "static"


class Script(str):
    """The text of a view's JavaScript, which knows its name."""

    name: str


def script(name: str) -> Script:
    """The JavaScript of a view: what all views share, then its own file. One module without imports, as
    anywidget wants it.
    """
    text = Script(
        "\n".join((_STATIC / f"{part}.js").read_text(encoding="utf-8") for part in ("common", name))
    )
    text.name = name
    return text


class Whole(traitlets.Int):
    """A whole number, NumPy's too: older traitlets (Colab's 5.7) take only Python's own, and positions come
    out of arrays.
    """

    def validate(self, obj, value):
        return super().validate(obj, int(value) if isinstance(value, np.integer) else value)


_alive: weakref.WeakSet = weakref.WeakSet()


def alive() -> list[View]:
    """The views of this process that have not been closed, in order of their making."""
    return sorted((v for v in _alive if v.comm is not None), key=lambda v: v._number)


class View(anywidget.AnyWidget):
    """A view in JavaScript. Subclasses set `_esm = script("name")`, and define `picture()` and `__repr__`;
    one that is text in the first place defines `still()` and `_stand_in()` instead of a picture.

    The notebook stores the PNG of `picture()` beside the widget view: hosting sites, reopened notebooks and
    front ends without
    widgets show that. Nothing in a view needs Python while a cell runs: everything happens on data that were
    sent when it was made."""

    _made = itertools.count()

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._number = next(View._made)
        _alive.add(self)

    @property
    def script_name(self) -> str:
        """Under which name `script` finds this view's JavaScript."""
        return type(self)._esm_name

    def __init_subclass__(cls, **kwargs):
        # anywidget takes the text over when the class is made; its name is kept for pages without a kernel.
        text = cls.__dict__.get("_esm")
        if isinstance(text, Script):
            cls._esm_name = text.name
        super().__init_subclass__(**kwargs)

    def for_page(self) -> None:
        """Bring into the state what a page without a kernel needs and a notebook does not."""

    def page(self, path, title: str = "") -> pathlib.Path:
        """Write this view as an HTML page that opens without kernel and network. Returns its path."""
        return write_page(self, path, title)

    def picture(self) -> bytes:
        """The view's first state as PNG bytes, drawn in Python."""
        raise NotImplementedError(f"{type(self).__name__} draws no picture")

    def _stored(self) -> str:
        # display calls may come from two threads
        lock = self.__dict__.setdefault("_png_lock", threading.Lock())
        with lock:
            if "_png" not in self.__dict__:
                self.__dict__["_png"] = base64.b64encode(self.picture()).decode()
        return self.__dict__["_png"]

    def _stand_in(self) -> dict[str, str]:
        """What a notebook stores beside the view, by media type."""
        return {"text/plain": repr(self), "image/png": self._stored()}

    def still(self) -> str:
        """What stands in a page until scripts have run, and where none run: HTML."""
        return pictured(self._stored(), repr(self))

    def _repr_mimebundle_(self, **kwargs):
        made = super()._repr_mimebundle_(**kwargs)
        data, metadata = made if isinstance(made, tuple) else (made, {})
        return {**(data or {}), **self._stand_in()}, metadata

    # ipywidgets 7 displays through this method and would leave out the picture
    def _ipython_display_(self, **kwargs):
        from IPython.display import display

        data, metadata = self._repr_mimebundle_()
        display(data, metadata=metadata, raw=True)


def packed(array, kind: str) -> bytes:
    """An array as the bytes a typed array in JavaScript reads: contiguous, little-endian, of the given NumPy
    type.
    """
    return np.ascontiguousarray(array, np.dtype(kind).newbyteorder("<")).tobytes()


def sprite(images, tile: int | None = None) -> tuple[bytes, dict]:
    """Many pictures of one size as one: a sheet of tiles, filled row by row, for a view to cut from.

    Args:
        images: (N, 3, H, W) uint8 or float 0..1.
        tile: side in pixels; the pictures' own by default. Larger ones are reduced.

    Returns:
        The bytes of the sheet and what a view must know of it: {"tile", "across", "type"}. PNG while that is
        small, else JPEG without chroma subsampling (whose 8-pixel blocks are cut at tile borders for 32-pixel
        tiles).
    """
    from PIL import Image

    from sslcourse import show
    from sslcourse.runtime.errors import CourseError

    x = show.to_uint8(images)
    if not len(x):
        raise CourseError("there is no image to show: the tensor has length 0")
    side = tile or max(x.shape[1:3])
    if x.shape[1:3] != (side, side):
        x = np.stack([np.asarray(Image.fromarray(t).resize((side, side), Image.Resampling.BOX)) for t in x])
    n, across = len(x), int(np.ceil(np.sqrt(len(x))))
    down = -(-n // across)
    page = np.zeros((down * across, side, side, 3), np.uint8)
    page[:n] = x
    page = (
        page.reshape(down, across, side, side, 3)
        .transpose(0, 2, 1, 3, 4)
        .reshape(down * side, across * side, 3)
    )
    whole = Image.fromarray(np.ascontiguousarray(page))
    buffer = io.BytesIO()
    whole.save(buffer, "PNG", compress_level=6)
    kind = "image/png"
    if buffer.tell() > 150_000:
        buffer = io.BytesIO()
        whole.save(buffer, "JPEG", quality=88, subsampling=0)
        kind = "image/jpeg"
    return buffer.getvalue(), {"tile": side, "across": across, "type": kind}


def filmstrip(frames: np.ndarray, most: int, qualities: Sequence[int]) -> tuple[bytes, dict]:
    """All frames of a film (N, H, W, 3) uint8 on one picture, row by row, and where a view finds them.

    Args:
        most: bytes. As PNG, exact, where that takes no more; else as WebP, whose tiles begin at multiples of
            16 pixels, its blocks, and whose borders are continued to there, so that no frame bleeds into
            another.
        qualities: of WebP, tried from the best until it takes no more; the last one is taken whatever its
            size.

    Returns: The file, and {"across": frames in a row, "width", "height": of a frame, "wide", "high": from one
        to the next, "type"}.
    """
    from PIL import Image

    n, h, w = frames.shape[:3]
    across = min(n, max(1, round(math.sqrt(n * h / w))))
    down, grey = -(-n // across), bool((frames[..., :1] == frames).all())

    def written(high: int, wide: int, kind: str, **options) -> tuple[bytes, dict]:
        tiles = np.pad(frames, ((0, across * down - n), (0, high - h), (0, wide - w), (0, 0)), "edge")
        page = (
            tiles.reshape(down, across, high, wide, 3)
            .transpose(0, 2, 1, 3, 4)
            .reshape(down * high, across * wide, 3)
        )
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(page[..., 0] if grey and kind == "png" else page)).save(
            buffer, kind, **options
        )
        return buffer.getvalue(), {
            "across": across,
            "width": w,
            "height": h,
            "wide": wide,
            "high": high,
            "type": f"image/{kind}",
        }

    made = written(h, w, "png", compress_level=9)
    for quality in qualities:
        if len(made[0]) <= most:
            break
        made = written(-(-h // 16) * 16, -(-w // 16) * 16, "webp", quality=quality, method=6)
    return made


# ----------------------------------------------------------------------------------- pages without a kernel
#
# A page carries the view's script and state and a few lines that play the part of the notebook. Nothing is
# loaded from elsewhere.


def state(view: View) -> dict:
    """Everything of a view that a page needs: {"script", "traits", "binary"}, plain JSON."""
    view.for_page()
    own = {
        name
        for c in type(view).__mro__
        if issubclass(c, traitlets.HasTraits) and c.__module__.startswith("sslcourse")
        for name in c.class_own_traits()
        if not name.startswith("_")
    }
    values = {name: value for name, value in view.get_state().items() if name in own}
    binary = {
        n: base64.b64encode(bytes(v)).decode()
        for n, v in values.items()
        if isinstance(v, (bytes, bytearray, memoryview))
    }
    return {
        "script": view.script_name,
        "traits": {n: v for n, v in values.items() if n not in binary},
        "binary": binary,
    }


def pictured(png: str, name: str) -> str:
    """A picture, base64 of a PNG, as HTML."""
    return f'<img alt="{html.escape(name)}" style="max-width:100%" src="data:image/png;base64,{png}">'


def place(key: str, still: str) -> str:
    """Where a view stands in a page: until scripts have run, and where none run, HTML that stands in."""
    return f'<div class="ssl-place" data-view="{html.escape(key)}">{still}</div>'


def scripts(states: dict[str, dict]) -> str:
    """The script elements of a page that shows these views: each script once, each state, and the host."""
    names = sorted({s["script"] for s in states.values()})
    parts = [
        f'<script type="application/json" data-script="{n}">{for_page(script(n))}</script>' for n in names
    ]
    parts += [
        f'<script type="application/json" data-state="{html.escape(k)}">{for_page(s)}</script>'
        for k, s in states.items()
    ]
    host = (pathlib.Path(__file__).parent / "static" / "host.js").read_text(encoding="utf-8")
    return "\n".join([*parts, f"<script>{host}</script>"])


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font-family: system-ui, sans-serif; margin: 16px; }}
</style></head>
<body>{body}
{scripts}
</body></html>
"""


def write_page(view: View, path, title: str = "") -> pathlib.Path:
    """One view as a page of its own, whole or not at all. Returns the path."""
    path = pathlib.Path(path)
    path = path if path.suffix in (".html", ".htm") else path.with_name(path.name + ".html")
    # Its picture first: drawing all that a page needs may take the view to another state.
    body = place("view", view.still())
    text = PAGE.format(
        title=html.escape(title or repr(view).strip("<>")), body=body, scripts=scripts({"view": state(view)})
    )
    with runtime.atomic(path) as temporary:
        temporary.write_text(encodable(text), encoding="utf-8", newline="\n")
    return path


def collect(path) -> int:
    """The states of all views that this process has made, by model id, as one JSON file: what `make site`
    runs at a notebook's end.
    """
    found = {view.model_id: state(view) for view in alive()}
    with runtime.atomic(path) as temporary:
        temporary.write_text(json.dumps(found), encoding="utf-8", newline="\n")
    return len(found)
