"""Runs inside a Slurm job: its nodes by its steps."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.hosts.running import ENDLESS, GOOD
from tests.hosts.test_runs import HOSTILE
from tests.slurm.lab import NODES, Lab, until
from tests.slurm.running import Start, ask, spec, until_gone


def test_a_good_run_over_three_nodes(slurm: Lab, inside: Start) -> None:
    run = inside(spec())
    assert run.end() == 0, run.said
    assert (run.report["outcome"], run.report["cause"], run.report["global_step"]) == ("succeeded", None, 10)
    assert {task["task"]: (task["host"], task["state"]) for task in run.report["tasks"]} == {
        "ps:0": ("node-0", "stopped"),
        "ps:1": ("node-1", "stopped"),
        "chief:0": ("node-0", "succeeded"),
        "worker:0": ("node-0", "succeeded"),
        "worker:1": ("node-1", "succeeded"),
        "worker:2": ("node-2", "succeeded"),
        "evaluator:0": ("node-2", "succeeded"),
    }
    until_gone(slurm)


def test_values_arrive_as_they_are(slurm: Lab, inside: Start) -> None:
    words = {**GOOD, "worker": f"env=SECRET,orig-argv,env=INHERITED,{GOOD['worker']}"}
    written = spec(words, env={"SECRET": HOSTILE})
    written["command"] = [*written["command"], HOSTILE]
    run = inside(written, INHERITED=HOSTILE)
    assert run.end() == 0, run.said
    for index in range(3):
        secret, argv, inherited = map(json.loads, run.log(f"worker:{index}").splitlines())
        assert (secret, argv[-1], inherited) == (["SECRET", HOSTILE], HOSTILE, ["INHERITED", HOSTILE])


@pytest.mark.parametrize("how", ["no hosts", "asked for"])
def test_the_nodes_of_the_job_are_taken(how: str, slurm: Lab, inside: Start) -> None:
    roles = {"ps": {"count": 2}, "chief": {}, "worker": {"count": 3}, "evaluator": {}}
    written = {key: value for key, value in spec(roles=roles).items() if key != "engine"}
    listed = {**written, "hosts": [{"name": "a", "address": "10.0.0.1", "ssh": {}}]}
    run = inside(written) if how == "no hosts" else inside(listed, "--hosts-from", "slurm")
    assert run.end() == 0, run.said
    granted = {each["host"]: each["facts"]["details"]["node"] for each in run.events("host_changed", state="granted")}
    assert granted == {"node-0": "n1", "node-1": "n2", "node-2": "n3"}
    hosts = {task["task"]: task["host"] for task in run.report["tasks"]}
    assert [hosts[f"worker:{index}"] for index in range(3)] == ["node-0", "node-1", "node-2"]


def test_listed_hosts_stay_what_they_are(inside: Start) -> None:
    """With a line that says so."""
    roles = {"ps": {"count": 1}, "chief": {}, "worker": {"count": 1}}
    run = inside({**spec(roles=roles), "engine": None, "hosts": [{"name": "here", "address": "127.0.0.1"}]})
    assert run.end() == 0, run.said
    assert "the run is on the spec's hosts; --hosts-from slurm takes the job's nodes" in run.said
    assert {task["host"] for task in run.report["tasks"]} == {"here"}


def test_killing_every_pipe_once_restarts_nothing(slurm: Lab, inside: Start) -> None:
    run = inside(spec({**ENDLESS, "evaluator": "ready,drain"}))
    run.until_training()
    before = {name: relay(slurm, name) for name in NODES}
    for name, pid in before.items():
        slurm.inside(name, "kill", "-KILL", str(pid))
    until(lambda: all(relay(slurm, name) not in (0, pid) for name, pid in before.items()), "other pipes", slurm.words)
    ask("stop", run)
    assert run.end() in (0, 130), run.said
    assert [task["restarts"] for task in run.report["tasks"]] == [0] * 7
    assert run.report["recoveries"] == []
    until_gone(slurm)


def relay(slurm: Lab, name: str) -> int:
    """The process of the pipe to a node's agent, 0 if there is none."""
    found = [pid for pid, words in slurm.processes(name).items() if " relay " in words and not words.startswith("sh ")]
    return found[-1] if found else 0


@pytest.mark.parametrize("dies", ["supervisor", "hold"])
def test_no_task_outlives_who_held_it(dies: str, slurm: Lab, inside: Start) -> None:
    """A supervisor's death ends the run when its leases have passed; that of a step, at once, what lives in it."""
    run = inside(spec(ENDLESS, policy={"lease_s": 5, "grace_s": 1, "lost_hosts": 0}))
    run.until_training()
    if dies == "supervisor":
        os.kill(json.loads((run.folder / "supervisor.json").read_text())["pid"], signal.SIGKILL)
        assert run.end() == 1, run.said
    else:
        (pid,) = [pid for pid, words in slurm.processes("n2").items() if " hold " in words]
        slurm.inside("n2", "kill", "-KILL", str(pid))
        assert run.end() == 3, run.said
        assert run.report["cause"]["host"] == "node-1"
    until_gone(slurm)
