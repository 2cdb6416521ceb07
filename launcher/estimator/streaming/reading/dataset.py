"""From leases to batches: a ``tf.data.Dataset`` for any ``input_fn``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from launcher.estimator.streaming.formats.options import ReadingOptions
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.reading.leases import Leases, ShardLeases
from launcher.estimator.streaming.reading.reader import read_by_process
from launcher.estimator.streaming.reading.threads import read_by_threads


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
        return read_by_process(open_leases, options)
    return read_by_threads(open_leases, options)


def read_shards(shards: Sequence[Shard], options: ReadingOptions) -> tf.data.Dataset:
    """Batches of given shards, once, as :func:`read`."""
    return read(lambda: ShardLeases(shards), options)
