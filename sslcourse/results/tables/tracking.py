"""Table 1 of "Tracking emerges by colorizing videos" (arXiv:1806.09594): who carries the first mask along a
film, and how well.

    sslcourse table tracking                                  films of the toybox, key-points too
    sslcourse table tracking --seeds 1 --set data=FOLDER      your own sequences in the layout of DAVIS:
                                                              JPEGImages/480p/NAME/*.jpg and
                                                              Annotations/480p/NAME/*.png; another name than
                                                              480p by --set resolution=...

Every network has the same encoder and the same number of updates. "as the paper tracks": everywhere in the
three frames before; all other features point within a window, keep the ten best matches and the first frame,
as the paper's successors do. "supervised" is the same network and pointer, told the true masks of the
training films in the place of colours.

Departures: the paper trains on 300,000 films of Kinetics and tracks on DAVIS 2017; its supervised row is
another network. With a FOLDER the networks are trained on the frames of these very sequences, without their
masks, in windows of a few frames cut from them; "supervised" is left out, because it would be told the
answers. J and F leave the last frame out there, as the benchmark does. The flows see the frames as small as
the networks see them. The paper's columns are for the order alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse import encoders, evaluate, runtime
from sslcourse.data import clips
from sslcourse.data.datasets import Samples
from sslcourse.evaluate import tracking
from sslcourse.evaluate.optical_flow import FLOWS, by_flow
from sslcourse.methods import colorization
from sslcourse.results.claims.colorization import (
    FILMS,
    FLOW_NAMES,
    PAPERS,
    RECIPE,
    TEMPERATURE,
    TRACK,
    new,
    runs,
    worlds,
)
from sslcourse.results.tables import cell
from sslcourse.runtime import progress
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, PIXELS, SEEDS, SOME, Number, takes
from sslcourse.train.loop import fit

TITLE = (
    "Tracking by colorization: J, F and key-points against flow and features that learned nothing "
    "(test films, %)"
)
PAPER = {
    "identity": (22.1, 23.6),
    "single image": (4.7, 5.2),
    "flow, coarse to fine": (13.0, 15.1),
    "as the paper tracks": (34.6, 32.7),
    "supervised": (55.1, 62.1),
}
SHOWN = {
    "as the paper tracks": "colorization, as the paper tracks",
    "colorization": "colorization, with window, first frame and best ten",
    "flow, local": "flow, scikit-image",
    "flow, coarse to fine": "flow, OpenCV, coarse to fine",
    "single image": "single-image colorization",
    "supervised": "supervised (masks)",
}
ORDER = (
    "identity",
    "single image",
    "flow, local",
    "flow, coarse to fine",
    "random features",
    "as the paper tracks",
    "colorization",
    "supervised",
)
SIDE = 96  # of the crops that are trained on with a folder, in pixels of the reduced frames
GAPS = (1, 2, 3)  # between their frames


@takes(
    seeds=SEEDS, films=Number(8, 100_000), test=Number(1, 100_000), epochs=SOME, height=PIXELS, crops=COUNT
)
def measure(
    seeds: int = 3,
    say=print,
    data: str = "toytracks",
    films: int = FILMS,
    test: int = 40,
    epochs: int = 0,
    resolution: str = "480p",
    height: int = 128,
    crops: int = 2000,
) -> list[dict]:
    """Rows of the table: mean and standard deviation over seeds.

    Args:
        data: "toytracks", or a folder in the layout of DAVIS.
        films, test: of the toybox, to train on and to track in.
        epochs: of every training; 0 is 6 for the toybox and 24 for a folder.
        resolution: of a folder, the name below JPEGImages.
        height: of a folder: frames are reduced to so many pixels for networks and flows; masks keep their
            size.
        crops: of a folder: windows of four frames to train on.
    """
    if data == "toytracks":
        found = [
            _toybox(seed, films, test, epochs or RECIPE.epochs, say)
            for seed in progress.each(range(seeds), "seed")
        ]
    else:
        sequences = clips.sequences(data, resolution=resolution)
        found = [
            _folder(seed, sequences, height, crops, epochs or 24, say)
            for seed in progress.each(range(seeds), "seed")
        ]
    rows = []
    for name in ORDER:
        if name not in found[0]:
            continue
        measures = {
            key: cell([r[name][key] for r in found]) for key in found[0][name] if key != "colour and J"
        }
        hurt = (
            {"J, hurt": cell([r[f"{name}, hurt"]["J"] for r in found if f"{name}, hurt" in r])}
            if data == "toytracks"
            else {}
        )
        j, f = PAPER.get(name, ("–", "–"))
        rows.append(
            {"labels carried by": SHOWN.get(name, name), **measures, **hurt, "paper: J": j, "paper: F": f}
        )
    return rows


def _toybox(seed: int, films: int, test: int, epochs: int, say) -> dict[str, dict[str, float]]:
    data, recipe = worlds(seed, films, test), RECIPE.but(epochs=epochs, seed=seed)
    found = runs(seed, data, recipe, say)
    told = new(colorization.CopiedMasks, seed, temperature=TEMPERATURE)
    fit(told, data["calm"].train, recipe)
    measured = tracking.measure(
        {"supervised": tracking.by_features(told.embed, **TRACK)}, data["calm"].test, reader="tables.tracking"
    )
    say(f"  seed {seed}  supervised: J {measured['supervised'].J:.3f}")
    return {**found, "supervised": measured["supervised"].row()}


# --------------------------------------------------------------------------------------------- real sequences


def reduced(frames: Tensor, height: int) -> Tensor:
    """(3, T, H, W) uint8 at so many pixels of height, the width in proportion, both multiples of 4; frames
    that are smaller pass.
    """
    h, w = frames.shape[2:]
    if h <= height:
        return frames
    size = (height // 4 * 4, max(4, round(w * height / h / 4) * 4))
    small = F.interpolate(frames.transpose(0, 1).float(), size=size, mode="area")
    return small.round().clamp(0, 255).to(torch.uint8).transpose(0, 1)


def windows(
    films: Sequence[Tensor], n: int, frames: int, side: int = SIDE, gaps: Sequence[int] = GAPS, seed: int = 0
) -> Samples:
    """Squares cut from a few frames each of films (3, T, h, w), at random: which film (longer ones more
    often), when, where, and how far apart.
    """
    g = runtime.generator(seed, 0x317D)
    side = min(side, *(min(f.shape[2:]) for f in films))
    span = torch.tensor([f.shape[1] for f in films]) - (frames - 1) * min(gaps)
    if int(span.max()) < 1:
        raise CourseError(
            f"the longest film has {max(f.shape[1] for f in films)} frames; {frames} are needed"
        )
    cut = torch.empty(n, 3, frames, side, side, dtype=torch.uint8)
    for i, which in enumerate(
        torch.multinomial(span.clamp_min(0).float(), n, replacement=True, generator=g).tolist()
    ):
        _, t, h, w = films[which].shape
        fitting = [k for k in gaps if (frames - 1) * k < t]
        gap = fitting[int(torch.randint(len(fitting), (1,), generator=g))]
        first, y, x = (
            int(torch.randint(room + 1, (1,), generator=g))
            for room in (t - 1 - (frames - 1) * gap, h - side, w - side)
        )
        cut[i] = films[which][:, first : first + (frames - 1) * gap + 1 : gap, y : y + side, x : x + side]
    return Samples(video=cut, name="windows")


def _masked(sequences, small: dict[str, Tensor], say, start: float) -> Iterator[tuple[Tensor, Tensor, None]]:
    for name, _, masks in sequences:
        say(f"    {name}, {len(masks)} frames  {time.perf_counter() - start:.0f} s")
        yield small[name], masks, None


def _folder(seed: int, sequences, height: int, crops: int, epochs: int, say) -> dict[str, dict[str, float]]:
    start = time.perf_counter()
    small = {name: reduced(frames, height) for name, frames, _ in sequences}
    samples = windows(list(small.values()), crops, 4, seed=seed)
    say(
        f"  seed {seed}  {len(samples):,} windows of {tuple(samples.video.shape[2:])} from {len(small)} films"
    )

    def network(kind: type, **arguments):
        torch.manual_seed(runtime.step_seed(seed, 0xC1))
        return kind(encoders.dense_cnn(48, 48, stride=4), **arguments)

    method, single = (
        network(colorization.Colorization, temperature=TEMPERATURE),
        network(colorization.SingleImage),
    )
    recipe = RECIPE.but(epochs=epochs, seed=seed)
    for kind, learner in (("colorization", method), ("single image", single)):
        row = fit(learner, samples, recipe)[-1]
        say(
            f"  seed {seed}  {kind}: loss {row['loss']:.3f}, colour found {row['colour found']:.3f}  "
            f"{time.perf_counter() - start:.0f} s"
        )
    untrained = evaluate.random_like(network(colorization.Colorization), samples, seed)
    by = tracking.by_features
    trackers = {
        "identity": tracking.identity,
        **{FLOW_NAMES[name]: by_flow(flow) for name, flow in FLOWS.items()},
        "random features": by(untrained.embed, **TRACK),
        "single image": by(single.embed, **TRACK),
        "as the paper tracks": by(method.embed, temperature=TEMPERATURE / 2, **PAPERS),
        "colorization": by(method.embed, **TRACK),
    }
    found = tracking.measure(trackers, _masked(sequences, small, say, start), last=False)
    for name, measured in found.items():
        of_each = ", ".join(f"{film} {j:.2f}" for film, j in zip(sequences.names, measured.films().tolist()))
        say(f"  seed {seed}  {name:<24} J {measured.J:.3f}  F {measured.F:.3f}  ({of_each})")
    return {name: measured.row() for name, measured in found.items()}
