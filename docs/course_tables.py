"""Every table of the README and of the pages, made from result files. Nothing here is typed by hand.

    rows("claims simclr")        a table by its name, and a note: which command, seeds and device
    markdown(rows(...).rows)     as a Markdown table
    lessons()                    the README's table of lessons; `python docs/readme.py` writes it there

Names of tables: `claims PAPER`, `claims`, `wall WORLD`, `factors WORLD`, `calibration`, `efforts`,
`exercises`, and every other JSON file among the measured results by its stem.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
# A student's own results stand before those of the course elsewhere; here no folder has any.
NOBODYS = Path(__file__).resolve().parent / "no results of a reader"

Row = Mapping[str, object]


@dataclass(frozen=True)
class Table:
    """Rows with the same columns, and what made them: shown below the table."""

    rows: Sequence[Row]
    note: str = ""
    columns: Sequence[str] = field(default=())


def measured() -> Path:
    """The folder of the result files that come with the course."""
    from sslcourse import compare

    return compare.MEASURED


def page(name: str) -> dict:
    """A result file by its stem.

    Raises:
        LookupError: there is no such file; the message lists those there are.
    """
    file = measured() / f"{name}.json"
    if not file.exists():
        known = ", ".join(sorted(f.stem for f in measured().glob("*.json")))
        raise LookupError(f"there is no result file {name!r}; there are {known}")
    return json.loads(file.read_text(encoding="utf-8"))


def per_cent(values: Sequence[float], digits: int = 1) -> str:
    """Shares from 0 to 1, one per seed, as per cent: mean ± standard deviation."""
    from sslcourse.results import tables

    return tables.cell(values, digits)


# -------------------------------------------------------------------------------------------- tables by name


def _profile(found: object) -> str:
    """The device of a result file: stored as text by some commands and by its fields by others."""
    from sslcourse.runtime.device import Profile

    return str(Profile(**found)) if isinstance(found, Mapping) else str(found)


def awaited(stored: Mapping) -> str:
    """What stands below a table whose file waits to be measured anew, by its own words; a new measurement
    writes a file without them.
    """
    return f". **Awaits a new measurement:** {stored['awaits']}" if "awaits" in stored else ""


def _claims(paper: str = "") -> Table:
    from sslcourse import wall

    found = wall.verdicts(NOBODYS)
    if not paper:
        counted = wall.counted(found)
        return Table(counted, "`sslcourse claims --all`, five seeds each, test split")
    own = [r for r in found if r["paper"] == paper]
    if not own:
        raise LookupError(f"there are no measured claims of {paper!r}")
    units = {r["text"]: r["unit"] for r in own}
    rows = []
    for row in wall.claim_rows(own):
        unit = units[row["claim"]]
        text = row["claim"] if unit == "accuracy" else f"{row['claim']} ({unit})"
        rows.append(
            {
                "claim of the paper": text,
                "where": row["source"],
                "effect": row["effect"],
                "95 % interval": row["95 % interval"],
                "verdict": f"**{row['verdict']}**",
            }
        )
    seeds = len(own[0]["effects"])
    note = f"`sslcourse claims {paper} --seeds {seeds}` on {_profile(own[0]['profile'])}"
    note += "; effects in accuracy where no unit is named"
    return Table(rows, note + awaited(page(f"claims-{paper}")))


def _wall(world: str) -> Table:
    from sslcourse import compare, wall

    found = _world(world)
    command = "sslcourse claims colorization" if world == wall.TRACKS else f"sslcourse evaluate --all {world}"
    rows = wall.table(world, found) if world == wall.TRACKS else compare.table(found)
    how = f"{found['protocol']}; per cent, test split, {found['seeds']} seeds, on {found['profile']}"
    if "full" in found:
        how += f"; columns named full: the same with `--recipe full`, {found['full']['seeds']} seeds"
    return Table(rows, f"`{command}`: {how}{awaited(found)}")


def _world(world: str) -> dict:
    from sslcourse import wall

    found = wall.read(NOBODYS)
    if world not in found:
        raise LookupError(f"there is no wall of {world!r}; there are {', '.join(found)}")
    return found[world]


def _factors(world: str) -> Table:
    from sslcourse import compare

    found = _world(world)
    names = {factor: factor.replace("_", " ") for row in found["factors"].values() for factor in row}
    rows = [{names.get(key, key): value for key, value in row.items()} for row in compare.factor_rows(found)]
    scale = "0, nothing can be read from the features; 1, everything"
    longer, measured = (" --recipe full", found["full"]) if "full" in found else ("", found)
    command = f"sslcourse evaluate --all {world}{longer}"
    return Table(rows, f"`{command}`: {scale}; means over {measured['seeds']} seeds")


def _calibration() -> Table:
    """The toybox's yardsticks. What the wall has too is read from the wall: one quantity has one number."""
    from sslcourse import compare

    stored, found = page("calibration"), _world("toybox")
    same = {"supervised": "Supervised"}
    wall_rows = {r["features"]: r for r in compare.table(found)}
    rows, again = [], []
    for row in stored["rows"]:
        name = row["features"]
        other = wall_rows.get(same.get(name, name))
        if other is None:
            rows.append(row)
            continue
        rows.append({"features": name, **{key: other[key] for key in list(row)[1:]}})
        if row["linear probe"] != other["linear probe"]:
            again.append(f"{name} {row['linear probe']}")
    note = (
        f"Rows that name a background: `{stored['command']}`, {stored['what']}, on {stored['device']}. "
        f"All others are those of the wall: `sslcourse evaluate --all toybox`, {found['seeds']} seeds, on "
        f"{found['profile']}. The calibration trains SimCLR and the supervised network too, on the same "
        "worlds with the same recipes; it begins from other initial weights and so ends elsewhere: its "
        f"linear probes were {', '.join(again)}{awaited(stored) or '.'}"
    )
    return Table(rows, note)


