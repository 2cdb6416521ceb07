"""Proves that a task's port is served by its present attempt, and by nobody else.

With SO_REUSEPORT a second process of the same user can listen on the port, too, and then the kernel deals connections
out between the two: two parameter servers on one port were seen, and training that goes on with half of the variables.
One process may have several listening sockets on its port, as gRPC's servers do.
"""

from __future__ import annotations

from collections.abc import Callable

from launcher.agent.ports import listeners
from launcher.agent.ports.listeners import Listener
from launcher.agent.ports.reservations import Reservations, describe
from launcher.agent.system import processes
from launcher.agent.system.loop import Loop
from launcher.agent.tasks.attempt import Attempt, Stage
from launcher.agent.tasks.task_runner import TaskRunner
from launcher.wire import protocol

_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 0.25
_WAIT_GROWTH = 1.1


class Prover:
    """The proofs that are still due, looked at together."""

    def __init__(
        self, loop: Loop, say: Callable[[protocol.Message], None], attempts: TaskRunner, reservations: Reservations
    ) -> None:
        self._loop = loop
        self._say = say
        self._attempts = attempts
        self._reservations = reservations
        self._due: dict[tuple[str, int], int] = {}
        self._suspects: set[int] = set()
        self._wait_s = _FIRST_WAIT_S
        self._polling = False

    def prove(self, command: protocol.Prove) -> None:
        """Watches until the attempt alone listens (``Listening``), or somebody else does (``Refused``)."""
        port = self._reservations.port_of(command.task)
        if port is None:
            self._refuse(command.task, command.attempt, f"no port is reserved for {command.task}; reserve one", {})
            return
        self._due[command.task, command.attempt] = port
        self._wait_s = _FIRST_WAIT_S
        if not self._polling:
            self._poll()

    def _poll(self) -> None:
        self._polling = bool(self._due)
        if not self._due:
            return
        found = listeners.listeners(self._due.values())
        suspects: set[int] = set()
        for (task, number), port in list(self._due.items()):
            attempt = self._attempts.find(task, number)
            if attempt is None:
                del self._due[task, number]
            elif attempt.stage is Stage.RUNNING and found[port]:
                suspects |= self._judge(attempt, port, found[port])
        self._suspects = suspects
        self._loop.later(self._wait_s, self._poll)
        self._wait_s = min(_LONGEST_WAIT_S, self._wait_s * _WAIT_GROWTH)

    def _judge(self, attempt: Attempt, port: int, found: list[Listener]) -> set[int]:
        """Decides this proof if it can; returns the sockets that are to be looked at once more."""
        inodes = {listener.inode for listener in found}
        foreign = inodes - listeners.sockets_of(attempt.pid)
        if foreign:
            for pid in attempt.tree(processes.snapshot()):
                foreign -= listeners.sockets_of(pid)
        if not foreign:
            del self._due[attempt.key]
            self._say(protocol.Listening(task=attempt.task.name, attempt=attempt.number, port=port))
        elif foreign <= self._suspects:  # seen twice: neither a socket that was about to close nor one just opened
            del self._due[attempt.key]
            self._accuse(attempt, port, foreign, found)
        return foreign

    def _accuse(self, attempt: Attempt, port: int, foreign: set[int], found: list[Listener]) -> None:
        facts = describe(foreign)
        uid = next(listener.uid for listener in found if listener.inode in foreign)
        who = "process {pid} ({command}, since {since})".format(**facts) if facts else f"a process of user {uid}"
        message = f"port {port} of {attempt.task.name} is served by {who}, which is not of this run; stop that process"
        self._refuse(attempt.task.name, attempt.number, message, facts)

    def _refuse(self, task: str, number: int, message: str, facts: dict[str, protocol.JsonValue]) -> None:
        refused = protocol.Refused(command="prove", message=message, task=task, attempt=number, foreign=facts)
        self._say(refused)
