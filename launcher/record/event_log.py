"""``events.jsonl``: one writer, any number of readers, at the same time or years later.

The writer may be killed within a line. What it left is then closed with a newline by the next writer and passed over by
every reader, so that no event is ever glued to another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from launcher.record.events import Recorded, RunEnded, RunEvent, from_line, to_line
from launcher.record.files.appending import Appender
from launcher.wire.protocol import ProtocolError

_READ_BYTES = 1 << 20
_MOST_WAITING_BYTES = 8 << 20


class EventLog:
    """Appends the events of a run, numbered from 1, or on from what the file has. One writer at a time. While the disk
    is full they wait in memory (``waiting``: bytes of them; ``trouble``: why); the file lacks those that are too many
    even for that (``lost``)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = Appender(path)
        self._last = 0
        self._torn = False
        self._begun = False
        self.lost = 0

    def append(self, event: RunEvent, at: datetime) -> Recorded:
        """Writes one event to the file, at once if the disk has room, and returns it as it stands there."""
        if not self._begun:
            self._begin()
        recorded = Recorded(n=self._last + 1, at=at, event=event)
        line = to_line(recorded).encode()
        if self._torn:
            line, self._torn = b"\n" + line, False
        most = _MOST_WAITING_BYTES if not isinstance(event, RunEnded) else 2 * _MOST_WAITING_BYTES
        self.lost += not self._file.add(line, most_waiting=most)
        self._last = recorded.n
        return recorded

    def flush(self) -> bool:
        """Tries to write what waits; whether nothing waits any more."""
        return self._file.flush()

    @property
    def waiting(self) -> int:
        return self._file.waiting

    @property
    def trouble(self) -> str:
        return self._file.trouble

    @property
    def size(self) -> int:
        """Bytes that are written."""
        return self._file.size

    def close(self) -> None:
        self._file.close()

    def _begin(self) -> None:
        self._begun = True
        reader = EventReader(self._path)
        self._last = max((recorded.n for recorded in reader.read(final=True)), default=0)
        self._torn = reader.torn


class EventReader:
    """Reads on from where it was, at first from ``offset``. A line is taken when its newline is there."""

    def __init__(self, path: Path, from_n: int = 1, *, offset: int = 0) -> None:
        self._path = path
        self._from_n = from_n
        self._offset = offset
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
        except (ProtocolError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
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
