"""Agents of other hosts: the transport that reaches them by SSH. What passes goes through the standard streams of one
remote program (``programs``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.agent.host.options import Options
from launcher.hosts.ssh.connections import Dialer, Line, Program
from launcher.hosts.ssh.programs import SshPrograms
from launcher.hosts.transport import Pipe, TransportError
from launcher.plan.model import PlannedHost

_CLOSE_TIMEOUT_S = 5.0


@dataclass(slots=True)
class _Far:
    """What is open to one host. ``met``: its agent has answered before."""

    line: Line | None = None
    relay: Program | None = None
    met: bool = False


class SshTransport:
    """One connection for each host, however many tasks it has. ``pythons``: interpreters to try on hosts besides those
    of their PATH; ``ps_wait_s``: see ``agent.options``; ``met``: the run has had agents, and gets no others."""

    can_fall_silent = True

    def __init__(
        self,
        *,
        run: str,
        lease_s: float,
        grace_s: float,
        ps_wait_s: float = 0.0,
        pythons: Sequence[str] = (),
        met: bool = False,
    ) -> None:
        self._options = Options(
            run=run, name="", lease_s=lease_s, grace_s=grace_s, ps_wait_s=ps_wait_s, silence_s=lease_s / 3
        )
        self._again_s = max(2.0, lease_s / 6)  # several tries within the lease
        self._programs = SshPrograms(pythons)
        self._dialer = Dialer()
        self._met = met
        self._far: dict[str, _Far] = {}

    async def open(self, host: PlannedHost) -> Pipe:
        """A pipe to the run's agent, over a new connection: an old one may be dead. Raises TransportError."""
        far = self._far.setdefault(host.name, _Far(met=self._met))
        await self._hang_up(far)
        try:
            far.line = await (
                self._dialer.dial(host, tries=1, limit_s=self._again_s) if far.met else self._dialer.dial(host)
            )
            far.relay = await self._run(host, far.line, "relay", start=not far.met)
        except TransportError as error:
            await self._hang_up(far)
            final = error.final or not far.met
            raise TransportError(str(error), advice=error.advice, final=final, gone=error.gone) from error
        far.met = True
        return far.relay.reader, far.relay.writer

    async def close(self, host: PlannedHost) -> None:
        """Closes the connection. If the run's agent has not said goodbye, what it has left is swept before."""
        far = self._far.get(host.name, _Far())
        try:
            if far.met and not await self._ended_well(far):
                await asyncio.wait_for(self._sweep(host, far), 2 * _CLOSE_TIMEOUT_S)
        except (TransportError, asyncio.TimeoutError):
            pass  # out of reach: the lease ends it there
        finally:
            await self._hang_up(far)

    async def let_go(self, host: PlannedHost) -> None:
        """Closes the connection."""
        await self._hang_up(self._far.get(host.name, _Far()))

    async def _hang_up(self, far: _Far) -> None:
        line, far.line, far.relay = far.line, None, None
        if line is not None:
            await line.close()

    async def _ended_well(self, far: _Far) -> bool:
        if far.relay is None:
            return False
        far.relay.writer.close()
        return (await far.relay.ended(_CLOSE_TIMEOUT_S))[0] == 0

    async def _sweep(self, host: PlannedHost, far: _Far) -> None:
        await self._hang_up(far)
        far.line = await self._dialer.dial(host, tries=1, limit_s=_CLOSE_TIMEOUT_S)
        sweeper = await self._run(host, far.line, "sweep", start=False)
        await sweeper.ended(_CLOSE_TIMEOUT_S)

    async def _run(self, host: PlannedHost, line: Line, program: str, *, start: bool) -> Program:
        options = self._options._replace(name=f"{self._options.run}@{host.name}", start=start)._asdict()
        return await self._programs.start(line, program, options, says_ready=program == "relay")
