"""A small Estimator script into which failures can be planted: ``--plant NAME`` (see ``plants``).

A linear model over TFRecords, in TF1 variables, so that shapes are checked at a restore. Options are what the advice
of the launcher tells people to change.
"""

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path

HERE = json.loads(os.environ.get("TF_CONFIG") or "{}").get("task", {})
ROLE, INDEX = HERE.get("type", "chief"), HERE.get("index", 0)


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--metric")
    parser.add_argument("--save-steps", type=int, default=20)
    parser.add_argument("--width", type=int, default=4)
    parser.add_argument("--module", default="json")
    parser.add_argument("--feature", default="x")
    parser.add_argument("--sleep-s", type=float, default=0.0)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--plant", default="")
    return parser.parse_args()


ARGS = options()
__import__(ARGS.module)

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

tf1 = tf.compat.v1
tf1.disable_v2_behavior()


def is_(name, role="chief", index=0):
    return ARGS.plant == name and (role in ("any", ROLE)) and index == INDEX


def write_data(path):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in range(64):
            values = [float(row % 7), 1.0, float(row % 3), 0.5]
            feature = {
                "x": tf.train.Feature(float_list=tf.train.FloatList(value=values)),
                "y": tf.train.Feature(float_list=tf.train.FloatList(value=[float(row % 2)])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def rows():
    for number in range(10**9):
        if number == 24 and is_("divide"):
            number // 0
        if number > 8 and is_("endless"):
            while True:
                time.sleep(0.01)
        if number > 8 and ROLE == "worker" and ARGS.sleep_s:
            time.sleep(ARGS.sleep_s)
        yield [float(number % 7), 1.0, float(number % 3), 0.5], [float(number % 2)]


def input_fn():
    if ARGS.data is None:
        data = tf.data.Dataset.from_generator(rows, (tf.float32, tf.float32), ((4,), (1,)))
        return data.map(lambda x, y: ({"x": x}, y)).batch(8)
    spec = {ARGS.feature: tf.io.FixedLenFeature([4], tf.float32), "y": tf.io.FixedLenFeature([1], tf.float32)}

    def parse(record):
        row = tf.io.parse_single_example(record, spec)
        return {"x": row[ARGS.feature]}, row["y"]

    return tf.data.TFRecordDataset(ARGS.data).map(parse).repeat().batch(8)


class Hook(tf1.train.SessionRunHook):
    def __init__(self):
        self.steps = 0

    def after_run(self, run_context, run_values):
        self.steps += 1
        if self.steps == 5:
            plants()


def plants():
    """What goes wrong at the fifth step of the chief."""
    if is_("raise"):
        raise ValueError("planted in a hook")
    if is_("assert"):
        assert INDEX == 1, "planted"
    if is_("exit"):
        os._exit(3)
    if is_("system-exit"):
        raise SystemExit("no more data in /planted")
    if is_("segfault"):
        import ctypes

        ctypes.string_at(0)
    if is_("thread"):
        threading.Thread(target=lambda: {}["planted"]).start()
        time.sleep(1)
        sys.exit(1)
    if is_("noise"):
        try:
            try:
                int("planted")
            except ValueError as error:
                raise RuntimeError("while the planted value was read") from error
        finally:
            threading.Thread(target=noise).start()
    if is_("files"):
        print([os.open(os.devnull, os.O_RDONLY) for _ in range(10**6)][-1])
    if is_("pickle"):
        import pickle

        pickle.dumps(threading.Lock())


def noise():
    time.sleep(0.2)
    for number in range(10000):
        os.write(2, f"2026-01-01 00:00:00.{number:06d}: W tensorflow/core/noise.cc:1] {'n' * 80}\n".encode())


def model_fn(features, labels, mode):
    if ARGS.plant == "graph":
        tf.matmul(features["x"], tf.zeros([5, 2]))
    if ARGS.plant == "evaluator" and mode == tf.estimator.ModeKeys.EVAL:
        raise KeyError("planted in evaluation")
    if ARGS.rows:
        ballast = tf1.get_variable("ballast", initializer=np.ones([ARGS.rows, 1024 * 256], np.float32))
    hidden = tf1.layers.dense(features["x"], ARGS.width, name="hidden")
    logits = tf1.layers.dense(hidden, 1, name="logits")
    loss = tf1.losses.sigmoid_cross_entropy(labels, logits)
    if ARGS.rows:
        loss += tf.reduce_mean(ballast)
    if ARGS.lr > 1:
        loss = loss / tf.zeros([]) * 0.0
    train_op = tf1.train.GradientDescentOptimizer(min(ARGS.lr, 1.0)).minimize(loss, tf1.train.get_global_step())
    metrics = {"accuracy": tf1.metrics.accuracy(labels, tf.cast(logits > 0, tf.float32))}
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op, eval_metric_ops=metrics)


def exporter():
    class Planted(tf.estimator.Exporter):
        name = "planted"

        def export(self, estimator, export_path, checkpoint_path, eval_result, is_the_final_export):
            raise RuntimeError("planted in the exporter")

    return Planted()


def main():
    if is_("ps", role="ps"):
        raise RuntimeError("planted in the ps")
    if is_("ps-exit", role="ps"):
        sys.exit(1)
    if is_("clobber", role="any", index=INDEX):
        os.environ["TF_CONFIG"] = json.dumps({"cluster": {"ps": ["127.0.0.1:1"]}, "task": {"type": "ps"}})
    if is_("early"):
        return
    if is_("stuck", role="worker", index=0) or is_("stuck-chief"):
        time.sleep(3600)
    config = tf.estimator.RunConfig(save_checkpoints_steps=ARGS.save_steps, log_step_count_steps=10)
    estimator = tf.estimator.Estimator(model_fn, config=config)
    hooks = [Hook()]
    if ARGS.metric:
        Path(estimator.eval_dir()).mkdir(parents=True, exist_ok=True)
        hooks.append(
            tf.estimator.experimental.stop_if_no_increase_hook(
                estimator, ARGS.metric, max_steps_without_increase=10**6, run_every_secs=None, run_every_steps=5
            )
        )
    exporters = [exporter()] if ARGS.plant == "exporter" else []
    tf.estimator.train_and_evaluate(
        estimator,
        tf.estimator.TrainSpec(input_fn, max_steps=ARGS.steps, hooks=hooks),
        tf.estimator.EvalSpec(input_fn, steps=2, throttle_secs=0, start_delay_secs=0, exporters=exporters),
    )


if __name__ == "__main__":
    if ARGS.plant == "write":
        write_data(Path(ARGS.data))
    else:
        main()
