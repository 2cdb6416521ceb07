"""Trainings, servers and global steps in this process, with real TensorFlow and no cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.sessions import global_steps
from launcher.estimator.adjustments.start import given_cluster, servers
from launcher.estimator.adjustments.start.given_cluster import TfConfigError
from launcher.estimator.channel import Channel
from launcher.estimator.task import Task
from tests.launcher.estimator.cluster import Agent

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]
CLUSTER = {"chief": ["127.0.0.1:1"], "ps": ["127.0.0.1:2"], "worker": ["127.0.0.1:3", "127.0.0.1:4"]}


@pytest.fixture
def patches() -> Iterator[Patches]:
    made = Patches()
    yield made
    made.undo()


def task_of(agent: Agent, role: str = "worker", index: int = 1) -> Task:
    channel = Channel(path=str(agent.path), task=f"{role}:{index}")
    return Task(channel=channel, role=role, index=index, cluster=CLUSTER)


# --- the global step ---------------------------------------------------------------------------------------------


def minimized(tf: Any, *, counts: bool) -> None:
    weight = tf.compat.v1.get_variable("weight", [])
    step = tf.compat.v1.train.get_or_create_global_step()
    tf.compat.v1.train.AdamOptimizer().minimize(tf.square(weight), step if counts else None)


def by_hand(tf: Any) -> None:
    step = tf.compat.v1.train.get_or_create_global_step()
    tf.cond(tf.constant(True), lambda: step.assign_add(1), lambda: step.read_value())


@pytest.mark.parametrize(
    ("build", "is_written"),
    [
        (lambda tf: minimized(tf, counts=True), True),
        (lambda tf: minimized(tf, counts=False), False),
        (by_hand, True),
        (lambda tf: tf.compat.v1.train.get_or_create_global_step().assign(7), True),
        (lambda tf: None, False),
    ],
)
def test_a_graph_that_counts_its_steps_is_known(build: Callable[[Any], None], is_written: bool) -> None:
    from jobs._tf import tf

    with tf.Graph().as_default() as graph:
        build(tf)
        tf.compat.v1.get_variable("another", [])
        tf.compat.v1.train.Saver().build()  # restores the step, which is no counting
        assert global_steps.is_written(graph) == is_written


def test_only_steps_that_do_not_count_are_refused() -> None:
    from jobs._tf import tf

    with tf.Graph().as_default() as graph:
        minimized(tf, counts=False)
        global_steps.check(graph, 5, 6, 100)
        global_steps.check(graph, 5, 5, 2)
        with pytest.raises(global_steps.GlobalStepError, match=r"never increased.*pass it to `minimize`"):
            global_steps.check(graph, 5, 5, 3)
    with tf.Graph().as_default() as graph:
        minimized(tf, counts=True)
        global_steps.check(graph, 5, 5, 100)  # gradients that are accumulated
        with pytest.raises(global_steps.GlobalStepError):
            global_steps.check(graph, 5, 5, 1000)


# --- servers and TF_CONFIG -----------------------------------------------------------------------------------------


def test_a_second_server_is_the_first_one(patches: Patches) -> None:
    import socket

    from jobs._tf import tf

    task = Task(channel=Channel(path=None))
    servers.share(patches, task)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    server = tf.compat.v1.train.Server
    first = server({"chief": [address]}, job_name="chief", task_index=0)
    second = server(tf.train.ClusterSpec({"chief": [address]}), "chief", 0, start=False)
    second.start()
    assert second.target == first.target and second.server_def == first.server_def
    with pytest.raises(RuntimeError, match="of another cluster"):
        server({"chief": [address], "ps": ["127.0.0.1:1"]}, job_name="chief", task_index=0)
    assert server.create_local_server().target != server.create_local_server().target


def config(cluster: dict[str, Any], role: str = "worker", index: int = 1) -> Any:
    spec = SimpleNamespace(as_dict=lambda: cluster) if cluster else None
    return SimpleNamespace(task_type=role, task_id=index, cluster_spec=spec, master="", train_distribute=None)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (config({}, index=0), "trains alone"),
        (config(CLUSTER, role="chief", index=0), "is chief:0 of a cluster of its own"),
        (config({**CLUSTER, "ps": ["127.0.0.1:9"]}), "looks for ps at 127.0.0.1:9, which is at 127.0.0.1:2"),
    ],
)
def test_a_program_that_would_train_elsewhere_is_refused(agent: Agent, found: Any, words: str) -> None:
    task = task_of(agent)
    with pytest.raises(TfConfigError, match=f"TF_CONFIG was changed or removed.*{words}"):
        given_cluster.check_config(task, found)
    task.channel.close()


def test_the_cluster_as_it_was_given_is_none_of_our_business(agent: Agent) -> None:
    task = task_of(agent)
    given_cluster.check_config(task, config({**CLUSTER, "worker": dict(enumerate(CLUSTER["worker"]))}))
    given_cluster.check_config(task_of(agent, "evaluator", 0), config({}, role="evaluator", index=0))
    given_cluster.check_config(Task(channel=Channel(path=None), cluster=CLUSTER), config({}))  # no launcher
    task.channel.close()
