"""Sessions that a program opens at its server by itself, each with a graph of its own: what is wrong is printed."""

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
    return v1.py_func(lambda: np.float32(os.getpid() == PID), [], tf.float32)


def run(*fetches, target=server.target, first=(), **options):
    with v1.Session(target, config=v1.ConfigProto(operation_timeout_in_ms=60_000, **options)) as session:
        session.run(list(first))
        return session.run(list(fetches))


def on_a_processor():
    with tf.device("/cpu:0"):
        return run(is_here()) == [1]


def on_a_task_of_no_job():
    with tf.device(f"/task:{index}"):
        return run(is_here()) == [1]


def in_a_function_with_a_variable_of_a_ps():
    with tf.device("/job:ps/task:0"):
        weight = v1.get_variable("weight", [], initializer=v1.ones_initializer())

    @tf.function
    def function():
        with tf.device("/job:ps/task:0"):
            double = weight * 2
        return is_here() * double

    return run(function(), first=[weight.initializer]) == [2]


def with_filters_that_leave_this_task_out():
    return run(is_here(), device_filters=["/job:ps"]) == [1]


def at_an_address_spelled_otherwise():
    return run(is_here(), target="grpc://localhost:" + server.target.rpartition(":")[2]) == [1]


def at_the_server_of_a_parameter_server():
    target = "grpc://" + config["cluster"]["ps"][0]
    with tf.device("/job:ps/task:0"):
        placed = v1.get_variable(f"placed_by_{role}", [], initializer=v1.ones_initializer())
    unplaced = v1.get_variable(f"unplaced_by_{role}", [], initializer=v1.ones_initializer())
    there = run(placed, unplaced, target=target, first=[placed.initializer, unplaced.initializer]) == [1, 1]
    here = run(placed, v1.is_variable_initialized(unplaced)) == [1, False]
    return there and here and run(unplaced, target=target) == [1]


def at_the_server_of_another_trainer():
    other = "worker" if role == "chief" else "chief"
    unplaced = v1.get_variable(f"left_by_{role}", [], initializer=v1.ones_initializer())
    target = "grpc://" + config["cluster"][other][0]
    there = run(unplaced, target=target, first=[unplaced.initializer]) == [1]
    with tf.device("/job:ps/task:0"):
        placed = v1.get_variable(f"kept_by_{role}", [], initializer=v1.ones_initializer())
    return there and run(placed, target=target, first=[placed.initializer]) == [1] and run(placed) == [1]


def with_a_state_of_its_own():
    variable = v1.get_variable("alone", [], initializer=v1.ones_initializer())
    run(variable, first=[variable.initializer], isolate_session_state=True)
    return run(v1.is_variable_initialized(variable)) == [False]


def beside_a_local_one():
    number = tf.constant(1) + 2
    with v1.Session() as local:
        return run(number) == [3] and local.run(number) == 3 and run(number) == [3] and local.run(number + 1) == 4


def and_exported():
    run(tf.constant(3, name="three"))
    graph = v1.train.export_meta_graph()
    with tf.Graph().as_default():
        v1.train.import_meta_graph(graph)
        return run("three:0", target="") == [3]


def opened_before_its_graph():
    with v1.Session(server.target) as session, tf.device("/job:worker/task:0"):
        return session.run(tf.constant(1) + 2) == 3


wrong = []
for case in (
    on_a_processor,
    on_a_task_of_no_job,
    in_a_function_with_a_variable_of_a_ps,
    with_filters_that_leave_this_task_out,
    at_an_address_spelled_otherwise,
    at_the_server_of_a_parameter_server,
    at_the_server_of_another_trainer,
    with_a_state_of_its_own,
    beside_a_local_one,
    and_exported,
    opened_before_its_graph,
):
    with tf.Graph().as_default():
        try:
            if not case():
                wrong.append(case.__name__)
        except Exception as error:
            wrong.append(f"{case.__name__}: {type(error).__name__}")
print("wrong:", *wrong or ["nothing"], flush=True)

place = v1.train.replica_device_setter(worker_device=f"/job:{role}/task:{index}", cluster=config["cluster"])
with tf.Graph().as_default(), v1.device(place):
    step = v1.train.get_or_create_global_step()
    train = v1.assign_add(step, 1)
    hooks = [v1.train.StopAtStepHook(last_step=100)]
    with v1.train.MonitoredTrainingSession(server.target, role == "chief", sys.argv[1], hooks=hooks) as session:
        while not session.should_stop():
            session.run(train)
