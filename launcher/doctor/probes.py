"""Programs that answer the doctor's questions, one on each host (see ``launcher.agent.doctor``)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from launcher.hosts.transport import Pipe, TransportError, skip_to_agent
from launcher.plan.model import PlannedHost
from launcher.wire.protocol import MAX_LINE_BYTES

_MAIN_FILE = Path(__file__).parents[1] / "agent" / "__main__.py"
_LEAVE_S = 3.0


class UnansweredError(Exception):
    """A question was not answered; the text says why."""


class Opener(Protocol):
    """A way to start the program on hosts; it ends by itself after ``limit_s``."""

    async def open(self, host: PlannedHost, limit_s: float) -> Probe:
        """Starts it; raises TransportError."""


class Probe:
    """The program on one host: asks it, several questions at a time if need be."""

    def __init__(self, pipe: Pipe) -> None:
        self._reader, self._writer = pipe
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self._hearing = asyncio.create_task(self._hear())
        self._gone = ""

    async def ask(self, ask: str, limit_s: float, **given: object) -> dict[str, Any]:
        """The answer; raises UnansweredError if there is none within ``limit_s``."""
        self._number += 1
        number = self._number
        if self._gone:
            raise UnansweredError(self._gone)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps({"id": number, "ask": ask, "with": given}).encode() + b"\n")
        try:
            return await asyncio.wait_for(answer, limit_s)
        except asyncio.TimeoutError as error:
            raise UnansweredError(f"not within {limit_s:.0f} s") from error
        finally:
            self._asked.pop(number, None)

    async def _hear(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            async for line in self._reader:
                said = json.loads(line)
                answer = self._asked.get(said["id"])
                if answer is not None and not answer.done():
                    if "answer" in said:
                        answer.set_result(said["answer"])
                    else:
                        answer.set_exception(UnansweredError(said["trouble"]))
        self._gone = "the connection broke off"
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(UnansweredError(self._gone))

    async def sessions(self, most: int) -> int | None:
        """How many sessions sshd allows for one connection, at most ``most``; None where there is no sshd."""
        return None

    async def close(self) -> None:
        """Lets it take away what it has made, and waits for its end, not for long."""
        self._writer.close()
        with contextlib.suppress(asyncio.TimeoutError, OSError):
            await asyncio.wait_for(asyncio.shield(self._hearing), _LEAVE_S)
        self._hearing.cancel()


class LocalOpener:
    """This machine. ``environ``: what the tasks would inherit."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)

    async def open(self, host: PlannedHost, limit_s: float) -> Probe:
        """Starts it as a process of ours."""
        command = (sys.executable, "-I", "-S", str(_MAIN_FILE), "doctor", json.dumps({"limit_s": limit_s}))
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environ,
            limit=MAX_LINE_BYTES,
            start_new_session=True,  # Ctrl-C in the terminal is for us alone
        )
        assert process.stdin is not None and process.stdout is not None
        await skip_to_agent(process.stdout)
        return _LocalProbe((process.stdout, process.stdin), process)


class _LocalProbe(Probe):
    def __init__(self, pipe: Pipe, process: asyncio.subprocess.Process) -> None:
        super().__init__(pipe)
        self._process = process

    async def close(self) -> None:
        """Waits for the process, too."""
        await super().close()
        try:
            await asyncio.wait_for(self._process.wait(), _LEAVE_S)
        except asyncio.TimeoutError:
            self._process.kill()
            await self._process.wait()


class SshOpener:
    """Hosts behind SSH; ``pythons``: interpreters to try there besides those of the PATH."""

    def __init__(self, pythons: tuple[str, ...]) -> None:
        from launcher.hosts.ssh.connections import Dialer
        from launcher.hosts.ssh.programs import SshPrograms

        self._dialer = Dialer()
        self._programs = SshPrograms(pythons)

    async def open(self, host: PlannedHost, limit_s: float) -> Probe:
        """Connects, brings the program, and starts it."""
        line = await self._dialer.dial(host)
        try:
            program = await self._programs.start(line, "doctor", {"limit_s": limit_s})
        except (TransportError, asyncio.CancelledError):
            await line.close()
            raise
        return _SshProbe((program.reader, program.writer), line)


class _SshProbe(Probe):
    def __init__(self, pipe: Pipe, line: Any) -> None:
        super().__init__(pipe)
        self._line = line

    async def sessions(self, most: int) -> int | None:
        """Counts the program's own one, too."""
        return 1 + int(await self._line.more_sessions(most - 1))

    async def close(self) -> None:
        """Closes the connection, too."""
        await super().close()
        await self._line.close()
