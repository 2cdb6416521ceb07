"""Byte pipes to agents. A transport has one verb, ``open``, and knows nothing of what passes through."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

from launcher.plan.model import PlannedHost
from launcher.wire.protocol import MAX_LINE_BYTES, READY_MARKER

Pipe = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_CHATTER_BYTES = 1024 * 1024


class TransportError(Exception):
    """No pipe could be opened; the text says why, ``advice`` what to do. ``final``: trying again will not help;
    ``gone``: for there is no agent any more."""

    def __init__(self, message: str, *, advice: str = "", final: bool = False, gone: bool = False) -> None:
        super().__init__(message)
        self.advice = advice
        self.final = final or gone
        self.gone = gone


class Transport(Protocol):
    """A way to hosts. ``can_fall_silent``: a pipe may be cut without its end being seen, so that silence must tell."""

    can_fall_silent: bool

    async def open(self, host: PlannedHost) -> Pipe:
        """A pipe to the run's agent on that host, which is started if there is none; raises TransportError.

        Opened again, it leads to the same agent. The pipe is closed by closing the writer.
        """

    async def close(self, host: PlannedHost) -> None:
        """The run is over: lets go of what was opened to that host, and leaves nothing of the run there."""

    async def let_go(self, host: PlannedHost) -> None:
        """Lets go of what was opened to that host, and ends nothing there."""


class FakeTransport:
    """A transport whose agents are functions: each ``open`` starts ``serve(host, reader, writer)`` on the other end.

    For tests. ``opened`` counts the pipes by host; an exception of ``refuse`` is raised instead of opening.
    """

    can_fall_silent = False

    def __init__(self, serve: Callable[[PlannedHost, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]):
        self._serve = serve
        self._tasks: set[asyncio.Task[None]] = set()
        self.opened: dict[str, int] = {}
        self.refuse: TransportError | None = None

    async def open(self, host: PlannedHost) -> Pipe:
        """A pipe to a fresh call of ``serve``."""
        if self.refuse is not None:
            raise self.refuse
        self.opened[host.name] = self.opened.get(host.name, 0) + 1
        near, far = socket.socketpair()
        far_pipe = await asyncio.open_connection(sock=far, limit=MAX_LINE_BYTES)
        task = asyncio.ensure_future(self._run(host, far_pipe))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.open_connection(sock=near, limit=MAX_LINE_BYTES)

    async def _run(self, host: PlannedHost, pipe: Pipe) -> None:
        try:
            await self._serve(host, *pipe)
        finally:
            pipe[1].close()

    async def let_go(self, host: PlannedHost) -> None:
        """Ends every ``serve`` that still runs."""
        await self.close(host)

    async def close(self, host: PlannedHost) -> None:
        """Ends every ``serve`` that still runs."""
        for task in self._tasks:
            task.cancel()


async def skip_to_agent(reader: asyncio.StreamReader) -> None:
    """Reads up to the line that a relay begins with; raises TransportError if none comes."""
    await skip_to(reader, READY_MARKER)


async def skip_to(reader: asyncio.StreamReader, *markers: bytes) -> bytes:
    """Reads up to the first line that ends with one of ``markers`` and gives that one; raises TransportError if none
    comes. What the start-up files of a shell print comes before it."""
    skipped = 0
    line = b""
    while skipped < _CHATTER_BYTES:
        try:
            part = await reader.readline()
        except ValueError as error:
            raise TransportError("the agent did not come up; what came instead is a line without end") from error
        if not part:
            break
        line = part
        for marker in markers:
            if line.endswith(marker):
                return marker
        skipped += len(part)
    said = f"; it said: {line.decode('utf-8', 'replace').strip()}" if line else ""
    raise TransportError(f"the agent did not come up{said}")
