"""How programs of ours run on a host. A *reach* starts them, and knows nothing of what passes through their pipes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Protocol

from launcher.agent.host.options import Options
from launcher.plan.model import PlannedHost
from launcher.wire.protocol import READY_MARKER

Pipe = tuple[asyncio.StreamReader, asyncio.StreamWriter]

RELAY, HOLD, SWEEP, DOCTOR, DEPLOY = "relay", "hold", "sweep", "doctor", "deploy"  # of launcher.agent.__main__
_CHATTER_BYTES = 1024 * 1024


class ReachError(Exception):
    """A program could not be started; the text says why, ``advice`` what to do. ``final``: trying again will not help;
    ``gone``: for there is no agent any more."""

    def __init__(self, message: str, *, advice: str = "", final: bool = False, gone: bool = False) -> None:
        super().__init__(message)
        self.advice = advice
        self.final = final or gone
        self.gone = gone


class Program(Protocol):
    """A program that runs on a host: a pipe to its standard streams, and its exit."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ended(self, limit_s: float) -> tuple[int | None, str]:
        """Its exit code and what it wrote to standard error; None if it has not ended within ``limit_s``."""

    async def room(self, most: int) -> int | None:
        """How many programs at once the host lets us run by the way that this one came, it included; counted up to
        ``most``. None where nothing limits them."""

    async def close(self) -> None:
        """Closes the pipe, which tells the program to end, and lets go of what it came by."""


class Reach(Protocol):
    """A way to hosts, the same for all hosts that name it as their ``transport``."""

    async def ensure_agent(self, host: PlannedHost, options: Options, *, limit_s: float = math.inf) -> Program:
        """A relay to the run's agent, which is started if there is none and ``options.start`` allows it. What keeps the
        agent alive, whatever becomes of the relay, is the reach's business. Raises ReachError, as ``start`` does."""

    async def start(
        self, host: PlannedHost, program: str, options: Mapping[str, object], *, limit_s: float = math.inf
    ) -> Program:
        """Starts one of the programs of ``launcher.agent.__main__`` and waits until it has said that it runs. Raises
        ReachError or OSError. ``limit_s``: on the way there, for one who will try again himself."""

    async def close(self, host: PlannedHost) -> None:
        """Lets go of all that is open to the host."""


ReachOf = Callable[[PlannedHost], Reach]


async def skip_to_ready(reader: asyncio.StreamReader) -> None:
    """Reads up to the line that each of our programs begins with; raises ReachError if none comes."""
    await skip_to(reader, READY_MARKER)


async def skip_to(reader: asyncio.StreamReader, *markers: bytes) -> bytes:
    """Reads up to the first line that ends with one of ``markers`` and gives that one; raises ReachError if none
    comes. What the start-up files of a shell print comes before it."""
    skipped = 0
    line = b""
    while skipped < _CHATTER_BYTES:
        try:
            part = await reader.readline()
        except ValueError as error:
            raise ReachError("the agent did not come up; what came instead is a line without end") from error
        if not part:
            break
        line = part
        for marker in markers:
            if line.endswith(marker):
                return marker
        skipped += len(part)
    said = f"; it said: {line.decode('utf-8', 'replace').strip()}" if line else ""
    raise ReachError(f"the agent did not come up{said}")
