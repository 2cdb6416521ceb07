"""The shared job trains across three hosts, which have a folder in common and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.hosts.fixtures import three_hosts
from tests.hosts.namespaces import SHARED, Network
from tests.hosts.running import run_on, spec, wait_until_gone

__all__ = ["three_hosts"]

pytestmark = [pytest.mark.e2e, pytest.mark.hosts, pytest.mark.tensorflow]


def test_the_shared_job_trains_across_three_hosts(three_hosts: Network, tmp_path: Path) -> None:
    data = three_hosts.shared / "data"
    generate = ["-m", "jobs.esmm", "generate", "--out", str(data), "--train-examples", "300000"]
    subprocess.run([sys.executable, *generate, "--eval-examples", "20000"], check=True, capture_output=True)
    command = ["python", "-m", "jobs.esmm", "train", "--data", f"{SHARED}/data", "--model-dir", "{model_dir}"]
    written = spec(three_hosts, command=command, model_dir=f"{SHARED}/model", preload=["tensorflow"])
    done = run_on(three_hosts, tmp_path, written)
    assert done.code == 0, done.stdout + done.stderr
    assert done.report is not None and done.report["outcome"] == "succeeded"
    states = {task["task"]: task["state"] for task in done.report["tasks"]}
    assert states == {
        **dict.fromkeys(("ps:0", "ps:1"), "stopped"),
        **dict.fromkeys(("chief:0", "worker:0", "worker:1", "worker:2", "evaluator:0"), "succeeded"),
    }
    trainers = [done.task(name) for name in ("chief:0", "worker:0", "worker:1", "worker:2")]
    assert all(task["local_steps"] > 0 and task["examples"] > 0 for task in trainers)
    assert done.report["metrics"]["global_step"] == done.report["checkpoints"][-1]["global_step"]
    assert done.report["metrics"]["ctr_auc"] > 0.5
    assert len(list((three_hosts.shared / "model" / "export" / "esmm").glob("[0-9]*/saved_model.pb"))) == 1
    wait_until_gone(three_hosts)
