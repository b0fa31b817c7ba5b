"""Somebody else's function, in a process of its own, called as if it were here.

    outcome = ask.ask(read, limits)                  run our own code on somebody else's bytes; get plain data
    outcome = ask.question(load, examine, limits)    call somebody else's function from a third process

Three processes take part in a question. The *watcher* (the caller) starts the other two, computes nothing,
reads the clock and the memory, and ends everything in time. The *worker* builds somebody else's function and
runs it. The *examiner* asks: it holds a `Remote`, a callable that sends arguments to the worker and gets
values back, gradients included, so that whatever
checks a function can check it from outside. Between them travel numbers, texts, containers and tensors as
plain bytes: the examiner unpickles nothing that a worker wrote.

Time and memory are held twice. The kernel refuses a worker address space beyond an idle worker's and the
limit, and ends it a few seconds after its processor time; the watcher adds up, fifty times a second, what the
worker and everything that it started have really used, and ends them all together. (`RLIMIT_AS` alone would
count libraries that are mapped and never touched, and each process for itself; the sums alone would come too
late for one large allocation. Memory that neither sees is refused, `sandbox.refuse_calls`.) The examiner is
bounded likewise, and reads no message beyond `wire.LARGEST_HEAD`.

What this is worth. A worker can print what it likes, patch every module, search its memory, and end itself:
the verdict is formed in another process, from values that it returned for inputs that it had not seen, and it
never holds the values that are expected, nor the seed that they come from. Where Linux permits new namespaces
to us (`isolation()` says so), a worker has no network, sees no other process, no file but Python's and the
course's, and may write to nothing but an empty folder in memory.
Elsewhere it runs with the user's own rights: it can then delete the user's files and end the user's
processes, as every program can that one starts. It is no virtual machine: somebody who knows a hole in the
kernel is not kept in."""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import pickle
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn

from sslcourse import runtime
from sslcourse.check.engine import AnswerError, described, is_blank, is_stub
from sslcourse.check.grading.sandbox import (
    NOTHING_MORE,
    Child,
    Visible,
    isolate,
    memory_of,
    process_family,
    set_limits,
    visible_to_others,
    way,
)
from sslcourse.check.grading.wire import (
    LARGEST,
    MOST_MEMORY,
    Channel,
    Gone,
    Limits,
    Outcome,
    OutOfMemory,
    TooLarge,
    Unaskable,
    packed,
    unpacked,
)

# ----------------------------------------------------------------------------------------- the examiner's end


class _Link(torch.autograd.Function):
    """Joins the gradients of two processes: what flows back here is sent to the worker, and comes back for
    the inputs.
    """

    @staticmethod
    def forward(ctx, remote, handle, outputs, *inputs):
        ctx.remote, ctx.handle, ctx.shapes = remote, handle, [x.shape for x in inputs]
        return tuple(x.clone() for x in outputs)

    @staticmethod
    def backward(ctx, *gradients):
        return None, None, None, *ctx.remote.backward(ctx.handle, gradients, ctx.shapes)


class Remote:
    """Somebody else's function, called in its worker. What it does to modules and tensors that it is given is
    done to ours too.

    `borrowed` says whether the function that the worker watches for was called by one of the calls so far.
    """

    def __init__(self, channel: Channel):
        self.channel = channel
        self.borrowed = False

    def __call__(self, *arguments: object) -> object:
        learning = [x for x in arguments if isinstance(x, Tensor) and x.requires_grad]
        sent = [x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in arguments]
        # Its random numbers are ours to choose, and others at each call.
        seed = int(torch.randint(2**62, ()))
        try:
            data = pickle.dumps(sent)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise Unaskable(
                f"an input of this exercise cannot be handed to another process: {error}"
            ) from None
        self.channel.send({"do": "call", "seed": seed}, [data])
        message, buffers = self._reply()
        self.borrowed |= message.get("borrowed") is True
        try:
            (value, after), learned = unpacked(message["value"], buffers)
            self._repeat(arguments, after)
        except (
            ValueError,
            KeyError,
            TypeError,
            IndexError,
            RuntimeError,
            AttributeError,
            OverflowError,
        ) as error:
            raise AnswerError(f"it returned what cannot be read ({type(error).__name__})") from None
        if learning and learned:
            linked = _Link.apply(self, message["handle"], learned, *learning)
            value = _replaced(value, {id(raw): new for raw, new in zip(learned, linked)})
        return value

    def backward(
        self, handle: int, gradients: Sequence[Tensor], shapes: Sequence[torch.Size]
    ) -> list[Tensor | None]:
        values, buffers, _ = packed([g.detach() for g in gradients])
        self.channel.send({"do": "backward", "handle": handle, "gradients": values}, buffers)
        message, buffers = self._reply()
        try:
            found, _ = unpacked(message["value"], buffers)
            if [None if g is None else g.shape for g in found] != [
                s if g is not None else None for g, s in zip(found, shapes)
            ]:
                raise ValueError
            return list(found)
        except (ValueError, KeyError, TypeError, IndexError, RuntimeError, AttributeError, OverflowError):
            raise AnswerError("its gradient cannot be read") from None

    def _reply(self) -> tuple[dict, list[bytes]]:
        message, buffers = self.channel.receive()
        kind = message.get("kind")
        if kind == "memory":
            raise OutOfMemory
        if kind == "stub":
            raise NotImplementedError("the function still raises NotImplementedError")
        if kind == "error":
            raise _error_like(message.get("type"), str(message.get("text"))[:1000])
        return message, buffers

    @staticmethod
    def _repeat(arguments: Sequence[object], after: dict) -> None:
        with torch.no_grad():
            for number, change in after.items():
                argument = arguments[number]
                if isinstance(argument, nn.Module):
                    own = argument.state_dict()
                    for name, value in change.items():
                        own[name].copy_(value)
                else:
                    argument.copy_(change)


