"""Random faults in a training with real TensorFlow over three hosts: kills, pauses, cuts of both ways and of one, lines
that flap, freezes within the lease and beyond it, hosts that are lost, workers that are more or fewer, hosts that are
left in order. Whatever came, the run ends well, every example is in what was saved, the report has what the tasks have
signed, and nothing is left on any host.

``TFLAUNCH_SOAK_SEED`` and ``TFLAUNCH_SOAK_NUMBER`` say which drill.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from launcher.cli import client
from launcher.record.runs import RunFolder
from launcher.supervise import control
from launcher.wire.protocol import Message
from tests import freezer
from tests.e2e.test_streaming import make_data
from tests.hosts.fixtures import three_hosts
from tests.hosts.namespaces import REPOSITORY, SHARED, Host, Network
from tests.hosts.running import Live, StartLive, live, part_of, spec, wait_until, wait_until_gone
from tests.hosts.test_soak import task_processes
from tests.soak import checks
from tests.soak.facts import note
from tests.soak.victims import send

__all__ = ["live", "three_hosts"]

pytestmark = [
    pytest.mark.soak, pytest.mark.e2e, pytest.mark.hosts, pytest.mark.tensorflow, pytest.mark.timeout(1800),
]  # fmt: skip

SEED = os.environ.get("TFLAUNCH_SOAK_SEED", "1")
NUMBER = os.environ.get("TFLAUNCH_SOAK_NUMBER", "0")
LEASE_S, GRACE_S = 9.0, 3.0
PATIENCE_S = 600.0
ROLES = {
    "ps": {"count": 2, "on": ["a", "b", "c"]},
    "chief": {"on": ["a", "b", "c"]},
    "worker": {"count": 2, "on": ["b", "c", "a"]},
}
KINDS = (
    *("kill task", "kill task", "kill agent", "kill session", "pause task", "pause agent", "scale", "scale", "drain"),
    *("cut both ways", "cut towards", "cut from", "flap", "freeze", "lose by cut", "lose by freeze", "lose by keeper"),
)
LOSES = ("lose by cut", "lose by freeze", "lose by keeper")
MOST_WORKERS = 4
TRAINS_FIRST = 0.75  # before the first fault; until then it has no size to be changed


class Faults:
    """One after the other; one host at most is lost, and one left in order: the run goes on on the third."""

    def __init__(self, dice: random.Random, hosts: Network, run: Live, mending: ExitStack) -> None:
        self._dice, self._hosts, self._run, self._mending = dice, hosts, run, mending
        self.done: list[str] = []
        self._there = ["a", "b", "c"]

    def carry_out(self) -> None:
        kinds = [self._dice.choice(KINDS) for _ in range(self._dice.randint(3, 6))]
        last = {kind in LOSES or kind: n for n, kind in enumerate(kinds)}
        for n, kind in enumerate(kinds):
            if (kind in LOSES or kind == "drain") and n != last[kind in LOSES or kind]:
                continue  # they would take more hosts than the run is to survive
            time.sleep(self._dice.uniform(0, 4))  # how far it has come is drawn, too
            host = self._hosts.host(self._dice.choice(self._there))
            task = self._dice.choice(sorted({str(event["task"]) for event in self._run.events("task_changed")}))
            if self._run.client.poll() is not None:
                return
            what = getattr(self, f"_{kind.replace(' ', '_')}")(host, task)
            if what:
                self.done.append(f"{kind} {what}")
                note(f"host: {kind} {what}")

    # --- processes

    def _kill_task(self, host: Host, task: str) -> str:
        return self._signal(task, signal.SIGKILL)

    def _pause_task(self, host: Host, task: str) -> str:
        what = self._signal(task, signal.SIGSTOP)
        time.sleep(self._dice.uniform(0.2, 3.0))
        self._signal(task, signal.SIGCONT)
        return what

    def _signal(self, task: str, number: signal.Signals) -> str:
        where = {event["task"]: event["host"] for event in self._run.events("task_changed") if event["pid"]}
        pids = task_processes(self._run, self._hosts.host(where[task]), task) if task in where else []
        if number is signal.SIGSTOP:
            for pid in pids:
                self._mending.callback(send, pid, signal.SIGCONT)
        return task if [pid for pid in pids if send(pid, number)] else ""

    def _part(self, host: Host, part: str, number: signal.Signals) -> str:
        try:
            pid = part_of(host.processes(), part)
        except StopIteration:
            return ""
        if number is signal.SIGSTOP:
            self._mending.callback(send, pid, signal.SIGCONT)
        return host.name if send(pid, number) else ""

    def _kill_agent(self, host: Host, task: str) -> str:
        return self._part(host, "agent", signal.SIGKILL)

    def _kill_session(self, host: Host, task: str) -> str:
        """As sshd's update, or its session's end, does."""
        pids = [pid for pid, words in host.processes().items() if words.startswith("sshd: root")]
        return host.name if [pid for pid in pids if send(pid, signal.SIGKILL)] else ""

    def _pause_agent(self, host: Host, task: str) -> str:
        what = self._part(host, "agent", signal.SIGSTOP)
        time.sleep(self._dice.uniform(0.1, 0.3) * LEASE_S)
        self._part(host, "agent", signal.SIGCONT)
        return what

    # --- lines

    def _cut_both_ways(self, host: Host, task: str) -> str:
        return self._cut_for(host, self._dice.uniform(0.05, 0.5) * LEASE_S)

    def _cut_for(self, host: Host, seconds: float) -> str:
        host.cut()
        time.sleep(seconds)
        host.mend()
        return f"{host.name} for {seconds:.1f} s"

    def _flap(self, host: Host, task: str) -> str:
        """Packets are lost, and come late."""
        for _ in range(self._dice.randint(3, 12)):
            self._cut_for(host, self._dice.uniform(0.02, 0.3))
            time.sleep(self._dice.uniform(0.02, 0.3))
        return host.name

    def _cut_towards(self, host: Host, task: str) -> str:
        """What the supervisor sends is lost without a word, what the host sends arrives."""
        with host.deaf(self._hosts):
            time.sleep(self._dice.uniform(0.05, 0.5) * LEASE_S)
        return host.name

    def _cut_from(self, host: Host, task: str) -> str:
        with host.dumb(self._hosts):
            time.sleep(self._dice.uniform(0.05, 0.5) * LEASE_S)
        return host.name

    # --- whole hosts

    def _freeze(self, host: Host, task: str) -> str:
        with host.frozen(task) as (tasks, rest):
            time.sleep(self._dice.uniform(0.1, 0.5) * LEASE_S)
            tasks.thaw()
            rest.thaw()
        return host.name

    def _lose_by_cut(self, host: Host, task: str) -> str:
        self._mending.callback(host.mend)
        self._there.remove(host.name)
        host.cut()
        wait_until(lambda: not host.ours(), f"for the end on {host.name}: {host.ours()}")
        host.mend()
        return host.name

    def _lose_by_freeze(self, host: Host, task: str) -> str:
        """It comes back when others have its tasks."""
        self._there.remove(host.name)
        with host.frozen(task) as (tasks, rest):
            wait_until(lambda: self._is_lost(host), f"until {host.name} is lost: {self._run.said[-3000:]}", PATIENCE_S)
            time.sleep(self._dice.uniform(0, 6))
            tasks.thaw()
            rest.thaw()
        return host.name

    def _is_lost(self, host: Host) -> bool:
        return (
            bool(self._run.events("host_changed", host=host.name, state="lost")) or self._run.client.poll() is not None
        )

    # --- in order

    def _scale(self, host: Host, task: str) -> str:
        """Refused, it is no fault: before the trainers have said that they can, and at the end."""
        count = self._dice.randint(1, MOST_WORKERS)
        return "" if self._ask(control.AskScale(count=count)) else str(count)

    def _drain(self, host: Host, task: str) -> str:
        if self._ask(control.AskDrain(host=host.name)):
            return ""
        self._there.remove(host.name)
        return host.name

    def _ask(self, message: Message) -> str:
        return client.ask(RunFolder(self._run.folder), message)

    def _lose_by_keeper(self, host: Host, task: str) -> str:
        self._there.remove(host.name)
        agent, keeper = self._part(host, "agent", signal.SIGKILL), self._part(host, "keeper", signal.SIGKILL)
        return keeper or agent


def start(hosts: Network, live: StartLive) -> tuple[Live, Path, int]:
    """Gives the run, its folder on all hosts, and how many rows there are."""
    folder = hosts.shared / f"soak-{NUMBER}"
    folder.mkdir()
    inside = f"{SHARED}/{folder.name}"
    data = make_data(folder / "data", shards=150, most_rows=60)
    options = {
        "model_dir": f"{inside}/model", "audit": f"{inside}/audit", "sources": [f"{inside}/data"], "batch": 8,
        "epochs": checks.EPOCHS, "save_steps": 40, "step_s": 0.1, "signed": f"{inside}/signed", "noise_mib": 0,
        "holder_timeout_s": 20.0,
    }  # fmt: skip
    policy = {"lease_s": LEASE_S, "grace_s": GRACE_S, "restarts": 99, "lost_hosts": 2, "backoff_s": 0.1}
    command = ["python", "-m", "tests.soak.job", json.dumps(options)]
    keys: dict[str, Any] = {"cwd": str(REPOSITORY), "preload": ["tensorflow"], "model_dir": f"{inside}/model"}
    ssh = {host.name: {"connect_timeout_s": 60} for host in hosts.hosts}  # this machine may be busy with other things
    written = spec(hosts, command=command, roles=ROLES, policy=policy, ssh=ssh, **keys)
    return live(hosts, written), folder, data.rows


def test_drill(three_hosts: Network, live: StartLive) -> None:
    if why := freezer.missing():
        pytest.skip(why)
    run, folder, rows = start(three_hosts, live)
    run.wait_for("run_started", timeout_s=PATIENCE_S)
    run.wait_for("phase_changed", timeout_s=PATIENCE_S, phase="training")
    dice = random.Random(f"{SEED}/hosts/{NUMBER}")
    if dice.random() < TRAINS_FIRST:
        run.wait_for("task_changed", timeout_s=PATIENCE_S, task="chief:0", state="training")
    with ExitStack() as mending:
        faults = Faults(dice, three_hosts, run, mending)
        faults.carry_out()
    assert run.client.wait(PATIENCE_S) == 0, (faults.done, run.said[-6000:])
    report = run.report()
    checks.every_example_was_trained(folder / "audit", rows, report)
    checks.the_report_knows_every_attempt(folder / "signed", report)
    wait_until_gone(three_hosts)
    assert not [file for host in three_hosts.hosts for file in host.tmp.iterdir()]
