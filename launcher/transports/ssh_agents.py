"""Agents of other hosts: the transport that reaches them by SSH.

The host needs sshd and a Python; the agent travels over the connection (``bundle``). What passes goes through the
standard streams of one remote program. Nothing of a run is on a command line: what starts the program is always the
same few words, and everything else follows over its standard input.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.agent.bootstrap import EXIT_NO_ROOM, WANTED_MARKER
from launcher.agent.folder import runtime_folder
from launcher.agent.options import Options
from launcher.agent.relay import EXIT_GONE
from launcher.model import PlannedHost
from launcher.protocol import READY_MARKER
from launcher.transports import Pipe, TransportError, skip_to
from launcher.transports.bundle import agent_bundle
from launcher.transports.ssh import Dialer, Line, Program

_BOOTSTRAP_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 5.0
_PYTHONS = ("python3", "python3.13", "python3.12", "python3.11", "python3.10")
_TOO_OLD = 64
_NO_PYTHON = 65
# Any login shell can execute it: nothing inside the quotes is a quote, a backslash, a newline or an exclamation mark.
_LOOK_FOR_PYTHON = (
    'for p in "$@";do case "$p" in "~/"*)p="$HOME/${p#??}";;esac;command -v "$p">/dev/null 2>&1||continue;'
    '"$p" -I -S -c "$0";c=$?;'
    f'[ $c = {_TOO_OLD} ]||exit $c;old="$old $p";done;echo "$old">&2;exit {_NO_PYTHON}'
)
_READ_PROGRAM = (
    f'import sys;sys.version_info<(3,10)and sys.exit({_TOO_OLD});exec(eval(open(0,"rb",0,closefd=False).readline()))'
)


@dataclass(slots=True)
class _Far:
    """What is open to one host. ``met``: its agent has answered before."""

    line: Line | None = None
    relay: Program | None = None
    met: bool = False


class SshTransport:
    """One connection for each host, however many tasks it has. ``pythons``: interpreters to try on hosts besides those
    of their PATH; ``ps_wait_s``: see ``agent.options``."""

    can_fall_silent = True

    def __init__(
        self, *, run: str, lease_s: float, grace_s: float, ps_wait_s: float = 0.0, pythons: Sequence[str] = ()
    ) -> None:
        self._options = Options(
            run=run, folder="", lease_s=lease_s, grace_s=grace_s, ps_wait_s=ps_wait_s, silence_s=lease_s / 3
        )
        self._again_s = max(2.0, lease_s / 6)  # several tries within the lease
        words = ("sh", "-c", _LOOK_FOR_PYTHON, _READ_PROGRAM, *dict.fromkeys((*_PYTHONS, *pythons)))
        self._command = f"exec {shlex.join(words)}"
        self._dialer = Dialer()
        self._far: dict[str, _Far] = {}

    async def open(self, host: PlannedHost) -> Pipe:
        """A pipe to the run's agent, over a new connection: an old one may be dead. Raises TransportError."""
        far = self._far.setdefault(host.name, _Far())
        await self._hang_up(far)
        try:
            far.line = await (
                self._dialer.dial(host, tries=1, limit_s=self._again_s) if far.met else self._dialer.dial(host)
            )
            far.relay = await self._run(host, far.line, "relay", start=not far.met)
        except TransportError as error:
            await self._hang_up(far)
            raise TransportError(str(error), advice=error.advice, final=error.final or not far.met) from error
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

    # --- programs of ours on the host

    async def _run(self, host: PlannedHost, line: Line, program: str, *, start: bool) -> Program:
        """Starts one of the agent's programs, sending the agent if the host has it not."""
        started = await line.start(self._command)
        bundle = agent_bundle()
        folder = runtime_folder(f"{self._options.run}@{host.name}", uid="{uid}")
        options = self._options._replace(folder=folder, start=start)._asdict()
        request = {"digest": bundle.digest, "size": len(bundle.data), "program": program, "options": options}
        started.writer.write(f"{bundle.bootstrap!r}\n{json.dumps(request)}\n".encode())
        try:
            await asyncio.wait_for(self._await_program(started, bundle.data, program), _BOOTSTRAP_TIMEOUT_S)
        except TransportError:
            started.writer.close()
            raise
        except asyncio.TimeoutError as error:
            started.writer.close()
            what = (
                f"its shell has not started the agent within {_BOOTSTRAP_TIMEOUT_S:g} s; what do its start-up files do?"
            )
            raise TransportError(what) from error
        return started

    async def _await_program(self, started: Program, data: bytes, program: str) -> None:
        markers = (WANTED_MARKER, *((READY_MARKER,) if program == "relay" else ()))
        try:
            found = await skip_to(started.reader, *markers)
            if found == WANTED_MARKER:
                started.writer.write(data)
                await started.writer.drain()
                if program == "relay":
                    await skip_to(started.reader, READY_MARKER)
        except (TransportError, ConnectionError) as error:
            if program == "relay":
                raise await _explain(started, str(error)) from error


async def _explain(started: Program, trouble: str) -> TransportError:
    """Why the agent did not come up."""
    code, said = await started.ended(_CLOSE_TIMEOUT_S)
    last = said.splitlines()[-1] if said else ""
    if code == _NO_PYTHON:
        old = f"; too old: {', '.join(said.split())}" if said.split() else ""
        return TransportError(
            f"it has no Python 3.10 or newer{old}", advice="install one, or say where it is (python.path)", final=True
        )
    if code == EXIT_NO_ROOM:
        return TransportError(last, advice="make room there, or let this user write there", final=True)
    return TransportError(f"{trouble}: {last}" if last else trouble, final=code == EXIT_GONE)
