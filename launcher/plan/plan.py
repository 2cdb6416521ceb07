"""Spec to plan: which task runs where, with which command, environment and way of starting.

Pure: what comes from this machine (working folder, interpreter, environment) is passed in. The plan names no ports;
``launcher.plan.binding`` takes it from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from launcher.plan import keras_choice
from launcher.plan.binding import bind, board_message, guard_message, preload_messages, start_message, with_run_dir
from launcher.plan.model import Plan, PlannedHost, PlannedTask, StartMode
from launcher.plan.plan_json import plain, plan_from_json, plan_to_json
from launcher.plan.settings import (
    adjustments_of,
    command_of,
    foreseen,
    hosts_of,
    keras_of,
    listeners_of,
    local_folder,
    model_dir_notes,
    origins_of,
    policy_of,
    preload_of,
)
from launcher.plan.tf_config import VARIABLE, check_size
from launcher.spec import drills, engines
from launcher.spec.command import fill, max_steps, option, uses
from launcher.spec.hosts import (
    GPUS_VARIABLE,
    Traits,
    assign_gpus,
    common,
    place,
    tasks_per_host,
)
from launcher.spec.texts import expand_range, is_shareable
from launcher.wire import adjustments, keras, preload_env
from launcher.wire.errors import Problem, SpecError, UsageError
from launcher.wire.protocol import LEGACY_KERAS_VARIABLE, LOG_LEVEL_VARIABLE, PROFILE_VARIABLE, TRAINERS_VARIABLE
from launcher.wire.roles import ROLES, TRAINERS, Role, TaskId

if TYPE_CHECKING:
    from launcher.spec.types import ClusterSpec

__all__ = [
    "Surroundings",
    "bind",
    "board_message",
    "build_plan",
    "guard_message",
    "plan_from_json",
    "plan_to_json",
    "preload_messages",
    "start_message",
    "with_run_dir",
]

DEFAULT_MODEL_DIR = "{run_dir}/model"
DEFAULT_MODEL_DIR_VARIABLE = "TFLAUNCH_DEFAULT_MODEL_DIR"
CPP_LEVEL_VARIABLE = "TF_CPP_MIN_LOG_LEVEL"  # read while TensorFlow is imported: part of the preload key
_CPP_LEVELS = {"debug": "0", "info": "0", "warning": "1", "error": "2"}
NO_GPU = "-1"  # CUDA takes the list up to its first invalid number: none


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What a plan takes from the machine it is made on. ``python``: the interpreter that runs tflaunch; ``cwd``: an
    absolute path; ``env``: the environment that tasks on this machine inherit. ``read``: the text of a file of this
    machine, None if there is none; ``path``: where modules are installed."""

    python: str
    cwd: str
    env: Mapping[str, str]
    read: keras_choice.Read = lambda path: None
    path: tuple[str, ...] = ()


def build_plan(spec: ClusterSpec, surroundings: Surroundings) -> Plan:
    """What will run. Raises SpecError for a spec without a command or too large for TF_CONFIG, UsageError for an
    environment that has a TF_CONFIG already."""
    if VARIABLE in surroundings.env:
        raise UsageError("TF_CONFIG is set in your environment, and tflaunch makes one for each task: unset TF_CONFIG")
    plan = _Planner(spec, surroundings).plan()
    try:
        check_size(plan)
    except SpecError as error:
        origin = spec.where(("roles",))
        problems = [Problem(origin.file, origin.line, problem.path, problem.message) for problem in error.problems]
        raise SpecError(problems) from error
    return plan


