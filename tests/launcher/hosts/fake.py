"""A reach whose programs are functions of the test."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable, Mapping

from launcher.agent.host.options import Options
from launcher.hosts.agents import Agents
from launcher.hosts.engine import Answers, Engine
from launcher.hosts.listed import Listed
from launcher.hosts.reach import RELAY, Pipe, Program
from launcher.plan.model import PlannedHost
from launcher.spec.engines import NoKeys
from launcher.spec.policy import Policy
from launcher.wire.protocol import MAX_LINE_BYTES

Serve = Callable[[PlannedHost, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class FakeReach:
    """Each relay is a call of ``serve(host, reader, writer)`` on the other end of its pipe. ``opened`` counts them by
    host; an exception in ``refuse`` is raised instead. Other programs end at once."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._tasks: set[asyncio.Task[None]] = set()
        self.opened: dict[str, int] = {}
        self.refuse: Exception | None = None

    async def ensure_agent(self, host: PlannedHost, options: Options, *, limit_s: float = math.inf) -> Program:
        return await self.start(host, RELAY, options._asdict())

    async def start(
        self, host: PlannedHost, program: str, options: Mapping[str, object], *, limit_s: float = math.inf
    ) -> Program:
        if self.refuse is not None:
            raise self.refuse
        self.opened[host.name] = self.opened.get(host.name, 0) + (program == RELAY)
        near, far = socket.socketpair()
        far_pipe = await asyncio.open_connection(sock=far, limit=MAX_LINE_BYTES)
        task = asyncio.ensure_future(self._run(host, program, far_pipe))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return _FakeProgram(await asyncio.open_connection(sock=near, limit=MAX_LINE_BYTES), task)

    async def _run(self, host: PlannedHost, program: str, pipe: Pipe) -> None:
        try:
            if program == RELAY:
                await self._serve(host, *pipe)
        finally:
            pipe[1].close()

    async def close(self, host: PlannedHost) -> None:
        for task in self._tasks:
            task.cancel()


class _FakeProgram:
    def __init__(self, pipe: Pipe, task: asyncio.Task[None]) -> None:
        self.reader, self.writer = pipe
        self._task = task

    async def ended(self, limit_s: float) -> tuple[int | None, str]:
        await asyncio.wait({self._task}, timeout=limit_s)
        return (0 if self._task.done() else None), ""

    async def room(self, most: int) -> int | None:
        return None

    async def close(self) -> None:
        self.writer.close()


def fake_agents(reach: FakeReach, run: str = "run") -> Agents:
    """The agents of a run on one host, by that reach."""
    return Agents(lambda host: reach, run, Policy(lease_s=3.0), alone=True)


def listed(answers: Answers) -> Engine:
    """The engine of hosts that are there."""
    return Listed(NoKeys(), answers)
