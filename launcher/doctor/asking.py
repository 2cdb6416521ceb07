"""Programs that answer the doctor's questions, one on each host (see ``launcher.agent.doctor``)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from launcher.hosts.reach import DOCTOR, Program, Reach
from launcher.plan.model import PlannedHost

_LEAVE_S = 3.0


class UnansweredError(Exception):
    """A question was not answered; the text says why."""


async def open_probe(reach: Reach, host: PlannedHost, limit_s: float) -> Probe:
    """Starts the program on a host; it ends by itself after ``limit_s``. Raises ReachError, OSError."""
    return Probe(await reach.start(host, DOCTOR, {"limit_s": limit_s}))


class Probe:
    """The program on one host: asks it, several questions at a time if need be."""

    def __init__(self, program: Program) -> None:
        self._program = program
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
        self._program.writer.write(json.dumps({"id": number, "ask": ask, "with": given}).encode() + b"\n")
        try:
            return await asyncio.wait_for(answer, limit_s)
        except asyncio.TimeoutError as error:
            raise UnansweredError(f"not within {limit_s:.0f} s") from error
        finally:
            self._asked.pop(number, None)

    async def _hear(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            async for line in self._program.reader:
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
        """How many programs the host allows at once, at most ``most``; None where nothing limits them."""
        return await self._program.room(most)

    async def close(self) -> None:
        """Lets it take away what it has made, and waits for its end, not for long."""
        self._program.writer.close()
        with contextlib.suppress(asyncio.TimeoutError, OSError):
            await asyncio.wait_for(asyncio.shield(self._hearing), _LEAVE_S)
        self._hearing.cancel()
        await self._program.close()
