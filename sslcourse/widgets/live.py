"""A panel that shows a training while it runs, and spends at most two per cent of its time on that.

    panel = Panel(recipe.epochs, classes=data.classes)
    for row in epochs(method, data.train, recipe):
        panel.add(row)                                     # plain code: the loop belongs to the reader
    panel.close()

Frames are matplotlib pictures sent as PNG through a display handle: one output, replaced in place, so that
the notebook keeps exactly the last frame. Between frames rows are only remembered; what is remembered can be
played again with `panel.replay`."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from sslcourse import runtime
from sslcourse.runtime import options
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import REAL, takes
from sslcourse.widgets.frame import draw
from sslcourse.widgets.strips import NEAREST, PLAIN, strips

BACKENDS = ("notebook", "terminal", "silent")
MOST_POINTS = 2000  # on a map; more would cost more than they show


def choose_backend() -> str:
    """`SSLCOURSE_DISPLAY` if set (notebook, terminal or silent), else what this front end can show."""
    if (wanted := options.variable("SSLCOURSE_DISPLAY", BACKENDS)) is not None:
        return wanted
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and getattr(shell, "kernel", None) is not None:
        return "notebook"
    return "terminal" if sys.stderr is not None and sys.stderr.isatty() else "silent"


# ---------------------------------------------------------------------------------------------- maps


def _points(xy, name: str = "xy") -> np.ndarray:
    xy = xy.detach().float().cpu().numpy() if isinstance(xy, Tensor) else np.asarray(xy, np.float32)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise CourseError(
            f"{name} has shape {xy.shape}; expected (N, 2): map2d(features) makes two coordinates of many"
        )
    return xy.astype(np.float32)


def align(xy, previous) -> Tensor:
    """Turn, mirror and shift `xy` (N, 2) so that it lies on `previous` (N, 2) as well as it can; nothing is
    stretched.

    Orthogonal Procrustes: with centred A and B, the rotation U V' of the singular value decomposition A'B = U
    S V' brings A nearest to B. The axes of a principal component analysis may swap or change sign from one
    epoch to the next; this undoes it, so that clusters move instead of jumping."""
    a, b = torch.from_numpy(_points(xy)).double(), torch.from_numpy(_points(previous, "previous")).double()
    if not torch.isfinite(a).all():
        raise CourseError("xy holds NaN or infinity, which no turn brings anywhere; look for what diverged")
    if a.shape == b.shape and not torch.isfinite(b).all():
        return a.float()  # there was no map to lie on
    if a.shape != b.shape:
        raise CourseError(
            f"xy is {tuple(a.shape)} and previous is {tuple(b.shape)}; map the same samples in the same order"
        )
    centre_a, centre_b = a.mean(0), b.mean(0)
    u, _, vh = torch.linalg.svd((a - centre_a).T @ (b - centre_b))
    return ((a - centre_a) @ (u @ vh) + centre_b).float()


def map2d(features, previous=None) -> Tensor:
    """The two directions along which the features differ most: (N, D) to (N, 2).

    Features are normalised to length 1 first (only their direction counts for a cosine) and centred; nothing
    is rescaled, so a representation that collapses shrinks to a point on the map. With `previous`, the map of
    the same samples an epoch ago, the new one is turned to lie on it."""
    x = torch.as_tensor(features).detach().float().cpu()
    if x.ndim != 2 or len(x) < 3 or x.shape[1] < 2:
        raise CourseError(
            f"features of shape {tuple(x.shape)}; expected (N, D) with at least 3 samples and 2 dimensions"
        )
    if not torch.isfinite(x).all():
        raise CourseError(
            "the features hold NaN or infinity: the training has diverged; start again with a lower lr"
        )
    x = runtime.unit(x)  # float64: all features may point nearly the same way
    x = x - x.mean(0)
    # Eigenvectors of the (D, D) covariance: 40 times faster than a singular value decomposition of all
    # samples.
    if x.shape[1] > len(x):
        _, _, basis = torch.linalg.svd(x, full_matrices=False)
        basis = basis[:2].T
    else:
        basis = torch.linalg.eigh(x.T @ x)[1][:, -2:].flip(1)
    # The sign of an eigenvector is arbitrary; fix it by its largest entry, so that a map can be repeated.
    largest = basis.abs().argmax(0)
    xy = (x @ (basis * basis[largest, torch.arange(2)].sign())).float()
    return xy if previous is None else align(xy, previous)


# ---------------------------------------------------------------------------------------------- the panel


class Panel:
    """Loss, probe scores, health, a map of clusters and filters, redrawn while a training runs.

    Args:
        recipe_epochs: how many epochs there will be: a number, or the `Recipe`.
        classes: names of the classes, for the map's legend.
        title: written above.
        budget: share of the time since the start that drawing may take.
        samples: a few labelled samples (at most 24 are kept) whose predictions `add(..., predicted=...)` will
            hand over, for the replay.
        backend: "notebook", "terminal" or "silent"; by default `SSLCOURSE_DISPLAY`, else what the front end
            can show.

    A frame is drawn only when the budget has room for it, and always at the last epoch and at `close()`, so
    what stays in the notebook is the end of the training. The first, empty frame is drawn before the clock
    starts, because it pays for fonts and caches. Works as a context manager; running the cell again makes a
    new picture."""

    @takes(budget=REAL)
    def __init__(
        self,
        recipe_epochs,
        classes: Sequence[str] = (),
        title: str = "",
        budget: float = 0.02,
        backend: str | None = None,
        samples=None,
    ):
        self.epochs = int(getattr(recipe_epochs, "epochs", recipe_epochs))
        if self.epochs < 1:
            raise CourseError(f"recipe_epochs={recipe_epochs!r}; pass recipe.epochs, a whole number from 1")
        if not 0 < budget <= 1:
            raise CourseError(f"budget={budget}; it is a share of the training's time, 0.02 for two per cent")
        self.backend = backend or choose_backend()
        if self.backend not in BACKENDS:
            raise CourseError(f"backend={backend!r} is none of {', '.join(BACKENDS)}")
        self.classes, self.title, self.budget = tuple(map(str, classes)), str(title), budget
        self.rows: list[dict[str, float]] = []
        self.frames_drawn = 0
        self._xy: np.ndarray | None = None
        self._labels: np.ndarray | None = None
        self._filters: np.ndarray | None = None
        self._strips: dict[str, np.ndarray] | None = None
        self._pictures: Tensor | None = None if samples is None else samples.pictures[:24]
        self._truth: np.ndarray | None = None if samples is None else samples.label[:24].cpu().numpy()
        self._reach = NEAREST
        self._snapshots: list[dict] = []
        # a second thread (a widget's callback) may ask for a frame while one is drawn
        self._lock = threading.RLock()
        self._handle, self._closed, self._stale, self._last_png = None, False, False, b""
        self._spent, self._cost, self._next, self._line = 0.0, 0.0, 0.0, 0
        self._stopped: float | None = None
        if self.backend == "notebook":
            self._show(self._render())
            # a second one: the first also filled font caches, which says nothing on the next
            start = time.perf_counter()
            self._render()
            # a full frame is about so much more work than an empty one
            self._cost = 1.6 * (time.perf_counter() - start)
        self._start = time.perf_counter()

    # ------------------------------------------------------------------ what comes in

    def map(self, xy, labels=None) -> Panel:
        """The clusters as they are now: positions (N, 2) and class numbers (N,). Shown with the next row."""
        with self._spending():
            xy = _points(xy)
            labels = (
                np.full(len(xy), -1)
                if labels is None
                else np.asarray(torch.as_tensor(labels).cpu()).astype(int)
            )
            if labels.shape != (len(xy),):
                raise CourseError(
                    f"{len(xy)} points but labels of shape {labels.shape}; pass one number per point"
                )
            self._xy, self._labels = xy[:MOST_POINTS], labels[:MOST_POINTS]
            if len(xy):
                # Of what is a place: one diverged epoch must not make all later ones small for good.
                far = np.nan_to_num(np.abs(xy), posinf=0)
                self._reach = max(self._reach, float(far.max()) * 1.05)
            self._stale = True
        return self

    def filters(self, tensor) -> Panel:
        """The first layer's kernels (n, 3, k, k) in 0..1, or an encoder. Shown with the next row."""
        with self._spending():
            if isinstance(tensor, torch.nn.Module):
                from sslcourse.encoders.images import first_filters

                tensor = first_filters(tensor)
            x = torch.as_tensor(tensor).detach().cpu()
            if x.ndim != 4:
                raise CourseError(
                    f"filters of shape {tuple(x.shape)}; expected (n, 3, k, k), as "
                    "encoders.first_filters "
                    "gives"
                )
            x = x if x.shape[1] == 3 else x.float().mean(1, keepdim=True).expand(-1, 3, -1, -1)
            x = x if x.dtype == torch.uint8 else (x.float().clamp(0, 1) * 255).round().to(torch.uint8)
            self._filters = x[:64].permute(0, 2, 3, 1).contiguous().numpy()  # (n, k, k, 3)
            self._stale = True
        return self

    def add(
        self,
        row: Mapping[str, float],
        xy=None,
        labels=None,
        filters=None,
        assigned=None,
        predicted=None,
        pictures=None,
        **numbers: float,
    ) -> Panel:
        """One row of numbers, with what else is known of this moment; drawn if the budget has room.

        Args:
            row: of `epochs`: its metrics become curves.
            **numbers: further ones, such as `**evaluate.probe(method, data)`.
            xy, labels: the map and its classes, as for `map`.
            filters: as for `filters`.
            assigned: (N,) the cluster of each mapped sample; for the replay, which colours by it on request.
            predicted: (M,) what each of the panel's `samples` is taken for now; for the replay.
            pictures: {name: (n, 3, h, w)}, rows of small pictures that stand below, such as what a generator
                draws now: at most 4 rows of 12, the same names and numbers every time. One that never changes
                is stored once.
        """
        with self._lock:
            if self._closed:
                raise CourseError(
                    "this panel is closed; make a new one with Panel(recipe.epochs) for another training"
                )
            if xy is not None:
                self.map(xy, labels)
            if filters is not None:
                self.filters(filters)
            if pictures is not None:
                with self._spending():
                    self._strips = strips(pictures)
            with self._spending():
                self.record({**row, **numbers}, assigned, predicted)
            last = self.rows[-1]
            self._update(
                force=last.get("epoch", len(self.rows)) >= self.epochs or bool(last.get("interrupted"))
            )
        return self

    def record(self, row: Mapping[str, float], assigned=None, predicted=None) -> None:
        """Remember a row, with the map and filters as they are, for the charts and for `replay`; draw
        nothing.
        """
        kept = {}
        for name, value in row.items():
            try:
                kept[str(name)] = float(value)
            except (TypeError, ValueError):
                raise CourseError(
                    f"row[{name!r}] is {value!r}; a row holds plain numbers, {{'loss': 1.5}}"
                ) from None
        with self._lock:
            self.rows.append(kept)
            snapshot: dict = {"row": kept}
            if self._xy is not None:
                snapshot["xy"] = (
                    self._xy.astype(np.float16) if np.abs(self._xy).max(initial=0) < 6e4 else self._xy
                )
                snapshot["labels"] = self._labels
            if self._filters is not None:
                snapshot["filters"] = self._filters
            if self._strips is not None:
                snapshot["strips"] = self._strips
            for name, value in (("assigned", assigned), ("predicted", predicted)):
                if value is not None:
                    snapshot[name] = np.asarray(torch.as_tensor(value).cpu()).astype(np.int16)[:MOST_POINTS]
            self._snapshots.append(snapshot)
            self._stale = True

    @property
    def replay(self):
        """Everything recorded so far as a `Replay`: a slider over the epochs that needs no kernel."""
        from sslcourse.widgets.replay import Replay

        with self._lock:
            return Replay(
                list(self._snapshots),
                classes=self.classes,
                title=self.title,
                pictures=self._pictures,
                truth=self._truth,
            )

    @property
    def last_map(self):
        """The map as it was last handed over, (N, 2), or None: where the next one should start from."""
        return None if self._xy is None else torch.from_numpy(np.asarray(self._xy, np.float32))

    def resume(self, replay, epoch: float) -> Panel:
        """Take over the frames of a recorded replay up to an epoch: a training that goes on there goes on in
        its record.
        """
        with self._lock:
            self._snapshots = [f for f in replay.frames() if f["row"]["epoch"] <= epoch]
            self.rows = [f["row"] for f in self._snapshots]
            last = next((f for f in reversed(self._snapshots) if "xy" in f), None)
            if last is not None:
                self.map(last["xy"], last["labels"])
        return self

    # ------------------------------------------------------------------ when to draw

    @contextlib.contextmanager
    def _spending(self):
        start = time.perf_counter()
        with self._lock:
            yield
            self._spent += time.perf_counter() - start

    @property
    def spent_share(self) -> float:
        """The share of the time since the start (up to `close`) that went into this panel."""
        return self._spent / max((self._stopped or time.perf_counter()) - self._start, 1e-9)

    def _update(self, force: bool = False) -> None:
        now = time.perf_counter()
        if self.backend == "silent" or not self._stale:
            return
        allowed = self.budget * (now - self._start)
        if not force and (now < self._next or self._spent + self._cost > allowed):
            return
        if self.backend == "terminal":
            self._print_line()
        else:
            self._show(self._render())
        cost = time.perf_counter() - now
        self._cost = cost if not self.frames_drawn else 0.5 * (self._cost + cost)
        self._spent += cost
        self.frames_drawn += 1
        self._next = time.perf_counter() + 0.2
        self._stale = False

    def close(self) -> None:
        """Draw the final state, whatever the budget says, and take no more rows. Calling it again does
        nothing.
        """
        with self._lock:
            if self._closed:
                return
            self._update(force=True)
            if self.backend == "terminal" and self._line:
                print(file=sys.stderr, flush=True)
            self._closed, self._stopped = True, time.perf_counter()

    def __enter__(self) -> Panel:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def __repr__(self):
        return f"<panel: {len(self.rows)} of {self.epochs} epochs{', closed' * self._closed}>"

    # ------------------------------------------------------------------ how to draw

    @property
    def png(self) -> bytes:
        """The current state as PNG bytes."""
        with self._lock:
            return self._render()

    def _show(self, data: bytes) -> None:
        from IPython.display import Image, display

        self._last_png = data
        if self._handle is None:
            self._handle = display(Image(data, format="png"), display_id=True)
        else:
            self._handle.update(Image(data, format="png"))

    def _print_line(self) -> None:
        row = self.rows[-1] if self.rows else {}
        metrics = "  ".join(f"{k} {v:.3f}" for k, v in row.items() if k not in PLAIN)
        text = (
            f"{self.title + ': ' if self.title else ''}epoch "
            f"{row.get('epoch', len(self.rows)):>3.0f}/{self.epochs}  {metrics}"
        )
        print("\r" + text[:150].ljust(self._line), end="", file=sys.stderr, flush=True)
        self._line = len(text[:150])

    def _render(self) -> bytes:
        from sslcourse import show
        from sslcourse.show import look

        names = list(dict.fromkeys(k for row in self.rows for k in row if k not in PLAIN))
        with look.course_style():
            figure = draw(
                self.rows,
                names,
                self.epochs,
                self.title,
                self._xy,
                self._labels,
                self.classes,
                self._filters,
                self._reach,
                self._strips,
            )
            return show.png(figure)
