"""The process of the run's listeners: started with the run, given a moment at its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping

from launcher.record.runs import RunFolder

_PROGRAM = "launcher.api.listeners.program"  # a program of its own: what listeners do, or do not, is nothing to us
_PATIENCE_S = 12.0  # it leaves behind by itself who hangs


class Listening:
    """The listeners of a run, if it has any."""

    def __init__(self, folder: RunFolder, listeners: Mapping[str, str], warn: Callable[[str], None]) -> None:
        """Starts them. That they cannot be is no reason for the run not to be."""
        self._process: subprocess.Popen[bytes] | None = None
        if not listeners:
            return
        command = [sys.executable, "-m", _PROGRAM, str(folder.path)]
        try:
            with folder.listeners_log.open("ab") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
                )
        except OSError as error:
            warn(f"the run's listeners cannot be started: {error}")

    async def finish(self) -> None:
        """Waits until they have heard of the end, for a bounded time."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._process.wait, _PATIENCE_S)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)  # its group, with what listeners have started
        self._process.wait()
