"""What attempts use, measured about once a second; seldomer where there are many processes to look at."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from launcher.agent.system import memory, processes
from launcher.agent.system.loop import Loop
from launcher.agent.system.processes import Process
from launcher.agent.tasks.attempt import Attempt, Stage
from launcher.agent.tasks.task_runner import TaskRunner
from launcher.wire import protocol

_INTERVAL_S = 1.0
_COST_SHARE = 50  # looking may take at most a fiftieth of the time
_MIB = 1024 * 1024


class UsageSampler:
    """Measures, and at the same time notes which processes belong to which attempt (``Attempt.remember``), and which
    kills for want of memory were those of others."""

    def __init__(
        self, loop: Loop, say: Callable[[protocol.Message], None], attempts: TaskRunner, wanted: Callable[[], bool]
    ) -> None:
        self._loop = loop
        self._say = say
        self._attempts = attempts
        self._wanted = wanted
        self._last_s = time.monotonic()
        loop.later(_INTERVAL_S, self._sample)

    def _sample(self) -> None:
        began = time.monotonic()
        running = [attempt for attempt in self._attempts.alive() if attempt.stage is Stage.RUNNING]
        if running:
            self._measure(running, began - self._last_s)
        self._last_s = began
        cost_s = time.monotonic() - began
        self._loop.later(max(_INTERVAL_S, _COST_SHARE * cost_s), self._sample)

    def _measure(self, running: list[Attempt], passed_s: float) -> None:
        oom_kills = memory.oom_kills()
        seen = processes.snapshot()
        cpu, rss_mib = {}, {}
        for attempt in running:
            if attempt.oom_kills != oom_kills and not processes.is_dying(attempt.pid):
                attempt.oom_kills = oom_kills  # somebody else's
            tree = attempt.remember(seen)
            cpu[attempt.task.name] = round(_cpu_s(attempt, tree, seen) / passed_s, 3)
            rss_mib[attempt.task.name] = round(sum(seen[pid].rss_bytes for pid in tree) / _MIB, 1)
        if self._wanted():
            self._say(protocol.Usage(cpu=cpu, rss_mib=rss_mib))


def _cpu_s(attempt: Attempt, tree: set[int], seen: Mapping[int, Process]) -> float:
    former = attempt.cpu_ticks
    attempt.cpu_ticks = {pid: seen[pid].cpu_ticks for pid in tree}
    spent = sum(max(0, ticks - former.get(pid, 0)) for pid, ticks in attempt.cpu_ticks.items())
    return spent / processes.TICKS_PER_S


def memory_mib() -> int:
    """The memory of this host."""
    return os.sysconf("SC_PHYS_PAGES") * processes.PAGE_BYTES // _MIB
