"""The shared job trains on three nodes of a Slurm job, with TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.slurm.lab import Lab, until
from tests.slurm.running import Seen, Start, Submit, spec, until_gone

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="session")
def data(whole_lab: Lab) -> Path:
    place = whole_lab.shared / "data"
    generate = ["-m", "jobs.esmm", "generate", "--out", str(place), "--train-examples", "100000"]
    subprocess.run([sys.executable, *generate, "--eval-examples", "20000"], check=True, capture_output=True)
    return place


def training(data: Path) -> dict[str, object]:
    command = ["python", "-m", "jobs.esmm", "train", "--data", str(data), "--model-dir", "{model_dir}"]
    return spec(command=command, preload=["tensorflow"])


def check(run: Seen) -> None:
    """What the report of a good run says."""
    assert run.report["outcome"] == "succeeded", run.said
    assert {task["task"]: task["state"] for task in run.report["tasks"]} == {
        **dict.fromkeys(("ps:0", "ps:1"), "stopped"),
        **dict.fromkeys(("chief:0", "worker:0", "worker:1", "worker:2", "evaluator:0"), "succeeded"),
    }
    trainers = [task for task in run.report["tasks"] if task["task"].startswith(("chief", "worker"))]
    assert all(task["local_steps"] > 0 and task["examples"] > 0 for task in trainers)
    assert run.report["metrics"]["global_step"] == run.report["checkpoints"][-1]["global_step"]
    assert run.report["metrics"]["ctr_auc"] > 0.5
    assert len(list((run.folder / "model" / "export" / "esmm").glob("[0-9]*/saved_model.pb"))) == 1
    until_gone(run.slurm)


def test_the_shared_job_inside_a_job(slurm: Lab, inside: Start, data: Path) -> None:
    run = inside(training(data))
    run.until("host_changed", state="granted")
    (job,) = slurm.jobs()
    assert run.end(400) == 0, run.said
    check(run)
    until(lambda: slurm.job(job)["JobState"] == "COMPLETED", "the end of the job", slurm.words)


def test_the_shared_job_in_a_job_of_its_own(slurm: Lab, submitted: Submit, data: Path) -> None:
    run = submitted(training(data))
    assert run.end(400) == "COMPLETED", run.said
    check(run)
