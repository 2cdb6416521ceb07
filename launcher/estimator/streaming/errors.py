"""What can go wrong with streamed data. ``str()`` says which file, where in it, and what to do."""

from __future__ import annotations

from launcher.wire.errors import TflaunchError


class StreamingError(TflaunchError):
    """Base of every error that streaming raises on purpose."""


class SourceError(StreamingError):
    """There is nothing to read where one should: no such file, an empty folder, a glob that matches nothing."""


class BadDataError(StreamingError):
    """Data that cannot be read as what it should be.

    ``offset``: the byte at which the bad record begins (in the uncompressed data, if the file is compressed), None
    where the file as a whole is meant. ``record``: its number in the file, from 0, if known; ``line``: of a text, from
    1. ``reason``: what is wrong, without file and place.
    """

    def __init__(
        self, path: str, reason: str, *, offset: int | None = None, record: int | None = None, line: int | None = None
    ) -> None:
        self.path = path
        self.reason = reason
        self.offset = offset
        self.record = record
        super().__init__(f"{where(path, offset, record, line)}: {reason}")


def where(path: str, offset: int | None, record: int | None, line: int | None = None) -> str:
    """A place as people read it: ``file: line 5, record 3 at byte 812``."""
    parts = [] if line is None else [f"line {line},"]
    parts += [] if record is None else [f"record {record}"]
    parts += [] if offset is None else [f"at byte {offset}"]
    return f"{path}: {' '.join(parts)}" if parts else path
