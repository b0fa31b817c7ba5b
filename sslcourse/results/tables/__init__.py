"""The papers' tables, made again: `sslcourse table NAME` trains every row and prints it with its spread.

Each module here is one table. It holds `TITLE` (one line), `measure(seeds, say, ...)` which returns rows for
`show.table`, and its docstring says what differs from the paper. Keyword arguments of `measure` beyond these
two are set by `--set key=value`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sslcourse import runtime
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import SEEDS
from sslcourse.train import loop


def names() -> tuple[str, ...]:
    """The tables that can be made: the modules of this folder."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)])))


def module(name: str):
    """The module of a table."""
    if name not in names():
        raise CourseError(f"no table {name!r}; there are {', '.join(names())}")
    return importlib.import_module(f"sslcourse.results.tables.{name}")


def make(
    name: str, seeds: int = 3, settings: Iterable[str] = (), say: Callable[[str], object] = print
) -> list[dict]:
    """Make a table.

    Args:
        seeds: how many, from 0.
        settings: "key=value" for the table's own arguments, each read as the type of its default.
        say: told about each row as it is done.
    """
    function = module(name).measure
    seeds = SEEDS.of(seeds, "seeds")
    known = {
        k: p.default for k, p in inspect.signature(function).parameters.items() if k not in ("seeds", "say")
    }
    with loop.whole_runs():  # half a training is no row
        return function(seeds=seeds, say=say, **runtime.override(known, settings, f"the table {name!r}"))


def cell(values: Sequence[float], digits: int = 1) -> str:
    """Shares from 0 to 1, one per seed, as per cent: mean ± standard deviation, or the one number; a dash
    where there are none.
    """
    if not values:
        return "–"
    spread = f" ± {100 * statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.{digits}f}{spread}"
