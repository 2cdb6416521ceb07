"""Which hosts have fallen silent: of each comes word of its tasks every second, as long as its line is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from launcher.record.kept import HostView
from launcher.record.task_view import TaskView

_PATIENCE_S = 3.0
_TASKS_A_SECOND = 100.0  # with more of them word of each comes less often


def silent(hosts: Mapping[str, HostView], tasks: Iterable[TaskView], now: float) -> dict[str, float]:
    """For how many seconds nothing has been heard of a host on which tasks run. Nothing of one from which nothing has
    come yet, nor of one that is lost, which is said anyway."""
    running = [task for task in tasks if task.pid is not None and not task.state.final]
    patience_s = max(_PATIENCE_S, len(running) / _TASKS_A_SECOND)
    ages = {name: now - hosts[name].heard_at for name in {task.host for task in running} if name in hosts}
    return {
        name: ages[name]
        for name in sorted(ages)
        if hosts[name].heard_at and hosts[name].state != "lost" and ages[name] > patience_s
    }
