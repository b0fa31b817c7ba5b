"""sslcourse grade and sslcourse exercises: for who gives the course."""

from __future__ import annotations

from pathlib import Path

from sslcourse.commands.options import log, print_result
from sslcourse.runtime import files
from sslcourse.runtime.errors import CourseError

# ---------------------------------------------------------------------------------------------- grade

GRADE = """\
Each function of a submission runs in a process of its own, with limits, and is checked from another process
on inputs that nobody has seen. What the notebook printed does not count, and its trainings are not repeated:
about five seconds a submission. One that crashes, never ends or is no notebook costs one row.

Each row is kept as it comes, beside the table in FILE.rows.jsonl. A run that was broken off goes on from
there with the same command. Where this machine cannot keep submissions from your files, the network and
other processes, nothing is graded without --unsafe.

  sslcourse grade submissions --jobs 4
  sslcourse grade submissions --seed 1234            the same inputs as in an earlier run
  sslcourse grade lesson --assignment 01_simclr      a lesson's exercises, one point each
"""


def grade(options) -> int:
    try:
        import resource  # noqa: F401 (limits of memory and time: Windows has none that a process keeps)
    except ModuleNotFoundError:
        raise CourseError(
            "submissions run within limits that this system has not; grade on Linux or macOS, on Windows "
            "in its Linux (type wsl --install, then the same there)"
        ) from None
    from sslcourse.check import assignment
    from sslcourse.check.grading import grade, wire

    whole = assignment(options.assignment)
    out = Path(options.out or f"results/grades-{whole.name}.csv")
    rows = out.with_name(f"{out.name}.rows.jsonl")
    files.prove(out, "name another file: --out grades.csv")
    limits = wire.Limits(seconds=options.seconds, memory=options.memory << 20)
    try:
        found = grade.grade(
            options.folder,
            whole.name,
            seed=options.seed,
            limits=limits,
            jobs=options.jobs,
            leave_out=[out, rows],
            say=log,
            unsafe=options.unsafe,
            kept=rows,
        )
    except (KeyboardInterrupt, SystemExit):
        _tell_what_is_kept(rows, out, whole, limits)
        raise
    found.write(out)
    rows.unlink(missing_ok=True)  # made by this run or the one it went on from: Journal takes no other file
    value = {
        "assignment": whole.name,
        "seed": found.seed,
        "sslcourse": found.version,
        "isolation": found.isolation,
        "file": str(out),
        "mistakes": {exercise: dict(pairs) for exercise, pairs in found.mistakes().items()},
        "rows": found.rows,
    }
    print_result(options, value, f"{found}\nwritten: {out}")
    return 0


def _tell_what_is_kept(rows: Path, out: Path, whole, limits) -> None:
    """Write what a broken-off run has come to as a table, where there is none yet, and say how to go on."""
    from sslcourse.check.grading.grade import Journal

    if not rows.exists():
        return
    kept = Journal(rows, whole, None, limits)
    if kept.rows and not out.exists():
        kept.graded(whole).write(out)
    log(f"{len(kept.rows)} rows are kept in {rows}; the same command goes on from them")


# ---------------------------------------------------------------------------------------------- exercises

EXERCISES = """\
Each row is one mistake, made in one or several ways and handed to the checker just now. "named" is yes where
all of them were rejected by this mistake's own message; the reference must be accepted.
"""


def exercises(options) -> int:
    from sslcourse import check, show

    rows = list(check.mutations(options.exercise or None, options.seed))
    wrong = [r for r in rows if r["mistake"] != "none: the reference"]
    named, good = sum(r["named"] for r in wrong), all(r["named"] for r in rows)
    yes = lambda holds: "yes" if holds else "NO"
    lines = [
        {
            **r,
            "rejected": yes(r["rejected"]) if r in wrong else "accepted" if r["named"] else "NO",
            "named": yes(r["named"]) if r in wrong else "-",
        }
        for r in rows
    ]
    text = f"{named} of {len(wrong)} mistakes are rejected by their own message; seed {options.seed}"
    print_result(options, {"seed": options.seed, "rows": rows}, f"{show.table(lines)!r}\n{text}")
    return 0 if good else 1
