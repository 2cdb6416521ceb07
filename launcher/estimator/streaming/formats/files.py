"""Opening data files, local or anything that ``tf.io.gfile`` reads, with one kind of error."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Literal, cast

from launcher.estimator.streaming.errors import BadDataError
from launcher.estimator.streaming.formats.checksums import masked_crc

Compression = Literal["auto", "none", "gzip"]
"""``auto`` looks at the first bytes of a file, not at its name."""

_GZIP = b"\x1f\x8b"


@contextmanager
def open_data(path: str, compression: Compression) -> Iterator[BinaryIO]:
    """A file to read, uncompressed. Raises BadDataError where it cannot be opened, is empty, or is not as declared."""
    try:
        raw = _open(path)
    except (OSError, _op_error()) as error:
        raise BadDataError(path, f"cannot be opened: {_text(error)}") from None
    with raw:
        head = _peek(path, raw)
        if not head:
            raise BadDataError(path, "the file is empty", offset=0)
        if compression == "gzip" and head[:2] != _GZIP:
            raise BadDataError(path, "this is not a gzip file, but it is declared as one", offset=0)
        if compression == "gzip" or (compression == "auto" and is_gzip(head)):
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield cast(BinaryIO, io.BufferedReader(unpacked, 1 << 20))
        else:
            yield raw


def is_gzip(head: bytes) -> bool:
    """Whether a file that begins with these (twelve or more) bytes is compressed."""
    if head[:2] != _GZIP:
        return False
    return len(head) < 12 or masked_crc(head[:8]) != struct.unpack_from("<I", head, 8)[0]


def is_local(path: str) -> bool:
    """Whether Python's own functions reach a path."""
    return "://" not in path


def _open(path: str) -> BinaryIO:
    if is_local(path):
        return open(path, "rb", buffering=1 << 20)
    import tensorflow as tf

    return cast(BinaryIO, io.BufferedReader(_GFileReader(tf.io.gfile.GFile(path, "rb")), 1 << 20))


class _GFileReader(io.RawIOBase):
    """A GFile as a raw stream that gzip and buffers understand."""

    def __init__(self, file: Any) -> None:
        self._inner = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._inner.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._inner.seek(offset, whence)
        return int(self._inner.tell())

    def tell(self) -> int:
        return int(self._inner.tell())


def _peek(path: str, raw: BinaryIO) -> bytes:
    try:
        head = raw.read(12)
        raw.seek(0)
    except (OSError, _op_error()) as error:
        raise BadDataError(path, f"cannot be read: {_text(error)}", offset=0) from None
    return head


def _op_error() -> type[Exception]:
    """TensorFlow's base error where TensorFlow is loaded; a local file needs none of it."""
    import sys

    tensorflow = sys.modules.get("tensorflow")
    return cast(type[Exception], tensorflow.errors.OpError) if tensorflow else OSError


def _text(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or getattr(error, "message", None) or error)
