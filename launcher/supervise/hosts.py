"""A run's hosts: asks the engine for them, holds a link to each that was granted, and lets go of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from launcher import lifecycle
from launcher.hosts.agents import Agents
from launcher.hosts.engine import Answers, Engine, Needs
from launcher.plan.model import PlannedHost
from launcher.supervise.links import AgentLink

_FINISH_PATIENCE_S = 10.0


class Hosts:
    """``links``: to those that were granted and not left. ``put`` takes what the engine answers; ``link_to`` makes the
    link to a host."""

    def __init__(
        self,
        engine_for: Callable[[Answers], Engine],
        agents: Agents,
        link_to: Callable[[PlannedHost], AgentLink],
        put: Callable[[lifecycle.Happening], None],
    ) -> None:
        self.links: dict[str, AgentLink] = {}
        self._engine = engine_for(self)
        self._agents = agents
        self._link_to = link_to
        self._put = put
        self._granted: dict[str, PlannedHost] = {}
        self._lines: dict[str, asyncio.Task[None]] = {}
        self._leaving: list[asyncio.Task[None]] = []

    # --- what the engine answers

    def granted(self, host: PlannedHost) -> None:
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
        self._engine.ask(Needs(host=action.host, roles=action.roles, gpus=action.host.gpus))

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
        await self._engine.give_back(name)

    async def finish(self, names: frozenset[str]) -> None:
        """Ends every agent, waits until it has gone, and sees that nothing is left on these hosts; then gives all of
        them back."""
        for link in self.links.values():
            link.finish()
        if self._lines:
            _, late = await asyncio.wait(self._lines.values(), timeout=_FINISH_PATIENCE_S)
            for line in late:
                line.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        left = [host for name, host in self._granted.items() if name in names]
        try:
            await asyncio.gather(*(self._agents.close(host) for host in left))
        finally:
            await asyncio.wait_for(self._engine.close(), _FINISH_PATIENCE_S)