def _error_like(name: object, text: str) -> AnswerError:
    """An AnswerError that is also of Python's own type of this name, for exercises whose answers are to raise
    something.
    """
    kind = getattr(builtins, name, None) if isinstance(name, str) else None
    if isinstance(kind, type) and issubclass(kind, Exception):
        with contextlib.suppress(TypeError):  # some types do not go together with another
            return type("AnswerError", (AnswerError, kind), {})(text)
    return AnswerError(text)


def _replaced(value: object, new: dict[int, Tensor]) -> object:
    if isinstance(value, Tensor):
        return new.get(id(value), value)
    if isinstance(value, (list, tuple)):
        return type(value)(_replaced(v, new) for v in value)
    if isinstance(value, dict):
        return {k: _replaced(v, new) for k, v in value.items()}
    return value


# ------------------------------------------------------------------------------------------- the worker's end


def is_refused_memory(error: BaseException) -> bool:
    """Whether an error is Python's or torch's for memory that the system does not give."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


class _Watch:
    """Notices calls of one function while it is on: by its code, under whatever name it was reached."""

    def __init__(self, code: CodeType | None):
        self.code, self.seen = code, False

    def __enter__(self) -> _Watch:
        self.seen = False
        if self.code is not None:
            threading.settrace(self._call)
            sys.settrace(self._call)
        return self

    def __exit__(self, *_) -> None:
        if self.code is not None:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]  # the stubs know no None

    def _call(self, frame: FrameType, event: str, argument: object) -> None:
        self.seen |= frame.f_code is self.code  # nothing is returned: the lines inside are not traced


def serve(channel: Channel, answer: Callable, watched: CodeType | None = None) -> None:
    """Answer calls until the line is closed, and say of each whether the `watched` code ran in it."""
    watch = _Watch(watched)
    kept: dict[int, tuple[list[Tensor], list[Tensor]]] = {}
    while True:
        message, buffers = channel.receive()
        try:
            if message["do"] == "backward":
                gradients, _ = unpacked(message["gradients"], buffers)
                outputs, inputs = kept[message["handle"]]
                found = torch.autograd.grad(outputs, inputs, gradients, allow_unused=True, retain_graph=True)
                value, sent, _ = packed(list(found))
                channel.send({"kind": "value", "value": value}, sent)
                continue
            arguments = pickle.loads(buffers[0])
            versions = {i: x._version for i, x in enumerate(arguments) if isinstance(x, Tensor)}
            inputs = [x for x in arguments if isinstance(x, Tensor) and x.requires_grad]
            runtime.seed_all(message["seed"])
            with torch.enable_grad(), watch:
                value = answer(*arguments)
            after = {i: arguments[i] for i, version in versions.items() if arguments[i]._version != version}
            after |= {i: dict(x.state_dict()) for i, x in enumerate(arguments) if isinstance(x, nn.Module)}
            known, sent, outputs = packed((value, after))
            if sum(map(len, sent)) > LARGEST:
                channel.send(
                    {
                        "kind": "error",
                        "text": f"it returned {sum(map(len, sent)):,} bytes; at most {LARGEST:,} are read",
                    }
                )
                continue
            handle = len(kept)
            kept[handle] = outputs, inputs
            reply = {"kind": "value", "value": known, "handle": handle, "borrowed": watch.seen}
            channel.send(reply, sent)
        except TooLarge as error:
            channel.send({"kind": "error", "text": f"it returned {error}"})
        except BaseException as error:  # somebody else's code may raise anything
            if isinstance(error, Gone):
                raise
            if is_refused_memory(error):
                channel.send({"kind": "memory"})
            elif is_stub(error, answer):
                channel.send({"kind": "stub"})
            else:
                channel.send(
                    {"kind": "error", "type": type(error).__name__, "text": described(error, answer)[:1000]}
                )


# ---------------------------------------------------------------------------------------------- asking


def ask(read: Callable[[], dict], limits: Limits, visible: Visible = NOTHING_MORE) -> Outcome:
    """Run our own function, which reads somebody else's bytes, in a worker; its dict comes back."""

    def examine(channel: Channel) -> dict:
        message, buffers = channel.receive()
        if message.get("kind") == "memory":
            raise OutOfMemory
        return unpacked(message["value"], buffers)[0]

    def work(channel: Channel) -> None:
        try:
            value, buffers, _ = packed(read())
            channel.send({"kind": "value", "value": value}, buffers)
        except BaseException as error:
            if not is_refused_memory(error):
                raise
            channel.send({"kind": "memory"})

    return _together(work, examine, limits, visible)


