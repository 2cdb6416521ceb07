"""The log of a task within a limit: its first part and its newest, and a line between that says how much is missing.

``worker-1.log`` is all of it up to half of the limit. What comes then goes into further parts, each an eighth of the
limit and named after the byte at which it begins (``worker-1.log.0000000000536870912``). Of these the newest stay; in
place of the first one there is a line then that counts what is missing. So nothing is ever copied, ``cat
worker-1.log*`` has all of it in order, and a reader's place is one number.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from launcher.record.files.appending import Appender

_PARTS = 3  # besides the one that is written
_DIGITS = 19


class LogFile:
    """Appends to the log, also to one that is there. One writer."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path = path
        self._first_bytes = limit_bytes // 2
        self._part_bytes = limit_bytes // 8
        self._missing = self._first_removed = 0
        self._parts = [(begins, _length(part)) for begins, part in parts_of(path)]
        self._begins, self._length = self._parts.pop()
        self._file = Appender(self._path_of(self._begins) if self._begins else path)
        del self._parts[:1]  # the first one stays
        if len(self._parts) > 1 and self._parts[0][0] + self._parts[0][1] < self._parts[1][0]:  # a line, not a part
            self._first_removed = self._parts.pop(0)[0]
            self._missing = self._parts[0][0] - self._first_removed

    @property
    def waiting(self) -> int:
        return self._file.waiting

    @property
    def trouble(self) -> str:
        return self._file.trouble

    def add(self, data: bytes, *, most_waiting: int) -> bool:
        """As ``Appender.add``: keeps it in memory while the disk is full; False if that is too much even for that."""
        room = (self._part_bytes if self._begins else self._first_bytes) - self._length
        if self._length and len(data) > room and not self._file.waiting:
            self._next_part()
        if not self._file.add(data, most_waiting=most_waiting):
            return False
        self._length += len(data)
        return True

    def _next_part(self) -> None:
        if self._begins:
            self._parts.append((self._begins, self._length))
        self._begins += self._length
        self._file.close()
        self._length, self._file = 0, Appender(self._path_of(self._begins))
        if len(self._parts) > _PARTS:
            self._remove_oldest()

    def _remove_oldest(self) -> None:
        begins, length = self._parts.pop(0)
        self._first_removed = self._first_removed or begins
        self._missing += length
        line = f"\n[tflaunch] {self._missing:,} bytes of this output are missing here (policy.log_limit_mib)\n"
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        with contextlib.suppress(OSError):  # the disk is full, or the folder gone
            self._path_of(begins).unlink(missing_ok=True)
            temporary.write_text(line)
            temporary.replace(self._path_of(self._first_removed))

    def _path_of(self, begins: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{begins:0{_DIGITS}}")

    def close(self) -> None:
        """Writes what still waits, as far as it can be, and closes."""
        self._file.close()


# --- reading -----------------------------------------------------------------------------------------------------


def parts_of(path: Path) -> list[tuple[int, Path]]:
    """Where each part begins, and its file, in order; the log need not exist."""
    further = _further_parts(str(path.parent)).get(path.name, ())
    return [(0, path), *((begins, path.with_name(name)) for begins, name in further)]


def _further_parts(folder: str) -> Mapping[str, list[tuple[int, str]]]:
    """By the name of the log. A folder is listed when it has changed, and not once for each of its many logs."""
    try:
        changed_ns = os.stat(folder).st_mtime_ns  # noqa: PTH116 - this is done for every log several times a second
        known_ns, found = _LISTED.get(folder, (0, {}))
        if known_ns == changed_ns:
            return found
        names = [entry.name for entry in os.scandir(folder)]
    except OSError:
        return {}
    found = {}
    for name in names:
        log, _, digits = name.rpartition(".")
        if len(digits) == _DIGITS and digits.isdigit():
            found.setdefault(log, []).append((int(digits), name))
    for parts in found.values():
        parts.sort()
    if time.time_ns() - changed_ns > _SETTLED_NS:
        _LISTED[folder] = changed_ns, found
    return found


_LISTED: dict[str, tuple[int, dict[str, list[tuple[int, str]]]]] = {}
_SETTLED_NS = 1_000_000_000  # in one tick of the file system's clock a folder may change again


def ends_of(folder: Path) -> Mapping[str, int]:
    """Where each log of the folder ends, by its name: all at once, since to ask for each takes ten times as long."""
    ends: dict[str, int] = {}
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            log, _, digits = entry.name.rpartition(".")
            is_part = len(digits) == _DIGITS and digits.isdigit()
            name, begins = (log, int(digits)) if is_part else (entry.name, 0)
            with contextlib.suppress(OSError):  # a part may be removed meanwhile
                ends[name] = max(begins + entry.stat().st_size, ends.get(name, 0))
    return ends


def size_of(path: Path) -> int:
    """Where the log ends; 0 if there is none."""
    begins, newest = parts_of(path)[-1] if _length(path) else (0, path)
    return begins + _length(newest)


def read_at(path: Path, offset: int, size: int) -> tuple[bytes, int]:
    """At most ``size`` bytes from ``offset``, or from where there are any behind it, and where they end."""
    data = b""
    for begins, part in parts_of(path):
        if data and begins != offset:
            break  # what lies between is missing
        if begins + _length(part) > offset:
            start = max(0, offset - begins)
            more = _read(part, start, size - len(data))
            data, offset = data + more, begins + start + len(more)
    return data, offset


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read(path: Path, offset: int, size: int) -> bytes:
    try:
        with path.open("rb", buffering=0) as stream:
            return os.pread(stream.fileno(), size, offset)
    except OSError:
        return b""
