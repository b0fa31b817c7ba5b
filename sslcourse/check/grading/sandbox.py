"""A worker process that cannot reach the teacher's files, the network or other processes (Linux).

There are two walls, and each is built where this machine allows it; `isolation` says what stands. Both
allow instead of forbidding: what is not named in `Visible` is not there.

- *bubblewrap* (the program `bwrap`) starts the process that grades in a file system that holds only Python
  and the course, read-only.
- *Namespaces* of each worker's own (`isolate`), inside bubblewrap or, where that is missing, alone: a file
  system of the same kind, no network, and no sight of the processes that examine it. One folder, in memory
  and of a size that is bounded, can be written to. Where root grades, the worker is nobody.

What the kernel would not count as a worker's memory (files and segments in memory that no address space
holds), and what it needs for nothing honest, is refused by a filter of system calls (`refuse_calls`).

A worker can build no user namespace inside bubblewrap (`--disable-userns`), where it would be root and find
more of the kernel open to it. So that the second wall can still be built, the process that grades holds
CAP_SYS_ADMIN in bubblewrap's own user namespace; every worker gives it up before it runs an answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sslcourse.check.grading.wire import Gone, Limits

# -------------------------------------------------------------------------------- keeping a process to itself

_UNSHARE = {
    "user": 0x10000000,
    "mount": 0x00020000,
    "network": 0x40000000,
    "process": 0x20000000,
    "ipc": 0x08000000,
}
NOBODY = 65534  # the user and the group
_WAYS = (
    ("nobody", "mount", "network", "process", "ipc"),  # where root grades
    ("user", "mount", "network", "process", "ipc"),
    ("mount", "network", "process", "ipc"),  # inside bubblewrap
    ("user", "network"),
    ("network",),
    (),
)


def _libc():
    return ctypes.CDLL(None, use_errno=True)


def _must(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


# no set-uid programs, no devices
def _mount(kind: str, target: str, options: str = "", flags: int = 2 | 4) -> None:
    _must(
        _libc().mount(kind.encode(), os.fsencode(target), kind.encode(), flags, options.encode()),
        f"mount {kind} on {target}",
    )


def _read_only() -> None:
    """Every mounted file system, in one call (Linux 5.12)."""
    attributes = struct.pack("<4Q", 1, 0, 0, 0)  # set MOUNT_ATTR_RDONLY
    _must(_libc().syscall(442, -100, b"/", 0x8000, attributes, len(attributes)), "mount_setattr")


@dataclass(frozen=True)
class Visible:
    """What of the file system there is in a worker, beside the system's programs and libraries.

    Args:
        readable: folders and files, read-only.
        emptied: folders among them that are empty inside, whatever they hold here.
    """

    readable: Sequence[str] = ()
    emptied: Sequence[str] = ()


NOTHING_MORE = Visible()


def _new_root(visible: Visible, folder: str, files: int, way: Sequence[str]) -> None:
    """A file system of this process's own: what is `visible`, read-only, four devices, the processes of its
    own namespace, and `folder`, which is empty, in memory, and can be written to.
    """
    libc = _libc()
    _must(libc.mount(None, b"/", None, 0x4000 | 0x40000, None), "private mounts")
    _mount("tmpfs", folder, "size=1m,mode=755")
    inside = lambda path: folder + path
    for path in _SYSTEM:
        if os.path.islink(path):  # /lib is /usr/lib on most systems
            os.symlink(os.readlink(path), inside(path))
    for path in (*_SYSTEM, *_LOADER, *sorted(visible.readable), *_DEVICES):
        if os.path.islink(inside(path)) or not os.path.exists(path):
            continue
        if os.path.isdir(path):
            os.makedirs(inside(path), exist_ok=True)
        elif not os.path.exists(inside(path)):
            os.makedirs(os.path.dirname(inside(path)), exist_ok=True)
            open(inside(path), "x").close()
        bound = libc.mount(os.fsencode(path), os.fsencode(inside(path)), None, 0x1000 | 0x4000, None)
        _must(bound, f"bind {path}")
    for path in visible.emptied:
        if os.path.isdir(inside(path)):
            _mount("tmpfs", inside(path), "size=4k,mode=755")
    for path in ("/proc", "/old", folder, "/tmp", "/var/tmp", "/home", HOME):
        os.makedirs(inside(path), exist_ok=True)
    try:
        _mount("proc", inside("/proc"))
    except OSError:  # a container that masks parts of /proc allows no new one: then none is better than ours
        _mount("tmpfs", inside("/proc"), "size=4k,mode=755")
    os.chdir(folder)
    _must(libc.pivot_root(os.fsencode(folder), os.fsencode(inside("/old"))), "pivot_root")
    os.chdir("/")
    _must(libc.umount2(b"/old", 2), "leave the old root")  # and all that is mounted there
    os.rmdir("/old")  # made above, and empty
    if "user" in way:  # else this setting is the whole machine's, and the filter of system calls must do
        with contextlib.suppress(OSError):
            with open("/proc/sys/user/max_user_namespaces", "w") as file:
                file.write("0")
    # /proc too: a worker of root's owns /proc/sys, and needs no capability to change the machine there.
    _read_only()
    user, group = (NOBODY, NOBODY) if "nobody" in way else (os.getuid(), os.getgid())
    _mount("tmpfs", folder, f"size={files},mode=700,uid={user},gid={group}")


# System calls that a worker is refused, by their numbers on x86-64 and on ARM. Those of the first line make
# memory that no address space holds, and so no limit; the others are for debuggers and administrators.
_REFUSED = {
    "x86_64": (
        (319, 447, 29, 30, 64, 68, 240),  # memfd_create, memfd_secret, shmget, shmat, semget, msgget, mq_open
        (101, 310, 311, 321, 298, 323, 425, 248, 249, 250, 304, 308, 165, 166, 155, 246, 272),
    ),
    "aarch64": (
        (279, 447, 194, 196, 190, 186, 180),
        (117, 270, 271, 280, 241, 282, 425, 217, 218, 219, 265, 268, 40, 39, 41, 104, 97),
    ),
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def refuse_calls() -> bool:
    """Have the kernel refuse this process, and all that it starts, the system calls above (`EPERM`).

    Returns:
        whether it does: Linux with seccomp, on the two architectures that are listed.
    """
    machine = os.uname().machine
    if sys.platform != "linux" or machine not in _REFUSED:
        return False
    numbers = [n for group in _REFUSED[machine] for n in group]
    refuse = 0x00050000 | 1
    step = lambda code, yes, no, value: struct.pack("<HBBI", code, yes, no, value)
    # Another architecture's calls have other numbers (32 bits on x86): all of those are refused.
    program = [step(0x20, 0, 0, 4), step(0x15, 1, 0, _ARCHITECTURES[machine]), step(0x06, 0, 0, refuse)]
    program += [step(0x20, 0, 0, 0)]
    if machine == "x86_64":
        program += [step(0x35, 0, 1, 0x40000000), step(0x06, 0, 0, refuse)]
    # New namespaces by clone: its flags are in its first argument. Those of clone3 are in memory, where a
    # filter cannot look: libraries take clone where clone3 is not known (ENOSYS).
    clone, clone3, new_namespaces = _CLONE[machine], 435, 0x7E020000
    program += [step(0x15, 0, 1, clone3), step(0x06, 0, 0, 0x00050000 | 38)]
    program += [step(0x15, 0, 4, clone), step(0x20, 0, 0, 16), step(0x45, 0, 1, new_namespaces)]
    program += [step(0x06, 0, 0, refuse), step(0x06, 0, 0, 0x7FFF0000)]
    for number in numbers:
        program += [step(0x15, 0, 1, number), step(0x06, 0, 0, refuse)]
    program += [step(0x06, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(program), 8 * len(program))
    given = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    return _libc().prctl(22, 2, ctypes.c_void_p(ctypes.addressof(given)), 0, 0) == 0


def _become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _drop_privileges(nobody: bool) -> None:
    libc = _libc()
    for capability in range(64):
        # Out of the bounding set. Beyond the last one this fails, and in bubblewrap, where we may not change
        # that set: harmlessly, as no program that is started can gain a capability after the next line.
        libc.prctl(24, capability, 0, 0, 0)
    if nobody:
        _become_nobody()
    _must(libc.prctl(38, 1, 0, 0, 0), "no_new_privs")
    _must(libc.capset(struct.pack("<Ii", 0x20080522, 0), struct.pack("<6I", *[0] * 6)), "capset")
    refuse_calls()


def _end_with_parent() -> None:
    if sys.platform == "linux":
        _libc().prctl(1, signal.SIGKILL, 0, 0, 0)


def visible_to_others(seen: bool) -> None:
    """Whether processes of the same user may read this one's memory. Forks inherit it; who may not be seen
    cannot map its user either.
    """
    if sys.platform == "linux":
        _libc().prctl(4, int(seen), 0, 0, 0)


def _adopt_orphans() -> None:
    """Descendants whose parent has ended become this process's children, and stay in its family."""
    if sys.platform == "linux":
        _libc().prctl(36, 1, 0, 0, 0)


