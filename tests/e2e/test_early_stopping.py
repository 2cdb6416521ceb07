"""Early stopping and refused checkpoints under ``tflaunch local``: ps, chief, worker, evaluator."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.running import Finished
from tests.e2e.sharing import tflaunch

SCRIPT = Path(__file__).parent / "early.py"
ROLES = ("ps:0", "chief:0", "worker:0", "evaluator:0")

pytestmark = [pytest.mark.tensorflow, pytest.mark.e2e, pytest.mark.legacy, pytest.mark.usefixtures("shared")]


def launch(folder: Path, run: str, *, metric: str = "size", vocabulary: int = 6) -> Finished:
    roles = ("--workers", "1", "--ps", "1")
    command = ("python", str(SCRIPT), str(folder / "model"), metric, str(vocabulary))
    return tflaunch("local", *roles, "--run-dir", run, "--plain", "--", *command, cwd=folder, run=run)


def test_every_role_ends_and_the_next_run_goes_on(tmp_path: Path) -> None:
    """The second run trains on; the third, of another vocabulary, is refused before anybody trains."""
    steps = []
    for run in ("first", "second"):
        done = launch(tmp_path, run)
        assert done.code == 0, done.stdout + done.stderr
        assert done.report is not None and done.report["outcome"] == "succeeded"
        states = {task: done.task(task)["state"] for task in ROLES}
        assert states == dict.fromkeys(ROLES, "succeeded") | {"ps:0": "stopped"}
        for task in ROLES[1:]:
            assert [attempt["exit"] for attempt in done.task(task)["attempts"]] == [0], done.stdout + done.log(task)
            assert "returned" in done.log(task)
        assert "Training ends early: no increase of size for " in done.log("chief:0")
        assert done.report["metrics"]["global_step"] == done.report["checkpoints"][-1]["global_step"]
        steps.append(done.report["metrics"]["global_step"])
    assert steps[0] >= 300
    assert steps[1] >= steps[0] + 300

    refused = launch(tmp_path, "third", vocabulary=20)
    assert refused.code == 1 and refused.report is not None
    cause = refused.report["cause"]["message"]
    assert "CheckpointMismatchError" in cause
    assert "embedding: [6, 4] stored, [20, 4] wanted" in cause
    assert all((refused.task(task)["local_steps"] or 0) == 0 for task in ("chief:0", "worker:0"))


def test_a_misspelt_metric_ends_the_run_with_the_names(tmp_path: Path) -> None:
    done = launch(tmp_path, "run", metric="sise")
    assert done.code == 1 and done.report is not None
    assert "UnknownMetricError" in done.report["cause"]["message"]
    assert "did you mean size? there are " in done.report["cause"]["message"]
