"""Two hundred hosts, in memory: start, a storm in which every task dies at once, end."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.plan.model import Plan, PlannedHost
from launcher.record import runs
from launcher.spec.policy import Policy
from launcher.supervise.supervisor import Supervisor
from launcher.wire import protocol
from launcher.wire.private import registry
from launcher.wire.roles import Role
from tests.launcher.hosts.fake import FakeReach, fake_agents, listed
from tests.launcher.lifecycle.test_lifecycle import make_plan

HOSTS, TASKS_EACH = 200, 2
TASKS = HOSTS * TASKS_EACH


def plan_of_many(restarts: int) -> Plan:
    names = ("chief:0", *(f"worker:{number}" for number in range(TASKS - 1)))
    plan = make_plan(
        *names, policy=Policy(restarts=dict.fromkeys(Role, restarts), backoff_s=0.1), adjustments=("session-gate",)
    )
    hosts = tuple(PlannedHost(name=f"n{number}", address=f"10.0.0.{number}") for number in range(HOSTS))
    tasks = tuple(replace(task, host=f"n{number % HOSTS}") for number, task in enumerate(plan.tasks))
    return replace(plan, hosts=hosts, tasks=tasks)


class Agents:
    """All of them. When every task runs all are killed at once; those of the next attempt end by themselves."""

    def __init__(self) -> None:
        self._running: dict[int, int] = {1: 0, 2: 0}
        self._all_run = {attempt: asyncio.Event() for attempt in self._running}

    async def serve(self, host: PlannedHost, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        facts: dict[str, Any] = {"host": host.name, "pid": 1, "python": "", "cores": 1, "memory_mib": 1, "gpus": 0}
        writer.write(protocol.encode(protocol.Welcome(incarnation=host.name, version=protocol.VERSION, **facts)))
        line = Line(host.name, writer)
        ends = []
        while text := await reader.readline():
            command = protocol.decode(text)
            if isinstance(command, protocol.Finish):
                break
            if isinstance(command, protocol.Start):
                self._running[command.attempt] += 1
                ends.append(asyncio.create_task(self._end(command, line)))
                if self._running[command.attempt] == TASKS:
                    self._all_run[command.attempt].set()
            line.answer(command)
        for end in ends:
            end.cancel()

    async def _end(self, start: protocol.Start, line: Line) -> None:
        await self._all_run[start.attempt].wait()
        exit_code, signal = (None, 9) if start.attempt == 1 else (0, None)
        line.exited(start.task, start.attempt, exit_code=exit_code, signal=signal)


class Line:
    """What one agent says."""

    def __init__(self, name: str, writer: asyncio.StreamWriter) -> None:
        self._name, self._writer, self._seq = name, writer, 0
        self._ended: set[tuple[str, int]] = set()

    def say(self, body: protocol.Message) -> None:
        self._seq += 1
        event = protocol.Event(seq=self._seq, incarnation=self._name, at=0.0, body=body)
        self._writer.write(protocol.encode(event))

    def exited(self, task: str, attempt: int, *, exit_code: int | None, signal: int | None) -> None:
        if (task, attempt) not in self._ended:
            self._ended.add((task, attempt))
            self.say(protocol.Exited(task=task, attempt=attempt, exit_code=exit_code, signal=signal))

    def answer(self, command: protocol.Message) -> None:
        if isinstance(command, protocol.Reserve):
            ports = {task: 2000 + number for number, task in enumerate(command.tasks)}
            self.say(protocol.Reserved(generation=command.generation, ports=ports))
        elif isinstance(command, protocol.LockModelDir):
            self.say(protocol.Locked(path=command.path))
        elif isinstance(command, protocol.SeeModelDir):
            self.say(protocol.Seen(path=command.path))
        elif isinstance(command, protocol.Start):
            said = {"generation": command.generation, "task": command.task, "attempt": command.attempt}
            self.say(protocol.Started(pid=1, start="exec", **said))
        elif isinstance(command, protocol.Stop):
            self.exited(command.task, command.attempt, exit_code=None, signal=15)


@pytest.mark.parametrize(("restarts", "exit_code"), [(1, 0), (0, 1)])
def test_a_storm_over_two_hundred_hosts_ends_as_the_policy_says(tmp_path: Path, restarts: int, exit_code: int) -> None:
    async def story() -> int:
        home = registry.make(f"supervisor-{os.getpid()}", "supervisor")
        assert home is not None
        agents = fake_agents(FakeReach(Agents().serve))
        run, plan = runs.RunFolder(tmp_path), plan_of_many(restarts)
        supervisor = Supervisor(run, plan, listed, agents, run_id="run", home=home)
        try:
            return await asyncio.wait_for(supervisor.run(), 240)
        finally:
            home.close()

    assert asyncio.run(story()) == exit_code
    report = json.loads((tmp_path / "report.json").read_text())
    assert len(report["hosts"]) == HOSTS and len(report["tasks"]) == TASKS
    assert sum(task["restarts"] for task in report["tasks"]) == restarts * TASKS
    assert {attempt["signal"] for task in report["tasks"] for attempt in task["attempts"][:1]} == {9}
