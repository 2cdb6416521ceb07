"""ParameterServerStrategy with a loop of its own, in epochs, and an evaluator beside it. Arguments: STEPS FOLDER"""

import sys
import time

import tensorflow as tf

import launcher.estimator

BATCHES = 50


def main(last_step, folder):
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if resolver.task_type == "evaluator":
        return evaluate(folder)
    if resolver.task_type != "chief":
        serve(resolver)
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    with strategy.scope():
        weight, step = tf.Variable(tf.zeros([8, 1])), tf.Variable(0, dtype=tf.int64)

    @tf.function
    def train(iterator):
        def replica(features, labels):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(tf.matmul(features, weight) - labels))
            weight.assign_sub(0.02 * tape.gradient(loss, weight))
            return loss

        losses = strategy.run(replica, args=next(iterator))
        step.assign_add(1)
        return losses

    checkpoint = tf.train.Checkpoint(weight=weight, step=step)
    manager = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=3, step_counter=step)
    if manager.restore_or_initialize():
        print(f"restored at step {int(step)}", flush=True)
    batches = iter(
        coordinator.create_per_worker_dataset(tf.function(lambda: strategy.distribute_datasets_from_function(data)))
    )
    while int(step) < int(last_step):
        for _ in range(BATCHES):
            loss = coordinator.schedule(train, args=(batches,))
            time.sleep(0.005)
        coordinator.join()
        print(f"step {int(step)} loss {float(loss.fetch()):.6f}", flush=True)
        manager.save()
    print(f"DONE at step {int(step)}", flush=True)


def serve(resolver):
    server = tf.distribute.Server(resolver.cluster_spec(), resolver.task_type, resolver.task_id, protocol="grpc")
    server.join()


def data(_):
    features = tf.random.stateless_normal([1024, 8], [1, 2])
    return tf.data.Dataset.from_tensor_slices((features, tf.reduce_sum(features, 1, keepdims=True))).repeat().batch(32)


def evaluate(folder):
    """For ever: the launcher ends it when the last checkpoint is evaluated."""
    weight = tf.Variable(tf.zeros([8, 1]))
    checkpoint = tf.train.Checkpoint(weight=weight)
    for path in tf.train.checkpoints_iterator(folder, min_interval_secs=0):
        checkpoint.restore(path).expect_partial()
        loss = float(tf.reduce_mean(tf.square(weight - 1.0)))
        launcher.estimator.evaluated({"loss": loss}, checkpoint=path)


main(*sys.argv[1:])
