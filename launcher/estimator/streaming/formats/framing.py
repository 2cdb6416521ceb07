"""TFRecord framing: length (uint64), its masked CRC32C, data, the data's masked CRC32C; all little endian.

Rule from TensorFlow's ``core/lib/io/record_writer.h``. Read here, not by TensorFlow's reader, because that names
neither file nor record in its errors and cannot go on after one.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import google_crc32c
import numpy as np

from launcher.estimator.streaming.errors import BadDataError, where
from launcher.estimator.streaming.formats.checksums import MASK_DELTA, masked_crc
from launcher.estimator.streaming.formats.storage.files import PARQUET_MAGIC, open_data
from launcher.estimator.streaming.formats.storage.unpacking import Compression

HEAD_BYTES = 12
TAIL_BYTES = 4
FRAME_BYTES = HEAD_BYTES + TAIL_BYTES
READ_BYTES = 1 << 20
BLOCK_BYTES = 16 << 20
"""A block of records ends there, however few they are."""
SMALL_BYTES, USUAL_BYTES = 4096, 512
"""What is read at once where few records are wanted, and for each of them."""
MOST_RECORD_BYTES = 512 << 20
"""So much memory is worth believing a length; a row group of a million rows of 26 ids takes a sixth of it."""

_HEAD = struct.Struct("<QI")
_WORD = struct.Struct("<I")


@dataclass(frozen=True, kw_only=True, slots=True)
class RawBlock:
    """Records that follow each other in a file; ``first``: the number of the first one. Of Parquet: one record batch,
    and the number of its first row."""

    first: int
    records: list[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRecord:
    """A record, or the rest of a file, that was skipped. ``offset`` as in BadDataError."""

    path: str
    offset: int | None
    record: int | None
    reason: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{where(self.path, self.offset, self.record, self.line)}: {self.reason}"


OnBad = Callable[[BadRecord], None]


def frame(data: bytes) -> bytes:
    """A record as it stands in a file."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, _WORD.pack(masked_crc(length)), data, _WORD.pack(masked_crc(data))))


def read_blocks(
    path: str,
    *,
    compression: Compression = "auto",
    first_record: int = 0,
    records: int | None = None,
    byte_offset: int = 0,
    block_records: int = 256,
    on_bad: OnBad | None = None,
) -> Iterator[RawBlock]:
    """The records of a file in blocks, their checksums verified. ``byte_offset``: where ``first_record`` begins.

    Without ``on_bad`` the first bad record raises BadDataError. With it, a record whose data is damaged is passed to
    ``on_bad`` and left out; where a length is damaged, or the file ends too early, so is the rest of the file.
    """
    end = None if records is None else first_record + records
    at_once = READ_BYTES if records is None else min(READ_BYTES, max(SMALL_BYTES, records * USUAL_BYTES))
    with open_data(path, compression, buffer_bytes=at_once) as file:
        if byte_offset:
            file.seek(byte_offset)
        scanner = _Scanner(path, file, first_record, byte_offset, on_bad)
        scanner.at_once = at_once
        while end is None or scanner.number < end:
            wanted = block_records if end is None else min(block_records, end - scanner.number)
            block = scanner.block(wanted)
            if block is None:
                break
            if block.records:
                yield block
        if end is not None and scanner.number < end and not scanner.lost:
            scanner.bad(f"the file ends after {scanner.number} records, {end} were expected; was it replaced?", None)


def offset_of(path: str, record: int, compression: Compression = "auto") -> int | None:
    """Where a record begins, None if it cannot be reached. Walks over the file: for messages about errors."""
    try:
        with open_data(path, compression) as file:
            scanner = _Scanner(path, file, 0, 0, lambda bad: None)
            while scanner.number < record and scanner.block(min(1024, record - scanner.number)) is not None:
                pass
            return scanner.offset if scanner.number == record else None
    except BadDataError:
        return None


def _intact(records: Sequence[bytes], buffer: bytes, ends: Sequence[int]) -> int:
    """How many records there are before the first whose checksum, which follows its end, is wrong."""
    crcs = np.fromiter(map(google_crc32c.value, records), np.uint64, len(records))
    masked = (((crcs >> 15) | (crcs << 17)) + MASK_DELTA) & 0xFFFFFFFF
    places = np.asarray(ends, np.int64)[:, None] + np.arange(TAIL_BYTES)
    written = np.frombuffer(buffer, np.uint8)[places].view("<u4").ravel()
    wrong = np.flatnonzero(masked != written)
    return int(wrong[0]) if len(wrong) else len(records)


