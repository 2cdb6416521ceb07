"""A host that is lost costs its own tasks their place, and nobody else his process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.agent.host.fence import HOLDERS
from launcher.record.reading import load_view
from launcher.record.runs import RunFolder
from launcher.wire.roles import TaskId
from tests.e2e.running import environment, tflaunch_argv
from tests.hosts.fixtures import three_hosts
from tests.hosts.namespaces import SHARED, Network
from tests.hosts.running import Live, StartLive, live, spec, wait_until, wait_until_gone

__all__ = ["live", "three_hosts"]

pytestmark = [pytest.mark.e2e, pytest.mark.hosts, pytest.mark.tensorflow, pytest.mark.soak, pytest.mark.timeout(2400)]

LEASE_S, GRACE_S = 12.0, 2.0
ON = ["a", "b", "c"]
ROLES: dict[str, Any] = {
    "ps": {"count": 2, "on": ["a", "b"]},
    "chief": {"on": ["a"]},
    "worker": {"count": 2, "on": ["c", "a"]},
    "evaluator": {"on": ["c", "a"]},
}


def attempts(run: Live) -> dict[str, int]:
    newest = {event["task"]: event["attempt"] for event in run.events("task_changed") if event["pid"]}
    return newest


def begin(hosts: Network, live: StartLive, model: str, roles: dict[str, Any] | None = None) -> Live:
    """The shared job, which has saved twice and trains."""
    data = hosts.shared / "data"
    if not data.exists():
        generate = ["-m", "jobs.esmm", "generate", "--out", str(data), "--train-examples", "300000"]
        subprocess.run([sys.executable, *generate, "--eval-examples", "20000"], check=True, capture_output=True)
    command = ["python", "-m", "jobs.esmm", "train", "--data", f"{SHARED}/data", "--model-dir", "{model_dir}"]
    written = spec(
        hosts,
        command=[*command, "--max-steps", "1000000", "--save-checkpoints-steps", "40"],
        model_dir=f"{SHARED}/{model}",
        preload=["tensorflow"],
        roles=roles or ROLES,
        policy={"lease_s": LEASE_S, "grace_s": GRACE_S, "lost_hosts": 2},
    )
    run = live(hosts, written)
    wait_until(lambda: len(run.events("checkpoint_written")) >= 2, f"for checkpoints: {run.said}", 900.0)
    run.until_training(("chief:0", "worker:0", "worker:1"))
    return run


def end(run: Live) -> None:
    run.client.terminate()
    assert run.client.wait(300.0) == 143, run.said
    assert run.report()["generation"] == 1


def local_steps(run: Live, task: str) -> int:
    return load_view(RunFolder(run.folder)).tasks[TaskId.parse(task)].local_steps or 0


def until_all_go_on(run: Live) -> None:
    """Each of them has trained a step more than now."""
    steps = {task: local_steps(run, task) for task in ("chief:0", "worker:0", "worker:1")}
    for task, before in steps.items():
        wait_until(lambda: local_steps(run, task) > before, f"for {task} to train: {run.said[-3000:]}", 300.0)  # noqa: B023


def test_a_host_is_drained(three_hosts: Network, live: StartLive, tmp_path: Path) -> None:
    run = begin(three_hosts, live, "drained")
    before = attempts(run)
    argv = tflaunch_argv("drain", "b")  # ps:1
    (tmp_path / "runs").symlink_to(tmp_path)
    told = subprocess.check_output(argv, cwd=tmp_path, env=environment(HOME=str(three_hosts.user_home)), text=True)
    assert told.endswith(": everything leaves b, and goes on on the other hosts\n")
    wait_until(lambda: run.events("move_over"), f"for the tasks of b: {run.said[-3000:]}", 300.0)
    assert {task for task in before if attempts(run)[task] != before[task]} == {"ps:1"}
    (over,) = run.events("move_over")
    assert over["steps_rolled_back"] == 0
    until_all_go_on(run)
    end(run)
    wait_until_gone(three_hosts)


def test_the_host_of_the_chief(three_hosts: Network, live: StartLive) -> None:
    roles = {
        "ps": {"count": 1, "on": ["b"]},
        "chief": {"on": ["a", "b"]},
        "worker": {"count": 2, "on": ["c", "b"]},
        "evaluator": {"on": ["c"]},
    }
    run = begin(three_hosts, live, "chiefless", roles)
    before = attempts(run)
    three_hosts.host("a").cut()
    lost = run.wait_for("host_changed", timeout_s=600.0, host="a", state="lost")
    trained = {task: local_steps(run, task) for task in ("worker:0", "worker:1")}
    back = run.wait_for("task_changed", timeout_s=600.0, task="chief:0", attempt=2, state="ready")
    assert back["reason"] == "kept the live variables" and back["at"] > lost["at"]
    assert all(local_steps(run, task) > steps for task, steps in trained.items()), "they trained without it"
    over = run.wait_for("move_over", timeout_s=600.0)
    assert over["steps_rolled_back"] == 0
    assert {task for task in before if attempts(run)[task] != before[task]} == {"chief:0"}
    until_all_go_on(run)
    holders = (three_hosts.shared / "chiefless" / HOLDERS).read_text().splitlines()
    assert [line for line in holders if line.endswith(" chief:0 1")], "the former chief has lost the folder"
    end(run)
    three_hosts.host("a").mend()
    wait_until_gone(three_hosts)


def test_hosts_of_a_worker_and_of_a_parameter_server(three_hosts: Network, live: StartLive) -> None:
    run = begin(three_hosts, live, "lost")
    before = attempts(run)
    three_hosts.host("c").cut()  # worker:0 and the evaluator
    wait_until(lambda: run.events("move_over"), f"for the tasks of c: {run.said[-3000:]}", 600.0)
    after = attempts(run)
    assert {task for task in before if after[task] != before[task]} == {"worker:0", "evaluator:0"}

    three_hosts.host("b").cut()  # ps:1
    wait_until(lambda: len(run.events("move_over")) == 2, f"for the tasks of b: {run.said[-3000:]}", 600.0)
    assert {task for task in after if attempts(run)[task] != after[task]} - {"worker:0", "evaluator:0"} == {"ps:1"}
    until_all_go_on(run)
    end(run)
    for name in "bc":
        three_hosts.host(name).mend()
    wait_until_gone(three_hosts)
