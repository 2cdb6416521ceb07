"""Input to evaluate and predict on: every example once, in order. What is trained on comes from ``stream.py``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from jobs._tf import tf
from jobs.esmm.schema import LABELS, Schema

PREFETCH_BATCHES = 4

Features = Mapping[str, tf.Tensor]
InputFn = Callable[..., tf.data.Dataset]


def usable_cores() -> int:
    """Cores this process may run on, which in a container or under taskset are fewer than the machine's."""
    return len(os.sched_getaffinity(0))


def eval_input_fn(files: Sequence[str], schema: Schema, *, batch_examples: int) -> InputFn:
    """Every example once, in order."""

    def input_fn() -> tf.data.Dataset:
        dataset = tf.data.TFRecordDataset(list(files)).batch(batch_examples)
        return _finish(dataset.map(_parser(schema, labels=True), num_parallel_calls=usable_cores()))

    return input_fn


def predict_input_fn(files: Sequence[str], schema: Schema, *, batch_examples: int) -> InputFn:
    """As :func:`eval_input_fn`, without labels."""

    def input_fn() -> tf.data.Dataset:
        dataset = tf.data.TFRecordDataset(list(files)).batch(batch_examples)
        return _finish(dataset.map(_parser(schema, labels=False), num_parallel_calls=usable_cores()))

    return input_fn


def columns_input_fn(columns: Mapping[str, Sequence[int]], *, batch_examples: int) -> InputFn:
    """Features that are in memory already, int64[examples] by name."""

    def input_fn() -> tf.data.Dataset:
        tensors = {name: tf.constant(ids, tf.int64) for name, ids in columns.items()}
        return tf.data.Dataset.from_tensor_slices(tensors).batch(batch_examples)

    return input_fn


def parse_features(serialized: tf.Tensor, schema: Schema) -> Features:
    """int64[batch] by feature, from string[batch] of tf.Example. The step fails where a feature is missing."""
    features: Features = tf.io.parse_example(serialized, _spec(schema.names))
    return features


def _parser(schema: Schema, *, labels: bool) -> Callable[[tf.Tensor], object]:
    def parse(serialized: tf.Tensor) -> object:
        if not labels:
            return parse_features(serialized, schema)
        columns = tf.io.parse_example(serialized, _spec((*schema.names, *LABELS)))
        return {name: columns[name] for name in schema.names}, {name: columns[name] for name in LABELS}

    return parse


def _spec(names: Sequence[str]) -> dict[str, tf.io.FixedLenFeature]:
    return {name: tf.io.FixedLenFeature([], tf.int64) for name in names}


def _finish(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.threading.private_threadpool_size = usable_cores()
    return dataset.prefetch(PREFETCH_BATCHES).with_options(options)
