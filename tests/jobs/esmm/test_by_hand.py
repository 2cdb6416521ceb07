"""The demo under five hand-made TF_CONFIGs, without a launcher: the job is a plain tf.estimator program."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from jobs.esmm.cli import main
from tests.jobs.by_hand import run_by_hand


@pytest.mark.e2e
@pytest.mark.tensorflow
@pytest.mark.timeout(500)
def test_the_demo_reaches_what_is_reachable(tmp_path: Path) -> None:
    data, model_dir = tmp_path / "data", tmp_path / "model"
    assert main(["generate", "--out", str(data)]) == 0
    command = ["-m", "jobs.esmm", "train", "--data", str(data), "--model-dir", str(model_dir)]
    ended = run_by_hand(command, log_dir=tmp_path / "logs", timeout_s=400)
    assert ended.exit_codes == {"chief-0": 0, "worker-0": 0, "worker-1": 0, "evaluator-0": 0}, ended.logs
    last = [line for line in ended.logs["evaluator-0"].splitlines() if "Saving dict for global step" in line][-1]
    found = {name: float(value) for name, value in re.findall(r"(\w+) = ([0-9.]+)", last)}
    best = json.loads((data / "truth.json").read_text())["best"]
    assert best["ctr_auc"] >= 0.75
    assert found["ctr_auc"] >= best["ctr_auc"] - 0.02
    assert found["cvr_auc"] >= best["cvr_auc"] - 0.04
    assert found["ctcvr_auc"] >= best["ctcvr_auc"] - 0.03
    assert len(list((model_dir / "export" / "esmm").glob("[0-9]*/saved_model.pb"))) == 1
