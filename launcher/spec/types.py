"""The cluster spec: every key that a spec file may have, its default and what it must look like.

These types are the only list of keys: reading, the JSON Schema and the reference file all follow them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, WithJsonSchema

from launcher.spec import drills, texts
from launcher.spec.policy import DEFAULT_RESTARTS, Policy
from launcher.spec.source import Origin, Path, nearest, spelled
from launcher.wire.roles import Role

MAX_TASKS = 100_000
MAX_SECONDS = 10 * 365 * 86400.0
_POLICY = Policy()


def _nothing_is_default(value: object) -> object:
    """``chief:`` with nothing behind it is a chief with defaults."""
    return {} if value is None else value


def _nothing_is_empty(value: object) -> object:
    """``on:`` with nothing behind it is an empty list."""
    return () if value is None else value


def _restarts_of_all(value: object) -> object:
    """``restarts: 2`` is 2 for each role."""
    if value is None:
        return {}
    if isinstance(value, int) and not isinstance(value, bool):
        return {role.value: value for role in Role}
    return value


_NUMBER_OR_TEXT = WithJsonSchema({"type": ["string", "number"]})
_SPELLED = BeforeValidator(spelled)
_MAYBE_MAPPING = BeforeValidator(_nothing_is_default)
_MAYBE_LIST = BeforeValidator(_nothing_is_empty)

Word = Annotated[str, _SPELLED, _NUMBER_OR_TEXT, AfterValidator(texts.argument)]
Text = Annotated[str, Field(min_length=1, max_length=4096)]
Name = Annotated[str, _SPELLED, _NUMBER_OR_TEXT, AfterValidator(texts.run_name)]
HostName = Annotated[str, _SPELLED, _NUMBER_OR_TEXT, AfterValidator(texts.host_name)]
Address = Annotated[str, AfterValidator(texts.address)]
Ports = Annotated[str, _SPELLED, _NUMBER_OR_TEXT, AfterValidator(texts.checked_ports)]
EnvName = Annotated[str, AfterValidator(texts.env_name)]
Env = Annotated[Mapping[EnvName, Word], _MAYBE_MAPPING]
Module = Annotated[str, AfterValidator(texts.module_name)]
DrillText = Annotated[str, AfterValidator(drills.checked)]
Count = Annotated[int, Field(ge=0, le=MAX_TASKS)]
Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)]


class Section(BaseModel):
    """A mapping of the spec: its keys are fixed, and so are its values once read."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True)


class Ssh(Section):
    """How to reach a host by SSH. ``ssh: {}`` takes everything from the address and from ~/.ssh/config."""

    host: Text | None = None
    """Name to connect to, if it is not the address."""
    user: Text | None = None
    """User to log in as; without it the one of ~/.ssh/config, else your own."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port of the SSH server; without it the one of ~/.ssh/config, else 22."""
    key: Text | None = None
    """File with the private key; without it the keys of your agent and of ~/.ssh."""
    connect_timeout_s: Annotated[float, Field(ge=1, le=3600)] | None = None
    """How long to try to connect; without it what ~/.ssh/config says, else 15."""


class Host(Section):
    """A machine that runs tasks. Without ``ssh`` it is the one on which tflaunch runs."""

    name: HostName
    """What ``on`` calls it. node[01-16] means sixteen hosts, node01 to node16."""
    address: Address | None = None
    """Name or IP address under which the other hosts reach it; without it the name. A range goes along with that of
    the name: 10.0.0.[1-16]."""
    ssh: Annotated[Ssh | None, _MAYBE_MAPPING] = None
    """Start its tasks by SSH."""
    ports: Ports | None = None
    """Ports that tasks may listen on, such as 20000-20999 where a firewall lets those through; without it any free
    one."""
    gpus: Annotated[int, Field(ge=0, le=1024)] = 0
    """How many GPUs the host has for this cluster."""


class RoleKeys(Section):
    """What can be said of each role."""

    count: Count = 1
    """How many tasks."""
    on: Annotated[tuple[HostName, ...], _MAYBE_LIST] = ()
    """Hosts in turn, first task on the first; without it all hosts in their order."""
    env: Env = Field(default_factory=dict)
    """Environment variables of these tasks; they override the ones of the whole cluster."""
    gpus: Annotated[int, Field(ge=0, le=1024)] = 0
    """GPUs of each task, trainers only. A task sees the ones it was given and no other."""


