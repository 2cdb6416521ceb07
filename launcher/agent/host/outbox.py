"""Numbered events, kept until the supervisor says that it has them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from launcher.wire import protocol

_MOST_CHARS = 50_000  # of a text in an event that would be longer than any that is taken


def _shortened(body: protocol.Message) -> protocol.Message:
    texts = {name: value for name, value in vars(body).items() if isinstance(value, str)}
    return protocol.changed(body, **{name: text[-_MOST_CHARS:] for name, text in texts.items()})


class Outbox:
    """The events of one agent process, from 1 on. ``clock``: seconds since the epoch; ``kept_bytes``: what is kept."""

    def __init__(self, incarnation: str, clock: Callable[[], float]) -> None:
        self.incarnation = incarnation
        self._clock = clock
        self._newest = 0
        self._kept: deque[tuple[int, bytes]] = deque()
        self.kept_bytes = 0

    def add(self, body: protocol.Message) -> bytes:
        """Numbers an event, keeps it and gives its line."""
        self._newest += 1
        event = protocol.Event(seq=self._newest, incarnation=self.incarnation, at=self._clock(), body=body)
        line = protocol.encode(event)
        if len(line) > protocol.MAX_EVENT_BYTES:
            line = protocol.encode(protocol.changed(event, body=_shortened(body)))
        self._kept.append((self._newest, line))
        self.kept_bytes += len(line)
        return line

    def acknowledge(self, seq: int) -> None:
        """Forgets the events up to ``seq``; a number that was never given is not believed."""
        if seq > self._newest:
            return
        while self._kept and self._kept[0][0] <= seq:
            self.kept_bytes -= len(self._kept.popleft()[1])

    def unacknowledged(self) -> Iterator[bytes]:
        """The lines that are still kept, oldest first."""
        return (line for _, line in self._kept)
