"""The results wall: every method of every chapter, every claim with its verdict, and your own rows, all read
from result files.

    sslcourse wall                    the wall as text, and as one page (results/wall.html)
    sslcourse evaluate --all          measure all methods again; writes results/wall/DATA.json
    sslcourse evaluate --all --recipe full     the same at full strength; writes results/wall/DATA-full.json
    sslcourse claims --all            run all claims again; writes results/claims-PAPER.json
    wall.add("mine", method, data)    your own row, in results/wall/mine.json

What comes with the course lies in `sslcourse/results/measured`. A file of the same name in your own folder
goes before it."""

from __future__ import annotations

import base64
import html
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from sslcourse import evaluate, runtime, show
from sslcourse.data.datasets import Data
from sslcourse.methods import catalogue
from sslcourse.results import claims, compare, stored
from sslcourse.results.compare import mean_factors as factors
from sslcourse.results.tables import cell
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import REAL, SEED, WHOLE, takes
from sslcourse.train import checkpoints, identity as identities

FOLDER = Path("results")
# Which data there are to be judged on: the file's name -> (what `load` calls it, whether the ears are judged,
# the question).
WORLDS = {
    "toybox": ("toybox", False, "Pictures: which of ten solids is it?"),
    "films": ("toyvideos", False, "Films: which way round do the two solids go?"),
    "seen": ("toyevents", False, "Films with sound, seen: which of six events is it?"),
    "heard": ("toyevents", True, "Films with sound, heard: which of six events is it?"),
}
STRENGTHS = {"course": "", "full": "-full"}  # recipe -> what its file's name has behind the world's
# Tracking is judged otherwise, and measured by its claims (`sslcourse claims colorization`).
TRACKS = "tracks"
_QUESTIONS = {
    **{world: question for world, (_, _, question) in WORLDS.items()},
    TRACKS: "Films with masks: where has each solid gone?",
}
_TRACK_KEYS = {"J": "J (masks)", "F": "F (outlines)", "PCK@0.2": "PCK@0.2 (key-points)"}
MINE = "mine"


@takes(seeds=WHOLE)
def measure(
    world: str, seeds: int = 3, *, recipe: str = "course", folder: str | Path = FOLDER, say=print
) -> dict:
    """Train every method of the course that learns from this data, three seeds, and write
    `folder`/wall/WORLD.json, or WORLD-full.json for the "full" recipe; see `compare.run`.
    """
    if recipe not in STRENGTHS:
        raise CourseError(f"recipe={recipe!r}; the wall has {' and '.join(map(repr, STRENGTHS))}")
    data, hear, _ = _world(world)
    runtime.prove(_file(folder, world + STRENGTHS[recipe]), "name another folder")
    names = catalogue.methods_for(data, hears=hear)
    found = compare.run(
        names,
        data,
        seeds=seeds,
        recipe=recipe,
        factors=True,
        hear=hear,
        folder=Path(folder) / "compare",
        say=say,
    )
    compare.keep(found, _file(folder, world + STRENGTHS[recipe]))
    return found


def _world(world: str) -> tuple[str, bool, str]:
    if world not in WORLDS:
        raise CourseError(f"no world {world!r}; choose one of {', '.join(WORLDS)}")
    return WORLDS[world]


def _file(folder: str | Path, world: str) -> Path:
    return Path(folder) / "wall" / f"{world}.json"


def _opened(file: Path, shape: Any = stored.World) -> dict:
    return stored.opened(file, shape, "sslcourse evaluate --all")


