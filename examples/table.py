"""Wide & deep on a table, CSV or Parquet, with a column click: python examples/table.py TRAIN EVAL

On a cluster: tflaunch local --workers 2 -- python examples/table.py TRAIN EVAL
"""

import sys

import tensorflow as tf

import launcher.estimator as cluster
from launcher.estimator.streaming import Stream, StreamingError


def main(train, held_out):
    stream = Stream(train, labels="click", batch_examples=512, epochs=3)
    linear, deep = stream.spec.feature_columns(without=["click"])
    estimator = tf.estimator.DNNLinearCombinedClassifier(
        linear_feature_columns=linear,
        dnn_feature_columns=deep,
        dnn_hidden_units=[64, 32],
        config=cluster.RunConfig(save_checkpoints_secs=30),
    )
    cluster.train_and_evaluate(estimator, stream.train_spec(), stream.eval_spec(held_out))


if len(sys.argv) != 3:
    sys.exit("usage: python examples/table.py TRAIN EVAL")
try:
    main(*sys.argv[1:])
except StreamingError as error:
    sys.exit(f"{type(error).__name__}: {error}")
