"""Short silent films side by side, in step: one slider and one button for all of them.

    films({"seen": clips, "predicted": guesses}, fps=8)     one row of films per name

`widgets.clip` plays one film with its sound; this view compares many small ones. Everything was sent when the
view was made, as one picture from which the frames are cut, so it needs no kernel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
import traitlets

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import REAL, takes
from sslcourse.widgets.views import View, Whole, filmstrip, script

LARGEST = 256  # pixels along a side of a frame
MOST = 4096  # frames in a view
ROOM = 690  # page pixels for a row of films, beside its name
# of the picture of all frames, where its quality can be had for that: a lesson holds several views
BYTES = 15_000
QUALITIES = (90, 80, 65, 50)  # of WebP, tried from the best; the last one is taken whatever its size
STRIP = 8  # frames of a film in the picture that stands in for the view


def _rows(rows) -> dict[str, np.ndarray]:
    """{name: (n, T, H, W, 3) uint8}, all of one length and size."""
    from sslcourse import show

    if not isinstance(rows, Mapping) or not rows:
        raise CourseError(
            f'films are a dict of rows, {{"name": (n, 3, T, H, W)}}; this is {type(rows).__name__} of length '
            f"{len(rows) if hasattr(rows, '__len__') else '?'}"
        )
    result = {}
    for name, given in rows.items():
        x = torch.as_tensor(given).detach()
        if x.ndim != 5 or x.shape[1] not in (1, 3) or not x.numel():
            hint = f"; for one film write x[None]: {(1, *x.shape)}" if x.ndim == 4 else ""
            raise CourseError(
                f"the row {name!r} has shape {tuple(x.shape)}; pass n films of T frames, (n, 3, T, H, "
                f"W){hint}"
            )
        n, c, t, h, w = x.shape
        result[str(name)] = show.to_uint8(x.transpose(1, 2).reshape(n * t, c, h, w)).reshape(n, t, h, w, 3)
    sizes = {name: x.shape[1:4] for name, x in result.items()}
    if len(set(sizes.values())) > 1:
        raise CourseError(
            "rows of different length or size: "
            + ", ".join(f"{name} {t} frames of {h} x {w}" for name, (t, h, w) in sizes.items())
            + "; films that play in step need the same T, H and W"
        )
    t, h, w = next(iter(sizes.values()))
    frames = sum(x.shape[0] for x in result.values()) * t
    if max(h, w) > LARGEST or frames > MOST:
        raise CourseError(
            f"{frames} frames of {h} x {w} pixels; show at most {MOST} of at most {LARGEST} pixels "
            "along a "
            "side"
        )
    return result


class Films(View):
    """Rows of films that play in step. Made by `films`; `frame` (0 is the first) can be read and set from
    Python.

    Keys: space plays and pauses, left and right step by a frame, Home and End jump.
    """

    _esm = script("films")

    # every frame of every film: row by row, film by film, frame by frame
    sheet = traitlets.Bytes(b"").tag(sync=True)
    about = traitlets.Dict().tag(sync=True)
    frame = Whole(0).tag(sync=True)

    @takes(fps=REAL, scale=REAL)
    def __init__(
        self,
        rows: Mapping,
        fps: float = 8,
        scale: float = 3,
        marks: Mapping[str, Iterable[int]] | None = None,
        *,
        titles: Sequence[str] | None = None,
        title: str = "",
        note: str = "",
    ):
        self._rows = _rows(rows)
        count, height, width = next(iter(self._rows.values())).shape[1:4]
        most = max(len(x) for x in self._rows.values())
        if not 1 <= fps <= 60:
            raise CourseError(f"fps={fps}; play 1 to 60 frames per second")
        if not scale > 0:
            raise CourseError(f"scale={scale}; enlarge by a number above 0, such as 3")
        if titles is not None and len(titles) != most:
            raise CourseError(
                f"{len(titles)} titles for rows of up to {most} films; pass one for each column"
            )
        self._marks = {str(name): sorted({int(f) for f in frames}) for name, frames in (marks or {}).items()}
        for name, frames in self._marks.items():
            if name not in self._rows:
                raise CourseError(f"marks for {name!r}; the rows are {', '.join(self._rows)}")
            if frames and not 0 <= frames[0] <= frames[-1] < count:
                raise CourseError(
                    f"marks {frames} in the row {name!r}; its frames are numbered from 0 to {count - 1}"
                )
        fit = ROOM / most - 10
        factor = min(float(scale), fit / width)
        if factor >= 1:
            factor = math.floor(factor)  # every pixel of a frame the same square
        sheet, about = filmstrip(
            np.concatenate([x.reshape(-1, height, width, 3) for x in self._rows.values()]), BYTES, QUALITIES
        )
        super().__init__(
            sheet=sheet,
            about={
                "cut": about,
                "count": count,
                "fps": float(fps),
                "scale": factor,
                "title": str(title),
                "note": str(note),
                "titles": [str(t) for t in titles or ()],
                "rows": [[name, len(x), self._marks.get(name, [])] for name, x in self._rows.items()],
            },
        )

    def picture(self) -> bytes:
        """The first film of each row as a strip of up to eight frames."""
        from sslcourse import show
        from sslcourse.show import look, sheets

        count, height, width = next(iter(self._rows.values())).shape[1:4]
        chosen = np.unique(np.linspace(0, count - 1, min(STRIP, count)).round().astype(int))
        side = int(max(32, min(max(height, width) * self.about["scale"], 72)))
        tiles = {name: [show.enlarge(x[0, f], side) for f in chosen] for name, x in self._rows.items()}
        high, wide = next(iter(tiles.values()))[0].shape[:2]
        left, pitch, top = 124, max(wide + 6, 34), 46
        sheet = sheets.Sheet(left + len(chosen) * pitch + 8, top + len(tiles) * (high + 10))
        head = self.about["title"] or (
            "films" if max(len(x) for x in self._rows.values()) == 1 else "films, the first of each row"
        )
        sheet.text(8, 5, head, 10.5, ha="left", fontweight="bold")
        for i, f in enumerate(chosen):
            sheet.text(left + i * pitch + wide / 2, 28, f"frame {f + 1}" if not i else str(f + 1), 8.5)
        for r, (name, strip) in enumerate(tiles.items()):
            y = top + r * (high + 10)
            sheet.text(left - 8, y + high / 2, look.wrapped(name, left - 14), ha="right", va="center")
            for i, (f, tile) in enumerate(zip(chosen, strip)):
                sheet.paste(tile, left + i * pitch, y)
                if f in self._marks.get(name, ()):
                    sheet.frame(left + i * pitch, y, (high, wide), show.COLOURS[4])
        return show.png(sheet.done())

    def __repr__(self):
        each = ", ".join(f"{name} ({len(x)})" for name, x in self._rows.items())
        return f"<films of {self.about['count']} frames: {each}>"


@takes(fps=REAL, scale=REAL)
def films(
    rows: Mapping,
    fps: float = 8,
    scale: float = 3,
    marks: Mapping[str, Iterable[int]] | None = None,
    *,
    titles: Sequence[str] | None = None,
    title: str = "",
    note: str = "",
) -> Films:
    """Play short films in step: one row per name, with one slider and one button for all.

    Args:
        rows: {name: (n, 3 or 1, T, H, W)} uint8 or float 0..1 (clipped). T, H and W are the same in all rows;
            n may differ.
        fps: frames per second, 1 to 60.
        scale: page pixels along a side of a film's pixel; less where a row would not fit.
        marks: {row: frames}, numbered from 0, which are outlined while they are shown: those that were
            predicted, for example.
        titles: one text per column, above the films.
        title, note: written above and below; say in the note what an outline means.

    Raises:
        CourseError: when shapes do not fit, or a setting is out of its range.
    """
    return Films(rows, fps, scale, marks, titles=titles, title=title, note=note)
