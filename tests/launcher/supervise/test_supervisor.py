"""The supervisor, with an agent that says what the test wants."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.hosts.engine import Answers, Engine, Needs
from launcher.plan.model import PlannedHost
from launcher.record import runs
from launcher.spec.engines import NoKeys
from launcher.supervise.supervisor import Supervisor
from launcher.wire import protocol
from launcher.wire.private import registry
from launcher.wire.roles import Role
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
        home = registry.make(f"supervisor-{os.getpid()}", "supervisor")
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

    home = registry.make(f"supervisor-{os.getpid()}", "supervisor")
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


# --- hosts that an engine gives ------------------------------------------------------------------------------------


class Scripted(Engine):
    """An engine in the hands of the test: ``told`` is what was asked of it."""

    def __init__(self, answers: Answers) -> None:
        super().__init__(NoKeys(), answers)
        self.told: list[str] = []
        self.heard = asyncio.Event()

    def _note(self, what: str) -> None:
        self.told.append(what)
        self.heard.set()

    def ask(self, needs: Needs) -> None:
        self._note(f"ask {needs.host.name} {sorted(role.value for role in needs.roles)}")

    async def give_back(self, name: str) -> None:
        self._note(f"give back {name}")

    async def close(self) -> None:
        self._note("close")

    async def until(self, *what: str) -> None:
        while not set(what) <= set(self.told):
            self.heard.clear()
            await asyncio.wait_for(self.heard.wait(), 30)


async def obedient(host: PlannedHost, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An agent that welcomes, and ends when it is told to."""
    facts: dict[str, Any] = {"host": host.name, "pid": 1, "python": "", "cores": 1, "memory_mib": 1, "gpus": 0}
    writer.write(protocol.encode(protocol.Welcome(incarnation="x", version=protocol.VERSION, **facts)))
    while line := await reader.readline():
        if isinstance(protocol.decode(line), protocol.Finish):
            return


def engine_story(tmp_path: Path, tell: Callable[[Scripted, FakeReach], Awaitable[None]]) -> tuple[int, list[str]]:
    """The exit code of a run on hosts a and b, and all that the engine was asked for, while ``tell`` answers for it."""
    plan = make_plan()
    hosts = tuple(PlannedHost(name=name, address="") for name in "ab")
    tasks = tuple(replace(task, host="b" if task.task.role is Role.WORKER else "a") for task in plan.tasks)
    engines: list[Scripted] = []
    reach = FakeReach(obedient)

    def engine_for(answers: Answers) -> Engine:
        engines.append(Scripted(answers))
        return engines[0]

    async def story() -> int:
        home = registry.make(f"supervisor-{os.getpid()}", "supervisor")
        assert home is not None
        run = replace(plan, hosts=hosts, tasks=tasks)
        supervisor = Supervisor(runs.RunFolder(tmp_path), run, engine_for, fake_agents(reach), run_id="run", home=home)
        running = asyncio.create_task(supervisor.run())
        while not engines:  # it is made when it is first asked
            await asyncio.sleep(0.005)
        await tell(engines[0], reach)
        return await asyncio.wait_for(running, 60)

    return asyncio.run(story()), engines[0].told


ASKED = ["ask a ['chief', 'evaluator', 'ps']", "ask b ['worker']"]
A, B = (PlannedHost(name=name, address=f"10.0.0.{n}") for n, name in enumerate("ab", start=1))


def test_hosts_are_reached_when_they_are_granted_and_given_back(tmp_path: Path) -> None:
    async def tell(engine: Scripted, reach: FakeReach) -> None:
        await engine.until(*ASKED)
        assert reach.opened == {}
        engine.answers.granted(A)
        engine.answers.refused("b", "none is free", "come again")

    assert engine_story(tmp_path, tell) == (3, [*ASKED, "close"])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["cause"]["message"] == "host b: none is free"
    assert {host["host"]: host["state"] for host in report["hosts"]} == {"a": "up", "b": "lost"}


def test_a_host_that_its_engine_loses_is_hung_up_on_and_given_back(tmp_path: Path) -> None:
    async def tell(engine: Scripted, reach: FakeReach) -> None:
        await engine.until(*ASKED)
        engine.answers.granted(B)
        engine.answers.lost("b", "it has sunk")
        await engine.until("give back b")

    assert engine_story(tmp_path, tell) == (3, [*ASKED, "give back b", "close"])
    assert json.loads((tmp_path / "report.json").read_text())["cause"]["message"] == "host b: it has sunk"
