"""An Estimator program with one mistake. Arguments: which, and a folder."""

import os
import sys
import time

MISTAKE, FOLDER = sys.argv[1:]
if MISTAKE == "without TF_CONFIG":
    del os.environ["TF_CONFIG"]

import tensorflow as tf  # noqa: E402


def input_fn(count=10_000):
    if MISTAKE == "endless training":
        count = None
    data = tf.data.Dataset.from_tensors(({"x": [[1.0]]}, [float("nan") if MISTAKE == "nan" and count == 1 else 2.0]))
    return data.repeat(None if MISTAKE == "endless evaluation" and count == 1 else count)


def model_fn(features, labels, mode):
    v1 = tf.compat.v1
    weight = v1.get_variable("weight", [1, 1], initializer=v1.zeros_initializer())
    loss = tf.reduce_mean(tf.square(tf.matmul(features["x"], weight)[:, 0] - labels))
    step = None if MISTAKE == "no global step" else v1.train.get_global_step()
    train = v1.train.GradientDescentOptimizer(0.1).minimize(loss, step)
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train)


def main():
    saves = None if MISTAKE == "never saved" else 20
    config = tf.estimator.RunConfig(
        save_checkpoints_steps=10_000_000 if MISTAKE == "endless training" else saves, save_checkpoints_secs=None
    )
    name = f"{FOLDER}/{time.time_ns()}" if MISTAKE == "a folder each" else FOLDER
    estimator = tf.estimator.Estimator(model_fn, name, config)
    if MISTAKE == "only train":
        return estimator.train(input_fn, max_steps=40)
    tf.estimator.train_and_evaluate(
        estimator,
        tf.estimator.TrainSpec(
            lambda: input_fn(0 if MISTAKE == "empty input" else 10_000),
            max_steps=None if MISTAKE == "endless training" else 40,
        ),
        tf.estimator.EvalSpec(lambda: input_fn(1), steps=None, start_delay_secs=0, throttle_secs=0),
    )


if MISTAKE != "main is not called":
    main()
