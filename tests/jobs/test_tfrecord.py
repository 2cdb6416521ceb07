from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jobs.tfrecord import count_records, encode_rows, first_record

CASES = {
    "zero": [0],
    "one byte": [1, 127],
    "two bytes": [128, 16_383],
    "mixed widths": [0, 127, 128, 2**14, 2**21, 2**35, 2**62],
    "negative": [-1, 5, -(2**63), 2**63 - 1],
}


@pytest.mark.tensorflow
@pytest.mark.legacy
@pytest.mark.parametrize("values", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("names", [["a"], ["item_id", "z", "größe"], [f"feature_{i:02}" for i in range(24)]])
def test_rows_are_what_tensorflow_would_write(values: list[int], names: list[str], tmp_path: Path) -> None:
    import tensorflow as tf

    columns = {name: np.roll(np.array(values, np.int64), i) for i, name in enumerate(names)}
    expected = tmp_path / "expected.tfrecord"
    with tf.io.TFRecordWriter(str(expected)) as writer:
        for row in range(len(values)):
            feature = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=[int(column[row])]))
                for name, column in columns.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString(deterministic=True))
    assert encode_rows(columns) == expected.read_bytes()


def test_records_are_counted_by_their_headers(tmp_path: Path) -> None:
    file = tmp_path / "a.tfrecord"
    file.write_bytes(encode_rows({"x": np.arange(300)}))
    assert count_records(file) == 300
    assert len(first_record(file) or b"") == 14


def test_an_empty_file_has_no_record(tmp_path: Path) -> None:
    file = tmp_path / "a.tfrecord"
    file.touch()
    assert count_records(file) == 0
    assert first_record(file) is None


@pytest.mark.parametrize("lost_bytes", [1, 20, 25])
def test_a_file_that_is_cut_off_is_refused(lost_bytes: int, tmp_path: Path) -> None:
    file = tmp_path / "a.tfrecord"
    file.write_bytes(encode_rows({"x": np.arange(3)})[:-lost_bytes])
    with pytest.raises(ValueError, match="ends in the middle of record 2"):
        count_records(file)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.tfrecord"
    file.write_bytes(b"user_id,item_id\n1,2\n")
    with pytest.raises(ValueError, match="does not fit"):
        first_record(file)


@pytest.mark.parametrize("name", ["", "x" * 101])
def test_a_name_that_does_not_fit_one_length_byte_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 100 bytes"):
        encode_rows({name: np.arange(3)})
