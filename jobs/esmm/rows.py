"""Rows that a user hands in: one record to check the columns by, JSON lines to predict from."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]

from jobs._tf import tf
from jobs.errors import JobError
from jobs.esmm.schema import LABELS, Schema
from jobs.tfrecord import count_records, first_record
from launcher.estimator.streaming.feature_spec import ROWS
from launcher.estimator.streaming.framing import read_blocks

_INT64 = range(-(2**63), 2**63)


def check_record(file: Path, schema: Schema, *, labels: bool) -> None:
    """Raises JobError unless the first record of ``file`` has one integer for each column and row: all files cannot be
    looked at, but a wrong schema or file shows here, before any step runs.
    """
    row = _first_features(file)
    if row is None:
        return
    rows = row[ROWS].int64_list.value[0] if ROWS in row and row[ROWS].int64_list.value else 1
    wanted = (*schema.names, *LABELS) if labels else schema.names
    missing = [name for name in wanted if name not in row or len(row[name].int64_list.value) != rows]
    if missing:
        raise JobError(f"{file}: no single int64 for {', '.join(missing)}; compare the columns with the schema")


def holds_row_groups(file: Path) -> bool:
    """Whether a record of the file is a group of rows rather than one. Raises JobError."""
    return ROWS in (_first_features(file) or {})


def count_examples(file: Path) -> int:
    """Rows, also where records are groups of them. Raises JobError, ValueError or StreamingError."""
    if not holds_row_groups(file):
        return count_records(file)
    records = (record for block in read_blocks(str(file)) for record in block.records)
    return sum(tf.train.Example.FromString(record).features.feature[ROWS].int64_list.value[0] for record in records)


def _first_features(file: Path) -> Mapping[str, Any] | None:
    """The features of the first record, None in an empty file. Raises JobError."""
    try:
        record = first_record(file)
        return None if record is None else tf.train.Example.FromString(record).features.feature
    except (OSError, ValueError, DecodeError) as error:
        raise JobError(f"{file} is no TFRecord file of tf.Example: {error}") from None


def read_json_rows(source: Path | None, schema: Schema, *, limit: int | None) -> dict[str, list[int]]:
    """Ids by feature, one from each line; other keys are passed over. Raises JobError naming the line."""
    columns: dict[str, list[int]] = {name: [] for name in schema.names}
    with _opened(source) as (lines, name):
        for number, line in islice(enumerate(lines, 1), limit):
            row = _json_object(line, where=f"{name}:{number}")
            for feature, ids in columns.items():
                ids.append(_id(row, feature, where=f"{name}:{number}"))
    return columns


@contextmanager
def _opened(source: Path | None) -> Iterator[tuple[TextIO, str]]:
    if source is None:
        yield sys.stdin, "<stdin>"
        return
    try:
        file = source.open(encoding="utf-8")
    except OSError as error:
        raise JobError(f"cannot read {source}: {error.strerror}") from None
    with file:
        yield file, str(source)


def _json_object(line: str, *, where: str) -> dict[str, object]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise JobError(f"{where}: not JSON ({error}); write one object a line") from None
    if not isinstance(value, dict):
        raise JobError(f"{where}: not a JSON object; write the features as one object a line")
    return value


def _id(row: dict[str, object], feature: str, *, where: str) -> int:
    value = row.get(feature)
    if not isinstance(value, int) or isinstance(value, bool) or value not in _INT64:
        raise JobError(f"{where}: {feature} must be an integer id, not {json.dumps(value)}")
    return value
