"""TFRecord framing: length (uint64), its masked CRC32C, data, the data's masked CRC32C; all little endian.

Rule from TensorFlow's ``core/lib/io/record_writer.h``. Read here, not by TensorFlow's reader, because that names
neither file nor record in its errors and cannot go on after one.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import google_crc32c

from launcher.estimator.streaming.errors import BadDataError, where
from launcher.estimator.streaming.files import Compression, open_data

HEAD_BYTES = 12
TAIL_BYTES = 4
READ_BYTES = 1 << 20

_HEAD = struct.Struct("<QI")
_WORD = struct.Struct("<I")


@dataclass(frozen=True, kw_only=True, slots=True)
class RawBlock:
    """Records that follow each other in a file; ``first``: the number of the first one."""

    first: int
    records: list[bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRecord:
    """A record, or the rest of a file, that was skipped. ``offset`` as in BadDataError."""

    path: str
    offset: int | None
    record: int | None
    reason: str

    def __str__(self) -> str:
        return f"{where(self.path, self.offset, self.record)}: {self.reason}"


OnBad = Callable[[BadRecord], None]


def masked_crc(data: bytes) -> int:
    """The CRC32C of TFRecord files."""
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


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
    with open_data(path, compression) as file:
        if byte_offset:
            file.seek(byte_offset)
        scanner = _Scanner(path, file, first_record, byte_offset, on_bad)
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


class _Scanner:
    """Walks over the frames of one file. ``number``: of the next record; ``lost``: the rest cannot be read."""

    def __init__(self, path: str, file: BinaryIO, first_record: int, offset: int, on_bad: OnBad | None) -> None:
        self.path = path
        self.number = first_record
        self.lost = False
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
        while len(found) < wanted:
            if len(self._buffer) - self._position < HEAD_BYTES and not self._need(HEAD_BYTES):
                break
            start = self._position
            length, length_crc = _HEAD.unpack_from(self._buffer, start)
            if self._crc_of_length(length) != length_crc:
                self._lose(self._why_no_length())
                break
            stop = start + HEAD_BYTES + length + TAIL_BYTES
            if stop > len(self._buffer):
                if not self._need(HEAD_BYTES + length + TAIL_BYTES):
                    break
                start, stop = self._position, self._position + HEAD_BYTES + length + TAIL_BYTES
            data = self._buffer[start + HEAD_BYTES : stop - TAIL_BYTES]
            self._position = stop
            self.number += 1
            if masked_crc(data) != _WORD.unpack_from(self._buffer, stop - TAIL_BYTES)[0]:
                offset = self._offset + start
                self.bad("its checksum is wrong, the data is damaged", offset, self.number - 1)
                break
            found.append(data)
        if not found and self.number == first:
            return None
        return RawBlock(first=first, records=found)

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
                more = self._file.read(max(READ_BYTES, min(wanted - have, 64 * READ_BYTES)))
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
        if self.number == 0:
            return "this is not a TFRecord file, or its first bytes are damaged"
        return "the checksum of its length is wrong, the file is damaged"