class _Planner:
    """Makes one plan out of one spec."""

    def __init__(self, spec: ClusterSpec, surroundings: Surroundings) -> None:
        self._spec = spec
        self._around = surroundings
        self._command = command_of(spec, surroundings.python)
        self._sites = {site.name: site for site in hosts_of(spec)}
        self._traits = common(site.traits for site in self._sites.values())
        self._on = {
            role: tuple(name for text in spec.roles.of(role).on for name in expand_range(text)) for role in ROLES
        }
        self._model_dir, self._model_dir_in_command = self._choose_model_dir()
        self._program = self._program_to_read()
        self._is_plain = keras_choice.needs_only_python(self._program, surroundings.read)
        self._preload = preload_of(spec, self._command, is_plain=self._is_plain)
        self._keras = self._choose_keras()
        self._active, notes = adjustments_of(spec, self._command, self._keras)
        notes = (*notes, *foreseen(spec, self._program, surroundings.read))
        self._notes = (*notes, *model_dir_notes(self._model_dir, shares_files=self._traits.shares_files))

    def plan(self) -> Plan:
        spec = self._spec
        engine, keys = engines.chosen(spec.engine)
        return Plan(
            name=spec.name or self._command.name,
            model_dir=self._model_dir,
            model_dir_in_command=self._model_dir_in_command,
            hosts=tuple(self._sites.values()),
            tasks=self._tasks(),
            policy=policy_of(spec, can_fall_silent=self._traits.can_fall_silent),
            preload=self._preload,
            adjustments=self._active,
            max_steps=max_steps(self._command.argv),
            inject=spec.inject,
            tensorboard=spec.tensorboard,
            listeners=listeners_of(spec),
            origins=origins_of(spec),
            notes=(*self._notes, *drills.notes(spec.inject, reports="heartbeat" in self._active)),
            keras=self._keras.reason,
            engine=engine,
            engine_keys=plain(keys),
            on=MappingProxyType({role: names for role, names in self._on.items() if names}),
            further=self._further() if adjustments.ROAMING in self._active else None,
            least_workers=(spec.roles.worker.min if spec.roles.worker else None) or 0,
            most_workers=spec.roles.worker.max if spec.roles.worker else None,
        )

    def _program_to_read(self) -> keras_choice.Program:
        cwd = self._around.cwd if self._spec.cwd is None else self._from_here(self._spec.cwd)
        return keras_choice.Program(
            program=self._command.program,
            argv=self._command.argv,
            cwd=local_folder(self._spec, cwd, shares_files=self._traits.shares_files),
            installed=self._around.path,
        )

    def _choose_keras(self) -> keras_choice.KerasChoice:
        own = {**(self._around.env if self._traits.inherits_env else {}), **self._spec.env}
        if keras.VARIABLE in own:
            return keras_choice.of_environment(own[keras.VARIABLE])
        return keras_of(self._spec, self._program, self._around.read)

    # --- the folder of the checkpoints

    def _choose_model_dir(self) -> tuple[str | None, bool]:
        """The folder, and whether the command itself tells the job about it."""
        given = self._spec.model_dir
        own = option(self._command.argv, "model-dir")
        if given is not None and given != own:
            return self._absolute(given), False
        if uses(self._command.argv, "model_dir"):
            return DEFAULT_MODEL_DIR, False
        return (self._absolute(own) if own and self._traits.shares_files else own), own is not None

    def _absolute(self, folder: str) -> str:
        home = self._around.env.get("HOME", "")
        if folder.startswith("~/") and home:
            return f"{home}{folder[1:]}"
        return folder if is_shareable(folder) or folder.startswith("{run_dir}") else self._from_here(folder)

    def _from_here(self, folder: str) -> str:
        if folder.startswith(("/", "~/")) or folder == "~":
            return folder
        return f"{self._around.cwd.rstrip('/')}/{folder.removeprefix('./')}"

    # --- the tasks

    def _tasks(self) -> tuple[PlannedTask, ...]:
        roles = {role: self._spec.roles.of(role) for role in ROLES}
        everywhere = tuple(name for name, site in self._sites.items() if not site.spare)
        hosts = place(
            {role: keys.count for role, keys in roles.items()}, {role: self._on[role] or everywhere for role in ROLES}
        )
        gpus = assign_gpus(hosts, {role: keys.gpus for role, keys in roles.items()})
        trainers = tasks_per_host(hosts, (task for task in hosts if task.role in TRAINERS))
        kinds: dict[tuple[Role, Traits, tuple[int, ...], int], _Kind] = {}
        tasks = []
        for task, host in hosts.items():
            site = self._sites[host]
            key = (task.role, site.traits, gpus.get(task, ()), trainers[host])
            if key not in kinds:
                kinds[key] = self._kind(*key)
            tasks.append(self._task(task, site, kinds[key]))
        return tuple(tasks)

    def _further(self) -> PlannedTask:
        """A worker that may be added while the run goes on."""
        role = Role.WORKER
        site = self._sites[(self._on[role] or tuple(self._sites))[0]]
        gpus = tuple(range(self._spec.roles.of(role).gpus))
        return self._task(TaskId(role, 0), site, self._kind(role, site.traits, gpus, 1), index="{index}")

    def _task(self, task: TaskId, site: PlannedHost, kind: _Kind, index: str = "") -> PlannedTask:
        values = {"role": task.role.value, "index": index or str(task.index)}
        if self._model_dir is not None:
            values["model_dir"] = self._model_dir
        argv = fill(kind.argv, values)
        return PlannedTask(
            task=task,
            host=site.name,
            argv=argv,
            cwd=self._cwd(site),
            env=kind.env,
            secret_env=kind.secret_env,
            start=StartMode.FORK if kind.preload_key else StartMode.EXEC,
            gpus=kind.gpus,
            python=kind.python,
            program=argv[len(kind.python) :] if self._command.program else (),
            preload_key=kind.preload_key,
            exec_reason=kind.exec_reason,
        )

    def _cwd(self, site: PlannedHost) -> str:
        sync = self._spec.sync
        if self._spec.cwd is not None:
            return self._from_here(self._spec.cwd)
        return sync.to if sync is not None and not site.traits.shares_files else self._around.cwd

    def _kind(self, role: Role, traits: Traits, gpus: tuple[int, ...], trainers: int) -> _Kind:
        """What all tasks of a role have in common that run alike, on hosts with so many trainers."""
        user = {**self._spec.env, **self._spec.roles.of(role).env}
        inherited = self._around.env if traits.inherits_env else {}
        env = {GPUS_VARIABLE: ",".join(map(str, gpus)) or NO_GPU, "TF_GRPC_REUSE_PORT": "1"}
        if role in TRAINERS:
            env[TRAINERS_VARIABLE] = str(trainers)
        env[LEGACY_KERAS_VARIABLE] = self._keras.word()
        env |= user
        if self._spec.log_level is not None:
            env[LOG_LEVEL_VARIABLE] = self._spec.log_level
            if CPP_LEVEL_VARIABLE not in {**user, **inherited}:
                env[CPP_LEVEL_VARIABLE] = _CPP_LEVELS[self._spec.log_level]
        if self._spec.profile_steps is not None:
            env[PROFILE_VARIABLE] = str(self._spec.profile_steps)
        if self._model_dir is None and self._traits.shares_files:
            env[DEFAULT_MODEL_DIR_VARIABLE] = DEFAULT_MODEL_DIR
        python = self._python(traits)
        reason = self._exec_reason(python, env, inherited)
        return _Kind(
            argv=(*python, *self._command.argv[len(python) :]),
            env=MappingProxyType(dict(sorted(env.items()))),
            secret_env=frozenset(user),
            gpus=gpus,
            python=python,
            preload_key=None if reason else preload_env.preload_key(python, {**inherited, **env}),
            exec_reason=reason,
        )

    def _python(self, traits: Traits) -> tuple[str, ...]:
        """Interpreter and flags: on hosts that are deployed to, of that environment, if the spec has one."""
        python, wanted = self._command.python, self._spec.python
        deployed = wanted.venv if wanted is not None and not traits.shares_files else None
        if python and deployed and python[0] == self._around.python:
            return (f"{deployed.rstrip('/')}/bin/python", *python[1:])
        return python

    def _exec_reason(self, python: tuple[str, ...], env: Mapping[str, str], inherited: Mapping[str, str]) -> str:
        """Why a task cannot be forked; empty if it can."""
        if not python:
            return "the command is not Python"
        if not self._command.program:
            return "the command is neither a script nor a module"
        if self._is_plain and self._spec.preload is None:
            return "the program imports nothing but the standard library"
        if not self._preload:
            return "preload is switched off"
        return preload_env.can_fork(python[1:], {**inherited, **env}, inherited) or ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """What tasks of a role share on hosts of one sort."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    secret_env: frozenset[str]
    gpus: tuple[int, ...]
    python: tuple[str, ...]
    preload_key: str | None
    exec_reason: str
