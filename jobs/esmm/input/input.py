"""Input: what columns there are to read, and batches to evaluate and predict on. Training reads in ``stream.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jobs._tf import tf
from jobs.esmm.input.rows import find_format, weight_kind
from jobs.esmm.input.schema import LABELS, Schema
from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec
from launcher.estimator.streaming.formats.options import ReadingOptions
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.opening import LEASE, ROW
from launcher.estimator.streaming.reading.dataset import read_shards

InputFn = Callable[..., tf.data.Dataset]


def columns_of(schema: Schema, *, labels: Sequence[str] = (), files: Sequence[Path] = ()) -> FeatureSpec:
    """The columns to read: features, and ``labels``, of which those besides click and conversion are weights. The first
    of ``files`` tells whether weights are whole numbers."""
    kinds = [Column(name=f.name, kind="bytes" if f.type == "string" else "int64") for f in schema.features]
    kinds += [Column(name=name) for name in labels if name in LABELS]
    kinds += [Column(name=name, kind=weight_kind(files, name)) for name in labels if name not in LABELS]
    return FeatureSpec(columns=tuple(kinds))


def files_input_fn(
    files: Sequence[Path], schema: Schema, *, batch_examples: int, labels: Sequence[str] = ()
) -> InputFn:
    """Every example once, in order: features by name, and ``labels`` by name if there are any."""

    def input_fn() -> tf.data.Dataset:
        options = ReadingOptions(
            spec=columns_of(schema, labels=labels, files=files),
            format=find_format(files),
            batch_examples=batch_examples,
            shuffle_rows=0,
        )
        return read_shards([Shard(path=str(file)) for file in files], options).map(divided)

    def divided(batch: Mapping[str, tf.Tensor]) -> object:
        features = {name: column for name, column in batch.items() if name not in (LEASE, ROW, *labels)}
        return (features, {name: batch[name] for name in labels}) if labels else features

    return input_fn


def columns_input_fn(columns: Mapping[str, Sequence[int | str]], schema: Schema, *, batch_examples: int) -> InputFn:
    """Features that are in memory already, [examples] by name."""

    def input_fn() -> tf.data.Dataset:
        dtypes = {f.name: tf.string if f.type == "string" else tf.int64 for f in schema.features}
        tensors = {name: tf.constant(values, dtypes[name]) for name, values in columns.items()}
        return tf.data.Dataset.from_tensor_slices(tensors).batch(batch_examples)

    return input_fn
