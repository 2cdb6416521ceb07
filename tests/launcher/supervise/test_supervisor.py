"""The supervisor, with an agent that says what the test wants."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

from launcher.plan.model import PlannedHost
from launcher.private import folders
from launcher.record import runs
from launcher.supervise.supervisor import Supervisor
from launcher.wire import protocol
from tests.launcher.hosts.fake import FakeReach, fake_agents, listed
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

        plan = make_plan(adjustments=("session-gate",))
        home = folders.make("supervisor", "supervisor")
        assert home is not None
        agents = fake_agents(FakeReach(serve))
        supervisor = Supervisor(runs.RunFolder(tmp_path), plan, listed, agents, run_id="run", home=home)
        running = asyncio.create_task(supervisor.run())
        await asyncio.wait_for(enough.wait(), 60)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(talk())
    assert [life[:2] for life in asked[:2]] == [EVERYTHING, EVERYTHING]


def test_a_host_that_speaks_for_others_ends_the_run(tmp_path: Path) -> None:
    """It says that the chief, which it was not given, has trained to the end."""
    lie = protocol.Exited(task="chief:0", attempt=1, exit_code=0, signal=None)

    async def serve(host: PlannedHost, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        facts: dict[str, Any] = {"host": host.name, "pid": 1, "python": "", "cores": 1, "memory_mib": 1, "gpus": 0}
        writer.write(protocol.encode(protocol.Welcome(incarnation="x", version=protocol.VERSION, **facts)))
        writer.write(protocol.encode(protocol.Event(seq=1, incarnation="x", at=0.0, body=lie)))
        while line := await reader.readline():
            if isinstance(protocol.decode(line), protocol.Finish):
                return

    home = folders.make("supervisor", "supervisor")
    assert home is not None
    agents = fake_agents(FakeReach(serve))
    supervisor = Supervisor(runs.RunFolder(tmp_path), make_plan(), listed, agents, run_id="run", home=home)
    assert asyncio.run(asyncio.wait_for(supervisor.run(), 60)) == 3
    home.close()
    ended = json.loads((tmp_path / "report.json").read_text())
    assert (ended["outcome"], ended["cause"]["kind"]) == ("failed", "host")
    assert (
        "it claims that attempt 1 of chief:0, which it was not given, has 'exited' to tell" in ended["cause"]["message"]
    )
