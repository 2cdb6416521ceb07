"""A training script as users write them: it knows of no launcher. Its one argument is a JSON object of options."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import tensorflow as tf

OPTIONS = {
    "max_steps": None,
    "batches": None,
    "step_s": 0.0,
    "save_steps": 100000,
    "save_secs": None,
    "start_delay_secs": 120,
    "throttle_secs": 600,
    "session_config": False,
    "wait_file": None,
    "own_handler": None,
    "stop_metric": None,
    "stop_after_steps": None,
    **json.loads(sys.argv[1]),
}
ROLE = json.loads(os.environ["TF_CONFIG"])["task"]["type"]


def option(name):
    """An option, or this role's where it is given by role."""
    value = OPTIONS[name]
    return value.get(ROLE) if isinstance(value, dict) else value


def batches():
    if option("wait_file"):
        while not Path(option("wait_file")).exists():
            time.sleep(0.02)
    count = 0
    while option("batches") is None or count < option("batches"):
        time.sleep(option("step_s"))
        yield {"x": [[1.0]] * 4}, [[2.0]] * 4
        count += 1


def train_input():
    types = ({"x": tf.float32}, tf.float32)
    shapes = ({"x": [4, 1]}, [4, 1])
    return tf.data.Dataset.from_generator(batches, types, shapes)


def eval_input():
    return tf.data.Dataset.from_tensors(({"x": [[1.0]] * 4}, [[2.0]] * 4))


def model_fn(features, labels, mode):
    weight = tf.compat.v1.get_variable("weight", [1, 1], initializer=tf.compat.v1.zeros_initializer())
    applied = tf.compat.v1.get_variable("applied", [], initializer=tf.compat.v1.zeros_initializer())
    prediction = tf.matmul(features["x"], weight)
    if mode == tf.estimator.ModeKeys.PREDICT:
        return tf.estimator.EstimatorSpec(mode, predictions={"y": prediction})
    loss = tf.reduce_mean(tf.square(prediction - labels))
    optimizer = tf.compat.v1.train.GradientDescentOptimizer(0.001)
    train = optimizer.minimize(loss, tf.compat.v1.train.get_global_step())
    with tf.control_dependencies([train]):
        train = tf.compat.v1.assign_add(applied, 1.0, use_locking=True).op
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train)


def serving_input():
    x = tf.compat.v1.placeholder(tf.float32, [None, 1])
    return tf.estimator.export.ServingInputReceiver({"x": x}, {"x": x})


def main():
    if option("own_handler"):
        import signal

        signal.signal(signal.SIGTERM, lambda *_: Path(option("own_handler")).touch())
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.INFO)
    config = tf.estimator.RunConfig(
        model_dir=OPTIONS["model_dir"],
        save_checkpoints_steps=None if OPTIONS["save_secs"] else OPTIONS["save_steps"],
        save_checkpoints_secs=OPTIONS["save_secs"],
        session_config=tf.compat.v1.ConfigProto(allow_soft_placement=True) if OPTIONS["session_config"] else None,
    )
    print("filters", list(config.session_config.device_filters) if config.session_config else None, flush=True)
    estimator = tf.estimator.Estimator(model_fn, config=config)
    hooks = []
    if OPTIONS["stop_metric"]:
        from launcher.estimator import stop_if_no_increase_hook

        hooks = [
            stop_if_no_increase_hook(estimator, OPTIONS["stop_metric"], OPTIONS["stop_after_steps"], run_every_steps=5)
        ]
    exporter = tf.estimator.FinalExporter("final", serving_input)
    tf.estimator.train_and_evaluate(
        estimator,
        tf.estimator.TrainSpec(train_input, max_steps=OPTIONS["max_steps"], hooks=hooks),
        tf.estimator.EvalSpec(
            eval_input,
            exporters=[exporter],
            start_delay_secs=OPTIONS["start_delay_secs"],
            throttle_secs=OPTIONS["throttle_secs"],
        ),
    )
    print("returned", flush=True)


main()
