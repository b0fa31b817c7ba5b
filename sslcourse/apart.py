"""Somebody else's function, in a process of its own, called as if it were here.

    outcome = apart.ask(read, limits)                     run our own code on somebody else's bytes, and get plain data back
    outcome = apart.question(load, examine, limits)       call somebody else's function from a third process

Three processes take part in a question. The *watcher* (the caller) starts the other two, computes nothing, reads the clock and
the memory, and ends everything in time. The *worker* builds somebody else's function and runs it. The *examiner* asks: it
holds a `Remote`, a callable that sends arguments to the worker and gets values back, gradients included, so that whatever
checks a function can check it from outside. Between them travel numbers, texts, containers and tensors as plain bytes: the
examiner unpickles nothing that a worker wrote.

Time and memory are held twice. The kernel refuses a worker address space beyond an idle worker's and the limit, and ends it a
few seconds after its processor time; the watcher adds up, fifty times a second, what the worker and everything that it started
have really used, and ends them all together. (`RLIMIT_AS` alone would count libraries that are mapped and never touched, and
each process for itself; the sums alone would come too late for one large allocation.)

What this is worth. A worker can print what it likes, patch every module, search its memory, and end itself: the verdict is
formed in another process, from values that it returned for inputs that it had not seen, and it never holds the values
that are expected. Where Linux permits new namespaces to us (`isolation()` says so), a worker has no network, sees no other
process, and may write to nothing but an empty folder in memory. Elsewhere it runs with the user's own rights: it can then
delete the user's files and end the user's processes, as every program can that one starts. It is no virtual machine: somebody
who knows a hole in the kernel is not kept in.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import json
import math
import os
import pickle
import resource
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from sslcourse import common
from sslcourse.check.engine import AnswerError, described, is_blank, is_stub

LARGEST = 64 << 20  # bytes of one answer
KINDS = {str(t).removeprefix("torch."): t for t in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
                                                      torch.int16, torch.int8, torch.uint8, torch.bool)}  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What a worker may use.

    Args:
        seconds: of processor time, of all its processes together; waiting ends after three times as long and ten seconds.
        memory: bytes beyond what an idle worker has; its files, which live in memory, count apart.
        files: bytes of its files.
        processes: how many it may start.
    """

    seconds: float = 60
    memory: int = 2 << 30
    files: int = 128 << 20
    processes: int = 16


@dataclass
class Outcome:
    """What came of a question: `value` is plain data, `status` one of

    - "answered", also where the answer is wrong;
    - "crashed", "out of time", "out of memory": the worker's end, by its own doing;
    - "not examined": our own fault, said in `remark`.
    """

    status: str
    value: dict = field(default_factory=dict)
    remark: str = ""


class Gone(BaseException):
    """The worker has ended. Not an Exception: nobody who catches what an answer may raise should take this for it."""


class OutOfMemory(BaseException):
    """The worker was refused the memory that it asked for."""


class Unaskable(BaseException):
    """What the examiner wants to hand over cannot leave its process. No fault of the answer."""


# ---------------------------------------------------------------------------------------------- what travels


def packed(value: object) -> tuple[object, list[bytes], list[Tensor]]:
    """A value as JSON, the bytes of its tensors, and those tensors that know a gradient. What cannot travel becomes its type's name."""
    buffers, learning = [], []

    def pack(x: object, depth: int = 0) -> object:
        if x is None or isinstance(x, (bool, str)):
            return x[:10_000] if isinstance(x, str) else x
        if isinstance(x, (int, np.integer)):
            return int(x) if abs(int(x)) < 2**63 else {"other": "int"}
        if isinstance(x, (float, np.floating)):
            return {"float": repr(float(x))}
        plain = isinstance(x, Tensor) and x.layout == torch.strided and x.device.type == "cpu" and not x.is_quantized
        if plain and str(x.dtype).removeprefix("torch.") in KINDS:
            flat = x.detach().contiguous().reshape(-1)
            buffers.append(flat.view(torch.uint8).numpy().tobytes())
            if x.requires_grad:
                learning.append(x)
            return {"tensor": str(x.dtype).removeprefix("torch."), "shape": list(x.shape), "learns": x.requires_grad}
        if isinstance(x, np.ndarray) and x.dtype.kind in "fiub":
            return {"array": pack(torch.from_numpy(np.array(x)), depth)}
        if depth < 8 and isinstance(x, (list, tuple)):
            return {"list" if isinstance(x, list) else "tuple": [pack(v, depth + 1) for v in x]}
        if depth < 8 and isinstance(x, dict):
            return {"dict": [[pack(k, depth + 1), pack(v, depth + 1)] for k, v in x.items()]}
        return {"other": type(x).__name__[:100]}

    return pack(value), buffers, learning


