"""The conversations with tasks: what they report, what they are told. Nothing a task says can hurt the agent."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Callable

from launcher.agent.system.accept import Acceptor
from launcher.agent.system.loop import Loop
from launcher.agent.system.wire import Wire
from launcher.agent.tasks.task_runner import TaskRunner
from launcher.wire import protocol

_MAX_LINE_BYTES = 1024 * 1024
_MAX_BAD_LINES = 100


class TaskLink:
    """One connection of a task; ``task`` is empty until it has said which it is."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.task = ""
        self.attempt = 0
        self.bad_lines = 0


class TaskLinks:
    """All of them. A task may connect as often as it likes; everything told to it goes to each connection."""

    def __init__(
        self, loop: Loop, listener: socket.socket, say: Callable[[protocol.Message], None], attempts: TaskRunner
    ) -> None:
        self._loop = loop
        self._say = say
        self._attempts = attempts
        self._links: set[TaskLink] = set()
        self._gate: protocol.Gate | None = None
        self._untold: defaultdict[str, list[protocol.Message]] = defaultdict(list)
        self._paused = False
        self._acceptor = Acceptor(loop, listener, self._accept)

    def tell(self, command: protocol.Tell) -> None:
        """Says it to the task, or to every task, now or when it connects. Only the newest gate is remembered."""
        if isinstance(command.message, protocol.Gate):
            self._gate = command.message
        tasks = [command.task] if command.task else [attempt.task.name for attempt in self._attempts.alive()]
        for task in tasks:
            links = [link for link in self._links if link.task == task]
            for link in links:
                link.wire.send(protocol.encode(command.message))
            if not links and not isinstance(command.message, protocol.Gate):
                self._untold[task].append(command.message)

    def forget(self, task: str) -> None:
        """An attempt of that task is gone: what it has said is heard, and what it was not told does not concern the
        next one."""
        self._untold.pop(task, None)
        for link in [link for link in self._links if link.task == task]:
            link.wire.take_rest()
            link.wire.close()
            self._links.discard(link)

    def pause(self, paused: bool) -> None:
        """Stops or goes on listening to tasks, for when the supervisor does not keep up."""
        if paused != self._paused:
            self._paused = paused
            for link in self._links:
                link.wire.pause(paused)

    def _accept(self, connection: socket.socket) -> None:
        link = TaskLink(Wire(self._loop, connection, max_line_bytes=_MAX_LINE_BYTES))
        link.wire.on_line = lambda line: self._hear(link, line)
        link.wire.on_closed = lambda: self._links.discard(link)
        self._links.add(link)
        link.wire.open()
        link.wire.pause(self._paused)

    def _hear(self, link: TaskLink, line: bytes) -> None:
        try:
            message = protocol.decode(line)
        except (protocol.ProtocolError, RecursionError):
            self._complain(link)
            return
        if isinstance(message, protocol.TaskHello):
            self._greet(link, message)
        elif isinstance(message, protocol.StartingOver):
            if (attempt := self._attempts.find(link.task, link.attempt)) is not None:
                attempt.output.start_over()
            link.wire.close()
            self._links.discard(link)
        elif link.task:
            self._say(protocol.Reported(task=link.task, attempt=link.attempt, report=message))

    def _complain(self, link: TaskLink) -> None:
        link.bad_lines += 1
        if link.bad_lines >= _MAX_BAD_LINES:
            link.wire.close()
            self._links.discard(link)

    def _greet(self, link: TaskLink, hello: protocol.TaskHello) -> None:
        if not self._attempts.is_of(str(hello.task), hello.attempt, link.wire.peer_pid()):
            self._complain(link)
            return
        link.task, link.attempt = hello.task, hello.attempt
        self._say(protocol.Connected(task=link.task, attempt=link.attempt))
        for message in (*((self._gate,) if self._gate else ()), *self._untold.pop(link.task, ())):
            link.wire.send(protocol.encode(message))
