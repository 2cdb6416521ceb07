"""The supervisor, with an agent that says what the test wants."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from launcher.hosts.transport import FakeTransport
from launcher.plan.model import PlannedHost
from launcher.record import runs
from launcher.supervise.supervisor import Supervisor
from launcher.wire import protocol
from tests.launcher.lifecycle.test_lifecycle import make_plan

EVERYTHING = ["reserve", "lock_model_dir"]


def test_an_agent_that_dies_with_an_answer_is_asked_again_when_it_is_back(tmp_path: Path) -> None:
    """It was asked to reserve ports and to lock the folder, and nobody else will."""
    asked: list[list[str]] = []

    async def talk() -> None:
        enough = asyncio.Event()

        async def serve(host: PlannedHost, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            life = f"life {len(asked)}"
            asked.append([])
            facts: dict[str, Any] = {"host": host.name, "pid": 1, "python": "", "cores": 1, "memory_mib": 1, "gpus": 0}
            writer.write(protocol.encode(protocol.Welcome(incarnation=life, version=protocol.VERSION, **facts)))
            while line := await reader.readline():
                asked[-1].append(protocol.decode(line).kind)
                if asked[-1] == EVERYTHING and len(asked) > 1:
                    enough.set()
                elif asked[-1] == EVERYTHING or asked[-1][-1] == "finish":
                    break
            writer.close()

        plan = make_plan()
        supervisor = Supervisor(
            runs.RunFolder(tmp_path), plan, lambda host: FakeTransport(serve), run_id="run", environ={}
        )
        running = asyncio.create_task(supervisor.run())
        await asyncio.wait_for(enough.wait(), 60)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(talk())
    assert [life[:2] for life in asked[:2]] == [EVERYTHING, EVERYTHING]
