"""Parquet files as blocks of rows, and what is wrong with one."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from launcher.estimator.streaming.errors import BadDataError
from launcher.estimator.streaming.formats.arrow.blocks import Blocks
from launcher.estimator.streaming.formats.arrow.pages import check_pages
from launcher.estimator.streaming.formats.arrow.types import misfit
from launcher.estimator.streaming.formats.feature_spec import FeatureSpec
from launcher.estimator.streaming.formats.framing import RawBlock
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.formats.storage.files import PARQUET_MAGIC, is_local, open_plain

ROWS_DECODED = 8192
"""At once; a piece of them keeps them all in memory."""
BUFFER_BYTES = 1 << 20
FIRST_BYTES = 1 << 12
"""Read for the mark at the beginning; pyarrow opens a file of this machine again."""

_ERRORS = (pa.ArrowException, OSError, EOFError)


@contextmanager
def open_parquet(path: str, *, dictionaries: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """``dictionaries``: columns of text that stay encoded. Raises BadDataError for what is wrong with the footer."""
    with open_plain(path, buffer_bytes=FIRST_BYTES) as raw:
        if raw.read(len(PARQUET_MAGIC)) != PARQUET_MAGIC:
            raise BadDataError(path, "this is not a Parquet file, or its first bytes are damaged", offset=0)
        try:
            file = pq.ParquetFile(
                path if is_local(path) else raw if isinstance(raw, pa.NativeFile) else pa.PythonFile(raw),
                read_dictionary=list(dictionaries),
                buffer_size=BUFFER_BYTES,
                pre_buffer=False,
                page_checksum_verification=True,
            )
        except _ERRORS as error:
            raise BadDataError(path, f"its footer cannot be read, it may be cut off: {_text(error)}") from None
        with file:
            yield file


def read_rows(shard: Shard, spec: FeatureSpec, *, piece_rows: int) -> Iterator[RawBlock]:
    """The rows of a shard in pieces of up to ``piece_rows``, as Block where they can be one and else as record batches;
    each is numbered by its first row in the file. Raises BadDataError, also where a column is not what the spec says.
    """
    path, start, blocks = shard.path, shard.first_record, Blocks(spec)
    with open_parquet(path, dictionaries=_dictionaries(shard.path, spec)) as file:
        check_columns(path, file.schema_arrow, spec)
        stop = file.metadata.num_rows if shard.records is None else start + shard.records
        if stop > file.metadata.num_rows:
            reason = f"the file has {file.metadata.num_rows} rows, {stop} were expected; was it replaced?"
            raise BadDataError(path, reason)
        for first, batch in _batches(path, file, spec, start, stop):
            block = blocks.of(batch)
            for at in range(0, len(batch), piece_rows):
                piece = batch.slice(at, piece_rows) if block is None else block.cut(at, piece_rows)
                yield RawBlock(first=first + at, records=[piece])


def check_columns(path: str, schema: pa.Schema, spec: FeatureSpec) -> None:
    """Raises BadDataError for the first column that is missing or of another type."""
    if wrong := _misfit(schema, spec):
        raise BadDataError(path, f"{wrong}{spec.said}")


@functools.lru_cache(maxsize=8)
def _misfit(schema: pa.Schema, spec: FeatureSpec) -> str:
    """Why a file cannot be read as the spec says, "" if it can. Most files are as those before them."""
    for column in spec.columns:
        places = schema.get_all_field_indices(column.name)
        if not places:
            return f"it has no column {column.name!r}; it has {', '.join(schema.names)}"
        if wrong := misfit(schema.field(places[0]), column):
            return wrong
    return ""


def _batches(
    path: str, file: pq.ParquetFile, spec: FeatureSpec, start: int, stop: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The record batches between two rows, with the number of their first row."""
    groups, first = _groups(file.metadata, start, stop)
    names = [column.name for column in spec.columns]
    if is_local(path):
        with open_plain(path, buffer_bytes=0) as raw:
            check_pages(path, raw, file.metadata, groups, names)
    at = first
    if stop <= start:
        return
    try:
        batches = file.iter_batches(ROWS_DECODED, row_groups=groups, columns=names, use_threads=False)
        for batch in batches:
            wanted = batch.slice(max(0, start - at), max(0, stop - max(start, at)))
            if len(wanted):
                yield max(start, at), wanted
            at += len(batch)
            if at >= stop:
                return
    except _ERRORS as error:
        raise BadDataError(path, f"cannot be read further: {_text(error)}", record=max(start, at)) from None
    raise BadDataError(path, f"it ends after {at} rows, its footer says more", record=at)


def _groups(about: pq.FileMetaData, start: int, stop: int) -> tuple[list[int], int]:
    """The row groups in which these rows are, and the number of the first row of the first one."""
    groups: list[int] = []
    at = first = 0
    for group in range(about.num_row_groups):
        rows = about.row_group(group).num_rows
        if at < stop and at + rows > start:
            first = first if groups else at
            groups.append(group)
        at += rows
    return groups, first


def _dictionaries(path: str, spec: FeatureSpec) -> list[str]:
    """The columns of text that are written with a dictionary: each text of it is made once."""
    texts = {column.name for column in spec.columns if column.kind == "bytes" and column.length == 1}
    if not texts:
        return []
    with open_parquet(path) as file:
        if not file.metadata.num_row_groups:
            return []
        group = file.metadata.row_group(0)
        about = [group.column(place) for place in range(group.num_columns)]
        return [c.path_in_schema for c in about if c.path_in_schema in texts and "RLE_DICTIONARY" in c.encodings]


def _text(error: Any) -> str:
    return str(error).partition(" Detail:")[0].strip() or type(error).__name__