def question(
    load: Callable[[], tuple[Callable | None, dict]],
    examine: Callable[[Any, dict], dict],
    limits: Limits,
    visible: Visible = NOTHING_MORE,
    *,
    watched: CodeType | None = None,
    kept: Sequence[int] = (),
    prepare: Callable[[], None] | None = None,
) -> Outcome:
    """Examine somebody else's function.

    Args:
        load: runs in the worker: builds the function (or None) and says plain things about it; what it raises
            is told to `examine`.
        examine: runs in the examiner, with a `Remote` of the function (None if there is none, `...` if it has
            no body) and what `load` said; returns plain data.
        visible: what the worker sees of the file system, where the machine can do that.
        watched: the code of a function of which the `Remote` shall say whether the answer called it.
        kept: open files of the examiner, which no worker has.
        prepare: runs in the worker before `load`. Where it fails, that is our own fault.
    """

    def work(channel: Channel) -> None:
        try:
            with _Watch(watched) as watch:
                answer, said = load()
            said["borrowed"] = watch.seen
            state = (
                "missing"
                if answer is None
                else "blank"
                if is_blank(answer)
                else "ready"
                if callable(answer)
                else "no function"
            )
        except BaseException as error:
            if is_refused_memory(error):
                channel.send({"kind": "memory"})
                return
            text = str(error) if isinstance(error, AnswerError) else f"{type(error).__name__}: {error}"
            answer, said, state = None, {"error": text[:1000]}, "error"
        channel.send({"kind": "hello", "state": state, "said": packed(said)[0]})
        if state == "ready" and answer is not None:
            serve(channel, answer, watched)

    def examined(channel: Channel) -> dict:
        message, _ = channel.receive()
        if message.get("kind") == "memory":
            raise OutOfMemory
        said, state = unpacked(message["said"], [])[0], message["state"]
        said = {**(said if isinstance(said, dict) else {}), "state": state}
        return examine({"ready": Remote(channel), "blank": ...}.get(state), said)

    return _together(work, examined, limits, visible, kept, prepare)


def _together(
    work: Callable[[Channel], None],
    examine: Callable[[Channel], dict],
    limits: Limits,
    visible: Visible,
    kept: Sequence[int] = (),
    prepare: Callable[[], None] | None = None,
) -> Outcome:
    own_namespaces = way()  # found out before the fork
    folder = tempfile.mkdtemp(prefix="sslcourse-")
    ours, theirs = socket.socketpair()
    told, tell = os.pipe()
    begun, begin = os.pipe()  # where the worker says that what comes now is somebody else's doing
    base = memory_of("self")[0]

    def worker() -> None:
        try:
            size = memory_of("self")[1]
            isolate(own_namespaces, folder, visible, limits.files)
            # the examiner's, where both train
            runtime.use_profile(runtime.Profile("cpu", 1, False, "float32"))
            os.chdir(folder)
            known = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL")}
            os.environ.clear()
            os.environ.update(
                known,
                HOME=folder,
                USER="grader",  # PyTorch asks for a name, and this root knows no users
                TMPDIR=folder,
                SSLCOURSE_CACHE=os.path.join(folder, "cache"),
                SSLCOURSE_DEVICE="cpu",
                SSLCOURSE_THREADS="1",
                OMP_NUM_THREADS="1",
                SSLCOURSE_DISPLAY="silent",
                MPLBACKEND="agg",
                CI="1",
            )
            tempfile.tempdir = folder
            if prepare is not None:
                prepare()
            set_limits(limits, size)
        except BaseException as error:
            os.write(begin, f"{type(error).__name__}: {error}".encode()[:1000])
            raise
        os.write(begin, b"ready")
        os.close(begin)
        work(Channel(theirs))

    def examiner() -> None:
        visible_to_others(False)
        size = memory_of("self")[1]
        set_limits(Limits(7 * 86_400, min(limits.memory + EXAMINERS_MEMORY, MOST_MEMORY)), size)
        value: dict[str, object]
        try:
            value = {"value": examine(Channel(ours))}
        except Gone:
            value = {"gone": True}
        except OutOfMemory:
            value = {"memory": True}
        except (Exception, Unaskable) as error:
            value = {"fault": f"{type(error).__name__}: {error}"}
            if is_refused_memory(error):
                value = {"flooded": True}
        with os.fdopen(tell, "w") as file:
            json.dump(value, file)

    started = []
    try:
        started.append(Child(worker, [theirs.fileno(), begin]))
        started.append(Child(examiner, [ours.fileno(), tell, *kept]))
        ours.close()
        theirs.close()
        os.close(tell)
        os.close(begin)
        return _watch(started[0], started[1], told, begun, limits, base)
    finally:
        for child in started:
            child.end()
        for end in (told, begun):
            os.close(end)
        # May go: made for this worker, which has ended; what it wrote there was for nobody.
        shutil.rmtree(folder, ignore_errors=True)


