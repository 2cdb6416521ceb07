"""An Estimator script that stops early, as its users write it: arguments are model_dir, metric and vocabulary.

Nothing but the loss falls, so that no metric ever rises; without early stopping it trains for ever.
"""

import sys

import tensorflow as tf

from launcher.estimator import stop_if_no_increase_hook

MODEL_DIR, METRIC, VOCABULARY = sys.argv[1], sys.argv[2], int(sys.argv[3])


def model_fn(features, labels, mode):
    table = tf.compat.v1.get_variable("embedding", [VOCABULARY, 4], initializer=tf.compat.v1.ones_initializer())
    found = tf.nn.embedding_lookup(table, features["x"])
    loss = tf.reduce_mean(tf.square(found))
    step = tf.compat.v1.train.get_global_step()
    train_op = tf.compat.v1.train.GradientDescentOptimizer(0.001).minimize(loss, step)
    metrics = {"size": tf.compat.v1.metrics.mean(loss)}
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op, eval_metric_ops=metrics)


def input_fn():
    return tf.data.Dataset.from_tensors({"x": [1, 2, 3]}).repeat()


def main():
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.INFO)
    config = tf.estimator.RunConfig(model_dir=MODEL_DIR, save_checkpoints_steps=100)
    estimator = tf.estimator.Estimator(model_fn, config=config)
    hook = stop_if_no_increase_hook(
        estimator, metric_name=METRIC, max_steps_without_increase=300, min_steps=0, run_every_steps=20
    )
    tf.estimator.train_and_evaluate(
        estimator,
        tf.estimator.TrainSpec(input_fn, max_steps=None, hooks=[hook]),
        tf.estimator.EvalSpec(input_fn, steps=2, start_delay_secs=0, throttle_secs=0),
    )
    print("returned", flush=True)


main()
