"""Programs of other shapes than an Estimator's, for real: one of each. ``make shapes`` tries many more."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.fake_runs import Live
from tests.e2e.running import tflaunch

PROGRAMS = Path(__file__).parents[1] / "shapes"

pytestmark = [pytest.mark.tensorflow, pytest.mark.e2e]


@pytest.mark.legacy
def test_a_collective_that_loses_a_member_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    drill = ("--inject", "kill worker:1 at step 12")  # each of ten batches; saved every five of these
    cluster = ("--ps", "0", "--workers", "2", "--no-evaluator", "--plain", "--run-dir", "run", *drill)
    program = ("python", str(PROGRAMS / "collective.py"), "400", str(tmp_path / "model"))
    done = tflaunch("local", *cluster, "--", *program, cwd=tmp_path)
    assert done.code == 0 and done.report is not None, done.stdout[-6000:] + done.stderr
    assert done.report["shape"] == "collective"
    for task in ("chief:0", "worker:0", "worker:1"):
        assert done.task(task)["restarts"] == 1
        assert "DONE at step 400" in done.log(task)
    restored = [re.findall(r"restored at step (\d+)", done.log(task)) for task in ("chief:0", "worker:0", "worker:1")]
    assert restored[0] in [[str(step)] for step in range(50, 400, 50)], "whenever it was killed"
    assert restored.count(restored[0]) == 3
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", done.log("chief:0"))]
    assert losses[-1] < losses[0] / 10
    assert b"at-400" in b"".join(path.read_bytes() for path in (tmp_path / "model").glob("events.*"))


def test_a_coordinator_stops_in_grace_goes_on_and_ends_those_who_serve(
    tmp_path: Path, live: Callable[..., Live]
) -> None:
    model = str(tmp_path / "model")
    cluster = ("local", "--workers", "1", "--ps", "1", "--evaluator", "--plain", "--run-dir")
    program = ("python", str(PROGRAMS / "coordinated.py"), "100000", model)
    run = live({}, argv=(*cluster, "run", "--", *program))
    run.until_training("chief:0")
    run.client.send_signal(signal.SIGINT)
    code, output = run.end()
    assert code == 130, output[-6000:]
    assert run.report()["checkpoints"], "saved although it was in the middle"
    program = ("python", str(PROGRAMS / "coordinated.py"), "1", model)
    done = tflaunch(*cluster, "again", "--", *program, cwd=tmp_path, run="again")
    assert done.code == 0 and done.report is not None, done.stdout[-6000:] + done.stderr
    assert re.search(r"restored at step [1-9]", done.log("chief:0")) and done.report["shape"] == "coordinator"
    assert {task["task"]: task["state"] for task in done.report["tasks"]} == {
        "ps:0": "stopped",
        "chief:0": "succeeded",
        "worker:0": "stopped",
        "evaluator:0": "stopped",
    }


def test_of_a_program_without_tensorflow_the_exit_codes_are_believed(tmp_path: Path) -> None:
    options = ("--workers", "1", "--ps", "1", "--plain", "--run-dir", "run", "--inject", "kill worker:0 after 0s")
    done = tflaunch("local", *options, "--", "python", str(PROGRAMS / "plain.py"), "40", cwd=tmp_path)
    assert done.code == 0 and done.report is not None, done.stdout[-6000:] + done.stderr
    assert done.report["shape"] == "none" and done.task("worker:0")["restarts"] == 1
    assert done.task("evaluator:0")["state"] == done.task("ps:0")["state"] == "stopped"
    assert "nothing but exit codes" in done.stdout
