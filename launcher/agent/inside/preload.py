"""The preloaded interpreter: imports TensorFlow once, and forks tasks that run unmodified programs.

The agent starts it as ``python preload.py`` with the user's interpreter, in which our package need not be installed:
standard library only. ``TFLAUNCH_PRELOAD_FD`` names its end of a SOCK_SEQPACKET socket; ``fork_server.py`` says what is
spoken there. It ends when the agent's end is closed.

A forked task leaves the server by returning here, so that its interpreter ends as it always does: threads are joined,
functions registered with atexit are called, and the program's exit status becomes the process's.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    modules_at_start = frozenset(sys.modules)
    if not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
        del sys.path[0]
    _import_ours()
    from launcher.agent.inside import ending, fork_server, main_module
    from launcher.wire.standby import VARIABLE

    ending.watch()
    execute = _stand_by(modules_at_start) if VARIABLE in os.environ else fork_server.serve(modules_at_start)
    if execute is not None:
        main_module.run(execute)


def _stand_by(modules_at_start: frozenset[str]) -> Callable[[], None]:
    from launcher.agent.standby import interpreter

    try:
        interpreter.serve(modules_at_start)
    except interpreter.LeaveError as leave:
        return leave.execute


def _import_ours() -> None:
    """Imports our package from beside this file, wherever it is and whatever the user's path holds."""
    path = sys.path[:]
    sys.path[:] = [os.path.realpath(__file__).rpartition("/launcher/agent/")[0] or "/"]
    import launcher  # noqa: F401

    sys.path[:] = path


if __name__ == "__main__":
    main()
