"""Bytes that a task writes, as whole lines that any terminal can show."""

from __future__ import annotations

import re

from launcher.wire.text import harmless

MAX_LINE_BYTES = 16 * 1024
_REWRITTEN = re.compile(rb"^[^\n]*\r", re.MULTILINE)


class LineAssembler:
    """Bytes of one task in, in any portions; whole lines out, harmless and without newline.

    The lines do not depend on the portions. Of a line that was rewritten with carriage returns the last state counts.
    A line of more than ``limit`` bytes is cut, with a mark that says how much is missing; memory stays bounded.
    """

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._head = b""
        self._dropped = 0
        self._rewritten = False  # a carriage return came last: what follows starts the line anew

    def feed(self, data: bytes) -> list[str]:
        """The lines that this portion completes."""
        first = data.find(b"\n")
        if first < 0:
            self._extend(data)
            return []
        self._extend(data[:first])
        lines = [self._finish()]
        last = data.rfind(b"\n")
        if last > first:
            lines += self._block(data[first + 1 : last])
        self._extend(data[last + 1 :])
        return lines

    def flush(self) -> list[str]:
        """The last line, if it has no newline: at the end of the output."""
        return [self._finish()] if self._head or self._dropped else []

    @property
    def pending(self) -> str:
        """The line that is being written."""
        return _show(self._head, self._dropped)

    def _extend(self, data: bytes) -> None:
        stem = data.rstrip(b"\r")
        if not stem:
            self._rewritten = self._rewritten or bool(data)
            return
        start = stem.rfind(b"\r") + 1
        if start or self._rewritten:
            self._head, self._dropped = b"", 0
        self._rewritten = len(stem) < len(data)
        room = self._limit - len(self._head)
        self._head += stem[start : start + room]
        self._dropped += max(0, len(stem) - start - room)

    def _finish(self) -> str:
        line = _show(self._head, self._dropped)
        self._head, self._dropped, self._rewritten = b"", 0, False
        return line

    def _block(self, block: bytes) -> list[str]:
        """Lines that are wholly in one portion: the fast way, if none of them is too long."""
        if _longer_than(block, self._limit):
            return [self._line(line) for line in block.split(b"\n")]
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n").removesuffix(b"\r")
            if b"\r\n" in block or block.endswith(b"\r"):
                return [self._line(line) for line in block.split(b"\n")]
            block = _REWRITTEN.sub(b"", block)
        return harmless(block.decode("utf-8", "replace")).split("\n")

    def _line(self, line: bytes) -> str:
        self._extend(line)
        return self._finish()


def _longer_than(block: bytes, limit: int) -> bool:
    """Whether a line of the block has more than ``limit`` bytes; looks at few of the newlines."""
    start = 0
    while len(block) - start > limit:
        newline = block.rfind(b"\n", start, start + limit + 1)
        if newline < 0:
            return True
        start = newline + 1
    return False


def _show(head: bytes, dropped: int) -> str:
    text = head.decode("utf-8", "replace")
    if not dropped:
        return harmless(text)
    return f"{harmless(text.rstrip(chr(0xFFFD)))} [... {dropped} more bytes, see the task's log]"
