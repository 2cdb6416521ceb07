from __future__ import annotations

import threading

import pytest

from launcher.estimator import add_examples
from launcher.estimator import task as tasks


@pytest.mark.parametrize(
    ("environ", "role", "index"),
    [
        ({"TF_CONFIG": '{"task": {"type": "worker", "index": 3}}'}, "worker", 3),
        ({"TF_CONFIG": '{"task": {"type": "ps"}}', "TFLAUNCH_TASK": "chief:0"}, "ps", 0),
        ({"TFLAUNCH_TASK": "worker:12"}, "worker", 12),
        ({"TF_CONFIG": "not json"}, "", 0),
        ({"TF_CONFIG": "[]"}, "", 0),
        ({}, "", 0),
    ],
)
def test_a_task_knows_who_it_is(environ: dict[str, str], role: str, index: int) -> None:
    task = tasks.begin(environ)
    assert (task.role, task.index) == (role, index)


def test_name_and_attempt_go_with_the_channel() -> None:
    task = tasks.begin({"TFLAUNCH_TASK": "worker:1", "TFLAUNCH_ATTEMPT": "3"})
    assert (task.channel.task, task.channel.attempt) == ("worker:1", 3)


def test_examples_are_unknown_until_the_job_counts_them() -> None:
    task = tasks.begin({})
    assert task.examples is None
    threads = [threading.Thread(target=lambda: [add_examples(2) for _ in range(1000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert task.examples == 8000