EXAMINERS_MEMORY = 1 << 30  # bytes beyond a worker's: it computes what is expected, too


def _watch(worker: Child, examiner: Child, told: int, begun: int, limits: Limits, base: int) -> Outcome:
    """Wait for what the examiner tells; end the worker when it takes too much."""
    # of the worker's processes those that are ours, and the first of its own
    own = 3 if "process" in way() else 2
    start, peak, used, text, stopped = time.monotonic(), 0, 0.0, b"", None
    while True:
        waited = time.monotonic() - start
        if select.select([told], [], [], 0.02)[0]:
            part = os.read(told, 1 << 16)
            text += part
            if not part:
                break
        if waited > 3 * limits.seconds + 60:
            return Outcome("not examined", {}, f"the examiner did not come to an end within {waited:.0f} s")
        if memory_of(examiner.pid)[0] - base > limits.memory + EXAMINERS_MEMORY:
            stopped = Outcome("crashed", {}, "stopped: its answers fill the examiner's memory")
            examiner.end()
        if stopped or worker.has_ended():
            continue
        family = process_family(worker.pid)
        used = max(used, sum(family.values()))
        # Pages that a fork shares with its parent are counted for both; an idle worker has as many as we
        # have.
        peak = max(peak, sum(max(0, memory_of(pid)[0] - base) for pid in family))
        if used > limits.seconds:
            stopped = Outcome("out of time", {}, f"stopped after {limits.seconds:g} s of processor time")
        elif waited > 3 * limits.seconds + 10:
            stopped = Outcome("out of time", {}, f"stopped after {waited:.0f} s of waiting")
        elif peak > limits.memory:
            stopped = Outcome("out of memory", {}, f"stopped above {int(limits.memory) >> 20:,} MB")
        elif len(family) > own + limits.processes:
            stopped = Outcome("crashed", {}, f"stopped: it started more than {limits.processes} processes")
        if stopped:
            worker.end()
    value: dict[str, Any] = json.loads(text) if text else {"fault": "the examiner ended without a word"}
    if "value" in value:
        return Outcome("answered", value["value"])
    if stopped:
        return stopped
    if "fault" in value:
        return Outcome("not examined", {}, value["fault"])
    if "flooded" in value:
        return Outcome("crashed", {}, "its answers fill the examiner's memory")
    if "memory" in value:
        return Outcome("out of memory", {}, f"asked for more than {int(limits.memory) >> 20:,} MB")
    worker.wait()
    came = os.read(begun, 1 << 10) if select.select([begun], [], [], 0)[0] else b""
    if came != b"ready":
        reason = came.decode(errors="replace") or "it ended at once"
        return Outcome("not examined", {}, f"the process for the answer could not be set up: {reason}")
    if peak > 0.8 * limits.memory and worker.code:
        return Outcome("out of memory", {}, f"ended near {int(limits.memory) >> 20:,} MB")
    if worker.code in (128 + signal.SIGXCPU, -signal.SIGXCPU):
        return Outcome("out of time", {}, f"stopped after {limits.seconds:g} s of processor time")
    return Outcome("crashed", {}, f"its process ended {_how(worker.code)} before it had answered")


def _how(code: int | None) -> str:
    if code is None:
        return "without a word"
    number = -code if code < 0 else code - 128 if code > 128 else 0
    try:
        return f"by signal {signal.Signals(number).name}" if number else f"with exit code {code}"
    except ValueError:
        return f"with exit code {code}"


def settings(limits: Limits) -> dict:
    """Limits as plain data, for another process."""
    return asdict(limits)
