"""Ten kinds of failure, planted in a real job: each is named as what it is, and its advice makes the next run pass."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import sharing
from tests.e2e.running import Finished, tflaunch

SCRIPT = Path(__file__).parent / "faulty.py"
FAKE = Path(__file__).parent / "fake_cluster.py"
SMALL = ("--workers", "0", "--no-evaluator")
WORDS = {
    "ps": "listen,ready,hang",
    "chief": "gate,ready,step=10:320,finished=10,barrier,saved=10",
    "worker": "gate,ready,step=9:288,finished=9",
    "evaluator": "ready,drain",
}

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("shared")]
needs_tensorflow = pytest.mark.tensorflow


def launch(cwd: Path, run: str, options: tuple[str, ...], script: tuple[str, ...], *, limit: str = "") -> Finished:
    first = "local" if not options or options[0].startswith("--") else f"local {options[0]}"
    rest = options if first == "local" else options[1:]
    arguments = [*first.split(" ", 1), "--ps", "1", "--plain", "--run-dir", run, *rest]
    words = (*arguments, "--", "python", str(SCRIPT), *script)
    if limit:
        return tflaunch(*words, cwd=cwd, run=run, limit=limit)
    return sharing.tflaunch(*words, cwd=cwd, run=run)


def cause_of(done: Finished) -> dict[str, str]:
    assert done.report is not None, done.stderr
    cause = done.report["cause"]
    assert cause is not None, done.stdout[-4000:]
    return dict(cause)


def passes(done: Finished) -> None:
    assert done.code == 0, done.stdout[-4000:] + done.stderr


@needs_tensorflow
def test_a_loss_that_is_not_a_number(tmp_path: Path) -> None:
    cause = cause_of(launch(tmp_path, "a", ("--workers", "1", "--no-evaluator"), ("--lr", "5")))
    assert cause["kind"] == "nan_loss" and "NanLossDuringTrainingError" in cause["message"]
    assert "lower the learning rate" in cause["advice"]
    passes(launch(tmp_path, "b", SMALL, ("--lr", "0.1")))


@needs_tensorflow
def test_a_misspelt_metric_in_early_stopping(tmp_path: Path) -> None:
    script = ("--steps", "100000", "--save-steps", "100")
    cause = cause_of(launch(tmp_path, "a", ("--workers", "0"), ("--metric", "acuracy", *script)))
    assert (cause["kind"], cause["task"]) == ("metric", "chief:0")
    assert "did you mean 'accuracy' instead of 'acuracy'?" in cause["advice"]
    passes(launch(tmp_path, "b", ("--workers", "0"), ("--metric", "accuracy")))


@needs_tensorflow
def test_an_input_file_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "part-0.tfrecord"
    cause = cause_of(launch(tmp_path, "a", SMALL, ("--data", str(missing))))
    assert cause["kind"] == "missing_input" and str(missing) in cause["message"]
    assert "put the file there" in cause["advice"]
    subprocess.run([sys.executable, str(SCRIPT), "--plant", "write", "--data", str(missing)], check=True, timeout=120)
    passes(launch(tmp_path, "b", SMALL, ("--data", str(missing))))


@needs_tensorflow
def test_a_model_of_another_shape(tmp_path: Path) -> None:
    model = str(tmp_path / "model")
    passes(launch(tmp_path, "a", (*SMALL, "--model-dir", model), ("--steps", "5")))
    wider = ("--width", "8")
    cause = cause_of(launch(tmp_path, "b", (*SMALL, "--model-dir", model), wider))
    assert (cause["kind"], cause["task"]) == ("checkpoint_mismatch", "chief:0")
    assert "train in a new folder (--model-dir)" in cause["advice"]
    passes(launch(tmp_path, "c", (*SMALL, "--model-dir", model + "-wider"), wider))


@needs_tensorflow
def test_a_module_that_is_not_there(tmp_path: Path) -> None:
    cause = cause_of(launch(tmp_path, "a", SMALL, ("--module", "jsn")))
    assert cause["kind"] == "import" and "No module named 'jsn'" in cause["message"]
    assert "correct the module's name" in cause["advice"]
    passes(launch(tmp_path, "b", SMALL, ("--module", "json")))


@needs_tensorflow
def test_memory_that_does_not_suffice(tmp_path: Path) -> None:
    limit = "ulimit -v 25000000"
    cause = cause_of(launch(tmp_path, "a", (*SMALL, "--restarts", "0"), ("--rows", "30000"), limit=limit))
    assert (cause["kind"], cause["task"]) == ("out_of_memory", "chief:0")
    assert "a smaller batch or model" in cause["advice"] and "ulimit -v is 24,414 MiB" in cause["advice"]
    passes(launch(tmp_path, "b", SMALL, ("--rows", "0"), limit=limit))


@pytest.fixture
def foreign_server() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process that listens, as an orphan would, with SO_REUSEPORT; and its port."""
    code = (
        "import socket, time; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1);"
        "s.bind(('0.0.0.0', 0)); s.listen(); print(s.getsockname()[1], flush=True); time.sleep(3600)"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert server.stdout is not None
    yield server, int(server.stdout.readline())
    server.kill()
    server.wait()
    server.stdout.close()


def test_a_port_that_is_taken(tmp_path: Path, foreign_server: tuple[subprocess.Popen[bytes], int]) -> None:
    server, port = foreign_server
    (tmp_path / "spec.yaml").write_text(
        f"hosts: [{{name: here, address: 127.0.0.1, ports: {port}-{port + 1}}}]\n"
        "roles: {ps: {}, chief: {count: 1}, worker: {count: 0}, evaluator: {count: 0}}\n"
    )
    words = [f"{role}={text}" for role, text in WORDS.items()]
    command = ("local", "spec.yaml", "--no-preload", "--plain", "--run-dir")
    done = tflaunch(*command, "a", "--", "python", str(FAKE), *words, cwd=tmp_path, run="a")
    cause = cause_of(done)
    assert (done.code, cause["kind"]) == (3, "host")
    assert f"process {server.pid} (" in cause["message"] and server.poll() is None
    assert "end that process, or give the host a wider range (hosts[].ports)" in cause["advice"]
    spec = (tmp_path / "spec.yaml").read_text().replace(f"{port}-{port + 1}", "20000-30000")
    (tmp_path / "spec.yaml").write_text(spec)
    passes(tflaunch(*command, "b", "--", "python", str(FAKE), *words, cwd=tmp_path, run="b"))


@needs_tensorflow
def test_a_ps_that_dies_for_good(tmp_path: Path) -> None:
    drill = ("--workers", "1", "--no-evaluator", "--inject", "kill ps:0 at step 10")
    script = ("--steps", "200")
    done = launch(tmp_path, "a", (*drill, "--restarts", "ps=0"), script)
    cause = cause_of(done)
    assert (cause["task"], cause["kind"]) == ("ps:0", "signal") and "SIGKILL" in cause["message"]
    assert "allow it more restarts (--restarts ps=3)" in cause["advice"]
    passes(launch(tmp_path, "b", (*drill, "--restarts", "ps=3"), script))


@needs_tensorflow
def test_a_worker_that_is_stuck(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(
        "roles: {ps: {}, chief: {}, worker: {count: 1}, evaluator: {count: 0}}\n"
        "policy: {success: all_workers, grace_s: 3}\n"
    )
    done = launch(tmp_path, "a", ("spec.yaml",), ("--sleep-s", "3600", "--steps", "60"))
    cause = cause_of(done)
    assert (done.code, cause["kind"], cause["task"]) == (4, "hang", "worker:0")
    assert "in rows: time.sleep(ARGS.sleep_s)" in cause["message"] and "see why it stays at" in cause["advice"]
    passes(launch(tmp_path, "b", ("spec.yaml",), ("--sleep-s", "0")))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that is soon full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)], check=False
        ).returncode
    )
    if not mounted:
        pytest.skip("no small disk can be mounted here: run as root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@needs_tensorflow
def test_a_disk_that_is_full(tmp_path: Path, small_disk: Path) -> None:
    cause = cause_of(launch(tmp_path, "a", (*SMALL, "--model-dir", str(small_disk / "model")), ()))
    assert (cause["kind"], cause["task"]) == ("disk_full", "chief:0")
    assert "another folder (--model-dir)" in cause["advice"]
    passes(launch(tmp_path, "b", (*SMALL, "--model-dir", str(tmp_path / "model")), ()))


def changes_of(folder: Path, task: str) -> list[dict[str, object]]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines if line.endswith("}")]
    return [event for event in told if event["kind"] == "task_changed" and event["task"] == task]


