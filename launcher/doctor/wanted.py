"""What a plan needs of each host, as the rules ask for it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from launcher.agent.host.lock import is_remote
from launcher.plan.model import Plan, PlannedHost, PlannedTask
from launcher.wire import adjustments
from launcher.wire.roles import TRAINERS, Role

_DEPLOYED = ("sync", "python.venv", "python.requirements", "python.wheelhouse")


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A Python that tasks run with, and how. ``env`` holds values of the user: never to be shown."""

    python: tuple[str, ...]
    program: tuple[str, ...]
    cwd: str
    modules: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Need:
    """What the plan needs of one host. ``alone``: there is no other."""

    host: PlannedHost
    tasks: tuple[PlannedTask, ...]
    interpreters: tuple[Interpreter, ...]
    model_dir: str | None  # None: no task here uses it, or it is not a folder of this kind
    alone: bool = False

    @property
    def trainers(self) -> int:
        """How many tasks compute gradients there."""
        return sum(task.task.role.trains for task in self.tasks)

    def has(self, *roles: Role) -> bool:
        """Whether a task of one of these roles runs there."""
        return any(task.task.role in roles for task in self.tasks)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the plan needs of all hosts, by name, in the plan's order. ``chief``: the host of the chief; ``far_dir``:
    the model_dir, where it is none that hosts could share as a folder; ``shape``: of the cluster, in words;
    ``deploys``: whether code and environment are to be brought by ``tflaunch deploy``, and ``deployed``: the
    Pythons that it has brought; ``lacks``: what their requirements leave out; ``guarded``: whether the ports are to
    be; ``run_dirs``: the folder of runs, where the hosts must see it as this machine does."""

    needs: Mapping[str, Need]
    chief: str
    model_dir: str | None
    far_dir: str | None = None
    shape: str = ""
    deploys: bool = False
    deployed: frozenset[str] = frozenset()
    lacks: str = ""
    guarded: bool = True
    run_dirs: str | None = None

    def talk(self, one: str, other: str) -> bool:
        """Whether tasks of these hosts talk to each other: trainers and parameter servers do, in both directions; where
        there are no parameter servers, trainers among themselves."""
        near, far = self.needs[one], self.needs[other]
        servers = (Role.PS,) if any(need.has(Role.PS) for need in self.needs.values()) else TRAINERS
        return any(server.has(*servers) and client.has(*TRAINERS) for server, client in ((near, far), (far, near)))


def wanted(
    plan: Plan, *, run_dirs: str, deployed: Collection[str] = (), lacks: str = "", shares_runs: bool = False
) -> Wanted:
    """What the plan needs. ``run_dirs``: the folder in which the run's own folder would be made; ``deployed``: Pythons
    that were brought to hosts; ``lacks``: what their requirements leave out; ``shares_runs``: hosts must see the folder
    of runs as this machine does."""
    path = plan.model_dir.replace("{run_dir}", f"{run_dirs}/doctor") if plan.model_dir is not None else None
    own_folder = plan.model_dir is not None and plan.model_dir.startswith("{run_dir}")
    alone = len(plan.hosts) == 1
    folder = None if path is None or is_remote(path) or (own_folder and alone) else path
    by_host = {host.name: tuple(task for task in plan.tasks if task.host == host.name) for host in plan.hosts}
    return Wanted(
        needs={host.name: _need(host, by_host[host.name], plan, folder) for host in plan.hosts},
        chief=plan.chief.host,
        shape=plan.shape,
        model_dir=folder,
        far_dir=path if path is not None and is_remote(path) else None,
        guarded=adjustments.PORT_GUARD in plan.adjustments,
        deploys=any(key.startswith(_DEPLOYED) for key in plan.origins),
        deployed=frozenset(deployed),
        lacks=lacks,
        run_dirs=run_dirs if shares_runs else None,
    )


def _need(host: PlannedHost, tasks: tuple[PlannedTask, ...], plan: Plan, folder: str | None) -> Need:
    uses = any(task.task.role is not Role.PS for task in tasks)
    return Need(
        host=host,
        tasks=tasks,
        interpreters=_interpreters(tasks, plan),
        model_dir=folder if uses else None,
        alone=len(plan.hosts) == 1,
    )


def _interpreters(tasks: tuple[PlannedTask, ...], plan: Plan) -> tuple[Interpreter, ...]:
    """Those that differ; devices, which differ from task to task, left out."""
    found: dict[tuple[object, ...], Interpreter] = {}
    for task in tasks:
        if task.python:
            env = {name: value for name, value in task.env.items() if name != "CUDA_VISIBLE_DEVICES"}
            made = Interpreter(
                python=task.python,
                program=task.program,
                cwd=task.cwd,
                modules=plan.preload or ("tensorflow",),
                env={**env, "CUDA_VISIBLE_DEVICES": task.env.get("CUDA_VISIBLE_DEVICES", "")},
            )
            found.setdefault((task.python, task.program[:2], task.cwd, tuple(sorted(env.items()))), made)
    return tuple(found.values())
