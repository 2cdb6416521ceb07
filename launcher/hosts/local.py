"""Programs on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path

from launcher.agent.host.options import Options
from launcher.agent.host.relay import EXIT_GONE
from launcher.hosts.reach import RELAY, Program, ReachError, skip_to_ready
from launcher.plan.model import PlannedHost
from launcher.wire import protocol

_MAIN_FILE = Path(__file__).parents[1] / "agent" / "__main__.py"
_CLOSE_PATIENCE_S = 3.0
_MOST_SAID_BYTES = 65536


class LocalReach:
    """Runs programs as processes of ours. ``environ`` is what they, and with an agent every task, start from."""

    def __init__(self, environ: Mapping[str, str], python: str = sys.executable) -> None:
        self._environ = dict(environ)
        self._python = python
        self._open: dict[str, set[_LocalProgram]] = {}

    async def ensure_agent(self, host: PlannedHost, options: Options, *, limit_s: float = math.inf) -> Program:
        """A relay, which forks the keeper if there is none; raises ReachError."""
        return await self.start(host, RELAY, options._asdict(), limit_s=limit_s)

    async def start(
        self, host: PlannedHost, program: str, options: Mapping[str, object], *, limit_s: float = math.inf
    ) -> Program:
        """Starts it at once. What belongs to a run is marked as such. Raises ReachError, OSError."""
        mark = {protocol.RUN_VARIABLE: str(options["run"])} if "run" in options else {}
        process = await asyncio.create_subprocess_exec(
            *(self._python, "-I", "-S", str(_MAIN_FILE), program, json.dumps(options)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**self._environ, **mark},
            limit=protocol.MAX_LINE_BYTES,
            start_new_session=True,  # Ctrl-C in the terminal is for us alone
        )
        started = _LocalProgram(process, self._open.setdefault(host.name, set()))
        try:
            await skip_to_ready(started.reader)
        except ReachError as error:
            code, said = await started.ended(_CLOSE_PATIENCE_S)
            await started.close()
            raise ReachError(f"{error}: {said}" if said else str(error), gone=code == EXIT_GONE) from error
        except asyncio.CancelledError:
            await started.close()
            raise
        return started

    async def close(self, host: PlannedHost) -> None:
        """Ends the programs that are left there."""
        for program in [*self._open.get(host.name, ())]:
            await program.close()


class _LocalProgram:
    """``among``: all that are open to its host; it is one of them until it is closed."""

    def __init__(self, process: asyncio.subprocess.Process, among: set[_LocalProgram]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.reader, self.writer = process.stdout, process.stdin
        self._process = process
        self._among = among
        among.add(self)

    async def ended(self, limit_s: float) -> tuple[int | None, str]:
        """Its exit code and what it wrote to standard error."""
        assert self._process.stderr is not None
        said = b""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._process.wait(), limit_s)
            said = await asyncio.wait_for(self._process.stderr.read(_MOST_SAID_BYTES), limit_s)
        return self._process.returncode, said.decode("utf-8", "replace").strip()

    async def room(self, most: int) -> int | None:
        """Nothing limits them."""
        return None

    async def close(self) -> None:
        """Waits for its end, not for long."""
        self._among.discard(self)
        self.writer.close()
        try:
            await asyncio.wait_for(self._process.wait(), _CLOSE_PATIENCE_S)
        except asyncio.TimeoutError:
            self._process.kill()
            await self._process.wait()
