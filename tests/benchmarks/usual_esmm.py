"""ESMM the usual way, which the shared job is measured against: an input layer of feature columns with one variable
per feature, variables placed by tf.estimator's default, one tf.Example a row, parsed one by one.

Loss, towers, initial values and metrics are those of the shared job, so that both learn the same.
"""

import argparse
from pathlib import Path

import tensorflow as tf

from jobs.esmm.model.losses import ctcvr_logit, esmm_losses
from jobs.esmm.model.optimizers import make_optimizer
from launcher.estimator import metrics
from tests.benchmarks.training_data import FEATURES, IDS

SHUFFLE_RECORDS = 32_768
SPEC = {name: tf.io.FixedLenFeature([], tf.int64) for name in (*FEATURES, "click", "conversion")}


def input_fn(pattern, batch, training):
    files = tf.data.Dataset.list_files(pattern, shuffle=training)
    dataset = files.interleave(tf.data.TFRecordDataset, cycle_length=4)
    if training:
        dataset = dataset.shuffle(SHUFFLE_RECORDS).repeat()

    def parse(record):
        row = tf.io.parse_single_example(record, SPEC)
        labels = {name: row.pop(name) for name in ("click", "conversion")}
        return row, labels

    return dataset.map(parse, num_parallel_calls=2).batch(batch).prefetch(2)


def tower(hidden, widths, name):
    for i, width in enumerate([*widths, 1]):
        with tf.compat.v1.variable_scope(f"{name}/{i}"):
            kernel = tf.compat.v1.get_variable(
                "kernel", [hidden.shape[-1], width], initializer=tf.compat.v1.glorot_uniform_initializer()
            )
            bias = tf.compat.v1.get_variable("bias", [width], initializer=tf.compat.v1.zeros_initializer())
        hidden = tf.nn.bias_add(tf.matmul(hidden, kernel), bias)
        if i < len(widths):
            hidden = tf.nn.relu(hidden)
    return tf.squeeze(hidden, axis=1)


def model_fn(features, labels, mode, params):
    column = tf.feature_column
    layers = [
        column.embedding_column(
            column.categorical_column_with_identity(name, IDS),
            params["dim"],
            initializer=tf.compat.v1.random_normal_initializer(stddev=0.1),
        )
        for name in FEATURES
    ]
    inputs = tf.compat.v1.feature_column.input_layer(features, layers)
    ctr, cvr = (tower(inputs, params["towers"], name) for name in ("ctr", "cvr"))
    click, conversion = (tf.cast(labels[name], tf.float32) for name in ("click", "conversion"))
    losses = esmm_losses(click, conversion, ctr, cvr)
    loss = losses.ctr + losses.ctcvr
    if mode == tf.estimator.ModeKeys.EVAL:
        ops = metrics.esmm_metrics(
            click, conversion, ctr_logits=ctr, cvr_logits=cvr, ctcvr_logits=ctcvr_logit(ctr, cvr)
        )
        return tf.estimator.EstimatorSpec(mode, loss=loss, eval_metric_ops=ops)
    optimizer = make_optimizer(params["optimizer"], params["rate"])
    train_op = optimizer.minimize(loss, global_step=tf.compat.v1.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model-dir", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--towers", required=True)
    parser.add_argument("--dim", type=int, required=True)
    parser.add_argument("--optimizer", required=True)
    parser.add_argument("--rate", type=float, required=True)
    args = parser.parse_args()
    config = tf.estimator.RunConfig(model_dir=args.model_dir, save_checkpoints_secs=600)
    params = {
        "towers": [int(width) for width in args.towers.split(",")],
        "dim": args.dim,
        "optimizer": args.optimizer,
        "rate": args.rate,
    }
    estimator = tf.estimator.Estimator(model_fn, config=config, params=params)
    tf.estimator.train_and_evaluate(
        estimator,
        tf.estimator.TrainSpec(lambda: input_fn(str(args.data / "train/*"), args.batch, True), max_steps=args.steps),
        tf.estimator.EvalSpec(
            lambda: input_fn(str(args.data / "eval/*"), 4096, False),
            steps=None,
            start_delay_secs=99_999,
            throttle_secs=99_999,
        ),
    )


if __name__ == "__main__":
    main()
