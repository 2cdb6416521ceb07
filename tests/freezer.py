"""Processes in a state in which no signal is heard: as in a wait for a file server, or on a host that stands still.

By a control group of version 1; those of version 2 let frozen processes be killed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

_FREEZER = Path("/sys/fs/cgroup/freezer")
_numbers = itertools.count()


def missing() -> str:
    """Why there can be none here; empty if there can."""
    return "" if not os.geteuid() and _FREEZER.is_dir() else "needs root, and the freezer of control groups version 1"


class Freezer(contextlib.AbstractContextManager["Freezer"]):
    """A group that can be frozen; at its end all are thawed, and it waits for theirs."""

    def __init__(self) -> None:
        self._group = _FREEZER / f"tflaunch-test-{os.getpid()}-{next(_numbers)}"
        self._group.mkdir()

    def freeze(self, pids: Iterable[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (self._group / "cgroup.procs").write_text(str(pid))
        self._turn("FROZEN")

    def thaw(self) -> None:
        self._turn("THAWED")

    def __exit__(self, *_: object) -> None:
        self.thaw()
        self._until(self._is_removed, "it is in use")

    def _is_removed(self) -> bool:
        for pid in (self._group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (_FREEZER / "cgroup.procs").write_text(pid)
        with contextlib.suppress(OSError):  # somebody is in his exit
            self._group.rmdir()
        return not self._group.exists()

    def _turn(self, state: str) -> None:
        file = self._group / "freezer.state"
        file.write_text(state)
        self._until(lambda: file.read_text().strip() == state, f"it is not {state}")

    def _until(self, condition: Callable[[], bool], trouble: str) -> None:
        deadline = time.monotonic() + 30.0
        while not condition():
            assert time.monotonic() < deadline, trouble
            time.sleep(0.01)
