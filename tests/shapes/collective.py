"""MultiWorkerMirroredStrategy with a loop of its own, ten batches a call. Arguments: STEPS FOLDER"""

import json
import os
import sys
import time

import tensorflow as tf

BATCHES = 10


def main(last_step, folder):
    config = json.loads(os.environ["TF_CONFIG"])
    role, index = config["task"]["type"], config["task"]["index"]
    is_chief = role == "chief" or ("chief" not in config["cluster"] and index == 0)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        weight = tf.Variable(tf.zeros([8, 1]))
        step = tf.Variable(0, dtype=tf.int64, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
    checkpoint = tf.train.Checkpoint(weight=weight, step=step)
    own = folder if is_chief else f"{folder}-{role}-{index}"
    manager = tf.train.CheckpointManager(checkpoint, own, max_to_keep=2)
    tf.summary.create_file_writer(own).set_as_default()  # never closed: written when the program ends
    newest = tf.train.latest_checkpoint(folder)
    if newest:
        checkpoint.restore(newest)
        print(f"restored at step {step.numpy()}", flush=True)
    batches = iter(strategy.distribute_datasets_from_function(data))

    def replica(features, labels):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(tf.matmul(features, weight) - labels))
        gradient = tf.distribute.get_replica_context().all_reduce("mean", tape.gradient(loss, weight))
        weight.assign_sub(0.01 * gradient)
        step.assign_add(1)
        return loss

    @tf.function
    def train(iterator):
        for _ in tf.range(BATCHES - 1):
            strategy.run(replica, args=next(iterator))
        return strategy.reduce("mean", strategy.run(replica, args=next(iterator)), axis=None)

    while step.numpy() < int(last_step):
        loss = train(batches)
        print(f"step {step.numpy()} loss {float(loss):.6f}", flush=True)
        tf.summary.scalar(f"at-{step.numpy()}", loss, step.numpy())
        time.sleep(0.1)
        if step.numpy() % 50 == 0:
            manager.save()
    print(f"DONE at step {step.numpy()}", flush=True)


def data(_):
    features = tf.random.stateless_normal([1024, 8], [1, 2])
    return tf.data.Dataset.from_tensor_slices((features, tf.reduce_sum(features, 1, keepdims=True))).repeat().batch(32)


main(*sys.argv[1:])