def read(folder: str | Path = FOLDER) -> dict[str, dict]:
    """World -> what `compare.run` returned for it, the file in `folder` before the one that comes with the
    course, and your own rows added. What was measured with the FULL recipes is its entry "full".

    A world that nobody has measured is left out. Your own rows have "mine": True. The last world, "tracks",
    is read from the claims on tracking."""
    walls: dict[str, dict] = {}
    for world in WORLDS:
        short, full = (_measured(f"{world}{end}.json", folder) for end in STRENGTHS.values())
        if short is not None:
            walls[world] = short | ({} if full is None else {"full": full})
    own = Path(folder) / "wall" / f"{MINE}.json"
    for world, rows in (_opened(own, stored.Mine) if own.exists() else {}).items():
        if world in walls:
            walls[world]["rows"] = {
                **walls[world]["rows"],
                **{name: {**row, "mine": True} for name, row in rows.items()},
            }
            walls[world]["factors"] = {
                **walls[world].get("factors", {}),
                **{name: row["factors"] for name, row in rows.items() if row.get("factors")},
            }
    page = _claims_page("colorization", folder)
    if page is not None:
        runs = list(page["runs"].values())
        try:
            rows = {
                name: {key: [run[tracker][key] for run in runs] for key in _TRACK_KEYS} | {"trained": trained}
                for tracker, (name, trained) in claims.paper("colorization").ON_THE_WALL.items()
            }
        except (KeyError, TypeError) as error:
            raise CourseError(
                f"the results of the claims on tracking lack {error}; write them again: sslcourse claims "
                "colorization"
            ) from None
        walls[TRACKS] = {
            "data": "toybox tracks",
            "protocol": "masks and key-points of the first frame, carried on",
            "seeds": len(runs),
            "profile": str(runtime.Profile(**page["profile"])),
            "versions": page["versions"],
            "rows": rows,
        }
    return walls


def _measured(name: str, folder: str | Path) -> dict | None:
    """A result file of your own, else the one of this name that comes with the course, else None."""
    for file in (Path(folder) / "wall" / name, compare.MEASURED / name):
        if file.exists():
            return _opened(file)
    return None


def question(world: str) -> str:
    """What a world asks."""
    return _QUESTIONS[world]


def drawn(world: str, found: Mapping, title: str | None = None) -> show.Picture:
    """One world of `read` as a picture, see `show.wall`."""
    title = _QUESTIONS[world] if title is None else title
    if world == TRACKS:
        return show.wall(found["rows"], title=title, keys=_TRACK_KEYS, what="per cent, test split")
    rows, full = _beside_random(found), _beside_random(found.get("full", {}))
    rows = {
        name: row | ({"full": full[name]} if name in full and row.get("seconds") else {})
        for name, row in rows.items()
    }
    return show.wall(rows, chance=_chance(found), title=title)


def _beside_random(found: Mapping) -> dict[str, dict]:
    """The rows of one strength; each trained one with "own": what the random network that reads as it does
    scores with a linear probe.

    A file that awaits a new measurement was written before each way of reading had its own random network:
    its rows are left as they are."""
    rows = found.get("rows", {})
    if found.get("awaits"):
        return dict(rows)
    plain: dict = next((rows[name] for name in ("random encoder", "random ear") if name in rows), {})
    like = {name.partition(", as ")[2].removesuffix(" reads"): row for name, row in rows.items()}
    own = {name: like.get(name, plain).get("linear") for name in rows if _of_course(rows[name])}
    return {name: row | ({"own": own[name]} if own.get(name) else {}) for name, row in rows.items()}


def _of_course(row: Mapping) -> bool:
    """Whether a row is a trained method of the course: how one of your own reads, its row does not say."""
    return bool(row.get("seconds")) and not row.get("mine")


def table(world: str, found: Mapping) -> list[dict]:
    """One world of `read` as rows for `show.table`, in per cent: mean and standard deviation over seeds."""
    if world == TRACKS:
        return [
            {"features": name, **{title: cell(row[key]) for key, title in _TRACK_KEYS.items()}}
            for name, row in found["rows"].items()
        ]
    return compare.table(dict(found))


