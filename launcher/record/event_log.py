"""``events.jsonl``: one writer, any number of readers, at the same time or years later.

The writer may be killed within a line. What it left is then closed with a newline by the next writer and passed over by
every reader, so that no event is ever glued to another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from launcher.record.events import Recorded, RunEvent, from_line, to_line
from launcher.wire.protocol import ProtocolError

_READ_BYTES = 1 << 20


class EventLog:
    """Appends the events of a run, numbered from 1, or on from what the file has. One writer at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self._last = 0
        self._torn = False

    def append(self, event: RunEvent, at: datetime) -> Recorded:
        """Writes one event to the file and returns it as it stands there. Raises OSError when the disk is full."""
        if self._fd is None:
            self._open()
        recorded = Recorded(n=self._last + 1, at=at, event=event)
        line = to_line(recorded).encode()
        self._write(b"\n" + line if self._torn else line)
        self._last = recorded.n
        return recorded

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> None:
        reader = EventReader(self._path)
        self._last = max((recorded.n for recorded in reader.read(final=True)), default=0)
        self._torn = reader.torn
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _write(self, data: bytes) -> None:
        assert self._fd is not None
        view = memoryview(data)
        while view:
            try:
                written = os.write(self._fd, view)
            except OSError:
                self._torn = self._torn or len(view) < len(data)
                raise
            view = view[written:]
        self._torn = False


class EventReader:
    """Reads on from where it was. A line is taken when its newline is there."""

    def __init__(self, path: Path, from_n: int = 1) -> None:
        self._path = path
        self._from_n = from_n
        self._offset = 0
        self._rest = b""

    @property
    def torn(self) -> bool:
        """Whether the file ended within a line at the last reading."""
        return bool(self._rest)

    def read(self, *, final: bool = False) -> Iterator[Recorded]:
        """The events that were added since. ``final``: nobody writes any more, so take a last line without newline,
        if it is whole."""
        for line in self._lines():
            yield from self._event(line)
        if final and self._rest:
            yield from self._event(self._rest)

    def _lines(self) -> Iterator[bytes]:
        try:
            stream = self._path.open("rb")
        except FileNotFoundError:
            return
        with stream:
            stream.seek(self._offset)
            while chunk := stream.read(_READ_BYTES):
                self._offset += len(chunk)
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                yield from lines

    def _event(self, line: bytes) -> Iterator[Recorded]:
        try:
            recorded = from_line(line.decode())
        except (ProtocolError, ValueError, KeyError, TypeError, AttributeError):
            return  # torn, or of a newer version that knows more kinds of events
        if recorded.n >= self._from_n:
            self._from_n = recorded.n + 1
            yield recorded


def read_events(path: Path) -> Iterator[Recorded]:
    """Every event of a file that nobody writes any more; nothing if there is no file."""
    return EventReader(path).read(final=True)


def follow(path: Path, from_n: int = 1, *, wait: Callable[[], bool]) -> Iterator[Recorded]:
    """The events from number ``from_n`` on, as they come. Blocks in ``wait``, which returns False when no more will
    come."""
    reader = EventReader(path, from_n)
    more = True
    while more:
        yield from reader.read()
        more = wait()
    yield from reader.read(final=True)
