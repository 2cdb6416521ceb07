"""Which port is whose: one for each task, from its reservation to the end of the run or of its generation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from launcher.agent.host.keeper_line import KeeperLine
from launcher.agent.ports import listeners, reserving
from launcher.agent.ports.reserving import HeldPort, PortsError
from launcher.agent.system import processes
from launcher.wire import protocol
from launcher.wire.protocol import JsonValue

_NARROW_PORTS = 4096
_PREFIX = "port"


class Reservations:
    """The ports of the newest generation. The keeper holds each as well, so that the death of an agent frees none."""

    def __init__(self, keeper: KeeperLine) -> None:
        self._keeper = keeper
        self._held: dict[tuple[int, str], HeldPort] = {}
        for name, fds in keeper.held.items():
            kind, _, rest = name.partition(" ")
            if kind == _PREFIX:
                generation, _, task = rest.partition(" ")
                self._held[int(generation), task] = reserving.adopted(fds)

    def port_of(self, task: str) -> int | None:
        """The port of that task in the newest generation that has one."""
        numbers = [(generation, held.number) for (generation, name), held in self._held.items() if name == task]
        return max(numbers)[1] if numbers else None

    def reserve(self, command: protocol.Reserve) -> Mapping[str, int]:
        """Holds a port for each task, and lets those of earlier generations go; raises PortsError, OSError.

        Asked again, it gives the same ports.
        """
        try:
            fresh = self._fresh(command)
        except PortsError:
            self._drop_before(command.generation)  # a narrow range has no room for both; its tasks have ended
            fresh = self._fresh(command)
        self._drop_before(command.generation)
        for (generation, task), held in fresh.items():
            self._held[generation, task] = held
            self._keeper.hold(_name(generation, task), (held.claim.fileno(), held.holder.fileno()))
        return {task: self._held[command.generation, task].number for task in command.tasks}

    def _fresh(self, command: protocol.Reserve) -> Mapping[tuple[int, str], HeldPort]:
        fresh: dict[tuple[int, str], HeldPort] = {}
        try:
            for task in command.tasks:
                if (command.generation, task) not in self._held:
                    fresh[command.generation, task] = reserving.reserve(command.low, command.high)
        except (PortsError, OSError):
            for held in fresh.values():
                held.release()
            raise
        return fresh

    def _drop_before(self, generation: int) -> None:
        for key in [key for key in self._held if key[0] < generation]:
            self._held.pop(key).release()
            self._keeper.drop(_name(*key))

    def release(self) -> None:
        """Lets everything go, as far as this process holds it."""
        for held in self._held.values():
            held.release()
        self._held.clear()


def _name(generation: int, task: str) -> str:
    return f"{_PREFIX} {generation} {task}"


def in_the_way(low: int | None, high: int | None) -> dict[str, JsonValue]:
    """A process that listens in this range of ports, if the range is narrow enough to matter."""
    if low is None or high is None or high - low > _NARROW_PORTS:
        return {}
    found = listeners.listeners(range(low, high + 1)).values()
    return describe(listener.inode for of_port in found for listener in of_port)


def describe(inodes: Iterable[int]) -> dict[str, JsonValue]:
    """Pid, command line and start of the first process that can be found for one of these sockets."""
    for inode in inodes:
        pid = listeners.owner_of(inode)
        process = processes.read(pid) if pid is not None else None
        if process is not None:
            return {"pid": process.pid, "command": processes.command(process.pid), "since": processes.since(process)}
    return {}