@takes(seconds=REAL, seed=SEED)
def add(
    name: str,
    method: nn.Module,
    data: Data,
    *,
    world: str = "toybox",
    seconds: float | None = None,
    folder: str | Path = FOLDER,
    seed: int = 0,
) -> dict:
    """Judge a trained method as the wall's own rows were judged, and put it on the wall as yours.

    Args:
        name: of the row. The same name again adds one more value: run it with another seed, and the wall
            shows the spread. What is on it already is not added twice.
        method: trained; for the world "heard" its ear.
        data: what it was trained on, all three splits; the test labels are opened once here.
        world: one of `WORLDS`.
        seconds: how long its training took, if you want that to be shown.
        folder: where your results are.

    Returns:
        the row with all its values: {"kNN": [...], "linear": [...], "few labels": [...], "seconds": [...],
            "factors": {...}}.

    Raises:
        CourseError: another method, or another data set, stands there under this name; or the file cannot be
            written.
    """
    hear = _world(world)[1]
    judged = data.heard() if hear else data
    file = runtime.prove(_file(folder, MINE), "name another folder")
    own = _opened(file, stored.Mine) if file.exists() else {}
    fresh = {
        "seconds": [],
        "factors": {},
        "versions": checkpoints.versions(),
        "profile": str(runtime.profile()),
    }
    row = own.setdefault(world, {}).setdefault(name, fresh)
    this = compare.rounded(
        {**identities.identity(method, data.train), "network": identities.network(method), "seed": seed}
    )
    for other in row.setdefault("judged", []):
        if this == other:
            return row
        _same_row(name, other, this)
    scores = evaluate.report({name: method}, judged, seed=seed, baselines=False, few=compare.FEW)[name]
    for key in ("kNN", "linear", "few labels"):
        row.setdefault(key, []).append(scores[key])
    if seconds is not None:
        row["seconds"].append(seconds)
    # Data of one's own have no known factors; then there is nothing to ask.
    known = evaluate.factor_table({name: method}, judged, on="test")[name] if judged.train.factors else {}
    for factor, value in known.items():
        row["factors"].setdefault(factor, []).append(value)
    row["judged"].append(this)
    compare.keep(own, file)
    return row


def _same_row(name: str, there: Mapping, here: Mapping) -> None:
    """CourseError unless both can be values of one row: one method with one setting, on data of one name
    (each seed may draw its own world)."""
    of_data = [found["data"]["name"] for found in (there, here)]
    differing = identities.differences(*({**found, "data": None} for found in (there, here)))
    if there["class"] != here["class"] and not differing:
        differing = [f"class {there['class']} there, {here['class']} here"]
    if of_data[0] != of_data[1]:
        differing.append(f"data {of_data[0]} there, {of_data[1]} here")
    if differing:
        raise CourseError(
            f"the wall has a row {name!r} of something else ({'; '.join(differing)}). Take another name, "
            f"or take "
            f"that row off: wall.forget({name!r})"
        )


def forget(name: str, folder: str | Path = FOLDER) -> None:
    """Take one of your own rows off the wall, in every world."""
    file = _file(folder, MINE)
    own = _opened(file, stored.Mine) if file.exists() else {}
    if not any(name in rows for rows in own.values()):
        known = sorted({n for rows in own.values() for n in rows})
        raise CourseError(
            f"there is no row {name!r} of yours; "
            + (f"yours are {', '.join(known)}" if known else "you have added none")
        )
    compare.keep(
        {world: {n: row for n, row in rows.items() if n != name} for world, rows in own.items()}, file
    )


# ---------------------------------------------------------------------------------------------- claims


def verdicts(folder: str | Path = FOLDER) -> list[dict]:
    """All claims that were measured, in the course's order: paper, claim, text, source, effects (per seed),
    unit, mean, low, high, verdict.

    The verdicts are computed here, from the effects of the seeds: what a file says about them is not
    believed."""
    rows = []
    for name in sorted(claims.papers(), key=lambda name: claims.paper(name).LESSON):
        page = _claims_page(name, folder)
        if page is None:
            continue
        for v in claims.judge(name, {int(seed): runs for seed, runs in page["runs"].items()}, partly=True):
            low, high = v.interval
            rows.append(
                {
                    "paper": name,
                    "claim": v.claim,
                    "text": v.text,
                    "source": v.source,
                    "effects": list(v.effects),
                    "unit": v.unit,
                    "mean": v.mean,
                    "low": low,
                    "high": high,
                    "verdict": v.verdict,
                    "profile": page.get("profile"),
                    "versions": page.get("versions"),
                }
            )
    return rows


def _claims_page(name: str, folder: str | Path) -> dict | None:
    """The result file of a paper's claims; None where nobody has run them."""
    file = next(
        (
            f
            for f in (Path(folder) / f"claims-{name}.json", compare.MEASURED / f"claims-{name}.json")
            if f.exists()
        ),
        None,
    )
    if file is None:
        return None
    page = stored.opened(file, stored.Claims, f"sslcourse claims {name}")
    if page["paper"] != name or not page["runs"]:
        raise CourseError(
            f"{str(file)!r} holds no claims of {name!r}; delete it, or write it again: sslcourse claims "
            f"{name}"
        )
    return page


