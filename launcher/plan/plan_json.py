"""A plan as JSON, for the process that carries it out, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from types import MappingProxyType
from typing import TypedDict

from launcher.plan.model import Plan, PlannedHost, PlannedTask, StartMode
from launcher.spec.hosts import Traits
from launcher.spec.policy import Policy, Success, UsedUp
from launcher.wire.protocol import JsonValue
from launcher.wire.roles import ROLES, Role, TaskId

VERSION = 1


class PlanFormatError(ValueError):
    """A plan file that this version of tflaunch did not write; the text says what is wrong with it."""


def plan_to_json(plan: Plan) -> dict[str, JsonValue]:
    """The plan as a JSON object. It holds the values of environment variables: write it with mode 0600.

    What many tasks share (environment, interpreter) is written once, under ``kinds``.
    """
    kinds: list[JsonValue] = []
    numbers: dict[tuple[int, ...], int] = {}
    tasks: list[JsonValue] = []
    for planned in (*plan.tasks, *((plan.further,) if plan.further is not None else ())):
        shared = tuple(id(getattr(planned, name)) for name in _SHARED)
        if shared not in numbers:
            numbers[shared] = len(kinds)
            kinds.append({name: plain(getattr(planned, name)) for name in _SHARED})
        own: dict[str, JsonValue] = {name: plain(getattr(planned, name)) for name in _OWN}
        tasks.append({**own, "kind": numbers[shared]})
    further = tasks.pop() if plan.further is not None else None
    known = [item.name for item in fields(plan) if item.name not in ("tasks", "further")]
    rest = {name: plain(getattr(plan, name)) for name in known}
    return {"version": VERSION, **rest, "kinds": kinds, "tasks": tasks, "further": further}


_OWN = ("task", "host", "argv", "program", "cwd")
_SHARED = tuple(item.name for item in fields(PlannedTask) if item.name not in _OWN)


def plain(value: object) -> JsonValue:
    """A value of the model as JSON."""
    if isinstance(value, TaskId):
        return value.name
    if isinstance(value, Enum):
        return str(value.value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return [str(item) for item in sorted(value)]
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    raise TypeError(f"no JSON for {type(value).__name__}")


def plan_from_json(body: Mapping[str, JsonValue]) -> Plan:
    """The plan of such an object; raises PlanFormatError for any other."""
    if body.get("version") != VERSION:
        raise PlanFormatError(f"a plan of version {body.get('version')}; this tflaunch reads version {VERSION}")
    try:
        return _plan(_Reader(body))
    except (LookupError, TypeError, ValueError) as error:
        raise PlanFormatError(f"not a plan: {type(error).__name__}: {error}") from error


class _Reader:
    """Typed access to a JSON object; raises TypeError for a value of another type."""

    def __init__(self, body: object) -> None:
        if not isinstance(body, Mapping):
            raise TypeError(f"a mapping is wanted, not {type(body).__name__}")
        self.body: Mapping[str, object] = body

    def text(self, key: str) -> str:
        value = self.body[key]
        if not isinstance(value, str):
            raise TypeError(f"{key} is no text")
        return value

    def maybe_text(self, key: str) -> str | None:
        return None if self.body[key] is None else self.text(key)

    def whole(self, key: str) -> int:
        value = self.body[key]
        if not isinstance(value, int):
            raise TypeError(f"{key} is no whole number")
        return value

    def number(self, key: str) -> float:
        value = self.body[key]
        if not isinstance(value, (int, float)):
            raise TypeError(f"{key} is no number")
        return float(value)

    def maybe_number(self, key: str) -> float | None:
        return None if self.body[key] is None else self.number(key)

    def items(self, key: str) -> list[object]:
        value = self.body[key]
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{key} is no list")
        return list(value)

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(str(item) for item in self.items(key))

    def wholes(self, key: str) -> tuple[int, ...]:
        return tuple(int(str(item)) for item in self.items(key))

    def text_mapping(self, key: str) -> Mapping[str, str]:
        inner = _Reader(self.body.get(key, {}))
        return MappingProxyType({name: inner.text(name) for name in inner.body})


def _plan(plan: _Reader) -> Plan:
    kinds = [_kind(_Reader(item)) for item in plan.items("kinds")]
    max_steps, most_workers = plan.maybe_number("max_steps"), plan.maybe_number("most_workers")
    further = plan.body["further"]
    return Plan(
        name=plan.text("name"),
        model_dir=plan.maybe_text("model_dir"),
        model_dir_in_command=bool(plan.body["model_dir_in_command"]),
        hosts=tuple(_host(_Reader(item)) for item in plan.items("hosts")),
        tasks=tuple(_task(_Reader(item), kinds) for item in plan.items("tasks")),
        policy=_policy(_Reader(plan.body["policy"])),
        preload=plan.texts("preload"),
        adjustments=plan.texts("adjustments"),
        max_steps=None if max_steps is None else int(max_steps),
        inject=plan.texts("inject"),
        tensorboard=bool(plan.body["tensorboard"]),
        listeners=plan.text_mapping("listeners"),
        origins=plan.text_mapping("origins"),
        notes=plan.texts("notes"),
        keras=plan.text("keras"),
        on=_on(_Reader(plan.body["on"])),
        engine=plan.text("engine"),
        engine_keys=plain(plan.body["engine_keys"]),
        further=None if further is None else _task(_Reader(further), kinds),
        least_workers=plan.whole("least_workers"),
        most_workers=None if most_workers is None else int(most_workers),
    )


def _on(on: _Reader) -> Mapping[Role, tuple[str, ...]]:
    return MappingProxyType({Role(role): on.texts(role) for role in on.body})


def host_from_json(body: Mapping[str, JsonValue]) -> PlannedHost:
    """The host of such an object; raises PlanFormatError for any other."""
    try:
        return _host(_Reader(body))
    except (LookupError, TypeError, ValueError) as error:
        raise PlanFormatError(f"not a host: {type(error).__name__}: {error}") from error


def _host(host: _Reader) -> PlannedHost:
    ports = None if host.body["ports"] is None else host.wholes("ports")
    return PlannedHost(
        name=host.text("name"),
        address=host.text("address"),
        transport=host.text("transport"),
        traits=_traits(_Reader(host.body["traits"])),
        ports=None if ports is None else (ports[0], ports[1]),
        gpus=host.whole("gpus"),
        details=host.text_mapping("details"),
        way=host.text("way"),
        connect_timeout_s=host.number("connect_timeout_s"),
        spare=bool(host.body.get("spare")),
    )


def _traits(traits: _Reader) -> Traits:
    return Traits(**{item.name: bool(traits.body.get(item.name, item.default)) for item in fields(Traits)})


class _Shared(TypedDict):
    """The fields of a task that many have in common."""

    env: Mapping[str, str]
    secret_env: frozenset[str]
    start: StartMode
    gpus: tuple[int, ...]
    python: tuple[str, ...]
    preload_key: str | None
    exec_reason: str


def _kind(kind: _Reader) -> _Shared:
    return _Shared(
        env=kind.text_mapping("env"),
        secret_env=frozenset(kind.texts("secret_env")),
        start=StartMode(kind.text("start")),
        gpus=kind.wholes("gpus"),
        python=kind.texts("python"),
        preload_key=kind.maybe_text("preload_key"),
        exec_reason=kind.text("exec_reason"),
    )


def _task(task: _Reader, kinds: Sequence[_Shared]) -> PlannedTask:
    return PlannedTask(
        task=TaskId.parse(task.text("task")),
        host=task.text("host"),
        argv=task.texts("argv"),
        program=task.texts("program"),
        cwd=task.text("cwd"),
        **kinds[task.whole("kind")],
    )


def _policy(policy: _Reader) -> Policy:
    restarts, used_up = _Reader(policy.body["restarts"]), _Reader(policy.body["used_up"])
    return Policy(
        success=Success(policy.text("success")),
        restarts=MappingProxyType({role: restarts.whole(role.value) for role in ROLES}),
        restart_window_s=policy.maybe_number("restart_window_s"),
        used_up=MappingProxyType({role: UsedUp(used_up.text(role.value)) for role in ROLES}),
        lost_hosts=policy.whole("lost_hosts"),
        backoff_s=policy.number("backoff_s"),
        start_timeout_s=policy.number("start_timeout_s"),
        hang_timeout_s=policy.maybe_number("hang_timeout_s"),
        timeout_s=policy.maybe_number("timeout_s"),
        evaluator_drain_s=policy.number("evaluator_drain_s"),
        grace_s=policy.number("grace_s"),
        lease_s=policy.number("lease_s"),
        log_limit_mib=policy.whole("log_limit_mib") if "log_limit_mib" in policy.body else Policy().log_limit_mib,
    )
