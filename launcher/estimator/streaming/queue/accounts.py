"""What a holder keeps of each of its leases, and what the chief's does for the queue besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from launcher.estimator.streaming.queue.queue import Held, Queue


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


class Upkeep(Protocol):
    """What the chief does at each contact besides."""

    def look(self) -> None:
        """What takes time, once a contact."""

    def change(self, queue: Queue) -> Queue:
        """What follows from it for the queue."""
        ...
