"""Where the tasks of lost hosts go on: from a plan to the plan of the next generation. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from launcher.plan.model import Plan, PlannedHost, PlannedTask
from launcher.spec.command import fill
from launcher.spec.hosts import GPUS_VARIABLE
from launcher.wire.errors import TflaunchError
from launcher.wire.protocol import TRAINERS_VARIABLE
from launcher.wire.roles import TaskId


class NowhereToGoError(TflaunchError):
    """A task can run on none of the hosts that are left; the text says which, and why."""


def with_workers(plan: Plan, lost: frozenset[str], needed: frozenset[TaskId], new: frozenset[TaskId]) -> Plan:
    """The plan with ``new`` workers beside those of ``needed``, on hosts that have room. Raises NowhereToGoError where
    there is not room for all."""
    if plan.further is None:
        raise NowhereToGoError("this run's plan knows of no further workers")
    added = [_worker(plan.further, task) for task in sorted(new)]
    tasks = (*(item for item in plan.tasks if item.task not in new), *added)
    return moved(replace(plan, tasks=tasks), lost, needed | new, homeless=new)


def _worker(further: PlannedTask, task: TaskId) -> PlannedTask:
    values = {"index": str(task.index)}
    return replace(further, task=task, argv=fill(further.argv, values), program=fill(further.program, values))


def moved(
    plan: Plan, lost: frozenset[str], needed: frozenset[TaskId], homeless: frozenset[TaskId] = frozenset()
) -> Plan:
    """The plan with every task of ``needed`` away from ``lost`` hosts, and those of ``homeless`` on any. The others
    stay where they are.

    A task goes to a host of its role that is reached in the same way, has a port and the GPUs for it: to the one with
    the fewest tasks. Tasks that have ended and are not ``needed`` take nothing away. Raises NowhereToGoError.
    """
    tasks = tuple(_Places(plan, lost, needed, homeless).placed())
    trainers = Counter(item.host for item in tasks if item.task in needed and item.task.role.trains)
    environments = _Environments()
    return replace(plan, tasks=tuple(_on_its_host(item, trainers[item.host], environments) for item in tasks))


def _on_its_host(item: PlannedTask, trainers: int, environments: _Environments) -> PlannedTask:
    """The task with what its environment says of its host."""
    values = {GPUS_VARIABLE: ",".join(map(str, item.gpus)), TRAINERS_VARIABLE: str(trainers)}
    stale = {
        name: value
        for name, value in values.items()
        if value and name in item.env and name not in item.secret_env and item.env[name] != value
    }
    return replace(item, env=environments.changed(item.env, stale)) if stale else item


class _Environments:
    """Changed environments, each made once: many tasks share one."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, tuple[tuple[str, str], ...]], Mapping[str, str]] = {}

    def changed(self, env: Mapping[str, str], values: Mapping[str, str]) -> Mapping[str, str]:
        key = (id(env), tuple(values.items()))
        if key not in self._made:
            self._made[key] = MappingProxyType({**env, **values})
        return self._made[key]


class _Places:
    """What the hosts that are left have room for."""

    def __init__(
        self, plan: Plan, lost: frozenset[str], needed: frozenset[TaskId], homeless: frozenset[TaskId]
    ) -> None:
        self._plan = plan
        self._hosts = {host.name: host for host in plan.hosts}
        self._left = {name: host for name, host in self._hosts.items() if name not in lost}
        self._homeless = homeless | {item.task for item in plan.tasks if item.task in needed and item.host in lost}
        there = [item for item in plan.tasks if item.task not in homeless]
        stays = [item for item in there if item.task in needed and item.host in self._left]
        self._tasks = Counter(item.host for item in stays)
        self._ports = Counter(item.host for item in there)  # each task of a host has one, ended or not
        self._gpus = {name: set(range(host.gpus)) for name, host in self._left.items()}
        for item in stays:
            self._gpus[item.host] -= set(item.gpus)

    def placed(self) -> Iterator[PlannedTask]:
        """Each task of the plan, in its order."""
        for item in self._plan.tasks:
            yield self._move(item) if item.task in self._homeless else item

    def _move(self, item: PlannedTask) -> PlannedTask:
        host = self._choose(item)
        self._tasks[host.name] += 1
        self._ports[host.name] += 1
        gpus = tuple(sorted(self._gpus[host.name])[: len(item.gpus)])
        self._gpus[host.name] -= set(gpus)
        return replace(item, host=host.name, gpus=gpus)

    def _choose(self, item: PlannedTask) -> PlannedHost:
        traits = self._hosts[item.host].traits  # its environment and folders were made for such hosts
        allowed = dict.fromkeys(self._plan.on.get(item.task.role) or self._hosts)
        near = [self._left[name] for name in allowed if name in self._left]
        near = [host for host in near if host.traits == traits]
        if not near:
            where = f"roles.{item.task.role}.on names" if self._plan.on.get(item.task.role) else "there is"
            raise NowhereToGoError(f"{where} no other host that is left for {item.task}")
        fit = [host for host in near if len(self._gpus[host.name]) >= len(item.gpus)]
        if not fit:
            names = ", ".join(host.name for host in near)
            raise NowhereToGoError(f"{item.task} needs {len(item.gpus)} GPUs, and {names} have not so many free")
        roomy = [host for host in fit if self._has_port(host)]
        if not roomy:
            names = ", ".join(host.name for host in fit)
            raise NowhereToGoError(f"the ports of {names} do not suffice for {item.task}")
        return min(roomy, key=lambda host: self._tasks[host.name])

    def _has_port(self, host: PlannedHost) -> bool:
        return host.ports is None or self._ports[host.name] <= host.ports[1] - host.ports[0]
