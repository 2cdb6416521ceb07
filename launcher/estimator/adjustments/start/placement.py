"""balanced-placement: variables are spread over parameter servers by their bytes.

TensorFlow's default takes turns (``_RoundRobinStrategy`` in ``tensorflow/python/training/device_setter.py``): a table
of 2 GB and a bias count the same. What is larger than a fair share must be split besides, which is for the model to
say: ``partitioner``.
"""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.start import home
from launcher.estimator.task import Task

DEVICE_SETTER = "tensorflow.python.training.device_setter"
VARIABLES = frozenset({"VarHandleOp", "VariableV2", "Variable"})
SPLIT_MIB = 4.0


class LeastBytes:
    """A strategy for ``tf.compat.v1.train.replica_device_setter``: a new variable goes to the parameter server that has
    the least bytes so far, the first of them where several have. Slots follow their variable.

    Counts each graph from zero: all tasks must place alike, however many graphs one of them has built before.
    """

    def __init__(self, num_tasks: int) -> None:
        self._num_tasks = num_tasks
        self._bytes_in: WeakKeyDictionary[Any, list[int]] = WeakKeyDictionary()

    def __call__(self, op: Any) -> int:
        used = self._bytes_in.setdefault(op.graph, [0] * self._num_tasks)
        fixed = home.task_of(op.device or "")
        task = used.index(min(used)) if fixed is None else fixed
        if task < len(used):
            used[task] += bytes_of(op)
        return task


def bytes_of(op: Any) -> int:
    """What a variable takes; 0 where nobody knows in advance: a table, a queue, strings, a shape that is not fixed."""
    dtypes: Any = importlib.import_module("tensorflow.python.framework.dtypes")
    shapes: Any = importlib.import_module("tensorflow.python.framework.tensor_shape")
    try:
        shape, dtype = shapes.TensorShape(op.get_attr("shape")), dtypes.as_dtype(op.get_attr("dtype"))
    except ValueError:
        return 0
    return (shape.num_elements() or 0) * int(dtype.size or 0)


def bytes_held(graph: Any) -> Mapping[str, int]:
    """By parameter server (``ps:0``), the bytes of its variables, slots included."""
    held: Counter[str] = Counter()
    for op in graph.get_operations():
        if op.type in VARIABLES and home.is_on_servers(op.device):
            held[f"ps:{home.task_of(op.device) or 0}"] += bytes_of(op)
    return held


def balanced_device_fn(config: Any) -> Callable[[Any], str] | None:
    """``RunConfig.device_fn`` of tf.estimator's default, but with variables balanced by bytes; None without a ps.

    ``config``: a RunConfig, as in ``config.replace(device_fn=balanced_device_fn(config))``.
    """
    if not _servers_of(config):
        return None
    setter: Any = importlib.import_module(DEVICE_SETTER)
    device_fn: Callable[[Any], str] = setter.replica_device_setter(
        ps_tasks=config.num_ps_replicas,
        worker_device=f"/job:{config.task_type}/task:{config.task_id}",
        ps_ops=list(setter.STANDARD_PS_OPS),
        ps_strategy=LeastBytes(config.num_ps_replicas),
    )
    return device_fn


def partitioner(config: Any, *, least_mib: float = SPLIT_MIB) -> Callable[..., list[int]] | None:
    """A partitioner for ``variable_scope`` or ``get_variable`` that splits what is large by its first dimension: into
    one part for each ``least_mib`` begun, and at most one for each parameter server, of about the same rows. None where
    there are fewer than two parameter servers.

    Checkpoints hold such a variable as one, whatever the number of parts. Look rows up with
    ``tf.nn.embedding_lookup(table, ids, partition_strategy="div")``: "mod", the default of TensorFlow 1, takes other
    rows. Raises ValueError where ``least_mib`` is not positive.
    """
    if isinstance(least_mib, bool) or not isinstance(least_mib, (int, float)) or not 0 < least_mib < math.inf:
        raise ValueError(f"least_mib is {least_mib!r}: at least so many MiB a part, a number above 0")
    if _servers_of(config) < 2:
        return None
    module: Any = importlib.import_module("tensorflow.python.ops.partitioned_variables")
    found: Callable[..., list[int]] = module.min_max_variable_partitioner(
        max_partitions=config.num_ps_replicas, axis=0, min_slice_size=round(least_mib * 2**20)
    )
    return found


def _servers_of(config: Any) -> int:
    count = getattr(config, "num_ps_replicas", None)
    if not isinstance(count, int):
        raise TypeError(
            f"config must be a tf.estimator.RunConfig, and is {str(config)[:60]!r} ({type(config).__name__})"
        )
    return count


def balance(patches: Patches, task: Task) -> None:
    """Have every device setter that is told no strategy of its own balance by bytes."""
    patches.set(importlib.import_module(DEVICE_SETTER), "_RoundRobinStrategy", LeastBytes)
