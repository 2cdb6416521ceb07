"""How people read TFRecord files of tf.Example: what the streaming input is measured against.

Each function builds, in the default graph, tensors of one shuffled batch: int64[batch] by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

FEATURES = tuple(f"f{number:02d}" for number in range(24))
COLUMNS = (*FEATURES, "click", "conversion")
BATCH_EXAMPLES = 1024
SHUFFLE_RECORDS = 32_768
SPEC = {name: tf.io.FixedLenFeature([], tf.int64) for name in COLUMNS}

Batch = Mapping[str, Any]


def queue_runners(files: Sequence[str]) -> Batch:
    """(a) TensorFlow 1: a queue of file names, a reader, a queue of parsed examples."""
    v1 = tf.compat.v1
    names = v1.train.string_input_producer(list(files), shuffle=True)
    _, record = v1.TFRecordReader().read(names)
    parsed: Batch = v1.train.shuffle_batch(
        v1.io.parse_single_example(record, SPEC),
        batch_size=BATCH_EXAMPLES,
        capacity=SHUFFLE_RECORDS + 4 * BATCH_EXAMPLES,
        min_after_dequeue=SHUFFLE_RECORDS,
        num_threads=2,
    )
    return parsed


def parse_each(files: Sequence[str]) -> Batch:
    """(b) tf.data as in most tutorials: parse, shuffle, batch."""
    dataset = tf.data.TFRecordDataset(list(files))
    dataset = dataset.map(lambda record: tf.io.parse_single_example(record, SPEC), num_parallel_calls=2)
    return _next(dataset.shuffle(SHUFFLE_RECORDS).repeat().batch(BATCH_EXAMPLES).prefetch(4))


def parse_batches(files: Sequence[str]) -> Batch:
    """(c) tf.data as fast as it gets by hand: interleaved in blocks by one thread, shuffled as bytes, parsed by the
    batch, with a thread pool no larger than the cores."""
    dataset = tf.data.Dataset.from_tensor_slices(list(files)).shuffle(len(files)).repeat()
    dataset = dataset.interleave(tf.data.TFRecordDataset, cycle_length=4, block_length=16)
    dataset = dataset.shuffle(SHUFFLE_RECORDS).batch(BATCH_EXAMPLES, drop_remainder=True)
    dataset = dataset.map(lambda records: tf.io.parse_example(records, SPEC), num_parallel_calls=2)
    options = tf.data.Options()
    options.threading.private_threadpool_size = 2
    return _next(dataset.prefetch(4).with_options(options))


def raw_records(files: Sequence[str]) -> Batch:
    """(f) No parsing, no shuffling: the records themselves."""
    dataset = tf.data.TFRecordDataset(list(files), buffer_size=1 << 20).repeat()
    return {"record": _next(dataset.batch(BATCH_EXAMPLES).prefetch(4))}


def _next(dataset: Any) -> Any:
    return tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()


WAYS: Mapping[str, Callable[[Sequence[str]], Batch]] = {
    "a": queue_runners,
    "b": parse_each,
    "c": parse_batches,
    "f": raw_records,
}
