"""How rows go from the engine into a dataset: few large arrays for many batches, since each array costs time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from launcher.estimator.streaming.formats.columns import Array, Ragged, Rows
from launcher.estimator.streaming.formats.feature_spec import Column, stacked, unstacked
from launcher.estimator.streaming.formats.options import ReadingOptions
from launcher.estimator.streaming.formats.parser import DTYPES

LEASE = "_lease"
ROW = "_row"
ALIGNMENT_BYTES = 64  # EIGEN_MAX_ALIGN_BYTES: TensorFlow's core/lib/core/ndarray_tensor_types, py_func.cc


class Layout:
    """An element holds k batches: scalars stacked as [k, columns, batch], the rest [k, batch, …]."""

    def __init__(self, options: ReadingOptions) -> None:
        spec = options.spec
        self._batch = options.batch_examples
        self._ints = [*stacked(spec, "ints"), LEASE, ROW]
        self._floats = stacked(spec, "floats")
        self._others = unstacked(spec)
        self._has_lists = any(column.length is None for column in self._others)

    def signature(self) -> tuple[tf.TensorSpec, ...]:
        parts = [tf.TensorSpec([None, len(self._ints), None], tf.int64)]
        parts += [tf.TensorSpec([None, len(self._floats), None], tf.float32)] if self._floats else []
        for column in self._others:
            dtype = DTYPES[column.kind]
            if column.length is None:
                parts += [tf.TensorSpec([None], dtype), tf.TensorSpec([None], tf.int64)]
            else:
                parts.append(tf.TensorSpec([None, None, *_list(column)], dtype))
        return tuple(parts)

    def nothing(self) -> tuple[Array, ...]:
        """An element without rows."""
        dtypes = (object if s.dtype == tf.string else s.dtype.as_numpy_dtype for s in self.signature())
        shapes = ([size or 0 for size in spec.shape] for spec in self.signature())
        return tuple(np.zeros(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True))

    def elements(self, rows: Rows) -> Iterator[tuple[Array, ...]]:
        """Rows as elements: one, unless lists of differing length keep batches apart."""
        size = self._batch if self._has_lists and len(rows) > self._batch else len(rows)
        for start in range(0, len(rows), size):
            yield self._element(rows.cut(start, start + size) if size < len(rows) else rows)

    def batches(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """A dataset of elements as one of batches: dicts of tensors [batch, …]. Elements without rows, which only are
        signs of life, so that a session can be closed, give none.

        By ``flat_map``, since ``unbatch`` takes as long for a batch as all the rest of the way to the trainer.
        """
        if self._has_lists:
            return dataset.filter(lambda ints, *rest: tf.size(ints) > 0).map(self._only_batch)
        return dataset.flat_map(lambda *parts: tf.data.Dataset.from_tensor_slices(parts)).map(self._by_name)

    def _only_batch(self, *parts: tf.Tensor) -> dict[str, Any]:
        rest = iter(parts)
        made = [next(rest)[0]] + ([next(rest)[0]] if self._floats else [])
        for column in self._others:
            values = next(rest)
            ragged = column.length is None
            made.append(tf.RaggedTensor.from_row_lengths(values, next(rest), validate=False) if ragged else values[0])
        return self._by_name(*made)

    def _by_name(self, *parts: Any) -> dict[str, Any]:
        rest = iter(parts)
        features: dict[str, Any] = dict(zip(self._ints, tf.unstack(next(rest)), strict=True))
        if self._floats:
            features |= dict(zip(self._floats, tf.unstack(next(rest)), strict=True))
        return features | {column.name: next(rest) for column in self._others}

    def _element(self, rows: Rows) -> tuple[Array, ...]:
        size = min(self._batch, len(rows))
        parts: list[Array] = [_by_batch(rows.ints, size)]
        parts += [_by_batch(rows.floats, size)] if self._floats else []
        for column in self._others:
            values = rows.others[column.name]
            if isinstance(values, Ragged):
                parts += [values.values, values.lengths]
            else:
                parts.append(values.reshape(-1, size, *_list(column)))
        return tuple(parts)


def _list(column: Column) -> list[int]:
    return [] if column.length in (1, None) else [int(column.length or 0)]


def _by_batch(stacked: Array, size: int) -> Array:
    """[columns, k * size] as [k, columns, size]."""
    by_batch = stacked.reshape(len(stacked), -1, size).swapaxes(0, 1)
    element = _aligned(by_batch.shape, by_batch.dtype)
    np.copyto(element, by_batch)
    return element


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An empty array where TensorFlow wants its tensors: it would copy any other."""
    size_bytes = math.prod(shape) * dtype.itemsize
    memory = np.empty(size_bytes + ALIGNMENT_BYTES, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT_BYTES
    return memory[start : start + size_bytes].view(dtype).reshape(shape)
