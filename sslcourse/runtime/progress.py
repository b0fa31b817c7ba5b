"""How far a long command is and how long it will take, on the error stream, within ten seconds and later.

    with progress.shown():                              a command does this; a library call says nothing
        for seed in progress.each(range(3), "seed"):    counts what it hands on
            with progress.part("training", 400) as step:
                step()                                  one of 400 is done

Parts lie inside each other, as calls do. On a terminal one line is kept up to date and taken away at the end;
a file or a pipe gets a line after five seconds, then every half minute. A thread of its own writes it, so
a single long piece of work is no silence.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from typing import TypeVar

from sslcourse.runtime.text import for_terminal

FIRST, EVERY, LIVE = 5.0, 30.0, 0.5  # seconds: to the first line of a log, between its lines, on a terminal

Item = TypeVar("Item")


@dataclass
class _Part:
    what: str
    total: int | None
    done: int = 0
    before: int = 0  # what was done when it began: a training that goes on
    start: float = field(default_factory=time.monotonic)

    def share(self, inside: float) -> float | None:
        """How much of it is done since it began, from 0 to 1; `inside`: of the step that is under way."""
        steps = (self.total or 0) - self.before
        return min(1.0, (self.done - self.before + inside) / steps) if steps > 0 else None


_parts: list[_Part] = []  # those that are under way, the outermost first
_watched = threading.Event()  # whether somebody wants to see them
_owner: int | None = None  # the thread whose work is shown


@contextlib.contextmanager
def part(what: str, total: int | None = None, done: int = 0) -> Iterator[Callable[..., None]]:
    """A piece of work of so many steps; yields the function to call after each (or after several: step(5)).

    Args:
        what: such as "training SimCLR".
        total: None where nobody knows.
        done: of them, before this began.
    """
    if not _watched.is_set() or threading.get_ident() != _owner:
        yield _nothing
        return
    mine = _Part(what, total, done, done)

    def step(n: int = 1) -> None:
        mine.done += n

    _parts.append(mine)
    try:
        yield step
    finally:
        if mine in _parts:  # with all that was begun inside and left by an error
            del _parts[_parts.index(mine) :]


def _nothing(n: int = 1) -> None:
    """Nobody watches."""


def each(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """The items one after another, counted. `total`: how many, where they have no length."""
    total = len(items) if total is None and isinstance(items, Sized) else total
    with part(what, total) as step:
        for item in items:
            yield item
            step()


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Show, until the end of this `with`, what is under way in this thread."""
    global _owner
    if _watched.is_set() or sys.stderr is None:
        yield
        return
    over, live = threading.Event(), sys.stderr.isatty()
    writer = threading.Thread(target=_write, args=(over, live), daemon=True, name="progress")
    _owner = threading.get_ident()
    _watched.set()
    writer.start()
    try:
        yield
    finally:
        _watched.clear()
        over.set()
        writer.join()
        _parts.clear()


def _write(over: threading.Event, live: bool) -> None:
    begun, width, wait = time.monotonic(), 0, LIVE if live else FIRST
    while not over.wait(wait):
        wait = LIVE if live else EVERY
        text = line(time.monotonic() - begun)
        if live:
            text = text[:150]
            print("\r" + text.ljust(width), end="", file=sys.stderr, flush=True)
            width = len(text)
        else:
            print(text, file=sys.stderr, flush=True)
    if width:
        print("\r" + " " * width + "\r", end="", file=sys.stderr, flush=True)


def line(seconds: float) -> str:
    """What is under way, in a line; `seconds`: since the command began."""
    parts = list(_parts)
    names = [
        f"{p.what} {min(p.done + (p is not parts[-1]), p.total):,} of {p.total:,}" if p.total else p.what
        for p in parts
    ]
    left = _left(parts)
    return for_terminal(
        f"  {_clock(seconds)}: {', '.join(names) or 'working'}" + (f"; {left}" if left is not None else "")
    )


def _left(parts: list[_Part]) -> str | None:
    """How long it will take: all of it as soon as a whole step of the outermost part is done, before that the
    innermost part.
    """
    now, inside = time.monotonic(), 0.0
    shares: list[tuple[_Part, float]] = []
    for p in reversed(parts):
        share = p.share(inside)
        if share is not None:
            shares.append((p, share))
        inside = share or 0.0
    if not shares:
        return None
    outer, share = shares[-1]
    if (outer.done > outer.before or len(shares) == 1) and share > 0.01:
        return f"about {_clock((now - outer.start) * (1 - share) / share)} left"
    inner, share = shares[0]
    return f"about {_clock((now - inner.start) * (1 - share) / share)} left of this" if share > 0.01 else None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
