"""A file of fixed records in a ring (``wire/forms/series.py``), as it is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher.wire.forms.series import HEAD, MAGIC, Form

_GOES_ON = os.O_WRONLY | os.O_CLOEXEC


class Ring:
    """One file, which goes on if it is there; one writer. Methods raise OSError: what they were to write is not there
    then. ``next``: the number of the next row."""

    def __init__(self, path: Path, form: Form, capacity: int) -> None:
        self._path = path
        self._form = form
        self._capacity = capacity
        self._fd: int | None = None
        self.next = self._rows_there()

    @property
    def full(self) -> bool:
        """Whether the next row takes the place of the oldest one."""
        return self.next >= self._capacity

    def add(self, values: Sequence[Any]) -> None:
        if self._fd is None:
            self._fd = os.open(self._path, _GOES_ON, 0o600) if self.next else self._open(self._path)
        at = HEAD.size + self.next % self._capacity * self._form.row_bytes
        _write_at(self._fd, self._form.pack(self.next, values), at)
        self.next += 1

    def replace(self, rows: Sequence[Sequence[Any]]) -> None:
        """The file has these rows instead, all at once."""
        fresh = self._path.with_name(f".{self._path.name}.tmp")
        fd = self._open(fresh)
        try:
            _write_at(fd, b"".join(self._form.pack(number, row) for number, row in enumerate(rows)), HEAD.size)
            fresh.replace(self._path)
        except BaseException:
            os.close(fd)
            fresh.unlink(missing_ok=True)
            raise
        self.close()
        self._fd, self.next = fd, len(rows)

    def _rows_there(self) -> int:
        try:
            with self._path.open("rb") as stream:
                head = stream.read(HEAD.size)
                if head != HEAD.pack(MAGIC, self._form.row_bytes, self._capacity):
                    return 0
                stream.seek(0)
                return self._form.read(stream)[1]
        except OSError:
            return 0

    def _open(self, path: Path) -> int:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(path, _GOES_ON | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _write_at(fd, HEAD.pack(MAGIC, self._form.row_bytes, self._capacity), 0)
        except OSError:
            os.close(fd)
            raise
        return fd

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _write_at(fd: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written
