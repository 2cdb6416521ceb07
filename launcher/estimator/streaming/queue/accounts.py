"""What a holder keeps of each of its leases, and what the chief's does for the queue besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from launcher.estimator.streaming.queue.queue import Held, Queue

LEAST_AHEAD, MOST_AHEAD = 2, 64
_ROWS_AHEAD = 8192
_NEWEST = 1 / 8


@dataclass
class Account:
    """What is known of one lease: ``total`` rows once it is read to its end, ``trained`` so far."""

    held: Held
    total: int | None = None
    trained: int = 0
    skipped: int = 0

    @property
    def is_done(self) -> bool:
        return self.total is not None and self.trained >= self.total


@dataclass
class Pace:
    """How many leases to have ahead: twice as many where what was ahead was read before a contact with the queue had
    brought more, half as many where most of it was left. Of large shards two are enough: together they have 8,192 rows
    at most, so that all trainers get a share, and few are begun again after a failure.

    ``ran_dry``: the reader has had to wait since the last contact. ``rows``: of a shard, the newest counting most.
    """

    ahead: int = LEAST_AHEAD
    ran_dry: bool = False
    rows: float | None = None

    def read(self, rows: int) -> None:
        """A shard was read to its end."""
        self.rows = float(rows) if self.rows is None else self.rows + (rows - self.rows) * _NEWEST

    def contact(self, left: int) -> None:
        """A contact has come to its end, when ``left`` leases were still ahead."""
        if self.ran_dry:
            self.ahead *= 2
        elif left > self.ahead // 2:
            self.ahead //= 2
        self.ahead = max(LEAST_AHEAD, min(self.ahead, self._most()))
        self.ran_dry = False

    def _most(self) -> int:
        return LEAST_AHEAD if self.rows is None else min(MOST_AHEAD, int(_ROWS_AHEAD / max(self.rows, 1.0)))

    def share(self, queue: Queue, wanted: int) -> int:
        """How many of the leases that are wanted to take: no more than half of an equal share of what is pending."""
        return min(wanted, max(LEAST_AHEAD, len(queue.pending) // (2 * max(1, len(queue.holders)))))


class Upkeep(Protocol):
    """What the chief does at each contact besides."""

    def look(self) -> None:
        """What takes time, once a contact."""

    def change(self, queue: Queue) -> Queue:
        """What follows from it for the queue."""
        ...
