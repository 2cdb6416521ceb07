"""One thread, file descriptors and timers. ``asyncio`` would take longer to import than an agent to start."""

from __future__ import annotations

import heapq
import itertools
import selectors
import signal
import socket
import time
from collections.abc import Callable

Call = Callable[[], None]


class Timer:
    """A call that is still to come."""

    __slots__ = ("call",)

    def __init__(self, call: Call) -> None:
        self.call: Call | None = call

    def cancel(self) -> None:
        """Forgets the call; does nothing if it has been made."""
        self.call = None


class Loop:
    """Calls back when a descriptor can be read or written and when time has passed, in one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._running = False

    def watch(self, fd: int, *, read: Call | None = None, write: Call | None = None) -> None:
        """Calls ``read`` and ``write`` whenever ``fd`` is ready for it; replaces what was watched before."""
        events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        known = fd in self._selector.get_map()
        if not events:
            self.forget(fd)
        elif known:
            self._selector.modify(fd, events, (read, write))
        else:
            self._selector.register(fd, events, (read, write))

    def forget(self, fd: int) -> None:
        """Watches ``fd`` no longer. To be called before it is closed."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def later(self, delay_s: float, call: Call) -> Timer:
        """Makes ``call`` once, after ``delay_s``."""
        timer = Timer(call)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), timer))
        return timer

    def on_child(self, call: Call) -> None:
        """Calls back when a child may have ended. Once per process, in its main thread."""
        wake, woken = socket.socketpair()
        for end in (wake, woken):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)

        def read() -> None:
            woken.recv(4096)
            call()
            _ = wake  # kept open by this closure

        self.watch(woken.fileno(), read=read)

    def run(self) -> None:
        """Makes calls until ``stop``. Blocks."""
        self._running = True
        while self._running:
            for key, ready in self._selector.select(self._patience_s()):
                self._dispatch(key, ready)
            self._call_due()

    def stop(self) -> None:
        """Lets ``run`` return after the call that is being made."""
        self._running = False

    def _dispatch(self, key: selectors.SelectorKey, ready: int) -> None:
        read, write = key.data
        if ready & selectors.EVENT_READ and read and self._still(key):
            read()
        if ready & selectors.EVENT_WRITE and write and self._still(key):
            write()

    def _still(self, key: selectors.SelectorKey) -> bool:
        # An earlier call of the same round may have forgotten it, and its number may belong to somebody else by now.
        current = self._selector.get_map().get(key.fd)
        return current is not None and current.data == key.data

    def _patience_s(self) -> float | None:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _call_due(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            call, timer.call = timer.call, None
            if call is not None:
                call()
