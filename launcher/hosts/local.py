"""The agent of this machine, by way of a relay process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from launcher.agent.host.options import Options
from launcher.agent.host.relay import EXIT_GONE
from launcher.agent.host.sweep import sweep
from launcher.hosts.transport import Pipe, TransportError, skip_to_agent
from launcher.plan.model import PlannedHost
from launcher.wire import protocol

_MAIN_FILE = Path(__file__).parent.parent / "agent" / "__main__.py"
_CLOSE_PATIENCE_S = 2.0


class LocalTransport:
    """Starts a keeper where there is none, and joins the run's agent. ``environ`` is what the agent, and with it every
    task, starts from; ``met``: the run has had an agent, and gets no other."""

    can_fall_silent = False

    def __init__(
        self,
        *,
        run: str,
        lease_s: float,
        grace_s: float,
        environ: Mapping[str, str],
        python: str = sys.executable,
        met: bool = False,
    ) -> None:
        self.options = Options(run=run, name="", lease_s=lease_s, grace_s=grace_s)
        self._environ = {**environ, protocol.RUN_VARIABLE: run}
        self._python = python
        self._met = met
        self._relays: list[asyncio.subprocess.Process] = []

    async def open(self, host: PlannedHost) -> Pipe:
        """A pipe to the run's agent; raises TransportError."""
        options = self.options._replace(name=self._name(host), start=not self._met)
        command = (self._python, "-I", "-S", str(_MAIN_FILE), "relay", options.to_json())
        relay = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environ,
            limit=protocol.MAX_LINE_BYTES,
            start_new_session=True,  # Ctrl-C in the terminal is for the supervisor alone
        )
        assert relay.stdin is not None and relay.stdout is not None and relay.stderr is not None
        try:
            await skip_to_agent(relay.stdout)
        except TransportError as error:
            said = (await relay.stderr.read()).decode("utf-8", "replace").strip()
            gone = await relay.wait() == EXIT_GONE
            raise TransportError(f"{error}: {said}" if said else str(error), gone=gone) from error
        self._met = True
        self._relays.append(relay)
        return relay.stdout, relay.stdin

    def _name(self, host: PlannedHost) -> str:
        return f"{self.options.run}@{host.name}"

    async def close(self, host: PlannedHost) -> None:
        """Ends the relays, and kills whatever of the run is left on this machine."""
        await self.let_go(host)
        if self._met:
            sweep(self.options.run, self._name(host))

    async def let_go(self, host: PlannedHost) -> None:
        """Ends the relays."""
        while self._relays:
            relay = self._relays.pop()
            if relay.stdin is not None:
                relay.stdin.close()
            try:
                await asyncio.wait_for(relay.wait(), _CLOSE_PATIENCE_S)
            except asyncio.TimeoutError:
                relay.kill()
                await relay.wait()
