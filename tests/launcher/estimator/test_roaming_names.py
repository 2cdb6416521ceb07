"""roaming: which servers and sessions of a program it changes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from launcher.estimator import task as tasks
from launcher.estimator.adjustments.start import home, roaming
from launcher.wire.protocol import Gate

CHIEF, WORKER, PS = "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"


@pytest.fixture
def task() -> tasks.Task:
    task = tasks.begin({"TFLAUNCH_TASK": "worker:0"})
    task.cluster = {"chief": [CHIEF], "worker": [WORKER], "ps": [PS]}
    task.own_address = WORKER
    return task


def server_of(**cluster: list[str]) -> Any:
    jobs = [SimpleNamespace(name=role, tasks=dict(enumerate(places))) for role, places in cluster.items()]
    return SimpleNamespace(cluster=SimpleNamespace(job=jobs))


@pytest.mark.parametrize(
    ("cluster", "given"),
    [
        ({"chief": [CHIEF], "worker": [WORKER], "ps": [PS]}, True),
        ({"worker": [WORKER], "ps": [PS]}, True),
        ({"worker": [CHIEF, WORKER], "ps": [PS]}, False),
        ({"master": [CHIEF], "worker": [WORKER], "ps": [PS]}, False),
    ],
)
def test_a_program_that_names_its_tasks_anew_has_servers_that_stay(
    task: tasks.Task, cluster: dict[str, list[str]], given: bool
) -> None:
    assert roaming._is_given(task, server_of(**cluster)) is given


@pytest.mark.parametrize(
    ("target", "whose"),
    [
        ("grpc://127.0.0.1:2", ("worker", 0, WORKER)),
        ("grpc://localhost:2", ("worker", 0, WORKER)),
        ("grpc://127.0.0.1:12", None),
        ("grpc://192.0.2.1:2", None),
        (f"grpc://{PS}", ("ps", 0, PS)),
        (f"grpc://{CHIEF}", ("chief", 0, CHIEF)),
    ],
)
def test_servers_of_the_cluster_are_known_by_their_addresses(
    task: tasks.Task, target: str, whose: tuple[str, int, str] | None
) -> None:
    assert roaming._place_of(task, target) == (whose and roaming._Place(*whose))


def test_a_parameter_server_is_known_where_it_was_and_where_it_is(task: tasks.Task) -> None:
    task.channel.gate = Gate(open=True, ps={"0": "127.0.0.1:9"})
    for target in (f"grpc://{PS}", "grpc://127.0.0.1:9"):
        assert roaming._place_of(task, target) == roaming._Place("ps", 0, "127.0.0.1:9")


@pytest.mark.parametrize(
    ("device", "none"),
    [("", True), ("/device:GPU:0", True), ("/job:ps/task:0", False), ("/task:0/device:CPU:0", False)],
)
def test_a_processor_alone_is_no_task(device: str, none: bool) -> None:
    assert home.is_of_no_task(device) is none
