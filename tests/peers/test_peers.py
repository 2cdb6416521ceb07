"""Whole clusters; in an environment of their own, with the libraries."""

from __future__ import annotations

import random
from pathlib import Path

from tests.e2e.running import Finished, tflaunch

HERE = Path(__file__).parent
FLAGS = ("local", "--workers", "1", "--ps", "1", "--run-dir", "run", "--plain")


def check(done: Finished, steps: int) -> None:
    assert done.code == 0, done.stdout + done.stderr
    assert done.report is not None
    assert done.report["metrics"]["global_step"] >= steps  # EasyRec saves by a hook of its own, which reports nothing
    assert min(done.task(name)["local_steps"] for name in ("chief:0", "worker:0")) > 0
    assert all(len(task["attempts"]) == 1 for task in done.report["tasks"])


def test_deepctr(tmp_path: Path) -> None:
    done = tflaunch(*FLAGS, "--", "python", str(HERE / "deepctr_job.py"), "400", str(tmp_path / "model"), cwd=tmp_path)
    check(done, 400)


def rows(path: Path, seed: int) -> None:
    rng = random.Random(seed)
    lines = []
    for _ in range(8192):
        user, item, hour = rng.randrange(300), rng.randrange(300), rng.randrange(24)
        lines.append(f"{int((user % 2 == item % 2) ^ (hour > 21))},u{user},i{item},{hour}")
    path.write_text("\n".join(lines) + "\n")


def test_easy_rec(tmp_path: Path) -> None:
    """Its generated protobuf code is older than protobuf 4, and says itself what to set."""
    rows(tmp_path / "train.csv", 1)
    rows(tmp_path / "eval.csv", 2)
    (tmp_path / "deepfm.config").write_text((HERE / "deepfm.config").read_text())
    pure = ("--env", "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python")
    command = ("-m", "easy_rec.python.train_eval", "--pipeline_config_path", "deepfm.config")
    check(tflaunch(*FLAGS, *pure, "--", "python", *command, cwd=tmp_path), 400)
