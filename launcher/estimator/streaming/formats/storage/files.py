"""Opening data files, on this machine or elsewhere, with one kind of error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from launcher.estimator.streaming.errors import BadDataError
from launcher.estimator.streaming.formats.storage import remote
from launcher.estimator.streaming.formats.storage.unpacking import Compression, packing_of, unpacked

PARQUET_MAGIC = b"PAR1"
_ZIP = b"PK\x03\x04"


@contextmanager
def open_data(path: str, compression: Compression, *, buffer_bytes: int = 1 << 20) -> Iterator[BinaryIO]:
    """A file to read, uncompressed; ``buffer_bytes`` of it are read at once. Raises BadDataError where it cannot be
    opened, is empty, or is not as declared."""
    with open_plain(path, buffer_bytes=buffer_bytes) as raw:
        head = _peek(path, raw)
        found = packing_of(head)
        if compression not in ("auto", "none", found):
            raise BadDataError(path, f"this is not a {compression} file, but it is declared as one", offset=0)
        if compression != "none" and found != "none":
            with unpacked(raw, found) as stream:
                yield stream
        elif head.startswith(_ZIP):
            raise BadDataError(path, "this is a ZIP archive: unpack it, or compress files by gzip or zstd", offset=0)
        else:
            yield raw


@contextmanager
def open_plain(path: str, *, buffer_bytes: int = 1 << 20) -> Iterator[BinaryIO]:
    """A file as it is. Raises BadDataError where it cannot be opened or is empty."""
    try:
        raw = _open(path, buffer_bytes)
    except remote.errors() as error:
        raise BadDataError(path, f"cannot be opened: {_text(error)}") from None
    with raw:
        if not _peek(path, raw):
            raise BadDataError(path, "the file is empty", offset=0)
        yield raw


def first_bytes(path: str) -> bytes:
    """The first twelve bytes of a file as it is. Raises BadDataError."""
    with open_plain(path) as raw:
        return _peek(path, raw)


def is_local(path: str) -> bool:
    """Whether Python's own functions reach a path."""
    return "://" not in path


def _open(path: str, buffer_bytes: int) -> BinaryIO:
    return open(path, "rb", buffering=buffer_bytes) if is_local(path) else remote.open_file(path)


def _peek(path: str, raw: BinaryIO) -> bytes:
    try:
        head = raw.read(12)
        raw.seek(0)
    except remote.errors() as error:
        raise BadDataError(path, f"cannot be read: {_text(error)}", offset=0) from None
    return head


def _text(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or getattr(error, "message", None) or error)
