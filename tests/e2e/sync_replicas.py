"""An Estimator that applies the gradients of all replicas together. args: STEPS MODEL_DIR"""

import sys
import time

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1


def input_fn():
    rng = np.random.RandomState(0)
    x = rng.rand(256, 4).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, x.sum(1, keepdims=True))).repeat().batch(32)
    return data.map(lambda x, y: (tf.numpy_function(slowly, [x], tf.float32), y))


def slowly(x):
    time.sleep(0.005)
    return x


def model_fn(features, labels, mode, config):
    weights = v1.get_variable("w", [4, 1], initializer=v1.zeros_initializer())
    loss = tf.reduce_mean((tf.matmul(tf.reshape(features, [-1, 4]), weights) - labels) ** 2)
    replicas = max(1, config.num_worker_replicas)
    optimizer = v1.train.SyncReplicasOptimizer(v1.train.GradientDescentOptimizer(0.01), replicas, replicas)
    train = optimizer.minimize(loss, global_step=v1.train.get_or_create_global_step())
    hook = optimizer.make_session_run_hook(config.is_chief)
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train, training_hooks=[hook])


estimator = tf.estimator.Estimator(model_fn, sys.argv[2], tf.estimator.RunConfig(save_checkpoints_secs=600))
tf.estimator.train_and_evaluate(
    estimator, tf.estimator.TrainSpec(input_fn, max_steps=int(sys.argv[1])), tf.estimator.EvalSpec(input_fn, steps=1)
)
