from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jobs.auc import exact_auc
from jobs.esmm.cli import main
from tests.jobs.esmm.conftest import SMALL


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_equal_seeds_make_equal_bytes(sample: Path, tmp_path: Path) -> None:
    main(["generate", "--out", str(tmp_path / "same"), *SMALL])
    main(["generate", "--out", str(tmp_path / "other"), *SMALL, "--seed", "1"])
    assert contents(tmp_path / "same") == contents(sample)
    other, first = contents(tmp_path / "other"), contents(sample)
    assert other.keys() == first.keys()
    assert [name for name in first if first[name] == other[name]] == ["schema.json"]


@pytest.mark.tensorflow
@pytest.mark.legacy
def test_rows_decode_to_what_the_truth_file_says(sample: Path) -> None:
    import tensorflow as tf

    schema = json.loads((sample / "schema.json").read_text())
    names = [feature["name"] for feature in schema["features"]]
    records = [
        record
        for file in sorted((sample / "eval").iterdir())
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    ]
    spec = {name: tf.io.FixedLenFeature([], tf.int64) for name in [*names, "click", "conversion"]}
    rows = {name: column.numpy() for name, column in tf.io.parse_example(records, spec).items()}
    truth = json.loads((sample / "truth.json").read_text())
    pctr, pcvr = np.load(sample / "eval-truth.npy").T
    clicked = rows["click"] == 1
    assert len(records) == truth["settings"]["eval_examples"] == 3000
    assert not rows["conversion"][~clicked].any()
    assert truth["best"]["ctr_auc"] == pytest.approx(exact_auc(rows["click"], pctr), abs=1e-6)
    cvr_auc = exact_auc(rows["conversion"][clicked], pcvr[clicked])
    assert truth["best"]["cvr_auc"] == pytest.approx(cvr_auc, abs=1e-6)
    assert truth["best"]["ctcvr_auc"] == pytest.approx(exact_auc(rows["conversion"], pctr * pcvr), abs=1e-6)
    assert truth["rates"]["ctr"] == pytest.approx(pctr.mean(), abs=0.03)


def test_an_existing_folder_is_kept_or_refused(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(sample)
    assert main(["generate", "--out", str(sample), "--if-missing"]) == 0
    assert main(["generate", "--out", str(sample)]) == 2
    assert "--if-missing to keep it or --force to replace it" in capsys.readouterr().err
    assert contents(sample) == before


def test_two_at_once_make_it_once(tmp_path: Path) -> None:
    out = tmp_path / "sample"
    command = [sys.executable, "-m", "jobs.esmm", "generate", "--if-missing", "--out", str(out), *SMALL]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(text.count("examples in") for text in said) == [0, 1]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["sample"]


def test_a_kill_leaves_no_half_of_it(tmp_path: Path) -> None:
    out = tmp_path / "sample"
    command = [sys.executable, "-m", "jobs.esmm", "generate", "--out", str(out)]
    process = subprocess.Popen([*command, "--train-examples", "3000000"])
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".sample.unfinished-*/new/train/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    subprocess.run([*command, *SMALL], check=True, timeout=60)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["sample"]
