"""What compressed files hold; how a file is compressed is seen by its first bytes, not by its name."""

from __future__ import annotations

import bz2
import gzip
import io
import struct
from typing import Any, BinaryIO, Literal, cast

from launcher.estimator.streaming.formats.checksums import masked_crc

Compression = Literal["auto", "none", "gzip", "bz2", "zstd", "lz4"]
"""``auto`` looks at the first bytes of a file."""
COMPRESSIONS: tuple[Compression, ...] = ("auto", "none", "gzip", "bz2", "zstd", "lz4")

PACKED = r"\.(gz|bz2|zst|zstd|lz4)$"
"""How names of compressed files end."""
_BUFFER_BYTES = 1 << 20
_MAGIC: dict[bytes, Compression] = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}


def packing_of(head: bytes) -> Compression:
    """How a file is compressed that begins with these (twelve or more) bytes; ``none`` if it is not."""
    for magic, found in _MAGIC.items():
        if head.startswith(magic) and not _begins_tfrecord(head):
            return found
    return "none"


def unpacked(raw: BinaryIO, compression: Compression) -> BinaryIO:
    """A compressed file's content, as a stream. What is wrong with it raises OSError, EOFError or zlib.error."""
    stream: Any
    if compression == "gzip":
        stream = gzip.GzipFile(fileobj=raw)
    elif compression == "bz2":
        stream = bz2.BZ2File(raw)
    else:
        stream = _ByArrow(raw, compression)
    return cast(BinaryIO, io.BufferedReader(stream, _BUFFER_BYTES))


def _begins_tfrecord(head: bytes) -> bool:
    """Whether what looks like a mark is the length of a record, whose checksum follows it."""
    return len(head) >= 12 and masked_crc(head[:8]) == struct.unpack_from("<I", head, 8)[0]


class _ByArrow(io.RawIOBase):
    """zstd and LZ4, by pyarrow."""

    def __init__(self, raw: BinaryIO, compression: Compression) -> None:
        import pyarrow as pa

        self._stream = pa.CompressedInputStream(pa.PythonFile(raw), compression)
        self._errors = pa.ArrowException

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(len(buffer))
        except self._errors as error:
            raise OSError(str(error)) from None
        buffer[: len(data)] = data
        return len(data)
