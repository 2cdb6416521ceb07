"""Workers come and leave in the middle of an epoch: each example of it is trained once, and the last save has it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import tensorflow as tf

import launcher
from launcher.estimator.streaming.tools.audit import read_audit
from tests.e2e.test_joins import until, workers_train
from tests.e2e.test_streaming import JOB, ROOT, make_data, rows_of

pytestmark = [pytest.mark.e2e, pytest.mark.tensorflow, pytest.mark.soak, pytest.mark.timeout(900)]


def test_from_one_to_six_and_back_to_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of the launcher, too, so that tasks are forked
    data = make_data(tmp_path / "data", shards=1500, most_rows=20)
    options = {
        "sources": [str(data.folder)],
        "model_dir": str(tmp_path / "model"),
        "audit": str(tmp_path / "audit"),
        "step_s": 0.05,
        "save_steps": 500,
    }
    command = [sys.executable, "-m", JOB, json.dumps(options)]
    sizes = {"ps": 1, "workers": 1, "evaluator": False}
    with launcher.start(command, cwd=tmp_path, **sizes) as run:
        until(lambda: workers_train(run.folder, 1), "the first worker")
        for count in (2, 6, 2):
            run.scale(count)
            until(lambda: workers_train(run.folder, count), f"{count} workers")  # noqa: B023
        result = run.wait(600)
    assert result.outcome == "succeeded", result.cause
    assert rows_of(read_audit(tmp_path / "audit")) == {0: {1: data.rows}}

    newest = tf.train.latest_checkpoint(str(tmp_path / "model"))
    saved = {name: int(tf.train.load_variable(newest, name)) for name in ("seen", "total", "global_step")}
    tasks = {task["task"]: task for task in result.report["tasks"]}
    assert saved["seen"] == data.rows and saved["total"] == sum(range(data.rows))
    assert saved["global_step"] == result.report["global_step"]
    assert sum(task["examples"] or 0 for task in tasks.values()) == data.rows
    assert {name for name, task in tasks.items() if task["state"] == "left"} == {f"worker:{n}" for n in range(2, 6)}

    events = [json.loads(line) for line in (result.folder / "events.jsonl").read_text().splitlines()]
    for event in [event for event in events if event["kind"] == "scaled"]:
        print(f"{event['before']} to {event['after']} workers: {event['lasted_s']:.2f} s; idle {event['idle_s']}")
