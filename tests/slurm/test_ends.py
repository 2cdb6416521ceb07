"""How a run ends when Slurm ends it, or takes nodes away."""

from __future__ import annotations

import pytest

from tests.e2e.running import REPORT
from tests.hosts.running import ENDLESS
from tests.slurm.lab import Lab, until
from tests.slurm.running import Batch, Submit, spec, until_gone

# Told to stop, they take their last steps, and the chief saves.
WORDS = {**ENDLESS, "chief": "gate,ready,step=1,stop,finished=1,barrier,saved=1", "evaluator": "ready,drain"}
POLICY = {"policy": {"grace_s": 8}}


def check_saved(run: Batch) -> None:
    """The end was heard by every trainer, and the last step is in a checkpoint."""
    until((run.folder / REPORT).exists, "the report", lambda: run.said)
    assert run.report["outcome"] == "interrupted", run.said

    assert run.report["exit_code"] == 143
    assert run.report["checkpoints"][-1]["global_step"] == run.report["global_step"]
    until_gone(run.slurm)


def test_a_batch_job_that_ends_well_is_completed(slurm: Lab, batch: Submit) -> None:
    run = batch(spec())
    assert run.end() == "COMPLETED", run.said
    assert run.report["outcome"] == "succeeded"
    until_gone(slurm)


def test_scancel_saves_first(slurm: Lab, batch: Submit) -> None:
    run = batch(spec(WORDS, **POLICY))
    run.until_training()
    slurm.run("scancel", run.job)
    assert run.end() == "CANCELLED", run.said
    until(lambda: run.events("run_ended"), "the end of the run", lambda: run.said)
    check_saved(run)


@pytest.mark.parametrize("limit", ["1"])
def test_a_time_limit_saves_first(slurm: Lab, batch: Submit, limit: str) -> None:
    """Slurm ends a job up to half a minute after its limit, and tells it KillWait before."""
    run = batch(spec(WORDS, **POLICY), f"--time={limit}")
    run.until_training()
    assert run.end(200) in ("TIMEOUT", "FAILED"), run.said
    until(lambda: run.events("run_ended"), "the end of the run", lambda: run.said)
    check_saved(run)


def test_preemption_saves_within_the_grace_time(slurm: Lab, batch: Submit) -> None:
    """Steps hear of it at once, the batch script when it is over."""
    run = batch(spec(WORDS, **POLICY), "--partition=low")
    run.until_training()
    other = slurm.run("sbatch", "--parsable", "--partition=high", "-N3", "--exclusive", "--wrap", "true").strip()
    until(lambda: run.events("run_ended"), "the end of the run", lambda: run.said)
    check_saved(run)
    until(lambda: slurm.job(other)["JobState"] == "COMPLETED", "the other job", slurm.words)
