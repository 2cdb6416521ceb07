"""Measures a command with everything that it starts: wall time, CPU seconds, memory.

The measuring process is a subreaper, so that what a command leaves behind (daemons, orphans) comes to it and counts.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Makes orphans of our descendants our children."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[int]:
    """Every process below this one."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {os.getpid()}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return sorted(found - {os.getpid()})
        found |= more


def pss_mib(pids: Sequence[int]) -> float:
    """Sum of the proportional set sizes, in MiB."""
    total_kib = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total_kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kib / 1024


def spawn(argv: Sequence[str], env: Mapping[str, str], output: Path, cwd: Path) -> subprocess.Popen[bytes]:
    """Starts a command with its output in a file."""
    with output.open("ab") as stream:
        return subprocess.Popen(
            argv, env=dict(env), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=cwd, start_new_session=True
        )


@dataclass(kw_only=True)
class Meter:
    """What a group of processes has cost, from ``__init__`` on."""

    began: float
    cpu_s: float = 0.0
    ended: dict[int, int] = field(default_factory=dict)

    def wait_for(self, done: Callable[[], bool], timeout_s: float) -> float:
        """Reaps while it waits for ``done``; gives the seconds since the start."""
        while not done():
            self.reap()
            if time.monotonic() - self.began > timeout_s:
                raise TimeoutError(f"not done after {timeout_s:g} s")
            time.sleep(0.01)
        return time.monotonic() - self.began

    def reap(self) -> None:
        """Takes in every child that has ended (``ended``: exit code by pid); adds its CPU, and that of its own."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.cpu_s += usage.ru_utime + usage.ru_stime
            self.ended[pid] = os.waitstatus_to_exitcode(status)

    def end(self, timeout_s: float = 30.0) -> None:
        """Kills what is still below us and takes it in."""
        deadline = time.monotonic() + timeout_s
        while pids := descendants():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self.reap()
            if time.monotonic() > deadline:
                raise TimeoutError(f"still alive: {pids}")
            time.sleep(0.01)
