"""The supervisor's end of the line to one host's agent.

Keeps the line up: a lost one is opened again until the lease has passed. Nothing is lost with it: events are numbered,
commands are counted, output is asked for from the byte that is still missing.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from launcher.hosts.transport import Transport, TransportError
from launcher.plan.model import PlannedHost
from launcher.wire import protocol
from launcher.wire.roles import TaskId

_ACK_AFTER_S = 0.2
_RETRY_S = 0.2
_LONGEST_RETRY_S = 2.0
_STREAM_LIMIT_BYTES = protocol.MAX_LINE_BYTES


class OutputFiles:
    """The logs of a run's tasks, each the output of all its attempts, one after the other.

    An agent ships one attempt of a task after the other, so that appending keeps their order.
    """

    def __init__(self, log_path: Callable[[TaskId], Path]) -> None:
        self._log_path = log_path
        self._fds: dict[str, int] = {}
        self.received: dict[str, int] = {}

    def write(self, output: protocol.Output, data: bytes) -> None:
        """Appends what is new of ``data``; what was already had (the line was lost in between) is passed over."""
        task = TaskId.parse(output.task)
        key = f"{task.slug}.{output.attempt}"
        have = self.received.get(key, 0)
        fresh = data[max(0, have - output.offset) :]
        if output.offset > have:
            raise protocol.ProtocolError(f"output of {key} jumps from byte {have} to {output.offset}")
        if not fresh:
            return
        if output.task not in self._fds:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._fds[output.task] = os.open(self._log_path(task), flags, 0o600)
        view = memoryview(fresh)
        while view:
            view = view[os.write(self._fds[output.task], view) :]
        self.received[key] = have + len(fresh)

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()


class AgentLink:
    """One host's agent. ``run`` keeps the line; what arrives goes to the callbacks, in order.

    ``on_welcome(host, welcome, renewed)``; ``on_event(host, body)``; ``on_lost(host, message, advice)`` when the
    agent cannot be had within ``patience_s``. Where a line may be cut unnoticed, a third of that without a word ends
    it. ``heard_at``: when it was last heard; ``down_at``: when a line to it was last lost (monotonic seconds).
    """

    def __init__(
        self,
        host: PlannedHost,
        transport: Transport,
        run: str,
        output: OutputFiles,
        *,
        patience_s: float,
    ) -> None:
        self.host = host
        self._transport = transport
        self._run = run
        self._output = output
        self._patience_s = patience_s
        self._writer: asyncio.StreamWriter | None = None
        self._welcomed = False
        self._finishing = False
        self._incarnation = ""
        self._acked = 0
        self._ack_due = False
        self._least_lag_s = math.inf
        self._sent = 0
        self._unconfirmed: deque[protocol.Message] = deque()
        self.heard_at = 0.0
        self.down_at = 0.0
        self.on_welcome: Callable[[PlannedHost, protocol.Welcome, bool], None] = lambda *_: None
        self.on_event: Callable[[PlannedHost, protocol.Message], None] = lambda *_: None
        self.on_lost: Callable[[PlannedHost, str, str], None] = lambda *_: None

    def send(self, message: protocol.Message) -> None:
        """Says ``message`` now, or when the line is up again."""
        self._sent += 1
        self._unconfirmed.append(message)
        if self._writer is not None and self._welcomed:
            self._writer.write(protocol.encode(message))

    def finish(self) -> None:
        """Ends the agent; ``run`` returns when it has gone."""
        self._finishing = True
        self.send(protocol.Finish())

    async def run(self) -> None:
        """Holds the line until cancelled, or until the agent cannot be had any more."""
        try:
            await self._hold()
        except Exception as error:  # noqa: BLE001  the top of a task: nobody would hear of it, and the run would wait
            sys.excepthook(*sys.exc_info())
            message = f"tflaunch itself has failed here: {type(error).__name__}: {error}".splitlines()[0]
            self.on_lost(self.host, message, "supervisor.log in the run's folder says where; please report it")

    async def _hold(self) -> None:
        clock = asyncio.get_running_loop().time
        deadline, retry_s = clock() + self._patience_s, _RETRY_S
        while True:
            advice = ""
            try:
                reader, self._writer = await self._transport.open(self.host)
                try:
                    await self._talk(reader)
                finally:
                    self.down_at = clock()
                    deadline, retry_s = self.down_at + self._patience_s, _RETRY_S
                message = "the link was closed"
            except (OSError, TransportError, asyncio.IncompleteReadError, protocol.ProtocolError) as error:
                message = str(error)
                if isinstance(error, TransportError):
                    advice, deadline = error.advice, 0.0 if error.final else deadline
            finally:
                self._hang_up()
            if self._finishing:
                return
            if clock() >= deadline:
                self.on_lost(self.host, message, advice)
                return
            await asyncio.sleep(retry_s)
            retry_s = min(_LONGEST_RETRY_S, 2 * retry_s)

    def _hang_up(self) -> None:
        self._welcomed = False
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _talk(self, reader: asyncio.StreamReader) -> None:
        keeping = asyncio.create_task(self._keep_alive()) if self._transport.can_fall_silent else None
        try:
            await self._listen(reader)
        finally:
            if keeping is not None:
                keeping.cancel()

    async def _keep_alive(self) -> None:
        """Says that we live, and hangs up when the agent has not said so for too long."""
        clock = asyncio.get_running_loop().time
        self.heard_at = clock()
        while self._writer is not None:
            if clock() - self.heard_at > self._patience_s / 3:
                self._writer.transport.abort()
                return
            self._writer.write(protocol.encode(protocol.Ping()))
            await asyncio.sleep(self._patience_s / 12)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        assert self._writer is not None
        hello = protocol.Hello(
            run=self._run, incarnation=self._incarnation, acked=self._acked, output=dict(self._output.received)
        )
        self._writer.write(protocol.encode(hello))
        while line := await reader.readline():
            message = protocol.decode(line)
            self.heard_at = asyncio.get_running_loop().time()
            if isinstance(message, protocol.Output):
                self._output.write(message, await reader.readexactly(message.size))
                self._ack_soon()
            elif isinstance(message, protocol.Event):
                self._event(message)
            elif isinstance(message, protocol.Welcome):
                self._welcome(message)

    def _welcome(self, welcome: protocol.Welcome) -> None:
        if welcome.version != protocol.VERSION:
            raise protocol.ProtocolError(f"its agent speaks version {welcome.version}, not {protocol.VERSION}")
        renewed = bool(self._incarnation) and welcome.incarnation != self._incarnation
        first = not self._incarnation
        self._incarnation = welcome.incarnation
        if renewed:
            self._acked = 0
            self._sent = 0
            self._unconfirmed.clear()
        confirmed = welcome.received - (self._sent - len(self._unconfirmed))
        for _ in range(min(max(0, confirmed), len(self._unconfirmed))):
            self._unconfirmed.popleft()
        self._welcomed = True
        if self._writer is not None:
            for message in self._unconfirmed:
                self._writer.write(protocol.encode(message))
        if first or renewed:
            self.on_welcome(self.host, welcome, renewed)

    def _event(self, event: protocol.Event) -> None:
        if event.incarnation != self._incarnation or event.seq <= self._acked:
            return
        self._acked = event.seq
        late_s = self._late_s(event.at)
        body = event.body
        if isinstance(body, protocol.Exited):
            body = protocol.changed(body, since_s=body.since_s + late_s)
        self.on_event(self.host, body)
        self._ack_soon()

    def _late_s(self, at: float) -> float:
        """How much longer than the quickest event this one was on its way; two hosts' clocks may differ by anything."""
        lag_s = time.time() - at
        self._least_lag_s = min(self._least_lag_s, lag_s)
        return lag_s - self._least_lag_s

    def _ack_soon(self) -> None:
        if not self._ack_due:
            self._ack_due = True
            asyncio.get_running_loop().call_later(_ACK_AFTER_S, self._ack)

    def _ack(self) -> None:
        self._ack_due = False
        if self._writer is not None:
            ack = protocol.Ack(seq=self._acked, output=dict(self._output.received))
            self._writer.write(protocol.encode(ack))
