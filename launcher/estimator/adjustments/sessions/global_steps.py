"""Whether a graph increases its global step. ``minimize`` without ``global_step`` trains, and counts nothing: no
checkpoint has another name than the first, and ``max_steps`` is never reached."""

from __future__ import annotations

import importlib
from typing import Any

_READS = frozenset(
    {"ReadVariableOp", "VarIsInitializedOp", "VariableShape", "Identity", "IsVariableInitialized", "Shape", "SaveV2"}
)
_ASSIGNMENTS = frozenset({"AssignVariableOp", "Assign"})
_RESTORES = frozenset({"RestoreV2", "Restore"})
_FEW_STEPS, _MANY_STEPS = 3, 1000


class GlobalStepError(RuntimeError):
    """Steps are done and the global step stands."""


def is_written(graph: Any) -> bool:
    """Whether something in the graph changes the global step, beside its initialisation and restoring."""
    training_util: Any = importlib.import_module("tensorflow.python.training.training_util")
    variable = training_util.get_global_step(graph)
    if variable is None:
        return False
    source = getattr(variable, "handle", variable).op
    return any(_writes(operation, source) for output in source.outputs for operation in output.consumers())


def check(graph: Any, first: int, step: int, local_steps: int) -> None:
    """``local_steps`` were done since the global step was ``first``; now it is ``step``. Raises GlobalStepError.

    Where the graph has something that would change it, that may be due only after many steps (gradients that are
    accumulated, synchronous replicas).
    """
    if step != first or local_steps < _FEW_STEPS:
        return
    if local_steps >= _MANY_STEPS or not is_written(graph):
        raise _never_increased(step)


def check_end(graph: Any, first: int, step: int) -> None:
    """As ``check``, after the last of some steps."""
    if step == first and not is_written(graph):
        raise _never_increased(step)


def _never_increased(step: int) -> GlobalStepError:
    return GlobalStepError(
        f"the global step was never increased: it stands at {step}; pass it to `minimize`, as in "
        "optimizer.minimize(loss, global_step=tf.compat.v1.train.get_global_step())"
    )


def _writes(operation: Any, source: Any) -> bool:
    if operation.type in _READS:
        return False
    if operation.type in _ASSIGNMENTS:
        return operation.name != f"{source.name}/Assign" and not _restores(operation)
    return True  # an addition, or a function that is called with the variable


def _restores(assignment: Any) -> bool:
    value = assignment.inputs[1].op
    while value.type in ("Identity", "Cast") and value.inputs:
        value = value.inputs[0].op
    return value.type in _RESTORES
