"""How many cores the input takes."""

from __future__ import annotations

import os

import pytest

from launcher.estimator.streaming.reading.cores import input_cores
from launcher.wire.private import cores as host_cores


@pytest.fixture(autouse=True)
def without_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_cores, "cgroup_quota", lambda *_: None)


@pytest.mark.parametrize(
    ("said", "cores"), [(None, 6), ("1", 6), ("3", 2), ("4", 1), ("50", 1), ("0", 6), ("-2", 6), ("many", 6)]
)
def test_cores_are_shared_with_the_other_trainers_of_the_host(
    monkeypatch: pytest.MonkeyPatch, said: str | None, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)))
    environ = {} if said is None else {"TFLAUNCH_TRAINERS_ON_HOST": said}
    assert input_cores(environ) == cores


def test_cores_are_those_that_this_process_may_use() -> None:
    assert input_cores({}) == len(os.sched_getaffinity(0))