def counted(rows: list[dict]) -> list[dict]:
    """One row for each paper: how many of its claims pass, fail, and stay open."""
    result = []
    for name in dict.fromkeys(r["paper"] for r in rows):
        found = [r["verdict"] for r in rows if r["paper"] == name]
        seeds = min(len(r["effects"]) for r in rows if r["paper"] == name)
        result.append(
            {
                "paper": name,
                "claims": len(found),
                **{v: found.count(v) for v in ("pass", "inconclusive", "fail")},
                "seeds": seeds,
            }
        )
    return result


def claim_rows(rows: list[dict]) -> list[dict]:
    """For `show.table`: the claims as `sslcourse claims` prints them, with their paper."""
    return [
        {
            "paper": r["paper"],
            **claims.Verdict(r["claim"], r["text"], r["source"], tuple(r["effects"]), r["unit"]).row(),
        }
        for r in rows
    ]


def keep(folder: str | Path = FOLDER) -> list[Path]:
    """Store the results in `folder` as those that come with the course, and return the files: for those who
    build it.
    """
    written = []
    for name in (f"{world}{end}.json" for world in WORLDS for end in STRENGTHS.values()):
        file = Path(folder) / "wall" / name
        if file.exists():
            written.append(compare.MEASURED / file.name)
            compare.keep(_opened(file), written[-1])
    for name in claims.papers():
        file = Path(folder) / f"claims-{name}.json"
        if file.exists():
            page = stored.opened(file, stored.Claims, f"sslcourse claims {name}")
            written.append(compare.MEASURED / file.name)
            compare.keep({key: page[key] for key in ("paper", "runs", "versions", "profile")}, written[-1])
    return written


# ---------------------------------------------------------------------------------------------- as one page


def page(file: str | Path | None = None, folder: str | Path = FOLDER) -> Path:
    """Write the wall as one HTML page that needs no network: bars of every world, factor tables, all claims.
    Returns the file.
    """
    walls, rows = read(folder), verdicts(folder)
    parts = ["<h1>The results wall</h1>"]
    for world, found in walls.items():
        note = (
            f"{found['protocol']}; {found['seeds']} seeds, test split; {found['profile']}, torch "
            f"{found['versions'].get('torch')}"
        )
        parts += [
            f"<h2>{html.escape(question(world))}</h2>",
            _image(drawn(world, found, "")),
            f"<p>{html.escape(note)}</p>",
        ]
        if found.get("factors"):
            parts.append(
                _image(show.factor_table(factors(found), "what each one kept (0 nothing, 1 everything)"))
            )
    if rows:
        parts += [
            "<h2>What holds of the papers, at this scale</h2>",
            _image(show.verdicts(rows)),
            show.table(claim_rows(rows))._repr_html_(),
        ]
    style = (
        ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;"
        "margin:2em auto;padding:0 1em}img{max-width:100%}"
    )
    text = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>The results "
        f"wall</title><style>{style}</style>{''.join(parts)}</html>\n"
    )
    file = Path(file) if file else Path(folder) / "wall.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    with runtime.atomic(file) as temporary:
        temporary.write_text(runtime.text.encodable(text), encoding="utf-8", newline="\n")
    return file


def picture(file: str | Path, folder: str | Path = FOLDER) -> Path:
    """Write the bars of every world and the verdicts below them as one PNG. Returns the file."""
    import io

    from PIL import Image

    walls, rows = read(folder), verdicts(folder)
    figures = [drawn(world, found) for world, found in walls.items()]
    figures += [show.verdicts(rows, title="Claims of the papers")] if rows else []
    tiles = [Image.open(io.BytesIO(show.png(figure))).convert("RGBA") for figure in figures]
    size = (max(t.width for t in tiles), sum(t.height for t in tiles))
    sheet = Image.new("RGBA", size, (255, 255, 255, 0))  # the README's page may be light or dark
    top = 0
    for tile in tiles:
        sheet.paste(tile, (0, top))
        top += tile.height
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with runtime.atomic(file) as temporary:
        temporary.write_bytes(show.encode_png(sheet, 128))
    return file


def _image(figure) -> str:
    return f"<img alt='' src='data:image/png;base64,{base64.b64encode(show.png(figure)).decode()}'>"


def _chance(found: Mapping) -> float | None:
    row = found["rows"].get("chance")
    return statistics.fmean(row["linear"]) if row else None
