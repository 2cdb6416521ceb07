"""How the shared input stands, in numbers: for the launcher's views, the report and TensorBoard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from launcher.estimator.streaming.queue.queue import Queue
from launcher.wire.protocol import InputState, Message

_EVERY_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is known beforehand. ``epochs``: None where they have no end; ``endless``: training ends when it is stopped,
    or when nothing comes."""

    epochs: int | None
    is_folder: bool
    endless: bool = False


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A queue at a time, in seconds."""

    at: float
    tickets: int
    newest_s: float


class Numbers:
    """Says once a second how the queue stands. ``send`` takes the message; ``clock`` is the wall clock."""

    def __init__(
        self, send: Callable[[Message], None], source: Source, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.state: InputState | None = None
        self._send = send
        self._source = source
        self._clock = clock
        self._first: Seen | None = None
        self._lag_s: float | None = None
        self._newest_s = 0.0
        self._said_at = 0.0
        self._summarised = (0, 0.0)
        self._lock = threading.Lock()

    def see(self, queue: Queue) -> None:
        """Take note of the queue; say so if it is time, or if it is over."""
        with self._lock:
            now = self._clock()
            if self._first is None:
                self._first = Seen(at=now, tickets=queue.counts.tickets, newest_s=queue.counts.newest_s)
                self._newest_s = queue.counts.newest_s
            if self._source.is_folder and queue.counts.newest_s > self._newest_s:
                self._newest_s = queue.counts.newest_s
                self._lag_s = max(0.0, now - self._newest_s)
            state = self._state(queue, now)
            is_news = self.state is None or (queue.is_over and state != self.state)
            if is_news or now - self._said_at >= _EVERY_S:
                self._said_at = now
                self.state = state
                self._send(state)

    def summary(self, waiting: float | None) -> dict[str, float]:
        """What TensorBoard shows, by tag; ``examples_per_s`` since the last call."""
        state, now = self.state, self._clock()
        if state is None:
            return {}
        (before, at), self._summarised = self._summarised, (state.examples, now)
        values = {
            "input/examples_per_s": (state.examples - before) / (now - at) if at and now > at else None,
            "input/waiting_share": waiting,
            "input/shards_waiting": state.pending,
            "input/shards_held": state.held,
            "input/progress": state.progress,
            "input/lag_s": state.lag_s,
            "input/shards_begun_again": state.reread,
            "input/duplicates": state.duplicates,
            "input/skipped": state.skipped,
        }
        return {tag: float(value) for tag, value in values.items() if value is not None}

    def _state(self, queue: Queue, now: float) -> InputState:
        counts = queue.counts
        progress = progress_of(queue, self._source.epochs)
        return InputState(
            examples=counts.examples,
            duplicates=counts.duplicates,
            skipped=counts.skipped,
            reread=counts.returned,
            pending=len(queue.pending),
            held=len(queue.held),
            most_held=counts.most_held,
            epoch=epoch_of(queue),
            epochs=self._source.epochs,
            progress=progress,
            left_s=self._left_s(queue, now),
            lag_s=self._lag_s,
            endless=self._source.endless,
        )

    def _left_s(self, queue: Queue, now: float) -> float | None:
        """At the rate since this session began."""
        total = tickets_of(queue, self._source.epochs)
        done = done_of(queue)
        if total is None or done is None or self._first is None:
            return None
        since = queue.counts.tickets - self._first.tickets
        if since <= 0 or now <= self._first.at:
            return 0.0 if done >= total else None
        return (total - done) * (now - self._first.at) / since


def epoch_of(queue: Queue) -> int | None:
    """The earliest epoch that is not all done, from 1."""
    if "epoch" not in queue.bookmark:
        return None
    open_epochs = [ticket.epoch for ticket in queue.pending] + [held.ticket.epoch for held in queue.held]
    latest = int(queue.bookmark["epoch"]) - (1 if queue.ended else 0)
    return min(open_epochs, default=latest) + 1


def tickets_of(queue: Queue, epochs: int | None) -> int | None:
    """Of all epochs, as far as it can be known now."""
    return None if epochs is None or "shards" not in queue.bookmark else epochs * int(queue.bookmark["shards"])


def done_of(queue: Queue) -> int | None:
    """Tickets handed in and done."""
    mark = queue.bookmark
    if "shards" not in mark:
        return None
    return int(mark["epoch"]) * int(mark["shards"]) + int(mark["next"]) - len(queue.pending) - len(queue.held)


def progress_of(queue: Queue, epochs: int | None) -> float | None:
    """From 0 to 1; None where there is no end."""
    total, done = tickets_of(queue, epochs), done_of(queue)
    if not total or done is None:
        return None
    return round(min(1.0, max(0.0, done / total)), 6)
