"""Drills over hosts, drawn by a seed: whatever is cut or killed, the run ends as its policy says and leaves nothing.

``TFLAUNCH_DRILLS`` says how many, ``TFLAUNCH_DRILLS_SEED`` from which number on; a drill's number is its seed.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.hosts.fixtures import three_hosts
from tests.hosts.namespaces import SHARED, Host, Network
from tests.hosts.running import ROLES, Live, StartLive, live, part_of, spec, wait_until, wait_until_gone
from tests.soak.facts import note

__all__ = ["live", "three_hosts"]

pytestmark = [pytest.mark.e2e, pytest.mark.hosts, pytest.mark.soak]

LEASE_S = 6.0
GRACE_S = 1.0
EACH_ON = {"ps": "ab", "chief": "a", "worker": "abc", "evaluator": "c"}  # as ROLES has it
FIRST = int(os.environ.get("TFLAUNCH_DRILLS_SEED", "1"))
NUMBERS = range(FIRST, FIRST + int(os.environ.get("TFLAUNCH_DRILLS", "30")))


@dataclass(frozen=True, kw_only=True)
class Drill:
    """One fault, and the policy that decides what it means."""

    fault: str
    host: str
    task: str
    cut_s: float
    restarts: int
    lost_hosts: int

    @property
    def loses_host(self) -> bool:
        return self.fault in ("long cut", "keeper", "agent and keeper")

    @property
    def kills_tasks(self) -> bool:
        return self.fault in ("agent", "task")

    @property
    def exit_code(self) -> int | None:
        """What the policy says; None where there is nobody left to say it."""
        if self.fault == "supervisor":
            return None
        if self.loses_host:
            return 0 if self.lost_hosts else 3
        if self.kills_tasks and not self.restarts:
            return 0 if self.fault == "task" and self.task.startswith("worker") else 1
        return 0

    @property
    def ends_at_once(self) -> bool:
        """Whether the run ends by itself; after the last death of a worker or the evaluator it trains on to its end."""
        vital = self.task[:2] in ("ps", "ch") if self.fault == "task" else self.host in EACH_ON["ps"]
        return bool(self.exit_code) and (vital or not self.kills_tasks)


def drawn(number: int) -> Drill:
    dice = random.Random(number)
    fault = dice.choice(
        ["short cut", "long cut", "agent", "keeper", "agent and keeper", "sshd's session", "supervisor", "task"]
    )
    task, hosts = dice.choice([(f"{role}:{n}", host) for role, on in EACH_ON.items() for n, host in enumerate(on)])
    return Drill(
        fault=fault,
        host=hosts if fault == "task" else dice.choice("abc"),
        task=task,
        cut_s=dice.uniform(0.1, 0.8) * LEASE_S,
        restarts=3 if fault in ("keeper", "agent and keeper") else dice.choice([0, 3]),
        lost_hosts=dice.choice([0, 2]),
    )


def begin(hosts: Network, live: StartLive, drill: Drill, number: int) -> Live:
    """A cluster that has trained a little and ends well as soon as it may; whatever has children has deaf ones."""
    go = f"wait-file={SHARED}/go-{number}"
    words = {
        "ps": "child,child-setsid,listen,ready,hang",
        "chief": f"child,gate,ready,step=9:9,{go},step=10:320,finished=10,barrier,saved=10",
        "worker": f"child-setsid,gate,ready,step=9:288,{go},finished=9",
        "evaluator": "ready,drain",
    }
    policy = {
        "lease_s": LEASE_S,
        "grace_s": GRACE_S,
        "restarts": drill.restarts,
        "lost_hosts": drill.lost_hosts,
        "backoff_s": 0.1,
    }
    roles = {role: {**keys, "on": ["a", "b", "c"]} for role, keys in ROLES.items()}
    roles["evaluator"]["on"] = ["c", "a", "b"]
    roles["ps"]["on"] = ["a", "b", "c"]
    run = live(hosts, spec(hosts, words=words, policy=policy, roles=roles, model_dir=f"{SHARED}/model-{number}"))
    run.until_training()
    run.wait_for("task_changed", task="evaluator:0", state="ready")
    return run


def victims(run: Live, host: Host, drill: Drill) -> list[int]:
    """What is to be killed, as this machine counts processes."""
    parts = host.processes()
    keeper, agent = (part_of(parts, name) for name in ("keeper", "agent"))
    table: dict[str, Callable[[], list[int]]] = {
        "agent": lambda: [agent],
        "keeper": lambda: [keeper],
        "agent and keeper": lambda: [agent, keeper],
        "sshd's session": lambda: [pid for pid, words in parts.items() if words.startswith("sshd: root")],
        "supervisor": lambda: [run.supervisor()],
        "task": lambda: task_processes(run, host, drill.task),
    }
    return table[drill.fault]()


def task_processes(run: Live, host: Host, task: str) -> list[int]:
    """The task's process; the event has its number as the host counts."""
    inside = {event["pid"] for event in run.events("task_changed", task=task) if event["pid"]}
    return [pid for pid in host.processes() if number_inside(pid) in inside]


def number_inside(pid: int) -> int:
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[-1]) for line in file if line.startswith("NSpid:"))


def carry_out(run: Live, host: Host, drill: Drill) -> Iterator[None]:
    """Does it; the pause is for waiting for what it causes."""
    if drill.fault.endswith("cut"):
        host.cut()
        try:
            if drill.fault == "short cut":
                host.run("sleep", f"{drill.cut_s:.1f}")
            else:
                wait_until(lambda: not host.ours(), f"for the end on {host.name}: {host.ours()}")
                yield
                return
        finally:
            host.mend()
    else:
        for pid in victims(run, host, drill):
            os.kill(pid, signal.SIGKILL)
    yield


def wait_for_what_follows(run: Live, drill: Drill) -> None:
    """Until nothing happens any more before the tasks may end."""
    if drill.fault == "supervisor" or drill.ends_at_once:
        run.client.wait(120)
    elif drill.loses_host:
        run.wait_for("move_over")
    elif drill.kills_tasks and drill.restarts:
        run.wait_for("task_changed", attempt=2)
    elif drill.kills_tasks:
        task = drill.task if drill.fault == "task" else "evaluator:0"
        run.wait_for("task_changed", task=task, state="failed")


@pytest.mark.parametrize("number", NUMBERS)
def test_drill(three_hosts: Network, live: StartLive, number: int) -> None:
    drill = drawn(number)
    run = begin(three_hosts, live, drill, number)
    for _ in carry_out(run, three_hosts.host(drill.host), drill):
        wait_for_what_follows(run, drill)
    note(f"host: {drill.fault}" if drill.fault.endswith("cut") else f"host: kill {drill.fault}")
    (three_hosts.shared / f"go-{number}").touch()
    code = run.end()
    wait_until_gone(three_hosts)
    if drill.exit_code is None:
        assert code != 0, (drill, run.said)
        return
    assert code == drill.exit_code, (drill, run.said)
    report = run.report()
    assert report["generation"] == (2 if drill.loses_host and drill.lost_hosts else 1), drill
    assert code == 0 or report["cause"]["host"] == drill.host, (drill, report["cause"])
    if drill.fault in ("short cut", "sshd's session"):
        assert all(len(task["attempts"]) == 1 for task in report["tasks"]), drill
