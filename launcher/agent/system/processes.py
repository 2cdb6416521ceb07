"""Processes as /proc shows them: who descends from whom, what they use, and how to be rid of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Container, Iterable, Mapping

from launcher.wire.forms.named import NamedTuple

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PF_EXITING = 0x4  # include/linux/sched.h
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Process(NamedTuple):
    """One line of /proc/<pid>/stat. ``started_ticks``: since boot; with the pid it names a process for good."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    cpu_ticks: int
    started_ticks: int
    rss_bytes: int

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie only waits to be reaped."""
        return self.state not in "ZX"


def read(pid: int) -> Process | None:
    """The process of that pid, None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    return _parse(pid, text)


def _parse(pid: int, text: bytes) -> Process | None:
    # The command name stands in parentheses and may hold anything, parentheses and newlines included.
    field = text[text.rfind(b")") + 2 :].split()
    if len(field) < 22:
        return None
    return Process(
        pid=pid,
        state=field[0].decode(),
        parent=int(field[1]),
        group=int(field[2]),
        session=int(field[3]),
        cpu_ticks=int(field[11]) + int(field[12]),
        started_ticks=int(field[19]),
        rss_bytes=int(field[21]) * PAGE_BYTES,
    )


def is_dying(pid: int) -> bool:
    """Whether it was killed, or is gone: to give much memory back may take the kernel seconds."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat, open(f"/proc/{pid}/status", "rb") as status:
            flags, pending = int(stat.read().rpartition(b")")[2].split()[6]), status.read()
    except OSError:
        return True
    signals = [int(line.split()[1], 16) for line in pending.splitlines() if line.startswith((b"SigPnd:", b"ShdPnd:"))]
    return bool(flags & _PF_EXITING or any(mask >> (signal.SIGKILL - 1) & 1 for mask in signals))


def pids() -> list[int]:
    """Every process that can be seen."""
    with os.scandir("/proc") as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]


def snapshot() -> dict[int, Process]:
    """Every process that can be seen, by pid."""
    found = (read(pid) for pid in pids())
    return {process.pid: process for process in found if process is not None}


def descendants(roots: Iterable[int], processes: Mapping[int, Process]) -> set[int]:
    """The pids below ``roots``, the roots not included."""
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def kill(pids: Iterable[int], number: int = signal.SIGKILL) -> None:
    """Signals each of these; those that are gone are passed over."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def kill_group(group: int, number: int) -> None:
    """Signals a process group, or the process alone if it leads no group."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        kill([group], number)
    except PermissionError:
        return


def waiting(pid: int) -> str:
    """What a process that cannot be killed waits for, for people."""
    process, name = read(pid), f"process {pid}"
    if process is None:
        return name
    try:
        with open(f"/proc/{pid}/wchan", "rb") as file:
            place = file.read().decode("ascii", "replace").strip("0\n")
    except OSError:
        place = ""
    kind = "in an uninterruptible wait" if process.state == "D" else f"in state {process.state}"
    return f"{name} is {kind}{f' ({place})' * bool(place)}"


def kill_descendants(*, limit_s: float = 10.0, besides: Container[int] = ()) -> bool:
    """Kills and reaps everything below this process, until nothing is left; False if ``limit_s`` did not suffice.
    ``besides``: what has been killed in vain.

    Only a subreaper can rely on it: for others an orphan is no descendant any more. Blocks.
    """
    deadline = time.monotonic() + limit_s
    while True:
        reap_all()
        processes = snapshot()
        left = [pid for pid in descendants([os.getpid()], processes) if processes[pid].alive and pid not in besides]
        if not left:
            return True
        if time.monotonic() > deadline:
            return False
        kill(left)
        time.sleep(0.002)


def reap_all() -> None:
    """Reaps every child that has ended. Does not block."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def environment(pid: int) -> dict[bytes, bytes]:
    """The environment that the process was started with; empty if it may not be seen. Never to be shown."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            pairs = (item.partition(b"=") for item in file.read().split(b"\0") if item)
            return {name: value for name, _, value in pairs}
    except OSError:
        return {}


def command(pid: int) -> str:
    """The command line, for people."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")[:1000]
    except OSError:
        return ""


def since(process: Process) -> str:
    """When the process was started: UTC in ISO 8601."""
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return utc(boot + process.started_ticks / TICKS_PER_S)


def utc(epoch_s: float) -> str:
    """A time in ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch_s))
