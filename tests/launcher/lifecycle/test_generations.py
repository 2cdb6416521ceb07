"""The supervisor over two real agents, whose hosts are folders of this machine: one dies, and the run goes on."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from launcher.agent.host import sweep
from launcher.agent.system import processes
from launcher.hosts.agents import Agents
from launcher.hosts.local import LocalReach
from launcher.hosts.reach import SWEEP, Program, ReachError
from launcher.plan.model import Plan, PlannedHost, PlannedTask
from launcher.record import runs
from launcher.record.reading import load_view
from launcher.record.report import build_report
from launcher.spec.policy import Policy
from launcher.supervise.supervisor import Supervisor
from launcher.views.summary import summary
from launcher.wire import adjustments
from launcher.wire.private import registry
from launcher.wire.roles import TaskId
from tests.launcher.agent.harness import FAKE_TASK
from tests.launcher.hosts.fake import listed

DEADLINE_S = 60.0
HOST_OF = {"ps:0": "a", "chief:0": "a", "worker:0": "b", "evaluator:0": "b"}


class Far(LocalReach):
    """One of several hosts on this machine: what it sweeps must not be the others'."""

    async def start(
        self, host: PlannedHost, program: str, options: Mapping[str, object], *, limit_s: float = math.inf
    ) -> Program:
        if program == SWEEP:
            raise ReachError("a sweep here would be one of all hosts")
        return await super().start(host, program, options, limit_s=limit_s)


def words(go: Path) -> dict[str, str]:
    return {
        "ps:0": "listen,ready,hang",
        "chief:0": f"env=TF_CONFIG,gate,ready,saved=5,step=10:320,wait-file={go},finished=10,barrier,saved=10",
        "worker:0": f"gate,ready,step=9:288,wait-file={go},finished=9",
        "evaluator:0": "ready,drain",
    }


def make_plan(tmp_path: Path) -> Plan:
    env = {"TF_GRPC_REUSE_PORT": "1"}
    return Plan(
        name="generations",
        model_dir=str(tmp_path / "model"),
        hosts=tuple(PlannedHost(name=name, address=f"127.0.0.{n}") for n, name in enumerate("ab", start=2)),
        tasks=tuple(
            PlannedTask(
                task=TaskId.parse(name),
                host=HOST_OF[name],
                argv=(sys.executable, FAKE_TASK, *text.split(",")),
                cwd="/",
                env=env,
            )
            for name, text in words(tmp_path / "go").items()
        ),
        policy=Policy(lease_s=0.5, grace_s=0.5),
        preload=(),
        adjustments=tuple(adjustments.DEFAULT),
    )


class Cluster:
    """A supervisor in this process, and what is known of it."""

    def __init__(self, tmp_path: Path) -> None:
        self.run_folder = runs.RunFolder(tmp_path / "run")
        self.run_folder.logs.mkdir(mode=0o700, parents=True)
        self.run_id = f"generations-{os.getpid()}"
        plan = make_plan(tmp_path)
        environ = dict(os.environ)
        far = Far(environ)
        agents = Agents(lambda host: far, self.run_id, plan.policy, alone=False)
        home = registry.make(self.run_id, self.run_id)
        assert home is not None
        self.supervisor = Supervisor(self.run_folder, plan, listed, agents, run_id=self.run_id, home=home)

    def events(self, kind: str) -> list[dict[str, Any]]:
        path = self.run_folder.events
        lines = path.read_text().splitlines() if path.exists() else []
        return [event for event in map(json.loads, lines) if event["kind"] == kind]

    def keeper(self, host: str) -> int:
        """The keeper of that host."""
        return next(pid for pid in processes.pids() if self._is_of(host, pid))

    def _is_of(self, host: str, pid: int) -> bool:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return any(
            words.startswith(f"tflaunch keeper {home.path}".encode())
            for home in registry.every(f"{self.run_id}@{host}")
        )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    assert all(sweep.sweep(made.run_id, f"{made.run_id}@{host}") for host in "ab")


async def until(what: Callable[[], object], running: asyncio.Task[int]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not what():
        assert not running.done() and time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_a_run_goes_on_without_a_host(cluster: Cluster, tmp_path: Path) -> None:
    async def story() -> int:
        running = asyncio.create_task(cluster.supervisor.run())
        await until(lambda: {"chief:0", "worker:0"} <= trains(cluster), running)
        os.kill(cluster.keeper("b"), signal.SIGKILL)
        await until(lambda: cluster.events("move_over"), running)
        (tmp_path / "go").touch()
        return await asyncio.wait_for(running, DEADLINE_S)

    assert asyncio.run(story()) == 0
    view = load_view(cluster.run_folder)
    report = build_report(view, cluster.run_folder)
    assert (report["outcome"], report["generation"]) == ("succeeded", 2)
    assert {task["task"]: task["host"] for task in report["tasks"]} == dict.fromkeys(HOST_OF, "a")
    assert [(move["host"], move["tasks"]) for move in report["moves"]] == [("b", {"worker:0": "a", "evaluator:0": "a"})]
    (recovery,) = [item for item in report["recoveries"] if item["task"] is None]
    assert (recovery["hosts"], recovery["steps_rolled_back"]) == (("b",), 0)
    assert all((task["restarts"], len(task["attempts"])) == (0, 2) for task in report["tasks"])
    first, second = (json.loads(json.loads(line)[1])["cluster"] for line in log(cluster, "chief-0"))
    assert not set(first["ps"] + first["worker"]) & set(second["ps"] + second["worker"]), "new addresses for everybody"
    assert all(address.startswith("127.0.0.2:") for address in second["worker"])
    assert "host b: worker:0, evaluator:0 to a" in summary(view, cluster.run_folder)
    deadline = time.monotonic() + DEADLINE_S
    while sweep.members(cluster.run_id) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sweep.members(cluster.run_id) == []


def trains(cluster: Cluster) -> set[str]:
    return {event["task"] for event in cluster.events("task_changed") if event["state"] == "training"}


def log(cluster: Cluster, task: str) -> list[str]:
    return (cluster.run_folder.logs / f"{task}.log").read_text().splitlines()
