"""Keys of the spec as values of the plan: hosts, the policy, the adjustments that are on, and where each was set."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from launcher.plan import keras_choice, listeners
from launcher.plan.keras_choice import KerasChoice, Program
from launcher.plan.model import PRELOADED
from launcher.spec import engines
from launcher.spec.command import Command, parse_command
from launcher.spec.hosts import THIS_MACHINE, PlannedHost, expand_host, reached_as_one
from launcher.spec.policy import DEFAULT_USED_UP, Policy, Success, UsedUp
from launcher.spec.source import path_text
from launcher.wire import adjustments
from launcher.wire.errors import Problem, SpecError
from launcher.wire.roles import ROLES, Role

if TYPE_CHECKING:
    from launcher.spec.types import ClusterSpec, PolicyKeys

LOCAL_LEASE_S = 3.0
REMOTE_LEASE_S = 60.0


def hosts_of(spec: ClusterSpec) -> tuple[PlannedHost, ...]:
    """The hosts to plan on."""
    given = engines.sites_of(spec.engine)
    if given is not None:
        return given
    return tuple(site for host in spec.hosts for site in expand_host(host)) if spec.hosts else (THIS_MACHINE,)


def listeners_of(spec: ClusterSpec) -> Mapping[str, str]:
    """Who is told of the run. Raises SpecError for who cannot be."""
    problems = []
    for name, told in spec.listeners.items():
        try:
            listeners.check(name, told)
        except listeners.ListenerError as error:
            where = spec.where(("listeners", name))
            problems.append(Problem(where.file, where.line, "listeners", str(error)))
    if problems:
        raise SpecError(problems)
    return MappingProxyType(dict(spec.listeners))


def policy_of(spec: ClusterSpec, *, can_fall_silent: bool) -> Policy:
    """The policy. ``can_fall_silent``: tasks run on hosts whose lines may be cut."""
    keys = spec.policy
    return Policy(
        success=Success(keys.success),
        restarts=MappingProxyType({role: getattr(keys.restarts, role.value) for role in ROLES}),
        restart_window_s=keys.restart_window_s,
        used_up=MappingProxyType({**DEFAULT_USED_UP, **_used_up(keys)}),
        lost_hosts=keys.lost_hosts,
        backoff_s=keys.backoff_s,
        start_timeout_s=keys.start_timeout_s,
        hang_timeout_s=keys.hang_timeout_s,
        timeout_s=keys.timeout_s,
        evaluator_drain_s=keys.evaluator_drain_s,
        grace_s=keys.grace_s,
        lease_s=keys.lease_s or (REMOTE_LEASE_S if can_fall_silent else LOCAL_LEASE_S),
        log_limit_mib=keys.log_limit_mib,
    )


def _used_up(keys: PolicyKeys) -> Mapping[Role, UsedUp]:
    """A missing worker matters if each of them decides about success."""
    worker = keys.used_up.worker or ("go_on" if keys.success == "chief" else "fail")
    return {Role.WORKER: UsedUp(worker), Role.EVALUATOR: UsedUp(keys.used_up.evaluator)}


def keras_of(spec: ClusterSpec, program: Program, read: keras_choice.Read) -> KerasChoice:
    """Which Keras the program gets, as ``keras_choice`` has the rule."""
    found = keras_choice.choose(program, read, has_ps=spec.roles.of(Role.PS).count > 0)
    wanted = spec.tune.get(adjustments.LEGACY_KERAS)
    if wanted is None or not found.is_ours:
        return found
    return KerasChoice(legacy=wanted, reason="as you say", is_guess=False)


def preload_of(spec: ClusterSpec, command: Command, *, is_plain: bool) -> tuple[str, ...]:
    """What is imported before tasks are forked. ``is_plain``: the program needs nothing but Python."""
    if not command.program:
        return ()
    if spec.preload is not None:
        return spec.preload
    return () if is_plain else PRELOADED


def foreseen(spec: ClusterSpec, program: Program, read: keras_choice.Read) -> tuple[str, ...]:
    """What will go wrong, or may, as far as can be seen before anything runs."""
    return (*_shape_notes(spec, program, read), *reached_as_one(hosts_of(spec)))


def _shape_notes(spec: ClusterSpec, program: Program, read: keras_choice.Read) -> tuple[str, ...]:
    """What will be refused when it runs: the roles do not make what the program needs."""
    roles = spec.roles
    lacks_ps = roles.of(Role.WORKER).count > 0 and roles.of(Role.PS).count == 0
    has_chief = roles.of(Role.CHIEF).count > 0
    if has_chief and not lacks_ps:
        return ()
    place = keras_choice.estimator_in(program, read)
    lacks = "a chief" if not has_chief else "parameter servers beside workers"
    return (f"{place}: an Estimator needs {lacks}, and is refused when it is made here",) if place else ()


def model_dir_notes(model_dir: str | None, *, shares_files: bool) -> tuple[str, ...]:
    """What is to be said where nobody has named the folder."""
    if model_dir is None and not shares_files:
        return (
            "model_dir is not set: the script must name a folder that every host reaches, "
            "or the evaluator never sees a checkpoint",
        )
    return ()


def local_folder(spec: ClusterSpec, cwd: str, *, shares_files: bool) -> str:
    """The folder of this machine that holds the code of tasks that work in ``cwd``."""
    if shares_files or spec.sync is None:
        return cwd
    return posixpath.normpath(posixpath.join(cwd, posixpath.dirname(spec.where(("sync",)).file), spec.sync.path))


def adjustments_of(spec: ClusterSpec, command: Command, keras: KerasChoice) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The adjustments that are on, and what is to be said about it."""
    chosen = {name for name in adjustments.NAMES if spec.tune.get(name, name in adjustments.DEFAULT)}
    notes = [] if adjustments.PORT_GUARD in chosen else [adjustments.OPEN_PORTS.format("port-guard is switched off")]
    chosen = {*(chosen - {adjustments.LEGACY_KERAS}), *((adjustments.LEGACY_KERAS,) if keras.legacy else ())}
    if not command.program:
        notes.append(
            "the command is not a Python script or module: adjustments are made in the first Python that it starts and "
            "that imports TensorFlow"
        )
    chosen |= {"profile"} if spec.profile_steps is not None else set()
    chosen |= {"input-wait"} if spec.tensorboard and spec.tune.get("input-wait", True) else set()
    while unmet := adjustments.unmet(chosen):
        for name, need in unmet:
            chosen.discard(name)
            notes.append(f"{name} is off, since it needs {need}")
    return tuple(name for name in adjustments.NAMES if name in chosen), tuple(notes)


def origins_of(spec: ClusterSpec) -> Mapping[str, str]:
    """Where options were set, by their path; hosts, which can be many, left out."""
    return MappingProxyType(
        {
            path_text(path): str(origin)
            for path, origin in spec.origins.items()
            if path and path[0] != "hosts" and not isinstance(path[-1], int)
        }
    )


def command_of(spec: ClusterSpec, python: str) -> Command:
    """What to run; ``python``: the interpreter, where the spec names none. Raises SpecError."""
    interpreter = spec.python.path if spec.python and spec.python.path else python
    if spec.command is None:
        origin = spec.where(())
        message = "is missing; write what to run: [python, train.py], or give it after --"
        raise SpecError([Problem(origin.file, origin.line, "command", message)])
    try:
        return parse_command(spec.command, interpreter)
    except ValueError as error:
        origin = spec.where(("command",))
        raise SpecError([Problem(origin.file, origin.line, "command", str(error))]) from error
