"""Others' ways from the same rows to shuffled batches of TensorFlow, for ``input_way``.

Hugging Face's datasets has an environment of its own. petastorm 0.13.1, the newest, is left out: it asks pyarrow for
what pyarrow has no more (``pyarrow.localfs``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tests.benchmarks.input_baselines import BATCH_EXAMPLES, SHUFFLE_RECORDS, SPEC, Batch


def batched_features(files: Sequence[str]) -> Batch:
    """tf.data's own helper for files of tf.Example."""
    dataset = tf.data.experimental.make_batched_features_dataset(
        list(files),
        BATCH_EXAMPLES,
        SPEC,
        reader=tf.data.TFRecordDataset,
        shuffle_buffer_size=SHUFFLE_RECORDS,
        reader_num_threads=2,
        parser_num_threads=2,
        prefetch_buffer_size=4,
        drop_final_batch=True,
    )
    return _next(dataset)


def csv_dataset(files: Sequence[str]) -> Batch:
    """tf.data's own helper for CSV."""
    dataset = tf.data.experimental.make_csv_dataset(
        list(files),
        BATCH_EXAMPLES,
        column_defaults=[tf.int64] * len(SPEC),
        shuffle_buffer_size=SHUFFLE_RECORDS,
        num_parallel_reads=2,
        prefetch_buffer_size=4,
    )
    return _next(dataset)


def _next(dataset: Any) -> Any:
    return tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()


def hugging_face(files: Sequence[str], cache: Path, seconds: float) -> dict[str, float]:
    """``Dataset.to_tf_dataset`` from Parquet; what it makes of the files at first is aside."""
    import datasets

    table = datasets.Dataset.from_parquet(list(files), cache_dir=str(cache)).with_format("numpy")
    dataset = table.to_tf_dataset(batch_size=BATCH_EXAMPLES, shuffle=True, drop_remainder=True, prefetch=True).repeat()
    batches = iter(dataset)
    _run(batches, seconds / 4)
    used = time.process_time()
    steps, took = _run(batches, seconds)
    used = time.process_time() - used
    return {"examples_per_s": steps * BATCH_EXAMPLES / took, "cpu_us": used / (steps * BATCH_EXAMPLES) * 1e6}


def _run(batches: Any, seconds: float) -> tuple[int, float]:
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds or not steps:
        next(batches)
        steps += 1
    return steps, time.perf_counter() - began
