"""An Estimator job that writes down when it does what: the same under a launcher and by hand.

Each process appends lines ``<seconds since the epoch> <pid> <what>`` to ``<folder>/<role>-<index>.txt``: ``step`` at
most every 10 ms, ``last`` for the last step, and ``save``, ``eval`` and ``export`` with ``-begin`` and ``-end``.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.e2e.canned import input_fn

EVERY_S = 0.01


class Diary:
    """What this process did when."""

    def __init__(self, folder, name):
        self._fd = os.open(Path(folder) / f"{name}.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, what, at=None):
        os.write(self._fd, f"{time.time() if at is None else at:.4f} {os.getpid()} {what}\n".encode())


class Steps(tf.compat.v1.train.SessionRunHook):
    """Notes steps."""

    def __init__(self, diary):
        self._diary, self._last, self._noted = diary, 0.0, 0.0

    def after_run(self, run_context, run_values):
        self._last = time.time()
        if self._last - self._noted >= EVERY_S:
            self._noted = self._last
            self._diary.note("step", self._last)

    def end(self, session):
        if self._last:
            self._diary.note("last", self._last)


class Saves(tf.compat.v1.train.CheckpointSaverListener):
    """Notes saves."""

    def __init__(self, diary):
        self._diary = diary

    def before_save(self, session, global_step_value):
        self._diary.note("save-begin")

    def after_save(self, session, global_step_value):
        self._diary.note("save-end")


class Export(tf.estimator.FinalExporter):
    """Notes exports."""

    diary = None

    def export(self, *args, **kwargs):
        self.diary.note("export-begin")
        path = super().export(*args, **kwargs)
        self.diary.note("export-end")
        return path


class Evaluations(tf.compat.v1.train.SessionRunHook):
    """Notes the end of evaluations; they begin with their input."""

    def __init__(self, diary):
        self._diary = diary

    def end(self, session):
        self._diary.note("eval-end")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model_dir", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--diaries", required=True)
    parser.add_argument("--save_secs", type=int, default=600)
    args = parser.parse_args()
    config = tf.estimator.RunConfig(model_dir=args.model_dir, save_checkpoints_secs=args.save_secs)
    diary = Diary(args.diaries, f"{config.task_type}-{config.task_id}")
    columns = [tf.feature_column.numeric_column("x", shape=(10,))]
    classifier = tf.estimator.DNNClassifier(feature_columns=columns, hidden_units=[32, 16], config=config)
    index = config.task_id if config.task_type == "worker" else 99
    export = Export("last", serving)
    export.diary = diary

    def evaluated():
        diary.note("eval-begin")
        return input_fn(1000, False)

    tf.estimator.train_and_evaluate(
        classifier,
        tf.estimator.TrainSpec(
            lambda: input_fn(index, True), args.steps, hooks=[Steps(diary)], saving_listeners=[Saves(diary)]
        ),
        tf.estimator.EvalSpec(
            evaluated, steps=20, hooks=[Evaluations(diary)], exporters=[export], start_delay_secs=1, throttle_secs=1
        ),
    )


def serving():
    x = tf.compat.v1.placeholder(tf.float32, [None, 10])
    return tf.estimator.export.ServingInputReceiver({"x": x}, {"x": x})


if __name__ == "__main__":
    main()
