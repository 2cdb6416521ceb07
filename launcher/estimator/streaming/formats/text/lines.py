"""The lines of files of text as raw records. ``arrow/csv_parser.py`` makes rows of them."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from launcher.estimator.streaming.errors import BadDataError
from launcher.estimator.streaming.formats.framing import BLOCK_BYTES, RawBlock
from launcher.estimator.streaming.formats.storage.files import PARQUET_MAGIC, open_data
from launcher.estimator.streaming.formats.storage.unpacking import Compression
from launcher.estimator.streaming.formats.text.form import USUAL, TextForm

MOST_LINE_BYTES = 16 << 20
SAMPLE_LINES, SAMPLE_BLOCK, SAMPLE_PLACES = 250_000, 10_000, 16
MOST_LINES_JOINED = 1000
"""A quoted field may go on over so many lines; after that the quote is taken for a stray one."""

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_header(path: str, compression: Compression = "auto", form: TextForm = USUAL) -> tuple[str, ...]:
    """The names of the columns. Raises BadDataError."""
    if form.header:
        return form.header
    with _open(path, compression, form) as file:
        return _header(path, file, form)


def read_lines(
    path: str, *, compression: Compression = "auto", form: TextForm = USUAL, block_records: int = 256
) -> Iterator[RawBlock]:
    """The lines after the header as records in UTF-8, without their ends; a record has several where a quoted field
    goes on. Raises BadDataError."""
    with _open(path, compression, form) as file:
        if not form.header:
            _header(path, file, form)
        first, size, lines = 0, 0, list[bytes]()
        for record in _records(path, file, form):
            lines.append(record.rstrip(b"\r\n"))
            size += len(record)
            if len(lines) == block_records or size >= BLOCK_BYTES:
                yield RawBlock(first=first, records=lines)
                first, size, lines = first + len(lines), 0, []
        if lines:
            yield RawBlock(first=first, records=lines)


def sample_lines(path: str, compression: Compression = "auto", form: TextForm = USUAL) -> Iterator[list[bytes]]:
    """Lines of the whole file, in blocks: all of one that is not large, else its beginning, and where one can go to any
    place, blocks from there to its end. Raises BadDataError."""
    count = 0
    for block in read_lines(path, compression=compression, form=form, block_records=SAMPLE_BLOCK):
        yield block.records
        count += len(block.records)
        if count >= SAMPLE_LINES:
            break
    else:
        return
    with _open(path, compression, form) as file:
        if isinstance(getattr(file, "raw", None), io.FileIO):
            size = file.seek(0, io.SEEK_END)
            for place in range(1, SAMPLE_PLACES):
                file.seek(size * place // SAMPLE_PLACES)
                file.readline(MOST_LINE_BYTES)
                lines = itertools.islice(iter(lambda: file.readline(MOST_LINE_BYTES), b""), SAMPLE_BLOCK)
                yield [line.rstrip(b"\r\n") for line in lines]


def line_place(
    path: str, record: int, compression: Compression = "auto", form: TextForm = USUAL
) -> tuple[int, int] | None:
    """At which byte (of the text in UTF-8) and in which line (from 1) a record begins, None if the file is shorter."""
    with _open(path, compression, form) as file:
        head = b"" if form.header else file.readline(MOST_LINE_BYTES)
        offset, line = len(head), 1 if form.header else 2
        for number, text in enumerate(_records(path, file, form)):
            if number == record:
                return offset, line
            offset, line = offset + len(text), line + text.count(b"\n")
    return None


def is_open(record: bytes, form: TextForm = USUAL) -> bool:
    """Whether a quoted field of it goes on in the next line."""
    try:
        form.fields(io.StringIO(record.decode(errors="replace"), newline=""), strict=True)
    except csv.Error as error:
        return "end of data" in str(error)
    return False


@contextmanager
def _open(path: str, compression: Compression, form: TextForm) -> Iterator[BinaryIO]:
    """The file in UTF-8, whatever it is in; in front of its first line there may be a byte order mark."""
    with open_data(path, compression) as file:
        if codecs.lookup(form.encoding).name in ("utf-8", "ascii"):
            yield file
        else:
            yield cast(BinaryIO, io.BufferedReader(_InUtf8(path, file, form.encoding), 1 << 20))


class _InUtf8(io.RawIOBase):
    """What another encoding says."""

    def __init__(self, path: str, file: BinaryIO, encoding: str) -> None:
        self._path, self._file, self._encoding = path, file, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b" "
        while not self._rest and data:
            data = self._file.read(1 << 16)
            try:
                self._rest = self._decoder.decode(data, final=not data).encode()
            except UnicodeDecodeError as error:
                raise BadDataError(self._path, f"it is not {self._encoding}: {error.reason}") from None
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _header(path: str, file: BinaryIO, form: TextForm) -> tuple[str, ...]:
    try:
        head = file.readline(1 << 20)
        if head.startswith(PARQUET_MAGIC):
            raise BadDataError(path, "this is a Parquet file, but it is read as CSV", offset=0)
        if head.startswith(_UTF16):
            raise BadDataError(path, 'this is UTF-16: write "csv": {"encoding": "utf-16"} in the spec', offset=0)
        line = head.decode("utf-8-sig")
        names = tuple((form.fields(io.StringIO(line)) or [[]])[0])
    except (UnicodeDecodeError, csv.Error, OSError, EOFError, zlib.error) as error:
        raise BadDataError(path, f"its header line cannot be read: {error}", offset=0) from None
    if not all(names) or len(set(names)) < len(names) or not names:
        raise BadDataError(path, "its first line must name the columns, each once", offset=0)
    return names


def _records(path: str, file: BinaryIO, form: TextForm) -> Iterator[bytes]:
    """Lines with their ends; those over which a quoted field goes on, together."""
    number, quote = 0, form.quote.encode()
    try:
        while line := file.readline(MOST_LINE_BYTES):
            if len(line) == MOST_LINE_BYTES:
                reason = f"the line is longer than {MOST_LINE_BYTES >> 20} MiB: is this CSV?"
                raise BadDataError(path, reason, record=number)
            if form.header and not number and line.startswith(codecs.BOM_UTF8):
                line = line[len(codecs.BOM_UTF8) :]
            if not quote or not line.count(quote) & 1 or not is_open(line, form):
                yield line
                number += 1
                continue
            for record in _joined(line, file, form):
                yield record
                number += 1
    except (OSError, EOFError, zlib.error) as error:
        raise BadDataError(path, f"cannot be read further than record {number}: {error}") from None


def _joined(line: bytes, file: BinaryIO, form: TextForm) -> Iterator[bytes]:
    """One record of all lines up to the end of the quoted field, or each line by itself where it does not end."""
    parts, size, quote = [line], len(line), form.quote.encode()
    while len(parts) < MOST_LINES_JOINED and size < MOST_LINE_BYTES and (more := file.readline(MOST_LINE_BYTES)):
        parts.append(more)
        size += len(more)
        if more.count(quote) & 1 and not is_open(b"".join(parts), form):
            yield b"".join(parts)
            return
    yield from parts