def unpacked(packed_value: object, buffers: Sequence[bytes]) -> tuple[object, list[Tensor]]:
    """The value again, and those of its tensors that know a gradient, in their order. Raises ValueError for anything malformed."""
    left, learning = list(buffers), []

    def unpack(x: object, depth: int = 0) -> object:
        if x is None or isinstance(x, (bool, int, str)):
            return x
        if depth > 12 or not isinstance(x, dict):
            raise ValueError("malformed")
        if "float" in x:
            return float(x["float"])
        if "tensor" in x:
            kind, shape, data = KINDS[x["tensor"]], [int(s) for s in x["shape"]], left.pop(0)
            if any(s < 0 for s in shape) or math.prod(shape) * kind.itemsize != len(data):
                raise ValueError("malformed")
            tensor = torch.frombuffer(bytearray(data), dtype=torch.uint8).view(kind).reshape(shape) if data else torch.empty(shape, dtype=kind)
            if x.get("learns"):
                learning.append(tensor)
            return tensor
        if "array" in x:
            return unpack(x["array"], depth + 1).numpy()
        if "list" in x or "tuple" in x:
            values = [unpack(v, depth + 1) for v in x.get("list", x.get("tuple"))]
            return values if "list" in x else tuple(values)
        if "dict" in x:
            return {unpack(k, depth + 1): unpack(v, depth + 1) for k, v in x["dict"]}
        name = str(x["other"])
        return type(name if name.isidentifier() else "object", (), {})()  # known by its type's name only

    return unpack(packed_value), learning


