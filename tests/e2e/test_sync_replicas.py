"""SyncReplicasOptimizer: whoever leaves first lets the others go, and the chief waits for no thread of its own."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.e2e.fake_runs import Live
from tests.e2e.running import tflaunch

pytestmark = pytest.mark.e2e
PROGRAM = str(Path(__file__).parent / "sync_replicas.py")
SPEC = "roles: {ps: {}, chief: {}, worker: {count: 2}}\npolicy: {grace_s: 200}\n"
OPTIONS = ("local", "spec.yaml", "--plain", "--run-dir", "run")


@pytest.mark.legacy
def test_its_end_takes_no_two_minutes(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    done = tflaunch(*OPTIONS, "--timeout-s", "110", "--", "python", PROGRAM, "200", "m", cwd=tmp_path)
    assert done.code == 0, done.stdout + done.stderr
    assert (tmp_path / "m" / "checkpoint").read_text().startswith('model_checkpoint_path: "model.ckpt-2')


@pytest.mark.legacy
def test_ctrl_c_saves_and_kills_nobody(tmp_path: Path) -> None:
    """Each is told at another instant, and waits in a step then for gradients of those that have left already."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    run = Live(tmp_path, {}, argv=(*OPTIONS, "--", "python", PROGRAM, "1000000", "m"))
    run.until_training()
    run.client.send_signal(signal.SIGINT)
    code, said = run.end()
    assert code == 130, said
    for role in ("chief:0", "worker:0", "worker:1"):
        assert f"{role} succeeded" in said, said
    (saved,) = [path.name for path in (tmp_path / "m").glob("model.ckpt-*.index") if path.name != "model.ckpt-0.index"]
    assert f"model.ckpt-{saved.split('-')[1].split('.')[0]}" in (tmp_path / "m" / "checkpoint").read_text()
