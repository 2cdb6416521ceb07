"""What the columns of Parquet files are, by their footers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow.parquet as pq

from launcher.estimator.streaming.errors import BadDataError
from launcher.estimator.streaming.formats.arrow.parquet_files import open_parquet
from launcher.estimator.streaming.formats.arrow.types import column_of
from launcher.estimator.streaming.formats.feature_spec import INTEGERS, Column


def parquet_columns(paths: Sequence[str]) -> tuple[list[Column], list[str]]:
    """The columns of some files together, and what is to be said of them. Raises BadDataError where two files do not
    agree on one."""
    columns: dict[str, Column] = {}
    said: dict[str, None] = {}
    missing: dict[str, int] = {}
    rows = 0
    for path in paths:
        with open_parquet(path) as file:
            rows += file.metadata.num_rows
            for name, count in _nulls(file.metadata).items():
                missing[name] = missing.get(name, 0) + count
            for field in file.schema_arrow:
                column, note = column_of(field)
                if note:
                    said[f"{field.name}: {note}"] = None
                if column is not None:
                    before = columns.get(column.name)
                    columns[column.name] = column if before is None else _both(path, before, column)
    for name, column in columns.items():
        if missing.get(name) and column.length == 1:
            columns[name] = column = replace(column, default="" if column.kind == "bytes" else 0)
            said[
                f"{name}: {missing[name]:,} of {rows:,} values are missing; they are read as its default, "
                f"{column.default!r}: write another one in the feature spec"
            ] = None
    return list(columns.values()), list(said)


def _both(path: str, one: Column, other: Column) -> Column:
    if one == other:
        return one
    if (one.length == 1) is (other.length == 1):
        length = one.length if one.length == other.length else None
        kinds = {one.kind, other.kind}
        if len(kinds) == 1:
            return replace(one, length=length)
        if "bytes" not in kinds:
            return replace(one, kind="uint64" if kinds <= {*INTEGERS} else "float32", length=length)
    raise BadDataError(path, f"column {one.name!r} is of another type than in the files before it: {other} and {one}")


def _nulls(about: pq.FileMetaData) -> dict[str, int]:
    """Rows without a value, by column, where the file says it."""
    found: dict[str, int] = {}
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        for place in range(group.num_columns):
            column = group.column(place)
            if column.statistics is not None and column.statistics.has_null_count:
                found[column.path_in_schema] = found.get(column.path_in_schema, 0) + column.statistics.null_count
    return found
