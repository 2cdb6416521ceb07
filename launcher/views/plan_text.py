"""What ``tflaunch plan`` shows: every task as it would run, and where each setting came from.

Values of variables that a user set are never shown. Ports are names here, such as ``<ps:0>``: they are found when the
run starts.
"""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from launcher.plan.binding import tune_of
from launcher.plan.model import Plan, PlannedHost, PlannedTask
from launcher.plan.plan_json import plain
from launcher.plan.tf_config import TfConfigs, symbolic_tf_configs
from launcher.wire import adjustments
from launcher.wire.protocol import JsonValue
from launcher.wire.roles import ROLES, Role

REDACTED = "•••"
WIDTH = 110
_LONG_CHARACTERS = 2000
_MANY_TASKS = 1000
_KERAS = f"tune.{adjustments.LEGACY_KERAS}"

Row = tuple[str, str]


def as_text(plan: Plan) -> str:
    """The plan for people. Long TF_CONFIGs are shortened, and tasks that differ in nothing but their number folded
    in plans of more than 1,000."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    counts = ", ".join(f"{count} {role}" for role in ROLES if (count := len(plan.of_role(role))))
    hosts = f"{len(plan.hosts)} host{'s' if len(plan.hosts) != 1 else ''}"
    yield f"{plan.name}: {len(plan.tasks)} tasks ({counts}) on {hosts}. Nothing has been started."
    yield f"shape: {plan.shape}"
    for note in plan.notes:
        yield from textwrap.wrap(f"note: {note}", WIDTH, subsequent_indent="      ")
    yield ""
    yield "HOSTS"
    yield from _table([_host_row(host) for host in plan.hosts])
    configs = symbolic_tf_configs(plan)
    for planned in _shown(plan):
        yield ""
        yield planned.task.name
        yield from _fields(_task_rows(plan, planned, configs))
    if len(plan.tasks) > _MANY_TASKS:
        yield ""
        yield f"(the first task of each role and host is shown; `tflaunch plan --json` lists all {len(plan.tasks)})"
    yield ""
    yield "ADJUSTMENTS inside the tasks (--tune -NAME switches one off)"
    yield from _adjustment_lines(plan)
    yield ""
    yield "SETTINGS, and where they come from"
    yield from _table([(key, value, _origin(plan, key)) for key, value in _settings(plan)])


def _shown(plan: Plan) -> Iterator[PlannedTask]:
    if len(plan.tasks) <= _MANY_TASKS:
        yield from plan.tasks
        return
    for role in ROLES:
        yield from plan.of_role(role)[:1]


def _host_row(host: PlannedHost) -> Sequence[str]:
    ports = "any free ports" if host.ports is None else f"ports {host.ports[0]}-{host.ports[1]}"
    gpus = f"{host.gpus} GPU{'s' if host.gpus != 1 else ''}" if host.gpus else "no GPUs"
    return host.name, _address(host), host.way, ports, gpus


def _address(host: PlannedHost) -> str:
    return host.address or f"<{host.name}>"


def _task_rows(plan: Plan, planned: PlannedTask, configs: TfConfigs) -> Iterator[Row]:
    host = next(host for host in plan.hosts if host.name == planned.host)
    ports = "any free port" if host.ports is None else f"a port of {host.ports[0]}-{host.ports[1]}"
    yield "host", f"{host.name}, as {_address(host)}:<{planned.task}> ({ports})"
    yield "command", shlex.join(planned.argv)
    yield "folder", planned.cwd
    how = "forked from an interpreter that has imported " + ", ".join(plan.preload)
    yield "start", how if planned.preload_key else f"by itself: {planned.exec_reason}"
    if planned.gpus:
        yield "GPUs", ", ".join(map(str, planned.gpus))
    config = configs.of(planned.task)
    env = redacted_env(planned)
    yield "env", "  ".join(f"{name}={_shown_value(value)}" for name, value in sorted(env.items()))
    yield "TF_CONFIG", _shortened(config.text)
    yield "adjusted", tune_of(plan, planned).replace(",", " ") or "nothing"


def redacted_env(planned: PlannedTask) -> dict[str, str]:
    """The variables of a task, without the values that are nobody's business."""
    return {name: REDACTED if name in planned.secret_env else value for name, value in planned.env.items()}


def _shown_value(value: str) -> str:
    return value if value == REDACTED else shlex.quote(value)


def _shortened(text: str) -> str:
    if len(text) <= _LONG_CHARACTERS:
        return text
    half = _LONG_CHARACTERS // 4
    return f"{text[:half]} … {text[-half:]} ({len(text):,} bytes)"


def _adjustment_lines(plan: Plan) -> Iterator[str]:
    for item in adjustments.ADJUSTMENTS:
        state = "on " if item.name in plan.adjustments else "off"
        yield f"  {state}  {item.name} ({', '.join(item.roles)}): {item.title}"
        indent = " " * 7
        yield from textwrap.wrap(item.why, WIDTH, initial_indent=indent, subsequent_indent=indent)


