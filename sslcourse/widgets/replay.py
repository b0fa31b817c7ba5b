"""Trainings to scrub through: a slider over the epochs that runs in the browser alone, without a kernel.

    panel.replay                                          one training
    side_by_side({"with negatives": a, "without": b})     several, on one slider

`panel.replay` makes one; `Replay.save` and `Replay.load` keep it (by convention beside the checkpoint:
`beside`). The notebook stores a PNG of the last frame beside the view, so that a page without widgets (or a
reopened notebook) still shows how the training ended."""

from __future__ import annotations

import hashlib
import io
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import traitlets

from sslcourse import runtime
from sslcourse.runtime.errors import CourseError
from sslcourse.widgets.views import View, Whole, packed, script, sprite

VERSION = 2
NOBODY = 255  # unlabelled, or in no cluster
MOST_GUESSES = 24  # sample predictions that are shown
_FULL = 65535  # positions are stored as uint16 over the square that holds all frames
ARRAYS = ("positions", "labels", "assigned", "metrics", "kernels", "guesses", "truth", "pictures")
STRIPS = ("strips", "tiles")  # only where rows of pictures were recorded


def beside(checkpoint) -> pathlib.Path:
    """Where the replay of a checkpoint is kept: results/simclr.safetensors -> results/simclr.replay.npz."""
    return pathlib.Path(checkpoint).with_suffix(".replay.npz")


# ---------------------------------------------------------------------------------------------- packing


@dataclass(frozen=True)
class Run:
    """One recorded training: arrays over its F frames, and the words that go with them.

    positions (F, N, 2) uint16 · labels (N,) uint8 · assigned (F, N) uint8 · metrics (names, F) float32, NaN
    where a row lacks one · kernels (F, n, k, k, 3) uint8 · guesses (F, M) uint8 · truth (M,) uint8 · pictures
    (M, H, W, 3) uint8; and where rows of pictures were recorded strips (F, P) uint16, which of the tiles (T,
    h, w, 3) uint8 stand below in each frame"""

    arrays: dict[str, np.ndarray]
    words: dict  # names, epochs, classes, title, reach; strips: [[name, how many], ...] where there are some

    def __len__(self) -> int:
        return len(self.words["epochs"])


def _filled(frames: Sequence[Mapping], key: str, shape: str) -> np.ndarray | None:
    """What the frames hold under a key, (F, ...); a frame without it repeats the last one. None where no
    frame has it.
    """
    given = [np.asarray(f[key]) for f in frames if f.get(key) is not None]
    if not given:
        return None
    if len({g.shape for g in given}) > 1:
        raise CourseError(
            f"{key} of shapes {sorted({g.shape for g in given})}; give {shape}, the same samples in "
            "every "
            "frame"
        )
    result, last = [], given[0]  # frames before the first one show that one
    for f in frames:
        last = np.asarray(f[key]) if f.get(key) is not None else last
        result.append(last)
    return np.stack(result)


def _numbers(values, name: str) -> np.ndarray:
    """Class or cluster numbers as uint8, -1 as NOBODY."""
    values = np.asarray(values).astype(int)
    if values.max(initial=0) >= NOBODY:
        raise CourseError(
            f"{name} holds {values.max()}; a replay shows at most {NOBODY} classes or clusters, numbered "
            "from 0"
        )
    return np.where(values < 0, NOBODY, values).astype(np.uint8)


