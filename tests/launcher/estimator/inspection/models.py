"""``python -m tests.launcher.estimator.inspection.models FOLDER``: one small model, kept in every form."""

from __future__ import annotations

import sys
from pathlib import Path

import tensorflow as tf

v1 = tf.compat.v1
STEPS = (1, 250)


def graph() -> tuple[tf.Tensor, tf.Tensor]:
    """Two features to one number, with what a training graph has besides: a step, an average, a queue, a summary."""
    features = v1.placeholder(tf.float32, [None, 2], name="x")
    with v1.variable_scope("tower"):
        weights = v1.get_variable("weights", initializer=tf.constant([[1.0], [10.0]]))
        bias = v1.get_variable("bias", initializer=tf.constant([0.5]), trainable=False)
    result = tf.add(tf.matmul(features, weights), bias, name="y")
    v1.train.get_or_create_global_step()
    average = tf.train.ExponentialMovingAverage(0.9)
    average.apply([weights])
    v1.summary.scalar("mean", tf.reduce_mean(result))
    queue = tf.queue.FIFOQueue(4, tf.float32, shapes=[[]], name="input_queue")
    v1.train.add_queue_runner(v1.train.QueueRunner(queue, [queue.enqueue(1.0)]))
    tf.identity(queue.dequeue(), name="from_queue")
    return features, result


def write(folder: Path) -> None:
    """``checkpoints/``, ``frozen.pb``, ``graph.pbtxt``, ``export/1`` and ``export/2``, all of the same model."""
    (folder / "checkpoints").mkdir(parents=True)
    with tf.Graph().as_default(), v1.Session() as session:
        features, result = graph()
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver()
        for step in STEPS:
            session.run(v1.train.get_global_step().assign(step))
            saver.save(session, str(folder / "checkpoints" / "model.ckpt"), global_step=step)
            session.run(v1.trainable_variables()[0].assign_add([[1.0], [0.0]]) if step == STEPS[0] else [])
        for version in ("1", "2"):
            v1.saved_model.simple_save(session, str(folder / "export" / version), {"x": features}, {"y": result})
        frozen = v1.graph_util.convert_variables_to_constants(session, session.graph_def, ["y"])
        tf.io.write_graph(frozen, str(folder), "frozen.pb", as_text=False)
        tf.io.write_graph(session.graph_def, str(folder), "graph.pbtxt")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