class Channel:
    """Messages over a socket: JSON and raw buffers, each with its length before it."""

    def __init__(self, end: socket.socket):
        self.end = end

    def send(self, message: dict, buffers: Sequence[bytes] = ()) -> None:
        head = json.dumps({"message": message, "sizes": [len(b) for b in buffers]}).encode()
        try:
            self.end.sendall(struct.pack("<I", len(head)) + head + b"".join(buffers))
        except OSError:
            raise Gone from None

    def receive(self) -> tuple[dict, list[bytes]]:
        """The next message; Gone at the end of the line, or when what comes is no message."""
        size = struct.unpack("<I", self._read(4))[0]
        if size > LARGEST:
            raise Gone
        try:
            whole = json.loads(self._read(size))
            message, sizes = whole["message"], [int(s) for s in whole["sizes"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Gone from None
        if any(s < 0 for s in sizes) or sum(sizes) > LARGEST or not isinstance(message, dict):
            raise Gone
        return message, [self._read(s) for s in sizes]

    def _read(self, count: int) -> bytes:
        parts = []
        while count:
            try:
                part = self.end.recv(min(count, 1 << 20))
            except OSError:
                raise Gone from None
            if not part:
                raise Gone
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


# ---------------------------------------------------------------------------------------------- the examiner's end


class _Link(torch.autograd.Function):
    """Joins the gradients of two processes: what flows back here is sent to the worker, and comes back for the inputs."""

    @staticmethod
    def forward(ctx, remote, handle, outputs, *inputs):
        ctx.remote, ctx.handle, ctx.shapes = remote, handle, [x.shape for x in inputs]
        return tuple(x.clone() for x in outputs)

    @staticmethod
    def backward(ctx, *gradients):
        return None, None, None, *ctx.remote.backward(ctx.handle, gradients, ctx.shapes)


class Remote:
    """Somebody else's function, called in its worker. What it does to modules and tensors that it is given is done to ours too."""

    def __init__(self, channel: Channel):
        self.channel = channel

    def __call__(self, *arguments: object) -> object:
        learning = [x for x in arguments if isinstance(x, Tensor) and x.requires_grad]
        sent = [x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in arguments]
        # Its random numbers are ours to choose, and others at each call.
        seed = int(torch.randint(2**62, ()))
        try:
            data = pickle.dumps(sent)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise Unaskable(f"an input of this exercise cannot be handed to another process: {error}") from None
        self.channel.send({"do": "call", "seed": seed}, [data])
        message, buffers = self._reply()
        try:
            (value, after), learned = unpacked(message["value"], buffers)
            self._repeat(arguments, after)
        except (ValueError, KeyError, TypeError, IndexError, RuntimeError, AttributeError, OverflowError) as error:
            raise AnswerError(f"it returned what cannot be read ({type(error).__name__})") from None
        if learning and learned:
            linked = _Link.apply(self, message["handle"], learned, *learning)
            value = _replaced(value, {id(raw): new for raw, new in zip(learned, linked)})
        return value

    def backward(self, handle: int, gradients: Sequence[Tensor], shapes: Sequence[torch.Size]) -> list[Tensor | None]:
        values, buffers, _ = packed([g.detach() for g in gradients])
        self.channel.send({"do": "backward", "handle": handle, "gradients": values}, buffers)
        message, buffers = self._reply()
        try:
            found, _ = unpacked(message["value"], buffers)
            if [None if g is None else g.shape for g in found] != [s if g is not None else None for g, s in zip(found, shapes)]:
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
    """An AnswerError that is also of Python's own type of this name, for exercises whose answers are to raise something."""
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


# ---------------------------------------------------------------------------------------------- the worker's end


def is_refused_memory(error: BaseException) -> bool:
    """Whether an error is Python's or torch's for memory that the system does not give."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error))


def serve(channel: Channel, answer: Callable) -> None:
    """Answer calls until the line is closed."""
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
            common.seed_all(message["seed"])
            with torch.enable_grad():
                value = answer(*arguments)
            after = {i: arguments[i] for i, version in versions.items() if arguments[i]._version != version}
            after |= {i: dict(x.state_dict()) for i, x in enumerate(arguments) if isinstance(x, nn.Module)}
            known, sent, outputs = packed((value, after))
            if sum(map(len, sent)) > LARGEST:
                channel.send({"kind": "error", "text": f"it returned {sum(map(len, sent)):,} bytes; at most {LARGEST:,} are read"})
                continue
            handle = len(kept)
            kept[handle] = outputs, inputs
            channel.send({"kind": "value", "value": known, "handle": handle}, sent)
        except BaseException as error:  # somebody else's code may raise anything
            if isinstance(error, Gone):
                raise
            if is_refused_memory(error):
                channel.send({"kind": "memory"})
            elif is_stub(error, answer):
                channel.send({"kind": "stub"})
            else:
                channel.send({"kind": "error", "type": type(error).__name__, "text": described(error, answer)[:1000]})


# ---------------------------------------------------------------------------------------------- keeping a process to itself

_UNSHARE = {"user": 0x10000000, "mount": 0x00020000, "network": 0x40000000, "process": 0x20000000, "ipc": 0x08000000}
_WAYS = (("user", "mount", "network", "process", "ipc"), ("mount", "network", "process", "ipc"), ("user", "network"), ("network",), ())


def _libc():
    return ctypes.CDLL(None, use_errno=True)


def _must(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def _mount(kind: str, target: str, options: str = "", flags: int = 2 | 4) -> None:  # no set-uid programs, no devices
    _must(_libc().mount(kind.encode(), target.encode(), kind.encode(), flags, options.encode()), f"mount {kind} on {target}")


def _read_only() -> None:
    """Every mounted file system, in one call (Linux 5.12)."""
    attributes = struct.pack("<4Q", 1, 0, 0, 0)  # set MOUNT_ATTR_RDONLY
    _must(_libc().syscall(442, -100, b"/", 0x8000, attributes, len(attributes)), "mount_setattr")


def _drop_privileges() -> None:
    libc = _libc()
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)  # out of the bounding set; beyond the last one this fails, harmlessly
    _must(libc.prctl(38, 1, 0, 0, 0), "no_new_privs")
    _must(libc.capset(struct.pack("<Ii", 0x20080522, 0), struct.pack("<6I", *[0] * 6)), "capset")


def _end_with_parent() -> None:
    if sys.platform == "linux":
        _libc().prctl(1, signal.SIGKILL, 0, 0, 0)


def _seen_by_others(seen: bool) -> None:
    """Whether processes of the same user may read this one's memory. Forks inherit it; who may not be seen cannot map its user either."""
    if sys.platform == "linux":
        _libc().prctl(4, int(seen), 0, 0, 0)


def _adopt_orphans() -> None:
    """Descendants whose parent has ended become this process's children, and stay in its family."""
    if sys.platform == "linux":
        _libc().prctl(36, 1, 0, 0, 0)


def _mirror(child: int) -> None:
    """Wait for a child, and for the orphans it leaves, and end as it ended."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            os._exit(code)
        if pid == child:
            code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            for orphan in set(_family(os.getpid())) - {os.getpid()}:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(orphan, signal.SIGKILL)


def _isolate(way: Sequence[str], folder: str, hidden: Sequence[str], files: int) -> None:
    """Give this process namespaces of its own. Only the innermost process returns; the others guard it, and end as it ends."""
    user, group = os.getuid(), os.getgid()
    _seen_by_others(True)
    if way:
        _must(_libc().unshare(sum(_UNSHARE[w] for w in way)), "unshare")
    if "user" in way:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    _adopt_orphans()
    guarded = os.fork()
    if guarded:
        os.closerange(3, MOST_FILES)
        _mirror(guarded)
    _end_with_parent()
    if "process" in way:
        _seen_by_others(False)
        _must(_libc().mount(None, b"/", None, 0x4000 | 0x40000, None), "private mounts")
        for path in (*hidden, *[p for p in ("/run",) if os.path.isdir(p) and not os.path.islink(p)]):  # sockets of services live in /run
            _mount("tmpfs", path, "size=4k,mode=755")
        _read_only()
        _mount("tmpfs", folder, f"size={files},mode=700")
        try:
            _mount("proc", "/proc")
            with open("/proc/sys/user/max_user_namespaces", "w") as file:
                file.write("0")
        except OSError:  # a container that masks parts of /proc allows no new one: then none is better than ours
            _mount("tmpfs", "/proc", "size=4k,mode=755")
        inner = os.fork()  # the first process of a namespace does not feel most signals: a worker should
        if inner:
            os.closerange(3, MOST_FILES)
            _mirror(inner)
        _seen_by_others(True)
    if way or sys.platform == "linux":
        _drop_privileges()


def _limit(limits: Limits, size: int) -> None:
    """Rules that the kernel keeps. `size`: bytes of the address space of an idle worker."""
    caps = {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": limits.files, "RLIMIT_NOFILE": 256, "RLIMIT_CPU": math.ceil(limits.seconds) + 5}
    if size:
        caps["RLIMIT_AS"] = size + limits.memory
    for name, most in caps.items():
        resource.setrlimit(getattr(resource, name), (most, most))


def _memory(pid: int | str) -> tuple[int, int]:
    """Bytes of a process's own memory in use, and of its address space; zeros where /proc does not tell."""
    try:
        with open(f"/proc/{pid}/status") as file:
            told = dict(line.split(":", 1) for line in file)
    except (OSError, ValueError):
        return 0, 0
    size = lambda name: int(told.get(name, "0 kB").split()[0]) * 1024
    return size("RssAnon") + size("RssShmem"), size("VmSize")


def _family(root: int) -> dict[int, float]:
    """A process and its descendants, with the processor seconds that each has used, its ended children's included."""
    children, seconds, tick = {}, {}, os.sysconf("SC_CLK_TCK")
    for name in os.listdir("/proc") if sys.platform == "linux" else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(name))
            seconds[int(name)] = sum(map(int, fields[11:15])) / tick
    found, queue = {}, [root]
    while queue:
        pid = queue.pop()
        found[pid] = seconds.get(pid, 0.0)
        queue += children.get(pid, [])
    return found


MOST_FILES = 65_536  # no process that we fork from has more open


class _Child:
    """A forked process that keeps only some file descriptors, writes nowhere, and never returns."""

    def __init__(self, body: Callable[[], None], keep: Sequence[int]):
        self.code: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        code = 70
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            os.setsid()
            _end_with_parent()
            nowhere = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(nowhere, number)
            edges = [2, *sorted(keep), MOST_FILES]
            for low, high in zip(edges, edges[1:]):
                os.closerange(low + 1, high)
            body()
            code = 0
        except Gone:
            code = 0
        finally:
            os._exit(code)

    def has_ended(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def wait(self, seconds: float = 1.0) -> bool:
        until = time.monotonic() + seconds
        while not self.has_ended() and time.monotonic() < until:
            time.sleep(0.005)
        return self.code is not None

    def end(self) -> None:
        """End it with its whole family, however fast that grows, and see it gone. Its first process goes last: orphans come to it."""
        while not self.has_ended():
            descendants = set(_family(self.pid)) - {self.pid}
            for pid in descendants or {self.pid}:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if sys.platform != "linux":
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
            self.wait(0.02)


_way: tuple[str, ...] | None = None


def isolation() -> dict[str, bool]:
    """What keeps workers apart on this machine, found out by trying once: no network, no writing to files, no sight of other processes."""
    global _way
    if _way is None:
        _way = next(way for way in _WAYS if not way or _works(way))
    return {"network": "network" in _way, "files": "mount" in _way, "processes": "process" in _way}


def _works(way: Sequence[str]) -> bool:
    if sys.platform != "linux":
        return False
    with tempfile.TemporaryDirectory() as folder:

        def trial() -> None:
            _isolate(way, folder, [], 1 << 16)
            if "mount" in way:
                with open(os.path.join(folder, "here"), "w") as file:
                    file.write("here")
                with contextlib.suppress(OSError):
                    open(os.path.join(os.path.dirname(folder), "there"), "x").close()
                    os._exit(71)

        child = _Child(trial, [])
        child.wait(10)
        child.end()
        return child.code == 0


# ---------------------------------------------------------------------------------------------- asking


def ask(read: Callable[[], dict], limits: Limits, hidden: Sequence[str] = ()) -> Outcome:
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

    return _together(work, examine, limits, hidden)


def question(load: Callable[[], tuple[Callable | None, dict]], examine: Callable[[object, dict], dict], limits: Limits,
             hidden: Sequence[str] = ()) -> Outcome:  # fmt: skip
    """Examine somebody else's function.

    Args:
        load: runs in the worker: builds the function (or None) and says plain things about it; what it raises is told to `examine`.
        examine: runs in the examiner, with a `Remote` of the function (None if there is none, `...` if it has no body) and what
            `load` said; returns plain data.
        hidden: folders that the worker sees empty, where the machine can do that.
    """

    def work(channel: Channel) -> None:
        try:
            answer, said = load()
            state = "missing" if answer is None else "blank" if is_blank(answer) else "ready" if callable(answer) else "no function"
        except BaseException as error:
            if is_refused_memory(error):
                channel.send({"kind": "memory"})
                return
            text = str(error) if isinstance(error, AnswerError) else f"{type(error).__name__}: {error}"
            answer, said, state = None, {"error": text[:1000]}, "error"
        channel.send({"kind": "hello", "state": state, "said": packed(said)[0]})
        if state == "ready":
            serve(channel, answer)

    def examined(channel: Channel) -> dict:
        message, _ = channel.receive()
        if message.get("kind") == "memory":
            raise OutOfMemory
        said, state = unpacked(message["said"], [])[0], message["state"]
        said = {**(said if isinstance(said, dict) else {}), "state": state}
        return examine({"ready": Remote(channel), "blank": ...}.get(state), said)

    return _together(work, examined, limits, hidden)


def _together(work: Callable[[Channel], None], examine: Callable[[Channel], dict], limits: Limits, hidden: Sequence[str]) -> Outcome:
    isolation()
    folder = tempfile.mkdtemp(prefix="sslcourse-")
    ours, theirs = socket.socketpair()
    told, tell = os.pipe()
    base = _memory("self")[0]

    def worker() -> None:
        size = _memory("self")[1]
        _isolate(_way, folder, hidden, limits.files)
        common.use_profile(common.Profile("cpu", 1, False, "float32"))  # the examiner's, where both train
        os.chdir(folder)
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL")}
        os.environ.clear()
        os.environ.update(kept, HOME=folder, TMPDIR=folder, SSLCOURSE_CACHE=os.path.join(folder, "cache"), SSLCOURSE_DEVICE="cpu",
                          SSLCOURSE_THREADS="1", OMP_NUM_THREADS="1", SSLCOURSE_DISPLAY="silent", MPLBACKEND="agg", CI="1")  # fmt: skip
        tempfile.tempdir = folder
        _limit(limits, size)
        work(Channel(theirs))

    def examiner() -> None:
        _seen_by_others(False)
        try:
            value = {"value": examine(Channel(ours))}
        except Gone:
            value = {"gone": True}
        except OutOfMemory:
            value = {"memory": True}
        except (Exception, Unaskable) as error:
            value = {"fault": f"{type(error).__name__}: {error}"}
        with os.fdopen(tell, "w") as file:
            json.dump(value, file)

    started = []
    try:
        started.append(_Child(worker, [theirs.fileno()]))
        started.append(_Child(examiner, [ours.fileno(), tell]))
        ours.close()
        theirs.close()
        os.close(tell)
        return _watch(started[0], told, limits, base)
    finally:
        for child in started:
            child.end()
        os.close(told)
        shutil.rmtree(folder, ignore_errors=True)


def _watch(worker: _Child, told: int, limits: Limits, base: int) -> Outcome:
    """Wait for what the examiner tells; end the worker when it takes too much."""
    own = 3 if "process" in _way else 2  # of the worker's processes those that are ours, and the first of its own
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
        if stopped or worker.has_ended():
            continue
        family = _family(worker.pid)
        used = max(used, sum(family.values()))
        # Pages that a fork shares with its parent are counted for both; an idle worker has as many as we have.
        peak = max(peak, sum(max(0, _memory(pid)[0] - base) for pid in family))
        if used > limits.seconds:
            stopped = Outcome("out of time", {}, f"stopped after {limits.seconds:g} s of processor time")
        elif waited > 3 * limits.seconds + 10:
            stopped = Outcome("out of time", {}, f"stopped after {waited:.0f} s of waiting")
        elif peak > limits.memory:
            stopped = Outcome("out of memory", {}, f"stopped above {limits.memory >> 20:,} MB")
        elif len(family) > own + limits.processes:
            stopped = Outcome("crashed", {}, f"stopped: it started more than {limits.processes} processes")
        if stopped:
            worker.end()
    value = json.loads(text) if text else {"fault": "the examiner ended without a word"}
    if "fault" in value:
        return Outcome("not examined", {}, value["fault"])
    if "value" in value:
        return Outcome("answered", value["value"])
    if "memory" in value:
        return Outcome("out of memory", {}, f"asked for more than {limits.memory >> 20:,} MB")
    if stopped:
        return stopped
    worker.wait()
    if peak > 0.8 * limits.memory and worker.code:
        return Outcome("out of memory", {}, f"ended near {limits.memory >> 20:,} MB")
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


