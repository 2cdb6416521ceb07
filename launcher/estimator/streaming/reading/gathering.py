"""Raw blocks of several files become batches of raw records; rows become batches of an exact size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from launcher.estimator.streaming.formats.columns import Rows, join
from launcher.estimator.streaming.formats.framing import RawBlock
from launcher.estimator.streaming.formats.parser import Batch


class Gatherer:
    """Collects records until there are ``records`` of them, or ``size_bytes``."""

    def __init__(self, *, records: int, size_bytes: int) -> None:
        self._wanted = records
        self._wanted_bytes = size_bytes
        self._records: list[Any] = []
        self._tags: list[tuple[int, int, int]] = []  # lease, first number, how many
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, lease: int, block: RawBlock) -> Iterator[Batch]:
        """The batches that are full with this block."""
        start = 0
        while start < len(block.records):
            part = block.records[start : start + self._wanted - len(self._records)]
            self._records += part
            self._tags.append((lease, block.first + start, len(part)))
            self._bytes += sum(map(_size, part))
            start += len(part)
            if len(self._records) >= self._wanted or self._bytes >= self._wanted_bytes:
                yield self._take()

    def rest(self) -> Batch | None:
        """What is there, None if that is nothing."""
        return self._take() if self._records else None

    def _take(self) -> Batch:
        batch = Batch(
            records=np.fromiter(self._records, object, len(self._records)),
            leases=np.concatenate([np.full(count, lease, np.int64) for lease, _, count in self._tags]),
            numbers=np.concatenate([np.arange(first, first + count) for _, first, count in self._tags]),
        )
        self._records, self._tags, self._bytes = [], [], 0
        return batch


def _size(record: Any) -> int:
    return len(record) if isinstance(record, bytes) else int(record.nbytes)


class Batcher:
    """Cuts rows into batches of an exact size."""

    def __init__(self, batch_examples: int) -> None:
        self._size = batch_examples
        self._rest: list[Rows] = []
        self._rest_rows = 0

    def add(self, rows: Rows) -> Iterator[Rows]:
        """What is full with these rows: one batch, or several that follow each other."""
        start = 0
        if self._rest_rows:
            start = min(self._size - self._rest_rows, len(rows))
            self._keep(rows.cut(0, start))
            if self._rest_rows == self._size:
                yield join(self._rest)
                self._rest, self._rest_rows = [], 0
        full = (len(rows) - start) // self._size * self._size
        if full:
            yield rows.cut(start, start + full) if full < len(rows) else rows
        self._keep(rows.cut(start + full, len(rows)))

    def rest(self) -> Rows | None:
        """What is there, None if that is nothing."""
        rest = join(self._rest) if self._rest_rows else None
        self._rest, self._rest_rows = [], 0
        return rest

    def _keep(self, rows: Rows) -> None:
        if len(rows):
            self._rest.append(rows)
            self._rest_rows += len(rows)
