"""What ends a run from outside: Ctrl-C, and what the keeper of a job sends before it takes the machine away.

    with raised():          a command: SIGTERM and SIGHUP end it as Ctrl-C does (exit codes 143, 129, 130)
    with held() as ending:  a training: all three wait until nothing is lost

Slurm and Colab send SIGTERM some seconds before SIGKILL; a terminal that is closed sends SIGHUP."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

# Of the job, not of the user. Windows has no SIGHUP.
JOB = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP came. A KeyboardInterrupt: whatever tidies up after Ctrl-C tidies up after these."""

    def __init__(self, number: int = signal.SIGTERM):
        super().__init__(signal.Signals(number).name)
        self.number = int(number)


class _AtOnce(KeyboardInterrupt):
    """Leave what can be done again: nothing of it is kept."""


def exit_code(error: KeyboardInterrupt) -> int:
    """130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP: 128 and the number, as shells have it."""
    return 128 + (error.number if isinstance(error, Ended) else signal.SIGINT)


def reason(error: KeyboardInterrupt) -> str:
    """What to say of it: "interrupted", or "ended by SIGTERM"."""
    return f"ended by {error}" if isinstance(error, Ended) else "interrupted"


def _installed(handle, numbers: tuple[int, ...]) -> dict[int, Any]:
    """Install a handler; returns those from before. Nothing is done off the main thread, where Python allows
    none, and where a signal is ignored (nohup, a job in the background) or a library handles it."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    there = {number: signal.getsignal(number) for number in numbers}
    before = {number: old for number, old in there.items() if old not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handle)
    return before


def _restored(before: dict[int, Any]) -> None:
    for number, old in before.items():
        signal.signal(number, old)


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise `Ended`, so that files are closed and temporary ones removed.

    A library that is interrupted while it is imported or while it calls back may turn that into an error of
    its own: whatever leaves this after a signal came, leaves it as the signal."""
    came: list[int] = []

    def handle(number, frame):
        came.append(number)
        raise KeyboardInterrupt if number == signal.SIGINT else Ended(number)

    before = _installed(handle, (signal.SIGINT, *JOB))
    try:
        yield
    except Exception:
        if came:
            raise (KeyboardInterrupt if came[0] == signal.SIGINT else Ended(came[0])) from None
        raise
    finally:
        _restored(before)


class Ending:
    """Whether somebody wants the run to end: `number` is that of the first signal, None while nobody does."""

    def __init__(self):
        self.number: int | None = None
        self._at_once = False

    @property
    def asked(self) -> bool:
        return self.number is not None

    @contextlib.contextmanager
    def may_break_off(self) -> Iterator[None]:
        """What is done inside can be done again from the start: it is left as soon as the end is asked
        for."""
        self._at_once = True
        try:
            if self.asked:
                raise _AtOnce
            yield
        except _AtOnce:
            pass
        finally:
            self._at_once = False

    def deliver(self) -> None:
        """Hand SIGTERM and SIGHUP on, once nothing can be lost any more: they end the process, or do what its
        owner wants them to do. Ctrl-C ends a training, not the notebook that it runs in."""
        if self.number is not None and self.number in JOB:
            signal.raise_signal(self.number)

    def _handle(self, number: int, frame) -> None:
        second, self.number = self.asked, self.number if self.asked else number
        if second:  # somebody is in a hurry
            raise KeyboardInterrupt if number == signal.SIGINT else Ended(number)
        if self._at_once:
            raise _AtOnce


@contextlib.contextmanager
def held() -> Iterator[Ending]:
    """Inside, the first signal is only noted; a second one raises.

    In CI Ctrl-C stays as it is: a training that caught it would turn a test's timeout into a pass."""
    ending = Ending()
    before = _installed(ending._handle, JOB if os.environ.get("CI") else (signal.SIGINT, *JOB))
    try:
        yield ending
    finally:
        _restored(before)
