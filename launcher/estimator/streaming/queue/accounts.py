"""What a holder keeps of each of its leases, and what the chief's does for the queue besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from launcher.estimator.streaming.queue.queue import Held, Queue

LEAST_AHEAD, MOST_AHEAD = 2, 64


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
    """How many leases to have ahead: twice what was taken since the last contact with the queue, and at least half as
    many as before, since contacts do not take turns with what is taken. Small shards are read faster than a contact
    takes; of large ones two are enough, and few are begun again after a failure."""

    ahead: int = LEAST_AHEAD
    taken: int = 0

    def contact(self) -> None:
        if self.taken:  # a contact that follows at once says nothing
            self.ahead = min(MOST_AHEAD, max(LEAST_AHEAD, 2 * self.taken, self.ahead // 2))
            self.taken = 0


class Upkeep(Protocol):
    """What the chief does at each contact besides."""

    def look(self) -> None:
        """What takes time, once a contact."""

    def change(self, queue: Queue) -> Queue:
        """What follows from it for the queue."""
        ...