class WorkerKeys(RoleKeys):
    """And of workers, whose number may change while a run goes on."""

    min: Count | None = None
    """``tflaunch scale`` leaves at least so many; null: 0."""
    max: Count | None = None
    """And makes no more than that; null: any number."""


MaybeRole = Annotated[RoleKeys | None, _MAYBE_MAPPING]


class Roles(Section):
    """The tasks of the cluster. A role that is not mentioned has none."""

    ps: MaybeRole = None
    """Parameter servers: they hold the variables. Where there are workers, write how many; 0: their program needs none,
    such as one with a MultiWorkerMirroredStrategy."""
    chief: MaybeRole = None
    """The worker that initialises, saves and exports, besides training. One; 0: the first worker does it."""
    worker: Annotated[WorkerKeys | None, _MAYBE_MAPPING] = None
    """Workers besides the chief."""
    evaluator: MaybeRole = None
    """Evaluates each checkpoint. One at most."""

    def of(self, role: Role) -> RoleKeys:
        """The keys of a role; of one that is not mentioned, those of no tasks."""
        named = {Role.PS: self.ps, Role.CHIEF: self.chief, Role.WORKER: self.worker, Role.EVALUATOR: self.evaluator}
        return named[role] or NO_TASKS


NO_TASKS = RoleKeys(count=0)


class Restarts(Section):
    """How often a task of each role may be started again."""

    worker: Count = DEFAULT_RESTARTS[Role.WORKER]
    """A worker is missed least and comes back easiest."""
    ps: Count = DEFAULT_RESTARTS[Role.PS]
    """After a parameter server's restart training goes on from the last checkpoint."""
    chief: Count = DEFAULT_RESTARTS[Role.CHIEF]
    """A restarted chief goes on where the parameter servers are."""
    evaluator: Count = DEFAULT_RESTARTS[Role.EVALUATOR]
    """Training does not notice an evaluator's restart."""


class UsedUpKeys(Section):
    """What it means for the run that a task has failed for good. Without parameter servers or chief nothing goes on."""

    worker: Literal["fail", "fail_at_end", "go_on"] | None = None
    """null: go_on if the chief alone decides about success, else fail."""
    evaluator: Literal["fail", "fail_at_end", "go_on"] = "fail_at_end"
    """By default training goes on to its end, and the run has failed, since nothing was evaluated."""


class PolicyKeys(Section):
    """When a run has succeeded, and how long and how often to try."""

    success: Literal["chief", "all_workers"] = "chief"
    """Who must end well: the chief, or each worker too."""
    restarts: Annotated[Restarts, BeforeValidator(_restarts_of_all)] = Field(default_factory=Restarts)
    """How often a task may be started again, by role; one number means it for all."""
    restart_window_s: Seconds | None = _POLICY.restart_window_s
    """Restarts longer ago than this are not counted any more; null counts them for ever."""
    used_up: Annotated[UsedUpKeys, _MAYBE_MAPPING] = Field(default_factory=UsedUpKeys)
    """What the run does without a task that has failed for good."""
    lost_hosts: Count = _POLICY.lost_hosts
    """How many hosts may be lost: what ran there goes on on the others, from the last checkpoint. 0: none."""
    backoff_s: SecondsOrZero = _POLICY.backoff_s
    """Pause before the first restart of a task; doubles with each further one."""
    start_timeout_s: Seconds = _POLICY.start_timeout_s
    """How long a task may take until it is ready, where it is known to train, or others wait for it."""
    hang_timeout_s: Seconds | None = _POLICY.hang_timeout_s
    """How long the global step may stand still; null for ever."""
    timeout_s: Seconds | None = _POLICY.timeout_s
    """How long the run may take; null for ever."""
    evaluator_drain_s: SecondsOrZero = _POLICY.evaluator_drain_s
    """How long the evaluator may take for the last checkpoint after training."""
    grace_s: SecondsOrZero = _POLICY.grace_s
    """How long a task may take to end by itself before it is killed."""
    lease_s: Seconds | None = None
    """How long a host goes on without a word from tflaunch; null: 3 on this machine, 60 over SSH."""
    log_limit_mib: Annotated[int, Field(ge=1, le=1024 * 1024)] = _POLICY.log_limit_mib
    """How much of each task's output is kept: the first half of that and the newest."""


