"""Row groups: many rows in one tf.Example, one list per column, in an ordinary TFRecord file.

Scalars of n rows are a list of n values, lists of fixed length one after the other. A list of differing length has
its values in one list, and how many each row has in ``#lengths/NAME``. ``#rows`` says how many rows there are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from launcher.estimator.streaming.errors import StreamingError
from launcher.estimator.streaming.formats.columns import Array, Ragged, Values
from launcher.estimator.streaming.formats.feature_spec import ROWS, Column, FeatureSpec, lengths_name

ROWS_PER_GROUP = 1024
MAX_ROWS_PER_GROUP = (1 << 20) - 1


def encode_group(columns: Mapping[str, Values], spec: FeatureSpec) -> bytes:
    """One serialized row group. Raises StreamingError where a column does not fit the spec or the other columns."""
    rows = len(columns[spec.columns[0].name])
    if not 0 < rows <= MAX_ROWS_PER_GROUP:
        raise StreamingError(f"a row group has 1 to {MAX_ROWS_PER_GROUP} rows, not {rows}")
    features = {ROWS: _ints(np.array([rows], np.int64))}
    for column in spec.columns:
        values = columns[column.name]
        _check(column, values, rows)
        if isinstance(values, Ragged):
            features[lengths_name(column.name)] = _ints(values.lengths)
            values = values.values
        features[column.name] = _FEATURES[column.kind](values.reshape(-1))
    example: bytes = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    return example


def encode_groups(columns: Mapping[str, Values], spec: FeatureSpec, *, rows: int = ROWS_PER_GROUP) -> list[bytes]:
    """All rows of ``columns`` in groups of ``rows``; the last may be smaller."""
    total = len(columns[spec.columns[0].name]) if spec.columns else 0
    return [
        encode_group({name: _cut(v, start, start + rows) for name, v in columns.items()}, spec)
        for start in range(0, total, rows)
    ]


def spec_of_arrays(columns: Mapping[str, Values]) -> FeatureSpec:
    """The spec of columns in memory: integers, floats, and bytes or text; [rows], [rows, length] or Ragged."""
    return FeatureSpec(columns=tuple(_column_of(name, values) for name, values in columns.items()))


def _column_of(name: str, values: Values) -> Column:
    flat = values.values if isinstance(values, Ragged) else values
    length = None if isinstance(values, Ragged) else 1 if flat.ndim == 1 else int(flat.shape[1])
    if flat.dtype == np.uint64:
        return Column(name=name, kind="uint64", length=length)
    if flat.dtype.kind in "iub":
        return Column(name=name, kind="int64", length=length)
    return Column(name=name, kind="float32" if flat.dtype.kind == "f" else "bytes", length=length)


def _check(column: Column, values: Values, rows: int) -> None:
    if column.kind not in _FEATURES:
        raise StreamingError(f"feature {column.name!r}: TFRecord has no {column.kind}; write float32 in the spec")
    if len(values) != rows or isinstance(values, Ragged) is not (column.length is None):
        raise StreamingError(
            f"feature {column.name!r} has {len(values)} rows of another kind than the spec and {rows} rows"
        )
    if not isinstance(values, Ragged) and values.size != rows * (column.length or 0):
        raise StreamingError(
            f"feature {column.name!r} has {values.size} values; {rows} rows of {column.length} are needed"
        )


def _cut(values: Values, start: int, stop: int) -> Values:
    return values.cut(start, stop) if isinstance(values, Ragged) else values[start:stop]


def _ints(values: Array) -> tf.train.Feature:
    values = values.view(np.int64) if values.dtype == np.uint64 else values
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values.tolist()))


def _floats(values: Array) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values.tolist()))


def _bytes(values: Array) -> tf.train.Feature:
    texts = [value.encode() if isinstance(value, str) else bytes(value) for value in values.tolist()]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))


_FEATURES = {"int64": _ints, "uint64": _ints, "float32": _floats, "bytes": _bytes}
