"""A training to scrub through: a slider over the epochs that runs in the browser alone, without a kernel.

`panel.replay` makes one; `Replay.save` and `Replay.load` keep it. The notebook stores a PNG of the last frame beside the view,
so that a page without widgets (or a reopened notebook) still shows how the training ended.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import traitlets

from sslcourse import common
from sslcourse.common import CourseError
from sslcourse.widgets.views import View, script

VERSION = 1
_FULL = 65535  # positions are stored as uint16 over the square that holds all frames


def _pack_maps(frames: Sequence[Mapping]) -> tuple[np.ndarray, np.ndarray, float]:
    """Positions of all frames as (F, N, 2) uint16, labels (N,) uint8 with 255 for unlabelled, and the half-width."""
    from sslcourse.widgets.live import NEAREST

    shapes = {np.shape(f["xy"]) for f in frames if f.get("xy") is not None}
    if not shapes:
        return np.zeros((len(frames), 0, 2), np.uint16), np.zeros(0, np.uint8), 1.0
    if len(shapes) > 1 or len(next(iter(shapes))) != 2 or next(iter(shapes))[1] != 2:
        raise CourseError(f"the maps of the frames have shapes {sorted(shapes)}; map the same samples (N, 2) in every frame")
    n = next(iter(shapes))[0]
    maps = []
    given = [np.asarray(f["xy"], np.float32) for f in frames if f.get("xy") is not None]
    last = given[0]  # frames before the first map show that one
    for f in frames:
        if f.get("xy") is not None:
            last = np.asarray(f["xy"], np.float32)
        maps.append(last)
    stack = np.nan_to_num(np.stack(maps))
    reach = max(NEAREST, float(np.abs(stack).max(initial=0)) * 1.05)
    packed = np.round((stack / reach * 0.5 + 0.5) * _FULL).clip(0, _FULL).astype(np.uint16)
    labels = next((f["labels"] for f in reversed(frames) if f.get("labels") is not None), np.full(n, -1))
    labels = np.asarray(labels).astype(int)
    if labels.shape != (n,) or labels.max(initial=0) > 254:
        raise CourseError(f"labels of shape {labels.shape} for {n} points; pass one class number below 255 per point")
    return packed, np.where(labels < 0, 255, labels).astype(np.uint8), reach


def _pack_filters(frames: Sequence[Mapping]) -> np.ndarray:
    """(F, n, k, k, 3) uint8; frames without filters repeat the last ones."""
    given = [np.asarray(f["filters"], np.uint8) for f in frames if f.get("filters") is not None]
    if not given:
        return np.zeros((len(frames), 0, 1, 1, 3), np.uint8)
    if len({g.shape for g in given}) > 1:
        raise CourseError(f"filters of shapes {sorted({g.shape for g in given})}; they must be the same in every frame")
    result, last = [], given[0]
    for f in frames:
        last = np.asarray(f["filters"], np.uint8) if f.get("filters") is not None else last
        result.append(last)
    return np.stack(result)


class Replay(View):
    """A slider, a play button, the map of clusters, the curves with a moving cursor, and the filters.

    Args:
        frames: dicts with "row" (numbers by name) and, where known, "xy" (N, 2), "labels" (N,), "filters"
            (n, k, k, 3) uint8: what `Panel` records. All frames map the same samples.
        classes: names, shown in the legend and at the pointer.
        title: written above.

    Keys (when the replay has the focus): left and right step, Home and End jump, space plays.
    """

    _esm = script("replay")

    positions = traitlets.Bytes(b"").tag(sync=True)  # (F, N, 2) uint16, little-endian
    labels = traitlets.Bytes(b"").tag(sync=True)  # (N,) uint8
    metrics = traitlets.Bytes(b"").tag(sync=True)  # (metrics, F) float32, NaN where a row lacks one
    kernels = traitlets.Bytes(b"").tag(sync=True)  # (F, n, k, k, 3) uint8
    about = traitlets.Dict().tag(sync=True)  # sizes, names, colours: everything that is not an array
    frame = traitlets.Int(0).tag(sync=True)

    def __init__(self, frames: Sequence[Mapping], classes: Sequence[str] = (), title: str = ""):
        frames = list(frames)
        if not frames:
            raise CourseError("a replay needs at least one frame; call panel.add(row) in the training loop first")
        maps, labels, reach = _pack_maps(frames)
        filters = _pack_filters(frames)
        from sslcourse.widgets.live import PLAIN

        names = list(dict.fromkeys(k for f in frames for k in f.get("row", {}) if k not in PLAIN))
        values = np.array([[float(f.get("row", {}).get(k, math.nan)) for f in frames] for k in names], np.float32)
        epochs = [float(f.get("row", {}).get("epoch", i + 1)) for i, f in enumerate(frames)]
        self._setup({"positions": maps, "labels": labels, "metrics": values.reshape(len(names), len(frames)), "kernels": filters},
                    {"names": names, "epochs": epochs, "classes": [str(c) for c in classes], "title": str(title), "reach": reach})  # fmt: skip

    def _setup(self, arrays: dict[str, np.ndarray], words: dict) -> None:
        from sslcourse import show

        self._arrays, self._words = arrays, words
        count, points = arrays["positions"].shape[:2]
        super().__init__(
            **{name: np.ascontiguousarray(a, a.dtype.newbyteorder("<")).tobytes() for name, a in arrays.items()},
            about={**words, "count": count, "points": points, "kernels": int(arrays["kernels"].shape[1]),
                   "kernel": int(arrays["kernels"].shape[2]), "colours": list(show.COLOURS)},
            frame=count - 1,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self._words["epochs"])

    def __repr__(self):
        _, points = self._arrays["positions"].shape[:2]
        return f"<replay of {len(self)} epochs, {points:,} points, {len(self._words['names'])} metrics>"

    # ------------------------------------------------------------------ what stays in the notebook

    def picture(self, frame: int = -1) -> bytes:
        """One frame as PNG bytes, drawn in Python like the live panel; the last one by default."""
        from sslcourse import show
        from sslcourse.widgets import live

        n = len(self)
        if not -n <= frame < n:
            raise CourseError(f"frame={frame}; this replay has frames 0 to {n - 1}")
        frame %= n
        names, reach = self._words["names"], self._words["reach"]
        rows = [{"epoch": e, **{k: float(v) for k, v in zip(names, column) if not math.isnan(v)}}
                for e, column in zip(self._words["epochs"][: frame + 1], self._arrays["metrics"].T)]  # fmt: skip
        rows = rows or [{"epoch": e} for e in self._words["epochs"][: frame + 1]]
        maps, filters = self._arrays["positions"], self._arrays["kernels"]
        xy = (maps[frame].astype(np.float32) / _FULL * 2 - 1) * reach if maps.shape[1] else None
        labels = self._arrays["labels"].astype(int)
        with show._lock, show.matplotlib.rc_context(show._LOOK):
            figure = live.draw(rows, names, int(self._words["epochs"][-1]), self._words["title"], xy, np.where(labels == 255, -1, labels),
                               self._words["classes"], filters[frame] if filters.shape[1] else None, reach)  # fmt: skip
            return show.png(figure)

    # ------------------------------------------------------------------ files

    def save(self, path) -> pathlib.Path:
        """Write everything to one .npz file (no pickle), whole or not at all. Returns the path."""
        path = pathlib.Path(path)
        path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
        words = json.dumps({**self._words, "version": VERSION})
        buffer = io.BytesIO()
        np.savez_compressed(buffer, words=np.array(words), sha256=np.array(_digest(words, self._arrays)), **self._arrays)
        with common.atomic(path) as temporary:
            temporary.write_bytes(buffer.getvalue())
        return path

    @classmethod
    def load(cls, path) -> Replay:
        """Read what `save` wrote.

        Raises:
            CourseError: when there is no such file, or it is damaged, or another version wrote it.
        """
        path = pathlib.Path(path)
        if not path.exists():
            raise CourseError(f"there is no replay at {path}; make one with panel.replay.save({str(path)!r})")
        try:
            with np.load(path, allow_pickle=False) as file:
                words, digest = str(file["words"]), str(file["sha256"])
                arrays = {k: file[k] for k in ("positions", "labels", "metrics", "kernels")}
            if digest != _digest(words, arrays):
                raise ValueError("its checksum differs")
            content = json.loads(words)
            version = content.pop("version")
        except Exception as error:  # zip, header, key and checksum errors are of many types; all mean one thing
            raise CourseError(f"the replay {path} is damaged ({error}); delete it and save it again with panel.replay.save(...)") from None
        if version != VERSION:
            raise CourseError(f"the replay {path} has format {version}, this course reads {VERSION}; record it again")
        replay = cls.__new__(cls)
        replay._setup(arrays, content)
        return replay


def _digest(words: str, arrays: Mapping[str, np.ndarray]) -> str:
    sha = hashlib.sha256(words.encode())
    for name in sorted(arrays):
        sha.update(f"{name} {arrays[name].shape} {arrays[name].dtype}".encode())
        sha.update(np.ascontiguousarray(arrays[name]).tobytes())
    return sha.hexdigest()
