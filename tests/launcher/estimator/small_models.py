"""Estimators so small that a step costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Build = Callable[[Any], Any]


def embedding(rows: int, *, dtype: str = "float32", name: str = "embedding", extra: bool = False) -> Build:
    """A table that is looked up at id 1."""

    def build(tf: Any) -> Any:
        table = tf.compat.v1.get_variable(name, [rows, 4], dtype, tf.compat.v1.ones_initializer(), use_resource=True)
        found = tf.cast(tf.gather(table, [1]), tf.float32)
        if extra:
            found *= tf.compat.v1.get_variable("extra", [4], initializer=tf.compat.v1.ones_initializer())
        return found

    return build


def model(build: Build, model_dir: Path, **config: Any) -> Any:
    """Learns to make the sum of what ``build`` makes 0. Its one metric besides the loss is ``size``."""
    from jobs._tf import estimator, tf

    def model_fn(features: Any, labels: Any, mode: str) -> Any:
        made = build(tf) + 0.0 * features["x"]  # without features no input is read, and an evaluation never ends
        if mode == "infer":
            return estimator.EstimatorSpec(mode, predictions={"made": made})
        loss = tf.reduce_sum(tf.square(made))
        optimizer = tf.compat.v1.train.MomentumOptimizer(0.01, 0.9)
        train_op = optimizer.minimize(loss, tf.compat.v1.train.get_global_step())
        size = tf.compat.v1.metrics.mean(loss)
        return estimator.EstimatorSpec(mode, loss=loss, train_op=train_op, eval_metric_ops={"size": size})

    return estimator.Estimator(model_fn, config=estimator.RunConfig(model_dir=str(model_dir), **config))


def input_fn() -> Any:
    from jobs._tf import tf

    return tf.data.Dataset.from_tensors({"x": [1.0]}).repeat(1000)


def eval_input_fn() -> Any:
    return input_fn().take(1)


def serving_input_fn() -> Any:
    from jobs._tf import tf
    from launcher.estimator import serving_input_fn

    return serving_input_fn({"x": tf.io.FixedLenFeature([1], tf.float32)})()
