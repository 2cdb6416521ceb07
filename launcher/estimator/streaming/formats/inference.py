"""What a file holds, found by looking at it: its format and its features."""

from __future__ import annotations

import csv
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from launcher.estimator.streaming.errors import BadDataError
from launcher.estimator.streaming.formats.csv_lines import read_header, read_lines
from launcher.estimator.streaming.formats.feature_spec import (
    ROWS,
    Column,
    FeatureSpec,
    Kind,
    from_json,
    lengths_name,
    spec_path,
)
from launcher.estimator.streaming.formats.files import Compression
from launcher.estimator.streaming.formats.framing import BadRecord, read_blocks
from launcher.estimator.streaming.formats.options import Format

SAMPLE_RECORDS = 1000

_KINDS: dict[str, Kind] = {"int64_list": "int64", "float_list": "float32", "bytes_list": "bytes"}


def find_format(path: str, compression: Compression = "auto") -> Format:
    """CSV by the name, else by the first record. Raises BadDataError."""
    if path.endswith((".csv", ".csv.gz")):
        return "csv"
    return "row_groups" if ROWS in _first_examples(path, compression, 1)[0].features.feature else "example"


def find_spec(path: str, format: Format, compression: Compression = "auto") -> FeatureSpec:
    """The spec beside a file, else one inferred from its first records. Raises StreamingError."""
    beside = spec_path(path)
    if tf.io.gfile.exists(beside):
        with tf.io.gfile.GFile(beside) as file:
            return from_json(file.read(), beside)
    return infer_spec(path, format, compression)


def infer_spec(path: str, format: Format, compression: Compression = "auto") -> FeatureSpec:
    """The features of a file's first thousand records. Raises BadDataError."""
    if format == "csv":
        return _spec_of_csv(path, compression)
    examples = _first_examples(path, compression, 1 if format == "row_groups" else SAMPLE_RECORDS)
    names = sorted({name for example in examples for name in example.features.feature if not name.startswith("#")})
    return FeatureSpec(columns=tuple(_column(path, name, examples) for name in names))


def _first_examples(path: str, compression: Compression, count: int) -> list[tf.train.Example]:
    """Damaged ones are passed over, unless there are no others."""
    examples: list[tf.train.Example] = []
    problems: list[BadRecord] = []
    for block in read_blocks(path, compression=compression, block_records=count, on_bad=problems.append):
        for number, record in enumerate(block.records):
            try:
                examples.append(tf.train.Example.FromString(record))
            except DecodeError:
                problems.append(
                    BadRecord(path=path, offset=None, record=block.first + number, reason="it is no tf.Example")
                )
        if len(examples) >= count:
            break
    if not examples:
        first = problems[0] if problems else BadRecord(path=path, offset=0, record=None, reason="it has no records")
        raise BadDataError(path, first.reason.partition(" (the rest")[0], offset=first.offset, record=first.record)
    return examples


def _column(path: str, name: str, examples: Sequence[tf.train.Example]) -> Column:
    kinds: set[str] = set()
    lengths: set[int | None] = set()
    for example in examples:
        features = example.features.feature
        kind = features[name].WhichOneof("kind") if name in features else None
        if kind:
            kinds.add(kind)
        values = len(getattr(features[name], kind).value) if kind else 0
        lengths.add(_per_row(features, name, values))
    if len(kinds) != 1:
        raise BadDataError(path, f"feature {name!r} is of several types: {', '.join(sorted(kinds)) or 'none'}")
    length = lengths.pop() if len(lengths) == 1 else None
    return Column(name=name, kind=_KINDS[kinds.pop()], length=length or None)


def _per_row(features: tf.train.Features, name: str, values: int) -> int | None:
    if ROWS not in features:
        return values
    rows = features[ROWS].int64_list.value[0]
    return None if lengths_name(name) in features else values // max(1, rows)


def _spec_of_csv(path: str, compression: Compression) -> FeatureSpec:
    header = read_header(path, compression)
    block = next(read_lines(path, compression=compression, block_records=SAMPLE_RECORDS), None)
    if block is None:
        raise BadDataError(path, "it has a header and no rows", offset=0)
    lines = _fields_of(path, [bytes(line) for line in block.records])
    rows = [fields for fields in lines if len(fields) == len(header)]  # readers judge the others, each by itself
    if not rows:
        raise BadDataError(path, f"its lines have up to {max(map(len, lines))} fields, its header {len(header)}")
    columns = zip(*rows, strict=True)
    return FeatureSpec(
        columns=tuple(Column(name=n, kind=_kind_of(texts)) for n, texts in zip(header, columns, strict=True))
    )


def _fields_of(path: str, lines: Sequence[bytes]) -> list[list[str]]:
    """Lines that nobody can read are passed over, unless there are no others."""
    found: list[list[str]] = []
    problems: list[tuple[int, str]] = []
    for number, line in enumerate(lines):
        try:
            found += csv.reader([line.decode()])
        except (UnicodeDecodeError, csv.Error) as error:
            reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            problems.append((number, reason))
    if not found:
        number, reason = problems[0] if problems else (0, "it is empty")
        raise BadDataError(path, reason, record=number)
    return found


def _kind_of(texts: Sequence[str]) -> Kind:
    array = np.array(texts)
    for kind, dtype in (("int64", np.int64), ("float32", np.float32)):
        try:
            array.astype(dtype)
        except (ValueError, OverflowError):
            continue
        return "int64" if kind == "int64" else "float32"
    return "bytes"
