"""Streaming input: TFRecord files of tf.Example through tf.data.

Records are shuffled while they are still bytes and parsed a batch at a time, which is several times faster than
parsing each. Files are read one block after another from a few open files, so one reader thread is enough.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jobs._tf import estimator, tf
from jobs.esmm.schema import LABELS, Schema

OPEN_FILES = 4
BLOCK_RECORDS = 16
SHUFFLE_RECORDS = 32_768
PREFETCH_BATCHES = 4

Features = Mapping[str, tf.Tensor]
InputFn = Callable[..., tf.data.Dataset]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """This task's part of the input: number ``index`` of ``count``."""

    index: int
    count: int


_EVERYTHING = Shard(index=0, count=1)


def usable_cores() -> int:
    """Cores this process may run on, which in a container or under taskset are fewer than the machine's."""
    return len(os.sched_getaffinity(0))


def trainer_shard(config: estimator.RunConfig) -> Shard:
    """Chief and workers share the files; a process without a cluster has them all."""
    if config.task_type in ("chief", "worker") and config.num_worker_replicas > 1:
        return Shard(index=config.global_id_in_cluster, count=config.num_worker_replicas)
    return _EVERYTHING


def shard_files(files: Sequence[str], shard: Shard) -> tuple[list[str], Shard]:
    """The files this trainer reads, and the part of their records that it keeps.

    Whole files where there are enough for everybody, else all files and every ``count``-th record of them.
    """
    if len(files) >= shard.count:
        return list(files[shard.index :: shard.count]), _EVERYTHING
    return list(files), shard


def train_input_fn(files: Sequence[str], schema: Schema, *, batch_examples: int, seed: int | None) -> InputFn:
    """Endless shuffled ``(features, labels)``; the number of steps ends the training. A batch is never short.

    Each pass has every record of this trainer once; passes do not mix, so an uneven last batch runs into the next.
    """

    def input_fn(config: estimator.RunConfig) -> tf.data.Dataset:
        shard = trainer_shard(config)
        own_files, records = shard_files(files, shard)
        own_seed = None if seed is None else seed + shard.index
        dataset = tf.data.Dataset.from_tensor_slices(own_files)
        if records.count == 1:
            dataset = dataset.shuffle(len(own_files), seed=own_seed)
        dataset = dataset.interleave(
            tf.data.TFRecordDataset, cycle_length=min(OPEN_FILES, len(own_files)), block_length=BLOCK_RECORDS
        )
        if records.count > 1:  # needs the same order in all trainers, hence files that are not shuffled
            dataset = dataset.shard(records.count, records.index)
        dataset = dataset.shuffle(SHUFFLE_RECORDS, seed=own_seed).repeat()
        dataset = dataset.batch(batch_examples, drop_remainder=True)
        return _finish(dataset.map(_parser(schema, labels=True), num_parallel_calls=usable_cores()))

    return input_fn


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
