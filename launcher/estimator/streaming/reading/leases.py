"""The seam between whoever hands out shards and the engine that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

from launcher.estimator.streaming.formats.row_sets import NO_ROWS, RowSet
from launcher.estimator.streaming.formats.shards import Shard


class Pause(Enum):
    """``take`` has nothing to hand out at present; later it may."""

    NOTHING_NOW = "nothing now"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """A shard that one reader has; ``id`` is chosen by whoever hands it out and travels with every row. Shards of a
    later ``epoch`` are read after all of an earlier one. ``trained``: rows, by their numbers, that are left out."""

    id: int
    shard: Shard
    epoch: int = 0
    trained: RowSet = NO_ROWS


class Leases(Protocol):
    """Where an engine gets its shards. Both methods are called from threads of the engine."""

    def take(self, *, opened: int = 0) -> Lease | Literal[Pause.NOTHING_NOW] | None:
        """The next shard, None at the end of the input. ``opened``: how many the engine has, not read to their end.

        With none it may block for half a second at most, and after NOTHING_NOW the engine hands on what it holds as a
        short batch, so that everything leased so far can be trained and acknowledged, and asks again. With some, the
        engine has something to read meanwhile.
        """
        ...

    def ended(self, lease: int, rows: int) -> None:
        """Everything of a lease has been read and parsed, and has given ``rows`` rows. Called once a lease.

        The rows may still be on their way to the trainer. Skipped records are not among them.
        """
        ...


class ShardLeases:
    """Leases of given shards in their order, once: for evaluation, tests, and jobs without a queue."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._leases = iter([Lease(id=number, shard=shard) for number, shard in enumerate(shards)])
        self.rows: dict[int, int] = {}
        """Rows by lease, for those that have ended."""

    def take(self, *, opened: int = 0) -> Lease | Literal[Pause.NOTHING_NOW] | None:
        return next(self._leases, None)

    def ended(self, lease: int, rows: int) -> None:
        self.rows[lease] = rows
