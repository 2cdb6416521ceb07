"""What the agent of one host was told, and so what it may speak of and what it owes an answer to.

Each host is believed about itself only: about tasks, attempts, ports and folders that it was given. Pure but for the
clock, which comes in as an argument (monotonic seconds).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from launcher.wire import protocol

_PORTS = range(1, 65536)
_Attempt = tuple[str, int]


class Orders:
    """The orders of one host. ``answer_s``: how long an agent may take for what it does at once; ``start_s``: for the
    start of a task, which may wait for an interpreter that imports."""

    def __init__(self, *, answer_s: float, start_s: float) -> None:
        self.answer_s = answer_s
        self._start_s = start_s
        self._reserves: dict[tuple[int, frozenset[str]], protocol.Reserve] = {}
        self._ports: dict[str, int] = {}
        self._given: set[_Attempt] = set()
        self._kinds: set[str] = {"hello"}
        self._paths: set[str] = set()
        self._keys: set[str] = set()
        self._owed: dict[Hashable, float] = {}

    # --- told

    def note(self, command: protocol.Message, now: float) -> None:
        """It is being told this."""
        self._kinds.add(command.kind)
        if isinstance(command, protocol.Reserve):
            self._reserves[command.generation, frozenset(command.tasks)] = command
            self._owed["its ports", frozenset(command.tasks)] = now + self.answer_s
        elif isinstance(command, protocol.Start):
            self._given.add((command.task, command.attempt))
            self._owed[f"the start of {command.task}", command.attempt] = now + self._start_s
        elif isinstance(command, protocol.Stop):
            self._owed.pop((f"the start of {command.task}", command.attempt), None)
            if (command.task, command.attempt) in self._given:
                self._owed[f"the end of {command.task}", command.attempt] = now + command.grace_s + self.answer_s
        elif isinstance(command, (protocol.LockModelDir, protocol.SeeModelDir)):
            self._paths.add(command.path)
        elif isinstance(command, protocol.Preload):
            self._keys.add(command.key)

    def forgive(self) -> None:
        """A new agent process owes nothing: what the former was told is told anew."""
        self._owed.clear()

    def overdue(self, now: float) -> str:
        """What it has owed for too long, empty if nothing."""
        late = [what for what, due in self._owed.items() if due <= now]
        return str(late[0][0] if isinstance(late[0], tuple) else late[0]) if late else ""

    # --- heard

    def hear(self, said: protocol.Message) -> str:
        """Takes note of what it says; gives what it claims that is none of its business, empty if nothing is."""
        claim = self._claim(said)
        if not claim:
            self._settle(said)
        return claim

    def _claim(self, said: protocol.Message) -> str:
        if isinstance(said, protocol.Reserved):
            return self._claim_of_ports(said)
        if isinstance(said, protocol.Usage):
            return self._foreign({*said.cpu, *said.rss_mib})
        if isinstance(said, protocol.Refused):
            if said.command not in self._kinds:
                return f"to refuse {said.command!r}, which it was not told to do"
            if said.command == "start":
                return self._claim_of_attempt(said, said.task, said.attempt)
            return self._foreign({said.task} - {""})
        if isinstance(said, (protocol.Locked, protocol.Seen)):
            return "" if said.path in self._paths else f"a folder that it was not asked for: {said.path!r}"
        if isinstance(said, protocol.PreloadState):
            return "" if said.key in self._keys else f"an interpreter that it was not told to start: {said.key!r}"
        if isinstance(said, protocol.Guarded):
            return "" if "guard" in self._kinds else "guarded ports that it was not told of"
        if isinstance(said, protocol.LeaseAgreed):
            return "" if "lease_terms" in self._kinds else "terms of a lease that it was not told of"
        if isinstance(said, protocol.BoardState):
            return "" if "board" in self._kinds else "a TensorBoard that it was not told to start"
        task, attempt = getattr(said, "task", None), getattr(said, "attempt", None)
        if task is None or attempt is None:
            return "" if said.kind in _HARMLESS else f"what no agent says: {said.kind!r}"
        return self._claim_of_attempt(said, task, attempt)

    def _claim_of_attempt(self, said: protocol.Message, task: str, attempt: int) -> str:
        if (task, attempt) not in self._given:
            return f"that attempt {attempt} of {task}, which it was not given, has {said.kind!r} to tell"
        if isinstance(said, protocol.Listening) and said.port != self._ports.get(task):
            return f"that {task} listens on port {said.port}, which is not its port"
        return ""

    def _claim_of_ports(self, said: protocol.Reserved) -> str:
        of_generation = [tasks for generation, tasks in self._reserves if generation == said.generation]
        if not of_generation:
            return f"ports for generation {said.generation}, which it was not asked for"
        if foreign := self._foreign(said.ports):
            return foreign
        asked = self._reserves.get((said.generation, frozenset(said.ports)))
        if asked is None:
            return "other than one port for each of its tasks"
        allowed = _PORTS if asked.low is None or asked.high is None else range(asked.low, asked.high + 1)
        for task, port in said.ports.items():
            if port not in allowed:
                return f"port {port} for {task}, which is not among {allowed.start} to {allowed.stop - 1}"
        if len(set(said.ports.values())) < len(said.ports):
            return "other than one port for each of its tasks"
        return ""

    def _foreign(self, tasks: Iterable[str]) -> str:
        own = {task for _, tasks in self._reserves for task in tasks} | {task for task, _ in self._given}
        foreign = sorted(set(tasks) - own)
        return f"to know of {foreign[0]}, which is not its task" if foreign else ""

    def _settle(self, said: protocol.Message) -> None:
        """Notes that an answer has come."""
        if isinstance(said, protocol.Reserved):
            self._ports.update(said.ports)
            self._owed.pop(("its ports", frozenset(said.ports)), None)
        if isinstance(said, protocol.Refused) and said.command == "reserve":  # it does not say of which
            for owed in [owed for owed in self._owed if isinstance(owed, tuple) and owed[0] == "its ports"]:
                del self._owed[owed]
        if isinstance(said, (protocol.Started, protocol.Exited, protocol.Refused)):
            self._owed.pop((f"the start of {said.task}", said.attempt), None)
        if isinstance(said, (protocol.Exited, protocol.Refused)):
            self._owed.pop((f"the end of {said.task}", said.attempt), None)


_HARMLESS = ("welcome", "pong")
