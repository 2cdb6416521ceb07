"""Real clusters on this machine: ps, chief, two workers, evaluator."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.timeline.samples import read_folder
from tests.e2e.running import TIMEOUT_S, Finished, alive, environment, tflaunch
from tests.launcher.timeline.test_timeline import check_format

HOSTILE = "a \"b\" $(c) {d,e} ü \\ 'f'"
OWN = re.compile(
    r"TFT_|goo\.gle/debug|\.cc:\d+\]|deprecat|^\s*(?:args \{|\})$|neither a subtype|while inferring|WARNING"
)
SCRIPT = Path(__file__).parent / "canned.py"

pytestmark = [pytest.mark.tensorflow, pytest.mark.e2e]


def run_id(done: Finished) -> str:
    first = (done.run_dir / "events.jsonl").read_text().splitlines()[0]
    return str(json.loads(first)["run_id"])


@pytest.mark.legacy
def test_an_unmodified_script_trains_on_four_roles(tmp_path: Path) -> None:
    model = tmp_path / "model"
    arguments = ["--steps", "1500", "--model_dir", str(model), "--flag", HOSTILE]
    done = tflaunch(
        *("local", "--workers", "2", "--ps", "1", "--run-dir", "run", "--plain", "--"),
        *("python", str(SCRIPT), *arguments),
        cwd=tmp_path,
    )
    assert done.code == 0, done.stdout + done.stderr
    assert done.report is not None and done.report["outcome"] == "succeeded"
    assert [task["task"] for task in done.report["tasks"]] == ["ps:0", "chief:0", "worker:0", "worker:1", "evaluator:0"]
    for task in done.report["tasks"]:
        assert f"argv {json.dumps(arguments)}" in done.log(task["task"])
        assert task["state"] == ("stopped" if task["task"] == "ps:0" else "succeeded")
    steps = {name: done.task(name)["local_steps"] for name in ("chief:0", "worker:0", "worker:1")}
    assert min(steps.values()) > 0, steps  # how they share depends on the machine; the sample job below is judged by it
    last = done.report["checkpoints"][-1]["global_step"]
    assert done.report["metrics"]["global_step"] == last >= 1500
    assert done.report["global_step"] >= 1500  # not what one of them has done
    assert alive(run_id(done)) == []
    said = [line.partition(" | ")[2] for line in done.stdout.splitlines() if line.startswith(("chief", "worker", "ev"))]
    assert any(line.startswith("done chief") for line in said)
    assert [line for line in said if OWN.search(line)] == []  # TensorFlow's own, but for what the script has turned on


@pytest.mark.legacy
def test_a_script_without_a_model_dir_gets_one_of_the_run(tmp_path: Path) -> None:
    """And it is watched closely: traced, logged in one form, its waiting for input measured. It sends bfloat16."""
    watched = ("--profile-steps", "40", "--tensorboard", "--log-level", "info", "--tune", "bfloat16-transfer")
    done = tflaunch(
        *("local", "--workers", "1", "--ps", "1", "--run-dir", "run", "--plain", *watched, "--"),
        *("python", str(SCRIPT), "--steps", "600"),
        cwd=tmp_path,
    )
    assert done.code == 0, done.stdout + done.stderr
    assert (done.run_dir / "model" / "checkpoint").exists()
    check_traces(done, tmp_path)
    events = [json.loads(line) for line in (done.run_dir / "events.jsonl").read_text().splitlines()]
    waits = [
        event["input_wait"] for event in events if event["kind"] == "progressed" and event["input_wait"] is not None
    ]
    assert waits and all(0 <= wait <= 1 for wait in waits)
    said = [line for line in done.log("chief:0").splitlines() if "loss = " in line and "step = " in line]
    assert re.search(r"bfloat16-transfer: \d+ tensors of a step", done.log("chief:0"))
    assert said and all(LOG_LINE.match(line) for line in said), said
    assert len(said) == len(set(said))
    assert "will be removed in a future version" not in done.stdout


LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO chief:0 basic_session_run_hooks\.py:\d+\] ")


def check_traces(done: Finished, cwd: Path) -> None:
    samples, problems = read_folder(done.run_dir / "timeline")
    assert samples and not problems
    trainers = {sample.task for sample in samples} - {"evaluator:0"}
    assert trainers <= {"chief:0", "worker:0"}
    for sample in samples:
        if sample.task in trainers:
            sent = {
                sample.owner(device) for device, ops in sample.devices.items() for op in ops if "bfloat16" in op.name
            }
            assert sent == {"ps:0", sample.task}
            assert {"ps:0", sample.task} <= {sample.owner(device) for device in sample.devices}
            assert any("IteratorGetNext" in op.type for op in sample.own())
    firsts = [sample for sample in samples if sample.transfers]
    assert firsts and all(sum(size for _, _, size in sample.transfers) > 0 for sample in firsts)
    told = tflaunch("timeline", "run", cwd=cwd)
    assert told.code == 0, told.stderr
    assert "load per parameter server" in told.stdout
    check_format(json.loads((done.run_dir / "trace.json").read_text()))


def test_the_sample_job_trains_and_exports(tmp_path: Path) -> None:
    done = tflaunch("local", "--workers", "2", "--ps", "1", "--run-dir", "run", "--plain", cwd=tmp_path)
    assert done.code == 0, done.stdout + done.stderr
    assert done.report is not None
    trained = {name: done.task(name) for name in ("chief:0", "worker:0", "worker:1")}
    total = sum(task["local_steps"] for task in trained.values())
    assert all(task["local_steps"] >= total / 10 and task["examples"] > 0 for task in trained.values())
    assert done.report["metrics"]["global_step"] == done.report["checkpoints"][-1]["global_step"]
    exports = done.run_dir / "model" / "export"
    assert len(list((exports / "esmm").glob("[0-9]*/saved_model.pb"))) == 1
    assert (exports / "best" / "current" / "saved_model.pb").exists()
    assert alive(run_id(done)) == []


def test_a_cluster_trains_whose_tf_config_does_not_fit_a_variable(tmp_path: Path) -> None:
    model = tmp_path / "model"
    runner = [sys.executable, str(Path(__file__).parent / "small_limit.py")]
    arguments = ["local", "--workers", "3", "--ps", "1", "--run-dir", "run", "--plain", "--"]
    script = ["python", str(SCRIPT), "--steps", "1500", "--model_dir", str(model)]
    done = subprocess.run(
        [*runner, *arguments, *script],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    workers = [task for task in report["tasks"] if task["task"].startswith("worker")]
    assert len(workers) == 3 and all(task["local_steps"] > 0 for task in workers)
    assert "0:1" in (tmp_path / "run" / "logs" / "worker-0.log").read_text()


def test_a_plain_keras_model_gets_the_keras_of_its_tensorflow(tmp_path: Path) -> None:
    """Legacy Keras is chosen for those who need it, and for nobody else."""
    flags = ("--workers", "0", "--ps", "0", "--no-evaluator", "--run-dir", "run", "--plain")
    done = tflaunch("local", *flags, "--", "python", str(Path(__file__).with_name("plain_keras.py")), cwd=tmp_path)
    assert done.code == 0, done.stdout + done.stderr
    assert re.search(r"trained by Keras 3\.\S+ keras\.src\.", done.log("chief:0"))
