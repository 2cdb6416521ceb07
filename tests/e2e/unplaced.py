"""Monitored sessions whose input is made outside of any device scope: it runs where the session is."""

import json
import os
import sys

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
v1.disable_eager_execution()
config = json.loads(os.environ["TF_CONFIG"])
role, index = config["task"]["type"], config["task"]["index"]
server = tf.distribute.Server(tf.train.ClusterSpec(config["cluster"]), job_name=role, task_index=index)
if role == "ps":
    server.join()
PID = os.getpid()


def is_here():
    return np.float32(os.getpid() == PID)


def numbers():
    while True:
        yield is_here()


data = tf.data.Dataset.from_generator(numbers, tf.float32, []).map(lambda x: v1.py_func(is_here, [], tf.float32) * x)
value = tf.reshape(v1.data.make_one_shot_iterator(data).get_next(), [])
beside = v1.py_func(is_here, [], tf.float32)
with v1.device(v1.train.replica_device_setter(worker_device=f"/job:{role}/task:{index}", cluster=config["cluster"])):
    step = v1.train.get_or_create_global_step()
    weight = v1.get_variable("weight", [], initializer=v1.zeros_initializer())
    train = v1.train.GradientDescentOptimizer(0.001).minimize(tf.square(weight - value), step)
here = []
hooks = [v1.train.StopAtStepHook(last_step=100)]
with v1.train.MonitoredTrainingSession(
    server.target, is_chief=role == "chief", checkpoint_dir=sys.argv[1], hooks=hooks
) as session:
    while not session.should_stop():
        here.append(session.run([train, value, beside])[1:])
print("here", bool(np.all(here)), flush=True)
