"""A cluster whose command is a shell script that starts Python."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.e2e.running import tflaunch

WRAPPER = Path(__file__).with_name("wrapped.sh")


@pytest.mark.tensorflow
@pytest.mark.e2e
@pytest.mark.legacy
def test_what_a_wrapper_starts_is_gated_counted_saved_and_shown(tmp_path: Path) -> None:
    """Without the adjustments the evaluator would evaluate after two minutes, and never end before max_steps."""
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    arguments = ("--steps", "600", "--model_dir", str(tmp_path / "model"))
    flags = ("--workers", "1", "--ps", "1", "--run-dir", "run", "--plain")
    done = tflaunch("local", *flags, "--", "bash", str(WRAPPER), *arguments, cwd=tmp_path, PATH=search)
    assert done.code == 0, done.stdout + done.stderr
    for line in ("chief:0 training", "worker:0 training", "chief:0 succeeded", "evaluation at step 6"):
        assert f"tflaunch | {line}" in done.stdout
    assert min(done.task(name)["local_steps"] for name in ("chief:0", "worker:0")) > 0
    assert done.report is not None
    assert done.report["metrics"]["global_step"] == done.report["checkpoints"][-1]["global_step"] >= 600
    log = done.log("chief:0")
    for line in ("prepared 3", "subprocess DNNClassifier", "spawned DNNClassifier"):
        assert line in log
