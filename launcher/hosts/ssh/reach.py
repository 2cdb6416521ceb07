"""Programs of ours on hosts that are reached by SSH.

The host needs sshd and a Python; what is ours travels over the connection (``bundle``). Nothing of a run is on a
command line: what starts a program is always the same few words, and everything else follows over its standard input.
"""

from __future__ import annotations

import asyncio
import math
import shlex
from collections.abc import Mapping, Sequence

from launcher.agent.bootstrap import EXIT_NO_ROOM, WANTED_MARKER
from launcher.agent.host.options import Options
from launcher.agent.host.relay import EXIT_GONE
from launcher.hosts.bundle import agent_bundle
from launcher.hosts.reach import RELAY, Program, ReachError, skip_to, skip_to_ready
from launcher.hosts.ssh.connections import TRIES, Dialer, SshProgram
from launcher.plan.model import PlannedHost
from launcher.wire.protocol import READY_MARKER

_BOOTSTRAP_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 5.0
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
    f'import os,sys;sys.version_info<(3,10)and sys.exit({_TOO_OLD});b=b"";'
    'exec("while len(b)<{0} and (d:=os.read(0,{0}-len(b))):b+=d");exec(b)'
)


class SshReach:
    """One connection for each program. ``pythons``: interpreters to try on hosts besides those of their PATH."""

    def __init__(self, pythons: Sequence[str] = ()) -> None:
        program = _READ_PROGRAM.format(len(agent_bundle().bootstrap.encode()))
        words = ("sh", "-c", _LOOK_FOR_PYTHON, program, *dict.fromkeys((*_PYTHONS, *pythons)))
        self._command = f"exec {shlex.join(words)}"
        self._dialer = Dialer()
        self._open: dict[str, set[SshProgram]] = {}

    async def ensure_agent(self, host: PlannedHost, options: Options, *, limit_s: float = math.inf) -> Program:
        """A relay, which forks the keeper if there is none; raises ReachError."""
        return await self.start(host, RELAY, options._asdict(), limit_s=limit_s)

    async def start(
        self, host: PlannedHost, program: str, options: Mapping[str, object], *, limit_s: float = math.inf
    ) -> Program:
        """Connects, and starts it, sending our programs if the host has them not. Raises ReachError. ``limit_s``: for
        the connecting, which is tried once then."""
        line = await self._dialer.dial(host, tries=TRIES if math.isinf(limit_s) else 1, limit_s=limit_s)
        among = self._open.setdefault(host.name, set())
        try:
            started = await line.start(self._command, among)
            await _begin(started, program, options)
        except (ReachError, asyncio.CancelledError):
            await line.close()
            raise
        among.add(started)
        return started

    async def close(self, host: PlannedHost) -> None:
        """Closes the connections that are left."""
        for program in [*self._open.get(host.name, ())]:
            await program.close()


async def _begin(started: SshProgram, program: str, options: Mapping[str, object]) -> None:
    bundle = agent_bundle()
    started.writer.write(bundle.beginning(program, options))
    try:
        await asyncio.wait_for(_await_program(started, bundle.data), _BOOTSTRAP_TIMEOUT_S)
    except asyncio.TimeoutError as error:
        what = f"its shell has not started the agent within {_BOOTSTRAP_TIMEOUT_S:g} s; what do its start-up files do?"
        raise ReachError(what) from error


async def _await_program(started: SshProgram, data: bytes) -> None:
    try:
        if await skip_to(started.reader, WANTED_MARKER, READY_MARKER) == WANTED_MARKER:
            started.writer.write(data)
            await started.writer.drain()
            await skip_to_ready(started.reader)
    except (ReachError, ConnectionError) as error:
        raise await _explain(started, str(error)) from error


async def _explain(started: SshProgram, trouble: str) -> ReachError:
    """Why the agent did not come up."""
    code, said = await started.ended(_END_TIMEOUT_S)
    last = said.splitlines()[-1] if said else ""
    if code == _NO_PYTHON:
        old = f"; too old: {', '.join(said.split())}" if said.split() else ""
        return ReachError(
            f"it has no Python 3.10 or newer{old}", advice="install one, or say where it is (python.path)", final=True
        )
    if code == EXIT_NO_ROOM:
        return ReachError(last, advice="make room there, or let this user write there", final=True)
    return ReachError(f"{trouble}: {last}" if last else trouble, gone=code == EXIT_GONE)
