"""What a step sends between trainer and parameter servers: few large tensors instead of many small ones.

The usual way fetches each variable, and returns each gradient, by a request of its own. Here the dense variables of a
parameter server travel as one vector, and so do their gradients; they stay separate variables with separate names, so
that checkpoints, warm starts and exports see nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from weakref import WeakKeyDictionary

from jobs._tf import estimator, tf

VariableList = Sequence[tf.Variable]
DeviceFn = Callable[[tf.Operation], str]


def read_together(variables: VariableList) -> list[tf.Tensor]:
    """The values of dense variables, in their order, fetched from each parameter server at once.

    Gradients pass through. Where variables are on no parameter server this only reads them.
    """
    values: dict[int, tf.Tensor] = {}
    for device in dict.fromkeys(variable.device for variable in variables):
        places = [i for i, variable in enumerate(variables) if variable.device == device]
        group = [variables[i] for i in places]
        read = _fetch(group, device) if _is_remote(device) and len(group) > 1 else [tf.identity(v) for v in group]
        values |= dict(zip(places, read, strict=True))
    return [values[i] for i in range(len(variables))]


def _is_remote(device: str) -> bool:
    return "/job:ps" in device


def _fetch(group: VariableList, device: str) -> list[tf.Tensor]:
    shapes = [variable.shape.as_list() for variable in group]
    sizes = [prod(shape) for shape in shapes]

    @tf.custom_gradient  # type: ignore[untyped-decorator,unused-ignore]
    def pack(*parts: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], list[tf.Tensor]]]:
        def unpack(gradient: tf.Tensor) -> list[tf.Tensor]:
            with tf.device(device):
                return _split(tf.identity(gradient), sizes, shapes)

        return tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0), unpack

    with tf.device(device):  # around the call, too: custom_gradient copies what it is given
        flat = pack(*[variable.read_value() for variable in group])
    return _split(flat, sizes, shapes)


def _split(flat: tf.Tensor, sizes: Sequence[int], shapes: Sequence[Sequence[int]]) -> list[tf.Tensor]:
    return [tf.reshape(part, shape) for part, shape in zip(tf.split(flat, sizes), shapes, strict=True)]


class LeastBytes:
    """A strategy for ``tf.compat.v1.train.replica_device_setter``: a new variable goes to the parameter server that has
    the least bytes so far, the first of them where several have. The default takes turns, whatever the sizes are.

    Counts each graph from zero: all tasks must place alike, however many graphs one of them has built before.
    """

    def __init__(self, ps_tasks: int) -> None:
        self._ps_tasks = ps_tasks
        self._bytes_in: WeakKeyDictionary[tf.Graph, list[int]] = WeakKeyDictionary()

    def __call__(self, op: tf.Operation) -> int:
        used = self._bytes_in.setdefault(op.graph, [0] * self._ps_tasks)
        fixed = tf.DeviceSpec.from_string(op.device or "").task
        task = used.index(min(used)) if fixed is None else int(fixed)
        used[task] += _bytes_of(op)
        return task


def _bytes_of(op: tf.Operation) -> int:
    try:
        shape, dtype = tf.TensorShape(op.get_attr("shape")), tf.as_dtype(op.get_attr("dtype"))
    except ValueError:  # a table or a queue: no size in advance
        return 0
    return (shape.num_elements() or 0) * int(dtype.size)


def balanced_device_fn(config: estimator.RunConfig) -> DeviceFn | None:
    """``RunConfig.device_fn`` of tf.estimator's default, but with variables balanced by bytes; None without a ps."""
    if not config.num_ps_replicas:
        return None
    from tensorflow.python.training.device_setter import STANDARD_PS_OPS

    device_fn: DeviceFn = tf.compat.v1.train.replica_device_setter(
        ps_tasks=config.num_ps_replicas,
        worker_device=f"/job:{config.task_type}/task:{config.task_id}",
        ps_ops=list(STANDARD_PS_OPS),
        ps_strategy=LeastBytes(config.num_ps_replicas),
    )
    return device_fn
