"""Columns to Parquet files that are read fast: whole numbers as differences, LZ4, a checksum on each page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from launcher.estimator.streaming.errors import StreamingError
from launcher.estimator.streaming.formats.arrow.types import ARROW, arrow_type
from launcher.estimator.streaming.formats.columns import Ragged, Values
from launcher.estimator.streaming.formats.feature_spec import INTEGERS, Column, FeatureSpec

ROWS_PER_GROUP = 65_536


def write_parquet_rows(
    path: str, parts: Iterable[Mapping[str, Values]], spec: FeatureSpec, *, rows: int = ROWS_PER_GROUP
) -> int:
    """Columns, part after part, as one file with row groups of ``rows``; gives the rows. The last group of each part
    may be smaller. Scalars are declared to have their values: nobody has to look which are missing."""
    schema = pa.schema([pa.field(c.name, arrow_type(c), nullable=c.length != 1) for c in spec.columns])
    texts = [_leaf(column) for column in spec.columns if column.kind == "bytes"]
    total = 0
    with pq.ParquetWriter(
        path,
        schema,
        compression="lz4",
        use_dictionary=texts,
        column_encoding={_leaf(c): "DELTA_BINARY_PACKED" for c in spec.columns if c.kind in INTEGERS} or None,
        write_page_checksum=True,
    ) as writer:
        for part in parts:
            arrays = [_array(part[column.name], column) for column in spec.columns]
            table = pa.Table.from_arrays(arrays, schema=schema)
            writer.write_table(table, row_group_size=rows)
            total += len(table)
    return total


def _leaf(column: Column) -> str:
    return column.name if column.length == 1 else f"{column.name}.list.element"


def _array(values: Values, column: Column) -> pa.Array:
    if isinstance(values, Ragged) is not (column.length is None):
        raise StreamingError(f"feature {column.name!r} is of another kind than the spec says")
    if isinstance(values, Ragged):
        offsets = np.concatenate([[0], np.cumsum(values.lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), _flat(values.values, column), type=arrow_type(column))
    flat = _flat(values.reshape(-1), column)
    return flat if column.length == 1 else pa.FixedSizeListArray.from_arrays(flat, type=arrow_type(column))


def _flat(values: np.ndarray, column: Column) -> pa.Array:
    if column.kind == "bytes":
        return pa.array([v.encode() if isinstance(v, str) else bytes(v) for v in values.tolist()], pa.binary())
    if column.kind == "uint64":
        values = values.view(np.uint64)
    return pa.array(values, ARROW[column.kind])
