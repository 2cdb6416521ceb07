"""Shuffling of raw records in bounded memory."""

from __future__ import annotations

import numpy as np

from launcher.estimator.streaming.formats.columns import Ints
from launcher.estimator.streaming.formats.parser import Batch


class ShuffleBuffer:
    """Holds ``size`` records; each batch that comes in changes places with as many records drawn from it.

    The same mixing as ``tf.data.Dataset.shuffle(size)``, many records at a time. ``size`` 0 passes batches through.
    Those of an earlier epoch leave first, as with ``shuffle(size).repeat()``: epochs stay apart, and their shards are
    done soon.
    """

    def __init__(self, size: int, generator: np.random.Generator) -> None:
        self._size = size
        self._generator = generator
        self._waiting: list[Batch] = []
        self._waiting_records = 0
        self._held: Batch | None = None
        self._epochs: Ints = np.zeros(0, np.int64)

    def exchange(self, batch: Batch, epoch: int = 0) -> Batch | None:
        """What comes out for this batch, None while the buffer fills."""
        if not self._size:
            return batch
        if self._held is None:
            self._waiting.append(batch)
            self._waiting_records += len(batch.records)
            self._epochs = np.concatenate([self._epochs, np.full(len(batch.records), epoch)])
            if self._waiting_records >= self._size:
                self._held, self._waiting, self._waiting_records = _join(self._waiting), [], 0
            return None
        held, count = self._held, min(len(batch.records), len(self._held.records))
        places = self._drawn(count)
        self._epochs[places] = epoch
        out = held.take(places)
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
        everything, count = _join(parts), len(self._epochs)
        order = self._generator.permutation(count)
        order = order[np.argsort(self._epochs[order], kind="stable")]
        self._epochs = self._epochs[:0]
        return everything.take(order)

    def _drawn(self, count: int) -> Ints:
        """Places of records that leave."""
        epochs = self._epochs
        if epochs.min() == epochs.max():
            return self._generator.choice(len(epochs), count, replace=False, shuffle=False)
        by_epoch = epochs + self._generator.random(len(epochs))
        return np.argpartition(by_epoch, count - 1)[:count]


def _join(parts: list[Batch]) -> Batch:
    return Batch(
        records=np.concatenate([part.records for part in parts]),
        leases=np.concatenate([part.leases for part in parts]),
        numbers=np.concatenate([part.numbers for part in parts]),
    )
