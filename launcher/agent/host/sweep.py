"""Takes down what a run has left on this host when all of its own that could do so was killed in the same instant.

Every process of a run carries the run's name in its environment; a forked one shows that of the interpreter it was
forked from, which carries it, too.
"""

from __future__ import annotations

import os
import time

from launcher.agent.host.options import Options
from launcher.agent.system import processes
from launcher.wire.private import peers, registry
from launcher.wire.variables import READY_MARKER, RUN_VARIABLE


def main(argument: str) -> int:
    """Sweeps for a supervisor."""
    os.write(1, READY_MARKER)
    options = Options.from_json(argument)
    return 0 if sweep(options.run, options.name) else 1


def members(run: str) -> list[int]:
    """The living processes of that run on this host, this one not included: this user's, and of this PID namespace."""
    wanted, here = os.fsencode(run), peers.pid_namespace()
    found = (pid for pid in processes.pids() if pid != os.getpid() and _run_of(pid, here) == wanted)
    return [pid for pid in found if (process := processes.read(pid)) is not None and process.alive]


def _run_of(pid: int, pid_namespace: str) -> bytes | None:
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.getuid():  # noqa: PTH116 - pathlib costs too much here
            return None
        mark = processes.environment(pid).get(RUN_VARIABLE.encode())
        return mark if mark and os.readlink(f"/proc/{pid}/ns/pid") == pid_namespace else None  # noqa: PTH115
    except OSError:
        return None


def sweep(run: str, name: str = "", *, limit_s: float = 10.0) -> bool:
    """KILLs every process of that run, never itself, until none is left, and removes the folders of that name; False if
    ``limit_s`` did not suffice. To be called by who knows that the run is over. Blocks."""
    deadline = time.monotonic() + limit_s
    while left := members(run):
        if time.monotonic() > deadline:
            return False
        processes.kill(left)
        time.sleep(0.005)
    while name and not _removed(name):  # what dies loses its environment before its locks
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _removed(name: str) -> bool:
    left = False
    for home in registry.every(name):
        if home.lived_in():
            left = True
        else:
            home.remove()
    return not left


def tidy(*, kill: bool) -> None:
    """Removes what runs of this user's that are dead have left on this machine: their folders and, with ``kill``, their
    processes. Those whose folders are lived in, or were made elsewhere, are let alone. Raises FolderError. Blocks."""
    for home in registry.left_over():
        run = home.run()
        if run and members(run) and (not kill or _is_alive(run, but=home.path) or not sweep(run)):
            continue  # what is left of it shows whose those processes are
        home.remove()


def _is_alive(run: str, *, but: str) -> bool:
    return any(home.path != but and home.lived_in() for home in registry.of_run(run))
