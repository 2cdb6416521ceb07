"""Several trainings in one process, in every role, and what a program does after them. Argument: a folder."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

FOLDER = sys.argv[1]
ROLE = json.loads(os.environ["TF_CONFIG"])["task"]["type"]
POINTS = [[1.0, 0.0], [1.0, 1.0]]


def examples(count, step_s=0.0):
    def batches():
        for _ in range(count):
            time.sleep(step_s)
            yield {"x": POINTS}, [0.0, 2.0]

    return lambda: tf.data.Dataset.from_generator(batches, ({"x": tf.float32}, tf.float32), ({"x": [2, 2]}, [2]))


def model_fn(features, labels, mode):
    v1 = tf.compat.v1
    weight = v1.get_variable("weight", [2, 1], initializer=v1.zeros_initializer())
    predictions = tf.matmul(features["x"], weight)[:, 0]
    if mode == "infer":
        outputs = {"serving_default": tf.estimator.export.PredictOutput({"p": predictions})}
        return tf.estimator.EstimatorSpec(mode, predictions={"p": predictions}, export_outputs=outputs)
    loss = tf.reduce_mean(tf.square(predictions - labels))
    train = v1.train.GradientDescentOptimizer(0.01).minimize(loss, v1.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train)


def serving():
    x = tf.compat.v1.placeholder(tf.float32, [None, 2], "x")
    return tf.estimator.export.ServingInputReceiver({"x": x}, {"x": x})


def train(estimator, input_fn, max_steps=None):
    tf.estimator.train_and_evaluate(
        estimator,
        tf.estimator.TrainSpec(input_fn, max_steps=max_steps),
        tf.estimator.EvalSpec(examples(1), steps=None, start_delay_secs=0, throttle_secs=0),
    )


def estimator_in(name):
    config = tf.estimator.RunConfig(save_checkpoints_steps=20, keep_checkpoint_max=50)
    return tf.estimator.Estimator(model_fn, f"{FOLDER}/{name}", config)


def predicted(estimator, step):
    path = f"{FOLDER}/second/model.ckpt-{step}"
    found = [row["p"] for row in estimator.predict(examples(1), checkpoint_path=path)]
    return bool(np.allclose(found, (np.array(POINTS) @ tf.train.load_variable(path, "weight"))[:, 0], atol=1e-5))


first, second = estimator_in("first"), estimator_in("second")
train(first, examples(10_000), max_steps=60)
# The chief's input ends long before the worker's, whose steps are to be in the last checkpoint all the same.
for _ in range(2):
    train(second, examples(20, step_s=0.02 if ROLE == "worker" else 0.0))
print("evaluated", second.evaluate(examples(1))["global_step"], flush=True)
steps = sorted(int(path.stem.rpartition("-")[2]) for path in Path(FOLDER, "second").glob("model.ckpt-*.index"))
print("predicted", predicted(second, steps[0]), predicted(second, steps[1]), flush=True)
if ROLE == "chief":
    print("exported", second.export_saved_model(f"{FOLDER}/exported", serving), flush=True)
