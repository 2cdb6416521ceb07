"""Changing the queue: read, decide, swap, and again if somebody was faster."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from launcher.estimator.streaming.errors import StreamingError
from launcher.estimator.streaming.queue import queue as queues
from launcher.estimator.streaming.queue.cells import CLOSED, Cells
from launcher.estimator.streaming.queue.queue import Queue

Change = Callable[[Queue], Queue]

_MOST_TRIES = 10_000
_BACKOFF_S = 0.0005


class RolledBackError(StreamingError):
    """The variables were restored since this client entered, or the queue is being restored now."""


class Client:
    """One session's way to the queue. ``token``: the one that it found; any other raises RolledBackError."""

    def __init__(self, cells: Cells, session: Any) -> None:
        self._cells = cells
        self._session = session
        self._known: tuple[bytes, Queue] | None = None
        self.token = ""

    def look(self) -> Queue | None:
        """The present state, None while the queue is closed. Raises RolledBackError."""
        return self._read()[1]

    def _read(self) -> tuple[bytes, Queue | None]:
        """The present state as it is stored, too: several threads ask here, and each swaps what it has seen itself."""
        data = self._cells.read(self._session)
        if data == CLOSED:
            if self.token:
                raise RolledBackError("the input queue is being restored")
            return data, None
        return data, self._decoded(data)

    def update(self, change: Change, *, saves: bool = False) -> Queue:
        """The state after ``change``, which may be asked several times; nothing is written if it changes nothing.

        ``saves``: make the new state the snapshot. Raises RolledBackError.
        """
        for tried in range(_MOST_TRIES):
            seen, before = self._read()
            if before is None:
                raise RolledBackError("the input queue is not open")
            after = change(before)
            if after is before:
                return before
            after = replace(after, version=before.version + 1)
            data = queues.encode(after)
            if self._cells.swap(self._session, seen, data, saves=saves):
                self._known = (data, after)
                return after
            time.sleep(_BACKOFF_S * (1 + secrets.randbelow(min(64, 2 + tried))))
        raise StreamingError("the input queue could not be changed: too many tasks change it at once")

    def open(self, revive: Callable[[Queue | None], Queue]) -> Queue:
        """Open a closed queue, as the chief does after every restore or initialisation; an open one stays as it is.

        ``revive`` is given the snapshot that was restored, None if there is none, and returns the state to begin with.
        """
        while self._cells.read(self._session) == CLOSED:
            saved = self._cells.read_saved(self._session)
            state = revive(None if saved == CLOSED else queues.decode(saved))
            self._cells.swap(self._session, CLOSED, queues.encode(state))
        opened = self.look()
        assert opened is not None
        return opened

    def forget(self) -> None:
        """Let go of the session: one that lives as long as the process is closed while the interpreter ends."""
        self._session = None

    def _decoded(self, data: bytes) -> Queue:
        known = self._known
        if known is None or known[0] != data:
            self._known = known = (data, queues.decode(data))
        state = known[1]
        if self.token and state.token != self.token:
            raise RolledBackError("the variables were restored from a checkpoint")
        return state


def new_token() -> str:
    """Unlike any other."""
    return secrets.token_hex(8)