def _settings(plan: Plan) -> Iterator[Row]:
    policy = plan.policy
    yield "name", plan.name
    yield "model_dir", plan.model_dir or "left to the script"
    if not all(host.address for host in plan.hosts):
        yield f"engine.{plan.engine}", "its hosts get their addresses, <NAME> here, when they are granted"
    yield "preload", ", ".join(plan.preload) or "off"
    if plan.keras:
        yield _KERAS, "on" if adjustments.LEGACY_KERAS in plan.adjustments else "off"
    if plan.max_steps is not None:
        yield "max steps", f"{plan.max_steps} (read from the command)"
    for role in ROLES:
        yield f"roles.{role}.count", str(len(plan.of_role(role)))
    yield "policy.success", policy.success.value
    for role in ROLES:
        yield f"policy.restarts.{role}", str(policy.restarts[role])
    yield "policy.restart_window_s", _bound(policy.restart_window_s)
    for role in (Role.WORKER, Role.EVALUATOR):
        yield f"policy.used_up.{role}", policy.used_up[role].value
    yield "policy.lost_hosts", str(policy.lost_hosts)
    yield "policy.backoff_s", f"{policy.backoff_s:g}"
    yield "policy.start_timeout_s", f"{policy.start_timeout_s:g}"
    yield "policy.hang_timeout_s", _bound(policy.hang_timeout_s)
    yield "policy.timeout_s", _bound(policy.timeout_s)
    yield "policy.evaluator_drain_s", f"{policy.evaluator_drain_s:g}"
    yield "policy.grace_s", f"{policy.grace_s:g}"
    yield "policy.lease_s", f"{policy.lease_s:g}"
    yield "policy.log_limit_mib", str(policy.log_limit_mib)
    if plan.listeners:
        yield "listeners", ", ".join(plan.listeners)
    if plan.tensorboard:
        yield "tensorboard", "beside the run, on loopback"
    for fault in plan.inject:
        yield "inject", fault


def _bound(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds:g}"


def _origin(plan: Plan, key: str) -> str:
    if key == "max steps":
        key = "command"
    if key == "model_dir" and plan.model_dir_in_command:
        key = "command"
    if key == _KERAS and key not in plan.origins:
        return plan.keras
    parent = key.rpartition(".")[0]
    alone = parent == "policy.restarts" and not any(known.startswith(f"{parent}.") for known in plan.origins)
    return plan.origins.get(key) or (plan.origins.get(parent) if alone else None) or "default"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _fields(rows: Iterable[Row]) -> Iterator[str]:
    for name, value in rows:
        yield f"  {name.ljust(9)}  {value}".rstrip()


# --- for programs ------------------------------------------------------------------------------------------------


def as_json(plan: Plan) -> str:
    """The plan as JSON for other programs, with the same things hidden.

    ``tf_config`` is left out (null) in plans of more than 1,000 tasks: together they would be longer than memory is
    large.
    """
    whole = len(plan.tasks) <= _MANY_TASKS
    configs = symbolic_tf_configs(plan)
    body: dict[str, JsonValue] = {
        "name": plan.name,
        "shape": plan.shape,
        "model_dir": plan.model_dir,
        "max_steps": plan.max_steps,
        "hosts": [_host_json(host) for host in plan.hosts],
        "tasks": [_task_json(plan, planned, configs if whole else None) for planned in plan.tasks],
        "policy": plain(plan.policy),
        "preload": list(plan.preload),
        "keras": plan.keras,
        "adjustments": [_adjustment_json(item, plan.adjustments) for item in adjustments.ADJUSTMENTS],
        "inject": list(plan.inject),
        "tensorboard": plan.tensorboard,
        "origins": dict(sorted(plan.origins.items())),
        "notes": list(plan.notes),
    }
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _host_json(host: PlannedHost) -> JsonValue:
    return {
        "name": host.name,
        "address": host.address,
        "transport": host.transport,
        "ports": plain(host.ports),
        "gpus": host.gpus,
        "ssh": dict(host.details),  # the key is older than other details
    }


def _task_json(plan: Plan, planned: PlannedTask, configs: TfConfigs | None) -> JsonValue:
    env: Mapping[str, JsonValue] = redacted_env(planned)
    config: JsonValue = json.loads(configs.of(planned.task).text) if configs is not None else None
    return {
        "task": planned.task.name,
        "host": planned.host,
        "argv": list(planned.argv),
        "cwd": planned.cwd,
        "env": dict(env),
        "start": planned.start.value,
        "exec_reason": planned.exec_reason or None,
        "gpus": list(planned.gpus),
        "tf_config": config,
        "adjustments": [name for name in tune_of(plan, planned).split(",") if name],
    }


def _adjustment_json(item: adjustments.Adjustment, active: Sequence[str]) -> JsonValue:
    return {
        "name": item.name,
        "on": item.name in active,
        "roles": list(item.roles),
        "title": item.title,
        "why": item.why,
    }