def _mirror(child: int) -> None:
    """Wait for a child, and for the orphans it leaves, and end as it ended."""
    code = 70  # of a child that somebody else has waited for
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            os._exit(code)
        if pid == child:
            code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            for orphan in set(process_family(os.getpid())) - {os.getpid()}:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(orphan, signal.SIGKILL)


def isolate(way: Sequence[str], folder: str, visible: Visible, files: int) -> None:
    """Give this process namespaces of its own. Only the innermost process returns; the others guard it, and
    end as it ends.

    Args:
        way: which, one of those that `way()` chooses from.
        folder: an empty folder, the only one that it can write to; inside it has the same name.
        visible: what else there is of the file system.
        files: bytes of the folder.
    """
    user, group = os.getuid(), os.getgid()
    visible_to_others(True)
    if way:
        _must(_libc().unshare(sum(_UNSHARE[w] for w in way if w in _UNSHARE)), "unshare")
    if "user" in way:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    _adopt_orphans()
    guarded = os.fork()
    if guarded:
        os.closerange(3, MOST_FILES)
        _mirror(guarded)
    _end_with_parent()
    if "process" in way:
        visible_to_others(False)
        _new_root(visible, folder, files, way)
        inner = os.fork()  # the first process of a namespace does not feel most signals: a worker should
        if inner:
            os.closerange(3, MOST_FILES)
            _mirror(inner)
        visible_to_others(True)
    if way or sys.platform == "linux":
        _drop_privileges("nobody" in way)
        visible_to_others(True)  # who becomes another user is hidden again, and outlives its parent
        _end_with_parent()


