"""Jobs that Slurm takes away, and that go on later: the next part of the same run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.test_streaming import make_data
from tests.hosts.namespaces import REPOSITORY
from tests.slurm.lab import Lab, until
from tests.slurm.running import Submit, spec, until_gone
from tests.soak import checks

REQUEUE_S = 300.0  # Slurm has a requeued job wait for two minutes
# The first part goes on until it is told to end, the second ends by itself.
WORDS = {
    "ps": "listen,ready,hang",
    "chief#1": "gate,ready,step=1,stop,finished=1,barrier,saved=1",
    "chief": "gate,ready,step=2,finished=2,barrier,saved=2",
    "worker:0#1": "gate,ready,step=1,stop",
    "worker:1#1": "gate,ready,step=1,stop",
    "worker:2#1": "gate,ready,step=1,stop",
    "worker": "gate,ready,step=2,finished=2",
    "evaluator": "ready,drain",
}


@pytest.mark.parametrize("how", ["preempted", "time limit"])
def test_a_job_that_is_taken_away_goes_on(how: str, slurm: Lab, submitted: Submit) -> None:
    keys = {"nodes": 3, "requeue": 1, **({"partition": "low"} if how == "preempted" else {"time": "1m"})}
    run = submitted(spec(WORDS, engine={"slurm": keys}, policy={"grace_s": 8}))
    run.until_training()
    if how == "preempted":
        slurm.run("sbatch", "--partition=high", "-N3", "--exclusive", "--wrap", "true")
    until(lambda: run.events("run_ended"), "the end of the first part", lambda: run.said, 200)
    until(lambda: "waits again" in run.said, "another turn", lambda: run.said)
    until(lambda: slurm.job(run.job)["Restarts"] == "1", "it", lambda: run.said)
    assert run.end(REQUEUE_S) == "COMPLETED", run.said
    assert run.report["outcome"] == "succeeded", run.said
    assert [part["outcome"] for part in run.report["parts"]] == ["interrupted", "succeeded"]
    assert run.report["global_step"] == 2
    until_gone(slurm)


def test_a_job_that_is_cancelled_does_not(slurm: Lab, submitted: Submit) -> None:
    run = submitted(spec(WORDS, engine={"slurm": {"nodes": 3, "requeue": 1}}, policy={"grace_s": 8}))
    run.until_training()
    slurm.run("scancel", run.job)
    until(lambda: run.events("run_ended"), "its end", lambda: run.said)
    assert run.end() == "CANCELLED"
    assert "waits again" not in run.said
    until_gone(slurm)


@pytest.mark.tensorflow
def test_no_example_is_lost_or_trained_twice_by_it(slurm: Lab, submitted: Submit, place: Path) -> None:
    """With TensorFlow: what was saved within the grace time is what the next part goes on with."""
    data = make_data(place / "data", shards=200, most_rows=60)
    options = {
        "model_dir": str(place / "model"), "audit": str(place / "audit"), "sources": [str(data.folder)],
        "epochs": checks.EPOCHS, "batch": 8, "save_steps": 10**6, "step_s": 0.1, "signed": str(place / "signed"),
        "noise_mib": 0,
    }  # fmt: skip
    roles = {"ps": {"count": 2}, "chief": {}, "worker": {"count": 3}}
    command = ["python", "-m", "tests.soak.job", json.dumps(options)]
    engine = {"slurm": {"nodes": 3, "requeue": 1, "partition": "low"}}
    keys = {"cwd": str(REPOSITORY), "preload": ["tensorflow"], "model_dir": str(place / "model")}
    run = submitted(spec(command=command, engine=engine, roles=roles, policy={"grace_s": 12}, **keys))
    run.until_training()
    slurm.run("sbatch", "--partition=high", "-N3", "--exclusive", "--wrap", "true")
    assert run.end(2 * REQUEUE_S) == "COMPLETED", run.said
    first, second = run.report["parts"]
    assert (first["outcome"], second["outcome"]) == ("interrupted", "succeeded"), run.said
    saved = [event["global_step"] for event in run.events("checkpoint_written") if event["at"] <= first["ended"]]
    assert 0 < first["global_step"] == max(saved), "a step was lost"
    checks.every_example_was_trained(place / "audit", data.rows, run.report)
    assert run.report["input"]["duplicates"] == 0
    until_gone(slurm)
