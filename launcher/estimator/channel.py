"""The task's side of the socket between a task and the agent that started it.

A channel without a socket, one that could not connect, and one in a process that the task forked are all closed: what
is sent is dropped, and every wait returns at once. So the same script runs under a launcher and without one.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import NoReturn

from launcher.wire.private import peers
from launcher.wire.protocol import (
    Barrier,
    Drain,
    ExitNow,
    Gate,
    Message,
    ProtocolError,
    SaveNow,
    Step,
    StopTraining,
    TaskHello,
    Wait,
    Waiting,
    decode,
    encode,
)

_CONNECT_TIMEOUT_S = 5.0
_FLUSH_AT_EXIT_S = 2.0
_QUEUE_LIMIT = 256
_READ_BYTES = 65536

Callback = Callable[[Message], None]


class LauncherGoneError(ConnectionError):
    """The agent closed the connection while the task waited for its word."""


class Channel:
    """Sends reports and keeps what was told. Connects at the first ``open()``; thread-safe; never blocks a sender.

    ``stop`` and ``gate`` are the last message of their kind, None if there was none; ``barriers``: trainings whose
    barrier is open; ``drained``: those whose evaluation is to end, of all if the empty name is among them; ``saves``:
    how often it was told to save. A single daemon thread reads, and writes what the socket would not take at once.
    """

    def __init__(self, *, path: str | None, task: str = "", attempt: int = 1) -> None:
        self.task = task
        self.attempt = attempt
        self.gate: Gate | None = None
        self.stop: StopTraining | None = None
        self.barriers: set[str] = set()
        self.drained: set[str] = set()
        self.saves = 0
        self._path = path
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._callbacks: list[Callback] = []
        self._queue: deque[Message] = deque()
        self._partial = b""
        self._socket: socket.socket | None = None
        self._wake: socket.socket | None = None
        self._woken: socket.socket | None = None
        self._opened = False
        self._was_open = False

    @property
    def is_open(self) -> bool:
        """Whether what is sent now can arrive."""
        return self._socket is not None and self._pid == os.getpid()

    def open(self) -> bool:
        """Connect, unless that was done before. Returns whether the channel is open."""
        with self._changed:
            if not self._opened and self._pid == os.getpid():
                self._opened = True
                self._connect()
        return self.is_open

    def subscribe(self, callback: Callback) -> None:
        """Call ``callback`` with every message from now on, in the reading thread."""
        self._callbacks.append(callback)

    def send(self, message: Message) -> None:
        """Report. If the agent does not read, the oldest ``Step`` makes room; no other report is dropped."""
        if not self.is_open:
            return
        with self._changed:
            if len(self._queue) >= _QUEUE_LIMIT:
                self._drop_oldest_step()
            self._queue.append(message)
            self._write()
            if self._has_unsent() and self._wake is not None:
                with contextlib.suppress(OSError):  # full: the thread is being woken as it is
                    self._wake.send(b"\0", socket.MSG_DONTWAIT)

    def wait_gate(
        self, admits: Callable[[Gate], bool] = lambda gate: gate.open, is_over: Callable[[], bool] = lambda: False
    ) -> Gate | None:
        """Block until there is a gate that ``admits`` this task, or ``is_over()``; None at once if no agent was ever
        there. Raises LauncherGoneError if the agent leaves before."""
        if not self.open() and not self._was_open:
            return None

        def may_pass() -> bool:
            return self.gate is not None and admits(self.gate)

        if not may_pass():
            self.send(Waiting(what=Wait.GATE))
            self.wait(lambda: may_pass() or not self.is_open or is_over())
            self.send(Waiting(what=""))
        if not self.is_open and not may_pass():
            raise LauncherGoneError("the launcher left before the parameter servers were proven to be its own")
        return self.gate

    def wait(self, predicate: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Block until ``predicate()`` or ``timeout_s`` has passed; it is asked again at each message, and at the
        connection's end. Returns its last value. Handlers of signals run meanwhile."""
        with self._changed:
            return self._changed.wait_for(predicate, timeout_s)

    def notify(self) -> None:
        """Have those who wait ask their predicates again."""
        with self._changed:
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Block until everything is sent, at most ``timeout_s``. Returns whether it was."""
        return self.wait(lambda: not self._has_unsent(), timeout_s)

    def close(self) -> None:
        """End the connection; those who wait are woken."""
        with self._changed:
            self._hang_up()

    def forget_in_child(self) -> None:
        """In a forked child: give back the copies of the descriptors, so that only the task itself holds the line."""
        self._changed = threading.Condition()
        self._opened = True
        self._was_open = False
        for end in (self._socket, self._wake, self._woken):
            if end is not None:
                end.close()
        self._socket = self._wake = self._woken = None
        self._queue.clear()

    def _has_unsent(self) -> bool:
        return bool(self._queue or self._partial)

    def _connect(self) -> None:
        connection = _connected(self._path)
        if connection is None:
            return
        self._socket = connection
        self._was_open = True
        self._wake, self._woken = socket.socketpair()
        self._queue.appendleft(TaskHello(task=self.task, attempt=self.attempt, pid=self._pid))
        self._write()
        arguments = (connection, self._woken)
        threading.Thread(target=self._serve, args=arguments, name="tflaunch-channel", daemon=True).start()
        atexit.register(self._flush_at_exit)

    def say_last(self, message: Message) -> None:
        """Report at the end of the program, when no thread can be started any more; waits until it is sent."""
        if self.is_open:
            self.send(message)
            self.flush(_FLUSH_AT_EXIT_S)
        elif not self._opened and (connection := _connected(self._path)) is not None:
            connection.settimeout(_FLUSH_AT_EXIT_S)
            with connection, contextlib.suppress(OSError):
                hello = TaskHello(task=self.task, attempt=self.attempt, pid=self._pid)
                connection.sendall(encode(hello) + encode(message))

    def _flush_at_exit(self) -> None:
        if self.is_open:
            self.flush(_FLUSH_AT_EXIT_S)

    def _drop_oldest_step(self) -> None:
        for index, message in enumerate(self._queue):
            if isinstance(message, Step):
                del self._queue[index]
                return

    def _write(self) -> None:
        """Hand the socket what it takes now; the caller holds the lock."""
        while self._socket is not None and self._has_unsent():
            self._partial = self._partial or encode(self._queue.popleft())
            try:
                sent = self._socket.send(self._partial, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError:
                self._hang_up()
                return
            self._partial = self._partial[sent:]
        self._changed.notify_all()

    def _hang_up(self) -> None:
        """Send and expect nothing more; the thread reads the end of the connection, and closes it."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._socket = None
        self._queue.clear()
        self._partial = b""
        self._changed.notify_all()

    def _serve(self, connection: socket.socket, woken: socket.socket) -> None:
        """The thread: read until the end, write what was left over."""
        poll = select.poll()
        poll.register(woken, select.POLLIN)
        rest = b""
        with connection, woken:
            while True:
                with self._changed:
                    unsent = self._has_unsent()
                poll.register(connection, select.POLLIN | (select.POLLOUT if unsent else 0))
                ready = dict(poll.poll())
                if woken.fileno() in ready:
                    woken.recv(_READ_BYTES)
                if ready.get(connection.fileno(), 0) & select.POLLOUT:
                    with self._changed:
                        self._write()
                if ready.get(connection.fileno(), 0) & ~select.POLLOUT:
                    try:
                        data = connection.recv(_READ_BYTES)
                    except BlockingIOError:
                        continue
                    except OSError:
                        break
                    if not data:
                        break
                    *lines, rest = (rest + data).split(b"\n")
                    self._take(lines)
            self.close()

    def _take(self, lines: list[bytes]) -> None:
        for line in lines:
            with contextlib.suppress(ProtocolError):  # a newer agent may say more than this task understands
                self._keep(decode(line))

    def _keep(self, message: Message) -> None:
        with self._changed:
            if isinstance(message, Gate):
                self.gate = message
            elif isinstance(message, Barrier):
                self.barriers.add(message.training)
            elif isinstance(message, Drain):
                self.drained.add(message.training)
            elif isinstance(message, SaveNow):
                self.saves += 1
            elif isinstance(message, StopTraining):
                self.stop = message
            elif isinstance(message, ExitNow):
                _exit(message.code)
            self._changed.notify_all()
        for callback in self._callbacks:
            callback(message)


def _exit(code: int) -> NoReturn:
    """End this process from a thread, whatever its main thread does: a parameter server's never comes back from C."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _connected(path: str | None) -> socket.socket | None:
    if not path:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_CONNECT_TIMEOUT_S)
    try:
        connection.connect(path)
        peers.check(connection, path)  # it may have been removed since, and somebody else have taken its name
    except (OSError, peers.ForeignPeerError):
        connection.close()
        return None
    connection.setblocking(False)
    return connection
