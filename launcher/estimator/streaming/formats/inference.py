"""What data holds, found by looking at it: its format and its features."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence

import tensorflow as tf
from google.protobuf.message import DecodeError

from launcher.estimator.streaming.errors import BadDataError
from launcher.estimator.streaming.formats.feature_spec import (
    ROWS,
    Column,
    FeatureSpec,
    Kind,
    from_json,
    lengths_name,
    spec_path,
)
from launcher.estimator.streaming.formats.framing import BadRecord, read_blocks
from launcher.estimator.streaming.formats.options import Format
from launcher.estimator.streaming.formats.shards import partitions_of
from launcher.estimator.streaming.formats.storage.files import PARQUET_MAGIC, first_bytes, open_plain
from launcher.estimator.streaming.formats.storage.remote import system_of
from launcher.estimator.streaming.formats.storage.sources import is_data_file, is_text_file
from launcher.estimator.streaming.formats.storage.unpacking import Compression
from launcher.estimator.streaming.formats.text.form import USUAL, TextForm
from launcher.estimator.streaming.formats.text.lines import read_header, sample_lines
from launcher.estimator.streaming.formats.text.sniffing import find_form, is_text

SAMPLE_RECORDS = 1000
MOST_FILES = 64
"""Of which the types are inferred, from the first to the last."""

_KINDS: dict[str, Kind] = {"int64_list": "int64", "float_list": "float32", "bytes_list": "bytes"}

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")

Notice = Callable[[str], None]


def log(text: str) -> None:
    """The usual notice."""
    logging.getLogger("tensorflow").warning("Input: %s", text)


def find_format(path: str, compression: Compression = "auto") -> Format:
    """Parquet by its first bytes, CSV by the name or where the name says nothing by them, else by the first record.
    Raises BadDataError."""
    if first_bytes(path)[:4] == PARQUET_MAGIC:
        return "parquet"
    if is_text_file(path):
        return "csv"
    if not is_data_file(path.rpartition("/")[2]) and is_text(path, compression):
        return "csv"
    return "row_groups" if ROWS in _first_examples(path, compression, 1)[0].features.feature else "example"


def find_spec(
    paths: str | Sequence[str], format: Format, compression: Compression = "auto", *, notice: Notice = log
) -> FeatureSpec:
    """The spec beside the first of some files, else one inferred from them. Raises StreamingError."""
    first = paths if isinstance(paths, str) else paths[0]
    beside = spec_path(first)
    if system_of(beside).exists(beside):
        with open_plain(beside) as file:
            return from_json(file.read().decode(), beside)
    return infer_spec(paths, format, compression, notice=notice)


def infer_spec(
    paths: str | Sequence[str], format: Format, compression: Compression = "auto", *, notice: Notice = log
) -> FeatureSpec:
    """The features of a file, or of several together: of Parquet by the footers, else by a sample of each.

    ``notice``: told what becomes another type than one might think, and how many values are missing. Raises
    BadDataError.
    """
    chosen = _some([paths] if isinstance(paths, str) else list(paths))
    form = USUAL
    if format == "csv":
        form, said = find_form(chosen[0], compression)
        columns, more = _csv_columns(chosen, compression, form)
        said += more
    elif format == "parquet":
        from launcher.estimator.streaming.formats.arrow.parquet_types import parquet_columns

        columns, said = parquet_columns(chosen)
    else:
        columns, said = _example_columns(chosen, format, compression)
    for text in said:
        notice(text)
    names = {column.name for column in columns}
    folders = _partition_columns([paths] if isinstance(paths, str) else paths)
    return FeatureSpec(columns=(*columns, *(column for column in folders if column.name not in names)), text=form)


def _partition_columns(paths: Sequence[str]) -> list[Column]:
    """What all the files have in the names of their folders: whole numbers, else text."""
    found = [partitions_of(path) for path in paths]
    columns = []
    for name in [name for name in found[0] if all(name in values for values in found)]:
        values = {values[name] for values in found}
        whole = all(value is None or _WHOLE.fullmatch(value) for value in values)
        default = None if None not in values else 0 if whole else ""
        columns.append(Column(name=name, kind="int64" if whole else "bytes", default=default, partition=True))
    return columns


def _some(paths: list[str]) -> list[str]:
    """All of a few; of many some, the first and the last among them."""
    if len(paths) <= MOST_FILES:
        return paths
    return [paths[place * (len(paths) - 1) // (MOST_FILES - 1)] for place in range(MOST_FILES)]


def _example_columns(paths: Sequence[str], format: Format, compression: Compression) -> tuple[list[Column], list[str]]:
    count = 1 if format == "row_groups" else SAMPLE_RECORDS
    examples = [example for path in paths for example in _first_examples(path, compression, count)]
    names = sorted({name for example in examples for name in example.features.feature if not name.startswith("#")})
    found = [_column(paths[0], name, examples) for name in names]
    return [column for column, _ in found], [note for _, note in found if note]


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


def _column(path: str, name: str, examples: Sequence[tf.train.Example]) -> tuple[Column, str]:
    kinds: set[str] = set()
    lengths: list[int | None] = []
    for example in examples:
        features = example.features.feature
        kind = features[name].WhichOneof("kind") if name in features else None
        if kind:
            kinds.add(kind)
        values = len(getattr(features[name], kind).value) if kind else 0
        lengths.append(_per_row(features, name, values))
    if len(kinds) != 1:
        raise BadDataError(path, f"feature {name!r} is of several types: {', '.join(sorted(kinds)) or 'none'}")
    found = _KINDS[kinds.pop()]
    if set(lengths) == {0, 1}:
        default = "" if found == "bytes" else 0
        note = (
            f"{name}: {lengths.count(0):,} of {len(lengths):,} values are missing; they are read as its default, "
            f"{default!r}: write another one in the feature spec, or length null for lists"
        )
        return Column(name=name, kind=found, default=default), note
    return Column(name=name, kind=found, length=lengths[0] or None if len(set(lengths)) == 1 else None), ""


def _per_row(features: tf.train.Features, name: str, values: int) -> int | None:
    if ROWS not in features:
        return values
    rows = features[ROWS].int64_list.value[0]
    return None if lengths_name(name) in features else values // max(1, rows)


def _csv_columns(paths: Sequence[str], compression: Compression, form: TextForm) -> tuple[list[Column], list[str]]:
    from launcher.estimator.streaming.formats.arrow.csv_types import Seen, text_columns

    header = read_header(paths[0], compression, form)
    seen = {name: Seen() for name in header}
    lines = 0
    for path in paths:
        names = read_header(path, compression, form)
        for block in sample_lines(path, compression, form):
            lines += len(block)
            table = text_columns(names, block, form)
            for name in seen.keys() & {*names}:
                seen[name].add(table.column(name).combine_chunks())
    if not lines:
        raise BadDataError(paths[0], "it has a header and no rows", offset=0)
    if not any(one.values for one in seen.values()):
        raise BadDataError(paths[0], f"none of its lines has as many fields as its header, {len(header)}")
    found = [seen[name].column(name) for name in header]
    return [column for column, _ in found], [note for _, notes in found for note in notes]
