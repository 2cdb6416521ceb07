"""Series of what is sampled: files of fixed records, written in a ring.

A file begins with ``HEAD`` (what it is, bytes of a row, rows of the ring). Row number ``n``, from 0, lies in place
``n % capacity`` behind it: its checksum, its number, its values. So a file never grows beyond its ring, a writer that
is killed spoils one row at most, and a reader finds its place again by the number that it wants next.

Pure, and imports nothing of ours: TensorBoard's process loads this file alone.
"""

from __future__ import annotations

import struct
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, BinaryIO

MAGIC = b"tfseries"
HEAD = struct.Struct("<8sII")
_KEY = struct.Struct("<IQ")  # checksum of what follows it, number
_CHUNK_ROWS = 4096
_NO_NUMBER = -1

ROLE_CODES: Mapping[str, int] = {"ps": 1, "chief": 2, "worker": 3, "evaluator": 4}
_ROLES = {code: role for role, code in ROLE_CODES.items()}


class Form:
    """What a row holds: names and struct codes. ``d`` and ``f`` may be None (written as NaN), ``q`` too (as -1)."""

    def __init__(self, **codes: str) -> None:
        self.names = tuple(codes)
        self._codes = tuple(codes.values())
        self._struct = struct.Struct("<" + "".join(self._codes))
        self.row_bytes = _KEY.size + self._struct.size

    def pack(self, number: int, values: Sequence[Any]) -> bytes:
        """One row."""
        given = [_written(value, code) for value, code in zip(values, self._codes, strict=True)]
        body = number.to_bytes(8, "little") + self._struct.pack(*given)
        return zlib.crc32(body).to_bytes(4, "little") + body

    def unpack(self, row: bytes) -> tuple[int, tuple[Any, ...]] | None:
        """Number and values; None for what is no whole row."""
        checksum, number = _KEY.unpack_from(row)
        if zlib.crc32(row[4:]) != checksum:
            return None
        values = self._struct.unpack_from(row, _KEY.size)
        return number, tuple(_read(value, code) for value, code in zip(values, self._codes, strict=True))

    def read(self, stream: BinaryIO, start: int = 0) -> tuple[list[tuple[Any, ...]], int]:
        """The rows from number ``start`` on that are still there, and the number that comes next."""
        head = stream.read(HEAD.size)
        if len(head) < HEAD.size:
            return [], start
        magic, row_bytes, capacity = HEAD.unpack(head)
        if magic != MAGIC or row_bytes != self.row_bytes or not capacity:
            return [], start
        rows: list[tuple[Any, ...]] = []
        while True:
            found, after = self._chunk(stream, start, capacity)
            rows += found
            if after == start:
                return rows, after
            start = after

    def _chunk(self, stream: BinaryIO, start: int, capacity: int) -> tuple[list[tuple[Any, ...]], int]:
        place = start % capacity
        stream.seek(HEAD.size + place * self.row_bytes)
        data = stream.read(min(_CHUNK_ROWS, capacity - place) * self.row_bytes)
        rows, after = [], start
        for count, at in enumerate(range(0, len(data) - self.row_bytes + 1, self.row_bytes)):
            row = self.unpack(data[at : at + self.row_bytes])
            if row is None:
                continue  # torn; what stands behind it may be whole
            number, values = row
            if number < start + count:
                break
            if number > start + count:  # overwritten since: what is left begins a ring before the newest
                after = max(after, number - capacity + 1)
                continue
            rows.append(values)
            after = number + 1
        return rows, after


def _written(value: Any, code: str) -> Any:
    if value is not None:
        return value
    return _NO_NUMBER if code == "q" else float("nan")


def _read(value: Any, code: str) -> Any:
    if code == "q":
        return None if value == _NO_NUMBER else value
    return None if value != value else value


TASK_FORM = Form(
    at="d",
    role="H",
    index="I",
    attempt="I",
    global_step="q",
    local_steps="q",
    examples="q",
    loss="f",
    waiting="f",
    mean_waiting="f",
    reports="I",
    cpu="f",
    rss_mib="f",
)
INPUT_FORM = Form(
    at="d",
    examples="q",
    duplicates="q",
    skipped="q",
    reread="q",
    pending="q",
    held="q",
    most_held="q",
    epoch="q",
    epochs="q",
    progress="f",
    left_s="f",
    lag_s="d",
    endless="?",
)


def task_name(role: int, index: int) -> str | None:
    """``worker:1``; None for a role of a newer version."""
    return f"{_ROLES[role]}:{index}" if role in _ROLES else None
