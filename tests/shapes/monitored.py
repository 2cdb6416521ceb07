"""Between-graph replication by hand. The first worker is the chief where none is named. Arguments: STEPS FOLDER
[--sync]"""

import json
import os
import sys
import time

import tensorflow.compat.v1 as tf

tf.disable_eager_execution()


def main(last_step, folder, *options):
    config = json.loads(os.environ["TF_CONFIG"])
    cluster, role, index = tf.train.ClusterSpec(config["cluster"]), config["task"]["type"], config["task"]["index"]
    if role == "evaluator":
        return
    server = tf.train.Server(cluster, role, index)
    if role == "ps":
        server.join()
    is_chief = role == "chief" or ("chief" not in cluster.jobs and index == 0)
    trainers = sum(cluster.num_tasks(job) for job in cluster.jobs if job != "ps")
    with tf.device(tf.train.replica_device_setter(worker_device=f"/job:{role}/task:{index}", cluster=cluster)):
        step = tf.train.get_or_create_global_step()
        weight = tf.get_variable("weight", [8, 1], initializer=tf.zeros_initializer())
        features = tf.random.normal([16, 8])
        loss = tf.reduce_mean(tf.square(tf.matmul(features, weight) - tf.reduce_sum(features, 1, keepdims=True)))
        optimizer, hooks = tf.train.GradientDescentOptimizer(0.02), [tf.train.StopAtStepHook(last_step=int(last_step))]
        if "--sync" in options:
            optimizer = tf.train.SyncReplicasOptimizer(optimizer, trainers, trainers)
            hooks.append(optimizer.make_session_run_hook(is_chief))
        train = optimizer.minimize(loss, step)
    session = tf.train.MonitoredTrainingSession(
        server.target, is_chief, folder, hooks=hooks, save_checkpoint_secs=2, log_step_count_steps=None
    )
    with session:
        while not session.should_stop():
            _, at = session.run([train, step])
            time.sleep(0.005)
    print(f"DONE at step {at}", flush=True)


main(*sys.argv[1:])
