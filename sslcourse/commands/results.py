"""sslcourse claims, wall and bench: what holds of the papers, everything on one page, and how fast it is."""

from __future__ import annotations

import argparse
import time

from sslcourse.commands.options import log, print_result
from sslcourse.runtime import progress
from sslcourse.runtime.errors import CourseError

# ---------------------------------------------------------------------------------------------- claims

CLAIMS = """\
Every claim is an effect that is positive where the paper is right. Over the seeds: pass where the 95 %
interval of its mean lies above 0, fail where it lies below, else inconclusive. SimCLR trains nine networks a
seed, half a minute each on one thread.
"""


@progress.shown()
def claims(options) -> int:
    from sslcourse.results import claims as papers

    if not options.all:
        return _claims_of(options)
    if options.out:
        raise CourseError("--all writes one file for each paper, results/claims-PAPER.json; leave out --out")
    codes = []
    for paper in papers.papers():
        log(paper)
        codes.append(_claims_of(argparse.Namespace(**{**vars(options), "paper": paper})))
    return max(codes)


def _claims_of(options) -> int:
    from sslcourse import show
    from sslcourse.results import claims

    out = options.out or f"results/claims-{options.paper}.json"
    start, verdicts = time.perf_counter(), []
    for done, so_far in enumerate(claims.run(options.paper, options.seeds, file=out, say=log), 1):
        verdicts = so_far
        seconds = time.perf_counter() - start
        log(
            f"seed {done}/{options.seeds} done, {seconds:.0f} s, about "
            f"{seconds / done * (options.seeds - done):.0f} s left"
        )
    rows = [v.row() for v in verdicts]
    print_result(
        options,
        {
            "paper": options.paper,
            "file": out,
            "claims": [{**r, "effects": v.effects} for r, v in zip(rows, verdicts)],
        },
        f"{show.table(rows)!r}\nall numbers: {out}",
    )
    return 1 if any(v.verdict == "fail" for v in verdicts) else 0


# ---------------------------------------------------------------------------------------------- wall

WALL = """\
Reads the result files that come with the course, and yours before them: results/wall/*.json (sslcourse
evaluate --all, wall.add in Python) and results/claims-*.json (sslcourse claims --all).
"""


def wall(options) -> int:
    from sslcourse import show
    from sslcourse.results import wall as walls

    if options.keep:
        log("kept: " + ", ".join(file.name for file in walls.keep(options.folder)))
    found, verdicts = walls.read(options.folder), walls.verdicts(options.folder)
    page = walls.page(options.out, options.folder)
    if options.picture:
        walls.picture(options.picture, options.folder)
    parts = [
        (
            f"{walls.question(world)} ({rows['protocol']}; {rows['seeds']} seeds on "
            f"{rows['profile']})\n{show.table(walls.table(world, rows))!r}"
        )
        for world, rows in found.items()
    ]
    parts.append(f"claims\n{show.table(walls.counted(verdicts))!r}")
    print_result(
        options,
        {"worlds": found, "claims": verdicts, "page": str(page)},
        "\n\n".join([*parts, f"written: {page}"]),
    )
    return 0


# ---------------------------------------------------------------------------------------------- bench, doctor

BENCH = """\
bound = time of the network's forward and backward pass / time of a real step (data, augmentation, loss,
optimizer included).
Everything is measured in turns within this run; compare ratios, not seconds, between machines.
"""


@progress.shown()
def bench(options) -> int:
    import torch

    from sslcourse import encoders, runtime, show
    from sslcourse.results import bench
    from sslcourse.train import clustering

    steps = bench.step_table(
        rounds=options.rounds, encoder=getattr(encoders, options.encoder) if options.encoder else None
    )
    views = bench.augmentation_table()
    kept, rendered, filmed = bench.memory_gain(), bench.pictures_per_second(), bench.films_per_second()
    explorers, panel = bench.explorer_table(), bench.panel_share()
    kmeans = list(clustering.timing())
    device = torch.cuda.get_device_name() if runtime.profile().device == "cuda" else "CPU"
    value = {
        "device": device,
        "profile": str(runtime.profile()),
        "steps": steps,
        "augmentation": views,
        "memory kept": kept,
        "pictures/s": rendered,
        "films/s": filmed,
        "explorers": explorers,
        "live panel": panel,
        "k-means": kmeans,
    }
    short = lambda rows: show.table(
        [{k: round(v, 2 if v < 20 else 0) if isinstance(v, float) else v for k, v in r.items()} for r in rows]
    )
    text = (
        f"{device}: {runtime.profile()}\n\n{short(steps)!r}\n\n{short(views)!r}\n\n"
        f"keeping freed memory: {kept:.2f} times faster (forward and backward of the small network)\n"
        f"toybox: {rendered:,.0f} pictures of 32 pixels a second, {filmed:,.0f} films of 16 "
        f"frames\n\n{short(explorers)!r}\n\n"
        f"20,000 x 64, 200 clusters, seconds on one thread:\n{show.table(kmeans)!r}\n\n"
        f"live panel: {panel['share']:.1%} of a training's time for {panel['frames']} frames in "
        f"{panel['epochs']} epochs"
    )
    print_result(options, value, text)
    return 0