class Sync(Section):
    """Files that ``tflaunch deploy`` copies to the SSH hosts."""

    path: Text = "."
    """Folder to copy, seen from the spec file's."""
    exclude: Annotated[tuple[Text, ...], _MAYBE_LIST] = ()
    """Patterns of what to leave out, such as "*.ckpt*"."""
    follow: Annotated[tuple[Text, ...], _MAYBE_LIST] = ()
    """Links that lead out of the folder and are copied as what they lead to; all others are left out."""
    to: Text = "~/.tflaunch/src"
    """Folder on the hosts; their tasks work in it."""


class Python(Section):
    """The Python of the tasks. Without this key it is the one that runs tflaunch."""

    path: Text | None = None
    """An interpreter that every host has; or else:"""
    venv: Text | None = None
    """A virtual environment that ``tflaunch deploy`` makes on the SSH hosts."""
    requirements: Text | None = None
    """What to install there: a requirements file, seen from the spec file's folder."""
    wheelhouse: Text | None = None
    """Folder with wheels to install from, for hosts without a package index."""


class ClusterSpec(Section):
    """What a user wants to run, and where."""

    name: Name | None = None
    """Name of the run, part of its folder's name; without it the script's."""
    command: Annotated[tuple[Word, ...], Field(min_length=1)] | None = None
    """What each task runs: a list of words. {model_dir}, {role}, {index} and {run_dir} are filled in."""
    model_dir: Text | None = None
    """Folder of the checkpoints, the same for all tasks. With several hosts, one that all of them reach."""
    cwd: Text | None = None
    """Folder in which the tasks work, ~ being the home on their host; without it sync.to where files are synced, else
    the folder that tflaunch is started in."""
    env: Env = Field(default_factory=dict)
    """Environment variables of all tasks. Their values are never shown."""
    hosts: Annotated[tuple[Host, ...], Field(min_length=1)] | None = None
    """Machines; without it this one."""
    engine: Annotated[Mapping[str, object] | None, Field(min_length=1, max_length=1)] = None
    """Where hosts come from, with its keys: listed, from ``hosts``; or another engine that is installed."""
    roles: Roles
    """How many tasks of each kind, and where."""
    preload: tuple[Module, ...] | None = None
    """Modules imported once, before tasks are forked; [] starts each task by itself. Without it tensorflow, if the
    command is Python that imports anything beside the standard library."""
    tune: Annotated[Mapping[str, bool], _MAYBE_MAPPING] = Field(default_factory=dict)
    """The adjustments inside tasks, each by its name: true or false. The rest keep their defaults."""
    log_level: Literal["debug", "info", "warning", "error"] | None = None
    """What tasks log, C++ included; null: what the script says. A set-up of the script's own wins."""
    listeners: Annotated[Mapping[str, str], _MAYBE_MAPPING] = Field(default_factory=dict)
    """Who is told of the run while it goes on, by name: notify, mlflow, or an installed one; each with its address."""
    tensorboard: bool = False
    """Start TensorBoard beside the run, on loopback; it ends with the run."""
    profile_steps: Annotated[int, Field(ge=1, le=10**9)] | None = None
    """Trace one step in so many of each task, for ``tflaunch timeline``; null: none."""
    policy: Annotated[PolicyKeys, _MAYBE_MAPPING] = Field(default_factory=PolicyKeys)
    """What counts as success, and how long and how often to try."""
    inject: Annotated[tuple[DrillText, ...], _MAYBE_LIST] = ()
    """Fault drills, such as "kill worker:1 at step 200"."""
    sync: Sync | None = None
    """Files to copy to the SSH hosts."""
    python: Python | None = None
    """The Python of the tasks."""

    _origins: Mapping[Path, Origin] = PrivateAttr(default_factory=lambda: MappingProxyType({}))

    def with_origins(self, origins: Mapping[Path, Origin]) -> ClusterSpec:
        """The same spec, knowing where its values were written."""
        made = self.model_copy()
        made._origins = MappingProxyType(dict(origins))
        return made

    @property
    def origins(self) -> Mapping[Path, Origin]:
        """Where each value was written, by its path; what is not in it has its default."""
        return self._origins

    def where(self, path: Path) -> Origin:
        """Where a value, or the nearest mapping around it, was written."""
        return nearest(self._origins, path)


SECTIONS: Mapping[str, type[Section]] = MappingProxyType(
    {
        "": ClusterSpec,
        "hosts[]": Host,
        "hosts[].ssh": Ssh,
        "roles": Roles,
        **{f"roles.{role.value}": RoleKeys for role in Role},
        "roles.worker": WorkerKeys,
        "policy": PolicyKeys,
        "policy.restarts": Restarts,
        "sync": Sync,
        "python": Python,
    }
)