def _pack_maps(frames: Sequence[Mapping]) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Positions, labels and assignments of all frames, and the half-width of the square that holds every
    position.
    """
    from sslcourse.widgets.strips import NEAREST

    stack = _filled(frames, "xy", "(N, 2)")
    if stack is None:
        return (
            np.zeros((len(frames), 0, 2), np.uint16),
            np.zeros(0, np.uint8),
            np.zeros((len(frames), 0), np.uint8),
            1.0,
        )
    if stack.ndim != 3 or stack.shape[2] != 2:
        raise CourseError(
            f"a map of shape {stack.shape[1:]}; give (N, 2): map2d(features) makes two coordinates of many"
        )
    n = stack.shape[1]
    # What is no place is shown in the middle. An infinite one must not push all others together for good.
    stack = np.nan_to_num(stack.astype(np.float32), posinf=0, neginf=0)
    reach = max(NEAREST, float(np.abs(stack).max(initial=0)) * 1.05)
    packed = np.round((stack / reach * 0.5 + 0.5) * _FULL).clip(0, _FULL).astype(np.uint16)
    labels = next((f["labels"] for f in reversed(frames) if f.get("labels") is not None), np.full(n, -1))
    assigned = _filled(frames, "assigned", "(N,)")
    assigned = np.zeros((len(frames), 0), np.uint8) if assigned is None else _numbers(assigned, "assigned")
    for name, got in (("labels", np.shape(labels)), ("assigned", assigned.shape[1:])):
        if got != (n,) and not (name == "assigned" and got == (0,)):
            raise CourseError(f"{name} of shape {got} for {n} points; pass one number per point")
    return packed, _numbers(labels, "labels"), assigned, reach


def _pack_filters(frames: Sequence[Mapping]) -> np.ndarray:
    stack = _filled(frames, "filters", "(n, k, k, 3)")
    return np.zeros((len(frames), 0, 1, 1, 3), np.uint8) if stack is None else stack.astype(np.uint8)


def _pack_guesses(frames: Sequence[Mapping], pictures, truth) -> dict[str, np.ndarray]:
    from sslcourse import show

    stack = _filled(frames, "predicted", "(M,) class numbers")
    if stack is None:
        return {
            "guesses": np.zeros((len(frames), 0), np.uint8),
            "truth": np.zeros(0, np.uint8),
            "pictures": np.zeros((0, 1, 1, 3), np.uint8),
        }
    m = min(stack.shape[1], MOST_GUESSES)
    if pictures is None or len(pictures) < m:
        raise CourseError(
            f"predictions for {m} samples but {0 if pictures is None else len(pictures)} pictures; "
            "hand over the samples: Panel(..., samples=data.validation.take(slice(0, 12)))"
        )
    truth = np.full(m, -1) if truth is None else np.asarray(truth)[:m]
    if truth.shape != (m,):
        raise CourseError(f"labels of shape {truth.shape} for {m} samples; pass one number per sample")
    return {
        "guesses": _numbers(stack[:, :m], "predicted"),
        "truth": _numbers(truth, "truth"),
        "pictures": show.to_uint8(pictures[:m]),
    }


def _pack_strips(frames: Sequence[Mapping]) -> tuple[dict[str, np.ndarray], dict]:
    """Rows of pictures in all frames: which tile stands where, every different tile once, and what the rows
    are called.
    """
    given = [f["strips"] for f in frames if f.get("strips")]
    if not given:
        return {}, {}
    rows = {name: x.shape for name, x in given[0].items()}
    for other in given:
        if {name: x.shape for name, x in other.items()} != rows:
            raise CourseError(
                f"rows of pictures {', '.join(rows)}, then {', '.join(other)}: give the same rows, as "
                "long "
                "as before, in every frame"
            )
    last, pages = given[0], []  # a frame without any shows the last ones
    for f in frames:
        last = f.get("strips") or last
        pages.append(np.concatenate([last[name] for name in rows]))
    page = np.stack(pages)  # (F, P, h, w, 3)
    tiles, where = np.unique(page.reshape(-1, page[0, 0].size), axis=0, return_inverse=True)
    return (
        {
            "strips": where.reshape(page.shape[:2]).astype(np.uint16),
            "tiles": tiles.reshape(-1, *page.shape[2:]),
        },
        {"strips": [[name, shape[0]] for name, shape in rows.items()]},
    )


def _strips_at(run: Run, frame: int) -> dict[str, np.ndarray] | None:
    """The rows of pictures of one frame, {name: (n, h, w, 3)}; None where there are none."""
    if "tiles" not in run.arrays:
        return None
    shown, rows = run.arrays["tiles"][run.arrays["strips"][frame]], {}
    for name, n in run.words["strips"]:
        rows[name], shown = shown[:n], shown[n:]
    return rows


def pack(
    frames: Sequence[Mapping], classes: Sequence[str] = (), title: str = "", pictures=None, truth=None
) -> Run:
    """Frames, as `Panel` records them, to one `Run`.

    Args:
        frames: dicts with "row" (numbers by name) and, where known, "xy" (N, 2), "labels" (N,), "assigned"
            (N,) cluster numbers, "filters" (n, k, k, 3) uint8, "predicted" (M,) class numbers of the sample
            pictures, "strips" {name: (n, h, w, 3) uint8}. All frames show the same samples.
        classes, title: for legend and heading.
        pictures, truth: (M, 3, H, W) and (M,), the samples whose predictions are recorded.
    """
    from sslcourse.widgets.strips import PLAIN

    frames = list(frames)
    if not frames:
        raise CourseError("a replay needs at least one frame; call panel.add(row) in the training loop first")
    maps, labels, assigned, reach = _pack_maps(frames)
    names = list(dict.fromkeys(k for f in frames for k in f.get("row", {}) if k not in PLAIN))
    values = np.array([[float(f.get("row", {}).get(k, math.nan)) for f in frames] for k in names], np.float32)
    epochs = [float(f.get("row", {}).get("epoch", i + 1)) for i, f in enumerate(frames)]
    strips, rows = _pack_strips(frames)
    return Run(
        {
            "positions": maps,
            "labels": labels,
            "assigned": assigned,
            "metrics": values.reshape(len(names), len(frames)),
            "kernels": _pack_filters(frames),
            **_pack_guesses(frames, pictures, truth),
            **strips,
        },
        {
            "names": names,
            "epochs": epochs,
            "classes": [str(c) for c in classes],
            "title": str(title),
            "reach": reach,
            **rows,
        },
    )


# ---------------------------------------------------------------------------------------------- the view


class Replay(View):
    """A slider, a play button, the map of clusters, the curves with a moving cursor, the filters, what the
    samples are taken for, and the rows of pictures that were recorded.

    Args:
        frames, classes, title, pictures, truth: as for `pack`.

    Keys (when the replay has the focus): left and right step, Home and End jump, space plays.
    """

    _esm = script("replay")

    # Several runs stand one after the other in each of these; `about` says where each begins.
    positions = traitlets.Bytes(b"").tag(sync=True)
    labels = traitlets.Bytes(b"").tag(sync=True)
    assigned = traitlets.Bytes(b"").tag(sync=True)
    metrics = traitlets.Bytes(b"").tag(sync=True)
    kernels = traitlets.Bytes(b"").tag(sync=True)
    guesses = traitlets.Bytes(b"").tag(sync=True)
    truth = traitlets.Bytes(b"").tag(sync=True)
    pictures = traitlets.Bytes(b"").tag(sync=True)  # a sheet of all runs' sample pictures
    strips = traitlets.Bytes(b"").tag(sync=True)
    tiles = traitlets.Bytes(b"").tag(sync=True)  # a sheet of all runs' rows of pictures
    about = traitlets.Dict().tag(sync=True)  # sizes, names, colours: everything that is not an array
    frame = Whole(0).tag(sync=True)

    def __init__(
        self,
        frames: Sequence[Mapping],
        classes: Sequence[str] = (),
        title: str = "",
        pictures=None,
        truth=None,
    ):
        self._show([pack(frames, classes, title, pictures, truth)])

    @classmethod
    def of(cls, *runs: Run) -> Replay:
        """A view of recorded runs on one slider."""
        replay = cls.__new__(cls)
        replay._show(list(runs))
        return replay

    def _show(self, runs: list[Run]) -> None:
        from sslcourse import show

        self.runs = runs
        joined: dict[str, bytes] = {}
        described, at = [], dict.fromkeys((*ARRAYS, *STRIPS), 0)
        for run in runs:
            a = run.arrays
            described.append(
                {
                    **run.words,
                    "count": len(run),
                    "points": int(a["positions"].shape[1]),
                    "clustered": bool(a["assigned"].size),
                    "kernels": int(a["kernels"].shape[1]),
                    "kernel": int(a["kernels"].shape[2]),
                    "guesses": int(a["guesses"].shape[1]),
                    "at": dict(at),
                }
            )
            for name in ARRAYS + STRIPS * ("tiles" in a):
                at[name] += len(a[name]) if name in ("pictures", "tiles") else a[name].size * a[name].itemsize
        for name in ARRAYS[:-1]:
            joined[name] = b"".join(
                np.ascontiguousarray(r.arrays[name], r.arrays[name].dtype.newbyteorder("<")).tobytes()
                for r in runs
            )
        tiles = [r.arrays["pictures"] for r in runs if len(r.arrays["pictures"])]
        cut = None
        if tiles:
            if len({t.shape[1:] for t in tiles}) > 1:
                raise CourseError(
                    f"sample pictures of sizes {sorted({t.shape[1:3] for t in tiles})}; runs side by "
                    "side "
                    "show pictures of one size"
                )
            joined["pictures"], cut = sprite(np.concatenate(tiles).transpose(0, 3, 1, 2))
        about = {"runs": described, "colours": list(show.COLOURS), "cut": cut}
        drawn = [r.arrays for r in runs if "tiles" in r.arrays]
        if drawn:
            if len({a["tiles"].shape[1:] for a in drawn}) > 1:
                raise CourseError(
                    f"rows of pictures of sizes {sorted({a['tiles'].shape[1:3] for a in drawn})}; runs "
                    "side by side show one size"
                )
            joined["strips"] = b"".join(packed(a["strips"], "u2") for a in drawn)
            joined["tiles"], about["tileCut"] = sprite(
                np.concatenate([a["tiles"] for a in drawn]).transpose(0, 3, 1, 2)
            )
        super().__init__(**joined, about=about, frame=max(map(len, runs)) - 1)

    def __len__(self) -> int:
        return max(map(len, self.runs))

    def __repr__(self):
        if len(self.runs) > 1:
            return f"<replays side by side: {', '.join(r.words['title'] or '?' for r in self.runs)}>"
        run = self.runs[0]
        return (
            f"<replay of {len(run)} epochs, {run.arrays['positions'].shape[1]:,} points, "
            f"{len(run.words['names'])} metrics>"
        )

    def picture(self, frame: int = -1) -> bytes:
        """One frame as PNG bytes, drawn in Python like the live panel; the last one by default. Several runs
        stand under each other.
        """
        from sslcourse import show

        n = len(self)
        if not -n <= frame < n:
            raise CourseError(f"frame={frame}; this replay has frames 0 to {n - 1}")
        pages = [_drawn(run, min(frame % n, len(run) - 1)) for run in self.runs]
        if len(pages) == 1:
            return show.encode_png(pages[0])
        from PIL import Image

        page = Image.new("RGB", (max(p.width for p in pages), sum(p.height for p in pages)), "white")
        y = 0
        for part in pages:
            page.paste(part, (0, y))
            y += part.height
        return show.encode_png(page)

    # ------------------------------------------------------------------ files

    def frames(self, index: int = 0) -> list[dict]:
        """The frames of a run as `pack` takes them: to go on recording where a training is resumed."""
        run = self.runs[index]
        a, names, reach = run.arrays, run.words["names"], run.words["reach"]
        back = lambda x: np.where(x == NOBODY, -1, x.astype(int))
        made = []
        for i, epoch in enumerate(run.words["epochs"]):
            frame: dict = {
                "row": {
                    "epoch": epoch,
                    **{k: float(v) for k, v in zip(names, a["metrics"][:, i]) if not math.isnan(v)},
                }
            }
            if a["positions"].shape[1]:
                frame |= {
                    "xy": (a["positions"][i].astype(np.float32) / _FULL * 2 - 1) * reach,
                    "labels": back(a["labels"]),
                }
            if a["assigned"].shape[1]:
                frame["assigned"] = back(a["assigned"][i])
            if a["kernels"].shape[1]:
                frame["filters"] = a["kernels"][i]
            if a["guesses"].shape[1]:
                frame["predicted"] = back(a["guesses"][i])
            if "tiles" in a:
                frame["strips"] = _strips_at(run, i)
            made.append(frame)
        return made

    def save(self, path) -> pathlib.Path:
        """Write everything to one .npz file (no pickle), whole or not at all. Returns the path."""
        if len(self.runs) > 1:
            raise CourseError(
                "several runs side by side are no file of their own; save each run's replay, and put "
                "them "
                "side by side again"
            )
        path = pathlib.Path(path)
        path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
        run = self.runs[0]
        words = json.dumps({**run.words, "version": VERSION})
        buffer = io.BytesIO()
        contents: dict[str, Any] = {
            "words": np.array(words),
            "sha256": np.array(_digest(words, run.arrays)),
            **run.arrays,
        }
        np.savez_compressed(buffer, **contents)
        with runtime.atomic(path) as temporary:
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
                content = json.loads(words)
                version = content.pop("version")
                arrays = {
                    k: file[k] for k in (*ARRAYS, *(k for k in STRIPS if k in file)) if version == VERSION
                }
            if version == VERSION and digest != _digest(words, arrays):
                raise ValueError("its checksum differs")
        except (
            Exception
        ) as error:  # zip, header, key and checksum errors are of many types; all mean one thing
            raise CourseError(
                f"the replay {path} is damaged ({error}); delete it and save it again with "
                "panel.replay.save(...)"
            ) from None
        if version != VERSION:
            raise CourseError(
                f"the replay {path} has format {version}, this course reads {VERSION}; record it again"
            )
        return cls.of(Run(arrays, content))


def side_by_side(replays: Mapping[str, Replay]) -> Replay:
    """Several trainings on one slider, their curves on common axes.

    Args:
        replays: {name: replay}, two or three of them; a shorter one stays at its end.
    """
    if not 2 <= len(replays) <= 3:
        raise CourseError(
            f"{len(replays)} replays; put two or three side by side: "
            f"side_by_side({{'a': panel.replay, 'b': other.replay}})"
        )
    return Replay.of(
        *(Run(r.runs[0].arrays, {**r.runs[0].words, "title": str(name)}) for name, r in replays.items())
    )


def _drawn(run: Run, frame: int):
    """A frame of one run as a PIL picture, in the panel's look, the sample predictions below."""
    from PIL import Image

    from sslcourse import show
    from sslcourse.show import look
    from sslcourse.widgets import frame as panel_frame

    a, names, reach, epochs = run.arrays, run.words["names"], run.words["reach"], run.words["epochs"]
    rows = [
        {"epoch": e, **{k: float(v) for k, v in zip(names, column) if not math.isnan(v)}}
        for e, column in zip(epochs[: frame + 1], a["metrics"].T)
    ] or [{"epoch": e} for e in epochs[: frame + 1]]
    maps, filters = a["positions"], a["kernels"]
    xy = (maps[frame].astype(np.float32) / _FULL * 2 - 1) * reach if maps.shape[1] else None
    labels = np.where(a["labels"] == NOBODY, -1, a["labels"].astype(int))
    with look.course_style():
        figure = panel_frame.draw(
            rows,
            names,
            int(epochs[-1]),
            run.words["title"],
            xy,
            labels,
            run.words["classes"],
            filters[frame] if filters.shape[1] else None,
            reach,
            _strips_at(run, frame),
        )
        figure.canvas.draw()
        top = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
    if not a["guesses"].shape[1]:
        return top
    count = min(12, a["guesses"].shape[1])
    classes = run.words["classes"]
    name = lambda c: "?" if c == NOBODY else classes[c] if c < len(classes) else str(c)
    guessed, truth = a["guesses"][frame][:count], a["truth"][:count]
    marks = ["right" if g == t else "wrong" if t != NOBODY else None for g, t in zip(guessed, truth)]
    below = show.grid(
        a["pictures"][:count].transpose(0, 3, 1, 2),
        titles=[name(int(g)) for g in guessed],
        columns=12,
        frame=marks,
        scale=max(1, 44 // a["pictures"].shape[1]),
        title="samples, and what they are taken for",
    )
    bottom = Image.open(io.BytesIO(show.png(below))).convert("RGB")
    page = Image.new("RGB", (max(top.width, bottom.width), top.height + bottom.height), "white")
    page.paste(top, (0, 0))
    page.paste(bottom, (0, top.height))
    return page


def _digest(words: str, arrays: Mapping[str, np.ndarray]) -> str:
    sha = hashlib.sha256(words.encode())
    for name in sorted(arrays):
        sha.update(f"{name} {arrays[name].shape} {arrays[name].dtype}".encode())
        sha.update(np.ascontiguousarray(arrays[name]).tobytes())
    return sha.hexdigest()
