"""Which file is damaged, where TensorFlow's error does not say it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.wire import protocol

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]

RECORD_BYTES = 16 + 100


def write(path: Path, records: int = 5) -> Path:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(records):
            writer.write(bytes([number]) * 100)
    return path


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(at: int) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(bytes(data))

    return do


def read(make: Callable[[Any], Any]) -> BaseException:
    """The exception that ends a session which reads the dataset that ``make`` makes, given TensorFlow."""
    import tensorflow as tf

    with tf.Graph().as_default():
        following = tf.compat.v1.data.make_one_shot_iterator(make(tf)).get_next()
        with tf.compat.v1.Session() as session, pytest.raises(tf.errors.OpError) as caught:
            while True:
                session.run(following)
    return caught.value


@pytest.mark.parametrize(
    "damage",
    [cut_off, flip(3 * RECORD_BYTES + 50), flip(2 * RECORD_BYTES + 1), flip(10)],
    ids=["cut off", "data", "length", "first checksum"],
)
def test_the_damaged_file_of_an_input(damage: Callable[[Path], None], tmp_path: Path) -> None:
    from launcher.estimator.adjustments.reporting.damage import remarks

    files = [write(tmp_path / f"{name}.tfrecord") for name in ("a", "b", "c")]
    files.append(write(tmp_path / "short.tfrecord", records=1))
    damage(files[1])
    named = [str(file) for file in files]
    wanted = [f"{protocol.DAMAGED_FILE}: {files[1]}"]
    assert remarks(read(lambda tf: tf.data.TFRecordDataset(named))) == wanted
    by_pattern = read(
        lambda tf: tf.data.Dataset.list_files(str(tmp_path / "?.tfrecord"), shuffle=False).interleave(
            tf.data.TFRecordDataset, cycle_length=2
        )
    )
    assert remarks(by_pattern) == wanted


def test_nothing_is_said_where_no_file_is_damaged(tmp_path: Path) -> None:
    from launcher.estimator.adjustments.reporting.damage import remarks

    good = write(tmp_path / "good.tfrecord")
    assert remarks(read(lambda tf: tf.data.TFRecordDataset([str(good)]))) == []
    assert remarks(ValueError("truncated record at 116")) == []


def test_the_damaged_checkpoint_and_one_that_is_whole(tmp_path: Path) -> None:
    import tensorflow as tf

    from launcher.estimator.adjustments.reporting.damage import remarks

    with tf.Graph().as_default():
        tf.compat.v1.get_variable("table", [100, 10])
        saver = tf.compat.v1.train.Saver()
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            prefixes = [saver.save(session, str(tmp_path / "model.ckpt"), global_step=step) for step in (5, 9, 10, 11)]
            for damaged in prefixes[2:]:
                data = Path(f"{damaged}.data-00000-of-00001")
                data.write_bytes(data.read_bytes()[:1000])
            with pytest.raises(tf.errors.OpError) as caught:
                saver.restore(session, prefixes[3])
    assert remarks(caught.value) == [
        f"{protocol.DAMAGED_CHECKPOINT}: {prefixes[3]}",
        f"{protocol.GOOD_CHECKPOINT}: {prefixes[1]}",
    ]
