"""What the ESMM job trains on: files, row groups, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jobs.esmm.cli import main

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]
NAMES = ("x", "click", "conversion")


def make_data(folder: Path, *, files: int, rows: int, groups: bool = False) -> Path:
    """A data folder with train/ and eval/; ``x`` numbers the examples of train/."""
    import tensorflow as tf

    from jobs.tfrecord import encode_rows
    from launcher.estimator.streaming.formats.row_groups import encode_groups, spec_of_arrays

    (folder / "eval").mkdir(parents=True)
    (folder / "train").mkdir()
    (folder / "schema.json").write_text('{"features": [{"name": "x", "ids": 1000}]}')
    for number in range(files):
        x = np.arange(number * rows, (number + 1) * rows)
        columns = {"x": x, "click": x % 2, "conversion": x % 2 * (x % 3 == 0)}
        path = folder / "train" / f"{number}.tfrecord"
        if groups:
            with tf.io.TFRecordWriter(str(path)) as writer:
                for group in encode_groups(columns, spec_of_arrays(columns), rows=16):
                    writer.write(group)
        else:
            path.write_bytes(encode_rows(columns))
    (folder / "eval" / "0.tfrecord").write_bytes(encode_rows({name: np.arange(8) % 2 for name in NAMES}))
    return folder


def train(folder: Path, *arguments: object) -> int:
    given = ["train", "--data", folder, "--model-dir", folder / "model", "--batch-size", 10, *arguments]
    return main([str(argument) for argument in given])


@pytest.mark.parametrize(
    ("groups", "reader"),
    [(False, "thread"), (True, "thread"), (True, "process")],
    ids=["records", "row groups", "by a process"],
)
def test_each_example_is_trained_once_an_epoch(groups: bool, reader: str, tmp_path: Path) -> None:
    from launcher.estimator.streaming.tools.audit import read_audit

    data = make_data(tmp_path / "data", files=3, rows=50, groups=groups)
    asked = ("--epochs", 2, "--audit", tmp_path / "audit", "--id-column", "x", "--seed", 1, "--slice-records", 20)
    assert train(data, *asked, "--reader", reader) == 0
    audit = read_audit(tmp_path / "audit")
    assert audit.global_step == 30
    assert set(audit.trained.values()) == {2} and {example[0] for example in audit.trained} == set(range(150))


@pytest.mark.parametrize("groups", [False, True], ids=["records", "row groups"])
def test_part_of_an_epoch_is_counted_in_examples(
    groups: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_data(tmp_path / "data", files=3, rows=50, groups=groups)
    assert train(data, "--epochs", 0.5) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["global_step"] == 8


def test_a_folder_that_is_followed_may_be_empty_at_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_data(tmp_path / "data", files=0, rows=0)
    assert train(data) == 2
    assert "no data" in capsys.readouterr().err
    assert train(data, "--follow", "--stop-when-idle-s", 1) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stop-when-idle-s", 5), "--stop-when-idle-s goes with --follow"),
        (("--audit", "a", "--id-column", "user"), "--id-column user: no such column; there are x"),
    ],
)
def test_options_that_do_not_fit(
    arguments: tuple[object, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_data(tmp_path / "data", files=1, rows=10)
    assert train(data, *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_bad_record_fails_by_place_or_is_skipped_and_counted(tmp_path: Path) -> None:
    from launcher.estimator.streaming.tools.audit import read_audit

    data = make_data(tmp_path / "data", files=2, rows=20)
    file = data / "train" / "1.tfrecord"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(Exception, match=r"1\.tfrecord: record 19 at byte \d+"):
        train(data, "--epochs", 1)
    audit = tmp_path / "audit"
    assert train(data, "--epochs", 1, "--on-bad-record", "skip", "--audit", audit) == 0
    assert json.loads((audit / "saved.json").read_text())["counts"]["skipped"] == 1
    assert len(read_audit(audit).trained) == 39
