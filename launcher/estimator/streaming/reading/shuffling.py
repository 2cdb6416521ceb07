"""Shuffling of raw records in bounded memory."""

from __future__ import annotations

import numpy as np

from launcher.estimator.streaming.formats.parser import Batch


class ShuffleBuffer:
    """Holds ``size`` records; each batch that comes in changes places with as many records drawn from it.

    The same mixing as ``tf.data.Dataset.shuffle(size)``, many records at a time. ``size`` 0 passes batches through.
    """

    def __init__(self, size: int, generator: np.random.Generator) -> None:
        self._size = size
        self._generator = generator
        self._waiting: list[Batch] = []
        self._waiting_records = 0
        self._held: Batch | None = None

    def exchange(self, batch: Batch) -> Batch | None:
        """What comes out for this batch, None while the buffer fills."""
        if not self._size:
            return batch
        if self._held is None:
            self._waiting.append(batch)
            self._waiting_records += len(batch.records)
            if self._waiting_records >= self._size:
                self._held, self._waiting, self._waiting_records = _join(self._waiting), [], 0
            return None
        held, count = self._held, min(len(batch.records), len(self._held.records))
        places = self._generator.choice(len(held.records), count, replace=False, shuffle=False)
        out = Batch(records=held.records[places], leases=held.leases[places], numbers=held.numbers[places])
        held.records[places], held.leases[places] = batch.records[:count], batch.leases[:count]
        held.numbers[places] = batch.numbers[:count]
        if count < len(batch.records):
            return _join([out, batch.cut(count, len(batch.records))])
        return out

    def empty(self) -> Batch | None:
        """All that it holds, shuffled; None if that is nothing."""
        parts = self._waiting if self._held is None else [self._held]
        self._held, self._waiting, self._waiting_records = None, [], 0
        if not parts:
            return None
        everything = _join(parts)
        order = self._generator.permutation(len(everything.records))
        return Batch(
            records=everything.records[order], leases=everything.leases[order], numbers=everything.numbers[order]
        )


def _join(parts: list[Batch]) -> Batch:
    return Batch(
        records=np.concatenate([part.records for part in parts]),
        leases=np.concatenate([part.leases for part in parts]),
        numbers=np.concatenate([part.numbers for part in parts]),
    )
