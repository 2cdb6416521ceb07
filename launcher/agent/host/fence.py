"""What tells tasks of a host that was lost to change no more files: ``inside/guard/fence.c`` reads both.

A host that was frozen, or cut off, comes back with tasks that know nothing of it, while the run has gone on elsewhere.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import struct
import time
from collections.abc import Iterable
from pathlib import Path

from launcher.agent.host.options import Options
from launcher.agent.inside.guard import library
from launcher.agent.tasks.environment import LIBRARY_VARIABLE

HOLDERS = ".tflaunch-holders"
_DEADLINE_VARIABLE = "TFLAUNCH_DEADLINE"
_FILE = "deadline"
_NOBODY = "-"
_MOST_HOLDERS = 100


def clock() -> float:
    """Seconds, those included in which the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Deadline:
    """Until when this host is part of the run for all that its supervisor knows: the lease after the last word of ours
    that he has, and the grace time if ``grace_s`` is not 0. There is none where he lives and dies with this host. What
    it adds to ``base`` makes tasks keep to it."""

    def __init__(self, home: Path, base: dict[str, str], options: Options) -> None:
        self._lease_s, self.grace_s = options.lease_s, options.grace_s
        self._shared: mmap.mmap | None = None
        base.pop(_DEADLINE_VARIABLE, None)  # that of a run which we are a task of
        if not options.silence_s or library.obstacle():
            return
        path = home / _FILE
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, mmap.PAGESIZE)
            self._shared = mmap.mmap(fd, mmap.PAGESIZE)
        finally:
            os.close(fd)
        base[_DEADLINE_VARIABLE] = str(path)
        base[LIBRARY_VARIABLE] = library.loadable(home)
        self.renew(clock())

    @property
    def passed(self) -> bool:
        return self._shared is not None and time.clock_gettime_ns(time.CLOCK_BOOTTIME) > self._until()

    def renew(self, heard: float) -> None:
        """The supervisor has our word of that moment."""
        if self._shared is not None:
            until = int((heard + self._lease_s + self.grace_s) * 1e9)
            self._shared[:16] = struct.pack("=qq", until, int(heard * 1e9))

    def _until(self) -> int:
        assert self._shared is not None
        return int(struct.unpack("=q", self._shared[:8])[0])


class LastWord:
    """When the supervisor had a word of this host last, for another process here, also when the agent has gone."""

    def __init__(self, home: Path) -> None:
        self._path = home / _FILE
        self._heard = math.inf

    def look(self) -> None:
        """While the run lives here: its folder goes with it."""
        with contextlib.suppress(OSError, struct.error):  # the agent has just begun, or there is none
            self._heard = struct.unpack("=q", self._path.read_bytes()[8:16])[0] / 1e9

    def is_older_than(self, seconds: float) -> bool:
        return clock() - self._heard > seconds


def take(folder: str, run: str, generation: int, departed: Iterable[str] = ()) -> None:
    """From now on that generation has the folder, and whoever had it changes nothing there any more. One that had it,
    and was replaced, does not get it back: its host may have been frozen. ``departed``: attempts (``chief:0 1``) of
    this generation whose tasks have gone on elsewhere; they have lost the folder, too."""
    lines, name = _holders(folder), f"{run} {generation}"
    later = [line for line in lines if line.rpartition(" ")[0] == run and int(line.rpartition(" ")[2]) > generation]
    if later or (name in lines and lines[-1] != name):
        return
    gone = [line for attempt in departed if (line := f"{name} {attempt}") not in lines]
    if gone or name not in lines:
        _write(folder, [*(line for line in lines if line != name), *gone, name])


def leave(folder: str, run: str, generation: int, *, is_over: bool) -> None:
    """This host has done with the folder. Nobody has it when the run is over, unless somebody else has taken it, a
    later generation included; otherwise the run may go on elsewhere. One in which nothing was trained is left as it
    was found."""
    lines = _holders(folder)
    if lines[-1:] != [f"{run} {generation}"]:
        return
    if [entry.name for entry in Path(folder).iterdir()] == [HOLDERS]:
        Path(folder, HOLDERS).unlink(missing_ok=True)
    elif is_over:
        _write(folder, [*lines, _NOBODY])


def _holders(folder: str) -> list[str]:
    try:
        return Path(folder, HOLDERS).read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []


def _write(folder: str, lines: list[str]) -> None:
    """A file that appears as a whole; where it cannot be written, the deadline must do."""
    new = Path(folder, f"{HOLDERS}.{os.getpid()}")
    with contextlib.suppress(OSError):
        text = "".join(f"{line}\n" for line in lines[-_MOST_HOLDERS:])
        new.write_text(text, "utf-8", "surrogateescape")
        new.replace(Path(folder, HOLDERS))
