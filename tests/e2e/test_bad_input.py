"""Bad input in real runs: one error that names file and place, or skipped and counted; exit code and report agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.tfrecord import encode_rows
from tests.e2e.running import Finished, tflaunch

pytestmark = [pytest.mark.tensorflow, pytest.mark.e2e, pytest.mark.timeout(420)]


def make_data(folder: Path) -> Path:
    """Three files of 20 examples: the second one is cut off in its last record; and one that is empty."""
    for part in ("train", "eval"):
        (folder / part).mkdir(parents=True)
    (folder / "schema.json").write_text(json.dumps({"features": [{"name": "x", "ids": 1000}]}))
    for number in range(3):
        x = range(20 * number, 20 * number + 20)
        data = encode_rows({"x": x, "click": [i % 2 for i in x], "conversion": [i % 4 // 3 for i in x]})
        (folder / "train" / f"{number}.tfrecord").write_bytes(data[:-7] if number == 1 else data)
    (folder / "train" / "3.tfrecord").write_bytes(b"")
    (folder / "eval" / "0.tfrecord").write_bytes((folder / "train" / "0.tfrecord").read_bytes())
    return folder


def train(folder: Path, run: str, *arguments: str) -> Finished:
    cluster = ["local", "--workers", "1", "--ps", "1", "--no-evaluator", "--plain", "--run-dir", run, "--"]
    job = ["python", "-m", "jobs.esmm", "train", "--data", str(folder / "data"), "--model-dir", "{model_dir}"]
    return tflaunch(*cluster, *job, "--epochs", "1", "--batch-size", "8", *arguments, cwd=folder, run=run)


def test_a_run_fails_with_the_place_or_counts_what_it_leaves_out(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    failed = train(tmp_path, "failed")
    assert (failed.code, failed.report is not None) == (1, True)
    report: dict[str, Any] = failed.report or {}
    assert (report["outcome"], report["exit_code"], report["cause"]["kind"]) == ("failed", 1, "bad_input")
    places = [f"{data}/train/1.tfrecord: record 19 at byte ", f"{data}/train/3.tfrecord: at byte 0: the file is empty"]
    assert any(place in report["cause"]["message"] for place in places), report["cause"]
    assert report["cause"]["message"] in failed.stdout
    assert len(failed.task(report["cause"]["task"])["attempts"]) == 1, "what is permanent is not tried again"

    skipped = train(tmp_path, "skipped", "--on-bad-record", "skip")
    assert skipped.code == 0, skipped.stdout[-4000:]
    report = skipped.report or {}
    assert (report["outcome"], report["exit_code"], report["cause"]) == ("succeeded", 0, None)
    assert (report["input"]["examples"], report["input"]["skipped"]) == (59, 2)


READ_ALL = """
import json, os, sys, time
import tensorflow as tf
if json.loads(os.environ["TF_CONFIG"])["task"]["type"] == "ps":
    time.sleep(3600)
with tf.Graph().as_default():
    files = tf.data.Dataset.list_files(os.path.join(sys.argv[1], "*.tfrecord"))
    rows = tf.compat.v1.data.make_one_shot_iterator(tf.data.TFRecordDataset(files)).get_next()
    with tf.compat.v1.Session() as session:
        while True:
            session.run(rows)
"""


@pytest.mark.parametrize("options", [(), ("--no-preload",)], ids=["forked", "by itself"])
def test_the_file_is_named_that_tensorflow_does_not_name(options: tuple[str, ...], tmp_path: Path) -> None:
    data = make_data(tmp_path / "data") / "train"
    (data / "3.tfrecord").unlink()
    (tmp_path / "read_all.py").write_text(READ_ALL)
    cluster = ["local", "--workers", "0", "--ps", "1", "--no-evaluator", "--plain", "--run-dir", "run", *options]
    done = tflaunch(*cluster, "--", "python", "read_all.py", str(data), cwd=tmp_path)
    assert done.code == 1 and done.report is not None, done.stdout + done.stderr
    cause = done.report["cause"]
    assert (cause["kind"], cause["task"]) == ("bad_input", "chief:0")
    assert cause["message"].endswith(f"; damaged: {data}/1.tfrecord")
    assert f"verify {data}/1.tfrecord" in cause["advice"]