def _exercises() -> Table:
    stored = page("exercises")
    rows, total = [], {}
    for row in stored["rows"]:
        for key, value in row.items():
            if str(value).isdigit():
                total[key] = total.get(key, 0) + int(value)
        rows.append(row)
    last = {key: f"**{total[key]}**" if key in total else "" for key in rows[0]}
    last["exercise"] = f"**all {len(rows)}**"
    return Table([*rows, last], note_of(stored))


def note_of(stored: Mapping) -> str:
    """What stands below a table of a result file: how it was made."""
    seeds = f"{stored['seeds']} seed{'s' * (stored['seeds'] > 1)}"
    seconds = f", {stored['seconds']:,} s" if "seconds" in stored else ""
    data = f" Data: {stored['data']}." if "data" in stored else ""
    how = f"`{stored['command']}`: {stored['what']}; {seeds}, {stored['device']}{seconds}"
    return f"{how}.{data} Source: {stored['source']}{awaited(stored) or '.'}"


def _efforts() -> Table:
    """The exercises of the lessons: for whom, how many minutes of a student, how many mistakes are known."""
    from sslcourse.check import ASSIGNMENTS, EXERCISES
    from sslcourse.check.levels import EFFORT

    found = []
    for lesson in sorted(ASSIGNMENTS):
        for task in ASSIGNMENTS[lesson].tasks if lesson in QUESTIONS else ():
            exercise, effort = EXERCISES[task.exercise], EFFORT[task.exercise]
            found.append(
                {
                    "lesson": lesson,
                    "exercise": task.exercise,
                    "for whom": effort.level,
                    "minutes": effort.minutes,
                    "named mistakes": len(exercise.mistakes),
                    "hints": len(exercise.hints),
                }
            )
    return Table(found)


_BY_NAME: dict[str, Callable[..., Table]] = {
    "claims": _claims,
    "wall": _wall,
    "factors": _factors,
    "calibration": _calibration,
    "efforts": _efforts,
    "exercises": _exercises,
    "lessons": lambda: Table(lessons()),
}


def rows(name: str) -> Table:
    """A table by its name, such as "claims simclr", "wall toybox" or "table-jigsaw".

    Raises:
        LookupError: nothing of that name was measured.
    """
    first, *rest = name.split()
    if first in _BY_NAME:
        return _BY_NAME[first](*rest)
    stored = page(name)
    return Table(stored["rows"], note_of(stored))


