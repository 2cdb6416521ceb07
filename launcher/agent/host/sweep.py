"""Takes down what a run has left on this host when its keeper and its agent died in the same instant.

Every process of a run carries the run's name in its environment; a forked one shows that of the interpreter it was
forked from, which carries it, too.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from launcher.agent.host import folder
from launcher.agent.host.options import Options
from launcher.agent.system import processes
from launcher.wire.variables import RUN_VARIABLE


def main(argument: str) -> int:
    """Sweeps for a supervisor on another host."""
    options = Options.from_json(argument)
    return 0 if sweep(options.run, options.folder) else 1


def members(run: str) -> list[int]:
    """The living processes of that run on this host, this one not included."""
    wanted = os.fsencode(run)
    found = (pid for pid in processes.pids() if pid != os.getpid() and _run_of(pid) == wanted)
    return [pid for pid in found if (process := processes.read(pid)) is not None and process.alive]


def _run_of(pid: int) -> bytes | None:
    return processes.environment(pid).get(RUN_VARIABLE.encode())


def sweep(run: str, home: str = "", *, limit_s: float = 10.0) -> bool:
    """KILLs every process of that run, never itself, until none is left, and removes the run's folder on this host
    (``home``, if it is not the usual one); False if ``limit_s`` did not suffice. Blocks."""
    deadline = time.monotonic() + limit_s
    while left := members(run):
        if time.monotonic() > deadline:
            return False
        processes.kill(left)
        time.sleep(0.005)
    folder.remove(Path(home or folder.runtime_folder(run)))
    return True
