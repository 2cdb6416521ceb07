"""A wide model: one table of 1.5 GB and 200 small variables, placed by turns or by bytes. An Estimator job.

    python -m tests.benchmarks.wide_model WAY STEPS MODEL_DIR

WAY: ``turns``, TensorFlow's default, or ``bytes``, by ``balanced_device_fn`` and ``partitioner``.
"""

import sys

import tensorflow as tf

from launcher.estimator import balanced_device_fn, partitioner

ROWS, DIM, LAYERS, WIDTH, BATCH, IDS = 20_000_000, 20, 100, 32, 256, 16
v1 = tf.compat.v1


def input_fn():
    def draw(_):
        ids = tf.random.uniform([BATCH, IDS], maxval=ROWS, dtype=tf.int64)
        return {"ids": ids}, tf.cast(ids[:, :1] % 2, tf.float32)

    return tf.data.Dataset.range(1_000_000).map(draw).prefetch(2)


def model_fn(features, labels, mode, params, config):
    split = partitioner(config) if params["way"] == "bytes" else None
    table = v1.get_variable("table", [ROWS, DIM], initializer=v1.zeros_initializer(), partitioner=split)
    rows = v1.nn.embedding_lookup(table, features["ids"], partition_strategy="div")
    hidden = tf.reshape(rows, [-1, IDS * DIM])
    for number in range(LAYERS):
        kernel = v1.get_variable(f"kernel_{number:02}", [hidden.shape[1], WIDTH])
        hidden = tf.nn.relu(tf.matmul(hidden, kernel) + v1.get_variable(f"bias_{number:02}", [WIDTH]))
    logits = tf.reduce_sum(hidden, axis=1, keepdims=True)
    loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))
    train_op = v1.train.GradientDescentOptimizer(0.01).minimize(loss, v1.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)


def main():
    way, steps, model_dir = sys.argv[1:]
    config = tf.estimator.RunConfig(model_dir=model_dir, save_checkpoints_secs=None, save_checkpoints_steps=None)
    if way == "bytes":
        config = config.replace(device_fn=balanced_device_fn(config))
    estimator = tf.estimator.Estimator(model_fn, config=config, params={"way": way})
    train = tf.estimator.TrainSpec(input_fn, max_steps=int(steps))
    tf.estimator.train_and_evaluate(estimator, train, tf.estimator.EvalSpec(input_fn, steps=1))


if __name__ == "__main__":
    main()
