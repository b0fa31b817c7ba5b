"""Where the order of XDC, CDC, MDC and SDC comes from: the same four trainings while the private nuisances
are turned up, and with a shared one.

    sslcourse table xdc_nuisance --seeds 3

"Strength" is the share of what the toybox's clips have by default (background 0.3, channel 0.5); in the last
row but one both are 1. "One venue": the channel goes with the background, in every clip. Accuracy of the
event by nearest neighbours, test split, and (last columns) how well XDC's clusters agree with the background
and the channel, as normalised mutual information on the training clips."""

from __future__ import annotations

from typing import Any

from sslcourse.data import toybox
from sslcourse.results.claims.xdc import CLIPS, RECIPE, VARIANTS, agreement, halves, judged, new
from sslcourse.results.tables import cell
from sslcourse.runtime import progress
from sslcourse.runtime.options import EPOCHS, SEEDS, Number, takes
from sslcourse.train.loop import fit

TITLE = "The order of the variants by the strength of the nuisance (toybox events, kNN, test accuracy, %)"
ROWS: dict[str, dict[str, Any]] = {
    "strength 0": dict(background=0.0, channel=0.0),
    "strength 1/3": dict(background=0.1, channel=1 / 6),
    "strength 1": dict(background=0.3, channel=0.5),
    "all of it": dict(background=1.0, channel=1.0),
    "one venue": dict(venue=1.0),
}


@takes(seeds=SEEDS, clips=Number(32, 100_000), epochs=EPOCHS)
def measure(seeds: int = 3, say=print, clips: int = 800, epochs: int = 9) -> list[dict]:
    """Rows of the table: mean and standard deviation over seeds.

    Args:
        clips: to train on, whose labels also make the neighbours.
        epochs: of every method.
    """
    rows = []
    for row, knobs in ROWS.items():
        data, found = toybox.events(clips, *CLIPS[1:], **knobs), []
        for seed in progress.each(range(seeds), "seed"):
            methods = {name: new(variant, seed) for name, variant in VARIANTS.items()}
            for method in methods.values():
                fit(method, data.train.unlabelled(), RECIPE.but(epochs=epochs, seed=seed))
            scores = judged(
                {name: halves(method) for name, method in methods.items()}, data, "tables.xdc_nuisance"
            )
            found.append({"clusters": agreement(methods["XDC"], data), **scores})
            say(
                f"  seed {seed}  {row:<14} "
                + "  ".join(f"{name} {s['eye kNN']:.2f} {s['ear kNN']:.2f}" for name, s in scores.items())
            )
        values = lambda name, key, found=found: cell([r[name][key] for r in found])
        rows.append(
            {
                "": row,
                **{
                    f"{part} {name}": values(name, f"{part} kNN")
                    for part in ("eye", "ear")
                    for name in VARIANTS
                },
                "eye's clusters, background": values("clusters", "eye clusters, background"),
                "ear's clusters, channel": values("clusters", "ear clusters, channel"),
            }
        )
    return rows
