"""What a holder keeps of each of its leases, and what the chief's does for the queue besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from launcher.estimator.streaming.formats.row_sets import NO_ROWS, RowSet
from launcher.estimator.streaming.queue.queue import Held, Queue, Ticket

LEAST_AHEAD, MOST_AHEAD = 2, 256
_ROWS_AHEAD = 8192
_FEW_HELD, _MOST_HELD, _ROWS_HELD = 128, 1024, 16_384
_NEWEST = 1 / 8
_MANY = 16


@dataclass
class Account:
    """What is known of one lease: ``total`` rows once it is read to its end, ``trained`` so far; ``before``: rows that
    were trained before it began."""

    held: Held
    before: RowSet = NO_ROWS
    total: int | None = None
    trained: int = 0
    skipped: int = 0

    @property
    def is_done(self) -> bool:
        return self.total is not None and self.trained >= self.total


@dataclass(frozen=True, kw_only=True)
class Having:
    """What a trainer has: leases ``held``, of which nobody has begun to read those that are ``ahead``, and those that
    are ``opened`` are being read."""

    held: int
    ahead: int
    opened: int


@dataclass
class Pace:
    """How many leases to have ahead: twice as many where what was ahead was read before a contact with the queue had
    brought more, half as many where most of it was left; together they have 8,192 rows at most. Of larger shards two
    are enough, and with those that are being read they are no more than half of an equal share of what is pending of
    the same epoch, or one: all trainers get a share, epochs stay in order, few are begun again after a failure. Who
    trains alone shares with nobody.

    ``most_leases``: what may be unacknowledged at once; None: 128, or as many small ones as make 16,384 rows, up to
    1,024: a trainer needs some batches on their way. ``taken``: by the reader so far. ``ran_dry``: it has had to wait
    since the last contact. ``rows``: of a shard, the newest counting most. ``trainers``: how many there are to be.
    """

    most_leases: int | None = None
    ahead: int = LEAST_AHEAD
    taken: int = 0
    ran_dry: bool = False
    rows: float | None = None
    trainers: int = 1

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

    @property
    def most_held(self) -> int:
        """How many leases may be unacknowledged."""
        if self.most_leases is not None:
            return self.most_leases
        rows = _ROWS_HELD if self.rows is None else max(self.rows, 1.0)
        return max(_FEW_HELD, min(_MOST_HELD, int(_ROWS_HELD / rows)))

    @property
    def _are_small(self) -> bool:
        # Rows are known once a batch is full of them: before, only small shards are many.
        return self.taken >= _MANY if self.rows is None else self.rows * LEAST_AHEAD <= _ROWS_AHEAD

    def _most(self) -> int:
        if self.rows is None:
            return MOST_AHEAD if self._are_small else LEAST_AHEAD
        return min(MOST_AHEAD, int(_ROWS_AHEAD / max(self.rows, 1.0)))

    def wanted(self, queue: Queue, about: Having) -> int:
        """How many leases to take."""
        trainers = max(self.trainers, len(queue.holders))
        parts = 2 * trainers if trainers > 1 else 1
        if self._are_small:
            most = max(LEAST_AHEAD, len(queue.pending) // parts)
        else:
            most = max(1, _of_one_epoch(queue.pending) // parts) - about.opened - about.ahead
        return max(0, min(self.ahead - about.ahead, self.most_held - about.held, most))

    def is_worth(self, queue: Queue, about: Having) -> bool:
        """Whether to ask at once. Where little is pending, the chief, which would bring more, has the right of way."""
        wanted = self.wanted(queue, about)
        return bool(wanted and queue.pending) and (queue.ended or wanted >= (self.ahead - about.ahead) // 4)


def _of_one_epoch(pending: Sequence[Ticket]) -> int:
    """How many of them are of the epoch that comes first."""
    if not pending or pending[0].epoch == pending[-1].epoch:
        return len(pending)
    return sum(ticket.epoch == pending[0].epoch for ticket in pending)


class Upkeep(Protocol):
    """What the chief does at each contact besides."""

    def look(self) -> None:
        """What takes time, once a contact."""

    def change(self, queue: Queue) -> Queue:
        """What follows from it for the queue."""
        ...


def rows_by_lease(leases: Any) -> dict[int, int]:
    """How many of int64[batch] lease numbers are which."""
    values, counts = np.unique(leases, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}
