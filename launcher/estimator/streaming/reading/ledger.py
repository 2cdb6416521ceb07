"""How far each lease has been read: an engine's books."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from launcher.estimator.streaming.formats.columns import Ints, Rows
from launcher.estimator.streaming.formats.row_sets import RowSet
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.reading.leases import Lease, Leases

MOST_RUNS = 64


@dataclass(slots=True)
class _Entry:
    """``read``: its records, None while reading; ``parsed``: those that have been parsed or skipped; ``rows``."""

    shard: Shard
    trained: RowSet
    read: int | None = None
    parsed: int = 0
    rows: int = 0


class Ledger:
    """Thread-safe. Says ``ended`` of a lease when all records read of it have become rows, or were skipped."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._lock = threading.Lock()
        self._entries: dict[int, _Entry] = {}

    def begin(self, lease: Lease) -> None:
        with self._lock:
            self._entries[lease.id] = _Entry(lease.shard, lease.trained)

    def shard(self, lease: int) -> Shard:
        """The shard of a lease that has not ended."""
        with self._lock:
            return self._entries[lease].shard

    def left(self, rows: Rows) -> Rows:
        """Without those that were trained before their lease began."""
        with self._lock:
            trained = [(lease, entry.trained) for lease, entry in self._entries.items() if len(entry.trained)]
        out = np.zeros(len(rows), bool)
        for lease, done in trained:
            mine = np.flatnonzero(rows.ints[-2] == lease)
            out[mine] = done.has(rows.ints[-1][mine])
        return rows.take(np.flatnonzero(~out)) if out.any() else rows

    def read(self, lease: int, records: int) -> None:
        """Reading has come to the end of a lease, after so many records that were handed on."""
        with self._lock:
            entry = self._entries[lease]
            entry.read = records
            ended = self._close(lease, entry)
        self._tell(ended)

    def parsed(self, records: Ints, rows: Ints) -> None:
        """These records (their leases) have become these rows (their leases)."""
        ended = []
        with self._lock:
            for lease, count in _counts(rows):
                self._entries[lease].rows += count
            for lease, count in _counts(records):
                entry = self._entries[lease]
                entry.parsed += count
                ended += self._close(lease, entry)
        self._tell(ended)

    def _close(self, lease: int, entry: _Entry) -> list[tuple[int, int]]:
        if entry.parsed != entry.read:
            return []
        del self._entries[lease]
        return [(lease, entry.rows)]

    def _tell(self, ended: list[tuple[int, int]]) -> None:
        for lease, rows in ended:
            self._leases.ended(lease, rows)


def _counts(leases: Ints) -> list[tuple[int, int]]:
    """How often each is there: by runs where there are few, since to sort takes long."""
    starts = np.concatenate([[0], np.flatnonzero(leases[1:] != leases[:-1]) + 1]) if len(leases) else leases[:0]
    if len(starts) > MOST_RUNS:
        values, counts = np.unique(leases, return_counts=True)
        return list(zip(values.tolist(), counts.tolist(), strict=True))
    found: dict[int, int] = {}
    for lease, count in zip(leases[starts].tolist(), np.diff(starts, append=len(leases)).tolist(), strict=True):
        found[lease] = found.get(lease, 0) + count
    return list(found.items())
