"""Appending to a file on a disk that may be full for a while."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path


class Appender:
    """Appends pieces in order. What cannot be written now waits in memory and is written before the next piece, from
    the byte at which the disk was full. ``waiting``: bytes that wait; ``trouble``: why the last attempt failed, empty
    if it did not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self._pieces: deque[bytes] = deque()
        self.waiting = 0
        self.trouble = ""

    def add(self, data: bytes, *, most_waiting: int) -> bool:
        """Appends, or keeps if no more than so many bytes wait then; else the piece is lost, as a whole."""
        if self._pieces and not self.flush() and self.waiting + len(data) > most_waiting:
            return False
        self._pieces.append(data)
        self.waiting += len(data)
        self.flush()
        return True

    def flush(self) -> bool:
        """Tries to write what waits; whether nothing waits any more."""
        try:
            while self._pieces:
                written = os.write(self._opened(), self._pieces[0])
                self.waiting -= written
                if written == len(self._pieces[0]):
                    self._pieces.popleft()
                else:
                    self._pieces[0] = self._pieces[0][written:]
        except OSError as error:
            self.trouble = error.strerror or str(error)
            return False
        self.trouble = ""
        return True

    @property
    def size(self) -> int:
        """Bytes that are written."""
        return os.fstat(self._fd).st_size if self._fd is not None else 0

    def _opened(self) -> int:
        if self._fd is None:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._fd

    def close(self) -> None:
        """Closes the file; what waits is written if it can be."""
        self.flush()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
