"""Drills over tasks that roam, drawn by a seed: kills, lost hosts, cuts, freezes, changes of size and drains, one into
the other. Whatever comes, the run ends well, nothing is left, and no two attempts of a task work at once.

``TFLAUNCH_DRILLS`` says how many, ``TFLAUNCH_DRILLS_SEED`` from which number on; a drill's number is its seed.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from launcher.cli import client
from launcher.record.runs import RunFolder
from launcher.supervise import control
from tests import freezer
from tests.hosts.fixtures import three_hosts
from tests.hosts.namespaces import SHARED, Host, Network
from tests.hosts.running import Live, StartLive, live, spec, wait_until, wait_until_gone
from tests.hosts.test_soak import task_processes
from tests.soak.facts import note

__all__ = ["live", "three_hosts"]

pytestmark = [pytest.mark.e2e, pytest.mark.hosts, pytest.mark.soak, pytest.mark.timeout(600)]

LEASE_S, GRACE_S = 6.0, 2.0
PROGRAM = str(Path(__file__).with_name("roaming_task.py"))
FIRST = int(os.environ.get("TFLAUNCH_DRILLS_SEED", "1"))
NUMBERS = range(FIRST, FIRST + int(os.environ.get("TFLAUNCH_DRILLS", "40")))
ANYWHERE = ["a", "b", "c"]
ROLES = {
    "ps": {"count": 2, "on": ANYWHERE},
    "chief": {"on": ["c", "a", "b"]},
    "worker": {"count": 3, "on": ANYWHERE},
    "evaluator": {"on": ["b", "c", "a"]},
}
KINDS = ("kill", "kill", "cut", "freeze", "pause", "scale", "scale", "drain", "lose")
ONCE = ("drain", "lose")


class Drill:
    """Several faults, one after the other, some before the last is over."""

    def __init__(self, number: int, hosts: Network, run: Live) -> None:
        self._dice = random.Random(number)
        self._hosts, self._run = hosts, run
        self._left = list(ANYWHERE)  # hosts that were neither drained nor lost
        self.done: list[str] = []

    def carry_out(self) -> None:
        kinds = [self._dice.choice(KINDS) for _ in range(self._dice.randint(3, 6))]
        once = {
            kind: self._dice.choice([n for n, k in enumerate(kinds) if k == kind]) for kind in ONCE if kind in kinds
        }
        with ExitStack() as mending:
            for n, kind in enumerate(kinds):
                if kind not in once or once[kind] == n:
                    what = getattr(self, f"_{kind}")(mending)
                    self.done.append(f"{kind} {what}")
                    time.sleep(self._dice.uniform(0.0, 3.0))  # how far the last one has come is drawn, too

    def _kill(self, mending: ExitStack) -> str:
        task, host = self._some_task()
        for pid in task_processes(self._run, host, task):
            os.kill(pid, signal.SIGKILL)
        return task

    def _pause(self, mending: ExitStack) -> str:
        task, host = self._some_task()
        for pid in task_processes(self._run, host, task):
            os.kill(pid, signal.SIGSTOP)
            mending.callback(_continue, pid)
        return task

    def _some_task(self) -> tuple[str, Host]:
        events = self._run.events("task_changed")
        where = {event["task"]: event["host"] for event in events if event["pid"]}
        task = self._dice.choice(sorted(where))
        return task, self._hosts.host(where[task])

    def _cut(self, mending: ExitStack) -> str:
        host = self._hosts.host(self._dice.choice(self._left))
        host.cut()
        try:
            host.run("sleep", f"{self._dice.uniform(0.1, 0.6) * LEASE_S:.1f}")
        finally:
            host.mend()
        return host.name

    def _freeze(self, mending: ExitStack) -> str:
        host = self._hosts.host(self._dice.choice(self._left))
        with host.frozen("chief:0") as (tasks, rest):
            time.sleep(self._dice.uniform(0.1, 0.5) * LEASE_S)
            tasks.thaw()
            rest.thaw()
        return host.name

    def _scale(self, mending: ExitStack) -> str:
        count = self._dice.randint(1, 5)
        return f"{count} {client.ask(RunFolder(self._run.folder), control.AskScale(count=count))}"

    def _drain(self, mending: ExitStack) -> str:
        name = self._dice.choice(self._left)
        refused = client.ask(RunFolder(self._run.folder), control.AskDrain(host=name))
        if not refused:
            self._left.remove(name)
        return f"{name} {refused}"

    def _lose(self, mending: ExitStack) -> str:
        host = self._hosts.host(self._dice.choice(self._left))
        if len(self._left) == 1:
            return "nothing: it is the last"
        self._left.remove(host.name)
        host.cut()
        try:
            wait_until(lambda: not host.ours(), f"for the end on {host.name}: {host.ours()}")
        finally:
            host.mend()
        return host.name


def _continue(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def begin(hosts: Network, live: StartLive, number: int) -> tuple[Live, Path]:
    folder = hosts.shared / f"beats-{number}"
    folder.mkdir()
    (folder / "began").write_text(str(time.time()))
    inside = f"{SHARED}/{folder.name}"
    policy = {"lease_s": LEASE_S, "grace_s": GRACE_S, "restarts": 20, "lost_hosts": 2, "backoff_s": 0.1}
    written = spec(
        hosts,
        command=["python", PROGRAM, inside, f"{inside}/go"],
        policy=policy,
        roles=ROLES,
        model_dir=f"{SHARED}/roams-{number}",
    )
    run = live(hosts, written)
    run.until_training()
    run.wait_for("task_changed", task="evaluator:0", state="ready")
    return run, folder


def overlaps(folder: Path) -> Iterator[str]:
    """Attempts of a task that worked at once."""
    beats: dict[str, dict[int, tuple[float, float]]] = {}
    for file in folder.glob("*:*.*"):
        task, _, attempt = file.name.rpartition(".")
        if text := file.read_text():
            first, last = map(float, text.split())
            beats.setdefault(task, {})[int(attempt)] = first, last
    for task, attempts in beats.items():
        for former, later in pairwise(sorted(attempts)):
            if attempts[former][1] > attempts[later][0]:
                yield f"{task}: {former} until {attempts[former][1]}, {later} from {attempts[later][0]}"


@pytest.mark.parametrize("number", NUMBERS)
def test_drill(three_hosts: Network, live: StartLive, number: int) -> None:
    if why := freezer.missing():
        pytest.skip(why)
    run, folder = begin(three_hosts, live, number)
    drill = Drill(number, three_hosts, run)
    drill.carry_out()
    note(*(f"host: {what.partition(' ')[0]}" for what in drill.done))
    since = time.time()
    wait_until(lambda: run.client.poll() is not None or _all_train_since(run, since), f"after {drill.done}: {run.said}")
    (folder / "go").touch()
    code = run.client.wait(120)
    assert code == 0, (drill.done, run.said)
    wait_until_gone(three_hosts)
    assert list(overlaps(folder)) == [], drill.done
    assert run.report()["generation"] == 1, (drill.done, run.said)


def _all_train_since(run: Live, since: float) -> bool:
    """Whether nobody is on his way any more."""
    newest = {event["task"]: event["state"] for event in run.events("task_changed")}
    trainers = [state for task, state in newest.items() if not task.startswith(("ps", "evaluator"))]
    others = [state for task, state in newest.items() if task.startswith(("ps", "evaluator"))]
    return all(state in ("training", "left") for state in trainers) and all(state == "ready" for state in others)
