"""bfloat16-transfer: what a step sends between trainer and parameter servers takes half the bytes.

TensorFlow has ``graph_options.enable_bfloat16_sendrecv``, of a whole session: it cuts off the lower half of each
float32 that crosses, whatever it is. Among that are the variables that a Saver sends which is not sharded, restored
and initial values, and the constants of an optimizer: Adam's ``beta2`` of 0.999 arrives as 0.996
(``BuildAndRegisterPartitions`` in ``tensorflow/core/distributed_runtime/master_session.cc``, ``Truncate`` in
``graph_partition.cc``). So the graph is changed instead, before it is sent: what the training step needs, is float32,
large, and crosses is cast to bfloat16 where it is made (to the nearest, not cut off) and back where it is used. Saving,
restoring and initialising are no part of the step; what is assigned to a variable as it is stays as it is.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

from launcher.estimator.adjustments.sessions.trainer import Hook, Trainer
from launcher.estimator.adjustments.start import home

_LEAST_ELEMENTS = 64  # below that a tensor is a constant, a count or a rate, and its bytes are nothing
_ASSIGNMENTS = re.compile(r"Assign|AssignVariableOp|(Resource)?Scatter(Nd)?Update|(Resource)?StridedSliceAssign")
_PASSING = frozenset({"Identity", "IdentityN", "Reshape", "StopGradient", "Split", "SplitV", "Squeeze", "ExpandDims"})
_JOB = re.compile(r"/job:([^/]+)(?:/replica:\d+)?(?:/task:(\d+))?")
_log = logging.getLogger("tensorflow")
_shortened: WeakSet[Any] = WeakSet()


class ShortTransfers(Hook):
    """Changes the graph of a training before its session is made."""

    def __init__(self, trainer: Trainer) -> None:
        self._of_estimator = (trainer.training.loss, trainer.training.train_op)

    def begin(self) -> None:
        ops: Any = importlib.import_module("tensorflow.python.framework.ops")
        graph = ops.get_default_graph()
        if graph not in _shortened:
            _shortened.add(graph)
            wanted = (*graph.get_collection(ops.GraphKeys.TRAIN_OP), *self._of_estimator)
            count = shorten(graph, [getattr(item, "op", item) for item in wanted if item is not None])
            if count:
                _log.info("bfloat16-transfer: %d tensors of a step travel in half the bytes.", count)
            else:
                _log.warning("bfloat16-transfer changes nothing: no large float32 of a step goes from task to task.")


def shorten(graph: Any, targets: list[Any]) -> int:
    """Cast what crosses between tasks on the way to the operations ``targets``; how many tensors these are."""
    crossing = [
        (operation, number, tensor)
        for operation in _ancestors(targets)
        for number, tensor in enumerate(operation.inputs)
        if _crosses(_place(tensor.op), _place(operation)) and _is_large(tensor) and not _is_stored(operation)
    ]
    made: dict[tuple[str, str], Any] = {}
    for operation, number, tensor in crossing:
        key = (tensor.name, _place(operation))
        if key not in made:
            made[key] = _sent_short(graph, tensor, _place(operation))
        operation._update_input(number, made[key])
    return len(made)


def _ancestors(targets: list[Any]) -> list[Any]:
    """The operations that ``targets`` need, and themselves, in the order of their making."""
    found, left = set(targets), list(targets)
    while left:
        operation = left.pop()
        for other in (*(tensor.op for tensor in operation.inputs), *operation.control_inputs):
            if other not in found:
                found.add(other)
                left.append(other)
    return sorted(found, key=lambda operation: int(operation._id))


def _place(operation: Any) -> str:
    """The device on which it runs: that of a variable or another resource that it uses, whatever it says itself."""
    if not home.is_call(operation):
        for tensor in operation.inputs:
            if tensor.dtype.name == "resource" or tensor.dtype._is_ref_dtype:
                return _place(tensor.op)
    return str(operation.device)


def _crosses(source: str, target: str) -> bool:
    """Whether it goes from a trainer to a parameter server or back: from and to where nobody says is not known."""
    if not _JOB.search(source) or not _JOB.search(target):
        return False
    return home.is_on_servers(source) != home.is_on_servers(target)


def _is_large(tensor: Any) -> bool:
    if tensor.dtype.name != "float32":
        return False
    elements = tensor.shape.num_elements()
    return bool(elements is None and tensor.shape.rank != 0) or (elements or 0) >= _LEAST_ELEMENTS


def _is_stored(operation: Any) -> bool:
    """Whether what arrives is assigned to a variable as it is."""
    return any(_ASSIGNMENTS.fullmatch(user.type) for user in _users(operation))


def _users(operation: Any) -> Iterator[Any]:
    left, seen = [operation], {operation}
    while left:
        user = left.pop()
        yield user
        if user.type in _PASSING:
            new = {other for output in user.outputs for other in output.consumers()} - seen
            seen |= new
            left += new


def _sent_short(graph: Any, tensor: Any, device: str) -> Any:
    import tensorflow as tf

    with graph.as_default(), tf.control_dependencies(None), tf.compat.v1.name_scope("bfloat16_transfer/"):
        with tf.device(None), tf.device(_place(tensor.op)):
            short = tf.cast(tensor, tf.bfloat16)
        with tf.device(None), tf.device(device):
            return tf.cast(short, tf.float32)
