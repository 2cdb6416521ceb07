"""Training from the queue in one process: the variables live in it, everything else is as in a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

tf = pytest.importorskip("tensorflow")

from launcher.estimator.streaming.errors import SourceError, StreamingError  # noqa: E402
from launcher.estimator.streaming.queue import queue as queues  # noqa: E402
from launcher.estimator.streaming.queue.hooks import refuse_unsuited  # noqa: E402
from launcher.estimator.streaming.stream import Files, Stream, refuse_config  # noqa: E402
from launcher.estimator.streaming.tools.audit import read_audit, report_lines  # noqa: E402
from tests.launcher.estimator.streaming import plain  # noqa: E402

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy, pytest.mark.timeout(240)]
ROWS = 60  # in files of 3, 4, ... rows


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    data = tmp_path / "data"
    data.mkdir()
    value = 0
    for count in range(3, 12):
        rows = min(count, ROWS - value)
        plain.write_file(data / f"{count:02}.tfrecord", list(range(value, value + rows)))
        value += rows
    return {"model_dir": str(tmp_path / "model"), "sources": [str(data)], "audit": str(tmp_path / "audit")}


def saved(options: dict[str, Any], name: str) -> Any:
    checkpoint = tf.train.latest_checkpoint(options["model_dir"])
    return tf.train.load_checkpoint(checkpoint).get_tensor(name)


def test_each_example_is_trained_once_an_epoch_and_a_finished_job_reads_nothing(options: dict[str, Any]) -> None:
    plain.train({**options, "epochs": 3, "save_steps": 5})
    assert saved(options, "seen") == 3 * ROWS
    assert saved(options, "total") == 3 * sum(range(ROWS))
    audit = read_audit(Path(options["audit"]))
    assert set(audit.trained.values()) == {3} and len(audit.trained) == ROWS and audit.duplicates == 0
    assert "epoch 3: 60 examples once" in report_lines(audit)

    plain.train({**options, "epochs": 3, "save_steps": 5})
    assert saved(options, "seen") == 3 * ROWS
    plain.train({**options, "epochs": 4, "save_steps": 5})
    assert saved(options, "seen") == 4 * ROWS


def test_the_last_acknowledgements_are_saved_even_at_a_step_that_was_saved(options: dict[str, Any]) -> None:
    plain.train({**options, "save_steps": 1})
    queue = queues.decode(saved(options, "streaming/queue"))
    assert queue.is_over and queue.counts.examples == ROWS


def test_a_stop_in_between_loses_nothing_and_trains_nothing_again(options: dict[str, Any]) -> None:
    plain.train({**options, "max_steps": 6})
    plain.train(options)
    audit = read_audit(Path(options["audit"]))
    assert len(audit.trained) == ROWS
    assert audit.duplicates == audit.counts["duplicates"] == 0
    assert saved(options, "seen") == audit.counts["examples"] == ROWS
    assert len(queues.decode(saved(options, "streaming/queue")).lineage) == 1


def test_a_checkpoint_without_a_queue_is_taken_over(options: dict[str, Any]) -> None:
    def input_fn() -> Any:
        return tf.data.Dataset.from_tensors({"x": tf.constant([5], tf.int64)}).repeat(3)

    config = tf.estimator.RunConfig(model_dir=options["model_dir"])
    tf.estimator.Estimator(plain.model_fn, config=config).train(input_fn)
    assert saved(options, "seen") == 3
    plain.train(options)
    assert saved(options, "seen") == 3 + ROWS
    plain.train({**options, "epochs": 2})
    assert saved(options, "seen") == 3 + 2 * ROWS


def test_a_checkpoint_can_be_loaded_from_its_meta_file(options: dict[str, Any]) -> None:
    plain.train(options)
    checkpoint = tf.train.latest_checkpoint(options["model_dir"])
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.train.import_meta_graph(f"{checkpoint}.meta", clear_devices=True).restore(session, checkpoint)
        assert session.run("seen/Read/ReadVariableOp:0") == ROWS


def test_training_in_which_a_finished_step_is_no_applied_one_is_refused() -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        weight = v1.get_variable("weight", [2])
        step = v1.train.get_or_create_global_step()
        optimizer = v1.train.SyncReplicasOptimizer(v1.train.GradientDescentOptimizer(0.1), 2)
        optimizer.minimize(tf.reduce_sum(weight), step)
        with pytest.raises(ValueError, match="SyncReplicasOptimizer"):
            refuse_unsuited(graph)
    with tf.Graph().as_default() as graph:
        v1.get_variable("MultiSteps/acc_grad_0", [2])
        with pytest.raises(ValueError, match="gradient accumulation"):
            refuse_unsuited(graph)
    with tf.Graph().as_default() as graph:
        v1.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(v1.get_variable("weight", [2])))
        refuse_unsuited(graph)


def test_a_label_that_is_no_column_is_refused_with_what_there_is(options: dict[str, Any]) -> None:
    source = Files(sources=tuple(options["sources"]))
    stream = Stream(source, lambda leases: plain.read(leases, batch_rows=4, step_s=0.0), labels=["click"])
    with tf.Graph().as_default(), pytest.raises(SourceError, match="no column 'click' to learn from; it has x"):
        stream.input_fn(tf.estimator.RunConfig(model_dir=options["model_dir"]))


def test_a_distribution_strategy_is_refused() -> None:
    config = tf.estimator.RunConfig(train_distribute=tf.distribute.MirroredStrategy(["/cpu:0"]))
    with pytest.raises(StreamingError, match="leave train_distribute out"):
        refuse_config(config)


@pytest.mark.parametrize("stopped", [False, True])
def test_each_row_of_parquet_is_trained_once_an_epoch_in_whatever_ranges(tmp_path: Path, stopped: bool) -> None:
    """Row groups that are cut and row groups that are joined, in folders of days, and a stop in between."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for day, (first, last, rows_of_group) in enumerate([(0, 50, 50), (50, 90, 3), (90, 91, 1)]):
        path = tmp_path / "data" / f"dt=2026-01-0{day + 1}" / "part-0.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"x": list(range(first, last))}), path, row_group_size=rows_of_group)
    config = tf.estimator.RunConfig(model_dir=str(tmp_path / "model"), save_checkpoints_steps=5)

    def train(max_steps: int | None) -> None:
        source = Files(sources=(str(tmp_path / "data"),), epochs=2, slice_records=7, seed=7)
        stream = Stream(source, audit=tmp_path / "audit", batch_examples=4, shuffle_rows=16)
        spec = stream.train_spec(max_steps=max_steps)
        estimator = tf.estimator.Estimator(plain.model_fn, config=config)
        estimator.train(
            spec.input_fn, hooks=list(spec.hooks), saving_listeners=spec.saving_listeners, max_steps=max_steps
        )

    if stopped:
        train(6)
    train(None)
    audit = read_audit(tmp_path / "audit")
    assert len(audit.trained) == 91
    if stopped:
        assert min(audit.trained.values()) >= 2 and audit.duplicates == audit.counts["duplicates"]
    else:
        assert set(audit.trained.values()) == {2}
        assert saved({"model_dir": str(tmp_path / "model")}, "total") == 2 * sum(range(91))
