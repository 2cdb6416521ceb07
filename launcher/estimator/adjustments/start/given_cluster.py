"""Whether a program trains in the cluster that it was started in. One that drops TF_CONFIG, or writes its own, would
train alone in each task, or wait for addresses at which nobody is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.estimator.task import Task

_EVALUATOR = "evaluator"


class TfConfigError(RuntimeError):
    """The program is about to train elsewhere."""


class NoParameterServersError(RuntimeError):
    """The program keeps its variables on parameter servers, and the cluster has none."""


class NoServerError(RuntimeError):
    """The program calls ``Estimator.train`` in a cluster, and has no server."""


def check_config(task: Task, config: Any) -> None:
    """``config``: an Estimator's RunConfig. Raises TfConfigError, NoParameterServersError."""
    if not _is_given(task):
        return
    role, index = str(config.task_type), int(config.task_id or 0)
    if (role, index) != (task.role, task.index):
        spec = config.cluster_spec.as_dict() if config.cluster_spec else {}
        raise _refusal(task, f"is {role}:{index} of a cluster of its own" if spec else "trains alone")
    if role != _EVALUATOR:
        _compare(task, config.cluster_spec.as_dict())
        if config.train_distribute is None:
            check_has_ps(task)


def check_server(task: Task, definition: Any) -> None:
    """``definition``: the ServerDef of a server that is to be started. Raises TfConfigError."""
    if _is_given(task) and (definition.job_name, definition.task_index) == (task.role, task.index):
        found = {job.name: dict(job.tasks) for job in definition.cluster.job}
        own, given = found[task.role].get(task.index), addresses(task.cluster.get(task.role)).get(task.index)
        if own != given:
            raise _refusal(task, f"starts a server at {own} instead of {given}")


def check_has_ps(task: Task) -> None:
    """Before a session that is to train with others. TensorFlow would wait two hours for the parameter servers. Raises
    NoParameterServersError."""
    if _is_given(task) and not task.is_alone and not task.cluster.get("ps"):
        raise NoParameterServersError(
            f"{task.role}:{task.index} keeps its variables on parameter servers, and this cluster has workers but no "
            "ps: start it with one (--ps 1, or 'ps: {count: 1}' in the spec); 'ps: {count: 0}' is for programs without"
            ", such as one with a tf.distribute.MultiWorkerMirroredStrategy"
        )


def check_alone(task: Task) -> None:
    """Before training without any server. Raises TfConfigError."""
    if _is_given(task) and not task.is_alone and task.role != _EVALUATOR and not task.servers:
        raise _refusal(task, "trains alone")


def check_served(task: Task, config: Any) -> None:
    """Before an Estimator trains, outside of ``train_and_evaluate``. Raises NoServerError."""
    if config.master and _is_given(task) and not task.servers:
        raise NoServerError(
            "Estimator.train alone does not train in a cluster, since nobody starts the servers: call "
            "tf.estimator.train_and_evaluate, in every role"
        )


def _is_given(task: Task) -> bool:
    """Whether a launcher has made the cluster. Of any other only the program knows what it ought to be."""
    return bool(task.cluster) and task.channel.open()


def _compare(task: Task, found: Mapping[str, Any]) -> None:
    given = {role: addresses(value) for role, value in task.cluster.items() if role != _EVALUATOR}
    wanted = {role: addresses(value) for role, value in found.items() if role != _EVALUATOR}
    if wanted == given:
        return
    for role in sorted({*given, *wanted}):
        if wanted.get(role) != given.get(role):
            theirs = ", ".join(wanted.get(role, {}).values()) or "nowhere"
            raise _refusal(task, f"looks for {role} at {theirs}, which is at {', '.join(given.get(role, {}).values())}")


def addresses(value: Any) -> dict[int, str]:
    """Of one role, in either of the forms that a ClusterSpec takes."""
    if isinstance(value, Mapping):
        return {int(index): str(address) for index, address in value.items()}
    return {index: str(address) for index, address in enumerate(value or ())}


def _refusal(task: Task, what: str) -> TfConfigError:
    sizes = ", ".join(f"{len(addresses(value))} {role}" for role, value in sorted(task.cluster.items()))
    return TfConfigError(
        f"TF_CONFIG was changed or removed after the start: {task.role}:{task.index} of a cluster of {sizes} {what}. "
        "Let the script take TF_CONFIG as it is given to each task, and change nothing in it"
    )