def markdown(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table; the columns are the keys of the first row."""
    columns = list(rows[0])
    for row in rows:
        if list(row) != columns:
            raise ValueError(f"a row has the columns {list(row)}, the first one has {columns}")
    text = lambda value: str(value).replace("|", r"\|")
    lines = [columns, ["---"] * len(columns), *([row[c] for c in columns] for row in rows)]
    return "\n".join("| " + " | ".join(map(text, line)) + " |" for line in lines)


# -------------------------------------------------------------------------------------------- the lessons

# Lesson -> what it asks, in a few words.
QUESTIONS = {
    "00_start": "what is a picture worth before learning, and after?",
    "01_simclr": "can two views of one image find each other, and what is learned on the way?",
    "02_bigan": "can a game of pairs teach the way back, from picture to code?",
    "03_damaged_jigsaw": "the more is broken, the more must be understood?",
    "04_rotation_and_clusters": "can labels be made up, by turning and by clustering?",
    "05_single_image": "layer by layer: what does one augmented photograph teach?",
    "06_byol": "predict your own slow copy: are negatives needed?",
    "07_clip": "captions as views: can words alone name a class?",
    "08_video_lstm": "can past and future be told from one state?",
    "09_tracking_by_colorization": "who may only copy colours, does it learn to follow?",
    "10_dense_predictive_coding": "predict features of the future, place by place: is motion learned?",
    "11_audio_video_sync": "is this sound of this very moment?",
    "12_cross_modal_clustering": "can sounds teach what to see, and pictures what to hear?",
    "13_results_wall": "which method, for what, and how sure can one be?",
    "90_bugs_museum": "ten bugs that shipped: how would you have noticed?",
}


def _linear(world: str, *names: str) -> str:
    """What a class sees, and what the FULL recipe reaches where it was measured."""
    found = _world(world)
    longer = found.get("full", {}).get("rows", {})
    told = []
    for name in names:
        row, full = found["rows"][name], longer.get(name, {})
        minutes = f" (after minutes {per_cent(full['linear'])})" if full.get("seconds") else ""
        told.append(f"{name} {per_cent(row['linear'])}{minutes}")
    return ", ".join(told)


def _eye_and_ear(name: str) -> str:
    eye, ear = (per_cent(_world(world)["rows"][name]["linear"]) for world in ("seen", "heard"))
    return f"eye {eye}, ear {ear}"


def _seeds_of(paper: str, run: str, key: str) -> list[float]:
    return [run_of_seed[run][key] for run_of_seed in page(f"claims-{paper}")["runs"].values()]


def _verdicts() -> str:
    from sslcourse import wall

    found = [r["verdict"] for r in wall.verdicts(NOBODYS)]
    passed, failed, left = (found.count(v) for v in ("pass", "fail", "inconclusive"))
    return f"{len(found)} claims: {passed} pass, {failed} fail, {left} open"


def _bugs() -> str:
    exhibits = [r for r in page("exercises")["rows"] if str(r["exercise"]).strip("`").startswith("museum.")]
    return f"{len(exhibits)} bugs, {sum(int(r['mistakes']) for r in exhibits)} wrong tests named"


# Lesson -> its one number, from a result file: per cent, test split, mean ± deviation over the seeds.
NUMBERS: dict[str, Callable[[], str]] = {
    "00_start": lambda: _linear("toybox", "random encoder", "Supervised"),
    "01_simclr": lambda: _linear("toybox", "SimCLR"),
    "02_bigan": lambda: _linear("toybox", "BiGAN"),
    "03_damaged_jigsaw": lambda: _linear("toybox", "Jigsaw"),
    "04_rotation_and_clusters": lambda: _linear("toybox", "RotNet", "DeepCluster"),
    "05_single_image": lambda: (
        f"RotNet's conv2: one image {per_cent(_seeds_of('single_image', 'RotNet, one: conv2', 'linear'))}, "
        f"all {per_cent(_seeds_of('single_image', 'RotNet, all: conv2', 'linear'))}"
    ),
    "06_byol": lambda: _linear("toybox", "BYOL", "MoCo"),
    "07_clip": lambda: _linear("toybox", "CLIP (captions)"),
    "08_video_lstm": lambda: _linear("films", "VideoLSTM"),
    "09_tracking_by_colorization": lambda: (
        f"mean J {per_cent(_seeds_of('colorization', 'colorization', 'J'))}"
    ),
    "10_dense_predictive_coding": lambda: _linear("films", "DPC"),
    "11_audio_video_sync": lambda: _eye_and_ear("AVTS"),
    "12_cross_modal_clustering": lambda: _eye_and_ear("XDC"),
    "13_results_wall": _verdicts,
    "90_bugs_museum": _bugs,
}


def names() -> list[str]:
    """The lessons, in the order of the course."""
    return sorted(file.stem for file in NOTEBOOKS.glob("[0-9]*.ipynb"))


def minutes(lesson: str) -> str:
    """How long a processor worked on the stored run of a lesson, in minutes and halves: its notebook says."""
    stored = json.loads((NOTEBOOKS / f"{lesson}.ipynb").read_text(encoding="utf-8"))
    seconds = stored["metadata"].get("sslcourse", {}).get("processor_seconds")
    if seconds is None:
        raise LookupError(f"{lesson}.ipynb does not say how long it took; run: make notebooks")
    halves = math.ceil(seconds / 30)
    return ("½" if halves % 2 else "") if halves < 2 else f"{halves // 2}{'½' * (halves % 2)}"


def lessons(link: str = "notebooks/{}.ipynb") -> list[Row]:
    """One row a lesson: name, question, minutes, one number.

    Args:
        link: where a lesson's name leads; {} stands for the name.
    """
    return [
        {
            "lesson": f"[{name}]({link.format(name)})",
            "the question": QUESTIONS[name],
            "minutes": minutes(name),
            "one number": NUMBERS[name](),
        }
        for name in names()
    ]
