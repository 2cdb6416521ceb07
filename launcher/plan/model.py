"""What will run: hosts and tasks as planned. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from launcher.spec.engines import LISTED
from launcher.spec.hosts import PlannedHost
from launcher.spec.policy import Policy
from launcher.wire.protocol import JsonValue
from launcher.wire.roles import TRAINERS, Role, TaskId, chief_of

PRELOADED = ("tensorflow",)  # where nobody says what else

__all__ = ["BoundPlan", "Plan", "PlannedHost", "PlannedTask", "StartMode"]


class StartMode(str, Enum):
    """How a task's process comes to be: forked from the preloaded interpreter, or started afresh."""

    FORK = "fork"
    EXEC = "exec"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTask:
    """One task as it will run, all but its port.

    ``argv`` is complete; ``env`` is what is set on top of the agent's own environment, TF_CONFIG not included, in
    order of name; ``secret_env`` names the variables whose values are never shown. For Python commands ``python`` is
    the interpreter with its flags and ``program`` the rest of ``argv``. ``preload_key`` names the preloaded
    interpreter to fork from; without one the task is started by exec, for the reason in ``exec_reason``.
    """

    task: TaskId
    host: str
    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    secret_env: frozenset[str] = frozenset()
    start: StartMode = StartMode.EXEC
    gpus: tuple[int, ...] = ()
    python: tuple[str, ...] = ()
    program: tuple[str, ...] = ()
    preload_key: str | None = None
    exec_reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What will run: every task with its host, command and environment; ports are still names.

    ``preload`` lists the modules that are imported before tasks are forked; ``adjustments`` the names of the
    in-task adjustments that are on. ``origins`` says for each option where its value came from, for the reader;
    ``notes`` is what he should know before he starts it. ``model_dir`` is the folder that the run locks; TF_CONFIG
    names it unless the command does so itself (``model_dir_in_command``). ``on``: the hosts that a role may run on; one
    that is not in it, on all. ``keras``: why ``legacy-keras`` is on, or off. ``engine``: where the hosts come from,
    with its keys. ``further``: a worker that may be added, its index still a name; ``least_workers``, ``most_workers``:
    how many there may be.
    """

    name: str
    model_dir: str | None
    hosts: tuple[PlannedHost, ...]
    tasks: tuple[PlannedTask, ...]
    policy: Policy
    preload: tuple[str, ...]
    adjustments: tuple[str, ...]
    max_steps: int | None = None
    inject: tuple[str, ...] = ()
    tensorboard: bool = False
    listeners: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    origins: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    model_dir_in_command: bool = False
    notes: tuple[str, ...] = ()
    keras: str = ""
    on: Mapping[Role, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    engine: str = LISTED
    engine_keys: JsonValue = None
    further: PlannedTask | None = None
    least_workers: int = 0
    most_workers: int | None = None

    @property
    def chief(self) -> PlannedTask:
        """The chief, or who stands for it."""
        tasks = {planned.task: planned for planned in self.tasks}
        return tasks[chief_of(tasks)]

    @property
    def has_ps(self) -> bool:
        """Whether there are parameter servers."""
        return bool(self.of_role(Role.PS))

    @property
    def shape(self) -> str:
        """What kind of cluster this is, in words; what its program makes of it is seen when it runs."""
        trainers = len(self.of_role(*TRAINERS))
        if self.has_ps:
            words = f"{trainers} trainer{'s' * (trainers > 1)} with parameter servers"
        elif trainers > 1:
            words = f"{trainers} trainers without parameter servers, for a collective (MultiWorkerMirroredStrategy)"
        else:
            words = "one trainer, alone"
        stands_in = self.chief.task.role is not Role.CHIEF
        return f"{words}; {self.chief.task} is the chief" if stands_in else words

    def task(self, task: TaskId) -> PlannedTask:
        """The planned task of that name; raises KeyError if the plan has none."""
        for planned in self.tasks:
            if planned.task == task:
                return planned
        raise KeyError(task.name)

    def of_role(self, *roles: Role) -> tuple[PlannedTask, ...]:
        """The tasks of these roles, in the order of the plan."""
        return tuple(planned for planned in self.tasks if planned.task.role in roles)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BoundPlan:
    """A plan whose hosts and ports are known: one generation of the cluster. Equal only to itself."""

    plan: Plan
    generation: int
    hosts: Mapping[str, PlannedHost]
    ports: Mapping[TaskId, int]