def set_limits(limits: Limits, size: int) -> None:
    """Rules that the kernel keeps. `size`: bytes of the address space of an idle worker."""
    caps = {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": limits.files,
        "RLIMIT_NOFILE": 256,
        "RLIMIT_CPU": math.ceil(limits.seconds) + 5,
        "RLIMIT_MSGQUEUE": 0,
    }
    if size:
        caps["RLIMIT_AS"] = size + int(limits.memory)
    for name, most in caps.items():
        if hasattr(resource, name):  # macOS has no queues of messages
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]  # of this machine's own; nobody may go above it
            held = int(most) if hard == resource.RLIM_INFINITY else min(int(most), hard)
            resource.setrlimit(kind, (held, held))


def memory_of(pid: int | str) -> tuple[int, int]:
    """Bytes of a process's own memory in use, and of its address space; zeros where /proc does not tell."""
    try:
        with open(f"/proc/{pid}/status") as file:
            told = dict(line.split(":", 1) for line in file)
    except (OSError, ValueError):
        return 0, 0
    size = lambda name: int(told.get(name, "0 kB").split()[0]) * 1024
    return size("RssAnon") + size("RssShmem"), size("VmSize")


def process_family(root: int) -> dict[int, float]:
    """A process and its descendants, with the processor seconds that each has used, its ended children's
    included.
    """
    children: dict[int, list[int]] = {}
    seconds: dict[int, float] = {}
    tick = os.sysconf("SC_CLK_TCK")
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


class Child:
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
        """End it with its whole family, however fast that grows, and see it gone. Its first process goes
        last: orphans come to it.
        """
        while not self.has_ended():
            descendants = set(process_family(self.pid)) - {self.pid}
            for pid in descendants or {self.pid}:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if sys.platform != "linux":
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
            self.wait(0.02)


_way: tuple[str, ...] | None = None


def way() -> tuple[str, ...]:
    """The new namespaces that a worker gets on this machine; found out once, by trying."""
    global _way
    if _way is None:
        ways = [way for way in _WAYS if "nobody" not in way or os.getuid() == 0]
        _way = next(way for way in ways if not way or _works(way))
    return _way


def isolation(in_bubblewrap: bool = False) -> dict[str, bool]:
    """What keeps workers apart on this machine, found out by trying once.

    Args:
        in_bubblewrap: whether this process runs in bubblewrap, which has neither network nor files to write.

    Returns:
        whether workers have no network, no sight of files that are not Python's and no writing to any, no
        sight of other processes; and whether "bubblewrap" is used, a second wall around all of them.
    """
    return {
        "bubblewrap": in_bubblewrap,
        "network": in_bubblewrap or "network" in way(),
        "files": in_bubblewrap or "mount" in way(),
        "processes": "process" in way(),
    }


