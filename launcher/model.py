"""What every part of the launcher talks about: roles, tasks, policies and plans.

Values only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from launcher.wire.roles import ROLES as ROLES
from launcher.wire.roles import TRAINERS as TRAINERS
from launcher.wire.roles import Role as Role
from launcher.wire.roles import TaskId as TaskId


class Success(str, Enum):
    """Who decides that the training has succeeded."""

    CHIEF = "chief"
    ALL_WORKERS = "all_workers"


class UsedUp(str, Enum):
    """What a worker's or the evaluator's final failure means for the run."""

    FAIL = "fail"  # the run fails at once
    FAIL_AT_END = "fail_at_end"  # training goes on to its end, then the run has failed
    GO_ON = "go_on"  # the others go on, and decide

    def __str__(self) -> str:
        return self.value


class Outcome(str, Enum):
    """How a run has ended. ``LOST``: its supervisor died without a word."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"
    LOST = "lost"

    def __str__(self) -> str:
        return self.value


DEFAULT_USED_UP: Mapping[Role, UsedUp] = MappingProxyType(
    {Role.PS: UsedUp.FAIL, Role.CHIEF: UsedUp.FAIL, Role.WORKER: UsedUp.GO_ON, Role.EVALUATOR: UsedUp.FAIL_AT_END}
)
DEFAULT_RESTARTS: Mapping[Role, int] = MappingProxyType({Role.PS: 3, Role.CHIEF: 3, Role.WORKER: 5, Role.EVALUATOR: 3})


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What decides about success, restarts and time-outs of a run. Times in seconds; None: no bound.

    ``restarts`` counts those of the last ``restart_window_s``; ``used_up``: what it means that a task of a role has
    failed for good; ``lost_hosts``: how many hosts may be lost before that fails the run.
    """

    success: Success = Success.CHIEF
    restarts: Mapping[Role, int] = field(default_factory=lambda: DEFAULT_RESTARTS)
    restart_window_s: float | None = 86400.0
    used_up: Mapping[Role, UsedUp] = field(default_factory=lambda: DEFAULT_USED_UP)
    lost_hosts: int = 3
    backoff_s: float = 1.0
    start_timeout_s: float = 300.0
    hang_timeout_s: float | None = 1800.0
    timeout_s: float | None = None
    evaluator_drain_s: float = 900.0
    grace_s: float = 30.0
    lease_s: float = 3.0


class TaskState(str, Enum):
    """What a task is doing. The last three are final."""

    WAITING = "waiting"  # not started yet
    STARTING = "starting"  # its process runs
    READY = "ready"  # ps: proven listener; trainer: session open; evaluator: looks for checkpoints
    TRAINING = "training"  # has done a step
    EVALUATING = "evaluating"  # evaluates, or waits for the next checkpoint after its first evaluation
    FINISHED = "finished"  # trainer: its last gradient is applied, its process still runs
    DRAINING = "draining"  # evaluator: told to evaluate the last checkpoint and end
    STOPPING = "stopping"  # asked to end by the launcher
    BACKOFF = "backoff"  # died, will be started again
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"  # ended by the launcher, as it should

    def __str__(self) -> str:
        return self.value

    @property
    def final(self) -> bool:
        """Whether the task will not run again."""
        return self in (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.STOPPED)


class Phase(str, Enum):
    """Where a run is."""

    STARTING = "starting"
    TRAINING = "training"
    MOVING = "moving"  # a host is lost; everybody is stopped, to go on as a new generation without it
    DRAINING = "draining"  # training is over, the evaluator evaluates the last checkpoint
    STOPPING = "stopping"
    ENDED = "ended"

    def __str__(self) -> str:
        return self.value


class StartMode(str, Enum):
    """How a task's process comes to be: forked from the preloaded interpreter, or started afresh."""

    FORK = "fork"
    EXEC = "exec"

    def __str__(self) -> str:
        return self.value


ACCEPT_NEW_HOST_KEYS = "accept_new_host_keys"  # a key of PlannedHost.ssh


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedHost:
    """A host of the plan. ``address`` is what TF_CONFIG names; ``ports`` a closed range, None for any free port;
    ``ssh`` what is known about reaching it."""

    name: str
    address: str
    transport: str = "local"
    ports: tuple[int, int] | None = None
    gpus: int = 0
    ssh: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


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
    that is not in it, on all.
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
    origins: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    model_dir_in_command: bool = False
    notes: tuple[str, ...] = ()
    on: Mapping[Role, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))

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
    """A plan whose ports are known: one generation of the cluster. Equal only to itself."""

    plan: Plan
    generation: int
    ports: Mapping[TaskId, int]
