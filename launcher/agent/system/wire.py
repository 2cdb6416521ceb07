"""A stream socket as lines in and bytes out, never blocking."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator

from launcher.agent.system.loop import Loop

_READ_BYTES = 262144


class LineTooLongError(Exception):
    """The other side sends a line longer than agreed."""


class Lines:
    """Bytes in, whole lines out. A half line at the end of a connection is dropped: it was never said."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that ``data`` completes, without their newlines; raises LineTooLongError."""
        *whole, rest = data.split(b"\n")
        for line in whole:
            yield b"".join((*self._parts, line))
            self._parts.clear()
            self._size = 0
        self._parts.append(rest)
        self._size += len(rest)
        if self._size > self._max_bytes:
            raise LineTooLongError


class Wire:
    """One connection. ``on_line`` gets each line; ``on_closed`` is called once, when the other side has gone;
    ``on_drained`` whenever everything sent so far is in the kernel's hands."""

    def __init__(self, loop: Loop, connection: socket.socket, *, max_line_bytes: int) -> None:
        self._loop = loop
        self._socket = connection
        self._lines = Lines(max_line_bytes)
        self._out = bytearray()
        self._closed = False
        self._paused = False
        self._wants_drain = False
        self.on_line: Callable[[bytes], None] = lambda line: None
        self.on_closed: Callable[[], None] = lambda: None
        self.on_drained: Callable[[], None] = lambda: None
        connection.setblocking(False)

    @property
    def closed(self) -> bool:
        return self._closed

    def peer_pid(self) -> int:
        """The process that connected."""
        credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[0])

    def open(self) -> None:
        """Begins to listen to the other side."""
        self._watch()

    def send(self, data: bytes) -> None:
        """Sends now or as soon as the other side takes it."""
        if not self._closed:
            self._out += data
            self._watch()

    def want_drain(self) -> None:
        """Asks for one ``on_drained``, even when nothing is waiting."""
        if not self._wants_drain:
            self._wants_drain = True
            self._watch()

    def pause(self, paused: bool) -> None:
        """Stops or goes on reading, so that a flood stays with the one who makes it."""
        if paused != self._paused:
            self._paused = paused
            self._watch()

    def flush(self, limit_s: float) -> None:
        """Sends what waits, or gives up after ``limit_s``. Blocks; only for the end."""
        if self._closed:
            return
        self._socket.settimeout(limit_s)
        try:
            self._socket.sendall(self._out)
        except OSError:
            return

    def take_rest(self) -> None:
        """Hears what the other side, which has gone, has said before: also where reading is paused."""
        while not self._closed and self._read():
            pass

    def close(self) -> None:
        """Closes without calling ``on_closed``."""
        if not self._closed:
            self._closed = True
            self._loop.forget(self._socket.fileno())
            self._socket.close()

    def _watch(self) -> None:
        if not self._closed:
            read = None if self._paused else self._hear
            write = self._write if self._out or self._wants_drain else None
            self._loop.watch(self._socket.fileno(), read=read, write=write)

    def _hear(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Hears what is there; False if nothing is."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._lose()
            return False
        try:
            for line in self._lines.feed(data):
                self.on_line(line)
                if self._closed:
                    return False
        except LineTooLongError:
            self._lose()
        return True

    def _write(self) -> None:
        try:
            if self._out:
                del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            return
        except OSError:
            self._lose()
            return
        if not self._out:
            self._wants_drain = False
            self.on_drained()
            self._watch()

    def _lose(self) -> None:
        self.close()
        self.on_closed()