def _works(way: Sequence[str]) -> bool:
    if sys.platform != "linux":
        return False
    with tempfile.TemporaryDirectory() as folder:  # May go: made here, for this trial alone.

        def trial() -> None:
            isolate(way, folder, Visible([os.path.dirname(os.__file__)]), 1 << 16)
            if "mount" in way:
                with open(os.path.join(folder, "here"), "w") as file:
                    file.write("here")
                open(os.__file__).close()  # whoever it is now may read Python
                with contextlib.suppress(OSError):
                    open(os.path.join(os.path.dirname(folder), "there"), "x").close()
                    os._exit(71)

        child = Child(trial, [])
        child.wait(10)
        child.end()
        return child.code == 0


# ---------------------------------------------------------------------------------------------- bubblewrap

HOME = "/grader"  # an empty folder, inside bubblewrap
_SYSTEM = ("/usr", *(f"/{lib}" for lib in ("lib", "lib32", "lib64", "libx32")))
_LOADER = ("/etc/ld.so.cache", "/etc/alternatives")  # where libraries lie; Debian's BLAS is an alternative
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


@dataclass(frozen=True)
class Bubblewrap:
    """What exists in bubblewrap beside the system's programs and libraries and four devices.

    Args:
        readable: folders that exist inside, read-only.
        emptied: folders that are empty inside, whatever they hold here.
        visible: files that are there, read-only, also where their folder is emptied.
    """

    readable: Sequence[str]
    emptied: Sequence[str] = ()
    visible: Sequence[str] = ()

    def command(self, command: Sequence[str]) -> list[str]:
        """The command that runs another one inside, with the environment of whoever starts it."""
        words = [
            "bwrap",
            "--unshare-user",
            "--unshare-ipc",
            "--unshare-pid",
            "--unshare-net",
            "--unshare-uts",
        ]
        words += ["--disable-userns", "--uid", "65534", "--gid", "65534"]
        words += ["--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN", "--die-with-parent", "--new-session"]
        for folder in ("/tmp", "/var/tmp", "/home"):
            words += ["--tmpfs", folder]
        words += ["--dir", HOME]
        for path in (*_SYSTEM, *_LOADER):
            words += ["--ro-bind-try", path, path]
        for path in sorted(self.readable):  # a folder comes before those inside of it
            words += ["--ro-bind", path, path]
        for path in self.emptied:
            words += ["--tmpfs", path]
        for path in self.visible:
            words += ["--ro-bind", path, path]
        for path in _DEVICES:
            words += ["--dev-bind", path, path]
        # Where root grades, /proc/sys belongs to us in any user namespace: a new /proc alone could change the
        # whole machine's settings.
        words += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--remount-ro", "/"]
        return [*words, "--chdir", "/tmp", "--", *command]

    def works(self) -> bool:
        """Whether Python starts inside on this machine: bubblewrap is installed (0.8 or newer, which knows
        --disable-userns), namespaces are permitted, and Python finds its libraries.
        """
        if sys.platform != "linux" or shutil.which("bwrap") is None:
            return False
        trial = self.command([sys.executable, "-I", "-S", "-c", "import ctypes"])
        try:
            return subprocess.run(trial, capture_output=True, timeout=30).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False


def python_folders(package: Path, path: Sequence[str], private: Sequence[Path]) -> list[str]:
    """The folders that Python and the course need, for `Bubblewrap`.

    Args:
        package: the folder of the package `sslcourse`; what lies beside it is taken where packages are
            installed there, and not where it is a repository.
        path: the folders that modules are looked for in.
        private: folders that are nobody's business. What holds one of them is taken only where Python itself
            is installed in it.
    """
    folders = {package, *map(Path, (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix))}
    own = [folder.resolve() for folder in private]
    for name in (*path, *os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)):
        folder = Path(name)
        beside = folder == package.parent and folder.name not in ("site-packages", "dist-packages")
        if beside or not folder.is_absolute() or not folder.is_dir():
            continue
        if not any(secret.is_relative_to(folder.resolve()) for secret in own):
            folders.add(folder)
    found = {str(f) for folder in folders if folder.is_dir() for f in (folder, folder.resolve())}
    return [f for f in found if not any(Path(f).is_relative_to(system) for system in _SYSTEM)]
