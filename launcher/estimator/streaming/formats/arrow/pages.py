"""What pages of a Parquet file say that they unpack to, before anybody unpacks them.

pyarrow takes as much memory as a page's header names, up to 2 GiB, and has no limit for it. Headers are in Thrift's
compact protocol (parquet-format, PageHeader): the second field is the size unpacked, the third the size in the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow.parquet as pq

from launcher.estimator.streaming.errors import BadDataError

MOST_PAGE_BYTES = 512 << 20
HEADER_BYTES, LONG_HEADER_BYTES = 16, 1 << 16

_NEXT_INT = 0x15
"""The next field, and it is a number of 32 bits."""
_VARINTS, _BINARY, _LISTS, _STRUCT = (4, 5, 6), 8, (9, 10), 12
_FIXED = {1: 0, 2: 0, 3: 1, 7: 8}
"""Bytes of the types that have always as many: true, false, a byte, a double."""


def check_pages(path: str, raw: BinaryIO, about: pq.FileMetaData, groups: Sequence[int], names: Sequence[str]) -> None:
    """Raises BadDataError for a page that is larger than any should be: of all pages of a column that says that it
    is large, of the first one of others, since a footer may not tell the truth."""
    wanted = {*names}
    for number in groups:
        group = about.row_group(number)
        for place in range(group.num_columns):
            chunk = group.column(place)
            name = chunk.path_in_schema
            if name.partition(".")[0] not in wanted and name not in wanted:
                continue
            for at, size in _pages(raw, chunk, all_of_them=chunk.total_uncompressed_size > MOST_PAGE_BYTES):
                if size > MOST_PAGE_BYTES:
                    raise BadDataError(
                        path,
                        f"a page of column {name!r} in row group {number} unpacks to {size:,} bytes: more than "
                        f"{MOST_PAGE_BYTES >> 20} MiB are not read",
                        offset=at,
                    )


def _pages(raw: BinaryIO, chunk: pq.ColumnChunkMetaData, *, all_of_them: bool) -> Iterator[tuple[int, int]]:
    """Where pages begin, and what they say that they unpack to."""
    at = min(filter(None, (chunk.dictionary_page_offset, chunk.data_page_offset)), default=0)
    end = at + chunk.total_compressed_size
    while at and at < end:
        head = _read(raw, at, LONG_HEADER_BYTES if all_of_them else HEADER_BYTES)
        try:
            sizes, length = _header(head) if all_of_them else ({2: _unpacked_size(head)}, 0)
        except (IndexError, RecursionError):  # which is for the reader to say
            return
        yield at, sizes.get(2, 0)
        if not all_of_them:
            return
        at += length + max(0, sizes.get(3, 0))


def _read(raw: BinaryIO, at: int, size: int) -> bytes:
    try:
        return os.pread(raw.fileno(), size, at)
    except (OSError, OverflowError):  # a file elsewhere, or a place that cannot be
        return b""


def _unpacked_size(head: bytes) -> int:
    """The second field, which everybody writes behind the first, a whole number too. Raises IndexError."""
    if head[0] != _NEXT_INT:
        return 0
    _, at = _varint(head, 1)
    return _signed(_varint(head, at + 1)[0]) if head[at] == _NEXT_INT else 0


def _header(head: bytes) -> tuple[dict[int, int], int]:
    """The whole numbers of the header by their fields, and its length. Raises IndexError where it is cut off."""
    found: dict[int, int] = {}
    at = field = 0
    while kind := head[at] & 15:
        step, at = head[at] >> 4, at + 1
        if not step:
            field, at = _varint(head, at)
            field = _signed(field)
        field += step
        if kind in _VARINTS:
            value, at = _varint(head, at)
            found[field] = _signed(value)
        else:
            at = _skipped(head, at, kind)
    return found, at + 1


def _skipped(head: bytes, at: int, kind: int) -> int:
    """Behind a value."""
    if kind in _FIXED:
        return at + _FIXED[kind]
    if kind in _VARINTS:
        return _varint(head, at)[1]
    if kind == _BINARY:
        length, at = _varint(head, at)
        return at + length
    if kind in _LISTS:
        count, inner, at = head[at] >> 4, head[at] & 15, at + 1
        if count == 15:
            count, at = _varint(head, at)
        for _ in range(min(count, len(head))):
            at = _skipped(head, at, inner) if inner not in (1, 2) else at + 1
        return at
    if kind != _STRUCT:
        raise IndexError(f"type {kind}")
    while inner := head[at] & 15:
        step, at = head[at] >> 4, at + 1
        if not step:
            at = _varint(head, at)[1]
        at = _skipped(head, at, inner)
    return at + 1


def _varint(head: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends."""
    value = shift = 0
    while head[at] & 128 and shift < 70:
        value |= (head[at] & 127) << shift
        at, shift = at + 1, shift + 7
    return value | (head[at] & 127) << shift, at + 1


def _signed(value: int) -> int:
    """Thrift's zigzag."""
    return value >> 1 ^ -(value & 1)