def until_ready(folder: Path, task: str) -> None:
    deadline = time.monotonic() + 60.0
    while not any(event["state"] == "ready" for event in changes_of(folder, task)):
        assert time.monotonic() < deadline, f"{task} was never ready"
        time.sleep(0.02)


def pid_of(folder: Path, task: str) -> int:
    return int(str(next(event["pid"] for event in changes_of(folder, task) if event["pid"])))


def test_another_runs_ports_are_left_to_it(tmp_path: Path) -> None:
    """A run on ports that a live run holds ends with exit code 3; the live one goes on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        low = probe.getsockname()[1]
    (tmp_path / "spec.yaml").write_text(
        f"hosts: [{{name: here, address: 127.0.0.1, ports: {low}-{low + 1}}}]\n"
        "roles: {ps: {}, chief: {}, worker: {count: 0}, evaluator: {count: 0}}\n"
    )
    endless = [f"{role}={text}" for role, text in {**WORDS, "chief": "gate,ready,step=1,stop"}.items()]
    command = ("local", "spec.yaml", "--no-preload", "--name", "first", "--detach", "--run-dir", "a")
    assert tflaunch(*command, "--", "python", str(FAKE), *endless, cwd=tmp_path).code == 0
    events = tmp_path / "a" / "events.jsonl"
    try:
        until_ready(tmp_path / "a", "ps:0")
        second = tflaunch(
            *("local", "spec.yaml", "--no-preload", "--plain", "--run-dir", "b", "--", "python", str(FAKE), *endless),
            cwd=tmp_path,
            run="b",
        )
        assert second.code == 3 and cause_of(second)["kind"] == "host", second.stdout
        assert f"process {pid_of(tmp_path / 'a', 'ps:0')} (" in cause_of(second)["message"]
        assert '"run_ended"' not in events.read_text()
    finally:
        tflaunch("stop", "./a", cwd=tmp_path)
    assert '"outcome": "interrupted"' in events.read_text()
