"""From leases to batches: a ``tf.data.Dataset`` for any ``input_fn``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from launcher.estimator.streaming.formats.options import ReadingOptions
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.reading.engine import Engine
from launcher.estimator.streaming.reading.layout import Layout
from launcher.estimator.streaming.reading.leases import Leases, ShardLeases

WAIT_S = 0.5
PREFETCH_BATCHES = 2


def read(open_leases: Callable[[], Leases], options: ReadingOptions) -> tf.data.Dataset:
    """Batches of what is leased: dicts of the spec's features, and ``_lease`` and ``_row``, both int64[batch].

    Scalars are [batch], lists of n values [batch, n], lists of differing length ``tf.RaggedTensor`` [batch, None].
    ``_row`` numbers the rows of a file: the record's number, in row groups record * 2**20 + row. A batch is short where
    ``Leases.take`` has nothing for the moment, where ``linger_s`` is over, and at the end; else it has
    ``options.batch_examples`` rows.

    ``open_leases`` is called once per iterator, that is again after a session's recovery. The step that meets bad data
    fails with an error whose text is that of BadDataError. Works in graph mode and eagerly, without a cluster, too.
    """
    if options.reader == "process":
        from launcher.estimator.streaming.reading.reader import read_by_process

        return read_by_process(open_leases, options)
    layout = Layout(options)

    def elements() -> Iterator[tuple[Any, ...]]:
        engine = Engine(open_leases(), options)
        try:
            while not engine.is_over:
                rows = engine.next_rows(WAIT_S)
                yield from [layout.nothing()] if rows is None else layout.elements(rows)
        finally:
            engine.close()

    dataset = tf.data.Dataset.from_generator(elements, output_signature=layout.signature())
    dataset = dataset.filter(lambda ints, *rest: tf.size(ints) > 0)  # a sign of life now and then: can be cancelled
    dataset = layout.batches(dataset)
    settings = tf.data.Options()
    settings.threading.private_threadpool_size = 1
    return dataset.prefetch(PREFETCH_BATCHES).with_options(settings)


def read_shards(shards: Sequence[Shard], options: ReadingOptions) -> tf.data.Dataset:
    """Batches of given shards, once, as :func:`read`."""
    return read(lambda: ShardLeases(shards), options)
