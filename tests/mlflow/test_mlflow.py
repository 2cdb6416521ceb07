"""What a server of MLflow has of a run afterwards, asked by its own client."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

ROOT = Path(__file__).parents[2]
TRAIN = (
    str(ROOT / "tests" / "e2e" / "fake_cluster.py"),
    "chief=gate,ready,step=10,saved=10,sleep=1,step=20,finished=20",
)
EVALUATE = "evaluator=ready,evaluated=10,evaluated=20,drain"
START_S = 120.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    address = f"http://127.0.0.1:{(port := free_port())}"
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "kept")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + START_S
        while not answers(address):
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5):
            return True
    except OSError:
        return False


def tflaunch(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    own = ["--plain", "--run-dir", "run", "--ps", "0", "--workers", "0", "--name", "clicks"]
    command = [sys.executable, "-m", "launcher", "local", *own, *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)


def the_run(address: str) -> Run:
    client = MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name("clicks")
    assert experiment is not None
    return client.search_runs([experiment.experiment_id], order_by=["start_time DESC"])[0]


def test_a_run_is_a_run_of_mlflow(server: str, tmp_path: Path) -> None:
    done = tflaunch("--listen", f"mlflow={server}", "--", "python", *TRAIN, EVALUATE, "--lr", "0.1", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    run = the_run(server)
    assert run.info.status == "FINISHED", (tmp_path / "run" / "listeners.log").read_text()
    assert run.data.tags["tflaunch.outcome"] == "succeeded"
    assert run.data.params == {"chief": "1", "evaluator": "1", "lr": "0.1"}
    client = MlflowClient(tracking_uri=server)
    history = client.get_metric_history(run.info.run_id, "auc")
    assert [(each.step, round(each.value, 3)) for each in history] == [(10, 0.1), (20, 0.2)]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["report.json"]


def test_a_failed_run_is_a_failed_one_there(server: str, tmp_path: Path) -> None:
    words = ("--restarts", "0", "--no-evaluator", "--", "python", "-c", "raise SystemExit(3)")
    done = tflaunch("--listen", f"mlflow={server}", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert the_run(server).info.status == "FAILED"


def test_a_server_that_refuses_or_hangs_costs_the_run_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        for where in (f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{deaf.getsockname()[1]}"):
            folder = tmp_path / where.rpartition(":")[2]
            folder.mkdir()
            words = ("--listen", f"mlflow={where}", "--no-evaluator", "--", "python", *TRAIN)
            assert tflaunch(*words, cwd=folder).returncode == 0
