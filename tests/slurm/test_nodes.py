"""Nodes, or their slurmd, that are lost while a run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.slurm.lab import Lab, until
from tests.slurm.running import Submit, spec, until_gone
from tests.slurm.test_requeue import REQUEUE_S, WORDS

ROLES = {"ps": {"count": 1}, "chief": {}, "worker": {"count": 3}}
POLICY = {"lease_s": 6, "grace_s": 1}


@pytest.mark.parametrize("how", ["dies", "is cut off"])
def test_a_spare_node_takes_over(how: str, slurm: Lab, submitted: Submit, place: Path) -> None:
    """Everybody starts again from the last checkpoint, since these programs cannot roam."""
    engine = {"slurm": {"nodes": 2, "spare": 1}}
    run = submitted(spec(WORDS, engine=engine, roles=ROLES, policy=POLICY, model_dir=str(place / "model")))
    run.until_training()
    assert {task["host"] for task in run.events("task_changed", state="training")} == {"node-0", "node-1"}
    if how == "dies":
        slurm.end_node("n2")
    else:
        slurm.cut("n2")
    try:
        assert run.end(200) == "COMPLETED", run.said
    finally:
        if how != "dies":
            slurm.mend("n2")
    assert run.report["outcome"] == "succeeded", run.said
    hosts = {task["task"]: task["host"] for task in run.report["tasks"]}
    assert hosts["worker:1"] == "node-2"
    assert set(hosts.values()) == {"node-0", "node-2"}
    until_gone(slurm, "n1", "n3")


def test_without_slurmd_a_run_goes_on(slurm: Lab, submitted: Submit) -> None:
    """What runs there is no child of it; only new steps, and so new pipes, cannot be had until it is back."""
    words = {**WORDS, "worker:1#1": "gate,ready,step=1,finished=1", "worker:0#1": "gate,ready,step=1,finished=1"}
    words |= {"worker:2#1": "gate,ready,step=1,wait-file=go,finished=1", "chief#1": "gate,ready,step=1,finished=1"}
    words["chief#1"] += ",barrier,saved=1"
    run = submitted(spec(words, policy={"lease_s": 6, "grace_s": 1}))
    run.until_training()
    slurm.end_slurmd("n3")
    until(lambda: slurm.nodes()["n3"].startswith("down") or "*" in slurm.nodes()["n3"], "Slurm to see it", slurm.words)
    (run.cwd / "go").touch()
    try:
        until(lambda: run.events("run_ended"), "its end", lambda: run.said)
    finally:
        slurm.start_slurmd("n3")
    assert run.events("run_ended")[0]["outcome"] == "succeeded", run.said
    assert [task["restarts"] for task in run.report["tasks"]] == [0] * 7
    until_gone(slurm)


def test_a_job_that_has_lost_its_batch_script_is_ended(slurm: Lab, submitted: Submit) -> None:
    """Nobody is in charge any more: the other nodes end their tasks when the lease has passed, and then the job."""
    run = submitted(spec(WORDS, policy=POLICY))
    run.until_training()
    slurm.end_node("n1")
    assert run.end(200) == "CANCELLED"
    until_gone(slurm, "n2", "n3")
    assert not run.events("run_ended")


def test_or_goes_on_when_it_may(slurm: Lab, submitted: Submit) -> None:
    run = submitted(spec(WORDS, policy=POLICY, engine={"slurm": {"nodes": 2, "spare": 0, "requeue": 1}}, roles=ROLES))
    run.until_training()
    slurm.end_node("n1")
    until(lambda: slurm.job(run.job)["Restarts"] == "1", "another turn", lambda: run.said, 200)
    slurm.begin_node("n1")
    assert run.end(REQUEUE_S) == "COMPLETED", run.said
    assert [part["outcome"] for part in run.report["parts"]] == ["lost", "succeeded"], run.report["parts"]
    until_gone(slurm)
