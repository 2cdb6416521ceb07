"""From a plan to messages for the agents: run folder and ports filled in, and each task's complete environment.

Standard library only, since the supervisor and its tests need nothing else.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

from launcher.plan.model import PRELOADED, BoundPlan, Plan, PlannedTask
from launcher.plan.tf_config import VARIABLE, TfConfigs, tf_configs
from launcher.spec import drills
from launcher.spec.command import fill
from launcher.wire import adjustments, protocol
from launcher.wire.errors import HostError
from launcher.wire.preload_env import import_environment
from launcher.wire.roles import TaskId
from launcher.wire.standby import Wanted


def with_run_dir(plan: Plan, run_dir: str) -> Plan:
    """The plan with ``{run_dir}`` filled in: in commands, in model_dir and in what tflaunch itself sets."""
    values = {"run_dir": run_dir}
    environments: dict[int, Mapping[str, str]] = {}  # many tasks share one

    def placed(planned: PlannedTask) -> PlannedTask:
        if id(planned.env) not in environments:
            environments[id(planned.env)] = _placed_env(planned, values)
        env = environments[id(planned.env)]
        return replace(planned, argv=fill(planned.argv, values), program=fill(planned.program, values), env=env)

    model_dir = None if plan.model_dir is None else fill((plan.model_dir,), values)[0]
    further = placed(plan.further) if plan.further is not None else None
    return replace(plan, model_dir=model_dir, tasks=tuple(map(placed, plan.tasks)), further=further)


def _placed_env(planned: PlannedTask, values: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(
        {
            name: value if name in planned.secret_env else fill((value,), values)[0]
            for name, value in planned.env.items()
        }
    )


def bind(plan: Plan, ports: Mapping[TaskId, int], generation: int) -> BoundPlan:
    """The plan, whose hosts have been granted, with its ports: one generation of the cluster.

    Raises HostError if a host has no address, a task has no port, or two tasks have one address.
    """
    hosts = {host.name: host for host in plan.hosts}
    owners: dict[tuple[str, int], TaskId] = {}
    for planned in plan.tasks:
        if not hosts[planned.host].address:
            raise HostError(planned.host, f"has no address for {planned.task}: it was not granted")
        port = ports.get(planned.task)
        if port is None:
            raise HostError(planned.host, f"has reserved no port for {planned.task}", "see its agent's output")
        owner = owners.setdefault((hosts[planned.host].address, port), planned.task)
        if owner != planned.task:
            raise HostError(planned.host, f"has given port {port} to {owner} and to {planned.task}")
    chosen = MappingProxyType({planned.task: ports[planned.task] for planned in plan.tasks})
    return BoundPlan(plan=plan, generation=generation, hosts=MappingProxyType(hosts), ports=chosen)


@lru_cache(maxsize=4)
def _prepared(bound: BoundPlan) -> tuple[TfConfigs, Mapping[TaskId, PlannedTask]]:
    """What all start messages of a generation share."""
    return tf_configs(bound.plan, bound.ports), {planned.task: planned for planned in bound.plan.tasks}


def start_message(bound: BoundPlan, task: TaskId, attempt: int, *, run: str) -> protocol.Start:
    """The order to start one attempt of a task, its environment complete but for what its agent adds (the socket).

    Raises KeyError if the plan has no such task.
    """
    configs, tasks = _prepared(bound)
    planned = tasks[task]
    config = configs.of(task)
    env: dict[str, str | None] = {
        **planned.env,
        **config.pieces,
        VARIABLE: config.text,
        protocol.TASK_VARIABLE: task.name,
        protocol.ATTEMPT_VARIABLE: str(attempt),
        protocol.RUN_VARIABLE: run,
        protocol.TUNE_VARIABLE: tune_of(bound.plan, planned),
    }
    if task.role.trains and (steps := drills.steps_of(bound.plan.inject)):
        env[protocol.REPORT_STEPS_VARIABLE] = ",".join(map(str, steps))
    return protocol.Start(
        generation=bound.generation,
        task=task.name,
        attempt=attempt,
        argv=planned.argv,
        cwd=planned.cwd,
        env=dict(sorted(env.items())),
        preload=planned.preload_key,
        program=planned.program,
    )


def tune_of(plan: Plan, planned: PlannedTask) -> str:
    """The adjustments that are made inside a task, separated by commas."""
    chosen = adjustments.for_role(plan.adjustments, planned.task.role.value)
    return ",".join(adjustment.name for adjustment in chosen if adjustment.name not in adjustments.CHOSEN_OUTSIDE)


def guard_message(bound: BoundPlan | None, host: str, keys: Mapping[TaskId, str]) -> protocol.Guard:
    """The order to a host to guard the ports of its tasks, whose addresses are known when the plan is bound."""
    if bound is None:
        return protocol.Guard()
    places = {item.task: f"{bound.hosts[item.host].address}:{bound.ports[item.task]}" for item in bound.plan.tasks}
    return protocol.Guard(
        addresses={place: keys[task] for task, place in places.items()},
        own=tuple(places[planned.task] for planned in bound.plan.tasks if planned.host == host),
    )


def preload_messages(plan: Plan, host: str) -> tuple[protocol.Preload, ...]:
    """The orders to a host for the interpreters that its tasks are forked from, each once."""
    messages: dict[str, protocol.Preload] = {}
    for planned in plan.tasks:
        key = planned.preload_key
        if planned.host == host and key is not None and key not in messages:
            messages[key] = protocol.Preload(
                key=key, python=planned.python, modules=plan.preload, env=dict(import_environment(planned.env))
            )
    return tuple(messages.values())


def standby_of(plan: Plan, host: str, owner: str) -> Wanted | None:
    """The interpreter on its host that the process ``owner`` is to keep for its next runs: that of most tasks there.
    None if there is none, or if it imports more than TensorFlow, which may be another one in the next run."""
    keys = Counter(planned.preload_key for planned in plan.tasks if planned.host == host and planned.preload_key)
    if plan.preload != PRELOADED or not keys:
        return None
    most = keys.most_common(1)[0][0]
    message = next(item for item in preload_messages(plan, host) if item.key == most)
    return Wanted(
        owner=owner,
        key=message.key,
        python=message.python,
        modules=message.modules,
        env=message.env,
        guarded=adjustments.PORT_GUARD in plan.adjustments,
    )


def board_message(plan: Plan, host: str, run_dir: str, *, run: str) -> protocol.Board | None:
    """The order to a host to run TensorBoard; None if that is not its task. It runs on a host that sees the run's
    folder, if any does; else where the chief does, and shows the model_dir alone."""
    near = [item.name for item in plan.hosts if item.traits.shares_files]
    chief = plan.chief
    if not plan.tensorboard or host != (near[0] if near else chief.host):
        return None
    env = {protocol.RUN_VARIABLE: run}
    if near:
        events, logdir = f"{run_dir}/events.jsonl", f"{run_dir}/tensorboard"
        return protocol.Board(
            python=sys.executable, logdir=logdir, events=events, model_dir=plan.model_dir or "", env=env
        )
    python = chief.python[0] if chief.python else "python3"
    return protocol.Board(python=python, model_dir=plan.model_dir or "", env=env)
