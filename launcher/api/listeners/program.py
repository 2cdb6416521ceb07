"""The process of a run's listeners: ``python -m launcher.api.listeners.program RUN_DIR``.

The supervisor starts it, holds its standard input, and closes that when the run is over; then it has a moment to tell
the rest. It learns everything from the run's folder.
"""

from __future__ import annotations

import json
import math
import os
import queue
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from launcher.api.listeners.listener import Listener, RunFacts
from launcher.plan import listeners
from launcher.record.events import Recorded, to_line
from launcher.record.reading import RunReader, as_recorded, load_view
from launcher.record.runs import RunFolder
from launcher.record.states import Outcome
from launcher.wire.errors import EXIT_HOST

_POLL_S = 0.2
_LAST_WORDS_S = 10.0
_STUCK_S = 3.0  # who has been at one event for so long when the run ends is not waited for
_MOST_WAITING = 10_000


def main(path: str) -> None:
    """Tells every listener of the run in ``path`` what happens, until its end."""
    folder = RunFolder(Path(path))
    plan = json.loads(folder.plan.read_text(encoding="utf-8"))
    run = RunFacts(name=folder.run, folder=folder.path, plan=plan)
    ears = [_Ear(name, where, run) for name, where in plan["listeners"].items()]
    for event in _events(folder):
        for ear in ears:
            ear.tell(event)
    deadline = time.monotonic() + _LAST_WORDS_S
    ended = [ear.end(deadline) for ear in ears]
    sys.stdout.flush()
    if not all(ended) and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # with the command, if any, that one waits for
    os._exit(0)  # a thread may hang


def _events(folder: RunFolder) -> Iterator[Mapping[str, Any]]:
    before = len(load_view(folder).parts)  # which others have heard of
    reader = RunReader(folder, from_start=True)
    over = False
    while not over:
        over = bool(select.select([0], [], [], _POLL_S)[0]) and not os.read(0, 4096)
        for news in reader.read(final=over):
            if len(reader.view.parts) < before:
                continue
            for recorded in [news] if isinstance(news, Recorded) else as_recorded(news, reader.view):
                yield json.loads(to_line(recorded))
    if not reader.view.ended:
        yield {"kind": "run_ended", "outcome": Outcome.LOST.value, "exit_code": EXIT_HOST, "cause": None}


class _Ear:
    """One listener, in a thread of its own."""

    def __init__(self, name: str, where: str, run: RunFacts) -> None:
        self._name = name
        self._left_out = 0
        self._busy_since = math.inf
        self._waiting: queue.Queue[Mapping[str, Any] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._listen, args=(where, run), daemon=True)
        self._thread.start()

    def tell(self, event: Mapping[str, Any]) -> None:
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._left_out += 1

    def end(self, deadline: float) -> bool:
        """Waits until all has been told, or for the deadline; whether its thread has ended."""
        while self._thread.is_alive() and time.monotonic() < deadline and not self._is_stuck():
            try:
                self._waiting.put(None, timeout=0.05)
                break
            except queue.Full:
                continue
        while self._thread.is_alive() and time.monotonic() < deadline and not self._is_stuck():
            self._thread.join(0.05)
        left = self._left_out + self._waiting.qsize()
        if self._thread.is_alive() or left:
            sys.stdout.write(f"{self._name}: had not taken in everything when the run was over\n")
        return not self._thread.is_alive()

    def _listen(self, where: str, run: RunFacts) -> None:
        try:
            listener = _load(self._name)(where, run)
        except Exception:  # noqa: BLE001 - anybody's code
            traceback.print_exc(file=sys.stdout)
            return
        while (event := self._waiting.get()) is not None:
            self._busy_since = time.monotonic()
            try:
                listener.on_event(event)
            except Exception:  # noqa: BLE001
                traceback.print_exc(file=sys.stdout)
            self._busy_since = math.inf

    def _is_stuck(self) -> bool:
        return time.monotonic() - self._busy_since > _STUCK_S


def _load(name: str) -> type[Listener]:
    found: type[Listener] = EntryPoint(name=name, value=listeners.known()[name], group=listeners.GROUP).load()
    return found


if __name__ == "__main__":
    main(sys.argv[1])
