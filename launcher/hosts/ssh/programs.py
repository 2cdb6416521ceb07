"""Programs of ours on hosts that are reached by SSH.

The host needs sshd and a Python; what is ours travels over the connection (``bundle``). Nothing of a run is on a
command line: what starts a program is always the same few words, and everything else follows over its standard input.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Mapping, Sequence

from launcher.agent.bootstrap import EXIT_NO_ROOM, WANTED_MARKER
from launcher.agent.host.relay import EXIT_GONE
from launcher.hosts.bundle import agent_bundle
from launcher.hosts.ssh.connections import Line, Program
from launcher.hosts.transport import TransportError, skip_to
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
    f'import sys;sys.version_info<(3,10)and sys.exit({_TOO_OLD});exec(eval(open(0,"rb",0,closefd=False).readline()))'
)


class SshPrograms:
    """Starts programs of ours on hosts. ``pythons``: interpreters to try there besides those of the PATH."""

    def __init__(self, pythons: Sequence[str] = ()) -> None:
        words = ("sh", "-c", _LOOK_FOR_PYTHON, _READ_PROGRAM, *dict.fromkeys((*_PYTHONS, *pythons)))
        self._command = f"exec {shlex.join(words)}"

    async def start(
        self,
        line: Line,
        program: str,
        options: Mapping[str, object],
        *,
        says_ready: bool = True,
        limit_s: float = _BOOTSTRAP_TIMEOUT_S,
    ) -> Program:
        """Starts one of the programs of ``launcher.agent.__main__``, sending them if the host has them not.

        ``says_ready``: whether the program begins with READY_MARKER,
        which is then waited for. Raises TransportError.
        """
        started = await line.start(self._command)
        bundle = agent_bundle()
        request = {"digest": bundle.digest, "size": len(bundle.data), "program": program, "options": options}
        started.writer.write(f"{bundle.bootstrap!r}\n{json.dumps(request)}\n".encode())
        try:
            await asyncio.wait_for(_await_program(started, bundle.data, says_ready), limit_s)
        except TransportError:
            started.writer.close()
            raise
        except asyncio.TimeoutError as error:
            started.writer.close()
            what = f"its shell has not started the agent within {limit_s:g} s; what do its start-up files do?"
            raise TransportError(what) from error
        return started


async def _await_program(started: Program, data: bytes, says_ready: bool) -> None:
    markers = (WANTED_MARKER, *((READY_MARKER,) if says_ready else ()))
    try:
        found = await skip_to(started.reader, *markers)
        if found == WANTED_MARKER:
            started.writer.write(data)
            await started.writer.drain()
            if says_ready:
                await skip_to(started.reader, READY_MARKER)
    except (TransportError, ConnectionError) as error:
        if says_ready:
            raise await _explain(started, str(error)) from error


async def _explain(started: Program, trouble: str) -> TransportError:
    """Why the agent did not come up."""
    code, said = await started.ended(_END_TIMEOUT_S)
    last = said.splitlines()[-1] if said else ""
    if code == _NO_PYTHON:
        old = f"; too old: {', '.join(said.split())}" if said.split() else ""
        return TransportError(
            f"it has no Python 3.10 or newer{old}", advice="install one, or say where it is (python.path)", final=True
        )
    if code == EXIT_NO_ROOM:
        return TransportError(last, advice="make room there, or let this user write there", final=True)
    return TransportError(f"{trouble}: {last}" if last else trouble, gone=code == EXIT_GONE)
