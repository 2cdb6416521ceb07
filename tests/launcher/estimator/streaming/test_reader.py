"""Reading in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
import tensorflow as tf

from launcher.estimator.streaming.errors import StreamingError
from launcher.estimator.streaming.formats.columns import Ragged
from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec
from launcher.estimator.streaming.formats.framing import BadRecord
from launcher.estimator.streaming.formats.options import ReadingOptions
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.reading.dataset import read
from launcher.estimator.streaming.reading.leases import ShardLeases
from launcher.estimator.streaming.reading.reader import LOST
from tests.launcher.estimator.streaming.data import options, write_groups, write_ids

pytestmark = [pytest.mark.tensorflow]


def read_all(make_leases: list[ShardLeases], opts: ReadingOptions) -> list[dict[str, np.ndarray]]:
    """Every batch of a session for each leases, in one graph, as an Estimator's recovery would do it."""
    found = []
    opened = iter(make_leases)
    with tf.Graph().as_default():
        iterator = tf.compat.v1.data.make_initializable_iterator(read(lambda: next(opened), opts))
        batch = {
            name: value.to_tensor() if isinstance(value, tf.RaggedTensor) else value
            for name, value in iterator.get_next().items()
        }
        for _ in make_leases:
            with tf.compat.v1.Session() as session:
                session.run(iterator.initializer)
                while True:
                    try:
                        found.append(session.run(batch))
                    except tf.errors.OutOfRangeError:
                        break
    return found


def test_every_row_comes_once_a_session_and_the_trainer_hears_what_has_ended(tmp_path: Path) -> None:
    columns = {"id": np.arange(40), "list": Ragged(np.arange(60), np.arange(40) % 4)}
    path = str(tmp_path / "a.tfrecord")
    write_groups(Path(path), columns)
    (tmp_path / "b.tfrecord").write_bytes(b"")
    told: list[BadRecord] = []
    spec = FeatureSpec(columns=(Column(name="id"), Column(name="list", length=None)))
    opts = options(
        spec=spec, format="row_groups", reader="process", on_bad_record="skip", on_skipped=told.append, shuffle_rows=16
    )
    leases = [ShardLeases([Shard(path=path), Shard(path=str(tmp_path / "b.tfrecord"))]) for _ in range(2)]
    found = read_all(leases, opts)
    assert sorted(int(i) for batch in found for i in batch["id"]) == sorted([*range(40)] * 2)
    assert all((batch["_row"] >> 20 == batch["id"] // 10).all() for batch in found)
    lists = {int(i): row.sum() for batch in found for i, row in zip(batch["id"], batch["list"], strict=True)}
    starts = np.cumsum(columns["list"].lengths) - columns["list"].lengths
    assert lists == {i: sum(range(starts[i], starts[i] + i % 4)) for i in range(40)}
    assert [known.rows for known in leases] == [{0: 40, 1: 0}] * 2
    assert [(bad.path, bad.reason) for bad in told] == [
        (str(tmp_path / "b.tfrecord"), "the file is empty (skipped)")
    ] * 2


def test_what_goes_wrong_on_either_side_is_the_error_of_the_step(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    write_ids(path, range(10))
    path.write_bytes(path.read_bytes()[:-5])

    class Broken(ShardLeases):
        def take(self, *, opened: int = 0) -> None:
            raise StreamingError("no more of this")

    with pytest.raises(tf.errors.OpError, match=f"BadDataError: {path}: record 9 at byte 423: the file is cut off"):
        read_all([ShardLeases([Shard(path=str(path))])], options(reader="process"))
    with pytest.raises(tf.errors.OpError, match="no more of this"):
        read_all([Broken([])], options(reader="process"))


TRAINER = """
import itertools, sys
import tensorflow as tf
from launcher.estimator.streaming.reading.leases import Lease
from launcher.estimator.streaming.reading.dataset import read
from launcher.estimator.streaming.formats.shards import Shard
from tests.launcher.estimator.streaming.data import options

class Endless:
    numbers = itertools.count()
    def take(self, *, opened=0):
        return Lease(id=next(self.numbers), shard=Shard(path=sys.argv[1]))
    def ended(self, lease, rows):
        pass

batches = [tf.compat.v1.data.make_one_shot_iterator(read(Endless, options(reader="process"))) for _ in range(2)]
for number in itertools.count():
    for batch in batches:
        batch.get_next()
    if number == 3:
        print("training", flush=True)
"""


def test_neither_side_waits_for_one_that_has_died(tmp_path: Path) -> None:
    """A trainer with two readers: one is killed, then the trainer is to end, and with it the other reader."""
    import psutil

    command = [sys.executable, "-c", TRAINER, write_ids(tmp_path / "a.tfrecord", range(1000))]
    environ = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    trainer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)
    try:
        assert trainer.stdout is not None
        assert trainer.stdout.readline() == "training\n"
        killed, other = psutil.Process(trainer.pid).children()
        killed.kill()
        _, said = trainer.communicate(timeout=60)
        assert trainer.returncode == 1
        assert f"{LOST} (killed by signal 9): start this task again" in said
        ends_at = monotonic() + 60
        while other.is_running() and other.status() != psutil.STATUS_ZOMBIE:
            assert monotonic() < ends_at
            sleep(0.05)
    finally:
        trainer.kill()
        trainer.wait()


def test_another_word_for_the_reader_is_refused() -> None:
    with pytest.raises(StreamingError, match="reader 'thraed': write one of thread, process"):
        options(reader="thraed")
