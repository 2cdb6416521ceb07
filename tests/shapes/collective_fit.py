"""Keras under MultiWorkerMirroredStrategy, saved by a BackupAndRestore. Arguments: EPOCHS FOLDER"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf


def main(epochs, folder):
    task = json.loads(os.environ["TF_CONFIG"])["task"]
    own = folder if task["type"] == "chief" else f"{folder}-{task['type']}-{task['index']}"
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    features = np.random.RandomState(0).randn(1024, 8).astype("float32")
    rows = tf.data.Dataset.from_tensor_slices((features, features.sum(1, keepdims=True))).repeat().batch(48)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    with strategy.scope():
        model = tf.keras.Sequential([tf.keras.Input((8,)), tf.keras.layers.Dense(1)])
        model.compile(loss="mse", optimizer=tf.keras.optimizers.SGD(0.01))
    print(f"starts at step {model.optimizer.iterations.numpy()}", flush=True)
    is_keras_3 = tf.keras.Model.__module__.startswith("keras.src.models")  # where each member needs a folder of its own
    backup = tf.keras.callbacks.BackupAndRestore(f"{own if is_keras_3 else folder}/backup")
    pace = tf.keras.callbacks.LambdaCallback(on_batch_end=lambda batch, logs: time.sleep(0.02))
    model.fit(rows.with_options(options), epochs=int(epochs), steps_per_epoch=25, callbacks=[backup, pace], verbose=2)
    Path(own).mkdir(parents=True, exist_ok=True)
    model.save_weights(f"{own}/w.weights.h5")
    print(f"DONE at step {model.optimizer.iterations.numpy()}", flush=True)


main(*sys.argv[1:])
