"""Rows that a user hands in: one record to check the columns by, JSON lines to predict from."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]

from jobs._tf import tf
from jobs.errors import JobError
from jobs.esmm.input.schema import LABELS, Feature, Schema
from jobs.tfrecord import count_records, first_record
from launcher.estimator.streaming.formats.feature_spec import ROWS, Kind
from launcher.estimator.streaming.formats.framing import read_blocks
from launcher.estimator.streaming.formats.options import Format

_INT64 = range(-(2**63), 2**63)


def check_record(file: Path, schema: Schema, *, labels: Sequence[str] = ()) -> None:
    """Raises JobError unless the first record of ``file`` has one value for each column and row: all files cannot be
    looked at, but a wrong schema or file shows here, before any step runs.
    """
    row = _first_features(file)
    if row is None:
        return
    rows = row[ROWS].int64_list.value[0] if ROWS in row and row[ROWS].int64_list.value else 1
    wanted: dict[str, tuple[str, ...]] = {feature.name: _LISTS[feature.type] for feature in schema.features}
    wanted |= {name: _LISTS["int64"] if name in LABELS else _WEIGHT_LISTS for name in labels}
    missing: dict[str, list[str]] = {}
    for name, kinds in wanted.items():
        if name not in row or all(len(getattr(row[name], kind).value) != rows for kind in kinds):
            missing.setdefault(" or ".join(_NAMES[kind] for kind in kinds), []).append(name)
    if missing:
        which = "; ".join(f"no single {kind} for {', '.join(names)}" for kind, names in missing.items())
        raise JobError(f"{file}: {which}; compare the columns with the schema")


_LISTS = {"int64": ("int64_list",), "string": ("bytes_list",)}
_WEIGHT_LISTS = ("float_list", "int64_list")
_NAMES = {"int64_list": "int64", "bytes_list": "string", "float_list": "float"}


def find_format(files: Sequence[Path]) -> Format:
    """Whether a record of the first file is a group of rows or one. Raises JobError."""
    return "row_groups" if files and ROWS in (_first_features(files[0]) or {}) else "example"


def weight_kind(files: Sequence[Path], name: str) -> Kind:
    """Whether the first file has whole numbers as weights; floats where there is none yet. Raises JobError."""
    row = (_first_features(files[0]) if files else None) or {}
    return "int64" if name in row and row[name].int64_list.value else "float32"


def count_examples(file: Path) -> int:
    """Rows, also where records are groups of them. Raises JobError, ValueError or StreamingError."""
    if find_format((file,)) == "example":
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


def read_json_rows(source: Path | None, schema: Schema, *, limit: int | None) -> dict[str, list[int | str]]:
    """Ids or strings by feature, one from each line; other keys are passed over. Raises JobError naming the line."""
    columns: dict[str, list[int | str]] = {name: [] for name in schema.names}
    with _opened(source) as (lines, name):
        for number, line in islice(enumerate(lines, 1), limit):
            row = _json_object(line, where=f"{name}:{number}")
            for feature in schema.features:
                columns[feature.name].append(_value(row, feature, where=f"{name}:{number}"))
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


def _value(row: dict[str, object], feature: Feature, *, where: str) -> int | str:
    if feature.type == "int64":
        return _id(row, feature.name, where=where)
    value = row.get(feature.name)
    if not isinstance(value, str):
        raise JobError(f"{where}: {feature.name} must be a string, not {json.dumps(value)}")
    return value


def _id(row: dict[str, object], feature: str, *, where: str) -> int:
    value = row.get(feature)
    if not isinstance(value, int) or isinstance(value, bool) or value not in _INT64:
        raise JobError(f"{where}: {feature} must be an integer id, not {json.dumps(value)}")
    return value
