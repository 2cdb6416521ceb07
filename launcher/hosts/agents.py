"""The agents of a run, one on each host: a pipe to each, the same agent when it is opened again, and nothing left there
in the end. How a program runs on a host is its reach's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import dataclass

from launcher.agent.host.options import Options
from launcher.hosts.reach import SWEEP, Pipe, Program, ReachError, ReachOf
from launcher.plan.model import PlannedHost
from launcher.spec.policy import Policy

_CLOSE_TIMEOUT_S = 5.0


@dataclass(slots=True)
class _Known:
    """What is known of one host's agent. ``met``: it has answered before."""

    met: bool
    relay: Program | None = None


class Agents:
    """Of one run. ``alone``: it has one host only; ``met``: it has had agents, and gets no others."""

    def __init__(self, reach_of: ReachOf, run: str, policy: Policy, *, alone: bool, met: bool = False) -> None:
        self._reach_of = reach_of
        self._options = Options(
            run=run,
            name="",
            lease_s=policy.lease_s,
            grace_s=policy.grace_s,
            ps_wait_s=0.0 if alone else policy.grace_s,
            kept_mib=policy.log_limit_mib,
        )
        self._again_s = max(2.0, policy.lease_s / 6)  # several tries within the lease
        self._met = met
        self._known: dict[str, _Known] = {}

    async def open(self, host: PlannedHost) -> Pipe:
        """A pipe to the agent, by a new relay: the way of an old one may be dead. Raises ReachError, which is final if
        the agent has never answered, or OSError."""
        known = self._known.setdefault(host.name, _Known(self._met))
        await self._hang_up(known)
        options = self._options_of(host, start=not known.met)
        limit_s = self._again_s if known.met else math.inf
        try:
            known.relay = await self._reach_of(host).ensure_agent(host, options, limit_s=limit_s)
        except ReachError as error:
            final = error.final or not known.met
            raise ReachError(str(error), advice=error.advice, final=final, gone=error.gone) from error
        known.met = True
        return known.relay.reader, known.relay.writer

    async def close(self, host: PlannedHost) -> None:
        """The run is over there: lets go of the host. If its agent has not said goodbye, what it has left is swept."""
        known = self._known.get(host.name)
        if known is None:
            return
        try:
            if known.met and await self._ended_well(known):
                known.met = False  # nothing is left there
            elif known.met:
                await self._hang_up(known)
                await asyncio.wait_for(self._sweep(host), 2 * _CLOSE_TIMEOUT_S)
        except (ReachError, OSError, asyncio.TimeoutError):
            pass  # out of reach: the lease ends it there
        finally:
            await self.let_go(host)

    async def let_go(self, host: PlannedHost) -> None:
        """Lets go of the host, and ends nothing there."""
        if known := self._known.get(host.name):
            await self._hang_up(known)
            with contextlib.suppress(ReachError):
                await self._reach_of(host).close(host)

    async def _hang_up(self, known: _Known) -> None:
        relay, known.relay = known.relay, None
        if relay is not None:
            await relay.close()

    async def _ended_well(self, known: _Known) -> bool:
        if known.relay is None:
            return False
        known.relay.writer.close()
        return (await known.relay.ended(_CLOSE_TIMEOUT_S))[0] == 0

    async def _sweep(self, host: PlannedHost) -> None:
        options = self._options_of(host, start=False)._asdict()
        sweeper = await self._reach_of(host).start(host, SWEEP, options, limit_s=_CLOSE_TIMEOUT_S)
        try:
            await sweeper.ended(_CLOSE_TIMEOUT_S)
        finally:
            await sweeper.close()

    def _options_of(self, host: PlannedHost, *, start: bool) -> Options:
        silence_s = self._options.lease_s / 3 if host.traits.can_fall_silent else 0.0
        return self._options._replace(name=f"{self._options.run}@{host.name}", silence_s=silence_s, start=start)
