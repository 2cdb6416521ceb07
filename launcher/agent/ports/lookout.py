"""Looks who listens on the ports of tasks, and says which of them are open although this host can guard ports.

A program may be static, or come through something that drops variables (``env -i``, setuid). What a task was started
with proves nothing, therefore: the guard's own thread in the process that listens does.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable

from launcher.agent.ports import listeners
from launcher.agent.ports.reservations import Reservations, describe
from launcher.agent.system import processes
from launcher.agent.system.loop import Loop, Timer
from launcher.agent.tasks.attempt import Attempt, Stage
from launcher.agent.tasks.task_runner import TaskRunner
from launcher.wire import protocol

_THREAD = b"tflaunch-door\n"  # doorkeeper.c
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 10.0  # some tasks never listen
_WAIT_GROWTH = 1.2


class Lookout:
    """Watches each attempt until something listens on its port."""

    def __init__(
        self, loop: Loop, say: Callable[[protocol.Message], None], attempts: TaskRunner, reservations: Reservations
    ) -> None:
        self._loop = loop
        self._say = say
        self._attempts = attempts
        self._reservations = reservations
        self._judged: dict[str, int] = {}
        self._suspects: set[tuple[str, int]] = set()
        self._wait_s = _FIRST_WAIT_S
        self._timer: Timer | None = None

    def watch(self) -> None:
        """An attempt starts."""
        self._wait_s = _FIRST_WAIT_S
        self._look_later()

    def _look_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.later(self._wait_s, self._look)

    def _look(self) -> None:
        due = [attempt for attempt in self._attempts.alive() if self._judged.get(attempt.task.name) != attempt.number]
        if not due:
            return
        ports = {attempt: self._reservations.port_of(attempt.task.name) or 0 for attempt in due}
        found = listeners.listeners(ports.values())
        suspects = set()
        for attempt, port in ports.items():
            inodes = {listener.inode for listener in found[port]}
            if not inodes or attempt.stage is not Stage.RUNNING:
                continue
            guarded = _is_guarded(attempt, inodes)
            if not guarded and attempt.key not in self._suspects:  # the thread begins just after the socket listens
                suspects.add(attempt.key)
                continue
            self._judged[attempt.task.name] = attempt.number
            if not guarded:
                self._warn(attempt, inodes)
        self._suspects = suspects
        self._wait_s = min(_LONGEST_WAIT_S, self._wait_s * _WAIT_GROWTH)
        self._look_later()

    def _warn(self, attempt: Attempt, inodes: Iterable[int]) -> None:
        facts = describe(inodes)
        who = "process {pid} ({command})".format(**facts) if facts else "a process that may not be looked at"
        danger = f"the port of {attempt.task} is open, and whoever reaches it can run code as you"
        advice = "let it have LD_PRELOAD and TFLAUNCH_GUARD, and link it dynamically"
        self._say(protocol.Guarded(note=f"{danger}: {who} listens there without the guard; {advice}"))


def _is_guarded(attempt: Attempt, inodes: set[int]) -> bool:
    """Whether a thread of the guard is in a process of the attempt that has one of these sockets."""
    owners = [pid for pid in attempt.tree(processes.snapshot()) if inodes & listeners.sockets_of(pid)]
    return any(map(_has_door, owners))


def _has_door(pid: int) -> bool:
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - pathlib costs an agent too much
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/comm", "rb") as file:
                if file.read() == _THREAD:
                    return True
    return False
