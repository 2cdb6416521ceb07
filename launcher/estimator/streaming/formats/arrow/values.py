"""Arrow's arrays as columns of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from launcher.estimator.streaming.formats.columns import Array, Ints, Ragged, Rows, Values
from launcher.estimator.streaming.formats.feature_spec import (
    INTEGERS,
    Column,
    FeatureSpec,
    signed,
    stacked,
    unstacked,
)

Mask = npt.NDArray[np.bool_]

_AS_THEY_ARE = {"int64": pa.int64(), "float32": pa.float32(), "float64": pa.float64()}
NUMPY = {"int64": np.int64, "uint64": np.int64, "float32": np.float32, "float64": np.float64}


def rows_of(arrays: Mapping[str, Sequence[pa.Array]], spec: FeatureSpec, leases: Ints, numbers: Ints) -> Rows:
    """Rows of columns that are in one or more parts each. ``leases``, ``numbers``: int64[rows].

    What a row lacks has to have a default: see :func:`lacking`.
    """
    total = len(leases)
    ints = np.empty((len(stacked(spec, "ints")) + 2, total), np.int64)
    floats = np.empty((len(stacked(spec, "floats")), total), np.float32)
    columns = {column.name: column for column in spec.columns}
    for stack, names in ((ints, stacked(spec, "ints")), (floats, stacked(spec, "floats"))):
        start, wanted = 0, [columns[name] for name in names]
        for parts in zip(*(arrays[name] for name in names), strict=True):
            _stack(stack[: len(names), start : start + len(parts[0])], parts, wanted)
            start += len(parts[0])
    ints[-2], ints[-1] = leases, numbers
    others = {c.name: _joined([_values(part, c) for part in arrays[c.name]]) for c in unstacked(spec)}
    return Rows(ints=ints, floats=floats, others=others)


def lacking(array: pa.Array, column: Column) -> Mask | None:
    """The rows that have no value where the spec asks for one; None where there are none."""
    if column.length is None:
        inner = array.flatten()
        if not inner.null_count or column.default is not None:
            return None
        parents = pc.list_parent_indices(array).to_numpy(zero_copy_only=False)
        return np.isin(np.arange(len(array)), parents[inner.is_null().to_numpy(zero_copy_only=False)])
    if column.length == 1:
        return None if not array.null_count or column.default is not None else _nulls(array)
    lengths = _lengths(array)
    wrong = lengths != column.length
    inner = array.flatten()
    if inner.null_count:
        parents = np.repeat(np.arange(len(array)), lengths)
        wrong |= np.isin(np.arange(len(array)), parents[_nulls(inner)])
    return wrong if wrong.any() else None


def _nulls(array: pa.Array) -> Mask:
    mask: Mask = array.is_null().to_numpy(zero_copy_only=False)
    return mask


def _stack(out: Array, arrays: Sequence[pa.Array], columns: Sequence[Column]) -> None:
    """Scalars of a column as a row of ``out``. Those that stay as they are go together: a call for each column is most
    of what a small piece costs."""
    plain = [
        place for place, (array, column) in enumerate(zip(arrays, columns, strict=True)) if _is_plain(array, column)
    ]
    if len(plain) > 1:
        batch = pa.RecordBatch.from_arrays([arrays[place] for place in plain], [str(place) for place in plain])
        block = batch.to_tensor(row_major=False).to_numpy().T
        out[slice(None) if len(plain) == len(arrays) else plain] = block
    for place in sorted({*range(len(arrays))} - {*plain}) if len(plain) > 1 else range(len(arrays)):
        out[place] = _scalars(arrays[place], columns[place])


def _is_plain(array: pa.Array, column: Column) -> bool:
    return array.type == _AS_THEY_ARE.get(column.kind) and not array.null_count


def _values(array: pa.Array, column: Column) -> Values:
    if column.length == 1:
        return _scalars(array, column)
    flat = _scalars(array.flatten(), column)
    if column.length is not None:
        return flat.reshape(len(array), column.length)
    return Ragged(flat, _lengths(array))


def _lengths(array: pa.Array) -> Ints:
    """No list is an empty list."""
    lengths: Ints = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return lengths


def _scalars(array: pa.Array, column: Column) -> Array:
    if _is_plain(array, column):
        plain: Array = array.to_numpy()  # most columns, and the cost of a small piece is that of its calls
        return plain
    if pa.types.is_dictionary(array.type):
        return _looked_up(array, column)
    if column.kind == "bytes":
        return _texts(array, column)
    if array.null_count:
        array = array.fill_null(pa.scalar(column.default, array.type))
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    elif pa.types.is_temporal(array.type):
        array = array.cast(pa.int32() if array.type.bit_width == 32 else pa.int64())
    elif pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    values: Array = array.to_numpy(zero_copy_only=False)
    if values.dtype == np.uint64 and column.kind in INTEGERS:
        return values.view(np.int64)
    return values if values.dtype == NUMPY[column.kind] else values.astype(NUMPY[column.kind])


def _texts(array: pa.Array, column: Column) -> Array:
    if array.null_count:
        array = array.fill_null(pa.scalar(column.default, array.type))
    if not _is_binary(array.type):
        array = array.cast(pa.large_binary() if pa.types.is_large_string(array.type) else pa.binary())
    values: Array = array.to_numpy(zero_copy_only=False)
    return values


def _looked_up(array: pa.DictionaryArray, column: Column) -> Array:
    """Each value of the dictionary is made once, however many rows have it."""
    default: Any = column.default or (b"" if column.kind == "bytes" else 0)
    if column.kind == "bytes":
        known, default = _texts(array.dictionary, column), default.encode() if isinstance(default, str) else default
    else:
        known, default = _scalars(array.dictionary, column), signed(default) if column.kind in INTEGERS else default
    indices = array.indices
    if not indices.null_count:
        values: Array = known[indices.to_numpy(zero_copy_only=False)]
        return values
    known = np.append(known, np.array([default], known.dtype))
    found: Array = known[pc.fill_null(indices.cast(pa.int64()), len(known) - 1).to_numpy(zero_copy_only=False)]
    return found


def _is_binary(kind: pa.DataType) -> bool:
    return any(
        is_kind(kind) for is_kind in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    )


def _joined(parts: Sequence[Values]) -> Values:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], Ragged):
        lists = [part for part in parts if isinstance(part, Ragged)]
        return Ragged(np.concatenate([p.values for p in lists]), np.concatenate([p.lengths for p in lists]))
    return np.concatenate([part for part in parts if not isinstance(part, Ragged)])
