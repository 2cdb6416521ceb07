"""A training job on plain tf.Example records with one feature, ``x``, for the tests of the queue.

As a program its one argument is a JSON object of options.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from launcher.estimator.compat import install
from launcher.estimator.streaming.reading.leases import Lease, Leases, Pause
from launcher.estimator.streaming.stream import Files, Folder, Stream

install()

OPTIONS = {
    "epochs": 1,
    "batch": 4,
    "save_steps": 10,
    "max_steps": None,
    "step_s": 0.0,
    "audit": None,
    "seed": 7,
    "sources": [],
    "folder": None,
    "idle_s": None,
    "holder_timeout_s": 60.0,
    "found": False,
    "slice_records": None,
}


def read(open_leases: Callable[[], Leases], *, batch_rows: int, step_s: float = 0.0) -> Any:
    """The smallest reader that keeps to the seam: a row is a record; batches are filled across shards."""

    def rows() -> Iterator[dict[str, Any]]:
        leases, held = open_leases(), []
        while (lease := leases.take()) is not None:
            if lease is Pause.NOTHING_NOW:
                if held:
                    yield _batch(held)
                held = []
                continue
            assert isinstance(lease, Lease)
            count = 0
            for number, value in enumerate(_values(lease)):
                if lease.trained.has(np.array([lease.shard.first_record + number]))[0]:
                    continue
                held.append((lease.id, lease.shard.first_record + number, value))
                count += 1
                if len(held) == batch_rows:
                    time.sleep(step_s)
                    yield _batch(held)
                    held = []
            leases.ended(lease.id, count)
        if held:
            yield _batch(held)

    column = tf.TensorSpec([None], tf.int64)
    return tf.data.Dataset.from_generator(rows, output_signature={"_lease": column, "_row": column, "x": column})


def _values(lease: Lease) -> Iterator[int]:
    for record in tf.compat.v1.io.tf_record_iterator(lease.shard.path):
        yield tf.train.Example.FromString(record).features.feature["x"].int64_list.value[0]


def _batch(rows: list[tuple[int, int, int]]) -> dict[str, list[int]]:
    lease, row, x = zip(*rows, strict=True)
    return {"_lease": list(lease), "_row": list(row), "x": list(x)}


def write_file(path: Path, values: list[int]) -> None:
    """A TFRecord file with one record for each value; it appears as a whole."""
    new = path.with_name(f".{path.name}")
    with tf.io.TFRecordWriter(str(new)) as writer:
        for value in values:
            feature = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
            example = tf.train.Example(features=tf.train.Features(feature={"x": feature}))
            writer.write(example.SerializeToString())
    new.rename(path)


def model_fn(features: Any, mode: str) -> Any:
    """Counts what it is given: ``seen`` is the number of rows, ``total`` their sum."""
    v1 = tf.compat.v1
    seen = v1.get_variable("seen", [], tf.int64, initializer=v1.zeros_initializer())
    total = v1.get_variable("total", [], tf.int64, initializer=v1.zeros_initializer())
    x = features["x"]
    with tf.control_dependencies([x]):  # a step without input counts nothing
        train = tf.group(
            v1.assign_add(seen, tf.size(x, tf.int64), use_locking=True),
            v1.assign_add(total, tf.reduce_sum(x), use_locking=True),
            v1.assign_add(v1.train.get_global_step(), 1, use_locking=True),
        )
    return tf.estimator.EstimatorSpec(mode, loss=tf.constant(0.0), train_op=train)


def make_stream(options: dict[str, Any]) -> Stream:
    source: Files | Folder
    if options["folder"]:
        source = Folder(path=options["folder"], stop_when_idle_s=options["idle_s"])
    else:
        source = Files(
            sources=tuple(options["sources"]),
            epochs=options["epochs"],
            seed=options["seed"],
            slice_records=options["slice_records"],
        )
    audit = Path(options["audit"]) if options["audit"] else None
    if options["found"]:
        return Stream(source, audit=audit, batch_examples=options["batch"], shuffle_rows=4 * options["batch"])
    return Stream(
        source,
        lambda leases: read(leases, batch_rows=options["batch"], step_s=options["step_s"]),
        audit=audit,
        holder_timeout_s=options["holder_timeout_s"],
    )


class Slowly(tf.estimator.SessionRunHook):  # type: ignore[misc]
    """A step takes so long."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s

    def after_run(self, run_context: Any, run_values: Any) -> None:
        time.sleep(self._step_s)


def train(options: dict[str, Any]) -> None:
    """Train in this process, as TF_CONFIG says."""
    options = {**OPTIONS, **options}
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.INFO)
    config = tf.estimator.RunConfig(
        model_dir=options["model_dir"], save_checkpoints_steps=options["save_steps"], log_step_count_steps=None
    )
    estimator = tf.estimator.Estimator(model_fn, config=config)
    hooks = [Slowly(options["step_s"])] if options["found"] else []
    spec = make_stream(options).train_spec(max_steps=options["max_steps"], hooks=hooks)
    if "TF_CONFIG" in os.environ:
        tf.estimator.train_and_evaluate(estimator, spec, tf.estimator.EvalSpec(spec.input_fn, steps=1))
    else:
        estimator.train(
            spec.input_fn, hooks=list(spec.hooks), saving_listeners=spec.saving_listeners, max_steps=spec.max_steps
        )


if __name__ == "__main__":
    train(json.loads(sys.argv[1]))
    print("returned", flush=True)
