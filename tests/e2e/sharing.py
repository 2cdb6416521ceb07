"""Runs whose matter is what becomes of them, not how they are launched: they share what takes long to import."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path

from launcher.api import standing
from launcher.wire.private import peers
from tests.e2e.running import TIMEOUT_S, Finished, alive, environment, finished


def tflaunch(*arguments: str, cwd: Path, run: str = "run", **env: str) -> Finished:
    """As ``running.tflaunch``, as ``launcher.run`` does it: the command line is a fork of one that stands by, and so
    are the tasks that need TensorFlow. A run that takes too long loses its owner, and ends.
    """
    theirs, owner = os.pipe()
    with os.fdopen(owner, "wb") as ours:
        timer = threading.Timer(TIMEOUT_S, ours.close)
        timer.start()
        try:
            words = [arguments[0], f"--owned={peers.identity(os.getpid())}", *arguments[1:]]
            told = standing.command_line(words, cwd=cwd, env=environment(**env), stdin=theirs)
        finally:
            timer.cancel()
            os.close(theirs)
    return finished(cwd / run, told.code, told.out, told.err)


def end() -> None:
    """Nobody stands by for this process any more."""
    standing._forget()
    for pid in alive(f"standby@{peers.identity(os.getpid())}"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
