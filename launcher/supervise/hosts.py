"""A run's hosts: asks the engine for them, holds a link to each that was granted, and lets go of them."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from launcher import lifecycle
from launcher.hosts.agents import Agents
from launcher.hosts.engine import Answers, Engine, Needs
from launcher.plan.model import PlannedHost
from launcher.supervise.links import AgentLink

_ASK_PATIENCE_S = 10.0
_FINISH_PATIENCE_S = 10.0
_CLOSE_PATIENCE_S = 30.0


class Hosts:
    """``links``: to those that were granted and not left. ``put`` takes what the engine answers; ``link_to`` makes the
    link to a host; ``warn`` hears what the engine, which may be anybody's code, could not do in the end."""

    def __init__(
        self,
        engine_for: Callable[[Answers], Engine],
        agents: Agents,
        link_to: Callable[[PlannedHost], AgentLink],
        put: Callable[[lifecycle.Happening], None],
        warn: Callable[[str], None],
    ) -> None:
        self.links: dict[str, AgentLink] = {}
        self._engine_for = engine_for
        self._engine: Engine | None = None
        self._hopeless = ""  # why it is not asked any more
        self._warn = warn
        self._agents = agents
        self._link_to = link_to
        self._put = put
        self._granted: dict[str, PlannedHost] = {}
        self._lines: dict[str, asyncio.Task[None]] = {}
        self._leaving: list[asyncio.Task[None]] = []

    # --- what the engine answers

    def granted(self, host: PlannedHost) -> None:
        if not isinstance(host, PlannedHost):
            raise TypeError(f"an engine grants a PlannedHost, and this is {host!r}")
        self._put(lifecycle.HostGranted(now=time.monotonic(), host=host))

    def refused(self, name: str, message: str, advice: str = "") -> None:
        self._put(lifecycle.HostRefused(now=time.monotonic(), host=name, message=message, advice=advice))

    def lost(self, name: str, message: str, advice: str = "") -> None:
        link, now = self.links.get(name), time.monotonic()
        silent_s = now - link.heard_at if link is not None and link.heard_at else 0.0
        self._put(lifecycle.HostLost(now=now, host=name, message=message, advice=advice, silent_s=silent_s, gone=True))

    # --- what is to be done

    def ask(self, action: lifecycle.AskHost) -> None:
        """Asks the engine for a host."""
        if self._hopeless:
            self.refused(action.host.name, self._hopeless)
            return
        try:
            with _not_blocked():
                self._engine = self._engine or self._engine_for(self)
                self._engine.ask(Needs(host=action.host, roles=action.roles, gpus=action.host.gpus, avoid=action.avoid))
        except Exception as error:  # noqa: BLE001 - it is anybody's code
            message = f"its engine could not be asked: {_told(error)}"
            self._hopeless = message if isinstance(error, BlockedError) else ""
            self.refused(action.host.name, message)

    def open(self, host: PlannedHost) -> None:
        """Opens the link to a host."""
        self._granted[host.name] = host
        link = self.links[host.name] = self._link_to(host)
        self._lines[host.name] = asyncio.create_task(link.run())

    def leave(self, name: str) -> None:
        """Hangs up, ends what can be reached there, and gives the host back."""
        self.links.pop(name, None)
        line = self._lines.pop(name, None)
        self._leaving.append(asyncio.create_task(self._leave(name, line)))

    async def _leave(self, name: str, line: asyncio.Task[None] | None) -> None:
        if line is not None:
            line.cancel()
            await asyncio.wait({line})
        if name in self._granted:
            await self._agents.close(self._granted[name])
        if self._engine is not None:
            await self._engine.give_back(name)

    async def finish(self, names: frozenset[str]) -> None:
        """Ends every agent, waits until it has gone, and sees that nothing is left on these hosts; then gives all of
        them back."""
        for link in self.links.values():
            link.finish()
        left = [host for name, host in self._granted.items() if name in names]
        await self._within(_FINISH_PATIENCE_S, "the link to a host", self._lines.values())
        await self._within(_CLOSE_PATIENCE_S, "a host that was left", self._leaving)
        await self._within(_CLOSE_PATIENCE_S, "a host", [self._agents.close(host) for host in left])
        if self._engine is not None:
            await self._within(_FINISH_PATIENCE_S, "the engine", [self._engine.close()])

    async def _within(self, limit_s: float, what: str, work: Iterable[Awaitable[None]]) -> None:
        """Waits for all of it, no longer than that: what does not even end when it is cancelled is left behind."""
        tasks = [asyncio.ensure_future(item) for item in work]
        done, late = await asyncio.wait(tasks, timeout=limit_s) if tasks else (set(), set())
        for task in late:
            task.cancel()
        if late:
            self._warn(f"{what} could not be closed within {limit_s:g} s")
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                self._warn(f"{what} could not be closed: {_told(error)}")


class BlockedError(Exception):
    """Code that must not block the loop does."""


@contextmanager
def _not_blocked() -> Iterator[None]:
    """Ends by a signal what blocks the loop's thread: an engine may rely on being asked there, and while it blocks
    nothing else is heard, Ctrl-C included."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise BlockedError(f"it has blocked for {_ASK_PATIENCE_S:g} s, and must not")

    before = signal.signal(signal.SIGALRM, interrupt)
    timer = signal.setitimer(signal.ITIMER_REAL, _ASK_PATIENCE_S, 1.0)  # again, where it catches every exception
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
