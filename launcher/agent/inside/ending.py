"""The end of a program's interpreter, when a thread is still closing a session, or what it holds is slow to be let go.

Closing may take many seconds, so nobody waits for it (see the adjustment ``session-close``). But a thread that comes
back from native code while its interpreter is taken down is ended by Python with an exception that C++ does not let
pass: the process would abort. So where such a thread is left, the process ends as soon as everything that a program
can expect at its end has been done: its threads joined, its exit functions called, its output flushed. TensorFlow's
collectives are left in the same way: to take them down can stall for many seconds, too.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys

from launcher.wire.variables import CLOSING_THREAD, slow_to_end

_status: tuple[int, int | None] = (0, None)  # the process, and the exit code that its program has asked for


def watch() -> None:
    """To be called before the first function is registered with atexit: the one registered first is called last."""
    atexit.register(_leave)


def note(error: BaseException | None) -> None:
    """The program has ended, with that exception if one came out of it."""
    global _status
    _status = (os.getpid(), _exit_code(error))


def _exit_code(error: BaseException | None) -> int | None:
    """What Python makes of it (``Python/pythonrun.c``); None for an end that only the interpreter can give."""
    if error is None:
        return 0
    if isinstance(error, KeyboardInterrupt):
        return None
    if not isinstance(error, SystemExit):
        return 1
    if error.code is None:
        return 0
    return error.code & 0xFF if isinstance(error.code, int) else 1


def _leave() -> None:
    pid, status = _status
    threading = sys.modules.get("threading")  # where nobody has imported it there are no threads
    closing = threading is not None and any(thread.name == CLOSING_THREAD for thread in threading.enumerate())
    if not (closing or slow_to_end) or status is None or pid != os.getpid():
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)
