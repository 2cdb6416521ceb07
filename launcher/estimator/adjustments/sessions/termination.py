"""save-on-term: SIGTERM, or the launcher's word, ends training at the next step, and the chief saves.

By default SIGTERM kills a trainer where it is. The handler is there only while a session is open: a trainer that waits
for a parameter server has nothing to save, and Python runs no handler inside such a wait.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from launcher.estimator.adjustments.sessions.trainer import Hook, Trainer


class SaveOnTerm(Hook):
    """Turns SIGTERM into a stop at the next step. A handler of the script is called as well; the second SIGTERM does
    what it would have done without us."""

    def __init__(self, trainer: Trainer) -> None:
        self._task = trainer.task
        self._previous: Any = None
        self._is_installed = False

    def after_create_session(self, session: Any, coord: Any) -> None:
        previous = signal.getsignal(signal.SIGTERM)
        if self._is_installed or threading.current_thread() is not threading.main_thread():
            return
        if previous is signal.SIG_IGN or previous is None:  # the script does not want to be ended, or C handles it
            return
        self._previous = previous
        signal.signal(signal.SIGTERM, self._handle)
        self._is_installed = True

    def after_run(self, run_context: Any, run_values: Any) -> None:
        if self._task.is_stopping:
            run_context.request_stop()

    def closed(self) -> None:
        self._uninstall()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._uninstall()
        self._task.terminated = True
        self._task.channel.notify()
        if callable(self._previous):
            self._previous(number, frame)

    def _uninstall(self) -> None:
        if self._is_installed and threading.current_thread() is threading.main_thread():
            self._is_installed = False
            signal.signal(signal.SIGTERM, self._previous)