class _Scanner:
    """Walks over the frames of one file. ``number``: of the next record; ``lost``: the rest cannot be read;
    ``at_once``: bytes that are read at least."""

    def __init__(self, path: str, file: BinaryIO, first_record: int, offset: int, on_bad: OnBad | None) -> None:
        self.path = path
        self.number = first_record
        self.lost = False
        self.at_once = READ_BYTES
        self._file = file
        self._on_bad = on_bad
        self._buffer = b""
        self._position = 0
        self._offset = offset
        self._length_crcs: dict[int, int] = {}

    @property
    def offset(self) -> int:
        """Where the next record begins."""
        return self._offset + self._position

    def bad(self, reason: str, offset: int | None, record: int | None = None) -> None:
        """Raises, or tells ``on_bad``."""
        if self._on_bad is None:
            raise BadDataError(self.path, reason, offset=offset, record=record)
        self._on_bad(BadRecord(path=self.path, offset=offset, record=record, reason=reason))

    def block(self, wanted: int) -> RawBlock | None:
        """Up to ``wanted`` records, None at the end. Ends early at a bad record that is left out."""
        first = self.number
        found: list[bytes] = []
        size = 0
        while len(found) < wanted and size < BLOCK_BYTES:
            start = self._offset + self._position
            records, damaged = self._whole_records(wanted - len(found))
            found += records
            size += sum(map(len, records))
            if damaged:
                offset = start + sum(map(len, records)) + FRAME_BYTES * len(records)
                self.bad("its checksum is wrong, the data is damaged", offset, self.number - 1)
                break
            if not records and not self._reach_next():
                break
        if not found and self.number == first:
            return None
        return RawBlock(first=first, records=found)

    def _whole_records(self, wanted: int) -> tuple[list[bytes], bool]:
        """Up to ``wanted`` records of those that are in the buffer to their end; whether a damaged one follows them,
        which is passed over."""
        # The innermost loop of all reading: local names, and checksums of many records at once, halve its time.
        buffer, position, size, crcs = self._buffer, self._position, len(self._buffer), self._length_crcs
        records: list[bytes] = []
        ends: list[int] = []
        unpack = _HEAD.unpack_from
        while len(records) < wanted and position + FRAME_BYTES <= size:
            length, length_crc = unpack(buffer, position)
            if crcs.get(length) != length_crc and self._crc_of_length(length) != length_crc:
                break
            end = position + HEAD_BYTES + length
            if end + TAIL_BYTES > size:
                break
            records.append(buffer[position + HEAD_BYTES : end])
            ends.append(end)
            position = end + TAIL_BYTES
        good = _intact(records, buffer, ends)
        damaged = good < len(records)
        self._position = ends[good] + TAIL_BYTES if damaged else position
        self.number += good + damaged
        return records[:good], damaged

    def _reach_next(self) -> bool:
        """Have the next record in the buffer; False at the end, or where it cannot be read."""
        if len(self._buffer) - self._position < HEAD_BYTES and not self._need(HEAD_BYTES):
            return False
        length, length_crc = _HEAD.unpack_from(self._buffer, self._position)
        if self._crc_of_length(length) != length_crc:
            self._lose(self._why_no_length())
            return False
        if length > MOST_RECORD_BYTES:
            self._lose(f"a record of {length:,} bytes: more than {MOST_RECORD_BYTES >> 20} MiB are not read")
            return False
        return self._need(FRAME_BYTES + length)

    def _crc_of_length(self, length: int) -> int:
        """Lengths repeat: the sum of each is computed once."""
        crc = self._length_crcs.get(length)
        if crc is None:
            if len(self._length_crcs) > 65_536:
                self._length_crcs.clear()
            crc = self._length_crcs[length] = masked_crc(struct.pack("<Q", length))
        return crc

    def _need(self, wanted: int) -> bool:
        """Make ``wanted`` bytes available from the current position; False at the end of the file."""
        rest = self._buffer[self._position :]
        self._offset += self._position
        parts, have = [rest], len(rest)
        self._buffer, self._position = rest, 0
        while have < wanted:
            try:
                more = self._file.read(max(self.at_once, min(wanted - have, 64 * READ_BYTES)))
            except (OSError, EOFError, zlib.error) as error:
                self._lose(f"cannot be read further: {error or type(error).__name__}")
                return False
            if not more:
                if have:
                    self._lose(
                        f"the file is cut off in this record: {wanted} bytes of it were expected, {have} are there"
                    )
                return False
            parts.append(more)
            have += len(more)
        self._buffer = b"".join(parts)
        return True

    def _lose(self, reason: str) -> None:
        self.lost = True
        skipped = " (the rest of the file is skipped)" if self._on_bad else ""
        offset, record = self.offset, self.number
        self._buffer, self._position = b"", 0
        self._file = io.BytesIO()
        self.bad(reason + skipped, offset, record)

    def _why_no_length(self) -> str:
        if self.number == 0 and self._buffer[self._position : self._position + 2] == b"\x1f\x8b":
            return "this is a gzip file, but it is declared as not compressed"
        if self.number == 0 and self._buffer[self._position : self._position + 4] == PARQUET_MAGIC:
            return "this is a Parquet file, but it is read as TFRecord"
        if self.number == 0:
            return "this is not a TFRecord file, or its first bytes are damaged"
        return "the checksum of its length is wrong, the file is damaged"
