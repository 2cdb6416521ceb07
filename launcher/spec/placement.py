"""Which task runs on which host, and with which of its GPUs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle, islice

from launcher.wire.roles import ROLES, TRAINERS, Role, TaskId

LOCAL_HOST = "local"
LOCAL_ADDRESS = "127.0.0.1"
GPUS_VARIABLE = "CUDA_VISIBLE_DEVICES"


def place(counts: Mapping[Role, int], on: Mapping[Role, Sequence[str]]) -> dict[TaskId, str]:
    """The host of each task, in order of task: each role goes round its hosts in turn, from the first one."""
    return {
        TaskId(role, index): host
        for role in ROLES
        for index, host in enumerate(islice(cycle(on[role]), counts.get(role, 0)))
    }


def assign_gpus(hosts: Mapping[TaskId, str], wanted: Mapping[Role, int]) -> dict[TaskId, tuple[int, ...]]:
    """The GPUs of each trainer, none of them given twice: on each host from 0 on, the chief first."""
    taken: Counter[str] = Counter()
    gpus: dict[TaskId, tuple[int, ...]] = {}
    for task, host in hosts.items():
        count = wanted.get(task.role, 0) if task.role in TRAINERS else 0
        if count:
            gpus[task] = tuple(range(taken[host], taken[host] + count))
            taken[host] += count
    return gpus


def tasks_per_host(hosts: Mapping[TaskId, str], tasks: Iterable[TaskId] | None = None) -> Counter[str]:
    """How many tasks each host has."""
    return Counter(hosts[task] for task in (hosts if tasks is None else tasks))
