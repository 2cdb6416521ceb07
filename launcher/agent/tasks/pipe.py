"""The pipe through which an attempt speaks, emptied into a file.

Were the file its standard output, ``echo x > /dev/stderr`` would open it anew and truncate it. A pipe cannot be
truncated, and is the same one whoever opens it.
"""

from __future__ import annotations

import os

_AT_ONCE_BYTES = 1024 * 1024  # as much as a pipe can hold, unless its user is privileged
_PIECE_BYTES = 65536


class Pipe:
    """Of one attempt. ``reader`` outlives this agent, in the keeper. ``lost``: bytes for which there was no room, and
    ``trouble`` why."""

    def __init__(self, reader: int, writer: int | None = None) -> None:
        os.set_blocking(reader, False)
        self.reader = reader
        self.lost = 0
        self.trouble = ""
        self._writer = writer

    def writer(self) -> int:
        """A new descriptor for the task; to be closed by the caller. One is kept here, so that the pipe never ends."""
        assert self._writer is not None
        return os.dup(self._writer)

    def pour(self, file: int, at: int) -> int:
        """Moves what waits to that place of the file, much but not without end; returns where it ends now."""
        end = at + _AT_ONCE_BYTES
        while at < end:
            try:
                # Within the kernel where it can: then a SIGKILL between two calls loses nothing.
                moved = os.splice(self.reader, file, _PIECE_BYTES, offset_dst=at)
            except BlockingIOError:
                break
            except (AttributeError, OSError):  # no such call for this file, or the disk is full
                moved = self._copy(file, at)
            if not moved:
                break
            at += moved
        return at

    def _copy(self, file: int, at: int) -> int:
        """Better that words are lost than that the task stands still."""
        try:
            data = os.read(self.reader, _PIECE_BYTES)
        except BlockingIOError:
            return 0
        try:
            return os.pwrite(file, data, at)
        except OSError as error:
            self.lost += len(data)
            self.trouble = error.strerror or str(error)
            return 0

    def close(self) -> None:
        """Lets go of this process's own end."""
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None
